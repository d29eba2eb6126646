"""Which hand is a left and which a right one: what candidates say of themselves, and which way the fingers bend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from mocap.detect.kinds import HAND
from mocap.skeletons import HANDS, RIGHT_HAND21
from mocap.take import Detections

OTHER_SIDE = 0.5
"""How much less a candidate counts that is surely of the other side; detectors err in about one of ten."""
CHANGE = 3.0
"""So much must a stretch of a track lean to the other side, summed over moments, to be the other hand; half at an
end."""
SURE = 0.25
"""A hand of which the evidence is less, of 1, may as well be of the other side."""


def as_hands(detections: Detections) -> tuple[Detections, Float[np.ndarray, "frames candidates"]]:
    """Each candidate as the one hand it is, and to which side it leans.

    A candidate's points stand in both halves of `hands42`, with the confidence that they are those of a left hand and
    of a right one; of a set of one hand all lean to its side.

    Returns:
        Candidates with the names of a right hand's points, until it is known which are, and the confidence that the
        points are there; and P(left) - P(right) of each candidate, in [-1, 1], 0 where there is none.
    """
    skeleton = detections.skeleton
    frames, candidates = detections.confidence.shape[:2]
    xy = np.full((frames, candidates, len(RIGHT_HAND21), 2), np.nan)
    presence = np.zeros((frames, candidates, len(RIGHT_HAND21)))
    lean = np.zeros((frames, candidates))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        if skeleton.has(*HANDS[side].joints):
            at = skeleton.indices(HANDS[side].joints)
            confidence = detections.confidence[:, :, at]
            xy = np.where(((presence == 0) & (confidence > 0))[..., None], detections.xy[:, :, at], xy)
            presence += confidence
            lean += sign * confidence.sum(-1)
    whole = presence.sum(-1)
    lean = np.divide(lean, whole, out=np.zeros_like(lean), where=whole > 0)
    return Detections.of(RIGHT_HAND21, detections.timestamps, xy, presence), lean


def opposed(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """How surely two candidates are of different sides, in [0, 1], from what each leans to."""
    return np.maximum(0.0, -np.multiply(a, b))


def curl(xyz: Float[np.ndarray, "moments marks 3"]) -> float:
    """Which side a hand is of by its fingers, which bend to the palm only: 1 for a left hand, -1 for a right one.

    The mean over fingers, and median over moments, of the sine of the angle by which the fingertip leaves the plane of
    wrist, index and little finger's knuckles. Near 0 where the fingers are straight.

    Args:
        xyz: The marks of :data:`mocap.detect.kinds.HAND` [m], NaN where missing.
    """
    place = {first.removeprefix("right_"): i for i, (first, _) in enumerate(HAND.marks)}
    wrist, index, pinky = (xyz[:, place[p]] for p in ("hand_wrist", "index_mcp", "pinky_mcp"))
    palm = np.cross(index - wrist, pinky - wrist)  # out of the palm of a right hand
    with np.errstate(invalid="ignore", divide="ignore"):
        palm /= np.linalg.norm(palm, axis=-1, keepdims=True)
        bent = []
        for finger in ("index", "middle", "ring", "pinky"):
            along = xyz[:, place[f"{finger}_tip"]] - xyz[:, place[f"{finger}_mcp"]]
            bent.append((along * palm).sum(-1) / np.linalg.norm(along, axis=-1))
    mean = np.mean(bent, axis=0)
    mean = mean[np.isfinite(mean)]
    return -float(np.median(mean)) if mean.size else 0.0


def changes(lean: Float[np.ndarray, " n"], possible: Bool[np.ndarray, " n"]) -> Int[np.ndarray, " changes"]:
    """Where along a track, or along two hands, one turns into the other, by which side they lean to.

    Of all ways to cut it into stretches of alternating sides, the one in which stretches lean to their sides most
    (Viterbi), where each cut costs `CHANGE`: a detector may be wrong for a while.

    Args:
        lean: Of each moment of the track; of two hands, of the one less of the other.
        possible: Whether it can become the other hand there.

    Returns:
        The places at which a new stretch begins.
    """
    best, came_from = np.array([lean[0], -lean[0]]), np.zeros((len(lean), 2), bool)
    for t in range(1, len(lean)):
        if possible[t]:
            came_from[t] = best[::-1] - CHANGE > best
            best = np.maximum(best, best[::-1] - CHANGE)
        best += (lean[t], -lean[t])
    state, cuts = int(best[1] > best[0]), []
    for t in range(len(lean) - 1, 0, -1):
        if came_from[t, state]:
            state, cuts = 1 - state, [t, *cuts]
    return np.array(cuts, dtype=np.intp)


@dataclass(frozen=True)
class Sided:
    """Which side a hand is of, and why."""

    side: str
    """left or right."""
    vote: float
    """The share of the candidates' votes for that side."""
    curl: float | None
    """How far its fingers bend the way those of that side do (see :func:`curl`); None: not known."""
    evidence: float
    """The two together: of 1 or more where one is sure; below 0 where the other hand of the pair was surer."""


def told_apart(votes: Sequence[float], curls: Sequence[float | None]) -> list[Sided]:
    """The side of each hand. Of two hands one is a left and one a right one: the surer one decides.

    Args:
        votes: Of each hand the mean P(left) - P(right) of its candidates.
        curls: Of each hand :func:`curl`, or None.
    """
    left = np.array([vote + (bend or 0.0) for vote, bend in zip(votes, curls, strict=True)])
    sides = np.where(left > 0, 1.0, -1.0)
    if len(sides) == 2:
        first = 1.0 if left[0] >= left[1] else -1.0
        sides = np.array([first, -first])
    return [
        Sided(
            "left" if sign > 0 else "right",
            float(0.5 * (1 + sign * vote)),
            None if bend is None else float(sign * bend),
            float(sign * lean),
        )
        for sign, vote, bend, lean in zip(sides, votes, curls, left, strict=True)
    ]
