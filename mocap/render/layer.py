"""What a back end draws and how it is laid over a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import UInt8

from mocap.geometry.cameras import Camera
from mocap.render.mesh import Light, Mesh, in_front


@dataclass(frozen=True, eq=False)
class Layer:
    """A part of a picture: colours multiplied by coverage, and coverage."""

    rgba: UInt8[np.ndarray, "height width 4"]
    at: tuple[int, int]
    """Column and row of its top left pixel in the picture; the layer lies wholly within the picture."""

    def over(self, picture: UInt8[np.ndarray, "rows columns 3"], *, opacity: float = 1.0) -> None:
        """Lays this layer over `picture`, in place."""
        (x, y), (height, width) = self.at, self.rgba.shape[:2]
        part = picture[y : y + height, x : x + width]
        cover = cv2.cvtColor(np.ascontiguousarray(self.rgba[..., 3]), cv2.COLOR_GRAY2RGB)
        kept = 255 - cv2.convertScaleAbs(cover, alpha=opacity)
        front = cv2.convertScaleAbs(np.ascontiguousarray(self.rgba[..., :3]), alpha=opacity)
        part[:] = cv2.add(front, cv2.multiply(part, kept, scale=1 / 255))


def nothing() -> None:
    """There is nothing to do while a back end draws."""


@runtime_checkable
class Rasteriser(Protocol):
    """A back end: it turns meshes into a layer and knows nothing of floors, shadows or footage."""

    name: str
    """"gl" or "software"."""
    device: str
    """What it runs on, for the report."""

    def draw(
        self, camera: Camera, meshes: Sequence[Mesh], light: Light, meanwhile: Callable[[], None] = nothing
    ) -> Layer | None:
        """The meshes as `camera` sees them, lens included, anti-aliased; None when no part is in the picture.

        `meanwhile` is called once, while the back end draws where that can be.
        """
        ...

    def close(self) -> None:
        """Gives back what the back end holds."""
        ...


def window_of(camera: Camera, placed: Sequence[np.ndarray]) -> tuple[int, int, int, int] | None:
    """The part of the picture that points in (bent) camera axes reach: column, row, width, height [px]."""
    K = camera.K
    low, high = np.array([np.inf, np.inf]), np.array([-np.inf, -np.inf])
    for p in placed:
        front = in_front(p)
        if not front.any():
            continue
        x, y, z = p[front].T
        u = (K[0, 0] * x + K[0, 1] * y) / z + K[0, 2]
        v = K[1, 1] * y / z + K[1, 2]
        low = np.minimum(low, [u.min(), v.min()])
        high = np.maximum(high, [u.max(), v.max()])
    if not (low <= high).all():
        return None
    # two pixels more, for the rounding of edges
    x0, y0 = (int(np.clip(np.floor(c) - 2, 0, s)) for c, s in zip(low, camera.size, strict=True))
    x1, y1 = (int(np.clip(np.ceil(c) + 3, 0, s)) for c, s in zip(high, camera.size, strict=True))
    return (x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else None
