"""Candidates of one view reduced to marks, and followed from frame to frame.

Marks of a body are the middles of left-right pairs: a detector that takes left for right moves none, so it cannot hide
a person. Marks of a hand are its points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mocap.detect.kinds import Kind
from mocap.detect.tracks import linked
from mocap.errors import DataError
from mocap.take import Detections

ONE_SIDED = 0.3
"""What a mark counts of which one side only is seen: the other is mostly hidden behind it."""


@dataclass(frozen=True)
class Marks:
    """One view's candidates as marks."""

    timestamps: Float[np.ndarray, " frames"]
    xy: Float[np.ndarray, "frames candidates marks 2"]
    weight: Float[np.ndarray, "frames candidates marks"]
    """In [0, 1], 0 where missing."""
    size: Float[np.ndarray, "frames candidates"]
    """Diagonal of the candidate's bounding box [px]; NaN where there is no candidate."""
    lean: Float[np.ndarray, "frames candidates"]
    """Of a hand P(left) - P(right), as the detector says; 0 of bodies."""
    track: Int[np.ndarray, "frames candidates"]
    """Which candidates of different frames are one subject, by 2D continuity; -1 where there is no candidate."""


def marks_of(detections: Detections, kind: Kind, lean: Float[np.ndarray, "frames candidates"]) -> Marks:
    """The marks of every candidate, with the tracks they make."""
    skeleton, xy, confidence = detections.skeleton, detections.xy, detections.confidence
    pairs = [pair for pair in kind.marks if skeleton.has(*pair)]
    if len(pairs) < kind.fewest:
        raise DataError(f"People cannot be told apart by {skeleton.name}, which has too few left-right joints.")
    left, right = (skeleton.indices(joints) for joints in zip(*pairs, strict=True))
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
    track = linked(middle, weight > 0, size, lean, detections.timestamps, kind.reach_2d)
    return Marks(detections.timestamps, middle, weight, size, lean, track)
