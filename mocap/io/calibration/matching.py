"""Which camera saw which view: by name, never by order (files sort `cam_10` before `cam_2`)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from mocap.errors import CalibrationError, unknown_name_sentence
from mocap.geometry.cameras import Camera

Value = TypeVar("Value")

_SUFFIXES = ("json", "img", "images", "video", "openpose")
"""What tools append to a camera's name for a folder of what it saw."""
_PREFIXES = ("camera", "cam", "port", "view", "c")
"""Words that only say that the number after them is a camera's."""


def normalised(name: str) -> str:
    """`name` without what people and tools write in different ways: `Cam 1`, `cam_01`, `cam01_json`, `01` -> `1`.

    Case, separators, leading zeros, a suffix such as `_json` and a leading word for "camera" before a number go.
    """
    parts = [part for part in re.split(r"[\W_]+", name.casefold()) if part]
    while len(parts) > 1 and parts[-1] in _SUFFIXES:
        parts.pop()
    joined = "".join(re.sub(r"\d+", lambda digits: str(int(digits[0])), part) for part in parts)
    for prefix in _PREFIXES:
        if joined.startswith(prefix) and joined[len(prefix) :].isdigit():
            return joined[len(prefix) :]
    return joined


def look_up(name: str, known: Mapping[str, Value]) -> tuple[str, Value] | None:
    """The entry called `name`, or the only one whose normalised name is that of `name`; None when there is none."""
    if name in known:
        return name, known[name]
    alike = [key for key in known if normalised(key) == normalised(name)]
    return (alike[0], known[alike[0]]) if len(alike) == 1 else None


def match_cameras(
    cameras: Sequence[Camera], view_names: Sequence[str]
) -> tuple[dict[str, Camera], list[str], list[str]]:
    """The camera of each view, renamed to the view.

    An exact name first; then the only camera whose :func:`normalised` name is the view's, and a note says so.

    Returns:
        Cameras by view name in the order of the views; notes for the report; and the cameras no view was found for.

    Raises:
        CalibrationError: A view that has no camera, or several that might be its; or two views with one camera.
    """
    known = {camera.name: camera for camera in cameras}
    found: dict[str, Camera] = {}
    taken: dict[str, str] = {}
    notes: list[str] = []
    for view in view_names:
        entry = look_up(view, known)
        if entry is None:
            alike = [name for name in known if normalised(name) == normalised(view)]
            if alike:
                why = f"several cameras might be its: {', '.join(alike)}; give the folder or file the name of one."
            else:
                why = unknown_name_sentence("camera", view, known)
            raise CalibrationError(f'View "{view}" has no camera in the calibration (--subs leaves views out): {why}')
        name, camera = entry
        if name in taken:
            raise CalibrationError(f'Views "{taken[name]}" and "{view}" would both be camera "{name}".')
        taken[name] = view
        if name != view:
            notes.append(f'View "{view}" is taken to be camera "{name}" of the calibration.')
        found[view] = dataclasses.replace(camera, name=view)
    return found, notes, [name for name in known if name not in taken]
