"""Caveat 9: termination is not truncation.

In a task that ends, the occupancy measure of the paper includes the absorbing state: time after the end is time.
Then a constant added to the cost adds 1/(1 - gamma) times it to every policy, and changes no preference.

Naive: drop the absorbing state, as if an episode's cost stopped at its end.  Then the sign of the reward decides
whether episodes should end: -log D >= 0 pays for each step of survival, log(1 - D) <= 0 charges for it, and a
discriminator that knows nothing (D constant) already prefers one to the other, whatever the expert does.

The example: in the corridor an action goes on (0) or leaves (1) to the end, which absorbs.

Source: Ho & Ermon (2016), appendix B, use one sign or the other by task; Kostrikov et al. (2019) on the bias.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import occmatch as om
from occmatch.regularisers import Surrogate
from theory.ledger import Ledger
from theory.plain import apart, measure
from theory.strategies import costs, examples, mdps, policies

GAMMAS = st.sampled_from([0.5, 0.9, 0.99]) | st.floats(0.05, 0.95)


def corridor(n: int, gamma: float) -> om.MDP:
    """n states in a ring, and the end, numbered n: action 0 goes on, action 1 leaves."""
    P = np.zeros((n + 1, 2, n + 1))
    for s in range(n):
        P[s, 0, (s + 1) % n] = P[s, 1, n] = 1.0
    P[n, :, n] = 1.0
    return om.MDP(P, np.eye(n + 1)[0], gamma)


def with_absorbing(mdp: om.MDP) -> om.MDP:
    """One more state that a tenth of every move ends in."""
    S, A = mdp.shape
    P = np.zeros((S + 1, A, S + 1))
    P[:S, :, :S] = 0.9 * mdp.P.toarray().reshape(S, A, S)
    P[:S, :, S] = 0.1
    P[S, :, S] = 1.0
    return om.MDP(P, np.append(mdp.p0, 0.0), mdp.gamma)


@examples(20)
@given(st.integers(1, 4), GAMMAS, st.floats(0.1, 0.9))
def test_dropping_the_end_lets_the_sign_decide(check: Ledger, n: int, gamma: float, D: float) -> None:
    """A discriminator that knows nothing, with the cost after the end left out (zero) and with it in."""
    mdp = corridor(n, gamma)
    inside = (np.arange(n + 1) < n)[:, None]
    survive, end = np.log(D), -np.log(1 - D)  # costs: minus -log D, minus log(1 - D)
    stays = {}
    for name, cost in (("-log D", survive), ("log(1 - D)", end)):
        dropped = om.rl(mdp, np.where(inside, np.full(mdp.shape, cost), 0.0), lam=0.0).pi
        kept = om.rl(mdp, np.full(mdp.shape, cost), lam=0.1).pi
        stays[name] = dropped[:n, 0]
        check(
            statement="Caveat 9",
            compared="right: with the absorbing state in, an uninformed D prefers no action",
            deviation=apart(kept, np.full(mdp.shape, 0.5)),
            tolerance=1e-9,
            because="differences of Q of rounding size over lam = 0.1",
        )
    check(
        statement="Caveat 9",
        compared="naive: -log D stays for ever, log(1 - D) leaves at once, with the same D",
        deviation=max(np.abs(stays["-log D"] - 1.0).max(), np.abs(stays["log(1 - D)"][0] - 0.0)),
        tolerance=0.0,
        because="deterministic policies",
    )
    survival = -survive * gamma / (1 - gamma)  # reward of staying for ever less that of leaving now
    rho = measure(mdp, np.tile([1.0, 0.0], (n + 1, 1)))
    out = measure(mdp, np.tile([0.0, 1.0], (n + 1, 1)))
    check(
        statement="Caveat 9",
        compared="naive: the bias against gamma log(1/D) / (1 - gamma)",
        deviation=apart(float(((rho - out) * np.where(inside, -survive, 0.0)).sum()), survival),
        tolerance=1e-11,
        because="a linear solve of condition 200",
    )


@examples(20)
@given(mdps(max_states=4, gammas=GAMMAS), st.data())
def test_with_the_end_inside_a_constant_changes_no_preference(check: Ledger, mdp: om.MDP, data: st.DataObject) -> None:
    """In any task with a chance to end: the right one holds for every policy and cost, the naive one for few."""
    whole = with_absorbing(mdp)
    cost, k = data.draw(costs(whole)), data.draw(st.sampled_from([-3.0, 0.5, 10.0]))
    pi = data.draw(policies(whole))
    rho = om.occupancy(whole, pi)
    shifted = float((rho * (cost + k)).sum()) - float((rho * cost).sum())
    check(
        statement="Caveat 9",
        compared="right: a constant k adds k / (1 - gamma) to every policy",
        deviation=apart(shifted, k / (1 - whole.gamma)),
        tolerance=1e-11,
        because="a linear solve of condition 200",
    )
    # Dropped, the sum of the measure is the discounted length of the episode, which is below 1 / (1 - gamma).
    length = float(rho[:-1].sum())
    check(
        statement="Caveat 9",
        compared="naive: the mass without the absorbing state falls short by 1 / (1 - gamma) - E[discounted length]",
        deviation=apart(length, 1 / (1 - 0.9 * whole.gamma)),
        tolerance=1e-11,
        because="a linear solve of condition 200; each step ends with probability 1/10",
    )


@examples(10)
@given(st.integers(1, 4), GAMMAS, st.sampled_from([0.0, 1.0]))
def test_the_expert_s_own_wish_to_end_is_learned(check: Ledger, n: int, gamma: float, leaves: float) -> None:
    """With the end in the measure GAIL matches an expert who leaves, and one who stays, by the same rule."""
    mdp = corridor(n, gamma)
    pi_E = np.tile([0.95 - 0.9 * leaves, 0.05 + 0.9 * leaves], (n + 1, 1))
    rho_E = om.occupancy(mdp, pi_E)
    psi = Surrogate(om.LOSSES["logistic"], rho_E)
    found = om.match(mdp, rho_E, psi, lam=1e-4)
    check(
        statement="Caveat 9",
        compared="right: visits of the matched policy against the expert's, normalised",
        deviation=(1 - gamma) * float(np.abs(found.rho.sum(axis=1) - rho_E.sum(axis=1)).sum()),
        tolerance=1e-3,
        because="entropy of weight 1e-4 pulls by about that much over the curvature of Jensen-Shannon, of order one",
    )
