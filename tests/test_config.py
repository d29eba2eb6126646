"""A mistake in a configuration is one sentence with its file, its line and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
import toys

from mocap import config, yaml_tree
from mocap.errors import BadFile, ConfigError, MissingFile, MocapError, UnsafeFile

GOOD = """\
output: output/toy
stages:
  see: {detector: replay}
  lift:
    max_error: 0.5
    offsets: {07: 0.25}
  fitShape:
    losses:
      k3d: {sigma: 0.03}
      hands: {loss: k3d, sigma: 0.1}
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return toys.install(tmp_path, monkeypatch)


def read(text: str, overrides=(), **options) -> config.Experiment:
    Path("exp.yml").write_text(text)
    overrides = [config.Override.of(text) for text in overrides]
    return config.read_experiment(Path("exp.yml"), overrides=overrides, **options)


def refused(text: str, **options) -> str:
    with pytest.raises(MocapError) as caught:
        read(text, **options)
    return str(caught.value)


def test_stages_are_typed_by_their_fields():
    see, lift, fit = (s.stage for s in read(GOOD).steps)
    assert see.detector == "replay"
    assert lift.max_error == 0.5
    assert lift.min_views == 2
    assert lift.offsets == {"07": 0.25}
    assert {k: v.sigma for k, v in fit.losses.items()} == {"k3d": 0.03, "hands": 0.1}


def test_a_label_may_differ_from_the_stage():
    steps = read("output: o\nstages: {see: {}, first: {stage: lift}, again: {stage: lift, max_error: 1}}").steps
    assert [(s.label, s.name) for s in steps] == [("see", "see"), ("first", "lift"), ("again", "lift")]


@pytest.mark.parametrize("empty", ["", "null", "~", "{}"])
def test_an_empty_stage_has_its_defaults(empty):
    assert read(f"output: o\nstages:\n  lift: {empty}\n").steps[0].stage.max_error == 0.02


def test_names_stay_text_whatever_they_look_like():
    text = "output: o\nstages:\n  lift: {names: [07, 1e3, on, 2020-01-01, 0x10, .inf]}\n"
    assert read(text).steps[0].stage.names == ("07", "1e3", "on", "2020-01-01", "0x10", ".inf")


def test_a_quoted_null_is_text_and_a_plain_one_is_nothing():
    tree = yaml_tree.parse("{a: null, b: 'null', c: , d: ''}", "x.yml")
    assert tree.plain() == {"a": None, "b": "null", "c": None, "d": ""}


def test_off_leaves_a_stage_or_a_loss_out():
    made = read(GOOD, overrides=["stages.see=off", "stages.fit_shape.losses.k3d=off"])
    assert [s.label for s in made.steps] == ["lift", "fitShape"]
    assert list(made.steps[1].stage.losses) == ["hands"]


@pytest.mark.parametrize(
    ("change", "line", "parts"),
    [
        (("lift:", "lifft:"), 4, ['Unknown stage "lifft"', 'Did you mean "lift"?', "Known: fit_shape, lift, meddle"]),
        (("max_error", "max_eror"), 5, ["stage \"lift\"", '"max_eror"', 'mean "max_error"?', "min_views, stature"]),
        (("0.5", "-1"), 5, ["max_error must be a number greater than 0 and at most 1", 'not "-1"']),
        (("0.5", "large"), 5, ["max_error must be a number greater than 0", 'not "large"']),
        (("0.5", "[1]"), 5, ["max_error must be a number", "not a list"]),
        (("0.5", "nan"), 5, ["max_error must be"]),
        (("0.5", ""), 5, ["max_error must be", "not nothing"]),
        (("{07: 0.25}", "{07: soon}"), 6, ["offsets must be named entries, each a number", 'not "soon"']),
        (("max_error: 0.5", "min_views: 1.5"), 5, ["min_views must be a whole number greater than 0", 'not "1.5"']),
        (("max_error: 0.5", "stature: tall"), 5, ["stature must be a number greater than 0 or null", 'not "tall"']),
        (("max_error: 0.5", "names: cam"), 5, ["names must be a list of: text", 'not "cam"']),
        (("replay", "openpos"), 3, ['"openpos"', "Known: mediapipe, replay"]),
        (("k3d: {", "k3: {"), 9, ['Unknown loss "k3"', 'mean "k3d"?', "Known: k3d, smooth"]),
        (("sigma: 0.03", "sigm: 0.03"), 9, ['loss "k3d"', '"sigm"', "Known: sigma"]),
        (("sigma: 0.1", "sigma: 0"), 10, ['loss "hands"', "sigma must be a number greater than 0"]),
        (("see: {detector: replay}", "see: 3"), 3, ["Named options", 'not "3"']),
        (("see: {detector: replay}", "lift: {}"), 4, ['"lift" is given twice, first in line 3']),
        (("output: output/toy", "outptu: x"), 1, ['Unknown key of an experiment "outptu"', 'mean "output"?']),
        (("stages:", "stage:"), 2, ['Unknown key of an experiment "stage"', 'mean "stages"?']),
        (("see: {", "see: {{"), None, ["not YAML"]),
        (("see: {detector: replay}", "see: !!python/object/apply:os.system [ls]"), 3, ["!!python/object", "refused"]),
        (("see:", "os.system:"), 3, ["dotted path", "--allow-plugins"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(change, line, parts):
    text = GOOD.replace(*change)
    assert text != GOOD
    told = refused(text)
    assert told.startswith("exp.yml:" if line is None else f"exp.yml:{line}: "), told
    assert all(part in told for part in parts), told
    assert "\n" not in told


def test_an_experiment_without_stages_is_told():
    assert 'has no "stages"' in refused("output: x\n")
    assert 'has no "stages"' in refused("")
    assert "switched off" in refused("output: o\nstages: {see: off}")


def test_a_missing_file_is_told():
    with pytest.raises(MissingFile, match=r"Configuration file not found: nothing.yml"):
        config.read_experiment(Path("nothing.yml"))


def test_a_file_that_is_no_text_is_told():
    Path("exp.yml").write_bytes(b"\xff\xfe\x00stages")
    with pytest.raises(BadFile, match=r"exp\.yml: it is not text"):
        config.read_experiment(Path("exp.yml"))
    Path("exp.yml").write_bytes(b"x: " + b"a" * 2_000_000)
    with pytest.raises(BadFile, match="larger than"):
        config.read_experiment(Path("exp.yml"))


def test_aliases_that_stand_for_billions_are_refused():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    assert "aliases stand for more than" in refused(bomb)


def test_an_anchor_inside_itself_is_refused():
    assert "levels deep" in refused("stages: &a {x: *a}")
    assert "levels deep" in refused("[" * 5000 + "]" * 5000)


def test_a_tag_that_builds_an_object_is_refused():
    with pytest.raises(UnsafeFile):
        yaml_tree.parse("a: !!python/name:os.system", "x.yml")


class TestSet:
    def test_changes_one_option(self):
        made = read(GOOD, overrides=["stages.lift.max_error=0.01", "stages.fit_shape.losses.k3d.sigma=1"])
        assert made.steps[1].stage.max_error == 0.01
        assert made.steps[2].stage.losses["k3d"].sigma == 1
        assert made.steps[2].stage.losses["hands"].sigma == 0.1

    def test_takes_lists_and_adds_what_was_not_written(self):
        made = read(GOOD, overrides=["stages.lift.names=[07, 08]", "stages.fit_shape.losses.smooth.weight=3"])
        assert made.steps[1].stage.names == ("07", "08")
        assert made.steps[2].stage.losses["smooth"].weight == 3

    @pytest.mark.parametrize(
        ("override", "part"),
        [
            ("stages.lift.max_error=-1", "max_error must be a number greater than 0 and at most 1"),
            ("stages.lift.max_eror=1", 'Did you mean "max_error"?'),
            ("stages.lifft.max_error=1", 'Unknown stage of this experiment "lifft". Did you mean "lift"?'),
            ("stages.lift", "stages.STAGE.OPTION=VALUE"),
            ("stages..x=1", "stages.STAGE.OPTION=VALUE"),
            ("lift.max_error=1", "say --set stages.lift.max_error"),
            ("stages.lift.names=[1", "not YAML"),
        ],
    )
    def test_a_mistake_names_the_flag(self, override, part):
        told = refused(GOOD, overrides=[override])
        assert told.startswith(f"--set {override}"), told
        assert part in told


class TestPlugins:
    def test_a_dotted_path_is_imported_only_when_allowed(self, package):
        text = f"output: o\nstages: {{mine: {{stage: {package}.stages.lift.Lift}}}}"
        assert "--allow-plugins" in refused(text)
        (step,) = read(text, plugins=True).steps
        assert type(step.stage).__name__ == "Lift"

    def test_it_is_resolved_to_a_path_that_is_read_again(self, package):
        text = f"output: o\nstages: {{mine: {{stage: {package}.stages.lift, max_error: 0.3}}}}"
        again = read(config.dump(read(text, plugins=True).resolved()), plugins=True)
        assert again.steps[0].stage.max_error == 0.3


def test_easymocaps_layout_is_answered_with_the_stages_that_correspond():
    told = refused(
        "module: myeasymocap.stages.basestage.MultiStage\n"
        "args:\n"
        "  output: x\n"
        "  at_step:\n"
        "    detect: {module: a.b}\n"
        "    triangulate: {module: a.b}\n"
        "  at_final:\n"
        "    init_params: {module: a.b}\n"
        "    fitShape: {module: a.b}\n"
        "    init_RT: {module: a.b}\n"
        "    refine_poses: {module: a.b}\n"
        "    filter_it: {module: a.b}\n"
        "    make_video: {module: a.b}\n"
    )
    assert "EasyMocap's own layout" in told
    for pair in ("fitShape -> fit_shape", "init_RT -> init_rt", "make_video -> make_video", "filter_it -> no counter"):
        assert pair in told
    assert "config/fitSMPL.yml" in told


def test_the_resolved_experiment_reads_back_as_itself():
    first = read(GOOD)
    text = config.dump(first.resolved(), header="written by a test")
    second = read(text)
    assert [s.label for s in second.steps] == [s.label for s in first.steps]
    assert [config.plain(s.stage) for s in second.steps] == [config.plain(s.stage) for s in first.steps]
    assert "min_views: 2" in text


def test_output_may_be_given_from_outside():
    assert read("stages: {see: {}}", output=Path("there")).output == Path("there")
    assert "--out" in refused("stages: {see: {}}")


class TestPaths:
    def test_is_seen_from_the_current_folder_first(self, tmp_path):
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "a.yml").write_text("")
        (tmp_path / "config" / "data").mkdir()
        (tmp_path / "data").mkdir()
        assert config.look_up("data", "config/a.yml") == Path("data")

    def test_is_then_looked_up_from_the_file_upward(self, tmp_path, monkeypatch):
        (tmp_path / "project" / "config" / "datasets").mkdir(parents=True)
        (tmp_path / "project" / "data").mkdir()
        file = tmp_path / "project" / "config" / "datasets" / "a.yml"
        file.write_text("")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert config.look_up("data", file) == tmp_path / "project" / "data"
        assert config.look_up("nothing", file) == Path("nothing")


def test_help_shows_purpose_type_default_unit():
    told = config.describe(config.stage_class("lift"))
    assert told.startswith("Lifts detections to 3D.\n\nIn one step.")
    assert "needs: detections" in told
    assert "gives: keypoints2d, keypoints3d" in told
    assert "max_error: a number greater than 0 and at most 1 (default 0.02)" in told
    assert "[fraction of the image's longer side]" in told
    assert "stature: a number greater than 0 or null (default null)" in told


def test_help_of_a_stage_with_losses_shows_them():
    told = config.describe(config.stage_class("fitShape"))
    assert "losses: named loss entries among k3d, smooth (default {})" in told
    assert "loss k3d:" in told
    assert "sigma: a number greater than 0" in told


def test_an_unknown_stage_asked_for_help_is_told():
    with pytest.raises(ConfigError, match="Unknown stage"):
        config.stage_class("nothing")


def test_an_override_below_a_word_makes_room_for_it():
    tree = config.yaml_tree.parse("detector: mediapipe", "exp.yml")
    value = config.Override.of("stages.detect.detector.replay.folder=openpose").value
    made = config.yaml_tree.overridden(tree, ("detector", "replay", "folder"), value)
    assert list(made.at(("detector",)).entries) == ["replay"]
    assert made.at(("detector", "replay", "folder")).value == "openpose"
