"""Occupancy matching: the primal of Proposition 3.2, for every psi.

    min over rho in D of  -lam Hbar(rho) + psi*(rho - rho_E)                      (Eq 8, 11, 15; Prop A.1)

Its minimiser is the occupancy measure of RL o IRL_psi(pi_E), so `match` and `irl` must find the same policy by methods
that share nothing. Which method solves which psi:

    exact      psi constant (also the linear loss): rho = rho_E in closed form             matching_exact
    newton     separable smooth psi*: surrogates, f-divergences, squared distance          matching_newton
    interior   cost classes: l2 ball, simplex, box (also total variation), weighted        matching_interior
               features
    program    any psi with a cvxpy form; with lam = 0 too                                 matching_program

The first three are ours and reach rounding; "newton" stands for whichever of them fits, `has_newton` says whether one
does.
"""

from __future__ import annotations

import time

import numpy as np

from occmatch import checks
from occmatch.candidate import Candidate, Infeasible
from occmatch.checks import FloatArray
from occmatch.matching_classes import as_cost_class
from occmatch.matching_exact import exact
from occmatch.matching_finish import finish
from occmatch.matching_interior import interior
from occmatch.matching_linear import Linear
from occmatch.matching_newton import best_cost, newton
from occmatch.matching_support import Support, support
from occmatch.mdp import MDP
from occmatch.occupancy import causal_entropy
from occmatch.progress import Progress, Say, reporting
from occmatch.regularisers import Constant, Regulariser, Surrogate, fitting, same_expert

METHODS = ("newton", "program")

# States up to which the convex program takes seconds, and is asked too where Newton has lost its way: an expert that is
# nearly deterministic and a cost class 1,000 times as large as lam; a psi* with a kink, or a lam next to nothing.
_PROGRAM_STATES = 500

# Gap, relative to the objective, beyond which Newton has lost its way.
_LOST = 1e-8


def match(
    mdp: MDP,
    rho_E: FloatArray,
    psi: Regulariser,
    lam: float = 1.0,
    method: str | None = None,
    *,
    start: Candidate | None = None,
    progress: Progress = None,
) -> Candidate | Infeasible:
    """argmin over rho in D of -lam Hbar(rho) + psi*(rho - rho_E) with its cost and value (Eq 8); `certify` judges.

    `rho_E` [S, A] >= 0 need not lie in D unless psi demands it, but is the measure that psi holds, if any; `method` is
    "newton", "program" (the only one that takes lam = 0), or None for the first that exists, and for the program too
    where that is lost on a small MDP.
    Infeasible where no measure of the MDP has a finite psi*.
    `start`, an answer for a like problem on this MDP, saves Newton steps; `progress` is told of each (see `rl`).
    Raises ValueError for bad arguments, and for "newton" where psi has no such solver.
    """
    checks.solvable(mdp, "match")
    rho_E, psi = checks.measure(mdp, rho_E, "rho_E"), fitting(mdp, psi)
    same_expert(psi, rho_E)
    lam, chosen = checks.lam(lam), method is None
    if not isinstance(start, Candidate | None):
        raise ValueError(f"start must be a Candidate, but is {type(start).__name__}")
    if method is None:
        method = "newton" if has_newton(psi) and lam > 0 else "program"
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, but is {method!r}")
    if method == "newton":
        if not has_newton(psi):
            raise ValueError(
                f"method must be 'program' for {type(psi).__name__}, which has no Newton solver, but is {method!r}"
            )
        lam = checks.lam(lam, positive=True)
        if _constant(psi):
            return exact(mdp, psi, rho_E, lam)
    near = None if start is None else (checks.policy(mdp, start.pi, "start.pi"), checks.state_vector(mdp, start.V))
    started = time.perf_counter()
    part = support(mdp, psi.forbidden(rho_E))
    if part is None:
        return Infeasible(
            "psi* is infinite on pairs that the expert never visits, and no policy avoids them all. Likely causes: "
            "(a) rho_E was estimated from finite data; (b) rho_E belongs to another MDP"
        )
    if method == "program":
        return _program(part, psi, rho_E, lam)
    small = chosen and mdp.S <= _PROGRAM_STATES
    cost_class = as_cost_class(psi, mdp.shape)
    found: Candidate | Infeasible
    with reporting(progress, f"matching on {mdp.S:,} states") as say:
        if cost_class is not None:
            found = interior(mdp, psi, cost_class, rho_E, lam, V0=near[1] if near else None, say=say)
        else:
            found = _smooth(part, psi, rho_E, lam, started, near, say)
    if small and isinstance(found, Candidate) and not _gap(mdp, psi, rho_E, found) <= _LOST:
        return _better(part, psi, rho_E, found)
    return found


def _program(part: Support, psi: Regulariser, rho_E: FloatArray, lam: float) -> Candidate | Infeasible:
    from occmatch.matching_program import negligible, program  # cvxpy is loaded only where it is used

    return program(support(part.whole, psi.forbidden(rho_E) | negligible(psi, rho_E)) or part, psi, rho_E, lam)


def _better(part: Support, psi: Regulariser, rho_E: FloatArray, found: Candidate) -> Candidate:
    """`found`, or the answer of the convex program where its gap is the smaller one."""
    try:
        other = _program(part, psi, rho_E, found.lam)
    except (ArithmeticError, TypeError):  # Clarabel gave up, or a loss of one's own has no cvxpy form
        return found
    if not isinstance(other, Candidate):
        return found
    return min(found, other, key=lambda answer: _gap(part.whole, psi, rho_E, answer))


def _gap(mdp: MDP, psi: Regulariser, rho_E: FloatArray, found: Candidate) -> float:
    """Objective of the measure less dual value of the cost, relative to them or to lam / (1 - gamma)."""
    primal = psi.divergence(found.rho, rho_E) - found.lam * causal_entropy(found.rho)
    dual = float(mdp.p0 @ found.V) + psi.dual_value(found.cost, rho_E)
    if not np.isfinite(primal - dual):
        return np.inf
    return abs(primal - dual) / max(abs(primal), abs(dual), found.lam / (1.0 - mdp.gamma))


def has_newton(psi: Regulariser) -> bool:
    """Whether a solver of our own exists for psi: all but Lipschitz, Expression, and Constant on features."""
    return psi.smooth or _constant(psi) or as_cost_class(psi, (1, 1)) is not None


def _smooth(
    part: Support,
    psi: Regulariser,
    rho_E: FloatArray,
    lam: float,
    started: float,
    near: tuple[FloatArray, FloatArray] | None,
    say: Say,
) -> Candidate | Infeasible:
    first = None if near is None else (part.restrict(near[0]), part.restrict(near[1]))
    linear = Linear(part.mdp)
    rho, V, history = newton(part, psi, rho_E, lam, start=first, say=say, linear=linear)
    if not history:
        return Infeasible(
            "psi*(rho - rho_E) is infinite in the interior of D, hence everywhere. Likely cause: rho_E has mass on "
            "states that this MDP never reaches"
        )
    return finish(
        part,
        psi,
        rho_E,
        lam,
        [best_cost(part, psi, part.extend(rho), rho_E)],
        method="Newton",
        started=started,
        iterations=len(history),
        V0=part.extend(V),
        history=history,
        linear=linear,
        guess=part.extend(rho.sum(axis=1)),
    )


def _constant(psi: Regulariser) -> bool:
    """Whether psi is zero on all costs, so that psi* is the indicator of rho = rho_E."""
    return (isinstance(psi, Constant) and psi.features is None) or (isinstance(psi, Surrogate) and psi.is_linear)
