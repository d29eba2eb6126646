"""Frames a second of drawing and of whole films, and how much edges shimmer, for both back ends.

python benchmarks/render.py [--frames 60]

Films go from decoding to encoding. Beside the time on the clock stands that of this process (all its threads, without
ffmpeg's): what is left of it when others use the machine. Shimmer is of a body that stands still before a camera that
drifts by a fraction of a pixel a frame: the root mean square of the second difference over time, in levels of 255,
where the picture changes at all. Smoothly moving edges have next to none.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np

from mocap.bodies.kinematics import Skinner
from mocap.bodies.load import load_body
from mocap.errors import SetupError
from mocap.geometry.cameras import Camera
from mocap.io.footage import open_view
from mocap.io.video_out import VideoWriter, find_ffmpeg
from mocap.render import gl
from mocap.render.film import Reel, ground_reel, overlay_reel, shoot
from mocap.render.ground import CameraMode, GroundPainter, GroundView, plan_view
from mocap.render.layer import Rasteriser
from mocap.render.mesh import Mesh, light_from
from mocap.render.overlay import draw_bodies
from mocap.render.posing import facing, outline, surface_of
from mocap.render.rasterisers import open_rasteriser
from mocap.take import Motion, Person

SIZE = (1280, 720)


def walker(frames: int) -> Person:
    """Somebody who swings arms and legs and turns."""
    t = np.arange(frames)[:, None] / 30
    poses = np.zeros((frames, 23, 3))
    swing = 0.6 * np.sin(5 * t)
    poses[:, 0, :1], poses[:, 1, :1] = swing, -swing
    poses[:, 15, 2:], poses[:, 16, 2:] = -1.1 + 0.4 * swing, 1.1 + 0.4 * swing
    Th = np.concatenate([0.5 * np.sin(t), 0.5 * np.cos(t), 1.2 + 0 * t], axis=1)
    return Person(
        body=load_body("embedded"),
        shape=np.zeros(10),
        motion=Motion(np.tile([np.pi / 2, 0, 0], (frames, 1)), Th, poses),
    )


def camera_of(size: tuple[int, int], view: GroundView, lens: np.ndarray) -> Camera:
    """The ground view's camera, with a lens."""
    return replace(view.at(0), name="a", distortion=lens).scaled_to(size)


def films(rasteriser: Rasteriser, person: Person, frames: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Whole films at 720p: frames a second by the clock and by this process's time."""
    clock = np.arange(frames) / 30
    lens = np.array([-0.1, 0.03, 0, 0, 0])
    source = folder / "source.mp4"
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (*SIZE[::-1], 3)).astype(np.uint8), (0, 0), 3)
    with VideoWriter(source, SIZE, 30) as video:
        for i in range(frames):
            video.write(np.roll(noise, 2 * i, axis=1))
    footage = open_view(source, "a")
    plan = plan_view(outline(person), facing(person), floor=0.0, size=SIZE, fps=30, camera="fixed")
    camera = camera_of(SIZE, plan, lens)
    around = [replace(camera, T_camera_world=camera.T_camera_world @ _turned(a)) for a in (0.8, 2.4, 4.0, 5.6)]

    def ground(mode: CameraMode) -> Reel:
        view = replace(
            plan_view(outline(person), facing(person), floor=0.0, size=SIZE, fps=30, camera=mode),
            cameras=tuple(around),
            trails=0.5,
        )
        return ground_reel(folder / f"{mode}.mp4", view, [person], clock, rasteriser)

    def overlay(name: str) -> Reel:
        return overlay_reel(folder / f"{name}.mp4", footage, camera, [person], clock, rasteriser, size=SIZE, floor=0.0)

    found = {}
    for label, reels in {
        "ground film, fixed": [ground("fixed")],
        "ground film, follow": [ground("follow")],
        "overlay film": [overlay("one")],
        "mosaic of ground + 2 overlays": [ground("fixed"), overlay("one"), overlay("two")],
    }.items():
        start, spent = time.perf_counter(), time.process_time()
        mosaic = folder / "mosaic.mp4" if len(reels) > 1 else None
        shoot(reels, frames, fps=30, mosaic=mosaic)
        found[label] = frames / (time.perf_counter() - start), frames / (time.process_time() - spent)
    return found


def _turned(angle: float) -> np.ndarray:
    T = np.eye(4)
    T[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return T


def shimmer(rasteriser: Rasteriser, mesh: Mesh, view: GroundView, frames: int = 24) -> float:
    """See the top of this file."""
    pictures = []
    light = light_from(view.at(0))
    for i in range(frames):
        T = np.eye(4)
        T[:3, 3] = 0.0006 * i, 0.00033 * i, 0  # about 0.15 px a frame
        camera = replace(view.at(0), T_camera_world=T @ view.at(0).T_camera_world)
        picture = np.full((*SIZE[::-1], 3), 230, np.uint8)
        draw_bodies(picture, camera, [mesh], rasteriser, light, opacity=1.0)
        pictures.append(picture.astype(np.int16))
    shown = np.stack(pictures)
    changing = (np.abs(np.diff(shown, axis=0)) > 8).any((0, 3))
    second = (shown[2:] - 2 * shown[1:-1] + shown[:-2])[:, changing]
    return float(np.sqrt((second.astype(float) ** 2).mean()))


def rate(work: Callable[[int], object], frames: int) -> float:
    work(0)  # what is made once is not counted
    start = time.perf_counter()
    for i in range(frames):
        work(i)
    return frames / (time.perf_counter() - start)


def drawing(rasteriser: Rasteriser, person: Person, vertices: np.ndarray, frames: int) -> dict[str, float]:
    surface = surface_of(person, 0, "body")
    assert surface is not None
    rates = {}
    for mode in ("fixed", "follow"):
        view = plan_view(outline(person), facing(person), floor=0.0, size=SIZE, fps=30, camera=mode)
        painter = GroundPainter(view, rasteriser, light_from(view.at(0)))
        rates[f"ground, {mode} camera"] = rate(lambda i, p=painter: p.frame(i, [Mesh(surface, vertices[i])]), frames)
    plan = plan_view(outline(person), facing(person), floor=0.0, size=SIZE, fps=30, camera="fixed")
    lens = np.array([-0.1, 0.03, 0, 0, 0])
    for size in (SIZE, (960, 540)):
        camera = Camera("a", plan.K, lens, plan.T_camera_world[0], SIZE).scaled_to(size)
        light, picture = light_from(camera), np.full((*size[::-1], 3), 120, np.uint8)
        rates[f"overlay {size[0]}x{size[1]}, lens"] = rate(
            lambda i, c=camera, l=light, p=picture: draw_bodies(p, c, [Mesh(surface, vertices[i])], rasteriser, l),
            frames,
        )
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=60)
    frames = parser.parse_args().frames
    person = walker(frames)
    assert person.body is not None and person.shape is not None and person.motion is not None
    m = person.motion
    machine = f"{platform.processor() or platform.machine()}, {cv2.getNumThreads()} threads"
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, OpenCV {cv2.__version__}"
    print(f"{machine}; {versions}, ffmpeg {find_ffmpeg()}")
    mesh = f"{len(person.body.v_template)} vertices, {len(person.body.faces)} triangles"
    print(f"{mesh}, {SIZE[0]}x{SIZE[1]}, {frames} frames")
    skinner = Skinner(person.body, person.shape)
    start = time.perf_counter()
    vertices = np.stack(list(skinner.chunks(m.Rh, m.Th, m.poses)))
    print(f"{'posing':34}{frames / (time.perf_counter() - start):8.1f} frames/s")
    results: dict[str, dict[str, float]] = {}
    for backend in ("software", "gl"):
        try:
            rasteriser, _ = open_rasteriser(backend)
        except SetupError as error:
            print(error)
            continue
        results[f"{backend} ({rasteriser.device})"] = drawing(rasteriser, person, vertices, frames)
        with tempfile.TemporaryDirectory() as folder:
            print(f"{backend} ({rasteriser.device}), {SIZE[0]}x{SIZE[1]}, decoded to encoded")
            for what, (clock, spent) in films(rasteriser, person, frames, Path(folder)).items():
                print(f"  {what:32}{clock:8.1f} frames/s {spent:8.1f} frames a second of the process")
        rasteriser.close()
    baseline = next(iter(results.values()))["ground, fixed camera"]
    for name, rates in results.items():
        print(name)
        for what, found in rates.items():
            print(f"  {what:32}{found:8.1f} frames/s {found / baseline:6.2f} of software's fixed ground")
    surface = surface_of(person, 0, "body")
    assert surface is not None
    still = plan_view(outline(person), facing(person), floor=0.0, size=SIZE, fps=30, camera="fixed")
    for what, samples, finer in (("1", 0, 1), ("4", 4, 1), ("16, as drawn", gl._SAMPLES, gl._FINER)):
        with patch.multiple(gl, _SAMPLES=samples, _FINER=finer):
            try:
                rasteriser, _ = open_rasteriser("gl")
            except SetupError:
                break
            found = shimmer(rasteriser, Mesh(surface, vertices[5]), still)
            print(f"{f'shimmer, gl, samples a pixel: {what}':44}{found:6.1f} levels")
            rasteriser.close()
    found = shimmer(open_rasteriser("software")[0], Mesh(surface, vertices[5]), still)
    print(f"{'shimmer, software, 9, as drawn':44}{found:6.1f} levels")
    noise = np.random.default_rng(0).integers(0, 40, (*SIZE[::-1], 3)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder, VideoWriter(Path(folder) / "a.mp4", SIZE, 30) as video:
        found = rate(lambda i: video.write(np.roll(noise, 8 * i, axis=1)), frames)
    print(f"{'encoding alone (noise, the worst)':34}{found:8.1f} frames/s")


if __name__ == "__main__":
    main()
