"""How good a result looks without knowing the truth: reprojection by camera, what is missing, limb lengths, jitter."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mocap import skeletons
from mocap.bodies.kinematics import keypoints_of
from mocap.geometry import robust, times
from mocap.geometry.cameras import Rig
from mocap.take import Person, Take

_BODY = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_CHUNK = 2000
"""Frames of which keypoints of the body are computed at once."""


def at_times(
    clock: Float[np.ndarray, " frames"],
    xyz: Float[np.ndarray, "frames points 3"],
    moments: Float[np.ndarray, " moments"],
) -> Float[np.ndarray, "moments points 3"]:
    """Points on the take's clock at other moments [s], linear between frames; NaN outside and where one is missing."""
    inside = (moments > clock[0] - 1e-6) & (moments < clock[-1] + 1e-6)
    return np.where(inside[:, None, None], times.linear(clock, xyz, moments), np.nan)


def reprojection(
    rig: Rig,
    clock: Float[np.ndarray, " frames"],
    person: Person,
    xyz: Float[np.ndarray, "frames points 3"],
    skeleton: skeletons.Skeleton | None = None,
) -> dict[str, float | None]:
    """The median distance [px] of projected points from all that were seen of them, by camera and of `all` cameras.

    None where there is nothing to compare.

    Args:
        rig: The cameras.
        clock: When the frames of `xyz` are [s].
        person: With its 2D keypoints.
        xyz: World points [m], NaN where missing.
        skeleton: Of `xyz`; None: that of the person's keypoints3d.
    """
    if skeleton is None:
        assert person.keypoints3d is not None
        skeleton = person.keypoints3d.skeleton
    errors: dict[str, np.ndarray] = {}
    for name, seen in person.keypoints2d.items():
        xy, _ = skeletons.convert(seen.xy, seen.confidence, seen.skeleton, skeleton)
        projected, _ = rig[name].project(at_times(clock, xyz, seen.timestamps))
        errors[name] = np.linalg.norm(projected - xy, axis=-1).ravel()
    if len(errors) > 1 and "all" not in errors:
        errors["all"] = np.concatenate(list(errors.values()))
    return {name: float(np.nanmedian(e)) if np.isfinite(e).any() else None for name, e in errors.items()}


def limb_spread(xyz: Float[np.ndarray, "frames points 3"], skeleton: skeletons.Skeleton) -> float | None:
    """How far limb lengths stray over time: the median over limbs of the robust deviation [m]; None without limbs."""
    ends = skeleton.limb_indices()
    lengths = np.linalg.norm(xyz[:, ends[:, 0]] - xyz[:, ends[:, 1]], axis=-1)
    lengths = lengths[:, np.isfinite(lengths).sum(0) > 1]
    if not lengths.size:
        return None
    return float(np.median(robust.mad_sigma(lengths - np.nanmedian(lengths, axis=0), axis=0)))


def jitter(clock: Float[np.ndarray, " frames"], xyz: Float[np.ndarray, "frames points 3"]) -> float | None:
    """Median magnitude of the acceleration of points [m/s^2]; None for fewer than three frames in a row."""
    if len(clock) < 3:
        return None
    step = np.diff(clock)[:, None, None]
    velocity = np.diff(xyz, axis=0) / step
    acceleration = np.linalg.norm(np.diff(velocity, axis=0) / (0.5 * (step[1:] + step[:-1])), axis=-1)
    return float(np.nanmedian(acceleration)) if np.isfinite(acceleration).any() else None


def _fitted(person: Person, skeleton: skeletons.Skeleton) -> np.ndarray | None:
    body, shape, motion = person.body, person.shape, person.motion
    if body is None or shape is None or motion is None or skeleton.name not in body.regressors:
        return None
    parts = [slice(i, i + _CHUNK) for i in range(0, len(motion.Rh), _CHUNK)]
    return np.concatenate(
        [keypoints_of(body, skeleton, shape, motion.Rh[s], motion.Th[s], motion.poses[s]) for s in parts]
    )


def _body_points(skeleton: skeletons.Skeleton) -> Bool[np.ndarray, " points"]:
    """Joints of trunk and limbs: what a detector must see, unlike fingers and the face."""
    body = {f"{side}_{part}" for side in ("left", "right") for part in _BODY}
    return np.array([joint in body for joint in skeleton.joints])


def of_take(take: Take) -> list[dict[str, Any]]:
    """For each person: reprojection [px] by camera, share of joints found, limb spread [m], jitter [m/s^2].

    And of a fitted body: the median distance of its keypoints from the points [m]. Of people without points in 3D, seen
    by one camera, what there is of it: see :func:`_of_one_camera`.
    """
    told = []
    for person in take.people:
        k = person.keypoints3d
        if k is None:
            if person.motion is not None and person.keypoints2d:
                told.append(_of_one_camera(take, person))
            continue
        fitted = _fitted(person, k.skeleton)
        there = k.confidence > 0
        body = _body_points(k.skeleton)
        rig, clock = take.rig, take.timestamps
        one: dict[str, Any] = {
            "reprojection_px": {} if rig is None else reprojection(rig, clock, person, k.xyz),
            "joints_found": float(there.mean()),
            "body_joints_found": float(there[:, body].mean()) if body.any() else None,
            "limb_spread_m": limb_spread(k.xyz, k.skeleton),
            "jitter": jitter(take.timestamps, k.xyz),
        }
        if fitted is not None:
            one["reprojection_fit_px"] = {} if rig is None else reprojection(rig, clock, person, fitted)
            one["distance_fit_m"] = float(np.median(np.linalg.norm(fitted - k.xyz, axis=-1)[there]))
            one["limb_spread_fit_m"] = limb_spread(fitted, k.skeleton)
            one["jitter_fit"] = jitter(take.timestamps, fitted)
        told.append(one)
    return told


def _of_one_camera(take: Take, person: Person) -> dict[str, Any]:
    """A body fitted to 2D points alone: how far its keypoints are from them [px], and how much was seen.

    `picture` names the view in a take of unrelated pictures.
    """
    view, seen = next(iter(person.keypoints2d.items()))
    there, body = seen.confidence > 0, _body_points(seen.skeleton)
    fitted = _fitted(person, seen.skeleton)
    away: dict[str, float | None] = {}
    if take.rig is not None and fitted is not None:
        away = reprojection(take.rig, take.timestamps, person, fitted, seen.skeleton)
    return {
        **({"picture": view} if take.apart else {}),
        "reprojection_px": {},
        "reprojection_fit_px": away,
        "joints_found": float(there.mean()),
        "body_joints_found": float(there[:, body].mean()) if body.any() else None,
        "jitter_fit": None if fitted is None else jitter(take.timestamps, fitted),
    }
