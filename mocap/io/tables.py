"""A person's result as wide tables, one row a frame: keypoints and joints in metres, joint angles in degrees."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
from jaxtyping import Float

from mocap.bodies.angles import joint_angles
from mocap.errors import DataError, SetupError
from mocap.io.atomic import replacing
from mocap.io.results import Result

Table = Mapping[str, np.ndarray]
"""Columns by name; all of one length."""


def point_sets(result: Result) -> dict[str, tuple[tuple[str, ...], Float[np.ndarray, "frames points 3"]]]:
    """What there is of a person's points, by its kind: names, and places in the world, z up [m]; NaN where missing.

    `keypoints` were triangulated, `fit` are the same points of the fitted body, `joints` the body's own.
    """
    found = {
        "keypoints": (result.keypoint_names, result.keypoints3d),
        "fit": (result.keypoint_names, result.keypoints3d_fit),
        "joints": (result.joint_names, result.joints),
    }
    return {kind: (names, xyz) for kind, (names, xyz) in found.items() if names is not None and xyz is not None}


def short_name(joint: str) -> str:
    """A keypoint's name as Pose2Sim's and OpenSim's users have it: `left_big_toe` is LBigToe, `mid_hip` CHip."""
    known = {"mid_hip": "CHip", "head_top": "Head"}
    words = joint.split("_")
    side = next((w[0].upper() for w in words if w in ("left", "right")), "")
    return known.get(joint) or side + "".join(w.title() for w in words if w not in ("left", "right"))


def tables(result: Result) -> tuple[dict[str, Table], list[str]]:
    """`keypoints`, `joints` and `angles`, as far as there are any, and sentences on what cannot be had.

    Each begins with `frame` and `time_s`; then `left_knee_x_m` (and of keypoints `left_knee_confidence`), or
    `left_knee_flexion_deg`. World z up.
    """
    clock = {"frame": result.frames, "time_s": result.timestamps}
    found: dict[str, Table] = {}
    notes = []
    sets = point_sets(result)
    for kind in ("keypoints", "joints"):
        if kind in sets:
            names, xyz = sets[kind]
            places = {f"{name}_{axis}_m": xyz[:, j, i] for j, name in enumerate(names) for i, axis in enumerate("xyz")}
            found[kind] = clock | places
    if "keypoints" in found and result.keypoints3d_confidence is not None:
        confidence = result.keypoints3d_confidence.T
        found["keypoints"] = {
            **found["keypoints"],
            **{f"{name}_confidence": c for name, c in zip(result.keypoint_names, confidence, strict=True)},
        }
    if result.Rh is not None and result.poses is not None and result.joint_names is not None:
        try:
            angles = joint_angles(result.joint_names, result.Rh, result.poses, result.joints)
        except DataError as error:
            notes.append(f"The table of angles is left out: {error}")
        else:
            columns = {f"{name}_deg": c for name, c in zip(angles.names, angles.degrees.T, strict=True)}
            found["angles"] = clock | columns
    return found, notes


def write_csv(path: Path, table: Table) -> None:
    """A table as comma-separated text with a header; what is missing is an empty cell. Whole or not at all."""
    digits = {"frame": "%d", "confidence": "%.4f", "deg": "%.4f"}
    formats = [digits.get(name.rpartition("_")[2], "%.6f") for name in table]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(",".join(table) + "\n")
        write_rows(file, np.column_stack(list(table.values())), formats, ",")


def write_rows(file: TextIO, table: Float[np.ndarray, "rows columns"], formats: Sequence[str], delimiter: str) -> None:
    """Rows of numbers as text; what is missing (NaN) is an empty cell."""
    line = delimiter.join(formats) + "\n"
    for row in table:
        text = line % tuple(row)
        file.write(text.replace("nan", "") if "nan" in text else text)


def require_pyarrow() -> None:
    """Raises SetupError where it is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise SetupError("Writing Parquet needs pyarrow, which is not installed; get it with: pip install pyarrow")


def write_parquet(path: Path, table: Table) -> None:
    """A table as Apache Parquet, 64-bit; what is missing is null. Whole or not at all.

    Raises:
        SetupError: pyarrow is not installed.
    """
    require_pyarrow()
    import pyarrow  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet  # pyright: ignore[reportMissingImports]

    columns = {name: pyarrow.array(values, from_pandas=True) for name, values in table.items()}
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(columns), temporary)
