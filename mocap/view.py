"""A finished result in rerun, which shows it in 3D over time: cameras and their images, keypoints, body, error bars.

rerun (Apache-2.0 or MIT) is the optional extra `view`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from mocap import checkpoints, progress, skeletons
from mocap.bodies.kinematics import Skinner
from mocap.dataset import first_take, read_dataset
from mocap.errors import DataError, MocapError, SetupError
from mocap.geometry.cameras import Camera, Rig
from mocap.io.finished import read_finished
from mocap.io.footage import read_frames
from mocap.io.formats.base import Finished
from mocap.take import Keypoints2D, RunContext, View

_MOST = 600
"""A mesh is 160 kB and an image some 30 kB a frame: of longer takes evenly spaced frames get one."""
_SIDE = 640
"""The longer side of images at most [px]."""
_POINT, _LINE, _PLANE = 0.012, 0.006, 0.5
"""Radius of points and of lines, and how far before a camera its image stands [m]; of hands a fifth."""
_POINTS, _FIT, _BODY, _BARS = (240, 150, 40), (60, 130, 220), (150, 165, 230, 150), (230, 80, 80)


def show(path: Path, *, save: Path | None = None, model: str | Path | None = None) -> list[str]:
    """Opens a result in rerun's window, or writes it as a file; gives sentences on what is not shown.

    Args:
        path: An output folder, or one person's result.npz.
        save: The .rrd file to write instead of opening a window.
        model: The body model that was fitted, where it is not the included one.

    Raises:
        SetupError: rerun is not installed.
        DataError: A result of unrelated pictures.
        MissingFile, BadFile, ModelError: As `read_finished`.
    """
    rerun = _rerun()
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if (path / "smplify").is_dir() and not (path / "result.npz").is_file():
        raise DataError(f"{path} is of unrelated pictures, which share no world; look at {path / 'report.html'}.")
    people = read_finished(path, model=model)
    stored = checkpoints.stored(folder, "keypoints2d") if path.is_dir() else None
    footage, notes = _footage(folder)
    recording = rerun.RecordingStream("mocap", recording_id=None)
    recording.send_recording_name(folder.name)
    if save is None:
        # the viewer lies beside this Python, which need not be on the way commands are found by
        os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        recording.spawn()
    else:
        save.parent.mkdir(parents=True, exist_ok=True)
        recording.save(save)
    notes += log(recording, people, stored or [{} for _ in people], footage)
    recording.flush()
    recording.disconnect()
    return notes


def _rerun() -> Any:
    """The library, which not everybody has."""
    try:
        import rerun  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise SetupError("emc view needs rerun, which is not installed; get it with: pip install rerun-sdk") from error
    return rerun


def _footage(folder: Path) -> tuple[Mapping[str, View], list[str]]:
    """The views of the dataset a run was made from, or why there are none."""
    file = folder / "config" / "data.yml"
    if not file.is_file():
        return {}, [f"No images: {file} does not say where the footage is."]
    try:
        return first_take(read_dataset(file), RunContext(folder)).footage, []
    except MocapError as error:
        return {}, [f"No images: {error}"]


def log(
    recording: Any,
    people: Sequence[Finished],
    seen: Sequence[Mapping[str, Keypoints2D]],
    footage: Mapping[str, View],
) -> list[str]:
    """Logs a take to a rerun RecordingStream; gives sentences on what is left out.

    Timelines: `time` [s] for all, `frame` beside it for what is on the take's clock. Under `world` (metres, z up):
    `cameras/<view>` with `image` and `person_<i>` (2D keypoints), both made smaller and
    without lens distortion, and `person_<i>` with `points` (triangulated),
    `skeleton` (of the fit), `body` (mesh) and `error_bars` (ellipsoids of one standard deviation).

    Args:
        recording: rerun's.
        people: With the rig of the first.
        seen: 2D keypoints by view, of each person.
        footage: By view; may be empty.
    """
    rr = _rerun()

    recording.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    notes: list[str] = []
    rig = people[0].rig if people else None
    if rig is not None:
        plane = _PLANE * max(map(_scale, people))
        notes += _cameras(recording, rig, footage, people[0].result.timestamps, plane)
    for i, (person, keypoints) in enumerate(zip(people, seen, strict=False)):
        if rig is not None:
            for view, points in keypoints.items():
                plane, small = rig[view].undistort(points.xy), _small(rig[view])
                there = np.asarray(np.isfinite(plane).all(-1))
                K = _from_corner(small.K)
                recording.send_columns(
                    f"world/cameras/{_part(view)}/person_{i}",
                    [rr.TimeColumn("time", duration=points.timestamps)],
                    _rows(rr.Points2D, plane @ K[:2, :2].T + K[:2, 2], there, radii=3.0, colors=_POINTS),
                )
        notes += _person(recording, f"world/person_{i}", person)
    return notes


def _scale(person: Finished) -> float:
    """Of what is drawn: 1 for a body, a fifth for a hand by itself."""
    return 0.2 if skeletons.get(person.result.skeleton).of_hands().all() else 1.0


def _part(name: str) -> str:
    """A view's name as a part of a path: whatever rerun reads as a separator is escaped."""
    return _rerun().escape_entity_path_part(name)


def _rows(kind: Any, xyz: np.ndarray, there: Bool[np.ndarray, "frames points"], **look: Any) -> Any:
    """The points of each frame that are there, as columns of a rerun archetype; `look` holds for every point."""
    counts = there.sum(1)
    columns = {name: np.repeat([value], counts.sum(), axis=0) for name, value in look.items()}
    return kind.columns(positions=xyz[there].astype(np.float32), **columns).partition(counts)


def _cameras(
    recording: Any, rig: Rig, footage: Mapping[str, View], clock: Float[np.ndarray, " frames"], plane: float
) -> Iterator[str]:
    """Logs where cameras are and what they saw, without lens distortion, which rerun does not know."""
    rr = _rerun()
    for camera in rig:
        place, small = f"world/cameras/{_part(camera.name)}", _small(camera)
        T = np.linalg.inv(camera.T_camera_world)
        recording.log(place, rr.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]), static=True)
        pinhole = rr.Pinhole(
            image_from_camera=_from_corner(small.K),
            resolution=small.size,
            camera_xyz=rr.ViewCoordinates.RDF,
            image_plane_distance=plane,
        )
        recording.log(place, pinhole, static=True)
        view = footage.get(camera.name)
        if view is None:
            continue
        inside = np.flatnonzero((view.timestamps > clock[0] - 1e-3) & (view.timestamps < clock[-1] + 1e-3))
        shown = _spread(inside)
        if len(shown) < len(inside):
            yield f"Of camera {camera.name} {len(shown)} of {len(inside)} images are shown."
        where = _undistortion(small)
        for i, image in progress.track(read_frames(view, shown), f"images of {camera.name}", total=len(shown)):
            if image is None:
                continue
            flat = cv2.remap(cv2.resize(image, small.size, interpolation=cv2.INTER_AREA), *where, cv2.INTER_LINEAR)
            data = cv2.imencode(".jpg", np.ascontiguousarray(flat[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
            recording.set_time("time", duration=float(view.timestamps[i]))
            recording.log(f"{place}/image", rr.EncodedImage(contents=data.tobytes(), media_type="image/jpeg"))


def _small(camera: Camera) -> Camera:
    """The camera of the images that are shown."""
    scale = min(1.0, _SIDE / camera.longer_side)
    width, height = camera.size
    return camera.scaled_to((round(scale * width), round(scale * height)))


def _from_corner(K: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """rerun counts pixels from the corner of the first one, mocap from its centre."""
    return K + [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]


def _undistortion(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Where in the camera's image each pixel of one without distortion comes from [px]: OpenCV's two maps."""
    width, height = camera.size
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height), [1.0]), axis=-1).reshape(-1, 3)
    rays = pixels @ np.linalg.inv(camera.K).T
    xy, _ = camera.project((rays - camera.t) @ camera.R)
    x, y = np.nan_to_num(xy, nan=-1.0).astype(np.float32).reshape(height, width, 2).transpose(2, 0, 1)
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def _spread(places: Int[np.ndarray, " places"]) -> Int[np.ndarray, " some"]:
    """At most `_MOST` of them, evenly spaced."""
    if len(places) <= _MOST:
        return places
    return places[np.linspace(0, len(places) - 1, _MOST).round().astype(int)]


def _person(recording: Any, place: str, person: Finished) -> list[str]:
    rr = _rerun()

    result = person.result
    index = [rr.TimeColumn("time", duration=result.timestamps), rr.TimeColumn("frame", sequence=result.frames)]
    notes: list[str] = []
    skeleton, scale = skeletons.get(result.skeleton), _scale(person)
    points, fit = result.keypoints3d, result.keypoints3d_fit
    if points is not None:
        there = np.asarray(np.isfinite(points).all(-1))
        look: dict[str, Any] = {"radii": scale * _POINT, "colors": _POINTS}
        recording.send_columns(f"{place}/points", index, _rows(rr.Points3D, points, there, **look))
    lines = fit if fit is not None else points
    if lines is not None:
        strips = lines[:, skeleton.limb_indices()].astype(np.float32)  # (frames, limbs, 2, 3)
        whole = np.isfinite(strips).all((-1, -2))
        counts = whole.sum(1)
        columns = rr.LineStrips3D.columns(
            strips=strips[whole],
            radii=np.full(counts.sum(), scale * _LINE),
            colors=np.repeat([_FIT], counts.sum(), axis=0),
        )
        recording.send_columns(f"{place}/skeleton", index, columns.partition(counts))
    bars = _bars(person)
    if bars is not None:
        centres, sigma = bars
        there = np.isfinite(centres).all(-1) & np.isfinite(sigma).all(-1)
        counts = there.sum(1)
        columns = rr.Ellipsoids3D.columns(
            centers=centres[there].astype(np.float32),
            half_sizes=sigma[there].astype(np.float32),
            colors=np.repeat([_BARS], counts.sum(), axis=0),
        )
        recording.send_columns(f"{place}/error_bars", index, columns.partition(counts))
    motion = result.motion
    if person.body is not None and motion is not None and result.shapes is not None:
        rows = _spread(np.arange(len(motion.Rh)))
        if len(rows) < len(motion.Rh):
            notes.append(f"The mesh of {place.rpartition('/')[2]} is shown in {len(rows)} of {len(motion.Rh)} frames.")
        faces = np.asarray(person.body.faces)
        recording.log(f"{place}/body", rr.Mesh3D.from_fields(triangle_indices=faces, albedo_factor=_BODY), static=True)
        skinner = Skinner(person.body, result.shapes)
        meshes = skinner.chunks(motion.Rh[rows], motion.Th[rows], motion.poses[rows])
        for row, vertices in zip(rows.tolist(), meshes, strict=True):
            recording.set_time("time", duration=float(result.timestamps[row]))
            recording.set_time("frame", sequence=int(result.frames[row]))
            recording.log(f"{place}/body", rr.Mesh3D.from_fields(vertex_positions=vertices))
    return notes


def _bars(person: Finished) -> tuple[Float[np.ndarray, "frames points 3"], Float[np.ndarray, "frames points 3"]] | None:
    """Centres and standard deviations along the world's axes [m], of the fitted joints or else of the points."""
    result = person.result
    if result.joints is not None and result.joint_sigma is not None:
        return result.joints, result.joint_sigma
    if result.keypoints3d is not None and result.keypoints3d_covariance is not None:
        variance = np.diagonal(result.keypoints3d_covariance.astype(float), axis1=-2, axis2=-1)
        return result.keypoints3d, np.sqrt(np.maximum(variance, 0))
    return None
