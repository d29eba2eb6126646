from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
from moving import LOSSES, Truth, again, fitted, measured, moving, seen
from scipy.spatial.transform import Rotation
from synthetic import data_of, random_motion, toy_body

from mocap.bodies import kinematics
from mocap.bodies.kinematics import Posed
from mocap.errors import SolveError
from mocap.fit import uncertainty
from mocap.fit.motion import bind
from mocap.fit.uncertainty import joint_sigma
from mocap.skeletons import BODY25, Skeleton
from mocap.solve.problem import Problem, State
from mocap.terms.base import Bound, Residuals
from mocap.terms.k3d import BoundK3d, K3d
from mocap.terms.limits import Limits
from mocap.terms.smooth import Smooth

HIDDEN = {"arm": ("elbow", "wrist"), "leg": ("knee", "ankle", "heel", "big_toe", "small_toe")}
"""Keypoints of a side that are not seen together."""
SHOWN = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
"""Joints of either side that have a keypoint of their own."""
GAP, APART = 15, 30
"""How long, and how many frames until other ones [frames]."""
FRAMES = 240


def fit_with_gaps(kind: str, seed: int) -> tuple[Truth, Truth, np.ndarray, np.ndarray]:
    """Truth and fit of a take where arms and legs in turn are not seen; bars; which joints were hidden, by frame."""
    truth = moving(kind, FRAMES, seed)
    points = measured(truth, seed)
    sure = points.confidence.copy()
    hidden = np.zeros((FRAMES, truth.body.n_joints), dtype=bool)
    turns = [(side, part) for side in ("left", "right") for part in HIDDEN]
    for i, start in enumerate(range(APART, FRAMES - GAP - APART, APART)):
        side, part = turns[(i + seed) % len(turns)]
        rows = slice(start, start + GAP)
        sure[rows, BODY25.indices([f"{side}_{p}" for p in HIDDEN[part]])] = 0.0
        hidden[rows, [truth.body.joint_names.index(f"{side}_{p}") for p in HIDDEN[part][:2]]] = True
    fit = fitted(truth, seen(points.xyz, sure), LOSSES[kind])
    return truth, again(truth, fit), joint_sigma(fit.problem, fit.state).astype(float), hidden


@cache
def errors_in_sigmas(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Of joints that a keypoint shows, while it does and while it does not."""
    observed, unseen = [], []
    for seed in range(4):
        truth, ours, sigma, hidden = fit_with_gaps(kind, seed)
        shown = np.array([n.partition("_")[2] in SHOWN for n in truth.body.joint_names])
        z = (ours.joints - truth.joints) / sigma
        observed.append(z[~hidden & shown].ravel())
        unseen.append(z[hidden].ravel())
    return np.concatenate(observed), np.concatenate(unseen)


@pytest.mark.parametrize("kind", LOSSES)
def test_two_thirds_of_the_errors_of_joints_that_are_seen_lie_within_one_sigma(kind):
    z, _ = errors_in_sigmas(kind)
    assert np.mean(np.abs(z) < 1) == pytest.approx(0.68, abs=0.08)
    assert np.mean(np.abs(z) < 2) == pytest.approx(0.95, abs=0.05)


def test_two_thirds_of_the_errors_of_joints_hidden_for_half_a_second_lie_within_one_sigma():
    of_kind = [errors_in_sigmas(kind)[1] for kind in LOSSES]
    z = np.concatenate(of_kind)
    assert np.mean(np.abs(z) < 1) == pytest.approx(0.68, abs=0.08)
    assert np.mean(np.abs(z) < 2) == pytest.approx(0.95, abs=0.05)
    # how smoothly people accelerate differs from kind to kind
    assert all(0.56 < np.mean(np.abs(z) < 1) < 0.84 for z in of_kind)


def test_bars_of_hidden_joints_are_larger_and_largest_in_the_middle():
    _, _, sigma, hidden = fit_with_gaps("free", 0)
    size = np.sqrt((sigma**2).mean(-1))
    for joint in np.flatnonzero(hidden.any(0)):
        rows = np.flatnonzero(hidden[:, joint])
        first = rows[:GAP]
        assert size[first, joint].max() > 1.5 * np.median(size[~hidden[:, joint], joint])
        assert size[first[GAP // 2], joint] > size[first[[0, -1]], joint].max()


def small(*, free_shape: bool, sigma: float = 0.02) -> tuple[Problem, State]:
    """A few frames of a body of random numbers, at the truth."""
    body = toy_body()
    body = dataclasses.replace(body, posedirs=np.zeros_like(body.posedirs))  # curvature leaves out what they move
    motion, betas = random_motion(0, 4), np.array([0.5, -0.3, 0.2, 0.1])
    data = data_of(body, betas, motion)
    terms = {"k3d": K3d(sigma=sigma, place=0.0), "smooth": Smooth(sigma=20.0, sigma_root=5.0), "limits": Limits()}
    problem = Problem(kinematics.fold(body, "body25"), bind(terms, data), free_shape=free_shape)
    return problem, State(motion[1], kinematics.local_rotations(motion[0], motion[2]), betas)


@pytest.mark.parametrize("free_shape", [True, False])
def test_bars_are_the_dense_covariance_carried_to_the_joints(free_shape):
    problem, state = small(free_shape=free_shape)
    ours = joint_sigma(problem, state)

    # bars read the same losses: the points' curvature without what the kernel takes, and judgements of poses lighter
    sharp = {
        label: b.sharpened() if isinstance(b, BoundK3d) else b.lighter(uncertainty._SECOND_OPINION)
        for label, b in problem.terms.items()
    }
    frames, n_betas = len(state.Th), len(state.betas)
    n = frames * problem.rig.n_parameters
    body = problem.rig.body
    rig = kinematics.fold(body, Skeleton(body.name, body.joint_names, ()))

    def at(x: np.ndarray) -> State:
        return state.stepped(x[:n].reshape(frames, -1), x[n:])

    def residuals(x: np.ndarray) -> np.ndarray:
        there = at(x)
        posed = kinematics.pose(problem.rig, there.betas, there.R, there.Th)
        made = [m.r.ravel() for b in sharp.values() for m in b.residuals(posed, np.arange(frames))]
        return np.concatenate([*made, there.betas])

    def joints(x: np.ndarray) -> np.ndarray:
        there = at(x)
        return kinematics.pose(rig, there.betas, there.R, there.Th).keypoints.ravel()

    # at the truth no residual of a point is other than zero, so the kernel's weights are 1
    free = n + n_betas if free_shape else n
    by_step, J = (central(f, n + n_betas)[:, :free] for f in (residuals, joints))
    covariance = np.linalg.inv(by_step.T @ by_step)
    theirs = np.sqrt(np.einsum("ij,jk,ik->i", J, covariance, J, optimize=True)).reshape(ours.shape)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


def central(f, n: int, h: float = 1e-5) -> np.ndarray:
    """Derivative by central differences."""
    return np.column_stack([(f(x) - f(-x)) / (2 * h) for x in h * np.eye(n)])


def test_noise_twice_as_large_makes_bars_larger_and_at_most_twice():
    ratio = joint_sigma(*small(free_shape=True, sigma=0.02)) / joint_sigma(*small(free_shape=True, sigma=0.01))
    assert ratio.min() > 1.1 and ratio.max() < 2.0


def test_bars_do_not_depend_on_how_the_take_is_cut():
    problem, state = small(free_shape=True)
    for chunk in (1, 2, 3):
        cut = joint_sigma(dataclasses.replace(problem, chunk=chunk), state)
        np.testing.assert_allclose(cut, joint_sigma(problem, state), rtol=1e-5)


def test_bars_turn_with_the_person():
    """The variance of all axes together is the same whichever way somebody stands, and bars are of the world's axes."""
    problem, state = small(free_shape=False)
    turn = Rotation.from_rotvec([0.0, 0.0, np.pi / 2]).as_matrix()
    k3d = problem.terms["k3d"]
    assert isinstance(k3d, BoundK3d)
    turned_terms = {**problem.terms, "k3d": dataclasses.replace(k3d, xyz=k3d.xyz @ turn.T)}
    R = state.R.copy()
    R[:, 0] = turn @ R[:, 0]
    there = joint_sigma(dataclasses.replace(problem, terms=turned_terms), State(state.Th @ turn.T, R, state.betas))
    here = joint_sigma(problem, state)
    np.testing.assert_allclose(there[..., [1, 0, 2]], here, rtol=1e-4)


class Saddle(Bound):
    """Less cost the further away."""

    def residuals(self, posed: Posed, frames: np.ndarray) -> list[Residuals]:
        n, blocks = len(frames), 1 + posed.R.shape[1]
        r, J = np.zeros((n, blocks, 3)), np.zeros((n, blocks, 3, 3))
        r[:, 0], J[:, 0] = posed.Th, np.eye(3)
        made = Residuals.of("blocks", r, {0: J})
        return [dataclasses.replace(made, weight=-1e9 * made.weight)]


def test_where_there_is_no_minimum_there_are_no_bars():
    problem, state = small(free_shape=True)
    with pytest.raises(SolveError):
        joint_sigma(dataclasses.replace(problem, terms={**problem.terms, "saddle": Saddle()}), state)
