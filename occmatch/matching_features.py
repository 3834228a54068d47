"""Answers that match features exactly, next to one that misses them by a solver's tolerance.

Over features a constant psi makes psi* the indicator of { <rho - rho_E, f_k> = 0 for all k }, which no conic solver
meets to rounding. The nearest measure that does, in the norm that weighs a pair by its mass,

    min over delta   sum delta^2 / rho     s.t.   flow(delta) = 0,   <delta, f_k> = -<rho - rho_E, f_k>,

is delta = rho * (C' y) with C diag(rho) C' y = -(what is missing), C the flow equations and the features: relative
changes of masses are small, and pairs without mass stay without. Its policy is the soft optimal one of a cost F w where
F w + gamma P V - V = -lam log pi on the pairs that it visits, which least squares solve for w and V.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from occmatch.checks import FloatArray
from occmatch.mdp import MDP
from occmatch.occupancy import occupancy, policy
from occmatch.regularisers import features as linear

PASSES = 3
"""Each leaves what rounding and the condition of the equations leave of the one before."""

MOST_EQUATIONS = 3_000
"""States and features together up to which the equations are solved densely; beyond, nothing is corrected."""


def matched(mdp: MDP, features: FloatArray, rho: FloatArray, rho_E: FloatArray) -> FloatArray:
    """The measure [S, A] in D; rho itself where no such measure is near, or the equations are too many."""
    S, A = mdp.shape
    F = linear.same_size(features)
    if S + F.shape[2] > MOST_EQUATIONS:
        return rho
    equations = sparse.vstack([_shaping(mdp).T, sparse.csr_array(F.reshape(S * A, -1).T)]).tocsr()
    best = rho
    for _ in range(PASSES):
        flat = best.ravel()
        missing = np.concatenate([np.zeros(S), linear.gaps(F, best - rho_E)])
        square = (equations @ equations.multiply(flat).T.tocsc()).toarray()
        change = equations.T @ np.linalg.lstsq(square, -missing, rcond=None)[0]
        if not (np.isfinite(change).all() and change.min() > -1.0):
            return rho
        best = occupancy(mdp, policy((flat * (1.0 + change)).reshape(S, A)))
    return best


def explained(mdp: MDP, features: FloatArray, rho: FloatArray, lam: float) -> FloatArray | None:
    """The cost [S, A] in the span of the features whose soft policy is that of rho; None where there is no telling."""
    S, A = mdp.shape
    if S + features.shape[2] > MOST_EQUATIONS or lam == 0.0:
        return None
    visited = np.flatnonzero(rho.ravel() > 0.0)
    weight = np.sqrt(rho.ravel()[visited])
    F = linear.same_size(features).reshape(S * A, -1)
    system = np.hstack([F[visited], -_shaping(mdp)[visited].toarray()]) * weight[:, None]
    found = np.linalg.lstsq(system, -lam * weight * np.log(policy(rho).ravel()[visited]), rcond=None)[0]
    return (F @ found[: F.shape[1]]).reshape(S, A)


def _shaping(mdp: MDP) -> sparse.csr_array:
    """B [S * A, S]: B V = V - gamma P V."""
    S, A = mdp.shape
    copy = sparse.csr_array((np.ones(S * A), np.arange(S * A) // A, np.arange(S * A + 1)), shape=(S * A, S))
    return (copy - mdp.gamma * mdp.P).tocsr()
