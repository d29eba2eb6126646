"""The subject is who the views agree on; truth by construction: known people in front of a known rig."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from rigs import look_at

from mocap.detect.associate import associate
from mocap.errors import DataError
from mocap.geometry.cameras import Camera, Rig
from mocap.io.calibration import match_cameras, read_calibration
from mocap.io.stored_detections import read_openpose
from mocap.skeletons import COCO17
from mocap.take import Detections

FPS = 30.0
NOISE = 3.0

# A standing adult [m], x forward, y to the left, z up
_STANDING = {
    "nose": (0.10, 0.0, 1.62),
    "eye": (0.08, 0.03, 1.66),
    "ear": (0.0, 0.07, 1.64),
    "shoulder": (0.0, 0.19, 1.42),
    "elbow": (0.02, 0.27, 1.13),
    "wrist": (0.10, 0.28, 0.90),
    "hip": (0.0, 0.10, 0.95),
    "knee": (0.03, 0.11, 0.52),
    "ankle": (0.0, 0.11, 0.09),
}


def person(times, *, at=(0.0, 0.0), walks=0.0, height=1.7, seed=0):
    """COCO's points (frames, 17, 3) [m] of somebody who swings arms and legs, turns, and walks to and fro."""
    rng = np.random.default_rng(seed)
    phase, pace = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.2)
    swing = np.sin(2 * np.pi * pace * times + phase)
    out = np.zeros((len(times), 17, 3))
    for j, name in enumerate(COCO17.joints):
        part = name.partition("_")[2] or name
        side = -1.0 if name.startswith("right") else 1.0
        x, y, z = _STANDING[part]
        out[:, j] = (x, side * y, z)
        reach = {"elbow": 0.15, "wrist": 0.35, "knee": 0.15, "ankle": 0.25}.get(part, 0.0)
        out[:, j, 0] += side * (-reach if part in ("knee", "ankle") else reach) * swing
        out[:, j, 2] += {"wrist": 0.1, "elbow": 0.03}.get(part, 0.0) * swing**2
    out *= height / 1.7
    turn = 0.4 * np.sin(0.5 * times + phase) + phase
    c, s = np.cos(turn), np.sin(turn)
    x, y = out[..., 0] * c[:, None] - out[..., 1] * s[:, None], out[..., 0] * s[:, None] + out[..., 1] * c[:, None]
    out[..., 0] = x + at[0] + walks * np.sin(0.7 * times)[:, None]
    out[..., 1] = y + at[1] + 0.5 * walks * np.cos(0.9 * times)[:, None]
    return out


def rig_of(count, *, radius=4.5, size=(1280, 720)):
    cameras = []
    for k in range(count):
        angle = 2 * np.pi * (k / count if count > 2 else k / 4) + 0.3
        eye = np.array([radius * np.cos(angle), radius * np.sin(angle), 1.3 + 0.4 * (k % 2)])
        K = np.array([[900.0, 0, size[0] / 2], [0, 900.0, size[1] / 2], [0, 0, 1]])
        cameras.append(Camera(f"cam{k}", K, np.array([-0.1, 0.02, 0, 0, 0]), look_at(eye), size))
    return Rig(tuple(cameras))


def seen_by(camera, points, rng, *, noise=NOISE, confidence=0.8):
    """One person's points in one view, with noise [px]; missing outside the image."""
    xy, _ = camera.project(points)
    xy = xy + rng.normal(0, noise, xy.shape)
    inside = (np.isfinite(xy) & (xy > -40) & (xy < np.array(camera.size) + 40)).all(-1)
    return np.where(inside[..., None], xy, np.nan), np.where(inside, confidence, 0.0)


def scene(rig, clocks, subject, others=(), *, seed=1, shuffle=True):
    """Detections, and for each view and frame the place the subject has among the candidates.

    `subject` and each of `others` is a function of times; `others` come with the names of the views that see them.
    """
    rng = np.random.default_rng(seed)
    detections, truth = {}, {}
    for camera in rig:
        times = clocks[camera.name]
        people = [seen_by(camera, subject(times), rng)]
        people += [seen_by(camera, who(times), rng) for who, views in others if camera.name in views]
        xy, confidence = (np.stack([p[i] for p in people], axis=1) for i in (0, 1))
        order = np.tile(np.arange(len(people)), (len(times), 1))
        if shuffle:
            order = rng.permuted(order, axis=1)
        xy = np.take_along_axis(xy, order[:, :, None, None], axis=1)
        confidence = np.take_along_axis(confidence, order[:, :, None], axis=1)
        detections[camera.name] = Detections.of(COCO17, times, xy, confidence)
        truth[camera.name] = order.argmin(1)
    return detections, truth


def wrong(found, detections, truth):
    """Per view the frames in which somebody else was taken, and those in which nobody was."""
    said = {}
    for name, keypoints in found.items():
        d = detections[name]
        rows = np.arange(len(keypoints.xy))
        mine = d.xy[rows, truth[name]]
        taken = (keypoints.confidence > 0).any(-1)
        same = np.isclose(keypoints.xy, mine, equal_nan=True).all((1, 2))
        said[name] = (int((taken & ~same).sum()), int((~taken).sum()))
    return said


CLOCK = np.arange(150) / FPS


def same_clock(rig, clock=CLOCK):
    return {camera.name: clock for camera in rig}


def walker(times):
    return person(times, walks=0.8, seed=3)


def bystander(times):
    return person(times, at=(-1.4, 1.2), seed=8)


def test_subject_is_followed_through_shuffled_candidates_past_a_bystander_in_two_of_four_views():
    rig = rig_of(4)
    detections, truth = scene(rig, same_clock(rig), walker, [(bystander, ("cam0", "cam2"))])
    found = associate(rig, detections, CLOCK)
    assert wrong(found.people[0], detections, truth) == dict.fromkeys(rig.names, (0, 0))
    assert found.facts["warnings"] == []
    assert found.facts["subject"]["views"]["cam0"]["rejected"] == len(CLOCK)


def test_bystander_as_well_seen_but_farther_from_the_cameras_never_wins_a_frame():
    rig = rig_of(3)
    far = [(lambda t: person(t, at=(-2.6, 2.4), seed=5), rig.names)]
    detections, truth = scene(rig, same_clock(rig), walker, far)
    found = associate(rig, detections, CLOCK)
    assert all(others == 0 for others, _ in wrong(found.people[0], detections, truth).values())


def test_view_that_sees_nobody_for_twenty_frames_gives_none_there_and_the_others_go_on():
    rig = rig_of(4)
    detections, truth = scene(rig, same_clock(rig), walker, [(bystander, ("cam1", "cam2"))])
    blind = detections["cam1"]
    confidence = blind.confidence.copy()
    confidence[40:60] = 0.0
    detections["cam1"] = Detections.of(COCO17, blind.timestamps, blind.xy, confidence)
    found = associate(rig, detections, CLOCK)
    assert wrong(found.people[0], detections, truth)["cam1"] == (0, 20)
    assert wrong(found.people[0], detections, truth)["cam0"] == (0, 0)


def test_bystander_alone_in_a_view_is_not_taken_for_the_subject():
    rig = rig_of(4)
    detections, truth = scene(rig, same_clock(rig), walker, [(bystander, ("cam1", "cam3"))])
    d = detections["cam1"]
    xy, confidence = d.xy.copy(), d.confidence.copy()
    rows = np.arange(50, 90)
    confidence[rows, truth["cam1"][rows]] = 0.0
    detections["cam1"] = Detections.of(COCO17, d.timestamps, xy, confidence)
    found = associate(rig, detections, CLOCK)
    assert wrong(found.people[0], detections, truth)["cam1"] == (0, 40)


def test_two_cameras_are_enough_to_leave_the_bystander_out():
    rig = rig_of(2)
    behind = [(lambda t: person(t, at=(-1.6, -1.6), seed=8), ("cam0", "cam1"))]
    detections, truth = scene(rig, same_clock(rig), walker, behind)
    found = associate(rig, detections, CLOCK)
    assert all(others == 0 for others, _ in wrong(found.people[0], detections, truth).values())
    assert all(none <= 3 for _, none in wrong(found.people[0], detections, truth).values())


def test_where_only_one_of_two_cameras_sees_the_subject_its_own_track_goes_on():
    rig = rig_of(2)
    detections, truth = scene(rig, same_clock(rig), walker)
    blind = detections["cam1"]
    confidence = blind.confidence.copy()
    confidence[40:80] = 0.0
    detections["cam1"] = Detections.of(COCO17, blind.timestamps, blind.xy, confidence)
    found = associate(rig, detections, CLOCK)
    assert wrong(found.people[0], detections, truth) == {"cam0": (0, 0), "cam1": (0, 40)}


def test_detector_that_takes_left_for_right_does_not_hide_the_subject():
    rig = rig_of(3)
    detections, truth = scene(rig, same_clock(rig), walker, [(bystander, ("cam0",))])
    d = detections["cam2"]
    mirrored = COCO17.mirrored()
    xy, confidence = d.xy.copy(), d.confidence.copy()
    xy[30:60], confidence[30:60] = xy[30:60][:, :, mirrored], confidence[30:60][:, :, mirrored]
    detections["cam2"] = Detections.of(COCO17, d.timestamps, xy, confidence)
    found = associate(rig, detections, CLOCK)
    assert wrong(found.people[0], detections, truth) == dict.fromkeys(rig.names, (0, 0))


def test_second_candidate_of_the_same_person_does_not_split_it():
    rig = rig_of(4)

    def double(times):
        return walker(times) + np.array([0.02, 0.0, 0.01])

    detections, truth = scene(rig, same_clock(rig), walker, [(double, ("cam0", "cam3"))])
    found = associate(rig, detections, CLOCK)
    for name, keypoints in found.people[0].items():
        assert (keypoints.confidence > 0).any(-1).all(), name
    assert wrong(found.people[0], detections, truth)["cam1"] == (0, 0)


def test_half_a_person_yields_to_the_whole_one():
    rig = rig_of(3)
    detections, truth = scene(rig, same_clock(rig), walker, [(walker, ("cam0",))], shuffle=False)
    d = detections["cam0"]
    confidence = d.confidence.copy()
    confidence[:, 1, COCO17.indices([j for j in COCO17.joints if "knee" in j or "ankle" in j or "hip" in j])] = 0
    detections["cam0"] = Detections.of(COCO17, d.timestamps, d.xy, confidence)
    found = associate(rig, detections, CLOCK)
    assert wrong(found.people[0], detections, truth)["cam0"] == (0, 0)


def test_cameras_that_saw_at_other_moments_and_rates_agree_nevertheless():
    rig = rig_of(3)
    clocks = same_clock(rig)
    clocks["cam1"] = np.arange(150) / FPS + 0.016
    clocks["cam2"] = np.arange(240) / 50.0 + 0.003
    detections, truth = scene(rig, clocks, walker, [(bystander, ("cam0", "cam1"))])
    found = associate(rig, detections, CLOCK)
    said = wrong(found.people[0], detections, truth)
    assert all(others == 0 and none <= 2 for others, none in said.values()), said
    assert len(found.people[0]["cam2"].timestamps) == 240


def test_camera_out_of_place_is_named():
    rig = rig_of(4)
    detections, _ = scene(rig, same_clock(rig), walker)
    T = rig["cam2"].T_camera_world.copy()
    T[:3, 3] += [1.0, 0.6, 0.0]
    moved = dataclasses.replace(rig["cam2"], T_camera_world=T)
    rig = Rig(tuple(moved if c.name == "cam2" else c for c in rig))
    found = associate(rig, detections, CLOCK)
    assert len(found.facts["warnings"]) == 1
    assert 'View "cam2" sees somebody' in found.facts["warnings"][0]
    assert (found.people[0]["cam0"].confidence > 0).any(-1).all()


def test_views_that_agree_on_nobody_raise_a_sentence_with_what_each_saw():
    rig = rig_of(3)
    detections, _ = scene(rig, same_clock(rig), walker)
    moved = []
    for camera, by in zip(rig, ([0, 1.2, 0], [0, -1.2, 0], [0, 0, 0]), strict=True):
        T = camera.T_camera_world.copy()
        T[:3, 3] += by
        moved.append(dataclasses.replace(camera, T_camera_world=T))
    with pytest.raises(DataError, match=r'"cam0" sees somebody in 150 of 150 frames.*Does the calibration belong'):
        associate(Rig(tuple(moved)), detections, CLOCK)


def test_nobody_anywhere_raises_and_other_names_raise():
    rig = rig_of(2)
    empty = {n: Detections.of(COCO17, CLOCK, np.zeros((150, 0, 17, 2)), np.zeros((150, 0, 17))) for n in rig.names}
    with pytest.raises(DataError, match="sees somebody in 0 of 150 frames"):
        associate(rig, empty, CLOCK)
    with pytest.raises(DataError, match="is a camera of the rig"):
        associate(rig, {"front": empty["cam0"]}, CLOCK)


def test_one_camera_takes_the_largest_and_says_so():
    rig = rig_of(4).only(["cam0"])
    small = [(lambda t: person(t, at=(-2.5, -1.0), height=1.0, seed=4), ("cam0",))]
    detections, truth = scene(rig, same_clock(rig), walker, small)
    found = associate(rig, detections, CLOCK)
    assert wrong(found.people[0], detections, truth) == {"cam0": (0, 0)}
    assert "largest and most lasting" in found.facts["notes"][0] and found.facts["warnings"] == []
    found = associate(rig_of(4), detections, CLOCK)  # three more see nothing at all
    assert 'Only view "cam0"' in found.facts["warnings"][0]


def test_subject_that_leaves_for_a_while_is_the_subject_again():
    rig = rig_of(4)
    detections, truth = scene(rig, same_clock(rig), walker, [(bystander, ("cam1", "cam2"))])
    for name, d in detections.items():
        confidence = d.confidence.copy()
        rows = np.arange(60, 100)
        confidence[rows, truth[name][rows]] = 0.0
        detections[name] = Detections.of(COCO17, d.timestamps, d.xy, confidence)
    found = associate(rig, detections, CLOCK)
    assert wrong(found.people[0], detections, truth) == dict.fromkeys(rig.names, (0, 40))


def test_two_people_are_given_in_order_of_support_and_share_no_candidate():
    rig = rig_of(4)
    detections, truth = scene(rig, same_clock(rig), walker, [(bystander, rig.names)])
    found = associate(rig, detections, CLOCK, people=2)
    other = {name: 1 - place for name, place in truth.items()}
    first = wrong(found.people[0], detections, truth)
    subject, second = (0, 1) if all(n == (0, 0) for n in first.values()) else (1, 0)
    assert wrong(found.people[subject], detections, truth) == dict.fromkeys(rig.names, (0, 0))
    assert all(others == 0 for others, _ in wrong(found.people[second], detections, other).values())


def test_real_bystander_in_two_of_four_views_never_wins_a_frame_with_any_two_or_more_cameras(shared_data):
    data = shared_data / "pose2sim_balancing"
    names = ["cam01", "cam02", "cam03", "cam04"]
    cameras, _, _ = match_cameras(read_calibration(data / "calibration" / "Calib.qca.txt").cameras, names)
    rig = Rig(tuple(cameras.values()))
    detections = {}
    for name in names:
        found = read_openpose(data / "openpose" / "balancing" / f"{name}_json", "body25b")
        detections[name] = Detections.of(found.skeleton, found.frame_numbers / 60, found.xy, found.confidence)
    for count in (2, 3, 4):
        for used in combinations(names, count):
            given = associate(rig.only(used), {n: detections[n] for n in used}, np.arange(100) / 60)
            for name, keypoints in given.people[0].items():
                # The man's points come lower in the picture than those of who stands behind him. In frame 37 of cam01
                # OpenPose cuts him in two; 11 joints are only in the upper half.
                xy = detections[name].xy
                lowest = np.fmax.reduce(xy[..., 1], axis=2)
                man = xy[np.arange(100), np.nanargmax(lowest, axis=1)]
                seen = np.isfinite(man)
                np.testing.assert_array_equal(keypoints.xy[seen], man[seen], err_msg=f"{name} of {used}")
                assert (keypoints.confidence > 0).sum() - seen[..., 0].sum() == (11 if name == "cam01" else 0)


def test_person_cut_in_two_by_the_detector_is_put_together():
    rig = rig_of(3)
    detections, truth = scene(rig, same_clock(rig), walker, [(walker, ("cam1",))], shuffle=False)
    d = detections["cam1"]
    confidence = d.confidence.copy()
    lower = COCO17.indices([j for j in COCO17.joints if "knee" in j or "ankle" in j or "hip" in j])
    confidence[40:50, 0, lower] = 0
    confidence[40:50, 1] = np.where(np.isin(np.arange(17), lower), confidence[40:50, 1], 0)
    confidence[:40, 1] = confidence[50:, 1] = 0
    detections["cam1"] = Detections.of(COCO17, d.timestamps, d.xy, confidence)
    found = associate(rig, detections, CLOCK)
    assert ((found.people[0]["cam1"].confidence > 0) == (d.confidence[:, 0] > 0)).all()
    assert found.facts["subject"]["views"]["cam1"]["completed"] == 10
    assert truth["cam1"].max() == 0
