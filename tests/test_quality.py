"""Numbers that need no truth, on takes whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rigs
from pictures import pictures_take

from mocap import cli, quality
from mocap.bodies.kinematics import keypoints_of
from mocap.skeletons import BODY25, LSP14
from mocap.take import Keypoints2D, Keypoints3D, Person, Report, RunContext, Take

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


def test_a_body_fitted_to_one_camera_is_judged_by_what_that_camera_saw(repository, tmp_path):
    take = pictures_take(repository / "data" / "examples" / "lsp", tmp_path, few=2)
    first, second = quality.of_take(take)
    assert (first["picture"], second["picture"]) == ("im0001", "im0002")
    (name, seen), camera = next(iter(take.people[0].keypoints2d.items())), take.rig.cameras[0]
    person = take.people[0]
    points = keypoints_of(person.body, LSP14, person.shape, person.motion.Rh, person.motion.Th, person.motion.poses)
    away = np.linalg.norm(camera.project(points)[0] - seen.xy, axis=-1)
    assert first["reprojection_fit_px"] == {name: pytest.approx(np.median(away))}
    assert 1 < np.median(away) < 4  # two pixels of noise
    assert first["reprojection_px"] == {} and first["joints_found"] == 1.0


def test_a_person_neither_triangulated_nor_fitted_has_no_numbers(repository, tmp_path):
    take = pictures_take(repository / "data" / "examples" / "lsp", tmp_path, few=1)
    assert quality.of_take(take.with_people(motion=[None])) == []


def test_many_pictures_are_told_in_three_lines(repository, tmp_path):
    take = pictures_take(repository / "data" / "examples" / "lsp", tmp_path, few=4)
    told = quality.of_take(take)[:3]
    for one, away in zip(told, (3.0, 9.0, 4.0), strict=True):
        one["reprojection_fit_px"] = {one["picture"]: away}
    take = take.replace(reports=(Report("data", "data"), Report("quality", "quality", {"people": told})))
    lines = cli._table(take).splitlines()[-3:]
    assert [line.split() for line in lines] == [
        ["pictures", "fitted", "3", "of", "4"],
        ["median", "reprojection", "4.0", "px"],
        ["least", "well", "im0002", "9.0", "px,", "im0003", "4.0", "px,", "im0001", "3.0", "px"],
    ]
