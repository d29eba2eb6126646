"""USD files, opened and skinned by USD's own library."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import random_motion, toy_body, toy_hand, toy_smplh, toy_smplx

from mocap.bodies.kinematics import Skinner, joints_of
from mocap.bodies.load import load_body
from mocap.bodies.model import BodyModel
from mocap.io.usd import write_usda
from mocap.take import Motion

pytest.importorskip("pxr", reason="usd-core, which reads USD files, is not installed")

CLOCK = 7.5 + np.array([0, 1, 2, 3, 7]) / 30
BETAS = np.array([0.5, -1.0, 0.3, 0.8])


def opened(path: Path, body: BodyModel) -> tuple[Any, Motion]:
    from pxr import Usd

    motion = Motion(*random_motion(3, len(CLOCK), body.n_joints, spread=2.0))
    write_usda(path, body, BETAS, motion, CLOCK, 30.0, name="person")
    return Usd.Stage.Open(str(path)), motion


@pytest.mark.parametrize(
    "body",
    [toy_body(), load_body(), toy_hand(), toy_smplh(), toy_smplx()],
    ids=["toy", "embedded", "mano", "smplh", "smplx"],
)
def test_joints_and_mesh_as_usd_poses_them_are_the_model_s_without_corrections_by_pose(tmp_path, body):
    from pxr import Usd, UsdGeom, UsdSkel

    stage, motion = opened(tmp_path / "a.usda", body)
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and UsdGeom.GetStageMetersPerUnit(stage) == 1
    root = UsdSkel.Root(stage.GetDefaultPrim())
    cache = UsdSkel.Cache()
    cache.Populate(root, Usd.PrimDefaultPredicate)
    skeleton = cache.GetSkelQuery(UsdSkel.Skeleton.Get(stage, "/person/skeleton"))
    mesh = stage.GetPrimAtPath("/person/body")
    skinning = cache.GetSkinningQuery(mesh)
    truth = joints_of(body, BETAS, motion.Rh, motion.Th, motion.poses)
    plain = dataclasses.replace(body, posedirs=np.zeros_like(body.posedirs))
    meshes = Skinner(plain, BETAS).vertices(motion.Rh, motion.Th, motion.poses)
    names = [path.rpartition("/")[2] for path in skeleton.GetJointOrder()]
    assert tuple(names) == body.joint_names
    for frame, code in enumerate((CLOCK - CLOCK[0]) * 30):
        posed = np.array([np.array(m) for m in skeleton.ComputeJointSkelTransforms(code)])
        x, y, z = truth[frame].T
        np.testing.assert_allclose(posed[:, 3, :3], np.stack([x, z, -y], axis=1), atol=1e-5)
        points = UsdGeom.Mesh(mesh).GetPointsAttr().Get()
        assert skinning.ComputeSkinnedPoints(skeleton.ComputeSkinningTransforms(code), points, code)
        x, y, z = meshes[frame].T
        np.testing.assert_allclose(np.array(points), np.stack([x, z, -y], axis=1), atol=1e-4)
    assert stage.GetEndTimeCode() == pytest.approx(7) and stage.GetTimeCodesPerSecond() == 30


def test_colours_faces_and_normals_are_the_body_s(tmp_path):
    from pxr import UsdGeom

    body = load_body()
    stage, _ = opened(tmp_path / "a.usda", body)
    mesh = UsdGeom.Mesh.Get(stage, "/person/body")
    np.testing.assert_array_equal(np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3), body.faces)
    assert len(mesh.GetNormalsAttr().Get()) == len(body.v_template)
    shown = mesh.GetDisplayColorPrimvar()
    assert body.colours is not None and shown.GetInterpolation() == "vertex"
    order = np.array(shown.Get())[:, 0].argsort(kind="stable")
    assert (np.diff(body.colours[order, 0]) >= -0.01).all()  # brighter where the body is
