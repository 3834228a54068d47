"""Linear programs over occupancy measures, by the dual simplex method of HiGHS (Huangfu & Hall 2018) or by `lp_highs`.

    min q.x   s.t.   M rho = p0,   E x = e,   B x <= b,   x = (rho, z),   rho >= 0,   M rho = d - gamma P' rho

A simplex solution is basic: no more entries of x are positive than there are rows.  That is what makes policies of
vertices deterministic, and what the others, which end inside the optimal face, cannot give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import block_array, csc_array, csr_array, eye_array, vstack

from occmatch.checks import FloatArray
from occmatch.mdp import MDP
from occmatch.occupancy import flow_matrix

# HiGHS's default feasibility tolerance, 1e-7, is absolute, and a flow residual is amplified by 1/(1-gamma).  The
# tighter one is its smallest; where rounding alone breaks it (measures of mass 1e4 and more) the default is used.
TOLERANCES = (1e-10, 1e-7)

# A violation counts from here on, as a share of the largest right-hand side: the looser of the tolerances above.
VIOLATION_RTOL = 1e-7

# HiGHS takes 1e20 for infinite, and what is scaled beyond 1e18 it may not solve.
MOST = 1e17

# HiGHS leaves out coefficients up to this size.
LEAST = 1e-9

# The largest cost, of the lower quartile of costs, beyond which it is a penalty: tolerances of 1e-10 bear less.
PENALTY = 1e3


@dataclass(frozen=True, eq=False)
class Rows:
    """`matrix` [m, n] and `rhs` [m] of equations or inequalities in x [n]."""

    matrix: csr_array
    rhs: FloatArray


@dataclass(frozen=True, eq=False)
class Program:
    """min objective.x over the program of the module docstring; `free` [n] marks the entries of x without sign."""

    objective: FloatArray
    flow: Rows
    equal: Rows
    below: Rows
    free: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Vertex:
    """A solution x [n], `basic` where the simplex method found it, and its objective.

    `flow`, `equal`, `below` are the multipliers d objective / d rhs of each block of rows.
    """

    x: FloatArray
    objective: float
    flow: FloatArray
    equal: FloatArray
    below: FloatArray
    iterations: int
    basic: bool = True


def over(rows: csr_array | Sequence[FloatArray], rhs: FloatArray, extra: csr_array | None, width: int) -> Rows:
    """Rows of rho beside `extra`, their part in z [m, width] (zeros for None)."""
    left = csr_array(rows)
    right = csr_array((left.shape[0], width)) if extra is None else extra
    return Rows(csr_array(block_array([[left, right]], format="csr")) if width else left, rhs)


def flow_rows(mdp: MDP, width: int) -> Rows:
    """M rho = p0, for `width` entries of x beyond rho."""
    return over(flow_coefficients(mdp), mdp.p0, None, width)


def flow_coefficients(mdp: MDP) -> csr_array:
    """M [S, S * A] with transitions too rare for HiGHS made into staying: left out, they take mass with them."""
    M = csc_array(flow_matrix(mdp))
    rare = np.abs(M.data) <= LEAST
    if not rare.any():
        return csr_array(M)
    pairs = np.arange(mdp.S * mdp.A)
    lost = np.bincount(np.repeat(pairs, np.diff(M.indptr))[rare], weights=M.data[rare], minlength=pairs.size)
    M.data[rare] = 0.0
    return csr_array(M + csc_array((lost, (pairs // mdp.A, pairs)), shape=M.shape))


def none(width: int) -> Rows:
    """No row at all, of x [width]."""
    return Rows(csr_array((0, width)), np.zeros(0))


def typical(x: FloatArray) -> float:
    """The size of nonzero entries, 1 without any: their largest, or where that is a penalty their lower quartile.

    Penalties on most pairs do not move the quartile; the interior point takes the fewest steps at the largest.
    """
    sizes = np.abs(x[x != 0.0])
    if not sizes.size:
        return 1.0
    low, most = float(np.quantile(sizes, 0.25, method="lower")), float(sizes.max())
    return most if most <= PENALTY * low else max(low, most / MOST)


def solve(program: Program, solver: str = "simplex") -> Vertex | None:
    """An optimal vertex (an optimum by "interior" or "pdlp"), or None where there is none: infeasible, or unbounded."""
    if solver != "simplex":
        return _large(program, solver)
    # An absolute tolerance on reduced costs is relative once coefficients are about 1.
    scale = typical(program.objective)
    flow, equal = program.flow.rhs.size, np.concatenate([program.flow.rhs, program.equal.rhs])
    for tolerance in TOLERANCES:
        result = linprog(
            program.objective / scale,
            A_ub=program.below.matrix,
            b_ub=program.below.rhs,
            A_eq=block_array([[program.flow.matrix], [program.equal.matrix]], format="csr"),
            b_eq=equal,
            bounds=np.stack([np.where(program.free, -np.inf, 0.0), np.full(program.free.size, np.inf)], axis=1),
            method="highs-ds",
            options={"primal_feasibility_tolerance": tolerance, "dual_feasibility_tolerance": tolerance},
        )
        if result.status == 0:
            return Vertex(
                x=result.x,
                objective=scale * float(result.fun),
                flow=scale * result.eqlin.marginals[:flow],
                equal=scale * result.eqlin.marginals[flow:],
                below=scale * result.ineqlin.marginals,
                iterations=int(result.nit),
            )
    return None


def _large(program: Program, solver: str) -> Vertex | None:
    from occmatch.lp_highs import run_highs  # loaded only where it is used

    scale = typical(program.objective)
    blocks = program.flow, program.equal, program.below
    rows = csc_array(vstack([block.matrix for block in blocks], format="csc"))
    high = np.concatenate([block.rhs for block in blocks])
    low = np.concatenate([program.flow.rhs, program.equal.rhs, np.full(program.below.rhs.size, -np.inf)])
    found = run_highs(program.objective / scale, rows, low, high, program.free, solver)
    if found is None:
        return None
    x, objective, multipliers, iterations = found
    ends = np.cumsum([block.rhs.size for block in blocks])[:-1]
    return Vertex(x, scale * objective, *(scale * y for y in np.split(multipliers, ends)), iterations, basic=False)


def least_violation(program: Program) -> float:
    """The least sum of |E x - e| and max(B x - b, 0) over rho in D: zero exactly where the program is feasible.

    Raises ArithmeticError where HiGHS fails on this program too, which always has a solution.
    """
    m, k, n = program.equal.rhs.size, program.below.rhs.size, program.objective.size
    below = csr_array(block_array([[program.below.matrix, csr_array((k, 2 * m)), -eye_array(k)]], format="csr"))
    equal = csr_array(
        block_array([[program.equal.matrix, eye_array(m), -eye_array(m), csr_array((m, k))]], format="csr")
    )
    slack = 2 * m + k
    relaxed = Program(
        objective=np.concatenate([np.zeros(n), np.ones(slack)]),
        flow=over(program.flow.matrix, program.flow.rhs, None, slack),
        equal=Rows(equal, program.equal.rhs),
        below=Rows(below, program.below.rhs),
        free=np.concatenate([program.free, np.zeros(slack, dtype=bool)]),
    )
    vertex = solve(relaxed)
    if vertex is None:
        raise ArithmeticError(
            "HiGHS did not solve the linear program. Likely causes: (a) coefficients of very different sizes; "
            "(b) gamma so close to 1 that measures of size 1/(1-gamma) exceed its tolerances"
        )
    return vertex.objective
