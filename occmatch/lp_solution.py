"""From a vertex to points of both sides: rho moved onto D, V moved below its backup, and what they are worth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from occmatch.candidate import Candidate
from occmatch.checks import FloatArray
from occmatch.lp_budgets import Limits
from occmatch.lp_simplex import Vertex
from occmatch.mdp import MDP
from occmatch.occupancy import flow_residual, occupancy, policy
from occmatch.regularisers import Box, Lipschitz, Simplex

# What a basis solve leaves of an entry that is zero, relative to the largest of its row: 5e3 ulps.
ZERO_RTOL = 1e-12


@dataclass(frozen=True, eq=False)
class Solution:
    """A vertex: bound <= optimum <= value, up to rounding and to how well rho meets the budgets.

    rho [S, A] = the occupancy measure of pi [S, A], `value` its objective; cost [S, A], V [S] and prices [m] (one a
    budget) a point of the dual, made feasible by a shift of V, and `bound` its objective.  Where rho visits a state
    pi is the vertex's, elsewhere uniform.  `flow_residual` is (1 - gamma) ||d - p0 - gamma P' rho||_1 of the measure
    as the solver claimed it, `excess` the most by which rho exceeds a budget.  `candidate` is what `certify` judges;
    prices have no part in it.
    """

    rho: FloatArray
    pi: FloatArray
    cost: FloatArray
    V: FloatArray
    prices: FloatArray
    value: float
    bound: float
    method: str
    iterations: int
    seconds: float = field(repr=False)
    flow_residual: float = 0.0
    excess: float = 0.0

    @property
    def candidate(self) -> Candidate:
        """The same as a candidate of matching with lam = 0."""
        return Candidate(
            self.rho,
            self.cost,
            self.V,
            self.pi,
            0.0,
            self.method,
            iterations=self.iterations,
            seconds=self.seconds,
        )


def finish(
    mdp: MDP,
    limits: Limits,
    vertex: Vertex,
    rho: FloatArray,
    V: FloatArray,
    prices: FloatArray,
    cost: FloatArray,
    method: str,
    seconds: float,
    psi: Simplex | Box | Lipschitz | None = None,
    rho_E: FloatArray | None = None,
) -> Solution:
    """The vertex with rho moved onto D through its policy, and V below its backup."""
    claimed = rho.reshape(mdp.shape).clip(min=0.0)
    claimed[claimed < ZERO_RTOL * claimed.max(axis=1, keepdims=True)] = 0.0
    pi = policy(claimed)
    residual = (1.0 - mdp.gamma) * float(np.abs(flow_residual(mdp, rho.reshape(mdp.shape))).sum())
    rho = occupancy(mdp, pi)
    over = (limits.rows @ rho.ravel() - limits.b) * limits.scale
    priced = cost + ((prices * limits.scale) @ limits.rows).reshape(mdp.shape)
    # Any V becomes feasible in the dual by the least step of one sweep: T(V + k) = T V + gamma k.
    V = V + ((priced + mdp.gamma * mdp.expect(V)).min(axis=1) - V).min() / (1.0 - mdp.gamma)
    bound = float(mdp.p0 @ V) - float(prices @ (limits.b * limits.scale))
    if psi is None or rho_E is None:
        value = float(np.vdot(rho, cost))
    else:
        # A transport problem of its own, but for the simplex method, whose vertex is rho to rounding and has its cost.
        known = isinstance(psi, Lipschitz) and vertex.basic
        value = vertex.objective if known else psi.divergence(rho, rho_E)
        bound += psi.dual_value(cost, rho_E)
    excess = max(0.0, float(over.max(initial=0.0)))
    return Solution(rho, pi, cost, V, prices, value, bound, method, vertex.iterations, seconds, residual, excess)
