"""`make_video:` - draws and encodes the planned films, and the bodies over each camera's footage or picture."""

from __future__ import annotations

import time
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le

from mocap import progress
from mocap.errors import BadFile, MissingFile, UnknownName
from mocap.io.footage import read_frames
from mocap.io.names import file_names
from mocap.io.video_out import find_ffmpeg
from mocap.render.film import Film, Reel, ground_reel, overlay_reel, overlay_size, shoot
from mocap.render.ground import GroundView
from mocap.render.layer import Rasteriser
from mocap.render.pictures import contact_sheet, panels, thumbnail, write_picture
from mocap.render.rasterisers import open_rasteriser
from mocap.stages.base import Stage, options
from mocap.take import Take

_ENLARGED = 600
"""Pictures smaller than this are enlarged, to be looked at [px, their longer side]."""
_ON_SHEET = 40
_IN_MOSAIC = 8
"""Views at most: more of them are too small to be looked at."""


@options
class MakeVideo(Stage):
    """H.264 videos that play in a browser: render/ground.mp4, and render/overlay_<view>.mp4 for each drawn view.

    The overlays show the bodies through each camera's lens, the nearer before the farther, and render/mosaic.mp4 all
    of these side by side, the 3D view first, within 1920 x 1080 pixels.

    Of unrelated pictures instead render/overlay_<picture>.png: the picture, the body over it and the body from the
    side; and render/contact.png, the first 40 of them on one sheet.
    """

    needs: ClassVar = frozenset({"renderings|motion|keypoints2d"})
    gives: ClassVar = frozenset()

    overlay: bool = True
    """Draw the bodies over the footage of the views or pictures drawn (`--subs_vis`; all of them without it)."""
    keypoints: bool = True
    """Over the footage also the detected points (dots) and the skeleton of the fit (lines)."""
    shadow: bool = True
    """A soft shadow of the bodies on the floor of the footage, where the floor is known."""
    mosaic: bool = True
    """One more film with up to eight overlays and the 3D view side by side; made when there are two films or more."""
    scale: Annotated[float, Gt(0), Le(4)] | None = None
    """Size of the overlays as a fraction of the footage (`--scale`), not of pictures: 1 is as filmed."""
    longer_side: Annotated[int, Ge(64), Le(8192)] = 960
    """Without scale, the overlays' longer side at most [px]. Pictures smaller than 600 px are enlarged to that."""
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
        try:
            reels = [
                ground_reel(
                    folder / f"ground{f'_{n}' if n > 1 else ''}.mp4", view, take.people, take.timestamps, rasteriser
                )
                for n, view in enumerate(views, start=1)
            ]
            overlays, facts = self._overlays(take, rasteriser) if self.overlay else ([], {})
            together = [*reels[:1], *overlays[:_IN_MOSAIC]] if self.mosaic else []
            if len(together) < 2:
                together = []
            alone = [reel for reel in [*reels, *overlays] if reel not in together]
            films: list[Film] = []
            warnings, blank = list(facts.pop("warnings", [])), {}
            # films by themselves come one after another, and hold one encoder at a time
            for group in [together, *([reel] for reel in alone)] if together else [[reel] for reel in alone]:
                made = shoot(
                    group,
                    len(take.timestamps),
                    fps=take.fps,
                    crf=self.crf,
                    mosaic=folder / "mosaic.mp4" if group is together else None,
                )
                for reel, film in zip([*group, None], made, strict=False):
                    if not isinstance(film, Film):
                        assert reel is not None
                        warnings.append(f'Nothing is drawn over view "{reel.title}": {film}')
                        continue
                    films.append(film)
                    if reel is not None and film.without_footage:
                        blank[reel.title] = film.without_footage
        finally:
            rasteriser.close()
        if together and len(overlays) > _IN_MOSAIC:
            facts["mosaic"] = f"the first {_IN_MOSAIC} of {len(overlays)} views drawn; --subs_vis chooses others"
        order = [reel.path for reel in [*reels, *overlays]]
        films.sort(key=lambda film: order.index(film.path) if film.path in order else len(order))
        return take.reported(
            backend=why,
            **facts,
            frames_without_footage=blank,
            warnings=warnings,
            files=[film.path.relative_to(take.run.output).as_posix() for film in films],
            frames=len(take.timestamps),
            frames_per_second={film.path.stem: round(film.rate, 1) for film in films},
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

    def _overlays(self, take: Take, rasteriser: Rasteriser) -> tuple[list[Reel], dict[str, Any]]:
        """The films over the views' footage, still to be drawn; facts about what cannot be."""
        if not take.footage or take.rig is None:
            return [], {"overlays": "none: the dataset has no footage to draw over"}
        wanted = list(take.rig.names if take.run.views_drawn is None else take.run.views_drawn)
        names = file_names(wanted)
        known = [r.floor for r in take.renderings if isinstance(r, GroundView) and r.floor_known]
        floor = known[0] if known else 0.0 if take.rig.has_floor else None
        reels = [
            overlay_reel(
                take.run.output / "render" / f"overlay_{names[view]}.mp4",
                take.footage[view],
                take.rig[view],
                take.people,
                take.timestamps,
                rasteriser,
                size=overlay_size(take.footage[view].size, scale=self.scale, longer_side=self.longer_side),
                opacity=self.opacity,
                keypoints=self.keypoints,
                floor=floor if self.shadow else None,
            )
            for view in wanted
            if view in take.footage
        ]
        without = [view for view in wanted if view not in take.footage]
        return reels, {"warnings": [f'Nothing is drawn over view "{view}": it has no footage.' for view in without]}
