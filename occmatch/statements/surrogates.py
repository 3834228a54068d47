"""Surrogate losses: Eq 29 and Proposition A.1 for every registered phi, Corollary A.1.1."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.optimize import minimize

from occmatch.gradients import saddle_gradient
from occmatch.irl import irl
from occmatch.losses import LOSSES
from occmatch.mdp import MDP
from occmatch.regularisers import Surrogate
from occmatch.statements import plain
from occmatch.statements.adversarial import best_classifier, classify
from occmatch.statements.duality import dual
from occmatch.statements.plain import furthest, least, measure, most, random_policy, softmax
from occmatch.statements.statement import ROUNDING, VALUE, Statement

Array = np.ndarray

TEXTBOOK: dict[str, Callable[[Array], Array]] = {
    "logistic": lambda m: np.logaddexp(0.0, -m),
    "exponential": lambda m: np.exp(-m),
    "exponential_linear": lambda m: np.exp(-m) - m,
    "linear": lambda m: -m,
    "smoothed_hinge": lambda m: np.logaddexp(0.0, 4.0 * (1.0 - m)) / 4.0,
}
"""phi written out; a loss registered since is taken at its word."""


def margin_risk(mdp: MDP, rng: np.random.Generator, name: str) -> float:
    """The minimum over margins, entry by entry: `minimum_risk` and `best_margin` against golden sections."""
    rho, rho_E = (measure(mdp, random_policy(mdp, rng)) for _ in range(2))
    loss, phi = LOSSES[name], TEXTBOOK.get(name, LOSSES[name].phi)

    def risk(m: Array) -> Array:
        return rho * phi(m) + rho_E * phi(-m)

    searched, found = least(risk, mdp.shape), loss.minimum_risk(rho, rho_E)
    if np.isinf(found).any():  # no minimum: the search must be running away from zero margin
        away = (searched < risk(np.zeros(mdp.shape))) == np.isinf(found)
        return float(not away.all())
    attained = risk(loss.best_margin(rho, rho_E))
    return (1.0 - mdp.gamma) * furthest(found - searched, attained - searched)


def surrogate_matching(mdp: MDP, rng: np.random.Generator, name: str) -> float:
    """psi_phi* = -R_phi with g_phi as the proposition writes it; the value of IRL against a search over policies."""
    rho, rho_E = (measure(mdp, random_policy(mdp, rng)) for _ in range(2))
    loss = LOSSES[name]
    psi = Surrogate(loss, rho_E)
    # Newton knows any phi, the convex program those that cvxpy can write, and the constant psi among them.
    found = irl(mdp, rho_E, psi, method="program" if psi.is_linear else "newton")
    value = dual(mdp, psi, found.cost, rho_E)
    if psi.is_linear:  # g = 0 and R_phi is -inf off rho = rho_E: the constraint of exact matching
        off = float(np.isfinite(psi.divergence(rho, rho_E)))
        return most(off, abs(value + float(plain.entropy(rho_E))) * (1.0 - mdp.gamma))

    def at(m: Array) -> Array:
        c = loss.cost(m)
        return rho_E * loss.g(c) - (rho - rho_E) * c

    conjugate = abs(psi.conjugate(rho - rho_E) + float(least(at, mdp.shape).sum()))
    return (1.0 - mdp.gamma) * most(conjugate, abs(value - searched_value(mdp, rho_E, psi, rng)))


def searched_value(mdp: MDP, rho_E: Array, psi: Surrogate, rng: np.random.Generator) -> float:
    """The least -H(pi) - R_phi(rho_pi, rho_E) that L-BFGS finds over softmax policies."""

    def objective(x: Array) -> tuple[float, Array]:
        theta = x.reshape(mdp.shape)
        rho = measure(mdp, softmax(theta))
        margin = psi.loss.best_margin(rho, rho_E)
        value = -float(plain.entropy(rho)) - float(psi.loss.minimum_risk(rho, rho_E).sum())
        return value, saddle_gradient(mdp, theta, psi.loss.cost(margin), 1.0).ravel()

    start = 0.1 * rng.normal(size=mdp.S * mdp.A)
    options = {"maxiter": 500, "ftol": 1e-14, "gtol": 1e-9}
    return float(minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun)


def logistic(mdp: MDP, rng: np.random.Generator) -> float:
    """D = sigmoid(m), log D = -phi(m), g of Eq 13; the best margin is the best classifier, -R_phi what it attains."""
    loss, m = LOSSES["logistic"], rng.normal(scale=3.0, size=mdp.shape)
    rho, rho_E = (measure(mdp, random_policy(mdp, rng)) for _ in range(2))
    c = np.log(1.0 / (1.0 + np.exp(-m)))
    D = best_classifier(rho, rho_E)
    risk = float(loss.minimum_risk(rho, rho_E).sum())
    return furthest(
        loss.cost(m) - c,
        loss.g(c) - (-c - np.log1p(-np.exp(c))),
        1.0 / (1.0 + np.exp(-loss.best_margin(rho, rho_E))) - D,
        (1.0 - mdp.gamma) * (classify(rho, rho_E, D) + risk),
    )


def of(name: str) -> tuple[Statement, ...]:
    """The statements about the loss that is registered under `name`."""
    risk, matching = (partial(f, name=name) for f in (margin_risk, surrogate_matching))
    return (
        Statement("Eq 29", "R_phi is the risk of the best margin", risk, ROUNDING, name),
        Statement("Prop A.1", "RL o IRL_psi_phi = argmin -H - R_phi", matching, VALUE, name),
    )


STATEMENTS = (
    *(of(name)[0] for name in LOSSES),
    *(of(name)[1] for name in LOSSES),
    Statement("Cor A.1.1", "the logistic loss gives psi_GA: c = log D = -phi(m)", logistic, ROUNDING),
)
