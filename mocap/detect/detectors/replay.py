"""Detections made before: by OpenPose, in COCO's json, or by this program's own cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mocap.detect import stored
from mocap.detect.detectors.base import Detector, Seen
from mocap.errors import DataError, MissingFile, unknown_name_sentence
from mocap.io.calibration.matching import look_up
from mocap.io.footage import frame_numbers
from mocap.io.stored_detections import read_detections
from mocap.options import options
from mocap.skeletons import BODY25, BODY25B, Skeleton
from mocap.take import View

Format = Literal["body25", "body25b", "coco17", "mediapipe33", "lsp14"]


class _View(NamedTuple):
    """One view's detections, by the number of the frame."""

    xy: Float[np.ndarray, "frames candidates joints 2"]
    confidence: Float[np.ndarray, "frames candidates joints"]
    numbers: Int[np.ndarray, " frames"]
    skeleton: Skeleton
    notes: list[str]


@options
class Replay(Detector):
    """Detections stored before: OpenPose json (one file a frame), COCO json or mocap's own .npz (one file a view)."""

    reads_pixels: ClassVar[bool] = False

    folder: Path | None = None
    """Where a view's are: `openpose/{view}_json` or `keypoints/{view}.json`; or a folder that holds one folder or file
    a view, by a name like the view's. Looked up from the current folder, then from the footage upward. null: what
    stands for the footage (`keypoints` of the dataset)."""
    format: Format | None = None
    """Which keypoints they are; null: told from their number and, of 25, from whether points 15 and 16 are beside the
    nose (BODY_25) or not (BODY_25B)."""
    first_frame: int | None = None
    """The number the files give to the footage's first frame; null: the footage's own (0 for a video), or the files'
    lowest where their numbers run beyond the footage."""

    def skeleton(self, view: View) -> Skeleton:
        """What the files hold."""
        return self._read(view).skeleton

    def key(self) -> str:
        """Nothing is cached: the files are what is kept."""
        return ""

    def check(self, footage: Mapping[str, View]) -> None:
        """MissingFile when a view has no detections."""
        for view in footage.values():
            self._path(view)

    def detect_view(self, view: View, indices: Int[np.ndarray, " frames"]) -> Iterator[tuple[int, Seen | None]]:
        """Candidates frame by frame; a frame without a file has none."""
        found = self._read(view)
        names = frame_numbers(view)
        wanted = names[indices] - names[0] + self._first(view, found.numbers)
        place = {number: k for k, number in enumerate(found.numbers.tolist())}
        nobody = Seen(np.zeros((0, len(found.skeleton), 2)), np.zeros((0, len(found.skeleton))))
        for index, number in zip(indices.tolist(), wanted.tolist(), strict=True):
            k = place.get(number)
            if k is None:
                yield index, nobody
            else:
                some = np.flatnonzero((found.confidence[k] > 0).any(-1))
                yield index, Seen(found.xy[k, some], found.confidence[k, some])

    def notes(self, view: View) -> list[str]:
        """What was dropped from the files, and how their frames were taken for the footage's."""
        found = self._read(view)
        names = frame_numbers(view)
        said = list(found.notes)
        if not len(found.numbers):
            return said
        first = self._first(view, found.numbers)
        if self.first_frame is None and first != names[0]:
            said.append(f'View "{view.name}": frame {first} of {self._path(view)} is taken for its first.')
        elif self.first_frame is None and names[0] == 0 and found.numbers[0] == 1:
            said.append(
                f'View "{view.name}": frame 1 of {self._path(view)} is taken for its second, since nothing runs beyond '
                "the footage; first_frame: 1 takes it for the first."
            )
        beyond = (found.numbers < first) | (found.numbers > first + names[-1] - names[0])
        if beyond.any():
            said.append(f'View "{view.name}": {int(beyond.sum())} frames of {self._path(view)} are not in its footage.')
        return said

    def _first(self, view: View, numbers: Int[np.ndarray, " n"]) -> int:
        names = frame_numbers(view)
        if self.first_frame is not None or not len(numbers) or names[0] <= numbers[0] <= numbers[-1] <= names[-1]:
            return int(names[0] if self.first_frame is None else self.first_frame)
        if numbers[-1] - numbers[0] <= names[-1] - names[0]:
            return int(numbers[0])
        raise DataError(
            f'View "{view.name}" has {view.frames} frames and {self._path(view)} numbers them {numbers[0]} to '
            f"{numbers[-1]}; say with first_frame which is the first, or give the detections of this footage."
        )

    def _read(self, view: View) -> _View:
        return _read(self._path(view), self.format)

    def _path(self, view: View) -> Path:
        if self.folder is None:
            if view.files or not (view.path.is_dir() or view.path.suffix.casefold() in (".json", ".npz")):
                raise DataError("The replay detector needs `folder`: where the stored detections are.")
            return view.path
        folder = Path(str(self.folder).replace("{view}", view.name))
        bases = [Path(), *view.path.absolute().parents]
        found = next((base / folder for base in bases if (base / folder).exists()), None)
        if found is None:
            raise MissingFile(folder, what=f'Stored detections of view "{view.name}"')
        if "{view}" in str(self.folder) or found.is_file():
            return found
        known = {p.stem if p.is_file() else p.name: p for p in sorted(found.iterdir()) if _holds_detections(p)}
        entry = look_up(view.name, known)
        if entry is None:
            raise MissingFile(
                found / view.name,
                what=f'Stored detections of view "{view.name}"',
                remedy=unknown_name_sentence("view", view.name, known),
            )
        return entry[1]


def _holds_detections(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return (
        path.suffix.casefold() in (".json", ".npz") if path.is_file() else next(path.glob("*.json"), None) is not None
    )


@lru_cache(maxsize=64)
def _read(path: Path, format: str | None) -> _View:
    """Read once a run, though asked for several times."""
    if path.suffix.casefold() == ".npz":
        own = stored.read(path)
        return _View(own.xy.astype(float), own.confidence.astype(float), own.frames, own.skeleton, [])
    found = read_detections(path, format)
    if found.skeleton is not BODY25 or format is not None:
        return _View(found.xy, found.confidence, found.frame_numbers, found.skeleton, list(found.notes))
    # OpenPose has two sets of 25 points: 15 and 16 are the eyes, beside the nose, in BODY_25, the ankles in BODY_25B
    nose, ends = found.xy[:, :, :1], found.xy[:, :, 15:17]
    farthest = np.nan_to_num(np.linalg.norm(found.xy - nose, axis=-1)).max(-1, keepdims=True)
    away = np.linalg.norm(ends - nose, axis=-1)
    seen = np.isfinite(away) & (farthest > 0)
    far = away[seen] > 0.5 * np.broadcast_to(farthest, away.shape)[seen]
    skeleton = BODY25B if far.size and far.mean() > 0.5 else BODY25
    where = "far from" if skeleton is BODY25B else "beside"
    notes = [note for note in found.notes if "BODY_25" not in note]
    notes.append(f"{path}: 25 points are taken as {skeleton.name}, since points 15 and 16 are {where} the nose.")
    return _View(found.xy, found.confidence, found.frame_numbers, skeleton, notes)
