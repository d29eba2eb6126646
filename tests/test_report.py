"""The page of a run: its numbers are those of the take, and what users' files are called harms nobody."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
import walker
from report_takes import HOSTILE, finished_take, hand_take

from mocap import quality
from mocap.bodies.load import load_body
from mocap.errors import BadFile, MissingFile
from mocap.io.calibration import write_calibration
from mocap.io.names import file_names
from mocap.io.results import result_of, write_report, write_result_npz
from mocap.report import facts, page
from mocap.skeletons import BODY25, HANDS42, MEDIAPIPE33, MEDIAPIPE75
from mocap.take import Keypoints2D, Keypoints3D, Motion, Person, Report

VENDORED = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "LICENSE.uPlot": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}
"""uPlot 1.6.32, MIT."""


def person_of(take) -> facts.About:
    (person,) = take.people
    return facts.of_person(result_of(take, person)[0], person.keypoints2d, take.rig)


def text_of(take) -> str:
    take.run.output.mkdir(exist_ok=True)
    return page.write(take).read_text(encoding="utf-8")


def test_a_camera_that_was_moved_is_told_with_its_frame_and_pixels(tmp_path):
    take = finished_take(tmp_path, frames=300, moved=200, shift=40.0)
    (warned,) = person_of(take).warned
    told = re.fullmatch(
        r"Camera cam_4 disagrees with the others by (\d+) px from frame (\d+) \(usual: 1 px\)\.", warned.text
    )
    assert told is not None, warned.text
    assert abs(int(told[1]) - 40) <= 2
    assert abs(int(told[2]) - 200) <= 8
    assert "moved" in warned.do
    assert "A camera does not agree with the rest" in text_of(take)


def test_a_take_in_which_nothing_was_moved_has_no_such_warning(tmp_path):
    assert person_of(finished_take(tmp_path, frames=300)).warned == ()


def test_the_curves_are_the_errors_of_the_take(tmp_path):
    take = finished_take(tmp_path)
    person = take.people[0]
    curves = person_of(take).curves[0]
    own = quality.reprojection_errors(
        take.rig, take.timestamps, person.keypoints2d, person.keypoints3d.xyz, person.keypoints3d.skeleton
    )
    for view, errors in own.items():
        assert curves.series[view] == pytest.approx(np.nanmedian(errors, axis=1))
    judged = {j.name: j for j in person_of(take).judged}
    pixels = np.concatenate([np.nanmedian(e, axis=1) for e in own.values()])
    assert judged["Agreement with the cameras"].value == pytest.approx(np.median(pixels))
    assert judged["Error bars"].value == pytest.approx(6.0, rel=1e-6)
    assert judged["Body joints found"].value == pytest.approx(100 * quality.of_take(take)[0]["body_joints_found"])
    assert judged["Jitter"].value == pytest.approx(quality.of_take(take)[0]["jitter"])


def test_lights_turn_at_their_thresholds():
    down = [facts.Judged("x", v, "", 1.0, 2.0, "").light for v in (1.0, 1.1, 2.0, 2.1, None)]
    up = [facts.Judged("x", v, "", 95.0, 80.0, "").light for v in (95.0, 94.0, 80.0, 79.0)]
    assert down == ["good", "fair", "fair", "poor", None]
    assert up == ["good", "fair", "fair", "poor"]


def test_buckets_keep_the_smallest_and_largest_value():
    values = np.sin(np.arange(1003))
    values[500] = 9.0
    values[10:20] = np.nan
    kept = facts.decimated(values, 10)
    assert len(kept) == 2 * 101
    assert np.nanmax(kept) == 9.0
    assert np.isnan(kept[2:4]).all()
    assert kept[4:6].tolist() == [values[20:30].min(), values[20:30].max()]


def test_a_long_take_makes_a_small_page_that_says_how_it_is_drawn(tmp_path):
    take = finished_take(tmp_path / "out", frames=3000, rig=walker.ring(4))
    text = text_of(take)
    assert len(text) < 1_500_000
    assert "each 5 frames" in text


def test_names_from_files_are_escaped_everywhere(tmp_path):
    text = text_of(finished_take(tmp_path / "out"))
    assert HOSTILE not in text
    assert "<img src=x" not in text
    assert "a &amp; b" in text
    numbers = re.search(r'<script type="application/json" id="numbers">(.*?)</script>', text, re.DOTALL)
    assert numbers is not None
    assert HOSTILE in [one["name"] for one in json.loads(numbers[1])[0]["series"]]


def test_nothing_on_the_page_is_elsewhere(tmp_path):
    text = text_of(finished_take(tmp_path / "out"))
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert "connect-src" not in text
    assert "default-src 'none'" in text


def test_it_is_made_again_from_the_folder_of_a_finished_run(tmp_path):
    take = finished_take(tmp_path, rig=walker.ring(4))
    result, _ = result_of(take, take.people[0])
    write_result_npz(tmp_path / "result.npz", result)
    write_calibration(take.rig, tmp_path)
    write_report(take, complete=True)
    first = page.write(take).read_text(encoding="utf-8")
    again = page.rewrite(tmp_path).read_text(encoding="utf-8")
    assert "Error bars" in again
    # without checkpoints nobody knows what the cameras saw
    assert "Reprojection of the 3D points" in first
    assert "Reprojection of the 3D points" not in again


def test_a_folder_without_a_finished_run_is_refused(tmp_path):
    with pytest.raises(MissingFile, match=r"report\.json"):
        page.rewrite(tmp_path)
    write_report(finished_take(tmp_path), complete=False)
    with pytest.raises(BadFile, match="did not come to its end"):
        page.rewrite(tmp_path)


def test_a_run_that_found_nobody_has_a_page_too(tmp_path):
    take = replace(finished_take(tmp_path / "out"), people=(), reports=(Report("dataset", "dataset"),))
    assert "Not judged" in text_of(take)


def test_one_camera_has_its_curve_and_how_often_each_joint_was_seen(tmp_path):
    take = finished_take(tmp_path / "out", frames=20, rig=walker.ring(1))
    motion = Motion(np.zeros((20, 3)), np.zeros((20, 3)), np.zeros((20, 23, 3)))
    seen = dict(take.people[0].keypoints2d)
    (view,) = seen
    confidence = seen[view].confidence.copy()
    confidence[:5, 0] = 0
    seen[view] = Keypoints2D.of(BODY25, seen[view].timestamps, seen[view].xy, confidence)
    person = Person(seen, None, load_body("embedded"), np.zeros(10), motion)
    about = person_of(take.replace(people=(person,)))
    assert about.curves[0].title == "Reprojection of the fitted body"
    assert about.joints[0][:2] == (BODY25.joints[0], 0.75)
    assert about.limbs == ()


def pictures_report(names: tuple[str, ...]) -> tuple[Report, ...]:
    fits = [
        {"view": n, "cost": 100.0 + i, "cost_of_other_way": 100.1 + 50 * i, "half_turned": bool(i), "converged": True}
        for i, n in enumerate(names)
    ]
    told = [{"picture": n, "reprojection_fit_px": {n: 2.0 + i}} for i, n in enumerate(names)]
    return (
        Report("dataset", "dataset", {"pictures": len(names)}),
        Report("smplify", "smplify", {"people": fits}),
        Report("quality", "quality", {"people": told}),
    )


def test_pictures_are_told_with_cost_pixels_and_way_the_least_well_fitted_first(tmp_path):
    names = ("first", HOSTILE)
    (tmp_path / "render").mkdir()
    drawn = tmp_path / "render" / f"overlay_{file_names(names)['first']}.png"
    cv2.imwrite(str(drawn), np.full((60, 900, 3), 127, np.uint8))
    about = facts.of_run(pictures_report(names), 1, 30.0, names, [], None)
    text = page.write_page(tmp_path, about).read_text(encoding="utf-8")
    assert [p.name for p in about.pictures] == [HOSTILE, "first"]
    assert [p.undecided for p in about.pictures] == [False, True]
    assert "2 of 2 pictures fitted" in text
    assert "1 may as well be turned half round" in text
    assert "2.0 px, cost 100.0" in text
    assert text.count("data:image/jpeg;base64,") == 1
    assert HOSTILE not in text


def test_what_is_vendored_is_what_was_published(repository):
    for name, digest in VENDORED.items():
        assert hashlib.sha256((repository / "mocap" / "report" / name).read_bytes()).hexdigest() == digest
    assert "v1.6.32" in (repository / "mocap" / "report" / "uPlot.iife.min.js").read_text()[:100]


def flat(frames: int, px: float, seed: int) -> np.ndarray:
    return px * (1 + 0.3 * np.random.default_rng(seed).normal(size=frames))


SIDES = {"a": 1000.0, "b": 1000.0, "c": 2000.0}


def test_a_camera_put_back_again_is_told_with_both_ends():
    errors = {"a": flat(400, 3, 0), "b": flat(400, 3, 1), "c": flat(400, 6, 2)}
    errors["c"][120:240] = 60
    (found,) = quality.disagreements(errors, SIDES)
    assert found.view == "c"
    assert abs(found.start - 120) <= 7
    assert abs(found.stop - 240) <= 7
    assert found.px == pytest.approx(60, rel=0.05)


def test_a_camera_that_never_agreed_is_told_from_the_first_frame_to_the_last():
    errors = {"a": flat(100, 3, 0), "b": flat(100, 3, 1), "c": flat(100, 200, 2)}
    (found,) = quality.disagreements(errors, SIDES)
    assert (found.view, found.start, found.stop) == ("c", 0, 100)


def test_cameras_that_are_pulled_along_are_not_blamed():
    errors = {"a": flat(300, 3, 0), "b": flat(300, 3, 1), "c": flat(300, 6, 2)}
    errors["a"][150:] = 80
    errors["b"][150:] = 25
    assert [d.view for d in quality.disagreements(errors, SIDES)] == ["a"]


def test_a_moment_of_trouble_is_no_moved_camera():
    errors = {"a": flat(300, 3, 0), "b": flat(300, 3, 1), "c": flat(300, 6, 2)}
    errors["a"][150:156] = 300
    errors["b"][50:] = np.nan
    assert quality.disagreements(errors, SIDES) == []


@pytest.mark.parametrize("views", [{}, {"a": np.full(20, np.nan)}, {"a": np.array([3.0])}])
def test_too_little_to_judge_is_not_judged(views):
    assert quality.disagreements(views, {"a": 1000.0}) == []


def test_hands_have_words_and_limits_of_their_own(tmp_path):
    take = hand_take(tmp_path / "out", "right", "left")
    text = text_of(take)
    shown = re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]+>", " ", text, flags=re.S)
    assert shown.index("Right hand") < shown.index("Left hand: over time") and "Person 0" not in shown
    for word in ("body", "feet", "foot", "hips", "knees", "Walking"):
        assert word not in shown.replace("somebody", "").replace("nobody", ""), word
    first = facts.of_person(result_of(take, take.people[0])[0], take.people[0].keypoints2d, take.rig)
    judged = {one.name: one for one in first.judged}
    assert judged["The hand follows the points to"].value == pytest.approx(1.6, abs=0.2)
    limits = {"The hand follows the points to": 6, "Error bars": 6, "Bone lengths vary by": 3}
    assert {name: judged[name].good for name in limits} == limits
    assert judged["Error bars"].value == pytest.approx(2.0)
    assert judged["Points of the hand found"].value == 100
    assert {name for name, *_ in first.joints} >= {"right_thumb_tip", "right_wrist", "right_index1"}
    assert any("right_wrist" not in name and "right_hand_wrist to" in name for name, *_ in first.limbs)


def test_hands_of_one_side_are_told_apart(tmp_path):
    text = text_of(hand_take(tmp_path / "out", "right", "right", "left"))
    for title in ("Right hand (person 0)", "Right hand (person 1)", "<h3>Left hand</h3>"):
        assert title in text


def test_of_each_hand_it_is_told_what_its_cameras_lost(tmp_path):
    text = text_of(hand_take(tmp_path / "out", "left", "right"))
    _, _, cameras = text.partition("<h2>Cameras</h2>")
    assert re.findall(r"<h3>(\w+ hand)</h3>", cameras) == ["Left hand", "Right hand"]
    for told in (
        "Camera cam_1: in 7 frames no hand it sees is where the other cameras put the right hand.",
        "Camera cam_1: the track of the left hand broke off 1 time.",
        "Camera cam_2, the right hand: 21 of 840 points (2.5 %) dropped",
    ):
        assert told in cameras
    alone = text_of(hand_take(tmp_path / "one", "left"))
    assert "no hand it sees is where the other cameras put the left hand." in alone and "the person" not in alone


def test_a_body_with_hands_is_judged_as_a_body_is_and_its_hands_apart(tmp_path):
    frames, rng = 30, np.random.default_rng(2)
    take = hand_take(tmp_path, "right", frames=frames)
    n = len(MEDIAPIPE75)
    whole = 0.3 * rng.normal(size=n * 3).reshape(n, 3) + np.cumsum(0.002 * rng.normal(size=(frames, n, 3)), axis=0)
    confidence = np.ones((frames, n))
    confidence[: frames // 2, -21:] = 0  # the right hand

    def about(skeleton) -> facts.About:
        own = MEDIAPIPE75.indices(skeleton.joints)
        spread = np.broadcast_to(1e-4 * np.eye(3), (frames, len(own), 3, 3))
        points = Keypoints3D.of(skeleton, whole[:, own], confidence[:, own], spread, confidence[:, own])
        seen = {
            c.name: Keypoints2D.of(skeleton, take.timestamps, c.project(whole[:, own] + 0.01)[0], confidence[:, own])
            for c in take.rig
        }
        person = Person(seen, points)
        return facts.of_person(result_of(take, person)[0], seen, take.rig)

    both, body, hands = about(MEDIAPIPE75), about(MEDIAPIPE33), about(HANDS42)
    assert both.judged[: len(body.judged)] == body.judged and both.title == ""
    further = {one.name: one.value for one in both.judged[len(body.judged) :]}
    assert further["Hands: points found"] == pytest.approx(75) and further["Hands: bone lengths vary by"] is not None
    assert [c.title for c in both.curves[: len(body.curves)]] == [c.title for c in body.curves]
    assert {c.title for c in both.curves} >= {"Hands: Joints found in 3D", "Joints found in 3D"}
    assert both.joints == (*body.joints, *hands.joints)
    assert set(both.limbs) == {*body.limbs, *hands.limbs}
