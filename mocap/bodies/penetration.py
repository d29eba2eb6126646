"""How far a posed body's surface runs into itself, measured on the mesh."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mocap.bodies.kinematics import Skinner
from mocap.bodies.model import BodyModel

_AT_ONCE = 200_000
"""Point-triangle pairs computed at one time."""


@dataclass(frozen=True, eq=False)
class Penetration:
    """What of one part's surface lies inside another part, frame by frame."""

    depth: Float[np.ndarray, " frames"]
    """Of the deepest vertex below the other part's surface [m]."""
    vertices: Int[np.ndarray, " frames"]
    """How many lie inside another part."""
    volume: Float[np.ndarray, " frames"]
    """That parts have in common, about: the area inside times its depth, half of it for each of two parts [m^3]."""


@dataclass(frozen=True, eq=False)
class _Part:
    """One joint's part of the mesh: the faces and vertices it leads, closed where they were cut off."""

    vertices: Int[np.ndarray, " own"]
    faces: Int[np.ndarray, "own_faces 3"]
    rim: Int[np.ndarray, "edges 2"]
    """Edges of the cuts, turned as the lids need them."""
    loop: Int[np.ndarray, " edges"]
    """Which cut each belongs to."""

    def lids(self, v: np.ndarray) -> Float[np.ndarray, "edges 3 3"]:
        """Triangles that close the cuts: a fan about each one's middle."""
        if not len(self.rim):
            return np.zeros((0, 3, 3))
        middle = 0.5 * v[self.rim].sum(1)
        sums = np.stack([np.bincount(self.loop, middle[:, k]) for k in range(3)], axis=1)
        centre = sums / np.bincount(self.loop)[:, None]
        return np.concatenate([v[self.rim], centre[self.loop, None]], axis=1)


@lru_cache(maxsize=4)
def _parts(body: BodyModel) -> tuple[list[_Part], Bool[np.ndarray, "joints joints"]]:
    """The parts and which pairs of them are compared: those that are not parent and child and share no edge."""
    leading = body.weights.argmax(1)
    corners = leading[body.faces]
    # a triangle between parts belongs to the one that leads two of its corners
    of_face = np.where(corners[:, 1] == corners[:, 2], corners[:, 1], corners[:, 0])
    apart = ~np.eye(body.n_joints, dtype=bool)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        apart[corners[:, a], corners[:, b]] = apart[corners[:, b], corners[:, a]] = False
    child = np.arange(1, body.n_joints)
    apart[child, body.parents[1:]] = apart[body.parents[1:], child] = False
    parts = []
    n = len(body.v_template)
    for j in range(body.n_joints):
        faces = body.faces[of_face == j]
        edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        rim = edges[~np.isin(edges[:, 0] * n + edges[:, 1], edges[:, 1] * n + edges[:, 0])][:, ::-1]
        used, place = np.unique(rim, return_inverse=True)
        graph = coo_array((np.ones(len(rim)), place.reshape(-1, 2).T), shape=(len(used),) * 2)
        loop = connected_components(graph, directed=False)[1] if len(rim) else np.zeros(0, dtype=int)
        parts.append(_Part(np.unique(faces), faces, rim, loop[place.reshape(-1, 2)[:, 0]]))
    return parts, apart


def winding_number(
    points: Float[np.ndarray, "points 3"], triangles: Float[np.ndarray, "triangles 3 3"]
) -> Float[np.ndarray, " points"]:
    """How often a closed surface goes round each point: 0 outside, 1 inside.

    The sum of the triangles' solid angles over 4 pi (van Oosterom and Strackee, "The solid angle of a plane triangle",
    1983; Jacobson et al., "Robust inside-outside segmentation using generalized winding numbers", 2013).
    """
    out = np.zeros(len(points))
    size = max(1, _AT_ONCE // max(1, len(triangles)))
    for s in range(0, len(points), size):
        a, b, c = (triangles[:, k] - points[s : s + size, None] for k in range(3))
        la, lb, lc = (np.linalg.norm(x, axis=-1) for x in (a, b, c))
        volume = (a * np.cross(b, c)).sum(-1)
        rest = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
        out[s : s + size] = np.arctan2(volume, rest).sum(1) / (2 * np.pi)
    return out


def distance_to_triangles(
    points: Float[np.ndarray, "points 3"], triangles: Float[np.ndarray, "triangles 3 3"]
) -> Float[np.ndarray, " points"]:
    """From each point to the nearest of the triangles [m]."""
    out = np.empty(len(points))
    size = max(1, _AT_ONCE // len(triangles))
    a, b, c = triangles.transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    for s in range(0, len(points), size):
        p = points[s : s + size, None]
        above = ((p - a) * normal).sum(-1)
        within = np.ones_like(above, dtype=bool)
        nearest = np.full_like(above, np.inf)
        for first, last in ((a, b), (b, c), (c, a)):
            edge, arm = last - first, p - first
            within &= (np.cross(edge, arm) * normal).sum(-1) >= 0
            t = np.clip((arm * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-18), 0, 1)
            nearest = np.minimum(nearest, np.linalg.norm(arm - t[..., None] * edge, axis=-1))
        out[s : s + size] = np.where(within, np.abs(above), nearest).min(1)
    return out


def penetration(
    body: BodyModel,
    betas: Float[np.ndarray, " betas"],
    Rh: Float[np.ndarray, "frames 3"],
    Th: Float[np.ndarray, "frames 3"],
    poses: Float[np.ndarray, "frames joints 3"],
) -> Penetration:
    """How far parts of a posed body are inside one another.

    A part is what one joint leads, closed where it is cut from the others. A vertex is inside another part by its
    winding number, and its depth is the distance from there to that part's surface, lids left out. Parts that are
    neighbours are not compared (parent and child, and any that share an edge): their flesh folds in every bent joint.
    """
    parts, apart = _parts(body)
    depth, count, volume = np.zeros(len(Rh)), np.zeros(len(Rh), dtype=int), np.zeros(len(Rh))
    for frame, posed in enumerate(Skinner(body, betas).chunks(Rh, Th, poses)):
        v = posed.astype(float)
        area = _vertex_area(v, body.faces)
        inside = np.zeros(len(v), dtype=bool)
        low, high = (np.array([end(v[p.vertices], axis=0) for p in parts]) for end in (np.min, np.max))
        meet = apart & (low[:, None] <= high).all(-1) & (low <= high[:, None]).all(-1)
        for i, j in np.argwhere(meet):
            own = parts[i].vertices
            own = own[((v[own] >= low[j]) & (v[own] <= high[j])).all(1)]
            if not len(own):
                continue
            skin = v[parts[j].faces]
            own = own[winding_number(v[own], np.concatenate([skin, parts[j].lids(v)])) > 0.5]
            if not len(own):
                continue
            below = distance_to_triangles(v[own], skin)
            inside[own] = True
            depth[frame] = max(depth[frame], below.max())
            volume[frame] += 0.5 * float(below @ area[own])
        count[frame] = inside.sum()
    return Penetration(depth, count, volume)


def _vertex_area(v: np.ndarray, faces: np.ndarray) -> Float[np.ndarray, " vertices"]:
    a, b, c = v[faces].transpose(1, 0, 2)
    third = np.linalg.norm(np.cross(b - a, c - a), axis=-1) / 6
    return np.bincount(faces.ravel(), np.repeat(third, 3), len(v))
