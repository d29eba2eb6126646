"""Loss `k2d`: the body's keypoints where each camera saw them, at the moment it saw them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveFloat

from mocap.bodies.kinematics import Posed
from mocap.errors import DataError
from mocap.geometry import robust
from mocap.geometry.cameras import Camera
from mocap.options import options
from mocap.terms.base import Bound, Data, Residuals, Term

_SAME_MOMENT = 1e-4
"""Camera and take see at the same moment when they are less than this part of a frame apart."""


@options
class K2d(Term):
    """Reprojection error in every view, robust and weighted by confidence; it spans two frames between two moments."""

    needs: ClassVar[frozenset[str]] = frozenset({"keypoints2d", "rig"})

    sigma: PositiveFloat = 0.004
    """Expected error per axis [fraction of the image's longer side]."""
    robust: PositiveFloat = 3.0
    """Errors beyond this many sigmas count less and less (Geman-McClure)."""
    weight: NonNegativeFloat = 1.0
    """Multiplies the cost; 0 switches the loss off."""

    def bind(self, data: Data) -> BoundK2d | None:
        """Where each view's moments lie on the take's clock; frames outside it are left out."""
        if self.weight == 0:
            return None
        if data.keypoints2d is None or data.rig is None:
            raise DataError("Loss k2d needs 2D keypoints and a calibrated rig.")
        clock, views = data.timestamps, []
        for name, seen in data.keypoints2d.items():
            camera = data.rig[name]
            if len(clock) == 1:
                number = np.zeros(len(seen.timestamps))
                number[seen.timestamps != clock[0]] = np.nan
            else:
                number = np.interp(seen.timestamps, clock, np.arange(len(clock)), left=np.nan, right=np.nan)
            rows = np.flatnonzero(np.isfinite(number) & (seen.confidence > 0).any(1))
            whole = np.round(number[rows])
            same = np.abs(number[rows] - whole) < _SAME_MOMENT
            first = np.where(same, whole, np.floor(number[rows])).astype(int)
            fraction = np.where(same, 0.0, number[rows] - first)
            gain = np.sqrt(self.weight * seen.confidence[rows]) / (self.sigma * camera.longer_side)
            views.append(_Seen(camera, first, fraction, np.nan_to_num(seen.xy[rows]), gain))
        return BoundK2d(tuple(views), self.robust * np.sqrt(self.weight))


@dataclass(frozen=True, eq=False)
class _Seen:
    camera: Camera
    first: Int[np.ndarray, " rows"]
    """The take's frame at or before each row."""
    fraction: Float[np.ndarray, " rows"]
    """How far toward the next frame, in [0, 1)."""
    xy: Float[np.ndarray, "rows keypoints 2"]
    gain: Float[np.ndarray, "rows keypoints"]


@dataclass(frozen=True, eq=False)
class BoundK2d(Bound):
    """The loss with its views."""

    views: tuple[_Seen, ...]
    scale: float

    @property
    def span(self) -> int:  # type: ignore[override]
        """2 when some view sees between two moments of the take."""
        return 2 if any((v.fraction > 0).any() for v in self.views) else 1

    dense_coupling = True

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """Projected minus seen, per view."""
        made = []
        place = np.full(int(max(frames.max(initial=0), *(v.first.max(initial=0) for v in self.views))) + 2, -1)
        place[frames] = np.arange(len(frames))
        for view in self.views:
            start = place[view.first]
            end = np.where(view.fraction > 0, place[np.minimum(view.first + 1, len(place) - 1)], start)
            rows = np.flatnonzero((start >= 0) & (end >= 0))
            start, end = start[rows], end[rows]
            a = view.fraction[rows, None, None]
            points = (1 - a) * posed.keypoints[start] + a * posed.keypoints[end]
            xy, J = view.camera.project_with_jacobian(points)
            # a point behind the camera has no projection and pulls nowhere
            gain = np.where(np.isfinite(xy).all(-1), view.gain[rows], 0.0)
            r = gain[..., None] * np.nan_to_num(xy - view.xy[rows])
            J = gain[..., None, None] * np.nan_to_num(J)
            jacobians = {0: (1 - a[..., None]) * J}
            if (a > 0).any():
                jacobians[1] = a[..., None] * J
            made.append(
                Residuals.of(
                    "keypoints", r, jacobians, frame=start, kernel=lambda s: robust.geman_mcclure(s, self.scale)
                )
            )
        return made
