"""A package of toy stages and losses, written to a folder and put where the registry looks."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mocap import config
from mocap.registry import Named
from mocap.take import RunContext, Take

_numbers = itertools.count()

STAGES = {
    "see": '''
@options
class See(Stage):
    """Sees detections."""

    gives: ClassVar = frozenset({"detections"})
    detector: Literal["mediapipe", "replay"] = "mediapipe"
    """Which detector."""

    def __call__(self, take):
        xy = np.full((len(take.timestamps), 1, 25, 2), 5.0)
        seen = Detections.of(BODY25, take.timestamps, xy, np.ones(xy.shape[:-1]))
        log(take, "see")
        return take.replace(detections={"07": seen}).reported(seen=len(xy))
''',
    "lift": '''
@options
class Lift(Stage):
    """Lifts detections to 3D.

    In one step.
    """

    needs: ClassVar = frozenset({"detections"})
    gives: ClassVar = frozenset({"keypoints2d", "keypoints3d"})
    max_error: Annotated[float, Gt(0), Le(1)] = 0.02
    """A view further off is dropped [fraction of the image's longer side]."""
    min_views: PositiveInt = 2
    stature: PositiveFloat | None = None
    names: tuple[str, ...] = ()
    offsets: Mapping[str, float] = Field(default_factory=dict)

    def __call__(self, take):
        d = take.detections["07"]
        k2 = Keypoints2D.of(d.skeleton, d.timestamps, d.xy[:, 0], d.confidence[:, 0])
        n = len(d.timestamps)
        k3 = Keypoints3D.of(
            d.skeleton, np.full((n, 25, 3), self.max_error), *(np.ones((n, 25, *s)) for s in ((), (3, 3), ()))
        )
        log(take, "lift")
        person = Person(keypoints2d={"07": k2}, keypoints3d=k3)
        return take.replace(people=(person,)).reported(lifted=n)
''',
    "fit_shape": '''
@options
class FitShape(Stage):
    """Fits."""

    needs: ClassVar = frozenset({"keypoints3d"})
    gives: ClassVar = frozenset({"shape"})
    losses: Annotated[Mapping[str, Loss], Named(LOSSES, "loss")] = Field(default_factory=dict)

    def __call__(self, take):
        log(take, "fit_shape")
        if (take.run.output / "stop_here").exists():
            raise KeyboardInterrupt
        return take.with_people(shape=[np.zeros(10)])
''',
    "write": '''
@options
class Write(Stage):
    """Writes."""

    needs: ClassVar = frozenset({"shape"})

    def __call__(self, take):
        log(take, "write")
        return take
''',
    "meddle": '''
@options
class Meddle(Stage):
    """Changes what it does not give."""

    gives: ClassVar = frozenset({"shape"})

    def __call__(self, take):
        return take.with_people(shape=[np.ones(10)], keypoints3d=[None])
''',
}

LOSSES = {
    "k3d": '''
@options
class K3d(Loss):
    """Distance to the points."""

    sigma: PositiveFloat = 0.02
    """[m]"""
''',
    "smooth": '''
@options
class Smooth(Loss):
    """Smoothness."""

    weight: float = 1.0
''',
}

_HEAD = """
from __future__ import annotations
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal
import numpy as np
from annotated_types import Gt, Le
from pydantic import Field, PositiveFloat, PositiveInt
from mocap.options import options
from mocap.registry import Named
from mocap.skeletons import BODY25
from mocap.stages.base import Stage
from mocap.take import Detections, Keypoints2D, Keypoints3D, Person
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Writes the toy packages under `folder` and makes the configuration look for stages there."""
    name = f"toys{next(_numbers)}"
    package = folder / name
    losses = f"{name}.losses"
    for part in ("stages", "losses"):
        (package / part).mkdir(parents=True)
        (package / part / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "losses" / "base.py").write_text("from abc import ABC\nclass Loss(ABC):\n    pass\n")
    log = "def log(take, name):\n    with open(take.run.output / 'calls.txt', 'a') as f: f.write(name + ' ')\n"
    head = f"{_HEAD}from {losses}.base import Loss\nLOSSES = '{losses}'\n{log}"
    for part, files in (("stages", STAGES), ("losses", LOSSES)):
        for file, text in files.items():
            (package / part / f"{file}.py").write_text(head + text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(config, "STAGES", Named(f"{name}.stages", "stage"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return name


def take(output: Path, **fields: Any) -> Take:
    """A take of four frames and no cameras."""
    return Take(run=RunContext(output=output), timestamps=np.arange(4) / 30, frames=np.arange(4), **fields)
