"""Fits the capsules of a body: 20 of them as linear functions of its betas, for the loss `capsules`.

    python tools/fit_capsules.py                                                # the included body, three genders
    python tools/fit_capsules.py --model SMPL_NEUTRAL.pkl --out capsules.npz     # any body in SMPL's format

As Bogo et al., "Keep it SMPL", ECCV 2016, section 3.2 describe it: capsules are attached to the joints by hand; for
many shapes of the unposed body their radii and axis lengths are brought to the least two-way distance between capsules
and surface (each part's surface to its capsule, the capsule's surface to the body's), by gradients; from these, ridge
regression gives them for any betas; and all is done once more from what the regression says. In addition the axis may
shift as a whole, for joints do not lie in the middle of the flesh (`--no-shift` leaves them on the joints), and left
and right are made mirror images.

Distances on shapes that taught nothing are printed for every step and stored with the provenance.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from mocap.bodies.capsules import CAPSULES, INCLUDED
from mocap.bodies.load import GENDERS, load_body
from mocap.bodies.model import BodyModel
from mocap.errors import MocapError
from mocap.io.atomic import replacing, write_text

SHAPES = 60
HELD_OUT = 20
RIDGE = 1.0
"""Of the regression, in shapes: betas are standard normal."""
SURFACE = 40000
"""Points on the surface, evenly spread: 7 mm apart."""
PART = 400
"""Points of one part's surface that pull on its capsule."""
STATURE = 1.7
"""[m] of the body the labels are for; others have them in proportion."""

Point = tuple[str, tuple[float, float, float]]
# Of each capsule both ends of its axis, as a joint and an offset from it [m] in the rest pose (x to the left, y up, z
# to the front), and the radius [m]. Left side; the right one is its mirror image. The trunk is wider than it is deep,
# so its capsules lie across.
LABELS: dict[str, tuple[Point, Point, float]] = {
    "pelvis": (("left_hip", (-0.02, 0.03, 0.0)), ("right_hip", (0.02, 0.03, 0.0)), 0.10),
    "spine1": (("spine1", (0.05, 0.03, 0.04)), ("spine1", (-0.05, 0.03, 0.04)), 0.10),
    "spine2": (("spine2", (0.06, 0.05, 0.04)), ("spine2", (-0.06, 0.05, 0.04)), 0.10),
    "spine3": (("spine3", (0.07, 0.05, 0.03)), ("spine3", (-0.07, 0.05, 0.03)), 0.10),
    "neck": (("neck", (0.0, 0.0, 0.0)), ("head", (0.0, 0.0, 0.0)), 0.05),
    "head": (("head", (0.0, 0.03, 0.03)), ("head", (0.0, 0.10, 0.03)), 0.08),
    "left_collar": (("left_collar", (0.03, 0.0, -0.01)), ("left_shoulder", (0.0, 0.0, 0.0)), 0.06),
    "left_hip": (("left_hip", (0.0, 0.0, 0.0)), ("left_knee", (0.0, 0.0, 0.0)), 0.07),
    "left_knee": (("left_knee", (0.0, 0.0, 0.0)), ("left_ankle", (0.0, 0.0, 0.0)), 0.05),
    "left_ankle": (("left_ankle", (0.0, -0.05, -0.02)), ("left_foot", (0.0, 0.0, 0.0)), 0.035),
    "left_shoulder": (("left_shoulder", (0.0, 0.0, 0.0)), ("left_elbow", (0.0, 0.0, 0.0)), 0.045),
    "left_elbow": (("left_elbow", (0.0, 0.0, 0.0)), ("left_wrist", (0.0, 0.0, 0.0)), 0.035),
    "left_wrist": (("left_wrist", (0.02, 0.0, 0.0)), ("left_hand", (-0.02, 0.0, 0.0)), 0.03),
}
STAND_INS = {
    "left_hand": "left_middle1", "right_hand": "right_middle1",
    "jaw": "head", "left_eye_smplhf": "head", "right_eye_smplhf": "head",
}  # fmt: skip
"""For a joint that a body has not, or that has no capsule of its own though it is no finger or toe."""


def _label(name: str) -> tuple[Point, Point, float]:
    if not name.startswith("right_"):
        return LABELS[name]
    a, b, radius = LABELS["left_" + name.removeprefix("right_")]
    mirrored = [("right_" + j.removeprefix("left_"), (-x, y, z)) for j, (x, y, z) in (a, b)]
    return mirrored[0], mirrored[1], radius


def both_sides(values: Float[np.ndarray, "capsules 7 *rest"]) -> Float[np.ndarray, "capsules 7 *rest"]:
    """The mean with the mirror image: where an arm's capsule ends is uncertain by more than bodies are lopsided."""
    swap = {"left": "right", "right": "left"}
    other = [CAPSULES.index("_".join(swap.get(w, w) for w in name.split("_"))) for name in CAPSULES]
    image = values[other].copy()
    image[:, [0, 3]] *= -1
    across = [CAPSULES.index(name) for name in ("pelvis", "spine1", "spine2", "spine3")]  # from the left to the right
    image[across] = image[across][:, [3, 4, 5, 0, 1, 2, 6]]
    return 0.5 * (values + image)


@dataclass(frozen=True, eq=False)
class Surface:
    """Points spread evenly over a body's skin, the same ones on every shape."""

    points: csr_array
    """(points, vertices)"""
    part: Int[np.ndarray, " points"]
    """The place of its capsule among `CAPSULES`; -1: none."""


def surface_of(body: BodyModel, seed: int = 0) -> Surface:
    """Points by area, and whose they are: the leading joint's. Eyeballs, pieces by themselves, get none."""
    rng = np.random.default_rng(seed)
    corners = body.v_template[body.faces].astype(float)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1) / 2
    edges = csr_array(
        (np.ones(3 * len(body.faces)), (body.faces.ravel(), np.roll(body.faces, 1, axis=1).ravel())),
        shape=(len(body.v_template),) * 2,
    )
    _, piece = connected_components(edges, directed=False)
    area[piece[body.faces[:, 0]] != np.bincount(piece).argmax()] = 0
    along = np.cumsum(area)
    face = np.searchsorted(along, (np.arange(SURFACE) + rng.random(SURFACE)) * along[-1] / SURFACE)
    u = np.sort(rng.random((SURFACE, 2)), axis=1)
    shares = np.stack([u[:, 0], u[:, 1] - u[:, 0], 1 - u[:, 1]], axis=1)
    rows = np.repeat(np.arange(SURFACE), 3)
    points = csr_array((shares.ravel(), (rows, body.faces[face].ravel())), shape=(SURFACE, len(body.v_template)))
    names = [STAND_INS.get(n, n) if n not in CAPSULES else n for n in body.joint_names]
    of_joint = np.array([CAPSULES.index(n) if n in CAPSULES else -1 for n in names])
    return Surface(points, of_joint[(points @ body.weights).argmax(1)])


def labelled(
    body: BodyModel, J: Float[np.ndarray, "joints 3"], stature: float
) -> tuple[Float[np.ndarray, "capsules 2 3"], Float[np.ndarray, " capsules"]]:
    """The capsules as they were labelled by hand: ends and radii [m]."""

    def place(point: Point) -> np.ndarray:
        name = point[0] if point[0] in body.joint_names else STAND_INS.get(point[0], point[0])
        if name not in body.joint_names:
            raise SystemExit(f'Body "{body.name}" has no joint {point[0]}: capsules are for whole bodies.')
        return J[body.joint_names.index(name)] + np.array(point[1]) * (stature / STATURE)

    labels = [_label(name) for name in CAPSULES]
    ends = np.array([[place(a), place(b)] for a, b, _ in labels])
    return ends, np.array([radius for _, _, radius in labels]) * (stature / STATURE)


# ---------------------------------------------------------------------------------------------------------- distances


def _capsule_surface() -> tuple[np.ndarray, np.ndarray]:
    """A capsule's surface as points: where along the half axis (-1 to 1), and the direction from there by the axis."""
    rings = [(s, 0.0) for s in np.linspace(-0.9, 0.9, 6)] + [(e, e * z) for e in (-1, 1) for z in (0.15, 0.5, 0.85)]
    along, way = [], []
    for i, (s, z) in enumerate(rings):
        angle = 2 * np.pi * (np.arange(10) + 0.5 * (i % 2)) / 10
        side = np.sqrt(1 - z * z)
        way.append(np.stack([side * np.cos(angle), side * np.sin(angle), np.full(10, z)], axis=1))
        along.append(np.full(10, s))
    return np.concatenate(along), np.concatenate(way)


ALONG, WAY = _capsule_surface()


@dataclass(frozen=True, eq=False)
class Target:
    """One shaped body that capsules are fitted to."""

    points: Float[np.ndarray, "points 3"]
    part: Int[np.ndarray, " points"]
    tree: KDTree
    """Of the whole surface, fingers and toes included."""

    @classmethod
    def of(cls, vertices: np.ndarray, surface: Surface, most: int) -> Target:
        """With at most so many points of each part pulling on its capsule."""
        points = surface.points @ vertices
        kept = [np.flatnonzero(surface.part == c) for c in range(len(CAPSULES))]
        kept = [own[:: max(1, -(-len(own) // most))] for own in kept]
        if not all(map(len, kept)):
            bare = ", ".join(n for n, own in zip(CAPSULES, kept, strict=True) if not len(own))
            raise SystemExit(f"No surface follows {bare}: no capsule can be fitted there.")
        part = np.repeat(np.arange(len(kept)), [len(own) for own in kept])
        return cls(points[np.concatenate(kept)], part, KDTree(points))


def _frames(axis: Float[np.ndarray, "capsules 3"]) -> Float[np.ndarray, "capsules 3 3"]:
    """Right-handed frames whose third direction is the axis: rows."""
    least = np.eye(3)[np.abs(axis).argmin(1)]
    x = np.cross(axis, least)
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    return np.stack([x, np.cross(axis, x), axis], axis=1)


def distances(
    target: Target,
    centre: Float[np.ndarray, "capsules 3"],
    axis: Float[np.ndarray, "capsules 3"],
    half: Float[np.ndarray, " capsules"],
    radius: Float[np.ndarray, " capsules"],
) -> tuple[np.ndarray, ...]:
    """Both ways [m], with what their derivatives need.

    Returns:
        Signed distance of each of the target's points from the surface of its capsule, the unit direction from the axis
        and how its foot there moves with the half length; then the same of the capsules' points (capsules, own points)
        from the nearest point of the surface.
    """
    c, u = centre[target.part], axis[target.part]
    reach = half[target.part]
    foot = np.clip(((target.points - c) * u).sum(1), -reach, reach)
    away = target.points - c - foot[:, None] * u
    far = np.linalg.norm(away, axis=1)
    outward = away / np.maximum(far, 1e-9)[:, None]
    slide = np.where(np.abs(foot) >= reach, np.sign(foot), 0.0)
    turned = WAY @ _frames(axis)
    own = centre[:, None] + (ALONG * half[:, None])[..., None] * axis[:, None] + radius[:, None, None] * turned
    near, which = target.tree.query(own.reshape(-1, 3))
    pull = (own.reshape(-1, 3) - target.tree.data[which]) / np.maximum(near, 1e-9)[:, None]
    return far - radius[target.part], outward, slide, near.reshape(own.shape[:2]), pull.reshape(own.shape), turned


def axes(
    ends: Float[np.ndarray, "capsules 2 3"],
) -> tuple[Float[np.ndarray, "capsules 3"], Float[np.ndarray, "capsules 3"], Float[np.ndarray, " capsules"]]:
    """Centres, directions and half lengths; a capsule that is a ball has any direction."""
    span = ends[:, 1] - ends[:, 0]
    length = np.linalg.norm(span, axis=-1)
    ball = length < 1e-6
    span[ball] = [1, 0, 0]
    return ends.mean(1), span / np.where(ball, 1, length)[:, None], length / 2


def fitted(
    target: Target,
    ends: Float[np.ndarray, "capsules 2 3"],
    radii: Float[np.ndarray, " capsules"],
    axis: Float[np.ndarray, "capsules 3"],
    *,
    shift: bool = True,
) -> tuple[Float[np.ndarray, "capsules 2 3"], Float[np.ndarray, " capsules"]]:
    """Ends and radii of the least two-way distance, by L-BFGS: the sum over capsules of the mean squares both ways.

    Free are the half lengths, the radii and, with `shift`, where the axes are; their directions `axis` are given, for a
    capsule that has become a ball has none.
    """
    n = len(radii)
    start, _, half = axes(ends)
    share = 1.0 / np.bincount(target.part, minlength=n)[target.part]

    def cost(x: np.ndarray) -> tuple[float, np.ndarray]:
        x = x.reshape(n, 5)
        centre, h, r = start + x[:, :3], x[:, 3], x[:, 4]
        out, outward, slide, near, pull, turned = distances(target, centre, axis, h, r)
        by_out = 2 * share * out
        gradient = np.zeros((n, 5))
        for k in range(3):
            gradient[:, k] = -np.bincount(target.part, by_out * outward[:, k], n)
        gradient[:, 3] = -np.bincount(target.part, by_out * slide * (outward * axis[target.part]).sum(1), n)
        gradient[:, 4] = -np.bincount(target.part, by_out, n)
        by_point = (2 / near.shape[1]) * near[..., None] * pull
        gradient[:, :3] += by_point.sum(1)
        gradient[:, 3] += np.einsum("cpk,ck,p->c", by_point, axis, ALONG)
        gradient[:, 4] += np.einsum("cpk,cpk->c", by_point, turned)
        if not shift:
            gradient[:, :3] = 0
        return 1e4 * float((share * out**2).sum() + (near**2).mean(1).sum()), 1e4 * gradient.ravel()

    x0 = np.concatenate([np.zeros((n, 3)), half[:, None], radii[:, None]], axis=1)
    bounds = [(-0.1, 0.1)] * 3 + [(0.0, 0.5), (0.01, 0.3)]
    x = minimize(cost, x0.ravel(), jac=True, method="L-BFGS-B", bounds=bounds * n, options={"maxiter": 60}).x
    x = x.reshape(n, 5)
    centre, along = start + x[:, :3], x[:, 3:4] * axis
    return np.stack([centre - along, centre + along], axis=1), x[:, 4]


def measured(
    target: Target, ends: Float[np.ndarray, "capsules 2 3"], radii: Float[np.ndarray, " capsules"]
) -> Float[np.ndarray, "capsules 2"]:
    """Mean distances of each part [mm]: its surface to its capsule, the capsule's surface to the body's."""
    out, _, _, near, *_ = distances(target, *axes(ends), radii)
    counts = np.bincount(target.part, minlength=len(radii))
    to_capsule = np.bincount(target.part, np.abs(out), len(radii)) / counts
    return 1e3 * np.stack([to_capsule, near.mean(1)], axis=1)


# ---------------------------------------------------------------------------------------------------------------- body

Shaped = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def fit_body(
    body: BodyModel, *, shapes: int = SHAPES, held_out: int = HELD_OUT, seed: int = 0, shift: bool = True
) -> tuple[Float[np.ndarray, "capsules 7"], Float[np.ndarray, "capsules 7 betas"], dict[str, dict[str, float]]]:
    """Capsules of one body by its betas, and their mean distances on held-out shapes at every step.

    Returns:
        Mean and change with each beta of (both ends from the joint, radius) [m]; distances [mm] by step: labelled by
        hand, after round 1, after round 2.
    """
    betas = np.random.default_rng(seed).normal(size=(shapes + held_out, body.n_betas))
    surface = surface_of(body, seed)
    rest = [body.rest(b).astype(float) for b in betas]
    J = np.array([body.J_regressor @ v for v in rest])
    by_hand = [labelled(body, j, float(np.ptp(v[:, 1]))) for j, v in zip(J, rest, strict=True)]
    directions = [axes(ends)[1] for ends, _ in by_hand[:shapes]]
    joint = np.array([body.joint_names.index(name) for name in CAPSULES])
    base = J[:, joint]
    teaching = [Target.of(v, surface, PART) for v in rest[:shapes]]
    judging = [Target.of(v, surface, SURFACE) for v in rest[shapes:]]
    report = {"labelled": _told(judging, by_hand[shapes:])}
    design = np.concatenate([np.ones((len(betas), 1)), betas], axis=1)
    ridge = np.diag([0.0] + [RIDGE] * body.n_betas)
    now = by_hand
    coefficients = np.zeros((len(CAPSULES), 7, 1 + body.n_betas))
    for step in ("round 1", "round 2"):
        best = [fitted(t, *n, a, shift=shift) for t, n, a in zip(teaching, now[:shapes], directions, strict=True)]
        values = np.stack(
            [
                np.concatenate([(ends - b[:, None]).reshape(-1, 6), radii[:, None]], axis=1)
                for (ends, radii), b in zip(best, base[:shapes], strict=True)
            ]
        )
        X = design[:shapes]
        solved = np.linalg.solve(X.T @ X + ridge, X.T @ values.reshape(shapes, -1))
        coefficients = both_sides(solved.T.reshape(len(CAPSULES), 7, -1))
        said = np.einsum("cvb,nb->ncv", coefficients, design)
        now = [(s[:, :6].reshape(-1, 2, 3) + b[:, None], s[:, 6]) for s, b in zip(said, base, strict=True)]
        report[step] = _told(judging, now[shapes:])
    return coefficients[..., 0], coefficients[..., 1:], report


def _told(targets: Sequence[Target], capsules: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    each = np.mean([measured(t, *c) for t, c in zip(targets, capsules, strict=True)], axis=0)
    to_capsule, to_surface = each.mean(0)
    return {
        "both_ways_mm": round(float(each.mean()), 2),
        "surface_to_capsule_mm": round(float(to_capsule), 2),
        "capsule_to_surface_mm": round(float(to_surface), 2),
    }


def write_capsules(path: Path, bodies: Sequence[BodyModel], fits: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """The file `mocap.bodies.capsules.load_capsules` reads."""
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            names=np.array(CAPSULES),
            hashes=np.array([b.content_hash for b in bodies]),
            mean=np.array([mean for mean, _ in fits], dtype=np.float32),
            by_shape=np.array([by_shape for _, by_shape in fits], dtype=np.float32),
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help='a body in SMPL\'s format, or "embedded"')
    parser.add_argument("--gender", choices=GENDERS, help="of the included body or in a folder; not given: all of it")
    parser.add_argument("--out", type=Path, help="the file to write; provenance goes beside it")
    parser.add_argument("--shapes", type=int, default=SHAPES, help="that capsules are fitted to (default: %(default)s)")
    parser.add_argument("--held-out", type=int, default=HELD_OUT, help="that judge them (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of every random draw")
    parser.add_argument(
        "--shift", action=argparse.BooleanOptionalAction, default=True, help="axes may shift as a whole"
    )
    asked = parser.parse_args()
    included = asked.model == "embedded"
    if asked.out is None and (asked.gender or not included):
        parser.error("say with --out where the capsules of one body go.")
    out = asked.out or INCLUDED
    genders = [asked.gender] if asked.gender else list(GENDERS) if included else ["neutral"]
    try:
        bodies = [load_body(asked.model, gender=g) for g in genders]
    except MocapError as error:
        raise SystemExit(str(error)) from error
    fits, judged = [], {}
    for body in bodies:
        began = time.perf_counter()
        mean, by_shape, report = fit_body(
            body, shapes=asked.shapes, held_out=asked.held_out, seed=asked.seed, shift=asked.shift
        )
        fits.append((mean, by_shape))
        judged[body.content_hash] = {"body": body.name, "gender": body.gender, "held_out": report}
        print(f"{body.name} {body.gender} ({body.content_hash}), {time.perf_counter() - began:.0f} s")
        for step, figures in report.items():
            print(f"  {step:9s}" + ", ".join(f"{k.removesuffix('_mm')} {v:.2f} mm" for k, v in figures.items()))
    write_capsules(out, bodies, fits)
    facts = {
        "made_by": "tools/fit_capsules.py",
        "from": "the included body" if included else "a body of the user's",
        "options": {"shapes": asked.shapes, "held_out": asked.held_out, "seed": asked.seed, "shift": asked.shift},
        "ridge": RIDGE,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
        "mean_distance_on_held_out_shapes": judged,
    }
    write_text(out.with_name(f"{out.stem}_provenance.json"), json.dumps(facts, indent=2) + "\n")
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
