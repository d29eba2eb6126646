"""A moving body as USD text (.usda): mesh, skeleton and animation in the UsdSkel schema.

Metres, y up. The file is plain text and needs no library of USD's (usd-core unpacks to 200 MB), whose reader opens it.
Time codes are frames at the take's rate, so that a frame seen late has a code between two whole ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mocap.bodies.kinematics import Skinner
from mocap.bodies.model import BodyModel
from mocap.io.atomic import replacing
from mocap.io.skinned import PLAIN, four_influences, linear_light, normals_of, y_up_tracks
from mocap.take import Motion

_BINDING = '(prepend apiSchemas = ["SkelBindingAPI"])'


def _numbers(values: np.ndarray, form: str) -> str:
    return ", ".join(form % value for value in values.ravel().tolist())


def _tuples(rows: np.ndarray, form: str) -> str:
    """A list of tuples: (1, 2, 3), (4, 5, 6)."""
    rows = rows.reshape(len(rows), -1)
    one = "(" + ", ".join([form] * rows.shape[1]) + ")"
    return ", ".join([one] * len(rows)) % tuple(rows.ravel().tolist())


def _shifts(places: Float[np.ndarray, "joints 3"]) -> str:
    """Matrices that only move, as USD writes them: rows, the last of which is the place."""
    return ", ".join(f"((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), {_tuples(p[None], '%.7g')[:-1]}, 1))" for p in places)


def _paths(body: BodyModel) -> str:
    """The joints as paths from the root, which is how a skeleton's tree is told."""
    paths: list[str] = []
    for name, parent in zip(body.joint_names, body.parents.tolist(), strict=True):
        paths.append(name if parent < 0 else f"{paths[parent]}/{name}")
    return ", ".join(f'"{path}"' for path in paths)


def _mesh(body: BodyModel, rest: Float[np.ndarray, "vertices 3"], name: str) -> Iterable[str]:
    joints, weights = four_influences(body.weights)
    colours = np.array([PLAIN]) if body.colours is None else body.colours.astype(float)
    per = "constant" if body.colours is None else "vertex"
    yield f'    def Mesh "body" {_BINDING}\n    {{\n'
    yield f"        float3[] extent = [{_tuples(np.stack([rest.min(0), rest.max(0)]), '%.6g')}]\n"
    yield f"        int[] faceVertexCounts = [{_numbers(np.full(len(body.faces), 3), '%d')}]\n"
    yield f"        int[] faceVertexIndices = [{_numbers(body.faces, '%d')}]\n"
    yield f"        point3f[] points = [{_tuples(rest, '%.6g')}]\n"
    yield f'        normal3f[] normals = [{_tuples(normals_of(rest, body.faces), "%.4g")}] (interpolation = "vertex")\n'
    shown = _tuples(linear_light(colours), "%.4g")
    yield f'        color3f[] primvars:displayColor = [{shown}] (interpolation = "{per}")\n'
    four = '(elementSize = 4; interpolation = "vertex")'
    yield f"        int[] primvars:skel:jointIndices = [{_numbers(joints, '%d')}] {four}\n"
    yield f"        float[] primvars:skel:jointWeights = [{_numbers(weights, '%.7g')}] {four}\n"
    yield "        matrix4d primvars:skel:geomBindTransform = " + _shifts(np.zeros((1, 3))) + "\n"
    yield f"        rel skel:skeleton = </{name}/skeleton>\n"
    yield '        uniform token subdivisionScheme = "none"\n    }\n'


def write_usda(
    path: Path,
    body: BodyModel,
    betas: Float[np.ndarray, " betas"],
    motion: Motion,
    timestamps: Float[np.ndarray, " frames"],
    fps: float,
    *,
    name: str = "body",
) -> None:
    """One person's body and motion as a USD file of text, whole or not at all; frame by frame, so memory stays flat.

    Args:
        path: Where to; ends in `.usda`.
        body: The model.
        betas: Its shape; it is in the mesh and in the lengths of the bones.
        motion: In the z-up world [rad, m].
        timestamps: Of its frames [s]; time code 0 is the first.
        fps: Time codes a second.
        name: Of the prim that holds everything: a letter or underscore first, then also digits.
    """
    skinner = Skinner(body, betas)
    J = skinner.J
    arms = np.where(body.parents[:, None] >= 0, J - J[body.parents], J)
    turned, moved = y_up_tracks(skinner, motion)
    codes = (timestamps - timestamps[0]) * fps
    joints = f"        uniform token[] joints = [{_paths(body)}]\n"
    with replacing(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.write(
            f'#usda 1.0\n(\n    defaultPrim = "{name}"\n    metersPerUnit = 1\n    upAxis = "Y"\n'
            f"    startTimeCode = 0\n    endTimeCode = {codes[-1]:.6f}\n"
            f"    timeCodesPerSecond = {fps:.9g}\n    framesPerSecond = {fps:.9g}\n)\n\n"
            f'def SkelRoot "{name}" {_BINDING}\n{{\n'
            f'    def Skeleton "skeleton" {_BINDING}\n    {{\n{joints}'
            f"        uniform matrix4d[] bindTransforms = [{_shifts(J)}]\n"
            f"        uniform matrix4d[] restTransforms = [{_shifts(arms)}]\n"
            f"        rel skel:animationSource = </{name}/animation>\n    }}\n"
        )
        file.writelines(_mesh(body, skinner.rest.astype(float), name))
        file.write(f'    def SkelAnimation "animation"\n    {{\n{joints}')
        file.write(f"        half3[] scales = [{_tuples(np.ones(J.shape), '%d')}]\n")
        file.write("        float3[] translations.timeSamples = {\n")
        fixed = _tuples(arms[1:], "%.7g")
        for code, place in zip(codes, moved, strict=True):
            file.write(f"            {code:.6f}: [{_tuples(place[None], '%.7g')}, {fixed}],\n")
        file.write("        }\n        quatf[] rotations.timeSamples = {\n")
        for code, turn in zip(codes, turned[..., [3, 0, 1, 2]], strict=True):
            file.write(f"            {code:.6f}: [{_tuples(turn, '%.7g')}],\n")
        file.write("        }\n    }\n}\n")
