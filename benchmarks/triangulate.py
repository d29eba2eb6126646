"""Triangulation against two baselines on one synthetic take: seconds, error against the truth, share of points kept.

    python benchmarks/triangulate.py [--frames 1000] [--views 8 4 2] [--noise 1.9] [--outliers 0.05]

A person of 25 joints walks round in front of cameras all around (1920x1080, lens distortion); detections have Gaussian
noise (by default what leaves a plain DLT without outliers 6.3 mm of error on 8 views and 9.0 mm on 4), 5 % gross
outliers (Gaussian, 15 % of the image wide) and 3 % missing points. Baselines, from the same pixels:

- plain DLT: all views, weighted by confidence, one batched singular value decomposition;
- DLT with the worst view dropped until all are within a threshold, point by point: what EasyMocap and Pose2Sim do.

Times are CPU seconds of one core, the best of three.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np
import scipy

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from rigs import look_at

from mocap import skeletons
from mocap.geometry.cameras import Camera, Rig
from mocap.take import Keypoints2D
from mocap.triangulate.points import triangulate

SIZE = (1920, 1080)
JOINTS = len(skeletons.BODY25)


def rig_around(views: int) -> Rig:
    """Cameras on a circle of 4 m."""
    rng = np.random.default_rng(views)
    cameras = []
    for i in range(views):
        angle = 2 * np.pi * (i + 0.25) / views
        if views == 2:
            angle = np.pi / 2 * i
        eye = np.array([4 * np.cos(angle), 4 * np.sin(angle), 1.2 + 0.6 * (i % 2)])
        K = np.array([[1100.0, 0, 960], [0, 1100, 540], [0, 0, 1]])
        cameras.append(Camera(f"{i:02d}", K, rng.normal(size=5) * [0.1, 0.03, 1e-3, 1e-3, 0.01], look_at(eye), SIZE))
    return Rig(tuple(cameras))


def motion(t: np.ndarray) -> np.ndarray:
    """A figure with the proportions of a person, turning on a circle while each joint swings its own way [m]."""
    rng = np.random.default_rng(0)
    place = {
        "nose": (0.1, 0, 1.6), "neck": (0, 0, 1.42), "shoulder": (0, 0.18, 1.4), "elbow": (0, 0.25, 1.12),
        "wrist": (0.1, 0.27, 0.88), "mid_hip": (0, 0, 0.95), "hip": (0, 0.1, 0.93), "knee": (0.03, 0.11, 0.5),
        "ankle": (0, 0.11, 0.09), "eye": (0.09, 0.035, 1.65), "ear": (0, 0.075, 1.63), "big_toe": (0.2, 0.1, 0.02),
        "small_toe": (0.17, 0.17, 0.02), "heel": (-0.05, 0.11, 0.03),
    }  # fmt: skip
    rest = []
    for joint in skeletons.BODY25.joints:
        side, _, rest_name = joint.partition("_")
        x, y, z = place[joint if joint in place else rest_name]
        rest.append((x, -y if side == "right" else y, z))
    swing = rng.uniform(0.02, 0.15, (JOINTS, 3)) * np.sin(
        2 * np.pi * (t[:, None, None] * rng.uniform(0.5, 1.5, (JOINTS, 3)) + rng.random((JOINTS, 3)))
    )
    local = np.array(rest) + swing
    turn = 2 * np.pi * t / 10
    c, s = np.cos(turn)[:, None], np.sin(turn)[:, None]
    x, y = local[..., 0], local[..., 1] + 0.5
    return np.stack([c * x - s * y, s * x + c * y, local[..., 2]], axis=-1)


def take(views: int, frames: int, noise: float, outliers: float) -> tuple[Rig, dict[str, Keypoints2D], np.ndarray]:
    """Rig, detections and truth."""
    rng = np.random.default_rng(1)
    rig, t = rig_around(views), np.arange(frames) / 30
    truth = motion(t)
    seen = {}
    for camera in rig:
        confidence = rng.uniform(0.4, 1.0, (frames, JOINTS))
        xy = camera.project(truth)[0] + noise * rng.normal(size=(frames, JOINTS, 2)) / np.sqrt(confidence)[..., None]
        gross = rng.random((frames, JOINTS)) < outliers
        xy = xy + np.where(gross[..., None], 0.15 * SIZE[0] * rng.normal(size=xy.shape), 0)
        confidence[rng.random((frames, JOINTS)) < 0.03] = 0
        seen[camera.name] = Keypoints2D.of(skeletons.BODY25, t, xy, confidence)
    return rig, seen, truth


def dlt_rows(rig: Rig, seen: dict[str, Keypoints2D]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted DLT rows (points, views, 2, 4), confidence (points, views), undistorted pixels (points, views, 2)."""
    rows, sure, plane = [], [], []
    for camera in rig:
        k = seen[camera.name]
        n = camera.undistort(k.xy).reshape(-1, 2)
        P, c = camera.T_camera_world[:3], np.where(np.isfinite(n).all(1), k.confidence.reshape(-1), 0.0)
        r = n[:, :, None] * P[2] - P[:2]
        rows.append(np.where(c[:, None, None] > 0, c[:, None, None] * r, 0.0))
        sure.append(c)
        plane.append(n)
    return np.stack(rows, 1), np.stack(sure, 1), np.stack(plane, 1)


def plain_dlt(rig: Rig, seen: dict[str, Keypoints2D]) -> np.ndarray:
    """All views at once; missing where fewer than two see the point."""
    rows, sure, _ = dlt_rows(rig, seen)
    X = np.linalg.svd(rows.reshape(len(rows), -1, 4), full_matrices=False)[2][:, -1]
    X = X[:, :3] / X[:, 3:]
    X[(sure > 0).sum(1) < 2] = np.nan
    return X.reshape(-1, JOINTS, 3)


def drop_worst(rig: Rig, seen: dict[str, Keypoints2D], threshold: float = 0.02 * SIZE[0]) -> np.ndarray:
    """Point by point: DLT, drop the view that is furthest off, until all are within `threshold` px or two are left."""
    rows, sure, plane = dlt_rows(rig, seen)
    P = np.stack([c.T_camera_world[:3] for c in rig])
    focal = np.array([c.K[0, 0] for c in rig])
    out = np.full((len(rows), 3), np.nan)
    for i in range(len(rows)):
        on = np.flatnonzero(sure[i] > 0)
        while len(on) >= 2:
            X = np.linalg.svd(rows[i, on].reshape(-1, 4))[2][-1]
            p = P[on] @ X
            error = focal[on] * np.linalg.norm(p[:, :2] / p[:, 2:] - plane[i, on], axis=1)
            if error.max() <= threshold:
                out[i] = X[:3] / X[3]
                break
            on = np.delete(on, error.argmax())
    return out.reshape(-1, JOINTS, 3)


def timed(function: Callable[[], np.ndarray], repeat: int = 3) -> tuple[float, np.ndarray]:
    """Least CPU seconds and the result."""
    best, result = np.inf, np.zeros(0)
    for _ in range(repeat):
        start = time.process_time()
        result = function()
        best = min(best, time.process_time() - start)
    return best, result


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--views", type=int, nargs="+", default=[8, 4, 2])
    parser.add_argument("--noise", type=float, default=1.9, help="px at confidence 1")
    parser.add_argument("--outliers", type=float, default=0.05)
    parser.add_argument("--repeat", type=int, default=3)
    o = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, one used; Python {platform.python_version()}, "
        f"numpy {np.__version__}, scipy {scipy.__version__}; {o.frames} frames x {JOINTS} joints, noise {o.noise} px, "
        f"{o.outliers:.0%} outliers"
    )
    print(f"{'views':>5} {'':22} {'CPU s':>8} {'mean mm':>8} {'median':>7} {'p99 mm':>8} {'kept':>7}")
    for views in o.views:
        rig, seen, truth = take(views, o.frames, o.noise, o.outliers)
        t = np.arange(o.frames) / 30
        found = {
            "plain DLT": timed(lambda: plain_dlt(rig, seen), o.repeat),  # noqa: B023  (called at once)
            "DLT, worst view dropped": timed(lambda: drop_worst(rig, seen), 1),  # noqa: B023
            "mocap": timed(lambda: triangulate(rig, seen, t).keypoints3d.xyz, o.repeat),  # noqa: B023
        }
        for name, (seconds, xyz) in found.items():
            error = 1000 * np.linalg.norm(xyz - truth, axis=-1)
            kept = np.isfinite(error)
            e = error[kept]
            print(
                f"{views:5d} {name:22} {seconds:8.2f} {e.mean():8.1f} {np.median(e):7.1f} {np.percentile(e, 99):8.1f} "
                f"{kept.mean():7.1%}"
            )


if __name__ == "__main__":
    main()
