"""What the field does instead: torch, automatic differentiation, float32 and L-BFGS over all frames at once.

Two objectives:

- :func:`easymocap_fit`: EasyMocap's own, after its `config/mv1p/detect_triangulate_fitSMPL.yml` (shape from limb
  lengths, then root, then poses twice; its weights, windows and stopping rule), with the included mixture as prior;
- :func:`same_objective`: the losses of `mocap`, given as it bound them, sigmas and all, from a given start.

The body is skinned exactly: each keypoint is the sum over joints of that joint's share of the vertices it is regressed
from, gathered once, which is the fastest form there is for torch too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mocap.bodies.kinematics import keypoint_matrix
from mocap.bodies.model import BodyModel
from mocap.skeletons import Skeleton
from mocap.solve.problem import State
from mocap.take import Keypoints3D, Motion
from mocap.terms.base import Bound
from mocap.terms.k3d import BoundK3d
from mocap.terms.limits import BoundLimits
from mocap.terms.prior import INCLUDED, BoundPrior, matched, read_mixture
from mocap.terms.rest import BoundRest
from mocap.terms.smooth import BoundSmooth

_ARMS = [[2, 3], [5, 6], [3, 4], [6, 7]]
LIMBS = [[8, 1], [2, 5], *(3 * _ARMS), [1, 0], [9, 12], [9, 10], [10, 11], [12, 13], [13, 14]]
"""Of body25, as EasyMocap lists them: arms count three times."""
TORSO = [2, 5, 9, 12]
WINDOWS = (0.5, 0.3, 0.1, 0.1)
"""Weights of second differences over 1, 2, 3 and 4 frames."""


@dataclass(frozen=True)
class Ended:
    """How a minimisation ended."""

    loss: float
    iterations: int
    reason: str


class TorchBody:
    """Keypoints of an SMPL-format body, differentiable."""

    def __init__(self, body: BodyModel, skeleton: Skeleton, dtype: torch.dtype = torch.float32) -> None:
        regressor = keypoint_matrix(body, skeleton).tocsc()
        touched = np.flatnonzero(np.diff(regressor.indptr))
        share = np.einsum("kv,vj->kjv", regressor[:, touched].toarray(), body.weights[touched].astype(float))
        keypoint, joint = np.nonzero(np.abs(share).max(2))
        share = share[keypoint, joint]
        rest = body.J_regressor @ np.stack([body.v_template[:, i] for i in range(3)], axis=1).astype(float)
        shaped = body.J_regressor @ body.shapedirs.reshape(len(body.v_template), -1).astype(float)

        def tensor(x: np.ndarray) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(x), dtype=dtype)

        self.parents = body.parents.tolist()
        self.J, self.J_shape = tensor(rest), tensor(shaped.reshape(body.n_joints, 3, -1))
        self.joint = torch.as_tensor(joint)
        self.gather = tensor((np.arange(len(skeleton))[:, None] == keypoint).astype(float))
        self.A = tensor(share.sum(1))
        self.B = tensor(share @ body.v_template[touched])
        self.B_shape = tensor(np.einsum("pv,vcb->pcb", share, body.shapedirs[touched]))
        by_pose = share @ body.posedirs[touched].reshape(len(touched), -1)
        self.B_pose = tensor(by_pose.reshape(3 * len(share), -1))

    def keypoints(self, betas: Tensor, R: Tensor, Th: Tensor) -> Tensor:
        """(frames, keypoints, 3) from local rotations (frames, joints, 3, 3), the root about the model's origin."""
        J = self.J + self.J_shape @ betas
        G, p = [R[:, 0]], [R[:, 0] @ J[0] + Th]
        for j, above in enumerate(self.parents[1:], start=1):
            G.append(G[above] @ R[:, j])
            p.append(p[above] + G[above] @ (J[j] - J[above]))
        features = (R[:, 1:] - torch.eye(3, dtype=R.dtype)).reshape(len(R), -1)
        b = self.B + self.B_shape @ betas + (features @ self.B_pose.T).reshape(len(R), -1, 3)
        b = b - self.A[:, None] * J[self.joint]
        turned = (torch.stack(G, dim=1)[:, self.joint] @ b[..., None])[..., 0]
        return self.gather @ (turned + self.A[:, None] * torch.stack(p, dim=1)[:, self.joint])


def exp(v: Tensor) -> Tensor:
    """Rotation matrices (Rodrigues' formula)."""
    angle = (v.square().sum(-1, keepdim=True) + 1e-30).sqrt()
    x, y, z = (v / angle).unbind(-1)
    zero = torch.zeros_like(x)
    K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*v.shape, 3)
    angle = angle[..., None]
    return torch.eye(3, dtype=v.dtype) + angle.sin() * K + (1 - angle.cos()) * (K @ K)


def log(R: Tensor) -> Tensor:
    """Rotation vectors of angles short of pi."""
    w = 0.5 * torch.stack([R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]], -1)
    squared = w.square().sum(-1)
    small = squared < 1e-10
    sine = torch.where(small, torch.ones_like(squared), squared).sqrt()
    cosine = 0.5 * (R.diagonal(dim1=-2, dim2=-1).sum(-1) - 1)
    factor = torch.where(small, 1 + squared / 6, torch.atan2(sine, cosine) / sine)
    return w * factor[..., None]


def minimise(
    loss: Callable[[], Tensor], variables: list[Tensor], *, until: float, to_convergence: bool, few: float = 1e-4
) -> Ended:
    """L-BFGS with strong Wolfe line search, 20 iterations at a time.

    As EasyMocap does it: until 20 iterations lower the loss by less than 1e-7 of it, or until torch's own tolerances
    (1e-7 on gradient and change) leave it standing. To convergence: those tolerances are off, it goes on until 200
    iterations together lower the loss by less than `few` of it, and begins anew without a history until that does not
    help either (in single precision a line search may give up far from the minimum).

    Args:
        loss: Of the variables.
        variables: Leaves; they hold the best found.
        until: When to stop at the latest, by `time.perf_counter` [s]; looked at in every evaluation.
        to_convergence: Which rule.
        few: Of the second rule.
    """
    best, kept = float("inf"), [v.detach().clone() for v in variables]
    for v in variables:
        v.requires_grad_(True)
    iterations, reason = 0, ""

    def closure() -> Tensor:
        nonlocal best
        if time.perf_counter() > until:
            raise _TimeUp
        for v in variables:
            v.grad = None
        value = loss()
        value.backward()
        now = float(value.detach())
        if now < best:
            best = now
            for k, v in zip(kept, variables, strict=True):
                k.copy_(v.detach())
        return value

    while not reason:
        began = best
        optimiser = _optimiser(variables, 0.0 if to_convergence else 1e-7)
        try:
            reason = _until_flat(
                optimiser, closure, back=10 if to_convergence else 1, few=few if to_convergence else 1e-7
            )
        except _TimeUp:
            reason = "time was up"
        iterations += int(optimiser.state[variables[0]].get("n_iter", 0))
        if to_convergence and reason == "flat":
            reason = "converged" if began - best <= few * best else ""
    for k, v in zip(kept, variables, strict=True):
        v.requires_grad_(False)
        v.copy_(k)
    return Ended(best, iterations, "its own rule" if reason == "flat" else reason)


def _optimiser(variables: list[Tensor], tolerance: float) -> torch.optim.LBFGS:
    return torch.optim.LBFGS(
        variables, max_iter=20, line_search_fn="strong_wolfe", tolerance_grad=tolerance, tolerance_change=tolerance
    )


def _until_flat(optimiser: torch.optim.LBFGS, closure: Callable[[], Tensor], *, back: int, few: float) -> str:
    """Steps of 20 iterations until `back` of them together lower the loss by at most `few` of it."""
    history: list[float] = []
    for _ in range(1000):
        history.append(float(optimiser.step(closure).detach()))  # type: ignore[arg-type]
        if not np.isfinite(history[-1]):
            return "not finite"
        if len(history) > back:
            before, now = history[-1 - back], history[-1]
            if (before - now) / max(abs(before), abs(now), 1e-5) <= few:
                return "flat"
    return "20000 iterations"


class _TimeUp(Exception):
    pass


def _mean(squared: Tensor, sure: Tensor) -> Tensor:
    return (squared * sure).sum() / (1e-5 + sure.sum())


def _second_differences(x: Tensor) -> Tensor:
    total = x.new_zeros(())
    for width, weight in enumerate(WINDOWS, start=1):
        if len(x) > width + 1:
            step = x[width:] - x[:-width]
            total = total + weight * (step[1:] - step[:-1]).square().sum(-1).mean()
    return total


def _mixture(body: BodyModel, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Mean over frames of min -log(g N), determinants relative to the least, as SMPLify-X's merged form."""
    joints, mixture = matched(read_mixture(INCLUDED), body, str(INCLUDED))
    columns = torch.as_tensor((3 * (joints[:, None] - 1) + np.arange(3)).ravel())
    half_log_det = 0.5 * np.linalg.slogdet(mixture.covars)[1]
    constant = half_log_det - half_log_det.min() - np.log(mixture.weights) + 0.5 * len(columns) * np.log(2 * np.pi)
    means, precisions, constants = (
        torch.as_tensor(x, dtype=dtype) for x in (mixture.means, np.linalg.inv(mixture.covars), constant)
    )

    def prior(poses: Tensor) -> Tensor:
        d = poses[:, None, columns] - means
        return (0.5 * (torch.einsum("nij,fnj->fni", precisions, d) * d).sum(-1) + constants).min(1).values.mean()

    return prior


def easymocap_fit(
    body: BodyModel, points: Keypoints3D, *, prior: bool, to_convergence: bool, budget: float
) -> tuple[np.ndarray, Motion, Ended]:
    """Shape, motion and how the last stage ended: EasyMocap's stages, losses and weights.

    Args:
        body: The model.
        points: body25.
        prior: Whether the mixture prior takes part.
        to_convergence: See :func:`minimise`; applies to the poses.
        budget: Of the whole [s].
    """
    until = time.perf_counter() + budget
    dtype = torch.float32
    model = TorchBody(body, points.skeleton, dtype)
    sure = torch.as_tensor(points.confidence, dtype=dtype)
    target = torch.as_tensor(np.where(points.confidence[..., None] > 0, points.xyz, 0.0), dtype=dtype)
    frames, n_poses = len(target), 3 * (body.n_joints - 1)
    betas, Rh, poses = (torch.zeros(n, dtype=dtype) for n in ((body.n_betas,), (frames, 3), (frames, n_poses)))
    Th = target[:, 8].clone()
    eye = torch.eye(3, dtype=dtype)
    a, b = np.array(LIMBS).T
    limb_sure = torch.minimum(sure[:, a], sure[:, b])
    length = (target[:, b] - target[:, a]).norm(dim=-1)

    def at(R: Tensor, where: Tensor) -> Tensor:
        return model.keypoints(betas, R, where)

    def by_limbs() -> Tensor:
        rest = at(eye.expand(1, body.n_joints, 3, 3), torch.zeros(1, 3, dtype=dtype))[0]
        off = (rest[b] - rest[a]).norm(dim=-1) - length
        return 100 * _mean(off.square(), limb_sure) + 0.1 * betas.square().sum()

    minimise(by_limbs, [betas], until=until, to_convergence=False)
    still = eye.expand(frames, body.n_joints - 1, 3, 3)

    def by_torso() -> Tensor:
        keypoints = at(torch.cat([exp(Rh)[:, None], still], dim=1), Th)
        near = _mean((keypoints[:, TORSO] - target[:, TORSO]).square().sum(-1), sure[:, TORSO])
        return 100 * near + 10 * _second_differences(keypoints) + 100 * _second_differences(Th)

    minimise(by_torso, [Th, Rh], until=until, to_convergence=False)
    mixture = _mixture(body, dtype) if prior else None

    def by_points() -> Tensor:
        R = exp(torch.cat([Rh, poses], dim=1).reshape(frames, -1, 3))
        keypoints = at(R, Th)
        total = 1000 * _mean((keypoints - target).square().sum(-1), sure)
        total = total + 100 * _second_differences(Th)
        total = total + 10 * _second_differences(poses) + 10 * _second_differences(keypoints)
        return total if mixture is None else total + 0.1 * mixture(poses)

    iterations = 0
    for _ in range(2):
        ended = minimise(by_points, [poses, Rh, Th], until=until, to_convergence=to_convergence)
        iterations += ended.iterations
    motion = Motion(Rh.double().numpy(), Th.double().numpy(), poses.double().numpy().reshape(frames, -1, 3))
    return betas.double().numpy(), motion, Ended(ended.loss, iterations, ended.reason)


def objective(
    terms: Mapping[str, Bound], body: BodyModel, skeleton: Skeleton, shape_weight: float, dtype: torch.dtype
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The cost of bound losses of `mocap`, as a function of betas, local rotations and Th.

    Raises:
        NotImplementedError: A loss that is not written here.
    """
    model = TorchBody(body, skeleton, dtype)

    def tensor(x: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(x), dtype=dtype)

    def half(r: Tensor) -> Tensor:
        return 0.5 * r.square().sum()

    made: list[Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = []
    for label, bound in terms.items():
        if isinstance(bound, BoundK3d):
            whitening = tensor(bound.whitening(np.arange(len(bound.xyz))))
            xyz, c = tensor(bound.xyz), tensor(bound.scale**2)

            def k3d(keypoints: Tensor, R: Tensor, Th: Tensor, vectors: Tensor, W=whitening, xyz=xyz, c=c) -> Tensor:
                s = (W @ (keypoints - xyz)[..., None]).square().sum((-1, -2))
                return (0.5 * c * torch.log1p(s / c)).sum()

            made.append(k3d)
        elif isinstance(bound, BoundSmooth) and bound.gain_keypoints is None:
            dt = np.diff(bound.timestamps)
            gain = tensor(bound.gain * bound.precision[1:-1] / (0.5 * (dt[1:] + dt[:-1]))[:, None, None])
            dts = tensor(dt[:, None, None])

            def smooth(keypoints: Tensor, R: Tensor, Th: Tensor, vectors: Tensor, gain=gain, dts=dts) -> Tensor:
                relative = log(R[:-1].transpose(-1, -2) @ R[1:])
                velocity = torch.cat([Th.diff(dim=0)[:, None], relative], dim=1) / dts
                return half(gain * velocity.diff(dim=0))

            made.append(smooth)
        elif isinstance(bound, BoundRest):
            made.append(lambda keypoints, R, Th, vectors, g=bound.gain: half(g * vectors))
        elif isinstance(bound, BoundLimits):
            made.append(_limits(bound, tensor, half))
        elif isinstance(bound, BoundPrior):
            joints = torch.as_tensor(bound.joints - 1)
            W, m, k = tensor(bound.whitening), tensor(bound.means), tensor(bound.constant)

            def prior(
                keypoints: Tensor, R: Tensor, Th: Tensor, vectors: Tensor, j=joints, W=W, m=m, k=k, w=bound.weight
            ) -> Tensor:
                white = torch.einsum("nij,fnj->fni", W, vectors[:, j].flatten(1)[:, None] - m)
                return w * (0.5 * white.square().sum(-1) + k).min(1).values.sum()

            made.append(prior)
        else:
            raise NotImplementedError(f"loss {label} is not written in torch")

    def cost(betas: Tensor, R: Tensor, Th: Tensor) -> Tensor:
        keypoints, vectors = model.keypoints(betas, R, Th), log(R[:, 1:])
        total = 0.5 * shape_weight * betas.square().sum()
        for term in made:
            total = total + term(keypoints, R, Th, vectors)
        return total

    return cost


def _limits(
    bound: BoundLimits, tensor: Callable[[np.ndarray], Tensor], half: Callable[[Tensor], Tensor]
) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    low, high, usual = tensor(bound.low), tensor(bound.high), tensor(bound.ranges.usual)
    hinge, axis = np.nonzero(bound.ranges.backwards)
    way = tensor(bound.ranges.backwards[hinge, axis])
    mark = tensor((bound.ranges.backwards != 0).astype(float))
    pull = None if bound.gain_usual is None else tensor(bound.gain_usual)

    def limits(keypoints: Tensor, R: Tensor, Th: Tensor, vectors: Tensor) -> Tensor:
        beyond = (vectors - torch.minimum(torch.maximum(vectors, low), high)) / bound.sigma
        u = way * vectors[:, hinge, axis] / bound.sigma
        value = u.clamp(max=2.0).exp() * (1 + (u - 2.0).clamp(min=0.0))
        # one number of each hinge is both behind its wall and in its exponential
        at_hinges = beyond[:, hinge, axis]
        total = half(bound.gain * beyond * (1 - mark)) + half(bound.gain * (at_hinges + value))
        return total if pull is None else total + half(pull * (vectors - usual))

    return limits


def same_objective(
    terms: Mapping[str, Bound],
    body: BodyModel,
    skeleton: Skeleton,
    start: State,
    *,
    shape_weight: float,
    budget: float,
    few: float,
) -> tuple[State, Ended]:
    """L-BFGS to convergence on the losses of `mocap`, by steps from the start's rotations."""
    until = time.perf_counter() + budget
    cost = objective(terms, body, skeleton, shape_weight, torch.float32)
    R0, Th, betas = (torch.as_tensor(x, dtype=torch.float32).clone() for x in (start.R, start.Th, start.betas))
    steps = torch.zeros(R0.shape[:-1], dtype=torch.float32)
    ended = minimise(
        lambda: cost(betas, R0 @ exp(steps), Th), [steps, Th, betas], until=until, to_convergence=True, few=few
    )
    return State(Th.double().numpy(), start.R @ exp(steps.double()).numpy(), betas.double().numpy()), ended
