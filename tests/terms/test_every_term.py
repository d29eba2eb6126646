"""Claims every loss must meet; a new file in `mocap/terms` is found and tested here without being named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic import data_of, random_motion, stepped, toy_body, toy_hand, toy_smplh

from mocap import registry
from mocap.bodies import kinematics
from mocap.bodies.capsules import CAPSULES
from mocap.terms.base import Term

BETAS = np.array([0.5, -0.3, 0.2, 0.1])
FRAMES = 5
NAMES = registry.names("mocap.terms")
ZERO_AT_TRUTH = {"k3d", "refine_2d"}
BODIES = {"body": toy_body, "hand": toy_hand, "body with hands": toy_smplh}
WITHOUT = {"fingers": {"body"}, "prior": {"hand"}}
"""What a loss has nothing to say of; those that are no concern of hands are tested on a body alone."""
WITHOUT |= {key: {"hand", "body with hands"} for key in ("capsules", "depth", "ground", "hinges", "k2d")}


def options_of(name: str, tmp_path) -> dict:
    """What must be given for a loss to be constructed, and what makes it show all it does."""
    if name == "prior":
        rng = np.random.default_rng(0)
        root = rng.normal(size=(3, 69, 69)) * 0.2 + np.eye(69)
        path = tmp_path / "mixture.npz"
        np.savez(path, means=rng.normal(size=(3, 69)), covars=root @ root.swapaxes(1, 2), weights=[0.2, 0.5, 0.3])
        return {"model": path}
    if name == "capsules":
        rng = np.random.default_rng(0)
        mean = np.concatenate([rng.normal(0, 0.15, (1, 20, 6)), rng.uniform(0.04, 0.08, (1, 20, 1))], axis=-1)
        by_shape = rng.normal(0, 0.005, (1, 20, 7, len(BETAS)))
        path = tmp_path / "capsules.npz"
        np.savez(path, names=CAPSULES, hashes=[toy_body().content_hash], mean=mean, by_shape=by_shape)
        return {"file": path}
    return {"smooth": {"sigma_keypoints": 5.0}}.get(name, {})


@pytest.fixture(
    params=[f"{name} of a {kind}" for name in NAMES for kind in BODIES if kind not in WITHOUT.get(name, ())]
)
def case(request):
    name, _, kind = request.param.partition(" of a ")
    return name, BODIES[kind]()


@pytest.fixture
def name(case):
    return case[0]


@pytest.fixture(params=[0.0, 0.4], ids=["synchronised", "between frames"])
def data(request, case):
    return data_of(case[1], BETAS, random_motion(0, FRAMES, case[1].n_joints), shift=request.param)


def rig_of(data):
    return kinematics.fold(data.body, data.keypoints3d.skeleton)


def posed_at(data, R, Th):
    return kinematics.pose(rig_of(data), BETAS, R, Th)


def start(data, seed=1):
    """Poses off the truth."""
    rng = np.random.default_rng(seed)
    Rh, Th, poses = random_motion(0, FRAMES, data.body.n_joints)
    R = kinematics.local_rotations(Rh, poses)
    return stepped(R, Th, 0.05 * rng.normal(size=(FRAMES, rig_of(data).n_parameters)))


def bound_of(name, data, tmp_path):
    term = registry.find("mocap.terms", name, Term, "loss")(**options_of(name, tmp_path))
    term.check()
    return term.bind(data)


def test_shapes_and_costs(name, data, tmp_path):
    bound = bound_of(name, data, tmp_path)
    made = bound.residuals(posed_at(data, *start(data)), np.arange(FRAMES))
    assert made
    for m in made:
        items, rig = m.r.shape[1], rig_of(data)
        assert items == {"keypoints": rig.n_keypoints, "blocks": 1 + data.body.n_joints, "parameters": 1}[m.on]
        by = rig.n_parameters if m.on == "parameters" else 3
        assert all(J.shape == (*m.r.shape, by) for J in m.jacobians.values())
        assert set(m.jacobians) <= set(range(bound.span))
        assert m.cost.shape == m.weight.shape == m.r.shape[:2]
        assert (m.cost >= 0).all() and (m.weight >= 0).all() and (m.weight <= 1).all()
        assert (np.diff(m.frame) >= 0).all()
        for values in (m.r, m.cost, m.weight, *m.jacobians.values()):
            assert np.isfinite(values).all()


def test_jacobian_agrees_with_finite_differences(name, data, tmp_path):
    bound = bound_of(name, data, tmp_path)
    R, Th = start(data)
    rig = rig_of(data)
    made = bound.residuals(posed_at(data, R, Th), np.arange(FRAMES))
    keypoint_J = kinematics.pose(rig, BETAS, R, Th, jacobian=True).jacobian
    rng = np.random.default_rng(2)
    for _ in range(3):
        direction = rng.normal(size=(FRAMES, rig.n_parameters))
        h = 1e-6
        plus = bound.residuals(posed_at(data, *stepped(R, Th, h * direction)), np.arange(FRAMES))
        minus = bound.residuals(posed_at(data, *stepped(R, Th, -h * direction)), np.arange(FRAMES))
        moved = {
            "keypoints": np.einsum("fkdp,fp->fkd", keypoint_J, direction),
            "blocks": direction.reshape(FRAMES, -1, 3),
            "parameters": direction[:, None],
        }
        for m, a, b in zip(made, plus, minus, strict=True):
            numeric = (a.r - b.r) / (2 * h)
            ours = np.zeros_like(m.r)
            for offset, J in m.jacobians.items():
                rows = np.minimum(m.frame + offset, FRAMES - 1)  # beyond the end J is zero
                ours += (J @ moved[m.on][rows][..., None])[..., 0]
            np.testing.assert_allclose(ours, numeric, atol=1e-4 * max(1, np.abs(numeric).max()))
            # the weight is the derivative of the robust cost
            slope = (m.weight[..., None] * m.r * ours).sum(-1)
            numeric_cost = (a.cost - b.cost) / (2 * h)
            np.testing.assert_allclose(slope, numeric_cost, atol=1e-4 * max(1, np.abs(numeric_cost).max()))


def test_residuals_of_a_part_of_the_take_are_those_of_the_whole(name, data, tmp_path):
    bound = bound_of(name, data, tmp_path)
    R, Th = start(data)
    whole = bound.residuals(posed_at(data, R, Th), np.arange(FRAMES))
    part = bound.residuals(posed_at(data, R[1:4], Th[1:4]), np.arange(1, 4))
    for w, p in zip(whole, part, strict=True):
        rows = (w.frame >= 1) & (w.frame + bound.span - 1 < 4)
        kept = p.frame + bound.span - 1 < 3
        np.testing.assert_allclose(p.r[kept], w.r[rows], atol=1e-9)


def test_data_terms_are_zero_at_the_truth(name, data, tmp_path):
    if name not in ZERO_AT_TRUTH:
        pytest.skip("not a data term")
    Rh, Th, poses = random_motion(0, FRAMES, data.body.n_joints)
    R = kinematics.local_rotations(Rh, poses)
    for m in bound_of(name, data, tmp_path).residuals(posed_at(data, R, Th), np.arange(FRAMES)):
        assert np.abs(m.r).max() < 1e-9


def test_weight_multiplies_the_cost_and_zero_switches_off(name, data, tmp_path):
    term = registry.find("mocap.terms", name, Term, "loss")(**options_of(name, tmp_path))
    posed = posed_at(data, *start(data))

    def cost(weight):
        bound = dataclasses.replace(term, weight=weight).bind(data)
        return sum(m.cost.sum() for m in bound.residuals(posed, np.arange(FRAMES)))

    assert cost(3.0) == pytest.approx(3 * cost(1.0))
    assert dataclasses.replace(term, weight=0.0).bind(data) is None
