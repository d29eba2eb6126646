"""The ground: which feet are in contact, what holds them, and whom it leaves alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic import data_of, random_motion, toy_body

from mocap import skeletons
from mocap.bodies import kinematics
from mocap.bodies.kinematics import Skinner
from mocap.bodies.load import load_body
from mocap.geometry.cameras import Rig
from mocap.take import Keypoints3D
from mocap.terms.base import Data
from mocap.terms.ground import Ground, contacts

UP = np.array([np.pi / 2, 0.0, 0.0])
"""Turns the rest pose (y up) to the world (z up)."""


@pytest.fixture(scope="module")
def body():
    return load_body("embedded")


def data_for(body, frames, *, skeleton="body25", fps=30.0, floor=True):
    skeleton = skeletons.get(skeleton)
    xyz = np.zeros((frames, len(skeleton), 3))
    points = Keypoints3D.of(skeleton, xyz, np.ones(xyz.shape[:2]), np.zeros((*xyz.shape, 3)), np.zeros(xyz.shape[:2]))
    return Data(body, np.arange(frames) / fps, points, None, Rig((), has_floor=floor))


def bound_for(body, frames, **options):
    bound = Ground().bind(data_for(body, frames, **options))
    assert bound is not None
    return bound


def posed(body, poses, *, lift=0.0, skeleton="body25"):
    """A body whose lowest vertex is `lift` above z = 0 in every frame."""
    frames = len(poses)
    Rh, Th = np.tile(UP, (frames, 1)), np.zeros((frames, 3))
    lowest = Skinner(body, np.zeros(body.n_betas)).vertices(Rh, Th, poses)[..., 2].min(1)
    Th[:, 2] = lift - lowest
    R = kinematics.local_rotations(Rh, poses)
    return kinematics.pose(kinematics.fold(body, skeleton), np.zeros(body.n_betas), R, Th)


def track(fps, height, *, seconds=1.0, speed=0.0, noise=0.0, feet=1, seed=0):
    t = np.arange(round(seconds * fps)) / fps
    x = np.zeros((len(t), feet, 3))
    x[..., 0], x[..., 2] = (speed * t)[:, None], height
    return x + noise * np.random.default_rng(seed).normal(size=x.shape), t


# ------------------------------------------------------------------------------------------- contacts


@pytest.mark.parametrize("fps", [24, 30, 60, 120])
def test_a_still_foot_near_the_floor_stands_on_it_and_a_fast_or_a_high_one_does_not(fps):
    for height, speed, stands in ((0.0, 0.0, 1), (0.01, 0.05, 1), (0.0, 0.5, 0)):
        x, t = track(fps, height, speed=speed)
        held, landed = contacts(x, np.zeros(x.shape[:2]), t, floor=True)
        assert (held == stands).all(), (height, speed)
        assert (landed == stands).all(), (height, speed)


@pytest.mark.parametrize("fps", [30, 60])
def test_noise_of_a_centimetre_does_not_hide_a_contact(fps):
    x, t = track(fps, 0.0, noise=0.01, seconds=4)
    held, _ = contacts(x, np.zeros(x.shape[:2]), t, floor=True)
    assert held.mean() > 0.85


def test_a_foot_that_sank_into_the_floor_is_in_contact():
    x, t = track(30, -0.1)
    assert (contacts(x, np.zeros(x.shape[:2]), t, floor=True)[1] == 1).all()


@pytest.mark.parametrize("fps", [30, 60, 120])
def test_the_top_of_a_jump_is_no_contact(fps):
    t = np.arange(round(0.6 * fps)) / fps
    x = np.zeros((len(t), 2, 3))
    x[..., 2] = (0.5 * 9.81 * t * (0.6 - t))[:, None]
    for floor in (True, False):
        held, _ = contacts(x, np.zeros(x.shape[:2]), t, floor=floor)
        assert held[(t > 0.1) & (t < 0.5)].max() < 0.1


def test_a_man_on_a_beam_stands_but_not_on_the_floor_below():
    x, t = track(60, 0.3, feet=2)
    x[:, 1, 2] += 0.2  # the other leg is held up, as still
    held, landed = contacts(x, np.zeros(x.shape[:2]), t, floor=True)
    assert (held[:, 0] == 1).all()
    assert (held[:, 1] == 0).all()
    assert (landed == 0).all()


def test_where_the_floor_is_not_known_the_lowest_foot_stands_when_still():
    x, t = track(30, 0.7, feet=2)
    x[:, 1, 2] += 0.3
    held, landed = contacts(x, np.zeros(x.shape[:2]), t, floor=False)
    assert (held == [1, 0]).all()
    assert (landed == 0).all()


def test_frames_that_were_dropped_do_not_make_a_foot_slow():
    x, t = track(30, 0.0, speed=0.5)
    keep = np.random.default_rng(0).random(len(t)) > 0.3
    assert contacts(x[keep], np.zeros((keep.sum(), 1)), t[keep], floor=True)[0].max() < 1e-9


def test_one_frame_is_no_contact():
    assert (contacts(np.zeros((1, 2, 3)), np.zeros((1, 2)), np.zeros(1), floor=True)[0] == 0).all()


# ------------------------------------------------------------------------------------------- the body's soles


@pytest.mark.parametrize("skeleton", ["body25", "mediapipe33", "coco17", "smpl24"])
def test_the_soles_of_a_body_that_stands_are_on_the_floor(body, skeleton):
    p = posed(body, np.zeros((5, body.n_joints - 1, 3)), skeleton=skeleton)
    bound = bound_for(body, 5, skeleton=skeleton).updated(p)
    height = p.keypoints[:, bound.keypoints, 2] - bound.clearance
    assert np.abs(height).max() < 0.005
    assert (bound.landed == 1).all()


def test_a_foot_on_its_toes_or_its_heel_is_as_high_as_it_looks(body):
    ankles = [body.joint_names.index(f"{s}_ankle") - 1 for s in ("left", "right")]
    for pitch, there in ((0.7, "toe"), (-0.6, "heel")):
        poses = np.zeros((5, body.n_joints - 1, 3))
        poses[:, ankles, 0] = pitch
        p = posed(body, poses)
        bound = bound_for(body, 5).updated(p)
        height = (p.keypoints[:, bound.keypoints, 2] - bound.clearance)[0]
        on = np.array([there in skeletons.BODY25.joints[k] for k in bound.keypoints])
        assert np.abs(height[on]).min() < 0.004
        assert height[~on].min() > 0.04


# ------------------------------------------------------------------------------------------- residuals


def test_below_the_floor_costs_and_above_it_only_what_stands_does(body):
    poses = np.zeros((6, body.n_joints - 1, 3))
    bound = bound_for(body, 6)
    assert sum(m.cost.sum() for m in bound.residuals(posed(body, poses, lift=0.05), np.arange(6))) == 0
    assert sum(m.cost.sum() for m in bound.residuals(posed(body, poses, lift=-0.05), np.arange(6))) > 10
    standing = bound.updated(posed(body, poses, lift=0.015))
    assert sum(m.cost.sum() for m in standing.residuals(posed(body, poses, lift=0.015), np.arange(6))) > 1


def test_without_a_floor_nothing_is_said_about_heights(body):
    poses = np.zeros((6, body.n_joints - 1, 3))
    bound = bound_for(body, 6, floor=False)
    p = posed(body, poses, lift=-0.05)
    made = bound.updated(p).residuals(p, np.arange(6))
    assert len(made) == 1
    assert made[0].cost.sum() == pytest.approx(0, abs=1e-12)
    assert "not known" in str(bound.facts()["floor"])


def test_the_report_says_how_high_the_feet_stand(body):
    bound = bound_for(body, 6)
    assert bound.facts() == {"floor": "z = 0", "standing": 0, "on_the_floor": 0, "standing_height": None}
    facts = bound.updated(posed(body, np.zeros((6, body.n_joints - 1, 3)), lift=0.2)).facts()
    assert (facts["standing"], facts["on_the_floor"]) == (1, 0)
    assert facts["standing_height"] == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_a_foot_in_contact_that_slides_costs_by_its_speed(body, fps):
    poses = np.zeros((10, body.n_joints - 1, 3))
    p = posed(body, poses)
    bound = bound_for(body, 10, fps=fps).updated(p)
    slid = np.arange(10)[:, None, None] / fps * np.array([0.05, 0, 0])
    velocity = bound.residuals(dataclasses.replace(p, keypoints=p.keypoints + slid), np.arange(10))[0]
    np.testing.assert_allclose(velocity.r[:, bound.keypoints, 0], 0.05 / Ground().sigma, rtol=1e-6)


def test_contacts_are_held_until_they_are_updated(body):
    poses = np.zeros((10, body.n_joints - 1, 3))
    bound = bound_for(body, 10).updated(posed(body, poses))
    away = posed(body, poses, lift=0.03)
    assert sum(m.cost.sum() for m in bound.residuals(away, np.arange(10))) > 1
    jumped = bound.updated(posed(body, poses, lift=1.0))
    assert (jumped.landed == 0).all()


def test_jacobians_agree_with_finite_differences_for_any_contacts():
    rng = np.random.default_rng(0)
    toy = toy_body()
    Rh, Th, poses = random_motion(0, 8)
    rig = kinematics.fold(toy, "body25")
    R = kinematics.local_rotations(Rh, poses)
    p = kinematics.pose(rig, np.zeros(4), R, Th)
    bound = bound_for(toy, 8)
    bound = dataclasses.replace(bound, held=rng.random(bound.held.shape), landed=rng.random(bound.held.shape))
    d, h = rng.normal(size=p.keypoints.shape), 1e-6
    made, plus, minus = (
        bound.residuals(dataclasses.replace(p, keypoints=p.keypoints + s * h * d), np.arange(8)) for s in (0, 1, -1)
    )
    assert len(made) == 2
    for m, a, b in zip(made, plus, minus, strict=True):
        ours = sum(
            (J @ d[o : o + len(m.r), :, :, None])[..., 0] for o, J in m.jacobians.items() if o + len(m.r) <= len(d)
        )
        np.testing.assert_allclose(ours, (a.r - b.r) / (2 * h), atol=1e-5)
        slope = (m.weight[..., None] * m.r * ours).sum(-1)
        np.testing.assert_allclose(slope, (a.cost - b.cost) / (2 * h), rtol=1e-4, atol=1e-4)
    part = bound.residuals(kinematics.pose(rig, np.zeros(4), R[2:6], Th[2:6]), np.arange(2, 6))
    for w, q in zip(made, part, strict=True):
        np.testing.assert_allclose(q.r, w.r[2 : 2 + len(q.r)])


# ------------------------------------------------------------------------------------------- whom it leaves alone


def test_a_body_or_a_skeleton_without_feet_is_left_alone(body):
    assert Ground().bind(Data(body, np.arange(3) / 30)) is None
    hand = dataclasses.replace(toy_body(), joint_names=("wrist", *(f"finger{i}" for i in range(23))))
    assert Ground().bind(data_of(hand, np.zeros(4), random_motion(0, 3))) is None


def test_ankles_stand_for_feet_where_there_are_no_others(body):
    coco = skeletons.get("coco17")
    bound = bound_for(body, 3, skeleton="coco17")
    assert [coco.joints[k] for k in bound.keypoints] == ["left_ankle", "right_ankle"]
    body25 = bound_for(body, 3)
    assert len(body25.keypoints) == 6
