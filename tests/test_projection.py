"""Projections onto D: in D, optimal by their KKT conditions, and no worse than cvxpy's."""

import re

import cvxpy as cp
import numpy as np
import pytest
from corner_mdps import corner_mdps, deterministic_policy, random_policy
from scipy.special import rel_entr

from occmatch import (
    MDP,
    empirical,
    examples,
    flow_matrix,
    flow_residual,
    normal_equations,
    occupancy,
    policy,
    project_kl,
    project_l2,
    rl,
    sample_trajectories,
)

MDPS = corner_mdps()
EPS = np.finfo(float).eps

# The holes of FrozenLake's 8x8 map.
_LAKE = np.zeros((8, 8), dtype=bool)
_LAKE[[2, 3, 4, 5, 5, 5, 6, 6, 6, 7], [3, 5, 3, 1, 2, 6, 1, 4, 6, 3]] = True


def targets(mdp):
    """What gets projected: an estimate from few trajectories, noise of any sign, and a measure of D itself."""
    rng = np.random.default_rng(1)
    pi = random_policy(mdp, rng)
    paths = sample_trajectories(mdp, pi, 5, 40, rng)
    return {
        "estimate": empirical(mdp, paths),
        "noise": 5 * rng.normal(size=mdp.shape),
        "wide": 10 ** rng.uniform(-9, 2, size=mdp.shape),
        "in D": occupancy(mdp, pi),
        "vertex of D": occupancy(mdp, deterministic_policy(mdp, rng)),
    }


def in_D(mdp, rho):
    assert (rho >= 0).all()
    assert np.abs(flow_residual(mdp, rho)).max() <= 100 * EPS / (1 - mdp.gamma) ** 2


@pytest.mark.parametrize("name", MDPS)
@pytest.mark.parametrize("target", ["estimate", "noise", "wide", "in D", "vertex of D"])
def test_least_squares_projection_is_optimal(name, target):
    """rho is nearest to x in D if and only if <x - rho, sigma - rho> <= 0 for all sigma in D (D convex).

    The largest <x - rho, sigma> over D is minus the value of RL for the cost rho - x: another solver decides.
    """

    mdp = MDPS[name]
    x = targets(mdp)[target]
    rho = project_l2(mdp, x)
    in_D(mdp, rho)
    best = rl(mdp, rho - x, lam=0.0)
    # Both sides are sums of products of entries up to |x - rho| and 1/(1-gamma); flow residuals enter times V.
    slack = 1e3 * EPS * max(1.0, np.abs(x - rho).max()) / (1 - mdp.gamma) ** 2 + best.error
    assert ((rho - x) * rho).sum() - mdp.p0 @ best.V <= slack


@pytest.mark.parametrize("size", [4e8, 4e9, 4e13, 4e16, 4e17, 4e30, 4e149])
def test_least_squares_of_a_large_target_is_a_vertex(size):
    mdp = MDP(np.ones((1, 2, 1)), [1.0], 0.9)
    np.testing.assert_allclose(project_l2(mdp, [[size, 1.5 * size]]), [[0.0, 10.0]], rtol=0, atol=100 * EPS)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [1e10, 1e17, 1e100])
def test_least_squares_of_a_large_target_is_the_best_policy_for_it(seed, size):
    """Beyond some size the projection of t x is the measure of largest <rho, x>, where there is one: that of RL."""
    rng = np.random.default_rng(seed)
    mdp = examples.garnet(8, 3, 2, 0.9, rng)
    x = rng.normal(size=mdp.shape)
    best = rl(mdp, -x, lam=0.0).rho
    np.testing.assert_allclose(project_l2(mdp, size * x), best, rtol=0, atol=1e3 * EPS / (1 - mdp.gamma))


@pytest.mark.parametrize("name", [name for name, mdp in MDPS.items() if mdp.gamma < 0.99])
@pytest.mark.parametrize("target", ["estimate", "wide", "in D"])
def test_relative_entropy_projection_is_optimal(name, target):
    """At the optimum log(rho / x) = M' y on the face: the gradient is orthogonal to D, which RL decides again."""

    mdp = MDPS[name]
    x = targets(mdp)[target] + 1e-12
    rho = project_kl(mdp, x)
    in_D(mdp, rho)
    positive = rho > 0
    cost = np.log(np.where(positive, rho, 1.0) / x)
    best = rl(mdp, np.where(positive, cost, 0.0), lam=0.0)
    slack = 1e4 * EPS * max(1.0, np.abs(cost).max()) / (1 - mdp.gamma) ** 2 + best.error
    assert (rho * cost).sum() - mdp.p0 @ best.V <= slack


def rarely_left():
    """Kernels [S, A, S] in which some actions are all but never taken by the projection of an even target."""
    three = [[[1, 0, 0, 0]] * 2, [[0.0015, 0.9985, 0, 0], [0.001, 0.55, 0.449, 0]], [[0.003, 0, 0, 0.997]] * 2]
    return {
        "two states": [[[1, 0], [1, 0]], [[0.02, 0.98], [1, 0]]],
        "four states": [*three, [[0.445, 0.132, 0.423, 0], [0.002, 0.998, 0, 0]]],
    }


@pytest.mark.parametrize("name", rarely_left())
@pytest.mark.parametrize("gamma", [0.99, 0.999, 0.9999])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_relative_entropy_ends_where_entries_all_but_vanish(name, gamma, scale):
    """Entries from 1e-11 down to below 1e-308, whose moves the objective does not show."""
    P = np.array(rarely_left()[name], dtype=float)
    mdp = MDP(P, np.full(len(P), 1 / len(P)), gamma)
    rho = project_kl(mdp, np.full(mdp.shape, scale))
    in_D(mdp, rho)
    cost = np.log(rho)
    # A target of constant entries leaves the entropy of rho, and rho = exp(M' y): the cost of all policies is the same.
    assert (rho > 0.0).all()
    gap = (rho * cost).sum() - mdp.p0 @ rl(mdp, cost, lam=0.0).V
    assert (1 - gamma) * gap <= 1e-8


def test_relative_entropy_from_smoothed_counts_on_a_lake():
    mdp = examples.frozen_lake(_LAKE, gamma=0.9999)
    pi = np.full(mdp.shape, 1 / mdp.A)
    x = empirical(mdp, sample_trajectories(mdp, pi, 20, 50, np.random.default_rng(0))) + 1e-3
    rho = project_kl(mdp, x)
    in_D(mdp, rho)
    cost = np.log(rho / x)
    assert (1 - mdp.gamma) * ((rho * cost).sum() - mdp.p0 @ rl(mdp, cost, lam=0.0).V) <= 1e-7


@pytest.mark.parametrize("name", ["garnet", "slippery grid", "unreachable states", "absorbing end", "gamma 0"])
def test_no_worse_than_a_conic_solver(name):
    mdp = MDPS[name]
    M, v = flow_matrix(mdp), cp.Variable(mdp.S * mdp.A, nonneg=True)
    for x in (targets(mdp)["estimate"] + 1e-3, targets(mdp)["wide"] + 1e-3):
        flat = x.reshape(-1)
        ours = 0.5 * ((project_l2(mdp, x) - x) ** 2).sum()
        theirs = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(v - flat)), [M @ v == mdp.p0]).solve(solver=cp.CLARABEL)
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)  # Clarabel's own tolerance is 1e-8 of the value
        rho = project_kl(mdp, x)
        ours = (rel_entr(rho, x) - rho + x).sum()
        theirs = cp.Problem(cp.Minimize(cp.sum(cp.kl_div(v, flat))), [M @ v == mdp.p0]).solve(solver=cp.CLARABEL)
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", MDPS)
def test_measures_of_D_stay_where_they_are(name):
    mdp = MDPS[name]
    for rho in (targets(mdp)["in D"], targets(mdp)["vertex of D"]):
        slack = 1e3 * EPS / (1 - mdp.gamma) ** 2
        np.testing.assert_allclose(project_l2(mdp, rho), rho, rtol=0, atol=slack)
        np.testing.assert_allclose(project_kl(mdp, rho), rho, rtol=0, atol=slack)


def test_zeros_of_the_target_stay_zeros_under_relative_entropy():
    mdp, rng = MDPS["garnet"], np.random.default_rng(2)
    x = rng.random(mdp.shape)
    x[:, 1] = 0.0
    rho = project_kl(mdp, x)
    in_D(mdp, rho)
    assert (rho[:, 1] == 0.0).all()
    assert (rho[:, [0, 2, 3]][rho.sum(axis=1) > 0] > 0).all()
    assert (policy(rho)[:, 1][rho.sum(axis=1) > 0] == 0).all()


def test_a_target_that_forbids_every_way_on_is_refused():
    # State 0 must move to state 1, where x allows nothing.
    P = np.array([[[0.0, 1.0], [0.5, 0.5]], [[1.0, 0.0], [1.0, 0.0]]])
    mdp = MDP(P, [1.0, 0.0], 0.9)
    with pytest.raises(
        ValueError, match=re.escape("x must allow some action for ever from each initial state, but from state 0")
    ):
        project_kl(mdp, np.array([[1.0, 1.0], [0.0, 0.0]]))
    # At gamma = 0 nothing after the first step counts.
    rho = project_kl(MDP(P, [1.0, 0.0], 0.0), np.array([[1.0, 3.0], [0.0, 0.0]]))
    np.testing.assert_allclose(rho, [[0.25, 0.75], [0.0, 0.0]], rtol=0, atol=10 * EPS)


def test_gamma_zero_by_hand():
    """D is then a product of scaled simplices: least squares shifts and cuts, relative entropy rescales."""
    mdp = MDP(np.full((1, 3, 1), 1.0), [1.0], 0.0)
    np.testing.assert_allclose(project_l2(mdp, [[2.0, 1.5, -1.0]]), [[0.75, 0.25, 0.0]], rtol=0, atol=10 * EPS)
    np.testing.assert_allclose(project_kl(mdp, [[2.0, 6.0, 0.0]]), [[0.25, 0.75, 0.0]], rtol=0, atol=10 * EPS)


@pytest.mark.parametrize("dense_states", [0, 100])
@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_normal_equations_against_a_dense_solve(dense_states, damping, monkeypatch):
    monkeypatch.setattr(normal_equations, "_DENSE_STATES", dense_states)
    mdp, rng = MDPS["garnet"], np.random.default_rng(4)
    M, r = flow_matrix(mdp), rng.normal(size=mdp.S)
    weights = 10 ** rng.uniform(-3, 3, size=mdp.S * mdp.A)
    matrix = M.toarray() * weights @ M.toarray().T + damping * np.eye(mdp.S)
    expected = np.linalg.solve(matrix, r)
    found = normal_equations.solve_normal(M, weights, r, damping)
    # CG stops at 1e-10 of the scaled residual; scaling leaves a condition number of at most about 1e4.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_conjugate_gradients_give_the_same_answer(monkeypatch):
    mdp = MDPS["slippery grid"]
    x = targets(mdp)["wide"] + 1e-2
    dense = project_l2(mdp, x), project_kl(mdp, x)
    monkeypatch.setattr(normal_equations, "_DENSE_STATES", 0)
    # CG solves to 1e-10, which ends up in the answer through the last Newton step.
    np.testing.assert_allclose(project_l2(mdp, x), dense[0], rtol=0, atol=1e-7)
    np.testing.assert_allclose(project_kl(mdp, x), dense[1], rtol=0, atol=1e-7)


def test_an_estimate_gets_closer_to_the_truth():
    """Projection is non-expansive: the distance to any point of D can only shrink."""
    mdp, rng = examples.gridworld(5, gamma=0.9), np.random.default_rng(3)
    pi = random_policy(mdp, rng)
    truth = occupancy(mdp, pi)
    estimate = empirical(mdp, sample_trajectories(mdp, pi, 20, 60, rng))
    assert np.linalg.norm(project_l2(mdp, estimate) - truth) < np.linalg.norm(estimate - truth)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda mdp: project_l2(mdp, np.ones(3)), "x must have shape (2, 2), but has shape (3,)"),
        (lambda mdp: project_l2(mdp, [[np.nan, 0], [0, 0]]), "x[0, 0] must be finite, but is nan"),
        (lambda mdp: project_l2(mdp, [[0, 0], [0, -2e150]]), "x[1, 1] must be at most 1e+150 in size, but is -2e+150"),
        (lambda mdp: project_kl(mdp, [[1, 1], [1, -2]]), "x[1, 1] must be at least 0, but is -2"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(examples.two_state_chain())
