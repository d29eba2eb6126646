"""Points as a C3D file, written by ezc3d (MIT); :mod:`mocap.io.c3d` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from mocap.errors import SetupError
from mocap.io.atomic import replacing


def write_c3d(
    path: Path,
    names: Sequence[str],
    xyz: Float[np.ndarray, "frames points 3"],
    *,
    first: int,
    fps: float,
    unit: Literal["m", "mm"] = "mm",
) -> None:
    """Points as a C3D file, in floating point, in the world's axes, z up; whole or not at all.

    Args:
        path: Where to.
        names: Of the points.
        xyz: In the world [m]; NaN where missing: residual -1 in the file.
        first: Number of the first frame, counted from 0; a C3D's count from 1, and go on one by one.
        fps: Frame rate [1/s].
        unit: Of the file (POINT:UNITS).

    Raises:
        SetupError: ezc3d is not installed.
    """
    try:
        import ezc3d
    except ImportError as error:
        told = "Writing a C3D needs ezc3d, which is not installed; get it with: pip install ezc3d"
        raise SetupError(told) from error
    file = ezc3d.c3d()
    points = np.ones((4, xyz.shape[1], xyz.shape[0]))
    points[:3] = {"m": 1.0, "mm": 1000.0}[unit] * np.nan_to_num(xyz.transpose(2, 1, 0))
    missing = np.isnan(xyz).any(-1).T
    file["parameters"]["POINT"]["RATE"]["value"] = [fps]
    file["parameters"]["POINT"]["UNITS"]["value"] = [unit]
    file["parameters"]["POINT"]["LABELS"]["value"] = list(names)
    file.add_parameter("POINT", "X_SCREEN", ["+X"])
    file.add_parameter("POINT", "Y_SCREEN", ["+Z"])
    file["data"]["points"] = points
    file["data"]["meta_points"]["residuals"] = np.where(missing, -1.0, 0.0)[None]
    file["data"]["meta_points"]["camera_masks"] = np.zeros((7, *missing.shape), dtype=bool)
    file["header"]["points"]["first_frame"] = first
    with replacing(path) as temporary:
        file.write(str(temporary))
