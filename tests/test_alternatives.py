"""A stage that needs `a|b` is content with either, and says both where it has none."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from mocap import checkpoints, config, pipeline
from mocap.config import Step
from mocap.errors import DataError, FlowError
from mocap.options import options
from mocap.skeletons import COCO17
from mocap.stages.base import Stage
from mocap.take import Keypoints2D, Keypoints3D, Person, RunContext, Take
from mocap.yaml_tree import Located


@options
class Either(Stage):
    """Needs points of any kind."""

    needs: ClassVar = frozenset({"keypoints2d|keypoints3d"})

    def __call__(self, take: Take) -> Take:
        return take


STEP = Step("either", Either(), Located(None, "x.yml"))
IN_2D = Keypoints2D.of(COCO17, np.zeros(1), np.ones((1, 17, 2)), np.ones((1, 17)))
IN_3D = Keypoints3D.of(COCO17, np.ones((1, 17, 3)), np.ones((1, 17)), np.ones((1, 17, 3, 3)), np.ones((1, 17)))


def take(tmp_path, *people: Person) -> Take:
    return Take(RunContext(tmp_path), np.zeros(1), np.zeros(1, int), people=people).begun("either", "either")


def test_either_is_enough_and_every_person_must_have_the_same(tmp_path):
    flat, solid = Person(keypoints2d={"a": IN_2D}), Person(keypoints3d=IN_3D)
    for people in ((flat,), (solid,), (flat, flat)):
        pipeline.check_flow([STEP], take(tmp_path, *people))
        assert take(tmp_path, *people).has("keypoints3d|keypoints2d")
    for people in ((), (Person(),), (flat, solid)):
        assert not take(tmp_path, *people).has("keypoints3d|keypoints2d")


def test_with_neither_the_sentence_names_both_and_who_gives_them(tmp_path):
    with pytest.raises(FlowError) as caught:
        pipeline.check_flow([STEP], take(tmp_path))
    said = str(caught.value)
    assert "needs keypoints2d or keypoints3d" in said
    assert '"keypoints3d" is given by triangulate' in said and '"keypoints2d" is given by associate' in said
    with pytest.raises(DataError, match=r"needs keypoints2d or keypoints3d, .*no stage before it found any"):
        pipeline._called(STEP, take(tmp_path))


def test_help_says_or():
    assert "needs: keypoints2d or keypoints3d" in config.describe(Either)


def test_a_change_of_either_makes_a_stored_result_stale(tmp_path):
    flat = take(tmp_path, Person(keypoints2d={"a": IN_2D}))
    other = Keypoints2D.of(COCO17, np.zeros(1), np.full((1, 17, 2), 2.0), np.ones((1, 17)))
    made = [checkpoints._made_from(STEP, t) for t in (flat, take(tmp_path, Person(keypoints2d={"a": other})))]
    assert made[0]["inputs"]["keypoints2d"] != made[1]["inputs"]["keypoints2d"]
    assert made[0]["inputs"]["keypoints3d"] == made[1]["inputs"]["keypoints3d"]
    assert checkpoints._made_from(STEP, flat.replace(apart=True)) != made[0]


def test_a_stage_that_changes_what_kind_of_take_it_is_is_refused(tmp_path):
    class Meddles(Either):
        def __call__(self, take: Take) -> Take:
            return take.replace(apart=True)

    step = Step("either", Meddles(), Located(None, "x.yml"))
    with pytest.raises(DataError, match="changed apart"):
        pipeline._called(step, take(tmp_path, Person(keypoints2d={"a": IN_2D})))
