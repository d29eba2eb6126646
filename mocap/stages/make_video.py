"""`make_video:` - draws and encodes the planned films, and the bodies over each camera's footage or picture."""

from __future__ import annotations

import time
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le

from mocap import progress
from mocap.errors import BadFile, MissingFile, UnknownName
from mocap.io.footage import read_frames
from mocap.io.names import file_names
from mocap.io.video_out import find_ffmpeg
from mocap.render.film import Film, film_ground, film_overlay
from mocap.render.ground import GroundView
from mocap.render.pictures import contact_sheet, panels, thumbnail, write_picture
from mocap.render.rasterisers import open_rasteriser
from mocap.stages.base import Stage, options
from mocap.take import Take

_ENLARGED = 600
"""Pictures smaller than this are enlarged, to be looked at [px, their longer side]."""
_ON_SHEET = 40


@options
class MakeVideo(Stage):
    """H.264 videos that play in a browser: render/ground.mp4, and render/overlay_<view>.mp4 for each drawn view.

    Of unrelated pictures instead render/overlay_<picture>.png: the picture, the body over it and the body from the
    side; and render/contact.png, the first 40 of them on one sheet.
    """

    needs: ClassVar = frozenset({"renderings|motion|keypoints2d"})
    gives: ClassVar = frozenset()

    overlay: bool = True
    """Draw the bodies over the footage of the views or pictures drawn (`--subs_vis`; all of them without it)."""
    keypoints: bool = True
    """Over the footage also the detected points (dots) and the skeleton of the fit (lines)."""
    longer_side: Annotated[int, Ge(64), Le(8192)] = 960
    """The overlays' longer side at most [px]. Pictures that are smaller than 600 px are enlarged to that."""
    opacity: Annotated[float, Ge(0), Le(1)] = 0.7
    """Of the bodies over the footage: 1 hides the person behind them."""
    crf: Annotated[float, Ge(0), Le(51)] = 21
    """Quality of the videos, x264's: 18 looks like the original, higher is smaller."""

    def check(self, take: Take) -> None:
        """Finds ffmpeg, and the views to draw."""
        if not take.apart:
            find_ffmpeg()
        known = take.rig.names if take.rig is not None else tuple(take.footage)
        for name in take.run.views_drawn or ():
            if name not in known:
                raise UnknownName("camera to draw", name, known)

    def __call__(self, take: Take) -> Take:
        """Draws and encodes; the report lists the files, the back end and the rates."""
        if take.apart:
            return self._pictures(take)
        folder = take.run.output / "render"
        views = [r for r in take.renderings if isinstance(r, GroundView)]
        rasteriser, why = open_rasteriser(views[0].backend if views else "auto")
        films: dict[str, Film] = {}
        facts: dict[str, Any] = {"backend": why}
        try:
            for n, ground in enumerate(views):
                name = "ground" if n == 0 else f"ground_{n + 1}"
                path = folder / f"{name}.mp4"
                films[name] = film_ground(path, ground, take.people, take.timestamps, rasteriser, crf=self.crf)
            if self.overlay:
                facts |= self._overlays(take, rasteriser, films)
        finally:
            rasteriser.close()
        return take.reported(
            **facts,
            files=[film.path.relative_to(take.run.output).as_posix() for film in films.values()],
            frames=len(take.timestamps),
            frames_per_second={name: round(film.rate, 1) for name, film in films.items()},
        )

    def _pictures(self, take: Take) -> Take:
        """Draws each picture by itself."""
        assert take.rig is not None
        names = file_names(take.rig.names)
        wanted = set(take.rig.names if take.run.views_drawn is None else take.run.views_drawn)
        people = [(view, p) for p in take.people for view in p.keypoints2d if view in wanted] if self.overlay else []
        folder, warnings, sheet = take.run.output / "render", [], {}
        rasteriser, why = open_rasteriser("auto")
        started = time.perf_counter()
        drawn = 0
        try:
            for view, person in progress.track(people, "drawing pictures", unit="pictures"):
                try:
                    ((_, image),) = read_frames(take.footage[view], [0])
                except (BadFile, MissingFile) as error:
                    image, reason = None, str(error)
                else:
                    reason = "it cannot be read"
                if image is None:
                    warnings.append(f'Nothing is drawn over picture "{view}": {reason}.')
                    continue
                picture = panels(
                    image,
                    take.rig[view],
                    person,
                    view,
                    rasteriser,
                    longer_side=(min(_ENLARGED, self.longer_side), self.longer_side),
                    opacity=self.opacity,
                    keypoints=self.keypoints,
                )
                write_picture(folder / f"overlay_{names[view]}.png", picture)
                drawn += 1
                if len(sheet) < _ON_SHEET:
                    sheet[view] = thumbnail(picture)
        finally:
            rasteriser.close()
        if sheet:
            write_picture(folder / "contact.png", contact_sheet(sheet))
        rate = drawn / max(time.perf_counter() - started, 1e-9)
        return take.reported(
            backend=why,
            files=["render/contact.png", "render"] if sheet else [],
            pictures=drawn,
            pictures_per_second=round(rate, 1),
            warnings=warnings,
        )

    def _overlays(self, take: Take, rasteriser: Any, films: dict[str, Film]) -> dict[str, Any]:
        """Draws the views' overlays into `films`; facts about what could not be drawn."""
        if not take.footage or take.rig is None:
            return {"overlays": "none: the dataset has no footage to draw over"}
        wanted = list(take.rig.names if take.run.views_drawn is None else take.run.views_drawn)
        names = file_names(wanted)
        warnings, blank = [], {}
        for view in wanted:
            if view not in take.footage:
                warnings.append(f'Nothing is drawn over view "{view}": it has no footage.')
                continue
            path = take.run.output / "render" / f"overlay_{names[view]}.mp4"
            try:
                film = film_overlay(
                    path,
                    take.footage[view],
                    take.rig[view],
                    take.people,
                    take.timestamps,
                    rasteriser,
                    fps=take.fps,
                    longer_side=self.longer_side,
                    opacity=self.opacity,
                    keypoints=self.keypoints,
                    crf=self.crf,
                )
            except (BadFile, MissingFile) as error:
                if error.path == path:  # it is the film that cannot be written, not the footage that cannot be read
                    raise
                warnings.append(f'Nothing is drawn over view "{view}": {error}')
                continue
            films[f"overlay_{names[view]}"] = film
            if film.without_footage:
                blank[view] = film.without_footage
        return {"frames_without_footage": blank, "warnings": warnings}
