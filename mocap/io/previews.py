"""Small copies of videos and pictures, to be put into a page."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import ffmpeg

from mocap.io.video_out import find_ffmpeg


def small_video(path: Path, *, width: int = 480, seconds: float = 20.0, limit: int = 1_500_000) -> bytes | None:
    """The beginning of a video as a small H.264 mp4; None when it cannot be read or would be larger than allowed.

    Args:
        path: Any video.
        width: Of the copy [px].
        seconds: How much of it at most.
        limit: Bytes at most.
    """
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.mp4"
        command = ffmpeg.input(str(path), t=seconds).video.filter("scale", width, -2)
        command = command.output(
            str(small), vcodec="libx264", pix_fmt="yuv420p", crf=30, preset="veryfast", movflags="+faststart"
        )
        try:
            command.global_args("-loglevel", "error").run(cmd=find_ffmpeg(), capture_stdout=True, capture_stderr=True)
        except ffmpeg.Error:
            return None
        return small.read_bytes() if small.stat().st_size <= limit else None


def small_picture(path: Path, *, width: int = 420) -> bytes | None:
    """A picture, or the first frame of a video, as a JPEG of at most this width [px]; None when it cannot be read."""
    image = cv2.imread(str(path)) if path.suffix != ".mp4" else cv2.VideoCapture(str(path)).read()[1]
    if image is None:
        return None
    height, full = image.shape[:2]
    if full > width:
        image = cv2.resize(image, (width, max(1, round(height * width / full))), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return data.tobytes() if done else None
