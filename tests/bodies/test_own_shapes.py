"""Frames that each have a shape of their own: what frames are one by one, they are together."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import random_motion, stepped, toy_body

from mocap.bodies import kinematics

FRAMES = 4


@pytest.fixture(scope="module", params=["toy", "embedded"])
def rig(request):
    if request.param == "toy":
        return kinematics.fold(toy_body(), "body25")
    from mocap.bodies.load import load_body

    return kinematics.fold(load_body("embedded"), "lsp14")


@pytest.fixture(scope="module")
def motion(rig):
    """Shapes, local rotations and translations."""
    Rh, Th, poses = random_motion(3, FRAMES, rig.body.n_joints, spread=0.8)
    betas = np.random.default_rng(0).normal(size=(FRAMES, 4))
    return betas, kinematics.local_rotations(Rh, poses), Th


def test_frames_of_several_shapes_are_each_frame_with_its_shape(rig, motion):
    betas, R, Th = motion
    flags = {"jacobian": True, "shape_jacobian": True}
    whole = kinematics.pose(rig, betas, R, Th, **flags)
    assert whole.n_betas == 4
    for k in range(FRAMES):
        alone = kinematics.pose(rig, betas[k], R[k : k + 1], Th[k : k + 1], **flags)
        for name in ("G", "joints", "keypoints", "pairs", "jacobian", "shape_jacobian"):
            np.testing.assert_allclose(getattr(whole, name)[k], getattr(alone, name)[0], atol=1e-12)


def test_frames_of_several_shapes_differ_from_those_of_one(rig, motion):
    betas, R, Th = motion
    one = kinematics.pose(rig, betas[0], R, Th)
    own = kinematics.pose(rig, betas, R, Th)
    np.testing.assert_allclose(own.keypoints[0], one.keypoints[0], atol=1e-12)
    away = np.linalg.norm(own.keypoints[1:] - one.keypoints[1:], axis=-1)
    assert (away.max(1) > 1e-3).all()


def test_jacobians_agree_with_finite_differences(rig, motion):
    betas, R, Th = motion
    posed = kinematics.pose(rig, betas, R, Th, jacobian=True, shape_jacobian=True)
    h, rng = 1e-6, np.random.default_rng(1)
    for _ in range(4):
        delta = rng.normal(size=(FRAMES, rig.n_parameters))
        plus, minus = (kinematics.pose(rig, betas, *stepped(R, Th, s * h * delta)).keypoints for s in (1, -1))
        np.testing.assert_allclose(
            np.einsum("fkdp,fp->fkd", posed.jacobian, delta), (plus - minus) / (2 * h), atol=1e-6
        )
        shape = rng.normal(size=betas.shape)  # each frame's own direction
        plus, minus = (kinematics.pose(rig, betas + s * h * shape, R, Th).keypoints for s in (1, -1))
        np.testing.assert_allclose(
            np.einsum("fkdb,fb->fkd", posed.shape_jacobian, shape), (plus - minus) / (2 * h), atol=1e-7
        )


def test_a_gradient_pulled_back_is_the_transposed_jacobian_by_each_shape_or_by_the_one(rig, motion):
    betas, R, Th = motion
    exact = kinematics.pose(rig, betas, R, Th, jacobian=True, shape_jacobian=True)
    gradient = np.random.default_rng(2).normal(size=exact.keypoints.shape)
    by_parameters, by_shapes = kinematics.pose(rig, betas, R, Th).pull_back(gradient)
    np.testing.assert_allclose(by_parameters, np.einsum("fkd,fkdp->fp", gradient, exact.jacobian), atol=1e-9)
    np.testing.assert_allclose(by_shapes, np.einsum("fkd,fkdb->fb", gradient, exact.shape_jacobian), atol=1e-9)
    # the same shape for all, told once or of every frame
    one = kinematics.pose(rig, betas[0], R, Th).pull_back(gradient)[1]
    each = kinematics.pose(rig, np.tile(betas[0], (FRAMES, 1)), R, Th).pull_back(gradient)[1]
    assert one.shape == (4,) and each.shape == (FRAMES, 4)
    np.testing.assert_allclose(one, each.sum(0), atol=1e-9)
    assert np.abs(each - one).max() > 1e-3


def test_parts_joined_keep_each_frames_shape(rig, motion):
    betas, R, Th = motion
    parts = [kinematics.pose(rig, betas[s], R[s], Th[s]) for s in (slice(0, 1), slice(1, FRAMES))]
    whole = kinematics.joined(parts)
    np.testing.assert_array_equal(whole.betas, betas)
    np.testing.assert_allclose(whole.keypoints, kinematics.pose(rig, betas, R, Th).keypoints, atol=1e-12)
