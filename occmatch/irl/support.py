"""Which pairs (s, a) can carry mass, and whether an optimal cost exists: what is decided before anything is solved.

psi* may forbid mass on some pairs (psi constant: wherever the expert has none; KL and chi-square likewise). A state is
safe where some policy avoids forbidden pairs for ever; a pair is free where it is allowed, leads to safe states only,
and starts from a state that free pairs reach. Then, for lam > 0,

    p0 touches an unsafe state                     =>  psi* = +inf on D: the dual is unbounded
    a live state has an action that is not free    =>  its optimal cost is +inf: the dual is not attained

because the entropy would give that action positive probability under any finite cost. Where psi is blind to a linear
space of costs the same two questions are linear programs (`recession`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occmatch.bellman import rl
from occmatch.candidate import NoBestCost, Unbounded
from occmatch.graph import reachable, viable
from occmatch.irl.dual import Array
from occmatch.irl.recession import recession
from occmatch.mdp import MDP
from occmatch.occupancy import flow_residual, occupancy, policy
from occmatch.regularisers import Constant, FDivergence, Lipschitz, Regulariser, Surrogate


@dataclass(frozen=True, eq=False)
class Support:
    """The free pairs [S, A], and the direction [S, A] in which optimal costs diverge (zero where one exists)."""

    free: Array
    ray: Array

    @property
    def attained(self) -> bool:
        return not self.ray.any()


def analyse(mdp: MDP, rho_E: Array, psi: Regulariser, lam: float) -> Support | Unbounded:
    """The support of the matching problem, or the ray along which its dual is unbounded."""
    everything = Support(np.ones(mdp.shape, dtype=bool), np.zeros(mdp.shape))
    if isinstance(psi, Constant | Surrogate) and matches_exactly(psi):
        found = _exact(mdp, rho_E, psi)
    elif isinstance(psi, Constant):
        found = _face(mdp, rho_E, psi.features.reshape(-1, psi.features.shape[2]))
    elif isinstance(psi, Lipschitz):
        found = _face(mdp, rho_E, psi.components())
    elif isinstance(psi, Surrogate | FDivergence) and np.array_equal(psi.rho_E, rho_E):
        found = _separable(mdp, rho_E, psi)
    else:
        return everything
    # Without entropy an action is ruled out by a finite cost, so only unboundedness matters.
    return found if isinstance(found, Unbounded) or lam > 0 else everything


def matches_exactly(psi: Regulariser) -> bool:
    """Whether psi is zero on all costs, so that rho = rho_E is the only measure with finite psi*."""
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


def _separable(mdp: MDP, rho_E: Array, psi: Surrogate | FDivergence) -> Support | Unbounded:
    allowed = ~psi.forbidden(rho_E)
    paths = viable(mdp, allowed)
    residual = flow_residual(mdp, rho_E)
    if (mdp.p0[~paths.any(axis=1)] > 0).any():
        ray_V = _violation(mdp, allowed)
        ray = np.where(allowed, 0.0, ray_V[:, None] - mdp.gamma * mdp.expect(ray_V))
        message = (
            "every policy comes to pairs (s, a) on which rho_E is zero and psi* therefore infinite. Likely causes: (a) "
            "rho_E was estimated from finite data and misses pairs; (b) it belongs to another MDP; (c) a psi that "
            "stays finite off the expert's support was meant (logistic, js, hellinger, tv)"
        )
        return Unbounded(ray, ray_V, float(mdp.p0 @ ray_V), residual, message)
    live = _visited(mdp, paths)
    free = paths & live[:, None]
    ray = (live[:, None] & ~free).astype(float)
    rho = occupancy(mdp, policy(free.astype(float)))
    try:
        psi.best_cost(np.where(free, rho, 0.0), rho_E)
    except NoBestCost as error:
        if error.unbounded:
            message = (
                "rho_E has mass that no policy can match, and psi* is infinite there. Likely causes: (a) rho_E "
                "belongs to another MDP or initial distribution; (b) a psi was meant that stays finite where the "
                "learner never goes (logistic, js, hellinger, tv, kl)"
            )
            return Unbounded(error.ray, rl(mdp, error.ray, 0.0).V, 0.0, residual, message)
        ray = _outweigh(mdp, ray, error.ray, free, live, allowed)
    return Support(free, ray)


def _face(mdp: MDP, rho_E: Array, basis: Array) -> Support | Unbounded:
    found = recession(mdp, rho_E, basis)
    if isinstance(found, Unbounded):
        return found
    paths, ray = found
    live = _visited(mdp, paths)
    free = paths & live[:, None]
    barred = bool((live[:, None] & ~free).any())
    return Support(free, ray) if barred else Support(np.ones(mdp.shape, dtype=bool), np.zeros(mdp.shape))


def _visited(mdp: MDP, paths: Array) -> Array:
    """States [S] with mass under some policy on the pairs `paths`; at gamma = 0 only the first state has any."""
    return reachable(mdp, paths) if mdp.gamma > 0 else mdp.p0 > 0


def _violation(mdp: MDP, allowed: Array) -> Array:
    """V(s) = min_pi E[gamma^t at the first state without an allowed action]: positive exactly on unsafe states."""
    stuck = ~allowed.any(axis=1)
    V = stuck.astype(float)
    for _ in range(10 * mdp.S + int(np.ceil(40 / (1 - mdp.gamma)))):
        new = np.where(stuck, 1.0, np.where(allowed, mdp.gamma * mdp.expect(V), np.inf).min(axis=1, initial=np.inf))
        if np.array_equal(new, V):
            break
        V = new
    return V


def _outweigh(mdp: MDP, up: Array, down: Array, free: Array, live: Array, allowed: Array) -> Array:
    """One ray that lowers costs where the expert has mass that no policy can have, and still keeps policies off there.

    A pair that is ruled out only because it leads to unsafe states is kept away by what those states cost.
    """
    ray = np.where(down < 0, down, up)
    unsafe = ~allowed & ~live[:, None]
    for weight in 4.0 ** np.arange(20):
        ray = np.where(unsafe, weight, ray)
        V = rl(mdp, ray, 0.0).V
        slack = ray + mdp.gamma * mdp.expect(V) - V[:, None]
        if (slack[live[:, None] & ~free] > 0.5).all():
            break
    return ray
