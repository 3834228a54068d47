"""Finite horizons, by the lift to pairs (s, t).

Over T steps the soft optimal policy depends on time and comes from one backward pass,

    V_T = 0,     V_t(s) = -lam log sum_a exp( -(c_t(s, a) + gamma (P V_{t+1})(s, a)) / lam ).

It is the stationary policy of an ordinary MDP on the pairs (s, t) and an absorbing end, so that every statement of the
infinite horizon holds of it: IRL with psi constant returns the log policy up to a shaping V_t - gamma P V_{t+1}.
Where transitions are certain and gamma = 1 it is maximum entropy over trajectories, p(tau) ~ exp(-c(tau) / lam).

    naive   a stationary policy does as well; and p(tau) ~ P(tau) exp(-c(tau) / lam) under random transitions, too
    right   neither: the optimum uses time, and causal entropy does not reward an action for luck in what follows

Source: Ziebart (2010); Gleave & Toyer (2022).
"""

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import occmatch as om
from occmatch.horizon import finite_horizon, horizon_cost
from occmatch.regularisers import Constant
from theory.ledger import Ledger
from theory.oracles import kernel
from theory.strategies import costs, examples, mdps, rngs

GAMMAS = st.sampled_from([0.5, 0.0, 0.9])
LAMS = st.sampled_from([0.3, 1.0])

ROUNDING = 1e-11
BACKWARD = "at most 4 backward steps, and Newton to rounding"
MATCHED = 1e-6
PROGRAM = "Clarabel or Newton at 1e-8 and better, on visits of at least 1e-4"


def backward(mdp: om.MDP, cost: np.ndarray, T: int, lam: float, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """V [T, S] and pi [T, S, A] of the backward pass, with costs [T, S, A]."""
    P, V = kernel(mdp), np.zeros((T + 1, mdp.S))
    pi = np.zeros((T, mdp.S, mdp.A))
    for t in reversed(range(T)):
        Q = cost[t] + gamma * (P @ V[t + 1])
        V[t] = -lam * np.log(np.exp(-Q / lam).sum(axis=1))
        pi[t] = np.exp((V[t][:, None] - Q) / lam)
    return V[:T], pi


@examples(25)
@given(mdps(max_states=4, gammas=GAMMAS), st.integers(1, 4), LAMS, rngs())
def test_the_lift_is_the_backward_pass(
    check: Ledger, mdp: om.MDP, T: int, lam: float, rng: np.random.Generator
) -> None:
    cost = rng.normal(size=(T, *mdp.shape))
    V, pi = backward(mdp, cost, T, lam, mdp.gamma)
    lift, ends = finite_horizon(mdp, T), T * mdp.S
    # The end costs nothing but pays entropy for ever, unless its actions are made to: -lam log A a step is taken back.
    stacked = horizon_cost(cost, T)
    stacked[ends] = lam * np.log(mdp.A)
    found = om.rl(lift, stacked, lam)
    terms = {"statement": "Finite horizon", "tolerance": ROUNDING, "because": BACKWARD}
    check(
        **terms, compared="V of the lift against the backward pass", deviation=np.abs(found.V[:ends] - V.ravel()).max()
    )
    off = np.abs(found.pi[:ends] - pi.reshape(ends, mdp.A)).max()
    check(**terms, compared="policy of the lift against the backward pass", deviation=off)
    check(**terms, compared="value of the end", deviation=abs(found.V[ends]))
    # Visits of (s, t), by rolling the time-dependent policy forward.
    d, P = mdp.p0, kernel(mdp)
    for t in range(T):
        here = mdp.gamma**t * d[:, None] * pi[t]
        off = np.abs(found.rho[t * mdp.S : (t + 1) * mdp.S] - here).max()
        check(**terms, compared="rho(s, t, a) against gamma^t Pr(s_t, a_t)", deviation=off)
        d = np.einsum("sa,sat->t", d[:, None] * pi[t], P)


@examples(8)
@given(mdps(max_states=3, gammas=st.sampled_from([0.5, 0.9]), reachable=True), st.integers(1, 3), LAMS, rngs())
def test_irl_on_the_lift_returns_the_time_dependent_policy(
    check: Ledger, mdp: om.MDP, T: int, lam: float, rng: np.random.Generator
) -> None:
    cost = rng.normal(size=(T, *mdp.shape))
    _, pi = backward(mdp, cost, T, lam, mdp.gamma)
    lift = finite_horizon(mdp, T)
    pi_E = np.vstack([pi.reshape(-1, mdp.A), np.full((1, mdp.A), 1.0 / mdp.A)])
    rho_E = om.occupancy(lift, pi_E)
    visited = rho_E.sum(axis=1) > 1e-4
    found = om.rl(lift, om.irl(lift, rho_E, Constant(), lam).cost, lam).pi
    check(
        statement="Finite horizon",
        compared="policy of RL o IRL on the lift against the expert's, pairs that it visits",
        deviation=np.abs(found - pi_E)[visited].max(),
        tolerance=1e-4,
        because="Clarabel at 1e-8, over visits of at least 1e-4",
    )


@examples(15)
@given(mdps(max_states=3, max_actions=2, gammas=st.just(0.0)), st.integers(1, 3), st.data())
def test_over_certain_transitions_trajectories_are_exponential_in_their_cost(
    check: Ledger, mdp: om.MDP, T: int, data: st.DataObject
) -> None:
    to = kernel(mdp).argmax(axis=2)
    certain = om.MDP(np.eye(mdp.S)[to], mdp.p0, 0.0)
    cost = data.draw(costs(mdp))
    _, pi = backward(certain, np.repeat(cost[None], T, axis=0), T, 1.0, 1.0)
    for start in np.flatnonzero(mdp.p0 > 0):
        under_pi, boltzmann = [], []
        for actions in product(range(mdp.A), repeat=T):
            s, chance, total = int(start), 1.0, 0.0
            for t, a in enumerate(actions):
                chance, total, s = chance * pi[t, s, a], total + cost[s, a], int(to[s, a])
            under_pi.append(chance)
            boltzmann.append(np.exp(-total))
        off = np.abs(np.array(under_pi) - np.array(boltzmann) / np.sum(boltzmann)).max()
        check(
            statement="Finite horizon",
            compared="p(tau) of the soft optimal policy against exp(-c(tau)) / Z, all trajectories",
            deviation=off,
            tolerance=ROUNDING,
            because=BACKWARD,
        )


def test_a_stationary_policy_does_not_do_as_well() -> None:
    # One state to wait in for free, one action that costs 1 now and earns 1.5 at the last step only.
    mdp = om.MDP(np.ones((1, 2, 1)), [1.0], 0.5)
    cost = np.array([[[0.0, 1.0]], [[0.0, -1.5]]])
    _, pi = backward(mdp, cost, 2, 0.1, 1.0)
    assert pi[0, 0, 1] < 1e-4 and pi[1, 0, 1] > 1 - 1e-6

    def value(rows: np.ndarray) -> float:
        return float(sum((rows[t] * (cost[t, 0] + 0.1 * np.log(np.maximum(rows[t], 1e-300)))).sum() for t in range(2)))

    stationary = min(value(np.array([[1 - q, q]] * 2)) for q in np.linspace(0, 1, 201))
    assert value(pi[:, 0]) < stationary - 0.5


def test_causal_entropy_does_not_reward_luck() -> None:
    # Action 1 leads to states of cost -3 or 3 by a fair coin: exp(3) / 2 + exp(-3) / 2 looks good, its mean is 0.
    P = np.zeros((4, 2, 4))
    P[0, 0, 3], P[0, 1, 1], P[0, 1, 2] = 1.0, 0.5, 0.5
    P[1:, :, 3] = 1.0
    mdp = om.MDP(P, [1.0, 0.0, 0.0, 0.0], 0.9)
    cost = np.array([[0.0, 0.0], [-3.0, -3.0], [3.0, 3.0], [0.0, 0.0]])
    _, pi = backward(mdp, np.repeat(cost[None], 2, axis=0), 2, 1.0, 1.0)
    noncausal = 0.5 * (np.exp(3.0) + np.exp(-3.0)) / (0.5 * (np.exp(3.0) + np.exp(-3.0)) + 1.0)
    assert abs(pi[0, 0, 1] - 0.5) < 1e-12 and noncausal > 0.9
