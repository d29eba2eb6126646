"""Runs a list of stages over one take: checks the flow first, times each, stores what was computed, resumes."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mocap import config, quality, registry
from mocap.checkpoints import Stale, is_stored, restore, store
from mocap.config import Step
from mocap.errors import DataError, FlowError, SetupError, UnknownName
from mocap.io import results
from mocap.report import page as report_page
from mocap.take import PERSON_FIELDS, TAKE_FIELDS, Person, Report, Take, either

_LEAST_FREE = 200_000_000
"""Bytes that must be free on the disk of the output folder: a few minutes of video and its results."""


class Interrupted(KeyboardInterrupt):
    """The user's Ctrl-C, with the stage it stopped and what is kept."""

    def __init__(self, label: str, kept: Sequence[str], output: Path) -> None:
        told = f"the results of {', '.join(kept)} are kept in {output}" if kept else "no stage had finished"
        super().__init__(f'Stopped in stage "{label}": {told}; the same command continues there.')


def check_flow(steps: Sequence[Step], take: Take) -> None:
    """FlowError when a stage needs what neither the dataset nor a stage before it gives."""
    there = {name for name in (*TAKE_FIELDS, *PERSON_FIELDS) if take.has(name)}
    for step in steps:
        missing = [either(need) for need in sorted(step.stage.needs) if there.isdisjoint(either(need))]
        if missing:
            raise FlowError(step.label, map(" or ".join, missing), _givers([n for names in missing for n in names]))
        there |= step.stage.gives


def _givers(fields: Sequence[str]) -> dict[str, list[str]]:
    classes = {name: config.stage_class(name) for name in registry.names(config.STAGES.package)}
    return {field: [name for name, cls in classes.items() if field in cls.gives] for field in fields}


def check(steps: Sequence[Step], take: Take) -> None:
    """Whatever can be known before the first frame is read: the flow, then each stage's own check."""
    check_flow(steps, take)
    for step in steps:
        step.stage.check(take)
        take = step.stage.foreseen(take)


def position(steps: Sequence[Step], label: str) -> int:
    """The place of the stage labelled `label`, however it is spelled."""
    for i, step in enumerate(steps):
        if registry.folded(step.label) == registry.folded(label):
            return i
    raise UnknownName("stage of this experiment", label, [s.label for s in steps], where="--from")


def run(
    steps: Sequence[Step],
    take: Take,
    *,
    start: str | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
    prepare: Callable[[], None] = lambda: None,
    page: bool = True,
) -> Take:
    """The take after every stage.

    A run that was stopped (its report does not say `complete`) goes on after the last result that still holds.

    Args:
        steps: What to do, already checked.
        take: The recording, with its cameras and footage.
        start: Label of the stage to begin with; what the ones before it gave is read back, their files are left.
        tell: Is given a sentence when results of an earlier run are used.
        prepare: Is called once the output folder is this run's own and what `start` needs was read back; nothing in
            the folder is changed before.
        page: Whether `report.html` is written at the end, beside report.json.

    Raises:
        Stale: A result from before `start` is missing, or was made from something else.
        Interrupted: Ctrl-C.
    """
    output = take.run.output
    first = 0 if start is None else position(steps, start)
    with locked(output):
        continuing = start is None and results.is_complete(output) is False
        kept: list[str] = []
        for i, step in enumerate(steps):
            if i == first:
                prepare()
                results.write_report(take, complete=False)
            before = take.begun(step.label, step.name)
            try:
                after = _kept(step, i, before, given=i < first) if i < first or continuing else None
            except Stale as why:
                if i < first:
                    raise Stale(f"--from {steps[first].label}: {why} Run without --from.") from why
                after, continuing = None, False
            if after is not None:
                kept.append(step.label)
                take = after
                continue
            if kept and (i >= first):
                tell(f"Continuing at {step.label}; kept from the run before in {output}: {', '.join(kept)}.")
                kept = []
            try:
                take = _called(step, before)
                if is_stored(step.stage):
                    store(step, i, before, take)
            except KeyboardInterrupt:
                done = [s.label for s in steps[:i] if is_stored(s.stage)]
                raise Interrupted(step.label, done, output) from None
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise SetupError(
                    f'The disk of {output} became full in stage "{step.label}"; make room and run the same again.'
                ) from error
            if i >= first:
                results.write_report(take, complete=False)
        told = Report("quality", "quality", {"people": quality.of_take(take)})
        take = take.replace(reports=(*take.reports, told))
        results.write_report(take, complete=True)
        if page:
            report_page.write(take)
    return take


def _kept(step: Step, place: int, before: Take, *, given: bool) -> Take | None:
    """The take with what an earlier run of this stage left; None when it is to be called again."""
    if is_stored(step.stage):
        return restore(step, place, before).reported(kept=True)
    return before.reported(kept=True) if given and not step.stage.gives else None


def _called(step: Step, before: Take) -> Take:
    """The take after one stage, which was held to what it declares."""
    missing = [" or ".join(either(need)) for need in sorted(step.stage.needs) if not before.has(need)]
    if missing:
        raise DataError(f'Stage "{step.label}" needs {", ".join(missing)}, and no stage before it found any.')
    began = time.perf_counter()
    after = step.stage(before)
    seconds = time.perf_counter() - began
    touched = [name for name in _changed(before, after) if name not in step.stage.gives]
    if touched:
        raise DataError(f'Stage "{step.label}" changed {", ".join(touched)}, which it does not say it gives.')
    if after.reports[:-1] != before.reports[:-1] or len(after.reports) != len(before.reports):
        raise DataError(f'Stage "{step.label}" changed the reports of other stages.')
    report = after.reports[-1]
    apart = sum(report.facts.get("seconds_apart", {}).values())
    return after.replace(reports=(*after.reports[:-1], dataclasses.replace(report, seconds=seconds - apart)))


def _changed(before: Take, after: Take) -> list[str]:
    """Fields that are not the same objects any more; empty ones count as the same."""

    def differs(a: Any, b: Any, name: str) -> bool:
        x, y = getattr(a, name), getattr(b, name)
        return x is not y and not (_empty(x) and _empty(y))

    fields = (*TAKE_FIELDS, "run", "timestamps", "frames", "apart", "genders")
    changed = [name for name in fields if differs(before, after, name)]
    more = max(len(before.people), len(after.people))
    pairs = [[*p.people, *(Person() for _ in range(more - len(p.people)))] for p in (before, after)]
    return changed + [n for n in PERSON_FIELDS if any(differs(a, b, n) for a, b in zip(*pairs, strict=True))]


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, (dict, tuple)) and not value)


# ---------------------------------------------------------------------------------------------- the output folder


def make_output(output: Path) -> None:
    """Makes the output folder, or says why it cannot be written to, before anything is computed."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise SetupError(
            f"The output folder {output} cannot be written to: {error.strerror}; give another with --out."
        ) from error
    free = shutil.disk_usage(output).free
    if free < _LEAST_FREE:
        raise SetupError(
            f"Only {free / 1e6:.0f} MB are free on the disk of {output}; {_LEAST_FREE / 1e6:.0f} MB are needed."
        )


@contextlib.contextmanager
def locked(output: Path) -> Iterator[None]:
    """Holds the output folder for one run; the system lets go of it whatever becomes of the process."""
    with open(output / ".lock", "a+b") as file:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SetupError(
                f"Another run is writing to {output}; wait for it, or give another folder with --out."
            ) from error
        yield
