"""Bodies of random numbers with the joints of MANO, SMPL-H and SMPL-X: nothing in them is symmetric by accident."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.sparse import csr_array

from mocap import skeletons
from mocap.bodies.load import JOINT_NAMES
from mocap.bodies.model import BodyModel
from tests.synthetic import SMPL_PARENTS, toy_body

_CHAIN = np.array([0, 1, 2])
_FINGERS = np.concatenate([np.where(_CHAIN == 0, -1, 3 * finger + _CHAIN - 1) for finger in range(5)])


def _fingers(wrist: int, first: int) -> list[int]:
    """Parents of a hand's 15 joints, the first of which is number `first`."""
    return [wrist if parent < 0 else first + int(parent) for parent in _FINGERS]


def _regressors(body: BodyModel, *names: str) -> BodyModel:
    rng = np.random.default_rng(5)
    found = dict(body.regressors)
    for name in names:
        rows = np.zeros((len(skeletons.get(name)), len(body.v_template)))
        for row in rows:
            row[rng.choice(len(row), 3, replace=False)] = rng.dirichlet(np.ones(3))
        found[name] = csr_array(rows)
    return dataclasses.replace(body, regressors=found)


def toy_hand(seed: int = 0, side: str = "right") -> BodyModel:
    """16 joints, MANO's, and the 21 points of that hand."""
    body = toy_body(seed, parents=np.array([-1, *_fingers(0, 1)]))
    names = tuple(f"{side}_{name.removeprefix('right_')}" for name in JOINT_NAMES[16])
    body = dataclasses.replace(body, name=f"toy_{side}_hand", joint_names=names, regressors={})
    return _regressors(body, f"{side}_hand21")


def toy_smplh(seed: int = 0) -> BodyModel:
    """52 joints, SMPL-H's."""
    parents = np.array([*SMPL_PARENTS[:22], *_fingers(20, 22), *_fingers(21, 37)])
    body = dataclasses.replace(toy_body(seed, parents=parents), joint_names=JOINT_NAMES[52])
    return _regressors(body, "left_hand21", "right_hand21", "mediapipe75")


def toy_smplx(seed: int = 0, expressions: int = 10) -> BodyModel:
    """55 joints, SMPL-X's, with facial expressions."""
    parents = np.array([*SMPL_PARENTS[:22], 15, 15, 15, *_fingers(20, 25), *_fingers(21, 40)])
    body = toy_body(seed, parents=parents)
    dirs = np.random.default_rng(seed).normal(size=(len(body.v_template), 3, expressions))
    body = dataclasses.replace(body, joint_names=JOINT_NAMES[55], expressiondirs=dirs)
    return _regressors(body, "left_hand21", "right_hand21", "mediapipe75")
