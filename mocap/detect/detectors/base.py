"""What a detector is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mocap.skeletons import Skeleton
from mocap.take import View


class Seen(NamedTuple):
    """Everybody a detector saw in one frame; nobody is zero candidates."""

    xy: Float[np.ndarray, "candidates joints 2"]
    """[px] of the view's image, pixel (0, 0) the centre of the top left one; NaN where missing."""
    confidence: Float[np.ndarray, "candidates joints"]
    """In [0, 1], 0 where missing."""


class Detector(ABC):
    """People in one view, frame by frame; knows nothing of other views.

    A file `detectors/<name>.py` holds exactly one subclass, decorated by `options`: its fields are its settings. It is
    sent to worker processes, so heavy libraries are imported by its methods and nothing is held open.
    """

    reads_pixels: ClassVar[bool] = True
    """Whether it works on footage: then each view runs in a process of its own and the result is kept."""

    @abstractmethod
    def skeleton(self, view: View) -> Skeleton:
        """The keypoint set it gives for a view."""

    @abstractmethod
    def key(self) -> str:
        """Says, for the cache, everything but the footage that the result depends on."""

    def key_of(self, view: View) -> str:
        """What more the result in one view depends on, for the cache."""
        return ""

    @abstractmethod
    def check(self, footage: Mapping[str, View]) -> None:
        """Raises a MocapError for what it lacks: a library, a model, a file; fetches the model when it may."""

    @abstractmethod
    def detect_view(self, view: View, indices: Int[np.ndarray, " frames"]) -> Iterator[tuple[int, Seen | None]]:
        """Each of `indices` (places in the view, increasing) once, in order; None where a frame cannot be read."""

    def detect_pictures(self, views: Sequence[View]) -> Iterator[Seen | None]:
        """The only frame of each of many views, in order; a detector that is slow to begin does so once."""
        for view in views:
            for _, seen in self.detect_view(view, np.zeros(1, dtype=np.int64)):
                yield seen

    def notes(self, view: View) -> list[str]:
        """Sentences for the report on what was assumed or dropped in a view."""
        return []
