"""Meshes as PLY files, read back by trimesh."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import trimesh
from synthetic import random_motion, toy_body, toy_hand, toy_smplh, toy_smplx

from mocap.bodies.kinematics import vertices_of
from mocap.io.meshes import write_ply_meshes
from mocap.take import Motion

BETAS = np.array([0.5, -1.0, 0.3, 0.8])


@pytest.mark.parametrize("make", [toy_body, toy_hand, toy_smplh, toy_smplx])
def test_each_frame_is_the_posed_body_in_the_world_s_axes_and_its_colours(tmp_path, make):
    colours = np.random.default_rng(0).random((200, 3))
    body = dataclasses.replace(make(), colours=colours)
    motion = Motion(*random_motion(1, 3, body.n_joints))
    write_ply_meshes(tmp_path / "ply", np.array([4, 6, 8]), body, BETAS, motion)
    assert sorted(p.name for p in (tmp_path / "ply").iterdir()) == ["000004.ply", "000006.ply", "000008.ply"]
    truth = vertices_of(body, BETAS, motion.Rh, motion.Th, motion.poses)
    for i, name in enumerate(("000004", "000006", "000008")):
        mesh = trimesh.load(tmp_path / "ply" / f"{name}.ply", process=False)
        np.testing.assert_array_equal(mesh.vertices.astype(np.float32), truth[i])
        np.testing.assert_array_equal(mesh.faces, body.faces)
        np.testing.assert_allclose(mesh.visual.vertex_colors[:, :3] / 255, colours, atol=0.5 / 255 + 1e-9)


def test_a_body_without_colours_has_none_in_the_file(tmp_path):
    write_ply_meshes(tmp_path, np.arange(1), toy_body(), BETAS, Motion(*random_motion(1, 1)))
    header = (tmp_path / "000000.ply").read_bytes().partition(b"end_header")[0]
    assert b"red" not in header and b"element vertex 200" in header
    assert len(trimesh.load(tmp_path / "000000.ply", process=False).vertices) == 200
