"""What the joints of a body can do and usually do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mocap.bodies.model import BodyModel
from mocap.errors import ModelError
from mocap.skeletons import FINGERS

Row = tuple[tuple[tuple[float, float], ...], tuple[float, float, float], tuple[float, float, float]]
# Of each joint's rotation vector in degrees: its range (low, high by x, y, z), its usual value and the usual deviation
# from that. Axes are those of the rest pose: a T-pose, x to the subject's left, y up, z to the front. Left side; the
# right side is its mirror image (y and z change sign). Ranges: American Academy of Orthopaedic Surgeons, "Joint motion"
# (1965), as tabulated in Norkin and White, "Measurement of joint motion" (5th ed., appendix B), spread over the joints
# SMPL divides a region into, and widened where a rotation vector couples its components (the twist of a bent elbow or a
# raised arm shows in all three). Usual values and deviations are rounded from everyday motion: standing and walking,
# arms down.
_TABLE: dict[str, Row] = {
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
# Finger joints: flexion (toward the palm), abduction (of the left hand toward its little finger) and twist, about axes
# of their own (`finger_axes`), from a hand laid flat with its fingers side by side; how the model's own hand rests is
# taken off. The same source: metacarpophalangeal joints (MCP) flexion 90, hyperextension 45, abduction 20; proximal
# interphalangeal (PIP) flexion 100 to 110, distal (DIP) 90 and a little backwards; thumb MCP 50 to 60, interphalangeal
# 80 to 90 and 10 to 20 backwards. The thumb's root (CMC) has flexion 15, extension 20 and abduction 70 there, from a
# thumb laid along the index finger; a model's thumb rests half-way, from which is counted here, and opposing it turns
# it about itself too (Cooney et al., "The kinesiology of the thumb trapeziometacarpal joint", 1981: 53, 42 and 17
# degrees in all). A bent MCP that spreads shows much of that as twist; the others are hinges, that give a few degrees,
# and those of the thumb, about whose axes hands and models agree to 15 degrees, some more. Usual is a hand that hangs:
# its DIPs bend by two thirds of their PIPs.
_FINGER: dict[int, Row] = {
    1: (((-45, 95), (-30, 30), (-20, 20)), (30, 0, 0), (28, 8, 6)),
    2: (((-5, 115), (-8, 8), (-8, 8)), (39, 0, 0), (30, 3, 3)),
    3: (((-12, 90), (-6, 6), (-8, 8)), (26, 0, 0), (20, 3, 3)),
}
_THUMB: dict[int, Row] = {
    1: (((-35, 45), (-40, 40), (-30, 35)), (5, 0, 0), (16, 15, 12)),
    2: (((-20, 70), (-20, 20), (-20, 20)), (18, 0, 0), (18, 7, 7)),
    3: (((-20, 90), (-18, 18), (-18, 18)), (25, 0, 0), (24, 6, 6)),
}
_SPREAD = {"index": -6, "ring": 4, "pinky": 9}
"""Usual abduction of the fingers beside the middle one [degrees]."""
# Which way the back of a finger looks in the rest pose: that of the thumb as its nail does in the included hand, and
# 15 degrees from where the field has it in MANO's. Left hand; it is made exactly across the bone.
_BACK = dict.fromkeys(FINGERS, (0.0, 1.0, 0.0)) | {"thumb": (-1.0, 1.5, 2.0)}
# Hinges, and which way they must not bend, as in SMPLify (Bogo et al., 2016). Left side.
_HINGES = {"elbow": (0.0, 1.0, 0.0), "knee": (-1.0, 0.0, 0.0)}
_UNKNOWN: Row = (((-180, 180), (-180, 180), (-180, 180)), (0, 0, 0), (6, 6, 6))
_MIRROR = np.array([1.0, -1.0, -1.0])


@dataclass(frozen=True, eq=False)
class JointRanges:
    """What joints can do and usually do: rotation vectors [rad] in each joint's own axes, which for a body's joints are
    those of the rest pose, and for a finger's flexion, abduction and twist."""

    low: Float[np.ndarray, "joints 3"]
    high: Float[np.ndarray, "joints 3"]
    usual: Float[np.ndarray, "joints 3"]
    deviation: Float[np.ndarray, "joints 3"]
    backwards: Float[np.ndarray, "joints 3"]
    """Of a hinge (elbow, knee) the direction it must not bend in, -1 or 1 at one component; 0 everywhere else."""
    axes: Float[np.ndarray, "joints 3 3"]
    """Each joint's axes as rows, in the axes of the rest pose."""

    @property
    def known(self) -> Bool[np.ndarray, " joints"]:
        """Joints that have a range at all."""
        return np.asarray((self.low > -np.pi).any(1) | (self.high < np.pi).any(1))

    def components(self, vectors: Float[np.ndarray, "*batch joints 3"]) -> Float[np.ndarray, "*batch joints 3"]:
        """Rotation vectors of the rest pose's axes [rad] by the joints' own."""
        return (self.axes @ vectors[..., None])[..., 0]

    def vectors(self, components: Float[np.ndarray, "*batch joints 3"]) -> Float[np.ndarray, "*batch joints 3"]:
        """The way back: `poses` of a body from components by the joints' own axes [rad]."""
        return (components[..., None, :] @ self.axes)[..., 0, :]

    def sample(self, n: int, seed: int = 0) -> Float[np.ndarray, "n joints 3"]:
        """Poses as they usually are, within the ranges; each joint by itself."""
        away = np.random.default_rng(seed).normal(size=(n, *self.usual.shape)) * self.deviation
        return self.vectors(np.clip(self.usual + away, self.low, self.high))


def finger_of(joint: str) -> tuple[str, str, int] | None:
    """Side, finger and number (from the palm, 1 to 3) of a finger joint of MANO's, SMPL-H's or SMPL-X's names."""
    side, _, part = joint.partition("_")
    if side in ("left", "right") and part[:-1] in FINGERS and part[-1:] in ("1", "2", "3"):
        return side, part[:-1], int(part[-1])
    return None


def is_hand(body: BodyModel) -> bool:
    """Whether a body is a hand by itself, as MANO's is."""
    return side_of(body.joint_names) is not None


def side_of(joint_names: Sequence[str]) -> str | None:
    """Which hand it is that has these joints, its root first: "left" or "right"; None for a body."""
    side, _, root = (joint_names[0] if joint_names else "").partition("_")
    return side if root == "wrist" else None


def of_hands(names: Sequence[str]) -> Bool[np.ndarray, " joints"]:
    """Which joints of a body, its root first, are a hand's: fingers, and the wrist that is the root of a hand alone."""
    alone = side_of(names) is not None
    return np.array([finger_of(name) is not None or (alone and name == names[0]) for name in names])


def bone_axes(side: str, finger: str, bone: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """Axes of flexion, abduction and twist of a finger joint whose bone points along `bone`, as rows.

    All in the axes of the rest pose. Twist is along the bone, toward the tip; flexion across bone and back of the
    finger, so that turning about it by a positive angle moves the tip toward the palm; abduction across both.
    """
    bone = bone / np.linalg.norm(bone)
    flexion = np.cross(np.array(_BACK[finger]) * ([1, 1, 1] if side == "left" else [-1, 1, 1]), bone)
    flexion /= np.linalg.norm(flexion)
    return np.stack([flexion, np.cross(bone, flexion), bone])


def finger_axes(body: BodyModel, joint: str) -> Float[np.ndarray, "3 3"]:
    """:func:`bone_axes` of a finger joint of a body.

    Raises:
        ModelError: The joint sits where the next one does, so that the bone has no direction.
    """
    found = finger_of(joint)
    assert found is not None
    return bone_axes(*found[:2], _bone(body, body.joint_names.index(joint)))


def _bone(body: BodyModel, joint: int) -> Float[np.ndarray, " 3"]:
    """Direction of the bone below a joint, at rest; at the end of a finger that of the bone above."""
    J = body.rest_joints
    below = body.children[joint]
    bone = J[below[0]] - J[joint] if below else J[joint] - J[body.parents[joint]]
    length = np.linalg.norm(bone)
    if not length > 1e-6:
        name = body.joint_names[joint]
        raise ModelError(
            f'Body "{body.name}": {name} sits where its neighbour does; the bones of fingers have a length.'
        )
    return bone / length


def finger_at_rest(body: BodyModel, joint: str) -> Float[np.ndarray, " 3"]:
    """Flexion, abduction, twist [rad] of a finger joint in the rest pose, from a hand laid flat with its fingers side
    by side; of the thumb's root, which has no such zero, none."""
    found = finger_of(joint)
    assert found is not None
    side, finger, number = found
    place = body.joint_names.index(joint)
    bone, (flexion, *_) = _bone(body, place), finger_axes(body, joint)
    if number > 1:
        above = _bone(body, int(body.parents[place]))
        return np.array([np.arctan2(np.cross(above, bone) @ flexion, above @ bone), 0.0, 0.0])
    if finger == "thumb":
        return np.zeros(3)
    along = np.array([1.0 if side == "left" else -1.0, 0.0, 0.0])
    back = np.array(_BACK[finger])
    return np.array([np.arcsin(-bone @ back), np.arctan2(bone @ np.cross(back, along), bone @ along), 0.0])


def joint_ranges(names: Sequence[str], body: BodyModel | None = None) -> JointRanges:
    """Ranges of joints by name; a joint that is not known (jaw, eyes) may turn freely and usually rests.

    Args:
        names: Of the joints.
        body: Whose they are. Without it finger joints, whose axes are along its bones, count as not known.
    """
    rows, axes = [], []
    for name in names:
        side, _, part = name.partition("_")
        row, spread, at_rest = _TABLE.get(part if side in ("left", "right") else name, _UNKNOWN), 0.0, np.zeros(3)
        finger = None if body is None else finger_of(name)
        axes.append(np.eye(3))
        if body is not None and finger is not None:
            row = (_THUMB if finger[1] == "thumb" else _FINGER)[finger[2]]
            spread = _SPREAD.get(finger[1], 0.0) if finger[2] == 1 else 0.0
            axes[-1], at_rest = finger_axes(body, name), finger_at_rest(body, name)
        bounds, usual, deviation = (np.array(x, dtype=float) for x in row)
        usual[1] += spread
        backwards = np.array(_HINGES.get(part, (0.0, 0.0, 0.0)))
        if side == "right":
            bounds, usual = np.sort(bounds * _MIRROR[:, None], axis=1), usual * _MIRROR
            backwards = backwards * _MIRROR
        low, high, usual, deviation = np.radians([bounds[:, 0], bounds[:, 1], usual, deviation])
        rows.append([low - at_rest, high - at_rest, usual - at_rest, deviation, backwards])
    return JointRanges(*np.stack(rows, axis=1), axes=np.stack(axes))
