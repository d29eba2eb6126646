"""Markerless motion capture from calibrated videos to a moving body.

`take = mocap.load("recording")`, `result = mocap.run(take, "config/fitSMPL.yml")`: see `mocap.api`. What is named here
is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mocap.api import Outcome, check, load, run
    from mocap.errors import MocapError
    from mocap.take import Take

__version__ = "0.1.0"
__all__ = ["MocapError", "Outcome", "Take", "__version__", "check", "load", "run"]

_PLACES = {
    "MocapError": "mocap.errors",
    "Outcome": "mocap.api",
    "Take": "mocap.take",
    "check": "mocap.api",
    "load": "mocap.api",
    "run": "mocap.api",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
