"""`triangulate:` - joints in 3D from what the cameras saw of them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from mocap.errors import DataError
from mocap.stages.base import Stage, options
from mocap.take import Take, called
from mocap.triangulate.agreement import require_cameras
from mocap.triangulate.points import triangulate


@options
class Triangulate(Stage):
    """Joints in 3D from detections in two or more views; views that swapped left and right are put right."""

    needs: ClassVar = frozenset({"rig", "keypoints2d"})
    gives: ClassVar = frozenset({"keypoints3d", "keypoints2d"})

    max_error: Annotated[float, Gt(0), Le(0.5)] = 0.02
    """A view whose reprojection error is larger is dropped [fraction of the image's longer side]; of hands also one
    larger than a fifth of the hand."""
    min_views: Annotated[int, Ge(2)] = 2
    """A joint seen by fewer cameras stays missing."""
    max_sigma: Annotated[float, Gt(0)] = 2.0
    """A joint whose position is less certain than this stays missing [m]."""
    unswap: bool = True
    """Whether to exchange left and right where a view has them the other way round."""
    drop_spikes: bool = True
    """Whether to drop points that jump as no body can."""

    def check(self, take: Take) -> None:
        """Two cameras at least."""
        if take.rig is not None:
            require_cameras(take.rig.names, least=self.min_views)

    def __call__(self, take: Take) -> Take:
        """Triangulates every person."""
        if take.rig is None or not take.people:
            raise DataError(
                'Nobody to triangulate: "triangulate" needs calibrated cameras and keypoints2d of somebody.'
            )
        made = [
            triangulate(
                take.rig,
                person.keypoints2d,
                take.timestamps,
                max_error=self.max_error,
                min_views=self.min_views,
                max_sigma=self.max_sigma,
                unswap=self.unswap,
                drop_spikes=self.drop_spikes,
            )
            for person in take.people
        ]
        take = take.with_people(
            keypoints3d=[m.keypoints3d for m in made], keypoints2d=[dict(m.keypoints2d) for m in made]
        )
        if len(made) == 1:
            return take.reported(**made[0].facts, warnings=made[0].warnings)
        who = [name[0].upper() + name[1:] for name in called([person.side for person in take.people])]
        return take.reported(
            people=[m.facts for m in made],
            warnings=[f"{name}: {sentence}" for name, m in zip(who, made, strict=True) for sentence in m.warnings],
        )
