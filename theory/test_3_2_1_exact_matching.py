"""Corollary 3.2.1 and Equation 7: with psi constant, IRL is the dual of matching exactly.

If psi is constant, c~ in IRL_psi(pi_E) and pi~ in RL(c~), then rho_pi~ = rho_E. The reason is Lagrangian: IRL is the
dual of

    min_{rho in D} -lam Hbar(rho)    subject to    rho(s, a) = rho_E(s, a) for all s, a,                        (Eq 7)

the cost c(s, a) being the multiplier of the constraint at (s, a); a dual optimum is an optimal cost, and the primal
optimum, which is rho_E itself, belongs to the recovered policy. The dual function and its gradient are

    G(c) = p0.V_c - <rho_E, c>,      dG/dc = rho_{pi_c} - rho_E,

so that inner-loop IRL (solve RL, compare visits, move the cost) is gradient ascent on G.

Source: Ho & Ermon (2016), Section 3, Cor 3.2.1 and Eq 7. The optimal costs in closed form are caveat 4's.
"""

import cvxpy as cp
import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize

import occmatch as om
from occmatch.matching_exact import exact
from occmatch.regularisers import Constant
from theory.ledger import Ledger
from theory.oracles import flow, kernel, series_occupancy, soft_policy, soft_value
from theory.plain import conic
from theory.strategies import Instance, costs, examples, positive_instances, rngs

LAMS = st.sampled_from([0.3, 1.0])
GAMMAS = st.sampled_from([0.0, 0.5, 0.9])

MATCHED = 1e-6
PROGRAM = "Clarabel's cost is off by 1e-8 relative, and the policy is smooth in it"

DUAL = 1e-11
ROUNDING = "value iteration and a linear solve, both to rounding, in units of (1 + lam) / (1 - gamma)"

SECANT = 1e-6
CENTRAL = "central differences of step 1e-4: truncation 1e-8 times a third derivative of up to 1e2, rounding 1e-11"

MULTIPLIER = 1e-3
CONIC = "multipliers of exponential cones are good to about the root of Clarabel's 1e-8: ten times that"


def dual(mdp: om.MDP, rho_E: np.ndarray, c: np.ndarray, lam: float) -> float:
    return float(mdp.p0 @ soft_value(mdp, c, lam)) - float((rho_E * c).sum())


@examples(15)
@given(positive_instances(max_states=5), LAMS, st.sampled_from(["program", "newton"]))
def test_the_learner_has_the_measure_of_the_expert(check: Ledger, instance: Instance, lam: float, method: str) -> None:
    mdp, _, rho_E = instance
    cost = om.irl(mdp, rho_E, Constant(), lam, method).cost
    rho = series_occupancy(mdp, soft_policy(mdp, cost, lam))
    check(
        statement="Cor 3.2.1",
        compared="measure of RL(IRL(pi_E)) against rho_E, share of the mass",
        deviation=np.abs(rho - rho_E).sum() * (1.0 - mdp.gamma),
        tolerance=MATCHED,
        because=PROGRAM,
    )


@examples(30)
@given(positive_instances(), LAMS, st.data())
def test_every_cost_is_below_the_primal_and_the_log_policy_reaches_it(
    check: Ledger, instance: Instance, lam: float, data: st.DataObject
) -> None:
    mdp, pi_E, rho_E = instance
    size = (1.0 + lam) / (1.0 - mdp.gamma)
    primal = -lam * om.causal_entropy(rho_E)
    terms = {"statement": "Eq 7", "tolerance": DUAL, "because": ROUNDING}
    below = dual(mdp, rho_E, data.draw(costs(mdp, 3.0)), lam) - primal
    check(**terms, compared="G(c) <= -lam Hbar(rho_E) (violation)", deviation=below / size)
    at = dual(mdp, rho_E, -lam * np.log(pi_E), lam)
    check(**terms, compared="G(-lam log pi_E) against -lam Hbar(rho_E)", deviation=abs(at - primal) / size)
    at = dual(mdp, rho_E, exact(mdp, Constant(), rho_E, lam).cost, lam)
    check(**terms, compared="G(cost of the exact match) against -lam Hbar(rho_E)", deviation=abs(at - primal) / size)


@examples(8)
@given(positive_instances(max_states=3, least=2, gammas=GAMMAS), LAMS)
def test_multipliers_of_the_constraints_are_an_optimal_cost(check: Ledger, instance: Instance, lam: float) -> None:
    mdp, pi_E, rho_E = instance
    rho = cp.Variable(mdp.shape, nonneg=True)
    d = cp.sum(rho, axis=1, keepdims=True) @ np.ones((1, mdp.A))
    matched = rho == rho_E
    in_D = flow(mdp) @ cp.vec(rho, order="C") == mdp.p0
    problem = cp.Problem(cp.Minimize(lam * cp.sum(cp.rel_entr(rho, d))), [in_D, matched])
    assume(conic(problem))  # one answer in some 800 Clarabel calls inaccurate itself
    cost = matched.dual_value
    terms = {"statement": "Eq 7", "tolerance": MULTIPLIER, "because": CONIC}
    off = np.abs(soft_policy(mdp, cost, lam) - pi_E).max()
    check(**terms, compared="RL(multipliers of rho = rho_E) against pi_E", deviation=off)
    gap = -lam * om.causal_entropy(rho_E) - dual(mdp, rho_E, cost, lam)
    check(**terms, compared="G(multipliers) against the primal", deviation=abs(gap) * (1.0 - mdp.gamma))


@examples(10)
@given(positive_instances(max_states=4, gammas=GAMMAS), LAMS, st.data(), rngs())
def test_the_gradient_of_the_dual_is_the_difference_of_visits(
    check: Ledger, instance: Instance, lam: float, data: st.DataObject, rng: np.random.Generator
) -> None:
    mdp, _, rho_E = instance
    cost, towards = data.draw(costs(mdp)), rng.normal(size=mdp.shape)
    h = 1e-4
    slope = (dual(mdp, rho_E, cost + h * towards, lam) - dual(mdp, rho_E, cost - h * towards, lam)) / (2.0 * h)
    gradient = om.rl(mdp, cost, lam).rho - rho_E
    check(
        statement="Eq 7",
        compared="secant of G against <rho_c - rho_E, direction>",
        deviation=abs(slope - (gradient * towards).sum()) * (1.0 - mdp.gamma) ** 2,
        tolerance=SECANT,
        because=CENTRAL,
    )


@examples(15)
@given(positive_instances(), LAMS)
def test_the_first_step_of_ascent_is_along_that_gradient(check: Ledger, instance: Instance, lam: float) -> None:
    mdp, _, rho_E = instance
    cost = om.irl(mdp, rho_E, Constant(), lam, "ascent", max_iter=1, momentum=False).cost
    gradient = series_occupancy(mdp, np.full(mdp.shape, 1.0 / mdp.A)) - rho_E  # at c = 0 the learner is uniform
    size = np.linalg.norm(gradient)
    assume(size > 1e-3)
    check(
        statement="Section 3",
        compared="direction of the first step of ascent against rho_0 - rho_E",
        deviation=np.abs(cost / np.linalg.norm(cost) - gradient / size).max(),
        tolerance=1e-9,
        because="a power series to 1e-12 of the mass, 100, over a gradient of at least 1e-3",
    )


@examples(3)
@given(positive_instances(max_states=2, max_actions=2, least=2, gammas=st.just(0.5)), rngs())
def test_a_search_over_costs_reaches_the_primal_and_not_more(
    check: Ledger, instance: Instance, rng: np.random.Generator
) -> None:
    mdp, _, rho_E = instance
    start = rng.normal(size=mdp.S * mdp.A)
    found = minimize(lambda x: -dual(mdp, rho_E, x.reshape(mdp.shape), 1.0), start, method="BFGS")
    check(
        statement="Eq 7",
        compared="largest G that a search over costs finds against -Hbar(rho_E)",
        deviation=abs(-found.fun + om.causal_entropy(rho_E)),
        tolerance=1e-8,
        because="BFGS ends at gradient 1e-5, and the value is of second order in it",
    )


@examples(10)
@given(positive_instances(max_states=4, gammas=GAMMAS))
def test_plain_dual_ascent_rises_to_the_primal(check: Ledger, instance: Instance) -> None:
    mdp, _, rho_E = instance
    P, cost, value = kernel(mdp), np.zeros(mdp.shape), dual(mdp, rho_E, np.zeros(mdp.shape), 1.0)
    first = -om.causal_entropy(rho_E) - value
    step = 1.0 - mdp.gamma
    for _ in range(30):
        V = soft_value(mdp, cost, 1.0)
        pi = np.exp(V[:, None] - cost - mdp.gamma * (P @ V))
        new = cost + step * (series_occupancy(mdp, pi / pi.sum(axis=1, keepdims=True)) - rho_E)
        after = dual(mdp, rho_E, new, 1.0)
        if after < value:
            step *= 0.5
            continue
        cost, value = new, after
    left = -om.causal_entropy(rho_E) - value
    check(
        statement="Cor 3.2.1",
        compared="gap left by 30 steps of ascent against half the first one (violation)",
        deviation=(left - 0.5 * first) * (1.0 - mdp.gamma),
        tolerance=DUAL,
        because=ROUNDING,
    )
    check(
        statement="Cor 3.2.1",
        compared="ascent above the primal (violation)",
        deviation=-left * (1.0 - mdp.gamma),
        tolerance=DUAL,
        because=ROUNDING,
    )
