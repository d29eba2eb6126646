from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from synthetic import toy_body

from mocap.bodies import kinematics
from mocap.bodies.load import load_body
from mocap.bodies.model import SMPL_JOINTS
from mocap.bodies.ranges import joint_ranges
from mocap.errors import BadFile, MissingFile, ModelError, UnsafeFile
from mocap.terms.base import Data
from mocap.terms.prior import INCLUDED, Prior, read_mixture

MIXTURE = {
    "means": np.stack([np.full(69, 0.3), np.full(69, -0.3)]),
    "covars": np.stack([0.04 * np.eye(69), 0.01 * np.eye(69)]),
    "weights": np.array([0.25, 0.75]),
}


def stored(tmp_path, mixture, suffix=".npz"):
    path = tmp_path / f"gmm_08{suffix}"
    if suffix == ".npz":
        np.savez(path, **mixture)
    else:
        path.write_bytes(pickle.dumps(mixture, protocol=2))
    return path


def energy_of(path, theta):
    """The loss's cost at one pose with every joint turned about x by `theta`."""
    bound = Prior(model=path, weight=1.0).bind(Data(toy_body(), np.zeros(1)))
    assert bound is not None
    poses = np.zeros((1, 23, 3))
    poses[..., 0] = theta
    R = kinematics.local_rotations(np.zeros((1, 3)), poses)
    rig = kinematics.fold(toy_body(), "body25")
    (made,) = bound.residuals(kinematics.pose(rig, np.zeros(4), R, np.zeros((1, 3))), np.arange(1))
    return float(made.cost.sum())


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_both_files_give_the_same_mixture(tmp_path, suffix):
    mixture = read_mixture(stored(tmp_path, MIXTURE, suffix))
    np.testing.assert_array_equal(mixture.means, MIXTURE["means"])
    np.testing.assert_array_equal(mixture.covars, MIXTURE["covars"])
    np.testing.assert_allclose(mixture.weights, [0.25, 0.75])
    assert mixture.joint_names is None


def test_cost_is_the_least_negative_log_over_the_components(tmp_path):
    path = stored(tmp_path, MIXTURE)

    def expected(theta):
        x = np.zeros(69)
        x[::3] = theta
        both = [
            0.5 * (x - m) @ np.linalg.solve(c, x - m) + 0.5 * np.linalg.slogdet(c)[1] - np.log(w)
            for m, c, w in zip(*MIXTURE.values(), strict=True)
        ]
        return min(both)

    differences = [energy_of(path, t) - expected(t) for t in (-0.6, -0.1, 0.0, 0.2, 0.7)]
    np.testing.assert_allclose(differences, differences[0], atol=1e-9)  # but for what all poses share


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"weights": np.array([1.0])}, "shapes"),
        ({"covars": -MIXTURE["covars"]}, "positive definite"),
        ({"means": np.full((2, 69), np.nan)}, "finite"),
        ({"joint_names": np.array(["left_hip"] * 23)}, "different names"),
    ],
)
def test_a_bad_mixture_is_told(tmp_path, change, told):
    with pytest.raises(BadFile, match=told):
        read_mixture(stored(tmp_path, {**MIXTURE, **change}))


def test_a_missing_key_and_a_missing_file_are_told(tmp_path):
    with pytest.raises(BadFile, match="weights is not there"):
        read_mixture(stored(tmp_path, {k: v for k, v in MIXTURE.items() if k != "weights"}))
    with pytest.raises(MissingFile, match="Pose prior"):
        read_mixture(tmp_path / "none.pkl")


class _Runs:
    def __reduce__(self):
        return (eval, ("1 + 1",))


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    with pytest.raises(UnsafeFile):
        read_mixture(stored(tmp_path, {**MIXTURE, "weights": _Runs()}, ".pkl"))


def test_a_mixture_of_another_body_is_refused(tmp_path):
    hand = toy_body(parents=np.array([-1, 0, 1, 2, 0, 4]))
    with pytest.raises(ModelError, match="69 numbers"):
        Prior(model=stored(tmp_path, MIXTURE)).bind(Data(hand, np.zeros(1)))


# ------------------------------------------------------------------------------------------------ by name, and ours


def random_mixture(names, n=3, seed=0):
    rng = np.random.default_rng(seed)
    d = 3 * len(names)
    root = rng.normal(size=(n, d, d)) * 0.2 + np.eye(d)
    return {
        "means": 0.3 * rng.normal(size=(n, d)),
        "covars": root @ root.swapaxes(1, 2),
        "weights": rng.dirichlet(np.ones(n)),
        "joint_names": np.array(names),
    }


def made_by(path, body, poses):
    """The loss at some poses (frames, joints, 3)."""
    posed = kinematics.pose(
        kinematics.fold(body, "body25"),
        np.zeros(4),
        kinematics.local_rotations(np.zeros((len(poses), 3)), poses),
        np.zeros((len(poses), 3)),
    )
    bound = Prior(model=path, weight=0.7).bind(Data(body, np.zeros(len(poses))))
    assert bound is not None
    (made,) = bound.residuals(posed, np.arange(len(poses)))
    return made


def test_joints_are_matched_by_name_in_whatever_order_the_file_has_them(tmp_path):
    rng = np.random.default_rng(1)
    poses = rng.normal(size=(40, 23, 3)) * 0.3
    straight = random_mixture(SMPL_JOINTS[1:])
    order = rng.permutation(23)
    dims = (3 * order[:, None] + np.arange(3)).ravel()
    mixed = {
        "means": straight["means"][:, dims],
        "covars": straight["covars"][:, dims[:, None], dims],
        "weights": straight["weights"],
        "joint_names": straight["joint_names"][order],
    }
    (tmp_path / "mixed").mkdir()
    a = made_by(stored(tmp_path, straight), toy_body(), poses)
    b = made_by(stored(tmp_path / "mixed", mixed), toy_body(), poses)
    np.testing.assert_allclose(a.cost, b.cost, atol=1e-9)
    Ja, Jb = a.jacobians[0][:, 0], b.jacobians[0][:, 0]
    # the same gradient, and the same information whatever root of it each took
    np.testing.assert_allclose(a.gradient, b.gradient, atol=1e-9)
    information = Ja.swapaxes(1, 2) @ Ja
    np.testing.assert_allclose(Jb.swapaxes(1, 2) @ Jb, information, atol=1e-5 * information.max())


def test_joints_the_body_lacks_are_marginalised_and_joints_the_file_lacks_are_free(tmp_path):
    """A body with fingers in place of SMPL's hand ends."""
    mixture = random_mixture(SMPL_JOINTS[1:])
    names = (*SMPL_JOINTS[:22], "left_index1", "right_index1")
    body = dataclasses.replace(toy_body(), joint_names=names)
    poses = np.random.default_rng(2).normal(size=(5, 23, 3)) * 0.3
    made = made_by(stored(tmp_path, mixture), body, poses)
    assert made.r.shape == (5, 1, 63)
    assert not made.jacobians[0][..., 3 + 3 * 22 :].any()
    x = poses[:, :21].reshape(5, -1)
    expected = np.stack(
        [
            -np.log(w) - multivariate_normal.logpdf(x, m[:63], c[:63, :63])
            for m, c, w in zip(mixture["means"], mixture["covars"], mixture["weights"], strict=True)
        ]
    ).min(0)
    difference = made.cost[:, 0] / 0.7 - expected
    np.testing.assert_allclose(difference, difference[0], atol=1e-8)


def test_a_body_with_none_of_the_joints_is_refused(tmp_path):
    body = dataclasses.replace(toy_body(), joint_names=tuple(f"bone{i}" for i in range(24)))
    with pytest.raises(ModelError, match="none of these joints"):
        Prior().bind(Data(body, np.zeros(1)))


def test_the_included_prior_is_the_default_and_small_and_says_its_joints_and_floor():
    assert Prior().model == "included"
    Prior().check()
    mixture = read_mixture(INCLUDED)
    assert mixture.joint_names == SMPL_JOINTS[1:]
    assert mixture.means.shape == (8, 69)
    assert INCLUDED.stat().st_size < 200_000
    with np.load(INCLUDED) as stored_arrays:
        floor = stored_arrays["floor"].astype(float)
    spread = np.sqrt(np.diagonal(mixture.covars, axis1=1, axis2=2))
    assert (spread >= floor - 1e-6).all() and np.degrees(floor).min() > 2
    assert "NSF EIA-0196217" in (INCLUDED.parent / "README.md").read_text()


@pytest.mark.parametrize(
    ("joint", "turn", "impossible"),
    [
        ("left_knee", [1.2, 0, 0], [-1.2, 0, 0]),
        ("right_elbow", [0, 1.2, 0], [0, -1.2, 0]),
        ("left_elbow", [0, -1.2, 0], [0, 1.2, 0]),
        ("right_hip", [-1.0, 0, 0], [1.0, 0, 0]),
        ("left_shoulder", [0, 0, -1.2], [0, 2.0, 0]),
    ],
)
def test_the_included_prior_knows_which_way_joints_bend(joint, turn, impossible):
    poses = np.repeat(joint_ranges(SMPL_JOINTS[1:]).usual[None], 2, axis=0)
    poses[:, SMPL_JOINTS.index(joint) - 1] = [turn, impossible]
    good, bad = made_by(INCLUDED, toy_body(), poses).cost[:, 0]
    assert bad > good + 5


def test_the_included_prior_is_the_same_for_left_and_right():
    side = {"left": "right", "right": "left"}
    swap = [
        SMPL_JOINTS[1:].index("_".join(side.get(word, word) for word in name.split("_"))) for name in SMPL_JOINTS[1:]
    ]
    poses = joint_ranges(SMPL_JOINTS[1:]).sample(300)
    here, there = (made_by(INCLUDED, toy_body(), p).cost[:, 0] for p in (poses, poses[:, swap] * [1.0, -1.0, -1.0]))
    assert np.corrcoef(here, there)[0, 1] > 0.95  # each component need not be its own mirror image
    assert abs(here.mean() / there.mean() - 1) < 0.05


def test_it_binds_to_the_included_body():
    assert Prior().bind(Data(load_body("embedded"), np.zeros(1))) is not None


def test_of_the_included_prior_a_body_with_hands_has_its_joints_and_a_hand_by_itself_nothing():
    body = load_body("embedded_hands")
    bound = Prior().bind(Data(body, np.zeros(1)))
    assert bound is not None
    assert [body.joint_names[j] for j in bound.joints] == list(SMPL_JOINTS[1:22])
    assert Prior().bind(Data(load_body("embedded_left_hand"), np.zeros(1))) is None


def test_a_mixture_of_ones_own_is_not_left_out_for_a_hand(tmp_path):
    with pytest.raises(ModelError, match="none of these joints"):
        Prior(model=stored(tmp_path, random_mixture(SMPL_JOINTS[1:]))).bind(
            Data(load_body("embedded_left_hand"), np.zeros(1))
        )
