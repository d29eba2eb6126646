"""Plug-ins found by the name of their file: `triangulate` is the one Stage in `stages/triangulate.py`.

A file is imported only when it is named, so a new stage, loss or detector is one new file and costs nothing until used.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import types
from dataclasses import dataclass
from typing import Any, TypeVar

from mocap.errors import ConfigError, UnknownName

Base = TypeVar("Base")


@dataclass(frozen=True)
class Named:
    """Marks a field whose YAML value is written as `name: {options}` and becomes objects of classes found by file name.

    `losses: Annotated[Mapping[str, Term], Named("mocap.terms", "loss")]` reads
    `losses: {k3d: {sigma: 0.02}}` as `{"k3d": <the Term of mocap/terms/k3d.py>(sigma=0.02)}`. As with stages, the key
    is a label, and `loss: k3d` inside (the key is `kind`) names the file when a label is not the name.
    """

    package: str
    """Where the files are: `mocap.terms`."""
    kind: str
    """What one of them is called in sentences, and the key that names it inside: `loss`."""


def folded(name: str) -> str:
    """A name without case and separators, so that `fitShape`, `fit_shape` and `fit-shape` are one."""
    return re.sub(r"[^0-9a-z]", "", name.casefold())


def names(package: str) -> tuple[str, ...]:
    """The names a package offers: its files, but `base` and what begins with an underscore. Imports none of them."""
    path = importlib.import_module(package).__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_") and m.name != "base"))


def resolve(package: str, name: str, kind: str) -> str:
    """The offered name meant by `name`, whatever its case and underscores; UnknownName lists the known ones."""
    known = names(package)
    for candidate in known:
        if folded(candidate) == folded(name):
            return candidate
    raise UnknownName(kind, name, known)


def find(package: str, name: str, base: type[Base], kind: str) -> type[Base]:
    """The one class derived from `base` in the file `name` of `package`."""
    return _only_class(f"{package}.{resolve(package, name, kind)}", base, kind)


def find_dotted(path: str, base: type[Base], kind: str) -> type[Base]:
    """The class at a dotted path `package.module` or `package.module.Class`: runs that module's code.

    Only for a path the user has allowed to be imported.
    """
    try:
        return _only_class(path, base, kind)
    except ModuleNotFoundError as error:
        module, _, attribute = path.rpartition(".")
        if error.name != path and not (error.name and path.startswith(error.name + ".")):
            raise  # the module was found; something it imports was not
        try:
            found: Any = getattr(importlib.import_module(module), attribute, None) if module else None
        except ModuleNotFoundError as inner:
            if inner.name is None or not (module + ".").startswith(inner.name + "."):
                raise
            found = None
        if not (isinstance(found, type) and issubclass(found, base)):
            raise ConfigError(f'No {kind} is found at the dotted path "{path}".') from error
        return found


def _only_class(module_name: str, base: type[Base], kind: str) -> type[Base]:
    module = importlib.import_module(module_name)
    found = [
        c
        for c in vars(module).values()
        # until Python 3.11 an alias such as tuple[str, int] passes for a class
        if isinstance(c, type)
        and not isinstance(c, types.GenericAlias)
        and issubclass(c, base)
        and c.__module__ == module.__name__
        and not inspect.isabstract(c)
        and not c.__name__.startswith("_")
    ]
    if len(found) != 1:
        told = ", ".join(c.__name__ for c in found) or "none"
        raise ConfigError(f"{module_name} must hold exactly one {kind} derived from {base.__name__}, not {told}.")
    return found[0]
