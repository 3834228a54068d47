"""Linear programs over occupancy measures: optimal control and matching without entropy (lam = 0).

Minimising E_pi[c] over policies is minimising <rho, c> over the polytope D = { rho >= 0 : M rho = p0 } (Manne 1960;
Puterman 1994, section 6.9), and where psi* is polyhedral so is  min_{rho in D} psi*(rho - rho_E):

    optimal_control     <rho, c>                                    dual: max p0.V  s.t.  V <= c + gamma P V
    lpal                max_k <rho - rho_E, f_k>                    LPAL (Syed, Bowling & Schapire 2008)
    match_l1            bound ||rho - rho_E||_1                     psi = Box(bound)
    match_wasserstein   least cost of a flow from rho_E to rho      psi = Lipschitz(metric)

Each takes budgets  <rho, d_k> <= b_k  (constrained MDPs, Altman 1999).  Their prices y >= 0 enter the dual,

    max_{c, V, y}  p0.V - <rho_E, c> - psi(c) - b.y   s.t.   V <= c + sum_k y_k d_k + gamma P V,

whose variables are the multipliers of the rows.  Vertices of D are the occupancy measures of deterministic policies;
m budgets leave optimal vertices that randomise in at most m of the visited states.

`solver` chooses among HiGHS's methods: "simplex" (the default), "interior" and "pdlp" (`lp_highs`), and for control
without budgets "policy", policy iteration, which is the simplex method with every improving pivot at once (Ye 2011),
the default from `LARGE` pairs on. HiGHS knows no coefficients below 1e-9: it solves the MDP without transitions as rare
as that, and how far value and bound are apart on the MDP as it is says what that costs.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array, eye_array, hstack

from occmatch import checks
from occmatch.bellman import rl
from occmatch.candidate import Infeasible
from occmatch.checks import FloatArray
from occmatch.lp_budgets import Budgets, Limits
from occmatch.lp_simplex import (
    VIOLATION_RTOL,
    Program,
    Rows,
    Vertex,
    flow_coefficients,
    flow_rows,
    least_violation,
    none,
    over,
    solve,
    typical,
)
from occmatch.lp_solution import Solution, finish
from occmatch.mdp import MDP
from occmatch.regularisers import Box, Lipschitz, Simplex, project_simplex

LARGE = 20_000
"""Pairs (s, a) from which on control without budgets is by policy iteration: the simplex method takes minutes there."""

SOLVERS = ("simplex", "interior", "pdlp")


def optimal_control(
    mdp: MDP, cost: ArrayLike, *, budgets: Budgets = (), solver: str | None = None
) -> Solution | Infeasible:
    """min_{rho in D} <rho, cost>  s.t.  <rho, d> <= b for each (d, b) of `budgets`, d [S, A]; `Infeasible` if empty.

    `solver` is None for the first that fits, or a name of the module docstring. Without budgets pi is deterministic in
    every visited state by "simplex" and "policy" (see `deterministic_policy` for the others).
    Raises ValueError for a cost or budget that is not finite or of another shape, and for another solver.
    """
    checks.explicit(mdp)
    start, c = time.perf_counter(), checks.cost(mdp, cost)
    limits = Limits.of(mdp, budgets)
    if solver is None:
        solver = "policy" if not limits.b.size and c.size >= LARGE else "simplex"
    if solver == "policy":
        return _by_policies(mdp, c, limits, start)
    program = _program(mdp, c.ravel(), limits, none(c.size))
    vertex = solve(program, _known(solver))
    if vertex is None:
        return _infeasible(program)
    seconds = time.perf_counter() - start
    method = f"control ({solver})"
    return finish(mdp, limits, vertex, vertex.x, vertex.flow, limits.prices(vertex), c, method, seconds)


def _by_policies(mdp: MDP, c: FloatArray, limits: Limits, start: float) -> Solution:
    """Policy iteration as a solver of the same linear program: its answer is a vertex, its value the multipliers."""
    if limits.b.size:
        raise ValueError(f"solver must be one of {', '.join(SOLVERS)} where there are budgets, but is 'policy'")
    answer = rl(mdp, c, 0.0)
    rho = answer.rho
    vertex = Vertex(rho.ravel(), float(np.vdot(rho, c)), answer.V, np.zeros(0), np.zeros(0), answer.iterations)
    seconds = time.perf_counter() - start
    return finish(mdp, limits, vertex, rho, answer.V, np.zeros(0), c, "control (policy iteration)", seconds)


def _known(solver: str) -> str:
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, but is {solver!r}")
    return solver


def optimal_control_dual(
    mdp: MDP, cost: ArrayLike, *, budgets: Budgets = (), solver: str = "simplex"
) -> Solution | Infeasible:
    """The dual of `optimal_control`: max p0.V - b.y  s.t.  V <= cost + sum_k y_k d_k + gamma P V,  y >= 0.

    rho is the multiplier of the inequalities.  The same result from the other side; V is the simplex's own variable.
    """
    checks.explicit(mdp)
    start, c = time.perf_counter(), checks.cost(mdp, cost)
    limits, transposed = Limits.of(mdp, budgets), csr_array(flow_coefficients(mdp).T)
    m, (S, A) = limits.b.size, mdp.shape
    scale = typical(c)
    program = Program(
        objective=np.concatenate([-mdp.p0, limits.b]),
        flow=none(S + m),
        equal=none(S + m),
        below=over(transposed, c.ravel() / scale, -limits.rows.T.tocsr(), m),
        free=np.arange(S + m) < S,
    )
    vertex = solve(program, _known(solver))
    if vertex is None:
        # V = min c / (1 - gamma) and y = 0 are feasible, so that the dual was unbounded.
        return _infeasible(_program(mdp, c.ravel(), limits, none(S * A)))
    V, y = scale * vertex.x[:S], scale * vertex.x[S:].clip(min=0.0) / limits.scale
    seconds = time.perf_counter() - start
    return finish(mdp, limits, vertex, -vertex.below, V, y, c, f"control, dual ({solver})", seconds)


def deterministic_policy(mdp: MDP, cost: ArrayLike) -> FloatArray:
    """A deterministic policy [S, A] (one 1 a row) that minimises E_pi[cost] from every state, so for any p0.

    It is a vertex of D for the uniform initial distribution, under which every policy visits every state
    (Puterman 1994, theorem 6.9.1).  Raises ValueError for a cost that is not finite [S, A].
    """
    checks.explicit(mdp)
    c = checks.cost(mdp, cost)
    everywhere = MDP(mdp.P, np.full(mdp.S, 1.0 / mdp.S), mdp.gamma)
    program = _program(everywhere, c.ravel(), Limits.of(mdp, ()), none(c.size))
    vertex = solve(program)
    if vertex is None:
        raise _failure(0.0)
    return np.eye(mdp.A)[vertex.x.reshape(mdp.shape).argmax(axis=1)]


def lpal(
    mdp: MDP,
    rho_E: ArrayLike,
    features: ArrayLike | None = None,
    *,
    budgets: Budgets = (),
    solver: str = "simplex",
) -> Solution | Infeasible:
    """min_{rho in D} max_k <rho - rho_E, f_k> for costs f_k = features[:, :, k] [S, A, K]; None: one for each pair.

    LPAL of Syed, Bowling & Schapire (2008), with costs for rewards; `value` < 0 where the policy beats the expert on
    every feature.  `cost` is the worst mixture sum_k w_k f_k.  rho_E [S, A] >= 0 need not lie in D.
    """
    checks.explicit(mdp)
    start, rho_E, psi = time.perf_counter(), checks.measure(mdp, rho_E, "rho_E"), Simplex(features)
    n = mdp.S * mdp.A
    if psi.features is not None and psi.features.shape[:2] != mdp.shape:
        raise ValueError(f"features must have shape ({mdp.S}, {mdp.A}, K), but has shape {psi.features.shape}")
    F = eye_array(n, format="csr") if psi.features is None else csr_array(psi.features.reshape(n, -1))
    # Rows of size one, so that HiGHS's tolerance is relative; t scales with them.
    scale = float(np.abs(F.data).max(initial=0.0)) or 1.0
    limits = Limits.of(mdp, budgets)
    rows = csr_array(F.T) / scale
    gaps = over(rows, rows @ rho_E.ravel(), csr_array(-np.ones((F.shape[1], 1))), 1)
    objective = np.append(np.zeros(n), scale)
    program = _program(mdp, objective, limits, none(n + 1), gaps, free=np.arange(n + 1) == n)
    vertex = solve(program, _known(solver))
    if vertex is None:
        return _infeasible(program)
    w = project_simplex(-vertex.below[limits.b.size :] / scale)
    c = (F @ w).reshape(mdp.shape)
    return finish(
        mdp,
        limits,
        vertex,
        vertex.x[:n],
        vertex.flow,
        limits.prices(vertex),
        c,
        f"LPAL ({solver})",
        time.perf_counter() - start,
        psi,
        rho_E,
    )


def match_l1(
    mdp: MDP, rho_E: ArrayLike, bound: float = 1.0, *, budgets: Budgets = (), solver: str = "simplex"
) -> Solution | Infeasible:
    """min_{rho in D} bound ||rho - rho_E||_1, the total variation match; |cost| <= bound (psi = Box(bound)).

    rho_E [S, A] >= 0 need not lie in D: an estimate from data is projected.  Raises ValueError for bound <= 0.
    """
    checks.explicit(mdp)
    psi = Box(bound)
    eye = eye_array(mdp.S * mdp.A, format="csr")
    weights = np.full(mdp.S * mdp.A, psi.bound)
    return _transport(mdp, rho_E, psi, eye, weights, budgets, "l1 matching", solver)


def match_wasserstein(
    mdp: MDP, rho_E: ArrayLike, metric: Any, *, budgets: Budgets = (), solver: str = "simplex"
) -> Solution | Infeasible:
    """min_{rho in D} W_1(rho, rho_E) for edge lengths `metric` [S*A, S*A] or a graph, as `Lipschitz` takes them.

    `cost` is the Kantorovich potential.  `Infeasible` where masses differ: rho_E [S, A] sums to another number than
    1/(1-gamma), or edges do not join what has to be moved.
    """
    checks.explicit(mdp)
    psi = Lipschitz(metric)
    if psi.size != mdp.S * mdp.A:
        raise ValueError(f"metric must have a row for each of the {mdp.S * mdp.A} pairs, but has {psi.size}")
    E = len(psi.lengths)
    ends = np.concatenate([psi.edges[:, 1], psi.edges[:, 0]])
    into = csr_array((np.repeat([1.0, -1.0], E), (ends, np.tile(np.arange(E), 2))), shape=(psi.size, E))
    return _transport(mdp, rho_E, psi, into, psi.lengths, budgets, "Wasserstein matching", solver)


def _transport(
    mdp: MDP,
    rho_E: ArrayLike,
    psi: Box | Lipschitz,
    into: csr_array,
    weights: FloatArray,
    budgets: Budgets,
    method: str,
    solver: str,
) -> Solution | Infeasible:
    """min weights.|f|  s.t.  rho = rho_E + into f, with f split into its positive and negative part."""
    start, rho_E, limits = time.perf_counter(), checks.measure(mdp, rho_E, "rho_E"), Limits.of(mdp, budgets)
    n, width = rho_E.size, 2 * weights.size
    moves = over(eye_array(n, format="csr"), rho_E.ravel(), hstack([-into, into], format="csr"), width)
    program = _program(mdp, np.concatenate([np.zeros(n), weights, weights]), limits, moves)
    vertex = solve(program, _known(solver))
    if vertex is None:
        return _infeasible(program)
    # d value / d rho_E = -cost.
    c = np.asarray(psi.repair(-vertex.equal.reshape(mdp.shape)))
    return finish(
        mdp,
        limits,
        vertex,
        vertex.x[:n],
        vertex.flow,
        limits.prices(vertex),
        c,
        f"{method} ({solver})",
        time.perf_counter() - start,
        psi,
        rho_E,
    )


def _program(
    mdp: MDP, objective: FloatArray, limits: Limits, equal: Rows, more: Rows | None = None, free: Any = None
) -> Program:
    """min objective.(rho, z) over D, the budgets, `equal`, and the inequalities `more` after the budgets."""
    width = objective.size - mdp.S * mdp.A
    below = over(limits.rows, limits.b, None, width)
    if more is not None:
        stacked = csr_array(hstack([below.matrix.T, more.matrix.T], format="csr").T)
        below = Rows(stacked, np.concatenate([below.rhs, more.rhs]))
    signless = np.zeros(objective.size, dtype=bool) if free is None else free
    return Program(objective, flow_rows(mdp, width), equal, below, signless)


def _infeasible(program: Program) -> Infeasible:
    excess = least_violation(program)
    sides = np.abs(np.concatenate([program.equal.rhs, program.below.rhs]))
    if excess <= VIOLATION_RTOL * max(1.0, float(sides.max(initial=0.0))):
        raise _failure(excess)
    return Infeasible(
        f"no occupancy measure satisfies the constraints: the least total violation is {excess:.6g}, with each budget "
        "divided by its largest coefficient. Likely causes: (a) a budget below its least value over policies "
        "(optimal_control with its d as the cost gives that value); (b) budgets that exclude each other; (c) for "
        "Wasserstein matching, masses that differ: rho_E not of sum 1/(1-gamma), or a metric that is not connected",
        excess,
    )


def _failure(excess: float) -> ArithmeticError:
    return ArithmeticError(
        f"HiGHS found no optimum of a linear program that is feasible up to {excess:.3g}. Likely causes: "
        "(a) a budget that only one measure meets; (b) coefficients of very different sizes; (c) gamma next to one, "
        "where 'interior' and 'pdlp' may not end and 'simplex' does"
    )
