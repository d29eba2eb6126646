"""People in everyday poses before one camera whose lens was taken out, by construction: for tests of single views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap.bodies import kinematics
from mocap.bodies.load import load_body
from mocap.bodies.model import BodyModel
from mocap.bodies.ranges import joint_ranges
from mocap.fit.smplify import in_unit_camera
from mocap.geometry import rotations
from mocap.skeletons import LSP14, Skeleton
from mocap.solve.problem import State
from mocap.take import Keypoints2D

FACING = np.diag([1.0, -1.0, -1.0])
"""Upright and toward a camera that looks along z with y down."""


@dataclass(frozen=True, eq=False)
class People:
    """In the camera's axes, one a row."""

    body: BodyModel
    state: State
    seen: Keypoints2D
    joints: np.ndarray

    @property
    def n(self) -> int:
        return len(self.joints)


def people(
    n: int,
    seed: int = 0,
    *,
    turned: np.ndarray | float = 0.0,
    rolled: np.ndarray | float = 0.0,
    depth: float = 6.0,
    spread: float = 0.6,
    noise: float = 0.0,
    skeleton: Skeleton = LSP14,
) -> People:
    """`turned` about their own vertical axis and `rolled` in the picture's plane [rad]; `noise` [1/focal length]."""
    rng = np.random.default_rng(seed)
    body = load_body("embedded")
    ranges = joint_ranges(body.joint_names[1:])
    poses = ranges.usual + spread * (ranges.sample(n, seed) - ranges.usual)
    R = rotations.exp(np.concatenate([np.zeros((n, 1, 3)), poses], axis=1))
    angle, tilt = np.broadcast_to(turned, n), np.broadcast_to(rolled, n)
    roll = rotations.exp(tilt[:, None] * np.array([0.0, 0.0, 1.0]))
    R[:, 0] = roll @ FACING @ rotations.exp(angle[:, None] * np.array([0.0, 1.0, 0.0]))
    Th = np.concatenate([rng.uniform(-0.5, 0.5, (n, 2)), np.full((n, 1), depth)], axis=1)
    return before_camera(body, State(Th, R, rng.normal(size=(n, body.n_betas))), noise=noise, skeleton=skeleton)


def before_camera(
    body: BodyModel, state: State, *, noise: float = 0.0, seed: int = 0, skeleton: Skeleton = LSP14
) -> People:
    """Somebody as the camera sees them."""
    posed = kinematics.pose(kinematics.fold(body, skeleton), state.betas, state.R, state.Th)
    plane = posed.keypoints[..., :2] / posed.keypoints[..., 2:]
    plane = plane + noise * np.random.default_rng(seed).normal(size=plane.shape)
    return People(body, state, in_unit_camera(skeleton, plane, np.ones(plane.shape[:2])), posed.joints)


def joints_of(body: BodyModel, state: State) -> np.ndarray:
    """[m]"""
    return kinematics.pose(kinematics.fold(body, "smpl24"), state.betas, state.R, state.Th).joints


def aligned_error(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Mean distance of the joints of each row after alignment by a similarity [mm]."""
    away = []
    for a, b in zip(found, truth, strict=True):
        a, b = a - a.mean(0), b - b.mean(0)
        U, size, Vt = np.linalg.svd(b.T @ a)
        flip = np.array([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))])
        scale = (size * flip).sum() / (a * a).sum()
        away.append(1e3 * np.linalg.norm(scale * a @ ((U * flip) @ Vt).T - b, axis=-1).mean())
    return np.array(away)
