"""The strategies reach the corners, and the search the worst case: no statement is tested on easy instances only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occmatch import MDP, flow_residual, occupancy, visits
from theory.plain import softmax
from theory.search import any_mdp, worst
from theory.strategies import LEAST, Instance, costs, examples, instances, mdps, measures, policies, positive_instances

ENTRY = 1e-12
"""Rounding of a linear solve at gamma 0.99: condition 200, a few units in the last place, mass 100."""


def dense(mdp: MDP) -> np.ndarray:
    return mdp.P.toarray().reshape(mdp.S, mdp.A, mdp.S)


def certain(mdp: MDP) -> np.ndarray:
    """[S, A]: whether the next state is known."""
    return (dense(mdp) == 1.0).any(axis=2)


def never_reached(mdp: MDP) -> np.ndarray:
    """[S]: states that no policy reaches, by closing the set of reached ones."""
    seen = mdp.p0 > 0
    for _ in range(mdp.S if mdp.gamma > 0 else 0):
        seen = seen | (dense(mdp)[seen] > 0).any(axis=(0, 1))
    return ~seen


CORNERS = {
    "one state": lambda i: i.mdp.S == 1,
    "one action": lambda i: i.mdp.A == 1 and i.mdp.S > 1,
    "most states and actions": lambda i: i.mdp.shape == (6, 3),
    "gamma 0": lambda i: i.mdp.gamma == 0.0,
    "gamma 0.99": lambda i: i.mdp.gamma == 0.99,
    "gamma in between": lambda i: i.mdp.gamma not in (0.0, 0.5, 0.9, 0.99),
    "all rows deterministic": lambda i: i.mdp.S > 2 and i.mdp.A > 1 and certain(i.mdp).all(),
    "some rows deterministic": lambda i: i.mdp.S > 2 and 0 < certain(i.mdp).sum() < certain(i.mdp).size,
    "kernel without zeros": lambda i: i.mdp.S > 2 and (dense(i.mdp) > 0).all(),
    "identical actions": lambda i: i.mdp.A > 1 and i.mdp.S > 2 and (dense(i.mdp) == dense(i.mdp)[:, :1]).all(),
    "an absorbing state": lambda i: i.mdp.S > 2 and any((dense(i.mdp)[s, :, s] == 1).all() for s in range(i.mdp.S)),
    "zeros in p0": lambda i: (i.mdp.p0 == 0).any() and (i.mdp.p0 < 1).all(),
    "p0 in one state": lambda i: i.mdp.S > 1 and (i.mdp.p0 == 1).any(),
    "a state that nothing reaches": lambda i: i.mdp.gamma > 0 and never_reached(i.mdp).any(),
    "a state that the expert avoids": lambda i: (visits(i.rho_E)[~never_reached(i.mdp)] == 0).any(),
    "rho_E positive": lambda i: i.mdp.S > 2 and i.mdp.A > 1 and (i.rho_E > 0).all(),
    "zeros of rho_E in a visited state": lambda i: ((i.rho_E == 0).any(axis=1) & (visits(i.rho_E) > 0)).any(),
    "deterministic expert": lambda i: i.mdp.A > 1 and i.mdp.S > 2 and (i.pi_E.max(axis=1) == 1).all(),
    "expert deterministic in some states": lambda i: 0 < (i.pi_E.max(axis=1) == 1).sum() < i.mdp.S and i.mdp.A > 1,
}


@pytest.fixture(scope="module")
def drawn() -> list[Instance]:
    """What one test of 300 examples sees."""
    seen: list[Instance] = []

    @settings(max_examples=300, derandomize=True, database=None, deadline=None)
    @given(instances())
    def collect(instance: Instance) -> None:
        seen.append(instance)

    collect()
    return seen


@pytest.mark.parametrize("corner", CORNERS)
def test_corners_are_reached(corner: str, drawn: list[Instance]) -> None:
    share = np.mean([bool(CORNERS[corner](instance)) for instance in drawn])
    assert share >= 0.01, f"{corner}: {share:.1%} of the instances"


COSTS = {
    "zero": lambda c: (c == 0).all() and c.size > 2,
    "zeros": lambda c: (c == 0).any() and (np.ptp(c, axis=1) > 0).any(),
    "ties of all actions": lambda c: c.shape[1] > 1 and (np.ptp(c, axis=1) == 0).all() and (c != 0).all(),
    "ties": lambda c: np.unique(c).size < c.size and {-1.0, 0.0, 1.0} <= set(c.flat),
    "no ties": lambda c: np.unique(c).size == c.size > 6,
}


@pytest.fixture(scope="module")
def drawn_costs() -> list[np.ndarray]:
    seen: list[np.ndarray] = []

    @settings(max_examples=300, derandomize=True, database=None, deadline=None)
    @given(mdps().flatmap(costs))
    def collect(cost: np.ndarray) -> None:
        seen.append(cost)

    collect()
    return seen


@pytest.mark.parametrize("corner", COSTS)
def test_costs_reach_their_corners(corner: str, drawn_costs: list[np.ndarray]) -> None:
    share = np.mean([bool(COSTS[corner](cost)) for cost in drawn_costs])
    assert share >= 0.01, f"{corner}: {share:.1%} of the costs"


@examples(40)
@given(mdps(max_states=3, max_actions=4, least=2))
def test_sizes_stay_between_what_is_asked_for(mdp: MDP) -> None:
    assert 2 <= mdp.S <= 3 and 2 <= mdp.A <= 4


@examples(60)
@given(mdps(), st.data())
def test_measures_lie_in_the_flow_polytope(mdp: MDP, data: st.DataObject) -> None:
    rho = data.draw(measures(mdp))
    assert (rho >= 0).all()
    assert np.abs(flow_residual(mdp, rho)).max() <= ENTRY * rho.sum()


@examples(60)
@given(positive_instances())
def test_positive_instances_are_positive(instance: Instance) -> None:
    mdp, pi_E, rho_E = instance
    assert mdp.p0.min() >= LEAST / mdp.S - ENTRY
    assert pi_E.min() >= LEAST / mdp.A - ENTRY
    assert (rho_E > 0).all()


@examples(30)
@given(mdps(), st.data())
def test_policies_are_of_the_kind_asked_for(mdp: MDP, data: st.DataObject) -> None:
    assert (data.draw(policies(mdp, "interior")) > 0).all()
    assert set(data.draw(policies(mdp, "deterministic")).flat) <= {0.0, 1.0}
    for kind in ("any", "sparse"):
        assert np.abs(data.draw(policies(mdp, kind)).sum(axis=1) - 1).max() <= ENTRY


@pytest.mark.parametrize("seed", range(5))
def test_the_search_finds_what_random_draws_miss(seed: int) -> None:
    """A false claim, that 97 % of the mass never lies in one pair: true of 200 draws, and broken by the search."""

    def above(rows: np.ndarray, start: np.ndarray, theta: np.ndarray) -> float:
        return 0.1 * float(occupancy(any_mdp(rows, start, 0.9), softmax(theta)).max()) - 0.97

    shapes, rng = ((2, 2, 2), (2,), (2, 2)), np.random.default_rng(seed)
    assert max(above(*(rng.normal(size=shape) for shape in shapes)) for _ in range(200)) < 0
    assert worst(above, shapes, rng) > 0


def test_the_search_survives_margins_of_minus_infinity() -> None:
    def above(x: np.ndarray) -> float:
        return -np.inf if x[0] < 1 else -float((x[0] - 2) ** 2)

    assert -1e-6 < worst(above, ((1,),), np.random.default_rng(0)) <= 0


@pytest.mark.parametrize("after", [-1.0, np.nan])
def test_a_margin_that_is_not_a_number_is_the_answer(after: float) -> None:
    """Met once or always: a search that cannot judge a case has not passed it."""
    margins = iter([-1.0, np.nan])
    assert np.isnan(worst(lambda x: next(margins, after), ((1,),), np.random.default_rng(0)))
