"""Qualisys Track Manager's `.qca.txt`: XML, image lengths in 1/64 px, world lengths in mm, world z-up.

`transform` holds the rotation r11..r33 of the world's axes into Qualisys' camera (x right, y UP, looking along -z) row
by row, and the camera's position. OpenCV's camera is that one turned by 180 degrees about x: R = diag(1, -1, -1) r,
t = -R p. (On the recording this was made with, it is to 4e-16 what Pose2Sim's conversion of the same file holds.)

Radial and tangential distortion have no unit and are taken as written. Pose2Sim's conversion divides them by 64 as
well; a calibration of the same cameras from 6-7 checkerboard images each (OpenCV, k3 = 0) gives k1 -0.044..-0.049,
k2 0.09..0.13, where the file says -0.046..-0.048, 0.135..0.140 and the conversion -0.0007, 0.002: the file is right.
The pixel centre is OpenCV's: `sensorMaxU` = 64 x 1087 for 1088 columns.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mocap.errors import BadFile, CalibrationError, UnsafeFile
from mocap.io.calibration.draft import Draft, Parsed, attempted, numbers

_SUBPIXELS = 64.0
_FLIP = np.diag([1.0, -1.0, -1.0])


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a document type, in which entities that expand without end are defined; a calibration has none."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise _Doctype


class _Doctype(Exception):
    pass


def _root(path: Path) -> ElementTree.Element:
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        parser.feed(path.read_bytes())
        return parser.close()
    except _Doctype:
        raise UnsafeFile(path, "a calibration needs no document type (<!DOCTYPE>); the file is refused.") from None
    except ElementTree.ParseError as error:
        raise BadFile(path, f"not a Qualisys calibration in XML: {error}.") from error


def _values(camera: ElementTree.Element, tag: str, keys: list[str], told: str) -> np.ndarray:
    element = camera.find(tag)
    if element is None:
        raise CalibrationError(f"{told}: there is no <{tag}>.")
    absent = [key for key in keys if key not in element.attrib]
    if absent:
        raise CalibrationError(f"{told}: <{tag}> has no {', '.join(absent)}.")
    return numbers([element.attrib[key] for key in keys], len(keys), f"{told}: <{tag}>")


def _draft(camera: ElementTree.Element, told: str) -> Draft:
    if camera.attrib.get("active") == "0" or camera.attrib.get("calibrated", "true").casefold() == "false":
        raise CalibrationError(f"{told} was not active or not calibrated.")
    r = _values(camera, "transform", [f"r{i}{j}" for i in "123" for j in "123"], told).reshape(3, 3)
    position = _values(camera, "transform", list("xyz"), told)
    edges = ["left", "top", "right", "bottom"]
    left, top, right, bottom = _values(camera, "fov_video", edges, told)
    _, _, whole_right, _ = _values(camera, "fov_video_max", edges, told)
    fu, fv, cu, cv, sensor = _values(
        camera, "intrinsic", ["focalLengthU", "focalLengthV", "centerPointU", "centerPointV", "sensorMaxU"], told
    )
    skew = float(camera.find("intrinsic").attrib.get("skew", 0))  # type: ignore[union-attr]
    # files in circulation have sensorMaxU as 64 x the last column or as 64 x the columns - 1: at most one column apart;
    # a video binned to a half or a third of the sensor is far from that
    binning = max(1, round((sensor / _SUBPIXELS + 1) / (whole_right + 1)))
    scale = 1 / (_SUBPIXELS * binning)
    shift = (1 / binning - 1) / 2  # pixel centres: the first small pixel covers `binning` large ones
    K = np.array(
        [
            [fu * scale, skew * scale, cu * scale + shift - left],
            [0, fv * scale, cv * scale + shift - top],
            [0, 0, 1.0],
        ]
    )
    k1, k2, k3 = _values(camera, "intrinsic", [f"radialDistortion{i}" for i in "123"], told)
    p1, p2 = _values(camera, "intrinsic", ["tangentalDistortion1", "tangentalDistortion2"], told)
    R = _FLIP @ r
    return Draft(
        K=K,
        distortion=np.array([k1, k2, p1, p2, k3]),
        R=R,
        t=-R @ position,
        size=(round(right - left) + 1, round(bottom - top) + 1),
    )


def parse(path: Path) -> Parsed:
    """The cameras of one `.qca.txt`, called by their serial."""
    root = _root(path)
    cameras: dict[str, Draft | CalibrationError] = {}
    warnings: list[str] = []
    for number, camera in enumerate(root.iterfind(".//cameras/camera"), start=1):
        name = camera.attrib.get("serial") or str(number)
        told = f'Camera "{name}" in {path}'
        if name in cameras:
            raise CalibrationError(f'Two cameras have the serial "{name}" in {path}.')
        cameras[name] = attempted(_draft, camera, told)
        turned = camera.attrib.get("viewrotation", "0")
        if turned not in ("0", ""):
            warnings.append(
                f"{told} is shown turned by {turned} degrees in QTM; its calibration is that of the unturned image."
            )
    return Parsed("Qualisys", cameras, unit="mm", warnings=tuple(warnings))
