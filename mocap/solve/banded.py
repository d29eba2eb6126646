"""Symmetric positive definite systems whose blocks couple a few neighbouring frames, with a dense border.

    [ A   C ] [x]   [a]        A: (frames * size) square, block-banded     C: (frames * size, border)
    [ C'  E ] [y] = [b]        E: (border, border) dense

is solved by a banded Cholesky factorisation of A (LAPACK pbtrf) and the Schur complement E - C' A^-1 C: linear in the
number of frames.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve, lapack

from mocap.errors import SolveError


class BlockBanded:
    """The lower half of a symmetric matrix of blocks (frames, size, size) that couple up to `reach` frames on.

    Stored as LAPACK's lower band, transposed: `lower[f, b, d]` is A[f size + b + d, f size + b].
    """

    def __init__(self, frames: int, size: int, half_bandwidth: int) -> None:
        self.frames, self.size, self.half_bandwidth = frames, size, half_bandwidth
        self.lower = np.zeros((frames, size, half_bandwidth + 1))

    def add(self, lag: int, first: int, blocks: Float[np.ndarray, "n size size"]) -> None:
        """Adds blocks A[f + lag, f] for f = first, first + 1, ...; rows are of the later frame."""
        n, size = len(blocks), self.size
        target = self.lower[first : first + n]
        if lag == 0:
            for b in range(size):  # one step per column of a block, whatever the number of frames
                target[:, b, : size - b] += blocks[:, b:, b]
        else:
            for b in range(size):
                start = lag * size - b
                target[:, b, start : start + size] += blocks[:, :, b]

    def add_block_diagonal(self, lag: int, first: int, blocks: Float[np.ndarray, "n parts 3 3"]) -> None:
        """Adds blocks that couple each part of three parameters only to itself, `lag` frames later."""
        target = self.lower[first : first + len(blocks)]
        base = lag * self.size
        for column in range(3):
            for row in range(3):
                if base == 0 and row < column:
                    continue
                target[:, column::3, base + row - column] += blocks[:, :, row, column]

    @property
    def diagonal(self) -> Float[np.ndarray, "frames size"]:
        """The diagonal, as a view."""
        return self.lower[:, :, 0]

    def times(self, x: Float[np.ndarray, "frames size"]) -> Float[np.ndarray, "frames size"]:
        """A x."""
        n = self.frames * self.size
        flat, band = x.ravel(), self.lower.reshape(n, -1)
        out = band[:, 0] * flat
        for d in range(1, min(self.half_bandwidth + 1, n)):
            out[d:] += band[: n - d, d] * flat[: n - d]
            out[: n - d] += band[: n - d, d] * flat[d:]
        return out.reshape(x.shape)

    def dense(self) -> Float[np.ndarray, "n n"]:
        """The whole matrix; for tests and small takes."""
        n = self.frames * self.size
        band = self.lower.reshape(n, -1)
        out = np.zeros((n, n))
        for d in range(min(self.half_bandwidth + 1, n)):
            i = np.arange(n - d)
            out[i + d, i] = out[i, i + d] = band[: n - d, d]
        return out

    def solve(
        self, rhs: Float[np.ndarray, "frames size columns"], *, damped_diagonal: Float[np.ndarray, "frames size"]
    ) -> Float[np.ndarray, "frames size columns"]:
        """A^-1 rhs with A's diagonal replaced.

        Raises:
            SolveError: The matrix is not positive definite to machine precision.
        """
        n = self.frames * self.size
        band = self.lower.reshape(n, -1).copy()
        band[:, 0] = damped_diagonal.ravel()
        # SciPy's LAPACK wrappers are made at import and unknown to type checkers
        factor, info = lapack.dpbtrf(band.T, lower=1, overwrite_ab=1)  # pyright: ignore[reportAttributeAccessIssue]
        if info != 0:
            raise SolveError(f"The system is not positive definite at parameter {info % self.size} of a frame.")
        columns = np.asfortranarray(rhs.reshape(n, -1))
        x, info = lapack.dpbtrs(factor, columns, lower=1)  # pyright: ignore[reportAttributeAccessIssue]
        if info != 0 or not np.isfinite(x).all():
            raise SolveError("The system could not be solved to finite numbers.")
        return np.ascontiguousarray(x).reshape(rhs.shape)


def solve_bordered(
    A: BlockBanded,
    C: Float[np.ndarray, "frames size border"],
    E: Float[np.ndarray, "border border"],
    a: Float[np.ndarray, "frames size"],
    b: Float[np.ndarray, " border"],
    *,
    damping: float,
    floor: float,
) -> tuple[Float[np.ndarray, "frames size"], Float[np.ndarray, " border"]]:
    """x, y of the bordered system with Marquardt's damping: a diagonal entry d becomes d + damping max(d, floor)."""
    damped = A.diagonal + damping * np.maximum(A.diagonal, floor)
    columns = A.solve(np.concatenate([a[..., None], C], axis=-1), damped_diagonal=damped)
    x = columns[..., 0]
    if not len(b):
        return x, np.zeros(0)
    through = columns[..., 1:]
    d = np.diagonal(E)
    schur = E + np.diag(damping * np.maximum(d, floor)) - np.einsum("fpi,fpj->ij", C, through)
    try:
        y = cho_solve(cho_factor(schur), b - np.einsum("fpi,fp->i", C, x))
    except np.linalg.LinAlgError as error:
        raise SolveError("The shape cannot be told from these data (singular border).") from error
    return x - through @ y, y
