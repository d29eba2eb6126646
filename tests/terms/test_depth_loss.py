"""The depth by similar triangles of the torso."""

from __future__ import annotations

import numpy as np
import pytest

from mocap.bodies import kinematics
from mocap.bodies.load import load_body
from mocap.geometry.cameras import Camera, Rig
from mocap.skeletons import LSP14
from mocap.take import Keypoints2D
from mocap.terms.base import Data
from mocap.terms.depth import Depth

BODY = load_body("embedded")
RIG = kinematics.fold(BODY, LSP14)
DEPTHS = np.array([4.0, 7.0, 12.0])
FACING = np.diag([1.0, -1.0, -1.0])
T_CAMERA_WORLD = np.array([[1.0, 0, 0, 0.3], [0, 0, -1, 0.5], [0, 1, 0, 2.0], [0, 0, 0, 1]])
"""Level, looking along the world's y from 2 m behind its origin."""


def flat_body_seen(depths: np.ndarray, focal: float = 1100.0) -> tuple[Keypoints2D, Camera]:
    """Upright frontal people whose torsos are flat cards at these depths, by construction: in the camera's axes."""
    camera = Camera(
        "c", np.array([[focal, 0, 320], [0, focal, 240], [0, 0, 1]]), np.zeros(5), T_CAMERA_WORLD, (640, 480)
    )
    identity = np.broadcast_to(np.eye(3), (1, BODY.n_joints, 3, 3))
    rest = kinematics.pose(RIG, np.zeros(10), identity, np.zeros((1, 3))).keypoints[0]
    length = {
        s: np.linalg.norm(rest[LSP14.index(f"{s}_shoulder")] - rest[LSP14.index(f"{s}_hip")]) for s in ("left", "right")
    }
    xy = np.full((len(depths), 14, 2), np.nan)
    for side, x in (("left", 40.0), ("right", -40.0)):
        for end, y in (("shoulder", -0.5), ("hip", 0.5)):
            xy[:, LSP14.index(f"{side}_{end}"), 0] = 320 + x
            xy[:, LSP14.index(f"{side}_{end}"), 1] = 240 + y * length[side] * focal / depths
    return Keypoints2D.of(LSP14, np.arange(float(len(depths))), xy, np.isfinite(xy[..., 0]).astype(float)), camera


def bound_of(seen: Keypoints2D, camera: Camera, clock: np.ndarray | None = None, **options):
    times = seen.timestamps if clock is None else clock
    return Depth(**options).bind(Data(BODY, times, None, {"c": seen}, Rig((camera,))))


def posed_at(Th: np.ndarray) -> kinematics.Posed:
    R = np.broadcast_to(np.eye(3), (len(Th), BODY.n_joints, 3, 3))
    return kinematics.pose(RIG, np.zeros(10), R, Th)


def in_world(depths: np.ndarray) -> np.ndarray:
    """Points on the optical axis so far from the camera."""
    axis = np.stack([0 * depths, 0 * depths, depths], axis=1)
    return (axis - T_CAMERA_WORLD[:3, 3]) @ T_CAMERA_WORLD[:3, :3]


@pytest.mark.parametrize("focal", [500.0, 1100.0, 5000.0])
def test_similar_triangles_are_exact_for_a_torso_parallel_to_the_picture(focal):
    seen, camera = flat_body_seen(DEPTHS, focal)
    np.testing.assert_allclose(bound_of(seen, camera).depth, DEPTHS, rtol=1e-9)


def test_the_depth_of_a_body_upright_and_frontal_is_right_to_what_its_torso_is_thick():
    K = np.array([[1000.0, 0, 320], [0, 1000, 240], [0, 0, 1]])
    camera = Camera("c", K, np.zeros(5), np.eye(4), (640, 480))
    R = np.broadcast_to(np.eye(3), (3, BODY.n_joints, 3, 3)).copy()
    R[:, 0] = FACING
    points = kinematics.pose(RIG, np.zeros(10), R, np.stack([0 * DEPTHS, 0 * DEPTHS, DEPTHS], axis=1)).keypoints
    seen = Keypoints2D.of(LSP14, np.arange(3.0), camera.project(points)[0], np.ones((3, 14)))
    told = bound_of(seen, camera).depth
    np.testing.assert_allclose(told, DEPTHS, atol=0.15)  # half of a torso's depth


def test_the_cost_is_half_the_weight_times_the_square_of_the_difference():
    seen, camera = flat_body_seen(DEPTHS)
    off = np.array([0.0, 0.2, -0.5])
    (made,) = bound_of(seen, camera, weight=30.0).residuals(posed_at(in_world(DEPTHS + off)), np.arange(3))
    np.testing.assert_allclose(made.cost[:, 0], 0.5 * 30.0 * off**2, atol=1e-9)
    assert not made.cost[:, 1:].any()
    assert Depth().weight == 1e2**2  # as the paper's program has it of the residual


def test_only_the_part_along_the_optical_axis_counts():
    seen, camera = flat_body_seen(DEPTHS)
    bound = bound_of(seen, camera)
    here = in_world(DEPTHS + 0.1)
    aside = here + np.array([[0.7, 0.0, -0.4]])  # across and down, in a world that is looked at along y
    (a,), (b,) = (bound.residuals(posed_at(Th), np.arange(3)) for Th in (here, aside))
    np.testing.assert_allclose(a.cost, b.cost)
    np.testing.assert_allclose(a.jacobians[0][:, 0, 0] / 100, np.tile([0.0, 1.0, 0.0], (3, 1)), atol=1e-12)


def test_frames_that_show_nobody_are_nan_and_pull_nowhere():
    seen, camera = flat_body_seen(DEPTHS)
    confidence = seen.confidence.copy()
    confidence[1] = 0
    seen = Keypoints2D.of(LSP14, seen.timestamps, seen.xy, confidence)
    bound = bound_of(seen, camera, np.arange(5.0))  # two frames more than were seen
    assert np.isnan(bound.depth).tolist() == [False, True, False, True, True]
    np.testing.assert_allclose(bound.depth[[0, 2]], DEPTHS[[0, 2]])
    (made,) = bound.residuals(posed_at(in_world(np.full(5, 9.0))), np.arange(5))
    assert np.isfinite(made.r).all()
    assert (made.cost[:, 0] > 0).tolist() == [True, False, True, False, False]
    assert not made.jacobians[0][[1, 3, 4]].any()


def test_an_expected_error_is_a_part_of_the_depth():
    seen, camera = flat_body_seen(DEPTHS)
    (made,) = bound_of(seen, camera).known_to(0.08).residuals(posed_at(in_world(1.08 * DEPTHS)), np.arange(3))
    np.testing.assert_allclose(np.abs(made.r[:, 0, 0]), 1.0)


def test_somebody_without_a_torso_is_as_far_away_as_the_others_in_the_median():
    seen, camera = flat_body_seen(DEPTHS)
    xy, confidence = seen.xy.copy(), seen.confidence.copy()
    confidence[0, LSP14.indices(("left_hip", "right_hip"))] = 0
    xy[0, LSP14.indices(("left_shoulder", "right_shoulder"))] = [[100, 100], [100, 100]]
    told = bound_of(Keypoints2D.of(LSP14, seen.timestamps, xy, confidence), camera).depth
    assert told[0] == pytest.approx(1 / np.median(1 / DEPTHS[1:]))
