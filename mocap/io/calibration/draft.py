"""What the reader of one format hands on: cameras in the file's own unit, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mocap.errors import CalibrationError
from mocap.geometry import rotations


@dataclass(frozen=True)
class Draft:
    """One camera as its file has it."""

    K: Float[np.ndarray, "3 3"]
    distortion: Float[np.ndarray, " coefficients"]
    R: Float[np.ndarray, "3 3"]
    """World to camera."""
    t: Float[np.ndarray, " 3"]
    """World to camera, in the file's unit of length."""
    size: tuple[int, int] | None
    """Width and height [px]; None where the file does not say."""
    fisheye: bool = False


@dataclass(frozen=True)
class Parsed:
    """A calibration file, read."""

    format: str
    cameras: Mapping[str, Draft | CalibrationError]
    """By name; what is wrong with those that could not be read."""
    unit: str | None
    """Unit of length the format defines; None where it has to be told from the numbers."""
    warnings: tuple[str, ...] = ()
    tells_unit: bool = True
    """Whether the numbers can tell it; else it has to be given."""


def attempted(read: Callable[..., Draft], *arguments: Any) -> Draft | CalibrationError:
    """What `read` gives, or what it finds wrong: whether that matters is not known yet."""
    try:
        return read(*arguments)
    except CalibrationError as error:
        return error


def numbers(value: Any, count: int | Iterable[int] | None, what: str) -> Float[np.ndarray, " n"]:
    """`value` (nested lists or texts of numbers) as a flat array; CalibrationError names `what` and the right count."""
    try:
        flat = np.asarray(value, dtype=float).ravel()
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"{what} is not a list of numbers.") from error
    counts = () if count is None else (count,) if isinstance(count, int) else tuple(count)
    if counts and flat.size not in counts:
        raise CalibrationError(f"{what} has {flat.size} numbers, not {' or '.join(map(str, counts))}.")
    if not np.isfinite(flat).all():
        raise CalibrationError(f"{what} has numbers that are not finite.")
    return flat


def rotation_of(value: Any, what: str) -> Float[np.ndarray, "3 3"]:
    """A rotation given as 3 (Rodrigues, rad) or 9 numbers (matrix, row by row)."""
    flat = numbers(value, (3, 9), what)
    return rotations.exp(flat) if flat.size == 3 else flat.reshape(3, 3)


def distortion_of(value: Any, what: str) -> Float[np.ndarray, " coefficients"]:
    """OpenCV's coefficients; a tilted sensor's last two are dropped when they are zero."""
    flat = numbers(value, None, what)
    return flat[:12] if flat.size == 14 and not flat[12:].any() else flat


def read_text(path: Path) -> str:
    """The text of `path`; a CalibrationError when it is not text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CalibrationError(f"{path} is not a text file.") from error
