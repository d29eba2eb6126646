"""YAML as text with line numbers: nothing is guessed about types, so `07` stays a name and `on` a word.

PyYAML's safe composer parses; no tag is resolved and no object constructed. What a text means is decided by the type
of the field it is meant for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mocap.errors import BadFile, ConfigError, MissingFile, UnsafeFile

_LARGEST = 1_000_000
"""Bytes of a configuration file; they have a few thousand."""
_MOST_NODES = 100_000
"""Nodes after aliases are followed: a small file can describe billions ("billion laughs")."""
_DEEPEST = 30
"""Levels of nesting; an anchor that contains itself has no end."""
_PLAIN_TAGS = {f"tag:yaml.org,2002:{t}" for t in ("str", "int", "float", "bool", "null", "seq", "map", "timestamp")}
_EMPTY = {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True)
class Located:
    """A piece of YAML and where it stands."""

    value: str | tuple[Located, ...] | Mapping[str, Located] | None
    """Text, None for an empty value, items, or entries."""
    file: str
    line: int | None = None
    """Of the key for what stands under one."""

    @property
    def entries(self) -> Mapping[str, Located]:
        """What stands under keys; an empty value has none. ConfigError when this is text or a list."""
        if self.value is None:
            return {}
        if not isinstance(self.value, Mapping):
            raise self.error(f"Named options such as {{name: value}} belong here, not {self.told()}.")
        return self.value

    @property
    def named(self) -> Mapping[str, Located]:
        """Entries, where a list of names stands for names without options: [a, b] is {a: {}, b: {}}."""
        if not isinstance(self.value, tuple):
            return self.entries
        names = [item.value for item in self.value if isinstance(item.value, str)]
        if len(set(names)) < len(self.value):
            raise self.error("A list here holds names, each of them once.")
        return {str(item.value): Located(None, item.file, item.line) for item in self.value}

    def at(self, path: tuple[Any, ...]) -> Located:
        """The piece at the end of `path` (keys and places), or the last one on the way that exists."""
        here = self
        for part in path:
            inside: Any = dict(enumerate(here.value)) if isinstance(here.value, tuple) else here.value
            if not isinstance(inside, Mapping) or part not in inside:
                break
            here = inside[part]
        return here

    def plain(self) -> Any:
        """Text, None, lists and dicts, without places."""
        if isinstance(self.value, tuple):
            return [item.plain() for item in self.value]
        if isinstance(self.value, Mapping):
            return {key: item.plain() for key, item in self.value.items()}
        return self.value

    def told(self) -> str:
        """This piece as a sentence quotes it."""
        if self.value is None:
            return "nothing"
        if isinstance(self.value, str):
            return f'"{self.value}"' if len(self.value) <= 60 else f'"{self.value[:57]}..."'
        if isinstance(self.value, tuple):
            return "a list"
        return "named options"

    def error(self, why: str) -> ConfigError:
        """The mistake `why`, said of this place."""
        return ConfigError(why, file=self.file, line=self.line)


def read(path: str | Path) -> Located:
    """The content of a YAML file; a mistake in it is a ConfigError with its line."""
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise BadFile(path, f"this is no configuration file: it is larger than {_LARGEST // 1000} kB.")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingFile(path, what="Configuration file") from None
    except UnicodeDecodeError as error:
        raise BadFile(path, f"it is not text in UTF-8 (byte {error.start}).") from error
    except IsADirectoryError:
        told = "it is a folder and must be a YAML file; a folder with a recording is given by --root."
        raise BadFile(path, told) from None
    except OSError as error:
        raise BadFile(path, f"it cannot be read: {error.strerror}.") from error
    return parse(text, str(path))


def parse(text: str, file: str) -> Located:
    """YAML text as a tree of located text."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        told = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"This is not YAML: {told}.", file=file, line=mark.line + 1 if mark else None) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"This is not YAML: {str(error).splitlines()[0]}.", file=file) from error
    except RecursionError:
        raise ConfigError(f"Nested more than {_DEEPEST} levels deep.", file=file) from None
    if root is None:
        return Located(None, file, 1)
    return _located(root, file, root.start_mark.line + 1, 0, iter(range(_MOST_NODES)))


def _located(node: yaml.Node, file: str, line: int, depth: int, budget: Iterator[int]) -> Located:
    if depth > _DEEPEST:
        raise ConfigError(f"Nested more than {_DEEPEST} levels deep.", file=file, line=line)
    if next(budget, None) is None:
        raise ConfigError(f"Its aliases stand for more than {_MOST_NODES} values.", file=file, line=line)
    if node.tag not in _PLAIN_TAGS:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        raise UnsafeFile(
            file, f"the tag {tag} is refused: a configuration holds text, lists and names only.", line=line
        )
    if isinstance(node, yaml.ScalarNode):
        return Located(None if node.style is None and node.value in _EMPTY else node.value, file, line)
    if isinstance(node, yaml.SequenceNode):
        items = (_located(item, file, item.start_mark.line + 1, depth + 1, budget) for item in node.value)
        return Located(tuple(items), file, line)
    entries: dict[str, Located] = {}
    for key, value in node.value:
        at = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError("A key must be a plain name.", file=file, line=at)
        if key.value in entries:
            raise ConfigError(
                f'"{key.value}" is given twice, first in line {entries[key.value].line}.', file=file, line=at
            )
        entries[key.value] = _located(value, file, at, depth + 1, budget)
    return Located(entries, file, line)


def overridden(tree: Located, path: tuple[str, ...], value: Located) -> Located:
    """The tree with `value` at `path`; entries on the way are made where they are missing.

    A word on the way makes room: with `detector: mediapipe`, detector.replay.folder=X is `detector: {replay: ...}`.
    """
    if not path:
        return value
    entries = {} if isinstance(tree.value, str) else dict(tree.entries)
    below = entries.get(path[0], Located(None, value.file, value.line))
    entries[path[0]] = overridden(below, path[1:], value)
    return Located(entries, tree.file, tree.line)
