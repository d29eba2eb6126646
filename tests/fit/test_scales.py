from __future__ import annotations

import numpy as np
import pytest
from moving import LOSSES, again, fitted, measured, moving, seen

from mocap.fit.motion import MotionFit
from mocap.skeletons import BODY25
from mocap.terms.k3d import K3d
from mocap.terms.rest import Rest
from mocap.terms.smooth import Smooth


def told(fit: MotionFit, label: str = "k3d") -> dict[str, float]:
    sigma = fit.scales[label]["sigma"]
    assert isinstance(sigma, dict)
    return sigma


@pytest.mark.parametrize("noise", [0.005, 0.01, 0.02])
@pytest.mark.parametrize("kind", LOSSES)
def test_the_noise_of_the_points_is_told_within_a_tenth(kind, noise):
    truth = moving(kind, 200, seed=1)
    fit = fitted(truth, measured(truth, 1, noise=noise), LOSSES[kind])
    sigma = np.array(list(told(fit).values()))
    assert np.sqrt((sigma**2).mean()) == pytest.approx(noise, rel=0.1)
    assert np.abs(sigma / noise - 1).max() < 0.35  # each by itself, of 600 numbers


@pytest.mark.parametrize(("kind", "name", "seed"), [("anatomical", "right_wrist", 0), ("free", "left_knee", 1)])
def test_a_keypoint_three_times_as_noisy_is_told_so(kind, name, seed):
    truth = moving(kind, 300, seed=seed)
    noise = np.full(25, 0.01)
    noise[BODY25.index(name)] = 0.03
    sigma = told(fitted(truth, measured(truth, seed, noise=noise), LOSSES[kind]))
    assert sigma.pop(name) == pytest.approx(0.03, rel=0.1)
    assert np.mean(list(sigma.values())) == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("kind", LOSSES)
def test_gross_errors_are_no_noise(kind):
    truth = moving(kind, 200, seed=2)
    points = measured(truth, 2)
    rng = np.random.default_rng(3)
    wild = rng.random(points.xyz.shape[:2]) < 0.02
    xyz = points.xyz + np.where(wild[..., None], 0.5 * rng.normal(size=points.xyz.shape), 0.0)
    fit = fitted(truth, seen(xyz, points.confidence), LOSSES[kind])
    assert np.median(list(told(fit).values())) == pytest.approx(0.01, rel=0.2)
    assert np.linalg.norm(again(truth, fit).points - truth.points, axis=-1).mean() < 0.01


def test_given_sigmas_are_used_as_given():
    truth = moving("free", 60, seed=4)
    losses = {"k3d": K3d(sigma=0.03), "smooth": Smooth(sigma=12.0, sigma_root=3.0), "rest": Rest()}
    fit = fitted(truth, measured(truth, 4), losses)
    np.testing.assert_allclose(list(told(fit).values()), 0.03)
    accelerations = told(fit, "smooth")
    assert accelerations.pop("Th") == pytest.approx(3.0)
    np.testing.assert_allclose(list(accelerations.values()), 12.0)


def test_what_is_not_given_is_told_beside_what_is():
    truth = moving("free", 200, seed=5)
    fit = fitted(truth, measured(truth, 5), {"k3d": K3d(sigma=0.01), "smooth": Smooth(sigma_root=3.0), "rest": Rest()})
    np.testing.assert_allclose(list(told(fit).values()), 0.01)
    accelerations = told(fit, "smooth")
    assert accelerations.pop("Th") == pytest.approx(3.0)
    assert np.median(list(accelerations.values())) < 10.0  # a take begins with 20


@pytest.mark.parametrize("frames", [1, 2, 3, 11])
def test_a_take_too_short_to_tell_is_fitted_all_the_same(frames):
    truth = moving("anatomical", frames, seed=6)
    fit = fitted(truth, measured(truth, 6, missing=0.0), LOSSES["anatomical"])
    np.testing.assert_allclose(list(told(fit).values()), 0.01)
    assert np.linalg.norm(again(truth, fit).points - truth.points, axis=-1).mean() < 0.02


def test_a_keypoint_never_seen_has_no_noise_to_tell():
    truth = moving("free", 60, seed=7)
    points = measured(truth, 7)
    hidden = points.confidence.copy()
    hidden[:, BODY25.index("left_ear")] = 0.0
    sigma = told(fitted(truth, seen(points.xyz, hidden), LOSSES["free"]))
    assert "left_ear" not in sigma and len(sigma) == 24
    assert np.isfinite(list(sigma.values())).all()
