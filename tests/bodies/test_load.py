"""The user's own models and regressors."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from synthetic import SMPL_PARENTS

from mocap import config, skeletons
from mocap.bodies.load import JOINT_NAMES, MODEL_KEYS, hand_joints, load_body
from mocap.errors import BadFile, DataError, MissingFile, ModelError, UnknownName, UnsafeFile
from mocap.geometry.cameras import Rig
from mocap.stages.load_body_model import LoadBodyModel
from mocap.take import Keypoints2D, Person, RunContext, Take, View


def arrays(vertices: int = 60, joints: int = 24, betas: int = 10, seed: int = 0) -> dict[str, np.ndarray]:
    """A model of random numbers with the members and shapes of SMPL's files."""
    rng = np.random.default_rng(seed)
    parents = SMPL_PARENTS if joints == 24 else [-1, *range(joints - 1)]
    weights = np.zeros((vertices, joints))
    weights[np.arange(vertices), np.arange(vertices) % joints] = 0.75
    weights[np.arange(vertices), (np.arange(vertices) + 1) % joints] = 0.25
    regressor = np.zeros((joints, vertices))
    for j in range(joints):
        regressor[j, rng.choice(vertices, 5, replace=False)] = rng.dirichlet(np.ones(5))
    return {
        "v_template": rng.normal(size=(vertices, 3)),
        "shapedirs": 0.01 * rng.normal(size=(vertices, 3, betas)),
        "posedirs": 0.001 * rng.normal(size=(vertices, 3, 9 * (joints - 1))),
        "weights": weights,
        "J_regressor": regressor,
        "kintree_table": np.array([np.array(parents) % 2**32, np.arange(joints)], dtype=np.uint32),
        "f": rng.integers(0, vertices, (80, 3)).astype(np.uint32),
    }


def write_npz(path: Path, data: dict[str, Any]) -> Path:
    np.savez(path, **data)
    return path


def write_pickle(path: Path, data: dict[str, Any]) -> Path:
    """As SMPL's files are: sparse J_regressor, members that are no arrays, protocol 2."""
    extra = {"bs_style": "lbs", "bs_type": "lrotmin", "J": np.zeros((24, 3)), "vert_sym_idxs": np.arange(3)}
    path.write_bytes(pickle.dumps({**data, "J_regressor": sparse.csc_matrix(data["J_regressor"]), **extra}, 2))
    return path


def test_npz_and_pickle_of_one_model_are_one_body(tmp_path: Path) -> None:
    data = arrays()
    a = load_body(write_npz(tmp_path / "SMPL_NEUTRAL.npz", data))
    b = load_body(write_pickle(tmp_path / "SMPL_NEUTRAL.pkl", data))
    assert a.content_hash == b.content_hash and a.name == b.name == "SMPL_NEUTRAL"
    np.testing.assert_array_equal(a.parents, SMPL_PARENTS)
    for name in ("v_template", "shapedirs", "posedirs", "weights"):
        np.testing.assert_array_equal(getattr(a, name), data[name].astype(np.float32))
        np.testing.assert_array_equal(getattr(b, name), data[name].astype(np.float32))
    np.testing.assert_allclose(b.J_regressor.toarray(), data["J_regressor"])
    np.testing.assert_array_equal(a.faces, data["f"])


def test_object_arrays_in_an_npz_are_read_as_safely(tmp_path: Path) -> None:
    data = arrays()
    boxed = np.empty((), dtype=object)
    boxed[()] = sparse.csc_matrix(data["J_regressor"])
    body = load_body(write_npz(tmp_path / "a.npz", {**data, "J_regressor": boxed}))
    np.testing.assert_allclose(body.J_regressor.toarray(), data["J_regressor"])

    class Evil:
        def __reduce__(self) -> Any:
            return eval, ("1/0",)

    boxed = np.empty((), dtype=object)
    boxed[()] = Evil()
    with pytest.raises(UnsafeFile, match=r"b\.npz: asks for \w+\.eval"):
        load_body(write_npz(tmp_path / "b.npz", {**data, "weights": boxed}))


def test_the_hash_is_of_the_numbers_only(tmp_path: Path) -> None:
    data = arrays()
    first = load_body(write_npz(tmp_path / "one.npz", data)).content_hash
    retyped = {**data, "J_regressor": np.asfortranarray(data["J_regressor"]), "f": data["f"].astype(np.int64)}
    assert load_body(write_npz(tmp_path / "two.npz", retyped)).content_hash == first
    for key in MODEL_KEYS:
        changed = {**data, key: data[key].copy()}
        if key == "kintree_table":
            changed[key][0, -1] = 20  # the right hand on the left wrist
        elif key == "f":
            changed[key][0] = [1, 2, 3]
        else:
            changed[key][-1] += 0.01
        assert load_body(write_npz(tmp_path / "three.npz", changed)).content_hash != first, key


@pytest.mark.parametrize("joints", [16, 24, 52, 55, 7])
def test_any_number_of_joints_loads(tmp_path: Path, joints: int) -> None:
    body = load_body(write_npz(tmp_path / "m.npz", arrays(joints=joints)))
    assert body.n_joints == joints == len(set(body.joint_names))
    known = {**JOINT_NAMES, 16: hand_joints(body.joint_names[0].split("_")[0])}  # of a side, which the mesh tells
    assert body.joint_names == known.get(joints, tuple(f"joint_{k}" for k in range(joints)))
    assert body.regressors == {}
    with pytest.raises(UnknownName, match='keypoint regressor of body "m"'):
        body.regressor("body25")


def test_only_the_first_betas_are_kept(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "m.npz", arrays(betas=40))
    assert load_body(path).n_betas == 10
    assert load_body(path, n_betas=20).n_betas == 20


def test_a_mesh_of_smpls_size_has_keypoints(tmp_path: Path) -> None:
    data = arrays(vertices=6890)
    body = load_body(write_npz(tmp_path / "SMPL_MALE.npz", data))
    assert set(body.regressors) == {"body25", "body25b", "coco17", "lsp14", "mediapipe33"}
    assert body.gender == "male"
    for name, rows in body.regressors.items():
        assert rows.shape == (len(skeletons.get(name)), 6890)
        np.testing.assert_allclose(rows.sum(1), 1, atol=1e-6)
    index = skeletons.get("body25").index
    keypoints = body.regressor("body25") @ body.v_template
    np.testing.assert_allclose(keypoints[index("left_knee")], (body.J_regressor @ body.v_template)[4], atol=1e-6)
    np.testing.assert_allclose(keypoints[index("nose")], body.v_template[332], atol=1e-6)


def test_a_folder_gives_the_model_of_the_gender(tmp_path: Path) -> None:
    for name, seed in (("SMPL_MALE", 1), ("SMPL_FEMALE", 2), ("basicModel_neutral_lbs", 3)):
        write_npz(tmp_path / f"{name}.npz", arrays(seed=seed))
    assert load_body(tmp_path, gender="female").name == "SMPL_FEMALE"
    assert load_body(tmp_path).name == "basicModel_neutral_lbs"
    (tmp_path / "SMPL_FEMALE.npz").unlink()
    with pytest.raises(ModelError, match=r"no female model \(found SMPL_MALE\.npz, basicModel_neutral_lbs\.npz\)"):
        load_body(tmp_path, gender="female")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"weights": None}, r"has no weights; a model in SMPL's format has v_template"),
        ({"weights": np.zeros((59, 24))}, r"weights is \(59, 24\); for 60 vertices .* must be \(60, 24\)"),
        ({"v_template": np.full((60, 3), np.nan)}, r"v_template holds NaN"),
        ({"shapedirs": np.zeros((60, 3))}, r"shapedirs must be an array of numbers with 3 axes, not float64 \(60, 3\)"),
        ({"f": np.full((2, 3), 60)}, r"f names vertices outside the 60"),
        ({"kintree_table": np.array([[-1, 5, 0], [0, 1, 2]])}, r"must name a parent for every joint but the first"),
        ({"v_template": np.array(["a", "b"])}, r"v_template must be an array of numbers"),
    ],
)
def test_a_wrong_model_is_one_sentence(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    data = {k: v for k, v in {**arrays(), **change}.items() if v is not None}
    with pytest.raises((BadFile, ModelError), match=sentence):
        load_body(write_npz(tmp_path / "wrong.npz", data))


def test_files_that_are_no_models_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"Body model not found: .*nowhere\.pkl"):
        load_body(tmp_path / "nowhere.pkl")
    (tmp_path / "a.npz").write_bytes(b"nothing")
    with pytest.raises(BadFile, match="is not a readable npz"):
        load_body(tmp_path / "a.npz")
    (tmp_path / "a.obj").write_bytes(b"nothing")
    with pytest.raises(BadFile, match=r"is a \.pkl or \.npz"):
        load_body(tmp_path / "a.obj")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(BadFile, match="v_template"):
        load_body(tmp_path / "a.pkl")
    with pytest.raises(UnknownName, match="gender"):
        load_body(gender="men")


def regressor(rows: int, vertices: int = 60) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(vertices), rows)


@pytest.mark.parametrize(
    ("rows", "skeleton", "name"),
    [
        (25, None, "body25"),
        (25, "body25b", "body25b"),
        (17, None, "coco17"),
        (33, None, "mediapipe33"),
        (14, None, "lsp14"),
    ],
)
def test_a_regressor_belongs_to_the_skeleton_of_its_size_or_name(
    tmp_path: Path, rows: int, skeleton: str | None, name: str
) -> None:
    model = write_npz(tmp_path / "m.npz", arrays())
    np.save(tmp_path / "J_regressor.npy", regressor(rows))
    sparse.save_npz(tmp_path / "J_regressor.npz", sparse.csc_matrix(regressor(rows)))
    for file in ("J_regressor.npy", "J_regressor.npz"):
        body = load_body(model, regressor=tmp_path / file, skeleton=skeleton)
        assert list(body.regressors) == [name]
        np.testing.assert_allclose(body.regressor(name).toarray(), regressor(rows), atol=1e-12)


def test_a_regressor_comes_before_the_bodys_own(tmp_path: Path) -> None:
    own = load_body()
    rows = sparse.random_array((25, len(own.v_template)), density=0.001, rng=np.random.default_rng(0)).toarray()
    np.save(tmp_path / "r.npy", rows / rows.sum(1, keepdims=True))
    body = load_body(regressor=tmp_path / "r.npy")
    assert set(body.regressors) == set(own.regressors) and body.content_hash == own.content_hash
    assert abs(body.regressor("body25") - own.regressor("body25")).max() > 0.01


@pytest.mark.parametrize(
    ("rows", "skeleton", "sentence"),
    [
        (regressor(25, 61), None, r"the regressor is \(25, 61\), but the body has 60 vertices: \(K, 60\) is right"),
        (regressor(25, 84), None, r"the regressor is \(25, 84\), but the body has 60 vertices"),
        (regressor(21), None, r"21 keypoints belong to no skeleton known by their number .*say which"),
        (regressor(25), "coco17", r"gives 25 keypoints, but coco17 has 17"),
        (2 * regressor(25), None, r"row \d+ of the regressor sums to 2\.000"),
        (regressor(25)[0], None, r"with 2 axes"),
    ],
)
def test_a_wrong_regressor_is_one_sentence(
    tmp_path: Path, rows: np.ndarray, skeleton: str | None, sentence: str
) -> None:
    model = write_npz(tmp_path / "m.npz", arrays())
    np.save(tmp_path / "r.npy", rows)
    with pytest.raises((BadFile, ModelError), match=sentence):
        load_body(model, regressor=tmp_path / "r.npy", skeleton=skeleton)


def test_regressor_files_that_are_none_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "r.npz").write_bytes(b"nothing")
    (tmp_path / "r.npy").write_bytes(b"nothing")
    np.savez(tmp_path / "two.npz", a=regressor(25), b=regressor(25))
    broken = sparse.csr_matrix(regressor(25))
    broken.indices[0] = 1000
    sparse.save_npz(tmp_path / "broken.npz", broken)
    for name, sentence in (
        ("r.npz", "is not a readable npz"),
        ("r.npy", "is not a readable npy"),
        ("two.npz", "must hold one array, the regressor; it holds a, b"),
        ("broken.npz", "holds a broken sparse matrix"),
        ("r.txt", "Keypoint regressor not found"),
    ):
        with pytest.raises((BadFile, MissingFile), match=sentence):
            load_body(regressor=tmp_path / name)


def a_take(tmp_path: Path, people: int) -> Take:
    take = Take(RunContext(tmp_path), np.arange(3.0), np.arange(3), rig=Rig(()), people=(Person(),) * people)
    return take.begun("load_body_model", "load_body_model")


def test_the_stage_gives_everybody_the_body_and_reports_it(tmp_path: Path) -> None:
    take = LoadBodyModel(gender="female")(a_take(tmp_path, 2))
    assert [p.body is load_body(gender="female") for p in take.people] == [True, True]
    facts = take.reports[-1].facts
    assert facts["model"] == "embedded" and facts["gender"] == "female" and facts["warnings"] == []
    assert facts["hash"] == load_body(gender="female").content_hash


def test_the_stage_says_what_it_guessed(tmp_path: Path) -> None:
    model = write_npz(tmp_path / "SMPL_MALE.npz", arrays())
    np.save(tmp_path / "r.npy", regressor(25))
    facts = LoadBodyModel(model=str(model), regressor=str(tmp_path / "r.npy"))(a_take(tmp_path, 1)).reports[-1].facts
    assert any("is male by its name" in w for w in facts["warnings"])
    assert any("taken for body25; if it is body25b" in w for w in facts["warnings"])


def test_a_mesh_without_known_keypoints_is_refused_before_the_first_frame(tmp_path: Path) -> None:
    model = write_npz(tmp_path / "mine.npz", arrays())
    view = View("01", tmp_path / "01.mp4", np.arange(1.0), (640, 480))
    with pytest.raises(ModelError, match="regressor=FILE"):
        LoadBodyModel(model=str(model)).check(a_take(tmp_path, 0).replace(footage={"01": view}))


def test_the_stage_finds_a_missing_model_before_the_first_frame(tmp_path: Path) -> None:
    with pytest.raises(MissingFile):
        LoadBodyModel(model=str(tmp_path / "SMPL_NEUTRAL.pkl")).check(a_take(tmp_path, 0))


def test_the_stages_files_are_found_from_the_configuration_and_kept_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_npz(tmp_path / "m.npz", arrays())
    np.save(tmp_path / "r.npy", regressor(25))
    file = tmp_path / "exp.yml"
    file.write_text("output: o\nstages: {load_body_model: {model: m.npz, regressor: r.npy, skeleton: body25}}")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    experiment = config.read_experiment(file)
    experiment.steps[0].stage.check(a_take(tmp_path, 1))
    saved = experiment.resolved()
    assert saved["stages"]["load_body_model"]["model"] == str(tmp_path / "m.npz")
    assert saved["stages"]["load_body_model"]["regressor"] == str(tmp_path / "r.npy")
    assert saved["output"] == str(tmp_path / "elsewhere" / "o")
    (tmp_path / "elsewhere" / "embedded").mkdir()  # a folder of that name is not meant
    file.write_text("output: o\nstages: {load_body_model: {model: embedded}}")
    assert config.read_experiment(file).resolved()["stages"]["load_body_model"]["model"] == "embedded"


def test_the_stage_needs_somebody(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="keypoints3d"):
        LoadBodyModel()(a_take(tmp_path, 0))


def test_one_file_is_everybodys_and_it_is_said_where_the_dataset_says_other_genders(tmp_path: Path) -> None:
    model = write_npz(tmp_path / "SMPL_MALE.npz", arrays())
    np.save(tmp_path / "r.npy", regressor(17))
    seen = Keypoints2D.of(skeletons.COCO17, np.zeros(1), np.zeros((1, 17, 2)), np.ones((1, 17)))
    people = tuple(Person(keypoints2d={name: seen}) for name in ("a", "b"))
    one = {"timestamps": np.zeros(1), "frames": np.zeros(1, int), "apart": True}
    take = a_take(tmp_path, 0).replace(people=people, genders={"a": "male", "b": "female"}, **one)
    stage = LoadBodyModel(model=str(model), regressor=str(tmp_path / "r.npy"))
    after = stage(take)
    assert after.people[0].body is after.people[1].body
    facts = after.reports[-1].facts
    assert facts["genders"] == {"male": 1, "female": 1}
    assert any("is male by its name, not female and male" in w for w in facts["warnings"])
    alone = stage(take.replace(genders={"a": "male", "b": "male"}))
    assert alone.reports[-1].facts["warnings"] == []
