"""People moving by construction, measured with noise, and fitted: for tests of the whole fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mocap.bodies import kinematics
from mocap.bodies.load import load_body
from mocap.bodies.model import BodyModel
from mocap.bodies.ranges import finger_of, joint_ranges
from mocap.fit.motion import MotionFit, fit_motion
from mocap.fit.root import fit_root
from mocap.fit.shape import fit_shape
from mocap.geometry import rotations
from mocap.skeletons import BODY25, FINGERS, HANDS, MEDIAPIPE75, Skeleton
from mocap.take import Keypoints3D, Motion
from mocap.terms.base import Data, Term
from mocap.terms.fingers import Fingers
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
OF_HANDS: dict[str, Term] = {"k3d": K3d(), "smooth": Smooth(), "limits": Limits(), "fingers": Fingers()}


@dataclass(frozen=True, eq=False)
class Truth:
    """A person of some shape, moving."""

    body: BodyModel
    betas: np.ndarray
    motion: Motion
    clock: np.ndarray
    skeleton: Skeleton = BODY25

    @property
    def points(self) -> np.ndarray:
        m = self.motion
        return kinematics.keypoints_of(self.body, self.skeleton, self.betas, m.Rh, m.Th, m.poses)

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


def finger_angles(body: BodyModel, clock: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flexion, abduction and twist [rad] of every joint: fingers that open and close, each in its own time and somewhat
    together, as far as a fist; no joint exactly as the loss has them bend. Zero for joints of no finger."""

    def wave(low: float, high: float, rate: float) -> np.ndarray:
        size, phase = rng.uniform(0.3, 0.6, 2), rng.random(2)
        both = size[0] * np.sin(2 * np.pi * (rate * clock + phase[0]))
        both += size[1] * np.sin(2 * np.pi * (2.1 * rate * clock + phase[1]))
        return low + (high - low) * (0.5 + 0.5 * np.tanh(both))

    angles = np.zeros((len(clock), body.n_joints - 1, 3))
    together = wave(0, 1, 0.4)
    for finger in FINGERS:
        closed = 0.6 * together + 0.4 * wave(0, 1, 0.6)
        for i, name in enumerate(body.joint_names[1:]):
            found = finger_of(name)
            if found is None or found[1] != finger:
                continue
            most = {1: 20, 2: 40, 3: 50} if finger == "thumb" else {1: 70, 2: 90, 3: 60}
            angles[:, i, 0] = closed * most[found[2]] * rng.uniform(0.85, 1.05) + rng.uniform(-3, 3)
            angles[:, i, 1:] = rng.uniform(-1.5, 1.5, 2)
            if found[2] == 1:
                angles[:, i, 1] += wave(-8, 8, 0.5)
    return np.radians(angles)


def gesturing(side: str, frames: int, seed: int, *, fps: float = 30.0) -> Truth:
    """A hand by itself, which waves and turns while its fingers open and close."""
    rng = np.random.default_rng(seed)
    body = load_body(f"embedded_{side}_hand")
    t = np.arange(frames) / fps

    def sway(size: float) -> np.ndarray:
        rate, phase = rng.uniform(0.2, 0.5, 3), rng.random(3)
        return size * np.sin(2 * np.pi * (rate * t[:, None] + phase))

    poses = joint_ranges(body.joint_names[1:], body).vectors(finger_angles(body, t, rng))
    R = UPRIGHT @ rotations.exp(sway(0.9)) @ rotations.exp(sway(0.4))
    motion = Motion(rotations.log(R), sway(0.15) + [0.0, 0.0, 1.0], poses)
    return Truth(body, rng.normal(size=body.n_betas), motion, t, HANDS[side])


def with_hands(frames: int, seed: int) -> Truth:
    """A moving person whose fingers open and close."""
    body = load_body("embedded_hands")
    alike = moving("anatomical", frames, seed)
    rng = np.random.default_rng(seed)
    names = body.joint_names[1:]
    poses = joint_ranges(names, body).vectors(finger_angles(body, alike.clock, rng))
    for i, name in enumerate(alike.body.joint_names[1:]):
        if name in names:
            poses[:, names.index(name)] = alike.motion.poses[:, i]
    motion = Motion(alike.motion.Rh, alike.motion.Th, poses)
    return Truth(body, alike.betas, motion, alike.clock, MEDIAPIPE75)


def seen(xyz: np.ndarray, confidence: np.ndarray | None = None, skeleton: Skeleton = BODY25) -> Keypoints3D:
    """Points of which nothing is known but where they are."""
    sure = np.ones(xyz.shape[:2]) if confidence is None else confidence
    return Keypoints3D.of(skeleton, xyz, sure, np.full((*xyz.shape, 3), np.nan), np.full(sure.shape, np.nan))


def measured(truth: Truth, seed: int, *, noise: float | np.ndarray = 0.01, missing: float = 0.05) -> Keypoints3D:
    """Points with noise per axis [m], given for all or for each keypoint."""
    rng = np.random.default_rng(1000 + seed)
    xyz = truth.points
    xyz = xyz + np.broadcast_to(noise, xyz.shape[1])[:, None] * rng.normal(size=xyz.shape)
    return seen(xyz, (rng.random(xyz.shape[:2]) >= missing).astype(float), truth.skeleton)


def fitted(truth: Truth, points: Keypoints3D, losses: Mapping[str, Term]) -> MotionFit:
    """The whole fit: shape, root, motion."""
    shape = fit_shape(truth.body, points)
    root = fit_root(truth.body, shape.betas, points, truth.clock)
    start = Motion(rotations.log(root.R), root.Th, np.zeros((len(root.Th), truth.body.n_joints - 1, 3)))
    return fit_motion(Data(truth.body, truth.clock, points), losses, betas=shape.betas, motion=start)


def again(truth: Truth, fit: MotionFit) -> Truth:
    """What was fitted."""
    return Truth(truth.body, fit.betas, fit.motion, truth.clock, truth.skeleton)
