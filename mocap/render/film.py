"""Films drawn and encoded frame by frame: bodies on the ground, bodies over the footage."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mocap import progress
from mocap.geometry.cameras import Camera
from mocap.geometry.times import nearest
from mocap.io.footage import read_frames
from mocap.io.video_out import VideoWriter
from mocap.render.ground import GroundPainter, GroundView
from mocap.render.layer import Rasteriser
from mocap.render.mesh import light_from, seen_at
from mocap.render.overlay import draw_bodies, draw_limbs, draw_points
from mocap.render.posing import fitted_skeleton, limb_colours, meshes_at, points_at
from mocap.take import Person, View


@dataclass(frozen=True)
class Film:
    """A film that was written."""

    path: Path
    frames: int
    seconds: float
    """How long drawing and encoding took."""
    without_footage: int = 0
    """Frames for which the view had no picture; they are drawn on black."""

    @property
    def rate(self) -> float:
        """Frames a second reached."""
        return self.frames / max(self.seconds, 1e-9)


def film_ground(
    path: Path,
    view: GroundView,
    people: Sequence[Person],
    clock: Float[np.ndarray, " frames"],
    rasteriser: Rasteriser,
    *,
    crf: float = 20,
) -> Film:
    """Draws people on the ground.

    Args:
        path: The mp4.
        view: What was planned by :func:`mocap.render.ground.plan_view`.
        people: Their motions or keypoints3d are on `clock`.
        clock: The take's [s].
        rasteriser: Who draws.
        crf: See :class:`mocap.io.video_out.VideoWriter`.
    """
    start = time.perf_counter()
    painter = GroundPainter(view, rasteriser, light_from(view.at(0)))
    drawn = [meshes_at(person, i, clock, clock, colour=view.colour) for i, person in enumerate(people)]
    with VideoWriter(path, view.size, view.fps, crf=crf) as video:
        for i in progress.track(range(len(clock)), f"drawing {path.name}"):
            video.write(painter.frame(i, [mesh for mesh in (next(one) for one in drawn) if mesh is not None]))
    return Film(path, len(clock), time.perf_counter() - start)


def nearest_frames(
    clock: Float[np.ndarray, " frames"], seen: Float[np.ndarray, " frames_v"]
) -> tuple[Int[np.ndarray, " frames"], Bool[np.ndarray, " frames"]]:
    """For each moment the view's frame nearest in time, and whether it is near: within one and a half of its periods.

    A view that starts late, ends early or has a hole has no picture of what it did not see.
    """
    return nearest(clock, seen, reach=1.5 * float(np.median(np.diff(seen))) if len(seen) > 1 else np.inf)


def _pictures(
    view: View, index: np.ndarray, near: np.ndarray, size: tuple[int, int]
) -> Iterator[UInt8[np.ndarray, "height width 3"] | None]:
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


def film_overlay(
    path: Path,
    view: View,
    camera: Camera,
    people: Sequence[Person],
    clock: Float[np.ndarray, " frames"],
    rasteriser: Rasteriser,
    *,
    fps: float,
    longer_side: int = 960,
    opacity: float = 0.7,
    keypoints: bool = True,
    crf: float = 22,
) -> Film:
    """Draws people over one view's footage, aligned in time: each is posed at the moment its picture was seen.

    Args:
        path: The mp4.
        view: The footage.
        camera: Its camera; keypoints and calibration are in the footage's pixels.
        people: Their motions or keypoints3d are on `clock`.
        clock: The take's [s]: one frame of the film each.
        rasteriser: Who draws.
        fps: Of the film.
        longer_side: Of the film at most [px].
        opacity: Of the bodies, in [0, 1].
        keypoints: Whether to draw the detected points (dots) and the fitted skeleton (lines).
        crf: See :class:`mocap.io.video_out.VideoWriter`.

    Raises:
        MissingFile, BadFile: The footage is not there, or nothing of it can be read.
    """
    start = time.perf_counter()
    index, near = nearest_frames(clock, view.timestamps)
    times = np.where(near, view.timestamps[index], clock)
    scale = min(1.0, longer_side / max(view.size))
    width, height = (max(2, round(side * scale)) for side in view.size)
    small = replace(camera, size=view.size).scaled_to((width, height))
    factor = np.array([width / view.size[0], height / view.size[1]])
    light = light_from(small)
    bodies = [meshes_at(p, i, clock, times, colour="person") for i, p in enumerate(people) if p.motion is not None]
    lines = [_Lines(person, clock, times) for person in people] if keypoints else []
    detected = [p.keypoints2d[view.name] for p in people if view.name in p.keypoints2d] if keypoints else []
    dots = [(seen, nearest(times, seen.timestamps, reach=1e-3)) for seen in detected]
    missing = 0
    with VideoWriter(path, (width, height), fps, crf=crf) as video:
        pictures = _pictures(view, index, near, (width, height))
        for i, picture in enumerate(progress.track(pictures, f"drawing {path.name}", total=len(clock))):
            if picture is None:
                missing += 1
                picture = np.zeros((height, width, 3), np.uint8)
            meshes = [mesh for mesh in (next(body) for body in bodies) if mesh is not None]
            draw_bodies(picture, small, meshes, rasteriser, light, opacity=opacity)
            for one in lines:
                one.draw(picture, small, i)
            for seen, (at, there) in dots if near[i] else ():
                if there[i]:
                    draw_points(picture, (seen.xy[at[i]] + 0.5) * factor - 0.5, seen.confidence[at[i]])
            video.write(picture)
    return Film(path, len(clock), time.perf_counter() - start, missing)


class _Lines:
    """A person's skeleton over time, computed a few frames at a time."""

    _ahead = 256

    def __init__(self, person: Person, clock: np.ndarray, times: np.ndarray) -> None:
        self.person, self.clock, self.times = person, clock, times
        self.skeleton = fitted_skeleton(person)
        self.start, self.points = 0, np.zeros((0, 0, 3))

    def draw(self, picture: np.ndarray, camera: Camera, i: int) -> None:
        if self.skeleton is None:
            return
        if not self.start <= i < self.start + len(self.points):
            self.start = i
            self.points = points_at(self.person, self.skeleton, self.clock, self.times[i : i + self._ahead])
        xy = seen_at(camera, self.points[i - self.start])
        draw_limbs(picture, xy, self.skeleton.limb_indices(), limb_colours(self.skeleton))
