"""Who is who: the subject is the candidate on whom the views agree, moment after moment.

1. Each candidate is reduced to marks (:mod:`mocap.detect.marks`).
2. At moments of the take's clock, candidates of two views whose marks' rays meet, and the other views' candidates they
   project onto, are a hypothesis: a person in 3D (:mod:`mocap.detect.agreement`).
3. Hypotheses are linked over time by where they are; the person with most support is the subject
   (:mod:`mocap.detect.tracks`).
4. In each view and frame, the candidate nearest to the subject's projection is taken, unless it is somebody else's; or
   none.

The idea of matching across views by geometry and keeping what is consistent in time is that of Dong et al., "Fast and
robust multi-person 3D pose estimation from multiple views", 2019, and Chen et al., "Cross-view tracking for multi-human
3D pose estimation at over 100 FPS", 2020; here without appearance and for whole takes at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from mocap.detect.agreement import Hypotheses, hypotheses
from mocap.detect.marks import FEWEST, Marks, marks_of, reach_2d
from mocap.detect.tracks import linked, people_in
from mocap.errors import DataError
from mocap.geometry.cameras import Camera, Rig
from mocap.geometry.times import between_frames, linear
from mocap.io.pictures import listed
from mocap.skeletons import fittable
from mocap.take import Detections, Keypoints2D

MOMENT = 0.1
"""People are told apart so often [s], whatever the frame rate: in between they are within 3 cm of a straight line."""
BRIDGE = 0.5
"""Somebody's place is interpolated over a gap no longer than this [s]."""
NEARBY = 1.0
"""A candidate's track must fit the subject in most frames so near in time [s]."""
_RIVALS = 2
_MARGIN = 0.1


@dataclass(frozen=True)
class Association:
    """Who was found.

    Attributes:
        people: For each person the keypoints by view, at the view's own moments, missing where it was not seen.
        facts: For the report: `views` (frames, frames in which the person was `taken`, candidates `rejected`,
            `switches` of the detector's own track, frames `completed` from a second candidate, median distance from
            where the views put the person [px]), how clear the choice was (`runner_up`: the next person's support over
            the subject's), and `warnings`.
    """

    people: tuple[dict[str, Keypoints2D], ...]
    facts: dict[str, Any]


def associate(
    rig: Rig,
    detections: Mapping[str, Detections],
    clock: Float[np.ndarray, " frames"],
    *,
    people: int = 1,
    max_error: float = 0.12,
) -> Association:
    """The subjects among all candidates of all views.

    Args:
        rig: Cameras by the names of `detections`.
        detections: Every view's candidates, each view at its own moments.
        clock: The take's moments [s].
        people: How many subjects to look for; those with most support are given, the best first.
        max_error: A mark farther from where the other views put it counts nothing [fraction of the person's height
            in the image]. Detectors differ by 0.02 or so between views; another person is mostly 0.3 away.

    Raises:
        DataError: No person on whom two views agree; says what each view saw.
    """
    names = [name for name in detections if name in rig.names]
    if not names:
        raise DataError(
            f"No view with detections ({', '.join(detections) or 'none'}) is a camera of the rig "
            f"({', '.join(rig.names) or 'none'})."
        )
    detections = {name: _with_a_place(detections[name]) for name in names}
    views = {name: marks_of(detections[name]) for name in names}
    if len(names) == 1:
        return _in_one_view(names[0], detections[names[0]], views[names[0]], people, others=len(rig) > 1)
    cameras = [rig[name] for name in names]
    moments = _moments(clock)
    found = hypotheses(cameras, list(views.values()), moments, people + _RIVALS + 1, max_error)
    tracks = linked(found.xyz, found.known, np.ones_like(found.score), moments, _reach_3d, lags=(1,))
    slots, support = people_in(tracks, found.score, found.xyz, found.known, moments, people + _RIVALS, _reach_3d)
    _refuse_disagreement(views, found, slots, rig)

    subjects = range(min(people, len(slots)))
    slots = [slot for k, slot in enumerate(slots) if k in subjects or support[k] > 0.1 * support[subjects[-1]]]
    rows = np.arange(len(moments))
    known = [np.where((slot >= 0)[:, None], found.known[rows, slot], False) for slot in slots]
    places = [np.where(k[..., None], found.xyz[rows, slot], np.nan) for k, slot in zip(known, slots, strict=True)]
    given: list[dict[str, Keypoints2D]] = [{} for _ in subjects]
    told: list[dict[str, Any]] = [{} for _ in subjects]
    for name, camera in zip(names, cameras, strict=True):
        view = views[name]
        fits = [
            _fit(camera, view, _at(moments, xyz, k, view.timestamps), max_error)
            for xyz, k in zip(places, known, strict=True)
        ]
        for number in subjects:
            place, alike = _taken(view, fits, number)
            given[number][name], completed = _keypoints(detections[name], place, alike)
            told[number][name] = _told(camera, view, fits[number], place) | {"completed": completed}

    facts: dict[str, Any] = {"moments": len(moments), "people": len(given), "warnings": []}
    support = [*support, 0.0]
    for number in subjects:
        label = {
            "agreement": float((slots[number] >= 0).mean()),
            "runner_up": support[len(given)] / support[number],
            "views": told[number],
        }
        facts["warnings"] += _warnings(label, number, people, names)
        facts[f"person_{number}" if people > 1 else "subject"] = label
    if len(given) < people:
        facts["warnings"].append(f"{people} people were looked for, and {len(given)} found on whom views agree.")
    return Association(tuple(given), facts)


def associate_apart(detections: Mapping[str, Detections]) -> Association:
    """Of unrelated pictures, one frame each: in every one the largest and surest person, if a body can be fitted to it.

    Args:
        detections: By the name of the picture.

    Returns:
        People with the one view they are in. The facts count pictures, people, and pictures with `several`; a warning
        names those with nobody, and those who show too little of anybody.

    Raises:
        DataError: Nobody in any picture.
    """
    people: list[dict[str, Keypoints2D]] = []
    nobody: list[str] = []
    too_little: list[str] = []
    several = 0
    for name, seen in detections.items():
        there = (seen.confidence[0] > 0).any(-1)
        several += int(there.sum() > 1)
        usable = np.asarray(fittable(seen.xy[0], seen.confidence[0], seen.skeleton))
        if not usable.any():
            (too_little if there.any() else nobody).append(name)
            continue
        chosen = int(np.where(usable, prominence(seen.xy[0], seen.confidence[0]), -1.0).argmax())
        xy, confidence = seen.xy[:, chosen], seen.confidence[:, chosen]
        people.append({name: Keypoints2D.of(seen.skeleton, seen.timestamps, xy, confidence)})
    warnings = []
    if nobody:
        warnings.append(f"Nobody is found in {len(nobody)} of {len(detections)} pictures: {listed(nobody)}.")
    if too_little:
        warnings.append(
            f"Too little is seen of anybody in {len(too_little)} of {len(detections)} pictures, which must be four "
            f"joints and a shoulder and hip of one side: {listed(too_little)}."
        )
    if not people:
        raise DataError(f"There is nobody to fit a body to. {' '.join(warnings)}")
    facts = {"pictures": len(detections), "people": len(people), "several": several, "warnings": warnings}
    return Association(tuple(people), facts)


def prominence(
    xy: Float[np.ndarray, "*batch joints 2"], confidence: Float[np.ndarray, "*batch joints"]
) -> Float[np.ndarray, "*batch"]:
    """How large and how sure a candidate is: the diagonal of its joints' box [px] times their mean confidence."""
    there = (confidence > 0)[..., None]
    high = np.where(there, xy, -np.inf).max(-2)
    low = np.where(there, xy, np.inf).min(-2)
    size = np.where(there.any((-2, -1)), np.hypot(*np.moveaxis(np.maximum(high - low, 0.0), -1, 0)), 0.0)
    return np.asarray(size * confidence.mean(-1))


def _with_a_place(detections: Detections) -> Detections:
    """With one empty candidate where there is none, so that no array is empty."""
    if detections.xy.shape[1]:
        return detections
    frames, joints = len(detections.xy), len(detections.skeleton)
    xy, confidence = np.full((frames, 1, joints, 2), np.nan), np.zeros((frames, 1, joints))
    return dataclasses.replace(detections, xy=xy, confidence=confidence)


def _reach_3d(seconds: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """How far marks move in a time [m]: noise and 5 m/s; a faster runner makes several tracks, which are joined."""
    return np.minimum(0.2 + 5 * seconds, 1.0)


def _moments(clock: Float[np.ndarray, " frames"]) -> Float[np.ndarray, " moments"]:
    step = np.median(np.diff(clock)) if len(clock) > 1 else 1.0
    stride = max(1, int(MOMENT / step + 0.5))
    return np.unique(np.append(clock[::stride], clock[-1:]))


def _refuse_disagreement(views: Mapping[str, Marks], found: Hypotheses, slots: Sequence[np.ndarray], rig: Rig) -> None:
    possible = int((found.crowded >= 2).sum())
    agreed = int((slots[0] >= 0).sum()) if slots else 0
    if agreed >= max(1, 0.1 * possible):
        return
    seen = ", ".join(
        f'"{name}" sees somebody in {int((view.track >= 0).any(1).sum())} of {len(view.timestamps)} frames'
        for name, view in views.items()
    )
    if possible == 0:
        raise DataError(f"No two views see somebody at the same moment: {seen}; are the views' times on one clock?")
    raise DataError(
        f"No person is seen alike by two views in more than {agreed} of the {possible} moments in which two see "
        f"somebody: {seen}. Does the calibration belong to these views, are its cameras named as they are "
        f"({', '.join(rig.names)}), and are the views synchronised?"
    )


# ---------------------------------------------------------------------------------------------------------------------
# back to the views


def _at(
    moments: Float[np.ndarray, " moments"],
    xyz: Float[np.ndarray, "moments marks 3"],
    known: Bool[np.ndarray, "moments marks"],
    times: Float[np.ndarray, " frames"],
) -> Float[np.ndarray, "frames marks 3"]:
    """The marks at other times: linear over gaps of at most BRIDGE, held for as long as a moment lasts at the ends."""
    out = np.full((len(times), xyz.shape[1], 3), np.nan)
    for mark in range(xyz.shape[1]):
        k = np.flatnonzero(known[:, mark])
        if not len(k):
            continue
        at = moments[k]
        before, after, _ = between_frames(at, times)
        bridged = (at[after] - at[before] <= BRIDGE) | (times <= at[0]) | (times > at[-1])
        ok = bridged & (np.maximum(at[0] - times, times - at[-1]) <= MOMENT)
        out[:, mark] = np.where(ok[:, None], linear(at, xyz[k, mark], times), np.nan)
    return out


@dataclass(frozen=True)
class _Fit:
    """How well one view's candidates are one person."""

    informed: Bool[np.ndarray, " frames"]
    """Whether the views said where the person is."""
    inside: Bool[np.ndarray, " frames"]
    """Whether that is in this view's image."""
    distance: Float[np.ndarray, "frames candidates marks"]
    """From where the views put it [px]; NaN where unknown."""
    score: Float[np.ndarray, "frames candidates"]
    """In [0, 1]; 0 for somebody else."""
    error: Float[np.ndarray, "frames candidates"]
    """Mean distance of the marks in units of what is tolerated, each at most 4; NaN where unknown."""


def _fit(camera: Camera, view: Marks, xyz: Float[np.ndarray, "frames marks 3"], max_error: float) -> _Fit:
    expected, _ = camera.project(xyz)
    there = np.asarray(np.isfinite(expected).all(-1))
    informed = there.sum(1) >= FEWEST
    high, low = np.fmax.reduce(expected, axis=1), np.fmin.reduce(expected, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.where(informed, np.hypot(*(high - low).T), np.nan)
        away = expected[:, None] - view.xy
        distance = np.hypot(away[..., 0], away[..., 1])
        error = distance / (max_error * size)[:, None, None]
        good = error < 1
        weight = np.where(np.isfinite(error), view.weight, 0.0)
        whole = weight.sum(-1)
        score = np.where(good, weight * (1 - error**2), 0.0).sum(-1) / whole
        score *= np.sqrt(whole / weight.shape[-1])  # of two that are the same person, the more complete
        mean = np.where(weight > 0, weight * np.minimum(error, 4.0), 0.0).sum(-1) / whole
    most = np.where(good, weight, 0.0).sum(-1) > 0.5 * whole
    score = np.where((good.sum(-1) >= FEWEST) & most, score, 0.0)
    inside = informed & ((low < np.array(camera.size)) & (high > 0)).all(1)
    return _Fit(informed, inside, np.where(weight > 0, distance, np.nan), score, mean)


def _taken(
    view: Marks, fits: Sequence[_Fit], number: int
) -> tuple[Int[np.ndarray, " frames"], Bool[np.ndarray, "frames candidates"]]:
    """The candidate that is the person `number` in each frame (-1: none), and all that fit it.

    What fits for a moment may be somebody who passes behind: so the candidate's own 2D track must fit in most frames
    nearby, and no other person better. The track also decides between candidates that fit alike (a detector may see
    one person twice), and says who the person is where no other view does.
    """
    mine, track = fits[number], view.track
    here = track >= 0
    informed = mine.informed[:, None] & here
    share, mean = _along_track(view, informed, mine.score)
    fits_here = (mine.score > 0) & (share >= 0.5)
    for other, fit in enumerate(fits):
        if other != number:
            _, others = _along_track(view, fit.informed[:, None] & here, fit.score)
            better = fit.score + others > mine.score + mean + _MARGIN
            # candidates that fit two people go to the one of more support, unless the other's claim is clearly better
            fits_here &= ~better if other > number else (fit.score + others + _MARGIN < mine.score + mean)
    # A slip of the detector (a frame or two with limbs astray) is still the person; which joints are wrong is not
    # decided here. It yields to any candidate that fits.
    steady = here & (share >= 0.8) & (mean > 0)
    slipped = steady & (mine.error < 2.5)
    value = np.where(fits_here, 1.0 + mine.score + mean, np.where(slipped, mean, 0.0))
    value = np.where(mine.informed[:, None], value, np.where(steady, mean, 0.0))
    return np.where(value.max(1) > 0, value.argmax(1), -1), fits_here


def _along_track(
    view: Marks, informed: Bool[np.ndarray, "frames candidates"], score: Float[np.ndarray, "frames candidates"]
) -> tuple[Float[np.ndarray, "frames candidates"], Float[np.ndarray, "frames candidates"]]:
    """For each candidate, over the informed frames of its track within NEARBY: what share fits, and the mean score."""
    share, mean = np.zeros(score.shape), np.zeros(score.shape)
    t, c = np.nonzero(view.track >= 0)
    if not len(t):
        return share, mean
    label = view.track[t, c]
    order = np.lexsort((t, label))
    t, c, label = t[order], c[order], label[order]
    # one axis for all tracks, each far from the next
    axis = view.timestamps[t] - view.timestamps[0] + label * (np.ptp(view.timestamps) + 3 * NEARBY)
    low, high = np.searchsorted(axis, axis - NEARBY), np.searchsorted(axis, axis + NEARBY, side="right")

    def within(values: np.ndarray) -> np.ndarray:
        total = np.concatenate([[0.0], np.cumsum(values)])
        return total[high] - total[low]

    told = informed[t, c].astype(float)
    count = np.maximum(within(told), 1.0)
    share[t, c] = within(told * (score[t, c] > 0)) / count
    mean[t, c] = within(told * score[t, c]) / count
    return share, mean


def _told(camera: Camera, view: Marks, fit: _Fit, place: Int[np.ndarray, " frames"]) -> dict[str, Any]:
    """What there is to say about one person in one view."""
    rows = np.flatnonzero(place >= 0)
    away = fit.distance[rows, place[rows]]
    missed = fit.inside & (place < 0)
    return {
        "frames": len(place),
        "taken": len(rows),
        "rejected": int((view.track >= 0).sum()) - len(rows),
        "switches": int((np.diff(view.track[rows, place[rows]]) != 0).sum()),
        "distance_px": float(np.nanmedian(away)) if np.isfinite(away).any() else None,
        "expected": int(fit.inside.sum()),
        "missed": int(missed.sum()),
        "missed_with_candidates": int((missed & (view.track >= 0).any(1)).sum()),
    }


def _keypoints(
    detections: Detections, place: Int[np.ndarray, " frames"], alike: Bool[np.ndarray, "frames candidates"]
) -> tuple[Keypoints2D, int]:
    """The candidate taken, with the joints it lacks from others that are the same person; and in how many frames.

    Detectors that start from joints (OpenPose) now and then cut one person into an upper and a lower half. Halves have
    few joints in common; a candidate that repeats what the taken one has is a double or somebody close behind.
    """
    rows = np.arange(len(place))
    none = place < 0
    xy = np.where(none[:, None, None], np.nan, detections.xy[rows, place])
    confidence = np.where(none[:, None], 0.0, detections.confidence[rows, place])
    completed = np.zeros(len(place), bool)
    for k in range(alike.shape[1]):
        has = detections.confidence[:, k] > 0
        more = has & (confidence == 0)
        half = alike[:, k] & ~none & (more.sum(1) > 0.7 * has.sum(1))
        more &= half[:, None]
        xy = np.where(more[..., None], detections.xy[:, k], xy)
        confidence = np.where(more, detections.confidence[:, k], confidence)
        completed |= more.any(1)
    return Keypoints2D.of(detections.skeleton, detections.timestamps, xy, confidence), int(completed.sum())


def _warnings(label: Mapping[str, Any], number: int, people: int, names: list[str]) -> list[str]:
    who = "the subject" if people == 1 else f"person {number}"
    said = []
    for name in names:
        told = label["views"][name]
        if told["expected"] and told["missed_with_candidates"] > 0.5 * told["expected"]:
            said.append(
                f'View "{name}" sees somebody, but in {told["missed_with_candidates"]} of {told["expected"]} frames '
                f"nobody where the other views put {who}: its calibration or its time may be off."
            )
    if label["agreement"] < 0.6:
        said.append(f"Two views agree on {who} in only {label['agreement']:.0%} of the take.")
    if people == 1 and label["runner_up"] > 0.8:
        said.append(f"Another person is seen nearly as well as {who}: the choice is uncertain.")
    return said


# ---------------------------------------------------------------------------------------------------------------------
# one camera


def _in_one_view(name: str, detections: Detections, view: Marks, people: int, *, others: bool) -> Association:
    """Without a second view: the largest and most lasting track; a matter of course where there are no `others`."""
    size = np.nan_to_num(view.size)
    score = view.weight.mean(-1) * (0.2 + size / size.max(initial=1.0))
    scale = np.nanmedian(view.size) if np.isfinite(view.size).any() else 1.0
    known = view.weight > 0
    chosen, support = people_in(view.track, score, view.xy / scale, known, view.timestamps, people + 1, reach_2d)
    runner_up = support[people] if len(support) > people else 0.0
    chosen = chosen[:people]
    if not chosen:
        raise DataError(f'View "{name}", the only one, sees nobody in any of its {len(view.timestamps)} frames.')
    facts: dict[str, Any] = {"people": len(chosen), "warnings": []}
    subject = "the subject is the largest and most lasting person in it"
    if others:
        facts["warnings"].append(f'Only view "{name}" has detections: {subject}.')
    else:
        facts["notes"] = [f'View "{name}" is the only one: {subject}.']
    given = []
    for number, place in enumerate(chosen):
        rows = np.flatnonzero(place >= 0)
        labels = view.track[rows, place[rows]]
        told = {
            "frames": len(place),
            "taken": len(rows),
            "rejected": int((view.track >= 0).sum()) - len(rows),
            "switches": int((np.diff(labels) != 0).sum()),
        }
        label = {"agreement": None, "runner_up": runner_up / support[number], "views": {name: told}}
        facts[f"person_{number}" if people > 1 else "subject"] = label
        alone = np.zeros(view.track.shape, bool)
        given.append({name: _keypoints(detections, place, alone)[0]})
        if people == 1 and runner_up / support[number] > 0.8:
            facts["warnings"].append("Another person is as large and as long in it: the choice is uncertain.")
    if len(given) < people:
        facts["warnings"].append(f"{people} people were looked for, and {len(given)} found.")
    return Association(tuple(given), facts)
