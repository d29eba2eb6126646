"""The whole program as two calls: `load` reads a recording, `run` takes it through an experiment.

The command line goes this way too. Nothing is printed; a user's mistake is a :class:`~mocap.errors.MocapError`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from mocap import __version__, config, dataset, pipeline, yaml_tree
from mocap.config import STAGES, Experiment, Override, Step
from mocap.dataset import Dataset
from mocap.errors import ConfigError
from mocap.io import footage, results, stored_keypoints3d
from mocap.io.atomic import write_text
from mocap.registry import folded
from mocap.stages.base import Stage
from mocap.take import Report, RunContext, Take
from mocap.yaml_tree import Located

Kind = Literal["rig", "one_camera", "images", "keypoints3d"]
_SHIPPED: dict[Kind, str] = {
    "rig": "mvimage",
    "one_camera": "svimage",
    "images": "lsp",
    "keypoints3d": "keypoints3d",
}
"""The dataset files that come with the program, by what they are of."""


@dataclass(frozen=True)
class Outcome:
    """What a run has come to."""

    take: Take
    """The record after the last stage: rig, footage, detections, and `people` with 2D and 3D keypoints, body, shape
    and motion."""
    output: Path
    """Where its files are; a temporary folder goes when this object does."""

    def __repr__(self) -> str:
        """Short: a notebook shows it."""
        people = "1 person" if len(self.take.people) == 1 else f"{len(self.take.people)} people"
        frames = f"{len(self.take.frames)} frames at {self.take.fps:.4g} a second"
        return f"Outcome({people}, {frames}, {len(self.warnings)} warnings, in {self.output})"

    @cached_property
    def people(self) -> tuple[results.Result, ...]:
        """Of each person what `result.npz` holds: joints, keypoints3d, Rh, Th, poses, shapes, timestamps ... as arrays.

        Raises:
            DataError: Somebody has neither 3D keypoints nor a fitted body.
        """
        return tuple(results.result_of(self.take, person)[0] for person in self.take.people)

    @property
    def reports(self) -> Mapping[str, Report]:
        """What each stage took, dropped and reached, by its label: `facts` and `seconds`; `dataset` before them, and
        last `quality`."""
        return {report.label: report for report in self.take.reports}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every sentence of warning, with the label of the stage that says it."""
        told = ((r.label, sentence) for r in self.take.reports for sentence in r.facts.get("warnings", ()))
        return tuple(f"{label}: {sentence}" for label, sentence in told)


def load(
    source: str | Path | Dataset,
    *,
    kind: Kind | None = None,
    root: str | Path | None = None,
    subs: Sequence[str] | None = None,
    subs_vis: Sequence[str] | None = None,
    ranges: tuple[int, int, int] | None = None,
    set: Mapping[str, object] | None = None,
    plugins: bool = False,
) -> Take:
    """A recording as the take that stages begin with: cameras, footage and clock; no pixel is read.

    Args:
        source: A dataset file (.yml); or the recording itself, which is then read as the shipped dataset file of its
            `kind` says: a folder with videos/ or images/<view>/ and its calibration, a video, a file of 3D keypoints;
            or a Dataset.
        kind: Of a recording: "rig" (config/datasets/mvimage.yml), "one_camera" (svimage), "images" (lsp) or
            "keypoints3d". None: a video is of one camera, .npz, .trc and .c3d are 3D keypoints, a folder is of a rig.
        root: As `--root`: the recording, in place of the dataset's own.
        subs: As `--subs`: views to use.
        subs_vis: As `--subs_vis`: views to draw the body over.
        ranges: As `--ranges`: start, end (not included) and step of the frames.
        set: Other options of the dataset by name, as in {"fps": 60, "world.up": "y"}.
        plugins: Whether dotted paths named in the file may be imported, which runs their code.

    Raises:
        MocapError: What is missing or wrong, in one sentence.
    """
    given = {"root": root, "subs": subs, "subs_vis": subs_vis, "ranges": ranges}
    overrides = [_override(f"{k}=", k, v) for k, v in given.items() if v is not None]
    for key, value in (set or {}).items():
        said = f"set {key}"
        if key.partition(".")[0] in ("stages", "output", "report"):
            raise ConfigError("This is an option of the experiment: give it to run().", file=said)
        overrides.append(_override(said, key.removeprefix("data."), value))
    if isinstance(source, Dataset):
        if overrides or kind:
            raise ConfigError("A Dataset has its options already: make it with them.")
        data = source
    else:
        path = Path(source).expanduser()
        if path.suffix.casefold() in (".yml", ".yaml"):
            if kind is not None:
                raise ConfigError(f"{path} says itself of which kind it is: leave kind out.")
            path = found(path)
        else:
            if root is not None:
                raise ConfigError(f"{path} is a recording, and root names another one: give one of the two.")
            overrides.insert(0, _override("source", "root", path))
            path = found(Path("config/datasets") / f"{_SHIPPED[kind or _kind(path)]}.yml")
        data = dataset.read_dataset(path, overrides=overrides, plugins=plugins)
    return dataset.first_take(data, RunContext(Path(), views_drawn=data.subs_vis, dataset=data), **machine())


def run(
    take: Take,
    experiment: str | Path | Experiment | Sequence[Stage],
    *,
    output: str | Path | None = None,
    set: Mapping[str, object] | None = None,
    start: str | None = None,
    workers: int | None = None,
    plugins: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Outcome:
    """Takes a recording through an experiment, after everything that can be checked beforehand was.

    Files are written, and a run that was stopped is gone on with, as by `emc`.

    Args:
        take: From :func:`load`, or made of arrays.
        experiment: An experiment file, or one that was read, whose `output` has the files; or stages, in order, which
            write into a temporary folder that goes with the result.
        output: Where files go instead.
        set: Options of the experiment file by name, as in {"stages.triangulate.max_error": 0.01,
            "stages.make_video": "off"}.
        start: As `--from`: the stage to begin at, with what the ones before it left in the output folder.
        workers: Processes that detect at once; None: one a core.
        plugins: Whether dotted paths named in the file may be imported, which runs their code.
        tell: Is given sentences on what is taken from elsewhere or from an earlier run.

    Raises:
        MocapError: What is missing or wrong, in one sentence.
    """
    tell = tell or _silent
    done, temporary = _experiment(experiment, output, set, plugins, tell)
    try:
        take = _checked(take, done, workers)
        take = pipeline.run(
            done.steps,
            take,
            start=start,
            tell=tell,
            prepare=lambda: _save(done, take.run),
            page=done.report,
        )
    except BaseException:
        if temporary:
            shutil.rmtree(done.output, ignore_errors=True)
        raise
    outcome = Outcome(take, done.output)
    if temporary:
        weakref.finalize(outcome, shutil.rmtree, done.output, ignore_errors=True)
    return outcome


def check(
    take: Take,
    experiment: str | Path | Experiment | Sequence[Stage],
    *,
    output: str | Path | None = None,
    set: Mapping[str, object] | None = None,
    plugins: bool = False,
) -> None:
    """Checks everything that can be known before the first frame is read, as `--check`: options, flow, files, models.

    Args:
        take: As for :func:`run`, and so are the others.
        experiment: What would be done.
        output: Where files would go.
        set: Options of the experiment file.
        plugins: Whether dotted paths may be imported.

    Raises:
        MocapError: What is missing or wrong, in one sentence.
    """
    done, temporary = _experiment(experiment, output, set, plugins, _silent)
    try:
        _checked(take, done, None)
    finally:
        if temporary:
            shutil.rmtree(done.output, ignore_errors=True)


def _silent(sentence: str) -> None:
    pass


def found(path: Path, tell: Callable[[str], None] = _silent) -> Path:
    """A configuration file as named, or the one of that name that came with the program, of which `tell` is told."""
    if path.exists() or path.is_absolute():
        return path
    shipped = config.shipped(path)
    if shipped is None:
        return path
    tell(f"{path} is not here; using the one that came with emc: {shipped}")
    return shipped


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """The machine and the versions a result was made with, for its report."""
    import platform
    from importlib import metadata

    wanted = ("numpy", "scipy", "opencv-contrib-python", "mediapipe", "moderngl", "av")
    there = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    versions = {"mocap": __version__, "python": platform.python_version()} | {n: there.get(n) for n in wanted}
    return {"machine": f"{platform.system()} {platform.machine()}, {cores()} cores", "versions": versions}


def _kind(path: Path) -> Kind:
    suffix = path.suffix.casefold()
    if suffix in footage.VIDEO_SUFFIXES:
        return "one_camera"
    return "keypoints3d" if suffix in stored_keypoints3d.FORMATS else "rig"


def _override(said: str, key: str, value: object) -> Override:
    """What stands for `--set key=value`, from a value of Python."""
    try:
        text = yaml.safe_dump(config.plain(value))
    except yaml.YAMLError as error:
        raise ConfigError(f"A value must be text, a number, a list or a dict, not {value!r}.", file=said) from error
    return Override(said, tuple(key.split(".")), Located(yaml_tree.parse(text, said).value, said))


def _experiment(
    experiment: str | Path | Experiment | Sequence[Stage],
    output: str | Path | None,
    set: Mapping[str, object] | None,
    plugins: bool,
    tell: Callable[[str], None],
) -> tuple[Experiment, bool]:
    """What is to be done, and whether its output folder is a temporary one."""
    folder = None if output is None else Path(output).expanduser()
    if isinstance(experiment, (str, Path)):
        for key in set or {}:
            if folded(key.partition(".")[0]) == "data":
                raise ConfigError("This is an option of the dataset: give it to load().", file=f"set {key}")
        overrides = [_override(f"set {key}", key, value) for key, value in (set or {}).items()]
        path = found(Path(experiment).expanduser(), tell)
        return config.read_experiment(path, overrides=overrides, output=folder, plugins=plugins), False
    if set:
        raise ConfigError("Stages that are made already have their options: `set` is for an experiment file.")
    if isinstance(experiment, Experiment):
        return (experiment if folder is None else Experiment(folder, experiment.steps, experiment.report)), False
    steps: dict[str, Step] = {}
    for place, stage in enumerate(experiment):
        if not isinstance(stage, Stage):
            raise ConfigError(f"A list of stages holds stages, such as Triangulate(), and its item {place} is none.")
        name = config.file_name(stage, STAGES.package)
        label = name if name not in steps else f"{name}_{place}"
        steps[label] = Step(label, stage, Located(None, f"stage {label}"))
    if not steps:
        raise ConfigError("The list of stages is empty.")
    if folder is not None:
        return Experiment(folder, tuple(steps.values())), False
    return Experiment(Path(tempfile.mkdtemp(prefix="mocap-")), tuple(steps.values()), report=False), True


def _checked(take: Take, experiment: Experiment, workers: int | None) -> Take:
    """The take with where it goes, once everything that can be known beforehand holds."""
    context = RunContext(
        output=experiment.output.absolute(),
        workers=workers or cores(),
        views_drawn=take.run.views_drawn,
        cache=take.run.cache,
        dataset=take.run.dataset,
    )
    take = take.replace(run=context)
    if context.dataset is not None:
        dataset.check_steps(context.dataset, experiment.steps)
    pipeline.make_output(context.output)
    pipeline.check(experiment.steps, take)
    return take


def _save(experiment: Experiment, run: RunContext) -> None:
    """The resolved configuration, every default filled in, as two files that run again."""
    header = f"Written by emc {__version__}: everything this run was given, with its defaults."
    again = f"\nTo run it again:\nemc --data {run.output / 'config/data.yml'} --exp {run.output / 'config/exp.yml'}"
    if run.dataset is not None:
        header += again
        write_text(run.output / "config" / "data.yml", config.dump(config.plain(run.dataset), header=header))
    write_text(run.output / "config" / "exp.yml", config.dump(experiment.resolved(), header=header))
