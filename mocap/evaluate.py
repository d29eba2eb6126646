"""A result beside a truth: the field's usual numbers as plain functions, and what `emc eval` does with two files.

Points are matched by name, frames by time, and people by how near they are. Errors are in millimetres, as the field
gives them; everything else is in the units it says.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from mocap import skeletons
from mocap.bodies.kinematics import Skinner, keypoints_of
from mocap.bodies.load import INCLUDED, load_body
from mocap.bodies.model import SMPL_JOINTS, BodyModel
from mocap.bodies.ranges import finger_of, side_of
from mocap.errors import BadFile, DataError, MissingFile, ModelError
from mocap.io.names import file_names
from mocap.io.results import check_body
from mocap.io.smplify import SmplifyResult, read_smplify_npz
from mocap.take import Motion

_SAME_MOMENT = 1e-3
"""Moments that differ by less are one [s]; containers round times to some 0.1 ms."""
_CONTACT_SPEED, _CONTACT_HEIGHT = 0.1, 0.05
"""A foot stands where the truth has it slower than this [m/s] and no higher above its lowest than that [m].

Feet that stand are not perfectly still in any recording: markers move on the skin and bones of another length are put
on. At 0.15 m/s the example's own truth slides by 2.5 mm a frame, more than a good fit does; at 0.1 m/s by 1.5 mm.
"""
_POSED = ("Rh", "Th", "poses", "shapes")
"""What a body is posed with."""
_FEET = tuple(f"{side}_{point}" for side in ("left", "right") for point in ("heel", "big_toe", "small_toe", "foot"))


def mpjpe(
    points: Float[np.ndarray, "frames joints 3"], truth: Float[np.ndarray, "frames joints 3"]
) -> Float[np.ndarray, " joints"]:
    """Mean distance of each joint from the truth [units of the points], over frames where both are there."""
    distance = np.linalg.norm(points - truth, axis=-1)
    there = np.isfinite(distance)
    return np.where(there, distance, 0.0).sum(0) / np.where(there.any(0), there.sum(0), np.nan)


def aligned(
    points: Float[np.ndarray, "frames joints 3"], truth: Float[np.ndarray, "frames joints 3"]
) -> Float[np.ndarray, "frames joints 3"]:
    """Each frame's points after the similarity that brings them closest to the truth's (Umeyama, 1991).

    Frames with fewer than three points in common are NaN.
    """
    both = np.asarray(np.isfinite(points + truth).all(-1))
    weight = both[..., None] / np.maximum(both.sum(1), 1)[:, None, None]
    a, b = np.where(both[..., None], points, 0.0), np.where(both[..., None], truth, 0.0)
    mean_a, mean_b = (a * weight).sum(1, keepdims=True), (b * weight).sum(1, keepdims=True)
    a0, b0 = a - mean_a, b - mean_b
    U, S, Vt = np.linalg.svd(np.swapaxes(b0 * weight, 1, 2) @ a0)
    turn = np.ones_like(S)
    turn[:, 2] = np.sign(np.linalg.det(U) * np.linalg.det(Vt))  # no reflection
    R = (U * turn[:, None]) @ Vt
    spread = (weight * a0**2).sum((1, 2))
    scale = (S * turn).sum(1) / np.where(spread > 0, spread, np.nan)
    moved = scale[:, None, None] * (points - mean_a) @ np.swapaxes(R, 1, 2) + mean_b
    return np.where((both.sum(1) >= 3)[:, None, None], moved, np.nan)


def aligned_once(
    points: Float[np.ndarray, "frames joints 3"], truth: Float[np.ndarray, "frames joints 3"]
) -> Float[np.ndarray, "frames joints 3"]:
    """All frames' points after one similarity for the whole take: the truth may be of another world."""
    return aligned(points.reshape(1, -1, 3), truth.reshape(1, -1, 3)).reshape(points.shape)


def acceleration_error(
    points: Float[np.ndarray, "frames joints 3"],
    truth: Float[np.ndarray, "frames joints 3"],
    timestamps: Float[np.ndarray, " frames"],
) -> float:
    """Mean distance of the accelerations [m/s^2], by second differences over evenly spaced neighbours; NaN without."""
    step = np.diff(timestamps)
    if len(step) < 2:
        return float("nan")
    even = np.abs(step[1:] - step[:-1]) < 2 * _SAME_MOMENT
    difference = points - truth
    second = difference[2:] - 2 * difference[1:-1] + difference[:-2]
    error = np.linalg.norm(second, axis=-1) / (step[1:] * step[:-1])[:, None]
    found = error[even & (step[1:] < 2 * np.median(step))]
    return float(found[np.isfinite(found)].mean()) if np.isfinite(found).any() else float("nan")


def standing(
    feet: Float[np.ndarray, "frames feet 3"], timestamps: Float[np.ndarray, " frames"]
) -> Bool[np.ndarray, "steps feet"]:
    """Where a foot stands from one frame to the next: slow, and near the lowest it ever is. World z-up [m], [s]."""
    speed = np.linalg.norm(np.diff(feet, axis=0), axis=-1) / np.diff(timestamps)[:, None]
    height = feet[..., 2] - np.nanmin(feet[..., 2], axis=0)
    return (speed < _CONTACT_SPEED) & (np.maximum(height[1:], height[:-1]) < _CONTACT_HEIGHT)


def foot_slide(
    feet: Float[np.ndarray, "frames feet 3"],
    stands: Bool[np.ndarray, "steps feet"],
    timestamps: Float[np.ndarray, " frames"],
) -> float:
    """Mean horizontal speed of feet while they stand [m/s]; NaN when none does."""
    speed = np.linalg.norm(np.diff(feet[..., :2], axis=0), axis=-1) / np.diff(timestamps)[:, None]
    found = speed[stands]
    return float(found[np.isfinite(found)].mean()) if np.isfinite(found).any() else float("nan")


# ---------------------------------------------------------------------------------------------- files


@dataclass(frozen=True)
class Recorded:
    """What is compared of one file: a result.npz, or a truth.npz with fewer keys."""

    path: Path
    arrays: Mapping[str, np.ndarray]

    @property
    def timestamps(self) -> Float[np.ndarray, " frames"]:
        """When the frames are [s]."""
        return np.asarray(self.arrays["timestamps"], dtype=float)

    def text(self, key: str) -> str | None:
        """A text of the file."""
        return str(self.arrays[key]) if key in self.arrays else None

    def points(self, kind: str) -> tuple[tuple[str, ...], Float[np.ndarray, "frames points 3"]]:
        """Names and places [m] of the body's joints, of the fitted keypoints or of the triangulated ones.

        A truth has one set of keypoints, which stands for both. Fingers' joints come with the fingers' tips, where the
        keypoints have them: 16 joints of a hand and 5 tips are the 21 points the field measures hands by.
        """
        key = {"body": "joints", "keypoints": "keypoints3d_fit", "triangulated": "keypoints3d"}[kind]
        if key not in self.arrays and kind == "keypoints" and "Rh" in self.arrays:
            key = "keypoints3d"
        if key not in self.arrays:
            raise BadFile(self.path, f'it has no "{key}" to compare; choose others with --joints.')
        xyz = np.asarray(self.arrays[key], dtype=float)
        told = self.arrays.get("joint_names" if kind == "body" else "keypoint_names")
        if told is not None:
            names: Sequence[str] = told.tolist()
        elif kind == "body":
            names = SMPL_JOINTS
        else:
            names = skeletons.get(str(self.arrays["skeleton"])).joints
        if xyz.ndim != 3 or xyz.shape[1:] != (len(names), 3) or len(xyz) != len(self.timestamps):
            raise BadFile(self.path, f'"{key}" is {xyz.shape}, must be ({len(self.timestamps)}, {len(names)}, 3).')
        sides = {finger[0] for name in names if (finger := finger_of(name)) is not None} if kind == "body" else set()
        if sides and {"keypoints3d_fit", "keypoints3d"} & set(self.arrays):
            known, points = self.points("keypoints")
            tips = [i for i, name in enumerate(known) if name.endswith("_tip") and name.partition("_")[0] in sides]
            return (*names, *(known[i] for i in tips)), np.concatenate([xyz, points[:, tips]], axis=1)
        return tuple(names), xyz


def read_all(path: Path) -> list[Recorded]:
    """Everybody in a folder, `result.npz`, `result_1.npz` and so on or `truth.npz`, `truth_1.npz`; or one file."""
    first = read(path)
    if not path.is_dir():
        return [first]
    named = re.compile(rf"{first.path.stem}_(\d+)\.npz")
    others = {int(m[1]): p for p in path.iterdir() if (m := named.fullmatch(p.name))}
    return [first, *(read(others[i]) for i in sorted(others))]


def read(path: Path) -> Recorded:
    """A result.npz or truth.npz, or the one in a folder."""
    path, arrays = _arrays(path)
    if "timestamps" not in arrays:
        raise BadFile(path, 'it is not a result: it has no "timestamps".')
    return Recorded(path, arrays)


def _arrays(path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    if path.is_dir():
        found = [path / name for name in ("result.npz", "truth.npz") if (path / name).is_file()]
        if not found:
            raise MissingFile(path / "result.npz", what="Result")
        path = found[0]
    if not path.is_file():
        raise MissingFile(path, what="Result")
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise BadFile(path, "it is not a result in npz.") from error
    return path, arrays


def matched(
    times: Float[np.ndarray, " frames"], truth: Float[np.ndarray, " moments"]
) -> tuple[Int[np.ndarray, " matches"], Int[np.ndarray, " matches"]]:
    """Places of the frames of two clocks that are at the same moment [s]; both clocks increase."""
    nearest = np.clip(np.searchsorted(truth, times), 1, max(len(truth) - 1, 1))
    if len(truth) > 1:
        nearest -= times - truth[nearest - 1] < truth[nearest] - times
    else:
        nearest = np.zeros(len(times), dtype=np.intp)
    same = np.abs(truth[nearest] - times) <= _SAME_MOMENT
    return np.flatnonzero(same), nearest[same]


@dataclass(frozen=True)
class _Common:
    """What a result and a truth both have."""

    names: tuple[str, ...]
    mine: Int[np.ndarray, " matches"]
    """Places of the result's frames."""
    theirs: Int[np.ndarray, " matches"]
    """Places of the truth's."""
    points: Float[np.ndarray, "matches points 3"]
    truth: Float[np.ndarray, "matches points 3"]


def _common(result: Recorded, truth: Recorded, joints: str) -> _Common:
    names, points = result.points(joints)
    true_names, true_points = truth.points(joints)
    common = tuple(n for n in names if n in true_names)
    if not common:
        raise DataError(
            f"{result.path} and {truth.path} have no point of the same name: {names[0]} ..., {true_names[0]} ...."
        )
    mine, theirs = matched(result.timestamps, truth.timestamps)
    if not len(mine):
        raise DataError(
            f"{result.path} and {truth.path} have no moment in common: {result.timestamps[0]:.3f} to "
            f"{result.timestamps[-1]:.3f} s, {truth.timestamps[0]:.3f} to {truth.timestamps[-1]:.3f} s."
        )
    a = points[mine][:, [names.index(n) for n in common]]
    b = true_points[theirs][:, [true_names.index(n) for n in common]]
    if not np.isfinite(a).all(-1).any():
        raise DataError(f"{result.path} has none of the points of {truth.path}: all are missing.")
    return _Common(common, mine, theirs, a, b)


def hand_errors(
    names: Sequence[str], points: Float[np.ndarray, "frames points 3"], truth: Float[np.ndarray, "frames points 3"]
) -> dict[str, dict[str, float | None]]:
    """Of each hand by its side: `mpjpe_mm` of fingers, once the wrist is on the truth's, and `pa_mpjpe_mm` of the hand.

    Args:
        names: Joints of a body with fingers, or of a hand, and tips of fingers; the left hand's wrist is `left_wrist`.
        points: [m]
        truth: [m]
    """
    found: dict[str, dict[str, float | None]] = {}
    for side in skeletons.HANDS:
        fingers = [i for i, n in enumerate(names) if _of_finger(n) and n.startswith(side)]
        if not fingers or f"{side}_wrist" not in names:
            continue
        wrist = names.index(f"{side}_wrist")
        a, b = points[:, [wrist, *fingers]], truth[:, [wrist, *fingers]]
        found[side] = {
            "mpjpe_mm": _finite(1000 * _average(mpjpe((a - a[:, :1])[:, 1:], (b - b[:, :1])[:, 1:]))),
            "pa_mpjpe_mm": _finite(1000 * _average(mpjpe(aligned(a, b), b))),
        }
    return found


def _average(errors: Float[np.ndarray, " joints"]) -> float:
    """Of what is known; NaN of nothing, as where too few points are common to align them."""
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if len(known) else float("nan")


def _of_finger(name: str) -> bool:
    return finger_of(name) is not None or name.endswith("_tip")


def compare(result: Recorded, truth: Recorded, *, joints: str = "body", model: str = "embedded") -> dict[str, Any]:
    """The metrics, JSON-able; what cannot be had is None and its reason is among the notes.

    Raises:
        DataError: No moment or no point in common.
        BadFile: A file without the points asked for.
    """
    both = _common(result, truth, joints)
    common, mine, theirs, a, b = both.names, both.mine, both.theirs, both.points, both.truth
    t = truth.timestamps[theirs]
    each = 1000 * mpjpe(a, b)
    notes = []
    body, why = _body(result, truth, model)
    if joints == "body" and result.text("body_hash") != truth.text("body_hash"):
        notes.append("Two different bodies: their joints of one name are not quite the same points.")
    notes += [why] if why else []
    pve = None if body is None else _pve(result, truth, mine, theirs, body)
    one_camera = "keypoints3d" not in result.arrays
    if one_camera:
        notes.append(
            "Fitted to one camera: unless that was calibrated its world is not the truth's, and then only PA-MPJPE and "
            "MPJPE after one alignment mean anything."
        )
    fingers = np.array([_of_finger(n) for n in common])
    feet = [i for i, n in enumerate(common) if n in _FEET]
    my_feet, true_feet = a[:, feet], b[:, feet]
    my_soles, true_soles = _feet(result, mine, model), _feet(truth, theirs, model)
    if my_soles is not None and true_soles is not None:
        my_feet, true_feet = my_soles, true_soles
    slide = true_slide = None
    stands = np.zeros((0, 0), dtype=bool)
    if true_feet.shape[1] and len(t) > 1:
        stands = standing(true_feet, t)
        slide, true_slide = foot_slide(my_feet, stands, t), foot_slide(true_feet, stands, t)
    return {
        "result": str(result.path),
        "truth": str(truth.path),
        "points": joints,
        "frames": len(mine),
        "frames_of_result": len(result.timestamps),
        "frames_of_truth": len(truth.timestamps),
        "missing": int((~np.isfinite(a).all(-1)).sum()),
        "mpjpe_mm": _finite(_average(each)),
        "mpjpe_without_fingers_mm": _finite(_average(each[~fingers])) if 1 < sum(~fingers) < len(common) else None,
        "pa_mpjpe_mm": _finite(1000 * _average(mpjpe(aligned(a, b), b))),
        "hands": hand_errors(common, a, b),
        "aligned_once_mpjpe_mm": _finite(1000 * _average(mpjpe(aligned_once(a, b), b))),
        "pve_mm": pve,
        "acceleration_error_m_s2": _finite(acceleration_error(a, b, t)),
        "foot_slide_mm_s": _finite(slide and 1000 * slide),
        "foot_slide_truth_mm_s": _finite(true_slide and 1000 * true_slide),
        "foot_slide_mm_frame": _finite(slide and 1000 * slide * np.median(np.diff(t))),
        "foot_slide_truth_mm_frame": _finite(true_slide and 1000 * true_slide * np.median(np.diff(t))),
        "foot_contacts": int(stands.sum()),
        "one_camera": one_camera,
        "mpjpe_mm_by_point": {n: _finite(e) for n, e in zip(common, each, strict=True)},
        "notes": notes,
    }


_MEANS = ("mpjpe_mm", "pa_mpjpe_mm", "pve_mm", "acceleration_error_m_s2")


def compare_files(result: Path, truth: Path, *, joints: str = "body", model: str = "embedded") -> dict[str, Any]:
    """:func:`compare` of two files or folders; :func:`compare_pictures` where the truth is one of pictures.

    Of folders with several people each of the truth's is compared with the one of the result that is nearest, and that
    has points of the same names: a left hand is never compared with a right one. Then `people` has the metrics of each,
    and beside it are their means. So it is where a body with its fingers is compared with two hands.
    """
    if not result.exists():
        raise MissingFile(result, what="Result")
    path, arrays = _arrays(truth)
    if {"names", "pose", "joints3d"} <= set(arrays):
        return compare_pictures(result, path, arrays, model=model)
    found, true = read_all(result), read_all(truth)
    pairs = paired(found, true, joints=joints)
    each = [compare(found[i], true[k], joints=joints, model=model) for i, k in pairs]
    further = [str(one.path) for i, one in enumerate(found) if i not in dict(pairs)]
    if len(each) == len(true) == 1:
        if further:
            each[0]["notes"].append(f"Compared with the nearest of {len(found)}; not with {', '.join(further)}.")
        return each[0]
    return {
        "result": str(result),
        "truth": str(truth),
        "points": joints,
        "people": each,
        "missing": [str(one.path) for k, one in enumerate(true) if k not in {k for _, k in pairs}],
        "further": further,
        **{key: _finite(_mean([one[key] for one in each])) for key in _MEANS},
    }


def paired(results: Sequence[Recorded], truths: Sequence[Recorded], *, joints: str = "body") -> list[tuple[int, int]]:
    """Places of a result and of the truth it is compared with, in the truths' order: the nearest, all together.

    One may be compared with several that have no point in common, as a body with its fingers is with two hands.

    Raises:
        DataError: No result has a point and a moment in common with a truth.
    """
    if len(results) == len(truths) == 1:
        return [(0, 0)]
    distance = np.full((len(results), len(truths)), np.inf)
    common: dict[tuple[int, int], set[str]] = {}
    why: DataError | None = None
    for i, result in enumerate(results):
        for k, truth in enumerate(truths):
            try:
                both = _common(result, truth, joints)
            except DataError as error:
                why = error
                continue
            distance[i, k] = float(np.nanmean(mpjpe(both.points, both.truth)))
            common[i, k] = set(both.names)
    there = np.isfinite(distance)
    rows, columns = linear_sum_assignment(np.where(there, distance, 1e6))
    pairs = [(int(i), int(k)) for i, k in zip(rows, columns, strict=True) if there[i, k]]
    if not pairs:
        assert why is not None
        raise why
    for i, k in sorted(common, key=lambda pair: distance[pair]):
        if i in {p[0] for p in pairs} and k in {p[1] for p in pairs}:
            continue
        if not any(common[i, k] & common[pair] for pair in pairs if pair[0] == i or pair[1] == k):
            pairs.append((i, k))
    return sorted(pairs, key=lambda pair: pair[1])


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def compare_pictures(
    result: Path, path: Path, truth: Mapping[str, np.ndarray], *, model: str = "embedded"
) -> dict[str, Any]:
    """What single pictures were fitted with, beside their truth: the metrics of each and their means, JSON-able.

    Poses by the joints in the camera's axes: after moving the root onto the truth's, and after a similarity, which is
    the protocol of "Keep it SMPL" (Bogo et al., 2016). Shapes by the bodies in their rest pose: the mean distance of
    the vertices, one mean put on the other, and the difference of the statures.

    Args:
        result: An output folder, or its `smplify/`.
        path: Where the truth is from.
        truth: A row a picture: `names`, `gender`, `betas`, `joints3d` [m] and so on, as `data/examples/lsp` has it.
        model: The body model of both, for the shapes.

    Raises:
        MissingFile: The result has no picture of the truth's.
    """
    folder = result / "smplify" if (result / "smplify").is_dir() else result
    names = [str(name) for name in truth["names"]]
    true_joints: list[str] = (
        [str(joint) for joint in truth["joint_names"]] if "joint_names" in truth else list(SMPL_JOINTS)
    )
    by_picture: dict[str, dict[str, float | None]] = {}
    notes: dict[str, None] = {}
    for i, (name, file) in enumerate(file_names(names).items()):
        if not (folder / f"{file}.npz").is_file():
            continue
        one = read_smplify_npz(folder / f"{file}.npz")
        common = [joint for joint in one.joint_names if joint in true_joints]
        a = one.joints3d[:1, [one.joint_names.index(joint) for joint in common]]
        b = np.asarray(truth["joints3d"][i][None, [true_joints.index(joint) for joint in common]], dtype=float)
        shape = _shape_error(one, {key: truth[key][i] for key in ("gender", "betas", "body", "body_hash")}, model)
        if isinstance(shape, str):
            notes[shape] = None
        by_picture[name] = {
            "mpjpe_mm": _finite(1000 * np.nanmean(mpjpe(a - a[:, :1], b - b[:, :1]))),
            "pa_mpjpe_mm": _finite(1000 * np.nanmean(mpjpe(aligned(a, b), b))),
            "shape_mm": None if isinstance(shape, str) else shape[0],
            "stature_mm": None if isinstance(shape, str) else shape[1],
        }
    if not by_picture:
        raise MissingFile(folder / f"{names[0]}.npz", what="Result of a picture")
    means = {}
    for key in ("mpjpe_mm", "pa_mpjpe_mm", "shape_mm", "stature_mm"):
        found = [abs(value) for one in by_picture.values() if (value := one[key]) is not None]
        means[key] = float(np.mean(found)) if found else None
    return {
        "result": str(result),
        "truth": str(path),
        "pictures": len(by_picture),
        "pictures_of_truth": len(names),
        "missing": [name for name in names if name not in by_picture],
        **means,
        "by_picture": by_picture,
        "notes": list(notes),
    }


def _shape_error(one: SmplifyResult, truth: Mapping[str, Any], model: str) -> tuple[float, float] | str:
    """Mean distance of the vertices at rest and how much taller than the truth [mm], or why it cannot be had."""
    rest = []
    sides = (
        (one.gender, one.body, one.body_hash, one.betas),
        (str(truth["gender"]), str(truth["body"]), str(truth["body_hash"]), np.asarray(truth["betas"], dtype=float)),
    )
    try:
        for gender, name, body_hash, betas in sides:
            body = load_body(model, gender=gender)
            check_body(body, name=name, gender=gender, body_hash=body_hash)
            rest.append(np.asarray(body.rest(betas), dtype=float))
    except (MissingFile, ModelError) as error:
        return f"No shape error (--body {model}): {error}"
    a, b = rest
    if len(a) != len(b):
        return "No shape error: the two bodies have different meshes."
    distance = np.linalg.norm((a - a.mean(0)) - (b - b.mean(0)), axis=-1).mean()
    return 1000 * float(distance), 1000 * float(np.ptp(a[:, 1]) - np.ptp(b[:, 1]))


def _finite(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _body(result: Recorded, truth: Recorded, model: str) -> tuple[BodyModel | None, str | None]:
    """The body of both, or why it cannot be had: betas mean nothing against another body."""
    for side in (result, truth):
        missing = [k for k in _POSED if k not in side.arrays]
        if missing:
            return None, f"No PVE: {side.path} has no {', '.join(missing)}."
    try:
        body = _own_body(truth, model)
        check_body(body, name=result.text("body"), gender=result.text("gender"), body_hash=result.text("body_hash"))
    except (MissingFile, ModelError) as error:
        return None, f"No PVE (--body {model}): {error}"
    return body, None


def _own_body(side: Recorded, model: str) -> BodyModel:
    """The body of one file: the included one of its name, or the given one; MissingFile or ModelError where not."""
    own, joints = side.text("body"), side.arrays.get("joint_names")
    body = load_body(
        own if model == "embedded" and own in INCLUDED else model,
        gender=side.text("gender") or "neutral",
        side=None if joints is None else side_of(joints.tolist()),
    )
    check_body(body, name=own, gender=side.text("gender"), body_hash=side.text("body_hash"))
    return body


def _pve(result: Recorded, truth: Recorded, mine: np.ndarray, theirs: np.ndarray, body: BodyModel) -> float:
    """Mean distance of the vertices [mm]."""
    sides = [(Skinner(body, _betas(side)), _motion(side, places)) for side, places in ((result, mine), (truth, theirs))]
    total = 0.0
    meshes = zip(*(skinner.chunks(m.Rh, m.Th, m.poses) for skinner, m in sides), strict=True)
    for vertices, true_vertices in meshes:
        total += float(np.linalg.norm(vertices - true_vertices, axis=-1).mean())
    return 1000 * total / len(mine)


def _feet(side: Recorded, places: np.ndarray, model: str) -> Float[np.ndarray, "frames feet 3"] | None:
    """Heels and toes by the file's own body, the same of every result whatever keypoints it was fitted to [m].

    None where there is no such body, or it has none.
    """
    if any(key not in side.arrays for key in _POSED):
        return None
    try:
        body = _own_body(side, model)
    except (MissingFile, ModelError):
        return None
    if "body25" not in body.regressors:
        return None
    m, body25 = _motion(side, places), skeletons.get("body25")
    feet = body25.indices([n for n in _FEET if n in body25.joints])
    return keypoints_of(body, body25, _betas(side), m.Rh, m.Th, m.poses)[:, feet]


def _betas(side: Recorded) -> Float[np.ndarray, " betas"]:
    return side.arrays["shapes"].astype(float).reshape(-1)


def _motion(side: Recorded, places: np.ndarray) -> Motion:
    return Motion(*(np.asarray(side.arrays[k], dtype=float)[places] for k in ("Rh", "Th", "poses")))


def told(metrics: Mapping[str, Any]) -> str:
    """The metrics as a few lines."""
    if "by_picture" in metrics:
        return _told_pictures(metrics)
    if "people" in metrics:
        return _told_people(metrics)

    def number(key: str, unit: str) -> str:
        return "-" if metrics[key] is None else f"{metrics[key]:.1f} {unit}"

    lines = [
        f"{metrics['frames']} frames at the same moments ({metrics['frames_of_result']} of the result, "
        f"{metrics['frames_of_truth']} of the truth), {metrics['missing']} points missing",
        f"MPJPE               {number('mpjpe_mm', 'mm')}",
        f"PA-MPJPE            {number('pa_mpjpe_mm', 'mm')}",
        f"PVE                 {number('pve_mm', 'mm')}",
        f"acceleration error  {number('acceleration_error_m_s2', 'm/s^2')}",
    ]
    if metrics["mpjpe_without_fingers_mm"] is not None:
        lines.insert(2, f"  without fingers   {number('mpjpe_without_fingers_mm', 'mm')}")
    for side, hand in metrics["hands"].items():
        values = [f"{'-' if hand[key] is None else round(hand[key], 1)} mm" for key in ("mpjpe_mm", "pa_mpjpe_mm")]
        lines.append(f"{side + ' hand':<20}{values[0]} with the wrists as one, PA {values[1]}")
    if metrics["foot_slide_mm_s"] is not None or set(_FEET) & set(metrics["mpjpe_mm_by_point"]):
        lines.append(
            f"foot slide          {number('foot_slide_mm_frame', 'mm')} a frame, {number('foot_slide_mm_s', 'mm/s')} "
            f"(truth {number('foot_slide_truth_mm_frame', 'mm')}, {number('foot_slide_truth_mm_s', 'mm/s')}; "
            f"{metrics['foot_contacts']} contacts)"
        )
    if metrics["one_camera"]:
        lines.insert(3, f"after one alignment {number('aligned_once_mpjpe_mm', 'mm')}")
    worst = sorted(((e, n) for n, e in metrics["mpjpe_mm_by_point"].items() if e is not None), reverse=True)[:5]
    lines.append("furthest off        " + ", ".join(f"{n} {e:.0f} mm" for e, n in worst))
    return "\n".join([*lines, *metrics["notes"]])


def _told_people(metrics: Mapping[str, Any]) -> str:
    """Each with a heading, then the means and who was not found."""
    parts = [f"{one['result']} beside {one['truth']}\n{told(one)}\n" for one in metrics["people"]]
    means = {
        name: "-" if metrics[key] is None else f"{metrics[key]:.1f} {unit}"
        for name, key, unit in zip(
            ("MPJPE", "PA-MPJPE", "PVE", "acceleration error"), _MEANS, ("mm", "mm", "mm", "m/s^2"), strict=True
        )
    }
    lines = ["mean of all: " + ", ".join(f"{name} {value}" for name, value in means.items())]
    lines += [f"{path}: not found in the result" for path in metrics["missing"]]
    lines += [f"{path}: nobody of the truth" for path in metrics["further"]]
    return "\n".join([*parts, *lines])


def _told_pictures(metrics: Mapping[str, Any]) -> str:
    """A line a picture, and the means."""

    def row(name: str, one: Mapping[str, Any]) -> str:
        keys = ("mpjpe_mm", "pa_mpjpe_mm", "shape_mm", "stature_mm")
        return f"{name:<18}" + "".join("         -" if one[key] is None else f"{one[key]:10.1f}" for key in keys)

    missing = f", missing: {', '.join(metrics['missing'])}" if metrics["missing"] else ""
    lines = [
        f"{metrics['pictures']} of {metrics['pictures_of_truth']} pictures{missing}",
        f"{'[mm]':<18}{'MPJPE':>10}{'PA-MPJPE':>10}{'shape':>10}{'stature':>10}",
        *(row(name, one) for name, one in metrics["by_picture"].items()),
        row("mean", metrics),
    ]
    return "\n".join([*lines, *metrics["notes"]])
