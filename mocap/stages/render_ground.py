"""`render_ground:` - plans the film of the bodies on the ground; `make_video` draws it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Le

from mocap.render.ground import plan_view
from mocap.render.posing import facing, floor_below, floor_under_hands, outline, palms_seen, scale_of
from mocap.render.rasterisers import open_rasteriser
from mocap.stages.base import Stage, options
from mocap.take import Take

Side = Annotated[int, Ge(64), Le(8192)]


@options
class RenderGround(Stage):
    """People on a chequered floor with their shadows: the body where one was fitted, else the skeleton in 3D.

    Hands by themselves are seen from near, on the floor where that is known and near them, else on none.
    """

    needs: ClassVar = frozenset({"keypoints3d|motion"})
    gives: ClassVar = frozenset({"renderings"})
    cheap: ClassVar = True

    size: tuple[Side, Side] = (1280, 720)
    """Width and height of the picture [px]."""
    camera: Literal["auto", "fixed", "follow", "turn"] = "auto"
    """fixed sees the whole way, follow goes along, turn also goes round; auto is fixed unless that is too far away."""
    colour: Literal["body", "person"] = "body"
    """body: the colours the model has; person: one colour each."""
    cameras: Literal["none", "seen", "all"] = "seen"
    """The cameras as small named pyramids: seen draws those in the picture, all steps back until they all are."""
    trails: Annotated[float, Ge(0), Le(60)] = 0.5
    """How long hands, feet and pelvis, or a hand's finger tips, leave a fading trail [s]; 0: none."""
    backend: Literal["auto", "gl", "software"] = "auto"
    """gl draws with OpenGL (no display needed), software without; auto takes gl where it can be had."""
    floor: float | None = None
    """Height of the floor [m]; None: 0 where the dataset says so, else below the feet, and none below hands alone."""

    def check(self, take: Take) -> None:
        """Opens the back end that was asked for."""
        open_rasteriser(self.backend)[0].close()

    def __call__(self, take: Take) -> Take:
        """Adds a film to the take's renderings; nothing is drawn yet."""
        if take.apart:
            return take.reported(notes=["No film is planned: people in unrelated pictures share no ground."])
        people = [p for p in take.people if p.motion is not None or p.keypoints3d is not None]
        frames = len(take.timestamps)
        known = self.floor is not None or (take.rig is not None and take.rig.has_floor)
        points = np.concatenate([outline(p) for p in people] or [np.full((frames, 1, 3), np.nan)], axis=1)
        ways = [facing(p) for p in people] or [np.full((frames, 2), np.nan)]
        scale, look = scale_of(people), {}
        if scale == 1:
            floor = (self.floor or 0.0) if known else floor_below(people)
        else:
            floor = self.floor if self.floor is not None else floor_under_hands(points) if known else None
            way, elevation = palms_seen(people, () if take.rig is None else tuple(take.rig))
            ways, look = [np.broadcast_to(way, (frames, 2))], {"scale": scale, "elevation": elevation, "aside": 0.0}
        known = known and floor is not None
        view = plan_view(
            points,
            ways[0],
            floor=floor,
            size=self.size,
            fps=take.fps,
            camera=self.camera,
            backend=self.backend,
            colour=self.colour,
            cameras=() if self.cameras == "none" or take.rig is None else tuple(take.rig),
            framed=self.cameras == "all",
            trails=self.trails,
            floor_known=known,
            **look,
        )
        take = take.replace(renderings=(*take.renderings, view))
        drawn = ["skeleton" if p.motion is None else "body" for p in people]
        below = "below the feet" if floor is not None else "none near the hands"
        floor_from = "as set" if self.floor is not None else "the dataset's" if known else below
        height = None if floor is None else round(floor, 4)
        return take.reported(camera=view.camera, floor=height, floor_from=floor_from, drawn=drawn)
