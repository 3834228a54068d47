"""Compounding errors: cloning has them where matching does not, on the example where that can be proved.

Let eps = (1 - gamma) E_piE[ TV(pi(.|s), pi_E(.|s)) ] be how often a clone errs on the expert's own states, and let
costs lie in [0, 1].  For every MDP and policy

    E_pi[c] - E_piE[c]  <=  eps / (1 - gamma)^2             (cloning: quadratic in the horizon)
    E_pi[c] - E_piE[c]  <=  ||rho_pi - rho_E||_1 / 2        (matching: linear in what is matched)

The cliff has the first with equality up to a factor gamma / (1 + gamma eps / (1 - gamma)): the expert stays on the road
at no cost, an error leads over the edge, where each step costs one, for ever.  The second holds there up to a factor
gamma.  Nothing is claimed beyond: where mistakes mend themselves cloning does not compound, as a test shows.

With demonstrations that miss a state of the road, a clone that guesses there falls; matching knows the dynamics, and
stays on the road.

Source: Ross & Bagnell (2010), theorem 2.1; Syed & Schapire (2010); Xu, Li & Yu (2020); Rajaraman et al. (2020).
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import occmatch as om
from theory.ledger import Ledger
from theory.plain import apart, measure, softmax
from theory.search import any_mdp, worst
from theory.strategies import Instance, examples, instances, policies, rngs

GAMMAS = st.sampled_from([0.5, 0.9, 0.99]) | st.floats(0.05, 0.95)
SOLVE = "a linear solve of condition 200"
FALLEN = np.array([[0.0, 0.0], [1.0, 1.0]])


def cliff(gamma: float, back: float = 0.0) -> om.MDP:
    """State 0 the road, 1 the abyss; action 0 stays, 1 falls; from the abyss a way back with probability `back`."""
    P = np.zeros((2, 2, 2))
    P[0, 0, 0] = P[0, 1, 1] = 1.0
    P[1, :, 0], P[1, :, 1] = back, 1 - back
    return om.MDP(P, [1.0, 0.0], gamma)


def error_of(mdp: om.MDP, rho_E: np.ndarray, pi_E: np.ndarray, pi: np.ndarray) -> float:
    """(1 - gamma) E_piE[TV]."""
    return float((1 - mdp.gamma) * (rho_E.sum(axis=1) * 0.5 * np.abs(pi - pi_E).sum(axis=1)).sum())


@examples(25)
@given(GAMMAS, st.floats(1e-4, 1.0))
def test_on_the_cliff_cloning_is_quadratic_and_matching_linear(check: Ledger, gamma: float, eps: float) -> None:
    mdp = cliff(gamma)
    clone = np.array([[1 - eps, eps], [0.5, 0.5]])
    rho, rho_E = om.occupancy(mdp, clone), om.occupancy(mdp, np.array([[1.0, 0.0], [0.5, 0.5]]))
    loss = float(((rho - rho_E) * FALLEN).sum())
    check(
        statement="compounding errors",
        compared="loss of the clone against gamma eps / ((1 - gamma)(1 - gamma + gamma eps))",
        deviation=apart(loss, gamma * eps / ((1 - gamma) * (1 - gamma + gamma * eps))),
        tolerance=1e-11,
        because=SOLVE,
    )
    check(
        statement="compounding errors",
        compared="loss on the cliff against gamma ||rho - rho_E||_1 / 2",
        deviation=apart(loss, gamma * 0.5 * float(np.abs(rho - rho_E).sum())),
        tolerance=1e-9,
        because="rho - rho_E cancels four digits, and the solve is of condition 200",
    )


@examples(40)
@given(instances(), st.data())
def test_both_bounds_hold_everywhere(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    mdp, pi_E, rho_E = instance
    pi, c = data.draw(policies(mdp)), data.draw(rngs()).uniform(size=mdp.shape)
    rho = measure(mdp, pi)
    loss, share = float(((rho - rho_E) * c).sum()), 1 - mdp.gamma
    check(
        statement="compounding errors",
        compared="loss above eps / (1 - gamma)^2 (violation)",
        deviation=share * loss - error_of(mdp, rho_E, pi_E, pi) / share,
        tolerance=1e-12,
        because=SOLVE,
    )
    check(
        statement="compounding errors",
        compared="loss above ||rho - rho_E||_1 / 2 (violation)",
        deviation=share * (loss - 0.5 * np.abs(rho - rho_E).sum()),
        tolerance=1e-12,
        because=SOLVE,
    )


@examples(4)
@given(st.sampled_from([0.5, 0.9]), rngs())
def test_a_search_for_the_worst_mdp_stays_below_the_bound(
    check: Ledger, gamma: float, rng: np.random.Generator
) -> None:
    """Over kernel, start, expert, clone and cost of two states and actions, near the cliff and anywhere."""
    mdp = cliff(gamma, 0.02)
    careful = np.array([[4.0, -4.0], [0.0, 0.0]])
    near = (
        np.log(mdp.P.toarray().reshape(2, 2, 2) + 1e-4),
        np.log([0.9999, 0.0001]),
        careful,
        0.9 * careful,
        4 * (2 * FALLEN - 1),
    )

    def share(*x: np.ndarray) -> float:
        rows, start, theta_E, theta, logits = x
        mdp, c = any_mdp(rows, start, gamma), 1 / (1 + np.exp(-logits))
        pi_E, pi = softmax(theta_E), softmax(theta)
        rho_E = measure(mdp, pi_E)
        loss = float(((measure(mdp, pi) - rho_E) * c).sum())
        eps = error_of(mdp, rho_E, pi_E, pi)
        return loss * (1 - gamma) ** 2 / eps if eps > 1e-9 else 0.0

    def around(*x: np.ndarray) -> float:
        return share(*(part + move for part, move in zip(near, x, strict=True)))

    shapes = ((2, 2, 2), (2,), (2, 2), (2, 2), (2, 2))
    found = max(share(*near), *(worst(f, shapes, rng, evaluations=150) for f in (around, share)))
    check(
        statement="compounding errors",
        compared="the worst MDP found, loss over eps / (1 - gamma)^2, less one (violation)",
        deviation=found - 1.0,
        tolerance=1e-9,
        because="a ratio of numbers above 1e-9",
    )
    check(
        statement="compounding errors",
        compared="the search reaches a quarter of gamma, so that the bound is not idle (violation)",
        deviation=0.25 * gamma - found,
        tolerance=0.0,
        because="the cliff itself reaches nearly gamma",
    )


@examples(3)
@given(st.sampled_from([0.5, 0.9]), rngs())
def test_a_search_for_the_worst_mdp_stays_below_the_distance(
    check: Ledger, gamma: float, rng: np.random.Generator
) -> None:
    def above(*x: np.ndarray) -> float:
        rows, start, theta, theta_E, logits = x
        mdp = any_mdp(rows, start, gamma)
        difference = measure(mdp, softmax(theta)) - measure(mdp, softmax(theta_E))
        cost = 1 / (1 + np.exp(-8 * logits))
        return (1 - gamma) * float((difference * cost).sum() - 0.5 * np.abs(difference).sum())

    check(
        statement="compounding errors",
        compared="loss above ||rho - rho_E||_1 / 2, worst MDP found (violation)",
        deviation=worst(above, ((2, 2, 2), (2,), (2, 2), (2, 2), (2, 2)), rng),
        tolerance=1e-12,
        because=SOLVE,
    )


@examples(20)
@given(GAMMAS, st.floats(1e-6, 0.5), st.floats(0.1, 1.0))
def test_no_claim_where_mistakes_mend_themselves(check: Ledger, gamma: float, eps: float, back: float) -> None:
    """With a way back a fall lasts 1/back steps on average, and cloning's loss is linear in the horizon as well."""
    mdp = cliff(gamma, back)
    rho = om.occupancy(mdp, np.array([[1 - eps, eps], [0.5, 0.5]]))
    loss = float((rho * FALLEN).sum())
    check(
        statement="compounding errors",
        compared="loss with a way back above eps / (back (1 - gamma)) (violation)",
        deviation=(1 - gamma) * loss - eps / back,
        tolerance=1e-12,
        because=SOLVE,
    )


@examples(10)
@given(st.integers(2, 4), GAMMAS, st.sampled_from([0.0, 0.5]))
def test_with_a_state_unseen_the_clone_falls_and_matching_does_not(
    check: Ledger, n: int, gamma: float, guess: float
) -> None:
    """A road of n states drawn afresh at each step; the demonstrations miss the last one."""
    P = np.zeros((n + 1, 2, n + 1))
    P[:n, 0, :n] = 1 / n
    P[:n, 1, n] = P[n, :, n] = 1.0
    mdp = om.MDP(P, np.append(np.full(n, 1 / n), 0.0), gamma)
    rho_E = om.occupancy(mdp, np.tile([1.0, 0.0], (n + 1, 1)))
    seen = rho_E.copy()
    seen[n - 1] = 0.0
    seen *= rho_E.sum() / seen.sum()
    cost = np.zeros(mdp.shape)
    cost[n] = 1.0
    clone = np.where(seen.sum(axis=1, keepdims=True) > 0, np.tile([1.0, 0.0], (n + 1, 1)), [guess, 1 - guess])
    fall = (1 - guess) / n
    loss = float((om.occupancy(mdp, clone) * cost).sum())
    check(
        statement="compounding errors",
        compared="loss of the clone that guesses in the unseen state against its closed form",
        deviation=apart(loss, gamma * fall / ((1 - gamma) * (1 - gamma + gamma * fall))),
        tolerance=1e-11,
        because=SOLVE,
    )
    matched = om.lp.match_l1(mdp, seen)
    check(
        statement="compounding errors",
        compared="loss of matching the same data, normalised, against 0",
        deviation=(1 - gamma) * float((matched.rho * cost).sum()),
        tolerance=1e-7,
        because="HiGHS's feasibility of 1e-7",
    )
