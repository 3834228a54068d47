"""IRL_psi as one convex program with no inner loop, for every psi that cvxpy can write.

    max_{c, V, x}  p0.V - <rho_E, c> - psi(c)
    s.t.           lam x(s, a) = V(s) - c(s, a) - gamma (P V)(s, a)          (dual variable: rho)
                   sum_a exp(x(s, a)) <= 1                                    (dual variable: lam d)

The last line says V <= T V for the soft Bellman operator T, and p0.V pushes V up to equality. Its optimum holds the
policy twice: exp(x) is the soft policy of c, and the multipliers of the first line are the occupancy measure. With
lam = 0 the two constraints become V(s) <= c(s, a) + gamma (P V)(s, a), a linear program where psi allows.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import cvxpy as cp
import numpy as np
from scipy import sparse

from occmatch import cvx
from occmatch.candidate import NoBestCost
from occmatch.irl.dual import Array, Outcome, Problem, best_policy
from occmatch.irl.polish import polish, separable
from occmatch.irl.support import matches_exactly
from occmatch.irl.weights import solve_weights
from occmatch.occupancy import policy
from occmatch.regularisers import Constant, Lipschitz, Regulariser

TIGHT = {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-12, "max_iter": 300}
"""Clarabel's tolerances: beyond what it reaches, so that it stops where it no longer progresses."""

DUAL_STATUS = ("optimal", "optimal_inaccurate")

POLISHING = 100
"""Newton steps from the program's weights, where psi* is the indicator of matched features."""

BOX = 1e3
"""Largest cost and, times 1 / (1 - gamma), value of the second try."""


@dataclass(frozen=True, eq=False)
class Solution:
    """The optimum of the program: cost [S, A], V [S], the soft policy of the cost, and the multipliers rho [S, A]."""

    status: str
    cost: Array
    V: Array
    pi: Array
    rho: Array
    iterations: int


def solve(problem: Problem) -> Outcome | str:
    """The program's proposals, or the solver's status where there is no optimum."""
    solution = solve_program(problem)
    if solution.status == "solver_error":
        solution = _boxed(problem) or solution
    if solution.status not in DUAL_STATUS:
        return solution.status
    from_duals = policy(solution.rho)
    costs = [solution.cost]
    try:
        costs.append(problem.psi.best_cost(solution.rho, problem.rho_E))
    except NoBestCost:
        pass  # the multipliers are feasible only up to the solver's tolerance
    policies = [solution.pi, from_duals]
    if problem.lam == 0 and matches_exactly(problem.psi):  # then no cost tells the policy, which is known
        policies.append(policy(problem.rho_E))
    if isinstance(problem.psi, Constant) and problem.psi.features is not None and problem.lam > 0:
        if best_policy(problem, policies, problem.free)[2] == np.inf:  # the solver's tolerance misses the features
            met = solve_weights(problem, POLISHING, start=solution.cost)
            costs += met.costs
            policies += met.policies
    if separable(problem):
        V, rho = solution.V, solution.rho
        for _ in range(2):
            c, pi = polish(problem, V, rho)
            costs.append(c)
            policies.append(pi)
            V, _, rho = problem.answer(c)
    return Outcome(tuple(costs), tuple(policies), solution.iterations)


def _boxed(problem: Problem) -> Solution | None:
    """The program inside |c| <= BOX, where its optimum stays clear of the sides: then, by concavity, that of the whole.

    It is another path to the same point, for programs on which Clarabel gives up.
    """
    solution = solve_program(problem, bound=BOX)
    inside = (
        np.abs(solution.cost).max() < 0.5 * BOX
        and np.abs(solution.V).max() * (1 - problem.mdp.gamma) < 0.5 * BOX
        and solution.status in DUAL_STATUS
    )
    return solution if inside else None


def solve_program(problem: Problem, bound: float | None = None) -> Solution:
    """The convex program by Clarabel; `bound` adds |c| <= bound and |V| <= bound / (1 - gamma)."""
    mdp, free = problem.mdp, problem.free
    S, A = mdp.shape
    c, V = cp.Variable((S, A)), cp.Variable(S)
    rows = np.flatnonzero(free)
    head = sparse.csr_array((np.ones(rows.size), (np.arange(rows.size), rows // A)), shape=(rows.size, S))
    advantage = (head - mdp.gamma * mdp.P[rows]) @ V - cp.vec(c, order="C")[rows]
    reward, constraints = cvx.dual_value(problem.psi, c, problem.rho_E)
    objective = mdp.p0 @ V + reward
    live = free.any(axis=1)
    if not live.all():
        constraints += [V[np.flatnonzero(~live)] == 0]
    if not free.all() and not isinstance(problem.psi, Lipschitz) and problem.psi.features is None:
        # Costs of pairs without mass enter nothing but psi, which may have no maximiser there.
        constraints += [c[np.nonzero(~free)] == problem.rest[~free]]
    if bound is not None:
        constraints += [cp.abs(c) <= bound, cp.abs(V) <= bound / (1 - mdp.gamma)]
    if problem.lam > 0:
        x = cp.Variable(rows.size)
        bellman = problem.lam * x == advantage
        sums = sparse.csr_array((np.ones(rows.size), (rows // A, np.arange(rows.size))), shape=(S, rows.size))
        constraints += [bellman, sums[live] @ cp.exp(x) <= 1]
    else:
        bellman = advantage <= 0
        constraints += [bellman]
    program = cp.Problem(cp.Maximize(objective), constraints)
    status = _run(program)
    if status not in DUAL_STATUS or c.value is None:
        nothing = np.zeros((S, A))
        return Solution(status, nothing, np.zeros(S), nothing, nothing, 0)
    rho = np.zeros(S * A)
    rho[rows] = np.abs(bellman.dual_value)  # cvxpy fixes the sign of an equality's multiplier by its own convention
    pi = np.zeros(S * A)
    if problem.lam > 0:
        pi[rows] = np.exp(x.value - x.value.max())
    else:
        pi = rho
    iterations = int(program.solver_stats.num_iters or 0)
    return Solution(status, c.value, V.value, policy(pi.reshape(S, A)), rho.reshape(S, A), iterations)


def _run(program: cp.Problem) -> str:
    """Solve, first with tight tolerances and then with the solver's own; the status."""
    status = "solver_error"
    for options in (TIGHT, {}):
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                # "Solution may be inaccurate": what it is worth, the certificate will say. And cvxpy values the
                # objective at the point found, which rounding may have put off its domain.
                warnings.simplefilter("ignore", UserWarning)
                program.solve(solver=cp.CLARABEL, **options)
            status = str(program.status)
        except cp.error.SolverError:
            continue
        if status in DUAL_STATUS or "unbounded" in status or status == "infeasible":
            return status
    return status


def prox_by_cvxpy(psi: Regulariser, v: Array, step: float) -> Array:
    """argmin psi(c) + |c - v|^2 / (2 step) by Clarabel, for psi without a closed form."""
    c = cp.Variable(v.shape)
    value, constraints = cvx.psi(psi, c)
    status = _run(cp.Problem(cp.Minimize(value + cp.sum_squares(c - v) / (2 * step)), constraints))
    if status not in DUAL_STATUS:
        raise ArithmeticError(f"Clarabel did not find the proximal point of {type(psi).__name__}: {status}")
    return psi.repair(c.value)
