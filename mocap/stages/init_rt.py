"""Stage `init_rt`."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mocap.bodies.ranges import is_hand
from mocap.fit.root import fit_root
from mocap.geometry import rotations
from mocap.stages.base import Stage, options
from mocap.take import Motion, Take


@options
class InitRT(Stage):
    """Where the body is and which way it faces (Th, Rh), in closed form from the torso, or from the palm of a hand by
    itself; gaps interpolated."""

    needs: ClassVar = frozenset({"keypoints3d", "body", "shape"})
    gives: ClassVar = frozenset({"motion"})

    def __call__(self, take: Take) -> Take:
        """A motion with its poses at rest."""
        motions, facts = [], []
        for person in take.people:
            assert person.body is not None and person.keypoints3d is not None and person.shape is not None
            fit = fit_root(person.body, person.shape, person.keypoints3d, take.timestamps)
            motions.append(Motion(rotations.log(fit.R), fit.Th, np.zeros((len(fit.R), person.body.n_joints - 1, 3))))
            facts.append(
                {
                    "frames": len(fit.R),
                    "frames_interpolated": int((~fit.seen).sum()),
                    "palm_error" if is_hand(person.body) else "torso_error": float(np.nanmedian(fit.error)),
                }
            )
        return take.with_people(motion=motions).reported(people=facts)
