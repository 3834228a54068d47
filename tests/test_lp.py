"""Occupancy LPs of control against policy iteration, cvxpy's form and enumeration, with and without budgets."""

import re
from itertools import product

import cvxpy as cp
import numpy as np
import pytest
from lp_checks import CLARABEL, GAP, MDPS, close, closed, cost_of, expert_of, program

from occmatch import Candidate, Infeasible, examples, lp, occupancy, rl
from occmatch.regularisers.registered import example_features


@pytest.mark.parametrize("name", MDPS)
@pytest.mark.parametrize("scale", [1.0, 1e6, 1e-6])
def test_control_agrees_with_policy_iteration_from_both_sides(name: str, scale: float) -> None:
    mdp = MDPS[name]
    cost = scale * cost_of(mdp)
    oracle = rl(mdp, cost, lam=0)
    for solver in (lp.optimal_control, lp.optimal_control_dual):
        found = solver(mdp, cost)
        closed(mdp, found)
        size = np.abs(oracle.V).max()
        assert abs(found.value - mdp.p0 @ oracle.V) <= GAP * size
        assert abs(found.bound - mdp.p0 @ oracle.V) <= GAP * size
        # No budgets, no randomisation: a vertex of D is the measure of a deterministic policy.
        assert (np.count_nonzero(found.rho, axis=1) <= 1)[found.rho.sum(axis=1) > GAP].all()
        # V <= V* for every feasible V, with equality on average under p0.
        assert (found.V <= oracle.V + GAP * size).all()


@pytest.mark.parametrize("side", [lp.optimal_control, lp.optimal_control_dual])
@pytest.mark.parametrize("scale", [1e9, 1e-9, 1e-12, 1e-100])
@pytest.mark.parametrize(
    ("penalty", "solver"), [(1.0, "simplex"), (1e12, "simplex"), (1.0, "interior"), (1e9, "interior")]
)
def test_no_tolerance_is_wider_than_the_costs_that_matter(side, scale: float, penalty: float, solver: str) -> None:
    """HiGHS's tolerances are absolute, on the costs themselves or on costs over the largest of them."""
    mdp = examples.garnet(8, 3, 4, 0.9, np.random.default_rng(6))
    cost = scale * np.where(np.arange(3) == 2, penalty, cost_of(mdp))
    found, optimum = side(mdp, cost, solver=solver), mdp.p0 @ rl(mdp, cost, lam=0).V
    assert found.value == pytest.approx(optimum, rel=1e-7, abs=0)
    assert found.bound == pytest.approx(optimum, rel=1e-7, abs=0)


@pytest.mark.parametrize("name", MDPS)
def test_vertices_give_policies_that_are_optimal_from_every_state(name: str) -> None:
    mdp = MDPS[name]
    cost = cost_of(mdp, 2)
    pi = lp.deterministic_policy(mdp, cost)
    assert sorted(np.unique(pi)) in ([0.0, 1.0], [1.0]) and (pi.sum(axis=1) == 1).all()
    oracle = rl(mdp, cost, lam=0).V
    kernel = np.einsum("sa,sat->st", pi, mdp.P.toarray().reshape(*mdp.shape, mdp.S))
    V = np.linalg.solve(np.eye(mdp.S) - mdp.gamma * kernel, (pi * cost).sum(axis=1))
    assert np.abs(V - oracle).max() <= GAP * np.abs(oracle).max()


def test_ties_still_end_at_a_vertex() -> None:
    """Two shortest ways almost everywhere: the optimal face is large, and only its vertices are deterministic."""
    mdp = examples.gridworld(5, slip=0.0, gamma=0.9)
    cost = examples.gridworld_cost(mdp)
    found, oracle = lp.optimal_control(mdp, cost), rl(mdp, cost, lam=0)
    tied = cost + mdp.gamma * mdp.expect(oracle.V) <= oracle.V[:, None] + GAP
    assert (tied.sum(axis=1) > 1).sum() >= mdp.S // 2
    assert (np.count_nonzero(found.rho, axis=1) == 1).all()
    assert tied[lp.deterministic_policy(mdp, cost) > 0].all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_budgets_bind_are_priced_and_randomise_in_few_states(count: int) -> None:
    mdp, rng = examples.garnet(15, 3, 3, 0.9, np.random.default_rng(4)), np.random.default_rng(5)
    cost = cost_of(mdp)
    inside, free = expert_of(mdp), lp.optimal_control(mdp, cost)
    budgets = []
    for _ in range(count):  # between the value of a policy that meets them all and that of the best one
        d = rng.normal(size=mdp.shape)
        d *= np.sign(np.vdot(free.rho - inside, d))
        budgets.append((d, 0.8 * float(np.vdot(inside, d)) + 0.2 * float(np.vdot(free.rho, d))))
    oracle = program(mdp, lambda rho: (cp.sum(cp.multiply(cost, rho)), []), budgets)
    for solver in (lp.optimal_control, lp.optimal_control_dual):
        found = solver(mdp, cost, budgets=budgets)
        closed(mdp, found, tuple(budgets))
        assert close(found.value, oracle, CLARABEL) and found.value > free.value + 0.1
        assert found.prices.max() > 0
        assert (np.count_nonzero(found.rho, axis=1) - 1).sum() <= count
        # The price is what a little more budget saves: a difference quotient within one basis is exact.
        k, step = int(found.prices.argmax()), 1e-6
        wider = [(d, b + step * (i == k)) for i, (d, b) in enumerate(budgets)]
        saved = found.value - solver(mdp, cost, budgets=wider).value
        assert abs(saved / step - found.prices[k]) <= 1e-4 * found.prices[k]


def test_budgets_scale_with_their_units_and_slack_ones_cost_nothing() -> None:
    mdp = examples.river_swim()
    cost, d = examples.river_swim_cost(), np.ones((6, 2)) * [0.0, 1.0]  # swimming right is tiring
    free = lp.optimal_control(mdp, cost)
    slack = lp.optimal_control(mdp, cost, budgets=[(d, 21.0), (np.zeros((6, 2)), 0.0)])
    assert close(slack.value, free.value, GAP) and (slack.prices == 0).all()
    one = lp.optimal_control(mdp, cost, budgets=[(d, 7.0)])
    many = lp.optimal_control(mdp, cost, budgets=[(1e5 * d, 7e5)])
    assert close(one.value, many.value, GAP) and close(one.prices[0], 1e5 * many.prices[0], GAP)
    assert one.value > free.value + 0.1


def test_impossible_budgets_are_a_typed_result_with_their_excess() -> None:
    mdp = MDPS["garnet"]
    d, rho_E = cost_of(mdp, 3), expert_of(mdp)
    least = lp.optimal_control(mdp, d).value
    missing = 0.5
    budgets = [(d, least - missing)]
    answers = [
        lp.optimal_control(mdp, cost_of(mdp), budgets=budgets),
        lp.optimal_control_dual(mdp, cost_of(mdp), budgets=budgets),
        lp.lpal(mdp, rho_E, example_features(mdp), budgets=budgets),
        lp.match_l1(mdp, rho_E, budgets=budgets),
    ]
    for answer in answers:
        assert isinstance(answer, Infeasible)
        assert "budget" in answer.message
    # The relaxed program leaves d short by what is missing, in units of the largest coefficient of d.
    for answer in answers[:2]:
        assert close(answer.excess, missing / np.abs(d).max(), GAP)
    touched = lp.optimal_control(mdp, cost_of(mdp), budgets=[(d, least + GAP)])
    assert close(np.vdot(touched.rho, d), least, 1e-6)


def test_smallest_tables_by_enumeration_of_deterministic_policies() -> None:
    mdp = examples.garnet(4, 3, 2, 0.8, np.random.default_rng(11))
    cost = cost_of(mdp, 12)
    values = [np.vdot(occupancy(mdp, np.eye(3)[list(acts)]), cost) for acts in product(range(3), repeat=4)]
    assert close(lp.optimal_control(mdp, cost).value, min(values), GAP)


def test_solutions_are_candidates_without_entropy() -> None:
    mdp = MDPS["garnet"]
    found = lp.match_l1(mdp, expert_of(mdp)).candidate
    assert isinstance(found, Candidate) and found.lam == 0 and found.method == "l1 matching (simplex)"


GARNET = MDPS["garnet"]
WRONG = {
    "cost of another shape": (lambda: lp.optimal_control(GARNET, np.zeros((4, 20))), "cost must have shape (20, 4)"),
    "cost with nan": (lambda: lp.optimal_control_dual(GARNET, np.full((20, 4), np.nan)), "cost[0, 0] must be finite"),
    "policy's cost": (lambda: lp.deterministic_policy(GARNET, np.zeros(3)), "cost must have shape (20, 4)"),
    "no pair": (lambda: lp.optimal_control(GARNET, np.zeros((20, 4)), budgets=[3.0]), "budgets[0] must be a pair"),
    "no budgets": (lambda: lp.optimal_control(GARNET, np.zeros((20, 4)), budgets=None), "budgets must be pairs (d, b)"),
    "budget's shape": (
        lambda: lp.optimal_control(GARNET, np.zeros((20, 4)), budgets=[(np.zeros((20, 4)), 1.0), (np.zeros(3), 1.0)]),
        "budgets[1][0] must have shape (20, 4)",
    ),
    "budget's limit": (
        lambda: lp.optimal_control(GARNET, np.zeros((20, 4)), budgets=[(np.zeros((20, 4)), np.inf)]),
        "budgets[0][1] must be finite, but is inf",
    ),
    "negative measure": (lambda: lp.match_l1(GARNET, -np.ones((20, 4))), "rho_E[0, 0] must be at least 0, but is -1"),
    "bound": (lambda: lp.match_l1(GARNET, np.ones((20, 4)), bound=0), "bound must be positive, but is 0"),
    "features": (
        lambda: lp.lpal(GARNET, np.ones((20, 4)), np.ones((4, 20, 2))),
        "features must have shape (20, 4, K), but has shape (4, 20, 2)",
    ),
    "metric": (
        lambda: lp.match_wasserstein(GARNET, np.ones((20, 4)), np.ones((3, 3)) - np.eye(3)),
        "metric must have a row for each of the 80 pairs, but has 3",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named(name: str) -> None:
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
