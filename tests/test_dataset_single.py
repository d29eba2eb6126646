"""The take of unrelated pictures, and of one camera, before any stage; and a sentence for whatever is odd."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import rigs
from PIL import ExifTags, Image

from mocap.config import Override, read_experiment
from mocap.dataset import check_steps, first_take, read_dataset
from mocap.errors import CalibrationError, ConfigError, DataError, MissingFile, MocapError, UnknownName
from mocap.io import footage, lsp
from mocap.io.calibration import write_calibration
from mocap.io.lsp import Joints
from mocap.skeletons import LSP14
from mocap.take import RunContext

SIZE = (64, 48)
PICTURES = "{kind: images, root: people, joints: est_joints.npz, genders: lsp_gender.csv}"
ALONE = "{kind: one_camera, root: take, subs: [01], world: {up: z, floor: 0.0}}"


def take(text: str, *overrides: str):
    Path("data.yml").write_text(text)
    given = [Override.of(o) for o in overrides]
    return first_take(read_dataset(Path("data.yml"), overrides=given), RunContext(Path("o")))


def picture(path: Path, size: tuple[int, int] = SIZE, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    cv2.imwrite(str(path), pixels)
    return path


def joints(count: int) -> Joints:
    """Different in every picture."""
    rng = np.random.default_rng(1)
    return Joints(rng.uniform(5, 45, (count, 14, 2)), rng.uniform(0.5, 1, (count, 14)))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for i in range(1, 5):
        picture(tmp_path / "people" / "images" / f"im{i}.png", (64 + i, 48), seed=i)
    lsp.write_joints(tmp_path / "people" / "est_joints.npz", joints(4))
    (tmp_path / "people" / "lsp_gender.csv").write_text("0\n1\n-1\n0\n")
    rigs.recording(tmp_path / "take")
    return tmp_path


class TestPictures:
    def test_every_picture_is_a_view_with_its_own_level_camera_joints_and_gender(self):
        made = take(PICTURES)
        assert made.apart
        assert made.timestamps.tolist() == [0.0] and made.frames.tolist() == [0]
        assert list(made.footage) == list(made.rig.names) == list(made.detections) == ["im1", "im2", "im3", "im4"]
        assert made.genders == {"im1": "male", "im2": "female", "im3": "neutral", "im4": "male"}
        for i, (name, view) in enumerate(made.footage.items()):
            assert view.size == made.rig[name].size == (65 + i, 48)
            assert view.files == (Path("people/images") / f"{name}.png",) and view.frames == 1
            assert made.rig[name].K.tolist() == [[5000, 0, (64 + i) / 2], [0, 5000, 23.5], [0, 0, 1]]
            assert made.detections[name].skeleton is LSP14
            np.testing.assert_array_equal(made.detections[name].xy[0, 0], joints(4).xy[i])
            assert next(footage.read_frames(view))[1].shape == (48, 65 + i, 3)
        assert made.people == () and made.has("detections")
        json.dumps(made.reports[0].facts)
        assert made.reports[0].facts["focal"][0]["views"] == 4

    def test_without_joints_they_are_to_be_detected(self):
        made = take(PICTURES, "joints=null", "genders=null")
        assert not made.has("detections") and made.genders == {}
        assert made.reports[0].facts["warnings"] == []

    def test_a_missing_file_of_joints_names_both_remedies(self):
        Path("people/est_joints.npz").unlink()
        with pytest.raises(MissingFile, match=r"people/est_joints\.npz.*`emc joints`.*data\.joints=null"):
            take(PICTURES)

    def test_without_genders_everybody_is_neutral_and_it_is_said(self):
        Path("people/lsp_gender.csv").unlink()
        made = take(PICTURES)
        assert made.genders == {}
        assert any("neutral" in note for note in made.reports[0].facts["notes"])

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda array: array[:, :, 1].fill(np.nan),
            lambda array: array[2, :, 1].fill(0),
            lambda array: array[2, 3:, 1].fill(0),  # three joints: a right leg
            lambda array: array[2, [8, 9], 1].fill(0) or array[2, 8:10, 1].fill(0),  # no shoulder
            lambda array: array[:2, :, 1].fill(20),  # all at one point
        ],
    )
    def test_a_picture_whose_joints_are_of_no_use_is_left_out_and_named_and_the_others_go_on(self, spoil):
        array = np.load("people/est_joints.npz")["est_joints"]
        spoil(array)
        np.savez("people/est_joints.npz", est_joints=array)
        made = take(PICTURES)
        assert list(made.footage) == list(made.detections) == list(made.genders) == ["im1", "im3", "im4"]
        (warning,) = made.reports[0].facts["warnings"]
        assert "1 of 4 pictures" in warning and "im2" in warning
        np.testing.assert_array_equal(made.detections["im3"].xy[0, 0], joints(4).xy[2])
        assert made.reports[0].facts["left_out"] == ["im2"]

    def test_a_picture_that_cannot_be_read_is_left_out_and_the_others_keep_their_joints(self):
        Path("people/images/im2.png").write_bytes(b"no picture")
        made = take(PICTURES)
        assert list(made.footage) == ["im1", "im3", "im4"]
        assert "im2" in made.reports[0].facts["warnings"][0]
        np.testing.assert_array_equal(made.detections["im4"].xy[0, 0], joints(4).xy[3])
        assert made.genders["im3"] == "neutral"

    def test_nothing_usable_is_an_error_that_says_why(self):
        np.savez("people/est_joints.npz", est_joints=np.full((5, 14, 4), np.nan))
        with pytest.raises(DataError, match=r"None of 4 pictures of people can be used.*too few joints.*im1, im2"):
            take(PICTURES)

    def test_some_of_the_pictures_of_a_larger_set_have_their_joints_by_number(self):
        lsp.write_joints(Path("people/est_joints.npz"), joints(9))
        Path("people/lsp_gender.csv").write_text("\n".join("010101010"))
        Path("people/images/im4.png").rename("people/images/im8.png")
        made = take(PICTURES)
        np.testing.assert_array_equal(made.detections["im8"].xy[0, 0], joints(9).xy[7])
        assert made.genders["im8"] == "female"
        assert any("9 pictures, of which 4" in note for note in made.reports[0].facts["notes"])

    def test_numbers_in_names_count_as_numbers_and_it_is_said_where_letters_would_have_it_otherwise(self):
        assert not any("img10" in note for note in take(PICTURES).reports[0].facts["notes"])
        Path("people/images/im1.png").rename("people/images/im10.png")
        made = take(PICTURES)
        assert list(made.footage) == ["im2", "im3", "im4", "im10"]
        np.testing.assert_array_equal(made.detections["im10"].xy[0, 0], joints(4).xy[3])
        assert any("img2 before img10" in note for note in made.reports[0].facts["notes"])

    def test_another_number_of_joints_is_refused_with_both_counts(self):
        lsp.write_joints(Path("people/est_joints.npz"), joints(3))
        with pytest.raises(DataError, match="joints of 3 pictures, and 4 pictures are here"):
            take(PICTURES)

    def test_subs_and_ranges_choose_pictures_which_keep_their_joints(self):
        assert list(take(PICTURES, "subs=[im3, im1]").footage) == ["im3", "im1"]
        made = take(PICTURES, "ranges=[1, -1, 2]")
        assert list(made.footage) == ["im2", "im4"]
        np.testing.assert_array_equal(made.detections["im4"].xy[0, 0], joints(4).xy[3])
        with pytest.raises(DataError, match="leaves none of 4 pictures"):
            take(PICTURES, "ranges=[7, 9, 1]")
        with pytest.raises(UnknownName, match='Unknown view "im9"'):
            take(PICTURES, "subs=[im9]")

    def test_joints_of_other_pictures_are_warned_of(self):
        lsp.write_joints(Path("people/est_joints.npz"), Joints(joints(4).xy + [500, 0], joints(4).confidence))
        assert "far outside of 4 of 4 pictures" in take(PICTURES).reports[0].facts["warnings"][0]

    def test_focal_lengths_are_each_pictures_own_where_it_tells_them(self):
        exif = Image.Exif()
        exif[ExifTags.Base.Model] = "Camera of nobody"  # Pillow writes nothing without a tag of the first directory
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 50
        Image.open("people/images/im2.png").save("people/images/im2.png", exif=exif)
        made = take(PICTURES)
        wanted = 50 / np.hypot(36, 24) * np.hypot(66, 48)
        assert [made.rig[n].K[0, 0] for n in ("im1", "im2", "im3")] == pytest.approx([5000, wanted, 5000])
        assert [f["views"] for f in made.reports[0].facts["focal"]] == [3, 1]
        assert take(PICTURES, "focal=123").rig["im2"].K[0, 0] == 123

    def test_the_folder_of_pictures_itself_and_one_picture_will_do(self):
        assert list(take("{kind: images, root: people/images}").footage) == ["im1", "im2", "im3", "im4"]
        assert list(take("{kind: images, root: people/images/im3.png}").footage) == ["im3"]

    def test_two_pictures_of_one_name_are_told(self):
        shutil.copy("people/images/im1.png", "people/images/im1.jpg")
        with pytest.raises(DataError, match=r'Two pictures are called "im1": .*im1\.(jpg|png) and .*im1\.(jpg|png)'):
            take(PICTURES, "joints=null", "genders=null")


class TestOneCamera:
    def test_a_view_of_a_rig_keeps_its_calibration(self):
        made = take(ALONE)
        assert not made.apart
        assert list(made.footage) == ["01"] == list(made.rig.names)
        np.testing.assert_allclose(made.rig["01"].T_camera_world, rigs.rig()["01"].T_camera_world)
        assert made.has_floor and len(made.frames) == 4

    def test_several_views_are_refused_with_their_names(self):
        with pytest.raises(ConfigError, match=r"take has 2 views \(01, 07\).*--subs 01.*mvimage\.yml"):
            take("{kind: one_camera, root: take}")

    @pytest.mark.parametrize("calibration", [".", "null"])
    def test_without_calibration_the_camera_is_level_and_its_guessed_focal_length_a_warning(self, calibration):
        for name in ("intri.yml", "extri.yml"):
            Path("take", name).unlink()
        made = take(ALONE, f"calibration={calibration}")
        camera = made.rig["01"]
        np.testing.assert_array_equal(camera.T_camera_world[:3], [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0]])
        assert camera.K[:2, 2].tolist() == [31.5, 23.5] and not camera.distortion.any()
        assert 0.6 * 64 < camera.K[0, 0] == camera.K[1, 1] < 64
        assert not made.has_floor  # which was about a calibration
        facts = made.reports[0].facts
        assert facts["calibration"] is None
        assert "guessed" in facts["warnings"][0] and "data.focal=" in facts["warnings"][0]
        assert any("level" in note for note in facts["notes"])

    def test_calibration_null_leaves_a_calibration_that_is_there(self):
        made = take(ALONE, "calibration=null", "focal=100")
        assert made.rig["01"].K[0, 0] == 100
        assert made.reports[0].facts["warnings"] == []

    def test_intrinsics_alone_stand_level(self):
        Path("take/extri.yml").unlink()
        made = take(ALONE)
        np.testing.assert_allclose(made.rig["01"].K, rigs.rig()["01"].K)
        np.testing.assert_array_equal(made.rig["01"].R, [[1, 0, 0], [0, 0, -1], [0, 1, 0]])
        assert not made.has_floor and made.reports[0].facts["warnings"] == []
        with pytest.raises(MissingFile, match="alone has half of a camera"):
            take("root: take")  # of a rig it is no calibration

    def test_a_calibration_that_is_named_must_be_there(self):
        with pytest.raises(MissingFile, match=r"Calibration not found: take/no\.toml"):
            take(ALONE, "calibration=no.toml")

    def test_a_focal_length_beside_a_calibration_is_a_contradiction(self):
        for option in ("focal=100", "phone=iPhone 12"):
            with pytest.raises(ConfigError, match=r"without calibration, and take is one.*calibration: null"):
                take(ALONE, option)

    def test_a_video_itself_a_folder_of_images_and_a_lone_view_are_one_camera_whatever_subs_says(self):
        shutil.move("take/images/01", "frames")
        made = take(ALONE, "root=frames", "fps=10")
        assert list(made.footage) == ["frames"] and made.fps == pytest.approx(10)
        assert any('"01" of subs is not there' in note for note in made.reports[0].facts["notes"])
        Path("up/images").mkdir(parents=True)
        picture(Path("up/images/000000.png"))
        assert list(take(ALONE, "root=up").footage) == ["up"]
        assert list(take(ALONE, "root=take").footage) == ["07"]

    def test_a_video_file_with_intrinsics_beside_it_uses_them(self, repository):
        shutil.copy(repository / "data/examples/dance/videos/01.mp4", "01.mp4")
        assert take(ALONE, "root=01.mp4", "phone=iPhone 12").reports[0].facts["calibration"] is None
        write_calibration(rigs.rig(("01",), (640, 360)), Path())
        Path("extri.yml").unlink()
        made = take(ALONE, "root=01.mp4")
        assert made.rig["01"].K[0, 0] == pytest.approx(60 * made.footage["01"].size[0] / 640)
        assert made.reports[0].facts["calibration"]["file"]

    def test_a_view_without_a_camera_in_the_calibration_is_told(self):
        Path("take/images/01").rename("take/images/09")
        with pytest.raises(CalibrationError, match='View "09" has no camera'):
            take(ALONE, "subs=[09]")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("root: clip.mp4", ["clip.mp4 is one camera's video", "config/datasets/svimage.yml"]),
        ("root: people/images/im1.png", ["is a picture", "config/datasets/lsp.yml"]),
        ("root: people", ["people/images holds pictures", "lsp.yml", "svimage.yml"]),
        ("{kind: images, root: clip.mp4}", ["is one camera's video", "svimage.yml"]),
        ("{kind: images, root: take}", ["folders of pictures by camera", "svimage.yml", "mvimage.yml"]),
        ("{kind: images, root: clips}", ["Pictures not found: clips", "videos", "svimage.yml"]),
        ("{kind: images, root: clips/videos}", ["Pictures not found", "svimage.yml"]),
        ("{kind: images, root: nowhere}", ["Data folder not found: nowhere"]),
        ("{kind: one_camera, root: people/images/im1.png}", ["is a picture", "lsp.yml"]),
        ("{kind: one_camera, root: clips/videos}", ["holds videos", "--root clips/videos/a.mp4"]),
        ("{kind: one_camera, root: empty}", ["Footage not found: empty"]),
        ("{root: take, joints: x.npz}", ["joints", "kind: images", "kind: rig"]),
        ("{root: take, focal: 100}", ["focal", "kind: one_camera or images"]),
        ("{root: take, calibration: null}", ["Several cameras need their calibration", "svimage.yml"]),
        ("{kind: images, root: people, offsets: {im1: 1}}", ["offsets", "kind: images"]),
        ("{kind: image, root: people}", ['"image"', "rig, one_camera, images"]),
        ("{kind: images, root: people, phone: Nokia}", ["Unknown phone", "iPhone 12"]),
        ("{kind: images, root: people, focal: -1}", ["focal must be a number greater than 0"]),
    ],
)  # fmt: skip
def test_data_of_another_kind_is_told_with_what_is_right(text, parts):
    for path in ("clip.mp4", "clips/videos/a.mp4"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(b"a video, by its name")
    Path("empty").mkdir()
    with pytest.raises(MocapError) as caught:
        take(text)
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "told"), [(PICTURES, "unrelated pictures"), (ALONE, "one camera")])
def test_an_experiment_for_several_cameras_is_refused_with_the_one_for_this(text, told, repository):
    Path("data.yml").write_text(text)
    data = read_dataset(Path("data.yml"))
    with pytest.raises(ConfigError, match=rf'fitSMPL\.yml:\d+: Stage "triangulate" .*{told}.*config/smplify\.yml'):
        check_steps(data, read_experiment(repository / "config/fitSMPL.yml").steps)
    check_steps(data, read_experiment(repository / "config/smplify.yml").steps)
    with pytest.raises(ConfigError, match=rf"fitMANO\.yml:\d+: .*{told}: hands take two calibrated cameras or more\.$"):
        check_steps(data, read_experiment(repository / "config/fitMANO.yml").steps)
