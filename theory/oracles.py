"""Obvious, slow second opinions: dense arrays, power series, value iteration, vertices of D by a linear program.

None of it calls the package beyond reading P, p0 and gamma of an MDP, so that an agreement means something.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy.optimize import linprog

from occmatch import MDP

Array = np.ndarray

TAIL = 1e-16
"""Series and iterations stop where gamma^t falls below it: the rest is TAIL / (1 - gamma) of the whole, or less."""


def kernel(mdp: MDP) -> Array:
    """P(s'|s, a) as a dense array [S, A, S]."""
    rows = mdp.P.toarray()
    return np.array([[rows[s * mdp.A + a] for a in range(mdp.A)] for s in range(mdp.S)])


def steps(mdp: MDP) -> int:
    """The first t with gamma^t <= TAIL."""
    return 1 if mdp.gamma == 0.0 else int(np.ceil(np.log(TAIL) / np.log(mdp.gamma)))


def series_occupancy(mdp: MDP, pi: Array) -> Array:
    """rho_pi [S, A] as the sum over t of gamma^t P(s_t = s) pi(a|s)."""
    P, weight, at = kernel(mdp), 1.0, mdp.p0
    rho = np.zeros((mdp.S, mdp.A))
    for _ in range(steps(mdp)):
        here = at[:, None] * pi
        rho += weight * here
        at = np.einsum("sa,sat->t", here, P)
        weight *= mdp.gamma
    return rho


def series_return(mdp: MDP, pi: Array, cost: Array, lam: float) -> float:
    """L(pi, c) = -lam H(pi) + E_pi[c], summed over time with log pi written out."""
    reward = np.zeros(mdp.shape)
    for s, a in np.ndindex(*mdp.shape):
        reward[s, a] = cost[s, a] + (lam * np.log(pi[s, a]) if pi[s, a] > 0 else 0.0)
    return float((series_occupancy(mdp, pi) * reward).sum())


def soft_value(mdp: MDP, cost: Array, lam: float) -> Array:
    """The fixed point of V = -lam log sum_a exp(-(c + gamma P V) / lam) [S], by value iteration."""
    P = kernel(mdp)
    V = np.full(mdp.S, cost.mean() / (1.0 - mdp.gamma))
    for _ in range(steps(mdp) + 20):
        Q = cost + mdp.gamma * (P @ V)
        least = Q.min(axis=1)
        new = least - lam * np.log(np.exp((least[:, None] - Q) / lam).sum(axis=1))
        still = np.array_equal(new, V)
        V = new
        if still:
            break
    return V


def soft_policy(mdp: MDP, cost: Array, lam: float) -> Array:
    """pi(a|s) = exp((V - c - gamma P V) / lam) [S, A] at the fixed point of `soft_value`."""
    V = soft_value(mdp, cost, lam)
    pi = np.exp((V[:, None] - cost - mdp.gamma * (kernel(mdp) @ V)) / lam)
    return pi / pi.sum(axis=1, keepdims=True)


def flow(mdp: MDP) -> Array:
    """M [S, S A] with D = { rho >= 0 : M rho = p0 }, entry by entry."""
    P, (S, A) = kernel(mdp), mdp.shape
    M = np.zeros((S, S * A))
    for s, t, a in product(range(S), range(S), range(A)):
        M[s, t * A + a] = (s == t) - mdp.gamma * P[t, a, s]
    return M


def vertex(mdp: MDP, rng: np.random.Generator) -> Array:
    """A vertex of D [S, A]: the measure that is cheapest for a random cost, by HiGHS."""
    found = linprog(rng.normal(size=mdp.S * mdp.A), A_eq=flow(mdp), b_eq=mdp.p0, method="highs-ds")
    return np.maximum(found.x, 0.0).reshape(mdp.shape)


def deterministic_policies(mdp: MDP) -> Iterator[Array]:
    """All A^S deterministic policies [S, A]."""
    for actions in product(range(mdp.A), repeat=mdp.S):
        yield np.eye(mdp.A)[list(actions)]


def softmax(logits: Array) -> Array:
    """A policy [S, A] from logits [S, A]."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
