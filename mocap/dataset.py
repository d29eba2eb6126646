"""The dataset file, and the take it begins with: cameras joined to footage by name, in a z-up world, on one clock.

Or, where the dataset says `keypoints3d`, people with 3D keypoints, without cameras or footage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat

from mocap import config, yaml_tree
from mocap.config import Override, Step
from mocap.errors import BadFile, ConfigError, DataError, MissingFile, UnknownName
from mocap.io import calibration, footage, stored_detections, stored_keypoints3d
from mocap.io.stored_keypoints3d import Points, StoredKeypoints3D
from mocap.options import options
from mocap.take import Keypoints3D, Person, Report, RunContext, Take, View

_MOST_FRAMES = 10_000_000
"""Of a recording known by numbers in file names: a day at 100 frames a second. Dates and times run beyond it."""


@options
class World:
    """Which way is up in the world of the calibration or the 3D keypoints, and where the floor is."""

    up: Literal["x", "-x", "y", "-y", "z", "-z"] | None = None
    """The axis of the calibration's (or the 3D keypoints') world that points up; results are always z-up. null: what
    the format says (y for TRC, what a C3D tells), else z."""
    floor: float | None = None
    """Where the floor is along that axis [m]; results have it at z = 0. null: not known, heights stay as they are."""


@options
class Dataset:
    """One recording: footage of several calibrated views, or 3D keypoints."""

    root: Path
    """Folder with images/<view>/*.jpg|png or videos/<view>.mp4|mov, or the file or folder of 3D keypoints; looked up
    from the current folder, then from the folder of this file upward."""
    calibration: str = "."
    """A folder with intri.yml and extri.yml, a toml (Pose2Sim, Anipose, Caliscope, FreeMoCap) or a Qualisys .qca.txt;
    relative to root."""
    unit: Literal["m", "cm", "mm"] | None = None
    """Unit of the lengths of the calibration or the 3D keypoints; null: what their format says."""
    fit: Literal["stretch", "bars", "crop", "crop-centre"] | None = None
    """How footage of another size than its calibration came by it; null: told from the sizes and a picture."""
    world: World = Field(default_factory=World)
    """up and floor."""
    subs: tuple[str, ...] | None = None
    """Views to use, by name; null: all."""
    subs_vis: tuple[str, ...] | None = None
    """Views to draw the body over; null: all, []: none."""
    ranges: tuple[int, int, int] | None = None
    """start, end (not included; below 0: the last) and step of the frames to use; null: all."""
    reference: str | None = None
    """The view whose frames are the take's; null: the one with the most."""
    fps: PositiveFloat | None = None
    """Frame rate of folders of images and of stored keypoints [1/s]; videos, and files that say it, have their own.
    null: 30 (3D keypoints without any are refused)."""
    offsets: Mapping[str, float] = Field(default_factory=dict)
    """When the first frame of a view was seen, on the clock of the others [s]; 0 for views not named."""
    keypoints: str | None = None
    """A folder of stored detections (<view>/*.json of OpenPose, <view>.json of COCO) that stands for the footage where
    there is none; relative to root."""
    keypoints3d: str | None = None
    """3D keypoints to begin with instead of footage: a .npz, .trc or .c3d, or a folder of EasyMocap's json; relative
    to root, `.` being root itself."""
    skeleton: str | None = None
    """Keypoint set of the 3D keypoints; null: what their file says, body25 for points with names."""


_OF_VIEWS = ("fit", "subs", "subs_vis", "reference", "offsets", "keypoints")
"""Options that mean nothing without footage."""


def read_dataset(path: Path, *, overrides: Sequence[Override] = (), plugins: bool = False) -> Dataset:
    """The dataset in a YAML file; a dataset in EasyMocap's layout is answered with what to write."""
    tree = yaml_tree.read(path)
    if isinstance(tree.value, Mapping) and "module" in tree.value and "args" in tree.value:
        raise tree.error(
            "This dataset is in EasyMocap's own layout (module:, args:), which names Python classes to import. Write "
            "root, subs, subs_vis and ranges at the top level, as config/datasets/mvimage.yml does."
        )
    for override in overrides:
        tree = override.applied(tree)
    return config.read_options(Dataset, tree, "the dataset", plugins=plugins)


def first_take(dataset: Dataset, run: RunContext, **facts: Any) -> Take:
    """The take before any stage: its first report, "dataset", says what was matched, resized, assumed and left out.

    With `keypoints3d` it has people with 3D keypoints, and neither cameras nor footage.

    Raises:
        MissingFile: No data folder, footage or calibration.
        UnknownName: A view that does not exist.
        CalibrationError: A view without a camera, or cameras that do not fit the footage.
        DataError: Views that share no moment.
    """
    if dataset.keypoints3d is not None:
        return _take_of_points(dataset, dataset.root / dataset.keypoints3d, run, facts)
    if dataset.root.is_file() and dataset.root.suffix.casefold() in stored_keypoints3d.FORMATS:
        raise ConfigError(
            f"{dataset.root} is a file; to begin with 3D keypoints, use --data config/datasets/keypoints3d.yml."
        )
    if not dataset.root.is_dir():
        raise MissingFile(dataset.root, what="Data folder", remedy="Give the folder of the recording with --root.")
    places = _places(dataset)
    names = _chosen(dataset.subs, places, "--subs")
    for name in dataset.offsets:
        if name not in places:
            raise UnknownName("view", name, places, where="offsets")

    from_keypoints = dataset.keypoints is not None and places[names[0]].is_relative_to(dataset.root / dataset.keypoints)
    views = {} if from_keypoints else {name: _opened(dataset, name, places[name]) for name in names}
    found = calibration.read_calibration(
        dataset.root / dataset.calibration,
        view_names=names,
        sizes={name: view.size for name, view in views.items()} or None,
        unit=dataset.unit,
    )
    cameras, notes, unused = calibration.match_cameras(found.cameras, names)
    warnings = [*found.warnings]
    if from_keypoints:
        views = _pseudo_views(dataset, {n: places[n] for n in names}, {n: cameras[n].size for n in names})
        warnings.append(f"There is no footage: {dataset.keypoints} stands for it, so nothing can be drawn over it.")
    for name, view in views.items():
        if not from_keypoints:
            notes += footage.view_notes(view, fps=dataset.fps)
        picture = None if view.size == cameras[name].size else _picture(view)
        cameras[name], told = calibration.fit_to_footage(cameras[name], view.size, picture=picture, how=dataset.fit)
        warnings += [told] if told else []
    rig, _ = calibration.to_z_up(cameras.values(), dataset.world.up or "z", dataset.world.floor)
    clock = footage.common_clock(views.values(), ranges=dataset.ranges, reference=dataset.reference)
    report = Report(
        "dataset",
        "dataset",
        {
            **facts,
            "root": str(dataset.root),
            "calibration": {"file": str(found.path), "format": found.format, "unit": found.unit_note},
            "cameras_without_view": unused,
            "views": {n: {"path": str(v.path), "frames": v.frames, "size": list(v.size)} for n, v in views.items()},
            "clock": clock.reference,
            "notes": [*notes, *clock.notes],
            "warnings": warnings,
        },
    )
    return Take(
        run=run,
        timestamps=clock.timestamps,
        frames=clock.frames,
        rig=rig,
        footage=views,
        reports=(report,),
    )


def check_steps(dataset: Dataset, steps: Sequence[Step]) -> None:
    """ConfigError when a stage needs footage or cameras and the dataset is 3D keypoints."""
    if dataset.keypoints3d is None:
        return
    for step in steps:
        lacking = sorted(step.stage.needs & {"footage", "rig"})
        if lacking:
            raise step.where.error(
                f'Stage "{step.label}" needs {" and ".join(lacking)}, and {dataset.root} gives 3D keypoints alone: use '
                "--exp config/fitSMPL3d.yml, which begins with load_body_model."
            )


def _take_of_points(dataset: Dataset, path: Path, run: RunContext, facts: Mapping[str, Any]) -> Take:
    """The take of stored 3D keypoints: people in a z-up world."""
    told = [name for name in _OF_VIEWS if getattr(dataset, name)]
    if told:
        raise ConfigError(f"{', '.join(told)} of the dataset is about views, and 3D keypoints have none: leave it out.")
    found = stored_keypoints3d.read_keypoints3d(
        path, skeleton=dataset.skeleton, fps=dataset.fps, unit=dataset.unit, ranges=dataset.ranges
    )
    up = dataset.world.up or found.up or "z"
    warnings = [*found.warnings]
    seen = stored_keypoints3d.upward([p.xyz for p in found.people.values()], found.skeleton)
    if seen not in (up, None):
        warnings.append(
            f"Heads are towards {seen} of feet, and {up} is taken to point up: if that is wrong, say --set "
            f"data.world.up={seen}."
        )
    T = calibration.to_z_up((), up, dataset.world.floor)[1]
    joints = found.skeleton.joints
    report = Report(
        "dataset",
        "dataset",
        {
            **facts,
            "root": str(dataset.root),
            "keypoints3d": {
                "file": str(found.path),
                "format": found.format,
                "skeleton": found.skeleton.name,
                "unit": found.unit,
                "up": up,
                "people": {
                    name: {
                        "joints_missing": [
                            j for j, has in zip(joints, np.asarray((p.confidence > 0).any(0)), strict=True) if not has
                        ],
                        "found": float((p.confidence > 0).mean()),
                    }
                    for name, p in found.people.items()
                },
                "points_unmatched": list(found.unmatched),
            },
            "notes": [*found.notes, *_unmatched(found)],
            "warnings": warnings,
        },
    )
    return Take(
        run=run,
        timestamps=found.timestamps,
        frames=found.frames,
        people=tuple(Person(keypoints3d=_turned(p, found, T)) for p in found.people.values()),
        reports=(report,),
        floor=dataset.world.floor is not None,
    )


def _unmatched(found: StoredKeypoints3D) -> list[str]:
    if not found.unmatched:
        return []
    named = ", ".join(found.unmatched[:8]) + (", ..." if len(found.unmatched) > 8 else "")
    count = "1 point of the file is" if len(found.unmatched) == 1 else f"{len(found.unmatched)} points of the file are"
    return [f"{count} no joint of {found.skeleton.name} and not used: {named}."]


def _turned(points: Points, found: StoredKeypoints3D, T: np.ndarray) -> Keypoints3D:
    """In the z-up world. What no file has is NaN without taking memory: a view of one NaN."""
    R = T[:3, :3]
    xyz = points.xyz @ R.T + T[:3, 3]
    unknown = np.broadcast_to(np.nan, xyz.shape[:2])
    if points.covariance is None:
        return Keypoints3D(found.skeleton, xyz, points.confidence, np.broadcast_to(np.nan, (*xyz.shape, 3)), unknown)
    return Keypoints3D.of(found.skeleton, xyz, points.confidence, R @ points.covariance @ R.T, unknown)


def _places(dataset: Dataset) -> dict[str, Path]:
    """View name -> footage, or stored detections where there is no footage."""
    try:
        return footage.discover_views(dataset.root)
    except MissingFile:
        if dataset.keypoints is None:
            raise
    found = stored_detections.discover_detections(dataset.root / dataset.keypoints)
    return {name.removesuffix("_json"): path for name, path in found.items()}


def _chosen(wanted: Sequence[str] | None, known: Mapping[str, Any], where: str) -> list[str]:
    if wanted is None:
        return list(known)
    for name in wanted:
        if name not in known:
            raise UnknownName("view", name, known, where=where)
    if not wanted:
        raise ConfigError(f"{where} names no view; known: {', '.join(known)}.")
    if len(set(wanted)) < len(wanted):
        raise ConfigError(f"{where} names a view twice: {', '.join(wanted)}.")
    return list(wanted)


def _opened(dataset: Dataset, name: str, path: Path) -> View:
    try:
        return footage.open_view(path, name, fps=dataset.fps, offset=dataset.offsets.get(name, 0.0))
    except BadFile as error:
        raise BadFile(error.path, f'{error.why} Mend it, or leave view "{name}" out with --subs.') from error


def _pseudo_views(
    dataset: Dataset, places: Mapping[str, Path], sizes: Mapping[str, tuple[int, int]]
) -> dict[str, View]:
    """Views known by their stored detections alone, at the dataset's frame rate.

    A view has every frame from its first number to its last. Equal numbers are one moment in all views, and the clock
    starts at the lowest of any.
    """
    ends = {}
    for name, path in places.items():
        numbers = stored_detections.read_detections(path).frame_numbers
        if not len(numbers):
            raise DataError(f'View "{name}": {path} holds no frame.')
        ends[name] = int(numbers[0]), int(numbers[-1])
    lowest = min(first for first, _ in ends.values())
    views = {}
    for name, (first, last) in ends.items():
        if last - lowest >= _MOST_FRAMES:
            raise DataError(
                f'View "{name}": the frames of {places[name]} are numbered {first} to {last}, and the lowest of any '
                f"view is {lowest}; the last number in a file's name must count frames, of which at most "
                f"{_MOST_FRAMES} are taken."
            )
        moments = np.arange(first - lowest, last - lowest + 1) / (dataset.fps or footage.DEFAULT_FPS)
        views[name] = View(name, places[name], moments + dataset.offsets.get(name, 0.0), sizes[name])
    return views


def _picture(view: View) -> np.ndarray | None:
    return next(
        (image for _, image in footage.read_frames(view, range(min(view.frames, 30))) if image is not None), None
    )
