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
_RTOL = 1e-12


def curvature(
    linear: Linear, answer: RL, lam: float, features: FloatArray | None, D: FloatArray, v: FloatArray | None
) -> Solve:
    """b [K] -> (dw [K], v.dw) at the soft optimal policy and measure of `answer`.

    Close to a boundary v v' is far larger than the rest and v.dw far smaller than |v| |dw|: it is given without that
    cancellation, by the formula of Sherman & Morrison.
    """
    if features is None:
        inverse = _sparse(linear, answer, lam, D.reshape(linear.mdp.shape))
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
    K = features.shape[2]
    P_pi = resolvent(mdp, answer.pi)
    values = np.stack([P_pi.solve((answer.pi * features[:, :, k]).sum(axis=1)) for k in range(K)], axis=1)
    M = features.reshape(-1, K) + mdp.gamma * (mdp.P @ values) - np.repeat(values, mdp.A, axis=0)
    return M.T @ (answer.rho.reshape(-1, 1) * M) / lam


def _sparse(linear: Linear, answer: RL, lam: float, D: FloatArray) -> Callable[[FloatArray], FloatArray]:
    mdp = linear.mdp
    d = np.maximum(answer.rho.sum(axis=1), _LEAST_SHARE / (1.0 - mdp.gamma))
    kappa = np.clip(d[:, None] * answer.pi / D, 0.0, 1e200)
    system = Newton(linear, answer.pi, d, kappa, lam)

    def solve(b: FloatArray) -> FloatArray:
        G = b.reshape(mdp.shape) / D
        dV, e, u = system.solve(G, _RTOL)
        # The same dc twice over; each form cancels where the other does not.
        stiff = dV[:, None] - linear.expect(dV) - lam * u
        soft = G + kappa * (u + e[:, None])
        return np.where(kappa > lam, stiff, soft).reshape(-1)

    return solve
