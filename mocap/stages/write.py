"""`write:` - the results as files."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from mocap.io.calibration import write_calibration
from mocap.io.results import result_of, write_amass, write_easymocap, write_result_npz
from mocap.stages.base import Stage, options
from mocap.take import Take


@options
class Write(Stage):
    """Keypoints, body and motion as files in the output folder, and the calibration that was used.

    Always `result.npz` (of further people `result_1.npz` and so on), `intri.yml` and `extri.yml`. Without a fitted
    body the keypoints alone are written.
    """

    needs: ClassVar = frozenset({"keypoints3d"})
    gives: ClassVar = frozenset()

    formats: tuple[Literal["easymocap", "npz", "amass"], ...] = ("easymocap", "npz")
    """easymocap: keypoints3d/ and smpl/ with one JSON a frame; amass: amass.npz; npz is result.npz, always written."""

    def __call__(self, take: Take) -> Take:
        """Writes; the report lists the files."""
        output = take.run.output
        written, warnings = [], []
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
                warnings += write_amass(
                    output / f"amass{end}", body=person.body, betas=person.shape, motion=person.motion, fps=take.fps
                )
                written.append(output / f"amass{end}")
        if "easymocap" in self.formats:
            written += write_easymocap(output, take.frames, take.people)
        if take.rig is not None:
            written += write_calibration(take.rig, output)
        files = [path.relative_to(output).as_posix() for path in written]
        return take.reported(frames=len(take.frames), people=len(take.people), files=files, warnings=warnings)
