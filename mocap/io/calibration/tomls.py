"""The toml of Anipose and of those who write it alike: Pose2Sim, Caliscope, FreeMoCap.

One table a camera with `matrix`, `distortions`, `size`, `rotation` (Rodrigues, or a 3x3 matrix in older Caliscope) and
`translation`, world to camera; `name` may be absent. Caliscope's `camera_array.toml` nests them under `cameras` and
numbers them; its footage is `cam_<number>`. Pose2Sim keeps four distortion values and loses k3; those it converts
from Qualisys it also divides by 64, which only lengths in 1/64 px deserve (see `qualisys.py`): prefer the `.qca.txt`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mocap.errors import BadFile, CalibrationError
from mocap.io.calibration.draft import Draft, Parsed, attempted, distortion_of, numbers, read_text, rotation_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

_NEEDED = ("matrix", "distortions", "rotation", "translation")


def _tables(tree: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(label in the file, camera's name, table) of everything that looks like a camera."""
    found = [
        (label, str(table.get("name", label)), table)
        for label, table in tree.items()
        if isinstance(table, dict) and ("matrix" in table or "rotation" in table)
    ]
    nested = tree.get("cameras")
    if isinstance(nested, dict):
        found += [
            (f"cameras.{label}", str(table.get("name", f"cam_{label}" if label.isdigit() else label)), table)
            for label, table in nested.items()
            if isinstance(table, dict)
        ]
    return found


def _draft(label: str, name: str, table: dict[str, Any], path: Path) -> Draft:
    if table.get("ignore"):
        raise CalibrationError(f'Camera "{name}" is marked "ignore = true" in [{label}] of {path}.')
    for key in _NEEDED:
        if table.get(key) is None:
            raise CalibrationError(f'Camera "{name}" has no {key} in [{label}] of {path}.')
    told = f'Camera "{name}" in {path}'
    size = None
    if table.get("size") is not None:
        width, height = numbers(table["size"], 2, f"{told}: size")
        size = (round(width), round(height))
    return Draft(
        K=numbers(table["matrix"], 9, f"{told}: matrix").reshape(3, 3),
        distortion=distortion_of(table["distortions"], f"{told}: distortions"),
        R=rotation_of(table["rotation"], f"{told}: rotation"),
        t=numbers(table["translation"], 3, f"{told}: translation"),
        size=size,
        fisheye=bool(table.get("fisheye", False)),
    )


def parse(path: Path) -> Parsed:
    """The cameras of one toml file. Its unit of length is not written in it."""
    try:
        tree = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise BadFile(path, f"not a toml file: {error}.") from error
    cameras: dict[str, Draft | CalibrationError] = {}
    for label, name, table in _tables(tree):
        if name in cameras:
            raise CalibrationError(f'Two cameras are called "{name}" in {path}.')
        cameras[name] = attempted(_draft, label, name, table, path)
    layout = "Caliscope toml" if isinstance(tree.get("cameras"), dict) else "Anipose/Pose2Sim toml"
    return Parsed(layout, cameras, unit=None)
