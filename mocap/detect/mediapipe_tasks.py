"""What every detector made of mediapipe's Tasks API shares: opening a landmarker, and running it over views."""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float, Int, UInt8

from mocap.detect.detectors.base import Detector, Seen
from mocap.detect.task_bundle import Bundle, model_file, named_by, sha256
from mocap.errors import ModelError, SetupError
from mocap.io.footage import read_frames
from mocap.skeletons import Skeleton
from mocap.take import View

if TYPE_CHECKING:
    from mediapipe import Image

_NOWHERE = "http://127.0.0.1:9"
_PACKAGES = "libegl1 libgles2 libgl1 libglib2.0-0"


class TaskDetector(Detector):
    """One of mediapipe's landmarkers, in video mode; on views of a single frame in image mode."""

    bundle: ClassVar[Bundle]
    keypoints: ClassVar[Skeleton]
    model_path: Path | None

    @abstractmethod
    def opened(self, mode: str) -> Any:
        """The landmarker in a running mode of the Tasks API, "VIDEO" or "IMAGE"; to be closed."""

    @abstractmethod
    def seen(self, found: Any, size: tuple[int, int]) -> Seen:
        """What it found in an image of that width and height [px]."""

    @abstractmethod
    def settings(self) -> str:
        """The options on which results depend, as text."""

    def skeleton(self, view: View) -> Skeleton:
        """The one of its network."""
        return self.keypoints

    def key(self) -> str:
        """Library version, model checksum, settings."""
        version = importlib.metadata.version("mediapipe")
        return f"mediapipe {version} {sha256(model_file(self.bundle, self.model_path))} {self.settings()}"

    def check(self, footage: Mapping[str, View]) -> None:
        """Fetches the model where it must and loads it; SetupError or ModelError says what is missing."""
        self.opened("VIDEO").close()

    def detect_view(self, view: View, indices: Int[np.ndarray, " frames"]) -> Iterator[tuple[int, Seen | None]]:
        """Candidates frame by frame."""
        with self.opened("VIDEO") as landmarker:
            moments = dict(zip(indices.tolist(), milliseconds(view.timestamps[indices]).tolist(), strict=True))
            for index, image in read_frames(view, indices.tolist()):
                if image is None:
                    yield index, None
                    continue
                yield index, self.seen(landmarker.detect_for_video(given(image), moments[index]), view.size)

    def detect_pictures(self, views: Sequence[View]) -> Iterator[Seen | None]:
        """The only frame of each view, with one landmarker in image mode."""
        with self.opened("IMAGE") as landmarker:
            for view in views:
                for _, image in read_frames(view, (0,)):
                    yield None if image is None else self.seen(landmarker.detect(given(image)), view.size)


def given(image: UInt8[np.ndarray, "height width 3"]) -> Image:
    """An image as mediapipe takes it."""
    import mediapipe

    image = np.ascontiguousarray(image)  # its Image takes padded rows for pixels, and then sees nobody
    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)


def milliseconds(timestamps: Float[np.ndarray, " frames"]) -> Int[np.ndarray, " frames"]:
    """Moments [s] as whole, strictly increasing milliseconds from 0, which is what video mode asks for."""
    steps = np.arange(len(timestamps))
    rounded = np.round((timestamps - timestamps[:1]) * 1000).astype(np.int64)
    return np.maximum.accumulate(rounded - steps) + steps


def landmarker(bundle: Bundle, path: Path | None, mode: str, **options: Any) -> Any:
    """A landmarker in a running mode of the Tasks API; what the machine lacks is a SetupError.

    Args:
        bundle: Which one.
        path: Of its model, as :func:`mocap.detect.task_bundle.model_file` takes it.
        mode: "VIDEO" or "IMAGE".
        options: Its own.
    """
    model = model_file(bundle, path)
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
    settings = getattr(vision, f"{bundle.task}Options")(
        # by content: the native library cannot open every path on Windows
        base_options=BaseOptions(model_asset_buffer=model.read_bytes()),
        running_mode=vision.RunningMode[mode],
        **options,
    )
    try:
        return getattr(vision, bundle.task).create_from_options(settings)
    except (ValueError, RuntimeError, FileNotFoundError) as error:  # the last: a network the bundle lacks
        said = str(error).partition("\n")[0]
        kind = bundle.name.replace("_", " ")
        raise ModelError(f"{model}{named_by(bundle, path)} is not a {kind} bundle mediapipe can use: {said}") from error
    except OSError as error:
        raise SetupError(_missing_library(error)) from error


def _missing_library(error: Exception) -> str:
    return (
        f"mediapipe cannot be loaded ({error}); on Debian or Ubuntu `apt-get install {_PACKAGES}` gives the libraries "
        "it links."
    )
