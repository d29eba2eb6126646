from __future__ import annotations

import numpy as np
import pytest
from problems import FEW_JOINTS, TIGHT, problem_of, start

from mocap.errors import SolveError
from mocap.solve.levenberg_marquardt import levenberg_marquardt
from mocap.solve.problem import CoupledSystem, Problem


def test_an_old_factor_is_used_where_the_model_held(monkeypatch):
    made = []
    linearise = Problem.linearise
    monkeypatch.setattr(Problem, "linearise", lambda *args: made.append(1) or linearise(*args))
    solution = levenberg_marquardt(problem_of(12, parents=FEW_JOINTS), start(12, n_joints=6), relative_decrease=1e-9)
    assert solution.converged
    assert len(made) < solution.iterations


def test_a_factor_too_old_to_solve_with_is_made_again(monkeypatch):
    step = CoupledSystem.step

    def failing(self: CoupledSystem, damping: np.ndarray):
        if self.chord:
            raise SolveError("too old")
        return step(self, damping)

    problem, base = problem_of(parents=FEW_JOINTS), start(n_joints=6)
    expected = levenberg_marquardt(problem, base, **TIGHT)
    monkeypatch.setattr(CoupledSystem, "step", failing)
    solution = levenberg_marquardt(problem, base, **TIGHT)
    assert solution.converged
    assert solution.cost == pytest.approx(expected.cost, rel=1e-9)
