"""Identifiability: what one expert tells of its cost, and what a second discount adds.

One soft optimal policy pi fixes the cost up to shaping:  c = -lam log pi + V - gamma P V  for some V in R^S, and any V
will do. The same cost optimised under two discounts gamma, gamma' leaves

    { V - gamma P V } intersected with { V' - gamma' P V' },    of dimension 2 S - rank [ B_gamma | B_gamma' ],

B_gamma the S A x S matrix of V -> V - gamma P V. It contains the constants; where the rank is 2 S - 1 it is no more,
and the cost is identified up to a constant. Where the kernel does not depend on the action it has dimension S, and the
second discount tells nothing.

Source: Cao, Cohen & Szpruch (2021), identifiability by two discounts.
"""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

import occmatch as om
from theory.ledger import Ledger
from theory.oracles import kernel, soft_policy
from theory.strategies import examples, mdps, rngs

PAIRS = st.sampled_from([(0.5, 0.9), (0.0, 0.8), (0.9, 0.95)])

RECOVERED = 1e-6
CONDITION = "log-policies to 1e-14, divided by the least singular value, which is asked to be 1e-5 or more"

INTEGER = "a rank is an integer; secants of value iteration are good to 1e-8, and singular values below 1e-6 count as 0"


def basis(mdp: om.MDP, gamma: float) -> np.ndarray:
    """B_gamma [S A, S]."""
    return (np.eye(mdp.S)[:, None] - gamma * kernel(mdp)).reshape(mdp.S * mdp.A, mdp.S)


def at(mdp: om.MDP, gamma: float) -> om.MDP:
    return om.MDP(mdp.P, mdp.p0, gamma)


def seen(mdp: om.MDP, cost: np.ndarray, gammas: tuple[float, ...]) -> np.ndarray:
    """Jacobian in c of what the experts show, log pi for each discount, by central differences of value iteration."""
    h, columns = 1e-4, []
    for e in np.eye(cost.size).reshape(cost.size, *cost.shape):
        ends = [
            np.concatenate([np.log(soft_policy(at(mdp, g), cost + k * h * e, 1.0)).ravel() for g in gammas])
            for k in (1, -1)
        ]
        columns.append((ends[0] - ends[1]) / (2.0 * h))
    return np.stack(columns, axis=1)


@examples(25)
@given(mdps(max_states=5, least=2, gammas=st.just(0.0)), PAIRS, rngs())
def test_two_discounts_recover_the_cost_up_to_a_constant(
    check: Ledger, mdp: om.MDP, pair: tuple[float, float], rng: np.random.Generator
) -> None:
    both = np.hstack([basis(mdp, pair[0]), -basis(mdp, pair[1])])
    singular = np.linalg.svd(both, compute_uv=False)
    assume(2 * mdp.S - 1 <= mdp.S * mdp.A and singular[2 * mdp.S - 2] > 1e-5)  # rank 2 S - 1, safely
    true = rng.normal(size=mdp.shape)
    pis = [om.rl(at(mdp, g), true, 1.0).pi for g in pair]
    # -log pi + B V = -log pi' + B' V'  is linear in (V, V').
    V = np.linalg.lstsq(both, (np.log(pis[0]) - np.log(pis[1])).ravel(), rcond=1e-9)[0][: mdp.S]
    found = -np.log(pis[0]) + (basis(mdp, pair[0]) @ V).reshape(mdp.shape)
    check(
        statement="Identifiability",
        compared="cost from two discounts against the true one, less a constant",
        deviation=np.ptp(found - true) / 2.0,
        tolerance=RECOVERED,
        because=CONDITION,
    )
    # Naive: one discount is enough. Any V gives a cost with the same policy.
    other = -np.log(pis[0]) + (basis(mdp, pair[0]) @ rng.normal(size=mdp.S)).reshape(mdp.shape)
    off = np.abs(soft_policy(at(mdp, pair[0]), other, 1.0) - pis[0]).max()
    check(
        statement="Identifiability",
        compared="policy of another cost with the same policy at one discount",
        deviation=off,
        tolerance=1e-11,
        because="value iteration to rounding",
    )
    assert pair[0] == 0.0 or np.ptp(other - true) > 1e-3
    there = soft_policy(at(mdp, pair[1]), other, 1.0)
    assert np.abs(np.log(there / pis[1])).max() > 1e-6, "the second discount sees it"


@examples(10)
@given(mdps(max_states=3, gammas=st.just(0.0)), PAIRS, rngs())
def test_the_rank_of_what_is_seen_is_that_of_the_theorem(
    check: Ledger, mdp: om.MDP, pair: tuple[float, float], rng: np.random.Generator
) -> None:
    cost = rng.normal(size=mdp.shape)
    n = mdp.S * mdp.A
    terms = {"statement": "Identifiability", "tolerance": 0.0, "because": INTEGER}
    one = n - np.linalg.matrix_rank(seen(mdp, cost, pair[:1]), tol=1e-6)
    check(**terms, compared="unseen dimensions at one discount against S", deviation=abs(one - mdp.S))
    two = n - np.linalg.matrix_rank(seen(mdp, cost, pair), tol=1e-6)
    both = np.linalg.matrix_rank(np.hstack([basis(mdp, g) for g in pair]), tol=1e-6)
    check(**terms, compared="unseen dimensions at two against 2 S - rank", deviation=abs(two - (2 * mdp.S - both)))


@examples(10)
@given(mdps(max_states=4, gammas=st.just(0.0)), PAIRS)
def test_where_actions_lead_to_the_same_place_the_second_discount_tells_nothing(
    check: Ledger, mdp: om.MDP, pair: tuple[float, float]
) -> None:
    tied = om.MDP(np.repeat(kernel(mdp)[:, :1], mdp.A, axis=1), mdp.p0, 0.0)
    rank = np.linalg.matrix_rank(np.hstack([basis(tied, g) for g in pair]), tol=1e-9)
    check(
        statement="Identifiability",
        compared="unseen dimensions with tied actions against S",
        deviation=abs(2 * tied.S - rank - tied.S),
        tolerance=0.0,
        because=INTEGER,
    )
