"""Hands by themselves and on a body, made by construction, measured with noise and fitted."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import pytest
from moving import LOSSES, OF_HANDS, Truth, again, fitted, gesturing, measured, with_hands

from mocap.bodies import kinematics
from mocap.bodies.ranges import finger_of, is_hand, joint_ranges, of_hands
from mocap.errors import DataError, ModelError
from mocap.fit.root import first_poses, fit_root
from mocap.fit.shape import fit_shape, size_of
from mocap.fit.uncertainty import joint_sigma
from mocap.geometry import rotations
from mocap.skeletons import HANDS
from mocap.solve.problem import Problem
from mocap.stages.fit_shape import FitShape
from mocap.stages.init_rt import InitRT
from mocap.stages.refine_poses import RefinePoses
from mocap.take import Keypoints3D, Person, RunContext, Take
from mocap.terms.base import Data
from mocap.terms.ground import Ground
from mocap.terms.k3d import K3d
from mocap.terms.smooth import BoundSmooth

FRAMES = 200
NOISE = 0.003


def hidden(points: Keypoints3D, names: list[str], frames: slice) -> Keypoints3D:
    sure = points.confidence.copy()
    sure[frames, points.skeleton.indices(names)] = 0
    return Keypoints3D.of(points.skeleton, points.xyz, sure, points.covariance, points.reprojection_error)


def finger(side: str, name: str) -> list[str]:
    return [joint for joint in HANDS[side].joints if joint.startswith(f"{side}_{name}_")]


def beyond(truth: Truth) -> np.ndarray:
    """How far every joint is out of its range [rad]: (frames, joints, 3), flexion first."""
    ranges = joint_ranges(truth.body.joint_names[1:], truth.body)
    angles = ranges.components(truth.motion.poses)
    return np.maximum(np.maximum(ranges.low - angles, angles - ranges.high), 0.0)


def away(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.linalg.norm(one - other, axis=-1)


def bones(truth: Truth, betas: np.ndarray) -> np.ndarray:
    rest = kinematics.rest_keypoints(truth.body, truth.skeleton, betas)
    a, b = truth.skeleton.limb_indices().T
    return np.linalg.norm(rest[a] - rest[b], axis=1)


@lru_cache(maxsize=4)
def recovered(side: str, seed: int):
    truth = gesturing(side, FRAMES, seed)
    points = measured(truth, seed, noise=NOISE)
    return truth, points, fitted(truth, points, OF_HANDS)


@pytest.mark.parametrize("side", HANDS)
def test_a_hand_is_recovered_from_noisy_points(side):
    truth, points, fit = recovered(side, 1)
    assert fit.converged
    made = again(truth, fit)
    # 4.8 mm is the mean length of the noise; a joint has its point and what its neighbours in the chain and in time say
    assert away(made.points, truth.points).mean() < 0.0015
    assert away(made.joints, truth.joints).mean() < 0.0015
    assert np.percentile(away(made.joints, truth.joints), 99) < 0.004
    by_lengths = np.abs(bones(truth, fit_shape(truth.body, points).betas) - bones(truth, truth.betas))
    assert by_lengths.mean() < 0.001
    assert np.abs(bones(truth, fit.betas) - bones(truth, truth.betas)).max() < 0.001
    told = fit.scales["k3d"]["sigma"]
    assert isinstance(told, dict)
    assert np.mean(list(told.values())) == pytest.approx(NOISE, rel=0.1)


@pytest.mark.parametrize("name", ["thumb", "middle"])
def test_a_finger_hidden_for_half_a_second_stays_natural_and_near(name):
    truth, points, fit = recovered("right", 1)
    gap = slice(80, 95)
    made = again(truth, fitted(truth, hidden(points, finger("right", name), gap), OF_HANDS))
    assert np.degrees(beyond(made)[gap]).max() < 6  # the walls are soft, of 0.1 rad
    places = truth.skeleton.indices(finger("right", name))
    off = away(made.points, truth.points)[gap][:, places]
    assert off.max() < 0.03
    assert off.mean() < 0.01
    others = [k for k in range(21) if k not in places]
    assert away(made.points, again(truth, fit).points)[gap][:, others].mean() < 0.0005


def test_a_finger_never_seen_bends_as_its_neighbours_do():
    truth, points, _ = recovered("right", 1)
    unseen = hidden(points, finger("right", "ring")[1:], slice(None))
    place = truth.body.joint_names.index("right_ring2") - 1
    with_it, without = (
        again(truth, fitted(truth, unseen, {k: t for k, t in OF_HANDS.items() if k != left_out}))
        for left_out in ("none", "fingers")
    )
    tip = truth.skeleton.index("right_ring_tip")
    off, worse = (away(made.points, truth.points)[:, tip] for made in (with_it, without))
    assert off.mean() < 0.7 * worse.mean()
    assert np.degrees(beyond(with_it)).max() < 6
    flexion = [
        joint_ranges(truth.body.joint_names[1:], truth.body).components(t.motion.poses) for t in (with_it, truth)
    ]
    assert np.corrcoef(flexion[0][:, place, 0], flexion[1][:, place, 0])[0, 1] > 0.4


def test_what_is_seen_well_is_not_pulled():
    truth, points, fit = recovered("right", 1)
    without = fitted(truth, points, {k: t for k, t in OF_HANDS.items() if k != "fingers"})
    moved = away(again(truth, fit).points, again(truth, without).points)
    assert moved.mean() < 0.0005
    assert np.percentile(moved, 95) < 0.001
    # and no further from the truth for it
    assert (
        away(again(truth, fit).points, truth.points).mean()
        < 1.02 * away(again(truth, without).points, truth.points).mean()
    )


def test_fingers_never_bend_backwards_however_noisy_the_points():
    truth = gesturing("left", 120, 3)
    made = again(truth, fitted(truth, measured(truth, 3, noise=0.008, missing=0.2), OF_HANDS))
    names = truth.body.joint_names[1:]
    middle = [i for i, n in enumerate(names) if (f := finger_of(n)) is not None and f[2] == 2 and f[1] != "thumb"]
    assert np.degrees(beyond(made)[:, middle, 0]).max() < 3
    assert np.degrees(beyond(made)).max() < 10


def test_a_body_with_hands_is_as_right_as_a_body_and_its_hands_as_hands():
    truth = with_hands(FRAMES, 2)
    hands = truth.skeleton.of_hands()
    points = measured(truth, 2, noise=np.where(hands, NOISE, 0.01))
    fit = fitted(truth, points, LOSSES["anatomical"] | OF_HANDS | {"ground": Ground()})
    assert fit.converged
    made = again(truth, fit)
    fingers = of_hands(truth.body.joint_names)
    limbs = [
        i for i, n in enumerate(truth.body.joint_names) if n.partition("_")[2] in ("hip", "knee", "ankle", "elbow")
    ]
    off = away(made.joints, truth.joints)
    assert off[:, fingers].mean() < 0.002
    assert off[:, limbs].mean() < 0.008
    assert np.abs(bones(truth, fit.betas) - bones(truth, truth.betas))[-42:].mean() < 0.001
    told = fit.scales["k3d"]["sigma"]
    assert isinstance(told, dict)
    by_name = np.array([told[name] for name in truth.skeleton.joints])
    assert np.median(by_name[hands]) == pytest.approx(NOISE, rel=0.1)
    assert np.median(by_name[~hands]) == pytest.approx(0.01, rel=0.1)


def test_hands_that_nobody_saw_hang_as_hands_do_and_the_body_does_not_care():
    truth = with_hands(60, 4)
    hands = truth.skeleton.of_hands()
    points = measured(truth, 4)
    points = hidden(points, [n for n, h in zip(truth.skeleton.joints, hands, strict=True) if h], slice(None))
    made = again(truth, fitted(truth, points, LOSSES["anatomical"] | OF_HANDS))
    assert away(made.points, truth.points)[:, ~hands].mean() < 0.008
    ranges = joint_ranges(truth.body.joint_names[1:], truth.body)
    fingers = of_hands(truth.body.joint_names)[1:]
    angles = (ranges.components(made.motion.poses) - ranges.usual)[:, fingers]
    assert np.abs(angles / ranges.deviation[fingers]).max() < 1


def spoilt(truth: Truth, points: Keypoints3D, side: str, frame: int) -> Keypoints3D:
    """Knuckles as a detector in doubt has them: that of the index finger where the little one's is, the thumb's root
    across the palm."""
    xyz = points.xyz.copy()
    index, thumb, pinky, wrist = truth.skeleton.indices(
        [f"{side}_{name}" for name in ("index_mcp", "thumb_cmc", "pinky_mcp", "hand_wrist")]
    )
    across = truth.points[frame, pinky] - truth.points[frame, index]
    xyz[frame, index] = truth.points[frame, index] + 1.7 * across
    xyz[frame, thumb] = truth.points[frame, wrist] + 1.7 * across
    return dataclasses.replace(points, xyz=xyz)


def turned(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angle between rotations [degrees]."""
    return np.degrees(np.linalg.norm(rotations.log(one.swapaxes(-1, -2) @ other), axis=-1))


@pytest.mark.parametrize("side", HANDS)
def test_a_wrist_starts_near_where_it_was_though_knuckles_were_taken_for_others_or_not_seen(side):
    truth = with_hands(60, 3)
    points = measured(truth, 3, noise=0.0, missing=0.0)
    R = rotations.exp(truth.motion.Rh)
    wrist = truth.body.joint_names.index(f"{side}_wrist")
    before = first_poses(truth.body, truth.betas, points, R)
    known = first_poses(truth.body, truth.betas, spoilt(truth, points, side, 30), R)
    assert turned(known[30, wrist], before[30, wrist]) < 10
    unseen = hidden(points, [n for n in truth.skeleton.joints if n.startswith(side)][-21:], slice(40, 43))
    assert turned(first_poses(truth.body, truth.betas, unseen, R)[40:43, wrist], before[40:43, wrist]).max() < 10


def test_as_long_a_take_of_a_body_with_hands_is_kept_as_a_second_look_at_it_needs():
    truth = with_hands(3, 1)
    problem = Problem(kinematics.fold(truth.body, truth.skeleton), {})
    size = problem.rig.n_parameters
    assert problem.budget > 8 * 1000 * size * (2 * size + 3)  # the band's factor, of accelerations over three frames


@pytest.mark.parametrize("side", HANDS)
def test_the_palm_places_a_hand_exactly_through_turns_and_gaps(side):
    truth = gesturing(side, 120, 5)
    at_rest = dataclasses.replace(truth.motion, poses=np.zeros_like(truth.motion.poses))
    truth = dataclasses.replace(truth, motion=at_rest)
    points = measured(truth, 5, noise=0.0, missing=0.0)
    fit = fit_root(truth.body, truth.betas, points, truth.clock)
    assert fit.seen.all()
    np.testing.assert_allclose(fit.R, rotations.exp(truth.motion.Rh), atol=1e-5)
    np.testing.assert_allclose(fit.Th, truth.motion.Th, atol=1e-5)
    gap = hidden(points, list(truth.skeleton.joints), slice(50, 53))
    fit = fit_root(truth.body, truth.betas, gap, truth.clock)
    assert (~fit.seen).sum() == 3
    np.testing.assert_allclose(fit.Th, truth.motion.Th, atol=2e-3)


def test_a_hand_without_a_palm_is_a_sentence():
    truth = gesturing("right", 5, 0)
    points = measured(truth, 0, missing=0.0)
    with pytest.raises(DataError, match="palm"):
        fit_root(truth.body, truth.betas, hidden(points, list(truth.skeleton.joints), slice(None)), truth.clock)


def test_first_poses_lay_every_bone_of_hand_and_arm_where_it_was_seen():
    for truth in (gesturing("left", 40, 6), with_hands(40, 6)):
        points = measured(truth, 6, noise=0.0, missing=0.0)
        root = fit_root(truth.body, truth.betas, points, truth.clock)
        R = first_poses(truth.body, truth.betas, points, root.R)
        made = kinematics.pose(kinematics.fold(truth.body, truth.skeleton), truth.betas, R, root.Th).keypoints
        a, b = truth.skeleton.limb_indices()[-42 if not is_hand(truth.body) else 0 :].T
        along = [x[:, b] - x[:, a] for x in (made, truth.points)]
        cosine = (along[0] * along[1]).sum(-1) / np.linalg.norm(along[0], axis=-1) / np.linalg.norm(along[1], axis=-1)
        off = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        assert np.median(off) < 3
        assert off.mean() < 5


def test_the_size_of_a_hand_is_its_length_and_it_has_no_stature():
    truth = gesturing("right", 20, 7)
    assert 0.16 < size_of(truth.body, np.zeros(10)) < 0.21
    assert size_of(truth.body, np.zeros(10)) == pytest.approx(
        fit_shape(truth.body, measured(truth, 7)).stature, rel=0.2
    )
    with pytest.raises(ModelError, match="no stature"):
        fit_shape(truth.body, measured(truth, 7), stature=1.8)


@pytest.mark.parametrize(("side", "seed"), [("left", 1), ("right", 2)])
def test_error_bars_of_a_hand_hold_about_as_many_errors_as_they_say(side, seed):
    truth = gesturing(side, FRAMES, seed)
    fit = fitted(truth, measured(truth, seed, noise=NOISE), OF_HANDS)
    inside = np.abs((again(truth, fit).joints - truth.joints) / joint_sigma(fit.problem, fit.state)) < 1
    assert 0.65 < inside.mean() < 0.85  # 68 % of a Gaussian


def test_the_stages_take_a_hand_as_they_take_a_body_and_name_its_length(tmp_path):
    truth = gesturing("left", 60, 8)
    person = Person(keypoints3d=measured(truth, 8, noise=NOISE), body=truth.body)
    take = Take(run=RunContext(tmp_path), timestamps=truth.clock, frames=np.arange(60), people=(person,))
    told = []
    for stage in (FitShape(), InitRT(), RefinePoses()):
        take = stage(dataclasses.replace(take, reports=()))
        told.append(take.reports[-1].facts)
        assert not told[-1].get("warnings")
    shape, root, fit = (facts["people"][0] for facts in told)
    made = take.people[0]
    assert made.motion is not None and made.shape is not None and made.motion.poses.shape == (60, 15, 3)
    assert fit["hand_length"] == pytest.approx(size_of(truth.body, made.shape))
    assert shape["hand_length"] == pytest.approx(fit["hand_length"], rel=0.05)
    assert "stature" not in {**shape, **fit} and root["palm_error"] < 0.006
    assert fit["told_by_the_take"]["fingers"] == {"model": {"left": "own"}}
    assert fit["distance"] < 0.005
    joints = kinematics.joints_of(truth.body, made.shape, made.motion.Rh, made.motion.Th, made.motion.poses)
    assert away(joints, truth.joints).mean() < 0.0015


def test_points_of_hands_have_their_own_place_and_their_own_discount():
    truth = with_hands(60, 9)
    hands = truth.skeleton.of_hands()
    noise = np.where(hands, NOISE, 0.01)
    points = measured(truth, 9, noise=noise)
    covariance = np.broadcast_to(noise[:, None, None] ** 2 * np.eye(3), (*points.xyz.shape, 3))
    points = dataclasses.replace(
        points, covariance=np.where(points.confidence[..., None, None] > 0, covariance, np.nan)
    )
    fit = fitted(truth, points, LOSSES["anatomical"] | OF_HANDS)
    facts = fit.scales["k3d"]
    assert facts["place"] == {"body": 0.012, "hands": 0.008}
    part = facts["discount"]
    assert isinstance(part, dict)
    # a variance sigma^2 counts as sigma^2 + place^2
    assert part["body"] == pytest.approx(0.01**2 / (0.01**2 + 0.012**2), rel=0.25)
    assert part["hands"] == pytest.approx(NOISE**2 / (NOISE**2 + 0.008**2), rel=0.25)
    alone = gesturing("left", 20, 9)
    near = measured(alone, 9, noise=NOISE)
    known = np.broadcast_to(NOISE**2 * np.eye(3), (*near.xyz.shape, 3))
    bound = K3d().bind(Data(alone.body, alone.clock, dataclasses.replace(near, covariance=known)))
    assert bound is not None and set(bound.place) == {0.008}
    smooth = fit.problem.terms["smooth"]
    assert isinstance(smooth, BoundSmooth)
    np.testing.assert_allclose(smooth.discount[smooth.hands], part["hands"])
    np.testing.assert_allclose(smooth.discount[~smooth.hands], part["body"])
    assert smooth.hands.sum() == 30
