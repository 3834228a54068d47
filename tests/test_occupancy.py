"""Occupancy measures against series summed by brute force, entropies from two sides, and sampled estimates."""

import re

import numpy as np
import pytest
from corner_mdps import corner_mdps, deterministic_policy, random_policy

from occmatch import (
    MDP,
    Trajectories,
    causal_entropy,
    empirical,
    entropy,
    examples,
    flow_matrix,
    flow_residual,
    grad_causal_entropy,
    linear,
    occupancy,
    policy,
    sample_trajectories,
    solve_policy,
    visits,
)

MDPS = corner_mdps()

# Linear solves with I - gamma P err by units in the last place times the condition number, at most 2/(1-gamma).
EPS = np.finfo(float).eps


def rounding(mdp):
    return 100 * EPS / (1 - mdp.gamma) ** 2


def policies(mdp):
    rng = np.random.default_rng(7)
    return [random_policy(mdp, rng), random_policy(mdp, rng, 0.05), deterministic_policy(mdp, rng)]


def series(mdp, pi, steps):
    """sum over t < steps of gamma^t Pr(s_t = s) pi(a|s), pushing the distribution of states forward."""
    P, p, total = mdp.P.toarray().reshape(*mdp.shape, mdp.S), mdp.p0, np.zeros(mdp.S)
    for t in range(steps):
        total = total + mdp.gamma**t * p
        p = np.einsum("s,sa,sat->t", p, pi, P)
    return total[:, None] * pi


@pytest.mark.parametrize("name", [name for name, mdp in MDPS.items() if mdp.gamma < 0.99])
def test_occupancy_is_the_discounted_series(name):
    mdp = MDPS[name]
    for pi in policies(mdp):
        # The tail after 800 steps is below 0.95^800 / 0.05 ~ 3e-17.
        np.testing.assert_allclose(occupancy(mdp, pi), series(mdp, pi, 800), rtol=0, atol=rounding(mdp))


@pytest.mark.parametrize("name", MDPS)
def test_occupancy_lies_in_D_and_sums_to_the_horizon(name):
    mdp = MDPS[name]
    for pi in policies(mdp):
        rho = occupancy(mdp, pi)
        assert (rho >= 0).all()
        assert rho.sum() == pytest.approx(1 / (1 - mdp.gamma), abs=rounding(mdp))
        assert np.abs(flow_residual(mdp, rho)).max() <= rounding(mdp)
        np.testing.assert_allclose(
            flow_matrix(mdp) @ rho.reshape(-1) - mdp.p0, flow_residual(mdp, rho), rtol=0, atol=rounding(mdp)
        )


@pytest.mark.parametrize("name", MDPS)
def test_policy_inverts_occupancy_on_visited_states(name):
    mdp = MDPS[name]
    for pi in policies(mdp):
        rho = occupancy(mdp, pi)
        visited = visits(rho) > 0
        np.testing.assert_allclose(policy(rho)[visited], pi[visited], rtol=4 * EPS, atol=0)
        assert (policy(rho)[~visited] == 1 / mdp.A).all()
        np.testing.assert_allclose(occupancy(mdp, policy(rho)), rho, rtol=0, atol=rounding(mdp))


@pytest.mark.parametrize("name", MDPS)
def test_expected_cost_is_the_inner_product(name):
    mdp, rng = MDPS[name], np.random.default_rng(8)
    for pi in policies(mdp):
        cost = rng.normal(size=mdp.shape)
        V = solve_policy(mdp, pi, (pi * cost).sum(axis=1))
        assert mdp.p0 @ V == pytest.approx((occupancy(mdp, pi) * cost).sum(), abs=rounding(mdp))


@pytest.mark.parametrize("name", MDPS)
def test_entropy_of_policies_and_of_measures_agree(name):
    mdp = MDPS[name]
    for pi in policies(mdp):
        rho = occupancy(mdp, pi)
        H = entropy(mdp, pi)
        assert H == pytest.approx(causal_entropy(rho), abs=mdp.A * rounding(mdp))
        assert 0 <= H <= (np.log(mdp.A) + EPS) / (1 - mdp.gamma) * (1 + rounding(mdp))
        assert np.isfinite(H)
    uniform = np.full(mdp.shape, 1 / mdp.A)
    assert entropy(mdp, uniform) == pytest.approx(np.log(mdp.A) / (1 - mdp.gamma), abs=mdp.A * rounding(mdp))


def test_gradient_of_causal_entropy_by_central_differences():
    rng = np.random.default_rng(9)
    rho = rng.random((4, 3)) + 0.1
    h = 1e-5  # truncation h^2 / rho^2 ~ 1e-8, rounding eps / h ~ 2e-11
    numeric = np.zeros_like(rho)
    for index in np.ndindex(*rho.shape):
        e = np.zeros_like(rho)
        e[index] = h
        numeric[index] = (causal_entropy(rho + e) - causal_entropy(rho - e)) / (2 * h)
    np.testing.assert_allclose(grad_causal_entropy(rho), numeric, rtol=0, atol=1e-7)
    # Hbar is positively homogeneous of degree one: Euler's identity.
    assert (rho * grad_causal_entropy(rho)).sum() == pytest.approx(causal_entropy(rho), rel=1e-14)


def test_entropy_at_the_boundary():
    rho = np.array([[1.0, 0.0], [0.0, 0.0]])
    assert causal_entropy(rho) == 0.0
    assert grad_causal_entropy(rho).tolist() == [[0.0, np.inf], [np.log(2), np.log(2)]]


def test_tiny_rows_keep_their_digits():
    rho = np.array([[3e-310, 1e-310], [1e300, 3e300]])
    np.testing.assert_allclose(policy(rho), [[0.75, 0.25], [0.25, 0.75]], rtol=1e-13, atol=0)


@pytest.mark.parametrize("A", [2, 3, 7])
def test_rows_whose_sum_overflows_have_a_policy(A):
    rho = np.ones((2, A))
    rho[0] = np.finfo(float).max
    np.testing.assert_allclose(policy(rho), np.full((2, A), 1 / A), rtol=4 * EPS, atol=0)
    np.testing.assert_allclose(policy([[1e308, 1e308, 1.0]]), [[0.5, 0.5, 5e-309]], rtol=1e-13, atol=0)


@pytest.mark.parametrize("dense_states", [0, 200])
def test_visits_far_below_rounding_are_accurate_in_every_digit(dense_states, monkeypatch):
    """One chance in 1e20 to move on: d(s) = (1e-20 gamma)^s / prod(1 - gamma stay), known in closed form."""
    monkeypatch.setattr(linear, "_DENSE_STATES", dense_states)
    q, gamma, S = 1e-20, 0.9, 6
    P = np.zeros((S, 1, S))
    for s in range(S):
        P[s, 0, s], P[s, 0, min(s + 1, S - 1)] = 1.0 - q * (s < S - 1), (q if s < S - 1 else 1.0)
    mdp = MDP(P, np.eye(S)[0], gamma)
    expected = (gamma * q / (1 - gamma)) ** np.arange(S) / (1 - gamma)
    np.testing.assert_allclose(visits(occupancy(mdp, np.ones((S, 1)))), expected, rtol=S * 10 * EPS, atol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda mdp: occupancy(mdp, np.zeros(mdp.shape)), "pi[0] must be a probability distribution, but has least"),
        (lambda mdp: policy(np.array([[1.0, -0.5]])), "rho[0, 1] must be at least 0, but is -0.5"),
        (lambda mdp: policy(np.ones(3)), "rho must have shape (S, A), but has shape (3,)"),
        (lambda mdp: policy(np.zeros((2, 0))), "rho must have shape (S, A), but has shape (2, 0)"),
        (lambda mdp: visits(np.ones(3)), "rho must have shape (S, A), but has shape (3,)"),
        (lambda mdp: causal_entropy(np.ones(3)), "rho must have shape (S, A), but has shape (3,)"),
        (lambda mdp: causal_entropy(np.ones((2, 3, 2))), "rho must have shape (S, A), but has shape (2, 3, 2)"),
        (lambda mdp: causal_entropy(np.array([[np.nan, 1.0]])), "rho[0, 0] must be finite, but is nan"),
        (lambda mdp: flow_residual(mdp, np.ones((3, 2))), "rho must have shape (4, 4), but has shape (3, 2)"),
        (
            lambda mdp: sample_trajectories(mdp, np.full((4, 4), 0.25), 1, 1, 0),
            "rng must be a numpy.random.Generator, but is int",
        ),
        (lambda mdp: empirical(mdp, []), "trajectories must hold at least one, but are empty"),
        (lambda mdp: empirical(mdp, [([0], [0]), ([0, 4], [1, 1])]), "states of trajectory 1 must lie in 0 .. 3, but"),
        (lambda mdp: empirical(mdp, [([0, 1], [-1, 0])]), "actions of trajectory 0 must lie in 0 .. 3, but are -1 at"),
        (lambda mdp: empirical(mdp, [([0, 1], [0])]), "trajectory 0 must have as many actions as states"),
        (
            lambda mdp: empirical(mdp, [([0.5], [0])]),
            "states of trajectory 0 must be integers of shape (T,), but is",
        ),
        (lambda mdp: empirical(mdp, [([0], [[0], [0, 1]])]), "actions of trajectory 0 must be integers of shape (T,)"),
        (
            lambda mdp: empirical(mdp, ([0, 1, 2], [1, 1, 1])),
            "trajectory 0 must be a pair (states, actions), but is list of length 3 (one trajectory alone is a list of",
        ),
        (lambda mdp: empirical(mdp, (0, 1)), "trajectory 0 must be a pair (states, actions), but is int (one"),
        (lambda mdp: empirical(mdp, None), "trajectories must be pairs (states, actions), but is NoneType"),
        (lambda mdp: empirical(mdp.P, []), "mdp must be an MDP or a MatrixFree, but is csr_array"),
        (lambda mdp: Trajectories(np.zeros((2, 3), int), np.zeros((1, 3), int)), "actions must have shape (2, 3) as s"),
        (lambda mdp: Trajectories(np.zeros((2, 3)), np.zeros((2, 3), int)), "states must be integers of shape (N, T)"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(examples.gridworld(2))


def test_sampled_trajectories_follow_the_mdp():
    mdp, rng = MDPS["unreachable states"], np.random.default_rng(10)
    pi = np.array([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]])
    paths = sample_trajectories(mdp, pi, 20, 30, rng)
    assert paths.states.shape == paths.actions.shape == (20, 30)
    for states, actions in paths:
        assert mdp.p0[states[0]] > 0
        assert (pi[states, actions] > 0).all()
        steps = mdp.P[states[:-1] * 2 + actions[:-1]].toarray()
        assert (steps[np.arange(29), states[1:]] > 0).all()


@pytest.mark.parametrize("name", ["garnet", "absorbing end", "slippery grid"])
def test_empirical_measure_converges_to_the_occupancy_measure(name):
    mdp, rng = MDPS[name], np.random.default_rng(11)
    pi = random_policy(mdp, rng)
    N, T = 4000, 300
    paths = sample_trajectories(mdp, pi, N, T, rng)
    rho, estimate = occupancy(mdp, pi), empirical(mdp, paths)
    # An entry of one trajectory lies in [0, 1/(1-gamma)] with mean rho, so its variance is at most rho/(1-gamma);
    # six standard errors, and gamma^300 / (1-gamma) < 5e-6 of truncation.
    slack = 6 * np.sqrt(rho / (1 - mdp.gamma) / N) + 1e-5
    assert (np.abs(estimate - rho) <= slack).all()
    assert estimate.sum() == pytest.approx(1 / (1 - mdp.gamma), rel=1e-12)


def test_empirical_measure_by_hand():
    mdp = examples.two_state_chain(gamma=0.5)
    paths = [([0, 1, 1], [1, 0, 0]), ([0], [0])]
    raw = empirical(mdp, paths, rescale=False)
    assert raw.tolist() == [[0.5, 0.5], [0.375, 0.0]]
    assert empirical(mdp, iter(paths)) == pytest.approx(raw * 2 / 1.375, rel=1e-15)


class Drawn(np.random.Generator):
    """A generator whose uniform numbers are all `u`."""

    def __init__(self, u):
        super().__init__(np.random.PCG64(0))
        self.u = u

    def random(self, size):
        return np.full(size, self.u)


@pytest.mark.parametrize("u", [0.0, 0.25, 0.5, np.nextafter(1.0, 0.0)])
def test_no_draw_on_a_boundary_hits_an_impossible_action(u):
    """Probabilities 0, 1/4, 1/4, 1/2, 0: draws at their very sums must take the next action, never one of the zeros."""
    mdp = MDP(np.full((128, 5, 128), 1 / 128), np.full(128, 1 / 128), 0.5)
    pi = np.tile([0.0, 0.25, 0.25, 0.5, 0.0], (128, 1))
    paths = sample_trajectories(mdp, pi, 3, 4, Drawn(u))
    assert (paths.actions == {0.0: 1, 0.25: 2, 0.5: 3}.get(u, 3)).all()
    states = sample_trajectories(mdp, pi, 1, 1, Drawn(u)).states
    assert states[0, 0] == int(128 * u)


def test_sampling_depends_on_the_generator_alone():
    mdp = MDPS["garnet"]
    pi = random_policy(mdp, np.random.default_rng(0))
    one, two, other = (sample_trajectories(mdp, pi, 3, 20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one.states == two.states).all()
    assert (one.states != other.states).any()
