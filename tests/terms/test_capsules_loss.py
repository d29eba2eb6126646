"""The capsules' loss: what it says of parts in one another, and that it takes them out on the mesh."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
from synthetic import stepped

from mocap.bodies import kinematics
from mocap.bodies.capsules import posed_spheres
from mocap.bodies.load import load_body
from mocap.bodies.penetration import penetration
from mocap.bodies.ranges import joint_ranges
from mocap.errors import ModelError
from mocap.geometry import rotations
from mocap.solve.levenberg_marquardt import levenberg_marquardt
from mocap.solve.problem import Problem, State
from mocap.terms.base import Bound, Data, Residuals, body_blocks
from mocap.terms.capsules import Capsules
from mocap.terms.prior import INCLUDED, read_mixture

BODY = load_body()
RIG = kinematics.fold(BODY, "lsp14")
USUAL = joint_ranges(BODY.joint_names[1:]).usual
THROUGH = {
    "a hand in the belly": {"left_shoulder": (70, -35, -55), "left_elbow": (10, -60, -5)},
    "an arm across the belly": {"left_shoulder": (55, -50, -20), "left_elbow": (25, -110, -15)},
    "forearms through each other": {
        "left_shoulder": (-5, -90, -65), "left_elbow": (15, -65, -5),
        "right_shoulder": (5, 95, 20), "right_elbow": (35, 55, -40),
    },
    "legs through each other": {"left_hip": (0, -5, -20), "right_hip": (-10, 10, 25)},
}  # fmt: skip
"""Joints turned to these rotation vectors [degrees], the others as usual."""


def pose_of(joints):
    pose = USUAL.copy()
    for name, degrees in joints.items():
        pose[BODY.joint_names.index(name) - 1] = np.radians(degrees)
    return pose


ENTANGLED = np.stack([pose_of(joints) for joints in THROUGH.values()])
# of the prior's eight averages of recorded poses those whose hands are away from the body
FREE = np.stack([np.zeros_like(USUAL), USUAL, *read_mixture(INCLUDED).means[[0, 1, 2, 3, 4, 7]].reshape(-1, 23, 3)])


def bound_of(**options):
    bound = Capsules(**options).bind(Data(BODY, np.zeros(1)))
    assert bound is not None
    return bound


def posed_at(poses, betas=None, *, Rh=None, Th=None):
    nowhere = np.zeros((len(poses), 3))
    R = kinematics.local_rotations(nowhere if Rh is None else Rh, poses)
    return kinematics.pose(RIG, np.zeros(10) if betas is None else betas, R, nowhere if Th is None else Th)


def residuals(bound, posed):
    (made,) = bound.residuals(posed, np.arange(len(posed.R)))
    return made


def several(seed=0):
    """Poses of the usual spread, some of them entangled, anywhere in the world."""
    rng = np.random.default_rng(seed)
    poses = np.concatenate([ENTANGLED, joint_ranges(BODY.joint_names[1:]).sample(6, seed)])
    return posed_at(poses, Rh=rng.normal(size=(10, 3)), Th=rng.normal(size=(10, 3)))


def test_the_cost_is_half_the_sum_of_the_papers_penalties():
    bound = bound_of(weight=4.0)
    spheres, betas = bound.spheres, np.random.default_rng(1).normal(size=10)
    nowhere = np.zeros((len(ENTANGLED), 3))
    centres, radii = posed_spheres(BODY, spheres, betas, nowhere, nowhere, ENTANGLED)
    i, j = spheres.pairs.T
    square = ((centres[:, i] - centres[:, j]) ** 2).sum(-1)
    penalty = np.exp(-square / ((radii[i] / 3) ** 2 + (radii[j] / 3) ** 2))
    made = residuals(bound.with_betas(betas), posed_at(ENTANGLED))
    np.testing.assert_allclose(made.cost[:, 0], 0.5 * 4.0 * penalty.sum(1), rtol=1e-6)
    assert (made.cost > 1e-4).all()


def test_gradient_and_jacobian_agree_with_finite_differences():
    bound, posed, h = bound_of(), several(), 1e-7
    made = residuals(bound, posed)
    direction = np.random.default_rng(2).normal(size=(10, 75))
    plus, minus = (
        residuals(bound, kinematics.pose(RIG, np.zeros(10), *stepped(posed.R, posed.Th, s * h * direction)))
        for s in (1, -1)
    )
    numeric = (plus.r - minus.r) / (2 * h)
    scale = np.abs(numeric).max()
    assert scale > 100
    np.testing.assert_allclose((made.jacobians[0] @ direction[:, None, :, None])[..., 0], numeric, atol=1e-6 * scale)
    slope = ((plus.cost - minus.cost) / (2 * h))[:, 0]
    assert made.gradient is not None
    np.testing.assert_allclose((made.gradient * direction).sum(1), slope, rtol=1e-4, atol=1e-3)


def test_where_the_body_is_and_how_it_is_turned_does_not_matter():
    made = residuals(bound_of(), several())
    assert made.gradient is not None and np.abs(made.gradient).max() > 1
    assert not made.gradient[:, :6].any()
    assert not made.jacobians[0][..., :6].any()
    here = residuals(bound_of(), posed_at(rotations.log(several().R[:, 1:])))
    np.testing.assert_allclose(made.r, here.r, rtol=1e-5, atol=1e-4)


def test_the_shape_that_is_solved_for_moves_nothing_until_it_is_told():
    bound, betas = bound_of(), np.random.default_rng(3).normal(size=10)
    mean, shaped = posed_at(ENTANGLED), posed_at(ENTANGLED, betas)
    held = residuals(bound, mean).r
    np.testing.assert_array_equal(residuals(bound, shaped).r, held)
    told = bound.updated(shaped)
    np.testing.assert_array_equal(residuals(told, mean).r, residuals(bound.with_betas(betas), shaped).r)
    assert np.abs(residuals(told, mean).r - held).max() > 1


def test_in_a_batch_every_picture_has_its_own_shape():
    betas = np.random.default_rng(4).normal(size=(len(ENTANGLED), 10))
    bound, posed = bound_of(), posed_at(ENTANGLED)
    whole = residuals(bound.with_betas(betas), posed)
    (last,) = bound.with_betas(betas).residuals(posed_at(ENTANGLED[2:]), np.array([2, 3]))
    np.testing.assert_allclose(last.r, whole.r[2:], rtol=1e-9, atol=1e-9)
    for k, own in enumerate(betas):
        alone = residuals(bound.with_betas(own), posed_at(ENTANGLED[k : k + 1]))
        np.testing.assert_allclose(alone.r[0], whole.r[k], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(alone.jacobians[0][0], whole.jacobians[0][k], rtol=1e-4, atol=1e-3)


def test_pushing_a_hand_out_of_the_belly_lowers_the_cost_and_pushing_it_in_raises_it():
    bound = bound_of()
    pose = pose_of({"left_shoulder": (30, 35, -105), "left_elbow": (5, -75, 40)})
    made = residuals(bound, posed_at(pose[None]))
    assert made.gradient is not None
    elbow = 3 + 3 * BODY.joint_names.index("left_elbow")
    step = np.zeros((1, 75))
    step[0, elbow : elbow + 3] = made.gradient[0, elbow : elbow + 3]
    step *= np.radians(2) / np.linalg.norm(step)
    costs, hand = [], []
    for sign in (-1, 0, 1):
        R, Th = stepped(kinematics.local_rotations(np.zeros((1, 3)), pose[None]), np.zeros((1, 3)), sign * step)
        posed = kinematics.pose(RIG, np.zeros(10), R, Th)
        costs.append(residuals(bound, posed).cost.sum())
        centre = posed.joints[0, BODY.joint_names.index("spine1")]
        hand.append(np.linalg.norm(posed.joints[0, BODY.joint_names.index("left_hand")] - centre))
    assert costs[0] < costs[1] < costs[2]
    assert hand[0] > hand[2]


def test_lighter_is_a_part_of_the_cost():
    posed = posed_at(ENTANGLED)
    whole, part = (residuals(b, posed).cost for b in (bound_of(), bound_of().lighter(0.1)))
    np.testing.assert_allclose(part, 0.1 * whole)


def test_a_body_without_capsules_is_told_how_to_make_them():
    other = dataclasses.replace(BODY, name="mine", content_hash="f" * 16)
    with pytest.raises(ModelError, match=r'"mine".*tools/fit_capsules\.py.*"capsules\.file"'):
        Capsules().bind(Data(other, np.zeros(1)))


# ------------------------------------------------------------------------------------------------------------ the mesh


@dataclass(frozen=True, eq=False)
class Pull(Bound):
    """Holds joints where they were, to 0.3 rad."""

    to: np.ndarray

    def residuals(self, posed, frames):
        away = rotations.log(self.to[frames].swapaxes(-1, -2) @ posed.R)[:, 1:]
        J = rotations.right_jacobian_inverse(away)
        return [Residuals.of("blocks", body_blocks(away / 0.3), {0: body_blocks(J / 0.3)})]


def freed(poses, betas):
    R = kinematics.local_rotations(np.zeros((len(poses), 3)), poses)
    terms = {"capsules": bound_of().with_betas(betas), "pull": Pull(R)}
    start = State(np.zeros((len(poses), 3)), R, betas)
    solution = levenberg_marquardt(Problem(RIG, terms, coupled=False), start, max_iterations=100)
    return rotations.log(solution.state.R[:, 1:])


def through(poses, betas):
    nowhere = np.zeros((len(poses), 3))
    return penetration(BODY, betas, nowhere, nowhere, poses)


@pytest.mark.parametrize("seed", [None, 5], ids=["mean shape", "another shape"])
def test_minimising_the_loss_takes_parts_out_of_one_another_on_the_mesh(seed):
    betas = np.zeros(10) if seed is None else np.random.default_rng(seed).normal(size=10)
    before, after = through(ENTANGLED, betas), through(freed(ENTANGLED, betas), betas)
    assert (before.depth > 0.02).all()
    assert (after.depth < 0.65 * before.depth).all()  # fingers, that have no capsules, may be left inside
    assert (after.volume < 0.25 * before.volume).all()


def test_poses_that_do_not_touch_stay_where_they_are():
    assert not through(FREE, np.zeros(10)).vertices.any()
    np.testing.assert_allclose(freed(FREE, np.zeros(10)), FREE, atol=np.radians(0.5))
