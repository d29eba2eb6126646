"""Renders a take with its truth: a body with a real motion in a furnished room, seen by calibrated cameras.

    python tools/make_example.py --cmu PATH/cmu_30fps.npz --out data/examples/dance

makes the take in data/examples (the defaults are the ones it was made with; the same numbers come out again, the
videos up to the encoder's version). Other clips, bodies and cameras:

    python tools/make_example.py --cmu ... --clip 13_26 --frames 40 220 --gender female --betas-seed 3 --rig-seed 3 \
        --out /tmp/other

writes the same layout: `videos/<view>.mp4`, `intri.yml`, `extri.yml`, `truth.npz`, `README.md`. With `--hands` the
fingers move too (`gestures.py`), and the truth is of the body with hands.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from cmu import clip_motion, cut
from gestures import finger_poses

from mocap.bodies.kinematics import Skinner, keypoints_of
from mocap.bodies.load import load_body
from mocap.bodies.model import BodyModel
from mocap.detect import stored
from mocap.detect.detectors.base import Detector
from mocap.detect.detectors.mediapipe import Mediapipe
from mocap.detect.run import detect_views
from mocap.geometry import rotations
from mocap.geometry.cameras import Camera, Rig
from mocap.io.calibration import write_calibration
from mocap.io.footage import discover_views, open_view
from mocap.io.results import result_of, write_result_npz
from mocap.io.video_out import VideoWriter
from mocap.render.mesh import Light, Mesh, Surface
from mocap.render.shadow import shadow_of
from mocap.render.software import SoftwareRasteriser
from mocap.skeletons import BODY25, MEDIAPIPE75
from mocap.take import Keypoints3D, Motion, Person, RunContext, Take

LAMP = Light(towards=(0.36, -0.30, 0.883), key=0.62, sky=0.40, bounce=0.22, gleam=0.04, rim=0.05)
ROOM_LOW, ROOM_HIGH = np.array([-5.2, -4.6, 0.0]), np.array([5.2, 4.6, 3.0])

# ------------------------------------------------------------------------------------------------------------- rig


def make_rig(seed: int | None, size: tuple[int, int], views: int) -> Rig:
    """Cameras on stands round the middle of the room; the example's own rig without a seed, else a random one."""
    rng = np.random.default_rng(0 if seed is None else seed)
    azimuth = np.array([38.0, 121.0, 218.0, 309.0]) if seed is None else np.arange(views) * 360 / views
    cameras = []
    for i, degrees in enumerate(azimuth[:views]):
        a = np.radians(degrees + (0 if seed is None else rng.uniform(-25, 25)))
        radius, height = rng.uniform(3.9, 4.3), rng.uniform(1.15, 2.25)
        eye = np.array([radius * np.cos(a), radius * np.sin(a), height])
        target = np.array([*rng.uniform(-0.1, 0.1, 2), rng.uniform(0.85, 0.95)])
        forward = (target - eye) / np.linalg.norm(target - eye)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        R = rotations.exp(np.array([0, 0, np.radians(rng.uniform(-1.5, 1.5))])) @ np.stack(
            [right, np.cross(forward, right), forward]
        )
        focal = size[0] * rng.uniform(0.74, 0.80)
        centre = (np.array(size) - 1) / 2 + rng.uniform(-0.01, 0.01, 2) * size[0]
        K = np.array([[focal, 0, centre[0]], [0, focal * rng.uniform(0.998, 1.002), centre[1]], [0, 0, 1]])
        distortion = np.array([rng.uniform(-0.16, -0.08), rng.uniform(0.02, 0.06), *rng.uniform(-8e-4, 8e-4, 2), 0.0])
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R, -R @ eye
        cameras.append(Camera(f"{i + 1:02d}", K, distortion, T, size))
    return Rig(tuple(cameras), has_floor=True)


# ------------------------------------------------------------------------------------------------------------ room


def clouds(rng: np.random.Generator, side: int = 1024) -> np.ndarray:
    """A tile of smooth noise in [0, 1] with detail at every scale, which repeats without seams."""
    total = np.zeros((side, side), np.float32)
    for octave in range(2, 10):
        cells = 2**octave
        grid = np.pad(rng.standard_normal((cells, cells)).astype(np.float32), 2, mode="wrap")
        big = cv2.resize(grid, (side * (cells + 4) // cells,) * 2, interpolation=cv2.INTER_CUBIC)
        start = 2 * side // cells
        total += big[start : start + side, start : start + side] * 0.62**octave
    low, high = np.percentile(total, [1, 99])
    return np.clip((total - low) / (high - low), 0, 1)


def sample(tile: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The tile at (u, v) in units of its side."""
    side = len(tile)
    return tile[(v * side).astype(np.int32) % side, (u * side).astype(np.int32) % side]


def hashed(*numbers: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each brick or plank."""
    total = sum(n * k for n, k in zip(numbers, (12.9898, 78.233), strict=False))
    return np.mod(np.sin(total) * 43758.5453, 1.0)


@dataclass(frozen=True)
class Box:
    """Furniture."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    colour: tuple[float, float, float]
    grain: float = 0.25


FURNITURE = (
    Box((-5.1, -1.3, 0), (-4.62, 0.9, 0.78), (0.50, 0.36, 0.24)),
    Box((-5.1, -0.9, 0.78), (-4.75, -0.3, 1.12), (0.24, 0.40, 0.42), 0.1),
    Box((-5.1, 0.2, 0.78), (-4.8, 0.55, 1.05), (0.78, 0.66, 0.30), 0.1),
    Box((4.45, 2.9, 0), (5.15, 3.6, 0.62), (0.62, 0.47, 0.31)),
    Box((4.55, 3.7, 0), (5.1, 4.3, 1.05), (0.55, 0.41, 0.28)),
    Box((4.6, 3.0, 0.62), (5.0, 3.45, 0.95), (0.66, 0.22, 0.18), 0.1),
    Box((-1.6, 4.15, 0), (1.0, 4.55, 0.46), (0.30, 0.33, 0.40), 0.15),
    Box((2.0, 4.3, 0), (3.2, 4.55, 1.9), (0.72, 0.70, 0.66), 0.1),
    Box((-3.4, -4.5, 0), (-2.2, -4.1, 1.3), (0.42, 0.30, 0.22)),
    Box((0.6, -4.55, 0), (2.8, -4.1, 0.42), (0.55, 0.52, 0.47), 0.15),
    Box((-4.9, 3.4, 0), (-4.2, 4.2, 0.5), (0.35, 0.42, 0.28), 0.2),
)


@dataclass(frozen=True)
class Backdrop:
    """What a camera sees of the empty room."""

    picture: np.ndarray
    """Linear light, (height, width, 3)."""
    floor_x: np.ndarray
    floor_y: np.ndarray
    """The floor point [m] each pixel sees, far away where it sees something else."""


def backdrop(camera: Camera, finer: int) -> Backdrop:
    """Traces the room through the camera's own lens, `finer` x `finer` rays a pixel."""
    width, height = camera.size
    fine = camera.scaled_to((width * finer, height * finer))
    point, normal, item = _trace(fine)
    light = np.full(point.shape[:2], 0.34, np.float32)
    for lamp in np.array([[1.6, -1.3, 2.9], [-2.2, 1.8, 2.9]], np.float32):
        to = lamp - point
        far2 = np.einsum("...i,...i->...", to, to)
        light += 1.25 * np.maximum(np.einsum("...i,...i->...", to, normal) / np.sqrt(far2), 0) / (1 + 0.28 * far2)
    linear = _colours(point, normal, item) * light[..., None]
    picture = cv2.resize(linear, (width, height), interpolation=cv2.INTER_AREA)
    point, _, _ = _trace(camera)
    floor = point[..., 2] < 1e-3
    return Backdrop(picture, *(np.where(floor, point[..., i], np.float32(1e3)) for i in (0, 1)))


def _trace(camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest surface behind each pixel: point [m], normal, and which furniture (-1: the room itself)."""
    width, height = camera.size
    u, v = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
    ray = camera.rays(np.stack([u, v], axis=-1)).astype(np.float32)
    ray = np.where(np.abs(ray) < 1e-7, np.float32(1e-7), ray)
    eye = camera.centre.astype(np.float32)
    inverse = 1 / ray
    far = (np.where(ray > 0, ROOM_HIGH, ROOM_LOW).astype(np.float32) - eye) * inverse
    axis, t = far.argmin(-1), far.min(-1)
    item = np.full(t.shape, -1, np.int8)
    for i, box in enumerate(FURNITURE):
        a, b = ((np.array(corner, np.float32) - eye) * inverse for corner in (box.low, box.high))
        enter, leave = np.minimum(a, b), np.maximum(a, b).min(-1)
        nearest = enter.max(-1)
        hit = (nearest < leave) & (nearest > 0) & (nearest < t)
        t[hit], axis[hit], item[hit] = nearest[hit], enter[hit].argmax(-1), i
    normal = np.zeros_like(ray)
    np.put_along_axis(normal, axis[..., None], -np.sign(np.take_along_axis(ray, axis[..., None], -1)), -1)
    return eye + t[..., None] * ray, normal, item


def _colours(point: np.ndarray, normal: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Materials of the room, in linear light, darkened where surfaces meet."""
    tile = clouds(np.random.default_rng(7))
    colour = np.full(point.shape, 0.72, np.float32)  # the ceiling
    room = item < 0
    here = room & (normal[..., 2] > 0)
    colour[here] = _planks(point[here], tile)
    for axis, sign, paint in (
        (0, 1, (0.58, 0.60, 0.56)),
        (0, -1, None),
        (1, 1, (0.42, 0.50, 0.54)),
        (1, -1, (0.66, 0.60, 0.50)),
    ):
        here = room & (normal[..., axis] == sign)
        u, z = point[here][:, 1 - axis], point[here][:, 2]
        if paint is None:
            wall = _bricks(u, z, tile)
        else:
            wall = (0.94 + 0.12 * (sample(tile, u * 0.21, z * 0.21) - 0.5))[:, None] * np.array(paint, np.float32)
        wall[z < 0.11] = 0.68  # the skirting board
        colour[here] = _hung(wall, axis, sign, u, z, tile)
    for i, box in enumerate(FURNITURE):
        here = item == i
        p, flat = point[here], normal[here]
        u = np.where(flat[:, 0] != 0, p[:, 1], p[:, 0])
        v = np.where(flat[:, 2] != 0, p[:, 1], p[:, 2])
        veins = 1 + box.grain * (sample(tile, u * 0.5 + i * 0.37, v * 2.3 + i * 0.11) - 0.5) * 2
        colour[here] = veins[:, None] * np.array(box.colour, np.float32) * 0.8
    x, y, z = np.moveaxis(point, -1, 0)
    dark = np.ones(item.shape, np.float32)
    away = (ROOM_HIGH[0] - np.abs(x), ROOM_HIGH[1] - np.abs(y), np.minimum(z, ROOM_HIGH[2] - z))
    for i, distance in enumerate(away):
        dark *= np.where(normal[..., i] != 0, 1, 1 - 0.35 * np.exp(-np.maximum(distance, 0) / 0.30)).astype(np.float32)
    for box in FURNITURE:
        low, high = np.array(box.low, np.float32) - 0.5, np.array(box.high, np.float32) + 0.5
        near = ((point > low) & (point < high)).all(-1)
        p = point[near]
        distance = np.linalg.norm(np.maximum(np.maximum(low + 0.5 - p, p - high + 0.5), 0), axis=-1)
        dark[near] *= np.where(distance > 1e-4, 1 - 0.45 * np.exp(-distance / 0.13), 1)
    return np.clip(colour, 0, 1) * dark[..., None]


def _planks(point: np.ndarray, tile: np.ndarray) -> np.ndarray:
    """A wooden floor: each plank has its own tint and grain."""
    x, y = point[:, 0], point[:, 1]
    row = np.floor(y / 0.16)
    x = x + np.mod(row * 0.73, 1.0) * 1.5
    tint = hashed(row, np.floor(x / 1.5))
    grain = sample(tile, x * 0.35 + tint * 7, y * 3.1)
    seam = np.minimum(np.mod(y, 0.16), np.mod(x, 1.5)) / 0.003
    shade = (0.62 + 0.22 * tint + 0.22 * (grain - 0.5)) * np.clip(0.55 + 0.45 * seam, 0, 1)
    return shade[:, None] * np.array([0.46, 0.30, 0.18], np.float32)


def _bricks(u: np.ndarray, z: np.ndarray, tile: np.ndarray) -> np.ndarray:
    row = np.floor(z / 0.075)
    along = u + 0.11 * np.mod(row, 2)
    shade = 0.55 + 0.3 * hashed(row, np.floor(along / 0.22)) + 0.25 * (sample(tile, u * 1.3, z * 1.3) - 0.5)
    mortar = (np.mod(z, 0.075) < 0.010) | (np.mod(along, 0.22) < 0.010)
    return np.where(mortar[:, None], [0.46, 0.43, 0.40], shade[:, None] * [0.50, 0.27, 0.20]).astype(np.float32)


def _hung(colour: np.ndarray, axis: int, sign: int, u: np.ndarray, z: np.ndarray, tile: np.ndarray) -> np.ndarray:
    """Pictures, windows and a door on one wall."""

    def fill(at: tuple[float, float, float, float], inside: np.ndarray | tuple | float) -> None:
        here = (u > at[0]) & (u < at[1]) & (z > at[2]) & (z < at[3])
        colour[here] = inside[here] if isinstance(inside, np.ndarray) else inside

    def framed(at: tuple, frame: tuple | float, inside: np.ndarray | tuple, rim: float = 0.04) -> None:
        fill(at, frame)
        fill((at[0] + rim, at[1] - rim, at[2] + rim, at[3] - rim), inside)

    abstract = np.stack([sample(tile, u * 0.5 + k * 0.31, z * 0.5 + k * 0.17) for k in range(3)], axis=-1)
    if (axis, sign) == (0, 1):
        framed((-3.6, -2.5, 1.1, 1.9), 0.05, 0.1 + 0.8 * (abstract > 0.5))
        framed((1.4, 2.9, 0.9, 2.3), 0.72, (0.80, 0.92, 1.0), 0.07)
        fill((2.12, 2.18, 0.9, 2.3), 0.75)
    elif (axis, sign) == (0, -1):
        framed((-2.6, -1.1, 1.2, 2.1), (0.60, 0.55, 0.45), 0.15 + 0.6 * abstract**2)
    elif (axis, sign) == (1, 1):
        framed((-3.5, -2.5, 0.0, 2.1), (0.55, 0.40, 0.28), (0.42, 0.29, 0.19), 0.08)
        stripes = np.where((np.mod(z, 0.16) < 0.08)[:, None], [0.75, 0.68, 0.40], [0.20, 0.30, 0.45])
        framed((0.2, 1.6, 1.15, 2.0), 0.08, stripes)
    else:
        framed((-1.4, 0.4, 1.0, 2.2), 0.77, (0.74, 0.88, 1.0), 0.07)
        fill((-0.53, -0.47, 1.0, 2.2), 0.78)
        framed((2.6, 3.4, 1.2, 2.2), 0.09, np.sqrt(abstract) * [0.8, 0.5, 0.3])
    return colour


# --------------------------------------------------------------------------------------------------------- pictures


def film(
    camera: Camera, surface: Surface, vertices: Iterator[np.ndarray], seed: int, finer: int
) -> Iterator[np.ndarray]:
    """What the camera records: the body and its shadow in the room, exposure, blur of the lens and sensor noise."""
    room = backdrop(camera, finer)
    rng = np.random.default_rng(seed)
    gain = rng.uniform(0.92, 1.08) * (1 + rng.uniform(-0.03, 0.03, 3))
    rasteriser = SoftwareRasteriser()
    still = _developed(room.picture, gain)
    for v in vertices:
        mesh = Mesh(surface, v)
        picture = still.copy()
        shade = shadow_of([mesh], 0.0, LAMP)
        if shade is not None:
            x, y = room.floor_x, room.floor_y
            (x0, y0), (x1, y1) = shade.corners[0], shade.corners[2]
            rows, columns = np.nonzero((x > x0) & (x < x1) & (y > y0) & (y < y1))
            if len(rows):
                part = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
                left = 1 - shade.at(x[part], y[part])
                picture[part] = _developed(room.picture[part] * left[..., None], gain)
        layer = rasteriser.draw(camera, [mesh], LAMP)
        if layer is not None:
            layer.over(picture)
        recorded = cv2.GaussianBlur(picture, (0, 0), 0.55).astype(np.int16)
        recorded += np.round(rng.standard_normal(picture.shape[:2], dtype=np.float32) * 2.0)[..., None].astype(np.int16)
        yield np.clip(recorded, 0, 255).astype(np.uint8)


def _developed(linear: np.ndarray, gain: np.ndarray) -> np.ndarray:
    return (np.clip(linear * gain, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


def take_of(out: Path, body: BodyModel, betas: np.ndarray, motion: Motion, fps: float, rig: Rig) -> Take:
    """The truth as a take: the keypoints are the body's own."""
    frames = np.arange(len(motion.Rh))
    skeleton = MEDIAPIPE75 if "mediapipe75" in body.regressors else BODY25
    points = keypoints_of(body, skeleton, betas, motion.Rh, motion.Th, motion.poses)
    shape = points.shape[:2]
    keypoints = Keypoints3D.of(skeleton, points, np.ones(shape), np.zeros((*shape, 3, 3)), np.zeros(shape))
    person = Person(keypoints3d=keypoints, body=body, shape=betas, motion=motion)
    return Take(RunContext(out), frames / fps, frames, rig=rig, people=(person,))


def write_take(take: Take, *, crf: float, fast: bool) -> None:
    """Writes videos, calibration and truth into the take's output folder."""
    out, rig, (person,) = take.run.output, take.rig, take.people
    body, motion, betas = person.body, person.motion, person.shape
    assert rig is not None and body is not None and motion is not None and betas is not None
    out.mkdir(parents=True, exist_ok=True)
    write_calibration(rig, out)
    write_result_npz(out / "truth.npz", result_of(take, person)[0])
    colours = body.colours if body.colours is not None else np.full_like(body.v_template, 0.6)
    surface, skinner = Surface(body.faces, colours), Skinner(body, betas)
    for i, camera in enumerate(rig):
        vertices = skinner.chunks(motion.Rh, motion.Th, motion.poses)
        path = out / "videos" / f"{camera.name}.mp4"
        with VideoWriter(path, camera.size, take.fps, crf=crf, preset="veryfast" if fast else "veryslow") as video:
            for frame in film(camera, surface, vertices, seed=100 + i, finer=1 if fast else 2):
                video.write(frame)
        print(f"{path}: {video.frames} frames", flush=True)


def write_detections(out: Path, detector: Detector) -> None:
    """Runs a detector over the videos and stores what it saw in `detections/<view>.npz`, to be replayed."""
    footage = {name: open_view(path, name) for name, path in discover_views(out).items()}
    places = {name: np.arange(view.frames) for name, view in footage.items()}
    found, _ = detect_views(footage, places, detector, workers=2)
    for name, seen in found.items():
        none = np.zeros(0, int)
        stored.write(
            out / "detections" / f"{name}.npz",
            stored.Stored(seen.skeleton, places[name], seen.timestamps, seen.xy, seen.confidence, none, view=name),
        )
        print(f"{out / 'detections' / name}.npz: somebody in {(seen.confidence > 0).any((1, 2)).mean():.0%} of frames")


README = """# An example take with its truth

Rendered by `tools/make_example.py {options}`.

- `videos/<view>.mp4`: {views} views, {size[0]}x{size[1]} at {fps:g} frames a second, {frames} frames
  (all views triggered together)
- `intri.yml`, `extri.yml`: the cameras in OpenCV's terms, lens distortion included; metres, z up, the floor at z = 0
- `truth.npz`: what was rendered, in the layout of `result.npz`: `Rh Th poses shapes` of the body `{body}` ({gender},
  hash {hash}), `joints` and `keypoints3d` ({skeleton}) [m, rad], `fps frames timestamps`{detections}

Everything seen is synthetic: the person is the project's own body model, the room is drawn by the program.

The motion is clip {clip}, frames {first} to {last}, of the CMU Graphics Lab Motion Capture Database. The data used in
this project was obtained from mocap.cs.cmu.edu. The database was created with funding from NSF EIA-0196217. It may be
used freely, also commercially; the motion data itself may not be resold. BVH conversion by B. Hahne.

The rendered pictures and videos are dedicated to the public domain (CC0-1.0).
"""
DETECTIONS = """
- `detections/<view>.npz`: what the pose detector of mediapipe saw in the videos, to be replayed"""


def main() -> None:
    """Reads the options and writes the take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cmu", type=Path, required=True, help="the CMU clips: quat_xyzw, root_pos, clip_start ... (.npz)"
    )
    parser.add_argument("--out", type=Path, default=Path("data/examples/dance"))
    parser.add_argument("--clip", default="05_02")
    parser.add_argument("--frames", type=int, nargs=2, default=None, metavar=("FIRST", "LAST"), help="of the clip")
    parser.add_argument("--hands", action="store_true", help="fingers move, by gestures that are not the clip's")
    parser.add_argument("--gender", default="neutral", choices=("neutral", "female", "male"))
    parser.add_argument("--betas-seed", type=int, default=None, help="a random body instead of the example's")
    parser.add_argument("--rig-seed", type=int, default=None, help="random cameras instead of the example's")
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--crf", type=float, default=20)
    parser.add_argument("--fast", action="store_true", help="a coarser room and quicker encoding")
    parser.add_argument("--detections", action="store_true", help="also store what the pose detector sees")
    asked = parser.parse_args()
    first, last = asked.frames or ((95, 275) if asked.clip == "05_02" else (0, None))
    body = load_body("embedded_hands" if asked.hands else "embedded", gender=asked.gender)
    betas = np.zeros(body.n_betas)
    betas[:6] = (0.9, -0.8, 0.6, -0.5, 0.4, 0.3)
    if asked.betas_seed is not None:
        betas = np.random.default_rng(asked.betas_seed).normal(0, 1, body.n_betas).clip(-2, 2)
    whole, fps = clip_motion(asked.cmu, asked.clip, body, betas)
    last = len(whole.Rh) if last is None else min(last, len(whole.Rh))
    rig = make_rig(asked.rig_seed, tuple(asked.size), asked.views)
    motion = cut(whole, first, last)
    if asked.hands:
        seconds = np.arange(len(motion.Rh)) / fps
        for name, vectors in finger_poses(body, seconds, np.random.default_rng(0)).items():
            motion.poses[:, body.joint_names.index(name) - 1] = vectors
    take = take_of(asked.out, body, betas, motion, fps, rig)
    write_take(take, crf=asked.crf, fast=asked.fast)
    if asked.detections:
        write_detections(asked.out, Mediapipe())
    seeds = "".join(
        f" --{name} {seed}"
        for name, seed in (("betas-seed", asked.betas_seed), ("rig-seed", asked.rig_seed))
        if seed is not None
    )
    readme = README.format(
        options=f"{'--hands ' * asked.hands}--clip {asked.clip} --frames {first} {last} --gender {asked.gender}{seeds}",
        views=len(rig),
        size=asked.size,
        fps=fps,
        frames=len(take.frames),
        body=body.name,
        gender=body.gender,
        hash=body.content_hash,
        skeleton="mediapipe75" if asked.hands else "body25",
        clip=asked.clip,
        first=first,
        last=last,
        detections=DETECTIONS if asked.detections else "",
    )
    (asked.out / "README.md").write_text(readme, encoding="utf-8")


if __name__ == "__main__":
    main()
