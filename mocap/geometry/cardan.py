"""Cardan angles: a rotation as three turns about three different axes, and angles that go on over time.

R = R_a(alpha) R_b(beta) R_c(gamma), each about an axis as the turns before have left it. (alpha, beta, gamma) and
(alpha + pi, pi - beta, gamma + pi) are one rotation. Where beta is a right angle the outer two turn about one axis and
only their sum, or difference, is known ("gimbal lock").
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_AXES = {"X": 0, "Y": 1, "Z": 2}
_LOCKED = 1e-6
"""Cosine of the middle angle below which the outer two cannot be told apart."""
_NEAR = 1.0
"""Angles go on from those of the frame before where they are nearer than this [rad, all three together]: then they are
nearer than all others that mean the same, the next of which are pi away in two angles."""


def _order(order: str) -> tuple[int, int, int, float]:
    """The axes' places, and 1 where they are in cyclic order, else -1."""
    i, j, k = (_AXES[axis] for axis in order)
    return i, j, k, 1.0 if (j - i) % 3 == 1 else -1.0


def from_cardan(angles: Float[np.ndarray, "*batch 3"], order: str) -> Float[np.ndarray, "*batch 3 3"]:
    """R = R_a(alpha) R_b(beta) R_c(gamma) of angles [rad]; `order` names a, b, c: "ZXY"."""
    R = np.broadcast_to(np.eye(3), (*angles.shape, 3))
    for turn, axis in enumerate(order):
        i, j = {"X": (1, 2), "Y": (2, 0), "Z": (0, 1)}[axis]
        one = np.zeros((*angles.shape, 3)) + np.eye(3)
        c, s = np.cos(angles[..., turn]), np.sin(angles[..., turn])
        one[..., i, i], one[..., i, j], one[..., j, i], one[..., j, j] = c, -s, s, c
        R = R @ one
    return R


def cardan(R: Float[np.ndarray, "*batch 3 3"], order: str) -> Float[np.ndarray, "*batch 3"]:
    """Angles alpha, beta, gamma [rad] with R = R_a(alpha) R_b(beta) R_c(gamma).

    Args:
        R: Rotations.
        order: The axes a, b, c, all different: "ZXY".

    Returns:
        beta within [-pi/2, pi/2]; gamma is zero where beta is at an end.
    """
    i, j, k, sign = _order(order)
    across = np.hypot(R[..., j, k], R[..., k, k])
    beta = np.arctan2(sign * R[..., i, k], across)
    locked = across < _LOCKED
    alpha = np.where(
        locked,
        np.arctan2(sign * R[..., k, j], R[..., j, j]),
        np.arctan2(-sign * R[..., j, k], R[..., k, k]),
    )
    gamma = np.where(locked, 0.0, np.arctan2(-sign * R[..., i, j], R[..., i, i]))
    return np.stack([alpha, beta, gamma], axis=-1)


def unbroken_cardan(R: Float[np.ndarray, "frames joints 3 3"], order: str) -> Float[np.ndarray, "frames joints 3"]:
    """As :func:`cardan`, of a motion: of the angles that mean the same rotation those nearest to the frame before.

    They go on past half a turn, and past a right angle in the middle. Where the outer two cannot be told apart they
    change alike. The first frame is as :func:`cardan` has it, and so is one after a jump of more than a radian, so that
    wrong frames change nothing after them.
    """
    angles = cardan(R, order)
    *_, sign = _order(order)
    found = np.unwrap(angles, axis=0)
    locked = np.abs(np.cos(angles[..., 1])) < 2 * _LOCKED
    moved = np.abs(np.diff(found, axis=0)).sum(-1)
    broken = np.flatnonzero((moved > _NEAR).any(0) | locked.any(0))  # the others are right as they are
    if not broken.size:
        return found
    angles, locked = angles[:, broken], locked[:, broken]
    # where locked, alpha + way gamma is all that is known
    way = np.where(locked, sign * np.sign(angles[..., 1]), 0.0)
    here = angles.copy()
    for frame in range(1, len(here)):
        before, now = here[frame - 1], angles[frame]
        both = np.stack([now, now * [1, -1, 1] + np.pi])
        both += 2 * np.pi * np.round((before - both) / (2 * np.pi))
        farther = np.abs(both - before).sum(-1)
        nearest = np.where((farther[1] < farther[0])[:, None], both[1], both[0])
        here[frame] = np.where((farther.min(0) < _NEAR)[:, None], nearest, now)
        w = way[frame]
        rest = now[:, 0] - before[:, 0] - w * before[:, 2]
        rest -= 2 * np.pi * np.round(rest / (2 * np.pi))
        beta = here[frame, :, 1]
        held = np.stack([before[:, 0] + rest / 2, beta, before[:, 2] + w * rest / 2], axis=-1)
        here[frame] = np.where(locked[frame][:, None], held, here[frame])
    found[:, broken] = here
    return found
