"""EasyMocap's `intri.yml` + `extri.yml`: OpenCV FileStorage YAML, world to camera, metres.

Keys, `v` being the camera's name: `names`; `K_v` 3x3; `dist_v` (or `D_v`); `H_v`, `W_v` (often absent) in `intri.yml`;
`R_v` (Rodrigues, 3x1) and / or `Rot_v` (3x3) and `T_v` in `extri.yml`. One addition of ours, which others ignore:
`fisheye_v: 1` where `dist_v` is of OpenCV's fisheye model.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mocap.errors import BadFile, CalibrationError, MissingFile
from mocap.geometry import rotations
from mocap.geometry.cameras import LEVEL, Rig
from mocap.io.atomic import write_text
from mocap.io.calibration.draft import Draft, Parsed, attempted, distortion_of, numbers, read_text, rotation_of

INTRI, EXTRI = "intri.yml", "extri.yml"


def _load(path: Path) -> dict[str, Any]:
    """Keys of an OpenCV YAML file; scalars stay text, so that camera 01 is not 1, and no tag constructs a thing."""
    # OpenCV writes "%YAML:1.0", which is not a YAML directive
    text = re.sub(r"\A\s*%YAML[^\n]*\n", "", read_text(path))
    try:
        tree = yaml.load(text, Loader=yaml.BaseLoader)  # makes texts, lists and dicts, nothing else
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 2 if error.problem_mark else None
        raise BadFile(path, f"not an OpenCV YAML file: {error.problem or error.context}.", line=line) from error
    except yaml.YAMLError as error:
        raise BadFile(path, "not an OpenCV YAML file.") from error
    if not isinstance(tree, dict):
        raise BadFile(path, "holds no keys such as names, K_1, R_1, T_1.")
    return tree


def _data(node: Any) -> Any:
    return node.get("data", ()) if isinstance(node, dict) else node


def _size(intri: dict[str, Any], name: str, path: Path) -> tuple[int, int] | None:
    if f"W_{name}" not in intri or f"H_{name}" not in intri:
        return None
    width, height = (
        round(float(numbers(_data(intri[key]), 1, f'Camera "{name}": {key} in {path}')[0]))
        for key in (f"W_{name}", f"H_{name}")
    )
    return (width, height) if width > 0 and height > 0 else None


def _draft(name: str, intri: dict[str, Any], extri: dict[str, Any], folder: Path) -> Draft:
    intri_path, extri_path = folder / INTRI, folder / EXTRI
    if f"K_{name}" not in intri:
        raise CalibrationError(f'Camera "{name}" has no K_{name} in {intri_path}.')
    if f"R_{name}" not in extri and f"Rot_{name}" not in extri:
        raise CalibrationError(
            f'Camera "{name}" has K_{name} but no R_{name} or Rot_{name} in {extri_path}; leave it out with --subs.'
        )
    if f"T_{name}" not in extri:
        raise CalibrationError(f'Camera "{name}" has no T_{name} in {extri_path}.')
    K = numbers(_data(intri[f"K_{name}"]), 9, f'Camera "{name}": K_{name} in {intri_path}').reshape(3, 3)
    key = next((k for k in (f"dist_{name}", f"D_{name}") if k in intri), None)
    if key is None:
        raise CalibrationError(f'Camera "{name}" has neither dist_{name} nor D_{name} in {intri_path}.')
    found = [
        rotation_of(_data(extri[k]), f'Camera "{name}": {k} in {extri_path}')
        for k in (f"Rot_{name}", f"R_{name}")
        if k in extri
    ]
    if len(found) == 2 and np.abs(found[0] - found[1]).max() > 1e-3:
        raise CalibrationError(f'Camera "{name}": R_{name} and Rot_{name} in {extri_path} are different rotations.')
    return Draft(
        K=K,
        distortion=distortion_of(_data(intri[key]), f'Camera "{name}": {key} in {intri_path}'),
        R=found[0],
        t=numbers(_data(extri[f"T_{name}"]), 3, f'Camera "{name}": T_{name} in {extri_path}'),
        size=_size(intri, name, intri_path),
        fisheye=str(intri.get(f"fisheye_{name}", "0")) == "1",
    )


def parse(folder: Path, *, level: bool = False) -> Parsed:
    """The cameras of `folder`/intri.yml and extri.yml; `level`: of intri.yml alone, level at the world's origin."""
    if level:
        intri = _load(folder / INTRI)
        names = [key[len("K_") :] for key in intri if key.startswith("K_")]
        T = np.hstack([LEVEL.ravel(), np.zeros(3)]).tolist()
        stands = {f"Rot_{name}": T[:9] for name in names} | {f"T_{name}": T[9:] for name in names}
        return Parsed("EasyMocap", {name: attempted(_draft, name, intri, stands, folder) for name in names}, unit="m")
    for name, other in ((INTRI, EXTRI), (EXTRI, INTRI)):
        if not (folder / name).is_file():
            raise MissingFile(folder / name, what="Calibration file", remedy=f"{other} alone has half of a camera.")
    intri, extri = _load(folder / INTRI), _load(folder / EXTRI)
    names: list[str] = []
    for tree, prefix in ((intri, "K_"), (extri, "T_")):
        listed = tree.get("names")
        keys = listed if isinstance(listed, list) else [k[len(prefix) :] for k in tree if k.startswith(prefix)]
        names += [str(name) for name in keys]
    cameras = {name: attempted(_draft, name, intri, extri, folder) for name in names}
    return Parsed("EasyMocap", cameras, unit="m")


def _matrix(key: str, value: np.ndarray) -> str:
    rows, cols = value.shape
    data = ", ".join(f"{x:.17g}" if x != int(x) else f"{x:.1f}" for x in value.ravel().tolist())
    return f"{key}: !!opencv-matrix\n   rows: {rows}\n   cols: {cols}\n   dt: d\n   data: [ {data} ]\n"


def write_calibration(rig: Rig, folder: Path) -> tuple[Path, Path]:
    """Writes `folder`/intri.yml and extri.yml as EasyMocap and `cv2.FileStorage` read them; gives both paths.

    Lengths in metres, world as the rig's (z-up). Distortion is padded to OpenCV's five coefficients, which is what
    EasyMocap's own tools expect, and written whole where there are more.
    """
    for name in rig.names:
        # what FileStorage reads as one key; others would give a file that no tool can open
        if not re.fullmatch(r"[^\W_](?:[\w .-]*\w)?|\w", name):
            raise CalibrationError(
                f'Camera "{name}" cannot be written to {INTRI}: '
                "its name must consist of letters, digits, spaces, dots, - and _."
            )
    head = "%YAML:1.0\n---\nnames:\n" + "".join(f'   - "{name}"\n' for name in rig.names)
    intri, extri = [head], [head]
    for camera in rig:
        width, height = camera.size
        distortion = camera.distortion
        if not camera.fisheye and distortion.size < 5:
            distortion = np.pad(distortion, (0, 5 - distortion.size))
        intri += [
            _matrix(f"K_{camera.name}", camera.K),
            _matrix(f"dist_{camera.name}", distortion[None]),
            f"H_{camera.name}: {height}\nW_{camera.name}: {width}\n",
        ]
        if camera.fisheye:
            intri.append(f"fisheye_{camera.name}: 1\n")
        extri += [
            _matrix(f"R_{camera.name}", rotations.log(camera.R)[:, None]),
            _matrix(f"Rot_{camera.name}", camera.R),
            _matrix(f"T_{camera.name}", camera.t[:, None]),
        ]
    folder = Path(folder)
    write_text(folder / INTRI, "".join(intri))
    write_text(folder / EXTRI, "".join(extri))
    return folder / INTRI, folder / EXTRI
