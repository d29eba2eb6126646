"""What file formats of skinned bodies share: influences, normals, colours, and the motion with y up.

Such formats have linear blending of a few joints a vertex. The pose's own corrections of the mesh (SMPL's posedirs,
which depend on the entries of rotation matrices) have no place in them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from mocap.bodies.kinematics import Skinner
from mocap.geometry import rotations
from mocap.io.meshes import Y_UP_OF_WORLD
from mocap.take import Motion

_INFLUENCES = 4
"""Joints that move a vertex: what every reader must support."""
PLAIN = (0.56, 0.62, 0.92)
"""The colour of a body that has none of its own (sRGB)."""


def four_influences(
    weights: Float[np.ndarray, "vertices joints"],
) -> tuple[Int[np.ndarray, "vertices 4"], Float[np.ndarray, "vertices 4"]]:
    """The four joints that move each vertex most, and their weights made to sum to 1; joints of weight 0 are 0."""
    missing = max(0, _INFLUENCES - weights.shape[1])
    weights = np.pad(np.asarray(weights, dtype=float), ((0, 0), (0, missing)))
    joints = np.argsort(-weights, axis=1, kind="stable")[:, :_INFLUENCES]
    kept = np.take_along_axis(weights, joints, axis=1)
    kept /= kept.sum(1, keepdims=True)
    return np.where(kept > 0, joints, 0), kept


def normals_of(
    vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]
) -> Float[np.ndarray, "vertices 3"]:
    """Unit normals, each face counting by its area; up where a vertex has no face."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    of_faces = np.cross(b - a, c - a)
    normals = np.zeros(vertices.shape)
    for i in range(3):
        np.add.at(normals, faces[:, i], of_faces)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.where(length > 0, length, 1), (0.0, 1.0, 0.0))


def linear_light(colours: Float[np.ndarray, "*colours 3"]) -> Float[np.ndarray, "*colours 3"]:
    """Colours as a screen has them (sRGB) made proportional to light (IEC 61966-2-1)."""
    return np.where(colours <= 0.04045, colours / 12.92, ((np.clip(colours, 0, 1) + 0.055) / 1.055) ** 2.4)


def _continuous(quaternions: Float[np.ndarray, "frames joints 4"]) -> Float[np.ndarray, "frames joints 4"]:
    """Of q and -q, which turn alike, the one nearer to the frame before: readers that do not mind go no long way."""
    turns = (quaternions[1:] * quaternions[:-1]).sum(-1) < 0
    signs = np.cumprod(np.where(turns, -1.0, 1.0), axis=0)
    return np.concatenate([quaternions[:1], quaternions[1:] * signs[..., None]])


def y_up_tracks(
    skinner: Skinner, motion: Motion
) -> tuple[Float[np.ndarray, "frames joints 4"], Float[np.ndarray, "frames 3"]]:
    """The joints' local rotations as quaternions x y z w, without jumps of sign, and the root joint's place [m], y up.

    The root has rotation Y R(Rh) and place Y (Th + R(Rh) J0), with Y the turn from z up to y up and J0 the root joint
    of the shaped body in its rest pose.
    """
    R = rotations.exp(motion.Rh)
    root = Rotation.from_matrix(Y_UP_OF_WORLD @ R).as_quat()
    local = Rotation.from_rotvec(motion.poses.reshape(-1, 3)).as_quat().reshape(*motion.poses.shape[:2], 4)
    turned = _continuous(np.concatenate([root[:, None], local], axis=1))
    return turned, (motion.Th + R @ skinner.J[0]) @ Y_UP_OF_WORLD.T
