"""Files that are either wholly written or not there: written beside their place, then moved into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write instead of `path`; it takes the place of `path` when the block ends well, else it is removed.

    It lies in the same folder (a move within one file system is atomic) and keeps the suffix, by which video and
    array writers choose their format. Missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """`data` as the whole content of `path`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """`text` as the whole content of `path`, UTF-8 with `\\n` line ends on every system."""
    write_bytes(path, text.encode("utf-8"))
