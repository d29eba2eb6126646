"""Stage `detect_hands`: from people with bodies in 2D to people with hands, by a landmarker that sees coloured dots."""

from __future__ import annotations

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from standing import body

from mocap.detect import run
from mocap.detect.at_wrists import AtWrists, add_hands
from mocap.detect.detectors.mediapipe import Mediapipe
from mocap.detect.detectors.mediapipe_hands import MediapipeHands
from mocap.detect.task_bundle import HAND, POSE, model_file
from mocap.detect.wrists import in_view
from mocap.errors import DataError, SetupError
from mocap.io.footage import open_view
from mocap.io.stored_detections import read_openpose
from mocap.options import options
from mocap.skeletons import COCO17, MEDIAPIPE33, MEDIAPIPE75
from mocap.stages.detect_hands import DetectHands
from mocap.take import Keypoints2D, Person, RunContext, Take, View

pytest.importorskip("mediapipe", reason="mediapipe is not installed")
FRAMES = 6
WRIST, TIP = (255, 0, 0), (0, 255, 0)
ALONG = np.linspace(0, 1, 21)[:, None]


def dots(image, colour):
    """Where there are blobs of a colour."""
    mask = (np.abs(image.astype(int) - colour).max(-1) < 100).astype(np.uint8)
    return cv2.connectedComponentsWithStats(mask)[3][1:]


class SeesDots:
    """Takes a red dot and the green one nearest to it for a right hand's wrist and the tip of its little finger."""

    def __init__(self, most):
        self.most = most

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def detect(self, image):
        picture = image.numpy_view()
        tips = dots(picture, TIP)
        found = []
        for wrist in dots(picture, WRIST)[: self.most] if len(tips) else ():
            tip = tips[np.linalg.norm(tips - wrist, axis=1).argmin()]
            points = ((wrist + ALONG * (tip - wrist)) + 0.5) / picture.shape[0]
            found.append([SimpleNamespace(x=x, y=y) for x, y in points])
        sides = [[SimpleNamespace(index=0, score=0.75)] for _ in found]
        return SimpleNamespace(hand_landmarks=found, handedness=sides)

    def detect_for_video(self, image, moment):
        return self.detect(image)


@options
class Fake(MediapipeHands):
    def key(self):
        return "dots"

    def check(self, footage):
        pass

    def opened(self, mode):
        return SeesDots(self.max_hands)


@pytest.fixture
def hands_are_dots(monkeypatch):
    monkeypatch.setattr(DetectHands, "_detector", lambda self: Fake(min_confidence=self.min_confidence))


def people_in(times, *, size=60.0):
    """Two people side by side who sway, and where their hands end."""
    made = []
    for across in (-150.0, 450.0):
        xy, confidence = body(len(times), size=size)
        xy += np.stack([across + 40 * np.sin(3 * times), np.zeros(len(times))], axis=-1)[:, None]
        made.append(Keypoints2D.of(MEDIAPIPE33, times, xy, confidence))
    return made


def hand_ends(seen):
    wrists = seen.xy[:, MEDIAPIPE33.indices(("left_wrist", "right_wrist"))]
    return wrists + [4.0, 3.0], wrists + [14.0, 50.0]


@pytest.fixture
def take(tmp_path):
    times = np.arange(FRAMES) / 30
    people = people_in(times)
    views = {}
    for name in ("a", "b"):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for k in range(FRAMES):
            image = np.zeros((720, 1280, 3), np.uint8)
            for n, seen in enumerate(people):
                for side in (0, 1):
                    if (name, n, side) == ("b", 1, 0) and k > 0:
                        continue  # a hand that is seen once
                    for end, colour in zip(hand_ends(seen), (WRIST, TIP), strict=True):
                        at = tuple(round(v * 16) for v in end[k, side])
                        cv2.circle(image, at, 4 * 16, colour[::-1], -1, cv2.LINE_AA, shift=4)
            cv2.imwrite(str(folder / f"{k:06d}.png"), image)
        views[name] = open_view(folder, name, fps=30)
    people = tuple(Person(keypoints2d={"a": seen, "b": seen}) for seen in people)
    context = RunContext(output=tmp_path / "out", workers=2)
    return Take(run=context, timestamps=times, frames=np.arange(FRAMES), footage=views, people=people)


def test_hands_of_all_people_stand_where_they_are_in_every_view(take, hands_are_dots, monkeypatch):
    stage = DetectHands()
    monkeypatch.setattr(run, "check", lambda detector, footage: detector.check(footage))  # without a process for it
    stage.check(take)
    after = stage(take.begun("detect_hands", "detect_hands"))
    for n, person in enumerate(after.people):
        before = take.people[n].keypoints2d["a"]
        starts, ends = hand_ends(before)
        for name, seen in person.keypoints2d.items():
            assert seen.skeleton is MEDIAPIPE75
            np.testing.assert_array_equal(seen.xy[:, :33], before.xy)
            for s, side in enumerate(("left", "right")):
                frames = slice(0, 1) if (name, n, side) == ("b", 1, "left") else slice(None)
                wrist, tip = MEDIAPIPE75.indices((f"{side}_hand_wrist", f"{side}_pinky_tip"))
                np.testing.assert_allclose(seen.xy[frames, wrist], starts[frames, s], atol=0.5)
                np.testing.assert_allclose(seen.xy[frames, tip], ends[frames, s], atol=0.5)
                expected = 0.75 if side == "right" else 0.3  # every hand of this landmarker looks like a right one
                np.testing.assert_allclose(seen.confidence[frames, [wrist]], expected)
    seen = after.people[1].keypoints2d["b"]
    assert not seen.confidence[1:, MEDIAPIPE75.index("left_hand_wrist")].any()

    facts = after.reports[-1].facts
    json.dumps(facts)
    assert facts["views"]["a"]["asked"] == facts["views"]["a"]["found"] == {"left": 2 * FRAMES, "right": 2 * FRAMES}
    assert facts["views"]["b"]["found"] == {"left": FRAMES + 1, "right": 2 * FRAMES}
    (warning,) = facts["warnings"]
    assert warning.startswith('View "b": person 1\'s left hand is found in 1 of the 6 frames')

    again = stage(take.begun("detect_hands", "detect_hands"))
    assert [view["frames_cached"] for view in again.reports[-1].facts["views"].values()] == [FRAMES, FRAMES]
    for a, b in zip(after.people, again.people, strict=True):
        np.testing.assert_array_equal(a.keypoints2d["b"].xy, b.keypoints2d["b"].xy)


def test_a_view_is_looked_at_anew_when_its_wrists_are_elsewhere_and_only_then(take):
    view, times = take.footage["a"], take.timestamps
    people = people_in(times)

    def key(people):
        here = in_view(view, people, least=0.3)
        detector = AtWrists(Fake(), {"a": here.places}, {"a": here.hands})
        return run._key(run._settings(detector) + detector.key_of(view), view, here.places)

    assert key(people) == key(people_in(times))
    assert key(people) != key(people[:1])
    people[0].xy[2, MEDIAPIPE33.index("left_wrist")] += 1.0
    assert key(people) != key(people_in(times))


def test_a_detection_that_was_stopped_looks_where_it_would_have_looked(take):
    view = take.footage["a"]
    here = in_view(view, [person.keypoints2d["a"] for person in take.people], least=0.3)
    detector = AtWrists(Fake(), {"a": here.places}, {"a": here.hands})
    whole = [seen.xy for _, seen in detector.detect_view(view, here.places)]
    rest = [seen.xy for _, seen in detector.detect_view(view, here.places[3:])]
    for a, b in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(a, b)
        assert len(a) == 4


def test_frames_without_a_wrist_are_not_read(take):
    view = take.footage["a"]
    seen = people_in(take.timestamps)[0]
    hidden = seen.confidence.copy()
    hidden[2:4, MEDIAPIPE33.indices(("left_wrist", "right_wrist"))] = 0.1
    here = in_view(view, [Keypoints2D.of(MEDIAPIPE33, seen.timestamps, seen.xy, hidden)], least=0.3)
    for k in (2, 3, 5):
        view.files[k].write_bytes(b"no picture")
    detector = AtWrists(Fake(), {"a": here.places}, {"a": here.hands})
    found = [None if seen is None else len(seen.xy) for _, seen in detector.detect_view(view, here.places)]
    assert found == [2, 2, 0, 0, 2, None]


def test_unrelated_pictures_have_hands_too(take):
    single = {}
    for name, view in take.footage.items():
        for file in view.files[1:]:
            file.unlink()
        single[name] = open_view(view.path, name, fps=30)
    people = [{name: seen} for name, seen in zip(single, people_in(np.zeros(1)), strict=True)]
    made, facts = add_hands(single, people, Fake(), least=0.3)
    for person, name in zip(made, single, strict=True):
        assert list(person) == [name]
        starts, _ = hand_ends(people[list(single).index(name)][name])
        wrists = person[name].xy[:, MEDIAPIPE75.indices(("left_hand_wrist", "right_hand_wrist"))]
        np.testing.assert_allclose(wrists, starts, atol=0.5)
    assert not facts["warnings"]


def test_bodies_of_another_set_and_takes_without_pixels_are_refused(take, tmp_path, hands_are_dots):
    times = take.timestamps
    coco = Keypoints2D.of(COCO17, times, np.zeros((FRAMES, 17, 2)), np.ones((FRAMES, 17)))
    with pytest.raises(DataError, match=r"bodies of mediapipe33 .*and these are of coco17"):
        DetectHands()(take.replace(people=(Person(keypoints2d={"a": coco}),)))
    stored = {"a": View("a", tmp_path / "a_json", times, (1280, 720))}
    with pytest.raises(DataError, match=r'View "a" has no footage.*detect_hands reads; leave that stage out'):
        DetectHands().check(take.replace(footage=stored))


def test_hands_of_a_real_man_are_found_where_another_detector_sees_his_wrists(shared_data):
    try:
        model_file(HAND), model_file(POSE)
    except SetupError as error:
        pytest.skip(str(error))
    folder = shared_data / "pose2sim_balancing"
    footage = {"cam04": open_view(folder / "videos" / "cam04.mp4", "cam04")}
    indices = np.arange(0, 60, 6)
    found, _ = run.detect_views(footage, {"cam04": indices}, Mediapipe())
    bodies = found["cam04"]
    person = Keypoints2D.of(MEDIAPIPE33, bodies.timestamps, bodies.xy[:, 0], bodies.confidence[:, 0])
    (made,), _ = add_hands(footage, [{"cam04": person}], MediapipeHands(min_confidence=0.3), least=0.3)
    hands = made["cam04"]
    other = read_openpose(folder / "openpose" / "balancing" / "cam04_json", "body25b")
    for side in ("left", "right"):
        here = hands.confidence[:, MEDIAPIPE75.index(f"{side}_hand_wrist")] > 0
        assert here.mean() > 0.6
        theirs = other.xy[indices][:, :, other.skeleton.index(f"{side}_wrist")]
        away = np.linalg.norm(hands.xy[:, [MEDIAPIPE75.index(f"{side}_hand_wrist")]] - theirs, axis=-1)
        assert np.median(np.fmin.reduce(away, axis=1)[here]) < 40  # px, of hands 110 px long
