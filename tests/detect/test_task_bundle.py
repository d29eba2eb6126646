"""Bundles of models: from the pinned wheel alone, kept whole, and a sentence where one cannot be had."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile

import pytest

from mocap.detect import task_bundle
from mocap.detect.task_bundle import HAND, POSE, model_file
from mocap.errors import MissingFile, ModelError, SetupError

schema = pytest.importorskip("mediapipe.tasks.metadata.schema_py_generated", reason="mediapipe is not installed")


def tiny_network(outputs):
    """A tflite file without operators: one buffer, one input and `outputs` outputs."""
    import flatbuffers

    tensors = [schema.TensorT(name=f"t{k}", shape=[1], buffer=0) for k in range(1 + outputs)]
    graph = schema.SubGraphT(tensors=tensors, inputs=[0], outputs=list(range(1, 1 + outputs)))
    model = schema.ModelT(version=3, subgraphs=[graph], buffers=[schema.BufferT()])
    builder = flatbuffers.Builder(64)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.fixture
def pinned(monkeypatch, tmp_path):
    """A wheel of tiny networks, taken for the pinned one; and a cache of the test's own."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as wheel:
        for outputs, network in enumerate(network for bundle in task_bundle.BUNDLES for network in bundle.networks):
            model = tiny_network(1 + outputs)
            wheel.writestr(network.source, model)
            monkeypatch.setitem(network.__dict__, "sha256", hashlib.sha256(model).hexdigest())
    monkeypatch.setattr(task_bundle, "WHEEL_SHA256", hashlib.sha256(made.getvalue()).hexdigest())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for bundle in task_bundle.BUNDLES:
        monkeypatch.delenv(bundle.environment, raising=False)
    path = tmp_path / "mediapipe.whl"
    path.write_bytes(made.getvalue())
    return path


def normalisation(model):
    """Mean and deviation of its input, which the metadata written last tells."""
    from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata

    parsed = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(model), 0))
    described = metadata.ModelMetadata.GetRootAs(bytearray(parsed.buffers[parsed.metadata[-1].buffer].data), 0)
    step = metadata.ModelMetadataT.InitFromObj(described).subgraphMetadata[0].inputTensorMetadata[0]
    options = step.processUnits[0].options
    return set(options.mean), set(options.std)


def test_bundle_says_how_each_network_of_the_pose_normalises_its_image(pinned):
    with zipfile.ZipFile(model_file(POSE, pinned)) as bundle:
        assert bundle.namelist() == ["pose_detector.tflite", "pose_landmarks_detector.tflite"]
        assert all(info.compress_type == zipfile.ZIP_STORED for info in bundle.infolist())
        for network in POSE.networks:
            assert normalisation(bundle.read(network.name)) == tuple({value} for value in network.normalised)


def test_bundle_of_the_hand_is_its_networks_as_they_are(pinned):
    with zipfile.ZipFile(model_file(HAND, pinned)) as bundle, zipfile.ZipFile(pinned) as wheel:
        assert bundle.namelist() == ["hand_detector.tflite", "hand_landmarks_detector.tflite"]
        assert all(info.compress_type == zipfile.ZIP_STORED for info in bundle.infolist())
        assert all(bundle.read(network.name) == wheel.read(network.source) for network in HAND.networks)


def test_the_hands_own_networks_say_that_they_take_pixels_from_0_to_1():
    try:
        path = model_file(HAND)
    except SetupError as error:
        pytest.skip(str(error))
    with zipfile.ZipFile(path) as bundle:
        for network in HAND.networks:
            assert normalisation(bundle.read(network.name)) == ({0.0}, {255.0})


def test_bundle_is_kept_and_made_anew_when_it_was_cut_short(pinned, monkeypatch):
    path = model_file(POSE, pinned)
    content = path.read_bytes()
    monkeypatch.setattr(task_bundle, "_download", lambda bundle: pytest.fail("it is in the cache"))
    assert model_file(POSE) == path
    path.write_bytes(content[:-20])
    monkeypatch.setattr(task_bundle, "_download", lambda bundle: pinned.read_bytes())
    assert model_file(POSE) == path
    assert path.read_bytes() == content
    assert not list(path.parent.glob("*.part"))


@pytest.mark.parametrize(("first", "second"), [(POSE, HAND), (HAND, POSE)])
def test_one_download_gives_both_models(pinned, monkeypatch, first, second):
    downloads = []
    monkeypatch.setattr(task_bundle, "_download", lambda bundle: downloads.append(bundle) or pinned.read_bytes())
    assert model_file(first).name.startswith(first.name)
    assert model_file(second).name.startswith(second.name)
    assert downloads == [first]


def test_another_wheel_is_refused(pinned):
    pinned.write_bytes(pinned.read_bytes() + b"x")
    with pytest.raises(ModelError, match=r"not the expected one of mediapipe==0\.10\.21"):
        model_file(POSE, pinned)


def test_the_environment_names_a_model_and_a_wrong_name_is_told(pinned, monkeypatch, tmp_path):
    own = tmp_path / "own.task"
    with zipfile.ZipFile(own, "w") as bundle:
        bundle.writestr("pose_detector.tflite", b"")
    monkeypatch.setenv(POSE.environment, str(own))
    assert model_file(POSE) == own
    monkeypatch.setenv(POSE.environment, str(tmp_path / "none.task"))
    with pytest.raises(MissingFile, match="MOCAP_POSE_MODEL"):
        model_file(POSE)
    own.write_text("not a zip")
    with pytest.raises(ModelError, match=r"own\.task is not a \.task bundle"):
        model_file(POSE, own)


def test_without_network_the_sentence_says_which_command_to_run_where_there_is_one(pinned, monkeypatch):
    def offline(command, **kwargs):
        assert command[1:4] == ["-m", "pip", "download"]
        said = "WARNING: retrying\nERROR: No matching distribution found for mediapipe==0.10.21\n"
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(task_bundle.subprocess, "run", offline)
    with pytest.raises(
        SetupError, match=r"pose model.*No matching distribution.*pip download .*mediapipe==0.10.21.*MOCAP_POSE_MODEL"
    ):
        model_file(POSE)
    with pytest.raises(SetupError, match=r"hand model.*No matching.*MOCAP_HAND_MODEL.*hand_landmarker \.task file"):
        model_file(HAND)


def test_without_pip_the_sentence_says_so(pinned, monkeypatch):
    monkeypatch.setattr(task_bundle.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"fetched with pip, which .* does not have"):
        model_file(POSE)


def test_a_cache_that_cannot_be_written_is_told(pinned, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SetupError, match="XDG_CACHE_HOME"):
        model_file(POSE, pinned)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="where caches are on Linux")
def test_cache_is_the_users(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert task_bundle.user_cache() == task_bundle.Path(os.path.expanduser("~/.cache/mocap"))
