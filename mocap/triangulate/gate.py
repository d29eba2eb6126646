"""What no body can do: points that jump and come back, or limbs far from their own length.

Gates only drop what both motion and the point's own uncertainty exclude; a point that is merely uncertain stays, with
its covariance.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from mocap.skeletons import HANDS, Skeleton

ACCELERATION = 400.0
"""More than any joint does on its own [m/s^2]: a punch or a pitch reaches 200 to 300 at the wrist."""
_SIGMAS = 4.0
_LIMB_SHARE, _LIMB_METRES, _FINGER_METRES = 0.5, 0.15, 0.02
"""A limb may measure this share, and not less than these metres (within a hand), off its median length before it is
impossible."""


_HAND_AWAY, _FINGER_AWAY = 0.2, 0.3
"""A hand of which most points are farther than this from its arm's wrist, and a point that is, are somewhere else [m]:
from the wrist to the longest finger's tip a large hand measures 0.21."""


def _spread(covariance: np.ndarray) -> np.ndarray:
    """Largest standard deviation [m] in any direction, from above (the root of the trace)."""
    return np.sqrt(np.trace(covariance, axis1=-2, axis2=-1))


def spikes(
    xyz: Float[np.ndarray, "frames joints 3"],
    covariance: Float[np.ndarray, "frames joints 3 3"],
    timestamps: Float[np.ndarray, " frames"],
    *,
    acceleration: float = ACCELERATION,
) -> Bool[np.ndarray, "frames joints"]:
    """Single frames and pairs of frames whose points leave the path of their neighbours and come back.

    A point is compared with the straight line between the frames around it: with acceleration at most `a`, it is off
    that line by at most a (t - t0) (t1 - t) / 2. Further off than that plus four standard deviations of all three is a
    spike. Of neighbours that accuse each other only the worst is one.
    """
    frames = len(xyz)
    out = np.zeros(xyz.shape[:2], dtype=bool)
    spread = _spread(covariance)
    for reach in (2, 1):  # how many frames a spike may last; the longer first, or its neighbours are taken for it
        if frames < reach + 2:
            continue
        kept = np.where(out[..., None], np.nan, xyz)
        excess = np.full(out.shape, -np.inf)
        for before in range(1, reach + 1):
            after = reach + 1 - before
            i = np.arange(before, frames - after)
            t0, t, t1 = timestamps[i - before], timestamps[i], timestamps[i + after]
            u = ((t - t0) / (t1 - t0))[:, None]
            line = (1 - u[..., None]) * kept[i - before] + u[..., None] * kept[i + after]
            off = np.linalg.norm(kept[i] - line, axis=-1)
            allowed = 0.5 * acceleration * ((t - t0) * (t1 - t))[:, None]
            sigma = np.sqrt(spread[i] ** 2 + ((1 - u) * spread[i - before]) ** 2 + (u * spread[i + after]) ** 2)
            with np.errstate(invalid="ignore"):
                e = np.where(np.isfinite(off), off - allowed - _SIGMAS * sigma, -np.inf)
            excess[i] = np.maximum(excess[i], e)
        padded = np.pad(excess, ((reach, reach), (0, 0)), constant_values=-np.inf)
        around = np.max([padded[k : k + frames] for k in range(2 * reach + 1) if k != reach], axis=0)
        # the neighbours of a spike are off their own lines by two thirds of it at most: only the worst is the spike
        out |= (excess > 0) & (excess > 0.75 * around)
    return out


def impossible_limbs(
    xyz: Float[np.ndarray, "frames joints 3"],
    covariance: Float[np.ndarray, "frames joints 3 3"],
    skeleton: Skeleton,
) -> Bool[np.ndarray, "frames joints"]:
    """Joints all of whose limbs are impossibly long or short, being the ones to blame.

    A limb is impossible when it is off its median over the take by more than half of it (at least 15 cm; 2 cm within a
    hand) and by four standard deviations. A joint is to blame when that holds for all its limbs and it has at least as
    many of them as the joint at the other end.
    """
    limbs = skeleton.limb_indices()
    out = np.zeros(xyz.shape[:2], dtype=bool)
    if len(xyz) < 10 or not len(limbs):  # too few frames to know a length from
        return out
    length = np.linalg.norm(xyz[:, limbs[:, 0]] - xyz[:, limbs[:, 1]], axis=-1)
    there = np.isfinite(length)
    usual = np.array([np.median(length[m, k]) if (m := there[:, k]).any() else np.nan for k in range(len(limbs))])
    spread = _spread(covariance)
    least = np.where(skeleton.of_hands()[limbs].all(1), _FINGER_METRES, _LIMB_METRES)
    sigma = np.hypot(spread[:, limbs[:, 0]], spread[:, limbs[:, 1]])
    with np.errstate(invalid="ignore"):
        bad = np.abs(length - usual) > np.maximum(_LIMB_SHARE * usual, least) + _SIGMAS * sigma
    incident = np.zeros((len(limbs), len(skeleton)))
    for k, (a, b) in enumerate(limbs):
        incident[k, a] = incident[k, b] = 1
    n_bad, n_all = bad @ incident, there @ incident
    whole = (n_all > 0) & (n_bad == n_all)
    for k, (a, b) in enumerate(limbs):  # tens, whatever the number of frames
        out[:, a] |= bad[:, k] & whole[:, a] & (n_bad[:, a] >= n_bad[:, b])
        out[:, b] |= bad[:, k] & whole[:, b] & (n_bad[:, b] >= n_bad[:, a])
    return out


def hands_astray(xyz: Float[np.ndarray, "frames joints 3"], skeleton: Skeleton) -> Bool[np.ndarray, "frames joints"]:
    """Points of hands that are not at the wrist of their arm, where that was seen.

    Two views that took something else for a hand agree on all of its points, which limbs within the hand do not tell.
    """
    out = np.zeros(xyz.shape[:2], dtype=bool)
    for side, hand in HANDS.items():
        if not skeleton.has(f"{side}_wrist", *hand.joints):
            continue
        places = skeleton.indices(hand.joints)
        away = np.linalg.norm(xyz[:, places] - xyz[:, [skeleton.index(f"{side}_wrist")]], axis=-1)
        there = np.isfinite(away)
        most = 2 * (away > _HAND_AWAY).sum(1) > there.sum(1)  # NaN compares False
        out[:, places] = there & (most[:, None] | (away > _FINGER_AWAY))
    return out
