"""What is told of fingers: their ranges about anatomical axes, and how their flexions go together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from synthetic import toy_body, toy_hand

from mocap.bodies import kinematics
from mocap.bodies.load import load_body
from mocap.bodies.model import PoseSpace
from mocap.bodies.ranges import finger_axes, finger_of, is_hand, joint_ranges, of_hands
from mocap.errors import ModelError
from mocap.geometry import rotations
from mocap.skeletons import FINGERS, HANDS
from mocap.terms.base import Data
from mocap.terms.fingers import Fingers, of_space, own

LONG = FINGERS[1:]


@pytest.fixture(params=HANDS)
def side(request):
    return request.param


@pytest.fixture
def body(side):
    return load_body(f"embedded_{side}_hand")


def tips(body, side, angles):
    """Where the tips go, from where they are at rest, by flexion, abduction and twist of some joints [degrees]."""
    names = body.joint_names[1:]
    components = np.zeros((len(names), 3))
    for joint, values in angles.items():
        components[names.index(f"{side}_{joint}")] = np.radians(values)
    poses = joint_ranges(names, body).vectors(components)
    nothing = np.zeros((1, 3))
    moved = kinematics.keypoints_of(body, f"{side}_hand21", np.zeros(10), nothing, nothing, poses[None])[0]
    away = moved - kinematics.rest_keypoints(body, f"{side}_hand21")
    return {finger: away[HANDS[side].index(f"{side}_{finger}_tip")] for finger in FINGERS}


def test_axes_are_right_handed_and_flexion_is_across_bone_and_back(body, side):
    for name in body.joint_names[1:]:
        axes = finger_axes(body, name)
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(axes) == pytest.approx(1)
        if "thumb" not in name:
            assert abs(axes[0, 1]) < 1e-9  # palm down: flexion is about a level axis


@pytest.mark.parametrize("finger", LONG)
def test_flexing_a_finger_brings_its_tip_to_the_palm(body, side, finger):
    outward = 1 if side == "left" else -1
    a_little = tips(body, side, {f"{finger}1": [20, 0, 0]})[finger]
    assert a_little[1] < -0.015
    curled = tips(body, side, {f"{finger}1": [60, 0, 0], f"{finger}2": [80, 0, 0], f"{finger}3": [40, 0, 0]})[finger]
    rest = kinematics.rest_keypoints(body, f"{side}_hand21")
    tip, knuckle = (rest[HANDS[side].index(f"{side}_{finger}_{part}")] for part in ("tip", "mcp"))
    end = tip + curled
    assert 0.0 < outward * (knuckle[0] - end[0]) < 0.06  # under the palm, nearer to the wrist than the knuckle
    assert 0.01 < knuckle[1] - end[1] < 0.06


def test_flexing_the_thumb_brings_its_tip_across_the_palm(body, side):
    bent = {"thumb1": [15, 0, 0], "thumb2": [50, 0, 0], "thumb3": [60, 0, 0]}
    assert tips(body, side, bent)["thumb"][2] < -0.03  # toward the little finger: the thumb is in front
    for joint in bent:
        a_little = tips(body, side, {joint: [20, 0, 0]})["thumb"]
        assert a_little[2] < 0 and a_little[1] < 0  # and on the palm's side
    backwards = tips(body, side, {"thumb3": [-20, 0, 0]})["thumb"]
    assert backwards[2] > 0.0


def test_abduction_of_a_left_hand_is_toward_its_little_finger_and_of_a_right_one_away(body, side):
    moved = tips(body, side, {f"{finger}1": [0, 15, 0] for finger in LONG})
    for finger in LONG:
        assert moved[finger][2] * (-1 if side == "left" else 1) > 0.01


def test_ranges_of_both_hands_mirror_each_other():
    left, right = (load_body(f"embedded_{side}_hand") for side in ("left", "right"))
    a, b = (joint_ranges(body.joint_names[1:], body) for body in (left, right))
    mirror = np.array([1.0, -1, -1])
    np.testing.assert_allclose(a.usual * mirror, b.usual, atol=1e-4)
    np.testing.assert_allclose(np.sort([a.low * mirror, a.high * mirror], axis=0), [b.low, b.high], atol=1e-4)
    assert (a.low < a.usual).all() and (a.usual < a.high).all()


def test_a_rotation_vector_is_a_fit_measure_of_flexion_up_to_110_degrees(body, side):
    ranges = joint_ranges(body.joint_names[1:], body)
    place = body.joint_names[1:].index(f"{side}_index2")
    axes = ranges.axes[place]
    for degrees in (60, 90, 110):
        R = rotations.exp(np.radians(degrees) * axes[0])
        np.testing.assert_allclose(np.degrees(axes @ rotations.log(R)), [degrees, 0, 0], atol=1e-6)
    # a knuckle that spreads by 20 degrees and then bends to a right angle is within the walls
    knuckle = ranges.axes[place - 1]
    for spread in (-20, 20):
        R = rotations.exp(np.radians(spread) * knuckle[1]) @ rotations.exp(np.radians(75) * knuckle[0])
        flexion, abduction, twist = np.degrees(knuckle @ rotations.log(R))
        assert abs(flexion - 75) < 3
        assert abs(abduction) < 20 and abs(twist) < 20


def test_without_the_body_fingers_are_not_known():
    ranges = joint_ranges(("left_index1", "right_thumb3"))
    assert not ranges.known.any() and not ranges.usual.any()
    assert finger_of("left_index") is None and finger_of("left_index4") is None and finger_of("index1") is None
    assert finger_of("right_thumb2") == ("right", "thumb", 2)


def test_what_is_of_hands():
    hand, body = load_body("embedded_left_hand"), load_body("embedded_hands")
    assert is_hand(hand) and of_hands(hand.joint_names).all()
    assert not is_hand(body) and of_hands(body.joint_names).sum() == 30
    assert not of_hands(load_body("embedded").joint_names).any()


def test_a_finger_bone_without_length_is_a_sentence():
    hand = toy_hand()
    flat = dataclasses.replace(hand, J_regressor=hand.J_regressor[np.zeros(16, dtype=int)])
    with pytest.raises(ModelError, match="sits where its neighbour does"):
        joint_ranges(flat.joint_names[1:], flat)


# ---------------------------------------------------------------------------------------------------- the Gaussian


def conditional(mixture, ranges, given):
    """Mean flexion, abduction and twist [rad] of all joints, given some: place -> value."""
    A = ranges.axes
    n = len(A)
    cov = np.einsum("iax,ixjy,jby->iajb", A, mixture.covars[0].reshape(n, 3, n, 3), A).reshape(3 * n, 3 * n)
    mean = ranges.components(mixture.means[0].reshape(n, 3)).ravel()
    known = np.array(list(given))
    off = np.array(list(given.values())) - mean[known]
    return (mean + cov[:, known] @ np.linalg.solve(cov[np.ix_(known, known)], off)).reshape(n, 3)


def test_the_end_of_a_finger_bends_by_two_thirds_of_its_middle_and_neighbours_follow_each_other(body, side):
    names = body.joint_names[1:]
    ranges = joint_ranges(names, body)
    gaussian = own(body, names)
    np.testing.assert_allclose(ranges.components(gaussian.means.reshape(-1, 3)), ranges.usual, atol=1e-9)

    def place(finger, joint):
        return names.index(f"{side}_{finger}{joint}")

    bent = np.radians(40)
    middle = ranges.usual[place("middle", 2), 0] + bent
    found = conditional(gaussian, ranges, {3 * place("middle", 2): middle}) - ranges.usual
    assert 0.5 * bent < found[place("middle", 3), 0] < 2 / 3 * bent
    assert 0.15 * bent < found[place("ring", 2), 0] < 0.8 * bent
    assert found[place("pinky", 2), 0] < found[place("ring", 2), 0]
    assert 0 < found[place("index", 2), 0] < found[place("ring", 2), 0]  # the index finger is its own master
    np.testing.assert_allclose(found[[place("thumb", k) for k in (1, 2, 3)]], 0, atol=1e-9)


def cost(term, body, poses):
    bound = term.bind(Data(body, np.zeros(len(poses))))
    assert bound is not None
    R = kinematics.local_rotations(np.zeros((len(poses), 3)), poses)
    rig = kinematics.fold(body, list(body.regressors)[-1])
    posed = kinematics.pose(rig, np.zeros(body.n_betas), R, np.zeros((len(poses), 3)))
    return sum(m.cost.sum(1) for m in bound.residuals(posed, np.arange(len(poses)))), bound


def test_the_cost_is_the_negative_log_of_each_hands_gaussian():
    body = load_body("embedded_hands")
    poses = 0.4 * np.random.default_rng(0).normal(size=(6, 51, 3))
    found, bound = cost(Fingers(weight=0.3), body, poses)
    expected = np.zeros(6)
    for side in ("left", "right"):
        joints = [i for i, n in enumerate(body.joint_names[1:]) if (f := finger_of(n)) is not None and f[0] == side]
        gaussian = own(body, [body.joint_names[1 + i] for i in joints])
        expected -= multivariate_normal.logpdf(poses[:, joints].reshape(6, -1), gaussian.means[0], gaussian.covars[0])
    np.testing.assert_allclose((found - found[0]) / 0.3, expected - expected[0], atol=1e-6)
    assert bound.facts() == {"model": {"left": "own", "right": "own"}}


def space_of(body, n=6):
    rng = np.random.default_rng(1)
    components = np.linalg.qr(rng.normal(size=(45, n)))[0].T
    return PoseSpace(body.joint_names[1:], 0.2 * rng.normal(size=45), components, np.linspace(0.9, 0.01, n))


def test_a_files_pose_space_is_taken_where_there_is_one_and_none_is_made_up():
    hand = toy_hand()
    space = space_of(hand)
    with_space = dataclasses.replace(hand, pose_spaces=(space,))
    at_mean = space.mean.reshape(1, 15, 3)
    found = {m: cost(Fingers(model=m), with_space, at_mean) for m in ("auto", "file", "own")}
    assert found["auto"][0] == found["file"][0] == pytest.approx(0.0)
    assert found["own"][0] > 0.1
    assert found["auto"][1].facts() == {"model": {"right": "file"}}
    assert cost(Fingers(), hand, at_mean)[1].facts() == {"model": {"right": "own"}}
    with pytest.raises(ModelError, match="no pose space of the right hand"):
        Fingers(model="file").bind(Data(hand, np.zeros(1)))


def test_the_gaussian_of_a_pose_space_has_its_deviations_and_a_floor():
    space = space_of(toy_hand())
    gaussian = of_space(space)
    along = np.sqrt(np.einsum("nd,de,ne->n", space.components, gaussian.covars[0], space.components))
    np.testing.assert_allclose(along, np.maximum(space.deviation, 0.06), atol=1e-9)
    assert np.sqrt(np.linalg.eigvalsh(gaussian.covars[0])).min() == pytest.approx(0.06)


def test_a_body_without_fingers_has_none_of_it():
    assert Fingers().bind(Data(toy_body(), np.zeros(1))) is None
    assert Fingers(weight=0.0).bind(Data(toy_hand(), np.zeros(1))) is None
