"""Claims about interpolating views to the take's clock."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap.skeletons import BODY25
from mocap.take import Keypoints2D
from mocap.triangulate.observe import at_times, observe, person_size


def view(t: np.ndarray, xy: np.ndarray | None = None, confidence: np.ndarray | None = None) -> Keypoints2D:
    if xy is None:
        xy = np.broadcast_to(np.stack([100 * t, 50 - 20 * t], -1)[:, None], (len(t), 25, 2))
    return Keypoints2D.of(BODY25, t, xy, np.ones(xy.shape[:2]) if confidence is None else confidence)


def swinging(t: np.ndarray, hertz: float = 1.5, size: float = 100.0) -> np.ndarray:
    """Joints on sinusoids of their own phase [px]."""
    phase = np.linspace(0, 6, 25)
    a = 2 * np.pi * hertz * t[:, None] + phase
    return np.stack([300 + size * np.sin(a), 200 + size * np.cos(1.3 * a)], -1)


def test_a_frame_at_the_very_moment_keeps_its_pixels_confidence_and_noise():
    t = np.arange(20) / 30
    confidence = np.linspace(0.2, 1, 20 * 25).reshape(20, 25)
    k = view(t, swinging(t), confidence)
    xy, sure, sigma = at_times(k, t, np.full(20, 3.0))
    np.testing.assert_array_equal(xy, k.xy)
    np.testing.assert_array_equal(sure, confidence)
    np.testing.assert_allclose(sigma, 3.0 / np.sqrt(confidence))


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1))
def test_straight_motion_is_interpolated_exactly_at_any_fraction(u: float):
    t = np.arange(10) / 30
    moments = t[2:7] + u / 30
    xy, sure, _ = at_times(view(t), moments, np.ones(10))
    # a moment within a thousandth of a frame is the frame
    np.testing.assert_allclose(xy[:, 3], np.stack([100 * moments, 50 - 20 * moments], -1), atol=100 / 30 * 1.1e-3)
    assert (sure == 1).all()


def test_curved_motion_is_followed_far_better_than_by_straight_lines():
    t = np.arange(40) / 30
    moments = t[3:-4] + 0.5 / 30
    xy, _, sigma = at_times(view(t, swinging(t)), moments, np.full(40, 1e-6))
    truth = swinging(moments)
    straight = 0.5 * (swinging(t)[3:-4] + swinging(t)[4:-3])
    error, before = (np.linalg.norm(x - truth, axis=-1) for x in (xy, straight))
    assert error.mean() < 0.08 * before.mean()
    assert error.max() < 0.25 * before.max()
    # what is missed is within what the standard deviation says
    assert np.percentile(error / (sigma * np.sqrt(2)), 95) < 1.5


@pytest.mark.parametrize("shift", [0.25, 0.5, 0.9])
def test_noise_between_frames_is_what_the_standard_deviation_says(shift: float):
    rng = np.random.default_rng(0)
    t = np.arange(400) / 30
    truth = swinging(t, 0.5)
    k = view(t, truth + 4.0 * rng.normal(size=truth.shape))
    moments = t[2:-3] + shift / 30
    xy, _, sigma = at_times(k, moments, np.full(400, 4.0))
    normalised = (xy - swinging(moments, 0.5)) / sigma[..., None]
    assert 0.8 < normalised.std() < 1.1


def test_an_outlier_beside_the_interval_does_no_harm():
    t = np.arange(20) / 30
    k = view(t)
    xy = k.xy.copy()
    xy[10] += 300
    moments = t + 0.4 / 30
    out, _, _ = at_times(view(t, xy), moments, np.ones(20))
    expected = np.stack([100 * moments, 50 - 20 * moments], -1)
    error = np.linalg.norm(out[:, 0] - expected, axis=-1)
    assert error[[7, 8, 11, 12]].max() < 1e-6
    assert error[[9, 10]].min() > 50


def test_nothing_is_made_up_in_gaps_or_far_outside_the_frames():
    t = np.delete(np.arange(30) / 30, [10, 20, 21])  # a dropped frame is a gap of two nominal frames
    moments = np.array([-0.6, -0.4, 9.5, 10.0, 10.5, 19.0, 20.5, 22.0, 29.4, 29.6]) / 30
    xy, sure, sigma = at_times(view(t), moments, np.ones(len(t)))
    expected = [False, True, False, False, False, True, False, True, True, False]
    assert np.isfinite(xy[:, 0, 0]).tolist() == expected
    assert (sure[:, 0] > 0).tolist() == expected
    assert np.isinf(sigma[~np.array(expected)]).all()


def test_a_joint_missing_in_one_of_two_frames_is_missing_between_them_and_there_in_the_other():
    t = np.arange(6) / 30
    confidence = np.ones((6, 25))
    confidence[3, 7] = 0
    xy, sure, _ = at_times(view(t, confidence=confidence), np.array([2.0, 2.5, 3.0, 3.5, 4.0]) / 30, np.ones(6))
    assert np.isfinite(xy[:, 7, 0]).tolist() == [True, False, False, False, True]
    assert np.isfinite(xy[:, 8]).all()
    assert (sure[:, 7] > 0).tolist() == [True, False, False, False, True]


def test_extrapolation_is_less_certain_than_interpolation():
    t = np.arange(20) / 30
    k = view(t, swinging(t))
    _, _, sigma = at_times(k, np.array([-0.45, 0.0, 0.45, 5.45]) / 30, np.ones(20))
    assert (sigma[0] > sigma[1]).all()
    assert (sigma[0] > sigma[3]).all()


def test_views_of_one_frame_and_of_none_are_no_trouble():
    one = view(np.array([0.5]), np.full((1, 25, 2), 7.0))
    xy, sure, _ = at_times(one, np.array([0.4, 0.5]), np.ones(1))
    assert np.isnan(xy[0]).all()
    assert (xy[1] == 7).all()
    assert sure[0].max() == 0
    none = view(np.zeros(0), np.zeros((0, 25, 2)))
    xy, sure, _ = at_times(none, np.array([0.0]), np.ones(0))
    assert np.isnan(xy).all()
    assert person_size(none).shape == (0,)


def test_working_by_stretches_of_the_clock_changes_nothing():
    t = np.arange(60) / 25 + 0.011
    clock = np.arange(60) / 30
    k = view(t, swinging(t))
    whole = observe([k], clock, [np.ones(60)])
    first, second = (observe([k], part, [np.ones(60)]) for part in (clock[:31], clock[31:]))
    for name in ("xy", "confidence"):
        joined = np.concatenate([getattr(first, name), getattr(second, name)], axis=1)
        np.testing.assert_allclose(joined, getattr(whole, name))


def test_person_size_is_proportional_and_ignores_stray_points_and_missing_frames():
    t = np.arange(90) / 30
    near = view(t, swinging(t))
    size = person_size(near)
    np.testing.assert_allclose(person_size(dataclasses.replace(near, xy=3 * near.xy)), 3 * size)
    xy, confidence = near.xy.copy(), near.confidence.copy()
    xy[:, 4] += 5000
    confidence[40:45] = 0
    stray = person_size(Keypoints2D.of(BODY25, t, xy, confidence))
    assert np.abs(stray / size - 1).max() < 0.15
