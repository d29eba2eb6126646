"""The dataset file, and the take it begins with: cameras joined to footage by name, in a z-up world, on one clock.

Or, by `kind`, one camera, calibrated or not; or pictures of different people, each with a camera of its own. Or, where
the dataset says `keypoints3d`, people with 3D keypoints, without cameras or footage.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat

from mocap import config, yaml_tree
from mocap.config import Override, Step
from mocap.detect.detectors.mediapipe_hands import MediapipeHands
from mocap.errors import BadFile, ConfigError, DataError, MissingFile, UnknownName
from mocap.geometry.cameras import Camera, Rig, level_camera
from mocap.io import calibration, focal, footage, lsp, stored_detections, stored_keypoints3d
from mocap.io.focal import Focal, Told
from mocap.io.pictures import find_pictures, listed, open_pictures
from mocap.io.stored_keypoints3d import Points, StoredKeypoints3D
from mocap.options import options
from mocap.skeletons import LSP14, fittable
from mocap.take import Detections, Keypoints3D, Person, Report, RunContext, Take, View

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
    """One recording: footage of several calibrated views, or of one camera; unrelated pictures; or 3D keypoints."""

    root: Path
    """Folder with images/<view>/*.jpg|png or videos/<view>.mp4|mov (of one camera also the video itself, or a folder
    of its images; of unrelated pictures the folder of, or above, images/), or the file or folder of 3D keypoints;
    looked up from the current folder, then from the folder of this file upward."""
    calibration: str | None = "."
    """A folder with intri.yml and extri.yml, a toml (Pose2Sim, Anipose, Caliscope, FreeMoCap), a Qualisys .qca.txt, or
    a folder with two .dat a camera (handpose3d, bodypose3d); relative to root. One camera may have none (null, or
    nothing there) or intri.yml alone: it then stands level."""
    kind: Literal["rig", "one_camera", "images"] = "rig"
    """rig: several calibrated cameras; one_camera: one, calibrated or not; images: unrelated pictures, each with its
    own camera and person."""
    focal: PositiveFloat | None = None
    """Focal length of a camera without calibration [px]; null: the one its files tell, else that of `phone`, else 5000
    for unrelated pictures and a phone's for one camera."""
    phone: str | None = None
    """What one camera or pictures without calibration were taken with, where their files do not tell: "iPhone 12",
    "iPhone13,2"."""
    joints: str | None = None
    """2D joints that come with unrelated pictures, in root: SMPLify's est_joints.npz (`emc joints` makes one); null:
    they are detected."""
    genders: str | None = None
    """Genders of the people in unrelated pictures, in root: a csv of 0 (male), 1 (female) and -1 (neutral), in the
    order of the pictures' names; null, or nothing there: neutral."""
    unit: Literal["m", "cm", "mm"] | PositiveFloat | None = None
    """Unit of the lengths of the calibration or the 3D keypoints; of the calibration also how many metres it is, such
    as the side of a chessboard's square; null: what their format says."""
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
_KINDS = {
    **dict.fromkeys(("focal", "phone"), ("one_camera", "images")),
    **dict.fromkeys(("joints", "genders"), ("images",)),
    **dict.fromkeys(("fit", "reference", "offsets", "keypoints", "unit", "fps"), ("rig", "one_camera")),
    "keypoints3d": ("rig",),
}
"""Options that mean something for some kinds only."""


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

    With `keypoints3d` it has people with 3D keypoints, and neither cameras nor footage. Of `kind: images` it is one
    moment of unrelated views (`Take.apart`), with detections where `joints` come with them.

    Raises:
        MissingFile: No data folder, footage or calibration.
        UnknownName: A view that does not exist.
        CalibrationError: A view without a camera, or cameras that do not fit the footage.
        DataError: Views that share no moment.
    """
    for option, kinds in _KINDS.items():
        if getattr(dataset, option) and dataset.kind not in kinds:
            raise ConfigError(
                f"{option} of the dataset is for kind: {' or '.join(kinds)}, and this one is of kind: {dataset.kind}."
            )
    if dataset.keypoints3d is not None:
        return _take_of_points(dataset, dataset.root / dataset.keypoints3d, run, facts)
    _check_root(dataset)
    if dataset.kind == "images":
        return _take_of_pictures(dataset, run, facts)
    alone = dataset.kind == "one_camera"
    places = _places_of_one(dataset) if alone else _places(dataset)
    names, chosen = _chosen_one(dataset, places) if alone else (_chosen(dataset.subs, places, "--subs"), [])
    for name in dataset.offsets:
        if name not in places:
            raise UnknownName("view", name, places, where="offsets")

    from_keypoints = dataset.keypoints is not None and places[names[0]].is_relative_to(dataset.root / dataset.keypoints)
    views = {} if from_keypoints else {name: _opened(dataset, name, places[name]) for name in names}
    found = _cameras(dataset, names, views)
    cameras, notes, warnings = found.cameras, [*chosen, *found.notes], found.warnings
    if from_keypoints:
        views = _pseudo_views(dataset, {n: places[n] for n in names}, {n: cameras[n].size for n in names})
        warnings.append(f"There is no footage: {dataset.keypoints} stands for it, so nothing can be drawn over it.")
    for name, view in views.items():
        if not from_keypoints:
            notes += footage.view_notes(view, fps=dataset.fps)
        picture = None if view.size == cameras[name].size else _picture(view)
        cameras[name], told = calibration.fit_to_footage(cameras[name], view.size, picture=picture, how=dataset.fit)
        warnings += [told] if told else []
    rig = Rig(tuple(cameras.values()))
    if not found.level:  # else the world is this program's own, and the dataset's `world` is about another
        rig, _ = calibration.to_z_up(cameras.values(), dataset.world.up or "z", dataset.world.floor)
    clock = footage.common_clock(views.values(), ranges=dataset.ranges, reference=dataset.reference)
    report = Report(
        "dataset",
        "dataset",
        {
            **facts,
            "root": str(dataset.root),
            **found.facts,
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


@dataclass(frozen=True)
class _Cameras:
    """The cameras of the views, and what is to be said of them."""

    cameras: dict[str, Camera]
    facts: dict[str, Any]
    notes: list[str]
    warnings: list[str]
    level: bool = False
    """Whether they stand level at the origin of a world that nobody calibrated."""


def _cameras(dataset: Dataset, names: Sequence[str], views: Mapping[str, View]) -> _Cameras:
    """From the calibration; of one camera without any, level ones."""
    path = _calibration(dataset)
    alone = dataset.kind == "one_camera"
    if path is None:
        if not views:
            raise DataError(f"{dataset.root} has neither footage nor a calibration, so its image size is not known.")
        focals = {name: _focal(dataset, view, _hints(view)) for name, view in views.items()}
        cameras = {name: level_camera(name, f.px, views[name].size) for name, f in focals.items()}
        note = (
            "There is no calibration: the camera is taken to stand level at the world's origin, and to look along +y."
        )
        facts = {"calibration": None, "focal": _told_focals(focals)}
        return _Cameras(cameras, facts, [note, *_notes_on(focals)], _guesses(focals), level=True)
    given = [name for name in ("focal", "phone") if getattr(dataset, name) is not None]
    if given:
        raise ConfigError(
            f"{given[0]} of the dataset is for a camera without calibration, and {path} is one: leave it out, or say "
            "calibration: null."
        )
    found = calibration.read_calibration(
        path,
        view_names=names,
        sizes={name: view.size for name, view in views.items()} or None,
        unit=dataset.unit,
        level=alone,
    )
    cameras, notes, unused = calibration.match_cameras(found.cameras, names)
    facts = {
        "calibration": {"file": str(found.path), "format": found.format, "unit": found.unit_note},
        "cameras_without_view": unused,
    }
    level = alone and all(
        np.array_equal(c.T_camera_world, level_camera("", 1.0, c.size).T_camera_world) for c in cameras.values()
    )
    if level:
        notes.append(f"{found.path} says where no camera is: it is taken to stand level at the world's origin.")
    return _Cameras(cameras, facts, notes, [*found.warnings], level)


def _calibration(dataset: Dataset) -> Path | None:
    """Where the calibration is; None where one camera has none."""
    if dataset.kind == "rig":
        if dataset.calibration is None:
            raise ConfigError(
                "Several cameras need their calibration; one alone, without, is for config/datasets/svimage.yml."
            )
        return dataset.root / dataset.calibration
    if dataset.calibration is None:
        return None
    # beside a video, other files may be of any kind: only what is called as a calibration is one
    base = dataset.root.parent if dataset.root.is_file() else dataset.root
    path = base / dataset.calibration
    patterns = ("intri.yml",) if dataset.root.is_file() else ("intri.yml", "extri.yml", "*.toml", "*.qca.txt")
    if dataset.calibration == Dataset.calibration and not any(any(path.glob(pattern)) for pattern in patterns):
        return None
    return path


def _focal(dataset: Dataset, view: View, told: Told) -> Focal:
    return focal.focal_length(view.size, told, given=dataset.focal, phone=dataset.phone, paper=dataset.kind == "images")


def _hints(view: View) -> Told:
    """What the video, or the first image that can be read, says of the camera."""
    if not view.files:
        return focal.of_video(view.path)
    for file in view.files:
        with contextlib.suppress(BadFile):
            return focal.of_picture(file)[1]
    return Told()


def _told_focals(focals: Mapping[str, Focal]) -> list[dict[str, Any]]:
    """For the report: by source, of how many views, and the least and the most [px]."""
    sources: dict[str, list[float]] = {}
    for f in focals.values():
        sources.setdefault(f.source, []).append(f.px)
    return [{"source": s, "views": len(px), "px": [min(px), max(px)]} for s, px in sources.items()]


def _notes_on(focals: Mapping[str, Focal]) -> list[str]:
    """A sentence for each way a focal length was told; pictures' own are one way, however many they are."""
    ways: dict[str, list[Focal]] = {}
    for f in focals.values():
        ways.setdefault(f.source.partition(",")[0], []).append(f)
    notes = []
    for way, found in ways.items():
        px = [f.px for f in found]
        size = f"{px[0]:.0f} px" if max(px) - min(px) < 1 else f"{min(px):.0f} to {max(px):.0f} px"
        of = "" if len(focals) == 1 else f" of {len(found)} picture{'s' if len(found) > 1 else ''}"
        source = found[0].source if len({f.source for f in found}) == 1 else way
        notes.append(f"Focal length{of}: {size}, {source}.")
    return notes


def _guesses(focals: Mapping[str, Focal]) -> list[str]:
    return [
        f'The focal length of "{name}" is guessed ({f.px:.0f} px), and distances from the camera are as uncertain. '
        'Give it with --set data.focal=PIXELS, or --set data.phone="iPhone 12".'
        for name, f in focals.items()
        if f.guessed
    ]


def _check_root(dataset: Dataset) -> None:
    """That there is something, and of this kind."""
    root = dataset.root
    if root.is_file():
        suffix = root.suffix.casefold()
        use = {
            **dict.fromkeys(stored_keypoints3d.FORMATS, ("keypoints3d", "a file of 3D keypoints")),
            **dict.fromkeys(footage.VIDEO_SUFFIXES, ("svimage", "one camera's video")),
            **dict.fromkeys(footage.IMAGE_SUFFIXES, ("lsp", "a picture")),
        }.get(suffix)
        right = {"one_camera": "svimage", "images": "lsp"}.get(dataset.kind)
        if use is not None and use[0] != right:
            raise ConfigError(f"{root} is {use[1]}: use --data config/datasets/{use[0]}.yml.")
        if use is not None:
            return
    if not root.is_dir():
        remedy = "Give the folder of the recording with --root."
        raise MissingFile(root, what="Data folder", remedy=remedy)


def _places_of_one(dataset: Dataset) -> dict[str, Path]:
    """The views of a recording of one camera, which may be a video or a folder of images."""
    root = dataset.root
    if root.is_file():
        return {root.stem: root}
    try:
        return _places(dataset)
    except MissingFile:
        folder = next((f for f in (root, root / "images") if f.is_dir() and footage.images_in(f)), None)
        if folder is None:
            videos = [f for f in sorted(root.iterdir()) if f.suffix.casefold() in footage.VIDEO_SUFFIXES]
            if videos:
                raise ConfigError(
                    f"{root} holds videos, and not in videos/: name one itself, --root {videos[0]}."
                ) from None
            raise
        return {root.resolve().name: folder}


def _chosen_one(dataset: Dataset, places: Mapping[str, Path]) -> tuple[list[str], list[str]]:
    """The one view, by name, and notes."""
    if len(places) == 1:
        (name,) = places
        others = [sub for sub in dataset.subs or () if sub != name]
        return [name], [f'View "{others[0]}" of subs is not there; the only one, "{name}", is taken.'] if others else []
    names = list(places) if dataset.subs is None else _chosen(dataset.subs, places, "--subs")
    if len(names) > 1:
        raise ConfigError(
            f"{dataset.root} has {len(names)} views ({listed(names)}), and this dataset is of one camera: choose with "
            f"--subs {names[0]}, or use --data config/datasets/mvimage.yml for all together."
        )
    return names, []


def _take_of_pictures(dataset: Dataset, run: RunContext, facts: Mapping[str, Any]) -> Take:
    """The take of unrelated pictures: one moment, each picture a view with a camera of its own."""
    root = dataset.root
    base = root.parent if root.is_file() else root
    files = find_pictures(root)
    everything = list(files)
    notes, warnings = [], []

    joints, genders = None, {}
    if dataset.joints is not None:
        path = base / dataset.joints
        if not path.is_file():
            raise MissingFile(
                path,
                what="2D joints of the pictures",
                remedy="Make the file with `emc joints` (see emc joints --help), or have them detected with --set "
                "data.joints=null.",
            )
        joints = lsp.read_joints(path)
        rows, note = lsp.places(everything, len(joints.xy), path, "joints")
        row = dict(zip(everything, rows.tolist(), strict=True))
        notes += [note] if note else []
        if note is None and everything != sorted(everything):
            notes.append(
                "Pictures are in the order of the numbers in their names, img2 before img10; so must joints be."
            )
    if dataset.genders is not None and (base / dataset.genders).is_file():
        genders, note = lsp.read_genders(base / dataset.genders, everything)
        notes += [note] if note else []
    elif dataset.genders is not None:
        notes.append(f"There is no {base / dataset.genders}: everybody is taken to be neutral.")

    names = _chosen(dataset.subs, files, "--subs")
    if dataset.ranges is not None:
        kept = footage.in_range(np.arange(len(names)), dataset.ranges)
        if not kept.any():
            raise DataError(f"--ranges {' '.join(map(str, dataset.ranges))} leaves none of {len(names)} pictures.")
        names = [name for name, keep in zip(names, kept, strict=True) if keep]
    views, told, unreadable = open_pictures({name: files[name] for name in names})
    if unreadable:
        warnings.append(
            f"{len(unreadable)} of {len(names)} pictures cannot be read and are left out: {listed(unreadable)}."
        )
    detections: dict[str, Detections] = {}
    if joints is not None and views:
        rows = [row[name] for name in views]
        usable = fittable(joints.xy[rows], joints.confidence[rows], LSP14)
        bad = [name for name, ok in zip(views, usable, strict=True) if not ok]
        if bad:
            warnings.append(
                f"{len(bad)} of {len(names)} pictures have too few joints, which must be four and a shoulder and hip "
                f"of one side, and are left out: {listed(bad)}."
            )
        views = {name: view for name, view in views.items() if name not in set(bad)}
        warnings += _outside(views, row, joints)
        detections = {
            name: Detections.of(
                LSP14, np.zeros(1), joints.xy[None, None, row[name]], joints.confidence[None, None, row[name]]
            )
            for name in views
        }
    if not views:
        raise DataError(f"None of {len(names)} pictures of {root} can be used. {' '.join(warnings)}")
    focals = {name: _focal(dataset, view, told[name]) for name, view in views.items()}
    report = Report(
        "dataset",
        "dataset",
        {
            **facts,
            "root": str(root),
            "pictures": len(views),
            "left_out": [name for name in names if name not in views],
            "joints": None if joints is None else str(base / str(dataset.joints)),
            "focal": _told_focals(focals),
            "calibration": None,
            "notes": [*notes, *_notes_on(focals)],
            "warnings": warnings,
        },
    )
    return Take(
        run=run,
        timestamps=np.zeros(1),
        frames=np.zeros(1, dtype=np.int64),
        rig=Rig(tuple(level_camera(name, focals[name].px, view.size) for name, view in views.items())),
        footage=views,
        detections=detections,
        reports=(report,),
        apart=True,
        genders={name: gender for name, gender in genders.items() if name in views},
    )


def _outside(views: Mapping[str, View], row: Mapping[str, int], joints: lsp.Joints) -> list[str]:
    """A warning of pictures most of whose joints lie beyond them: they are another picture's, or of another size."""
    found = []
    for name, view in views.items():
        xy = joints.xy[row[name]][joints.confidence[row[name]] > 0]
        margin = 0.25 * max(view.size)
        inside = ((xy > -margin) & (xy < np.array(view.size) + margin)).all(-1)
        if inside.mean() < 0.5:
            found.append(name)
    if not found:
        return []
    return [
        f"Most joints lie far outside of {len(found)} of {len(views)} pictures ({listed(found)}): are they in the "
        "order of the pictures' names, and of pictures of this size?"
    ]


def check_steps(dataset: Dataset, steps: Sequence[Step]) -> None:
    """ConfigError when a stage needs what no dataset of this kind has: footage, cameras, or several of them."""
    hands = any(isinstance(getattr(step.stage, "detector", None), MediapipeHands) for step in steps)
    for step in steps:
        if dataset.kind != "rig" and "keypoints2d" in step.stage.needs and "keypoints3d" in step.stage.gives:
            what = "one camera" if dataset.kind == "one_camera" else "unrelated pictures"
            remedy = "hands take two calibrated cameras or more" if hands else "use --exp config/smplify.yml"
            raise step.where.error(
                f'Stage "{step.label}" needs several cameras, and {dataset.root} is of {what}: {remedy}.'
            )
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
    if isinstance(dataset.unit, (int, float)):
        raise ConfigError(f"unit of 3D keypoints is m, cm or mm, not {dataset.unit:g}.")
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
                            joint for j, joint in enumerate(p.skeleton.joints) if not (p.confidence[:, j] > 0).any()
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
        people=tuple(Person(keypoints3d=_turned(p, T)) for p in found.people.values()),
        reports=(report,),
        floor=dataset.world.floor is not None,
    )


def _unmatched(found: StoredKeypoints3D) -> list[str]:
    if not found.unmatched:
        return []
    named = ", ".join(found.unmatched[:8]) + (", ..." if len(found.unmatched) > 8 else "")
    count = "1 point of the file is" if len(found.unmatched) == 1 else f"{len(found.unmatched)} points of the file are"
    return [f"{count} no joint of {found.skeleton.name} and not used: {named}."]


def _turned(points: Points, T: np.ndarray) -> Keypoints3D:
    """In the z-up world. What no file has is NaN without taking memory: a view of one NaN."""
    R = T[:3, :3]
    xyz = points.xyz @ R.T + T[:3, 3]
    unknown = np.broadcast_to(np.nan, xyz.shape[:2])
    if points.covariance is None:
        return Keypoints3D(points.skeleton, xyz, points.confidence, np.broadcast_to(np.nan, (*xyz.shape, 3)), unknown)
    return Keypoints3D.of(points.skeleton, xyz, points.confidence, R @ points.covariance @ R.T, unknown)


def _places(dataset: Dataset) -> dict[str, Path]:
    """View name -> footage, or stored detections where there is no footage."""
    try:
        return footage.discover_views(dataset.root)
    except MissingFile as error:
        if dataset.keypoints is None:
            pictures = [f for f in (dataset.root, dataset.root / "images") if f.is_dir() and footage.images_in(f)]
            if not pictures or dataset.kind != "rig":
                raise
            raise ConfigError(
                f"{pictures[0]} holds pictures and no folders of them by view: unrelated ones are for --data "
                "config/datasets/lsp.yml, one camera's for config/datasets/svimage.yml."
            ) from error
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
