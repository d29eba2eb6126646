from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from problems import FEW_JOINTS, Planted, dense, planted, problem_of, start, system_of
from synthetic import random_motion

from mocap.errors import SolveError
from mocap.solve.covariance import marginals
from mocap.solve.problem import CoupledSystem, Problem, State


def selected(system: CoupledSystem) -> tuple[np.ndarray, np.ndarray]:
    """S and W of all frames."""
    frames, size = system.gradient.shape
    S, W = np.full((frames, size, size), np.nan), np.full((frames, size, len(system.b)), np.nan)
    for part, some, follow in marginals(system):
        S[part], W[part] = some, follow
    return S, W


def coupled(problem: Problem, state: State, damping: float = 1e-3) -> CoupledSystem:
    system = system_of(problem, state, damping)
    assert isinstance(system, CoupledSystem)
    return system


def compare(problem: Problem, state: State, tolerance: float = 1e-8) -> None:
    """Selected blocks against the inverse of the dense matrix, with the betas held and free."""
    system = coupled(problem, state, damping=0.0)
    S, W = selected(system)
    T = system.border()[1]
    A = dense(system)
    frames, size = system.gradient.shape
    n = frames * size
    held, free = np.linalg.inv(A[:n, :n]), np.linalg.inv(A)
    for f in range(frames):
        own = slice(f * size, (f + 1) * size)
        for ours, theirs in (
            (S[f], held[own, own]),
            (S[f] + W[f] @ T @ W[f].T, free[own, own]),
            (-W[f] @ T, free[own, n:]),
        ):
            if ours.size:
                assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()
    if len(T):
        np.testing.assert_allclose(T, free[n:, n:], rtol=tolerance, atol=tolerance * np.abs(free[n:, n:]).max())


@pytest.mark.parametrize("free_shape", [True, False])
@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 96])
@pytest.mark.parametrize("terms", [("k3d", "smooth", "limits"), ("k3d", "smooth", "limits", "refine_2d")])
def test_selected_blocks_are_those_of_the_dense_inverse(terms, chunk, free_shape):
    # chunks of 2 and of 3 frames leave a last one of a single frame; images couple all parameters of two frames
    few = {"parents": FEW_JOINTS, "motion": random_motion(0, 7, 6)}
    problem = problem_of(7, terms=terms, chunk=chunk, free_shape=free_shape, **few)
    compare(problem, start(7, n_joints=6, motion=few["motion"]))


def test_the_whole_body_too():
    compare(problem_of(5, chunk=2, free_shape=True), start(5))


@pytest.mark.parametrize("frames", [1, 2])
def test_takes_shorter_than_what_a_frame_is_coupled_to(frames):
    motion = random_motion(0, frames, 6)
    terms = ("k3d", "limits", "smooth") if frames > 2 else ("k3d", "limits")
    problem = problem_of(frames, terms=terms, parents=FEW_JOINTS, motion=motion, free_shape=True)
    compare(problem, start(frames, n_joints=6, motion=motion))


def test_no_error_builds_up_over_a_long_take():
    motion = random_motion(0, 90, 6)
    problem = problem_of(90, terms=("k3d", "smooth", "limits"), parents=FEW_JOINTS, motion=motion, free_shape=True)
    compare(problem, start(90, n_joints=6, motion=motion))


def test_blocks_do_not_depend_on_chunks_or_on_what_is_kept():
    motion = random_motion(0, 40, 6)
    problem = problem_of(40, terms=("k3d", "smooth"), parents=FEW_JOINTS, motion=motion, free_shape=True)
    state = start(40, n_joints=6, motion=motion)
    S, W = selected(coupled(problem, state))
    for memory in (None, 0):
        cut = selected(coupled(dataclasses.replace(problem, chunk=7, memory=memory), state))
        np.testing.assert_allclose(cut[0], S, atol=1e-9 * np.abs(S).max())
        np.testing.assert_allclose(cut[1], W, atol=1e-9 * np.abs(W).max())


def test_covariances_are_symmetric_and_positive():
    S, _ = selected(coupled(problem_of(6, chunk=2, free_shape=True), start(6)))
    np.testing.assert_array_equal(S, S.swapaxes(1, 2))
    assert (np.linalg.eigvalsh(S) > 0).all()


def test_a_matrix_that_is_not_positive_definite_is_refused():
    saddle = Planted(lambda Th: Th, lambda Th: np.broadcast_to(np.eye(3), (*Th.shape, 3)), weight=-1.0)
    problem = planted(saddle=saddle)
    state = State(np.zeros((4, 3)), np.broadcast_to(np.eye(3), (4, 6, 3, 3)), np.zeros(4))
    with pytest.raises(SolveError):
        selected(coupled(problem, state, damping=0.0))
