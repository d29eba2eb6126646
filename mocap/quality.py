"""How good a result looks without knowing the truth: reprojection by camera, what is missing, limb lengths, jitter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mocap import skeletons
from mocap.bodies.kinematics import fold, keypoints_of
from mocap.errors import UnknownName
from mocap.geometry import robust, times
from mocap.geometry.cameras import Rig
from mocap.take import Keypoints2D, Person, Take

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
    errors = {n: e.ravel() for n, e in reprojection_errors(rig, clock, person.keypoints2d, xyz, skeleton).items()}
    if len(errors) > 1 and "all" not in errors:
        errors["all"] = np.concatenate(list(errors.values()))
    return {name: float(np.nanmedian(e)) if np.isfinite(e).any() else None for name, e in errors.items()}


def reprojection_errors(
    rig: Rig,
    clock: Float[np.ndarray, " frames"],
    seen: Mapping[str, Keypoints2D],
    xyz: Float[np.ndarray, "frames points 3"],
    skeleton: skeletons.Skeleton,
) -> dict[str, Float[np.ndarray, "frames_v points"]]:
    """How far each projected point is from where each camera saw it [px], at the camera's own moments; NaN: missing.

    What the triangulation dropped counts too.

    Args:
        rig: The cameras.
        clock: When the frames of `xyz` are [s].
        seen: 2D keypoints by view.
        xyz: World points [m] of `skeleton`, NaN where missing.
        skeleton: Of `xyz`.
    """
    errors = {}
    for name, points in seen.items():
        xy, _ = skeletons.convert(points.xy, points.confidence, points.skeleton, skeleton)
        projected, _ = rig[name].project(at_times(clock, xyz, points.timestamps))
        errors[name] = np.linalg.norm(projected - xy, axis=-1)
    return errors


@dataclass(frozen=True)
class Disagreement:
    """A camera that from one frame on, or for a while, does not agree with the rest."""

    view: str
    start: int
    """Place of the first of its frames."""
    stop: int
    """Place after the last."""
    px: float
    """Median reprojection error meanwhile [px]."""
    usual_px: float
    """What it is otherwise, of the cameras of this take [px]."""


_WINDOW = 15
"""Frames of the running median: fewer in a row are a person half hidden, not a camera that was moved."""
_TIMES_USUAL, _LEAST = 3.0, 0.01
"""A camera disagrees where its error is over so many times the usual one, and so much above [of the longer side]."""


def disagreements(errors: Mapping[str, Float[np.ndarray, " frames"]], sides: Mapping[str, float]) -> list[Disagreement]:
    """When cameras stopped agreeing with the others, from their reprojection errors over time; longest first.

    A camera that was knocked over, or follows another person, is off by much from one frame on, until it is put right
    again. The error is smoothed by a running median and held against the usual error: the median over the cameras of
    what each stays below in its best tenth of frames, in parts of the image's longer side. A moved camera pulls the
    points, and with them the errors of the others, its way: of several that begin together (within the window) only
    those more than half as far off as the worst are told.

    Args:
        errors: Of each view, frame by frame [px], NaN where it saw nothing; of views of one frame rate.
        sides: The longer side of each view's image [px].
    """
    smooth = {view: _running_median(e / sides[view]) for view, e in errors.items()}
    smooth = {view: e for view, e in smooth.items() if np.isfinite(e).any()}
    if not smooth:
        return []
    usual = float(np.median([np.nanpercentile(e, 10) for e in smooth.values()]))
    found = []
    for view, e in smooth.items():
        edges = np.flatnonzero(np.diff(np.r_[0, e > max(_TIMES_USUAL * usual, usual + _LEAST), 0]))
        for start, stop in edges.reshape(-1, 2).tolist():
            if stop - start >= min(_WINDOW, len(e)):
                px = float(np.nanmedian(errors[view][start:stop]))
                found.append(Disagreement(view, start, stop, px, usual * sides[view]))

    def led(a: Disagreement) -> bool:
        return any(
            abs(a.start - b.start) <= _WINDOW and a.px / sides[a.view] < 0.5 * b.px / sides[b.view] for b in found
        )

    return sorted((d for d in found if not led(d)), key=lambda d: d.start - d.stop)


def _running_median(values: Float[np.ndarray, " frames"]) -> Float[np.ndarray, " frames"]:
    """Over `_WINDOW` frames, of those that are there; NaN where fewer than a third are."""
    half = _WINDOW // 2
    padded = np.pad(values, half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    there = np.isfinite(windows).sum(-1) >= min(_WINDOW // 3, max(len(values), 1))
    out = np.full(len(values), np.nan)
    out[there] = np.nanmedian(windows[there], axis=-1)
    return out


def limb_deviation(
    xyz: Float[np.ndarray, "frames points 3"], skeleton: skeletons.Skeleton
) -> Float[np.ndarray, "frames limbs"]:
    """How much longer each limb of the skeleton is than in the median frame [m], NaN where an end is missing."""
    ends = skeleton.limb_indices()
    lengths = np.linalg.norm(xyz[:, ends[:, 0]] - xyz[:, ends[:, 1]], axis=-1)
    median = np.full(lengths.shape[1], np.nan)
    seen = np.isfinite(lengths).sum(0) > 1
    if seen.any():
        median[seen] = np.nanmedian(lengths[:, seen], axis=0)
    return lengths - median


def limb_spread(xyz: Float[np.ndarray, "frames points 3"], skeleton: skeletons.Skeleton) -> float | None:
    """How far limb lengths stray over time: the median over limbs of the robust deviation [m]; None without limbs."""
    away = limb_deviation(xyz, skeleton)
    away = away[:, np.isfinite(away).any(0)]
    return float(np.median(robust.mad_sigma(away, axis=0))) if away.size else None


def acceleration(
    clock: Float[np.ndarray, " frames"], xyz: Float[np.ndarray, "frames points 3"]
) -> Float[np.ndarray, "inner points"]:
    """Magnitude of the acceleration of points [m/s^2], of frames with one before and one after."""
    step = np.diff(clock)[:, None, None]
    velocity = np.diff(xyz, axis=0) / step
    return np.linalg.norm(np.diff(velocity, axis=0) / (0.5 * (step[1:] + step[:-1])), axis=-1)


def jitter(clock: Float[np.ndarray, " frames"], xyz: Float[np.ndarray, "frames points 3"]) -> float | None:
    """Median magnitude of the acceleration of points [m/s^2]; None for fewer than three frames in a row."""
    if len(clock) < 3:
        return None
    found = acceleration(clock, xyz)
    return float(np.nanmedian(found)) if np.isfinite(found).any() else None


def _fitted(person: Person, skeleton: skeletons.Skeleton) -> np.ndarray | None:
    body, shape, motion = person.body, person.shape, person.motion
    if body is None or shape is None or motion is None:
        return None
    try:
        fold(body, skeleton)
    except UnknownName:
        return None
    parts = [slice(i, i + _CHUNK) for i in range(0, len(motion.Rh), _CHUNK)]
    return np.concatenate(
        [keypoints_of(body, skeleton, shape, motion.Rh[s], motion.Th[s], motion.poses[s]) for s in parts]
    )


def body_points(skeleton: skeletons.Skeleton) -> Bool[np.ndarray, " points"]:
    """Joints of trunk and limbs: what a detector must see, unlike fingers and the face. Of a hand alone all points."""
    hands = skeleton.of_hands()
    if hands.all():
        return hands
    body = {f"{side}_{part}" for side in ("left", "right") for part in _BODY}
    return np.array([joint in body for joint in skeleton.joints])


def of_take(take: Take) -> list[dict[str, Any]]:
    """For each person: reprojection [px] by camera, share of joints found, limb spread [m], jitter [m/s^2].

    `hand` says which side a hand alone is of. And of a fitted body: the median distance of its keypoints from the
    points [m]. Of people without points in 3D, seen by one camera, what there is of it: see :func:`_of_one_camera`.
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
        body = body_points(k.skeleton)
        rig, clock = take.rig, take.timestamps
        one: dict[str, Any] = {
            **({} if person.side is None else {"hand": person.side}),
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
    there, body = seen.confidence > 0, body_points(seen.skeleton)
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
