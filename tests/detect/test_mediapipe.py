"""The mediapipe detector; what needs its model skips with the reason where the model cannot be had."""

from __future__ import annotations

import importlib.metadata
import sys
import zipfile

import numpy as np
import pytest

from mocap.detect import run
from mocap.detect.detectors.mediapipe import Mediapipe
from mocap.detect.mediapipe_tasks import milliseconds
from mocap.detect.task_bundle import POSE, model_file
from mocap.errors import ModelError, SetupError
from mocap.io.footage import open_view
from mocap.io.stored_detections import read_openpose
from mocap.skeletons import MEDIAPIPE33

pytest.importorskip("mediapipe", reason="mediapipe is not installed")


@pytest.fixture(scope="module")
def model():
    try:
        return model_file(POSE)
    except SetupError as error:
        pytest.skip(str(error))


def test_milliseconds_are_whole_and_strictly_increasing_and_follow_the_real_times():
    times = np.array([5.0, 5.0001, 5.0002, 5.1, 5.1004, 7.0])
    np.testing.assert_array_equal(milliseconds(times), [0, 1, 2, 100, 101, 2000])
    regular = np.arange(1000) / 59.94
    assert np.abs(milliseconds(regular) - 1000 * regular).max() <= 0.5
    assert milliseconds(np.zeros(0)).shape == (0,)


def test_real_video_is_detected_in_workers_where_another_detector_sees_the_man(model, shared_data):
    folder = shared_data / "pose2sim_balancing"
    # rows of cam01's frames, 1080 px wide, are padded by the decoder; those of cam03, 1088 px, are not
    footage = {name: open_view(folder / "videos" / f"{name}.mp4", name) for name in ("cam01", "cam03")}
    indices = np.arange(20, 24)
    found, facts = run.detect_views(footage, dict.fromkeys(footage, indices), Mediapipe(), workers=2)
    joints = [f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "knee", "ankle", "wrist")]
    for name, detections in found.items():
        assert detections.skeleton is MEDIAPIPE33
        assert facts["views"][name]["nobody"] == 0
        other = read_openpose(folder / "openpose" / "balancing" / f"{name}_json", "body25b")
        ours = detections.xy[:, :1, MEDIAPIPE33.indices(joints)]
        theirs = other.xy[indices][:, :, other.skeleton.indices(joints)]
        apart = np.linalg.norm(ours - theirs, axis=-1)
        apart = np.median(np.where(np.isfinite(apart), apart, 1e4), axis=-1).min(axis=1)  # to the nearer of two people
        assert np.median(apart) < 25  # px, of a man 700 px tall


def test_key_names_version_model_and_settings(model):
    key = Mediapipe().key()
    assert importlib.metadata.version("mediapipe") in key
    assert Mediapipe(max_people=3).key() != key
    assert Mediapipe(min_confidence=0.4).key() != key
    assert Mediapipe(model_path=model).key() == key


def test_a_bundle_of_something_else_is_refused_before_any_frame(tmp_path):
    other = tmp_path / "other.task"
    with zipfile.ZipFile(other, "w") as bundle:
        bundle.writestr("readme", "nothing")
    with pytest.raises(ModelError, match=r"other\.task is not a pose landmarker bundle"):
        Mediapipe(model_path=other).check({})


def test_missing_system_libraries_are_told_with_the_packages_that_have_them(model, monkeypatch):
    from mediapipe.tasks.python import vision

    def unloadable(options):
        raise OSError("libEGL.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(vision.PoseLandmarker, "create_from_options", unloadable)
    with pytest.raises(SetupError, match=r"libEGL\.so\.1.*libegl1 libgles2"):
        Mediapipe().check({})


def test_missing_package_is_told(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe.tasks.python", None)
    with pytest.raises(SetupError, match="mediapipe"):
        Mediapipe(model_path=model).check({})
