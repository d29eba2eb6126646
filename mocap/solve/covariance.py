"""Marginal covariances of a solved take: the blocks of the inverse of its matrix that lie on the diagonal.

By the recursion of Takahashi, Fagan and Chen, "Formation of a sparse bus impedance matrix" (1973), over the blocks of
the banded factor, from the last frame to the first: with A = L L' and N the few frames that frame f couples to,

    G = L_Nf L_ff^-1,    S_Nf = -S_NN G,    S_ff = L_ff^-T L_ff^-1 + G' S_NN G.

Linear in the number of frames; the whole inverse is never made.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack

from mocap.solve.banded import Factor
from mocap.solve.lapack import solve_triangular_banded
from mocap.solve.problem import CoupledSystem


def marginals(
    system: CoupledSystem,
) -> Iterator[
    tuple[slice, Float[np.ndarray, "frames parameters parameters"], Float[np.ndarray, "frames parameters betas"]]
]:
    """Chunk by chunk, from the last to the first: which frames, and of each

    - the covariance S of its parameters with the betas held,
    - how its parameters follow the betas, W = A^-1 C: the covariance with the betas free is S + W T W', and that of
      parameters and betas together is -W T, with T the covariance of the betas (`system.border()[1]`).

    Raises:
        SolveError: The system is not positive definite.
    """
    system.border()
    size = system.gradient.shape[1]
    later = np.zeros((0, 0))
    W_later = np.zeros((0, len(system.b)))
    for i, factor in system.factors():
        part = system.chunks[i]
        S, later = _selected(factor, part.stop - part.start, size, later)
        W = _followed(factor, W_later)
        W_later = W[: factor.onward.shape[1] or len(W)]
        yield part, S, W.reshape(len(S), size, W.shape[1])


def _followed(factor: Factor, later: np.ndarray) -> Float[np.ndarray, "rows betas"]:
    """A^-1 C within a chunk, given that of the frames after it."""
    columns = factor.z[1:].copy()
    if factor.onward.size and len(columns):
        tail = len(factor.onward)
        columns[:, columns.shape[1] - tail :] -= (factor.onward[:, : len(later)] @ later[: factor.onward.shape[1]]).T
    columns = np.ascontiguousarray(columns)
    if len(columns):
        solve_triangular_banded(factor.L, columns, transposed=True)
    return columns.T


def _selected(factor: Factor, frames: int, size: int, later: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal blocks of the inverse within a chunk; `later` is the inverse of the frames after it, and then of its
    first ones, for the chunk before."""
    width = factor.L.shape[1]
    reach = max(1, (width - 1) // size)
    L = factor.L.reshape(frames, size, width)
    out = np.empty((frames, size, size))
    d = np.arange(size)[:, None] - np.arange(size)[None, :]  # row minus column of a block
    known = later
    for f in range(frames - 1, -1, -1):  # a recursion: each frame needs the one after it
        diagonal = _block(L[f], d, width)
        rows = [_block(L[f], lag * size + d, width) for lag in range(1, min(reach, frames - 1 - f) + 1)]
        beyond = len(factor.onward) - (frames - f) * size
        if factor.onward.size and beyond >= 0:
            rows.append(factor.onward[beyond : beyond + size].T)
        inverse, info = lapack.dtrtri(diagonal, lower=1)  # pyright: ignore[reportAttributeAccessIssue]
        assert info == 0
        S = inverse.T @ inverse
        if rows:
            below = np.concatenate(rows)
            n = min(len(below), len(known))
            G = below[:n] @ inverse
            cross = known[:n, :n] @ G
            S += G.T @ cross
            S = 0.5 * (S + S.T)  # an antisymmetric error would grow from frame to frame
            whole = np.empty((size + n, size + n))
            whole[:size, :size], whole[size:, :size], whole[:size, size:] = S, -cross, -cross.T
            whole[size:, size:] = known[:n, :n]
        else:
            whole = S
        out[f] = S
        known = whole[: reach * size, : reach * size]
    return out, known


def _block(column: np.ndarray, offset: np.ndarray, width: int) -> np.ndarray:
    """A block of the factor whose entry (row, column) lies `offset` below the diagonal of its column."""
    inside = (offset >= 0) & (offset < width)
    columns = np.broadcast_to(np.arange(len(column))[None, :], offset.shape)
    return np.where(inside, column[columns, np.where(inside, offset, 0)], 0.0)
