"""Bellman operators, and RL(c) as the root of one of them.

The policy minimises cost and is paid lam for each nat of causal entropy (Eq 2, with lam in front of H).  With
Q(s, a) = c(s, a) + gamma (P V)(s, a),

    soft    (T V)(s) = - lam log sum_a exp(-Q(s, a) / lam)      greedy policy  pi(a|s) ~ exp(-Q(s, a) / lam)
    hard    (T V)(s) = min_a Q(s, a)                            any action that attains it  (the limit lam -> 0)
    policy  (T V)(s) = sum_a pi(a|s) ( Q(s, a) + lam log pi(a|s) )

Each is monotone and T(V + k) = T V + gamma k, so for any V whatever

    V + min(T V - V) / (1 - gamma)  <=  V*  <=  V + max(T V - V) / (1 - gamma):

one sweep bounds the error of an answer without trusting whoever found it.

`rl` solves T V = V by policy iteration, which is Newton's method on the equation: with pi greedy at V,
V <- V + (I - gamma P_pi)^-1 (T V - V).  The soft equation is smooth and convergence quadratic (soft policy iteration,
Ziebart 2010); the hard one ends after finitely many steps (Howard 1960; Puterman 1994, section 6.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.linear import resolvent, solve_policy, solve_visits
from occmatch.mdp import MDP
from occmatch.occupancy import occupancy

__all__ = [
    "RL",
    "hard_backup",
    "policy_backup",
    "q_values",
    "rl",
    "soft_backup",
    "solve_policy",
    "solve_visits",
    "value_bounds",
]

_EPS = np.finfo(np.float64).eps

# Newton needs only its direction from an iterative linear solve; measured on gridworlds of 10,000 and 90,000 states,
# 1e-2 costs one Newton step more than an exact solve does and two thirds of the matrix products that 1e-4 does.
_NEWTON_RTOL = 1e-2

# Howard's iteration compares actions by V_pi itself, so that a switch must not come from an inexact evaluation.
_HOWARD_RTOL = 1e-10


@dataclass(frozen=True, eq=False)
class RL:
    """The answer of `rl`: V [S], pi [S, A], rho = rho_pi [S, A], and how good it is.

    `error` bounds max_s |V(s) - V*(s)|: half the width of the one-sweep bounds plus the rounding of the sweep itself.
    `iterations` counts linear solves; `method` is "soft policy iteration" or "policy iteration".
    """

    V: FloatArray
    pi: FloatArray
    rho: FloatArray
    error: float
    iterations: int
    method: str
    lam: float


def q_values(mdp: MDP, cost: FloatArray, V: FloatArray) -> FloatArray:
    """Q(s, a) = c(s, a) + gamma (P V)(s, a) [S, A], for cost [S, A] and V [S]."""
    return checks.cost(mdp, cost) + mdp.gamma * mdp.expect(checks.state_vector(mdp, V))


def soft_backup(mdp: MDP, cost: FloatArray, V: FloatArray, lam: float) -> tuple[FloatArray, FloatArray]:
    """(T V, pi): TV(s) = -lam log sum_a exp(-Q(s, a)/lam) [S] and pi ~ exp(-Q/lam) [S, A], for lam > 0.

    Safe for any finite Q: the largest exponent is shifted to 0.  Raises ValueError where lam <= 0.
    """
    return _soft_minimum(q_values(mdp, cost, V), checks.lam(lam, positive=True))


def hard_backup(mdp: MDP, cost: FloatArray, V: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(T V, pi): TV(s) = min_a Q(s, a) [S] and the deterministic pi [S, A] of the first action that attains it."""
    Q = q_values(mdp, cost, V)
    return Q.min(axis=1), _one_hot(Q.argmin(axis=1), mdp.A)


def policy_backup(mdp: MDP, cost: FloatArray, pi: FloatArray, V: FloatArray, lam: float = 0.0) -> FloatArray:
    """T V(s) = sum_a pi(a|s) ( Q(s, a) + lam log pi(a|s) ) [S]; its fixed point is the value of `pi` [S, A]."""
    pi = checks.policy(mdp, pi)
    return (pi * q_values(mdp, cost, V) + checks.lam(lam) * xlogy(pi, pi)).sum(axis=1)


def value_bounds(V: FloatArray, TV: FloatArray, gamma: float) -> tuple[FloatArray, FloatArray]:
    """(lo, hi) [S] with lo <= V* <= hi for the fixed point V* of T: V + min and max of (TV - V)/(1-gamma)."""
    step = (TV - V) / (1.0 - checks.discount(gamma))
    return V + step.min(), V + step.max()


def rl(
    mdp: MDP,
    cost: FloatArray,
    lam: float = 1.0,
    *,
    V0: FloatArray | None = None,
    tol: float = 0.0,
    max_iter: int = 1_000,
) -> RL:
    """RL(c) = argmin_pi -lam H(pi) + E_pi[c] (Eq 2), by policy iteration.

    `lam` >= 0 (0: a deterministic optimal policy).  Stops when the certified error of V is at most `tol`, when it is
    down to rounding (the default), or after `max_iter` linear solves; `RL.error` says which error was reached.
    `V0` [S] is a warm start: it saves steps, and changes the answer only where lam = 0 and actions tie.
    Raises ValueError for a cost that is not finite [S, A], or lam < 0.
    """
    cost, lam = checks.cost(mdp, cost), checks.lam(lam)
    tol, max_iter = checks.lam(tol, "tol"), checks.count(max_iter, "max_iter")
    # A constant added to the cost adds a constant to V and nothing to pi; centred, less is lost to cancellation.
    centre = 0.5 * (float(cost.min()) + float(cost.max()))
    offset = centre / (1.0 - mdp.gamma)
    V = np.zeros(mdp.S) if V0 is None else checks.state_vector(mdp, V0, "V0") - offset
    if lam > 0.0:
        return _soft_policy_iteration(mdp, cost - centre, lam, V, offset, tol, max_iter)
    return _policy_iteration(mdp, cost - centre, V, offset, tol, max_iter)


def _soft_policy_iteration(
    mdp: MDP, cost: FloatArray, lam: float, V: FloatArray, offset: float, tol: float, max_iter: int
) -> RL:
    spread = np.inf
    for iteration in range(max_iter + 1):
        TV, pi = _soft_minimum(cost + mdp.gamma * mdp.expect(V), lam)
        step, rounding = TV - V, _sweep_rounding(mdp, cost, V, lam)
        before, spread = spread, float(np.ptp(step))
        if iteration == max_iter or _settled(mdp, spread, before, rounding, tol):
            break
        V = V + resolvent(mdp, pi).solve(step, _NEWTON_RTOL)
    return _answer(mdp, V, step, pi, rounding, offset, iteration, "soft policy iteration", lam)


def _policy_iteration(mdp: MDP, cost: FloatArray, V: FloatArray, offset: float, tol: float, max_iter: int) -> RL:
    states, spread = np.arange(mdp.S), np.inf
    actions = (cost + mdp.gamma * mdp.expect(V)).argmin(axis=1)
    for iteration in range(max_iter + 1):
        Q = cost + mdp.gamma * mdp.expect(V)
        rounding = _sweep_rounding(mdp, cost, V, 0.0)
        # An action is left only for one that is better by more than rounding: ties cannot cycle, so this ends.
        worse = Q[states, actions] - Q.min(axis=1) > 4.0 * rounding
        actions = np.where(worse, Q.argmin(axis=1), actions)
        step = Q.min(axis=1) - V
        before, spread = spread, float(np.ptp(step))
        if iteration == max_iter or (not worse.any() and _settled(mdp, spread, before, 4.0 * rounding, tol)):
            break
        V = V + resolvent(mdp, _one_hot(actions, mdp.A)).solve(Q[states, actions] - V, _HOWARD_RTOL)
    pi = _one_hot(actions, mdp.A)
    return _answer(mdp, V, step, pi, rounding, offset, iteration, "policy iteration", 0.0)


def _settled(mdp: MDP, spread: float, before: float, rounding: float, tol: float) -> bool:
    """Whether the sweep meets `tol`, or has come down to rounding and no longer shrinks."""
    if (0.5 * spread + rounding) / (1.0 - mdp.gamma) <= tol:
        return True
    return spread <= 2.0 * rounding and (spread > 0.25 * before or spread == 0.0)


def _answer(
    mdp: MDP,
    V: FloatArray,
    step: FloatArray,
    pi: FloatArray,
    rounding: float,
    offset: float,
    iterations: int,
    method: str,
    lam: float,
) -> RL:
    # V* - V lies between the least and the largest step over 1 - gamma; the middle is at most half the width off.
    least, largest = step.min() / (1.0 - mdp.gamma), step.max() / (1.0 - mdp.gamma)
    V = V + (0.5 * (least + largest) + offset)
    error = 0.5 * (largest - least) + rounding / (1.0 - mdp.gamma) + 4.0 * _EPS * float(np.abs(V).max())
    return RL(V, pi, occupancy(mdp, pi), float(error), iterations, method, lam)


def _sweep_rounding(mdp: MDP, cost: FloatArray, V: FloatArray, lam: float) -> float:
    """Bound on the rounding of one computed T V - V: a dot product of n terms errs by n units in the last place."""
    terms = int(np.diff(mdp.P.indptr).max()) + mdp.A + 8
    scale = float(np.abs(cost).max()) + float(np.abs(V).max()) + lam * np.log(mdp.A)
    return 0.5 * terms * _EPS * scale


def _soft_minimum(Q: FloatArray, lam: float) -> tuple[FloatArray, FloatArray]:
    """-lam log sum_a exp(-Q/lam) [S] and the weights exp(-Q/lam) divided by their sum [S, A]."""
    least = Q.min(axis=1, keepdims=True)
    with np.errstate(over="ignore"):
        weights = np.exp((least - Q) / lam)
    total = weights.sum(axis=1, keepdims=True)
    return (least - lam * np.log(total))[:, 0], weights / total


def _one_hot(actions: np.ndarray, A: int) -> FloatArray:
    return np.eye(A)[actions]
