"""Typed answers where IRL has no optimal cost: the diverging sequence, and rays found by the convex program itself."""

from __future__ import annotations

import numpy as np

from occmatch import checks
from occmatch.bellman import rl
from occmatch.candidate import Candidate, Infeasible, NotAttained, Unbounded
from occmatch.irl import dual, program
from occmatch.irl.dual import Array, Problem
from occmatch.irl.support import matches_exactly
from occmatch.occupancy import flow_residual, occupancy, policy

STEPS = (4.0, 8.0, 16.0, 32.0, 64.0)
"""Nats by which the costs of the sequence rule out what must be ruled out: a policy leak of e^-step, down to e^-64.

Without entropy, units of cost."""


def not_attained(problem: Problem, ray: Array, c: Array, V: Array, pi: Array, rho: Array, method: str) -> NotAttained:
    """The limit (pi, rho) and costs c + k ray whose dual values rise to its value."""
    mdp, psi, lam = problem.mdp, problem.psi, problem.lam
    if matches_exactly(psi):  # then the limit is known, and better than any solver's
        pi = policy(problem.rho_E)
        rho = occupancy(mdp, pi)
    ray_V = rl(mdp, ray, 0.0).V
    # Per unit of k an excluded pair falls behind the value of its state by its slack; `lag` is where it starts.
    slack = ray + mdp.gamma * mdp.expect(ray_V) - ray_V[:, None]
    live = problem.free.any(axis=1, keepdims=True)
    out = live & ~problem.free & (slack > 0)
    lag = (V[:, None] - c - mdp.gamma * mdp.expect(V))[out]
    rate = slack[out].min() if out.any() else 1.0
    start = max(0.0, float((lag / slack[out]).max())) if out.any() else 0.0
    sequence = []
    for step in STEPS:
        cost = psi.repair(c + (start + (lam or 1.0) * step / rate) * ray)
        found = rl(mdp, cost, lam)
        sequence.append(
            Candidate(
                rho=found.rho,
                cost=cost,
                V=found.V,
                pi=found.pi,
                lam=lam,
                method=method,
                margin=dual.margin_of(psi, cost),
                attained=False,
            )
        )
    s, a = (int(k) for k in np.argwhere(ray != 0)[0])
    message = (
        f"the optimal policy exists, but the cost that makes it optimal is infinite, first at [{s}, {a}]. Likely "
        "causes: (a) a deterministic expert: it never takes an action that entropy would take under any finite cost, "
        "and psi forbids mass where the expert has none; (b) the expert visits a state that no policy reaches. "
        "Choose a psi that is finite there (logistic, js, hellinger), or take a member of `sequence`"
    )
    return NotAttained(dual.primal_value(problem, rho), rho, pi, ray, tuple(sequence), message)


def no_optimum(problem: Problem, status: str) -> Unbounded | Infeasible:
    """What the solver's status means: the program is infeasible, or it rises without limit inside growing boxes."""
    residual = flow_residual(problem.mdp, problem.rho_E)
    bounded = float(np.abs(residual).sum()) * (1.0 - problem.mdp.gamma) <= checks.FLOW_SLACK
    if bounded and problem.psi.divergence(problem.rho_E, problem.rho_E) < np.inf:
        raise _unsolved(status, "rho_E itself bounds the dual")
    near = occupancy(problem.mdp, policy(problem.rho_E))
    if np.isfinite(problem.psi.divergence(near, problem.rho_E)):
        raise _unsolved(status, "the measure of the expert's policy bounds the dual")
    small = program.solve_program(problem, bound=1.0)
    if small.status not in program.DUAL_STATUS:
        small = program.solve_program(problem, bound=1e3)
    if small.status not in program.DUAL_STATUS:
        return Infeasible(
            f"psi is +inf at every cost the solver tried (status {status}). Likely causes: (a) its constraints "
            "contradict one another; (b) its domain lies beyond costs of size 1000: rescale it"
        )
    large = program.solve_program(problem, bound=1e5)
    best = large if large.status in program.DUAL_STATUS else small
    size = float(np.abs(best.cost).max())
    ray = best.cost / size if size > 0 else best.cost
    ray_V = rl(problem.mdp, ray, 0.0).V
    slope = float(problem.mdp.p0 @ ray_V - np.vdot(problem.rho_E, ray))
    message = (
        f"the dual has no maximum (status {status}): psi* is infinite on every occupancy measure. Likely causes: (a) "
        "psi is zero along a direction of costs in which rho_E differs from every measure in D; (b) rho_E is not an "
        "occupancy measure of this MDP"
    )
    return Unbounded(ray, ray_V, slope, residual, message)


def _unsolved(status: str, because: str) -> ArithmeticError:
    return ArithmeticError(
        f"the convex program ended with status {status!r}, but {because}. Likely causes: (a) gamma is next to one; (b) "
        "psi and lam are of very different size (rescale one of them). `match`, or method 'newton', may solve it"
    )
