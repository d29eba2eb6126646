"""Claims about triangulation as a whole, on a walker whose every joint is known, and on a real recording."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from walker import ring, seen, walker

from mocap import progress
from mocap.detect.associate import associate
from mocap.errors import CalibrationError, DataError
from mocap.geometry import rotations
from mocap.geometry.cameras import Rig
from mocap.io.calibration import match_cameras, read_calibration
from mocap.io.stored_detections import read_openpose
from mocap.skeletons import BODY25, BODY25B, COCO17
from mocap.take import Detections, Keypoints2D
from mocap.triangulate import points
from mocap.triangulate.agreement import Lags
from mocap.triangulate.points import Triangulation, about_time, triangulate

T = np.arange(120) / 30


def errors(made: Triangulation, t: np.ndarray = T, speed: float = 1.0) -> np.ndarray:
    return np.linalg.norm(made.keypoints3d.xyz - walker(t, speed=speed), axis=-1)


def consistency(made: Triangulation, t: np.ndarray = T) -> float:
    """Mean normalised error squared: 3 when the covariance is honest."""
    e, there = made.keypoints3d.xyz - walker(t), made.keypoints3d.confidence > 0
    inverse = np.linalg.inv(made.keypoints3d.covariance[there])
    return float(np.einsum("ni,nij,nj->n", e[there], inverse, e[there]).mean())


@pytest.mark.parametrize("views", [2, 3, 5])
def test_reprojection_of_triangulated_points_is_zero_without_noise(views: int):
    rig = ring(5).only(ring(5).names[:views])
    made = triangulate(rig, seen(rig, T), T)
    assert errors(made).max() < 1e-4
    assert made.facts["joints_found"] == 1
    assert made.facts["reprojection_px"] < 1e-3
    assert made.warnings == []


@pytest.mark.parametrize(("views", "noise"), [(3, 2.0), (4, 4.0), (6, 6.0)])
def test_with_noise_errors_are_what_the_covariance_says_whatever_the_noise(views: int, noise: float):
    rig = ring(views)
    made = triangulate(rig, seen(rig, T, noise=noise, confidence=(0.3, 1.0), missing=0.05), T)
    assert 2.5 < consistency(made) < 3.6
    assert made.facts["joints_found"] > 0.98
    assert made.warnings == []


def test_confident_views_weigh_more():
    rig = ring(5)
    k = seen(rig, T, noise=3.0, confidence=(0.1, 1.0))
    blind = {n: dataclasses.replace(v, confidence=np.ones_like(v.confidence)) for n, v in k.items()}
    assert errors(triangulate(rig, k, T)).mean() < 0.95 * errors(triangulate(rig, blind, T)).mean()


@pytest.mark.parametrize("views", [4, 6])
def test_gross_outliers_hardly_hurt(views: int):
    rig, rng = ring(views), np.random.default_rng(4)
    clean = seen(rig, T, noise=3.0)
    dirty = {}
    for name, v in clean.items():
        bad = rng.random(v.confidence.shape) < 0.05
        dirty[name] = dataclasses.replace(v, xy=v.xy + np.where(bad[..., None], 200 * rng.normal(size=v.xy.shape), 0))
    before, after = triangulate(rig, clean, T), triangulate(rig, dirty, T)
    assert np.nanmedian(errors(after)) < 1.08 * np.nanmedian(errors(before))
    assert np.nanpercentile(errors(after), 99) < 1.6 * np.nanpercentile(errors(before), 99)
    assert after.facts["joints_found"] > 0.99
    dropped = sum(c["dropped"] for c in after.facts["cameras"].values())
    assert 0.8 * 0.05 < dropped / sum(c["offered"] for c in after.facts["cameras"].values()) < 1.2 * 0.05


@pytest.mark.parametrize("views", [3, 5])
def test_swapped_sides_are_put_right_counted_and_given_back(views: int):
    rig = ring(views)
    k = seen(rig, T, noise=3.0)
    mirrored = k["cam_2"].xy.copy()
    mirrored[40:70] = mirrored[40:70][:, BODY25.mirrored()]
    swapped = {**k, "cam_2": dataclasses.replace(k["cam_2"], xy=mirrored)}
    made = triangulate(rig, swapped, T)
    counted = made.facts["cameras"]["cam_2"]["swapped_frames"]
    assert {p: abs(counted[p] - 30) <= 1 for p in ("trunk", "arms", "legs")} == {"trunk": 1, "arms": 1, "legs": 1}
    assert np.nanmean(errors(made)) < 1.03 * np.nanmean(errors(triangulate(rig, k, T)))
    legs = BODY25.indices(("left_knee", "right_ankle"))
    np.testing.assert_array_equal(made.keypoints2d["cam_2"].xy[:, legs], k["cam_2"].xy[:, legs])
    left = triangulate(rig, swapped, T, unswap=False)
    assert left.keypoints2d["cam_2"] is swapped["cam_2"]
    assert np.nanmean(errors(left)) > np.nanmean(errors(made))


def test_cameras_that_saw_at_other_moments_are_interpolated_not_dropped():
    rig = ring(4)
    times = {n: np.arange(-2, 130) / 30 + 0.009 * i for i, n in enumerate(rig.names)}
    times["cam_4"] = np.arange(-2, 110) / 25 + 0.003  # another frame rate
    k = seen(rig, times, noise=1.0)
    made = triangulate(rig, k, T)
    together = triangulate(rig, seen(rig, T, noise=1.0), T)
    assert made.facts["joints_found"] == 1
    assert made.warnings == []
    assert errors(made).mean() < 1.1 * errors(together).mean()
    # taking the nearest frame instead is far worse
    nearest = {
        n: Keypoints2D.of(BODY25, T, v.xy[i], v.confidence[i])
        for n, v in k.items()
        for i in [np.abs(v.timestamps[:, None] - T).argmin(0)]
    }
    assert errors(triangulate(rig, nearest, T)).mean() > 1.3 * errors(made).mean()
    assert 2.3 < consistency(made) < 4


@pytest.mark.parametrize("views", [2, 3])
def test_a_camera_shifted_in_time_is_named_with_its_offset_and_not_shifted(views: int):
    rig = ring(5).only(ring(5).names[:views])
    k = seen(rig, T, noise=2.0)
    last = rig.names[-1]
    k[last] = dataclasses.replace(k[last], timestamps=k[last].timestamps + 0.2)
    made = triangulate(rig, k, T)
    (said,) = [w for w in made.warnings if "late" in w]
    assert last in said
    assert "offset of -0.2" in said or "offset of -0.19" in said
    assert abs(made.facts["cameras"][last]["lag_s"] - 0.2) < 0.005
    assert made.keypoints2d[last].timestamps[0] == T[0] + 0.2


def test_a_moved_camera_is_named_and_does_little_harm():
    rig = ring(5)
    R = np.eye(4)
    R[:3, :3] = rotations.exp(np.array([0.05, 0.03, 0.0]))
    moved = dataclasses.replace(rig["cam_2"], T_camera_world=R @ rig["cam_2"].T_camera_world)
    wrong = Rig(tuple(moved if c.name == "cam_2" else c for c in rig))
    k = seen(rig, T, noise=3.0)
    made = triangulate(wrong, k, T)
    assert any("Camera cam_2 disagrees with the others by" in w for w in made.warnings)
    assert not any("cam_1" in w or "cam_3" in w or "cam_4" in w or "cam_5" in w for w in made.warnings)
    assert np.nanmedian(errors(made)) < 1.3 * np.nanmedian(errors(triangulate(rig, k, T)))


def test_a_view_that_sees_nobody_for_a_while_or_ever_is_survived_and_reported():
    rig = ring(4)
    k = seen(rig, T, noise=3.0)
    gone = k["cam_3"].confidence.copy()
    gone[30:50] = 0
    k["cam_3"] = Keypoints2D.of(BODY25, T, k["cam_3"].xy, gone)
    made = triangulate(rig, k, T)
    assert made.facts["joints_found"] > 0.995
    assert made.warnings == ["Camera cam_3 saw nobody in 20 of 120 frames."]
    k["cam_3"] = Keypoints2D.of(BODY25, T, k["cam_3"].xy, 0 * gone)
    made = triangulate(rig, k, T)
    assert made.facts["joints_found"] > 0.98
    assert made.warnings == ["Camera cam_3 saw nobody in all 120 frames."]
    assert made.facts["cameras"]["cam_3"]["reprojection_px"] is None
    k["cam_3"] = Keypoints2D.of(BODY25, np.zeros(0), np.zeros((0, 25, 2)), np.zeros((0, 25)))
    assert triangulate(rig, k, T).facts["joints_found"] > 0.98


def test_two_cameras_are_enough():
    rig = ring(5).only(("cam_1", "cam_2"))
    made = triangulate(rig, seen(rig, T, noise=2.0), T)
    assert made.facts["joints_found"] > 0.99
    assert np.nanmedian(errors(made)) < 0.025
    assert 2.5 < consistency(made) < 3.6


def test_a_spike_is_dropped_or_found_elsewhere_and_a_real_punch_is_kept():
    rig = ring(5).only(("cam_1", "cam_2"))
    k = seen(rig, T, noise=1.0)
    wrist = BODY25.index("right_wrist")
    truth = walker(T)
    elsewhere = truth[60, wrist] + [0.0, 0.9, 0.5]  # both cameras take something else for the wrist
    for name in rig.names:
        k[name].xy[60, wrist] = rig[name].project(elsewhere)[0]
    made = triangulate(rig, k, T)
    assert made.facts["spikes_dropped"] == 1
    assert made.facts["joints"]["right_wrist"]["dropped"] == 1
    assert made.keypoints3d.confidence[60, wrist] == 0
    assert np.isnan(made.keypoints3d.xyz[60, wrist]).all()
    assert triangulate(rig, k, T, drop_spikes=False).facts["joints_found"] == 1

    rig = ring(6)  # three of six cameras are fooled: the other three know better
    k = seen(rig, T, noise=1.0)
    for name in rig.names[:3]:
        k[name].xy[60, wrist] = rig[name].project(elsewhere)[0]
        k[name].confidence[60, wrist] = 1.0
    for name in rig.names[3:]:
        k[name].confidence[60, wrist] = 0.6
    made = triangulate(rig, k, T)
    assert (made.facts["spikes_dropped"], made.facts["spikes_found_again"]) == (0, 1)
    assert errors(made)[60, wrist] < 0.04

    fast = seen(ring(4), T, noise=2.0, speed=2.5)
    made = triangulate(ring(4), fast, T)
    assert made.facts["spikes_dropped"] == 0
    assert np.nanmax(errors(made, speed=2.5)) < 0.3


def test_doubtful_points_are_kept_with_their_doubt_and_hopeless_ones_are_missing():
    near = ring(4).cameras[0]
    pose = near.T_camera_world.copy()
    pose[0, 3] += 0.05  # 5 cm to the side of one another
    rig = Rig((near, dataclasses.replace(near, name="beside", T_camera_world=pose)))
    k = seen(rig, T, noise=1.0)
    made = triangulate(rig, k, T)
    assert made.facts["joints_found"] > 0.97
    assert np.nanmedian(np.sqrt(np.trace(made.keypoints3d.covariance, axis1=-2, axis2=-1))) > 0.4
    assert 2.5 < consistency(made) < 4
    strict = triangulate(rig, k, T, max_sigma=0.7)
    assert 0.1 < strict.facts["joints_found"] < 0.9
    there = strict.keypoints3d.confidence > 0
    assert (np.trace(strict.keypoints3d.covariance[there], axis1=-2, axis2=-1) <= 0.7**2).all()


def test_working_in_stretches_gives_the_same_as_all_at_once(monkeypatch: pytest.MonkeyPatch):
    rig = ring(4)
    k = seen(rig, {n: T + 0.004 * i for i, n in enumerate(rig.names)}, noise=3.0, missing=0.1)
    whole = triangulate(rig, k, T)
    monkeypatch.setattr(points, "_CHUNK", 4 * 25 * 13)
    told: list[int] = []

    class Bar:
        def update(self, n: int) -> None:
            told.append(n)

        def close(self) -> None:
            pass

    with progress.listening(lambda label, total, unit: Bar()):
        parts = triangulate(rig, k, T)
    np.testing.assert_allclose(parts.keypoints3d.xyz, whole.keypoints3d.xyz, atol=1e-9)
    np.testing.assert_allclose(parts.keypoints3d.covariance, whole.keypoints3d.covariance, atol=1e-9)
    assert len(told) == 10
    assert sum(told) == 120


def test_single_frames_are_triangulated():
    rig, one = ring(4), np.array([1.0])
    made = triangulate(rig, seen(rig, one, noise=1.0), one)
    assert made.facts["joints_found"] == 1
    assert errors(made, one).max() < 0.05


def test_the_report_is_json_and_adds_up():
    rig = ring(4)
    made = triangulate(rig, seen(rig, T, noise=3.0, missing=0.2), T)
    facts = json.loads(json.dumps(made.facts))
    assert list(facts["cameras"]) == list(rig.names)
    assert list(facts["joints"]) == list(BODY25.joints)
    for name, c in facts["cameras"].items():
        assert c["offered"] == c["used"] + c["dropped"] == int((made.keypoints2d[name].confidence > 0).sum())
    found = (made.keypoints3d.confidence > 0).mean(0)
    np.testing.assert_allclose([j["found"] for j in facts["joints"].values()], found, atol=1e-4)
    assert (np.isnan(made.keypoints3d.covariance).any((-1, -2)) == (made.keypoints3d.confidence == 0)).all()


def test_views_without_calibration_are_left_aside_and_said():
    rig = ring(4)
    k = seen(rig, T, noise=1.0)
    made = triangulate(rig.only(("cam_1", "cam_2", "cam_3")), k, T)
    assert made.warnings == ["Camera cam_4 has keypoints and no calibration: it is left aside."]
    assert made.keypoints2d["cam_4"] is k["cam_4"]


def test_impossible_input_is_refused_in_a_sentence():
    rig = ring(3)
    k = seen(rig, T)
    with pytest.raises(CalibrationError, match="at least 2 calibrated cameras"):
        triangulate(rig.only(("cam_1",)), k, T)
    with pytest.raises(CalibrationError, match="at least 4 calibrated cameras"):
        triangulate(rig, k, T, min_views=4)
    with pytest.raises(DataError, match="clocks"):
        triangulate(rig, {n: dataclasses.replace(v, timestamps=T + 100 * i) for i, (n, v) in enumerate(k.items())}, T)
    with pytest.raises(DataError, match="cam_2: coco17"):
        other = Keypoints2D.of(COCO17, T, np.ones((120, 17, 2)), np.ones((120, 17)))
        triangulate(rig, {**k, "cam_2": other}, T)
    with pytest.raises(DataError, match="no frame"):
        triangulate(rig, k, np.zeros(0))


def _pose2sim(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """The points of a TRC file in the world [m], and their places in BODY_25B."""
    lines = file.read_text().splitlines()
    names = [n for n in lines[3].split("\t")[2:] if n]
    table = np.array([[float(x) for x in line.split("\t") if x.strip()] for line in lines[5:] if line.strip()])
    xyz = table[:, 2:].reshape(len(table), -1, 3)[..., [2, 0, 1]]  # (X, Y, Z) of the file is (y, z, x) of the world

    def ours(name: str) -> str:
        words = "".join("_" + x.lower() if x.isupper() else x for x in name[1:]).lstrip("_")
        special = {"Neck": "upper_neck", "Head": "head_top", "Nose": "nose"}
        return special.get(name) or {"R": "right_", "L": "left_"}[name[0]] + words

    return xyz, BODY25B.indices(ours(n) for n in names)


def test_on_a_real_recording_points_reproject_closer_than_pose2sims_and_none_it_keeps_is_dropped(shared_data: Path):
    data = shared_data / "pose2sim_balancing"
    names = ["cam01", "cam02", "cam03", "cam04"]
    cameras, _, _ = match_cameras(read_calibration(data / "calibration" / "Calib.qca.txt").cameras, names)
    rig, t = Rig(tuple(cameras.values())), np.arange(100) / 60
    detections = {}
    for name in names:
        found = read_openpose(data / "openpose" / "balancing" / f"{name}_json", "body25b")
        detections[name] = Detections.of(found.skeleton, found.frame_numbers / 60, found.xy, found.confidence)
    seen2d = associate(rig, detections, t).people[0]
    made = triangulate(rig, seen2d, t)
    theirs, places = _pose2sim(data / "pose2sim_result" / "S00_P00_T01_BalancingTrial_0-100.trc")
    ours = made.keypoints3d.xyz[:, places]
    assert np.isfinite(ours[np.isfinite(theirs)]).all()
    assert made.facts["joints_found"] > 0.995
    ours_px, theirs_px = (
        np.stack([np.linalg.norm(c.project(x)[0] - seen2d[c.name].xy[:, places], axis=-1) for c in rig])
        for x in (ours, theirs)
    )
    both = np.isfinite(ours_px) & np.isfinite(theirs_px)
    assert both.sum() > 8000
    assert np.median(ours_px[both]) < 0.95 * np.median(theirs_px[both])
    assert np.median(ours_px[both]) < 10.5
    assert not any("late" in w or "early" in w or "moved" in w for w in made.warnings)  # triggered together, in place


def test_half_a_frame_late_is_told_of_long_takes_only_and_a_whole_one_of_all():
    lags = Lags(np.array([0.0, 0.018, 0.0]), np.full(3, 0.001), np.array([1.0, 1.3, 1.0]))
    assert not about_time("abc", lags, fps=30.0, seconds=1.3)
    assert not about_time("abc", Lags(lags.lag * 9, lags.sigma, lags.closer), fps=30.0, seconds=0.7)
    (told,) = about_time("abc", lags, fps=30.0, seconds=6.0)
    assert "Camera b" in told and "late" in told and "-0.018" in told
    whole = Lags(np.array([0.0, -0.05, 0.0]), np.full(3, 0.001), np.array([1.0, 1.3, 1.0]))
    assert "early" in about_time("abc", whole, fps=30.0, seconds=1.3)[0]
