"""GLB files, read back by pygltflib and posed here by what the specification says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import pytest
import trimesh
from scipy.spatial.transform import Rotation, Slerp
from synthetic import random_motion, toy_body, toy_hand, toy_smplh, toy_smplx

from mocap.bodies.kinematics import Skinner, joints_of
from mocap.bodies.load import load_body
from mocap.bodies.model import BodyModel
from mocap.io.gltf import write_glb
from mocap.io.skinned import four_influences
from mocap.take import Motion

CLOCK = 7.5 + np.array([0, 1, 2, 3, 7]) / 30
BETAS = np.array([0.5, -1.0, 0.3, 0.8])
KINDS = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Read:
    """A GLB file: its arrays by the place of their accessor, and its nodes posed."""

    def __init__(self, path: Path) -> None:
        self.gltf: Any = pygltflib.GLTF2().load_binary(str(path))
        self.blob = self.gltf.binary_blob()

    def array(self, index: int) -> np.ndarray:
        accessor = self.gltf.accessors[index]
        view = self.gltf.bufferViews[accessor.bufferView]
        width = WIDTHS[accessor.type]
        start = (view.byteOffset or 0) + (accessor.byteOffset or 0)
        values = np.frombuffer(self.blob, KINDS[accessor.componentType], accessor.count * width, start)
        return values.reshape(accessor.count, width)

    def attribute(self, name: str) -> np.ndarray:
        return self.array(getattr(self.gltf.meshes[0].primitives[0].attributes, name))

    @property
    def times(self) -> np.ndarray:
        (animation,) = self.gltf.animations
        (places,) = ({s.input for s in animation.samplers},)
        (place,) = places
        return self.array(place)[:, 0]

    def nodes(self, time: float) -> np.ndarray:
        """World matrices of the nodes at a moment of the clip: nodes x 4 x 4."""
        (animation,) = self.gltf.animations
        turn = [np.array(n.rotation or [0, 0, 0, 1.0]) for n in self.gltf.nodes]
        move = [np.array(n.translation or [0, 0, 0.0]) for n in self.gltf.nodes]
        for channel in animation.channels:
            sampler = animation.samplers[channel.sampler]
            assert sampler.interpolation == "LINEAR"
            clock, values = self.array(sampler.input)[:, 0], self.array(sampler.output)
            if channel.target.path == "rotation":
                turn[channel.target.node] = Slerp(clock, Rotation.from_quat(values))(time).as_quat()
            else:
                move[channel.target.node] = np.array([np.interp(time, clock, row) for row in values.T])
        found = np.tile(np.eye(4), (len(self.gltf.nodes), 1, 1))
        placed: set[int] = set()

        def place(node: int, above: np.ndarray) -> None:
            local = np.eye(4)
            local[:3, :3], local[:3, 3] = Rotation.from_quat(turn[node]).as_matrix(), move[node]
            found[node] = above @ local
            placed.add(node)
            for child in self.gltf.nodes[node].children or ():
                place(child, found[node])

        for root in self.gltf.scenes[self.gltf.scene].nodes:
            place(root, np.eye(4))
        assert placed == set(range(len(self.gltf.nodes)))
        return found

    def joints(self, time: float) -> dict[str, np.ndarray]:
        world = self.nodes(time)
        return {self.gltf.nodes[node].name: world[node, :3, 3] for node in self.gltf.skins[0].joints}

    def vertices(self, time: float) -> np.ndarray:
        skin = self.gltf.skins[0]
        inverse_bind = self.array(skin.inverseBindMatrices).reshape(-1, 4, 4).swapaxes(1, 2)
        matrices = self.nodes(time)[skin.joints] @ inverse_bind
        rest = np.pad(self.attribute("POSITION"), ((0, 0), (0, 1)), constant_values=1)
        blended = np.einsum("vk,vkij->vij", self.attribute("WEIGHTS_0"), matrices[self.attribute("JOINTS_0")])
        return np.einsum("vij,vj->vi", blended, rest)[:, :3]


def written(path: Path, body: BodyModel, *, spread: float = 0.5) -> tuple[Read, Motion, np.ndarray]:
    motion = Motion(*random_motion(3, len(CLOCK), body.n_joints, spread=spread))
    betas = BETAS[: body.n_betas]
    write_glb(path, body, betas, motion, CLOCK, name="person")
    return Read(path), motion, betas


@pytest.mark.parametrize(
    "body",
    [toy_body(), load_body(), toy_hand(), toy_smplh(), toy_smplx()],
    ids=["toy", "embedded", "mano", "smplh", "smplx"],
)
def test_joints_and_mesh_of_the_file_are_the_model_s_without_corrections_by_pose(tmp_path, body):
    glb, motion, betas = written(tmp_path / "a.glb", body, spread=2.0)
    joints = joints_of(body, betas, motion.Rh, motion.Th, motion.poses)
    plain = dataclasses.replace(body, posedirs=np.zeros_like(body.posedirs))
    meshes = Skinner(plain, betas).vertices(motion.Rh, motion.Th, motion.poses)
    for frame, time in enumerate(CLOCK - CLOCK[0]):
        found = glb.joints(time)
        assert tuple(found) == body.joint_names
        x, y, z = joints[frame].T
        np.testing.assert_allclose(list(found.values()), np.stack([x, z, -y], axis=1), atol=1e-5)
        x, y, z = meshes[frame].T
        np.testing.assert_allclose(glb.vertices(time), np.stack([x, z, -y], axis=1), atol=1e-5)


def test_the_clip_has_the_take_s_own_moments_and_says_when_it_began(tmp_path):
    glb, *_ = written(tmp_path / "a.glb", toy_body())
    np.testing.assert_allclose(glb.times, CLOCK - CLOCK[0], atol=1e-6)
    assert glb.gltf.animations[0].extras == {"start": CLOCK[0]}
    single = Motion(*(v[:1] for v in random_motion(3, 1)))
    write_glb(tmp_path / "b.glb", toy_body(), BETAS, single, CLOCK[:1])
    assert Read(tmp_path / "b.glb").times.tolist() == [0]


def test_between_frames_joints_turn_the_short_way_for_readers_that_only_blend_numbers(tmp_path):
    glb, *_ = written(tmp_path / "a.glb", toy_body(), spread=3.1)  # past half a turn
    (animation,) = glb.gltf.animations
    turns = [glb.array(s.output) for s in animation.samplers if glb.array(s.output).shape[1] == 4]
    assert len(turns) == 24
    for q in turns:
        np.testing.assert_allclose(np.linalg.norm(q, axis=1), 1, atol=1e-6)
        assert ((q[1:] * q[:-1]).sum(1) >= 0).all()


def test_the_rest_pose_is_a_t_pose_that_an_independent_reader_shows(tmp_path):
    body = load_body()
    glb, _, betas = written(tmp_path / "a.glb", body)
    scene = trimesh.load(tmp_path / "a.glb", process=False)
    (mesh,) = scene.geometry.values()
    np.testing.assert_allclose(mesh.vertices, body.rest(betas), atol=1e-6)
    np.testing.assert_array_equal(mesh.faces, body.faces)
    rest = {n.name: np.array(n.translation) for n in glb.gltf.nodes[1:]}
    J = Skinner(body, betas).J
    np.testing.assert_allclose(rest["left_knee"], J[4] - J[1], atol=1e-6)
    outward = np.einsum("vi,vi->v", glb.attribute("NORMAL"), mesh.vertex_normals)
    assert np.median(outward) > 0.99
    np.testing.assert_allclose(np.linalg.norm(glb.attribute("NORMAL"), axis=1), 1, atol=1e-5)


def test_colours_are_stored_proportional_to_light(tmp_path):
    """sRGB's 0.5 is 21.4 % of the light."""
    body = toy_body()
    colours = np.tile([0.0, 0.5, 1.0], (200, 1))
    glb, *_ = written(tmp_path / "a.glb", dataclasses.replace(body, colours=colours))
    np.testing.assert_allclose(glb.attribute("COLOR_0")[0] / 65535, [0, 0.2140, 1, 1], atol=1e-4)
    assert glb.gltf.materials[0].pbrMetallicRoughness.baseColorFactor == [1, 1, 1, 1]
    plain, *_ = written(tmp_path / "b.glb", body)
    assert plain.gltf.meshes[0].primitives[0].attributes.COLOR_0 is None


def test_of_more_than_four_joints_the_strongest_are_kept_and_sum_to_one():
    weights = np.array([[0.4, 0.0, 0.1, 0.25, 0.05, 0.2], [0, 0, 1.0, 0, 0, 0]])
    joints, kept = four_influences(weights)
    np.testing.assert_array_equal(joints, [[0, 3, 5, 2], [2, 0, 0, 0]])
    np.testing.assert_allclose(kept, [np.array([0.4, 0.25, 0.2, 0.1]) / 0.95, [1, 0, 0, 0]])


def test_a_body_of_two_joints_has_four_influences_all_the_same():
    joints, kept = four_influences(np.array([[0.3, 0.7]]))
    assert joints.shape == kept.shape == (1, 4)
    np.testing.assert_allclose(kept, [[0.7, 0.3, 0, 0]])
