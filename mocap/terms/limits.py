"""Loss `limits`: joints stay within their anatomical range, elbows and knees do not bend backwards."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveFloat

from mocap.bodies.kinematics import Posed
from mocap.bodies.ranges import JointRanges, joint_ranges
from mocap.options import options
from mocap.terms.base import Bound, Data, Residuals, Term, body_blocks

STRAIGHT = 2.0
"""From this many sigmas backwards on the exponential goes on as its tangent: e^20 would be of no use to any solver."""


@options
class Limits(Term):
    """Soft walls at the anatomical ranges, SMPLify's exponential against elbows and knees bent backwards, and a weak
    pull of each joint toward its usual pose.

    Joints of which no range is known (jaw, eyes) have no walls and are held near rest.
    """

    sigma: PositiveFloat = 0.1
    """How far beyond its range a joint may go [rad]; also the exponential's: exp(angle backwards / sigma)."""
    usual: NonNegativeFloat = 0.05
    """Weight of the pull toward the usual pose, relative to the walls' (a joint's usual deviation is its sigma)."""
    weight: NonNegativeFloat = 1.0
    """Multiplies the cost; 0 switches the loss off."""

    def bind(self, data: Data) -> BoundLimits | None:
        """Ranges of the body's joints by name; None when none has one and nothing pulls them."""
        ranges = joint_ranges(data.body.joint_names[1:], data.body)
        if self.weight == 0 or not (self.usual or ranges.known.any()):
            return None
        gain = np.sqrt(self.weight)
        return BoundLimits(
            ranges=ranges,
            # a hinge has one wall only; the exponential is the other
            low=np.where(ranges.backwards < 0, -np.inf, ranges.low),
            high=np.where(ranges.backwards > 0, np.inf, ranges.high),
            sigma=self.sigma,
            gain=gain,
            gain_usual=gain * np.sqrt(self.usual) / ranges.deviation if self.usual else None,
        )


@dataclass(frozen=True, eq=False)
class BoundLimits(Bound):
    """The loss with the body's ranges."""

    ranges: JointRanges
    low: Float[np.ndarray, "joints 3"]
    high: Float[np.ndarray, "joints 3"]
    sigma: float
    gain: float
    gain_usual: Float[np.ndarray, "joints 3"] | None
    """None: no pull."""

    def relaxed(self) -> BoundLimits:
        """Walls that can be walked through, so that an elbow that started on the wrong side finds its way."""
        return dataclasses.replace(self, gain=0.2 * self.gain)

    def lighter(self, part: float) -> BoundLimits:
        """With so small a part of its weight."""
        usual = None if self.gain_usual is None else self.gain_usual * np.sqrt(part)
        return dataclasses.replace(self, gain=self.gain * np.sqrt(part), gain_usual=usual)

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """How far beyond the range in sigmas, exp(sigmas backwards) at hinges, and the distance from the usual pose.

        SMPLify (Bogo et al., "Keep it SMPL", 2016, section 3.2) has the exponential of the angle [rad] itself, which
        still pulls at a right angle; by sigma it acts where a hinge is straight.
        """
        theta, by_step = self.ranges.components(posed.vectors), self.ranges.axes @ posed.by_step
        beyond = (theta - np.clip(theta, self.low, self.high)) / self.sigma
        slope = (beyond != 0).astype(float)
        hinge, axis = np.nonzero(self.ranges.backwards)
        way = self.ranges.backwards[hinge, axis]
        value, by_angle = exponential(way * theta[:, hinge, axis] / self.sigma)
        beyond[:, hinge, axis] += value
        slope[:, hinge, axis] += way * by_angle

        def by_walls() -> dict[int, np.ndarray]:
            return {0: body_blocks((self.gain / self.sigma) * slope[..., None] * by_step)}

        made = [Residuals.of("blocks", body_blocks(self.gain * beyond), by_walls)]
        if self.gain_usual is not None:
            r = self.gain_usual * (theta - self.ranges.usual)
            pull = self.gain_usual[..., None]
            made.append(Residuals.of("blocks", body_blocks(r), lambda: {0: body_blocks(pull * by_step)}))
        return made


def exponential(u: Float[np.ndarray, "*batch"]) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """exp(u) and its derivative, continued as a straight line from `STRAIGHT` on."""
    e = np.exp(np.minimum(u, STRAIGHT))
    return e * (1 + np.maximum(u - STRAIGHT, 0.0)), e
