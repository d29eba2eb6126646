"""`c3d`: points for Visual3D and other biomechanics."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from mocap.io.c3d_out import write_c3d
from mocap.io.formats.base import Finished, FormatOfOne, Written, options
from mocap.io.tables import point_sets, short_name


@options
class C3d(FormatOfOne):
    """result_keypoints.c3d, result_fit.c3d, result_joints.c3d: points for Visual3D, MOKKA and others, z up."""

    suffix: ClassVar = "_*.c3d"
    needs_body: ClassVar = False
    one_rate: ClassVar = True

    unit: Literal["m", "mm"] = "mm"
    """Of lengths; the file says it, and millimetres are usual."""

    def write_one(self, one: Finished, folder: Path, stem: str) -> Written:
        """Writes those that there are."""
        result, paths = one.result, []
        for kind, (names, xyz) in point_sets(result).items():
            paths.append(folder / f"{stem}_{kind}.c3d")
            shown = names if kind == "joints" else [short_name(name) for name in names]
            write_c3d(paths[-1], shown, xyz, first=int(result.frames[0]), fps=result.fps, unit=self.unit)
        return Written(tuple(paths))
