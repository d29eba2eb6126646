"""The take before any stage: cameras joined to footage by name, and a sentence for whatever is missing or odd."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import rigs

from mocap.config import Override
from mocap.dataset import first_take, read_dataset
from mocap.errors import BadFile, CalibrationError, ConfigError, DataError, MissingFile, UnknownName
from mocap.skeletons import BODY25
from mocap.take import RunContext


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rigs.recording(tmp_path / "take")
    return tmp_path


def dataset(text: str = "root: take", *overrides: str):
    Path("data.yml").write_text(text)
    return read_dataset(Path("data.yml"), overrides=[Override.of(o) for o in overrides])


def take(text: str = "root: take", *overrides: str):
    return first_take(dataset(text, *overrides), RunContext(Path("o")), machine="a test")


def test_views_and_cameras_meet_by_name():
    made = take()
    assert list(made.footage) == ["01", "07"]
    assert made.rig.names == ("01", "07")
    assert made.rig["07"].centre == pytest.approx(rigs.rig()["07"].centre)
    assert made.frames.tolist() == [0, 1, 2, 3]
    assert made.fps == pytest.approx(30)
    facts = made.reports[0].facts
    assert facts["machine"] == "a test"
    assert "metres" in facts["calibration"]["unit"] or " m" in facts["calibration"]["unit"]
    json.dumps(facts)


def test_subs_are_text_and_keep_the_order_asked_for():
    made = take("{root: take, subs: [07, 01]}")
    assert list(made.footage) == ["07", "01"]
    assert list(take("{root: take, subs: [07]}").footage) == ["07"]


def test_ranges_choose_frames():
    assert take("{root: take, ranges: [1, 4, 2]}").frames.tolist() == [1, 3]


def test_frame_rate_and_offsets_set_the_clock():
    made = take("{root: take, fps: 10, offsets: {07: 0.1}}")
    assert made.footage["07"].timestamps == pytest.approx(np.arange(4) / 10 + 0.1)
    assert made.fps == pytest.approx(10)


def test_a_world_that_is_not_z_up_is_turned_and_the_floor_comes_to_zero():
    made = take("{root: take, world: {up: -y, floor: 0.5}}")
    before, after = rigs.rig()["01"].centre, made.rig["01"].centre
    assert after[2] == pytest.approx(-before[1] - 0.5)
    assert made.rig.has_floor
    assert not take().rig.has_floor


def test_the_unit_of_the_calibration_may_be_any_length():
    made = take("{root: take, unit: 0.25, world: {floor: 2}}")
    assert made.rig["01"].centre == pytest.approx(0.25 * rigs.rig()["01"].centre - [0, 0, 2])
    assert "0.25 m, as told" in made.reports[0].facts["calibration"]["unit"]


@pytest.mark.parametrize(
    ("text", "error", "parts"),
    [
        ("root: nowhere", MissingFile, ["Data folder not found: nowhere", "--root"]),
        ("{root: take, subs: [7]}", UnknownName, ['--subs: Unknown view "7"', "Known: 01, 07"]),
        ("{root: take, subs: []}", ConfigError, ["names no view", "01, 07"]),
        ("{root: take, subs: [01, 01]}", ConfigError, ["names a view twice"]),
        ("{root: take, offsets: {08: 1}}", UnknownName, ['offsets: Unknown view "08"']),
        ("{root: take, offsets: {07: soon}}", ConfigError, ["data.yml:1", "offsets", '"soon"']),
        ("{root: take, ranges: [9, 12, 1]}", DataError, ["leaves no frame", "0 to 3"]),
        ("{root: take, ranges: [0, 4]}", ConfigError, ["ranges must be a list of 3"]),
        ("{root: take, fps: 0}", ConfigError, ["fps must be a number greater than 0"]),
        ("{root: take, world: {up: w}}", ConfigError, ["the dataset, world", '"w"', "Known: x, -x, y"]),
        ("{root: take, world: {upp: z}}", ConfigError, ['"upp"', 'mean "up"?']),
        ("{root: take, calibration: no.toml}", MissingFile, ["Calibration not found: take/no.toml"]),
        ("{root: take, ruts: 1}", ConfigError, ["option of the dataset", '"ruts"', "root, calibration"]),
        ("subs: null", ConfigError, ['the dataset needs "root"']),
        ("{root: }", ConfigError, ["root must be a path, not nothing"]),
        ("module: a.b\nargs: {root: x}", ConfigError, ["EasyMocap's own layout", "config/datasets/mvimage.yml"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told(text, error, parts):
    with pytest.raises(error) as caught:
        take(text)
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert "\n" not in str(caught.value)


def test_set_changes_the_dataset_too():
    assert dataset("root: take", "world.up=-y", "subs=[07]").subs == ("07",)


def test_an_empty_folder_is_told():
    Path("empty").mkdir()
    with pytest.raises(MissingFile, match=r"Footage not found: empty\. Looked for views"):
        take("root: empty")


def test_a_view_without_a_camera_is_told():
    shutil.copytree("take/images/01", "take/images/09")
    with pytest.raises(CalibrationError, match='View "09" has no camera in the calibration'):
        take()
    assert list(take("{root: take, subs: [01, 07]}").footage) == ["01", "07"]


def test_a_camera_without_a_view_is_reported():
    shutil.rmtree("take/images/07")
    assert take().reports[0].facts["cameras_without_view"] == ["07"]


def test_footage_that_cannot_be_read_is_told_with_the_way_round_it():
    for file in Path("take/images/07").iterdir():
        file.write_bytes(b"no picture")
    with pytest.raises(
        BadFile, match=r'none of its 4 images can be decoded. Mend it, or leave view "07" out with --subs'
    ):
        take()
    assert list(take("{root: take, subs: [01]}").footage) == ["01"]


def test_footage_of_another_size_is_scaled_and_said():
    for file in Path("take/images/07").iterdir():
        cv2.imwrite(str(file), cv2.resize(cv2.imread(str(file)), (128, 96)))
    made = take()
    assert made.rig["07"].K[0, 0] == pytest.approx(120)
    (warning,) = made.reports[0].facts["warnings"]
    assert "128x96" in warning


def test_stored_detections_stand_for_footage_that_is_not_there():
    shutil.rmtree("take/images")
    with pytest.raises(MissingFile, match="Footage"):
        take()
    for name in ("01", "07"):
        folder = Path("take/openpose") / f"{name}_json"
        folder.mkdir(parents=True)
        for i in (1, 2, 3, 5):
            person = {"pose_keypoints_2d": [1.0, 2.0, 0.5] * 25}
            (folder / f"{i:06d}_keypoints.json").write_text(json.dumps({"people": [person]}))
    made = take("{root: take, keypoints: openpose, fps: 50}")
    assert list(made.footage) == ["01", "07"]
    assert made.footage["07"].size == (64, 48)
    assert made.frames.tolist() == [0, 1, 2, 3, 4]  # from the first number there is
    assert made.fps == pytest.approx(50)
    assert "no footage" in made.reports[0].facts["warnings"][0]


def openpose(view: str, *numbers: int) -> None:
    folder = Path("take/openpose") / f"{view}_json"
    folder.mkdir(parents=True)
    for number in numbers:
        person = {"pose_keypoints_2d": [1.0, 2.0, 0.5] * 25}
        (folder / f"{number}_keypoints.json").write_text(json.dumps({"people": [person]}))


def test_equal_numbers_of_stored_detections_are_one_moment_however_large():
    shutil.rmtree("take/images")
    start = 20240101120000
    openpose("01", start, start + 1, start + 4)
    openpose("07", start + 2, start + 3)
    made = take("{root: take, keypoints: openpose, fps: 50}")
    assert made.footage["01"].timestamps == pytest.approx(np.arange(5) / 50)
    assert made.footage["07"].timestamps == pytest.approx(np.array([2, 3]) / 50)


def test_numbers_that_count_no_frames_are_told():
    shutil.rmtree("take/images")
    openpose("01", 3, 20240101120000)
    openpose("07", 3)
    with pytest.raises(DataError, match=r'View "01": the frames of .*01_json are numbered 3 to 20240101120000'):
        take("{root: take, keypoints: openpose}")


class TestKeypoints3D:
    """A dataset that begins with 3D keypoints."""

    def points(self, frames: int = 6) -> np.ndarray:
        """People-sized points with z up: (frames, 25, 3) [m]."""
        rng = np.random.default_rng(3)
        xyz = rng.uniform([-0.2, -0.1, 0.9], [0.2, 0.1, 1.3], (25, 3))
        xyz[[0, 1, 2, 5], 2], xyz[[10, 11, 13, 14], 2] = 1.5, 0.3
        return xyz + 0.01 * np.arange(frames)[:, None, None]

    def save(self, name: str = "points.npz", **arrays) -> str:
        np.savez(name, **{"keypoints3d": self.points(), "fps": 50.0, "skeleton": "body25"} | arrays)
        return name

    def test_people_have_keypoints_and_there_are_no_cameras(self):
        made = take(f"{{root: {self.save()}, keypoints3d: .}}")
        assert made.rig is None
        assert not made.footage
        (person,) = made.people
        assert person.keypoints3d.xyz == pytest.approx(self.points())
        assert np.isnan(person.keypoints3d.covariance).all()
        assert person.keypoints3d.covariance.base.nbytes == 8  # of two hours it would be 400 MB
        assert made.fps == pytest.approx(50)
        facts = made.reports[0].facts
        assert facts["keypoints3d"]["people"] == {"0": {"joints_missing": [], "found": 1.0}}
        assert facts["keypoints3d"]["unit"] == "m (the format's)"
        assert facts["machine"] == "a test"
        json.dumps(facts)

    def test_root_may_be_a_folder(self):
        Path("all").mkdir()
        self.save("all/points.npz")
        assert len(take("{root: all, keypoints3d: points.npz}").people) == 1

    def test_ranges_choose_frames_by_their_numbers(self):
        path = self.save(frames=np.arange(10, 16))
        made = take(f"{{root: {path}, keypoints3d: ., ranges: [11, 15, 2]}}")
        assert made.frames.tolist() == [11, 13]
        assert made.timestamps == pytest.approx([0.02, 0.06])
        assert made.people[0].keypoints3d.xyz == pytest.approx(self.points()[[1, 3]])

    def test_another_up_axis_and_a_floor_come_to_z_and_zero_with_their_covariance(self):
        spread = np.broadcast_to(np.diag([1e-6, 4e-6, 9e-6]), (6, 25, 3, 3))
        turned = np.roll(self.points(), -1, axis=-1)  # y up: (x, y, z) of the file is (y, z, x) of the world
        path = self.save(keypoints3d=turned, keypoints3d_covariance=spread, keypoints3d_confidence=np.ones((6, 25)))
        made = take(f"{{root: {path}, keypoints3d: ., world: {{up: y, floor: 0.2}}}}").people[0].keypoints3d
        assert made.xyz[..., 2] == pytest.approx(turned[..., 1] - 0.2)
        assert made.xyz[..., 1] == pytest.approx(-turned[..., 2])
        assert made.covariance[0, 0] == pytest.approx(np.diag([1e-6, 9e-6, 4e-6]))

    def test_heads_below_feet_are_warned_of_with_the_axis_that_would_be_right(self):
        path = self.save(keypoints3d=np.roll(self.points(), -1, axis=-1))
        made = take(f"{{root: {path}, keypoints3d: .}}")
        assert "data.world.up=y" in made.reports[0].facts["warnings"][0]
        made = take(f"{{root: {path}, keypoints3d: ., world: {{up: y}}}}")
        assert made.reports[0].facts["warnings"] == []

    @pytest.mark.parametrize(
        ("text", "error", "parts"),
        [
            ("{root: points.npz}", ConfigError, ["points.npz is a file", "config/datasets/keypoints3d.yml"]),
            ("{root: nowhere.npz, keypoints3d: .}", MissingFile, ["3D keypoints not found: nowhere.npz", "--root"]),
            ("{root: points.npz, keypoints3d: ., subs: [01]}", ConfigError, ["subs", "views", "have none"]),
            ("{root: points.npz, keypoints3d: ., ranges: [9, 12, 1]}", DataError, ["--ranges 9 12 1", "frames 0 to 5"]),
            ("{root: points.npz, keypoints3d: ., ranges: [0, 4, 0]}", DataError, ["at least 1, not 0"]),
            ("{root: points.npz, keypoints3d: ., skeleton: body2}", UnknownName, ['"body2"', "body25"]),
            ("{root: points.npz, keypoints3d: ., skeleton: coco17}", BadFile, ["25 joints", "coco17 has 17"]),
            ("{root: points.npz, keypoints3d: ., unit: mm}", DataError, ["times too small", "unit: m`"]),
            ("{root: points.npz, keypoints3d: ., unit: 0.5}", ConfigError, ["m, cm or mm, not 0.5"]),
        ],
    )  # fmt: skip
    def test_a_mistake_is_told(self, text, error, parts):
        self.save()
        with pytest.raises(error) as caught:
            take(text)
        assert all(part in str(caught.value) for part in parts), str(caught.value)
        assert "\n" not in str(caught.value)

    def test_real_points_of_pose2sim(self, shared_data):
        file = shared_data / "pose2sim_balancing/pose2sim_result/S00_P00_T01_BalancingTrial_0-100.trc"
        made = take(f"{{root: {file}, keypoints3d: .}}")
        facts = made.reports[0].facts
        assert len(made.frames) == 100
        assert made.fps == pytest.approx(60)
        assert facts["keypoints3d"]["points_unmatched"] == ["Head"]
        assert facts["keypoints3d"]["people"]["0"]["joints_missing"] == [
            "mid_hip", "right_eye", "left_eye", "right_ear", "left_ear"
        ]  # fmt: skip
        assert facts["warnings"] == []
        xyz = made.people[0].keypoints3d.xyz
        above = xyz[:, BODY25.index("nose"), 2] - xyz[:, BODY25.index("right_heel"), 2]
        assert 1.3 < above.max() < 1.6  # when he stands straight
