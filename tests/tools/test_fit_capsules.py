"""Fitting capsules: distances, gradients and the program, on surfaces made of capsules and on the included body."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.spatial import KDTree

from mocap.bodies.capsules import CAPSULES, INCLUDED, load_capsules
from mocap.bodies.load import load_body


@pytest.fixture(scope="module")
def tool(repository: Path) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        spec = importlib.util.spec_from_file_location("fit_capsules", repository / "tools" / "fit_capsules.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "fit_capsules", module)
        spec.loader.exec_module(module)
        yield module


def apart(seed=0):
    """Capsules a metre from one another: ends and radii."""
    rng = np.random.default_rng(seed)
    centre = np.stack([np.arange(20) % 5, np.arange(20) // 5, np.zeros(20)], axis=1)
    way = rng.normal(size=(20, 3))
    way *= rng.uniform(0.05, 0.2, (20, 1)) / np.linalg.norm(way, axis=1, keepdims=True)
    return np.stack([centre - way, centre + way], axis=1), rng.uniform(0.04, 0.1, 20)


def surface_target(tool, ends, radii, each=3000, seed=1):
    """A body that is nothing but capsules."""
    rng = np.random.default_rng(seed)
    points = []
    for (a, b), r in zip(ends, radii, strict=True):
        length = np.linalg.norm(b - a)
        cap = rng.random(each) < 2 * r / (2 * r + length)
        out = rng.normal(size=(each, 3))
        axis = (b - a) / length
        out[~cap] -= (out[~cap] @ axis)[:, None] * axis
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        t = np.where(cap, (out @ axis) > 0, rng.random(each))
        points.append(a + t[:, None] * (b - a) + r * out)
    part = np.repeat(np.arange(20), each)
    points = np.concatenate(points)
    return tool.Target(points, part, KDTree(points))


def test_capsules_are_recovered_from_their_own_surface(tool):
    ends, radii = apart()
    target = surface_target(tool, ends, radii)
    middle, half = ends.mean(1), (ends[:, 1] - ends[:, 0]) / 2
    start = np.stack([middle - 0.7 * half, middle + 0.7 * half], axis=1) + 0.015
    found = tool.fitted(target, start, radii * 0.8, tool.axes(start)[1])
    np.testing.assert_allclose(found[0], ends, atol=0.004)
    np.testing.assert_allclose(found[1], radii, atol=0.002)
    to_capsule, to_surface = tool.measured(target, *found).T  # mm; the surface's points are some 5 mm apart
    assert (to_capsule < 1).all() and (to_surface < 6).all()
    assert (tool.measured(target, start, radii * 0.8) > tool.measured(target, *found)).all()


def test_without_shift_the_axis_stays_on_its_joints(tool):
    ends, radii = apart()
    start = ends + 0.01
    found, _ = tool.fitted(surface_target(tool, ends, radii), start, radii, tool.axes(start)[1], shift=False)
    np.testing.assert_allclose(found.mean(1), start.mean(1), atol=1e-12)


def test_a_capsule_without_length_is_a_ball_and_can_be_measured_and_fitted(tool):
    ends, radii = apart()
    balls = np.repeat(ends.mean(1)[:, None], 2, axis=1)
    target = surface_target(tool, balls + [[[0], [1e-4]]], radii)
    _, direction, half = tool.axes(balls)
    assert not half.any()
    np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1)
    to_capsule, _ = tool.measured(target, balls, radii).T
    assert (to_capsule < 1).all()
    found, r = tool.fitted(target, balls, 0.9 * radii, tool.axes(ends)[1])
    np.testing.assert_allclose(found, balls, atol=0.004)
    np.testing.assert_allclose(r, radii, atol=0.002)


def test_distances_are_those_a_point_and_a_segment_have(tool):
    ends, radii = apart()
    target = surface_target(tool, ends * 1.1, radii * 1.2, each=50)
    out, *_, near, _, _ = tool.distances(target, *tool.axes(ends), radii)
    for k in range(0, len(out), 37):
        a, b = ends[target.part[k]]
        along = np.linspace(0, 1, 20001)[:, None]
        expected = np.linalg.norm(a + along * (b - a) - target.points[k], axis=1).min() - radii[target.part[k]]
        assert out[k] == pytest.approx(expected, abs=1e-7)
    assert near.shape == (20, len(tool.ALONG))


def test_the_gradient_is_that_of_the_cost(tool, monkeypatch):
    ends, radii = apart()
    target = surface_target(tool, ends * 1.02, radii * 1.2, each=400)
    seen = {}

    def take(cost, x0, **options):
        seen["error"] = check_grad(lambda x: cost(x)[0], lambda x: cost(x)[1], x0 + 0.003, epsilon=1e-8)
        seen["size"] = np.linalg.norm(cost(x0 + 0.003)[1])
        raise InterruptedError

    monkeypatch.setattr(tool, "minimize", take)
    with pytest.raises(InterruptedError):
        tool.fitted(target, ends, radii, tool.axes(ends)[1])
    assert seen["error"] < 1e-3 * seen["size"]


def test_the_program_fits_a_users_file_and_says_how_near_before_and_after(tool, tmp_path, monkeypatch, capsys):
    body = load_body(gender="female")
    table = np.stack([body.parents, np.arange(24)])
    table[0, 0] = 2**32 - 1
    arrays = {k: getattr(body, k) for k in ("v_template", "shapedirs", "posedirs", "weights")}
    model = tmp_path / "body_female.npz"
    np.savez(model, **arrays, J_regressor=body.J_regressor.toarray(), kintree_table=table, f=body.faces)
    out = tmp_path / "capsules.npz"
    options = ["--model", str(model), "--out", str(out), "--shapes", "4", "--held-out", "2"]
    monkeypatch.setattr(tool, "SURFACE", 8000)
    monkeypatch.setattr(tool, "PART", 80)
    monkeypatch.setattr(sys, "argv", ["fit_capsules.py", *options])
    tool.main()
    mine = load_capsules(load_body(model), out)
    assert mine.names == CAPSULES
    shipped = load_capsules(body).mean  # of many more points and shapes; the end of a tapering arm is the least certain
    np.testing.assert_allclose(mine.mean[:, :6], shipped[:, :6], atol=0.04)
    np.testing.assert_allclose(mine.mean[:, 6], shipped[:, 6], atol=0.01)
    (facts,) = json.loads((tmp_path / "capsules_provenance.json").read_text())[
        "mean_distance_on_held_out_shapes"
    ].values()
    assert (facts["body"], facts["gender"]) == ("body_female", "female")
    figures = facts["held_out"]
    assert list(figures) == ["labelled", "round 1", "round 2"]
    for k, before in figures["labelled"].items():
        assert figures["round 1"][k] < 0.85 * before and figures["round 2"][k] < 0.85 * before
    told = capsys.readouterr().out
    assert "labelled" in told and "round 2" in told


def test_a_model_that_is_not_there_and_a_missing_name_are_told(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fit_capsules.py", "--model", str(tmp_path / "no.npz"), "--out", "x.npz"])
    with pytest.raises(SystemExit, match=r"Body model not found: .*no\.npz"):
        tool.main()
    monkeypatch.setattr(sys, "argv", ["fit_capsules.py", "--gender", "male"])
    with pytest.raises(SystemExit):
        tool.main()
    assert "--out" in capsys.readouterr().err


def test_every_part_of_the_surface_belongs_to_the_joint_that_leads_it(tool, monkeypatch):
    monkeypatch.setattr(tool, "SURFACE", 4000)
    body = load_body()
    surface = tool.surface_of(body)
    points = surface.points @ body.v_template.astype(float)
    np.testing.assert_allclose(surface.points.sum(1), 1)
    head = points[surface.part == CAPSULES.index("head")]
    assert head[:, 1].min() > 0.2
    free = points[surface.part == -1]  # fingers and toes
    assert ((np.abs(free[:, 0]) > 0.7) | (free[:, 1] < -1.15)).all()


def test_both_sides_are_made_mirror_images_and_what_is_symmetric_stays(tool):
    values = np.random.default_rng(3).normal(size=(20, 7, 2))
    once = tool.both_sides(values)
    np.testing.assert_allclose(tool.both_sides(once), once, atol=1e-12)
    left, right = (CAPSULES.index(f"{side}_elbow") for side in ("left", "right"))
    mirror = np.array([-1, 1, 1, -1, 1, 1, 1])[:, None]
    np.testing.assert_allclose(once[left], 0.5 * (values[left] + mirror * values[right]))
    np.testing.assert_allclose(once[right], mirror * once[left])
    spine, head = once[CAPSULES.index("spine2")], once[CAPSULES.index("head")]
    np.testing.assert_allclose(spine[:3], spine[3:6] * mirror[:3])
    assert not head[[0, 3]].any()


def test_what_ships_is_small(tool):
    assert INCLUDED.stat().st_size < 50_000
