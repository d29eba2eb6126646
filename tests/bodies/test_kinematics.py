from __future__ import annotations

import numpy as np
import pytest
from synthetic import random_motion, stepped, toy_body

from mocap import skeletons
from mocap.bodies import kinematics
from mocap.errors import UnknownName

BETAS = np.array([0.7, -1.2, 0.4, 0.9])


@pytest.fixture(scope="module", params=["toy", "hand", "embedded"])
def body(request):
    if request.param == "embedded":
        from mocap.bodies.load import load_body

        return load_body("embedded")
    parents = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])
    return toy_body() if request.param == "toy" else toy_body(1, parents=parents)


def regressed_from_mesh(body, betas, Rh, Th, poses):
    vertices = kinematics.vertices_of(body, betas, Rh, Th, poses)
    return np.stack([body.regressors["body25"] @ v for v in vertices])


def test_keypoints_are_those_regressed_from_the_posed_mesh(body):
    Rh, Th, poses = random_motion(0, 4, body.n_joints)
    keypoints = kinematics.keypoints_of(body, "body25", BETAS, Rh, Th, poses)
    # the mesh is float32
    np.testing.assert_allclose(keypoints, regressed_from_mesh(body, BETAS, Rh, Th, poses), atol=2e-5)


def test_kinematics_agree_with_smplx(body):
    torch = pytest.importorskip("torch", reason="smplx (an extra) and torch are the independent reference")
    lbs = pytest.importorskip("smplx.lbs", reason="smplx (an extra) is the independent reference")
    Rh, Th, poses = random_motion(1, 3, body.n_joints)
    n_betas = len(BETAS)
    tensor = lambda x: torch.tensor(np.asarray(x), dtype=torch.float64)  # noqa: E731
    vertices, joints = lbs.lbs(
        tensor(np.tile(BETAS, (3, 1))),
        tensor(np.concatenate([Rh[:, None], poses], 1).reshape(3, -1)),
        tensor(body.v_template),
        tensor(body.shapedirs[..., :n_betas]),
        tensor(body.posedirs.reshape(-1, body.posedirs.shape[-1]).T),
        tensor(body.J_regressor.toarray()),
        torch.tensor(np.asarray(body.parents).astype(np.int64)),
        tensor(body.weights),
    )
    # smplx turns about the pelvis, Rh/Th about the model's origin
    J0 = body.J_regressor[[0]] @ body.rest(BETAS).astype(float)
    R0 = kinematics.local_rotations(Rh, poses)[:, 0]
    shift = (R0 @ J0[0] - J0[0] + Th)[:, None]
    np.testing.assert_allclose(kinematics.joints_of(body, BETAS, Rh, Th, poses), joints.numpy() + shift, atol=1e-5)
    ours = kinematics.vertices_of(body, BETAS, Rh, Th, poses)
    np.testing.assert_allclose(ours, vertices.numpy() + shift, atol=1e-5)


@pytest.mark.parametrize("skeleton", ["body25", "smpl24"])
def test_jacobians_agree_with_finite_differences(body, skeleton):
    if skeleton == "smpl24" and body.n_joints != 24:
        pytest.skip("a hand has no smpl24")
    rig = kinematics.fold(body, skeleton)
    Rh, Th, poses = random_motion(2, 3, body.n_joints, spread=1.0)
    R = kinematics.local_rotations(Rh, poses)
    posed = kinematics.pose(rig, BETAS, R, Th, jacobian=True, shape_jacobian=True)
    step = 1e-6
    numeric = np.empty_like(posed.jacobian)
    for i in range(rig.n_parameters):
        delta = np.zeros((3, rig.n_parameters))
        delta[:, i] = step
        plus = kinematics.pose(rig, BETAS, *stepped(R, Th, delta)).keypoints
        minus = kinematics.pose(rig, BETAS, *stepped(R, Th, -delta)).keypoints
        numeric[..., i] = (plus - minus) / (2 * step)
    np.testing.assert_allclose(posed.jacobian, numeric, atol=1e-7)
    numeric = np.empty_like(posed.shape_jacobian)
    for i in range(len(BETAS)):
        delta = step * np.eye(len(BETAS))[i]
        plus = kinematics.pose(rig, BETAS + delta, R, Th).keypoints
        numeric[..., i] = (plus - kinematics.pose(rig, BETAS - delta, R, Th).keypoints) / (2 * step)
    np.testing.assert_allclose(posed.shape_jacobian, numeric, atol=1e-7)


def test_pulling_a_gradient_back_is_the_transposed_jacobian(body):
    rig = kinematics.fold(body, "body25")
    Rh, Th, poses = random_motion(2, 3, body.n_joints, spread=1.0)
    R = kinematics.local_rotations(Rh, poses)
    exact = kinematics.pose(rig, BETAS, R, Th, jacobian=True, shape_jacobian=True)
    gradient = np.random.default_rng(0).normal(size=exact.keypoints.shape)
    by_parameters, by_shape = kinematics.pose(rig, BETAS, R, Th).pull_back(gradient)
    np.testing.assert_allclose(by_parameters, np.einsum("fkd,fkdp->fp", gradient, exact.jacobian), atol=1e-9)
    np.testing.assert_allclose(by_shape, np.einsum("fkd,fkdb->b", gradient, exact.shape_jacobian), atol=1e-9)


def test_approximate_jacobians_are_near_the_exact_ones():
    body = toy_body()
    rig = kinematics.fold(body, "body25")
    Rh, Th, poses = random_motion(2, 3, body.n_joints, spread=1.0)
    R = kinematics.local_rotations(Rh, poses)
    exact, near = (
        kinematics.pose(rig, BETAS, R, Th, jacobian=True, shape_jacobian=True, approximate=a) for a in (False, True)
    )
    np.testing.assert_allclose(near.jacobian, exact.jacobian, atol=2e-3)
    np.testing.assert_allclose(near.shape_jacobian, exact.shape_jacobian, atol=1e-5)


def test_joints_as_keypoints_are_the_joints():
    body = toy_body()
    Rh, Th, poses = random_motion(3, 5)
    np.testing.assert_allclose(
        kinematics.keypoints_of(body, "smpl24", BETAS, Rh, Th, poses),
        kinematics.joints_of(body, BETAS, Rh, Th, poses),
        atol=1e-12,
    )


def test_a_skeleton_without_regressor_comes_by_name_from_one_that_has_its_points():
    body = toy_body()
    Rh, Th, poses = random_motion(4, 2)
    coco = kinematics.keypoints_of(body, "coco17", BETAS, Rh, Th, poses)
    full = kinematics.keypoints_of(body, "body25", BETAS, Rh, Th, poses)
    places = skeletons.BODY25.indices(skeletons.COCO17.joints)
    np.testing.assert_allclose(coco, full[:, places], atol=1e-12)
    with pytest.raises(UnknownName, match="body25"):
        kinematics.fold(body, "mediapipe33")


def test_the_mesh_in_chunks_is_the_mesh():
    body = toy_body()
    Rh, Th, poses = random_motion(5, 7)
    skinner = kinematics.Skinner(body, BETAS)
    np.testing.assert_array_equal(
        np.stack(list(skinner.chunks(Rh, Th, poses, size=3))), np.concatenate([skinner.vertices(Rh, Th, poses)])
    )
