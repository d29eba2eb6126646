"""Levenberg-Marquardt over one problem or many independent ones at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool

from mocap.errors import SolveError
from mocap.solve.problem import CoupledSystem, Problem, SeparateSystem, State
from mocap.solve.solution import Solution, check_start, kept, tried

_MOST_DAMPING = 1e12
_SHRINKING = 0.3
"""Steps with one curvature go on as long as each gains no more than this part of the one before."""
_GOOD_GAIN = 0.5
"""Of a step that shows that the quadratic model holds."""


def levenberg_marquardt(
    problem: Problem,
    state: State,
    *,
    max_iterations: int = 50,
    relative_decrease: float = 1e-6,
    gradient: float = 1e-6,
    initial_damping: float = 1e-3,
    only: Bool[np.ndarray, " groups"] | None = None,
    by_term: bool = True,
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
        by_term: Whether to tell the cost of each term at the end, which is one more evaluation.
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
    system = problem.linearise(state, active, damping)
    cost = system.cost.copy()
    check_start(cost)
    history = [float(cost.sum())]
    iterations = 0
    before = np.inf
    moved = None

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
                if system.chord:  # what it was moved from could be solved: only its curvature is too old
                    system = problem.linearise(state, active, damping)
                    continue
                # some group's matrix is not positive definite at this damping; more of it makes it so
                damping[active] *= 10
                stop(damping > _MOST_DAMPING, "singular")
                continue
            if system.chord:
                # what is still to be gained is told without a trial; so is that the curvature is too old for one
                stop(step.predicted < relative_decrease * cost, "cost hardly falls")
                if not active.any():
                    break
                if step.predicted.sum() > _SHRINKING * before:
                    system = moved = None  # one of them fills the memory it may have
                    system = problem.linearise(state, active, damping)
                    continue
            trial = tried(state, step, active)
            # at the last one no gradient is needed any more
            moved = system.moved(trial) if iterations < max_iterations else None
            new_cost = problem.cost(trial, active) if moved is None else moved.cost
            decrease = np.where(active, cost - new_cost, 0.0)
            finite = np.isfinite(decrease) & np.isfinite(step.predicted)
            with np.errstate(invalid="ignore", divide="ignore"):
                gain = np.where(finite & (step.predicted > 0), decrease / step.predicted, -1.0)
            accepted = active & (gain > 1e-4) & (decrease >= 0)
            rejected = active & ~accepted
            if rejected.any() and system.chord:  # the curvature was too old
                system = moved = None
                system = problem.linearise(state, active, damping)
                continue
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
            lost = rejected & (damping > _MOST_DAMPING)
            stop(lost & ~finite, "not finite")
            stop(lost, "no descent left")
            if accepted.any():
                state = kept(state, trial, accepted)
                cost = np.where(accepted, new_cost, cost)
            stop(small, "cost hardly falls")
        history.append(float(cost.sum()))
        fell = history[-2] - history[-1]
        told()
        if active.any() and iterations < max_iterations:
            # where the model held, the curvature still does: as long as that makes steps shrink fast, it is kept
            keep = moved is not None and bool((gain[active] > _GOOD_GAIN).all()) and fell < _SHRINKING * before
            before = fell
            if keep and moved is not None:
                system = moved
            else:
                system = moved = None
                system = problem.linearise(state, active, damping)
    return Solution(
        state,
        float(cost.sum()),
        _by_term(problem, state, moved or system) if by_term else {},
        iterations,
        np.where(asked, reason, ""),
        tuple(history),
        cost,
    )


def _by_term(problem: Problem, state: State, system: CoupledSystem | SeparateSystem) -> dict[str, float]:
    """The cost of every term, from a system that was moved to this state where there is one."""
    if isinstance(system, CoupledSystem) and system.by_term and system.state is state:
        return system.by_term
    return problem.cost_by_term(state)
