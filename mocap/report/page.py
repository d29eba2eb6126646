"""`report.html`: one page that says how a run went, and needs nothing but itself to be looked at.

Everything is in the file: style, plots (uPlot, MIT, 51 kB, unlike plotly's 4.5 MB) and small copies of the videos.
What does not fit stays beside the page and is linked. Names from users' files are escaped, and a content security
policy lets only the page's own scripts run and no network be asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import numpy as np

from mocap import __version__, checkpoints
from mocap.errors import BadFile, MissingFile
from mocap.io.atomic import write_text
from mocap.io.finished import read_finished
from mocap.io.names import file_names
from mocap.io.previews import small_picture, small_video
from mocap.io.results import REPORT, result_of
from mocap.report.facts import About, Curves, Facts, Judged, Picture, of_run
from mocap.take import Report, Take

PAGE = "report.html"
_ROOM = 3_000_000
"""Bytes of videos or pictures that are put into the page; those after are linked."""
_WORDS = {
    "good": ("Looks good", "Every number is in the range of a good capture."),
    "fair": ("Usable, with weak spots", "Look at the numbers marked fair, and at the video there."),
    "poor": ("Look before you use it", "At least one number is far from that of a good capture."),
    None: ("Not judged", "There are no numbers to judge this run by."),
}


def write(take: Take) -> Path:
    """`report.html` in the run's output folder, from a take at the end of its stages; gives its path."""
    people = [] if take.apart else [p for p in take.people if p.keypoints3d is not None or _flat(p)]
    known = [(result_of(take, person)[0], person.keypoints2d) for person in people]
    views = tuple(take.footage) or (() if take.rig is None else take.rig.names)
    facts = of_run(take.reports, len(take.frames), take.fps, views, known, take.rig)
    return write_page(take.run.output, facts)


def _flat(person: Any) -> bool:
    return person.motion is not None and bool(person.keypoints2d)


def rewrite(output: Path) -> Path:
    """The page again, from what a run left in its output folder; gives its path.

    Raises:
        MissingFile: No `report.json`.
        BadFile: It is damaged, or of a run that did not come to its end.
    """
    path = output / REPORT
    if not path.is_file():
        raise MissingFile(path, what="Report of a run")
    try:
        told = json.loads(path.read_bytes())
        stages = [dict(stage) for stage in told["stages"]]
        reports = [Report(s.pop("label"), s.pop("stage"), s, float(s.pop("seconds"))) for s in stages]
        frames, fps, views, complete = int(told["frames"]), float(told["fps"]), told["views"], told["complete"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(path, f"not a report of this program, or a damaged one ({error}).") from error
    if not complete:
        raise BadFile(path, "its run did not come to its end; the same command goes on where it stopped.")
    if any("pictures" in r.facts for r in reports[:1]):
        return write_page(output, of_run(reports, frames, fps, views, [], None))
    people = read_finished(output, body=False)
    seen = checkpoints.stored(output, "keypoints2d") or [{} for _ in people]
    known = [(finished.result, keypoints) for finished, keypoints in zip(people, seen, strict=False)]
    rig = people[0].rig if people else None
    return write_page(output, of_run(reports, frames, fps, views, known, rig))


def write_page(output: Path, facts: Facts) -> Path:
    """Writes the page of `facts` beside the videos and pictures that lie under `output`/render."""
    numbers: list[Curves] = []
    parts = [_head(output, facts), _warnings(facts), _videos(output, facts)]
    if facts.apart:
        parts.append(_gallery(output, facts))
    for person, title in zip(facts.people, _titles(facts.people), strict=True):
        parts.append(_person(person, title, numbers))
    parts += [_cameras(facts), _lost(facts), _stages(facts), _run(output, facts)]
    held = {name: (files("mocap.report") / name).read_text(encoding="utf-8") for name in _HELD}
    library, script = held["uPlot.iife.min.js"].strip(), held["page.js"].strip()
    allowed = " ".join(f"'sha256-{_digest(text)}'" for text in (library, script))
    text = Template(held["page.html"]).substitute(
        policy=f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: file: 'self'; "
        "media-src data: file: 'self'; base-uri 'none'; form-action 'none'",
        version=__version__,
        title=escape(f"{output.name}: how the capture went"),
        style=held["uPlot.min.css"] + held["page.css"],
        body="\n".join(part for part in parts if part),
        # "<" is written so that no name can end the script
        numbers=json.dumps([_plotted(curves) for curves in numbers], separators=(",", ":")).replace("<", "\\u003c"),
        library=library,
        script=script,
    )
    path = output / PAGE
    write_text(path, text)
    return path


_HELD = ("page.html", "page.css", "page.js", "uPlot.iife.min.js", "uPlot.min.css")


def _titles(people: Sequence[About]) -> list[str]:
    """What each is called: hands by their side, others by their number; one body alone needs no name."""
    sides = [person.title for person in people]
    return [
        side + (f" (person {i})" if sides.count(side) > 1 else "") if side else f"Person {i}" if len(people) > 1 else ""
        for i, side in enumerate(sides)
    ]


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _plotted(curves: Curves) -> dict[str, Any]:
    """JSON for the script: numbers rounded to what can be seen, null where there is none."""

    def rounded(values: np.ndarray, places: int) -> list[float | None]:
        return [round(v, places) if math.isfinite(v) else None for v in values.tolist()]

    return {
        "unit": curves.unit,
        "frames": rounded(curves.frames, 0),
        "seconds": rounded(curves.seconds, 3),
        "series": [{"name": name, "values": rounded(v, 2)} for name, v in curves.series.items()],
    }


# ---------------------------------------------------------------------------------------------- parts


def _number(value: float | None, places: int = 1) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{places}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Sequence[int] = ()) -> str:
    """Cells are HTML already."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="{"n" if i in numeric else "bars" if i >= 2 and "bar" in c else ""}">{c}</{tag}>'
            for i, c in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{cells("th", head)}</tr>{body}</table></div>'


def _bar(part: float) -> str:
    return f'<span class="bar" style="width:{100 * min(max(part, 0.0), 1.0):.1f}%"></span>'


def _head(output: Path, facts: Facts) -> str:
    judged = [j for person in facts.people for j in person.judged if j.light is not None]
    first = facts.reports[0].facts if facts.reports else {}
    lights = {j.light for j in judged}
    away = [p.px for p in facts.pictures if p.px is not None]
    light = next((name for name in ("poor", "fair", "good") if name in lights), None)
    told, why = _WORDS[light]
    if light == "good" and any(person.warned for person in facts.people):
        light, told, why = "fair", _WORDS["fair"][0], "Every number is in the range of a good capture."
    bad = [j.name for j in judged if j.light == light and light != "good"]
    if bad:
        why = f"{why} Marked {light}: {', '.join(dict.fromkeys(bad))}."
    if any(person.warned for person in facts.people):
        why += " A camera does not agree with the rest: see the warnings."
    if away:
        median = float(np.median(away))
        told = f"{len(facts.pictures)} of {first.get('pictures', len(facts.pictures))} pictures fitted"
        why = f"Median reprojection {median:.1f} px; the least well fitted come first below."
        undecided = sum(p.undecided for p in facts.pictures)
        if undecided:
            why += f" {undecided} may as well be turned half round: one camera cannot tell; look at them."
    elif facts.apart:
        told = "No picture was fitted"
    seconds = sum(r.seconds for r in facts.reports if not r.facts.get("kept"))
    what = "" if facts.apart else f"{facts.frames} frames at {facts.fps:.4g} a second, "
    count = len(facts.views)
    cameras = (
        f"{count} picture{'s' * (count != 1)}"
        if facts.apart
        else f"{count} camera{'s' * (count != 1)}"
        if count
        else ""
    ) or "no footage"
    titles = _titles(facts.people)
    cards = ""
    for i, person in enumerate(facts.people):
        named = bool(i) or bool(person.title)
        cards += f"<h3>{escape(titles[i])}</h3>" if named else ""
        cards += f"<div class='cards'>{''.join(_card(j) for j in person.judged if j.value is not None)}</div>"
    return (
        f"<h1>How the capture went</h1><p class='small'>{escape(str(first.get('root', output.name)))}: {what}"
        f"{cameras}; done in {_number(seconds)} s.</p>"
        f'<div class="verdict {light or ""}"><div><b>{escape(told)}</b><br>{escape(why)}</div></div>'
        f"{cards}"
    )


def _card(judged: Judged) -> str:
    light = judged.light
    good, poor = ("from", "below") if judged.good > judged.fair else ("up to", "above")
    limit = f"good {good} {judged.good:g}, poor {poor} {judged.fair:g} {judged.unit}"
    tag = f'<span class="tag {light or ""}">{light or "-"}</span>'
    return (
        f'<div class="card {light or ""}"><div>{escape(judged.name)} {tag}</div>'
        f'<div class="value">{_number(judged.value)} <small>{escape(judged.unit)}</small></div>'
        f'<details><summary class="small">{escape(limit)}</summary>'
        f'<p class="small">{escape(judged.why)}</p></details></div>'
    )


def _warnings(facts: Facts) -> str:
    warned = [w for person in facts.people for w in person.warned] + list(facts.warned)
    if not warned:
        return "<h2>Warnings</h2><p>None.</p>"
    boxes = "".join(
        f'<div class="warning"><b>{escape(w.text)}</b> <span class="small">({escape(w.label)})</span>'
        + (f"<p>{escape(w.do)}</p>" if w.do else "")
        + "</div>"
        for w in warned
    )
    return f"<h2>Warnings</h2>{boxes}"


def _videos(output: Path, facts: Facts) -> str:
    """Small copies of the first films in the page, as far as there is room; the rest linked."""
    names = [str(f) for r in facts.reports for f in r.facts.get("files", ()) if str(f).endswith(".mp4")]
    paths = [name for name in dict.fromkeys(names) if (output / name).is_file()]
    if not paths:
        return ""
    room, shown, linked = _ROOM, [], []
    for name in paths:
        link = f'<a href="{quote(name)}">{escape(name)}</a>'
        data = small_video(output / name, limit=min(room, _ROOM // 2)) if room > 100_000 else None
        if data is None:
            linked.append(link)
            continue
        room -= len(data)
        poster = base64.b64encode(small_picture(output / name, width=480) or b"").decode()
        who = "the hands" if facts.people and all(p.title for p in facts.people) else "the body"
        where = ("in 3D" if who == "the hands" else "on the ground", "over the footage")
        told = f"{who} {where[not Path(name).stem.startswith('ground')]}"
        shown.append(
            f'<figure><video controls playsinline muted loop preload="metadata" '
            f'poster="data:image/jpeg;base64,{poster}" src="data:video/mp4;base64,'
            f'{base64.b64encode(data).decode()}"></video><figcaption>{told}: {link}</figcaption></figure>'
        )
    more = f"<p class='small'>Beside this page: {', '.join(linked)}.</p>" if linked else ""
    return (
        f"<h2>Videos</h2><div class='films'>{''.join(shown)}</div>{more}<p class='small'>Small copies, at most "
        "the first 20 s, up to 3 MB in all; the links lead to the full ones, which lie beside this page.</p>"
    )


def _gallery(output: Path, facts: Facts) -> str:
    names, room, cells = file_names(facts.views), _ROOM, []
    plain: list[Picture] = []
    for picture in facts.pictures:
        name = f"render/overlay_{names[picture.name]}.png" if picture.name in names else ""
        data = small_picture(output / name) if name and room > 0 and (output / name).is_file() else None
        if data is None or len(data) > room:
            plain.append(picture)
            continue
        room -= len(data)
        cells.append(
            f'<figure><a href="{quote(name)}"><img alt="{escape(picture.name)}" '
            f'src="data:image/jpeg;base64,{base64.b64encode(data).decode()}"></a><figcaption><b>{escape(picture.name)}'
            f"</b> {_number(picture.px)} px, cost {_number(picture.cost)}"
            f"{'' if picture.converged is not False else ', <b>did not converge</b>'}<br>{escape(picture.way)}"
            "</figcaption></figure>"
        )
    rows = [[escape(p.name), _number(p.px), _number(p.cost), escape(p.way)] for p in plain]
    table = _table(("picture", "px", "cost", "which way"), rows, numeric=(1, 2)) if rows else ""
    note = f"<p class='small'>{len(rows)} pictures are not shown here (up to 3 MB are).</p>" if rows and cells else ""
    return f"<h2>Pictures, the least well fitted first</h2><div class='gallery'>{''.join(cells)}</div>{note}{table}"


def _person(person: About, title: str, numbers: list[Curves]) -> str:
    parts = [f"<h2>{escape(title)}{': over' if title else 'Over'} time</h2>"] if person.curves else []
    if person.curves:
        parts.append(
            "<p class='small'>Point at a curve to read it; drag to zoom, double-click to zoom out; tap a name "
            "below a plot to hide its curve.</p>"
        )
    for curves in person.curves:
        note = (
            f" Drawn as the smallest and largest value of each {curves.per_bucket} frames."
            if curves.per_bucket > 1
            else ""
        )
        parts.append(
            f"<h3>{escape(curves.title)} [{escape(curves.unit)}]</h3><p class='told'>{escape(curves.told + note)}</p>"
            f'<div class="plot" data-plot="{len(numbers)}"></div>'
        )
        numbers.append(curves)
    if person.joints:
        largest = max((sigma for _, _, sigma in person.joints if sigma is not None), default=1.0) or 1.0
        rows = [
            [
                escape(name.replace("_", " ")),
                "-" if found is None else f"{100 * found:.1f}",
                "-" if sigma is None else f"{1000 * sigma:.1f}",
                "" if sigma is None else _bar(sigma / largest),
            ]
            for name, found, sigma in person.joints
        ]
        table = _table(("joint", "found %", "error bar mm", ""), rows, numeric=(1, 2))
        parts.append(
            f"<h2>{escape(title + ': joints' if title else 'Joints')}</h2><p class='told'>In how many frames each "
            "was found, and its median standard deviation. The joints of what was fitted are never missing.</p>"
            f"<details open><summary>{len(rows)} joints</summary>{table}</details>"
        )
    if person.limbs:
        largest = max(spread for _, _, spread, _ in person.limbs) or 1.0
        rows = [
            [escape(name.replace("_", " ")), f"{1000 * length:.0f}", f"{1000 * spread:.1f}",
             "-" if fit is None else f"{1000 * fit:.1f}", _bar(spread / largest)]
            for name, length, spread, fit in person.limbs
        ]  # fmt: skip
        table = _table(("limb", "length mm", "varies mm", "fit mm", ""), rows, numeric=(1, 2, 3))
        parts.append(
            f"<h2>{escape(title + ': bone lengths' if title else 'Bone lengths')}</h2><p class='told'>How much the "
            "distance of two 3D points varies (robust standard deviation), the least steady first; and of "
            f"what was fitted.</p><details><summary>{len(rows)} limbs</summary>{table}</details>"
        )
    return "".join(parts)


def _cameras(facts: Facts) -> str:
    """What the triangulation reported of each camera."""
    alone = [[r.facts] for r in facts.reports]
    several = [r.facts["people"] for r in facts.reports if isinstance(r.facts.get("people"), (list, tuple))]
    people = next((told for told in (*alone, *several) if any(isinstance(p.get("cameras"), Mapping) for p in told)), [])
    if not people:
        return ""
    titles = _titles(facts.people) if len(people) == len(facts.people) > 1 else [""] * len(people)
    tables = [
        (f"<h3>{escape(title)}</h3>" if title else "") + _of_cameras(own["cameras"])
        for title, own in zip(titles, people, strict=True)
        if own.get("cameras")
    ]
    return (
        f"<h2>Cameras</h2>{''.join(tables)}<p class='told'>px: error of the points used; px without it: of points made "
        "by the other cameras alone; late by: what its time is off against the others.</p>"
    )


def _of_cameras(reported: Mapping[str, Any]) -> str:
    """Of one person."""
    rows = [
        [escape(str(view)), _number(own.get("reprojection_px")), _number(own.get("reprojection_left_out_px")),
         _number(100 * own.get("dropped", 0) / max(own.get("offered", 0), 1)),
         _number(None if own.get("lag_s") is None else 1000 * own["lag_s"])]
        for view, own in reported.items()
    ]  # fmt: skip
    return _table(("camera", "px", "px without it", "dropped %", "late by ms"), rows, numeric=(1, 2, 3, 4))


def _lost(facts: Facts) -> str:
    if not facts.lost:
        return "<h2>What was left out, and why</h2><p>Nothing.</p>"
    items = "".join(f"<li><b>{escape(label)}</b>: {escape(text)}</li>" for label, text in facts.lost)
    return f"<h2>What was left out, and why</h2><ul>{items}</ul>"


def _stages(facts: Facts) -> str:
    timed = [r for r in facts.reports if r.stage not in ("dataset", "quality")]
    longest = max((r.seconds for r in timed), default=0.0) or 1.0
    rows = [
        [escape(r.label), _number(r.seconds), _bar(r.seconds / longest) + (" kept" if r.facts.get("kept") else "")]
        for r in sorted(timed, key=lambda r: -r.seconds)
    ]
    return f"<h2>Where the time went</h2>{_table(('stage', 'seconds', ''), rows, numeric=(1,))}"


def _run(output: Path, facts: Facts) -> str:
    first = facts.reports[0].facts if facts.reports else {}
    again = [output / "config" / name for name in ("data.yml", "exp.yml")]
    command = f"emc --data {shlex.quote(str(again[0]))} --exp {shlex.quote(str(again[1]))}"
    rows = [["machine", escape(str(first.get("machine", "-")))]]
    calibration = first.get("calibration")
    if calibration:
        rows.append(["calibration", escape(f"{calibration.get('file')} ({calibration.get('format')})")])
    if facts.views and not facts.apart:
        rows.append(["cameras", escape(", ".join(facts.views))])
    versions = {k: v for k, v in first.get("versions", {}).items() if v}
    rows.append(["versions", escape(", ".join(f"{name} {version}" for name, version in versions.items()) or "-")])
    told = f"To run it again:<pre>{escape(command)}</pre>" if all(p.is_file() for p in again) else ""
    return f"<h2>What was run</h2>{told}{_table(('', ''), rows)}<p class='small'>Made by emc {__version__}.</p>"
