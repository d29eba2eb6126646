"""Hypotheses: subjects in 3D on whom two or more views agree, moment by moment."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

from mocap import progress
from mocap.detect.hands import OTHER_SIDE, opposed
from mocap.detect.kinds import Kind
from mocap.detect.marks import Marks
from mocap.geometry.cameras import Camera

CROWD = 6
"""So many candidates of a view, the most complete, can found a guess in 3D; all of them can be taken in the end."""

_CLAIM = 0.5
"""A candidate that fits one hypothesis less than this share of how it fits another does not support it."""


@dataclass(frozen=True)
class Hypotheses:
    """Subjects two or more views agree on, at each moment, the best first."""

    xyz: Float[np.ndarray, "moments hypotheses marks 3"]
    known: Bool[np.ndarray, "moments hypotheses marks"]
    score: Float[np.ndarray, "moments hypotheses"]
    """Sum over views of the supported share of the marks, weighted by how large the subject is seen; 0 for none."""
    lean: Float[np.ndarray, "moments hypotheses"]
    """Mean P(left) - P(right) of the candidates that support it; 0 of bodies."""
    supports: Bool[np.ndarray, "moments hypotheses views"]
    crowded: Int[np.ndarray, " moments"]
    """In how many views somebody was."""


def hypotheses(
    cameras: list[Camera], views: list[Marks], moments: np.ndarray, kind: Kind, count: int, max_error: float
) -> Hypotheses:
    """The best `count` at each moment.

    Every pair of candidates from two views is a guess at a person: where the rays of their marks come closest. The best
    guesses are supported by the other views' candidates they project onto; those that share no candidate are kept. Of
    hands, candidates of different sides fit one another less.

    Args:
        cameras: Of the views.
        views: Their candidates.
        moments: When to look [s].
        kind: What is looked for.
        count: How many hypotheses a moment.
        max_error: A mark farther from where the other views put it counts nothing [fraction of the subject's size].
    """
    chunk = max(64, 280_000 // (len(views) * len(views) * len(kind.marks)))  # so that memory stays bounded
    pieces = []
    with progress.bar("associate", len(moments), "moments") as told:
        for k in range(0, len(moments), chunk):
            pieces.append(_hypotheses_at(cameras, views, moments[k : k + chunk], kind, count, max_error))
            told.update(len(pieces[-1].score))
    fields = [f.name for f in dataclasses.fields(Hypotheses)]
    return Hypotheses(**{name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in fields})


def _hypotheses_at(
    cameras: list[Camera], views: list[Marks], moments: np.ndarray, kind: Kind, count: int, max_error: float
) -> Hypotheses:
    slots = min(CROWD, max(view.weight.shape[1] for view in views))
    seen = [_seen_at(view, moments, slots) for view in views]
    weight = np.stack([s[1] for s in seen], axis=1)  # moments views slots marks
    size = np.stack([s[2] for s in seen], axis=1)  # moments views slots
    side = np.stack([s[3] for s in seen], axis=1)
    plane = np.stack([c.undistort(s[0]) for c, s in zip(cameras, seen, strict=True)], axis=1)
    weight = np.where(np.isfinite(plane).all(-1), weight, 0.0)
    focal = np.array([0.5 * (c.K[0, 0] + c.K[1, 1]) for c in cameras])
    # errors in the plane at depth 1, in units of what is tolerated
    tolerated = max_error * size / focal[None, :, None]
    rays = np.concatenate([plane, np.ones_like(plane[..., :1])], axis=-1)
    rays = np.stack([rays[:, v] @ c.R for v, c in enumerate(cameras)], axis=1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    centres = np.stack([c.centre for c in cameras])

    xyz, score, lean = _pair_guesses(rays, centres, weight, tolerated, side, kind.fewest)
    best = np.argsort(-score, axis=1)[:, : kind.guesses]
    xyz = np.take_along_axis(xyz, best[:, :, None, None], axis=1)
    guess, lean = np.take_along_axis(score, best, axis=1) > 0, np.take_along_axis(lean, best, axis=1)
    for _ in range(2):  # the second time from all the views that support it, not from two
        place, support = _supports(cameras, plane, weight, tolerated, side, xyz, lean, kind.fewest)
        xyz, lean = _meet(rays, centres, weight, place, xyz), _mean_lean(side, place)
    place, support = _supports(cameras, plane, weight, tolerated, side, xyz, lean, kind.fewest)
    if kind.touching:
        place, support = _best_claims(place, support, slots)
    ok = guess & ((support > 0).sum(2) >= 2)
    relative = np.stack([size[:, v] / c.longer_side for v, c in enumerate(cameras)], axis=1)
    relative = np.take_along_axis(np.nan_to_num(relative)[:, None], np.maximum(place, 0)[..., None], axis=3)[..., 0]
    # who fills more of the pictures is more likely the one they were taken of
    value = np.where(ok[..., None], support * (0.5 + np.minimum(relative, 1.0)), 0.0)
    crowded = (weight > 0).any((2, 3)).sum(1)
    return _exclusive(xyz, value, _mean_lean(side, place), place, count, kind, crowded)


def _seen_at(view: Marks, moments: np.ndarray, slots: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Marks, weights, sizes and leanings at moments: the nearest frame's, moved along its track to the moment itself.

    A frame farther away than three quarters of the view's own spacing (a gap in the view) gives nobody.
    """
    times = view.timestamps
    m, marks = len(moments), view.weight.shape[2]
    if len(times) == 0:
        nowhere, empty = np.full((m, slots, marks, 2), np.nan), np.zeros((m, slots))
        return nowhere, np.zeros((m, slots, marks)), np.full((m, slots), np.nan), empty
    after = np.clip(np.searchsorted(times, moments), 0, len(times) - 1)
    before = np.maximum(after - 1, 0)
    near = np.where(np.abs(times[after] - moments) <= np.abs(times[before] - moments), after, before)
    other = np.where(near == after, before, after)
    spacing = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    within = np.abs(times[near] - moments) <= 0.75 * max(spacing, 1e-3)
    xy, weight, size = view.xy[near], view.weight[near].copy(), view.size[near]
    same = (view.track[near][:, :, None] == view.track[other][:, None]) & (view.track[near] >= 0)[:, :, None]
    k = same.argmax(2)
    rows = np.arange(m)[:, None]
    span = np.where(near == other, 1.0, times[other] - times[near])
    share = np.where((span != 0) & (np.abs(span) < 3 * spacing), (moments - times[near]) / span, 0.0)
    moved = xy + share[:, None, None, None] * (view.xy[other][rows, k] - xy)
    use = same.any(2)[..., None, None] & np.isfinite(moved)
    xy = np.where(use, moved, xy)
    weight[~within] = 0.0
    # the most complete and largest first, when there are more than fit
    order = np.argsort(-(weight.sum(2) * np.nan_to_num(size)), axis=1)[:, :slots]
    xy, weight, size, lean = xy[rows, order], weight[rows, order], size[rows, order], view.lean[near][rows, order]
    free = slots - order.shape[1]
    pad = ((0, 0), (0, free))
    return (
        np.pad(xy, (*pad, (0, 0), (0, 0)), constant_values=np.nan),
        np.pad(weight, (*pad, (0, 0))),
        np.pad(size, pad, constant_values=np.nan),
        np.pad(lean, pad),
    )


def _pair_guesses(
    rays: Float[np.ndarray, "moments views slots marks 3"],
    centres: Float[np.ndarray, "views 3"],
    weight: Float[np.ndarray, "moments views slots marks"],
    tolerated: Float[np.ndarray, "moments views slots"],
    side: Float[np.ndarray, "moments views slots"],
    fewest: int,
) -> tuple[
    Float[np.ndarray, "moments guesses marks 3"],
    Float[np.ndarray, "moments guesses"],
    Float[np.ndarray, "moments guesses"],
]:
    """For every pair of candidates the points where their marks' rays come closest, how well they meet, which side."""
    m, views, slots, marks = weight.shape
    points, scores, leans = [], [], []
    for v, w in combinations(range(views), 2):
        d, e = rays[:, v, :, None], rays[:, w, None]
        base = centres[w] - centres[v]
        cosine = np.einsum("...i,...i", d, e)
        along, across = d @ base, e @ base
        with np.errstate(invalid="ignore", divide="ignore"):
            s = (along - cosine * across) / (1 - cosine**2)
            t = (cosine * along - across) / (1 - cosine**2)
            a, b = centres[v] + s[..., None] * d, centres[w] + t[..., None] * e
            half = 0.5 * np.sqrt(np.einsum("...i,...i", a - b, a - b))
            error = np.maximum(half / s / tolerated[:, v, :, None, None], half / t / tolerated[:, w, None, :, None])
        both = np.minimum(weight[:, v, :, None], weight[:, w, None])
        good = (s > 0) & (t > 0) & (error < 1) & (both > 0)
        value = np.where(good, both * (1 - error**2), 0.0)
        points.append(np.where(good[..., None], 0.5 * (a + b), np.nan).reshape(m, slots * slots, marks, 3))
        enough = good.sum(-1) >= fewest
        one, other = side[:, v, :, None], side[:, w, None]
        value = value.sum(-1) / marks * (1 - OTHER_SIDE * opposed(one, other))
        scores.append(np.where(enough, value, 0.0).reshape(m, slots * slots))
        leans.append((0.5 * (one + other)).reshape(m, slots * slots))
    return np.concatenate(points, axis=1), np.concatenate(scores, axis=1), np.concatenate(leans, axis=1)


def _supports(
    cameras: list[Camera],
    plane: Float[np.ndarray, "moments views slots marks 2"],
    weight: Float[np.ndarray, "moments views slots marks"],
    tolerated: Float[np.ndarray, "moments views slots"],
    side: Float[np.ndarray, "moments views slots"],
    xyz: Float[np.ndarray, "moments guesses marks 3"],
    lean: Float[np.ndarray, "moments guesses"],
    fewest: int,
) -> tuple[Int[np.ndarray, "moments guesses views"], Float[np.ndarray, "moments guesses views"]]:
    """For each guess and view the candidate it projects onto (-1: none) and the share of marks that agree."""
    places, shares = [], []
    for v, camera in enumerate(cameras):
        p = camera.to_camera(xyz)
        with np.errstate(invalid="ignore", divide="ignore"):
            n = np.where(p[..., 2:] > 1e-6, p[..., :2] / p[..., 2:], np.nan)
            away = n[:, :, None] - plane[:, v, None]
            error = np.hypot(away[..., 0], away[..., 1]) / tolerated[:, v, None, :, None]
        good = error < 1
        w = weight[:, v, None]
        share = np.where(good, w * (1 - error**2), 0.0).sum(-1) / weight.shape[-1]
        share *= 1 - OTHER_SIDE * opposed(lean[..., None], side[:, v, None])
        share = np.where(good.sum(-1) >= fewest, share, 0.0)
        place = share.argmax(2)
        best = np.take_along_axis(share, place[..., None], axis=2)[..., 0]
        # a candidate most of whose marks are elsewhere is somebody else, however well a few of them fit
        against = np.where(~good & np.isfinite(error), w, 0.0).sum(-1) / weight.shape[-1]
        lost = best <= np.take_along_axis(against, place[..., None], axis=2)[..., 0]
        places.append(np.where((best > 0) & ~lost, place, -1))
        shares.append(np.where(lost, 0.0, best))
    return np.stack(places, axis=2), np.stack(shares, axis=2)


def _best_claims(
    place: Int[np.ndarray, "moments guesses views"],
    support: Float[np.ndarray, "moments guesses views"],
    slots: int,
) -> tuple[Int[np.ndarray, "moments guesses views"], Float[np.ndarray, "moments guesses views"]]:
    """Places and supports without those of candidates that fit another guess much better.

    Where one of two hands that touch is missed by a view, the other's candidate there fits both, and would be claimed
    by whichever hypothesis comes first.
    """
    best = np.stack([np.where(place == k, support, 0.0).max(1) for k in range(slots)], axis=-1)  # moments views slots
    most = np.take_along_axis(best, np.maximum(place, 0).transpose(0, 2, 1), axis=2).transpose(0, 2, 1)
    lost = support < _CLAIM * most
    return np.where(lost, -1, place), np.where(lost, 0.0, support)


def _mean_lean(
    side: Float[np.ndarray, "moments views slots"], place: Int[np.ndarray, "moments guesses views"]
) -> Float[np.ndarray, "moments guesses"]:
    """Which side the candidates that support each guess lean to on average; 0 where there are none."""
    index = np.maximum(place, 0).transpose(0, 2, 1)  # moments views guesses
    leans = np.take_along_axis(side, index, axis=2).transpose(0, 2, 1)
    there = place >= 0
    return np.where(there, leans, 0.0).sum(2) / np.maximum(there.sum(2), 1)


def _meet(
    rays: Float[np.ndarray, "moments views slots marks 3"],
    centres: Float[np.ndarray, "views 3"],
    weight: Float[np.ndarray, "moments views slots marks"],
    place: Int[np.ndarray, "moments guesses views"],
    xyz: Float[np.ndarray, "moments guesses marks 3"],
) -> Float[np.ndarray, "moments guesses marks 3"]:
    """Marks nearest to the rays of all supporting candidates: sum w (I - d d^T) (x - c) = 0."""
    m, views = weight.shape[:2]
    rows = np.arange(m)[:, None]
    A = np.zeros((*xyz.shape, 3))
    b = np.zeros(xyz.shape)
    seen = np.zeros(xyz.shape[:-1], dtype=int)
    for v in range(views):
        k = np.maximum(place[:, :, v], 0)
        d = rays[rows, v, k]
        w = np.where((place[:, :, v] >= 0)[..., None], weight[rows, v, k], 0.0)
        w = np.where(np.isfinite(d).all(-1), w, 0.0)
        P = w[..., None, None] * (np.eye(3) - d[..., :, None] * d[..., None, :])
        P = np.where((w > 0)[..., None, None], P, 0.0)
        A += P
        b += P @ centres[v]
        seen += w > 0
    solvable = (seen >= 2) & (np.abs(np.linalg.det(A)) > 1e-9)
    A[~solvable] = np.eye(3)
    return np.where(solvable[..., None], np.linalg.solve(A, b[..., None])[..., 0], np.nan)


def _exclusive(
    xyz: np.ndarray, value: np.ndarray, lean: np.ndarray, place: np.ndarray, count: int, kind: Kind, crowded: np.ndarray
) -> Hypotheses:
    """The best guess of each moment, then the best that shares no candidate with it and is elsewhere, and so on.

    Of subjects that may touch, a guess goes on without the candidates it shares, if it has two of its own.
    """
    m, _, marks = xyz.shape[:3]
    views = place.shape[2]
    rows = np.arange(m)
    out_xyz = np.full((m, count, marks, 3), np.nan)
    out_score, out_lean = np.zeros((m, count)), np.zeros((m, count))
    supports = np.zeros((m, count, views), bool)
    value = value.copy()
    left = value.sum(2)
    known = np.asarray(np.isfinite(xyz).all(-1))
    for h in range(count):
        k = left.argmax(1)
        there = left[rows, k] > 0
        if not there.any():
            break
        out_xyz[there, h] = xyz[rows, k][there]
        out_score[there, h], out_lean[there, h] = left[rows, k][there], lean[rows, k][there]
        supports[there, h] = (value[rows, k] > 0)[there]
        mine = np.where(value[rows, k] > 0, place[rows, k], -1)[:, None]
        shared = (place == mine) & (place >= 0)
        common = known & known[rows, k][:, None]
        gap = np.where(common, np.linalg.norm(xyz - xyz[rows, k][:, None], axis=-1), 0.0).sum(2)
        near = gap < kind.apart * np.maximum(common.sum(2), 1)
        if kind.touching:
            value[shared] = 0.0
            left = np.where((left > 0) & ((value > 0).sum(2) >= 2), value.sum(2), 0.0)
            left[near & common.any(2)] = 0.0
        else:
            left[shared.any(2) | (near & common.any(2))] = 0.0
        left[rows, k] = 0.0
    known = np.asarray(np.isfinite(out_xyz).all(-1))
    return Hypotheses(out_xyz, known, out_score, out_lean, supports, crowded)
