"""Somebody who stands with hanging arms, as mediapipe sees them."""

from __future__ import annotations

import numpy as np

from mocap.skeletons import MEDIAPIPE33

SIZE = 100.0
"""Length of the hands [px]."""
DOWN = {
    "shoulder": 0.0,
    "elbow": 0.186,
    "wrist": 0.332,
    "index": 0.382,
    "pinky": 0.382,
    "hip": 0.288,
    "knee": 0.533,
    "ankle": 0.779,
}
"""Below the shoulder, of somebody who stands with hanging arms [fractions of stature, of which a hand is 0.108]."""


def body(frames=1, *, size=SIZE):
    """A mediapipe33 body whose hands are `size` px long, in frames that are all alike."""
    xy = np.full((frames, 33, 2), 500.0)
    for side, x in (("left", 600.0), ("right", 400.0)):
        for joint, down in DOWN.items():
            xy[:, MEDIAPIPE33.index(f"{side}_{joint}")] = [x, 100 + down / 0.108 * size]
    return xy, np.full((frames, 33), 0.9)
