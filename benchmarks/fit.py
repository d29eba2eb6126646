"""The fit against what the field does: seconds, error against the truth and memory, in one run on one machine.

    python benchmarks/fit.py                    # everything, under 10 minutes on two cores; --frames 100 for a minute
    python benchmarks/fit.py --write-readme     # and puts the tables into benchmarks/README.md
    python benchmarks/fit.py --check            # only ours: fails where it is less accurate than accuracy_baseline.json
    python benchmarks/fit.py --update-baseline  # writes that file

Takes are those of `synthetic_takes.py`. The whole fit is `fit_shape`, `fit_root` and `fit_motion` with the losses of
`config/fitSMPL3d.yml` (free motion without prior and limits, which it breaks), against EasyMocap's objective by L-BFGS
in torch (`lbfgs_baseline.py`), by its own stopping rule and to convergence. The solver alone is compared on ONE
objective, that of ours with the scales it told, from one start (root and limbs in closed form): our
Levenberg-Marquardt, L-BFGS, and `scipy.optimize.least_squares` (`least_squares_baseline.py`).

Every run is a process of its own, so that peak memory is its own; a body is loaded and a short take is fitted before
the clock starts. `s` is wall-clock time, `CPU s` that of all threads: on a busy machine compare the latter, with
OMP_NUM_THREADS=1. A baseline that would need more than `--budget` seconds is stopped there, its figures being those of
the best state so far, and longer takes are not tried; EasyMocap's own rule is given three times as long, on every take.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))
from least_squares_baseline import by_scipy
from synthetic_takes import KINDS, SyntheticTake, synthetic_take

from mocap.bodies import kinematics
from mocap.config import read_experiment
from mocap.fit.motion import bind, fit_motion
from mocap.fit.root import first_poses, fit_root
from mocap.fit.scales import rescaled
from mocap.fit.shape import fit_shape
from mocap.geometry import rotations
from mocap.io.atomic import write_text
from mocap.solve.levenberg_marquardt import levenberg_marquardt
from mocap.solve.parallel import cores
from mocap.solve.problem import Problem, State
from mocap.take import Motion
from mocap.terms.base import Bound, Term

OURS = "mocap"
WHOLE = {
    OURS: "mocap: shape, root, motion",
    "easymocap": "L-BFGS, EasyMocap's losses and stopping rule",
    "easymocap-converged": "L-BFGS, EasyMocap's losses, to convergence",
}
ALONE = {
    "lm": "mocap's Levenberg-Marquardt",
    "lbfgs": "L-BFGS in torch",
    "scipy": "scipy least_squares, trf, lsmr",
}
FRAMES = (100, 300, 1000, 10_000)
LONG = 100_000
BASELINE_FRAMES = 1000
"""The longest take that baselines are given."""
TOLERANCE = 3e-4
"""Solvers of the one objective stop when a step lowers the cost by less than this part of it."""
BASELINE = HERE / "accuracy_baseline.json"
README = HERE / "README.md"
TIME_UP = "time was up"
WORSE = 0.03
"""Part by which accuracy may differ from the baseline before `--check` fails."""


@dataclass(frozen=True)
class Row:
    """One run."""

    method: str
    take: str
    frames: int
    seconds: float
    cpu: float
    points: float
    """Mean error of the 25 points [mm]."""
    joints: float
    """Mean error of the 24 joints [mm]."""
    peak: float
    """Peak memory of the process [GB]."""
    before: float
    """The same before the fit began [GB]."""
    iterations: int
    ended: str
    cost: float | None = None
    """Of the one objective, in double precision."""


@dataclass(frozen=True)
class Skipped:
    """A run that was not made."""

    method: str
    take: str
    frames: int
    why: str


# ------------------------------------------------------------------------------------------------------------ ours


def losses(kind: str) -> dict[str, Term]:
    """Of `config/fitSMPL3d.yml`; for free motion without those that know what people do."""
    steps = read_experiment(HERE.parent / "config" / "fitSMPL3d.yml").steps
    terms = dict(next(s.stage for s in steps if s.name == "refine_poses").losses)  # type: ignore[attr-defined]
    return terms if kind == "anatomical" else {k: t for k, t in terms.items() if k not in ("prior", "limits")}


@dataclass(frozen=True)
class Fit:
    """What a method gave."""

    betas: np.ndarray
    motion: Motion
    iterations: int
    ended: str
    cost: float | None = None


def whole_fit(take: SyntheticTake, terms: Mapping[str, Term]) -> Fit:
    """Shape, root, motion."""
    betas = fit_shape(take.body, take.points).betas
    root = fit_root(take.body, betas, take.points, take.clock)
    start = Motion(rotations.log(root.R), root.Th, np.zeros_like(take.motion.poses))
    fit = fit_motion(take.data, terms, betas=betas, motion=start)
    last = list(fit.passes.values())[-1]
    iterations = sum(s.iterations for s in fit.passes.values())
    return Fit(fit.betas, fit.motion, iterations, ", ".join(last.reasons))


# ------------------------------------------------------------------------------------------------- the one objective


@dataclass(frozen=True)
class Objective:
    """Losses with their scales held, and where solvers begin."""

    problem: Problem
    start: State


def one_objective(take: SyntheticTake, terms: Mapping[str, Term]) -> Objective:
    """What our fit ends with, its scales told once more at its end; the start is root and limbs in closed form."""
    betas = fit_shape(take.body, take.points).betas
    root = fit_root(take.body, betas, take.points, take.clock)
    start = State(root.Th, first_poses(take.body, betas, take.points, root.R), betas)
    ours = whole_fit(take, terms)
    rig = kinematics.fold(take.body, take.points.skeleton)
    bound: Mapping[str, Bound] = bind(terms, take.data)
    at = State(ours.motion.Th, kinematics.local_rotations(ours.motion.Rh, ours.motion.poses), ours.betas)
    for _ in range(2):  # expected errors and accelerations depend on each other
        bound = rescaled(rig, bound, at, take.clock)
    # the shape's prior as in `fit_motion`
    weight = max(1.0, 0.1 * len(take.clock))
    return Objective(Problem(rig, bound, free_shape=True, shape_weight=weight), start)


def solved_by(solver: str, one: Objective, *, budget: float) -> tuple[State, int, str]:
    """State, iterations and why it stopped, of one of :data:`ALONE`."""
    problem = one.problem
    if solver == "lm":
        s = levenberg_marquardt(problem, one.start, relative_decrease=TOLERANCE, by_term=False)
        return s.state, s.iterations, ", ".join(s.reasons)
    if solver == "scipy":
        return by_scipy(problem, one.start, budget=budget, few=TOLERANCE)
    from lbfgs_baseline import same_objective

    options = {"shape_weight": problem.shape_weight, "budget": budget, "few": TOLERANCE}
    state, ended = same_objective(problem.terms, problem.rig.body, problem.rig.skeleton, one.start, **options)
    return state, ended.iterations, ended.reason


# ----------------------------------------------------------------------------------------------------------- one run


def prepared(method: str, take: SyntheticTake, terms: Mapping[str, Term], budget: float) -> Callable[[], Fit]:
    """What is timed: a method on a take; what it shares with the others is made ready here."""
    kinematics.fold(take.body, take.points.skeleton)
    if method == OURS:
        return lambda: whole_fit(take, terms)
    if method.startswith("easymocap"):
        from lbfgs_baseline import easymocap_fit

        prior, converged = "prior" in terms, method.endswith("converged")

        def by_torch() -> Fit:
            betas, motion, ended = easymocap_fit(
                take.body, take.points, prior=prior, to_convergence=converged, budget=budget
            )
            return Fit(betas, motion, ended.iterations, ended.reason)

        return by_torch
    one = one_objective(take, terms)

    def solved() -> Fit:
        state, iterations, ended = solved_by(method, one, budget=budget)
        vectors = rotations.log(state.R)
        motion = Motion(vectors[:, 0], state.Th, vectors[:, 1:])
        return Fit(state.betas, motion, iterations, ended, sum(one.problem.cost_by_term(state).values()))

    return solved


def _peak() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def one_run(method: str, kind: str, frames: int, budget: float) -> Row:
    """In this process."""
    terms = losses(kind)
    prepared(method, synthetic_take(kind, 30, seed=1), terms, 1.0)()  # what is loaded on first use
    take = synthetic_take(kind, frames)
    run = prepared(method, take, terms, budget)
    before, wall, cpu = _peak(), time.perf_counter(), time.process_time()
    fit = run()
    wall, cpu, peak = time.perf_counter() - wall, time.process_time() - cpu, _peak()
    points, joints = take.errors(fit.betas, fit.motion)
    return Row(method, kind, frames, wall, cpu, points, joints, peak, before, fit.iterations, fit.ended, fit.cost)


def in_child(method: str, kind: str, frames: int, budget: float) -> Row | Skipped:
    """In a process of its own."""
    limit = 60 + 4 * budget + frames / 20
    command = [sys.executable, __file__, "--one", method, kind, str(frames), "--budget", str(budget)]
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return Skipped(method, kind, frames, f"it was stopped after {limit:.0f} s")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Skipped(method, kind, frames, last)
    return Row(**json.loads(done.stdout.splitlines()[-1]))


def _budget(method: str, budget: float) -> float:
    return 3 * budget if method == "easymocap" else budget


def all_runs(frames: Sequence[int], budget: float, *, baselines: bool = True) -> list[Row | Skipped]:
    """Every method on every take, told as they come."""
    made: list[Row | Skipped] = []
    with_torch = _version("torch") is not None
    for kind in KINDS:
        gave_up: dict[str, str] = {}
        for n in sorted(set(frames)):
            for method in (*WHOLE, *ALONE) if baselines and n <= BASELINE_FRAMES else (OURS,):
                if method not in (OURS, "lm", "scipy") and not with_torch:
                    row: Row | Skipped = Skipped(method, kind, n, "torch is not installed")
                elif method in gave_up:
                    row = Skipped(method, kind, n, gave_up[method])
                else:
                    row = in_child(method, kind, n, _budget(method, budget))
                made.append(row)
                if isinstance(row, Row) and row.ended == TIME_UP and method != "easymocap":
                    gave_up[method] = f"{n} frames were not done in {budget:.0f} s"
                print(_said(row), flush=True)
    return made


def _said(row: Row | Skipped) -> str:
    name = {**WHOLE, **ALONE}[row.method]
    if isinstance(row, Skipped):
        return f"{row.take}, {row.frames} frames, {name}: skipped, {row.why}"
    return (
        f"{row.take}, {row.frames} frames, {name}: {row.seconds:.2f} s ({row.cpu:.2f} s CPU), {row.points:.1f} / "
        f"{row.joints:.1f} mm, {row.peak:.2f} GB, {row.ended}"
    )


# ------------------------------------------------------------------------------------------------------ triangulation


def triangulation(frames: int = 1000) -> list[tuple[int, str, float, float, float, float]]:
    """Views, method, CPU seconds of one core, mean and median error [mm], share kept: see `triangulate.py`."""
    import cv2
    import triangulate as other  # keeps linear algebra to one thread

    made = []
    for views in (8, 2):
        rig, seen, truth = other.take(views, frames, 1.9, 0.05)
        clock = np.arange(frames) / 30
        two = list(rig)[:2]

        def opencv() -> np.ndarray:
            xy = [c.undistort(seen[c.name].xy).reshape(-1, 2).T for c in two]  # noqa: B023
            X = cv2.triangulatePoints(*(c.T_camera_world[:3] for c in two), *xy)  # noqa: B023
            return (X[:3] / X[3]).T.reshape(truth.shape)  # noqa: B023

        ways: dict[str, tuple[Callable[[], np.ndarray], int]] = {
            OURS: (lambda: other.triangulate(rig, seen, clock).keypoints3d.xyz, 3),  # noqa: B023
            "a loop over points: DLT, worst view dropped": (lambda: other.drop_worst(rig, seen), 1),  # noqa: B023
            "all views at once: DLT": (lambda: other.plain_dlt(rig, seen), 3),  # noqa: B023
            "OpenCV's triangulatePoints" + (", two of the views" if views > 2 else ""): (opencv, 3),
        }
        for name, (function, repeat) in ways.items():
            seconds, xyz = other.timed(function, repeat)
            error = 1000 * np.linalg.norm(xyz - truth, axis=-1)
            kept = error[np.isfinite(error)]
            made.append((views, name, seconds, float(kept.mean()), float(np.median(kept)), kept.size / error.size))
    return made


# ------------------------------------------------------------------------------------------------------------- tables


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join("---" for _ in head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows])


def _times(value: float, of: float | None, *, at_least: bool = False) -> str:
    if not of:
        return ""
    ratio = value / of
    return ("> " if at_least else "") + (f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.2g}")


def _pairs(row: Row, first: Row | None) -> list[tuple[float, float | None]]:
    """Wall-clock and processor seconds, with those of the reference where there is one."""
    return [(row.seconds, first and first.seconds), (row.cpu, first and first.cpu)]


def fit_tables(rows: Sequence[Row | Skipped]) -> str:
    """The whole fit, the solver alone, and what was skipped."""
    made = [r for r in rows if isinstance(r, Row)]
    reference = {(r.take, r.frames): r for r in made if r.method == OURS}
    own_solver = {(r.take, r.frames): r for r in made if r.method == "lm"}
    whole, alone = [], []
    for r in made:
        first = (reference if r.method in WHOLE else own_solver).get((r.take, r.frames))
        cells = [r.take, f"{r.frames:,}", {**WHOLE, **ALONE}[r.method], f"{r.seconds:.2f}", f"{r.cpu:.2f}"]
        late = r.ended == TIME_UP
        cells += [_times(now, of, at_least=late) for now, of in _pairs(r, first)]
        cells += [f"{r.points:.2f}", f"{r.joints:.2f}"]
        if r.method in WHOLE:
            whole.append([*cells, f"{r.peak:.2f} ({r.before:.2f})", str(r.iterations), r.ended])
        else:
            cost = "" if first is None or not first.cost or r.cost is None else f"{r.cost / first.cost:.4f}"
            alone.append([*cells, cost, str(r.iterations), r.ended])
    head = ["take", "frames", "method", "s", "CPU s", "x s", "x CPU s", "25 points mm", "24 joints mm"]
    out = ["**The whole fit**; times ours in the same run, memory at its peak (before the fit began)", ""]
    out.append(table([*head, "GB", "iterations", "ended"], whole))
    if alone:
        out += ["", "**The solver alone**, one objective and one start; times and cost relative to ours", ""]
        out.append(table([*head, "cost", "iterations", "ended"], alone))
    skipped = [r for r in rows if isinstance(r, Skipped)]
    if skipped:
        out += ["", "Not run:", "", *(f"- {_said(r)}" for r in skipped)]
    return "\n".join(out)


def triangulation_table(rows: Sequence[tuple[int, str, float, float, float, float]]) -> str:
    """CPU seconds, errors, share kept."""
    own = {views: seconds for views, name, seconds, *_ in rows if name == OURS}
    cells = [
        [str(views), name, f"{seconds:.3f}", _times(seconds, own[views]), f"{mean:.1f}", f"{median:.1f}", f"{kept:.1%}"]
        for views, name, seconds, mean, median, kept in rows
    ]
    head = ["views", "method", "CPU s", "x CPU s", "mean mm", "median mm", "kept"]
    title = "**Triangulation**, 1000 frames x 25 points, 1.9 px of noise, 5 % gross errors, one core"
    return f"{title}\n\n{table(head, cells)}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def machine() -> str:
    """One line: what it ran on, and how busy that was."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [x.partition(":")[2].strip() for x in info.read_text().splitlines() if x.startswith("model name")]
        model = names[0] if names else model
    packages = ("numpy", "scipy", "torch", "opencv-contrib-python")
    versions = ", ".join(f"{p} {_version(p)}" for p in packages if _version(p))
    load = f", load average {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    threads = os.environ.get("OMP_NUM_THREADS")
    cut = f" (OMP_NUM_THREADS={threads})" if threads else ""
    return f"{model}, {cores()} cores{cut}, no GPU used; Python {platform.python_version()}, {versions}{load}"


def between_markers(text: str, name: str, inside: str) -> str:
    """`text` with what stands between the marker comments of that name replaced.

    Raises:
        ValueError: A marker is not there.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f'The text has no "{begin}" followed by "{end}".')
    return f"{head}{begin}\n\n{inside}\n\n{end}{tail}"


# ----------------------------------------------------------------------------------------------------------- accuracy


def accuracy(rows: Iterable[Row | Skipped]) -> dict[str, dict[str, float]]:
    """Errors [mm] of our own fits by take and frames."""
    own = [r for r in rows if isinstance(r, Row) and r.method == OURS and r.frames <= BASELINE_FRAMES]
    return {f"{r.take} {r.frames}": {"points": round(r.points, 3), "joints": round(r.joints, 3)} for r in own}


def worsened(now: Mapping[str, Mapping[str, float]], before: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A sentence for each figure of the baseline that is missing, or worse by more than :data:`WORSE`."""
    said = []
    for key, figures in before.items():
        for name, was in figures.items():
            found = now.get(key, {}).get(name)
            if found is None:
                said.append(f"{key}: no error of the {name} was measured; it was {was:.2f} mm.")
            elif not found <= was * (1 + WORSE):
                said.append(f"{key}: the error of the {name} is {found:.2f} mm; it was {was:.2f} mm.")
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=list(FRAMES))
    parser.add_argument("--long", action="store_true", help=f"also {LONG:,} frames of ours")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds a baseline may take on one take")
    parser.add_argument("--ours", action="store_true", help="no baselines")
    parser.add_argument("--write-readme", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--update-baseline", action="store_true")
    parser.add_argument("--one", nargs=3, metavar=("METHOD", "TAKE", "FRAMES"), help="one run, as json")
    o = parser.parse_args(arguments)
    if o.one:
        print(json.dumps(asdict(one_run(o.one[0], o.one[1], int(o.one[2]), o.budget))))
        return 0
    if o.check or o.update_baseline:
        frames = [n for n in FRAMES if n <= BASELINE_FRAMES]
        now = accuracy(all_runs(frames, o.budget, baselines=False))
        if o.update_baseline:
            write_text(BASELINE, json.dumps(now, indent=2) + "\n")
            return 0
        said = worsened(now, json.loads(BASELINE.read_text()))
        print("\n".join(said) or f"As accurate as {BASELINE.name} says, or more.")
        return bool(said)
    told = machine()
    print(told, flush=True)
    lengths = [*o.frames, LONG] if o.long else o.frames
    tables = [told, fit_tables(all_runs(lengths, o.budget, baselines=not o.ours))]
    if not o.ours:
        tables.append(triangulation_table(triangulation()))
    text = "\n\n".join(tables)
    print(f"\n{text}")
    if o.write_readme:
        write_text(README, between_markers(README.read_text(encoding="utf-8"), "fit", text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
