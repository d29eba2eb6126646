"""What the documentation says is so: its examples run, its pages are those of the code, its commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mocap import cli, config, registry

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in FENCE.findall(page.read_text(encoding="utf-8")) if found == language]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the top of a checkout, in which examples may write."""
    for name in ("data", "config"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.stem)
def test_the_examples_of_a_page_run_one_after_the_other(page, checkout):
    """Comments that tell a shape are held to."""
    names: dict[str, object] = {"__name__": "example"}
    for number, text in enumerate(blocks(page, "python")):
        exec(compile(text, f"{page.name}, example {number}", "exec"), names)  # noqa: S102
        for line in text.splitlines():
            told = re.match(r"print\(([\w.\[\]]+)\.shape.*\)  # (\(\d[\d, ]*\))", line)
            if told:
                assert str(eval(f"{told[1]}.shape", names)) == told[2], line  # noqa: S307


def test_there_are_examples_on_the_page_about_python():
    assert len(blocks(ROOT / "docs" / "python.md", "python")) > 8


def commands() -> list[tuple[str, str]]:
    """Every `emc` command of the documentation, in its page."""
    texts = ((p.name, t.replace("\\\n", " ")) for p in PAGES for t in blocks(p, ""))
    return [
        (page, line.partition("  #")[0].strip())
        for page, text in texts
        for line in text.splitlines()
        if line.strip().startswith("emc ")
    ]


@pytest.mark.parametrize(("page", "command"), commands())
def test_every_command_names_what_there_is(page, command, monkeypatch):
    """Files that come with the program, stages, options and formats; the recordings in them are the reader's."""
    words = shlex.split(command)[1:]
    if words[0] == "export":
        from mocap.io.formats.base import FORMATS

        formats = [w for w in words[words.index("--to") + 1 :] if not w.startswith("[")]
        formats = formats[: next((i for i, w in enumerate(formats) if w.startswith("--")), None)]
        assert formats
        for name in formats:
            registry.resolve(FORMATS.package, name, FORMATS.kind)
        return
    if words[0] in ("eval", "joints", "report", "view"):
        with pytest.raises(SystemExit) as ended:
            cli.main([words[0], "--help"])
        assert ended.value.code == 0
        return
    parser = cli._parser()
    args = parser.parse_args([w for w in words if w != "..."])
    if args.list or args.help_stage:
        assert args.help_stage is None or config.stage_class(args.help_stage)
        return
    monkeypatch.chdir(ROOT)
    overrides = [config.Override.of(text) for text in args.set]
    config.read_experiment(args.exp, overrides=[o for o in overrides if o.keys[0] != "data"])
    from mocap.dataset import read_dataset

    read_dataset(args.data, overrides=cli._of_data(overrides))


def test_commands_are_found():
    assert len(commands()) > 15


def settings() -> list[tuple[str, str]]:
    """Every `--set` that a sentence or a table names; with VALUE it stands for any."""
    texts = ((p.name, text) for p in PAGES for text in re.findall(r"`--set ([^`\s]+=[^`]+)`", p.read_text("utf-8")))
    return [(page, text) for page, text in texts if not text.endswith("=VALUE")]


@pytest.mark.parametrize(("page", "text"), settings())
def test_every_setting_in_a_sentence_is_one_of_some_experiment_or_dataset(page, text, monkeypatch):
    monkeypatch.chdir(ROOT)
    texts = text.split(" --set ")
    overrides = [config.Override.of(t.replace("PIXELS", "1500")) for t in texts]
    if overrides[0].keys[0] == "data":
        from mocap.dataset import read_dataset

        read_dataset(Path("config/datasets/svimage.yml"), overrides=cli._of_data(overrides))
        return
    if overrides[0].keys[0] in ("stages", "report"):
        of_one_camera = "smplify" in text
        config.read_experiment(Path(f"config/{'smplify' if of_one_camera else 'fitSMPL'}.yml"), overrides=overrides)
        return
    from mocap.io.formats.base import FORMATS, Format

    cls = registry.find(FORMATS.package, overrides[0].keys[0], Format, FORMATS.kind)
    assert overrides[0].keys[1] in {option.name for option in config.options_of(cls)}


def test_every_stage_loss_detector_and_format_has_its_place_in_the_reference(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "make_reference.py", tmp_path / "reference"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "reference"
    stages = registry.names(config.STAGES.package)
    assert {p.stem for p in (folder / "stages").glob("*.md")} == {*stages}
    for stage in stages:
        text = (folder / "stages" / f"{stage}.md").read_text()
        for option in config.options_of(config.stage_class(stage)):
            assert f"\n`{option.name}`: " in text
    for page, package in {
        "losses": "mocap.terms", "detectors": "mocap.detect.detectors", "formats": "mocap.io.formats"
    }.items():  # fmt: skip
        assert set(re.findall(r"^## (\w+)$", (folder / f"{page}.md").read_text(), re.M)) == {*registry.names(package)}
