"""Poses of all frames at once: which terms, in which passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mocap.bodies import kinematics
from mocap.fit.root import first_poses
from mocap.geometry import rotations
from mocap.solve.levenberg_marquardt import Solution, levenberg_marquardt
from mocap.solve.problem import Problem, State
from mocap.take import Motion
from mocap.terms.base import Bound, Data, Term


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


def fit_motion(
    data: Data,
    terms: Mapping[str, Term],
    *,
    betas: Float[np.ndarray, " betas"],
    motion: Motion,
    free_shape: bool = True,
    max_iterations: int = 50,
) -> MotionFit:
    """Fits poses to a whole take: each frame by itself first, then all together, then to the images when asked.

    Passes:
        frames: Terms of a single frame only, thousands of small problems at once, from limbs pointed where they were
            seen. It brings every frame near its answer, cheaply.
        take: All terms, all frames coupled, the shape free when asked.
        images: Only with a `k2d` term: as before, with reprojection in every view in place of `k3d`.

    Args:
        data: Keypoints and what else the terms need.
        terms: By label; `k3d` and `k2d` are taken as above, whatever they are labelled.
        betas: Shape to start from.
        motion: Root to start from; its poses only when they are not all zero.
        free_shape: Whether the passes over the whole take also refine the shape.
        max_iterations: Of each pass.
    """
    assert data.keypoints3d is not None
    rig = kinematics.fold(data.body, data.keypoints3d.skeleton)
    R = kinematics.local_rotations(motion.Rh, motion.poses)
    if not motion.poses.any():
        R = first_poses(data.body, betas, data.keypoints3d, R[:, 0])
    state = State(motion.Th, R, betas)
    images = {k for k, t in terms.items() if "keypoints2d" in t.needs}
    measured = bind({k: t for k, t in terms.items() if k not in images}, data)
    passes: dict[str, Solution] = {}

    def run(label: str, bound: Mapping[str, Bound], *, coupled: bool, relative_decrease: float) -> None:
        nonlocal state
        problem = Problem(rig, bound, coupled=coupled, free_shape=free_shape and coupled)
        passes[label] = levenberg_marquardt(
            problem, state, max_iterations=max_iterations, relative_decrease=relative_decrease
        )
        state = passes[label].state

    if any(b.span == 1 for b in measured.values()):
        run("frames", measured, coupled=False, relative_decrease=1e-2)
    run("take", measured, coupled=True, relative_decrease=1e-5)
    if images:
        in_images = bind({k: t for k, t in terms.items() if "keypoints3d" not in t.needs}, data)
        run("images", in_images, coupled=True, relative_decrease=1e-5)
    vectors = rotations.log(state.R)
    return MotionFit(Motion(vectors[:, 0], state.Th, vectors[:, 1:]), state.betas, passes)
