"""Synthetic takes: a body of random shape moved by sinusoids, seen as noisy body25 points with some missing.

- `anatomical`: every joint swings about its usual pose and stays within its range (the included female body);
- `free`: every joint swings about rest, so knees and elbows bend both ways (the included male body).

Frequencies are 0.1 to 0.8 Hz; the body turns about the vertical and sways. 10 mm of noise per axis, 5 % missing, 30
frames a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap.bodies import kinematics
from mocap.bodies.load import load_body
from mocap.bodies.model import BodyModel
from mocap.bodies.ranges import joint_ranges
from mocap.geometry import rotations
from mocap.skeletons import BODY25
from mocap.take import Keypoints3D, Motion
from mocap.terms.base import Data

KINDS = {"anatomical": "female", "free": "male"}
"""The takes there are, and whose body each is of."""
FPS, NOISE, MISSING = 30.0, 0.01, 0.05
_CHUNK = 1000


@dataclass(frozen=True, eq=False)
class SyntheticTake:
    """A truth, and what was seen of it."""

    body: BodyModel
    betas: np.ndarray
    motion: Motion
    clock: np.ndarray
    points: Keypoints3D

    @property
    def data(self) -> Data:
        """What losses are bound to."""
        return Data(self.body, self.clock, self.points)

    def errors(self, betas: np.ndarray, motion: Motion) -> tuple[float, float]:
        """Mean distance from the truth of the 25 points and of the body's joints [mm]."""
        totals = np.zeros(2)
        for s in range(0, len(self.clock), _CHUNK):
            rows = slice(s, s + _CHUNK)
            for i, of in enumerate((_keypoints, _joints)):
                off = of(self.body, betas, motion, rows) - of(self.body, self.betas, self.motion, rows)
                totals[i] += np.linalg.norm(off, axis=-1).mean(1).sum()
        return float(1000 * totals[0] / len(self.clock)), float(1000 * totals[1] / len(self.clock))


def _keypoints(body: BodyModel, betas: np.ndarray, m: Motion, rows: slice) -> np.ndarray:
    return kinematics.keypoints_of(body, BODY25, betas, m.Rh[rows], m.Th[rows], m.poses[rows])


def _joints(body: BodyModel, betas: np.ndarray, m: Motion, rows: slice) -> np.ndarray:
    return kinematics.joints_of(body, betas, m.Rh[rows], m.Th[rows], m.poses[rows])


def _waves(rng: np.random.Generator, t: np.ndarray, n: int) -> np.ndarray:
    """Sums of two sinusoids, of amplitude 1 at most: (frames, n)."""
    total = np.zeros((len(t), n))
    for _ in range(2):
        amplitude, frequency, phase = rng.uniform(0.15, 0.5, n), rng.uniform(0.1, 0.8, n), rng.uniform(0, 2 * np.pi, n)
        total += amplitude * np.sin(2 * np.pi * frequency * t[:, None] + phase)
    return total


def _within(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """`x` bent smoothly into its range."""
    middle, half = (low + high) / 2, (high - low) / 2
    return middle + half * np.tanh((x - middle) / half)


def synthetic_take(kind: str, frames: int, *, seed: int = 0, noise: float = NOISE) -> SyntheticTake:
    """A take of one of :data:`KINDS`; the same arguments give the same take."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    body = load_body(gender=KINDS[kind])
    betas = rng.normal(size=body.n_betas)
    t = np.arange(frames) / FPS
    swing = _waves(rng, t, 3 * (body.n_joints - 1)).reshape(frames, -1, 3)
    if kind == "anatomical":
        ranges = joint_ranges(body.joint_names[1:])
        poses = _within(ranges.usual + 2 * ranges.deviation * swing, ranges.low, ranges.high)
    else:
        poses = 0.4 * swing
    sway = _waves(rng, t, 3)
    turn = np.stack([0 * t, 0.5 * t + 0.6 * sway[:, 1], 0 * t], axis=1)
    upright = rotations.exp(np.array([np.pi / 2, 0.0, 0.0]))
    Rh = rotations.log(upright @ rotations.exp(turn) @ rotations.exp(0.2 * sway))
    motion = Motion(Rh, 0.6 * _waves(rng, t, 3) + [0.0, 0.0, 1.0], poses)
    xyz = np.concatenate([_keypoints(body, betas, motion, slice(s, s + _CHUNK)) for s in range(0, frames, _CHUNK)])
    xyz += noise * rng.normal(size=xyz.shape)
    seen = (rng.random(xyz.shape[:2]) >= MISSING).astype(float)
    unknown = np.broadcast_to(np.nan, (*xyz.shape, 3))
    points = Keypoints3D.of(BODY25, xyz, seen, unknown, np.full(seen.shape, np.nan))
    return SyntheticTake(body, betas, motion, t, points)
