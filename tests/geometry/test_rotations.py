"""Claims about rotation vectors and matrices, against SciPy and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from mocap.geometry import rotations

directions = arrays(float, 3, elements=st.floats(-1, 1)).filter(lambda v: np.linalg.norm(v) > 1e-2)
angles = st.one_of(
    st.floats(0, 2 * np.pi - 0.1),
    st.sampled_from([0.0, 1e-12, 1e-9, 1e-7, 1e-5, 1e-4, 1.01e-4, 1e-3, np.pi - 1e-9, np.pi - 1e-6, np.pi]),
)


@st.composite
def vectors(draw: st.DrawFn, most: float = 2 * np.pi) -> np.ndarray:
    v = draw(directions)
    return v / np.linalg.norm(v) * min(draw(angles), most)


def many(n: int = 500, *, most: float = np.pi, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    v = rng.normal(size=(n, 3))
    return v / np.linalg.norm(v, axis=-1, keepdims=True) * rng.uniform(0, most, (n, 1))


@given(vectors())
def test_exp_is_scipys_rotation(v: np.ndarray) -> None:
    np.testing.assert_allclose(rotations.exp(v), Rotation.from_rotvec(v).as_matrix(), atol=1e-14)


@given(vectors(most=np.pi))
def test_log_undoes_exp_at_every_angle_up_to_pi(v: np.ndarray) -> None:
    back = rotations.log(rotations.exp(v))
    # at pi the axis and its opposite are one rotation
    assert min(np.abs(back - v).max(), np.abs(back + v).max() if np.linalg.norm(v) > np.pi - 1e-7 else np.inf) < 1e-8
    assert np.linalg.norm(back) <= np.pi + 1e-12


@given(vectors())
def test_exp_undoes_log(v: np.ndarray) -> None:
    R = Rotation.from_rotvec(v).as_matrix()
    np.testing.assert_allclose(rotations.exp(rotations.log(R)), R, atol=1e-13)


def test_log_agrees_with_scipy_over_a_batch_of_any_shape() -> None:
    v = many().reshape(5, 100, 3)
    np.testing.assert_allclose(rotations.log(rotations.exp(v)), v, atol=1e-9)
    np.testing.assert_allclose(
        rotations.log(rotations.exp(v)).reshape(-1, 3), Rotation.from_rotvec(v.reshape(-1, 3)).as_rotvec(), atol=1e-9
    )


@pytest.mark.parametrize("axis", np.vstack([np.eye(3), -np.eye(3), [[0.6, 0.8, 0.0], [0.0, -0.6, 0.8]]]).tolist())
def test_half_turns_have_their_axis(axis: list[float]) -> None:
    v = np.pi * np.asarray(axis)
    back = rotations.log(Rotation.from_rotvec(v).as_matrix())
    assert np.abs(np.abs(back @ axis) - np.pi) < 1e-12


def test_log_keeps_tiny_angles_relative_precision() -> None:
    v = np.array([[1e-9, -2e-9, 3e-9], [1e-14, 0.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(rotations.log(rotations.exp(v)), v, rtol=1e-6, atol=0)


@given(vectors())
def test_right_jacobian_by_finite_differences(v: np.ndarray) -> None:
    h = 1e-6
    steps = h * np.concatenate([np.eye(3), -np.eye(3)])
    moved = rotations.log(rotations.exp(v).T @ rotations.exp(v + steps))
    numeric = (moved[:3] - moved[3:]).T / (2 * h)
    np.testing.assert_allclose(rotations.right_jacobian(v), numeric, atol=1e-8)


@given(vectors(most=np.pi - 1e-3))
def test_inverse_right_jacobian_by_finite_differences(v: np.ndarray) -> None:
    h = 1e-6
    steps = h * np.concatenate([np.eye(3), -np.eye(3)])
    moved = rotations.log(rotations.exp(v) @ rotations.exp(steps))
    numeric = (moved[:3] - moved[3:]).T / (2 * h)
    np.testing.assert_allclose(rotations.right_jacobian_inverse(v), numeric, atol=1e-7)


@given(vectors())
def test_the_two_jacobians_are_inverses(v: np.ndarray) -> None:
    product = rotations.right_jacobian(v) @ rotations.right_jacobian_inverse(v)
    # the inverse grows without bound at a full turn, where the Jacobian is singular
    np.testing.assert_allclose(product, np.eye(3), atol=1e-9)


@given(directions, directions)
def test_between_turns_one_direction_into_the_other_by_the_least_angle(a: np.ndarray, b: np.ndarray) -> None:
    R = rotations.between(a, b)
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(R @ a, b, atol=2e-9)
    angle = np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)
    assert abs(np.linalg.norm(rotations.log(R)) - angle) < 1e-7


@pytest.mark.parametrize("a", np.vstack([np.eye(3), -np.eye(3), [[1.0, 1.0, 1.0]]]).tolist())
def test_between_opposed_directions_is_a_half_turn_about_an_axis_across(a: list[float]) -> None:
    R = rotations.between(np.array(a), -np.array(a))
    np.testing.assert_allclose(R @ a, -np.array(a), atol=1e-12)


@given(directions, directions)
def test_skew_is_the_cross_product(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(rotations.skew(a) @ b, np.cross(a, b), atol=1e-15)
