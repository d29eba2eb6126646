"""Stage `refine_poses`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt

from mocap.errors import FlowError
from mocap.fit.motion import distance, fit_motion
from mocap.registry import Named
from mocap.stages.base import Stage, options
from mocap.take import Take
from mocap.terms.base import Data, Term
from mocap.terms.k3d import K3d
from mocap.terms.limits import Limits
from mocap.terms.smooth import Smooth

_FAR = 0.1
"""A median distance from the points that no person of the body's shape explains [m]."""


@options
class RefinePoses(Stage):
    """Poses of all frames at once, by Levenberg-Marquardt over the losses."""

    needs: ClassVar = frozenset({"keypoints3d", "body", "shape", "motion"})
    gives: ClassVar = frozenset({"shape", "motion"})

    losses: Annotated[Mapping[str, Term], Named("mocap.terms", "loss"), Field(min_length=1)] = Field(
        default_factory=lambda: {"k3d": K3d(), "smooth": Smooth(), "limits": Limits()}
    )
    """What is minimised, by name: k3d, smooth, limits, prior, k2d."""
    shape: bool = True
    """Whether the shape is refined together with the poses."""
    max_iterations: PositiveInt = 50
    """Of each pass; a pass that spends them is reported as not converged."""

    def check(self, take: Take) -> None:
        """Reads the files of the losses."""
        for term in self.losses.values():
            term.check()

    def __call__(self, take: Take) -> Take:
        """Motion and shape, with the cost by term and why each pass stopped."""
        motions, shapes, facts, warnings = [], [], [], []
        for number, person in enumerate(take.people):
            assert person.body is not None and person.shape is not None and person.motion is not None
            data = Data(person.body, take.timestamps, person.keypoints3d, person.keypoints2d or None, take.rig)
            for label, term in self.losses.items():
                missing = [n for n in term.needs if getattr(data, n) is None]
                if missing:
                    raise FlowError(f"refine_poses.losses.{label}", missing, {})
            fit = fit_motion(
                data,
                self.losses,
                betas=person.shape,
                motion=person.motion,
                free_shape=self.shape,
                max_iterations=self.max_iterations,
            )
            motions.append(fit.motion)
            shapes.append(fit.betas)
            off = distance(data, fit.motion, fit.betas)
            facts.append(
                {
                    "distance": off,
                    "betas": fit.betas.tolist(),
                    "stature": person.body.stature(fit.betas),
                    "passes": {k: s.facts() for k, s in fit.passes.items()},
                }
            )
            if off > _FAR:
                warnings.append(
                    f"The body of person {number} lies {off:.2f} m from the triangulated points at the median: this "
                    "fit cannot be used. Look at the unit of the calibration, the body model and the overlay."
                )
            elif not fit.converged:
                ended = list(fit.passes.values())[-1]
                warnings.append(
                    f"The fit of person {number} stopped before it converged ({', '.join(ended.reasons)}) after "
                    f"{ended.iterations} iterations: raise stages.refine_poses.max_iterations, or look at its data."
                )
        made = take.with_people(motion=motions, shape=shapes).reported(people=facts)
        return made.reported(warnings=warnings) if warnings else made
