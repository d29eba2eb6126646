"""Detection of all views: one process a view, each on a core of its own, and results kept between runs.

Views of a single frame are shared out among the processes, since one takes longer to begin than a picture to detect.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mocap import progress
from mocap.detect import stored
from mocap.detect.detectors.base import Detector, Seen
from mocap.detect.stored import Stored
from mocap.errors import BadFile, DataError, MocapError, SetupError
from mocap.io.footage import VIDEO_SUFFIXES, content_key
from mocap.io.pictures import listed
from mocap.skeletons import Skeleton
from mocap.take import Detections, View

LAYOUT = 1
"""Counted up when what a cached file holds changes meaning."""
KEEP_EVERY = 60.0
"""A killed detection loses at most so much [s]."""
_TELL_EVERY = 0.2


def frames_needed(
    timestamps: Float[np.ndarray, " frames_v"], clock: Float[np.ndarray, " frames"]
) -> Int[np.ndarray, " needed"]:
    """Places of the frames of a view just before and just after each moment of the take's clock (one where they meet).

    Args:
        timestamps: When the view's frames were seen [s], increasing.
        clock: The moments of the take [s], increasing.
    """
    last = len(timestamps) - 1
    after = np.clip(np.searchsorted(timestamps, clock - 1e-6), 0, last)  # clocks agree to rounding, not to the bit
    meets = timestamps[after] <= clock + 1e-6  # or the view has ended by then
    return np.unique(np.concatenate([after, np.where(meets, after, np.maximum(after - 1, 0))]))


def check(detector: Detector, footage: Mapping[str, View]) -> None:
    """Raises a MocapError for what the detector lacks on this machine; asks in a process of its own.

    A library that crashes on this processor, and what it prints, then stay out of this process.
    """
    if not detector.reads_pixels:
        detector.check(footage)
        return
    with progress.bar(f"{_called(detector)} model", None):
        _run(
            [_Job("", 0, _check, (detector, footage))],
            f"The {_called(detector)} detector",
            workers=1,
            told=lambda n: None,
        )


def require_pixels(footage: Mapping[str, View], who: str, remedy: str) -> None:
    """DataError where a view is stored keypoints only."""
    for view in footage.values():
        if not view.files and view.path.suffix.casefold() not in VIDEO_SUFFIXES:
            raise DataError(
                f'View "{view.name}" has no footage ({view.path} stands for it), which {who} reads; {remedy}.'
            )


def detect_views(
    footage: Mapping[str, View],
    indices: Mapping[str, Int[np.ndarray, " frames_v"]],
    detector: Detector,
    *,
    workers: int = 1,
    cache: Path | None = None,
    label: str = "detect",
) -> tuple[dict[str, Detections], dict[str, Any]]:
    """All candidates in every view.

    Args:
        footage: Views by name.
        indices: For each view the places of the frames to look at, increasing.
        detector: Its settings; it is sent to the worker processes.
        workers: How many views are worked on at once, at most the cores there are.
        cache: Folder under which finished views (`detections/<key>.npz`, see :mod:`mocap.detect.stored`) and parts of
            unfinished ones are kept; the key is made of the footage's content, the detector's settings and the frames.
        label: What the progress is called.

    Returns:
        Detections by view, and facts for the report: `detector`, `seconds`, `fps` (of frames not cached), `views`
        (frames, `frames_cached`, frames with `nobody`, `unreadable` frames ...), `notes` and `warnings`.

    Raises:
        MocapError: From the detector, or DataError naming the view whose process died.
    """
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mocap-") as scratch:
        if detector.reads_pixels:
            found, cached = _through_files(
                footage,
                indices,
                detector,
                workers,
                (cache or Path(scratch)) / "detections",
                keep=cache is not None,
                label=label,
            )
        else:
            found, cached = {}, {}
            for name, view in progress.track(footage.items(), "read detections", len(footage), "views"):
                found[name] = _gathered(detector, view, indices[name], "")
    facts = _facts(found, cached)
    facts["notes"] = [note for view in footage.values() for note in detector.notes(view)]
    facts["detector"] = _called(detector)
    facts["seconds"] = time.perf_counter() - began
    fresh = sum(len(s.frames) - cached.get(name, 0) for name, s in found.items())
    facts["fps"] = fresh / facts["seconds"] if fresh else None
    detections = {
        name: Detections.of(s.skeleton, footage[name].timestamps[s.frames], s.xy, s.confidence)
        for name, s in found.items()
    }
    return detections, facts


def _called(detector: Detector) -> str:
    return type(detector).__module__.rpartition(".")[2]


def _facts(found: Mapping[str, Stored], cached: Mapping[str, int]) -> dict[str, Any]:
    views: dict[str, Any] = {}
    warnings = []
    pictures = len(found) > 1 and all(len(s.frames) == 1 for s in found.values())
    for name, s in found.items():
        nobody = int((~(s.confidence > 0).any((1, 2))).sum()) - len(s.unreadable)
        views[name] = {
            "frames": len(s.frames),
            "nobody": nobody,
            "unreadable": s.unreadable.tolist(),
            "most_candidates": s.xy.shape[1],
            "frames_cached": cached.get(name, 0),
            "seconds": s.seconds,
            "fps": len(s.frames) / s.seconds if s.seconds else None,
        }
        if pictures:
            continue  # who is in none of them, `associate` says
        if len(s.unreadable):
            which = ", ".join(map(str, s.unreadable[:5])) + (" ..." if len(s.unreadable) > 5 else "")
            warnings.append(f'View "{name}": {len(s.unreadable)} of {len(s.frames)} frames cannot be read ({which}).')
        if nobody + len(s.unreadable) == len(s.frames):
            warnings.append(f'View "{name}": nobody is seen in any of {len(s.frames)} frames.')
    unreadable = [name for name, s in found.items() if pictures and len(s.unreadable)]
    if unreadable:
        warnings.append(f"{len(unreadable)} of {len(found)} pictures cannot be read: {listed(unreadable)}.")
    return {"views": views, "warnings": warnings}


# ---------------------------------------------------------------------------------------------------------------------
# files


def _settings(detector: Detector) -> str:
    return f"{_called(detector)} {detector.key()}"


def _key(settings: str, view: View, indices: np.ndarray) -> str:
    mode = "picture " if view.frames == 1 else ""
    told = f"{LAYOUT} {view.name} {settings} {content_key(view)} {mode}"
    return hashlib.sha256(told.encode() + np.ascontiguousarray(indices, dtype="<i8").tobytes()).hexdigest()


def _usable(path: Path, key: str, frames: np.ndarray) -> Stored | None:
    """What the file holds, when it holds just that; a damaged one is as good as none."""
    try:
        found = stored.read(path)
    except MocapError:
        return None
    return found if found.key == key and np.array_equal(found.frames, frames) else None


def _through_files(
    footage: Mapping[str, View],
    indices: Mapping[str, np.ndarray],
    detector: Detector,
    workers: int,
    folder: Path,
    *,
    keep: bool,
    label: str,
) -> tuple[dict[str, Stored], dict[str, int]]:
    settings = _settings(detector) if keep else ""  # once: it hashes the model
    keys = {
        name: _key(settings + detector.key_of(view), view, indices[name]) if keep else name
        for name, view in footage.items()
    }
    paths = {name: folder / f"{keys[name] if keep else number}.npz" for number, name in enumerate(footage)}
    found = {name: _usable(paths[name], keys[name], indices[name]) for name in footage}
    cached = {name: len(indices[name]) for name, s in found.items() if s is not None}
    wanted = {name: view for name, view in footage.items() if found[name] is None}
    jobs = [
        _Job(name, len(indices[name]), _detect, (detector, view, indices[name], paths[name], keys[name]))
        for name, view in wanted.items()
        if view.frames > 1
    ]
    pictures = [(view, paths[name], keys[name]) for name, view in wanted.items() if view.frames == 1]
    shares = [pictures[k :: max(1, workers)] for k in range(min(max(1, workers), len(pictures)))]
    jobs += [_Job("", len(share), _detect_pictures, (detector, share)) for share in shares]
    if jobs:
        folder.mkdir(parents=True, exist_ok=True)
        with progress.bar(label, sum(job.frames for job in jobs)) as told:
            resumed = _run(jobs, "Detection", workers=workers, told=told.update)
        cached.update(resumed)
        for name in wanted:
            found[name] = stored.read(paths[name])
    return {name: s for name, s in found.items() if s is not None}, cached


# ---------------------------------------------------------------------------------------------------------------------
# in the worker


def _check(tell: Callable[[Any], None], detector: Detector, footage: Mapping[str, View]) -> None:
    detector.check(footage)


def _detect(
    tell: Callable[[Any], None], detector: Detector, view: View, indices: np.ndarray, path: Path, key: str
) -> None:
    """Detects one view into `path`, from where an earlier run was stopped."""
    parts: list[Stored] = []
    done = 0
    folder = path.with_suffix(".parts")
    for name in sorted(folder.glob("*.npz")):
        try:
            part = stored.read(name)
        except BadFile:
            break
        if part.key != key or not np.array_equal(part.frames, indices[done : done + len(part.frames)]):
            break
        parts.append(part)
        done += len(part.frames)
    if done:
        tell(("resumed", done))

    def keep(part: Stored) -> None:
        stored.write(folder / f"{len(parts):06d}.npz", part)
        parts.append(part)

    if done < len(indices) or not parts:
        last = _gathered(detector, view, indices[done:], key, tell=lambda n: tell(("done", n)), keep=keep)
        parts.append(last)
    whole = stored.joined(parts)
    if len(indices) and len(whole.unreadable) == len(indices):
        raise BadFile(view.path, f"none of the {len(indices)} frames asked for can be decoded.")
    stored.write(path, whole)
    for name in folder.glob("*.npz"):
        name.unlink()
    if folder.is_dir():
        folder.rmdir()


def _detect_pictures(
    tell: Callable[[Any], None], detector: Detector, pictures: Sequence[tuple[View, Path, str]]
) -> None:
    """Detects views of one frame, each into its path, which what was there before is found by."""
    began = time.perf_counter()
    all_seen = detector.detect_pictures([view for view, _, _ in pictures])
    for (view, path, key), seen in zip(pictures, all_seen, strict=True):
        now = time.perf_counter()
        stored.write(path, _packed(detector.skeleton(view), view, [0], [seen], key, now - began))
        began = now
        tell(("done", 1))


def _gathered(
    detector: Detector,
    view: View,
    indices: np.ndarray,
    key: str,
    *,
    tell: Callable[[int], None] = lambda n: None,
    keep: Callable[[Stored], None] | None = None,
) -> Stored:
    """Runs the detector over the frames; hands stretches to `keep` now and then and returns what is left."""
    skeleton = detector.skeleton(view)
    frames: list[int] = []
    seen: list[Seen | None] = []
    began = kept = told = time.perf_counter()
    untold = 0

    def packed() -> Stored:
        return _packed(skeleton, view, frames, seen, key, time.perf_counter() - began)

    for index, here in detector.detect_view(view, indices):
        frames.append(index)
        seen.append(here)
        untold += 1
        now = time.perf_counter()
        if now - told > _TELL_EVERY:
            tell(untold)
            told, untold = now, 0
        if keep is not None and now - kept > KEEP_EVERY:
            keep(packed())
            frames, seen = [], []
            began = kept = time.perf_counter()
    tell(untold)
    return packed()


def _packed(
    skeleton: Skeleton, view: View, frames: Sequence[int], seen: Sequence[Seen | None], key: str, seconds: float
) -> Stored:
    """What was seen in these frames, padded with missing candidates."""
    most = max((len(s.xy) for s in seen if s is not None), default=0)
    xy = np.full((len(frames), most, len(skeleton), 2), np.nan, np.float32)
    confidence = np.zeros((len(frames), most, len(skeleton)), np.float32)
    for i, s in enumerate(seen):
        if s is not None:
            xy[i, : len(s.xy)], confidence[i, : len(s.xy)] = s.xy, s.confidence
    missing = ~(np.isfinite(xy).all(-1) & (confidence > 0))
    xy[missing], confidence[missing] = np.nan, 0.0
    places = np.array(frames, dtype=np.int64)
    unreadable = places[[s is None for s in seen]]
    return Stored(skeleton, places, view.timestamps[places], xy, confidence, unreadable, view.name, key, seconds)


def _work(pipe: Connection, log: str, core: int | None, function: Callable[..., None], arguments: tuple) -> None:
    """What a worker process runs: `function`, its errors told to the parent, its noise written to a file."""
    # C++ libraries write to the file descriptor, whatever sys.stderr is
    with open(log, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 2)
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    try:
        function(pipe.send, *arguments)
    except MocapError as error:
        pipe.send(("failed", (isinstance(error, SetupError), str(error))))
    pipe.send(("ended", None))


# ---------------------------------------------------------------------------------------------------------------------
# in the parent


@dataclass(frozen=True)
class _Job:
    view: str
    frames: int
    function: Callable[..., None]
    arguments: tuple


@dataclass
class _Worker:
    job: _Job
    process: BaseProcess
    core: int | None
    log: Path
    done: int = 0
    ended: bool = False


def _cores() -> Sequence[int | None]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return [None] * (os.cpu_count() or 1)


def _run(jobs: Sequence[_Job], what: str, *, workers: int, told: Callable[[int], None]) -> dict[str, int]:
    """Runs the jobs, each in a process of its own; gives back how many frames of a view were there before."""
    # spawn: a forked child would inherit threads' locks and GL contexts in whatever state they were
    context = multiprocessing.get_context("spawn")
    free = list(_cores())
    workers = max(1, min(workers, len(free)))
    waiting = list(jobs)
    running: dict[Any, _Worker] = {}  # by its pipe
    resumed: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="mocap-") as scratch:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    job, core = waiting.pop(0), free.pop(0)
                    log = Path(scratch) / f"{len(waiting)}.log"
                    pipe, theirs = context.Pipe(duplex=False)
                    pinned = core if len(jobs) > 1 and workers > 1 else None  # alone, the system may move it about
                    process = context.Process(
                        target=_work, args=(theirs, str(log), pinned, job.function, job.arguments), daemon=True
                    )
                    with _main_left_alone(job.arguments):
                        process.start()
                    theirs.close()  # so that the worker's end is the last one, and its death ends the pipe
                    running[pipe] = _Worker(job, process, core, log)
                ready: list[Any] = wait(list(running))
                for pipe in ready:
                    worker = running[pipe]
                    message = _received(pipe)
                    if message is None:
                        worker.process.join()
                        if not worker.ended:
                            raise _death(worker, what)
                        del running[pipe]
                        pipe.close()
                        free.append(worker.core)
                    elif message[0] == "failed":
                        lacks, why = message[1]
                        raise SetupError(why) if lacks else DataError(why)
                    elif message[0] == "ended":
                        worker.ended = True
                    else:
                        kind, frames = message
                        worker.done += frames
                        told(frames)
                        if kind == "resumed":
                            resumed[worker.job.view] = frames
        finally:
            for pipe, worker in running.items():
                worker.process.terminate()
                worker.process.join()
                pipe.close()
    return resumed


@contextlib.contextmanager
def _main_left_alone(arguments: Sequence[Any]) -> Iterator[None]:
    """A process that begins within the block does not run the user's program anew, as spawned ones do otherwise.

    So a program needs no `if __name__ == "__main__"`, unless it defines the detector itself.
    """
    main = sys.modules["__main__"]
    if any(type(argument).__module__ == "__main__" for argument in arguments):
        yield
        return
    kept = {name: vars(main).pop(name) for name in ("__file__", "__spec__") if name in vars(main)}
    vars(main)["__spec__"] = None
    try:
        yield
    finally:
        vars(main).update(kept)


def _received(pipe: Any) -> tuple[str, Any] | None:
    """The worker's next message; None when it is gone."""
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return None


def _death(worker: _Worker, what: str) -> DataError:
    code = worker.process.exitcode
    how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
    hint = " (the system ends processes so when memory runs out)" if code == -9 else ""
    log = worker.log.read_text(errors="replace").strip() if worker.log.is_file() else ""
    last = log.splitlines()[-1] if log else "it wrote no reason"
    where = f' of view "{worker.job.view}"' if worker.job.view else ""
    after = f" after {worker.done} of {worker.job.frames} frames" if worker.job.frames else ""
    error = DataError(
        f"{what}{where}: its process {how}{hint}{after}; its last words: {last}."
        + (" Finished views are kept, so running again goes on from there." if worker.job.frames else "")
    )
    error.__cause__ = RuntimeError(log[-8000:]) if log else None
    return error
