"""Claims about meeting points of rays and about which rays are believed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from walker import ring, seen, walker

from mocap.geometry.cameras import Camera
from mocap.triangulate import rays as r
from mocap.triangulate.refine import refine


def observed(views: int, frames: int = 40, *, noise: float = 0.0, seed: int = 0, missing: float = 0.0):
    """Cameras, pixels, confidence and sigma as (views, points), and the truth (points, 3)."""
    rig, t = ring(views, seed=seed), np.arange(frames) / 10
    k = seen(rig, t, noise=noise, seed=seed + 1, missing=missing)
    xy = np.stack([k[n].xy.reshape(-1, 2) for n in rig.names])
    sure = np.stack([k[n].confidence.reshape(-1) for n in rig.names])
    sigma = np.where(sure > 0, max(noise, 1e-3), np.inf)
    return list(rig), xy, sure, sigma, walker(t).reshape(-1, 3)


LIMIT = 25.6


@settings(max_examples=15, deadline=None)
@given(views=st.integers(2, 6), seed=st.integers(0, 100))
def test_rays_without_noise_meet_in_the_truth(views: int, seed: int):
    cameras, xy, sure, sigma, truth = observed(views, 5, seed=seed)
    found = r.select(r.rays_through(cameras, xy, sure, sigma), np.full(views, LIMIT))
    if views == 2:  # two cameras may face one another, and then some rays run nearly along one line
        there = np.isfinite(found.xyz).all(0)
        assert there.mean() > 0.9
        np.testing.assert_allclose(found.xyz[:, there], truth.T[:, there], atol=1e-4)
    else:
        np.testing.assert_allclose(found.xyz, truth.T, atol=1e-6)
        assert found.used.all()


def test_symmetric_inverses_are_numpys():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(200, 3, 5))
    M = A @ A.transpose(0, 2, 1)
    packed = M[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]].T
    expected = np.linalg.inv(M)[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]].T
    np.testing.assert_allclose(r.inverse3(packed), expected, rtol=1e-6)
    v = rng.normal(size=(3, 200))
    np.testing.assert_allclose(r.times3(packed, v), np.einsum("nij,jn->in", M, v), rtol=1e-12)


def test_parallel_rays_have_no_meeting_point():
    d = np.zeros((3, 2, 1))
    d[0] = 1.0
    parallel = r.Rays(
        np.array([[0.0, 0, 0], [0, 1, 0]]), d, np.full((2, 1), 1e-3), np.ones((2, 1)), np.full((2, 1), 1000.0)
    )
    assert np.isnan(r.nearest_point(r.moments(parallel), np.ones((2, 1)))).all()
    found = r.select(parallel, np.full(2, LIMIT))
    assert np.isnan(found.xyz).all()
    assert not found.used.any()


@pytest.mark.parametrize("views", [4, 8])
def test_gross_outliers_in_any_view_are_outvoted(views: int):
    cameras, xy, sure, sigma, truth = observed(views, noise=2.0)
    rng = np.random.default_rng(3)
    wrong = rng.integers(0, views, len(truth))  # one view of every single point
    xy[wrong, np.arange(len(truth))] += rng.choice([-1, 1], (len(truth), 2)) * rng.uniform(80, 300, (len(truth), 2))
    found = r.select(r.rays_through(cameras, xy, sure, sigma), np.full(views, LIMIT))
    error = np.linalg.norm(found.xyz.T - truth, axis=1)
    assert np.isfinite(error).mean() > 0.999
    assert np.median(error) < 0.025
    assert (error < 0.15).mean() > (0.97 if views == 4 else 0.999)
    assert found.used[wrong, np.arange(len(truth))].mean() < 0.03
    right = np.ones(found.used.shape, dtype=bool)
    right[wrong, np.arange(len(truth))] = False
    assert found.used[right].mean() > 0.97


def test_with_more_than_ten_views_a_point_few_of_them_see_is_still_found():
    cameras, xy, sure, sigma, truth = observed(14, 10, noise=2.0)
    rng = np.random.default_rng(0)
    for point in range(len(truth)):
        on = rng.permutation(14)[:4]
        off = np.setdiff1d(np.arange(14), on)
        xy[off, point], sure[off, point], sigma[off, point] = np.nan, 0, np.inf
        xy[on[0], point] += 200
    found = r.select(r.rays_through(cameras, xy, sure, sigma), np.full(14, LIMIT))
    error = np.linalg.norm(found.xyz.T - truth, axis=1)
    assert np.isfinite(error).mean() > 0.99
    assert (error < 0.15).mean() > 0.95


def test_two_rays_that_do_not_meet_make_no_point_and_two_that_do_make_one():
    cameras, xy, sure, sigma, truth = observed(3, 10, noise=1.0)
    sure[2], sigma[2], xy[2] = 0, np.inf, np.nan
    xy[0, ::2, 1] += 150  # up and down, across the epipolar lines of cameras that stand side by side
    found = r.select(r.rays_through(cameras, xy, sure, sigma), np.full(3, LIMIT))
    assert np.isnan(found.xyz[:, ::2]).all()
    error = np.linalg.norm(found.xyz.T - truth, axis=1)[1::2]
    assert np.median(error) < 0.03


def test_min_views_is_obeyed():
    cameras, xy, sure, sigma, _ = observed(3, 10, noise=1.0, missing=0.2)
    rays = r.rays_through(cameras, xy, sure, sigma)
    two, three = (r.select(rays, np.full(3, LIMIT), min_views=n) for n in (2, 3))
    assert np.isfinite(three.xyz).all(0).sum() < np.isfinite(two.xyz).all(0).sum()
    assert (three.used.sum(0)[np.isfinite(three.xyz).all(0)] == 3).all()


def test_a_distrusted_camera_does_not_break_ties():
    """A constant offset along the horizon agrees with each of the other two views by chance; trust decides."""
    cameras, xy, sure, sigma, truth = observed(3, noise=2.0)
    xy[2, :, 0] += 150
    rays = r.rays_through(cameras, xy, sure, sigma)
    limit = np.full(3, LIMIT)

    def wrong(trust: np.ndarray) -> float:
        return float((np.linalg.norm(r.select(rays, limit, trust=trust).xyz.T - truth, axis=1) > 0.2).mean())

    assert wrong(np.array([1.0, 1.0, 0.05])) < 0.5 * wrong(np.ones(3))


def test_a_point_is_found_where_it_is_expected_even_when_most_views_agree_on_another():
    cameras, xy, sure, sigma, truth = observed(5, noise=1.0)
    elsewhere = truth + [0.8, 0.0, 0.0]
    for v in range(3):
        xy[v] = cameras[v].project(elsewhere)[0]
    rays = r.rays_through(cameras, xy, sure, sigma)
    fooled = r.select(rays, np.full(5, LIMIT))
    assert np.median(np.linalg.norm(fooled.xyz.T - elsewhere, axis=1)) < 0.05
    found = r.select_near(rays, np.full(5, LIMIT), truth.T + 0.03)
    error = np.linalg.norm(found.xyz.T - truth, axis=1)
    assert np.nanmedian(error) < 0.05
    assert not found.used[:3].any(1).all()


def test_refinement_reaches_the_least_squares_point_of_scipy():
    cameras, xy, sure, sigma, truth = observed(4, 1, noise=3.0)
    start = r.select(r.rays_through(cameras, xy, sure, sigma), np.full(4, LIMIT))
    done = refine(cameras, xy, sigma, start.used, start.xyz.T, iterations=20)
    for p in range(len(truth)):
        on = [v for v in range(4) if start.used[v, p]]

        def residuals(x: np.ndarray, p: int = p, on: list[int] = on) -> np.ndarray:
            # SciPy's cauchy kernel is per residual, ours per view: hand it each view's length
            return np.array([np.linalg.norm(cameras[v].project(x)[0] - xy[v, p]) / sigma[v, p] for v in on])

        best = least_squares(residuals, truth[p], loss="cauchy", f_scale=2.0, xtol=1e-12, ftol=1e-12, gtol=1e-12)
        assert np.linalg.norm(best.x - done.xyz[p]) < 5e-4  # steps below 0.1 mm are not taken


def test_refinement_never_raises_the_cost_and_lets_missing_points_be():
    cameras, xy, sure, sigma, _ = observed(4, 10, noise=3.0, missing=0.3)
    start = r.select(r.rays_through(cameras, xy, sure, sigma), np.full(4, LIMIT))
    far = start.xyz.T + 0.3
    done = refine(cameras, xy, sigma, start.used, far)
    before = refine(cameras, xy, sigma, start.used, far, iterations=0)
    there = np.isfinite(far).all(1)
    assert np.isnan(done.xyz[~there]).all()
    assert (np.log1p(done.chi2[:, there] / 4).sum(0) <= np.log1p(before.chi2[:, there] / 4).sum(0) + 1e-9).all()


@pytest.mark.parametrize("views", [3, 4, 8])
def test_covariance_is_honest(views: int):
    """The normalised error squared averages 3, and along the worst axis too the error is what is said."""
    cameras, xy, sure, sigma, truth = observed(views, 60, noise=4.0)
    start = r.select(r.rays_through(cameras, xy, sure, sigma), np.full(views, 60.0))
    done = refine(cameras, xy, sigma, start.used, start.xyz.T)
    e = done.xyz - truth
    nees = np.einsum("ni,nij,nj->n", e, np.linalg.inv(done.covariance), e)
    assert 2.6 < nees.mean() < 3.5
    values, vectors = np.linalg.eigh(done.covariance)
    worst = np.einsum("ni,ni->n", e, vectors[:, :, 2]) / np.sqrt(values[:, 2])
    assert 0.9 < worst.std() < 1.15


def test_errors_are_within_a_few_percent_of_the_cramer_rao_bound():
    cameras, xy, sure, sigma, truth = observed(6, 100, noise=3.0)
    start = r.select(r.rays_through(cameras, xy, sure, sigma), np.full(6, 60.0))
    done = refine(cameras, xy, sigma, start.used, start.xyz.T)
    information = np.zeros((len(truth), 3, 3))
    for c in cameras:
        J = c.project_with_jacobian(truth)[1]
        information += J.transpose(0, 2, 1) @ J / 9.0
    bound = np.sqrt(np.trace(np.linalg.inv(information), axis1=1, axis2=2).mean())
    rms = np.sqrt(((done.xyz - truth) ** 2).sum(1).mean())
    assert 0.95 * bound < rms < 1.06 * bound


def test_little_parallax_shows_as_a_large_covariance_along_the_rays():
    rig, truth = ring(8), walker(np.arange(10) / 10).reshape(-1, 3)
    near = rig.cameras[0]
    T = near.T_camera_world.copy()
    T[0, 3] += 0.05  # 5 cm to the side
    beside = dataclasses.replace(near, name="beside", T_camera_world=T)

    def elongation(*pair: Camera) -> float:
        pixels = np.stack([c.project(truth)[0] for c in pair])
        ones = np.ones(pixels.shape[:2])
        found = r.select(r.rays_through(pair, pixels, ones, 2 * ones), np.full(2, LIMIT))
        done = refine(pair, pixels, 2 * ones, found.used, found.xyz.T)
        spread = np.sqrt(np.linalg.eigvalsh(done.covariance))
        return float(np.median(spread[:, 2] / spread[:, 0]))

    assert elongation(near, rig.cameras[2]) < 3
    assert elongation(near, beside) > 20
