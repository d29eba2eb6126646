"""Detections other tools stored as JSON: OpenPose (one file a frame) and COCO (one file a view)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mocap import skeletons
from mocap.errors import BadFile, MissingFile
from mocap.io.footage import last_number, natural_key
from mocap.skeletons import Skeleton
from mocap.take import masked

_BY_COUNT = {14: "lsp14", 17: "coco17", 25: "body25", 33: "mediapipe33"}
"""What a number of points is taken for. 25 are also BODY_25B's, which must be named."""
_VISIBILITY = np.array([0.0, 0.5, 1.0])
"""Confidence for COCO's flags of hand-made annotations: not labelled, labelled but hidden, visible."""


class StoredDetections(NamedTuple):
    """All people one view's files hold, frame by frame, padded with missing ones."""

    xy: Float[np.ndarray, "frames candidates joints 2"]
    """[px] of the view's image, NaN where missing."""
    confidence: Float[np.ndarray, "frames candidates joints"]
    """In [0, 1], 0 where missing."""
    frame_numbers: Int[np.ndarray, " frames"]
    """Increasing; frames without a file are not among them."""
    skeleton: Skeleton
    notes: list[str]
    """Sentences: points dropped since they were not numbers, and what was assumed."""


def discover_detections(root: Path) -> dict[str, Path]:
    """View name -> `root`/<view>/*.json (OpenPose) or `root`/<view>.json (COCO), in natural order.

    A name is as the folder or file has it (`cam01_json`); `calibration.normalised` tells whose it is.
    """
    root = Path(root)
    found = {}
    if root.is_dir():
        found = {p.stem if p.is_file() else p.name: p for p in root.iterdir() if _holds_json(p)}
    if not found:
        raise MissingFile(root, what="Stored detections", remedy="Looked for <view>/*.json and <view>.json.")
    return {name: found[name] for name in sorted(found, key=natural_key)}


def _holds_json(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return next(path.glob("*.json"), None) is not None
    return path.suffix.casefold() == ".json"


def read_detections(path: Path, skeleton: str | None = None) -> StoredDetections:
    """One view's stored detections: a folder is read as OpenPose's, a file as COCO's."""
    path = Path(path)
    return read_openpose(path, skeleton) if path.is_dir() else read_coco(path, skeleton)


def read_openpose(folder: Path, skeleton: str | None = None) -> StoredDetections:
    """OpenPose's output of one view: `pose_keypoints_2d` of every person of every frame, in the order of the files.

    Args:
        folder: With one JSON a frame. A frame's number is the last integer in its file's name (`cam01.0007.json`,
            `cam_000000000007_keypoints.json`).
        skeleton: Name of the keypoint set. None: by the number of points; 25 are taken for BODY_25, and BODY_25B must
            be named (`body25b`).

    Raises:
        MissingFile: No folder, or no JSON in it.
        BadFile: A file that is not OpenPose's, two files of one frame, or a person with a wrong number of values.
        UnknownName: `skeleton` is no known keypoint set.
    """
    folder = Path(folder)
    files = sorted(folder.glob("*.json"), key=lambda file: natural_key(file.name)) if folder.is_dir() else []
    if not files:
        raise MissingFile(folder, what="OpenPose detections (*.json)")
    people: dict[int, list[np.ndarray]] = {}
    first: dict[int, Path] = {}
    for place, file in enumerate(files):
        tree = _load(file)
        if not isinstance(tree, dict) or not isinstance(tree.get("people"), list):
            raise BadFile(file, 'not a file of OpenPose, which has a list called "people".')
        last = last_number(file.stem)
        number = place if last is None else last
        if number in first:
            raise BadFile(file, f"frame {number} is that of {first[number].name} too; one folder must hold one view.")
        first[number] = file
        people[number] = []
        for i, person in enumerate(tree["people"]):
            row = person.get("pose_keypoints_2d", person.get("pose_keypoints")) if isinstance(person, dict) else None
            if not isinstance(row, list):
                raise BadFile(file, f"person {i} has no list called pose_keypoints_2d.")
            people[number].append(_values(row, f"person {i}", file))
    return _arranged(people, lambda number: str(first[number]), skeleton, folder)


def read_coco(file: Path, skeleton: str | None = None) -> StoredDetections:
    """COCO keypoints of one view: a list of results (`image_id`, `keypoints`, `score`) or a file of annotations.

    A frame's number is its `image_id`, or the last integer in it or in its `file_name` where that is text. Images that
    an annotation file lists without anybody are frames with nobody. Annotations carry COCO's visibility flags, which
    become confidence 0, 0.5 (hidden) and 1.

    Args:
        file: The JSON.
        skeleton: Name of the keypoint set; None: by the number of points, 17 being COCO's.

    Raises:
        MissingFile: No such file.
        BadFile: Not COCO's, or a person with a wrong number of values.
        UnknownName: `skeleton` is no known keypoint set.
    """
    file = Path(file)
    if not file.is_file():
        raise MissingFile(file, what="COCO detections")
    tree = _load(file)
    annotated = isinstance(tree, dict)
    entries = tree.get("annotations") if isinstance(tree, dict) else tree
    if not isinstance(entries, list):
        raise BadFile(file, 'not COCO keypoints: neither a list of results nor an object with "annotations".')
    images = {}
    if isinstance(tree, dict) and isinstance(tree.get("images"), list):
        for image in tree["images"]:
            if not isinstance(image, dict) or "id" not in image:
                raise BadFile(file, 'an entry of "images" has no id.')
            images[image["id"]] = _frame_number(image.get("file_name", image["id"]), file)
    people: dict[int, list[np.ndarray]] = {number: [] for number in images.values()}
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict) or "image_id" not in entry or not isinstance(entry.get("keypoints"), list):
            raise BadFile(file, f"entry {i} has no image_id or no list of keypoints.")
        image_id = entry["image_id"]
        number = images[image_id] if image_id in images else _frame_number(image_id, file)
        people.setdefault(number, []).append(_values(entry["keypoints"], f"entry {i}", file))
    return _arranged(people, lambda number: f"{file}: frame {number}", skeleton, file, flags=annotated)


def _frame_number(value: Any, file: Path) -> int:
    number = value if isinstance(value, int) else last_number(Path(value).stem) if isinstance(value, str) else None
    if number is None:
        raise BadFile(file, f"no frame number in the image {value!r}.")
    return number


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except json.JSONDecodeError as error:
        raise BadFile(file, f"not JSON: {error.msg}; the file may be cut off.", line=error.lineno) from error
    except UnicodeDecodeError as error:
        raise BadFile(file, "not JSON: it is no text.") from error


def _values(row: list[Any], told: str, file: Path) -> Float[np.ndarray, " values"]:
    try:
        return np.array(
            row, dtype=float
        )  # null becomes NaN; at once, since lists of numbers take eight times the memory
    except (TypeError, ValueError):
        raise BadFile(file, f"{told} has a value that is not a number.") from None


def _arranged(
    people: Mapping[int, Sequence[np.ndarray]],
    told: Callable[[int], str],
    skeleton: str | None,
    path: Path,
    *,
    flags: bool = False,
) -> StoredDetections:
    """Rows of x, y, confidence by frame number as arrays; `told(number)` names a frame in errors."""
    numbers = sorted(people)
    where = [(number, i) for number in numbers for i in range(len(people[number]))]
    rows = [row for number in numbers for row in people[number]]
    if skeleton is not None:
        joints_set = skeletons.get(skeleton)
    elif not rows:
        raise BadFile(path, "nobody in any frame, so its keypoint set cannot be told; name it.")
    elif rows[0].size % 3 == 0 and rows[0].size // 3 in _BY_COUNT:
        joints_set = skeletons.get(_BY_COUNT[rows[0].size // 3])
    else:
        known = ", ".join(f"{3 * count} ({name})" for count, name in _BY_COUNT.items())
        raise BadFile(path, f"a person has {rows[0].size} values (x, y, confidence each); known are {known}.")
    joints = len(joints_set)
    for (number, i), row in zip(where, rows, strict=True):
        if row.size != 3 * joints:
            raise BadFile(
                told(number),
                f"person {i} has {row.size} values, not the {3 * joints} of {joints_set.name} (x, y, confidence each).",
            )
    flat = np.array(rows).reshape(len(rows), joints, 3)
    counts = np.array([len(people[number]) for number in numbers], dtype=int)
    values = np.full((len(numbers), max(1, counts.max(initial=0)), joints, 3), np.nan)
    frame = np.repeat(np.arange(len(numbers)), counts)
    candidate = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    values[frame, candidate] = flat
    notes = []
    broken = ~np.isfinite(flat).all(-1)
    if broken.any():
        number, i = where[int(np.flatnonzero(broken.any(axis=-1))[0])]
        notes.append(
            f"{path}: {int(broken.sum())} points hold NaN or null and are taken as missing, "
            f"the first of person {i} in frame {number}."
        )
    if skeleton is None and joints_set.name == "body25":
        notes.append(f"{path}: 25 points are taken as BODY_25; name body25b where they are BODY_25B's.")
    confidence = values[..., 2]
    if flags:
        confidence = np.where(
            np.isin(confidence, (0, 1, 2)), _VISIBILITY[np.nan_to_num(confidence).astype(int).clip(0, 2)], confidence
        )
    xy, confidence = masked(values[..., :2], confidence)
    return StoredDetections(xy, confidence, np.array(numbers, dtype=np.int64), joints_set, notes)
