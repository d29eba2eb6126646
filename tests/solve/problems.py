"""Small takes to solve, and what their systems are when nothing is left out."""

from __future__ import annotations

import dataclasses

import numpy as np
from synthetic import data_of, random_motion, stepped, toy_body

from mocap.bodies import kinematics
from mocap.bodies.kinematics import Posed
from mocap.solve.problem import CoupledSystem, Problem, State
from mocap.terms.base import Bound, Residuals
from mocap.terms.k3d import K3d
from mocap.terms.limits import Limits
from mocap.terms.refine_2d import Refine2d
from mocap.terms.smooth import Smooth

BETAS = np.array([0.5, -0.3, 0.2, 0.1])
ALL = np.ones(1, dtype=bool)
TIGHT = {"max_iterations": 200, "relative_decrease": 1e-15, "gradient": 1e-7}
"""Ends where nothing more can be gained at working precision."""
FEW_JOINTS = np.array([-1, 0, 0, 0, 1, 2])


def problem_of(
    frames: int = 6,
    *,
    shift: float = 0.4,
    parents: np.ndarray | None = None,
    robust: float = 3.0,
    terms: tuple[str, ...] = ("k3d", "smooth", "limits", "refine_2d"),
    motion: tuple[np.ndarray, ...] | None = None,
    pose_features: bool = True,
    **options,
) -> Problem:
    """All kinds of terms; with a `shift`, cameras see between two frames, so that these are coupled densely."""
    body = toy_body() if parents is None else toy_body(parents=parents)
    if not pose_features:
        body = dataclasses.replace(body, posedirs=np.zeros_like(body.posedirs))
    data = data_of(body, BETAS, motion or random_motion(0, frames, body.n_joints), shift=shift)
    every = {
        "k3d": K3d(robust=robust),
        "smooth": Smooth(sigma=20.0, sigma_root=5.0, sigma_keypoints=30.0 if "refine_2d" in terms else None),
        "limits": Limits(),
        "refine_2d": Refine2d(sigma=0.004, robust=robust),
    }
    bound = {label: every[label].bind(data) for label in terms}
    return Problem(kinematics.fold(body, "body25"), bound, **options)


def start(frames: int = 6, *, seed: int = 1, size: float = 0.1, n_joints: int = 24, motion=None) -> State:
    """Poses off the truth by `size` [rad, m], and another shape."""
    Rh, Th, poses = motion or random_motion(0, frames, n_joints)
    delta = size * np.random.default_rng(seed).normal(size=(frames, 3 + 3 * n_joints))
    R, Th = stepped(kinematics.local_rotations(Rh, poses), Th, delta)
    return State(Th, R, BETAS + 0.2)


def all_groups(problem: Problem, state: State) -> np.ndarray:
    return np.ones(problem.groups(state), dtype=bool)


def system_of(problem: Problem, state: State, damping: float = 1e-3):
    groups = all_groups(problem, state)
    return problem.linearise(state, groups, damping * groups)


def dense(system: CoupledSystem) -> np.ndarray:
    """The undamped matrix of all frames' parameters and the betas."""
    frames, size = system.gradient.shape
    A = np.zeros((frames, size, frames, size))
    C = np.zeros((frames, size, len(system.E)))
    for i, part in enumerate(system.chunks):
        blocks = system.blocks(i)
        if blocks.border is not None:
            C[part] = blocks.border
        for k, f in enumerate(range(part.start, part.stop)):
            lower = np.tril(blocks.diagonal[k])  # the other triangle is not read; in single precision it differs
            A[f, :, f] = lower + np.tril(lower, -1).T
            for lag in range(1, min(blocks.reach, frames - 1 - f) + 1):
                if lag in blocks.dense:
                    A[f + lag, :, f] += blocks.dense[lag][k]
                for p in range(size // 3 if lag in blocks.parts else 0):
                    at = slice(3 * p, 3 * p + 3)
                    A[f + lag, at, f, at] += blocks.parts[lag][k, p]
                A[f, :, f + lag] = A[f + lag, :, f].T
    whole = A.reshape(frames * size, -1)
    side = C.reshape(frames * size, -1)
    E = np.triu(system.E)
    return np.block([[whole, side], [side.T, E + np.triu(E, 1).T]])


def stacked(problem: Problem, state: State) -> tuple[np.ndarray, np.ndarray]:
    """Residuals and their Jacobian by everything, times the root of their weights; keypoints' Jacobians exact."""
    rig, frames = problem.rig, np.arange(len(state.Th))
    size, n_betas = rig.n_parameters, len(state.betas)
    posed = kinematics.pose(rig, state.betas, state.R, state.Th, jacobian=True, shape_jacobian=True)
    assert posed.jacobian is not None and posed.shape_jacobian is not None
    residuals, rows = [], []
    for bound in problem.used.values():
        for m in bound.residuals(posed, frames):
            n, items, width = m.r.shape
            J = np.zeros((n, items, width, len(frames), size))
            B = np.zeros((n, items, width, n_betas))
            for i, f in enumerate(m.frame):
                for o, by in m.jacobians.items():
                    if f + o >= len(frames):
                        continue
                    if m.on == "parameters":
                        J[i, :, :, f] += by[i]
                    elif m.on == "blocks":
                        for b in range(items):
                            J[i, b, :, f + o, 3 * b : 3 * b + 3] += by[i, b]
                    else:
                        J[i, :, :, f + o] += by[i] @ posed.jacobian[f + o]
                        B[i] += by[i] @ posed.shape_jacobian[f + o]
            root = np.sqrt(m.weight)[..., None]
            residuals.append((root * m.r).ravel())
            flat = np.concatenate([J.reshape(n, items, width, -1), B], axis=-1)
            rows.append((root[..., None] * flat).reshape(-1, flat.shape[-1]))
    if problem.free_shape:
        gain = np.sqrt(problem.shape_weight)
        residuals.append(gain * state.betas)
        rows.append(np.concatenate([np.zeros((n_betas, len(frames) * size)), gain * np.eye(n_betas)], axis=1))
    whole = np.concatenate(rows)
    return np.concatenate(residuals), whole if problem.free_shape else whole[:, :-n_betas]


class Planted(Bound):
    """A term on Th alone, with the residuals and Jacobian it is given."""

    def __init__(self, r, jacobian, *, weight: float = 1.0) -> None:
        self.r, self.jacobian, self.weight = r, jacobian, weight

    def residuals(self, posed: Posed, frames: np.ndarray) -> list[Residuals]:
        n, blocks = len(frames), 1 + posed.R.shape[1]
        r, J = np.zeros((n, blocks, 3)), np.zeros((n, blocks, 3, 3))
        r[:, 0] = self.r(posed.Th)
        J[:, 0] = self.jacobian(posed.Th)
        made = Residuals.of("blocks", r, {0: J})
        return [dataclasses.replace(made, weight=self.weight * made.weight)]


def planted(*, coupled: bool = True, **terms: Bound) -> Problem:
    return Problem(kinematics.fold(toy_body(parents=FEW_JOINTS), "body25"), terms, coupled=coupled)


def least_squares_residuals(problem: Problem, base: State):
    """For SciPy: residuals after a step (frames' parameters, then betas when they are free); no robust kernel."""
    frames, n = len(base.Th), base.Th.shape[0] * problem.rig.n_parameters
    where = np.arange(frames)

    def at(x: np.ndarray) -> State:
        return base.stepped(x[:n].reshape(frames, -1), x[n:] if problem.free_shape else np.zeros(len(base.betas)))

    def residuals(x: np.ndarray) -> np.ndarray:
        state = at(x)
        posed = kinematics.pose(problem.rig, state.betas, state.R, state.Th)
        made = [m.r.ravel() for b in problem.used.values() for m in b.residuals(posed, where)]
        return np.concatenate([*made, np.sqrt(problem.shape_weight) * state.betas] if problem.free_shape else made)

    return at, residuals, np.zeros(n + len(base.betas) * problem.free_shape)


def keypoints(problem: Problem, state: State) -> np.ndarray:
    return kinematics.pose(problem.rig, state.betas, state.R, state.Th).keypoints
