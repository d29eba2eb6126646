"""Where the body is and which way it faces, in closed form from the torso; and a first pose of its limbs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation, Slerp

from mocap.bodies import kinematics
from mocap.bodies.model import BodyModel
from mocap.errors import DataError
from mocap.geometry import rotations
from mocap.solve.parallel import one_thread_each
from mocap.take import Keypoints3D

TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "neck", "mid_hip")

# The child of each hinge bends to this side of it in the rest pose (z to the front): elbows forward, knees backward.
_LIMBS = (
    ("shoulder", "elbow", "wrist", np.array([0.0, 0.0, 1.0])),
    ("hip", "knee", "ankle", np.array([0.0, 0.0, -1.0])),
)
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


@one_thread_each()
def fit_root(body: BodyModel, betas: Float[np.ndarray, " betas"], points: Keypoints3D, clock: np.ndarray) -> RootFit:
    """Root from the torso's points in each frame; gaps turned and moved evenly in time between their neighbours.

    Raises:
        DataError: The skeleton has too few torso points, or no frame shows three of them.
    """
    names = [n for n in TORSO if points.skeleton.has(n)]
    if len(names) < 3:
        raise DataError(f"Skeleton {points.skeleton.name} has fewer than three of the torso's points: {names}.")
    places = points.skeleton.indices(names)
    rest = kinematics.rest_keypoints(body, points.skeleton, betas)[places]
    target, weight = points.xyz[:, places], points.confidence[:, places]
    R, Th, seen = align(rest, target, weight)
    if not seen.any():
        raise DataError("No frame shows three points of the torso (shoulders, hips), so the body cannot be placed.")
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
    """Local rotations that point each upper limb and its continuation where they were seen; all else at rest.

    When they are `hinged`, a bent elbow or knee also tells the twist of the limb above it, since it bends one way only.
    What was not seen stays at rest.
    """
    frames = len(R)
    local = np.broadcast_to(np.eye(3), (frames, body.n_joints, 3, 3)).copy()
    local[:, 0] = R
    rest = kinematics.rest_keypoints(body, points.skeleton, betas)
    for side in ("left", "right"):
        for upper, hinge, end, forward in _LIMBS:
            names = [f"{side}_{part}" for part in (upper, hinge, end)]
            if not points.skeleton.has(*names) or names[0] not in body.joint_names or names[1] not in body.joint_names:
                continue
            a, b, c = points.skeleton.indices(names)
            first, second = rest[b] - rest[a], rest[c] - rest[b]
            seen_first = _direction(points.xyz[:, b] - points.xyz[:, a], R)
            seen_second = _direction(points.xyz[:, c] - points.xyz[:, b], R)
            swing = rotations.between(first, np.where(np.isfinite(seen_first), seen_first, first))
            # direction of the second limb in the frame of the first, before twist
            lower = (swing.swapaxes(1, 2) @ np.where(np.isfinite(seen_second), seen_second, 0)[..., None])[..., 0]
            axis = first / np.linalg.norm(first)
            across = forward - axis * (axis @ forward)
            across /= np.linalg.norm(across)
            side_x, side_y = lower @ across, lower @ np.cross(axis, across)
            bend = np.hypot(side_x, side_y)
            twist = np.arctan2(side_y, side_x) * np.clip(bend / _STRAIGHT, 0, 1) ** 2 * hinged
            turn = swing @ rotations.exp(twist[:, None] * axis)
            wanted = (turn.swapaxes(1, 2) @ np.where(np.isfinite(seen_second), seen_second, 0)[..., None])[..., 0]
            both = np.asarray(np.isfinite(seen_first).all(1) & np.isfinite(seen_second).all(1))
            fold = rotations.between(second, np.where(both[:, None], wanted, second))
            local[:, body.joint_names.index(names[0])] = turn
            local[:, body.joint_names.index(names[1])] = fold
    return local


def _direction(d: np.ndarray, R: np.ndarray) -> np.ndarray:
    """Unit direction in the root's axes; NaN stays NaN."""
    d = (R.swapaxes(1, 2) @ d[..., None])[..., 0]
    with np.errstate(invalid="ignore"):
        return d / np.linalg.norm(d, axis=1, keepdims=True)
