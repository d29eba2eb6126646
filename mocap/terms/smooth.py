"""Loss `smooth`: accelerations of an expected size, in real time units."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt
from jaxtyping import Bool, Float, Int
from pydantic import NonNegativeFloat, PositiveFloat

from mocap.bodies.kinematics import Posed
from mocap.bodies.ranges import of_hands
from mocap.geometry import rotations
from mocap.options import options
from mocap.terms.base import Bound, Data, Residuals, Term

_JOINT, _ROOT = 20.0, 5.0
"""Accelerations expected of a joint [rad/s^2] and of the body [m/s^2] before the take has told them."""


@options
class Smooth(Term):
    """Second differences over true time steps of Th and of relative rotations (and of keypoints when asked)."""

    sigma: PositiveFloat | None = None
    """Expected size of a joint's angular acceleration, per axis [rad/s^2]; null: told from the take itself, for each
    joint and time."""
    sigma_root: PositiveFloat | None = None
    """Expected size of the body's acceleration, per axis [m/s^2]; null: likewise."""
    sigma_keypoints: Annotated[float, Gt(0)] | None = None
    """Expected size of the keypoints' acceleration, per axis [m/s^2]; null leaves them free."""
    weight: NonNegativeFloat = 1.0
    """Multiplies the cost; 0 switches the loss off."""

    def bind(self, data: Data) -> BoundSmooth | None:
        """With the take's own time steps."""
        if self.weight == 0 or len(data.timestamps) < 3:
            return None
        n_joints = data.body.n_joints
        hands = of_hands(data.body.joint_names)
        sigma = np.array([self.sigma_root or _ROOT] + [self.sigma or _JOINT] * n_joints)
        return BoundSmooth(
            data.timestamps,
            np.broadcast_to(1 / sigma[:, None], (len(data.timestamps), len(sigma), 3)),
            np.full((1 + n_joints, 1), np.sqrt(self.weight)),
            None if self.sigma_keypoints is None else np.sqrt(self.weight) / self.sigma_keypoints,
            estimated=np.array([self.sigma_root is None] + [self.sigma is None] * n_joints),
            names=("Th", *data.body.joint_names),
            hands=np.append(hands[0], hands),
            discount=np.ones(1 + n_joints),
        )


@dataclass(frozen=True, eq=False)
class BoundSmooth(Bound):
    """The loss with its time steps."""

    timestamps: Float[np.ndarray, " frames"]
    precision: Float[np.ndarray, "frames blocks 3"]
    """1 / sigma of the acceleration of Th [s^2/m], the root and the joints [s^2/rad] about each frame, by axis."""
    gain: Float[np.ndarray, "blocks 1"]
    """Root of the weight."""
    gain_keypoints: float | None
    estimated: Bool[np.ndarray, " blocks"]
    """Which sigmas the take itself tells."""
    names: tuple[str, ...]
    hands: Bool[np.ndarray, " blocks"]
    """Which are of hands."""
    discount: Float[np.ndarray, " blocks"]
    """Part of the loss's weight that is left, as of `k3d`; `gain` has it."""
    raised: float = 0.0
    """Part of all sigmas that were raised for motion the last solve had smoothed away."""

    span = 3

    def with_sigma(self, sigma: Float[np.ndarray, "frames blocks 3"], *, raised: float = 0.0) -> BoundSmooth:
        """The loss with other sigmas, where they are not given."""
        return dataclasses.replace(
            self, precision=np.where(self.estimated[:, None], 1 / sigma, self.precision), raised=raised
        )

    def discounted(self, parts: tuple[float, float]) -> BoundSmooth:
        """The loss with so small a part of its weight, of a body's joints and of hands'."""
        part = np.where(self.hands, parts[1], parts[0])
        return dataclasses.replace(self, gain=self.gain * np.sqrt(part / self.discount)[:, None], discount=part)

    def facts(self) -> dict[str, object]:
        """The expected accelerations, median over time [m/s^2 for Th, rad/s^2]."""
        sigma = np.sqrt((1 / np.median(self.precision, axis=0) ** 2).mean(-1))
        return {"sigma": dict(zip(self.names, sigma.tolist(), strict=True))}

    @property
    def dense_coupling(self) -> bool:  # type: ignore[override]
        """Accelerations of keypoints couple everything; those of rotations only a joint with itself."""
        return self.gain_keypoints is not None

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """Accelerations at the inner frames.

        Of rotations: omega_f = log(R_f^T R_f+1) / dt_f is the body-frame velocity of step f, alpha_f the difference
        of successive ones over the time between their middles. Nothing here wraps at pi when someone turns round.
        """
        dt = np.diff(self.timestamps[frames])
        n = len(dt) - 1
        if n < 1:
            return []
        between = 0.5 * (dt[1:] + dt[:-1])
        gain = self.gain * self.precision[frames[1:-1]]
        first = gain / (dt[:-1] * between)[:, None, None]
        second = gain / (dt[1:] * between)[:, None, None]

        relative = rotations.log(posed.R[:-1].swapaxes(-1, -2) @ posed.R[1:])  # (n + 1, joints, 3)
        step = np.concatenate([np.diff(posed.Th, axis=0)[:, None], relative], axis=1)
        r = second * step[1:] - first * step[:-1]
        made = [Residuals.of("blocks", r, lambda: _jacobians(relative, first[..., None], second[..., None]))]
        if self.gain_keypoints is not None:
            g = self.gain_keypoints
            before, after = (g / (d * between)[:, None, None] for d in (dt[:-1], dt[1:]))
            step = np.diff(posed.keypoints, axis=0)
            r = after * step[1:] - before * step[:-1]
            by_frame = (before, -before - after, after)
            jacobians = {o: np.broadcast_to(c[..., None] * np.eye(3), (*r.shape, 3)) for o, c in enumerate(by_frame)}
            made.append(Residuals.of("keypoints", r, jacobians))
        return made


def _jacobians(relative: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[int, np.ndarray]:
    """By the three frames, of second x (step after) - first x (step before); of Th, then of rotations."""
    by_end = rotations.right_jacobian_inverse(relative)
    by_start = by_end.swapaxes(-1, -2)  # the left Jacobian's inverse; it enters negatively
    J = np.empty((3, *first.shape[:2], 3, 3))
    eye = np.eye(3)
    J[0, :, :1] = first[:, :1] * eye
    J[1, :, :1] = -(first + second)[:, :1] * eye
    J[2, :, :1] = second[:, :1] * eye
    np.multiply(first[:, 1:], by_start[:-1], out=J[0, :, 1:])
    np.multiply(second[:, 1:], by_end[1:], out=J[2, :, 1:])
    J[1, :, 1:] = -second[:, 1:] * by_start[1:] - first[:, 1:] * by_end[:-1]
    return dict(enumerate(J))
