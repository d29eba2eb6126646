"""Claims about the robust kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocap.geometry import robust

KERNELS = [robust.geman_mcclure, robust.cauchy]


@pytest.mark.parametrize("kernel", KERNELS)
@given(s=st.floats(0, 1e4), scale=st.floats(0.1, 50))
def test_weight_is_the_derivative_of_the_kernel(kernel, s: float, scale: float) -> None:
    h = 1e-5 * (scale**2 + s)
    low = max(s - h, 0.0)
    rho = kernel(np.array([low, s + h]), scale)[0]
    weight = kernel(np.array([(low + s + h) / 2]), scale)[1]
    np.testing.assert_allclose((rho[1] - rho[0]) / (s + h - low), weight, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_small_residuals_are_kept_whole_and_large_ones_lose_weight(kernel) -> None:
    s = np.array([0.0, 1e-9, 1.0, 100.0, 1e8])
    rho, weight = kernel(s)
    np.testing.assert_allclose(rho[:2], s[:2], rtol=1e-6)
    assert weight[0] == 1
    assert (np.diff(weight) < 0)[1:].all()
    assert (np.diff(rho) > 0).all()


def test_geman_mcclure_never_costs_more_than_its_scale_squared() -> None:
    assert robust.geman_mcclure(np.array([1e12]), scale=3.0)[0] <= 9.0


def test_mad_sigma_is_the_standard_deviation_of_gaussian_noise_despite_outliers_and_nan() -> None:
    x = np.random.default_rng(0).normal(scale=2.5, size=20000)
    x[::50], x[1::50] = 1e6, np.nan
    assert abs(robust.mad_sigma(x) - 2.5) < 0.12


@pytest.mark.parametrize("width", [1, 3, 7, 31])
def test_a_running_median_is_that_of_each_window_with_the_ends_continued(width: int) -> None:
    x = np.random.default_rng(0).normal(size=9)
    long = np.concatenate([np.full(40, x[0]), x, np.full(40, x[-1])])
    wanted = [np.median(long[40 + k - width // 2 : 41 + k + width // 2]) for k in range(9)]
    np.testing.assert_array_equal(robust.running_median(x, width), wanted)
