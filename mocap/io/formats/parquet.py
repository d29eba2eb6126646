"""`parquet`: the tables of `csv`, binary."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mocap.io.formats.base import Finished, FormatOfOne, Written, options
from mocap.io.tables import require_pyarrow, tables, write_parquet


@options
class Parquet(FormatOfOne):
    """result_joints.parquet and so on: the tables of csv for pandas, polars and DuckDB; needs pyarrow."""

    suffix: ClassVar = "_*.parquet"
    needs_body: ClassVar = False

    def check(self) -> None:
        """Looks for pyarrow."""
        require_pyarrow()

    def write_one(self, one: Finished, folder: Path, stem: str) -> Written:
        """Writes those that there are."""
        found, notes = tables(one.result)
        paths = {kind: folder / f"{stem}_{kind}.parquet" for kind in found}
        for kind, table in found.items():
            write_parquet(paths[kind], table)
        return Written(tuple(paths.values()), tuple(notes))
