"""Keypoint sets: their joints, limbs and how one maps to another, always BY NAME.

A joint has one name in every set that has it (`left_knee` is `left_knee` in coco17 and in body25), so a mapping is
never a table of numbers. Points one set has and another only implies (`neck`, `mid_hip`) are derived as means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from mocap.errors import UnknownName

_SIDED_LIMBS = (
    ("shoulder", "elbow"),
    ("elbow", "wrist"),
    ("hip", "knee"),
    ("knee", "ankle"),
)


def other_side(joint: str) -> str:
    """The name of a joint's left-right counterpart; its own where it has none.

    By words: mediapipe has `mouth_left` beside `left_eye_inner`.
    """
    swap = {"left": "right", "right": "left"}
    return "_".join(swap.get(word, word) for word in joint.split("_"))


def _both(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((f"{side}_{a}", f"{side}_{b}") for a, b in pairs for side in ("left", "right"))


@dataclass(frozen=True)
class Skeleton:
    """A named, ordered set of keypoints."""

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[str, str], ...]
    """Pairs of joints that are drawn as a line."""
    derived: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False, hash=False)
    """Points other sets have and this one implies: name -> joints of this set whose mean it is."""
    unsure: dict[str, float] = field(default_factory=dict, compare=False, hash=False)
    """Points whose place on the body is not agreed on by those who detect them: by how much they may be off, the same
    way in every frame [m]. A fit leans on them less."""

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """The place of `joint`; UnknownName when this set has none of that name."""
        try:
            return self.joints.index(joint)
        except ValueError:
            raise UnknownName(f"joint of {self.name}", joint, self.joints) from None

    def indices(self, joints: Iterable[str]) -> Int[np.ndarray, " n"]:
        """The places of several joints."""
        return np.array([self.index(j) for j in joints], dtype=np.intp)

    def has(self, *joints: str) -> bool:
        """Whether every one of `joints` is in this set."""
        return all(j in self.joints for j in joints)

    def limb_indices(self) -> Int[np.ndarray, "limbs 2"]:
        """The limbs as places."""
        return np.array([[self.index(a), self.index(b)] for a, b in self.limbs], dtype=np.intp).reshape(-1, 2)

    def place_sigma(self) -> Float[np.ndarray, " joints"]:
        """By how much each joint's place may be off [m]: `unsure`, and 0 for the rest."""
        return np.array([self.unsure.get(joint, 0.0) for joint in self.joints])

    def of_hands(self) -> Bool[np.ndarray, " joints"]:
        """Which joints are of a hand's 21: close together, and seen with less of an error [m] than a body's."""
        return np.isin(self.joints, HANDS42.joints)

    def each_hand(self) -> list[Bool[np.ndarray, " joints"]]:
        """Which joints are of the left and which of the right hand, of the hands this set has."""
        return [mine for hand in HANDS.values() if (mine := np.isin(self.joints, hand.joints)).any()]

    def mirrored(self) -> Int[np.ndarray, " joints"]:
        """For each joint the place of its left-right counterpart (itself when it has none)."""
        others = [other_side(joint) for joint in self.joints]
        return np.array(
            [self.joints.index(other) if other in self.joints else i for i, other in enumerate(others)], dtype=np.intp
        )


@lru_cache(maxsize=64)
def _matrix(source: str, target: str) -> np.ndarray:
    a, b = get(source), get(target)
    m = np.zeros((len(b), len(a)))
    for row, joint in enumerate(b.joints):
        parts = (joint,) if joint in a.joints else a.derived.get(joint, ())
        if parts:
            m[row, a.indices(parts)] = 1.0 / len(parts)
    m.flags.writeable = False
    return m


def conversion(source: Skeleton, target: Skeleton) -> Float[np.ndarray, "target source"]:
    """Linear map from `source` points to `target` points; a row of zeros where `source` has no such point."""
    return _matrix(source.name, target.name)


def convert(
    xyz: Float[np.ndarray, "*frames source dims"],
    confidence: Float[np.ndarray, "*frames source"],
    source: Skeleton,
    target: Skeleton,
) -> tuple[Float[np.ndarray, "*frames target dims"], Float[np.ndarray, "*frames target"]]:
    """Points of one set as points of another: NaN and confidence 0 where they cannot be had.

    A derived point needs all its parts; its confidence is the least of theirs.
    """
    m = conversion(source, target)
    out = np.full((*xyz.shape[:-2], len(target), xyz.shape[-1]), np.nan)
    conf = np.zeros((*confidence.shape[:-1], len(target)))
    for row in np.flatnonzero(m.any(1)):  # one step per joint of a set (tens), whatever the number of frames
        parts = np.flatnonzero(m[row])
        out[..., row, :] = np.einsum("p,...pd->...d", m[row, parts], xyz[..., parts, :])
        conf[..., row] = confidence[..., parts].min(-1)
    bad = ~np.isfinite(out).all(-1) | ~(conf > 0)
    out[bad] = np.nan
    conf[bad] = 0.0
    return out, conf


_MIDS = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}

COCO17 = Skeleton(
    "coco17",
    tuple(
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
        "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle".split()
    ),
    (
        ("left_shoulder", "right_shoulder"),
        ("left_hip", "right_hip"),
        *_both((*_SIDED_LIMBS, ("shoulder", "hip"))),
        ("nose", "left_eye"),
        ("nose", "right_eye"),
        ("left_eye", "left_ear"),
        ("right_eye", "right_ear"),
    ),
    _MIDS,
)

BODY25 = Skeleton(
    "body25",
    tuple(
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip right_hip "
        "right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear left_big_toe "
        "left_small_toe left_heel right_big_toe right_small_toe right_heel".split()
    ),
    (
        ("nose", "neck"),
        ("neck", "mid_hip"),
        ("neck", "left_shoulder"),
        ("neck", "right_shoulder"),
        ("mid_hip", "left_hip"),
        ("mid_hip", "right_hip"),
        *_both((*_SIDED_LIMBS, ("ankle", "heel"), ("ankle", "big_toe"), ("big_toe", "small_toe"), ("eye", "ear"))),
        ("nose", "left_eye"),
        ("nose", "right_eye"),
    ),
    {"left_foot_index": ("left_big_toe",), "right_foot_index": ("right_big_toe",)},
)

# OpenPose's experimental BODY_25B: no derived neck or mid hip; upper neck and head top instead.
BODY25B = Skeleton(
    "body25b",
    tuple(
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
        "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle upper_neck head_top left_big_toe "
        "left_small_toe left_heel right_big_toe right_small_toe right_heel".split()
    ),
    (
        *COCO17.limbs,
        ("nose", "upper_neck"),
        ("upper_neck", "head_top"),
        *_both((("ankle", "heel"), ("ankle", "big_toe"), ("big_toe", "small_toe"))),
    ),
    _MIDS,
)

MEDIAPIPE33 = Skeleton(
    "mediapipe33",
    tuple(
        "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
        "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
        "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle "
        "right_ankle left_heel right_heel left_foot_index right_foot_index".split()
    ),
    (
        ("left_shoulder", "right_shoulder"),
        ("left_hip", "right_hip"),
        ("mouth_left", "mouth_right"),
        *_both(
            (
                *_SIDED_LIMBS,
                ("shoulder", "hip"),
                ("ankle", "heel"),
                ("heel", "foot_index"),
                ("ankle", "foot_index"),
                ("wrist", "index"),
                ("wrist", "pinky"),
                ("wrist", "thumb"),
                ("eye", "ear"),
            )
        ),
        ("nose", "left_eye"),
        ("nose", "right_eye"),
    ),
    {**_MIDS, "left_big_toe": ("left_foot_index",), "right_big_toe": ("right_foot_index",)},
    # 30 mm above the body's hips in renderings, 30 mm below OpenPose's in a real recording: tools/learn_offsets.py,
    # benchmarks/hips_on_real_recording.py
    {"left_hip": 0.04, "right_hip": 0.04},
)

LSP14 = Skeleton(
    "lsp14",
    tuple(
        "right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow right_shoulder "
        "left_shoulder left_elbow left_wrist neck head_top".split()
    ),
    (
        ("left_shoulder", "right_shoulder"),
        ("left_hip", "right_hip"),
        ("neck", "head_top"),
        *_both((*_SIDED_LIMBS, ("shoulder", "hip"))),
    ),
    {"mid_hip": _MIDS["mid_hip"]},
)

# The order in which Convolutional Pose Machines write LSP's joints.
CPM14 = Skeleton(
    "cpm14",
    tuple(
        "head_top neck left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist left_hip left_knee "
        "left_ankle right_hip right_knee right_ankle".split()
    ),
    LSP14.limbs,
    LSP14.derived,
)

SMPL24 = Skeleton(
    "smpl24",
    tuple(
        "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 left_foot "
        "right_foot neck left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow left_wrist "
        "right_wrist left_hand right_hand".split()
    ),
    (
        ("pelvis", "left_hip"),
        ("pelvis", "right_hip"),
        ("pelvis", "spine1"),
        ("spine1", "spine2"),
        ("spine2", "spine3"),
        ("spine3", "neck"),
        ("neck", "head"),
        *_both((*_SIDED_LIMBS, ("ankle", "foot"), ("collar", "shoulder"), ("wrist", "hand"))),
        ("spine3", "left_collar"),
        ("spine3", "right_collar"),
    ),
    {"mid_hip": ("left_hip", "right_hip")},
)

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_KNUCKLES = dict.fromkeys(FINGERS, ("mcp", "pip", "dip", "tip")) | {"thumb": ("cmc", "mcp", "ip", "tip")}


def _hand(side: str) -> Skeleton:
    """A hand's 21 points in the order of mediapipe and OpenPose; its wrist is not the body's, which sits elsewhere."""
    wrist = f"{side}_hand_wrist"
    chains = [[f"{side}_{finger}_{part}" for part in _KNUCKLES[finger]] for finger in FINGERS]
    along = [pair for chain in chains for pair in zip((wrist, *chain), chain, strict=False)]
    across = [(a[0], b[0]) for a, b in pairwise(chains[1:])]
    return Skeleton(f"{side}_hand21", (wrist, *(joint for chain in chains for joint in chain)), (*along, *across))


LEFT_HAND21, RIGHT_HAND21 = _hand("left"), _hand("right")
HANDS = {"left": LEFT_HAND21, "right": RIGHT_HAND21}

# What a detector of hands gives: each candidate is ONE hand, whose points stand in both halves, with the confidence
# that it is a left one and a right one; who decides which it is keeps one half.
HANDS42 = Skeleton("hands42", (*LEFT_HAND21.joints, *RIGHT_HAND21.joints), (*LEFT_HAND21.limbs, *RIGHT_HAND21.limbs))

# A body with its hands: mediapipe's 33 points, then the left hand's 21 and the right one's.
MEDIAPIPE75 = Skeleton(
    "mediapipe75",
    (*MEDIAPIPE33.joints, *HANDS42.joints),
    (*MEDIAPIPE33.limbs, *HANDS42.limbs),
    MEDIAPIPE33.derived,
    MEDIAPIPE33.unsure,
)

# EasyMocap's body with hands: OpenPose's BODY_25, then the left hand and the right one.
BODYHAND67 = Skeleton("bodyhand67", (*BODY25.joints, *HANDS42.joints), (*BODY25.limbs, *HANDS42.limbs), BODY25.derived)

SKELETONS: dict[str, Skeleton] = {
    s.name: s
    for s in (
        BODY25, BODY25B, COCO17, MEDIAPIPE33, LSP14, CPM14, SMPL24, LEFT_HAND21, RIGHT_HAND21, HANDS42,
        MEDIAPIPE75, BODYHAND67,
    )
}  # fmt: skip


def fittable(
    xy: Float[np.ndarray, "*batch joints 2"], confidence: Float[np.ndarray, "*batch joints"], skeleton: Skeleton
) -> Bool[np.ndarray, "*batch"]:
    """Whether one image shows enough of a person to fit a body to: four joints, and a shoulder and hip of one side.

    From the length of the torso in the image comes the distance from the camera, with which everything begins (Bogo et
    al., "Keep it SMPL", 2016); so its ends must be seen, and apart.

    Args:
        xy: [px], NaN where missing.
        confidence: 0 where missing.
        skeleton: Whose joints they are.
    """
    there = (confidence > 0) & np.isfinite(xy).all(-1)
    sides = []
    for side in ("left", "right"):
        shoulder, hip = skeleton.indices((f"{side}_shoulder", f"{side}_hip"))
        with np.errstate(invalid="ignore"):
            length = np.linalg.norm(xy[..., shoulder, :] - xy[..., hip, :], axis=-1)
        sides.append(there[..., shoulder] & there[..., hip] & (length > 1.0))
    return np.asarray((there.sum(-1) >= 4) & (sides[0] | sides[1]))


def get(name: str) -> Skeleton:
    """The keypoint set of that name; UnknownName lists the known ones."""
    try:
        return SKELETONS[name]
    except KeyError:
        raise UnknownName("skeleton", name, SKELETONS) from None
