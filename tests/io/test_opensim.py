"""OpenSim's coordinates: turned back into bodies by the joints of the models, they give the fit's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from synthetic import random_motion

from mocap.bodies.kinematics import joints_of
from mocap.bodies.load import load_body
from mocap.bodies.model import SMPL_JOINTS
from mocap.errors import DataError
from mocap.geometry import rotations
from mocap.io.opensim import coordinates, write_mot

# axes of the models' joints, in their order, as their files have them
_SEQUENCE = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
_LEFT = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
_MODEL_AXES = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
FRAMES = 300


def motion(seed: int = 0, frames: int = FRAMES) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rh, poses, joints, and the rotation of each joint's part of the body in the world."""
    Rh, Th, poses = random_motion(seed, frames, spread=0.7)
    poses[:, SMPL_JOINTS.index("left_shoulder") - 1, 2] -= 1.2
    poses[:, SMPL_JOINTS.index("right_shoulder") - 1, 2] += 1.2
    body = load_body()
    G = [rotations.exp(Rh)]
    for j in range(1, 24):
        G.append(G[body.parents[j]] @ rotations.exp(poses[:, j - 1]))
    return Rh, poses, joints_of(body, np.zeros(2), Rh, Th, poses), np.stack(G, axis=1)


def turned(values: dict[str, np.ndarray], names: list[str], axes: list[list[int]]) -> np.ndarray:
    R = np.eye(3)
    for name, axis in zip(names, axes, strict=True):
        R = R @ Rotation.from_rotvec(np.radians(values[name])[:, None] * np.array(axis)).as_matrix()
    return R


def test_a_model_s_own_joints_turn_the_coordinates_into_the_segments_of_the_fit():
    Rh, poses, joints, G = motion()
    names, table = coordinates(SMPL_JOINTS, Rh, poses, joints)
    values = dict(zip(names, table.T, strict=True))

    def segment(joint: str) -> np.ndarray:
        """Of the fit, in OpenSim's axes."""
        return Y_UP @ G[:, SMPL_JOINTS.index(joint)] @ _MODEL_AXES.T

    pelvis = turned(values, ["pelvis_tilt", "pelvis_list", "pelvis_rotation"], _SEQUENCE)
    np.testing.assert_allclose(pelvis, segment("pelvis"), atol=1e-9)
    torso = pelvis @ turned(values, ["lumbar_extension", "lumbar_bending", "lumbar_rotation"], _SEQUENCE)
    np.testing.assert_allclose(torso, segment("spine3"), atol=1e-9)
    for side, axes in (("right", _SEQUENCE), ("left", _LEFT)):
        end = f"_{side[0]}"
        hip = turned(values, [f"hip_{n}{end}" for n in ("flexion", "adduction", "rotation")], axes)
        np.testing.assert_allclose(pelvis @ hip, segment(f"{side}_hip"), atol=1e-9)
        arm = turned(values, [f"arm_{n}{end}" for n in ("flex", "add", "rot")], axes)
        down = Rotation.from_euler("X", 90 if side == "right" else -90, degrees=True)  # from the T-pose
        np.testing.assert_allclose(torso @ arm @ down.as_matrix(), segment(f"{side}_shoulder"), atol=1e-9)
    # hips where the fit's are
    place = np.stack([values[f"pelvis_t{axis}"] for axis in "xyz"], axis=1)
    middle = place + pelvis @ [-0.056276, -0.07849, 0]
    hips = joints[:, [1, 2]].mean(1)
    np.testing.assert_allclose(middle, hips @ Y_UP.T, atol=1e-9)
    legs = [i for i, name in enumerate(names) if name.startswith(("hip", "knee", "ankle", "lumbar"))]
    assert np.abs(np.diff(table[:, legs], axis=0)).max() < 30


def test_knees_elbows_and_forearms_have_the_sign_and_zero_of_each_model():
    poses = np.zeros((1, 23, 3))
    x, y = np.eye(3)[:2]
    for joint, vector in {
        "left_knee": 60 * x, "right_knee": 60 * x, "right_elbow": 50 * y, "left_elbow": -50 * y, "right_wrist": 20 * x,
        "left_ankle": -10 * x,
    }.items():  # fmt: skip
        poses[0, SMPL_JOINTS.index(joint) - 1] = np.radians(vector)
    given = (SMPL_JOINTS, np.array([[np.pi / 2, 0, 0]]), poses, np.zeros((1, 24, 3)))
    names, values = coordinates(*given)
    found = dict(zip(names, values[0], strict=True))
    expected = {
        "knee_angle_r": 60, "knee_angle_l": 60, "elbow_flex_r": 50, "elbow_flex_l": 50, "pro_sup_r": 110,
        "pro_sup_l": 90, "arm_add_r": -90, "arm_add_l": -90, "ankle_angle_l": 10, "pelvis_rotation": -90,
        "hip_flexion_r": 0, "wrist_flex_r": 0,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    names, values = coordinates(*given, model="gait2392")
    found = dict(zip(names, values[0], strict=True))
    assert found["knee_angle_r"] == pytest.approx(-60) and not any(name.startswith(("arm", "elbow")) for name in found)


def test_a_mot_is_read_back_by_its_header(tmp_path):
    Rh, poses, joints, _ = motion(frames=7)
    names, values = coordinates(SMPL_JOINTS, Rh, poses, joints)
    times = 2 + np.arange(7) / 30
    write_mot(tmp_path / "a.mot", names, values, times)
    head, _, body = (tmp_path / "a.mot").read_text().partition("endheader\n")
    facts = dict(line.split("=") for line in head.splitlines() if "=" in line)
    lines = body.splitlines()
    assert facts == {"version": "1", "nRows": "7", "nColumns": str(1 + len(names)), "inDegrees": "yes"}
    assert head.startswith("Coordinates\n") and lines[0].split("\t") == ["time", *names] and len(lines) == 8
    table = np.array([line.split("\t") for line in lines[1:]], dtype=float)
    np.testing.assert_allclose(table, np.column_stack([times, values]), atol=1e-7)


def test_a_hand_has_no_coordinates():
    with pytest.raises(DataError, match="pelvis and hips"):
        coordinates(("wrist", "index1"), np.zeros((2, 3)), np.zeros((2, 1, 3)), np.zeros((2, 2, 3)))
