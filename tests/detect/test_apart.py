"""Who is who in unrelated pictures: one person each, the largest and surest; and pictures shared out for detection."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mocap.detect import run
from mocap.detect.associate import associate_apart, prominence
from mocap.detect.detectors.base import Detector, Seen
from mocap.detect.detectors.mediapipe import Mediapipe
from mocap.detect.task_bundle import POSE, model_file
from mocap.errors import DataError, SetupError
from mocap.geometry.cameras import Rig, level_camera
from mocap.io.footage import read_frames
from mocap.io.lsp import read_joints
from mocap.io.pictures import find_pictures, open_pictures
from mocap.options import options
from mocap.skeletons import COCO17, LSP14, MEDIAPIPE33
from mocap.stages.associate import Associate
from mocap.stages.detect import Detect
from mocap.stages.load_body_model import LoadBodyModel
from mocap.take import Detections, RunContext, Take


def somebody(scale: float, confidence: float = 0.9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """xy (17, 2) and confidence (17) of a person `scale` px large."""
    return 100 + scale * np.random.default_rng(seed).uniform(size=(17, 2)), np.full(17, confidence)


def picture(*people: tuple[np.ndarray, np.ndarray]) -> Detections:
    xy = np.array([p[0] for p in people]).reshape(1, len(people), 17, 2)
    return Detections.of(COCO17, np.zeros(1), xy, np.array([p[1] for p in people]).reshape(1, len(people), 17))


def test_of_several_the_largest_and_surest_is_taken_and_each_person_is_in_one_picture():
    small, large, unsure = somebody(50), somebody(300), somebody(400, 0.1)
    found = associate_apart({"a": picture(small, large, unsure), "b": picture(small)})
    assert [list(person) for person in found.people] == [["a"], ["b"]]
    np.testing.assert_array_equal(found.people[0]["a"].xy[0], large[0])
    np.testing.assert_array_equal(found.people[1]["b"].xy[0], small[0])
    assert found.facts == {"pictures": 2, "people": 2, "several": 1, "warnings": []}


def test_prominence_is_size_times_mean_confidence():
    xy = np.array([[[0.0, 0.0], [3.0, 4.0], [np.nan, np.nan]]])
    assert prominence(xy, np.array([[0.5, 1.0, 0.0]])) == pytest.approx([5 * 0.5])
    assert prominence(np.full((1, 3, 2), np.nan), np.zeros((1, 3))).tolist() == [0.0]


def test_who_shows_too_little_yields_to_who_shows_enough():
    half, whole = somebody(300), somebody(60)
    half[1][5:13] = 0  # head and legs of somebody near
    found = associate_apart({"a": picture(half, whole)})
    np.testing.assert_array_equal(found.people[0]["a"].xy[0], whole[0])


def test_pictures_without_anybody_and_with_too_little_are_named_and_the_others_go_on():
    legs = somebody(200)
    legs[1][:11] = 0
    found = associate_apart({"none": picture(), "good": picture(somebody(100)), "legs": picture(legs)})
    assert [list(person) for person in found.people] == [["good"]]
    nobody, little = found.facts["warnings"]
    assert "1 of 3 pictures: none." in nobody
    assert "1 of 3 pictures" in little and "legs" in little
    with pytest.raises(DataError, match=r"nobody to fit a body to.*none"):
        associate_apart({"none": picture()})


# ---------------------------------------------------------------------------------------------------------------------
# detection of many pictures


@options
class Counting(Detector):
    """Sees one person at the picture's brightness; writes down each time it begins."""

    log: Path

    def skeleton(self, view):
        return COCO17

    def key(self):
        return "counting"

    def check(self, footage):
        raise AssertionError("not to be asked")

    def detect_view(self, view, indices):
        raise AssertionError("pictures are not videos")
        yield

    def detect_pictures(self, views):
        with self.log.open("a") as log:
            log.write(f"{len(views)}\n")
        for view in views:
            for _, image in read_frames(view):
                yield None if image is None else Seen(np.full((1, 17, 2), image.mean()), np.ones((1, 17)))


@pytest.fixture
def views(tmp_path):
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"im{i}.png"), np.full((20 + i, 30, 3), 10 * (i + 1), np.uint8))
    return open_pictures(find_pictures(tmp_path))[0]


def every(views):
    return {name: np.zeros(1, dtype=np.int64) for name in views}


def test_pictures_are_shared_out_begun_once_a_process_and_kept_by_their_content(views, tmp_path):
    detector = Counting(log=tmp_path / "log")
    found, facts = run.detect_views(views, every(views), detector, workers=2, cache=tmp_path / "cache")
    assert [found[f"im{i}"].xy[0, 0, 0, 0] for i in range(5)] == [10, 20, 30, 40, 50]
    began = sorted(detector.log.read_text().split())
    assert sum(map(int, began)) == 5 and len(began) <= 2
    assert facts["warnings"] == []

    cv2.imwrite(str(tmp_path / "im3.png"), np.full((23, 30, 3), 99, np.uint8))
    detector.log.unlink()
    found, _ = run.detect_views(views, every(views), detector, workers=2, cache=tmp_path / "cache")
    assert [found[f"im{i}"].xy[0, 0, 0, 0] for i in range(5)] == [10, 20, 30, 99, 50]
    assert detector.log.read_text().split() == ["1"]


def test_a_picture_that_cannot_be_decoded_is_named_and_the_others_are_detected(views, tmp_path):
    whole = (tmp_path / "im2.png").read_bytes()
    (tmp_path / "im2.png").write_bytes(whole[:45])  # the head is whole
    found, facts = run.detect_views(views, every(views), Counting(log=tmp_path / "log"), workers=1)
    assert facts["warnings"] == ["1 of 5 pictures cannot be read: im2."]
    assert found["im2"].xy.shape == (1, 0, 17, 2)
    assert found["im4"].xy[0, 0, 0, 0] == 50


def take_of(views, tmp_path, **changes):
    given = {name: picture(somebody(20, seed=i)) for i, name in enumerate(views)}
    rig = Rig(tuple(level_camera(name, 5000.0, view.size) for name, view in views.items()))
    run_of = RunContext(tmp_path)
    return Take(run_of, np.zeros(1), np.zeros(1, int), rig=rig, footage=views, detections=given, apart=True, **changes)


def test_detections_that_come_with_the_dataset_are_left_as_they_are_and_nothing_is_loaded(views, tmp_path):
    take = take_of(views, tmp_path)
    stage = Detect(detector=Counting(log=tmp_path / "log"))
    stage.check(take)
    after = stage(take.begun("detect", "detect"))
    assert after.detections is take.detections
    assert "come with the dataset" in after.reports[-1].facts["notes"][0]
    after = Associate()(after.begun("associate", "associate"))
    assert [list(p.keypoints2d) for p in after.people] == [[name] for name in views]
    with pytest.raises(DataError, match="people: 1"):
        Associate(people=2).check(take)


def test_everybody_is_given_the_body_of_the_gender_the_dataset_says(views, tmp_path):
    take = take_of(views, tmp_path, genders={"im0": "male", "im1": "female", "im3": "male"})
    take = Associate()(take.begun("associate", "associate")).begun("load_body_model", "load_body_model")
    stage = LoadBodyModel(gender="neutral")
    stage.check(take)
    after = stage(take)
    assert [p.body.gender for p in after.people] == ["male", "female", "neutral", "male", "neutral"]
    assert after.people[0].body is after.people[3].body
    facts = after.reports[-1].facts
    assert facts["genders"] == {"male": 2, "female": 1, "neutral": 2} and facts["warnings"] == []


def test_mediapipe_sees_the_people_of_the_example_where_they_are(repository):
    try:
        model_file(POSE)
    except SetupError as error:
        pytest.skip(str(error))
    root = repository / "data" / "examples" / "lsp"
    pictures = open_pictures(find_pictures(root))[0]
    found, _ = run.detect_views(pictures, every(pictures), Mediapipe(), workers=2)
    truth = read_joints(root / "est_joints.npz")
    joints = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "left_knee", "right_knee")
    apart = []
    for row, seen in enumerate(found.values()):
        if seen.xy.shape[1]:
            away = seen.xy[0, :, MEDIAPIPE33.indices(joints)] - truth.xy[row, LSP14.indices(joints)][:, None]
            apart.append(np.linalg.norm(away, axis=-1).mean(0).min())
    assert len(apart) >= 0.75 * len(found)
    assert np.median(apart) < 15  # px, of people some 200 px tall
