"""One person's joints in 3D from what all cameras saw of them: the whole of triangulation as one function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import chi2

from mocap.errors import DataError
from mocap.geometry.cameras import Camera, Rig
from mocap.progress import bar
from mocap.skeletons import HANDS, Skeleton
from mocap.take import Keypoints2D, Keypoints3D
from mocap.triangulate.agreement import (
    Lags,
    LeftOut,
    feet_off_floor,
    find_lags,
    heads_above_feet,
    leave_out,
    out_of_place,
    require_cameras,
)
from mocap.triangulate.gate import hands_astray, impossible_limbs, spikes
from mocap.triangulate.observe import Observations, noise_of, observe, person_size
from mocap.triangulate.rays import Rays, rays_through, select, select_near
from mocap.triangulate.refine import refine
from mocap.triangulate.sides import exchange, find_swaps

_CHUNK = 40_000
"""Observations (views x frames x joints) worked on at once: they fit the processor's cache."""
_SIDES_CHUNK = 400_000
"""The same where left and right are followed over time."""
_HAND_ERROR = 0.2
"""A view's point of a hand that is farther off is not used [sizes of the hand]."""
_SHORT = 1.0
"""A take too short to tell a lag at all [s]."""
_LONG = 2.0
"""A take of which a lag of less than a frame can be told [s]."""
_SAMPLE_FRAMES = 600
"""Frames the noise level and the cameras' agreement are judged on."""


@dataclass(frozen=True)
class Triangulation:
    """Joints in 3D, and what was taken and dropped on the way."""

    keypoints3d: Keypoints3D
    keypoints2d: Mapping[str, Keypoints2D]
    """What was seen, with swapped sides put right."""
    facts: dict[str, Any]
    """JSON-able: `cameras` and `joints` by name, totals."""
    warnings: list[str]
    """Sentences for the user."""


@dataclass(frozen=True)
class _Limits:
    """What is refused."""

    max_error: np.ndarray
    """Per view and joint [px]."""
    min_views: int
    max_sigma: float
    """[m]"""
    trust: np.ndarray
    """Per view, in (0, 1]."""


@dataclass(frozen=True)
class _Solved:
    """A stretch of frames; arrays (frames, joints, ...) and (views, frames, joints)."""

    xyz: np.ndarray
    covariance: np.ndarray
    confidence: np.ndarray
    rms: np.ndarray
    error: np.ndarray
    chi2: np.ndarray
    leverage: np.ndarray
    used: np.ndarray
    offered: np.ndarray


def _solve(
    cameras: Sequence[Camera],
    seen: Observations,
    limits: _Limits,
    *,
    expected: np.ndarray | None = None,
) -> _Solved:
    """Everything for one stretch of frames; `expected` (frames, joints, 3) has the views near it alone decide."""
    views, frames, joints = seen.confidence.shape
    xy = seen.xy.reshape(views, -1, 2)
    rays = _rays(cameras, seen)
    max_error = _each_point(limits.max_error, seen)
    if expected is None:
        chosen = select(rays, max_error, min_views=limits.min_views, trust=limits.trust)
    else:
        chosen = select_near(rays, max_error, expected.reshape(-1, 3).T, min_views=limits.min_views)
    done = refine(cameras, xy, rays.sigma * rays.pixels_per_radian, chosen.used, chosen.xyz.T)
    with np.errstate(invalid="ignore"):
        known = np.trace(done.covariance, axis1=-2, axis2=-1) <= limits.max_sigma**2  # NaN compares False
    used = chosen.used & known
    n = np.maximum(used.sum(0), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        agreed = np.where(used, rays.confidence, 0.0).sum(0)
        # how sure the views used were, times the share of all views' confidence that agrees
        sure = np.where(known, agreed / n * agreed / rays.confidence.sum(0), 0.0)
    offered = rays.confidence > 0
    rms = np.sqrt(np.where(used, np.nan_to_num(done.error) ** 2, 0.0).sum(0) / n)
    shape = (frames, joints)
    return _Solved(
        np.where(known[:, None], done.xyz, np.nan).reshape(*shape, 3),
        done.covariance.reshape(*shape, 3, 3),
        sure.reshape(shape),
        np.where(known, rms, np.nan).reshape(shape),
        done.error.reshape(views, *shape),
        done.chi2.reshape(views, *shape),
        done.leverage.reshape(views, *shape),
        used.reshape(views, *shape),
        offered.reshape(views, *shape),
    )


def _noise_levels(solved: _Solved) -> tuple[np.ndarray, np.ndarray]:
    """How much larger than assumed the noise of each view and of each joint is (factors on sigma).

    The common level is the median of chi^2 over its expected median. Views depart from it by their squared residuals
    over the degrees of freedom the fit left them (truncated at 3 sigma, as all views are), joints by the medians of
    their own chi^2; both are drawn back as if 50 more points had shown the common level, and kept within a factor of
    two, lest one view or joint rule.
    """
    n = solved.used.sum(0)
    good = n >= 2
    if not good.any():
        return np.ones(len(solved.used)), np.ones(n.shape[1])
    relative = solved.chi2.sum(0) / chi2.median(np.maximum(2 * n - 3, 1))
    common = max(float(np.median(relative[good])), 1e-12)

    def departure(ratio: float, points: float) -> float:
        return float(np.clip(max(ratio, 1e-12) ** (points / (points + 50) / 2), 0.5, 2.0))

    joints = np.array(
        [
            departure(np.median(r) / common, len(r)) if len(r := relative[g]) else 1.0
            for relative, g in zip(relative.T, good.T, strict=True)
        ]
    )
    judged = solved.used & (n >= 3)
    left = np.where(judged, 2 - solved.leverage, 0.0).sum((1, 2))
    cut = np.where(judged, np.minimum(solved.chi2, 9 * common), 0.0).sum((1, 2))
    middle = max(cut.sum(), 1e-12) / max(left.sum(), 1e-12)
    views = np.array([departure(c / f / middle, f / 2) if f > 0 else 1.0 for c, f in zip(cut, left, strict=True)])
    return np.sqrt(common) * views, joints / np.exp(np.mean(np.log(joints)))


def _sample_blocks(frames: int, fps: float) -> np.ndarray:
    """Evenly spread blocks of consecutive frames (blocks, frames): whole takes when they are short."""
    if frames <= _SAMPLE_FRAMES:
        return np.arange(frames)[None]
    length = int(min(_SAMPLE_FRAMES, max(60, round(4 * fps))))
    blocks = max(1, _SAMPLE_FRAMES // length)
    starts = np.linspace(0, frames - length, blocks).round().astype(int)
    return starts[:, None] + np.arange(length)


def triangulate(
    rig: Rig,
    keypoints2d: Mapping[str, Keypoints2D],
    timestamps: Float[np.ndarray, " frames"],
    *,
    max_error: float = 0.02,
    min_views: int = 2,
    noise: float = 0.0125,
    max_sigma: float = 2.0,
    unswap: bool = True,
    drop_spikes: bool = True,
) -> Triangulation:
    """Joints in 3D on the take's clock.

    Left and right are told apart (`sides`), every view is interpolated to the clock (`observe`), the noise level of
    views and joints is measured on a sample of the take, the views that agree are selected (`rays`), reprojection is
    minimised (`refine`), and what no body can do is tried again from its neighbours and then dropped (`gate`).
    Memory is bounded by working on stretches of frames.

    Args:
        rig: Calibrated cameras; those without keypoints are left aside.
        keypoints2d: One person, by view name, each view with its own timestamps.
        timestamps: The take's clock [s], increasing.
        max_error: A view whose reprojection error is larger is dropped [fraction of the image's longer side]; of hands
            also one larger than a fifth of the hand, which is two fingers.
        min_views: A joint seen by fewer cameras stays missing.
        noise: Where the search for the noise level starts: standard deviation of a detection of confidence 1 as a
            fraction of the person's size in the image (12 px for one 950 px tall).
        max_sigma: A joint less certain than this stays missing [m].
        unswap: Whether to exchange left and right where a view has them the other way round.
        drop_spikes: Whether to drop points that jump impossibly.

    Raises:
        CalibrationError: Fewer than `min_views` views have both a camera and keypoints.
        DataError: No joint could be triangulated at all, or the views' keypoints are of different sets.
    """
    names = [name for name in rig.names if name in keypoints2d]
    unknown = [name for name in keypoints2d if name not in rig.names]
    require_cameras(names, least=min_views)
    rig = rig.only(names)
    views = [keypoints2d[name] for name in names]
    skeleton = views[0].skeleton
    if any(v.skeleton != skeleton for v in views):
        kinds = ", ".join(f"{n}: {v.skeleton.name}" for n, v in zip(names, views, strict=True))
        raise DataError(f"All views must have keypoints of one set to be triangulated, not {kinds}.")
    frames, joints = len(timestamps), len(skeleton)
    if not frames:
        raise DataError("The take has no frame to triangulate.")
    fps = float(1 / np.median(np.diff(timestamps))) if frames > 1 else 30.0
    spread = [noise_of(v, noise) for v in views]
    limit = _error_limits(rig, views, max_error)
    cameras, limits = list(rig), _Limits(limit, min_views, max_sigma, np.ones(len(names)))
    blocks = _sample_blocks(frames, fps)
    sample = observe(views, timestamps[blocks.ravel()], spread)
    by_view, by_joint, limits = _measured(cameras, sample, limits)
    swapped: dict[str, dict[str, int]] = {name: {} for name in names}
    if unswap:
        known = [s * f * by_joint for s, f in zip(spread, by_view, strict=True)]
        views, swapped = _put_right(rig, views, timestamps, known)
        if any(swapped.values()):
            sample = observe(views, timestamps[blocks.ravel()], spread)
            by_view, by_joint, limits = _measured(cameras, sample, limits)
    lags = find_lags(_rays(cameras, _scaled(sample, by_view, by_joint)), timestamps[blocks], joints)
    few = _scaled(_thinned(sample), by_view, by_joint)
    left_out = leave_out(_rays(cameras, few), _each_point(limit, few))

    def solve(at: np.ndarray, expected: np.ndarray | None = None) -> _Solved:
        seen = _scaled(observe(views, timestamps[at], spread), by_view, by_joint)
        return _solve(cameras, seen, limits, expected=expected)

    per_chunk = max(1, _CHUNK // (len(names) * joints))
    points = _Points(len(names), frames, joints)
    with bar("triangulating", frames) as told:
        for first in range(0, frames, per_chunk):
            at = np.arange(first, min(first + per_chunk, frames))
            points.put(at, solve(at))
            told.update(len(at))
    dropped, found_again = np.zeros((frames, joints), dtype=bool), 0
    if drop_spikes:
        dropped, found_again = _gate(points, timestamps, skeleton, solve, per_chunk)

    keypoints3d = Keypoints3D.of(skeleton, points.xyz, points.confidence, points.covariance, points.rms)
    found = keypoints3d.confidence > 0
    if not found.any():
        raise DataError(
            f"No joint was seen by {min_views} of the cameras {', '.join(names)} at one moment within "
            f"{max_error:g} of the image: do their clocks and the calibration belong to this footage?"
        )
    facts = {
        "joints_found": round(float(found.mean()), 4),
        "reprojection_px": _median(points.error[points.used]),
        "spikes_dropped": int(dropped.sum()),
        "spikes_found_again": found_again,
        "cameras": {
            name: {
                **points.facts_of(v),
                "swapped_frames": swapped[name],
                "noise": round(float(noise * by_view[v]), 5),
                "lag_s": round(float(lags.lag[v]), 4),
                "reprojection_left_out_px": _median(left_out.distance[v : v + 1]),
            }
            for v, name in enumerate(names)
        },
        "joints": {
            joint: {
                "found": round(float(found[:, j].mean()), 4),
                "dropped": int(dropped[:, j].sum()),
                "sigma_m": _median(np.sqrt(np.trace(keypoints3d.covariance[:, j], axis1=-2, axis2=-1) / 3)),
                "noise_factor": round(float(by_joint[j]), 3),
            }
            for j, joint in enumerate(skeleton.joints)
        },
    }
    warnings = [
        *(f"Camera {name} has keypoints and no calibration: it is left aside." for name in unknown),
        *(
            about_time(names, lags, fps=fps, seconds=float(np.ptp(timestamps)))
            or _about_place(names, left_out, limit.max(1))
        ),  # a late one seems out of place too
        *_about_views(names, points.used, points.offered, "no hand" if skeleton.of_hands().all() else "nobody"),
        *_about_joints(skeleton, found),
    ]
    world = [heads_above_feet(skeleton, keypoints3d.xyz, rig.R_world_file)]
    if rig.has_floor and not any(world):
        world.append(feet_off_floor(skeleton, keypoints3d.xyz))
    seen2d = {**keypoints2d, **dict(zip(names, views, strict=True))}
    return Triangulation(keypoints3d, seen2d, facts, [*warnings, *filter(None, world)])


class _Points:
    """Arrays over the whole take, filled stretch by stretch."""

    def __init__(self, views: int, frames: int, joints: int) -> None:
        self.xyz = np.full((frames, joints, 3), np.nan)
        self.covariance = np.full((frames, joints, 3, 3), np.nan)
        self.confidence, self.rms = np.zeros((frames, joints)), np.full((frames, joints), np.nan)
        self.error = np.full((views, frames, joints), np.nan, dtype=np.float32)
        self.used, self.offered = (np.zeros((views, frames, joints), dtype=bool) for _ in range(2))

    def put(self, frames: np.ndarray, solved: _Solved, where: np.ndarray | None = None) -> None:
        """Takes over what was solved at `frames`, or only the points of it that `where` (frames, joints) says."""
        at, joint = np.nonzero(np.ones(solved.rms.shape, dtype=bool) if where is None else where)
        to = (frames[at], joint)
        self.xyz[to], self.covariance[to] = solved.xyz[at, joint], solved.covariance[at, joint]
        self.confidence[to], self.rms[to] = solved.confidence[at, joint], solved.rms[at, joint]
        for mine, theirs in ((self.error, solved.error), (self.used, solved.used), (self.offered, solved.offered)):
            mine[:, to[0], to[1]] = theirs[:, at, joint]

    def drop(self, where: np.ndarray) -> None:
        """Makes points missing."""
        self.xyz[where], self.confidence[where] = np.nan, 0.0
        self.used[:, where] = False

    def facts_of(self, view: int) -> dict[str, Any]:
        """What became of one view's points."""
        used, offered, error = self.used[view], self.offered[view], self.error[view]
        return {
            "offered": int(offered.sum()),
            "used": int(used.sum()),
            "dropped": int((offered & ~used).sum()),
            "reprojection_px": _median(error[used]),
            "reprojection_with_dropped_px": _median(error[offered]),
        }


def _gate(
    points: _Points,
    timestamps: np.ndarray,
    skeleton: Skeleton,
    solve: Callable[[np.ndarray, np.ndarray], _Solved],
    per_chunk: int,
) -> tuple[np.ndarray, int]:
    """Tries impossible points again from where their neighbours expect them; drops the rest, and says which."""

    def impossible() -> np.ndarray:
        return (
            spikes(points.xyz, points.covariance, timestamps)
            | impossible_limbs(points.xyz, points.covariance, skeleton)
            | hands_astray(points.xyz, skeleton)
        )

    bad = impossible()
    frames = np.flatnonzero(bad.any(1))
    expected = _between_kept(points.xyz, bad)
    for first in range(0, len(frames), per_chunk):
        at = frames[first : first + per_chunk]
        solved = solve(at, expected[at])
        points.put(at, solved, bad[at] & (solved.confidence > 0))
    dropped = bad & impossible() if len(frames) else bad
    points.drop(dropped)
    return dropped, int((bad & ~dropped).sum())


def _error_limits(rig: Rig, views: Sequence[Keypoints2D], max_error: float) -> Float[np.ndarray, "views joints"]:
    """The same for all joints of a view [px], but less for a hand's: small hands ask for more than large images."""
    skeleton = views[0].skeleton
    limit = np.tile([[max_error * c.longer_side] for c in rig], len(skeleton))
    for own, view in zip(limit, views, strict=True):
        for hand in skeleton.each_hand():
            if (view.confidence[:, hand] > 0).any():
                own[hand] = np.minimum(own[hand], _HAND_ERROR * np.median(person_size(view, of=hand)))
    return limit


def _each_point(limit: Float[np.ndarray, "views joints"], seen: Observations) -> Float[np.ndarray, "views points"]:
    """Limits of views and joints as those of views and points, which are all joints of frame after frame."""
    return np.tile(limit, seen.confidence.shape[1])


def _median(values: np.ndarray) -> float | None:
    """Rounded median of what is finite; None of nothing, which JSON knows."""
    values = values[np.isfinite(values)]
    return round(float(np.median(values)), 4) if values.size else None


def _scaled(seen: Observations, by_view: np.ndarray, by_joint: np.ndarray) -> Observations:
    """With the noise level measured rather than assumed."""
    return dataclasses.replace(seen, sigma=seen.sigma * by_view[:, None, None] * by_joint)


def _rays(cameras: Sequence[Camera], seen: Observations) -> Rays:
    views = len(cameras)
    return rays_through(
        cameras, seen.xy.reshape(views, -1, 2), seen.confidence.reshape(views, -1), seen.sigma.reshape(views, -1)
    )


def _measured(
    cameras: Sequence[Camera], sample: Observations, limits: _Limits
) -> tuple[np.ndarray, np.ndarray, _Limits]:
    """Factors on the assumed noise of views and joints, and the limits with the trust each view has earned."""
    few = _thinned(sample)
    by_view, by_joint = np.ones(len(cameras)), np.ones(few.confidence.shape[2])
    free = dataclasses.replace(limits, trust=np.ones(len(cameras)), max_sigma=np.inf)  # noise is not known yet
    for _ in range(2):  # the second time with kernel and gates at about the right scale
        solved = _solve(cameras, _scaled(few, by_view, by_joint), free)
        more_view, more_joint = _noise_levels(solved)
        by_view, by_joint = by_view * more_view, by_joint * more_joint
        outvoted = solved.offered.sum(0) > 2
        used = (solved.used & outvoted).sum((1, 2)) / np.maximum((solved.offered & outvoted).sum((1, 2)), 1)
        trust = np.clip((used / max(used.max(), 1e-9)) ** 2, 0.05, 1.0)
        free = dataclasses.replace(free, trust=np.where(outvoted.any(), trust, 1.0))
    return by_view, by_joint, dataclasses.replace(limits, trust=free.trust)


def _thinned(sample: Observations) -> Observations:
    """About 150 frames of the sample."""
    thin = slice(None, None, max(1, sample.confidence.shape[1] // 150))
    return Observations(sample.xy[:, thin], sample.confidence[:, thin], sample.sigma[:, thin])


def _put_right(
    rig: Rig, views: list[Keypoints2D], timestamps: np.ndarray, spread: list[np.ndarray]
) -> tuple[list[Keypoints2D], dict[str, dict[str, int]]]:
    """The views with left and right where they belong, and how many frames were exchanged, by part of the body."""
    swaps: list[dict[str, np.ndarray]] = [{} for _ in views]
    per_chunk = max(1, _SIDES_CHUNK // (len(views) * len(views[0].skeleton)))
    for first in range(0, len(timestamps), per_chunk):
        for part, found in find_swaps(rig, views, timestamps[first : first + per_chunk], spread).items():
            for v, frames in enumerate(found):
                swaps[v][part] = swaps[v][part] | frames if part in swaps[v] else frames
    counted = {
        name: {part: int(f.sum()) for part, f in s.items() if f.any()} for name, s in zip(rig.names, swaps, strict=True)
    }
    return [exchange(v, s) if counted[n] else v for n, v, s in zip(rig.names, views, swaps, strict=True)], counted


def _between_kept(xyz: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """Where joints are expected: on the line between the frames in which they are kept."""
    expected = np.full(xyz.shape, np.nan)
    kept = np.isfinite(xyz).all(-1) & ~dropped
    frames = np.arange(len(xyz))
    for j in np.flatnonzero(dropped.any(0) & kept.any(0)):  # tens, whatever the number of frames
        for i in range(3):
            expected[:, j, i] = np.interp(frames, frames[kept[:, j]], xyz[kept[:, j], j, i])
    return expected


def about_time(names: Sequence[str], lags: Lags, *, fps: float, seconds: float) -> list[str]:
    """Cameras whose timestamps are off by more than can be explained.

    Less than a frame is told of takes of some length only: in a short one a detector that errs alike in neighbouring
    frames, as while somebody spins, looks like a camera that is half a frame late.
    """
    if seconds < _SHORT:
        return []
    least = (0.4 if seconds >= _LONG else 1.0) / fps
    off = (np.abs(lags.lag) > np.maximum(least, 4 * lags.sigma)) & (lags.closer > 1.15)
    whom = "the other cameras" if len(names) > 2 else f"camera {names[0]}"
    return [
        f"Camera {name} seems to be {abs(lag):.3f} s {'late' if lag > 0 else 'early'} against {whom} (its rays meet "
        f"theirs {closer:.1f} times closer so): give it an offset of {-lag:+.3f} s in the dataset file."
        for name, lag, closer, bad in zip(names, lags.lag, lags.closer, off, strict=True)
        if bad
    ]


def _about_place(names: Sequence[str], left_out: LeftOut, max_error: np.ndarray) -> list[str]:
    """A camera that is not where its calibration says."""
    bad, suspects = out_of_place(left_out, max_error)
    if bad is not None:
        return [
            f"Camera {names[bad]} disagrees with the others by {left_out.distance[bad]:.0f} px in most frames, while "
            f"they agree within {left_out.others[bad]:.0f} px: was it moved after calibration?"
        ]
    if suspects:
        far = ", ".join(f"{names[v]} ({left_out.distance[v]:.0f} px)" for v in suspects)
        return [
            f"Cameras disagree with what the others see in most frames: {far}. At least one of them is out of place."
        ]
    return []


def _about_views(names: Sequence[str], used: np.ndarray, offered: np.ndarray, nobody: str) -> list[str]:
    """Cameras that saw nobody, or whose points mostly had to be dropped."""
    said, frames = [], used.shape[1]
    for name, u, o in zip(names, used, offered, strict=True):
        blind = int((~o.any(1)).sum())
        if blind == frames:
            said.append(f"Camera {name} saw {nobody} in all {frames} frames.")
        elif blind > 0.1 * frames:
            said.append(f"Camera {name} saw {nobody} in {blind} of {frames} frames.")
        if o.any() and u.sum() < 0.5 * o.sum():
            said.append(
                f"{1 - u.sum() / o.sum():.0%} of what camera {name} saw was dropped, as the other cameras disagree."
            )
    return said


def _about_joints(skeleton: Skeleton, found: np.ndarray) -> list[str]:
    """Joints that could not be had in much of the take; a hand as one where it is so of all its points."""
    missing = 1 - found.mean(0)
    poor = missing > 0.2
    hands = {f"the {side} hand": np.isin(skeleton.joints, hand.joints) for side, hand in HANDS.items()}
    whole = {name: mine for name, mine in hands.items() if mine.any() and poor[mine].all()}
    single = poor & ~np.any([np.zeros_like(poor), *whole.values()], axis=0)
    told = [(skeleton.joints[j], missing[j]) for j in np.flatnonzero(single)]
    told += [(name, np.median(missing[mine])) for name, mine in whole.items()]
    return [f"Often missing in 3D: {', '.join(f'{name} ({m:.0%} of frames)' for name, m in told)}."] if told else []
