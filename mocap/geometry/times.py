"""One clock's moments among another's frames: those between which a moment is, and the nearest."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int


def between_frames(
    clock: Float[np.ndarray, " frames"], moments: Float[np.ndarray, " moments"]
) -> tuple[Int[np.ndarray, " moments"], Int[np.ndarray, " moments"], Float[np.ndarray, " moments"]]:
    """The frames before and after each moment and the way from the one to the other, in [0, 1]; the ends hold on.

    Args:
        clock: When the frames are [s], increasing; at least one.
        moments: When they are wanted [s].
    """
    after = np.clip(np.searchsorted(clock, moments), 1, max(len(clock) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(clock) - 1)
    span = np.where(after > before, clock[after] - clock[before], 1.0)
    return before, after, np.clip((moments - clock[before]) / span, 0, 1)


def linear(
    clock: Float[np.ndarray, " frames"],
    values: Float[np.ndarray, "frames ..."],
    moments: Float[np.ndarray, " moments"],
) -> Float[np.ndarray, "moments ..."]:
    """Values at other moments [s], linear between frames; NaN beside a missing one, and the ends hold on."""
    before, after, part = between_frames(clock, moments)
    a, b, part = values[before], values[after], part.reshape(-1, *[1] * (values.ndim - 1))
    # a frame met exactly needs no neighbour
    return np.where(part < 1e-6, a, np.where(part > 1 - 1e-6, b, a + part * (b - a)))


def nearest(
    clock: Float[np.ndarray, " frames"], seen: Float[np.ndarray, " frames_v"], *, reach: float
) -> tuple[Int[np.ndarray, " frames"], Bool[np.ndarray, " frames"]]:
    """For each moment the view's frame nearest in time (the earlier of two), and whether it is within reach.

    Args:
        clock: The moments [s].
        seen: When the view's frames are [s], increasing; without any, none is within reach.
        reach: How far from the moment a frame may be [s].
    """
    if not len(seen):
        return np.zeros(len(clock), np.intp), np.zeros(len(clock), bool)
    after = np.clip(np.searchsorted(seen, clock), 0, len(seen) - 1)
    before = np.maximum(after - 1, 0)
    index = np.where(np.abs(seen[before] - clock) <= np.abs(seen[after] - clock), before, after)
    return index, np.abs(seen[index] - clock) <= reach
