"""`bvh`: the skeleton's motion as text."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from mocap.io.bvh import write_bvh
from mocap.io.formats.base import Finished, FormatOfOne, Written, options


@options
class Bvh(FormatOfOne):
    """result.bvh: the skeleton with a T-pose as its rest, y up, rotations in the order ZXY."""

    suffix: ClassVar = ".bvh"
    one_rate: ClassVar = True

    unit: Literal["cm", "m"] = "cm"
    """Of lengths; the file does not say it, and most readers take centimetres."""

    def write_one(self, one: Finished, folder: Path, stem: str) -> Written:
        """Writes it."""
        path, person = folder / f"{stem}{self.suffix}", one.person
        assert person.body is not None and person.shape is not None and person.motion is not None
        write_bvh(path, person.body, person.shape, person.motion, one.result.fps, unit=self.unit)
        return Written((path,))
