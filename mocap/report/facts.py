"""What the page says, as plain numbers and sentences: from a finished take, computed by `quality` and `evaluate`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from mocap import quality, skeletons
from mocap.bodies.ranges import of_hands
from mocap.evaluate import foot_slide, standing
from mocap.geometry.cameras import Rig
from mocap.io.results import Result
from mocap.take import Keypoints2D, Report, called

Light = Literal["good", "fair", "poor"]

_BUCKETS = 600
"""A curve of more than twice as many frames is drawn by the smallest and largest value of each bucket of frames."""
_FEET = ("heel", "big_toe", "small_toe", "foot_index")
_MM = 1000.0
_READ = (
    "Where it rises look at the video: hidden joints, somebody else, or a pose that is hard to tell from one side.",
    "A camera that rises above the others was moved, is late, or follows somebody else.",
)
"""How the curves of reprojection are read, with one camera and with several."""


@dataclass(frozen=True)
class _Kind:
    """What is judged: its words, and what is usual of it."""

    noun: str
    whose: str
    found: tuple[str, str]
    """The name of the share of points found, and which these are."""
    follows: str
    ask: str
    """Where the fit is far from the points."""
    moving: str
    """How fast it moves by itself."""
    rests: str
    whole: str
    """What to ask where one camera alone disagrees."""
    far: tuple[float, float]
    """How far the fit is from the points, and error bars: up to here good, beyond poor [mm]."""
    vary: tuple[float, float]
    """Bone lengths [mm]."""
    share: tuple[float, float]
    """Points found: from here good, below poor [%]."""
    agree: tuple[float, float]
    """With the cameras [fraction of the longer side]."""


_BODY = _Kind(
    noun="body",
    whose="the body's",
    found=("Body joints found", "Shoulders, elbows, wrists, hips, knees and ankles"),
    follows="The body follows the points to",
    ask="is the body model of the right gender, and is the calibration in metres?",
    moving="Walking has 2 to 4, dancing 4 to 8, running and jumping more: fast movement is not trembling",
    rests="the person stands",
    whole="is it the same person, and is all of him or her in the picture?",
    far=(15.0, 30.0),
    vary=(10.0, 20.0),
    share=(95.0, 80.0),
    agree=(0.006, 0.012),
)
# a hand's bones are a seventh as long as a body's, and its points lie as much closer together
_HAND = _Kind(
    noun="hand",
    whose="the hand's",
    found=("Points of the hand found", "Wrist, knuckles and finger tips"),
    follows="The hand follows the points to",
    ask="is it the hand of that side, and is the calibration in metres?",
    moving="A hand that waves once a second has some 3, fingers that drum 10: fast movement is not trembling",
    rests="the hand is",
    whole="is it the same hand, and is all of it in the picture?",
    far=(6.0, 12.0),
    vary=(3.0, 6.0),
    share=(90.0, 75.0),
    agree=(0.004, 0.008),
)
# a body's hands are small in the picture, and often hidden by it
_HANDS = replace(
    _HAND,
    noun="hands",
    whose="the hands'",
    found=("Points found", "Wrists, knuckles and finger tips of both"),
    follows="They follow the points to",
    rests="the hands are",
    far=(10.0, 20.0),
    vary=(6.0, 12.0),
    share=(80.0, 50.0),
    agree=_BODY.agree,
)


@dataclass(frozen=True)
class Judged:
    """One number that says how good the result is, held against what is usual."""

    name: str
    value: float | None
    unit: str
    good: float
    """Better than this is good."""
    fair: float
    """Between the two is fair; beyond, poor."""
    why: str
    """What it means, and what to do where it is not good."""

    @property
    def light(self) -> Light | None:
        """None where there is no number. Where `good` is above `fair`, larger is better."""
        if self.value is None:
            return None
        sign = 1 if self.good < self.fair else -1
        if sign * self.value <= sign * self.good:
            return "good"
        return "fair" if sign * self.value <= sign * self.fair else "poor"


@dataclass(frozen=True)
class Curves:
    """A plot over the frames of the take."""

    title: str
    unit: str
    told: str
    """What it shows, in a sentence or two."""
    frames: Float[np.ndarray, " samples"]
    """Frame numbers."""
    seconds: Float[np.ndarray, " samples"]
    series: Mapping[str, Float[np.ndarray, " samples"]]
    per_bucket: int = 1
    """Frames that share one smallest and one largest value; 1: every frame is drawn."""


@dataclass(frozen=True)
class Warned:
    """A sentence for the user."""

    label: str
    """Who says it."""
    text: str
    do: str = ""
    """What to do about it, where the sentence does not say so itself."""


@dataclass(frozen=True)
class About:
    """One person of the take, or one hand."""

    judged: tuple[Judged, ...] = ()
    curves: tuple[Curves, ...] = ()
    joints: tuple[tuple[str, float | None, float | None], ...] = ()
    """Name, share of frames in which it was found, median error bar [m]."""
    limbs: tuple[tuple[str, float, float, float | None], ...] = ()
    """Name, median length [m], robust deviation of the points and of the fit [m]."""
    warned: tuple[Warned, ...] = ()
    title: str = ""
    """"Left hand", of a hand by itself."""


@dataclass(frozen=True)
class Picture:
    """One of unrelated pictures."""

    name: str
    px: float | None
    """Median reprojection error [px]."""
    cost: float | None
    way: str
    """Which of the two ways of standing in front of the camera was taken, and by how much."""
    undecided: bool
    """Whether the other way costs about the same."""
    converged: bool | None


@dataclass(frozen=True)
class Facts:
    """Everything on the page but videos and pictures."""

    reports: tuple[Report, ...]
    frames: int
    fps: float
    views: tuple[str, ...]
    people: tuple[About, ...] = ()
    pictures: tuple[Picture, ...] = ()
    apart: bool = False
    warned: tuple[Warned, ...] = ()
    lost: tuple[tuple[str, str], ...] = field(default=())
    """What was left out, by stage: label and sentence."""


def of_run(
    reports: Sequence[Report],
    frames: int,
    fps: float,
    views: Sequence[str],
    people: Sequence[tuple[Result, Mapping[str, Keypoints2D]]],
    rig: Rig | None,
) -> Facts:
    """The page's facts, from what a run reported and what it found of each person."""
    quality_facts = next((r.facts for r in reports if r.stage == "quality"), {})
    pictures = _pictures(reports, quality_facts)
    names = called([person.get("hand") for person in quality_facts.get("people", ())]) or called([None] * len(people))
    return Facts(
        tuple(reports),
        frames,
        fps,
        tuple(views),
        tuple(of_person(result, seen, rig) for result, seen in people),
        pictures,
        bool(pictures),
        tuple(Warned(r.label, str(w)) for r in reports for w in r.facts.get("warnings", ())),
        tuple((r.label, sentence) for r in reports for sentence in _lost(r.facts, names)),
    )


def of_person(result: Result, seen: Mapping[str, Keypoints2D], rig: Rig | None) -> About:
    """Curves over time, tables and judged numbers of one person.

    Those of a body that has hands are of the body, as of any other, and then of the hands, which would outnumber it.
    """
    skeleton = skeletons.get(result.skeleton)
    hands = skeleton.of_hands()
    if hands.all():
        side = skeleton.joints[0].partition("_")[0]
        return replace(_of_part(result, seen, rig, _HAND), title=f"{side.capitalize()} hand")
    if not hands.any():
        return _of_part(result, seen, rig, _BODY)
    body, fingers = (
        _of_part(*_only(result, seen, points), rig, kind) for points, kind in ((~hands, _BODY), (hands, _HANDS))
    )
    judged = [replace(one, name=f"Hands: {one.name[0].lower()}{one.name[1:]}") for one in fingers.judged]
    curves = [replace(one, title=f"Hands: {one.title}") for one in fingers.curves]
    return About(
        judged=(*body.judged, *judged),
        curves=(*body.curves, *curves),
        joints=(*body.joints, *fingers.joints),
        limbs=tuple(sorted((*body.limbs, *fingers.limbs), key=lambda row: -row[2])),
        warned=body.warned,
    )


def _only(
    result: Result, seen: Mapping[str, Keypoints2D], points: Bool[np.ndarray, " keypoints"]
) -> tuple[Result, dict[str, Keypoints2D]]:
    """Some of the keypoints, which are a set of their own, and of the body's joints those that go with them."""
    names = tuple(name for name, kept in zip(result.keypoint_names, points, strict=True) if kept)
    skeleton = next(s for s in skeletons.SKELETONS.values() if s.joints == names)
    kept: dict[str, Any] = {"skeleton": skeleton.name, "keypoint_names": names}
    for name in ("keypoints3d", "keypoints3d_confidence", "keypoints3d_covariance", "keypoints3d_fit"):
        values = getattr(result, name)
        kept[name] = None if values is None else values[:, points]
    if result.joint_names is not None:
        fingers = of_hands(result.joint_names)
        own = fingers if skeleton.of_hands().all() else ~fingers
        kept["joint_names"] = tuple(name for name, is_own in zip(result.joint_names, own, strict=True) if is_own)
        for name in ("joints", "joint_sigma"):
            values = getattr(result, name)
            kept[name] = None if values is None else values[:, own]
    views = {
        view: Keypoints2D(skeleton, k.timestamps, *skeletons.convert(k.xy, k.confidence, k.skeleton, skeleton))
        for view, k in seen.items()
    }
    return replace(result, **kept), views


def _of_part(result: Result, seen: Mapping[str, Keypoints2D], rig: Rig | None, kind: _Kind) -> About:
    """Curves over time, tables and judged numbers of a body, of a hand, or of a body's hands."""
    skeleton = skeletons.get(result.skeleton)
    clock, fit, points = result.timestamps, result.keypoints3d_fit, result.keypoints3d
    kinds = {name: xyz for name, xyz in (("points", points), ("fit", fit)) if xyz is not None}
    judged: list[Judged] = []
    curves: list[Curves] = []
    warned: list[Warned] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)  # frames in which nothing was found
        if rig is not None and seen:
            for name, xyz in kinds.items():
                errors = {
                    view: _on_clock(clock, seen[view].timestamps, np.nanmedian(e, axis=1))
                    for view, e in quality.reprojection_errors(rig, clock, seen, xyz, skeleton).items()
                }
                told = f"fitted {kind.noun}" if name == "fit" else "3D points"
                curves.append(
                    _curves(
                        f"Reprojection of the {told}",
                        "px",
                        f"Distance of the {told} from what each camera saw: the median over the joints of a frame. "
                        + _READ[len(errors) > 1],
                        result,
                        errors,
                    )
                )
                if name == next(iter(kinds)):
                    judged.append(_reprojection(errors, rig, told, kind))
                    warned += _moved(result, errors, rig, told, kind)
        if points is not None and result.keypoints3d_confidence is not None:
            judged.append(_found(skeleton, result.keypoints3d_confidence, kind))
            share = 100 * (result.keypoints3d_confidence > 0).mean(1)
            curves.append(
                _curves("Joints found in 3D", "%", "Of all joints, frame by frame.", result, {"found": share})
            )
        elif seen:
            judged.append(_found(skeleton, np.concatenate([k.confidence for k in seen.values()]), kind))
        if points is not None and fit is not None:
            away = np.linalg.norm(fit - points, axis=-1)
            judged.append(
                Judged(
                    kind.follows,
                    _number(_MM * np.nanmedian(away)),
                    "mm",
                    *kind.far,
                    f"Median distance of {kind.whose} joints from the 3D points. Where it is large: {kind.ask}",
                )
            )
        bars = _bars(result, kind)
        if bars is not None:
            _, sigma, of = bars
            judged.append(
                Judged(
                    "Error bars",
                    _number(_MM * np.nanmedian(sigma)),
                    "mm",
                    *kind.far,
                    f"Median standard deviation of {of}, as far as the losses are right. More cameras, or cameras "
                    "further apart, make it smaller.",
                )
            )
            curves.append(
                _curves(
                    "Error bars",
                    "mm",
                    f"Standard deviation of {of}: the median joint of each frame, and the worst.",
                    result,
                    {"median": _MM * np.nanmedian(sigma, 1), "worst": _MM * np.nanmax(sigma, 1)},
                )
            )
        spread = {n: _MM * np.nanmedian(np.abs(quality.limb_deviation(x, skeleton)), 1) for n, x in kinds.items()}
        if points is not None:
            value = quality.limb_spread(points, skeleton)
            judged.append(
                Judged(
                    "Bone lengths vary by",
                    None if value is None else _MM * value,
                    "mm",
                    *kind.vary,
                    "Of the 3D points, before anything was fitted; bones do not change. Large values mean wrong "
                    "joints, cameras that are not in step, or a calibration that is off.",
                )
            )
            curves.append(
                _curves(
                    "Bone lengths: away from the median frame",
                    "mm",
                    "The median over the bones. Those of what was fitted are fixed; what is left comes of how "
                    "keypoints sit on the skin.",
                    result,
                    spread,
                )
            )
        judged_kind = "fit" if fit is not None else "points"
        if judged_kind in kinds and len(clock) > 2:
            judged.append(
                Judged(
                    "Jitter",
                    quality.jitter(clock, kinds[judged_kind]),
                    "m/s²",
                    10.0,
                    20.0,
                    f"Median acceleration of the joints. {kind.moving}, so look at the curve where {kind.rests} still.",
                )
            )
            each = {
                n: np.pad(np.nanmedian(quality.acceleration(clock, x), 1), 1, constant_values=np.nan)
                for n, x in kinds.items()
            }
            curves.append(
                _curves("Jitter", "m/s²", "Acceleration of the joints: the median of each frame.", result, each)
            )
            slide = _slide(result, kinds[judged_kind], skeleton)
            if slide is not None:
                judged.append(slide[0])
                curves.append(slide[1])
    joints = _joints(result, skeleton, seen, bars)
    shown = [c for c in curves if any(np.isfinite(v).any() for v in c.series.values())]
    return About(tuple(judged), tuple(shown), joints, _limbs(kinds, skeleton), tuple(warned))


# ---------------------------------------------------------------------------------------------- numbers


def decimated(values: Float[np.ndarray, " frames"], size: int) -> Float[np.ndarray, " samples"]:
    """The smallest and the largest value of each `size` values in a row, two samples for each; NaN where all are."""
    if size <= 1:
        return values
    rows = np.pad(values, (0, -len(values) % size), constant_values=np.nan).reshape(-1, size)
    there = np.isfinite(rows).any(1)
    out = np.full((len(rows), 2), np.nan)
    out[there] = np.stack([np.nanmin(rows[there], 1), np.nanmax(rows[there], 1)], axis=1)
    return out.ravel()


def _curves(title: str, unit: str, told: str, result: Result, series: Mapping[str, np.ndarray]) -> Curves:
    n = len(result.frames)
    size = -(-n // _BUCKETS) if n > 2 * _BUCKETS else 1
    places: Int[np.ndarray, " samples"] = np.arange(n)
    if size > 1:
        starts = np.arange(0, n, size)
        places = np.stack([starts, np.minimum(starts + size // 2, n - 1)], axis=1).ravel()
    return Curves(
        title,
        unit,
        told,
        result.frames[places].astype(float),
        result.timestamps[places],
        {name: decimated(values, size) for name, values in series.items()},
        size,
    )


def _on_clock(clock: np.ndarray, times: np.ndarray, values: np.ndarray) -> Float[np.ndarray, " frames"]:
    """A view's values on the take's clock: the largest of those nearer to a frame than to any other; NaN without."""
    out = np.full(len(clock), np.nan)
    middles = 0.5 * (clock[1:] + clock[:-1])
    place = np.searchsorted(middles, times)
    half = 0.75 * float(np.median(np.diff(clock))) if len(clock) > 1 else np.inf
    use = np.isfinite(values) & (np.abs(times - clock[place]) <= half)
    np.fmax.at(out, place[use], values[use])
    return out


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _reprojection(errors: Mapping[str, np.ndarray], rig: Rig, told: str, kind: _Kind) -> Judged:
    """In pixels of the usual image where the cameras' sizes differ."""
    side = float(np.median([rig[view].longer_side for view in errors]))
    good, fair = (round(limit * side, 1) for limit in kind.agree)
    px = np.concatenate([e * side / rig[view].longer_side for view, e in errors.items()])
    return Judged(
        "Agreement with the cameras",
        _number(np.nanmedian(px)) if np.isfinite(px).any() else None,
        "px",
        good,
        fair,
        f"Median distance of the {told} from what the cameras saw; the limits are "
        f"{' and '.join(f'{100 * limit:g}' for limit in kind.agree)} % of the image's longer side. Where it is large: "
        "is the calibration this recording's, and are the cameras in step?",
    )


def _moved(result: Result, errors: Mapping[str, np.ndarray], rig: Rig, told: str, kind: _Kind) -> list[Warned]:
    out = []
    for found in quality.disagreements(errors, {view: rig[view].longer_side for view in errors}):
        first, last = int(result.frames[found.start]), int(result.frames[found.stop - 1])
        throughout = found.stop - found.start > 0.9 * len(result.frames)
        until = "" if found.stop == len(result.frames) else f" to {last}"
        when = "throughout" if throughout else f"from frame {first}{until}"
        if len(errors) == 1:
            text = f"The {told} are {found.px:.0f} px off what camera {found.view} saw {when}"
            do = f"Look at the video there: {kind.whole}"
        else:
            text = f"Camera {found.view} disagrees with the others by {found.px:.0f} px {when}"
            do = (
                "Is it calibrated as it stood, and is its `offset` right? See what comes out without it (--subs)."
                if throughout
                else "Was it moved, or does it follow somebody else? Look at its video there; leave it out (--subs), "
                "or capture the frames before and after apart (--ranges), each with its own calibration."
            )
        out.append(Warned("cameras", f"{text} (usual: {found.usual_px:.0f} px).", do))
    return out


def _found(skeleton: skeletons.Skeleton, confidence: np.ndarray, kind: _Kind) -> Judged:
    body = quality.body_points(skeleton)
    there = confidence[:, body] > 0 if body.any() else confidence > 0
    name, which = kind.found
    return Judged(
        name,
        _number(100 * there.mean()) if there.size else None,
        "%",
        *kind.share,
        f"{which}, in all frames. Joints are missing where too few cameras see them: add cameras, or move them back.",
    )


def _bars(result: Result, kind: _Kind) -> tuple[tuple[str, ...], Float[np.ndarray, "frames points"], str] | None:
    """Names, standard deviation of each point per axis (root mean square of the three) [m], and of what it is."""
    if result.joint_sigma is not None and result.joint_names is not None:
        return result.joint_names, np.sqrt((result.joint_sigma**2).mean(-1)), f"{kind.whose} joints"
    if result.keypoints3d_covariance is not None:
        variance = np.trace(result.keypoints3d_covariance.astype(float), axis1=-2, axis2=-1) / 3
        if np.isfinite(variance).any():
            return result.keypoint_names, np.sqrt(variance), "the 3D points"
    return None


def _slide(result: Result, xyz: np.ndarray, skeleton: skeletons.Skeleton) -> tuple[Judged, Curves] | None:
    """Speed of heels and toes over the floor while they stand."""
    places = [i for i, name in enumerate(skeleton.joints) if name.partition("_")[2] in _FEET]
    feet = xyz[:, places]
    if not places or not np.isfinite(feet).all(-1).any(0).all():
        return None
    clock = result.timestamps
    stands = standing(feet, clock)
    speed = _MM * np.linalg.norm(np.diff(feet[..., :2], axis=0), axis=-1) / np.diff(clock)[:, None]
    speed = np.where(stands, speed, np.nan)
    series = {}
    for side in ("left", "right"):
        own = [n for n, i in enumerate(places) if skeleton.joints[i].startswith(side)]
        if own:
            series[f"{side} foot"] = np.r_[np.nan, np.nanmedian(speed[:, own], 1)]
    value = foot_slide(feet, stands, clock)
    told = (
        "Horizontal speed of heels and toes while they stand: slower than 100 mm/s and within 5 cm of the lowest they "
        "ever are."
    )
    judged = Judged(
        "Feet slide by",
        _number(_MM * value),
        "mm/s",
        50.0,
        80.0,
        f"{told} Where it is large: is the floor known (`world: floor:`), and is the loss `ground` on?",
    )
    return judged, _curves("Foot slide", "mm/s", f"{told} Gaps: the foot is in the air.", result, series)


def _joints(
    result: Result, skeleton: skeletons.Skeleton, seen: Mapping[str, Keypoints2D], bars: Any
) -> tuple[tuple[str, float | None, float | None], ...]:
    """In 3D; with one camera, in its images."""
    rows: dict[str, list[float | None]] = {}
    confidence = result.keypoints3d_confidence
    if confidence is None and seen:
        confidence = np.concatenate([points.confidence for points in seen.values()])
    if confidence is not None:
        for name, share in zip(skeleton.joints, (confidence > 0).mean(0).tolist(), strict=True):
            rows[name] = [share, None]
    if bars is not None:
        names, sigma, _ = bars
        there = np.isfinite(sigma).any(0)
        for i, name in enumerate(names):
            rows.setdefault(name, [None, None])[1] = float(np.nanmedian(sigma[:, i])) if there[i] else None
    return tuple((name, found, sigma) for name, (found, sigma) in rows.items())


def _limbs(
    kinds: Mapping[str, np.ndarray], skeleton: skeletons.Skeleton
) -> tuple[tuple[str, float, float, float | None], ...]:
    """Lengths and how much they vary, the least steady limb first."""
    if "points" not in kinds:
        return ()
    ends = skeleton.limb_indices()
    lengths = {n: np.linalg.norm(x[:, ends[:, 0]] - x[:, ends[:, 1]], axis=-1) for n, x in kinds.items()}
    rows = []
    for i, (a, b) in enumerate(ends.tolist()):
        own = lengths["points"][:, i]
        if np.isfinite(own).sum() < 2:
            continue
        spread = {n: 1.4826 * float(np.nanmedian(np.abs(x[:, i] - np.nanmedian(x[:, i])))) for n, x in lengths.items()}
        name = f"{skeleton.joints[a]} to {skeleton.joints[b]}"
        rows.append((name, float(np.nanmedian(own)), spread["points"], spread.get("fit")))
    return tuple(sorted(rows, key=lambda row: -row[2]))


# ---------------------------------------------------------------------------------------------- what stages reported


def _lost(facts: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Sentences on what a stage left out and why, from what it reported of people of those names."""
    told = []
    nobody = "no hand" if facts.get("detector") == "mediapipe_hands" else "nobody"
    views = facts.get("views")
    for view, own in views.items() if isinstance(views, Mapping) else ():
        if own.get("nobody"):
            told.append(f"Camera {view}: {nobody} seen in {own['nobody']} of {own['frames']} frames.")
        if own.get("unreadable"):
            told.append(f"Camera {view}: {len(own['unreadable'])} frames cannot be read.")
    for key, one in facts.items():
        if key != "subject" and re.fullmatch(r"(hand|person)_\d+", key) is None:
            continue
        place = 0 if key == "subject" else int(key.partition("_")[2])
        who = "the person" if key == "subject" and "side" not in one else "".join(names[place : place + 1]) or key
        none = "no hand" if "side" in one else "nobody"
        for view, own in one["views"].items():
            if missed := own.get("missed_with_candidates"):
                told.append(f"Camera {view}: in {missed} frames {none} it sees is where the other cameras put {who}.")
            if changes := own.get("switches"):
                told.append(f"Camera {view}: the track of {who} broke off {changes} time{'s' * (changes != 1)}.")
    people = facts.get("people", ())
    people = people if isinstance(people, (list, tuple)) else ()
    told += _dropped(facts, "")
    for own, name in zip(people, names, strict=False):
        told += _dropped(own, f", {name}")
        who = f" of {name}" if len(people) > 1 else ""
        if own.get("frames_interpolated"):
            told.append(f"{own['frames_interpolated']} frames{who} have too few joints and are filled in between.")
        if own.get("frames_nobody_seen"):
            told.append(f"In {own['frames_nobody_seen']} frames{who} nobody was seen.")
    for view, n in (facts.get("frames_without_footage") or {}).items():
        told.append(f"Camera {view}: {n} frames of the video are without footage.")
    if facts.get("cameras_without_view"):
        told.append(f"Cameras without a video: {', '.join(map(str, facts['cameras_without_view']))}.")
    if facts.get("left_out"):
        told.append(f"Left out: {', '.join(map(str, facts['left_out']))}.")
    return told + [str(note) for note in facts.get("notes", ())]


def _dropped(facts: Mapping[str, Any], who: str) -> list[str]:
    """What triangulation left out of one person; `who` comes after the camera's name."""
    told = []
    for view, own in facts.get("cameras", {}).items() if isinstance(facts.get("cameras"), Mapping) else ():
        if own.get("dropped"):
            share = 100 * own["dropped"] / max(own["offered"], 1)
            told.append(
                f"Camera {view}{who}: {own['dropped']} of {own['offered']} points ({share:.1f} %) dropped, since they "
                "disagree with the other cameras."
            )
        exchanged = ", ".join(
            f"{part} in {n} frame{'s' * (n != 1)}" for part, n in own.get("swapped_frames", {}).items() if n
        )
        if exchanged:
            told.append(f"Camera {view}{who}: left and right were exchanged, and put right: {exchanged}.")
    if facts.get("spikes_dropped"):
        told.append(f"{facts['spikes_dropped']} joints{who} dropped that jump away for a moment.")
    return told


def _pictures(reports: Sequence[Report], judged: Mapping[str, Any]) -> tuple[Picture, ...]:
    """Each of unrelated pictures: how well it was fitted and which way the body was turned."""
    fits = {p["view"]: p for r in reports if r.stage == "smplify" for p in r.facts.get("people", ()) if "view" in p}
    found = []
    for person in judged.get("people", ()):
        if "picture" not in person:
            continue
        name = str(person["picture"])
        fit = fits.get(name, {})
        px = next((e for e in person["reprojection_fit_px"].values() if e is not None), None)
        found.append(Picture(name, px, fit.get("cost"), *_way(fit), fit.get("converged")))
    return tuple(sorted(found, key=lambda p: -(p.px or 0.0)))


def _way(fit: Mapping[str, Any]) -> tuple[str, bool]:
    """Which way the body was turned, and whether the other would have done as well."""
    other, cost = fit.get("cost_of_other_way"), fit.get("cost")
    if other is None or cost is None:
        return "one way tried", False
    undecided = abs(other - cost) < 0.01 * max(abs(cost), 1e-9)
    turned = "turned half round" if fit.get("half_turned") else "facing as first seen"
    return f"{turned} (the other way costs {other:.4g}{': either may be right' if undecided else ''})", undecided
