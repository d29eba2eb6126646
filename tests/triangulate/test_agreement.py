"""Claims about cameras that are late, moved, or in a world that lies on its side."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from walker import ring, seen, walker

from mocap.errors import CalibrationError
from mocap.geometry import rotations
from mocap.geometry.cameras import Rig
from mocap.io.calibration import to_z_up
from mocap.skeletons import BODY25, SMPL24
from mocap.take import Keypoints2D
from mocap.triangulate import agreement
from mocap.triangulate.rays import Rays, rays_through

T = np.arange(240) / 30
LIMIT = 25.6


def rays_of(rig: Rig, k: dict[str, Keypoints2D], noise: float = 3.0) -> Rays:
    xy = np.stack([k[n].xy.reshape(-1, 2) for n in rig.names])
    sure = np.stack([k[n].confidence.reshape(-1) for n in rig.names])
    return rays_through(list(rig), xy, sure, np.where(sure > 0, noise, np.inf))


def turned(rig: Rig, name: str, by: tuple[float, float, float]) -> Rig:
    """The rig with one camera turned, after calibration, by a rotation in its own axes [rad]."""
    R = np.eye(4)
    R[:3, :3] = rotations.exp(np.array(by))
    camera = dataclasses.replace(rig[name], T_camera_world=R @ rig[name].T_camera_world)
    return Rig(tuple(camera if c.name == name else c for c in rig))


@pytest.mark.parametrize("views", [2, 3, 5])
@pytest.mark.parametrize("late", [-0.2, 0.017, 0.3])
def test_how_late_a_camera_is_is_measured_to_a_fraction_of_a_frame(views: int, late: float):
    rig = ring(views)
    times = {n: T - (late if n == rig.names[-1] else 0) for n in rig.names}  # its stamps are late: it saw earlier
    lags = agreement.find_lags(rays_of(rig, seen(rig, times, noise=3.0)), T[None], 25)
    assert abs(lags.lag[-1] - late) < 0.006
    assert np.abs(lags.lag[:-1]).max() < 0.006
    assert lags.sigma[-1] < 0.01
    assert lags.closer[-1] > (2 if abs(late) > 0.1 else 1)


def test_blocks_of_frames_are_as_good_as_one_stretch():
    rig = ring(4)
    t = np.arange(900) / 30
    times = {n: t - (0.15 if n == "cam_2" else 0) for n in rig.names}
    k = seen(rig, times, noise=3.0)
    blocks = np.array([0, 300, 700])[:, None] + np.arange(120)
    at = blocks.ravel()
    k = {n: Keypoints2D.of(BODY25, t[at], v.xy[at], v.confidence[at]) for n, v in k.items()}
    lags = agreement.find_lags(rays_of(rig, k), t[blocks], 25)
    assert abs(lags.lag[1] - 0.15) < 0.006


def test_nothing_is_said_of_time_when_nobody_moves_or_there_is_one_frame():
    rig = ring(3)
    k = seen(rig, np.zeros(60), noise=3.0)  # the same moment over and over
    still = agreement.find_lags(rays_of(rig, k), T[None, :60], 25)
    assert ((np.abs(still.lag) < 4 * still.sigma) | (still.closer < 1.15)).all()
    assert np.isinf(still.sigma).any()
    one = agreement.find_lags(rays_of(rig, seen(rig, T[:1])), T[None, :1], 25)
    assert (one.lag == 0).all()
    assert np.isinf(one.sigma).all()


def test_a_constant_disagreement_is_not_taken_for_time():
    rig = ring(4)
    k = seen(turned(rig, "cam_2", (0.02, 0.02, 0.0)), T, noise=2.0)
    lags = agreement.find_lags(rays_of(rig, k), T[None], 25)
    assert np.abs(lags.lag).max() < 0.013


@pytest.mark.parametrize("views", [4, 6])
@pytest.mark.parametrize("by", [(0.05, 0.0, 0.0), (0.0, 0.05, 0.0), (0.03, 0.04, 0.0)])
def test_a_camera_that_was_turned_is_named(views: int, by: tuple[float, float, float]):
    rig = ring(views)
    left_out = agreement.leave_out(
        rays_of(turned(rig, "cam_2", by), seen(rig, T[::4], noise=3.0)), np.full(views, LIMIT)
    )
    bad, suspects = agreement.out_of_place(left_out, np.full(views, LIMIT))
    if views == 4 and by[1] > 0.04:  # with one of its neighbours gone, the other two face one another: cannot be told
        assert bad in (None, 1)
        assert bad == 1 or 1 in suspects
    else:
        assert bad == 1
        assert suspects == []
    assert 25 < left_out.distance[1] < 60
    assert left_out.others[1] < 6


def test_of_three_cameras_a_tilted_one_is_named_and_of_a_panned_one_nobody_else_is_accused():
    rig, limit = ring(3), np.full(3, LIMIT)
    k = seen(rig, T[::4], noise=3.0)

    def accused(by: tuple[float, float, float]) -> tuple[int | None, list[int]]:
        return agreement.out_of_place(agreement.leave_out(rays_of(turned(rig, "cam_2", by), k), limit), limit)

    assert accused((0.05, 0.0, 0.0)) == (1, [])
    bad, suspects = accused((0.0, 0.06, 0.0))
    assert bad == 1 or 1 in suspects


@pytest.mark.parametrize("views", [2, 3, 6])
def test_cameras_in_place_are_not_suspected(views: int):
    rig, limit = ring(views), np.full(views, LIMIT)
    left_out = agreement.leave_out(rays_of(rig, seen(rig, T[::4], noise=6.0, missing=0.1)), limit)
    assert agreement.out_of_place(left_out, limit) == (None, [])


UP = {
    "y": [[1.0, 0, 0], [0, 0, 1], [0, -1, 0]],
    "-y": [[1.0, 0, 0], [0, 0, -1], [0, 1, 0]],
    "x": [[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]],
    "-z": [[1.0, 0, 0], [0, -1, 0], [0, 0, -1]],
}


@pytest.mark.parametrize("axis", UP)
def test_a_world_that_lies_on_its_side_is_noticed_and_its_up_axis_named(axis: str):
    said = agreement.heads_above_feet(BODY25, walker(T) @ np.array(UP[axis]).T)
    assert said is not None
    assert f"up: {axis}}}" in said


@pytest.mark.parametrize("right", UP)
@pytest.mark.parametrize("said", ["x", "y", "-x", "-y", "z", "-z"])
def test_a_wrong_up_axis_is_answered_with_the_one_of_the_calibration(right: str, said: str):
    in_file = walker(T) @ np.array(UP[right]).T  # people stand along `right` in the axes of the file
    rig, turn = to_z_up(ring(2), said)
    told = agreement.heads_above_feet(BODY25, in_file @ turn[:3, :3].T, rig.R_world_file)
    if said == right:
        assert told is None
    else:
        assert told is not None
        assert f"up: {right}}}" in told


@pytest.mark.parametrize(("shift", "where"), [(0.0, None), (-1.0, "below"), (0.9, "above")])
def test_feet_that_keep_off_the_floor_are_noticed(shift: float, where: str | None):
    told = agreement.feet_off_floor(BODY25, walker(T) + [0, 0, shift])
    assert (told is None) == (where is None)
    if told is not None:
        assert f"m {where} the floor" in told


def test_a_world_that_stands_upright_is_not_complained_of():
    xyz = walker(T)
    assert agreement.heads_above_feet(BODY25, xyz) is None
    missing = xyz.copy()
    missing[:] = np.nan
    assert agreement.heads_above_feet(BODY25, missing) is None
    assert agreement.heads_above_feet(SMPL24, walker(T)[:, :24]) is None or SMPL24.has("head")
    # half of the time on the floor, along no one axis
    rolled = np.einsum("fij,fkj->fki", rotations.exp(np.stack([T * 0 + np.pi / 2, T * 0, T], -1)), xyz)
    rolled[: len(T) // 2 + 5] = xyz[: len(T) // 2 + 5]
    assert agreement.heads_above_feet(BODY25, rolled) is None


def test_one_camera_is_refused_in_a_sentence():
    with pytest.raises(CalibrationError, match=r"at least 2 calibrated cameras, and has 1 \(left\)"):
        agreement.require_cameras(["left"])
    agreement.require_cameras(["left", "right"])
