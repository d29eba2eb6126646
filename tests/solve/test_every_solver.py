from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
from problems import (
    ALL,
    BETAS,
    FEW_JOINTS,
    TIGHT,
    Planted,
    all_groups,
    keypoints,
    least_squares_residuals,
    planted,
    problem_of,
    start,
    system_of,
)
from scipy.optimize import least_squares
from synthetic import random_motion

from mocap.errors import SolveError
from mocap.solve.dogleg import dogleg
from mocap.solve.levenberg_marquardt import levenberg_marquardt
from mocap.solve.problem import State


@pytest.fixture(params=[levenberg_marquardt, dogleg])
def solve(request):
    return request.param


CASES = pytest.mark.parametrize(("coupled", "free_shape"), [(True, False), (True, True), (False, False)])


@cache
def solved(solve, coupled, free_shape):
    problem = problem_of(coupled=coupled, free_shape=free_shape, shift=0.4 * coupled, parents=FEW_JOINTS)
    base = start(n_joints=6)
    return problem, system_of(problem, base).gradient_size, solve(problem, base, **TIGHT)


@CASES
def test_cost_never_increases_and_gradient_vanishes(solve, coupled, free_shape):
    problem, initial, solution = solved(solve, coupled, free_shape)
    assert (np.diff(solution.history) <= 0).all()
    assert solution.converged
    assert (system_of(problem, solution.state).gradient_size < 1e-6 * initial).all()
    assert solution.cost == pytest.approx(sum(solution.cost_by_term.values()), rel=1e-9)
    every = all_groups(problem, solution.state)
    np.testing.assert_allclose(solution.costs, problem.cost(solution.state, every), rtol=1e-9)


@CASES
def test_all_solvers_find_the_same_minimum(coupled, free_shape):
    (problem, _, one), (_, _, other) = (solved(s, coupled, free_shape) for s in (levenberg_marquardt, dogleg))
    np.testing.assert_allclose(one.costs, other.costs, rtol=1e-8)
    np.testing.assert_allclose(one.state.betas, other.state.betas, atol=1e-5)
    np.testing.assert_allclose(keypoints(problem, one.state), keypoints(problem, other.state), atol=1e-5)


@cache
def scipys(free_shape, method):
    """A problem few joints small, since SciPy differentiates by itself, and without a robust kernel to speak of, so
    that plain least squares is the same problem; with its keypoints, betas and cost by SciPy."""
    problem = problem_of(3, parents=FEW_JOINTS, robust=1e6, free_shape=free_shape)
    base = start(3, n_joints=6)
    at, residuals, zero = least_squares_residuals(problem, base)
    found = least_squares(residuals, zero, method=method, xtol=1e-10, ftol=1e-12, gtol=1e-10)
    return problem, base, at(found.x), found.cost


@pytest.mark.parametrize(("free_shape", "method"), [(False, "trf"), (True, "dogbox")])
def test_solution_is_that_of_scipy_least_squares(solve, free_shape, method):
    problem, base, expected, cost = scipys(free_shape, method)
    ours = solve(problem, base, **TIGHT)
    assert ours.cost == pytest.approx(cost, rel=1e-6)
    np.testing.assert_allclose(ours.state.betas, expected.betas, atol=1e-4)
    np.testing.assert_allclose(keypoints(problem, ours.state), keypoints(problem, expected), atol=1e-4)


def test_separate_frames_end_where_each_would_alone(solve):
    problem = problem_of(5, coupled=False, shift=0.0, parents=FEW_JOINTS)
    base = start(5, n_joints=6)
    together = solve(problem, base, **TIGHT)
    only = np.arange(5) == 3
    alone = solve(problem, base, only=only, **TIGHT)
    assert alone.costs[3] == pytest.approx(together.costs[3], rel=1e-9)
    np.testing.assert_allclose(alone.state.R[3], together.state.R[3], atol=1e-6)
    np.testing.assert_array_equal(alone.state.R[~only], base.R[~only])
    assert sum(alone.reasons.values()) == 1 and sum(together.reasons.values()) == 5


def test_long_take_comes_out_the_same_whatever_is_kept_and_however_it_is_cut(solve):
    motion = random_motion(2, 300, 6)
    options = {"parents": FEW_JOINTS, "motion": motion, "terms": ("k3d", "smooth"), "free_shape": True}
    base = start(300, motion=motion, n_joints=6, size=0.05)
    solutions = [
        solve(problem_of(300, **options, **how), base, max_iterations=60, relative_decrease=1e-13)
        for how in ({}, {"memory": 0}, {"chunk": 37, "memory": 1_500_000})
    ]
    for solution in solutions:
        assert solution.converged
        np.testing.assert_allclose(solution.state.R, solutions[0].state.R, atol=1e-6)
        np.testing.assert_allclose(solution.state.Th, solutions[0].state.Th, atol=1e-6)
        np.testing.assert_allclose(solution.state.betas, solutions[0].state.betas, atol=1e-6)


def test_steps_over_five_thousand_frames_are_the_same_when_nothing_of_them_is_kept():
    frames = 5000
    motion = random_motion(2, frames, 6)
    options = {"parents": FEW_JOINTS, "motion": motion, "terms": ("k3d", "smooth"), "free_shape": True}
    base = start(frames, motion=motion, n_joints=6, size=0.05)
    ends = []
    for memory in (10**12, 0):
        problem, state = problem_of(frames, memory=memory, **options), base
        for _ in range(2):
            system = system_of(problem, state)
            assert all((f is None) == (memory == 0) for f in system._factors)
            step = system.step(np.array([1e-3]))
            state = state.stepped(step.delta, step.shape)
        ends.append(state)
    np.testing.assert_allclose(ends[1].R, ends[0].R, atol=1e-6)
    np.testing.assert_allclose(ends[1].Th, ends[0].Th, atol=1e-6)
    np.testing.assert_allclose(ends[1].betas, ends[0].betas, atol=1e-6)


def test_someone_who_turns_round_five_times_is_no_trouble(solve):
    frames = 120
    Rh, Th, poses = random_motion(0, frames, 6, spread=0.3)
    Rh = 0.0 * Rh + np.linspace(0, 10 * np.pi, frames)[:, None] * [0.0, 0.0, 1.0]
    motion = (Rh, Th, poses)
    problem = problem_of(frames, parents=FEW_JOINTS, terms=("k3d", "smooth"), motion=motion)
    base = dataclasses.replace(start(frames, motion=motion, n_joints=6, size=0.2), betas=BETAS)
    solution = solve(problem, base, max_iterations=50)
    assert solution.reasons == {"cost hardly falls": 1}
    truth = dataclasses.replace(start(frames, motion=motion, n_joints=6, size=0.0), betas=BETAS)
    away = np.linalg.norm(keypoints(problem, solution.state) - keypoints(problem, truth), axis=-1)
    assert np.median(away) < 1e-3 and away.max() < 0.02


def test_a_spent_budget_is_not_convergence(solve):
    solution = solve(problem_of(), start(), max_iterations=1)
    assert not solution.converged
    assert solution.reasons == {"budget spent": 1}


def test_a_start_at_the_minimum_has_no_gradient(solve):
    problem = problem_of(terms=("k3d",), coupled=False)
    base = dataclasses.replace(start(size=0.0), betas=BETAS)
    solution = solve(problem, base)
    assert solution.reasons == {"gradient is zero": 6}
    assert solution.converged and solution.iterations == 0


def test_tolerances_are_named(solve):
    solution = solve(problem_of(), start(), max_iterations=100, relative_decrease=1e-3)
    assert solution.reasons == {"cost hardly falls": 1}
    assert solution.facts()["converged"]


def eye(Th):
    return np.broadcast_to(np.eye(3), (len(Th), 3, 3))


def few(frames: int = 3) -> State:
    return start(frames, n_joints=6)


def test_a_cost_that_is_no_number_wherever_it_goes_is_named(solve):
    base = few()
    cliff = Planted(lambda Th: np.where(np.isin(Th, base.Th), Th, np.nan), eye)
    solution = solve(planted(cliff=cliff), base)
    assert solution.reasons == {"not finite": 1}
    assert not solution.converged
    np.testing.assert_array_equal(solution.state.Th, base.Th)


def test_a_matrix_that_no_damping_helps_is_named(solve):
    upside_down = Planted(lambda Th: Th, lambda Th: 1e8 * eye(Th), weight=-1.0)
    solution = solve(planted(upside_down=upside_down), few())
    assert solution.reasons == {"singular": 1}
    assert not solution.converged


@pytest.mark.parametrize("coupled", [True, False])
def test_a_matrix_that_is_not_positive_definite_is_damped_until_it_is(solve, coupled):
    bowl = Planted(lambda Th: Th, eye)
    saddle = Planted(lambda Th: 0 * Th, lambda Th: 2 * eye(Th), weight=-1.0)  # curvature alone: 1 - 4 in all
    solution = solve(planted(bowl=bowl, saddle=saddle, coupled=coupled), few(), max_iterations=100)
    assert solution.converged
    assert (np.diff(solution.history) <= 0).all()
    np.testing.assert_allclose(solution.state.Th, 0, atol=1e-2)


def test_a_gradient_that_leads_nowhere_is_named(solve):
    backwards = Planted(lambda Th: Th, lambda Th: -eye(Th))
    solution = solve(planted(backwards=backwards), few())
    assert set(solution.reasons) <= {"no descent left", "cost stands still"}
    assert solution.iterations == 1


@pytest.mark.parametrize("coupled", [True, False])
def test_nan_at_the_start_is_refused(solve, coupled):
    bad = start()
    bad.Th[2] = np.nan
    problem = problem_of(coupled=coupled, shift=0.4 * coupled)
    with pytest.raises(SolveError, match="not finite in 1 of"):
        solve(problem, bad)


def test_told_of_every_iteration(solve):
    told = []
    problem = problem_of(parents=FEW_JOINTS)
    solution = solve(problem, start(n_joints=6), told=lambda: told.append(1), by_term=False)
    assert len(told) == solution.iterations == len(solution.history) - 1
    assert solution.cost_by_term == {}
    assert solution.cost == pytest.approx(problem.cost(solution.state, ALL)[0])
