"""Stage `associate`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from annotated_types import Gt, Le
from pydantic import PositiveInt

from mocap.detect.associate import associate, associate_apart
from mocap.errors import DataError
from mocap.stages.base import Stage, options
from mocap.take import Person, Take


@options
class Associate(Stage):
    """Who is who: among all candidates of all views, the person on whom the views agree over time.

    Of unrelated pictures: in each the largest and surest. Where hands alone were detected each hand is a person of its
    own, the left one first; of two, one is taken for a left and one for a right hand.
    """

    needs: ClassVar = frozenset({"rig", "detections"})
    gives: ClassVar = frozenset({"keypoints2d"})

    people: PositiveInt | None = None
    """How many subjects to look for; those most views agree on, for longest, are taken. If not given, one person; of
    hands, as many as the views agree on, at most two."""
    max_error: Annotated[float, Gt(0), Le(0.5)] = 0.12
    """A candidate's joint farther from where the other views put it counts nothing [fraction of the size the person
    or hand has in the image]."""

    def check(self, take: Take) -> None:
        """That of each unrelated picture one person is asked for."""
        if take.apart and (self.people or 1) > 1:
            raise DataError(f"Of unrelated pictures one person each is taken, not {self.people}: say people: 1.")

    def __call__(self, take: Take) -> Take:
        """Its keypoints in every view, at the view's own moments."""
        assert take.rig is not None
        if take.apart:
            found = associate_apart(take.detections)
        else:
            found = associate(take.rig, take.detections, take.timestamps, people=self.people, max_error=self.max_error)
        people = tuple(Person(keypoints2d=keypoints) for keypoints in found.people)
        return take.replace(people=people).reported(**found.facts)
