"""A moving body as binary glTF 2.0 (GLB): mesh, skeleton, skin and one animation clip.

glTF is metres, y up, front +z, which are a body's axes in its rest pose as well: the T-pose is stored as it is, and
only the root's motion is turned from the z-up world. Skinning is glTF's linear blending of at most four joints a
vertex; the pose's own corrections of the mesh (SMPL's posedirs, which depend on the rotation matrices' entries) have no
place in it, so the mesh differs from the model's by some millimetres where joints are bent. Joints are exact.

The file is two chunks, JSON and numbers (Khronos, "glTF 2.0 Specification", 2021, sections 3.6, 3.7.3 and 3.11).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mocap import __version__
from mocap.bodies.kinematics import Skinner
from mocap.bodies.model import BodyModel
from mocap.io.atomic import write_bytes
from mocap.io.skinned import PLAIN, four_influences, linear_light, normals_of, y_up_tracks
from mocap.take import Motion

_ARRAYS, _INDICES = 34962, 34963
"""What a view of the numbers is for: vertices, faces."""
_COMPONENT = {"f4": 5126, "u1": 5121, "u2": 5123, "u4": 5125}
_KIND = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}


class _Numbers:
    """The binary chunk, filled array by array."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(
        self,
        values: np.ndarray,
        kind: str,
        *,
        target: int | None = None,
        normalized: bool = False,
        bounds: bool = False,
    ) -> int:
        """The place of an array among the accessors.

        Args:
            values: One row an element.
            kind: NumPy's name of the component's type, such as "f4".
            target: What it is for, where it belongs to a mesh.
            normalized: Whether whole numbers stand for [0, 1].
            bounds: Whether its least and greatest value are told.
        """
        values = np.ascontiguousarray(values, dtype=f"<{kind}")
        self.data += bytes(-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": values.nbytes}
        self.views.append(view if target is None else view | {"target": target})
        self.data += values.tobytes()
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": _COMPONENT[kind],
            "count": len(values),
            "type": _KIND[values.shape[1:]],
        }
        if normalized:
            accessor["normalized"] = True
        if bounds:
            rows = values.reshape(len(values), -1)
            accessor |= {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def write_glb(
    path: Path,
    body: BodyModel,
    betas: Float[np.ndarray, " betas"],
    motion: Motion,
    timestamps: Float[np.ndarray, " frames"],
    *,
    name: str = "body",
) -> None:
    """One person's body and motion as a GLB file, whole or not at all.

    The scene holds the skinned mesh and the root joint, which has the motion through the world (see
    :func:`mocap.io.skinned.y_up_tracks`). The joints' names are the model's.

    Args:
        path: Where to.
        body: The model.
        betas: Its shape; it is in the mesh and in the lengths of the bones.
        motion: In the z-up world [rad, m].
        timestamps: Of its frames [s]; the clip begins at 0, and `extras` of the animation says when that was.
        name: Of the mesh, the skin and the clip.
    """
    skinner = Skinner(body, betas)
    J = skinner.J
    numbers = _Numbers()
    mesh = _mesh(numbers, body, skinner.rest.astype(float), name)

    inverse_bind = np.tile(np.eye(4), (body.n_joints, 1, 1))
    inverse_bind[:, 3, :3] = -J  # columns one after another, as glTF has matrices
    skin = {"name": name, "joints": [1 + j for j in range(body.n_joints)], "skeleton": 1}
    skin["inverseBindMatrices"] = numbers.add(inverse_bind, "f4")

    nodes: list[dict[str, Any]] = [{"name": name, "mesh": 0, "skin": 0}]
    for j, joint in enumerate(body.joint_names):
        parent = int(body.parents[j])
        node: dict[str, Any] = {"name": joint, "translation": (J[j] - (J[parent] if parent >= 0 else 0)).tolist()}
        if body.children[j]:
            node["children"] = [1 + child for child in body.children[j]]
        nodes.append(node)

    turned, moved = y_up_tracks(skinner, motion)
    clock = numbers.add(timestamps - timestamps[0], "f4", bounds=True)
    tracks = [(1 + j, "rotation", numbers.add(turned[:, j], "f4")) for j in range(body.n_joints)]
    tracks.append((1, "translation", numbers.add(moved, "f4")))
    animation = {
        "name": name,
        "samplers": [{"input": clock, "output": output, "interpolation": "LINEAR"} for *_, output in tracks],
        "channels": [
            {"sampler": i, "target": {"node": node, "path": what}} for i, (node, what, _) in enumerate(tracks)
        ],
        "extras": {"start": float(timestamps[0])},
    }
    told = {
        "asset": {"version": "2.0", "generator": f"mocap {__version__}"},
        "scene": 0,
        "scenes": [{"nodes": [0, 1]}],
        "nodes": nodes,
        "meshes": [mesh],
        "materials": [_material(body)],
        "skins": [skin],
        "animations": [animation],
        "accessors": numbers.accessors,
        "bufferViews": numbers.views,
    }
    write_bytes(path, _file(told, bytes(numbers.data)))


def _mesh(numbers: _Numbers, body: BodyModel, rest: Float[np.ndarray, "vertices 3"], name: str) -> dict[str, Any]:
    joints, weights = four_influences(body.weights)
    attributes = {
        "POSITION": numbers.add(rest, "f4", target=_ARRAYS, bounds=True),
        "NORMAL": numbers.add(normals_of(rest, body.faces), "f4", target=_ARRAYS),
        "JOINTS_0": numbers.add(joints, "u1" if body.n_joints <= 256 else "u2", target=_ARRAYS),
        "WEIGHTS_0": numbers.add(weights, "f4", target=_ARRAYS),
    }
    if body.colours is not None:
        light = np.concatenate([linear_light(body.colours.astype(float)), np.ones((len(rest), 1))], axis=1)
        attributes["COLOR_0"] = numbers.add(np.rint(65535 * light), "u2", target=_ARRAYS, normalized=True)
    # 65535 stands for the end of a strip
    faces = numbers.add(body.faces.reshape(-1), "u2" if len(rest) < 65535 else "u4", target=_INDICES)
    return {"name": name, "primitives": [{"attributes": attributes, "indices": faces, "material": 0}]}


def _material(body: BodyModel) -> dict[str, Any]:
    colour = np.ones(3) if body.colours is not None else linear_light(np.array(PLAIN))
    return {
        "name": "body",
        "pbrMetallicRoughness": {
            "baseColorFactor": [*colour.tolist(), 1.0],
            "metallicFactor": 0.0,
            "roughnessFactor": 0.8,
        },
    }


def _file(told: dict[str, Any], numbers: bytes) -> bytes:
    """Header, JSON chunk padded with spaces, binary chunk padded with zeros."""
    numbers += bytes(-len(numbers) % 4)
    text = json.dumps(told | {"buffers": [{"byteLength": len(numbers)}]}, separators=(",", ":"), allow_nan=False)
    words = text.encode("utf-8")
    words += b" " * (-len(words) % 4)
    chunks = struct.pack("<I4s", len(words), b"JSON") + words + struct.pack("<I4s", len(numbers), b"BIN\0") + numbers
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
