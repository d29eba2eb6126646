"""Stages `detect` and `associate`: thin, checked before the first frame, and together from files to one person."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mocap import config, yaml_tree
from mocap.detect.detectors.mediapipe import Mediapipe
from mocap.detect.detectors.replay import Replay
from mocap.errors import ConfigError, DataError, MissingFile
from mocap.geometry.cameras import Camera, Rig
from mocap.skeletons import COCO17
from mocap.stages.associate import Associate
from mocap.stages.detect import Detect
from mocap.take import RunContext, Take, View

FRAMES = 20


def rig():
    cameras = []
    for name, side in (("cam1", -1.0), ("cam2", 1.0)):
        forward = np.array([-side * 2.0, 4.0, 0.0]) / np.hypot(2, 4)
        right = np.cross(forward, [0, 0, 1])
        T = np.eye(4)
        T[:3, :3] = np.stack([right, np.cross(forward, right), forward])
        T[:3, 3] = -T[:3, :3] @ np.array([side * 2.0, -4.0, 1.0])
        K = np.array([[800.0, 0, 640], [0, 800, 360], [0, 0, 1]])
        cameras.append(Camera(name, K, np.zeros(5), T, (1280, 720)))
    return Rig(tuple(cameras))


def standing(times, at):
    """COCO points of somebody who sways."""
    rng = np.random.default_rng(0)
    body = rng.normal(0, 0.1, (17, 3)) + np.array([0, 0, 1.0])
    body[:, 2] += np.linspace(0.7, -0.9, 17)
    return body + at + 0.2 * np.sin(times)[:, None, None] * [1, 0, 0]


@pytest.fixture
def take(tmp_path):
    times = np.arange(FRAMES) / 30
    cameras = rig()
    views = {}
    for camera in cameras:
        folder = tmp_path / "openpose" / f"{camera.name}_json"
        folder.mkdir(parents=True)
        people = [camera.project(standing(times, at))[0] for at in ([0, 0, 0], [0.5, 2.5, 0])]
        for k in range(FRAMES):
            here = people if k % 2 else people[::-1]
            here = here if camera.name == "cam1" else people[:1]
            rows = [np.c_[person[k], np.full(17, 0.7)].ravel().tolist() for person in here]
            (folder / f"{k:06d}.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": r} for r in rows]}))
        views[camera.name] = View(camera.name, tmp_path / "videos" / f"{camera.name}.mp4", times, (1280, 720))
    run = RunContext(output=tmp_path / "out")
    return Take(run=run, timestamps=times, frames=np.arange(FRAMES), rig=cameras, footage=views)


def test_stored_candidates_become_one_person_on_whom_the_views_agree(take, tmp_path):
    detect = Detect(detector=Replay(folder=tmp_path / "openpose"))
    detect.check(take)
    take = Associate()(detect(take.begun("detect", "detect")).begun("associate", "associate"))
    (person,) = take.people
    truth = take.rig["cam1"].project(standing(take.timestamps, [0, 0, 0]))[0]
    np.testing.assert_allclose(person.keypoints2d["cam1"].xy, truth, atol=1e-2)
    assert person.keypoints2d["cam1"].skeleton is COCO17
    facts = [report.facts for report in take.reports]
    assert facts[0]["views"]["cam1"]["most_candidates"] == 2
    assert facts[1]["subject"]["views"]["cam1"]["rejected"] == FRAMES
    json.dumps(facts)


def test_only_frames_around_the_takes_moments_are_looked_at(take, tmp_path):
    detect = Detect(detector=Replay(folder=tmp_path / "openpose"))
    short = take.replace(timestamps=take.timestamps[4:9:2], frames=take.frames[4:9:2])
    found = detect(short.begun("detect", "detect")).detections
    np.testing.assert_allclose(found["cam1"].timestamps, take.timestamps[[4, 6, 8]])


def read(text):
    return config.read_options(Detect, yaml_tree.parse(text, "exp.yml"), 'stage "detect"')


def test_detector_is_written_by_name_with_its_options():
    assert isinstance(Detect().detector, Mediapipe)
    assert isinstance(read("{detector: mediapipe}").detector, Mediapipe)
    made = read("{detector: {replay: {folder: 'openpose/{view}_json', first_frame: 1}}}")
    assert isinstance(made.detector, Replay)
    assert made.detector.first_frame == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "{detector: mediapype}",
            r'exp\.yml:1: .*Did you mean "mediapipe"\? Known: mediapipe, mediapipe_hands, replay',
        ),
        ("{detector: {mediapipe: {folder: x}}}", r"exp\.yml:1: .*folder"),
        ("{detector: {mediapipe: {min_confidence: 2}}}", r"min_confidence must be .*at most 1, not .2"),
        ("{detector: {replay: {format: body26}}}", r'Did you mean "body25"'),
    ],
)
def test_mistakes_are_told_with_what_is_known(text, said):
    with pytest.raises(ConfigError, match=said):
        read(text)


def test_what_is_missing_is_told_before_the_first_frame(take, tmp_path):
    with pytest.raises(MissingFile, match='Stored detections of view "cam1"'):
        Detect(detector=Replay(folder=tmp_path / "elsewhere")).check(take)
    pseudo = {"cam1": View("cam1", tmp_path / "openpose" / "cam1_json", take.timestamps, (1280, 720))}
    with pytest.raises(DataError, match=r'View "cam1" has no footage.*detector: replay'):
        Detect().check(take.replace(footage=pseudo))
