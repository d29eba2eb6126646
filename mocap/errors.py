"""Errors that take facts and write the sentence a user reads.

Every error a user can cause is a :class:`MocapError`; `emc` prints its one sentence and exits with code 2.
Anything else that reaches the top is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest in spelling to `name`, or None when nothing is close."""
    by_folded = {k.casefold(): k for k in known}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    return by_folded[found[0]] if found else None


def unknown_name_sentence(kind: str, name: str, known: Iterable[str]) -> str:
    """'unknown stage "triangluate": did you mean "triangulate"? Known: ...'."""
    known = list(known)
    guess = nearest(name, known)
    hint = f' Did you mean "{guess}"?' if guess else ""
    return f'Unknown {kind} "{name}".{hint} Known: {", ".join(known) or "none"}.'


class MocapError(Exception):
    """Bad input or a user's mistake, told in one sentence."""


class UnknownName(MocapError):
    """A name (joint, camera, stage, loss, format ...) that does not exist among the known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        self.kind, self.name, self.known = kind, name, tuple(known)
        prefix = f"{where}: " if where else ""
        super().__init__(prefix + unknown_name_sentence(kind, name, self.known))


class ConfigError(MocapError):
    """A mistake in a YAML file or in `--set`, with the file and line where it stands."""

    def __init__(self, why: str, *, file: str | Path | None = None, line: int | None = None) -> None:
        self.why, self.file, self.line = why, file, line
        where = "" if file is None else f"{file}:{line}: " if line is not None else f"{file}: "
        super().__init__(where + why)


class MissingFile(MocapError):
    """A file or folder that should be there and is not."""

    def __init__(self, path: str | Path, *, what: str, remedy: str = "") -> None:
        self.path = Path(path)
        super().__init__(f"{what} not found: {path}." + (f" {remedy}" if remedy else ""))


class BadFile(MocapError):
    """A file that is there and cannot be used: what is wrong with it and what would be right."""

    def __init__(self, path: str | Path, why: str, *, line: int | None = None) -> None:
        self.path, self.why, self.line = Path(path), why, line
        super().__init__(f"{path}{'' if line is None else f':{line}'}: {why}")


class CalibrationError(MocapError):
    """Cameras that contradict the footage, each other or the world."""


class DataError(MocapError):
    """Footage, detections or a take's fields that cannot be used as they are."""


class FlowError(MocapError):
    """A list of stages in which one needs what no earlier one gives."""

    def __init__(self, stage: str, missing: Iterable[str], givers: dict[str, list[str]]) -> None:
        missing = list(missing)
        told = "; ".join(
            f'"{name}" is given by {" or ".join(givers.get(name) or ["the dataset file"])}'
            for name in givers or missing
        )
        super().__init__(f'Stage "{stage}" needs {", ".join(missing)}, which no stage before it gives: {told}.')


class ModelError(MocapError):
    """A body model, prior or detector model that cannot be used, or betas read against another body."""


class SetupError(MocapError):
    """Something the machine lacks (a library, a GL driver, a download) and how to get it."""


class UnsafeFile(BadFile):
    """A file that asks for code to be run when it is loaded; it is refused."""


class SolveError(MocapError):
    """A solver that stopped for a reason its caller cannot pass on (NaN, singular system)."""
