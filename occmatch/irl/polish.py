"""Given V and the visits d, the optimal cost of each pair by itself, for psi that is separable.

At a saddle point the mass of a pair is what the policy gives it and what its cost is best for,

    d(s) exp( (V(s) - gamma (P V)(s, a) - c) / lam )  =  rho_E + psi'(c).

The left side falls in c and the right one rises: one root, found by bisection. An interior-point method sees nothing of
pairs whose mass is below its tolerance; psi* may weigh them heavily (chi-square of rho against rho_E = 1e-20), and this
equation fixes them to rounding. For psi = 0 it is c = -lam log pi_E + V - gamma P V.
"""

from __future__ import annotations

import numpy as np

from occmatch.irl.dual import Array, Problem
from occmatch.irl.support import matches_exactly
from occmatch.regularisers import FDivergence, Surrogate

HALVINGS = 200


def separable(problem: Problem) -> bool:
    """Whether psi is a sum over pairs with a derivative, and entropy ties its cost to a mass."""
    psi = problem.psi
    return problem.lam > 0 and psi.features is None and (psi.smooth or matches_exactly(psi))


def moving(problem: Problem) -> Array:
    """The pairs [S, A] whose optimal cost lies inside its range.

    Where the expert has no mass, psi of a surrogate or an f-divergence is zero: the dual increases in the cost up to
    the end of its range.
    """
    psi = problem.psi
    if isinstance(psi, Surrogate | FDivergence) and not matches_exactly(psi):
        return problem.free & (psi.rho_E > 0)
    return problem.free


def polish(problem: Problem, V: Array, rho: Array) -> tuple[Array, Array]:
    """(c, pi) [S, A] from V [S] and the visits of rho [S, A]."""
    mdp, psi, lam = problem.mdp, problem.psi, problem.lam
    exact = matches_exactly(psi)
    source = problem.rho_E if exact else rho
    visits = np.broadcast_to(source.sum(axis=1, keepdims=True), rho.shape)
    inner = moving(problem) & (visits > 0)
    advantage = V[:, None] - mdp.gamma * mdp.expect(V)

    def excess(c: Array) -> Array:
        """log of the right side less log of the left, increasing in c."""
        inside = np.where(inner, psi.repair(c), problem.rest)
        # At the end of the range of costs the mass overflows to inf; pairs that do not move may be anything.
        with np.errstate(all="ignore"):
            mass = problem.rho_E + psi.dvalue(np.where(inner, inside, -1.0))
            return np.log(np.maximum(mass, 0.0) / visits) - (advantage - inside) / lam

    width = np.full(rho.shape, lam)
    lo = hi = np.where(inner, advantage, 0.0)
    for _ in range(60):
        low, high = excess(lo) > 0, excess(hi) < 0
        if not ((low | high) & inner).any():
            break
        lo, hi, width = np.where(low, lo - width, lo), np.where(high, hi + width, hi), 2 * width
    for _ in range(HALVINGS):
        middle = 0.5 * (lo + hi)
        below = excess(middle) < 0
        lo, hi = np.where(below, middle, lo), np.where(below, hi, middle)
    top = psi.repair(np.full(rho.shape, np.finfo(np.float64).max))
    c = np.where(inner, psi.repair(0.5 * (lo + hi)), np.where(problem.free & (top < 1e300), top, problem.rest))
    exponent = np.where(problem.free, (advantage - c) / lam, -np.inf)
    largest = exponent.max(axis=1, keepdims=True)
    weights = np.exp(exponent - np.where(np.isfinite(largest), largest, 0.0))
    total = weights.sum(axis=1, keepdims=True)
    return c, np.divide(weights, total, out=np.full(rho.shape, 1 / mdp.A), where=total > 0)
