from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic import data_of, random_motion, toy_body, toy_smplh

from mocap import skeletons
from mocap.bodies import kinematics
from mocap.fit.scales import rescaled_in_images
from mocap.geometry import rotations
from mocap.solve.problem import State
from mocap.take import Keypoints2D
from mocap.terms.refine_2d import Refine2d
from mocap.terms.smooth import Smooth

BETAS = np.array([0.5, -0.3, 0.2, 0.1])
FRAMES = 60
BODY = toy_body()
RIG = kinematics.fold(BODY, "body25")


@pytest.fixture(params=[0.0, 0.4], ids=["synchronised", "between frames"])
def data(request):
    return data_of(BODY, BETAS, random_motion(0, FRAMES), shift=request.param)


def truth(frames=FRAMES):
    Rh, Th, poses = random_motion(0, frames)
    return State(Th, kinematics.local_rotations(Rh, poses), BETAS)


def posed_at(state, frames=slice(None)):
    return kinematics.pose(RIG, state.betas, state.R[frames], state.Th[frames])


def changed(data, change):
    """The data with `change(name, xy, confidence)` -> (xy, confidence) made to each view."""
    views = {}
    for name, seen in data.keypoints2d.items():
        xy, confidence = change(name, seen.xy.copy(), seen.confidence.copy())
        views[name] = Keypoints2D.of(seen.skeleton, seen.timestamps, xy, confidence)
    return dataclasses.replace(data, keypoints2d=views)


def noisy(data, pixels):
    rng = np.random.default_rng(0)
    return changed(data, lambda name, xy, c: (xy + pixels[name] * rng.normal(size=xy.shape), c))


def cost_of(bound, state):
    return sum(m.cost.sum() for m in bound.residuals(posed_at(state), np.arange(FRAMES)))


def test_each_view_tells_its_own_noise(data):
    pixels = {"00": 1.0, "01": 2.0, "02": 4.0, "03": 8.0}
    term = Refine2d(place=0.0).bind(noisy(data, pixels))
    told = rescaled_in_images(RIG, {"refine_2d": term, "smooth": Smooth().bind(data)}, truth(), data.timestamps)
    sigma = told["refine_2d"].facts()["sigma_px"]
    # at the truth, of which no noise was followed; the correction for what a fit follows makes it a little larger
    for name, size in pixels.items():
        assert 0.95 * size < sigma[name] < 1.3 * size


def test_the_noise_of_hands_is_told_apart_from_the_bodys():
    body = toy_smplh()
    Rh, Th, poses = random_motion(0, FRAMES, body.n_joints)
    data = data_of(body, BETAS, (Rh, Th, poses))
    rig = kinematics.fold(body, data.keypoints3d.skeleton)
    size = np.where(rig.skeleton.of_hands(), 2.0, 6.0)[:, None]
    rng = np.random.default_rng(0)
    seen = changed(data, lambda name, xy, c: (xy + size * rng.normal(size=xy.shape), c))
    state = State(Th, kinematics.local_rotations(Rh, poses), BETAS)
    term = Refine2d(place=0.0).bind(seen)
    told = rescaled_in_images(rig, {"refine_2d": term, "smooth": Smooth().bind(data)}, state, data.timestamps)
    for sigma in told["refine_2d"].facts()["sigma_px"].values():
        assert 0.95 * 6 < sigma["body"] < 1.3 * 6
        assert 0.95 * 2 < sigma["hands"] < 1.4 * 2
    usual = Refine2d().bind(seen).facts()["place"]
    assert usual == {"body": 0.015, "hands": 0.008}


def test_a_given_sigma_stays(data):
    pixels = dict.fromkeys(data.keypoints2d, 8.0)
    term = Refine2d(sigma=0.002).bind(noisy(data, pixels))
    told = rescaled_in_images(RIG, {"refine_2d": term.updated(posed_at(truth()))}, truth(), data.timestamps)
    assert all(v.sigma == pytest.approx(0.002 * 1280) for v in told["refine_2d"].views)


def test_what_all_points_are_off_by_for_long_counts_the_more_the_more_views_there_are(data):
    few = dataclasses.replace(data, keypoints2d={k: data.keypoints2d[k] for k in ("00", "01")})
    parts = {}
    for label, seen, place in (("two", few, 0.015), ("four", data, 0.015), ("none", data, 0.0)):
        term = Refine2d(sigma=0.003, place=place).bind(seen).updated(posed_at(truth()))
        told = rescaled_in_images(RIG, {"refine_2d": term, "smooth": Smooth().bind(data)}, truth(), data.timestamps)
        parts[label] = told["refine_2d"].facts()["discount"]
        np.testing.assert_array_equal(told["smooth"].discount, parts[label])
    assert 0 < parts["four"] < parts["two"] < 1 == parts["none"]
    # 3.84 px at 250 px/m, two of three axes told by each view
    noise = (3.84 / 250) ** 2 / (2 / 3 * 2)
    assert parts["two"] == pytest.approx(noise / (noise + 0.015**2), rel=0.25)


def test_a_point_whose_place_is_unsure_counts_less_the_nearer_the_camera(data):
    unsure = dataclasses.replace(skeletons.BODY25, unsure={"left_hip": 0.04})
    views = {k: dataclasses.replace(v, skeleton=unsure) for k, v in data.keypoints2d.items()}
    term = Refine2d(sigma=0.003).bind(dataclasses.replace(data, keypoints2d=views)).updated(posed_at(truth()))
    hip, knee = unsure.indices(("left_hip", "left_knee"))
    for view in term.views:
        np.testing.assert_allclose(view.gain[:, knee], 1 / 3.84)
        np.testing.assert_allclose(view.gain[:, hip] ** -2, 3.84**2 + (0.04 * view.scale) ** 2)
        depth = np.median(view.camera.to_camera(posed_at(truth()).keypoints)[..., 2], axis=1)
        assert np.corrcoef(view.scale, depth[view.first])[0, 1] < -0.9


def test_half_the_confidence_has_half_the_cost_and_none_has_none(data):
    off = noisy(data, dict.fromkeys(data.keypoints2d, 0.5))
    whole, half, none = (
        cost_of(Refine2d(robust=1e3).bind(changed(off, lambda _, xy, c, by=by: (xy, by * c))), truth())
        for by in (1.0, 0.5, 1e-300)
    )
    assert half == pytest.approx(whole / 2, rel=1e-3)
    assert none < 1e-9


def test_a_point_far_off_costs_no_more_than_the_robust_scale_and_pulls_nowhere(data):
    def elsewhere(name, xy, confidence):
        if name == "02":
            xy[:, 4] += 400
        return xy, confidence

    term = Refine2d(robust=3.0).bind(changed(data, elsewhere))
    for m, view in zip(term.residuals(posed_at(truth()), np.arange(FRAMES)), term.views, strict=True):
        wrong = np.zeros(m.cost.shape, dtype=bool)
        wrong[:, 4] = view.camera.name == "02"
        np.testing.assert_allclose(m.cost[wrong], 0.5 * 2 * 3.0**2, rtol=0.05)
        assert m.weight[wrong].max(initial=0) < 1e-4
        assert m.cost[~wrong].max() < 1e-9


def test_a_point_behind_a_camera_pulls_nowhere(data):
    behind = truth()
    camera = data.rig["00"]
    away = camera.centre - camera.R[2] * 6.0  # six metres behind it
    behind = State(behind.Th - behind.Th.mean(0) + away, behind.R, behind.betas)
    term = Refine2d().bind(data)
    made = term.residuals(posed_at(behind), np.arange(FRAMES))[0]
    assert not made.r.any() and not made.cost.any()
    assert all(not J.any() for J in made.jacobians.values())


def test_a_camera_faster_than_the_take_has_all_its_moments_used(data):
    clock = data.timestamps[::3]
    slow = dataclasses.replace(data, timestamps=clock)
    term = Refine2d().bind(slow)
    made = term.residuals(posed_at(truth(), slice(None, None, 3)), np.arange(len(clock)))
    for m, seen in zip(made, data.keypoints2d.values(), strict=True):
        assert len(m.r) == ((seen.timestamps >= clock[0]) & (seen.timestamps <= clock[-1])).sum()
        assert (np.diff(m.frame) >= 0).all()


def test_frames_posed_twice_have_their_residuals_twice():
    data = data_of(BODY, BETAS, random_motion(0, FRAMES))
    state = truth()
    twice = State(np.tile(state.Th + 0.01, (2, 1)), np.tile(state.R, (2, 1, 1, 1)), BETAS)
    frames = np.tile(np.arange(FRAMES), 2)
    for m in Refine2d().bind(data).residuals(posed_at(twice), frames):
        np.testing.assert_array_equal(m.frame, np.arange(2 * FRAMES))
        np.testing.assert_allclose(m.r[:FRAMES], m.r[FRAMES:])
        assert m.r.any()


def test_from_afar_a_point_far_off_still_pulls(data):
    state = truth()
    turned = State(state.Th + 0.3, state.R @ rotations.exp(np.array([0.0, 0.3, 0.0])), state.betas)
    term = Refine2d().bind(data)
    near, afar = (
        np.median(np.concatenate([m.weight.ravel() for m in b.residuals(posed_at(turned), np.arange(FRAMES))]))
        for b in (term, term.relaxed())
    )
    assert near < 0.02 and afar > 10 * near
