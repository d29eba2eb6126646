"""Loss `rest`: a joint that nothing tells about stays near the rest pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from pydantic import NonNegativeFloat, PositiveFloat

from mocap.bodies.kinematics import Posed
from mocap.options import options
from mocap.terms.base import Bound, Data, Residuals, Term, body_blocks


@options
class Rest(Term):
    """A weak Gaussian on every joint's rotation vector: it settles what the points leave open, and hardly more."""

    sigma: PositiveFloat = 1.0
    """Expected size of a joint's rotation, per axis [rad]."""
    weight: NonNegativeFloat = 1.0
    """Multiplies the cost; 0 switches the loss off."""

    def bind(self, data: Data) -> BoundRest | None:
        """Of every joint after the root."""
        return None if self.weight == 0 else BoundRest(np.sqrt(self.weight) / self.sigma)


@dataclass(frozen=True, eq=False)
class BoundRest(Bound):
    """The loss with its gain [1/rad]."""

    gain: float

    def lighter(self, part: float) -> BoundRest:
        """With so small a part of its weight."""
        return BoundRest(self.gain * np.sqrt(part))

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """The rotation vectors."""
        r = body_blocks(self.gain * posed.vectors)
        return [Residuals.of("blocks", r, lambda: {0: body_blocks(self.gain * posed.by_step)})]
