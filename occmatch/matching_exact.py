"""Exact matching: where psi is constant, rho = rho_E is the only measure with finite psi* (Corollary 3.2.1).

Primal and dual are then solved in closed form. The policy is pi_E, and every cost of its family { c = -lam log pi_E +
V - gamma P V } is optimal; V = 0 is chosen, the cost whose value is zero in every state. An expert who never takes
some action in a state that he visits makes that entry infinite: no cost attains the dual then, and the candidate
holds a finite one whose dual value is the optimum to rounding.
"""

from __future__ import annotations

import time

import numpy as np

from occmatch import checks
from occmatch.candidate import Candidate, Infeasible
from occmatch.checks import FloatArray
from occmatch.matching_finish import finish
from occmatch.matching_support import support
from occmatch.mdp import MDP
from occmatch.occupancy import flow_residual, occupancy, policy
from occmatch.regularisers import Regulariser


def exact(mdp: MDP, psi: Regulariser, rho_E: FloatArray, lam: float) -> Candidate | Infeasible:
    """The candidate rho = rho_E, or Infeasible where rho_E is no occupancy measure of this MDP."""
    started = time.perf_counter()
    excess = float(np.abs(flow_residual(mdp, rho_E)).sum())
    part = support(mdp, rho_E == 0)
    if excess * (1.0 - mdp.gamma) > checks.FLOW_SLACK or part is None:
        return Infeasible(
            f"psi is constant, so that only rho = rho_E has a finite psi*, but rho_E misses the flow equations by "
            f"{excess:.3g} in all. Likely causes: (a) it was estimated from finite data (project it: "
            "project_l2, project_kl); (b) it is normalised to sum 1; (c) it belongs to another MDP",
            excess,
        )
    pi = policy(rho_E)
    with np.errstate(divide="ignore"):
        cost = np.where(part.extend(part.allowed, fill=True), -lam * np.log(pi), np.inf)
    # A state that pi_E never visits has a uniform row there, and no finite cost is needed to keep it out.
    return finish(
        part,
        psi,
        rho_E,
        lam,
        [cost],
        method="exact matching",
        started=started,
        iterations=0,
        V0=np.zeros(mdp.S),
        rho=occupancy(mdp, pi),
    )
