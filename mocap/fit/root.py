"""Where the body is and which way it faces, in closed form from the torso; and a first pose of its limbs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation, Slerp

from mocap.bodies import kinematics
from mocap.bodies.model import BodyModel
from mocap.errors import DataError
from mocap.geometry import rotations
from mocap.skeletons import FINGERS, HANDS, Skeleton
from mocap.solve.parallel import one_thread_each
from mocap.take import Keypoints3D

TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "neck", "mid_hip")
PALMS = {
    side: tuple(f"{side}_{p}" for p in ("hand_wrist", "thumb_cmc", "index_mcp", "middle_mcp", "ring_mcp", "pinky_mcp"))
    for side in HANDS
}

# The child of each hinge bends to this side of it in the rest pose (z to the front): elbows forward, knees backward.
_LIMBS = (
    (("shoulder", "elbow", "wrist"), np.array([0.0, 0.0, 1.0])),
    (("hip", "knee", "ankle"), np.array([0.0, 0.0, -1.0])),
)
_PALM_ERROR = (0.04, 0.02, 0.01, 0.01)
"""A point of a palm that is further than this from where the others have it counts less and less, step by step [m]."""
_NO_PALM = 0.015
"""A palm whose points are further than this from a rigid one, at the median, was not seen [m]."""
_STRAIGHT = 0.35
"""Sine of the bend [rad] below which it tells less and less about the twist of the limb above."""


@dataclass(frozen=True)
class RootFit:
    """Orientation and place of the body, frame by frame."""

    R: Float[np.ndarray, "frames 3 3"]
    Th: Float[np.ndarray, "frames 3"]
    """[m]; v = R v_model + Th."""
    seen: Bool[np.ndarray, " frames"]
    """False where the torso was not seen well enough and its neighbours in time were used."""
    error: Float[np.ndarray, " frames"]
    """Root mean square distance of the torso's points from the rigid torso [m]; NaN where not seen."""


def align(
    source: Float[np.ndarray, "points 3"],
    target: Float[np.ndarray, "frames points 3"],
    weight: Float[np.ndarray, "frames points"],
) -> tuple[Float[np.ndarray, "frames 3 3"], Float[np.ndarray, "frames 3"], Bool[np.ndarray, " frames"]]:
    """R, t minimising sum of weight |R source + t - target|^2 in each frame (Kabsch, 1976; Umeyama, 1991).

    The last result says where it is determined: at least three weighted points that are not on one line.
    """
    total = weight.sum(1)
    w = weight / np.where(total > 0, total, 1.0)[:, None]
    target = np.where(weight[..., None] > 0, target, 0.0)
    mean_s, mean_t = w @ source, np.einsum("fp,fpi->fi", w, target)
    s, t = source - mean_s[:, None], target - mean_t[:, None]
    U, D, Vt = np.linalg.svd(np.einsum("fp,fpi,fpj->fij", w, t, s))
    flip = np.ones_like(D)
    flip[:, 2] = np.sign(np.linalg.det(U @ Vt))
    R = (U * flip[:, None]) @ Vt
    determined = ((weight > 0).sum(1) >= 3) & (D[:, 1] > 1e-3 * np.maximum(D[:, 0], 1e-12))
    return R, mean_t - (R @ mean_s[..., None])[..., 0], determined


def rigid_points(skeleton: Skeleton) -> tuple[str, ...]:
    """The points that place the root: those of the torso, or of a hand by itself those of its palm; none where there
    are fewer than three of either."""
    sets = ([name for name in names if skeleton.has(name)] for names in (TORSO, *PALMS.values()))
    return next((tuple(names) for names in sets if len(names) >= 3), ())


@one_thread_each()
def fit_root(body: BodyModel, betas: Float[np.ndarray, " betas"], points: Keypoints3D, clock: np.ndarray) -> RootFit:
    """Root from the torso's points in each frame, or the palm's of a hand by itself; gaps turned and moved evenly in
    time between their neighbours.

    Raises:
        DataError: The skeleton has too few of these points, or no frame shows three of them.
    """
    names = rigid_points(points.skeleton)
    if not names:
        raise DataError(f"Skeleton {points.skeleton.name} has fewer than three points of the torso, and of a palm.")
    places = points.skeleton.indices(names)
    rest = kinematics.rest_keypoints(body, points.skeleton, betas)[places]
    target, weight = points.xyz[:, places], points.confidence[:, places]
    R, Th, seen = align(rest, target, weight)
    if not seen.any():
        what = "torso (shoulders, hips), so the body" if names[0] in TORSO else "palm (wrist, knuckles), so the hand"
        raise DataError(f"No frame shows three points of the {what} cannot be placed.")
    away = np.where(weight > 0, np.linalg.norm(rest @ R.swapaxes(1, 2) + Th[:, None] - target, axis=-1), np.nan)
    error = np.full(len(R), np.nan)
    error[seen] = np.sqrt(np.nanmean(away[seen] ** 2, axis=1))
    if not seen.all():
        R, Th = _filled(R, Th, seen, clock)
    return RootFit(R, Th, seen, error)


def _filled(R: np.ndarray, Th: np.ndarray, seen: np.ndarray, clock: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = clock[seen]
    inside = np.clip(clock, known[0], known[-1])
    Th = np.stack([np.interp(inside, known, Th[seen, i]) for i in range(3)], axis=1)
    if len(known) == 1:
        return np.broadcast_to(R[seen][0], R.shape).copy(), Th
    return Slerp(known, Rotation.from_matrix(R[seen]))(inside).as_matrix(), Th


def first_poses(
    body: BodyModel,
    betas: Float[np.ndarray, " betas"],
    points: Keypoints3D,
    R: Float[np.ndarray, "frames 3 3"],
    *,
    hinged: bool = True,
) -> Float[np.ndarray, "frames joints 3 3"]:
    """Local rotations that point each limb and each finger, bone by bone, where they were seen; all else at rest.

    When they are `hinged`, a bent elbow or knee also tells the twist of the limb above it, since it bends one way only.
    The wrist of a body with hands turns so that its palm lies as it was seen. What was not seen stays at rest.
    """
    local = np.broadcast_to(np.eye(3), (len(R), body.n_joints, 3, 3)).copy()
    local[:, 0] = R
    rest = kinematics.rest_keypoints(body, points.skeleton, betas)
    for side in ("left", "right"):
        for parts, forward in _LIMBS:
            names = [f"{side}_{part}" for part in parts]
            _point(local, body, points, rest, names[:2], names, R, forward=forward if hinged else None)
        hand = _turn_palm(local, body, points, rest, side)
        if hand is not None:
            for finger in FINGERS:
                names = [name for name in HANDS[side].joints if name.startswith(f"{side}_{finger}_")]
                _point(local, body, points, rest, [f"{side}_{finger}{k}" for k in (1, 2, 3)], names, hand)
    return local


def _turn_palm(
    local: np.ndarray, body: BodyModel, points: Keypoints3D, rest: np.ndarray, side: str
) -> Float[np.ndarray, "frames 3 3"] | None:
    """How a hand lies in the world; of a body's hand the wrist is turned so.

    Where its palm was not seen, or not as a palm can be, it lies between how it does before and after. None where body
    or points have no such hand.
    """
    wrist = f"{side}_wrist"
    if wrist not in body.joint_names or not points.skeleton.has(*PALMS[side]):
        return None
    chain = [body.joint_names.index(wrist)]
    while chain[0]:
        chain.insert(0, int(body.parents[chain[0]]))
    above = local[:, chain[0]]
    for joint in chain[1:]:
        above = above @ local[:, joint]
    if len(chain) == 1:
        return above
    places = points.skeleton.indices(PALMS[side])
    target, weight = points.xyz[:, places], points.confidence[:, places]
    lies, at, seen = align(rest[places], target, weight)
    for size in _PALM_ERROR:  # one point that is far off would turn it round, and with it the arm
        off = np.linalg.norm(rest[places] @ lies.swapaxes(1, 2) + at[:, None] - target, axis=-1)
        off = np.where(weight > 0, off, np.nan)
        lies, at, _ = align(rest[places], target, weight / (1 + (np.nan_to_num(off) / size) ** 2) ** 2)
    off = np.linalg.norm(rest[places] @ lies.swapaxes(1, 2) + at[:, None] - target, axis=-1)
    seen[seen] = np.nanmedian(np.where(weight > 0, off, np.nan)[seen], axis=1) < _NO_PALM
    if seen.any():
        lies, _ = _filled(lies, at, seen, np.arange(len(seen)))
    else:
        lies = above
    local[:, chain[-1]] = above.swapaxes(1, 2) @ lies
    return lies


def _point(
    local: np.ndarray,
    body: BodyModel,
    points: Keypoints3D,
    rest: Float[np.ndarray, "keypoints 3"],
    joints: list[str],
    names: list[str],
    R: Float[np.ndarray, "frames 3 3"],
    *,
    forward: Float[np.ndarray, " 3"] | None = None,
) -> None:
    """Turns a chain of joints so that its bones, from each of the points to the next, lie as they were seen.

    Args:
        local: Where the rotations go; of joints the chain has not they stay as they are.
        body: The model.
        points: What was seen.
        rest: The points at rest [m].
        joints: One for each bone.
        names: Of the points, one more.
        R: How the part above the chain lies in the world.
        forward: The side to which the second bone bends, when it bends to no other: it tells the first one's twist.
    """
    if not (points.skeleton.has(*names) and set(joints) <= set(body.joint_names)):
        return
    places = points.skeleton.indices(names)
    bones = np.diff(rest[places], axis=0)
    seen = [_direction(points.xyz[:, b] - points.xyz[:, a], R) for a, b in pairwise(places)]
    known = np.ones(len(R), dtype=bool)
    turned = np.broadcast_to(np.eye(3), R.shape)
    for i, (joint, bone, direction) in enumerate(zip(joints, bones, seen, strict=True)):
        known = known & np.isfinite(direction).all(1)
        wanted = _turned_back(turned, direction)
        turn = rotations.between(bone, np.where(known[:, None], wanted, bone))
        if i == 0 and forward is not None:
            turn = turn @ _twist(bone, _turned_back(turn, seen[1]), forward)
        local[:, body.joint_names.index(joint)] = turn
        turned = turned @ turn


def _turned_back(R: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """R' direction; zero where that is not known."""
    return (R.swapaxes(1, 2) @ np.where(np.isfinite(direction), direction, 0)[..., None])[..., 0]


def _twist(bone: np.ndarray, second: np.ndarray, forward: np.ndarray) -> Float[np.ndarray, "frames 3 3"]:
    """The turn about a bone that brings the next one, which points to `second` without it, to its `forward` side."""
    axis = bone / np.linalg.norm(bone)
    across = forward - axis * (axis @ forward)
    across /= np.linalg.norm(across)
    side_x, side_y = second @ across, second @ np.cross(axis, across)
    bend = np.hypot(side_x, side_y)
    twist = np.arctan2(side_y, side_x) * np.clip(bend / _STRAIGHT, 0, 1) ** 2
    return rotations.exp(twist[:, None] * axis)


def _direction(d: np.ndarray, R: np.ndarray) -> np.ndarray:
    """Unit direction in the root's axes; NaN stays NaN."""
    d = (R.swapaxes(1, 2) @ d[..., None])[..., 0]
    with np.errstate(invalid="ignore"):
        return d / np.linalg.norm(d, axis=1, keepdims=True)
