"""Detections of one view in one `.npz`: what the cache holds, and what `replay` reads as well.

Arrays: `xy` (frames, candidates, joints, 2) float32 [px] and `confidence` (frames, candidates, joints) float32, NaN and
0 where missing; `frames` (frames,) places in the view; `timestamps` (frames,) [s] on the rig's clock when they were
made; `unreadable`, the frames that could not be decoded; `skeleton`, `view` and `key` (what they depend on) as text;
`seconds`, how long detection took.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from mocap import skeletons
from mocap.errors import BadFile, MissingFile, UnknownName
from mocap.io.atomic import replacing
from mocap.skeletons import Skeleton


@dataclass(frozen=True)
class Stored:
    """One view's detections as they lie in a file."""

    skeleton: Skeleton
    frames: Int[np.ndarray, " frames"]
    """Places in the view."""
    timestamps: Float[np.ndarray, " frames"]
    """[s]"""
    xy: Float[np.ndarray, "frames candidates joints 2"]
    """[px]"""
    confidence: Float[np.ndarray, "frames candidates joints"]
    unreadable: Int[np.ndarray, " unreadable"]
    """Those of `frames` that could not be decoded."""
    view: str = ""
    key: str = ""
    seconds: float = 0.0
    """How long detection took."""


def write(path: Path, stored: Stored) -> None:
    """Writes the file whole or not at all."""
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            xy=stored.xy.astype(np.float32),
            confidence=stored.confidence.astype(np.float32),
            frames=stored.frames,
            timestamps=stored.timestamps,
            unreadable=stored.unreadable,
            skeleton=stored.skeleton.name,
            view=stored.view,
            key=stored.key,
            seconds=stored.seconds,
        )


def read(path: Path) -> Stored:
    """Reads what :func:`write` wrote; BadFile when it is damaged or something else."""
    if not path.is_file():
        raise MissingFile(path, what="Stored detections")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        skeleton = skeletons.get(str(found["skeleton"]))
        frames, xy = found["frames"].astype(np.int64), found["xy"].astype(np.float32)
        confidence, timestamps = found["confidence"].astype(np.float32), found["timestamps"].astype(float)
        unreadable = found["unreadable"].astype(np.int64)
        view, key, seconds = str(found["view"]), str(found["key"]), float(found["seconds"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, UnknownName, zipfile.BadZipFile, zlib.error) as error:
        raise BadFile(path, f"is not a file of detections as mocap writes them, or is damaged ({error}).") from error
    shapes = (len(frames), xy.shape[1] if xy.ndim == 4 else -1, len(skeleton))
    if xy.shape != (*shapes, 2) or confidence.shape != shapes or timestamps.shape != frames.shape or frames.ndim != 1:
        raise BadFile(path, f"its arrays do not fit together: xy is {xy.shape} for {frames.shape} frames.")
    return Stored(skeleton, frames, timestamps, xy, confidence, unreadable, view, key, seconds)


def joined(parts: Sequence[Stored]) -> Stored:
    """Stretches of one view, one after the other, padded to the same number of candidates."""
    most = max(part.xy.shape[1] for part in parts)

    def padded(values: np.ndarray, fill: float) -> np.ndarray:
        free = [(0, 0)] * values.ndim
        free[1] = (0, most - values.shape[1])
        return np.pad(values, free, constant_values=fill)

    first = parts[0]
    return Stored(
        first.skeleton,
        np.concatenate([p.frames for p in parts]),
        np.concatenate([p.timestamps for p in parts]),
        np.concatenate([padded(p.xy, np.nan) for p in parts]),
        np.concatenate([padded(p.confidence, 0.0) for p in parts]),
        np.concatenate([p.unreadable for p in parts]),
        first.view,
        first.key,
        sum(p.seconds for p in parts),
    )
