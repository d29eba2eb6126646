"""Google's mediapipe, through its Tasks API (Bazarevsky et al., "BlazePose", 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Le
from pydantic import PositiveInt

from mocap.detect.detectors.base import Seen
from mocap.detect.mediapipe_tasks import TaskDetector, landmarker
from mocap.detect.task_bundle import POSE
from mocap.options import options
from mocap.skeletons import MEDIAPIPE33

if TYPE_CHECKING:
    from mediapipe.tasks.python.vision.pose_landmarker import PoseLandmarker, PoseLandmarkerResult


@options
class Mediapipe(TaskDetector):
    """mediapipe's pose landmarker: 33 points a person, on the CPU.

    It runs in video mode, which follows people from frame to frame and is far steadier than single images; on views of
    a single frame in image mode. `visibility` is the confidence.
    """

    bundle: ClassVar = POSE
    keypoints: ClassVar = MEDIAPIPE33

    model_path: Path | None = None
    """A pose_landmarker .task file (Google's `lite` and `heavy` too) or the wheel its networks are taken from. null:
    what the environment variable MOCAP_POSE_MODEL names, else `full`, downloaded once (36 MB) to the user's cache."""
    max_people: PositiveInt = 4
    """At most so many candidates a frame; all are kept until `associate` chooses."""
    min_confidence: Annotated[float, Ge(0), Le(1)] = 0.5
    """How sure it must be that somebody is there, found anew, present, or followed."""

    def settings(self) -> str:
        """How many, and how sure."""
        return f"{self.max_people} {self.min_confidence}"

    def opened(self, mode: str) -> PoseLandmarker:
        """The pose landmarker."""
        # mediapipe smooths over time when it follows ONE person (a lag of half a frame at 60 fps, measured), and not
        # when it follows several; smoothing is the fit's to do, which knows all views and the future.
        return landmarker(
            self.bundle,
            self.model_path,
            mode,
            num_poses=max(self.max_people, 2),
            min_pose_detection_confidence=self.min_confidence,
            min_pose_presence_confidence=self.min_confidence,
            min_tracking_confidence=self.min_confidence,
        )

    def seen(self, found: PoseLandmarkerResult, size: tuple[int, int]) -> Seen:
        """People, the surest first."""
        poses = found.pose_landmarks[: self.max_people]
        points = np.array([[(p.x, p.y, p.visibility) for p in pose] for pose in poses], dtype=float)
        points = points.reshape(len(poses), len(MEDIAPIPE33), 3)
        # its coordinates are fractions of the image, whose left edge is half a pixel left of pixel 0's centre
        return Seen(points[..., :2] * size - 0.5, points[..., 2])
