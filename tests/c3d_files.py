"""Writes C3D files byte by byte, as the format's description has them: an independent witness for the reader."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

_PROCESSORS = {"intel": 84, "dec": 85, "mips": 86}


def _dec(values: np.ndarray) -> bytes:
    """IEEE as VAX F: times four, and the halves of each word the other way round."""
    words = (np.asarray(values, dtype="<f4") * 4).astype("<f4").view("<u2").reshape(-1, 2)
    return words[:, ::-1].astype("<u2").tobytes()


def write(
    path: Path,
    xyz: np.ndarray,
    labels: list[str],
    *,
    processor: str = "intel",
    integer: bool = False,
    rate: float = 100.0,
    unit: str = "mm",
    up: str = "+Z",
    analogs: int = 0,
    long: bool = False,
) -> Path:
    """A file of `xyz` (frames, points, 3); NaN is written as the format has it: residual -1."""
    order = ">" if processor == "mips" else "<"

    def floats(values: np.ndarray) -> bytes:
        return _dec(values) if processor == "dec" else np.asarray(values).astype(f"{order}f4").tobytes()

    def words(*values: int) -> bytes:
        return struct.pack(f"{order}{len(values)}H", *(v & 0xFFFF for v in values))

    frames, points = xyz.shape[:2]
    scale = 0.1 if integer else -0.1
    blocks: list[bytes] = []

    def record(name: str, number: int, body: bytes) -> None:
        """`body` is what follows the offset to the next record."""
        head = struct.pack("bb", len(name), number) + name.encode()
        blocks.append(head + words(len(body) + 2) + body)

    def parameter(name: str, kind: int, sizes: tuple[int, ...], data: bytes, group: int = 1) -> None:
        record(name, group, struct.pack("bB", kind, len(sizes)) + bytes(sizes) + data + b"\0")

    record("POINT", -1, b"\x04what")
    record("TRIAL", -2, b"\0")
    parameter("USED", 2, (), words(points))
    parameter("RATE", 4, (), floats(np.array([rate])))
    parameter("UNITS", -1, (4,), unit.ljust(4).encode())
    parameter("Y_SCREEN", -1, (2,), up.encode())
    width = max(map(len, labels), default=1)
    for i in range(0, len(labels), 255):
        part = labels[i : i + 255]
        data = "".join(name.ljust(width) for name in part).encode()
        parameter("LABELS" if i == 0 else f"LABELS{i // 255 + 1}", -1, (width, len(part)), data)
    if long:
        for name, value in (("START", 1), ("END", frames)):
            parameter(f"ACTUAL_{name}_FIELD", 2, (2,), words(value & 0xFFFF, value >> 16), group=2)
    body = b"".join(blocks) + b"\0\0"
    count = -(-(len(body) + 4) // 512)
    section = (bytes([1, 80, count, _PROCESSORS[processor]]) + body).ljust(512 * count, b"\0")
    header = struct.pack("BB", 2, 0x50) + words(points, analogs, 1, min(frames, 65535), 10)
    header += floats(np.array([scale])) + words(2 + count, 1) + floats(np.array([rate]))
    missing = np.isnan(xyz).any(-1)
    values = np.concatenate([np.nan_to_num(xyz), np.where(missing, -1.0, 0.0)[..., None]], axis=-1).reshape(frames, -1)
    extra = np.full((frames, analogs), 7.0)
    if integer:
        values[:, np.arange(values.shape[1]) % 4 != 3] /= scale
        data = np.concatenate([values, extra], axis=1).round().astype(f"{order}i2").tobytes()
    else:
        data = floats(np.concatenate([values, extra], axis=1))
    path.write_bytes(header.ljust(512, b"\0") + section + data)
    return path
