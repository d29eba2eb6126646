"""`write:` - the results as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator

from mocap import registry
from mocap.errors import DataError
from mocap.geometry.cameras import Rig
from mocap.io.atomic import write_text
from mocap.io.calibration import write_calibration
from mocap.io.formats.base import FORMATS, Finished, Format, Written
from mocap.io.formats.npz import Npz
from mocap.io.formats.smplify import Smplify
from mocap.io.names import file_names
from mocap.io.results import remove_left_over, result_of
from mocap.stages.base import Stage, options
from mocap.take import Take

_DEFAULT = ("easymocap", "npz")
_LIST = ".written.json"
"""In the output folder: the files each stage of this kind wrote there last, by its label."""


def _by_name(formats: Any) -> Any:
    """From Python a list of names will do: each format with its defaults."""
    if not isinstance(formats, (list, tuple)):
        return formats
    return {name: registry.find(FORMATS.package, name, Format, FORMATS.kind)() for name in formats}  # type: ignore[type-abstract]


@options
class Write(Stage):
    """Keypoints, body and motion as files in the output folder, and the calibration that was used.

    Always `result.npz` (of further people `result_1.npz` and so on), `intri.yml` and `extri.yml`. Without a fitted
    body the keypoints alone are written. Of unrelated pictures instead `smplify/<picture>.npz` and `.json`, which hold
    the camera too. What an earlier run of this stage wrote and this one does not is removed.
    """

    needs: ClassVar = frozenset({"keypoints3d|keypoints2d"})
    gives: ClassVar = frozenset()

    formats: Annotated[Mapping[str, Format], FORMATS, BeforeValidator(_by_name)] = field(
        default_factory=lambda: _by_name(_DEFAULT)
    )
    """A list of names, or names with options: {bvh: {unit: cm}, glb: {}}. A finished result is written in further
    formats by `emc export`."""

    def check(self, take: Take) -> None:
        """What each format needs, and whether any of them has a use for unrelated pictures."""
        for made in self.formats.values():
            made.check()
        others = [name for name in self._not_of_pictures() if name not in _DEFAULT]
        if take.apart and others:
            raise DataError(f"{', '.join(others)} cannot be written of unrelated pictures: use smplify or obj.")

    def _not_of_pictures(self) -> list[str]:
        return [name for name, f in self.formats.items() if type(f).write_picture is Format.write_picture]

    def __call__(self, take: Take) -> Take:
        """Writes; the report lists the files."""
        written = self._pictures(take) if take.apart else self._recording(take)
        output = take.run.output
        files = [path.relative_to(output).as_posix() for path in written.files]
        _tidy(output, take.reports[-1].label if take.reports else "", files)
        # of many pictures their folders
        shown = dict.fromkeys(file.partition("/")[0] for file in files) if take.apart else files
        told = {"notes": list(written.notes), "warnings": list(written.warnings)}
        return take.reported(frames=len(take.frames), people=len(take.people), files=list(shown), **told)

    def _recording(self, take: Take) -> Written:
        """One clock, the same people throughout."""
        output = take.run.output
        people, parts = [], []
        for person in take.people:
            result, notes = result_of(take, person)
            parts.append(Written(warnings=tuple(notes)))
            body = person.body if result.motion is not None else None
            people.append(Finished(result, body, take.rig, person.keypoints2d))
        formats = [Npz(), *(f for f in self.formats.values() if not isinstance(f, Npz))]
        parts += [made.write(people, output) for made in formats]
        if take.rig is not None:
            parts.append(Written(tuple(write_calibration(take.rig, output))))
        return Written.joined(parts)

    def _pictures(self, take: Take) -> Written:
        """Each picture by itself, as SMPLify's users have it."""
        assert take.rig is not None
        names = file_names(take.rig.names)
        formats = [Smplify(), *(f for f in self.formats.values() if not isinstance(f, Smplify))]
        parts = []
        for person in take.people:
            (view,) = person.keypoints2d
            if person.body is None or person.shape is None or person.motion is None:
                told = f'Nothing is written of picture "{view}": it has no fitted body.'
                parts.append(Written(warnings=(told,)))
                continue
            one = Finished(result_of(take, person)[0], person.body, Rig((take.rig[view],)), person.keypoints2d)
            parts += [Written(tuple(f.write_picture(one, take.run.output, names[view]))) for f in formats]
        others = self._not_of_pictures()
        told = f"Of unrelated pictures smplify/ is written, not {', '.join(others)}."
        return Written.joined([*parts, Written(notes=(told,) if others else ())])


def _tidy(output: Path, label: str, files: Sequence[str]) -> None:
    """Removes what the last run of the stage of this label wrote and nobody writes now; notes down what it has.

    The list is a file of its own, since `report.json` is a new one by now.
    """
    list_file = output / _LIST
    try:
        read = json.loads(list_file.read_bytes())
    except (FileNotFoundError, ValueError):
        read = None
    # a list that is damaged, or somebody else's, removes nothing
    lists = {k: v for k, v in read.items() if isinstance(v, list)} if isinstance(read, dict) else {}
    before = lists.pop(label, [])
    lists[label] = list(files)
    needed = {name for names in lists.values() for name in names if isinstance(name, str)}
    remove_left_over(output, [name for name in before if isinstance(name, str) and name not in needed])
    write_text(list_file, json.dumps(lists))
