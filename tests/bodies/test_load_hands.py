"""The user's own MANO, SMPL-H and SMPL-X, made here of the included hand and of random numbers."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial import KDTree
from synthetic import MANO_PARENTS, SMPLH_PARENTS, SMPLX_PARENTS
from test_load import arrays, write_npz
from test_unpickle import chumpy  # noqa: F401 (a fixture)

from mocap import skeletons
from mocap.bodies import kinematics
from mocap.bodies.known_meshes import BODY_VERTEX, HAND_VERTEX
from mocap.bodies.load import FREE_HAND, INCLUDED, JOINT_NAMES, load_body
from mocap.bodies.model import MANO_JOINTS
from mocap.bodies.regressors import farthest_points
from mocap.errors import BadFile, DataError, ModelError, UnsafeFile
from mocap.geometry.cameras import Rig
from mocap.stages.load_body_model import LoadBodyModel
from mocap.take import Keypoints2D, Person, RunContext, Take


def mano(side: str, *, coeffs: bool = True, seed: int = 0) -> dict[str, Any]:
    """The included hand with MANO's 778 vertices, its tips at MANO's numbers, and a space of poses."""
    body, rng = load_body(f"embedded_{side}_hand"), np.random.default_rng(seed)
    names = skeletons.HANDS[side]
    points = body.regressor(names.name) @ body.v_template
    tips = {f: int(KDTree(body.v_template).query(points[names.index(f"{side}_{f}_tip")])[1]) for f in HAND_VERTEX}
    free = np.setdiff1d(np.arange(len(body.v_template)), list(tips.values()))
    kept = free[farthest_points(body.v_template[free], 778 - 5)]
    order = np.empty(778, int)
    order[list(HAND_VERTEX.values())] = [tips[f] for f in HAND_VERTEX]
    order[np.setdiff1d(np.arange(778), list(HAND_VERTEX.values()))] = kept
    v = body.v_template[order].astype(float)
    J = body.J_regressor @ body.v_template
    regressor = np.zeros((16, 778))
    for row, joint in zip(regressor, J, strict=True):
        near = np.linalg.norm(v - joint, axis=1).argsort()[:60]
        row[near] = np.linalg.lstsq(np.vstack([v[near].T, np.ones(60)]), [*joint, 1], rcond=None)[0]
    faces = KDTree(v).query(body.v_template)[1][body.faces]
    faces = faces[(np.diff(np.sort(faces, 1), axis=1) > 0).all(1)]
    axes = np.linalg.qr(rng.normal(size=(45, 45)))[0]
    out = {
        "v_template": v,
        "shapedirs": body.shapedirs[order].astype(float),
        "posedirs": 2e-5 * rng.normal(size=(778, 3, 135)),
        "weights": body.weights[order].astype(float),
        "J_regressor": regressor,
        "kintree_table": np.array([MANO_PARENTS % 2**32, np.arange(16)], dtype=np.uint32),
        "f": faces.astype(np.uint32),
        "hands_mean": rng.normal(0, 0.2, 45),
        "hands_components": axes,
    }
    if coeffs:
        out["hands_coeffs"] = rng.normal(size=(400, 45)) * np.linspace(1.5, 0.05, 45)
    return out


@pytest.fixture(scope="module", params=["left", "right"])
def side(request) -> str:
    return request.param


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As MANO's download is."""
    for side in ("left", "right"):
        data = mano(side)
        data["J_regressor"] = sparse.csc_matrix(data["J_regressor"])
        (tmp_path / f"MANO_{side.upper()}.pkl").write_bytes(pickle.dumps({**data, "bs_style": "lbs"}, 2))
    return tmp_path


def test_the_side_is_told_by_where_the_fingers_point_not_by_the_name(tmp_path: Path, side: str) -> None:
    body = load_body(write_npz(tmp_path / "MANO.npz", mano(side)))
    assert body.joint_names == tuple(f"{side}_{name}" for name in MANO_JOINTS)
    assert set(body.regressors) == {f"{side}_hand21"}
    assert body.gender == "neutral" and body.n_betas == 10


def test_manos_keypoints_are_its_joints_and_tips(tmp_path: Path, side: str) -> None:
    body = load_body(write_npz(tmp_path / "MANO.npz", mano(side)))
    rng = np.random.default_rng(0)
    betas, poses = rng.normal(0, 1, 10), rng.normal(0, 0.4, (3, 15, 3))
    still = (np.zeros((3, 3)), np.zeros((3, 3)))
    points = kinematics.keypoints_of(body, f"{side}_hand21", betas, *still, poses)
    joints = kinematics.joints_of(body, betas, *still, poses)
    vertices = kinematics.vertices_of(body, betas, *still, poses)
    np.testing.assert_allclose(points[:, 0], joints[:, 0], atol=6e-4)
    for k, finger in enumerate(skeletons.FINGERS):
        first = MANO_JOINTS.index(f"{finger}1")
        np.testing.assert_allclose(points[:, 1 + 4 * k : 4 + 4 * k], joints[:, first : first + 3], atol=6e-4)
        np.testing.assert_allclose(points[:, 4 + 4 * k], vertices[:, HAND_VERTEX[finger]], atol=1e-5)


def test_a_space_of_poses_is_the_files(tmp_path: Path, side: str) -> None:
    data = mano(side)
    (space,) = load_body(write_npz(tmp_path / "MANO.npz", data)).pose_spaces
    assert space.joint_names == tuple(f"{side}_{name}" for name in MANO_JOINTS[1:])
    np.testing.assert_allclose(space.mean, data["hands_mean"])
    np.testing.assert_allclose(space.components, data["hands_components"])
    np.testing.assert_allclose(space.deviation, data["hands_coeffs"].std(0))
    (free,) = load_body(write_npz(tmp_path / "a.npz", mano(side, coeffs=False))).pose_spaces
    np.testing.assert_array_equal(free.deviation, np.full(45, FREE_HAND))
    del data["hands_mean"]
    assert load_body(write_npz(tmp_path / "b.npz", data)).pose_spaces == ()


def test_components_that_are_not_orthonormal_mean_the_same_distribution(tmp_path: Path) -> None:
    data = mano("right")
    data["hands_components"] = np.random.default_rng(3).normal(size=(12, 45))
    (space,) = load_body(write_npz(tmp_path / "m.npz", data)).pose_spaces
    np.testing.assert_allclose(space.components @ space.components.T, np.eye(12), atol=1e-9)
    deviation = data["hands_coeffs"][:, :12].std(0)
    expected = (data["hands_components"].T * deviation**2) @ data["hands_components"]
    np.testing.assert_allclose((space.components.T * space.deviation**2) @ space.components, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hands_mean": np.zeros(44)}, r"hands_mean is \(44,\) and hands_components \(45, 45\); \(45,\)"),
        ({"hands_components": np.zeros((45, 30))}, r"hands_components \(45, 30\)"),
        ({"hands_coeffs": np.zeros((9, 6))}, r"hands_coeffs is \(9, 6\); a row a pose with 45 columns"),
        ({"hands_mean": np.full(45, np.nan)}, "hands_mean holds NaN"),
    ],
)
def test_a_wrong_space_of_poses_is_one_sentence(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadFile, match=sentence):
        load_body(write_npz(tmp_path / "m.npz", {**mano("right"), **change}))


def test_chumpy_pickles_of_mano_are_read_and_evil_ones_refused(tmp_path: Path, chumpy: Any) -> None:  # noqa: F811
    data = mano("left")
    whole = data["shapedirs"]
    picked = sys.modules["chumpy.reordering"].Select(  # as MANO has its shape directions
        chumpy.Ch(whole.ravel()), np.arange(whole.size), whole.shape
    )
    boxed = {**data, "shapedirs": picked, "v_template": chumpy.Ch(data["v_template"]), "posedirs": data["posedirs"]}
    (tmp_path / "MANO_LEFT.pkl").write_bytes(pickle.dumps(boxed, 2))
    a = load_body(tmp_path / "MANO_LEFT.pkl")
    assert a.content_hash == load_body(write_npz(tmp_path / "MANO_LEFT.npz", data)).content_hash
    np.testing.assert_allclose(a.pose_spaces[0].deviation, data["hands_coeffs"].std(0))

    class Evil:
        def __reduce__(self) -> Any:
            return eval, ("1/0",)

    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({**data, "hands_coeffs": Evil()}, 2))
    with pytest.raises(UnsafeFile, match=r"evil\.pkl: asks for \w+\.eval"):
        load_body(tmp_path / "evil.pkl")


def test_a_folder_gives_the_hand_of_the_side(folder: Path) -> None:
    assert load_body(folder, side="left").name == "MANO_LEFT"
    assert load_body(folder, side="right").joint_names[0] == "right_wrist"
    with pytest.raises(ModelError, match=r"is a model of a left hand, but a right hand is to be fitted: give MANO_R"):
        load_body(folder / "MANO_LEFT.pkl", side="right")
    (folder / "MANO_LEFT.pkl").unlink()
    with pytest.raises(
        ModelError, match=r"no model of a left hand \(MANO_LEFT\.pkl\) \(found MANO_RIGHT\.pkl\); give the file"
    ):
        load_body(folder, side="left")


def body_arrays(vertices: int, joints: int, betas: int = 10) -> dict[str, Any]:
    """SMPL-H or SMPL-X of random numbers, but with their trees."""
    data = arrays(vertices=vertices, joints=joints, betas=betas)
    parents = {52: SMPLH_PARENTS, 55: SMPLX_PARENTS}[joints]
    data["kintree_table"] = np.array([parents % 2**32, np.arange(joints)], dtype=np.uint32)
    data["posedirs"] = np.zeros((vertices, 3, 9 * (joints - 1)), np.float32)
    for side in "lr":
        data |= {f"hands_mean{side}": np.full(45, 0.1), f"hands_components{side}": np.eye(45)}
        data[f"hands_coeffs{side}"] = np.random.default_rng(0).normal(size=(50, 45))
    return data


SETS = {"body25", "body25b", "coco17", "lsp14", "mediapipe33", "mediapipe75", "left_hand21", "right_hand21"}


@pytest.mark.parametrize(("vertices", "joints"), [(6890, 52), (10475, 55)])
def test_bodies_with_hands_have_the_points_of_their_meshes(tmp_path: Path, vertices: int, joints: int) -> None:
    data = body_arrays(vertices, joints)
    body = load_body(write_npz(tmp_path / "SMPLX_NEUTRAL.npz", data))
    assert body.joint_names == JOINT_NAMES[joints] and set(body.regressors) == SETS
    v, J = body.v_template.astype(float), body.J_regressor @ body.v_template.astype(float)
    for name, rows in body.regressors.items():
        assert rows.shape == (len(skeletons.get(name)), vertices)
        np.testing.assert_allclose(rows.sum(1), 1, atol=1e-6)
    known = BODY_VERTEX[vertices]
    for name in ("body25", "left_hand21", "right_hand21"):
        points = body.regressor(name) @ v
        for k, joint in enumerate(skeletons.get(name).joints):
            if joint in known:
                np.testing.assert_allclose(points[k], v[known[joint]], atol=1e-9)
    knee = (body.regressor("body25") @ v)[skeletons.get("body25").index("left_knee")]
    np.testing.assert_allclose(knee, J[4], atol=1e-6)
    assert [space.joint_names[0] for space in body.pose_spaces] == ["left_index1", "right_index1"]
    assert body.pose_spaces[1].joint_names == JOINT_NAMES[joints][-15:]


@pytest.mark.parametrize(
    ("columns", "shapes", "expressions"), [(20, 10, slice(10, 20)), (400, 10, slice(300, 310)), (10, 10, None)]
)
def test_smplxs_shape_and_expression_are_told_apart(
    tmp_path: Path, columns: int, shapes: int, expressions: slice | None
) -> None:
    data = body_arrays(60, 55, betas=columns)
    body = load_body(write_npz(tmp_path / "SMPLX_MALE.npz", data))
    np.testing.assert_array_equal(body.shapedirs, data["shapedirs"][..., :shapes].astype(np.float32))
    if expressions is None:
        assert body.expressiondirs is None
    else:
        np.testing.assert_array_equal(body.expressiondirs, data["shapedirs"][..., expressions].astype(np.float32))
    assert load_body(tmp_path / "SMPLX_MALE.npz", n_betas=30).n_betas == (30 if columns == 400 else 10)
    own = {**data, "shapedirs": data["shapedirs"][..., :10], "expressiondirs": np.ones((60, 3, 50))}
    kept = load_body(write_npz(tmp_path / "b.npz", own)).expressiondirs
    assert kept is not None and kept.shape == (60, 3, 10)
    with pytest.raises(BadFile, match=r"expressiondirs is \(59, 3, 10\); .* must be \(60, 3, 10\)"):
        load_body(write_npz(tmp_path / "c.npz", {**own, "expressiondirs": np.ones((59, 3, 50))}))


def seen(skeleton: skeletons.Skeleton) -> Person:
    points = (len(skeleton),)
    view = Keypoints2D.of(skeleton, np.zeros(1), np.ones((1, *points, 2)), np.ones((1, *points)))
    return Person(keypoints2d={"01": view})


def a_take(tmp_path: Path, *people: Person) -> Take:
    take = Take(RunContext(tmp_path), np.arange(1.0), np.arange(1), rig=Rig(()), people=people)
    return take.begun("load_body_model", "load_body_model")


def test_the_stage_knows_every_included_body_by_name() -> None:
    assert [LoadBodyModel(model=name).model for name in INCLUDED] == list(INCLUDED)  # type: ignore[arg-type]
    assert isinstance(LoadBodyModel(model="MANO_LEFT.pkl").model, Path)  # type: ignore[arg-type]


def test_the_stage_gives_each_person_the_included_body_that_goes_with_what_was_seen(tmp_path: Path) -> None:
    people = [seen(s) for s in (*skeletons.HANDS.values(), skeletons.MEDIAPIPE75, skeletons.MEDIAPIPE33)]
    LoadBodyModel().check(a_take(tmp_path, *people))
    take = LoadBodyModel()(a_take(tmp_path, *people))
    names = [p.body.name for p in take.people if p.body is not None]
    assert names == ["embedded_left_hand", "embedded_right_hand", "embedded_hands", "embedded"]
    facts = take.reports[-1].facts
    assert facts["model"] == names and facts["joints"] == [16, 52, 24] and facts["warnings"] == []
    assert {"left_hand21", "mediapipe75", "coco17"} <= set(facts["regressors"])
    pair = LoadBodyModel()(a_take(tmp_path, *people[:2])).reports[-1].facts
    assert pair["joints"] == 16 and pair["model"] == names[:2] and len(pair["hash"]) == 2
    assert LoadBodyModel(gender="female")(a_take(tmp_path, people[0])).reports[-1].facts["warnings"] == []


def test_the_stage_takes_a_folder_of_hands(folder: Path) -> None:
    stage = LoadBodyModel(model=folder)
    stage.check(a_take(folder))  # nobody is known yet
    hands = [seen(skeletons.HANDS[side]) for side in ("right", "left", "right")]
    stage.check(a_take(folder, *hands))
    take = stage(a_take(folder, *hands))
    bodies = [p.body for p in take.people]
    assert [b.name for b in bodies if b] == ["MANO_RIGHT", "MANO_LEFT", "MANO_RIGHT"] and bodies[0] is bodies[2]
    (folder / "MANO_LEFT.pkl").write_bytes(b"no pickle")
    with pytest.raises(BadFile, match=r"MANO_LEFT\.pkl"):
        stage.check(a_take(folder))


def test_the_stage_refuses_models_that_cannot_show_what_was_seen(folder: Path) -> None:
    one = LoadBodyModel(model=folder / "MANO_RIGHT.pkl")
    one.check(a_take(folder))
    one(a_take(folder, seen(skeletons.RIGHT_HAND21)))
    with pytest.raises(ModelError, match="right hand, but a left hand is to be fitted"):
        one(a_take(folder, seen(skeletons.RIGHT_HAND21), seen(skeletons.LEFT_HAND21)))
    with pytest.raises(ModelError, match=r"is a model of a hand, but whole bodies were seen"):
        one(a_take(folder, seen(skeletons.BODY25)))
    smpl = write_npz(folder / "SMPL.npz", arrays())
    with pytest.raises(ModelError, match=r"SMPL\.npz has no joints in its fingers, but fingers were seen"):
        LoadBodyModel(model=smpl)(a_take(folder, seen(skeletons.MEDIAPIPE75)))
    with pytest.raises(ModelError, match=r"SMPL\.npz is a model of no hand, but a left hand"):
        LoadBodyModel(model=smpl)(a_take(folder, seen(skeletons.LEFT_HAND21)))
    with pytest.raises(DataError, match="nobody"):
        one(a_take(folder))
