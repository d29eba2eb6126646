"""People moving by construction, measured with noise, and fitted: for tests of the whole fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mocap.bodies import kinematics
from mocap.bodies.load import load_body
from mocap.bodies.model import BodyModel
from mocap.bodies.ranges import joint_ranges
from mocap.fit.motion import MotionFit, fit_motion
from mocap.fit.root import fit_root
from mocap.fit.shape import fit_shape
from mocap.geometry import rotations
from mocap.skeletons import BODY25
from mocap.take import Keypoints3D, Motion
from mocap.terms.base import Data, Term
from mocap.terms.k3d import K3d
from mocap.terms.limits import Limits
from mocap.terms.prior import Prior
from mocap.terms.rest import Rest
from mocap.terms.smooth import Smooth

UPRIGHT = rotations.exp(np.array([np.pi / 2, 0.0, 0.0]))
LOSSES: dict[str, dict[str, Term]] = {
    "anatomical": {"k3d": K3d(), "smooth": Smooth(), "limits": Limits(), "prior": Prior(), "rest": Rest()},
    "free": {"k3d": K3d(), "smooth": Smooth(), "rest": Rest()},
}
"""By the kind of motion: where elbows and knees bend both ways, what judges poses is left out."""


@dataclass(frozen=True, eq=False)
class Truth:
    """A person of some shape, moving."""

    body: BodyModel
    betas: np.ndarray
    motion: Motion
    clock: np.ndarray

    @property
    def points(self) -> np.ndarray:
        m = self.motion
        return kinematics.keypoints_of(self.body, BODY25, self.betas, m.Rh, m.Th, m.poses)

    @property
    def joints(self) -> np.ndarray:
        m = self.motion
        return kinematics.joints_of(self.body, self.betas, m.Rh, m.Th, m.poses)


def moving(kind: str, frames: int, seed: int, *, fps: float = 30.0) -> Truth:
    """Every joint swings in sinusoids of 0.1 to 0.8 Hz about its usual pose or about rest; the body turns and sways."""
    rng = np.random.default_rng(seed)
    body = load_body(gender="female" if kind == "anatomical" else "male")
    t = np.arange(frames)[:, None] / fps

    def waves(n: int) -> np.ndarray:
        size, rate, phase = rng.uniform(0.15, 0.5, (2, 1, n)), rng.uniform(0.1, 0.8, (2, 1, n)), rng.random((2, 1, n))
        return (size * np.sin(2 * np.pi * (rate * t + phase))).sum(0)

    poses = 0.4 * waves(69).reshape(frames, 23, 3)
    if kind == "anatomical":
        r = joint_ranges(body.joint_names[1:])
        middle, half = (r.low + r.high) / 2, (r.high - r.low) / 2
        poses = middle + half * np.tanh((r.usual + 5 * r.deviation * poses - middle) / half)
    turn = np.stack([0 * t[:, 0], 0.5 * t[:, 0], 0 * t[:, 0]], axis=1)
    R = UPRIGHT @ rotations.exp(turn) @ rotations.exp(0.3 * waves(3))
    motion = Motion(rotations.log(R), 0.6 * waves(3) + [0.0, 0.0, 1.0], poses)
    return Truth(body, rng.normal(size=body.n_betas), motion, t[:, 0])


def seen(xyz: np.ndarray, confidence: np.ndarray | None = None) -> Keypoints3D:
    """Points of which nothing is known but where they are."""
    sure = np.ones(xyz.shape[:2]) if confidence is None else confidence
    return Keypoints3D.of(BODY25, xyz, sure, np.full((*xyz.shape, 3), np.nan), np.full(sure.shape, np.nan))


def measured(truth: Truth, seed: int, *, noise: float | np.ndarray = 0.01, missing: float = 0.05) -> Keypoints3D:
    """Points with noise per axis [m], given for all or for each keypoint."""
    rng = np.random.default_rng(1000 + seed)
    xyz = truth.points
    xyz = xyz + np.broadcast_to(noise, 25)[:, None] * rng.normal(size=xyz.shape)
    return seen(xyz, (rng.random(xyz.shape[:2]) >= missing).astype(float))


def fitted(truth: Truth, points: Keypoints3D, losses: Mapping[str, Term]) -> MotionFit:
    """The whole fit: shape, root, motion."""
    shape = fit_shape(truth.body, points)
    root = fit_root(truth.body, shape.betas, points, truth.clock)
    start = Motion(rotations.log(root.R), root.Th, np.zeros((len(root.Th), truth.body.n_joints - 1, 3)))
    return fit_motion(Data(truth.body, truth.clock, points), losses, betas=shape.betas, motion=start)


def again(truth: Truth, fit: MotionFit) -> Truth:
    """What was fitted."""
    return Truth(truth.body, fit.betas, fit.motion, truth.clock)
