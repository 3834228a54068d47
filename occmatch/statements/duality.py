"""IRL and its dual: Eq 1, 3, 7 and 8, Proposition 3.2 for every registered psi, Corollary 3.2.1, Section 3."""

from __future__ import annotations

from functools import partial

import numpy as np

from occmatch.bellman import rl
from occmatch.candidate import Candidate
from occmatch.irl import irl
from occmatch.matching import match
from occmatch.mdp import MDP
from occmatch.occupancy import occupancy
from occmatch.regularisers import REGISTERED, Constant, Regulariser
from occmatch.statements import plain
from occmatch.statements.plain import furthest, measure, most, random_features, random_policy
from occmatch.statements.statement import MEASURE, NEWTON, ROUNDING, VALUE, Statement

Array = np.ndarray

ATTAINED = sorted(set(REGISTERED) - {"constant", "surrogate_linear", "lipschitz", "expression"})
"""psi with psi* finite everywhere and numbers in closed form: those to draw from where a statement needs any psi."""


def dual(mdp: MDP, psi: Regulariser, cost: Array, rho_E: Array) -> float:
    """-psi(c) + ( min_pi -H(pi) + E_pi[c] ) - E_piE[c], the inner minimum by value iteration."""
    return float(mdp.p0 @ plain.soft_value(mdp, cost)) + psi.dual_value(cost, rho_E)


def primal(mdp: MDP, psi: Regulariser, rho: Array, rho_E: Array) -> float:
    """-Hbar(rho) + psi*(rho - rho_E)."""
    return psi.divergence(rho, rho_E) - float(plain.entropy(rho))


def nearby(cost: Array, rng: np.random.Generator) -> list[Array]:
    """Costs around one, near and far."""
    return [cost + size * rng.normal(size=cost.shape) for size in (1e-2, 0.3, 3.0)]


def max_causal_entropy(mdp: MDP, rng: np.random.Generator) -> float:
    """Over the span of features: the learner has the expert's, and no other weights do better."""
    features, rho_E = random_features(mdp, rng, 2), measure(mdp, random_policy(mdp, rng))
    psi = Constant(features)
    found = irl(mdp, rho_E, psi)
    gaps = np.einsum("sak,sa->k", features, measure(mdp, rl(mdp, found.cost).pi) - rho_E)
    best = dual(mdp, psi, found.cost, rho_E)
    others = [dual(mdp, psi, found.cost + features @ rng.normal(size=2), rho_E) for _ in range(2)]
    return (1.0 - mdp.gamma) * most(furthest(gaps), *(value - best for value in others))


def regularised_irl(mdp: MDP, rng: np.random.Generator) -> float:
    """For a psi at random: no cost near or far beats the one that IRL finds."""
    rho_E = measure(mdp, random_policy(mdp, rng))
    psi = REGISTERED[str(rng.choice(ATTAINED))](mdp, rho_E)
    cost = irl(mdp, rho_E, psi).cost
    best = dual(mdp, psi, cost, rho_E)
    return (1.0 - mdp.gamma) * most(*(dual(mdp, psi, psi.repair(c), rho_E) - best for c in nearby(cost, rng)))


def rl_after_irl(mdp: MDP, rng: np.random.Generator, name: str) -> float:
    """Measures of RL o IRL and of matching, and the values of the two sides."""
    rho_E = measure(mdp, random_policy(mdp, rng))
    psi = REGISTERED[name](mdp, rho_E)
    found, matched = irl(mdp, rho_E, psi), match(mdp, rho_E, psi)
    if not isinstance(found, Candidate):  # the limit of a sequence of costs
        values, rho = abs(found.value - primal(mdp, psi, matched.rho, rho_E)), found.rho
    else:
        values = abs(dual(mdp, psi, found.cost, rho_E) - primal(mdp, psi, matched.rho, rho_E))
        rho = measure(mdp, rl(mdp, found.cost).pi)
    return (1.0 - mdp.gamma) * most(values, float(np.abs(rho - matched.rho).sum()))


def saddle_point(mdp: MDP, rng: np.random.Generator) -> float:
    """For a psi at random: neither another policy nor another cost gains on -H(pi) - psi(c) + <rho - rho_E, c>."""
    rho_E = measure(mdp, random_policy(mdp, rng))
    psi = REGISTERED[str(rng.choice(ATTAINED))](mdp, rho_E)
    found = irl(mdp, rho_E, psi)
    rho = measure(mdp, found.pi)

    def saddle(x: Array, c: Array) -> float:
        return float((x * c).sum()) + psi.dual_value(c, rho_E) - float(plain.entropy(x))

    value = saddle(rho, found.cost)
    policies = (measure(mdp, random_policy(mdp, rng)), 0.99 * rho + 0.01 * measure(mdp, random_policy(mdp, rng)))
    lower = [value - saddle(x, found.cost) for x in policies]
    upper = [saddle(rho, psi.repair(c)) - value for c in nearby(found.cost, rng)]
    return (1.0 - mdp.gamma) * most(*lower, *upper)


def exact_matching(mdp: MDP, rng: np.random.Generator) -> float:
    """With psi constant RL o IRL has the expert's measure; so does RL of every -log pi_E + V - gamma P V."""
    pi_E = random_policy(mdp, rng)
    rho_E, V = measure(mdp, pi_E), rng.normal(size=mdp.S)
    shaped = -np.log(pi_E) + V[:, None] - mdp.gamma * mdp.expect(V)
    costs = (irl(mdp, rho_E, Constant()).cost, shaped)
    return (1.0 - mdp.gamma) * furthest(*(measure(mdp, rl(mdp, c).pi) - rho_E for c in costs))


def dual_of_matching(mdp: MDP, rng: np.random.Generator) -> float:
    """p0.V_c - <rho_E, c> is at most -Hbar(rho_E) for any c, and equal to it at c = -log pi_E."""
    pi_E = random_policy(mdp, rng)
    rho_E = measure(mdp, pi_E)
    value = -float(plain.entropy(rho_E))
    others = [dual(mdp, Constant(), c, rho_E) - value for c in nearby(-np.log(pi_E), rng)]
    return (1.0 - mdp.gamma) * most(abs(dual(mdp, Constant(), -np.log(pi_E), rho_E) - value), *others)


def dual_ascent(mdp: MDP, rng: np.random.Generator) -> float:
    """The derivative of p0.V_c - <rho_E, c> along a direction is that of rho_{pi_c} - rho_E: by central differences."""
    rho_E, cost = measure(mdp, random_policy(mdp, rng)), rng.normal(size=mdp.shape)
    direction, h = rng.normal(size=mdp.shape), 1e-4
    rise, fall = (dual(mdp, Constant(), cost + sign * h * direction, rho_E) for sign in (1.0, -1.0))
    exact = float(((occupancy(mdp, rl(mdp, cost).pi) - rho_E) * direction).sum())
    return (1.0 - mdp.gamma) ** 3 * abs((rise - fall) / (2.0 * h) - exact)  # V''' grows like 1 / (1 - gamma)^3


def relaxed_matching(mdp: MDP, rng: np.random.Generator) -> float:
    """d_psi = psi*(rho - rho_E) is <rho - rho_E, c> - psi(c) at its best cost and less at others; `match` is least."""
    rho_E, rho = (measure(mdp, random_policy(mdp, rng)) for _ in range(2))
    psi = REGISTERED[str(rng.choice(ATTAINED))](mdp, rho_E)
    distance, best = psi.divergence(rho, rho_E), psi.best_cost(rho, rho_E)

    def below(c: Array) -> float:
        return float((rho * c).sum()) + psi.dual_value(c, rho_E) - distance

    excess = [below(psi.repair(c)) for c in nearby(best, rng)]
    matched = match(mdp, rho_E, psi).rho
    moves = [(1.0 - t) * matched + t * x for x in (rho, rho_E) for t in (1e-3, 1.0)]
    gains = [primal(mdp, psi, matched, rho_E) - primal(mdp, psi, x, rho_E) for x in moves]
    return (1.0 - mdp.gamma) * most(abs(below(best)), *excess, *gains)


STATEMENTS = (
    Statement("Eq 1", "MaxCausalEnt IRL over a span of features gives the expert's", max_causal_entropy, MEASURE),
    Statement("Eq 3", "no cost explains the expert better than IRL_psi's (psi at random)", regularised_irl, VALUE),
    *(
        Statement("Prop 3.2", "RL o IRL_psi = argmin -H + psi*", partial(rl_after_irl, name=name), MEASURE, name)
        for name in REGISTERED
    ),
    Statement("Prop 3.2", "the optimal cost and policy are a saddle point (psi at random)", saddle_point, VALUE),
    Statement("Cor 3.2.1", "psi constant: the learner has the expert's measure", exact_matching, MEASURE),
    Statement("Eq 7", "IRL is the dual of exact matching, and no cost is above it", dual_of_matching, ROUNDING),
    Statement("Section 3", "the gradient of that dual is rho_{pi_c} - rho_E", dual_ascent, VALUE),
    Statement("Eq 8", "relaxed matching: d_psi = psi*(rho - rho_E), and its minimum", relaxed_matching, NEWTON),
)
