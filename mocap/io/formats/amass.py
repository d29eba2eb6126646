"""`amass`: AMASS' npz."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mocap.errors import DataError
from mocap.io.formats.base import Finished, FormatOfOne, Written, options
from mocap.io.results import write_amass


@options
class Amass(FormatOfOne):
    """amass.npz: poses, trans, betas, gender and frame rate in AMASS' layout, of SMPL-H or SMPL-X."""

    stem: ClassVar = "amass"
    suffix: ClassVar = ".npz"
    one_rate: ClassVar = True

    def write_one(self, one: Finished, folder: Path, stem: str) -> Written:
        """Writes it."""
        path = folder / f"{stem}{self.suffix}"
        person = one.person
        assert person.body is not None and person.shape is not None and person.motion is not None
        try:
            notes = write_amass(path, body=person.body, betas=person.shape, motion=person.motion, fps=one.result.fps)
        except DataError as error:
            return Written(warnings=(f"{path.name} is not written: {error}",))
        return Written((path,), tuple(notes))
