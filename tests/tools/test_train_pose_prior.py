"""Turning recordings to SMPL's skeleton and training the pose prior, on recordings made by construction."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from synthetic import SMPL_PARENTS

from mocap.bodies.model import SMPL_JOINTS
from mocap.bodies.ranges import joint_ranges
from mocap.geometry import rotations
from mocap.terms.prior import INCLUDED, read_mixture

BONES = [
    *map(
        str,
        (
            "hip abdomen chest neck head lCollar lShldr lForeArm lHand rCollar rShldr rForeArm rHand lThigh lShin "
            "lFoot rThigh rShin rFoot"
        ).split(),
    )
]
BONE_PARENTS = np.array([-1, 0, 1, 2, 3, 2, 5, 6, 7, 2, 9, 10, 11, 0, 13, 14, 0, 16, 17])

BVH = """HIERARCHY
ROOT hip
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT abdomen
  {
    OFFSET 0 20 1
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 5 0
    }
  }
  JOINT lThigh
  {
    OFFSET 9 -2 0
    CHANNELS 3 Xrotation Zrotation Yrotation
  }
}
MOTION
Frames: 3
Frame Time: 0.00833333
0 0 0 0 0 0 0 0 0 0 0 0
1 2 3 90 0 0 0 0 0 0 0 0
1 2 3 10 20 30 40 50 60 70 80 90
"""


@pytest.fixture(scope="module")
def tool(repository: Path) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository / "tools"))  # it imports its neighbours
        spec = importlib.util.spec_from_file_location("train_pose_prior", repository / "tools" / "train_pose_prior.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "train_pose_prior", module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def cmu(tool: ModuleType) -> ModuleType:
    return sys.modules["cmu"]


def random_clip(cmu: ModuleType, frames: int = 30, seed: int = 0):
    rng = np.random.default_rng(seed)
    local = Rotation.from_rotvec(0.4 * rng.normal(size=(frames * len(BONES), 3))).as_matrix()
    local = local.reshape(frames, len(BONES), 3, 3)
    offsets = rng.normal(size=(len(BONES), 3)) * 0.1
    return cmu.Clip("77_01", 30.0, tuple(BONES), BONE_PARENTS, offsets, local, np.zeros((frames, 3)))


# ------------------------------------------------------------------------------------------------------------ reading


def test_a_bvh_file_is_read_as_its_channels_say(cmu, tmp_path):
    path = tmp_path / "77_03.bvh"
    path.write_text(BVH)
    clip = cmu.read_bvh(path)
    assert (clip.name, clip.subject, clip.bones, clip.parents.tolist()) == (
        "77_03", "77", ("hip", "abdomen", "lThigh"), [-1, 0, 0],
    )  # fmt: skip
    assert clip.fps == pytest.approx(120, rel=1e-5)
    np.testing.assert_allclose(clip.root, [[0.01, 0.02, 0.03]] * 2)  # the first frame, a T-pose, is dropped
    G, place = clip.world()
    np.testing.assert_allclose(place[0, 1], [0.01 - 0.20, 0.02, 0.04], atol=1e-12)  # up has turned to the left
    for bone, axes, degrees in ((0, "ZYX", (10, 20, 30)), (1, "ZXY", (40, 50, 60)), (2, "XZY", (70, 80, 90))):
        product = np.eye(3)
        for axis, angle in zip(axes, degrees, strict=True):
            product = product @ Rotation.from_euler(axis, angle, degrees=True).as_matrix()
        np.testing.assert_allclose(clip.local[1, bone], product, atol=1e-12)
    np.testing.assert_allclose(G[1, 1], clip.local[1, 0] @ clip.local[1, 1], atol=1e-12)


@pytest.mark.parametrize("damage", ["0 0 0", "MOTION", "Frame Time: 0.00833333"])
def test_a_damaged_bvh_file_is_named(cmu, tmp_path, damage):
    path = tmp_path / "77_04.bvh"
    path.write_text(BVH.replace(damage, ""))
    with pytest.raises(SystemExit, match=r"77_04\.bvh"):
        cmu.read_bvh(path)


def test_the_packed_clips_are_the_bvh_files(cmu, shared_data):
    folder = shared_data / "cmu_mocap"
    clip = cmu.read_bvh(folder / "bvh" / "02_01.bvh")
    (packed,) = cmu.read_packed(folder / "cmu_30fps.npz", clips={"02_01"})
    every_fourth = clip[3::4]
    assert clip.bones == packed.bones and every_fourth.fps == pytest.approx(packed.fps, rel=1e-5)
    np.testing.assert_allclose(every_fourth.root, packed.root, atol=1e-6)
    np.testing.assert_allclose(every_fourth.local, packed.local, atol=2e-3)  # stored as float16
    np.testing.assert_allclose(clip.offsets, packed.offsets, atol=1e-9)


def test_an_unknown_clip_is_told(cmu, shared_data):
    with pytest.raises(SystemExit, match=r"no clip 99_01; it has 01_01"):
        list(cmu.read_packed(shared_data / "cmu_mocap" / "cmu_30fps.npz", clips={"99_01"}))


# --------------------------------------------------------------------------------------------------------- retargeting


def test_bones_turn_in_the_world_as_the_recorded_ones(cmu):
    clip = random_clip(cmu)
    G = cmu.body_rotations(clip, SMPL_JOINTS, SMPL_PARENTS)
    world, _ = clip.world()
    pairs = {"pelvis": "hip", "left_knee": "lShin", "right_elbow": "rForeArm", "left_wrist": "lHand", "spine3": "chest"}
    for joint, bone in pairs.items():
        np.testing.assert_allclose(G[:, SMPL_JOINTS.index(joint)], world[:, BONES.index(bone)], atol=1e-12)
    poses = cmu.body_poses(G, SMPL_PARENTS)
    for joint in ("left_foot", "right_hand"):  # not recorded
        np.testing.assert_allclose(poses[:, SMPL_JOINTS.index(joint) - 1], 0, atol=1e-12)
    # the local rotations lead back to the global ones
    back = np.empty_like(G)
    back[:, 0] = G[:, 0]
    for j in range(1, 24):
        back[:, j] = back[:, SMPL_PARENTS[j]] @ rotations.exp(poses[:, j - 1])
    np.testing.assert_allclose(back, G, atol=1e-9)


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (1.0, 1.0), (0.3, 0.8)])
def test_however_the_trunks_bend_is_shared_the_chest_is_where_it_was(cmu, low, high):
    clip = random_clip(cmu)
    poses = cmu.body_poses(cmu.body_rotations(clip, SMPL_JOINTS, SMPL_PARENTS, low=low, high=high), SMPL_PARENTS)
    spine = [rotations.exp(poses[:, SMPL_JOINTS.index(f"spine{i}") - 1]) for i in (1, 2, 3)]
    abdomen, chest = clip.local[:, BONES.index("abdomen")], clip.local[:, BONES.index("chest")]
    np.testing.assert_allclose(spine[0] @ spine[1] @ spine[2], abdomen @ chest, atol=1e-9)
    angle = np.linalg.norm(rotations.log(spine[0]), axis=-1)
    np.testing.assert_allclose(angle, low * np.linalg.norm(rotations.log(abdomen), axis=-1), atol=1e-9)


def test_a_mirror_image_moves_as_in_a_mirror_and_twice_is_nothing(tool):
    poses = 0.5 * np.random.default_rng(0).normal(size=(9, 23, 3))
    np.testing.assert_array_equal(tool.mirrored(tool.mirrored(poses)), poses)
    mirror = np.diag([-1.0, 1, 1])
    swapped = tool.mirrored(poses)
    for name, other in (("left_elbow", "right_elbow"), ("spine2", "spine2"), ("right_foot", "left_foot")):
        a = rotations.exp(poses[:, tool.JOINTS.index(name)])
        b = rotations.exp(swapped[:, tool.JOINTS.index(other)])
        np.testing.assert_allclose(b, mirror @ a @ mirror, atol=1e-12)


def test_frames_no_joint_can_reach_are_dropped(tool):
    poses = np.repeat(joint_ranges(tool.JOINTS).usual[None], 5, axis=0)
    poses[2, tool.JOINTS.index("left_knee")] = [-0.9, 0, 0]
    np.testing.assert_array_equal(tool.sound(tool.Recording("a", "a", poses)).poses, poses[[0, 1, 3, 4]])


# ------------------------------------------------------------------------------------------------------------- mixture


def test_a_mixture_is_recovered_from_its_samples(tool):
    rng = np.random.default_rng(0)
    means = np.array([[0.0, 0, 0], [2.0, 0, 1], [0, 3.0, 0]])
    roots = 0.3 * (np.eye(3) + 0.5 * rng.normal(size=(3, 3, 3)))
    weights = np.array([0.5, 0.3, 0.2])
    truth = tool.Mixture(means, roots @ roots.swapaxes(1, 2), weights)
    which = rng.choice(3, 20000, p=weights)
    x = means[which] + np.einsum("nij,nj->ni", roots[which], rng.normal(size=(20000, 3)))
    found, _ = tool.fit_mixture(x, 3, np.zeros(3))
    order = [int(np.linalg.norm(found.means - m, axis=1).argmin()) for m in means]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(found.means[order], means, atol=0.03)
    np.testing.assert_allclose(found.covars[order], truth.covars, atol=0.02)
    np.testing.assert_allclose(found.weights[order], weights, atol=0.01)
    assert found.log_likelihood(x) >= truth.log_likelihood(x)
    assert found.log_likelihood(x) > tool.fit_mixture(x, 3, np.zeros(3), diagonal=True)[0].log_likelihood(x)


def test_the_floor_is_under_every_variance_and_full_shrinkage_makes_all_alike(tool):
    x = np.random.default_rng(1).normal(size=(500, 4)) * [1, 1, 0, 0]  # two joints at rest
    floor = np.array([0.01, 0.02, 0.03, 0.04])
    mixture, _ = tool.fit_mixture(x, 2, floor, shrinkage=1.0)
    np.testing.assert_allclose(mixture.covars[:, [2, 3], [2, 3]], [floor[2:]] * 2, atol=1e-12)
    np.testing.assert_allclose(mixture.covars[0], mixture.covars[1], atol=1e-12)
    assert all((np.linalg.eigvalsh(c - np.diag(floor)) > -1e-9).all() for c in mixture.covars)


def test_what_subjects_differ_by_is_the_spread_of_their_means(tool):
    low, high = (tool.Recording("a", s, np.full((n, 23, 3), v)) for s, n, v in (("1", 10, 0.1), ("2", 90, 0.3)))
    between = tool.between_subjects([low, high])
    np.testing.assert_allclose(np.diag(between)[::3], 0.01, atol=1e-12)  # x, the same in a mirror: 0.1 and 0.3


def test_loosening_leaves_each_joints_own_covariance(tool):
    covars = np.random.default_rng(2).normal(size=(2, 69, 69))
    loose = tool.loosened(covars, 0.25)
    np.testing.assert_array_equal(loose[:, 3:6, 3:6], covars[:, 3:6, 3:6])
    np.testing.assert_allclose(loose[:, 3:6, 6:], 0.75 * covars[:, 3:6, 6:])


# ----------------------------------------------------------------------------------------------------------- program


def amass(
    folder: Path, subject: str, seed: int, frames: int, columns: int = 156, rate: str = "mocap_framerate"
) -> None:
    rng = np.random.default_rng(seed)
    ranges = joint_ranges(SMPL_JOINTS[1:])
    poses = np.zeros((frames, columns))
    body = ranges.usual + 0.5 * rng.normal(size=(frames, 23, 3)) * ranges.deviation
    poses[:, 3:66] = body[:, :21].reshape(frames, -1)
    poses[:, 66:] = 9.0
    (folder / subject).mkdir(parents=True, exist_ok=True)
    np.savez(folder / subject / f"{subject}_01_poses.npz", **{"poses": poses, rate: 120.0})


def test_a_folder_of_amass_is_read_at_thirty_frames_a_second_with_hands_at_rest(tool, tmp_path):
    amass(tmp_path, "s1", 0, 40)
    amass(tmp_path, "s2", 1, 80, rate="mocap_frame_rate", columns=165)
    np.savez(tmp_path / "s1" / "shape.npz", betas=np.zeros(16))
    first, second = tool.amass_recordings([tmp_path])
    assert (first.subject, second.subject) == ("s1", "s2")
    assert (first.poses.shape, second.poses.shape) == ((10, 23, 3), (20, 23, 3))
    assert not first.poses[:, 21:].any()
    with np.load(tmp_path / "s1" / "s1_01_poses.npz") as data:
        np.testing.assert_allclose(first.poses[1, :21].ravel(), data["poses"][4, 3:66], atol=1e-9)
    with pytest.raises(SystemExit, match="holds no"):
        list(tool.amass_recordings([tmp_path / "none"]))
    np.savez(tmp_path / "s2" / "bad.npz", poses=np.zeros((4, 60)), mocap_framerate=120.0)
    with pytest.raises(SystemExit, match=r"bad\.npz.*66 or more"):
        list(tool.amass_recordings([tmp_path]))


def test_the_program_writes_a_prior_with_its_provenance(tool, tmp_path, monkeypatch, capsys):
    for seed, subject in enumerate(("s1", "s2", "s3")):
        amass(tmp_path / "amass", subject, seed, 1600)
    options = ["--amass", str(tmp_path / "amass"), "--components", "2", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["train_pose_prior.py", *options, "--held-out", "s3"])
    tool.main()
    mixture = read_mixture(tmp_path / "out" / "pose_prior.npz")
    assert mixture.means.shape == (2, 69) and mixture.joint_names == SMPL_JOINTS[1:]
    facts = json.loads((tmp_path / "out" / "pose_prior.json").read_text())
    assert (facts["train_subjects"], facts["held_out_subjects"]) == ("s1, s2", "s3")
    assert facts["train_frames"] + facts["held_out_frames"] + facts["dropped_frames"] == 1200
    assert "| 1 Gaussian |" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["train_pose_prior.py", *options, "--held-out", "s4"])
    with pytest.raises(SystemExit, match="known are s1, s2, s3"):
        tool.main()


def test_the_example_takes_subject_taught_the_included_prior_nothing(tool):
    facts = json.loads((INCLUDED.parent / "pose_prior.json").read_text())
    held_out = facts["held_out_subjects"].split(", ")
    assert "05" in held_out and not set(held_out) & set(facts["train_subjects"].split(", "))
    figures = facts["log_likelihood"]
    ours = next(name for name in figures if "this file" in name)
    for other in ("1 Gaussian", "8 diagonal"):
        assert all(figures[ours][k] > figures[other][k] for k in ("all frames", "mean of subjects"))
