"""Loss `refine_2d`: the body's keypoints where each camera saw them, at the moment it saw them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import NonNegativeFloat, PositiveFloat

from mocap.bodies.kinematics import Posed
from mocap.errors import DataError
from mocap.geometry import robust
from mocap.geometry.cameras import Camera
from mocap.options import options
from mocap.take import Keypoints2D
from mocap.terms.base import Bound, Data, Residuals, Term, by_part

_SAME_MOMENT = 1e-4
"""Camera and take see at the same moment when they are less than this part of a frame apart."""
_START = 0.0025
"""Expected error of a point before the take has told it [fraction of the image's longer side]."""

_PLACE = (0.015, 0.008)
"""What detectors and the body disagree about where a joint of a body is, and a point of a hand [m]: see `k3d`."""
_BETWEEN = 5.0
"""How many times as large an error may be that comes from taking a view's moment for the take's nearest."""


@options
class Refine2d(Term):
    """Reprojection error in every view, robust and weighted by confidence; it spans two frames between two moments.

    Beside `k3d` it takes its place in a last pass: a point that one camera alone saw counts, and of two cameras that
    disagree the wrong one is left out, as the body tells.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"keypoints2d", "rig"})

    sigma: PositiveFloat | None = None
    """Expected error of a point seen with confidence 1, per axis [fraction of the image's longer side]; null: told from
    the take itself, for each view."""
    place: NonNegativeFloat | None = None
    """How far detectors see points from where the body has them, the same way in frame after frame [m]: the further,
    the less the images count next to what poses are like; null: 0.015, and 0.008 for points of hands."""
    robust: PositiveFloat = 2.5
    """Errors beyond this many sigmas per axis count less and less (Geman-McClure)."""
    weight: NonNegativeFloat = 1.0
    """Multiplies the cost; 0 switches the loss off."""

    def bind(self, data: Data) -> BoundRefine2d | None:
        """Where each view's moments lie on the take's clock; frames outside it are left out."""
        if self.weight == 0:
            return None
        if data.keypoints2d is None or data.rig is None:
            raise DataError("Loss refine_2d needs 2D keypoints and a calibrated rig.")
        clock, views = data.timestamps, []
        hands = next(iter(data.keypoints2d.values())).skeleton.of_hands()
        for name, seen in data.keypoints2d.items():
            camera = data.rig[name]
            sigma = camera.longer_side * (_START if self.sigma is None else self.sigma)
            views.append(SeenBy.of(camera, seen, clock, sigma))
        return BoundRefine2d(
            tuple(views),
            robust=self.robust,
            weight=self.weight,
            place=np.where(hands, _PLACE[1], _PLACE[0]) if self.place is None else np.full(len(hands), self.place),
            estimated=self.sigma is None,
            hands=hands,
            discount=np.ones(len(hands)),
        )


@dataclass(frozen=True, eq=False)
class SeenBy:
    """What one camera saw."""

    camera: Camera
    first: Int[np.ndarray, " rows"]
    """The take's frame at or before each row."""
    fraction: Float[np.ndarray, " rows"]
    """How far toward the next frame, in [0, 1)."""
    xy: Float[np.ndarray, "rows keypoints 2"]
    confidence: Float[np.ndarray, "rows keypoints"]
    sigma: Float[np.ndarray, " keypoints"]
    """Expected error per axis of a point seen with confidence 1 [px]."""
    unsure: Float[np.ndarray, " keypoints"]
    """By how much each keypoint's place on the body may be off [m]."""
    scale: Float[np.ndarray, " rows"]
    """Of the image at the person [px/m]; zero before the motion has told it: then no place counts as unsure."""

    @classmethod
    def of(cls, camera: Camera, seen: Keypoints2D, clock: Float[np.ndarray, " frames"], sigma: float) -> SeenBy:
        """What was seen at moments within the take's clock [s], where they lie on it; `sigma` [px] as above."""
        if len(clock) == 1:
            number = np.zeros(len(seen.timestamps))
            number[seen.timestamps != clock[0]] = np.nan
        else:
            number = np.interp(seen.timestamps, clock, np.arange(len(clock)), left=np.nan, right=np.nan)
        rows = np.flatnonzero(np.isfinite(number) & (seen.confidence > 0).any(1))
        rows = rows[np.argsort(number[rows], kind="stable")]
        whole = np.round(number[rows])
        same = np.abs(number[rows] - whole) < _SAME_MOMENT
        return cls(
            camera,
            first=np.where(same, whole, np.floor(number[rows])).astype(int),
            fraction=np.where(same, 0.0, number[rows] - np.floor(number[rows])),
            xy=np.nan_to_num(seen.xy[rows]),
            confidence=seen.confidence[rows],
            sigma=np.full(len(seen.skeleton), sigma),
            unsure=seen.skeleton.place_sigma(),
            scale=np.zeros(len(rows)),
        )

    @cached_property
    def gain(self) -> Float[np.ndarray, "rows keypoints"]:
        """One over the expected error of each point [1/px]; zero where there is none."""
        seen = self.confidence > 0
        variance = self.sigma**2 / np.where(seen, self.confidence, 1.0) + (self.scale[:, None] * self.unsure) ** 2
        return np.where(seen, 1 / np.sqrt(variance), 0.0)

    def within(self, frames: Int[np.ndarray, " posed"]) -> tuple[Int[np.ndarray, " some"], Int[np.ndarray, " some"]]:
        """Rows that lie within posed frames, and the place of the first frame of each among these, ascending."""
        low, high = np.searchsorted(self.first, frames), np.searchsorted(self.first, frames, side="right")
        count = high - low
        start = np.repeat(np.arange(len(frames)), count)
        rows = np.arange(len(start)) + np.repeat(low - np.cumsum(count) + count, count)
        followed = np.append(np.diff(frames) == 1, False)
        whole = followed[start] | (self.fraction[rows] == 0)
        return start[whole], rows[whole]

    def scaled(self, keypoints: Float[np.ndarray, "frames keypoints 3"]) -> SeenBy:
        """With the image's scale where these keypoints of the take's frames are."""
        depth = np.median(self.camera.to_camera(keypoints)[..., 2], axis=1)[self.first]
        focal = np.sqrt(self.camera.K[0, 0] * self.camera.K[1, 1])
        return dataclasses.replace(self, scale=np.where(depth > 0, focal / np.where(depth > 0, depth, 1.0), 0.0))


@dataclass(frozen=True, eq=False)
class BoundRefine2d(Bound):
    """The loss with its views."""

    views: tuple[SeenBy, ...]
    robust: float
    """Scale of the kernel [expected errors per axis]."""
    weight: float
    place: Float[np.ndarray, " keypoints"]
    """What points may be off by for long [m]: it does not show as noise, yet limits what they tell of a pose."""
    estimated: bool
    """Whether the take itself tells the expected errors."""
    hands: Bool[np.ndarray, " keypoints"]
    """Which are points of hands."""
    discount: Float[np.ndarray, " keypoints"]
    """Part of the loss's weight that is left for what the points are off by for long."""

    @property
    def span(self) -> int:  # type: ignore[override]
        """2 when some view sees between two moments of the take."""
        return 2 if any(v.fraction.any() for v in self.views) else 1

    @property
    def dense_coupling(self) -> bool:  # type: ignore[override]
        """Whether it spans two frames."""
        return self.span > 1

    def relaxed(self) -> BoundRefine2d:
        """A point that is far off still pulls: from afar, being far off does not make it an outlier."""
        return dataclasses.replace(self, robust=10 * self.robust)

    def updated(self, posed: Posed) -> BoundRefine2d:
        """The loss with how large a metre is in each image, as of the last solve."""
        return dataclasses.replace(self, views=tuple(v.scaled(posed.keypoints) for v in self.views))

    def with_errors(self, factors: Sequence[Float[np.ndarray, " keypoints"]]) -> BoundRefine2d:
        """The loss with the expected errors of each view so many times as large."""
        views = (dataclasses.replace(v, sigma=v.sigma * f) for v, f in zip(self.views, factors, strict=True))
        return dataclasses.replace(self, views=tuple(views))

    def discounted(self, parts: tuple[float, float]) -> BoundRefine2d:
        """The loss with so small a part of its weight, of a body's points and of hands'."""
        return dataclasses.replace(self, discount=np.where(self.hands, parts[1], parts[0]))

    def at_frames(self) -> BoundRefine2d:
        """The loss as if each view had seen at the nearest moment of the take, so that it spans one frame.

        It serves for a start and for its curvature: what moved in between must not look like an outlier.
        """
        if self.span == 1:
            return self
        views = (
            dataclasses.replace(v, first=np.rint(v.first + v.fraction).astype(int), fraction=np.zeros(len(v.first)))
            for v in self.views
        )
        return dataclasses.replace(self, views=tuple(views), robust=_BETWEEN * self.robust)

    def noise(self, which: Bool[np.ndarray, " keypoints"]) -> float:
        """What noise the views together leave in some of the keypoints, per axis [m]; NaN where its scale is not known.

        A view tells two of a point's three axes.
        """
        frames = 1 + max((int(v.first.max(initial=0)) for v in self.views), default=0)
        told = np.zeros((frames, len(which)))
        for v in self.views:
            np.add.at(told, v.first, 2 / 3 * v.confidence * (v.scale[:, None] / v.sigma) ** 2)
        told = told[:, which]
        return float(1 / np.sqrt(np.median(told[told > 0]))) if told.any() else np.nan

    def facts(self) -> dict[str, object]:
        """The expected error of each view [px]."""
        return {
            "sigma_px": {v.camera.name: by_part(v.sigma, self.hands) for v in self.views},
            "place": by_part(self.place, self.hands),
            "discount": by_part(self.discount, self.hands),
        }

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """Projected minus seen, per view."""
        made = []
        total = self.weight * self.discount
        kernel = partial(robust.geman_mcclure, scale=self.robust * np.sqrt(2 * total))
        for view in self.views:
            start, rows = view.within(frames)
            a = view.fraction[rows, None, None]
            between = bool(a.any())
            points = posed.keypoints[start]
            if between:
                points = (1 - a) * points + a * posed.keypoints[np.minimum(start + 1, len(frames) - 1)]
            xy, _ = view.camera.project(points)
            # a point behind the camera has no projection and pulls nowhere
            gain = np.sqrt(total) * np.where(np.isfinite(xy).all(-1), view.gain[rows], 0.0)
            r = gain[..., None] * np.nan_to_num(xy - view.xy[rows])
            make = partial(jacobians, view.camera, points, gain, a if between else None)
            made.append(Residuals.of("keypoints", r, make, frame=start, kernel=kernel))
        return made


def jacobians(
    camera: Camera,
    points: Float[np.ndarray, "rows keypoints 3"],
    gain: Float[np.ndarray, "rows keypoints"],
    a: Float[np.ndarray, "rows 1 1"] | None,
) -> dict[int, np.ndarray]:
    """Of the residuals by the keypoints, a part `a` of the way from one frame to the next."""
    _, J = camera.project_with_jacobian(points)
    J = np.where(gain[..., None, None] > 0, gain[..., None, None] * J, 0.0)
    return {0: J} if a is None else {0: (1 - a[..., None]) * J, 1: a[..., None] * J}
