"""Frames a second of drawing and encoding, for both back ends, against the software one on the fixed ground.

python benchmarks/render.py [--frames 60]
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from mocap.bodies.kinematics import Skinner
from mocap.bodies.load import load_body
from mocap.errors import SetupError
from mocap.geometry.cameras import Camera
from mocap.io.video_out import VideoWriter, find_ffmpeg
from mocap.render.ground import GroundPainter, plan_view
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
        rasteriser.close()
    baseline = next(iter(results.values()))["ground, fixed camera"]
    for name, rates in results.items():
        print(name)
        for what, found in rates.items():
            print(f"  {what:32}{found:8.1f} frames/s {found / baseline:6.2f} of software's fixed ground")
    noise = np.random.default_rng(0).integers(0, 40, (*SIZE[::-1], 3)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder, VideoWriter(Path(folder) / "a.mp4", SIZE, 30) as video:
        found = rate(lambda i: video.write(np.roll(noise, 8 * i, axis=1)), frames)
    print(f"{'encoding alone (noise, the worst)':34}{found:8.1f} frames/s")


if __name__ == "__main__":
    main()
