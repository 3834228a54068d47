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
Ziebart 2010); the hard one ends after finitely many steps (Howard 1960; Puterman 1994, section 6.4).  How the steps are
made up to millions of states stands in `bellman_newton`, `bellman_howard`, `bellman_coarse` (the first guess) and
`bellman_accelerated` (what is left where linear systems stall).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import xlogy

from occmatch import checks
from occmatch.bellman_coarse import _STATES as _COARSE_STATES
from occmatch.bellman_coarse import first_guess
from occmatch.bellman_howard import one_hot, policy_iteration
from occmatch.bellman_newton import soft_policy_iteration
from occmatch.bellman_sweep import EPS, Found, q, soft_minimum
from occmatch.checks import FloatArray
from occmatch.linear import solve_policy, solve_visits
from occmatch.matrix_free import AnyMDP
from occmatch.mdp import MDP
from occmatch.occupancy import occupancy
from occmatch.progress import Progress, Say, reporting

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


# The one-sweep radius aims a little below `tol`, so that the rounding of V itself fits in.
_SHARE = 0.9


@dataclass(frozen=True, eq=False)
class RL:
    """The answer of `rl`: V [S], pi [S, A], rho = rho_pi [S, A] (found when first asked for), and how good V is.

    `error` bounds max_s |V(s) - V*(s)|: half the width of the one-sweep bounds plus the rounding of the sweep itself.
    `iterations` counts linear solves, and sweeps where those took over; `method` says which: "soft policy iteration",
    "policy iteration", "Anderson-accelerated value iteration" or "anchored value iteration".
    """

    V: FloatArray
    pi: FloatArray
    mdp: AnyMDP
    error: float
    iterations: int
    method: str
    lam: float

    @cached_property
    def rho(self) -> FloatArray:
        """rho_pi [S, A], by one linear solve with the transposed system."""
        return occupancy(self.mdp, self.pi)


def q_values(mdp: AnyMDP, cost: FloatArray, V: FloatArray) -> FloatArray:
    """Q(s, a) = c(s, a) + gamma (P V)(s, a) [S, A], for cost [S, A] and V [S]."""
    return q(mdp, checks.cost(mdp, cost), checks.state_vector(mdp, V))


def soft_backup(mdp: AnyMDP, cost: FloatArray, V: FloatArray, lam: float) -> tuple[FloatArray, FloatArray]:
    """(T V, pi): TV(s) = -lam log sum_a exp(-Q(s, a)/lam) [S] and pi ~ exp(-Q/lam) [S, A], for lam > 0.

    Safe for any finite Q: the largest exponent is shifted to 0.  Raises ValueError where lam <= 0.
    """
    return soft_minimum(q_values(mdp, cost, V), checks.lam(lam, positive=True))


def hard_backup(mdp: AnyMDP, cost: FloatArray, V: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(T V, pi): TV(s) = min_a Q(s, a) [S] and the deterministic pi [S, A] of the first action that attains it."""
    Q = q_values(mdp, cost, V)
    return Q.min(axis=1), one_hot(Q.argmin(axis=1), mdp.A)


def policy_backup(mdp: AnyMDP, cost: FloatArray, pi: FloatArray, V: FloatArray, lam: float = 0.0) -> FloatArray:
    """T V(s) = sum_a pi(a|s) ( Q(s, a) + lam log pi(a|s) ) [S]; its fixed point is the value of `pi` [S, A]."""
    pi = checks.policy(mdp, pi)
    return (pi * q_values(mdp, cost, V) + checks.lam(lam) * xlogy(pi, pi)).sum(axis=1)


def value_bounds(V: FloatArray, TV: FloatArray, gamma: float) -> tuple[FloatArray, FloatArray]:
    """(lo, hi) [S] with lo <= V* <= hi for the fixed point V* of T: V + min and max of (TV - V)/(1-gamma).

    Raises ValueError unless `V` and `TV` are finite and of one shape [S].
    """
    V = checks.real_axes(V, "V", "S")
    TV = checks.real_array(TV, "TV", V.shape)
    step = (TV - V) / (1.0 - checks.discount(gamma))
    return V + step.min(), V + step.max()


def rl(
    mdp: AnyMDP,
    cost: FloatArray,
    lam: float = 1.0,
    *,
    V0: FloatArray | None = None,
    tol: float = 0.0,
    max_iter: int = 1_000,
    progress: Progress = None,
) -> RL:
    """RL(c) = argmin_pi -lam H(pi) + E_pi[c] (Eq 2), by policy iteration.

    `lam` >= 0 (0: a deterministic optimal policy).  Stops when the certified error of V is at most `tol`, when it is
    down to rounding (the default), or after `max_iter` linear solves; `RL.error` says which error was reached.
    `V0` [S] is a warm start: it saves steps, and changes the answer only where lam = 0 and actions tie.
    `progress` is called with a `Report` after each step; None shows a line on a terminal, False nothing (`progress`).
    Raises ValueError for a cost that is not finite [S, A], lam < 0, and where the two are so large that V overflows.
    """
    cost, lam = checks.cost(mdp, cost), checks.lam(lam)
    tol, max_iter = checks.lam(tol, "tol"), checks.count(max_iter, "max_iter")
    # A constant added to the cost adds a constant to V and nothing to pi; centred, less is lost to cancellation.  The
    # extremes of min_a c bound those of V*; penalties on single actions, and with them the centre of all costs, do not.
    least = cost.min(axis=1)
    _refuse_overflow(mdp, cost, least, lam)
    centre = 0.5 * float(least.min()) + 0.5 * float(least.max())
    offset = centre / (1.0 - mdp.gamma)
    cost = cost - centre
    with reporting(progress, f"RL on {mdp.S:,} states") as say:
        if V0 is not None:
            V = checks.state_vector(mdp, V0, "V0") - offset
        elif isinstance(mdp, MDP) and mdp.S > _COARSE_STATES and max_iter > 1:
            V = first_guess(mdp, cost, lam, lambda m, c, V, tol: _solve(m, c, lam, V, tol, 50, _quiet).centred(m.gamma))
        else:
            V = np.zeros(mdp.S)
        found = _solve(mdp, cost, lam, V, _SHARE * tol, max_iter, _moved(say, offset))
    V = found.centred(mdp.gamma) + offset
    error = found.radius(mdp.gamma) + 4.0 * EPS * float(np.abs(V).max())
    return RL(V, found.pi, mdp, float(error), found.iterations, found.method, lam)


def _refuse_overflow(mdp: AnyMDP, cost: FloatArray, least: FloatArray, lam: float) -> None:
    """ValueError unless doubles hold V, and a penalty less the centre of the costs."""
    size = float(np.abs(least).max())
    values = (size + lam * float(np.log(mdp.A))) / (1.0 - mdp.gamma)
    if np.isinf(max(values, size + float(cost.max()))):
        raise ValueError(
            f"cost and lam must be so small that doubles hold (max_s |min_a cost(s, a)| + lam log A) / (1 - gamma), "
            f"but |cost| is up to {np.abs(cost).max():g} and lam is {lam:g}"
        )


def _solve(mdp: AnyMDP, cost: FloatArray, lam: float, V: FloatArray, tol: float, max_iter: int, say: Say) -> Found:
    if lam > 0.0:
        return soft_policy_iteration(mdp, cost, lam, V, tol, max_iter, say)
    return policy_iteration(mdp, cost, V, tol, max_iter, say)


def _moved(say: Say, offset: float) -> Say:
    """`say` for values from which `offset` was taken."""
    return lambda method, iteration, error, V: say(method, iteration, error, lambda: V() + offset)


def _quiet(method: str, iteration: int, error: float, V: Callable[[], FloatArray]) -> None:
    """The small MDPs of a first guess say nothing."""
