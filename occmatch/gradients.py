"""Exact policy gradients on tabular softmax policies pi(a|s) = exp(theta(s, a)) / sum_a' exp(theta(s, a')).

Every formula of the paper has the shape  E_pi[ grad_theta log pi(a|s) Q(s, a) ]  with a Q of its own.  For the softmax
grad_theta(s, b) log pi(a|s) = 1[a = b] - pi(b|s), so the expectation is, entry by entry,

    rho_pi(s, b) ( Q(s, b) - sum_a pi(a|s) Q(s, a) ):

no sampling, one solve for the values and one for the visits.  Rows of a gradient sum to zero.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.linear import resolvent
from occmatch.mdp import MDP
from occmatch.occupancy import occupancy

# Below this log pi is cut off, where pi has long been zero: zero times an infinite signal would be NaN.
_LEAST = -1e300


class CostClass(Protocol):
    """A psi that attains its conjugate: the cost that tells rho from rho_E best."""

    def best_cost(self, rho: FloatArray, rho_E: FloatArray) -> FloatArray: ...


def softmax(theta: ArrayLike) -> FloatArray:
    """pi [S, A] of the parameters `theta` [S, A]; safe for any finite theta, ValueError for another shape."""
    return np.exp(_log_softmax(checks.real_axes(theta, "theta", "S", "A")))


def cost_gradient(mdp: MDP, theta: ArrayLike, cost: ArrayLike) -> FloatArray:
    """grad_theta E_pi[c] = E_pi[ grad log pi(a|s) Q_c(s, a) ] [S, A] for a fixed cost [S, A].

    Q_c(s, a) = c(s, a) + gamma (P V_c)(s, a) (the policy gradient theorem, Sutton et al. 2000).
    """
    return _expected_score(mdp, checks.cost(mdp, theta, "theta"), checks.cost(mdp, cost))


def entropy_gradient(mdp: MDP, theta: ArrayLike) -> FloatArray:
    """grad_theta H(pi) = E_pi[ grad log pi(a|s) Q_log(s, a) ] [S, A] (Lemma A.1).

    Q_log(s, a) = E[ sum_t -gamma^t log pi(a_t|s_t) | s_0 = s, a_0 = a ].
    """
    theta = checks.cost(mdp, theta, "theta")
    return _expected_score(mdp, theta, -_log_softmax(theta))


def saddle_gradient(mdp: MDP, theta: ArrayLike, cost: ArrayLike, lam: float) -> FloatArray:
    """grad_theta E_pi[c] - lam H(pi) [S, A], the policy's half of the saddle point (Eq 18, where c = log D is fixed).

    It is E_pi[ grad log pi Q ] for the signal c + lam log pi: the entropy is one more cost.
    """
    theta, lam = checks.cost(mdp, theta, "theta"), checks.lam(lam)
    return _expected_score(mdp, theta, checks.cost(mdp, cost) + lam * _log_softmax(theta))


def matching_gradient(mdp: MDP, theta: ArrayLike, rho_E: ArrayLike, psi: CostClass) -> FloatArray:
    """grad_theta max_{c in C} E_pi[c] - E_piE[c] = E_pi[ grad log pi(a|s) Q_c*(s, a) ] [S, A] (Eq 12).

    c* = `psi.best_cost(rho_pi, rho_E)` is held fixed (envelope theorem): a subgradient where c* is not unique.  The
    same formula is the gradient of psi*(rho_pi - rho_E) for any psi; where no cost attains it, psi.best_cost raises.
    Raises ValueError where psi has no best_cost.
    """
    if not hasattr(psi, "best_cost"):
        raise ValueError(f"psi must have best_cost, as a Regulariser does, but is {type(psi).__name__}")
    theta = checks.cost(mdp, theta, "theta")
    rho = occupancy(mdp, softmax(theta))
    best = psi.best_cost(rho, checks.measure(mdp, rho_E, "rho_E"))
    return _expected_score(mdp, theta, checks.cost(mdp, best, "best_cost"))


def _expected_score(mdp: MDP, theta: FloatArray, signal: FloatArray) -> FloatArray:
    """E_pi[ grad_theta log pi(a|s) Q(s, a) ] [S, A], Q the discounted sum of `signal` [S, A] that follows (s, a)."""
    pi = softmax(theta)
    solves = resolvent(mdp, pi)
    Q = signal + mdp.gamma * mdp.expect(solves.solve((pi * signal).sum(axis=1)))
    rho = solves.solve_transposed(mdp.p0)[:, None] * pi
    return rho * (Q - (pi * Q).sum(axis=1, keepdims=True))


def _log_softmax(theta: FloatArray) -> FloatArray:
    with np.errstate(over="ignore"):  # a difference of doubles may be none
        shifted = np.maximum(theta - theta.max(axis=-1, keepdims=True), _LEAST)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
