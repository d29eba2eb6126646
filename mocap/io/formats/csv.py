"""`csv`: tables of points and joint angles."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mocap.io.formats.base import Finished, FormatOfOne, Written, options
from mocap.io.tables import tables, write_csv


@options
class Csv(FormatOfOne):
    """result_joints.csv, result_angles.csv, result_keypoints.csv: wide tables, z up [m] and degrees."""

    suffix: ClassVar = "_*.csv"
    needs_body: ClassVar = False

    def write_one(self, one: Finished, folder: Path, stem: str) -> Written:
        """Writes those that there are."""
        found, notes = tables(one.result)
        paths = {kind: folder / f"{stem}_{kind}.csv" for kind in found}
        for kind, table in found.items():
            write_csv(paths[kind], table)
        return Written(tuple(paths.values()), tuple(notes))
