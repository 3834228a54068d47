"""Any convex regulariser that the user writes in cvxpy; its numbers come from a conic solver."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse

from occmatch import checks
from occmatch.candidate import NoBestCost
from occmatch.regularisers.base import Array, Regulariser

FEASIBILITY = 1e-8
"""Violation of the user's own constraints that counts as the conic solver's rounding, relative to what they compare."""


@dataclass(frozen=True, eq=False)
class Expression(Regulariser):
    """psi(c) = the convex expression fn(c), where fn takes a cvxpy Variable [S, A].

    fn returns a scalar expression or a number, or a pair of it and a list of constraints where psi is +inf off the
    constraints. Numbers are those of Clarabel at tolerance 1e-11, so that they carry a relative error of that order.
    `irl` takes every cone that Clarabel has; `match` needs psi*, and for it linear, second-order and exponential cones,
    which spectral functions are beyond.
    Raises ValueError where fn is not callable, and, once it is called, where it returns anything else, an expression
    that is not convex by the rules of disciplined convex programming, or variables that are integer or boolean.
    """

    fn: Callable[[Any], Any]

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise ValueError(f"fn must be a function of a cvxpy Variable, but is {type(self.fn).__name__}")

    def build(self, c: Any) -> tuple[Any, list[Any]]:
        """fn(c) and all constraints of its domain for a cvxpy expression c [S, A]."""
        expression, constraints = _parts(self.fn(c))
        if expression.size != 1 or not expression.is_convex() or not all(k.is_dcp() for k in constraints):
            raise ValueError(
                "fn must return a scalar convex expression (and convex constraints), but returns one of "
                f"curvature {expression.curvature} and shape {expression.shape}. Likely causes: "
                "(a) a sum over entries is missing; (b) the function is concave; "
                "(c) it is convex, but not written by cvxpy's rules"
            )
        if any(v.attributes["integer"] or v.attributes["boolean"] for part in (expression, *constraints)
               for v in part.variables()):  # fmt: skip
            raise ValueError("fn must have continuous variables alone, but one of its own is integer or boolean")
        # A domain like 0 <= |c| is no convex constraint by the rules; those that let such a term pass imply it.
        return expression, [*constraints, *(k for k in expression.domain if k.is_dcp())]

    def value(self, c: Array) -> float:
        import cvxpy as cp

        c = self._array(c, "c")
        variable = cp.Variable(c.shape)
        expression, constraints = self.build(variable)
        # Auxiliary variables of the user's own would have no value: minimise over them with c held fixed.
        if any(v.id != variable.id for part in (expression, *constraints) for v in part.variables()):
            problem = cp.Problem(cp.Minimize(expression), [*constraints, variable == c])
            return float(problem.value) if _solve(problem) in cp.settings.SOLUTION_PRESENT else np.inf
        variable.value = c
        if any(_violated(k) for k in constraints):
            return np.inf
        value = float(np.asarray(expression.value).item())
        return np.inf if np.isnan(value) else value

    def conjugate(self, x: Array) -> float:
        import cvxpy as cp

        x = self._array(x, "x")
        problem, _ = self._supremum(x)
        status = _solve(problem)
        return float(problem.value) if status in cp.settings.SOLUTION_PRESENT else np.inf

    def best_cost(self, rho: Array, rho_E: Array) -> Array:
        import cvxpy as cp

        rho, rho_E = self._pair(rho, rho_E)
        x = rho - rho_E
        problem, c = self._supremum(x)
        status = _solve(problem)
        if status not in cp.settings.SOLUTION_PRESENT:
            raise NoBestCost(f"sup <x, c> - psi(c) is {status}", x / max(np.abs(x).max(), 1e-300), unbounded=True)
        return np.asarray(c.value)

    def repair(self, c: Array) -> Array:
        import cvxpy as cp

        c = self._array(c, "c")
        if self.value(c) < np.inf:
            return c
        variable = cp.Variable(c.shape)
        problem = cp.Problem(cp.Minimize(cp.sum_squares(variable - c)), self.build(variable)[1])
        return np.asarray(variable.value) if _solve(problem) in cp.settings.SOLUTION_PRESENT else c

    def _supremum(self, x: Array) -> tuple[Any, Any]:
        import cvxpy as cp

        c = cp.Variable(np.shape(x))
        expression, constraints = self.build(c)
        return cp.Problem(cp.Maximize(cp.sum(cp.multiply(x, c)) - expression), constraints), c


def _violated(constraint: Any) -> bool:
    """Whether a constraint of valued variables is missed by more than FEASIBILITY of what it compares.

    Entry by entry where it has two sides: a large cost of one pair is no licence for those of others.
    """
    import cvxpy as cp

    sides = [_dense(side.value) for side in constraint.args]
    if isinstance(constraint, cp.constraints.Inequality | cp.constraints.Equality):
        size, excess = np.maximum(*np.abs(np.broadcast_arrays(*sides))), constraint.residual
    else:
        size, excess = max(np.abs(side).max(initial=0.0) for side in sides), constraint.violation()
    return bool((_dense(excess) > FEASIBILITY * (1 + size)).any())


def _dense(value: Any) -> Array:
    return np.asarray(value.toarray() if sparse.issparse(value) else value, dtype=np.float64)


def _parts(out: Any) -> tuple[Any, list[Any]]:
    """What fn returned as an expression and a list of constraints, or ValueError where it is neither."""
    import cvxpy as cp

    pair = isinstance(out, tuple) and len(out) == 2
    expression, constraints = out if pair else (out, [])
    if isinstance(expression, Real | np.ndarray):
        expression = cp.Constant(checks.real_array(expression, "fn(c)"))
    if not isinstance(expression, cp.Expression):
        found = f"a tuple of {len(out)}" if isinstance(out, tuple) and not pair else type(expression).__name__
        raise ValueError(
            f"fn(c) must be a scalar expression of cvxpy, or a pair of one and a list of constraints, but is {found}"
        )
    if not isinstance(constraints, list | tuple):
        raise ValueError(f"fn(c)[1] must be a list of cvxpy constraints, but is {type(constraints).__name__}")
    for i, constraint in enumerate(constraints):
        if not isinstance(constraint, cp.Constraint):
            raise ValueError(f"fn(c)[1][{i}] must be a cvxpy constraint, but is {type(constraint).__name__}")
    return expression, list(constraints)


def _solve(problem: Any) -> str:
    """Clarabel at tight tolerances; the status, 'solver_error' where it raises."""
    import cvxpy as cp

    tight = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}
    try:
        with warnings.catch_warnings():
            # "Solution may be inaccurate": the rounding of a certificate allows for it.
            warnings.simplefilter("ignore", UserWarning)
            problem.solve(solver=cp.CLARABEL, **tight)
    except cp.error.SolverError:
        return "solver_error"
    return str(problem.status)
