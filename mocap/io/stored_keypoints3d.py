"""3D keypoints other tools stored: npz, EasyMocap's `keypoints3d/*.json`, TRC (OpenSim, Pose2Sim) and C3D."""

from __future__ import annotations

import json
import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from mocap import progress, skeletons
from mocap.errors import BadFile, DataError, MissingFile, UnknownName
from mocap.io.c3d import read_c3d
from mocap.io.footage import in_range, last_number, natural_key
from mocap.skeletons import Skeleton
from mocap.take import masked

FORMATS = (".npz", ".trc", ".c3d", "keypoints3d/*.json")
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}
_UNIT_NAMES = {
    "m": ("m", "meter", "metre"),
    "cm": ("cm", "centimeter", "centimetre"),
    "mm": ("mm", "millimeter", "millimetre"),
}
_BY_COUNT = {
    14: "lsp14", 17: "coco17", 24: "smpl24", 25: "body25", 33: "mediapipe33", 42: "hands42", 67: "bodyhand67",
    75: "mediapipe75",
}  # fmt: skip
_WITH_FACE = 137
"""Points of EasyMocap's files with hands and face; the first 67 are its `bodyhand`."""
_WITH_FINGERS = (*skeletons.HANDS.values(), skeletons.HANDS42, skeletons.BODYHAND67)
"""What points with names are taken for in place of body25, where it has more of them."""
_LEAST_SEEN = 3
"""Points that somebody must show in one frame at least."""
_SPARSE = 10
"""So many times as many frames as files: then the last number in a file's name does not count frames."""
_LIMB, _BONE = (0.05, 1.0), (0.01, 0.15)
"""The median limb of a person, child or giant, is within these, and the median bone of a hand [m]."""
_USUAL_LIMB, _USUAL_BONE = 0.22, 0.032
_DAMAGE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, RuntimeError),
    *(MemoryError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What an npz that is damaged, or something else, makes its reader raise."""

_PARTS = {
    "shoulder": ("sho", "shld", "shoulderjoint", "sjc"),
    "elbow": ("elb", "ejc"),
    "wrist": ("wri", "wjc"),
    "hip": ("hjc", "hipjoint"),
    "knee": ("kjc", "kne"),
    "ankle": ("ajc", "ank"),
    "bigtoe": ("btoe", "hallux", "footindex"),
    "smalltoe": ("stoe", "littletoe", "pinkytoe"),
    "heel": ("hee", "calcaneus"),
    "midhip": ("chip", "pelvis", "hipcenter", "hipcentre", "midpelvis", "hip", "hips", "root", "spinebase"),
    "neck": ("midshoulder", "midshoulders", "cshoulder", "shouldercenter", "shouldercentre"),
    "upperneck": ("neck",),
    "headtop": ("tophead", "topofhead", "head"),
    "pelvis": ("hips", "root"),
    "handwrist": ("wrist",),
    # MANO's joints, and OpenPose's points
    **{f"{finger}{part}": (f"{finger}{k}",)
       for finger in skeletons.FINGERS if finger != "thumb"
       for k, part in enumerate(("mcp", "pip", "dip", "tip"), start=1)},
    **{f"thumb{part}": (f"thumb{k}",) for k, part in enumerate(("cmc", "mcp", "ip", "tip"), start=1)},
}  # fmt: skip
"""What a point is called elsewhere, without its side, the surest first: a joint's centre (KJC) before a marker."""


@dataclass(frozen=True)
class StoredKeypoints3D:
    """What a file holds, in metres and in the file's own axes."""

    path: Path
    format: str
    skeleton: Skeleton
    """The file's set of points: hands42 where people are hands, each of which has its own in `people`."""
    frames: Int[np.ndarray, " frames"]
    """Numbers, increasing."""
    timestamps: Float[np.ndarray, " frames"]
    """[s]"""
    people: Mapping[str, Points]
    """By what the file calls them; in the order of the file."""
    unit: str
    """Where the unit comes from, as a phrase."""
    up: str | None
    """The axis that points up, where the format or the file says so."""
    unmatched: tuple[str, ...]
    """Points of the file that are no joint of the skeleton."""
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Points:
    """One person, or one hand."""

    skeleton: Skeleton
    xyz: Float[np.ndarray, "frames joints 3"]
    """[m], NaN where missing."""
    confidence: Float[np.ndarray, "frames joints"]
    """In [0, 1], 0 where missing."""
    covariance: Float[np.ndarray, "frames joints 3 3"] | None = None
    """[m^2]; None where the file has none."""

    def only(self, rows: Bool[np.ndarray, " frames"]) -> Points:
        """Some of the frames."""
        covariance = None if self.covariance is None else self.covariance[rows]
        return Points(self.skeleton, self.xyz[rows], self.confidence[rows], covariance)


@dataclass(frozen=True)
class _Raw:
    """As it lies in the file."""

    format: str
    skeleton: Skeleton
    people: Mapping[str, Points]
    numbers: Int[np.ndarray, " frames"]
    times: Float[np.ndarray, " frames"] | None = None
    rounded: bool = False
    """Whether `times` were written with few digits, so that the rate is more exact where the two agree."""
    fps: float | None = None
    unit: str | None = None
    """As written; None: metres by the format's definition."""
    up: str | None = None
    unmatched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_keypoints3d(
    path: Path,
    *,
    skeleton: str | None = None,
    fps: float | None = None,
    unit: str | None = None,
    ranges: tuple[int, int, int] | None = None,
) -> StoredKeypoints3D:
    """3D keypoints of one or more people, whatever the format.

    Args:
        path: A .npz, .trc or .c3d, a folder of EasyMocap's json, or the folder above its `keypoints3d`.
        skeleton: Name of the keypoint set. None: as the file says, or by the number of points; files that name their
            points are matched by name to body25.
        fps: Frame rate of a file that has none [1/s].
        unit: m, cm or mm, in place of the file's own.
        ranges: start, end and step of the frame numbers to keep, end not included; an end below 0 is the last.

    Raises:
        MissingFile: Nothing there.
        BadFile: Another format, a damaged file, or names of which none is a joint.
        DataError: No frame rate; nobody; an empty range; or sizes no person has, with the unit that would be right.
        UnknownName: `skeleton` is no known keypoint set.
    """
    path = Path(path)
    wanted = None if skeleton is None else skeletons.get(skeleton)
    raw = _raw(path, wanted)
    notes, warnings = list(raw.notes), list(raw.warnings)
    written = "m" if raw.unit is None else _unit(raw.unit)
    used = unit or written
    if used is None:
        told = f'calls its unit "{_told(raw.unit)}"' if raw.unit else "does not say its unit"
        raise BadFile(path, f"this file {told}: give it as unit: m, cm or mm in the dataset file (--set data.unit=mm).")
    if unit is not None and raw.unit is not None and written not in (None, unit):
        warnings.append(f"{path} says its unit is {_told(raw.unit)}; it is read as {unit}, as the dataset says.")
    timestamps, told = _clock(path, raw, fps)
    people, numbers = _hands_apart(raw.people), raw.numbers
    if ranges is not None:
        keep = in_range(numbers, ranges)
        if not keep.any():
            asked = " ".join(map(str, ranges))
            raise DataError(f"--ranges {asked} leaves no frame: {path} has frames {numbers[0]} to {numbers[-1]}.")
        numbers, timestamps = numbers[keep], timestamps[keep]
        people = {name: points.only(keep) for name, points in people.items()}
    people = {name: _scaled(points, UNITS[used]) for name, points in people.items()}
    for name in [n for n, p in people.items() if (p.confidence > 0).sum(1).max(initial=0) < _LEAST_SEEN]:
        of = people.pop(name).skeleton.name
        warnings.append(f'Person "{name}" of {path} is left out: no frame shows {_LEAST_SEEN} of the joints of {of}.')
    if not people:
        raise DataError(f"{path} shows nobody: no frame has {_LEAST_SEEN} joints of {raw.skeleton.name}.")
    for points in people.values():
        _check_size(path, points, used)
    return StoredKeypoints3D(
        path=path,
        format=raw.format,
        skeleton=raw.skeleton,
        frames=numbers,
        timestamps=timestamps,
        people=people,
        unit=f"{used} (the dataset's)" if unit else f"{used} ({'the format' if raw.unit is None else 'the file'}'s)",
        up=raw.up,
        unmatched=raw.unmatched,
        notes=(*notes, *told),
        warnings=tuple(warnings),
    )


def _raw(path: Path, wanted: Skeleton | None) -> _Raw:
    if path.is_dir():
        folder = next((f for f in (path / "keypoints3d", path) if next(f.glob("*.json"), None) is not None), None)
        if folder is None:
            files = sorted(f.name for f in path.iterdir() if f.suffix.casefold() in _READERS)
            hint = f" Name one of its files: {', '.join(files[:5])}." if files else ""
            raise MissingFile(path, what="3D keypoints", remedy=f"Looked for keypoints3d/*.json and *.json.{hint}")
        return _read_json(folder, wanted)
    if not path.is_file():
        raise MissingFile(path, what="3D keypoints", remedy=f"Known are {', '.join(FORMATS)}; give one with --root.")
    reader = _READERS.get(path.suffix.casefold())
    if reader is None:
        raise BadFile(path, f"3D keypoints are read from {', '.join(FORMATS)}.")
    return reader(path, wanted)


# ---------------------------------------------------------------------------------------------- what holds for all


def _told(value: object) -> str:
    """Text of a file, or an error about it, as one sentence may quote it: a short line that no terminal obeys."""
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return text if len(text) <= 120 else f"{text[:117]}..."


def _unit(text: str) -> str | None:
    text = text.strip().casefold()
    return next((u for u, names in _UNIT_NAMES.items() if text in names or text.removesuffix("s") in names[1:]), None)


def _scaled(points: Points, scale: float) -> Points:
    if scale == 1.0:
        return points
    covariance = None if points.covariance is None else points.covariance * scale**2
    return Points(points.skeleton, points.xyz * scale, points.confidence, covariance)


def _hands_apart(people: Mapping[str, Points]) -> dict[str, Points]:
    """Of people who are two hands each, one after the other as people of their own: "0 left", "0 right"."""
    found = {}
    for name, points in people.items():
        if points.skeleton is not skeletons.HANDS42:
            found[name] = points
            continue
        for side, hand in skeletons.HANDS.items():
            own = points.skeleton.indices(hand.joints)
            if (points.confidence[:, own] > 0).any():
                covariance = None if points.covariance is None else points.covariance[:, own]
                one = Points(hand, points.xyz[:, own], points.confidence[:, own], covariance)
                found[side if len(people) == 1 else f"{name} {side}"] = one
    return found


def _check_size(path: Path, points: Points, used: str) -> None:
    """DataError when the limbs are no person's, or no hand's: the unit is another."""
    limbs = [limb for limb in points.skeleton.limbs if not skeletons.HANDS42.has(*limb)]
    who, bounds, usual = ("person", _LIMB, _USUAL_LIMB) if limbs else ("hand", _BONE, _USUAL_BONE)
    ends = np.array([points.skeleton.indices(limb) for limb in limbs or points.skeleton.limbs])
    rows = np.linspace(0, len(points.xyz) - 1, min(len(points.xyz), 1000)).astype(int)  # enough, and quick
    lengths = np.linalg.norm(points.xyz[rows][:, ends[:, 0]] - points.xyz[rows][:, ends[:, 1]], axis=-1)
    lengths = lengths[:, np.isfinite(lengths).any(0)]
    if not lengths.size:
        return
    limb = float(np.median(np.nanmedian(lengths, axis=0)))
    if bounds[0] <= limb <= bounds[1]:
        return
    if limb == 0:
        raise DataError(f"{path}: all joints lie in one point.")
    right = min(UNITS, key=lambda u: abs(math.log(limb / UNITS[used] * UNITS[u] / usual)))
    size = limb / usual
    told = f"{size:.3g} times too big" if size > 1 else f"{1 / size:.3g} times too small"
    if right == used:
        raise DataError(f"{path}: a {who} would be {told}, and no unit (m, cm, mm) puts that right: scale its points.")
    raise DataError(
        f"{path}: read in {used}, a {who} would be {told} (the median limb {limb:.3g} m long); say `unit: {right}` in "
        f"the dataset file (--set data.unit={right})."
    )


def _clock(path: Path, raw: _Raw, fps: float | None) -> tuple[Float[np.ndarray, " frames"], list[str]]:
    """When the frames were, by the file's own times, else by its rate, else by the dataset's."""
    times, rate, count = raw.times, raw.fps, len(raw.numbers)
    notes = []
    if times is not None and not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        if rate is None and fps is None and count > 1:
            raise BadFile(path, "its times do not increase from frame to frame, and it has no frame rate.")
        notes.append(f"{path}: its times do not increase from frame to frame; its frame rate is taken instead.")
        times = None
    if times is not None and rate is not None and raw.rounded:
        even = times[0] + (raw.numbers - raw.numbers[0]) / rate
        if np.abs(times - even).max() < 0.5 / rate:
            times = even
        else:
            notes.append(f"{path}: its times do not agree with its {rate:g} frames a second; the times are taken.")
    own = rate if times is None else 1 / float(np.median(np.diff(times))) if count > 1 else None
    if own is not None and fps is not None and abs(own / fps - 1) > 0.01:
        notes.append(f"{path} has {own:.4g} frames a second of its own; the dataset's fps of {fps:g} is not used.")
    if times is not None:
        return times, notes
    rate = rate or fps
    if rate is None:
        if count > 1:
            raise DataError(
                f"{path} does not say its frame rate: give it as fps in the dataset file (--set data.fps=30)."
            )
        rate = 1.0  # of a single frame, nothing depends on it
    return (raw.numbers - raw.numbers[0]) / rate, notes


def upward(people: Sequence[Float[np.ndarray, "frames joints 3"]], skeleton: Skeleton) -> str | None:
    """The axis along which heads and shoulders are above knees and ankles, mostly; None where that cannot be told."""
    tops = [j for j in ("nose", "neck", "head_top", "left_shoulder", "right_shoulder") if skeleton.has(j)]
    feet = [j for j in ("left_ankle", "right_ankle", "left_knee", "right_knee") if skeleton.has(j)]
    ways = []
    for xyz in people:
        rows = np.linspace(0, len(xyz) - 1, min(len(xyz), 1000)).astype(int)
        top, foot = (xyz[rows][:, skeleton.indices(js)] for js in (tops, feet))
        way = (top[:, :, None] - foot[:, None]).reshape(-1, 3)
        way = way[np.isfinite(way).all(1)]
        ways.append(way / np.maximum(np.linalg.norm(way, axis=1), 1e-9)[:, None])
    way = np.concatenate(ways) if ways else np.empty((0, 3))
    if not len(way):
        return None
    mean = way.mean(0)
    axis = int(np.abs(mean).argmax())
    if abs(mean[axis]) < 0.7:  # within 45 degrees; lying or bending people tell nothing
        return None
    return ("-" if mean[axis] < 0 else "") + "xyz"[axis]


# ---------------------------------------------------------------------------------------------- points by name


def _folded(label: str) -> str:
    return "".join(c for c in label.casefold() if c.isalnum())


def _names_of(joint: str) -> list[str]:
    """What a joint may be called, folded, the surest first."""
    words = joint.split("_")
    side = next((w for w in words if w in ("left", "right")), None)
    part = "".join(w for w in words if w != side)
    parts = (part, *_PARTS.get(part, ()))
    if side is None:
        return list(parts)
    return [form for p in parts for form in (side + p, side[0] + p, p + side, p + side[0])]


def match_joints(
    labels: Sequence[str], skeleton: Skeleton
) -> tuple[dict[str, Int[np.ndarray, " joints"]], tuple[str, ...]]:
    """For each person, the place among `labels` of each joint (-1: none); and the labels that are no joint.

    What stands before a colon names the person ("Ann:RKnee"). A label names one joint; of two labels for one joint the
    surer is taken.
    """
    people: dict[str, dict[str, int]] = {}
    for i, label in enumerate(labels):
        who, _, name = label.rpartition(":")
        people.setdefault(who, {}).setdefault(_folded(name), i)
    matched = {}
    for who, places in people.items():
        taken: set[int] = set()
        columns = np.full(len(skeleton), -1)
        for k, joint in enumerate(skeleton.joints):
            forms = [f for f in _names_of(joint) if f in places and places[f] not in taken]
            if forms:
                columns[k] = places[forms[0]]
                taken.add(places[forms[0]])
        if taken:
            matched[who] = columns
    used = {int(c) for columns in matched.values() for c in columns if c >= 0}
    return matched, tuple(label for i, label in enumerate(labels) if i not in used)


def _by_name(
    path: Path,
    labels: Sequence[str],
    wanted: Skeleton | None,
    take: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> dict[str, Any]:
    """Fields of a _Raw: skeleton, people and unmatched; `take(columns)` gives xyz and which of it is there."""
    labels = [_told(label) for label in labels]
    skeleton = wanted or skeletons.BODY25
    matched, unmatched = match_joints(labels, skeleton)
    for other in () if wanted else _WITH_FINGERS:
        by_who, rest = match_joints(labels, other)
        whole = all((columns >= 0).mean() > 0.5 for columns in by_who.values())  # a finger or two are no hand
        if whole and len(rest) < len(unmatched):
            skeleton, matched, unmatched = other, by_who, rest
    if not matched:
        has = ", ".join(labels[:30]) + (", ..." if len(labels) > 30 else "") if labels else "none"
        raise BadFile(
            path,
            f"none of its points is called like a joint of {skeleton.name}: it has {has}; wanted are names such as "
            f"RHip, RKnee, RAnkle, LShoulder or {', '.join(skeleton.joints[:4])} (or another `skeleton:`).",
        )
    people, notes = {}, []
    for who, columns in matched.items():
        joints = np.flatnonzero(columns >= 0)
        some, there = take(columns[joints])
        zeros = there & (some == 0).all(-1)
        if zeros.any():
            notes.append(f"{path}: {int(zeros.sum())} points at exactly (0, 0, 0) are taken as missing.")
        xyz = np.full((len(some), len(skeleton), 3), np.nan)
        confidence = np.zeros(xyz.shape[:2])
        xyz[:, joints], confidence[:, joints] = some, there & ~zeros
        people[who or "0"] = _points(skeleton, xyz, confidence)
    return {"skeleton": skeleton, "people": people, "unmatched": unmatched, "notes": tuple(notes)}


def _points(
    skeleton: Skeleton, xyz: np.ndarray, confidence: np.ndarray, covariance: np.ndarray | None = None
) -> Points:
    xyz, confidence = masked(xyz, confidence)
    return Points(skeleton, xyz, confidence, covariance)


# ---------------------------------------------------------------------------------------------- TRC


def _read_trc(path: Path, wanted: Skeleton | None) -> _Raw:
    """OpenSim's TRC: five lines of header, then tab-separated frame number, time, and x, y, z of each point."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            head = [stream.readline(1 << 20).rstrip("\r\n") for _ in range(5)]
            if not head[0].startswith("PathFileType") or not head[3].startswith("Frame#"):
                raise BadFile(path, "this is no TRC file, which begins with PathFileType and has Frame# in its line 4.")
            facts = dict(zip(head[1].split(), head[2].split(), strict=False))
            labels = [name.strip() for name in head[3].rstrip().split("\t")[2::3]]
            width = 2 + 3 * len(labels)
            table = _table(path, stream, width)
    except UnicodeDecodeError as error:
        raise BadFile(path, "this is no TRC file: it is no text.") from error
    numbers = table[:, 0]
    if not np.isfinite(numbers).all() or (np.diff(numbers) <= 0).any() or (numbers != np.rint(numbers)).any():
        raise BadFile(path, "its frame numbers (first column) must be whole and increase.")

    def take(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        xyz = table[:, 2:].reshape(len(table), -1, 3)[:, columns]
        return xyz, np.asarray(np.isfinite(xyz).all(-1))

    raw = _by_name(path, labels, wanted, take)
    rate = _number(facts.get("DataRate", ""))
    told = _number(facts.get("NumFrames", ""))
    warnings = []
    if told is not None and told != len(table):
        warnings.append(f"{path} says it has {told:g} frames and holds {len(table)}.")
    times = table[:, 1]
    return _Raw(
        format="TRC",
        **raw,
        numbers=numbers.astype(np.int64),
        times=times if np.isfinite(times).any() else None,
        rounded=True,
        fps=rate if rate is not None and rate > 0 else None,
        unit=facts.get("Units", ""),
        up="y",
        warnings=tuple(warnings),
    )


def _table(path: Path, stream: Iterator[str], width: int) -> Float[np.ndarray, "rows width"]:
    """The rows of a TRC; blank cells become NaN."""

    def filled() -> Iterator[str]:
        for line in stream:
            line = line.rstrip("\r\n")
            if line.strip():
                cells = line.count("\t") + 1
                if cells < width:
                    frame = _told(line[:12].split()[0])
                    raise BadFile(path, f"a row has {cells} of {width} cells: the file is cut off in frame {frame}.")
                if "\t\t" in line or line[-1] == "\t":
                    line = "\t".join(cell.strip() or "nan" for cell in line.split("\t"))
                yield line

    rows = filled()
    first = next(rows, None)
    if first is None:
        raise BadFile(path, "this TRC file holds no frame.")

    def all_rows() -> Iterator[str]:
        yield first
        yield from rows

    try:
        return np.loadtxt(all_rows(), delimiter="\t", usecols=range(width), ndmin=2, comments=None)
    except ValueError as error:
        raise BadFile(path, f"a cell is not a number ({_told(error)}).") from error


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


# ---------------------------------------------------------------------------------------------- C3D


def _read_c3d(path: Path, wanted: Skeleton | None) -> _Raw:
    points = read_c3d(path)
    return _Raw(
        format="C3D",
        **_by_name(path, points.labels, wanted, points.xyz),
        numbers=points.first + np.arange(points.frames),
        fps=points.rate or None,
        unit=points.unit,
        up=points.up,
    )


# ---------------------------------------------------------------------------------------------- npz


def _read_npz(path: Path, wanted: Skeleton | None) -> _Raw:
    """`keypoints3d` (frames, joints, 4), or (frames, joints, 3) with `keypoints3d_confidence`; docs/conventions.md."""
    names = ("keypoints3d", "keypoints3d_confidence", "keypoints3d_covariance", "fps", "skeleton", "keypoint_names")
    try:
        # opened here, since np.load leaves a damaged file open
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            found = {name: file[name] for name in (*names, "timestamps", "frames") if name in file.files}
            held = list(file.files)
    except _DAMAGE as error:
        raise BadFile(path, f"this is no npz of numbers, or a damaged one ({_told(error)}).") from error
    if "keypoints3d" not in found:
        raise BadFile(path, f"it has no array called keypoints3d; it has {', '.join(map(_told, held[:20])) or 'none'}.")
    xyz = found["keypoints3d"]
    if xyz.dtype.kind not in "fiu" or xyz.ndim != 3 or xyz.shape[2] not in (3, 4) or not len(xyz):
        raise BadFile(
            path,
            f"keypoints3d must be numbers of shape (frames, joints, 4): x, y, z, confidence; or (frames, joints, 3). "
            f"It is {xyz.shape} of {xyz.dtype}.",
        )
    frames, joints = xyz.shape[:2]

    def checked(name: str, *shape: int) -> np.ndarray | None:
        value = found.get(name)
        if value is not None and (value.dtype.kind not in "fiu" or value.shape != shape):
            raise BadFile(path, f"{name} must be numbers of shape {shape}, not {value.shape} of {value.dtype}.")
        return value

    notes: list[str] = []
    confidence = checked("keypoints3d_confidence", frames, joints)
    if confidence is None and xyz.shape[2] == 4:
        confidence = xyz[..., 3]
    if confidence is None:
        notes.append(f"{path}: it has no confidence; every point that is a number counts alike.")
        confidence = np.ones((frames, joints))
    covariance = checked("keypoints3d_covariance", frames, joints, 3, 3)
    numbers = checked("frames", frames)
    numbers = np.arange(frames) if numbers is None else numbers.astype(np.int64)
    if (np.diff(numbers) <= 0).any():
        raise BadFile(path, "frames, its frame numbers, must increase.")
    fps = checked("fps") if np.ndim(found.get("fps", 0)) == 0 else checked("fps", 1)
    rate = None if fps is None else float(np.reshape(fps, ()))
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise BadFile(path, f"fps must be greater than 0, not {rate:g}.")
    skeleton, told = _skeleton_of_npz(path, found.get("skeleton"), joints, wanted)
    return _Raw(
        format="npz",
        skeleton=skeleton,
        people={"0": _points(skeleton, xyz[..., :3], confidence, covariance)},
        numbers=numbers,
        times=checked("timestamps", frames),
        fps=rate,
        notes=(*notes, *told),
    )


def _skeleton_of_npz(
    path: Path, written: np.ndarray | None, joints: int, wanted: Skeleton | None
) -> tuple[Skeleton, list[str]]:
    notes = []
    if wanted is not None:
        found = wanted
    elif written is not None:
        name = str(written.reshape(-1)[0]) if written.dtype.kind in "US" and written.size == 1 else str(written)
        found = _named(name, f"{path}: skeleton")
    else:
        found, notes = _by_count(path, joints)
    if len(found) != joints:
        raise BadFile(path, f"it has {joints} joints, and {found.name} has {len(found)}.")
    return found, notes


def _named(name: str, where: str) -> Skeleton:
    """The set of that name, however it is spelled."""
    spelled = {_folded(known): known for known in skeletons.SKELETONS}
    if _folded(name) not in spelled:
        raise UnknownName("skeleton", _told(name), skeletons.SKELETONS, where=where)
    return skeletons.get(spelled[_folded(name)])


def _by_count(path: Path, joints: int) -> tuple[Skeleton, list[str]]:
    hands = [s.name for s in skeletons.HANDS.values()]
    if joints == len(skeletons.LEFT_HAND21):
        raise BadFile(
            path,
            f"its {joints} points are a hand's, and nothing says which hand: give {' or '.join(hands)} as `skeleton:` "
            f"in the dataset file (--set data.skeleton={hands[1]}).",
        )
    if joints not in _BY_COUNT:
        known = ", ".join(f"{count} ({name})" for count, name in _BY_COUNT.items())
        raise BadFile(path, f"it has {joints} joints and does not say which; known are {known}, or name a `skeleton:`.")
    found = skeletons.get(_BY_COUNT[joints])
    return found, [f"{path}: {joints} joints are taken for {found.name}; name another `skeleton:` where they are not."]


# ---------------------------------------------------------------------------------------------- EasyMocap


def _read_json(folder: Path, wanted: Skeleton | None) -> _Raw:
    """One file a frame, its number the last in the file's name; a frame without a file shows nobody."""
    files = sorted(folder.glob("*.json"), key=lambda file: natural_key(file.name))
    numbers: dict[int, Path] = {}
    rows: dict[str, list[tuple[int, np.ndarray]]] = {}
    sets: dict[str, str | None] = {}
    for file in progress.track(files, "reading", unit="files"):
        number = last_number(file.stem)
        if number is None:
            raise BadFile(file, "its name has no frame number; EasyMocap's are 000000.json, 000001.json ...")
        if number in numbers:
            raise BadFile(file, f"frame {number} is that of {numbers[number].name} too.")
        numbers[number] = file
        for who, values, told in _people_of_frame(file):
            rows.setdefault(who, []).append((number, values))
            if sets.setdefault(who, told) != told:
                raise BadFile(file, f'person "{who}" is {_told(told)} here and {_told(sets[who])} in another frame.')
    if not rows:
        raise DataError(f"{folder} shows nobody in any of its {len(files)} files.")
    seen = np.array(sorted(numbers))
    step = int(np.gcd.reduce(np.diff(seen))) if len(seen) > 1 else 1
    count = int(seen[-1] - seen[0]) // step + 1
    if count > _SPARSE * len(seen) + 1000:
        raise BadFile(
            folder,
            f"its {len(seen)} files are numbered {seen[0]} to {seen[-1]}: the last number in a name must count frames.",
        )
    sizes = {values.shape for row in rows.values() for _, values in row}
    if len(sizes) > 1:
        raise BadFile(folder, f"its people have different numbers of points: {', '.join(map(str, sorted(sizes)))}.")
    joints, width = sizes.pop()
    notes: list[str] = []
    if wanted is not None:
        found = dict.fromkeys(rows, wanted)
    elif all(sets.values()):
        where = f"{folder}: skeleton"
        found = {who: _named(str(name), where) for who, name in sets.items()}
    else:
        if joints == _WITH_FACE:
            notes.append(f"{folder}: of {joints} points the first 67 are taken, as bodyhand67; the face is not used.")
            joints = len(skeletons.BODYHAND67)
        skeleton, told = _by_count(folder, joints)
        hands = [v[25:joints] for row in rows.values() for _, v in row] if skeleton is skeletons.BODYHAND67 else []
        if hands and not any(v[:, -1].any() for v in hands):
            notes.append(f"{folder}: its hands are empty: of {joints} points the first 25 are taken, as body25.")
            skeleton, told, joints = skeletons.BODY25, [], len(skeletons.BODY25)
        notes += told
        found = dict.fromkeys(rows, skeleton)
    for skeleton in found.values():
        if len(skeleton) != joints:
            raise BadFile(folder, f"a person has {joints} points, and {skeleton.name} has {len(skeleton)}.")
    if count > len(seen):
        notes.append(f"{folder}: {count - len(seen)} frames between the first and the last have no file: nobody there.")
    people = {}
    for who in sorted(rows, key=natural_key):
        places = np.array([number for number, _ in rows[who]]) - seen[0]
        values = np.stack([v[:joints] for _, v in rows[who]])
        xyz, confidence = np.full((count, joints, 3), np.nan), np.zeros((count, joints))
        xyz[places // step] = values[..., :3]
        confidence[places // step] = values[..., 3] if width == 4 else 1.0
        people[who] = _points(found[who], xyz, confidence)
    several = len(set(found.values())) > 1  # left and right hands
    return _Raw(
        format="EasyMocap json",
        skeleton=skeletons.HANDS42 if several else next(iter(found.values())),
        people=people,
        numbers=seen[0] + step * np.arange(count),
        notes=tuple(notes),
    )


def _people_of_frame(file: Path) -> list[tuple[str, Float[np.ndarray, "joints width"], str | None]]:
    """Of each person: id, points, and the name of the set they are of, where the file says it."""
    try:
        found = []
        for entry in json.loads(file.read_bytes()):
            values = np.array(entry["keypoints3d"], dtype=float)
            if values.ndim != 2 or values.shape[1] not in (3, 4):
                raise ValueError(f"keypoints3d is {values.shape}, not (joints, 4)")
            found.append((_told(entry.get("id", 0)), values, entry.get("skeleton")))
        if len({who for who, *_ in found}) < len(found):
            raise ValueError("two people have the same id")
        return found
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:  # json's error is a ValueError
        raise BadFile(file, f"these are no 3D keypoints as EasyMocap writes them ({_told(error)}).") from error


_READERS: dict[str, Callable[[Path, Skeleton | None], _Raw]] = {".npz": _read_npz, ".trc": _read_trc, ".c3d": _read_c3d}
