"""Caveat 1: a measure fixes the policy where it goes, and nowhere else.

pi_rho(a|s) = rho(s, a) / sum_a' rho(s, a') is 0 / 0 where rho has no mass. Such states come in two kinds: those that no
policy reaches, and those that this policy avoids. Proposition 3.1's "only policy" means "up to its rows there":

    naive   two policies with the same occupancy measure are equal
    right   they are equal on the states that the measure visits, and the rows elsewhere change nothing:
            not rho, not H, not E_pi[c]

Source: a remark on Ho & Ermon (2016), Prop 3.1; Puterman (1994), section 6.9.
"""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

import occmatch as om
from theory.ledger import Ledger
from theory.oracles import series_occupancy, series_return
from theory.strategies import costs, examples, mdps, policies

ROUNDING = 1e-12
SERIES = "a power series against linear solves of condition 200, in units of 1 / (1 - gamma)"


@examples(40)
@given(mdps(least=2), st.data())
def test_rows_in_unvisited_states_change_nothing(check: Ledger, mdp: om.MDP, data: st.DataObject) -> None:
    pi, other = data.draw(policies(mdp)), data.draw(policies(mdp))
    unvisited = series_occupancy(mdp, pi).sum(axis=1) == 0
    assume(unvisited.any())
    mixed = np.where(unvisited[:, None], other, pi)
    assume(not np.array_equal(mixed, pi))
    share = 1.0 - mdp.gamma
    cost = data.draw(costs(mdp))
    terms = {"statement": "Caveat 1", "tolerance": ROUNDING, "because": SERIES}
    # The naive reading fails: different policies, one measure.
    apart = np.abs(om.occupancy(mdp, mixed) - series_occupancy(mdp, pi)).max() * share
    check(**terms, compared="measures of two policies that differ only where neither goes", deviation=apart)
    # Of the one by linear solves, of the other summed over time: a sum over time for both never reads rows that differ.
    solved = float((om.occupancy(mdp, mixed) * cost).sum()) - om.entropy(mdp, mixed)
    check(
        **terms,
        compared="their costs less their entropies",
        deviation=abs(solved - series_return(mdp, pi, cost, 1.0)) * share,
    )
    # The right one holds: visited rows are recovered, the others come back uniform and never as 0 / 0.
    back = om.policy(series_occupancy(mdp, mixed))
    check(
        **terms, compared="pi_rho against pi where rho goes", deviation=np.abs(back - pi)[~unvisited].max(initial=0.0)
    )
    check(**terms, compared="pi_rho elsewhere against uniform", deviation=np.abs(back[unvisited] - 1.0 / mdp.A).max())


def test_both_kinds_of_unvisited_states() -> None:
    # State 1 is avoided by going to 2 instead, state 3 has no way in.
    to = np.array([[1, 2], [1, 1], [2, 2], [0, 0]])
    mdp = om.MDP(np.eye(4)[to], [1.0, 0.0, 0.0, 0.0], 0.9)
    rows = np.array([[0.0, 1.0], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])
    naive = om.occupancy(mdp, rows)
    for state in (1, 3):
        other = rows.copy()
        other[state] = [1.0, 0.0]
        assert np.array_equal(om.occupancy(mdp, other), naive) and not np.array_equal(other, rows)
    assert om.occupancy(mdp, np.full((4, 2), 0.5))[1].sum() > 0, "an avoided state can be reached"
