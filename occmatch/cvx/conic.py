"""The conjugate of a function that the user wrote in cvxpy, as a cvxpy expression: by conic duality.

cvxpy reduces  min psi(c)  to  min q'y + k  s.t.  b - A y in K  with c among the coordinates of y, c = E y. Then

    psi*(x) = sup <x, E y> - q'y - k  s.t.  b - A y in K   =   inf b'z - k  s.t.  A'z = E'x - q,  z in K*

by strong duality (psi is closed, and its conic form is strictly feasible where psi is finite on an open set). A
constant psi = k has no conic form; its psi* is -k at x = 0 and +inf elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
from scipy import sparse

Form = tuple[cp.Expression, list[cp.Constraint]]


def conic_conjugate(build: Callable[[Any], Form], x: cp.Expression) -> Form:
    """psi*(x) for psi given by `build` (a variable -> expression and constraints), and constraints on z."""
    c = cp.Variable(x.shape)
    expression, constraints = build(c)
    problem = cp.Problem(cp.Minimize(expression), constraints)
    if not problem.variables():
        return -expression, [x == 0, *constraints]
    data, _, _ = problem.get_problem_data(cp.CLARABEL, solver_opts={"use_quad_obj": False})
    program = data[cp.settings.PARAM_PROB]
    A, b, q = data[cp.settings.A], data[cp.settings.B], data[cp.settings.C]
    offset, columns = float(program.apply_parameters()[1]), program.var_id_to_col
    if c.id not in columns:
        raise ValueError("fn must depend on the cost, but its expression does not contain it")
    pick = sparse.csr_array(
        (np.ones(c.size), (columns[c.id] + np.arange(c.size), np.arange(c.size))), shape=(q.size, c.size)
    )
    z = cp.Variable(b.size)
    return b @ z - offset, [A.T @ z == pick @ cp.vec(x, order="F") - q, *_dual_cones(z, data[cp.settings.DIMS])]


def _dual_cones(z: cp.Variable, dims: Any) -> list[cp.Constraint]:
    """z in K*, K the product of cones in Clarabel's order: zero, nonnegative, second-order, (none), exponential."""
    if dims.psd or dims.p3d or getattr(dims, "pnd", None):
        raise ValueError(
            "fn must be expressible by linear, second-order and exponential cones to have a conjugate in cvxpy, but "
            "its canonical form has semidefinite or power cones"
        )
    out: list[cp.Constraint] = []
    at = dims.zero
    if dims.nonneg:
        out.append(z[at : at + dims.nonneg] >= 0)
        at += dims.nonneg
    for size in dims.soc:
        out.append(cp.SOC(z[at], z[at + 1 : at + size]))
        at += size
    if dims.exp:
        u, v, w = (z[at + k : at + 3 * dims.exp : 3] for k in range(3))
        # (u, v, w) is dual to { y exp(x/y) <= z } where (u - v, -u, w) is in that cone.
        out.append(cp.ExpCone(u - v, -u, w))
    return out
