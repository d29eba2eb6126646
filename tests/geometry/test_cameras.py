"""Claims about cameras, against OpenCV and finite differences."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocap.errors import CalibrationError, UnknownName
from mocap.geometry import rotations
from mocap.geometry.cameras import Camera, Rig

COEFFICIENTS = {
    "none": [],
    "four": [-0.28, 0.09, 1e-3, -7e-4],
    "five": [-0.28, 0.09, 1e-3, -7e-4, -0.012],
    "rational": [0.12, -0.05, 8e-4, -4e-4, 0.01, 0.35, -0.02, 0.015],
    "thin prism": [0.12, -0.05, 8e-4, -4e-4, 0.01, 0.35, -0.02, 0.015, 1e-3, -4e-4, 7e-4, 3e-4],
    "fisheye": [0.03, -0.01, 4e-3, -8e-4],
}


def camera(distortion: str = "five", *, seed: int = 0, size: tuple[int, int] = (1280, 720)) -> Camera:
    rng = np.random.default_rng(seed)
    T = np.eye(4)
    T[:3, :3] = rotations.exp(rng.normal(size=3))
    T[:3, 3] = rng.normal(size=3)
    K = np.array([[910.0, 0.0, 655.5], [0.0, 905.0, 341.25], [0.0, 0.0, 1.0]])
    return Camera("one", K, np.array(COEFFICIENTS[distortion]), T, size, fisheye=distortion == "fisheye")


def points_before(c: Camera, n: int = 300, *, seed: int = 1) -> np.ndarray:
    """World points [m] that fall inside the image."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(1.5, 8.0, n)
    p = np.stack([rng.uniform(-0.65, 0.65, n) * depth, rng.uniform(-0.35, 0.35, n) * depth, depth], axis=-1)
    return (p - c.t) @ c.R


@pytest.mark.parametrize("distortion", COEFFICIENTS)
def test_projection_is_opencvs(distortion: str) -> None:
    c = camera(distortion)
    xyz = points_before(c)
    if c.fisheye:
        expected, _ = cv2.fisheye.projectPoints(xyz[:, None], cv2.Rodrigues(c.R)[0], c.t, c.K, c.distortion)
    else:
        expected, _ = cv2.projectPoints(xyz, cv2.Rodrigues(c.R)[0], c.t, c.K, c.distortion)
    xy, depth = c.project(xyz)
    np.testing.assert_allclose(xy, expected[:, 0], atol=1e-8)
    assert (depth > 0).all()


@pytest.mark.parametrize("distortion", COEFFICIENTS)
@given(seed=st.integers(0, 10_000))
def test_projection_jacobian_by_finite_differences(distortion: str, seed: int) -> None:
    c = camera(distortion, seed=seed)
    xyz = points_before(c, 20, seed=seed + 1)
    h = 1e-6
    xy, J = c.project_with_jacobian(xyz)
    numeric = np.stack([(c.project(xyz + s)[0] - c.project(xyz - s)[0]) / (2 * h) for s in h * np.eye(3)], axis=-1)
    np.testing.assert_allclose(J, numeric, rtol=1e-6, atol=2e-5)
    np.testing.assert_array_equal(xy, c.project(xyz)[0])


@pytest.mark.parametrize("distortion", COEFFICIENTS)
def test_undistorting_a_pixel_gives_the_ray_it_came_by(distortion: str) -> None:
    c = camera(distortion)
    xyz = points_before(c)
    p = c.to_camera(xyz)
    np.testing.assert_allclose(c.undistort(c.project(xyz)[0]), p[:, :2] / p[:, 2:], atol=1e-8)
    rays = c.rays(c.project(xyz)[0])
    expected = xyz - c.centre
    np.testing.assert_allclose(rays, expected / np.linalg.norm(expected, axis=-1, keepdims=True), atol=1e-8)


def test_jacobian_on_the_optical_axis_of_a_fisheye_is_finite_and_right() -> None:
    c = camera("fisheye")
    on_axis = c.centre + 2.0 * c.R[2]
    J = c.project_with_jacobian(on_axis)[1]
    np.testing.assert_allclose(J, c.K[:2, :2] @ c.R[:2] / 2.0, rtol=1e-6)


def test_missing_pixels_stay_missing_and_leave_their_neighbours_alone() -> None:
    c = camera("rational")
    xy = c.project(points_before(c, 6))[0].reshape(2, 3, 2)
    clean = c.undistort(xy)
    xy[0, 1] = np.nan
    out = c.undistort(xy)
    assert np.isnan(out[0, 1]).all()
    out[0, 1] = clean[0, 1]
    np.testing.assert_array_equal(out, clean)
    assert c.undistort(np.zeros((0, 4, 2))).shape == (0, 4, 2)


@pytest.mark.parametrize("distortion", COEFFICIENTS)
def test_a_small_angle_is_as_many_pixels_as_the_camera_says(distortion: str) -> None:
    c = camera(distortion)
    xy = c.project(points_before(c, 50))[0]
    # a pixel's corners enclose a solid angle of one over the square of pixels per radian
    d = c.rays(xy[:, None] + 0.05 * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]))
    solid = 0.5 * np.linalg.norm(np.cross(d[:, 2] - d[:, 0], d[:, 3] - d[:, 1]), axis=-1)
    np.testing.assert_allclose(c.pixels_per_radian(c.undistort(xy)), 0.1 / np.sqrt(solid), rtol=1e-5)


def test_a_pixel_no_ray_leads_to_is_missing() -> None:
    # r (1 - 0.3 r^2) never exceeds 0.703, that is 351 px
    c = Camera("barrel", np.diag([500.0, 500.0, 1.0]), np.array([-0.3, 0, 0, 0]), np.eye(4), (640, 480))
    out = c.undistort(np.array([[350.0, 0.0], [600.0, 0.0], [5000.0, 5000.0], [0.0, -360.0]]))
    np.testing.assert_allclose(out[0], [1.0, 0.0], atol=1e-9)
    assert np.isnan(out[1:]).all()
    assert np.isnan(camera("fisheye").undistort(np.array([1e5, 0.0]))).all()


def test_points_at_and_behind_the_camera_have_no_pixel() -> None:
    c = camera()
    xy, depth = c.project(np.stack([c.centre, c.centre - c.R[2], c.centre + c.R[2]]))
    assert np.isnan(xy[:2]).all()
    assert np.isfinite(xy[2]).all()
    assert depth[1] < 0 < depth[2]
    assert np.isnan(c.project_with_jacobian(c.centre - c.R[2])[1]).any()


@pytest.mark.parametrize("distortion", COEFFICIENTS)
def test_a_scaled_camera_sees_the_same_places_of_a_resized_image(distortion: str) -> None:
    c = camera(distortion)
    xy = c.project(points_before(c))[0]
    small = c.scaled_to((640, 240))
    # the outer edges of the image, half a pixel outside the first and last centres, map on to each other
    expected = (xy + 0.5) * [640 / 1280, 240 / 720] - 0.5
    np.testing.assert_allclose(small.project(points_before(c))[0], expected, atol=1e-9)
    back = small.scaled_to(c.size)
    np.testing.assert_allclose(back.K, c.K, atol=1e-9)


def test_scaling_agrees_with_opencvs_resize() -> None:
    image = np.zeros((720, 1280), np.float32)
    image[300:304, 500:504] = 1  # its middle is at (501.5, 301.5)
    c = Camera(
        "one", np.array([[1000.0, 0, 501.5], [0, 1000.0, 301.5], [0, 0, 1]]), np.zeros(0), np.eye(4), (1280, 720)
    )
    resized = cv2.resize(image, (640, 360), interpolation=cv2.INTER_AREA)
    v, u = np.nonzero(resized)
    np.testing.assert_allclose([u.mean(), v.mean()], c.scaled_to((640, 360)).K[:2, 2])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"distortion": np.zeros(3)}, "3 distortion coefficients"),
        ({"K": np.diag([-1.0, 1.0, 1.0])}, "focal lengths"),
        ({"K": np.full((3, 3), np.nan)}, "not finite"),
        ({"T_camera_world": np.diag([1.0, 1.0, -1.0, 1.0])}, "rotation"),
    ],
)
def test_impossible_calibrations_are_refused_with_the_cameras_name(change: dict, said: str) -> None:
    good = {"K": np.eye(3), "distortion": np.zeros(5), "T_camera_world": np.eye(4)}
    with pytest.raises(CalibrationError, match=f'(?s)"side".*{said}'):
        Camera("side", **{**good, **change}, size=(640, 480))


def test_cameras_of_a_rig_are_found_by_name_never_by_order() -> None:
    def named(name: str) -> Camera:
        return Camera(name, np.eye(3), np.zeros(0), np.eye(4), (640, 480))

    rig = Rig(tuple(named(n) for n in ("cam_2", "cam_10", "07")))
    assert rig["cam_10"].name == "cam_10"
    assert rig.only(["07", "cam_2"]).names == ("07", "cam_2")
    assert [c.name for c in rig] == list(rig.names)
    assert len(rig) == 3
    with pytest.raises(UnknownName, match="cam_10"):
        rig["cam_1"]
    with pytest.raises(CalibrationError, match="same name"):
        Rig((named("a"), named("a")))
