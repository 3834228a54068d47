"""GAIL: Eq 13 to 18, and the gradient of causal entropy (Lemma A.1)."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import jensenshannon

from occmatch.gradients import entropy_gradient, saddle_gradient
from occmatch.losses import LOSSES
from occmatch.matching import match
from occmatch.mdp import MDP
from occmatch.regularisers import Surrogate
from occmatch.statements import plain
from occmatch.statements.plain import furthest, measure, most, random_policy, slope, softmax
from occmatch.statements.statement import NEWTON, ROUNDING, Statement

Array = np.ndarray

LAM = 0.3


def classify(rho: Array, rho_E: Array, D: Array) -> float:
    """E_pi[log D] + E_piE[log(1 - D)], D = 1 meaning "from the learner"."""
    return float((rho * np.log(D)).sum() + (rho_E * np.log1p(-D)).sum())


def best_classifier(rho: Array, rho_E: Array) -> Array:
    """D = rho / (rho + rho_E), 1/2 where neither goes."""
    return np.divide(rho, rho + rho_E, out=np.full(rho.shape, 0.5), where=rho + rho_E > 0)


def regulariser(mdp: MDP, rng: np.random.Generator) -> float:
    """psi_GA(c) = E_piE[-c - log(1 - e^c)], convex along segments, and +inf where a cost of the expert's is not < 0."""
    rho_E = measure(mdp, random_policy(mdp, rng))
    psi = Surrogate(LOSSES["logistic"], rho_E)
    first, second = (-rng.exponential(size=mdp.shape) - 1e-3 for _ in range(2))
    values = [psi.value(c) for c in (first, second, 0.5 * (first + second))]
    plainly = float((rho_E * (-first - np.log1p(-np.exp(first)))).sum())
    outside = np.where(rho_E == rho_E.max(), 0.0, first)
    bend = values[2] - 0.5 * (values[0] + values[1])
    finite = float(psi.value(outside) < np.inf)
    return most(abs(values[0] / plainly - 1.0), bend, finite)


def conjugate(mdp: MDP, rng: np.random.Generator) -> float:
    """psi_GA* against the classifier at D = rho / (rho + rho_E), and above 50 classifiers at random."""
    rho, rho_E = (measure(mdp, random_policy(mdp, rng)) for _ in range(2))
    value = Surrogate(LOSSES["logistic"], rho_E).conjugate(rho - rho_E)
    others = most(*(classify(rho, rho_E, rng.uniform(0.01, 0.99, mdp.shape)) for _ in range(50)))
    return (1.0 - mdp.gamma) * most(abs(value - classify(rho, rho_E, best_classifier(rho, rho_E))), others - value)


def jensen_shannon(mdp: MDP, rng: np.random.Generator) -> float:
    """(1 - gamma) psi_GA* = 2 JS - 2 log 2 of the normalised measures, JS by SciPy."""
    rho, rho_E = (measure(mdp, random_policy(mdp, rng)) for _ in range(2))
    value = (1.0 - mdp.gamma) * Surrogate(LOSSES["logistic"], rho_E).divergence(rho, rho_E)
    return abs(value - (2.0 * float(jensenshannon(rho.ravel(), rho_E.ravel())) ** 2 - 2.0 * np.log(2.0)))


def saddle_point(mdp: MDP, rng: np.random.Generator) -> float:
    """At the matched policy and its best classifier neither side gains by moving, near or far."""
    rho_E = measure(mdp, random_policy(mdp, rng))
    rho = match(mdp, rho_E, Surrogate(LOSSES["logistic"], rho_E), LAM).rho
    D = best_classifier(rho, rho_E)

    def objective(x: Array, classifier: Array) -> float:
        return classify(x, rho_E, classifier) - LAM * float(plain.entropy(x))

    value = objective(rho, D)
    other = measure(mdp, random_policy(mdp, rng))
    learners = [value - objective((1.0 - t) * rho + t * other, D) for t in (0.01, 1.0)]
    classifiers = [objective(rho, D + t * (rng.uniform(0.01, 0.99, D.shape) - D)) - value for t in (0.01, 1.0)]
    return (1.0 - mdp.gamma) * most(*learners, *classifiers)


def classifier_step(mdp: MDP, rng: np.random.Generator) -> float:
    """The derivative in the margins of D = sigmoid(m), by complex steps, against -phi'."""
    rho, rho_E = (measure(mdp, random_policy(mdp, rng)) for _ in range(2))
    m, direction, loss = rng.normal(size=mdp.shape), rng.normal(size=mdp.shape), LOSSES["logistic"]

    def objective(x: Array) -> complex:
        return -(rho * np.log(1.0 + np.exp(-x)) + rho_E * np.log(1.0 + np.exp(x))).sum()

    found = float(((rho_E * loss.dphi(-m) - rho * loss.dphi(m)) * direction).sum())
    return (1.0 - mdp.gamma) * abs(found - slope(objective, m, direction))


def policy_step(mdp: MDP, rng: np.random.Generator) -> float:
    """E[grad log pi Q] - lam grad H against the derivative of E_pi[log D] - lam H(pi), by complex steps."""
    theta, direction = rng.normal(size=mdp.shape), rng.normal(size=mdp.shape)
    cost = np.log(rng.uniform(0.01, 0.99, mdp.shape))

    def objective(x: Array) -> complex:
        rho = measure(mdp, softmax(x))
        return (rho * cost).sum() - LAM * plain.entropy(rho)

    found = float((saddle_gradient(mdp, theta, cost, LAM) * direction).sum())
    return (1.0 - mdp.gamma) ** 2 * abs(found - slope(objective, theta, direction))


def gradient_of_entropy(mdp: MDP, rng: np.random.Generator) -> float:
    """grad H = E_pi[grad log pi Q_log] against complex steps through Hbar(rho_theta), in two directions."""
    theta = rng.normal(size=mdp.shape)
    found = entropy_gradient(mdp, theta)
    directions = [rng.normal(size=mdp.shape) for _ in range(2)]
    slopes = [slope(lambda x: plain.entropy(measure(mdp, softmax(x))), theta, v) for v in directions]
    return (1.0 - mdp.gamma) ** 2 * furthest(
        [float((found * v).sum()) - s for v, s in zip(directions, slopes, strict=True)]
    )


STATEMENTS = (
    Statement("Eq 13", "psi_GA(c) = E_piE[-c - log(1 - e^c)] for c < 0, convex", regulariser, ROUNDING),
    Statement("Eq 14", "psi_GA* = max over D of E_pi[log D] + E_piE[log(1 - D)]", conjugate, ROUNDING),
    Statement("Eq 15", "psi_GA* is 2 JS - 2 log 2 of the normalised measures", jensen_shannon, ROUNDING),
    Statement("Eq 16", "the matched policy and its classifier are a saddle point", saddle_point, NEWTON),
    Statement("Eq 17", "the classifier's step ascends E_pi[log D] + E_piE[log(1 - D)]", classifier_step, ROUNDING),
    Statement("Eq 18", "the policy's step descends E_pi[log D] - lam H(pi)", policy_step, ROUNDING),
    Statement("Lemma A.1", "grad H(pi) = E_pi[grad log pi Q_log]", gradient_of_entropy, ROUNDING),
)
