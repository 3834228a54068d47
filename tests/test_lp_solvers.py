"""Linear programs by each solver: one value, honest residuals, and Ctrl-C."""

import threading

import numpy as np
import pytest
from lp_checks import MDPS, certified, closed, cost_of, expert_of

from occmatch import MDP, Infeasible, examples, flow_residual, lp, lp_highs, rl
from occmatch.regularisers import Box, Lipschitz, transition_metric

# Interior point and PDLP stop at residuals of 1e-8 of the right-hand sides, which 1/(1-gamma) <= 20 amplifies; what
# `Solution` claims after its own repair of rho and V is their effect on the value, of first order in them.
ROUGH = 1e-5

NAMES = ["one state", "one action", "gamma 0", "unreachable states", "slippery grid", "garnet"]


def near(a: float, b: float) -> bool:
    return abs(a - b) <= ROUGH * max(1.0, abs(a), abs(b))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("solver", ["interior", "pdlp", "policy"])
def test_control_by_every_solver_is_that_of_the_simplex_method(name: str, solver: str) -> None:
    mdp = MDPS[name]
    cost = cost_of(mdp)
    vertex, found = lp.optimal_control(mdp, cost, solver="simplex"), lp.optimal_control(mdp, cost, solver=solver)
    assert near(found.value, vertex.value)
    # Whatever the solver claimed, these two are bounds.
    assert found.bound <= vertex.value + 1e-9 and vertex.bound <= found.value + 1e-9
    assert near(found.value, found.bound) and found.flow_residual <= ROUGH
    assert np.abs(flow_residual(mdp, found.rho)).max() <= 1e-9 and solver in found.method
    if solver == "policy":
        closed(mdp, found)
        assert (np.count_nonzero(found.rho, axis=1) <= 1).all()


@pytest.mark.parametrize("solver", ["interior", "pdlp"])
def test_budgets_and_matching_by_every_solver(solver: str) -> None:
    mdp = MDPS["garnet"]
    rho_E = expert_of(mdp) * (0.2 + np.random.default_rng(7).random(mdp.shape))
    d = cost_of(mdp, 3)
    least = lp.optimal_control(mdp, d).value
    budgets = [(d, least + 1.0)]
    calls = {
        "control": lambda s: lp.optimal_control(mdp, cost_of(mdp), budgets=budgets, solver=s),
        "dual": lambda s: lp.optimal_control_dual(mdp, cost_of(mdp), budgets=budgets, solver=s),
        "LPAL": lambda s: lp.lpal(mdp, rho_E, solver=s),
        "l1": lambda s: lp.match_l1(mdp, rho_E, solver=s),
    }
    for name, call in calls.items():
        vertex, found = call("simplex"), call(solver)
        assert near(found.value, vertex.value) and near(found.bound, vertex.value), name
        assert found.excess <= ROUGH and solver in found.method
    psi = Box()
    found = calls["l1"](solver)
    assert found.value == pytest.approx(psi.divergence(found.rho, rho_E), rel=1e-12)


@pytest.mark.parametrize("solver", ["interior", "pdlp"])
def test_a_program_without_a_solution_is_typed_by_every_solver(solver: str) -> None:
    mdp = MDPS["garnet"]
    d = cost_of(mdp, 3)
    budgets = [(d, lp.optimal_control(mdp, d).value - 0.5)]
    found = lp.optimal_control(mdp, cost_of(mdp), budgets=budgets, solver=solver)
    assert isinstance(found, Infeasible) and found.excess > 0.0
    moved = lp.match_wasserstein(mdp, 0.5 * expert_of(mdp), transition_metric(mdp), solver=solver)
    assert isinstance(moved, Infeasible)


def test_large_control_is_by_policy_iteration_unless_a_budget_stands_in_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mdp = examples.garnet(15, 3, 3, 0.9, np.random.default_rng(4))
    cost = cost_of(mdp)
    assert "simplex" in lp.optimal_control(mdp, cost).method
    monkeypatch.setattr(lp, "LARGE", mdp.S * mdp.A)
    found = lp.optimal_control(mdp, cost)
    assert "policy iteration" in found.method and found.iterations > 0
    assert found.value == pytest.approx(float(mdp.p0 @ rl(mdp, cost, 0.0).V), rel=1e-12)
    assert "simplex" in lp.optimal_control(mdp, cost, budgets=[(cost, 1e3)]).method


def test_a_budget_that_the_repaired_measure_exceeds_is_reported() -> None:
    """A solver that ends 1e-3 short of a budget: rho goes back to D, and with it over the budget."""
    mdp = MDPS["garnet"]
    rho = expert_of(mdp)
    d = np.ones(mdp.shape)
    limits = lp.Limits.of(mdp, [(d, float(rho.sum()) - 1e-3)])
    claimed = lp.Vertex((rho * (1 - 1e-3)).ravel(), 0.0, np.zeros(mdp.S), np.zeros(0), np.zeros(1), 1)
    found = lp.finish(mdp, limits, claimed, claimed.x, np.zeros(mdp.S), np.zeros(1), cost_of(mdp), "short", 0.0)
    assert found.excess == pytest.approx(1e-3, rel=1e-6)
    # All of the mass is missing a share of 1e-3 of itself: (1 - gamma) sum |M (1e-3 rho)| = 1e-3 (1 - gamma) sum p0.
    assert found.flow_residual == pytest.approx(1e-3 * (1 - mdp.gamma), rel=1e-6)


def test_an_answer_of_pdlp_is_certified_for_what_it_is() -> None:
    mdp = MDPS["garnet"]
    rho_E = expert_of(mdp) * 1.2
    found = lp.match_l1(mdp, rho_E, solver="simplex")
    certified(mdp, rho_E, Box(), found)
    rough = lp.match_l1(mdp, rho_E, solver="pdlp")
    assert near(rough.value, found.value)


def test_wrong_solvers_are_named() -> None:
    mdp = MDPS["garnet"]
    with pytest.raises(ValueError, match="solver must be one of simplex, interior, pdlp, but is 'cplex'"):
        lp.match_l1(mdp, np.ones(mdp.shape), solver="cplex")
    with pytest.raises(ValueError, match=r"solver must be one of .* where there are budgets, but is 'policy'"):
        lp.optimal_control(mdp, cost_of(mdp), budgets=[(cost_of(mdp), 1.0)], solver="policy")


def test_interruption_stops_highs_and_reaches_the_caller() -> None:
    """A stand-in for HiGHS that runs until it is cancelled, and a Ctrl-C that comes while Python waits for it."""

    class Endless:
        def __init__(self) -> None:
            self.stopped = threading.Event()

        def run(self) -> None:
            assert self.stopped.wait(30.0)

        def cancelSolve(self) -> None:
            self.stopped.set()

    highs = Endless()
    joins = threading.Thread.join

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        if timeout is not None:
            raise KeyboardInterrupt
        joins(thread)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lp_highs._run(highs)
    assert highs.stopped.is_set()


def test_pdlp_ends_where_it_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    mdp = MDP(np.eye(3)[[[1, 0, 0], [0, 1, 2], [0, 0, 0]]], [1.0, 0.0, 0.0], 0.999)
    cost = np.array([[-112.0, -28.0, 45.0], [24.0, -17.0, 138.0], [145.0, 91.0, 100.0]])
    monkeypatch.setattr(lp_highs, "SECONDS", (0.5, 0.0))
    with pytest.raises(ArithmeticError, match="'simplex' does"):
        lp.optimal_control(mdp, cost, solver="pdlp")
    assert lp.optimal_control(mdp, cost).value == pytest.approx(-44034.017, abs=1e-3)


@pytest.mark.parametrize("seed", [1, 7, 11, 59, 132])
def test_interior_point_where_it_stands_still_without_presolve(seed: int) -> None:
    rng = np.random.default_rng(seed)
    S, A = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    mdp = examples.garnet(S, A, int(rng.integers(1, S + 1)), float(rng.choice([0.0, 0.5, 0.9, 0.99, 0.999])), rng)
    cost = rng.integers(-5, 6, size=mdp.shape) * float(rng.choice([0, 1, 100]))
    found = lp.optimal_control_dual(mdp, cost, solver="interior")
    assert near(found.value, lp.optimal_control(mdp, cost).value)


@pytest.mark.parametrize("solver", ["interior", "pdlp"])
def test_a_distance_is_that_of_the_measure_returned(solver: str) -> None:
    mdp = MDPS["garnet"]
    rho_E, metric = expert_of(mdp), transition_metric(mdp)
    found = lp.match_wasserstein(mdp, rho_E, metric, solver=solver)
    assert found.value == pytest.approx(Lipschitz(metric).divergence(found.rho, rho_E), rel=1e-9, abs=1e-12)
