"""Hands of bodies: where they are looked for, how pictures are cut out, and which hand found is whose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from standing import SIZE, body

from mocap.detect import wrists
from mocap.detect.wrists import Hands, beside, cut_out, hand_size, hands_of_body, in_view, put_back, whose
from mocap.errors import DataError
from mocap.skeletons import MEDIAPIPE33
from mocap.take import Keypoints2D, View


def test_the_limb_seen_longest_tells_the_size_of_the_hand():
    xy, confidence = body()
    assert hand_size(xy, confidence, MEDIAPIPE33, np.zeros(1))[0] == pytest.approx(SIZE)
    # limbs that point towards the camera are seen shorter; one thigh is as long as it is
    top = xy[0, :, 1].min()
    thigh = MEDIAPIPE33.indices(("left_hip", "left_knee"))
    whole = np.diff(xy[0, thigh, 1])[0]
    xy[0, :, 1] = top + 0.6 * (xy[0, :, 1] - top)
    xy[0, thigh[1], 1] = xy[0, thigh[0], 1] + whole
    assert hand_size(xy, confidence, MEDIAPIPE33, np.zeros(1))[0] == pytest.approx(SIZE)


def test_a_joint_astray_for_a_moment_changes_no_size_and_unsure_joints_tell_none():
    times = np.arange(60) / 30
    xy, confidence = body(60)
    xy[30, MEDIAPIPE33.index("left_ankle")] += 2000
    np.testing.assert_allclose(hand_size(xy, confidence, MEDIAPIPE33, times), SIZE)
    assert np.isnan(hand_size(xy, np.full_like(confidence, 0.2), MEDIAPIPE33, times)).all()


def test_hands_are_at_the_knuckles_of_wrists_that_are_seen():
    xy, confidence = body(3)
    confidence[1, MEDIAPIPE33.index("left_wrist")] = 0.1
    confidence[2, MEDIAPIPE33.indices(("right_index", "right_pinky"))] = 0
    xy[2, MEDIAPIPE33.indices(("right_index", "right_pinky"))] = np.nan
    hands = hands_of_body(xy, confidence, MEDIAPIPE33, np.arange(3.0), least=0.3)
    assert np.isnan(hands.size[1, 0])
    assert np.isnan(hands.centre[1, 0]).all()
    assert np.isfinite(hands.size).sum() == 5
    np.testing.assert_allclose(hands.wrist[0], xy[0, MEDIAPIPE33.indices(("left_wrist", "right_wrist"))])
    np.testing.assert_allclose(hands.centre[0] - hands.wrist[0], [[0, 0.05 / 0.108 * SIZE]] * 2)
    np.testing.assert_allclose(hands.centre[2, 1], hands.wrist[2, 1])


def test_knuckles_astray_do_not_lead_away_from_the_wrist():
    xy, confidence = body()
    xy[:, MEDIAPIPE33.index("left_pinky")] += [900, 0]
    hands = hands_of_body(xy, confidence, MEDIAPIPE33, np.zeros(1), least=0.3)
    assert np.linalg.norm(hands.centre[0, 0] - hands.wrist[0, 0]) == pytest.approx(SIZE)


@pytest.mark.parametrize("size", [20.0, 128.0, 300.0])
@pytest.mark.parametrize("place", [(200.3, 150.7), (20.2, 270.4)])  # the second: what is cut out leaves the image
def test_what_is_cut_out_and_put_back_is_where_it_was(size, place):
    rows, columns = np.mgrid[:300, :400]
    width = max(2.0, size / 25)
    spot = np.exp(-((columns - place[0]) ** 2 + (rows - place[1]) ** 2) / (2 * width**2))
    image = np.repeat((255 * spot).astype(np.uint8)[..., None], 3, axis=-1)
    centre = np.array(place) + 0.3 * size * np.array([0.6, -0.8])
    cut = cut_out(image, centre, size)
    assert cut.shape == (wrists.CROP, wrists.CROP, 3)
    (bright_rows, bright_columns) = np.mgrid[: wrists.CROP, : wrists.CROP]
    weight = np.where(cut[..., 0] > 100, cut[..., 0], 0).astype(float)
    found = np.array([(weight * bright_columns).sum(), (weight * bright_rows).sum()]) / weight.sum()
    np.testing.assert_allclose(put_back(found, centre, size), place, atol=0.15)


# ---------------------------------------------------------------------------------------------------------------------
# whose is what was found

RNG = np.random.default_rng(7)
SHAPE = np.concatenate([[[0.0, 0.0]], RNG.uniform([-0.3, 0.1], [0.3, 0.7], (19, 2)), [[0.0, 0.75]]])


def hand(at, *, size=SIZE, turn=0.0):
    """21 points that begin at a wrist."""
    c, s = np.cos(turn), np.sin(turn)
    return np.array(at, dtype=float) + size * SHAPE @ np.array([[c, s], [-s, c]])


def candidates(*frames):
    """Frames of (points, probability of a right hand), as a detector gives them."""
    most = max(len(frame) for frame in frames)
    xy, confidence = np.full((len(frames), most, 42, 2), np.nan), np.zeros((len(frames), most, 42))
    for k, frame in enumerate(frames):
        for n, (points, right) in enumerate(frame):
            xy[k, n] = np.tile(points, (2, 1))
            confidence[k, n] = np.repeat([1 - right, right], 21)
    return xy, confidence


def at(*frames):
    """Frames of wrists, as bodies tell them."""
    wrist = np.array(frames, dtype=float)
    return Hands(wrist, wrist + [0, 0.4 * SIZE], np.where(np.isfinite(wrist[..., 0]), SIZE, np.nan))


LEFT, RIGHT = (700.0, 300.0), (300.0, 300.0)


def test_each_wrist_gets_the_hand_that_begins_there_whatever_the_order():
    left, right = hand((710, 305)), hand((295, 290), turn=2.0)
    stranger = hand((500, 800))
    xy, confidence = candidates(
        [(left, 0.1), (right, 0.9), (stranger, 0.5)], [(stranger, 0.5), (right, 0.9), (left, 0.1)], [(right, 0.9)], []
    )
    chosen = whose(xy, confidence, at(*[(LEFT, RIGHT)] * 4))
    for k in (0, 1):
        np.testing.assert_allclose(chosen.xy[k], [left, right])
        np.testing.assert_allclose(chosen.confidence[k], 0.9)
    assert np.isnan(chosen.xy[2, 0]).all()
    assert (chosen.confidence[2, 0] == 0).all()
    np.testing.assert_allclose(chosen.xy[2, 1], right)
    assert np.isnan(chosen.xy[3]).all()
    np.testing.assert_array_equal(chosen.rejected, [1, 1, 0, 0])


def test_a_detector_that_found_nothing_at_all_gives_no_hand():
    chosen = whose(np.zeros((2, 0, 42, 2)), np.zeros((2, 0, 42)), at(*[(LEFT, RIGHT)] * 2))
    assert np.isnan(chosen.xy).all()
    assert not chosen.confidence.any()


def test_a_hand_too_far_away_or_of_no_hands_size_is_nobodys():
    far = hand(np.array(LEFT) + [1.1 * SIZE, 0])
    for wrong in (far, hand(LEFT, size=0.2 * SIZE), hand(LEFT, size=2.9 * SIZE)):
        chosen = whose(*candidates([(wrong, 0.1)]), at((LEFT, RIGHT)))
        assert not chosen.confidence.any()
        assert chosen.rejected.tolist() == [1]


def test_a_wrist_that_is_not_seen_gets_no_hand():
    chosen = whose(*candidates([(hand(LEFT), 0.1)]), at(((np.nan, np.nan), RIGHT)))
    assert not chosen.confidence.any()


def test_the_side_is_the_bodys_and_a_hand_that_looks_like_the_other_is_doubted():
    chosen = whose(*candidates([(hand(LEFT), 0.98)], [(hand(LEFT), 0.4)]), at((LEFT, RIGHT), (LEFT, RIGHT)))
    np.testing.assert_allclose(chosen.confidence[0, 0], 0.3)
    np.testing.assert_allclose(chosen.confidence[1, 0], 0.6)
    assert not chosen.confidence[:, 1].any()


def test_of_hands_that_touch_each_wrist_gets_its_own():
    wrist_left, wrist_right = (520.0, 300.0), (490.0, 300.0)
    left, right = hand((507, 302)), hand((503, 296), turn=0.9)  # nearer to one another than to their wrists
    together = at((wrist_left, wrist_right))
    for order in (((left, 0.2), (right, 0.8)), ((right, 0.8), (left, 0.2))):
        chosen = whose(*candidates(order), together)
        np.testing.assert_allclose(chosen.xy[0], [left, right])
    # who look alike are told by where they begin
    left, right = hand((518, 302)), hand((493, 296), turn=0.9)
    chosen = whose(*candidates([(right, 0.5), (left, 0.5)]), together)
    np.testing.assert_allclose(chosen.xy[0], [left, right])


@pytest.mark.parametrize(("right", "owner"), [(0.95, 1), (0.05, 0)])
def test_one_hand_found_of_two_that_touch_is_given_once_to_the_one_it_looks_like(right, owner):
    alone = hand((505, 300))
    chosen = whose(*candidates([(alone, right)]), at(((520, 300), (490, 300))))
    np.testing.assert_allclose(chosen.xy[0, owner], alone)
    assert not chosen.confidence[0, 1 - owner].any()


def test_a_hand_found_in_two_pictures_is_one_and_the_surer_is_kept():
    first, again = hand((505, 300)), hand((506, 301))
    chosen = whose(*candidates([(first, 0.7), (again, 0.95)]), at(((520, 300), (490, 300))))
    np.testing.assert_allclose(chosen.xy[0, 1], again)
    assert not chosen.confidence[0, 0].any()
    assert chosen.rejected.tolist() == [0]


def test_hands_are_given_so_that_all_are_nearest_together():
    # the left wrist is a little nearer to what is the right one's, which would be left with a far one
    near, far = hand((500, 300)), hand((560, 300), turn=1.5)
    chosen = whose(*candidates([(near, 0.5), (far, 0.5)]), at(((529, 300), (470, 300))))
    np.testing.assert_allclose(chosen.xy[0], [far, near])


def test_hands_of_two_people_are_not_mixed():
    places = [(100, 300), (300, 300), (320, 300), (520, 300)]
    found = [(hand(place, turn=0.5 * n), 0.9 * (n % 2) + 0.05) for n, place in enumerate(places)]
    chosen = whose(*candidates(found[::-1]), at(places))
    np.testing.assert_allclose(chosen.xy[0], [points for points, _ in found])
    np.testing.assert_allclose(chosen.confidence[0], 0.95)


def test_hands_are_beside_one_another_where_a_picture_may_show_both():
    pairs = at(((0, 0), (1000, 0)), ((0, 0), (200, 0)), ((0, 0), (np.nan, np.nan)))
    np.testing.assert_array_equal(beside(pairs), [[False, False], [True, True], [False, False]])


# ---------------------------------------------------------------------------------------------------------------------
# in a view


def seen(frames, times, size=SIZE):
    xy, confidence = body(frames, size=size)
    return Keypoints2D.of(MEDIAPIPE33, times, xy, confidence)


def test_people_seen_in_different_frames_are_asked_for_in_those():
    view = View("cam", Path("cam.mp4"), 5 + np.arange(10) / 30, (1280, 720))
    first, second = seen(4, view.timestamps[1:5]), seen(3, view.timestamps[3:8:2], size=50.0)
    here = in_view(view, [first, None, second], least=0.3)
    assert here.places.tolist() == [1, 2, 3, 4, 5, 7]
    np.testing.assert_array_equal(here.rows[0], [0, 1, 2, 3])
    assert here.rows[1] is None
    np.testing.assert_array_equal(here.rows[2], [2, 4, 5])
    expected = np.full((6, 6), np.nan)
    expected[:4, :2], expected[[2, 4, 5], 4:] = SIZE, 50.0
    np.testing.assert_allclose(here.hands.size, expected)


def test_keypoints_of_another_clock_are_refused():
    view = View("cam", Path("cam.mp4"), np.arange(10) / 30, (1280, 720))
    with pytest.raises(DataError, match=r'View "cam" has no frame at 0\.050 s'):
        in_view(view, [seen(2, np.array([0.0, 0.05]))], least=0.3)


def test_the_body_stays_as_it_was_and_its_hands_stand_after_it():
    mine = seen(2, np.arange(2.0))
    points = np.stack([hand(LEFT), hand(RIGHT)])[None].repeat(2, axis=0)
    confidence = np.full((2, 2, 21), 0.9)
    confidence[1, 0], points[1, 0] = 0, np.nan
    whole = wrists.with_hands(mine, points, confidence)
    np.testing.assert_array_equal(whole.xy[:, :33], mine.xy)
    np.testing.assert_allclose(whole.xy[0, whole.skeleton.index("right_hand_wrist")], RIGHT)
    assert not whole.confidence[1, whole.skeleton.index("left_pinky_tip")]
