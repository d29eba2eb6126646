"""Loss `limits`: joints stay within their anatomical range, and near their usual pose where nothing is seen of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveFloat

from mocap.bodies.kinematics import Posed
from mocap.bodies.ranges import JointRanges, joint_ranges
from mocap.geometry import rotations
from mocap.options import options
from mocap.terms.base import Bound, Data, Residuals, Term


@options
class Limits(Term):
    """Soft walls at the anatomical ranges, and a weak pull of each joint toward its usual pose.

    Joints of which no range is known (fingers, jaw, eyes) have no walls and are held near rest.
    """

    sigma: PositiveFloat = 0.1
    """How far beyond its range a joint may go [rad]."""
    usual: NonNegativeFloat = 0.05
    """Weight of the pull toward the usual pose, relative to the walls' (a joint's usual deviation is its sigma)."""
    weight: NonNegativeFloat = 1.0
    """Multiplies the cost; 0 switches the loss off."""

    def bind(self, data: Data) -> BoundLimits | None:
        """Ranges of the body's joints by name."""
        if self.weight == 0:
            return None
        ranges = joint_ranges(data.body.joint_names[1:])
        gain = np.sqrt(self.weight)
        return BoundLimits(ranges, gain / self.sigma, gain * np.sqrt(self.usual) / ranges.deviation)


@dataclass(frozen=True, eq=False)
class BoundLimits(Bound):
    """The loss with the body's ranges."""

    ranges: JointRanges
    gain: float
    gain_usual: Float[np.ndarray, "joints 3"]

    def relaxed(self) -> BoundLimits:
        """Walls that can be walked through, so that an elbow that started on the wrong side finds its way."""
        return dataclasses.replace(self, gain=0.2 * self.gain)

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """What lies beyond the range, and the distance from the usual pose."""
        theta = rotations.log(posed.R[:, 1:])
        by_step = rotations.right_jacobian_inverse(theta)
        beyond = theta - np.clip(theta, self.ranges.low, self.ranges.high)
        walls = self.gain * (beyond != 0)[..., None] * by_step
        pull = self.gain_usual[..., None] * by_step
        r = [_padded(self.gain * beyond), _padded(self.gain_usual * (theta - self.ranges.usual))]
        return [Residuals.of("blocks", a, {0: _padded(b)}) for a, b in zip(r, (walls, pull), strict=True)]


def _padded(x: np.ndarray) -> np.ndarray:
    """With zeros for the blocks of Th and of the root, which have no range."""
    return np.concatenate([np.zeros((len(x), 2, *x.shape[2:])), x], axis=1)
