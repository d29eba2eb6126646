"""Bundles of mediapipe's models: put together once from a pinned wheel, checked, kept in the user's cache.

mediapipe's wheels since 0.10.30 carry no models; 0.10.21 (Apache-2.0) carries detectors of persons and palms and the
`full` landmark networks of bodies and hands (not `lite` nor `heavy`). Tasks' PoseLandmarker and HandLandmarker each
want their two in an uncompressed zip, with metadata saying how the input image is normalised. The hand's networks have
it; the pose's get it here with the flatbuffer schemas mediapipe ships, because its own writers (`metadata_writers`)
need a native module that wheels since 1.0 lack.
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
# No wheel of 0.10.21 exists for every system and Python, so one is named; only its data files are used.
DOWNLOAD = (
    *("pip", "download", "--no-deps", "--only-binary=:all:", "--python-version", "312", "--implementation", "cp"),
    *("--platform", "manylinux_2_28_x86_64", WHEEL),
)


@dataclass(frozen=True)
class Network:
    """One network of a bundle."""

    name: str
    source: str
    sha256: str
    normalised: tuple[float, float] | None = None
    """Mean and standard deviation to write beside it: its input is (pixel - mean) / deviation with pixels in [0, 255].
    None: it says so itself."""


@dataclass(frozen=True)
class Bundle:
    """A model of mediapipe's Tasks API."""

    name: str
    """As Google calls its file."""
    task: str
    """The class of `mediapipe.tasks.python.vision` that runs it."""
    what: str
    """What it is called in sentences."""
    environment: str
    """The environment variable that names another file."""
    networks: tuple[Network, ...]


_MODULES = "mediapipe/modules"
POSE = Bundle(
    "pose_landmarker",
    "PoseLandmarker",
    "pose model",
    "MOCAP_POSE_MODEL",
    (
        Network(
            "pose_detector.tflite",
            f"{_MODULES}/pose_detection/pose_detection.tflite",
            "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
            (127.5, 127.5),
        ),
        Network(
            "pose_landmarks_detector.tflite",
            f"{_MODULES}/pose_landmark/pose_landmark_full.tflite",
            "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
            (0.0, 255.0),
        ),
    ),
)
HAND = Bundle(
    "hand_landmarker",
    "HandLandmarker",
    "hand model",
    "MOCAP_HAND_MODEL",
    (
        Network(
            "hand_detector.tflite",
            f"{_MODULES}/palm_detection/palm_detection_full.tflite",
            "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
        ),
        Network(
            "hand_landmarks_detector.tflite",
            f"{_MODULES}/hand_landmark/hand_landmark_full.tflite",
            "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
        ),
    ),
)
BUNDLES = (POSE, HAND)


def user_cache() -> Path:
    """Where this user's programs keep what can be made again: XDG's folder, or what Windows and macOS have for it."""
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "mocap"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "mocap" / "Cache"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "mocap"


def model_file(bundle: Bundle, path: str | Path | None = None) -> Path:
    """The path of a usable `.task` file.

    Args:
        bundle: Which model.
        path: The user's own `.task` file, or a wheel of the pinned mediapipe to take the networks from. None asks the
            bundle's environment variable, then the cache, then downloads the wheel with pip.

    Raises:
        MissingFile: `path` is not there.
        ModelError: It is neither a bundle nor the pinned wheel.
        SetupError: The model has to be downloaded and cannot be.
    """
    origin = named_by(bundle, path)
    path = path or os.environ.get(bundle.environment)
    if not path:
        return _cached(bundle) or _kept(bundle, _download(bundle))
    path = Path(path).expanduser()
    if not path.is_file():
        what = bundle.what.capitalize() + origin
        raise MissingFile(path, what=what, remedy=f"It is a .task bundle or a wheel of {WHEEL}.")
    if path.suffix == ".whl":
        return _cached(bundle) or _kept(bundle, path.read_bytes())
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path}{origin} is not a .task bundle, which is a zip of two tflite networks.")
    return path


def named_by(bundle: Bundle, path: str | Path | None) -> str:
    """For sentences about the file :func:`model_file` gives: who named it, where it was not `path`."""
    named = not path and os.environ.get(bundle.environment)
    return f" (named by the environment variable {bundle.environment})" if named else ""


def sha256(path: Path) -> str:
    """Of the file's content, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _cached(bundle: Bundle) -> Path | None:
    """The bundle in the cache; its name holds its checksum, so one that was cut short or altered is passed over."""
    for path in sorted(user_cache().glob(f"{bundle.name}_full-{VERSION}-*.task")):
        if path.stem.endswith(sha256(path)[:16]):
            return path
    return None


def _kept(bundle: Bundle, wheel: bytes) -> Path:
    """The bundle, after this and the others were made from the wheel and kept, so that it is fetched once."""
    if hashlib.sha256(wheel).hexdigest() != WHEEL_SHA256:
        raise ModelError(
            f"The wheel the {bundle.what} is taken from is not the expected one of {WHEEL} (sha256 {WHEEL_SHA256}); "
            f"`{' '.join(DOWNLOAD)}` fetches it."
        )
    made = {each.name: _keep(each, _assemble(each, wheel)) for each in BUNDLES}
    return made[bundle.name]


def _keep(bundle: Bundle, content: bytes) -> Path:
    """Writes the bundle into the cache; safe when several processes do so at once."""
    folder = user_cache()
    path = folder / f"{bundle.name}_full-{VERSION}-{hashlib.sha256(content).hexdigest()[:16]}.task"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as part:
            part.write(content)
        os.replace(part.name, path)
    except OSError as error:
        raise SetupError(
            f"The {bundle.what} cannot be written to the cache folder {folder} ({error.strerror}); "
            "the environment variable XDG_CACHE_HOME names another."
        ) from error
    return path


def _download(bundle: Bundle) -> bytes:
    """The pinned wheel, through pip: whatever index, proxy or mirror the user's pip is set up for."""
    command = f"{Path(sys.executable).name} -m {' '.join(DOWNLOAD)}"
    remedy = (
        f"Where there is a network, run `{command}` and set {bundle.environment} (or the `model_path` option) to the "
        f"wheel it saves, or to a {bundle.name} .task file from Google."
    )
    if importlib.util.find_spec("pip") is None:
        raise SetupError(f"The {bundle.what} is fetched with pip, which {sys.executable} does not have. {remedy}")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", *DOWNLOAD, "--dest", folder, "--disable-pip-version-check", "--no-input", "--quiet"],
            capture_output=True,
            text=True,
        )
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            said = next((s for s in reversed(done.stderr.splitlines()) if s.startswith("ERROR")), "no reason given")
            raise SetupError(f"The {bundle.what} could not be downloaded (pip: {said}). {remedy}")
        return wheels[0].read_bytes()


def _assemble(bundle: Bundle, wheel: bytes) -> bytes:
    """The bundle made from the pinned wheel's networks."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheel)) as source, zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as written:
        for network in bundle.networks:
            model = source.read(network.source)
            if hashlib.sha256(model).hexdigest() != network.sha256:
                raise ModelError(f"{network.source} in the wheel of {WHEEL} is not the expected file.")
            if network.normalised is not None:
                model = _with_normalisation(model, *network.normalised)
            # ZipInfo's fixed date makes the same bundle, and so the same checksum, every time.
            written.writestr(zipfile.ZipInfo(network.name), model)
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
            f"install mediapipe 1.2.2 or set {POSE.environment} to a {POSE.name} .task file from Google."
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
