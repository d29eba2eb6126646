"""Written results: the layouts others read, round trips, and SMPL's root against EasyMocap's."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from mocap import skeletons
from mocap.bodies.kinematics import joints_of, keypoints_of
from mocap.errors import BadFile, DataError, MissingFile, ModelError
from mocap.geometry import rotations
from mocap.io.atomic import replacing, write_text
from mocap.io.results import (
    from_smpl_root,
    is_complete,
    keypoints_of_result,
    pose_parts,
    read_easymocap_motion,
    read_result_npz,
    remove_left_over,
    rest_root,
    result_of,
    to_smpl_root,
    write_amass,
    write_easymocap,
    write_report,
    write_result_npz,
)
from mocap.take import Keypoints3D, Motion, Person, Report, RunContext, Take
from tests.synthetic import random_motion, toy_body, toy_hand, toy_smplh, toy_smplx

FRAMES = 6


def person(seed: int = 0, frames: int = FRAMES, *, fitted: bool = True, skeleton=skeletons.BODY25) -> Person:
    rng = np.random.default_rng(seed)
    xyz = rng.normal(size=(frames, len(skeleton), 3))
    confidence = rng.uniform(0.2, 1, xyz.shape[:2])
    confidence[1, 3] = 0
    covariance = np.broadcast_to(1e-4 * np.eye(3), (*xyz.shape, 3))
    points = Keypoints3D.of(skeleton, xyz, confidence, covariance, np.ones(xyz.shape[:2]))
    if not fitted:
        return Person(keypoints3d=points)
    body = toy_body(seed)
    return Person(keypoints3d=points, body=body, shape=rng.normal(size=4), motion=Motion(*random_motion(seed, frames)))


def moving(body, seed: int = 0, skeleton=None) -> Person:
    """A body of any model, and the points of `skeleton` where they are asked for."""
    skeleton = skeleton or skeletons.get(next(iter(body.regressors)))
    points = person(seed, fitted=False, skeleton=skeleton).keypoints3d
    motion = Motion(*random_motion(seed, FRAMES, body.n_joints))
    return Person(keypoints3d=points, body=body, shape=np.array([0.5, -1.0, 2.0, 0.3]), motion=motion)


def take(tmp_path, *people: Person, frames: int = FRAMES) -> Take:
    return Take(RunContext(tmp_path), np.arange(frames) / 30, 100 + 2 * np.arange(frames), people=people)


# --------------------------------------------------------------------------------------------------------- SMPL root


def test_smpls_own_root_gives_the_same_points():
    body, betas = toy_body(1), np.array([0.5, -1, 2, 0])
    Rh, Th, poses = random_motion(3, 20)
    J0 = rest_root(body, betas)
    orient, transl = to_smpl_root(Rh, Th, J0)
    rest = keypoints_of(body, "body25", betas, np.zeros_like(Rh), np.zeros_like(Th), poses)
    theirs = np.einsum("fij,fkj->fki", rotations.exp(orient), rest - J0) + J0 + transl[:, None]  # SMPL turns about J0
    np.testing.assert_allclose(keypoints_of(body, "body25", betas, Rh, Th, poses), theirs, atol=1e-12)
    for ours, back in zip((Rh, Th), from_smpl_root(orient, transl, J0), strict=True):
        np.testing.assert_allclose(back, ours, atol=1e-12)


# --------------------------------------------------------------------------------------------------------- EasyMocap


def test_easymocaps_files_hold_what_its_users_read(tmp_path):
    first, second = person(0), person(1, fitted=False, skeleton=skeletons.MEDIAPIPE33)
    t = take(tmp_path, first, second)
    assert write_easymocap(tmp_path, t.frames, t.people) == [tmp_path / "keypoints3d", tmp_path / "smpl"]
    names = [f"{n:06d}.json" for n in (100, 102, 104, 106, 108, 110)]
    assert sorted(p.name for p in (tmp_path / "smpl").iterdir()) == names
    entries = json.loads((tmp_path / "keypoints3d" / names[1]).read_text())
    assert [e["id"] for e in entries] == [0, 1] and np.shape(entries[0]["keypoints3d"]) == (25, 4)
    assert entries[0]["keypoints3d"][3] == [0, 0, 0, 0]
    np.testing.assert_allclose(np.array(entries[0]["keypoints3d"])[4, :3], first.keypoints3d.xyz[1, 4], atol=1e-6)
    toes = skeletons.BODY25.indices(["left_small_toe", "right_small_toe"])
    assert not np.array(entries[1]["keypoints3d"])[toes].any()  # mediapipe has none
    (motion,) = json.loads((tmp_path / "smpl" / names[1]).read_text())
    assert {k: np.shape(v) for k, v in motion.items()} == {
        "id": (), "Rh": (1, 3), "Th": (1, 3), "poses": (1, 72), "shapes": (1, 4)
    }  # fmt: skip
    assert motion["poses"][0][:3] == [0, 0, 0]


def test_a_written_motion_reads_back_with_and_without_the_roots_zeros(tmp_path):
    p = person(2)
    t = take(tmp_path, p)
    write_easymocap(tmp_path, t.frames, t.people)
    for _ in range(2):
        frames, motion, betas = read_easymocap_motion(tmp_path / "smpl")[0]
        assert frames.tolist() == t.frames.tolist()
        for name in ("Rh", "Th", "poses"):
            np.testing.assert_allclose(getattr(motion, name), getattr(p.motion, name), atol=1e-6)
        np.testing.assert_allclose(betas, p.shape, atol=1e-6)
        for file in (tmp_path / "smpl").iterdir():  # once more with 69
            (entry,) = json.loads(file.read_text())
            file.write_text(json.dumps([{**entry, "poses": [entry["poses"][0][-69:]]}]))


def test_easymocaps_files_of_two_hands_say_which_is_which_and_read_back(tmp_path):
    right, left = moving(toy_hand(side="right"), 1), moving(toy_hand(side="left"), 2)
    t = take(tmp_path, right, left)
    write_easymocap(tmp_path, t.frames, t.people)
    entries = json.loads((tmp_path / "keypoints3d" / "000100.json").read_text())
    assert [(e["skeleton"], np.shape(e["keypoints3d"])) for e in entries] == [
        ("right_hand21", (21, 4)), ("left_hand21", (21, 4))
    ]  # fmt: skip
    motions = json.loads((tmp_path / "smpl" / "000100.json").read_text())
    assert [np.shape(m["poses"]) for m in motions] == [(1, 48), (1, 48)]
    found = read_easymocap_motion(tmp_path / "smpl")
    for i, p in enumerate((right, left)):
        np.testing.assert_allclose(found[i][1].poses, p.motion.poses, atol=1e-6)
        np.testing.assert_allclose(found[i][1].Th, p.motion.Th, atol=1e-6)


def test_easymocaps_files_of_a_body_with_hands_are_its_bodyhand(tmp_path):
    p = moving(toy_smplh(), 1, skeletons.MEDIAPIPE75)
    t = take(tmp_path, p)
    write_easymocap(tmp_path, t.frames, t.people)
    (entry,) = json.loads((tmp_path / "keypoints3d" / "000104.json").read_text())
    values, k = np.array(entry["keypoints3d"]), p.keypoints3d
    assert values.shape == (67, 4) and set(entry) == {"id", "keypoints3d"}
    for place, name in ((4, "right_wrist"), (25, "left_hand_wrist"), (33, "left_index_tip"), (66, "right_pinky_tip")):
        np.testing.assert_allclose(values[place, :3], k.xyz[2, k.skeleton.index(name)], atol=1e-6)
    (motion,) = json.loads((tmp_path / "smpl" / "000104.json").read_text())
    assert np.shape(motion["poses"]) == (1, 156)
    np.testing.assert_allclose(read_easymocap_motion(tmp_path / "smpl")[0][1].poses, p.motion.poses, atol=1e-6)


@pytest.mark.parametrize(("numbers", "model"), [(9, "MANO"), (78, "SMPL-H"), (87, "SMPL-X")])
def test_coefficients_of_a_pose_space_are_told_from_rotations(tmp_path, numbers, model):
    t = take(tmp_path, person(2))
    write_easymocap(tmp_path, t.frames, t.people)
    file = tmp_path / "smpl" / "000104.json"
    file.write_text(json.dumps([{**json.loads(file.read_text())[0], "poses": [[0] * numbers]}]))
    with pytest.raises(BadFile, match=f"fingers of {model} as coefficients of its pose space"):
        read_easymocap_motion(tmp_path / "smpl")


@pytest.mark.parametrize(
    "change", [{"Rh": [1]}, {"poses": [[1] * 72]}, {"poses": [[1] * 70]}, {"Th": None}, {"id": "a"}]
)
def test_smpl_files_of_another_layout_are_told(tmp_path, change):
    t = take(tmp_path, person(2))
    write_easymocap(tmp_path, t.frames, t.people)
    file = tmp_path / "smpl" / "000104.json"
    file.write_text(json.dumps([{**json.loads(file.read_text())[0], **change}]))
    with pytest.raises(BadFile, match=r"000104\.json: not SMPL parameters"):
        read_easymocap_motion(tmp_path / "smpl")
    with pytest.raises(MissingFile):
        read_easymocap_motion(tmp_path / "keypoints2d")


def test_frames_of_an_earlier_run_do_not_stay_and_other_files_do(tmp_path):
    longer = take(tmp_path, person(0, 12), frames=12)
    write_easymocap(tmp_path, longer.frames, longer.people)
    (tmp_path / "keypoints3d" / "notes.txt").write_text("mine")
    t = take(tmp_path, person(1))
    write_easymocap(tmp_path, t.frames, t.people)
    kept = sorted(p.name for p in (tmp_path / "keypoints3d").iterdir())
    assert len(kept) == FRAMES + 1 and kept[-1] == "notes.txt"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["keypoints3d", "smpl"]


@pytest.mark.parametrize("fails", range(4))
def test_an_interrupt_while_a_folder_is_replaced_leaves_the_old_one_and_what_the_user_put_there(
    tmp_path, monkeypatch, fails
):
    longer = take(tmp_path, person(0, 12, fitted=False), frames=12)
    write_easymocap(tmp_path, longer.frames, longer.people)
    for name in ("a.txt", "b.txt"):
        (tmp_path / "keypoints3d" / name).write_text("mine")
    before = {p.name: p.read_text() for p in (tmp_path / "keypoints3d").iterdir()}
    moves, rename = itertools.count(), Path.rename

    def interrupted(self, target):
        if next(moves) == fails:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    t = take(tmp_path, person(1, fitted=False))
    with pytest.raises(KeyboardInterrupt):
        write_easymocap(tmp_path, t.frames, t.people)
    assert {p.name: p.read_text() for p in (tmp_path / "keypoints3d").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["keypoints3d"]


def test_what_a_linked_folder_holds_stays_there(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "notes.txt").write_text("mine")
    (tmp_path / "keypoints3d").symlink_to(tmp_path / "elsewhere")
    t = take(tmp_path, person(0, fitted=False))
    write_easymocap(tmp_path, t.frames, t.people)
    assert (tmp_path / "elsewhere" / "notes.txt").read_text() == "mine"


def test_only_files_of_the_writers_own_names_are_left_over(tmp_path):
    (tmp_path / "smpl").mkdir()
    for name in ("smpl/000001.json", "smpl/mine.txt", "result_1.npz", "holiday.jpg", "../precious.npz"):
        (tmp_path / name).resolve().write_text("")
    remove_left_over(tmp_path, ["smpl", "result_1.npz", "result_2.npz", "holiday.jpg", "../precious.npz", "."])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["holiday.jpg", "smpl"]
    assert [p.name for p in (tmp_path / "smpl").iterdir()] == ["mine.txt"]
    assert (tmp_path / "../precious.npz").exists()


def test_a_link_in_the_output_is_replaced_and_what_it_points_to_is_left(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "000001.json").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "keypoints3d").symlink_to(tmp_path / "elsewhere")
    t = take(tmp_path, person(0, fitted=False))
    write_easymocap(tmp_path / "out", t.frames, t.people)
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == ["000001.json"]
    assert len(list((tmp_path / "out" / "keypoints3d").iterdir())) == FRAMES


# --------------------------------------------------------------------------------------------------------- result.npz


def test_a_result_reads_back_as_it_was(tmp_path):
    p = person(0)
    result, notes = result_of(take(tmp_path, p), p)
    write_result_npz(tmp_path / "result.npz", result)
    back = read_result_npz(tmp_path / "result.npz")
    for field in dataclasses.fields(result):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(result, field.name), err_msg=field.name)
    assert notes == [] and back.motion is not None and back.joints.shape == (FRAMES, 24, 3) and back.fps == 30.0
    assert back.joint_names[0] == "pelvis" and back.skeleton == "body25" and back.keypoint_names[0] == "nose"
    truth = keypoints_of(p.body, "body25", p.shape, p.motion.Rh, p.motion.Th, p.motion.poses)
    np.testing.assert_allclose(back.keypoints3d_fit, truth)
    np.testing.assert_array_equal(keypoints_of_result(back).xyz, p.keypoints3d.xyz)


def test_a_result_without_a_body_holds_keypoints_alone(tmp_path):
    p = person(0, fitted=False)
    result, _ = result_of(take(tmp_path, p), p)
    write_result_npz(tmp_path / "result.npz", result)
    back = read_result_npz(tmp_path / "result.npz")
    assert back.motion is None and back.joints is None and back.body is None
    with np.load(tmp_path / "result.npz") as file:
        assert "poses" not in file.files and file["skeleton"].dtype.kind == "U"


def test_a_body_that_lacks_the_points_is_told(tmp_path):
    p = person(0, skeleton=skeletons.MEDIAPIPE33)
    result, notes = result_of(take(tmp_path, p), p)
    assert result.keypoints3d_fit is None and result.joints is not None and "mediapipe33" in notes[0]


def test_betas_are_refused_against_another_body(tmp_path):
    p = person(0)
    result, _ = result_of(take(tmp_path, p), p)
    result.check_body(p.body)
    with pytest.raises(ModelError, match=r'The betas belong to body "toy" \(neutral, hash 0000'):
        result.check_body(dataclasses.replace(p.body, content_hash="1" * 16))


# Of each model: its parts in order, and how many numbers each has.
PARTS = {
    "smpl": (toy_body, {"body_pose": 69}),
    "mano": (toy_hand, {"hand_pose": 45}),
    "smplh": (toy_smplh, {"body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45}),
    "smplx": (
        toy_smplx,
        {"body_pose": 63, "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3, "left_hand_pose": 45, "right_hand_pose": 45},
    ),
}


@pytest.mark.parametrize("model", PARTS)
def test_a_result_has_the_parts_of_the_pose_that_layers_of_its_model_take(tmp_path, model):
    make, parts = PARTS[model]
    p = moving(make(3))
    result, _ = result_of(take(tmp_path, p), p)
    write_result_npz(tmp_path / "result.npz", result)
    back = read_result_npz(tmp_path / "result.npz")
    for name in ("body_pose", "hand_pose", "left_hand_pose", "right_hand_pose", "jaw_pose", "leye_pose", "reye_pose"):
        got = getattr(back, name)
        assert (None if got is None else got.shape) == ((FRAMES, parts[name]) if name in parts else None), name
    whole = np.concatenate([back.global_orient, *(getattr(back, name) for name in parts)], axis=1)
    # SMPL's own root: about the root joint, then moved
    J0 = rest_root(p.body, p.shape)
    n = p.body.n_joints
    local = whole.reshape(FRAMES, n, 3)
    joints = joints_of(p.body, p.shape, np.zeros((FRAMES, 3)), np.zeros((FRAMES, 3)), local[:, 1:]) - J0
    joints = np.einsum("fij,fkj->fki", rotations.exp(local[:, 0]), joints) + J0 + back.transl[:, None]
    np.testing.assert_allclose(joints, back.joints, atol=1e-9)
    assert (back.expression is None) == (model != "smplx")
    if model == "smplx":
        assert back.expression.shape == (FRAMES, 10) and not back.expression.any()


def test_fingers_go_to_the_hand_of_their_side_whatever_the_order_of_the_joints():
    names = ("pelvis", "right_thumb3", "left_index1", "jaw", "spine1", "right_index1")
    poses = np.arange(15.0).reshape(1, 5, 3)
    parts = {name: values[0].tolist() for name, values in pose_parts(names, poses).items()}
    assert parts == {
        "right_hand_pose": [0, 1, 2, 12, 13, 14], "left_hand_pose": [3, 4, 5], "jaw_pose": [6, 7, 8],
        "body_pose": [9, 10, 11],
    }  # fmt: skip


def test_files_that_are_no_result_are_told_and_pickles_are_refused(tmp_path):
    path = tmp_path / "result.npz"
    with pytest.raises(MissingFile):
        read_result_npz(path)
    for data in (b"", b"PK\x03\x04 cut off", b"text"):
        path.write_bytes(data)
        with pytest.raises(BadFile, match="not a result"):
            read_result_npz(path)
    np.savez(path, frames=np.arange(3))
    with pytest.raises(BadFile, match="it has no timestamps, fps, skeleton"):
        read_result_npz(path)
    p = person(0, fitted=False)
    write_result_npz(path, result_of(take(tmp_path, p), p)[0])
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, "frames": np.arange(4)})
    with pytest.raises(BadFile, match="must have the 4 frames"):
        read_result_npz(path)
    np.savez(path, frames=np.array([print], dtype=object))
    with pytest.raises(BadFile, match="not a result"):
        read_result_npz(path)


# -------------------------------------------------------------------------------------------------------------- AMASS


def test_amass_layout_poses_smpl_h_with_smpls_root(tmp_path):
    p = person(0)
    notes = write_amass(tmp_path / "amass.npz", body=p.body, betas=p.shape, motion=p.motion, fps=59.94)
    with np.load(tmp_path / "amass.npz") as file:
        a = dict(file)
    shapes = {"poses": (FRAMES, 156), "trans": (FRAMES, 3), "betas": (16,), "dmpls": (FRAMES, 8)}
    assert {k: a[k].shape for k in shapes} == shapes
    assert float(a["mocap_framerate"]) == 59.94 and str(a["gender"]) == "neutral" and str(a["body_hash"]) == "0" * 16
    np.testing.assert_allclose(a["poses"][:, :3], p.motion.Rh)
    np.testing.assert_allclose(a["poses"][:, 3:66].reshape(FRAMES, 21, 3), p.motion.poses[:, :21])
    assert not a["poses"][:, 66:].any() and "no hand joints of SMPL" in notes[0]
    pelvis = rest_root(p.body, p.shape)
    np.testing.assert_allclose(a["trans"] + pelvis, (rotations.exp(p.motion.Rh) @ pelvis) + p.motion.Th)
    np.testing.assert_array_equal(a["betas"], [*p.shape, *[0] * 12])


def test_amass_of_a_hand_is_refused_with_what_works(tmp_path):
    hand, motion = toy_hand(), Motion(*random_motion(0, 3, 16))
    with pytest.raises(DataError, match=r"and this is a hand: result\.npz has MANO's"):
        write_amass(tmp_path / "amass.npz", body=hand, betas=np.zeros(4), motion=motion, fps=30.0)
    assert not (tmp_path / "amass.npz").exists()


def test_amass_takes_no_body_of_other_joints(tmp_path):
    hand = toy_body(0, parents=np.array([-1, *range(15)]))
    motion = Motion(*random_motion(0, 3, 16))
    with pytest.raises(DataError, match='body "toy" has 16 others'):
        write_amass(tmp_path / "amass.npz", body=hand, betas=np.zeros(4), motion=motion, fps=30.0)
    assert not (tmp_path / "amass.npz").exists()


# ------------------------------------------------------------------------------------------------- report and writing


def test_a_report_is_plain_json_and_says_whether_the_run_came_to_its_end(tmp_path):
    facts = {
        "rms": np.float32(1.5),
        "nan": float("nan"),
        "per": {"cam": np.array([1, 2])},
        "file": tmp_path,
        "n": np.int64(3),
    }
    t = dataclasses.replace(take(tmp_path), reports=(Report("first", "detect", facts, 1.23456),))
    assert is_complete(tmp_path) is None
    write_report(t, complete=False)
    assert is_complete(tmp_path) is False
    path = write_report(t, complete=True)
    assert is_complete(tmp_path) is True
    report = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert report["frames"] == FRAMES and report["fps"] == pytest.approx(30)
    assert report["stages"] == [
        {"label": "first", "stage": "detect", "seconds": 1.2346, "rms": 1.5, "nan": None, "per": {"cam": [1, 2]},
         "file": str(tmp_path), "n": 3}
    ]  # fmt: skip
    path.write_text("{")
    assert is_complete(tmp_path) is None


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    write_text(tmp_path / "a" / "x.txt", "old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a" / "x.txt") as temporary:
        assert temporary.suffix == ".txt" and temporary.parent == tmp_path / "a"
        temporary.write_text("half")
        raise RuntimeError
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x.txt"] and (tmp_path / "a" / "x.txt").read_text() == "old"
