"""Writes the pages of the documentation that the code itself tells: `python tools/make_reference.py docs/reference`.

A page for each stage, with its options and the losses, detectors and formats these may name; what `emc --help-stage`
shows. `make docs` runs it.
"""

from __future__ import annotations

import inspect
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import yaml

from mocap import config, registry
from mocap.stages.base import Stage

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = {
    "loss": ("losses", "Losses", "What `refine_poses` and `smplify` minimise: `losses: {k3d: {}, smooth: {}}`."),
    "detector": ("detectors", "Detectors", "Who finds people in pictures: `detect: {detector: {replay: {}}}`."),
    "format": ("formats", "Options of formats", "Of `write` and `emc export`; axes and units are in [Formats that are "
               "written](../formats.md)."),
}  # fmt: skip
"""By kind: the page, its title, and what it begins with."""
_LONG = 80
"""A default with more letters stands apart."""


def plain(text: str) -> str:
    """A docstring's words as Markdown: nothing outside backticks means anything but itself."""
    parts = re.sub(r":\w+:`[~!]?([^`]*)`", r"`\1`", text).split("`")
    parts[::2] = [re.sub(r"([*_<|$\[\]])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def described(cls: type, *, headed: bool) -> list[str]:
    """The docstring of a class made by `options`, and its options."""
    lines = [plain(inspect.getdoc(cls) or "")]
    options = config.options_of(cls)
    lines += ["", "## Options"] if options and headed else []
    for option in options:
        default = "" if option.default is None else f"; default `{option.default}`"
        long = len(default) > _LONG
        told = plain(option.help).splitlines()
        if long:
            tree = yaml.safe_load(option.default or "")
            told += ["", "```yaml", *yaml.safe_dump(tree, default_flow_style=None, width=110).splitlines(), "```"]
        lines += ["", f"`{option.name}`: {plain(option.type)}{'; default below' if long else default}"]
        lines += [f"{'  ' if i else ': '}{line}" for i, line in enumerate(told)]
    return [*lines, ""]


def stage_page(name: str, stage: type[Stage]) -> str:
    """What there is to know of a stage."""
    lines = [f"# {name}", "", plain(inspect.getdoc(stage) or ""), ""]
    lines += [f"- {told}: {plain(names)}" for told, names in config.flow_of(stage).items()]
    lines += ["", *described(stage, headed=True)[1:]]
    for kind in dict.fromkeys(kind for kind, _, _ in config.plugins_of(stage)):
        _, title, _ = PLUGINS[kind]
        names = [found for k, found, _ in config.plugins_of(stage) if k == kind]
        told = ", ".join(f"[{found}](#{kind}-{found})" for found in names)
        lines += [f"{title}: {told}.", ""]
    return "\n".join(lines)


def plugin_page(kind: str, plugins: Iterable[tuple[str, type]]) -> str:
    """Everything of one kind."""
    _, title, begins = PLUGINS[kind]
    lines = [f"# {title}", "", begins, ""]
    for name, cls in plugins:
        lines += [f"({kind}-{name})=", f"## {name}", "", *described(cls, headed=False)]
    return "\n".join(lines)


def main(folder: Path) -> None:
    """Writes all of them into `folder`, in place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "stages").mkdir(parents=True)
    stages = {name: config.stage_class(name) for name in registry.names(config.STAGES.package)}
    found: dict[str, dict[str, type]] = {kind: {} for kind in PLUGINS}
    lines = ["# Stages", "", "What an experiment file may name; `emc --help-stage NAME` shows the same.", ""]
    for name, stage in stages.items():
        (folder / "stages" / f"{name}.md").write_text(stage_page(name, stage), encoding="utf-8")
        lines.append(f"- [{name}](stages/{name}.md): {plain((inspect.getdoc(stage) or '').splitlines()[0])}")
        for kind, plugin, cls in config.plugins_of(stage):
            found[kind][plugin] = cls
    lines += ["", "```{toctree}", ":hidden:", "", *(f"stages/{name}" for name in stages), "```", ""]
    (folder / "stages.md").write_text("\n".join(lines), encoding="utf-8")
    for kind, plugins in found.items():
        (folder / f"{PLUGINS[kind][0]}.md").write_text(plugin_page(kind, plugins.items()), encoding="utf-8")
    shutil.copy(ROOT / "benchmarks" / "README.md", folder / "benchmarks.md")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
