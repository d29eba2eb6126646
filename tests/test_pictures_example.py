"""The shipped pictures: what their README says of them holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import pictures_take, truth_of

from mocap.bodies.kinematics import joints_of, keypoints_of, vertices_of
from mocap.bodies.load import load_body
from mocap.skeletons import LSP14


@pytest.fixture(scope="module")
def example(repository: Path) -> Path:
    return repository / "data" / "examples" / "lsp"


@pytest.fixture(scope="module")
def take(example: Path, tmp_path_factory: pytest.TempPathFactory):
    return pictures_take(example, tmp_path_factory.mktemp("out"))


def test_it_is_small_and_every_part_has_a_row_a_picture(example):
    assert sum(p.stat().st_size for p in example.rglob("*") if p.is_file()) < 300_000
    images = sorted(p.name for p in (example / "images").iterdir())
    assert images == [f"im{i:04d}.jpg" for i in range(1, 13)]
    joints = np.load(example / "est_joints.npz")["est_joints"]
    assert joints.shape == (5, 14, 12) and not joints[3:].any()
    genders = [int(line) for line in (example / "lsp_gender.csv").read_text().split()]
    named = {"male": 0, "female": 1, "neutral": -1}
    assert genders == [named[g] for g in truth_of(example)["gender"]]
    assert set(genders) == {0, 1, -1}


def test_the_joints_are_the_body_s_own_with_two_pixels_of_noise(take):
    off, hidden = [], []
    for person, camera in zip(take.people, take.rig, strict=True):
        m, (seen,) = person.motion, person.keypoints2d.values()
        points = keypoints_of(person.body, LSP14, person.shape, m.Rh, m.Th, m.poses)
        off.append(camera.project(points)[0][0] - seen.xy[0])
        hidden.append(int((seen.confidence == 0).sum()))
    assert sum(hidden) == 2 and hidden[3] == 2
    spread = np.concatenate(off)
    assert np.nanstd(spread) == pytest.approx(2.0, abs=0.25)
    assert abs(np.nanmean(spread)) < 0.4


def test_the_truth_agrees_with_itself_and_names_its_bodies(example, take):
    truth = truth_of(example)
    for i, (person, camera) in enumerate(zip(take.people, take.rig, strict=True)):
        assert truth["body_hash"][i] == load_body("embedded", gender=str(truth["gender"][i])).content_hash
        m = person.motion
        joints = camera.to_camera(joints_of(person.body, person.shape, m.Rh, m.Th, m.poses))
        np.testing.assert_allclose(joints[0], truth["joints3d"][i], atol=1e-9)


def test_people_are_whole_in_their_pictures_and_as_tall_as_lsp_s(take):
    for person, camera in zip(take.people, take.rig, strict=True):
        m = person.motion
        (v,) = vertices_of(person.body, person.shape, m.Rh, m.Th, m.poses)
        xy, _ = camera.project(v.astype(float))
        assert (xy > 0).all() and (xy < np.array(camera.size) - 1).all()
        assert 150 < np.ptp(xy[:, 1]) < 225


def test_two_people_are_seen_from_the_side(example):
    joints = np.load(example / "est_joints.npz")["est_joints"]
    left, right = LSP14.index("left_shoulder"), LSP14.index("right_shoulder")
    apart = np.linalg.norm(joints[:2, left] - joints[:2, right], axis=0)
    assert (apart[[3, 7]] < 10).all()
