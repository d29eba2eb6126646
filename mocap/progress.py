"""Progress of long loops, told to whoever listens; silent unless a listener is installed.

Only `cli.py` prints. Everything below it says where it is through :func:`track`, and the command line shows bars
on a terminal and plain lines elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Bar(Protocol):
    """What a listener gives back for one loop."""

    def update(self, n: int) -> None:
        """`n` more steps are done."""
        ...

    def close(self) -> None:
        """The loop has ended, finished or not."""
        ...


class _Silent:
    def update(self, n: int) -> None:
        pass

    def close(self) -> None:
        pass


Listener = Callable[[str, "int | None", str], Bar]
_listener: ContextVar[Listener] = ContextVar("listener", default=lambda label, total, unit: _Silent())


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within the block, `listener(label, total, unit)` is asked for a :class:`Bar` for each loop."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def bar(label: str, total: int | None, unit: str = "frames") -> Iterator[Bar]:
    """A bar to be updated by hand, for work that does not advance by one."""
    made = _listener.get()(label, total, unit)
    try:
        yield made
    finally:
        made.close()


def track(items: Iterable[Item], label: str, total: int | None = None, unit: str = "frames") -> Iterator[Item]:
    """Yields `items` and tells the listener after each."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    with bar(label, total, unit) as told:
        for item in items:
            yield item
            told.update(1)
