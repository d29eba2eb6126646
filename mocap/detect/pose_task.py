"""The pose model's bundle: put together once from a pinned mediapipe wheel, checked, kept in the user's cache.

mediapipe's wheels since 0.10.30 carry no models; 0.10.21 (Apache-2.0) carries the person detector and the `full`
landmark network (not `lite` nor `heavy`). Tasks' PoseLandmarker wants both in an uncompressed zip, each with metadata
saying how its input image is normalised. That metadata is written here with the flatbuffer schemas mediapipe ships,
because its own writers (`metadata_writers`) need a native module that wheels since 1.0 lack.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mocap.errors import MissingFile, ModelError, SetupError

VERSION = "0.10.21"
WHEEL = f"mediapipe=={VERSION}"
WHEEL_SHA256 = "956eb1ebc275c629e61b085b2cab89c3a5b9e93bad1bb107348d98dafb5a4bb5"
ENVIRONMENT = "MOCAP_POSE_MODEL"
# No wheel of 0.10.21 exists for every system and Python, so one is named; only its data files are used.
DOWNLOAD = (
    *("pip", "download", "--no-deps", "--only-binary=:all:", "--python-version", "312", "--implementation", "cp"),
    *("--platform", "manylinux_2_28_x86_64", WHEEL),
)


@dataclass(frozen=True)
class _Network:
    """One network of the bundle; its input is (pixel - mean) / std with pixels in [0, 255]."""

    name: str
    source: str
    sha256: str
    mean: float
    std: float


_NETWORKS = (
    _Network(
        "pose_detector.tflite",
        "mediapipe/modules/pose_detection/pose_detection.tflite",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
        127.5,
        127.5,
    ),
    _Network(
        "pose_landmarks_detector.tflite",
        "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
        0.0,
        255.0,
    ),
)


def user_cache() -> Path:
    """Where this user's programs keep what can be made again: XDG's folder, or what Windows and macOS have for it."""
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "mocap"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "mocap" / "Cache"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "mocap"


def pose_model(path: str | Path | None = None) -> Path:
    """The path of a usable `.task` bundle.

    Args:
        path: The user's own `.task` file, or a wheel of the pinned mediapipe to take the networks from. None asks the
            environment variable MOCAP_POSE_MODEL, then the cache, then downloads the wheel with pip.

    Raises:
        MissingFile: `path` is not there.
        ModelError: It is neither a bundle nor the pinned wheel.
        SetupError: The model has to be downloaded and cannot be.
    """
    origin = "" if path else f" (named by the environment variable {ENVIRONMENT})"
    path = path or os.environ.get(ENVIRONMENT)
    if not path:
        return _cached() or _keep(_assemble(_download()))
    path = Path(path).expanduser()
    if not path.is_file():
        raise MissingFile(path, what="Pose model" + origin, remedy="It is a .task bundle or a wheel of " + WHEEL + ".")
    if path.suffix == ".whl":
        return _cached() or _keep(_assemble(path.read_bytes()))
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path}{origin} is not a .task bundle, which is a zip of two tflite networks.")
    return path


def sha256(path: Path) -> str:
    """Of the file's content, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _cached() -> Path | None:
    """The bundle in the cache; its name holds its checksum, so one that was cut short or altered is passed over."""
    for path in sorted(user_cache().glob(f"pose_landmarker_full-{VERSION}-*.task")):
        if path.stem.endswith(sha256(path)[:16]):
            return path
    return None


def _keep(bundle: bytes) -> Path:
    """Writes the bundle into the cache; safe when several processes do so at once."""
    folder = user_cache()
    path = folder / f"pose_landmarker_full-{VERSION}-{hashlib.sha256(bundle).hexdigest()[:16]}.task"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as part:
            part.write(bundle)
        os.replace(part.name, path)
    except OSError as error:
        raise SetupError(
            f"The pose model cannot be written to the cache folder {folder} ({error.strerror}); "
            "the environment variable XDG_CACHE_HOME names another."
        ) from error
    return path


def _download() -> bytes:
    """The pinned wheel, through pip: whatever index, proxy or mirror the user's pip is set up for."""
    command = f"{Path(sys.executable).name} -m {' '.join(DOWNLOAD)}"
    remedy = (
        f"Where there is a network, run `{command}` and set {ENVIRONMENT} (or the stage's `model_path`) to the wheel "
        "it saves, or to a pose_landmarker .task file from Google."
    )
    if importlib.util.find_spec("pip") is None:
        raise SetupError(f"The pose model is fetched with pip, which {sys.executable} does not have. {remedy}")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", *DOWNLOAD, "--dest", folder, "--disable-pip-version-check", "--no-input", "--quiet"],
            capture_output=True,
            text=True,
        )
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            said = next((s for s in reversed(done.stderr.splitlines()) if s.startswith("ERROR")), "no reason given")
            raise SetupError(f"The pose model could not be downloaded (pip: {said}). {remedy}")
        return wheels[0].read_bytes()


def _assemble(wheel: bytes) -> bytes:
    """The bundle made from the pinned wheel's two networks."""
    if hashlib.sha256(wheel).hexdigest() != WHEEL_SHA256:
        raise ModelError(
            f"The wheel the pose model is taken from is not the expected one of {WHEEL} (sha256 {WHEEL_SHA256}); "
            f"`{' '.join(DOWNLOAD)}` fetches it."
        )
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheel)) as source, zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as bundle:
        for network in _NETWORKS:
            model = source.read(network.source)
            if hashlib.sha256(model).hexdigest() != network.sha256:
                raise ModelError(f"{network.source} in the wheel of {WHEEL} is not the expected file.")
            # ZipInfo's fixed date makes the same bundle, and so the same checksum, every time.
            bundle.writestr(zipfile.ZipInfo(network.name), _with_normalisation(model, network.mean, network.std))
    return made.getvalue()


def _with_normalisation(model: bytes, mean: float, std: float) -> bytes:
    """The tflite model with TFLITE_METADATA that says how its input image is normalised."""
    try:
        import flatbuffers
        from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata
        from mediapipe.tasks.metadata import schema_py_generated as tflite
    except ImportError as error:
        raise SetupError(
            f"The installed mediapipe cannot write the pose model's metadata ({error}); "
            f"install mediapipe 1.2.2 or set {ENVIRONMENT} to a pose_landmarker .task file from Google."
        ) from error

    parsed: Any = tflite.ModelT.InitFromObj(tflite.Model.GetRootAs(bytearray(model), 0))
    normalisation = metadata.NormalizationOptionsT(mean=[mean], std=[std])
    step = metadata.ProcessUnitT(metadata.ProcessUnitOptions.NormalizationOptions, normalisation)
    content = metadata.ContentT(
        metadata.ContentProperties.ImageProperties, metadata.ImagePropertiesT(metadata.ColorSpaceType.RGB)
    )
    image = metadata.TensorMetadataT(name="image", content=content, processUnits=[step])
    outputs = [metadata.TensorMetadataT() for _ in parsed.subgraphs[0].outputs]
    graph = metadata.SubGraphMetadataT(inputTensorMetadata=[image], outputTensorMetadata=outputs)
    builder = flatbuffers.Builder(1024)
    described = metadata.ModelMetadataT(subgraphMetadata=[graph], minParserVersion="1.0.0")
    builder.Finish(described.Pack(builder), b"M001")

    parsed.buffers.append(tflite.BufferT(list(builder.Output())))
    entry = tflite.MetadataT(name="TFLITE_METADATA", buffer=len(parsed.buffers) - 1)
    parsed.metadata = [*(parsed.metadata or []), entry]
    builder = flatbuffers.Builder(len(model) + 65536)
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())
