"""Stage `refine_poses`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from mocap.bodies.ranges import is_hand
from mocap.errors import FlowError, SolveError
from mocap.fit.motion import MotionFit, distance, fit_motion
from mocap.fit.shape import size_of
from mocap.fit.uncertainty import correlation, joint_sigma
from mocap.geometry.cameras import Rig
from mocap.registry import Named
from mocap.stages.base import Stage, options
from mocap.take import Motion, Take, called
from mocap.terms.base import Data, Term
from mocap.terms.fingers import BoundFingers, Fingers
from mocap.terms.ground import Ground
from mocap.terms.k3d import BoundK3d, K3d
from mocap.terms.limits import BoundLimits, Limits
from mocap.terms.prior import BoundPrior, Prior
from mocap.terms.rest import BoundRest
from mocap.terms.smooth import BoundSmooth, Smooth

_ALIKE = 0.3
"""A correlation of errors of neighbouring frames that makes error bars too small."""
_LONG_UNSEEN = 0.5
"""[s]"""
_FAR = (0.1, 0.02)
"""A median distance from the points that no person of the body's shape explains, and no hand [m]."""


@options
class RefinePoses(Stage):
    """Poses of all frames at once, by Levenberg-Marquardt over the losses."""

    needs: ClassVar = frozenset({"keypoints3d", "body", "shape", "motion"})
    gives: ClassVar = frozenset({"shape", "motion"})

    losses: Annotated[Mapping[str, Term], Named("mocap.terms", "loss"), Field(min_length=1)] = Field(
        default_factory=lambda: {
            "k3d": K3d(),
            "smooth": Smooth(),
            "limits": Limits(),
            "prior": Prior(),
            "fingers": Fingers(),
            "ground": Ground(),
        }
    )
    """What is minimised, by name: k3d, refine_2d, smooth, limits, prior, fingers, rest, ground."""
    shape: bool = True
    """Whether the shape is refined together with the poses."""
    max_iterations: PositiveInt = 50
    """Of each pass; a pass that spends them is reported as not converged."""
    tolerance: PositiveFloat = 4e-3
    """The fit has converged when a step lowers the cost by less than this part of it."""
    error_bars: bool = True
    """Whether to tell how well each joint's position is known."""

    def check(self, take: Take) -> None:
        """Reads the files of the losses."""
        for term in self.losses.values():
            term.check()

    def __call__(self, take: Take) -> Take:
        """Motion and shape, with the cost by term and why each pass stopped."""
        motions, shapes, facts, warnings = [], [], [], []
        apart = 0.0
        rig = take.rig or (Rig((), has_floor=True) if take.has_floor else None)
        for who, person in zip(called([person.side for person in take.people]), take.people, strict=True):
            assert person.body is not None and person.shape is not None and person.motion is not None
            data = Data(person.body, take.timestamps, person.keypoints3d, person.keypoints2d or None, rig)
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
                tolerance=self.tolerance,
            )
            motion, told = fit.motion, {}
            if self.error_bars:
                began = time.perf_counter()
                motion, told = self._with_error_bars(fit, who, warnings)
                apart += time.perf_counter() - began
            motions.append(motion)
            shapes.append(fit.betas)
            hand = is_hand(person.body)
            off = distance(data, fit.motion, fit.betas)
            facts.append(
                {
                    "converged": fit.converged,
                    "distance": off,
                    "betas": fit.betas.tolist(),
                    "hand_length" if hand else "stature": size_of(person.body, fit.betas),
                    "passes": {k: s.facts() for k, s in fit.passes.items()},
                    "told_by_the_take": fit.scales,
                    **told,
                }
            )
            if off > (_FAR[1] if hand else _FAR[0]):
                warnings.append(
                    f"The body of {who} lies {off:.3g} m from the triangulated points at the median: this "
                    "fit cannot be used. Look at the unit of the calibration, the body model and the overlay."
                )
            elif not fit.converged:
                ended = list(fit.passes.values())[-1]
                warnings.append(
                    f"The fit of {who} stopped before it converged ({', '.join(ended.reasons)}) after "
                    f"{ended.iterations} iterations: raise stages.refine_poses.max_iterations, or look at its data."
                )
        made = take.with_people(motion=motions, shape=shapes).reported(people=facts)
        if self.error_bars:
            made = made.reported(seconds_apart={"error_bars": apart})
        return made.reported(warnings=warnings) if warnings else made

    def _with_error_bars(self, fit: MotionFit, who: str, warnings: list[str]) -> tuple[Motion, dict[str, object]]:
        """The motion with error bars, and what to report of them."""
        try:
            sigma = joint_sigma(fit.problem, fit.state)
        except SolveError as error:
            warnings.append(f"There are no error bars of {who}: {error}")
            return fit.motion, {}
        names = fit.problem.rig.body.joint_names
        size = np.sqrt((sigma.astype(float) ** 2).mean(-1))
        return dataclasses.replace(fit.motion, joint_sigma=sigma), {
            "joint_sigma": {
                "median": float(np.median(size)),
                "by_joint": dict(zip(names, np.median(size, axis=0).tolist(), strict=True)),
                "assumes": _assumptions(fit),
            }
        }


def _assumptions(fit: MotionFit) -> list[str]:
    """What the error bars take for granted, and where that makes them too small."""
    told = [
        "Points that sit elsewhere on the body than the model's, the same way in every frame, are in these bars only "
        "as far as `place` of k3d says."
    ]
    alike = correlation(fit.problem, fit.state)
    if alike is not None and alike > _ALIKE:
        told.append(
            f"Errors of neighbouring frames are alike (correlation {alike:.2f}) and are taken as independent: the bars "
            f"are too small, by up to {np.sqrt((1 + alike) / (1 - alike)):.1f} times."
        )
    terms = fit.problem.terms
    clock = [t.timestamps for t in terms.values() if isinstance(t, BoundSmooth)]
    unseen = max((t.longest_gap() for t in terms.values() if isinstance(t, BoundK3d)), default=0)
    if clock and unseen * np.median(np.diff(clock[0])) > _LONG_UNSEEN:
        told.append(
            f"Some keypoint was not seen for {unseen} frames in a row: bars of joints unseen for longer than half a "
            "second are too small, since real motion goes on in one direction for longer than the losses expect."
        )
    if not fit.converged:
        told.append("The fit did not converge: the bars are of where it stopped.")
    for label, term in terms.items():
        if isinstance(term, BoundK3d) and not term.estimated.any():
            told.append(f"The expected error of {label} was given, not told by the take.")
    if not any(isinstance(t, (BoundPrior, BoundLimits, BoundFingers, BoundRest)) for t in terms.values()):
        told.append("No loss tells about joints that were not seen; theirs mean little.")
    return told
