"""Hands of 21 points that move and bend, and what a detector of hands gives of them: the truth by construction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rigs import look_at

from mocap.geometry import rotations
from mocap.geometry.cameras import Camera, Rig
from mocap.skeletons import FINGERS, HANDS42
from mocap.take import Detections

# Of a right hand that lies flat, palm down: the first joint of each finger [m] (x along the fingers, y towards the
# thumb, z up), its direction across the palm [rad], and the lengths of its three bones [m]
_FINGERS = {
    "thumb": ((0.025, 0.025, -0.005), 0.9, (0.045, 0.032, 0.027)),
    "index": ((0.090, 0.025, 0.0), 0.1, (0.042, 0.025, 0.022)),
    "middle": ((0.092, 0.003, 0.0), 0.0, (0.046, 0.029, 0.023)),
    "ring": ((0.086, -0.018, 0.0), -0.1, (0.042, 0.027, 0.023)),
    "pinky": ((0.078, -0.036, 0.0), -0.25, (0.034, 0.019, 0.021)),
}


def resting(side: str, bend: np.ndarray) -> np.ndarray:
    """A hand at the origin (frames, 21, 3) [m] with its finger joints bent by `bend` (frames, 5) [rad], palm down."""
    out = np.zeros((len(bend), 21, 3))
    for f, finger in enumerate(FINGERS):
        start, across, lengths = _FINGERS[finger]
        at = np.broadcast_to(np.array(start), (len(bend), 3))
        out[:, 1 + 4 * f] = at
        for bone, length in enumerate(lengths):
            down = bend[:, f] * (bone + 1) * (0.5 if finger == "thumb" else 1.0)
            along = np.stack([np.cos(down) * np.cos(across), np.cos(down) * np.sin(across), -np.sin(down)], -1)
            at = at + length * along
            out[:, 2 + 4 * f + bone] = at
    return out * [1, 1 if side == "right" else -1, 1]


def hand(
    times: np.ndarray,
    side: str,
    *,
    at: Sequence[float] = (0.0, 0.0, 1.0),
    sways: Sequence[float] = (0.0, 0.0, 0.0),
    hertz: float = 0.5,
    bends: float = 0.35,
    seed: int = 0,
) -> np.ndarray:
    """A hand (frames, 21, 3) [m] about `at` that turns, opens and closes, and goes to and fro by `sways` [m]."""
    rng = np.random.default_rng(seed)
    swing = np.sin(2 * np.pi * (rng.uniform(0.4, 0.8, 5) * times[:, None] + rng.uniform(0, 1, 5)))
    turn = np.stack([a * np.sin(2 * np.pi * 0.3 * times + p) for a, p in ((0.6, 0.0), (0.4, 1.0), (0.7, 2.0))], -1)
    R = rotations.exp(turn + rng.uniform(-0.5, 0.5, 3))
    points = np.einsum("tij,tkj->tki", R, resting(side, bends * (1 + 0.7 * swing)))
    return points + np.array(at) + np.sin(2 * np.pi * hertz * times)[:, None, None] * np.array(sways)


def rig_round(count: int = 4, *, radius: float = 1.4, size: tuple[int, int] = (1280, 720)) -> Rig:
    """Cameras on a circle round a hand 1 m high, which they see about 150 px large."""
    cameras = []
    for k in range(count):
        angle = 2 * np.pi * (k / count if count > 2 else k / 5) + 0.3
        eye = np.array([radius * np.cos(angle), radius * np.sin(angle), 1.3 + 0.3 * (k % 2)])
        K = np.array([[1000.0, 0, size[0] / 2], [0, 1000.0, size[1] / 2], [0, 0, 1]])
        cameras.append(Camera(f"cam{k}", K, np.array([-0.05, 0.01, 0, 0, 0]), look_at(eye, (0, 0, 1.0)), size))
    return Rig(tuple(cameras))


def detected(
    rig: Rig,
    times: np.ndarray,
    hands: Sequence[tuple[np.ndarray, str, Sequence[str]]],
    *,
    noise: float = 3.0,
    missed: float = 0.0,
    mistaken: float = 0.0,
    false: float = 0.0,
    seed: int = 0,
) -> tuple[dict[str, Detections], dict[str, np.ndarray]]:
    """Candidates of every view, shuffled, and the place each hand has among them (frames, hands), -1 where missed.

    Args:
        rig: The cameras.
        times: When the hands are where they are [s].
        hands: Their points, their side, and the views that see them.
        noise: Of the points [px].
        missed: The share of hands that is not detected.
        mistaken: The share of candidates that is taken for one of the other side.
        false: The share of frames with something that is no hand.
        seed: Of all that.
    """
    rng = np.random.default_rng(seed)
    detections, truth = {}, {}
    for camera in rig:
        count = len(hands) + 1
        xy = np.full((len(times), count, 21, 2), np.nan)
        left = np.zeros((len(times), count))
        there = np.zeros((len(times), count), bool)
        for k, (points, side, views) in enumerate(hands):
            seen, _ = camera.project(points)
            xy[:, k] = seen + rng.normal(0, noise, seen.shape)
            inside = ((seen > 0) & (seen < np.array(camera.size))).all((1, 2))
            there[:, k] = (camera.name in views) & inside & (rng.uniform(size=len(times)) >= missed)
            surely = rng.uniform(0.8, 0.99, len(times))
            is_left = (side == "left") ^ (rng.uniform(size=len(times)) < mistaken)
            left[:, k] = np.where(is_left, surely, 1 - surely)
        somewhere = rng.uniform((100, 100), np.array(camera.size) - 100, (len(times), 2))
        xy[:, -1] = somewhere[:, None] + rng.normal(0, 40, (len(times), 21, 2))
        left[:, -1] = rng.uniform(size=len(times))
        there[:, -1] = rng.uniform(size=len(times)) < false
        order = rng.permuted(np.tile(np.arange(count), (len(times), 1)), axis=1)
        xy = np.take_along_axis(xy, order[:, :, None, None], axis=1)
        left, there = np.take_along_axis(left, order, axis=1), np.take_along_axis(there, order, axis=1)
        presence = np.where(there, 0.9, 0.0)
        confidence = np.stack([presence * left, presence * (1 - left)], -1).repeat(21, axis=-1)
        detections[camera.name] = Detections.of(HANDS42, times, np.concatenate([xy, xy], axis=2), confidence)
        place = np.argsort(order, axis=1)[:, : len(hands)]
        truth[camera.name] = np.where(np.take_along_axis(there, place, axis=1), place, -1)
    return detections, truth
