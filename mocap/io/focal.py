"""The focal length of a camera nobody calibrated: given, told by the file, by the phone's model, or guessed."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from PIL import ExifTags, Image

from mocap.errors import BadFile, UnknownName

PAPER = 5000.0
"""What SMPLify takes for pictures of which nothing is known [px] (Bogo et al., "Keep it SMPL", 2016)."""

_TABLE = Path(__file__).parent / "data" / "phones.json"
_FULL_FRAME = float(np.hypot(36, 24))
"""Diagonal of the film that "35 mm equivalent" refers to [mm]."""
_MILLIMETRES = {2: 25.4, 3: 10.0}
"""EXIF's FocalPlaneResolutionUnit: inch, centimetre."""
_LEAST, _MOST = 0.2, 100.0
"""Focal lengths beyond these multiples of the image's longer side are no camera's: what a file says is passed over."""


@dataclass(frozen=True)
class Told:
    """What a picture or video says about the camera it was taken with."""

    equivalent: float | None = None
    """Focal length on 35 mm film [mm]."""
    fraction: float | None = None
    """Focal length as a fraction of the longer side, from the sensor's own resolution."""
    model: str | None = None


@dataclass(frozen=True)
class Focal:
    """A focal length and where it is from."""

    px: float
    source: str
    """For the report: "EXIF: 26 mm on 35 mm film"."""
    guessed: bool = False
    """Whether nothing is known of the camera at all."""


@dataclass(frozen=True)
class _Phones:
    fractions: dict[str, float]
    """Model (iPhone13,2) -> focal length as a fraction of the longer side of the image."""
    names: dict[str, str]
    """What it is sold as (iPhone 12) -> model."""


@lru_cache(maxsize=1)
def _phones() -> _Phones:
    table = json.loads(_TABLE.read_text(encoding="utf-8"))
    return _Phones(table["focal_by_longer_side"], table["names"])


def _folded(name: str) -> str:
    return "".join(name.casefold().split())


def of_phone(name: str) -> float | None:
    """Focal length of a phone as a fraction of the image's longer side, by model or by what it is sold as."""
    phones = _phones()
    models = {_folded(m): f for m, f in phones.fractions.items()}
    sold = {_folded(n): phones.fractions[m] for n, m in phones.names.items()}
    return models.get(_folded(name), sold.get(_folded(name)))


def median_phone() -> float:
    """The median over the models of the table: what an unknown phone is taken for."""
    return float(np.median(list(_phones().fractions.values())))


def focal_length(
    size: tuple[int, int], told: Told, *, given: float | None = None, phone: str | None = None, paper: bool = False
) -> Focal:
    """The focal length of a camera nothing has calibrated, from the best that is known.

    In this order: `given`; the file's 35 mm equivalent, f = f35 diagonal / 43.27 mm, or its sensor's resolution; the
    phone the file names, then `phone`, in the table of OpenCap's calibrated phones; else the paper's 5000 px, or a
    phone's median. The longer side counts, whichever way the picture is held.

    Args:
        size: Width and height of the image [px].
        told: What the file says.
        given: What the user says [px].
        phone: Model or commercial name, as the user says it.
        paper: Take 5000 px for a camera of which nothing is known, as SMPLify does.

    Raises:
        UnknownName: `phone` is not in the table.
    """
    longer = max(size)
    if phone is not None and of_phone(phone) is None:
        raise UnknownName("phone", phone, (*_phones().names, *_phones().fractions), where="phone of the dataset")
    if given is not None:
        return Focal(given, "as given")
    if told.equivalent is not None:
        px = told.equivalent / _FULL_FRAME * float(np.hypot(*size))
        if _LEAST < px / longer < _MOST:
            return Focal(px, f"the file's own, {told.equivalent:g} mm on 35 mm film")
    if told.fraction is not None and _LEAST < told.fraction < _MOST:
        return Focal(told.fraction * longer, "the file's own, from the resolution of the sensor")
    for name, by in ((told.model, "named by the file"), (phone, "as given")):
        fraction = None if name is None else of_phone(name)
        if fraction is not None:
            return Focal(fraction * longer, f"that of an {name}, {by}")
    if paper:
        return Focal(PAPER, "SMPLify's, since nothing is known of the camera")
    return Focal(median_phone() * longer, "that of phones, since nothing is known of the camera", guessed=True)


# ---------------------------------------------------------------------------------------------------------------------
# what files tell


def of_picture(path: Path) -> tuple[tuple[int, int], Told]:
    """Width and height of a picture [px], turned as its EXIF says, and what it tells; only its head is read.

    Raises:
        BadFile: Not a jpg or png, or damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd EXIF, and of pictures of many pixels, which are not read here
            with Image.open(path, formats=("JPEG", "PNG", "MPO")) as image:
                size, exif = image.size, image.getexif()
                told = _of_exif(exif, size)
                turned = exif.get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    except (OSError, ValueError, SyntaxError, TypeError, LookupError, Image.DecompressionBombError) as error:
        raise BadFile(path, "is no picture that can be read: damaged, empty, or of another kind.") from error
    return (size[::-1] if turned else size), told


def _of_exif(exif: Image.Exif, size: tuple[int, int]) -> Told:
    more = exif.get_ifd(ExifTags.IFD.Exif)
    longer = max(_number(more.get(ExifTags.Base.ExifImageWidth)), _number(more.get(ExifTags.Base.ExifImageHeight)))
    unit = _MILLIMETRES.get(more.get(ExifTags.Base.FocalPlaneResolutionUnit, 2))
    per_unit, focal = (
        _number(more.get(key)) for key in (ExifTags.Base.FocalPlaneXResolution, ExifTags.Base.FocalLength)
    )
    fraction = None if unit is None else focal * per_unit / unit / (longer or max(size))
    model = exif.get(ExifTags.Base.Model)
    return Told(
        _number(more.get(ExifTags.Base.FocalLengthIn35mmFilm)) or None,
        fraction or None,
        model.strip("\0 ") if isinstance(model, str) else None,
    )


def _number(value: object) -> float:
    """A positive number of EXIF, and 0 for none, nonsense and 1/0."""
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if np.isfinite(number) and number > 0 else 0.0


def of_video(path: Path) -> Told:
    """What a video's metadata tell: Apple's camera model and, where it is there, its 35 mm equivalent."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            streams = [s.metadata for s in container.streams.video]
            metadata = {k.casefold(): v for each in (container.metadata, *streams) for k, v in each.items()}
    except FFmpegError:
        return Told()
    equivalent = [_number(v) for k, v in metadata.items() if k.endswith("focal_length.35mm_equivalent")]
    model = metadata.get("com.apple.quicktime.model", metadata.get("model"))
    return Told(next((e for e in equivalent if e), None), None, model)
