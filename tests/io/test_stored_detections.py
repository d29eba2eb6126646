"""OpenPose's and COCO's JSON: several people a frame, empty frames, and values that are no numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mocap.errors import BadFile, MissingFile, UnknownName
from mocap.io.stored_detections import discover_detections, read_coco, read_detections, read_openpose


def rows(seed: int, joints: int = 25) -> list[float]:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.uniform(1, 999, (joints, 2)), rng.uniform(0.1, 1, (joints, 1))], axis=1).ravel().tolist()


def openpose(folder: Path, frames: dict[str, list[list]], key: str = "pose_keypoints_2d") -> Path:
    folder.mkdir()
    for name, people in frames.items():
        (folder / name).write_text(json.dumps({"version": 1.3, "people": [{key: row} for row in people]}))
    return folder


def test_everybody_is_read_in_natural_order_and_numbered_by_the_last_integer(tmp_path):
    frames = {
        "cam01.10_keypoints.json": [rows(3)],
        "cam01.9_keypoints.json": [rows(1), rows(2)],
        "cam01.12_keypoints.json": [],
    }
    found = read_openpose(openpose(tmp_path / "a", frames), "body25b")
    assert found.frame_numbers.tolist() == [9, 10, 12] and found.skeleton.name == "body25b" and found.notes == []
    assert found.xy.shape == (3, 2, 25, 2) and found.confidence.shape == (3, 2, 25)
    for frame, candidate, seed in ((0, 0, 1), (0, 1, 2), (1, 0, 3)):
        truth = np.reshape(rows(seed), (25, 3))
        np.testing.assert_array_equal(found.xy[frame, candidate], truth[:, :2])
        np.testing.assert_array_equal(found.confidence[frame, candidate], truth[:, 2])
    assert np.isnan(found.xy[1, 1]).all() and np.isnan(found.xy[2]).all() and not found.confidence[2].any()


def test_points_openpose_did_not_see_are_missing(tmp_path):
    row = rows(0)
    row[6:9] = [0, 0, 0]
    found = read_openpose(openpose(tmp_path / "a", {"0.json": [row]}), "body25")
    assert np.isnan(found.xy[0, 0, 2]).all() and found.confidence[0, 0, 2] == 0 and np.isfinite(found.xy[0, 0, 3]).all()


@pytest.mark.parametrize(("joints", "name"), [(25, "body25"), (17, "coco17"), (33, "mediapipe33"), (14, "lsp14")])
def test_the_keypoint_set_is_told_by_the_number_of_points(tmp_path, joints, name):
    found = read_openpose(openpose(tmp_path / "a", {"0.json": [rows(0, joints)]}, key="pose_keypoints"))
    assert found.skeleton.name == name
    assert any("body25b" in note for note in found.notes) == (joints == 25)


@pytest.mark.parametrize("word", ["NaN", "null", "Infinity"])
def test_a_nan_in_a_file_costs_its_point_and_is_told(tmp_path, word):
    folder = openpose(tmp_path / "a", {"5.json": [rows(0), rows(1)]})
    file = folder / "5.json"
    file.write_text(file.read_text().replace(repr(rows(1)[4]), word))
    found = read_openpose(folder, "body25")
    missing = np.isnan(found.xy).any(-1)
    assert missing.sum() == 1 and missing[0, 1, 1] and found.confidence[0, 1, 1] == 0
    assert "1 points hold NaN or null and are taken as missing, the first of person 1 in frame 5" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"people": [', r"7\.json:1: not JSON"),
        ("[]", r"7\.json: not a file of OpenPose"),
        ('{"people": [{}]}', r"7\.json: person 0 has no list called pose_keypoints_2d"),
        ('{"people": [{"pose_keypoints_2d": [1, 2]}]}', r"7\.json: person 0 has 2 values, not the 75 of body25"),
        ('{"people": [{"pose_keypoints_2d": ["a", 2, 3]}]}', r"7\.json: person 0 has a value that is not a number"),
        ('{"people": [{"pose_keypoints_2d": [[1, 2], 3]}]}', r"7\.json: person 0 has a value that is not a number"),
        ("\udc80", r"7\.json: not JSON"),
    ],
)
def test_a_broken_file_is_told_with_its_person(tmp_path, text, why):
    folder = openpose(tmp_path / "a", {"6.json": [rows(0)]})
    (folder / "7.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadFile, match=why):
        read_openpose(folder, "body25")


def test_what_cannot_be_told_is_asked_for(tmp_path):
    with pytest.raises(BadFile, match="nobody in any frame"):
        read_openpose(openpose(tmp_path / "a", {"0.json": []}))
    assert read_openpose(tmp_path / "a", "body25").xy.shape == (1, 1, 25, 2)
    with pytest.raises(BadFile, match=r"has 78 values .*known are 42 \(lsp14\)"):
        read_openpose(openpose(tmp_path / "b", {"0.json": [rows(0, 26)]}))
    with pytest.raises(UnknownName, match="body25b"):
        read_openpose(tmp_path / "b", "body26")
    with pytest.raises(BadFile, match=r"b_1\.json: frame 1 is that of a_1\.json too"):
        read_openpose(openpose(tmp_path / "c", {"a_1.json": [], "b_1.json": []}), "body25")
    with pytest.raises(MissingFile, match="OpenPose detections"):
        read_openpose(tmp_path / "d")


def test_coco_results_are_grouped_by_image(tmp_path):
    entries = [
        {"image_id": "cam_3.jpg", "category_id": 1, "keypoints": rows(1, 17), "score": 2.1},
        {"image_id": 1, "keypoints": rows(0, 17), "score": 1.0},
        {"image_id": 3, "keypoints": rows(2, 17), "score": 0.4},
    ]
    (tmp_path / "cam.json").write_text(json.dumps(entries))
    found = read_coco(tmp_path / "cam.json")
    assert (
        found.frame_numbers.tolist() == [1, 3] and found.xy.shape == (2, 2, 17, 2) and found.skeleton.name == "coco17"
    )
    np.testing.assert_array_equal(found.xy[1, 1], np.reshape(rows(2, 17), (17, 3))[:, :2])


def test_coco_annotations_have_flags_and_frames_with_nobody(tmp_path):
    row = rows(0, 17)
    row[2::3] = [0, 1] + [2] * 15
    tree = {
        "images": [{"id": 77, "file_name": "a/000004.jpg"}, {"id": 78, "file_name": "a/000005.jpg"}],
        "annotations": [{"image_id": 77, "keypoints": row}],
    }
    (tmp_path / "cam.json").write_text(json.dumps(tree))
    found = read_detections(tmp_path / "cam.json")
    assert found.frame_numbers.tolist() == [4, 5] and not found.confidence[1].any()
    assert found.confidence[0, 0].tolist() == [0, 0.5] + [1] * 15 and np.isnan(found.xy[0, 0, 0]).all()


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        ({"images": []}, "not COCO keypoints"),
        ([{"keypoints": []}], "entry 0 has no image_id"),
        ([{"image_id": 1, "keypoints": None}], "entry 0 has no image_id or no list"),
        ([{"image_id": "left.jpg", "keypoints": [1, 2, 3]}], "no frame number in the image 'left.jpg'"),
        ([{"image_id": 1, "keypoints": [1] * 51}, {"image_id": 2, "keypoints": [1] * 50}], "frame 2: person 0 has 50"),
    ],
)
def test_a_broken_coco_file_is_told(tmp_path, tree, why):
    (tmp_path / "cam.json").write_text(json.dumps(tree))
    with pytest.raises(BadFile, match=why):
        read_coco(tmp_path / "cam.json")
    with pytest.raises(MissingFile):
        read_coco(tmp_path / "other.json")


def test_views_with_detections_are_found(tmp_path):
    openpose(tmp_path / "cam10_json", {"0.json": []})
    openpose(tmp_path / "cam2_json", {"0.json": []})
    (tmp_path / "empty").mkdir()
    (tmp_path / "cam1.json").write_text("[]")
    assert list(discover_detections(tmp_path)) == ["cam1", "cam2_json", "cam10_json"]
    with pytest.raises(MissingFile, match="<view>"):
        discover_detections(tmp_path / "empty")


def test_the_recording_has_a_bystander_in_two_views(shared_data):
    found = discover_detections(shared_data / "pose2sim_balancing" / "openpose" / "balancing")
    people = {name: (read_openpose(path, "body25b").confidence > 0).any(-1).sum(0) for name, path in found.items()}
    assert {name: n.tolist() for name, n in people.items()} == {
        "cam01_json": [100, 100, 1], "cam02_json": [100, 100], "cam03_json": [100], "cam04_json": [100]
    }  # fmt: skip
