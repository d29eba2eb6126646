"""The one record that flows through the stages.

A stage gets a :class:`Take` and gives back a take with some fields filled; nothing is changed in place. Missing is one
thing only: NaN coordinates AND confidence 0; the `of` constructors here are where that is made true.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mocap.bodies.model import BodyModel
from mocap.errors import DataError
from mocap.geometry.cameras import Rig
from mocap.skeletons import HANDS, Skeleton


def masked(xyz: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Copies in which a point is either wholly there or wholly missing: NaN coordinates and confidence 0."""
    xyz = np.array(xyz, dtype=float)
    confidence = np.array(confidence, dtype=float)
    there = np.isfinite(xyz).all(-1) & (confidence > 0)  # NaN confidence compares False
    xyz[~there] = np.nan
    confidence[~there] = 0.0
    return xyz, np.minimum(confidence, 1.0)


def _check(ok: bool, why: str) -> None:
    if not ok:
        raise DataError(why)


@dataclass(frozen=True)
class View:
    """Where the pixels of one camera are: a video file or a folder of images. Pixels are read by `io.footage`."""

    name: str
    path: Path
    timestamps: Float[np.ndarray, " frames_v"]
    """When each frame was seen [s], on this camera's own clock shifted to the rig's; strictly increasing."""
    size: tuple[int, int]
    """Width and height [px] after the rotation flag was obeyed."""
    files: tuple[Path, ...] = ()
    """The images in order, when the view is a folder of them."""

    @property
    def frames(self) -> int:
        """How many frames the view has."""
        return len(self.timestamps)


@dataclass(frozen=True)
class Detections:
    """All candidates one view's detector saw, frame by frame, padded with missing ones."""

    skeleton: Skeleton
    timestamps: Float[np.ndarray, " frames_v"]
    """[s], on the rig's clock."""
    xy: Float[np.ndarray, "frames_v candidates joints 2"]
    """[px] of the view's own image, NaN where missing."""
    confidence: Float[np.ndarray, "frames_v candidates joints"]
    """In [0, 1], 0 where missing."""

    @classmethod
    def of(cls, skeleton: Skeleton, timestamps: np.ndarray, xy: np.ndarray, confidence: np.ndarray) -> Detections:
        """Checked, with missing points made NaN and 0."""
        xy, confidence = masked(xy, confidence)
        _check(
            xy.ndim == 4 and xy.shape[2:] == (len(skeleton), 2) and confidence.shape == xy.shape[:3],
            f"Detections of {skeleton.name} must be (frames, candidates, {len(skeleton)}, 2), not {xy.shape}.",
        )
        _check(len(timestamps) == len(xy), "Detections need one timestamp a frame.")
        return cls(skeleton, np.asarray(timestamps, dtype=float), xy, confidence)


@dataclass(frozen=True)
class Keypoints2D:
    """One person in one view, at the view's own moments."""

    skeleton: Skeleton
    timestamps: Float[np.ndarray, " frames_v"]
    xy: Float[np.ndarray, "frames_v joints 2"]
    """[px], NaN where missing."""
    confidence: Float[np.ndarray, "frames_v joints"]

    @classmethod
    def of(cls, skeleton: Skeleton, timestamps: np.ndarray, xy: np.ndarray, confidence: np.ndarray) -> Keypoints2D:
        """Checked, with missing points made NaN and 0."""
        xy, confidence = masked(xy, confidence)
        _check(
            xy.shape == (len(timestamps), len(skeleton), 2) and confidence.shape == xy.shape[:2],
            f"2D keypoints of {skeleton.name} must be ({len(timestamps)}, {len(skeleton)}, 2), not {xy.shape}.",
        )
        return cls(skeleton, np.asarray(timestamps, dtype=float), xy, confidence)

    @classmethod
    def none(cls, skeleton: Skeleton) -> Keypoints2D:
        """Of no moment: where only the set is known."""
        return cls.of(skeleton, np.zeros(0), np.zeros((0, len(skeleton), 2)), np.zeros((0, len(skeleton))))


@dataclass(frozen=True)
class Keypoints3D:
    """One person in the world, on the take's clock."""

    skeleton: Skeleton
    xyz: Float[np.ndarray, "frames joints 3"]
    """World [m], NaN where missing."""
    confidence: Float[np.ndarray, "frames joints"]
    covariance: Float[np.ndarray, "frames joints 3 3"]
    """Of xyz [m^2]; NaN where missing."""
    reprojection_error: Float[np.ndarray, "frames joints"]
    """Root mean square over the views used [px]; NaN where missing or where there was no view to compare with."""

    @classmethod
    def of(
        cls,
        skeleton: Skeleton,
        xyz: np.ndarray,
        confidence: np.ndarray,
        covariance: np.ndarray,
        reprojection_error: np.ndarray,
    ) -> Keypoints3D:
        """Checked, with missing points made NaN and 0."""
        xyz, confidence = masked(xyz, confidence)
        frames = len(xyz)
        _check(
            xyz.shape == (frames, len(skeleton), 3)
            and confidence.shape == xyz.shape[:2]
            and covariance.shape == (*xyz.shape, 3)
            and reprojection_error.shape == xyz.shape[:2],
            f"3D keypoints of {skeleton.name} must be (frames, {len(skeleton)}, 3), not {xyz.shape}.",
        )
        missing = confidence == 0
        covariance = np.where(missing[..., None, None], np.nan, covariance)
        reprojection_error = np.where(missing, np.nan, reprojection_error)
        return cls(skeleton, xyz, confidence, covariance, reprojection_error)


@dataclass(frozen=True)
class Motion:
    """Pose of a body over time: v = R(Rh) SMPL(poses, zero root) + Th, rotation about the MODEL's origin."""

    Rh: Float[np.ndarray, "frames 3"]
    """[rad]"""
    Th: Float[np.ndarray, "frames 3"]
    """[m]"""
    poses: Float[np.ndarray, "frames joints 3"]
    """Local rotations of the model's joints after the root [rad]: 23 for SMPL."""
    joint_sigma: Float[np.ndarray, "frames joints_with_root 3"] | None = None
    """Standard deviation of the joints' positions in the world, per axis [m], the root first; None: not asked for."""

    def __post_init__(self) -> None:
        frames = len(self.Rh)
        _check(
            self.Rh.shape == (frames, 3) and self.Th.shape == (frames, 3) and self.poses.shape[0] == frames,
            f"A motion needs Rh, Th and poses of one length, not {self.Rh.shape}, {self.Th.shape}, {self.poses.shape}.",
        )


@dataclass(frozen=True)
class Person:
    """One subject: what was seen of it and the body fitted to it."""

    keypoints2d: Mapping[str, Keypoints2D] = field(default_factory=dict)
    """By view name."""
    keypoints3d: Keypoints3D | None = None
    body: BodyModel | None = None
    shape: Float[np.ndarray, " betas"] | None = None
    """Betas of `body`; they mean nothing against another one."""
    motion: Motion | None = None

    @property
    def side(self) -> str | None:
        """Which hand it is, "left" or "right", by its keypoints; None of a body."""
        seen = self.keypoints3d or next(iter(self.keypoints2d.values()), None)
        return None if seen is None else next((side for side, own in HANDS.items() if own == seen.skeleton), None)


@dataclass(frozen=True)
class RunContext:
    """What the command line says about this run, and no algorithm depends on."""

    output: Path
    workers: int = 1
    views_drawn: tuple[str, ...] | None = None
    """`--subs_vis`; None draws every view, () none."""
    cache: Path | None = None
    """Where detections are kept between runs; None: under `output`."""
    dataset: Any = None
    """The :class:`mocap.dataset.Dataset` it was read from, which is saved with the results; None: made otherwise."""


@dataclass(frozen=True)
class Report:
    """What one stage took, dropped and reached."""

    label: str
    stage: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able. The key `warnings` holds sentences for the user; `seconds_apart` what took time beside the stage's own
    work, by name [s]."""
    seconds: float = 0.0
    """Without `seconds_apart`."""


PERSON_FIELDS = ("keypoints2d", "keypoints3d", "body", "shape", "motion")
TAKE_FIELDS = ("rig", "footage", "detections", "renderings")


def called(sides: Sequence[str | None]) -> list[str]:
    """What each of several people is called in sentences.

    Args:
        sides: Of each "left" or "right" where it is a hand by itself (:attr:`Person.side`), None where it is a body.

    Returns:
        "the left hand", or "person 1"; of two left hands "the left hand (person 1)".
    """
    return [
        f"person {i}" if side is None else f"the {side} hand" + (f" (person {i})" if sides.count(side) > 1 else "")
        for i, side in enumerate(sides)
    ]


def either(need: str) -> tuple[str, ...]:
    """The fields of which any one is enough: a stage's `keypoints3d|keypoints2d` is two, `rig` is one."""
    return tuple(need.split("|"))


@dataclass(frozen=True)
class Take:
    """One recording on its way from pixels to a moving body."""

    run: RunContext
    timestamps: Float[np.ndarray, " frames"]
    """The take's clock [s]: when each frame of the result is."""
    frames: Int[np.ndarray, " frames"]
    """The numbers of those frames in the footage."""
    rig: Rig | None = None
    footage: Mapping[str, View] = field(default_factory=dict)
    """By view name; each with its own timestamps. Pixels are never all in memory."""
    detections: Mapping[str, Detections] = field(default_factory=dict)
    """By view name."""
    people: tuple[Person, ...] = ()
    renderings: tuple[Any, ...] = ()
    """Pictures to be drawn, as data (see `render`); `make_video` draws and encodes them."""
    reports: tuple[Report, ...] = ()
    floor: bool = False
    """Whether z = 0 is known to be the floor, in a take without a rig that would say so."""
    apart: bool = False
    """Whether the views are pictures of different people that have nothing to do with one another: one moment, each
    view with its own camera, and each person seen in just one."""
    genders: Mapping[str, str] = field(default_factory=dict)
    """By view name, where the dataset says it of whom the view shows: "male", "female" or "neutral"."""

    def __post_init__(self) -> None:
        _check(len(self.timestamps) == len(self.frames), "A take needs one frame number per timestamp.")
        _check(bool((np.diff(self.timestamps) > 0).all()), "A take's timestamps must increase.")
        _check(not self.apart or len(self.frames) == 1, "Unrelated pictures are a take of one moment.")

    @property
    def fps(self) -> float:
        """Median frame rate of the take's clock [1/s]; 30 for a single frame, which has none of its own."""
        return float(1 / np.median(np.diff(self.timestamps))) if len(self.timestamps) > 1 else 30.0

    @property
    def has_floor(self) -> bool:
        """Whether z = 0 is known to be the floor."""
        return self.floor if self.rig is None else self.rig.has_floor

    def replace(self, **changes: Any) -> Take:
        """A take with these fields changed."""
        return dataclasses.replace(self, **changes)

    def with_people(self, **changes: list[Any]) -> Take:
        """A take whose people have these fields changed; each value has one entry a person."""
        people = tuple(
            dataclasses.replace(person, **{name: values[i] for name, values in changes.items()})
            for i, person in enumerate(self.people)
        )
        return self.replace(people=people)

    def has(self, name: str) -> bool:
        """Whether the field `name` (of the take, or of every person) is filled; of `a|b`, whether a or b is."""
        if "|" in name:
            return any(map(self.has, either(name)))
        if name in PERSON_FIELDS:
            return bool(self.people) and all(_filled(getattr(p, name)) for p in self.people)
        return _filled(getattr(self, name))

    def begun(self, label: str, stage: str) -> Take:
        """A take with a fresh report for the stage about to run."""
        return self.replace(reports=(*self.reports, Report(label, stage)))

    def reported(self, **facts: Any) -> Take:
        """A take whose newest report also says `facts`; `warnings` are added to those already there."""
        last = self.reports[-1] if self.reports else Report("", "")
        merged = {**last.facts, **facts}
        if "warnings" in facts:
            merged["warnings"] = [*last.facts.get("warnings", ()), *facts["warnings"]]
        return self.replace(reports=(*self.reports[:-1], dataclasses.replace(last, facts=merged)))


def _filled(value: Any) -> bool:
    return value is not None and not (isinstance(value, (tuple, Mapping)) and len(value) == 0)
