"""The whole take as one least-squares problem: its state, cost, gradient and Gauss-Newton matrix.

The state is Th, the local rotations of every frame, and one shape. Terms give residuals at keypoints, parameter blocks
or whole frames; the information at keypoints is gathered first and chained through the keypoint Jacobian ONCE, whatever
the number of views or terms. Frames go through in chunks, several at a time on several cores, so that Jacobians never
exist for the whole take; what a chunk gives does not depend on how the take is cut.

Curvature leaves out that pose features move the surface (see `kinematics.pose`): gradients are exact, so what the
solver converges to is too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mocap.bodies.kinematics import KeypointRig, Posed, pose
from mocap.errors import SolveError
from mocap.geometry import rotations
from mocap.solve.banded import Blocks, Carry, Factor, eliminate, eliminate_again, solve_border, substitute
from mocap.solve.parallel import in_order
from mocap.terms.base import Bound, Residuals

_STEPPED = 2000
"""Frames whose steps are made into rotations at one time."""
_MOST_CHUNKS = 400
_KEPT = 4_000_000
"""Bytes that may be kept of a system for each parameter of a frame: 300 MB of a body's 75, 640 MB of one with hands."""
_FLOOR = 1e-6
"""Least curvature the damping acts on [1/rad^2, 1/m^2]: a parameter nothing depends on stays where it is."""


@dataclass(frozen=True)
class State:
    """What is solved for."""

    Th: Float[np.ndarray, "frames 3"]
    R: Float[np.ndarray, "frames joints 3 3"]
    """Local rotations, the root's first."""
    betas: Float[np.ndarray, "*own betas"]
    """One shape, or (frames, betas): each frame's own."""

    def stepped(self, delta: Float[np.ndarray, "frames parameters"], shape: Float[np.ndarray, ...]) -> State:
        """After a step in the local tangent of every rotation; shapes of frames' own step with their frames."""
        motion = 3 + 3 * self.R.shape[1]
        steps = delta[:, :motion].reshape(len(delta), -1, 3)
        R = np.empty_like(self.R)
        for s in range(0, len(R), _STEPPED):
            part = slice(s, s + _STEPPED)
            np.matmul(self.R[part], rotations.exp(steps[part, 1:]), out=R[part])
        betas = self.betas
        if betas.ndim == 1:
            betas = betas + shape
        elif delta.shape[1] > motion:
            betas = betas + delta[:, motion:]
        return State(self.Th + steps[:, 0], R, betas)

    def at(self, frames: Int[np.ndarray, " some"]) -> State:
        """Some of the frames."""
        return State(self.Th[frames], self.R[frames], self.betas if self.betas.ndim == 1 else self.betas[frames])


@dataclass(frozen=True)
class Step:
    """A proposed step with what the quadratic model promises of it."""

    delta: Float[np.ndarray, "frames parameters"]
    shape: Float[np.ndarray, " betas"]
    predicted: Float[np.ndarray, " groups"]
    """Decrease of the cost by the model."""


@dataclass(frozen=True, eq=False)
class Linearised:
    """What the terms say about consecutive frames, to second order."""

    cost: Float[np.ndarray, " frames"]
    """Of the residuals that begin in each frame."""
    gradient: Float[np.ndarray, "frames parameters"]
    scale: Float[np.ndarray, "frames parameters"]
    """What the damping is relative to: the diagonal's part from data and single frames."""
    blocks: Blocks
    E: Float[np.ndarray, "betas betas"]
    """The frames' part of the curvature by the betas; empty when the shape is held."""
    b: Float[np.ndarray, " betas"]
    """The frames' part of the gradient by the betas."""


@dataclass(frozen=True)
class Problem:
    """Terms over a take. `coupled=False` leaves out terms of more than one frame and solves each frame by itself; the
    state then may have a shape for each frame, which `free_shape` solves for as further parameters of the frame."""

    rig: KeypointRig
    terms: Mapping[str, Bound]
    """By label."""
    coupled: bool = True
    free_shape: bool = False
    shape_weight: float = 1.0
    """Of the prior on betas, which are standard normal: cost 1/2 weight |betas|^2."""
    chunk: int = 96
    """Frames whose Jacobians exist at one time on one core."""
    memory: int | None = None
    """Bytes that may be kept of a system; what does not fit is computed again when it is needed. None: in proportion to
    the parameters of a frame, so that a body with hands is kept for about as long a take as one without."""
    held: tuple[int, ...] = ()
    """Parameters of every frame that stay as they are; only when frames are solved by themselves."""

    @property
    def used(self) -> dict[str, Bound]:
        """The terms that take part."""
        return {k: b for k, b in self.terms.items() if self.coupled or b.span == 1}

    @property
    def reach(self) -> int:
        """How many frames on a frame is coupled to."""
        return max((b.span for b in self.used.values()), default=1) - 1

    @property
    def budget(self) -> int:
        """Bytes that may be kept of a system."""
        return _KEPT * self.rig.n_parameters if self.memory is None else self.memory

    def groups(self, state: State) -> int:
        """Independent parts: the frames when uncoupled, else one."""
        return 1 if self.coupled else len(state.Th)

    def parts(self, frames: int) -> list[slice]:
        """The take in chunks."""
        # between chunks a dense block is kept, so that a long take is cut into no more than so many
        size = max(self.chunk, self.reach, -(-frames // _MOST_CHUNKS))
        return [slice(s, min(s + size, frames)) for s in range(0, frames, size)]

    def _posed(self, state: State, numbers: np.ndarray, *, jacobian: bool = False) -> Posed:
        return pose(
            self.rig,
            state.betas if state.betas.ndim == 1 else state.betas[numbers],
            state.R[numbers],
            state.Th[numbers],
            jacobian=jacobian,
            approximate=True,
            shape_jacobian=jacobian and self.free_shape,
        )

    def _costs(self, state: State, numbers: np.ndarray, owned: int) -> tuple[dict[str, float], np.ndarray]:
        """By term and by frame, of the residuals that begin in the first `owned` of these frames."""
        posed = self._posed(state, numbers)
        by_term, by_frame = dict.fromkeys(self.used, 0.0), self._own_shapes_cost(posed.betas, owned)
        for label, bound in self.used.items():
            for made in bound.residuals(posed, numbers):
                _add_cost(by_frame, made, 0)
                by_term[label] += float(made.cost[: np.searchsorted(made.frame, owned)].sum())
        return by_term, by_frame

    def _all_costs(self, state: State, frames: np.ndarray) -> Iterator[tuple[slice, dict[str, float], np.ndarray]]:
        chunks = self.parts(len(frames))

        def of(part: slice) -> tuple[dict[str, float], np.ndarray]:
            return self._costs(state, frames[part.start : part.stop + self.reach], part.stop - part.start)

        for part, (by_term, by_frame) in zip(chunks, in_order(of, chunks), strict=True):
            yield part, by_term, by_frame

    def shape_cost(self, state: State) -> float:
        """Of the prior on betas, where they are solved for."""
        return 0.5 * self.shape_weight * float((state.betas**2).sum()) if self.free_shape else 0.0

    def _own_shapes_cost(self, betas: np.ndarray, frames: int) -> Float[np.ndarray, " frames"]:
        """Of the prior on the betas of each of the first frames, where each has its own and they are solved for."""
        if betas.ndim == 1 or not self.free_shape:
            return np.zeros(frames)
        return 0.5 * self.shape_weight * (betas[:frames] ** 2).sum(1)

    def size(self, state: State) -> int:
        """Parameters of one frame, with its own betas where it has such."""
        return self.rig.n_parameters + (state.betas.shape[-1] if state.betas.ndim == 2 and self.free_shape else 0)

    def cost_by_term(self, state: State) -> dict[str, float]:
        """The cost of every term over the whole take."""
        total = dict.fromkeys(self.used, 0.0)
        for _, by_term, _ in self._all_costs(state, np.arange(len(state.Th))):
            for label, cost in by_term.items():
                total[label] += cost
        if self.free_shape:
            total["shape"] = self.shape_cost(state)
        return total

    def cost(self, state: State, active: Bool[np.ndarray, " groups"]) -> Float[np.ndarray, " groups"]:
        """The cost of every group; that of a group that is not active is left at zero."""
        out = np.zeros(self.groups(state))
        frames = np.arange(len(state.Th)) if self.coupled else np.flatnonzero(active)
        for part, _, by_frame in self._all_costs(state, frames):
            if self.coupled:
                out += by_frame.sum()
            else:
                out[frames[part]] = by_frame
        return out + self.shape_cost(state) if self.coupled else out

    def linearised(self, state: State, numbers: Int[np.ndarray, " window"], own: slice) -> Linearised:
        """What the terms say about the frames `own` of a window `numbers`, whose others are their neighbours."""
        posed = self._posed(state, numbers, jacobian=True)
        gathered = _Gathered(len(numbers), self.rig)
        cost = self._own_shapes_cost(posed.betas[own] if posed.betas.ndim == 2 else posed.betas, own.stop - own.start)
        for bound in self.used.values():
            for made in bound.residuals(posed, numbers):
                _add_cost(cost, made, own.start)
                gathered.add(made, scales=bound.span < 3)
        if posed.betas.ndim == 2:
            return gathered.with_own_shapes(posed, cost, self.shape_weight)
        return gathered.chained(posed, cost, own)

    def sloped(self, state: State, part: slice) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
        """Of consecutive frames: costs by term, gradient, and their part of the gradient by the betas."""
        start = max(0, part.start - self.reach)
        numbers = np.arange(start, min(len(state.Th), part.stop + self.reach))
        own = slice(part.start - start, part.stop - start)
        posed = self._posed(state, numbers)
        gathered = _Gathered(len(numbers), self.rig)
        costs = dict.fromkeys(self.used, 0.0)
        for label, bound in self.used.items():
            for made in bound.residuals(posed, numbers):
                first, end = np.searchsorted(made.frame, [own.start, own.stop])
                costs[label] += float(made.cost[first:end].sum())
                gathered.add_gradient(made)
        gradient, b = gathered.pulled_back(posed, own)
        return costs, gradient, b

    def around(self, state: State, part: slice) -> Linearised:
        """What the terms say about consecutive frames of a coupled take."""
        start = max(0, part.start - self.reach)
        numbers = np.arange(start, min(len(state.Th), part.stop + self.reach))
        return self.linearised(state, numbers, slice(part.start - start, part.stop - start))

    def linearise(
        self, state: State, active: Bool[np.ndarray, " groups"], damping: Float[np.ndarray, " groups"]
    ) -> CoupledSystem | SeparateSystem:
        """Cost, gradient and the step at `state`; a step with other damping than this costs more."""
        return CoupledSystem(self, state, damping) if self.coupled else SeparateSystem(self, state, active, damping)


def _add_cost(by_frame: np.ndarray, made: Residuals, first: int) -> None:
    rows = made.frame - first
    inside = (rows >= 0) & (rows < len(by_frame))
    np.add.at(by_frame, rows[inside], made.cost[inside].sum(1))


class _Gathered:
    """Information of a window of frames, gathered where it arises before it is chained."""

    def __init__(self, window: int, rig: KeypointRig) -> None:
        self.window = window
        self.size = rig.n_parameters
        self.at_keypoints: dict[int, np.ndarray] = {}
        self.at_blocks: dict[int, np.ndarray] = {}
        self.at_parameters: np.ndarray | None = None
        self.keypoint_gradient = np.zeros((window, rig.n_keypoints, 3))
        self.gradient = np.zeros((window, self.size))
        self.scale = np.zeros((window, self.size))

    def add_gradient(self, made: Residuals) -> None:
        """Adds what residuals give to the gradient alone."""
        if made.gradient is not None:
            _add_rows(self.gradient, made.frame, made.gradient)
            return
        weighted = (made.r * made.weight[..., None])[..., None, :]
        for o, J in made.jacobians.items():
            values = (weighted @ J)[..., 0, :]
            if made.on == "parameters":
                _add_rows(self.gradient, made.frame, values[:, 0])
            elif made.on == "keypoints":
                _add_rows(self.keypoint_gradient, made.frame + o, values)
            else:
                _add_rows(self.gradient.reshape(self.window, -1, 3), made.frame + o, values)

    def add(self, made: Residuals, *, scales: bool) -> None:
        """Adds residuals; `scales` says whether the damping counts them."""
        plain = bool((made.weight == 1).all())
        weighted = {o: J if plain else J * made.weight[..., None, None] for o, J in made.jacobians.items()}
        if made.on == "parameters":
            J, WJ = made.jacobians[0][:, 0], weighted[0][:, 0]
            product = J.swapaxes(-1, -2) @ WJ
            _add_rows(self.scale, made.frame, np.einsum("fii->fi", product))
            if self.at_parameters is None and len(product) == self.window:
                self.at_parameters = product
            else:
                if self.at_parameters is None:
                    self.at_parameters = np.zeros((self.window, self.size, self.size))
                _add_rows(self.at_parameters, made.frame, product)
            _add_rows(self.gradient, made.frame, (made.r @ WJ)[:, 0] if made.gradient is None else made.gradient)
            return
        on_keypoints = made.on == "keypoints"
        store = self.at_keypoints if on_keypoints else self.at_blocks
        gradient = self.keypoint_gradient if on_keypoints else self.gradient.reshape(self.window, -1, 3)
        items = made.r.shape[1]
        for o, WJ in weighted.items():
            _add_rows(gradient, made.frame + o, (made.r[..., None, :] @ WJ)[..., 0, :])
            if scales and not on_keypoints:
                J = made.jacobians[o]
                _add_rows(self.scale, made.frame + o, (J * WJ).sum(2).reshape(len(J), -1))
            for later, J in made.jacobians.items():
                if later < o:
                    continue
                lag = later - o
                if lag not in store:
                    store[lag] = np.zeros((self.window, items, 3, 3))
                inside = made.frame + later < self.window  # beyond the end only with a Jacobian of zero
                _add_rows(store[lag], (made.frame + o)[inside], (J.swapaxes(-1, -2) @ WJ)[inside])

    def pulled_back(self, posed: Posed, own: slice) -> tuple[np.ndarray, np.ndarray]:
        """The gradient by the parameters of the frames `own`, and those frames' part of that by the betas."""
        theirs = self.keypoint_gradient.copy()
        theirs[: own.start] = theirs[own.stop :] = 0.0
        gradient, by_shape = posed.pull_back(theirs)
        return self.gradient[own] + gradient[own], by_shape

    def with_own_shapes(self, posed: Posed, cost: np.ndarray, shape_weight: float) -> Linearised:
        """All that was gathered of frames that are independent, by their parameters and, where asked, their betas."""
        size, S = self.size, posed.shape_jacobian
        n_betas = 0 if S is None else S.shape[-1]
        theirs, by_shape = posed.pull_back(self.keypoint_gradient)
        gradient = self.gradient + theirs
        assert posed.jacobian is not None
        J = posed.jacobian if S is None else np.concatenate([posed.jacobian, S], axis=-1)
        H = np.zeros((self.window, J.shape[-1], J.shape[-1]))
        if self.at_keypoints:
            rows = J.reshape(self.window, -1, J.shape[-1])
            H += rows.swapaxes(-1, -2) @ (self.at_keypoints[0].astype(J.dtype) @ J).reshape(rows.shape)
        scale = np.einsum("fii->fi", H).copy()
        scale[:, :size] += self.scale
        if self.at_parameters is not None:
            H[:, :size, :size] += self.at_parameters
        if self.at_blocks:
            for b, M in enumerate(self.at_blocks[0].swapaxes(0, 1)):
                H[:, 3 * b : 3 * b + 3, 3 * b : 3 * b + 3] += M
        if n_betas:
            gradient = np.concatenate([gradient, by_shape + shape_weight * posed.betas], axis=1)
            np.einsum("fii->fi", H)[:, size:] += shape_weight
            scale[:, size:] += shape_weight
        return Linearised(cost, gradient, scale, Blocks(H, {}, {}, None), np.zeros((0, 0)), np.zeros(0))

    def chained(self, posed: Posed, cost: np.ndarray, own: slice) -> Linearised:
        """All that was gathered, by the parameters; of the frames `own`."""
        n, size, window = own.stop - own.start, self.size, self.window
        whole_J, whole_S = posed.jacobian, posed.shape_jacobian
        assert whole_J is not None
        gradient, b = self.pulled_back(posed, own)
        diagonal = np.zeros((n, size, size))
        dense: dict[int, np.ndarray] = {}
        n_betas = 0 if whole_S is None else whole_S.shape[-1]
        C, E = np.zeros((window, size, n_betas)), np.zeros((n_betas, n_betas))
        for lag, M in self.at_keypoints.items():
            M, J, S = M.astype(whole_J.dtype), whole_J, whole_S
            if lag:  # of points in two frames there are few: those of feet
                some = np.flatnonzero(M.any((0, 2, 3)))
                M, J, S = M[:, some], J[:, some], None if S is None else S[:, some]
            rows = J.reshape(window, -1, size)
            # pairs of which at least one frame is owned: what they add to the border belongs to both
            early = slice(max(0, own.start - lag), min(own.stop, window - lag))
            late = slice(early.start + lag, early.stop + lag)
            count = early.stop - early.start
            MJ = (M[early] @ J[early]).reshape(count, -1, size)
            mine = slice(own.start - early.start, None)
            product = rows[late][mine].swapaxes(-1, -2) @ MJ[mine]
            if lag == 0:
                diagonal += product
            else:
                dense[lag] = np.zeros((n, size, size))
                dense[lag][: len(product)] = product
            if S is not None:
                flat = S.reshape(window, -1, n_betas)
                MS = (M[early] @ S[early]).reshape(count, -1, n_betas)
                C[late] += rows[late].swapaxes(-1, -2) @ MS
                # summed in double precision: the Schur complement of E is what little the poses do not explain
                cross = np.tensordot(flat[late][mine].astype(float), MS[mine].astype(float), ((0, 1), (0, 1)))
                E += cross
                if lag:
                    C[early] += MJ.swapaxes(-1, -2) @ flat[late]
                    E += cross.T
        # the damping is in proportion to what single frames tell: next to what keeps accelerations small it would hold
        # back the slow motions that this leaves free
        scale = self.scale[own] + np.einsum("fii->fi", diagonal)
        if self.at_parameters is not None:
            diagonal += self.at_parameters[own]
        parts: dict[int, np.ndarray] = {}
        for lag, M in self.at_blocks.items():
            if lag == 0:
                part = np.arange(size // 3)
                view = diagonal.reshape(n, size // 3, 3, size // 3, 3)
                view[:, part, :, part, :] += M[own].transpose(1, 0, 2, 3)
            else:
                parts[lag] = M[own]
        blocks = Blocks(diagonal, dense, parts, None if whole_S is None else C[own])
        return Linearised(cost, gradient, scale, blocks, E, b[:n_betas])


def _add_rows(target: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """target[rows] += values, with repeated rows counted each time and rows beyond the end left out."""
    if len(rows) and rows[-1] >= len(target):
        inside = rows < len(target)
        rows, values = rows[inside], values[inside]
    if len(rows) and (np.diff(rows) == 1).all():
        target[rows[0] : rows[0] + len(rows)] += values
    else:
        np.add.at(target, rows, values)


class CoupledSystem:
    """The linearised take as one bordered block-banded system, eliminated with some damping.

    `chord` says that its curvature is of an earlier state: then a step costs a small part of what it does otherwise.
    """

    def __init__(self, problem: Problem, state: State, damping: Float[np.ndarray, " groups"]) -> None:
        self.problem, self.state = problem, state
        self.chunks = problem.parts(len(state.Th))
        frames, size = len(state.Th), problem.rig.n_parameters
        n_betas = len(state.betas) if problem.free_shape else 0
        self.gradient = np.zeros((frames, size))
        self.scale = np.zeros((frames, size))
        self.E = problem.shape_weight * np.eye(n_betas)
        self.b = problem.shape_weight * state.betas[:n_betas]
        self._cost = problem.shape_cost(state)
        self.chord = self._stale = False
        self.by_term: dict[str, float] = {}
        self._eliminate(float(damping[0]), first=True)

    def moved(self, state: State) -> CoupledSystem | None:
        """Cost and gradient at another state, the curvature as it is here; None when too little of it was kept."""
        if self._failure is not None or any(f is None for f in self._factors):
            return None
        new = copy.copy(self)
        new.state = state
        new.gradient = np.empty_like(self.gradient)
        new.by_term = dict.fromkeys(self.problem.used, 0.0)
        new.b = self.problem.shape_weight * state.betas[: len(self.b)]
        made = in_order(lambda part: self.problem.sloped(state, part), self.chunks)
        for part, (costs, gradient, b) in zip(self.chunks, made, strict=True):
            for label, cost in costs.items():
                new.by_term[label] += cost
            new.gradient[part] = gradient
            new.b = new.b + b[: len(new.b)]
        if self.problem.free_shape:
            new.by_term["shape"] = self.problem.shape_cost(state)
        new._cost = sum(new.by_term.values())
        new.chord = new._stale = True
        return new

    def _renew(self) -> None:
        """Substitutes forward again after the gradient has changed."""
        carried = None
        factors = []
        for part, factor in zip(self.chunks, self._factors, strict=True):
            assert factor is not None
            factor, carried = eliminate_again(factor, -self.gradient[part], carried)
            factors.append(factor)
        assert carried is not None and self._last is not None
        inner = self._last.inner.copy()
        inner[:, 0] = carried.inner[:, 0]
        self._last = Carry(self._last.matrix, self._last.columns, inner)
        self._factors, self._stale = factors, False

    @property
    def cost(self) -> Float[np.ndarray, " groups"]:
        """Of the one problem."""
        return np.array([self._cost])

    @property
    def gradient_size(self) -> Float[np.ndarray, " groups"]:
        """Largest entry of the gradient."""
        return np.array([max(np.abs(self.gradient).max(), np.abs(self.b).max(initial=0.0))])

    @property
    def shape_scale(self) -> Float[np.ndarray, " betas"]:
        """What the damping of the betas is relative to; empty when the shape is held."""
        return np.maximum(np.diagonal(self.E), _FLOOR)

    def curvature(
        self, delta: Float[np.ndarray, "frames parameters"], shape: Float[np.ndarray, " betas"]
    ) -> Float[np.ndarray, " groups"]:
        """z'Hz of the undamped matrix for z = (delta, shape)."""
        y = shape[: len(self.b)]

        def of(chunk: int) -> float:
            part = self.chunks[chunk]
            return self.blocks(chunk).quadratic(delta[part.start : part.stop + self.problem.reach], y)

        return np.array([sum(in_order(of, range(len(self.chunks)))) + y @ self.E @ y])

    def blocks(self, chunk: int) -> Blocks:
        """A chunk's part of the matrix, computed again: once it is eliminated it is hardly ever needed."""
        return self.problem.around(self.state, self.chunks[chunk]).blocks

    def _factor(self, chunk: int, blocks: Blocks, carried: Carry | None) -> tuple[Factor, Carry]:
        part = self.chunks[chunk]
        return eliminate(
            blocks,
            -self.gradient[part],
            carried,
            damped_diagonal=np.einsum("fii->fi", blocks.diagonal) + self._damping * self.scale[part],
            last=chunk == len(self.chunks) - 1,
        )

    def _eliminate(self, damping: float, *, first: bool = False) -> None:
        self._damping = damping
        kept = 0
        self._factors: list[Factor | None] = [None] * len(self.chunks)
        self._carried: list[Carry | None] = [None] * len(self.chunks)
        self._failure: SolveError | None = None
        carried = None
        numbers = range(len(self.chunks))
        made = in_order(lambda i: self.problem.around(self.state, self.chunks[i]) if first else self.blocks(i), numbers)
        for i, got in zip(numbers, made, strict=True):
            if isinstance(got, Linearised):
                part, blocks = self.chunks[i], got.blocks
                self.gradient[part] = got.gradient
                self.scale[part] = np.maximum(got.scale, _FLOOR)
                self.E += got.E
                self.b += got.b
                self._cost += float(got.cost.sum())
            else:
                blocks = got
            if self._failure is not None:
                continue
            self._carried[i] = carried
            try:
                factor, carried = self._factor(i, blocks, carried)
            except SolveError as error:
                self._failure = error
                continue
            if kept + factor.bytes < self.problem.budget:
                self._factors[i] = factor
                kept += factor.bytes
        self._last = carried

    def factors(self) -> Iterator[tuple[int, Factor]]:
        """Every chunk's number and factor, from the last to the first; those that were not kept are made again."""

        def of(chunk: int) -> Factor:
            kept = self._factors[chunk]
            return self._factor(chunk, self.blocks(chunk), self._carried[chunk])[0] if kept is None else kept

        backward = range(len(self.chunks) - 1, -1, -1)
        return zip(backward, in_order(of, backward), strict=True)

    def border(self) -> tuple[Float[np.ndarray, " betas"], Float[np.ndarray, "betas betas"]]:
        """The damped step of the betas, and the inverse of their Schur complement."""
        if self._failure is not None:
            raise self._failure
        assert self._last is not None
        damped = self.E + self._damping * np.diag(self.shape_scale)
        return solve_border(self._last, damped, -self.b)

    def step(self, damping: Float[np.ndarray, " groups"]) -> Step:
        """The damped Gauss-Newton step. Raises SolveError when the system is not positive definite."""
        d = self._damping if self.chord else float(damping[0])
        if d != self._damping and not self.chord:
            self._eliminate(d)
        if self._stale:
            self._renew()
        y, _ = self.border()
        x = np.empty_like(self.gradient)
        later = np.zeros(0)
        for i, factor in self.factors():
            later = substitute(factor, y, later)
            x[self.chunks[i]] = later.reshape(-1, x.shape[1])
        if not np.isfinite(x).all():
            raise SolveError("The system could not be solved to finite numbers.")
        # with (H + damping D) s = -g the model decreases by 1/2 s'(damping D s - g)
        predicted = 0.5 * float((x * (d * self.scale * x - self.gradient)).sum())
        shape = np.zeros(len(self.state.betas))
        if len(y):
            predicted += 0.5 * float(y @ (d * self.shape_scale * y - self.b))
            shape = y
        return Step(x, shape, np.array([predicted]))


class SeparateSystem:
    """The linearised active frames, each by itself, solved with some damping."""

    chord = False

    def __init__(
        self,
        problem: Problem,
        state: State,
        active: Bool[np.ndarray, " groups"],
        damping: Float[np.ndarray, " groups"],
    ) -> None:
        self.problem, self.state = problem, state
        self.frames = np.flatnonzero(active)
        n, size = len(state.Th), problem.size(state)
        self.free = np.setdiff1d(np.arange(size), problem.held)
        self.cost, self.gradient_size = np.zeros(n), np.zeros(n)
        self.gradient, self.scale = (np.zeros((n, size)) for _ in range(2))
        self.b = self.shape_scale = np.zeros(0)  # each frame by itself says too little of a shape of all
        keep = 8 * len(self.frames) * len(self.free) ** 2 <= problem.budget
        self._matrices: dict[int, np.ndarray] | None = {} if keep else None
        self._solve(damping)

    def _matrix(self, part: slice) -> np.ndarray:
        """A chunk's part of the undamped matrix, by the free parameters."""
        if self._matrices is not None and part.start in self._matrices:
            return self._matrices[part.start]
        numbers = self.frames[part]
        made = self.problem.linearised(self.state, numbers, slice(0, len(numbers)))
        H, free = made.blocks.diagonal, self.free
        self.cost[numbers] = made.cost
        if len(free) < H.shape[-1]:
            H = H[:, free[:, None], free]
        self.gradient[numbers[:, None], free] = made.gradient[:, free]
        self.scale[numbers] = np.maximum(made.scale, _FLOOR)
        self.gradient_size[numbers] = np.abs(self.gradient[numbers]).max(1)
        if self._matrices is not None:
            self._matrices[part.start] = H
        return H

    def _solve(self, damping: np.ndarray) -> None:
        self._damping = damping.copy()
        delta = np.zeros_like(self.gradient)
        predicted = np.zeros(len(delta))
        free = self.free

        def of(part: slice) -> None:
            numbers = self.frames[part]
            H = self._matrix(part).copy()
            scaled = damping[numbers, None] * self.scale[numbers[:, None], free]
            np.einsum("fii->fi", H)[...] += scaled
            gradient = self.gradient[numbers[:, None], free]
            try:
                x = np.linalg.solve(H, -gradient[..., None])[..., 0]
            except np.linalg.LinAlgError:  # one of them is singular: all try again with more damping
                x = np.full_like(gradient, np.nan)
            delta[numbers[:, None], free] = x
            predicted[numbers] = 0.5 * (x * (scaled * x - gradient)).sum(1)

        for _ in in_order(of, self.problem.parts(len(self.frames))):
            pass
        self._step = Step(delta, np.zeros(self.state.betas.shape[-1]), predicted)

    def curvature(
        self, delta: Float[np.ndarray, "frames parameters"], shape: Float[np.ndarray, " betas"]
    ) -> Float[np.ndarray, " groups"]:
        """z'Hz of each active frame's undamped matrix for z = delta; zero for the others. `shape` is held."""
        out = np.zeros(len(delta))

        def of(part: slice) -> None:
            numbers = self.frames[part]
            z = delta[numbers[:, None], self.free]
            out[numbers] = (z * (self._matrix(part) @ z[..., None])[..., 0]).sum(1)

        for _ in in_order(of, self.problem.parts(len(self.frames))):
            pass
        return out

    def moved(self, state: State) -> None:
        """Small problems are linearised anew at every state."""

    def step(self, damping: Float[np.ndarray, " groups"]) -> Step:
        """The damped Gauss-Newton step of every active frame; zero for the others."""
        if (damping[self.frames] != self._damping[self.frames]).any():
            self._solve(damping)
        return self._step
