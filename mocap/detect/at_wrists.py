"""Hands of people whose bodies are known in 2D, looked for at their wrists in every view and added to the bodies."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from mocap.detect import run
from mocap.detect.detectors.base import Detector, Seen
from mocap.detect.detectors.mediapipe_hands import MediapipeHands
from mocap.detect.mediapipe_tasks import given, milliseconds
from mocap.detect.wrists import AROUND, CROP, SIDES, Hands, beside, cut_out, in_view, put_back, whose, with_hands
from mocap.errors import DataError
from mocap.io.footage import read_frames
from mocap.skeletons import HANDS42, MEDIAPIPE33, Skeleton
from mocap.take import Keypoints2D, View

if TYPE_CHECKING:
    from mediapipe import Image

_FEW = 0.3
"""A hand found in less of the frames in which its wrist is seen is warned of."""


def add_hands(
    footage: Mapping[str, View],
    people: Sequence[Mapping[str, Keypoints2D]],
    detector: MediapipeHands,
    *,
    least: float,
    workers: int = 1,
    cache: Path | None = None,
) -> tuple[list[dict[str, Keypoints2D]], dict[str, Any]]:
    """Bodies with their hands.

    Args:
        footage: Views by name.
        people: Of each the body in the views it was seen in, of mediapipe33.
        detector: What finds hands in a picture.
        least: A wrist less sure than this is not gone by.
        workers: How many views are worked on at once.
        cache: Folder in which what was found is kept, as by :func:`mocap.detect.run.detect_views`.

    Returns:
        The people, of mediapipe75, in the same views and frames; and facts for the report: by view how many frames were
        `asked` for a left and a right hand and in how many one was `found`, how many hands were `rejected`, `fps`; and
        `warnings`.

    Raises:
        DataError: Bodies of another set.
        MocapError: From the detector.
    """
    require_bodies(people)
    here = {
        name: in_view(view, [person.get(name) for person in people], least=least)
        for name, view in footage.items()
        if any(name in person for person in people)
    }
    places = {name: known.places for name, known in here.items()}
    found, told = run.detect_views(
        {name: footage[name] for name in here},
        places,
        AtWrists(detector, places, {name: known.hands for name, known in here.items()}),
        workers=workers,
        cache=cache,
        label="detect hands",
    )
    made: list[dict[str, Keypoints2D]] = [{} for _ in people]
    views: dict[str, Any] = {}
    warnings: list[str] = []
    for name, known in here.items():
        chosen = whose(found[name].xy, found[name].confidence, known.hands)
        asked, got = np.isfinite(known.hands.size).sum(0), (chosen.confidence[..., 0] > 0).sum(0)
        views[name] = {
            "frames": len(known.places),
            "asked": {side: int(asked[k::2].sum()) for k, side in enumerate(SIDES)},
            "found": {side: int(got[k::2].sum()) for k, side in enumerate(SIDES)},
            "rejected": int(chosen.rejected.sum()),
            **{fact: told["views"][name][fact] for fact in ("frames_cached", "seconds", "fps")},
        }
        for n, rows in enumerate(known.rows):
            if rows is None:
                continue
            mine = slice(2 * n, 2 * n + 2)
            made[n][name] = with_hands(people[n][name], chosen.xy[rows, mine], chosen.confidence[rows, mine])
            whom = f"person {n}'s" if len(people) > 1 else "the"
            warnings += [
                f'View "{name}": {whom} {side} hand is found in {there} of the {wanted} frames in which its wrist is '
                "seen."
                for side, there, wanted in zip(SIDES, got[mine], asked[mine], strict=True)
                if there < _FEW * wanted
            ]
    return made, {"views": views, "seconds": told["seconds"], "fps": told["fps"], "warnings": warnings}


def require_bodies(people: Sequence[Mapping[str, Keypoints2D]]) -> None:
    """DataError where people are not such that hands can be added to them."""
    for seen in (seen for person in people for seen in person.values()):
        if seen.skeleton != MEDIAPIPE33:
            raise DataError(
                "Hands are added to bodies of mediapipe33 (`detect: {detector: mediapipe}`), and these are of "
                f"{seen.skeleton.name}."
            )


@dataclass(frozen=True)
class AtWrists(Detector):
    """Looks for hands where bodies have them; gives all that is found in the pictures cut out, as candidates.

    Each wrist is followed by a landmarker of its own, in video mode: in the picture that moves with it the hand stays
    where it is. It looks for a second hand only where there is one, which takes half as long again. (On a recording
    from four sides, single images found as many hands at two thirds of the speed, and took left for right more often.)
    """

    detector: MediapipeHands
    """What finds hands in a picture."""
    places: Mapping[str, Int[np.ndarray, " frames"]]
    """By view the frames, increasing, of which `hands` tells."""
    hands: Mapping[str, Hands]
    """By view."""

    def skeleton(self, view: View) -> Skeleton:
        """hands42."""
        return HANDS42

    def key(self) -> str:
        """That of what finds hands, and how pictures are cut out."""
        return f"{self.detector.key()} {CROP} {AROUND}"

    def key_of(self, view: View) -> str:
        """Where it looks."""
        told = (np.ascontiguousarray(part, dtype="<f4").tobytes() for part in self.hands[view.name])
        return hashlib.sha256(b"".join(told)).hexdigest()

    def check(self, footage: Mapping[str, View]) -> None:
        """What finds hands must be there."""
        self.detector.check(footage)

    def detect_view(self, view: View, indices: Int[np.ndarray, " frames"]) -> Iterator[tuple[int, Seen | None]]:
        """Of each frame every hand found at any wrist."""
        moments = dict(zip(indices.tolist(), milliseconds(view.timestamps[indices]).tolist(), strict=True))
        with contextlib.ExitStack() as stack:
            opened: dict[tuple[int, int], Any] = {}

            def look(index: int, hand: int, many: int, picture: Image) -> Any:
                if (hand, many) not in opened:
                    one = dataclasses.replace(self.detector, max_hands=many)
                    opened[hand, many] = stack.enter_context(one.opened("VIDEO"))
                return opened[hand, many].detect_for_video(picture, moments[index])

            yield from self._found(view, indices, look)

    def detect_pictures(self, views: Sequence[View]) -> Iterator[Seen | None]:
        """The only frame of each view, with one landmarker in image mode."""
        with dataclasses.replace(self.detector, max_hands=2).opened("IMAGE") as landmarker:

            def look(index: int, hand: int, many: int, picture: Image) -> Any:
                return landmarker.detect(picture)

            for view in views:
                for _, seen in self._found(view, np.zeros(1, dtype=np.int64), look):
                    yield seen

    def _found(
        self, view: View, indices: Int[np.ndarray, " frames"], look: Callable[[int, int, int, Image], Any]
    ) -> Iterator[tuple[int, Seen | None]]:
        hands = self.hands[view.name]
        rows = np.searchsorted(self.places[view.name], indices)
        known, many = np.isfinite(hands.size), 1 + beside(hands)
        images = read_frames(view, indices[known[rows].any(1)].tolist())
        for index, row in zip(indices.tolist(), rows.tolist(), strict=True):
            found = [Seen(np.zeros((0, len(HANDS42), 2)), np.zeros((0, len(HANDS42))))]
            if known[row].any():
                _, image = next(images)
                if image is None:
                    yield index, None
                    continue
                for hand in np.flatnonzero(known[row]).tolist():
                    centre, size = hands.centre[row, hand], float(hands.size[row, hand])
                    result = look(index, hand, int(many[row, hand]), given(cut_out(image, centre, size)))
                    xy, confidence = self.detector.seen(result, (CROP, CROP))
                    found.append(Seen(put_back(xy, centre, size), confidence))
            yield index, Seen(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
