"""Claims about what no body can do, and about what a fast one can."""

from __future__ import annotations

import numpy as np
import pytest
from walker import walker

from mocap.skeletons import BODY25, LEFT_HAND21, MEDIAPIPE75, RIGHT_HAND21
from mocap.triangulate.gate import hands_astray, impossible_limbs, spikes


def covariance(xyz: np.ndarray, sigma: float = 0.01) -> np.ndarray:
    return np.broadcast_to(sigma**2 * np.eye(3), (*xyz.shape, 3)).copy()


@pytest.mark.parametrize("fps", [30, 60, 120])
@pytest.mark.parametrize("length", [1, 2])
def test_a_point_that_jumps_away_and_back_is_a_spike_and_its_neighbours_are_not(fps: int, length: int):
    t = np.arange(90) / fps
    xyz = walker(t)
    xyz[40 : 40 + length, 4] += [0.0, 0.6, 0.4]
    expected = np.zeros(xyz.shape[:2], dtype=bool)
    expected[40 : 40 + length, 4] = True
    np.testing.assert_array_equal(spikes(xyz, covariance(xyz), t), expected)


def test_a_fast_punch_is_no_spike():
    """A wrist that goes out and back 0.5 m in 0.2 s: 12 m/s and 250 m/s^2 at its peak."""
    for fps in (25, 30, 60, 240):
        t = np.arange(2 * fps) / fps
        xyz = walker(t)
        out = np.abs(t - 1.0) < 0.1
        xyz[out, 4, 0] += 0.25 * (1 + np.cos(np.pi * (t[out] - 1.0) / 0.1))
        assert not spikes(xyz, covariance(xyz), t).any(), fps


def test_noise_within_its_covariance_is_no_spike_however_large():
    t = np.arange(300) / 60
    xyz = walker(t) + 0.15 * np.random.default_rng(0).normal(size=(300, 25, 3))
    assert spikes(xyz, covariance(xyz, 0.15), t).mean() < 1e-3
    assert spikes(xyz, covariance(xyz, 0.005), t).mean() > 0.2


def test_points_beside_gaps_and_takes_of_few_frames_are_kept():
    t = np.arange(30) / 30
    xyz = walker(t)
    xyz[10:12] = np.nan
    xyz[12, 3] += 1.0  # nothing right before it: not known to be a spike
    assert not spikes(xyz, covariance(xyz), t)[:12].any()
    for frames in (1, 2, 3):
        assert not spikes(xyz[:frames], covariance(xyz[:frames]), t[:frames]).any()


def test_a_wrist_that_belongs_to_somebody_else_is_to_blame_and_the_elbow_is_not():
    t = np.arange(100) / 30
    xyz = walker(t)
    wrist, elbow = BODY25.index("left_wrist"), BODY25.index("left_elbow")
    xyz[30:60, wrist] += [1.0, 0.0, 0.0]
    bad = impossible_limbs(xyz, covariance(xyz), BODY25)
    assert bad[30:60, wrist].all()
    assert bad.sum() == 30
    xyz[30:60, wrist] -= [1.0, 0.0, 0.0]
    xyz[30:60, elbow] += [1.0, 0.0, 0.0]
    bad = impossible_limbs(xyz, covariance(xyz), BODY25)
    assert bad[30:60, elbow].all()
    assert bad.sum() == 30


def test_an_uncertain_point_is_not_blamed_for_what_its_covariance_explains():
    t = np.arange(100) / 30
    xyz = walker(t)
    wrist = BODY25.index("left_wrist")
    xyz[30:60, wrist] += [0.6, 0.0, 0.0]
    sure = covariance(xyz)
    sure[30:60, wrist] = 0.3**2 * np.eye(3)
    assert not impossible_limbs(xyz, sure, BODY25).any()
    assert not impossible_limbs(xyz[:5], covariance(xyz[:5]), BODY25).any()


def test_a_hand_that_is_not_at_its_arms_wrist_is_somewhere_else_and_so_is_a_single_finger():
    left, right = (MEDIAPIPE75.indices(hand.joints) for hand in (LEFT_HAND21, RIGHT_HAND21))
    rng = np.random.default_rng(0)
    xyz = rng.normal(size=(6, 75, 3))
    for places, wrist in ((left, "left_wrist"), (right, "right_wrist")):
        on_a_ball = rng.normal(size=(6, 21, 3))
        on_a_ball *= rng.uniform(0.02, 0.19, (6, 21, 1)) / np.linalg.norm(on_a_ball, axis=-1, keepdims=True)
        xyz[:, places] = xyz[:, [MEDIAPIPE75.index(wrist)]] + on_a_ball
    assert not hands_astray(xyz, MEDIAPIPE75).any()
    expected = np.zeros((6, 75), dtype=bool)
    xyz[1, left] += [0.0, 0.45, 0.0]
    expected[1, left] = True
    xyz[2, right[8]] += [0.0, 0.0, 0.6]
    expected[2, right[8]] = True
    xyz[3, MEDIAPIPE75.index("left_wrist")] = np.nan  # an arm that was not seen tells nothing
    xyz[3, left] += 1.0
    np.testing.assert_array_equal(hands_astray(xyz, MEDIAPIPE75), expected)
    assert not hands_astray(xyz[:, left], LEFT_HAND21).any()
