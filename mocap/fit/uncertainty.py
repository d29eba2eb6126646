"""How well each joint's position is known: error bars from the curvature of the objective at its minimum."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from mocap.bodies import kinematics
from mocap.fit.scales import left_over
from mocap.skeletons import Skeleton
from mocap.solve.covariance import marginals
from mocap.solve.problem import CoupledSystem, Problem, State
from mocap.terms.k3d import BoundK3d

_SECOND_OPINION = 0.3
"""What a frame adds to what its neighbours said, of losses that judge poses: chosen on synthetic takes, where bars of
joints without a keypoint of their own (spine, collars) hold 70 to 73 % then, and 63 to 68 % with 1."""
_DAMPING = 1e-9
"""Relative: keeps parameters that nothing tells from making the matrix singular."""


def correlation(problem: Problem, state: State) -> float | None:
    """How alike errors of neighbouring frames are: the median over keypoints of what is left, frame by frame; None
    without 3D points. Near 0 where the noise is as the losses take it."""
    told = []
    for term in problem.terms.values():
        if isinstance(term, BoundK3d):
            left = left_over(term, problem.rig, state)
            left = left - np.nanmedian(left, axis=0)
            with np.errstate(invalid="ignore", divide="ignore"):
                told.append(np.nanmean(left[1:] * left[:-1], axis=0) / np.nanmean(left**2, axis=0))
    if not told or not np.isfinite(told).any():
        return None
    return float(np.nanmedian(told))


def joint_sigma(problem: Problem, state: State) -> Float[np.ndarray, "frames joints 3"]:
    """Standard deviation of every joint's world position, per axis [m].

    The marginal of the Gaussian that the losses amount to around the solution (Laplace's approximation), with the
    betas' own uncertainty in it. It is as right as the losses are: expected errors of the points that were told from
    the take, accelerations of the size that was told, errors independent from frame to frame.

    Args:
        problem: As it was solved last, all frames coupled.
        state: The solution.

    Raises:
        SolveError: The curvature at the solution is not positive definite: it is no minimum.
    """
    rig = problem.rig
    terms = {
        label: term.sharpened() if isinstance(term, BoundK3d) else term.lighter(_SECOND_OPINION)
        for label, term in problem.terms.items()
    }
    problem = dataclasses.replace(problem, terms=terms)
    system = problem.linearise(state, np.ones(1, dtype=bool), np.array([_DAMPING]))
    assert isinstance(system, CoupledSystem)
    body = rig.body
    joints = kinematics.fold(body, Skeleton(body.name, body.joint_names, ()))
    # the weight of the betas' prior discounts what all frames tell alike, and their uncertainty is as much larger
    T = system.border()[1] * problem.shape_weight
    out = np.empty((len(state.Th), body.n_joints, 3), dtype=np.float32)
    for part, S, W in marginals(system):
        posed = kinematics.pose(
            joints, state.betas, state.R[part], state.Th[part], jacobian=True, shape_jacobian=problem.free_shape
        )
        J = posed.jacobian
        assert J is not None
        flat = J.reshape(len(S), -1, J.shape[-1])
        variance = np.einsum("frp,frp->fr", flat @ S, flat)
        if posed.shape_jacobian is not None:
            by_shape = posed.shape_jacobian.reshape(len(S), flat.shape[1], -1) - flat @ W
            variance += np.einsum("frb,frb->fr", by_shape @ T, by_shape)
        out[part] = np.sqrt(variance).reshape(len(S), -1, 3)
    return out
