"""Loss `k3d`: the body's keypoints where they were triangulated."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveFloat

from mocap.bodies.kinematics import Posed
from mocap.errors import DataError
from mocap.geometry import robust
from mocap.options import options
from mocap.terms.base import Bound, Data, Residuals, Term


@options
class K3d(Term):
    """Distance of the body's keypoints from the triangulated ones, weighted by their own uncertainty."""

    needs: ClassVar[frozenset[str]] = frozenset({"keypoints3d"})

    sigma: PositiveFloat = 0.015
    """How far the body's keypoints may be from perfectly measured ones, per axis [m]."""
    robust: PositiveFloat = 3.0
    """Errors beyond this many sigmas count less and less (Cauchy)."""
    weight: NonNegativeFloat = 1.0
    """Multiplies the cost; 0 switches the loss off."""

    def bind(self, data: Data) -> BoundK3d | None:
        """Whitens each point by the root of its covariance, plus `sigma` squared, plus what its place is unsure by."""
        if self.weight == 0:
            return None
        points = data.keypoints3d
        if points is None:
            raise DataError("Loss k3d needs 3D keypoints.")
        seen = points.confidence > 0
        measured = np.where(np.isfinite(points.covariance), points.covariance, 0.0)
        variance = self.sigma**2 / np.where(seen, points.confidence, 1.0) + points.skeleton.place_sigma() ** 2
        total = measured + variance[..., None, None] * np.eye(3)
        root = np.linalg.inv(np.linalg.cholesky(total)) * np.sqrt(self.weight)
        root[~seen] = 0.0
        return BoundK3d(np.where(seen[..., None], points.xyz, 0.0), root, self.robust * np.sqrt(self.weight))


@dataclass(frozen=True, eq=False)
class BoundK3d(Bound):
    """The loss with its points."""

    xyz: Float[np.ndarray, "frames keypoints 3"]
    root: Float[np.ndarray, "frames keypoints 3 3"]
    """Inverse Cholesky factor of the covariance [1/m]; zero where the point is missing."""
    scale: float

    def relaxed(self) -> BoundK3d:
        """A point that is far off still pulls: from afar, being far off does not make it an outlier."""
        return dataclasses.replace(self, scale=10 * self.scale)

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """Whitened differences."""
        root = self.root[frames]
        r = (root @ (posed.keypoints - self.xyz[frames])[..., None])[..., 0]
        return [Residuals.of("keypoints", r, {0: root}, kernel=lambda s: robust.cauchy(s, self.scale))]
