"""Tracks: what is one subject at successive times, in 2D or 3D, and who the tracks together are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import binary_dilation
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mocap.detect.hands import changes, opposed

Reach = Callable[[np.ndarray], np.ndarray]
"""How far a subject's marks can move in a time [s], in the units of the points."""

REJOIN = 2.0
"""A track that begins so soon after another's end [s], within a walk of it, continues it."""
AS_GOOD = 0.8
"""A track supported by so much of the subject's mean support can be the subject who left and came back."""
_WALK = 3.0
_RUN = 8.0
_STARTS = 8
_AROUND = 3
"""So many moments around one at which two hands are within reach of one another they can be mistaken."""
_OTHER_HAND = 0.1
"""Two tracks opposed by more, in what they lean to, are a left hand and a right one, however near they meet."""


def linked(
    points: Float[np.ndarray, "times slots marks dims"],
    known: Bool[np.ndarray, "times slots marks"],
    scale: Float[np.ndarray, "times slots"],
    lean: Float[np.ndarray, "times slots"],
    times: Float[np.ndarray, " times"],
    reach: Reach,
    *,
    lags: tuple[int, ...] = (1, 2, 3),
) -> Int[np.ndarray, "times slots"]:
    """A number for each track: slots of successive times that are each other's nearest and within reach.

    What has no successor at the next time is looked for at the later `lags`. -1 where a slot is empty. What `lean`s to
    the other side, left or right, is up to twice as far.
    """
    count, slots = known.shape[:2]
    here = np.asarray(known.any(-1))
    node = np.arange(count * slots).reshape(count, slots)
    open_end, open_start = here.copy(), here.copy()
    edges = [np.zeros((2, 0), dtype=np.intp)]
    for lag in lags:
        for begin in range(0, count - lag, 8192):  # bounds the memory of a long take
            a = slice(begin, min(begin + 8192, count - lag))
            b = slice(a.start + lag, a.stop + lag)
            distance = _distance(points[a], known[a], scale[a], points[b], known[b], scale[b])
            distance *= 1 + opposed(lean[a][:, :, None], lean[b][:, None])
            free = open_end[a][:, :, None] & open_start[b][:, None, :]
            distance = np.where(free, distance, np.inf)
            i, j = distance.argmin(2), distance.argmin(1)  # each one's nearest in the other
            t, s = np.nonzero(here[a])
            to = i[t, s]
            limit = reach(times[b] - times[a])[t]
            fits = np.asarray((j[t, to] == s) & (distance[t, s, to] < limit))
            t, s, to = t[fits] + begin, s[fits], to[fits]
            open_end[t, s] = open_start[t + lag, to] = False
            edges.append(np.stack([node[t, s], node[t + lag, to]]))
    a, b = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(a)), (a, b)), shape=(node.size, node.size))
    label = connected_components(graph, directed=False)[1].reshape(count, slots)
    label[~here] = -1
    label[here] = np.unique(label[here], return_inverse=True)[1]
    return label


def _distance(
    pa: np.ndarray, ka: np.ndarray, sa: np.ndarray, pb: np.ndarray, kb: np.ndarray, sb: np.ndarray
) -> Float[np.ndarray, "times slots_a slots_b"]:
    """Mean distance of the marks both have, in units of their mean scale; infinite with too few in common."""
    common = ka[:, :, None] & kb[:, None]
    apart = pa[:, :, None] - pb[:, None]
    gap = np.where(common, np.sqrt(np.einsum("...i,...i", apart, apart)), 0.0)
    shared = common.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = gap.sum(-1) / shared / (0.5 * (sa[:, :, None] + sb[:, None]))
    return np.where(shared >= 2, np.nan_to_num(mean, nan=np.inf), np.inf)


def cut_at_changes(
    track: Int[np.ndarray, "times slots"],
    points: Float[np.ndarray, "times slots marks dims"],
    known: Bool[np.ndarray, "times slots marks"],
    lean: Float[np.ndarray, "times slots"],
    times: Float[np.ndarray, " times"],
    reach: Reach,
) -> Int[np.ndarray, "times slots"]:
    """Tracks cut where they go from one of two hands that touch or pass over to the other, by which side they lean to.

    That can be only where another hand is within reach, or was a few moments before or after. A detector that takes a
    hand alone for the other one cuts nothing.
    """
    here = track >= 0
    centre = _centres(points, known)
    away = np.linalg.norm(centre[:, :, None] - centre[:, None], axis=-1)
    away[:, np.arange(track.shape[1]), np.arange(track.shape[1])] = np.inf
    near = (away < reach(np.array([_spacing(times)]))[0]).any((1, 2))  # NaN compares False
    near = binary_dilation(near, iterations=_AROUND)
    out, free = track.copy(), int(track.max(initial=-1)) + 1
    for t, s in _members(track, here):
        if not near[t].any():
            continue
        for cut in changes(lean[t, s], near[t]):
            out[t[cut:], s[cut:]] = free
            free += 1
    return out


def exchanged_at_changes(
    first: Int[np.ndarray, " times"],
    second: Int[np.ndarray, " times"],
    points: Float[np.ndarray, "times slots marks dims"],
    known: Bool[np.ndarray, "times slots marks"],
    lean: Float[np.ndarray, "times slots"],
    times: Float[np.ndarray, " times"],
    reach: Reach,
) -> tuple[Int[np.ndarray, " times"], Int[np.ndarray, " times"]]:
    """Two hands, by their slots at each time (-1: none), exchanged from where they changed places until they do again.

    Two hands that were taken for one another contradict their sides both, which tells more than one track alone (see
    :func:`cut_at_changes`).
    """
    slot = np.stack([first, second], axis=1)
    rows = np.arange(len(times))[:, None]
    there = slot >= 0
    centre = np.where(there[..., None], _centres(points, known)[rows, slot], np.nan)
    leans = np.where(there, lean[rows, slot], 0.0)
    last = np.maximum.accumulate(np.where(there, rows, 0), axis=0)
    held = centre[last, np.arange(2)]
    gap = _spacing(times) + times - times[last.min(1)]
    near = np.linalg.norm(held[:, 0] - held[:, 1], axis=-1) < reach(gap)  # NaN compares False
    near = binary_dilation(near, iterations=_AROUND)
    cuts = changes(leans[:, 0] - leans[:, 1], near)
    exchanged = np.searchsorted(cuts, np.arange(len(times)), side="right") % 2 == 1
    slot = np.where(exchanged[:, None], slot[:, ::-1], slot)
    return slot[:, 0], slot[:, 1]


def _spacing(times: Float[np.ndarray, " times"]) -> float:
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.0


def _centres(
    points: Float[np.ndarray, "times slots marks dims"], known: Bool[np.ndarray, "times slots marks"]
) -> Float[np.ndarray, "times slots dims"]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known[..., None], points, 0).sum(2) / known.sum(2)[..., None]


def _members(track: Int[np.ndarray, "times slots"], here: Bool[np.ndarray, "times slots"]) -> list[np.ndarray]:
    """(time, slot) of each track, in order of time."""
    t, s = np.nonzero(here)
    order = np.argsort(track[t, s], kind="stable")
    ends = np.cumsum(np.bincount(track[here]))[:-1]
    return np.split(np.stack([t[order], s[order]]), ends, axis=1)


def people_in(
    track: Int[np.ndarray, "times slots"],
    score: Float[np.ndarray, "times slots"],
    points: Float[np.ndarray, "times slots marks dims"],
    known: Bool[np.ndarray, "times slots marks"],
    lean: Float[np.ndarray, "times slots"],
    times: Float[np.ndarray, " times"],
    count: int,
    reach: Reach,
) -> tuple[list[Int[np.ndarray, " times"]], list[float]]:
    """The `count` people of most support: the slot each has at each time (-1: none), and its support.

    Tracks that continue one another are one person. A person who is only there while the subject is not, is supported
    as well, and could have come from where the subject was, is the subject who left and came back. Hands alike; tracks
    that `lean` to different sides are never one.
    """
    here = track >= 0
    if not here.any():
        return [], []
    centre = _centres(points, known)
    members = _members(track, here)
    at_once = float(reach(np.zeros(1))[0])
    members = _continued(members, _leans(members, lean, score), centre, times, at_once)
    total = np.array([score[t, s].sum() for t, s in members])
    left = [members[k] for k in np.argsort(-total, kind="stable") if total[k] > 0]
    places: list[np.ndarray] = []
    values: list[float] = []
    while left and len(places) < count:
        sides = _leans(left, lean, score)
        together = [
            _together(k, left, opposed(sides, sides[k]) > _OTHER_HAND, score, centre, times, at_once)
            for k in range(min(len(left), _STARTS))
        ]
        value, place, joined = max(together, key=lambda person: person[0])
        places.append(place)
        values.append(value)
        left = [member for k, member in enumerate(left) if k not in joined]
    return places, values


def _leans(
    members: list[Int[np.ndarray, "2 _"]],
    lean: Float[np.ndarray, "times slots"],
    score: Float[np.ndarray, "times slots"],
) -> Float[np.ndarray, " tracks"]:
    """Which side each track leans to, by the mean of what it is made of."""
    return np.array([(score[t, s] * lean[t, s]).sum() / max(score[t, s].sum(), 1e-9) for t, s in members])


def _continued(
    members: list[Int[np.ndarray, "2 _"]],
    sides: Float[np.ndarray, " tracks"],
    centre: Float[np.ndarray, "times slots dims"],
    times: Float[np.ndarray, " times"],
    at_once: float,
) -> list[Int[np.ndarray, "2 _"]]:
    """Tracks joined end to beginning, the nearest in place and time first."""
    begins = np.array([times[m[0, 0]] for m in members])
    by_begin = np.argsort(begins, kind="stable")
    first = np.array([centre[m[0, 0], m[1, 0]] for m in members])
    links = []
    for k, member in enumerate(members):
        end = times[member[0, -1]]
        low, high = np.searchsorted(begins[by_begin], [end + 1e-9, end + REJOIN])
        following = by_begin[low:high]
        gap = begins[following] - end
        away = np.linalg.norm(first[following] - centre[member[0, -1], member[1, -1]], axis=-1)
        cost = away / (at_once + _WALK * gap)
        cost[opposed(sides[following], sides[k]) > _OTHER_HAND] = np.inf
        links += [(c + 0.2 * g / REJOIN, k, int(n)) for c, g, n in zip(cost, gap, following, strict=True) if c < 1]
    after: dict[int, int] = {}
    before: dict[int, int] = {}
    for _, k, n in sorted(links):
        if k not in after and n not in before:
            after[k], before[n] = n, k
    joined = []
    for k in range(len(members)):
        if k not in before:
            chain = [k]
            while chain[-1] in after:
                chain.append(after[chain[-1]])
            joined.append(np.concatenate([members[c] for c in chain], axis=1))
    return joined


def _together(
    start: int,
    others: list[Int[np.ndarray, "2 _"]],
    never: Bool[np.ndarray, " tracks"],
    score: Float[np.ndarray, "times slots"],
    centre: Float[np.ndarray, "times slots dims"],
    times: Float[np.ndarray, " times"],
    at_once: float,
) -> tuple[float, Int[np.ndarray, " times"], set[int]]:
    """A person with all that may be the same who came back: support, slot at each time, and which of `others` it is."""
    first = others[start]
    place = np.full(len(score), -1)
    place[first[0]] = first[1]
    value, count = float(score[first[0], first[1]].sum()), first.shape[1]
    joined = set()
    for k, (t, s) in enumerate(others):
        if k == start:
            joined.add(k)
            continue
        new = place[t] < 0
        if never[k] or new.sum() <= max(2, 0.5 * len(t)):
            continue
        t, s = t[new], s[new]
        more = float(score[t, s].sum())
        if more / len(t) > AS_GOOD * value / count and _can_come(place, centre, times, t, s, at_once):
            place[t] = s
            joined.add(k)
            value, count = value + more, count + len(t)
    return value, place, joined


def _can_come(
    place: Int[np.ndarray, " times"],
    centre: Float[np.ndarray, "times slots dims"],
    times: Float[np.ndarray, " times"],
    t: Int[np.ndarray, " members"],
    s: Int[np.ndarray, " members"],
    at_once: float,
) -> bool:
    """Whether one can run from where the person was before to where the track begins, and on to where it is after."""
    before = np.flatnonzero(place[: t[0]] >= 0)[-1:]
    after = t[-1] + 1 + np.flatnonzero(place[t[-1] + 1 :] >= 0)[:1]
    for mine, k in ((before, 0), (after, -1)):
        for n in mine:
            away = np.linalg.norm(centre[t[k], s[k]] - centre[n, place[n]])
            if away > at_once + _RUN * abs(times[t[k]] - times[n]):
                return False
    return True
