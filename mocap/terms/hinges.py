"""Loss `hinges`: elbows and knees that bend backwards cost exponentially, as in SMPLify."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat

from mocap.bodies.kinematics import Posed
from mocap.bodies.ranges import joint_ranges
from mocap.options import options
from mocap.terms.base import Bound, Data, Residuals, Term
from mocap.terms.limits import exponential


@options
class Hinges(Term):
    """exp(angle [rad] backwards) of both elbows and both knees (Bogo et al., "Keep it SMPL", 2016, equation 4).

    `limits` is for takes of several cameras; this one still pulls at a right angle, as a single picture needs it.
    """

    weight: NonNegativeFloat = 4.0
    """Multiplies the cost 1/2 exp(angle)^2; 0 switches the loss off. SMPLify's program has 20.1 = 2 x 3.17^2 for each
    -log of its prior; beside ours that keeps straight knees and elbows bent, and joints 8 mm further from the truth
    (benchmarks/smplify.py)."""

    def bind(self, data: Data) -> BoundHinges | None:
        """The body's hinges by name; None when it has none."""
        ranges = joint_ranges(data.body.joint_names[1:])
        joint, axis = np.nonzero(ranges.backwards)
        if self.weight == 0 or not len(joint):
            return None
        return BoundHinges(joint, axis, ranges.backwards[joint, axis], np.sqrt(self.weight))


@dataclass(frozen=True, eq=False)
class BoundHinges(Bound):
    """The loss with the body's hinges."""

    joint: Int[np.ndarray, " hinges"]
    """Among the joints after the root."""
    axis: Int[np.ndarray, " hinges"]
    """Which component of the rotation vector bends it."""
    way: Float[np.ndarray, " hinges"]
    """Sign of that component when it is bent backwards."""
    gain: float

    def lighter(self, part: float) -> BoundHinges:
        """With so small a part of its weight."""
        return dataclasses.replace(self, gain=self.gain * np.sqrt(part))

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """The exponentials at the hinges' blocks, zero at all others."""
        n, blocks = len(posed.R), 1 + posed.R.shape[1]
        value, slope = exponential(self.way * posed.vectors[:, self.joint, self.axis])
        r = np.zeros((n, blocks, 1))
        r[:, 2 + self.joint, 0] = self.gain * value

        def by_steps() -> dict[int, np.ndarray]:
            J = np.zeros((n, blocks, 1, 3))
            turn = posed.by_step[:, self.joint, self.axis]
            J[:, 2 + self.joint, 0] = (self.gain * self.way * slope)[..., None] * turn
            return {0: J}

        return [Residuals.of("blocks", r, by_steps)]
