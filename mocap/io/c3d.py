"""Points of a C3D file (https://www.c3d.org, "The C3D File Format"): the part of the format that markers need.

Everything in the file is checked before it is believed; the points are mapped, not read, so that an hour of them costs
what is taken of it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mocap.errors import BadFile

_BLOCK = 512
_KEY = 0x50
"""Second byte of every C3D file."""
_INTEL, _DEC, _MIPS = 84, 85, 86
"""Processors: little endian; VAX floats; big endian."""
_MOST_FRAMES_IN_HEADER = 65535


@dataclass(frozen=True)
class C3dPoints:
    """The points of a file; coordinates are decoded by :meth:`xyz`."""

    labels: tuple[str, ...]
    frames: int
    first: int
    """Number of the first frame."""
    rate: float
    """[1/s]; 0 where the file does not say."""
    unit: str
    """As written: mm, m ...; empty where the file does not say."""
    up: str | None
    """The axis that points up on the screen of its program (POINT:Y_SCREEN): y, -z ...; None: not said."""
    _raw: np.ndarray
    _scale: float
    _processor: int

    def xyz(
        self, columns: np.ndarray
    ) -> tuple[Float[np.ndarray, "frames columns 3"], Bool[np.ndarray, "frames columns"]]:
        """Coordinates of some points in the file's unit, and whether each is there (its residual is not -1)."""
        values = self._raw["points"][:, columns]
        if values.dtype.kind == "f":
            if self._processor == _DEC:
                values = _from_dec(values)
            with np.errstate(invalid="ignore"):  # a NaN of the signalling kind
                return values[..., :3].astype(float), ~(values[..., 3] < 0)
        return values[..., :3] * float(self._scale), values[..., 3] >= 0


def _from_dec(values: np.ndarray) -> np.ndarray:
    """VAX's F format: the 16-bit halves the other way round, and four times IEEE's."""
    words = np.ascontiguousarray(values).view("<u2").reshape(*values.shape, 2)[..., ::-1]
    return np.ascontiguousarray(words).view("<f4")[..., 0] / 4


def read_c3d(path: Path) -> C3dPoints:
    """The points of a C3D file of any of the three processors, integer or floating point.

    Raises:
        BadFile: Not a C3D file, a damaged one, or one that is cut off.
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as stream:
        header = stream.read(_BLOCK)
        if len(header) < _BLOCK or header[1] != _KEY:
            raise BadFile(path, "this is no C3D file, or it is cut off in its header.")
        at = (max(header[0], 1) - 1) * _BLOCK
        stream.seek(at)
        section = stream.read(256 * _BLOCK)
    if len(section) < 4 or section[3] not in (_INTEL, _DEC, _MIPS):
        raise BadFile(path, "this is no C3D file, or a damaged one: it names no known processor.")
    processor = section[3]
    order = ">" if processor == _MIPS else "<"

    def number(raw: bytes) -> float:
        if processor == _DEC:
            return float(_from_dec(np.frombuffer(raw, "<f4"))[0])
        return struct.unpack(f"{order}f", raw)[0]

    parameters = _parameters(path, section, order, number)
    points, analogs, first, last = struct.unpack(f"{order}4H", header[2:10])
    scale = number(header[12:16])
    start = struct.unpack(f"{order}H", header[16:18])[0]
    rate = _one(parameters, "RATE") or number(header[20:24])
    kind = np.dtype(f"{order}f4" if scale < 0 else f"{order}i2")
    frame = np.dtype([("points", kind, (points, 4)), ("analogs", kind, (analogs,))])
    frames = _frames(parameters, first, last)  # at least 1
    offset = (start - 1) * _BLOCK
    if not points or start < 2 or not np.isfinite([scale, rate]).all():
        raise BadFile(path, "this C3D file holds no points, or its header is damaged.")
    there = max((size - offset) // frame.itemsize, 0)
    if frames is not None and frames > there:
        raise BadFile(path, f"this C3D file is cut off: it holds {there} of its {frames} frames.")
    if not there:
        raise BadFile(path, "this C3D file holds no frame.")
    raw = np.memmap(path, dtype=frame, mode="r", offset=offset, shape=(frames or there,))
    if frames is None:  # the rest of the last block is no frame
        last_block = raw[-(_BLOCK // frame.itemsize + 1) :].view(np.uint8).reshape(-1, frame.itemsize)
        filled = np.flatnonzero(last_block.any(axis=1))
        raw = raw[: there - len(last_block) + (filled[-1] + 1 if filled.size else 0)]
    labels = _labels(parameters)
    if len(labels) < points:  # those beyond have no name
        labels += [f"*{i}" for i in range(len(labels), points)]
    return C3dPoints(
        labels=tuple(labels[:points]),
        frames=len(raw),
        first=first,
        rate=rate if rate > 0 else 0.0,
        unit=_text(parameters, "UNITS"),
        up=_axis(_text(parameters, "Y_SCREEN")),
        _raw=raw,
        _scale=scale,
        _processor=processor,
    )


def _parameters(path: Path, section: bytes, order: str, number: Any) -> dict[tuple[str, str], Any]:
    """(group, name) -> text, list of texts or list of numbers, of the parameters of one and two dimensions."""
    groups: dict[int, str] = {}
    found: dict[tuple[int, str], Any] = {}
    at = 4
    try:
        while at < len(section) and section[at] != 0:
            length, group = (
                abs(struct.unpack("b", section[at : at + 1])[0]),
                struct.unpack_from("b", section, at + 1)[0],
            )
            name = section[at + 2 : at + 2 + length].decode("latin-1").upper()
            here = at + 2 + length
            step = struct.unpack_from(f"{order}H", section, here)[0]
            if group < 0:
                groups[-group] = name
            elif group > 0:
                found[group, name] = _value(section, here + 2, order, number)
            if step == 0:
                break
            at = here + step
    except (struct.error, IndexError, ValueError) as error:
        raise BadFile(path, "the parameters of this C3D file are damaged.") from error
    return {(groups.get(group, ""), name): value for (group, name), value in found.items()}


def _value(section: bytes, at: int, order: str, number: Any) -> Any:
    kind, dimensions = struct.unpack_from("bB", section, at)
    sizes = list(section[at + 2 : at + 2 + dimensions])
    count = int(np.prod(sizes, dtype=np.int64)) if sizes else 1
    width = abs(kind)
    begin = at + 2 + dimensions
    raw = section[begin : begin + count * width]
    if kind not in (-1, 1, 2, 4) or len(raw) < count * width:
        raise ValueError("a value runs past their end")
    if kind == -1:
        text = raw.decode("latin-1")
        if len(sizes) < 2:
            return text.strip(" \0")
        return [text[i : i + sizes[0]].strip(" \0") for i in range(0, count, sizes[0])] if sizes[0] else []
    if kind == 4:
        return [number(raw[i : i + 4]) for i in range(0, 4 * count, 4)]
    return np.frombuffer(raw, "u1" if kind == 1 else f"{order}u2").tolist()


def _one(parameters: Mapping[tuple[str, str], Any], name: str, group: str = "POINT") -> float | None:
    value = parameters.get((group, name))
    return float(value[0]) if isinstance(value, list) and value and not isinstance(value[0], str) else None


def _text(parameters: Mapping[tuple[str, str], Any], name: str) -> str:
    value = parameters.get(("POINT", name), "")
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, str) else ""


def _labels(parameters: Mapping[tuple[str, str], Any]) -> list[str]:
    """LABELS, then LABELS2 and so on: each holds 255 at most."""
    labels: list[str] = []
    for name in ("LABELS", *(f"LABELS{i}" for i in range(2, 256))):
        value = parameters.get(("POINT", name))
        if value is None:
            break
        labels += [str(v) for v in value] if isinstance(value, list) else [str(value)]
    return labels


def _frames(parameters: Mapping[tuple[str, str], Any], first: int, last: int) -> int | None:
    """How many frames there are; None where only the length of the file can tell.

    The header's numbers end at 65535. Longer takes say it in TRIAL:ACTUAL_START_FIELD and ACTUAL_END_FIELD (two words
    each, the low one first), or in POINT:LONG_FRAMES.
    """
    ends = [parameters.get(("TRIAL", f"ACTUAL_{name}_FIELD")) for name in ("START", "END")]
    if all(isinstance(e, list) and len(e) >= 2 and not isinstance(e[0], str) for e in ends):
        begin, end = (int(e[0]) + (int(e[1]) << 16) for e in ends)  # type: ignore[index]
        if end >= begin:
            return end - begin + 1
    long = _one(parameters, "LONG_FRAMES")
    if long is not None and np.isfinite(long) and long >= 1:
        return int(long)
    return last - first + 1 if first <= last < _MOST_FRAMES_IN_HEADER else None


def _axis(text: str) -> str | None:
    """'+Y' -> 'y', '-Z' -> '-z'."""
    text = text.casefold().replace("+", "")
    return text if text in ("x", "-x", "y", "-y", "z", "-z") else None
