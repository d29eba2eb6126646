"""What the joints of a body can do and usually do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

# Of each joint's rotation vector in degrees: its range (low, high by x, y, z), its usual value and the usual deviation
# from that. Axes are those of the rest pose: a T-pose, x to the subject's left, y up, z to the front. Left side; the
# right side is its mirror image (y and z change sign). Ranges: American Academy of Orthopaedic Surgeons, "Joint motion"
# (1965), as tabulated in Norkin and White, "Measurement of joint motion" (5th ed., appendix B), spread over the joints
# SMPL divides a region into, and widened where a rotation vector couples its components (the twist of a bent elbow or a
# raised arm shows in all three). Usual values and deviations are rounded from everyday motion: standing and walking,
# arms down.
_TABLE: dict[str, tuple[tuple[tuple[float, float], ...], tuple[float, float, float], tuple[float, float, float]]] = {
    "hip": (((-125, 30), (-50, 50), (-30, 50)), (-20, 0, 3), (30, 13, 11)),
    "knee": (((-3, 150), (-15, 15), (-10, 10)), (30, 0, 0), (30, 4, 3)),
    "ankle": (((-45, 55), (-40, 40), (-35, 35)), (-3, 3, 0), (15, 10, 8)),
    "foot": (((-60, 30), (-5, 5), (-5, 5)), (0, 0, 0), (8, 2, 2)),
    "spine1": (((-35, 55), (-25, 25), (-22, 22)), (6, 0, 0), (14, 7, 6)),
    "spine2": (((-20, 30), (-20, 20), (-15, 15)), (-2, 0, 0), (6, 4, 4)),
    "spine3": (((-15, 20), (-20, 20), (-15, 15)), (0, 0, 0), (4, 4, 4)),
    "neck": (((-35, 40), (-45, 45), (-25, 25)), (4, 0, 0), (10, 10, 7)),
    "head": (((-50, 40), (-45, 45), (-30, 30)), (-4, 0, 0), (15, 13, 9)),
    "collar": (((-20, 20), (-30, 25), (-15, 40)), (0, 0, 0), (4, 8, 8)),
    "shoulder": (((-100, 100), (-140, 70), (-110, 100)), (5, -25, -50), (30, 35, 35)),
    "elbow": (((-90, 90), (-150, 5), (-65, 65)), (-5, -40, 0), (15, 35, 15)),
    "wrist": (((-90, 90), (-35, 35), (-80, 80)), (0, 0, 0), (25, 8, 15)),
    "hand": (((-10, 10), (-25, 25), (-90, 20)), (0, 0, 0), (3, 4, 8)),
}
# Hinges, and which way they must not bend, as in SMPLify (Bogo et al., 2016). Left side.
_HINGES = {"elbow": (0.0, 1.0, 0.0), "knee": (-1.0, 0.0, 0.0)}
_UNKNOWN = (((-180, 180), (-180, 180), (-180, 180)), (0, 0, 0), (6, 6, 6))
_MIRROR = np.array([1.0, -1.0, -1.0])


@dataclass(frozen=True, eq=False)
class JointRanges:
    """What joints can do and usually do: rotation vectors [rad] in the axes of the rest pose."""

    low: Float[np.ndarray, "joints 3"]
    high: Float[np.ndarray, "joints 3"]
    usual: Float[np.ndarray, "joints 3"]
    deviation: Float[np.ndarray, "joints 3"]
    backwards: Float[np.ndarray, "joints 3"]
    """Of a hinge (elbow, knee) the direction it must not bend in, -1 or 1 at one component; 0 everywhere else."""

    @property
    def known(self) -> Bool[np.ndarray, " joints"]:
        """Joints that have a range at all."""
        return np.asarray((self.low > -np.pi).any(1) | (self.high < np.pi).any(1))

    def sample(self, n: int, seed: int = 0) -> Float[np.ndarray, "n joints 3"]:
        """Poses as they usually are, within the ranges; each joint by itself."""
        away = np.random.default_rng(seed).normal(size=(n, *self.usual.shape)) * self.deviation
        return np.clip(self.usual + away, self.low, self.high)


def joint_ranges(names: Sequence[str]) -> JointRanges:
    """Ranges of joints by name; a joint that is not known (fingers, jaw, eyes) may turn freely and usually rests."""
    rows = []
    for name in names:
        side, _, part = name.partition("_")
        row = _TABLE.get(part if side in ("left", "right") else name, _UNKNOWN)
        bounds, usual, deviation = (np.array(x, dtype=float) for x in row)
        backwards = np.array(_HINGES.get(part, (0.0, 0.0, 0.0)))
        if side == "right":
            bounds, usual = np.sort(bounds * _MIRROR[:, None], axis=1), usual * _MIRROR
            backwards = backwards * _MIRROR
        rows.append([*np.radians([bounds[:, 0], bounds[:, 1], usual, deviation]), backwards])
    return JointRanges(*np.stack(rows, axis=1))
