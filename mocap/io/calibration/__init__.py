"""Calibration files: EasyMocap, Pose2Sim / Anipose / Caliscope / FreeMoCap and Qualisys, read into cameras by NAME.

Reading gives cameras as the file has them, in metres. Three things then join them to a recording: :func:`match_cameras`
(names), :func:`fit_to_footage` (image sizes) and :func:`to_z_up` (the world).
"""

from mocap.io.calibration.easymocap import write_calibration
from mocap.io.calibration.footage_size import FITS, fit_to_footage
from mocap.io.calibration.matching import match_cameras, normalised
from mocap.io.calibration.read import FORMATS, UNITS, CalibrationFile, read_calibration
from mocap.io.calibration.world import UPS, to_z_up

__all__ = [
    "FITS",
    "FORMATS",
    "UNITS",
    "UPS",
    "CalibrationFile",
    "fit_to_footage",
    "match_cameras",
    "normalised",
    "read_calibration",
    "to_z_up",
    "write_calibration",
]
