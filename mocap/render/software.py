"""The back end that needs nothing but OpenCV 5: its triangle rasteriser, supersampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from jaxtyping import Float, Int

from mocap.geometry.cameras import Camera
from mocap.render.layer import Layer, nothing, window_of
from mocap.render.mesh import FAR, NEAR, Light, Mesh, bent, in_front, lit

EMPTY = 0.99 * FAR
"""A depth beyond this [m] says that nothing was drawn: OpenCV hands back `FAR` with rounding."""
_FINER = 3
"""Samples per pixel and axis. OpenCV snaps vertices to whole samples, so 2 shows steps at slanting edges."""


def _settings() -> cv2.TriangleRasterizeSettings:
    settings = cv2.TriangleRasterizeSettings()
    settings.setCullingMode(cv2.RASTERIZE_CULLING_NONE)
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    return settings


def rasterise(
    K: Float[np.ndarray, "3 3"],
    size: tuple[int, int],
    points: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    values: Float[np.ndarray, "vertices 3"],
    into: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[Float[np.ndarray, "height width 3"], Float[np.ndarray, "height width"]]:
    """Triangles seen by a pinhole: values interpolated over them, and depth.

    Args:
        K: Intrinsic matrix [px]; pixel (0, 0) is the centre of the top left pixel.
        size: Width and height [px].
        points: In camera axes [m]; faces with a point that :func:`in_front` refuses are left out.
        faces: Triples of points.
        values: Three per point, in [0, 1].
        into: Values and depths drawn so far, changed in place: what is nearer hides what is farther.

    Returns:
        Values (0 where nothing was drawn) and depth [m] (`EMPTY` or more there).
    """
    width, height = size
    if into is None:
        into = np.zeros((height, width, 3), np.float32), np.full((height, width), FAR, np.float32)
    points = np.asarray(points, np.float32)
    usable = in_front(points)
    if not usable.all():
        faces = faces[usable[faces].all(-1)]
        points = np.where(usable[:, None], points, np.float32(1))
    if not len(faces):
        return into
    # OpenCV wants OpenGL's axes, square pixels, a centred principal point, and counts u from the pixel's EDGE
    focal = float(K[1, 1])
    x, y, z = points.T
    gl = np.empty_like(points)
    gl[:, 0] = (K[0, 0] * x + K[0, 1] * y + (K[0, 2] + 0.5 - width / 2) * z) / focal
    gl[:, 1] = -y - (K[1, 2] + 0.5 - height / 2) / focal * z
    gl[:, 2] = -z
    cv2.triangleRasterize(
        gl,
        np.ascontiguousarray(faces, np.int32),
        np.ascontiguousarray(values, np.float32),
        into[0],
        into[1],
        np.eye(4, dtype=np.float32),
        2 * float(np.arctan(height / 2 / focal)),
        NEAR,
        FAR,
        _settings(),
    )
    return into


class SoftwareRasteriser:
    """Meshes through `cv2.triangleRasterize`, each pixel the mean of 3 x 3 samples."""

    name = "software"
    device = f"OpenCV {cv2.__version__}"

    def draw(
        self, camera: Camera, meshes: Sequence[Mesh], light: Light, meanwhile: Callable[[], None] = nothing
    ) -> Layer | None:
        """See :class:`mocap.render.layer.Rasteriser`."""
        meanwhile()
        placed = [bent(camera, mesh.vertices) for mesh in meshes]
        window = window_of(camera, placed)
        if window is None:
            return None
        x0, y0, width, height = window
        K = camera.K.copy()
        K[:2, 2] -= x0, y0
        K[:2] *= _FINER
        K[:2, 2] += 0.5 * (_FINER - 1)
        drawn = None
        for mesh, points in zip(meshes, placed, strict=True):
            colours = lit(mesh, camera.centre, light)
            drawn = rasterise(K, (width * _FINER, height * _FINER), points, mesh.surface.faces, colours, drawn)
        assert drawn is not None
        colour, depth = drawn
        rgba = np.empty((height, width, 4), np.uint8)
        rgba[..., :3] = cv2.resize(colour, (width, height), interpolation=cv2.INTER_AREA) * 255 + 0.5
        cover = (depth < EMPTY).view(np.uint8) * np.uint8(255)
        rgba[..., 3] = cv2.resize(cover, (width, height), interpolation=cv2.INTER_AREA)
        return Layer(rgba, (x0, y0))

    def close(self) -> None:
        """Nothing is held."""
