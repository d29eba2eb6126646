"""Joint limits: what they let pass, what they hold back, and how steeply."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import data_of, random_motion, toy_body

from mocap.bodies import kinematics
from mocap.bodies.model import SMPL_JOINTS
from mocap.bodies.ranges import joint_ranges
from mocap.geometry import rotations
from mocap.terms.limits import Limits

BODY = toy_body()
DATA = data_of(BODY, np.zeros(4), random_motion(0, 2))
RANGES = joint_ranges(SMPL_JOINTS[1:])
SIGMA = 0.1
HINGES = {"left_elbow": (1, 1), "right_elbow": (1, -1), "left_knee": (0, -1), "right_knee": (0, -1)}
"""Axis, and the sign of a bend backwards (SMPLify: parameters 55, 58, 12 and 15)."""


def residuals(theta, **options):
    """Of poses (frames, 23, 3)."""
    R = kinematics.local_rotations(np.zeros((len(theta), 3)), theta)
    posed = kinematics.pose(kinematics.fold(BODY, "body25"), np.zeros(4), R, np.zeros((len(theta), 3)))
    bound = Limits(sigma=SIGMA, **options).bind(DATA)
    assert bound is not None
    return bound.residuals(posed, np.arange(len(theta)))


def cost(theta, **options):
    return np.sum([m.cost.sum(1) for m in residuals(theta, **options)], axis=0)


def bent(joint, axis, angles):
    theta = np.tile(RANGES.usual, (len(angles), 1, 1))
    theta[:, SMPL_JOINTS.index(joint) - 1] = 0.0
    theta[:, SMPL_JOINTS.index(joint) - 1, axis] = angles
    return theta


def test_every_joint_of_smpl_after_the_root_has_a_range_that_holds_its_usual_pose():
    assert RANGES.known.all()
    assert (RANGES.low < RANGES.usual).all()
    assert (RANGES.usual < RANGES.high).all()


def test_the_right_side_mirrors_the_left():
    left, right = ([i for i, n in enumerate(SMPL_JOINTS[1:]) if n.startswith(s)] for s in ("left", "right"))
    mirror = np.array([1, -1, -1])
    np.testing.assert_allclose(np.sort(mirror * [RANGES.low[left], RANGES.high[left]], axis=0)[0], RANGES.low[right])
    np.testing.assert_allclose(RANGES.backwards[right], mirror * RANGES.backwards[left])


def test_the_usual_pose_costs_nothing():
    assert cost(RANGES.usual[None], usual=0) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("joint", HINGES)
def test_a_hinge_bends_one_way_only(joint):
    axis, sign = HINGES[joint]
    forwards, straight, backwards = cost(bent(joint, axis, sign * np.radians([-90, 0, 30])), usual=0)
    assert forwards < 0.01
    assert straight < 1.6  # the other three hinges, and half of exp(0)^2
    assert backwards > 50


@pytest.mark.parametrize("joint", HINGES)
def test_backwards_a_hinge_has_the_exponential_of_smplify_in_sigmas(joint):
    axis, sign = HINGES[joint]
    angles = np.array([-0.3, -0.1, 0.0, 0.1, 0.19])
    (walls,) = residuals(bent(joint, axis, sign * angles), usual=0)
    found = walls.r[:, 2 + SMPL_JOINTS.index(joint) - 1, axis]
    np.testing.assert_allclose(found, np.exp(angles / SIGMA), rtol=1e-9)


@pytest.mark.parametrize("usual", [0.0, 0.05])
def test_far_from_anything_a_body_can_do_the_jacobian_is_finite_and_exact(usual):
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(40, 23, 3))
    theta *= rng.uniform(0, 3.0, (40, 23, 1)) / np.linalg.norm(theta, axis=-1, keepdims=True)
    d, h = rng.normal(size=theta.shape), 1e-6
    plus, minus = (rotations.log(rotations.exp(theta) @ rotations.exp(s * h * d)) for s in (1, -1))
    made = residuals(theta, usual=usual), residuals(plus, usual=usual), residuals(minus, usual=usual)
    for m, a, b in zip(*made, strict=True):
        numeric = (a.r - b.r)[:, 2:] / (2 * h)
        ours = (m.jacobians[0][:, 2:] @ d[..., None])[..., 0]
        np.testing.assert_allclose(ours, numeric, rtol=1e-5, atol=1e-4)
        assert np.isfinite(m.cost).all()
        assert m.cost.max() < 1e6


def test_walls_stand_at_the_ends_of_a_range_and_grow_by_one_a_sigma():
    hip = SMPL_JOINTS.index("left_hip") - 1
    high = RANGES.high[hip, 1]
    (walls,) = residuals(bent("left_hip", 1, high + np.array([-0.2, 0.0, SIGMA, 3 * SIGMA])), usual=0)
    np.testing.assert_allclose(walls.r[:, 2 + hip, 1], [0, 0, 1, 3], atol=1e-9)


def test_relaxed_walls_are_lower_and_the_pull_is_optional():
    theta = bent("left_elbow", 1, np.array([1.0]))
    assert len(residuals(theta, usual=0)) == 1
    assert len(residuals(theta)) == 2
    bound = Limits(usual=0).bind(DATA)
    assert bound is not None
    posed = kinematics.pose(
        kinematics.fold(BODY, "body25"),
        np.zeros(4),
        kinematics.local_rotations(np.zeros((1, 3)), theta),
        np.zeros((1, 3)),
    )
    strict, soft = (b.residuals(posed, np.arange(1))[0].cost.sum() for b in (bound, bound.relaxed()))
    assert soft < 0.1 * strict


def test_joints_without_a_range_have_no_walls():
    names = ("jaw", "left_eye_smplhf", "right_eye_smplhf")
    assert not joint_ranges(names).known.any()
    body = toy_body(parents=np.array([-1, 0, 1, 2]))
    data = data_of(body, np.zeros(4), random_motion(0, 2, 4))
    object.__setattr__(body, "joint_names", ("head", *names))
    assert Limits(usual=0).bind(data) is None
    assert Limits().bind(data) is not None
