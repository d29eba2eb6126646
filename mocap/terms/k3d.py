"""Loss `k3d`: the body's keypoints where they were triangulated."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import NonNegativeFloat, PositiveFloat

from mocap.bodies.kinematics import Posed
from mocap.errors import DataError
from mocap.geometry import robust
from mocap.options import options
from mocap.terms.base import Bound, Data, Residuals, Term, by_part

_PLACE = (0.012, 0.008)
"""What detectors and the body disagree about where a joint of a body is, and a point of a hand, per axis [m]: 10-40 mm
for mediapipe's body, measured on renderings. Its points of a hand are off by 1-5 mm each, and for half a second all
together: with 8 mm two thirds of the errors on the shipped take of hands are within their error bars (with 3 mm one
third), and the many points of a body's hand do not pull its arm."""
_START = (0.01, 0.003)
"""Expected error of such points before the take has told it, and of the model beside what they bring with them [m]."""


@options
class K3d(Term):
    """Distance of the body's keypoints from the triangulated ones, weighted by their own uncertainty."""

    needs: ClassVar[frozenset[str]] = frozenset({"keypoints3d"})

    sigma: PositiveFloat | None = None
    """How far the body's keypoints may be from perfectly measured ones, per axis [m]; null: told from the take itself,
    for each keypoint."""
    place: NonNegativeFloat | None = None
    """How far points sit from where the body has them, the same way in frame after frame [m]; null: 0.012 for points
    triangulated from detections, 0.008 for those of hands, and 0 for points that came as such."""
    robust: PositiveFloat = 3.0
    """Errors beyond this many sigmas per axis count less and less (Cauchy)."""
    weight: NonNegativeFloat = 1.0
    """Multiplies the cost; 0 switches the loss off."""

    def bind(self, data: Data) -> BoundK3d | None:
        """Whitens each point by the root of its covariance, plus `sigma` squared, plus what its place is unsure by."""
        if self.weight == 0:
            return None
        points = data.keypoints3d
        if points is None:
            raise DataError("Loss k3d needs 3D keypoints.")
        hands = points.skeleton.of_hands()
        sigma = np.where(hands, _START[1], _START[0]) if self.sigma is None else self.sigma
        seen = points.confidence > 0
        place = points.skeleton.place_sigma()
        gain = np.zeros(points.confidence.shape)
        root = None
        variance = sigma**2 / np.where(seen, points.confidence, 1.0) + place**2
        if np.isfinite(points.covariance).any():
            measured = np.where(np.isfinite(points.covariance), points.covariance, 0.0)
            total = measured + variance[..., None, None] * np.eye(3)
            root = np.linalg.inv(np.linalg.cholesky(total))
            gain[seen] = np.sqrt(self.weight)
        else:
            gain[seen] = np.sqrt(self.weight / variance[seen])
        usual = np.zeros(len(place)) if root is None else np.where(hands, _PLACE[1], _PLACE[0])
        return BoundK3d(
            np.where(seen[..., None], points.xyz, 0.0),
            gain,
            root,
            np.full(len(place), self.robust * np.sqrt(3 * self.weight)),
            self.weight,
            factor=np.ones(len(place)),
            place=usual if self.place is None else np.full(len(place), self.place),
            estimated=np.full(len(place), self.sigma is None) & (place == 0),
            names=points.skeleton.joints,
            hands=hands,
            discount=np.ones(len(place)),
        )


@dataclass(frozen=True, eq=False)
class BoundK3d(Bound):
    """The loss with its points."""

    xyz: Float[np.ndarray, "frames keypoints 3"]
    gain: Float[np.ndarray, "frames keypoints"]
    """Zero where the point is missing; [1/m] without `root`."""
    root: Float[np.ndarray, "frames keypoints 3 3"] | None
    """Inverse Cholesky factor of the covariance [1/m]; None where the errors are alike in all directions."""
    scale: Float[np.ndarray, " keypoints"]
    weight: float
    factor: Float[np.ndarray, " keypoints"]
    """How many times as large as at first each keypoint's expected error is; `gain` has it."""
    place: Float[np.ndarray, " keypoints"]
    """What a point may be off by for long [m]: it does not show as noise, yet limits what they tell of a pose."""
    estimated: Bool[np.ndarray, " keypoints"]
    """Keypoints whose expected error the take itself tells."""
    names: tuple[str, ...]
    hands: Bool[np.ndarray, " keypoints"]
    """Which are points of hands."""
    discount: Float[np.ndarray, " keypoints"]
    """Part of the loss's weight that is left for what the points are off by for long; `gain` and `scale` have it."""

    def relaxed(self) -> BoundK3d:
        """A point that is far off still pulls: from afar, being far off does not make it an outlier."""
        return dataclasses.replace(self, scale=10 * self.scale)

    def with_errors(self, factor: Float[np.ndarray, " keypoints"]) -> BoundK3d:
        """The loss with each keypoint's expected error so many times as large."""
        return dataclasses.replace(self, gain=self.gain / factor, factor=self.factor * factor)

    def discounted(self, parts: tuple[float, float]) -> BoundK3d:
        """The loss with so small a part of its weight, of a body's points and of hands'."""
        part = np.where(self.hands, parts[1], parts[0])
        return dataclasses.replace(
            self,
            gain=self.gain * np.sqrt(part / self.discount),
            scale=self.scale * np.sqrt(part / self.discount),
            discount=part,
        )

    def sigma(self) -> Float[np.ndarray, " keypoints"]:
        """The expected error of each keypoint [m]; NaN where it was never seen."""
        gain = np.where(self.gain > 0, self.gain, np.nan) / np.sqrt(self.weight * self.discount)
        seen = np.asarray(np.isfinite(gain).any(0))
        if self.root is not None:
            gain = gain * np.sqrt(np.einsum("fkij,fkij->fk", self.root, self.root) / 3)
        sigma = np.full(len(seen), np.nan)
        sigma[seen] = 1 / np.nanmedian(gain[:, seen], axis=0)
        return sigma

    def longest_gap(self) -> int:
        """Frames in a row without a keypoint that was seen at some time."""
        unseen = self.gain[:, (self.gain > 0).any(0)] == 0
        runs = np.diff(np.flatnonzero(np.diff(np.pad(unseen, ((1, 1), (0, 0))).T.ravel().astype(int))))[::2]
        return int(runs.max(initial=0))

    def sharpened(self) -> BoundK3d:
        """The loss with the curvature that Gaussian errors of the expected size have.

        The kernel lowers the weight of every error a little, so the curvature is lower than what the points tell: by
        E[w] E[psi^2] / E[psi']^2 (Huber, "Robust statistics", 1981, section 6.3), psi(r) = w r over chi-square errors
        of three axes.
        """
        c = float(self.scale[0] ** 2 / (self.weight * self.discount[0]))  # the same for all
        s = np.linspace(1e-6, 60, 4000)
        density = np.sqrt(s) * np.exp(-s / 2)
        w = c / (c + s)
        mean, squared, slope = (
            (density * f).sum() / density.sum() for f in (w, w**2 * s / 3, w - 2 * s / 3 * w**2 / c)
        )
        lost = squared / slope**2 * mean
        return dataclasses.replace(self, gain=self.gain / np.sqrt(lost), scale=self.scale / np.sqrt(lost))

    def facts(self) -> dict[str, object]:
        """The expected error of each keypoint [m]."""
        sigma = self.sigma()
        return {
            "sigma": {name: float(s) for name, s in zip(self.names, sigma, strict=True) if np.isfinite(s)},
            "place": by_part(self.place, self.hands),
            "discount": by_part(self.discount, self.hands),
        }

    def whitening(self, frames: Int[np.ndarray, " frames"]) -> Float[np.ndarray, "frames keypoints 3 3"]:
        """What differences are multiplied with [1/m]."""
        gain = self.gain[frames][..., None, None]
        return gain * (np.eye(3) if self.root is None else self.root[frames])

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """Whitened differences."""
        root = self.whitening(frames)
        r = (root @ (posed.keypoints - self.xyz[frames])[..., None])[..., 0]
        return [Residuals.of("keypoints", r, {0: root}, kernel=lambda s: robust.cauchy(s, self.scale))]
