from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation
from synthetic import SMPL_PARENTS, random_motion, ring_rig, toy_body

from mocap import skeletons
from mocap.bodies import kinematics
from mocap.bodies.load import load_body
from mocap.bodies.ranges import joint_ranges
from mocap.errors import DataError
from mocap.fit.motion import fit_motion
from mocap.fit.root import align, first_poses, fit_root
from mocap.fit.shape import fit_shape, limb_lengths
from mocap.geometry import rotations
from mocap.take import Keypoints2D, Keypoints3D, Motion
from mocap.terms.base import Data
from mocap.terms.k3d import K3d
from mocap.terms.limits import Limits
from mocap.terms.refine_2d import Refine2d
from mocap.terms.smooth import Smooth

BODY25 = skeletons.BODY25
LIMB_JOINTS = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
REST = (np.zeros((1, 3)), np.zeros((1, 3)), np.zeros((1, 23, 3)))


@pytest.fixture(scope="module")
def body():
    return load_body("embedded")


def points_of(xyz, rng, *, noise=0.01, missing=0.05):
    seen = (rng.random(xyz.shape[:2]) >= missing).astype(float)
    noisy = xyz + noise * rng.normal(size=xyz.shape)
    unknown = np.full((*xyz.shape, 3), np.nan)
    return Keypoints3D.of(BODY25, noisy, seen, unknown, np.full(seen.shape, np.nan))


def moving(body, seed, frames, *, noise=0.01):
    """A person of some shape moving as people do: truth and noisy points."""
    rng = np.random.default_rng(seed)
    ranges = joint_ranges(body.joint_names[1:])
    wave = gaussian_filter1d(rng.normal(size=(frames, 23, 3)), 12, axis=0)
    poses = np.clip(ranges.usual + wave / wave.std(0) * ranges.deviation, ranges.low, ranges.high)
    Rh = np.cumsum(rng.normal(size=(frames, 3)) * 0.02, axis=0) + [1.2, 0, 0]
    Th = np.cumsum(rng.normal(size=(frames, 3)) * 0.005, axis=0)
    betas = rng.normal(size=10)
    xyz = kinematics.keypoints_of(body, "body25", betas, Rh, Th, poses)
    return betas, Motion(Rh, Th, poses), xyz, points_of(xyz, rng, noise=noise)


def test_rigid_limb_lengths_have_no_bias_from_noise():
    rng = np.random.default_rng(0)
    rest = rng.normal(size=(25, 3)) * 0.15  # some limbs are hardly longer than the noise
    R = Rotation.random(2000, rng=rng).as_matrix()
    still = np.cumsum(rng.normal(size=(2000, 1, 3)) * 0.01, axis=0)
    points = points_of(rest @ R.swapaxes(1, 2) + still, rng, noise=0.02)
    limbs = BODY25.limb_indices()
    truth = np.linalg.norm(rest[limbs[:, 0]] - rest[limbs[:, 1]], axis=1)
    long = truth > 0.1
    assert np.abs(limb_lengths(points, limbs).length - truth)[long].max() < 0.002


def test_gross_errors_hardly_change_a_limb():
    rng = np.random.default_rng(1)
    rest = rng.normal(size=(25, 3)) * 0.3
    xyz = np.repeat(rest[None], 300, axis=0)
    xyz[:60, 7] += [1.0, 2.0, 0.5]  # a wrist on somebody else for a fifth of the take
    limbs = BODY25.limb_indices()
    truth = np.linalg.norm(rest[limbs[:, 0]] - rest[limbs[:, 1]], axis=1)
    lengths = limb_lengths(points_of(xyz, rng, noise=0.005), limbs)
    assert np.abs(lengths.length - truth).max() < 0.003


def test_shape_from_noisy_limbs_is_that_of_the_truth(body):
    limbs = BODY25.limb_indices()
    errors, statures = [], []
    for seed in range(4):
        betas, _, _, points = moving(body, seed, 300)
        fit = fit_shape(body, points)
        assert fit.converged
        rest = kinematics.keypoints_of(body, "body25", betas, *REST)[0]
        errors.append(fit.fitted - np.linalg.norm(rest[limbs[:, 0]] - rest[limbs[:, 1]], axis=1))
        statures.append(fit.stature - body.stature(betas))
    assert np.abs(errors).mean() < 0.002
    assert np.abs(statures).mean() < 0.005


def test_a_known_stature_is_met(body):
    *_, points = moving(body, 0, 60)
    assert fit_shape(body, points, stature=1.9).stature == pytest.approx(1.9, abs=0.005)


@pytest.mark.parametrize(("scale", "ok"), [(1.0, True), (0.01, False), (1000.0, False)])
def test_limbs_in_the_wrong_unit_are_noticed(body, scale, ok):
    *_, points = moving(body, 0, 60)
    wrong = Keypoints3D.of(BODY25, scale * points.xyz, points.confidence, points.covariance, points.reprojection_error)
    assert (0.75 < fit_shape(body, wrong).size_ratio < 1.35) == ok


def test_no_limb_at_all_is_a_sentence(body):
    nothing = points_of(np.full((5, 25, 3), np.nan), np.random.default_rng(0))
    with pytest.raises(DataError, match="both ends"):
        fit_shape(body, nothing)


@pytest.mark.parametrize("turns", [0, 3])
def test_root_is_exact_without_noise_through_turns_lying_down_and_gaps(body, turns):
    frames = 120
    clock = np.arange(frames) / 30
    lying = Rotation.from_rotvec(np.linspace([90, 0, 0], [180, 0, 0], frames), degrees=True)
    turning = Rotation.from_rotvec(np.linspace([0, 0, 0], [0, 0, 360 * turns], frames), degrees=True)
    R = (turning * lying).as_matrix()
    Th = np.stack([np.linspace(0, 3, frames), np.zeros(frames), np.ones(frames)], axis=1)
    xyz = kinematics.keypoints_of(body, "body25", np.zeros(10), rotations.log(R), Th, np.zeros((frames, 23, 3)))
    points = points_of(xyz, np.random.default_rng(0), noise=0.0, missing=0.0)
    fit = fit_root(body, np.zeros(10), points, clock)
    np.testing.assert_allclose(fit.R, R, atol=1e-6)  # the model's weights sum to 1 in float32 only
    np.testing.assert_allclose(fit.Th, Th, atol=1e-6)
    hidden = points.confidence.copy()
    hidden[50:56] = 0
    gap = Keypoints3D.of(BODY25, points.xyz, hidden, points.covariance, points.reprojection_error)
    fit = fit_root(body, np.zeros(10), gap, clock)
    assert (~fit.seen).sum() == 6
    between = rotations.log(fit.R.swapaxes(1, 2) @ R)
    assert np.degrees(np.linalg.norm(between, axis=1)).max() < 3
    np.testing.assert_allclose(fit.Th, Th, atol=1e-3)


def test_alignment_of_three_points_on_a_line_is_not_determined():
    line = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]])
    weight = np.array([[1.0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]])
    target = np.repeat(line[None], 3, axis=0)
    assert align(line, target, weight)[2].tolist() == [False, True, False]


def test_first_poses_point_limbs_where_they_were_seen(body):
    betas, _motion, xyz, points = moving(body, 3, 50, noise=0.0)
    root = fit_root(body, betas, points, np.arange(50) / 30)
    R = first_poses(body, betas, points, root.R)
    made = kinematics.pose(kinematics.fold(body, "body25"), betas, R, root.Th).keypoints
    for side in ("left", "right"):
        for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")):
            i, j = BODY25.indices([f"{side}_{a}", f"{side}_{b}"])
            seen = points.confidence[:, [i, j]].all(1)
            ours, truth = made[:, j] - made[:, i], xyz[:, j] - xyz[:, i]
            cosine = (ours * truth).sum(-1) / np.linalg.norm(ours, axis=-1) / np.linalg.norm(truth, axis=-1)
            assert np.degrees(np.arccos(np.clip(cosine[seen], -1, 1))).mean() < 12


@pytest.mark.parametrize("seed", [5, 6])
def test_motion_and_shape_are_recovered_from_noisy_points(body, seed):
    frames = 60
    betas, motion, xyz, points = moving(body, seed, frames)
    clock = np.arange(frames) / 30
    shape = fit_shape(body, points)
    root = fit_root(body, shape.betas, points, clock)
    start = Motion(rotations.log(root.R), root.Th, np.zeros((frames, 23, 3)))
    terms = {"k3d": K3d(), "smooth": Smooth(), "limits": Limits()}
    fit = fit_motion(Data(body, clock, points), terms, betas=shape.betas, motion=start)
    assert fit.converged
    made = kinematics.keypoints_of(body, "body25", fit.betas, fit.motion.Rh, fit.motion.Th, fit.motion.poses)
    joints = kinematics.joints_of(body, fit.betas, fit.motion.Rh, fit.motion.Th, fit.motion.poses)
    truth = kinematics.joints_of(body, betas, motion.Rh, motion.Th, motion.poses)
    noise = np.nanmean(np.linalg.norm(points.xyz - xyz, axis=-1))
    assert np.linalg.norm(made - xyz, axis=-1).mean() < 0.6 * noise
    # no keypoint tells how a bend is shared along the spine, nor how a hand is turned: what is claimed is the limbs
    limbs = [i for i, name in enumerate(body.joint_names) if name.partition("_")[2] in LIMB_JOINTS]
    assert len(limbs) == 12
    assert np.linalg.norm(joints - truth, axis=-1)[:, limbs].mean() < 0.012


def test_a_gap_of_the_whole_body_is_bridged(body):
    frames = 40
    betas, _motion, xyz, points = moving(body, 6, frames, noise=0.002)
    hidden = points.confidence.copy()
    hidden[18:22] = 0
    gap = Keypoints3D.of(BODY25, points.xyz, hidden, points.covariance, points.reprojection_error)
    clock = np.arange(frames) / 30
    root = fit_root(body, betas, gap, clock)
    start = Motion(rotations.log(root.R), root.Th, np.zeros((frames, 23, 3)))
    terms = {"k3d": K3d(), "smooth": Smooth(), "limits": Limits()}
    fit = fit_motion(Data(body, clock, gap), terms, betas=betas, motion=start, free_shape=False)
    made = kinematics.keypoints_of(body, "body25", fit.betas, fit.motion.Rh, fit.motion.Th, fit.motion.poses)
    assert np.linalg.norm(made - xyz, axis=-1)[18:22].mean() < 0.05


def seen_by_cameras(body, frames, betas, motion, *, late=0.0):
    """Every other camera sees a part `late` of a frame after the others."""
    rig = ring_rig()
    xyz = kinematics.keypoints_of(body, "body25", betas, motion.Rh, motion.Th, motion.poses)
    clock, ones = np.arange(frames) / 30, np.ones(xyz.shape[:2])
    after = (1 - late) * xyz + late * xyz[np.minimum(np.arange(frames) + 1, frames - 1)]
    seen = {}
    for i, c in enumerate(rig):
        at, points = (clock + late / 30, after) if i % 2 else (clock, xyz)
        seen[c.name] = Keypoints2D.of(BODY25, at, c.project(points)[0], ones)
    return rig, seen


@pytest.mark.parametrize("late", [0.0, 0.5], ids=["synchronised", "between frames"])
@pytest.mark.parametrize("losses", ["k3d and refine_2d", "refine_2d switched off", "refine_2d alone"])
def test_losses_in_the_images_help_and_do_no_harm(body, losses, late):
    frames = 12
    betas, motion, xyz, points = moving(body, 2, frames)
    rig, seen = seen_by_cameras(body, frames, betas, motion, late=late)
    data = Data(body, np.arange(frames) / 30, points, seen, rig)
    terms = {"smooth": Smooth(), "limits": Limits(), "refine_2d": Refine2d(weight=0.0 if "off" in losses else 1.0)}
    if "k3d" in losses or "off" in losses:
        terms["k3d"] = K3d()
    root = fit_root(body, betas, points, data.timestamps)
    start = Motion(rotations.log(root.R), root.Th, np.zeros((frames, 23, 3)))
    fit = fit_motion(data, terms, betas=betas, motion=start)
    assert list(fit.passes)[-1] == ("images" if losses == "k3d and refine_2d" else "take")
    made = kinematics.keypoints_of(body, "body25", fit.betas, fit.motion.Rh, fit.motion.Th, fit.motion.poses)
    assert np.linalg.norm(made - xyz, axis=-1).mean() < 0.02
    assert np.abs(fit.betas).max() > 0.1


def test_losses_without_data_are_refused(body):
    betas, motion, _, points = moving(body, 0, 5)
    data = Data(body, np.arange(5) / 30, points)
    with pytest.raises(DataError, match="k3d or refine_2d"):
        fit_motion(data, {"k3d": K3d(weight=0.0), "limits": Limits()}, betas=betas, motion=motion)


def test_a_body_with_fingers_can_be_fitted():
    parents = np.concatenate([SMPL_PARENTS, [20, 24, 25, 20, 27, 28, 21, 30, 31, 21, 33, 34]])
    body = toy_body(parents=parents)
    Rh, Th, poses = random_motion(0, 6, len(parents))
    xyz = kinematics.keypoints_of(body, "body25", np.zeros(4), Rh, Th, poses)
    points = points_of(xyz, np.random.default_rng(0), noise=0.002, missing=0.0)
    assert np.isfinite(fit_shape(body, points).betas).all()
    data = Data(body, np.arange(6) / 30, points)
    start = Motion(Rh, Th, np.zeros_like(poses))
    fit = fit_motion(data, {"k3d": K3d(), "limits": Limits()}, betas=np.zeros(4), motion=start, max_iterations=3)
    assert np.isfinite(fit.motion.poses).all()
