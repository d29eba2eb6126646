"""`write:` - the results as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from mocap.io.atomic import write_text
from mocap.io.calibration import write_calibration
from mocap.io.results import remove_left_over, result_of, write_amass, write_easymocap, write_result_npz
from mocap.stages.base import Stage, options
from mocap.take import Take

_LIST = ".written.json"
"""In the output folder: the files each stage of this kind wrote there last, by its label."""


@options
class Write(Stage):
    """Keypoints, body and motion as files in the output folder, and the calibration that was used.

    Always `result.npz` (of further people `result_1.npz` and so on), `intri.yml` and `extri.yml`. Without a fitted
    body the keypoints alone are written. What an earlier run of this stage wrote and this one does not is removed.
    """

    needs: ClassVar = frozenset({"keypoints3d"})
    gives: ClassVar = frozenset()

    formats: tuple[Literal["easymocap", "npz", "amass"], ...] = ("easymocap", "npz")
    """easymocap: keypoints3d/ and smpl/ with one JSON a frame; amass: amass.npz; npz is result.npz, always written."""

    def __call__(self, take: Take) -> Take:
        """Writes; the report lists the files."""
        output = take.run.output
        written, warnings, layout = [], [], []
        for i, person in enumerate(take.people):
            end = f"_{i}.npz" if i else ".npz"
            result, notes = result_of(take, person)
            warnings += notes
            write_result_npz(output / f"result{end}", result)
            written.append(output / f"result{end}")
            if "amass" in self.formats:
                if person.body is None or person.shape is None or person.motion is None:
                    warnings.append(f"amass{end} is not written: person {i} has no fitted body.")
                    continue
                gaps = np.diff(take.timestamps) * take.fps
                if gaps.size and np.abs(gaps - 1).max() > 0.5:
                    warnings.append(
                        f"amass{end} knows one frame rate ({take.fps:g}/s), and the take's is not constant."
                    )
                layout += write_amass(
                    output / f"amass{end}", body=person.body, betas=person.shape, motion=person.motion, fps=take.fps
                )
                written.append(output / f"amass{end}")
        if "easymocap" in self.formats:
            written += write_easymocap(output, take.frames, take.people)
        if take.rig is not None:
            written += write_calibration(take.rig, output)
        files = [path.relative_to(output).as_posix() for path in written]
        _tidy(output, take.reports[-1].label if take.reports else "", files)
        return take.reported(
            frames=len(take.frames), people=len(take.people), files=files, notes=layout, warnings=warnings
        )


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
