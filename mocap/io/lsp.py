"""SMPLify's input beside the pictures: `est_joints.npz` in LSP's order, and `lsp_gender.csv`.

Both are ordered as the pictures are, by name. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mocap.errors import BadFile, DataError, MissingFile
from mocap.io.atomic import replacing
from mocap.io.footage import last_number
from mocap.skeletons import LSP14
from mocap.take import masked

KEY = "est_joints"
ROWS = (5, 28, 3, 2)
"""How many numbers a joint may have: x, y, confidence, offset x, offset y; 25 more after the confidence; fewer."""
RIGHT_SHAPE = (
    "5 x 14 x pictures (x, y, confidence, offset x, offset y of the 14 joints in LSP's order; 28, 3 or 2 rows that "
    "begin so are read too)"
)
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error)
_GENDERS = {"0": "male", "m": "male", "male": "male", "1": "female", "f": "female", "female": "female"}
_NEUTRAL = ("-1", "", "nan", "neutral")


class Joints(NamedTuple):
    """One person's joints in each picture."""

    xy: Float[np.ndarray, "pictures joints 2"]
    """[px], NaN where missing."""
    confidence: Float[np.ndarray, "pictures joints"]
    """In [0, 1], 0 where missing."""


def array_in(path: Path, key: str | None = None) -> tuple[str, np.ndarray]:
    """The array called `key` of an .npz, or its only one, or that of an .npy, as numbers; with its name.

    Raises:
        MissingFile: Not there.
        BadFile: Damaged, without that key, or not an array of numbers.
    """
    if not path.is_file():
        raise MissingFile(path, what="Joints")
    try:
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            alone = isinstance(loaded, np.ndarray)
            found = {"": loaded} if alone else {name: loaded[name] for name in loaded.files}
    except _DAMAGE as error:
        raise BadFile(path, f"no NumPy file of numbers, or damaged ({error}).") from error
    if key is None:
        key = KEY if KEY in found else next(iter(found), KEY)
        if len(found) > 1 and key != KEY:
            raise BadFile(path, f'holds {", ".join(found)}: which one are the joints? Call it "{KEY}".')
    if key not in found:
        raise BadFile(path, f'holds no array called "{key}", only {", ".join(found) or "none"}.')
    if found[key].dtype.kind not in "fiu":
        raise BadFile(path, f"holds no numbers but {found[key].dtype}.")
    return key, found[key].astype(float)


def joints_of(array: np.ndarray, path: Path, *, joints: int = 14) -> Joints:
    """Joints of SMPLify's layout, rows x joints x pictures.

    In a file of two rows, which has no confidences, every finite point is sure but one at exactly (0, 0), which is
    missing.

    Raises:
        BadFile: Of any other shape; says which, and how the axes would fit.
    """
    shape = array.shape
    if array.ndim != 3 or shape[0] not in ROWS or shape[1] != joints or shape[2] == 0:
        told = " x ".join(map(str, shape)) or "a single number"
        hint = ""
        if array.ndim == 2 and shape[0] in ROWS and shape[1] == joints:
            hint = " For one picture, write array[:, :, None]."
        for order in itertools.permutations(range(array.ndim)):
            turned = [shape[i] for i in order]
            if array.ndim == 3 and turned[0] in ROWS and turned[1] == joints and turned[2]:
                hint = (
                    f" With its axes turned it would be {' x '.join(map(str, turned))}: write array.transpose{order}."
                )
                break
        right = RIGHT_SHAPE.replace("14", str(joints))
        raise BadFile(path, f"{KEY} is {told}, and right is {right}.{hint}")
    values = np.moveaxis(array, -1, 0)
    xy = np.swapaxes(values[:, :2], 1, 2)
    finite = np.isfinite(xy).all(-1)
    confidence = (finite & (xy != 0).any(-1)).astype(float) if shape[0] == 2 else values[:, 2]
    there = finite & (confidence > 0)
    if there.any() and np.abs(xy[there]).max() <= 2.0:
        raise BadFile(path, "its coordinates are all below 2: they are to be pixels, not fractions of the image.")
    return Joints(*masked(xy, confidence))


def read_joints(path: Path) -> Joints:
    """The joints of an `est_joints.npz`, in LSP's order (`skeletons.LSP14`)."""
    return joints_of(array_in(path, KEY)[1], path)


def write_joints(path: Path, joints: Joints) -> None:
    """Writes `est_joints` as 5 x 14 x pictures; offsets are 0, and so is all of what is missing."""
    array = np.zeros((5, len(LSP14), len(joints.xy)))
    array[:2] = np.nan_to_num(joints.xy).transpose(2, 1, 0)
    array[2] = joints.confidence.T
    with replacing(path) as temporary:
        np.savez_compressed(temporary, est_joints=array)


def places(names: Sequence[str], count: int, path: Path, what: str) -> tuple[Int[np.ndarray, " pictures"], str | None]:
    """Which of the file's `count` entries is each picture's, and a sentence where that is told by number.

    In the order of the pictures where there are as many; where the file has more, by the number in the pictures' names:
    im0007 has the 7th (the 8th where a picture has number 0).

    Raises:
        DataError: Counts that differ, and names that do not tell.
    """
    if len(names) == count:
        return np.arange(count), None
    numbers = [last_number(name) for name in names]
    known = np.array([n for n in numbers if n is not None], dtype=np.int64)
    first = 0 if 0 in known else 1
    if len(known) == len(names) < count and len(set(known.tolist())) == len(known) and known.max() < count + first:
        told = f"{names[0]} has entry {known[0]} of {path.name}, counted from {first}"
        return known - first, f"{path} is of {count} pictures, of which {len(names)} are here: by number, {told}."
    raise DataError(
        f"{path} has {what} of {count} pictures, and {len(names)} pictures are here; it must have one entry a picture, "
        "in the order of their names."
    )


def read_genders(path: Path, names: Sequence[str]) -> tuple[dict[str, str], str | None]:
    """ "male", "female" or "neutral" by picture, and a sentence where pictures are matched by number.

    One row a picture in the order of their names: 0 is male, 1 female, -1 or nothing neutral; words are read too. A
    header is passed over. Rows of two or more values begin with the picture's name and end with its gender.

    Raises:
        BadFile: A value that is none of these.
        DataError: Another number of rows than pictures.
    """
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(path.read_text("utf-8-sig").splitlines())]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadFile(path, "is no text of comma-separated values.") from error
    if rows and rows[0] and _gender(rows[0][-1]) is None and not rows[0][-1].lstrip("-").isdecimal():
        rows = rows[1:]
    while len(rows) > len(names) and not any(rows[-1]):
        rows.pop()
    found: list[str] = []
    for line, row in enumerate(rows, 1):
        gender = _gender(row[-1] if row else "")
        if gender is None:
            raise BadFile(path, f'"{row[-1]}" in row {line} is no gender: 0 is male, 1 female, -1 neutral.')
        found.append(gender)
    if rows and all(len(row) > 1 for row in rows):
        by_name = {Path(row[0]).stem: gender for row, gender in zip(rows, found, strict=True)}
        if by_name.keys() & set(names):
            return {name: by_name.get(name, "neutral") for name in names}, None
    at, note = places(names, len(found), path, "genders")
    return {name: found[i] for name, i in zip(names, at.tolist(), strict=True)}, note


def _gender(text: str) -> str | None:
    word = text.casefold()
    with contextlib.suppress(ValueError):
        word = f"{float(word):g}"  # NumPy writes 0.000000000000000000e+00
    return "neutral" if word in _NEUTRAL else _GENDERS.get(word)
