"""People at any moments, as meshes and as points: computed a few frames at a time, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Float

from mocap.bodies.kinematics import Skinner, fold, joints_of, keypoints_of, local_rotations, pose
from mocap.bodies.ranges import is_hand
from mocap.errors import UnknownName
from mocap.geometry import rotations
from mocap.geometry.cameras import Camera
from mocap.geometry.times import between_frames, linear
from mocap.render.mesh import Mesh, Surface, sticks
from mocap.skeletons import BODY25, FINGERS, HANDS, HANDS42, Skeleton
from mocap.take import Motion, Person

PALETTE = ((0.56, 0.62, 0.92), (0.96, 0.60, 0.36), (0.50, 0.78, 0.52), (0.82, 0.56, 0.82), (0.92, 0.80, 0.40))
"""One colour for each person, over again after the last."""
LEFT, RIGHT, MIDDLE = (0.10, 0.85, 0.95), (1.0, 0.48, 0.15), (0.97, 0.97, 0.97)
"""Limbs by their side, the same in 3D and over the footage."""
OF_FINGER: dict[str, tuple[float, float, float]] = dict(
    zip(FINGERS, ((0.95, 0.35, 0.30), (0.98, 0.76, 0.18), (0.35, 0.80, 0.38), (0.25, 0.62, 0.98), (0.78, 0.45, 0.95)),
        strict=True)
)  # fmt: skip
"""Fingers, of either hand: they are told apart from each other, and hands by where they are."""
_HAND_SCALE = 0.1
"""What is drawn for a hand by itself, and how far from it, against a body."""
_CHUNK = 64
"""Frames posed at a time."""
_THICK, _FINE = 0.018, 0.004
"""Radius of a skeleton's joints, and of those of a hand [m]."""
_LOW, _HIGH = np.radians(15), np.radians(65)
"""From how far above hands are looked at [rad]."""
_UPRIGHT = np.radians(30)
"""Palms whose normals are less above the floor than this may be seen from either side [rad]."""
_NOT_BEHIND = 2.0
"""How much more it counts that no hand hides another than that palms are seen."""
_NEAR_FLOOR = 0.2
"""Hands that are mostly farther above the floor than this are shown without it [m]."""
_BELOW_FEET, _BELOW_ANKLES = 0.012, 0.09
"""How far below the lowest keypoint the floor is, with heels or toes among the keypoints and without [m]."""


def hand_alone(person: Person) -> bool:
    """Whether a person is a hand by itself."""
    if person.body is not None:
        return is_hand(person.body)
    return _points_of(person) in HANDS.values()


def scale_of(people: Sequence[Person]) -> float:
    """Of what is drawn round people, such as the floor's squares: 1 for bodies, and a tenth where all are hands."""
    return _HAND_SCALE if people and all(map(hand_alone, people)) else 1.0


def _points_of(person: Person) -> Skeleton | None:
    points = person.keypoints3d or next(iter(person.keypoints2d.values()), None)
    return None if points is None else points.skeleton


def motion_at(motion: Motion, clock: Float[np.ndarray, " frames"], times: Float[np.ndarray, " moments"]) -> Motion:
    """The motion at other moments: along the shortest rotation and the straight line between two frames."""
    before, after, part = between_frames(clock, times)

    def turned(v: np.ndarray) -> np.ndarray:
        a = rotations.exp(v[before])
        step = rotations.log(np.swapaxes(a, -1, -2) @ rotations.exp(v[after]))
        return rotations.log(a @ rotations.exp(step * part.reshape(-1, *[1] * (v.ndim - 1))))

    Th = motion.Th[before] + part[:, None] * (motion.Th[after] - motion.Th[before])
    return Motion(turned(motion.Rh), Th, turned(motion.poses))


def fitted_skeleton(person: Person) -> Skeleton | None:
    """The skeleton drawn for a person: that of its keypoints where its body has it too, else body25, else none."""
    if person.motion is None or person.body is None:
        return person.keypoints3d.skeleton if person.keypoints3d is not None else None
    asked = _points_of(person)
    for skeleton in (BODY25, *HANDS.values()) if asked is None else (asked, BODY25):
        try:
            fold(person.body, skeleton)
        except UnknownName:
            continue
        return skeleton
    return None


def points_at(
    person: Person, skeleton: Skeleton, clock: Float[np.ndarray, " frames"], times: Float[np.ndarray, " moments"]
) -> Float[np.ndarray, "moments joints 3"]:
    """Keypoints of the fitted body, or the triangulated ones where there is no body; NaN where missing [m]."""
    if person.motion is not None and person.body is not None and person.shape is not None:
        rig = fold(person.body, skeleton)
        chunks = [motion_at(person.motion, clock, times[s : s + _CHUNK]) for s in range(0, len(times), _CHUNK)]
        posed = [pose(rig, person.shape, local_rotations(m.Rh, m.poses), m.Th).keypoints for m in chunks]
        return np.concatenate(posed) if posed else np.zeros((0, len(skeleton), 3))
    assert person.keypoints3d is not None
    return linear(clock, person.keypoints3d.xyz, times)


def limb_colours(skeleton: Skeleton) -> Float[np.ndarray, "limbs 3"]:
    """Left, right and middle limbs by colour, and each finger by its own, in [0, 1]."""
    by_side = {"left": LEFT, "right": RIGHT}

    def colour(limb: tuple[str, str]) -> tuple[float, float, float]:
        if HANDS42.has(*limb):
            # from the wrist to a knuckle is the finger's, from knuckle to knuckle nobody's
            fingers = {joint.split("_")[1] for joint in limb} & set(OF_FINGER)
            return OF_FINGER[fingers.pop()] if len(fingers) == 1 else MIDDLE
        side = {joint.split("_")[0] for joint in limb} & set(by_side)
        return by_side[side.pop()] if len(side) == 1 else MIDDLE

    return np.array([colour(limb) for limb in skeleton.limbs]).reshape(-1, 3)


def surface_of(person: Person, index: int, colour: Literal["body", "person"]) -> Surface | None:
    """The surface of a person's body, in its own colours or in those of the palette; None without a body."""
    if person.body is None or person.motion is None or person.shape is None:
        return None
    own = person.body.colours if colour == "body" else None
    plain = np.broadcast_to(np.array(PALETTE[index % len(PALETTE)]), person.body.v_template.shape)
    return Surface(np.ascontiguousarray(person.body.faces, np.int32), plain if own is None else own)


def meshes_at(
    person: Person,
    index: int,
    clock: Float[np.ndarray, " frames"],
    times: Float[np.ndarray, " moments"],
    *,
    colour: Literal["body", "person"] = "body",
) -> Iterator[Mesh | None]:
    """The body at each moment, or the triangulated skeleton where there is none; None where nothing is there.

    Args:
        person: Whose motion or keypoints3d are on `clock`.
        index: Its place among the people: its colour.
        clock: The take's [s].
        times: Moments to draw [s].
        colour: See :func:`surface_of`.
    """
    surface = surface_of(person, index, colour)
    if surface is not None:
        assert person.body is not None and person.motion is not None and person.shape is not None
        skinner = Skinner(person.body, person.shape)
        for s in range(0, len(times), _CHUNK):
            m = motion_at(person.motion, clock, times[s : s + _CHUNK])
            for vertices in skinner.chunks(m.Rh, m.Th, m.poses):
                yield Mesh(surface, vertices)
        return
    skeleton = fitted_skeleton(person)
    if skeleton is None:
        yield from (None for _ in times)
        return
    limbs, colours = skeleton.limb_indices(), limb_colours(skeleton)
    radius = np.where(skeleton.of_hands(), _FINE, _THICK)
    for s in range(0, len(times), _CHUNK):
        for joints in points_at(person, skeleton, clock, times[s : s + _CHUNK]):
            yield sticks(joints, limbs, colours, radius=radius)


def outline(person: Person) -> Float[np.ndarray, "frames points 3"]:
    """Points that tell where a person is: the body's joints (of a hand its 21 points, which have the fingers' tips), or
    the triangulated keypoints [m]; NaN where missing."""
    if person.motion is not None and person.body is not None and person.shape is not None:
        m, body, shape = person.motion, person.body, person.shape
        hand = fitted_skeleton(person) if is_hand(body) else None
        parts = [(m.Rh[s : s + 4096], m.Th[s : s + 4096], m.poses[s : s + 4096]) for s in range(0, len(m.Rh), 4096)]
        if hand is not None:
            return np.concatenate([keypoints_of(body, hand, shape, *part) for part in parts])
        return np.concatenate([joints_of(body, shape, *part) for part in parts])
    assert person.keypoints3d is not None
    return person.keypoints3d.xyz


def facing(person: Person) -> Float[np.ndarray, "frames 2"]:
    """The way a person faces, along the floor: a unit vector, NaN where it cannot be told."""
    if person.motion is not None:
        forward = rotations.exp(person.motion.Rh)[..., :2, 2]  # the model's front is z
    else:
        assert person.keypoints3d is not None
        skeleton, xyz = person.keypoints3d.skeleton, person.keypoints3d.xyz
        pairs = [(f"left_{part}", f"right_{part}") for part in ("hip", "shoulder")]
        across = [xyz[:, skeleton.index(a)] - xyz[:, skeleton.index(b)] for a, b in pairs if skeleton.has(a, b)]
        left = np.sum(across, axis=0)[:, :2] if across else np.full((len(xyz), 2), np.nan)
        forward = np.stack([left[:, 1], -left[:, 0]], axis=-1)  # left x up
    length = np.linalg.norm(forward, axis=-1, keepdims=True)
    return np.where(length > 0.05, forward / np.maximum(length, 1e-9), np.nan)


def palms_seen(people: Sequence[Person], cameras: Sequence[Camera] = ()) -> tuple[Float[np.ndarray, " 2"], float]:
    """From where hands are seen best: the way along the floor to there, and how far above it [rad].

    Across the palms, on the whole: along the first axis of their normals, of which neither sign counts, less that of
    the ways from hand to hand, since of two hands neither is to hide the other. From above where they lie rather flat,
    and then from the wrists' side, so that the fingers point up in the picture; else from the side on which most of the
    cameras are.
    """
    normals, fingers = [], []
    for person in people:
        if person.motion is not None and person.body is not None:
            R = rotations.exp(person.motion.Rh)  # the model's y is across the palm, the left hand's fingers along x
            normals.append(R[..., 1])
            fingers.append((1 if person.body.joint_names[0].startswith("left") else -1) * R[..., 0])
        elif person.keypoints3d is not None:
            skeleton, xyz = person.keypoints3d.skeleton, person.keypoints3d.xyz
            side = skeleton.joints[0].split("_")[0]
            places = skeleton.indices([f"{side}_{name}" for name in ("hand_wrist", "index_mcp", "pinky_mcp")])
            wrist, index, pinky = np.moveaxis(xyz[:, places], 1, 0)
            for found, way in ((normals, np.cross(index - wrist, pinky - wrist)), (fingers, index - wrist)):
                found.append(way / np.linalg.norm(way, axis=-1, keepdims=True))
    n, along = (np.concatenate([np.zeros((0, 3)), *ways]) for ways in (normals, fingers))
    n, along = (ways[np.isfinite(ways).all(-1)] for ways in (n, along))
    if not len(n):
        return np.array([0.0, -1.0]), _LOW
    places = np.stack([np.nanmean(outline(person), axis=1) for person in people])
    between = np.concatenate([np.zeros((0, 3)), *(a - b for a, b in combinations(places, 2))])
    between = between[np.isfinite(between).all(-1)]
    between /= np.maximum(np.linalg.norm(between, axis=-1, keepdims=True), 1e-9)
    axis = np.linalg.eigh(n.T @ n / len(n) - _NOT_BEHIND * between.T @ between / max(len(between), 1))[1][:, -1]
    axis = axis if axis[2] >= 0 else -axis
    if axis[2] < np.sin(_UPRIGHT) and cameras:
        middle = np.nanmean(places, axis=(0, 1))
        side = np.sum([c.centre - middle for c in cameras], axis=0) @ axis
        axis = axis if side >= 0 else -axis
    way = axis[:2] if np.linalg.norm(axis[:2]) > 0.3 else -along.mean(0)[:2]
    length = float(np.linalg.norm(way))
    way = way / length if length > 1e-6 else np.array([0.0, -1.0])
    return way, float(np.clip(np.arcsin(axis[2]), _LOW, _HIGH))


def floor_below(people: Sequence[Person], *, frames: int = 120) -> float:
    """Where the floor must be if the world does not say: below all but the lowest 5 % of soles [m].

    Args:
        people: Whose feet stand on it.
        frames: How many frames to look at, spread over the take.
    """
    lowest = []
    for person in people:
        if person.motion is not None and person.body is not None and person.shape is not None:
            m = person.motion
            some = np.unique(np.linspace(0, len(m.Rh) - 1, min(frames, len(m.Rh))).astype(int))
            skinned = Skinner(person.body, person.shape).chunks(m.Rh[some], m.Th[some], m.poses[some])
            lowest.append(np.array([v[:, 2].min() for v in skinned]))
        elif person.keypoints3d is not None:
            z = person.keypoints3d.xyz[..., 2]
            z = z[np.isfinite(z).any(1)]
            feet = {"left_heel", "left_big_toe", "left_foot_index"} & set(person.keypoints3d.skeleton.joints)
            lowest.append(np.nanmin(z, axis=1, initial=np.inf) - (_BELOW_FEET if feet else _BELOW_ANKLES))
    heights = np.concatenate(lowest) if lowest else np.zeros(0)
    return float(np.percentile(heights, 5)) if len(heights) else 0.0


def floor_under_hands(points: Float[np.ndarray, "frames points 3"]) -> float | None:
    """The dataset's floor [m], unless hands are so far above it that they would be small beside it.

    Args:
        points: Of all hands [m], NaN where missing.
    """
    z = points[..., 2][np.isfinite(points[..., 2])]
    return 0.0 if len(z) and np.percentile(z, 5) < _NEAR_FLOOR else None
