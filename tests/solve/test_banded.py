from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import cholesky_banded, solve_triangular

from mocap.errors import SolveError
from mocap.solve.banded import Blocks, eliminate, eliminate_again, solve_border, substitute
from mocap.solve.lapack import factorise_banded, solve_triangular_banded

SIZE = 6


def random_blocks(rng, frames, dense, parts, border):
    """Some frames, positive definite whatever their neighbours are."""
    square = rng.normal(size=(frames, SIZE, SIZE))
    return Blocks(
        square @ square.swapaxes(1, 2) + 60 * np.eye(SIZE),
        {lag: rng.normal(size=(frames, SIZE, SIZE)) for lag in dense},
        {lag: rng.normal(size=(frames, SIZE // 3, 3, 3)) for lag in parts},
        rng.normal(size=(frames, SIZE, border)) if border else None,
    )


def assemble(chunks, border):
    """All chunks' rows as one dense matrix, and what borders it."""
    frames = sum(b.frames for b in chunks)
    A, C = np.zeros((frames, SIZE, frames, SIZE)), np.zeros((frames, SIZE, border))
    first = 0
    for blocks in chunks:
        for k in range(blocks.frames):
            f = first + k
            A[f, :, f] = blocks.diagonal[k]
            if border:
                C[f] = blocks.border[k]
            for lag in range(1, min(blocks.reach, frames - 1 - f) + 1):
                if lag in blocks.dense:
                    A[f + lag, :, f] += blocks.dense[lag][k]
                if lag in blocks.parts:
                    for p in range(SIZE // 3):
                        at = slice(3 * p, 3 * p + 3)
                        A[f + lag, at, f, at] += blocks.parts[lag][k, p]
                A[f, :, f + lag] = A[f + lag, :, f].T
        first += blocks.frames
    return A.reshape(frames * SIZE, -1), C.reshape(frames * SIZE, border)


def forward(chunks, rhs, diagonal):
    carried, factors, first = None, [], 0
    for i, blocks in enumerate(chunks):
        part = slice(first, first + blocks.frames)
        factor, carried = eliminate(
            blocks, rhs[part], carried, damped_diagonal=diagonal[part], last=i == len(chunks) - 1
        )
        factors.append(factor)
        first = part.stop
    return factors, carried


def backward(factors, carried, E, b):
    y, _ = solve_border(carried, E, b)
    later, parts = np.zeros(0), []
    for factor in reversed(factors):
        later = substitute(factor, y, later)
        parts.append(later)
    return np.concatenate([*reversed(parts), y])


lags = st.sets(st.integers(1, 2))


@given(
    chunks=st.lists(st.tuples(st.integers(2, 3), lags, lags), max_size=2),
    last=st.tuples(st.integers(1, 3), lags, lags),
    border=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_chunked_elimination_gives_the_dense_solution_whatever_each_chunk_couples(chunks, last, border, seed):
    rng = np.random.default_rng(seed)
    chunks = [random_blocks(rng, *c, border) for c in (*chunks, last)]
    A, C = assemble(chunks, border)
    diagonal = np.diagonal(A) * 1.1 + 0.5
    E, frames = 60 * np.eye(border), sum(c.frames for c in chunks)
    damped = A + np.diag(diagonal - np.diagonal(A))
    whole = np.block([[damped, C], [C.T, E]])
    a, b = rng.normal(size=(frames, SIZE)), rng.normal(size=border)
    factors, carried = forward(chunks, a, diagonal.reshape(frames, SIZE))
    x = backward(factors, carried, E, b)
    np.testing.assert_allclose(x, np.linalg.solve(whole, np.concatenate([a.ravel(), b])), atol=1e-10)
    if border:
        spread = np.linalg.inv(whole)[-border:, -border:]
        np.testing.assert_allclose(solve_border(carried, E, b)[1], spread, atol=1e-10)

    # and with another right-hand side, without a new factor
    a, b = rng.normal(size=(frames, SIZE)), rng.normal(size=border)
    again, into, first = [], None, 0
    for factor, blocks in zip(factors, chunks, strict=True):
        factor, into = eliminate_again(factor, a[first : first + blocks.frames], into)
        again.append(factor)
        first += blocks.frames
    np.testing.assert_allclose(into.inner[1:, 0], forward(chunks, a, diagonal.reshape(frames, SIZE))[1].inner[1:, 0])
    inner = carried.inner.copy()
    inner[:, 0] = into.inner[:, 0]
    x = backward(again, type(carried)(carried.matrix, carried.columns, inner), E, b)
    np.testing.assert_allclose(x, np.linalg.solve(whole, np.concatenate([a.ravel(), b])), atol=1e-10)


@given(st.integers(1, 4), lags, lags, st.integers(0, 3), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_quadratic_form_is_the_dense_one(frames, dense, parts, border, seed):
    rng = np.random.default_rng(seed)
    blocks = random_blocks(rng, frames, dense, parts, border)
    A, C = assemble([blocks], border)
    x, y = rng.normal(size=(frames, SIZE)), rng.normal(size=border)
    expected = x.ravel() @ A @ x.ravel() + 2 * x.ravel() @ C @ y
    assert blocks.quadratic(x, y) == pytest.approx(expected, abs=1e-9)


def test_a_matrix_that_is_not_positive_definite_is_refused():
    blocks = Blocks(np.broadcast_to(-np.eye(3), (2, 3, 3)))
    with pytest.raises(SolveError, match="positive definite at row 1 of 6"):
        eliminate(blocks, np.ones((2, 3)), None, damped_diagonal=-np.ones((2, 3)), last=True)


def test_not_a_number_in_the_matrix_is_refused():
    diagonal = np.broadcast_to(np.eye(3), (2, 3, 3)).copy()
    diagonal[1, 2, 1] = np.nan
    with pytest.raises(SolveError, match="positive definite"):
        eliminate(Blocks(diagonal), np.ones((2, 3)), None, damped_diagonal=np.ones((2, 3)), last=True)


def test_a_border_that_nothing_tells_is_refused():
    blocks = Blocks(np.eye(3)[None], border=np.array([[[1.0], [0.0], [0.0]]]))
    _, carried = eliminate(blocks, np.ones((1, 3)), None, damped_diagonal=np.ones((1, 3)), last=True)
    with pytest.raises(SolveError, match="shape cannot be told"):
        solve_border(carried, np.ones((1, 1)), np.ones(1))  # Schur complement 1 - 1


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 3), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_banded_cholesky_and_substitution_agree_with_scipy(n, width, columns, seed):
    rng = np.random.default_rng(seed)
    band = rng.normal(size=(n, width))
    band[:, 0] = 1 + 2 * np.abs(band[:, 1:]).sum() + np.abs(band[:, 0])
    lower = cholesky_banded(np.ascontiguousarray(band.T), lower=True)
    L = np.zeros((n, n))
    for d in range(min(width, n)):
        L[np.arange(d, n), np.arange(n - d)] = lower[d, : n - d]
    z = rng.normal(size=(columns, n))
    factor, ahead, back = band.copy(), z.copy(), z.copy()
    factorise_banded(factor)
    for d in range(min(width, n)):
        np.testing.assert_allclose(factor[: n - d, d], lower[d, : n - d], atol=1e-12)
    solve_triangular_banded(factor, ahead)
    solve_triangular_banded(factor, back, transposed=True)
    np.testing.assert_allclose(ahead.T, solve_triangular(L, z.T, lower=True), atol=1e-12)
    np.testing.assert_allclose(back.T, solve_triangular(L.T, z.T, lower=False), atol=1e-12)
