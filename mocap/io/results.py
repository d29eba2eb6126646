"""What a run writes: EasyMocap's JSON, `result.npz`, the AMASS layout and `report.json`.

Everything is in the take's world: metres, radians, z up. Motion follows EasyMocap: v = R(Rh) SMPL(poses, zero root) +
Th, rotation about the MODEL's origin; :func:`to_smpl_root` turns that into SMPL's own global_orient and transl.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mocap import skeletons
from mocap.bodies.kinematics import joints_of, keypoints_of
from mocap.bodies.model import SMPL_JOINTS, BodyModel
from mocap.errors import BadFile, DataError, MissingFile, ModelError, UnknownName
from mocap.geometry import rotations
from mocap.io.atomic import replacing, write_text
from mocap.take import Keypoints3D, Motion, Person, Take

REPORT = "report.json"
_CHUNK = 4096
"""Frames posed at a time: a take of an hour fits in memory."""
_JOINTS_WITH_ROOT = {16, 24, 52, 55}
"""Of MANO, SMPL, SMPL-H and SMPL-X."""
_OF_POSE_SPACE = {9: "MANO", 78: "SMPL-H", 87: "SMPL-X"}
"""Numbers of a pose whose fingers EasyMocap wrote as six coefficients a hand."""
_FINGER_JOINT = re.compile(r"((?:left|right)_)?(?:index|middle|pinky|ring|thumb)[123]")
_FACE_JOINTS = {"jaw": "jaw_pose", "left_eye_smplhf": "leye_pose", "right_eye_smplhf": "reye_pose"}
_FRAME_FILE = re.compile(r"\d{6,}\.(json|obj|ply)")
_FRAME_FOLDER = re.compile(r"keypoints3d|smpl|meshes|ply(_\d+)?")
_PERSON_FILE = re.compile(r"(result|amass|smplify)(_\w+)?\.\w+")
"""Of one person, in any format: `result_1.glb`, `result_joints.csv`."""
_PICTURE_FILE = re.compile(r"smplify/[\w.-]+\.(npz|json)|meshes/[\w.-]+\.obj")
"""Of a take of pictures: one a picture, by its name."""


# ---------------------------------------------------------------------------------------------------------------------
# SMPL's own parameters


def pose_parts(
    joint_names: Sequence[str], poses: Float[np.ndarray, "frames posed_joints 3"]
) -> dict[str, Float[np.ndarray, "frames _"]]:
    """A pose as layers of SMPL, SMPL-H, SMPL-X and MANO take it (smplx's `body_pose` and so on) [rad].

    `body_pose` (69 numbers a frame of SMPL, 63 of the others), `left_hand_pose` and `right_hand_pose` (45 each),
    `jaw_pose`, `leye_pose` and `reye_pose` (3 each), as far as the body has such joints; of a hand by itself
    `hand_pose` (45). Fingers are whole rotation vectors from the rest pose: no principal components, and no mean that
    is added.

    Args:
        joint_names: The body's joints, the root first.
        poses: Local rotations of the joints after the root.
    """
    parts: dict[str, list[int]] = {}
    for i, name in enumerate(joint_names[1:]):
        finger = _FINGER_JOINT.fullmatch(name)
        part = f"{finger[1] or ''}hand_pose" if finger else _FACE_JOINTS.get(name, "body_pose")
        parts.setdefault(part, []).append(i)
    if len(parts) == 1:  # a hand, whichever it is, is MANO's
        parts = {part if part == "body_pose" else "hand_pose": places for part, places in parts.items()}
    return {part: poses[:, places].reshape(len(poses), -1) for part, places in parts.items()}


def to_smpl_root(
    Rh: Float[np.ndarray, "*frames 3"], Th: Float[np.ndarray, "*frames 3"], J0: Float[np.ndarray, " 3"]
) -> tuple[Float[np.ndarray, "*frames 3"], Float[np.ndarray, "*frames 3"]]:
    """EasyMocap's Rh [rad], Th [m] as SMPL's global_orient [rad], transl [m].

    SMPL turns about its root joint: v = R (x - J0) + J0 + transl, so transl = Th + R(Rh) J0 - J0.

    Args:
        Rh: Rotation about the model's origin.
        Th: Translation.
        J0: The root joint of the shaped model in its rest pose [m] (see :func:`rest_root`).
    """
    return Rh, Th + rotations.exp(Rh) @ J0 - J0


def from_smpl_root(
    global_orient: Float[np.ndarray, "*frames 3"], transl: Float[np.ndarray, "*frames 3"], J0: Float[np.ndarray, " 3"]
) -> tuple[Float[np.ndarray, "*frames 3"], Float[np.ndarray, "*frames 3"]]:
    """The inverse of :func:`to_smpl_root`: Rh [rad], Th [m]."""
    return global_orient, transl - rotations.exp(global_orient) @ J0 + J0


def rest_root(body: BodyModel, betas: Float[np.ndarray, " betas"]) -> Float[np.ndarray, " 3"]:
    """Where the root joint of the shaped body is in its rest pose [m]."""
    return np.asarray(body.J_regressor[[0]] @ body.rest(betas).astype(float))[0]


# ---------------------------------------------------------------------------------------------------------------------
# EasyMocap


@contextmanager
def frame_folder(folder: Path) -> Iterator[Path]:
    """A folder to write frames' files into; takes the place of `folder`, and of its frames of earlier runs, at the end.

    Whatever else lies in `folder` is kept (in the folder it points to, where it is a link). When anything fails or is
    interrupted, `folder` is as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    new, old = aside / "new", aside / "old"
    try:
        new.mkdir()
        yield new
        if folder.is_dir():
            folder.rename(old)
        new.rename(folder)
        _move_others(old, folder)
    except BaseException:
        if os.path.lexists(old):
            if folder.is_dir():  # the new one: its frames go, what was moved into it goes back
                _move_others(folder, old)
                folder.rename(new)
            old.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _move_others(source: Path, target: Path) -> None:
    """Moves what is no frame's file; nothing where `source` is a link or not there."""
    if source.is_dir() and not source.is_symlink():
        for entry in list(source.iterdir()):
            if not _FRAME_FILE.fullmatch(entry.name):
                entry.rename(target / entry.name)


def remove_left_over(output: Path, names: Iterable[str]) -> None:
    """Removes results of an earlier run from `output`: of a folder its frames' files, and itself when that was all.

    A name that this module's writers do not give is passed over, so that a list in a file cannot point elsewhere.
    """
    for name in names:
        path = output / name
        if _FRAME_FOLDER.fullmatch(name) and path.is_dir() and not path.is_symlink():
            for entry in list(path.iterdir()):
                if _FRAME_FILE.fullmatch(entry.name):
                    entry.unlink()
            with suppress(OSError):  # somebody else's files are in it
                path.rmdir()
        elif (_FRAME_FOLDER.fullmatch(name) or _PERSON_FILE.fullmatch(name)) and (path.is_file() or path.is_symlink()):
            path.unlink()
        elif _PICTURE_FILE.fullmatch(name) and path.is_file() and not path.parent.is_symlink():
            path.unlink()
            with suppress(OSError):  # it is not the last one
                path.parent.rmdir()


def write_easymocap(folder: Path, frames: Int[np.ndarray, " frames"], people: Sequence[Person]) -> list[Path]:
    """`keypoints3d/%06d.json` and, for people with a motion, `smpl/%06d.json`; gives the folders written.

    `keypoints3d` is left out where people have a motion and nobody has 3D keypoints, as from a single camera.

    One file a frame, called by the frame's number, with one entry a person: `id`, its place among `people`;
    `keypoints3d` 25 x (x, y, z, confidence) in BODY_25's order, zeros where missing (points the detector's set lacks,
    such as mediapipe's small toes, are missing throughout); `Rh` (1, 3), `Th` (1, 3), `poses` (1, 3 joints) with the
    root's three zeros first, `shapes` (1, betas). Micrometres and microradians are kept.

    A body with its hands has 67 points, EasyMocap's `bodyhand`: after BODY_25's the left hand's 21 and the right one's.
    A hand by itself has 21, its `handl` or `handr`; which of them is said by a further key, `skeleton`.
    """
    points = []
    for i, person in enumerate(people):
        if person.keypoints3d is None:
            continue
        k = person.keypoints3d
        kept = _easymocap_set(k.skeleton)
        xyz, confidence = skeletons.convert(k.xyz, k.confidence, k.skeleton, kept)
        values = np.nan_to_num(np.concatenate([xyz, confidence[..., None]], axis=-1)).round(6)
        points.append((i, values, {"skeleton": kept.name} if kept in skeletons.HANDS.values() else {}))
    moving = [(i, p.motion, p.shape) for i, p in enumerate(people) if p.motion is not None and p.shape is not None]
    folder = Path(folder)
    written = []
    if points or not moving:
        written.append(folder / "keypoints3d")
        with frame_folder(written[0]) as new:
            for row, number in enumerate(frames.tolist()):
                entries = [{"id": i, "keypoints3d": values[row].tolist(), **told} for i, values, told in points]
                (new / f"{number:06d}.json").write_text(json.dumps(entries))
    if moving:
        written.append(folder / "smpl")
        arrays = [
            (
                i,
                m.Rh.round(6),
                m.Th.round(6),
                np.pad(m.poses.reshape(len(m.Rh), -1), ((0, 0), (3, 0))).round(6),
                shape.round(6).tolist(),
            )
            for i, m, shape in moving
        ]
        with frame_folder(written[-1]) as new:
            for row, number in enumerate(frames.tolist()):
                entries = [
                    {
                        "id": i,
                        "Rh": Rh[row : row + 1].tolist(),
                        "Th": Th[row : row + 1].tolist(),
                        "poses": poses[row : row + 1].tolist(),
                        "shapes": [shape],
                    }
                    for i, Rh, Th, poses, shape in arrays
                ]
                (new / f"{number:06d}.json").write_text(json.dumps(entries))
    return written


def _easymocap_set(skeleton: skeletons.Skeleton) -> skeletons.Skeleton:
    """Which of EasyMocap's sets of points a person's are written as."""
    if skeleton in skeletons.HANDS.values():
        return skeleton
    return skeletons.BODYHAND67 if skeleton.has(*skeletons.HANDS42.joints) else skeletons.BODY25


def read_easymocap_motion(
    folder: Path,
) -> dict[int, tuple[Int[np.ndarray, " frames"], Motion, Float[np.ndarray, " betas"]]]:
    """Frame numbers, motion and betas by person's id, of a folder `smpl/` of :func:`write_easymocap` or EasyMocap.

    `poses` may have the root's zeros in front (72 numbers of SMPL, 156 of SMPL-H, 48 of MANO) or not (69, 153, 45). The
    betas are the mean over the frames.

    Raises:
        MissingFile: No `%06d.json` in the folder.
        BadFile: A file that is not of that layout, whose root's part of `poses` is not zero, or whose fingers are
            coefficients of a pose space.
    """
    folder = Path(folder)
    files = sorted((p for p in folder.glob("*.json") if p.stem.isdecimal()), key=lambda p: int(p.stem))
    if not files:
        raise MissingFile(folder, what="SMPL parameters (%06d.json)")
    rows: dict[int, list[tuple[int, np.ndarray]]] = {}
    betas: dict[int, list[np.ndarray]] = {}
    for file in files:
        for i, values, shapes in _motion_of_frame(file):
            rows.setdefault(i, []).append((int(file.stem), values))
            betas.setdefault(i, []).append(shapes)
    found = {}
    for i, row in rows.items():
        if len({values.size for _, values in row}) > 1 or len({values.size for values in betas[i]}) > 1:
            raise BadFile(folder, f"person {i} has poses or shapes of different lengths in different frames.")
        values = np.stack([values for _, values in row])
        motion = Motion(values[:, :3], values[:, 3:6], values[:, 6:].reshape(len(values), -1, 3))
        found[i] = (np.array([number for number, _ in row]), motion, np.mean(betas[i], axis=0))
    return found


def _motion_of_frame(file: Path) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Of each person in one file: id; Rh, Th and the poses after the root in one row; betas."""
    found = []
    try:
        for entry in json.loads(file.read_bytes()):
            Rh, Th, poses, shapes = (
                np.array(entry[key], dtype=float).reshape(-1) for key in ("Rh", "Th", "poses", "shapes")
            )
            if poses.size in _OF_POSE_SPACE:
                raise ValueError(
                    f"{poses.size} values of poses: fingers of {_OF_POSE_SPACE[poses.size]} as coefficients of its "
                    "pose space, which mean nothing without the model's file; write whole rotation vectors"
                )
            if poses.size % 3 or Rh.size != 3 or Th.size != 3:
                raise ValueError(f"{Rh.size} values of Rh, {Th.size} of Th, {poses.size} of poses")
            if poses.size // 3 in _JOINTS_WITH_ROOT:
                if poses[:3].any():
                    raise ValueError("the first three values of poses, the root's, must be zero beside an Rh")
                poses = poses[3:]
            found.append((int(entry["id"]), np.concatenate([Rh, Th, poses]), shapes))
    except (KeyError, TypeError, ValueError) as error:  # json's error is a ValueError
        raise BadFile(file, f"not SMPL parameters as EasyMocap writes them ({error}).") from error
    return found


# ---------------------------------------------------------------------------------------------------------------------
# result.npz


@dataclass(frozen=True)
class Result:
    """One person of a take, as `result.npz` holds it: its fields are the file's keys; those that are None are absent.

    Texts are NumPy's fixed-width text arrays: nothing in the file is pickled.
    """

    frames: Int[np.ndarray, " frames"]
    """Numbers of the frames in the footage."""
    timestamps: Float[np.ndarray, " frames"]
    """When they were seen [s]."""
    fps: float
    """Median frame rate [1/s]."""
    skeleton: str
    """Name of the keypoint set of `keypoints3d` and `keypoints3d_fit`."""
    keypoint_names: tuple[str, ...]
    keypoints3d: Float[np.ndarray, "frames keypoints 3"] | None = None
    """Triangulated [m]; NaN where missing. A body fitted to one camera's 2D points has none."""
    keypoints3d_confidence: Float[np.ndarray, "frames keypoints"] | None = None
    """In [0, 1], 0 where missing."""
    keypoints3d_covariance: Float[np.ndarray, "frames keypoints 3 3"] | None = None
    """[m^2], float32; NaN where missing."""
    keypoints3d_fit: Float[np.ndarray, "frames keypoints 3"] | None = None
    """The same points of the fitted body [m]."""
    joints: Float[np.ndarray, "frames joints 3"] | None = None
    """The fitted body's joints [m], the root first."""
    joint_names: tuple[str, ...] | None = None
    joint_sigma: Float[np.ndarray, "frames joints 3"] | None = None
    """Standard deviation of `joints` in each axis [m], as far as the losses are right."""
    Rh: Float[np.ndarray, "frames 3"] | None = None
    """Rotation about the model's origin [rad]."""
    Th: Float[np.ndarray, "frames 3"] | None = None
    """[m]"""
    poses: Float[np.ndarray, "frames posed_joints 3"] | None = None
    """Local rotations of the joints after the root [rad]: 23 for SMPL."""
    shapes: Float[np.ndarray, " betas"] | None = None
    """Betas; they belong to `body` alone."""
    body: str | None = None
    """Name of the body model."""
    body_hash: str | None = None
    """Its content hash."""
    gender: str | None = None
    global_orient: Float[np.ndarray, "frames 3"] | None = None
    """The same motion as SMPL's own layers take it (:func:`to_smpl_root`, :func:`pose_parts`): the root's rotation
    [rad], about its joint."""
    transl: Float[np.ndarray, "frames 3"] | None = None
    """[m]"""
    body_pose: Float[np.ndarray, "frames _"] | None = None
    """Rotation vectors [rad] in one row: 69 numbers of SMPL, 63 of SMPL-H and SMPL-X."""
    left_hand_pose: Float[np.ndarray, "frames _"] | None = None
    """45 numbers [rad]: whole rotation vectors from the rest pose, no principal components; of SMPL-H and SMPL-X."""
    right_hand_pose: Float[np.ndarray, "frames _"] | None = None
    hand_pose: Float[np.ndarray, "frames _"] | None = None
    """Of MANO: 45 numbers [rad]."""
    jaw_pose: Float[np.ndarray, "frames 3"] | None = None
    """Of SMPL-X [rad]."""
    leye_pose: Float[np.ndarray, "frames 3"] | None = None
    reye_pose: Float[np.ndarray, "frames 3"] | None = None
    expression: Float[np.ndarray, "frames expressions"] | None = None
    """Of SMPL-X: the face at rest, zeros."""

    @property
    def motion(self) -> Motion | None:
        """The motion, where a body was fitted."""
        if self.Rh is None or self.Th is None or self.poses is None:
            return None
        return Motion(self.Rh, self.Th, self.poses, self.joint_sigma)

    def check_body(self, body: BodyModel) -> None:
        """ModelError unless the betas belong to `body`: they mean nothing against another one."""
        check_body(body, name=self.body, gender=self.gender, body_hash=self.body_hash)


def check_body(body: BodyModel, *, name: str | None, gender: str | None, body_hash: str | None) -> None:
    """ModelError unless betas that are stored with this name, gender and content hash belong to `body`."""
    if body_hash != body.content_hash:
        raise ModelError(
            f'The betas belong to body "{name}" ({gender}, hash {body_hash}) and cannot be read against "{body.name}" '
            f"({body.gender}, hash {body.content_hash}); load that model."
        )


def result_of(take: Take, person: Person) -> tuple[Result, list[str]]:
    """What `result.npz` holds of one person, and sentences on what could not be had.

    Raises:
        DataError: The person has neither keypoints3d nor a fitted body.
    """
    k, body, shape, motion = person.keypoints3d, person.body, person.shape, person.motion
    kept: dict[str, Any] = {}
    notes = []
    if k is not None:
        skeleton = k.skeleton
        kept = {
            "keypoints3d": k.xyz,
            "keypoints3d_confidence": k.confidence,
            "keypoints3d_covariance": k.covariance.astype(np.float32),
        }
    elif motion is not None and person.keypoints2d:
        skeleton = next(iter(person.keypoints2d.values())).skeleton
    else:
        raise DataError("A result needs keypoints3d, or a body fitted to keypoints2d.")
    if body is not None and shape is not None and motion is not None:
        kept |= {
            "Rh": motion.Rh,
            "Th": motion.Th,
            "poses": motion.poses,
            "shapes": shape,
            "body": body.name,
            "body_hash": body.content_hash,
            "gender": body.gender,
            "joint_names": body.joint_names,
            "joint_sigma": motion.joint_sigma,
            **pose_parts(body.joint_names, motion.poses),
        }
        kept["global_orient"], kept["transl"] = to_smpl_root(motion.Rh, motion.Th, rest_root(body, shape))
        if body.expressiondirs is not None:
            kept["expression"] = np.zeros((len(motion.Rh), body.expressiondirs.shape[-1]))
        parts = [slice(i, i + _CHUNK) for i in range(0, len(motion.Rh), _CHUNK)]
        kept["joints"] = np.concatenate(
            [joints_of(body, shape, motion.Rh[s], motion.Th[s], motion.poses[s]) for s in parts]
        )
        try:
            kept["keypoints3d_fit"] = np.concatenate(
                [keypoints_of(body, skeleton, shape, motion.Rh[s], motion.Th[s], motion.poses[s]) for s in parts]
            )
        except UnknownName as error:
            notes.append(f"keypoints3d_fit is left out of the result: {error}")
    return Result(take.frames, take.timestamps, take.fps, skeleton.name, skeleton.joints, **kept), notes


def write_result_npz(path: Path, result: Result) -> None:
    """Writes `result` (see :class:`Result` for the keys), whole or not at all."""
    kept: dict[str, Any] = {f.name: getattr(result, f.name) for f in fields(result)}
    kept = {name: np.asarray(value) for name, value in kept.items() if value is not None}
    with replacing(path) as temporary:
        np.savez(temporary, **kept)


def read_result_npz(path: Path) -> Result:
    """Reads what :func:`write_result_npz` wrote.

    Raises:
        MissingFile: No such file.
        BadFile: Another file, or a damaged one. Pickled objects are refused.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(path, what="Result")
    try:
        # opened here, since np.load leaves a damaged file open
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            kept: dict[str, Any] = {f.name: file[f.name] for f in fields(Result) if f.name in file.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise BadFile(path, f"not a result in npz, or a damaged one ({error}).") from error
    missing = [f.name for f in fields(Result) if f.name not in kept and f.default is not None]
    together = ("keypoints3d", "keypoints3d_confidence", "keypoints3d_covariance")
    if "Rh" not in kept or any(name in kept for name in together):
        missing += [name for name in together if name not in kept]
    if missing:
        raise BadFile(path, f"not a result of this program: it has no {', '.join(missing)}.")
    frames = kept["frames"].size
    wrong = [n for n, v in kept.items() if v.dtype.kind in "fi" and v.ndim and n != "shapes" and len(v) != frames]
    if wrong:
        raise BadFile(path, f"{', '.join(wrong)} must have the {frames} frames of its other arrays.")
    for name, value in kept.items():
        if value.dtype.kind == "U":
            kept[name] = str(value) if value.ndim == 0 else tuple(value.tolist())
    return Result(**{**kept, "fps": float(kept["fps"])})


def keypoints_of_result(result: Result) -> Keypoints3D:
    """The triangulated points of a result; the reprojection error is not kept in the file.

    Raises:
        DataError: A result of one camera, which has none.
    """
    xyz, confidence, covariance = result.keypoints3d, result.keypoints3d_confidence, result.keypoints3d_covariance
    if xyz is None or confidence is None or covariance is None:
        raise DataError("A result of a body fitted to one camera's points has no keypoints3d.")
    unknown = np.full(xyz.shape[:2], np.nan)
    return Keypoints3D.of(skeletons.get(result.skeleton), xyz, confidence, covariance, unknown)


# ---------------------------------------------------------------------------------------------------------------------
# AMASS

_BODY_NUMBERS = 63
"""Of the pose of the 21 body joints that SMPL, SMPL-H and SMPL-X share."""
_HAND_NUMBERS = 45
_AMASS_BETAS = 16


def write_amass(
    path: Path, *, body: BodyModel, betas: Float[np.ndarray, " betas"], motion: Motion, fps: float
) -> list[str]:
    """The layout of AMASS' npz; gives sentences on what it could not hold.

    Keys of SMPL and SMPL-H: `poses` (frames, 156) [rad]: global orientation, 21 body joints, 30 finger joints; `trans`
    (frames, 3) [m], SMPL's transl; `betas` (16 or more), padded with zeros; `dmpls` (frames, 8), zeros; `gender`;
    `mocap_framerate` [1/s]. Of SMPL-X, as AMASS' own SMPL-X files: `poses` (frames, 165): global orientation, 21 body
    joints, jaw, eyes, fingers; the same apart as `root_orient`, `pose_body`, `pose_jaw`, `pose_eye`, `pose_hand`;
    `trans`, `betas`, `num_betas`, `gender`, `mocap_frame_rate` [1/s], `mocap_time_length` [s], `surface_model_type`
    (smplx). And, which AMASS' readers ignore, `body` and `body_hash`, to which the betas belong. World z-up, as AMASS'.

    A 24-joint SMPL body's last two joints (the hands) are no joints of SMPL-H, whose joints of those numbers are
    fingers: they are left out and the fingers are zero.

    Raises:
        DataError: A hand by itself, or a body whose joints are not SMPL's, SMPL-H's or SMPL-X's.
    """
    notes = []
    frames = len(motion.Rh)
    parts = pose_parts(body.joint_names, motion.poses)
    if "hand_pose" in parts:
        raise DataError(
            "The AMASS layout is of whole bodies, and this is a hand: result.npz has MANO's global_orient, hand_pose, "
            "transl and betas (shapes)."
        )
    shared = len(SMPL_JOINTS) - 2
    if body.joint_names[:shared] != SMPL_JOINTS[:shared] or body.n_joints not in _JOINTS_WITH_ROOT:
        raise DataError(
            f'The AMASS layout needs the joints of SMPL, SMPL-H or SMPL-X; body "{body.name}" has {body.n_joints} '
            "others."
        )
    if body.n_joints == len(SMPL_JOINTS):
        bent = np.linalg.norm(motion.poses[:, shared - 1 :], axis=-1).max(initial=0.0)
        if bent > 1e-3:
            notes.append(
                f"The AMASS layout has no hand joints of SMPL: rotations of up to {bent:.2f} rad are left out."
            )
    global_orient, transl = to_smpl_root(motion.Rh, motion.Th, rest_root(body, betas))
    none = np.zeros((frames, _HAND_NUMBERS))
    hands = np.concatenate([parts.get(f"{side}_hand_pose", none) for side in ("left", "right")], axis=1)
    trunk = parts["body_pose"][:, :_BODY_NUMBERS]
    kept: dict[str, Any] = {
        "trans": transl,
        "betas": np.pad(betas, (0, max(0, _AMASS_BETAS - len(betas)))),
        "gender": body.gender,
        "body": body.name,
        "body_hash": body.content_hash,
    }
    if "jaw_pose" in parts:
        eyes = np.concatenate([parts["leye_pose"], parts["reye_pose"]], axis=1)
        kept |= {
            "surface_model_type": "smplx",
            "mocap_frame_rate": float(fps),
            "mocap_time_length": frames / fps,
            "num_betas": len(kept["betas"]),
            "poses": np.concatenate([global_orient, trunk, parts["jaw_pose"], eyes, hands], axis=1),
            "root_orient": global_orient,
            "pose_body": trunk,
            "pose_jaw": parts["jaw_pose"],
            "pose_eye": eyes,
            "pose_hand": hands,
        }
    else:
        kept |= {
            "mocap_framerate": float(fps),
            "poses": np.concatenate([global_orient, trunk, hands], axis=1),
            "dmpls": np.zeros((frames, 8)),
        }
    with replacing(path) as temporary:
        np.savez(temporary, **kept)
    return notes


# ---------------------------------------------------------------------------------------------------------------------
# report.json


def _plain(value: Any) -> Any:
    """`value` in JSON's types; a number that is not finite, which JSON has no word for, becomes null."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def write_report(take: Take, *, complete: bool) -> Path:
    """`report.json` in the run's output folder: what each stage took, dropped and reached; gives its path.

    Keys: `complete`, whether every stage has run; `frames`, `fps`, `views`; `stages`, a list of `label`, `stage`,
    `seconds` and whatever the stage reported.
    """
    path = take.run.output / REPORT
    stages = [{"label": r.label, "stage": r.stage, "seconds": round(r.seconds, 4), **r.facts} for r in take.reports]
    report = {
        "complete": complete,
        "frames": len(take.frames),
        "fps": take.fps,
        "views": list(take.footage) or ([] if take.rig is None else list(take.rig.names)),
        "stages": stages,
    }
    write_text(path, json.dumps(_plain(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def is_complete(output: Path) -> bool | None:
    """Whether the run that wrote `output`/report.json came to its end; None when there is no such report."""
    try:
        report = json.loads((Path(output) / REPORT).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    found = report.get("complete") if isinstance(report, dict) else None
    return found if isinstance(found, bool) else None
