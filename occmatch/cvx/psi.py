"""Regularisers as cvxpy expressions of the cost: psi(c), and -<rho_E, c> - psi(c) as the IRL dual needs it.

Epigraph variables enter through constraints, so each form is a pair (expression, constraints). The surrogates are
written in the margin m: c <= -phi(m) is convex, and phi(-m) increases with m, so that the maximiser of
-<rho_E, phi(-m)> meets the constraint with equality and c = -phi(m).
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import cvxpy as cp
import numpy as np

from occmatch import losses, regularisers
from occmatch.regularisers import Regulariser

Array = np.ndarray
Form = tuple[cp.Expression, list[cp.Constraint]]


def psi(regulariser: Regulariser, c: cp.Expression) -> Form:
    """psi(c) for a cvxpy expression c [S, A], and the constraints of its domain."""
    value, constraints = dual_value(regulariser, c, np.zeros(c.shape))
    return -value, constraints


@singledispatch
def dual_value(regulariser: Regulariser, c: cp.Expression, rho_E: Array) -> Form:
    """-<rho_E, c> - psi(c), concave in c, without adding terms that cancel, and the constraints of the domain."""
    raise TypeError(f"no cvxpy form is registered for {type(regulariser).__name__}")


@dual_value.register
def _(regulariser: regularisers.Constant, c: cp.Expression, rho_E: Array) -> Form:
    return -inner(rho_E, c), _span(regulariser.features, c)[1]


@dual_value.register
def _(regulariser: regularisers.L2Ball, c: cp.Expression, rho_E: Array) -> Form:
    w, constraints = _span(regulariser.features, c)
    return -inner(rho_E, c), [*constraints, cp.norm2(cp.vec(w, order="C")) <= regulariser.radius]


@dual_value.register
def _(regulariser: regularisers.Simplex, c: cp.Expression, rho_E: Array) -> Form:
    w, constraints = _span(regulariser.features, c)
    return -inner(rho_E, c), [*constraints, w >= 0, cp.sum(w) == 1]


@dual_value.register
def _(regulariser: regularisers.Box, c: cp.Expression, rho_E: Array) -> Form:
    return -inner(rho_E, c), [c <= regulariser.bound, c >= -regulariser.bound]


@dual_value.register
def _(regulariser: regularisers.Quadratic, c: cp.Expression, rho_E: Array) -> Form:
    w, constraints = _span(regulariser.features, c)
    return -inner(rho_E, c) - 0.5 * inner(regulariser.weight, cp.square(w)), constraints


@dual_value.register
def _(regulariser: regularisers.Lipschitz, c: cp.Expression, rho_E: Array) -> Form:
    flat = cp.vec(c, order="C")
    rise = flat[regulariser.edges[:, 0]] - flat[regulariser.edges[:, 1]]
    return -inner(rho_E, c), [rise <= regulariser.lengths, -rise <= regulariser.lengths]


@dual_value.register
def _(regulariser: regularisers.Expression, c: cp.Expression, rho_E: Array) -> Form:
    expression, constraints = regulariser.build(c)
    return -inner(rho_E, c) - expression, constraints


@dual_value.register
def _(regulariser: regularisers.Surrogate, c: cp.Expression, rho_E: Array) -> Form:
    loss, mass = regulariser.loss, regulariser.rho_E
    seen = mass > 0
    shift = inner(mass - rho_E, c)
    if regulariser.is_linear:
        return -inner(rho_E, c) - regulariser.level, []
    constraints = [] if loss.upper == np.inf or seen.all() else [c[np.nonzero(~seen)] <= loss.upper]
    if not seen.any():
        return shift, constraints
    inside = c[np.nonzero(seen)]
    if isinstance(loss, losses.Logistic):  # two exponential cones an entry where the general form takes four
        return shift + mass[seen] @ cp.log(1 - cp.exp(inside)), constraints
    if isinstance(loss, losses.Exponential):
        return shift - mass[seen] @ cp.inv_pos(-inside), constraints
    m = cp.Variable(inside.shape)
    if isinstance(loss, losses.ExponentialLinear):
        value = cp.sum(cp.exp(m + np.log(mass[seen]))) + mass[seen] @ m
        return shift - value, [*constraints, phi(loss, m) <= -inside]
    return shift - mass[seen] @ phi(loss, -m), [*constraints, phi(loss, m) <= -inside]


@dual_value.register
def _(regulariser: regularisers.FDivergence, c: cp.Expression, rho_E: Array) -> Form:
    mass = regulariser.rho_E
    seen = mass > 0
    upper = regulariser.generator.upper
    constraints = [] if upper == np.inf or seen.all() else [c[np.nonzero(~seen)] <= upper]
    if not seen.any():
        return inner(mass - rho_E, c), constraints
    value, domain = f_conjugate(regulariser.name, c[np.nonzero(seen)], mass[seen])
    return inner(mass - rho_E, c) - value, [*constraints, *domain]


def phi(loss: losses.Loss, m: cp.Expression) -> cp.Expression:
    """phi(m), convex, elementwise."""
    if isinstance(loss, losses.Logistic):
        return cp.logistic(-m)
    if isinstance(loss, losses.Exponential):
        return cp.exp(-m)
    if isinstance(loss, losses.ExponentialLinear):
        return cp.exp(-m) - m
    if isinstance(loss, losses.Linear):
        return -m
    if isinstance(loss, losses.SmoothedHinge):
        return loss.tau * cp.logistic((1 - m) / loss.tau)
    raise TypeError(f"no cvxpy form is registered for the loss {type(loss).__name__}")


def f_conjugate(name: str, y: cp.Expression, q: Array) -> Form:
    """sum q f*(y), convex, for q > 0, and the domain where cvxpy does not imply it.

    Where f* grows without bound a small q belongs to a large f*: q goes inside, so that both are of moderate size.
    """
    match name:
        case "kl":
            return cp.sum(cp.exp(y + np.log(q))) - q.sum(), []
        case "reverse_kl":
            return -q @ cp.log(1 - y), []
        case "chi2":
            return cp.sum_squares(cp.multiply(np.sqrt(q) / 2, cp.pos(y + 2))) - q.sum(), []
        case "hellinger":
            return q @ cp.inv_pos(1 - y) - q.sum(), []
        case "js":
            return -q @ cp.log(2 - cp.exp(y)), []
        case "tv":
            return q @ cp.maximum(y, -0.5), [y <= 0.5]
    raise TypeError(f"no cvxpy form is registered for the f-divergence {name}")


def inner(weights: Any, x: cp.Expression) -> cp.Expression:
    """sum weights * x; weights a number or an array of the shape of x."""
    return cp.sum(cp.multiply(weights, x))


def _span(features: Array | None, c: cp.Expression) -> tuple[cp.Expression, list[cp.Constraint]]:
    """Coordinates w of c, and the equations c = sum_k w_k f_k."""
    if features is None:
        return c, []
    K = features.shape[2]
    w = cp.Variable(K)
    return w, [cp.vec(c, order="C") == features.reshape(-1, K) @ w]
