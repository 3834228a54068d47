"""Matching by linear programs, without entropy: against cvxpy's forms of psi and networkx's minimum-cost flow."""

from itertools import product

import networkx as nx
import numpy as np
import pytest
from corner_mdps import deterministic_policy
from lp_checks import CLARABEL, GAP, MDPS, certified, close, closed, cost_of, expert_of, program

from occmatch import MDP, Infeasible, cvx, examples, lp, occupancy
from occmatch.regularisers import Box, FDivergence, Lipschitz, Simplex, transition_metric
from occmatch.regularisers.registered import example_features


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


@pytest.mark.parametrize("solver", lp.SOLVERS)
def test_transitions_too_rare_for_highs_lose_no_mass(solver: str) -> None:
    """HiGHS leaves out coefficients below 1e-9; the mass of a measure then missed that of the expert by 5e-6."""
    rare = np.array([[[1.0 - 5e-10, 5e-10], [1.0 - 1e-9, 1e-9]], [[0.0, 1.0], [0.0, 1.0]]])
    mdp = MDP(rare, [1.0, 0.0], 0.99)
    rho_E = occupancy(mdp, np.full((2, 2), 0.5))
    found = lp.match_wasserstein(mdp, rho_E, transition_metric(mdp), solver=solver)
    assert 0.0 <= found.value <= 1e-6 * rho_E.sum() and found.bound <= 1e-9
    dual = lp.optimal_control_dual(mdp, [[1.0, 1.0], [0.0, 0.0]], solver=solver)
    assert dual.value == pytest.approx(100.0, rel=1e-4) and dual.value - dual.bound <= 1e-6 * dual.value
