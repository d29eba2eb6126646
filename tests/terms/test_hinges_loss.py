"""Elbows and knees must not bend backwards: the four signs of the paper, and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mocap.bodies import kinematics
from mocap.bodies.load import load_body
from mocap.terms.base import Data
from mocap.terms.hinges import Hinges

BODY = load_body("embedded")
RIG = kinematics.fold(BODY, "lsp14")
NATURAL = {"left_elbow": (1, -1.0), "right_elbow": (1, 1.0), "left_knee": (0, 1.0), "right_knee": (0, 1.0)}
"""Axis and sign of the natural bend of a T-pose: forearms come forward, shanks go back. SMPLify's program penalises
exp of +55, -58, -12, -15 of the pose: left and right elbow, left and right knee."""


def posed_at(angles: dict[str, tuple[int, float]]) -> kinematics.Posed:
    vectors = np.zeros((1, BODY.n_joints, 3))
    for name, (axis, angle) in angles.items():
        vectors[0, BODY.joint_names.index(name), axis] = angle
    R = kinematics.local_rotations(vectors[:, 0], vectors[:, 1:])
    return kinematics.pose(RIG, np.zeros(10), R, np.zeros((1, 3)))


def costs(posed: kinematics.Posed, **options) -> dict[str, float]:
    """By the name of the joint, of those that cost anything."""
    bound = Hinges(**options).bind(Data(BODY, np.zeros(1)))
    (made,) = bound.residuals(posed, np.zeros(1, dtype=int))
    assert made.r.shape[1] == 1 + BODY.n_joints
    return {BODY.joint_names[i - 1]: made.cost[0, i] for i in np.flatnonzero(made.cost[0])}


def test_the_signs_are_those_of_smplifys_program():
    # its indices count the 72 numbers of a pose, the root's three among them
    indices = {3 * BODY.joint_names.index(name) + axis: -sign for name, (axis, sign) in NATURAL.items()}
    assert indices == {55: 1.0, 58: -1.0, 12: -1.0, 15: -1.0}


@pytest.mark.parametrize("joint", NATURAL)
def test_bending_the_natural_way_costs_less_and_backwards_more(joint):
    axis, sign = NATURAL[joint]
    back, straight, bent = (costs(posed_at({joint: (axis, sign * a)}))[joint] for a in (-0.5, 0.0, 0.5))
    assert bent < straight < back


@pytest.mark.parametrize("joint", NATURAL)
@pytest.mark.parametrize("angle", [-1.2, -0.3, 0.0, 0.7])
def test_the_cost_is_half_the_weight_times_the_square_of_the_exponential(joint, angle):
    axis, _ = NATURAL[joint]
    backwards = -NATURAL[joint][1] * angle
    told = costs(posed_at({joint: (axis, angle)}), weight=7.0)
    assert told[joint] == pytest.approx(0.5 * 7.0 * np.exp(backwards) ** 2)
    assert [told[other] for other in NATURAL if other != joint] == pytest.approx([3.5] * 3)


def test_the_natural_bends_are_those_that_people_can_do():
    # elbows: wrists come to the front of a T-pose (z); knees: ankles go to the back
    posed = posed_at({name: (axis, sign * 1.0) for name, (axis, sign) in NATURAL.items()})
    flat = posed_at({})
    for joint, end, way in (("elbow", "wrist", 1), ("knee", "ankle", -1)):
        for side in ("left", "right"):
            i = BODY.joint_names.index(f"{side}_{end}")
            assert way * (posed.joints[0, i, 2] - flat.joints[0, i, 2]) > 0.1, (side, joint)


def test_no_other_joint_and_no_other_axis_is_touched():
    bent = {name: (axis, 0.9) for name in BODY.joint_names[1:] for axis in range(3) if name not in NATURAL}
    assert costs(posed_at(bent)) == costs(posed_at({}))
    assert set(costs(posed_at({}))) == set(NATURAL)
    bound = Hinges().bind(Data(BODY, np.zeros(1)))
    (made,) = bound.residuals(posed_at(bent), np.zeros(1, dtype=int))
    touched = np.flatnonzero(np.abs(made.jacobians[0][0, :, 0]).sum(-1))
    assert [BODY.joint_names[i - 1] for i in touched] == sorted(NATURAL, key=BODY.joint_names.index)


def test_a_body_without_elbows_and_knees_has_no_hinges():
    hand = dataclasses.replace(BODY, joint_names=tuple(f"finger{i}" for i in range(BODY.n_joints)))
    assert Hinges().bind(Data(hand, np.zeros(1))) is None


def test_lighter_is_a_part_of_the_cost():
    bound = Hinges().bind(Data(BODY, np.zeros(1)))
    posed = posed_at({"left_knee": (0, 0.4)})
    (whole,), (part,) = (b.residuals(posed, np.zeros(1, dtype=int)) for b in (bound, bound.lighter(0.2)))
    np.testing.assert_allclose(part.cost, 0.2 * whole.cost)
