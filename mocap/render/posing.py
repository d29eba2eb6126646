"""People at any moments, as meshes and as points: computed a few frames at a time, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from mocap.bodies.kinematics import Skinner, fold, joints_of, local_rotations, pose
from mocap.errors import UnknownName
from mocap.geometry import rotations
from mocap.geometry.times import between_frames, linear
from mocap.render.mesh import Mesh, Surface, sticks
from mocap.skeletons import BODY25, Skeleton
from mocap.take import Motion, Person

PALETTE = ((0.56, 0.62, 0.92), (0.96, 0.60, 0.36), (0.50, 0.78, 0.52), (0.82, 0.56, 0.82), (0.92, 0.80, 0.40))
"""One colour for each person, over again after the last."""
LEFT, RIGHT, MIDDLE = (0.10, 0.85, 0.95), (1.0, 0.48, 0.15), (0.97, 0.97, 0.97)
"""Limbs by their side, the same in 3D and over the footage."""
_CHUNK = 64
"""Frames posed at a time."""
_BELOW_FEET, _BELOW_ANKLES = 0.012, 0.09
"""How far below the lowest keypoint the floor is, with heels or toes among the keypoints and without [m]."""


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
    points = person.keypoints3d or next(iter(person.keypoints2d.values()), None)
    asked = () if points is None else (points.skeleton,)
    for skeleton in (*asked, BODY25):
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
    """Left, right and middle limbs by colour, in [0, 1]."""
    by_side = {"left": LEFT, "right": RIGHT}
    sides = [{joint.split("_")[0] for joint in limb} & set(by_side) for limb in skeleton.limbs]
    return np.array([by_side[side.pop()] if len(side) == 1 else MIDDLE for side in sides]).reshape(-1, 3)


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
    for s in range(0, len(times), _CHUNK):
        for joints in points_at(person, skeleton, clock, times[s : s + _CHUNK]):
            yield sticks(joints, limbs, colours)


def outline(person: Person) -> Float[np.ndarray, "frames points 3"]:
    """Points that tell where a person is: the body's joints, or the triangulated keypoints [m]; NaN where missing."""
    if person.motion is not None and person.body is not None and person.shape is not None:
        m = person.motion
        parts = [slice(s, s + 4096) for s in range(0, len(m.Rh), 4096)]
        return np.concatenate([joints_of(person.body, person.shape, m.Rh[s], m.Th[s], m.poses[s]) for s in parts])
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
