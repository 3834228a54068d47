"""Lemma 3.2: the objective of RL, told of policies and of measures, is the same number.

    L(pi, c)     = -lam H(pi) + E_pi[c],         pi a policy
    Lbar(rho, c) = -lam Hbar(rho) + <rho, c>,    rho in D

    L(pi, c) = Lbar(rho_pi, c)   and   Lbar(rho, c) = L(pi_rho, c),

so that minimising over policies, where L is not convex, is minimising over D, where Lbar is.

Source: Ho & Ermon (2016), Lemma 3.2, with a weight lam of the entropy.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import occmatch as om
from theory.ledger import Ledger
from theory.oracles import deterministic_policies, series_return, vertex
from theory.strategies import costs, examples, mdps, policies, rngs

LAMS = st.sampled_from([0.0, 0.3, 1.0, 10.0])

ROUNDING = 1e-12
SERIES = (
    "a power series of at most 3700 terms against a sum of 18 terms, relative to (max|c| + lam log A) / (1 - gamma)"
)

VERTEX = 1e-5
SIMPLEX = "HiGHS meets the flow equations to 1e-7; entropy moves by t log(1/t) ~ 2e-6 for t = 1e-7"


def measure_objective(rho: np.ndarray, cost: np.ndarray, lam: float) -> float:
    return float((rho * cost).sum()) - lam * om.causal_entropy(rho)


def scale(mdp: om.MDP, cost: np.ndarray, lam: float) -> float:
    return (1.0 + np.abs(cost).max() + lam * np.log(mdp.A)) / (1.0 - mdp.gamma)


@examples(80)
@given(mdps(), st.data())
def test_from_policies_to_measures(check: Ledger, mdp: om.MDP, data: st.DataObject) -> None:
    pi, cost, lam = data.draw(policies(mdp)), data.draw(costs(mdp, 2.0)), data.draw(LAMS)
    off = series_return(mdp, pi, cost, lam) - measure_objective(om.occupancy(mdp, pi), cost, lam)
    check(
        statement="Lemma 3.2",
        compared="L(pi, c) summed over time against Lbar(rho_pi, c)",
        deviation=abs(off) / scale(mdp, cost, lam),
        tolerance=ROUNDING,
        because=SERIES,
    )


@examples(60)
@given(mdps(), st.data(), rngs(), st.floats(0.0, 1.0))
def test_from_measures_to_policies(
    check: Ledger, mdp: om.MDP, data: st.DataObject, rng: np.random.Generator, share: float
) -> None:
    cost, lam = data.draw(costs(mdp, 2.0)), data.draw(LAMS)
    rho = share * vertex(mdp, rng) + (1.0 - share) * vertex(mdp, rng)
    off = measure_objective(rho, cost, lam) - series_return(mdp, om.policy(rho), cost, lam)
    check(
        statement="Lemma 3.2",
        compared="Lbar(rho, c) against L(pi_rho, c) summed over time",
        deviation=abs(off) / scale(mdp, cost, lam),
        tolerance=VERTEX,
        because=SIMPLEX,
    )


@examples(20)
@given(mdps(max_states=4), st.data())
def test_without_entropy_the_minimum_is_that_of_all_deterministic_policies(
    check: Ledger, mdp: om.MDP, data: st.DataObject
) -> None:
    cost = data.draw(costs(mdp))
    least = min(float((om.occupancy(mdp, pi) * cost).sum()) for pi in deterministic_policies(mdp))
    check(
        statement="Lemma 3.2",
        compared="least <rho, c> over D by enumeration against p0.V of rl at lam 0",
        deviation=abs(least - mdp.p0 @ om.rl(mdp, cost, 0.0).V) / scale(mdp, cost, 0.0),
        tolerance=ROUNDING,
        because="two linear solves of condition 200",
    )
