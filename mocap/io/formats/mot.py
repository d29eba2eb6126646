"""`mot`: coordinates of an OpenSim model over time."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from mocap.errors import DataError
from mocap.io.formats.base import Finished, FormatOfOne, Written, options
from mocap.io.opensim import coordinates, write_mot


@options
class Mot(FormatOfOne):
    """result.mot: the fit's joint angles as coordinates of OpenSim's Rajagopal or gait2392 model, y up [m, degrees]."""

    suffix: ClassVar = ".mot"

    model: Literal["rajagopal", "gait2392"] = "rajagopal"
    """Whose coordinates: gait2392 has no arms, and its knees bend with a negative sign."""

    def write_one(self, one: Finished, folder: Path, stem: str) -> Written:
        """Writes it."""
        path, result = folder / f"{stem}{self.suffix}", one.result
        assert result.Rh is not None and result.poses is not None
        assert result.joints is not None and result.joint_names is not None
        try:
            named = coordinates(result.joint_names, result.Rh, result.poses, result.joints, model=self.model)
        except DataError as error:
            return Written(warnings=(f"{path.name} is not written: {error}",))
        write_mot(path, *named, result.timestamps)
        return Written((path,))
