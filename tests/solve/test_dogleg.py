from __future__ import annotations

import numpy as np
import pytest
from problems import all_groups, dense, problem_of, stacked, start, system_of

from mocap.solve.dogleg import _path, dogleg
from mocap.solve.problem import Problem

DAMPING = 1e-3


def coupled_path():
    """A path with its gradient, matrix and metric as dense arrays."""
    problem, state = problem_of(4, free_shape=True, chunk=3), start(4)
    system = system_of(problem, state, DAMPING)
    D = np.concatenate([system.scale.ravel(), system.shape_scale])
    g = np.concatenate([system.gradient.ravel(), system.b])
    return _path(system, np.array([DAMPING])), g, dense(system) + DAMPING * np.diag(D), D


def flat(step):
    return np.concatenate([step.delta.ravel(), step.shape])


def test_first_leg_ends_at_the_minimum_along_steepest_descent_and_the_second_at_the_gauss_newton_step():
    path, g, B, D = coupled_path()
    down = -g / D
    best = -(g @ down) / (down @ B @ down)
    np.testing.assert_allclose(flat(path.u), best * down, rtol=1e-6)
    np.testing.assert_allclose(flat(path.w), np.linalg.solve(B, -g), atol=1e-9)
    assert path.sound.all()


@pytest.mark.parametrize("part", [1e-3, 0.1, 0.5, 0.9, 0.999, 1.001, 3.0])
def test_path_leaves_the_region_at_its_radius_with_the_decrease_of_the_model(part):
    path, g, B, D = coupled_path()
    size = np.sqrt(path.ww)
    step, length, limited = path.within(part * size)
    p = flat(step)
    assert np.sqrt(p @ (D * p)) == pytest.approx(min(part, 1) * size[0], rel=1e-6)
    assert length[0] == pytest.approx(min(part, 1) * size[0], rel=1e-6)
    assert limited[0] == (part < 1)
    assert step.predicted[0] == pytest.approx(-(g @ p + 0.5 * p @ B @ p), rel=1e-6)


def test_model_decreases_all_along_the_path():
    path, *_ = coupled_path()
    size = np.sqrt(path.ww)
    promised = [path.within(part * size)[0].predicted[0] for part in np.linspace(0.01, 1.1, 60)]
    assert (np.diff(promised) >= 0).all()
    cauchy = path.within(np.sqrt(path.uu))[0].predicted[0]
    assert 0 < cauchy < promised[-1]


def test_separate_frames_have_paths_of_their_own():
    problem, state = problem_of(coupled=False, shift=0.0, pose_features=False, chunk=4), start()
    system = system_of(problem, state, DAMPING)
    path = _path(system, np.full(6, DAMPING))
    radius = np.sqrt(path.ww) * np.array([0.01, 0.2, 0.4, 0.6, 0.9, 2.0])
    step, length, limited = path.within(radius)
    r, J = stacked(problem, state)
    assert path.sound.all()
    np.testing.assert_array_equal(limited, [True] * 5 + [False])
    for f in range(6):
        Jf, D, p = J[:, 75 * f : 75 * f + 75], system.scale[f], step.delta[f]
        assert np.sqrt(p @ (D * p)) == pytest.approx(length[f], rel=1e-6)
        assert length[f] == pytest.approx(min(radius[f], np.sqrt(path.ww[f])), rel=1e-6)
        model = r @ Jf @ p + 0.5 * ((Jf @ p) @ (Jf @ p) + DAMPING * p @ (D * p))
        assert step.predicted[f] == pytest.approx(-model, rel=1e-3)


def test_a_step_that_failed_is_shortened_without_another_linearisation(monkeypatch):
    counts = {"linearise": 0, "cost": 0}

    def counted(name, of):
        def count(*args):
            counts[name] += 1
            return of(*args)

        return count

    for name in counts:
        monkeypatch.setattr(Problem, name, counted(name, getattr(Problem, name)))
    solution = dogleg(problem_of(), start(size=0.8), initial_radius=100.0, max_iterations=20, by_term=False)
    assert counts["linearise"] <= solution.iterations
    assert counts["cost"] > solution.iterations
    assert (np.diff(solution.history) <= 0).all()


def test_a_short_radius_takes_short_steps_and_grows():
    problem, base = problem_of(), start()
    solution = dogleg(problem, base, initial_radius=1e-3, max_iterations=3)
    assert solution.reasons == {"budget spent": 1}
    assert np.diff(np.diff(solution.history)).max() < 0  # each step lowers the cost by more than the one before
    assert problem.cost(solution.state, all_groups(problem, base))[0] == pytest.approx(solution.cost)
