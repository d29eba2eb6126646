"""The 2D loss: pixels of a person 150 px tall, robust by coordinate, weighted by confidence and by name."""

from __future__ import annotations

import numpy as np
import pytest
from single_view import people

from mocap.bodies import kinematics
from mocap.errors import UnknownName
from mocap.geometry.cameras import Camera, Rig
from mocap.skeletons import LSP14
from mocap.take import Keypoints2D
from mocap.terms.base import Data
from mocap.terms.k2d import REFERENCE, K2d, pixels_per_metre

FULL = K2d(joints={})
N = 3
SHIFT = np.array([7.0, -4.0])


@pytest.fixture(scope="module")
def made():
    return people(N, 1)


def camera(scale: float) -> Camera:
    f = 800.0 * scale
    return Camera(
        "c", np.array([[f, 0, 300 * scale], [0, f, 200 * scale], [0, 0, 1]]), np.zeros(5), np.eye(4), (640, 480)
    )


def bound_of(made, term=FULL, *, scale=1.0, shift=(0.0, 0.0), confidence=None, missing=None):
    """The loss for a picture of some resolution; `shift` [px at scale 1] goes on every point that is seen."""
    view = camera(scale)
    xy, _ = view.project(posed_of(made).keypoints)
    sure = np.ones(xy.shape[:2]) if confidence is None else confidence
    xy = xy + scale * np.asarray(shift)
    if missing is not None:
        sure = np.where(missing, 0.0, sure)
    seen = Keypoints2D.of(LSP14, np.arange(float(N)), xy, sure)
    return term.bind(Data(made.body, seen.timestamps, None, {"c": seen}, Rig((view,))))


def posed_of(made):
    return kinematics.pose(kinematics.fold(made.body, LSP14), made.state.betas, made.state.R, made.state.Th)


def residuals(bound, made):
    """Across and down, (2, people, joints), and the costs likewise."""
    parts = bound.residuals(posed_of(made), np.arange(N))
    return np.stack([m.r[..., 0] for m in parts]), np.stack([m.cost for m in parts])


def torso_scale(made, xy):
    """[px/m]: what similar triangles of the two sides of the torso say."""
    rest = kinematics.pose(
        kinematics.fold(made.body, LSP14), np.zeros(10), np.tile(np.eye(3), (1, 24, 1, 1)), np.zeros((1, 3))
    ).keypoints[0]
    sides = [LSP14.indices((f"{s}_shoulder", f"{s}_hip")) for s in ("left", "right")]
    return np.mean(
        [np.linalg.norm(xy[:, a] - xy[:, b], axis=-1) / np.linalg.norm(rest[a] - rest[b]) for a, b in sides], 0
    )


def test_zero_at_the_truth(made):
    r, cost = residuals(bound_of(made), made)
    assert np.abs(r).max() < 1e-9 and cost.max() < 1e-15


def test_residual_is_the_confidence_times_the_error_in_pixels_of_a_person_150_px_tall(made):
    confidence = np.random.default_rng(0).uniform(0.2, 1, (N, 14))
    r, _ = residuals(bound_of(made, shift=SHIFT, confidence=confidence), made)
    xy, _ = camera(1.0).project(posed_of(made).keypoints)
    gain = REFERENCE / torso_scale(made, xy)
    expected = -SHIFT[:, None, None] * confidence * gain[:, None]
    np.testing.assert_allclose(r, expected, rtol=1e-6)
    # of somebody 1.7 m tall that is 150 px
    assert pytest.approx(150) == 1.7 * REFERENCE


@pytest.mark.parametrize("scale", [3.0, 0.25])
def test_the_resolution_of_the_picture_changes_nothing(made, scale):
    (r, cost), (scaled, scaled_cost) = (residuals(bound_of(made, scale=s, shift=SHIFT), made) for s in (1.0, scale))
    assert np.abs(r).min() > 1
    np.testing.assert_allclose(scaled, r, rtol=1e-6)
    np.testing.assert_allclose(scaled_cost, cost, rtol=1e-6)


@pytest.mark.parametrize("sigma", [100.0, 8.0])
@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_cost_is_geman_mcclure_of_each_coordinate(made, sigma, weight):
    confidence = np.random.default_rng(1).uniform(0.2, 1, (N, 14))
    term = K2d(sigma=sigma, weight=weight, joints={})
    _, cost = residuals(bound_of(made, term, shift=(30, -300), confidence=confidence), made)
    plain, _ = residuals(bound_of(made, shift=(30, -300)), made)  # e, at confidence 1
    square = plain**2
    expected = 0.5 * weight * confidence**2 * square * sigma**2 / (sigma**2 + square)
    np.testing.assert_allclose(cost, expected, rtol=1e-6)
    assert (cost < 0.5 * weight * sigma**2).all()  # bounded, however far off
    assert K2d().sigma == 100.0


def test_joints_that_were_not_seen_contribute_nothing(made):
    missing = np.zeros((N, 14), dtype=bool)
    missing[0, 3], missing[2, [0, 13]] = True, True
    bound = bound_of(made, shift=SHIFT, missing=missing)
    r, cost = residuals(bound, made)
    for m in bound.residuals(posed_of(made), np.arange(N)):
        assert not m.r[missing].any() and not m.cost[missing].any() and not m.jacobians[0][missing].any()
        assert m.jacobians[0][~missing].any()
    whole, _ = residuals(bound_of(made, shift=SHIFT), made)
    # a hip is of the torso, whose size it no longer tells: the other side does
    same = ~missing & (np.arange(N) > 0)[:, None]
    np.testing.assert_allclose(r[:, same], whole[:, same], rtol=1e-6)
    assert np.isfinite(r).all() and (cost[:, ~missing] > 0).all()


def test_a_picture_that_shows_nobody_has_no_residuals(made):
    missing = np.zeros((N, 14), dtype=bool)
    missing[1] = True
    for m in bound_of(made, shift=SHIFT, missing=missing).residuals(posed_of(made), np.arange(N)):
        assert m.frame.tolist() == [0, 2]


def test_joints_weigh_as_their_names_say_and_the_neck_of_lsp_nothing(made):
    r, _ = residuals(bound_of(made, shift=SHIFT), made)
    weighed, _ = residuals(bound_of(made, K2d(joints={"left_hip": 0.5, "head_top": 0}), shift=SHIFT), made)
    expected = r.copy()
    expected[..., LSP14.index("left_hip")] *= 0.5
    expected[..., LSP14.index("head_top")] = 0
    np.testing.assert_allclose(weighed, expected, rtol=1e-9)
    usual, _ = residuals(bound_of(made, K2d(), shift=SHIFT), made)
    neck = LSP14.index("neck")
    assert not usual[..., neck].any()
    np.testing.assert_array_equal(np.delete(usual, neck, axis=-1), np.delete(r, neck, axis=-1))


def test_an_unknown_joint_is_refused_with_the_known_ones():
    with pytest.raises(UnknownName, match=r"left_hipp.*left_hip"):
        K2d(joints={"left_hipp": 1.0}).check()
    K2d(joints={"left_hip": 1.0, "nose": 0.5}).check()


class TestPixelsPerMetre:
    def scale(self, made, xy):
        return pixels_per_metre(made.body, LSP14, xy)

    @pytest.fixture
    def xy(self, made):
        return camera(1.0).project(posed_of(made).keypoints)[0].copy()

    def test_one_side_of_the_torso_is_enough(self, made, xy):
        whole = self.scale(made, xy)
        xy[:, LSP14.index("left_hip")] = np.nan
        np.testing.assert_allclose(self.scale(made, xy), whole, rtol=0.1)

    def test_without_a_torso_the_longest_limb_tells(self, made, xy):
        whole = self.scale(made, xy)
        xy[:, LSP14.indices(("left_hip", "right_hip"))] = np.nan
        rest = kinematics.pose(
            kinematics.fold(made.body, LSP14), np.zeros(10), np.tile(np.eye(3), (1, 24, 1, 1)), np.zeros((1, 3))
        ).keypoints[0]
        pairs = [LSP14.indices(limb) for limb in LSP14.limbs]
        ratio = np.array(
            [np.linalg.norm(xy[:, a] - xy[:, b], axis=-1) / np.linalg.norm(rest[a] - rest[b]) for a, b in pairs]
        )
        told = self.scale(made, xy)
        np.testing.assert_allclose(told, np.nanmax(ratio, axis=0))
        np.testing.assert_allclose(told, whole, rtol=0.35)

    def test_without_any_limb_the_others_tell_and_without_others_nobody_does(self, made, xy):
        xy[1] = np.nan
        xy[1, LSP14.index("left_wrist")] = [10.0, 20.0]
        told = self.scale(made, xy)
        assert told[1] == pytest.approx(np.median(told[[0, 2]]))
        assert np.isnan(self.scale(made, xy[1:2])).all()

    def test_a_torso_that_is_one_point_tells_nothing(self, made, xy):
        xy[2] = 5.0
        told = self.scale(made, xy)
        assert told[2] == pytest.approx(np.median(told[:2]))
