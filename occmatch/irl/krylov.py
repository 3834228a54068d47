"""The Newton step of IRL without a matrix: conjugate gradients, two policy solves for each product with the Hessian.

    H dc = T' diag(rho) T dc / lam + psi'' dc,      T dc = dc - B dV,   (I - gamma P_pi) dV = Pi dc     [first solve]

(`newton` has the symbols). T dc is an advantage, zero on average over the actions of a state, so that only the flow is
left of B' rho T dc and

    T' x = x + pi y,   (I - gamma P_pi') y = gamma P' x,   x = rho T dc                                  [second solve]

H is divided by its own diagonal part a = psi'' + rho / lam on both sides: it then has eigenvalues of order one but for
what transitions add, and masses that differ by many orders no longer matter. Sparse factors of the same equations fill
in wherever next states are spread at random; this needs the memory of a few vectors.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from occmatch.irl.dual import Array, Problem
from occmatch.linear import resolvent
from occmatch.mdp import MDP

MOST_STEPS = 500
"""Steps of conjugate gradients. Truncated earlier, their answer is still a direction of ascent."""

INNER = 0.03
"""Accuracy of the two policy solves, as a share of what is asked of the step: their errors are those of the Hessian."""


def krylov_step(
    problem: Problem, r: Array, pi: Array, rho: Array, bend: Array, held: Array, rtol: float
) -> tuple[Array, Array]:
    """(dc [S, A], dV [S]) with H dc = r off the `held` pairs, to a residual of `rtol` in the norm of a^-1/2."""
    mdp, lam = problem.mdp, problem.lam
    P_pi = resolvent(mdp, pi)
    weight = np.where(held, 0.0, rho / lam)
    a = np.where(held, 1.0, bend + weight)
    scale = np.where(~held & (a > 0), 1.0 / np.sqrt(np.where(a > 0, a, 1.0)), 0.0)
    inner = INNER * rtol

    def value(dc: Array) -> Array:
        return P_pi.solve((pi * dc).sum(axis=1), inner)

    def product(z: Array) -> Array:
        dc = scale * z
        dV = value(dc)
        x = rho / lam * (dc - dV[:, None] + mdp.gamma * mdp.expect(dV))
        y = P_pi.solve_transposed(mdp.gamma * mdp.flow(x), inner)
        return scale * (x + pi * y[:, None] + bend * dc)

    z = conjugate_gradients(product, scale * r, rtol, MOST_STEPS)
    dc = scale * z
    return dc, value(dc)


def conjugate_gradients(product: Callable[[Array], Array], b: Array, rtol: float, most: int) -> Array:
    """x with M x = b to a residual of `rtol` |b|_2, M symmetric and >= 0 (Hestenes & Stiefel 1952).

    Ends early where M has no curvature left along the direction, or after `most` products.
    """
    x, r = np.zeros_like(b), b
    p, size = r, float(np.vdot(r, r))
    target = rtol**2 * size
    for _ in range(most):
        if size <= target:
            break
        Mp = product(p)
        bend = float(np.vdot(p, Mp))
        if not bend > 0.0:
            break
        step = size / bend
        x, r = x + step * p, r - step * Mp
        size, before = float(np.vdot(r, r)), size
        p = r + (size / before) * p
    return x


def off_shaping(mdp: MDP, c: Array, rtol: float = 1e-13) -> Array:
    """c [S, A] less its projection on the shaping costs { V - gamma P V }: least squares by conjugate gradients."""

    def shaping(V: Array) -> Array:
        return V[:, None] - mdp.gamma * mdp.expect(V)

    def adjoint(x: Array) -> Array:
        return x.sum(axis=1) - mdp.gamma * mdp.flow(x)

    V = conjugate_gradients(lambda V: adjoint(shaping(V)), adjoint(c), rtol, 20 * MOST_STEPS)
    return c - shaping(V)
