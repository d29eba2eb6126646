"""`scipy.optimize.least_squares` on the losses of `mocap`: our analytic Jacobian as a sparse matrix."""

from __future__ import annotations

import time

import numpy as np
from scipy import sparse
from scipy.optimize import least_squares

from mocap.bodies import kinematics
from mocap.geometry import rotations
from mocap.solve.problem import Problem, State
from mocap.terms.base import Residuals


class LeastSquares:
    """The objective as residuals and a sparse Jacobian, by steps from a start (frames' parameters, then betas).

    A robust item r becomes r sqrt(rho(s) / s), s = |r|^2, whose squares sum to rho, so that the cost is the same.
    """

    def __init__(self, problem: Problem, start: State) -> None:
        self.problem, self.start = problem, start
        self.frames, self.size = len(start.Th), problem.rig.n_parameters

    @property
    def unknowns(self) -> int:
        """Parameters of all frames and betas."""
        return self.frames * self.size + len(self.start.betas)

    def state(self, x: np.ndarray) -> State:
        """After the steps `x`."""
        n = self.frames * self.size
        return self.start.stepped(x[:n].reshape(self.frames, -1), x[n:])

    def _made(self, x: np.ndarray, *, jacobian: bool) -> tuple[kinematics.Posed, list[Residuals]]:
        state, rig = self.state(x), self.problem.rig
        posed = kinematics.pose(rig, state.betas, state.R, state.Th, jacobian=jacobian, shape_jacobian=jacobian)
        numbers = np.arange(self.frames)
        return posed, [made for b in self.problem.used.values() for made in b.residuals(posed, numbers)]

    def residuals(self, x: np.ndarray) -> np.ndarray:
        """Half their squares sum to the cost."""
        parts = [np.sqrt(self.problem.shape_weight) * self.state(x).betas]
        for made in self._made(x, jacobian=False)[1]:
            factor, _, constant = _plain(made)
            parts += [(factor[..., None] * made.r).ravel(), np.sqrt(2 * constant).ravel()]
        return np.concatenate(parts)

    def jacobian(self, x: np.ndarray) -> sparse.csr_array:
        """Of the residuals by `x`."""
        posed, all_made = self._made(x, jacobian=True)
        assert posed.jacobian is not None and posed.shape_jacobian is not None
        n, n_betas = self.frames * self.size, len(self.start.betas)
        to_betas = sparse.csr_array(np.sqrt(self.problem.shape_weight) * np.eye(n_betas))
        parts = [sparse.hstack([sparse.csr_array((n_betas, n)), to_betas])]
        for made in all_made:
            factor, slope, constant = _plain(made)
            rows = np.arange(made.r.size).reshape(made.r.shape)
            blocks = sparse.csr_array((made.r.size, self.unknowns))
            for o, J in made.jacobians.items():
                along = (made.r[..., None, :] @ J)[..., 0, :]
                J = factor[..., None, None] * J + slope[..., None, None] * made.r[..., None] * along[..., None, :]
                first = (made.frame + o) * self.size
                if made.on == "keypoints":
                    at = made.frame + o
                    blocks += self._placed(rows, J @ posed.jacobian[at], first[:, None] + np.arange(self.size))
                    of_betas = np.broadcast_to(n + np.arange(n_betas), (len(at), n_betas))
                    blocks += self._placed(rows, J @ posed.shape_jacobian[at], of_betas)
                elif made.on == "blocks":
                    own = first[:, None, None] + np.arange(self.size).reshape(-1, 3)
                    blocks += self._placed(rows, J, own)
                else:
                    blocks += self._placed(rows, J, first[:, None] + np.arange(self.size))
            parts += [blocks, sparse.csr_array((constant.size, self.unknowns))]
        return sparse.csr_array(sparse.vstack(parts) @ self._chart(x))

    def _placed(self, rows: np.ndarray, values: np.ndarray, columns: np.ndarray) -> sparse.csr_array:
        columns = columns[:, None, None] if columns.ndim == 2 else columns[:, :, None]
        r, c = np.broadcast_arrays(rows[..., None], columns)
        there = values != 0
        return sparse.csr_array((values[there], (r[there], c[there])), shape=(rows.size, self.unknowns))

    def _chart(self, x: np.ndarray) -> sparse.csr_array:
        """Turns columns by a step at the state into columns by `x`: exp(x + d) is exp(x) exp(J_r(x) d)."""
        n = self.frames * self.size
        steps = x[:n].reshape(self.frames, -1, 3)
        blocks = rotations.right_jacobian(steps)
        blocks[:, 0] = np.eye(3)
        blocks = blocks.reshape(-1, 3, 3)
        own = np.arange(len(blocks) + 1)
        turned = sparse.bsr_array((blocks, own[:-1], own), shape=(n, n))
        return sparse.csr_array(sparse.block_diag([turned, sparse.eye_array(self.unknowns - n)]))


def _plain(made: Residuals) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """g = sqrt(rho / s), 2 dg/ds, and the part of the cost that has no gradient, of every item."""
    s = (made.r * made.r).sum(-1)
    if (made.weight == 1).all():
        return np.ones_like(s), np.zeros_like(s), np.maximum(made.cost - 0.5 * s, 0.0)
    far = s > 1e-8
    safe, rho = np.where(far, s, 1.0), 2 * made.cost
    g = np.where(far, np.sqrt(rho / safe), 1.0)
    return g, np.where(far, (made.weight * safe - rho) / (safe * safe * g), 0.0), np.zeros_like(s)


class _TimeUp(Exception):
    pass


def by_scipy(problem: Problem, start: State, *, budget: float, few: float) -> tuple[State, int, str]:
    """Trust region reflective, its systems solved by LSMR.

    Args:
        problem: What to minimise.
        start: Where to begin.
        budget: Of the whole [s]; the best state so far is given when it is spent.
        few: It has converged when a step lowers the cost by less than this part of it.

    Returns:
        State, Jacobians made, why it stopped.
    """
    flat = LeastSquares(problem, start)
    until = time.perf_counter() + budget
    best, x = np.inf, np.zeros(flat.unknowns)
    steps = 0

    def residuals(at: np.ndarray) -> np.ndarray:
        nonlocal best, x
        if time.perf_counter() > until:
            raise _TimeUp
        r = flat.residuals(at)
        if r @ r < best:
            best, x = float(r @ r), at.copy()
        return r

    def jacobian(at: np.ndarray) -> sparse.csr_array:
        nonlocal steps
        steps += 1
        return flat.jacobian(at)

    try:
        ended = least_squares(
            residuals,
            np.zeros(flat.unknowns),
            jac=jacobian,  # type: ignore[arg-type]
            method="trf",
            tr_solver="lsmr",
            x_scale="jac",
            ftol=few,
        )
        why = {1: "gradient is small", 2: "cost hardly falls", 3: "steps are short", 4: "cost hardly falls"}
        reason = why.get(ended.status, "evaluations spent")
    except _TimeUp:
        reason = "time was up"
    return flat.state(x), steps, reason
