"""`trc`: points for OpenSim."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from mocap.io.formats.base import Finished, FormatOfOne, Written, options
from mocap.io.opensim import write_trc
from mocap.io.tables import point_sets, short_name


@options
class Trc(FormatOfOne):
    """result_keypoints.trc, result_fit.trc, result_joints.trc: points for OpenSim and Pose2Sim, y up."""

    suffix: ClassVar = "_*.trc"
    needs_body: ClassVar = False

    unit: Literal["m", "mm"] = "m"
    """Of lengths; the file says it. Pose2Sim's are in metres."""

    def write_one(self, one: Finished, folder: Path, stem: str) -> Written:
        """Writes those that there are."""
        result, paths = one.result, []
        for kind, (names, xyz) in point_sets(result).items():
            paths.append(folder / f"{stem}_{kind}.trc")
            shown = names if kind == "joints" else [short_name(name) for name in names]
            clock = {"frames": result.frames, "timestamps": result.timestamps, "fps": result.fps}
            write_trc(paths[-1], shown, xyz, **clock, unit=self.unit)
        return Written(tuple(paths))
