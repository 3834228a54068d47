"""Which pairs (s, a) can carry mass, and whether an optimal cost exists: what is decided before anything is solved.

Pairs that can carry mass are free (`forbidden`). For lam > 0,

    p0 touches a state that free pairs cannot keep  =>  psi* = +inf on D: the dual is unbounded
    a live state has an action that is not free     =>  its optimal cost is +inf: the dual is not attained

because the entropy would give that action positive probability under any finite cost. Where psi is constant the free
pairs are the expert's own; where it is blind to a linear space of costs two linear programs decide (`recession`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occmatch.candidate import Unbounded
from occmatch.irl.dual import Array
from occmatch.irl.forbidden import avoiding, visited
from occmatch.irl.recession import recession
from occmatch.mdp import MDP
from occmatch.occupancy import flow_residual, occupancy, policy
from occmatch.regularisers import Constant, FDivergence, Lipschitz, Regulariser, Surrogate

ON_FLOW = 1e-12
"""Flow residual of an occupancy measure, as a share of its mass, that is rounding."""


@dataclass(frozen=True, eq=False)
class Support:
    """The free pairs [S, A], and the direction [S, A] in which optimal costs diverge (zero where one exists)."""

    free: Array
    ray: Array

    @property
    def attained(self) -> bool:
        """Whether some cost attains the optimum: no direction along which costs diverge."""
        return not self.ray.any()


def analyse(mdp: MDP, rho_E: Array, psi: Regulariser, lam: float) -> Support | Unbounded:
    """The support of the matching problem, or the ray along which its dual is unbounded."""
    if isinstance(psi, Constant | Surrogate) and matches_exactly(psi):
        found = _exact(mdp, rho_E, psi)
    elif isinstance(psi, Constant):
        found = _face(mdp, rho_E, psi.features.reshape(-1, psi.features.shape[2]))
    elif isinstance(psi, Lipschitz):
        found = _face(mdp, rho_E, psi.components())
    elif isinstance(psi, Surrogate | FDivergence):
        pairs = avoiding(mdp, rho_E, psi)
        found = pairs if isinstance(pairs, Unbounded) else Support(*pairs)
    else:
        found = Support(np.ones(mdp.shape, dtype=bool), np.zeros(mdp.shape))
    if isinstance(found, Unbounded) or lam > 0:
        return found
    # Without entropy an action is ruled out by a finite cost: the pairs that can carry mass are the same, but some cost
    # attains the optimum, unless expert mass that no policy can have asks for ever lower ones.
    lower = isinstance(psi, Surrogate | FDivergence) and (found.ray < 0.0).any()
    return found if lower else Support(found.free, np.zeros(mdp.shape))


def matches_exactly(psi: Regulariser) -> bool:
    """Whether psi is constant on all costs, so that rho = rho_E is the only measure with finite psi*."""
    return (isinstance(psi, Constant) and psi.features is None) or (isinstance(psi, Surrogate) and psi.is_linear)


def _exact(mdp: MDP, rho_E: Array, psi: Regulariser) -> Support | Unbounded:
    if psi.divergence(occupancy(mdp, policy(rho_E)), rho_E) == np.inf:
        residual = flow_residual(mdp, rho_E)
        ray_V = -residual / np.abs(residual).max()
        message = (
            "rho_E is not an occupancy measure of this MDP and psi is constant, so that no policy matches it. Likely "
            "causes: (a) rho_E was estimated from finite data: project it (project_l2, project_kl) or choose a psi "
            "that tolerates a difference; (b) it is normalised to sum 1 instead of 1/(1-gamma); (c) it belongs to "
            "another MDP or discount"
        )
        ray = ray_V[:, None] - mdp.gamma * mdp.expect(ray_V)
        return Unbounded(ray, ray_V, -float(residual @ ray_V), residual, message)
    free = rho_E > 0
    return Support(free, (free.any(axis=1, keepdims=True) & ~free).astype(float))


def _face(mdp: MDP, rho_E: Array, basis: Array) -> Support | Unbounded:
    if _interior(mdp, rho_E):  # rho_E itself matches, with mass on every pair that can have any
        return Support(np.ones(mdp.shape, dtype=bool), np.zeros(mdp.shape))
    found = recession(mdp, rho_E, basis)
    if isinstance(found, Unbounded):
        return found
    paths, ray = found
    live = visited(mdp, paths)
    free = paths & live[:, None]
    barred = bool((live[:, None] & ~free).any())
    return Support(free, ray) if barred else Support(np.ones(mdp.shape, dtype=bool), np.zeros(mdp.shape))


def _interior(mdp: MDP, rho_E: Array) -> bool:
    """Whether rho_E is an occupancy measure that is positive on every pair that some policy visits."""
    reached = visited(mdp, np.ones(mdp.shape, dtype=bool))
    off = float(np.abs(flow_residual(mdp, rho_E)).sum()) * (1.0 - mdp.gamma)
    return bool(off <= ON_FLOW and (rho_E[reached] > 0.0).all())
