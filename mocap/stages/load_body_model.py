"""`load_body_model:` - the body every person is fitted with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal

from mocap import skeletons
from mocap.bodies.load import load_body, read_regressor
from mocap.bodies.model import BodyModel
from mocap.errors import DataError, ModelError
from mocap.stages.base import Stage, options
from mocap.take import Person, Take


@options
class LoadBodyModel(Stage):
    """The body model: the included one, or your own SMPL, SMPL-H, SMPL-X or MANO file."""

    needs: ClassVar = frozenset({"keypoints3d|keypoints2d"})
    gives: ClassVar = frozenset({"body"})
    cheap: ClassVar = True

    model: Literal["embedded"] | Path = "embedded"
    """"embedded" for the included body, a .pkl or .npz in SMPL's format, or a folder of them named by gender."""
    gender: Literal["neutral", "female", "male"] = "neutral"
    """Which of the included bodies, or which file of a folder; of unrelated pictures, where the dataset is silent."""
    regressor: Path | None = None
    """Your own keypoint regressor, .npy or .npz of shape (keypoints, vertices), over the posed mesh."""
    skeleton: str | None = None
    """The keypoints the regressor gives: body25, body25b, coco17, mediapipe33 or lsp14; else told by their number."""

    def _load(self, genders: Iterable[str]) -> dict[str, BodyModel]:
        """A body for each gender: one alone where the model is a file."""
        wanted = sorted(set(genders)) or [self.gender]
        if self.model != "embedded" and self.model.expanduser().is_file():
            body = load_body(self.model, gender=wanted[0], regressor=self.regressor, skeleton=self.skeleton)
            return dict.fromkeys(wanted, body)
        return {g: load_body(self.model, gender=g, regressor=self.regressor, skeleton=self.skeleton) for g in wanted}

    def _gender(self, take: Take, person: Person) -> str:
        """What the dataset says of the one picture a person is in, else the stage's."""
        view = next(iter(person.keypoints2d), None) if take.apart else None
        return take.genders.get(view, self.gender) if view is not None else self.gender

    def check(self, take: Take) -> None:
        """Reads the models, so that a bad file shows before the first frame."""
        bodies = self._load(take.genders.get(view, self.gender) for view in take.footage)
        points = [p.keypoints3d.skeleton for p in take.people if p.keypoints3d is not None]
        seen = take.footage or any(skeleton is not skeletons.SMPL24 for skeleton in points)
        for body in bodies.values():
            if not seen or body.regressors:  # no detector sees the model's own joints
                continue
            raise ModelError(
                f"{self.model} has {len(body.v_template)} vertices and no keypoints are known on such a mesh (SMPL has "
                "6890): name a file of shape (keypoints, vertices) with stages.load_body_model.regressor=FILE."
            )

    def __call__(self, take: Take) -> Take:
        """Puts the body into every person: the one of its gender where the dataset says it."""
        if not take.people:
            raise DataError(
                'There is nobody to give a body to: "load_body_model" needs keypoints3d or keypoints2d of somebody.'
            )
        genders = [self._gender(take, person) for person in take.people]
        bodies = self._load(genders)
        body = bodies[genders[0]]
        warnings = []
        if body.gender not in bodies or len(set(genders)) > len({b.content_hash for b in bodies.values()}):
            warnings.append(
                f"The model file {self.model} is {body.gender} by its name, not {' and '.join(sorted(bodies))} as "
                "asked for; a folder of files by gender, or the included body, has them all."
            )
        if self.regressor is not None and self.skeleton is None:
            name, _ = read_regressor(self.regressor.expanduser(), len(body.v_template), None)
            keypoints = len(skeletons.get(name))
            others = [n for n, s in skeletons.SKELETONS.items() if len(s) == keypoints and n != name]
            if others:
                warnings.append(
                    f"The regressor {self.regressor} gives {keypoints} keypoints and is taken for {name}; if it is "
                    f'{" or ".join(others)}, say so with "skeleton".'
                )
        take = take.with_people(body=[bodies[gender] for gender in genders])
        return take.reported(
            model=body.name,
            gender=body.gender,
            hash=body.content_hash,
            genders=dict(Counter(genders)),
            source=str(self.model),
            joints=body.n_joints,
            betas=body.n_betas,
            vertices=len(body.v_template),
            regressors=sorted(body.regressors),
            warnings=warnings,
        )
