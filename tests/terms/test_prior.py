from __future__ import annotations

import pickle

import numpy as np
import pytest
from synthetic import toy_body

from mocap.bodies import kinematics
from mocap.errors import BadFile, MissingFile, ModelError, UnsafeFile
from mocap.terms.base import Data
from mocap.terms.prior import Prior, read_mixture

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
    poses = np.zeros((1, 23, 3))
    poses[..., 0] = theta
    R = kinematics.local_rotations(np.zeros((1, 3)), poses)
    rig = kinematics.fold(toy_body(), "body25")
    (made,) = bound.residuals(kinematics.pose(rig, np.zeros(4), R, np.zeros((1, 3))), np.arange(1))
    return float(made.cost.sum())


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_both_files_give_the_same_mixture(tmp_path, suffix):
    means, covars, weights = read_mixture(stored(tmp_path, MIXTURE, suffix))
    np.testing.assert_array_equal(means, MIXTURE["means"])
    np.testing.assert_array_equal(covars, MIXTURE["covars"])
    np.testing.assert_allclose(weights, [0.25, 0.75])


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
