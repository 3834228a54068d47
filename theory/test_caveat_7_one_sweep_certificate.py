"""Caveat 7: one sweep bounds the error of an answer, whoever gave it.

For T the soft, hard or policy Bellman operator, any V whatever, and V* the fixed point,

    V + min(T V - V) / (1 - gamma)  <=  V*  <=  V + max(T V - V) / (1 - gamma),

since T is monotone and T(V + k) = T V + gamma k. For visits, with d* = p0 + gamma P_pi' d* and any d,

    || d - d* ||_1  <=  || d - p0 - gamma P_pi' d ||_1 / (1 - gamma).

    naive   a residual of 1e-6 means an error of 1e-6
    right   it means an error of up to 1e-6 / (1 - gamma), and that is attained: by V = V* + k, and by d with too much
            mass everywhere

Source: Puterman (1994), section 6.6 (MacQueen's bounds); the l1 bound is the norm of (I - gamma P')^-1.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import occmatch as om
from theory.ledger import Ledger
from theory.oracles import deterministic_policies, kernel, series_occupancy, soft_value
from theory.search import any_mdp, worst
from theory.strategies import costs, examples, mdps, policies, rngs

GAMMAS = st.sampled_from([0.0, 0.5, 0.9, 0.99])

ROUNDING = 1e-12
SWEEP = "one sweep rounds by 1e-16 of |V|, and 1 / (1 - gamma) makes 1e-14 of that; the fixed point adds as much"


def fixed_points(mdp: om.MDP, cost: np.ndarray, pi: np.ndarray, lam: float) -> dict[str, np.ndarray]:
    """V* of each operator by value iteration, enumeration and a dense solve."""
    P = kernel(mdp)

    def value(rule: np.ndarray, reward: np.ndarray) -> np.ndarray:
        step = np.einsum("sa,sat->st", rule, P)
        return np.linalg.solve(np.eye(mdp.S) - mdp.gamma * step, (rule * reward).sum(axis=1))

    bits = np.where(pi > 0, np.log(np.where(pi > 0, pi, 1.0)), 0.0)
    return {
        "soft": soft_value(mdp, cost, lam),
        "hard": np.min([value(rule, cost) for rule in deterministic_policies(mdp)], axis=0),
        "policy": value(pi, cost + lam * bits),
    }


def sweep(mdp: om.MDP, cost: np.ndarray, pi: np.ndarray, lam: float, name: str, V: np.ndarray) -> np.ndarray:
    if name == "soft":
        return om.soft_backup(mdp, cost, V, lam)[0]
    return om.hard_backup(mdp, cost, V)[0] if name == "hard" else om.policy_backup(mdp, cost, pi, V, lam)


@examples(40)
@given(mdps(max_states=4, gammas=GAMMAS), st.data(), rngs())
def test_the_fixed_point_lies_within_the_bounds_of_any_v(
    check: Ledger, mdp: om.MDP, data: st.DataObject, rng: np.random.Generator
) -> None:
    cost, pi, lam = data.draw(costs(mdp)), data.draw(policies(mdp)), data.draw(st.sampled_from([0.2, 1.0]))
    for name, star in fixed_points(mdp, cost, pi, lam).items():
        for V in (rng.normal(size=mdp.S) * 10.0 ** rng.integers(-3, 3), star + 1e-3 * rng.normal(size=mdp.S)):
            low, high = om.value_bounds(V, sweep(mdp, cost, pi, lam, name, V), mdp.gamma)
            size = (1.0 + np.abs(V).max() + np.abs(star).max()) / (1.0 - mdp.gamma)
            check(
                statement="Caveat 7",
                compared=f"V* within the one-sweep bounds, {name} operator (violation)",
                deviation=max((low - star).max(), (star - high).max()) / size,
                tolerance=ROUNDING,
                because=SWEEP,
            )


@examples(3)
@given(mdps(max_states=3, max_actions=2, least=2, gammas=st.just(0.9)), st.data(), rngs())
def test_a_search_for_v_and_cost_does_not_leave_the_bounds(
    check: Ledger, mdp: om.MDP, data: st.DataObject, rng: np.random.Generator
) -> None:
    pi = data.draw(policies(mdp))

    def outside(*x: np.ndarray) -> float:
        V, cost = x
        star = soft_value(mdp, cost, 1.0)
        low, high = om.value_bounds(V, sweep(mdp, cost, pi, 1.0, "soft", V), mdp.gamma)
        return float(max((low - star).max(), (star - high).max()) / (1e-3 + np.ptp(star - V)))

    check(
        statement="Caveat 7",
        compared="V* within the one-sweep bounds, worst V and cost found (violation)",
        deviation=worst(outside, ((mdp.S,), mdp.shape), rng, evaluations=80),
        tolerance=1e-9,
        because="the room left, 1e-12, over a spread of at least 1e-3",
    )


@examples(30)
@given(mdps(gammas=GAMMAS), st.data(), rngs())
def test_the_flow_residual_bounds_the_error_of_visits(
    check: Ledger, mdp: om.MDP, data: st.DataObject, rng: np.random.Generator
) -> None:
    pi = data.draw(policies(mdp))
    exact = series_occupancy(mdp, pi)
    share = 1.0 - mdp.gamma
    d = exact.sum(axis=1) + 0.1 * rng.normal(size=mdp.S)
    residual = np.abs(om.flow_residual(mdp, d[:, None] * pi)).sum()
    terms = {"statement": "Caveat 7", "tolerance": ROUNDING, "because": SWEEP}
    wrong = np.abs(d - exact.sum(axis=1)).sum()
    check(**terms, compared="|d - d*|_1 <= |residual|_1 / (1 - gamma) (violation)", deviation=wrong * share - residual)
    # Attained where the error has one sign: the naive reading is off by 1 / (1 - gamma).
    excess = om.flow_residual(mdp, 1.1 * exact)
    check(
        **terms,
        compared="|residual|_1 against (1 - gamma) |d - d*|_1 for d = 1.1 d*",
        deviation=abs(np.abs(excess).sum() - share * 0.1 * exact.sum()),
    )


@examples(20)
@given(mdps(gammas=st.just(0.99)), st.data())
def test_a_small_residual_is_not_a_small_error(check: Ledger, mdp: om.MDP, data: st.DataObject) -> None:
    cost = data.draw(costs(mdp))
    star = soft_value(mdp, cost, 1.0)
    V = star + 1.0
    residual = np.abs(om.soft_backup(mdp, cost, V, 1.0)[0] - V).max()
    check(
        statement="Caveat 7",
        compared="residual of V* + 1 against 1 - gamma = 0.01 (naive: the error)",
        deviation=abs(residual - 0.01),
        tolerance=1e-11,
        because="|V*| of up to 1e2 / (1 - gamma) rounds by 1e-12",
    )
    low, high = om.value_bounds(V, om.soft_backup(mdp, cost, V, 1.0)[0], mdp.gamma)
    check(
        statement="Caveat 7",
        compared="the bounds meet in V*, relative to 1 + |V*|",
        deviation=max(np.abs(low - star).max(), np.abs(high - star).max()) / (1.0 + np.abs(star).max()),
        tolerance=1e-11,
        because="the residual rounds by 1e-15 of V, and 1 / (1 - gamma) makes 1e-13 of that",
    )


@examples(3)
@given(rngs())
def test_a_search_for_the_worst_mdp_does_not_break_the_flow_bound(check: Ledger, rng: np.random.Generator) -> None:
    S, gamma = 3, 0.9

    def above(*x: np.ndarray) -> float:
        rows, start, error = x
        mdp = any_mdp(rows, start, gamma)
        d = series_occupancy(mdp, np.ones((S, 1)))[:, 0] + error
        return float(np.abs(error).sum() * (1 - gamma) / np.abs(om.flow_residual(mdp, d[:, None])).sum()) - 1.0

    check(
        statement="Caveat 7",
        compared="error over its bound, worst MDP found, <= 1 (violation)",
        deviation=worst(above, ((S, 1, S), (S,), (S,)), rng),
        tolerance=1e-10,
        because="a ratio of sums of rounding 1e-13 over errors of at least 1e-2",
    )
