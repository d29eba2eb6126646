"""Small scenes the tests of this folder draw."""

from __future__ import annotations

import numpy as np

from mocap.geometry.cameras import Camera
from mocap.render.mesh import Mesh, Surface, _ball

SIZE = (640, 480)
K = np.array([[500.0, 0, 310], [0, 520, 250], [0, 0, 1]])
LENS = np.array([-0.28, 0.09, 1e-3, -5e-4, -0.01])


def camera(distortion=LENS, *, fisheye=False) -> Camera:
    return Camera("a", K, distortion, np.eye(4), SIZE, fisheye)


def ball(centre=(0.0, 0.0, 3.0), radius=0.2) -> Mesh:
    vertices, faces = _ball()
    return Mesh(Surface(faces, np.full((len(vertices), 3), 0.7)), vertices * radius + np.array(centre))


def rectangle(u0: float, u1: float, v0: float, v1: float, depth: float = 2.0, colour=(0.5, 0.5, 0.5)) -> Mesh:
    """Two triangles that reach from pixel coordinate (u0, v0) to (u1, v1)."""
    uv = np.array([[u0, v0], [u1, v0], [u1, v1], [u0, v1]])
    xyz = np.column_stack([(uv - K[:2, 2]) / [K[0, 0], K[1, 1]] * depth, np.full(4, depth)])
    return Mesh(Surface(np.array([[0, 2, 1], [0, 3, 2]], np.int32), np.tile(colour, (4, 1))), xyz)


def sheet(corner: np.ndarray, along: np.ndarray, across: np.ndarray, cells: int) -> Mesh:
    """A flat grid of cells x cells squares."""
    i, j = np.meshgrid(np.arange(cells + 1), np.arange(cells + 1), indexing="ij")
    vertices = corner + (i[..., None] * along + j[..., None] * across) / cells
    k = (i * (cells + 1) + j)[:-1, :-1].ravel()
    faces = np.concatenate(
        [np.stack([k, k + cells + 1, k + 1], -1), np.stack([k + 1, k + cells + 1, k + cells + 2], -1)]
    )
    return Mesh(Surface(faces.astype(np.int32), np.full(((cells + 1) ** 2, 3), 0.5)), vertices.reshape(-1, 3))
