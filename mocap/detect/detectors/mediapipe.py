"""Google's mediapipe, through its Tasks API (Bazarevsky et al., "BlazePose", 2020)."""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float, Int, UInt8
from pydantic import PositiveInt

from mocap.detect.detectors.base import Detector, Seen
from mocap.detect.pose_task import pose_model, sha256
from mocap.errors import ModelError, SetupError
from mocap.io.footage import read_frames
from mocap.options import options
from mocap.skeletons import MEDIAPIPE33, Skeleton
from mocap.take import View

if TYPE_CHECKING:
    from mediapipe import Image
    from mediapipe.tasks.python.vision.pose_landmarker import PoseLandmarker, PoseLandmarkerResult

_NOWHERE = "http://127.0.0.1:9"
_PACKAGES = "libegl1 libgles2 libgl1 libglib2.0-0"


@options
class Mediapipe(Detector):
    """mediapipe's pose landmarker: 33 points a person, on the CPU.

    It runs in video mode, which follows people from frame to frame and is far steadier than single images; on views of
    a single frame in image mode.
    """

    model_path: Path | None = None
    """A pose_landmarker .task file (Google's `lite` and `heavy` too) or the wheel its networks are taken from. null:
    what the environment variable MOCAP_POSE_MODEL names, else `full`, downloaded once (36 MB) to the user's cache."""
    max_people: PositiveInt = 4
    """At most so many candidates a frame; all are kept until `associate` chooses."""
    min_confidence: Annotated[float, Ge(0), Le(1)] = 0.5
    """How sure it must be that somebody is there, found anew, present, or followed."""

    def skeleton(self, view: View) -> Skeleton:
        """mediapipe33."""
        return MEDIAPIPE33

    def key(self) -> str:
        """Library version, model checksum, settings."""
        version = importlib.metadata.version("mediapipe")
        return f"mediapipe {version} {sha256(pose_model(self.model_path))} {self.max_people} {self.min_confidence}"

    def check(self, footage: Mapping[str, View]) -> None:
        """Fetches the model where it must and loads it; SetupError or ModelError says what is missing."""
        _landmarker(pose_model(self.model_path)).close()

    def detect_view(self, view: View, indices: Int[np.ndarray, " frames"]) -> Iterator[tuple[int, Seen | None]]:
        """Candidates frame by frame; `visibility` is the confidence."""
        with self._opened("VIDEO") as landmarker:
            moments = dict(zip(indices.tolist(), milliseconds(view.timestamps[indices]).tolist(), strict=True))
            for index, image in read_frames(view, indices.tolist()):
                if image is None:
                    yield index, None
                    continue
                found = landmarker.detect_for_video(_given(image), moments[index])
                yield index, self._seen(found, view)

    def detect_pictures(self, views: Sequence[View]) -> Iterator[Seen | None]:
        """The only frame of each view, with one landmarker in image mode."""
        with self._opened("IMAGE") as landmarker:
            for view in views:
                for _, image in read_frames(view, (0,)):
                    yield None if image is None else self._seen(landmarker.detect(_given(image)), view)

    def _opened(self, mode: str) -> PoseLandmarker:
        # mediapipe smooths over time when it follows ONE person (a lag of half a frame at 60 fps, measured), and not
        # when it follows several; smoothing is the fit's to do, which knows all views and the future.
        options = {
            "num_poses": max(self.max_people, 2),
            "min_pose_detection_confidence": self.min_confidence,
            "min_pose_presence_confidence": self.min_confidence,
            "min_tracking_confidence": self.min_confidence,
        }
        return _landmarker(pose_model(self.model_path), mode, **options)

    def _seen(self, found: PoseLandmarkerResult, view: View) -> Seen:
        poses = found.pose_landmarks[: self.max_people]
        points = np.array([[(p.x, p.y, p.visibility) for p in pose] for pose in poses], dtype=float)
        points = points.reshape(len(poses), len(MEDIAPIPE33), 3)
        # its coordinates are fractions of the image, whose left edge is half a pixel left of pixel 0's centre
        return Seen(points[..., :2] * view.size - 0.5, points[..., 2])


def _given(image: UInt8[np.ndarray, "height width 3"]) -> Image:
    """An image as mediapipe takes it."""
    import mediapipe

    image = np.ascontiguousarray(image)  # its Image takes padded rows for pixels, and then sees nobody
    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)


def milliseconds(timestamps: Float[np.ndarray, " frames"]) -> Int[np.ndarray, " frames"]:
    """Moments [s] as whole, strictly increasing milliseconds from 0, which is what video mode asks for."""
    steps = np.arange(len(timestamps))
    rounded = np.round((timestamps - timestamps[:1]) * 1000).astype(np.int64)
    return np.maximum.accumulate(rounded - steps) + steps


def _landmarker(model: Path, mode: str = "VIDEO", **options: Any) -> PoseLandmarker:
    """A landmarker in a running mode of the Tasks API; what the machine lacks is a SetupError."""
    if multiprocessing.parent_process() is not None:
        # mediapipe since 0.10.35 reports its use to its maker over the network (issue 6291 of its tracker), with no way
        # to say no. Recordings of people are private: in our worker processes it is sent to a closed port. The
        # environment of a caller's own process is left alone.
        os.environ.update(dict.fromkeys(("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"), _NOWHERE))
        for name in ("no_proxy", "NO_PROXY"):
            os.environ.pop(name, None)
    try:
        from mediapipe.tasks.python import BaseOptions, vision
    except ModuleNotFoundError as error:
        raise SetupError(f"The mediapipe detector needs the package {error.name}: `pip install mediapipe`.") from error
    except (ImportError, OSError) as error:
        raise SetupError(_missing_library(error)) from error
    settings = vision.PoseLandmarkerOptions(
        # by content: the native library cannot open every path on Windows
        base_options=BaseOptions(model_asset_buffer=model.read_bytes()),
        running_mode=vision.RunningMode[mode],
        **options,
    )
    try:
        return vision.PoseLandmarker.create_from_options(settings)
    except (ValueError, RuntimeError, FileNotFoundError) as error:  # the last: a network the bundle lacks
        said = str(error).partition("\n")[0]
        raise ModelError(f"{model} is not a pose landmarker bundle mediapipe can use: {said}") from error
    except OSError as error:
        raise SetupError(_missing_library(error)) from error


def _missing_library(error: Exception) -> str:
    return (
        f"mediapipe cannot be loaded ({error}); on Debian or Ubuntu `apt-get install {_PACKAGES}` gives the libraries "
        "it links."
    )
