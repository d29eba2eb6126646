"""The world of a calibration, turned so that z points up and the floor is at z = 0."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from mocap.errors import UnknownName
from mocap.geometry import rotations
from mocap.geometry.cameras import Camera, Rig

UPS = ("x", "-x", "y", "-y", "z", "-z")


def to_z_up(
    cameras: Iterable[Camera], up: str = "z", floor: float | None = None
) -> tuple[Rig, Float[np.ndarray, "4 4"]]:
    """The rig in a world in which +z is up.

    Args:
        cameras: In the world of their calibration.
        up: The axis of that world that points up: one of `UPS`.
        floor: Where the floor is along that axis [m]; it comes to z = 0. None: not known, heights stay as they are.

    Returns:
        The rig, and T_new_old, which maps points of the old world to the new one [m]: the smallest rotation that
        brings `up` to z, so axes that need not move do not.
    """
    if up not in UPS:
        raise UnknownName("up axis of the world", up, UPS)
    axis = np.zeros(3)
    axis["xyz".index(up[-1])] = -1.0 if up.startswith("-") else 1.0
    T = np.eye(4)
    T[:3, :3] = np.rint(rotations.between(axis, np.array([0.0, 0.0, 1.0])))  # a signed permutation, made exact
    T[2, 3] = 0.0 if floor is None else -floor
    back = np.eye(4)
    back[:3, :3], back[:3, 3] = T[:3, :3].T, -T[:3, :3].T @ T[:3, 3]
    turned = tuple(dataclasses.replace(c, T_camera_world=c.T_camera_world @ back) for c in cameras)
    return Rig(turned, has_floor=floor is not None, R_world_file=T[:3, :3]), T
