"""What a format is: typed options, and one call that writes finished people into a folder.

A file `formats/<name>.py` holds one :class:`Format` decorated by `options`; `write:` and `emc export` find it by that
name. It is a thin layer over a plain function. Most write one person at a time: :class:`FormatOfOne`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from mocap.bodies.model import BodyModel
from mocap.geometry.cameras import Rig
from mocap.io.results import Result, keypoints_of_result
from mocap.options import options
from mocap.registry import Named
from mocap.take import Keypoints2D, Person

__all__ = ["FORMATS", "Finished", "Format", "FormatOfOne", "Written", "options"]

FORMATS = Named("mocap.io.formats", "format")


@dataclass(frozen=True)
class Finished:
    """One person's finished result, and what belongs to it."""

    result: Result
    """In the take's world: metres, radians, z up; with `timestamps` [s] and `fps` [1/s]."""
    body: BodyModel | None = None
    """The model that was fitted; None where none was, or where the format does not need it."""
    rig: Rig | None = None
    """The cameras, where there are any."""
    keypoints2d: Mapping[str, Keypoints2D] = field(default_factory=dict)
    """What was seen, by view name; nothing of it is kept in result.npz."""

    @property
    def person(self) -> Person:
        """As a record of a take: keypoints, body, shape and motion."""
        points = None if self.result.keypoints3d is None else keypoints_of_result(self.result)
        return Person(self.keypoints2d, points, self.body, self.result.shapes, self.result.motion)


@dataclass(frozen=True)
class Written:
    """The files (or folders of frames) a format has written, and what there is to say."""

    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences on what the format cannot hold."""
    warnings: tuple[str, ...] = ()
    """Sentences on what is missing or wrong."""

    @classmethod
    def joined(cls, parts: Iterable[Written]) -> Written:
        """All of them as one; what is said twice is said once."""
        parts = tuple(parts)
        told = [dict.fromkeys(t for p in parts for t in getattr(p, name)) for name in ("notes", "warnings")]
        return cls(tuple(f for p in parts for f in p.files), *map(tuple, told))


class Format(ABC):
    """A kind of file: `formats/<name>.py` holds exactly one subclass, decorated by `options`.

    Class attributes:
        needs_body: Whether it needs the body MODEL that was fitted; one that is content with the joints or keypoints of
            a :class:`Result` says False, and then may be given a person without a fitted body.
    """

    needs_body: ClassVar[bool] = True

    def check(self) -> None:  # noqa: B027 - most have nothing to check
        """Raises a MocapError for what would fail later: a library that is not installed."""

    @abstractmethod
    def write(self, people: Sequence[Finished], folder: Path) -> Written:
        """Writes everybody into `folder`; each file whole or not at all (:mod:`mocap.io.atomic`).

        The files' names must be such that :func:`mocap.io.results.remove_left_over` knows them.
        """

    def write_picture(self, one: Finished, folder: Path, name: str) -> list[Path]:
        """Writes who was seen in one of many unrelated pictures; a format that has no use for these gives nothing.

        Args:
            one: Of a single moment, with a fitted body and a rig of the one camera.
            folder: The output folder.
            name: The picture's name as a file's, without suffix.
        """
        return []


class FormatOfOne(Format):
    """A format with one person in a file: `result.glb`, `result_1.glb` and so on.

    Class attributes:
        stem: What the first person's file is called.
        suffix: Its suffix, as sentences name the file.
        one_rate: Whether it knows a constant frame rate only; of a take whose clock is uneven it is warned then.
    """

    stem: ClassVar[str] = "result"
    suffix: ClassVar[str]
    one_rate: ClassVar[bool] = False

    @abstractmethod
    def write_one(self, one: Finished, folder: Path, stem: str) -> Written:
        """Writes one person into `folder`; names of files begin with `stem`.

        Args:
            one: With a body where `needs_body`.
            folder: Where to.
            stem: `result`, of further people `result_1` and so on.
        """

    def write(self, people: Sequence[Finished], folder: Path) -> Written:
        """Each person by itself; who has no body, and needs one, is left out and named."""
        return Written.joined(self._numbered(i, one, folder) for i, one in enumerate(people))

    def _numbered(self, i: int, one: Finished, folder: Path) -> Written:
        stem = f"{self.stem}_{i}" if i else self.stem
        file = f"{stem}{self.suffix}"
        if self.needs_body and one.body is None:
            return Written(warnings=(f"{file} is not written: person {i} has no fitted body.",))
        gaps = np.diff(one.result.timestamps) * one.result.fps
        uneven = self.one_rate and gaps.size > 0 and np.abs(gaps - 1).max() > 0.5
        told = f"{file} knows one frame rate ({one.result.fps:g}/s), and the take's is not constant."
        return Written.joined((self.write_one(one, folder, stem), Written(warnings=(told,) if uneven else ())))
