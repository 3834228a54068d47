"""Newton on the dual over feature weights, c = sum_k w_k f_k: MaxCausalEnt IRL (Eq 1) and the l2 ball.

The dual in w is p0.V_{Fw} - <rho_E, F w> - psi(w), with gradient F'(rho - rho_E) - psi'(w) and Hessian -(1/lam) U'
diag(rho) U - psi''(w), where U = T F holds the features less their shaping (`newton`), from one policy solve a feature,
all together and only as accurate as the step deserves: an error in the Hessian slows Newton down, and moves nothing.
Directions in which U vanishes
on visited pairs do not change the policy and are left alone. Over the ball ||w|| <= R each step is the exact maximum of
the quadratic model on the ball: (H + mu) z = r + H w with mu >= 0 and ||z|| <= R (More & Sorensen 1983).
"""

from __future__ import annotations

import numpy as np

from occmatch.columns import solve_columns
from occmatch.irl.dual import Array, Outcome, Problem, Record, noise, primal_value
from occmatch.linear import resolvent
from occmatch.regularisers import Constant, L2Ball, Quadratic
from occmatch.regularisers.features import coordinates

ARMIJO = 1e-4  # Nocedal & Wright (2006), section 3.1
NULL = 1e-13
"""Relative size of Hessian eigenvalues that are rounding: the features' shaping null space."""

LEVEL = 1e-9
"""Relative size of slopes that are rounding, along directions that are null but for rounding."""

DIRECT_STATES = 2_000
"""Up to this many states the Hessian is computed to rounding, so that its null space is known to be one."""

LOOSEST, TIGHTEST = 0.03, 1e-8
"""Beyond, the accuracy of its policy solves: loose, and ten times tighter after a full step whose gain fell less than
to `SLOW` of the one before. A Hessian that is off by a share e leaves a share e^2 of the gain to the next step. Where
the curvature along the step changed by more than `TURN` of itself, that slowed Newton down and no error did."""

SLOW, FAST, TURN = 0.1, 0.02, 0.3
"""Where the gain falls below `FAST` of the one before, the Hessian is kept for the next step too."""

AHEAD, FARTHEST = 0.25, 16.0
"""A full step is doubled, up to `FARTHEST` times its length, while going as far again could gain `AHEAD` of what the
model promised. Far from an expert that is nearly deterministic the dual rises like 1 - exp(-t), of which each Newton
step is a unit of t."""

MOST_PAIRS = 4_000
"""Pairs (s, a) up to which an l2 ball over all costs, one coordinate a pair, is solved by dense matrices."""

BLOCK = 1 << 22
"""Numbers of U that are held at a time."""


def solve_weights(problem: Problem, max_iter: int, tol: float = 0.0, start: Array | None = None) -> Outcome:
    """Newton's proposal for Constant and Quadratic over features, and for l2 balls with features or without.

    It begins with the weights of the cost `start` [S, A], or with none.

    Ends where the relative gap is at most `tol`, or at rounding. Where psi is constant the gap is infinite until the
    features' expectations match, up to the rounding that a certificate allows for.
    """
    mdp, psi = problem.mdp, problem.psi
    if psi.features is None and mdp.S * mdp.A > MOST_PAIRS:
        raise ValueError(
            f"method 'newton' of irl must have at most {MOST_PAIRS:,} pairs for an L2Ball without features, whose "
            f"curvature is dense, but the MDP has {mdp.S * mdp.A:,}; `match` solves it with sparse equations"
        )
    F = np.eye(mdp.S * mdp.A) if psi.features is None else psi.features.reshape(mdp.S * mdp.A, -1)
    penalty = np.broadcast_to(psi.weight, F.shape[1]) if isinstance(psi, Quadratic) else np.zeros(F.shape[1])
    radius = psi.radius if isinstance(psi, L2Ball) else np.inf

    def at(w: Array, V0: Array | None) -> tuple[float, Array, Array, Array]:
        c = (F @ w).reshape(mdp.shape)
        V, pi, rho = problem.answer(c, V0)
        value = float(mdp.p0 @ V) - float(np.vdot(problem.rho_E, c)) - 0.5 * float(penalty @ w**2)
        return value, V, pi, rho

    def gradient(w: Array, rho: Array) -> Array:
        return F.T @ (rho - problem.rho_E).ravel() - penalty * w

    w = np.zeros(F.shape[1]) if start is None else coordinates(psi.features, start)[0].ravel()
    record, previous, X = Record(), np.inf, None
    rtol, t, gained = 1e-14 if mdp.S <= DIRECT_STATES else LOOSEST, 0.0, np.inf
    H, kept, s = np.zeros((F.shape[1], F.shape[1])), False, np.zeros(F.shape[1])
    value, V, pi, rho = at(w, None)
    tried: tuple[Array, ...] = (w,)
    for _ in range(max_iter + 1):
        r = gradient(w, rho)
        primal = primal_value(problem, rho)
        if primal - value <= tol * (1 + abs(value)) and tol > 0.0:
            break
        turned = False
        if not (kept and mdp.S > DIRECT_STATES):
            before = float(s @ H @ s)
            H, X = _hessian(problem, F, pi, rho, X, rtol)
            turned = abs(float(s @ H @ s) - before) > TURN * before
        s = _model_maximum(H + np.diag(penalty), r, w, radius, _rounding(problem, F, rho)) - w
        gain = float(r @ s)
        kept = t == 1.0 and gain < FAST * gained
        if t == 1.0 and gain > SLOW * gained and not turned:
            rtol = max(0.1 * rtol, min(rtol, TIGHTEST))
        gained = gain
        size = float(np.abs(s).max())
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
        while radius == np.inf and not settled and 1.0 <= t < FARTHEST:
            if t * float(gradient(trial, found[3]) @ s) <= AHEAD * gain:
                break
            farther = w + 2.0 * t * s
            there = at(farther, found[1])
            if not there[0] > found[0]:
                break
            t, trial, found = 2.0 * t, farther, there
        record.add(value, primal, float(np.abs(_projected(r, w, radius)).max()), t)
        problem.report("Newton", len(record.rows), primal - value, V)
        previous = left if settled else np.inf
        last, w, (value, V, pi, rho) = w, trial, found
        # Each cost is projected on the features again by least squares, which takes time: rounding alone decides here.
        tried = (last, w) if mdp.S <= DIRECT_STATES else (w,)
    left = float(np.abs(_projected(gradient(w, rho), w, radius)).max())
    return Outcome(tuple((F @ v).reshape(mdp.shape) for v in tried), (pi,), len(record.rows), left, record.history())


def _hessian(
    problem: Problem, F: Array, pi: Array, rho: Array, guess: Array | None = None, rtol: float = 1e-14
) -> tuple[Array, Array]:
    """(1/lam) U' diag(rho) U [K, K], U = F - B X with (I - gamma P_pi) X = Pi F; and X [S, K], from a `guess` of it."""
    mdp, K = problem.mdp, F.shape[1]
    S, A = mdp.shape
    X = solve_columns(resolvent(mdp, pi), np.einsum("sa,sak->sk", pi, F.reshape(S, A, K)), rtol, guess)
    H = np.zeros((K, K))
    count = max(1, BLOCK // (A * K))
    for start in range(0, S, count):
        states = np.arange(start, min(start + count, S))
        rows = slice(start * A, (int(states[-1]) + 1) * A)
        U = F[rows] - np.repeat(X[states], A, axis=0) + mdp.gamma * (mdp.P[rows] @ X)
        H += (U.T * rho[states].ravel()) @ U
    return H / problem.lam, X


def _rounding(problem: Problem, F: Array, rho: Array) -> tuple[float, float]:
    """What rounding leaves of U = 0 in the curvature, and of matched features in the slope.

    An expert who never has a choice leaves no other curvature, and an interior one no slope along shaping.
    """
    mass = float(rho.sum())
    size = 8.0 * np.finfo(np.float64).eps * float(np.abs(F).max()) / (1.0 - problem.mdp.gamma)
    return size**2 * mass / problem.lam, size * mass


def _model_maximum(H: Array, r: Array, w: Array, radius: float, rounding: tuple[float, float]) -> Array:
    """argmax r.(z - w) - 1/2 (z - w)' H (z - w) over ||z|| <= radius; w unchanged along null directions.

    Null are a curvature and a slope of at most `rounding`, or of the rounding of the largest. A slope that is rounding
    would lead along a null direction to the end of the ball, and to costs of its size.
    """
    values, Q = np.linalg.eigh(H)
    values = np.where(values > max(NULL * values[-1], rounding[0]), values, 0.0)
    slope, start = Q.T @ r, Q.T @ w
    curved = values > 0
    inner = start + np.divide(slope, values, out=np.zeros_like(slope), where=curved)
    level = np.abs(slope[~curved]).max(initial=0.0) <= max(LEVEL * float(np.linalg.norm(slope)), rounding[1])
    if radius == np.inf or (np.linalg.norm(inner) <= radius and level):
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
