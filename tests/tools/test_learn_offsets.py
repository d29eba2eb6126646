"""Learning mediapipe's offsets from pictures, with the detector replaced by the truth moved, disturbed and mirrored."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mocap.bodies.kinematics import Skinner, keypoints_of
from mocap.bodies.load import load_body
from mocap.bodies.regressors import parse_offsets
from mocap.skeletons import MEDIAPIPE33


@pytest.fixture(scope="module")
def tool(repository: Path) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository / "tools"))  # it imports its neighbours
        spec = importlib.util.spec_from_file_location("learn_offsets", repository / "tools" / "learn_offsets.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "learn_offsets", module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def bodies() -> tuple[list[np.ndarray], np.ndarray]:
    """Posed meshes, and where the included body has mediapipe's points on them, offsets of the file and all."""
    rng = np.random.default_rng(3)
    meshes, points = [], []
    for gender in ("female", "male"):
        body, betas = load_body("embedded", gender=gender), rng.normal(0, 1, 10)
        Rh, Th = rng.normal(0, 0.2, (12, 3)) + [np.pi / 2, 0, 0], np.tile([0, 0, 0.9], (12, 1))
        poses = rng.normal(0, 0.25, (12, body.n_joints - 1, 3))
        meshes += list(Skinner(body, betas).vertices(Rh, Th, poses))
        points.append(keypoints_of(body, "mediapipe33", betas, Rh, Th, poses))
    return meshes, np.concatenate(points)


@pytest.fixture(scope="module")
def scene(tool: ModuleType, bodies: tuple) -> object:
    rows = tool.point_rows()
    cameras = [camera for seed in (1, 2, 3) for camera in tool.make_rig(seed, tool.SIZE, 8)]
    return tool.scene_of(cameras, np.stack([rows @ mesh.astype(float) for mesh in bodies[0]]))


def test_the_offsets_of_the_file_come_back_from_the_points_they_make(tool: ModuleType, scene, bodies: tuple) -> None:
    """Through noise, one point in ten grossly wrong, and a second candidate who is nobody of ours."""
    rng = np.random.default_rng(4)
    seen = np.stack([camera.project(points)[0] for camera, points in zip(scene.cameras, bodies[1], strict=True)])
    seen += rng.normal(0, 0.5, seen.shape)
    wrong = rng.random(seen.shape[:2]) < 0.1
    seen[wrong] += rng.normal(0, 200, (wrong.sum(), 2))
    xy = np.stack([seen + 300, seen], axis=1)
    found = tool.rounded(tool.learned(tool.sightings(scene, xy, np.ones(xy.shape[:3]))))
    expected = parse_offsets(tool.OFFSETS.read_text(), "the file")
    for name in MEDIAPIPE33.joints:
        want = np.array(expected[name].offset) if name in expected else np.zeros(3)
        got = np.array(found[name].offset) if name in found else np.zeros(3)
        np.testing.assert_allclose(got, want, atol=3.1e-3, err_msg=name)
        assert name not in found or name not in expected or found[name].joint == expected[name].joint


def test_who_is_not_seen_or_hardly_visible_teaches_nothing(tool: ModuleType, scene) -> None:
    pictures, points = len(scene.cameras), len(MEDIAPIPE33)
    nobody = tool.sightings(scene, np.zeros((pictures, 0, points, 2)), np.zeros((pictures, 0, points)))
    assert not nobody.visibility.any() and np.isfinite(nobody.residual).all()
    xy = np.stack([camera.project(p)[0] for camera, p in zip(scene.cameras, scene.points, strict=True)])[:, None]
    visibility = np.ones(xy.shape[:3])
    visibility[::2] = 0.3
    residual, slope = tool.sightings(scene, xy, visibility).of("hip")
    assert len(residual) == len(slope) == pictures
    np.testing.assert_allclose(residual, 0, atol=1e-9)


def test_the_right_side_mirrors_the_left_and_the_nose_stays_in_the_middle(tool: ModuleType) -> None:
    offsets = tool.rounded({part: np.array([0.01, 0.02, 0.03]) for part in tool.TURNS_WITH})
    assert set(offsets) == set(MEDIAPIPE33.joints)
    for k, other in enumerate(MEDIAPIPE33.mirrored()):
        mine, theirs = (offsets[MEDIAPIPE33.joints[i]].offset for i in (k, other))
        np.testing.assert_allclose(mine, np.array(theirs) * [-1, 1, 1])
    assert offsets["nose"].offset[0] == 0 and offsets["mouth_left"].offset[0] > 0


def test_what_is_written_is_what_the_body_builder_reads(tool: ModuleType) -> None:
    offsets = tool.rounded({part: np.array([0.01, -0.02, 0.001]) for part in tool.TURNS_WITH})
    text = tool.written(offsets, 'told "so"')
    assert parse_offsets(text, "here") == offsets and json.loads(text)["source"] == 'told "so"'


def test_no_subject_is_both_learned_from_and_judged_by(tool: ModuleType, tmp_path: Path) -> None:
    """Every frame carries its subject's number and whether it is a clip's first, the T-pose."""
    subjects, length = [1, 2, 5, 8], 30
    quaternions = np.zeros((len(subjects) * length, 2, 4), np.float32)
    quaternions[..., 0] = np.repeat(subjects, length)[:, None]
    quaternions[::length, :, 1] = 1
    np.savez(
        tmp_path / "cmu.npz",
        quat_xyzw=quaternions,
        root_pos=np.zeros((len(quaternions), 3)),
        clip_start=np.arange(len(subjects) + 1) * length,
        clip_names=np.array([f"clips/{s:02d}/{s:02d}_01.bvh" for s in subjects]),
        fps=30,
    )
    for half, wanted in (("even", {2, 8}), ("odd", {1, 5})):
        deck = tmp_path / f"{half}.npz"
        names = tool.deal(tmp_path / "cmu.npz", half, 3, 10, np.random.default_rng(0), deck)
        with np.load(deck) as dealt:
            start, drawn = dealt["clip_start"], dealt["quat_xyzw"][:, 0]
            assert list(dealt["clip_names"]) == names and int(dealt["fps"]) == 30
        poses = np.delete(drawn, start[:-1], axis=0)
        assert set(poses[:, 0].astype(int)) == wanted and not poses[:, 1].any()
        assert (drawn[start[:-1], 1] == 1).all() and len(poses) == 30
