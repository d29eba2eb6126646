"""A person of constant limb lengths walking, turning and swinging arms, seen by rigs at any moments: the truth."""

from __future__ import annotations

import numpy as np
from rigs import look_at

from mocap.geometry.cameras import Camera, Rig
from mocap.skeletons import BODY25
from mocap.take import Keypoints2D


def _chain(start: np.ndarray, length: float, forward: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """The end of a limb hanging from `start`, swung forward by `angle` [rad]."""
    down = np.array([0, 0, -1.0])
    return start + length * (np.sin(angle)[:, None] * forward + np.cos(angle)[:, None] * down)


def walker(t: np.ndarray, *, speed: float = 1.0) -> np.ndarray:
    """World positions [m] of BODY25 at times t [s]: (frames, 25, 3). Turns round once in 12 s."""
    t = np.asarray(t) * speed
    heading = 2 * np.pi * t / 12
    forward = np.stack([np.cos(heading), np.sin(heading), 0 * t], -1)
    left = np.stack([-np.sin(heading), np.cos(heading), 0 * t], -1)
    up = np.array([0, 0, 1.0])
    pelvis = np.stack([0.6 * np.sin(heading), -0.6 * np.cos(heading), 0.95 + 0.03 * np.sin(4 * np.pi * t)], -1)
    swing = 0.5 * np.sin(2 * np.pi * t)
    p = {"mid_hip": pelvis, "neck": pelvis + 0.5 * up + 0.05 * forward}
    p["nose"] = p["neck"] + 0.2 * up + 0.12 * forward
    for side, sign in (("left", 1.0), ("right", -1.0)):
        s = sign * swing
        p[f"{side}_hip"] = pelvis + 0.1 * sign * left
        p[f"{side}_knee"] = _chain(p[f"{side}_hip"], 0.42, forward, s)
        p[f"{side}_ankle"] = _chain(p[f"{side}_knee"], 0.42, forward, s - 0.3 * (1 + sign * np.cos(2 * np.pi * t)))
        foot = p[f"{side}_ankle"] - 0.05 * up
        p[f"{side}_heel"] = foot - 0.06 * forward
        p[f"{side}_big_toe"] = foot + 0.18 * forward - 0.02 * sign * left
        p[f"{side}_small_toe"] = foot + 0.15 * forward + 0.05 * sign * left
        p[f"{side}_shoulder"] = p["neck"] + 0.18 * sign * left - 0.03 * up
        p[f"{side}_elbow"] = _chain(p[f"{side}_shoulder"], 0.3, forward, -1.2 * s)
        p[f"{side}_wrist"] = _chain(p[f"{side}_elbow"], 0.26, forward, -1.2 * s + 0.5)
        p[f"{side}_eye"] = p["nose"] + 0.03 * up + 0.03 * sign * left - 0.02 * forward
        p[f"{side}_ear"] = p["nose"] + 0.02 * up + 0.07 * sign * left - 0.1 * forward
    return np.stack([p[j] for j in BODY25.joints], axis=1)


def ring(views: int = 4, *, size: tuple[int, int] = (1280, 720), focal: float = 700.0, seed: int = 0) -> Rig:
    """Cameras around, each with its own height, focal length and lens distortion."""
    rng = np.random.default_rng(seed)
    cameras = []
    for i in range(views):
        angle = 2 * np.pi * (i + 0.3 * rng.uniform(-1, 1)) / views + 0.4
        eye = np.array([4.2 * np.cos(angle), 4.2 * np.sin(angle), rng.uniform(1.0, 2.4)])
        f = focal * rng.uniform(0.9, 1.1) * size[0] / 1280
        K = np.array([[f, 0, size[0] / 2 + 7], [0, f * 1.003, size[1] / 2 - 5], [0, 0, 1]])
        distortion = rng.normal(size=5) * [0.08, 0.02, 1e-3, 1e-3, 0.01]
        cameras.append(Camera(f"cam_{i + 1}", K, distortion, look_at(eye), size))
    return Rig(tuple(cameras))


def seen(
    rig: Rig,
    times: dict[str, np.ndarray] | np.ndarray,
    *,
    noise: float = 0.0,
    missing: float = 0.0,
    confidence: tuple[float, float] = (1.0, 1.0),
    seed: int = 1,
    speed: float = 1.0,
) -> dict[str, Keypoints2D]:
    """What each camera sees at its own moments: pixels with noise of variance noise^2 / confidence."""
    rng = np.random.default_rng(seed)
    out = {}
    for camera in rig:
        t = times if isinstance(times, np.ndarray) else times[camera.name]
        xy = camera.project(walker(t, speed=speed))[0]
        sure = rng.uniform(*confidence, xy.shape[:2])
        xy = xy + noise * rng.normal(size=xy.shape) / np.sqrt(sure)[..., None]
        sure = np.where(rng.random(sure.shape) < missing, 0.0, sure)
        out[camera.name] = Keypoints2D.of(BODY25, t, xy, sure)
    return out
