"""`load_body_model:` - the body every person is fitted with."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from mocap import skeletons
from mocap.bodies.load import load_body, read_regressor
from mocap.bodies.model import BodyModel
from mocap.errors import DataError, ModelError
from mocap.stages.base import Stage, options
from mocap.take import Take


@options
class LoadBodyModel(Stage):
    """The body model: the included one, or your own SMPL, SMPL-H, SMPL-X or MANO file."""

    needs: ClassVar = frozenset({"keypoints3d"})
    gives: ClassVar = frozenset({"body"})
    cheap: ClassVar = True

    model: Literal["embedded"] | Path = "embedded"
    """"embedded" for the included body, a .pkl or .npz in SMPL's format, or a folder of them named by gender."""
    gender: Literal["neutral", "female", "male"] = "neutral"
    """Which of the included bodies, or which file of a folder."""
    regressor: Path | None = None
    """Your own keypoint regressor, .npy or .npz of shape (keypoints, vertices), over the posed mesh."""
    skeleton: str | None = None
    """The keypoints the regressor gives: body25, body25b, coco17, mediapipe33 or lsp14; else told by their number."""

    def _load(self) -> BodyModel:
        return load_body(self.model, gender=self.gender, regressor=self.regressor, skeleton=self.skeleton)

    def check(self, take: Take) -> None:
        """Reads the model, so that a bad file shows before the first frame."""
        body = self._load()
        points = [p.keypoints3d.skeleton for p in take.people if p.keypoints3d is not None]
        seen = take.footage or any(skeleton is not skeletons.SMPL24 for skeleton in points)
        if seen and not body.regressors:  # no detector sees the model's own joints
            raise ModelError(
                f"{self.model} has {len(body.v_template)} vertices and no keypoints are known on such a mesh (SMPL has "
                "6890): name a file of shape (keypoints, vertices) with stages.load_body_model.regressor=FILE."
            )

    def __call__(self, take: Take) -> Take:
        """Puts the body into every person."""
        if not take.people:
            raise DataError('There is nobody to give a body to: "load_body_model" needs keypoints3d of somebody.')
        body = self._load()
        warnings = []
        if body.gender != self.gender:
            warnings.append(
                f"The model file {self.model} is {body.gender} by its name, not {self.gender} as asked for."
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
        take = take.with_people(body=[body] * len(take.people))
        return take.reported(
            model=body.name,
            gender=body.gender,
            hash=body.content_hash,
            source=str(self.model),
            joints=body.n_joints,
            betas=body.n_betas,
            vertices=len(body.v_template),
            regressors=sorted(body.regressors),
            warnings=warnings,
        )
