"""Posed bodies as files of meshes, one a frame: Wavefront OBJ (metres, y up) and binary PLY (metres, z up)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from mocap import progress
from mocap.bodies.kinematics import Skinner, vertices_of
from mocap.bodies.model import BodyModel
from mocap.geometry.cameras import Camera
from mocap.io.atomic import write_text
from mocap.io.results import frame_folder
from mocap.take import Motion, Person

Y_UP_OF_WORLD = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""The world's axes (z up) to an OBJ's (y up), as importers take them: Blender's default gives the world back."""
Y_UP_OF_CAMERA = np.diag([1.0, -1, -1])
"""A camera's axes (y down, z forward) to an OBJ's: the body stands upright, seen by a camera at the origin that looks
along -z, as in OpenGL. For a camera that nobody calibrated, which is level and at the origin, both are the same."""


class ObjText:
    """Bodies of fixed topology as the text of an OBJ; that of the faces is made once.

    Args:
        faces: Of each body, counted from 0, anticlockwise from outside.
    """

    def __init__(self, faces: Sequence[Int[np.ndarray, "faces 3"]]) -> None:
        self._faces = list(faces)
        self._kept: dict[tuple[int, int], str] = {}

    def of(self, bodies: Sequence[Float[np.ndarray, "vertices 3"]]) -> str:
        """One moment: an object `person_<i>` for each body, vertices [m] to a hundredth of a millimetre."""
        parts, first = [], 1  # OBJ counts from 1, through the whole file
        for i, vertices in enumerate(bodies):
            rows = "v %.5f %.5f %.5f\n" * len(vertices) % tuple(vertices.ravel().tolist())
            parts += [f"o person_{i}\n", rows, self._faces_from(i, first)]
            first += len(vertices)
        return "".join(parts)

    def _faces_from(self, i: int, first: int) -> str:
        if (i, first) not in self._kept:
            faces = self._faces[i]
            self._kept[i, first] = "f %d %d %d\n" * len(faces) % tuple((faces + first).ravel().tolist())
        return self._kept[i, first]


def write_mesh(path: Path, person: Person, camera: Camera) -> None:
    """One person's body of a single moment, as `camera` sees it (:data:`Y_UP_OF_CAMERA`), whole or not at all."""
    body, shape, motion = person.body, person.shape, person.motion
    assert body is not None and shape is not None and motion is not None
    (vertices,) = vertices_of(body, shape, motion.Rh[:1], motion.Th[:1], motion.poses[:1])
    write_text(path, ObjText([body.faces]).of([camera.to_camera(vertices.astype(float)) @ Y_UP_OF_CAMERA.T]))


def write_meshes(folder: Path, frames: Int[np.ndarray, " frames"], people: Sequence[Person]) -> list[Path]:
    """`meshes/%06d.obj` in `folder`, by frame number, of the people who have a motion; gives the folder written.

    In the world, turned y up (:data:`Y_UP_OF_WORLD`). Frames are posed a few at a time: memory stays flat, though a
    frame of the embedded body is a megabyte on disk.
    """
    skinners, motions = [], []
    for person in people:
        if person.body is not None and person.shape is not None and person.motion is not None:
            skinners.append(Skinner(person.body, person.shape))
            motions.append(person.motion)
    if not skinners:
        return []
    text = ObjText([skinner.body.faces for skinner in skinners])
    moments = zip(*(s.chunks(m.Rh, m.Th, m.poses) for s, m in zip(skinners, motions, strict=True)), strict=True)
    with frame_folder(Path(folder) / "meshes") as new:
        for number, bodies in zip(progress.track(frames.tolist(), "writing meshes"), moments, strict=True):
            turned = [vertices @ Y_UP_OF_WORLD.T for vertices in bodies]
            (new / f"{number:06d}.obj").write_text(text.of(turned), encoding="ascii")
    return [Path(folder) / "meshes"]


def write_ply_meshes(
    folder: Path,
    frames: Int[np.ndarray, " frames"],
    body: BodyModel,
    betas: Float[np.ndarray, " betas"],
    motion: Motion,
) -> None:
    """`folder`/%06d.ply by frame number: one person's body in the world's own axes (z up, as Blender takes a PLY) [m].

    Little-endian binary: vertices x y z (float) and, where the body has colours, red green blue (uchar); triangles.
    Frames are posed a few at a time: memory stays flat.
    """
    skinner = Skinner(body, betas)
    names = ["x", "y", "z"]
    row: list[tuple[str, str]] = [(name, "<f4") for name in names]
    if body.colours is not None:
        row += [(name, "u1") for name in ("red", "green", "blue")]
    vertices = np.zeros(len(skinner.rest), dtype=row)
    if body.colours is not None:
        for i, name in enumerate(("red", "green", "blue")):
            vertices[name] = np.rint(255 * body.colours[:, i])
    faces = np.zeros(len(body.faces), dtype=[("count", "u1"), ("vertices", "<i4", 3)])
    faces["count"], faces["vertices"] = 3, body.faces
    properties = [f"property {'float' if kind == '<f4' else 'uchar'} {name}" for name, kind in row]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}", *properties]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    head, tail = "\n".join(header).encode("ascii"), faces.tobytes()
    posed = skinner.chunks(motion.Rh, motion.Th, motion.poses)
    with frame_folder(Path(folder)) as new:
        for number, moment in zip(progress.track(frames.tolist(), "writing meshes"), posed, strict=True):
            for i, name in enumerate(names):
                vertices[name] = moment[:, i]
            (new / f"{number:06d}.ply").write_bytes(head + vertices.tobytes() + tail)
