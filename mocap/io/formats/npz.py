"""`npz`: result.npz."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mocap.io.formats.base import Finished, FormatOfOne, Written, options
from mocap.io.results import write_result_npz


@options
class Npz(FormatOfOne):
    """result.npz: everything this program knows of a person, as arrays; always written."""

    suffix: ClassVar = ".npz"
    needs_body: ClassVar = False

    def write_one(self, one: Finished, folder: Path, stem: str) -> Written:
        """Writes it."""
        path = folder / f"{stem}{self.suffix}"
        write_result_npz(path, one.result)
        return Written((path,))
