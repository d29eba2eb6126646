"""`emc`: from the words of a command line to an exit code. The only place that prints.

Heavy libraries are imported where they are used, so that `emc --help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mocap import __version__
from mocap.errors import MocapError

if TYPE_CHECKING:
    from mocap.config import Override
    from mocap.progress import Listener
    from mocap.take import Take

MISTAKE, INTERRUPTED = 2, 130
_EVERY = 10.0
"""Seconds between lines of progress where there is no terminal."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; 0 when it did what was asked, 2 for a user's mistake, 130 for Ctrl-C."""
    argv = sys.argv[1:] if argv is None else list(argv)
    commands = {"eval": evaluate, "export": export, "joints": joints, "report": report, "view": view}
    command = commands.get(argv[0] if argv else "", capture)
    verbose = "-v" in argv or "--verbose" in argv
    _hush(verbose)
    try:
        return command(argv)
    except MocapError as error:
        if verbose:
            raise
        print(f"emc: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt as error:
        print(f"\nemc: {str(error) or 'Stopped.'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `emc --list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        if verbose or error.filename is None:
            raise
        print(f"emc: {error.filename}: {error.strerror}.", file=sys.stderr)
        return MISTAKE


def _hush(verbose: bool) -> None:
    """Keeps the chatter of libraries from the terminal; worker processes inherit it."""
    if verbose:
        return
    import warnings

    warnings.simplefilter("ignore")
    for name, value in (("GLOG_minloglevel", "3"), ("TF_CPP_MIN_LOG_LEVEL", "3"), ("PYTHONWARNINGS", "ignore")):
        os.environ.setdefault(name, value)


# ---------------------------------------------------------------------------------------------- emc


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="emc",
        description="From videos of calibrated cameras, or of one, or from pictures, to a moving body.",
        epilog="Compare a result with a truth: emc eval RESULT TRUTH (emc eval --help).\n"
        "Write a finished result in other formats: emc export RESULT --to glb (emc export --help).\n"
        "Look at a finished result: emc view RESULT (3D); emc report RESULT makes its report.html again.\n"
        "Make est_joints.npz for unrelated pictures: emc joints SOURCE --from cpm (emc joints --help).",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", type=Path, metavar="YAML", help="the recording, such as config/datasets/mvimage.yml")
    add("--exp", type=Path, metavar="YAML", help="what to do with it, such as config/fitSMPL.yml")
    add(
        "--root",
        type=Path,
        metavar="FOLDER",
        help="folder of the recording (or a video, or file of 3D keypoints), in place of the dataset's own",
    )
    add("--out", type=Path, metavar="FOLDER", help="where results go, in place of the experiment's output")
    add("--subs", nargs="+", metavar="VIEW", help="cameras to use (default: all)")
    add("--subs_vis", nargs="*", metavar="VIEW", help="cameras to draw the body over (default: all)")
    add("--scale", type=float, metavar="S", help="size of the overlays as a fraction of the footage (make_video's)")
    add("--ranges", nargs=3, type=int, metavar=("START", "END", "STEP"), help="frames to use, END not included")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="stages.triangulate.max_error=0.01 or data.fps=60",
    )
    add("--check", action="store_true", help="construct and check everything, run nothing")
    add("--from", dest="start", metavar="STAGE", help="begin at this stage, with what the ones before it left")
    add("--workers", type=int, metavar="N", help="processes that detect at once (default: one a core)")
    add("--allow-plugins", action="store_true", help="import dotted paths named in the YAML files (runs their code)")
    add("-q", "--quiet", action="store_true", help="print errors only")
    add("-v", "--verbose", action="store_true", help="print tracebacks and what libraries say")
    add("--list", action="store_true", help="what there is: stages, losses, detectors, formats")
    add("--help-stage", metavar="STAGE", help="what a stage does, needs and gives, and its options")
    add("--version", action="version", version=f"emc {__version__}")
    return parser


def capture(argv: Sequence[str]) -> int:
    """`emc --data ... --exp ...`, and what tells about stages."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.list:
        print(_listed())
        return 0
    if args.help_stage:
        from mocap import config

        cls = config.stage_class(args.help_stage)
        print(f"{config.file_name(cls, config.STAGES.package)}\n\n{config.describe(cls)}")
        return 0
    if args.data is None or args.exp is None:
        parser.error(
            "--data and --exp are needed, as in: emc --data config/datasets/mvimage.yml --exp config/fitSMPL.yml"
        )
    if args.workers is not None and args.workers < 1:
        parser.error(f"--workers must be at least 1, not {args.workers}")
    _run(args)
    return 0


def _run(args: argparse.Namespace) -> None:
    from mocap import api, config, dataset, pipeline

    say = (lambda text: None) if args.quiet else _say
    data_file, exp_file = (api.found(path, say) for path in (args.data, args.exp))
    overrides = [config.Override.of(text) for text in args.set]
    data = dataset.read_dataset(data_file, overrides=[*_of_data(overrides), *_flags(args)])
    experiment = config.read_experiment(
        exp_file,
        overrides=[*(o for o in overrides if o.keys[0] != "data"), *_flags_of_stages(args)],
        output=args.out,
        plugins=args.allow_plugins,
    )
    if args.start is not None:
        pipeline.position(experiment.steps, args.start)
    with _progress(args.quiet):
        take = api.load(data)
    say(_told_take(take))
    for note in take.reports[0].facts["notes"]:
        say(f"  {note}")
    for warning in take.reports[0].facts["warnings"]:
        say(f"  Warning: {warning}")
    if args.check:
        with _progress(args.quiet):
            api.check(take, experiment)
        say(f"All is well: {', '.join(s.label for s in experiment.steps)} would write to {experiment.output}.")
        return
    with _progress(args.quiet):
        take = api.run(take, experiment, start=args.start, workers=args.workers, tell=say).take
    say(_table(take))
    say(_paths(take, experiment.output, page=experiment.report))


def _say(text: str) -> None:
    print(text, flush=True)


def _of_data(overrides: Sequence[Override]) -> list[Override]:
    import dataclasses

    return [dataclasses.replace(o, keys=o.keys[1:]) for o in overrides if o.keys[0] == "data" and len(o.keys) > 1]


def _flags(args: argparse.Namespace) -> list[Override]:
    """The flags that stand for options of the dataset, checked as those are."""
    from mocap.config import Override

    subs = args.subs and [name for word in args.subs for name in word.split(",") if name]
    flags = {"root": args.root and str(args.root), "subs": subs, "subs_vis": args.subs_vis, "ranges": args.ranges}
    return [Override.given(f"--{name}", name, value) for name, value in flags.items() if value is not None]


def _flags_of_stages(args: argparse.Namespace) -> list[Override]:
    """The flags that stand for options of stages."""
    import dataclasses

    from mocap.config import Override

    if args.scale is None:
        return []
    given = Override.given(f"--scale {args.scale:g}", "scale", args.scale)
    return [dataclasses.replace(given, keys=("stages", "make_video", "scale"))]


# ---------------------------------------------------------------------------------------------- progress


class _Lines:
    """Progress in plain lines, one every now and then, for logs."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self.began = self.told = time.monotonic()

    def update(self, n: int) -> None:
        self.done += n
        now = time.monotonic()
        if now - self.told < _EVERY:
            return
        self.told = now
        rate = self.done / (now - self.began)
        of = f"/{self.total}" if self.total else ""
        left = f", {(self.total - self.done) / rate:.0f} s left" if self.total and rate > 0 else ""
        print(f"{self.label}: {self.done}{of} {self.unit}, {rate:.1f} a second{left}", file=sys.stderr, flush=True)

    def close(self) -> None:
        seconds = time.monotonic() - self.began
        if self.told > self.began:
            print(f"{self.label}: {self.done} {self.unit} in {seconds:.0f} s", file=sys.stderr, flush=True)


def _progress(quiet: bool) -> Any:
    """Shows bars on a terminal and lines elsewhere, for loops of more than two seconds."""
    import contextlib

    from mocap import progress

    if quiet:
        return contextlib.nullcontext()
    listener: Listener = _Lines
    if sys.stderr.isatty():
        from tqdm import tqdm

        def bars(label: str, total: int | None, unit: str) -> Any:
            look = {"delay": 2, "leave": False, "dynamic_ncols": True, "file": sys.stderr}
            return tqdm(desc=label, total=total, unit=f" {unit}", **look)

        listener = bars
    return progress.listening(listener)


# ---------------------------------------------------------------------------------------------- what is told


def _told_take(take: Take) -> str:
    facts = take.reports[0].facts
    clock = f"{len(take.frames)} frames at {take.fps:.4g} a second"
    if "keypoints3d" in facts:
        read = facts["keypoints3d"]
        people = "1 person" if len(take.people) == 1 else f"{len(take.people)} people"
        return f"{read['file']}: {read['format']}, {people}, {read['skeleton']} in {read['unit']}, {clock}"
    if take.apart:
        count = "1 picture" if len(take.footage) == 1 else f"{len(take.footage)} pictures"
        known = f"from {facts['joints']}" if facts["joints"] else "to be detected"
        return f"{facts['root']}: {count}; 2D joints {known}"
    count = "1 view" if len(take.footage) == 1 else f"{len(take.footage)} views"
    views = f"{count} ({', '.join(take.footage)})" if take.footage else "no footage"
    cameras = f"cameras from {facts['calibration']['file']}" if facts["calibration"] else "no calibration"
    return f"{facts['root']}: {views}, {clock}; {cameras}"


def _table(take: Take) -> str:
    """Seconds by stage, then how good the result looks, then what the user is to know."""
    from mocap.take import Report, called

    timed = [r for r in take.reports[1:] if r.stage != "quality"]
    lines = ["", "stage".ljust(18) + "seconds"]
    lines += [f"{r.label:<18}{_duration(r)}" for r in timed]
    lines.append(f"{'total':<18}{sum(r.seconds for r in timed if not r.facts.get('kept')):7.1f}")
    quality: Report = take.reports[-1]
    if take.apart:
        lines += _told_pictures(quality.facts["people"], 0 if take.rig is None else len(take.rig))
    people = [] if take.apart else quality.facts["people"]
    for name, person in zip(called([person.get("hand") for person in people]), people, strict=True):
        fit: Mapping[str, Any] = person.get("reprojection_fit_px", {})
        who = f" of {name}" if len(people) > 1 or "hand" in person else ""
        if "distance_fit_m" not in person and fit:
            lines += ["", f"median reprojection of the fit{who} [px]"]
            lines += [f"{camera:<18}{_number(pixels)}" for camera, pixels in fit.items()]
            lines.append("")
        elif person["reprojection_px"]:
            lines += ["", f"median reprojection{who} [px]"]
            lines.append("camera".ljust(18) + " points" + ("    fit" if fit else ""))
            for camera, points in person["reprojection_px"].items():
                lines.append(f"{camera:<18}{_number(points)}{_number(fit.get(camera)) if fit else ''}")
            lines.append("")
        else:
            lines += ["", f"3D keypoints{who}"]
            if person.get("distance_fit_m") is not None:
                lines.append(f"{'distance from the fit':<30}{1000 * person['distance_fit_m']:8.1f} mm (median)")
        if person["body_joints_found"] is not None and "hand" not in person:
            lines.append(f"{'body joints found':<30}{100 * person['body_joints_found']:8.1f} %")
        lines.append(f"{'all joints found':<30}{100 * person['joints_found']:8.1f} %")
        if "limb_spread_m" in person:
            lines.append(_pair("limb lengths vary by", person, "limb_spread", "_m", 1000, "mm"))
        lines.append(_pair("acceleration (jitter)", person, "jitter", "", 1, "m/s^2"))
    warnings = [(r.label, w) for r in take.reports for w in r.facts.get("warnings", ())]
    if warnings:
        lines += ["", "Warnings:", *(f"  {label}: {w}" for label, w in warnings)]
    return "\n".join(lines)


def _told_pictures(people: Sequence[Mapping[str, Any]], pictures: int) -> list[str]:
    """How many of the pictures were fitted, how well, and which of them least well."""
    import statistics

    away = {p["picture"]: e for p in people for e in p["reprojection_fit_px"].values() if e is not None}
    lines = ["", f"{'pictures fitted':<30}{len(people):8d} of {pictures}"]
    if away:
        ordered = sorted(away, key=lambda name: -away[name])
        lines.append(f"{'median reprojection':<30}{statistics.median(away.values()):8.1f} px")
        lines.append(f"{'least well':<30}" + ", ".join(f"{name} {away[name]:.1f} px" for name in ordered[:3]))
    return lines


def _duration(report: Any) -> str:
    return f"{report.seconds:7.1f}" + ("  (kept)" if report.facts.get("kept") else "")


def _number(value: float | None) -> str:
    return "      -" if value is None else f"{value:7.1f}"


def _pair(label: str, person: Mapping[str, Any], key: str, unit_key: str, scale: float, unit: str) -> str:
    """'limb lengths vary by   8.1 mm (points)   0.0 mm (fit)'."""
    told = [
        f"{scale * person[name]:8.1f} {unit} ({what})"
        for name, what in ((f"{key}{unit_key}", "points"), (f"{key}_fit{unit_key}", "fit"))
        if person.get(name) is not None
    ]
    return f"{label:<30}" + " ".join(told)


def _paths(take: Take, output: Path, *, page: bool) -> str:
    """Where everything is: each folder once."""
    files: dict[str, None] = {}
    for report in take.reports:
        for file in report.facts.get("files", ()):
            files[str(file)] = None
    lines = ["", f"Results in {output}:"]
    files |= {"report.html": None} if page else {}
    return "\n".join([*lines, *(f"  {output / name}" for name in (*files, "report.json", "config/exp.yml"))])


def _listed() -> str:
    """Every stage with its first sentence, then losses, detectors and formats."""
    import inspect

    from mocap import config, registry
    from mocap.detect import convert
    from mocap.io import calibration, footage, stored_keypoints3d

    lines = ["stages (emc --help-stage NAME):"]
    stages = {name: config.stage_class(name) for name in registry.names(config.STAGES.package)}
    lines += [f"  {name:<18}{(inspect.getdoc(cls) or '').splitlines()[0]}" for name, cls in stages.items()]
    for title, values in {
        "losses of refine_poses": registry.names("mocap.terms"),
        "detectors": config.choices(config.stage_class("detect"), "detector"),
        "formats written": config.choices(config.stage_class("write"), "formats"),
        "calibrations read": calibration.FORMATS,
        "footage read": (*footage.VIDEO_SUFFIXES, *footage.IMAGE_SUFFIXES),
        "3D keypoints read": stored_keypoints3d.FORMATS,
        "orders of 2D joints (emc joints --help)": convert.ORDERS,
    }.items():
        lines += ["", f"{title}:", f"  {', '.join(values)}"]
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------- emc eval


def evaluate(argv: Sequence[str]) -> int:
    """`emc eval RESULT TRUTH`."""
    parser = argparse.ArgumentParser(
        prog="emc eval",
        description="Compares a result with a truth: both result.npz, or folders that hold one or, of several people "
        "or hands, result_1.npz and truth_1.npz and so on, each with the nearest; of single pictures the output "
        "folder with smplify/, and the folder that holds their truth.npz.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("result", type=Path)
    add("truth", type=Path)
    add(
        "--joints",
        choices=("body", "keypoints", "triangulated"),
        default="body",
        help="which points are compared: the body's joints and finger tips (default), the fitted keypoints, or the "
        "triangulated ones",
    )
    add("--body", metavar="MODEL", default="embedded", help="body model for PVE, when not an included one")
    add("--json", action="store_true", help="print JSON")
    add("-v", "--verbose", action="store_true", help="print tracebacks")
    args = parser.parse_args(argv[1:])

    from mocap import evaluate

    metrics = evaluate.compare_files(args.result, args.truth, joints=args.joints, model=args.body)
    if args.json:
        import json

        print(json.dumps(metrics, indent=1))
    else:
        print(evaluate.told(metrics))
    return 0


# ---------------------------------------------------------------------------------------------- emc export


def export(argv: Sequence[str]) -> int:
    """`emc export RESULT --to FORMAT`."""
    import inspect

    from mocap import config, registry
    from mocap.errors import DataError
    from mocap.io.formats.base import FORMATS, Format
    from mocap.yaml_tree import Located

    known = registry.names(FORMATS.package)
    classes = {name: registry.find(FORMATS.package, name, Format, FORMATS.kind) for name in known}  # type: ignore[type-abstract]
    first = {name: (inspect.getdoc(cls) or "").splitlines()[0] for name, cls in classes.items()}
    parser = argparse.ArgumentParser(
        prog="emc export",
        description="Writes a finished result in other formats; axes and units of each are in docs/formats.md.",
        epilog="formats:\n" + "\n".join(f"  {name:<12}{told}" for name, told in first.items()) + "\n\n"
        "Options of a format: emc --help-stage write.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("result", type=Path, metavar="RESULT", help="an output folder, or one person's result.npz")
    add("--to", nargs="+", action="extend", required=True, metavar="FORMAT", help="one or more of those below")
    add("--out", type=Path, metavar="FOLDER", help="where to (default: where RESULT is)")
    add(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="an option: bvh.unit=m, or of one format unit=m"
    )
    add("--model", type=Path, metavar="MODEL", help="the body model that was fitted, where it is your own (SMPL .pkl)")
    add("-q", "--quiet", action="store_true", help="print errors only")
    add("-v", "--verbose", action="store_true", help="print tracebacks")
    args = parser.parse_args(argv[1:])

    names = [
        registry.resolve(FORMATS.package, name, FORMATS.kind) for word in args.to for name in word.split(",") if name
    ]
    tree = Located({name: Located(None, "--to") for name in dict.fromkeys(names)}, "--to")
    for text in args.set:
        alone = "." not in text.partition("=")[0] and len(tree.entries) == 1
        override = config.Override.of(f"{names[0]}.{text}" if alone else text)
        if override.keys[0] not in tree.entries:
            raise config.ConfigError(f"This must begin with one of {', '.join(tree.entries)}.", file=f"--set {text}")
        tree = override.applied(tree)
    formats = config.named_objects(tree, FORMATS, Format)

    for made in formats.values():
        made.check()
    folder = args.out or (args.result if args.result.is_dir() else args.result.parent)
    if folder.is_file() or (not folder.is_dir() and folder.suffix):
        raise config.ConfigError(f"--out {folder} must be a folder; files in it get their names from the formats.")

    from mocap.io.finished import read_finished

    refused = []
    people = read_finished(args.result, model=args.model, body=any(made.needs_body for made in formats.values()))
    say = (lambda text: None) if args.quiet else _say
    for name, made in formats.items():
        with _progress(args.quiet):
            written = made.write(people, folder)
        if not written.files:
            refused.append(" ".join(written.warnings) or f"There is nothing to be written as {name}.")
            continue
        for text in (*written.notes, *(f"Warning: {warning}" for warning in written.warnings)):
            say(f"  {text}")
        for path in written.files:
            say(str(path))
    if refused:  # once the others are written
        raise DataError(" ".join(refused))
    return 0


# ---------------------------------------------------------------------------------------------- emc report, emc view


def report(argv: Sequence[str]) -> int:
    """`emc report RESULT`."""
    parser = argparse.ArgumentParser(
        prog="emc report",
        description="Makes report.html of a finished run again: the page with its numbers, plots and videos.",
        allow_abbrev=False,
    )
    parser.add_argument("result", type=Path, metavar="RESULT", help="an output folder")
    parser.add_argument("-v", "--verbose", action="store_true", help="print tracebacks")
    args = parser.parse_args(argv[1:])
    from mocap.report import page

    _say(str(page.rewrite(args.result)))
    return 0


def view(argv: Sequence[str]) -> int:
    """`emc view RESULT`."""
    parser = argparse.ArgumentParser(
        prog="emc view",
        description="Shows a finished result in 3D with rerun: cameras and their images, keypoints, body, error bars.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("result", type=Path, metavar="RESULT", help="an output folder, or one person's result.npz")
    add("--save", type=Path, metavar="FILE", help="write FILE.rrd instead of opening a window")
    add("--model", type=Path, metavar="MODEL", help="the body model that was fitted, where it is your own (SMPL .pkl)")
    add("-v", "--verbose", action="store_true", help="print tracebacks")
    args = parser.parse_args(argv[1:])
    from mocap import view

    for note in view.show(args.result, save=args.save, model=args.model):
        _say(f"  {note}")
    if args.save is not None:
        _say(str(args.save))
    return 0


# ---------------------------------------------------------------------------------------------- emc joints


def joints(argv: Sequence[str]) -> int:
    """`emc joints SOURCE --from ORDER`."""
    parser = argparse.ArgumentParser(
        prog="emc joints",
        description="Writes 2D joints of any order as SMPLify's est_joints.npz: 5 x 14 x pictures (x, y, confidence,\n"
        "two offsets of 0) in LSP's order, by the names of the joints. What the source has no point for, such as the\n"
        "head top of COCO, OpenPose and mediapipe, is left missing, with confidence 0.",
        epilog="SOURCE is one of\n"
        "  .npz, .npy   an array of pictures x joints x 2 or 3 (x, y, confidence), or of rows x joints x pictures,\n"
        "               with 5, 28, 3 or 2 rows as est_joints has\n"
        "  FOLDER       of OpenPose's json, one file a picture; of several people the largest and surest is taken\n"
        "  .json        COCO keypoints, likewise\n"
        "  FOLDER       of pictures, with --from mediapipe, which detects them\n"
        "in the order of the pictures' names.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    from mocap.api import cores
    from mocap.detect import convert

    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE")
    add("--from", dest="order", required=True, metavar="ORDER", help=f"of the joints: {', '.join(convert.ORDERS)}")
    add("--out", type=Path, default=Path("est_joints.npz"), metavar="FILE", help="default: est_joints.npz, here")
    add("--workers", type=int, metavar="N", help="processes that detect at once (default: one a core)")
    add("-q", "--quiet", action="store_true", help="print errors only")
    add("-v", "--verbose", action="store_true", help="print tracebacks and what libraries say")
    args = parser.parse_args(argv[1:])
    if args.workers is not None and args.workers < 1:
        parser.error(f"--workers must be at least 1, not {args.workers}")

    with _progress(args.quiet):
        found = convert.lsp_joints(args.source, args.order, workers=args.workers or cores())
        convert.write(found, args.out, args.source)
    say = (lambda text: None) if args.quiet else _say
    for note in found.notes:
        say(f"  {note}")
    say(f"{args.out}: est_joints of {len(found.joints.xy)} pictures, from {found.skeleton.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
