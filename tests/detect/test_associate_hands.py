"""Hands are found where views agree, each with its side; truth by construction: toy hands in front of a known rig."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from toy_hands import detected, hand, resting, rig_round

from mocap.detect import hands as sides
from mocap.detect.associate import associate, associate_apart
from mocap.detect.tracks import cut_at_changes, exchanged_at_changes
from mocap.errors import DataError
from mocap.geometry.cameras import Rig
from mocap.skeletons import HANDS, HANDS42, MEDIAPIPE33, RIGHT_HAND21
from mocap.stages.associate import Associate
from mocap.take import Detections, RunContext, Take

T = np.arange(150) / 30
RIG = rig_round(4)
ALL = RIG.names
BAD: dict[str, Any] = {"missed": 0.08, "mistaken": 0.15, "false": 0.2}
"""What a detector does wrong."""


def compared(found, detections, truth):
    """For each hand found and each true one, the share of its frames (of all views) in which that one was taken."""
    shares = np.zeros((len(found.people), next(iter(truth.values())).shape[1] + 1))
    for k, person in enumerate(found.people):
        total = 0
        for name, keypoints in person.items():
            d = detections[name]
            taken = (keypoints.confidence > 0).any(-1)
            total += int(taken.sum())
            for h in range(truth[name].shape[1]):
                place = truth[name][:, h]
                mine = d.xy[np.arange(len(place)), np.maximum(place, 0), :21]
                same = np.isclose(keypoints.xy, mine).all((1, 2)) & (place >= 0)
                shares[k, h] += (same & taken).sum()
        shares[k, :-1] /= total
        shares[k, -1] = total / sum(len(p.timestamps) for p in person.values())
    return shares


def sides_of(found):
    return [{k.skeleton.name for k in person.values()} for person in found.people]


LEFT, RIGHT = {"left_hand21"}, {"right_hand21"}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("views", [2, 3, 4])
def test_one_hand_is_found_with_its_side_among_misses_false_candidates_and_wrong_sides(side: str, views: int):
    rig = rig_round(views)
    points = hand(T, side, sways=(0.2, 0.1, 0.1))
    detections, truth = detected(rig, T, [(points, side, rig.names)], **BAD)
    found = associate(rig, detections, T)
    assert sides_of(found) == [{f"{side}_hand21"}]
    (mine, share), *_ = compared(found, detections, truth)
    assert mine > 0.995 and share > 0.88
    told = found.facts["hand_0"]
    assert told["side"] == side and told["vote"] > 0.7 and told["curl"] > 0.2
    assert found.facts["warnings"] == []


@pytest.mark.parametrize("fps", [1.2, 3.0])
def test_hands_in_single_pictures_a_second_are_found_in_all_of_them(fps: float):
    times = np.arange(20) / fps
    detections, truth = detected(RIG, times, [(hand(times, "right", hertz=0.1), "right", ALL)])
    found = associate(RIG, detections, times)
    assert sides_of(found) == [RIGHT]
    (mine, share), *_ = compared(found, detections, truth)
    assert mine == 1 and share > 0.95


def test_confidence_is_that_the_hand_is_there_whichever_it_is():
    detections, _ = detected(RIG, T, [(hand(T, "left"), "left", ALL)])
    found = associate(RIG, detections, T)
    for keypoints in found.people[0].values():
        np.testing.assert_allclose(keypoints.confidence, 0.9)


def test_two_hands_are_two_people_the_left_one_first_and_share_no_candidate():
    right, left = hand(T, "right", at=(0, -0.2, 1), seed=1), hand(T, "left", at=(0, 0.2, 1), seed=2)
    detections, truth = detected(RIG, T, [(right, "right", ALL), (left, "left", ALL)], **BAD)
    found = associate(RIG, detections, T)
    assert sides_of(found) == [LEFT, RIGHT]
    shares = compared(found, detections, truth)
    assert shares[0, 1] > 0.995 and shares[1, 0] > 0.995 and shares[:, -1].min() > 0.88
    assert [found.facts[f"hand_{k}"]["side"] for k in (0, 1)] == ["left", "right"]
    assert found.facts["warnings"] == []


@pytest.mark.parametrize("views", [2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_hands_that_cross_do_not_change_places(views: int, seed: int):
    """They pass each other eight times, 6 cm apart."""
    rig = rig_round(views)
    right = hand(T, "right", at=(0, 0, 1.03), sways=(0, 0.25, 0), hertz=0.8, seed=seed)
    left = hand(T, "left", at=(0, 0, 0.97), sways=(0, -0.25, 0), hertz=0.8, seed=seed + 10)
    detections, truth = detected(rig, T, [(right, "right", rig.names), (left, "left", rig.names)], seed=seed, **BAD)
    found = associate(rig, detections, T)
    assert sides_of(found) == [LEFT, RIGHT]
    shares = compared(found, detections, truth)
    assert shares[0, 1] > 0.99 and shares[1, 0] > 0.99
    assert shares[:, -1].min() > 0.8


@pytest.mark.parametrize("seed", range(2))
def test_palms_that_are_laid_on_one_another_and_part_again_are_two_hands_all_along(seed: int):
    flat = np.full((len(T), 5), 0.03)
    right, left = resting("right", flat), resting("left", flat)
    apart = 0.03 + 0.25 * np.clip(np.abs(T - 2.5) - 1.0, 0, None)[:, None, None]
    # both upright, palm to palm: the left hand is the mirror image
    up = np.array([[0, 0, -1.0], [0, 1, 0], [1, 0, 0]])
    right = right @ up.T + [0.0, 0.0, 0.95] + apart / 2 * [1.0, 0, 0]
    left = left * [1, -1, -1] @ up.T + [0.0, 0.0, 0.95] - apart / 2 * [1.0, 0, 0]
    both = [(right, "right", ALL), (left, "left", ALL)]
    detections, truth = detected(RIG, T, both, noise=2.0, seed=seed, **BAD)
    found = associate(RIG, detections, T)
    assert sides_of(found) == [LEFT, RIGHT]
    shares = compared(found, detections, truth)
    # two views look along the line on which the palms lie behind one another
    assert shares[0, 1] > 0.95 and shares[1, 0] > 0.95
    assert shares[:, -1].min() > 0.88


def met(apart: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (times, 2 slots, marks, 3) of a left and a right hand that come within `apart` [m] twice, who they are."""
    y = 0.5 * apart + 0.3 * np.abs(np.sin(2 * np.pi * T / 4))
    marks = 0.02 * np.random.default_rng(0).normal(size=(11, 3))
    points = marks + np.stack([y, -y], -1)[:, :, None, None] * [0, 1, 0]
    return points, np.ones(points.shape[:3], bool), np.tile([0.7, -0.7], (len(T), 1))


def test_a_track_that_goes_over_to_the_other_hand_is_cut_there_and_one_that_met_nobody_is_not():
    slots = np.tile([0, 1], (len(T), 1))  # tracks, by the hands they are of
    taken = np.where((T >= 2.0)[:, None], slots[:, ::-1], slots)  # at 2 s they meet, and each track takes the other
    for apart, cut in ((0.03, True), (0.5, False)):
        points, known, lean = met(apart)
        found = cut_at_changes(taken, points, known, lean, T, sides.HAND.reach_3d)
        pieces = [np.unique(found[:, hand]) for hand in (0, 1)]
        assert all(len(np.unique(found[when])) == 2 for when in (T < 1.9, T > 2.1))
        assert len(np.unique(found)) == (4 if cut else 2)
        assert set(pieces[0]).isdisjoint(pieces[1]) == cut


def test_two_hands_that_are_taken_for_one_another_for_a_while_are_put_right():
    points, known, lean = met(0.03)
    rng = np.random.default_rng(1)
    lean = lean * np.where(rng.uniform(size=lean.shape) < 0.15, -1, 1)  # wrong now and then
    astray = (T >= 2.0) & (T < 4.0)
    first = np.where(astray, 1, 0)
    first[70:73] = -1  # missing
    one, other = exchanged_at_changes(first, np.where(astray, 0, 1), points, known, lean, T, sides.HAND.reach_3d)
    assert (one[one >= 0] == 0).mean() > 0.97 and (other[other >= 0] == 1).mean() > 0.97
    points, known, _ = met(0.5)
    kept, _ = exchanged_at_changes(first, np.where(astray, 0, 1), points, known, lean, T, sides.HAND.reach_3d)
    np.testing.assert_array_equal(kept, first)  # they never met: the detector is wrong


def test_a_hand_that_comes_when_the_other_has_left_is_the_other():
    here, there = ((T < 2.0), (T > 2.3))
    right, left = hand(T, "right", seed=1), hand(T, "left", at=(0.05, 0.05, 1.0), seed=2)
    right[~here], left[~there] = np.nan, np.nan
    both = [(right, "right", ALL), (left, "left", ALL)]
    detections, truth = detected(RIG, T, both, mistaken=0.15)
    found = associate(RIG, detections, T)
    assert sides_of(found) == [LEFT, RIGHT]
    shares = compared(found, detections, truth)
    assert shares[0, 1] == shares[1, 0] == 1.0


def test_a_hand_that_one_view_sees_of_somebody_else_is_left_out():
    mine = hand(T, "right", sways=(0.1, 0.1, 0))
    others = hand(T, "right", at=(0.3, 0.3, 1.1), seed=3)
    detections, truth = detected(RIG, T, [(mine, "right", ALL), (others, "right", ("cam1",))], **BAD)
    found = associate(RIG, detections, T)
    assert sides_of(found) == [RIGHT]
    assert compared(found, detections, truth)[0, 0] > 0.995


def test_a_hand_the_detector_gives_twice_as_a_left_and_a_right_one_is_one_hand():
    mine = hand(T, "right", sways=(0.1, 0.1, 0))
    twice = [(mine, "right", ALL), (mine + 0.003, "left", ("cam0", "cam2", "cam3"))]
    detections, truth = detected(RIG, T, twice, mistaken=0.1)
    found = associate(RIG, detections, T)
    assert sides_of(found) == [RIGHT]
    shares = compared(found, detections, truth)
    assert shares[0, 0] + shares[0, 1] == 1.0 and shares[0, -1] == 1.0


def test_a_detector_that_is_wrong_about_a_lone_hand_for_long_does_not_make_two_of_it():
    mine = hand(T, "right", sways=(0.1, 0.1, 0))
    detections, truth = detected(RIG, T, [(mine, "right", ALL)])
    wrong = {}
    for name, d in detections.items():
        confidence = d.confidence.copy()
        confidence[40:90] = np.roll(confidence[40:90], 21, axis=-1)
        wrong[name] = dataclasses.replace(d, confidence=confidence)
    found = associate(RIG, wrong, T)
    assert sides_of(found) == [RIGHT]
    assert compared(found, wrong, truth)[0].tolist() == [1.0, 1.0]


def test_cameras_that_saw_hands_at_other_moments_and_rates_agree_nevertheless():
    clocks = {"cam0": T, "cam1": T + 0.016, "cam2": np.arange(250) / 50 + 0.003, "cam3": np.arange(600) / 120}

    def hands(times):
        right = hand(times, "right", at=(0, -0.15, 1), sways=(0.1, 0.1, 0.1), hertz=1.0, seed=1)
        return [(right, "right", ALL), (hand(times, "left", at=(0, 0.15, 1), seed=2), "left", ALL)]

    detections, truth = {}, {}
    for name, times in clocks.items():
        own, mine = detected(RIG.only([name]), times, hands(times), mistaken=0.1, missed=0.05)
        detections |= own
        truth |= mine
    found = associate(RIG, detections, T)
    assert sides_of(found) == [LEFT, RIGHT]
    shares = compared(found, detections, truth)
    assert shares[0, 1] > 0.995 and shares[1, 0] > 0.995 and shares[:, -1].min() > 0.9
    assert len(found.people[0]["cam3"].timestamps) == 600


def test_of_three_hands_two_are_taken_and_the_third_is_told():
    scene = [
        (hand(T, side, at=(0.0, y, 1.0), seed=k), side, ALL)
        for k, (side, y) in enumerate([("left", 0.3), ("right", 0.0), ("right", -0.3)])
    ]
    detections, _ = detected(RIG, T, scene)
    found = associate(RIG, detections, T)
    assert len(found.people) == 2
    assert "at least one more hand" in found.facts["warnings"][0]
    found = associate(RIG, detections, T, people=3)
    assert sides_of(found) == [LEFT, RIGHT, RIGHT]
    assert found.facts["warnings"] == []


def test_of_two_hands_that_both_look_like_left_ones_the_less_sure_becomes_the_right_one_and_it_is_told():
    straight: dict[str, Any] = {"bends": 0.0}
    one = hand(T, "left", at=(0, 0.2, 1), seed=1, **straight)
    two = hand(T, "left", at=(0, -0.2, 1), seed=2, **straight)
    detections, truth = detected(RIG, T, [(one, "left", ALL), (two, "left", ALL)])
    unsure = {}
    for name, d in detections.items():  # what is said of the second: a left hand at 0.6
        confidence = d.confidence.copy()
        rows = np.arange(len(T))
        confidence[rows, truth[name][:, 1]] = np.where(np.arange(42) < 21, 0.54, 0.36)
        unsure[name] = dataclasses.replace(d, confidence=confidence)
    found = associate(RIG, unsure, T)
    assert sides_of(found) == [LEFT, RIGHT]
    assert compared(found, unsure, truth)[1, 1] == 1.0
    (warning,) = found.facts["warnings"]
    assert "Hand 1 is taken for the right one since the other is surer to be the left one" in warning


def test_where_nobody_says_which_hand_it_is_the_bend_of_the_fingers_does():
    for side in ("left", "right"):
        detections, _ = detected(RIG, T, [(hand(T, side), side, ALL)])
        silent = {
            name: dataclasses.replace(d, confidence=np.where(d.confidence > 0, 0.45, 0.0))
            for name, d in detections.items()
        }
        found = associate(RIG, silent, T)
        assert sides_of(found) == [{f"{side}_hand21"}]
        assert found.facts["hand_0"]["vote"] == 0.5


@pytest.mark.parametrize("side", ["left", "right"])
def test_detections_of_one_hand_are_hands_of_that_side(side: str):
    detections, _ = detected(RIG, T, [(hand(T, side), side, ALL)])
    named = {
        name: Detections.of(HANDS[side], d.timestamps, d.xy[:, :, :21], 0.9 * (d.confidence[:, :, :21] > 0))
        for name, d in detections.items()
    }
    found = associate(RIG, named, T)
    assert sides_of(found) == [{f"{side}_hand21"}]
    assert found.facts["hand_0"]["vote"] == 1.0


def test_fingers_bend_as_those_of_their_side():
    marks = [first for first, _ in sides.HAND.marks]
    for side, sign in (("left", 1), ("right", -1)):
        at = RIGHT_HAND21.indices(marks)
        for bend in (0.1, 0.5, 1.0):
            # a finger's bones leave the palm by once, twice and three times as much, the longest least: 1.8 on average
            found = sides.curl(resting(side, np.full((3, 5), bend))[:, at])
            assert sign * found == pytest.approx(np.sin(1.8 * bend), abs=0.02)
        assert abs(sides.curl(resting(side, np.zeros((3, 5)))[:, at])) < 0.01
    assert sides.curl(np.full((3, len(marks), 3), np.nan)) == 0.0


def test_one_camera_takes_the_largest_hands_and_votes_on_their_sides():
    rig = rig_round(4).only(["cam0"])
    right, left = hand(T, "right", at=(0, -0.2, 1), seed=1), hand(T, "left", at=(0, 0.2, 1), seed=2)
    seen = [(right, "right", ("cam0",)), (left, "left", ("cam0",))]
    detections, truth = detected(rig, T, seen, mistaken=0.15, missed=0.05)
    found = associate(rig, detections, T)
    assert sides_of(found) == [LEFT, RIGHT]
    shares = compared(found, detections, truth)
    assert shares[0, 1] > 0.99 and shares[1, 0] > 0.99
    assert "largest and most lasting hand" in found.facts["notes"][0] and found.facts["warnings"] == []


def between(seen: Detections, start: int, stop: int) -> Detections:
    """Candidates of those frames only."""
    here = (np.arange(len(seen.xy)) >= start) & (np.arange(len(seen.xy)) < stop)
    return Detections.of(seen.skeleton, seen.timestamps, seen.xy, seen.confidence * here[:, None, None])


def test_what_cannot_be_done_is_said_of_hands():
    detections, _ = detected(RIG, T, [(hand(T, "left"), "left", ALL)])
    with pytest.raises(DataError, match="Hands in unrelated pictures are not fitted"):
        associate_apart({"a": Detections.of(HANDS42, T[:1], np.zeros((1, 0, 42, 2)), np.zeros((1, 0, 42)))})
    empty = {n: Detections.of(HANDS42, T, np.zeros((150, 0, 42, 2)), np.zeros((150, 0, 42))) for n in ALL}
    with pytest.raises(
        DataError, match=r'No two views see a hand at the same moment: "cam0" sees a hand in 0 of 150.*SMPLH'
    ):
        associate(RIG, empty, T)
    late = {**empty, "cam0": between(detections["cam0"], 0, 60), "cam1": between(detections["cam1"], 80, 150)}
    with pytest.raises(DataError, match=r"sees a hand in 70 of 150 .* are the views' times on one clock"):
        associate(RIG, late, T)
    with pytest.raises(DataError, match='"cam0", the only one, sees no hand'):
        associate(RIG, {"cam0": empty["cam0"]}, T)
    body = Detections.of(MEDIAPIPE33, T, np.zeros((150, 0, 33, 2)), np.zeros((150, 0, 33)))
    with pytest.raises(DataError, match="of bodies, or all of hands, not cam0: hands42, cam1: mediapipe33"):
        associate(RIG, {"cam0": detections["cam0"], "cam1": body}, T)
    moved = []
    for k, camera in enumerate(RIG):
        T_camera_world = camera.T_camera_world.copy()
        T_camera_world[1, 3] += 0.2 * k
        moved.append(dataclasses.replace(camera, T_camera_world=T_camera_world))
    with pytest.raises(DataError, match="No hand is seen alike by two views"):
        associate(Rig(tuple(moved)), detections, T)


def test_the_stage_makes_one_person_a_hand(tmp_path):
    right, left = hand(T, "right", at=(0, -0.2, 1), seed=1), hand(T, "left", at=(0, 0.2, 1), seed=2)
    detections, _ = detected(RIG, T, [(right, "right", ALL), (left, "left", ALL)])
    take = Take(RunContext(tmp_path), T, np.arange(len(T)), rig=RIG, detections=detections)
    assert [p.keypoints2d["cam0"].skeleton.name for p in Associate()(take).people] == ["left_hand21", "right_hand21"]
    assert len(Associate(people=1)(take).people) == 1
