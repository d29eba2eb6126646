"""Films drawn and encoded frame by frame: bodies on the ground, bodies over the footage, and all of it side by side.

Footage is decoded ahead in a thread, drawing goes on in this one, and ffmpeg encodes in a process of its own, fed by
another thread. Each picture is decoded once and drawn once, whatever films it goes to; a few of them are held.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mocap import progress
from mocap.errors import BadFile, MissingFile
from mocap.geometry.cameras import Camera
from mocap.geometry.times import nearest
from mocap.io.footage import read_frames
from mocap.io.video_out import VideoWriter
from mocap.render.ground import GroundPainter, GroundView
from mocap.render.layer import Rasteriser
from mocap.render.mesh import light_from, seen_at
from mocap.render.mosaic import Mosaic
from mocap.render.overlay import draw_bodies, draw_detected, draw_skeleton
from mocap.render.posing import (
    LEFT,
    OF_FINGER,
    RIGHT,
    fitted_skeleton,
    hand_alone,
    limb_colours,
    meshes_at,
    points_at,
    scale_of,
)
from mocap.render.shadow import SeenFloor
from mocap.render.strokes import Depth, Strokes, trail
from mocap.take import Person, View

Picture = UInt8[np.ndarray, "height width 3"]
Pictures = Generator[tuple[Picture, bool], None, None]
Item = TypeVar("Item")

_AHEAD = 4
"""How many pictures wait for each thread."""
_TRAILING = (("left_hip", "right_hip"), ("left_wrist",), ("right_wrist",), ("left_ankle",), ("right_ankle",))
"""What leaves trails, each the middle of some joints: the pelvis, the hands and the feet. Of a hand its finger tips."""
_PELVIS = (0.55, 0.36, 0.78)


@dataclass(frozen=True, eq=False)
class Reel:
    """A film to be drawn: its pictures are made as they are asked for."""

    path: Path
    """The mp4."""
    title: str
    """What it shows, for the mosaic: the view's name."""
    size: tuple[int, int]
    """Width and height [px]."""
    pictures: Pictures
    """RGB, and whether there was footage of that moment; it may raise BadFile or MissingFile for its footage."""


@dataclass(frozen=True)
class Film:
    """A film that was written."""

    path: Path
    frames: int
    seconds: float
    """How long drawing it took, and waiting for its encoder."""
    without_footage: int = 0
    """Frames for which the view had no picture; they are drawn on black."""

    @property
    def rate(self) -> float:
        """Frames a second reached."""
        return self.frames / max(self.seconds, 1e-9)


def ground_reel(
    path: Path,
    view: GroundView,
    people: Sequence[Person],
    clock: Float[np.ndarray, " frames"],
    rasteriser: Rasteriser,
) -> Reel:
    """People on the ground.

    Args:
        path: The mp4.
        view: What was planned by :func:`mocap.render.ground.plan_view`.
        people: Their motions or keypoints3d are on `clock`.
        clock: The take's [s].
        rasteriser: Who draws.
    """

    def pictures() -> Pictures:
        painter = GroundPainter(view, rasteriser, light_from(view.at(0)))
        drawn = [meshes_at(person, i, clock, clock, colour=view.colour) for i, person in enumerate(people)]
        trails = [_Trail(person, clock, round(view.trails * view.fps)) for person in people if view.trails > 0]
        for i in range(len(clock)):
            meshes = [mesh for mesh in (next(one) for one in drawn) if mesh is not None]
            lines = Strokes.joined([one.at(i) for one in trails]) if trails else None
            yield painter.frame(i, meshes, lines), True

    return Reel(path, "3D", view.size, pictures())


def nearest_frames(
    clock: Float[np.ndarray, " frames"], seen: Float[np.ndarray, " frames_v"]
) -> tuple[Int[np.ndarray, " frames"], Bool[np.ndarray, " frames"]]:
    """For each moment the view's frame nearest in time, and whether it is near: within one and a half of its periods.

    A view that starts late, ends early or has a hole has no picture of what it did not see.
    """
    return nearest(clock, seen, reach=1.5 * float(np.median(np.diff(seen))) if len(seen) > 1 else np.inf)


def ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The items, made a few ahead in a thread; what making one raises is raised where it would have come."""
    made, end = iter(items), object()
    with ThreadPoolExecutor(1, "ahead") as pool:
        waiting = deque(pool.submit(next, made, end) for _ in range(_AHEAD))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, made, end))
                yield item  # pyright: ignore[reportReturnType] (what is not the end is an item)
        finally:
            pool.shutdown(cancel_futures=True)


def _footage(view: View, index: np.ndarray, near: np.ndarray, size: tuple[int, int]) -> Iterator[Picture | None]:
    """The footage at `size`, a fresh copy for each moment, None where there is none; read in one pass."""
    read = read_frames(view, np.unique(index[near]).tolist())
    at, picture = -1, None
    for wanted, there in zip(index.tolist(), near, strict=True):
        if not there:
            yield None
            continue
        while at < wanted:
            at, image = next(read)
            shrunk = image is not None and image.shape[1] > size[0]
            how = cv2.INTER_AREA if shrunk else cv2.INTER_LINEAR
            picture = None if image is None else cv2.resize(image, size, interpolation=how)
        yield None if picture is None else picture.copy()


def overlay_size(size: tuple[int, int], *, scale: float | None = None, longer_side: int = 960) -> tuple[int, int]:
    """Width and height of an overlay over footage of `size` [px]: times `scale`, else `longer_side` [px] at most."""
    factor = min(1.0, longer_side / max(size)) if scale is None else scale
    width, height = (max(2, round(side * factor)) for side in size)
    return width, height


def overlay_reel(
    path: Path,
    view: View,
    camera: Camera,
    people: Sequence[Person],
    clock: Float[np.ndarray, " frames"],
    rasteriser: Rasteriser,
    *,
    size: tuple[int, int],
    opacity: float = 0.7,
    keypoints: bool = True,
    floor: float | None = None,
) -> Reel:
    """People over one view's footage, aligned in time: each is posed at the moment its picture was seen.

    Args:
        path: The mp4.
        view: The footage.
        camera: Its camera; keypoints and calibration are in the footage's pixels.
        people: Their motions or keypoints3d are on `clock`.
        clock: The take's [s]: one frame of the film each.
        rasteriser: Who draws.
        size: Of the film [px], see :func:`overlay_size`.
        opacity: Of the bodies, in [0, 1].
        keypoints: Whether to draw the detected points (dots) and the fitted skeleton (lines).
        floor: Height of the floor, on which they cast a soft shadow [m]; None: none is cast.
    """

    def pictures() -> Pictures:
        index, near = nearest_frames(clock, view.timestamps)
        times = np.where(near, view.timestamps[index], clock)
        small = replace(camera, size=view.size).scaled_to(size)
        factor = np.array(size) / view.size
        light, scale = light_from(small), scale_of(people)
        bodies = {
            i: meshes_at(p, i, clock, times, colour="person") for i, p in enumerate(people) if p.motion is not None
        }
        ground = SeenFloor(small, floor) if floor is not None and bodies else None
        lines = [_Joints(person, clock, times) for person in people] if keypoints else []
        detected = [p.keypoints2d[view.name] for p in people if view.name in p.keypoints2d] if keypoints else []
        dots = [(seen, nearest(times, seen.timestamps, reach=1e-3)) for seen in detected]
        for i, footage in enumerate(ahead(_footage(view, index, near, size))):
            picture = np.zeros((size[1], size[0], 3), np.uint8) if footage is None else footage
            posed = {who: mesh for who, body in bodies.items() if (mesh := next(body)) is not None}
            draw_bodies(
                picture,
                small,
                list(posed.values()),
                rasteriser,
                light,
                opacity=opacity,
                floor=None if footage is None else ground,
                scale=scale,
            )
            for who, one in enumerate(lines):
                if one.skeleton is not None:
                    points = one.at(i)
                    xy = seen_at(small, points)
                    others = [mesh for other, mesh in posed.items() if other != who]
                    if others:  # one's own body does not hide one's skeleton, somebody else's does
                        xy[Depth(small, others, scale=scale).hides(points)] = np.nan
                    draw_skeleton(picture, xy, one.skeleton, limb_colours(one.skeleton))
            for seen, (at, there) in dots if near[i] else ():
                if there[i]:
                    xy = (seen.xy[at[i]] + 0.5) * factor - 0.5
                    draw_detected(picture, xy, seen.confidence[at[i]], seen.skeleton)
            yield picture, footage is not None

    return Reel(path, view.name, size, pictures())


class _Joints:
    """A person's skeleton over time, computed a few frames at a time."""

    _chunk = 256

    def __init__(self, person: Person, clock: np.ndarray, times: np.ndarray) -> None:
        self.person, self.clock, self.times = person, clock, times
        self.skeleton = fitted_skeleton(person)
        self.start, self.points = 0, np.zeros((0, 0, 3))

    def at(self, i: int) -> np.ndarray:
        assert self.skeleton is not None
        if not self.start <= i < self.start + len(self.points):
            self.start = i
            self.points = points_at(self.person, self.skeleton, self.clock, self.times[i : i + self._chunk])
        return self.points[i - self.start]


class _Trail:
    """Where some joints of a person have been until now."""

    def __init__(self, person: Person, clock: np.ndarray, moments: int) -> None:
        self.joints = _Joints(person, clock, clock)
        self.past: deque[np.ndarray] = deque(maxlen=moments + 1)
        skeleton = self.joints.skeleton
        colours = {"left": LEFT, "right": RIGHT}
        trailing = {names: _PELVIS if len(names) > 1 else colours[names[0].split("_")[0]] for names in _TRAILING}
        if hand_alone(person):
            trailing = {(f"{side}_{f}_tip",): colour for side in ("left", "right") for f, colour in OF_FINGER.items()}
        shown = {n: colour for n, colour in trailing.items() if skeleton is not None and skeleton.has(*n)}
        self.which = [[skeleton.index(name) for name in names] for names in shown] if skeleton is not None else []
        self.colours = np.array(list(shown.values())).reshape(-1, 3)

    def at(self, i: int) -> Strokes:
        if not self.which:
            return Strokes.joined([])
        joints = self.joints.at(i)
        self.past.append(np.array([joints[names].mean(0) for names in self.which]))
        return trail(np.array(self.past), self.colours, self.past.maxlen or 1)


class _Shot:
    """A film while it is made: its encoder, fed by a thread, and what there is to say."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float, crf: float) -> None:
        self.path, self.frames, self.missing, self.seconds = path, 0, 0, 0.0
        self._waiting: deque[Future[None]] = deque()
        with ExitStack() as stack:
            self._video = stack.enter_context(VideoWriter(path, size, fps, crf=crf))
            self._pool = stack.enter_context(ThreadPoolExecutor(1, "encode"))
            self._stack = stack.pop_all()

    def write(self, picture: np.ndarray) -> None:
        """Hands a picture, which nobody may change any more, to the encoder."""
        if len(self._waiting) >= _AHEAD:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._video.write, picture))
        self.frames += 1

    def drop(self, error: BaseException) -> None:
        """Leaves no film."""
        self._pool.shutdown(cancel_futures=True)
        self._waiting.clear()
        self._stack.__exit__(type(error), error, error.__traceback__)

    def __enter__(self) -> _Shot:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.drop(error)
            return
        with self._stack:
            start = time.perf_counter()
            while self._waiting:
                self._waiting.popleft().result()
            self.seconds += time.perf_counter() - start

    def film(self) -> Film:
        return Film(self.path, self.frames, self.seconds, self.missing)


def shoot(
    reels: Sequence[Reel], frames: int, *, fps: float, crf: float = 21, mosaic: Path | None = None
) -> list[Film | BadFile | MissingFile]:
    """Draws and encodes films frame by frame, all at once.

    Args:
        reels: The films.
        frames: How many pictures each has.
        fps: Frames a second of the films.
        crf: See :class:`mocap.io.video_out.VideoWriter`.
        mosaic: A further film, of all of them side by side.

    Returns:
        For each reel the film, or what is wrong with its footage, which costs it alone; the mosaic last, when it was
        asked for and at least one reel goes into it.

    Raises:
        BadFile: A film cannot be written.
    """
    failed: dict[Path, BadFile | MissingFile] = {}
    with ExitStack() as stack:
        for reel in reels:
            stack.callback(reel.pictures.close)
        # before anything is laid out: footage that cannot be read has no place
        first = {reel.path: picture for reel in reels if (picture := _next(reel, failed)) is not None}
        shown = [reel for reel in reels if reel.path in first]
        shots = {reel.path: stack.enter_context(_Shot(reel.path, reel.size, fps, crf)) for reel in shown}
        together = together_shot = None
        if mosaic is not None and shown:
            together = Mosaic([reel.size for reel in shown], [reel.title for reel in shown])
            together_shot = stack.enter_context(_Shot(mosaic, together.size, fps, crf))
        label = f"drawing {reels[0].path.name}" if len(reels) == 1 else f"drawing {len(reels)} films"
        for _ in progress.track(range(frames), label):
            drawn: list[np.ndarray | None] = []
            for reel in shown:
                if reel.path in failed:
                    drawn.append(None)
                    continue
                shot, start = shots[reel.path], time.perf_counter()
                made = first.pop(reel.path, None) or _next(reel, failed)
                if made is None:
                    shot.drop(failed[reel.path])
                    drawn.append(None)
                    continue
                picture, seen = made
                shot.write(picture)
                shot.missing += not seen
                shot.seconds += time.perf_counter() - start
                drawn.append(picture)
            if together is not None and together_shot is not None:
                start = time.perf_counter()
                together_shot.write(together.frame(drawn))
                together_shot.seconds += time.perf_counter() - start
    films = [failed[reel.path] if reel.path in failed else shots[reel.path].film() for reel in reels]
    return [*films, together_shot.film()] if together_shot is not None else films


def _next(reel: Reel, failed: dict[Path, BadFile | MissingFile]) -> tuple[Picture, bool] | None:
    """A film's next picture; None when its footage cannot be read, and then `failed` says why."""
    try:
        return next(reel.pictures)
    except (BadFile, MissingFile) as error:
        failed[reel.path] = error
        return None
