from __future__ import annotations

import numpy as np

from mocap.geometry import times

CLOCK = np.array([0.0, 0.1, 0.3])


def test_a_moment_lies_between_two_frames_and_the_ends_hold_on() -> None:
    before, after, part = times.between_frames(CLOCK, np.array([-1.0, 0.05, 0.25, 9.0]))
    assert before.tolist() == [0, 0, 1, 1]
    assert after.tolist() == [1, 1, 2, 2]
    np.testing.assert_allclose(part, [0, 0.5, 0.75, 1])


def test_a_single_frame_holds_always() -> None:
    np.testing.assert_array_equal(times.linear(np.array([0.2]), np.array([[3.0]]), CLOCK), [[3.0]] * 3)


def test_a_frame_met_exactly_needs_no_neighbour() -> None:
    found = times.linear(CLOCK, np.array([1.0, np.nan, 2.0]), np.array([0.0, 0.05, 0.1, 0.2, 0.3]))
    np.testing.assert_array_equal(found, [1.0, np.nan, np.nan, np.nan, 2.0])


def test_the_nearest_frame_is_the_earlier_of_two_and_only_within_reach() -> None:
    index, near = times.nearest(np.array([-0.6, 0.04, 0.5, 1.4, 1.8]), np.array([0.0, 1.0]), reach=0.5)
    assert index.tolist() == [0, 0, 0, 1, 1]
    assert near.tolist() == [False, True, True, True, False]
    assert not times.nearest(CLOCK, np.zeros(0), reach=np.inf)[1].any()
