"""The graph side of `support`: which pairs a policy can use that avoids for ever what psi* forbids.

psi* may forbid mass on some pairs (KL and chi-square: wherever the expert has none). A state is safe where some policy
avoids forbidden pairs for ever; a pair is free where it is allowed, leads to safe states only, and starts from a state
that free pairs reach. If p0 touches an unsafe state psi* is +inf on D; if a live state has an action that is not free,
the cost of that action grows without limit.
"""

from __future__ import annotations

import numpy as np

from occmatch.bellman import rl
from occmatch.candidate import NoBestCost, Unbounded
from occmatch.graph import reachable, viable
from occmatch.irl.dual import Array
from occmatch.mdp import MDP
from occmatch.occupancy import flow_residual, occupancy, policy
from occmatch.regularisers import FDivergence, Surrogate


def avoiding(mdp: MDP, rho_E: Array, psi: Surrogate | FDivergence) -> tuple[Array, Array] | Unbounded:
    """The free pairs [S, A] and the direction [S, A] in which optimal costs diverge, or the unbounded ray."""
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
    live = visited(mdp, paths)
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
    return free, ray


def visited(mdp: MDP, paths: Array) -> Array:
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
