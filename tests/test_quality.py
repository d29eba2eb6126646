"""Numbers that need no truth, on takes whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rigs

from mocap import quality
from mocap.skeletons import BODY25
from mocap.take import Keypoints2D, Keypoints3D, Person, RunContext, Take

CLOCK = np.arange(10) / 25
START = np.random.default_rng(0).normal(0, 0.3, (25, 3)) + [0, 0, 1.0]
XYZ = START + CLOCK[:, None, None] * [0.2, 0, 0]  # walks along x at a constant speed


def points(xyz: np.ndarray) -> Keypoints3D:
    n = len(xyz)
    return Keypoints3D.of(BODY25, xyz, np.ones((n, 25)), np.zeros((n, 25, 3, 3)), np.zeros((n, 25)))


def seen_by(camera, times: np.ndarray, shift: float = 0.0) -> Keypoints2D:
    xy, _ = camera.project(START + times[:, None, None] * [0.2, 0, 0])
    return Keypoints2D.of(BODY25, times, xy + [shift, 0], np.ones(xy.shape[:2]))


def test_linear_motion_is_met_exactly_between_frames_and_nowhere_outside():
    times = np.array([-0.1, 0.0, 0.05, 0.36, 0.4])
    found = quality.at_times(CLOCK, XYZ, times)
    assert found[1:4] == pytest.approx(START + times[1:4, None, None] * [0.2, 0, 0])
    assert np.isnan(found[[0, 4]]).all()


def test_a_frame_met_exactly_needs_no_neighbour():
    gaps = XYZ.copy()
    gaps[3] = np.nan
    found = quality.at_times(CLOCK, gaps, CLOCK)
    assert np.isfinite(found[[2, 4]]).all()
    assert np.isnan(found[3]).all()
    assert np.isnan(quality.at_times(CLOCK, gaps, CLOCK[2:3] + 0.01)).all()


def test_a_single_frame_has_only_its_own_moment():
    found = quality.at_times(CLOCK[:1], XYZ[:1], np.array([0.0, 0.02]))
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()


def test_reprojection_is_zero_at_the_truth_and_the_shift_otherwise_whatever_the_cameras_clock():
    rig = rigs.rig()
    person = Person({"01": seen_by(rig["01"], CLOCK), "07": seen_by(rig["07"], CLOCK + 0.013, 3.0)}, points(XYZ))
    found = quality.reprojection(rig, CLOCK, person, XYZ)
    assert found["01"] == pytest.approx(0, abs=1e-9)
    assert found["07"] == pytest.approx(3, abs=1e-6)


def test_a_camera_that_saw_nobody_has_no_reprojection():
    rig = rigs.rig()
    nobody = Keypoints2D.of(BODY25, CLOCK, np.zeros((10, 25, 2)), np.zeros((10, 25)))
    assert quality.reprojection(rig, CLOCK, Person({"01": nobody}, points(XYZ)), XYZ) == {"01": None}


def test_rigid_limbs_do_not_spread_and_constant_speed_has_no_jitter():
    assert quality.limb_spread(XYZ, BODY25) == pytest.approx(0, abs=1e-12)
    assert quality.jitter(CLOCK, XYZ) == pytest.approx(0, abs=1e-9)
    fast = START + 0.5 * 4.0 * (CLOCK**2)[:, None, None] * [0, 0, 1]
    assert quality.jitter(CLOCK, fast) == pytest.approx(4)
    assert quality.jitter(CLOCK[:2], XYZ[:2]) is None


def test_missing_points_do_not_count():
    some = XYZ.copy()
    some[4] = np.nan
    some[:, 3] = np.nan
    assert quality.limb_spread(some, BODY25) == pytest.approx(0, abs=1e-12)
    assert quality.jitter(CLOCK, some) == pytest.approx(0, abs=1e-9)
    assert quality.limb_spread(np.full_like(XYZ, np.nan), BODY25) is None


def test_a_take_is_told_person_by_person():
    rig = rigs.rig()
    some = XYZ.copy()
    some[:5, BODY25.index("left_knee")] = np.nan
    person = Person({n: seen_by(rig[n], CLOCK) for n in rig.names}, points(some))
    take = Take(RunContext(Path("o")), CLOCK, np.arange(10), rig, people=(person,))
    (told,) = quality.of_take(take)
    assert told["body_joints_found"] == pytest.approx(1 - 5 / (10 * 12))
    assert told["joints_found"] == pytest.approx(1 - 5 / (10 * 25))
    assert told["reprojection_px"] == pytest.approx({"01": 0, "07": 0, "all": 0}, abs=1e-9)
    assert "reprojection_fit_px" not in told
