"""OpenSim's files: markers (TRC) and coordinates of its models over time (MOT). Axes: x, y up, z; docs/formats.md.

Coordinates are those of the generic models, computed from the fitted body's rotations: no model is scaled and no
inverse kinematics is run here. Orders of rotation and signs are those of the models' joints: Delp et al., "An
interactive graphics-based model of the lower extremity ..." (1990) for gait2392, Rajagopal et al., "Full-body
musculoskeletal model for muscle-driven simulation of human gait" (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from mocap.bodies.angles import joint_rotations, unbroken_angles
from mocap.errors import DataError
from mocap.io.atomic import replacing
from mocap.io.meshes import Y_UP_OF_WORLD
from mocap.io.tables import write_rows

Model = Literal["rajagopal", "gait2392"]

# Joint: for its three angles the coordinate and its sign; "" where the models have none. Right side's signs, which the
# models mirror on the left.
_COORDINATES = {
    "pelvis": (("pelvis_tilt", 1), ("pelvis_list", 1), ("pelvis_rotation", 1)),
    "hip": (("hip_flexion", 1), ("hip_adduction", 1), ("hip_rotation", 1)),
    "knee": (("knee_angle", -1), ("", 1), ("", 1)),
    "ankle": (("ankle_angle", 1), ("subtalar_angle", 1), ("", 1)),
    "toes": (("mtp_angle", 1), ("", 1), ("", 1)),
    "trunk": (("lumbar_extension", 1), ("lumbar_bending", 1), ("lumbar_rotation", 1)),
    "shoulder": (("arm_flex", 1), ("arm_add", 1), ("arm_rot", 1)),
    "elbow": (("elbow_flex", 1), ("", 1), ("pro_sup", 1)),
    "wrist": (("", 1), ("wrist_flex", 1), ("wrist_dev", -1)),
}
_ARMS = ("shoulder", "elbow", "wrist")
_SUPINATED = 90.0
"""From palms forward, where pro_sup is 0, to palms to the thighs [degrees]."""
_MIDDLE_OF_HIPS = {"rajagopal": (-0.056276, -0.07849, 0.0), "gait2392": (-0.0707, -0.0661, 0.0)}
"""In the pelvis of the generic model, whose origin is between the front spines of the ilium [m]."""


def coordinates(
    joint_names: Sequence[str],
    Rh: Float[np.ndarray, "frames 3"],
    poses: Float[np.ndarray, "frames posed_joints 3"],
    joints: Float[np.ndarray, "frames joints 3"],
    *,
    model: Model = "rajagopal",
) -> tuple[tuple[str, ...], Float[np.ndarray, "frames coordinates"]]:
    """Names and values of a model's coordinates: degrees, and metres for the pelvis's place, y up.

    Args:
        joint_names: The body's joints, the root first, as SMPL's.
        Rh: Rotation through the world, z up [rad].
        poses: Local rotations of the joints after the root [rad].
        joints: Places of the joints [m].
        model: Which one's: gait2392 has no arms, and a knee that bends with a negative sign.

    Raises:
        DataError: A body without pelvis and hips.
    """
    names = list(joint_names)
    R = joint_rotations(joint_names, Rh, poses)
    hips = ("left_hip", "right_hip")
    if "pelvis" not in R or not all(hip in names for hip in hips):
        raise DataError(
            f"OpenSim's models have a pelvis and hips, and this has {', '.join(names[:5])} ...; the angles of a hand "
            "are in the tables (csv, parquet), its points in trc and c3d."
        )
    kinds = {name: name.split("_", 1)[-1] for name in R}
    kept = {n: k for n, k in kinds.items() if k in _COORDINATES and not (model == "gait2392" and k in _ARMS)}
    angles = unbroken_angles(
        {name: R[name] for name in kept}, {n: "YXZ" if k == "wrist" else "ZXY" for n, k in kept.items()}
    )
    for side in ("left", "right"):  # the radius turns in the elbow and, in a fit, in the wrist too
        if f"{side}_wrist" in angles:
            angles[f"{side}_elbow"][:, 2] += angles[f"{side}_wrist"][:, 0]
    found: dict[str, np.ndarray] = {}
    for name, kind in kept.items():
        end = f"_{name[0]}" if name != kind else ""
        for (coordinate, sign), values in zip(_COORDINATES[kind], np.degrees(angles[name].T), strict=True):
            if coordinate:
                found[coordinate + end] = sign * values
    for end in ("_l", "_r"):
        if model == "gait2392":
            found[f"knee_angle{end}"] = -found[f"knee_angle{end}"]
        elif f"pro_sup{end}" in found:
            found[f"pro_sup{end}"] = found[f"pro_sup{end}"] + _SUPINATED
    middle = joints[:, [names.index(hip) for hip in hips]].mean(1) @ Y_UP_OF_WORLD.T
    place = middle - R["pelvis"] @ np.array(_MIDDLE_OF_HIPS[model])
    rotation = ("pelvis_tilt", "pelvis_list", "pelvis_rotation")
    order = [*rotation, "pelvis_tx", "pelvis_ty", "pelvis_tz"]
    found |= dict(zip(order[3:], place.T, strict=True))
    order += [name for end in ("_r", "_l", "") for name in found if name not in order and _end(name) == end]
    return tuple(order), np.stack([found[name] for name in order], axis=1)


def _end(name: str) -> str:
    return name[-2:] if name.endswith(("_r", "_l")) else ""


def write_mot(
    path: Path,
    names: Sequence[str],
    values: Float[np.ndarray, "frames coordinates"],
    timestamps: Float[np.ndarray, " frames"],
) -> None:
    """A motion of OpenSim: its header, the names, and one row a frame, time [s] first; whole or not at all.

    Args:
        path: Where to.
        names: Coordinates of the model.
        values: Angles in degrees, places in metres.
        timestamps: [s]
    """
    head = (
        f"Coordinates\nversion=1\nnRows={len(values)}\nnColumns={1 + len(names)}\ninDegrees=yes\n\n"
        "Units are S.I. units (second, meters, Newtons, ...)\n"
        "If the header above contains a line with 'inDegrees', this indicates whether rotational values are in degrees "
        "(yes) or radians (no).\n\nendheader\n"
    )
    with replacing(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.write(head + "\t".join(("time", *names)) + "\n")
        write_rows(file, np.column_stack([timestamps, values]), ["%.8f"] * (1 + len(names)), "\t")


def write_trc(
    path: Path,
    names: Sequence[str],
    xyz: Float[np.ndarray, "frames points 3"],
    *,
    frames: Int[np.ndarray, " frames"],
    timestamps: Float[np.ndarray, " frames"],
    fps: float,
    unit: Literal["m", "mm"] = "m",
) -> None:
    """Points as OpenSim's TRC, y up (x, z, -y of the world); whole or not at all.

    Args:
        path: Where to.
        names: Of the points.
        xyz: In the world, z up [m]; NaN where missing: an empty cell in the file.
        frames: Numbers of the frames.
        timestamps: [s]
        fps: Frame rate [1/s].
        unit: Of the file; either is read, by the Units it names.
    """
    scale, digits = {"m": (1.0, 6), "mm": (1000.0, 3)}[unit]
    rate = f"{fps:.6f}".rstrip("0").rstrip(".")
    facts = {
        "DataRate": rate,
        "CameraRate": rate,
        "NumFrames": len(xyz),
        "NumMarkers": len(names),
        "Units": unit,
        "OrigDataRate": rate,
        "OrigDataStartFrame": int(frames[0]) if len(frames) else 0,
        "OrigNumFrames": len(xyz),
    }
    head = [
        f"PathFileType\t4\t(X/Y/Z)\t{Path(path).name}",
        "\t".join(facts),
        "\t".join(map(str, facts.values())),
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{i + 1}" for i in range(len(names)) for axis in "XYZ"),
        "",
    ]
    points = (scale * xyz @ Y_UP_OF_WORLD.T).reshape(len(xyz), -1)
    formats = ["%d", "%.6f"] + [f"%.{digits}f"] * points.shape[1]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(head) + "\n")
        write_rows(file, np.column_stack([frames, timestamps, points]), formats, "\t")
