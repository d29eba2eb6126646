"""Poses of all frames at once: which terms, in which passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mocap import progress
from mocap.bodies import kinematics
from mocap.errors import DataError, SolveError
from mocap.fit.root import first_poses
from mocap.geometry import robust, rotations
from mocap.solve.levenberg_marquardt import Solution, levenberg_marquardt
from mocap.solve.problem import Problem, State
from mocap.take import Motion
from mocap.terms.base import Bound, Data, Term

_NEIGHBOURS = (1, -1, 2, -2, 4, -4, 8, -8)
"""How far away a badly ended frame looks for a better start, nearest first [frames]."""
_CHUNK = 2000
"""Frames of which keypoints are computed at once."""


@dataclass(frozen=True)
class MotionFit:
    """A motion, its shape, and how each pass ended."""

    motion: Motion
    betas: Float[np.ndarray, " betas"]
    passes: dict[str, Solution]

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
            problem, State(state.Th, R, state.betas), max_iterations=15, relative_decrease=1e-2, only=bad
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
    return dataclasses.replace(
        solution,
        cost=total,
        cost_by_term=problem.cost_by_term(solution.state),
        history=(*solution.history, total),
    )


def _free_memory() -> int | None:
    """Memory that can still be had [bytes]: what the system says, and the limit of a container; None: not known."""
    free = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
        limit, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text().strip() for name in ("max", "current"))
        if limit != "max":
            free.append(int(limit) - int(used))
    except (OSError, ValueError):
        pass  # no Linux, or no limit set: what was read until here holds
    return min(free, default=None)


def _check_memory(problem: Problem, frames: int) -> None:
    """Refuses a take whose coupled system would not fit, before the machine kills the run without a word."""
    needed, free = problem.bytes(frames), _free_memory()
    if free is not None and needed > free:
        raise SolveError(
            f"Fitting {frames} frames at once needs {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free: "
            f"fit at most about {int(frames * free / needed)} frames at a time with --ranges START END STEP."
        )


def fit_motion(
    data: Data,
    terms: Mapping[str, Term],
    *,
    betas: Float[np.ndarray, " betas"],
    motion: Motion,
    free_shape: bool = True,
    shape_prior: float = 0.1,
    max_iterations: int = 50,
) -> MotionFit:
    """Fits poses to a whole take: each frame by itself first, then all together, then to the images when asked.

    Passes:
        far, frames: Terms of a single frame only, thousands of small problems at once, from limbs pointed where they
            were seen; first with the terms relaxed, then as they are. They bring every frame near its answer, cheaply;
            a frame that ended badly starts again from its neighbours' poses.
        take: All terms, all frames coupled, the shape free when asked.
        images: Only with a `k2d` term: as before, with reprojection in every view in place of `k3d`. Without a `k3d`
            term the passes before are done with `k2d`.

    Args:
        data: Keypoints and what else the terms need.
        terms: By label; `k3d` and `k2d` are taken as above, whatever they are labelled.
        betas: Shape to start from.
        motion: Root to start from; its poses only when they are not all zero.
        free_shape: Whether the passes over the whole take also refine the shape.
        shape_prior: Weight of 1/2 |betas|^2 for each frame; at least 1 in all.
        max_iterations: Of each pass.

    Raises:
        DataError: No term compares the body with data.
        SolveError: The take is too long for the memory, or the cost at the start is not finite.
    """
    assert data.keypoints3d is not None
    rig = kinematics.fold(data.body, data.keypoints3d.skeleton)
    R = kinematics.local_rotations(motion.Rh, motion.poses)
    if not motion.poses.any():
        R = first_poses(data.body, betas, data.keypoints3d, R[:, 0])
    state = State(motion.Th, R, betas)
    images = {k for k, t in terms.items() if "keypoints2d" in t.needs}
    measured = bind({k: t for k, t in terms.items() if k not in images}, data)
    in_images = bind({k: t for k, t in terms.items() if "keypoints3d" not in t.needs}, data)
    if not in_images.keys() & images:
        in_images = {}
    if not any("keypoints3d" in terms[k].needs for k in measured):
        measured, in_images = in_images, {}  # only the images tell where the body is
    if not measured:
        raise DataError("No loss that is switched on compares the body with what was seen: give k3d or k2d a weight.")
    passes: dict[str, Solution] = {}

    def run(label: str, bound: Mapping[str, Bound], *, coupled: bool, relative_decrease: float) -> Problem:
        nonlocal state
        # what the model and the detector disagree about is the same in every frame: all frames together say no more
        # about the shape than some of them would, so the population's distribution keeps its say
        shape_weight = max(1.0, shape_prior * len(data.timestamps))
        problem = Problem(rig, bound, coupled=coupled, free_shape=free_shape and coupled, shape_weight=shape_weight)
        if coupled:
            _check_memory(problem, len(data.timestamps))
        with progress.bar(f"fitting poses ({label})", None, "iterations") as bar:
            passes[label] = levenberg_marquardt(
                problem,
                state,
                max_iterations=max_iterations,
                relative_decrease=relative_decrease,
                told=lambda: bar.update(1),
            )
        state = passes[label].state
        return problem

    if any(b.span == 1 for b in measured.values()):
        run("far", {k: b.relaxed() for k, b in measured.items()}, coupled=False, relative_decrease=1e-2)
        problem = run("frames", measured, coupled=False, relative_decrease=1e-2)
        passes["frames"] = from_neighbours(problem, passes["frames"])
        state = passes["frames"].state
    run("take", measured, coupled=True, relative_decrease=1e-5)
    if in_images:
        run("images", in_images, coupled=True, relative_decrease=1e-5)
    vectors = rotations.log(state.R)
    return MotionFit(Motion(vectors[:, 0], state.Th, vectors[:, 1:]), state.betas, passes)
