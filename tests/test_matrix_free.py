"""One MDP in two forms: as a sparse matrix and as two functions; everything that takes both says the same."""

import re

import numpy as np
import pytest
from corner_mdps import random_policy

import occmatch as om
from occmatch import MatrixFree, examples, linear

EPS = np.finfo(float).eps

PAIRS = {
    "gridworld": (examples.gridworld(9, 7, slip=0.3, gamma=0.97), examples.gridworld_free(9, 7, slip=0.3, gamma=0.97)),
    "queue": (examples.tandem_queue(6, gamma=0.98), examples.tandem_queue_free(6, gamma=0.98)),
}


def wrapped(mdp):
    return MatrixFree(mdp.expect, mdp.flow, mdp.p0, mdp.gamma, mdp.A, int(np.diff(mdp.P.indptr).max()))


@pytest.mark.parametrize("name", PAIRS)
def test_both_forms_are_one_kernel(name):
    mdp, free = PAIRS[name]
    assert (free.shape, free.gamma) == (mdp.shape, mdp.gamma)
    rng = np.random.default_rng(0)
    V, rho = rng.normal(size=mdp.S), rng.random(mdp.shape)
    # Sums of at most 16 products of numbers of size 4.
    np.testing.assert_allclose(free.expect(V), mdp.expect(V), rtol=0, atol=64 * EPS)
    np.testing.assert_allclose(free.flow(rho), mdp.flow(rho), rtol=0, atol=64 * EPS)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("lam", [0.0, 0.05, 1.0])
def test_rl_and_occupancy_take_either(name, lam):
    mdp, free = PAIRS[name]
    cost = np.random.default_rng(1).normal(size=mdp.shape)
    one, two = om.rl(mdp, cost, lam), om.rl(free, cost, lam)
    assert np.abs(one.V - two.V).max() <= one.error + two.error
    assert two.error <= 1e3 * EPS / (1 - mdp.gamma) ** 2
    assert two.method == one.method
    np.testing.assert_allclose(two.rho, one.rho, rtol=0, atol=1e-9)
    pi = random_policy(mdp, np.random.default_rng(2))
    # The transposed system to rounding: residual 8 EPS of the largest entry, times 1/(1-gamma).
    np.testing.assert_allclose(om.occupancy(free, pi), om.occupancy(mdp, pi), rtol=0, atol=1e4 * EPS / (1 - mdp.gamma))
    r = cost.mean(axis=1)
    np.testing.assert_allclose(
        om.solve_policy(free, pi, r), om.solve_policy(mdp, pi, r), rtol=0, atol=1e4 * EPS / (1 - mdp.gamma)
    )


def test_operators_and_bounds_take_either():
    mdp, free = PAIRS["queue"]
    cost, V = examples.tandem_queue_cost(free), np.random.default_rng(3).normal(size=mdp.S)
    assert (cost == examples.tandem_queue_cost(mdp)).all()
    for form in (mdp, free):
        TV, pi = om.soft_backup(form, cost, V, 0.3)
        lo, hi = om.value_bounds(V, TV, form.gamma)
        truth = om.rl(mdp, cost, 0.3).V
        assert (lo <= truth).all() and (truth <= hi).all()
        np.testing.assert_allclose(om.policy_backup(form, cost, pi, V, 0.3), TV, rtol=0, atol=1e3 * EPS)


def test_a_system_that_stalls_raises_with_causes_and_the_best_vector(monkeypatch):
    monkeypatch.setattr(linear, "_STEPS", 2)
    monkeypatch.setattr(linear, "_PASSES", 1)
    free = examples.gridworld_free(30, gamma=0.9999, start=0)
    with pytest.raises(om.Stalled, match=r"900 states at gamma 0.9999 stalled. Likely causes: \(a\)") as caught:
        om.occupancy(free, random_policy(free, np.random.default_rng(6)))
    assert np.isfinite(caught.value.x).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flow": np.eye(63)}, "flow must be a function, but is ndarray"),
        ({"expect": lambda V: np.zeros((63, 3))}, "expect(1) must have shape (63, 4), but has shape (63, 3)"),
        ({"expect": lambda V: 0.5 * np.ones((63, 4))}, "expect(1)[0, 0] must be 1, as probabilities sum to 1"),
        ({"flow": lambda rho: rho.sum(axis=1)}, "flow must be the transpose of expect, but <rho, expect(V)> is"),
        ({"gamma": 1.0}, "gamma must lie in [0, 1), but is 1.0"),
        ({"p0": np.ones(63)}, "p0 must be a probability distribution"),
        ({"p0": np.ones((3, 3))}, "p0 must have shape (S,), but has shape (3, 3)"),
        ({"p0": []}, "p0 must hold probabilities, but has shape (0,)"),
        ({"A": 0}, "A must be an integer of at least 1, but is 0"),
        (
            {"layout": om.Layout([(0, 0)], [(0, 1)])},
            "layout must have one cell a state and one move an action, (63, 4)",
        ),
    ],
)
def test_wrong_functions_are_found_by_trying(changes, message):
    mdp = PAIRS["gridworld"][0]
    values = {"expect": mdp.expect, "flow": mdp.flow, "p0": mdp.p0, "gamma": mdp.gamma, "A": mdp.A, "terms": 4}
    with pytest.raises(ValueError, match=re.escape(message)):
        MatrixFree(**(values | changes))


@pytest.mark.parametrize("lam", [0.0, 0.3])
def test_functions_may_return_views_and_arrays_that_are_not_for_writing(lam):
    """States that stay where they are: P V is V itself, and what flows in is rho."""
    S, gamma, p0 = 5, 0.9, np.full(5, 0.2)
    view = MatrixFree(lambda V: V[:, None], lambda rho: rho[:, 0], p0, gamma, 1, 1)
    shared = MatrixFree(lambda V: np.broadcast_to(V[:, None], (S, 2)), lambda rho: rho.sum(axis=1), p0, gamma, 2, 1)
    for mdp in (view, shared):
        cost, V = np.repeat(np.arange(5.0)[:, None], mdp.A, axis=1), np.linspace(-1.0, 1.0, S)
        solved = om.rl(mdp, cost, lam)
        truth = (np.arange(5.0) - lam * np.log(mdp.A)) / (1 - gamma)
        assert np.abs(solved.V - truth).max() <= solved.error <= 1e-12
        before = V.copy()
        assert (om.q_values(mdp, cost, V) == gamma * before[:, None] + cost).all()
        assert (V == before).all()


@pytest.mark.parametrize("lam", [0.0, 0.3])
def test_functions_may_write_into_one_array_again_and_again(lam):
    mdp, free = PAIRS["gridworld"]
    ahead, back = np.empty(mdp.S * mdp.A), np.empty(mdp.S)

    def expect(V):
        ahead[:] = mdp.P @ V
        return ahead.reshape(mdp.shape)

    def flow(rho):
        back[:] = mdp.P.T @ rho.reshape(-1)
        return back

    same = MatrixFree(expect, flow, mdp.p0, mdp.gamma, mdp.A, free.terms)
    cost = np.random.default_rng(7).normal(size=mdp.shape)
    one, two = om.rl(free, cost, lam), om.rl(same, cost, lam)
    assert two.method == one.method
    assert np.abs(one.V - two.V).max() <= one.error + two.error
    np.testing.assert_allclose(two.pi, one.pi, rtol=0, atol=1e-9)
    np.testing.assert_allclose(two.rho, one.rho, rtol=0, atol=1e-9)


PSI, RNG = om.regularisers.Quadratic(), np.random.default_rng(7)
EXPLICIT = {
    "irl": lambda mdp, x: om.irl(mdp, x, PSI),
    "match": lambda mdp, x: om.match(mdp, x, PSI),
    "certify": lambda mdp, x: om.certify(mdp, x, PSI, om.Candidate(x, x, x[:, 0], x, 1.0, "none")),
    "project_l2": lambda mdp, x: om.project_l2(mdp, x),
    "project_kl": lambda mdp, x: om.project_kl(mdp, x),
    "optimal_control": lambda mdp, x: om.lp.optimal_control(mdp, x),
    "optimal_control_dual": lambda mdp, x: om.lp.optimal_control_dual(mdp, x),
    "deterministic_policy": lambda mdp, x: om.lp.deterministic_policy(mdp, x),
    "lpal": lambda mdp, x: om.lp.lpal(mdp, x),
    "match_l1": lambda mdp, x: om.lp.match_l1(mdp, x),
    "match_wasserstein": lambda mdp, x: om.lp.match_wasserstein(mdp, x, 1.0 - np.eye(x.size)),
    "transition_metric": lambda mdp, x: om.regularisers.transition_metric(mdp),
    "adjacency": lambda mdp, x: om.graph.adjacency(mdp),
    "reachable": lambda mdp, x: om.graph.reachable(mdp),
    "closed_classes": lambda mdp, x: om.graph.closed_classes(mdp),
    "to_networkx": lambda mdp, x: om.graph.to_networkx(mdp),
    "draw": lambda mdp, x: om.graph.draw(mdp),
    "flow_matrix": lambda mdp, x: om.flow_matrix(mdp),
    "sample_trajectories": lambda mdp, x: om.sample_trajectories(mdp, x, 1, 1, RNG),
    "finite_horizon": lambda mdp, x: examples.finite_horizon(mdp, 2),
    "rational_mdp": lambda mdp, x: om.rational.rational_mdp(mdp),
}


@pytest.mark.parametrize("name", EXPLICIT)
def test_what_needs_single_entries_says_so(name):
    mdp, free = PAIRS["gridworld"]
    with pytest.raises(ValueError, match=r"^mdp must be an MDP, which stores its kernel, but is MatrixFree$"):
        EXPLICIT[name](free, np.full(free.shape, 0.25))
    with pytest.raises(ValueError, match=r"^mdp must be an MDP, which stores its kernel, but is ndarray$"):
        EXPLICIT[name](mdp.P.toarray(), np.full(free.shape, 0.25))


@pytest.mark.parametrize("call", [om.rl, om.occupancy, om.flow_residual])
def test_a_kernel_alone_is_no_mdp(call):
    mdp = PAIRS["gridworld"][0]
    with pytest.raises(ValueError, match=r"^mdp must be an MDP or a MatrixFree, but is ndarray$"):
        call(mdp.P.toarray(), np.full(mdp.shape, 0.25))


def test_any_mdp_can_be_wrapped():
    mdp = examples.garnet(40, 3, 4, 0.95, np.random.default_rng(4))
    cost = np.random.default_rng(5).normal(size=mdp.shape)
    one, two = om.rl(mdp, cost, 0.2), om.rl(wrapped(mdp), cost, 0.2)
    assert np.abs(one.V - two.V).max() <= one.error + two.error
