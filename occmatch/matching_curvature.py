"""Solving with the curvature of a cost class: (-Hess J + D + v v') dw = b, D diagonal.

With features, K x K dense: -Hess J = (1/lam) M' diag(rho) M, M the advantages of the features. Without, w = c and K =
S A, but the system is the one of a Newton step over measures: dc = (b + drho) / D where drho is the answer of the
soft optimal policy to dc, so that `matching_step` solves it with kappa = rho / D in 2 S sparse equations.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.linalg import lu_factor, lu_solve

from occmatch.bellman import RL
from occmatch.checks import FloatArray
from occmatch.columns import solve_columns
from occmatch.linear import resolvent
from occmatch.matching_linear import Linear
from occmatch.matching_step import Newton
from occmatch.mdp import MDP

Solve = Callable[[FloatArray], tuple[FloatArray, float]]

# States that are never visited count with this share of the mass, so that the flow equations can be divided by visits.
_LEAST_SHARE = 1e-19

# Curvature of a direction of weights that changes no policy, relative to the largest: it bounds the step along it.
_LEAST_CURVATURE = 1e-14
_TINY = float(np.finfo(np.float64).tiny)

# Accuracy of the sparse systems, where they are solved by iteration.
TIGHT = 1e-12

# From so many states on the advantages of features are found only as well as a Newton step needs them, and held for a
# block of states at a time.
_MANY_STATES, _ROUGH = 2_000, 1e-6
_BLOCK = 1 << 22


def curvature(
    linear: Linear,
    answer: RL,
    lam: float,
    features: FloatArray | None,
    D: FloatArray,
    v: FloatArray | None,
    rtol: float = TIGHT,
) -> Solve:
    """b [K] -> (dw [K], v.dw) at the soft optimal policy and measure of `answer`; `rtol` of the sparse systems.

    Close to a boundary v v' is far larger than the rest and v.dw far smaller than |v| |dw|: it is given without that
    cancellation, by the formula of Sherman & Morrison.
    """
    if features is None:
        inverse = _sparse(linear, answer, lam, D.reshape(linear.mdp.shape), rtol)
    else:
        H = reward_curvature(linear.mdp, answer, lam, features)
        # Features that advantages cannot tell apart leave H singular, and D vanishes where no constraint is active.
        factors = lu_factor(H + np.diag(np.maximum(D, _LEAST_CURVATURE * H.diagonal().max(initial=_TINY))))
        inverse = partial(lu_solve, factors)
    if v is None:
        return lambda b: (inverse(b), 0.0)
    along = inverse(v)

    def updated(b: FloatArray) -> tuple[FloatArray, float]:
        dw = inverse(b)
        share = float(v @ dw) / (1.0 + float(v @ along))
        return dw - along * share, share

    return updated


def reward_curvature(mdp: MDP, answer: RL, lam: float, features: FloatArray) -> FloatArray:
    """-Hess J [K, K]: J(w) = p0.V_c - <rho_E, c> is concave along the features [S, A, K]."""
    S, A, K = features.shape
    mean = np.einsum("sa,sak->sk", answer.pi, features)
    values = solve_columns(resolvent(mdp, answer.pi), mean, _ROUGH if S > _MANY_STATES else 1e-14)
    H, count = np.zeros((K, K)), max(1, _BLOCK // (A * K))
    for start in range(0, S, count):
        states = np.arange(start, min(start + count, S))
        onward = mdp.gamma * (mdp.P[start * A : (int(states[-1]) + 1) * A] @ values)
        M = features[states].reshape(-1, K) + onward - np.repeat(values[states], A, axis=0)
        H += M.T @ (answer.rho[states].reshape(-1, 1) * M)
    return H / lam


def _sparse(linear: Linear, answer: RL, lam: float, D: FloatArray, rtol: float) -> Callable[[FloatArray], FloatArray]:
    mdp = linear.mdp
    d = np.maximum(answer.rho.sum(axis=1), _LEAST_SHARE / (1.0 - mdp.gamma))
    kappa = np.clip(d[:, None] * answer.pi / D, 0.0, 1e200)
    system = Newton(linear, answer.pi, d, kappa, lam)

    def solve(b: FloatArray) -> FloatArray:
        G = b.reshape(mdp.shape) / D
        dV, e, u = system.solve(G, rtol)
        # The same dc twice over; each form cancels where the other does not.
        stiff = dV[:, None] - linear.expect(dV) - lam * u
        soft = G + kappa * (u + e[:, None])
        return np.where(kappa > lam, stiff, soft).reshape(-1)

    return solve
