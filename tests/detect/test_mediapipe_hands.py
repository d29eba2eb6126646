"""The detector of hands: sides told as they are in unmirrored pictures, and nearly every frame of a real recording."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mocap.detect import run
from mocap.detect.detectors.mediapipe_hands import MediapipeHands
from mocap.detect.mediapipe_tasks import given
from mocap.detect.task_bundle import HAND, POSE, model_file
from mocap.errors import ModelError, SetupError
from mocap.io.footage import open_view, read_frames
from mocap.skeletons import HANDS42

pytest.importorskip("mediapipe", reason="mediapipe is not installed")


@pytest.fixture(scope="module")
def model():
    try:
        return model_file(HAND)
    except SetupError as error:
        pytest.skip(str(error))


@pytest.fixture
def recording(shared_data, model):
    """A right hand seen by two cameras; how it is held and the writing on the table tell that neither is mirrored."""
    folder = shared_data / "handpose3d_two_view"
    if not folder.is_dir():
        pytest.skip("the recording of a hand is not on this machine")
    return {f"cam{k}": open_view(folder / "media" / f"cam{k}_test.mp4", f"cam{k}") for k in (0, 1)}


def result(*hands):
    """What mediapipe gives for hands of (points as fractions of the image, category index, its name, score)."""
    return SimpleNamespace(
        hand_landmarks=[[SimpleNamespace(x=x, y=y) for x, y in points] for points, *_ in hands],
        handedness=[[SimpleNamespace(index=index, category_name=name, score=score)] for _, index, name, score in hands],
    )


@pytest.mark.parametrize("names", [("Right", "Left"), ("Left", "Right")])
def test_sides_are_told_by_the_place_of_the_category_whatever_the_version_calls_it(names):
    points = np.random.default_rng(0).random((2, 21, 2))
    seen = MediapipeHands().seen(result((points[0], 0, names[0], 0.9), (points[1], 1, names[1], 0.8)), (640, 480))
    np.testing.assert_allclose(seen.xy[:, :21], points * [640, 480] - 0.5)
    np.testing.assert_array_equal(seen.xy[:, :21], seen.xy[:, 21:])
    right, left = HANDS42.index("right_ring_pip"), HANDS42.index("left_thumb_tip")
    np.testing.assert_allclose(seen.confidence[:, right], [0.9, 0.2])
    np.testing.assert_allclose(seen.confidence[:, left], [0.1, 0.8])


def test_a_hand_that_is_surely_a_right_one_is_not_missing_as_a_left_one():
    seen = MediapipeHands().seen(result((np.full((21, 2), 0.5), 0, "Right", 1.0)), (640, 480))
    assert (seen.confidence > 0).all()
    assert seen.confidence[0, 0] < 0.01


def test_no_hand_is_no_candidate():
    seen = MediapipeHands().seen(result(), (640, 480))
    assert seen.xy.shape == (0, 42, 2)
    assert seen.confidence.shape == (0, 42)


def test_real_hand_is_found_and_is_a_right_one_in_both_views(recording, shared_data):
    stored = np.load(shared_data / "handpose3d_two_view" / "mediapipe_hand21_2d.npz")
    indices = np.arange(0, 378, 7)
    found, facts = run.detect_views(recording, dict.fromkeys(recording, indices), MediapipeHands(), workers=2)
    for name, detections in found.items():
        assert detections.skeleton is HANDS42
        there = detections.confidence[:, 0, 21] > 0
        assert there.mean() >= 0.9
        assert facts["views"][name]["most_candidates"] == 1
        assert (detections.confidence[there, 0, 21] > 0.5).mean() > 0.95
        other = stored[name][indices]  # of another version of mediapipe, which saw every frame
        both = there & (other[..., 2] > 0).all(1)
        apart = np.linalg.norm(detections.xy[both, 0, :21] - other[both][..., :2], axis=-1)
        assert np.median(apart) < 5  # px of 720


def test_a_right_hand_beside_its_mirror_image_is_a_right_hand_and_a_left_one(recording, shared_data):
    stored = np.load(shared_data / "handpose3d_two_view" / "mediapipe_hand21_2d.npz")
    side = 360
    with MediapipeHands().opened("IMAGE") as landmarker:
        for name, view in recording.items():
            for index, image in read_frames(view, (20, 100, 200)):
                x, y = np.clip(stored[name][index, :, :2].mean(0) - side / 2, 0, 720 - side).astype(int)
                part = image[y : y + side, x : x + side]
                both = np.concatenate([part, part[:, ::-1]], axis=1)
                seen = MediapipeHands().seen(landmarker.detect(given(both)), (2 * side, side))
                assert len(seen.xy) == 2
                one, other = np.argsort(seen.xy[:, 0, 0])
                assert seen.confidence[one, HANDS42.index("right_hand_wrist")] > 0.8
                assert seen.confidence[other, HANDS42.index("left_hand_wrist")] > 0.8
                mirrored = [2 * side - 1, 0] + seen.xy[one] * [-1, 1]
                assert np.median(np.linalg.norm(mirrored - seen.xy[other], axis=-1)) < 12  # px, of a hand of 200


def test_key_names_model_and_settings(model):
    key = MediapipeHands().key()
    assert MediapipeHands(max_hands=2).key() != key
    assert MediapipeHands(min_confidence=0.4).key() != key
    assert MediapipeHands(model_path=model).key() == key


def test_the_poses_bundle_is_refused_for_hands_and_who_named_it_is_said(model, monkeypatch):
    pose = model_file(POSE)
    with pytest.raises(ModelError, match=r"\.task is not a hand landmarker bundle"):
        MediapipeHands(model_path=pose).check({})
    monkeypatch.setenv("MOCAP_HAND_MODEL", str(pose))
    with pytest.raises(ModelError, match=r"environment variable MOCAP_HAND_MODEL\) is not a hand landmarker bundle"):
        MediapipeHands().check({})
