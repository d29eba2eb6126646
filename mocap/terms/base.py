"""What a loss is: typed options, and residuals with their Jacobians at given poses.

A file `terms/<yaml name>.py` holds one :class:`Term`: the options a user writes. Bound to a take's data
(:meth:`Term.bind`) it gives a :class:`Bound`, which the solver asks for :class:`Residuals`. The cost of a residual item
r (m numbers) is 1/2 rho(|r|^2); rho is the identity unless the term is robust. Sigmas carry the units, so residuals
have none, and `weight` multiplies the cost.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from mocap.bodies.kinematics import Posed
from mocap.bodies.model import BodyModel
from mocap.geometry.cameras import Rig
from mocap.take import Keypoints2D, Keypoints3D

Kernel = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Deferred(Mapping[int, np.ndarray]):
    """Jacobians that are made when they are first asked for: a cost needs none."""

    def __init__(self, make: Callable[[], Mapping[int, np.ndarray]]) -> None:
        self._make, self._made = make, None

    def _all(self) -> Mapping[int, np.ndarray]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, offset: int) -> np.ndarray:
        return self._all()[offset]

    def __iter__(self) -> Iterator[int]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


@dataclass(frozen=True)
class Residuals:
    """Residuals of one term at an iterate, linearised.

    `on` says what the Jacobians are by:
        keypoints: item k is of keypoint k; (residuals, keypoints, m, 3) by that keypoint's position.
        blocks: item b is of parameter block b (Th, root, joint 1, ...); (residuals, blocks, m, 3) by that block.
        parameters: one item; (residuals, 1, m, parameters) by all parameters of the frame.
    """

    on: Literal["keypoints", "blocks", "parameters"]
    frame: Int[np.ndarray, " residuals"]
    """The place of the first frame each residual touches among the posed ones, ascending."""
    r: Float[np.ndarray, "residuals items m"]
    jacobians: Mapping[int, Float[np.ndarray, "residuals items m by"]]
    """By frame offset: 0 is the first frame, 1 the next."""
    cost: Float[np.ndarray, "residuals items"]
    """1/2 rho(|r|^2)"""
    weight: Float[np.ndarray, "residuals items"]
    """rho'(|r|^2)"""
    gradient: Float[np.ndarray, "residuals by"] | None = None
    """Of the cost by the parameters, where a term of that kind has it cheaper than through its Jacobian, which may then
    be float32: it serves the curvature alone."""

    @classmethod
    def of(
        cls,
        on: Literal["keypoints", "blocks", "parameters"],
        r: np.ndarray,
        jacobians: Mapping[int, np.ndarray] | Callable[[], Mapping[int, np.ndarray]],
        *,
        frame: np.ndarray | None = None,
        kernel: Kernel | None = None,
        constant: np.ndarray | float = 0.0,
        gradient: np.ndarray | None = None,
    ) -> Residuals:
        """Residuals with their cost; `constant` is added to the cost and has no gradient."""
        s = (r * r).sum(-1)
        rho, weight = (s, np.ones_like(s)) if kernel is None else kernel(s)
        made = jacobians if isinstance(jacobians, Mapping) else Deferred(jacobians)
        return cls(on, np.arange(len(r)) if frame is None else frame, r, made, 0.5 * rho + constant, weight, gradient)


@dataclass(frozen=True)
class Data:
    """What terms may be bound to: one person's data on the take's clock."""

    body: BodyModel
    timestamps: Float[np.ndarray, " frames"]
    keypoints3d: Keypoints3D | None = None
    keypoints2d: Mapping[str, Keypoints2D] | None = None
    rig: Rig | None = None

    def at(self, frames: Int[np.ndarray, " some"]) -> Data:
        """The 3D part of the data at some of the frames."""
        points = self.keypoints3d
        assert points is not None
        fields = ("xyz", "confidence", "covariance", "reprojection_error")
        part = dataclasses.replace(points, **{name: getattr(points, name)[frames] for name in fields})
        return Data(self.body, self.timestamps[frames], part)


def body_blocks(x: Float[np.ndarray, "frames posed_joints *rest"]) -> Float[np.ndarray, "frames blocks *rest"]:
    """Of the joints after the root, with zeros for the blocks of Th and of the root."""
    return np.concatenate([np.zeros((len(x), 2, *x.shape[2:])), x], axis=1)


def by_part(values: Float[np.ndarray, " items"], of_hands: Bool[np.ndarray, " items"]) -> float | dict[str, float]:
    """For a report: what is the same for all points, or for a body's and for its hands'."""
    if of_hands.all() or not of_hands.any():
        return float(np.median(values))
    return {"body": float(np.median(values[~of_hands])), "hands": float(np.median(values[of_hands]))}


class Bound(ABC):
    """A term with its data."""

    span: int = 1
    """How many consecutive frames one residual touches: 1 data, 2 velocity or fractional time, 3 acceleration."""
    dense_coupling: bool = False
    """Whether a residual of several frames is at keypoints, and so couples all their parameters."""

    early: bool = True
    """Whether it takes part in the first passes, that bring each frame by itself near its answer."""

    def relaxed(self) -> Bound:
        """The same term made forgiving, for a first pass from afar: what would stop a limb half-way is softened."""
        return self

    def updated(self, posed: Posed) -> Bound:
        """The same term with what it reads from the motion itself, as of the last solve: held during the next one.

        Args:
            posed: The whole take as it was last solved, without Jacobians.
        """
        return self

    def lighter(self, part: float) -> Bound:
        """The same term with so small a part of its weight, if it judges poses without having seen them: what it says
        of one frame it says of the next one too, which is no second opinion."""
        return self

    def facts(self) -> dict[str, object]:
        """What it read from the motion, for the report."""
        return {}

    @abstractmethod
    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """Residuals that lie wholly within the posed frames.

        Args:
            posed: Poses with their joints and keypoints.
            frames: Which frames of the take these are; consecutive when `span` is more than 1.
        """


@dataclass(frozen=True, eq=False)
class Repeated(Bound):
    """A term of single frames over several starts of the same frames at once."""

    term: Bound
    source: Int[np.ndarray, " starts"]
    """Which frame of the term's data each start is of."""

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """Those of the term."""
        return self.term.residuals(posed, self.source[frames])


class Term(ABC):
    """Options of one loss. A concrete one is decorated by `mocap.options.options`."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """Fields of :class:`Data` without which it cannot be bound."""

    def check(self) -> None:  # noqa: B027 - most have nothing to check
        """Raises a MocapError for what would fail later, such as a missing file."""

    @abstractmethod
    def bind(self, data: Data) -> Bound | None:
        """The term with its data; None when it is switched off (weight 0)."""
