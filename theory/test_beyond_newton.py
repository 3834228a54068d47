"""Soft policy iteration is Newton's method: quadratic, where soft value iteration creeps at rate gamma.

Soft policy iteration takes pi greedy at V and V <- V + (I - gamma P_pi)^-1 (T V - V); since P_pi, pi greedy, is the
derivative of T, that is Newton's step on T V = V. In the span |x| = max x - min x, with e_k = V_k - V*,

    |e_{k+1}|  <=  gamma^2 / (8 lam (1 - gamma)) |e_k|^2,

for T is concave and its second derivative along h is -gamma^2 / lam times a variance of P h, at most |h|^2 / 4; the
resolvent adds 1 / (1 - gamma). Value iteration has |T V - V*|_inf <= gamma |V - V*|_inf, attained by V = V* + k.

Source: policy iteration as Newton's method: Puterman & Brumelle (1979); soft form: Geist, Scherrer & Pietquin (2019).
The constant is derived here.
"""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import occmatch as om
from theory.ledger import Ledger
from theory.oracles import soft_value
from theory.search import any_mdp, worst
from theory.strategies import costs, examples, mdps, rngs

GAMMAS = st.sampled_from([0.0, 0.5, 0.9, 0.99])
LAMS = st.sampled_from([0.1, 1.0])

ROUNDING = 1e-9
SWEEP = "errors below 1e-10 (1 + |V*|) are rounding of V* itself, and squares of errors carry no more"


def span(x: np.ndarray) -> float:
    return float(x.max() - x.min())


def constant(gamma: float, lam: float) -> float:
    return gamma**2 / (8.0 * lam * (1.0 - gamma))


@examples(25)
@given(mdps(gammas=GAMMAS), st.data(), LAMS)
def test_each_step_squares_the_error(check: Ledger, mdp: om.MDP, data: st.DataObject, lam: float) -> None:
    cost = data.draw(costs(mdp, 2.0))
    star = soft_value(mdp, cost, lam)
    size = 1.0 + np.abs(star).max()
    errors = [span(om.rl(mdp, cost, lam, max_iter=k).V - star) for k in range(1, 8)]
    for before, after in pairwise(errors):
        check(
            statement="Newton",
            compared="span of e_{k+1} <= gamma^2 / (8 lam (1 - gamma)) |e_k|^2 (violation)",
            deviation=(after - constant(mdp.gamma, lam) * before**2) / size,
            tolerance=ROUNDING,
            because=SWEEP,
        )


@examples(25)
@given(mdps(gammas=GAMMAS), st.data(), LAMS, rngs())
def test_value_iteration_contracts_by_gamma_and_by_no_more(
    check: Ledger, mdp: om.MDP, data: st.DataObject, lam: float, rng: np.random.Generator
) -> None:
    cost = data.draw(costs(mdp))
    star = soft_value(mdp, cost, lam)
    size = 1.0 + np.abs(star).max()
    terms = {"statement": "Newton", "tolerance": 1e-11, "because": "|V*| up to 1e3 rounds by 1e-13"}
    V = star + rng.normal(size=mdp.S)
    off = np.abs(om.soft_backup(mdp, cost, V, lam)[0] - star).max() - mdp.gamma * np.abs(V - star).max()
    check(**terms, compared="|T V - V*| <= gamma |V - V*| (violation)", deviation=off / size)
    level = om.soft_backup(mdp, cost, star + 1.0, lam)[0] - star
    check(**terms, compared="T(V* + 1) - V* against gamma", deviation=np.abs(level - mdp.gamma).max() / size)


@examples(10)
@given(mdps(gammas=st.just(0.99), least=2), st.data())
def test_the_count_of_steps(check: Ledger, mdp: om.MDP, data: st.DataObject) -> None:
    cost = data.draw(costs(mdp))
    newton = om.rl(mdp, cost, 0.5)
    # Value iteration from 0 needs log(1e-10) / log(gamma) = 2291 sweeps to shrink a level error by 1e-10.
    V, sweeps = np.zeros(mdp.S), 0
    target = 1e-10 * max(np.abs(newton.V).max(), 1e-3)
    while np.abs(V - newton.V).max() > target and sweeps < 3000:
        V, sweeps = om.soft_backup(mdp, cost, V, 0.5)[0], sweeps + 1
    check(
        statement="Newton",
        compared="linear solves of soft policy iteration at gamma 0.99",
        deviation=newton.iterations,
        tolerance=15,
        because="log2 log2 of the precision once the square is small, a few steps before",
    )
    check(
        statement="Newton",
        compared="sweeps of value iteration at gamma 0.99 are at least 1500 (violation)",
        deviation=1500 - sweeps,
        tolerance=0,
        because="gamma^1500 = 3e-7: the level of V, the entropy bonus, is still missing by that share",
    )


@examples(3)
@given(rngs(), st.sampled_from([0.5, 0.9]))
def test_a_search_for_the_worst_mdp_keeps_below_the_constant(
    check: Ledger, rng: np.random.Generator, gamma: float
) -> None:
    def above(*x: np.ndarray) -> float:
        rows, cost, V = x
        mdp = any_mdp(rows, np.zeros(2), gamma)
        star = soft_value(mdp, cost, 1.0)
        first = span(V - star)
        second = span(om.rl(mdp, cost, 1.0, V0=V, max_iter=1).V - star)
        return second / (first**2 * constant(gamma, 1.0)) - 1.0 if first > 1e-2 else -1.0

    check(
        statement="Newton",
        compared="|e_{k+1}| / |e_k|^2 over its bound, worst MDP found, <= 1 (violation)",
        deviation=worst(above, ((2, 2, 2), (2, 2), (2,)), rng, evaluations=150),
        tolerance=1e-8,
        because="an error of rounding 1e-13 over a square of at least 1e-4",
    )


@examples(2)
@given(rngs(), st.sampled_from([0.5, 0.9]))
def test_a_search_for_the_worst_mdp_contracts_by_gamma_too(
    check: Ledger, rng: np.random.Generator, gamma: float
) -> None:
    """|T V - T W| <= gamma |V - W| over kernel, cost, V and W, so that no fixed point is needed."""

    def above(*x: np.ndarray) -> float:
        rows, cost, V, W = x
        mdp = any_mdp(rows, np.zeros(2), gamma)
        moved = om.soft_backup(mdp, cost, V, 1.0)[0] - om.soft_backup(mdp, cost, W, 1.0)[0]
        return float(np.abs(moved).max() - gamma * np.abs(V - W).max()) / (1 + np.abs(np.stack([V, W])).max())

    check(
        statement="Newton",
        compared="|T V - T W| <= gamma |V - W|, worst MDP found (violation)",
        deviation=worst(above, ((2, 2, 2), (2, 2), (2,), (2,)), rng),
        tolerance=1e-13,
        because="one sweep rounds by 1e-16 of |V|",
    )
