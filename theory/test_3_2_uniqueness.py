"""Proposition 3.2 (uniqueness): one policy, whatever the cost.

-lam Hbar(rho) + psi*(rho - rho_E) is strictly convex on D for lam > 0, so that one measure minimises it, and by
Proposition 3.1 one policy on the states it visits. With a cost c* that attains the dual, pi* = RL(c*), the excess of
any other policy is at least its distance from pi*, since psi*(x) >= <x, c*> - psi(c*):

    F(rho_pi) - F(rho_pi*)  >=  lam sum_s d_pi(s) KL( pi(.|s) || pi*(.|s) ),      F = -lam Hbar + psi*(. - rho_E).

The cost is another matter: it need not be unique (caveat 4). Without entropy, lam = 0, neither is the policy.

Source: Ho & Ermon (2016), Prop 3.2 with Lemma 3.1; the bound is Eq 2's identity with Fenchel and Young.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr

import occmatch as om
from occmatch.regularisers import REGISTERED, Constant, Expression, Lipschitz
from theory.ledger import Ledger
from theory.oracles import softmax
from theory.search import worst
from theory.strategies import Instance, examples, instances, policies, positive_instances, rngs

LAMS = st.sampled_from([0.2, 1.0])
DISCOUNTS = st.sampled_from([0.9, 0.5, 0.0, 0.99])

POLICY = 1e-3
ROOT = "the root of a value that is off by 1e-10, over the visits 1e-2 of a state that counts"

EXCESS = 1e-6
PROGRAM = "both values carry the 1e-8 of Clarabel, in units of (1 + lam) / (1 - gamma)"


def scale(mdp: om.MDP, lam: float) -> float:
    return (1.0 + lam) / (1.0 - mdp.gamma)


@pytest.mark.parametrize("name", REGISTERED)
@examples(1)
@given(instances(max_states=4, least=2, gammas=DISCOUNTS), LAMS)
def test_two_solvers_end_at_one_policy(check: Ledger, name: str, instance: Instance, lam: float) -> None:
    mdp, _, rho_E = instance
    psi = REGISTERED[name](mdp, rho_E)
    matched = om.match(mdp, rho_E, psi, lam, "program")
    other = om.irl(mdp, rho_E, psi, lam)
    visited = matched.rho.sum(axis=1) > 1e-2
    check(
        statement="Prop 3.2",
        compared="policy of matching (a program in rho) against that of IRL (in c and V), visited states",
        deviation=np.abs(matched.pi - other.pi)[visited].max(initial=0.0),
        tolerance=POLICY,
        because=ROOT,
    )


def _shortfall(mdp: om.MDP, rho_E: np.ndarray, name: str, lam: float, best: om.Candidate, pi: np.ndarray) -> float:
    """lam E_d KL(pi || pi*) less F(rho_pi) - F(rho*), scaled: at most zero."""
    psi = REGISTERED[name](mdp, rho_E)
    rho = om.occupancy(mdp, pi)
    divergence = lam * float(rho.sum(axis=1) @ rel_entr(pi, best.pi).sum(axis=1))
    value, least = (
        psi.divergence(r, rho_E) - lam * om.causal_entropy(r) if psi.divergence(r, rho_E) < np.inf else np.inf
        for r in (rho, best.rho)
    )
    return (divergence - (value - least)) / scale(mdp, lam)


@pytest.mark.parametrize("name", REGISTERED)
@examples(2)
@given(positive_instances(max_states=4, least=2, gammas=DISCOUNTS), LAMS, st.data())
def test_another_policy_is_worse_by_its_divergence(
    check: Ledger, name: str, instance: Instance, lam: float, data: st.DataObject
) -> None:
    mdp, _, rho_E = instance
    best = om.match(mdp, rho_E, REGISTERED[name](mdp, rho_E), lam)
    for pi in (data.draw(policies(mdp)), 0.95 * best.pi + 0.05 * data.draw(policies(mdp))):
        check(
            statement="Prop 3.2",
            compared="excess of a policy >= lam E KL(pi || pi*) (violation)",
            deviation=_shortfall(mdp, rho_E, name, lam, best, pi),
            tolerance=EXCESS,
            because=PROGRAM,
        )


@pytest.mark.parametrize("name", [n for n in REGISTERED if n not in ("lipschitz", "expression")])
@examples(1)
@given(positive_instances(max_states=2, max_actions=2, least=2, gammas=st.just(0.5)), rngs())
def test_a_search_for_a_second_optimal_policy_finds_none(
    check: Ledger, name: str, instance: Instance, rng: np.random.Generator
) -> None:
    mdp, _, rho_E = instance
    best = om.match(mdp, rho_E, REGISTERED[name](mdp, rho_E))

    def lacking(move: np.ndarray) -> float:
        return _shortfall(mdp, rho_E, name, 1.0, best, softmax(np.log(best.pi) + move))

    check(
        statement="Prop 3.2",
        compared="excess of a policy >= lam E KL(pi || pi*), by search (violation)",
        deviation=worst(lacking, (mdp.shape,), rng, evaluations=60),
        tolerance=EXCESS,
        because=PROGRAM,
    )


def test_without_entropy_two_policies_may_be_optimal() -> None:
    # One state, two actions, and a feature that does not tell them apart.
    mdp = om.MDP(np.ones((1, 2, 1)), [1.0], 0.5)
    psi, rho_E = Constant(np.ones((1, 2, 1))), om.occupancy(mdp, np.array([[0.9, 0.1]]))
    for pi in (np.array([[1.0, 0.0]]), np.array([[0.2, 0.8]])):
        assert psi.divergence(om.occupancy(mdp, pi), rho_E) == 0.0
    assert om.match(mdp, rho_E, psi, 1.0).pi == pytest.approx(0.5, abs=1e-6)


def test_the_search_covers_every_psi_but_those_that_a_solver_evaluates() -> None:
    mdp = om.examples.two_state_chain()
    rho_E = om.occupancy(mdp, np.full(mdp.shape, 1.0 / mdp.A))
    for name, make in REGISTERED.items():
        assert isinstance(make(mdp, rho_E), Lipschitz | Expression) == (name in ("lipschitz", "expression"))
