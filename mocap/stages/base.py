"""What a stage is: typed options, what it needs and gives, and one call. No mathematics here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from mocap.options import options
from mocap.take import Take

__all__ = ["Stage", "options"]


class Stage(ABC):
    """One step of an experiment: a file `stages/<yaml name>.py` holds exactly one subclass, decorated by `options`.

    Class attributes:
        needs: Fields of the take (or of its people) that must be filled before; `a|b`: either of the two.
        gives: Fields it fills; a stage that changes any other is refused by the pipeline.
        cheap: Recomputed rather than stored when a run is resumed.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    gives: ClassVar[frozenset[str]] = frozenset()
    cheap: ClassVar[bool] = False

    def check(self, take: Take) -> None:  # noqa: B027 - most have nothing to check
        """Raises a MocapError for what would fail later: a missing model, file or library. Reads no frame.

        `take` has its rig, footage and run filled, and people as far as stages before have `foreseen` them.
        """

    def foreseen(self, take: Take) -> Take:
        """The take as the checks of later stages can know it: people who are still to be found have keypoint sets, and
        no points."""
        return take

    @abstractmethod
    def __call__(self, take: Take) -> Take:
        """The take with what this stage gives."""
