"""Loss `smooth`: accelerations of an expected size, in real time units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveFloat

from mocap.bodies.kinematics import Posed
from mocap.geometry import rotations
from mocap.options import options
from mocap.terms.base import Bound, Data, Residuals, Term


@options
class Smooth(Term):
    """Second differences over true time steps of Th and of relative rotations (and of keypoints when asked)."""

    sigma: PositiveFloat = 40.0
    """Expected size of a joint's angular acceleration, per axis [rad/s^2]."""
    sigma_root: PositiveFloat = 10.0
    """Expected size of the body's acceleration, per axis [m/s^2]."""
    sigma_keypoints: Annotated[float, Gt(0)] | None = None
    """Expected size of the keypoints' acceleration, per axis [m/s^2]; null leaves them free."""
    weight: NonNegativeFloat = 1.0
    """Multiplies the cost; 0 switches the loss off."""

    def bind(self, data: Data) -> BoundSmooth | None:
        """With the take's own time steps."""
        if self.weight == 0 or len(data.timestamps) < 3:
            return None
        gain = np.sqrt(self.weight)
        return BoundSmooth(
            data.timestamps,
            gain / self.sigma,
            gain / self.sigma_root,
            None if self.sigma_keypoints is None else gain / self.sigma_keypoints,
        )


@dataclass(frozen=True, eq=False)
class BoundSmooth(Bound):
    """The loss with its time steps."""

    timestamps: Float[np.ndarray, " frames"]
    gain: float
    gain_root: float
    gain_keypoints: float | None

    span = 3

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
        between = (0.5 * (dt[1:] + dt[:-1]))[:, None, None]
        first, second = 1 / (dt[:-1, None, None] * between), 1 / (dt[1:, None, None] * between)

        relative = rotations.log(posed.R[:-1].swapaxes(-1, -2) @ posed.R[1:])  # (n + 1, joints, 3)
        by_end = rotations.right_jacobian_inverse(relative)
        by_start = -by_end.swapaxes(-1, -2)  # -left Jacobian inverse
        blocks = posed.R.shape[1] + 1
        r = np.empty((n, blocks, 3))
        r[:, :1] = self.gain_root * _second_difference(posed.Th[:, None], first, second)
        r[:, 1:] = self.gain * (relative[1:] * second - relative[:-1] * first)
        J = np.zeros((3, n, blocks, 3, 3))
        eye = np.eye(3)
        first, second = first[..., None], second[..., None]
        J[0, :, :1] = self.gain_root * first * eye
        J[1, :, :1] = -self.gain_root * (first + second) * eye
        J[2, :, :1] = self.gain_root * second * eye
        J[0, :, 1:] = -self.gain * first * by_start[:-1]
        J[1, :, 1:] = self.gain * (second * by_start[1:] - first * by_end[:-1])
        J[2, :, 1:] = self.gain * second * by_end[1:]
        made = [Residuals.of("blocks", r, dict(enumerate(J)))]
        if self.gain_keypoints is not None:
            g = self.gain_keypoints
            r = g * _second_difference(posed.keypoints, first[..., 0], second[..., 0])
            shape = (*r.shape, 3)
            jacobians = {o: np.broadcast_to(g * c * eye, shape) for o, c in enumerate((first, -first - second, second))}
            made.append(Residuals.of("keypoints", r, jacobians))
        return made


def _second_difference(x: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    step = np.diff(x, axis=0)
    return step[1:] * second - step[:-1] * first
