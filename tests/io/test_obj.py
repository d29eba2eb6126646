"""Meshes as OBJ files, read back by what the format says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mocap.bodies.kinematics import vertices_of
from mocap.io.meshes import Y_UP_OF_CAMERA, Y_UP_OF_WORLD, write_mesh, write_meshes
from mocap.take import Motion, Person
from tests.synthetic import random_motion, ring_rig, toy_body, toy_hand, toy_smplh


def person(seed: int, frames: int, make=toy_body) -> Person:
    body = make(seed)
    return Person(body=body, shape=np.zeros(4), motion=Motion(*random_motion(seed, frames, body.n_joints)))


def read(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Vertices, faces counted from 0, and names of the objects."""
    lines = [line.split() for line in path.read_text().splitlines()]
    assert {words[0] for words in lines} == {"o", "v", "f"}
    v = np.array([words[1:] for words in lines if words[0] == "v"], dtype=float)
    f = np.array([words[1:] for words in lines if words[0] == "f"], dtype=int) - 1
    return v, f, [words[1] for words in lines if words[0] == "o"]


def posed(one: Person, frame: int) -> np.ndarray:
    m = one.motion
    assert one.body is not None and one.shape is not None and m is not None
    s = slice(frame, frame + 1)
    return vertices_of(one.body, one.shape, m.Rh[s], m.Th[s], m.poses[s])[0].astype(float)


def test_a_picture_s_mesh_is_what_its_camera_sees_upright(tmp_path):
    one, camera = person(1, 1), ring_rig().cameras[2]
    write_mesh(tmp_path / "meshes" / "a.obj", one, camera)
    vertices, faces, names = read(tmp_path / "meshes" / "a.obj")
    x, y, z = camera.to_camera(posed(one, 0)).T
    np.testing.assert_allclose(vertices, np.stack([x, -y, -z], axis=1), atol=6e-6)
    assert one.body is not None
    np.testing.assert_array_equal(faces, one.body.faces)
    assert names == ["person_0"]


@pytest.mark.parametrize("make", [toy_body, toy_hand, toy_smplh])
def test_a_video_s_meshes_are_called_by_frame_and_hold_everybody(tmp_path, make):
    first, second = person(1, 3, make), person(2, 3)
    assert write_meshes(tmp_path, np.array([7, 9, 11]), (first, Person(), second)) == [tmp_path / "meshes"]
    assert sorted(p.name for p in (tmp_path / "meshes").iterdir()) == ["000007.obj", "000009.obj", "000011.obj"]
    vertices, faces, names = read(tmp_path / "meshes" / "000009.obj")
    x, y, z = np.concatenate([posed(first, 1), posed(second, 1)]).T
    np.testing.assert_allclose(vertices, np.stack([x, z, -y], axis=1), atol=6e-6)
    assert first.body is not None and second.body is not None
    np.testing.assert_array_equal(faces, np.concatenate([first.body.faces, second.body.faces + 200]))
    assert names == ["person_0", "person_1"]


def test_meshes_of_an_earlier_run_do_not_stay_and_other_files_do(tmp_path):
    write_meshes(tmp_path, np.arange(3), (person(1, 3),))
    (tmp_path / "meshes" / "notes.txt").write_text("mine")
    write_meshes(tmp_path, np.arange(1), (person(1, 1),))
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == ["000000.obj", "notes.txt"]
    assert write_meshes(tmp_path / "other", np.arange(1), (Person(),)) == []
    assert not (tmp_path / "other").exists()


def test_axes_are_turned_and_never_mirrored():
    for axes in (Y_UP_OF_CAMERA, Y_UP_OF_WORLD):
        assert np.linalg.det(axes) == 1
