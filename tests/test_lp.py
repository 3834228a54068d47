"""Occupancy LPs against policy iteration, cvxpy's forms of psi, enumeration, and networkx's minimum-cost flow."""

import re
from itertools import product

import cvxpy as cp
import networkx as nx
import numpy as np
import pytest
from corner_mdps import corner_mdps, deterministic_policy, random_policy

from occmatch import MDP, Candidate, Infeasible, certify, cvx, examples, flow_matrix, flow_residual, lp, occupancy, rl
from occmatch.regularisers import Box, FDivergence, Lipschitz, Simplex, transition_metric
from occmatch.regularisers.registered import example_features

MDPS = corner_mdps()

# HiGHS is asked for feasibility to 1e-10; both sides then move to points that are feasible to rounding, and what is
# left is the basis solve: 1e-12 of the value, which grows like the condition number 1/(1-gamma) <= 1e4 at most.
GAP = 1e-8

# Clarabel stops at relative gaps of 1e-8 of sums that are up to 10 times the value.
CLARABEL = 1e-6


def cost_of(mdp: MDP, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=mdp.shape)


def expert_of(mdp: MDP, seed: int = 1) -> np.ndarray:
    return occupancy(mdp, random_policy(mdp, np.random.default_rng(seed)))


def closed(mdp: MDP, found: lp.Solution, budgets: tuple = ()) -> None:
    """bound <= optimum <= value meet, rho is in D and within its budgets, and V is feasible in the dual."""
    scale = max(1.0, abs(found.value), np.abs(found.V).max())
    assert abs(found.value - found.bound) <= GAP * scale
    assert (found.rho >= 0).all() and np.abs(flow_residual(mdp, found.rho)).max() <= GAP / (1 - mdp.gamma)
    priced = found.cost + sum((y * d for y, (d, _) in zip(found.prices, budgets, strict=True)), np.zeros(mdp.shape))
    assert (priced + mdp.gamma * mdp.expect(found.V) - found.V[:, None]).min() >= -GAP * scale
    assert (found.prices >= 0).all()
    for d, b in budgets:
        assert np.vdot(found.rho, d) <= b + GAP * max(1.0, np.abs(d * found.rho).sum())


def certified(mdp: MDP, rho_E: np.ndarray, psi, found: lp.Solution) -> None:
    """The certificate's gap, as a share of the terms it sums: the optimum itself may be zero."""
    judged = certify(mdp, rho_E, psi, found.candidate)
    assert -judged.rounding <= judged.gap <= GAP * max(1.0, np.abs(found.V).max())
    assert max(judged.flow_residual, judged.moved) <= GAP


def program(mdp: MDP, objective, extra=()) -> float:
    """min objective(rho) over D by Clarabel: another formulation, another solver."""
    rho = cp.Variable(mdp.shape, nonneg=True)
    value, constraints = objective(rho)
    flow = flow_matrix(mdp) @ cp.vec(rho, order="C") == mdp.p0
    limits = [cp.sum(cp.multiply(d, rho)) <= b for d, b in extra]
    problem = cp.Problem(cp.Minimize(value), [*constraints, flow, *limits])
    return float(problem.solve(solver=cp.CLARABEL))


def close(a: float, b: float, tolerance: float) -> bool:
    return abs(a - b) <= tolerance * max(1.0, abs(a), abs(b))


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


@pytest.mark.parametrize("name", ["one state", "one action", "gamma 0", "unreachable states", "chain", "garnet"])
@pytest.mark.parametrize("indicators", [False, True])
def test_lpal_is_matching_for_the_simplex_without_entropy(name: str, indicators: bool) -> None:
    mdp = MDPS[name]
    features = None if indicators else 3 * example_features(mdp)
    psi = Simplex(features)
    off_D = expert_of(mdp) + 0.3 * np.random.default_rng(6).random(mdp.shape)
    for rho_E in (expert_of(mdp), off_D):
        found = lp.lpal(mdp, rho_E, features)
        closed(mdp, found)
        assert close(found.value, program(mdp, lambda rho, rho_E=rho_E: cvx.conjugate(psi, rho, rho_E)), CLARABEL)
        assert psi.value(found.cost) == 0
        certified(mdp, rho_E, psi, found)


def test_lpal_beats_an_expert_that_is_dominated() -> None:
    """Staying in state 0 costs 1 a step under each feature; moving at once is best: the gap is negative by hand."""
    mdp = examples.two_state_chain(gamma=0.5)
    cost = np.array([[1.0, 1.0], [0.0, 0.0]])
    stays = occupancy(mdp, np.array([[1.0, 0.0], [1.0, 0.0]]))
    found = lp.lpal(mdp, stays, np.stack([cost, 2 * cost], axis=2))
    # Expert: 1 / (1 - 1/2) = 2.  Learner: one step, 1.  The larger of the gaps -1 and -2 is -1.
    assert close(found.value, -1.0, GAP) and close(found.bound, -1.0, GAP)


@pytest.mark.parametrize("name", ["one state", "gamma 0", "unreachable states", "slippery grid", "garnet"])
def test_l1_matching_is_twice_total_variation(name: str) -> None:
    mdp = MDPS[name]
    rho_E = expert_of(mdp) * (0.2 + np.random.default_rng(7).random(mdp.shape))
    found = lp.match_l1(mdp, rho_E, bound=2.5)
    closed(mdp, found)
    tv = FDivergence("tv", rho_E)
    assert close(found.value, 5 * program(mdp, lambda rho: cvx.conjugate(tv, rho, rho_E)), CLARABEL)
    assert close(found.value, 2.5 * np.abs(found.rho - rho_E).sum(), GAP)
    certified(mdp, rho_E, Box(2.5), found)


def test_matching_an_expert_in_D_is_exact() -> None:
    for mdp in (MDPS["garnet"], MDPS["slippery grid"], MDPS["gamma 0.9999"]):
        for rho_E in (expert_of(mdp), occupancy(mdp, deterministic_policy(mdp, np.random.default_rng(8)))):
            for found in (lp.match_l1(mdp, rho_E), lp.match_wasserstein(mdp, rho_E, transition_metric(mdp))):
                assert np.abs(found.rho - rho_E).max() <= GAP * rho_E.max()
                assert abs(found.value) <= GAP * rho_E.sum()


@pytest.mark.parametrize("name", ["gamma 0", "chain", "garnet", "slippery grid"])
def test_wasserstein_matching_under_budgets(name: str) -> None:
    """A budget keeps the learner from the expert: by how far is what Clarabel says of the cvxpy form."""
    mdp = MDPS[name]
    rho_E, metric = expert_of(mdp), transition_metric(mdp, switch=0.7)
    psi, d = Lipschitz(metric), cost_of(mdp, 9)
    least = lp.optimal_control(mdp, d).value
    budgets = [(d, 0.5 * (least + float(np.vdot(rho_E, d))))]
    found = lp.match_wasserstein(mdp, rho_E, metric, budgets=budgets)
    closed(mdp, found, tuple(budgets))
    assert found.value > 1e-3 and found.prices[0] > 0 and psi.value(found.cost) == 0
    assert close(found.value, program(mdp, lambda rho: cvx.conjugate(psi, rho, rho_E), budgets), CLARABEL)
    assert close(found.value, psi.divergence(found.rho, rho_E), GAP)


def test_wasserstein_matching_by_minimum_cost_flow() -> None:
    """gamma = 0 and three states: D is p0(s) in each row, and networkx moves integer masses along integer lengths."""
    mdp = examples.garnet(3, 2, 2, 0.0, np.random.default_rng(10))
    mdp = MDP(mdp.P, [0.5, 0.3, 0.2], 0.0)
    rho_E = np.array([[0.1, 0.1], [0.2, 0.1], [0.0, 0.5]])
    lengths = np.array(
        [
            [0, 3, 4, 9, 5, 8],
            [3, 0, 6, 2, 7, 4],
            [4, 6, 0, 1, 3, 9],
            [9, 2, 1, 0, 6, 5],
            [5, 7, 3, 6, 0, 2],
            [8, 4, 9, 5, 2, 0],
        ]
    )
    graph = nx.DiGraph()
    for k, mass in enumerate(np.rint(10 * rho_E).astype(int).ravel()):
        graph.add_node(k, demand=-int(mass))
        graph.add_edge(k, f"state {k // 2}", weight=0)
    for s, mass in enumerate((5, 3, 2)):
        graph.add_node(f"state {s}", demand=mass)
    for i, j in product(range(6), repeat=2):
        if i != j:
            graph.add_edge(i, j, weight=int(lengths[i, j]))
    found = lp.match_wasserstein(mdp, rho_E, lengths)
    assert close(found.value, nx.min_cost_flow_cost(graph) / 10, GAP) and found.value > 0.1
    certified(mdp, rho_E, Lipschitz(lengths), found)


def test_masses_that_cannot_be_moved_are_infeasible() -> None:
    mdp = MDPS["garnet"]
    rho_E = expert_of(mdp)
    found = lp.match_wasserstein(mdp, 0.5 * rho_E, transition_metric(mdp))
    assert isinstance(found, Infeasible) and "masses" in found.message
    # Half the mass of 20 is missing and no edge brings it.
    assert close(found.excess, 10.0, GAP)


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
        "features must have shape (20, 4, 'K'), but has shape (4, 20, 2)",
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
