"""Loss `fingers`: fingers are held as hands hold them, most of all those that were not seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int
from pydantic import NonNegativeFloat

from mocap.bodies.kinematics import Posed
from mocap.bodies.model import BodyModel, PoseSpace
from mocap.bodies.ranges import finger_of, joint_ranges
from mocap.errors import ModelError
from mocap.options import options
from mocap.skeletons import FINGERS
from mocap.terms.base import Bound, Data, Residuals, Term
from mocap.terms.prior import BoundPrior, Mixture, matched

# How the flexions of fingers go together: (finger, joint) follows so many times another, to within [degrees]. The end
# of a finger bends by two thirds of what its middle does (Rijpkema and Girard, "Computer animation of knowledge-based
# human grasping", 1991; Lin, Wu and Huang, "Modeling the constraints of human hand motion", 2000). That neighbours bend
# together is a tendency only, least in the index finger, most in the ring finger (Haeger-Ross and Schieber,
# "Quantifying the independence of human finger movements", 2000).
_END = (2 / 3, 10.0)
_MIDDLE = (0.8, 35.0)
_NEIGHBOURS = {("index", "middle"): 30.0, ("middle", "ring"): 20.0, ("ring", "pinky"): 20.0}
_FLOOR = 0.06
"""What a file's pose space leaves out of a finger's turning, or has as less than this [rad]."""


@options
class Fingers(Term):
    """A Gaussian over the finger joints of each hand: where fingers usually are, and how they bend together.

    It tells where a finger is that few cameras or none saw; one that was seen it moves by less than a millimetre. A
    body without fingers has none of it.
    """

    model: Literal["auto", "own", "file"] = "auto"
    """"own": where fingers usually are, with the couplings between flexions that are published; "file": the pose space
    of the model's file (MANO, SMPL-H, SMPL-X); "auto": the file's where it has one, else our own."""
    weight: NonNegativeFloat = 0.1
    """Multiplies the cost; 0 switches the loss off. Successive frames say much the same, so each counts little."""

    def bind(self, data: Data) -> BoundFingers | None:
        """One Gaussian a hand; None for a body without fingers."""
        hands = hands_of(data.body)
        if self.weight == 0 or not hands:
            return None
        bound, source = [], {}
        for side, joints in hands.items():
            space = next((s for s in data.body.pose_spaces if set(joints) <= set(s.joint_names)), None)
            if self.model == "file" and space is None:
                raise ModelError(
                    f'Loss fingers: the file of body "{data.body.name}" has no pose space of the {side} hand; '
                    "model: own is the one that needs none."
                )
            gaussian = own(data.body, joints) if space is None or self.model == "own" else of_space(space)
            places, gaussian = matched(gaussian, data.body, data.body.name)
            bound.append(BoundPrior.of(places, gaussian, self.weight))
            source[side] = "own" if space is None or self.model == "own" else "file"
        return BoundFingers(tuple(bound), source)


def hands_of(body: BodyModel) -> dict[str, tuple[str, ...]]:
    """The finger joints of each hand that a body has, by side."""
    found: dict[str, tuple[str, ...]] = {}
    for name in body.joint_names:
        finger = finger_of(name)
        if finger is not None:
            found[finger[0]] = (*found.get(finger[0], ()), name)
    return found


def own(body: BodyModel, joints: Sequence[str]) -> Mixture:
    """A Gaussian over finger joints of one hand: each near its usual place, and flexions that follow each other.

    With each joint by itself a precision of 1 / deviation^2 about its own axes, every coupling adds that of a linear
    residual (flexion - factor x other flexion) / sigma about the usual pose.
    """
    ranges = joint_ranges(joints, body)
    precision = np.diag(ranges.deviation.ravel() ** -2.0)
    flexion = {found[1:]: 3 * i for i, name in enumerate(joints) if (found := finger_of(name)) is not None}
    pairs = [((f, 3), (f, 2), *_END) for f in FINGERS if f != "thumb"]
    pairs += [((f, 2), (f, 1), *_MIDDLE) for f in FINGERS if f != "thumb"]
    pairs += [((b, k), (a, k), 1.0, sigma) for (a, b), sigma in _NEIGHBOURS.items() for k in (1, 2)]
    for one, other, factor, sigma in pairs:
        if one in flexion and other in flexion:
            row = np.zeros(len(precision))
            row[flexion[one]], row[flexion[other]] = 1.0, -factor
            precision += np.outer(row, row) / np.radians(sigma) ** 2
    n = len(joints)
    turned = np.linalg.inv(precision).reshape(n, 3, n, 3)
    covariance = np.einsum("iax,iajb,jby->ixjy", ranges.axes, turned, ranges.axes).reshape(3 * n, 3 * n)
    mean = ranges.vectors(ranges.usual).ravel()
    return Mixture(mean[None], 0.5 * (covariance + covariance.T)[None], np.ones(1), tuple(joints))


def of_space(space: PoseSpace) -> Mixture:
    """The Gaussian of a file's principal components, no narrower in any direction than a floor."""
    V = space.components
    variance = np.maximum(space.deviation, _FLOOR) ** 2
    covariance = _FLOOR**2 * np.eye(V.shape[1]) + (V.T * (variance - _FLOOR**2)) @ V
    return Mixture(space.mean[None], covariance[None], np.ones(1), space.joint_names)


@dataclass(frozen=True, eq=False)
class BoundFingers(Bound):
    """The loss with the Gaussian of each hand."""

    hands: tuple[BoundPrior, ...]
    source: dict[str, str]
    """Of each side, whether its Gaussian is our own or the file's."""

    def lighter(self, part: float) -> BoundFingers:
        """With so small a part of its weight."""
        return dataclasses.replace(self, hands=tuple(hand.lighter(part) for hand in self.hands))

    def facts(self) -> dict[str, object]:
        """Whose Gaussian each hand has."""
        return {"model": self.source}

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """Whitened differences from the mean, a hand at a time."""
        return [made for hand in self.hands for made in hand.residuals(posed, frames)]
