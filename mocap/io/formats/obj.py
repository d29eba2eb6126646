"""`obj`: meshes as Wavefront OBJ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mocap.io.formats.base import Finished, Format, Written, options
from mocap.io.meshes import write_mesh, write_meshes


@options
class Obj(Format):
    """meshes/ with one OBJ a frame or picture, y up [m], everybody in it."""

    def write(self, people: Sequence[Finished], folder: Path) -> Written:
        """Writes them."""
        files = write_meshes(folder, people[0].result.frames, [one.person for one in people]) if people else []
        return Written(tuple(files), warnings=() if files else ("meshes/ is not written: nobody has a fitted body.",))

    def write_picture(self, one: Finished, folder: Path, name: str) -> list[Path]:
        """The body as the picture's camera saw it, upright."""
        assert one.rig is not None
        (camera,) = one.rig
        path = folder / "meshes" / f"{name}.obj"
        write_mesh(path, one.person, camera)
        return [path]
