"""Policies, measures and entropies: Eq 2, Proposition 3.1, Lemmas 3.1 and 3.2."""

from __future__ import annotations

import numpy as np
from scipy.special import rel_entr

from occmatch.bellman import rl
from occmatch.mdp import MDP
from occmatch.occupancy import causal_entropy, entropy, flow_residual, occupancy, policy
from occmatch.statements import plain
from occmatch.statements.plain import furthest, measure, most, random_policy
from occmatch.statements.statement import ROUNDING, Statement


def soft_bellman(mdp: MDP, rng: np.random.Generator) -> float:
    """V against value iteration, and L(pi) - p0.V = E_d KL(pi || RL(c)) for a policy that is not optimal."""
    cost, pi = rng.normal(size=mdp.shape), random_policy(mdp, rng)
    found = rl(mdp, cost)
    lost = plain.soft_objective(mdp, pi, cost) - float(mdp.p0 @ found.V)
    divergence = float(measure(mdp, pi).sum(axis=1) @ rel_entr(pi, found.pi).sum(axis=1))
    return (1.0 - mdp.gamma) * furthest(found.V - plain.soft_value(mdp, cost), lost - divergence)


def one_to_one(mdp: MDP, rng: np.random.Generator) -> float:
    """rho_pi is the sum over time and lies in D; a mixture, also in D, is the measure of its policy and of no other."""
    pi, share = random_policy(mdp, rng), rng.random()
    rho = occupancy(mdp, pi)
    mixture = share * rho + (1.0 - share) * measure(mdp, random_policy(mdp, rng))
    visited = rho.sum(axis=1) > 0
    shares = (1.0 - mdp.gamma) * furthest(
        rho - measure(mdp, pi), flow_residual(mdp, rho), measure(mdp, policy(mixture)) - mixture
    )
    return most(shares, furthest((policy(rho) - pi)[visited]))


def entropy_of_measures(mdp: MDP, rng: np.random.Generator) -> float:
    """H(pi) = Hbar(rho_pi), Hbar(rho) = H(pi_rho), and a chord lies (1 - gamma)^3 |.|_1^2 / 8 below Hbar, or more."""
    policies = [random_policy(mdp, rng) for _ in range(2)]
    first, second = (measure(mdp, pi) for pi in policies)
    middle = 0.5 * (first + second)
    summed = -float((first * np.log(policies[0])).sum())
    equal = furthest(
        causal_entropy(first) - summed,
        entropy(mdp, policies[0]) - summed,
        entropy(mdp, policy(middle)) - plain.entropy(middle),
    )
    gain = causal_entropy(middle) - 0.5 * (causal_entropy(first) + causal_entropy(second))
    modulus = (1.0 - mdp.gamma) ** 3 / 8.0 * float(np.abs(first - second).sum()) ** 2
    return (1.0 - mdp.gamma) * most(equal, modulus - gain)


def one_objective(mdp: MDP, rng: np.random.Generator) -> float:
    """L(pi, c) = Lbar(rho_pi, c), and Lbar(rho, c) = L(pi_rho, c) for a mixture rho."""
    cost, pi = rng.normal(size=mdp.shape), random_policy(mdp, rng)
    mixture = 0.5 * (measure(mdp, pi) + measure(mdp, random_policy(mdp, rng)))
    return (1.0 - mdp.gamma) * furthest(
        *(
            plain.soft_objective(mdp, p, cost) - (float((rho * cost).sum()) - causal_entropy(rho))
            for p, rho in ((pi, occupancy(mdp, pi)), (policy(mixture), mixture))
        )
    )


STATEMENTS = (
    Statement("Eq 2", "RL(c) solves the soft Bellman equation; others lose E KL(pi || RL(c))", soft_bellman, ROUNDING),
    Statement("Prop 3.1", "policies and measures in D are one to one", one_to_one, ROUNDING),
    Statement("Lemma 3.1", "H(pi) = Hbar(rho_pi), and Hbar is strictly concave on D", entropy_of_measures, ROUNDING),
    Statement("Lemma 3.2", "L(pi, c) = Lbar(rho_pi, c) and Lbar(rho, c) = L(pi_rho, c)", one_objective, ROUNDING),
)
