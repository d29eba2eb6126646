"""The whole take as one least-squares problem: its state, cost, gradient and Gauss-Newton matrix.

The state is Th, the local rotations of every frame, and one shape. Terms give residuals at keypoints, parameter blocks
or whole frames; the information at keypoints is gathered first and chained through the keypoint Jacobian ONCE, whatever
the number of views or terms. Frames go through in chunks, so that Jacobians never exist for the whole take.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mocap.bodies.kinematics import KeypointRig, Posed, pose
from mocap.geometry import rotations
from mocap.solve.banded import BlockBanded, solve_bordered
from mocap.terms.base import Bound, Residuals

_FLOOR = 1e-6
"""Least curvature the damping acts on [1/rad^2, 1/m^2]: a parameter nothing depends on stays where it is."""


@dataclass(frozen=True)
class State:
    """What is solved for."""

    Th: Float[np.ndarray, "frames 3"]
    R: Float[np.ndarray, "frames joints 3 3"]
    """Local rotations, the root's first."""
    betas: Float[np.ndarray, " betas"]

    def stepped(self, delta: Float[np.ndarray, "frames parameters"], shape: Float[np.ndarray, " betas"]) -> State:
        """After a step in the local tangent of every rotation."""
        steps = delta.reshape(len(delta), -1, 3)
        return State(self.Th + steps[:, 0], self.R @ rotations.exp(steps[:, 1:]), self.betas + shape)


@dataclass(frozen=True)
class Step:
    """A proposed step with what the quadratic model promises of it."""

    delta: Float[np.ndarray, "frames parameters"]
    shape: Float[np.ndarray, " betas"]
    predicted: Float[np.ndarray, " groups"]
    """Decrease of the cost by the model."""


@dataclass(frozen=True)
class Problem:
    """Terms over a take. `coupled=False` leaves out terms of more than one frame and solves each frame by itself."""

    rig: KeypointRig
    terms: Mapping[str, Bound]
    """By label."""
    coupled: bool = True
    free_shape: bool = False
    shape_weight: float = 1.0
    """Of the prior on betas, which are standard normal: cost 1/2 weight |betas|^2."""
    chunk: int = 256
    """Frames whose Jacobians exist at one time."""

    @property
    def used(self) -> dict[str, Bound]:
        """The terms that take part."""
        return {k: b for k, b in self.terms.items() if self.coupled or b.span == 1}

    @property
    def reach(self) -> int:
        """How many frames on a frame is coupled to."""
        return max((b.span for b in self.used.values()), default=1) - 1

    def groups(self, state: State) -> int:
        """Independent parts: the frames when uncoupled, else one."""
        return 1 if self.coupled else len(state.Th)

    def _chunks(self, state: State, frames: np.ndarray, *, jacobian: bool) -> Iterator[tuple[Posed, np.ndarray, int]]:
        """Posed frames with their numbers, and how many of them this chunk owns (the rest it only looks at)."""
        for s in range(0, len(frames), self.chunk):
            owned = min(self.chunk, len(frames) - s)
            numbers = frames[s : s + owned + self.reach]
            shape = jacobian and self.free_shape
            yield (
                pose(
                    self.rig,
                    state.betas,
                    state.R[numbers],
                    state.Th[numbers],
                    jacobian=jacobian,
                    shape_jacobian=shape,
                ),
                numbers,
                owned,
            )

    def _residuals(self, posed: Posed, numbers: np.ndarray, owned: int) -> Iterator[tuple[str, Residuals]]:
        for label, bound in self.used.items():
            for made in bound.residuals(posed, numbers):
                keep = int(np.searchsorted(made.frame, owned))
                if keep == len(made.frame):
                    yield label, made
                elif keep:
                    yield (
                        label,
                        dataclasses.replace(
                            made,
                            frame=made.frame[:keep],
                            r=made.r[:keep],
                            jacobians={o: J[:keep] for o, J in made.jacobians.items()},
                            cost=made.cost[:keep],
                            weight=made.weight[:keep],
                        ),
                    )

    def _shape_cost(self, state: State) -> float:
        return 0.5 * self.shape_weight * float(state.betas @ state.betas) if self.free_shape else 0.0

    def cost_by_term(self, state: State) -> dict[str, float]:
        """The cost of every term over the whole take."""
        total = dict.fromkeys(self.used, 0.0)
        for posed, numbers, owned in self._chunks(state, np.arange(len(state.Th)), jacobian=False):
            for label, made in self._residuals(posed, numbers, owned):
                total[label] += float(made.cost.sum())
        if self.free_shape:
            total["shape"] = self._shape_cost(state)
        return total

    def cost(self, state: State, active: Bool[np.ndarray, " groups"]) -> Float[np.ndarray, " groups"]:
        """The cost of every group; that of a group that is not active is left at zero."""
        out = np.zeros(self.groups(state))
        frames = np.arange(len(state.Th)) if self.coupled else np.flatnonzero(active)
        for posed, numbers, owned in self._chunks(state, frames, jacobian=False):
            for _, made in self._residuals(posed, numbers, owned):
                _add_cost(out, made, numbers, coupled=self.coupled)
        if self.coupled:
            out += self._shape_cost(state)
        return out

    def linearise(self, state: State, active: Bool[np.ndarray, " groups"]) -> CoupledSystem | SeparateSystem:
        """Cost, gradient and Gauss-Newton matrix at `state`."""
        frames = np.arange(len(state.Th)) if self.coupled else np.flatnonzero(active)
        size, n_betas = self.rig.n_parameters, len(state.betas) if self.free_shape else 0
        cost = np.zeros(self.groups(state))
        gradient = np.zeros((len(frames), size))
        sink: BlockBanded | np.ndarray
        if self.coupled:
            sink = BlockBanded(len(frames), size, self._half_bandwidth())
        else:
            sink = np.zeros((len(frames), size, size))
        C, E, b = np.zeros((len(frames), size, n_betas)), np.zeros((n_betas, n_betas)), np.zeros(n_betas)
        start = 0
        for posed, numbers, owned in self._chunks(state, frames, jacobian=True):
            gathered = _Gathered(len(numbers), self.rig)
            for _, made in self._residuals(posed, numbers, owned):
                _add_cost(cost, made, numbers, coupled=self.coupled)
                gathered.add(made)
            here = slice(start, start + len(numbers))
            gathered.chain(posed, sink, start, gradient[here], C[here] if n_betas else None, E, b)
            start += owned
        if self.coupled:
            assert isinstance(sink, BlockBanded)
            if n_betas:
                E += self.shape_weight * np.eye(n_betas)
                b += self.shape_weight * state.betas
                cost += self._shape_cost(state)
            return CoupledSystem(cost, gradient, sink, C, E, b, len(state.betas))
        assert isinstance(sink, np.ndarray)
        return SeparateSystem(cost, gradient, sink, frames, len(state.Th), len(state.betas))

    def bytes(self, frames: int) -> int:
        """Memory the coupled system of so many frames takes: the band and its factor."""
        return 2 * 8 * frames * self.rig.n_parameters * (self._half_bandwidth() + 1)

    def _half_bandwidth(self) -> int:
        """Rows below the diagonal that can be filled; block-diagonal couplings need hardly more than `reach` frames."""
        size = self.rig.n_parameters
        dense_reach = max((b.span - 1 for b in self.used.values() if b.dense_coupling), default=0)
        return max((dense_reach + 1) * size - 1, self.reach * size + 2)


def _add_cost(out: np.ndarray, made: Residuals, numbers: np.ndarray, *, coupled: bool) -> None:
    if coupled:
        out[0] += made.cost.sum()
    else:
        np.add.at(out, numbers[made.frame], made.cost.sum(1))


class _Gathered:
    """Information of one chunk, gathered where it arises before it is chained."""

    def __init__(self, frames: int, rig: KeypointRig) -> None:
        self.frames = frames
        self.n_keypoints, self.size = rig.n_keypoints, rig.n_parameters
        self.at_keypoints: dict[int, np.ndarray] = {}
        self.at_blocks: dict[int, np.ndarray] = {}
        self.at_parameters: np.ndarray | None = None
        self.keypoint_gradient = np.zeros((frames, rig.n_keypoints, 3))
        self.gradient = np.zeros((frames, self.size))

    def add(self, made: Residuals) -> None:
        weighted = {o: J * made.weight[..., None, None] for o, J in made.jacobians.items()}
        if made.on == "parameters":
            J, WJ = made.jacobians[0][:, 0], weighted[0][:, 0]
            if self.at_parameters is None:
                self.at_parameters = np.zeros((self.frames, self.size, self.size))
            self.at_parameters[made.frame] += J.swapaxes(-1, -2) @ WJ
            self.gradient[made.frame] += (made.r @ WJ)[:, 0]
            return
        on_keypoints = made.on == "keypoints"
        store = self.at_keypoints if on_keypoints else self.at_blocks
        gradient = self.keypoint_gradient if on_keypoints else self.gradient.reshape(self.frames, -1, 3)
        items = made.r.shape[1]
        for o, WJ in weighted.items():
            _add_rows(gradient, made.frame + o, (made.r[..., None, :] @ WJ)[..., 0, :])
            for later, J in made.jacobians.items():
                if later < o:
                    continue
                lag = later - o
                if lag not in store:
                    store[lag] = np.zeros((self.frames, items, 3, 3))
                rows = made.frame + o
                inside = made.frame + later < self.frames  # beyond the end only with a Jacobian of zero
                _add_rows(store[lag], rows[inside], (J.swapaxes(-1, -2) @ WJ)[inside])

    def chain(
        self,
        posed: Posed,
        sink: BlockBanded | np.ndarray,
        first: int,
        gradient: np.ndarray,
        C: np.ndarray | None,
        E: np.ndarray,
        b: np.ndarray,
    ) -> None:
        """Adds all to the system; rows beyond the chunk's own frames are completed by the next chunk."""
        n = self.frames
        J = posed.jacobian
        assert J is not None
        rows = J.reshape(n, -1, self.size)
        gradient += self.gradient + (self.keypoint_gradient.reshape(n, 1, -1) @ rows)[:, 0]
        S = posed.shape_jacobian
        if C is not None:
            assert S is not None
            b += np.einsum("fkd,fkdb->b", self.keypoint_gradient, S)
        for lag, M in self.at_keypoints.items():
            m = M[: n - lag]
            MJ = (m @ J[: n - lag]).reshape(n - lag, -1, self.size)
            blocks = rows[lag:].swapaxes(-1, -2) @ MJ
            if isinstance(sink, BlockBanded):
                sink.add(lag, first, blocks)
            else:
                sink[first : first + n] += blocks
            if C is not None:
                assert S is not None
                flat = S.reshape(n, -1, S.shape[-1])
                MS = (m @ S[: n - lag]).reshape(n - lag, -1, S.shape[-1])
                C[lag:] += rows[lag:].swapaxes(-1, -2) @ MS
                cross = np.einsum("fri,frj->ij", flat[lag:], MS)
                E += cross
                if lag:
                    C[: n - lag] += MJ.swapaxes(-1, -2) @ flat[lag:]
                    E += cross.T
        if self.at_parameters is not None:
            if isinstance(sink, BlockBanded):
                sink.add(0, first, self.at_parameters)
            else:
                sink[first : first + n] += self.at_parameters
        for lag, M in self.at_blocks.items():
            if isinstance(sink, BlockBanded):
                sink.add_block_diagonal(lag, first, M[: n - lag])
            else:
                parts = np.arange(self.size // 3)
                view = sink[first : first + n].reshape(n, self.size // 3, 3, self.size // 3, 3)
                view[:, parts, :, parts, :] += M.transpose(1, 0, 2, 3)


def _add_rows(target: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """target[rows] += values, with repeated rows counted each time and rows beyond the end left out."""
    if len(rows) and rows[-1] >= len(target):
        inside = rows < len(target)
        rows, values = rows[inside], values[inside]
    if len(rows) and (np.diff(rows) == 1).all():
        target[rows[0] : rows[0] + len(rows)] += values
    else:
        np.add.at(target, rows, values)


@dataclass(frozen=True)
class CoupledSystem:
    """The linearised take as one bordered block-banded system."""

    cost: Float[np.ndarray, " groups"]
    gradient: Float[np.ndarray, "frames parameters"]
    A: BlockBanded
    C: Float[np.ndarray, "frames parameters betas"]
    E: Float[np.ndarray, "betas betas"]
    b: Float[np.ndarray, " betas"]
    """Gradient by the betas; empty when the shape is held."""
    n_betas: int

    @property
    def gradient_size(self) -> Float[np.ndarray, " groups"]:
        """Largest entry of the gradient."""
        return np.array([max(np.abs(self.gradient).max(), np.abs(self.b).max(initial=0.0))])

    def step(self, damping: Float[np.ndarray, " groups"]) -> Step:
        """The damped Gauss-Newton step. Raises SolveError when the system is not positive definite."""
        d = float(damping[0])
        x, y = solve_bordered(self.A, self.C, self.E, -self.gradient, -self.b, damping=d, floor=_FLOOR)
        # with (H + damping D) s = -g the model decreases by 1/2 s'(damping D s - g)
        scaled = np.maximum(self.A.diagonal, _FLOOR)
        predicted = 0.5 * float((x * (d * scaled * x - self.gradient)).sum())
        shape = np.zeros(self.n_betas)
        if len(y):
            predicted += 0.5 * float(y @ (d * np.maximum(np.diagonal(self.E), _FLOOR) * y - self.b))
            shape = y
        return Step(x, shape, np.array([predicted]))


@dataclass(frozen=True)
class SeparateSystem:
    """The linearised active frames, each by itself."""

    cost: Float[np.ndarray, " groups"]
    gradient: Float[np.ndarray, "active parameters"]
    H: Float[np.ndarray, "active parameters parameters"]
    frames: Int[np.ndarray, " active"]
    n_frames: int
    n_betas: int

    @property
    def gradient_size(self) -> Float[np.ndarray, " groups"]:
        """Largest entry of the gradient of each frame."""
        out = np.zeros(self.n_frames)
        out[self.frames] = np.abs(self.gradient).max(1)
        return out

    def step(self, damping: Float[np.ndarray, " groups"]) -> Step:
        """The damped Gauss-Newton step of every active frame; zero for the others."""
        d = damping[self.frames, None]
        diagonal = np.einsum("fii->fi", self.H)
        scaled = np.maximum(diagonal, _FLOOR)
        H = self.H.copy()
        np.einsum("fii->fi", H)[...] += d * scaled
        x = np.linalg.solve(H, -self.gradient[..., None])[..., 0]
        delta = np.zeros((self.n_frames, self.gradient.shape[1]))
        predicted = np.zeros(self.n_frames)
        delta[self.frames] = x
        predicted[self.frames] = 0.5 * (x * (d * scaled * x - self.gradient)).sum(1)
        return Step(delta, np.zeros(self.n_betas), predicted)
