"""Detection's processes do not run the program anew that asked for it, so a program needs no guard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DETECTOR = '''
import numpy as np
from mocap.detect.detectors.base import Detector, Seen
from mocap.options import options
from mocap.skeletons import COCO17

@options
class Fake(Detector):
    """Sees one person, everywhere at (5, 6)."""

    def skeleton(self, view):
        return COCO17

    def key(self):
        return "fake"

    def check(self, footage):
        pass

    def detect_view(self, view, indices):
        for index in indices.tolist():
            yield index, Seen(np.tile([5.0, 6.0], (1, 17, 1)), np.ones((1, 17)))
'''
PROGRAM = """
import mocap
from mocap.stages.detect import Detect
print("begun", flush=True)
result = mocap.run(mocap.load({recording!r}, ranges=(0, 3, 1), subs=["01", "02"]), [Detect(detector=Fake())])
print(*(d.xy[0, 0, 0].tolist() for d in result.take.detections.values()))
"""


@pytest.mark.parametrize("way", ["a file without a guard", "standard input", "a detector of its own, guarded"])
def test_a_program_detects_however_it_is_run(way, repository: Path, tmp_path: Path):
    program = PROGRAM.format(recording=str(repository / "data" / "examples" / "dance"))
    if way == "a detector of its own, guarded":
        lines = program.strip().splitlines()
        program = DETECTOR + 'if __name__ == "__main__":\n' + "\n".join(f"    {line}" for line in lines)
    else:
        (tmp_path / "fake.py").write_text(DETECTOR)
        program = "from fake import Fake\n" + program
    (tmp_path / "program.py").write_text(program)
    by_file = way != "standard input"
    done = subprocess.run(
        [sys.executable, "program.py" if by_file else "-"],
        input=None if by_file else program, cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["begun", "[5.0, 6.0] [5.0, 6.0]"]
