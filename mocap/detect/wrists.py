"""A body's hands in one view: where to look for them, and which of the hands found there are whose.

The body says where its wrists are and how large its hands are. Pictures cut out round them make small hands as large as
the hand's network wants them; of the hands found in these, each wrist gets the one that begins there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.optimize import linear_sum_assignment

from mocap.errors import DataError
from mocap.geometry.robust import running_median
from mocap.geometry.times import nearest
from mocap.skeletons import LEFT_HAND21, MEDIAPIPE75, Skeleton
from mocap.take import Keypoints2D, View

SIDES = ("left", "right")
CROP = 384
"""Side of a picture cut out [px]: the network looks at a hand in 224 px, which are about a half of it."""
AROUND = 3.0
"""Side of what is cut out, in lengths of the hand: an arm stretched towards the camera shows its hand half as large
again, and the palm detector wants room around hands."""
_LIMBS = {
    ("shoulder", "elbow"): 0.186 / 0.108,
    ("elbow", "wrist"): 0.146 / 0.108,
    ("shoulder", "hip"): 0.288 / 0.108,
    ("hip", "knee"): 0.245 / 0.108,
    ("knee", "ankle"): 0.246 / 0.108,
}
"""Lengths of limbs in lengths of the hand, from Drillis and Contini's fractions of stature (1966; in Winter,
"Biomechanics and motor control of human movement")."""
_SURE = 0.5
"""A limb's ends must be as sure as this, to tell the size of the hand."""
_STEADY = 0.5
"""The size is the median over so long [s]: it changes slowly, and one wrong joint must not change it."""
_NEAR = 1.0
"""A hand whose wrist is farther from the body's is another's [lengths of the hand]."""
_SPANS = (0.25, 2.0)
"""How far apart the two points of a hand farthest from one another can be in the image [lengths of the hand]: fists
seen from the front, and hands stretched out near to the camera."""
_SAME = 0.15
"""Two candidates whose points are nearer than this to one another are one hand found twice [of the larger's span]."""
_SIDE = 0.5
"""What it weighs that a hand is of the other side, beside distances [lengths of the hand]."""
_DOUBTED = 0.3
"""The confidence of a hand that is surely of the other side than its wrist. On a recording from four sides, most of
these were seen as well as the others, edge-on; but of a body of which a view had left and right exchanged, all hands
were such."""


class Hands(NamedTuple):
    """Where one view's hands are, as the body tells it; NaN where it does not."""

    wrist: Float[np.ndarray, "frames hands 2"]
    """[px]"""
    centre: Float[np.ndarray, "frames hands 2"]
    """Of the hand [px]."""
    size: Float[np.ndarray, "frames hands"]
    """How long the hand is from the wrist to the tip of its middle finger, were it parallel to the image [px]."""


def hands_of_body(
    xy: Float[np.ndarray, "frames joints 2"],
    confidence: Float[np.ndarray, "frames joints"],
    skeleton: Skeleton,
    timestamps: Float[np.ndarray, " frames"],
    *,
    least: float,
) -> Hands:
    """Where a body's left and right hand are.

    Args:
        xy: [px], NaN where missing.
        confidence: 0 where missing.
        skeleton: With wrists, and knuckles as mediapipe33 has them.
        timestamps: [s]
        least: A wrist less sure than this is not gone by.
    """
    size = hand_size(xy, confidence, skeleton, timestamps)[:, None]
    wrists = skeleton.indices([f"{side}_wrist" for side in SIDES])
    knuckles = [skeleton.indices([f"{side}_{finger}" for side in SIDES]) for finger in ("index", "pinky")]
    known = (confidence[:, wrists] >= least) & np.isfinite(size)
    wrist = np.where(known[..., None], xy[:, wrists], np.nan)
    centre = 0.5 * (xy[:, knuckles[0]] + xy[:, knuckles[1]])
    centre = np.where(np.isfinite(centre), centre, wrist)
    # knuckles astray are as far from the wrist as no hand is
    away = centre - wrist
    with np.errstate(invalid="ignore", divide="ignore"):
        away *= np.minimum(1.0, size / np.linalg.norm(away, axis=-1))[..., None]
    centre = wrist + np.where(np.isfinite(away), away, 0.0)
    return Hands(wrist, centre, np.where(known, size, np.nan))


def hand_size(
    xy: Float[np.ndarray, "frames joints 2"],
    confidence: Float[np.ndarray, "frames joints"],
    skeleton: Skeleton,
    timestamps: Float[np.ndarray, " frames"],
) -> Float[np.ndarray, " frames"]:
    """How long a body's hand would be in the image [px]; NaN where no limb tells it.

    A limb is seen as long as it is or shorter, so the one that makes the hand longest tells it.
    """
    sizes = []
    for (a, b), ratio in _LIMBS.items():
        for side in SIDES:
            ends = skeleton.indices((f"{side}_{a}", f"{side}_{b}"))
            length = np.linalg.norm(xy[:, ends[0]] - xy[:, ends[1]], axis=-1) / ratio
            sizes.append(np.where((confidence[:, ends] >= _SURE).all(-1), length, np.nan))
    size = np.fmax.reduce(sizes)
    known = np.flatnonzero(size > 0)
    out = np.full(len(size), np.nan)
    if len(known):
        step = float(np.median(np.diff(timestamps))) if len(timestamps) > 1 else _STEADY
        out[known] = running_median(size[known], 2 * int(0.5 * _STEADY / step) + 1)
    return out


def beside(hands: Hands) -> Bool[np.ndarray, "frames hands"]:
    """Whether another hand is so near that what is cut out round one may show both."""
    count = hands.size.shape[1]
    away = np.abs(hands.centre[:, :, None] - hands.centre[:, None]).max(-1)  # squares are cut out
    reach = (0.5 * AROUND + _NEAR) * hands.size
    with np.errstate(invalid="ignore"):
        return np.asarray(((away < reach[..., None]) & ~np.eye(count, dtype=bool)).any(-1))


class InView(NamedTuple):
    """The hands of several people in one view."""

    places: Int[np.ndarray, " frames"]
    """The view's frames in which any of them was looked for, increasing."""
    hands: Hands
    """In these frames: left and right of the first, of the second, ..."""
    rows: tuple[Int[np.ndarray, " frames_p"] | None, ...]
    """Which of `places` each person's keypoints are of; None of one who was not looked for in this view."""


def in_view(view: View, people: Sequence[Keypoints2D | None], *, least: float) -> InView:
    """Where the hands of all people are in a view.

    Args:
        view: With the moments of all its frames.
        people: What was seen of each in this view, if anything.
        least: A wrist less sure than this is not gone by.

    Raises:
        DataError: Keypoints of moments the view has no frame of.
    """
    each = [None if seen is None else _frames_of(view, seen.timestamps) for seen in people]
    places = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *(k for k in each if k is not None)]))
    rows = tuple(None if k is None else np.searchsorted(places, k) for k in each)
    shape = (len(places), len(SIDES) * len(people))
    hands = Hands(np.full((*shape, 2), np.nan), np.full((*shape, 2), np.nan), np.full(shape, np.nan))
    for n, (seen, at) in enumerate(zip(people, rows, strict=True)):
        if seen is not None:
            found = hands_of_body(seen.xy, seen.confidence, seen.skeleton, seen.timestamps, least=least)
            for whole, part in zip(hands, found, strict=True):
                whole[at, len(SIDES) * n : len(SIDES) * (n + 1)] = part
    return InView(places, hands, rows)


def _frames_of(view: View, timestamps: Float[np.ndarray, " frames_p"]) -> Int[np.ndarray, " frames_p"]:
    places, near = nearest(timestamps, view.timestamps, reach=1e-6)
    if not near.all():
        raise DataError(
            f'View "{view.name}" has no frame at {timestamps[~near][0]:.3f} s, of which there are keypoints: footage '
            "and keypoints are of different recordings, or on different clocks."
        )
    return places


# ---------------------------------------------------------------------------------------------------------------------
# pictures cut out


def cut_out(
    image: UInt8[np.ndarray, "height width 3"], centre: Float[np.ndarray, " 2"], size: float
) -> UInt8[np.ndarray, "crop crop 3"]:
    """A square round a hand's centre [px], black beyond the image."""
    scale = AROUND * size / CROP
    shift = centre - 0.5 * (CROP - 1) * scale
    onto = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
    return cv2.warpAffine(image, onto, (CROP, CROP), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)  # type: ignore


def put_back(
    xy: Float[np.ndarray, "*points 2"], centre: Float[np.ndarray, " 2"], size: float
) -> Float[np.ndarray, "*points 2"]:
    """Points of what :func:`cut_out` gave [px] in the image it was cut out of [px]."""
    return np.asarray((xy - 0.5 * (CROP - 1)) * (AROUND * size / CROP) + centre)


# ---------------------------------------------------------------------------------------------------------------------
# whose is what was found


class Chosen(NamedTuple):
    """A view's hands."""

    xy: Float[np.ndarray, "frames hands 21 2"]
    """[px], NaN where missing."""
    confidence: Float[np.ndarray, "frames hands 21"]
    """0 where missing."""
    rejected: Int[np.ndarray, " frames"]
    """How many of the hands found are nobody's."""


def with_hands(
    seen: Keypoints2D,
    xy: Float[np.ndarray, "frames 2 21 2"],
    confidence: Float[np.ndarray, "frames 2 21"],
) -> Keypoints2D:
    """A body of mediapipe33 with its left and right hand: mediapipe75."""
    frames = len(seen.timestamps)
    return Keypoints2D.of(
        MEDIAPIPE75,
        seen.timestamps,
        np.concatenate([seen.xy, xy.reshape(frames, -1, 2)], axis=1),
        np.concatenate([seen.confidence, confidence.reshape(frames, -1)], axis=1),
    )


def whose(
    xy: Float[np.ndarray, "frames candidates 42 2"],
    confidence: Float[np.ndarray, "frames candidates 42"],
    hands: Hands,
) -> Chosen:
    """To each wrist the hand that begins there: of several, the nearest that looks like one of its side.

    A hand is given to one wrist only, so that of two hands that touch, of which one is found, one stays missing.

    Args:
        xy: Candidates of the set hands42, each a single hand in both halves [px].
        confidence: In the left half the probability that it is a left hand, in the right half that it is a right one.
        hands: Of the bodies in the view: left, right, left, right ...
    """
    half = len(LEFT_HAND21)
    frames, count = hands.size.shape
    free = [(0, 0), (0, 1)]  # a place for nobody, so that no array is empty
    points = np.pad(xy[:, :, :half], (*free, (0, 0), (0, 0)), constant_values=np.nan)
    sided = np.pad(confidence[:, :, [0, half]], (*free, (0, 0)))
    there = np.asarray(np.isfinite(points).all((-2, -1)) & (sided > 0).all(-1))
    right = np.divide(sided[..., 1], sided.sum(-1), out=np.zeros(there.shape), where=there)
    there &= ~_found_twice(points, np.abs(right - 0.5), there)
    with np.errstate(invalid="ignore"):
        away = np.linalg.norm(points[:, None, :, 0] - hands.wrist[:, :, None], axis=-1) / hands.size[..., None]
        span = _span(points)[:, None] / hands.size[..., None]
        possible = there[:, None] & (away < _NEAR) & (span > _SPANS[0]) & (span < _SPANS[1])
    likely = np.stack([1 - right, right], axis=1)[:, np.arange(count) % 2]
    chosen = _assigned(np.where(possible, away + _SIDE * (1 - likely), np.inf))
    rows, columns = np.arange(frames)[:, None], np.arange(count)
    sure = np.where(chosen >= 0, np.maximum(likely[rows, columns, chosen], _DOUBTED), 0.0)
    return Chosen(
        np.where((chosen >= 0)[..., None, None], points[rows, chosen], np.nan),
        np.repeat(sure[..., None], half, axis=-1),
        there.sum(1) - (chosen >= 0).sum(1),
    )


def _span(points: Float[np.ndarray, "frames candidates 21 2"]) -> Float[np.ndarray, "frames candidates"]:
    """From the point at one end to that at the other [px]."""
    return np.asarray(np.hypot(*np.moveaxis(points.max(-2) - points.min(-2), -1, 0)))


def _found_twice(
    points: Float[np.ndarray, "frames candidates 21 2"],
    sure: Float[np.ndarray, "frames candidates"],
    there: Bool[np.ndarray, "frames candidates"],
) -> Bool[np.ndarray, "frames candidates"]:
    """Candidates that are another one once more, which is as sure of its side or surer: where two pictures overlap."""
    span = _span(points)
    twice = np.zeros(there.shape, dtype=bool)
    for a in range(there.shape[1]):  # few: pairs of candidates, not of frames
        for b in range(a + 1, there.shape[1]):
            with np.errstate(invalid="ignore"):
                apart = np.linalg.norm(points[:, a] - points[:, b], axis=-1).mean(-1)
                same = apart < _SAME * np.maximum(span[:, a], span[:, b])
            same &= there[:, a] & there[:, b] & ~twice[:, a]
            worse = sure[:, a] < sure[:, b]
            twice[:, a] |= same & worse
            twice[:, b] |= same & ~worse
    return twice


def _assigned(cost: Float[np.ndarray, "frames hands candidates"]) -> Int[np.ndarray, "frames hands"]:
    """The candidate of each hand, -1 where none; infinite costs are never paid. No candidate is given twice."""
    count = cost.shape[1]
    least = cost.argmin(-1)
    out = np.where(np.isfinite(cost.min(-1)), least, -1)
    if count < 2:
        return out
    wanted = np.sort(out, axis=1)
    clash = ((wanted[:, 1:] == wanted[:, :-1]) & (wanted[:, 1:] >= 0)).any(1)
    for k in np.flatnonzero(clash):  # rare: where two want the same, the sum of all costs decides
        finite = np.where(np.isfinite(cost[k]), cost[k], 1e3)
        hands, candidates = linear_sum_assignment(finite)
        out[k] = -1
        out[k, hands] = np.where(np.isfinite(cost[k, hands, candidates]), candidates, -1)
    return out
