"""Poses of all frames at once: which terms, in which passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from mocap import progress
from mocap.bodies import kinematics
from mocap.errors import DataError
from mocap.fit.root import first_poses
from mocap.fit.scales import inherited, rescaled, rescaled_in_images, unsettled
from mocap.geometry import robust, rotations
from mocap.solve.levenberg_marquardt import Solution, levenberg_marquardt
from mocap.solve.parallel import one_thread_each
from mocap.solve.problem import Problem, State
from mocap.take import Motion
from mocap.terms.base import Bound, Data, Repeated, Term
from mocap.terms.refine_2d import BoundRefine2d

_NEIGHBOURS = (1, -1, 3, -3)
"""How far away a badly ended frame looks for a better start, nearest first [frames]."""
_CHUNK = 2000
"""Frames of which keypoints are computed at once."""
_KEYS = 0.167
"""Between keyframes [s]."""
_COUPLED_DAMPING = 1e-6
"""Little: what a damping of 1e-3 of the points' curvature holds back is how a bend is shared along the spine."""
_STARTS = 0.333
"""Between the keyframes that are first fitted each by itself [s]."""
_FEWEST_KEYS = 30
"""A take with fewer keyframes is fitted on all its frames from the beginning."""
_START_ITERATIONS = 2
"""Of each of the starts a keyframe is given, after which the better one goes on."""
_FRAME_ITERATIONS = 4
_RETRY_ITERATIONS = 6
_KEY_ITERATIONS = 2
_MOST_ROUNDS = 4
"""Single iterations on all frames, each followed by an estimate of noise and motion, before the fit is carried to its
end; one where no motion was smoothed away, and up to twice as many in short takes."""


@dataclass(frozen=True)
class MotionFit:
    """A motion, its shape, and how each pass ended."""

    motion: Motion
    betas: Float[np.ndarray, " betas"]
    passes: dict[str, Solution]
    problem: Problem
    """The last one solved: with it error bars are made."""

    @property
    def state(self) -> State:
        """The solution as the solver has it."""
        return list(self.passes.values())[-1].state

    @property
    def scales(self) -> dict[str, dict[str, object]]:
        """What each loss read from the take itself, such as the noise of the points."""
        return {label: facts for label, term in self.problem.terms.items() if (facts := term.facts())}

    @property
    def converged(self) -> bool:
        """Whether the last pass did."""
        return list(self.passes.values())[-1].converged


def bind(terms: Mapping[str, Term], data: Data) -> dict[str, Bound]:
    """The terms that are switched on, with their data."""
    bound = {label: term.bind(data) for label, term in terms.items()}
    return {label: b for label, b in bound.items() if b is not None}


def distance(data: Data, motion: Motion, betas: Float[np.ndarray, " betas"]) -> float:
    """Median distance of the fitted body's keypoints from the triangulated ones [m]; NaN where there are none."""
    points = data.keypoints3d
    assert points is not None
    away = []
    for s in range(0, len(motion.Rh), _CHUNK):
        part = slice(s, s + _CHUNK)
        fitted = kinematics.keypoints_of(
            data.body, points.skeleton, betas, motion.Rh[part], motion.Th[part], motion.poses[part]
        )
        away.append(np.linalg.norm(fitted - points.xyz[part], axis=-1).ravel())
    whole = np.concatenate(away)
    return float(np.nanmedian(whole)) if np.isfinite(whole).any() else np.nan


def from_neighbours(problem: Problem, solution: Solution) -> Solution:
    """Frames that ended with a far higher cost than most try again from the poses of frames nearby; the better stays.

    An arm that twisted the wrong way stops against its limits; a frame earlier or later it often did not.
    """
    for offset in _NEIGHBOURS:
        typical = np.median(solution.costs)
        bad = solution.costs > typical + 4 * robust.mad_sigma(solution.costs - typical)
        if not bad.any():
            break
        state = solution.state
        source = np.clip(np.arange(len(bad)) + offset, 0, len(bad) - 1)
        R = state.R.copy()
        R[bad, 1:] = state.R[source[bad], 1:]
        tried = levenberg_marquardt(
            problem,
            State(state.Th, R, state.betas),
            max_iterations=_RETRY_ITERATIONS,
            relative_decrease=1e-2,
            only=bad,
            by_term=False,
        )
        better = bad & (tried.costs < solution.costs)
        pick = better[:, None, None, None]
        solution = dataclasses.replace(
            solution,
            state=State(
                np.where(better[:, None], tried.state.Th, state.Th), np.where(pick, tried.state.R, state.R), state.betas
            ),
            costs=np.where(better, tried.costs, solution.costs),
            reason=np.where(better, tried.reason, solution.reason),
            iterations=solution.iterations + tried.iterations,
        )
    total = float(solution.costs.sum())
    return dataclasses.replace(solution, cost=total, history=(*solution.history, total))


_NOTHING = State(np.zeros((0, 3)), np.zeros((0, 1, 3, 3)), np.zeros(0))


@dataclass
class _Run:
    """The passes made so far on one set of frames, and the progress of the one under way."""

    rig: kinematics.KeypointRig
    state: State
    timestamps: Float[np.ndarray, " frames"]
    shape_prior: float
    max_iterations: int
    passes: dict[str, Solution]

    def make(
        self,
        label: str,
        bound: Mapping[str, Bound],
        *,
        coupled: bool = False,
        free_shape: bool = False,
        relative_decrease: float = 1e-2,
        max_iterations: int | None = None,
        by_term: bool = False,
    ) -> Problem:
        # what the model and the detector disagree about is the same in every frame: all frames together say no more
        # about the shape than some of them would, so the population's distribution keeps its say
        shape_weight = max(1.0, self.shape_prior * len(self.timestamps))
        problem = Problem(self.rig, bound, coupled=coupled, free_shape=free_shape, shape_weight=shape_weight)
        with progress.bar(f"fitting poses ({label})", None, "iterations") as bar:
            self.passes.pop(label, None)
            self.passes[label] = levenberg_marquardt(
                problem,
                self._given(),
                max_iterations=max_iterations or self.max_iterations,
                relative_decrease=relative_decrease,
                initial_damping=_COUPLED_DAMPING if coupled else 1e-3,
                by_term=by_term,
                told=lambda: bar.update(1),
            )
        self.state = self.passes[label].state
        return problem

    def _given(self) -> State:
        """The state, let go of: held here it would stay in memory beside the solver's own."""
        state, self.state = self.state, _NOTHING
        return state

    def updated(self, bound: Mapping[str, Bound]) -> dict[str, Bound]:
        """The terms with what they, and all together, read from the motion as it is now."""
        updating = {k: b for k, b in bound.items() if type(b).updated is not Bound.updated}
        if updating:
            parts = [slice(i, i + _CHUNK) for i in range(0, len(self.timestamps), _CHUNK)]
            state = self.state
            posed = [kinematics.pose(self.rig, state.betas, state.R[s], state.Th[s]) for s in parts]
            whole = kinematics.joined(posed)
            bound = {**bound, **{k: b.updated(whole) for k, b in updating.items()}}
        bound = rescaled(self.rig, bound, self.state, self.timestamps)
        return rescaled_in_images(self.rig, bound, self.state, self.timestamps)


def _starts(data: Data, run: _Run, R0: Float[np.ndarray, "frames 3 3"], bound: Mapping[str, Bound]) -> None:
    """Each frame by itself: limbs pointed where they were seen, elbows and knees bent their usual way or either way."""
    assert data.keypoints3d is not None
    n, Th, betas = len(R0), run.state.Th, run.state.betas
    bound = {k: b for k, b in bound.items() if b.early and b.span == 1}
    starts = [first_poses(data.body, betas, data.keypoints3d, R0, hinged=hinged) for hinged in (True, False)]
    run.state = State(np.concatenate([Th, Th]), np.concatenate(starts), betas)
    twice = np.arange(2 * n) % n
    run.make("far", {k: Repeated(b.relaxed(), twice) for k, b in bound.items()}, max_iterations=_START_ITERATIONS)
    ended = run.passes["far"]
    best = np.arange(n) + n * (ended.costs[n:] < ended.costs[:n])
    run.state = State(ended.state.Th[best], ended.state.R[best], betas)
    problem = run.make("frames", bound, max_iterations=_FRAME_ITERATIONS)
    run.passes["frames"] = from_neighbours(problem, run.passes["frames"])
    run.state = run.passes["frames"].state


def spread(clock: Float[np.ndarray, " frames"], apart: float) -> Int[np.ndarray, " some"]:
    """Frames some time apart [s], the last one among them; all frames where that would leave few."""
    frames = np.arange(len(clock))
    if len(clock) < 2:
        return frames
    step = max(1, round(apart / float(np.median(np.diff(clock)))))
    some = np.unique([*frames[::step], len(clock) - 1])
    return some if len(some) >= _FEWEST_KEYS else frames


def between(state: State, at: Float[np.ndarray, " keys"], clock: Float[np.ndarray, " frames"]) -> State:
    """The state at every moment of `clock`, by cubic splines of Th and of quaternions through those at moments `at`."""
    if len(at) == len(clock):
        return state
    if len(at) == 1:
        return state.at(np.zeros(len(clock), dtype=int))
    quaternions = Rotation.from_matrix(state.R.reshape(-1, 3, 3)).as_quat().reshape(len(at), -1, 4)
    along = (quaternions[1:] * quaternions[:-1]).sum(-1)
    quaternions[1:] *= np.cumprod(np.where(along < 0, -1.0, 1.0), axis=0)[..., None]  # q and -q are one rotation
    spline = CubicSpline(at, quaternions)
    R = np.empty((len(clock), *state.R.shape[1:]))
    for s in range(0, len(clock), _CHUNK):
        part = slice(s, s + _CHUNK)
        R[part] = Rotation.from_quat(spline(clock[part]).reshape(-1, 4)).as_matrix().reshape(R[part].shape)
    return State(CubicSpline(at, state.Th)(clock), R, state.betas)


@one_thread_each()
def fit_motion(
    data: Data,
    terms: Mapping[str, Term],
    *,
    betas: Float[np.ndarray, " betas"],
    motion: Motion,
    free_shape: bool = True,
    shape_prior: float = 0.1,
    max_iterations: int = 50,
    tolerance: float = 4e-3,
) -> MotionFit:
    """Fits poses to a whole take, coarse in time first, then all frames together, then to the images when asked.

    Passes:
        far, frames: Terms of a single frame only, on keyframes some 0.3 s apart, hundreds of small problems at once,
            from limbs pointed where they were seen; first with the terms relaxed, then as they are. A frame that ended
            badly starts again from its neighbours' poses.
        keys: Keyframes half as far apart, together, with all terms that read the 3D points, the shape free when asked.
            Noise and motion are told from the take as it goes (see `fit.scales`).
        take: All terms, all frames coupled, from the keyframes' poses and splines between them.
        images: Only with a `refine_2d` term: as before, with reprojection in every view in place of `k3d` and the noise
            of each view told by what the pass before left in it. Without a `k3d` term the passes before are done with
            `refine_2d`, on all frames.

    Args:
        data: Keypoints and what else the terms need.
        terms: By label; `k3d` and `refine_2d` are taken as above, whatever they are labelled.
        betas: Shape to start from.
        motion: Root to start from; its poses only when they are not all zero.
        free_shape: Whether the passes over the whole take also refine the shape.
        shape_prior: Weight of 1/2 |betas|^2 for each frame; at least 1 in all.
        max_iterations: Of each pass.
        tolerance: The fit has converged when a step lowers the cost by less than this part of it.

    Raises:
        DataError: No term compares the body with data.
        SolveError: The cost at the start is not finite.
    """
    assert data.keypoints3d is not None
    rig = kinematics.fold(data.body, data.keypoints3d.skeleton)
    images = {k for k, t in terms.items() if "keypoints2d" in t.needs}
    measured = {k: t for k, t in terms.items() if k not in images}
    bound = bind(measured, data)
    in_images = bind({k: t for k, t in terms.items() if "keypoints3d" not in t.needs}, data)
    if not in_images.keys() & images:
        in_images = {}
    by_points = any("keypoints3d" in terms[k].needs for k in bound)
    if not by_points:
        bound, in_images = in_images, {}  # only the images tell where the body is
    if not bound:
        raise DataError(
            "No loss that is switched on compares the body with what was seen: give k3d or refine_2d a weight."
        )
    clock = data.timestamps
    if motion.poses.any():
        R = kinematics.local_rotations(motion.Rh, motion.poses)
        run = _Run(rig, State(motion.Th, R, betas), clock, shape_prior, max_iterations, {})
    else:
        keys = spread(clock, _KEYS) if by_points else np.arange(len(clock))
        first = keys[spread(clock[keys], _STARTS)] if by_points else keys
        few = data
        at_keys = {k: b.at_frames() if isinstance(b, BoundRefine2d) else b for k, b in bound.items()}
        if len(keys) < len(clock):
            few = data.at(keys)
            at_keys = bind({k: t for k, t in measured.items() if not t.needs - {"keypoints3d"}}, few)
        fewer, at_first = few, at_keys
        if len(first) < len(keys):
            fewer = data.at(first)
            at_first = bind({k: t for k, t in measured.items() if not t.needs - {"keypoints3d"}}, fewer)
        R = kinematics.local_rotations(motion.Rh[first], motion.poses[first])
        run = _Run(rig, State(motion.Th[first], R, betas), clock[first], shape_prior, max_iterations, {})
        _starts(fewer, run, R[:, 0], at_first)
        if len(keys) < len(clock):
            state = between(run.state, clock[first], clock[keys])
            run = _Run(rig, state, clock[keys], shape_prior, max_iterations, run.passes)
            at_keys = rescaled(rig, at_keys, run.state, run.timestamps)
            run.make("keys", at_keys, coupled=True, free_shape=free_shape, max_iterations=_KEY_ITERATIONS)
            bound = inherited(bound, rescaled(rig, at_keys, run.state, run.timestamps), clock[keys])
        run = _Run(rig, between(run.state, run.timestamps, clock), clock, shape_prior, max_iterations, run.passes)
    short = "keys" not in run.passes  # nothing has told its scales yet
    for _ in range(2 * _MOST_ROUNDS if short else _MOST_ROUNDS):
        run.make("take", bound, coupled=True, free_shape=free_shape, max_iterations=1)
        before, bound = bound, run.updated(bound)
        if not unsettled(bound, before if short else None):
            break
    problem = run.make("take", bound, coupled=True, free_shape=free_shape, relative_decrease=tolerance, by_term=True)
    if in_images:
        told = run.updated({k: bound.get(k, b) for k, b in in_images.items()})
        problem = run.make(
            "images", told, coupled=True, free_shape=free_shape, relative_decrease=tolerance, by_term=True
        )
    parts = [slice(s, s + _CHUNK) for s in range(0, len(clock), _CHUNK)]
    vectors = np.concatenate([rotations.log(run.state.R[s]) for s in parts])
    return MotionFit(
        Motion(vectors[:, 0], run.state.Th, vectors[:, 1:]),
        run.state.betas,
        run.passes,
        problem,
    )
