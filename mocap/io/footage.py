"""Footage: videos and folders of images, with the moment of every frame, read in one sequential pass.

Videos go through PyAV (FFmpeg): unlike `cv2.VideoCapture` it gives the presentation time of every frame without
decoding (10 ms for 100 frames of 1080p, against 120-190 ms), seeks exactly, and tells which frames could not be
decoded; the pixels are the same and come as fast (250-400 frames a second of 1080p on one core).

A view's clock starts at its first frame (phones share no clock) plus the `offset` the dataset gives. Pixels come with
the rotation flag (video) or EXIF orientation (image) obeyed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import Bool, Float, Int, UInt8

from mocap.errors import BadFile, DataError, MissingFile, UnknownName
from mocap.take import View

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".m4v")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
DEFAULT_FPS = 30.0
"""Frame rate taken for a folder of images whose dataset gives none."""


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts `img2` before `img10`."""
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def last_number(name: str) -> int | None:
    """The last integer in a file's name: 7 in `cam01.0007` and in `frame_7_keypoints`."""
    found = re.findall(r"\d+", name)
    return int(found[-1]) if found else None


# ---------------------------------------------------------------------------------------------------------------------
# where views are


def discover_views(root: Path) -> dict[str, Path]:
    """View name -> folder or file, in natural order, of `root`/images/<view>/*.jpg and `root`/videos/<view>.mp4.

    A view found in both is read from its images: EasyMocap extracts them from the videos, and users edit or thin them.
    View names are text, as the folder or file is called.
    """
    root = Path(root)
    images, videos = root / "images", root / "videos"
    found: dict[str, Path] = {}
    if videos.is_dir():
        for path in videos.iterdir():
            if path.suffix.casefold() in VIDEO_SUFFIXES and path.is_file() and not path.name.startswith("."):
                if path.stem in found:
                    raise DataError(f'Two videos of view "{path.stem}": {found[path.stem]} and {path}.')
                found[path.stem] = path
    if images.is_dir():
        found.update(
            (p.name, p) for p in images.iterdir() if not p.name.startswith(".") and p.is_dir() and images_in(p)
        )
    if not found:
        looked = f"neither {images}/<view>/*.jpg|png nor {videos}/<view>.mp4|mov|avi|mkv is there"
        raise MissingFile(root, what="Footage", remedy=f"Looked for views: {looked}.")
    return {name: found[name] for name in sorted(found, key=natural_key)}


def images_in(folder: Path) -> list[Path]:
    """The images right inside a folder, in natural order."""
    with os.scandir(folder) as entries:  # a listing without a stat per file: folders of 100,000 frames are usual
        names = [
            entry.name
            for entry in entries
            if entry.name.casefold().endswith(IMAGE_SUFFIXES) and not entry.name.startswith(".")
        ]
    return [folder / name for name in sorted(names, key=natural_key)]


# ---------------------------------------------------------------------------------------------------------------------
# opening


class _Times(NamedTuple):
    """When each frame of a video is shown, before anything is decoded."""

    pts: Int[np.ndarray, " frames"] | None
    """Presentation time of each frame in units of the stream, increasing; None where the file has none (some avi)."""
    seconds: Float[np.ndarray, " frames"]
    """Since the first frame."""


def _open(path: Path) -> tuple[InputContainer, VideoStream]:
    try:
        container = av.open(str(path), metadata_errors="replace")
    except FFmpegError as error:
        raise BadFile(path, "not a video that can be read: it is of another kind, or cut off at its end.") from error
    if not container.streams.video:
        container.close()
        raise BadFile(path, "has no video in it.")
    stream = container.streams.video[0]
    # not by frames: decoders that run ahead lose good frames together with a damaged one
    stream.thread_type = "SLICE"
    return container, stream


def _times(path: Path) -> _Times:
    """Reads the packets' times without decoding them; sorted, since packets come in the order of decoding."""
    if not path.is_file():
        raise MissingFile(path, what="Video")
    state = path.stat()
    return _times_of(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _times_of(path: Path, size: int, modified: int) -> _Times:
    pts: set[int] = set()
    count, timed = 0, True
    container, stream = _open(path)
    with container:
        unit = stream.time_base
        rate = stream.average_rate or stream.guessed_rate or Fraction(DEFAULT_FPS)
        # a file cut off or damaged in the middle ends here: what came before is there, view_notes() tells what is not
        with contextlib.suppress(FFmpegError):
            for packet in container.demux(stream):
                if packet.size == 0 or packet.is_discard:  # the flushing packet; frames an edit list cuts away
                    continue
                count += 1
                if packet.pts is None:
                    timed = False
                else:
                    pts.add(packet.pts)
    if not timed or unit is None:
        return _Times(None, np.arange(count) / float(rate))
    ordered = np.array(sorted(pts), dtype=np.int64)
    return _Times(ordered, (ordered - ordered[:1]) * float(unit))


def _upright(frame: VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
    image = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4  # counter-clockwise
    return np.ascontiguousarray(np.rot90(image, turns))  # FFmpeg pads rows, and most libraries take no such array


def _read_image(path: Path) -> UInt8[np.ndarray, "height width 3"] | None:
    """The picture, turned as its EXIF says; None when it cannot be decoded."""
    data = np.fromfile(path, np.uint8)  # cv2.imread cannot open every path on Windows
    return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None


def _image_numbers(files: Sequence[Path]) -> list[int]:
    """Frame numbers from the files' names where each has one and they increase, else places."""
    found = [last_number(file.stem) for file in files]
    numbers = [n for n in found if n is not None]
    rising = len(numbers) == len(files) and all(a < b for a, b in pairwise(numbers))
    return numbers if rising else list(range(len(files)))


def open_view(path: Path, name: str, *, fps: float | None = None, offset: float = 0.0) -> View:
    """One camera's footage: its frames' times and its image size; one frame is decoded.

    Args:
        path: A video, or a folder of jpg / jpeg / png images. Images are numbered by the last integer in their names
            where that increases (a gap in the numbers is a gap in time), else by their natural order.
        name: Of the camera, as text.
        fps: Frame rate of a folder of images [1/s], 30 when not given; a video has its own times and ignores it.
        offset: When the first frame was seen, on the rig's clock [s].

    Raises:
        MissingFile: Nothing there, or a folder without images.
        BadFile: A file that is no video, or nothing of which can be decoded.
    """
    path = Path(path)
    if not path.is_dir():
        times = _times(path)
        view = View(name, path, times.seconds + offset, (0, 0))
        first = next((image for _, image in _decode(path, times, None) if image is not None), None)
        if first is None:
            raise BadFile(path, f"none of its {len(times.seconds)} frames can be decoded.")
    else:
        files = images_in(path)
        if not files:
            raise MissingFile(path, what=f'Images of view "{name}"', remedy="Looked for *.jpg, *.jpeg, *.png.")
        if fps is not None and not fps > 0:
            raise DataError(f'View "{name}": the frame rate must be positive, not {fps:g}.')
        numbers = np.array(_image_numbers(files))
        view = View(name, path, (numbers - numbers[0]) / (fps or DEFAULT_FPS) + offset, (0, 0), tuple(files))
        first = next((image for image in map(_read_image, files) if image is not None), None)
        if first is None:
            raise BadFile(path, f"none of its {len(files)} images can be decoded.")
    height, width = first.shape[:2]
    return View(view.name, view.path, view.timestamps, (width, height), view.files)


def frame_numbers(view: View) -> Int[np.ndarray, " frames"]:
    """What the frames are called: their place in a video, from 0; the number in the name of an image."""
    return np.array(_image_numbers(view.files)) if view.files else np.arange(view.frames)


def view_notes(view: View, *, fps: float | None = None) -> list[str]:
    """Sentences on what a report should say about one view's files; opens the file, decodes nothing.

    Args:
        view: As :func:`open_view` gave it.
        fps: As it was given to :func:`open_view`.
    """
    if view.files:
        if fps is None and view.frames > 1:
            return [f'View "{view.name}" is a folder of images, taken to be at {DEFAULT_FPS:g} frames a second.']
        return []
    notes = []
    container, stream = _open(view.path)
    with container:
        promised, ratio = stream.frames, stream.sample_aspect_ratio
    if promised > view.frames:  # also what an edit list cuts away, which nobody misses: hence "shows"
        notes.append(f'View "{view.name}": {view.path} promises {promised} frames and shows {view.frames}.')
    if _times(view.path).pts is None:
        notes.append(f'View "{view.name}": {view.path} has no times; its frames are taken as evenly spaced.')
    if ratio and ratio != 1:
        notes.append(
            f'View "{view.name}": {view.path} asks to be shown with pixels {ratio.numerator}:{ratio.denominator} wide; '
            "they are taken as they are stored."
        )
    return notes


# ---------------------------------------------------------------------------------------------------------------------
# reading


def read_frames(
    view: View, indices: Iterable[int] | None = None
) -> Iterator[tuple[int, UInt8[np.ndarray, "height width 3"] | None]]:
    """Frames in order, RGB, contiguous: each asked index exactly once, None where a frame cannot be decoded.

    The number of pairs is the number of indices asked, whatever the file holds, so a caller can count on it; frames a
    damaged file lost come as None. A late start seeks to the key frame before it, decodes from there, and is exact.
    Only asked frames are converted to RGB.

    Args:
        view: As :func:`open_view` gave it.
        indices: Places in the view, from 0; taken in increasing order, repeated ones once. None: all.

    Raises:
        BadFile: An image of another size than the view's.
        DataError: An index the view does not have.
    """
    wanted = sorted(set(range(view.frames) if indices is None else map(int, indices)))
    if not wanted:
        return
    if wanted[0] < 0 or wanted[-1] >= view.frames:
        bad = wanted[0] if wanted[0] < 0 else wanted[-1]
        raise DataError(f'View "{view.name}" has frames 0 to {view.frames - 1}, and frame {bad} was asked for.')
    if view.files:
        pairs: Iterator[tuple[int, np.ndarray | None]] = ((i, _read_image(view.files[i])) for i in wanted)
    else:
        pairs = _decode(view.path, _times(view.path), wanted)
    for index, image in pairs:
        if image is not None and image.shape[1::-1] != view.size:
            file = view.files[index] if view.files else view.path
            height, width = image.shape[:2]
            raise BadFile(
                file,
                f'frame {index} of view "{view.name}" is {width}x{height} px and its others are '
                f"{view.size[0]}x{view.size[1]}.",
            )
        yield index, image


def _frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decoded frames; what is damaged is left out, and reading goes on behind it."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError:
            packet = None  # cut off: nothing more can be read, what the decoder holds still comes below
        try:
            # None flushes the decoder: frames it kept back for reordering
            yield from stream.codec_context.decode(packet if packet is not None and packet.size else None)
        except EOFError:
            return
        except FFmpegError:
            if packet is None:
                return
        if packet is None or packet.size == 0:
            return


def _decode(path: Path, times: _Times, wanted: Sequence[int] | None) -> Iterator[tuple[int, np.ndarray | None]]:
    """(index, image or None) for each of `wanted` (all when None), in order."""
    wanted = range(len(times.seconds)) if wanted is None else wanted
    seek = len(wanted) > 0 and wanted[0] > 0 and times.pts is not None
    at = 0
    for index, frame in _numbered(path, times, wanted[0] if seek else 0):
        while at < len(wanted) and wanted[at] < index:
            yield wanted[at], None
            at += 1
        if at == len(wanted):
            return
        if index == wanted[at]:
            yield index, None if frame.is_corrupt else _upright(frame)
            at += 1
    for index in wanted[at:]:
        yield index, None


def _numbered(path: Path, times: _Times, start: int) -> Iterator[tuple[int, VideoFrame]]:
    """Decoded frames with their places, from a key frame at or before `start` on."""
    if times.pts is None:
        container, stream = _open(path)
        with container:
            yield from enumerate(_frames(container, stream))
        return
    place = {pts: i for i, pts in enumerate(times.pts.tolist())}
    container, stream = _open(path)
    with container:
        begun = start == 0
        if not begun:
            # where one cannot seek, reading goes on at the start, which is as right
            with contextlib.suppress(FFmpegError):
                container.seek(int(times.pts[start]), stream=stream, backward=True)
        for frame in _frames(container, stream):
            index = place.get(frame.pts, -1) if frame.pts is not None else -1
            if not begun and index > start:  # the file's index led behind what was asked
                break
            begun = begun or index >= 0
            yield index, frame
    if not begun:
        yield from _numbered(path, times, 0)


# ---------------------------------------------------------------------------------------------------------------------
# the take's clock


class Clock(NamedTuple):
    """When the frames of a take are."""

    timestamps: Float[np.ndarray, " frames"]
    """[s], on the rig's clock."""
    frames: Int[np.ndarray, " frames"]
    """Their numbers in the reference view."""
    reference: str
    """The view whose frames they are."""
    notes: list[str]
    """Sentences: where the views differ in rate and length, or have gaps."""


def _interval(view: View) -> float:
    """Median time between frames [s]; that of `DEFAULT_FPS` for a single frame."""
    return float(np.median(np.diff(view.timestamps))) if view.frames > 1 else 1 / DEFAULT_FPS


def in_range(numbers: Int[np.ndarray, " frames"], ranges: tuple[int, int, int]) -> Bool[np.ndarray, " frames"]:
    """Which frame numbers are among start, end (not included; below 0: the last) and step.

    Raises:
        DataError: A step below 1 or a start below 0.
    """
    start, end, step = ranges
    if step < 1:
        raise DataError(f"The step of --ranges must be at least 1, not {step}.")
    if start < 0:
        raise DataError(f"--ranges must start at a frame, 0 or later, not at {start}.")
    return (numbers >= start) & ((numbers < end) | (end < 0)) & ((numbers - start) % step == 0)


def common_clock(
    views: Iterable[View], *, ranges: tuple[int, int, int] | None = None, reference: str | None = None
) -> Clock:
    """The moments of the take: frames of one view, while at least two views see (one, when there is only one).

    Args:
        views: Of the take.
        ranges: start, end, step of frame numbers of the reference view, end not included; an end below 0 is the last.
        reference: Name of the view whose frames are the take's; None: the one with the most frames in that time (the
            first of equals), so that a faster camera loses nothing.

    Raises:
        DataError: No moment that two views see, a view that sees none of them, or an empty range.
    """
    views = list(views)
    by_name = {view.name: view for view in views}
    if not views:
        raise DataError("A take needs at least one view.")
    if reference is not None and reference not in by_name:
        raise UnknownName("reference view", reference, by_name)
    begins = np.array([view.timestamps[0] - _interval(view) / 2 for view in views])
    ends = np.array([view.timestamps[-1] + _interval(view) / 2 for view in views])

    def seen(view: View) -> np.ndarray:
        t = view.timestamps[:, None]
        return ((t >= begins) & (t <= ends)).sum(1) >= min(2, len(views))

    chosen = by_name[reference] if reference is not None else max(views, key=lambda view: int(seen(view).sum()))
    keep = seen(chosen)
    if not keep.any():
        told = ", ".join(f"{v.name} {v.timestamps[0]:.2f}-{v.timestamps[-1]:.2f} s" for v in views)
        raise DataError(f"No moment is seen by two views: {told}; check their offsets.")
    first, last = chosen.timestamps[keep][[0, -1]]
    for view, begin, end in zip(views, begins, ends, strict=True):
        if begin > last or end < first:
            raise DataError(
                f'View "{view.name}" sees nothing while the others do ({view.timestamps[0]:.2f}-'
                f"{view.timestamps[-1]:.2f} s against {first:.2f}-{last:.2f} s): correct its offset, or leave it out "
                "with --subs."
            )
    numbers = frame_numbers(chosen)
    if ranges is not None:
        keep &= in_range(numbers, ranges)
        if not keep.any():
            raise DataError(
                f'--ranges {" ".join(map(str, ranges))} leaves no frame: view "{chosen.name}" has frames '
                f"{numbers[0]} to {numbers[-1]}."
            )
    return Clock(chosen.timestamps[keep], numbers[keep], chosen.name, _time_notes(views, chosen))


def _time_notes(views: Sequence[View], reference: View) -> list[str]:
    notes = []
    rate = 1 / _interval(reference)
    for view in views:
        if view.frames > 1:
            fps, gaps = 1 / _interval(view), np.diff(view.timestamps)
            if abs(fps / rate - 1) > 0.01:
                notes.append(
                    f'View "{view.name}" runs at {fps:.4g} frames a second and "{reference.name}", whose frames are '
                    f"the take's, at {rate:.4g}; each is taken at its own times."
                )
            uneven = int((np.abs(gaps * fps - 1) > 0.5).sum())
            if uneven:
                notes.append(
                    f'View "{view.name}" has uneven times: {uneven} of its {len(gaps)} intervals are more than half '
                    f"off the median of {1000 / fps:.1f} ms, the longest {1000 * gaps.max():.0f} ms."
                )
        late, early = view.timestamps[0] - reference.timestamps[0], reference.timestamps[-1] - view.timestamps[-1]
        edge = 1.5 * max(_interval(view), 1 / rate)
        if abs(late) > edge or abs(early) > edge:
            notes.append(
                f'View "{view.name}" begins {abs(late):.3f} s {"after" if late > 0 else "before"} '
                f'"{reference.name}" and ends {abs(early):.3f} s {"before" if early > 0 else "after"} it.'
            )
    return notes


# ---------------------------------------------------------------------------------------------------------------------
# identity of the pixels

_WHOLE = 64 << 20
"""Footage up to this size [bytes] is hashed whole."""
_BLOCKS, _BLOCK = 16, 1 << 20
"""Of a larger video, this many blocks of this size [bytes], evenly spread from its first to its last byte."""


def content_key(view: View) -> str:
    """A hash of the view's pixels, by which detections are cached: 64 hex digits.

    Up to 64 MB every byte counts, and of a folder of images also each file's name and size (a copy has the same key).
    Of a larger video: its size and 16 blocks of 1 MB from head to tail; two recordings of one length cannot agree in
    those, since compressed pictures differ in nearly every byte. Of a larger folder of images: each file's name, size,
    time of change and last 4 KB. Times, offsets and names of views are not part of it, nor is a video's file name.
    """
    files = view.files or (view.path,)
    try:
        states = [file.stat() for file in files]
        digest = hashlib.sha256(f"{len(files)}".encode())
        whole = sum(state.st_size for state in states) <= _WHOLE
        for file, state in zip(files, states, strict=True):
            if view.files:
                digest.update(f"|{file.name}|{state.st_size}|".encode())
            with file.open("rb") as stream:
                if whole:
                    while block := stream.read(_BLOCK):
                        digest.update(block)
                elif view.files:
                    digest.update(f"{state.st_mtime_ns}|".encode())
                    stream.seek(max(0, state.st_size - 4096))
                    digest.update(stream.read())
                else:
                    digest.update(f"|{state.st_size}|".encode())
                    for start in np.linspace(0, state.st_size - _BLOCK, _BLOCKS).astype(int).tolist():
                        stream.seek(start)
                        digest.update(stream.read(_BLOCK))
    except FileNotFoundError as error:
        raise MissingFile(error.filename, what=f'Footage of view "{view.name}"') from error
    return digest.hexdigest()
