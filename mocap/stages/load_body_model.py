"""`load_body_model:` - the body every person is fitted with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

from mocap import skeletons
from mocap.bodies.load import INCLUDED, load_body, read_regressor, sides_in
from mocap.bodies.model import MANO_JOINTS, BodyModel
from mocap.errors import DataError, ModelError
from mocap.skeletons import Skeleton
from mocap.stages.base import Stage, options
from mocap.take import Person, Take

Asked = tuple[str, str | None]
"""A gender, and what was seen: "left" or "right" for a hand, "hand" for one of which the side is not known yet,
"fingers" for a body with its fingers, "body" for one without, None where it is not known."""


def _seen(person: Person) -> Skeleton | None:
    views = person.keypoints2d.values()
    points = person.keypoints3d or next(iter(views), None)
    return None if points is None else points.skeleton


def _kind(skeleton: Skeleton | None) -> str | None:
    if skeleton is None:
        return None
    if skeleton is skeletons.HANDS42:
        return "hand"
    sides = [side for side, hand in skeletons.HANDS.items() if skeleton.has(*hand.joints)]
    if len(sides) == 1 and len(skeleton) == len(skeletons.HANDS[sides[0]]):
        return sides[0]
    return "fingers" if sides else "body"


@options
class LoadBodyModel(Stage):
    """The body model: the included one, or your own SMPL, SMPL-H, SMPL-X or MANO file."""

    needs: ClassVar = frozenset({"keypoints3d|keypoints2d"})
    gives: ClassVar = frozenset({"body"})
    cheap: ClassVar = True

    model: Literal["embedded", "embedded_hands", "embedded_left_hand", "embedded_right_hand"] | Path = "embedded"
    """"embedded" for the included body that goes with what was seen: a body, one with fingers, a left or a right hand
    (its four are also known by name); a .pkl or .npz in SMPL's format; or a folder of them named by gender, or for
    hands by side (MANO_LEFT.pkl, MANO_RIGHT.pkl)."""
    gender: Literal["neutral", "female", "male"] = "neutral"
    """Which of the included bodies, or which file of a folder; of unrelated pictures, where the dataset is silent."""
    regressor: Path | None = None
    """Your own keypoint regressor, .npy or .npz of shape (keypoints, vertices), over the posed mesh."""
    skeleton: str | None = None
    """The keypoints the regressor gives: body25, body25b, coco17, mediapipe33, lsp14, left_hand21 and so on; else told
    by their number."""

    def _load(self, asked: Iterable[Asked]) -> dict[Asked, BodyModel]:
        """A body for each; one and the same where the model is a file."""
        bodies: dict[Asked, BodyModel] = {}
        files: dict[str | None, BodyModel] = {}
        a_file = self.model not in INCLUDED and Path(self.model).expanduser().is_file()
        for gender, kind in sorted(set(asked), key=str):
            side = kind if kind in skeletons.HANDS else None
            model = self.model
            if model == "embedded" and kind in ("left", "right", "fingers"):
                model = "embedded_hands" if kind == "fingers" else f"embedded_{kind}_hand"
            if a_file and side in files:
                bodies[gender, kind] = files[side]
                continue
            body = load_body(model, gender=gender, regressor=self.regressor, skeleton=self.skeleton, side=side)
            self._agree(body, kind)
            bodies[gender, kind] = files[side] = body
        return bodies

    def _agree(self, body: BodyModel, kind: str | None) -> None:
        """ModelError where the model cannot show what was seen."""
        hand = body.n_joints == len(MANO_JOINTS)
        if kind == "hand" and not hand:
            raise ModelError(
                f"{self.model} is a model of whole bodies, but hands by themselves are looked for: give a MANO file, a "
                'folder with MANO_LEFT and MANO_RIGHT, or "embedded"; or detect bodies.'
            )
        if kind in ("body", "fingers") and hand:
            raise ModelError(
                f"{self.model} is a model of a hand, but whole bodies were seen: give a body, or detect with "
                '"detector: mediapipe_hands".'
            )
        if kind == "fingers" and "left_index1" not in body.joint_names:
            raise ModelError(
                f"{self.model} has no joints in its fingers, but fingers were seen: give an SMPL-H or SMPL-X file or "
                '"embedded", or leave out "detect_hands".'
            )

    def _gender(self, take: Take, person: Person) -> str:
        """What the dataset says of the one picture a person is in, else the stage's."""
        view = next(iter(person.keypoints2d), None) if take.apart else None
        return take.genders.get(view, self.gender) if view is not None else self.gender

    def check(self, take: Take) -> None:
        """Reads the models, so that a bad file shows before the first frame."""
        genders = [take.genders.get(view, self.gender) for view in take.footage] or [self.gender]
        kinds = {_kind(_seen(person)) for person in take.people} or {None}
        if kinds <= {"hand", None}:  # which hands is not known yet: those that a folder has are read
            sides = ("left", "right") if self.model == "embedded" and "hand" in kinds else sides_in(self.model)
            kinds = set(sides) or kinds
        bodies = self._load((gender, kind) for gender in genders for kind in kinds)
        points = [p.keypoints3d.skeleton for p in take.people if p.keypoints3d is not None]
        seen = take.footage or any(skeleton is not skeletons.SMPL24 for skeleton in points)
        for body in bodies.values():
            if not seen or body.regressors:  # no detector sees the model's own joints
                continue
            raise ModelError(
                f"{self.model} has {len(body.v_template)} vertices and no keypoints are known on such a mesh (SMPL has "
                "6890, SMPL-X 10475, MANO 778): name a file of shape (keypoints, vertices) with "
                "stages.load_body_model.regressor=FILE."
            )

    def __call__(self, take: Take) -> Take:
        """Puts the body into every person: the one of its gender where the dataset says it, and of its side."""
        if not take.people:
            raise DataError(
                'There is nobody to give a body to: "load_body_model" needs keypoints3d or keypoints2d of somebody.'
            )
        asked = [(self._gender(take, person), _kind(_seen(person))) for person in take.people]
        loaded = self._load(asked)
        bodies = [loaded[one] for one in asked]
        genders = [gender for gender, _ in asked]
        warnings = []
        others = [b for b, g in zip(bodies, genders, strict=True) if b.gender != g and b.n_joints != len(MANO_JOINTS)]
        if others:
            wanted = " and ".join(sorted(set(genders)))
            warnings.append(
                f"The model file {self.model} is {others[0].gender} by its name, not {wanted} as asked for; a folder "
                "of files by gender, or the included body, has them all."
            )
        if self.regressor is not None and self.skeleton is None:
            name, _ = read_regressor(self.regressor.expanduser(), len(bodies[0].v_template), None)
            keypoints = len(skeletons.get(name))
            also = [n for n, s in skeletons.SKELETONS.items() if len(s) == keypoints and n != name]
            if also:
                warnings.append(
                    f"The regressor {self.regressor} gives {keypoints} keypoints and is taken for {name}; if it is "
                    f'{" or ".join(also)}, say so with "skeleton".'
                )
        take = take.with_people(body=bodies)

        def told(values: Iterable[Any]) -> Any:
            """One value where all people have the same, else all there are."""
            different = list(dict.fromkeys(values))
            return different[0] if len(different) == 1 else different

        return take.reported(
            model=told(b.name for b in bodies),
            gender=told(b.gender for b in bodies),
            hash=told(b.content_hash for b in bodies),
            genders=dict(Counter(genders)),
            source=str(self.model),
            joints=told(b.n_joints for b in bodies),
            betas=told(b.n_betas for b in bodies),
            vertices=told(len(b.v_template) for b in bodies),
            regressors=sorted({name for b in bodies for name in b.regressors}),
            warnings=warnings,
        )
