"""What holds for every stage, and for every loss a stage is given, found by their files."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mocap import config, registry
from mocap.take import PERSON_FIELDS, TAKE_FIELDS, RunContext, Take, either
from mocap.terms.base import Term

STAGES = registry.names("mocap.stages")
LOSSES = registry.names("mocap.terms")
MAIN_JOB = (
    "detect", "associate", "triangulate", "load_body_model", "fit_shape", "init_rt", "refine_poses", "write",
    "render_ground", "make_video",
)  # fmt: skip


def classes():
    stages = [pytest.param(config.stage_class(n), id=n) for n in STAGES]
    return stages + [pytest.param(registry.find("mocap.terms", n, Term, "loss"), id=f"loss {n}") for n in LOSSES]


def test_the_main_job_has_all_its_stages():
    assert set(MAIN_JOB) <= set(STAGES)
    assert {"k3d", "smooth", "prior"} <= set(LOSSES)


@pytest.mark.parametrize("cls", classes())
def test_has_a_purpose_and_a_help_for_every_option(cls):
    assert cls.__doc__, "no docstring"
    assert not cls.__doc__.startswith(cls.__name__ + "("), "the docstring is the one dataclasses make"
    fields = getattr(cls, "__pydantic_fields__", None)
    assert fields is not None, "not decorated by `options`"
    assert [name for name, field in fields.items() if not field.description] == []
    told = config.describe(cls)
    assert all(name in told for name in fields)


@pytest.mark.parametrize("cls", classes())
def test_its_defaults_are_within_its_own_ranges_and_read_back(cls):
    required = [n for n, f in cls.__pydantic_fields__.items() if f.is_required()]
    if required:
        pytest.skip(f"needs {', '.join(required)}")
    made = cls()
    text = config.dump({"stage": config.plain(made)})
    tree = config.yaml_tree.parse(text, "x.yml").at(("stage",))
    assert config.plain(config.read_options(cls, tree, "it")) == config.plain(made)
    json.dumps(config.plain(made))


@pytest.mark.parametrize("name", STAGES)
def test_needs_and_gives_are_fields_of_a_take(name):
    cls = config.stage_class(name)
    known = {*TAKE_FIELDS, *PERSON_FIELDS}
    assert isinstance(cls.needs, frozenset)
    assert isinstance(cls.gives, frozenset)
    assert {name for need in cls.needs for name in either(need)} | cls.gives <= known


@pytest.mark.parametrize("name", STAGES)
def test_what_it_gives_can_be_stored_or_is_cheap_to_have_again(name):
    from mocap import checkpoints

    cls = config.stage_class(name)
    assert cls.cheap or not cls.gives or cls.gives <= checkpoints._STORABLE


@pytest.mark.parametrize("name", STAGES)
def test_says_that_it_needs_something_when_there_is_nothing(name, tmp_path):
    """A take that holds nothing is a mistake told in a sentence, by the flow or by the stage, never a traceback."""
    import numpy as np

    from mocap import pipeline
    from mocap.config import Step
    from mocap.errors import MocapError
    from mocap.yaml_tree import Located

    cls = config.stage_class(name)
    if any(f.is_required() for f in cls.__pydantic_fields__.values()):
        pytest.skip("has options that must be given")
    step = Step(name, cls(), Located(None, "x.yml"))
    empty = Take(RunContext(tmp_path), np.arange(3) / 30, np.arange(3))
    if not cls.needs:
        pytest.skip("needs nothing")
    with pytest.raises(MocapError, match="needs"):
        pipeline.check_flow([step], empty)


def test_importing_them_all_brings_no_heavy_library():
    code = (
        "import sys\n"
        "from mocap import config, registry\n"
        "for name in registry.names('mocap.stages'): config.stage_class(name)\n"
        "print([m for m in ('mediapipe', 'torch', 'smplx', 'moderngl', 'matplotlib', 'anny') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_shipped_experiments_are_constructed(repository, monkeypatch):
    monkeypatch.chdir(repository)
    files = sorted((repository / "config").glob("*.yml"))
    assert files
    for file in files:
        made = config.read_experiment(file)
        again = config.yaml_tree.parse(config.dump(made.resolved()), "x.yml")
        assert set(again.entries["stages"].entries) == {s.label for s in made.steps}
