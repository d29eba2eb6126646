"""Meshes as they are drawn: normals, light, and the lens, all per vertex, so that both back ends draw the same picture.

Body meshes are fine (a triangle is a few pixels), so shading and lens distortion at the vertices are enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array

from mocap.geometry.cameras import Camera
from mocap.geometry.rotations import between

NEAR = 0.05
"""Nothing nearer to the camera than this is drawn [m]."""
FAR = 1000.0
"""Nor anything farther [m]."""
GAMMA = 2.2
"""Colours are lit in linear light: what is stored and shown is linear ** (1 / GAMMA)."""


def there(xyz: Float[np.ndarray, "*batch dims"]) -> Bool[np.ndarray, "*batch"]:
    """Which points have all their coordinates."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(np.isfinite(xyz @ np.ones(xyz.shape[-1])))  # ten times as fast as isfinite(...).all(-1)


@dataclass(frozen=True, eq=False)
class Surface:
    """What stays when a mesh moves."""

    faces: Int[np.ndarray, "faces 3"]
    """Seen from outside, their vertices run anticlockwise."""
    colours: Float[np.ndarray, "vertices 3"]
    """In [0, 1]."""

    @cached_property
    def incidence(self) -> csr_array:
        """(vertices, faces): 1 where the face has the vertex."""
        columns = np.repeat(np.arange(len(self.faces)), 3)
        ones = np.ones(columns.size, np.float32)
        return csr_array((ones, (self.faces.ravel(), columns)), shape=(len(self.colours), len(self.faces)))

    @cached_property
    def closed(self) -> bool:
        """Whether it encloses a volume: each edge is run along once in either direction, so only one side is seen."""
        edges = self.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
        along, back = (np.unique(e @ np.array([len(self.colours), 1])) for e in (edges, edges[:, ::-1]))
        return len(along) == len(edges) and bool((along == back).all())

    @cached_property
    def albedo(self) -> Float[np.ndarray, "vertices 3"]:
        """The colours in linear light."""
        return (np.asarray(self.colours, np.float32) ** GAMMA).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Mesh:
    """A surface at one moment."""

    surface: Surface
    vertices: Float[np.ndarray, "vertices 3"]
    """World [m]."""

    @cached_property
    def normals(self) -> Float[np.ndarray, "vertices 3"]:
        """Unit normals: the mean of the adjoining faces', weighted by area."""
        a, b, c = np.moveaxis(np.asarray(self.vertices, np.float32)[self.surface.faces], 1, 0)
        n = self.surface.incidence @ _cross(b - a, c - a)
        return n / np.maximum(np.sqrt(np.einsum("vi,vi->v", n, n))[:, None], 1e-12)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """np.cross for (n, 3), several times faster."""
    ax, ay, az = a.T
    bx, by, bz = b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)


@dataclass(frozen=True)
class Light:
    """A warm key from one side, a cool sky, the floor's bounce, a faint gleam and a rim."""

    towards: tuple[float, float, float]
    """Unit vector from the scene to the key light."""
    key: float = 0.78
    sky: float = 0.36
    bounce: float = 0.20
    gleam: float = 0.05
    rim: float = 0.14


def light_from(camera: Camera) -> Light:
    """A light above the left shoulder of whoever looks through `camera`, never from under the horizon."""
    d = camera.R.T @ np.array([-0.55, -0.75, -0.85])
    d[2] = max(d[2], 0.6 * np.linalg.norm(d[:2]))
    x, y, z = d / np.linalg.norm(d)
    return Light((float(x), float(y), float(z)))


def lit(mesh: Mesh, eye: Float[np.ndarray, " 3"], light: Light) -> Float[np.ndarray, "vertices 3"]:
    """The colour each vertex shows to somebody at `eye` [m], in [0, 1].

    Diffuse light wraps a little past the terminator (a skin-like softness), a hemisphere lights from sky and floor,
    and a Blinn-Phong gleam and a rim give form (Blinn, 1977).
    """
    n = mesh.normals
    to_eye = (np.asarray(eye) - mesh.vertices).astype(np.float32)
    to_eye /= np.maximum(np.sqrt(np.einsum("vi,vi->v", to_eye, to_eye))[:, None], 1e-9)
    towards = np.array(light.towards, np.float32)
    wrap = 0.25
    key = light.key * np.maximum((n @ towards + wrap) / (1 + wrap), 0)
    up = 0.5 + 0.5 * n[:, 2]
    half = to_eye + towards
    half /= np.maximum(np.sqrt(np.einsum("vi,vi->v", half, half))[:, None], 1e-9)
    gleam = light.gleam * np.maximum(np.einsum("vi,vi->v", n, half), 0) ** 20
    rim = light.rim * (1 - np.clip(np.einsum("vi,vi->v", n, to_eye), 0, 1)) ** 3 * up
    incoming = (
        key[:, None] * np.array([1.04, 1.0, 0.94], np.float32)
        + (light.sky * up)[:, None] * np.array([0.95, 1.0, 1.08], np.float32)
        + (light.bounce * (1 - up))[:, None] * np.array([1.04, 1.0, 0.95], np.float32)
    )
    linear = mesh.surface.albedo * incoming + (gleam + rim)[:, None]
    return np.clip(linear, 0, 1) ** np.float32(1 / GAMMA)


def in_front(points: Float[np.ndarray, "points 3"]) -> Bool[np.ndarray, " points"]:
    """Which points, in camera axes, a back end may draw: triangles with another vertex are left out.

    Meshes are fine, so nothing is gained by cutting triangles at the near plane, and OpenCV cuts them wrong.
    """
    return there(points) & (points[:, 2] > NEAR)  # NaN compares False


def _fold(camera: Camera) -> float:
    """See :func:`_fold_of`, which is asked several times a frame."""
    return _fold_of(tuple(camera.K.ravel().tolist()), tuple(camera.distortion.tolist()), camera.fisheye)


@lru_cache(maxsize=64)
def _fold_of(K: tuple[float, ...], distortion: tuple[float, ...], fisheye: bool) -> float:
    """The distance from the axis, at depth 1, from which the lens model stops growing outwards.

    Polynomial distortions turn back far outside the picture; a point out there would be drawn inside it.
    """
    lens = Camera("lens", np.array(K).reshape(3, 3), np.array(distortion), np.eye(4), (1, 1), fisheye)
    r = np.linspace(0.01, 6.0, 300)
    angle = np.arange(8) * (np.pi / 4)
    points = np.stack(np.broadcast_arrays(r * np.cos(angle)[:, None], r * np.sin(angle)[:, None], 1.0), axis=-1)
    bent = np.linalg.norm(_normalised(lens, lens.project(points)[0]), axis=-1)
    turned = (np.diff(bent, axis=-1) <= 0).any(0)
    return float(r[np.argmax(turned)]) if turned.any() else np.inf


def _normalised(camera: Camera, xy: np.ndarray) -> np.ndarray:
    """Pixels back through K alone."""
    K = camera.K
    y = (xy[..., 1] - K[1, 2]) / K[1, 1]
    return np.stack([(xy[..., 0] - K[0, 2] - K[0, 1] * y) / K[0, 0], y], axis=-1)


def bent(camera: Camera, xyz: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 3"]:
    """World points [m] in camera axes [m], moved sideways so that K ALONE projects them where the lens does.

    A plain pinhole rasteriser then draws the distorted picture. Points behind the camera, or so far aside that the
    lens model folds back, keep their places.
    """
    p = camera.to_camera(np.asarray(xyz, dtype=float))
    if not camera.distortion.any() and not camera.fisheye:
        return p
    xy, depth = camera.project(xyz)
    z = np.where(depth > NEAR, depth, np.nan)
    inside = np.hypot(p[:, 0] / z, p[:, 1] / z) < _fold(camera)  # NaN compares False
    moved = np.concatenate([_normalised(camera, xy) * depth[:, None], depth[:, None]], axis=1)
    return np.where(inside[:, None], moved, p)


def seen_at(camera: Camera, xyz: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 2"]:
    """Pixels of world points [m]; NaN behind the camera, and outside the picture where the lens model folds back."""
    p = bent(camera, xyz)
    z = np.where(p[:, 2:] > NEAR, p[:, 2:], np.nan)
    return (p / z) @ camera.K[:2].T


def _ball() -> tuple[np.ndarray, np.ndarray]:
    """A unit sphere of 12 x 8 quads: vertices (., 3), faces (., 3)."""
    around, along = 12, 8
    theta = np.linspace(0, np.pi, along + 1)
    phi = np.arange(around) * (2 * np.pi / around)
    s, c = np.sin(theta)[:, None], np.cos(theta)[:, None]
    vertices = np.stack(np.broadcast_arrays(s * np.cos(phi), s * np.sin(phi), c), axis=-1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(along), np.arange(around), indexing="ij")
    a, b = i * around + j, i * around + (j + 1) % around
    c_, d = a + around, b + around
    faces = np.stack([np.stack([a, c_, d], -1), np.stack([a, d, b], -1)], axis=2).reshape(-1, 3)
    return vertices.astype(np.float32), faces.astype(np.int32)


def sticks(
    joints: Float[np.ndarray, "joints 3"],
    limbs: Int[np.ndarray, "limbs 2"],
    colours: Float[np.ndarray, "limbs 3"],
    *,
    radius: float | Float[np.ndarray, " joints"] = 0.018,
) -> Mesh | None:
    """A skeleton as a mesh: a slim spindle per limb and a ball per joint; limbs with a missing (NaN) end are left out.

    Args:
        joints: World [m], NaN where missing.
        limbs: Pairs of joints.
        colours: One per limb, in [0, 1].
        radius: Of the balls [m]; a limb is as slim as the slimmer of its ends.

    Returns:
        The mesh, or None when nothing is there.
    """
    ball, ball_faces = _ball()
    known = there(joints)
    radii = np.broadcast_to(radius, len(joints))
    whole = known[limbs].all(-1)
    limbs, colours = limbs[whole], colours[whole]
    a, b = joints[limbs[:, 0]], joints[limbs[:, 1]]
    length = np.linalg.norm(b - a, axis=-1)
    solid = length > 1e-6
    a, b, length, colours = a[solid], b[solid], length[solid], colours[solid]
    if not known.any():
        return None
    turn = between(np.broadcast_to([0.0, 0.0, 1.0], a.shape), b - a)
    slim = 0.7 * radii[limbs].min(1)[solid]
    stretched = ball * np.stack(np.broadcast_arrays(slim, slim, length / 2), axis=-1)[:, None, :]
    spindles = np.einsum("lij,lvj->lvi", turn, stretched) + 0.5 * (a + b)[:, None, :]
    balls = joints[known][:, None, :] + radii[known, None, None] * ball
    vertices = np.concatenate([spindles, balls]).reshape(-1, 3)
    starts = np.arange(len(spindles) + len(balls)) * len(ball)
    faces = (starts[:, None, None] + ball_faces).reshape(-1, 3).astype(np.int32)
    tints = np.concatenate([colours, np.full((len(balls), 3), 0.9)])
    return Mesh(Surface(faces, np.repeat(tints, len(ball), axis=0)), vertices)
