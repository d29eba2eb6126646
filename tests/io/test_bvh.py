"""BVH files, read back by the tool that reads CMU's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from synthetic import random_motion, toy_body, toy_hand, toy_smplh, toy_smplx

from mocap import skeletons
from mocap.bodies.kinematics import Skinner, joints_of, rest_keypoints
from mocap.bodies.load import load_body
from mocap.bodies.model import BodyModel
from mocap.io.bvh import write_bvh
from mocap.take import Motion

BETAS = np.array([0.5, -1.0, 0.3, 0.8])


@pytest.fixture(scope="module")
def cmu(repository: Path) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository / "tools"))
        patch.delitem(sys.modules, "cmu", raising=False)
        import cmu

        yield cmu
        patch.setitem(sys.modules, "cmu", cmu)


def read(cmu: ModuleType, path: Path, *, per_metre: float) -> tuple[dict[str, np.ndarray], float]:
    """Places of the joints [m] in the file's axes, and fps; without the first frame, a T-pose in CMU's files."""
    clip = cmu.read_bvh(path)
    _, places = clip.world()
    return {name: places[:, j] / cmu.UNIT / per_metre for j, name in enumerate(clip.bones)}, clip.fps


@pytest.mark.parametrize(
    "body",
    [toy_body(), load_body(), toy_hand(), toy_smplh(), toy_smplx()],
    ids=["toy", "embedded", "mano", "smplh", "smplx"],
)
@pytest.mark.parametrize(("unit", "per_metre"), [("cm", 100.0), ("m", 1.0)])
def test_joints_of_the_file_are_the_fit_s(tmp_path, cmu, body: BodyModel, unit, per_metre):
    motion = Motion(*random_motion(3, 20, body.n_joints, spread=2.0))
    write_bvh(tmp_path / "a.bvh", body, BETAS, motion, 59.94, unit=unit)
    found, fps = read(cmu, tmp_path / "a.bvh", per_metre=per_metre)
    assert fps == pytest.approx(59.94, rel=1e-5)
    assert set(found) == set(body.joint_names)
    truth = joints_of(body, BETAS, motion.Rh, motion.Th, motion.poses)[1:]
    for j, name in enumerate(body.joint_names):
        x, y, z = truth[:, j].T
        np.testing.assert_allclose(found[name], np.stack([x, z, -y], axis=1), atol=1e-5)


@pytest.mark.parametrize("body", [toy_hand(), toy_smplh()], ids=["mano", "smplh"])
def test_fingers_end_at_their_tips(tmp_path, body):
    motion = Motion(*random_motion(3, 2, body.n_joints))
    write_bvh(tmp_path / "a.bvh", body, BETAS, motion, 30, unit="m")
    words = (tmp_path / "a.bvh").read_text().split()
    ends, above = {}, ""
    for i, word in enumerate(words):
        above = words[i + 1] if word in ("ROOT", "JOINT") else above
        if words[i : i + 2] == ["End", "Site"]:
            ends[above] = np.array(words[i + 4 : i + 7], dtype=float)
    J = dict(zip(body.joint_names, Skinner(body, BETAS).J, strict=True))
    fingers = [name for name in body.joint_names if name.endswith("3") and name != "spine3"]
    assert set(fingers) <= set(ends) and len(fingers) == 5 * len([n for n in body.regressors if "hand21" in n])
    for name in fingers:
        side, finger = name[:-1].split("_")
        hand = skeletons.HANDS[side]
        tip = rest_keypoints(body, hand, BETAS)[hand.index(f"{side}_{finger}_tip")]
        np.testing.assert_allclose(J[name] + ends[name], tip, atol=1e-5)


def test_with_all_rotations_zero_the_skeleton_stands_in_its_t_pose(tmp_path, cmu):
    body = load_body()
    motion = Motion(np.tile([np.pi / 2, 0, 0], (2, 1)), np.zeros((2, 3)), np.zeros((2, 23, 3)))
    write_bvh(tmp_path / "a.bvh", body, BETAS, motion, 30)  # upright in the world: what was up is up
    rows = (tmp_path / "a.bvh").read_text().splitlines()[-2:]
    assert all(abs(float(x)) < 1e-4 for row in rows for x in row.split()[3:])
    found, _ = read(cmu, tmp_path / "a.bvh", per_metre=100)
    np.testing.assert_allclose([found[n][0] for n in body.joint_names], Skinner(body, BETAS).J, atol=1e-5)
    assert found["left_hand"][0][0] > 0.5 and found["head"][0][1] > found["pelvis"][0][1] + 0.4


def test_parts_without_children_end_where_the_body_does(tmp_path):
    body = load_body()
    write_bvh(tmp_path / "a.bvh", body, BETAS, Motion(*random_motion(3, 2)), 30, unit="m")
    words = (tmp_path / "a.bvh").read_text().split()
    ends = [
        np.array(words[i + 4 : i + 7], dtype=float) for i in range(len(words)) if words[i : i + 2] == ["End", "Site"]
    ]
    assert len(ends) == 5
    joints = [words[i + 1] for i in range(len(words)) if words[i] in ("ROOT", "JOINT")]
    assert joints.index("head") > joints.index("neck")
    top = body.rest(BETAS)[:, 1].max()
    head = Skinner(body, BETAS).J[body.joint_names.index("head")]
    assert any(abs(head[1] + end[1] - top) < 0.05 for end in ends)


def test_angles_go_on_past_half_a_turn(tmp_path):
    upright = Rotation.from_rotvec([np.pi / 2, 0, 0])
    thrice = Rotation.from_rotvec(np.outer(np.linspace(0, 6 * np.pi, 60), [0, 0, 1]))
    turning = (thrice * upright).as_rotvec()
    motion = Motion(turning, np.zeros((60, 3)), np.zeros((60, 23, 3)))
    write_bvh(tmp_path / "a.bvh", toy_body(), BETAS, motion, 30)
    rows = [row.split() for row in (tmp_path / "a.bvh").read_text().splitlines()[-60:]]
    turns = np.array(rows, dtype=float)[:, 3:]
    assert np.abs(np.diff(turns, axis=0)).max() < 30
    assert np.ptp(turns[:, 2]) == pytest.approx(3 * 360, abs=0.01)
