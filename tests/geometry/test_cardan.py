"""Cardan angles against SciPy, and how they go on where a single frame's would jump."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mocap.geometry.cardan import cardan, from_cardan, unbroken_cardan

ORDERS = ["".join(order) for order in itertools.permutations("XYZ")]


@pytest.mark.parametrize("order", ORDERS)
def test_angles_are_scipy_s_and_give_the_rotation_back(order):
    R = Rotation.from_quat(np.random.default_rng(1).normal(size=(500, 4))).as_matrix()
    np.testing.assert_allclose(cardan(R, order), Rotation.from_matrix(R).as_euler(order), atol=1e-9)
    np.testing.assert_allclose(from_cardan(cardan(R, order), order), R, atol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("beta", [np.pi / 2, -np.pi / 2])
def test_in_gimbal_lock_angles_go_on_and_give_the_rotation_back(order, beta):
    truth = np.stack([np.linspace(0, 3, 50), np.full(50, beta), np.linspace(0, 8, 50)], axis=1)
    truth[:20, 1] *= np.linspace(0.2, 1, 20)
    R = from_cardan(truth, order)
    np.testing.assert_allclose(from_cardan(cardan(R, order), order), R, atol=1e-9)
    found = unbroken_cardan(R[:, None], order)[:, 0]
    np.testing.assert_allclose(from_cardan(found, order), R, atol=1e-9)
    assert np.abs(np.diff(found, axis=0)).max() < 0.2


@pytest.mark.parametrize("order", ORDERS)
def test_a_middle_angle_goes_on_past_right_angles_and_whole_turns(order):
    truth = np.stack([0.3 + np.linspace(0, 1, 200), np.linspace(-1, 10, 200), np.linspace(0, 8, 200)], axis=1)
    R = from_cardan(truth, order)
    assert np.abs(np.diff(cardan(R, order), axis=0)).max() > 3
    np.testing.assert_allclose(unbroken_cardan(R[:, None], order)[:, 0], truth, atol=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_wrong_frames_do_not_change_the_angles_after_them(seed):
    truth = np.stack([np.linspace(-0.5, 0.5, 50), np.linspace(0, 0.3, 50), np.linspace(0, 0.2, 50)], axis=1)
    R, wrong = from_cardan(truth, "ZXY"), slice(20, 25)
    R[wrong] = Rotation.from_quat(np.random.default_rng(seed).normal(size=(5, 4))).as_matrix()
    found = unbroken_cardan(R[:, None], "ZXY")[:, 0]
    np.testing.assert_allclose(np.delete(found, wrong, axis=0), np.delete(truth, wrong, axis=0), atol=1e-9)
