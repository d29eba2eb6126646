"""How far parts are in one another, on boxes whose overlap is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from mocap.bodies.load import load_body
from mocap.bodies.model import BodyModel
from mocap.bodies.penetration import distance_to_triangles, penetration, winding_number
from mocap.bodies.ranges import joint_ranges


def box(low, high, n=12):
    """A closed box with n x n squares on every side, its normals outwards."""
    low, high = np.array(low, dtype=float), np.array(high, dtype=float)
    vertices, faces = [], []
    u, v = (x.ravel() for x in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    for axis in range(3):
        for end in (0, 1):
            at = np.zeros((len(u), 3))
            at[:, axis], at[:, (axis + 1) % 3], at[:, (axis + 2) % 3] = end, u / n, v / n
            corner = sum(len(x) for x in vertices) + (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
            square = np.stack([corner, corner + n + 1, corner + n + 2, corner + 1], axis=1)
            square = square if end else square[:, ::-1]
            faces += [square[:, [0, 1, 2]], square[:, [0, 2, 3]]]
            vertices.append(low + at * (high - low))
    v, where = np.unique(np.concatenate(vertices).round(9), axis=0, return_inverse=True)
    return v, where.ravel()[np.concatenate(faces)]


def boxes(*ends, parents):
    """A body whose joints after the root lead one box each; the root leads a little one far away."""
    made = [box([9, 9, 9], [9.1, 9.1, 9.1], 1), *(box(*e) for e in ends)]
    counts = [len(v) for v, _ in made]
    starts = np.cumsum([0, *counts])[:-1]
    leading = np.repeat(np.arange(len(made)), counts)
    v = np.concatenate([v for v, _ in made])
    n, joints = len(v), len(made)
    return BodyModel(
        name="boxes",
        gender="neutral",
        content_hash="b" * 16,
        v_template=v,
        shapedirs=np.zeros((n, 3, 2)),
        posedirs=np.zeros((n, 3, 9 * (joints - 1))),
        weights=np.eye(joints)[leading],
        J_regressor=csr_array((np.eye(joints)[leading] / np.array(counts)).T),
        parents=np.array(parents),
        faces=np.concatenate([f + s for (_, f), s in zip(made, starts, strict=True)]),
        joint_names=tuple(f"joint_{k}" for k in range(joints)),
        regressors={},
    )


def at_rest(body, frames=1):
    nothing = np.zeros((frames, 3))
    return penetration(body, np.zeros(2), nothing, nothing, np.zeros((frames, body.n_joints - 1, 3)))


def test_a_closed_surface_goes_once_round_what_is_inside_and_twice_where_two_are():
    v, f = box([0, 0, 0], [1, 2, 3])
    w, g = box([0.5, -1, -1], [4, 4, 4])
    points = np.array([[0.3, 1, 1], [0.01, 0.01, 0.01], [-0.2, 1, 1], [5, 5, 5], [0.7, 1, 1]])
    np.testing.assert_allclose(winding_number(points, v[f]), [1, 1, 0, 0, 1], atol=1e-9)
    both = np.concatenate([v[f], w[g]])
    np.testing.assert_allclose(winding_number(points, both), [1, 1, 0, 0, 2], atol=1e-9)


def test_the_distance_to_a_box_is_the_one_to_its_nearest_side_edge_or_corner():
    v, f = box([0, 0, 0], [1, 1, 1], 3)
    points = np.array([[0.5, 0.5, 0.4], [0.5, 0.4, 1.3], [1.3, 1.4, 0.5], [-1.0, -2.0, -2.0]])
    np.testing.assert_allclose(distance_to_triangles(points, v[f]), [0.4, 0.3, 0.5, 3.0], atol=1e-12)


@pytest.mark.parametrize("overlap", [0.02, 0.05, 0.1])
def test_the_depth_and_volume_of_two_boxes_in_one_another_are_found(overlap):
    body = boxes(([0, 0, 0], [1, 1, 1]), ([1 - overlap, -0.4, -0.4], [2, 1.4, 1.4]), parents=[-1, 0, 0])
    found = at_rest(body)
    assert found.depth[0] == pytest.approx(overlap, abs=1e-6)
    assert found.volume[0] == pytest.approx(overlap, rel=0.25)  # the side that is inside is 1 m^2
    assert found.vertices[0] >= 13 * 13
    moved = penetration(
        body, np.zeros(2), np.full((1, 3), 0.7), np.full((1, 3), 3.0), np.zeros((1, body.n_joints - 1, 3))
    )
    assert moved.depth[0] == pytest.approx(overlap, abs=1e-5)


def test_boxes_that_only_come_near_are_not_in_one_another():
    found = at_rest(boxes(([0, 0, 0], [1, 1, 1]), ([1.01, -0.4, -0.4], [2, 1.4, 1.4]), parents=[-1, 0, 0]), frames=2)
    assert not found.depth.any() and not found.vertices.any() and not found.volume.any()


def test_parent_and_child_are_not_compared():
    body = boxes(([0, 0, 0], [1, 1, 1]), ([0.9, -0.4, -0.4], [2, 1.4, 1.4]), parents=[-1, 0, 1])
    assert at_rest(body).depth[0] == 0


def test_a_part_cut_from_the_body_is_closed():
    """In the rest pose nothing of the included body is in anything else; a shin turned into the other thigh is."""
    body = load_body()
    usual = joint_ranges(body.joint_names[1:]).usual
    crossed = usual.copy()
    crossed[body.joint_names.index("left_hip") - 1] = np.radians([-10, 0, -25])
    nowhere = np.zeros((3, 3))
    found = penetration(body, np.zeros(10), nowhere, nowhere, np.stack([np.zeros_like(usual), usual, crossed]))
    assert found.depth[0] == found.depth[1] == 0
    assert 0.02 < found.depth[2] < 0.12
    assert 1e-5 < found.volume[2] < 5e-3
