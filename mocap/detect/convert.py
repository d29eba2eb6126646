"""2D joints of any keypoint set as SMPLify's `est_joints`: LSP's fourteen, by name."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mocap import skeletons
from mocap.detect import run
from mocap.detect.associate import prominence
from mocap.detect.detectors.mediapipe import Mediapipe
from mocap.errors import BadFile, ConfigError, DataError, MissingFile, UnknownName
from mocap.io import lsp
from mocap.io.lsp import Joints
from mocap.io.pictures import find_pictures, listed, open_pictures
from mocap.io.stored_detections import read_detections
from mocap.skeletons import LSP14, Skeleton
from mocap.take import masked

ORDERS = {
    "cpm": "cpm14",
    "lsp": "lsp14",
    "openpose": None,
    "coco": "coco17",
    "mediapipe": "mediapipe33",
    "body25": "body25",
    "body25b": "body25b",
}
"""What an order of joints is called -> the keypoint set; None: told by their number."""


class Converted(NamedTuple):
    """Joints of one person a picture, in LSP's order."""

    joints: Joints
    skeleton: Skeleton
    """What they were converted from."""
    notes: list[str]


def lsp_joints(source: Path, order: str, *, workers: int = 1) -> Converted:
    """Joints in any order, as LSP's.

    Args:
        source: An .npz or .npy, a folder of OpenPose's json, a .json of COCO, or a folder of pictures to detect.
        order: One of `ORDERS`.
        workers: Processes that detect at once.

    Raises:
        MocapError: An unknown order, a file of another kind or shape, or pictures that cannot be read.
    """
    if order not in ORDERS:
        raise UnknownName("order of joints", order, ORDERS, where="--from")
    if not source.exists():
        raise MissingFile(source, what="Joints")
    named = ORDERS[order]
    suffix = source.suffix.casefold()
    notes: list[str] = []
    if source.is_file() and suffix in (".npz", ".npy"):
        if named is None:
            raise ConfigError(f"{source} does not name its joints: say --from body25, body25b, coco, cpm or lsp.")
        skeleton = skeletons.get(named)
        found = from_array(source, skeleton)
    elif suffix == ".json" or (source.is_dir() and next(source.glob("*.json"), None) is not None):
        stored = read_detections(source, named)
        skeleton, notes = stored.skeleton, [*stored.notes, *_gaps(source, stored.frame_numbers)]
        xy, confidence, more = _most_prominent(stored.xy, stored.confidence)
        found, notes = Joints(xy, confidence), [*notes, *more]
    elif order == "mediapipe":
        skeleton = skeletons.get("mediapipe33")
        found, notes = _detected(source, workers)
    else:
        raise BadFile(source, "is none of .npz, .npy, .json, and no folder of json; only mediapipe reads pictures.")
    xy, confidence = skeletons.convert(found.xy, found.confidence, skeleton, LSP14)
    had = np.asarray(skeletons.conversion(skeleton, LSP14).any(1))
    lacking = [joint for joint, known in zip(LSP14.joints, had, strict=True) if not known]
    if lacking:
        notes.append(f"{skeleton.name} has no {' and no '.join(lacking)}: missing in every picture, confidence 0.")
    nobody = int((confidence == 0).all(-1).sum())
    if nobody == len(xy):
        raise DataError(f"{source} holds nobody in any of {len(xy)} pictures.")
    if nobody:
        notes.append(f"Nobody is in {nobody} of {len(xy)} pictures.")
    return Converted(Joints(xy, confidence), skeleton, notes)


def write(found: Converted, path: Path, source: Path) -> None:
    """Writes `est_joints.npz`; ConfigError when that would replace the source."""
    if path.suffix.casefold() != ".npz":
        raise ConfigError(f"--out {path}: SMPLify's joints are an .npz.")
    if path.resolve() == source.resolve():
        raise ConfigError(f"--out {path} is the source itself: give another file.")
    lsp.write_joints(path, found.joints)


def from_array(path: Path, skeleton: Skeleton) -> Joints:
    """An array of pictures x joints x 2 or 3; or, as `est_joints` is, of rows x joints x pictures.

    Raises:
        BadFile: Of another shape; or of one that fits both ways.
    """
    key, array = lsp.array_in(path)
    shape, joints = array.shape, len(skeleton)
    told = " x ".join(map(str, shape))
    by_picture = array.ndim == 3 and shape[1] == joints and shape[2] in (2, 3) and shape[0] > 0
    by_row = array.ndim == 3 and shape[1] == joints and shape[0] in lsp.ROWS and shape[2] > 0
    if by_row and (key == lsp.KEY or not by_picture):
        return lsp.joints_of(array, path, joints=joints)
    if by_row:
        raise BadFile(path, f'{told} may be read both ways: call an array of rows first "{lsp.KEY}" in an .npz.')
    if not by_picture:
        raise BadFile(
            path,
            f"its array is {told or 'a single number'}; joints of {skeleton.name} are pictures x {joints} x 2 or 3 "
            f"(x, y, confidence), or {lsp.RIGHT_SHAPE.partition(' (')[0].replace('14', str(joints))} as est_joints is.",
        )
    # as the rows of est_joints are, so that both mean the same
    return lsp.joints_of(np.ascontiguousarray(array.transpose(2, 1, 0)), path, joints=joints)


def _most_prominent(
    xy: Float[np.ndarray, "pictures candidates joints 2"], confidence: Float[np.ndarray, "pictures candidates joints"]
) -> tuple[Float[np.ndarray, "pictures joints 2"], Float[np.ndarray, "pictures joints"], list[str]]:
    """Of each picture's candidates the largest and surest, and a sentence on how many there were."""
    chosen = prominence(xy, confidence).argmax(1)
    rows = np.arange(len(xy))
    several = int(((confidence > 0).any(-1).sum(1) > 1).sum())
    notes = [f"Several people are in {several} pictures: the largest and surest is taken."] if several else []
    return (*masked(xy[rows, chosen], confidence[rows, chosen]), notes)


def _gaps(source: Path, numbers: Int[np.ndarray, " pictures"]) -> list[str]:
    missing = int(numbers[-1] - numbers[0]) + 1 - len(numbers)
    if missing <= 0:
        return []
    return [
        f"{source} is numbered {numbers[0]} to {numbers[-1]} and lacks {missing} of them: est_joints has an entry "
        f"for each of its {len(numbers)}, so there must be as many pictures."
    ]


def _detected(source: Path, workers: int) -> tuple[Joints, list[str]]:
    """mediapipe's joints of every picture of a folder; one that cannot be read has none."""
    names = list(find_pictures(source))
    views, _, unreadable = open_pictures(find_pictures(source))
    if not views:
        raise DataError(f"None of {len(names)} pictures of {source} can be read.")
    detector = Mediapipe()
    run.check(detector, views)
    first = np.zeros(1, dtype=np.int64)
    seen, facts = run.detect_views(views, dict.fromkeys(views, first), detector, workers=workers)
    joints = len(skeletons.MEDIAPIPE33)
    xy, confidence = np.full((len(names), joints, 2), np.nan), np.zeros((len(names), joints))
    several = []
    for row, name in enumerate(names):
        if name in seen and seen[name].xy.shape[1]:
            here = seen[name]
            xy[row : row + 1], confidence[row : row + 1], more = _most_prominent(here.xy, here.confidence)
            several += [name] if more else []
    notes = [*facts["notes"], *facts["warnings"]]
    if several:
        notes.append(
            f"Several people are in {len(several)} pictures ({listed(several)}): the largest and surest is taken."
        )
    if unreadable:
        notes.append(f"{len(unreadable)} of {len(names)} pictures cannot be read: {listed(unreadable)}.")
    return Joints(xy, confidence), notes
