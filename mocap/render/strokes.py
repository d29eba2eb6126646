"""Lines in space, laid over a picture: where people were, and where the cameras stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from mocap.geometry.cameras import Camera
from mocap.render.layer import window_of
from mocap.render.mesh import Mesh, bent, seen_at, there
from mocap.render.overlay import SHIFT, drawable, fixed, stroke
from mocap.render.software import rasterise

_BEHIND = 0.02
"""What is deeper than a body's surface by more than this is hidden by it [m]; of hands a tenth."""
_COARSE = 2
"""What hides lines is looked up in a depth map whose pixels are this many of the picture's: it takes 3 ms."""
_INK = (0.24, 0.31, 0.45)
_BEFORE = 0.35
"""Opacity of a camera that stands between the viewer and the people, who are to be seen."""
_NEAREST = 0.4
"""A camera nearer to the viewer than this is not drawn [m]: it would be all there is to see. Of hands a tenth."""


@dataclass(frozen=True, eq=False)
class Strokes:
    """Straight lines in the world, the later ones over the earlier."""

    ends: Float[np.ndarray, "lines 2 3"]
    """[m]; lines with an end that is NaN are left out."""
    colours: Float[np.ndarray, "lines 3"]
    """In [0, 1]."""
    opacity: Float[np.ndarray, " lines"]
    """In [0, 1]."""

    @classmethod
    def joined(cls, parts: Sequence[Strokes]) -> Strokes:
        """One after the other."""
        if not parts:
            return cls(np.zeros((0, 2, 3)), np.zeros((0, 3)), np.zeros(0))
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("ends", "colours", "opacity")))


def frustum(camera: Camera, *, length: float = 0.3, pieces: int = 10) -> Strokes:
    """A small pyramid from where a camera stands to what it sees at `length` [m], with a mark on its upper side.

    Each edge is cut into `pieces`, so that a part of it can be hidden.
    """
    width, height = camera.size
    ends = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])
    plane = np.concatenate([(ends - camera.K[:2, 2]) / camera.K[[0, 1], [0, 1]], np.ones((4, 1))], axis=1)
    # of one size whatever the lens, so that a long lens does not look like a needle
    corners = camera.centre + plane * (length / np.linalg.norm(plane, axis=1).mean()) @ camera.R
    a, b, c, d = corners
    top = 0.5 * (a + b) + 0.35 * (0.5 * (a + b) - 0.5 * (c + d))
    left, right = a + 0.25 * (b - a), b + 0.25 * (a - b)
    edges = [(camera.centre, x) for x in corners] + [(a, b), (b, c), (c, d), (d, a), (left, top), (top, right)]
    at = np.linspace(0, 1, pieces + 1)[:, None]
    lines = np.concatenate([np.stack([p + at[:-1] * (q - p), p + at[1:] * (q - p)], axis=1) for p, q in edges])
    return Strokes(lines, np.tile(_INK, (len(lines), 1)), np.ones(len(lines)))


def trail(
    points: Float[np.ndarray, "moments joints 3"], colours: Float[np.ndarray, "joints 3"], moments: int
) -> Strokes:
    """The way joints came, fading: full at the last moment, nothing `moments` before it.

    Args:
        points: Oldest first [m]; NaN where missing.
        colours: One a joint, in [0, 1].
        moments: After how many it has faded.
    """
    lines = np.stack([points[:-1], points[1:]], axis=2)
    age = np.arange(len(lines), 0, -1) - 0.5
    opacity = np.repeat(np.clip(1 - age / max(moments, 1), 0, 1), points.shape[1])
    return Strokes(lines.reshape(-1, 2, 3), np.tile(colours, (len(lines), 1)), 0.9 * opacity)


class Depth:
    """How deep the nearest mesh is, where there is one; drawn when it is first asked for.

    Args:
        camera: Who looks.
        meshes: In the world.
        scale: Of the meshes against bodies.
    """

    def __init__(self, camera: Camera, meshes: Sequence[Mesh], *, scale: float = 1.0) -> None:
        self.scale = scale
        self.camera = camera.scaled_to((-(-camera.size[0] // _COARSE), -(-camera.size[1] // _COARSE)))
        self.meshes = meshes

    @cached_property
    def _drawn(self) -> tuple[np.ndarray, np.ndarray]:
        """Column and row of the map's first pixel, and the map."""
        placed = [bent(self.camera, mesh.vertices) for mesh in self.meshes]
        window = window_of(self.camera, placed)
        if window is None:
            return np.zeros(2, int), np.zeros((0, 0))
        x0, y0, width, height = window
        K = self.camera.K.copy()
        K[:2, 2] -= x0, y0
        drawn = None
        for mesh, xyz in zip(self.meshes, placed, strict=True):
            drawn = rasterise(K, (width, height), xyz, mesh.surface.faces, mesh.surface.colours, drawn)
        assert drawn is not None
        return np.array([x0, y0]), drawn[1]

    def ready(self) -> None:
        """Draws it now."""
        _ = self._drawn

    def hides(self, points: Float[np.ndarray, "points 3"]) -> Bool[np.ndarray, " points"]:
        """Which points of the world are behind a mesh."""
        hidden = np.zeros(len(points), bool)
        at = seen_at(self.camera, points)
        asked = np.flatnonzero(there(at))
        if not self.meshes or not len(asked):
            return hidden
        low, depth = self._drawn
        with np.errstate(invalid="ignore"):
            x, y = (np.clip(np.round(at[asked]), -1, 1e6).astype(int) - low).T
        inside = (x >= 0) & (y >= 0) & (x < depth.shape[1]) & (y < depth.shape[0])
        asked, x, y = asked[inside], x[inside], y[inside]
        hidden[asked] = self.camera.to_camera(points[asked])[:, 2] > depth[y, x] + self.scale * _BEHIND
        return hidden


def draw_strokes(picture: UInt8[np.ndarray, "height width 3"], camera: Camera, strokes: Strokes, depth: Depth) -> None:
    """Draws lines over a picture that already shows the meshes of `depth`, in place; what these hide is left out."""
    if not len(strokes.ends):
        return
    xy = seen_at(camera, strokes.ends.reshape(-1, 3)).reshape(-1, 2, 2)
    shown = drawable(xy, picture).all(1) & (strokes.opacity > 0.02)
    shown[shown] &= ~depth.hides(strokes.ends[shown].mean(1))
    if not shown.any():
        return
    xy, colours, opacity = xy[shown], 255 * strokes.colours[shown], 255 * strokes.opacity[shown]
    thick = stroke(picture)
    if (strokes.opacity >= 1).all():
        for (a, b), colour in zip(fixed(xy).tolist(), colours.tolist(), strict=True):
            cv2.line(picture, a, b, colour, thick, cv2.LINE_AA, SHIFT)
        return
    thick += 1
    height, width = picture.shape[:2]
    x0, y0 = (int(np.clip(v, 0, s)) for v, s in zip(xy.min((0, 1)) - thick - 2, (width, height), strict=True))
    x1, y1 = (int(np.clip(v, 0, s)) for v, s in zip(xy.max((0, 1)) + thick + 3, (width, height), strict=True))
    if x1 <= x0 or y1 <= y0:
        return
    part = picture[y0:y1, x0:x1]
    cover, tint = np.zeros(part.shape[:2], np.uint8), part.copy()
    for (a, b), colour, alpha in zip(fixed(xy - [x0, y0]).tolist(), colours.tolist(), opacity.tolist(), strict=True):
        cv2.line(tint, a, b, colour, thick + 2, cv2.LINE_8, SHIFT)
        cv2.line(cover, a, b, alpha, thick, cv2.LINE_AA, SHIFT)
    share = cv2.cvtColor(cover, cv2.COLOR_GRAY2RGB)
    part[:] = cv2.add(cv2.multiply(part, 255 - share, scale=1 / 255), cv2.multiply(tint, share, scale=1 / 255))


def draw_label(
    picture: UInt8[np.ndarray, "height width 3"], text: str, at: tuple[float, float], *, size: float | None = None
) -> None:
    """Writes a name with its left end at a pixel, in place, to be read on any ground; only the letters OpenCV has.

    Args:
        picture: RGB.
        text: The name.
        at: Left end of the line it stands on [px].
        size: OpenCV's scale; None: what suits the picture.
    """
    plain = text.encode("ascii", "replace").decode()
    size = float(np.clip(min(picture.shape[:2]) / 1100, 0.38, 0.9)) if size is None else size
    x, y = int(at[0]), int(at[1])
    for colour, thick in (((250, 250, 250), 3), ((35, 45, 65), 1)):
        cv2.putText(picture, plain, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, thick, cv2.LINE_AA)


def draw_cameras(
    picture: UInt8[np.ndarray, "height width 3"], camera: Camera, cameras: Sequence[Camera], depth: Depth
) -> None:
    """Draws each of `cameras` as a small named pyramid, as `camera` sees it, in place; what meshes hide is left out."""
    size = 0.3 * depth.scale
    far = [c for c in cameras if camera.to_camera(c.centre)[2] > depth.scale * _NEAREST]
    people = min((np.median(camera.to_camera(m.vertices)[:, 2]) for m in depth.meshes), default=0.0)
    for one in far:
        lines = frustum(one, length=size)
        if not depth.hides(lines.ends.mean(1)).any():
            lines = frustum(one, length=size, pieces=1)  # where pieces meet they blend twice
        if camera.to_camera(one.centre)[2] < people:
            lines = replace(lines, opacity=_BEFORE * lines.opacity)
        draw_strokes(picture, camera, lines, depth)
    centres = np.array([c.centre for c in far]).reshape(-1, 3)
    for one, xy, hidden in zip(far, seen_at(camera, centres), depth.hides(centres), strict=True):
        if not hidden and drawable(xy, picture):
            draw_label(picture, one.name, (xy[0] + 8, xy[1] - 8))
