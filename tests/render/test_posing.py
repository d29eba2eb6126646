from __future__ import annotations

import numpy as np
import pytest

from mocap import skeletons
from mocap.bodies.kinematics import keypoints_of, vertices_of
from mocap.bodies.load import load_body
from mocap.bodies.model import BodyModel
from mocap.geometry import rotations
from mocap.render.posing import facing, fitted_skeleton, floor_below, meshes_at, motion_at, points_at
from mocap.take import Keypoints3D, Motion, Person

CLOCK = np.arange(5) / 10
UPRIGHT = np.array([np.pi / 2, 0, 0])
"""Turns the models' y up to the world's z; the front, z, then points to -y."""


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body("embedded")


def motion(seed: int = 0, frames: int = 5) -> Motion:
    rng = np.random.default_rng(seed)
    Rh = rotations.log(rotations.exp(rng.uniform(-3, 3, (frames, 1)) * [0, 0, 1.0]) @ rotations.exp(UPRIGHT))
    return Motion(Rh, rng.normal(0, 1, (frames, 3)), rng.normal(0, 0.4, (frames, 23, 3)))


def same_rotations(a: np.ndarray, b: np.ndarray) -> None:
    assert rotations.exp(a) == pytest.approx(rotations.exp(b), abs=1e-9)


def test_a_motion_at_its_own_frames_is_itself() -> None:
    m = motion()
    same = motion_at(m, CLOCK, CLOCK)
    same_rotations(same.Rh, m.Rh)
    same_rotations(same.poses, m.poses)
    assert same.Th == pytest.approx(m.Th)


def test_half_way_between_frames_is_half_the_turn_even_past_pi() -> None:
    Rh = np.array([[0, 0, 3.0], [0, 0, -3.0]])  # 0.283 rad apart through pi
    m = Motion(Rh, np.array([[0.0, 0, 0], [1, 0, 0]]), np.zeros((2, 23, 3)))
    half = motion_at(m, np.array([0.0, 0.1]), np.array([0.05]))
    same_rotations(half.Rh, np.array([[0, 0, np.pi]]))
    assert half.Th[0] == pytest.approx([0.5, 0, 0])


def test_before_and_after_the_take_the_ends_hold_on() -> None:
    m = motion()
    ends = motion_at(m, CLOCK, np.array([-1.0, 9.0]))
    assert ends.Th == pytest.approx(m.Th[[0, -1]])
    single = motion_at(Motion(m.Rh[:1], m.Th[:1], m.poses[:1]), CLOCK[:1], np.array([0.0, 3.0]))
    assert single.Th == pytest.approx(m.Th[[0, 0]])


def test_meshes_and_points_are_the_bodys_own(body: BodyModel) -> None:
    m, betas = motion(), np.zeros(10)
    person = Person(body=body, shape=betas, motion=m)
    meshes = list(meshes_at(person, 0, CLOCK, CLOCK))
    expected = vertices_of(body, betas, m.Rh, m.Th, m.poses)
    assert np.stack([mesh.vertices for mesh in meshes if mesh]) == pytest.approx(expected, abs=1e-5)
    assert fitted_skeleton(person) is skeletons.BODY25
    points = points_at(person, skeletons.BODY25, CLOCK, CLOCK)
    assert points == pytest.approx(keypoints_of(body, "body25", betas, m.Rh, m.Th, m.poses), abs=1e-9)


def keypoints_only(xyz: np.ndarray) -> Person:
    shape = xyz.shape[:2]
    k = Keypoints3D.of(skeletons.COCO17, xyz, np.ones(shape), np.zeros((*shape, 3, 3)), np.zeros(shape))
    return Person(keypoints3d=k)


def test_without_a_body_the_keypoints_are_drawn_as_sticks_and_frames_with_nothing_are_empty() -> None:
    xyz = np.random.default_rng(0).normal(0, 1, (5, 17, 3))
    xyz[2] = np.nan
    person = keypoints_only(xyz)
    drawn = list(meshes_at(person, 0, CLOCK, CLOCK))
    assert [mesh is None for mesh in drawn] == [False, False, True, False, False]
    assert fitted_skeleton(person) is skeletons.COCO17
    points = points_at(person, skeletons.COCO17, CLOCK, CLOCK)
    assert points == pytest.approx(xyz, nan_ok=True)  # a missing neighbour does not touch a frame that is met


def test_facing_is_the_front_of_the_body_and_of_its_keypoints(body: BodyModel) -> None:
    Rh = rotations.log(rotations.exp(np.array([[0, 0, 0.7]])) @ rotations.exp(UPRIGHT))
    m = Motion(Rh, np.zeros((1, 3)), np.zeros((1, 23, 3)))
    expected = [np.sin(0.7), -np.cos(0.7)]
    assert facing(Person(body=body, shape=np.zeros(10), motion=m))[0] == pytest.approx(expected, abs=1e-9)
    xyz = keypoints_of(body, "coco17", np.zeros(10), m.Rh, m.Th, m.poses)
    assert facing(keypoints_only(xyz))[0] == pytest.approx(expected, abs=0.05)


def test_the_floor_is_below_the_soles(body: BodyModel) -> None:
    m = Motion(np.tile(UPRIGHT, (30, 1)), np.tile([0, 0, 3.0], (30, 1)), np.zeros((30, 23, 3)))
    person = Person(body=body, shape=np.zeros(10), motion=m)
    lowest = vertices_of(body, np.zeros(10), m.Rh[:1], m.Th[:1], m.poses[:1])[..., 2].min()
    assert floor_below([person]) == pytest.approx(lowest, abs=1e-5)
    xyz = keypoints_of(body, "coco17", np.zeros(10), m.Rh, m.Th, m.poses)
    xyz[:3] = np.nan
    assert floor_below([keypoints_only(xyz)]) == pytest.approx(xyz[5, :, 2].min() - 0.09)
    assert floor_below([keypoints_only(xyz * np.nan)]) == 0.0
