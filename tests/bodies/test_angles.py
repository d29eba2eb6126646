"""Joint angles, of poses made by hand: one motion at a time, seen where the limbs then are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from synthetic import random_motion

from mocap.bodies.angles import JointAngles, joint_angles, joint_rotations
from mocap.bodies.kinematics import joints_of, keypoints_of
from mocap.bodies.load import JOINT_NAMES, load_body
from mocap.bodies.model import SMPL_JOINTS
from mocap.bodies.ranges import joint_ranges
from mocap.errors import DataError
from mocap.geometry import rotations
from mocap.skeletons import HANDS

UPRIGHT = np.array([np.pi / 2, 0, 0])
"""Stands in the world, z up, and looks along -y."""
FINGER_JOINTS = JOINT_NAMES[16][1:]
X, Y, Z = np.eye(3)
"""The model's: to the left, up, to the front."""
ARMS_DOWN = {"left_shoulder": -90 * Z, "right_shoulder": 90 * Z}


def standing(**turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rh, poses of one frame: upright, arms down; further local rotations [degrees] in the model's axes.

    Those of shoulders come after the arm was let down, as seen from the trunk.
    """
    poses = np.zeros((1, 23, 3))
    for joint in {**ARMS_DOWN, **turns}:
        R = rotations.exp(np.radians(turns.get(joint, np.zeros(3))))
        if joint in ARMS_DOWN:
            R = R @ rotations.exp(np.radians(ARMS_DOWN[joint]))
        poses[0, SMPL_JOINTS.index(joint) - 1] = rotations.log(R)
    return UPRIGHT[None], poses


def angles_of(Rh: np.ndarray, poses: np.ndarray) -> JointAngles:
    return joint_angles(SMPL_JOINTS, Rh, poses)


def others_are_zero(found: JointAngles, **expected: float) -> None:
    wanted = dict.fromkeys(found.names, 0.0) | {"pelvis_rotation": -90.0} | expected
    assert set(wanted) == set(found.names)
    np.testing.assert_allclose(found.degrees[0], [wanted[name] for name in found.names], atol=1e-8)


def test_standing_upright_with_hanging_arms_all_angles_are_zero():
    Rh, poses = standing()
    others_are_zero(angles_of(Rh, poses))
    body = load_body()
    at = dict(zip(SMPL_JOINTS, joints_of(body, np.zeros(10), Rh, np.zeros((1, 3)), poses)[0], strict=True))
    for side in ("left", "right"):
        arm = at[f"{side}_wrist"] - at[f"{side}_shoulder"]
        assert arm[2] / np.linalg.norm(arm) < -0.95  # it does hang


# the joint, its turn in the model's axes of the right side [degrees], and where a joint below then goes: a witness that
# the name of the angle is right, in the directions front, up, and away from the body's middle
MOTIONS = [
    ("hip_flexion", "hip", -40 * X, "knee", "front"),
    ("hip_abduction", "hip", -40 * Z, "knee", "outward"),
    ("hip_rotation", "hip", 40 * Y, None, None),
    ("knee_flexion", "knee", 40 * X, "ankle", "back"),
    ("knee_abduction", "knee", -40 * Z, "ankle", "outward"),
    ("knee_rotation", "knee", 40 * Y, "foot", "inward"),
    ("ankle_dorsiflexion", "ankle", -40 * X, "foot", "up"),
    ("ankle_inversion", "ankle", 40 * Z, None, None),
    ("ankle_rotation", "ankle", 40 * Y, "foot", "inward"),
    ("toes_extension", "foot", -40 * X, None, None),
    ("shoulder_flexion", "shoulder", -40 * X, "elbow", "front"),
    ("shoulder_abduction", "shoulder", -40 * Z, "elbow", "outward"),
    ("shoulder_rotation", "shoulder", 40 * Y, None, None),
    ("elbow_flexion", "elbow", 40 * Y, "wrist", "front"),
    ("forearm_pronation", "elbow", 40 * X, None, None),
    ("forearm_pronation", "wrist", 40 * X, None, None),
    ("wrist_flexion", "wrist", 40 * Z, "hand", "inward"),
    ("wrist_ulnar_deviation", "wrist", -40 * Y, "hand", "back"),
]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("angle", "joint", "turn", "witness", "way"), MOTIONS)
def test_one_motion_of_a_limb_is_one_angle_of_the_same_sign_on_both_sides(side, angle, joint, turn, witness, way):
    turn = turn * [1, -1, -1] if side == "left" else turn
    Rh, poses = standing(**{f"{side}_{joint}": turn})
    others_are_zero(angles_of(Rh, poses), **{f"{side}_{angle}": 40.0})
    if witness is not None:
        body, name = load_body(), f"{side}_{witness}"
        before, after = (
            joints_of(body, np.zeros(10), Rh, np.zeros((1, 3)), p)[0, SMPL_JOINTS.index(name)]
            for p in (standing()[1], poses)
        )
        out = -1 if side == "right" else 1  # looking along -y the left is at +x
        ways = {"front": -1 * Y, "back": Y, "up": Z, "outward": out * X, "inward": -out * X}
        moved = after - before
        assert moved @ ways[way] / np.linalg.norm(moved) > 0.6, moved


@pytest.mark.parametrize(
    ("angle", "joint", "turn"),
    [
        ("trunk_flexion", "spine2", 30 * X), ("trunk_bending", "spine1", 30 * Z), ("trunk_rotation", "spine3", 30 * Y),
        ("neck_flexion", "neck", 30 * X), ("neck_bending", "head", 30 * Z), ("neck_rotation", "head", 30 * Y),
    ],
)  # fmt: skip
def test_trunk_and_neck_bend_forward_to_the_right_and_turn_left(angle, joint, turn):
    others_are_zero(angles_of(*standing(**{joint: turn})), **{angle: 30.0})


@pytest.mark.parametrize("heading", [0, 40, 90, 170, -120])
@pytest.mark.parametrize(("angle", "axis"), [("tilt", X), ("list", Z)])
def test_pelvic_tilt_and_list_do_not_depend_on_the_heading(heading, angle, axis):
    """Anterior tilt and a lower right side are positive."""
    _, poses = standing()
    turned = (
        rotations.exp(np.radians((heading + 90) * Z)) @ rotations.exp(UPRIGHT) @ rotations.exp(np.radians(20 * axis))
    )
    found = angles_of(rotations.log(turned)[None], poses)
    others_are_zero(found, pelvis_rotation=heading, **{f"pelvis_{angle}": 20.0})
    left, front = turned[:, 0], turned[:, 2]
    lower = front[2] if angle == "tilt" else -left[2]
    assert lower == pytest.approx(-np.sin(np.radians(20)))


def test_the_mirror_image_of_a_pose_has_the_angles_of_the_other_side():
    Rh, _, poses = random_motion(5, 30)
    swap = [name.replace("left", "!").replace("right", "left").replace("!", "right") for name in SMPL_JOINTS]
    mirrored = np.stack([poses[:, SMPL_JOINTS.index(name) - 1] for name in swap[1:]], axis=1) * [1, -1, -1]
    ours, theirs = angles_of(Rh, poses), angles_of(Rh, mirrored)
    for name in ours.names:
        if name.startswith("left_"):
            for one, other in ((ours, theirs), (theirs, ours)):
                np.testing.assert_allclose(one.of(name), other.of(name.replace("left", "right")), atol=1e-9)
        elif name.startswith(("trunk", "neck")):
            sign = 1 if name.endswith("flexion") else -1
            np.testing.assert_allclose(ours.of(name), sign * theirs.of(name), atol=1e-9)


def test_a_t_pose_is_arms_abducted_by_a_right_angle():
    others_are_zero(
        angles_of(UPRIGHT[None], np.zeros((1, 23, 3))), left_shoulder_abduction=90.0, right_shoulder_abduction=90.0
    )


def test_an_arm_that_circles_passes_every_gimbal_lock_without_a_jump():
    """From hanging by the front over the top to the back, and from hanging out to the side and over the head."""
    up = np.linspace(0, 260, 400)
    for axis, name, sign in ((X, "right_shoulder_flexion", -1), (Z, "right_shoulder_abduction", -1)):
        poses = np.concatenate([standing(right_shoulder=sign * a * axis)[1] for a in up])
        found = angles_of(np.tile(UPRIGHT, (400, 1)), poses)
        np.testing.assert_allclose(found.of(name), up, atol=1e-6)
        rest = [i for i, n in enumerate(found.names) if n != name and n != "pelvis_rotation"]
        np.testing.assert_allclose(found.degrees[:, rest], 0, atol=1e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_elbow_s_flexion_and_abduction_are_the_bend_between_the_joints_centres(side):
    Rh, Th, poses = random_motion(9, 50)
    found, body = angles_of(Rh, poses), load_body()
    at = joints_of(body, np.zeros(10), Rh, Th, poses)
    shoulder, elbow, wrist = (at[:, SMPL_JOINTS.index(f"{side}_{n}")] for n in ("shoulder", "elbow", "wrist"))
    upper, fore = elbow - shoulder, wrist - elbow
    cosine = (upper * fore).sum(1) / np.linalg.norm(upper, axis=1) / np.linalg.norm(fore, axis=1)
    flexion, abduction = (np.cos(np.radians(found.of(f"{side}_elbow_{n}"))) for n in ("flexion", "abduction"))
    np.testing.assert_allclose(np.degrees(np.arccos(flexion * abduction)), np.degrees(np.arccos(cosine)), atol=0.5)


def test_the_isb_s_angles_of_the_shoulder_follow_from_tilt_and_torsion():
    _, _, poses = random_motion(8, 50, spread=0.9)
    found = angles_of(np.tile(UPRIGHT, (50, 1)), poses)
    R = joint_rotations(SMPL_JOINTS, np.tile(UPRIGHT, (50, 1)), poses)["left_shoulder"]
    flexion, abduction, rotation = (
        np.radians(found.of(f"left_shoulder_{n}")) for n in ("flexion", "abduction", "rotation")
    )
    plane, elevation = np.arctan2(flexion, abduction), np.hypot(flexion, abduction)
    isb = np.stack([plane, -elevation, rotation - plane], axis=1)  # an elevation is negative about x
    np.testing.assert_allclose(Rotation.from_euler("YXY", isb).as_matrix(), R, atol=1e-9)


def test_an_arm_that_circles_overhead_and_is_lowered_is_not_wound_up():
    """Up by the front, round about the top by 10 degrees without turning about itself, and down as it came."""
    up = np.linspace(0, 170, 60)[:, None] * -X
    circle = np.linspace(0, 2 * np.pi, 200)[:, None]
    top = rotations.exp(np.radians(10 * (np.cos(circle) * X + np.sin(circle) * Z))) @ rotations.exp(np.pi * -X)
    turns = [*up, *np.degrees(rotations.log(top)), *up[::-1]]
    poses = np.concatenate([standing(right_shoulder=turn)[1] for turn in turns])
    found = angles_of(np.tile(UPRIGHT, (len(turns), 1)), poses)
    rotation = found.of("right_shoulder_rotation")
    assert np.ptp(rotation[60:260]) > 700  # a tilt's direction and the torsion both go round
    assert np.abs(np.diff(rotation[:260])).max() < 10
    np.testing.assert_allclose(rotation[-30:], 0, atol=1e-6)
    np.testing.assert_allclose(found.of("right_shoulder_flexion")[-30:], -up[::-1][-30:, 0], atol=1e-6)


def test_who_turns_round_and_round_goes_past_180_degrees():
    turns = np.linspace(0, 900, 200)
    R = rotations.exp(np.radians(turns)[:, None] * Z) @ rotations.exp(UPRIGHT)
    found = angles_of(rotations.log(R), np.zeros((200, 23, 3)))
    np.testing.assert_allclose(found.of("pelvis_rotation"), turns - 90, atol=1e-6)
    np.testing.assert_allclose(found.of("pelvis_tilt"), 0, atol=1e-6)


def test_angles_of_a_smooth_motion_are_smooth():
    """At most 3 degrees a frame in each axis of each joint, about standing, over many turns of the whole body."""
    Rh, _, poses = random_motion(2, 600, spread=0.4)
    Rh = rotations.log(rotations.exp(np.linspace(0, 30, 600)[:, None] * Z) @ rotations.exp(UPRIGHT + 0.5 * Rh))
    found = angles_of(Rh, poses + standing()[1])
    assert np.abs(np.diff(found.degrees, axis=0)).max() < 20


def test_rotations_of_joints_are_the_product_of_the_model_s_up_to_its_axes():
    """Whatever the axes, the angle of a joint's rotation is that of the model's."""
    Rh, _, poses = random_motion(4, 10)
    found = joint_rotations(SMPL_JOINTS, Rh, poses)
    np.testing.assert_allclose(
        np.linalg.norm(rotations.log(found["left_elbow"]), axis=1),
        np.linalg.norm(poses[:, SMPL_JOINTS.index("left_elbow") - 1], axis=1),
        atol=1e-9,
    )


def test_a_body_with_fewer_joints_has_fewer_angles_and_none_of_them_is_told():
    assert "left_wrist_flexion" not in joint_angles(SMPL_JOINTS[:20], np.zeros((2, 3)), np.zeros((2, 19, 3))).names
    with pytest.raises(DataError, match="SMPL's joints and of hands"):
        joint_angles(("tail1", "tail2"), np.zeros((2, 3)), np.zeros((2, 1, 3)))


# ------------------------------------------------------------------------------------------------------------- fingers

# the joint, the motion of which component of its own axes [degrees], the angle, and what the tip comes nearer to (or
# goes away from): a witness that the name of the angle is right
FINGERS = [
    ("index1", [30, 0, 0], "index_mcp_flexion", None),
    ("ring2", [30, 0, 0], "ring_pip_flexion", None),
    ("pinky3", [30, 0, 0], "pinky_dip_flexion", None),
    ("thumb1", [30, 0, 0], "thumb_cmc_flexion", None),
    ("thumb3", [30, 0, 0], "thumb_ip_flexion", None),
    ("index1", [0, 15, 0], "index_mcp_abduction", "middle_mcp"),
    ("middle1", [0, 15, 0], "middle_mcp_abduction", "pinky_mcp"),
    ("ring1", [0, -15, 0], "ring_mcp_abduction", "middle_mcp"),
    ("pinky1", [0, -15, 0], "pinky_mcp_abduction", "middle_mcp"),
    ("thumb1", [0, 15, 0], "thumb_cmc_abduction", "index_mcp"),
]


def hand_at(side: str, turns: dict[str, list[float]]) -> tuple[JointAngles, dict[str, np.ndarray]]:
    """Angles of a hand that is somewhere in the world, and its points as it lies in the model's axes.

    `turns` by the joints' own axes [degrees], of a right hand.
    """
    body = load_body(f"embedded_{side}_hand")
    ranges = joint_ranges(body.joint_names[1:], body)
    own = np.zeros((1, 15, 3))
    for name, turn in turns.items():
        mirror = [1, 1, 1] if side == "right" else [1, -1, -1]
        own[0, body.joint_names.index(f"{side}_{name}") - 1] = np.radians(turn) * mirror
    poses, betas, none = ranges.vectors(own), np.array([0.5, -1.0]), np.zeros((1, 3))
    Rh = np.array([[0.4, -0.7, 1.1]])
    found = joint_angles(body.joint_names, Rh, poses, joints_of(body, betas, Rh, none + 1, poses))
    at = keypoints_of(body, f"{side}_hand21", betas, none, none, poses)[0]
    return found, dict(zip((name.partition("_")[2] for name in HANDS[side].joints), at, strict=True))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("joint", "turn", "angle", "away"), FINGERS)
def test_a_finger_s_motion_is_its_own_angle_alone_and_of_one_sign_on_both_sides(side, joint, turn, angle, away):
    rest, flat = hand_at(side, {})
    np.testing.assert_allclose(rest.degrees, 0, atol=1e-9)
    found, points = hand_at(side, {joint: turn})
    wanted = dict.fromkeys(found.names, 0.0) | {f"{side}_{angle}": max(np.abs(turn))}
    # a hand of another shape: its bones, and with them its axes, are not quite those of the ranges' mean shape
    np.testing.assert_allclose(found.degrees[0], [wanted[name] for name in found.names], atol=1.0)
    tip = f"{joint[:-1]}_tip"
    if away is None:
        below = (points[tip] - flat[tip])[1]
        assert below < -0.002 or joint.startswith("thumb")  # fingers to the palm, which looks down
        if joint.startswith("thumb"):  # the thumb across the palm
            assert np.linalg.norm(points[tip] - flat["pinky_mcp"]) < np.linalg.norm(flat[tip] - flat["pinky_mcp"])
    else:
        assert np.linalg.norm(points[tip] - flat[away]) > np.linalg.norm(flat[tip] - flat[away]) + 0.003


def test_fingers_of_a_body_have_the_angles_they_have_alone_and_the_body_keeps_its_own():
    body = load_body("embedded_hands")
    Rh, Th, poses = random_motion(4, 5, body.n_joints, spread=0.3)
    betas = np.zeros(body.n_betas)
    joints = joints_of(body, betas, Rh, Th, poses)
    found = joint_angles(body.joint_names, Rh, poses, joints)
    plain = joint_angles(SMPL_JOINTS[:22], Rh, poses[:, :21])
    assert found.names[: len(plain.names)] == plain.names and len(found.names) == len(plain.names) + 2 * 20
    np.testing.assert_allclose(found.degrees[:, : len(plain.names)], plain.degrees)
    own = np.array([body.joint_names.index(f"right_{name}") for name in ("wrist", *FINGER_JOINTS)])
    names = tuple(body.joint_names[i] for i in own)
    # as if the wrist were the root
    R = np.broadcast_to(np.eye(3), (5, 3, 3))
    for name in (
        "pelvis",
        "spine1",
        "spine2",
        "spine3",
        "right_collar",
        "right_shoulder",
        "right_elbow",
        "right_wrist",
    ):
        i = body.joint_names.index(name)
        R = R @ rotations.exp(Rh if i == 0 else poses[:, i - 1])
    alone = joint_angles(names, rotations.log(R), poses[:, own[1:] - 1], joints[:, own])
    for name in alone.names:
        np.testing.assert_allclose(found.of(name), alone.of(name), atol=1e-6)
