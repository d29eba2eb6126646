"""Single pictures: what was seen, the body over it, and the body from the side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mocap.bodies.kinematics import vertices_of
from mocap.geometry.cameras import Camera
from mocap.io.atomic import write_bytes
from mocap.render.layer import Rasteriser
from mocap.render.mesh import Mesh, light_from, seen_at
from mocap.render.overlay import draw_bodies, draw_detected, draw_skeleton
from mocap.render.posing import fitted_skeleton, limb_colours, points_at, surface_of
from mocap.take import Person

Picture = UInt8[np.ndarray, "_ _ 3"]

_PAPER = 238
"""Grey of what lies behind the body seen from the side, and between pictures."""
_GAP = 6
"""Between panels [px]."""
_CELL, _LINE = (528, 240), 18
"""Of a contact sheet: width and height of a picture at most, and height of its name [px]."""


def from_the_side(camera: Camera, points: Float[np.ndarray, "points 3"]) -> Camera:
    """A camera that has gone a quarter round the middle of the points, to its right, at the same distance.

    It turns about the picture's own upright axis and has the middle of the points in the middle of its width.
    """
    middle = camera.to_camera(0.5 * (points.min(0) + points.max(0)))
    turn, T = np.eye(4), np.eye(4)
    turn[:3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
    T[:3, 3] = -middle
    back = np.eye(4)
    # the principal point need not be the middle of the picture
    column = ((camera.size[0] - 1) / 2 - camera.K[0, 2]) / camera.K[0, 0]
    back[:3, 3] = [column * middle[2], middle[1], middle[2]]
    K = camera.K.copy()
    K[0, 1] = 0
    return replace(
        camera, K=K, distortion=np.zeros(5), fisheye=False, T_camera_world=back @ turn @ T @ camera.T_camera_world
    )


def panels(
    picture: Picture,
    camera: Camera,
    person: Person,
    view: str,
    rasteriser: Rasteriser,
    *,
    longer_side: tuple[int, int] = (600, 960),
    opacity: float = 0.7,
    keypoints: bool = True,
) -> Picture:
    """Side by side: the picture with what was detected, the body over it, and the body from the side.

    Args:
        picture: RGB.
        camera: Of the picture's pixels.
        person: Of a single moment; without a motion there is the first panel alone.
        view: Whose 2D keypoints are drawn.
        rasteriser: Who draws.
        longer_side: Of a panel at least and at most [px]: small pictures are enlarged.
        opacity: Of the body, in [0, 1].
        keypoints: Whether to draw what was detected (dots) and the fitted skeleton (lines).
    """
    height, width = picture.shape[:2]
    longer = max(height, width)
    scale = float(np.clip(longer, *longer_side)) / longer
    size = max(2, round(width * scale)), max(2, round(height * scale))
    factor = np.array(size) / (width, height)
    large = replace(camera, size=(width, height)).scaled_to(size)
    seen = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    parts = [seen]
    if person.motion is not None and person.body is not None and person.shape is not None:
        m, moment = person.motion, np.zeros(1)
        (vertices,) = vertices_of(person.body, person.shape, m.Rh[:1], m.Th[:1], m.poses[:1])
        surface = surface_of(person, 0, "person")
        assert surface is not None
        skeleton = fitted_skeleton(person) if keypoints else None
        side = from_the_side(large, vertices.astype(float))
        over, blank = seen.copy(), np.full_like(seen, _PAPER)
        for part, eye, opaque in ((over, large, opacity), (blank, side, 1.0)):
            draw_bodies(part, eye, [Mesh(surface, vertices)], rasteriser, light_from(eye), opacity=opaque)
            if skeleton is not None and part is over:
                xy = seen_at(eye, points_at(person, skeleton, moment, moment)[0])
                draw_skeleton(part, xy, skeleton, limb_colours(skeleton))
            parts.append(part)
    if keypoints and view in person.keypoints2d:
        found = person.keypoints2d[view]
        for part in parts[:2]:
            draw_detected(part, (found.xy[0] + 0.5) * factor - 0.5, found.confidence[0], found.skeleton)
    gap = np.full((size[1], _GAP, 3), 255, np.uint8)
    return np.concatenate([p for part in parts for p in (part, gap)][:-1], axis=1)


def thumbnail(picture: Picture) -> Picture:
    """A picture as it fits into a contact sheet's cell."""
    scale = min(_CELL[1] / picture.shape[0], _CELL[0] / picture.shape[1])
    size = max(1, int(picture.shape[1] * scale)), max(1, int(picture.shape[0] * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def contact_sheet(thumbnails: Mapping[str, Picture], *, columns: int = 4) -> Picture:
    """Thumbnails in rows, each with its name above it."""
    columns = min(columns, len(thumbnails))
    width, height = _CELL
    rows = -(-len(thumbnails) // columns)
    sheet = np.full((rows * (height + _LINE + _GAP), columns * (width + _GAP), 3), _PAPER, np.uint8)
    for i, (label, cell) in enumerate(thumbnails.items()):
        y, x = (i // columns) * (height + _LINE + _GAP), (i % columns) * (width + _GAP)
        plain = label.encode("ascii", "replace").decode()  # the only letters OpenCV's drawing has
        cv2.putText(sheet, plain, (x + 2, y + _LINE - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (20, 20, 20), 1, cv2.LINE_AA)
        sheet[y + _LINE : y + _LINE + cell.shape[0], x : x + cell.shape[1]] = cell
    return sheet


def write_picture(path: Path, picture: Picture) -> None:
    """Writes RGB as PNG, whole or not at all."""
    coded, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert coded
    write_bytes(path, data.tobytes())
