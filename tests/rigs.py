"""A small recording made on the spot: cameras round the origin, and folders of tiny images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike

from mocap.geometry.cameras import Camera, Rig
from mocap.io.calibration import write_calibration


def look_at(eye: np.ndarray, target: ArrayLike = (0, 0, 0.9)) -> np.ndarray:
    """T_camera_world (4, 4) of a camera at `eye` that looks at `target`, upright."""
    forward = target - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    T[:3, 3] = -T[:3, :3] @ eye
    return T


def rig(names: tuple[str, ...] = ("01", "07"), size: tuple[int, int] = (64, 48)) -> Rig:
    """Cameras on a circle of 3 m, 1.2 m high, that look at the origin."""
    cameras = []
    for i, name in enumerate(names):
        angle = 2 * np.pi * i / max(len(names), 3)
        centre = np.array([3 * np.cos(angle), 3 * np.sin(angle), 1.2])
        K = np.array([[60.0, 0, size[0] / 2], [0, 60.0, size[1] / 2], [0, 0, 1]])
        cameras.append(Camera(name, K, np.zeros(5), look_at(centre, [0, 0, 1.0]), size))
    return Rig(tuple(cameras), has_floor=True)


def recording(folder: Path, names: tuple[str, ...] = ("01", "07"), frames: int = 4) -> Path:
    """images/<view>/%06d.png, intri.yml and extri.yml."""
    made = rig(names)
    write_calibration(made, folder)
    rng = np.random.default_rng(0)
    for camera in made:
        (folder / "images" / camera.name).mkdir(parents=True)
        for i in range(frames):
            picture = rng.integers(0, 255, (camera.size[1], camera.size[0], 3), dtype=np.uint8)
            cv2.imwrite(str(folder / "images" / camera.name / f"{i:06d}.png"), picture)
    return folder
