"""What each camera saw, brought to the take's clock, with how far it can be trusted.

Cameras are not triggered together and phones write uneven frames, so every view is interpolated in time. An
interpolated point is less certain than a seen one where the motion bends; a seen one keeps its own uncertainty.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mocap.geometry import robust
from mocap.take import Keypoints2D

MAX_GAP = 1.75
"""Frames further apart than this many nominal frames have lost one between them: nothing is interpolated there."""
HAND_NOISE = 2.0
"""How much more points of a hand err than those of a body, in sizes of either: 0.025 against 0.0125 (mediapipe)."""
_EXACT = 1e-3
"""A moment this close to a frame [nominal frames] is that frame."""


@dataclass(frozen=True)
class Observations:
    """One person in every view, on one clock."""

    xy: Float[np.ndarray, "views frames joints 2"]
    """[px], NaN where missing."""
    confidence: Float[np.ndarray, "views frames joints"]
    """In [0, 1], 0 where missing."""
    sigma: Float[np.ndarray, "views frames joints"]
    """Standard deviation per coordinate [px]; infinite where missing."""


def person_size(
    keypoints: Keypoints2D, *, seconds: float = 2.0, of: Bool[np.ndarray, " joints"] | None = None
) -> Float[np.ndarray, " frames_v"]:
    """How large the person, or those joints `of` it, is in the image [px]: detectors err in proportion to it.

    The diagonal between the 10th and 90th percentiles of the points (so that a stray one does not count), then the
    running median over `seconds` (so that a bad frame does not).
    """
    frames = len(keypoints.timestamps)
    at = slice(None) if of is None else of
    ordered = np.sort(keypoints.xy[:, at], axis=1)  # NaN last
    count = (keypoints.confidence[:, at] > 0).sum(1)
    low, high = (
        np.take_along_axis(
            ordered, np.rint(q * np.maximum(count - 1, 0)).astype(np.intp)[:, None, None].repeat(2, 2), axis=1
        )[:, 0]
        for q in (0.1, 0.9)
    )
    size = np.linalg.norm(high - low, axis=-1)
    known = np.flatnonzero(size > 0)  # NaN compares False
    if not len(known):
        return np.ones(frames)
    size = np.interp(np.arange(frames), known, size[known])
    if frames > 1:
        width = 2 * int(0.5 * seconds / np.median(np.diff(keypoints.timestamps))) + 1
        size = robust.running_median(size, width)
    return size


def noise_of(keypoints: Keypoints2D, noise: float) -> Float[np.ndarray, " frames_v #joints"]:
    """Standard deviation per coordinate of detections of confidence 1 [px]: `noise` in sizes of the person.

    Hands of a body are detected on their own, so their points err in proportion to the hand, `HAND_NOISE` times more.
    """
    skeleton = keypoints.skeleton
    body = ~skeleton.of_hands()
    if body.all() or not body.any():
        return noise * person_size(keypoints)[:, None]
    out = np.empty(keypoints.confidence.shape)
    out[:, body] = noise * person_size(keypoints, of=body)[:, None]
    for hand in skeleton.each_hand():
        out[:, hand] = HAND_NOISE * noise * person_size(keypoints, of=hand)[:, None]
    return out


def _curvature(t: np.ndarray, xy: np.ndarray, nominal: float) -> np.ndarray:
    """Second derivative [px/s^2] at each frame from its two neighbours; NaN without both."""
    a = np.full(xy.shape, np.nan)
    if len(t) < 3:
        return a
    h = np.diff(t)[:, None, None]
    slope = np.diff(xy, axis=0) / h
    a[1:-1] = 2 * (slope[1:] - slope[:-1]) / (h[1:] + h[:-1])
    a[1:-1][(h[1:] > MAX_GAP * nominal).ravel() | (h[:-1] > MAX_GAP * nominal).ravel()] = np.nan
    return a


def at_times(
    keypoints: Keypoints2D,
    timestamps: Float[np.ndarray, " frames"],
    noise: Float[np.ndarray, " frames_v *joint"],
) -> tuple[
    Float[np.ndarray, "frames joints 2"], Float[np.ndarray, "frames joints"], Float[np.ndarray, "frames joints"]
]:
    """Points of one view at other moments: xy [px], confidence, standard deviation per coordinate [px].

    Detection noise has variance noise^2 / confidence: information in proportion to confidence. Between two frames,
    at the fraction u of the time D between them, x = (1 - u) x0 + u x1 - u (1 - u) D^2 a / 2, where a is the
    second derivative: the blend of the two frames' own where they agree within noise (a cubic), else the smaller (the
    smoother stencil: Harten et al., "Uniformly high order accurate essentially non-oscillatory schemes", 1987), so
    that an outlier beside the interval does no harm. The standard deviation of what interpolation misses is taken as
    a quarter of that correction for the cubic, half for the one-sided parabola, and all of it outside the frames; where
    a is unknown, as 2 u (1 - u) of the way from x0 to x1. Both frames must hold the point and be at most 1.75 nominal
    frames apart; nothing is taken further than half a nominal frame outside.

    Args:
        keypoints: One person in one view.
        timestamps: Where points are wanted [s].
        noise: Standard deviation per coordinate at confidence 1 [px], per frame of the view, or also per joint.
    """
    t, joints = keypoints.timestamps, len(keypoints.skeleton)
    frames = len(timestamps)
    sigma_v = np.full(keypoints.confidence.shape, np.inf)
    noise = noise if noise.ndim == 2 else noise[:, None]
    np.divide(noise, np.sqrt(keypoints.confidence), out=sigma_v, where=keypoints.confidence > 0)
    if len(t) < 2:
        same = np.abs(timestamps - t[0]) < 1e-3 if len(t) else np.zeros(frames, dtype=bool)
        xy, confidence = np.full((frames, joints, 2), np.nan), np.zeros((frames, joints))
        sigma = np.full((frames, joints), np.inf)
        if same.any():
            xy[same], confidence[same], sigma[same] = keypoints.xy[0], keypoints.confidence[0], sigma_v[0]
        return xy, confidence, sigma

    nominal = float(np.median(np.diff(t)))
    k = np.clip(np.searchsorted(t, timestamps, side="right") - 1, 0, len(t) - 2)
    step = t[k + 1] - t[k]
    since = timestamps - t[k]
    nearest = k + (since > 0.5 * step)
    exact = np.abs(timestamps - t[nearest]) < _EXACT * nominal
    outside = (since < 0) | (since > step)
    reach = np.maximum(-since, since - step) <= 0.5 * nominal
    between = reach & (step <= MAX_GAP * nominal) & ~exact

    u, D = (since / step)[:, None], step[:, None]
    x0, x1 = keypoints.xy[k], keypoints.xy[k + 1]
    s0, s1 = sigma_v[k], sigma_v[k + 1]
    xy = (1 - u[..., None]) * x0 + u[..., None] * x1

    curve = _curvature(t, keypoints.xy, nominal)
    a0, a1 = curve[k], curve[k + 1]
    n0, n1 = (np.where(np.isfinite(n), n, np.inf) for n in (np.linalg.norm(a, axis=-1) for a in (a0, a1)))
    smaller = np.minimum(n0, n1)
    finite_s = np.where(np.isfinite(s0 + s1), s0 + s1, 0.0) / 2
    with np.errstate(invalid="ignore"):  # a missing curvature compares False
        # the difference of two neighbouring second differences has variance 20 sigma^2 / D^4 by noise alone
        cubic = np.linalg.norm(a1 - a0, axis=-1) <= np.maximum(smaller, 3 * np.sqrt(20) * finite_s / D**2)
    bend = np.where(
        cubic[..., None], (1 - u[..., None]) * a0 + u[..., None] * a1, np.where((n0 <= n1)[..., None], a0, a1)
    )
    unknown = ~np.isfinite(smaller)
    bend[unknown] = 0.0
    weight = 0.5 * u * (1 - u) * D**2
    xy = xy - weight[..., None] * bend
    share = np.where(outside[:, None], 1.0, np.where(cubic, 0.25, 0.5))
    missed = np.abs(weight) * share * np.linalg.norm(bend, axis=-1)
    moved = np.linalg.norm(x1 - x0, axis=-1)
    missed = np.where(unknown, 2 * np.abs(u * (1 - u)) * moved, missed)
    with np.errstate(invalid="ignore"):  # 0 x infinity where a frame lacks the point: masked below
        variance = ((1 - u) ** 2 * s0**2 + u**2 * s1**2) * (1 + np.maximum(u * (1 - u), 0)) + missed**2
    confidence = np.minimum(keypoints.confidence[k], keypoints.confidence[k + 1])

    e = exact[:, None]
    xy = np.where(e[..., None], keypoints.xy[nearest], xy)
    sigma = np.where(e, sigma_v[nearest], np.sqrt(variance))
    confidence = np.where(e, keypoints.confidence[nearest], confidence)
    there = (exact | between)[:, None] & (confidence > 0)
    return np.where(there[..., None], xy, np.nan), np.where(there, confidence, 0.0), np.where(there, sigma, np.inf)


def window(keypoints: Keypoints2D, start: float, stop: float) -> slice:
    """The frames of a view that interpolation between two moments [s] can need."""
    first, last = np.searchsorted(keypoints.timestamps, (start, stop))
    return slice(max(int(first) - 3, 0), int(last) + 3)


def observe(
    views: Sequence[Keypoints2D],
    timestamps: Float[np.ndarray, " frames"],
    noise: Sequence[np.ndarray],
) -> Observations:
    """All views at the same moments, with noise (frames_v,) or (frames_v, joints) each; see :func:`at_times`."""
    parts = []
    for view, sigma in zip(views, noise, strict=True):
        near = window(view, timestamps[0], timestamps[-1])
        cut = dataclasses.replace(
            view, timestamps=view.timestamps[near], xy=view.xy[near], confidence=view.confidence[near]
        )
        parts.append(at_times(cut, timestamps, sigma[near]))
    return Observations(*(np.stack(p) for p in zip(*parts, strict=True)))
