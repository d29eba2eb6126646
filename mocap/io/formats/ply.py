"""`ply`: meshes as binary PLY."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mocap.io.formats.base import Finished, FormatOfOne, Written, options
from mocap.io.meshes import write_ply_meshes


@options
class Ply(FormatOfOne):
    """ply/ with one binary PLY a frame, z up [m], in the body's colours; further people in ply_1/ and so on."""

    stem: ClassVar = "ply"
    suffix: ClassVar = "/"

    def write_one(self, one: Finished, folder: Path, stem: str) -> Written:
        """Writes them."""
        person = one.person
        assert person.body is not None and person.shape is not None and person.motion is not None
        write_ply_meshes(folder / stem, one.result.frames, person.body, person.shape, person.motion)
        return Written((folder / stem,))
