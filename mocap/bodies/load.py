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
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse import csr_array

from mocap import skeletons
from mocap.bodies.known_meshes import known_regressors
from mocap.bodies.model import MANO_JOINTS, SMPL_JOINTS, BodyModel, PoseSpace
from mocap.bodies.ranges import side_of
from mocap.bodies.regressors import parse_offsets
from mocap.bodies.unpickle import load_pickle
from mocap.errors import BadFile, MissingFile, ModelError, UnknownName

GENDERS = ("neutral", "female", "male")
EMBEDDED = Path(__file__).parent / "data" / "embedded.npz"
EMBEDDED_HANDS = EMBEDDED.with_name("hands.npz")
INCLUDED = ("embedded", "embedded_hands", "embedded_left_hand", "embedded_right_hand")
"""Names of the bodies that ship with the package."""
MODEL_KEYS = ("v_template", "shapedirs", "posedirs", "weights", "J_regressor", "kintree_table", "f")
POSE_KEYS = tuple(f"hands_{what}{side}" for what in ("mean", "components", "coeffs") for side in ("", "l", "r"))
OPTIONAL_KEYS = (*POSE_KEYS, "expressiondirs")
"""What only MANO, SMPL-H and SMPL-X have."""
EXPRESSIONS = 10
"""How many facial expressions of SMPL-X are kept, as in its users' programs."""
FREE_HAND = 0.4
"""Standard deviation of a hand's pose along each component where the file is silent about it [rad]: fingers bend by
about so much in everyday use, with no direction preferred."""

_HANDS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in MANO_JOINTS[1:])
JOINT_NAMES = {
    24: SMPL_JOINTS,
    52: (*SMPL_JOINTS[:22], *_HANDS),  # SMPL-H
    55: (*SMPL_JOINTS[:22], "jaw", "left_eye_smplhf", "right_eye_smplhf", *_HANDS),  # SMPL-X
    16: MANO_JOINTS,
}
"""By how many joints there are; MANO's are named with their side: see :func:`hand_joints`."""
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


def _stored_hash(known: np.ndarray | None, *numbers: Any) -> str:
    """The hash a file of ours has of a body; taken of its numbers while the file is being built."""
    return content_hash(*numbers) if known is None else str(known)


def embedded_arrays(path: Path = EMBEDDED) -> dict[str, np.ndarray]:
    """The stored arrays of the body that `tools/build_body.py` made, or of the hands of `tools/build_hands.py`."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _dense_weights(arrays: Mapping[str, np.ndarray], joints: int) -> Float[np.ndarray, "vertices joints"]:
    index, value = arrays["weights_index"], arrays["weights_value"].astype(np.float32)
    weights = np.zeros((len(index), joints), np.float32)
    np.put_along_axis(weights, index.astype(np.int64), value, 1)
    return weights / weights.sum(1, keepdims=True)


def unpack_embedded(arrays: Mapping[str, np.ndarray], gender: str, name: str = "embedded") -> BodyModel:
    """One gender of the stored body."""
    v_template = arrays[f"v_template_{gender}"].astype(np.float32)
    vertices = len(v_template)
    parents = arrays["parents"].astype(np.int64)
    weights = _dense_weights(arrays, len(parents))
    shapedirs = arrays[f"shapedirs_{gender}"] * np.float32(arrays["shapedirs_step"])
    posedirs = unpack_posedirs(arrays)
    J_regressor = unpack_rows("J_regressor", arrays, vertices)
    faces = arrays["faces"].astype(np.int64)
    known = arrays.get(f"hash_{gender}")
    return BodyModel(
        name=name,
        gender=gender,
        content_hash=_stored_hash(known, v_template, shapedirs, posedirs, weights, J_regressor, parents, faces),
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


def hand_joints(side: str) -> tuple[str, ...]:
    """MANO's joints, named with their side."""
    return tuple(f"{side}_{joint}" for joint in MANO_JOINTS)


def unpack_hand(arrays: Mapping[str, np.ndarray], side: str) -> BodyModel:
    """One of the stored hands, in MANO's format; the left one is the stored one in the mirror."""
    mirror = np.array([1 if side == "right" else -1, 1, 1], np.float32)
    v_template = arrays["v_template"].astype(np.float32) * mirror
    vertices, parents = len(v_template), arrays["parents"].astype(np.int64)
    weights = _dense_weights(arrays, len(parents) + 1)  # over the elbow too: a hand alone has none, its wrist leads
    weights[:, 0] += weights[:, -1]
    weights = np.ascontiguousarray(weights[:, :-1])
    shapedirs = arrays["shapedirs"] * np.float32(arrays["shapedirs_step"]) * mirror[:, None]
    # a finger's bone leads its skin alone but about its joints: no blend shapes (see tools/build_hands.py)
    posedirs = np.zeros((vertices, 3, 9 * (len(parents) - 1)), np.float32)
    J_regressor = unpack_rows("J_regressor", arrays, vertices)
    faces = arrays["faces"].astype(np.int64)[:, :: 1 if side == "right" else -1]
    known = arrays.get(f"hash_{side}")
    return BodyModel(
        name=f"embedded_{side}_hand",
        gender="neutral",
        content_hash=_stored_hash(known, v_template, shapedirs, posedirs, weights, J_regressor, parents, faces),
        v_template=v_template,
        shapedirs=shapedirs,
        posedirs=posedirs,
        weights=weights,
        J_regressor=J_regressor,
        parents=parents,
        faces=np.ascontiguousarray(faces),
        joint_names=hand_joints(side),
        regressors={f"{side}_hand21": unpack_rows("keypoints.hand21", arrays, vertices)},
        colours=arrays["colours"].astype(np.float32) / 255,
    )


def _placed(rows: csr_array, where: Int[np.ndarray, " hand"], vertices: int) -> csr_array:
    """Rows over a hand's vertices as rows over those of the body that it is a part of."""
    return csr_array((rows.data, where[rows.indices], rows.indptr), shape=(len(rows.indptr) - 1, vertices))


OF_THE_HAND = ("wrist", "index", "pinky", "thumb")
"""Points of mediapipe33 that sit in the hand; other sets have the wrist."""


def _with_finger_points(
    body: BodyModel, arrays: Mapping[str, np.ndarray], hands: Mapping[str, np.ndarray]
) -> dict[str, csr_array]:
    """The body's keypoints where its fingers move: those of the hand anew, and the hands' own 21."""
    vertices = len(body.v_template)
    points, of_hand, frame = (
        unpack_rows(key, hands, len(hands["vertices"]))
        for key in ("keypoints.hand21", "keypoints.of_the_hand", "frame.wrist")
    )
    offsets = parse_offsets(str(arrays["mediapipe_offsets"]), str(EMBEDDED))
    plain, seen, by_hand = {}, {}, {}
    for k, side in enumerate(("left", "right")):
        where = hands["vertices"][:, k].astype(np.int64)
        by_hand[f"{side}_hand21"] = _placed(points, where, vertices)
        plain[f"{side}_wrist"] = _placed(of_hand, where, vertices)[[0]]
        # the mirror turns the wrist's x axis round
        axes = csr_array(frame * np.array([[1.0 if side == "right" else -1.0], [1], [1]]))
        moved = csr_array(np.array([offsets[f"{side}_{name}"].offset for name in OF_THE_HAND]))
        rows = _placed(csr_array(of_hand + moved @ axes), where, vertices)
        seen |= {f"{side}_{name}": rows[[i]] for i, name in enumerate(OF_THE_HAND)}
    out = {}
    for name, rows in body.regressors.items():
        new = seen if name == "mediapipe33" else plain
        joints = skeletons.get(name).joints
        out[name] = csr_array(sparse.vstack([new.get(joint, rows[[k]]) for k, joint in enumerate(joints)]))
    out |= by_hand
    out["mediapipe75"] = csr_array(sparse.vstack([out[n] for n in ("mediapipe33", "left_hand21", "right_hand21")]))
    return out


def weights_with_hands(
    weights: Float[np.ndarray, "vertices 24"],
    own: Float[np.ndarray, "hand 17"],
    places: Int[np.ndarray, "hand 2"],
) -> Float[np.ndarray, "vertices 52"]:
    """SMPL's skin weights as SMPL-H's, with those of the hands where they lie in the mesh.

    Args:
        weights: The body's.
        own: A hand's, over MANO's joints and the elbow.
        places: Vertices of the left and of the right hand in the body.
    """
    names = JOINT_NAMES[52]
    out = np.zeros((len(weights), len(names)), weights.dtype)
    out[:, :22] = weights[:, :22]
    for side, where in zip(("left", "right"), places.T, strict=True):
        joints = [names.index(f"{side}_{name}") for name in (*MANO_JOINTS, "elbow")]
        out[where] = 0.0
        out[np.ix_(where, joints)] = own
    return out


def posedirs_with_hands(posedirs: Float[np.ndarray, "vertices 3 207"]) -> Float[np.ndarray, "vertices 3 459"]:
    """SMPL's pose blend shapes as SMPL-H's: nothing of the fingers."""
    # SMPL's last two joints, the whole hands, are not turned where the blend shapes were learned: theirs are zero
    return np.pad(posedirs[..., : 9 * 21], ((0, 0), (0, 0), (0, 9 * 30)))


def unpack_with_hands(arrays: Mapping[str, np.ndarray], hands: Mapping[str, np.ndarray], gender: str) -> BodyModel:
    """One gender of the stored body with joints in its fingers: 52, in SMPL-H's order.

    Mesh, betas, and the joints and blend shapes of the body are the stored body's own.
    """
    body = unpack_embedded(arrays, gender)
    vertices, names = len(body.v_template), JOINT_NAMES[52]
    own = _dense_weights(hands, len(hands["parents"]) + 1)
    J_hand = unpack_rows("J_regressor", hands, len(own))
    places = hands["vertices"].astype(np.int64)
    weights, posedirs = weights_with_hands(body.weights, own, places), posedirs_with_hands(body.posedirs)
    parents = np.concatenate([body.parents[:22], np.zeros(30, np.int64)])
    rows = [body.J_regressor[:22]]
    for side, where in zip(("left", "right"), places.T, strict=True):
        joints = np.array([names.index(f"{side}_{name}") for name in MANO_JOINTS])
        parents[joints[1:]] = joints[hands["parents"][1:]]
        rows.append(_placed(csr_array(J_hand[1:]), where, vertices))
    J_regressor = csr_array(sparse.vstack(rows))
    known = hands.get(f"hash_{gender}")
    return dataclasses.replace(
        body,
        name="embedded_hands",
        content_hash=_stored_hash(
            known, body.v_template, body.shapedirs, posedirs, weights, J_regressor, parents, body.faces
        ),
        posedirs=posedirs,
        weights=weights,
        J_regressor=J_regressor,
        parents=parents,
        joint_names=names,
        regressors=_with_finger_points(body, arrays, hands),
    )


@lru_cache(maxsize=4)
def _embedded(name: str, gender: str) -> BodyModel:
    if name == "embedded":
        return unpack_embedded(embedded_arrays(), gender)
    hands = embedded_arrays(EMBEDDED_HANDS)
    if name == "embedded_hands":
        return unpack_with_hands(embedded_arrays(), hands, gender)
    return unpack_hand(hands, "left" if "left" in name else "right")


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
        return _read_npz(path, (*MODEL_KEYS, *OPTIONAL_KEYS))
    if path.suffix != ".pkl":
        raise BadFile(path, "a body model is a .pkl or .npz file in SMPL's format.")
    loaded = load_pickle(path.read_bytes(), path, keys=(*MODEL_KEYS, *OPTIONAL_KEYS))
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


def _words(path: Path) -> list[str]:
    """Of a file's name: smpl, neutral."""
    return path.stem.lower().replace("-", "_").split("_")


def _file_gender(path: Path, gender: str) -> str:
    """What the file's name says of its gender, for that is a fact of the file; else what was asked for."""
    words = _words(path)
    for known, short in (("neutral", "n"), ("female", "f"), ("male", "m")):
        if known in words or short in words:
            return known
    return gender


def _file_side(path: Path) -> str | None:
    """The side of a hand that a file's name says: MANO_LEFT."""
    return next((side for side in skeletons.HANDS if side in _words(path)), None)


def _models(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix in (".pkl", ".npz"))


def sides_in(model: str | Path) -> tuple[str, ...]:
    """The hands a folder has models of by name; none for anything else."""
    path = Path(model).expanduser()
    if str(model) in INCLUDED or not path.is_dir():
        return ()
    return tuple(sorted({side for p in _models(path) if (side := _file_side(p)) is not None}))


def _model_path(model: str | Path, gender: str, side: str | None) -> Path:
    """The model file; in a folder, the one named like the hand (MANO_LEFT.pkl) or the gender (SMPL_NEUTRAL.pkl)."""
    path = Path(model).expanduser()
    if not path.is_dir():
        if not path.is_file():
            remedy = (
                'Give a .pkl or .npz in SMPL\'s format, a folder of them, or "embedded" for the one that is included.'
            )
            raise MissingFile(path, what="Body model", remedy=remedy)
        return path
    files = _models(path)
    fitting = [p for p in files if (_file_gender(p, "") == gender if side is None else _file_side(p) == side)]
    if len(fitting) != 1:
        found = ", ".join(p.name for p in files) or "no .pkl or .npz file"
        why = "no" if not fitting else "more than one"
        what = f"{gender} model" if side is None else f"model of a {side} hand (MANO_{side.upper()}.pkl)"
        raise ModelError(f"Body model folder {path} holds {why} {what} (found {found}); give the file itself.")
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


def _pose_spaces(path: Path, data: Mapping[str, Any], joint_names: tuple[str, ...]) -> tuple[PoseSpace, ...]:
    """How the hands' poses are distributed, where the file says so."""
    out = []
    for side in ("left", "right"):
        ending = "" if len(joint_names) == len(MANO_JOINTS) else side[0]
        names = hand_joints(side)[1:]
        d = 3 * len(names)
        mean, components, coeffs = (f"hands_{what}{ending}" for what in ("mean", "components", "coeffs"))
        if not set(names) <= set(joint_names) or mean not in data or components not in data:
            continue
        centre = _numbers(path, mean, np.ravel(data[mean]), 1).astype(float)
        rows = _numbers(path, components, data[components], 2).astype(float)
        if centre.shape != (d,) or rows.shape[1] != d or len(rows) > d:
            raise BadFile(
                path, f"{mean} is {centre.shape} and {components} {rows.shape}; (45,) and (45, 45) are right."
            )
        deviation = np.full(len(rows), FREE_HAND)
        if coeffs in data:
            seen = _numbers(path, coeffs, data[coeffs], 2).astype(float)
            if seen.shape[1] < len(rows) or len(seen) < 2:
                raise BadFile(path, f"{coeffs} is {seen.shape}; a row a pose with {len(rows)} columns is right.")
            deviation = seen[:, : len(rows)].std(0)
        if not np.allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-3):
            # orthonormal in MANO's files; whatever they are, the same distribution by rows that are
            _, deviation, rows = np.linalg.svd(deviation[:, None] * rows, full_matrices=False)
        out.append(PoseSpace(names, centre, rows, deviation))
    return tuple(out)


def _expressions(shapedirs: np.ndarray, joints: int) -> tuple[np.ndarray, np.ndarray | None]:
    """SMPL-X's shape and expression directions, which lie in one array: 10 and 10 columns, or 300 and 100."""
    shapes = 300 if shapedirs.shape[-1] >= 400 else 10
    if joints != 55 or shapedirs.shape[-1] <= shapes:
        return shapedirs, None
    return shapedirs[..., :shapes], shapedirs[..., shapes : shapes + EXPRESSIONS]


def _user_body(path: Path, gender: str, n_betas: int) -> BodyModel:
    data = _read_model(path)
    missing = [key for key in MODEL_KEYS if key not in data]
    if missing:
        raise BadFile(path, f"has no {', '.join(missing)}; a model in SMPL's format has {', '.join(MODEL_KEYS)}.")
    v_template = _numbers(path, "v_template", data["v_template"], 2)
    shapedirs = _numbers(path, "shapedirs", data["shapedirs"], 3)
    posedirs = _numbers(path, "posedirs", data["posedirs"], 3)
    weights = _numbers(path, "weights", data["weights"], 2)
    J_dense = _numbers(path, "J_regressor", data["J_regressor"], 2)
    faces = _numbers(path, "f", data["f"], 2).astype(np.int64)
    parents = _parents(path, _numbers(path, "kintree_table", data["kintree_table"], 2))
    vertices, joints = len(v_template), len(parents)
    expressiondirs = None
    if "expressiondirs" in data:
        expressiondirs = _numbers(path, "expressiondirs", data["expressiondirs"], 3)[..., :EXPRESSIONS]
    else:
        shapedirs, expressiondirs = _expressions(shapedirs, joints)
    shapedirs = shapedirs[..., :n_betas]
    expected = {
        "v_template": (v_template, (vertices, 3)),
        "shapedirs": (shapedirs, (vertices, 3, shapedirs.shape[-1])),
        "posedirs": (posedirs, (vertices, 3, 9 * (joints - 1))),
        "weights": (weights, (vertices, joints)),
        "J_regressor": (J_dense, (joints, vertices)),
        "f": (faces, (len(faces), 3)),
    }
    if expressiondirs is not None:
        expected["expressiondirs"] = (expressiondirs, (vertices, 3, expressiondirs.shape[-1]))
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
    names = JOINT_NAMES.get(joints, tuple(f"joint_{k}" for k in range(joints)))
    if joints == len(MANO_JOINTS):
        J = J_regressor @ v_template
        names = hand_joints("right" if J[1:, 0].mean() < J[0, 0] else "left")  # x is to the subject's left
    body = BodyModel(
        name=path.stem,
        gender=_file_gender(path, "neutral" if joints == len(MANO_JOINTS) else gender),
        content_hash=content_hash(v_template, shapedirs, posedirs, weights, J_regressor, parents, faces),
        v_template=v_template,
        shapedirs=shapedirs,
        posedirs=posedirs,
        weights=weights,
        J_regressor=J_regressor,
        parents=parents,
        faces=faces,
        joint_names=names,
        regressors={},
        pose_spaces=_pose_spaces(path, data, names),
        expressiondirs=None if expressiondirs is None else np.ascontiguousarray(expressiondirs, dtype=np.float32),
    )
    with np.load(EMBEDDED, allow_pickle=False) as archive:
        offsets = parse_offsets(str(archive["mediapipe_offsets"]), str(EMBEDDED))
    return dataclasses.replace(body, regressors=known_regressors(body, offsets))


def load_body(
    model: str | Path = "embedded",
    *,
    gender: str = "neutral",
    regressor: str | Path | None = None,
    skeleton: str | None = None,
    n_betas: int = 10,
    side: str | None = None,
) -> BodyModel:
    """A body in SMPL's format, with its keypoint regressors.

    Args:
        model: "embedded", the body that is included, or "embedded_hands", the same with joints in its fingers (SMPL-H's
            52), or "embedded_left_hand", "embedded_right_hand", in MANO's format; a `.pkl` or `.npz` in SMPL's format
            (SMPL, SMPL-H, SMPL-X, MANO), from which arrays are taken and no code is run; or a folder of them named by
            gender (SMPL_FEMALE.pkl) or side (MANO_LEFT.pkl).
        gender: "neutral", "female" or "male". A file whose name says its gender has that one.
        regressor: The user's keypoint regressor over the posed mesh, `.npy` or `.npz`, (keypoints, vertices); it comes
            before the body's own of that skeleton.
        skeleton: Which keypoints the regressor gives; None tells by their number (25 body25, 17 coco17, 33 mediapipe33,
            14 lsp14).
        n_betas: How many shape coefficients of the user's file are kept, at most.
        side: "left" or "right" where a hand is wanted: chooses in a folder; another model is refused.

    Raises:
        MissingFile, BadFile, UnsafeFile, ModelError, UnknownName: In one sentence, with the file.
    """
    if gender not in GENDERS:
        raise UnknownName("gender", gender, GENDERS)
    if skeleton is not None:
        skeletons.get(skeleton)
    body = (
        _embedded(str(model), "neutral" if str(model).endswith("_hand") else gender)
        if str(model) in INCLUDED
        else _user_body(_model_path(model, gender, side), gender, n_betas)
    )
    if side is not None and body.joint_names != hand_joints(side):
        its = side_of(body.joint_names)
        what = "of no hand" if its is None else f"of a {its} hand"
        raise ModelError(
            f"{model} is a model {what}, but a {side} hand is to be fitted: give MANO_{side.upper()}.pkl, or a folder "
            'with MANO_LEFT.pkl and MANO_RIGHT.pkl, or "embedded" for the hands that are included.'
        )
    if regressor is None:
        return body
    name, rows = read_regressor(Path(regressor).expanduser(), len(body.v_template), skeleton)
    return dataclasses.replace(body, regressors={**body.regressors, name: rows})
