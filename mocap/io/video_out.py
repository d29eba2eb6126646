"""Video files that play in a browser: H.264 in mp4, encoded by ffmpeg while frames are drawn."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack, suppress
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import TracebackType

import ffmpeg
import numpy as np
from jaxtyping import UInt8

from mocap.errors import BadFile, DataError, SetupError
from mocap.io.atomic import replacing


@lru_cache(maxsize=1)
def find_ffmpeg() -> str:
    """The ffmpeg to run: the system's when it has H.264, else the one that comes with imageio-ffmpeg.

    Raises:
        SetupError: There is neither.
    """
    system = shutil.which("ffmpeg")
    if system is not None:
        asked = subprocess.run([system, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False)
        if "libx264" in asked.stdout:  # some distributions leave it out
            return system
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise SetupError(
            "No ffmpeg with H.264 was found to write videos with; install ffmpeg or the package imageio-ffmpeg."
        ) from error


class VideoWriter:
    """Encodes frames as they come. A context manager: the file appears whole when the block ends, or not at all.

    Args:
        path: The mp4 file; its folder is made.
        size: Width and height of the frames [px]; an odd side is padded by one pixel, which H.264 needs.
        fps: Frames a second, whole or not.
        crf: x264's constant quality: 0 is lossless, 18 looks so, 23 is its default, 51 is the worst.
        preset: x264's effort, "ultrafast" to "veryslow".
    """

    def __init__(
        self, path: str | Path, size: tuple[int, int], fps: float, *, crf: float = 21, preset: str = "veryfast"
    ) -> None:
        width, height = size
        if width < 1 or height < 1 or not (np.isfinite(fps) and fps > 0):
            raise DataError(f"{path}: a video of {width}x{height} px at {fps:g} frames a second cannot be written.")
        self.path, self.size, self.fps, self.frames = Path(path), (width, height), fps, 0
        self._quality = {"crf": crf, "preset": preset}

    def __enter__(self) -> VideoWriter:
        with ExitStack() as stack:
            try:
                part = stack.enter_context(replacing(self.path))
            except OSError as error:
                raise BadFile(self.path, f"its folder cannot be made ({error.strerror}).") from error
            self._process = self._start(part)
            stack.callback(self._stop)
            self._stack = stack.pop_all()
        return self

    def _start(self, part: Path) -> subprocess.Popen[bytes]:
        width, height = self.size
        rate = str(Fraction(self.fps).limit_denominator(100_000))
        source = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=rate)
        # browsers take HD for BT.709, ffmpeg would convert by BT.601: do it and say it
        source = source.filter("pad", "ceil(iw/2)*2", "ceil(ih/2)*2").filter("scale", out_color_matrix="bt709")
        said = dict.fromkeys(("colorspace", "color_primaries", "color_trc"), "bt709")
        command = ffmpeg.output(
            source,
            str(part),
            format="mp4",
            vcodec="libx264",
            pix_fmt="yuv420p",
            movflags="+faststart",
            loglevel="error",
            **self._quality,
            **said,
        ).overwrite_output()
        program = find_ffmpeg()
        try:
            return command.run_async(cmd=program, pipe_stdin=True, pipe_stderr=True)
        except OSError as error:
            raise SetupError(f"ffmpeg ({program}) cannot be run: {error.strerror}.") from error

    def write(self, frame: UInt8[np.ndarray, "height width 3"]) -> None:
        """Adds one RGB frame.

        Raises:
            DataError: A frame of another size or type.
            BadFile: ffmpeg gave up, with its own words.
        """
        width, height = self.size
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            raise DataError(f"{self.path}: a frame is {frame.dtype} {frame.shape}, must be uint8 {(height, width, 3)}.")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except BrokenPipeError:
            self._finish()
        self.frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def _finish(self) -> None:
        """Waits for ffmpeg to end; BadFile when it was not content."""
        process = self._process
        assert process.stdin is not None and process.stderr is not None
        with suppress(BrokenPipeError):  # it ended before it read everything: its own words follow
            process.stdin.close()
        said = process.stderr.read().decode(errors="replace").strip().splitlines()
        if process.wait() != 0 or self.frames == 0:
            why = " ".join(line.strip() for line in said[-2:]) or "no frame was given"
            raise BadFile(self.path, f"the video could not be encoded: {why}")

    def _stop(self) -> None:
        process = self._process
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdin, process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):  # bytes nobody will read
                    pipe.close()
        process.wait()
