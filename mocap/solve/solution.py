"""What every solver gives back, and what all of them do alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mocap.errors import SolveError
from mocap.solve.problem import State, Step

_UNSETTLED = ("budget spent", "not finite", "singular")


@dataclass(frozen=True)
class Solution:
    """Where a solver stopped, and why."""

    state: State
    cost: float
    cost_by_term: dict[str, float]
    iterations: int
    reason: np.ndarray
    """Why each of the independent problems stopped (one problem when the frames are coupled); "" where not asked."""
    history: tuple[float, ...]
    """Total cost after each iteration, the start first; never increases."""
    costs: Float[np.ndarray, " groups"]
    """Of each of the independent problems."""

    @property
    def reasons(self) -> dict[str, int]:
        """How many of the independent problems stopped for each reason."""
        return dict(Counter(str(r) for r in self.reason if r))

    @property
    def settled(self) -> Bool[np.ndarray, " groups"]:
        """Which of the independent problems did not stop for want of budget, or fail."""
        return ~np.isin(self.reason.astype(str), _UNSETTLED)

    @property
    def converged(self) -> bool:
        """Whether no problem stopped for want of budget, or failed."""
        return bool(self.settled.all())

    def facts(self) -> dict[str, object]:
        """For the report."""
        return {
            "converged": self.converged,
            "stopped": self.reasons,
            "iterations": self.iterations,
            "cost": self.cost,
            "cost_by_term": self.cost_by_term,
        }


def check_start(cost: Float[np.ndarray, " groups"]) -> None:
    """Raises SolveError when a cost at the start is not a finite number."""
    if not np.isfinite(cost).all():
        bad = np.flatnonzero(~np.isfinite(cost))
        raise SolveError(
            f"The cost at the start is not finite in {len(bad)} of {len(cost)} problems (first: {bad[0]})."
        )


def by_frame(groups: np.ndarray, frames: int) -> np.ndarray:
    """Of each frame, what is so of its group."""
    return groups if len(groups) == frames and frames > 1 else np.broadcast_to(groups[:1], (frames,))


def tried(state: State, step: Step, active: Bool[np.ndarray, " groups"]) -> State:
    """The state after a step of the active groups."""
    if active.all():
        return state.stepped(step.delta, step.shape)
    return state.stepped(np.where(by_frame(active, len(state.Th))[:, None], step.delta, 0.0), step.shape)


def kept(state: State, trial: State, accepted: Bool[np.ndarray, " groups"]) -> State:
    """The trial in the groups that accepted it, the state before in the others."""
    if accepted.all():
        return trial
    frames = by_frame(accepted, len(state.Th))
    return State(
        np.where(frames[:, None], trial.Th, state.Th),
        np.where(frames[:, None, None, None], trial.R, state.R),
        np.where(frames[:, None], trial.betas, state.betas) if state.betas.ndim == 2 else state.betas,
    )
