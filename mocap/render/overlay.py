"""Bodies and keypoints over the footage they came from."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mocap.geometry.cameras import Camera
from mocap.render.layer import Rasteriser
from mocap.render.mesh import Light, Mesh
from mocap.render.shadow import OVERHEAD, SeenFloor, shadow_of
from mocap.skeletons import HANDS42, Skeleton

_FINE = 0.1
"""The width of a finger's line against its bones, where these are small."""
_BLOT = 8.0
"""Dots of fingers whose bones are shorter than this are not drawn [px]."""
SHIFT = 4
"""Bits of a pixel's fraction in OpenCV's drawing: sixteenths."""


def stroke(picture: UInt8[np.ndarray, "height width 3"]) -> int:
    """A line's width that reads alike in pictures of any size [px]."""
    return max(1, round(min(picture.shape[:2]) / 400))


def drawable(
    xy: Float[np.ndarray, "*batch 2"], picture: UInt8[np.ndarray, "height width 3"]
) -> Bool[np.ndarray, "*batch"]:
    """Which points are near enough to the picture for OpenCV's whole numbers; NaN compares False."""
    height, width = picture.shape[:2]
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(xy - [width / 2, height / 2]) < 4 * max(width, height)).all(-1))


def fixed(xy: Float[np.ndarray, "*batch 2"]) -> Int[np.ndarray, "*batch 2"]:
    """Pixels as OpenCV's drawing takes them: whole sixteenths, with `SHIFT`."""
    return np.round(xy * 2**SHIFT).astype(np.int32)


def draw_bodies(
    picture: UInt8[np.ndarray, "height width 3"],
    camera: Camera,
    meshes: Sequence[Mesh],
    rasteriser: Rasteriser,
    light: Light,
    *,
    opacity: float = 0.7,
    floor: SeenFloor | None = None,
    scale: float = 1.0,
) -> None:
    """Lays bodies over the picture, in place, through the camera's lens.

    Args:
        picture: RGB, of the camera's size.
        camera: With its distortion.
        meshes: In the world.
        rasteriser: Who draws.
        light: What lights them.
        opacity: In [0, 1]; below 1 the person is seen through the body.
        floor: On which they cast a soft shadow, as what the camera sees of it; None: no shadow.
        scale: Of the meshes against bodies: how far shadows are soft.
    """

    def darken() -> None:
        shadow = shadow_of(meshes, floor.floor, OVERHEAD, scale=scale) if floor is not None else None
        if floor is not None and shadow is not None:
            floor.darken(picture, shadow)

    layer = rasteriser.draw(camera, meshes, light, darken) if meshes else None
    if layer is not None:
        layer.over(picture, opacity=opacity)


def _bone(xy: Float[np.ndarray, "joints 2"], skeleton: Skeleton) -> float:
    """The median length of a hand's bones [px]; infinite where none is seen."""
    ends = skeleton.indices([joint for limb in skeleton.limbs if HANDS42.has(*limb) for joint in limb]).reshape(-1, 2)
    lengths = np.linalg.norm(xy[ends[:, 0]] - xy[ends[:, 1]], axis=-1)
    lengths = lengths[np.isfinite(lengths)]
    return float(np.median(lengths)) if len(lengths) else np.inf


def draw_skeleton(
    picture: UInt8[np.ndarray, "height width 3"],
    xy: Float[np.ndarray, "joints 2"],
    skeleton: Skeleton,
    colours: Float[np.ndarray, "limbs 3"],
) -> None:
    """:func:`draw_limbs` of a whole skeleton, its fingers finer where they are small in the picture."""
    limbs = skeleton.limb_indices()
    fine = skeleton.of_hands()[limbs].all(1)
    if (~fine).any():
        draw_limbs(picture, xy, limbs[~fine], colours[~fine])
    if fine.any():
        width = int(np.clip(_FINE * _bone(xy, skeleton), 1, stroke(picture) + 1))
        draw_limbs(picture, xy, limbs[fine], colours[fine], width=width, rim=1)


def draw_detected(
    picture: UInt8[np.ndarray, "height width 3"],
    xy: Float[np.ndarray, "joints 2"],
    confidence: Float[np.ndarray, " joints"],
    skeleton: Skeleton,
) -> None:
    """:func:`draw_points` of a whole skeleton, its fingers' dots smaller where they are small in the picture.

    Where they would be one blot over the hand they are left out.
    """
    fine = skeleton.of_hands()
    draw_points(picture, xy[~fine], confidence[~fine])
    if fine.any() and (bone := _bone(xy, skeleton)) > _BLOT:
        draw_points(picture, xy[fine], confidence[fine], radius=1.5 * _FINE * bone)


def draw_limbs(
    picture: UInt8[np.ndarray, "height width 3"],
    xy: Float[np.ndarray, "joints 2"],
    limbs: Int[np.ndarray, "limbs 2"],
    colours: Float[np.ndarray, "limbs 3"],
    *,
    width: int | None = None,
    rim: int = 2,
) -> None:
    """Draws a skeleton as lines, in place; limbs with a missing end are left out.

    Args:
        picture: RGB.
        xy: Joints [px], NaN where missing.
        limbs: Pairs of joints.
        colours: One per limb, in [0, 1].
        width: Of the lines [px]; None: what suits the picture.
        rim: By how much the dark rim is wider [px].
    """
    there = drawable(xy, picture)
    width = stroke(picture) if width is None else width
    shown = np.flatnonzero(there[limbs].all(-1))
    ends = fixed(np.where(there[:, None], xy, 0))[limbs]
    for thickness, dark in ((width + rim, True), (width, False)):  # a dark rim, to be seen on any background
        for i in shown:
            colour = (25, 25, 25) if dark else tuple(float(c) for c in colours[i] * 255)
            a, b = (tuple(int(c) for c in end) for end in ends[i])
            cv2.line(picture, a, b, colour, thickness, cv2.LINE_AA, SHIFT)


def draw_points(
    picture: UInt8[np.ndarray, "height width 3"],
    xy: Float[np.ndarray, "joints 2"],
    confidence: Float[np.ndarray, " joints"],
    *,
    colour: tuple[float, float, float] = (1.0, 0.95, 0.25),
    radius: float = np.inf,
) -> None:
    """Draws what was detected as hollow dots, in place; the less sure, the thinner the ring.

    Args:
        picture: RGB.
        xy: Points [px], NaN where missing.
        confidence: In [0, 1], 0 where missing.
        colour: In [0, 1].
        radius: Of the dots at most [px].
    """
    width = stroke(picture)
    if radius < 1.5 * width + 1.5:
        width = 1
    radius = min(radius, 1.5 * width + 1.5)
    shown = drawable(xy, picture)
    for point, sure in zip(xy[shown], confidence[shown], strict=True):
        at, size = tuple(int(c) for c in fixed(point)), round(radius * 2**SHIFT)
        ring = width if sure >= 0.5 else 1
        cv2.circle(picture, at, size, (25, 25, 25), ring + 1, cv2.LINE_AA, SHIFT)
        cv2.circle(picture, at, size, tuple(255 * c for c in colour), ring, cv2.LINE_AA, SHIFT)
