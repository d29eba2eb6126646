"""Loss `k2d`: the body's keypoints where a picture shows them, as SMPLify has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeFloat, PositiveFloat

from mocap.bodies import kinematics
from mocap.bodies.kinematics import Posed
from mocap.bodies.model import BodyModel
from mocap.errors import DataError, UnknownName
from mocap.geometry import robust
from mocap.options import options
from mocap.skeletons import SKELETONS, Skeleton
from mocap.terms.base import Bound, Data, Residuals, Term
from mocap.terms.refine_2d import SeenBy, jacobians

REFERENCE = 150 / 1.7
"""Of SMPLify's people, some 150 px tall [px/m]: what its weights and thresholds, given in pixels, belong to."""
_TORSO = (("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"))


@options
class K2d(Term):
    """Reprojection error in pixels of a picture that shows the person 150 px tall, by coordinate, robust, times the
    confidence (Bogo et al., "Keep it SMPL", 2016, equation 2; the confidence is squared with the error, as in their
    program). One picture at a time of each camera; for several calibrated cameras, `refine_2d` is the better one.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"keypoints2d", "rig"})

    sigma: PositiveFloat = 100.0
    """Errors beyond this count less and less (Geman-McClure) [px of a person 150 px tall]."""
    joints: Mapping[str, NonNegativeFloat] = Field(default_factory=lambda: {"neck": 0.0})
    """Weights of joints by name, 1 for those not named. LSP's neck is no point of the body, as in the paper; of hips
    some say {left_hip: 0.5, right_hip: 0.5}."""
    weight: NonNegativeFloat = 1.0
    """Multiplies the cost; 0 switches the loss off."""

    def check(self) -> None:
        """UnknownName for a joint that no keypoint set has."""
        known = sorted({joint for skeleton in SKELETONS.values() for joint in skeleton.joints})
        for joint in self.joints:
            if joint not in known:
                raise UnknownName("joint", joint, known, where="k2d.joints")

    def bind(self, data: Data) -> BoundK2d | None:
        """Each view at the nearest moments of the take, with its own pixels a metre."""
        if self.weight == 0:
            return None
        if data.keypoints2d is None or data.rig is None:
            raise DataError("Loss k2d needs 2D keypoints and cameras.")
        views, scales = [], []
        for name, seen in data.keypoints2d.items():
            weights = np.ones(len(seen.skeleton))
            for joint, weight in self.joints.items():
                if seen.skeleton.has(joint):
                    weights[seen.skeleton.index(joint)] = weight
            view = SeenBy.of(data.rig[name], seen, data.timestamps, 1.0)
            nearest = np.rint(view.first + view.fraction).astype(int)
            views.append(
                dataclasses.replace(
                    view, first=nearest, fraction=np.zeros(len(nearest)), confidence=view.confidence * weights
                )
            )
            there = np.where(view.confidence[..., None] > 0, view.xy, np.nan)
            scales.append(REFERENCE / pixels_per_metre(data.body, seen.skeleton, there))
        return BoundK2d(tuple(views), tuple(scales), self.sigma, self.weight)


def pixels_per_metre(
    body: BodyModel, skeleton: Skeleton, xy: Float[np.ndarray, "rows keypoints 2"]
) -> Float[np.ndarray, " rows"]:
    """How large a metre is at the person, by similar triangles of the sides of the torso, at the mean shape and rest.

    Where no side of it is seen, of the limb that is the longest next to its length: others are foreshortened. Where
    there is none either, what other rows have in the median; NaN when no row tells.

    Args:
        body: Whose limbs are of known length.
        skeleton: Of the keypoints.
        xy: [px], NaN where missing.
    """
    rest = kinematics.rest_keypoints(body, skeleton)

    def ratios(limbs: tuple[tuple[str, str], ...]) -> np.ndarray:
        a, b = np.array([skeleton.indices(limb) for limb in limbs if skeleton.has(*limb)], dtype=int).reshape(-1, 2).T
        return np.linalg.norm(xy[:, a] - xy[:, b], axis=-1) / np.linalg.norm(rest[a] - rest[b], axis=-1)

    torso, limbs = ratios(_TORSO), ratios(skeleton.limbs)
    seen = np.isfinite(torso)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(seen, torso, 0.0).sum(1) / seen.sum(1)
    longest = np.fmax.reduce(limbs, axis=1, initial=np.nan) if limbs.shape[1] else np.full(len(xy), np.nan)
    scale = np.where(seen.any(1), scale, longest)
    scale = np.where(scale > 0, scale, np.nan)
    known = scale[np.isfinite(scale)]
    return np.where(np.isfinite(scale), scale, np.median(known) if len(known) else np.nan)


@dataclass(frozen=True, eq=False)
class BoundK2d(Bound):
    """The loss with what was seen."""

    views: tuple[SeenBy, ...]
    """Their `sigma` is not used: confidence alone tells one point from another."""
    scales: tuple[Float[np.ndarray, " rows"], ...]
    """From pixels to those of a person 150 px tall, for each row of each view."""
    sigma: float
    weight: float
    only: Float[np.ndarray, "frames keypoints"] | None = None
    """Further weights of the keypoints; None: all alike."""

    def of_joints(self, weights: Float[np.ndarray, "frames keypoints"]) -> BoundK2d:
        """The loss with further weights of the keypoints."""
        return dataclasses.replace(self, only=weights)

    def lighter(self, part: float) -> BoundK2d:
        """With so small a part of its weight."""
        return dataclasses.replace(self, weight=self.weight * part)

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """Projected minus seen, in each view first across, then down."""
        made = []
        for view, scale in zip(self.views, self.scales, strict=True):
            start, rows = view.within(frames)
            points = posed.keypoints[start]
            xy, _ = view.camera.project(points)
            sure = view.confidence[rows]
            if self.only is not None:
                sure = sure * self.only[view.first[rows]]
            # a point behind the camera has no projection and pulls nowhere
            sure = np.sqrt(self.weight) * np.where(np.isfinite(xy).all(-1), sure, 0.0)
            gain = sure * scale[rows, None]
            r = gain[..., None] * np.nan_to_num(xy - view.xy[rows])
            # rho(confidence x error) with a scale that has the confidence too is confidence^2 rho(error)
            kernel = partial(robust.geman_mcclure, scale=np.maximum(sure * self.sigma, 1e-12))
            both = _Once(partial(jacobians, view.camera, points, gain, None))
            of = partial(Residuals.of, "keypoints", frame=start, kernel=kernel)
            made += [of(r[..., axis : axis + 1], partial(both.row, axis)) for axis in range(2)]
        return made


class _Once:
    """Jacobians of both coordinates, made when the first is asked for."""

    def __init__(self, make: partial[dict[int, np.ndarray]]) -> None:
        self._make, self._made = make, None

    def row(self, axis: int) -> dict[int, np.ndarray]:
        if self._made is None:
            self._made = self._make()
        return {0: self._made[0][..., axis : axis + 1, :]}
