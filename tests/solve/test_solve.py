from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from synthetic import data_of, random_motion, stepped, toy_body

from mocap.bodies import kinematics
from mocap.errors import SolveError
from mocap.solve.banded import BlockBanded, solve_bordered
from mocap.solve.levenberg_marquardt import levenberg_marquardt
from mocap.solve.problem import Problem, State
from mocap.terms.k2d import K2d
from mocap.terms.k3d import K3d
from mocap.terms.limits import Limits
from mocap.terms.smooth import Smooth

BETAS = np.array([0.5, -0.3, 0.2, 0.1])


def problem_of(frames=6, *, shift=0.4, parents=None, **options):
    body = toy_body()
    data = data_of(body, BETAS, random_motion(0, frames), shift=shift)
    terms = {
        "k3d": K3d(),
        "smooth": Smooth(sigma=20.0, sigma_keypoints=30.0),
        "limits": Limits(),
        "k2d": K2d(),
    }
    bound = {k: t.bind(data) for k, t in terms.items()}
    return Problem(kinematics.fold(body, "body25"), bound, **options)


def start(frames=6, seed=1, size=0.1, n_joints=24):
    Rh, Th, poses = random_motion(0, frames, n_joints)
    delta = size * np.random.default_rng(seed).normal(size=(frames, 3 + 3 * n_joints))
    R, Th = stepped(kinematics.local_rotations(Rh, poses), Th, delta)
    return State(Th, R, BETAS + 0.2)


ALL = np.ones(1, dtype=bool)


@given(st.integers(1, 6), st.integers(0, 3), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_bordered_banded_solution_is_the_dense_one(frames, border, seed):
    rng = np.random.default_rng(seed)
    size = 6
    A = BlockBanded(frames, size, 3 * size - 1)
    blocks = rng.normal(size=(frames, size, size))
    A.add(0, 0, blocks @ blocks.swapaxes(1, 2) + 40 * np.eye(size))
    for lag in (1, 2):
        if frames > lag:
            A.add(lag, 0, rng.normal(size=(frames - lag, size, size)))
            A.add_block_diagonal(lag, 0, rng.normal(size=(frames - lag, size // 3, 3, 3)))
    C, a, b = rng.normal(size=(frames, size, border)), rng.normal(size=(frames, size)), rng.normal(size=border)
    E = 30 * np.eye(border)
    side = C.reshape(frames * size, border)
    whole = np.block([[A.dense(), side], [side.T, E]])
    damped = whole + 0.1 * np.diag(np.maximum(np.diagonal(whole), 1e-6))
    expected = np.linalg.solve(damped, np.concatenate([a.ravel(), b]))
    x, y = solve_bordered(A, C, E, a, b, damping=0.1, floor=1e-6)
    np.testing.assert_allclose(np.concatenate([x.ravel(), y]), expected, atol=1e-9)
    v = rng.normal(size=(frames, size))
    np.testing.assert_allclose(A.times(v).ravel(), A.dense() @ v.ravel(), atol=1e-9)


def test_a_matrix_that_is_not_positive_definite_is_refused():
    A = BlockBanded(2, 3, 5)
    A.add(0, 0, -np.ones((2, 3, 3)))
    with pytest.raises(SolveError, match="positive definite"):
        A.solve(np.ones((2, 3, 1)), damped_diagonal=A.diagonal.copy())


@pytest.mark.parametrize("free_shape", [False, True])
def test_gradient_agrees_with_finite_differences_of_the_cost(free_shape):
    problem, state = problem_of(free_shape=free_shape), start()
    system = problem.linearise(state, ALL)
    rng = np.random.default_rng(3)
    for _ in range(4):
        delta = rng.normal(size=(6, 75))
        shape = rng.normal(size=4) * free_shape
        h = 1e-6
        plus = problem.cost(state.stepped(h * delta, h * shape), ALL)[0]
        minus = problem.cost(state.stepped(-h * delta, -h * shape), ALL)[0]
        ours = (system.gradient * delta).sum() + (system.b @ shape if free_shape else 0)
        assert ours == pytest.approx((plus - minus) / (2 * h), rel=1e-4)


def test_matrix_is_the_one_of_the_stacked_jacobian():
    problem, state = problem_of(free_shape=True), start()
    system = problem.linearise(state, ALL)

    def stacked(delta, shape):
        at = state.stepped(delta, shape)
        posed = kinematics.pose(problem.rig, at.betas, at.R, at.Th)
        rows = []
        for bound in problem.terms.values():
            for m, m0 in zip(bound.residuals(posed, np.arange(6)), reference[bound], strict=True):
                rows.append((np.sqrt(m0.weight)[..., None] * m.r).ravel())
        return np.concatenate(rows)

    posed = kinematics.pose(problem.rig, state.betas, state.R, state.Th)
    reference = {b: b.residuals(posed, np.arange(6)) for b in problem.terms.values()}
    n, h = 6 * 75, 1e-6
    rng = np.random.default_rng(4)
    for _ in range(3):
        delta, shape = rng.normal(size=(6, 75)), rng.normal(size=4)
        Jd = (stacked(h * delta, h * shape) - stacked(-h * delta, -h * shape)) / (2 * h)
        x = delta.reshape(1, -1)
        quadratic = (x @ system.A.dense() @ x.T)[0, 0] + 2 * x[0] @ system.C.reshape(n, -1) @ shape
        quadratic += shape @ (system.E - np.eye(4)) @ shape  # the prior on betas has no residual above
        assert quadratic == pytest.approx(Jd @ Jd, rel=1e-4)


def test_system_does_not_depend_on_chunks():
    state = start()
    one = problem_of(free_shape=True).linearise(state, ALL)
    many = problem_of(free_shape=True, chunk=2).linearise(state, ALL)
    assert many.cost == pytest.approx(one.cost)
    np.testing.assert_allclose(many.gradient, one.gradient, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(many.A.lower, one.A.lower, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(many.C, one.C, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(many.E, one.E, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("coupled", [True, False])
def test_cost_never_increases_and_gradient_vanishes(coupled):
    problem = problem_of(coupled=coupled, shift=0.0)
    solution = levenberg_marquardt(problem, start(), max_iterations=100, relative_decrease=1e-14, gradient=1e-5)
    assert (np.diff(solution.history) <= 1e-9).all()
    assert solution.converged
    active = np.ones(problem.groups(solution.state), dtype=bool)
    assert problem.linearise(solution.state, active).gradient_size.max() < 1e-2
    assert solution.cost == pytest.approx(sum(solution.cost_by_term.values()), rel=1e-6)


def test_solution_is_that_of_scipy_least_squares():
    frames = 4
    body = toy_body(parents=np.array([-1, 0, 0, 0, 1, 2]))  # few joints: scipy differentiates by itself
    data = data_of(body, BETAS, random_motion(0, frames, 6))
    # no robust kernel to speak of, so that scipy's plain least squares is the same problem
    bound = {"k3d": K3d(robust=1e6).bind(data), "smooth": Smooth(sigma=5.0, sigma_root=2.0).bind(data)}
    bound["limits"] = Limits().bind(data)
    problem = Problem(kinematics.fold(body, "body25"), bound)
    base = start(frames, n_joints=6)
    ours = levenberg_marquardt(problem, base, max_iterations=200, relative_decrease=1e-15, gradient=1e-9)

    def residuals(x):
        at = base.stepped(x.reshape(frames, -1), np.zeros(4))
        posed = kinematics.pose(problem.rig, at.betas, at.R, at.Th)
        return np.concatenate([m.r.ravel() for b in bound.values() for m in b.residuals(posed, np.arange(frames))])

    theirs = least_squares(residuals, np.zeros(frames * 21), xtol=1e-13, ftol=1e-13, gtol=1e-13)
    assert ours.cost == pytest.approx(theirs.cost, rel=1e-6)
    at = base.stepped(theirs.x.reshape(frames, -1), np.zeros(4))
    a = kinematics.pose(problem.rig, BETAS, ours.state.R, ours.state.Th).keypoints
    b = kinematics.pose(problem.rig, BETAS, at.R, at.Th).keypoints
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_spent_budget_is_not_convergence():
    solution = levenberg_marquardt(problem_of(), start(), max_iterations=1)
    assert not solution.converged
    assert solution.reasons == {"budget spent": 1}


def test_nan_at_the_start_is_refused():
    bad = start()
    bad.Th[2] = np.nan
    with pytest.raises(SolveError, match="not finite"):
        levenberg_marquardt(problem_of(), bad)
