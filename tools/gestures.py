"""Hands that do something: fingers that go from gesture to gesture, each in its own time.

Angles are those of anatomy (flexion, abduction, twist about a finger's own axes), with coupling and noise that no two
gestures share; nothing here is taken from the fit's own idea of how fingers move but the axes they turn about.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from mocap.bodies.model import BodyModel
from mocap.bodies.ranges import joint_ranges
from mocap.geometry import rotations
from mocap.skeletons import FINGERS

# Flexion of MCP and PIP of each finger, and of CMC, MCP and IP of the thumb with its abduction [degrees].
_OPEN, _BENT, _FIST, _CURLED = (2, 5), (35, 40), (75, 95), (15, 80)
GESTURES: dict[str, dict[str, tuple[float, ...]]] = {
    "open": {"thumb": (0, 5, 5, 20), **dict.fromkeys(FINGERS[1:], _OPEN)},
    "relaxed": {"thumb": (8, 15, 15, 10), **dict.fromkeys(FINGERS[1:], _BENT)},
    "fist": {"thumb": (15, 35, 45, 5), **dict.fromkeys(FINGERS[1:], _FIST)},
    "point": {"thumb": (12, 30, 35, 5), **dict.fromkeys(FINGERS[1:], _FIST), "index": (4, 4)},
    "two": {"thumb": (14, 35, 40, 5), **dict.fromkeys(FINGERS[1:], _FIST), "index": (2, 4), "middle": (2, 6)},
    "pinch": {"thumb": (12, 22, 28, 22), "index": (48, 52), "middle": (30, 30), "ring": (22, 25), "pinky": (15, 20)},
    "claw": {"thumb": (5, 20, 40, 20), **dict.fromkeys(FINGERS[1:], _CURLED)},
    "wave": {"thumb": (0, 5, 5, 15), "index": (10, 10), "middle": (30, 30), "ring": (50, 50), "pinky": (65, 60)},
    "thumb up": {"thumb": (-8, 0, -5, 5), **dict.fromkeys(FINGERS[1:], _FIST)},
}
SPREAD = {"index": 8.0, "middle": 0.0, "ring": -6.0, "pinky": -12.0}
"""Abduction of an open hand's fingers, toward the thumb [degrees]; a bent one is not spread."""
REST = dict.fromkeys(FINGERS, (20.0, 10.0, 3.0)) | {"thumb": (0.0, 0.0, 0.0)}
"""What is taken off, since gestures are of a hand laid flat and the body's rest pose is a relaxed one: about what it
bends the joints of each finger by [degrees]."""


def finger_poses(
    body: BodyModel, seconds: Float[np.ndarray, " frames"], rng: np.random.Generator, *, hold: float = 0.7
) -> dict[str, Float[np.ndarray, "frames 3"]]:
    """Rotation vectors [rad] of the finger joints of a body, by joint: a gesture every `hold` seconds or so.

    Each hand goes through all gestures in an order of its own, each finger early or late by up to 0.1 s.
    """
    out: dict[str, np.ndarray] = {}
    names = body.joint_names
    axes = joint_ranges(names[1:], body).axes
    for side in ("left", "right"):
        order: list[str] = ["relaxed"]
        while len(order) * hold < seconds[-1] + 2 * hold:
            order += [g for g in rng.permutation(list(GESTURES)).tolist() if g != order[-1]]
        moments = hold * np.arange(len(order)) + rng.uniform(-0.1, 0.1, len(order))
        for finger in FINGERS:
            late = rng.uniform(-0.1, 0.1)
            bends = np.array([GESTURES[g][finger] for g in order], dtype=float)
            bends += rng.normal(0, 3, bends.shape)
            if finger == "thumb":
                flexion, abduction = bends[:, :3], bends[:, 3]
            else:
                share = rng.uniform(0.5, 0.8)  # of the PIP's bend in the DIP's, a little different in every finger
                flexion = np.column_stack([bends, share * bends[:, 1]])
                abduction = SPREAD[finger] * np.clip(1 - bends[:, 0] / 60, 0, 1) + rng.normal(0, 2, len(order))
            for k in range(3):
                joint = f"{side}_{finger}{k + 1}"
                if joint not in names:
                    continue
                first = abduction if k == 0 else 0 * abduction
                angles = np.column_stack([flexion[:, k], first, rng.normal(0, 1.5, len(order))])
                # at rest between movements: each gesture is reached and kept for a while
                knots = np.repeat(moments, 2) + np.tile([-0.12, 0.12], len(order)) * hold
                path = CubicSpline(knots, np.repeat(np.radians(angles), 2, axis=0))(seconds + late)
                path[:, 0] -= np.radians(REST[finger][k])
                path[:, 1] *= -1 if side == "left" else 1
                out[joint] = _turned(axes[names.index(joint) - 1], path)
    return out


def _turned(axes: Float[np.ndarray, "3 3"], angles: Float[np.ndarray, "frames 3"]) -> Float[np.ndarray, "frames 3"]:
    """A rotation vector in rest axes: bent about an axis that was spread first, and twisted about the bone last."""
    flexion, abduction, twist = (rotations.exp(angles[:, i, None] * axes[i]) for i in range(3))
    return rotations.log(abduction @ flexion @ twist)
