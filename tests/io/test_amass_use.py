"""amass.npz, loaded and posed as AMASS' users do."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import random_motion

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
        "root_orient": torch.tensor(bdata["poses"][:, :3]),
        "pose_body": torch.tensor(bdata["poses"][:, 3:66]),
        "trans": torch.tensor(bdata["trans"]),
        "betas": torch.tensor(np.repeat(bdata["betas"][: body.n_betas][None], FRAMES, axis=0)),
    }
    bdata.close()
    tensor = lambda x: torch.tensor(np.asarray(x), dtype=torch.float64)  # noqa: E731
    hands = torch.zeros(FRAMES, 6, dtype=torch.float64)
    vertices, joints = lbs.lbs(
        parms["betas"],
        torch.cat([parms["root_orient"], parms["pose_body"], hands], dim=1),
        tensor(body.v_template),
        tensor(body.shapedirs[..., : parms["betas"].shape[1]]),
        tensor(body.posedirs.reshape(-1, body.posedirs.shape[-1]).T),
        tensor(body.J_regressor.toarray()),
        torch.tensor(np.asarray(body.parents).astype(np.int64)),
        tensor(body.weights),
    )
    place = parms["trans"][:, None]
    np.testing.assert_allclose((joints + place).numpy(), joints_of(body, betas, Rh, Th, poses), atol=1e-5)
    np.testing.assert_allclose((vertices + place).numpy(), vertices_of(body, betas, Rh, Th, poses), atol=1e-5)
