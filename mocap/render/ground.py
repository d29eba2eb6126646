"""Bodies on a chequered floor: where the camera stands, what the floor looks like, and one frame of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter1d

from mocap.geometry.cameras import Camera
from mocap.render.layer import Rasteriser
from mocap.render.mesh import Light, Mesh, there
from mocap.render.rasterisers import Backend
from mocap.render.shadow import Shadow, shadow_of
from mocap.render.strokes import Depth, Strokes, draw_cameras, draw_strokes

CameraMode = Literal["auto", "fixed", "follow", "turn"]

# of bodies; of hands `scale` times as much
_CELL = 0.5
"""Side of a square of the floor [m]."""
_FURTHEST = 8.0
"""From further away than this [m] a person is small in the picture: `auto` follows instead."""
_ROUND = 2.5
"""How far the floor is drawn at least [m]."""
_ELEVATION = np.radians(13)
_ASIDE = np.radians(32)
"""How far the camera stands to the side of the way the subject faces: a three-quarter view."""
_LAP = 14.0
"""Seconds in which the camera of `turn` goes round."""


@dataclass(frozen=True, eq=False)
class GroundView:
    """A film to be drawn: plain data, whatever the length of the take it costs 128 bytes a frame."""

    size: tuple[int, int]
    fps: float
    floor: float | None
    """Height of the floor in the world [m]; None: there is none."""
    K: Float[np.ndarray, "3 3"]
    T_camera_world: Float[np.ndarray, "frames_or_1 4 4"]
    """One for the whole film, or one per frame."""
    centre: Float[np.ndarray, "frames_or_1 2"]
    """Where on the floor the fading begins from [m]."""
    reach: float
    """Radius of the floor that is drawn in full [m]."""
    camera: CameraMode
    """What moves it: fixed, follow or turn."""
    backend: Backend = "auto"
    colour: Literal["body", "person"] = "body"
    """The colours the body model has, or one colour for each person."""
    cameras: tuple[Camera, ...] = ()
    """Drawn as small named pyramids where they stand."""
    trails: float = 0.0
    """How long hands, feet and pelvis, or a hand's finger tips, leave a trail [s]."""
    floor_known: bool = False
    """Whether the floor is where the dataset or the user says, not where the feet say."""
    scale: float = 1.0
    """Of what is seen against bodies: the floor's squares are so many times as large, and shadows as far soft."""

    def at(self, frame: int) -> Camera:
        """The camera of one frame."""
        return Camera("ground", self.K, np.zeros(5), self.T_camera_world[frame % len(self.T_camera_world)], self.size)


def _axes(azimuth: np.ndarray, elevation: float) -> Float[np.ndarray, "*batch 3 3"]:
    """World to camera rotation of a level camera that looks down by `elevation`, standing at `azimuth` [rad]."""
    c, s, e = np.cos(azimuth), np.sin(azimuth), elevation
    zero = np.zeros_like(c)
    right = np.stack([-s, c, zero], axis=-1)
    forward = np.stack([-c * np.cos(e), -s * np.cos(e), zero - np.sin(e)], axis=-1)
    return np.stack([right, np.cross(forward, right), forward], axis=-2)


def _stand_back(p: Float[np.ndarray, "points 3"], half: tuple[float, float]) -> Float[np.ndarray, " 3"]:
    """Where a camera looking along z must stand, in its own axes, to have all points just within its sides.

    With half-widths t of the picture at depth 1, |x - ex| <= t (z - ez) for every point is two linear bounds on
    (ex, ez); both are tight at ez = -(a + b) / 2t, ex = (a - b) / 2, with a = max(x - t z), b = max(-x - t z).
    """
    eye, back = [], []
    for i, t in enumerate(half):
        a, b = (p[:, i] - t * p[:, 2]).max(), (-p[:, i] - t * p[:, 2]).max()
        eye.append(0.5 * (a - b))
        back.append(-(a + b) / (2 * t))
    return np.array([*eye, min(back)])


def plan_view(
    points: Float[np.ndarray, "frames points 3"],
    facing: Float[np.ndarray, "frames 2"],
    *,
    floor: float | None,
    size: tuple[int, int],
    fps: float,
    camera: CameraMode = "auto",
    backend: Backend = "auto",
    colour: Literal["body", "person"] = "body",
    cameras: Sequence[Camera] = (),
    framed: bool = False,
    trails: float = 0.0,
    floor_known: bool = False,
    scale: float = 1.0,
    elevation: float = _ELEVATION,
    aside: float = _ASIDE,
) -> GroundView:
    """A camera that sees the whole motion, or goes along with it, from the front and a little from the side.

    Args:
        points: What must be seen, everybody's joints [m]; NaN where missing.
        facing: The way the subjects face, horizontally; NaN where unknown.
        floor: Height of the floor [m]; None: there is none.
        size: Of the picture [px].
        fps: Frames a second of the film.
        camera: `fixed` stands still and sees everything; `follow` keeps its distance from the subjects; `turn` also
            goes round them; `auto` is fixed unless that is from too far away.
        backend: See :func:`mocap.render.rasterisers.open_rasteriser`.
        colour: See :class:`GroundView`.
        cameras: See :class:`GroundView`.
        framed: Whether the camera, unless it follows or turns, stands back until it sees all of `cameras` too.
        trails: See :class:`GroundView`.
        floor_known: See :class:`GroundView`.
        scale: See :class:`GroundView`.
        elevation: By how much the camera looks down [rad].
        aside: How far the camera stands to the side of the way the subjects face [rad].
    """
    width, height = size
    focal = 1.3 * max(size)
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    half = (0.86 * width / 2 / focal, 0.84 * height / 2 / focal)
    mean = np.nanmean(np.where(np.isfinite(facing), facing, np.nan), axis=0) if np.isfinite(facing).any() else None
    if mean is None or np.linalg.norm(mean) < 0.2:  # somebody who turns round: as seen at the start
        known = facing[np.isfinite(facing).all(-1)]
        mean = known[0] if len(known) else np.array([0.0, -1.0])
    azimuth = np.arctan2(mean[1], mean[0]) - aside

    finite = there(points)
    if not finite.any():
        points, finite = np.array([[[0, 0, (floor or 0.0) + scale]]]), np.ones((1, 1), bool)
    above, below = np.array([0, 0, 0.12 * scale]), np.array([0, 0, 0.02 * scale])
    # joints lie within the head; without a floor what is seen ends below them as it does above
    lowest = points - above if floor is None else np.where(np.arange(3) == 2, floor, points) - below
    everything = np.concatenate([points + above, lowest], axis=1)
    both = np.concatenate([finite, finite], axis=1)
    R = _axes(np.asarray(azimuth), elevation)
    eye = _stand_back(everything[both] @ R.T, half)
    distance = np.median(everything[both] @ R[2]) - eye[2]
    mode = camera
    if camera == "auto":
        mode = "fixed" if distance <= scale * _FURTHEST or framed else "follow"
    if framed and cameras:
        stand = np.array([c.centre + np.array([0, 0, z]) for c in cameras for z in (-0.3 * scale, 0.3 * scale)])
        eye = _stand_back(np.concatenate([everything[both], stand]) @ R.T, half)

    def view(R: np.ndarray, eye: np.ndarray, centre: np.ndarray, reach: float) -> GroundView:
        """`eye` in the camera's axes, per frame or once."""
        T = np.tile(np.eye(4), (len(eye), 1, 1))
        T[:, :3, :3], T[:, :3, 3] = R, -eye
        reach = scale * _ROUND if reach < scale * _ROUND else reach
        of_view = (mode, backend, colour, tuple(cameras), trails, floor_known, scale)
        return GroundView(size, fps, floor, K, T, centre, reach, *of_view)

    if mode == "fixed":
        middle = 0.5 * (points[finite].min(0) + points[finite].max(0))[:2]
        spread = float(np.linalg.norm(points[finite][:, :2] - middle, axis=-1).max())
        return view(R[None], eye[None], middle[None], spread + 1.5 * scale)
    # hands turn round sooner than people do
    centre = _smooth_centre(points, finite, sigma=(0.8 if scale == 1 else 0.4) * fps)
    around = points - np.concatenate([centre, np.zeros((len(centre), 1))], axis=1)[:, None]
    radius = float(np.percentile(np.linalg.norm(around[finite][:, :2], axis=-1), 99.5))
    top = float(np.percentile(around[finite][:, 2], 99.9)) + above[2]
    foot = float(np.percentile(around[finite][:, 2], 0.1)) - above[2] if floor is None else floor - below[2]
    ring = np.arange(16) * (np.pi / 8)
    post = np.array([[radius * np.cos(a), radius * np.sin(a), z] for a in ring for z in (foot, top)])
    offset = _stand_back(post @ _axes(np.zeros(()), elevation).T, half)  # the same from every side
    turned = np.zeros(len(centre)) if mode == "follow" else np.arange(len(centre)) * (2 * np.pi / (_LAP * fps))
    R = _axes(azimuth + turned, elevation)
    eye = np.einsum("fij,fj->fi", R[..., :2], centre) + offset
    return view(R, eye, centre, radius + 1.5 * scale)


def _smooth_centre(points: np.ndarray, finite: np.ndarray, *, sigma: float) -> Float[np.ndarray, "frames 2"]:
    """Where the subjects are, on the floor, over time; gaps are bridged."""
    seen = np.flatnonzero(finite.any(1))
    weights = finite[seen][..., None]
    where = (np.where(weights, points[seen][..., :2], 0)).sum(1) / weights.sum(1)
    frames = np.arange(len(points))
    whole = np.stack([np.interp(frames, seen, where[:, i]) for i in range(2)], axis=-1)
    return gaussian_filter1d(whole, sigma, axis=0, mode="nearest")


# a cool grey, from dark to light: the floor is drawn in one channel and tinted by this table
_TINT = np.clip(np.arange(256)[:, None] * [0.985, 1.0, 1.015] + [0, 0, 2], 0, 255).astype(np.uint8)
_SKY, _HORIZON, _LIGHT, _DARK = 243.0, 224.0, 212.0, 186.0


def _chequers(x: np.ndarray, y: np.ndarray, blur: np.ndarray) -> np.ndarray:
    """A chessboard of unit squares averaged over a box of side `blur`, 0 to 1 (Quilez, "filtering the checkerboard").

    One axis of a chessboard is a square wave, whose integral is a triangle wave: two samples of it give the mean.
    """

    quarter = 0.25 * blur

    def wave(t: np.ndarray) -> np.ndarray:
        def triangle(s: np.ndarray) -> np.ndarray:
            s -= np.floor(s)
            s -= 0.5
            return np.abs(s, out=s)

        half = 0.5 * t
        rising = triangle(half - quarter)
        half += quarter
        rising -= triangle(half)
        return rising

    both = wave(x)
    both *= wave(y)
    both *= -2 / blur**2
    both += 0.5
    return both


def _tinted(grey: np.ndarray) -> np.ndarray:
    return cv2.LUT(cv2.merge([grey, grey, grey]), _TINT[None])


class GroundPainter:
    """Draws a :class:`GroundView` frame by frame; keeps the empty floor of a camera that stands still."""

    def __init__(self, view: GroundView, rasteriser: Rasteriser, light: Light) -> None:
        self.view, self.rasteriser, self.light = view, rasteriser, light
        self._still: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int] | None = None

    def frame(
        self, index: int, meshes: Sequence[Mesh], trails: Strokes | None = None
    ) -> UInt8[np.ndarray, "height width 3"]:
        """The picture (RGB) of one frame."""
        camera = self.view.at(index)
        depth = Depth(camera, meshes, scale=self.view.scale)
        ground = []

        def paint() -> None:
            ground.append(self._ground(index, camera, meshes))
            if self.view.cameras or trails is not None:
                depth.ready()

        layer = self.rasteriser.draw(camera, meshes, self.light, paint)
        (picture,) = ground
        if layer is not None:
            layer.over(picture)
        if self.view.cameras:
            draw_cameras(picture, camera, self.view.cameras, depth)
        if trails is not None:
            draw_strokes(picture, camera, trails, depth)
        return picture

    def _ground(self, index: int, camera: Camera, meshes: Sequence[Mesh]) -> UInt8[np.ndarray, "height width 3"]:
        """The floor with the shadows on it."""
        if self._still is not None:
            grey, tinted, x, y, first = self._still
        else:
            grey, x, y, first = self._floor(camera, self.view.centre[index % len(self.view.centre)])
            tinted = _tinted(grey)
            if len(self.view.T_camera_world) == 1:
                self._still = grey, tinted, x, y, first
        picture = tinted.copy() if self._still is not None else tinted
        floor = self.view.floor
        shadow = None if floor is None else shadow_of(meshes, floor, self.light, scale=self.view.scale)
        if shadow is not None:
            self._darken(picture, grey, shadow, x, y, first, camera)
        return picture

    def _floor(self, camera: Camera, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """The empty floor in grey; x and y [m] of the floor for each pixel from row `first` down."""
        width, height = self.view.size
        v = np.arange(height, dtype=float)
        grey = np.empty((height, width), np.float32)
        sky = _SKY + (_HORIZON - _SKY) * np.clip(v / height, 0, 1) ** 1.5
        grey[:] = sky[:, None]
        if self.view.floor is None:
            nothing = np.zeros((0, width), np.float32)
            return cv2.convertScaleAbs(grey), nothing, nothing, height
        # the camera is level: in a row all of the floor is equally deep, and x and y run evenly along it
        R, eye, K = camera.R, camera.centre, camera.K
        across = R.T @ [1 / K[0, 0], 0, 0]
        down = np.outer((v - K[1, 2]) / K[1, 1], R[1]) + R[2] - K[0, 2] * across
        drop = down[:, 2]
        first = int(np.searchsorted(-drop, 0.004))  # rows at and above the horizon see no floor
        depth = ((self.view.floor - eye[2]) / drop[first:])[:, None]
        u = np.arange(width, dtype=np.float32)
        x, y = (
            (eye[i] + depth * down[first:, i : i + 1]).astype(np.float32) + (depth * across[i]).astype(np.float32) * u
            for i in range(2)
        )
        # one pixel's share of the floor: along the row by depth, across rows by depth over the sine of the angle
        blur = (1.2 * depth / K[1, 1] * np.sqrt(1 + (1 / np.maximum(-drop[first:, None], 1e-3)) ** 2)).astype(
            np.float32
        )
        cell = self.view.scale * _CELL
        board = _chequers(x / cell, y / cell, np.maximum(blur / cell, 1e-3))
        r = cv2.magnitude(x - np.float32(centre[0]), y - np.float32(centre[1]))
        r *= 1 / self.view.reach
        fade = np.clip((r - 1) * (1 / 1.6), 0, 1)
        fade *= fade * (3 - 2 * fade)
        board *= _LIGHT - _DARK
        board += _DARK
        board *= 1.04 - 0.04 * np.minimum(r, 2)
        below = grey[first:]  # floor + (sky - floor) fade
        below -= board
        below *= fade
        below += board
        return cv2.convertScaleAbs(grey), x, y, first  # rounded to 0 ... 255

    def _darken(
        self,
        picture: np.ndarray,
        grey: np.ndarray,
        shadow: Shadow,
        x: np.ndarray,
        y: np.ndarray,
        first: int,
        camera: Camera,
    ) -> None:
        """Multiplies the shadow into the part of the floor it falls on."""
        assert self.view.floor is not None
        corners = np.column_stack([shadow.corners, np.full(4, self.view.floor)])
        xy, depth = camera.project(corners)
        (width, height), low, high = self.view.size, xy.min(0), xy.max(0)
        if not (depth > 0).all():  # it reaches behind the camera
            low, high = np.zeros(2), np.array([width, height])
        x0, x1 = (int(np.clip(c, 0, width)) for c in (low[0], high[0] + 1))
        y0, y1 = (int(np.clip(c, first, height)) for c in (low[1], high[1] + 1))
        if x1 > x0 and y1 > y0:
            part = np.s_[y0 - first : y1 - first, x0:x1]
            left = (1 - shadow.at(x[part], y[part])) ** 0.6  # nearer to linear light than plain products of greys
            picture[y0:y1, x0:x1] = _tinted((grey[y0:y1, x0:x1] * left + 0.5).astype(np.uint8))
