"""Renders pictures of single people with their truth, laid out as SMPLify's users have theirs of LSP.

    python tools/make_pictures.py --cmu PATH/cmu_30fps.npz --out data/examples/lsp

makes the pictures in data/examples (the same numbers come out again): the project's own body in poses of the CMU clips
whose subjects taught the pose prior nothing, each in its own corner of the room of tools/make_example.py, seen by a
camera and through a focal length of its own. `--seed` gives other bodies, cameras and noise.

`images/`, `est_joints.npz` (key `est_joints`, 5 x 14 x pictures: x, y, confidence, 0, 0 in LSP's order),
`lsp_gender.csv` (0 male, 1 female, -1 neutral), `truth.npz`, `README.md`. Pictures of other people are made by editing
`SCENES`.
"""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cmu import clip_motion
from jaxtyping import Float, UInt8
from make_example import film
from PIL import ExifTags, Image

from mocap.bodies.kinematics import joints_of, keypoints_of, vertices_of
from mocap.bodies.load import load_body
from mocap.bodies.model import BodyModel
from mocap.geometry import rotations
from mocap.geometry.cameras import Camera
from mocap.io.atomic import replacing, write_bytes, write_text
from mocap.io.smplify import SmplifyResult, in_camera
from mocap.render.mesh import Surface
from mocap.skeletons import LSP14
from mocap.take import Motion

GENDERS = {"male": 0, "female": 1, "neutral": -1}
NOISE = 2.0
"""Of the stored joints, per axis [px]."""
ROOM = np.array([4.1, 3.7])
"""Half the sides of the part of the room where people and cameras may stand [m]."""


@dataclass(frozen=True)
class Scene:
    """One picture: who, in which pose, seen from where."""

    clip: str
    frame: int
    gender: str
    azimuth: float
    """Of the camera from the way the person faces, to the person's left [degrees]: 90 is side-on."""
    height: float = 190.0
    """Of the person in the picture, about [px]."""
    hidden: tuple[str, ...] = ()
    """Joints nobody could tell: stored with confidence 0."""


SCENES = (
    Scene("05_01", 40, "female", 25, 200),
    Scene("09_01", 15, "male", -50, 190),
    Scene("05_18", 200, "female", -15, 210),  # hands on the body
    Scene("03_02", 45, "male", 90, 200, ("right_elbow", "right_wrist")),  # side-on, the far arm behind the body
    Scene("05_06", 136, "female", 30, 185),
    Scene("11_01", 75, "neutral", -150, 190),  # from behind
    Scene("05_12", 256, "male", 20, 205),  # hands on the body
    Scene("03_01", 60, "female", -90, 195),  # side-on
    Scene("05_15", 32, "male", -35, 180),
    Scene("05_10", 128, "neutral", 40, 190),
    Scene("05_20", 150, "female", 130, 185),
    Scene("09_12", 240, "male", -20, 215),
)


# --------------------------------------------------------------------------------------------------------------- scene


def framed(person: Float[np.ndarray, "vertices 3"], scene: Scene, facing: float, rng: np.random.Generator) -> Camera:
    """A camera in the room that has the person at about the asked height, off the middle and a little rolled.

    Args:
        person: The body [m], its middle wherever in the room it stands.
        scene: What is asked for.
        facing: The way the person faces [rad], from the world's x.
        rng: Chooses distance, height, roll and the frame round the person.
    """
    low, high = person.min(0), person.max(0)
    middle = 0.5 * (low + high)
    a = facing + np.radians(scene.azimuth + rng.uniform(-8, 8))
    way = np.array([np.cos(a), np.sin(a)])
    room = ((ROOM - np.sign(way) * middle[:2]) / np.maximum(np.abs(way), 1e-9)).min()
    distance = min(rng.uniform(2.6, 7.0), room)
    eye = np.array([*(middle[:2] + distance * way), rng.uniform(0.9, 1.9)])
    forward = (middle - eye) / np.linalg.norm(middle - eye)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    roll = rotations.exp(np.array([0, 0, np.radians(rng.uniform(-4, 4))]))
    T = np.eye(4)
    T[:3, :3] = roll @ np.stack([right, np.cross(forward, right), forward])
    T[:3, 3] = -T[:3, :3] @ eye
    plane, _ = Camera("", np.eye(3), np.zeros(5), T, (1, 1)).project(person.astype(float))
    extent = np.ptp(plane, axis=0)
    focal = scene.height / extent[1]
    width, height = (int(np.clip(s, 190, 300)) for s in focal * extent + rng.uniform(40, 110, 2))
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    # LSP's pictures are cut out around the person: the principal point is the middle all the same
    centred = K[:2, 2] - focal * 0.5 * (plane.min(0) + plane.max(0)) + rng.uniform(-8, 8, 2)
    turn = np.array([-(centred[1] - K[1, 2]) / focal, (centred[0] - K[0, 2]) / focal, 0])
    T[:3] = rotations.exp(turn) @ T[:3]
    return Camera("", K, np.zeros(5), T, (width, height))


def dressed(body: BodyModel, rng: np.random.Generator) -> Float[np.ndarray, "vertices 3"]:
    """The body's colours with clothes of another dye and skin of another shade."""
    colours = np.array(body.colours if body.colours is not None else np.full_like(body.v_template, 0.6))
    clothes = colours[:, 2] > colours[:, 0]  # no skin is bluer than red
    colours[clothes] = colours[clothes][:, rng.permutation(3)] * rng.uniform(0.8, 1.5)
    colours[~clothes] *= rng.uniform(0.6, 1.1)
    return np.clip(colours, 0, 1)


@dataclass(frozen=True)
class Picture:
    """A rendered scene and what is known of it."""

    image: UInt8[np.ndarray, "height width 3"]
    truth: SmplifyResult
    joints: Float[np.ndarray, "5 14"]
    """As `est_joints` has them."""


def pictured(cmu: Path, scene: Scene, number: int, seed: int) -> Picture:
    """Poses the body, points the camera, draws."""
    rng = np.random.default_rng([seed, number])
    body = load_body("embedded", gender=scene.gender)
    betas = rng.normal(0, 0.9, body.n_betas).clip(-1.8, 1.8)
    whole, _ = clip_motion(cmu, scene.clip, body, betas)
    one = slice(scene.frame, scene.frame + 1)
    Th = whole.Th[one].copy()
    front = rotations.exp(whole.Rh[scene.frame])[:2, 2]
    facing = float(np.arctan2(front[1], front[0]))
    # the person stands away from the camera's side of the room
    back = -np.array([np.cos(facing + np.radians(scene.azimuth)), np.sin(facing + np.radians(scene.azimuth))])
    pelvis = joints_of(body, betas, whole.Rh[one], Th, whole.poses[one])[0, 0, :2]
    Th[:, :2] += back * rng.uniform(0.5, 2.2) + rng.uniform(-0.4, 0.4, 2) - pelvis
    motion = Motion(whole.Rh[one], Th, whole.poses[one])
    (vertices,) = vertices_of(body, betas, motion.Rh, motion.Th, motion.poses)
    camera = framed(vertices, scene, facing, rng)
    image = next(film(camera, Surface(body.faces, dressed(body, rng)), iter([vertices]), seed=number, finer=3))
    points, _ = camera.project(keypoints_of(body, LSP14, betas, motion.Rh, motion.Th, motion.poses)[0])
    confidence = rng.uniform(0.7, 1.0, len(LSP14))
    confidence[LSP14.indices(scene.hidden)] = 0
    seen = points + rng.normal(0, NOISE, points.shape)
    seen[confidence == 0] = 0
    joints = np.concatenate([seen.T, confidence[None], np.zeros((2, len(LSP14)))])
    return Picture(image, in_camera(body, betas, motion, camera), joints)


# --------------------------------------------------------------------------------------------------------------- files


def photograph(picture: Picture) -> bytes:
    """A JPEG that tells its focal length as cameras do, in whole millimetres on 35 mm film."""
    height, width = picture.image.shape[:2]
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = round(
        picture.truth.f * np.hypot(36, 24) / np.hypot(width, height)
    )
    out = io.BytesIO()
    Image.fromarray(picture.image).save(out, "JPEG", quality=88, exif=exif)
    return out.getvalue()


def write_pictures(out: Path, pictures: list[Picture]) -> None:
    """Images, joints, genders and truth."""
    names = [f"im{n:04d}" for n in range(1, len(pictures) + 1)]
    for name, picture in zip(names, pictures, strict=True):
        write_bytes(out / "images" / f"{name}.jpg", photograph(picture))
    with replacing(out / "est_joints.npz") as temporary:
        np.savez(temporary, est_joints=np.stack([p.joints for p in pictures], axis=-1).round(3))
    write_text(out / "lsp_gender.csv", "".join(f"{GENDERS[p.truth.gender]}\n" for p in pictures))
    truths = [p.truth for p in pictures]
    with replacing(out / "truth.npz") as temporary:
        np.savez(
            temporary,
            names=np.array(names),
            gender=np.array([t.gender for t in truths]),
            body=np.array([t.body for t in truths]),
            body_hash=np.array([t.body_hash for t in truths]),
            betas=np.stack([t.betas for t in truths]),
            f=np.array([t.f for t in truths]),
            center=np.stack([t.center for t in truths]),
            joint_names=np.array(truths[0].joint_names),
            pose=np.concatenate([t.pose for t in truths]),
            cam_t=np.concatenate([t.cam_t for t in truths]),
            joints3d=np.concatenate([t.joints3d for t in truths]),
        )


README = """# Example pictures of single people, with their truth

Rendered by `tools/make_pictures.py`{seed}.

- `images/`: {count} pictures of one person each, about {low:.0f} to {high:.0f} px tall; their EXIF has the focal length
- `est_joints.npz`: `est_joints` (5, 14, {count}): x, y [px], confidence, 0, 0 in LSP's order (right ankle, right knee,
  right hip, left hip, left knee, left ankle, right wrist, right elbow, right shoulder, left shoulder, left elbow, left
  wrist, neck, head top), in the order of the images' names: the body's own points with {noise:g} px of noise on each
  axis; confidence 0 where an arm could not be seen
- `lsp_gender.csv`: a line a picture: 0 male, 1 female, -1 neutral
- `truth.npz`: what was rendered, one row a picture: `names gender betas` (10) `pose` (72, root first, in the camera's
  axes) [rad] `cam_t` [m] `f center` [px] `joints3d` (24, 3) in the camera's axes [m] `joint_names`, and `body` and
  `body_hash`, which the betas belong to. `emc eval OUTPUT data/examples/lsp` compares a result with it

Pictures {sides} are seen from the side, pictures {touching} have hands on their own body.

Everything seen is synthetic: the people are the project's own body model, the room is drawn by the program.

The poses are frames of clips of the CMU Graphics Lab Motion Capture Database whose subjects the pose prior was not
trained on: {clips}.
The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with funding from NSF
EIA-0196217. It may be used freely, also commercially; the motion data itself may not be resold. BVH conversion by B.
Hahne.

The rendered pictures are dedicated to the public domain (CC0-1.0).
"""
TOUCHING = ("05_18", "05_12")


def main() -> None:
    """Reads the options and writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cmu", type=Path, required=True, help="the CMU clips, packed (.npz)")
    parser.add_argument("--out", type=Path, default=Path("data/examples/lsp"))
    parser.add_argument("--seed", type=int, default=0, help="of bodies, cameras and noise")
    asked = parser.parse_args()
    pictures = [pictured(asked.cmu, scene, n, asked.seed) for n, scene in enumerate(SCENES, 1)]
    write_pictures(asked.out, pictures)

    def which(chosen: list[bool]) -> str:
        return " and ".join(str(n) for n, one in enumerate(chosen, 1) if one)

    readme = README.format(
        seed=f" --seed {asked.seed}" if asked.seed else "",
        count=len(pictures),
        low=min(s.height for s in SCENES),
        high=max(s.height for s in SCENES),
        noise=NOISE,
        sides=which([abs(s.azimuth) == 90 for s in SCENES]),
        touching=which([s.clip in TOUCHING for s in SCENES]),
        clips=", ".join(sorted({s.clip for s in SCENES})),
    )
    write_text(asked.out / "README.md", readme)


if __name__ == "__main__":
    main()
