"""Levenberg-Marquardt over one problem or many independent ones at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mocap.errors import SolveError
from mocap.solve.problem import Problem, State

_MOST_DAMPING = 1e12


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
    def converged(self) -> bool:
        """Whether no problem stopped for want of budget, or failed."""
        return not set(self.reasons) & {"budget spent", "not finite", "singular"}

    def facts(self) -> dict[str, object]:
        """For the report."""
        return {
            "converged": self.converged,
            "stopped": self.reasons,
            "iterations": self.iterations,
            "cost": self.cost,
            "cost_by_term": self.cost_by_term,
        }


def levenberg_marquardt(
    problem: Problem,
    state: State,
    *,
    max_iterations: int = 50,
    relative_decrease: float = 1e-6,
    gradient: float = 1e-6,
    initial_damping: float = 1e-3,
    only: Bool[np.ndarray, " groups"] | None = None,
    told: Callable[[], None] = lambda: None,
) -> Solution:
    """Minimises the cost; damping as in Nielsen, "Damping parameter in Marquardt's method" (1999).

    Args:
        problem: What to minimise; when its frames are not coupled, each has its own damping and end.
        state: Start.
        max_iterations: Linearisations at most.
        relative_decrease: A problem has converged when an accepted step lowers its cost by less than this part of it.
        gradient: ... or when the largest entry of its gradient is below this.
        initial_damping: Relative to the diagonal of the Gauss-Newton matrix.
        only: Which of the independent problems to solve; the others stay as they are, and are not counted.
        told: Called after every iteration, for progress.

    Returns:
        The best state found. A reason other than convergence is named there, never passed over in silence.

    Raises:
        SolveError: The cost at the start is not a finite number.
    """
    groups = problem.groups(state)
    asked = np.ones(groups, dtype=bool) if only is None else only
    active = asked.copy()
    damping = np.full(groups, initial_damping)
    growth = np.full(groups, 2.0)
    reason = np.full(groups, "budget spent", dtype=object)
    system = problem.linearise(state, active)
    cost = system.cost.copy()
    if not np.isfinite(cost).all():
        bad = np.flatnonzero(~np.isfinite(cost))
        raise SolveError(f"The cost at the start is not finite in {len(bad)} of {groups} problems (first: {bad[0]}).")
    history = [float(cost.sum())]
    iterations = 0

    def stop(which: np.ndarray, why: str) -> None:
        reason[which & active] = why
        active[which] = False

    while iterations < max_iterations:
        stop(system.gradient_size < gradient, "gradient is zero")
        if not active.any():
            break
        iterations += 1
        accepted = np.zeros(groups, dtype=bool)
        while not accepted.any() and active.any():
            try:
                step = system.step(damping)
            except (SolveError, np.linalg.LinAlgError):
                # some group's matrix is not positive definite at this damping; more of it makes it so
                damping[active] *= 10
                stop(damping > _MOST_DAMPING, "singular")
                continue
            trial = state.stepped(np.where(_rows(active, len(state.Th))[:, None], step.delta, 0.0), step.shape)
            new_cost = problem.cost(trial, active)
            decrease = np.where(active, cost - new_cost, 0.0)
            finite = np.isfinite(decrease) & np.isfinite(step.predicted)
            with np.errstate(invalid="ignore", divide="ignore"):
                gain = np.where(finite & (step.predicted > 0), decrease / step.predicted, -1.0)
            accepted = active & (gain > 1e-4) & (decrease >= 0)
            rejected = active & ~accepted
            # a step that no longer changes the cost at working precision has arrived
            arrived = rejected & (step.predicted >= 0) & (step.predicted <= 1e-12 * np.maximum(cost, 1e-12))
            small = accepted & (decrease < relative_decrease * cost)
            stop(arrived, "cost stands still")
            damping = np.where(
                accepted,
                damping * np.maximum(1 / 3, 1 - (2 * np.clip(gain, 0, 1) - 1) ** 3),
                np.where(rejected, damping * growth, damping),
            )
            growth = np.where(accepted, 2.0, np.where(rejected, growth * 2, growth))
            stop(
                rejected & (damping > _MOST_DAMPING), "not finite" if not finite[rejected].all() else "no descent left"
            )
            if accepted.any():
                frames = _rows(accepted, len(state.Th))
                state = State(
                    np.where(frames[:, None], trial.Th, state.Th),
                    np.where(frames[:, None, None, None], trial.R, state.R),
                    trial.betas if accepted.all() else state.betas,
                )
                cost = np.where(accepted, new_cost, cost)
            stop(small, "cost hardly falls")
        history.append(float(cost.sum()))
        told()
        if active.any():
            system = problem.linearise(state, active)
    return Solution(
        state,
        float(cost.sum()),
        problem.cost_by_term(state),
        iterations,
        np.where(asked, reason, ""),
        tuple(history),
        cost,
    )


def _rows(groups: np.ndarray, frames: int) -> np.ndarray:
    """Per frame, whether its group is marked."""
    return groups if len(groups) == frames and frames > 1 else np.broadcast_to(groups[:1], (frames,))
