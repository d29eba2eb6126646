"""Powell's dogleg over one problem or many independent ones at once, as the SMPLify papers use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mocap.errors import SolveError
from mocap.solve.problem import CoupledSystem, Problem, SeparateSystem, State, Step
from mocap.solve.solution import Solution, by_frame, check_start, kept, tried

_LEAST_DAMPING = 1e-5
"""Relative to the diagonal: above what single precision leaves uncertain of a Gauss-Newton matrix, and of no weight."""
_MOST_DAMPING = 1e12
_SHORTEST = 1e-12
"""Of a Gauss-Newton step: a radius below this has nowhere left to go."""
_FEW = 4


@dataclass(frozen=True)
class _Path:
    """The two legs of every group's path: to the minimum along steepest descent, u, and on to the Gauss-Newton one, w.

    Lengths are in the metric D of the damping; the model is q(p) = g'p + 1/2 p'Bp, B = H + damping D.
    """

    u: Step
    w: Step
    g_u: Float[np.ndarray, " groups"]
    """g'u; u'Bu = u'Bw = -g'u."""
    g_w: Float[np.ndarray, " groups"]
    """g'w; w'Bw = -g'w."""
    uu: Float[np.ndarray, " groups"]
    """u'Du"""
    uw: Float[np.ndarray, " groups"]
    ww: Float[np.ndarray, " groups"]

    @property
    def sound(self) -> Bool[np.ndarray, " groups"]:
        """Whether both are descents and w the farther one, as they are when B is positive definite."""
        values = np.array([self.g_u, self.g_w, self.uu, self.uw, self.ww])
        return np.isfinite(values).all(0) & (self.g_u < 0) & (self.g_w <= 0.99 * self.g_u)

    def within(self, radius: Float[np.ndarray, " groups"]) -> tuple[Step, np.ndarray, np.ndarray]:
        """The step where the path leaves the region, its length, and whether the radius cut it short.

        Nocedal and Wright, equation 4.16, and the root of their |p_U + (tau - 1)(p_B - p_U)|^2 = radius^2.
        """
        limited = self.ww > radius**2
        with np.errstate(invalid="ignore", divide="ignore"):
            straight = np.minimum(1.0, radius / np.sqrt(self.uu))
            a, b, c = self.ww - 2 * self.uw + self.uu, self.uw - self.uu, np.minimum(self.uu - radius**2, 0.0)
            root = np.sqrt(b * b - a * c)
            turned = np.where(b > 0, -c / (b + root), (root - b) / a)
        beta = np.where(limited, np.where(straight < 1, 0.0, turned), 1.0)
        alpha = np.where(limited, np.where(straight < 1, straight, 1 - beta), 0.0)
        length = np.sqrt(np.maximum(alpha**2 * self.uu + 2 * alpha * beta * self.uw + beta**2 * self.ww, 0.0))
        along = alpha * self.g_u + beta * self.g_w
        bent = -(alpha**2 + 2 * alpha * beta) * self.g_u - beta**2 * self.g_w
        rows = len(self.u.delta)
        of_u, of_w = by_frame(alpha, rows)[:, None], by_frame(beta, rows)[:, None]
        delta = of_u * self.u.delta + of_w * self.w.delta
        # the shape steps only where there is one group
        step = Step(delta, alpha[0] * self.u.shape + beta[0] * self.w.shape, -(along + 0.5 * bent))
        return step, length, limited


def _path(system: CoupledSystem | SeparateSystem, damping: Float[np.ndarray, " groups"]) -> _Path:
    """Raises SolveError or LinAlgError when a group's matrix is not positive definite."""
    n_betas = len(system.b)

    def inner(a: np.ndarray, b: np.ndarray, shape_a: np.ndarray, shape_b: np.ndarray) -> np.ndarray:
        by_frames = (a * b).sum(1)
        return np.array([by_frames.sum() + shape_a @ shape_b]) if system.problem.coupled else by_frames

    w = system.step(damping)
    w_shape = w.shape[:n_betas]
    down, down_shape = np.zeros_like(system.gradient), system.b / system.shape_scale
    np.divide(system.gradient, system.scale, out=down, where=system.scale > 0)
    square = inner(system.gradient, down, system.b, down_shape)  # g'D^-1 g
    bend = system.curvature(down, down_shape) + damping * square
    with np.errstate(invalid="ignore", divide="ignore"):
        t = square / bend
    shape = np.zeros_like(w.shape)
    shape[:n_betas] = -t[0] * down_shape
    g_w = inner(system.gradient, w.delta, system.b, w_shape)
    return _Path(
        u=Step(-by_frame(t, len(down))[:, None] * down, shape, 0.5 * t * square),
        w=w,
        g_u=-t * square,
        g_w=g_w,
        uu=t * t * square,
        uw=-t * g_w,
        ww=inner(system.scale * w.delta, w.delta, system.shape_scale * w_shape, w_shape),
    )


def dogleg(
    problem: Problem,
    state: State,
    *,
    max_iterations: int = 50,
    relative_decrease: float = 1e-6,
    gradient: float = 1e-6,
    initial_radius: float = 1.0,
    only: Bool[np.ndarray, " groups"] | None = None,
    by_term: bool = True,
    told: Callable[[], None] = lambda: None,
) -> Solution:
    """Minimises the cost; Powell, "A hybrid method for nonlinear equations" (1970), with the trust region of Nocedal
    and Wright, "Numerical optimization" (2006), algorithm 4.1 and section 4.1 (the dogleg), in the metric of the
    diagonal of the Gauss-Newton matrix. Where Levenberg-Marquardt factorises again after a step that failed, this only
    shortens it.

    Args:
        problem: What to minimise; when its frames are not coupled, each has its own radius and end.
        state: Start.
        max_iterations: Linearisations at most.
        relative_decrease: A problem has converged when an accepted step lowers its cost by less than this part of it.
        gradient: ... or when the largest entry of its gradient is below this.
        initial_radius: Relative to the length of the first Gauss-Newton step.
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
    damping = np.full(groups, _LEAST_DAMPING)
    radius: np.ndarray | None = None
    reason = np.full(groups, "budget spent", dtype=object)
    system = problem.linearise(state, active, damping)
    cost = system.cost.copy()
    check_start(cost)
    history = [float(cost.sum())]
    iterations = 0

    def stop(which: np.ndarray, why: str) -> None:
        reason[which & active] = why
        active[which] = False

    def path() -> _Path | None:
        """Of the active groups; a matrix that is not positive definite is damped until it is."""
        while active.any():
            try:
                made = _path(system, damping)
            except (SolveError, np.linalg.LinAlgError):
                made = None
            unsound = active if made is None else active & ~made.sound
            if not unsound.any():
                return made
            damping[unsound] *= 10
            stop(damping > _MOST_DAMPING, "singular")
        return None

    while iterations < max_iterations:
        stop(system.gradient_size <= gradient, "gradient is zero")
        if not active.any():
            break
        iterations += 1
        legs = path()
        if legs is not None:
            full = np.sqrt(np.maximum(legs.ww, 0.0))
            radius = initial_radius * full if radius is None else radius
            pending = active.copy()
            while pending.any():
                step, length, limited = legs.within(radius)
                trial = tried(state, step, pending)
                new_cost = problem.cost(trial, pending)
                decrease = np.where(pending, cost - new_cost, 0.0)
                finite = np.isfinite(decrease)
                with np.errstate(invalid="ignore", divide="ignore"):
                    gain = np.where(finite & (step.predicted > 0), decrease / step.predicted, -1.0)
                accepted = pending & (gain > 1e-4) & (decrease >= 0)
                rejected = pending & ~accepted
                radius = np.where(pending & (gain < 0.25), 0.25 * length, radius)
                radius = np.where(accepted & (gain > 0.75) & limited, 2 * radius, radius)
                # a step that no longer changes the cost at working precision has arrived
                tiny = step.predicted <= 1e-12 * np.maximum(cost, 1e-12)
                small = accepted & (np.maximum(decrease, step.predicted / _FEW) < relative_decrease * cost)
                state = kept(state, trial, accepted)
                cost = np.where(accepted, new_cost, cost)
                stop(rejected & finite & tiny, "cost stands still")
                lost = rejected & (radius < _SHORTEST * full)
                stop(lost & ~finite, "not finite")
                stop(lost, "no descent left")
                stop(small, "cost hardly falls")
                pending = rejected & active
        history.append(float(cost.sum()))
        told()
        damping = np.maximum(damping / 10, _LEAST_DAMPING)
        if active.any() and iterations < max_iterations:
            system = problem.linearise(state, active, damping)
    return Solution(
        state,
        float(cost.sum()),
        problem.cost_by_term(state) if by_term else {},
        iterations,
        np.where(asked, reason, ""),
        tuple(history),
        cost,
    )
