"""The parts of `benchmarks/` that figures rest on: takes, baselines and the accuracy check. Nothing here takes time."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mocap.bodies import kinematics
from mocap.bodies.ranges import joint_ranges

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def _loaded(name: str) -> ModuleType:
    """A program's module, by its path: `tests/fit` has a name like one of them."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is for benchmarks only")


@pytest.fixture(scope="module")
def lbfgs(torch):
    return _loaded("lbfgs_baseline")


fit = _loaded("fit")
least_squares, takes = _loaded("least_squares_baseline"), _loaded("synthetic_takes")
KINDS, synthetic_take = takes.KINDS, takes.synthetic_take
ROW = fit.Row("mocap", "free", 100, 0.5, 0.6, 5.0, 8.0, 0.3, 0.2, 9, "cost hardly falls")


@pytest.fixture(scope="module")
def small():
    """A short take, its objective and a state that is off the truth."""
    take = synthetic_take("anatomical", 12)
    one = fit.one_objective(take, fit.losses("anatomical"))
    flat = least_squares.LeastSquares(one.problem, one.start)
    return take, one, flat, 0.2 * np.random.default_rng(0).normal(size=flat.unknowns)


@pytest.mark.parametrize("kind", KINDS)
def test_a_take_is_the_same_every_time_and_as_noisy_as_it_says(kind):
    take, again = (synthetic_take(kind, 60) for _ in range(2))
    np.testing.assert_array_equal(take.points.xyz, again.points.xyz)
    assert take.errors(take.betas, take.motion) == (0.0, 0.0)
    quiet = synthetic_take(kind, 60, noise=0.0)
    seen = take.points.confidence > 0
    noise = (take.points.xyz - quiet.points.xyz)[seen]
    assert noise.std() == pytest.approx(takes.NOISE, rel=0.05)
    assert (~seen).mean() == pytest.approx(takes.MISSING, abs=0.02)


def test_anatomical_motion_stays_within_the_ranges_and_free_motion_does_not():
    within = []
    for kind in KINDS:
        take = synthetic_take(kind, 200)
        ranges = joint_ranges(take.body.joint_names[1:])
        within.append(bool(((take.motion.poses > ranges.low) & (take.motion.poses < ranges.high)).all()))
    assert within == [True, False]


def test_free_motion_is_fitted_without_what_knows_people():
    assert {"k3d", "smooth"} <= fit.losses("free").keys() <= fit.losses("anatomical").keys()
    assert not fit.losses("free").keys() & {"prior", "limits"}


def test_residuals_given_to_scipy_have_the_cost_of_the_problem(small):
    _, one, flat, x = small
    r = flat.residuals(x)
    assert 0.5 * r @ r == pytest.approx(sum(one.problem.cost_by_term(flat.state(x)).values()), rel=1e-9)


def test_jacobian_given_to_scipy_is_that_of_its_residuals(small):
    *_, flat, x = small
    J = flat.jacobian(x)
    rng = np.random.default_rng(1)
    for i in [*rng.choice(flat.unknowns, 12, replace=False), flat.unknowns - 1]:
        step = np.zeros(flat.unknowns)
        step[i] = 1e-6
        by_difference = (flat.residuals(x + step) - flat.residuals(x - step)) / 2e-6
        np.testing.assert_allclose(J[:, [i]].toarray().ravel(), by_difference, atol=1e-6 * np.abs(by_difference).max())


def test_keypoints_in_torch_are_those_of_the_package(torch, lbfgs):
    take = synthetic_take("free", 3)
    R = kinematics.local_rotations(take.motion.Rh, take.motion.poses)
    model = lbfgs.TorchBody(take.body, take.points.skeleton, torch.float64)
    made = model.keypoints(*(torch.as_tensor(x) for x in (take.betas, R, take.motion.Th)))
    ours = kinematics.pose(kinematics.fold(take.body, "body25"), take.betas, R, take.motion.Th).keypoints
    np.testing.assert_allclose(made.numpy(), ours, atol=1e-7)


def test_objective_in_torch_is_that_of_the_problem(small, torch, lbfgs):
    take, one, flat, x = small
    problem, state = one.problem, flat.state(0.3 * x)
    cost = lbfgs.objective(problem.terms, take.body, problem.rig.skeleton, problem.shape_weight, torch.float64)
    made = cost(*(torch.as_tensor(v) for v in (state.betas, state.R, state.Th)))
    assert float(made) == pytest.approx(sum(problem.cost_by_term(state).values()), rel=1e-7)


@pytest.mark.parametrize("to_convergence", [False, True])
def test_lbfgs_stops_by_its_rule_or_when_its_time_is_up(to_convergence, torch, lbfgs):
    for budget, reason in ((60.0, "converged" if to_convergence else "its own rule"), (0.0, fit.TIME_UP)):
        x = torch.tensor([-1.2, 1.0])
        ended = lbfgs.minimise(
            lambda x=x: 1 + 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2,  # Rosenbrock's valley
            [x],
            until=time.perf_counter() + budget,
            to_convergence=to_convergence,
        )
        assert ended.reason == reason
        assert np.allclose(x.numpy(), 1.0, atol=1e-2) == (reason != fit.TIME_UP)


@pytest.mark.parametrize("solver", ["lm", "lbfgs", "scipy"])
def test_every_solver_lowers_the_one_objective(small, solver):
    if solver == "lbfgs":
        pytest.importorskip("torch", reason="torch is for benchmarks only")
    _, one, _, _ = small
    state, iterations, _ = fit.solved_by(solver, one, budget=20)
    assert iterations > 0
    before, after = (sum(one.problem.cost_by_term(s).values()) for s in (one.start, state))
    assert after < before


def test_a_fit_that_got_worse_is_told_and_one_that_got_better_is_not():
    before = fit.accuracy([ROW])
    assert before == {"free 100": {"points": 5.0, "joints": 8.0}}
    assert not fit.worsened(fit.accuracy([dataclasses.replace(ROW, points=4.0, joints=8.2)]), before)
    said = fit.worsened(fit.accuracy([dataclasses.replace(ROW, joints=8.3)]), before)
    assert said == ["free 100: the error of the joints is 8.30 mm; it was 8.00 mm."]
    assert len(fit.worsened(fit.accuracy([dataclasses.replace(ROW, points=np.nan)]), before)) == 1
    assert len(fit.worsened({}, before)) == 2


def test_committed_baseline_is_of_the_takes_that_are_checked():
    lengths = [n for n in fit.FRAMES if n <= fit.BASELINE_FRAMES]
    assert json.loads(fit.BASELINE.read_text()).keys() == {f"{kind} {n}" for kind in KINDS for n in lengths}


def test_tables_tell_ratios_bounds_and_what_was_skipped():
    slow = dataclasses.replace(ROW, method="easymocap", seconds=10.0, cpu=12.0, ended=fit.TIME_UP)
    text = fit.fit_tables([ROW, slow, fit.Skipped("scipy", "free", 100, "it was too slow")])
    lines = [line for line in text.splitlines() if line.startswith("| free")]
    assert [line.split(" | ")[5:7] for line in lines] == [["1", "1"], ["> 20", "> 20"]]
    assert "scipy least_squares, trf, lsmr: skipped, it was too slow" in text


def test_readme_takes_the_tables_between_its_markers():
    readme = fit.README.read_text(encoding="utf-8")
    once = fit.between_markers(readme, "fit", "| a |")
    assert fit.between_markers(once, "fit", "| a |") == once
    assert "| a |" in once
    with pytest.raises(ValueError, match="nothing: begin"):
        fit.between_markers(readme, "nothing", "")


def test_hands_are_compared_with_the_body_without_fingers():
    run = [sys.executable, str(BENCHMARKS / "hands.py"), "--frames", "20"]
    told = subprocess.run(run, capture_output=True, text=True, check=True, timeout=120).stdout
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines() if line.startswith("| ")]
    body, fingers = ({cells[0]: cells[column] for cells in rows[1:]} for column in (4, 5))
    assert len(body) == 4 and not body["hand"] and not fingers["body, 24 joints"]
    assert float(fingers["hand"]) < 3 and float(fingers["body with hands"]) < 3 < float(
        fingers["body with hands, unseen"]
    )
    assert all(0 < float(error) < 30 for error in body.values() if error)
