"""Hands by Google's mediapipe (Zhang et al., "MediaPipe Hands", 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Le
from pydantic import PositiveInt

from mocap.detect.detectors.base import Seen
from mocap.detect.mediapipe_tasks import TaskDetector, landmarker
from mocap.detect.task_bundle import HAND
from mocap.options import options
from mocap.skeletons import HANDS42, LEFT_HAND21

if TYPE_CHECKING:
    from mediapipe.tasks.python.vision.hand_landmarker import HandLandmarker, HandLandmarkerResult

_LEAST = 1e-3
"""What is left of the side a hand is surely not: 0 would make its points missing there."""


@options
class MediapipeHands(TaskDetector):
    """mediapipe's hand landmarker: 21 points a hand, on the CPU, for takes in which hands fill much of the image.

    Every candidate is one hand, whose points stand both as a left hand's and as a right one's: there with the
    probability that it is a left hand, here that it is a right one. Which it is, `associate` decides from all views.
    The network gives no more than this for a confidence: of a hand it reports it tells neither how surely it is one
    (`min_confidence` at least) nor which of its points are hidden.

    It runs in video mode, which follows hands from frame to frame; on views of a single frame in image mode. In takes
    of whole bodies use the stage `detect_hands`, which knows where to look.
    """

    bundle: ClassVar = HAND
    keypoints: ClassVar = HANDS42

    model_path: Path | None = None
    """A hand_landmarker .task file or the wheel its networks are taken from. null: what the environment variable
    MOCAP_HAND_MODEL names, else `full`, downloaded once (36 MB) to the user's cache."""
    max_hands: PositiveInt = 4
    """At most so many candidates a frame; all are kept until `associate` chooses."""
    min_confidence: Annotated[float, Ge(0), Le(1)] = 0.5
    """How sure it must be that a hand is there, found anew, present, or followed."""

    def settings(self) -> str:
        """How many, and how sure."""
        return f"{self.max_hands} {self.min_confidence}"

    def opened(self, mode: str) -> HandLandmarker:
        """The hand landmarker."""
        return landmarker(
            self.bundle,
            self.model_path,
            mode,
            num_hands=self.max_hands,
            min_hand_detection_confidence=self.min_confidence,
            min_hand_presence_confidence=self.min_confidence,
            min_tracking_confidence=self.min_confidence,
        )

    def seen(self, found: HandLandmarkerResult, size: tuple[int, int]) -> Seen:
        """Hands, in no order."""
        points = np.array([[(p.x, p.y) for p in hand] for hand in found.hand_landmarks], dtype=float)
        points = points.reshape(len(found.hand_landmarks), len(LEFT_HAND21), 2)
        # The network was trained on mirrored pictures, and its first output is the probability of what is a LEFT hand
        # there: a right one in pictures as cameras take them. mediapipe calls that one "Left" up to about 0.10.14 and
        # "Right" later; the place of the category (0, which of two) means the same in all.
        right = np.array([side[0].score if side[0].index == 0 else 1 - side[0].score for side in found.handedness])
        right = np.clip(right.reshape(-1, 1), _LEAST, 1 - _LEAST)
        sides = np.repeat(np.concatenate([1 - right, right], axis=1), len(LEFT_HAND21), axis=1)
        return Seen(np.tile(points, (1, 2, 1)) * size - 0.5, sides)
