"""Regularisers as cvxpy expressions of a measure: psi*(rho - rho_E), convex in rho, for the matching side (Eq 8).

Where rho_E(s, a) = 0 a surrogate or f-divergence is linear in rho, with slope sup T or f'(inf), or forbids rho > 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import cvxpy as cp
import numpy as np
from scipy import sparse

from occmatch import losses, regularisers
from occmatch.cvx.conic import conic_conjugate
from occmatch.cvx.psi import Array, Form, inner
from occmatch.regularisers import Regulariser


@singledispatch
def conjugate(regulariser: Regulariser, rho: cp.Expression, rho_E: Array) -> Form:
    """psi*(rho - rho_E) for a cvxpy expression rho [S, A], and the constraints of its domain."""
    raise TypeError(f"no cvxpy form is registered for {type(regulariser).__name__}")


@conjugate.register
def _(regulariser: regularisers.Constant, rho: cp.Expression, rho_E: Array) -> Form:
    return cp.Constant(0.0), [_gaps(regulariser.features, rho - rho_E) == 0]


@conjugate.register
def _(regulariser: regularisers.L2Ball, rho: cp.Expression, rho_E: Array) -> Form:
    return regulariser.radius * cp.norm2(_gaps(regulariser.features, rho - rho_E)), []


@conjugate.register
def _(regulariser: regularisers.Simplex, rho: cp.Expression, rho_E: Array) -> Form:
    return cp.max(_gaps(regulariser.features, rho - rho_E)), []


@conjugate.register
def _(regulariser: regularisers.Box, rho: cp.Expression, rho_E: Array) -> Form:
    return regulariser.bound * cp.sum(cp.abs(rho - rho_E)), []


@conjugate.register
def _(regulariser: regularisers.Quadratic, rho: cp.Expression, rho_E: Array) -> Form:
    gaps = _gaps(regulariser.features, rho - rho_E)
    weight = (
        np.broadcast_to(regulariser.weight, rho.shape).ravel() if regulariser.features is None else regulariser.weight
    )
    return 0.5 * inner(1 / weight, cp.square(gaps)), []


@conjugate.register
def _(regulariser: regularisers.Lipschitz, rho: cp.Expression, rho_E: Array) -> Form:
    E = len(regulariser.lengths)
    flow = cp.Variable(E)  # along each edge, signed; what enters a node is what rho has more than rho_E
    ends = np.concatenate([regulariser.edges[:, 1], regulariser.edges[:, 0]])
    into = sparse.csr_array((np.repeat([1.0, -1.0], E), (ends, np.tile(np.arange(E), 2))), shape=(regulariser.size, E))
    return regulariser.lengths @ cp.abs(flow), [into @ flow == cp.vec(rho - rho_E, order="C")]


@conjugate.register
def _(regulariser: regularisers.Expression, rho: cp.Expression, rho_E: Array) -> Form:
    return conic_conjugate(regulariser.build, rho - rho_E)


@conjugate.register
def _(regulariser: regularisers.Surrogate, rho: cp.Expression, rho_E: Array) -> Form:
    mass = rho + (regulariser.rho_E - rho_E)
    if regulariser.is_linear:
        return cp.Constant(0.0 - regulariser.level), [mass == regulariser.rho_E]
    return _split(mass, regulariser.rho_E, regulariser.loss.upper, lambda p, q: _negative_risk(regulariser.loss, p, q))


@conjugate.register
def _(regulariser: regularisers.FDivergence, rho: cp.Expression, rho_E: Array) -> Form:
    mass = rho + (regulariser.rho_E - rho_E)
    upper = regulariser.generator.upper
    return _split(mass, regulariser.rho_E, upper, lambda p, q: (_divergence(regulariser.name, p, q), []))


def neg_causal_entropy(rho: cp.Expression) -> cp.Expression:
    """-Hbar(rho) = sum rel_entr(rho, B rho), where (B rho)(s, a) = sum_a' rho(s, a')."""
    A = rho.shape[1]
    return cp.sum(cp.rel_entr(rho, rho @ np.ones((A, A))))


def _split(mass: cp.Expression, expert: Array, upper: float, inner_terms: Callable[..., Form]) -> Form:
    """Terms of pairs that the expert visits, plus upper * mass (or mass = 0) on those it does not."""
    seen = expert > 0
    total, constraints = cp.Constant(0.0), [mass >= 0]
    if seen.any():
        total, extra = inner_terms(mass[np.nonzero(seen)], expert[seen])
        constraints += extra
    if seen.all():
        return total, constraints
    unseen = mass[np.nonzero(~seen)]
    if upper == np.inf:
        return total, [*constraints, unseen == 0]
    return total + upper * cp.sum(unseen), constraints


def _negative_risk(loss: losses.Loss, p: cp.Expression, q: Array) -> Form:
    """-sum min_m p phi(m) + q phi(-m)."""
    if isinstance(loss, losses.Logistic):
        return cp.sum(cp.rel_entr(p, p + q)) + cp.sum(cp.rel_entr(q, p + q)), []
    if isinstance(loss, losses.Exponential):
        return -2 * np.sqrt(q) @ cp.sqrt(p), []
    if isinstance(loss, losses.ExponentialLinear):
        return cp.sum(cp.rel_entr(p, q)) + cp.sum(cp.rel_entr(q, p)) - cp.sum(p) - q.sum(), []
    if isinstance(loss, losses.SmoothedHinge):
        # phi(m) = max_u u (1 - m) + tau h(u), h the binary entropy; the minimum over m forces p u = q v = w.
        w = cp.Variable(q.shape)
        terms = cp.rel_entr(w, p) + cp.rel_entr(p - w, p) + cp.rel_entr(w, q) + cp.rel_entr(q - w, q)
        return loss.tau * cp.sum(terms) - 2 * cp.sum(w), []
    raise TypeError(f"no cvxpy form is registered for the loss {type(loss).__name__}")


def _divergence(name: str, p: cp.Expression, q: Array) -> cp.Expression:
    """sum q f(p / q)."""
    match name:
        case "kl":
            return cp.sum(cp.kl_div(p, q))
        case "reverse_kl":
            return cp.sum(cp.kl_div(q, p))
        case "chi2":
            return cp.sum(cp.multiply(1 / q, cp.square(p - q)))
        case "hellinger":
            return cp.sum(p) + q.sum() - 2 * np.sqrt(q) @ cp.sqrt(p)
        case "js":
            return cp.sum(cp.rel_entr(p, (p + q) / 2)) + cp.sum(cp.rel_entr(q, (p + q) / 2))
        case "tv":
            return 0.5 * cp.sum(cp.abs(p - q))
    raise TypeError(f"no cvxpy form is registered for the f-divergence {name}")


def _gaps(features: Array | None, x: cp.Expression) -> cp.Expression:
    """<x, f_k> for every k."""
    flat = cp.vec(x, order="C")
    return flat if features is None else features.reshape(-1, features.shape[2]).T @ flat
