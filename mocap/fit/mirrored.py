"""Limbs that point toward the camera where they pointed away: what a picture hardly tells apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mocap import progress
from mocap.bodies import kinematics
from mocap.bodies.model import BodyModel
from mocap.geometry import rotations
from mocap.solve.dogleg import dogleg
from mocap.solve.problem import Problem, State

_LIMBS = (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))
_WAYS = ((True, False), (False, True), (True, True))
"""Whether the first and the second bone are mirrored."""
_ITERATIONS = 20
_TOLERANCE = 1e-3

ProblemOf = Callable[[Int[np.ndarray, " starts"], Float[np.ndarray, "starts betas"]], Problem]
"""What to minimise over starts, each of the picture the first argument says, with the shapes of the second."""


@dataclass(frozen=True)
class Mirrored:
    """Where fits ended that began with one limb of one picture mirrored in depth."""

    limbs: tuple[tuple[int, int, int], ...]
    """As joints of the body."""
    ends: State
    """By limb, way and picture."""
    costs: Float[np.ndarray, "limbs ways pictures"]
    begun: Float[np.ndarray, " pictures"]
    """What the pictures cost as they were."""

    @property
    def ways(self) -> int:
        """How many ways a limb was mirrored."""
        return self.costs.shape[1]

    def of(self, limb: int, way: int) -> State:
        """The ends of all pictures with this limb mirrored this way."""
        n = len(self.begun)
        first = (limb * self.ways + way) * n
        return self.ends.at(np.arange(first, first + n))

    def better(self, state: State) -> tuple[State, Bool[np.ndarray, " pictures"]]:
        """Of every picture the end of the lowest cost, that of `state` among them; and where it is another. An end that
        is hardly lower is the same one, come back to."""
        n = len(self.begun)
        if not self.limbs:
            return state, np.zeros(n, dtype=bool)
        flat = self.costs.reshape(-1, n)
        lower = flat.min(0) < (1 - _TOLERANCE) * self.begun
        new = self.ends.at(flat.argmin(0) * n + np.arange(n))
        state = State(
            np.where(lower[:, None], new.Th, state.Th),
            np.where(lower[:, None, None, None], new.R, state.R),
            np.where(lower[:, None], new.betas, state.betas),
        )
        return state, lower


def limbs_of(body: BodyModel) -> tuple[tuple[int, int, int], ...]:
    """The arms and legs a body has, as places of their three joints."""
    names = body.joint_names
    return tuple(
        (names.index(f"{side}_{a}"), names.index(f"{side}_{b}"), names.index(f"{side}_{c}"))
        for a, b, c in _LIMBS
        for side in ("left", "right")
        if {f"{side}_{a}", f"{side}_{b}", f"{side}_{c}"} <= set(names)
    )


def mirrored_ends(
    body: BodyModel, state: State, problem_of: ProblemOf, limbs: tuple[tuple[int, int, int], ...]
) -> Mirrored:
    """Starts again from every picture with each limb mirrored, one at a time: its upper part, its lower or both.

    Args:
        body: The model.
        state: Of the pictures, each with its own shape, in the camera's axes.
        problem_of: What to minimise.
        limbs: Of :func:`limbs_of`.
    """
    everybody = np.arange(len(state.Th))
    begun = problem_of(everybody, state.betas).cost(state, np.ones(len(everybody), dtype=bool))
    if not limbs:
        return Mirrored((), state, np.zeros((0, len(_WAYS), len(everybody))), begun)
    source = np.tile(everybody, len(limbs) * len(_WAYS))
    starts = np.concatenate([mirrored_limb(body, state, limb, *way) for limb in limbs for way in _WAYS])
    with progress.bar("mirroring limbs", None, "iterations") as bar:
        solution = dogleg(
            problem_of(source, state.betas[source]),
            State(state.Th[source], starts, state.betas[source]),
            max_iterations=_ITERATIONS,
            relative_decrease=_TOLERANCE,
            by_term=False,
            told=lambda: bar.update(1),
        )
    return Mirrored(limbs, solution.state, solution.costs.reshape(len(limbs), len(_WAYS), -1), begun)


def mirrored_limb(
    body: BodyModel, state: State, limb: tuple[int, int, int], upper: bool, lower: bool
) -> Float[np.ndarray, "frames joints 3 3"]:
    """Local rotations with the first, the second or both bones of a limb pointing toward the camera where they pointed
    away: what a picture hardly tells apart (Sminchisescu and Triggs, "Kinematic jump processes for monocular 3D human
    tracking", 2003)."""
    a, b, c = limb
    posed = kinematics.pose(kinematics.fold(body, "smpl24"), state.betas, state.R, state.Th)
    ray = posed.joints[:, b] / np.linalg.norm(posed.joints[:, b], axis=-1, keepdims=True)

    def mirror(bone: np.ndarray) -> np.ndarray:
        return bone - 2 * (bone * ray).sum(-1, keepdims=True) * ray

    first, second = posed.joints[:, b] - posed.joints[:, a], posed.joints[:, c] - posed.joints[:, b]
    swing = rotations.between(first, mirror(first) if upper else first)
    carried = (swing @ second[..., None])[..., 0]
    fold = rotations.between(carried, mirror(second) if lower else second)
    R = state.R.copy()
    above, G_a, G_b = (posed.G[:, j] for j in (body.parents[a], a, b))
    R[:, a] = above.swapaxes(1, 2) @ swing @ G_a
    R[:, b] = (swing @ G_a).swapaxes(1, 2) @ fold @ swing @ G_b
    return R
