"""Who is who: the subject is the candidate on whom the views agree, moment after moment.

1. Each candidate is reduced to marks (:mod:`mocap.detect.marks`): of a body, or of a hand (:mod:`mocap.detect.kinds`).
2. At moments of the take's clock, candidates of two views whose marks' rays meet, and the other views' candidates they
   project onto, are a hypothesis: a person in 3D (:mod:`mocap.detect.agreement`).
3. Hypotheses are linked over time by where they are; the person with most support is the subject
   (:mod:`mocap.detect.tracks`).
4. In each view and frame, the candidate nearest to the subject's projection is taken, unless it is somebody else's; or
   none.
5. Of hands, all candidates taken vote on which is a left and which a right one (:mod:`mocap.detect.hands`).

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
from mocap.detect.hands import OTHER_SIDE, SURE, Sided, as_hands, curl, opposed, told_apart
from mocap.detect.kinds import HAND, Kind, kind_of
from mocap.detect.marks import Marks, marks_of
from mocap.detect.tracks import cut_at_changes, exchanged_at_changes, linked, people_in
from mocap.errors import DataError
from mocap.geometry.cameras import Camera, Rig
from mocap.geometry.times import between_frames, linear
from mocap.io.pictures import listed
from mocap.skeletons import HANDS, fittable
from mocap.take import Detections, Keypoints2D, called

ENOUGH = 0.1
"""Where it is not said how many hands there are, one is taken with so much of the support of the best: less is
chance."""
_RIVALS = 2
_MARGIN = 0.1


@dataclass(frozen=True)
class Association:
    """Who was found.

    Attributes:
        people: For each person the keypoints by view, at the view's own moments, missing where it was not seen. Hands
            are given as people of `left_hand21` or `right_hand21`, the left ones first.
        facts: For the report: `views` (frames, frames in which the person was `taken`, candidates `rejected`,
            `switches` of the detector's own track, frames `completed` from a second candidate, median distance from
            where the views put the person [px]), how clear the choice was (`runner_up`: the next person's support over
            the subject's), and `warnings`. Of a hand also its `side`, the share of candidates that `vote` for it, and
            how far its fingers `curl` as those of that side do.
    """

    people: tuple[dict[str, Keypoints2D], ...]
    facts: dict[str, Any]


def associate(
    rig: Rig,
    detections: Mapping[str, Detections],
    clock: Float[np.ndarray, " frames"],
    *,
    people: int | None = None,
    max_error: float = 0.12,
) -> Association:
    """The subjects among all candidates of all views.

    Args:
        rig: Cameras by the names of `detections`.
        detections: Every view's candidates, each view at its own moments.
        clock: The take's moments [s].
        people: How many subjects to look for; those with most support are given, the best first. None: one person, or
            as many hands as the views agree on, at most two.
        max_error: A mark farther from where the other views put it counts nothing [fraction of the subject's size in
            the image]. Detectors differ by 0.02 or so between views; another person is mostly 0.3 away.

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
    kind, detections, views = _as_marks(detections)
    exactly = kind.exactly or people is not None
    people = people or kind.people
    if len(names) == 1:
        return _in_one_view(names[0], detections[names[0]], views[names[0]], kind, people, exactly, others=len(rig) > 1)
    cameras = [rig[name] for name in names]
    moments = _moments(clock, kind.moment)
    found = hypotheses(cameras, list(views.values()), moments, kind, people + _RIVALS + 1, max_error)
    tracks = linked(
        found.xyz, found.known, np.ones_like(found.score), found.lean, moments, kind.reach_3d, lags=kind.lags
    )
    if kind.touching:
        tracks = cut_at_changes(tracks, found.xyz, found.known, found.lean, moments, kind.reach_3d)
    slots, support = people_in(
        tracks, found.score, found.xyz, found.known, found.lean, moments, people + _RIVALS, kind.reach_3d
    )
    _refuse_disagreement(views, found, slots, rig, kind)

    subjects = range(_how_many(support, people, exactly))
    slots = [slot for k, slot in enumerate(slots) if k in subjects or support[k] > 0.1 * support[subjects[-1]]]
    if kind.touching and len(subjects) == 2:
        slots[:2] = exchanged_at_changes(slots[0], slots[1], found.xyz, found.known, found.lean, moments, kind.reach_3d)
    rows = np.arange(len(moments))
    known = [np.where((slot >= 0)[:, None], found.known[rows, slot], False) for slot in slots]
    places = [np.where(k[..., None], found.xyz[rows, slot], np.nan) for k, slot in zip(known, slots, strict=True)]
    leans = [_mean(found.lean[rows, slot], np.where(slot >= 0, found.score[rows, slot], 0.0)) for slot in slots]
    given: list[dict[str, Keypoints2D]] = [{} for _ in subjects]
    told: list[dict[str, Any]] = [{} for _ in subjects]
    votes = np.zeros((len(subjects), 2))
    for name, camera in zip(names, cameras, strict=True):
        view = views[name]
        fits = [
            _fit(camera, view, _at(moments, xyz, k, view.timestamps, kind), lean, max_error, kind.fewest)
            for xyz, k, lean in zip(places, known, leans, strict=True)
        ]
        for number in subjects:
            place, alike = _taken(view, fits, number, kind.nearby)
            given[number][name], completed = _keypoints(detections[name], place, alike)
            told[number][name] = _told(view, place, fits[number]) | {"completed": completed}
            votes[number] += _votes(view, place)

    facts: dict[str, Any] = {"moments": len(moments), "people": len(given), "warnings": []}
    support = [*support, 0.0]
    labels = [
        {
            "agreement": float((slots[number] >= 0).mean()),
            "runner_up": support[len(given)] / support[number],
            "views": told[number],
        }
        for number in subjects
    ]
    if kind is HAND:
        given, labels, said = _sided(given, labels, votes, [curl(places[number]) for number in subjects])
        facts["warnings"] += said
    for number, (label, who) in enumerate(zip(labels, called([label.get("side") for label in labels]), strict=True)):
        facts["warnings"] += _warnings(label, "the subject" if people == 1 else who, kind, people, names)
        facts[_key(number, kind, people)] = label
    if exactly and len(given) < people:
        facts["warnings"].append(f"{people} {kind.many} were looked for, and {len(given)} found on whom views agree.")
    if not exactly and support[len(given)] > 0.8 * support[len(given) - 1]:
        facts["warnings"].append(
            f"Views agree on at least one more {kind.one}, nearly as well: say how many {kind.many} to take (people)."
        )
    return Association(tuple(given), facts)


def _as_marks(
    detections: Mapping[str, Detections],
) -> tuple[Kind, dict[str, Detections], dict[str, Marks]]:
    """What is looked for, and every view's candidates: whole, of hands as one hand each, and as marks."""
    kinds = {kind_of(seen.skeleton).one: kind_of(seen.skeleton) for seen in detections.values()}
    if len(kinds) > 1:
        sets = ", ".join(f"{name}: {seen.skeleton.name}" for name, seen in detections.items())
        raise DataError(f"Views must all have detections of bodies, or all of hands, not {sets}.")
    kind = next(iter(kinds.values()))
    whole, views = {}, {}
    for name, seen in detections.items():
        if kind is HAND:
            whole[name], lean = as_hands(seen)
        else:
            whole[name], lean = seen, np.zeros(seen.xy.shape[:2])
        views[name] = marks_of(whole[name], kind, lean)
    return kind, whole, views


def _how_many(support: Sequence[float], people: int, exactly: bool) -> int:
    """Of those found, the best first, how many are taken."""
    return min(people, len(support) if exactly else sum(s > ENOUGH * support[0] for s in support))


def _key(number: int, kind: Kind, people: int) -> str:
    return f"{kind.one}_{number}" if people > 1 else "subject"


def _mean(values: np.ndarray, weight: np.ndarray) -> float:
    total = float(weight.sum())
    return float((values * weight).sum()) / total if total > 0 else 0.0


# ---------------------------------------------------------------------------------------------------------------------
# sides of hands


def _votes(view: Marks, place: Int[np.ndarray, " frames"]) -> tuple[float, float]:
    """Of the candidates taken: the sum of what they lean to, each as far as it is sure it is there, and of how sure."""
    rows = np.flatnonzero(place >= 0)
    weight = view.weight[rows, place[rows]].mean(-1)
    return float((weight * view.lean[rows, place[rows]]).sum()), float(weight.sum())


def _sided(
    given: Sequence[dict[str, Keypoints2D]],
    labels: Sequence[dict[str, Any]],
    votes: Float[np.ndarray, "hands 2"],
    curls: Sequence[float | None],
) -> tuple[list[dict[str, Keypoints2D]], list[dict[str, Any]], list[str]]:
    """Hands as left and right ones, the left ones first, with what there is to say about it, and warnings."""
    told = told_apart([float(v / max(n, 1e-9)) for v, n in votes], curls)
    order = sorted(range(len(told)), key=lambda k: told[k].side)  # a stable sort: by support within a side
    hands = [
        {name: dataclasses.replace(seen, skeleton=HANDS[told[k].side]) for name, seen in given[k].items()}
        for k in order
    ]
    facts = [
        {"side": told[k].side, "vote": round(told[k].vote, 3), "curl": _rounded(told[k].curl), **labels[k]}
        for k in order
    ]
    return hands, facts, [s for number, k in enumerate(order) for s in _about_side(told[k], number, len(told))]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _bending(curl: float) -> str:
    if abs(curl) < 0.1:
        return "are straight"
    return "bend the way those of such a hand do" if curl > 0 else "bend the other way"


def _about_side(told: Sided, number: int, hands: int) -> list[str]:
    """A sentence where the side of a hand is not sure."""
    if told.evidence > SURE:
        return []
    who = f"Hand {number}" if hands > 1 else "The hand"
    bends = "" if told.curl is None else f", and its fingers {_bending(told.curl)}"
    why = f"{told.vote:.0%} of the detections say so{bends}"
    if told.evidence < 0:
        return [
            f"{who} is taken for the {told.side} one since the other is surer to be the "
            f"{'left' if told.side == 'right' else 'right'} one, though only {why}."
        ]
    return [f"{who} is taken for a {told.side} one, which is uncertain: {why}."]


def associate_apart(detections: Mapping[str, Detections]) -> Association:
    """Of unrelated pictures, one frame each: in every one the largest and surest person, if a body can be fitted to it.

    Args:
        detections: By the name of the picture.

    Returns:
        People with the one view they are in. The facts count pictures, people, and pictures with `several`; a warning
        names those with nobody, and those who show too little of anybody.

    Raises:
        DataError: Nobody in any picture, or pictures of hands.
    """
    if any(kind_of(seen.skeleton) is HAND for seen in detections.values()):
        raise DataError(
            "Hands in unrelated pictures are not fitted: one picture does not tell how far away a hand is. Film them "
            "with two or more calibrated cameras."
        )
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


def _moments(clock: Float[np.ndarray, " frames"], spacing: float) -> Float[np.ndarray, " moments"]:
    step = np.median(np.diff(clock)) if len(clock) > 1 else 1.0
    stride = max(1, int(spacing / step + 0.5))
    return np.unique(np.append(clock[::stride], clock[-1:]))


def _refuse_disagreement(
    views: Mapping[str, Marks], found: Hypotheses, slots: Sequence[np.ndarray], rig: Rig, kind: Kind
) -> None:
    possible = int((found.crowded >= 2).sum())
    agreed = int((slots[0] >= 0).sum()) if slots else 0
    if agreed >= max(1, 0.1 * possible):
        return
    seen = ", ".join(
        f'"{name}" sees {kind.somebody} in {int((view.track >= 0).any(1).sum())} of {len(view.timestamps)} frames'
        for name, view in views.items()
    )
    if possible == 0:
        several = sum((view.track >= 0).any() for view in views.values()) > 1
        asked = "are the views' times on one clock?" if several else kind.unseen
        raise DataError(f"No two views see {kind.somebody} at the same moment: {seen}; {asked}")
    raise DataError(
        f"No {kind.one} is seen alike by two views in more than {agreed} of the {possible} moments in which two see "
        f"{kind.somebody}: {seen}. Does the calibration belong to these views, are its cameras named as they are "
        f"({', '.join(rig.names)}), and are the views synchronised?"
    )


# ---------------------------------------------------------------------------------------------------------------------
# back to the views


def _at(
    moments: Float[np.ndarray, " moments"],
    xyz: Float[np.ndarray, "moments marks 3"],
    known: Bool[np.ndarray, "moments marks"],
    times: Float[np.ndarray, " frames"],
    kind: Kind,
) -> Float[np.ndarray, "frames marks 3"]:
    """The marks at other times: linear over short gaps, held for as long as a moment lasts at the ends."""
    out = np.full((len(times), xyz.shape[1], 3), np.nan)
    # from one moment to the next is no gap, however slow the clock
    short = max(kind.bridge, 1.5 * float(np.median(np.diff(moments)))) if len(moments) > 1 else kind.bridge
    for mark in range(xyz.shape[1]):
        k = np.flatnonzero(known[:, mark])
        if not len(k):
            continue
        at = moments[k]
        before, after, _ = between_frames(at, times)
        bridged = (at[after] - at[before] <= short) | (times <= at[0]) | (times > at[-1])
        ok = bridged & (np.maximum(at[0] - times, times - at[-1]) <= kind.moment)
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


def _fit(
    camera: Camera,
    view: Marks,
    xyz: Float[np.ndarray, "frames marks 3"],
    lean: float,
    max_error: float,
    fewest: int,
) -> _Fit:
    expected, _ = camera.project(xyz)
    there = np.asarray(np.isfinite(expected).all(-1))
    informed = there.sum(1) >= fewest
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
        score *= 1 - OTHER_SIDE * opposed(lean, view.lean)
        mean = np.where(weight > 0, weight * np.minimum(error, 4.0), 0.0).sum(-1) / whole
    most = np.where(good, weight, 0.0).sum(-1) > 0.5 * whole
    score = np.where((good.sum(-1) >= fewest) & most, score, 0.0)
    inside = informed & ((low < np.array(camera.size)) & (high > 0)).all(1)
    return _Fit(informed, inside, np.where(weight > 0, distance, np.nan), score, mean)


def _taken(
    view: Marks, fits: Sequence[_Fit], number: int, nearby: float
) -> tuple[Int[np.ndarray, " frames"], Bool[np.ndarray, "frames candidates"]]:
    """The candidate that is the person `number` in each frame (-1: none), and all that fit it.

    What fits for a moment may be somebody who passes behind: so the candidate's own 2D track must fit in most frames
    nearby, and no other person better. The track also decides between candidates that fit alike (a detector may see
    one person twice), and says who the person is where no other view does.
    """
    mine, track = fits[number], view.track
    here = track >= 0
    informed = mine.informed[:, None] & here
    share, mean = _along_track(view, informed, mine.score, nearby)
    fits_here = (mine.score > 0) & (share >= 0.5)
    for other, fit in enumerate(fits):
        if other != number:
            _, others = _along_track(view, fit.informed[:, None] & here, fit.score, nearby)
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
    view: Marks,
    informed: Bool[np.ndarray, "frames candidates"],
    score: Float[np.ndarray, "frames candidates"],
    nearby: float,
) -> tuple[Float[np.ndarray, "frames candidates"], Float[np.ndarray, "frames candidates"]]:
    """Of each candidate, over the informed frames of its track within `nearby` [s]: what share fits; the mean score."""
    share, mean = np.zeros(score.shape), np.zeros(score.shape)
    t, c = np.nonzero(view.track >= 0)
    if not len(t):
        return share, mean
    label = view.track[t, c]
    order = np.lexsort((t, label))
    t, c, label = t[order], c[order], label[order]
    # one axis for all tracks, each far from the next
    axis = view.timestamps[t] - view.timestamps[0] + label * (np.ptp(view.timestamps) + 3 * nearby)
    low, high = np.searchsorted(axis, axis - nearby), np.searchsorted(axis, axis + nearby, side="right")

    def within(values: np.ndarray) -> np.ndarray:
        total = np.concatenate([[0.0], np.cumsum(values)])
        return total[high] - total[low]

    told = informed[t, c].astype(float)
    count = np.maximum(within(told), 1.0)
    share[t, c] = within(told * (score[t, c] > 0)) / count
    mean[t, c] = within(told * score[t, c]) / count
    return share, mean


def _told(view: Marks, place: Int[np.ndarray, " frames"], fit: _Fit | None = None) -> dict[str, Any]:
    """What there is to say about one person in one view, and where other views say where it is, how they fit."""
    rows = np.flatnonzero(place >= 0)
    told = {
        "frames": len(place),
        "taken": len(rows),
        "rejected": int((view.track >= 0).sum()) - len(rows),
        "switches": int((np.diff(view.track[rows, place[rows]]) != 0).sum()),
    }
    if fit is None:
        return told
    away = fit.distance[rows, place[rows]]
    missed = fit.inside & (place < 0)
    return told | {
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


def _warnings(label: Mapping[str, Any], who: str, kind: Kind, people: int, names: list[str]) -> list[str]:
    said = []
    for name in names:
        told = label["views"][name]
        if told["expected"] and told["missed_with_candidates"] > 0.5 * told["expected"]:
            said.append(
                f'View "{name}" sees {kind.somebody}, but in {told["missed_with_candidates"]} of {told["expected"]} '
                f"frames {kind.nobody} where the other views put {who}: its calibration or its time may be off."
            )
    if label["agreement"] < 0.6:
        said.append(f"Two views agree on {who} in only {label['agreement']:.0%} of the take.")
    if people == 1 and label["runner_up"] > 0.8:
        said.append(f"Another {kind.one} is seen nearly as well as {who}: the choice is uncertain.")
    return said


# ---------------------------------------------------------------------------------------------------------------------
# one camera


def _in_one_view(
    name: str, detections: Detections, view: Marks, kind: Kind, people: int, exactly: bool, *, others: bool
) -> Association:
    """Without a second view: the largest and most lasting track; a matter of course where there are no `others`."""
    size = np.nan_to_num(view.size)
    score = view.weight.mean(-1) * (0.2 + size / size.max(initial=1.0))
    scale = np.nanmedian(view.size) if np.isfinite(view.size).any() else 1.0
    known, times = view.weight > 0, view.timestamps
    chosen, support = people_in(view.track, score, view.xy / scale, known, view.lean, times, people + 1, kind.reach_2d)
    if not chosen:
        raise DataError(f'View "{name}", the only one, sees {kind.nobody} in any of its {len(times)} frames.')
    chosen = chosen[: _how_many(support, people, exactly)]
    runner_up = support[len(chosen)] if len(support) > len(chosen) else 0.0
    facts: dict[str, Any] = {"people": len(chosen), "warnings": []}
    subject = f"the subject is the largest and most lasting {kind.one} in it"
    if others:
        facts["warnings"].append(f'Only view "{name}" has detections: {subject}.')
    else:
        facts["notes"] = [f'View "{name}" is the only one: {subject}.']
    alone = np.zeros(view.track.shape, bool)
    given = [{name: _keypoints(detections, place, alone)[0]} for place in chosen]
    labels: list[dict[str, Any]] = [
        {"agreement": None, "runner_up": runner_up / own, "views": {name: _told(view, place)}}
        for own, place in zip(support, chosen, strict=False)
    ]
    if kind is HAND:
        votes = np.array([_votes(view, place) for place in chosen])
        given, labels, said = _sided(given, labels, votes, [None] * len(given))
        facts["warnings"] += said
    facts |= {_key(number, kind, people): label for number, label in enumerate(labels)}
    if people == 1 and labels[0]["runner_up"] > 0.8:
        facts["warnings"].append(f"Another {kind.one} is as large and as long in it: the choice is uncertain.")
    if exactly and len(given) < people:
        facts["warnings"].append(f"{people} {kind.many} were looked for, and {len(given)} found.")
    return Association(tuple(given), facts)
