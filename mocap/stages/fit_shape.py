"""Stage `fit_shape`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from annotated_types import Gt, Le
from pydantic import PositiveFloat

from mocap.bodies.ranges import is_hand
from mocap.fit.shape import fit_shape
from mocap.stages.base import Stage, options
from mocap.take import Take, called


@options
class FitShape(Stage):
    """Shape of the body from the lengths of limbs in 3D over all frames."""

    needs: ClassVar = frozenset({"keypoints3d", "body"})
    gives: ClassVar = frozenset({"shape"})

    model_sigma: PositiveFloat = 0.004
    """How far a perfectly measured limb may be from the model's [m]; half of it for the short bones of hands."""
    prior: PositiveFloat = 1.0
    """Weight of the population's own distribution of shapes."""
    stature: Annotated[float, Gt(0.4), Le(2.8)] | None = None
    """The person's height when known [m]; not of a hand by itself."""

    def __call__(self, take: Take) -> Take:
        """One shape a person."""
        fits = []
        for person in take.people:
            assert person.body is not None and person.keypoints3d is not None
            fits.append(
                fit_shape(
                    person.body,
                    person.keypoints3d,
                    model_sigma=self.model_sigma,
                    prior_weight=self.prior,
                    stature=self.stature,
                )
            )
        facts = []
        for person, fit in zip(take.people, fits, strict=True):
            assert person.keypoints3d is not None and person.body is not None
            size = "hand_length" if is_hand(person.body) else "stature"
            limbs = ["-".join(limb) for limb in person.keypoints3d.skeleton.limbs]
            facts.append(
                {
                    size: fit.stature,
                    "betas": fit.betas.tolist(),
                    "betas_sigma": fit.sigma.tolist(),
                    "converged": fit.converged,
                    "limbs": {
                        name: {"measured": float(m), "fitted": float(f), "spread": float(s), "frames": int(n)}
                        for name, m, f, s, n in zip(
                            limbs, fit.limbs.length, fit.fitted, fit.limbs.spread, fit.limbs.frames, strict=True
                        )
                        if n
                    },
                }
            )
        warnings = []
        for who, fit in zip(called([person.side for person in take.people]), fits, strict=True):
            if not 0.75 < fit.size_ratio < 1.35:
                warnings.append(
                    f"The limbs of {who} are {fit.size_ratio:.3g} times as long as the body's can be: is the "
                    "unit of the calibration right (`unit:` in the dataset file), or that of the body model?"
                )
            if not fit.converged:
                warnings.append(f"The shape of {who} did not converge: its limb lengths contradict each other.")
        made = take.with_people(shape=[f.betas for f in fits]).reported(people=facts)
        return made.reported(warnings=warnings) if warnings else made
