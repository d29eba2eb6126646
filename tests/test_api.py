"""From Python everything is two calls, which do what the command line does, and a mistake is one sentence."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mocap
from mocap import cli
from mocap.detect.detectors.replay import Replay
from mocap.errors import ConfigError, FlowError, MissingFile, UnknownName
from mocap.io.results import read_result_npz
from mocap.stages.associate import Associate
from mocap.stages.detect import Detect
from mocap.stages.triangulate import Triangulate

QUICK = {"stages.render_ground": "off", "stages.make_video": False}


@pytest.fixture
def example(repository: Path) -> Path:
    return repository / "data" / "examples" / "dance"


def replayed(example: Path) -> dict[str, object]:
    return {"stages.detect.detector.replay.folder": example / "detections", **QUICK}


def test_importing_it_imports_next_to_nothing():
    program = (
        "import sys; before = set(sys.modules); import mocap; new = set(sys.modules) - before; "
        "print(*[m for m in new if m.partition('.')[0] not in sys.stdlib_module_names]); "
        "assert callable(mocap.load) and 'numpy' in sys.modules and set(mocap.__all__) <= set(dir(mocap))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["mocap"]


def test_a_name_that_is_not_there_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = mocap.lode  # pyright: ignore[reportAttributeAccessIssue]


def test_python_and_the_command_line_give_the_same_result(example, tmp_path):
    take = mocap.load(example, ranges=(30, 50, 1))
    told: list[str] = []
    made = mocap.run(take, "config/fitSMPL.yml", output=tmp_path / "a", set=replayed(example), tell=told.append)
    words = f"--data config/datasets/mvimage.yml --exp config/fitSMPL.yml --root {example} --ranges 30 50 1 -q"
    sets = [f"--set={key}={value}" for key, value in replayed(example).items()]
    assert cli.main([*words.split(), "--out", str(tmp_path / "b"), *sets]) == 0

    (person,) = made.people
    for folder in ("a", "b"):
        stored = read_result_npz(tmp_path / folder / "result.npz")
        for name in ("joints", "Rh", "Th", "poses", "shapes", "keypoints3d", "timestamps"):
            np.testing.assert_array_equal(getattr(person, name), getattr(stored, name))
    texts = [(tmp_path / f / "config/exp.yml").read_text().replace(str(tmp_path / f), "OUT") for f in ("a", "b")]
    assert texts[0] == texts[1]
    again = (tmp_path / "a" / "config" / "data.yml", tmp_path / "b" / "config" / "data.yml")
    assert again[0].read_text().replace(str(tmp_path / "a"), "") == again[1].read_text().replace(
        str(tmp_path / "b"), ""
    )
    assert (tmp_path / "a" / "report.html").exists()
    assert made.output == tmp_path / "a"
    assert repr(made) == f"Outcome(1 person, 20 frames at 30 a second, {len(made.warnings)} warnings, in {made.output})"
    assert made.take.people[0].motion is not None
    assert [*made.reports][:2] == ["dataset", "detect"]
    assert [*made.reports][-1] == "quality"
    assert len(made.warnings) == sum(len(r.facts.get("warnings", ())) for r in made.reports.values())


def test_what_was_saved_is_loaded_and_run_again(example, tmp_path):
    first = mocap.run(
        mocap.load(example, ranges=(30, 40, 1)), "config/fitSMPL.yml", output=tmp_path, set=replayed(example)
    )
    take = mocap.load(tmp_path / "config" / "data.yml")
    second = mocap.run(take, tmp_path / "config" / "exp.yml", output=tmp_path / "again")
    np.testing.assert_array_equal(first.people[0].poses, second.people[0].poses)


def test_stages_write_into_a_folder_that_goes_with_the_result(example):
    stages = [Detect(detector=Replay(folder=example / "detections")), Associate(), Triangulate(max_error=0.01)]
    made = mocap.run(mocap.load(example, ranges=(30, 40, 1)), stages)
    folder = made.output
    assert (folder / "report.json").exists()
    assert not (folder / "report.html").exists()
    assert made.people[0].keypoints3d is not None
    assert made.people[0].Rh is None
    assert made.reports["triangulate"].stage == "triangulate"
    del made
    gc.collect()
    assert not folder.exists()


def test_the_temporary_folder_of_a_run_that_fails_goes_too(example, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(FlowError, match="keypoints2d"):
        mocap.run(mocap.load(example), [Triangulate()])
    with pytest.raises(FlowError, match="keypoints2d"):
        mocap.check(mocap.load(example), [Triangulate()])
    assert not list(tmp_path.iterdir())


def test_options_have_effect_in_either_call(example, tmp_path):
    take = mocap.load(example, ranges=(30, 33, 1), subs=["01", "03"], set={"offsets": {"03": 0.5}, "world.floor": None})
    assert take.rig is not None
    assert take.rig.names == ("01", "03")
    assert not take.rig.has_floor
    plain = mocap.load(example, subs=["01", "03"])
    np.testing.assert_allclose(take.footage["03"].timestamps, plain.footage["03"].timestamps + 0.5)
    with pytest.raises(ConfigError, match=r"max_error must be .*not \"7\""):
        mocap.check(take, "config/fitSMPL.yml", output=tmp_path, set={"stages.triangulate.max_error": 7})


def test_a_stage_that_was_not_made_is_named(example):
    """In a process of its own, since while tests run every type is checked before."""
    program = (
        "import mocap, sys; from mocap.stages.associate import Associate\n"
        "try: mocap.run(mocap.load(sys.argv[1]), [Associate(), Associate])\n"
        "except mocap.MocapError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program, example], capture_output=True, text=True, check=True)
    assert "item 1 is none" in done.stdout


@pytest.mark.parametrize(
    ("name", "views", "reads"),
    [
        ("videos/01.mp4", ("01",), "footage"),
        ("truth.npz", (), "keypoints3d"),
        ("", ("01", "02", "03", "04"), "footage"),
    ],
)
def test_what_a_recording_is_is_told_from_what_it_is(example, name, views, reads):
    take = mocap.load(example / name, ranges=(0, 5, 1))
    assert tuple(take.footage) == views
    assert take.has(reads)
    assert len(take.frames) == 5


def test_pictures_are_named_as_such(repository):
    assert mocap.load(repository / "data" / "examples" / "lsp", kind="images").apart


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda e: mocap.load(e / "nothing"), MissingFile, ["nothing"]),
        (lambda e: mocap.load(e, subs=["7"]), UnknownName, ['"7"', "01, 02, 03, 04"]),
        (lambda e: mocap.load(e, set={"stages.triangulate.max_error": 1}), ConfigError, ["give it to run()"]),
        (lambda e: mocap.load(e, set={"fsp": 60}), ConfigError, ["fsp", "fps"]),
        (lambda e: mocap.load(e, set={"fps": object()}), ConfigError, ["set fps", "a number"]),
        (lambda e: mocap.load(e, root=e), ConfigError, ["one of the two"]),
        (lambda e: mocap.load("config/datasets/mvimage.yml", kind="rig"), ConfigError, ["leave kind out"]),
        (lambda e: mocap.run(mocap.load(e), "no.yml"), MissingFile, ["no.yml"]),
        (lambda e: mocap.run(mocap.load(e), []), ConfigError, ["empty"]),
        (lambda e: mocap.run(mocap.load(e), [Associate()], set={"a": 1}), ConfigError, ["experiment file"]),
        (lambda e: mocap.run(mocap.load(e), "config/fitSMPL.yml", set={"data.fps": 1}), ConfigError, ["load()"]),
        (
            lambda e: mocap.run(mocap.load(e / "truth.npz"), "config/fitSMPL.yml", output="x"),
            ConfigError,
            ["config/fitSMPL3d.yml"],
        ),
    ],
)
def test_a_mistake_is_one_sentence(example, tmp_path, monkeypatch, call, error, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as told:
        call(example)
    assert isinstance(told.value, mocap.MocapError)
    assert all(word in str(told.value) for word in words)
    assert not list(tmp_path.iterdir())
