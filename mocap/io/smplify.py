"""What SMPLify's users read: a body in the axes of the one camera that saw it, `cam_t, f, pose, betas`.

A vertex v of SMPL(pose, betas), with the first three numbers of `pose` turning the body about its root JOINT and no
translation, projects from v + cam_t (Bogo et al., "Keep it SMPL", 2016). Camera axes are OpenCV's: x right, y down, z
forward; lengths are metres.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mocap.bodies.kinematics import joints_of
from mocap.bodies.model import BodyModel
from mocap.errors import BadFile, MissingFile
from mocap.geometry import rotations
from mocap.geometry.cameras import Camera
from mocap.geometry.times import nearest
from mocap.io.atomic import replacing, write_text
from mocap.io.results import rest_root, to_smpl_root
from mocap.take import Keypoints2D, Motion

_CHUNK = 4096
"""Frames posed at a time."""
_SAME_MOMENT = 1e-3
"""Moments that differ by less are one [s]."""
_PER_FRAME = ("frames", "timestamps", "pose", "cam_t", "joints3d", "keypoints2d", "keypoints2d_confidence")


@dataclass(frozen=True)
class SmplifyResult:
    """One person seen by one camera, as `smplify.npz` holds it: fields are the keys; those that are None are absent.

    In the file of a single picture the arrays have no axis of frames: `pose` (72,), `cam_t` (3,) and so on.
    """

    pose: Float[np.ndarray, "frames pose"]
    """Rotation vectors [rad] of the root, in camera axes, and of the joints after it: 72 numbers for SMPL."""
    betas: Float[np.ndarray, " betas"]
    """They belong to `body` alone."""
    cam_t: Float[np.ndarray, "frames 3"]
    """What is added to the vertices [m]."""
    f: float
    """Focal length along x [px]."""
    center: Float[np.ndarray, " 2"]
    """Principal point [px]."""
    K: Float[np.ndarray, "3 3"]
    """The whole intrinsic matrix [px]."""
    distortion: Float[np.ndarray, " coefficients"]
    """Of the lens, in OpenCV's order."""
    joints3d: Float[np.ndarray, "frames joints 3"]
    """The body's joints in camera axes [m], the root first."""
    joint_names: tuple[str, ...]
    gender: str
    body: str
    """Name of the body model."""
    body_hash: str
    """Its content hash."""
    frames: Int[np.ndarray, " frames"] | None = None
    """Numbers of a video's frames."""
    timestamps: Float[np.ndarray, " frames"] | None = None
    """When they were seen [s]."""
    skeleton: str | None = None
    """The keypoint set of `keypoints2d`."""
    keypoints2d: Float[np.ndarray, "frames keypoints 2"] | None = None
    """What the body was fitted to [px]; NaN where missing."""
    keypoints2d_confidence: Float[np.ndarray, "frames keypoints"] | None = None
    """In [0, 1], 0 where missing."""


def in_camera(
    body: BodyModel,
    betas: Float[np.ndarray, " betas"],
    motion: Motion,
    camera: Camera,
    *,
    seen: Keypoints2D | None = None,
    frames: Int[np.ndarray, " frames"] | None = None,
    timestamps: Float[np.ndarray, " frames"] | None = None,
) -> SmplifyResult:
    """A motion in the world as SMPLify has it, in the camera's axes.

    With R, t world to camera: x_camera = R (R(Rh) x + Th) + t, which is SMPL turned by R R(Rh) about its root joint J0
    and moved by cam_t = R Th + t + R R(Rh) J0 - J0.

    Args:
        body: Whose motion it is.
        betas: Its shape.
        motion: In the world.
        camera: Who saw it.
        seen: What of it was detected there, a row a frame of the motion.
        frames: Numbers of the frames; None for a single picture.
        timestamps: When they were seen [s].
    """
    turned = rotations.log(camera.R @ rotations.exp(motion.Rh))
    moved = camera.to_camera(motion.Th)
    orient, cam_t = to_smpl_root(turned, moved, rest_root(body, betas))
    parts = [slice(s, s + _CHUNK) for s in range(0, len(turned), _CHUNK)]
    joints = [joints_of(body, betas, turned[s], moved[s], motion.poses[s]) for s in parts]
    return SmplifyResult(
        pose=np.concatenate([orient, motion.poses.reshape(len(orient), -1)], axis=1),
        betas=np.asarray(betas, dtype=float),
        cam_t=cam_t,
        f=float(camera.K[0, 0]),
        center=camera.K[:2, 2].copy(),
        K=camera.K,
        distortion=camera.distortion,
        joints3d=np.concatenate(joints),
        joint_names=body.joint_names,
        gender=body.gender,
        body=body.name,
        body_hash=body.content_hash,
        frames=frames,
        timestamps=timestamps,
        skeleton=None if seen is None else seen.skeleton.name,
        keypoints2d=None if seen is None else seen.xy,
        keypoints2d_confidence=None if seen is None else seen.confidence,
    )


def at_frames(seen: Keypoints2D, clock: Float[np.ndarray, " frames"]) -> Keypoints2D:
    """What was seen at the moments of a clock [s]; missing where nothing was."""
    index, there = nearest(clock, seen.timestamps, reach=_SAME_MOMENT)
    xy = np.full((len(clock), *seen.xy.shape[1:]), np.nan)
    confidence = np.zeros(xy.shape[:2])
    xy[there], confidence[there] = seen.xy[index[there]], seen.confidence[index[there]]
    return Keypoints2D.of(seen.skeleton, clock, xy, confidence)


def _kept(result: SmplifyResult) -> dict[str, np.ndarray]:
    """The arrays of a file; of a single picture without the axis of frames."""
    kept: dict[str, Any] = {f.name: getattr(result, f.name) for f in fields(result)}
    if result.frames is None:
        kept |= {name: kept[name][0] for name in _PER_FRAME if kept[name] is not None}
    return {name: np.asarray(value) for name, value in kept.items() if value is not None}


def write_smplify_npz(path: Path, result: SmplifyResult) -> None:
    """Writes `result` (see :class:`SmplifyResult` for the keys), whole or not at all; nothing in it is pickled."""
    with replacing(path) as temporary:
        np.savez(temporary, **_kept(result))  # pyright: ignore[reportArgumentType]


def write_smplify_json(path: Path, result: SmplifyResult) -> None:
    """The same keys as JSON; missing points, which JSON has no word for, are null."""
    plain: dict[str, Any] = {name: value.tolist() for name, value in _kept(result).items()}
    if result.keypoints2d is not None:
        points = _kept(result)["keypoints2d"].astype(object)
        points[~np.isfinite(points.astype(float))] = None
        plain["keypoints2d"] = points.tolist()
    write_text(path, json.dumps(plain, allow_nan=False) + "\n")


def read_smplify_npz(path: Path) -> SmplifyResult:
    """Reads what :func:`write_smplify_npz` wrote.

    Raises:
        MissingFile: No such file.
        BadFile: Another file, or a damaged one. Pickled objects are refused.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(path, what="Result of SMPLify")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise BadFile(path, f"not a result in npz, or a damaged one ({error}).") from error
    return _of_arrays(path, arrays)


def _of_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> SmplifyResult:
    missing = [f.name for f in fields(SmplifyResult) if f.name not in arrays and f.default is not None]
    if missing:
        raise BadFile(path, f"not SMPLify's result as this program writes it: it has no {', '.join(missing)}.")
    kept: dict[str, Any] = {f.name: arrays[f.name] for f in fields(SmplifyResult) if f.name in arrays}
    if "frames" not in kept:
        kept |= {name: kept[name][None] for name in _PER_FRAME if name in kept}
    frames = len(kept["pose"])
    wrong = [name for name in _PER_FRAME if name in kept and len(kept[name]) != frames]
    if wrong or kept["pose"].ndim != 2 or kept["cam_t"].shape != (frames, 3):
        raise BadFile(path, f"pose is {kept['pose'].shape} and cam_t {kept['cam_t'].shape}, must have a row a frame.")
    for name, value in kept.items():
        if value.dtype.kind == "U":
            kept[name] = str(value) if value.ndim == 0 else tuple(value.tolist())
    return SmplifyResult(**{**kept, "f": float(kept["f"])})
