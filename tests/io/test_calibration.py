"""Calibration files, read by name, and cameras joined to footage and to a z-up world."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap.errors import BadFile, CalibrationError, MissingFile, UnknownName, UnsafeFile
from mocap.geometry import rotations
from mocap.geometry.cameras import Camera, Rig
from mocap.io.calibration import (
    UPS,
    fit_to_footage,
    match_cameras,
    normalised,
    read_calibration,
    to_z_up,
    write_calibration,
)


def camera(
    name: str, seed: int = 0, *, distortion: int = 5, size: tuple[int, int] = (1280, 720), fisheye=False
) -> Camera:
    """A camera about 4 m away that looks at the origin, more or less."""
    rng = np.random.default_rng(seed)
    T = np.eye(4)
    T[:3, :3] = rotations.exp(rng.normal(size=3))
    T[:3, 3] = [*rng.normal(scale=0.3, size=2), 4 + rng.random()]
    K = np.array([[1100 + rng.random(), 0.25, size[0] / 2], [0, 1090.0, size[1] / 2], [0, 0, 1]])
    return Camera(name, K, rng.normal(scale=0.01, size=distortion), T, size, fisheye)


def same(a: Camera, b: Camera, tolerance: float = 1e-12) -> bool:
    d = np.zeros((2, 12))
    d[0, : a.distortion.size], d[1, : b.distortion.size] = a.distortion, b.distortion
    return (
        (a.name, a.size, a.fisheye) == (b.name, b.size, b.fisheye)
        and np.allclose(a.K, b.K, rtol=0, atol=tolerance)
        and np.allclose(d[0], d[1], rtol=0, atol=tolerance)
        and np.allclose(a.T_camera_world, b.T_camera_world, rtol=0, atol=tolerance)
    )


def matrix(key: str, value: np.ndarray) -> str:
    value = np.atleast_2d(value)
    data = ", ".join(repr(float(x)) for x in value.ravel())
    return (
        f"{key}: !!opencv-matrix\n   rows: {value.shape[0]}\n   cols: {value.shape[1]}\n   dt: d\n   data: [ {data} ]\n"
    )


def easymocap(
    folder: Path, cameras: list[Camera], *, sizes=True, dist="dist", rodrigues=True, matrices=True, quote='"'
):
    head = "%YAML:1.0\n---\nnames:\n" + "".join(f"   - {quote}{c.name}{quote}\n" for c in cameras)
    intri, extri = head, head
    for c in cameras:
        intri += matrix(f"K_{c.name}", c.K) + matrix(f"{dist}_{c.name}", c.distortion)
        intri += f"H_{c.name}: {c.size[1]}\nW_{c.name}: {c.size[0]}\n" if sizes else ""
        extri += matrix(f"R_{c.name}", rotations.log(c.R)[:, None]) if rodrigues else ""
        extri += matrix(f"Rot_{c.name}", c.R) if matrices else ""
        extri += matrix(f"T_{c.name}", c.t[:, None])
    (folder / "intri.yml").write_text(intri)
    (folder / "extri.yml").write_text(extri)
    return folder


def toml_table(label: str, c: Camera, *, scale: float = 1.0, name: str | None = None, matrix_rotation=False) -> str:
    rotation = c.R.tolist() if matrix_rotation else rotations.log(c.R).tolist()
    told = f'name = "{name}"\n' if name else ""
    return (
        f"[{label}]\n{told}size = [ {c.size[0]}.0, {c.size[1]}.0,]\nmatrix = {c.K.tolist()}\n"
        f"distortions = {c.distortion.tolist()}\nrotation = {rotation}\ntranslation = {(c.t * scale).tolist()}\n"
        f"fisheye = {str(c.fisheye).lower()}\n\n"
    )


# --------------------------------------------------------------------------------------------------------- EasyMocap


@pytest.mark.parametrize(
    ("distortion", "fisheye"), [(0, False), (4, False), (5, False), (8, False), (12, False), (4, True)]
)
def test_a_written_calibration_reads_back_to_1e_12(tmp_path, distortion, fisheye):
    rig = Rig(
        tuple(camera(n, i, distortion=distortion, fisheye=fisheye) for i, n in enumerate(["01", "cam 2", "a-b.c"]))
    )
    write_calibration(rig, tmp_path / "new")
    back = read_calibration(tmp_path / "new")
    assert all(same(a, b) for a, b in zip(rig, back.cameras, strict=True))
    assert back.format == "EasyMocap" and "metres" not in back.unit_note and " m, " in back.unit_note


def test_opencv_reads_a_written_calibration(tmp_path):
    rig = Rig((camera("01", 1, distortion=4), camera("cam_2", 2)))
    write_calibration(rig, tmp_path)
    intri, extri = (cv2.FileStorage(str(tmp_path / f"{n}.yml"), cv2.FILE_STORAGE_READ) for n in ("intri", "extri"))
    names = intri.getNode("names")
    assert [names.at(i).string() for i in range(names.size())] == ["01", "cam_2"]
    for c in rig:
        np.testing.assert_allclose(intri.getNode(f"K_{c.name}").mat(), c.K, atol=1e-12)
        assert intri.getNode(f"dist_{c.name}").mat().shape == (1, 5)
        assert (intri.getNode(f"W_{c.name}").real(), intri.getNode(f"H_{c.name}").real()) == c.size
        R, _ = cv2.Rodrigues(extri.getNode(f"R_{c.name}").mat())
        np.testing.assert_allclose(R, c.R, atol=1e-12)
        np.testing.assert_allclose(extri.getNode(f"Rot_{c.name}").mat(), c.R, atol=1e-12)
        np.testing.assert_allclose(extri.getNode(f"T_{c.name}").mat().ravel(), c.t, atol=1e-12)


def test_what_opencv_writes_is_read(tmp_path):
    c = camera("3", 4)
    for name, values in {
        "intri": {"K_3": c.K, "D_3": c.distortion[None]},
        "extri": {"R_3": rotations.log(c.R), "T_3": c.t},
    }.items():
        file = cv2.FileStorage(str(tmp_path / f"{name}.yml"), cv2.FILE_STORAGE_WRITE)
        for key, value in values.items():
            file.write(key, value)
        file.release()
    assert same(read_calibration(tmp_path, sizes={"3": c.size}).cameras[0], c)


def test_a_name_that_no_tool_could_read_back_is_refused(tmp_path):
    with pytest.raises(CalibrationError, match=r'"a: b" cannot be written'):
        write_calibration(Rig((camera("a: b"),)), tmp_path)


@pytest.mark.parametrize(
    "how", [{"dist": "D"}, {"matrices": False}, {"rodrigues": False}, {"quote": ""}, {"quote": "", "matrices": False}]
)
def test_every_spelling_of_easymocap_gives_the_same_cameras_with_text_names(tmp_path, how):
    cameras = [camera("01", 1), camera("2", 2)]
    found = read_calibration(easymocap(tmp_path, cameras, **how) / "extri.yml").cameras
    assert all(same(a, b, 1e-9) for a, b in zip(cameras, found, strict=True))


def test_sizes_missing_from_easymocap_come_from_the_footage(tmp_path):
    easymocap(tmp_path, [camera("01", 1), camera("2", 2)], sizes=False)
    assert read_calibration(tmp_path, sizes={"cam1": (640, 480), "2": (320, 240)}).cameras[0].size == (640, 480)
    with pytest.raises(CalibrationError, match=r'Camera "2" in .* has no image size'):
        read_calibration(tmp_path, sizes={"01": (640, 480)})
    only = read_calibration(tmp_path, sizes={"01": (640, 480)}, view_names=["01"])
    assert only.names == ("01",) and any('"2"' in w for w in only.warnings)


@pytest.mark.parametrize(
    ("file", "key", "why"),
    [
        ("intri", "K_3", r'Camera "3" has no K_3 in .*intri\.yml'),
        ("intri", "dist_3", r'Camera "3" has neither dist_3 nor D_3 in .*intri\.yml'),
        ("extri", "Rot_3", r'Camera "3" has K_3 but no R_3 or Rot_3 in .*extri\.yml'),
        ("extri", "T_3", r'Camera "3" has no T_3 in .*extri\.yml'),
    ],
)
def test_a_missing_key_is_told_with_camera_and_file(tmp_path, file, key, why):
    easymocap(tmp_path, [camera("1", 1), camera("3", 3)], rodrigues=False)
    path = tmp_path / f"{file}.yml"
    path.write_text(path.read_text().replace(f"{key}:", f"other_{key}:"))
    with pytest.raises(CalibrationError, match=why):
        read_calibration(tmp_path)
    with pytest.raises(CalibrationError, match=why):
        read_calibration(tmp_path, view_names=["1", "cam03"])
    left = read_calibration(tmp_path, view_names=["1"])
    assert left.names == ("1",) and re.search(why, left.warnings[0])


@pytest.mark.parametrize(
    ("old", "new", "error", "why"),
    [
        ("rows: 3", "rows: [3", BadFile, r"intri\.yml:\d+: not an OpenCV YAML"),
        ("1090.0", "nan", CalibrationError, r'Camera "1": K_1 in .* not finite'),
        ("1090.0", "abc", CalibrationError, r'Camera "1": K_1 in .* is not a list of numbers'),
        ("1090.0", "-5", CalibrationError, r"intri|focal lengths must be positive"),
        (", 0.0, 0.0, 1.0 ]", " ]", CalibrationError, r"has 6 numbers, not 9"),
    ],
)
def test_a_broken_value_is_told(tmp_path, old, new, error, why):
    easymocap(tmp_path, [camera("1", 1)])
    path = tmp_path / "intri.yml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(error, match=why):
        read_calibration(tmp_path)


def test_rotations_that_contradict_each_other_are_refused(tmp_path):
    c = camera("1", 1)
    easymocap(tmp_path, [c])
    path = tmp_path / "extri.yml"
    path.write_text(path.read_text().replace(repr(float(rotations.log(c.R)[0])), "0.123"))
    with pytest.raises(CalibrationError, match=r"R_1 and Rot_1 .* different rotations"):
        read_calibration(tmp_path)


def test_half_a_calibration_names_the_missing_half(tmp_path):
    easymocap(tmp_path, [camera("1", 1)])
    (tmp_path / "extri.yml").unlink()
    with pytest.raises(MissingFile, match=r"extri\.yml"):
        read_calibration(tmp_path)


def test_a_tag_in_yaml_constructs_nothing(tmp_path):
    easymocap(tmp_path, [camera("1", 1)])
    path = tmp_path / "intri.yml"
    path.write_text(path.read_text() + "evil: !!python/object/apply:os.system [ 'touch evil' ]\n")
    assert read_calibration(tmp_path).names == ("1",) and not Path("evil").exists()


# -------------------------------------------------------------------------------------------------------------- toml


def test_toml_cameras_are_found_by_name_whatever_their_order(tmp_path):
    cameras = {f"cam_{i}": camera(f"cam_{i}", i) for i in (1, 2, 10)}
    path = tmp_path / "Calib.toml"
    path.write_text("".join(toml_table(n, cameras[n], name=n) for n in sorted(cameras)) + "[metadata]\nerror = 0.0\n")
    found = read_calibration(path)
    assert all(same(cameras[c.name], c) for c in found.cameras) and set(found.names) == set(cameras)
    assert found.unit_note.endswith("apart.") and " m," in found.unit_note


def test_millimetres_are_told_from_how_far_apart_cameras_are(tmp_path):
    cameras = [camera(f"cam_{i}", i) for i in range(3)]
    path = tmp_path / "freemocap.toml"
    path.write_text("".join(toml_table(c.name, c, scale=1000) for c in cameras) + "[metadata]\nadjusted = false\n")
    found = read_calibration(path)
    assert all(same(a, b) for a, b in zip(cameras, found.cameras, strict=True)) and " mm," in found.unit_note
    assert same(read_calibration(path, unit="mm").cameras[0], cameras[0])
    wrong = read_calibration(path, unit="m")
    assert np.allclose(wrong.cameras[0].t, 1000 * cameras[0].t) and "unit of length" in wrong.warnings[0]
    with pytest.raises(UnknownName, match="Known: m, cm, mm"):
        read_calibration(path, unit="miles")


def dat_files(folder: Path, c: Camera, *, scale: float, lens: str, placed: str, more: str = "") -> None:
    def rows(value: np.ndarray) -> str:
        return "".join(" ".join(map(repr, row)) + " \n" for row in np.atleast_2d(value).tolist())

    (folder / lens).write_text("intrinsic:\n" + rows(c.K) + "distortion:\n" + rows(c.distortion))
    (folder / placed).write_text("R:\n" + rows(c.R) + "T:\n" + rows(scale * c.t[:, None]) + more)


def test_dat_files_are_read_in_the_unit_that_is_given_and_only_their_first_pose(tmp_path):
    cameras = [camera(f"cam{i}", i) for i in range(2)]
    square = 0.031
    second = "\n#below is rotation and translation to go from cam0 to cam1.\nR:\n1 0 0\n0 1 0\n0 0 1\nT:\n9\n9\n9\n"
    dat_files(tmp_path, cameras[0], scale=1 / square, lens="c0.dat", placed="rot_trans_c0.dat")
    dat_files(tmp_path, cameras[1], scale=1 / square, lens="c1.dat", placed="rot_trans_c1.dat", more=second)
    names, sizes = ["cam0", "cam1"], {c.name: c.size for c in cameras}
    found = read_calibration(tmp_path, view_names=names, sizes=sizes, unit=square)
    matched, _, _ = match_cameras(found.cameras, names)
    assert all(same(c, matched[c.name], 1e-9) for c in cameras)
    assert "read as 0.031 m, as told" in found.unit_note and not found.warnings
    with pytest.raises(CalibrationError, match=r"does not tell the unit .*--set data\.unit=0\.03"):
        read_calibration(tmp_path, view_names=names, sizes=sizes)
    (tmp_path / "rot_trans_c1.dat").unlink()
    with pytest.raises(CalibrationError, match=r'Camera "c1" has no rot_trans_c1\.dat or c1_rot_trans\.dat'):
        read_calibration(tmp_path, view_names=names, sizes=sizes, unit=square)


def test_dat_files_under_their_newer_names_and_with_a_line_missing(tmp_path):
    c = camera("camera0")
    dat_files(tmp_path, c, scale=100, lens="camera0_intrinsics.dat", placed="camera0_rot_trans.dat")
    assert same(read_calibration(tmp_path, sizes={"0": c.size}, unit="cm").cameras[0], c, 1e-9)
    path = tmp_path / "camera0_intrinsics.dat"
    path.write_text(path.read_text().replace("distortion:", "lens:"))
    with pytest.raises(CalibrationError, match=r'camera0_intrinsics\.dat has no line "distortion:"'):
        read_calibration(tmp_path, sizes={"0": c.size}, unit="cm")


def test_dat_files_of_a_real_recording_give_cameras_that_see_the_same_hand(shared_data):
    folder = shared_data / "handpose3d_two_view"
    if not folder.is_dir():
        pytest.skip("the recording of a hand is not on this machine")
    sizes = {"cam0": (720, 720), "cam1": (720, 720)}
    cameras, _, _ = match_cameras(
        read_calibration(folder / "camera_parameters", view_names=list(sizes), sizes=sizes, unit=0.043).cameras,
        list(sizes),
    )
    seen = np.load(folder / "mediapipe_hand21_2d.npz")
    both = ((seen["cam0"][..., 2] > 0) & (seen["cam1"][..., 2] > 0)).all(1)
    rays = [
        cv2.undistortPoints(seen[c.name][both][..., :2].reshape(-1, 1, 2).astype(float), c.K, c.distortion)
        for c in cameras.values()
    ]
    points = cv2.triangulatePoints(*(c.T_camera_world[:3] for c in cameras.values()), *(r[:, 0].T for r in rays))
    xyz = (points[:3] / points[3]).T
    for c in cameras.values():
        away = np.linalg.norm(c.project(xyz)[0] - seen[c.name][both][..., :2].reshape(-1, 2), axis=1)
        assert np.median(away) < 2
    palm = np.linalg.norm(xyz.reshape(-1, 21, 3)[:, 5] - xyz.reshape(-1, 21, 3)[:, 17], axis=1)
    assert 0.05 < np.median(palm) < 0.08  # m


def test_caliscope_tables_are_called_like_its_videos(tmp_path):
    cameras = [camera(f"cam_{i}", i) for i in range(2)]
    path = tmp_path / "camera_array.toml"
    tables = [toml_table(f"cameras.{i}", c, matrix_rotation=True) for i, c in enumerate(cameras)]
    path.write_text("".join(tables) + "[cameras.2]\nsize = [1280, 720]\nignore = true\n")
    found = read_calibration(path, view_names=["cam_0", "cam_1"])
    assert all(same(a, b) for a, b in zip(cameras, found.cameras, strict=True))
    assert "ignore = true" in found.warnings[0]


@pytest.mark.parametrize("key", ["matrix", "distortions", "rotation", "translation"])
def test_a_key_missing_from_toml_is_told_with_its_table(tmp_path, key):
    path = tmp_path / "Calib.toml"
    path.write_text(
        re.sub(rf"^{key} = .*\n", "", toml_table("cam_1", camera("cam_1")), flags=re.M) + "[cam_2]\nmatrix = 1\n"
    )
    with pytest.raises(CalibrationError, match=rf'Camera "cam_1" has no {key} in \[cam_1\]'):
        read_calibration(path, view_names=["1"])


@pytest.mark.parametrize(
    ("text", "error"), [("a = [", BadFile), ("", CalibrationError), ("[metadata]\nerror = 1\n", CalibrationError)]
)
def test_a_toml_without_cameras_is_told(tmp_path, text, error):
    path = tmp_path / "Calib.toml"
    path.write_text(text)
    with pytest.raises(error, match=r"Calib\.toml"):
        read_calibration(path)


# ---------------------------------------------------------------------------------------------------------- Qualisys


def qca(c: Camera, *, left=0, top=0, binning=1, sensor_extra=0, head="") -> str:
    """The XML Qualisys would write for `c`, whose image is the part right and below of (left, top)."""

    def element(tag: str, **values: object) -> str:
        return f"<{tag} " + " ".join(f'{key}="{value}"' for key, value in values.items()) + "/>"

    r, p = np.diag([1.0, -1.0, -1.0]) @ c.R, c.centre * 1000
    K = c.K.copy()
    K[:2, 2] = (K[:2, 2] + [left, top] + 0.5) * binning - 0.5
    K[:2, :2] *= binning
    K *= 64
    k1, k2, p1, p2, k3 = c.distortion.tolist()
    right, bottom = left + c.size[0] - 1, top + c.size[1] - 1
    elements = [
        element("fov_video", left=left, top=top, right=right, bottom=bottom),
        element("fov_video_max", left=0, top=0, right=right, bottom=bottom),
        element("transform", x=p[0], y=p[1], z=p[2], **{f"r{i // 3 + 1}{i % 3 + 1}": r.flat[i] for i in range(9)}),
        element(
            "intrinsic", focalLengthU=K[0, 0], focalLengthV=K[1, 1], centerPointU=K[0, 2], centerPointV=K[1, 2],
            skew=K[0, 1], sensorMaxU=((right + 1) * binning - 1) * 64 + sensor_extra, radialDistortion1=k1,
            radialDistortion2=k2, radialDistortion3=k3, tangentalDistortion1=p1, tangentalDistortion2=p2,
        ),
    ]  # fmt: skip
    return (
        f"<?xml version='1.0' encoding='ASCII'?>{head}\n<calibration><cameras>"
        f'<camera active="1" serial="{c.name}" viewrotation="0">{"".join(elements)}</camera></cameras></calibration>'
    )


@pytest.mark.parametrize(
    "how", [{}, {"left": 100, "top": 40}, {"binning": 2}, {"binning": 3, "left": 12}, {"sensor_extra": 63}]
)
def test_qualisys_gives_the_camera_it_was_written_for(tmp_path, how):
    c = camera("26580", 7)
    path = tmp_path / "Calib.qca.txt"
    path.write_text(qca(c, **how))
    found = read_calibration(path)
    assert same(found.cameras[0], c, 1e-9) and found.format == "Qualisys" and " mm, " in found.unit_note


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('focalLengthU="', 'x="', "<intrinsic> has no focalLengthU"),
        ('r12="', 'y12="', "<transform> has no r12"),
        ("fov_video_max", "fov", "there is no <fov_video_max>"),
        ('active="1"', 'active="0"', "not active"),
    ],
)
def test_what_qualisys_lacks_is_told_with_camera_and_file(tmp_path, old, new, why):
    path = tmp_path / "Calib.qca.txt"
    path.write_text(qca(camera("26580")).replace(old, new))
    with pytest.raises(CalibrationError, match=rf'Camera "26580" in .*{why}'):
        read_calibration(path)


def test_entities_in_xml_are_refused(tmp_path):
    path = tmp_path / "bomb.qca.txt"
    bomb = "<!DOCTYPE b [" + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "ha"}">' for i in range(12)) + "]>"
    path.write_text(qca(camera("1"), head=bomb).replace('serial="1"', 'serial="&a11;"'))
    with pytest.raises(UnsafeFile, match="document type"):
        read_calibration(path)
    path.write_text("<calibration><cameras>")
    with pytest.raises(BadFile, match="not a Qualisys calibration"):
        read_calibration(path)


def test_qualisys_and_pose2sims_conversion_of_it_agree(shared_data):
    folder = shared_data / "pose2sim_balancing" / "calibration"
    a, b = (read_calibration(folder / name) for name in ("Calib.qca.txt", "Calib_qualisys.toml"))
    for x, y in zip(a.cameras, b.cameras, strict=True):
        assert x.name == y.name and x.size == y.size == (1088, 1920)
        np.testing.assert_allclose(x.K, y.K, atol=1e-9)
        np.testing.assert_allclose(x.T_camera_world, y.T_camera_world, atol=1e-9)
        np.testing.assert_allclose(x.distortion[:4], 64 * y.distortion, atol=1e-9)  # the conversion's mistake
    with pytest.raises(CalibrationError, match=r"several calibrations \(Calib.qca.txt, Calib_qualisys.toml\)"):
        read_calibration(folder)


def test_qualisys_distortion_is_the_one_checkerboards_show(shared_data):
    folder = shared_data / "pose2sim_balancing" / "calibration"
    board = np.zeros((28, 3), np.float32)
    board[:, :2] = np.mgrid[0:4, 0:7].T.reshape(-1, 2) * 0.06
    corners = []
    for file in sorted((folder / "intrinsics" / "int_cam04_img").glob("*.jpg"))[:5]:
        image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        found, xy = cv2.findChessboardCornersSB(image, (4, 7), flags=cv2.CALIB_CB_ACCURACY | cv2.CALIB_CB_EXHAUSTIVE)
        if found:
            corners.append(xy.reshape(-1, 1, 2))
    assert len(corners) >= 4
    _, K, d, _, _ = cv2.calibrateCamera(
        [board] * len(corners), corners, (1088, 1920), None, None, flags=cv2.CALIB_FIX_K3
    )
    qualisys = read_calibration(folder / "Calib.qca.txt").cameras[3]
    assert abs(K[0, 0] / qualisys.K[0, 0] - 1) < 0.01
    assert abs(d.ravel()[0] / qualisys.distortion[0] - 1) < 0.5  # k1 itself, not a 64th of it


def test_caliscopes_result_is_read(shared_data):
    path = shared_data / "caliscope_charuco" / "charuco_calibration" / "camera_array.toml"
    found = read_calibration(path)
    assert found.names == ("cam_0", "cam_1", "cam_2", "cam_3") and found.cameras[0].size == (1280, 720)


# ----------------------------------------------------------------------------------------------------------- finding


def test_files_of_no_known_format_are_told(tmp_path):
    with pytest.raises(MissingFile, match=r"Calibration \(intri.yml"):
        read_calibration(tmp_path)
    with pytest.raises(MissingFile, match=r"nothing\.toml"):
        read_calibration(tmp_path / "nothing.toml")
    for name, data in {"a.txt": b"hello", "b.yml": b"a: 1", "c.toml": b"\xff\xfe\x00", "d.qca.txt": b""}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises((BadFile, CalibrationError), match=re.escape(name)):
            read_calibration(tmp_path / name)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("cam01", "cam_01"),
        ("cam01", "Cam 1"),
        ("cam01_json", "cam_1"),
        ("07", "cam7"),
        ("port_0", "cam_0"),
        ("0", "cam_0"),
    ],
)
def test_ways_to_write_one_name_are_the_same(a, b):
    assert normalised(a) == normalised(b)


@pytest.mark.parametrize(("a", "b"), [("cam10", "cam1"), ("cam100", "cam10"), ("left", "right"), ("gopro1", "cam1")])
def test_different_names_stay_different(a, b):
    assert normalised(a) != normalised(b)


def test_an_exact_name_wins_and_others_are_matched_and_told():
    cameras = [camera("cam_1", 1), camera("cam01", 2), camera("cam_10", 3)]
    found, notes, missing = match_cameras(cameras, ["cam01", "10"])
    assert list(found) == ["cam01", "10"] == [c.name for c in found.values()]
    assert same(found["cam01"], cameras[1]) and np.allclose(found["10"].K, cameras[2].K)
    assert notes == ['View "10" is taken to be camera "cam_10" of the calibration.'] and missing == ["cam_1"]


def test_views_without_a_camera_and_doubtful_ones_are_told():
    cameras = [camera("left", 1), camera("right", 2), camera("cam_1", 3), camera("cam01", 4)]
    with pytest.raises(CalibrationError, match=r'View "rigt" has no camera.*Did you mean "right".*Known: left, right'):
        match_cameras(cameras, ["left", "rigt"])
    with pytest.raises(CalibrationError, match=r"several cameras might be its: cam_1, cam01"):
        match_cameras(cameras, ["Cam 1"])
    with pytest.raises(CalibrationError, match=r'Views "left" and "Left" would both be camera "left"'):
        match_cameras(cameras, ["left", "Left"])


# ------------------------------------------------------------------------------------------------------ image sizes


def points_and_pixels(c: Camera) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    directions = np.concatenate([rng.uniform(-0.2, 0.2, (50, 2)), np.ones((50, 1))], axis=1)
    xyz = (directions * rng.uniform(2, 6, (50, 1)) - c.t) @ c.R
    return xyz, c.project(xyz)[0]


def picture(size: tuple[int, int], bar_rows: float = 0, bar_columns: float = 0, level: int = 120) -> np.ndarray:
    p = np.random.default_rng(0).integers(level - 20, level + 20, (size[1], size[0], 3)).astype(np.uint8)
    if bar_rows:
        p[: int(bar_rows)] = p[-int(bar_rows) :] = 2
    if bar_columns:
        p[:, : int(bar_columns)] = p[:, -int(bar_columns) :] = 2
    return p


def test_the_size_of_the_calibration_changes_nothing():
    c = camera("1")
    assert fit_to_footage(c, c.size) == (c, None)


@pytest.mark.parametrize("size", [(640, 360), (1920, 1080), (1282, 720)])
def test_resized_footage_scales_the_calibration(size):
    c = camera("1")
    fitted, note = fit_to_footage(c, size)
    xyz, xy = points_and_pixels(c)
    s = np.array(size) / c.size
    np.testing.assert_allclose(fitted.project(xyz)[0], (xy + 0.5) * s - 0.5, atol=1e-9)
    assert fitted.size == size and "resized" in note and "1280x720" in note


@pytest.mark.parametrize(("size", "rows", "columns"), [((1080, 1920), 7, 0), ((1920, 1080), 0, 654)])
def test_bars_in_the_picture_mean_that_it_was_resized_to_fit(size, rows, columns):
    c = camera("1", size=(1088, 1920))
    fitted, note = fit_to_footage(c, size, picture=picture(size, rows, columns))
    scale = min(size[0] / 1088, size[1] / 1920)
    bars = (np.array(size) - scale * np.array([1088, 1920])) / 2
    xyz, xy = points_and_pixels(c)
    np.testing.assert_allclose(fitted.project(xyz)[0], (xy + 0.5) * scale + bars - 0.5, atol=1e-9)
    assert "bars" in note and ("top and bottom" in note) == bool(rows)


@pytest.mark.parametrize("shown", [None, 120, 20])
def test_a_cut_edge_leaves_pixels_in_their_places(shown):
    c = camera("1", size=(1088, 1920))
    seen = None if shown is None else picture((1080, 1920), level=shown)
    fitted, note = fit_to_footage(c, (1080, 1920), picture=seen)
    assert np.array_equal(fitted.K, c.K) and fitted.size == (1080, 1920) and "right and bottom" in note


def test_how_footage_was_fitted_can_be_told():
    c = camera("1", size=(1088, 1920))
    assert fit_to_footage(c, (1080, 1920), how="crop-centre")[0].K[0, 2] == c.K[0, 2] - 4
    assert fit_to_footage(c, (544, 1920), how="stretch")[0].K[0, 0] == pytest.approx(c.K[0, 0] / 2)
    with pytest.raises(UnknownName, match="stretch, bars, crop, crop-centre"):
        fit_to_footage(c, (1080, 1920), how="squeeze")


def test_turned_and_unrelated_sizes_are_refused_with_both_sizes():
    c = camera("7", size=(1920, 1080))
    with pytest.raises(
        CalibrationError, match=r'view "7" is 1080x1920 px.*1920x1080 px.*turned by 90 degrees.*rotation flag'
    ):
        fit_to_footage(c, (1080, 1920))
    with pytest.raises(CalibrationError, match=r"1000x1000 px .* 1920x1080 px: neither"):
        fit_to_footage(c, (1000, 1000), picture=picture((1000, 1000)))


def test_two_videos_of_the_recording_lie_between_bars(shared_data):
    from mocap.io.footage import open_view, read_frames

    folder = shared_data / "pose2sim_balancing"
    cameras = read_calibration(folder / "calibration" / "Calib.qca.txt").cameras
    for c, bars in zip(cameras, (True, True, False, False), strict=True):
        view = open_view(folder / "videos" / f"{c.name.replace('_', '')}.mp4", c.name)
        fitted, note = fit_to_footage(c, view.size, picture=next(read_frames(view, [0]))[1])
        assert fitted.size == view.size and ("7.1 px at the top and bottom" in (note or "")) == bars


# ------------------------------------------------------------------------------------------------------------- world


@given(up=st.sampled_from(UPS), floor=st.none() | st.floats(-3, 3), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_turning_the_world_moves_no_pixel_and_brings_up_to_z(up, floor, seed):
    cameras = [camera("a", seed), camera("b", seed + 1)]
    rig, T = to_z_up(cameras, up, floor)
    axis = np.zeros(3)
    axis["xyz".index(up[-1])] = -1 if up.startswith("-") else 1
    assert np.allclose(T[:3, :3] @ axis, [0, 0, 1]) and math.isclose(np.linalg.det(T), 1.0)
    if floor is not None:
        assert math.isclose((T @ [*(axis * floor), 1])[2], 0, abs_tol=1e-12)
    assert rig.has_floor is (floor is not None)
    for before, after in zip(cameras, rig, strict=True):
        xyz, xy = points_and_pixels(before)
        np.testing.assert_allclose(after.project(xyz @ T[:3, :3].T + T[:3, 3])[0], xy, atol=1e-6)


def test_a_world_that_is_z_up_already_stays_as_it_is():
    c = camera("a")
    rig, T = to_z_up([c])
    assert np.array_equal(T, np.eye(4)) and same(rig["a"], c, 0) and not rig.has_floor
    with pytest.raises(UnknownName, match="Known: x, -x, y"):
        to_z_up([c], "up")


def test_fisheye_is_kept_from_toml(tmp_path):
    c = dataclasses.replace(camera("f", distortion=4), fisheye=True)
    (tmp_path / "c.toml").write_text(toml_table("f", c))
    assert same(read_calibration(tmp_path / "c.toml").cameras[0], c)
