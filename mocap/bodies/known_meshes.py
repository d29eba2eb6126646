"""Keypoints on meshes the field knows by their numbers of vertices: SMPL and SMPL-H, SMPL-X, MANO.

The numbers of vertices are the ones the field uses (smplx, SMPLify, EasyMocap); limbs and fingers are told from the
model's own joints.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from mocap import skeletons
from mocap.bodies.model import MANO_JOINTS, BodyModel
from mocap.bodies.ranges import side_of
from mocap.bodies.regressors import Offset, hand_rows, with_offsets

# Points that the models' own joints lack, by the number of vertices.
BODY_VERTEX = {
    6890: {
        "nose": 332, "right_eye": 6260, "left_eye": 2800, "right_ear": 4071, "left_ear": 583, "left_big_toe": 3216,
        "left_small_toe": 3226, "left_heel": 3387, "right_big_toe": 6617, "right_small_toe": 6624, "right_heel": 6787,
        "head_top": 411, "left_thumb_tip": 2746, "left_index_tip": 2319, "left_middle_tip": 2445,
        "left_ring_tip": 2556, "left_pinky_tip": 2673, "right_thumb_tip": 6191, "right_index_tip": 5782,
        "right_middle_tip": 5905, "right_ring_tip": 6016, "right_pinky_tip": 6133,
    },
    10475: {
        "nose": 9120, "right_eye": 9929, "left_eye": 9448, "right_ear": 616, "left_ear": 6, "left_big_toe": 5770,
        "left_small_toe": 5780, "left_heel": 8846, "right_big_toe": 8463, "right_small_toe": 8474, "right_heel": 8635,
        "head_top": 8976, "left_thumb_tip": 5361, "left_index_tip": 4933, "left_middle_tip": 5058,
        "left_ring_tip": 5169, "left_pinky_tip": 5286, "right_thumb_tip": 8079, "right_index_tip": 7669,
        "right_middle_tip": 7794, "right_ring_tip": 7905, "right_pinky_tip": 8022,
    },
}  # fmt: skip
HAND_VERTICES = 778
HAND_VERTEX = {"thumb": 744, "index": 320, "middle": 443, "ring": 554, "pinky": 671}
"""Fingertips of MANO's mesh, of either side."""

# mediapipe's points that SMPL has no vertex number for, as combinations of those it has. Fitted to the included body's
# shapes (within 5 to 8 mm); the right side is alike.
COMBINED = {
    "left_eye_inner": {"left_eye": 0.83, "right_eye": 0.17},
    "left_eye_outer": {"left_eye": 1.21, "right_eye": -0.21},
    "mouth_left": {
        "nose": 0.46, "left_eye": 0.30, "right_eye": 0.20, "left_ear": 0.37, "right_ear": 0.10, "head_top": -0.43,
    },
    "left_index": {"left_wrist": 0.60, "left_thumb_tip": -0.36, "left_index_tip": 0.99, "left_pinky_tip": -0.23},
    "left_pinky": {"left_wrist": 0.56, "left_thumb_tip": -0.39, "left_index_tip": 0.39, "left_pinky_tip": 0.44},
    "left_thumb": {"left_wrist": 0.59, "left_thumb_tip": 0.35, "left_index_tip": 0.20, "left_pinky_tip": -0.14},
}  # fmt: skip

# Where the fingers have joints of their own, these knuckles are mediapipe's points of the body's hand.
_KNUCKLES = {"index": "index_mcp", "pinky": "pinky_mcp", "thumb": "thumb_mcp"}
_PEOPLE = 40
"""Random shapes that keypoints are to fit."""


def _people(body: BodyModel) -> np.ndarray:
    betas = np.random.default_rng(0).normal(0, 1, (_PEOPLE, body.n_betas))
    return (body.v_template + np.einsum("vcb,nb->nvc", body.shapedirs, betas)).astype(float)


def _hand(body: BodyModel, side: str, tips: Mapping[str, int], people: np.ndarray) -> csr_array:
    """A hand's 21 points: wrist and joints where they turn, and vertices for the tips."""
    joints = [body.joint_names.index(f"{side}_{name}") for name in MANO_JOINTS]
    points = np.stack([body.J_regressor[joints] @ person for person in people])
    rows = {finger: np.eye(1, len(body.v_template), v)[0] for finger, v in tips.items()}
    names, weights = body.joint_names, body.weights.astype(float)
    return hand_rows(people, points, weights, body.posedirs.astype(float), names, side, rows, vertices=48)


def _body(body: BodyModel, offsets: Mapping[str, Offset], people: np.ndarray) -> dict[str, csr_array]:
    """A body's points by skeleton, and those of its hands where its fingers have joints.

    J_regressor was made for the rest mesh and is used on the POSED mesh here, as the field's keypoint regressors are
    (EasyMocap's J_regressor_body25 does so too): a joint found so is millimetres from the one the limb turns about.
    mediapipe33 has mediapipe's systematic offsets, as they were learned on the included body.
    """
    known = BODY_VERTEX[len(body.v_template)]
    J, names = body.J_regressor.toarray(), body.joint_names
    rows: dict[str, np.ndarray] = {name: np.eye(1, J.shape[1], v)[0] for name, v in known.items()}
    for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"):
        for side in ("left", "right"):
            rows[f"{side}_{name}"] = J[names.index(f"{side}_{name}")]
    rows["upper_neck"] = J[names.index("head")]
    rows["neck"] = 0.5 * (rows["left_shoulder"] + rows["right_shoulder"])
    rows["mid_hip"] = 0.5 * (rows["left_hip"] + rows["right_hip"])
    rows |= {f"{side}_foot_index": rows[f"{side}_big_toe"] for side in ("left", "right")}
    for name, parts in COMBINED.items():
        rows[name] = np.einsum("p,pv->v", list(parts.values()), [rows[part] for part in parts])
        mirrored = [rows[skeletons.other_side(part)] for part in parts]
        rows[skeletons.other_side(name)] = np.einsum("p,pv->v", list(parts.values()), mirrored)
    hands = {}
    if "left_index1" in names:
        for side, skeleton in skeletons.HANDS.items():
            tips = {finger: known[f"{side}_{finger}_tip"] for finger in skeletons.FINGERS}
            hands[skeleton.name] = _hand(body, side, tips, people)
            for name, knuckle in _KNUCKLES.items():
                rows[f"{side}_{name}"] = hands[skeleton.name][[skeleton.index(f"{side}_{knuckle}")]].toarray()[0]
    out = {
        name: csr_array(np.stack([rows[j] for j in skeletons.get(name).joints]))
        for name in ("body25", "body25b", "coco17", "lsp14", "mediapipe33")
    }
    weights = body.weights.astype(float)
    out["mediapipe33"] = with_offsets(out["mediapipe33"], offsets, people, weights, body.posedirs, names)
    if hands:
        out |= {**hands, "mediapipe75": csr_array(sparse.vstack([out["mediapipe33"], *hands.values()]))}
    return out


def known_regressors(body: BodyModel, offsets: Mapping[str, Offset]) -> dict[str, csr_array]:
    """Keypoint regressors of a body on one of these meshes, by skeleton; none on others.

    Args:
        body: Of which joints and mesh are known.
        offsets: mediapipe's, from the anatomical points.
    """
    vertices, side = len(body.v_template), side_of(body.joint_names)
    if vertices == HAND_VERTICES and side is not None:
        return {f"{side}_hand21": _hand(body, side, HAND_VERTEX, _people(body))}
    if vertices in BODY_VERTEX and "left_hip" in body.joint_names:
        return _body(body, offsets, _people(body))
    return {}
