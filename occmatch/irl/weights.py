"""Newton on the dual over feature weights, c = sum_k w_k f_k: MaxCausalEnt IRL (Eq 1) and the l2 ball.

The dual in w is p0.V_{Fw} - <rho_E, F w> - psi(w), with gradient F'(rho - rho_E) - psi'(w) and Hessian -(1/lam) U'
diag(rho) U - psi''(w), where U = T F holds the features less their shaping (`newton`). Directions in which U vanishes
on visited pairs do not change the policy and are left alone. Over the ball ||w|| <= R each step is the exact maximum of
the quadratic model on the ball: (H + mu) z = r + H w with mu >= 0 and ||z|| <= R (More & Sorensen 1983).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from occmatch.irl.dual import Array, Outcome, Problem, Record, noise, primal_value
from occmatch.linear import policy_matrix
from occmatch.regularisers import Constant, L2Ball, Quadratic

ARMIJO = 1e-4  # Nocedal & Wright (2006), section 3.1
NULL = 1e-13
"""Relative size of Hessian eigenvalues that are rounding: the features' shaping null space."""


def solve_weights(problem: Problem, max_iter: int) -> Outcome:
    """Newton's proposal for Constant and Quadratic over features, and for l2 balls with features or without."""
    mdp, psi = problem.mdp, problem.psi
    F = np.eye(mdp.S * mdp.A) if psi.features is None else psi.features.reshape(mdp.S * mdp.A, -1)
    penalty = np.broadcast_to(psi.weight, F.shape[1]) if isinstance(psi, Quadratic) else np.zeros(F.shape[1])
    radius = psi.radius if isinstance(psi, L2Ball) else np.inf

    def at(w: Array, V0: Array | None) -> tuple[float, Array, Array, Array]:
        c = (F @ w).reshape(mdp.shape)
        V, pi, rho = problem.answer(c, V0)
        value = float(mdp.p0 @ V) - float(np.vdot(problem.rho_E, c)) - 0.5 * float(penalty @ w**2)
        return value, V, pi, rho

    w, record, previous = np.zeros(F.shape[1]), Record(), np.inf
    value, V, pi, rho = at(w, None)
    tried: tuple[Array, ...] = (w,)
    for _ in range(max_iter + 1):
        r = F.T @ (rho - problem.rho_E).ravel() - penalty * w
        H = _hessian(problem, F, pi, rho) + np.diag(penalty)
        s = _model_maximum(H, r, w, radius) - w
        gain = float(r @ s)
        size = float(np.abs(s).max())
        primal = primal_value(problem, rho)
        rounding = noise(problem, V)
        settled = gain <= rounding
        left = size if isinstance(psi, Constant) else abs(primal - value)
        if settled and (left <= 1e-15 * (1 + abs(value)) or left >= 0.5 * previous):
            break
        t = 1.0
        while True:
            trial = w + t * s
            found = at(trial, V)
            if settled or found[0] >= value + ARMIJO * t * gain - rounding or t < 1e-12:
                break
            t *= 0.5
        record.add(value, primal, float(np.abs(_projected(r, w, radius)).max()), t)
        previous = left if settled else np.inf
        last, w, (value, V, pi, rho) = w, trial, found
        tried = (last, w)
    gradient = float(np.abs(_projected(F.T @ (rho - problem.rho_E).ravel() - penalty * w, w, radius)).max())
    return Outcome(
        tuple((F @ v).reshape(mdp.shape) for v in tried), (pi,), len(record.rows), gradient, record.history()
    )


def _hessian(problem: Problem, F: Array, pi: Array, rho: Array) -> Array:
    """(1/lam) U' diag(rho) U [K, K], U = F - B X with (I - gamma P_pi) X = Pi F."""
    mdp = problem.mdp
    S, A = mdp.shape
    mean = (pi[:, :, None] * F.reshape(S, A, -1)).sum(axis=1)
    system = sparse.eye_array(S) - mdp.gamma * policy_matrix(mdp, pi)
    X = splu(system.tocsc()).solve(mean)
    U = F - np.repeat(X, A, axis=0) + mdp.gamma * (mdp.P @ X)
    return (U.T * rho.ravel()) @ U / problem.lam


def _model_maximum(H: Array, r: Array, w: Array, radius: float) -> Array:
    """argmax r.(z - w) - 1/2 (z - w)' H (z - w) over ||z|| <= radius; w unchanged along null directions."""
    values, Q = np.linalg.eigh(H)
    values = np.where(values > NULL * values[-1], values, 0.0)
    slope, start = Q.T @ r, Q.T @ w
    curved = values > 0
    inner = start + np.divide(slope, values, out=np.zeros_like(slope), where=curved)
    if radius == np.inf or (np.linalg.norm(inner) <= radius and np.abs(slope[~curved]).max(initial=0.0) <= 1e-13):
        return Q @ inner
    target = slope + values * start
    # ||z(mu)|| decreases in mu; bracket the root of ||z(mu)|| = radius and halve it geometrically.
    lo, hi = 0.0, float(np.linalg.norm(target)) / radius
    for _ in range(200):
        mu = 0.5 * (lo + hi)
        outside = (
            np.linalg.norm(np.divide(target, values + mu, out=np.zeros_like(target), where=values + mu > 0)) > radius
        )
        lo, hi = (mu, hi) if outside else (lo, mu)
    z = target / (values + hi) if hi > 0 else start
    return Q @ (z * min(1.0, radius / max(float(np.linalg.norm(z)), 1e-300)))


def _projected(r: Array, w: Array, radius: float) -> Array:
    """The gradient map of the ball: how far a unit gradient step moves w after projection."""
    z = w + r
    return z * min(1.0, radius / max(float(np.linalg.norm(z)), 1e-300)) - w if radius < np.inf else r
