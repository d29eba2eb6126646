"""What a stage gave, stored with what it was made from, so that a stopped run goes on where it was.

One npz a stage: arrays, and a JSON text that says where each belongs. Nothing is pickled and no name in a file is
imported. A stored result is used again only when the stage's options, the files they name, the content of the fields
it needed and the version of the package are all the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from mocap import __version__, config, skeletons
from mocap.bodies.model import BodyModel
from mocap.config import Step
from mocap.errors import MocapError
from mocap.io.atomic import replacing
from mocap.skeletons import Skeleton
from mocap.stages.base import Stage
from mocap.take import PERSON_FIELDS, Detections, Keypoints2D, Keypoints3D, Motion, Person, Take, either

_RECORDS: dict[str, type] = {c.__name__: c for c in (Detections, Keypoints2D, Keypoints3D, Motion)}
_STORABLE = {"detections", "keypoints2d", "keypoints3d", "shape", "motion"}
_DAMAGE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError),
    *(MemoryError, zipfile.BadZipFile, zlib.error),
)
"""What a file that is damaged, or holds something else, makes its readers raise."""


class Stale(MocapError):
    """A stored result that is not there, or was made from something else: says what changed."""


def is_stored(stage: Stage) -> bool:
    """Whether what the stage gives is kept on disk; the rest is computed again (cheap) or is files (no gives)."""
    return bool(stage.gives) and not stage.cheap and stage.gives <= _STORABLE


def store(step: Step, place: int, before: Take, after: Take) -> None:
    """Writes what `step` gave, atomically, under `<output>/checkpoints/`."""
    arrays: list[np.ndarray] = []
    given = {name: _packed(value, arrays) for name, value in _fields(after, step.stage.gives).items()}
    report = after.reports[-1]
    text = json.dumps(
        {
            "made_from": _made_from(step, before),
            "given": given,
            "people": len(after.people),
            "facts": report.facts,
            "seconds": report.seconds,
        },
        default=lambda value: value.tolist() if hasattr(value, "tolist") else str(value),
    )
    named: dict[str, Any] = {"text": np.array(text), **{f"a{i}": a for i, a in enumerate(arrays)}}
    with replacing(_path(step, place, after)) as temporary:
        np.savez(temporary, **named)


def restore(step: Step, place: int, before: Take) -> Take:
    """The take with what `step` gave when it ran; Stale says why that cannot be used."""
    path = _path(step, place, before)
    now = json.loads(json.dumps(_made_from(step, before)))
    try:
        # opened here, since np.load leaves a file it cannot read open
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            stored = json.loads(str(file["text"]))
            changed = _difference(stored["made_from"], now)
            if changed:
                raise Stale(f'The stored result of stage "{step.label}" is out of date: {changed}.')
            given = {name: _unpacked(value, file) for name, value in stored["given"].items()}
        if given.keys() != step.stage.gives:
            raise ValueError("holds other fields than the stage gives")
        return _with(before, given, stored["people"], dict(stored["facts"]), float(stored["seconds"]))
    except FileNotFoundError:
        raise Stale(f'There is no stored result of stage "{step.label}" in {path.parent}.') from None
    except Stale:
        raise
    except (*_DAMAGE, MocapError) as error:  # of ours: what the records of a take refuse
        raise Stale(f'The stored result of stage "{step.label}" cannot be read: {path}.') from error


def stored(output: Path, field: str) -> list[Any] | Any | None:
    """The newest value of a field of the take, or of each of its people, that a run left in its output folder.

    For looking at a finished run, whatever its configuration is by now; None where nothing was kept or it is damaged.
    """
    for path in sorted((output / "checkpoints").glob("*.npz"), reverse=True):
        try:
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
                given = json.loads(str(file["text"]))["given"]
                if field in given:
                    return _unpacked(given[field], file)
        except (*_DAMAGE, MocapError):  # noqa: PERF203 - each file by itself
            return None
    return None


def _with(before: Take, given: Mapping[str, Any], count: int, facts: Mapping[str, Any], seconds: float) -> Take:
    """The take with these fields, `count` people and its newest report filled in."""
    take = before
    people = (*before.people, *(Person() for _ in range(count - len(before.people))))[:count]
    for name, value in given.items():
        if name in PERSON_FIELDS:
            people = tuple(dataclasses.replace(p, **{name: v}) for p, v in zip(people, value, strict=True))
        else:
            take = take.replace(**{name: value})
    report = dataclasses.replace(take.reports[-1], facts=facts, seconds=seconds)
    return take.replace(people=people, reports=(*take.reports[:-1], report))


def _path(step: Step, place: int, take: Take) -> Path:
    return take.run.output / "checkpoints" / f"{place:02d}_{''.join(c if c.isalnum() else '_' for c in step.label)}.npz"


def _fields(take: Take, names: frozenset[str]) -> dict[str, Any]:
    """Fields of the take; of its people as one list a field."""
    return {n: [getattr(p, n) for p in take.people] if n in PERSON_FIELDS else getattr(take, n) for n in sorted(names)}


def _made_from(step: Step, before: Take) -> dict[str, Any]:
    needs = frozenset(name for need in step.stage.needs for name in either(need))
    inputs = {"timestamps": before.timestamps, "frames": before.frames, **_fields(before, needs)}
    inputs |= {"floor": before.has_floor, "apart": before.apart}
    return {
        "version": __version__,
        "stage": step.name,
        "options": config.plain(step.stage),
        "files": _files(step.stage),
        "inputs": {name: digest(value) for name, value in inputs.items()},
    }


def _files(value: Any, name: str = "") -> dict[str, str]:
    """The digest of every file that options name, by the option: `losses.prior.model`."""
    if isinstance(value, Path):
        return {name: digest(value)} if value.exists() else {}
    if dataclasses.is_dataclass(value):
        entries: Mapping[Any, Any] = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    elif isinstance(value, Mapping):
        entries = value
    elif isinstance(value, (list, tuple)):
        entries = dict(enumerate(value))
    else:
        return {}
    return {k: v for key, entry in entries.items() for k, v in _files(entry, f"{name}.{key}".lstrip(".")).items()}


def _difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if then["version"] != now["version"]:
        return f"it was made by version {then['version']}, this is {now['version']}"
    if then["stage"] != now["stage"]:
        return f'it was made by stage "{then["stage"]}", this is "{now["stage"]}"'
    for part, told in (
        ("options", "option {} was {} and is {}"),
        ("files", "the file of its option {} has changed"),
        ("inputs", "its input {} has changed"),
    ):
        for name in {**then[part], **now[part]}:
            a, b = then[part].get(name), now[part].get(name)
            if a != b:
                return told.format(name, a, b)
    return ""


def _packed(value: Any, arrays: list[np.ndarray]) -> Any:
    """JSON that stands for a value, its arrays put aside."""
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, Skeleton):
        return {"skeleton": value.name}
    if isinstance(value, Mapping):
        return {"entries": {k: _packed(v, arrays) for k, v in value.items()}}
    if isinstance(value, (list, tuple)):
        return [_packed(v, arrays) for v in value]
    fields = {f.name: _packed(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}
    return {"record": type(value).__name__, "fields": fields}


def _unpacked(told: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if told is None:
        return None
    if isinstance(told, list):
        return [_unpacked(v, arrays) for v in told]
    if "array" in told:
        return arrays[f"a{told['array']}"]
    if "skeleton" in told:
        return skeletons.get(told["skeleton"])
    if "entries" in told:
        return {k: _unpacked(v, arrays) for k, v in told["entries"].items()}
    return _RECORDS[told["record"]](**{k: _unpacked(v, arrays) for k, v in told["fields"].items()})


def digest(value: Any) -> str:
    """A hash of the content of a field of a take.

    Footage counts by the size and time of change of its files.
    """
    state = hashlib.blake2b(digest_size=16)
    _feed(state, value)
    return state.hexdigest()


def _feed(state: Any, value: Any) -> None:
    state.update(f"<{type(value).__name__}".encode())
    if isinstance(value, np.ndarray):
        state.update(f"{value.dtype}{value.shape}".encode())
        if value.size and not any(value.strides):  # one number over and over: covariances that no file had
            value = value.reshape(-1)[:1]
        state.update(np.ascontiguousarray(value).data)
    elif isinstance(value, BodyModel):
        state.update(value.content_hash.encode())
        _feed(state, value.regressors)  # no part of that hash, and keypoints are fitted through them
    elif isinstance(value, csr_array):
        for part in (value.data, value.indices, value.indptr):
            _feed(state, part)
    elif isinstance(value, Skeleton):
        state.update(repr(value.joints).encode())
    elif isinstance(value, Path):
        state.update(str(value.absolute()).encode())
        if value.exists():
            status = value.stat()
            state.update(f"{status.st_size}{status.st_mtime_ns}".encode())
    elif isinstance(value, Mapping):
        for key in sorted(value):
            state.update(f"{key}=".encode())
            _feed(state, value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            _feed(state, item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _feed(state, getattr(value, field.name))
    else:
        state.update(repr(value).encode())
    state.update(b">")
