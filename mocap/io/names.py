"""Names of views as names of files."""

from __future__ import annotations

import re
from collections.abc import Iterable


def file_names(views: Iterable[str]) -> dict[str, str]:
    """A file name (without suffix) for each view, safe on every system, never outside its folder, no two alike."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for view in views:
        plain = re.sub(r"[^\w.-]+", "_", view).strip(".") or "view"
        name, n = plain, 2
        while name.casefold() in taken:
            name, n = f"{plain}_{n}", n + 1
        taken.add(name.casefold())
        names[view] = name
    return names
