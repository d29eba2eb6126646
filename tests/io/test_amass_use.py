"""amass.npz, loaded and posed as AMASS' users do."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import random_motion, toy_smplh, toy_smplx

from mocap.bodies.kinematics import joints_of, vertices_of
from mocap.bodies.load import load_body
from mocap.io.results import write_amass
from mocap.take import Motion

FRAMES = 4


def test_a_body_posed_from_the_file_by_smplx_is_the_fit(tmp_path):
    """root_orient, pose_body and trans as in AMASS' notebooks, through smplx's own linear blend skinning."""
    torch = pytest.importorskip("torch", reason="smplx (an extra) and torch are the independent reference")
    lbs = pytest.importorskip("smplx.lbs", reason="smplx (an extra) is the independent reference")
    body, betas = load_body(), np.array([0.5, -1.0, 2.0])
    Rh, Th, poses = random_motion(3, FRAMES)
    poses[:, 21:] = 0  # SMPL's hands, which SMPL-H has not
    notes = write_amass(tmp_path / "a.npz", body=body, betas=betas, motion=Motion(Rh, Th, poses), fps=120.0)
    assert not notes

    bdata = np.load(tmp_path / "a.npz")
    assert float(bdata["mocap_framerate"]) == 120 and str(bdata["gender"]) == body.gender
    assert bdata["poses"].shape == (len(bdata["trans"]), 156) and len(bdata["betas"]) == 16
    parms = {
        "root_orient": bdata["poses"][:, :3],
        "pose_body": bdata["poses"][:, 3:66],
        "trans": bdata["trans"],
        "betas": np.repeat(bdata["betas"][: body.n_betas][None], FRAMES, axis=0),
    }
    bdata.close()
    full = np.concatenate([parms["root_orient"], parms["pose_body"], np.zeros((FRAMES, 6))], axis=1)
    vertices, joints = posed(torch, lbs, body, parms["betas"], full)
    place = parms["trans"][:, None]
    np.testing.assert_allclose(joints + place, joints_of(body, betas, Rh, Th, poses), atol=1e-5)
    np.testing.assert_allclose(vertices + place, vertices_of(body, betas, Rh, Th, poses), atol=1e-5)


@pytest.mark.parametrize("make", [toy_smplh, toy_smplx])
def test_fingers_and_face_posed_from_the_file_are_the_fits(tmp_path, make):
    torch = pytest.importorskip("torch", reason="smplx (an extra) and torch are the independent reference")
    lbs = pytest.importorskip("smplx.lbs", reason="smplx (an extra) is the independent reference")
    body, betas = make(1), np.array([0.5, -1.0, 2.0, 0.4])
    Rh, Th, poses = random_motion(3, FRAMES, body.n_joints)
    assert not write_amass(tmp_path / "a.npz", body=body, betas=betas, motion=Motion(Rh, Th, poses), fps=120.0)
    with np.load(tmp_path / "a.npz") as file:
        a = dict(file)
    full = a["poses"]
    if make is toy_smplx:  # AMASS' SMPL-X files have the parts beside the whole, and another name for the rate
        assert str(a["surface_model_type"]) == "smplx" and float(a["mocap_frame_rate"]) == 120
        assert float(a["mocap_time_length"]) == pytest.approx(FRAMES / 120) and int(a["num_betas"]) == 16
        order = ("root_orient", "pose_body", "pose_jaw", "pose_eye", "pose_hand")
        assert [a[name].shape[1] for name in order] == [3, 63, 3, 6, 90]
        np.testing.assert_array_equal(np.concatenate([a[name] for name in order], axis=1), full)
    else:
        assert float(a["mocap_framerate"]) == 120 and full.shape == (FRAMES, 156)
    vertices, joints = posed(torch, lbs, body, np.repeat(a["betas"][None, :4], FRAMES, axis=0), full)
    np.testing.assert_allclose(joints + a["trans"][:, None], joints_of(body, betas, Rh, Th, poses), atol=1e-5)
    np.testing.assert_allclose(vertices + a["trans"][:, None], vertices_of(body, betas, Rh, Th, poses), atol=1e-5)


def posed(torch, lbs, body, betas, full) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints by smplx's linear blend skinning, without translation."""
    tensor = lambda x: torch.tensor(np.asarray(x), dtype=torch.float64)  # noqa: E731
    found = lbs.lbs(
        tensor(betas),
        tensor(full),
        tensor(body.v_template),
        tensor(body.shapedirs[..., : betas.shape[1]]),
        tensor(body.posedirs.reshape(-1, body.posedirs.shape[-1]).T),
        tensor(body.J_regressor.toarray()),
        torch.tensor(np.asarray(body.parents).astype(np.int64)),
        tensor(body.weights),
    )
    return found[0].numpy(), found[1].numpy()
