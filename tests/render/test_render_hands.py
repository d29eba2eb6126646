"""Hands by themselves are drawn from near and finely; bodies as they always were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rigs import look_at

from mocap import skeletons
from mocap.bodies.kinematics import keypoints_of
from mocap.bodies.load import load_body
from mocap.geometry import rotations
from mocap.geometry.cameras import Camera, Rig
from mocap.render.film import _Trail
from mocap.render.ground import GroundPainter, GroundView, plan_view
from mocap.render.mesh import light_from, sticks
from mocap.render.overlay import draw_detected, draw_limbs, draw_points, draw_skeleton, stroke
from mocap.render.posing import (
    LEFT,
    MIDDLE,
    OF_FINGER,
    fitted_skeleton,
    hand_alone,
    limb_colours,
    meshes_at,
    outline,
    palms_seen,
    scale_of,
)
from mocap.render.rasterisers import open_rasteriser
from mocap.stages.render_ground import RenderGround
from mocap.take import Keypoints3D, Motion, Person, RunContext, Take

FRAMES = 12
UP = {
    "left": np.stack([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]], axis=1),
    "right": np.stack([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]], axis=1),
}
"""Rotations under which the fingers point up and the back of the hand is turned to +y."""


def hand(side: str = "right", at=(0.0, 0.0, 0.15), *, R: np.ndarray | None = None, fitted: bool = True) -> Person:
    """A hand that moves a little to the side, its middle near `at`."""
    body = load_body(f"embedded_{side}_hand")
    R = UP[side] if R is None else R
    Rh = np.tile(rotations.log(R), (FRAMES, 1))
    middle = body.v_template.mean(0)
    Th = np.array(at) - R @ middle + np.linspace(0, 0.02, FRAMES)[:, None] * [1.0, 0, 0]
    poses, betas, skeleton = np.zeros((FRAMES, 15, 3)), np.zeros(body.n_betas), skeletons.HANDS[side]
    xyz = keypoints_of(body, skeleton, betas, Rh, Th, poses)
    ones = np.ones(xyz.shape[:2])
    points = Keypoints3D.of(skeleton, xyz, ones, np.ones((*xyz.shape, 3)), ones)
    return Person(keypoints3d=points, body=body, shape=betas, motion=Motion(Rh, Th, poses)) if fitted else Person(
        keypoints3d=points
    )  # fmt: skip


def standing_body() -> Person:
    body = load_body()
    n = FRAMES
    motion = Motion(np.tile([np.pi / 2, 0, 0], (n, 1)), np.tile([0, 0, 1.2], (n, 1)), np.zeros((n, 23, 3)))
    return Person(body=body, shape=np.zeros(10), motion=motion)


def take_of(people: list[Person], *, floor: bool, eye=(0.0, -0.6, 0.3)) -> Take:
    K = np.array([[300.0, 0, 159.5], [0, 300, 119.5], [0, 0, 1]])
    camera = Camera("a", K, np.zeros(5), look_at(np.array(eye), np.array([0, 0, 0.15])), (320, 240))
    clock = np.arange(FRAMES) / 30
    return Take(
        RunContext(Path("out")), clock, np.arange(FRAMES), Rig((camera,), has_floor=floor), people=tuple(people)
    )


def planned(people: list[Person], *, floor: bool = True, **kept) -> tuple[GroundView, dict]:
    take = RenderGround(**kept)(take_of(people, floor=floor).begun("render_ground", "render_ground"))
    (view,) = take.renderings
    return view, dict(take.reports[-1].facts)


@pytest.mark.parametrize("fitted", [True, False])
def test_who_is_a_hand_and_how_large_what_is_drawn_is(fitted):
    right, left, body = hand(fitted=fitted), hand("left", fitted=fitted), standing_body()
    assert hand_alone(right) and hand_alone(left) and not hand_alone(body)
    assert scale_of([right, left]) == 0.1
    assert scale_of([body]) == scale_of([body, right]) == scale_of([]) == 1.0


@pytest.mark.parametrize("fitted", [True, False])
def test_hands_fill_the_picture_with_their_tips_in_it(fitted):
    people = [hand(at=(-0.1, 0, 0.15), fitted=fitted), hand("left", at=(0.1, 0, 0.15), fitted=fitted)]
    view, facts = planned(people)
    assert view.scale == 0.1 and facts["floor"] == 0.0 and facts["floor_from"] == "the dataset's"
    points = np.concatenate([outline(p) for p in people], axis=1)
    assert points.shape[1] == 42
    for frame in (0, FRAMES - 1):
        xy, depth = view.at(frame).project(points[frame])
        assert (depth > 0).all() and (xy > 0).all() and (xy < view.size).all()
    assert np.ptp(xy, axis=0).max() > 0.3 * min(view.size)
    assert np.linalg.norm(view.at(0).centre - points.mean((0, 1))) < 1.0


def test_a_floor_far_below_hands_is_not_drawn_and_none_is_made_up():
    for people, floor in (([hand(at=(0, 0, 1.1))], True), ([hand()], False)):
        view, facts = planned(people, floor=floor, size=(160, 96))
        assert view.floor is None and not view.floor_known
        assert facts["floor"] is None and facts["floor_from"] == "none near the hands"
        rasteriser, _ = open_rasteriser("software")
        painter = GroundPainter(view, rasteriser, light_from(view.at(0)))
        picture = painter.frame(0, [])
        assert np.ptp(picture, axis=1).max() == 0  # an even backdrop, no square
        mesh = next(meshes_at(people[0], 0, np.arange(FRAMES) / 30, np.arange(FRAMES) / 30))
        assert mesh is not None
        changed = (painter.frame(0, [mesh]) != picture).any(-1)
        assert 0.02 < changed.mean() < 0.6  # a hand, and no shadow far from it
        rasteriser.close()
    with_floor = RenderGround(floor=1.0)(take_of([hand(at=(0, 0, 1.1))], floor=False).begun("r", "r"))
    assert with_floor.renderings[0].floor == 1.0 and with_floor.reports[-1].facts["floor_from"] == "as set"


def test_the_squares_under_a_hand_are_a_tenth_of_those_under_a_body():
    points = np.array([[[0.0, 0, 0.1], [0.05, 0, 0.2]]])
    way = np.array([[0.0, -1.0]])
    kept = {"floor": 0.0, "size": (320, 180), "fps": 30.0, "camera": "fixed"}
    small = plan_view(points, way, scale=0.1, **kept)
    large = plan_view(10 * points, way, **kept)
    np.testing.assert_allclose(10 * small.at(0).centre, large.at(0).centre, rtol=1e-6)
    rasteriser, _ = open_rasteriser("software")
    pictures = [GroundPainter(v, rasteriser, light_from(v.at(0))).frame(0, []) for v in (small, large)]
    rasteriser.close()
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() <= 1


def test_palms_are_seen_from_the_cameras_side_and_flat_hands_from_above_behind_the_wrist():
    upright = [hand(), hand("left")]
    for eye, wanted in (((0, -0.6, 0.2), (0, -1)), ((0, 0.6, 0.2), (0, 1))):
        rig = take_of(upright, floor=True, eye=eye).rig
        assert rig is not None
        way, elevation = palms_seen(upright, tuple(rig))
        np.testing.assert_allclose(way, wanted, atol=0.1)
        assert elevation == pytest.approx(np.radians(15))
    flat = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # the back of the hand up: a right hand's fingers along -x
    for side, wanted in (("right", (1, 0)), ("left", (-1, 0))):
        for fitted in (True, False):
            way, elevation = palms_seen([hand(side, R=flat, fitted=fitted)])
            assert way @ wanted > 0.9 and elevation > np.radians(50)
    assert palms_seen([])[1] == pytest.approx(np.radians(15))


def test_of_two_hands_neither_hides_the_other():
    palms_along_y = [hand(at=(0, 0.15, 0)), hand("left", at=(0, -0.15, 0))]
    assert abs(palms_seen(palms_along_y[:1])[0] @ (0, 1)) > 0.9
    way, _ = palms_seen(palms_along_y)
    assert abs(way @ (0, 1)) < 0.1


def test_finger_tips_leave_trails_in_their_fingers_colours():
    person, clock = hand("left"), np.arange(FRAMES) / 30
    trail = _Trail(person, clock, 5)
    strokes = [trail.at(i) for i in range(3)][-1]
    np.testing.assert_allclose(strokes.colours[:5], list(OF_FINGER.values()))
    tips = skeletons.LEFT_HAND21.indices([f"left_{finger}_tip" for finger in OF_FINGER])
    np.testing.assert_allclose(strokes.ends[-5:, 1], outline(person)[2, tips], atol=1e-9)


def test_each_finger_has_its_colour_and_a_body_with_hands_keeps_its_own():
    for side, skeleton in skeletons.HANDS.items():
        colours = dict(zip(skeleton.limbs, map(tuple, limb_colours(skeleton)), strict=True))
        assert colours[f"{side}_hand_wrist", f"{side}_thumb_cmc"] == OF_FINGER["thumb"]
        assert colours[f"{side}_pinky_dip", f"{side}_pinky_tip"] == OF_FINGER["pinky"]
        assert colours[f"{side}_index_mcp", f"{side}_middle_mcp"] == MIDDLE
        assert len(set(OF_FINGER.values())) == 5
    n = len(skeletons.MEDIAPIPE33.limbs)
    np.testing.assert_array_equal(limb_colours(skeletons.MEDIAPIPE75)[:n], limb_colours(skeletons.MEDIAPIPE33))
    assert (np.array(LEFT) == limb_colours(skeletons.MEDIAPIPE33)).all(1).any()


def test_a_hand_without_a_body_is_drawn_slimmer_than_limbs():
    joints = np.array([[0.0, 0, 0], [0, 0, 0.3]])
    limb, white = np.array([[0, 1]]), np.ones((1, 3))
    one, two = (sticks(joints, limb, white, radius=r) for r in (0.018, np.array([0.018, 0.004])))
    assert one is not None and two is not None
    assert np.ptp(one.vertices[:, 0]) == pytest.approx(np.ptp(two.vertices[:, 0]))  # the larger ball
    high = [m.vertices[m.vertices[:, 2] > 0.15] for m in (one, two)]
    assert np.ptp(high[1][:, 0]) < 0.4 * np.ptp(high[0][:, 0])
    mesh = next(meshes_at(hand(fitted=False), 0, np.arange(FRAMES) / 30, np.zeros(1)))
    assert mesh is not None and np.ptp(mesh.vertices, axis=0).max() < 0.25
    assert fitted_skeleton(hand(fitted=False)) is skeletons.RIGHT_HAND21


def test_a_body_s_skeleton_and_dots_are_drawn_as_they_were_and_a_hand_s_finer_where_it_is_small():
    rng = np.random.default_rng(0)
    body, size = skeletons.MEDIAPIPE33, (600, 600, 3)
    xy, sure = rng.uniform(50, 550, (33, 2)), rng.uniform(0.2, 1, 33)
    pictures = [np.zeros(size, np.uint8) for _ in range(2)]
    draw_skeleton(pictures[0], xy, body, limb_colours(body))
    draw_detected(pictures[0], xy, sure, body)
    draw_limbs(pictures[1], xy, body.limb_indices(), limb_colours(body))
    draw_points(pictures[1], xy, sure)
    np.testing.assert_array_equal(*pictures)

    skeleton = skeletons.RIGHT_HAND21
    at = outline(hand())[0][:, [0, 2]] * [1, -1]
    at = (at - at.mean(0)) / np.ptp(at, axis=0).max()

    def drawn(height: float, draw) -> float:
        """Pixels drawn on, for each pixel of the hand's height."""
        picture = np.zeros(size, np.uint8)
        draw(picture, at * height + 300)
        return float(picture.any(-1).sum()) / height

    lines = lambda picture, xy: draw_skeleton(picture, xy, skeleton, limb_colours(skeleton))  # noqa: E731
    dots = lambda picture, xy: draw_detected(picture, xy, np.ones(21), skeleton)  # noqa: E731
    assert stroke(np.zeros(size, np.uint8)) == 2
    assert drawn(60, lines) < 0.75 * drawn(500, lines)
    assert drawn(30, dots) == 0 and drawn(80, dots) < 0.6 * drawn(500, dots) * 500 / 80
