"""Proposition 3.1: policies and occupancy measures are the same thing.

Let D = { rho >= 0 : sum_a rho(s, a) = p0(s) + gamma sum_{s', a} P(s|s', a) rho(s', a) for all s }. Then

    rho_pi lies in D for every policy pi,
    each rho in D is the occupancy measure of  pi_rho(a|s) = rho(s, a) / sum_a' rho(s, a'),
    and pi_rho is the only policy with that measure (on the states that rho visits).

Uniqueness has a modulus: for any two policies, with d_pi the state visits of the first,

    sum_s d_pi(s) || pi(.|s) - pi'(.|s) ||_1  <=  2 || rho_pi - rho_pi' ||_1,

since d pi - d pi' = (d pi - d' pi') + (d' - d) pi' in each state and |d - d'| is at most the row of the difference.

Source: Ho & Ermon (2016), Prop 3.1; Syed, Bowling & Schapire (2008), Theorem 2. The modulus is elementary.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import occmatch as om
from theory.ledger import Ledger
from theory.oracles import flow, series_occupancy, softmax, vertex
from theory.search import any_mdp, worst
from theory.strategies import examples, mdps, policies, rngs

ROUNDING = 1e-12
SERIES = "a power series of at most 3700 terms against a linear solve of condition 200, relative to the mass"

VERTEX = 1e-7
SIMPLEX = "HiGHS accepts points that violate the flow equations by 1e-7; relative to the mass"

RATIO = 1e-9
DIVIDED = "a ratio of sums of rounding 1e-13, cut off where the denominator is below 1e-4"


@examples(80)
@given(mdps(), st.data())
def test_the_measure_of_a_policy_is_a_power_series_in_d(check: Ledger, mdp: om.MDP, data: st.DataObject) -> None:
    pi = data.draw(policies(mdp))
    rho, series = om.occupancy(mdp, pi), series_occupancy(mdp, pi)
    mass = 1.0 / (1.0 - mdp.gamma)
    terms = {"statement": "Prop 3.1", "tolerance": ROUNDING, "because": SERIES}
    check(**terms, compared="rho_pi against sum_t gamma^t P(s_t, a_t)", deviation=np.abs(rho - series).max() / mass)
    check(**terms, compared="flow equations of rho_pi", deviation=np.abs(flow(mdp) @ rho.ravel() - mdp.p0).max() / mass)
    away = 1.5 * rho + 0.1 * pi  # no measure: a residual that says 0 of everything is none
    off = np.abs(om.flow_residual(mdp, away) - (flow(mdp) @ away.ravel() - mdp.p0)).max()
    check(**terms, compared="flow_residual off D against the equations written out", deviation=off / mass)
    check(**terms, compared="rho_pi >= 0 (violation)", deviation=-rho.min() / mass)
    check(**terms, compared="mass of rho_pi against 1 / (1 - gamma)", deviation=abs(rho.sum() / mass - 1.0))


@examples(60)
@given(mdps(), rngs(), st.floats(0.0, 1.0))
def test_each_point_of_d_is_the_measure_of_its_policy(
    check: Ledger, mdp: om.MDP, rng: np.random.Generator, share: float
) -> None:
    # Points of D that no policy made: vertices that a linear program finds, and segments between them.
    rho = share * vertex(mdp, rng) + (1.0 - share) * vertex(mdp, rng)
    terms = {"statement": "Prop 3.1", "tolerance": VERTEX, "because": SIMPLEX}
    back = series_occupancy(mdp, om.policy(rho))
    check(**terms, compared="rho against the measure of pi_rho", deviation=np.abs(back - rho).max() * (1.0 - mdp.gamma))


@examples(80)
@given(mdps(), st.data())
def test_the_policy_of_a_measure_is_the_one_that_made_it(check: Ledger, mdp: om.MDP, data: st.DataObject) -> None:
    pi = data.draw(policies(mdp))
    rho = series_occupancy(mdp, pi)
    visited = rho.sum(axis=1) > 0
    off = np.abs(om.policy(rho) - pi)[visited].max()
    terms = {"statement": "Prop 3.1", "tolerance": ROUNDING, "because": SERIES}
    check(**terms, compared="pi_rho against pi on visited states", deviation=off)


def _ratio(mdp: om.MDP, pi: np.ndarray, other: np.ndarray) -> float:
    """sum_s d_pi(s) |pi - pi'|_1 over |rho_pi - rho_pi'|_1, 0 where the policies agree."""
    rho = om.occupancy(mdp, pi)
    apart = (rho.sum(axis=1)[:, None] * np.abs(pi - other)).sum()
    return float(apart / np.abs(rho - om.occupancy(mdp, other)).sum()) if apart > 1e-4 else 0.0


@examples(80)
@given(mdps(), st.data())
def test_policies_that_differ_where_they_go_have_different_measures(
    check: Ledger, mdp: om.MDP, data: st.DataObject
) -> None:
    pi, other = data.draw(policies(mdp)), data.draw(policies(mdp))
    terms = {"statement": "Prop 3.1", "tolerance": RATIO, "because": DIVIDED}
    check(**terms, compared="modulus of uniqueness <= 2 (violation)", deviation=_ratio(mdp, pi, other) - 2.0)


@examples(3)
@given(st.sampled_from([0.5, 0.9]), rngs())
def test_a_search_for_the_worst_mdp_does_not_break_uniqueness(
    check: Ledger, gamma: float, rng: np.random.Generator
) -> None:
    def above(*x: np.ndarray) -> float:
        rows, start, pi, other = x
        return _ratio(any_mdp(rows, start, gamma), softmax(pi), softmax(other)) - 2.0

    found = worst(above, ((2, 2, 2), (2,), (2, 2), (2, 2)), rng, evaluations=300, spread=2.0)
    terms = {"statement": "Prop 3.1", "tolerance": RATIO, "because": DIVIDED}
    check(**terms, compared="modulus of uniqueness <= 2, worst MDP found (violation)", deviation=found)
