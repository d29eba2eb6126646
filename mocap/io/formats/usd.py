"""`usd`: an animated body for film and AR tools."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mocap.io.formats.base import Finished, FormatOfOne, Written, options
from mocap.io.usd import write_usda


@options
class Usd(FormatOfOne):
    """result.usda: the skinned body with its animation in the UsdSkel schema, y up [m]."""

    suffix: ClassVar = ".usda"

    def write_one(self, one: Finished, folder: Path, stem: str) -> Written:
        """Writes it."""
        path, person = folder / f"{stem}{self.suffix}", one.person
        assert person.body is not None and person.shape is not None and person.motion is not None
        clock, fps = one.result.timestamps, one.result.fps
        write_usda(path, person.body, person.shape, person.motion, clock, fps, name=stem)
        return Written((path,))
