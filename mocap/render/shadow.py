"""Soft shadows on a flat floor, as a small map of the floor around the bodies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mocap.geometry.cameras import Camera
from mocap.render.mesh import Light, Mesh, seen_at, there
from mocap.render.software import rasterise

_CAST, _CONTACT = 0.45, 0.40
"""The share of the floor's light that the key light and the open sky bring."""
_REACH = 0.25
"""Contact darkens below what is nearer to the floor than this [m]."""


@dataclass(frozen=True, eq=False)
class Shadow:
    """Light kept off the floor."""

    kept_off: Float[np.ndarray, "rows columns"]
    """In [0, 1]; 0 at the border."""
    low: tuple[float, float]
    """Floor (x, y) of the centre of the first texel [m]."""
    texel: float
    """Side of a texel [m]; columns run along x, rows along y."""

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Light kept off at points of the floor [m], 0 outside the map; x and y are of one two-dimensional shape."""
        u = ((x - self.low[0]) / self.texel).astype(np.float32)
        v = ((y - self.low[1]) / self.texel).astype(np.float32)
        return cv2.remap(self.kept_off, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)

    @property
    def corners(self) -> Float[np.ndarray, "4 2"]:
        """Floor (x, y) of the map's corners [m]."""
        rows, columns = self.kept_off.shape
        x0, y0 = self.low
        x1, y1 = x0 + self.texel * (columns - 1), y0 + self.texel * (rows - 1)
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def shadow_of(
    meshes: Sequence[Mesh], floor: float, light: Light, *, texels: int = 320, scale: float = 1.0
) -> Shadow | None:
    """The shadow of bodies on the floor.

    Two multiply: one cast by the key light, softer the higher the caster stands above the floor, and one of contact,
    straight below whatever is near the floor, which the open sky does not reach.

    Args:
        meshes: Who casts it.
        floor: Height of the floor [m].
        light: Whose key light is kept off.
        texels: Longer side of the map at most.
        scale: Of the casters against bodies: how far shadows are soft.

    Returns:
        The shadow, or None when there is nobody.
    """
    if not meshes:
        return None
    lx, ly, lz = light.towards
    bodies = [(np.asarray(m.vertices, np.float32), m.surface.faces) for m in meshes]
    heights = [np.maximum(v[:, 2] - floor, 0) for v, _ in bodies]
    cast = [
        v[:, :2] - h[:, None] * np.array([lx / lz, ly / lz], np.float32)
        for (v, _), h in zip(bodies, heights, strict=True)
    ]
    reached = np.concatenate([*cast, *(v[h < scale * _REACH, :2] for (v, _), h in zip(bodies, heights, strict=True))])
    reached = reached[np.isfinite(reached).all(-1)]
    if not len(reached):
        return None
    low, high = reached.min(0) - 0.3 * scale, reached.max(0) + 0.3 * scale
    texel = max(float((high - low).max()) / texels, 0.008 * scale)
    columns, rows = (int(np.ceil(s)) for s in (high - low) / texel)

    def flat(at: np.ndarray, values: np.ndarray, faces: np.ndarray, into: tuple | None) -> tuple:
        # the first value decides what lies on top where the flattened mesh folds over itself
        z = 2 - values[:, :1]
        points = np.concatenate([(at - low) / texel * z, z], axis=1)
        return rasterise(np.eye(3), (columns, rows), points, faces, values, into)

    key = under = None
    for mesh, (v, faces), h, q in zip(meshes, bodies, heights, cast, strict=True):
        casting = faces
        if mesh.surface.closed:  # one of its sides casts the same shadow as both, in half the time
            a, b, c = (q[faces[:, i]] for i in range(3))
            casting = faces[(b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) > (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])]
        sharp = np.exp(-h / (0.4 * scale))[:, None]
        key = flat(q, np.concatenate([sharp, 1 - sharp, np.ones_like(sharp)], axis=1), casting, key)
        near = faces[(h < scale * _REACH)[faces].all(-1)]
        under = flat(v[:, :2], np.repeat(np.exp(-h / (0.06 * scale))[:, None], 3, axis=1), near, under)
    assert key is not None and under is not None
    blurred = cv2.GaussianBlur(np.ascontiguousarray(key[0][..., 0]), (0, 0), 0.015 * scale / texel)
    blurred += cv2.GaussianBlur(np.ascontiguousarray(key[0][..., 1]), (0, 0), 0.06 * scale / texel)
    contact = cv2.GaussianBlur(np.ascontiguousarray(under[0][..., 0]), (0, 0), 0.02 * scale / texel)
    kept_off = 1 - (1 - _CAST * np.minimum(blurred, 1)) * (1 - _CONTACT * np.minimum(contact, 1))
    kept_off[[0, -1]] = kept_off[:, [0, -1]] = 0
    return Shadow(kept_off, (float(low[0]), float(low[1])), texel)


OVERHEAD = Light(towards=(0.0, 0.0, 1.0))
"""For shadows on the floor of footage, whose lamps are not known: soft ones, straight below."""
_NOWHERE = 1e6
"""Where pixels that see no floor are said to look, which no shadow reaches [m]."""


class SeenFloor:
    """Where on a flat floor each pixel of a camera that stands still looks, through its lens.

    Args:
        camera: Of the picture.
        floor: Height of the floor [m].
    """

    _step = 8
    """Every so many pixels a ray is computed, and those between are between: lenses bend slowly."""

    def __init__(self, camera: Camera, floor: float) -> None:
        self.camera, self.floor = camera, floor
        width, height = camera.size
        columns, rows = (np.linspace(0, s - 1, -(-s // self._step) + 1) for s in (width, height))
        rays = camera.rays(np.stack(np.meshgrid(columns, rows), axis=-1))
        u, v = np.meshgrid(
            np.arange(width, dtype=np.float32) * ((len(columns) - 1) / max(width - 1, 1)),
            np.arange(height, dtype=np.float32) * ((len(rows) - 1) / max(height - 1, 1)),
        )
        rays = cv2.remap(rays.astype(np.float32), u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
        with np.errstate(all="ignore"):  # a pixel that looks along the floor
            far = (np.float32(floor - camera.centre[2]) / rays[..., 2])[..., None]
            at = camera.centre[:2].astype(np.float32) + far * rays[..., :2]
        seen = there(at) & (far[..., 0] > 0) & (np.abs(at) < _NOWHERE).all(-1)
        self.x, self.y = (np.where(seen, at[..., i], np.float32(_NOWHERE)) for i in range(2))

    def darken(self, picture: UInt8[np.ndarray, "height width 3"], shadow: Shadow) -> None:
        """Takes the light that is kept off the floor from a picture of the camera's size, in place."""
        (xa, ya), _, (xb, yb), _ = shadow.corners
        grid = np.stack(np.meshgrid(np.linspace(xa, xb, 9), np.linspace(ya, yb, 9), self.floor), axis=-1).reshape(-1, 3)
        xy = seen_at(self.camera, grid)
        width, height = self.camera.size
        low, high = (xy.min(0), xy.max(0)) if there(xy).all() else (np.zeros(2), np.array([width, height]))
        x0, x1 = (int(np.clip(c, 0, width)) for c in (low[0] - 2, high[0] + 3))
        y0, y1 = (int(np.clip(c, 0, height)) for c in (low[1] - 2, high[1] + 3))
        if x1 > x0 and y1 > y0:
            part = np.s_[y0:y1, x0:x1]
            left = (1 - shadow.at(self.x[part], self.y[part])) ** 0.6  # nearer to linear light than plain products
            picture[part] = cv2.multiply(picture[part], cv2.cvtColor(left, cv2.COLOR_GRAY2RGB), dtype=cv2.CV_8U)
