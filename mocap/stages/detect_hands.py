"""Stage `detect_hands`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from mocap.detect import run
from mocap.detect.at_wrists import add_hands, require_bodies
from mocap.detect.detectors.mediapipe_hands import MediapipeHands
from mocap.skeletons import MEDIAPIPE75
from mocap.stages.base import Stage, options
from mocap.take import Keypoints2D, Take


@options
class DetectHands(Stage):
    """The hands of people whose bodies are known in 2D: 21 points each, added to the body's.

    Round each wrist a square is cut out of every view and enlarged, and mediapipe's hand landmarker looks for hands in
    it. A wrist gets the hand that begins there; its side is the body's, and where the hand itself looks like one of the
    other side its confidence is low. Views are worked on side by side (`--workers`), and what was found is kept as
    `detect` keeps it. The keypoint set becomes mediapipe75.
    """

    needs: ClassVar = frozenset({"footage", "keypoints2d"})
    gives: ClassVar = frozenset({"keypoints2d"})

    model_path: Path | None = None
    """A hand_landmarker .task file or the wheel its networks are taken from. null: what the environment variable
    MOCAP_HAND_MODEL names, else `full`, downloaded once (36 MB) to the user's cache."""
    min_wrist: Annotated[float, Ge(0), Le(1)] = 0.3
    """Hands are looked for where the body's wrist is at least as sure as this."""
    min_confidence: Annotated[float, Ge(0), Le(1)] = 0.3
    """How sure the landmarker must be that a hand is there, found anew, present, or followed."""

    def check(self, take: Take) -> None:
        """Bodies it can work with, pixels, and the library and the model, which is fetched where it must be."""
        require_bodies([person.keypoints2d for person in take.people])
        run.require_pixels(take.footage, "detect_hands", "leave that stage out")
        run.check(self._detector(), take.footage)

    def foreseen(self, take: Take) -> Take:
        """The same people with hands."""
        with_hands = [dict.fromkeys(person.keypoints2d, Keypoints2D.none(MEDIAPIPE75)) for person in take.people]
        return take.with_people(keypoints2d=with_hands)

    def _detector(self) -> MediapipeHands:
        return MediapipeHands(model_path=self.model_path, min_confidence=self.min_confidence)

    def __call__(self, take: Take) -> Take:
        """Every person with hands, in the frames in which the body was looked at."""
        people, facts = add_hands(
            take.footage,
            [person.keypoints2d for person in take.people],
            self._detector(),
            least=self.min_wrist,
            workers=take.run.workers,
            cache=take.run.cache or take.run.output / "cache",
        )
        return take.with_people(keypoints2d=people).reported(detector="mediapipe_hands", **facts)
