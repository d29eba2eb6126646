"""`smplify:` - a body from one camera: single pictures each by itself, or a video as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Len
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mocap.errors import DataError
from mocap.fit.one_camera import TOGETHER, fit_video
from mocap.fit.smplify import STAGES, Weights, fit_pictures, in_unit_camera, in_world
from mocap.geometry.cameras import Camera
from mocap.geometry.times import nearest
from mocap.registry import Named
from mocap.stages.base import Stage, options
from mocap.take import Keypoints2D, Person, Take
from mocap.terms.base import Term
from mocap.terms.capsules import Capsules
from mocap.terms.hinges import Hinges
from mocap.terms.k2d import K2d
from mocap.terms.prior import Prior
from mocap.terms.smooth import Smooth


@options
class Smplify(Stage):
    """Pose and shape from the 2D joints of one camera (Bogo et al., "Keep it SMPL", ECCV 2016).

    Pictures are fitted each by itself, all at once. Of a video keyframes are fitted as pictures, and from these all
    frames together, with one shape and smoothness.
    """

    needs: ClassVar = frozenset({"rig", "keypoints2d", "body"})
    gives: ClassVar = frozenset({"motion", "shape"})

    losses: Annotated[Mapping[str, Term], Named("mocap.terms", "loss"), Len(min_length=1)] = Field(
        default_factory=lambda: {
            "k2d": K2d(),
            "prior": Prior(weight=1.0),
            "hinges": Hinges(),
            "capsules": Capsules(),
            "smooth": Smooth(sigma=20.0, sigma_root=5.0, weight=23.0),
        }
    )
    """What is minimised, by name; `smooth` counts in videos only."""
    stages: Annotated[tuple[Weights, ...], Len(min_length=1)] = STAGES
    """One after the other, with less and less said about poses and shapes beforehand; the paper's four."""
    together: Weights = TOGETHER
    """Of a video, after its keyframes went through the stages."""
    side_on: NonNegativeFloat = 25.0
    """Shoulders less than this apart: both ways to face are tried [px of a person 150 px tall]."""
    mirror: bool = True
    """Of pictures: whether each limb is tried pointing toward the camera where it pointed away, too; the paper's is
    not."""
    move: bool = True
    """Whether the body's place is fitted in the stages too; false: it stays where the torso puts it, as the paper's."""
    max_iterations: PositiveInt = 100
    """Of each stage."""
    tolerance: PositiveFloat = 1e-4
    """A stage has converged when a step lowers the cost by less than this part of it."""

    def check(self, take: Take) -> None:
        """Reads the files of the losses, of which only `k2d` may compare with what was seen; one camera it must be."""
        for label, term in self.losses.items():
            if term.needs & {"keypoints2d", "keypoints3d"} and not isinstance(term, K2d):
                raise DataError(f"smplify.losses.{label} is a loss for several cameras: one camera's is k2d.")
            term.check()
        if not take.apart and take.rig is not None and len(take.rig) > 1:
            raise DataError(
                f"smplify fits what one camera sees, and this take has {len(take.rig)} ({', '.join(take.rig.names)}): "
                f"say --subs {take.rig.names[0]}, or use --exp config/fitSMPL.yml for all of them together."
            )

    def __call__(self, take: Take) -> Take:
        """Motion and shape in the world; the report says how each fit ended and which way was taken."""
        if any(person.side for person in take.people):
            raise DataError(
                "smplify fits whole bodies, and hands by themselves were detected: one camera does not tell how far "
                "away a hand is. Film it with two or more calibrated cameras, for --exp config/fitMANO.yml."
            )
        return self._pictures(take) if take.apart or len(take.timestamps) == 1 else self._video(take)

    def _pictures(self, take: Take) -> Take:
        motions: list[Any] = [None] * len(take.people)
        shapes: list[Any] = [None] * len(take.people)
        facts: list[Any] = [None] * len(take.people)
        warnings = []
        losses = {label: term for label, term in self.losses.items() if not isinstance(term, Smooth)}
        groups: dict[tuple[str, str], list[int]] = {}
        for i, person in enumerate(take.people):
            assert person.body is not None
            groups.setdefault((person.body.content_hash, _seen(person).skeleton.name), []).append(i)
        passes = []
        for members in groups.values():
            people = [take.people[i] for i in members]
            cameras = [_camera(take, person) for person in people]
            plane = np.stack([c.undistort(_seen(p).xy[0]) for c, p in zip(cameras, people, strict=True)])
            confidence = np.stack([_seen(p).confidence[0] for p in people])
            body = people[0].body
            assert body is not None
            fit = fit_pictures(
                body,
                in_unit_camera(_seen(people[0]).skeleton, plane, confidence),
                losses,
                stages=self.stages,
                side_on=self.side_on,
                mirror=self.mirror,
                move=self.move,
                max_iterations=self.max_iterations,
                tolerance=self.tolerance,
            )
            passes.append({"body": body.gender, "pictures": len(members)})
            passes[-1] |= {label: {"iterations": s.iterations, **s.reasons} for label, s in fit.passes.items()}
            for row, i in enumerate(members):
                motions[i] = in_world(fit.state.at(np.array([row])), cameras[row])
                shapes[i] = fit.state.betas[row]
                facts[i] = {
                    "view": cameras[row].name,
                    "converged": bool(fit.converged[row]),
                    "cost": float(fit.cost[row]),
                    "from_side": bool(fit.tried_both[row]),
                    "half_turned": bool(fit.turned[row]),
                    "limb_mirrored": bool(fit.mirrored[row]),
                    "cost_of_other_way": float(fit.other_cost[row]) if fit.tried_both[row] else None,
                    "betas": fit.state.betas[row].tolist(),
                }
        unfinished = [f["view"] for f in facts if not f["converged"]]
        if unfinished:
            warnings.append(
                f"{len(unfinished)} of {len(facts)} fits stopped before they converged ({', '.join(unfinished[:5])}"
                f"{', ...' if len(unfinished) > 5 else ''}): raise stages.smplify.max_iterations, or look at them."
            )
        return take.with_people(motion=motions, shape=shapes).reported(people=facts, passes=passes, warnings=warnings)

    def _video(self, take: Take) -> Take:
        motions, shapes, facts, warnings = [], [], [], []
        for number, person in enumerate(take.people):
            camera, seen = _camera(take, person), _seen(person)
            assert person.body is not None
            clock = take.timestamps
            index, there = nearest(clock, seen.timestamps, reach=0.25 / take.fps)
            plane = np.where(there[:, None, None], camera.undistort(seen.xy)[index], np.nan)
            confidence = np.where(there[:, None], seen.confidence[index], 0.0)
            fit = fit_video(
                person.body,
                in_unit_camera(seen.skeleton, plane, confidence),
                self.losses,
                clock,
                stages=self.stages,
                weights=self.together,
                side_on=self.side_on,
                max_iterations=self.max_iterations,
                tolerance=self.tolerance,
            )
            motions.append(in_world(fit.state, camera))
            shapes.append(fit.state.betas)
            facts.append(
                {
                    "view": camera.name,
                    "converged": fit.converged,
                    "keyframes": len(fit.keys),
                    "keyframes_turned_by_movement": fit.turned,
                    "limbs_of_keyframes_unflipped_by_movement": fit.unflipped,
                    "frames_left_and_right_exchanged": fit.swapped,
                    "frames_nobody_seen": int((~(confidence > 0).any(1)).sum()),
                    "betas": fit.state.betas.tolist(),
                    "stature": person.body.stature(fit.state.betas),
                    "passes": {label: s.facts() for label, s in fit.passes.items()},
                }
            )
            if not fit.converged:
                warnings.append(
                    f"The fit of person {number} stopped before it converged "
                    f"({', '.join(fit.passes['take'].reasons)}): raise stages.smplify.max_iterations, or look at it."
                )
        return take.with_people(motion=motions, shape=shapes).reported(people=facts, warnings=warnings)


def _seen(person: Person) -> Keypoints2D:
    return next(iter(person.keypoints2d.values()))


def _camera(take: Take, person: Person) -> Camera:
    assert take.rig is not None
    if len(person.keypoints2d) != 1:
        raise DataError(
            f"smplify fits what one camera sees, and a person was seen by {', '.join(person.keypoints2d) or 'none'}: "
            "choose one with --subs."
        )
    return take.rig[next(iter(person.keypoints2d))]
