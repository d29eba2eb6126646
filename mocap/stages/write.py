"""`write:` - the results as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from mocap.io.atomic import write_text
from mocap.io.calibration import write_calibration
from mocap.io.meshes import write_mesh, write_meshes
from mocap.io.names import file_names
from mocap.io.results import remove_left_over, result_of, write_amass, write_easymocap, write_result_npz
from mocap.io.smplify import at_frames, in_camera, write_smplify_json, write_smplify_npz
from mocap.stages.base import Stage, options
from mocap.take import Person, Take

_LIST = ".written.json"
"""In the output folder: the files each stage of this kind wrote there last, by its label."""


@options
class Write(Stage):
    """Keypoints, body and motion as files in the output folder, and the calibration that was used.

    Always `result.npz` (of further people `result_1.npz` and so on), `intri.yml` and `extri.yml`. Without a fitted
    body the keypoints alone are written. Of unrelated pictures instead `smplify/<picture>.npz` and `.json`, which hold
    the camera too. What an earlier run of this stage wrote and this one does not is removed.
    """

    needs: ClassVar = frozenset({"keypoints3d|keypoints2d"})
    gives: ClassVar = frozenset()

    formats: tuple[Literal["easymocap", "npz", "amass", "smplify", "obj"], ...] = ("easymocap", "npz")
    """easymocap: keypoints3d/ and smpl/ with one JSON a frame; amass: amass.npz; smplify: smplify.npz, the body in the
    axes of the only camera; obj: meshes/ with one OBJ a frame or picture; npz is result.npz, always written."""

    def __call__(self, take: Take) -> Take:
        """Writes; the report lists the files."""
        written, facts = self._pictures(take) if take.apart else self._recording(take)
        output = take.run.output
        files = [path.relative_to(output).as_posix() for path in written]
        _tidy(output, take.reports[-1].label if take.reports else "", files)
        # of many pictures their folders
        shown = dict.fromkeys(file.partition("/")[0] for file in files) if take.apart else files
        return take.reported(frames=len(take.frames), people=len(take.people), files=list(shown), **facts)

    def _recording(self, take: Take) -> tuple[list[Path], dict[str, list[str]]]:
        """One clock, the same people throughout."""
        output = take.run.output
        written, warnings, layout = [], [], []
        for i, person in enumerate(take.people):
            end = f"_{i}.npz" if i else ".npz"
            result, notes = result_of(take, person)
            warnings += notes
            write_result_npz(output / f"result{end}", result)
            written.append(output / f"result{end}")
            if "smplify" in self.formats:
                why = _smplify(take, person, output / f"smplify{end}")
                warnings += [f"smplify{end} is not written: {why}."] if why else []
                written += [] if why else [output / f"smplify{end}"]
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
        if "obj" in self.formats:
            meshes = write_meshes(output, take.frames, take.people)
            written += meshes
            warnings += [] if meshes else ["meshes/ is not written: nobody has a fitted body."]
        if take.rig is not None:
            written += write_calibration(take.rig, output)
        return written, {"notes": layout, "warnings": warnings}

    def _pictures(self, take: Take) -> tuple[list[Path], dict[str, list[str]]]:
        """Each picture by itself, as SMPLify's users have it."""
        assert take.rig is not None
        output = take.run.output
        names = file_names(take.rig.names)
        written, warnings = [], []
        for person in take.people:
            (view,) = person.keypoints2d
            if person.body is None or person.shape is None or person.motion is None:
                warnings.append(f'Nothing is written of picture "{view}": it has no fitted body.')
                continue
            seen = person.keypoints2d[view]
            result = in_camera(person.body, person.shape, person.motion, take.rig[view], seen=seen)
            paths = [output / "smplify" / f"{names[view]}.{suffix}" for suffix in ("npz", "json")]
            write_smplify_npz(paths[0], result)
            write_smplify_json(paths[1], result)
            if "obj" in self.formats:
                paths.append(output / "meshes" / f"{names[view]}.obj")
                write_mesh(paths[-1], person, take.rig[view])
            written += paths
        others = [name for name in self.formats if name not in ("smplify", "obj")]
        notes = [f"Of unrelated pictures smplify/ is written, not {', '.join(others)}."] if others else []
        return written, {"notes": notes, "warnings": warnings}


def _smplify(take: Take, person: Person, path: Path) -> str | None:
    """Writes a video's `smplify.npz`, or gives the reason why it cannot be."""
    if take.rig is None or len(take.rig) != 1:
        return "it is of one camera, and the take has " + ("none" if take.rig is None else str(len(take.rig)))
    if person.body is None or person.shape is None or person.motion is None:
        return "nobody has a fitted body"
    (camera,) = take.rig
    seen = person.keypoints2d.get(camera.name)
    seen = None if seen is None else at_frames(seen, take.timestamps)
    kept = {"seen": seen, "frames": take.frames, "timestamps": take.timestamps}
    write_smplify_npz(path, in_camera(person.body, person.shape, person.motion, camera, **kept))
    return None


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
