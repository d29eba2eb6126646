"""Pinhole cameras with OpenCV's distortion, vectorised over points, with the Jacobian of the projection.

Pixel (0, 0) is the CENTRE of the top left pixel, as in OpenCV. Camera axes: x right, y down, z forward.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from mocap.errors import CalibrationError, UnknownName

_COEFFICIENTS = (0, 4, 5, 8, 12)

Numbers = np.ndarray | np.floating
"""One coordinate of a batch of points; NumPy makes a scalar of it when the batch is a single point."""


@dataclass(frozen=True)
class Camera:
    """One calibrated camera.

    Attributes:
        name: Text, matched against the views of the footage.
        K: Intrinsic matrix [px], (3, 3).
        distortion: k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4]]] in OpenCV's order, or k1 k2 k3 k4 of a fisheye.
        T_camera_world: Maps world points [m] to camera points [m], (4, 4).
        size: Width and height of the image the calibration belongs to [px].
        fisheye: Whether `distortion` is of OpenCV's fisheye model (Kannala-Brandt).
    """

    name: str
    K: Float[np.ndarray, "3 3"]
    distortion: Float[np.ndarray, " coefficients"]
    T_camera_world: Float[np.ndarray, "4 4"]
    size: tuple[int, int]
    fisheye: bool = False

    def __post_init__(self) -> None:
        for name in ("K", "distortion", "T_camera_world"):
            value = np.array(getattr(self, name), dtype=float)
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        if self.K.shape != (3, 3) or self.T_camera_world.shape != (4, 4):
            raise CalibrationError(f'Camera "{self.name}": K must be 3x3 and T_camera_world 4x4.')
        if not all(np.isfinite(x).all() for x in (self.K, self.distortion, self.T_camera_world)):
            raise CalibrationError(f'Camera "{self.name}" has numbers that are not finite in its calibration.')
        if self.K[0, 0] <= 0 or self.K[1, 1] <= 0:
            raise CalibrationError(f'Camera "{self.name}": focal lengths must be positive, not {self.K[0, 0]:g}.')
        allowed = (4,) if self.fisheye else _COEFFICIENTS
        if self.distortion.size not in allowed:
            raise CalibrationError(
                f'Camera "{self.name}" has {self.distortion.size} distortion coefficients; '
                f"{', '.join(map(str, allowed))} are understood."
            )
        R = self.R
        if np.abs(R @ R.T - np.eye(3)).max() > 1e-3 or np.linalg.det(R) < 0:
            raise CalibrationError(f'Camera "{self.name}": its rotation is not a rotation matrix.')

    @property
    def R(self) -> Float[np.ndarray, "3 3"]:
        """Rotation, world to camera."""
        return self.T_camera_world[:3, :3]

    @property
    def t(self) -> Float[np.ndarray, " 3"]:
        """Translation, world to camera [m]."""
        return self.T_camera_world[:3, 3]

    @property
    def centre(self) -> Float[np.ndarray, " 3"]:
        """Where the camera stands in the world [m]."""
        return -self.R.T @ self.t

    @property
    def longer_side(self) -> float:
        """The longer side of the image [px]: what relative thresholds are relative to."""
        return float(max(self.size))

    def scaled_to(self, size: tuple[int, int]) -> Camera:
        """This camera for footage resized to `size` [px]; pixel centres stay where they are."""
        s = np.array([size[0] / self.size[0], size[1] / self.size[1]])
        K = self.K.copy()
        K[:2] *= s[:, None]
        K[:2, 2] += 0.5 * (s - 1)
        return dataclasses.replace(self, K=K, size=size)

    def to_camera(self, xyz: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """World points [m] in this camera's axes [m]."""
        return xyz @ self.R.T + self.t

    def _distort(self, a: Numbers, b: Numbers, *, jacobian: bool) -> tuple[Numbers, Numbers, np.ndarray | None]:
        """Normalised coordinates through the distortion, with d(x, y)/d(a, b) (..., 2, 2) when asked."""
        if self.fisheye:
            return self._distort_fisheye(a, b, jacobian=jacobian)
        k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = (*self.distortion, *(0.0,) * (12 - self.distortion.size))
        r2 = a * a + b * b
        num = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        den = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
        radial = num / den
        ab = a * b
        x = a * radial + 2 * p1 * ab + p2 * (r2 + 2 * a * a) + r2 * (s1 + s2 * r2)
        y = b * radial + p1 * (r2 + 2 * b * b) + 2 * p2 * ab + r2 * (s3 + s4 * r2)
        if not jacobian:
            return x, y, None
        dnum = k1 + r2 * (2 * k2 + 3 * k3 * r2)
        dden = k4 + r2 * (2 * k5 + 3 * k6 * r2)
        dradial = (dnum - radial * dden) / den  # by r2
        dx_r2 = a * dradial + p2 + s1 + 2 * s2 * r2
        dy_r2 = b * dradial + p1 + s3 + 2 * s4 * r2
        J = np.empty((*a.shape, 2, 2))
        J[..., 0, 0] = radial + 2 * p1 * b + 4 * p2 * a + dx_r2 * 2 * a
        J[..., 0, 1] = 2 * p1 * a + dx_r2 * 2 * b
        J[..., 1, 0] = 2 * p2 * b + dy_r2 * 2 * a
        J[..., 1, 1] = radial + 4 * p1 * b + 2 * p2 * a + dy_r2 * 2 * b
        return x, y, J

    def _distort_fisheye(self, a: Numbers, b: Numbers, *, jacobian: bool) -> tuple[Numbers, Numbers, np.ndarray | None]:
        r = np.sqrt(a * a + b * b)
        theta = np.arctan(r)
        t2 = theta * theta
        k1, k2, k3, k4 = self.distortion
        bent = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
        safe = np.where(r > 1e-9, r, 1.0)
        scale = np.where(r > 1e-9, bent / safe, 1.0)
        if not jacobian:
            return a * scale, b * scale, None
        dbent = (1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))) / (1 + r * r)
        dscale_over_r = np.where(r > 1e-9, (dbent - scale) / safe**2, 0.0)
        J = np.empty((*a.shape, 2, 2))
        J[..., 0, 0] = scale + dscale_over_r * a * a
        J[..., 0, 1] = J[..., 1, 0] = dscale_over_r * a * b
        J[..., 1, 1] = scale + dscale_over_r * b * b
        return a * scale, b * scale, J

    def project(
        self, xyz: Float[np.ndarray, "*batch 3"]
    ) -> tuple[Float[np.ndarray, "*batch 2"], Float[np.ndarray, "*batch"]]:
        """World points [m] to pixels and depth [m]; a point at or behind the camera has NaN pixels."""
        p = self.to_camera(xyz)
        depth = p[..., 2]
        z = np.where(depth > 1e-6, depth, np.nan)
        x, y, _ = self._distort(p[..., 0] / z, p[..., 1] / z, jacobian=False)
        K = self.K
        return np.stack([K[0, 0] * x + K[0, 1] * y + K[0, 2], K[1, 1] * y + K[1, 2]], axis=-1), np.asarray(depth)

    def project_with_jacobian(
        self, xyz: Float[np.ndarray, "*batch 3"]
    ) -> tuple[Float[np.ndarray, "*batch 2"], Float[np.ndarray, "*batch 2 3"]]:
        """World points [m] to pixels, with d pixels / d point [px/m]; NaN at or behind the camera."""
        p = self.to_camera(xyz)
        z = np.where(p[..., 2] > 1e-6, p[..., 2], np.nan)
        a, b = p[..., 0] / z, p[..., 1] / z
        x, y, J = self._distort(a, b, jacobian=True)
        assert J is not None
        K = self.K
        xy = np.stack([K[0, 0] * x + K[0, 1] * y + K[0, 2], K[1, 1] * y + K[1, 2]], axis=-1)
        # written out, and all rows turned at once: products of small matrices one by one take several times as long
        in_camera = np.empty((*np.shape(z), 2, 3))
        in_camera[..., 0, :2] = (K[0, 0] * J[..., 0, :] + K[0, 1] * J[..., 1, :]) / z[..., None]
        in_camera[..., 1, :2] = K[1, 1] * J[..., 1, :] / z[..., None]
        in_camera[..., 2] = -(in_camera[..., 0] * a[..., None] + in_camera[..., 1] * b[..., None])
        return xy, (in_camera.reshape(-1, 3) @ self.R).reshape(in_camera.shape)

    def undistort(self, xy: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
        """Pixels to normalised coordinates: the ray through the pixel is (x, y, 1).

        NaN stays NaN, and a pixel no ray leads to (beyond where the distortion folds back) becomes NaN. Newton's
        method on the projection's own distortion, rather than OpenCV's fixed-point iteration: it converges to
        rounding in a few steps, and does not depend on which of its undistortion functions an OpenCV has.
        """
        y = (xy[..., 1] - self.K[1, 2]) / self.K[1, 1]
        x = (xy[..., 0] - self.K[0, 2] - self.K[0, 1] * y) / self.K[0, 0]
        if self.fisheye:
            return self._undistort_fisheye(x, y)
        start = np.stack([x, y], axis=-1)
        if not self.distortion.any():
            return start
        wanted = start.reshape(-1, 2)
        out = np.full(wanted.shape, np.nan)
        active = np.flatnonzero(np.isfinite(wanted).all(-1))
        a, b = wanted[active].T
        with np.errstate(all="ignore"):  # a pixel without a ray may run away, and is left missing
            for _ in range(30):
                u, v, J = self._distort(a, b, jacobian=True)
                assert J is not None
                du, dv = (wanted[active] - np.stack([u, v], axis=-1)).T
                det = J[:, 0, 0] * J[:, 1, 1] - J[:, 0, 1] * J[:, 1, 0]
                da, db = (J[:, 1, 1] * du - J[:, 0, 1] * dv) / det, (J[:, 0, 0] * dv - J[:, 1, 0] * du) / det
                done = np.abs(du) + np.abs(dv) <= 1e-12
                right = done & (det > 0) & (J[:, 0, 0] + J[:, 1, 1] > 0)  # not past the fold
                out[active[right]] = np.stack([a[right], b[right]], axis=-1)
                active, a, b = active[~done], (a + da)[~done], (b + db)[~done]
                if not len(active):
                    break
        return out.reshape(start.shape)

    def _undistort_fisheye(self, x: Numbers, y: Numbers) -> np.ndarray:
        """Newton's method on the angle from the optical axis, in which the model is a polynomial."""
        bent = np.sqrt(x * x + y * y)
        k1, k2, k3, k4 = self.distortion
        theta, lost = bent, np.zeros(bent.shape, dtype=bool)
        with np.errstate(all="ignore"):
            for _ in range(30):
                t2 = theta * theta
                left = bent - theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
                slope = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
                lost = ~((np.abs(left) < 1e-9) & (slope > 0) & (theta < np.pi / 2) & (theta > -1e-9))
                if not (np.abs(left) > 1e-12).any():
                    break
                theta = theta + left / slope
            scale = np.where(bent > 1e-12, np.tan(theta) / np.where(bent > 1e-12, bent, 1.0), 1.0)
        return np.where(lost[..., None], np.nan, np.stack([x * scale, y * scale], axis=-1))

    def pixels_per_radian(self, plane: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch"]:
        """How many pixels a small angle is at normalised coordinates `plane`: the root of pixels^2 per steradian."""
        a, b = plane[..., 0], plane[..., 1]
        area = (1 + a * a + b * b) ** 1.5 * self.K[0, 0] * self.K[1, 1]  # a solid angle is da db / |(a, b, 1)|^3
        if self.fisheye or self.distortion.any():
            J = self._distort(a, b, jacobian=True)[2]
            assert J is not None
            area = area * np.abs(J[..., 0, 0] * J[..., 1, 1] - J[..., 0, 1] * J[..., 1, 0])
        return np.asarray(np.sqrt(area))

    def rays(self, xy: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 3"]:
        """Unit directions in the world of the rays through pixels; NaN stays NaN."""
        n = self.undistort(xy)
        d = np.concatenate([n, np.ones_like(n[..., :1])], axis=-1) @ self.R
        return d / np.linalg.norm(d, axis=-1, keepdims=True)


LEVEL = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""World to camera of a level camera that looks along the world's +y: its x is the world's, its y the world's -z."""


def level_camera(name: str, focal: float, size: tuple[int, int]) -> Camera:
    """What stands for a camera without calibration: level, at the world's origin, looking along +y, no distortion.

    Args:
        name: Of the view.
        focal: Focal length [px].
        size: Width and height of the image [px], whose centre is the principal point.
    """
    K = np.array([[focal, 0.0, (size[0] - 1) / 2], [0.0, focal, (size[1] - 1) / 2], [0.0, 0.0, 1.0]])
    T = np.eye(4)
    T[:3, :3] = LEVEL
    return Camera(name, K, np.zeros(5), T, size)


@dataclass(frozen=True)
class Rig:
    """Cameras of one take, found by name, in a z-up world with the floor at z = 0 where `has_floor` says so."""

    cameras: tuple[Camera, ...]
    has_floor: bool = False
    """Whether the dataset says that z = 0 is the floor."""
    R_world_file: Float[np.ndarray, "3 3"] = field(default_factory=lambda: np.eye(3))
    """Turns the axes of the calibration's file to this world's: what a sentence about the file's axes needs."""

    def __post_init__(self) -> None:
        names = [c.name for c in self.cameras]
        if len(set(names)) < len(names):
            raise CalibrationError(f"Two cameras have the same name among {', '.join(names)}.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cameras, in the order of the rig."""
        return tuple(c.name for c in self.cameras)

    def __getitem__(self, name: str) -> Camera:
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise UnknownName("camera", name, self.names)

    def __iter__(self) -> Iterator[Camera]:
        return iter(self.cameras)

    def __len__(self) -> int:
        return len(self.cameras)

    def only(self, names: Iterable[str]) -> Rig:
        """The rig with just these cameras, in this order."""
        return dataclasses.replace(self, cameras=tuple(self[n] for n in names))
