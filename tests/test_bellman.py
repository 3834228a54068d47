"""Bellman operators against their sums, and RL(c) against value iteration in extended precision."""

import re
from itertools import pairwise

import numpy as np
import pytest
from corner_mdps import corner_mdps, random_policy

from occmatch import (
    MDP,
    causal_entropy,
    examples,
    flow_residual,
    hard_backup,
    linear,
    linear_krylov,
    occupancy,
    policy_backup,
    q_values,
    rl,
    soft_backup,
    solve_policy,
    solve_visits,
    value_bounds,
)

MDPS = corner_mdps()
EPS = np.finfo(float).eps
LAMS = [0.0, 1e-3, 1.0, 100.0]


def naive_soft_backup(mdp, cost, V, lam, dtype=np.longdouble):
    """The soft operator term by term in 64-bit mantissas, V rounded nowhere."""
    P = mdp.P.toarray().astype(dtype).reshape(*mdp.shape, mdp.S)
    Q = cost.astype(dtype) + dtype(mdp.gamma) * np.einsum("sat,t->sa", P, V)
    if lam == 0.0:
        return Q.min(axis=1)
    least = Q.min(axis=1, keepdims=True)
    return least[:, 0] - dtype(lam) * np.log(np.exp((least - Q) / dtype(lam)).sum(axis=1))


def value_iteration(mdp, cost, lam):
    """V* to about 1e-17 relative: the contraction run until it stops, started from its own bound."""
    V = np.zeros(mdp.S, dtype=np.longdouble)
    for _ in range(900):  # 0.95^900 ~ 1e-20
        V = naive_soft_backup(mdp, cost, V, lam)
    return V


@pytest.mark.parametrize("name", MDPS)
@pytest.mark.parametrize("lam", LAMS)
def test_operators_are_their_formulas(name, lam):
    mdp, rng = MDPS[name], np.random.default_rng(1)
    cost, V, pi = rng.normal(size=mdp.shape), rng.normal(size=mdp.S), random_policy(mdp, rng, 0.1)
    slack = 50 * EPS * (10 + lam * np.log(mdp.A))
    if lam == 0.0:
        TV, greedy = hard_backup(mdp, cost, V)
        assert set(greedy.reshape(-1)) <= {0.0, 1.0}
    else:
        TV, greedy = soft_backup(mdp, cost, V, lam)
    np.testing.assert_allclose(TV, naive_soft_backup(mdp, cost, V, lam), rtol=0, atol=slack)
    assert np.abs(greedy.sum(axis=1) - 1.0).max() <= mdp.A * EPS
    # The greedy policy attains the operator, and any other policy is worse: T V = min_pi T_pi V.
    np.testing.assert_allclose(policy_backup(mdp, cost, greedy, V, lam), TV, rtol=0, atol=slack)
    assert (policy_backup(mdp, cost, pi, V, lam) >= TV - slack).all()


@pytest.mark.parametrize("name", [name for name, mdp in MDPS.items() if mdp.gamma < 0.99])
@pytest.mark.parametrize("lam", LAMS)
def test_rl_agrees_with_value_iteration_within_its_certified_error(name, lam):
    mdp, cost = MDPS[name], np.random.default_rng(2).normal(size=MDPS[name].shape)
    solved, V = rl(mdp, cost, lam), value_iteration(mdp, cost, lam)
    assert np.abs(solved.V - V).max() <= solved.error
    # Rounding of the sweep over 1 - gamma, with a dot product of S terms and values of size (1 + lam log A)/(1-gamma).
    assert solved.error <= (mdp.S + mdp.A + 20) * EPS * (4 + lam * np.log(mdp.A)) / (1 - mdp.gamma) ** 2
    assert solved.lam == lam


@pytest.mark.parametrize("penalty", [1e3, 1e9, 1e17, 1e308])
@pytest.mark.parametrize("lam", [0.0, 0.1])
@pytest.mark.parametrize("tol", [0.0, 1e-13])
def test_a_penalty_on_one_action_costs_the_others_no_digits(penalty, lam, tol):
    """An action that nobody takes might as well not exist."""
    rng = np.random.default_rng(15)
    mdp = examples.garnet(20, 3, 5, 0.9, rng)
    cost = rng.random(mdp.shape)
    cost[:, 2] = penalty
    rest = MDP(mdp.P.toarray().reshape(20, 3, 20)[:, :2], mdp.p0, mdp.gamma)
    solved, allowed = rl(mdp, cost, lam, tol=tol), rl(rest, cost[:, :2], lam)
    assert np.abs(solved.V - value_iteration(rest, cost[:, :2], lam)).max() <= solved.error <= 1e-12
    assert (solved.pi[:, 2] == 0.0).all()
    np.testing.assert_allclose(solved.pi[:, :2], allowed.pi, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("size", "lam"), [(1e308, 0.0), (1e308, 0.1), (-1e308, 0.0), (-1e308, 0.1), (1.0, 1e308), (1e307, 1e307)]
)
def test_values_that_overflow_are_refused(size, lam):
    mdp = examples.garnet(6, 3, 2, 0.9, np.random.default_rng(0))
    cost = size * np.random.default_rng(1).uniform(0.5, 1.0, size=mdp.shape)
    with pytest.raises(ValueError, match="cost and lam must be so small that doubles hold"):
        rl(mdp, cost, lam)


@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_values_just_below_overflow_are_found(lam):
    mdp = examples.garnet(6, 3, 2, 0.9, np.random.default_rng(0))
    cost = np.random.default_rng(1).uniform(-1.0, 1.0, size=mdp.shape)
    solved, small = rl(mdp, 1e307 * cost, 1e307 * lam), rl(mdp, cost, lam)
    np.testing.assert_allclose(solved.V / 1e307, small.V, rtol=0, atol=1e-12)
    assert np.isfinite(solved.error)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("lam", [*LAMS, 1e6])
def test_the_error_holds_for_costs_of_all_sizes_in_one_state(seed, lam):
    rng = np.random.default_rng(seed)
    mdp = examples.garnet(6, 3, 3, 0.9, rng)
    cost = np.where(rng.random(mdp.shape) < 0.4, 10.0 ** rng.uniform(0, 18, mdp.shape), rng.normal(size=mdp.shape))
    solved, V = rl(mdp, cost, lam), value_iteration(mdp, cost, lam)
    # The reference rounds too, at 1e-19 of its values.
    assert np.abs(solved.V - V).max() <= solved.error + 1e-17 * np.abs(V).max()


@pytest.mark.parametrize("name", MDPS)
@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("size", [1.0, 1e6])
def test_rl_attains_the_value_that_it_states(name, lam, size):
    mdp, cost = MDPS[name], size * np.random.default_rng(3).normal(size=MDPS[name].shape)
    solved = rl(mdp, cost, lam)
    value = (solved.rho * cost).sum() - lam * causal_entropy(solved.rho)
    scale = (np.abs(cost).max() + lam * np.log(mdp.A)) / (1 - mdp.gamma)
    assert value == pytest.approx(mdp.p0 @ solved.V, abs=2 * solved.error + 1e3 * EPS * scale)
    assert (solved.rho == occupancy(mdp, solved.pi)).all()
    assert np.abs(flow_residual(mdp, solved.rho)).max() <= 100 * EPS / (1 - mdp.gamma) ** 2
    # Relative error: rounding of V times 1/(1-gamma) for the sweep, S + A + 10 terms.
    assert solved.error <= (mdp.S + mdp.A + 20) * EPS * scale / (1 - mdp.gamma)
    for other in (np.full(mdp.shape, 1 / mdp.A), random_policy(mdp, np.random.default_rng(4))):
        rho = occupancy(mdp, other)
        assert (rho * cost).sum() - lam * causal_entropy(rho) >= value - 2 * solved.error - 1e3 * EPS * scale


def test_costs_of_a_million_at_gamma_0_9999():
    mdp = examples.gridworld(6, slip=0.2, gamma=0.9999)
    cost = 1e6 * np.random.default_rng(5).choice([-1.0, 1.0], size=mdp.shape)
    solved = rl(mdp, cost, lam=1.0)
    assert np.isfinite(solved.V).all()
    assert np.isfinite(solved.pi).all()
    assert solved.error <= 1e-10 * np.abs(solved.V).max()


def test_a_constant_cost_of_any_size_gives_the_uniform_policy_exactly():
    mdp = MDPS["garnet"]
    solved = rl(mdp, np.full(mdp.shape, 1e6), lam=0.1)
    assert np.abs(solved.pi - 1 / mdp.A).max() <= EPS
    assert solved.V == pytest.approx((1e6 - 0.1 * np.log(mdp.A)) / (1 - mdp.gamma), abs=solved.error)


def test_ties_end_and_a_warm_start_at_the_answer_takes_no_step():
    mdp = examples.gridworld(5, slip=0.0, gamma=0.99)
    cost = np.tile([1.0, 1.0 + 1e-16, 1.0, 1.0], (mdp.S, 1))  # the four actions differ by less than rounding
    tied = rl(mdp, cost, lam=0.0)
    assert tied.iterations <= 3
    assert tied.V == pytest.approx(100.0, abs=tied.error)
    goal = examples.gridworld_cost(mdp)
    cold = rl(mdp, goal, lam=0.0)
    warm = rl(mdp, goal, lam=0.0, V0=cold.V)
    assert warm.iterations <= 1 < cold.iterations
    assert np.abs(warm.V - cold.V).max() <= warm.error + cold.error


def test_tolerance_and_step_limit_stop_early_with_an_honest_error():
    mdp, cost = MDPS["garnet"], np.random.default_rng(6).normal(size=MDPS["garnet"].shape)
    exact = rl(mdp, cost, lam=0.01)
    loose = rl(mdp, cost, lam=0.01, tol=1e-2)
    assert loose.iterations < exact.iterations
    for early in (loose, rl(mdp, cost, lam=0.01, max_iter=1), rl(mdp, cost, lam=0.0, max_iter=1)):
        truth = rl(mdp, cost, early.lam)
        assert np.abs(early.V - truth.V).max() <= early.error + truth.error
    assert loose.error <= 1e-2


def test_newton_is_quadratic():
    """The error of each step is at most a constant times the square of the one before, until rounding."""
    mdp, cost = MDPS["garnet"], np.random.default_rng(7).normal(size=MDPS["garnet"].shape)
    V = rl(mdp, cost).V
    errors = [np.abs(rl(mdp, cost, max_iter=k).V - V).max() for k in range(1, 8)]
    digits = [(a, b) for a, b in pairwise(errors) if 1e-6 < a < 1e-1]
    assert digits, "no step fell into the range in which the rate shows"
    assert all(b <= 10 * a**2 for a, b in digits)


@pytest.mark.parametrize("name", MDPS)
def test_one_sweep_bounds_hold_for_any_guess(name):
    mdp, rng = MDPS[name], np.random.default_rng(8)
    cost, V, pi = rng.normal(size=mdp.shape), 10 * rng.normal(size=mdp.S), random_policy(mdp, rng)
    slack = 1e3 * EPS / (1 - mdp.gamma) ** 2
    answers = {
        "soft": (soft_backup(mdp, cost, V, 0.5)[0], rl(mdp, cost, 0.5).V),
        "hard": (hard_backup(mdp, cost, V)[0], rl(mdp, cost, 0.0).V),
        "policy": (policy_backup(mdp, cost, pi, V), solve_policy(mdp, pi, (pi * cost).sum(axis=1))),
    }
    for TV, truth in answers.values():
        lo, hi = value_bounds(V, TV, mdp.gamma)
        assert (lo <= truth + slack).all()
        assert (truth <= hi + slack).all()


@pytest.mark.parametrize("gamma", [0.5, 0.99, 0.9999])
@pytest.mark.parametrize("kind", ["garnet", "grid"])
def test_krylov_and_lu_agree_with_dense_solves(gamma, kind, monkeypatch):
    rng = np.random.default_rng(9)
    mdp = examples.garnet(200, 3, 4, gamma, rng) if kind == "garnet" else examples.gridworld(14, gamma=gamma)
    pi, r = random_policy(mdp, rng), rng.normal(size=mdp.S)
    dense = np.eye(mdp.S) - gamma * linear.policy_matrix(mdp, pi).toarray()
    V, d = np.linalg.solve(dense, r), np.linalg.solve(dense.T, mdp.p0)
    slack = 100 * EPS / (1 - gamma)
    for dense, sparse in ((200, 0), (0, 20_000), (0, 0)):  # LAPACK, SuperLU, Krylov
        monkeypatch.setattr(linear, "_DENSE_STATES", dense)
        monkeypatch.setattr(linear, "_LU_STATES", sparse)
        np.testing.assert_allclose(solve_policy(mdp, pi, r), V, rtol=0, atol=slack * np.abs(V).max())
        np.testing.assert_allclose(solve_visits(mdp, pi), d, rtol=0, atol=slack * d.max())
        assert (solve_visits(mdp, pi) >= 0).all()


def test_large_garnets_go_by_krylov_and_grids_by_lu():
    rng = np.random.default_rng(10)
    for mdp, factorises in ((examples.garnet(2000, 2, 3, 0.99, rng), False), (examples.gridworld(45), True)):
        pi = random_policy(mdp, rng)
        assert linear.resolvent(mdp, pi).factorises is factorises
        solved = rl(mdp, rng.normal(size=mdp.shape), lam=0.1)
        assert solved.error <= 1e3 * EPS / (1 - mdp.gamma) ** 2
        assert np.abs(flow_residual(mdp, solved.rho)).max() <= 100 * EPS


def test_a_few_rows_rule_out_what_the_ordering_would():
    """The bound holds wherever the ordering is narrow, and spares it on a large garnet."""
    rng = np.random.default_rng(13)
    narrow = (examples.gridworld(45), examples.river_swim(500), examples.maze(examples.maze_walls(20, rng=rng)))
    for mdp in narrow:
        M = linear.policy_matrix(mdp, random_policy(mdp, rng))
        assert not linear._spreads(M, linear._bandwidth(M))
    wide = examples.garnet(5000, 4, 5, 0.99, rng)
    assert linear._spreads(linear.policy_matrix(wide, random_policy(wide, rng)), 0.05 * wide.S)


@pytest.mark.parametrize("start", [None, 0])
def test_visits_need_no_factors_from_any_start(monkeypatch, start):
    """BiCGSTAB alone: its first residual is orthogonal to all that follow, or meets them nowhere."""
    for name in ("_DENSE_STATES", "_LU_STATES", "_HOPELESS_STATES"):
        monkeypatch.setattr(linear, name, 0)
    monkeypatch.setattr(linear_krylov, "_gmres", None)
    rng = np.random.default_rng(14)
    for gamma in (0.9, 0.999):
        mdp = examples.gridworld(30, gamma=gamma, start=start)
        rho = occupancy(mdp, rl(mdp, examples.gridworld_cost(mdp), 0.1).pi)
        assert np.abs(flow_residual(mdp, rho)).max() <= 100 * EPS * max(1.0, rho.max())
    garnet = examples.garnet(3000, 4, 5, 0.99, rng)
    p0 = np.eye(1, garnet.S)[0] if start == 0 else np.full(garnet.S, 1 / garnet.S)
    mdp = MDP(garnet.P, p0, garnet.gamma)
    assert np.abs(flow_residual(mdp, occupancy(mdp, random_policy(mdp, rng)))).max() <= 100 * EPS


def test_krylov_answers_only_with_a_small_residual(monkeypatch):
    mdp, rng = examples.garnet(300, 3, 4, 0.99, np.random.default_rng(11)), np.random.default_rng(12)
    M, r = linear.policy_matrix(mdp, random_policy(mdp, rng)), rng.normal(size=mdp.S)
    for rtol, residual in ((0.0, 100 * EPS), (1e-3, 1e-3)):
        x = linear.krylov(M, mdp.gamma, r, rtol)
        assert np.abs(r - x + mdp.gamma * (M @ x)).max() <= residual * max(
            np.abs(r).max(), (rtol == 0.0) * np.abs(x).max()
        )
    monkeypatch.setattr(linear, "_PASSES", 1)
    monkeypatch.setattr(linear, "_STEPS", 3)
    assert linear.krylov(M, mdp.gamma, r) is None


def test_where_krylov_stalls_lu_has_the_last_word():
    """A deterministic chain of 1500 states at gamma close to 1: 500 steps of BiCGSTAB cannot cross it."""
    S = 1500
    P = np.arange(S)
    chain = linear.csr_array((np.ones(S), (P, np.minimum(P + 1, S - 1))), shape=(S, S))
    mdp = MDP(chain, np.eye(1, S)[0], 1 - 1e-6)
    assert linear.krylov(chain.T.tocsr(), mdp.gamma, mdp.p0) is None
    solver = linear.Resolvent(chain, mdp.gamma)
    solver.__dict__["factorises"] = False
    d = solver.solve_transposed(mdp.p0)
    np.testing.assert_allclose(d[:-1], mdp.gamma ** np.arange(S - 1), rtol=2 * S * EPS, atol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda mdp, c: rl(mdp, np.where(c == c, np.nan, c)), "cost[0, 0] must be finite, but is nan"),
        (lambda mdp, c: rl(mdp, c[:2]), "cost must have shape (4, 4), but has shape (2, 4)"),
        (lambda mdp, c: rl(mdp, c, lam=-0.5), "lam must be at least 0, but is -0.5"),
        (lambda mdp, c: rl(mdp, c, max_iter=0), "max_iter must be an integer of at least 1, but is 0"),
        (lambda mdp, c: rl(mdp, c, V0=np.zeros(3)), "V0 must have shape (4,), but has shape (3,)"),
        (lambda mdp, c: rl(mdp, c, tol=-1.0), "tol must be at least 0, but is -1"),
        (lambda mdp, c: rl(mdp, c, progress=3), "progress must be a function, True, False or None, but is 3"),
        (lambda mdp, c: soft_backup(mdp, c, np.zeros(4), 0.0), "lam must be positive, but is 0"),
        (lambda mdp, c: hard_backup(mdp, c, np.zeros(5)), "V must have shape (4,), but has shape (5,)"),
        (lambda mdp, c: q_values(mdp, c, np.full(4, np.inf)), "V[0] must be finite, but is inf"),
        (lambda mdp, c: policy_backup(mdp, c, 2 * c, np.zeros(4)), "pi[0] must be a probability distribution"),
        (lambda mdp, c: value_bounds([0.0], np.zeros((1, 1)), 0.5), "TV must have shape (1,), but has shape (1, 1)"),
        (
            lambda mdp, c: value_bounds(np.zeros((3, 1)), np.zeros(3), 0.5),
            "V must have shape (S,), but has shape",
        ),
        (lambda mdp, c: value_bounds(np.zeros(4), np.zeros(4), 1.0), "gamma must lie in [0, 1), but is 1.0"),
        (lambda mdp, c: solve_visits(mdp, c), "pi[0] must be a probability distribution"),
        (lambda mdp, c: solve_policy(mdp, c / 4, np.zeros(2)), "r must have shape (4,), but has shape (2,)"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(examples.gridworld(2), np.ones((4, 4)))
