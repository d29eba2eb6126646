"""Two text files a camera, as Batpurev's handpose3d, bodypose3d and python_stereo_camera_calibrate keep them.

`c0.dat` (or `camera0_intrinsics.dat`) has the lines `intrinsic:`, three rows of K, `distortion:` and OpenCV's
coefficients; `rot_trans_c0.dat` (or `camera0_rot_trans.dat`) has `R:`, three rows, `T:` and three more, world to
camera. Lengths are in whatever the side of the chessboard's squares was given in, which no file tells. Image sizes are
missing.
"""

from __future__ import annotations

import re
from pathlib import Path

from mocap.errors import CalibrationError
from mocap.io.calibration.draft import Draft, Parsed, attempted, distortion_of, numbers, read_text

_PLACED = re.compile(r"rot_trans_(?P<before>.+)|(?P<after>.+)_rot_trans")
_INTRINSICS = "_intrinsics"


def found_in(folder: Path) -> bool:
    """Whether the folder holds such files."""
    return any(_PLACED.fullmatch(path.stem) for path in folder.glob("*.dat"))


def parse(folder: Path) -> Parsed:
    """The cameras of a folder, called as their files are: `c0`, `camera0`."""
    lens: dict[str, Path] = {}
    placed: dict[str, Path] = {}
    for path in sorted(folder.glob("*.dat")):
        match = _PLACED.fullmatch(path.stem)
        if match:
            placed[match["before"] or match["after"]] = path
        else:
            lens[path.stem.removesuffix(_INTRINSICS)] = path
    cameras = {name: attempted(_draft, name, lens.get(name), placed.get(name), folder) for name in {**lens, **placed}}
    return Parsed("two .dat files a camera", cameras, unit=None, tells_unit=False)


def _draft(name: str, lens: Path | None, placed: Path | None, folder: Path) -> Draft:
    if lens is None:
        raise CalibrationError(f'Camera "{name}" has no {name}.dat or {name}{_INTRINSICS}.dat in {folder}.')
    if placed is None:
        raise CalibrationError(f'Camera "{name}" has no rot_trans_{name}.dat or {name}_rot_trans.dat in {folder}.')
    return Draft(
        K=numbers(_section(lens, "intrinsic"), 9, f'Camera "{name}": intrinsic in {lens}').reshape(3, 3),
        distortion=distortion_of(_section(lens, "distortion"), f'Camera "{name}": distortion in {lens}'),
        R=numbers(_section(placed, "R"), 9, f'Camera "{name}": R in {placed}').reshape(3, 3),
        t=numbers(_section(placed, "T"), 3, f'Camera "{name}": T in {placed}'),
        size=None,
    )


def _section(path: Path, head: str) -> list[str]:
    """The numbers under the first line `head:`, up to the next line that is none of numbers.

    The first: a second R and T may follow, of one camera relative to another.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    if f"{head}:" not in lines:
        raise CalibrationError(f'{path} has no line "{head}:".')
    words: list[str] = []
    for line in lines[lines.index(f"{head}:") + 1 :]:
        if not re.fullmatch(r"[-+\d.eE\s]*", line):
            break
        words += line.split()
    return words
