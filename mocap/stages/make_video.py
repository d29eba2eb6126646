"""`make_video:` - draws and encodes the planned films, and the bodies over each camera's footage."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le

from mocap.errors import BadFile, MissingFile, UnknownName
from mocap.io.video_out import find_ffmpeg
from mocap.render.film import Film, film_ground, film_overlay
from mocap.render.ground import GroundView
from mocap.render.rasterisers import open_rasteriser
from mocap.stages.base import Stage, options
from mocap.take import Take


def file_names(views: list[str]) -> dict[str, str]:
    """A file name (without suffix) for each view, safe on every system, never outside its folder, no two alike."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for view in views:
        plain = re.sub(r"[^\w.-]+", "_", view).strip(".") or "view"
        name, n = plain, 2
        while name.casefold() in taken:
            name, n = f"{plain}_{n}", n + 1
        taken.add(name.casefold())
        names[view] = name
    return names


@options
class MakeVideo(Stage):
    """H.264 videos that play in a browser: render/ground.mp4, and render/overlay_<view>.mp4 for each drawn view."""

    needs: ClassVar = frozenset({"renderings"})
    gives: ClassVar = frozenset()

    overlay: bool = True
    """Draw the bodies over the footage of the views drawn (`--subs_vis`; all of them without it)."""
    keypoints: bool = True
    """Over the footage also the detected points (dots) and the skeleton of the fit (lines)."""
    longer_side: Annotated[int, Ge(64), Le(8192)] = 960
    """The overlays' longer side at most [px]."""
    opacity: Annotated[float, Ge(0), Le(1)] = 0.7
    """Of the bodies over the footage: 1 hides the person behind them."""
    crf: Annotated[float, Ge(0), Le(51)] = 21
    """Quality of the videos, x264's: 18 looks like the original, higher is smaller."""

    def check(self, take: Take) -> None:
        """Finds ffmpeg, and the views to draw."""
        find_ffmpeg()
        known = take.rig.names if take.rig is not None else tuple(take.footage)
        for name in take.run.views_drawn or ():
            if name not in known:
                raise UnknownName("camera to draw", name, known)

    def __call__(self, take: Take) -> Take:
        """Draws and encodes; the report lists the files, the back end and the rates."""
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
