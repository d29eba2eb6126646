"""Candidates of one view reduced to marks, the middles of left-right pairs, and followed from frame to frame.

A detector that takes left for right moves no mark, so it cannot hide a person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mocap.detect.tracks import linked
from mocap.errors import DataError
from mocap.take import Detections

PAIRS = ("ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
"""Each gives a mark, the middle of left and right."""
ONE_SIDED = 0.3
"""What a mark counts of which one side only is seen: the other is mostly hidden behind it."""
FEWEST = 3
"""Fewer marks in common tell nobody."""


@dataclass(frozen=True)
class Marks:
    """One view's candidates as marks."""

    timestamps: Float[np.ndarray, " frames"]
    xy: Float[np.ndarray, "frames candidates marks 2"]
    weight: Float[np.ndarray, "frames candidates marks"]
    """In [0, 1], 0 where missing."""
    size: Float[np.ndarray, "frames candidates"]
    """Diagonal of the candidate's bounding box [px]; NaN where there is no candidate."""
    track: Int[np.ndarray, "frames candidates"]
    """Which candidates of different frames are one person, by 2D continuity; -1 where there is no candidate."""


def marks_of(detections: Detections) -> Marks:
    """The marks of every candidate, with the tracks they make."""
    skeleton, xy, confidence = detections.skeleton, detections.xy, detections.confidence
    pairs = [p for p in PAIRS if skeleton.has(f"left_{p}", f"right_{p}")]
    if len(pairs) < FEWEST:
        raise DataError(f"People cannot be told apart by {skeleton.name}, which has too few left-right joints.")
    left, right = (skeleton.indices([f"{side}_{p}" for p in pairs]) for side in ("left", "right"))
    a, b = xy[:, :, left], xy[:, :, right]
    ca, cb = confidence[:, :, left], confidence[:, :, right]
    both = (ca > 0) & (cb > 0)
    middle = np.where(both[..., None], (a + b) / 2, np.where((ca > 0)[..., None], a, b))
    weight = np.where(both, np.minimum(ca, cb), ONE_SIDED * np.maximum(ca, cb))
    extent = np.fmax.reduce(xy, axis=2) - np.fmin.reduce(xy, axis=2)  # NaN only where nothing is seen
    size = np.hypot(extent[..., 0], extent[..., 1])
    size[~(size > 1)] = np.nan  # a single point is no person
    weight[~np.isfinite(size)] = 0.0
    middle[weight == 0] = np.nan
    track = linked(middle, weight > 0, size, detections.timestamps, reach_2d)
    return Marks(detections.timestamps, middle, weight, size, track)


def reach_2d(seconds: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """How far marks move in a time, in heights of the person: noise and about 7 m/s."""
    return np.minimum(0.1 + 4 * seconds, 0.6)
