"""Loss `depth`: how far away the body is, by the size of its torso in the picture, as SMPLify's camera step has it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat

from mocap.bodies.kinematics import Posed
from mocap.errors import DataError
from mocap.options import options
from mocap.terms.base import Bound, Data, Residuals, Term
from mocap.terms.k2d import pixels_per_metre
from mocap.terms.refine_2d import SeenBy


@options
class Depth(Term):
    """The body's distance along the optical axis stays near what similar triangles of the torso give (Bogo et al.,
    "Keep it SMPL", 2016, section 3.3: the camera's translation; 1e2 times the difference in their program).

    Of several views, the first counts.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"keypoints2d", "rig"})

    weight: NonNegativeFloat = 1e4
    """Multiplies the cost 1/2 (difference [m])^2; 0 switches the loss off."""

    def bind(self, data: Data) -> BoundDepth | None:
        """The depth in every frame in which somebody is seen."""
        if self.weight == 0:
            return None
        if not data.keypoints2d or data.rig is None:
            raise DataError("Loss depth needs 2D keypoints and cameras.")
        name, seen = next(iter(data.keypoints2d.items()))
        view = SeenBy.of(data.rig[name], seen, data.timestamps, 1.0)
        xy = np.where(view.confidence[..., None] > 0, view.xy, np.nan)
        focal = np.sqrt(view.camera.K[0, 0] * view.camera.K[1, 1])
        depth = np.full(len(data.timestamps), np.nan)
        depth[np.rint(view.first + view.fraction).astype(int)] = focal / pixels_per_metre(data.body, seen.skeleton, xy)
        gain = np.where(np.isfinite(depth), np.sqrt(self.weight), 0.0)
        return BoundDepth(depth, view.camera.R[2], float(view.camera.t[2]), gain)


@dataclass(frozen=True, eq=False)
class BoundDepth(Bound):
    """The loss with the depths."""

    depth: Float[np.ndarray, " frames"]
    """Of Th from the camera [m]; NaN where nobody is seen."""
    axis: Float[np.ndarray, " 3"]
    """The camera's optical axis in the world."""
    offset: float
    """What a point's depth has beside its part along the axis [m]."""
    gain: Float[np.ndarray, " frames"]
    """[1/m]; zero where nobody is seen."""

    def lighter(self, part: float) -> BoundDepth:
        """With so small a part of its weight."""
        return dataclasses.replace(self, gain=self.gain * np.sqrt(part))

    def known_to(self, part: float) -> BoundDepth:
        """With an expected error of so large a part of the depth, as far as anything is expected of the loss."""
        seen = self.gain > 0
        return dataclasses.replace(self, gain=np.where(seen, 1 / (part * np.where(seen, self.depth, 1.0)), 0.0))

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """The difference at the block of Th, zero at all others."""
        n, blocks = len(posed.R), 1 + posed.R.shape[1]
        depth, gain = self.depth[frames], self.gain[frames]
        r = np.zeros((n, blocks, 1))
        r[:, 0, 0] = gain * (posed.Th @ self.axis + self.offset - np.nan_to_num(depth))

        def by_steps() -> dict[int, np.ndarray]:
            J = np.zeros((n, blocks, 1, 3))
            J[:, 0, 0] = gain[:, None] * self.axis
            return {0: J}

        return [Residuals.of("blocks", r, by_steps)]
