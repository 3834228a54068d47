"""Accelerated value iteration: what is left where linear systems cannot be solved.

Each sweep V -> T V is safe, and slow as gamma^k.  Two accelerations need nothing but sweeps:

    Anderson   the combination of the last few V whose residuals T V - V cancel best (Anderson 1965; for value
               iteration Geist & Scherrer 2018; kept safe by going back to the best V, Zhang et al. 2020)
    anchored   V_k = b_k V_0 + (1 - b_k) T V_k-1,  1/b_k = sum_{i<=k} gamma^(-2i): where gamma is close to 1 its
               residual falls as 1/k, which the plain sweep's does not (Lee & Ryu 2023)

Anderson goes first.  Where it has not gained a tenth in 60 sweeps, anchored sweeps start from the best V; both are
judged by the same one-sweep bound, and the answer names the one that found it.
"""

from __future__ import annotations

import numpy as np

from occmatch.bellman_sweep import Found, middle, q, soft_minimum, sweep_rounding
from occmatch.checks import FloatArray
from occmatch.matrix_free import AnyMDP
from occmatch.progress import Say

ANDERSON, ANCHORED = "Anderson-accelerated value iteration", "anchored value iteration"

# Vectors that Anderson combines (Geist & Scherrer use five), sweeps it may take without gaining, and sweeps in all.
_MEMORY, _PATIENCE, _SWEEPS = 5, 60, 20_000


def accelerated(mdp: AnyMDP, cost: FloatArray, lam: float, start: Found, tol: float, say: Say) -> Found:
    """Sweeps from `start` until the radius is `tol` or down to rounding, or until they no longer gain."""
    best = start
    for method, sweeps in ((ANDERSON, _anderson), (ANCHORED, _anchored)):
        best = sweeps(mdp, cost, lam, best, tol, say, method)
        if _done(best, mdp.gamma, tol):
            break
    return best


def _anderson(mdp: AnyMDP, cost: FloatArray, lam: float, best: Found, tol: float, say: Say, method: str) -> Found:
    points: list[FloatArray] = []
    steps: list[FloatArray] = []
    V, since, first = best.V, 0, best.iterations
    for k in range(1, _SWEEPS + 1):
        found = _sweep(mdp, cost, lam, V, first + k, method)
        say(method, first + k, found.radius(mdp.gamma), lambda found=found: found.centred(mdp.gamma))
        since = 0 if found.spread < 0.9 * best.spread else since + 1
        if found.spread > 2.0 * best.spread:
            points, steps = [], []  # the combination led astray: go on from the best V with one plain sweep
            V = _relative(best)
            continue
        best = found if found.spread < best.spread else best
        if _done(best, mdp.gamma, tol) or since > _PATIENCE:
            break
        points, steps = [*points[-_MEMORY:], found.V], [*steps[-_MEMORY:], found.step - middle(found.step)]
        V = _combined(points, steps)
    return best


def _combined(points: list[FloatArray], steps: list[FloatArray]) -> FloatArray:
    """sum_i a_i (V_i + step_i) for the weights a, of sum 1, that make |sum_i a_i step_i| least."""
    last, residual = points[-1], steps[-1]
    if len(points) == 1:
        return last + residual
    turns = np.stack([residual - step for step in steps[:-1]])
    gram = turns @ turns.T
    # A little of the identity keeps weights finite where residuals are nearly parallel.
    gram[np.diag_indices_from(gram)] += 1e-12 * np.trace(gram)
    weights = np.linalg.lstsq(gram, turns @ residual, rcond=None)[0]
    moves = np.stack([last - point for point in points[:-1]])
    return last + residual - weights @ (moves + turns)


def _anchored(mdp: AnyMDP, cost: FloatArray, lam: float, best: Found, tol: float, say: Say, method: str) -> Found:
    anchor = V = _relative(best)
    first, inverse, since = best.iterations, 1.0, 0
    for k in range(1, _SWEEPS + 1):
        found = _sweep(mdp, cost, lam, V, first + k, method)
        say(method, first + k, found.radius(mdp.gamma), lambda found=found: found.centred(mdp.gamma))
        since = 0 if found.spread < 0.9 * best.spread else since + 1
        best = found if found.spread < best.spread else best
        if _done(best, mdp.gamma, tol) or since > 10 * _PATIENCE:
            break
        inverse = 1.0 + inverse / mdp.gamma**2
        weight = 1.0 / inverse if np.isfinite(inverse) else 0.0
        V = weight * anchor + (1.0 - weight) * (V + found.step)
    return best


def _sweep(mdp: AnyMDP, cost: FloatArray, lam: float, V: FloatArray, iteration: int, method: str) -> Found:
    Q = q(mdp, cost, V)
    if lam > 0.0:
        TV, pi = soft_minimum(Q, lam)
    else:
        TV, pi = Q.min(axis=1), np.eye(mdp.A)[Q.argmin(axis=1)]
    return Found(V, TV - V, pi, sweep_rounding(mdp, cost, V, TV, lam), iteration, method)


def _relative(found: Found) -> FloatArray:
    """T V less the middle of T V - V, which costs nothing to know."""
    return found.V + found.step - middle(found.step)


def _done(found: Found, gamma: float, tol: float) -> bool:
    return found.radius(gamma) <= tol or found.spread <= 2.0 * found.rounding
