"""Loss `capsules`: parts of the body do not go through one another, as SMPLify has it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import NonNegativeFloat

from mocap.bodies.capsules import Spheres, check_file, load_capsules, spheres_of
from mocap.bodies.kinematics import Posed
from mocap.bodies.model import BodyModel
from mocap.options import options
from mocap.terms.base import Bound, Data, Residuals, Term

_NOTHING = 1e-12
"""A penalty below this is left out: spheres that just touch have 1.5e-8, and this a gap of half a radius."""


@options
class Capsules(Term):
    """Interpenetration of parts that are no neighbours, each a row of spheres (Bogo et al., "Keep it SMPL", 2016).

    It moves the pose only: sizes are those of the shape as of the last solve, or people would grow thin.
    """

    weight: NonNegativeFloat = 1e6
    """Multiplies the cost, half the sum of the spheres' penalties; 0 switches the loss off. 1e6 is SMPLify's 1e3 on the
    residual, beside pixels: 0.1 where two spheres touch, 6 where they are a quarter nearer."""
    file: Path | None = None
    """Capsules of your own body, made by tools/fit_capsules.py; the included body has its own."""

    def check(self) -> None:
        """Reads the file."""
        if self.file is not None:
            check_file(self.file)

    def bind(self, data: Data) -> BoundCapsules | None:
        """The body's spheres, at the mean shape to begin with."""
        if self.weight == 0:
            return None
        spheres = spheres_of(data.body, load_capsules(data.body, self.file))
        return BoundCapsules(data.body, spheres, self.weight, np.zeros(data.body.n_betas))


@dataclass(frozen=True, eq=False)
class _Groups:
    """Which pairs of parts may not overlap. The pairs of spheres of two parts make up one residual."""

    of_pair: Int[np.ndarray, "spheres spheres"]
    """The residual of each two spheres; only those marked by `apart` mean anything."""
    apart: Bool[np.ndarray, "spheres spheres"]
    """The incompatible ones, the first sphere before the second."""
    way: Float[np.ndarray, "groups joints"]
    """What turning a joint does: 1 moves the first part only, -1 the second only, 0 both or none."""
    below: Float[np.ndarray, "joints joints"]
    """[j, a]: 1 where a is j or above it, the root left out."""


@dataclass(frozen=True, eq=False)
class BoundCapsules(Bound):
    """The loss with a body's spheres."""

    body: BodyModel
    spheres: Spheres
    weight: float
    held: Float[np.ndarray, " betas"] | Float[np.ndarray, "frames betas"]
    """The shape, or every frame's own; it does not follow the one that is solved for."""

    early = False

    def with_betas(self, betas: Float[np.ndarray, " betas"] | Float[np.ndarray, "frames betas"]) -> BoundCapsules:
        """The same loss at another shape, or at every frame's own."""
        return dataclasses.replace(self, held=np.array(betas, dtype=float))

    def updated(self, posed: Posed) -> BoundCapsules:
        """At the shape, or the shapes, as of the last solve."""
        return self.with_betas(posed.betas)

    def lighter(self, part: float) -> BoundCapsules:
        """With so small a part of its weight."""
        return dataclasses.replace(self, weight=self.weight * part)

    @cached_property
    def _groups(self) -> _Groups:
        joints, capsules = self.spheres.joints, self.spheres.capsules
        first, second = self.spheres.pairs.T
        n, parents = len(joints), self.body.parents
        below = np.eye(self.body.n_joints)
        for j in range(1, self.body.n_joints):
            below[j] += below[parents[j]]
        below[:, 0] = 0  # the root turns both parts of every pair
        size = len(capsules.names)
        codes, group = np.unique(self.spheres.capsule[first] * size + self.spheres.capsule[second], return_inverse=True)
        of_pair, apart = np.zeros((n, n), dtype=int), np.zeros((n, n), dtype=bool)
        of_pair[first, second], apart[first, second] = group, True
        way = below[capsules.joints[codes // size]] - below[capsules.joints[codes % size]]
        return _Groups(of_pair, apart, way, below)

    @cached_property
    def _shaped(self) -> tuple[np.ndarray, np.ndarray]:
        """At the held shape, frames first: the spheres' centres from their joints, and their squared sigmas."""
        local, radii = self.spheres.shaped(np.atleast_2d(self.held))
        return local, (radii / 3) ** 2

    def residuals(self, posed: Posed, frames: Int[np.ndarray, " posed_frames"]) -> list[Residuals]:
        """Of each two incompatible parts: sqrt(weight sum_ij exp(-|C_i - C_j|^2 / (s_i^2 + s_j^2))), s = r / 3, over
        their incompatible pairs of spheres; half its square is what SMPLify adds up.

        With the force f = c (C_i - C_j) between two spheres, turning a joint that carries one of them works with the
        torque C_i x f - p x f about it. C_i x f is C_j x f, so all pairs of two parts add up to one force and torque.
        """
        groups, (local, squared) = self._groups, self._shaped
        own = self.held.ndim == 2
        if own:
            local, squared = local[frames], squared[frames]
        n, m, G, parents = len(frames), len(groups.way), posed.G, self.body.parents[1:]
        # everything from the root joint: where the body is does not matter
        rig, betas = posed.rig, self.held[frames] if own else self.held
        J = rig.J_template + np.tensordot(betas, rig.J_shape[..., : betas.shape[-1]], (-1, -1))
        bones = J[..., 1:, :] - J[..., parents, :]
        p = groups.below[:, 1:] @ (G[:, parents] @ bones[..., None])[..., 0]
        joints = self.spheres.joints
        C = p[:, joints] + (G[:, joints] @ local[..., None])[..., 0]

        # |C_i|^2 + |C_j|^2 - 2 C_i' C_j, less what is too far, as one product; the few that are near are computed well
        square, one = (C * C).sum(-1) + np.log(_NOTHING) * squared, np.ones(C.shape[:2])
        left, right = np.dstack([C, square, one]), np.dstack([-2 * C, one, square])
        near = np.flatnonzero((left @ right.swapaxes(1, 2) < 0) & groups.apart)
        frame, i, j = np.unravel_index(near, (n, *groups.apart.shape))
        D = C[frame, i] - C[frame, j]
        row = frame if own else 0
        s = squared[row, i] + squared[row, j]
        penalty = self.weight * np.exp(-(D * D).sum(1) / s)
        force = -(penalty / s)[:, None] * D  # of the cost by the first sphere's place
        torque = np.cross(C[frame, i], force)
        place = frame * m + groups.of_pair[i, j]
        penalties, *wrench = (np.bincount(place, x, n * m).reshape(n, m) for x in (penalty, *force.T, *torque.T))
        wrench = np.stack(wrench, axis=-1)  # (frames, groups, 6)
        r = np.sqrt(penalties)

        gradient = np.zeros((n, 3 + 3 * G.shape[1]))
        whole = groups.way.T @ wrench
        about = whole[..., 3:] - np.cross(p, whole[..., :3])
        gradient[:, 3:] = (about[..., None, :] @ G).reshape(n, -1)

        def jacobian() -> dict[int, np.ndarray]:
            J = np.zeros((n, m, 1 + G.shape[1], 3), dtype=np.float32)
            f, g = np.nonzero(r)
            of_r = wrench[f, g] / r[f, g, None]
            which, joint = np.nonzero(groups.way[g])
            f, g = f[which], g[which]
            about = of_r[which, 3:] - np.cross(p[f, joint], of_r[which, :3])
            turned = (about[:, None] @ G[f, joint])[:, 0]
            J[f, g, 1 + joint] = groups.way[g, joint][:, None] * turned
            return {0: J.reshape(n, 1, m, -1)}

        return [Residuals.of("parameters", r[:, None], jacobian, gradient=gradient)]
