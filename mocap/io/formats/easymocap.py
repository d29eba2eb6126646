"""`easymocap`: EasyMocap's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from mocap.io.formats.base import Finished, Format, Written, options
from mocap.io.results import write_easymocap


@options
class EasyMocap(Format):
    """keypoints3d/ and smpl/ with one JSON a frame for everybody, as EasyMocap writes them."""

    needs_body: ClassVar = False

    def write(self, people: Sequence[Finished], folder: Path) -> Written:
        """Writes them."""
        if not people:
            return Written()
        return Written(tuple(write_easymocap(folder, people[0].result.frames, [one.person for one in people])))
