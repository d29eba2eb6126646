"""Whether the cameras agree: one that was moved, one whose clock is off, a world that lies on its side.

Two views of one point agree when their rays meet. That needs no 3D point, so it is asked of every pair of views, and
the odd one out is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from mocap.errors import CalibrationError
from mocap.geometry.robust import mad_sigma
from mocap.skeletons import Skeleton
from mocap.triangulate.rays import Rays, residual_pixels, select

_SAMPLES = 3000
"""Points a pair of views is judged on (a quarter of them for every lag tried); more change nothing."""

_FEWEST = 30
"""Of fewer values no median is taken."""


@dataclass(frozen=True)
class Lags:
    """How far the views' clocks are apart, as the motion shows it."""

    lag: Float[np.ndarray, " views"]
    """How much later than the others each view's timestamps are [s]; 0 where that cannot be told."""
    sigma: Float[np.ndarray, " views"]
    """Standard deviation of `lag` [s]; infinite where it cannot be told."""
    closer: Float[np.ndarray, " views"]
    """How many times closer the view's rays pass those of the others with the lags than without."""


def find_lags(
    rays: Rays, timestamps: Float[np.ndarray, "blocks frames"], joints: int, *, most_lag: float = 1.0
) -> Lags:
    """Lags between views from blocks of consecutive frames: no 3D point is needed, only that rays should meet.

    For every pair of views the signed Sampson distance of the ten fastest joints, freed of each joint's median (which
    calibration and detector leave, whatever the time), is least at the pair's lag. It is searched in whole frames up to
    `most_lag`, then refined by robust Gauss-Newton, the derivative by time coming from the rays' own motion. Lags of
    pairs become lags of views by least absolute deviations, with the median view (of two, the first) as the reference.

    Args:
        rays: Points ordered (blocks, frames, joints).
        timestamps: The moments of those frames [s], increasing within a block.
        joints: How many per frame.
        most_lag: Longest lag searched [s]; at most a third of a block is used.
    """
    views = len(rays.origins)
    blocks, frames = timestamps.shape
    d = rays.directions.reshape(3, views, blocks, frames, joints)
    there = rays.confidence.reshape(views, blocks, frames, joints) > 0
    d = np.where(there, d, np.nan)
    scale = rays.pixels_per_radian.reshape(views, blocks, frames, joints)
    step = float(np.median(np.diff(timestamps, axis=1))) if frames > 1 else 1.0
    most = min(round(most_lag / step), frames // 3) if frames > 1 else 0

    speed = np.zeros(joints)
    if frames > 2:  # joints that move tell most about time
        turn = np.linalg.norm(np.diff(d, axis=3), axis=0)
        speed = np.array(
            [np.median(t) if (t := turn[..., j][np.isfinite(turn[..., j])]).size else 0 for j in range(joints)]
        )
    fast = np.argsort(-speed, kind="stable")[:10]

    before, after = np.zeros((views, views)), np.zeros((views, views))
    pair_lag, pair_weight = np.zeros((views, views)), np.zeros((views, views))
    inner = np.arange(most, frames - most)
    reach = max(1, round(0.05 / step))
    few, many = (inner[:: max(1, blocks * len(inner) * len(fast) // n)] for n in (_SAMPLES // 4, _SAMPLES))
    for i, j in combinations(range(views), 2) if most > 0 else ():
        signed = _signed_distances(
            d[:, i][..., fast],
            d[:, j][..., fast],
            scale[i][..., fast],
            scale[j][..., fast],
            rays.origins[j] - rays.origins[i],
        )
        sizes: dict[int, float] = {}
        for spacing in dict.fromkeys((reach, 1)):  # every 0.05 s, then every frame about the best
            about = min(sizes, key=lambda k: sizes[k]) if sizes else None
            lags = range(-most, most + 1, spacing) if about is None else range(about - reach, about + reach + 1)
            for k in lags:
                if k not in sizes and abs(k) <= most:
                    sizes[k] = _median_size(_centred(signed(k, few)))
        best = min(sizes, key=lambda k: sizes[k])
        if not np.isfinite(sizes[best]) or abs(best) + reach > most:
            continue
        # around it e(lag) = e + rate x lag, with the rate from frames far enough apart for motion to exceed noise
        e = _centred(signed(best, many)).ravel()
        rate = _centred((signed(best + reach, many) - signed(best - reach, many)) / (2 * reach * step)).ravel()
        ok = np.isfinite(e) & np.isfinite(rate)
        e, rate = e[ok], rate[ok]
        sigma = max(float(mad_sigma(e)), 1e-9) if len(e) >= _FEWEST else np.inf
        noise2 = (sigma / (2 * reach * step)) ** 2  # of the rate: half of sigma^2 is the other view's, in two frames
        tau, information = 0.0, 0.0
        for _ in range(5):
            w = 1 / (1 + ((e + rate * tau) / (2 * sigma)) ** 2)
            information = float((w * (rate**2 - noise2)).sum())
            if information < 0.3 * float((w * rate**2).sum()):  # nobody moves: noise is no clock
                information = 0.0
                break
            tau = float(np.clip(-(w * rate * e).sum() / information, -reach * step, reach * step))
        if information > 0 and np.isfinite(sigma):
            # detections repeat their errors for about a tenth of a second, and the joints of a limb share them
            repeats = max(1.0, 0.1 / (step * (many[1] - many[0] if len(many) > 1 else 1))) * 3
            pair_lag[i, j], pair_weight[i, j] = best * step + tau, information / sigma**2 / repeats
            before[i, j] = before[j, i] = _median_size(_centred(signed(0, many)))
            after[i, j] = after[j, i] = _median_size(e + rate * tau)
    lag, lag_sigma = _views_from_pairs(pair_lag, pair_weight)
    before, after = before.sum(1), after.sum(1)
    known = np.isfinite(before) & (after > 0)
    return Lags(lag, lag_sigma, np.where(known, before / np.where(known, after, 1.0), 1.0))


def _centred(e: np.ndarray) -> np.ndarray:
    """Freed of the median of each joint (the last axis); NaN stays."""
    flat = np.sort(e.reshape(-1, e.shape[-1]), axis=0)  # NaN last
    middle = (np.isfinite(flat).sum(0) - 1) // 2
    return e - np.take_along_axis(flat, np.maximum(middle, 0)[None], axis=0)[0]


def _signed_distances(
    a: np.ndarray, b: np.ndarray, fa: np.ndarray, fb: np.ndarray, baseline: np.ndarray
) -> Callable[[int, np.ndarray], np.ndarray]:
    """Signed Sampson distances [px] of two views' rays as a function of the lag [frames] and the frames asked.

    Rays a and b (3, blocks, frames, joints) meet when a . (b x baseline) = 0; fa and fb are pixels per radian.
    """
    n = (baseline / np.linalg.norm(baseline))[:, None, None, None]
    across_a, across_b = np.cross(a, n, axis=0), np.cross(b, n, axis=0)
    na, nb = (across_a**2).sum(0), (across_b**2).sum(0)

    def at(lag: int, frame: np.ndarray) -> np.ndarray:
        later = frame + lag
        e = (a[:, :, frame] * across_b[:, :, later]).sum(0)
        norm2 = nb[:, later] / fa[:, frame] ** 2 + na[:, frame] / fb[:, later] ** 2
        return e / np.sqrt(np.where(norm2 > 0, norm2, np.nan))

    return at


def _median_size(e: np.ndarray) -> float:
    """Median of |e|; infinite of fewer than `_FEWEST` values."""
    size = np.abs(e[np.isfinite(e)])
    return float(np.median(size)) if size.size >= _FEWEST else np.inf


def _views_from_pairs(pair_lag: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lags of views whose differences are the pairs' lags, by reweighted least squares (least absolute deviations)."""
    views = len(weight)
    i, j = np.nonzero(weight)
    if not len(i):
        return np.zeros(views), np.full(views, np.inf)
    A = np.zeros((len(i), views))
    A[np.arange(len(i)), j], A[np.arange(len(i)), i] = 1, -1
    sigma = 1 / np.sqrt(weight[i, j])
    lag = np.zeros(views)
    w = 1 / sigma**2
    for _ in range(30):
        H = A.T @ (w[:, None] * A)
        lag = np.linalg.lstsq(H, A.T @ (w * pair_lag[i, j]), rcond=None)[0]
        off = np.abs(A @ lag - pair_lag[i, j])
        w = 1 / (sigma * np.maximum(off, sigma))
    seen = np.zeros(views, dtype=bool)
    seen[i] = seen[j] = True
    lag -= np.median(lag[seen]) if seen.sum() > 2 else lag[np.flatnonzero(seen)[0]]
    spread = np.sqrt(np.maximum(np.diag(np.linalg.pinv(H)), 0))
    return np.where(seen, lag, 0.0), np.where(seen, spread, np.inf)


@dataclass(frozen=True)
class LeftOut:
    """How far each view is from the points the others make without it."""

    distance: Float[np.ndarray, " views"]
    """Median reprojection error of the view against those points [px]; NaN where the others agree on too few."""
    others: Float[np.ndarray, " views"]
    """What that would be if the view were as good as the others: their own median error, freed of the fit [px]."""


def leave_out(rays: Rays, max_error: Float[np.ndarray, " views *points"]) -> LeftOut:
    """Each view against the points selected from the others, on a sample of points."""
    views = len(rays.origins)
    distance, others = np.full(views, np.nan), np.full(views, np.nan)
    for v in range(views):
        rest = np.flatnonzero(np.arange(views) != v)
        few = Rays(
            rays.origins[rest],
            rays.directions[:, rest],
            rays.sigma[rest],
            rays.confidence[rest],
            rays.pixels_per_radian[rest],
        )
        made = select(few, max_error[rest])
        n = made.used.sum(0)
        if n.any() and (n > 0).sum() >= 0.5 * ((few.confidence > 0).sum(0) >= 2).sum():
            px = residual_pixels(few, made.xyz)
            # the fit took 3 of the 2 n degrees of freedom
            free = px / np.sqrt(1 - 1.5 / np.maximum(n, 2))
            others[v] = np.median(free[made.used])
            error = residual_pixels(rays, made.xyz)[v][(n > 0) & (rays.confidence[v] > 0)]
            distance[v] = np.median(error) if error.size else np.nan
    return LeftOut(distance, others)


def out_of_place(
    left_out: LeftOut, max_error: Float[np.ndarray, " views"], *, ratio: float = 3.0
) -> tuple[int | None, list[int]]:
    """The view that is not where its calibration says, and the ones that may be when it cannot be told which.

    A view is suspected when it is further than `max_error` from what the others make without it, and `ratio` times
    further than they are from one another. It is named when no other is half as suspicious: of three views, two can
    agree by chance along their common horizon.
    """
    with np.errstate(invalid="ignore"):
        excess = left_out.distance / np.maximum(left_out.others, 1e-9)
        suspects = np.flatnonzero((left_out.distance > max_error) & (excess > ratio))
    if not len(suspects):
        return None, []
    order = suspects[np.argsort(-excess[suspects])]
    if len(order) == 1 or excess[order[1]] < 0.5 * excess[order[0]]:
        return int(order[0]), []
    return None, sorted(int(v) for v in order)


_SAME_AXES = np.eye(3)
_HEAD, _FEET = ("nose", "head", "head_top", "neck", "upper_neck"), ("left_ankle", "right_ankle")


def heads_above_feet(
    skeleton: Skeleton,
    xyz: Float[np.ndarray, "frames joints 3"],
    R_world_file: Float[np.ndarray, "3 3"] = _SAME_AXES,
) -> str | None:
    """A sentence when people do not stand along +z: the calibration's up axis is not the one the dataset says.

    Compares, over all frames, the direction from the ankles to the head with the world's axes. None when people stand
    upright in most frames, when no axis explains them better, or when there is nothing to see. The axis it names is one
    of the calibration's file, whose axes `R_world_file` turns to the world's.
    """
    head = [j for j in _HEAD if skeleton.has(j)]
    if not head or not skeleton.has(*_FEET):
        return None
    up = xyz[:, skeleton.index(head[0])] - xyz[:, skeleton.indices(_FEET)].mean(1)
    up = up[np.isfinite(up).all(-1)]
    if not len(up):
        return None
    up = up / np.linalg.norm(up, axis=-1, keepdims=True)
    if (up[:, 2] > 0.5).mean() >= 0.5:  # within 60 degrees of upright
        return None
    mean = np.median(up, axis=0)
    axis = int(np.argmax(np.abs(mean)))
    if (axis == 2 and mean[2] > 0) or abs(mean[axis]) < 0.7:  # bent, lying this way and that: no one axis
        return None
    in_file = R_world_file.T @ np.where(np.arange(3) == axis, np.sign(mean), 0.0)
    axis = int(np.argmax(np.abs(in_file)))
    name = ("-" if in_file[axis] < 0 else "") + "xyz"[axis]
    return (
        f"People stand upright in only {(up[:, 2] > 0.5).mean():.0%} of the frames: they seem to stand along {name} of "
        f'the calibration. If its up axis was given wrong, say "world: {{up: {name}}}" in the dataset file.'
    )


_SOLES = ("left_heel", "right_heel", "left_big_toe", "right_big_toe", "left_foot_index", "right_foot_index", *_FEET)
_OFF_FLOOR = (-0.15, 0.4)
"""Between these heights [m] the lowest points of feet are usual: noise below, ankles alone or a low step above."""


def feet_off_floor(skeleton: Skeleton, xyz: Float[np.ndarray, "frames joints 3"]) -> str | None:
    """A sentence when the feet keep below the floor, or never come near it: the dataset's floor is wrong."""
    places = [skeleton.index(j) for j in _SOLES if skeleton.has(j)]
    heights = xyz[:, places, 2]
    heights = heights[np.isfinite(heights).any(1)] if places else heights
    if not heights.size:
        return None
    lowest = float(np.percentile(np.nanmin(heights, axis=1), 20))
    if _OFF_FLOOR[0] <= lowest <= _OFF_FLOOR[1]:
        return None
    where = "below" if lowest < 0 else "above"
    return (
        f"The feet are mostly {abs(lowest):.2f} m {where} the floor: it seems to be {lowest:+.2f} m from where "
        '"world: {floor: ...}" in the dataset file says.'
    )


def require_cameras(views: Sequence[str], *, least: int = 2) -> None:
    """CalibrationError unless there are enough views to triangulate."""
    if len(views) < least:
        raise CalibrationError(
            f"Triangulation needs keypoints from at least {least} calibrated cameras, and has {len(views)}"
            f"{' (' + ', '.join(views) + ')' if views else ''}."
        )
