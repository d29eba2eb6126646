"""`smplify`: what SMPLify's users read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from mocap.io.formats.base import Finished, FormatOfOne, Written, options
from mocap.io.smplify import at_frames, in_camera, write_smplify_json, write_smplify_npz


@options
class Smplify(FormatOfOne):
    """smplify.npz: the body in the axes of the only camera, as SMPLify has it."""

    stem: ClassVar = "smplify"
    suffix: ClassVar = ".npz"

    def write(self, people: Sequence[Finished], folder: Path) -> Written:
        """Writes it where there is one camera and no other."""
        rig = people[0].rig if people else None
        if rig is None or len(rig) != 1:
            told = "none" if rig is None else str(len(rig))
            why = f"it is of one camera, and the take has {told}"
            return Written(warnings=(f"{self.stem}{self.suffix} is not written: {why}.",))
        return super().write(people, folder)

    def write_one(self, one: Finished, folder: Path, stem: str) -> Written:
        """Writes it."""
        person, result, path = one.person, one.result, folder / f"{stem}{self.suffix}"
        assert one.rig is not None
        assert person.body is not None and person.shape is not None and person.motion is not None
        (camera,) = one.rig
        seen = person.keypoints2d.get(camera.name)
        seen = None if seen is None else at_frames(seen, result.timestamps)
        kept = {"seen": seen, "frames": result.frames, "timestamps": result.timestamps}
        write_smplify_npz(path, in_camera(person.body, person.shape, person.motion, camera, **kept))
        return Written((path,))

    def write_picture(self, one: Finished, folder: Path, name: str) -> list[Path]:
        """`smplify/<picture>.npz` and `.json`."""
        person = one.person
        assert one.rig is not None
        assert person.body is not None and person.shape is not None and person.motion is not None
        (camera,) = one.rig
        seen = person.keypoints2d[camera.name]
        result = in_camera(person.body, person.shape, person.motion, camera, seen=seen)
        paths = [folder / "smplify" / f"{name}.{suffix}" for suffix in ("npz", "json")]
        write_smplify_npz(paths[0], result)
        write_smplify_json(paths[1], result)
        return paths
