"""`glb`: an animated body that every viewer and engine opens."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mocap.io.formats.base import Finished, FormatOfOne, Written, options
from mocap.io.gltf import write_glb


@options
class Glb(FormatOfOne):
    """result.glb: the skinned body with one animation clip, y up [m], for Blender, engines and browsers."""

    suffix: ClassVar = ".glb"

    def write_one(self, one: Finished, folder: Path, stem: str) -> Written:
        """Writes it."""
        path, person = folder / f"{stem}{self.suffix}", one.person
        assert person.body is not None and person.shape is not None and person.motion is not None
        write_glb(path, person.body, person.shape, person.motion, one.result.timestamps, name=stem)
        return Written((path,))
