"""Pictures each with a shape of their own, solved at once: gradients, matrices, steps and what is held."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from problems import FEW_JOINTS, all_groups, keypoints, system_of
from scipy.optimize import least_squares
from single_view import before_camera
from synthetic import random_motion, stepped, toy_body

from mocap.bodies import kinematics
from mocap.fit.smplify import unit_rig
from mocap.skeletons import BODY25
from mocap.solve.dogleg import dogleg
from mocap.solve.levenberg_marquardt import levenberg_marquardt
from mocap.solve.problem import Problem, State
from mocap.terms.base import Data
from mocap.terms.depth import Depth
from mocap.terms.hinges import Hinges
from mocap.terms.k2d import K2d
from mocap.terms.rest import Rest

PICTURES = 3
MOTION, BETAS = 21, 4
"""Parameters of a picture: six joints', and its shape."""
TIGHT = {"max_iterations": 300, "relative_decrease": 1e-14, "gradient": 1e-9}
TERMS = {"k2d": K2d(), "hinges": Hinges(), "depth": Depth(), "rest": Rest(weight=2.0)}


@pytest.fixture(scope="module")
def truth():
    body = toy_body(parents=FEW_JOINTS)
    body = dataclasses.replace(body, posedirs=np.zeros_like(body.posedirs))  # so that the curvature is exact
    Rh, Th, poses = random_motion(4, PICTURES, 6)
    state = State(Th + [0, 0, 6], kinematics.local_rotations(Rh, poses), np.random.default_rng(4).normal(size=(3, 4)))
    return before_camera(body, state, noise=0.002, skeleton=BODY25)


def problem_of(truth, **options) -> Problem:
    data = Data(truth.body, truth.seen.timestamps, None, {"unit": truth.seen}, unit_rig())
    bound = {label: term.bind(data) for label, term in TERMS.items()}
    rig = kinematics.fold(truth.body, truth.seen.skeleton)
    return Problem(rig, bound, **{"coupled": False, "free_shape": True, "shape_weight": 3.0} | options)


@pytest.fixture(scope="module")
def begin(truth):
    delta = 0.1 * np.random.default_rng(5).normal(size=(PICTURES, MOTION))
    R, Th = stepped(truth.state.R, truth.state.Th, delta)
    return State(Th, R, truth.state.betas + 0.3)


def numeric_jacobian(problem: Problem, state: State) -> np.ndarray:
    """Of a picture's residuals, times the root of their weights held where they are, by parameters and betas."""
    whole = MOTION + state.betas.shape[1]
    h = 1e-6

    def stacked(at: State) -> list:
        posed = kinematics.pose(problem.rig, at.betas, at.R, at.Th)
        return [m for b in problem.used.values() for m in b.residuals(posed, np.arange(len(at.Th)))]

    gain = [np.sqrt(m.weight)[..., None] for m in stacked(state)]
    columns = []
    for i in range(whole):
        plus, minus = (stacked(state.stepped(s * h * np.eye(whole)[i : i + 1], np.zeros(BETAS))) for s in (1, -1))
        rows = [(g * (a.r - b.r)).ravel() / (2 * h) for g, a, b in zip(gain, plus, minus, strict=True)]
        columns.append(np.concatenate(rows))
    prior = np.sqrt(problem.shape_weight) * np.eye(whole)[MOTION:]
    return np.concatenate([np.stack(columns, axis=1), prior])


def test_gradient_agrees_with_finite_differences_of_every_pictures_cost(truth, begin):
    problem = problem_of(truth)
    assert problem.size(begin) == MOTION + BETAS
    system, groups = system_of(problem, begin), all_groups(problem, begin)
    rng, h = np.random.default_rng(6), 1e-6
    for part in (slice(None), slice(MOTION, None)):  # all, and the shapes alone
        delta = np.zeros((PICTURES, MOTION + BETAS))
        delta[:, part] = rng.normal(size=delta[:, part].shape)
        plus, minus = (problem.cost(begin.stepped(s * h * delta, np.zeros(BETAS)), groups) for s in (1, -1))
        np.testing.assert_allclose((system.gradient * delta).sum(1), (plus - minus) / (2 * h), rtol=1e-4)
    np.testing.assert_allclose(system.cost, problem.cost(begin, groups), rtol=1e-12)


def test_costs_by_term_and_picture_add_up_and_shapes_cost_the_half_square(truth, begin):
    problem = problem_of(truth)
    told = problem.cost_by_term(begin)
    assert sum(told.values()) == pytest.approx(problem.cost(begin, all_groups(problem, begin)).sum(), rel=1e-12)
    assert told["shape"] == pytest.approx(0.5 * 3.0 * (begin.betas**2).sum())


def test_gauss_newton_matrix_is_that_of_a_numeric_jacobian(truth, begin):
    one = begin.at(np.array([0]))
    first = dataclasses.replace(
        truth.seen, **{k: getattr(truth.seen, k)[:1] for k in ("timestamps", "xy", "confidence")}
    )
    problem = problem_of(dataclasses.replace(truth, seen=first))
    H = problem.linearised(one, np.array([0]), slice(0, 1)).blocks.diagonal[0]
    J = numeric_jacobian(problem, one)
    expected = J.T @ J
    size = np.sqrt(np.maximum(np.diagonal(expected), 1e-6))
    assert (np.abs(H - expected) / np.outer(size, size)).max() < 1e-4  # single precision


def test_both_solvers_end_where_scipy_does(truth, begin):
    # with a robust kernel of no effect, so that plain least squares is the same problem
    far = {**TERMS, "k2d": K2d(sigma=1e7)}
    data = Data(truth.body, truth.seen.timestamps, None, {"unit": truth.seen}, unit_rig())
    problem = dataclasses.replace(problem_of(truth), terms={label: term.bind(data) for label, term in far.items()})
    k = 1
    base = begin.at(np.array([k]))

    def residuals(x: np.ndarray) -> np.ndarray:
        at = base.stepped(x[None], np.zeros(BETAS))
        posed = kinematics.pose(problem.rig, at.betas, at.R, at.Th)
        made = [m.r.ravel() for b in problem.used.values() for m in b.residuals(posed, np.array([k]))]
        return np.concatenate([*made, np.sqrt(problem.shape_weight) * at.betas[0]])

    found = least_squares(residuals, np.zeros(MOTION + BETAS), method="lm", xtol=1e-8, ftol=1e-10)
    end = base.stepped(found.x[None], np.zeros(BETAS))
    for solve in (dogleg, levenberg_marquardt):
        ours = solve(problem, begin, max_iterations=200, relative_decrease=1e-9)
        assert ours.costs[k] == pytest.approx(found.cost, rel=1e-6)
        np.testing.assert_allclose(ours.state.betas[k], end.betas[0], atol=1e-3)
        np.testing.assert_allclose(keypoints(problem, ours.state.at(np.array([k]))), keypoints(problem, end), atol=1e-4)


def test_held_parameters_stay_and_the_others_reach_the_optimum_without_them(truth, begin):
    held = (0, 1, 2, 6, 7, 8, MOTION, MOTION + 3)
    problem = problem_of(truth, held=held)
    solution = dogleg(problem, begin, **TIGHT)
    free = np.setdiff1d(np.arange(MOTION + BETAS), held)
    np.testing.assert_array_equal(solution.state.Th, begin.Th)
    np.testing.assert_array_equal(solution.state.R[:, 1], begin.R[:, 1])
    np.testing.assert_array_equal(solution.state.betas[:, [0, 3]], begin.betas[:, [0, 3]])
    assert np.abs(solution.state.betas - begin.betas).max() > 0.01
    whole = problem_of(truth)  # where nothing is held, the gradient by the free ones is zero there as well
    before, after = (np.abs(system_of(whole, s).gradient) for s in (begin, solution.state))
    assert after[:, free].max() < 1e-6 * before[:, free].max()
    assert after[:, list(held)].max() > 1e-3 * before[:, list(held)].max()
    assert (solution.costs > dogleg(whole, begin, **TIGHT).costs).all()


def test_pictures_together_end_where_each_does_alone(truth, begin):
    problem = problem_of(truth)
    together = dogleg(problem, begin, max_iterations=30)
    for k in range(PICTURES):
        only = np.arange(PICTURES) == k
        alone = dogleg(problem, begin, max_iterations=30, only=only)
        np.testing.assert_allclose(alone.costs[k], together.costs[k], rtol=1e-6)
        np.testing.assert_allclose(alone.state.betas[k], together.state.betas[k], atol=1e-4)
        np.testing.assert_array_equal(alone.state.betas[~only], begin.betas[~only])


@pytest.mark.parametrize("options", [{"memory": 0}, {"chunk": 1}, {"chunk": 2, "memory": 0}])
def test_steps_and_curvature_are_the_same_when_nothing_is_kept_and_however_it_is_cut(truth, begin, options):
    # another damping than it was made with, and only some of the pictures
    active, damping = np.array([True, False, True]), np.array([0.5, 0.5, 0.01])
    delta = np.random.default_rng(7).normal(size=(PICTURES, MOTION + BETAS))
    held = (3, 4)
    made = []
    for how in ({}, options):
        system = problem_of(truth, held=held, **how).linearise(begin, active, np.full(PICTURES, 1e-3))
        made.append((system.step(damping), system.curvature(delta, np.zeros(BETAS))))
    (one, along), (other, along_too) = made
    assert not one.delta[1].any() and not one.delta[:, held].any() and one.delta[0].any()
    np.testing.assert_allclose(other.delta, one.delta, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(other.predicted, one.predicted, rtol=1e-5)
    np.testing.assert_allclose(along_too, along, rtol=1e-6)


def test_the_decrease_a_step_promises_is_that_of_its_model(truth, begin):
    problem, damping = problem_of(truth), np.full(PICTURES, 1e-2)
    system = problem.linearise(begin, np.ones(PICTURES, dtype=bool), damping)
    step = system.step(damping)
    bend = system.curvature(step.delta, np.zeros(BETAS))
    np.testing.assert_allclose(step.predicted, -(system.gradient * step.delta).sum(1) - 0.5 * bend, rtol=1e-4)


def test_shapes_that_are_not_solved_for_stay(truth, begin):
    problem = problem_of(truth, free_shape=False)
    assert problem.size(begin) == MOTION
    solution = dogleg(problem, begin, max_iterations=10)
    np.testing.assert_array_equal(solution.state.betas, begin.betas)
    assert (solution.costs < problem.cost(begin, all_groups(problem, begin))).all()
