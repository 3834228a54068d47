"""Random MDPs, policies and costs, and plain second opinions that the solvers of the package have no part in.

Policies and measures may be complex here, so that a derivative is a complex step: f(x + i h v) = f(x) + i h <grad f, v>
up to h^2, exact to rounding for h = 1e-30.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

from occmatch.examples import garnet
from occmatch.mdp import MDP

Array = np.ndarray

GAMMAS = (0.3, 0.7, 0.9, 0.95)
STEP = 1e-30


def random_mdp(rng: np.random.Generator) -> MDP:
    """A garnet of 2 to 5 states and 2 or 3 actions; with one successor an action it is deterministic."""
    S, A = int(rng.integers(2, 6)), int(rng.integers(2, 4))
    return garnet(S, A, int(rng.integers(1, S + 1)), float(rng.choice(GAMMAS)), rng)


def random_policy(mdp: MDP, rng: np.random.Generator) -> Array:
    """A policy [S, A] with every entry at least 0.1 / A."""
    return 0.9 * rng.dirichlet(np.ones(mdp.A), size=mdp.S) + 0.1 / mdp.A


def random_features(mdp: MDP, rng: np.random.Generator, K: int = 3) -> Array:
    """K features [S, A, K] in [-1, 1]."""
    return rng.uniform(-1.0, 1.0, (*mdp.shape, K))


def softmax(theta: Array) -> Array:
    """exp(theta) divided by its row sums [S, A]."""
    weights = np.exp(theta)
    return weights / weights.sum(axis=1, keepdims=True)


def kernel(mdp: MDP) -> Array:
    """P(s'|s, a) as a dense array [S, A, S]."""
    return mdp.P.toarray().reshape(mdp.S, mdp.A, mdp.S)


def measure(mdp: MDP, pi: Array) -> Array:
    """rho_pi [S, A] = sum_t gamma^t P(s_t, a_t), summed by doubling: (1 + M)(1 + M^2)(1 + M^4) ... p0."""
    M = mdp.gamma * np.einsum("sat,sa->ts", kernel(mdp), pi)
    d = mdp.p0.astype(M.dtype)
    while np.abs(M).max() > 1e-18:
        d, M = d + M @ d, M @ M
    return d[:, None] * pi


def entropy(rho: Array) -> complex | float:
    """Hbar(rho) = -sum rho log(rho / d), 0 log 0 = 0."""
    some = np.real(rho) > 0
    d = np.broadcast_to(rho.sum(axis=1, keepdims=True), rho.shape)
    return -(rho[some] * np.log(rho[some] / d[some])).sum()


def soft_value(mdp: MDP, cost: Array, lam: float = 1.0) -> Array:
    """V(s) = -lam log sum_a exp(-(c + gamma P V)(s, a) / lam) [S], by value iteration."""
    P, V = kernel(mdp), np.zeros(mdp.S)
    for _ in range(int(np.ceil(-36.0 / np.log(mdp.gamma)))):  # e^-36 is below rounding
        V = -lam * logsumexp(-(cost + mdp.gamma * (P @ V)) / lam, axis=1)
    return V


def soft_objective(mdp: MDP, pi: Array, cost: Array, lam: float = 1.0) -> float:
    """L(pi, c) = -lam H(pi) + E_pi[c], as one sum over visits."""
    return float((measure(mdp, pi) * (cost + lam * np.log(pi))).sum())


def slope(f: Callable[[Array], complex | float], x: Array, direction: Array) -> float:
    """The derivative of f at x along `direction`, by one complex step."""
    return float(np.imag(f(x + 1j * STEP * direction))) / STEP


def least(f: Callable[[Array], Array], shape: tuple[int, ...], bound: float = 40.0) -> Array:
    """min of f over margins in [-bound, bound], entry by entry, f unimodal in each: by golden sections."""
    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    lo, hi = np.full(shape, -bound), np.full(shape, bound)
    for _ in range(90):
        a, b = hi - ratio * (hi - lo), lo + ratio * (hi - lo)
        left = f(a) < f(b)
        lo, hi = np.where(left, lo, a), np.where(left, b, hi)
    return f(0.5 * (lo + hi))


def most(*values: float) -> float:
    """The largest of them, NaN where there is one (which the built-in max would pass over)."""
    return float(np.max(values))


def furthest(*differences: Array | float) -> float:
    """The largest absolute value in any of them, NaN where there is one."""
    return most(*(float(np.abs(d).max(initial=0.0)) for d in differences))
