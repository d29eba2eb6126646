"""Reading a calibration of any known format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mocap.errors import BadFile, CalibrationError, MissingFile, UnknownName
from mocap.geometry.cameras import Camera
from mocap.io.calibration import dats, easymocap, qualisys, tomls
from mocap.io.calibration.draft import Draft, Parsed
from mocap.io.calibration.matching import look_up, normalised

FORMATS = ("intri.yml + extri.yml", "*.toml", "*.qca.txt", "c0.dat + rot_trans_c0.dat")
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}
"""Metres in each unit of length."""

_METRES_AT_MOST = 50.0
"""Cameras further apart than this (or from the origin, when alone) are not in metres: a hall is smaller, while
millimetres put two cameras at least hundreds apart."""
_METRES_AT_LEAST = 0.3
"""Cameras all closer together than this are more likely in another unit, and it is said."""


@dataclass(frozen=True)
class CalibrationFile:
    """Cameras as a file has them, in metres, in the file's own world."""

    path: Path
    cameras: tuple[Camera, ...]
    format: str
    unit_note: str
    """Which unit the lengths were taken to be in, and why."""
    warnings: tuple[str, ...] = ()
    """Sentences: cameras left out and why, and what looks odd."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return tuple(camera.name for camera in self.cameras)


def _parse(path: Path, level: bool) -> Parsed:
    if path.is_dir():
        if level and (path / easymocap.INTRI).is_file() and not (path / easymocap.EXTRI).is_file():
            return easymocap.parse(path, level=True)
        if any((path / name).is_file() for name in (easymocap.INTRI, easymocap.EXTRI)):
            return easymocap.parse(path)
        found = sorted(p for pattern in ("*.qca.txt", "*.toml") for p in path.glob(pattern))
        if len(found) > 1:
            listed = ", ".join(p.name for p in found)
            raise CalibrationError(f"{path} holds several calibrations ({listed}); name one of them.")
        if not found and dats.found_in(path):
            return dats.parse(path)
        if not found:
            raise MissingFile(path, what=f"Calibration ({', '.join(FORMATS)})")
        path = found[0]
    if not path.is_file():
        raise MissingFile(path, what="Calibration", remedy=f"Known: {', '.join(FORMATS)}.")
    if path.suffix.casefold() in (".yml", ".yaml"):
        if path.name not in (easymocap.INTRI, easymocap.EXTRI):
            raise BadFile(path, f"a calibration in YAML is a folder with {easymocap.INTRI} and {easymocap.EXTRI}.")
        return easymocap.parse(path.parent)
    if path.suffix.casefold() == ".toml":
        return tomls.parse(path)
    with path.open("rb") as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<"):
        return qualisys.parse(path)
    raise BadFile(path, f"not a calibration of a known format: {', '.join(FORMATS)}.")


def _spread(drafts: Mapping[str, Draft]) -> float:
    """The largest distance between two cameras, or from the origin of the only one, in the file's unit."""
    centres = np.stack([-d.R.T @ d.t for d in drafts.values()])
    if len(centres) == 1:
        return float(np.linalg.norm(centres[0]))
    return float(np.linalg.norm(centres[:, None] - centres, axis=-1).max())


def _unit(
    parsed: Parsed, drafts: Mapping[str, Draft], unit: str | float | None, path: Path
) -> tuple[float, str, list[str]]:
    """The unit of length [m], a sentence that says why, and a warning when it looks wrong."""
    spread = _spread(drafts)
    if unit is not None:
        told = unit if isinstance(unit, str) else f"{unit:g} m"
        why = f"Lengths in {path} are read as {told}, as told."
    elif parsed.unit is not None:
        unit = told = parsed.unit
        why = f"Lengths in {path} are read as {told}, as {parsed.format} writes them."
    elif parsed.tells_unit:
        unit = told = "mm" if spread > _METRES_AT_MOST else "m"
        why = f"Lengths in {path} are read as {told}, since its cameras are up to {spread:.3g} apart."
    else:
        raise CalibrationError(
            f"{path} does not tell the unit of its lengths: give it as unit: m, cm, mm or the metres in one unit (the "
            "side of the chessboard's squares, where that was called 1) in the dataset file (--set data.unit=0.03)."
        )
    length = UNITS[unit] if isinstance(unit, str) else float(unit)
    metres = spread * length
    if len(drafts) > 1 and not _METRES_AT_LEAST <= metres <= _METRES_AT_MOST:
        return length, why, [f"Cameras in {path} are at most {metres:.3g} m apart: is its unit of length {told}?"]
    return length, why, []


def read_calibration(
    path: Path,
    *,
    view_names: Sequence[str] | None = None,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    unit: str | float | None = None,
    level: bool = False,
) -> CalibrationFile:
    """Cameras of a calibration file or folder, whatever its format.

    Args:
        path: `intri.yml`, `extri.yml` or the folder with both; a toml; a `.qca.txt`; a folder with one of these, or
            with two `.dat` a camera.
        view_names: The views that need a camera: a camera that cannot be read and is no view's is left out with a
            warning instead of raising. None: every camera must be right.
        sizes: Image sizes by view name [px], for files that have none (EasyMocap's often have not).
        unit: Unit of the lengths in the file, one of `UNITS` or how many metres it is; None: what the format defines,
            else told from how far apart the cameras are.
        level: Take an intri.yml without extri.yml, whose cameras then stand level at the world's origin: for takes of
            one camera.

    Raises:
        MissingFile: No file, or half of one.
        BadFile: A file of no known format.
        CalibrationError: A camera that lacks something, named with its file and key; or a unit that nothing tells.
    """
    path = Path(path)
    if isinstance(unit, str) and unit not in UNITS:
        raise UnknownName("unit of length", unit, UNITS)
    parsed = _parse(path, level)
    warnings = list(parsed.warnings)

    def needed(name: str) -> bool:
        return view_names is None or any(normalised(view) == normalised(name) for view in view_names)

    drafts: dict[str, Draft] = {}
    for name, draft in parsed.cameras.items():
        if isinstance(draft, Draft):
            drafts[name] = draft
        elif needed(name):
            raise draft
        else:
            warnings.append(f"{draft} It is no view's and is left out.")
    if not drafts:
        raise CalibrationError(f"{path} holds no camera.")
    length, unit_note, odd = _unit(parsed, drafts, unit, path)
    odd = [] if level else odd  # how far apart cameras are is nothing to a take of one

    cameras = []
    for name, draft in drafts.items():
        size = draft.size
        if size is None:
            entry = look_up(name, sizes or {})
            if entry is None and needed(name):
                raise CalibrationError(
                    f'Camera "{name}" in {path} has no image size (H_{name} and W_{name}), '
                    "and no footage of that name tells it."
                )
            if entry is None:
                warnings.append(f'Camera "{name}" in {path} has no image size; it is no view\'s and is left out.')
                continue
            size = entry[1]
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = draft.R, draft.t * length
        try:
            cameras.append(Camera(name, draft.K, draft.distortion, T, size, draft.fisheye))
        except CalibrationError as error:
            if needed(name):
                raise CalibrationError(f"{path}: {error}") from error
            warnings.append(f"{path}: {error} It is no view's and is left out.")
    return CalibrationFile(path, tuple(cameras), parsed.format, unit_note, (*warnings, *odd))
