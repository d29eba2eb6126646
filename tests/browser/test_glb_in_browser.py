"""GLB files, checked by the official validator and shown by three.js in a browser, beside our own rendering."""

from __future__ import annotations

import json
import shutil
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rigs import look_at
from synthetic import random_motion, toy_body

from mocap.bodies.kinematics import Skinner, joints_of
from mocap.bodies.load import load_body
from mocap.geometry import rotations
from mocap.geometry.cameras import Camera
from mocap.io.gltf import write_glb
from mocap.io.meshes import Y_UP_OF_WORLD
from mocap.render.mesh import Mesh, Surface, light_from
from mocap.render.software import SoftwareRasteriser
from mocap.take import Motion

SIZE = 640, 640
CLOCK = np.arange(20) / 30
BETAS = np.array([0.8, -0.6, 0.3])
GREEN = np.array([0, 255, 0])
SITE = "http://glb.test/"
"""Answered by the test itself: modules are not loaded from file: addresses."""

VALIDATE = """
const validator = require(process.argv[1]);
const bytes = new Uint8Array(require("fs").readFileSync(process.argv[2]));
validator.validateBytes(bytes).then((report) => console.log(JSON.stringify(report)));
"""

PAGE = """<!doctype html><style>body { margin: 0 }</style>
<script type="importmap">{"imports": {"three": "/three/build/three.module.js", "three/addons/": "/three/examples/jsm/"}}
</script>
<script type="module">
import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
window.show = async (width, height, fov, cameraMatrix, time) => {
  const gltf = await new GLTFLoader().loadAsync("/shown.glb");
  const scene = new THREE.Scene();
  scene.background = new THREE.Color(0x00ff00);
  scene.add(gltf.scene, new THREE.HemisphereLight(0xffffff, 0x888888, 3));
  const camera = new THREE.PerspectiveCamera(fov, width / height, 0.05, 100);
  camera.matrixAutoUpdate = false;
  camera.matrix.fromArray(cameraMatrix);
  camera.matrixWorldNeedsUpdate = true;
  const mixer = new THREE.AnimationMixer(gltf.scene);
  mixer.clipAction(gltf.animations[0]).play();
  mixer.setTime(time);
  gltf.scene.updateMatrixWorld(true);
  const joints = {};
  gltf.scene.traverse((node) => {
    node.frustumCulled = false;
    if (node.isBone) joints[node.name] = node.getWorldPosition(new THREE.Vector3()).toArray();
  });
  const renderer = new THREE.WebGLRenderer({ antialias: true, preserveDrawingBuffer: true });
  renderer.setSize(width, height);
  document.body.appendChild(renderer.domElement);
  renderer.render(scene, camera);
  return { joints, clips: gltf.animations.map((clip) => [clip.name, clip.duration]) };
};
window.ready = true;
</script>"""


def motion() -> Motion:
    """Somebody upright near the origin of the floor who moves arms, legs and trunk, and turns."""
    Rh, Th, poses = random_motion(5, len(CLOCK), spread=0.3)
    upright = rotations.exp(np.array([np.pi / 2, 0, 0]))
    Rh = rotations.log(rotations.exp(np.outer(np.linspace(0.3, 1.5, len(CLOCK)), [0, 0, 1])) @ upright)
    return Motion(Rh, 0.3 * Th + [0, 0, 1.2], poses)


@pytest.mark.parametrize("kind", ["embedded", "toy", "one frame"])
def test_the_official_validator_has_nothing_to_say(modules: Path, tmp_path: Path, kind: str):
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node to run the glTF validator")
    moving = motion()
    if kind == "one frame":
        moving = Motion(moving.Rh[:1], moving.Th[:1], moving.poses[:1])
    write_glb(tmp_path / "a.glb", toy_body() if kind == "toy" else load_body(), BETAS, moving, CLOCK[: len(moving.Rh)])
    arguments = [node, "-e", VALIDATE, str(modules / "gltf-validator"), str(tmp_path / "a.glb")]
    report = json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)
    serious = [m for m in report["issues"]["messages"] if m["severity"] < 2]  # 0 errors, 1 warnings
    if kind == "toy":  # triangles of random numbers
        serious = [m for m in serious if "DEGENERATE" not in m["code"]]
    assert serious == []
    assert report["issues"]["numErrors"] == 0 and report["info"]["animationCount"] == 1


def test_a_browser_shows_the_body_where_we_draw_it(page: Any, said: Any, modules: Path, tmp_path: Path):
    body, moving, frame = load_body(), motion(), 13
    write_glb(tmp_path / "shown.glb", body, BETAS, moving, CLOCK, name="person")

    def answer(route: Any) -> None:
        path = route.request.url.removeprefix(SITE)
        if not path:
            route.fulfill(body=PAGE, content_type="text/html")
        else:
            route.fulfill(path=tmp_path / path if path.endswith(".glb") else modules / path)

    page.route(SITE + "**", answer)
    page.set_viewport_size({"width": SIZE[0], "height": SIZE[1]})
    page.goto(SITE)
    page.wait_for_function("window.ready")

    focal = 700.0
    K = np.array([[focal, 0, (SIZE[0] - 1) / 2], [0, focal, (SIZE[1] - 1) / 2], [0, 0, 1]])
    camera = Camera("a", K, np.zeros(5), look_at(np.array([1.5, -2.2, 1.6]), [0, 0, 1.0]), SIZE)
    matrix = np.eye(4)  # of three's camera: x right, y up, looking along -z, in the y-up world
    matrix[:3, :3] = Y_UP_OF_WORLD @ camera.R.T @ np.diag([1, -1, -1])
    matrix[:3, 3] = Y_UP_OF_WORLD @ camera.centre
    fov = float(np.degrees(2 * np.arctan(SIZE[1] / 2 / focal)))
    told = page.evaluate("a => window.show(...a)", [*SIZE, fov, matrix.T.ravel().tolist(), float(CLOCK[frame])])
    shown = np.array(Image.open(BytesIO(page.screenshot())).convert("RGB"))
    assert said.errors == [] and said.asked == []

    now = (moving.Rh[[frame]], moving.Th[[frame]], moving.poses[[frame]])
    (joints,) = joints_of(body, BETAS, *now)
    found = [told["joints"][name] for name in body.joint_names]
    np.testing.assert_allclose(found, joints @ Y_UP_OF_WORLD.T, atol=1e-3)
    assert told["clips"] == [["person", pytest.approx(CLOCK[-1], abs=1e-6)]]

    assert body.colours is not None
    (vertices,) = Skinner(body, BETAS).vertices(*now)
    layer = SoftwareRasteriser().draw(camera, [Mesh(Surface(body.faces, body.colours), vertices)], light_from(camera))
    assert layer is not None
    ours = np.full_like(shown, GREEN)
    layer.over(ours)
    Image.fromarray(np.concatenate([shown, ours], axis=1)).save(tmp_path / "browser_and_ours.png")
    theirs, mine = ((np.abs(picture.astype(int) - GREEN) > 100).any(-1) for picture in (shown, ours))
    overlap = (mine & theirs).sum() / (mine | theirs).sum()
    assert mine.sum() > 20_000 and overlap > 0.97  # the rest: the pose's corrections, and edges
    both = mine & theirs
    apart = np.abs(shown[both].astype(int) - ours[both])
    assert apart.mean() < 20  # of 255: the lights differ, the body's colours do not
