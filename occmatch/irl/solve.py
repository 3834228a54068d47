"""`irl`: the public entry. Validates, settles what needs no solver, and hands the rest to a method."""

from __future__ import annotations

import time

import numpy as np

from occmatch import checks
from occmatch.candidate import Candidate, Infeasible, NotAttained, Unbounded
from occmatch.irl import dual
from occmatch.irl.dual import Array, Outcome, Problem
from occmatch.irl.support import analyse
from occmatch.mdp import MDP
from occmatch.progress import Progress, reporting
from occmatch.regularisers import Regulariser, fitting, same_expert

METHODS = ("program", "ascent", "newton")

TOLERANCE = {"program": 0.0, "ascent": 1e-8, "newton": 0.0}
"""Relative gap at which a method stops by default; the program's tolerances are its own."""


def irl(
    mdp: MDP,
    rho_E: Array,
    psi: Regulariser,
    lam: float = 1.0,
    method: str = "program",
    *,
    tol: float | None = None,
    max_iter: int = 2_000,
    momentum: bool = True,
    progress: Progress = None,
) -> Candidate | NotAttained | Unbounded | Infeasible:
    """IRL_psi(pi_E) = argmax_c -psi(c) + (min_pi -lam H(pi) + E_pi[c]) - E_piE[c] (Eq 3), from rho_E [S, A].

    `method`: "program", one convex program, any psi with a cvxpy form and lam >= 0; "ascent", proximal gradient ascent
    on the dual with RL(c) inside (lam > 0, `momentum` as in `ascent`); "newton", second order on the dual for
    differentiable psi, feature weights and l2 balls (lam > 0). The last two end where the relative gap is `tol`
    ("ascent" over a constant psi: the gradient; default 1e-8, and rounding for "newton") or after `max_iter` steps, and
    tell `progress` after each (see `rl`).
    Returns a Candidate for the certificate to judge, or a typed failure. Raises ValueError for bad arguments, such as a
    psi that holds another measure than rho_E; TypeError from "program" for a psi or a loss of one's own, which has no
    cvxpy form; ArithmeticError where a solver fails.
    """
    checks.solvable(mdp, "irl")
    rho_E = checks.measure(mdp, rho_E, "rho_E")
    lam = checks.lam(lam, positive=method != "program")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, but is {method!r}")
    tol = checks.lam(TOLERANCE[method] if tol is None else tol, "tol")
    max_iter = checks.count(max_iter, "max_iter")
    psi = fitting(mdp, psi)
    same_expert(psi, rho_E)
    start = time.perf_counter()
    support = analyse(mdp, rho_E, psi, lam)
    if isinstance(support, Unbounded):
        return support
    with reporting(progress, f"IRL on {mdp.S:,} states") as say:
        # Without entropy the costs of pairs without mass are finite, and to be found like all others.
        free = support.free if lam > 0 else np.ones(mdp.shape, dtype=bool)
        problem = Problem(mdp, rho_E, psi, lam, free, say)
        outcome = _run(problem, method, tol, max_iter, momentum)
    if not isinstance(outcome, Outcome):
        return outcome
    c, V, pi_c = dual.best_cost(problem, outcome.costs)
    pi, rho, _ = dual.best_policy(problem, (*outcome.policies, pi_c), support.free)
    if not support.attained:
        from occmatch.irl.failures import not_attained

        return not_attained(problem, support.ray, c, V, pi, rho, method)
    return Candidate(
        rho=rho,
        cost=c,
        V=V,
        pi=pi,
        lam=lam,
        method=method,
        margin=dual.margin_of(psi, c),
        iterations=outcome.iterations,
        seconds=time.perf_counter() - start,
        gradient=outcome.gradient,
        history=outcome.history,
    )


def _run(problem: Problem, method: str, tol: float, max_iter: int, momentum: bool) -> Outcome | Unbounded | Infeasible:
    """The outcome of a method; cvxpy is imported only where it is used."""
    if method == "newton":
        from occmatch.irl import newton

        return newton.solve(problem, max_iter, tol)
    if method == "ascent":
        from occmatch.irl import ascent

        return ascent.solve(problem, tol, max_iter, momentum)
    from occmatch.irl import failures, program

    outcome = program.solve(problem)
    return failures.no_optimum(problem, outcome) if isinstance(outcome, str) else outcome
