"""Work on chunks of a take in several threads, handed over in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

_MOST = 3
_In = TypeVar("_In")
_Out = TypeVar("_Out")


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _linear_algebra() -> ThreadpoolController:
    return ThreadpoolController()  # looking for the libraries takes milliseconds


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Linear algebra keeps to the thread it was called from: many small products are no faster when divided."""
    with _linear_algebra().limit(limits=1):
        yield


def in_order(work: Callable[[_In], _Out], items: Iterable[_In]) -> Iterator[_Out]:
    """`work` of every item, in order, done ahead of whoever reads it: NumPy and LAPACK let threads run.

    One thread works ahead of the reader on two cores; more would wait for the interpreter's lock most of the time.
    """
    items = list(items)
    workers = min(cores() - 1, len(items), _MOST)
    with one_thread_each():
        if workers < 1 or len(items) < 2:
            yield from map(work, items)
            return
        with ThreadPoolExecutor(workers) as pool:
            waiting: deque[Future[_Out]] = deque()
            try:
                for item in items:
                    waiting.append(pool.submit(work, item))
                    if len(waiting) > workers + 1:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
