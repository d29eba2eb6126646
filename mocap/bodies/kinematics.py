"""Kinematics of an SMPL-format body: joints, keypoints and their analytic Jacobians, without posing the mesh.

A keypoint is a linear combination of vertices of the POSED mesh. Skinning is linear in the vertices, so the regressor
is folded through it once (:func:`fold`): keypoint k becomes a short sum over joints j of

    y_kj = G_j (b_kj(beta, pose) - A_kj J_j(beta)) + A_kj p_j,

with A_kj = sum_v r_kv w_vj and b_kj = sum_v r_kv w_vj v_v, which is linear in the shape and pose features. This is
exactly what regressing from the posed mesh gives (Loper et al., "SMPL", 2015, equations 2-10), at the cost of some
hundred small products a frame instead of thousands of vertices.

Parameters of a frame, in this order: Th (3), the root's local rotation step (3), the other joints' (3 each). A local
step is R <- R exp(delta), so that turning joint j moves everything below it about p_j by the world vector G_j delta.
The root turns about the MODEL's origin (EasyMocap's Rh/Th): v = R(Rh) SMPL(poses) + Th.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from mocap import skeletons
from mocap.bodies.model import BodyModel
from mocap.errors import UnknownName
from mocap.geometry import rotations
from mocap.skeletons import Skeleton

_LITTLE = 2e-4
"""Pose features that move a point by less than this [m/rad] are left out of approximate Jacobians."""
_NEGLIGIBLE = 1e-9
"""A folded coefficient below this [m or 1] moves no keypoint by a nanometre; it is left out."""


@dataclass(frozen=True, eq=False)
class KeypointRig:
    """A body's keypoints of one skeleton, folded through skinning. Made by :func:`fold`."""

    body: BodyModel
    skeleton: Skeleton
    J_template: Float[np.ndarray, "joints 3"]
    J_shape: Float[np.ndarray, "joints 3 betas"]
    levels: tuple[Int[np.ndarray, ...], ...]
    """Joints after the root by their depth in the tree."""
    pair_keypoint: Int[np.ndarray, " pairs"]
    pair_joint: Int[np.ndarray, " pairs"]
    A: Float[np.ndarray, " pairs"]
    B: Float[np.ndarray, "pairs 3"]
    B_shape: Float[np.ndarray, "pairs 3 betas"]
    B_pose: Float[np.ndarray, "pairs_3 features"] | None
    """None when no keypoint feels the pose features."""
    moved: Int[np.ndarray, "moves 2"]
    """(keypoint, joint) such that the keypoint hangs below the joint; the root left out (it moves all)."""
    subtree: csr_array
    """(moves, pairs): which pairs hang below the joint."""
    subtree_A: Float[np.ndarray, " moves"]
    places: Int[np.ndarray, " moves_9"]
    """Where the moves' 3x3 blocks lie in a frame's Jacobian."""
    gather: Float[np.ndarray, "keypoints pairs"]
    """Which pairs make up each keypoint."""
    below: Float[np.ndarray, "joints pairs"]
    """Which pairs hang below each joint."""
    bent: Int[np.ndarray, "bends 2"]
    """(pair, joint) such that turning the joint changes the pair's b through the pose features by much."""
    bend_places: Int[np.ndarray, " bent_moves_9"]
    """Where the 3x3 blocks they add to lie in a frame's Jacobian."""
    bend_sum: csr_array
    """(blocks, bends): which bends make up each block."""

    @property
    def n_keypoints(self) -> int:
        """Keypoints of the skeleton."""
        return len(self.gather)

    @property
    def n_parameters(self) -> int:
        """Parameters of one frame: 3 + 3 joints."""
        return 3 + 3 * self.body.n_joints


@dataclass(frozen=True, eq=False)
class Posed:
    """A rig at some poses: what every term reads."""

    rig: KeypointRig
    R: Float[np.ndarray, "frames joints 3 3"]
    """Local rotations, the root's first."""
    Th: Float[np.ndarray, "frames 3"]
    G: Float[np.ndarray, "frames joints 3 3"]
    """World rotations of the joints."""
    joints: Float[np.ndarray, "frames joints 3"]
    keypoints: Float[np.ndarray, "frames keypoints 3"]
    pairs: Float[np.ndarray, "frames pairs 3"]
    """What each pair adds to its keypoint, in the world."""
    betas: Float[np.ndarray, "*own betas"]
    """One shape, or (frames, betas): each frame's own."""
    jacobian: Float[np.ndarray, "frames keypoints 3 parameters"] | None = None
    """d keypoints / d parameters, when asked for."""
    approximate: bool = False
    """Whether the Jacobians are float32 and leave out pose features that move little; :meth:`pull_back` does not."""
    shape_jacobian: Float[np.ndarray, "frames keypoints 3 betas"] | None = None

    @property
    def n_betas(self) -> int:
        """Shape coefficients it was posed with."""
        return self.betas.shape[-1]

    @cached_property
    def vectors(self) -> Float[np.ndarray, "frames posed_joints 3"]:
        """Rotation vectors of the joints after the root [rad], angle at most pi."""
        return rotations.log(self.R[:, 1:])

    @cached_property
    def by_step(self) -> Float[np.ndarray, "frames posed_joints 3 3"]:
        """d vectors / d local step of each joint."""
        return rotations.right_jacobian_inverse(self.vectors)

    def pull_back(
        self, gradient: Float[np.ndarray, "frames keypoints 3"]
    ) -> tuple[Float[np.ndarray, "frames parameters"], Float[np.ndarray, "*own betas"]]:
        """The gradient by the parameters, and by the betas, of something with this gradient by the keypoints.

        Exact, and made without a Jacobian: keypoints pull on the joints above them as forces do on a chain.
        """
        rig, frames = self.rig, len(self.R)
        force = gradient[:, rig.pair_keypoint]
        scaled = rig.A[:, None] * force
        out = np.empty((frames, 1 + rig.body.n_joints, 3))
        whole = rig.below @ np.concatenate([_cross(self.pairs, force), scaled], axis=-1)
        torque, push = whole[..., :3], whole[..., 3:]  # of all below each joint: about the origin, and on the joint
        out[:, 0] = push[:, 0]
        about = np.concatenate([self.Th[:, None], self.joints[:, 1:]], axis=1)
        out[:, 1:] = _turn_back(self.G, torque - _cross(about, push))
        local = _turn_back(self.G[:, rig.pair_joint], force).reshape(frames, -1)
        if rig.B_pose is not None:
            by_features = (local @ rig.B_pose).reshape(frames, -1, 3, 3)
            turn = self.R[:, 1:].swapaxes(-1, -2) @ by_features  # d R / d step about axis a is R [a]x
            for axis, (i, j) in enumerate(((2, 1), (0, 2), (1, 0))):
                out[:, 2:, axis] += turn[..., i, j] - turn[..., j, i]
        n = self.n_betas
        whole = self.betas.ndim == 1  # of one shape all frames together tell
        moved = rig.B_shape[..., :n] - rig.A[:, None, None] * rig.J_shape[rig.pair_joint, :, :n]
        by_shape = (local.sum(0) if whole else local) @ moved.reshape(-1, n)
        parents = rig.body.parents
        above = np.concatenate([self.G[:, :1], self.G[:, parents[1:]]], axis=1)
        offsets = np.concatenate([rig.J_shape[:1], rig.J_shape[1:] - rig.J_shape[parents[1:]]])
        pushed = _turn_back(above, push).reshape(frames, -1)
        by_shape = by_shape + (pushed.sum(0) if whole else pushed) @ offsets[..., :n].reshape(-1, n)
        return out.reshape(frames, -1), by_shape


def keypoint_matrix(body: BodyModel, skeleton: Skeleton) -> csr_array:
    """Regressor (keypoints, vertices) of a skeleton: the body's own, or by name from those it has.

    One that has every point is taken before several that have them all together.

    Raises:
        UnknownName: Some point of `skeleton` is in no regressor of this body.
    """
    if skeleton.name in body.regressors:
        return body.regressors[skeleton.name]
    by_name = {name: skeletons.conversion(skeletons.get(name), skeleton) for name in body.regressors}
    missing = np.ones(len(skeleton), dtype=bool)
    rows = csr_array((len(skeleton), len(body.v_template)))
    for name in sorted(by_name, key=lambda name: not by_name[name].any(1).all()):
        new = missing & by_name[name].any(1)
        rows = rows + csr_array(by_name[name] * new[:, None]) @ body.regressors[name]
        missing &= ~new
    if not missing.any():
        return csr_array(rows)
    raise UnknownName(f'keypoint regressor of body "{body.name}"', skeleton.name, body.regressors)


def fold(body: BodyModel, skeleton: Skeleton | str) -> KeypointRig:
    """Folds the keypoint regressor of `skeleton` through the body's skinning, shape and pose features.

    `smpl24`, and any skeleton named after the body's own joints, gives the joints themselves.
    """
    return _fold(body, skeletons.get(skeleton) if isinstance(skeleton, str) else skeleton)


@lru_cache(maxsize=8)
def _fold(body: BodyModel, skeleton: Skeleton) -> KeypointRig:
    if skeleton.joints == body.joint_names:
        return _fold_joints(body, skeleton)
    regressor = keypoint_matrix(body, skeleton)
    n_keypoints = len(skeleton)
    weights = csr_array(body.weights)
    # one row a (keypoint, joint) pair, one column a vertex: r_kv w_vj
    rows, cols, values = [], [], []
    pairs: list[tuple[int, int]] = []
    for k in range(n_keypoints):
        vertices = regressor.indices[regressor.indptr[k] : regressor.indptr[k + 1]]
        r = regressor.data[regressor.indptr[k] : regressor.indptr[k + 1]]
        local = (weights[vertices].multiply(r[:, None])).tocoo()
        for j in np.unique(local.col[np.abs(local.data) > 0]):
            of_j = local.col == j
            rows.append(np.full(of_j.sum(), len(pairs)))
            cols.append(vertices[local.row[of_j]])
            values.append(local.data[of_j])
            pairs.append((k, int(j)))
    fold_matrix = csr_array(
        (np.concatenate(values).astype(float), (np.concatenate(rows), np.concatenate(cols))),
        shape=(len(pairs), len(body.v_template)),
    )
    n_vertices = len(body.v_template)
    pair = np.array(pairs)
    return _assemble(
        body,
        skeleton,
        pair,
        A=np.asarray(fold_matrix.sum(1)).ravel(),
        B=fold_matrix @ body.v_template.astype(float),
        B_shape=(fold_matrix @ body.shapedirs.reshape(n_vertices, -1)).reshape(len(pair), 3, -1),
        B_pose=(fold_matrix @ body.posedirs.reshape(n_vertices, -1)).reshape(len(pair), 3, -1),
    )


def _fold_joints(body: BodyModel, skeleton: Skeleton) -> KeypointRig:
    joints = np.arange(body.n_joints)
    return _assemble(
        body,
        skeleton,
        np.stack([joints, joints], axis=1),
        A=np.ones(len(joints)),
        B=body.rest_joints,
        B_shape=_joint_shapedirs(body),
        B_pose=np.zeros((len(joints), 3, 0)),
    )


def _joint_shapedirs(body: BodyModel) -> Float[np.ndarray, "joints 3 betas"]:
    n_vertices = len(body.v_template)
    return (body.J_regressor @ body.shapedirs.reshape(n_vertices, -1).astype(float)).reshape(body.n_joints, 3, -1)


def _assemble(
    body: BodyModel,
    skeleton: Skeleton,
    pair: np.ndarray,
    *,
    A: np.ndarray,
    B: np.ndarray,
    B_shape: np.ndarray,
    B_pose: np.ndarray,
) -> KeypointRig:
    n_joints, n_keypoints = body.n_joints, len(skeleton)
    ancestors = np.eye(n_joints, dtype=bool)  # [j, a]: a is j or above it
    depth = np.zeros(n_joints, dtype=int)
    for j in range(1, n_joints):
        ancestors[j] |= ancestors[body.parents[j]]
        depth[j] = depth[body.parents[j]] + 1
    levels = tuple(np.flatnonzero(depth == d) for d in range(1, depth.max() + 1))

    below = ancestors[pair[:, 1]]  # (pairs, joints)
    moves = np.zeros((n_keypoints, n_joints), dtype=bool)
    np.logical_or.at(moves, pair[:, 0], below)
    moves[:, 0] = False
    moved = np.argwhere(moves)
    subtree = csr_array((moved[:, :1] == pair[:, 0]) & below[:, moved[:, 1]].T, dtype=float)
    entries = np.arange(n_keypoints * 3 * (1 + n_joints) * 3).reshape(n_keypoints, 3, 1 + n_joints, 3)
    feels = B_pose.size > 0 and np.abs(B_pose).max() > _NEGLIGIBLE
    strong = np.abs(B_pose.reshape(len(pair), 3, -1, 9)).max((1, 3)) > _LITTLE if feels else np.zeros((0, 0))
    bent = np.argwhere(strong) + [0, 1] if feels else np.zeros((0, 2), dtype=int)
    blocks, block = np.unique(pair[bent[:, 0], 0] * (1 + n_joints) + 1 + bent[:, 1], return_inverse=True)
    bend_sum = csr_array((np.ones(len(bent)), (block, np.arange(len(bent)))), shape=(len(blocks), len(bent)))
    return KeypointRig(
        body=body,
        skeleton=skeleton,
        J_template=body.rest_joints,
        J_shape=_joint_shapedirs(body),
        levels=levels,
        pair_keypoint=pair[:, 0],
        pair_joint=pair[:, 1],
        A=A,
        B=B,
        B_shape=B_shape.astype(float),
        B_pose=B_pose.reshape(3 * len(pair), -1).astype(float) if feels else None,
        moved=moved,
        subtree=subtree,
        subtree_A=subtree @ A,
        places=entries[moved[:, 0], :, 1 + moved[:, 1]].ravel(),
        below=below.T.astype(float),
        gather=(np.arange(n_keypoints)[:, None] == pair[:, 0]).astype(float),
        bent=bent,
        bend_places=entries[blocks // (1 + n_joints), :, blocks % (1 + n_joints)].ravel(),
        bend_sum=bend_sum,
    )


def pose_features(R: Float[np.ndarray, "frames joints 3 3"]) -> Float[np.ndarray, "frames features"]:
    """Entries of the rotations after the root, minus the identity, row-major: what posedirs multiply."""
    return (R[:, 1:] - np.eye(3)).reshape(len(R), -1)


def forward(
    parents: Int[np.ndarray, " joints"],
    levels: tuple[Int[np.ndarray, ...], ...],
    J: Float[np.ndarray, "*own joints 3"],
    R: Float[np.ndarray, "frames joints 3 3"],
    Th: Float[np.ndarray, "frames 3"],
) -> tuple[Float[np.ndarray, "frames joints 3 3"], Float[np.ndarray, "frames joints 3"]]:
    """World rotations and positions [m] of the joints, level by level of the tree.

    The rest joints `J` [m] are one shape's, or (frames, joints, 3): each frame's own.
    """
    G = np.empty_like(R)
    p = np.empty(R.shape[:3])
    G[:, 0] = R[:, 0]
    p[:, 0] = (R[:, 0] @ J[..., 0, :, None])[..., 0] + Th
    offsets = J - J[..., parents, :]  # the root's is not used
    for joints in levels:
        above = parents[joints]
        G_above = G[:, above]
        G[:, joints] = G_above @ R[:, joints]
        p[:, joints] = p[:, above] + (G_above @ offsets[..., joints, :, None])[..., 0]
    return G, p


def pose(
    rig: KeypointRig,
    betas: Float[np.ndarray, "*own betas"],
    R: Float[np.ndarray, "frames joints 3 3"],
    Th: Float[np.ndarray, "frames 3"],
    *,
    jacobian: bool = False,
    approximate: bool = False,
    shape_jacobian: bool = False,
) -> Posed:
    """Joints and keypoints of a body, with their Jacobians when asked.

    Args:
        rig: From :func:`fold`.
        betas: One shape, or (frames, betas) where each frame has its own; fewer than the body has are the first ones.
        R: Local rotations as matrices, the root's first.
        Th: Translation [m].
        jacobian: Also d keypoints / d (Th, local steps of the root and the joints).
        approximate: Make that Jacobian in single precision and without pose features that move little: several times
            faster, and good for the curvature of an objective; :meth:`Posed.pull_back` stays exact.
        shape_jacobian: Also d keypoints / d betas (as many as given).
    """
    frames, n_betas = len(R), betas.shape[-1]
    J = rig.J_template + np.tensordot(betas, rig.J_shape[..., :n_betas], (-1, -1))
    G, p = forward(rig.body.parents, rig.levels, J, R, Th)
    b = rig.B + np.tensordot(betas, rig.B_shape[..., :n_betas], (-1, -1))
    if rig.B_pose is not None:
        b = b + (pose_features(R) @ rig.B_pose.T).reshape(frames, -1, 3)
    c = b - rig.A[:, None] * J[..., rig.pair_joint, :]
    G_pair = G[:, rig.pair_joint]
    y = (G_pair @ c[..., None])[..., 0] + rig.A[:, None] * p[:, rig.pair_joint]
    keypoints = rig.gather @ y
    return Posed(
        rig,
        R,
        Th,
        G,
        p,
        keypoints,
        y,
        betas,
        _jacobian(rig, R, Th, G, p, G_pair, y, keypoints, approximate=approximate) if jacobian else None,
        approximate,
        _shape_jacobian(rig, n_betas, G, G_pair, approximate=approximate) if shape_jacobian else None,
    )


def joined(parts: Sequence[Posed]) -> Posed:
    """Consecutive frames as one, without Jacobians and what gradients need."""
    first = parts[0]
    names = ("R", "Th", "G", "joints", "keypoints")
    whole: dict[str, Any] = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
    none = np.zeros((len(whole["R"]), 0, 3))
    betas = first.betas if first.betas.ndim == 1 else np.concatenate([p.betas for p in parts])
    return Posed(rig=first.rig, betas=betas, pairs=none, **whole)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = np.empty(np.broadcast_shapes(a.shape, b.shape))
    for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
        np.subtract(a[..., j] * b[..., k], a[..., k] * b[..., j], out=out[..., i])
    return out


def _turn_back(G: np.ndarray, v: np.ndarray) -> np.ndarray:
    """G' v of stacks of matrices and vectors."""
    return (v[..., None, :] @ G)[..., 0, :]


def _turned(G: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """-[arm]x G: how a point moves on the end of `arm` (..., 3) when G (..., 3, 3) takes a local step."""
    x, y, z = arm[..., 0, None], arm[..., 1, None], arm[..., 2, None]
    out = np.empty_like(G)
    out[..., 0, :] = z * G[..., 1, :] - y * G[..., 2, :]
    out[..., 1, :] = x * G[..., 2, :] - z * G[..., 0, :]
    out[..., 2, :] = y * G[..., 0, :] - x * G[..., 1, :]
    return out


def _jacobian(
    rig: KeypointRig,
    R: np.ndarray,
    Th: np.ndarray,
    G: np.ndarray,
    p: np.ndarray,
    G_pair: np.ndarray,
    y: np.ndarray,
    keypoints: np.ndarray,
    *,
    approximate: bool,
) -> np.ndarray:
    frames, n_pairs = y.shape[:2]
    n_keypoints = rig.n_keypoints
    j = rig.moved[:, 1]
    hanging = (rig.subtree @ y.transpose(1, 0, 2).reshape(n_pairs, -1)).reshape(len(j), frames, 3).transpose(1, 0, 2)
    kind = np.float32 if approximate else np.float64
    out = np.zeros((frames, n_keypoints * 3 * rig.n_parameters), dtype=kind)
    arm = hanging - rig.subtree_A[:, None] * p[:, j]
    out[:, rig.places] = _turned(G.astype(kind)[:, j], arm.astype(kind)).reshape(frames, -1)
    blocks = out.reshape(frames, n_keypoints, 3, -1, 3)
    total = rig.gather @ rig.A
    blocks[:, :, :, 0] = total[:, None, None] * np.eye(3)
    blocks[:, :, :, 1] = _turned(
        np.broadcast_to(R[:, None, 0], (*keypoints.shape, 3)), keypoints - total[:, None] * Th[:, None]
    )
    if rig.B_pose is None or (approximate and not len(rig.bent)):
        return out.reshape(frames, n_keypoints, 3, -1)
    # R exp(delta) = R + R [delta]x: d vec(R) by each of the three axes, (frames, joints, 9, 3)
    dR = (R[:, 1:, None] @ _GENERATORS).transpose(0, 1, 3, 4, 2).reshape(frames, -1, 9, 3)
    B = rig.B_pose.reshape(n_pairs, 3, -1, 9)
    if approximate:
        pair, joint = rig.bent.T
        bent = G_pair[:, pair] @ (B[pair, :, joint - 1] @ dR[:, joint - 1])
        summed = rig.bend_sum @ bent.transpose(1, 0, 2, 3).reshape(len(pair), -1)
        out[:, rig.bend_places] += summed.reshape(-1, frames, 9).transpose(1, 0, 2).reshape(frames, -1)
    else:
        bent = B.reshape(1, 3 * n_pairs, -1, 9).swapaxes(1, 2) @ dR  # (frames, joints, pairs 3, 3)
        bent = bent.reshape(frames, -1, n_pairs, 3, 3).transpose(0, 2, 3, 1, 4).reshape(frames, n_pairs, 3, -1)
        turned = (G_pair @ bent).reshape(frames, n_pairs, -1)
        blocks[:, :, :, 2:] += (rig.gather @ turned).reshape(frames, n_keypoints, 3, -1, 3)
    return out.reshape(frames, n_keypoints, 3, -1)


_GENERATORS = rotations.skew(np.eye(3))


def _shape_jacobian(
    rig: KeypointRig, n_betas: int, G: np.ndarray, G_pair: np.ndarray, *, approximate: bool
) -> np.ndarray:
    kind = np.float32 if approximate else np.float64
    parents, dJ = rig.body.parents, rig.J_shape[..., :n_betas].astype(kind)
    G, G_pair, A = G.astype(kind), G_pair.astype(kind), rig.A.astype(kind)
    dp = np.empty((*G.shape[:2], 3, n_betas), dtype=kind)
    dp[:, 0] = G[:, 0] @ dJ[0]
    offsets = dJ - dJ[parents]
    for joints in rig.levels:
        dp[:, joints] = dp[:, parents[joints]] + G[:, parents[joints]] @ offsets[joints]
    dc = rig.B_shape[..., :n_betas].astype(kind) - A[:, None, None] * dJ[rig.pair_joint]
    dy = G_pair @ dc + A[:, None, None] * dp[:, rig.pair_joint]
    return (rig.gather.astype(kind) @ dy.reshape(*dy.shape[:2], -1)).reshape(len(dy), -1, 3, n_betas)


def local_rotations(
    Rh: Float[np.ndarray, "frames 3"], poses: Float[np.ndarray, "frames joints 3"]
) -> Float[np.ndarray, "frames all_joints 3 3"]:
    """Rotation matrices of the root and the joints from rotation vectors [rad]."""
    return rotations.exp(np.concatenate([Rh[:, None], poses], axis=1))


def keypoints_of(
    body: BodyModel,
    skeleton: Skeleton | str,
    betas: Float[np.ndarray, " betas"],
    Rh: Float[np.ndarray, "frames 3"],
    Th: Float[np.ndarray, "frames 3"],
    poses: Float[np.ndarray, "frames joints 3"],
) -> Float[np.ndarray, "frames keypoints 3"]:
    """Keypoints of the posed mesh in the world [m]."""
    return pose(fold(body, skeleton), betas, local_rotations(Rh, poses), Th).keypoints


def rest_keypoints(
    body: BodyModel, skeleton: Skeleton | str, betas: Float[np.ndarray, " betas"] | None = None
) -> Float[np.ndarray, "keypoints 3"]:
    """Keypoints of a shape in its rest pose, in the model's own axes [m]; of the mean shape without betas."""
    betas = np.zeros(body.n_betas) if betas is None else betas
    nothing = np.zeros((1, 3))
    return keypoints_of(body, skeleton, betas, nothing, nothing, np.zeros((1, body.n_joints - 1, 3)))[0]


def joints_of(
    body: BodyModel,
    betas: Float[np.ndarray, " betas"],
    Rh: Float[np.ndarray, "frames 3"],
    Th: Float[np.ndarray, "frames 3"],
    poses: Float[np.ndarray, "frames joints 3"],
) -> Float[np.ndarray, "frames all_joints 3"]:
    """Joints of the model in the world [m], the root first."""
    own = Skeleton(body.name, body.joint_names, ())
    return pose(_fold_joints(body, own), betas, local_rotations(Rh, poses), Th).joints


class Skinner:
    """Poses the mesh of one shaped body; holds what does not change from frame to frame."""

    def __init__(self, body: BodyModel, betas: Float[np.ndarray, " betas"]) -> None:
        self.body = body
        self.rest = body.rest(betas).astype(np.float32)
        self.J = np.asarray(body.J_regressor @ self.rest.astype(float))
        self._weights = csr_array(body.weights.astype(np.float32))
        self._posedirs = csr_array(body.posedirs.reshape(-1, body.posedirs.shape[-1]).astype(np.float32))
        self._levels = _fold_joints(body, Skeleton(body.name, body.joint_names, ())).levels

    def vertices(
        self,
        Rh: Float[np.ndarray, "frames 3"],
        Th: Float[np.ndarray, "frames 3"],
        poses: Float[np.ndarray, "frames joints 3"],
    ) -> Float[np.ndarray, "frames vertices 3"]:
        """The posed mesh [m], float32."""
        R = local_rotations(Rh, poses)
        frames, n_joints = R.shape[:2]
        G, p = forward(self.body.parents, self._levels, self.J, R, Th)
        moved = p - (G @ self.J[:, :, None])[..., 0]
        T = np.concatenate([G, moved[..., None]], axis=-1).astype(np.float32)  # (frames, joints, 3, 4)
        v = self.rest + (self._posedirs @ pose_features(R).astype(np.float32).T).T.reshape(frames, -1, 3)
        skinned = (self._weights @ T.transpose(1, 0, 2, 3).reshape(n_joints, -1)).reshape(-1, frames, 3, 4)
        skinned = skinned.transpose(1, 0, 2, 3)
        return (skinned[..., :3] @ v[..., None])[..., 0] + skinned[..., 3]

    def chunks(
        self,
        Rh: Float[np.ndarray, "frames 3"],
        Th: Float[np.ndarray, "frames 3"],
        poses: Float[np.ndarray, "frames joints 3"],
        *,
        size: int = 16,
    ) -> Iterator[Float[np.ndarray, "vertices 3"]]:
        """The posed mesh frame by frame, computed `size` frames at a time so that memory stays flat."""
        for s in range(0, len(Rh), size):
            yield from self.vertices(Rh[s : s + size], Th[s : s + size], poses[s : s + size])


def vertices_of(
    body: BodyModel,
    betas: Float[np.ndarray, " betas"],
    Rh: Float[np.ndarray, "frames 3"],
    Th: Float[np.ndarray, "frames 3"],
    poses: Float[np.ndarray, "frames joints 3"],
) -> Float[np.ndarray, "frames vertices 3"]:
    """The posed mesh of a few frames [m], float32; for many use :class:`Skinner`."""
    return Skinner(body, betas).vertices(Rh, Th, poses)
