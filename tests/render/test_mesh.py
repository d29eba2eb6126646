from __future__ import annotations

import numpy as np
import pytest
from render.scenes import LENS, SIZE, K, ball, camera

from mocap.geometry.cameras import Camera
from mocap.render.mesh import Light, _ball, bent, light_from, lit, seen_at, sticks


def test_normals_of_a_ball_point_outwards_and_have_unit_length() -> None:
    mesh = ball()
    outwards = (mesh.vertices - [0, 0, 3]) / 0.2
    assert np.linalg.norm(mesh.normals, axis=-1) == pytest.approx(1, abs=1e-5)
    assert (mesh.normals * outwards).sum(-1).min() > 0.95


@pytest.mark.parametrize(("distortion", "fisheye"), [(LENS, False), (np.array([0.05, -0.02, 0.003, 0.0]), True)])
def test_k_alone_projects_bent_points_where_the_lens_does(distortion: np.ndarray, fisheye: bool) -> None:
    one = camera(distortion, fisheye=fisheye)
    xyz = np.random.default_rng(0).uniform([-1.2, -1, 2], [1.2, 1, 5], (200, 3))
    p = bent(one, xyz)
    assert (p / p[:, 2:]) @ K[:2].T == pytest.approx(one.project(xyz)[0], abs=1e-9)
    assert p[:, 2] == pytest.approx(xyz[:, 2])


def test_a_lens_without_distortion_moves_nothing() -> None:
    xyz = np.array([[0.3, -0.2, 2.0], [5.0, 1.0, -3.0]])
    assert bent(camera(np.zeros(5)), xyz) == pytest.approx(xyz)


def test_points_far_aside_are_not_folded_back_into_the_picture() -> None:
    one = camera(np.array([-0.3, 0.0, 0, 0, 0]))
    aside = np.array([[x, 0.0, 1.0] for x in np.linspace(1.5, 8, 30)])
    folded, _ = one.project(aside)
    inside = (np.abs(folded - K[:2, 2]) < [300, 200]).all(-1)
    assert inside.any(), "the polynomial should fold here, else this proves nothing"
    xy = seen_at(one, aside)
    assert (xy[:, 0] > SIZE[0]).all()


def test_points_behind_the_camera_are_nowhere() -> None:
    assert np.isnan(seen_at(camera(), np.array([[0.1, 0.1, -1.0]]))).all()


def test_what_faces_the_light_is_brighter_and_all_colours_are_in_range() -> None:
    mesh = ball()
    colours = lit(mesh, np.zeros(3), Light(towards=(0.0, 0.0, 1.0)))
    assert colours.min() >= 0
    assert colours.max() <= 1
    assert colours[mesh.normals[:, 2] > 0.9].mean() > colours[mesh.normals[:, 2] < -0.9].mean() + 0.1


def test_the_light_never_comes_from_below() -> None:
    upwards = np.eye(4)
    upwards[:3, :3] = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])  # looks straight up along z
    assert light_from(Camera("up", K, np.zeros(5), upwards, SIZE)).towards[2] > 0.3


def test_limbs_with_a_missing_end_are_left_out_of_the_sticks() -> None:
    joints = np.array([[0.0, 0, 0], [0, 0, 1], [np.nan] * 3])
    one = sticks(joints, np.array([[0, 1], [1, 2]]), np.ones((2, 3)))
    assert one is not None
    vertices_each = len(_ball()[0])
    assert len(one.vertices) == 3 * vertices_each  # one limb, two joints
    assert np.isfinite(one.vertices).all()
    assert one.vertices[:vertices_each, 2].min() == pytest.approx(0, abs=1e-6)
    assert one.vertices[:vertices_each, 2].max() == pytest.approx(1, abs=1e-6)
    assert sticks(joints * np.nan, np.array([[0, 1]]), np.ones((1, 3))) is None
