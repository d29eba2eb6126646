"""Loads bodies in SMPL's format: the one that ships with the package, or the user's own file."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.sparse import csr_array

from mocap import skeletons
from mocap.bodies.model import SMPL_JOINTS, BodyModel
from mocap.bodies.regressors import parse_offsets, with_offsets
from mocap.bodies.unpickle import load_pickle
from mocap.errors import BadFile, MissingFile, ModelError, UnknownName

GENDERS = ("neutral", "female", "male")
EMBEDDED = Path(__file__).parent / "data" / "embedded.npz"
MODEL_KEYS = ("v_template", "shapedirs", "posedirs", "weights", "J_regressor", "kintree_table", "f")
SMPL_VERTICES = 6890

# Points that SMPL's own joints lack, as vertices of its mesh: the numbers the field uses.
SMPL_VERTEX = {
    "nose": 332, "right_eye": 6260, "left_eye": 2800, "right_ear": 4071, "left_ear": 583, "left_big_toe": 3216,
    "left_small_toe": 3226, "left_heel": 3387, "right_big_toe": 6617, "right_small_toe": 6624, "right_heel": 6787,
    "head_top": 411, "left_thumb_tip": 2746, "left_index_tip": 2319, "left_pinky_tip": 2673, "right_thumb_tip": 6191,
    "right_index_tip": 5782, "right_pinky_tip": 6133,
}  # fmt: skip

# mediapipe's points that SMPL has no vertex number for, as combinations of those it has. Fitted to the included body's
# shapes (within 5 to 8 mm); the right side is alike.
SMPL_COMBINED = {
    "left_eye_inner": {"left_eye": 0.83, "right_eye": 0.17},
    "left_eye_outer": {"left_eye": 1.21, "right_eye": -0.21},
    "mouth_left": {
        "nose": 0.46, "left_eye": 0.30, "right_eye": 0.20, "left_ear": 0.37, "right_ear": 0.10, "head_top": -0.43,
    },
    "left_index": {"left_wrist": 0.60, "left_thumb_tip": -0.36, "left_index_tip": 0.99, "left_pinky_tip": -0.23},
    "left_pinky": {"left_wrist": 0.56, "left_thumb_tip": -0.39, "left_index_tip": 0.39, "left_pinky_tip": 0.44},
    "left_thumb": {"left_wrist": 0.59, "left_thumb_tip": 0.35, "left_index_tip": 0.20, "left_pinky_tip": -0.14},
}  # fmt: skip

_FINGERS = tuple(f"{finger}{k}" for finger in ("index", "middle", "pinky", "ring", "thumb") for k in (1, 2, 3))
_HANDS = tuple(f"{side}_{finger}" for side in ("left", "right") for finger in _FINGERS)
JOINT_NAMES = {
    24: SMPL_JOINTS,
    52: (*SMPL_JOINTS[:22], *_HANDS),  # SMPL-H
    55: (*SMPL_JOINTS[:22], "jaw", "left_eye_smplhf", "right_eye_smplhf", *_HANDS),  # SMPL-X
    16: ("wrist", *_FINGERS),  # MANO
}
_BY_SIZE = {25: "body25", 17: "coco17", 33: "mediapipe33", 14: "lsp14"}


def content_hash(
    v_template: np.ndarray,
    shapedirs: np.ndarray,
    posedirs: np.ndarray,
    weights: np.ndarray,
    J_regressor: csr_array,
    parents: np.ndarray,
    faces: np.ndarray,
) -> str:
    """First 16 hex digits of the SHA-256 of what betas and poses mean: the numbers as float32 and int64, in C order.

    Keypoint regressors and colours are left out: they may be learned anew without changing what a pose means.
    """
    digest = hashlib.sha256()
    regressor = J_regressor.tocoo()
    order = np.lexsort((regressor.col, regressor.row))
    for name, array, dtype in (
        ("v_template", v_template, "<f4"),
        ("shapedirs", shapedirs, "<f4"),
        ("posedirs", posedirs, "<f4"),
        ("weights", weights, "<f4"),
        ("J_row", regressor.row[order], "<i8"),
        ("J_col", regressor.col[order], "<i8"),
        ("J_data", regressor.data[order], "<f4"),
        ("parents", parents, "<i8"),
        ("faces", faces, "<i8"),
    ):
        digest.update(f"{name}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, dtype=dtype).tobytes())
    return digest.hexdigest()[:16]


# ------------------------------------------------------------------------------------------- the body that ships


def pack_rows(name: str, rows: csr_array) -> dict[str, np.ndarray]:
    """A sparse matrix as arrays of an npz."""
    rows = csr_array(rows)
    rows.eliminate_zeros()
    rows.sort_indices()
    return {
        f"{name}.data": rows.data.astype(np.float32),
        f"{name}.indices": rows.indices.astype(np.uint16),
        f"{name}.indptr": rows.indptr.astype(np.int32),
    }


def unpack_rows(name: str, arrays: Mapping[str, np.ndarray], columns: int) -> csr_array:
    """The sparse matrix that `pack_rows` stored, its rows summing to 1 in double precision."""
    data = arrays[f"{name}.data"].astype(float)
    indptr = arrays[f"{name}.indptr"]
    sums = np.add.reduceat(data, indptr[:-1])
    data /= np.repeat(np.where(np.abs(sums - 1) < 1e-3, sums, 1.0), np.diff(indptr))
    return csr_array((data, arrays[f"{name}.indices"].astype(np.int32), indptr), shape=(len(indptr) - 1, columns))


def unpack_posedirs(arrays: Mapping[str, np.ndarray]) -> Float[np.ndarray, "vertices 3 features"]:
    """Dense pose blend shapes from the blocks of vertices that see the same joints."""
    patterns, group = arrays["posedirs_joints"], arrays["posedirs_group"]
    values, step = arrays["posedirs_values"], np.float32(arrays["posedirs_step"])
    out = np.zeros((len(group), 3, 9 * patterns.shape[1]), np.float32)
    start = 0
    for q, pattern in enumerate(patterns):
        vertices, features = np.flatnonzero(group == q), np.flatnonzero(np.repeat(pattern, 9))
        stop = start + len(vertices) * 3 * len(features)
        block = values[start:stop].reshape(len(vertices), 3, len(features)) * step
        out[vertices[:, None, None], np.arange(3)[:, None], features] = block
        start = stop
    return out


def embedded_arrays(path: Path = EMBEDDED) -> dict[str, np.ndarray]:
    """The stored arrays of the body that `tools/build_body.py` made."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def unpack_embedded(arrays: Mapping[str, np.ndarray], gender: str, name: str = "embedded") -> BodyModel:
    """One gender of the stored body."""
    v_template = arrays[f"v_template_{gender}"].astype(np.float32)
    vertices = len(v_template)
    index, value = arrays["weights_index"], arrays["weights_value"].astype(np.float32)
    parents = arrays["parents"].astype(np.int64)
    weights = np.zeros((vertices, len(parents)), np.float32)
    np.put_along_axis(weights, index.astype(np.int64), value, 1)
    weights /= weights.sum(1, keepdims=True)
    shapedirs = arrays[f"shapedirs_{gender}"] * np.float32(arrays["shapedirs_step"])
    posedirs = unpack_posedirs(arrays)
    J_regressor = unpack_rows("J_regressor", arrays, vertices)
    faces = arrays["faces"].astype(np.int64)
    known = arrays.get(f"hash_{gender}")  # absent while the file is being built
    return BodyModel(
        name=name,
        gender=gender,
        content_hash=content_hash(v_template, shapedirs, posedirs, weights, J_regressor, parents, faces)
        if known is None
        else str(known),
        v_template=v_template,
        shapedirs=shapedirs,
        posedirs=posedirs,
        weights=weights,
        J_regressor=J_regressor,
        parents=parents,
        faces=faces,
        joint_names=SMPL_JOINTS,
        regressors={
            skeleton: unpack_rows(f"keypoints.{skeleton}", arrays, vertices)
            for skeleton in skeletons.SKELETONS
            if f"keypoints.{skeleton}.data" in arrays
        },
        colours=arrays["colours"].astype(np.float32) / 255,
    )


@lru_cache(maxsize=3)
def _embedded(gender: str) -> BodyModel:
    return unpack_embedded(embedded_arrays(), gender)


# ------------------------------------------------------------------------------------------------- the user's own


def _read_npz(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """The named members of an npz; object arrays in it are pickles and read as such."""
    out: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            for key in keys:
                if key not in members:
                    continue
                with archive.open(members[key]) as file:
                    version = np.lib.format.read_magic(file)
                    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else (
                        np.lib.format.read_array_header_2_0
                    )  # fmt: skip
                    _, _, dtype = read(file)
                    if dtype.hasobject:  # what follows the header is a pickle
                        value = load_pickle(file.read(), path)
                        out[key] = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
                        continue
                with archive.open(members[key]) as file:
                    out[key] = np.lib.format.read_array(file, allow_pickle=False)
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise BadFile(path, f"is not a readable npz ({error}).") from error
    return out


def _read_model(path: Path) -> dict[str, Any]:
    if path.suffix == ".npz":
        return _read_npz(path, MODEL_KEYS)
    if path.suffix != ".pkl":
        raise BadFile(path, "a body model is a .pkl or .npz file in SMPL's format.")
    loaded = load_pickle(path.read_bytes(), path, keys=MODEL_KEYS)
    return loaded if isinstance(loaded, dict) else {}


def _numbers(path: Path, key: str, value: Any, dims: int) -> np.ndarray:
    value = value.toarray() if sparse.issparse(value) else np.asarray(value)
    if value.dtype.kind not in "iuf" or value.ndim != dims:
        raise BadFile(path, f"{key} must be an array of numbers with {dims} axes, not {value.dtype} {value.shape}.")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise BadFile(path, f"{key} holds NaN or infinite numbers.")
    return value


def _parents(path: Path, table: np.ndarray) -> np.ndarray:
    joints = table.shape[1]
    parents = table[0].astype(np.int64)
    parents[(parents < 0) | (parents >= joints)] = -1  # the root's is 2^32 - 1 in SMPL's files
    if (parents[1:] < 0).any():
        raise BadFile(path, "kintree_table must name a parent for every joint but the first.")
    return parents


def _file_gender(path: Path, gender: str) -> str:
    """What the file's name says of its gender, for that is a fact of the file; else what was asked for."""
    words = path.stem.lower().replace("-", "_").split("_")
    for known, short in (("neutral", "n"), ("female", "f"), ("male", "m")):
        if known in words or short in words:
            return known
    return gender


def _model_path(model: str | Path, gender: str) -> Path:
    """The model file; in a folder, the one named like the gender (SMPL_NEUTRAL.pkl)."""
    path = Path(model).expanduser()
    if not path.is_dir():
        if not path.is_file():
            remedy = (
                'Give a .pkl or .npz in SMPL\'s format, a folder of them, or "embedded" for the one that is included.'
            )
            raise MissingFile(path, what="Body model", remedy=remedy)
        return path
    files = sorted(p for p in path.iterdir() if p.suffix in (".pkl", ".npz"))
    fitting = [p for p in files if _file_gender(p, "") == gender]
    if len(fitting) != 1:
        found = ", ".join(p.name for p in files) or "no .pkl or .npz file"
        why = "no" if not fitting else "more than one"
        raise ModelError(f"Body model folder {path} holds {why} {gender} model (found {found}); give the file itself.")
    return fitting[0]


def _only_array(path: Path) -> Any:
    """The one array of an npz, or the sparse matrix that `scipy.sparse.save_npz` stored in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n.removesuffix(".npy") for n in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise BadFile(path, f"is not a readable npz ({error}).") from error
    if {"data", "indices", "indptr", "shape"} <= set(names):
        parts = _read_npz(path, ("data", "indices", "indptr", "shape", "format"))
        make = sparse.csc_array if b"csc" in np.asarray(parts.get("format", b"csr")).tobytes() else sparse.csr_array
        try:
            matrix = make((parts["data"], parts["indices"], parts["indptr"]), shape=tuple(parts["shape"]))
            matrix.check_format(full_check=True)
        except (ValueError, TypeError) as error:
            raise BadFile(path, f"holds a broken sparse matrix ({error}).") from error
        return matrix
    if len(names) != 1:
        raise BadFile(path, f"must hold one array, the regressor; it holds {', '.join(names) or 'nothing'}.")
    return _read_npz(path, tuple(names))[names[0]]


def read_regressor(path: Path, vertices: int, skeleton: str | None) -> tuple[str, csr_array]:
    """A user's keypoint regressor and the skeleton it belongs to.

    Args:
        path: `.npy`, or `.npz` with one array or from `scipy.sparse.save_npz`: (keypoints, vertices).
        vertices: How many the body has.
        skeleton: Its name; None tells by the number of keypoints (25 is taken for body25, not body25b).

    Raises:
        MissingFile, BadFile, ModelError, UnknownName: In one sentence, with both shapes where they differ.
    """
    if not path.is_file():
        raise MissingFile(path, what="Keypoint regressor")
    if path.suffix == ".npz":
        value = _only_array(path)
    elif path.suffix == ".npy":
        try:
            value = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise BadFile(path, f"is not a readable npy ({error}).") from error
    else:
        raise BadFile(path, "a keypoint regressor is a .npy or .npz file.")
    rows = _numbers(path, "the regressor", value, 2).astype(float)
    if rows.shape[1] != vertices:
        raise BadFile(
            path, f"the regressor is {rows.shape}, but the body has {vertices} vertices: (K, {vertices}) is right."
        )
    if skeleton is None:
        if rows.shape[0] not in _BY_SIZE:
            known = ", ".join(f"{k} ({name})" for k, name in _BY_SIZE.items())
            raise ModelError(
                f"{path}: {rows.shape[0]} keypoints belong to no skeleton known by their number ({known}); say which "
                f'with "skeleton", one of {", ".join(skeletons.SKELETONS)}.'
            )
        skeleton = _BY_SIZE[rows.shape[0]]
    expected = len(skeletons.get(skeleton))
    if rows.shape[0] != expected:
        raise BadFile(path, f"the regressor gives {rows.shape[0]} keypoints, but {skeleton} has {expected}.")
    sums = rows.sum(1)
    if np.abs(sums - 1).max() > 0.02:
        worst = int(np.abs(sums - 1).argmax())
        raise BadFile(
            path, f"row {worst} of the regressor sums to {sums[worst]:.3f}; a keypoint's weights must sum to 1."
        )
    return skeleton, csr_array(rows / sums[:, None])


def _other_side(name: str) -> str:
    swap = {"left": "right", "right": "left"}
    return "_".join(swap.get(word, word) for word in name.split("_"))


def _smpl_regressors(body: BodyModel) -> dict[str, csr_array]:
    """Keypoints of SMPL's own mesh: its joints for the limbs, known vertices for face, fingers and feet.

    J_regressor was made for the rest mesh and is used on the POSED mesh here, as the field's keypoint regressors are
    (EasyMocap's J_regressor_body25 does so too): a joint found so is millimetres from the one the limb turns about.
    mediapipe33 has mediapipe's systematic offsets, as they were learned on the included body.
    """
    J = body.J_regressor.toarray()
    rows: dict[str, np.ndarray] = {name: np.eye(1, SMPL_VERTICES, v)[0] for name, v in SMPL_VERTEX.items()}
    for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"):
        for side in ("left", "right"):
            rows[f"{side}_{name}"] = J[SMPL_JOINTS.index(f"{side}_{name}")]
    rows["upper_neck"] = J[SMPL_JOINTS.index("head")]
    rows["neck"] = 0.5 * (rows["left_shoulder"] + rows["right_shoulder"])
    rows["mid_hip"] = 0.5 * (rows["left_hip"] + rows["right_hip"])
    rows |= {f"{side}_foot_index": rows[f"{side}_big_toe"] for side in ("left", "right")}
    for name, parts in SMPL_COMBINED.items():
        rows[name] = np.einsum("p,pv->v", list(parts.values()), [rows[part] for part in parts])
        mirrored = [rows[_other_side(part)] for part in parts]
        rows[_other_side(name)] = np.einsum("p,pv->v", list(parts.values()), mirrored)
    out = {
        name: csr_array(np.stack([rows[j] for j in skeletons.get(name).joints]))
        for name in ("body25", "body25b", "coco17", "lsp14", "mediapipe33")
    }
    with np.load(EMBEDDED, allow_pickle=False) as archive:
        offsets = parse_offsets(str(archive["mediapipe_offsets"]), str(EMBEDDED))
    betas = np.random.default_rng(0).normal(0, 1, (40, body.n_betas))
    people = body.v_template + np.einsum("vcb,nb->nvc", body.shapedirs, betas)
    out["mediapipe33"] = with_offsets(
        out["mediapipe33"], offsets, people.astype(float), body.weights.astype(float), body.posedirs, body.joint_names
    )
    return out


def _user_body(path: Path, gender: str, n_betas: int) -> BodyModel:
    data = _read_model(path)
    missing = [key for key in MODEL_KEYS if key not in data]
    if missing:
        raise BadFile(path, f"has no {', '.join(missing)}; a model in SMPL's format has {', '.join(MODEL_KEYS)}.")
    v_template = _numbers(path, "v_template", data["v_template"], 2)
    shapedirs = _numbers(path, "shapedirs", data["shapedirs"], 3)[..., :n_betas]
    posedirs = _numbers(path, "posedirs", data["posedirs"], 3)
    weights = _numbers(path, "weights", data["weights"], 2)
    J_dense = _numbers(path, "J_regressor", data["J_regressor"], 2)
    faces = _numbers(path, "f", data["f"], 2).astype(np.int64)
    parents = _parents(path, _numbers(path, "kintree_table", data["kintree_table"], 2))
    vertices, joints = len(v_template), len(parents)
    expected = {
        "v_template": (v_template, (vertices, 3)),
        "shapedirs": (shapedirs, (vertices, 3, shapedirs.shape[-1])),
        "posedirs": (posedirs, (vertices, 3, 9 * (joints - 1))),
        "weights": (weights, (vertices, joints)),
        "J_regressor": (J_dense, (joints, vertices)),
        "f": (faces, (len(faces), 3)),
    }
    for key, (array, shape) in expected.items():
        if array.shape != shape:
            raise BadFile(
                path, f"{key} is {array.shape}; for {vertices} vertices and {joints} joints it must be {shape}."
            )
    if faces.min() < 0 or faces.max() >= len(v_template):
        raise BadFile(path, f"f names vertices outside the {len(v_template)} there are.")
    v_template, shapedirs, posedirs, weights = (
        np.ascontiguousarray(a, dtype=np.float32) for a in (v_template, shapedirs, posedirs, weights)
    )
    J_regressor = csr_array(J_dense.astype(float))
    body = BodyModel(
        name=path.stem,
        gender=_file_gender(path, gender),
        content_hash=content_hash(v_template, shapedirs, posedirs, weights, J_regressor, parents, faces),
        v_template=v_template,
        shapedirs=shapedirs,
        posedirs=posedirs,
        weights=weights,
        J_regressor=J_regressor,
        parents=parents,
        faces=faces,
        joint_names=JOINT_NAMES.get(joints, tuple(f"joint_{k}" for k in range(joints))),
        regressors={},
    )
    if len(v_template) == SMPL_VERTICES and joints in (24, 52):
        return dataclasses.replace(body, regressors=_smpl_regressors(body))
    return body


def load_body(
    model: str | Path = "embedded",
    *,
    gender: str = "neutral",
    regressor: str | Path | None = None,
    skeleton: str | None = None,
    n_betas: int = 10,
) -> BodyModel:
    """A body in SMPL's format, with its keypoint regressors.

    Args:
        model: "embedded", the body that is included; a `.pkl` or `.npz` in SMPL's format (SMPL, SMPL-H, SMPL-X, MANO),
            from which arrays are taken and no code is run; or a folder of them named by gender (SMPL_FEMALE.pkl).
        gender: "neutral", "female" or "male". A file whose name says its gender has that one.
        regressor: The user's keypoint regressor over the posed mesh, `.npy` or `.npz`, (keypoints, vertices); it comes
            before the body's own of that skeleton.
        skeleton: Which keypoints the regressor gives; None tells by their number (25 body25, 17 coco17, 33 mediapipe33,
            14 lsp14).
        n_betas: How many shape coefficients of the user's file are kept, at most.

    Raises:
        MissingFile, BadFile, UnsafeFile, ModelError, UnknownName: In one sentence, with the file.
    """
    if gender not in GENDERS:
        raise UnknownName("gender", gender, GENDERS)
    if skeleton is not None:
        skeletons.get(skeleton)
    body = _embedded(gender) if str(model) == "embedded" else _user_body(_model_path(model, gender), gender, n_betas)
    if regressor is None:
        return body
    name, rows = read_regressor(Path(regressor).expanduser(), len(body.v_template), skeleton)
    return dataclasses.replace(body, regressors={**body.regressors, name: rows})
