"""Left and right told apart: a view that swapped them is put right instead of being dropped.

Detectors see people from behind and call their left leg the right one. Within one view nothing contradicts it; between
two views the rays of swapped joints pass each other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from mocap.geometry.cameras import Rig
from mocap.geometry.times import nearest
from mocap.skeletons import Skeleton
from mocap.take import Keypoints2D
from mocap.triangulate.rays import rays_through

_PARTS = {
    "trunk": ("shoulder", "hip"),
    "legs": ("knee", "ankle", "heel", "toe", "foot"),
    "arms": ("elbow", "wrist", "hand", "thumb", "index", "middle", "ring", "pinky"),
    "head": ("eye", "ear", "mouth"),
}
"""What detectors swap together, by words in the joints' names; the first that fits (`foot_index` is of the leg). Hands
go with their arms."""
_CAP = 9.0
"""A ray further than 3 sigma from another counts no more than this, so that a stray joint is not a swap."""
_MARGIN = 12.0
"""How much truncated chi^2 a swap must save in the view it changes."""


def parts(skeleton: Skeleton) -> dict[str, np.ndarray]:
    """The sided joints of each part of the body, as places."""
    other = skeleton.mirrored()

    def part_of(joint: str) -> str | None:
        return next((part for part, words in _PARTS.items() if any(w in joint.split("_") for w in words)), None)

    return {
        part: np.array(
            [i for i, joint in enumerate(skeleton.joints) if other[i] != i and part_of(joint) == part], dtype=np.intp
        )
        for part in _PARTS
    }


def nearest_frames(view: Float[np.ndarray, " frames_v"], clock: Float[np.ndarray, " frames"]) -> np.ndarray:
    """For each moment of the clock the nearest frame of the view; -1 where none is within its half spacing."""
    spacing = float(np.median(np.diff(view))) if len(view) > 1 else 1e-3
    index, near = nearest(clock, view, reach=0.51 * spacing)
    return np.where(near, index, -1)


def _flips(
    saved: np.ndarray, weight: np.ndarray, pairs: list[tuple[int, int]], views: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which views to flip so that pairs agree, by single best flips; and whether the majority was clear.

    Args:
        saved: (parts, pairs, frames) how much dearer each pair is as it stands than with one of the two flipped.
        weight: (parts, views, frames) how sure each view is of its points.
        pairs: Places of the two views of each pair.
        views: How many.

    Returns:
        Flips (parts, views, frames) and clear (parts, frames).
    """
    n_parts, _, frames = saved.shape
    flips = np.zeros((n_parts, views, frames), dtype=bool)
    touches = np.zeros((views, len(pairs)))
    for p, (i, j) in enumerate(pairs):
        touches[i, p] = touches[j, p] = 1
    # a point has two coordinates in a view, however many partners repeat what they say
    independent = min(1.0, 2 / (views - 1))
    index = np.arange(frames)

    def flip_best(parts: slice, allowed_loss: float) -> None:
        nonlocal saved
        for _ in range(views):
            gains = independent * np.einsum("vp,qpf->qvf", touches, saved[parts])
            gain = np.where((gains < -allowed_loss).any(0), -np.inf, gains.sum(0))
            best = gain.argmax(0)
            flip = gain[best, index] > _MARGIN
            if not flip.any():
                return
            flips[parts, best[flip], index[flip]] ^= True
            # what a pair would save changes its sign when one of the two is flipped
            saved[parts] = np.where((touches[best].T > 0) & flip, -saved[parts], saved[parts])

    saved = saved.copy()
    flip_best(slice(None), _MARGIN)  # the whole body, unless a part objects: weak parts follow the strong ones
    for p in range(n_parts):
        flip_best(slice(p, p + 1), np.inf)
    total = weight.sum(1)
    flipped = np.where(flips, weight, 0.0).sum(1)
    flips ^= (flipped > 0.5 * total)[:, None]  # flipping every view says the same of pairs: believe the majority
    share = np.minimum(flipped, total - flipped) / np.where(total > 0, total, 1.0)
    return flips, share < 0.4


def _speed(view: Keypoints2D, frames: np.ndarray) -> np.ndarray:
    """Speed in the image [px/s] at some increasing frames of a view; the median where it is not known."""
    if len(frames) == 0 or len(view.timestamps) < 2:
        return np.zeros((len(frames), view.xy.shape[1]))
    first = max(int(frames[0]) - 1, 0)
    near = slice(first, max(int(frames[-1]) + 2, first + 2))
    speed = np.linalg.norm(np.gradient(view.xy[near], view.timestamps[near], axis=0), axis=-1)
    known = np.isfinite(speed)
    return np.where(known, speed, np.median(speed[known]) if known.any() else 0.0)[frames - first]


def find_swaps(
    rig: Rig,
    views: Sequence[Keypoints2D],
    timestamps: Float[np.ndarray, " frames"],
    noise: Sequence[np.ndarray],
) -> dict[str, list[Bool[np.ndarray, " frames_v"]]]:
    """For each part of the body and each view, the frames in which left and right are exchanged.

    For every pair of views the squared Sampson distances of a part's joints (truncated, in proportion to confidence;
    of an arm without its hand) are summed as they stand and with one view's sides exchanged. Starting from everything
    as it stands, the flip of a view that saves most is made until none saves more than a margin. All flipped is the
    same as none: the majority of views by confidence is right, and where there is none (two views, or two against two)
    the image direction from right to left is compared with the nearest frame in which all was clear.

    Args:
        rig: Cameras in the order of `views`.
        views: One person in every view.
        timestamps: The moments looked at [s]; each takes the nearest frame of every view.
        noise: Standard deviation per coordinate at confidence 1 [px], (frames_v, joints) of each view.
    """
    skeleton = views[0].skeleton
    # the 21 points of a hand, which share their errors, would outvote the arm they go with
    telling = {part: places[~skeleton.of_hands()[places]] for part, places in parts(skeleton).items()}
    telling = {part: places for part, places in telling.items() if len(places)}
    if not telling:
        return {}
    other = skeleton.mirrored()
    n, frames, joints = len(views), len(timestamps), len(skeleton)
    taken = [nearest_frames(v.timestamps, timestamps) for v in views]
    xy, confidence = np.full((n, frames, joints, 2), np.nan), np.zeros((n, frames, joints))
    sigma = np.full((n, frames, joints), np.inf)
    for i, (view, k, spread) in enumerate(zip(views, taken, noise, strict=True)):
        on = k >= 0
        xy[i, on], confidence[i, on] = view.xy[k[on]], view.confidence[k[on]]
        # what moved between the frame and the moment is not known to better than the speed times the time
        late = np.abs(view.timestamps[k[on]] - timestamps[on])[:, None]
        with np.errstate(divide="ignore"):
            sigma[i, on] = np.hypot(spread[k[on]] / np.sqrt(confidence[i, on]), late * _speed(view, k[on]))
    rays = rays_through(list(rig), xy.reshape(n, -1, 2), confidence.reshape(n, -1), sigma.reshape(n, -1))
    d = rays.directions.reshape(3, n, frames, joints)
    angle, c = rays.sigma.reshape(n, frames, joints), rays.confidence.reshape(n, frames, joints)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    stands, crossed, sure = (np.zeros((len(pairs), frames, joints)) for _ in range(3))
    for p, (i, j) in enumerate(pairs):
        x, y, z = (b := rays.origins[j] - rays.origins[i]) / np.linalg.norm(b)
        # squared Sampson distance of two rays over its variance, from their products with the baseline
        a_n = np.stack([d[1, i] * z - d[2, i] * y, d[2, i] * x - d[0, i] * z, d[0, i] * y - d[1, i] * x])
        b_n = np.stack([d[1, j] * z - d[2, j] * y, d[2, j] * x - d[0, j] * z, d[0, j] * y - d[1, j] * x])
        a2, b2 = (a_n * a_n).sum(0), (b_n * b_n).sum(0)
        va, vb = angle[i] ** 2, angle[j] ** 2
        with np.errstate(invalid="ignore"):
            same = (d[:, i] * b_n).sum(0) ** 2 / (va * b2 + vb * a2)
            cross = (d[:, i] * b_n[..., other]).sum(0) ** 2 / (va * b2[..., other] + vb[..., other] * a2)
        least = np.minimum(c[i], c[j])
        both = np.minimum(least, least[..., other])  # both sides, in both views
        known = (both > 0) & np.isfinite(same) & np.isfinite(cross)
        sure[p] = np.where(known, both, 0.0)
        stands[p] = sure[p] * np.minimum(np.where(known, same, 0.0), _CAP)
        crossed[p] = sure[p] * np.minimum(np.where(known, cross, 0.0), _CAP)
    stands, crossed, sure, weight = (
        np.stack([x[:, :, m].sum(-1) for m in telling.values()]) for x in (stands, crossed, sure, c)
    )
    flips, clear = _flips(stands - crossed, weight, pairs, n)
    found = {}
    for p, (part, places) in enumerate(telling.items()):
        left = [m for m in places if "left" in skeleton.joints[m].split("_")]
        with np.errstate(invalid="ignore"):
            across = np.nan_to_num(xy[:, :, left] - xy[:, :, other[left]])  # (views, frames, joints, 2) [px]
        agree = _agree(flips[p], stands[p], crossed[p], sure[p], pairs)
        decided = _decide_ties(flips[p], clear[p], across) & agree
        found[part] = [_at_view_frames(decided[i], taken[i], len(views[i].timestamps)) for i in range(n)]
    return found


def _agree(
    flips: np.ndarray, stands: np.ndarray, crossed: np.ndarray, sure: np.ndarray, pairs: list[tuple[int, int]]
) -> np.ndarray:
    """Which views agree with their partners once flipped (views, frames): one that sees something else is let be."""
    after, most = np.zeros(flips.shape), np.zeros(flips.shape)
    for p, (i, j) in enumerate(pairs):
        cost = np.where(flips[i] != flips[j], crossed[p], stands[p])
        for v in (i, j):
            after[v] += cost
            most[v] += _CAP * sure[p]
    return after <= 0.4 * most


def _decide_ties(flips: np.ndarray, clear: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Where no majority decided, the sign that follows from the nearest clear frame.

    From one frame to the next joints move less than they are apart, so the right sign is the one under which the
    directions from right to left (`across`: views, frames, joints, 2) keep their sense; signs multiply along the way.
    """
    certain, tie = np.flatnonzero(clear), np.flatnonzero(~clear)
    if not len(certain) or not len(tie):
        return flips
    signed = np.where(flips[..., None, None], -across, across)
    link = np.where((signed[:, 1:] * signed[:, :-1]).sum((0, 2, 3)) < 0, -1, 1)
    along = np.concatenate([[1], np.cumprod(link)])
    right = np.searchsorted(certain, tie)
    before, after = certain[np.maximum(right - 1, 0)], certain[np.minimum(right, len(certain) - 1)]
    near = np.where(np.abs(tie - before) <= np.abs(after - tie), before, after)
    flips[:, tie[along[tie] != along[near]]] ^= True
    return flips


def _at_view_frames(flips: np.ndarray, taken: np.ndarray, frames: int) -> np.ndarray:
    """Flips at the clock's moments as flips of the view's own frames; frames between take the nearest one's."""
    out = np.zeros(frames, dtype=bool)
    known = taken >= 0
    if known.any():
        at, first = np.unique(taken[known], return_index=True)
        value = flips[known][first]
        k = np.arange(at[0], at[-1] + 1)
        right = np.minimum(np.searchsorted(at, k), len(at) - 1)
        left = np.maximum(right - 1, 0)
        out[k] = np.where(np.abs(at[left] - k) < np.abs(at[right] - k), value[left], value[right])
    return out


def exchange(view: Keypoints2D, swaps: Mapping[str, Bool[np.ndarray, " frames_v"]]) -> Keypoints2D:
    """The view with left and right exchanged in the frames and parts of the body that `swaps` names."""
    other = view.skeleton.mirrored()
    xy, confidence = view.xy.copy(), view.confidence.copy()
    for part, members in parts(view.skeleton).items():
        if part in swaps and swaps[part].any():
            at = np.ix_(np.flatnonzero(swaps[part]), members)
            source = np.ix_(np.flatnonzero(swaps[part]), other[members])
            xy[at], confidence[at] = view.xy[source], view.confidence[source]
    return dataclasses.replace(view, xy=xy, confidence=confidence)
