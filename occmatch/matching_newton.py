"""Newton's method for  min over rho in D of  -lam Hbar(rho) + psi*(rho - rho_E),  psi* separable and smooth.

The iterate is a policy, kept as log pi, and rho is its occupancy measure: every iterate lies in D, and is positive
wherever it can be. A step (`matching_step`) changes log pi by t u and the visits follow by one linear solve; t = 1
unless the objective does not fall. Along t -> rho the objective has slope

    - sum rho ( lam u^2 + kappa (u + e)^2 ) <= 0,

twice what the quadratic model promises: the stopping rule, and the yardstick of the line search. For psi* = <., c> the
iteration is soft policy iteration; from the uniform policy it takes about ten steps, quadratic at the end. Systems
are solved only as accurately as the step deserves (Eisenstat & Walker 1996).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from occmatch.checks import FloatArray
from occmatch.matching_linear import Linear
from occmatch.matching_step import Newton
from occmatch.matching_support import Support
from occmatch.progress import Say
from occmatch.regularisers import Regulariser

# Masses are lifted to this size where psi* is differentiated, so that rho * psi*'' does not become 0 * inf.
_TINY = 1e-290

# Where no mass can come the expert's is matched by this share of it, as the best cost for none may be infinite: psi*
# loses about so much of it, or with the slowest (sqrt(rho rho_E)) the root, and costs keep eight digits beside it.
_UNREACHED = 1e-15

# Slope of the objective, relative to its size, at which one more full step ends far below rounding.
_SETTLED = 1e-13

# And largest change of a policy row: states whose mass is far below rounding have no slope to speak of, but the cost
# that they are given counts in full for a policy that would go there.
_SETTLED_CHANGE = 1e-5

# Relative entropy of a row of the new policy from the old, in nats. Along a path of n states a change multiplies the
# visits at its end by up to e^n times this, which the linear flow equations of a step know nothing of.
_LARGEST_CHANGE = 1.0

# The most accurate that a direction is solved for.
_TIGHTEST = 1e-9

# Slope of psi*, in nats of policy, beyond which a pair starts from the expert's share and not from the uniform one.
_STEEP = 1e6

# Least probability of an action in a policy that is started from.
_LEAST_START = 1e-12

# Rounding of the objective: the line search asks for no decrease below it.
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Iterate:
    """A policy (log pi [S, A], -inf where not allowed), its visits d [S], rho [S, A] and the objective f."""

    log_pi: FloatArray
    d: FloatArray
    rho: FloatArray
    f: float


@dataclass(frozen=True)
class Progress:
    """One step of the history: objective, its slope, the largest change of a policy row, step length.

    The change of a row is the standard deviation of u under it, sqrt(sum_a pi u^2): to second order the square root of
    twice its relative entropy. An action that the full step would bring back counts with the share it would have.
    """

    f: float
    slope: float
    change: float
    t: float


def newton(
    support: Support,
    psi: Regulariser,
    rho_E: FloatArray,
    lam: float,
    max_iter: int = 200,
    start: tuple[FloatArray, FloatArray] | None = None,
    say: Say | None = None,
    linear: Linear | None = None,
) -> tuple[FloatArray, FloatArray, tuple[Progress, ...]]:
    """(rho [S', A], V [S'], history) at the minimum over `support`; no history where psi* is nowhere finite.

    `start` is (pi, V), [S', A] and [S'], from an earlier answer.
    """
    linear = Linear(support.mdp) if linear is None else linear
    count = support.allowed.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        log_pi = np.log(np.where(support.allowed, 1.0 / count, 0.0))
    if start is None:
        log_pi, V = _avoiding(linear, log_pi, support, psi, rho_E, lam), np.zeros(support.mdp.S)
    else:
        # An action that was all but given up needs as long to come back as its logarithm is low.
        near = np.where(support.allowed, np.maximum(start[0], _LEAST_START), 0.0)
        with np.errstate(divide="ignore"):
            log_pi, V = np.log(near), start[1]
    objective = _objective(support, psi, rho_E, lam)
    now = _iterate(linear, log_pi, None, 1e-15, objective)
    loosest = 0.03 * (1.0 - support.mdp.gamma)
    history, before, forcing = [], np.inf, loosest
    for _ in range(max_iter):
        if not np.isfinite(now.f):
            break
        cost, kappa = (support.restrict(x) for x in derivatives(psi, support.extend(now.rho), rho_E))
        with np.errstate(invalid="ignore"):
            G = lam * now.log_pi + cost + linear.expect(V) - V[:, None]
        G, kappa = np.where(support.allowed, G, 0.0), np.where(support.allowed, kappa, 0.0)
        dV, e, u = Newton(linear, np.exp(now.log_pi), now.d, kappa, lam).solve(G, forcing)
        slope = -float((now.rho * (lam * u**2 + kappa * (u + e[:, None]) ** 2)).sum())
        size = max(abs(now.f), lam)
        change = _change(now.log_pi, u)
        found, t = _search(linear, now, _limited(now.log_pi, u), e, slope, _ROUNDING * size, objective)
        if found is None:
            if forcing <= _TIGHTEST:
                break
            forcing = _TIGHTEST  # the direction was too rough; solve for it again
            continue
        V, now = V + dV, found
        history.append(Progress(now.f, slope, change, t))
        if say is not None:
            say("Newton", len(history), -slope / size, lambda V=V: support.extend(V))
        if -slope <= _SETTLED * size and change <= _SETTLED_CHANGE:
            break
        forcing = float(np.clip(loosest * np.sqrt(slope / before), _TIGHTEST, loosest))
        before = slope
    return now.rho, V, tuple(history)


def _avoiding(
    linear: Linear, log_pi: FloatArray, support: Support, psi: Regulariser, rho_E: FloatArray, lam: float
) -> FloatArray:
    """The start log_pi [S', A], but the expert's own share of actions where psi* all but forbids more than that.

    For chi-square with rho_E(s, a) = 1e-200 each Newton step takes only about a nat off log pi(a|s).
    """
    rho = linear.visits(np.exp(log_pi))[:, None] * np.exp(log_pi)
    cost = support.restrict(derivatives(psi, support.extend(rho), rho_E)[0])
    expert = support.restrict(rho_E)
    share = np.divide(expert, expert.sum(axis=1, keepdims=True), out=np.ones_like(expert), where=expert > 0)
    steep = support.allowed & (cost > _STEEP * lam) & (expert > 0) & (share < 1e-6)
    return np.where(steep, np.log(np.where(steep, share, 1.0)), log_pi)


def _objective(
    support: Support, psi: Regulariser, rho_E: FloatArray, lam: float
) -> Callable[[FloatArray, FloatArray], float]:
    def f(log_pi: FloatArray, rho: FloatArray) -> float:
        entropy = -float((rho * np.where(rho > 0, log_pi, 0.0)).sum())
        return psi.divergence(support.extend(rho), rho_E) - lam * entropy

    return f


def best_cost(support: Support, psi: Regulariser, rho: FloatArray, rho_E: FloatArray) -> FloatArray:
    """psi*' [S, A] at the measure rho [S, A], finite where no mass can come; +inf on forbidden pairs."""
    reached = support.extend(support.allowed)
    return derivatives(psi, np.where(reached, rho, _UNREACHED * rho_E), rho_E)[0]


def derivatives(psi: Regulariser, rho: FloatArray, rho_E: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(c, kappa) = (psi*', rho psi*'') [S, A], with masses lifted off zero; c is +inf on forbidden pairs."""
    lifted = np.maximum(rho, _TINY)
    with np.errstate(over="ignore", invalid="ignore"):
        cost, kappa = psi.grad(lifted, rho_E), lifted * psi.hess_diag(lifted, rho_E)
    return cost, np.clip(kappa, 0.0, 1e200)


def _search(
    linear: Linear,
    now: Iterate,
    u: FloatArray,
    e: FloatArray,
    slope: float,
    rounding: float,
    objective: Callable[[FloatArray, FloatArray], float],
) -> tuple[Iterate | None, float]:
    """The first of t = 1, 1/2, 1/4, ... at which the objective falls as its slope promises, up to rounding."""
    t = 1.0
    accuracy = float(np.clip(1e-8 * abs(slope) / (abs(now.f) + rounding), 1e-15, 1e-10))
    for _ in range(40):
        guess = np.maximum(now.d * (1.0 + t * e), 0.0)
        found = _iterate(linear, now.log_pi + t * u, guess, accuracy, objective)
        if found.f <= now.f + 1e-4 * t * slope + rounding:
            return found, t
        t *= 0.5
    return None, 0.0


def _change(log_pi: FloatArray, u: FloatArray) -> float:
    """max over states of sqrt(sum_a max(pi, pi') u^2), pi' ~ pi exp(u) the policy of the full step.

    Under pi alone an action given up by mistake, to e^-64 by one long step, would never be missed.
    """
    moved = log_pi + u
    moved = moved - logsumexp(moved, axis=1, keepdims=True)
    return float(np.sqrt((np.exp(np.maximum(log_pi, moved)) * u**2).sum(axis=1).max()))


def _limited(log_pi: FloatArray, u: FloatArray) -> FloatArray:
    """u [S, A], halved in each state until no row of the policy moves by more than `_LARGEST_CHANGE`."""
    taken = np.isfinite(log_pi)
    u = u.copy()
    for _ in range(60):
        moved = log_pi + u
        moved = moved - logsumexp(moved, axis=1, keepdims=True)
        growth = np.where(taken, moved - np.where(taken, log_pi, 0.0), 0.0)
        far = (np.exp(moved) * growth).sum(axis=1) > _LARGEST_CHANGE
        if not far.any():
            break
        u[far] *= 0.5
    return u


def _iterate(
    linear: Linear,
    log_pi: FloatArray,
    guess: FloatArray | None,
    accuracy: float,
    objective: Callable[[FloatArray, FloatArray], float],
) -> Iterate:
    log_pi = log_pi - logsumexp(log_pi, axis=1, keepdims=True)
    d = linear.visits(np.exp(log_pi), guess, accuracy)
    rho = d[:, None] * np.exp(log_pi)
    return Iterate(log_pi, d, rho, objective(log_pi, rho))
