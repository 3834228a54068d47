"""Apprenticeship learning: Eq 9 to 12, and what a class without the true cost does."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from occmatch.bellman import rl
from occmatch.certificate import certify
from occmatch.gradients import matching_gradient
from occmatch.irl import irl
from occmatch.matching import match
from occmatch.mdp import MDP
from occmatch.regularisers import L2Ball, Simplex
from occmatch.statements import plain
from occmatch.statements.plain import measure, most, random_features, random_policy, slope, softmax
from occmatch.statements.statement import ROUNDING, VALUE, Statement

Array = np.ndarray

LAM = 0.01


def program(mdp: MDP, features: Array, rho_E: Array) -> float:
    """min over rho in D of max_k <rho - rho_E, f_k>, as a linear program in (rho, t) of its own."""
    S, A, K = features.shape
    F = features.reshape(S * A, K)
    flow = np.repeat(np.eye(S), A, axis=1) - mdp.gamma * plain.kernel(mdp).reshape(S * A, S).T
    found = linprog(
        np.append(np.zeros(S * A), 1.0),
        A_ub=np.hstack([F.T, -np.ones((K, 1))]),
        b_ub=F.T @ rho_E.ravel(),
        A_eq=np.hstack([flow, np.zeros((S, 1))]),
        b_eq=mdp.p0,
        bounds=[(0.0, None)] * (S * A) + [(None, None)],
    )
    return float(found.fun)


def game(mdp: MDP, rng: np.random.Generator) -> float:
    """min_pi max_{c in C} E_pi[c] - E_piE[c] by that program, against matching with psi = delta_C and no entropy."""
    features, rho_E = random_features(mdp, rng), measure(mdp, random_policy(mdp, rng))
    matched = match(mdp, rho_E, Simplex(features), lam=0.0)
    worst = np.einsum("sak,sa->k", features, measure(mdp, normalised(matched.pi)) - rho_E).max()
    return (1.0 - mdp.gamma) * abs(float(worst) - program(mdp, features, rho_E))


def normalised(pi: Array) -> Array:
    """A solver's policy with its rounding taken out."""
    pi = np.maximum(pi, 0.0)
    return pi / pi.sum(axis=1, keepdims=True)


def linear_class(mdp: MDP, rng: np.random.Generator) -> float:
    """psi* of { |w|_2 <= 1 } is the l2 distance of feature expectations, above what any such w attains."""
    features = random_features(mdp, rng)
    x = measure(mdp, random_policy(mdp, rng)) - measure(mdp, random_policy(mdp, rng))
    gap, psi = np.einsum("sak,sa->k", features, x), L2Ball(features)
    w = rng.normal(size=(50, 3))
    attained = (w / np.linalg.norm(w, axis=1, keepdims=True)) @ gap
    distance = psi.conjugate(x)
    return (1.0 - mdp.gamma) * most(abs(distance - float(np.sqrt((gap**2).sum()))), float(attained.max()) - distance)


def convex_class(mdp: MDP, rng: np.random.Generator) -> float:
    """psi* of { w >= 0, sum w = 1 } is the largest gap of a feature, above what any such w attains."""
    features = random_features(mdp, rng)
    x = measure(mdp, random_policy(mdp, rng)) - measure(mdp, random_policy(mdp, rng))
    gap, psi = [float((features[:, :, k] * x).sum()) for k in range(3)], Simplex(features)
    attained = rng.dirichlet(np.ones(3), size=50) @ np.array(gap)
    return (1.0 - mdp.gamma) * most(abs(psi.conjugate(x) - most(*gap)), float(attained.max()) - psi.conjugate(x))


def with_entropy(mdp: MDP, rng: np.random.Generator) -> float:
    """RL o IRL and matching agree at delta_C; their value is at most lam log A / (1 - gamma) below the game's."""
    features, rho_E = random_features(mdp, rng), measure(mdp, random_policy(mdp, rng))
    psi = Simplex(features)
    above = certify(mdp, rho_E, psi, match(mdp, rho_E, psi, LAM)).primal
    below = certify(mdp, rho_E, psi, irl(mdp, rho_E, psi, LAM)).dual
    value = program(mdp, features, rho_E)
    room = LAM * np.log(mdp.A) / (1.0 - mdp.gamma)
    return (1.0 - mdp.gamma) * most(abs(above - below), above - value, value - room - above)


def too_small_a_class(mdp: MDP, rng: np.random.Generator) -> float:
    """A class of one feature is matched to zero distance; 1 where the learner then does as well as the expert.

    The feature is constant, so that the learner is the policy of most entropy; the expert is optimal for the true cost.
    """
    cost = rng.normal(size=mdp.shape)
    rho_E, psi = measure(mdp, rl(mdp, cost, lam=0.05).pi), L2Ball(np.ones((*mdp.shape, 1)))
    rho = match(mdp, rho_E, psi).rho
    return most(psi.divergence(rho, rho_E) * (1.0 - mdp.gamma), float(((rho - rho_E) * cost).sum() <= 0.0))


def gradient(mdp: MDP, rng: np.random.Generator) -> float:
    """The gradient at the best cost held fixed, against the derivative of the whole: complex steps through |gap|_2."""
    features, rho_E = random_features(mdp, rng), measure(mdp, random_policy(mdp, rng))
    theta, direction = rng.normal(size=mdp.shape), rng.normal(size=mdp.shape)

    def distance(x: Array) -> complex:
        gap = np.einsum("sak,sa->k", features, measure(mdp, softmax(x)) - rho_E)
        return np.sqrt((gap**2).sum())

    found = float((matching_gradient(mdp, theta, rho_E, L2Ball(features)) * direction).sum())
    return (1.0 - mdp.gamma) * abs(found - slope(distance, theta, direction))


STATEMENTS = (
    Statement("Eq 9", "apprenticeship learning is matching with psi = delta_C", game, VALUE),
    Statement("Eq 10", "C_linear: psi* is the l2 distance of feature expectations", linear_class, ROUNDING),
    Statement("Eq 10", "C_convex: psi* is the largest gap of a feature", convex_class, ROUNDING),
    Statement("Eq 11", "with entropy it is RL o IRL, within lam log A / (1-gamma) of Eq 9", with_entropy, VALUE),
    Statement("Section 4", "a class without the true cost is matched, and the expert is not", too_small_a_class, VALUE),
    Statement("Eq 12", "its gradient holds the best cost fixed", gradient, ROUNDING),
)
