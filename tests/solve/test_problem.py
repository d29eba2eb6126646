from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from problems import ALL, all_groups, dense, problem_of, stacked, start, system_of

from mocap.solve import parallel


@pytest.mark.parametrize("free_shape", [False, True])
def test_gradient_agrees_with_finite_differences_of_the_cost(free_shape):
    problem, state = problem_of(free_shape=free_shape), start()
    assert problem.reach == 2
    system = system_of(problem, state)
    rng, h = np.random.default_rng(3), 1e-6
    for _ in range(4):
        delta, shape = rng.normal(size=(6, 75)), rng.normal(size=4) * free_shape
        plus = problem.cost(state.stepped(h * delta, h * shape), ALL)[0]
        minus = problem.cost(state.stepped(-h * delta, -h * shape), ALL)[0]
        ours = (system.gradient * delta).sum() + (system.b @ shape if free_shape else 0)
        assert ours == pytest.approx((plus - minus) / (2 * h), rel=1e-5)
    assert system.cost[0] == pytest.approx(problem.cost(state, ALL)[0], rel=1e-12)


def test_gradient_of_separate_frames_agrees_with_finite_differences_of_their_costs():
    problem, state = problem_of(coupled=False, shift=0.0), start()
    system = system_of(problem, state)
    groups, h = all_groups(problem, state), 1e-6
    delta = np.random.default_rng(3).normal(size=(6, 75))
    plus, minus = (problem.cost(state.stepped(s * h * delta, np.zeros(4)), groups) for s in (1, -1))
    np.testing.assert_allclose((system.gradient * delta).sum(1), (plus - minus) / (2 * h), rtol=1e-5)


@pytest.mark.parametrize("pose_features", [False, True])
@pytest.mark.parametrize("free_shape", [False, True])
@pytest.mark.parametrize("chunk", [96, 2])
def test_system_is_that_of_the_stacked_exact_jacobian(free_shape, pose_features, chunk):
    problem = problem_of(free_shape=free_shape, pose_features=pose_features, chunk=chunk)
    state = start()
    system = system_of(problem, state)
    r, J = stacked(problem, state)
    # the gradient is exact; the curvature comes from a Jacobian in single precision, without what poses bend little
    expected = J.T @ r
    ours = np.concatenate([system.gradient.ravel(), system.b])
    np.testing.assert_allclose(ours, expected, atol=1e-10 * np.abs(expected).max())
    H = J.T @ J
    size = np.sqrt(np.diagonal(H))
    away = np.abs(dense(system) - H) / np.maximum(np.outer(size, size), 1e-6)
    assert away.max() < (1e-3 if pose_features else 1e-5)


def test_system_does_not_depend_on_chunks():
    state = start(7)
    one = system_of(problem_of(7, free_shape=True), state)
    step = one.step(np.array([1e-3]))
    for chunk in (1, 2, 3):  # 1: as few as the terms reach; 3: a last chunk of a single frame
        many = system_of(problem_of(7, free_shape=True, chunk=chunk), state)
        assert len(many.chunks) > 1
        assert many.cost == pytest.approx(one.cost, rel=1e-12)
        np.testing.assert_allclose(many.gradient, one.gradient, rtol=1e-9, atol=1e-7)
        np.testing.assert_allclose(many.b, one.b, rtol=1e-9, atol=1e-7)
        np.testing.assert_allclose(many.scale, one.scale, rtol=1e-6)
        a, b = dense(many), dense(one)
        size = np.sqrt(np.diagonal(b))
        np.testing.assert_allclose(a / np.outer(size, size), b / np.outer(size, size), atol=1e-5)
        other = many.step(np.array([1e-3]))
        np.testing.assert_allclose(other.delta, step.delta, atol=1e-4 * np.abs(step.delta).max())
        np.testing.assert_allclose(other.predicted, step.predicted, rtol=1e-5)


@pytest.mark.parametrize("damping", [1e-3, 0.5])
def test_step_is_the_dense_damped_one_with_the_decrease_its_model_promises(damping):
    problem, state = problem_of(7, free_shape=True, chunk=3), start(7)
    system = system_of(problem, state)
    step = system.step(np.array([damping]))
    H = dense(system)
    scale = np.concatenate([system.scale.ravel(), system.shape_scale])
    g = np.concatenate([system.gradient.ravel(), system.b])
    x = np.linalg.solve(H + damping * np.diag(scale), -g)
    ours = np.concatenate([step.delta.ravel(), step.shape])
    np.testing.assert_allclose(ours, x, atol=1e-9 * np.abs(x).max())
    assert step.predicted[0] == pytest.approx(-(g @ x + 0.5 * x @ H @ x), rel=1e-9)


@pytest.mark.parametrize("damping", [1e-3, 0.5])
@pytest.mark.parametrize("part", [0.0, 0.4, 0.8])
def test_step_is_the_same_when_little_or_nothing_of_the_system_is_kept(damping, part):
    state = start(7)
    problem = problem_of(7, free_shape=True, chunk=2)
    whole = system_of(problem, state)
    kept = whole.step(np.array([damping]))
    size = sum(f.bytes for f in whole._factors)
    again = system_of(dataclasses.replace(problem, memory=int(part * size)), state)
    assert any(f is None for f in again._factors) and any(f is not None for f in again._factors) == (part > 0)
    step = again.step(np.array([damping]))
    np.testing.assert_allclose(step.delta, kept.delta, atol=1e-9)
    np.testing.assert_allclose(step.shape, kept.shape, atol=1e-9)
    assert (again.moved(state) is None) == (None in again._factors)


@pytest.mark.parametrize("free_shape", [False, True])
def test_a_moved_system_steps_by_the_new_gradient_and_the_old_curvature(free_shape):
    problem, state = problem_of(7, free_shape=free_shape, chunk=3), start(7)
    old = system_of(problem, state, 1e-2)
    there = state.stepped(*(lambda s: (0.3 * s.delta, 0.3 * s.shape))(old.step(np.array([1e-2]))))
    moved, new = old.moved(there), system_of(problem, there)
    assert moved.chord and not new.chord
    assert moved.cost == pytest.approx(new.cost, rel=1e-12)
    np.testing.assert_allclose(moved.gradient, new.gradient, rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(moved.b, new.b, rtol=1e-9, atol=1e-8)
    # the damping stays as it was too
    scale = np.concatenate([old.scale.ravel(), old.shape_scale])
    g = np.concatenate([new.gradient.ravel(), new.b])
    x = np.linalg.solve(dense(old) + 1e-2 * np.diag(scale), -g)
    for _ in range(2):  # however often it is asked
        step = moved.step(np.array([1.0]))
        ours = np.concatenate([step.delta.ravel(), step.shape[: len(new.b)]])
        np.testing.assert_allclose(ours, x, atol=1e-9 * np.abs(x).max())
        assert step.predicted[0] == pytest.approx(-(g @ x + 0.5 * x @ dense(old) @ x), rel=1e-9)
    # what it was moved from is as it was
    np.testing.assert_allclose(
        old.step(np.array([1e-2])).delta, system_of(problem, state, 1e-2).step(np.array([1e-2])).delta
    )


@pytest.mark.parametrize("memory", [0, 10**9])
def test_curvature_along_a_step_is_that_of_the_dense_matrix(memory):
    problem, state = problem_of(7, free_shape=True, chunk=3, memory=memory), start(7)
    system = system_of(problem, state)
    rng = np.random.default_rng(0)
    delta, shape = rng.normal(size=(7, 75)), rng.normal(size=4)
    z = np.concatenate([delta.ravel(), shape])
    assert system.curvature(delta, shape)[0] == pytest.approx(z @ dense(system) @ z, rel=1e-6)


def test_curvature_of_separate_frames_is_that_of_each_frames_matrix():
    problem, state = problem_of(coupled=False, shift=0.0, chunk=4, pose_features=False), start()
    active = np.array([True, False, True, True, True, True])
    system = problem.linearise(state, active, np.full(6, 1e-3))
    delta = np.random.default_rng(0).normal(size=(6, 75))
    _, J = stacked(problem, state)
    expected = np.array([((J[:, 75 * f : 75 * f + 75] @ delta[f]) ** 2).sum() for f in range(6)]) * active
    np.testing.assert_allclose(system.curvature(delta, np.zeros(4)), expected, rtol=1e-4)


def test_separate_steps_are_each_frames_own_damped_ones():
    problem, state = problem_of(coupled=False, shift=0.0, chunk=4, pose_features=False), start()
    damping = np.geomspace(1e-3, 1, 6)
    system = problem.linearise(state, np.ones(6, dtype=bool), np.full(6, 1e-3))
    step = system.step(damping)
    r, J = stacked(problem, state)
    for f in range(6):
        Jf = J[:, 75 * f : 75 * f + 75]
        D = damping[f] * np.diag(system.scale[f])
        x = np.linalg.solve(Jf.T @ Jf + D, -Jf.T @ r)
        np.testing.assert_allclose(step.delta[f], x, atol=1e-3 * np.abs(x).max())
        decrease = -(r @ Jf @ x + 0.5 * (Jf @ x) @ (Jf @ x))
        assert step.predicted[f] == pytest.approx(decrease, rel=1e-3)


@pytest.mark.parametrize("coupled", [True, False])
def test_threads_change_nothing(coupled, monkeypatch):
    problem, state = problem_of(9, shift=0.4 * coupled, coupled=coupled, free_shape=coupled, chunk=2), start(9)
    damping = np.full(problem.groups(state), 1e-3)
    steps, costs = [], []
    for cores in (1, 2, 4):
        monkeypatch.setattr(parallel, "cores", lambda cores=cores: cores)
        steps.append(system_of(problem, state).step(damping))
        costs.append(problem.cost(state, all_groups(problem, state)))
    for step, cost in zip(steps[1:], costs[1:], strict=True):
        np.testing.assert_array_equal(step.delta, steps[0].delta)
        np.testing.assert_array_equal(step.shape, steps[0].shape)
        np.testing.assert_array_equal(cost, costs[0])


def test_costs_of_terms_and_the_shape_prior_add_up():
    problem, state = problem_of(free_shape=True, shape_weight=3.0, chunk=2), start()
    by_term = problem.cost_by_term(state)
    assert by_term["shape"] == pytest.approx(1.5 * state.betas @ state.betas)
    assert sum(by_term.values()) == pytest.approx(problem.cost(state, ALL)[0], rel=1e-12)


def test_what_fails_in_a_thread_is_raised_where_it_is_read():
    def work(i: int) -> int:
        if i == 3:
            raise ValueError("three")
        return i

    made = []
    with pytest.raises(ValueError, match="three"):
        made.extend(parallel.in_order(work, range(6)))
    assert made == [0, 1, 2]
