"""The files SMPLify's users read: what `cam_t, f, pose, betas` mean, and round trips."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from mocap import skeletons
from mocap.bodies.kinematics import joints_of, keypoints_of
from mocap.errors import BadFile, MissingFile
from mocap.geometry import rotations
from mocap.io.results import rest_root
from mocap.io.smplify import at_frames, in_camera, read_smplify_npz, write_smplify_json, write_smplify_npz
from mocap.take import Keypoints2D, Motion
from tests.synthetic import random_motion, ring_rig, toy_body, toy_hand, toy_smplh

FRAMES = 4
BETAS = np.array([0.5, -1, 2, 0.3])


def seen(frames: int = FRAMES) -> Keypoints2D:
    confidence = np.full((frames, 14), 0.5)
    confidence[0, 3] = 0
    xy = np.arange(frames * 28, dtype=float).reshape(frames, 14, 2)
    return Keypoints2D.of(skeletons.LSP14, np.arange(frames) / 30, xy, confidence)


def result(frames: int = FRAMES, **more):
    body, motion = toy_body(1), Motion(*random_motion(2, frames))
    return in_camera(body, BETAS, motion, ring_rig().cameras[1], seen=seen(frames), **more)


@pytest.mark.parametrize(
    ("make", "points"), [(toy_body, "body25"), (toy_hand, "right_hand21"), (toy_smplh, "mediapipe75")]
)
def test_smpl_turned_about_its_root_joint_and_moved_by_cam_t_projects_where_the_motion_does(make, points):
    body, camera = make(1), ring_rig().cameras[1]
    camera = dataclasses.replace(camera, distortion=np.zeros(5))
    motion = Motion(*random_motion(2, FRAMES, body.n_joints))
    told = in_camera(body, BETAS, motion, camera)
    assert told.pose.shape == (FRAMES, 3 * body.n_joints)
    still = np.zeros((FRAMES, 3))
    x = keypoints_of(body, points, BETAS, still, still, told.pose[:, 3:].reshape(FRAMES, -1, 3))
    J0 = rest_root(body, BETAS)
    turned = np.einsum("fij,fkj->fki", rotations.exp(told.pose[:, :3]), x - J0) + J0
    p = turned + told.cam_t[:, None]
    xy = np.stack([told.f * p[..., 0], camera.K[1, 1] * p[..., 1]], axis=-1) / p[..., 2:] + told.center
    world = keypoints_of(body, points, BETAS, motion.Rh, motion.Th, motion.poses)
    np.testing.assert_allclose(xy, camera.project(world)[0], atol=1e-8)
    joints = joints_of(body, BETAS, motion.Rh, motion.Th, motion.poses)
    np.testing.assert_allclose(told.joints3d, camera.to_camera(joints), atol=1e-12)


def test_a_picture_has_no_axis_of_frames_and_reads_back(tmp_path):
    one = result(1)
    write_smplify_npz(tmp_path / "a.npz", one)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert {n: file[n].shape for n in ("pose", "cam_t", "f", "betas", "keypoints2d")} == {
            "pose": (72,), "cam_t": (3,), "f": (), "betas": (4,), "keypoints2d": (14, 2)
        }  # fmt: skip
        assert "frames" not in file.files
    back = read_smplify_npz(tmp_path / "a.npz")
    for field in dataclasses.fields(one):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(one, field.name), err_msg=field.name)


def test_a_video_reads_back_with_its_frames(tmp_path):
    one = result(frames=FRAMES)
    whole = dataclasses.replace(one, frames=np.arange(7, 11), timestamps=np.arange(4) / 30)
    write_smplify_npz(tmp_path / "a.npz", whole)
    back = read_smplify_npz(tmp_path / "a.npz")
    for field in dataclasses.fields(whole):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(whole, field.name), err_msg=field.name)


def test_json_has_the_same_keys_and_null_for_what_is_missing(tmp_path):
    one = result(1)
    write_smplify_npz(tmp_path / "a.npz", one)
    write_smplify_json(tmp_path / "a.json", one)
    read = json.loads((tmp_path / "a.json").read_text())
    with np.load(tmp_path / "a.npz") as file:
        assert set(read) == set(file.files)
        np.testing.assert_array_equal(read["pose"], file["pose"])
    assert read["keypoints2d"][3] == [None, None]
    assert read["keypoints2d"][4] == [8.0, 9.0]
    assert read["gender"] == "neutral" and isinstance(read["f"], float)


def test_what_is_no_such_file_is_told(tmp_path):
    with pytest.raises(MissingFile):
        read_smplify_npz(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "pickled.npz", pose=np.array([print], dtype=object))
    np.savez(tmp_path / "other.npz", pose=np.zeros(72))
    write_smplify_npz(tmp_path / "a.npz", dataclasses.replace(result(), frames=np.arange(FRAMES)))
    with np.load(tmp_path / "a.npz") as file:
        np.savez(tmp_path / "short.npz", **{**file, "cam_t": file["cam_t"][1:]})
    for name, why in (
        ("text", "not a result"), ("pickled", "not a result"), ("other", "it has no betas"), ("short", "a row a frame")
    ):  # fmt: skip
        with pytest.raises(BadFile, match=why):
            read_smplify_npz(tmp_path / f"{name}.npz")


def test_points_are_put_to_the_frames_they_were_seen_at():
    found = at_frames(seen(3), np.array([1 / 30, 0.05, 2 / 30]))
    np.testing.assert_array_equal(found.xy[[0, 2]], seen(3).xy[1:])
    assert not found.confidence[1].any() and np.isnan(found.xy[1]).all()
    nobody = Keypoints2D.of(skeletons.LSP14, np.zeros(0), np.zeros((0, 14, 2)), np.zeros((0, 14)))
    assert not at_frames(nobody, np.zeros(1)).confidence.any()
