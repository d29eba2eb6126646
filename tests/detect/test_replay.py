"""Stored detections: read by view, aligned with the footage's frames, with what was assumed told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mocap.detect import run, stored
from mocap.detect.detectors.replay import Replay
from mocap.errors import DataError, MissingFile
from mocap.skeletons import BODY25, BODY25B, COCO17
from mocap.take import View

FRAMES = 6


def view(tmp_path, name="cam01", frames=FRAMES):
    return View(name, tmp_path / "videos" / f"{name}.mp4", np.arange(frames) / 30, (1280, 720))


def openpose(folder, numbers, *, people=lambda number: 1, skeleton=BODY25B, name="frame.{:04d}.json"):
    """Person p's point j in frame n is at (100 + n + j, 200 + 40 p + 20 j), a plausible ladder from head to feet."""
    folder.mkdir(parents=True, exist_ok=True)
    height = {
        j: (0 if j in ("nose",) or "eye" in j or "ear" in j else 20 + 10 * k) for k, j in enumerate(COCO17.joints)
    }
    for n in numbers:
        rows = []
        for p in range(people(n)):
            row = []
            for j in skeleton.joints:
                row += [100.0 + n, 200.0 + 40 * p + 2 * height.get(j, 150.0), 0.5]
            rows.append({"pose_keypoints_2d": row})
        (folder / name.format(n)).write_text(json.dumps({"version": 1.3, "people": rows}))


def replayed(detector, *views):
    detector.check({v.name: v for v in views})
    return run.detect_views({v.name: v for v in views}, {v.name: np.arange(v.frames) for v in views}, detector)


def test_people_of_every_frame_come_with_the_views_times(tmp_path):
    openpose(tmp_path / "openpose" / "cam_01_json", range(FRAMES), people=lambda n: n % 3)
    found, facts = replayed(Replay(folder=tmp_path / "openpose"), view(tmp_path))
    detections = found["cam01"]
    assert detections.skeleton is BODY25B
    assert detections.xy.shape == (FRAMES, 2, 25, 2)
    np.testing.assert_array_equal((detections.confidence > 0).any(-1).sum(1), [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(detections.xy[5, :, 0, 0], [105, 105])
    np.testing.assert_allclose(detections.timestamps, np.arange(FRAMES) / 30)
    assert facts["views"]["cam01"]["nobody"] == 2
    assert "taken as body25b" in facts["notes"][0]


@pytest.mark.parametrize("skeleton", [BODY25, BODY25B])
def test_openpose_s_two_sets_of_25_points_are_told_apart(tmp_path, skeleton):
    openpose(tmp_path / "cam01", range(FRAMES), skeleton=skeleton)
    found, _ = replayed(Replay(folder=tmp_path), view(tmp_path))
    assert found["cam01"].skeleton is skeleton


def test_folder_may_be_a_template_and_is_looked_up_beside_the_footage(tmp_path):
    openpose(tmp_path / "openpose" / "of_cam01", range(FRAMES))
    openpose(tmp_path / "openpose" / "of_cam02", range(FRAMES))
    detector = Replay(folder=Path("openpose/of_{view}"), format="body25b")
    found, facts = replayed(detector, view(tmp_path), view(tmp_path, "cam02"))
    assert list(found) == ["cam01", "cam02"]
    assert facts["notes"] == []


@pytest.mark.parametrize(
    ("numbers", "first", "expected"),
    [
        (range(6), None, [0, 1, 2, 3, 4, 5]),
        (range(1, 7), None, [1, 2, 3, 4, 5, 6]),  # runs beyond the footage if it began at 0
        (range(80, 86), None, [80, 81, 82, 83, 84, 85]),
        ([2, 3, 5], None, [None, None, 2, 3, None, 5]),
        ([2, 3, 5], 1, [None, 2, 3, None, 5, None]),
        (range(1, 6), 1, [1, 2, 3, 4, 5, None]),
    ],
)
def test_frames_are_those_of_the_footage(tmp_path, numbers, first, expected):
    openpose(tmp_path / "cam01", numbers)
    found, facts = replayed(Replay(folder=tmp_path, format="body25b", first_frame=first), view(tmp_path))
    got = [None if np.isnan(x) else int(x) - 100 for x in found["cam01"].xy[:, 0, 0, 0]]
    assert got == expected
    assert (len(facts["notes"]) == 1) == (first is None and numbers[0] in (1, 80))


def test_frames_that_may_be_one_off_and_frames_outside_the_footage_are_told(tmp_path):
    openpose(tmp_path / "cam01", range(1, 5))
    _, facts = replayed(Replay(folder=tmp_path, format="body25b"), view(tmp_path))
    assert "first_frame: 1" in facts["notes"][0]
    _, facts = replayed(Replay(folder=tmp_path, format="body25b", first_frame=3), view(tmp_path))
    assert facts["notes"][0].startswith('View "cam01": 2 frames')
    with pytest.raises(DataError, match=r"3 frames and .* numbers them 1 to 4; say with first_frame"):
        replayed(Replay(folder=tmp_path, format="body25b"), view(tmp_path, frames=3))


def test_nan_is_a_missing_point_and_is_told(tmp_path):
    openpose(tmp_path / "cam01", range(FRAMES))
    file = tmp_path / "cam01" / "frame.0003.json"
    file.write_text(file.read_text().replace("103.0", "NaN", 1))
    found, facts = replayed(Replay(folder=tmp_path), view(tmp_path))
    assert found["cam01"].confidence[3, 0, 0] == 0
    assert found["cam01"].confidence[3, 0, 1] == 0.5
    assert any("NaN" in note for note in facts["notes"])


def test_own_files_and_coco_are_read_too(tmp_path):
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 700, (FRAMES, 2, 17, 2)).astype(np.float32)
    confidence = np.full((FRAMES, 2, 17), 0.5, np.float32)
    frames = np.arange(FRAMES)
    own = stored.Stored(COCO17, frames, frames / 30, xy, confidence, frames[:0], "cam01")
    stored.write(tmp_path / "kept" / "cam01.npz", own)
    found, _ = replayed(Replay(folder=tmp_path / "kept"), view(tmp_path))
    np.testing.assert_array_equal(found["cam01"].xy, xy)

    results = [
        {"image_id": n, "keypoints": np.c_[xy[n, p], confidence[n, p]].ravel().tolist(), "score": 0.9}
        for n in range(FRAMES)
        for p in range(2)
    ]
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / "cam01.json").write_text(json.dumps(results))
    found, _ = replayed(Replay(folder=tmp_path / "coco" / "{view}.json"), view(tmp_path))
    np.testing.assert_allclose(found["cam01"].xy, xy, atol=1e-3)


def test_what_stands_for_the_footage_needs_no_folder(tmp_path):
    openpose(tmp_path / "cam01", range(FRAMES))
    pseudo = View("cam01", tmp_path / "cam01", np.arange(FRAMES) / 30, (1280, 720))
    found, _ = replayed(Replay(), pseudo)
    assert len(found["cam01"].xy) == FRAMES
    with pytest.raises(DataError, match="needs `folder`"):
        replayed(Replay(), view(tmp_path))


def test_a_view_without_detections_is_named_with_those_there_are(tmp_path):
    openpose(tmp_path / "openpose" / "left", range(FRAMES))
    with pytest.raises(MissingFile, match=r'view "cam01" not found.*Known: left'):
        Replay(folder=tmp_path / "openpose").check({"cam01": view(tmp_path)})
    with pytest.raises(MissingFile, match='Stored detections of view "cam01" not found: nowhere'):
        Replay(folder=Path("nowhere")).check({"cam01": view(tmp_path)})
