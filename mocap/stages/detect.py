"""Stage `detect`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from mocap.detect import run
from mocap.detect.detectors.base import Detector
from mocap.detect.detectors.mediapipe import Mediapipe
from mocap.registry import Named
from mocap.stages.base import Stage, options
from mocap.take import Keypoints2D, Person, Take


@options
class Detect(Stage):
    """Everybody in every view in 2D, frame by frame; who the subject is, `associate` decides.

    Written as `{detector: mediapipe}`, or with the detector's options as `{detector: {replay: {folder: openpose}}}`.
    Views are worked on side by side, one process each (`--workers`). What is detected is kept under `detections/` of
    the cache, by the content of the footage, the detector's settings and the frames asked for. Where the dataset has
    brought detections of its own (`joints` of unrelated pictures), nothing is detected.
    """

    needs: ClassVar = frozenset({"footage"})
    gives: ClassVar = frozenset({"detections"})
    cheap: ClassVar = True  # it has a cache of its own, by the content of what it read

    detector: Annotated[Detector, Named("mocap.detect.detectors", "detector")] = Field(default_factory=Mediapipe)
    """What finds people in a view."""

    def check(self, take: Take) -> None:
        """The detector's library, model and files; fetches the model where it must."""
        if take.detections:
            return
        if self.detector.reads_pixels:
            run.require_pixels(take.footage, "this detector", "use `detector: replay`")
        run.check(self.detector, take.footage)

    def foreseen(self, take: Take) -> Take:
        """Somebody in every view, with the detector's keypoint set."""
        if take.detections or take.people:
            return take
        sets = {name: self.detector.skeleton(view) for name, view in take.footage.items()}
        return take.replace(people=(Person({name: Keypoints2D.none(skeleton) for name, skeleton in sets.items()}),))

    def __call__(self, take: Take) -> Take:
        """All candidates of the frames just before and after each moment of the take's clock."""
        if take.detections:
            return take.reported(detector=None, notes=["Detections come with the dataset; nothing was detected."])
        detections, facts = run.detect_views(
            take.footage,
            {name: run.frames_needed(view.timestamps, take.timestamps) for name, view in take.footage.items()},
            self.detector,
            workers=take.run.workers,
            cache=take.run.cache or take.run.output / "cache",
        )
        return take.replace(detections=detections).reported(**facts)
