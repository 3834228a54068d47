"""Matching as one convex program over measures (Eq 8), for every psi that cvxpy can write: a second opinion.

    min over rho, sigma >= 0   -lam Hbar(rho) + psi*(sigma - rho_E)
    subject to                 sum_a rho(s, a) = p0(s) + gamma (P' rho)(s),     sigma = rho

The copy sigma has no part but to own a multiplier: at the optimum it is the cost, and that of the flow is V. The
solver's rho satisfies the flow only to its tolerance, so that its policy is what is kept.
"""

from __future__ import annotations

import time
import warnings

import cvxpy as cp
import numpy as np
from scipy.sparse import csr_array

from occmatch import cvx
from occmatch.candidate import Candidate, Infeasible
from occmatch.checks import FloatArray
from occmatch.matching_finish import finish
from occmatch.matching_support import Support
from occmatch.occupancy import occupancy, policy
from occmatch.regularisers import Regulariser

# Beyond what Clarabel reaches, so that it stops where it no longer progresses.
TIGHT = {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-13, "max_iter": 300}


def program(
    support: Support, psi: Regulariser, rho_E: FloatArray, lam: float, solver: str = "CLARABEL"
) -> Candidate | Infeasible:
    """The candidate of the program, or Infeasible as the solver certifies it. Raises ArithmeticError where it fails."""
    started = time.perf_counter()
    mdp = support.whole
    S, A = mdp.shape
    rho, sigma = cp.Variable((S, A), nonneg=True), cp.Variable((S, A))
    spread = csr_array((np.ones(S * A), np.arange(S * A), np.arange(0, S * A + 1, A)), shape=(S, S * A))
    flow = (spread - mdp.gamma * mdp.P.T) @ cp.vec(rho, order="C") == mdp.p0
    copy = sigma == rho
    divergence, constraints = cvx.conjugate(psi, sigma, rho_E)
    constraints = [flow, copy, *constraints]
    ruled_out = ~support.extend(support.allowed, fill=True)
    if ruled_out.any():
        constraints.append(rho[np.nonzero(ruled_out)] == 0)
    objective = divergence + (lam * cvx.neg_causal_entropy(rho) if lam > 0 else 0.0)
    problem = cp.Problem(cp.Minimize(objective), constraints)
    status = _run(problem, solver)
    if "infeasible" in status:
        return Infeasible(
            f"the solver reports {status}: no measure of this MDP has a finite psi*(rho - rho_E). Likely causes: "
            "(a) rho_E is no occupancy measure of this MDP and psi demands one; "
            "(b) rho_E misses pairs that must be visited"
        )
    if rho.value is None:
        raise ArithmeticError(
            f"the convex program ended with status {status!r} and no point. Likely causes: (a) psi* and lam Hbar are "
            "of very different size (rescale psi or lam); (b) rho_E has entries near underflow"
        )
    found = policy(np.where(ruled_out, 0.0, np.maximum(rho.value, 0.0)))
    costs = [np.where(ruled_out & psi.forbidden(rho_E), np.inf, -np.asarray(copy.dual_value))]
    measure = occupancy(mdp, found)
    if psi.smooth:
        costs.append(psi.grad(np.maximum(measure, np.finfo(np.float64).tiny), rho_E))
    return finish(
        support,
        psi,
        rho_E,
        lam,
        costs,
        method=f"convex program ({solver.title()})",
        started=started,
        iterations=int(problem.solver_stats.num_iters or 0),
        rho=measure,
    )


def _run(problem: cp.Problem, solver: str) -> str:
    """Solve, first with tight tolerances and then with the solver's own; the status."""
    status = "solver_error"
    for options in (TIGHT, {}) if solver == "CLARABEL" else ({},):
        try:
            with warnings.catch_warnings():
                # "Solution may be inaccurate": the certificate will say what it is worth.
                warnings.simplefilter("ignore", UserWarning)
                problem.solve(solver=solver, **options)
            status = str(problem.status)
        except cp.error.SolverError:
            continue
        if status != "solver_error":
            break
    return status
