"""Symmetric positive definite systems whose blocks couple a few neighbouring frames, with a dense border.

    [ A   C ] [x]   [a]        A: (frames * size) square, block-banded     C: (frames * size, border)
    [ C'  E ] [y] = [b]        E: (border, border) dense

A is eliminated chunk by chunk of frames, forward in time (a banded Cholesky factorisation of each, LAPACK pbtrf);
what a chunk leaves to the next is a small dense :class:`Carry`. The border is solved by its Schur complement
E - C' A^-1 C, and substitution goes backward over the chunks. A chunk's factor can be thrown away and made again from
the carry that came into it, so that memory need not grow with the take (checkpointing). Linear in the number of frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from mocap.errors import SolveError
from mocap.solve.lapack import factorise_banded, solve_triangular_banded


@dataclass(frozen=True, eq=False)
class Blocks:
    """Consecutive frames of a bordered block-banded system: the rows of A they own, and all that hangs on them.

    A coupling of frame f to frame f + lag belongs to frame f, whether f + lag is in the same chunk or the next.
    """

    diagonal: Float[np.ndarray, "frames size size"]
    """A[f, f], both triangles."""
    dense: dict[int, Float[np.ndarray, ...]] = field(default_factory=dict)
    """lag -> A[f + lag, f] (frames, size, size), rows of the later frame."""
    parts: dict[int, Float[np.ndarray, ...]] = field(default_factory=dict)
    """lag -> (frames, parts, 3, 3): couplings of each part of three parameters to itself alone; added to `dense`."""
    border: Float[np.ndarray, "frames size border"] | None = None

    @property
    def frames(self) -> int:
        """How many frames own rows."""
        return len(self.diagonal)

    @property
    def size(self) -> int:
        """Parameters of a frame."""
        return self.diagonal.shape[1]

    @property
    def reach(self) -> int:
        """How many frames on a frame is coupled to."""
        return max((*self.dense, *self.parts, 0))

    @property
    def half_bandwidth(self) -> int:
        """Rows below the diagonal that can be filled: whole frames if coupled densely, else hardly beyond the lag."""
        return max((max((*self.dense, 0)) + 1) * self.size - 1, max((*self.parts, 0)) * self.size + 2)

    @property
    def bytes(self) -> int:
        """Memory these take."""
        arrays = (self.diagonal, *self.dense.values(), *self.parts.values())
        return sum(a.nbytes for a in arrays) + (0 if self.border is None else self.border.nbytes)

    def band(self, room: int = 0) -> Float[np.ndarray, "rows width"]:
        """The lower band of A within these frames, at least `room` wide: `[i, d]` is A[i + d, i]."""
        n, size = self.frames, self.size
        width = max(self.half_bandwidth + 1, self.reach * size, room)
        out = np.zeros((n, size, width))
        for b in range(size):  # one step per column of a block, whatever the number of frames
            out[:, b, : size - b] = self.diagonal[:, b:, b]
            for lag, blocks in self.dense.items():
                start = lag * size - b
                out[:, b, start : start + size] += blocks[:, :, b]
        for lag, blocks in self.parts.items():
            for column in range(3):
                for row in range(3):
                    out[:, column::3, lag * size + row - column] += blocks[:, :, row, column]
        return out.reshape(n * size, width)

    def quadratic(self, x: Float[np.ndarray, "frames_and_later size"], y: Float[np.ndarray, " border"]) -> float:
        """What these rows are of z'Hz, z = (x, y): x'Ax + 2 x'Cy, each coupling counted with its frame's own rows.

        Args:
            x: Of these frames, and of as many after them as there are among those they reach.
            y: Of the border.
        """
        n, own = self.frames, x[: self.frames]
        total = np.einsum("fi,fij,fj->", own, self.diagonal, own, optimize=True)
        for lag in range(1, self.reach + 1):
            later = x[lag : n + lag]
            early = own[: len(later)]
            if lag in self.dense:
                total += 2 * np.einsum("fi,fij,fj->", later, self.dense[lag][: len(later)], early, optimize=True)
            if lag in self.parts:
                later, early = (v.reshape(len(v), self.size // 3, 3) for v in (later, early))
                total += 2 * np.einsum("fpi,fpij,fpj->", later, self.parts[lag][: len(later)], early, optimize=True)
        if self.border is not None:
            total += 2 * np.einsum("fi,fib,b->", own, self.border, y, optimize=True)
        return float(total)

    def coupling(self) -> Float[np.ndarray, "later earlier"]:
        """A[next frames, last frames]: `reach` frames after these by the last `reach` of these."""
        reach, size = self.reach, self.size
        out = np.zeros((reach, size, reach, size))
        for lag in range(1, reach + 1):
            for later in range(lag):
                earlier = self.frames - lag + later
                if earlier < 0:
                    continue
                column = reach - lag + later
                if lag in self.dense:
                    out[later, :, column] += self.dense[lag][earlier]
                if lag in self.parts:
                    view = out[later, :, column].reshape(size // 3, 3, size // 3, 3)
                    part = np.arange(size // 3)
                    view[part, :, part, :] += self.parts[lag][earlier]
        return out.reshape(reach * size, reach * size)


@dataclass(frozen=True, eq=False)
class Carry:
    """What the frames eliminated so far leave to those after them."""

    matrix: Float[np.ndarray, "rows rows"]
    """To be added to A of the next `reach` frames."""
    columns: Float[np.ndarray, "some later"]
    """To be added to their right-hand side and border, as rows."""
    inner: Float[np.ndarray, "columns columns"]
    """z'z of all eliminated columns: right-hand side first, then the border."""


@dataclass(frozen=True, eq=False)
class Factor:
    """One chunk eliminated."""

    L: Float[np.ndarray, "rows width"]
    """Cholesky factor of its band."""
    z: Float[np.ndarray, "columns rows"]
    """L^-1 of the right-hand side and the border."""
    onward: Float[np.ndarray, "tail later"]
    """L_tail^-1 times the coupling to the frames after: the factor's blocks below the chunk, transposed."""

    @property
    def bytes(self) -> int:
        """Memory this takes."""
        return self.L.nbytes + self.z.nbytes + self.onward.nbytes


def eliminate(
    blocks: Blocks,
    rhs: Float[np.ndarray, "frames size"],
    carried: Carry | None,
    *,
    damped_diagonal: Float[np.ndarray, "frames size"],
    last: bool,
) -> tuple[Factor, Carry]:
    """Eliminates a chunk, given what the ones before it carried in.

    Args:
        blocks: The chunk's rows. All chunks but the last have at least `reach` frames.
        rhs: The chunk's part of a.
        carried: None for the first chunk.
        damped_diagonal: In place of A's diagonal.
        last: Whether no frame comes after.

    Raises:
        SolveError: The matrix is not positive definite to machine precision.
    """
    n, size, reach = blocks.frames, blocks.size, blocks.reach
    rows = n * size
    head = 0 if carried is None else min(len(carried.matrix), rows)
    band = blocks.band(room=head)
    band[:, 0] = damped_diagonal.ravel()
    columns = rhs.reshape(1, rows)
    if blocks.border is not None:
        columns = np.concatenate([columns, blocks.border.reshape(rows, -1).T])
    z = np.array(columns, order="C")
    if carried is not None:
        i = np.arange(head)
        for d in range(head):
            band[i[: head - d], d] += carried.matrix[i[d:], i[: head - d]]
        z[:, :head] += carried.columns[:, :head]
    factorise_banded(band)
    solve_triangular_banded(band, z)
    inner = z @ z.T + (0.0 if carried is None else carried.inner)
    if last or reach == 0:
        empty = np.zeros((0, 0))
        return Factor(band, z, empty), Carry(empty, np.zeros((len(z), 0)), inner)
    tail = reach * size
    i = np.arange(tail)
    L = np.zeros((tail, tail))
    for d in range(tail):
        L[i[d:], i[: tail - d]] = band[rows - tail : rows - d, d]
    onward = solve_triangular(L, blocks.coupling().T, lower=True, check_finite=False)
    return Factor(band, z, onward), Carry(-onward.T @ onward, -z[:, rows - tail :] @ onward, inner)


def eliminate_again(
    factor: Factor, rhs: Float[np.ndarray, "frames size"], carried: Carry | None
) -> tuple[Factor, Carry]:
    """The same chunk with another right-hand side; of `carried` only the right-hand side's part is read."""
    z = np.ascontiguousarray(rhs.reshape(1, -1)).copy()
    if carried is not None:
        head = min(carried.columns.shape[1], z.shape[1])
        z[:, :head] += carried.columns[:1, :head]
    solve_triangular_banded(factor.L, z)
    inner = np.zeros((len(factor.z), len(factor.z)))
    inner[:, 0] = factor.z @ z[0]
    if carried is not None:
        inner[:, 0] += carried.inner[:, 0]
    tail = len(factor.onward)
    made = Factor(factor.L, np.concatenate([z, factor.z[1:]]) if len(factor.z) > 1 else z, factor.onward)
    onward = -z[:, z.shape[1] - tail :] @ factor.onward if tail else np.zeros((1, 0))
    return made, Carry(np.zeros((0, 0)), onward, inner)


def solve_border(
    carried: Carry, E: Float[np.ndarray, "border border"], b: Float[np.ndarray, " border"]
) -> tuple[Float[np.ndarray, " border"], Float[np.ndarray, "border border"]]:
    """y, and the inverse of the Schur complement, once every chunk is eliminated.

    Raises:
        SolveError: The border is singular.
    """
    if not len(b):
        return np.zeros(0), np.zeros((0, 0))
    schur = E - carried.inner[1:, 1:]
    try:
        factor = cho_factor(schur)
    except np.linalg.LinAlgError as error:
        raise SolveError("The shape cannot be told from these data (singular border).") from error
    return cho_solve(factor, b - carried.inner[1:, 0]), cho_solve(factor, np.eye(len(b)))


def substitute(
    factor: Factor, y: Float[np.ndarray, " border"], later: Float[np.ndarray, " later_rows"]
) -> Float[np.ndarray, " rows"]:
    """x of a chunk, given y and x of the `reach` frames after it (empty for the last chunk)."""
    x = factor.z[0] - y @ factor.z[1:] if len(y) else factor.z[0].copy()
    if factor.onward.size:
        later = later[: factor.onward.shape[1]]  # the last chunk may have fewer frames than a frame reaches
        x[len(x) - len(factor.onward) :] -= factor.onward[:, : len(later)] @ later
    x = np.ascontiguousarray(x)[None]
    solve_triangular_banded(factor.L, x, transposed=True)
    return x[0]
