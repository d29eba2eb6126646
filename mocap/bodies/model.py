"""A body in SMPL's format, as data. Loading is in `load.py`, kinematics in `kinematics.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from mocap.errors import ModelError, UnknownName

SMPL_JOINTS = tuple(
    "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 left_foot right_foot "
    "neck left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
    "left_hand right_hand".split()
)
MANO_JOINTS = (
    "wrist",
    *(f"{finger}{k}" for finger in ("index", "middle", "pinky", "ring", "thumb") for k in (1, 2, 3)),
)
"""Of either hand: each finger's from the palm outwards; a thumb's first is where its metacarpal meets the wrist."""


@dataclass(frozen=True, eq=False)
class PoseSpace:
    """How poses of some joints are distributed: principal components about a mean, as MANO's files have for its hand
    (Romero et al., "Embodied hands", 2017)."""

    joint_names: tuple[str, ...]
    mean: Float[np.ndarray, " d"]
    """Rotation vectors of those joints, one after the other [rad]: d is three times their number."""
    components: Float[np.ndarray, "n d"]
    """Orthonormal rows."""
    deviation: Float[np.ndarray, " n"]
    """Standard deviation along each component [rad]."""


@dataclass(frozen=True, eq=False)
class BodyModel:
    """An SMPL-format model: a template deformed by shape and pose, skinned to a tree of joints.

    v(beta, pose) = skin(v_template + shapedirs beta + posedirs vec(R_1.. - I)), joints = J_regressor (v_template +
    shapedirs beta) (Loper et al., "SMPL: a skinned multi-person linear model", 2015). Rest pose: T-pose, y up, z
    to the front, metres.
    """

    name: str
    """"embedded", "embedded_hands" and so on, or the stem of the user's file."""
    gender: str
    content_hash: str
    """First 16 hex digits of the SHA-256 of the numbers: betas are bound to it."""
    v_template: Float[np.ndarray, "vertices 3"]
    shapedirs: Float[np.ndarray, "vertices 3 betas"]
    posedirs: Float[np.ndarray, "vertices 3 features"]
    """Features: the 9 (joints - 1) entries of the rotation matrices after the root, minus the identity, row-major."""
    weights: Float[np.ndarray, "vertices joints"]
    J_regressor: csr_array
    """(joints, vertices)"""
    parents: Int[np.ndarray, " joints"]
    """-1 for the root; every parent comes before its children."""
    faces: Int[np.ndarray, "faces 3"]
    joint_names: tuple[str, ...]
    regressors: Mapping[str, csr_array]
    """Keypoints by the name of their skeleton: (keypoints, vertices), rows sum to 1, over the POSED mesh."""
    colours: Float[np.ndarray, "vertices 3"] | None = None
    """Vertex colours in [0, 1], when the model has some."""
    pose_spaces: tuple[PoseSpace, ...] = ()
    """Of the hands, where the model's file has them."""
    expressiondirs: Float[np.ndarray, "vertices 3 expressions"] | None = None
    """What facial expressions do (SMPL-X); the face is left at rest."""

    def __post_init__(self) -> None:
        vertices, joints = self.weights.shape
        expected = {
            "v_template": (vertices, 3),
            "shapedirs": (vertices, 3, self.shapedirs.shape[-1]),
            "posedirs": (vertices, 3, 9 * (joints - 1)),
            "J_regressor": (joints, vertices),
            "parents": (joints,),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ModelError(f'Body "{self.name}": {name} is {getattr(self, name).shape}, must be {shape}.')
        if self.parents[0] != -1 or (self.parents[1:] >= np.arange(1, joints)).any() or (self.parents[1:] < 0).any():
            raise ModelError(f'Body "{self.name}": joint parents must come before their children, root first.')
        if len(self.joint_names) != joints:
            raise ModelError(f'Body "{self.name}": {len(self.joint_names)} joint names for {joints} joints.')

    @property
    def n_joints(self) -> int:
        """Joints, the root included: 24 for SMPL."""
        return len(self.parents)

    @property
    def n_betas(self) -> int:
        """Shape coefficients."""
        return self.shapedirs.shape[-1]

    def regressor(self, skeleton: str) -> csr_array:
        """The keypoint regressor of a skeleton; UnknownName lists the ones this body has."""
        if skeleton not in self.regressors:
            raise UnknownName(f'keypoint regressor of body "{self.name}"', skeleton, self.regressors)
        return self.regressors[skeleton]

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """For each joint its children."""
        return tuple(tuple(np.flatnonzero(self.parents == j).tolist()) for j in range(self.n_joints))

    @cached_property
    def rest_joints(self) -> Float[np.ndarray, "joints 3"]:
        """Joints of the mean shape at rest [m]."""
        return self.J_regressor @ self.v_template.astype(float)

    def rest(self, betas: Float[np.ndarray, " betas"]) -> Float[np.ndarray, "vertices 3"]:
        """The shaped template [m], before pose."""
        return self.v_template + self.shapedirs[..., : len(betas)] @ np.asarray(betas, self.shapedirs.dtype)

    def stature(self, betas: Float[np.ndarray, " betas"]) -> float:
        """Height of the shaped template in its rest pose [m]."""
        y = self.rest(betas)[:, 1]
        return float(y.max() - y.min())
