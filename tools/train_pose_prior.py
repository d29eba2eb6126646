"""Trains the included pose prior: a mixture of 8 Gaussians over the 69 pose parameters of a body, from optical mocap.

    python tools/train_pose_prior.py --cmu PATH/cmu_30fps.npz

makes `mocap/terms/data/pose_prior.npz` again, with its provenance beside it. `--cmu` also takes a BVH file of the same
conversion or a folder of them, and `--amass FOLDER` any folder of AMASS (`poses` and `mocap_framerate` in each npz; the
folder a file lies in is its subject); both may be given several times.

Clips are turned to SMPL's skeleton (tools/cmu.py), brought to about 30 frames a second and mirrored: what the left does
the right may do. Frames in which a joint is far beyond what joints can do are errors of the recording and are dropped.
Subjects named by `--held-out` teach nothing; their frames judge the mixture by its mean log-likelihood, beside one
Gaussian and beside 8 with diagonal covariances.

The mixture is fitted by expectation-maximisation from k-means++, as in SMPLify (Bogo et al., "Keep it SMPL", 2016,
section 3.2), with what makes 8 full covariances explain a new subject better than one does:

- subjects: every subject has a posture and a calibration of his own, and a new one will have another. The covariance of
  the subjects' means is added to that of each component, as in a model with random effects;
- shrinkage: each covariance is drawn toward the mean of them all (Friedman, "Regularized discriminant analysis", 1989);
- loosening: covariances between joints are made a part smaller, since few subjects have habits that not everybody has;
- a floor: a variance added to every parameter, as if each recorded angle were known to that much only. It is larger
  where the conversion lets a joint bend one way only, and larger still where a joint was not recorded at all: CMU's
  clips have no toes, no ends of hands and no collar bones. How the bend of the trunk is shared over the spine is not
  known either, so each frame is shared out at random (`body_rotations` in tools/cmu.py).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy
from cmu import ACKNOWLEDGEMENT, Clip, body_poses, body_rotations, read_bvh, read_packed
from jaxtyping import Float
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from mocap.bodies.load import embedded_arrays
from mocap.bodies.model import SMPL_JOINTS
from mocap.bodies.ranges import joint_ranges
from mocap.geometry import rotations
from mocap.io.atomic import replacing, write_text

OUT = Path(__file__).resolve().parents[1] / "mocap" / "terms" / "data"
JOINTS = SMPL_JOINTS[1:]
FPS = 30.0
HELD_OUT = ("03", "05", "09", "11")
COMPONENTS = 8
SHRINKAGE = 0.5
LOOSENING = 0.2
FLOOR = 4.0
"""[degrees]"""
FLOORS = {"knee": 5.0, "elbow": 5.0, "wrist": 5.0, "collar": 8.0, "foot": 8.0, "hand": 8.0}
"""By part, where it is more: hinges, and what was not recorded [degrees]."""
UNRECORDED = ("collar", "foot", "hand")
"""Parts that are at rest in every frame of CMU's."""
BEYOND = 20.0
"""How far beyond its range (`mocap.bodies.ranges`) a joint of a sound recording is at most [degrees]."""


def part_of(joint: str) -> str:
    """A joint's name without its side."""
    return joint.partition("_")[2] or joint


def _mirror_image(joint: str) -> str:
    return "_".join({"left": "right", "right": "left"}.get(word, word) for word in joint.split("_"))


_MIRRORED = [JOINTS.index(_mirror_image(joint)) for joint in JOINTS]


# -------------------------------------------------------------------------------------------------------------- poses


@dataclass(frozen=True)
class Recording:
    """Poses of one clip at about 30 frames a second."""

    name: str
    subject: str
    poses: Float[np.ndarray, "frames joints 3"]
    """[rad], |angle| <= pi"""


def recording_of(clip: Clip, rng: np.random.Generator) -> Recording:
    """A CMU clip, the bend of the trunk shared out at random over the spine, each frame in its own way."""
    clip = clip[:: max(1, round(clip.fps / FPS))]
    parents = embedded_arrays()["parents"].astype(int)
    low, high = rng.uniform(0.3, 1.0, len(clip.root)), rng.uniform(0.0, 1.0, len(clip.root))
    G = body_rotations(clip, SMPL_JOINTS, parents, low=low, high=high)
    return Recording(clip.name, clip.subject, body_poses(G, parents))


def cmu_recordings(paths: Sequence[Path], rng: np.random.Generator) -> Iterator[Recording]:
    """Clips of packed files, of BVH files and of folders of BVH files."""
    for path in paths:
        if path.suffix == ".npz":
            yield from (recording_of(clip, rng) for clip in read_packed(path))
        else:
            files = sorted(path.rglob("*.bvh")) if path.is_dir() else [path]
            if not files:
                raise SystemExit(f"{path} holds no .bvh file.")
            yield from (recording_of(read_bvh(file), rng) for file in files)


def amass_recordings(folders: Sequence[Path]) -> Iterator[Recording]:
    """Files of AMASS: SMPL-H's or SMPL-X's poses, whose hands are left at rest, or SMPL's own 72 numbers."""
    for folder in folders:
        read = 0
        for file in sorted(folder.rglob("*.npz")):
            with np.load(file) as data:
                rate = next((k for k in ("mocap_framerate", "mocap_frame_rate") if k in data), None)
                if rate is None or "poses" not in data:
                    continue  # shapes of subjects lie among the motions
                poses, fps = data["poses"], float(data[rate])
            if poses.ndim != 2 or poses.shape[1] < 66 or not np.isfinite(poses).all():
                raise SystemExit(f"{file}: poses are {poses.shape}, not finite (frames, 66 or more).")
            poses = poses[:: max(1, round(fps / FPS))].astype(float)
            body = np.zeros((len(poses), 3 * len(JOINTS)))
            width = 69 if poses.shape[1] == 72 else 63
            body[:, :width] = poses[:, 3 : 3 + width]
            read += 1
            vectors = rotations.log(rotations.exp(body.reshape(len(poses), -1, 3)))
            yield Recording(file.stem, file.parent.name, vectors)
        if not read:
            raise SystemExit(f"{folder} holds no .npz with poses and mocap_framerate.")


def sound(recording: Recording) -> Recording:
    """The frames in which no joint is more than `BEYOND` beyond its range."""
    ranges = joint_ranges(JOINTS)
    beyond = np.abs(recording.poses - np.clip(recording.poses, ranges.low, ranges.high))
    return dataclasses.replace(recording, poses=recording.poses[(beyond <= np.radians(BEYOND)).all((1, 2))])


def mirrored(poses: Float[np.ndarray, "frames joints 3"]) -> Float[np.ndarray, "frames joints 3"]:
    """The poses as seen in a mirror: left and right change places, y and z their sign."""
    return poses[:, _MIRRORED] * [1.0, -1.0, -1.0]


def vectors_of(recordings: Sequence[Recording]) -> Float[np.ndarray, "n d"]:
    """All frames as pose vectors, each also mirrored."""
    poses = np.concatenate([r.poses for r in recordings])
    return np.concatenate([poses, mirrored(poses)]).reshape(2 * len(poses), -1)


def between_subjects(recordings: Sequence[Recording]) -> Float[np.ndarray, "d d"]:
    """Covariance of the subjects' mean poses, and their mirror images, each subject counting the same [rad^2]."""
    by_subject = [np.concatenate([r.poses for r in own]) for own in grouped(recordings).values()]
    means = np.stack([poses.mean(0) for poses in by_subject])
    return np.cov(np.concatenate([means, mirrored(means)]).reshape(2 * len(means), -1).T, bias=True)


def grouped(recordings: Sequence[Recording]) -> dict[str, list[Recording]]:
    """By subject."""
    out: dict[str, list[Recording]] = {}
    for recording in recordings:
        out.setdefault(recording.subject, []).append(recording)
    return dict(sorted(out.items()))


# ------------------------------------------------------------------------------------------------------------ mixture


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians."""

    means: Float[np.ndarray, "n d"]
    covars: Float[np.ndarray, "n d d"]
    weights: Float[np.ndarray, " n"]

    def log_terms(self, x: Float[np.ndarray, "samples d"]) -> Float[np.ndarray, "samples n"]:
        """log of weight times density, by component."""
        d = x.shape[1]
        out = np.empty((len(x), len(self.weights)))
        for k, (mean, covariance, weight) in enumerate(zip(self.means, self.covars, self.weights, strict=True)):
            root = np.linalg.cholesky(covariance)
            white = solve_triangular(root, (x - mean).T, lower=True, overwrite_b=True)
            constant = np.log(weight) - np.log(np.diag(root)).sum() - 0.5 * d * np.log(2 * np.pi)
            out[:, k] = constant - 0.5 * np.einsum("ds,ds->s", white, white)
        return out

    def log_likelihood(self, x: Float[np.ndarray, "samples d"]) -> float:
        """Mean over the samples [nats]."""
        return float(np.mean(logsumexp(self.log_terms(x), axis=1)))


def first_centres(x: Float[np.ndarray, "samples d"], n: int, rng: np.random.Generator) -> Float[np.ndarray, "n d"]:
    """k-means++ (Arthur and Vassilvitskii, 2007), then ten rounds of k-means."""
    centres = x[rng.integers(len(x))][None]
    far2 = np.full(len(x), np.inf)
    while len(centres) < n:
        far2 = np.minimum(far2, ((x - centres[-1]) ** 2).sum(1))
        centres = np.concatenate([centres, x[rng.choice(len(x), p=far2 / far2.sum())][None]])
    for _ in range(10):
        belongs = _nearest(x, centres)
        centres = np.stack([x[belongs == k].mean(0) if (belongs == k).any() else centres[k] for k in range(n)])
    return centres


def _nearest(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return ((centres**2).sum(1) - 2 * x @ centres.T).argmin(1)


def fit_mixture(
    x: Float[np.ndarray, "samples d"],
    n: int,
    floor: Float[np.ndarray, " d"],
    *,
    shrinkage: float = 0.0,
    diagonal: bool = False,
    seed: int = 0,
    tolerance: float = 1e-3,
    max_iterations: int = 300,
) -> tuple[Mixture, int]:
    """Expectation-maximisation until the mean log-likelihood of the samples changes by less than `tolerance`.

    Args:
        x: Samples.
        n: Components.
        floor: Variance added to each parameter's in every maximisation step.
        shrinkage: Part of each covariance that is the mean of all.
        diagonal: Whether covariances are diagonal.
        seed: Of the first centres.
        tolerance: [nats]
        max_iterations: Beyond which it gives up.

    Returns:
        The mixture, and the iterations it took.
    """
    belongs = np.eye(n)[_nearest(x, first_centres(x, n, np.random.default_rng(seed)))]
    before = -np.inf
    for iteration in range(1, max_iterations + 1):
        mixture = _maximised(x, belongs, floor, shrinkage, diagonal)
        terms = mixture.log_terms(x)
        total = np.asarray(logsumexp(terms, axis=1, keepdims=True))
        belongs, now = np.exp(terms - total), float(total.mean())
        if abs(now - before) < tolerance:
            return mixture, iteration
        before = now
    raise SystemExit(f"The mixture of {n} did not settle within {max_iterations} iterations.")


def _maximised(x: np.ndarray, belongs: np.ndarray, floor: np.ndarray, shrinkage: float, diagonal: bool) -> Mixture:
    counts = belongs.sum(0)
    if (counts < 1).any():
        raise SystemExit("A component lost all its samples: give more recordings or fewer --components.")
    weights, means = counts / counts.sum(), belongs.T @ x / counts[:, None]
    covars = np.empty((len(counts), x.shape[1], x.shape[1]))
    for k, mean in enumerate(means):
        away = x - mean
        if diagonal:
            covars[k] = np.diag(belongs[:, k] @ away**2 / counts[k])
        else:
            covars[k] = (away * belongs[:, k, None]).T @ away / counts[k]
    shared = np.einsum("k,kij->ij", weights, covars)
    return Mixture(means, (1 - shrinkage) * covars + shrinkage * shared + np.diag(floor), weights)


# ------------------------------------------------------------------------------------------------------------ program


def loosened(covars: Float[np.ndarray, "n d d"], part: float) -> Float[np.ndarray, "n d d"]:
    """The covariances between different joints made smaller by a part of them."""
    same = np.kron(np.eye(len(JOINTS)), np.ones((3, 3)))
    return covars * (1 - part + part * same)


def floor_of(degrees: float) -> Float[np.ndarray, " d"]:
    """The covariance floor of each parameter [rad^2]."""
    return np.repeat([np.radians(max(degrees, FLOORS.get(part_of(joint), 0.0))) ** 2 for joint in JOINTS], 3)


def judged(mixture: Mixture, recordings: Sequence[Recording]) -> dict[str, float]:
    """Mean log-likelihood a frame of each subject, of all frames, and the mean of the subjects.

    Joints that CMU did not record are left out: what is said of them is the floor alone.
    """
    recorded = np.repeat([part_of(joint) not in UNRECORDED for joint in JOINTS], 3)
    part = Mixture(mixture.means[:, recorded], mixture.covars[:, recorded][:, :, recorded], mixture.weights)
    out = {s: part.log_likelihood(vectors_of(own)[:, recorded]) for s, own in grouped(recordings).items()}
    return {
        "all frames": part.log_likelihood(vectors_of(recordings)[:, recorded]),
        "mean of subjects": float(np.mean(list(out.values()))),
        **out,
    }


def table(judgements: Mapping[str, Mapping[str, float]]) -> list[str]:
    """One line a mixture."""
    columns = list(next(iter(judgements.values())))
    lines = ["| mean log-likelihood a frame [nats] | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    return lines + [f"| {n} | " + " | ".join(f"{r[c]:.1f}" for c in columns) + " |" for n, r in judgements.items()]


def write_prior(out: Path, mixture: Mixture, floor: np.ndarray, facts: Mapping[str, object], lines: list[str]) -> None:
    """Writes `pose_prior.npz`, `pose_prior.json` (provenance) and `README.md`."""
    with replacing(out / "pose_prior.npz") as temporary:
        np.savez_compressed(
            temporary,
            means=mixture.means.astype(np.float32),
            covars=mixture.covars.astype(np.float32),
            weights=mixture.weights.astype(np.float32),
            joint_names=np.array(JOINTS),
            floor=np.sqrt(floor).astype(np.float32),
        )
    write_text(out / "pose_prior.json", json.dumps(facts, indent=1) + "\n")
    write_text(out / "README.md", README.format(table="\n".join(lines), **facts))


README = """# The included pose prior

`pose_prior.npz` is a mixture of {components} Gaussians over body poses: the rotation vectors [rad] of the {joints}
joints of SMPL's skeleton after the root. Loss `prior` uses it unless a file is named. It was made by
`tools/train_pose_prior.py`; `pose_prior.json` has the options, versions and figures.

| array | meaning |
|---|---|
| `means` (n, 69), `covars` (n, 69, 69), `weights` (n) | the mixture, as in SMPLify's gmm_08.pkl |
| `joint_names` (23) | which joint each three parameters turn: a body is matched by name |
| `floor` (69) | the standard deviation added to each parameter's [rad] |

## From

{sources}: {train_frames} frames at 30 a second, and their mirror images, of subjects {train_subjects}.
Subjects {held_out_subjects} ({held_out_frames} frames) were held out and only judge.
{dropped_frames} frames in which a joint is more than {beyond:g} degrees beyond its anatomical range were dropped as
errors of the recording.

{acknowledgement}

The clips may be used freely, also commercially; the motion data itself may not be resold, and none of it is here: a
mixture holds means and covariances only. BVH conversion of the clips by B. Hahne. The mixture itself is under the
project's licence.

## Floor, shrinkage, subjects, loosening

Of each covariance the part {shrinkage:g} is the mean of all {components}. The floor, added to every variance,
is ({floor_degrees:g} degrees)^2; {floors}.
To this the covariance of the subjects' mean poses is added: a new person has a posture of his own. Covariances between
different joints are then made smaller by the part {loosening:g}.

CMU's clips have no toes, no ends of hands and no collar bones (they are at rest in every frame), so of those the
mixture knows the floor alone; knees, elbows and wrists are hinges in their conversion to BVH. The bend of the trunk is
known at two bones and was shared out over the three joints of the spine at random.

## Held out

{table}

Over the joints that were recorded; higher is better. Mirror images count as frames.
Floor, shrinkage and loosening were chosen by looking at such tables, of these and of other held-out subjects.
"""


def main() -> None:
    """Reads the options, trains, judges and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cmu", type=Path, action="append", default=[], help="packed .npz, .bvh or a folder of .bvh")
    parser.add_argument("--amass", type=Path, action="append", default=[], help="a folder of AMASS")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--held-out", nargs="*", default=list(HELD_OUT), metavar="SUBJECT")
    parser.add_argument("--components", type=int, default=COMPONENTS)
    parser.add_argument("--shrinkage", type=float, default=SHRINKAGE)
    parser.add_argument("--loosening", type=float, default=LOOSENING)
    parser.add_argument("--floor", type=float, default=FLOOR, help="[degrees]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judge-only", action="store_true", help="print the figures and write nothing")
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    raw = [*cmu_recordings(asked.cmu, rng), *amass_recordings(asked.amass)]
    recordings = [sound(recording) for recording in raw]
    train = [r for r in recordings if r.subject not in asked.held_out and len(r.poses)]
    held_out = [r for r in recordings if r.subject in asked.held_out and len(r.poses)]
    if not train or not held_out:
        known = ", ".join(sorted({r.subject for r in recordings})) or "none: give --cmu or --amass"
        raise SystemExit(f"--held-out must leave subjects to learn from and name some to judge by; known are {known}.")
    x, floor = vectors_of(train), floor_of(asked.floor)
    n, seed = asked.components, asked.seed
    shrunk, iterations = fit_mixture(x, n, floor, shrinkage=asked.shrinkage, seed=seed)
    subjects = dataclasses.replace(shrunk, covars=shrunk.covars + between_subjects(train))
    mixture = dataclasses.replace(shrunk, covars=loosened(subjects.covars, asked.loosening))
    mixtures = {
        "1 Gaussian": fit_mixture(x, 1, floor, seed=seed)[0],
        f"{n} diagonal": fit_mixture(x, n, floor, diagonal=True, seed=seed)[0],
        f"{n} full": fit_mixture(x, n, floor, seed=seed)[0],
        f"{n} full, shrinkage": shrunk,
        f"{n} full, shrinkage, subjects": subjects,
        f"{n} full, shrinkage, subjects, loosening (this file)": mixture,
    }
    judgements = {name: judged(each, held_out) for name, each in mixtures.items()}
    lines = table(judgements)
    print("\n".join(lines))
    if asked.judge_only:
        return
    floors: dict[str, list[str]] = {}
    for part, degrees in FLOORS.items():
        floors.setdefault(f"{max(degrees, asked.floor):g}", []).append(part)
    facts = {
        "sources": " and ".join(
            ["CMU Graphics Lab Motion Capture Database"] * bool(asked.cmu) + ["AMASS"] * bool(asked.amass)
        ),
        "acknowledgement": ACKNOWLEDGEMENT if asked.cmu else "",
        "train_subjects": ", ".join(sorted({r.subject for r in train})),
        "train_frames": len(x) // 2,
        "held_out_subjects": ", ".join(sorted({r.subject for r in held_out})),
        "held_out_frames": sum(len(r.poses) for r in held_out),
        "dropped_frames": sum(len(r.poses) for r in raw) - sum(len(r.poses) for r in recordings),
        "beyond": BEYOND,
        "components": asked.components,
        "joints": len(JOINTS),
        "shrinkage": asked.shrinkage,
        "loosening": asked.loosening,
        "floor_degrees": asked.floor,
        "floors": ", ".join(f"({d} degrees)^2 for {', '.join(p)}" for d, p in floors.items()),
        "iterations": iterations,
        "seed": asked.seed,
        "log_likelihood": {n: {k: round(v, 2) for k, v in j.items()} for n, j in judgements.items()},
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
    }
    write_prior(asked.out, mixture, floor, facts, lines)
    print(f"{asked.out / 'pose_prior.npz'}: {(asked.out / 'pose_prior.npz').stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
