"""Equation 9: apprenticeship learning is matching with the indicator of a cost class.

For a set C of costs,

    min_pi max_{c in C}  E_pi[c] - E_piE[c]   =   min_pi delta_C*(rho_pi - rho_E),

because the conjugate of psi = delta_C (0 on C, +inf off it) is the support function of C.  For the convex hull of K
features the value is that of a matrix game between deterministic policies and features, so min-max = max-min (von
Neumann), and it is at most 0 where rho_E is the measure of a policy, since pi_E itself is feasible.

If the true cost c lies in C, the value bounds what the learner loses: E_pi[c] - E_piE[c] <= delta_C*(rho_pi - rho_E).
If it does not, nothing is promised: the last test is the counterexample. The features see states only, the expert's
costs depend on the action; every policy matches the features, entropy picks the uniform one, and pi = pi_E fails.

Source: Ho & Ermon (2016), Section 4, Eq 9; Abbeel & Ng (2004); Syed & Schapire (2007).
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

import occmatch as om
from occmatch.regularisers import Box, L2Ball, Simplex
from theory.ledger import Ledger
from theory.oracles import deterministic_policies, series_occupancy
from theory.plain import apart, measure, softmax
from theory.search import any_mdp, worst
from theory.strategies import Instance, examples, instances, measures, rngs

GAME = 1e-7
HIGHS = "HiGHS is feasible to 1e-7 in rows of size one and exact at the vertex it ends in; masses are 100 at most"


@examples(12)
@given(instances(max_states=4), st.data())
def test_the_value_is_that_of_a_matrix_game(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    """LPAL over the flow polytope against the game over its vertices, from both players' sides."""
    mdp, _, rho_E = instance
    rng = data.draw(rngs())
    F = rng.normal(size=(*mdp.shape, data.draw(st.integers(1, 4))))
    estimate = data.draw(st.booleans())  # from finite data: outside D, where the value may be positive
    target = rho_E * rng.uniform(0.5, 1.5, size=mdp.shape) if estimate else rho_E
    gaps = np.array([np.einsum("sa,sak->k", measure(mdp, pi) - target, F) for pi in deterministic_policies(mdp)])
    learner = _minimise_the_largest(gaps.T)
    adversary = -_minimise_the_largest(-gaps)
    found = om.lp.lpal(mdp, target, F)
    scale = target.sum() + 1 / (1 - mdp.gamma)
    for side, value in (("learner", learner), ("adversary", adversary)):
        check(
            statement="Eq 9",
            compared=f"the LP over D against the matrix game of the {side}, relative to the mass",
            deviation=abs(found.value - value) / scale,
            tolerance=GAME,
            because=HIGHS,
        )
    if not estimate:
        check(
            statement="Eq 9",
            compared="the value above 0 for a true rho_E (violation)",
            deviation=found.value / scale,
            tolerance=GAME,
            because=HIGHS,
        )


def _minimise_the_largest(rows: np.ndarray) -> float:
    """min over mixtures x of max_i rows[i].x."""
    m, n = rows.shape
    found = linprog(
        np.append(np.zeros(n), 1.0),
        A_ub=np.hstack([rows, -np.ones((m, 1))]),
        b_ub=np.zeros(m),
        A_eq=np.append(np.ones(n), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(None, None)],
        method="highs",
    )
    return float(found.fun)


@examples(30)
@given(instances(), st.data())
def test_the_loss_is_bounded_if_the_true_cost_is_in_the_class(
    check: Ledger, instance: Instance, data: st.DataObject
) -> None:
    """And by eps ||rho - rho_E||_1 more where it is eps away from it, entry by entry."""
    mdp, _, rho_E = instance
    rho, rng = data.draw(measures(mdp)), data.draw(rngs())
    F = rng.normal(size=(*mdp.shape, 3))
    w = rng.dirichlet(np.ones(3))
    eps = data.draw(st.sampled_from([0.0, 0.1, 1.0]))
    true = F @ w + eps * rng.choice([-1.0, 1.0], size=mdp.shape)
    loss = float(((rho - rho_E) * true).sum())
    classes = (Simplex(F), L2Ball(F), Box(float(np.abs(F).max())))
    worst = max(loss - eps * np.abs(rho - rho_E).sum() - psi.conjugate(rho - rho_E) for psi in classes)
    check(
        statement="Eq 9",
        compared="what the learner loses above delta_C* (violation)",
        deviation=worst / (rho.sum() * np.abs(true).max()),
        tolerance=1e-13,
        because="sums of at most 18 terms",
    )


@examples(3)
@given(st.sampled_from([0.5, 0.9]), rngs())
def test_a_search_for_the_worst_mdp_loses_no_more(check: Ledger, gamma: float, rng: np.random.Generator) -> None:
    """Over kernel, start, both policies, the features and the weights of a true cost in each class."""

    def above(*x: np.ndarray) -> float:
        rows, start, theta, theta_E, F, w = x
        mdp = any_mdp(rows, start, gamma)
        difference = measure(mdp, softmax(theta)) - measure(mdp, softmax(theta_E))
        inside = {
            Simplex(F): F @ softmax(w[None])[0],
            L2Ball(F): F @ (w / np.linalg.norm(w)),
            Box(1.0): np.tanh(F[..., 0]),
        }
        return (1 - gamma) * max(
            float((difference * true).sum() - psi.conjugate(difference)) / np.abs(true).max()
            for psi, true in inside.items()
        )

    check(
        statement="Eq 9",
        compared="what the learner loses above delta_C*, worst MDP found (violation)",
        deviation=worst(above, ((2, 2, 2), (2,), (2, 2), (2, 2), (2, 2, 2), (2,)), rng),
        tolerance=1e-13,
        because="sums of at most 18 terms",
    )

    def positive(*x: np.ndarray) -> float:
        rows, start, theta_E, F = x
        mdp = any_mdp(rows, start, gamma)
        return (1 - gamma) * om.lp.lpal(mdp, measure(mdp, softmax(theta_E)), F).value

    check(
        statement="Eq 9",
        compared="the value above 0 for a true rho_E, worst MDP found (violation)",
        deviation=worst(positive, ((2, 2, 2), (2,), (2, 2), (2, 2, 2)), rng, evaluations=80),
        tolerance=GAME,
        because=HIGHS,
    )


@examples(10)
@given(st.floats(0.0, 0.99), st.floats(0.1, 3.0))
def test_a_class_that_is_too_small_does_not_give_the_expert(check: Ledger, gamma: float, size: float) -> None:
    """Two rooms and two actions that move alike; the expert saves `size` a step by taking action 0."""
    P = np.zeros((2, 2, 2))
    P[0, :, 1] = P[1, :, 0] = 1.0
    mdp = om.MDP(P, [1.0, 0.0], gamma)
    true = np.array([[0.0, size], [0.0, size]])
    pi_E = om.rl(mdp, true, lam=0.0).pi
    rho_E = om.occupancy(mdp, pi_E)
    rooms = np.repeat(np.eye(2)[:, None], 2, axis=1)  # [S, A, K]: which room
    for psi in (L2Ball(rooms), Simplex(rooms)):
        found = om.match(mdp, rho_E, psi)
        rho = series_occupancy(mdp, found.pi)
        check(
            statement="Eq 9",
            compared="a class that is too small: value reached against 0",
            deviation=abs(psi.divergence(rho, rho_E)) * (1 - gamma),
            tolerance=1e-12,
            because="a series of 3700 terms",
        )
        check(
            statement="Eq 9",
            compared="a class that is too small: policy against the uniform one, and so not the expert's",
            deviation=apart(found.pi, np.full((2, 2), 0.5)),
            tolerance=1e-7,
            because="the program is flat in second order there: half the digits",
        )
        check(
            statement="Eq 9",
            compared="a class that is too small: loss against size / (2 (1 - gamma))",
            deviation=apart(float(((rho - rho_E) * true).sum()), 0.5 * size / (1 - gamma)),
            tolerance=1e-7,
            because="linear in the policy",
        )
    matched = om.match(mdp, rho_E, Simplex(np.stack([true, -true], axis=2)), lam=0.0)
    check(
        statement="Eq 9",
        compared="the class with the true cost in it: loss against 0",
        deviation=abs(float(((matched.rho - rho_E) * true).sum())) * (1 - gamma) / size,
        tolerance=1e-6,
        because="Clarabel's feasibility of 1e-8 relative to costs",
    )
