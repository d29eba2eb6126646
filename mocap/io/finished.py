"""Finished results, read back from where a run wrote them, as formats get them."""

from __future__ import annotations

import re
from pathlib import Path

from mocap.bodies.load import INCLUDED, load_body
from mocap.bodies.model import BodyModel
from mocap.bodies.ranges import side_of
from mocap.errors import DataError, ModelError
from mocap.geometry.cameras import Rig
from mocap.io.calibration import read_calibration
from mocap.io.formats.base import Finished
from mocap.io.results import Result, read_result_npz

_RESULT = re.compile(r"result(?:_(\d+))?\.npz")


def read_finished(path: Path, *, model: str | Path | None = None, body: bool = True) -> list[Finished]:
    """Everybody in an output folder, with the cameras used, or the one person of a `result.npz`.

    Args:
        path: The folder or the file.
        model: The body model the betas belong to, where it is not an included one: a file in SMPL's format, or a
            folder of such by gender, or of hands by side.
        body: Whether the body model is needed; without it none is loaded.

    Raises:
        MissingFile, BadFile: No result, or a damaged one.
        ModelError: The model is not given, or another one.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    numbers = {int(m[1] or 0): p for p in folder.iterdir() if (m := _RESULT.fullmatch(p.name))} if path.is_dir() else {}
    files = [numbers[i] for i in sorted(numbers)] or [path / "result.npz" if path.is_dir() else path]
    if path.is_dir() and not numbers and next((path / "smplify").glob("*.npz"), None) is not None:
        raise DataError(
            f"{path} is a result of single pictures, which has no result.npz: run it again with "
            "--set stages.write.formats=[smplify,obj] for meshes."
        )
    has_cameras = all((folder / name).is_file() for name in ("intri.yml", "extri.yml"))
    rig = Rig(read_calibration(folder).cameras) if has_cameras else None
    found = []
    for file in files:
        result = read_result_npz(file)
        loaded = body_of(result, file, model) if body and result.motion is not None else None
        found.append(Finished(result, loaded, rig))
    return found


def body_of(result: Result, file: Path, model: str | Path | None = None) -> BodyModel:
    """The body model to which a result's betas belong.

    Args:
        result: With a fitted body.
        file: Where it was read, for sentences.
        model: See :func:`read_finished`.
    """
    assert result.shapes is not None
    if model is None and result.body not in INCLUDED:
        raise ModelError(
            f'{file}: the body is "{result.body}" ({result.gender}), a model that is not included: give its file, as '
            f"in --model {result.body}.pkl."
        )
    if str(model) == "embedded" and result.body in INCLUDED:  # which of those included, the result says
        model = result.body
    loaded = load_body(
        model or str(result.body),
        gender=result.gender or "neutral",
        n_betas=len(result.shapes),
        side=side_of(result.joint_names or ()),
    )
    result.check_body(loaded)
    return loaded
