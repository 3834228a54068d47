"""Matching as one convex program over measures (Eq 8), for every psi that cvxpy can write: a second opinion.

    min over rho, sigma >= 0   -lam Hbar(rho) + psi*(sigma - rho_E)
    subject to                 sum_a rho(s, a) = p0(s) + gamma (P' rho)(s),     sigma = rho

The copy sigma has no part but to own a multiplier: at the optimum it is the cost, and that of the flow is V. The
solver's rho satisfies the flow only to its tolerance, so that its policy is what is kept.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from functools import partial

import cvxpy as cp
import numpy as np
from scipy.sparse import csr_array

from occmatch import cvx
from occmatch.candidate import Candidate, Infeasible
from occmatch.checks import FloatArray
from occmatch.matching_features import explained, matched
from occmatch.matching_finish import finish
from occmatch.matching_newton import best_cost
from occmatch.matching_support import Support
from occmatch.mdp import MDP
from occmatch.occupancy import causal_entropy, occupancy, policy
from occmatch.regularisers import Constant, Expression, FDivergence, Regulariser, Surrogate

_FAINT = 1e-14
"""Share of the largest mass below which the expert's is far below the solver's tolerance."""

# Beyond what Clarabel reaches, so that it stops where it no longer progresses.
TIGHT = {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-13, "max_iter": 300}


def negligible(psi: Regulariser, rho_E: FloatArray) -> np.ndarray:
    """Mask [S, A] of faint pairs (`_faint`) that the program leaves out.

    Their optimal mass is of the order of rho_E, and leaving it out costs no more; but where psi* is divided by rho_E
    (chi-square) the solver's own error there would outweigh all the rest. Where psi* is infinite without that mass
    (exponential_linear) none is left out.
    """
    demanded = psi.divergence(np.zeros_like(rho_E), rho_E) == np.inf
    return np.zeros(rho_E.shape, dtype=bool) if demanded else _faint(psi, rho_E)


def _faint(psi: Regulariser, rho_E: FloatArray) -> np.ndarray:
    """Mask [S, A] of pairs that psi* forbids but for a mass of the expert far below the solver's tolerance."""
    tiny = (rho_E > 0) & (rho_E < _FAINT * rho_E.max(initial=0.0))
    if not tiny.any() or not isinstance(psi, Surrogate | FDivergence):
        return np.zeros(rho_E.shape, dtype=bool)
    return tiny & _without(psi, tiny).forbidden(np.where(tiny, 0.0, rho_E))


def _without(psi: Surrogate | FDivergence, pairs: np.ndarray) -> Surrogate | FDivergence:
    return replace(psi, rho_E=np.where(pairs, 0.0, psi.rho_E))


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
    ruled_out = ~support.extend(support.allowed, fill=True)
    left_out = ruled_out & negligible(psi, rho_E)
    stated, expert = (_without(psi, left_out), np.where(left_out, 0.0, rho_E)) if left_out.any() else (psi, rho_E)
    divergence, constraints = cvx.conjugate(stated, sigma, expert)
    constraints = [flow, copy, *constraints]
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
    if status == "unbounded" and isinstance(psi, Expression):  # -lam Hbar is bounded on D, so that psi* is -inf
        return Infeasible(
            "the solver reports unbounded: psi is +inf at every cost. Likely cause: its constraints contradict "
            "one another"
        )
    if rho.value is None:
        raise ArithmeticError(
            f"the convex program ended with status {status!r} and no point. Likely causes: (a) psi* and lam Hbar are "
            "of very different size (rescale psi or lam); (b) rho_E has entries near underflow"
        )
    found = policy(np.where(ruled_out, 0.0, np.maximum(rho.value, 0.0)))
    costs = [-np.asarray(copy.dual_value)]
    measure = occupancy(mdp, found)
    if psi.divergence(measure, rho_E) == np.inf:  # where psi* demands equality, the solver's tolerance misses it
        near = [measure, occupancy(mdp, policy(rho_E))]
        if isinstance(psi, Constant) and psi.features is not None:
            near.append(matched(mdp, psi.features, measure, rho_E))
            cost = explained(mdp, psi.features, near[-1], lam)
            costs += [] if cost is None else [cost]
        measure = min(near, key=lambda rho: _primal(psi, rho, rho_E, lam))
    if psi.smooth:
        costs.append(best_cost(support, psi, measure, rho_E))
    finished = partial(
        finish,
        support,
        psi,
        rho_E,
        lam,
        method=f"convex program ({solver.title()})",
        started=started,
        iterations=int(problem.solver_stats.num_iters or 0),
        rho=measure,
    )
    candidate = finished([np.where(left_out | (ruled_out & psi.forbidden(rho_E)), np.inf, c) for c in costs])
    faint = _faint(psi, rho_E)
    if faint.any() and lam > 0 and psi.smooth:  # the solver cannot tell what their cost is
        candidate = finished([candidate.cost, _balanced(mdp, candidate, psi, rho_E, faint)])
    # The policy of the cost is the better one where the solver's measures are the less accurate of the two.
    if lam == 0:
        return candidate
    answer = finish(support, psi, rho_E, lam, [candidate.cost], method=candidate.method, started=started, iterations=0)
    better = _primal(psi, answer.rho, rho_E, lam) < _primal(psi, measure, rho_E, lam)
    return replace(candidate, rho=answer.rho, pi=answer.pi) if better else candidate


def _primal(psi: Regulariser, rho: FloatArray, rho_E: FloatArray, lam: float) -> float:
    return psi.divergence(rho, rho_E) - lam * causal_entropy(rho)


def _balanced(mdp: MDP, candidate: Candidate, psi: Regulariser, rho_E: FloatArray, pairs: np.ndarray) -> FloatArray:
    """The candidate's cost with each of `pairs` where its policy's mass is what the cost is best for, by bisection.

    d exp((V - gamma P V - c) / lam) = rho_E + psi'(c): lower costs leak, higher ones cost psi, which may grow like e^c.
    """
    lam, V = candidate.lam, candidate.V
    advantage = V[:, None] - mdp.gamma * mdp.expect(V)
    visits = np.maximum(candidate.rho.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    low, high = advantage, advantage + 1e3 * lam
    for _ in range(60):
        c = 0.5 * (low + high)
        mass = rho_E + psi.dvalue(np.where(pairs, c, 0.0))
        less = np.log(np.maximum(mass, 1e-300)) < np.log(visits) + (advantage - c) / lam
        low, high = np.where(less, c, low), np.where(less, high, c)
    return np.where(pairs, low, candidate.cost)


def _run(problem: cp.Problem, solver: str) -> str:
    """Solve, first with tight tolerances and then with the solver's own; the status."""
    status = "solver_error"
    for options in (TIGHT, {}) if solver == "CLARABEL" else ({},):
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                # "Solution may be inaccurate": the certificate will say what it is worth.
                warnings.simplefilter("ignore", UserWarning)
                problem.solve(solver=solver, **options)
            status = str(problem.status)
        except cp.error.SolverError:
            continue
        if status != "solver_error":
            break
    return status
