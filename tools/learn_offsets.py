"""Learns where mediapipe sees keypoints, from the anatomical ones: makes `tools/mediapipe_offsets.json`.

    python tools/learn_offsets.py --cmu PATH/cmu_30fps.npz --bodies 40

The included body, in random shapes and light before random surroundings, is drawn in poses of the CMU database and
shown to the detector. A keypoint is seen at the anatomical point plus an offset along the axes of the SMPL joint it
turns with (`mocap.bodies.regressors`, which grows it with stature): linear in the offset, so iteratively reweighted
least squares find it, of both sides at once, one the mirror of the other.

Half of the pictures show poses of the even-numbered CMU subjects, from which the offsets are learned; the other half,
of the odd-numbered ones on other bodies, only judge them. The table says, for those, how far the detector's point is
from the anatomical one (`before`), from the one with the offset learned (`after`) and with the offset the file had
(`had`), in millimetres at the point's depth; `other half` is the offset the judging pictures would have given.

Afterwards `python tools/build_body.py regressors` puts the offsets into the included body.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from build_body import OFFSETS, SIDES, shapes_of
from cmu import clip_motion
from jaxtyping import Float
from make_example import clouds, make_rig
from scipy.sparse import csr_array, vstack

from mocap.bodies.kinematics import Skinner
from mocap.bodies.load import GENDERS, embedded_arrays, load_body, unpack_embedded, unpack_rows
from mocap.bodies.model import SMPL_JOINTS
from mocap.bodies.regressors import Offset, frame_rows, parse_offsets
from mocap.detect.detectors.mediapipe import Mediapipe
from mocap.detect.run import detect_views
from mocap.geometry import robust, rotations
from mocap.geometry.cameras import Camera
from mocap.io.atomic import write_text
from mocap.render.mesh import Light, Mesh, Surface
from mocap.render.software import SoftwareRasteriser
from mocap.skeletons import MEDIAPIPE33
from mocap.take import View

SIZE = (1280, 720)
LEARNED, JUDGED = "even", "odd"
LEAST_VISIBILITY = 0.6
SCALE = 0.025  # [m] a point farther from where it should be says little
SMALLEST = 0.003  # [m] smaller offsets are as small as their own errors and are left out
LOOKS = 3
"""Each picture is shown three times: once empty, so that video mode loses who was there before, then twice, the second
time followed from the first as in a video."""

TURNS_WITH = {
    **dict.fromkeys(("nose", "eye_inner", "eye", "eye_outer", "ear", "mouth"), "head"),
    **{name: name for name in ("shoulder", "elbow", "wrist", "knee", "ankle")},
    **dict.fromkeys(("pinky", "index", "thumb"), "wrist"),
    **dict.fromkeys(("heel", "foot_index"), "ankle"),
    "hip": "pelvis",
}
"""Keypoints without their side, and the SMPL joint (of that side, or of the middle) they turn with."""


def part_of(keypoint: str) -> str:
    """The keypoint's name without its side."""
    return "_".join(word for word in keypoint.split("_") if word not in SIDES)


def joint_of(keypoint: str) -> str:
    """The SMPL joint a keypoint turns with."""
    joint = TURNS_WITH[part_of(keypoint)]
    return joint if joint in SMPL_JOINTS else f"{next(s for s in SIDES if s in keypoint.split('_'))}_{joint}"


# -------------------------------------------------------------------------------------------------------- observations


@dataclass(frozen=True)
class Scene:
    """What a set of pictures shows."""

    cameras: tuple[Camera, ...]
    """One a picture."""
    points: Float[np.ndarray, "pictures keypoints 3"]
    """The anatomical points [m]."""
    axes: Float[np.ndarray, "pictures keypoints 3 3"]
    """For each keypoint what one metre of offset along each axis is in the world."""


@dataclass(frozen=True)
class Sightings:
    """How far off the detector saw each keypoint, in the plane of the picture at the point's depth [m]."""

    residual: Float[np.ndarray, "pictures keypoints 2"]
    slope: Float[np.ndarray, "pictures keypoints 2 3"]
    """What one metre of offset adds to it."""
    visibility: Float[np.ndarray, "pictures keypoints"]

    def of(self, part: str) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2 3"]]:
        """Residuals and slopes of what was seen of a part on both sides, the right one mirrored."""
        residuals, slopes = [], []
        for k, name in enumerate(MEDIAPIPE33.joints):
            if part_of(name) == part:
                seen = self.visibility[:, k] > LEAST_VISIBILITY
                residuals.append(self.residual[seen, k])
                slopes.append(self.slope[seen, k] * mirroring(name))
        return np.concatenate(residuals), np.concatenate(slopes)


def mirroring(keypoint: str) -> Float[np.ndarray, " 3"]:
    """Turns a left offset into this keypoint's: the x of the right side is opposite, the middle has none."""
    if part_of(keypoint) == keypoint:
        return np.array([0.0, 1, 1])
    return np.array([-1.0 if "right" in keypoint.split("_") else 1.0, 1, 1])


def point_rows() -> csr_array:
    """Rows over the posed mesh: the 33 anatomical points of mediapipe, then the three axes of each one's joint."""
    arrays = embedded_arrays()
    body = unpack_embedded(arrays, "neutral")
    weights, posedirs = body.weights.astype(float), body.posedirs.astype(float)
    people = shapes_of(arrays, np.random.default_rng(0))
    joints = [joint_of(name) for name in MEDIAPIPE33.joints]
    frames = {j: frame_rows(people, weights, posedirs, SMPL_JOINTS.index(j)) for j in sorted(set(joints))}
    anatomical = unpack_rows("keypoints.mediapipe33_anatomical", arrays, len(body.v_template))
    return csr_array(vstack([anatomical, *(frames[j] for j in joints)]))


def scene_of(cameras: list[Camera], values: Float[np.ndarray, "pictures rows 3"]) -> Scene:
    """From what `point_rows` give on the mesh of each picture."""
    n = len(MEDIAPIPE33)
    return Scene(tuple(cameras), values[:, :n], values[:, n:].reshape(-1, n, 3, 3))


def sightings(
    scene: Scene,
    xy: Float[np.ndarray, "pictures candidates keypoints 2"],
    visibility: Float[np.ndarray, "pictures candidates keypoints"],
) -> Sightings:
    """What the detector saw against what is there; of several candidates the one nearest to the body counts."""
    projected = [
        camera.project_with_jacobian(points) for camera, points in zip(scene.cameras, scene.points, strict=True)
    ]
    pixels, J = (np.stack(parts) for parts in zip(*projected, strict=True))
    # [m] that a pixel is at the point's depth
    scale = np.stack([c.to_camera(p)[:, 2] / c.K[1, 1] for c, p in zip(scene.cameras, scene.points, strict=True)])
    off = np.pad(xy, ((0, 0), (0, 1), (0, 0), (0, 0)), constant_values=np.nan) - pixels[:, None]  # one who is nobody
    sure = np.pad(visibility, ((0, 0), (0, 1), (0, 0)))
    best = np.median(np.nan_to_num(np.linalg.norm(off, axis=-1), nan=np.inf), axis=-1).argmin(1)
    picture = np.arange(len(best))
    return Sightings(
        np.nan_to_num(off[picture, best]) * scale[..., None],
        J @ np.swapaxes(scene.axes, -1, -2) * scale[..., None, None],
        sure[picture, best],
    )


def robust_offset(residual: Float[np.ndarray, "n 2"], slope: Float[np.ndarray, "n 2 3"]) -> Float[np.ndarray, " 3"]:
    """The offset o of least sum of rho(|residual - slope o|), rho Cauchy's; 0 along what no slope shows."""
    offset, weight = np.zeros(3), np.ones(len(residual))
    for _ in range(50):
        A, b = (slope * weight[:, None, None]).reshape(-1, 3), (residual * weight[:, None]).reshape(-1)
        offset = np.linalg.lstsq(A, b, rcond=None)[0]
        left = residual - slope @ offset
        weight = np.sqrt(robust.cauchy(np.einsum("ni,ni->n", left, left), SCALE)[1])
    return offset


def learned(seen: Sightings) -> dict[str, Float[np.ndarray, " 3"]]:
    """The offset of each part, as of the left side [m]."""
    return {part: robust_offset(*seen.of(part)) for part in TURNS_WITH}


def distance(seen: Sightings, part: str, offset: np.ndarray) -> float:
    """Median distance of what was seen from the points moved by an offset [m]."""
    residual, slope = seen.of(part)
    return float(np.median(np.linalg.norm(residual - slope @ offset, axis=-1)))


# ------------------------------------------------------------------------------------------------------------ pictures


def deal(cmu: Path, half: str, hands: int, pictures: int, rng: np.random.Generator, out: Path) -> list[str]:
    """Writes `out` in the layout of `cmu`: clips of frames drawn from all of the even or odd subjects, a T-pose first.

    Returns:
        The clips' names, one a hand.
    """
    with np.load(cmu) as file:
        data = {name: file[name] for name in file.files}
    start = data["clip_start"]
    subject = np.array([int(Path(str(name)).stem.partition("_")[0]) for name in data["clip_names"]])
    wanted = subject % 2 == (LEARNED, JUDGED).index(half)
    # the first frame of every clip is a T-pose, which nobody took
    frames = np.concatenate([np.arange(a + 1, b) for a, b, w in zip(start, start[1:], wanted, strict=False) if w])
    drawn = rng.choice(frames, (hands, pictures), replace=hands * pictures > len(frames))
    drawn = np.concatenate([np.full((hands, 1), start[0]), drawn], axis=1).ravel()
    names = [f"{half}_{k:03d}" for k in range(hands)]
    changed = {
        "quat_xyzw": data["quat_xyzw"][drawn],
        "root_pos": data["root_pos"][drawn],
        "clip_start": np.arange(hands + 1) * (pictures + 1),
        "clip_names": np.array(names),
    }
    np.savez(out, allow_pickle=False, **{**data, **changed})
    return names


def backdrop(rng: np.random.Generator, tile: np.ndarray) -> np.ndarray:
    """Clouds of some colour."""
    width, height = SIZE
    part = np.roll(tile, rng.integers(0, len(tile), 2), axis=(0, 1))[: height // 2, : width // 2]
    shade = 1 + rng.uniform(0, 0.8) * (cv2.resize(part, SIZE, interpolation=cv2.INTER_LINEAR) - 0.5)
    return np.clip(shade[..., None] * rng.uniform(80, 210, 3), 0, 255).astype(np.uint8)


def draw(deck: Path, names: list[str], rows: csr_array, rng: np.random.Generator, folder: Path) -> Scene:
    """Draws a random body for each clip of the deck and a camera for each of its frames, as `<number>.jpg`."""
    tile, rasteriser = clouds(rng), SoftwareRasteriser()
    cameras: list[Camera] = []
    values = []
    for name in names:
        body = load_body("embedded", gender=str(rng.choice(GENDERS)))
        assert body.colours is not None
        betas = rng.normal(0, 1, body.n_betas)
        motion, _ = clip_motion(deck, name, body, betas)
        count = len(motion.Rh)
        Th = np.concatenate([rng.uniform(-0.4, 0.4, (count, 2)), motion.Th[:, 2:]], axis=1)
        spin = rotations.exp(rng.uniform(-np.pi, np.pi, (count, 1)) * [0, 0, 1.0])
        Rh = rotations.log(spin @ rotations.exp(motion.Rh))
        vertices = Skinner(body, betas).vertices(Rh, Th, motion.poses)
        surface = Surface(body.faces, body.colours)
        for camera, mesh in zip(make_rig(int(rng.integers(1 << 31)), SIZE, count), vertices, strict=True):
            towards = rng.normal(0, 0.5, 3) + [0, 0, 0.8] - camera.R[2] * 0.7
            towards[2] = abs(towards[2])
            light = Light(tuple((towards / np.linalg.norm(towards)).tolist()))
            picture = backdrop(rng, tile)
            layer = rasteriser.draw(camera, [Mesh(surface, mesh)], light)
            if layer is not None:
                layer.over(picture)
            noisy = picture + rng.normal(0, 4, picture.shape[:2])[..., None]
            picture = np.clip(noisy, 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{len(cameras):05d}.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
            cameras.append(camera)
        values += [rows @ mesh.astype(float) for mesh in vertices]
    return scene_of(cameras, np.stack(values))


def look(folders: Mapping[str, Path]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What the project's own detector sees in each folder's pictures, when it sees them the second time."""
    footage = {}
    for name, folder in folders.items():
        pictures = sorted(folder.glob("[0-9]*.jpg"))
        nobody = folder / "nobody.jpg"
        cv2.imwrite(str(nobody), np.full((*SIZE[::-1], 3), 128, np.uint8))
        files = tuple(file for picture in pictures for file in (nobody, picture, picture))
        footage[name] = View(name, folder, np.arange(len(files)) / 30, SIZE, files)
    places = {name: np.arange(view.frames) for name, view in footage.items()}
    found, _ = detect_views(footage, places, Mediapipe(), workers=2)
    return {name: (f.xy[LOOKS - 1 :: LOOKS], f.confidence[LOOKS - 1 :: LOOKS]) for name, f in found.items()}


# ------------------------------------------------------------------------------------------------------------- program


def table(offsets: Mapping[str, np.ndarray], judged: Sightings, had: Mapping[str, Offset]) -> tuple[list[str], dict]:
    """Lines that judge the offsets [mm], and by part the medians before, after and had [m]."""
    other = learned(judged)
    lines = [f"{'':12}{'seen':>6}{'before':>8}{'after':>7}{'had':>7}   offset (x outward to the left, y up, z front)"]
    medians = {}
    for part, offset in offsets.items():
        old = next(
            (np.array(o.offset) * mirroring(name) for name, o in had.items() if part_of(name) == part), np.zeros(3)
        )
        before, after, stored = (distance(judged, part, o) for o in (np.zeros(3), offset, old))
        medians[part] = (before, after, stored)
        shown = "   other half ".join(
            np.array2string(o * 1e3, precision=1, floatmode="fixed") for o in (offset, other[part])
        )
        counts = f"{len(judged.of(part)[0]):6d}{before * 1e3:8.1f}{after * 1e3:7.1f}{stored * 1e3:7.1f}"
        lines.append(f"{part:12}{counts}   {shown}")
    means = [1e3 * np.mean(column) for column in zip(*medians.values(), strict=True)]
    lines.append(f"mean of the parts: before {means[0]:.1f}, after {means[1]:.1f}, had {means[2]:.1f} mm")
    return lines, medians


def rounded(offsets: Mapping[str, np.ndarray]) -> dict[str, Offset]:
    """By keypoint, in whole millimetres, the smallest left out."""
    out = {}
    for name in MEDIAPIPE33.joints:
        offset = offsets[part_of(name)]
        if np.linalg.norm(offset) >= SMALLEST:
            x, y, z = (round(float(v), 3) + 0.0 for v in offset * mirroring(name))
            out[name] = Offset(joint_of(name), (x, y, z))
    return out


LEFT_OUT = ("left_hip", "right_hip")
LEFT_OUT_WHY = (
    "The hips are left where mediapipe sees them: 30 mm too high in these pictures, they are 30 mm below OpenPose's in "
    "a real recording (benchmarks/hips_on_real_recording.py), so the offset does not carry over; a fit leans on them "
    "less."
)
"""Offsets that are learned and judged here, and not applied."""

ABOUT = (
    "Where mediapipe's pose landmarker (full) sees a keypoint, from the anatomical one: metres on a body of mean "
    "stature in its rest pose (T-pose; x to its left, y up, z to the front), growing with stature and turning with the "
    "SMPL joint named. Read by tools/build_body.py."
)


def written(offsets: Mapping[str, Offset], source: str) -> str:
    """The file's text, one keypoint a line."""
    lines = [f'    "{name}": {json.dumps({"joint": o.joint, "offset": list(o.offset)})}' for name, o in offsets.items()]
    head = f'{{\n  "about": {json.dumps(ABOUT)},\n  "source": {json.dumps(source)},\n  "offsets": {{\n'
    return head + ",\n".join(lines) + "\n  }\n}\n"


def main() -> None:
    """Reads the options, learns, judges and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cmu", type=Path, required=True, help="the CMU clips: quat_xyzw, root_pos, clip_start ... (.npz)"
    )
    parser.add_argument("--bodies", type=int, default=40, help="half of them to learn from, half to judge")
    parser.add_argument("--pictures", type=int, default=12, help="of each body")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--out", type=Path, default=OFFSETS)
    asked = parser.parse_args()
    began = time.perf_counter()
    rng = np.random.default_rng(asked.seed)
    rows = point_rows()
    had = parse_offsets(OFFSETS.read_text(encoding="utf-8"), str(OFFSETS))
    with tempfile.TemporaryDirectory(prefix="offsets-") as scratch:
        scenes, folders = {}, {}
        for half in (LEARNED, JUDGED):
            folders[half] = Path(scratch) / half
            folders[half].mkdir()
            deck = folders[half] / "deck.npz"
            names = deal(asked.cmu, half, asked.bodies // 2, asked.pictures, rng, deck)
            scenes[half] = draw(deck, names, rows, rng, folders[half])
            print(f"{len(scenes[half].cameras)} pictures drawn, {time.perf_counter() - began:.0f} s", flush=True)
        seen = {half: sightings(scenes[half], *found) for half, found in look(folders).items()}
    for half, s in seen.items():
        print(f"{half}: somebody seen in {(s.visibility > 0).any(1).sum()} of {len(s.visibility)} pictures")
    offsets = learned(seen[LEARNED])
    lines, medians = table(offsets, seen[JUDGED], had)
    print("\n".join(lines))
    told = ", ".join(
        f"of {part} from {1e3 * a:.0f} to {1e3 * b:.0f}" for part, (a, b, _) in medians.items() if a > 1.2 * b
    )
    counts = {half: len(s.visibility) for half, s in seen.items()}
    source = (
        f"tools/learn_offsets.py --bodies {asked.bodies} --pictures {asked.pictures} --seed {asked.seed}: robust "
        f"least squares over {counts[LEARNED]} pictures of the included bodies in random shapes, views and light, in "
        f"poses of the even-numbered CMU subjects; in {counts[JUDGED]} pictures of the odd-numbered ones they bring "
        f"the median distance {told} mm"
    )
    kept = {name: offset for name, offset in rounded(offsets).items() if name not in LEFT_OUT}
    write_text(asked.out, written(kept, f"{source}. {LEFT_OUT_WHY}"))
    print(f"{asked.out} written after {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
