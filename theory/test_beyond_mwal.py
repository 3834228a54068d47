"""MWAL: it plays the game of C_convex, and reaches its value at rate sqrt(log K / T).

T rounds: weights w_t on K features in [0, 1], the policy pi_t = RL(sum_k w_k f_k) without entropy, then weights times
exp(eta gap_k(pi_t)).  Gaps lie in an interval of length B = 2/(1 - gamma); with eta = sqrt(8 log K / T) / B the mixture
of the policies, that is the mean of their measures, has

    max_k gap_k  <=  v + B sqrt( log K / (2 T) ),

v <= 0 the value of the game (equation 9): the regret of the weights is at most that, and each answer is worth v or
less.

Source: Syed & Schapire (2007), theorem 1; constants of Hedge: Freund & Schapire (1999), Cesa-Bianchi & Lugosi (2006).
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import occmatch as om
from theory.ledger import Ledger
from theory.strategies import GAMMAS, Instance, examples, instances, rngs

HIGHS = "HiGHS fixes v to 1e-7 of the mass; the bound itself is a theorem"


def mwal(mdp: om.MDP, rho_E: np.ndarray, F: np.ndarray, rounds: int) -> float:
    """max_k gap_k of the mixture after `rounds` rounds."""
    K, B = F.shape[2], 2 / (1 - mdp.gamma)
    eta = np.sqrt(8 * np.log(K) / rounds) / B
    total, logits = np.zeros(mdp.shape), np.zeros(K)
    for _ in range(rounds):
        w = np.exp(logits - logits.max())
        rho = om.rl(mdp, F @ (w / w.sum()), lam=0.0).rho
        logits += eta * np.einsum("sa,sak->k", rho - rho_E, F)
        total += rho / rounds
    return float(np.einsum("sa,sak->k", total - rho_E, F).max())


def share_of_the_bound(mdp: om.MDP, rho_E: np.ndarray, F: np.ndarray, rounds: int) -> float:
    """(max_k gap_k - v) / (B sqrt(log K / (2 T))): at most one."""
    value = om.lp.lpal(mdp, rho_E, F).value
    bound = 2 / (1 - mdp.gamma) * np.sqrt(np.log(F.shape[2]) / (2 * rounds))
    return (mwal(mdp, rho_E, F, rounds) - value) / bound


@examples(10)
@given(instances(max_states=4), st.data())
def test_the_rate_holds(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    mdp, _, rho_E = instance
    K = data.draw(st.sampled_from([2, 5, 20]))
    F = data.draw(rngs()).uniform(size=(*mdp.shape, K))
    for rounds in (1, 16, 128):
        check(
            statement="MWAL",
            compared=f"excess over v as a share of B sqrt(log K / (2 T)), less one, T = {rounds} (violation)",
            deviation=share_of_the_bound(mdp, rho_E, F, rounds) - 1.0,
            tolerance=1e-6,
            because=HIGHS,
        )


@examples(3)
@given(GAMMAS, rngs())
def test_a_search_for_the_worst_game_stays_below_it(check: Ledger, gamma: float, rng: np.random.Generator) -> None:
    """Features of 0 and 1 in a single state, where the game is any matrix: flip entries while the share grows."""
    A, K, rounds = 4, 4, 24
    mdp = om.MDP(np.ones((1, A, 1)), [1.0], gamma)
    rho_E = om.occupancy(mdp, rng.dirichlet(np.ones(A))[None])
    F = rng.integers(2, size=(1, A, K)).astype(float)
    best = share_of_the_bound(mdp, rho_E, F, rounds)
    for _ in range(12):
        trial = F.copy()
        trial[0, rng.integers(A), rng.integers(K)] = rng.integers(2)
        share = share_of_the_bound(mdp, rho_E, trial, rounds)
        if share >= best:
            F, best = trial, share
    check(
        statement="MWAL",
        compared="the worst game found, as a share of the bound, less one (violation)",
        deviation=best - 1.0,
        tolerance=1e-6,
        because=HIGHS,
    )


@examples(3)
@given(GAMMAS)
def test_an_uneven_game_shows_the_square_root(check: Ledger, gamma: float) -> None:
    """One state, f = diag(1/3, 1), an expert that makes both gaps zero, v = 0: the weights end up at (3/4, 1/4).

    Their logits, eta times the sum of the gaps, then differ by log 3, while 3 gap_1 + gap_2 = 0 for any policy: the
    mixture has max_k gap_k = gap_1 = log 3 / (4 eta T) = B log 3 / (4 sqrt(8 T log 2)), a fifth of the bound for any T.
    (Even matching pennies have nothing to learn, and reach zero.)
    """
    mdp = om.MDP(np.ones((1, 2, 1)), [1.0], gamma)
    rho_E = om.occupancy(mdp, np.array([[0.75, 0.25]]))
    F = np.diag([1 / 3, 1.0])[None]
    for rounds in (64, 256):
        derived = 2 / (1 - gamma) * np.log(3) / (4 * np.sqrt(8 * rounds * np.log(2)))
        check(
            statement="MWAL",
            compared="excess against B log 3 / (4 sqrt(8 T log 2)), at 64 and 256 rounds, relative",
            deviation=abs(mwal(mdp, rho_E, F, rounds) / derived - 1.0),
            tolerance=1 / 8,
            because="the weights end within a step eta of their goal, which is 1/sqrt(T) of the way",
        )
