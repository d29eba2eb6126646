"""CSV and Parquet, read back by the standard library and by pyarrow."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from synthetic import random_motion

from mocap import skeletons
from mocap.bodies.angles import joint_angles
from mocap.bodies.load import load_body
from mocap.io.formats.base import Finished
from mocap.io.formats.csv import Csv
from mocap.io.formats.parquet import Parquet
from mocap.io.results import Result, result_of
from mocap.take import Keypoints3D, Motion, Person, RunContext, Take

FRAMES = 5


@pytest.fixture(scope="module")
def result() -> Result:
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.2, 1, (FRAMES, 25))
    confidence[2, 3] = 0
    spread = np.broadcast_to(np.eye(3), (FRAMES, 25, 3, 3))
    points = Keypoints3D.of(skeletons.BODY25, rng.normal(size=(FRAMES, 25, 3)), confidence, spread, confidence)
    person = Person(keypoints3d=points, body=load_body(), shape=np.zeros(2), motion=Motion(*random_motion(0, FRAMES)))
    return result_of(Take(RunContext(Path("nowhere")), np.arange(FRAMES) / 30, 7 + np.arange(FRAMES)), person)[0]


def read_csv(path: Path) -> dict[str, list[str]]:
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))
    return dict(zip(rows[0], map(list, zip(*rows[1:], strict=True)), strict=True))


def test_joints_are_there_in_metres_and_angles_in_degrees_by_name(tmp_path, result):
    written = Csv().write([Finished(result)], tmp_path)
    assert [f.name for f in written.files] == ["result_keypoints.csv", "result_joints.csv", "result_angles.csv"]
    joints, angles = read_csv(tmp_path / "result_joints.csv"), read_csv(tmp_path / "result_angles.csv")
    for table in (joints, angles):
        assert table["frame"] == [str(7 + i) for i in range(FRAMES)]
        np.testing.assert_allclose(np.array(table["time_s"], float), result.timestamps, atol=1e-6)
    assert result.joint_names is not None and result.joints is not None
    for j, name in enumerate(result.joint_names):
        found = np.array([joints[f"{name}_{axis}_m"] for axis in "xyz"], dtype=float).T
        np.testing.assert_allclose(found, result.joints[:, j], atol=1e-6)
    truth = joint_angles(result.joint_names, result.Rh, result.poses)
    assert set(angles) == {"frame", "time_s", *(f"{name}_deg" for name in truth.names)}
    for name in truth.names:
        np.testing.assert_allclose(np.array(angles[f"{name}_deg"], float), truth.of(name), atol=1e-4)


def test_fingers_have_their_angles(tmp_path):
    body, motion = load_body("embedded_right_hand"), Motion(*random_motion(0, FRAMES, 16, spread=0.2))
    spread, ones = np.broadcast_to(np.eye(3), (FRAMES, 21, 3, 3)), np.ones((FRAMES, 21))
    points = Keypoints3D.of(skeletons.RIGHT_HAND21, np.ones((FRAMES, 21, 3)), ones, spread, ones)
    person = Person(keypoints3d=points, body=body, shape=np.zeros(2), motion=motion)
    result = result_of(Take(RunContext(Path("nowhere")), np.arange(FRAMES) / 30, np.arange(FRAMES)), person)[0]
    assert not Csv().write([Finished(result)], tmp_path).notes
    table = read_csv(tmp_path / "result_angles.csv")
    truth = joint_angles(body.joint_names, motion.Rh, motion.poses, result.joints)
    assert len(table) == 2 + 20 and np.ptp(truth.of("right_index_pip_flexion")) > 1
    for name in truth.names:
        np.testing.assert_allclose(np.array(table[f"{name}_deg"], float), truth.of(name), atol=1e-4)
    assert {"right_thumb_tip_x_m", "right_thumb_tip_confidence"} <= set(read_csv(tmp_path / "result_keypoints.csv"))
    assert "right_thumb3_z_m" in read_csv(tmp_path / "result_joints.csv")


def test_missing_keypoints_are_empty_cells(tmp_path, result):
    Csv().write([Finished(result)], tmp_path)
    table = read_csv(tmp_path / "result_keypoints.csv")
    name = skeletons.BODY25.joints[3]
    assert [table[f"{name}_{axis}_m"][2] for axis in "xyz"] == ["", "", ""] and float(
        table[f"{name}_confidence"][2]
    ) == 0
    assert sum(cell == "" for column in table.values() for cell in column) == 3
    assert float(table["nose_x_m"][0]) == pytest.approx(result.keypoints3d[0, 0, 0], abs=1e-6)


def test_parquet_holds_the_same_tables(tmp_path, result):
    parquet = pytest.importorskip("pyarrow.parquet")
    Parquet().write([Finished(result)], tmp_path)
    Csv().write([Finished(result)], tmp_path)
    for kind in ("keypoints", "joints", "angles"):
        found = parquet.read_table(tmp_path / f"result_{kind}.parquet").to_pydict()
        text = read_csv(tmp_path / f"result_{kind}.csv")
        assert list(found) == list(text) and all(isinstance(number, int) for number in found["frame"])
        for name, column in found.items():
            for value, cell in zip(column, text[name], strict=True):
                assert (value is None) == (cell == "") and (
                    value is None or value == pytest.approx(float(cell), abs=1e-4)
                )


def test_a_body_without_smpl_s_joints_has_no_angles_and_that_is_said(tmp_path, result):
    names = tuple(f"joint_{i}" for i in range(24))
    written = Csv().write([Finished(dataclasses.replace(result, joint_names=names))], tmp_path)
    assert not (tmp_path / "result_angles.csv").exists() and "SMPL's joints" in written.notes[0]
