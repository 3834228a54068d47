"""Matching where there are many states: the ways it takes there, forced on small MDPs, against those of few states."""

import numpy as np
import pytest
from corner_mdps import random_policy
from matching_problems import gap, problem

import occmatch as om
from occmatch import matching_curvature, matching_interior, matching_linear, matching_step
from occmatch.bellman import rl
from occmatch.matching import has_newton
from occmatch.matching_linear import Linear
from occmatch.regularisers import REGISTERED, L2Ball, Surrogate

# Both end at rounding: 1e2 units in the last place times 1 / (1 - gamma) <= 1e2.
OPTIMAL = 1e-11

# Strong convexity lam = 0.3 turns two gaps of 1e-13 into sqrt(1e-13 / 0.3) of the policy.
POLICY = 1e-6

# Clarabel ends near 1e-8 of the objective, hence within about 1e-4 of the policy.
PROGRAM = 1e-4


@pytest.fixture(params=["products", "kept factors"])
def many(request, monkeypatch):
    """The code takes every MDP for one of many states."""
    monkeypatch.setattr(matching_step, "_FEW_STATES", 0)
    monkeypatch.setattr(matching_linear, "_FEW_STATES", 0)
    monkeypatch.setattr(matching_linear, "KEEP_STATES", 0)
    monkeypatch.setattr(matching_linear, "_narrow", lambda mdp: request.param == "kept factors")
    monkeypatch.setattr(matching_curvature, "_MANY_STATES", 0)
    monkeypatch.setattr(matching_interior, "_MANY_STATES", 0)
    return request.param


@pytest.mark.parametrize("name", [n for n in REGISTERED if n not in ("lipschitz", "expression", "constant")])
def test_many_states_and_few_find_the_same_policy(name, many, monkeypatch):
    mdp, rho_E, _ = problem(3, S=12)
    psi = REGISTERED[name](mdp, rho_E)
    assert has_newton(psi)
    found = om.match(mdp, rho_E, psi, 0.3, "newton")
    assert gap(mdp, rho_E, psi, found) <= OPTIMAL
    monkeypatch.undo()
    few = om.match(mdp, rho_E, psi, 0.3, "newton")
    assert np.abs(found.pi - few.pi).max() <= POLICY


@pytest.mark.parametrize("name", ["surrogate_logistic", "fdivergence_chi2", "box", "l2_ball_features"])
def test_many_states_agree_with_the_convex_program(name, many):
    mdp, rho_E, _ = problem(4, S=6)
    psi = REGISTERED[name](mdp, rho_E)
    found, stated = (om.match(mdp, rho_E, psi, 0.3, method) for method in ("newton", "program"))
    assert np.abs(found.pi - stated.pi).max() <= PROGRAM


def test_refined_visits_are_those_of_new_factors_entry_by_entry(monkeypatch):
    """Visits that span forty orders of magnitude, from the factors of another policy."""
    monkeypatch.setattr(matching_linear, "KEEP_STATES", 0)
    mdp = om.examples.gridworld(30, slip=0.05, gamma=0.6, start=0)
    rng = np.random.default_rng(0)
    pi, linear = random_policy(mdp, rng), Linear(mdp)
    assert linear.direct
    first = linear.visits(pi)
    near = pi * np.exp(1e-2 * rng.normal(size=mdp.shape))
    near /= near.sum(axis=1, keepdims=True)
    kept = linear.kept[0]
    refined = linear.visits(near, first)
    assert linear.kept[0] is kept  # no new factors
    exact = Linear(mdp).visits(near)
    assert exact.min() < 1e-12 * exact.max()
    # The residual stops at 1e-14 of an entry, and a path of 60 states adds up as many of them.
    assert (np.abs(refined - exact) / exact).max() <= 1e-12
    far = random_policy(mdp, rng) ** 8
    far /= far.sum(axis=1, keepdims=True)
    assert (np.abs(linear.visits(far, first) / Linear(mdp).visits(far) - 1)).max() <= 1e-12
    assert linear.kept[0] is not kept


def test_values_from_the_factors_of_another_policy(monkeypatch):
    monkeypatch.setattr(matching_linear, "KEEP_STATES", 0)
    mdp = om.examples.gridworld(16, slip=0.1, gamma=0.9)
    rng = np.random.default_rng(1)
    pi, linear = random_policy(mdp, rng), Linear(mdp)
    linear.visits(pi)
    other, r = 0.95 * pi + 0.05 * random_policy(mdp, rng), rng.normal(size=mdp.S)
    V = linear.values(other, r, 1e-10)
    assert np.abs(V - om.solve_policy(mdp, other, r)).max() <= 1e-8 * np.abs(V).max()


@pytest.mark.parametrize("name", ["surrogate_logistic", "fdivergence_kl", "l2_ball", "constant"])
def test_a_start_changes_the_steps_and_not_the_answer(name):
    mdp, rho_E, _ = problem(5, S=15)
    psi = REGISTERED[name](mdp, rho_E)
    cold = om.match(mdp, rho_E, psi, 0.2)
    warm = om.match(mdp, rho_E, psi, 0.2, start=cold)
    assert gap(mdp, rho_E, psi, warm) <= OPTIMAL and np.abs(warm.pi - cold.pi).max() <= POLICY
    if psi.smooth:
        assert warm.iterations <= 2 < cold.iterations
        near = om.match(mdp, rho_E, psi, 0.21, start=cold)
        assert near.iterations < cold.iterations and gap(mdp, rho_E, psi, near) <= OPTIMAL


def test_a_start_that_gave_up_what_the_answer_needs():
    mdp, rho_E, _ = problem(6, S=10)
    psi = Surrogate(om.LOSSES["logistic"], rho_E)
    stubborn = om.match(mdp, rho_E, psi, 1e-3)
    lone = np.eye(mdp.A)[np.zeros(mdp.S, dtype=int)]
    start = type(stubborn)(stubborn.rho, stubborn.cost, stubborn.V, lone, 1e-3, "by hand")
    assert gap(mdp, rho_E, psi, om.match(mdp, rho_E, psi, 1.0, start=start)) <= OPTIMAL


def test_a_start_of_another_shape_is_refused():
    mdp, rho_E, _ = problem()
    other, rho_other, _ = problem(S=5)
    psi, start = L2Ball(), om.match(other, rho_other, L2Ball())
    with pytest.raises(ValueError, match=r"start.pi must have shape \(8, 3\), but has shape \(5, 3\)"):
        om.match(mdp, rho_E, psi, start=start)


@pytest.mark.parametrize("name", ["surrogate_logistic", "box"])
def test_progress_is_told_of_every_step_and_can_stop_the_work(name):
    mdp, rho_E, _ = problem(7, S=10)
    psi = REGISTERED[name](mdp, rho_E)
    reports = []
    found = om.match(mdp, rho_E, psi, 0.2, progress=reports.append)
    assert len(reports) == found.iterations and reports[-1].error < reports[0].error
    assert np.abs(reports[-1].V - found.V).max() <= 1e-3 * np.abs(found.V).max()

    def stop(report):
        if report.iteration == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        om.match(mdp, rho_E, psi, 0.2, progress=stop)
    # What was stopped leaves nothing behind: the next call is the same to the bit.
    assert np.array_equal(om.match(mdp, rho_E, psi, 0.2).rho, found.rho)


def test_curvature_of_features_is_the_same_in_blocks_and_rough(monkeypatch):
    mdp, _, rng = problem(8, S=14)
    F, answer = rng.normal(size=(*mdp.shape, 4)), rl(mdp, rng.normal(size=mdp.shape), 0.3)
    exact = matching_curvature.reward_curvature(mdp, answer, 0.3, F)
    monkeypatch.setattr(matching_curvature, "_BLOCK", 3 * mdp.A * 4)  # three states at a time
    assert np.allclose(matching_curvature.reward_curvature(mdp, answer, 0.3, F), exact, rtol=1e-12)
