"""Proposition 3.2 (saddle point): the optimal cost and the optimal policy hold each other.

With  K(pi, c) = -lam H(pi) - psi(c) + <rho_pi - rho_E, c>,  c* of IRL_psi and pi* of matching satisfy

    K(pi*, c)  <=  K(pi*, c*)  <=  K(pi, c*)        for every cost c and every policy pi.

So pi* is RL(c*), and c* is the cost against which pi* looks worst next to the expert: discriminator and policy.

What the two could gain at any pair (pi, c), psi*(rho_pi - rho_E) - <rho_pi - rho_E, c> + psi(c) for the cost and
-lam H(pi) + E_pi[c] - p0.V_c for the policy, is in sum the gap that a certificate states.

Source: Ho & Ermon (2016), Prop 3.2, Appendix A.1. Every registered psi; costs and policies are drawn at random, moved
along segments from the saddle, and searched for by an optimiser.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import occmatch as om
from occmatch.certificate import Certificate
from occmatch.regularisers import REGISTERED, Expression, Regulariser
from theory.ledger import Ledger
from theory.oracles import series_return, soft_value, softmax
from theory.plain import apart
from theory.search import worst
from theory.strategies import Instance, costs, examples, policies, positive_instances, rngs

LAMS = st.sampled_from([0.2, 1.0])
DISCOUNTS = st.sampled_from([0.9, 0.5, 0.0, 0.99])

SADDLE = 1e-6
PROGRAM = "the cost comes from Clarabel at relative 1e-8, at distance 1e-6 and less from the best of a flat maximum"

SEARCH = 1e-6
FINITE = "as for the saddle; the search itself has no error that could matter, since each point it visits is exact"


def scale(mdp: om.MDP, lam: float) -> float:
    return (1.0 + lam) / (1.0 - mdp.gamma)


def saddle(mdp: om.MDP, rho_E: np.ndarray, psi: Regulariser, lam: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """c* of IRL, pi* and rho* of matching."""
    found, matched = om.irl(mdp, rho_E, psi, lam), om.match(mdp, rho_E, psi, lam)
    return found.cost, matched.pi, matched.rho


def rise(psi: Regulariser, rho: np.ndarray, rho_E: np.ndarray, c: np.ndarray) -> float:
    """<rho - rho_E, c> - psi(c), the part of K that c sees."""
    return float(((rho - rho_E) * c).sum()) - psi.value(c)


@pytest.mark.parametrize("name", REGISTERED)
@examples(2)
@given(positive_instances(max_states=4, least=2, gammas=DISCOUNTS), LAMS, st.data())
def test_neither_side_gains_by_moving(
    check: Ledger, name: str, instance: Instance, lam: float, data: st.DataObject
) -> None:
    mdp, _, rho_E = instance
    psi = REGISTERED[name](mdp, rho_E)
    cost, pi, rho = saddle(mdp, rho_E, psi, lam)
    size = scale(mdp, lam)
    terms = {"statement": "Prop 3.2", "tolerance": SADDLE, "because": PROGRAM}

    least = mdp.p0 @ soft_value(mdp, cost, lam)
    held = series_return(mdp, pi, cost, lam)
    check(**terms, compared="K(pi*, c*) against its least over policies", deviation=abs(held - least) / size)
    for _ in range(3):
        other = series_return(mdp, data.draw(policies(mdp)), cost, lam)
        check(**terms, compared="a policy below K(pi*, c*) (violation)", deviation=(held - other) / size)

    here = rise(psi, rho, rho_E, cost)
    for away in (data.draw(costs(mdp)), cost + 0.1 * data.draw(costs(mdp))):
        away = psi.repair(away)
        for t in (1.0, 0.1, 1e-3):
            there = rise(psi, rho, rho_E, psi.repair((1.0 - t) * cost + t * away))
            check(**terms, compared="a cost above K(pi*, c*) (violation)", deviation=(there - here) / size)


@pytest.mark.parametrize("name", REGISTERED)
@examples(2)
@given(positive_instances(max_states=4, least=2, gammas=DISCOUNTS), LAMS, st.data())
def test_what_both_sides_could_gain_is_the_certified_gap(
    check: Ledger, name: str, instance: Instance, lam: float, data: st.DataObject
) -> None:
    mdp, pi_E, rho_E = instance
    psi = REGISTERED[name](mdp, rho_E)
    start = om.match(mdp, rho_E, psi, lam)
    # Where psi is constant, only the expert's policy has a finite psi*.
    for pi in (pi_E, data.draw(policies(mdp, "interior"))):
        rho, cost = om.occupancy(mdp, pi), np.asarray(psi.repair(data.draw(costs(mdp)) - 1.5))
        V = soft_value(mdp, cost, lam)
        judged: Certificate = om.certify(mdp, rho_E, psi, replace(start, rho=rho, pi=pi, cost=cost, V=V))
        gains = psi.divergence(rho, rho_E) - rise(psi, rho, rho_E, cost)
        gains += series_return(mdp, pi, cost, lam) - float(mdp.p0 @ V)
        check(
            statement="Prop 3.2",
            compared="gap of the certificate of any pair against what both sides could gain",
            deviation=apart(judged.gap, gains, scale=scale(mdp, lam)),
            tolerance=1e-9,
            because="sums of terms of that size; g loses digits near the end of its range",
        )


@pytest.mark.parametrize("name", REGISTERED)
@examples(1)
@given(positive_instances(max_states=2, max_actions=2, least=2, gammas=st.just(0.5)), rngs())
def test_a_search_over_costs_and_one_over_policies_find_nothing_better(
    check: Ledger, name: str, instance: Instance, rng: np.random.Generator
) -> None:
    mdp, _, rho_E = instance
    psi = REGISTERED[name](mdp, rho_E)
    cost, pi, rho = saddle(mdp, rho_E, psi, 1.0)
    terms = {"statement": "Prop 3.2", "tolerance": SEARCH, "because": FINITE}

    size, here, held = scale(mdp, 1.0), rise(psi, rho, rho_E, cost), series_return(mdp, pi, cost, 1.0)

    def above(move: np.ndarray) -> float:
        return (rise(psi, rho, rho_E, psi.repair(cost + move)) - here) / size

    evaluations = 20 if isinstance(psi, Expression) else 150  # 4 ms each: cvxpy
    found = worst(above, (mdp.shape,), rng, evaluations, spread=0.3)
    check(**terms, compared="a cost above K(pi*, c*), by search (violation)", deviation=found)

    def below(move: np.ndarray) -> float:
        return (held - series_return(mdp, softmax(np.log(pi) + move), cost, 1.0)) / size

    found = worst(below, (mdp.shape,), rng, evaluations=100, spread=0.3)
    check(**terms, compared="a policy below K(pi*, c*), by search (violation)", deviation=found)
