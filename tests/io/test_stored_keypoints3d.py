"""3D keypoints of other tools: each format gives the same points, and what is wrong with a file is one sentence."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import c3d_files
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocap import skeletons
from mocap.errors import BadFile, DataError, MissingFile, MocapError, UnknownName
from mocap.io.stored_keypoints3d import match_joints, read_keypoints3d, upward
from mocap.io.tables import short_name

BODY25 = skeletons.BODY25
FRAMES = 7
PLACES = {
    "nose": (0, 0.1, 1.65), "neck": (0, 0, 1.5), "shoulder": (0.18, 0, 1.48), "elbow": (0.2, 0, 1.2),
    "wrist": (0.2, 0.05, 0.95), "mid_hip": (0, 0, 0.95), "hip": (0.1, 0, 0.94), "knee": (0.1, 0.02, 0.52),
    "ankle": (0.1, 0, 0.1), "eye": (0.03, 0.1, 1.68), "ear": (0.07, 0.02, 1.67), "big_toe": (0.12, 0.2, 0.02),
    "small_toe": (0.17, 0.18, 0.02), "heel": (0.1, -0.05, 0.03),
}  # fmt: skip
POSE2SIM = {
    "mid_hip": "CHip", "neck": "Neck", "nose": "Nose",
    **{f"{s}_{p}": s[0].upper() + "".join(w.title() for w in p.split("_")) for s in ("left", "right") for p in (
        "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "eye", "ear", "big_toe", "small_toe", "heel")},
}  # fmt: skip


def person(frames: int = FRAMES) -> np.ndarray:
    """Somebody who stands with z up and sways a little: (frames, 25, 3) [m]."""
    at = []
    for joint in BODY25.joints:
        side, _, part = joint.partition("_")
        x, y, z = PLACES[part] if side in ("left", "right") else PLACES[joint]
        at.append((x if side == "left" else -x, y, z))
    sway = 0.05 * np.sin(np.arange(frames) / 10)[:, None, None] * [1.0, 0.5, 0.0]
    return np.array(at) + sway + [0.4, 0.3, 0.0]


def hand(side: str, frames: int = FRAMES) -> np.ndarray:
    """A flat hand that waves: (frames, 21, 3) [m]."""
    at = [(0.0, 0.0, 0.01)]
    for finger in range(5):
        at += [((finger - 2) * 0.02, 0.05 + 0.025 * k, 0.0) for k in range(4)]
    sway = 0.05 * np.sin(np.arange(frames) / 10)[:, None, None] * [1.0, 0.5, 0.2]
    return np.array(at) * [1 if side == "right" else -1, 1, 1] + sway


def save_npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def with_confidence(xyz: np.ndarray, confidence: float = 0.8) -> np.ndarray:
    return np.concatenate([xyz, np.full((*xyz.shape[:2], 1), confidence)], axis=-1)


def save_trc(
    path: Path, xyz: np.ndarray, labels: list[str], *, unit: str = "m", rate: float = 60.0, **facts: Any
) -> Path:
    frames = facts.get("frames", len(xyz))
    head = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate}\t{rate}\t{frames}\t{len(labels)}\t{unit}\t{rate}\t1\t{frames}",
        "Frame#\tTime\t" + "\t\t\t".join(labels) + "\t\t",
        "\t\t" + "\t".join(f"{a}{i + 1}" for i in range(len(labels)) for a in "XYZ"),
        "",
    ]
    times = facts.get("times", [f"{i / rate:.3f}" for i in range(len(xyz))])
    rows = [
        f"{i + 1}\t{t}\t" + "\t".join("" if np.isnan(v) else f"{v:.9f}" for v in row.ravel()) + "\t"
        for i, (t, row) in enumerate(zip(times, xyz, strict=True))
    ]
    path.write_text("\n".join([*head, *rows]) + "\n")
    return path


def save_json(folder: Path, people: dict[int, np.ndarray], numbers: list[int] | None = None) -> Path:
    folder.mkdir(parents=True)
    frames = len(next(iter(people.values())))
    for row, number in enumerate(numbers or range(frames)):
        told = [{"id": i, "keypoints3d": values[row].tolist()} for i, values in people.items()]
        (folder / f"{number:06d}.json").write_text(json.dumps(told))
    return folder


def test_hands_of_another_program_are_people_of_their_own(tmp_path):
    """EasyMocap's `handlr` and our hands42: left, then right; a hand nobody saw is nobody."""
    both = with_confidence(np.concatenate([hand("left"), hand("right") + [0.3, 0, 0]], axis=1))
    for path in (
        save_npz(tmp_path / "a.npz", keypoints3d=both, fps=30.0),
        save_json(tmp_path / "k", {0: both}),
    ):
        found = read_keypoints3d(path, fps=30)
        assert {name: p.skeleton.name for name, p in found.people.items()} == {
            "left": "left_hand21", "right": "right_hand21"
        }  # fmt: skip
        assert found.people["right"].xyz == pytest.approx(hand("right") + [0.3, 0, 0])
        assert found.people["left"].confidence == pytest.approx(0.8)
    both[:, :21, 3] = 0
    found = read_keypoints3d(save_npz(tmp_path / "b.npz", keypoints3d=both, fps=30.0))
    assert list(found.people) == ["right"]
    alone = read_keypoints3d(save_npz(tmp_path / "c.npz", keypoints3d=hand("left"), fps=30.0, skeleton="left_hand21"))
    assert alone.people["0"].skeleton is skeletons.LEFT_HAND21


def test_json_that_says_which_hand_is_whose_needs_no_option(tmp_path):
    folder = save_json(tmp_path / "k", {0: with_confidence(hand("right")), 1: with_confidence(hand("left"))})
    with pytest.raises(BadFile, match="21 points are a hand's"):
        read_keypoints3d(folder, fps=30)
    assert read_keypoints3d(folder, fps=30, skeleton="left_hand21").people["0"].skeleton is skeletons.LEFT_HAND21
    for file in folder.iterdir():
        entries = json.loads(file.read_text())
        for entry, side in zip(entries, ("right", "left"), strict=True):
            entry["skeleton"] = f"{side}_hand21"
        file.write_text(json.dumps(entries))
    found = read_keypoints3d(folder, fps=30)
    assert [p.skeleton.name for p in found.people.values()] == ["right_hand21", "left_hand21"]
    assert found.people["1"].xyz == pytest.approx(hand("left"))
    entries[0]["skeleton"] = "left_hand21"
    file.write_text(json.dumps(entries))
    with pytest.raises(BadFile, match='person "0" is'):
        read_keypoints3d(folder, fps=30)


def test_points_with_a_hands_names_are_that_hand(tmp_path):
    labels = [short_name(joint) for joint in skeletons.RIGHT_HAND21.joints]
    found = read_keypoints3d(save_trc(tmp_path / "a.trc", hand("right"), labels))
    assert found.skeleton is skeletons.RIGHT_HAND21 and not found.unmatched
    assert found.people["0"].xyz == pytest.approx(hand("right"))
    # a finger or two beside a body are no hand
    xyz = np.concatenate([person(), hand("right")[:, :2]], axis=1)
    found = read_keypoints3d(save_trc(tmp_path / "b.trc", xyz, [*LABELS, "RThumbTip", "RIndexTip"]))
    assert found.skeleton is BODY25 and found.unmatched == ("RThumbTip", "RIndexTip")


LABELS = [POSE2SIM[j] for j in BODY25.joints]


class TestEveryFormatGivesTheSamePoints:
    def test_npz_with_confidence_as_the_fourth_number(self, tmp_path):
        values = with_confidence(person())
        values[2, 3] = np.nan
        values[3, 4, 3] = 0
        found = read_keypoints3d(save_npz(tmp_path / "a.npz", keypoints3d=values, fps=50.0, skeleton="BODY_25"))
        assert found.skeleton is BODY25
        assert found.timestamps == pytest.approx(np.arange(FRAMES) / 50)
        (points,) = found.people.values()
        assert np.argwhere(points.confidence == 0).tolist() == [[2, 3], [3, 4]]
        assert np.isnan(points.xyz[[2, 3], [3, 4]]).all()
        there = points.confidence > 0
        assert points.xyz[there] == pytest.approx(person()[there])
        assert points.confidence[there] == pytest.approx(0.8)
        assert points.covariance is None
        assert found.up is None

    def test_npz_of_a_result(self, tmp_path):
        ones = np.ones((FRAMES, 25))
        path = save_npz(
            tmp_path / "result.npz",
            keypoints3d=person(),
            keypoints3d_confidence=0.5 * ones,
            keypoints3d_covariance=np.broadcast_to(1e-4 * np.eye(3), (FRAMES, 25, 3, 3)).astype(np.float32),
            fps=15.0,
            skeleton="body25",
            frames=10 + 2 * np.arange(FRAMES),
            timestamps=3 + np.arange(FRAMES) / 15,
        )
        found = read_keypoints3d(path)
        assert found.frames.tolist() == [10, 12, 14, 16, 18, 20, 22]
        assert found.timestamps == pytest.approx(3 + np.arange(FRAMES) / 15)
        assert found.people["0"].covariance == pytest.approx(np.broadcast_to(1e-4 * np.eye(3), (FRAMES, 25, 3, 3)))
        assert found.notes == ()

    def test_uneven_timestamps_of_a_npz_are_kept(self, tmp_path):
        times = np.array([0, 0.03, 0.07, 0.1, 0.14, 0.2, 0.21])
        found = read_keypoints3d(save_npz(tmp_path / "a.npz", keypoints3d=person(), timestamps=times, fps=30.0))
        assert found.timestamps == pytest.approx(times)
        assert "no confidence" in found.notes[0]
        assert "25 joints are taken for body25" in found.notes[1]

    def test_json_of_a_folder_and_of_the_folder_above(self, tmp_path):
        folder = save_json(tmp_path / "out" / "keypoints3d", {0: with_confidence(person())}, [3, 4, 5, 6, 8, 9, 10])
        for path in (folder, folder.parent):
            found = read_keypoints3d(path, fps=25)
            assert found.frames.tolist() == [3, 4, 5, 6, 7, 8, 9, 10]
            assert found.timestamps == pytest.approx(np.arange(8) / 25)
            points = found.people["0"]
            assert (points.confidence[4] == 0).all()  # frame 7 has no file
            assert np.delete(points.xyz, 4, axis=0) == pytest.approx(person())
            assert "1 frames between the first and the last have no file" in found.notes[-1]

    def test_json_numbered_in_steps_has_no_frames_between(self, tmp_path):
        folder = save_json(tmp_path / "k", {0: with_confidence(person())}, [0, 2, 4, 6, 10, 12, 14])
        found = read_keypoints3d(folder, fps=30)
        assert found.frames.tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
        assert found.timestamps == pytest.approx(np.arange(8) / 15)

    def test_json_of_several_people(self, tmp_path):
        both = {4: with_confidence(person()), 11: with_confidence(person() + [1, 0, 0])}
        both[7] = with_confidence(person(), 0.0)  # EasyMocap writes people it has lost as zeros
        found = read_keypoints3d(save_json(tmp_path / "k", both), fps=30)
        assert list(found.people) == ["4", "11"]
        assert found.people["11"].xyz == pytest.approx(person() + [1, 0, 0])
        assert 'Person "7"' in found.warnings[0]

    def test_somebody_who_is_not_in_the_range_is_left_out(self, tmp_path):
        late = with_confidence(person())
        late[:4, :, 3] = 0
        folder = save_json(tmp_path / "k", {0: with_confidence(person()), 1: late})
        assert list(read_keypoints3d(folder, fps=30).people) == ["0", "1"]
        found = read_keypoints3d(folder, fps=30, ranges=(1, 4, 2))
        assert list(found.people) == ["0"]
        assert found.frames.tolist() == [1, 3]
        assert found.timestamps == pytest.approx([1 / 30, 3 / 30])
        assert found.people["0"].xyz == pytest.approx(person()[[1, 3]])

    def test_json_with_hands_is_easymocaps_bodyhand_and_its_face_is_left_out(self, tmp_path):
        hands = np.concatenate([hand("left") + [0.5, 0, 1], hand("right") + [-0.5, 0, 1]], axis=1)
        values = with_confidence(np.concatenate([person(), hands], axis=1))
        found = read_keypoints3d(save_json(tmp_path / "k", {0: values}), fps=30)
        points = found.people["0"]
        assert points.skeleton is found.skeleton is skeletons.BODYHAND67
        assert points.xyz == pytest.approx(values[..., :3])
        whole = np.concatenate([values, np.ones((FRAMES, 70, 4))], axis=1)
        found = read_keypoints3d(save_json(tmp_path / "face", {0: whole}), fps=30)
        assert found.people["0"].xyz == pytest.approx(values[..., :3])
        assert "of 137 points the first 67" in found.notes[0]

    def test_json_whose_hands_are_empty_gives_the_body(self, tmp_path):
        values = np.concatenate([with_confidence(person()), np.zeros((FRAMES, 42, 4))], axis=1)
        found = read_keypoints3d(save_json(tmp_path / "k", {0: values}), fps=30)
        assert found.skeleton is BODY25
        assert found.people["0"].xyz == pytest.approx(person())
        assert "its hands are empty: of 67 points the first 25" in found.notes[0]

    @pytest.mark.parametrize(("unit", "scale"), [("m", 1), ("mm", 1000), ("cm", 100), ("Meters", 1)])
    def test_trc_in_its_unit_with_blank_cells(self, tmp_path, unit, scale):
        xyz = person()
        xyz[1, 2] = np.nan
        xyz[-1, -1] = np.nan  # the last cells of the file
        xyz[4, 7] = 0
        labels = [*LABELS, "Head"]
        path = save_trc(tmp_path / "a.trc", scale * np.concatenate([xyz, xyz[:, :1]], axis=1), labels, unit=unit)
        found = read_keypoints3d(path)
        points = found.people["0"]
        assert np.argwhere(points.confidence == 0).tolist() == [[1, 2], [4, 7], [6, 24]]
        there = points.confidence > 0
        assert points.xyz[there] == pytest.approx(xyz[there], abs=1e-8)
        assert found.unmatched == ("Head",)
        assert found.up == "y"
        assert found.timestamps == pytest.approx(np.arange(FRAMES) / 60)  # not the rounded times of the file
        assert "1 points at exactly (0, 0, 0)" in found.notes[0]

    def test_trc_with_times_of_its_own(self, tmp_path):
        times = [0.0, 0.1, 0.2, 0.5, 0.6, 0.7, 0.8]
        found = read_keypoints3d(save_trc(tmp_path / "a.trc", person(), LABELS, rate=10, times=times))
        assert found.timestamps == pytest.approx(times)
        assert "do not agree with its 10 frames a second" in found.notes[0]

    def test_trc_whose_header_counts_other_frames_is_read_with_a_warning(self, tmp_path):
        found = read_keypoints3d(save_trc(tmp_path / "a.trc", person(), LABELS, frames=9))
        assert "says it has 9 frames and holds 7" in found.warnings[0]

    @pytest.mark.parametrize("processor", ["intel", "dec", "mips"])
    @pytest.mark.parametrize("integer", [False, True])
    def test_c3d_of_every_kind(self, tmp_path, processor, integer):
        xyz = 1000 * person()
        xyz[2, 5] = np.nan
        labels = [f"Ann:{name}" for name in LABELS]
        path = c3d_files.write(
            tmp_path / "a.c3d",
            xyz,
            labels,
            processor=processor,
            integer=integer,
            rate=120,
            unit="mm",
            up="+Y",
            analogs=6,
        )
        found = read_keypoints3d(path)
        points = found.people["Ann"]
        assert np.argwhere(points.confidence == 0).tolist() == [[2, 5]]
        there = points.confidence > 0
        assert points.xyz[there] == pytest.approx(xyz[there] / 1000, abs=6e-5 if integer else 1e-6)
        assert found.timestamps == pytest.approx(np.arange(FRAMES) / 120)
        assert found.frames.tolist() == [1, 2, 3, 4, 5, 6, 7]
        assert found.up == "y"

    def test_c3d_of_two_people(self, tmp_path):
        xyz = np.concatenate([person(), person() + [0, 2, 0]], axis=1)
        labels = [f"{who}:{name}" for who in ("Ann", "Bob") for name in LABELS]
        found = read_keypoints3d(c3d_files.write(tmp_path / "a.c3d", xyz, labels, unit="m"))
        assert list(found.people) == ["Ann", "Bob"]
        assert found.people["Bob"].xyz == pytest.approx(person() + [0, 2, 0], abs=1e-6)

    @pytest.mark.parametrize("said", [True, False])
    def test_c3d_of_more_frames_than_its_header_can_count(self, tmp_path, said):
        xyz = np.broadcast_to(person(1)[:, :3], (65_537, 3, 3))
        path = c3d_files.write(tmp_path / "a.c3d", xyz, LABELS[:3], unit="m", long=said)
        found = read_keypoints3d(path)
        assert len(found.frames) == 65_537  # and not the padding of the last block

    def test_the_unit_of_the_dataset_goes_before_that_of_the_file(self, tmp_path):
        found = read_keypoints3d(save_trc(tmp_path / "a.trc", 1000 * person(), LABELS, unit="m"), unit="mm")
        assert found.people["0"].xyz == pytest.approx(person())
        assert "says its unit is m; it is read as mm" in found.warnings[0]


class TestNames:
    @pytest.mark.parametrize(
        ("labels", "joint"),
        [
            (("RShoulder", "RSho", "R_Shoulder", "right_shoulder", "ShoulderRight", "R.Shoulder"), "right_shoulder"),
            (("LKJC", "LKnee", "knee_l", "LeftKnee", "L-Knee"), "left_knee"),
            (("CHip", "MidHip", "Hip", "pelvis", "HipCenter"), "mid_hip"),
            (("RBigToe", "right_foot_index", "R_Big_Toe"), "right_big_toe"),
            (("LSmallToe", "left_little_toe"), "left_small_toe"),
            (("Neck", "NECK", "neck"), "neck"),
            (("Subject 1:RHeel", "a:b:RHeel"), "right_heel"),
        ],
    )  # fmt: skip
    def test_a_joint_is_known_by_its_usual_names(self, labels, joint):
        for label in labels:
            ((_, columns),) = match_joints([label], BODY25)[0].items()
            assert np.flatnonzero(columns >= 0).tolist() == [BODY25.index(joint)], label

    def test_the_head_is_the_top_of_the_head_where_a_set_has_that(self):
        found, unmatched = match_joints(["Head", "Neck"], skeletons.BODY25B)
        assert [skeletons.BODY25B.joints[k] for k in np.flatnonzero(found[""] >= 0)] == ["upper_neck", "head_top"]
        assert unmatched == ()

    def test_a_joint_centre_goes_before_a_marker(self):
        found, unmatched = match_joints(["LKNE", "LKJC"], BODY25)
        assert found[""][BODY25.index("left_knee")] == 1
        assert unmatched == ("LKNE",)

    @pytest.mark.parametrize("labels", [["LASI", "RASI", "r_knee_study", "C7", "*12", ""], []])
    def test_what_is_no_joint_matches_none(self, labels):
        assert match_joints(labels, BODY25) == ({}, tuple(labels))

    @given(st.sampled_from(list(skeletons.SKELETONS.values())))
    def test_every_set_is_known_by_its_own_names_each_once(self, skeleton):
        found, unmatched = match_joints(skeleton.joints, skeleton)
        assert found[""].tolist() == list(range(len(skeleton)))
        assert unmatched == ()


class TestMistakes:
    @pytest.mark.parametrize(
        ("scale", "options", "parts"),
        [
            (1000, {}, ["times too big", "unit: mm", "data.unit=mm"]),
            (100, {}, ["times too big", "unit: cm"]),
            (1, {"unit": "mm"}, ["times too small", "unit: m`"]),
            (1, {"unit": "cm"}, ["times too small", "unit: m`"]),
            (7, {}, ["times too big", "no unit", "scale its points"]),
        ],
    )
    def test_a_person_of_no_possible_size_is_refused_with_the_unit_that_would_do(self, tmp_path, scale, options, parts):
        path = save_npz(tmp_path / "a.npz", keypoints3d=scale * person(), fps=30.0)
        self.refused(path, DataError, parts, **options)

    @pytest.mark.parametrize(
        ("arrays", "error", "parts"),
        [
            ({"points": np.zeros(3)}, BadFile, ["no array called keypoints3d", "it has points"]),
            ({"keypoints3d": np.zeros((7, 25))}, BadFile, ["(frames, joints, 4)", "(7, 25)"]),
            ({"keypoints3d": np.zeros((0, 25, 4))}, BadFile, ["(0, 25, 4)"]),
            ({"keypoints3d": np.full((7, 25, 4), "a")}, BadFile, ["<U1"]),
            ({"keypoints3d": np.array([None] * 3, dtype=object)}, BadFile, ["no npz of numbers", "allow_pickle"]),
            ({"keypoints3d": person()}, DataError, ["does not say its frame rate", "data.fps"]),
            ({"keypoints3d": person(), "fps": 0}, BadFile, ["fps must be greater than 0"]),
            ({"keypoints3d": person(), "fps": [30, 30]}, BadFile, ["fps must be numbers of shape"]),
            ({"keypoints3d": person()[:, :21], "fps": 30}, BadFile, ["21 points are a hand's", "right_hand21"]),
            ({"keypoints3d": person()[:, :20], "fps": 30}, BadFile, ["20 joints", "25 (body25)"]),
            (
                {"keypoints3d": 1e3 * hand("left"), "fps": 30, "skeleton": "left_hand21"},
                DataError,
                ["a hand would be", "`unit: mm`"],
            ),
            ({"keypoints3d": person(), "fps": 30, "skeleton": "coco17"}, BadFile, ["25 joints", "coco17 has 17"]),
            ({"keypoints3d": person(), "fps": 30, "skeleton": "halpe26"}, UnknownName, ["halpe26", "Known: body25"]),
            ({"keypoints3d": np.nan * person(), "fps": 30}, DataError, ["shows nobody"]),
            ({"keypoints3d": person(), "timestamps": np.zeros(7)}, BadFile, ["times do not increase"]),
            ({"keypoints3d": person(), "frames": np.zeros(7)}, BadFile, ["frame numbers", "increase"]),
            ({"keypoints3d": person(), "keypoints3d_confidence": np.ones(7)}, BadFile, ["shape (7, 25)"]),
        ],
    )
    def test_of_a_npz(self, tmp_path, arrays, error, parts):
        self.refused(save_npz(tmp_path / "a.npz", **arrays), error, parts)

    @pytest.mark.parametrize(
        ("change", "parts"),
        [
            (lambda t: t[: int(0.8 * len(t))], ["cut off in frame 6"]),
            (lambda t: t.replace("PathFileType", "Path"), ["no TRC file"]),
            (lambda t: "\n".join(t.split("\n")[:6]), ["holds no frame"]),
            (lambda t: "\n".join(t.split("\n")[:3]), ["no TRC file"]),
            (lambda t: t.replace("0.95", "x.95", 1), ["not a number"]),
            (lambda t: t.replace("\n3\t", "\n2\t"), ["frame numbers", "increase"]),
            (lambda t: t.replace("\tm\t", "\tfeet\t"), ['calls its unit "feet"', "data.unit=mm"]),
            (lambda t: t.replace("\tm\t", "\tmm\t"), ["times too small", "unit: m`"]),
        ],
    )
    def test_of_a_trc(self, tmp_path, change, parts):
        path = save_trc(tmp_path / "a.trc", person(), LABELS)
        path.write_text(change(path.read_text()))
        self.refused(path, MocapError, parts)

    def test_names_of_which_none_is_a_joint_are_told_with_those_wanted(self, tmp_path):
        path = save_trc(tmp_path / "a.trc", person()[:, :2], ["LASI", "RASI"])
        self.refused(path, BadFile, ["LASI, RASI", "RHip", "body25", "skeleton"])

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("[{]", ["no 3D keypoints as EasyMocap"]),
            ("{}", ["nobody"]),
            ("3", ["no 3D keypoints"]),
            ('[{"id": 0}]', ["no 3D keypoints"]),
            ('[{"id": 0, "keypoints3d": [1, 2]}]', ["(2,)"]),
            ('[{"id": 0, "keypoints3d": [[1, 2, 3, 4]]}]', ["1 joints"]),
            ('[{"id": 0, "keypoints3d": [["a", 2, 3, 4]]}]', ["no 3D keypoints"]),
            ("[" * 100_000, ["no 3D keypoints"]),
        ],
    )  # fmt: skip
    def test_of_json(self, tmp_path, text, parts):
        (tmp_path / "k").mkdir()
        (tmp_path / "k" / "000000.json").write_text(text)
        self.refused(tmp_path / "k", MocapError, parts, fps=30)

    def test_of_json_file_names(self, tmp_path):
        folder = save_json(tmp_path / "a", {0: with_confidence(person())}, [0, 1, 2, 3, 4, 5, 20240101])
        self.refused(folder, BadFile, ["numbered 0 to 20240101", "must count frames"], fps=30)
        (folder / "about.json").write_text("[]")
        self.refused(folder, BadFile, ["no frame number"], fps=30)

    def test_of_a_path(self, tmp_path):
        self.refused(tmp_path / "a.npz", MissingFile, ["not found", "--root"])
        (tmp_path / "b.csv").write_text("1,2")
        self.refused(tmp_path / "b.csv", BadFile, [".npz, .trc, .c3d"])
        save_npz(tmp_path / "c.npz", keypoints3d=person())
        self.refused(tmp_path, MissingFile, ["keypoints3d/*.json", "Name one of its files: c.npz"])

    @pytest.mark.parametrize("suffix", [".npz", ".c3d", ".trc"])
    def test_a_file_cut_off_anywhere_or_with_wrong_bytes_is_read_or_refused_in_one_sentence(self, tmp_path, suffix):
        path = tmp_path / f"a{suffix}"
        if suffix == ".npz":
            np.savez_compressed(path, keypoints3d=person(), fps=30.0, skeleton="body25")
        elif suffix == ".c3d":
            c3d_files.write(path, person(), LABELS, unit="m")
        else:
            save_trc(path, person(), LABELS)
        whole = path.read_bytes()
        rng = np.random.default_rng(0)
        for size in rng.integers(0, len(whole), 30):
            path.write_bytes(whole[:size])
            try:
                found = read_keypoints3d(path)
            except MocapError as error:
                assert "\n" not in str(error)
            else:  # a text file can end within its last number, or with a whole row
                assert suffix == ".trc"
                assert found.warnings or size > len(whole) - 12
        for _ in range(150):
            broken = bytearray(whole)
            for at in rng.integers(0, min(len(whole), 2500), 3):
                broken[at] = rng.integers(0, 256)
            path.write_bytes(broken)
            try:
                read_keypoints3d(path)
            except MocapError as error:
                assert "\n" not in str(error)

    def refused(self, path: Path, error: type[MocapError], parts: list[str], **options: Any) -> None:
        with pytest.raises(error) as caught:
            read_keypoints3d(path, **options)
        told = str(caught.value)
        assert all(part in told for part in parts), told
        assert path.name in told
        assert "\n" not in told


@pytest.mark.parametrize("axis", ["x", "-x", "y", "-y", "z", "-z"])
def test_the_axis_from_feet_to_heads_is_found(axis):
    xyz = np.roll(person(), "xyz".index(axis[-1]) - 2, axis=-1) * (-1 if axis[0] == "-" else 1)
    assert upward([xyz], BODY25) == axis


def test_lying_people_tell_no_axis():
    xyz = person()
    assert upward([xyz, -xyz], BODY25) is None
    assert upward([np.full_like(xyz, np.nan)], BODY25) is None


def test_two_hours_are_read_in_seconds_and_little_memory(tmp_path):
    frames = 216_000
    values = np.broadcast_to(with_confidence(person(1)), (frames, 25, 4)).astype(np.float32)
    path = save_npz(tmp_path / "a.npz", keypoints3d=values, fps=30.0, skeleton="body25")
    del values
    tracemalloc.start()
    began = time.process_time()
    found = read_keypoints3d(path)
    seconds = time.process_time() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.timestamps[-1] == pytest.approx((frames - 1) / 30)
    assert seconds < 5
    assert peak < 6 * found.people["0"].xyz.nbytes
