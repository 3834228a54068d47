"""The paths of `rl` that large problems take, forced on small ones and held against dense solvers and LU."""

import numpy as np
import pytest
from scipy.sparse import csr_array

import occmatch as om
from occmatch import (
    bellman,
    bellman_accelerated,
    bellman_coarse,
    bellman_howard,
    bellman_newton,
    bellman_sweep,
    examples,
    linear,
    linear_krylov,
    linear_policy,
    products,
)
from occmatch.linear_multigrid import Multigrid, suits

EPS = np.finfo(float).eps


@pytest.fixture
def large(monkeypatch):
    """Every threshold at nothing: no factorisation, patterns written in place, guesses from groups, two threads."""
    monkeypatch.setattr(linear, "_DENSE_STATES", 0)
    monkeypatch.setattr(linear, "_LU_STATES", 0)
    monkeypatch.setattr(linear, "_HOPELESS_STATES", 0)
    for module, name in ((bellman_newton, "_LARGE"), (bellman_howard, "_SMALL")):
        monkeypatch.setattr(module, name, 0)
    monkeypatch.setattr(bellman, "_COARSE_STATES", 30)
    monkeypatch.setattr(bellman_coarse, "_STATES", 30)
    monkeypatch.setattr(products, "_ENTRIES", 0)


def dense_newton(mdp, cost, lam):
    """V* by soft policy iteration with LAPACK, or Howard's with the same, until V repeats or 60 steps are over."""
    P, c, V = mdp.P.toarray().reshape(*mdp.shape, mdp.S), cost, np.zeros(mdp.S)
    for _ in range(60):
        Q = c + mdp.gamma * np.einsum("sat,t->sa", P, V)
        if lam > 0.0:
            weights = np.exp((Q.min(axis=1, keepdims=True) - Q) / lam)
            pi = weights / weights.sum(axis=1, keepdims=True)
            entropy = np.where(pi > 0, pi * np.log(np.where(pi > 0, pi, 1.0)), 0.0).sum(axis=1)
        else:
            pi, entropy = np.eye(mdp.A)[Q.argmin(axis=1)], 0.0
        r = (pi * c).sum(axis=1) + lam * entropy
        before, V = V, np.linalg.solve(np.eye(mdp.S) - mdp.gamma * np.einsum("sa,sat->st", pi, P), r)
        if np.abs(V - before).max() <= 4 * EPS * np.abs(V).max() / (1 - mdp.gamma):
            break
    return V


def random_mdp(rng):
    """Small, of every kind: garnets and grids, gamma to 0.9999, costs from 1e-8 to 1e8, lam from 0 up."""
    gamma = float(rng.choice([0.0, 0.5, 0.9, 0.99, 0.9999]))
    if rng.random() < 0.5:
        S = int(rng.integers(1, 12))
        mdp = examples.garnet(S, int(rng.integers(1, 5)), int(rng.integers(1, S + 1)), gamma, rng)
    else:
        mdp = examples.gridworld(*rng.integers(1, 5, size=2), slip=rng.random(), gamma=gamma)
    size = 10.0 ** rng.uniform(-8, 8)
    return mdp, size * rng.normal(size=mdp.shape), float(rng.choice([0.0, 1e-2, 1.0, 10.0])) * size


def test_two_thousand_random_mdps_agree_with_dense_solves():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        mdp, cost, lam = random_mdp(rng)
        solved, V = om.rl(mdp, cost, lam), dense_newton(mdp, cost, lam)
        scale = (np.abs(cost).max() + lam * np.log(mdp.A)) / (1 - mdp.gamma)
        # The dense solve rounds by its condition, 1/(1-gamma), times values of size `scale`.
        slack = solved.error + 50 * EPS * scale / (1 - mdp.gamma)
        assert np.abs(solved.V - V).max() <= slack, (mdp, lam)
        assert solved.error <= 100 * EPS * scale / (1 - mdp.gamma)


def test_random_mdps_agree_on_the_paths_of_large_ones(large):
    rng = np.random.default_rng(1)
    for _ in range(300):
        mdp, cost, lam = random_mdp(rng)
        scale = (np.abs(cost).max() + lam * np.log(mdp.A)) / (1 - mdp.gamma)
        solved, V = om.rl(mdp, cost, lam, tol=1e3 * EPS * scale / (1 - mdp.gamma)), dense_newton(mdp, cost, lam)
        slack = solved.error + 50 * EPS * scale / (1 - mdp.gamma)
        assert np.abs(solved.V - V).max() <= slack, (mdp, lam)
        assert solved.error <= 1e3 * EPS * scale / (1 - mdp.gamma), (mdp, lam, solved.method)


@pytest.mark.parametrize("gamma", [0.99, 0.9999])
@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_a_long_way_to_a_goal(large, gamma, lam):
    """20 x 20, and the guess from groups of groups; the error of 1e-9 needs fine sweeps at gamma 0.9999."""
    mdp = examples.gridworld(20, gamma=gamma)
    cost = examples.gridworld_cost(mdp)
    solved = om.rl(mdp, cost, lam, tol=1e-9)
    assert solved.error <= 1e-9
    assert solved.method in ("soft policy iteration", "policy iteration")
    assert np.abs(solved.V - dense_newton(mdp, cost, lam)).max() <= 1e-9 + 1e3 * EPS * 1e3 / (1 - gamma)
    assert np.abs(om.flow_residual(mdp, solved.rho)).max() <= 1e3 * EPS / (1 - gamma)


def test_sweeps_shorten_a_long_way_of_policy_iteration(monkeypatch):
    mdp = examples.maze(examples.maze_walls(50, rng=np.random.default_rng(0)), gamma=0.99)
    cost = examples.maze_cost(mdp)
    found = om.rl(mdp, cost, 0.0, tol=1e-9)
    monkeypatch.setattr(bellman_howard, "SWEEPS", 0)
    without = om.rl(mdp, cost, 0.0, tol=1e-9)
    assert max(found.error, without.error) <= 1e-9
    assert np.abs(found.V - without.V).max() <= found.error + without.error
    assert found.iterations < 0.7 * without.iterations


@pytest.mark.parametrize(("S", "gamma", "seed"), [(300, 0.999, 1), (500, 0.999, 3), (5000, 0.99999, 0)])
@pytest.mark.parametrize("lam", [0.0, 0.01, 0.1])
def test_a_corridor_with_random_costs(S, gamma, seed, lam):
    """Steps lead up for hundreds of iterations, because a policy improves by a stretch of the corridor at a time."""
    to = np.stack([np.minimum(np.arange(S) + 1, S - 1), np.maximum(np.arange(S) - 1, 0)], 1).ravel()
    P = csr_array((np.ones(2 * S), (np.arange(2 * S), to)), shape=(2 * S, S))
    mdp = om.MDP(P, np.bincount([0], minlength=S), gamma)
    solved = om.rl(mdp, np.random.default_rng(seed).normal(size=mdp.shape), lam)
    assert solved.method in ("soft policy iteration", "policy iteration")
    assert solved.error <= 100 * EPS / (1 - gamma) ** 2  # a bound by one sweep, which needs no second opinion
    assert solved.iterations < 50


def test_falling_values_are_progress(monkeypatch):
    """Without sweeps between them steps go on for longer than patience lasts, and reach the same values."""
    S = 1000
    to = np.stack([np.minimum(np.arange(S) + 1, S - 1), np.maximum(np.arange(S) - 1, 0)], 1).ravel()
    P = csr_array((np.ones(2 * S), (np.arange(2 * S), to)), shape=(2 * S, S))
    mdp = om.MDP(P, np.bincount([0], minlength=S), 0.9999)
    cost = np.random.default_rng(0).normal(size=mdp.shape)
    quick = om.rl(mdp, cost, 0.1)
    monkeypatch.setattr(bellman_newton, "SWEEPS", 0)
    slow = om.rl(mdp, cost, 0.1)
    assert slow.iterations > 150 > 50 > quick.iterations
    assert slow.method == quick.method == "soft policy iteration"
    assert np.abs(slow.V - quick.V).max() <= slow.error + quick.error <= 1e-6


def test_chains_that_hardly_exchange_mass():
    """Two rooms joined with probability 1e-6: the stationary parts are nearly undecided, the certificate is not."""
    rng = np.random.default_rng(2)
    rooms = [examples.garnet(15, 3, 3, 0.5, rng).P.toarray().reshape(15, 3, 15) for _ in range(2)]
    P = np.zeros((30, 3, 30))
    P[:15, :, :15], P[15:, :, 15:] = (1 - 1e-6) * rooms[0], (1 - 1e-6) * rooms[1]
    P[:15, :, 15:], P[15:, :, :15] = 1e-6 / 15, 1e-6 / 15
    for size in (1e-8, 1.0, 1e8):
        mdp = om.MDP(P, np.full(30, 1 / 30), 0.9999)
        cost = size * rng.normal(size=mdp.shape)
        solved = om.rl(mdp, cost, 0.1 * size)
        rounding = 100 * EPS * np.abs(cost).max() / (1 - mdp.gamma) ** 2
        assert np.abs(solved.V - dense_newton(mdp, cost, 0.1 * size)).max() <= solved.error + rounding
        assert solved.error <= rounding


def test_where_systems_stall_sweeps_take_over_and_say_so(large, monkeypatch):
    monkeypatch.setattr(linear, "_STEPS", 1)
    monkeypatch.setattr(linear, "_PLAIN_STEPS", 1)
    monkeypatch.setattr(linear, "_PASSES", 1)
    monkeypatch.setattr(linear, "multigrid_suits", lambda M: False)
    mdp = examples.gridworld(8, slip=0.3, gamma=0.97)
    cost = np.random.default_rng(3).normal(size=mdp.shape)
    for lam in (0.0, 0.3):
        solved, V = om.rl(mdp, cost, lam, tol=1e-9), dense_newton(mdp, cost, lam)
        assert solved.method == bellman_accelerated.ANDERSON
        assert solved.error <= 1e-9 and np.abs(solved.V - V).max() <= 1e-9 + 1e-11
    monkeypatch.setattr(bellman_accelerated, "_PATIENCE", -1)
    anchored = om.rl(mdp, cost, 0.3, tol=1e-6)
    assert anchored.method in (bellman_accelerated.ANCHORED, bellman_accelerated.ANDERSON)
    assert np.abs(anchored.V - dense_newton(mdp, cost, 0.3)).max() <= anchored.error


def test_anchored_sweeps_follow_their_recursion():
    mdp, rng = examples.garnet(10, 3, 3, 0.95, np.random.default_rng(4)), np.random.default_rng(5)
    cost, seen = rng.normal(size=mdp.shape), []
    start = bellman_accelerated._sweep(mdp, cost, 0.2, np.zeros(mdp.S), 0, "start")
    bellman_accelerated._anchored(mdp, cost, 0.2, start, 1e-3, lambda *report: seen.append(report), "anchored")
    anchor = V = start.V + start.step - bellman_sweep.middle(start.step)
    for k in range(1, 4):
        assert seen[k - 1][3]() == pytest.approx(bellman_accelerated._sweep(mdp, cost, 0.2, V, k, "").centred(0.95))
        b = 1.0 / sum(0.95 ** (-2 * i) for i in range(k + 1))
        V = b * anchor + (1 - b) * om.soft_backup(mdp, cost, V, 0.2)[0]
    assert seen[-1][2] <= 1e-3


@pytest.mark.parametrize("lam", [0.0, 0.2])
def test_the_fine_sweep_is_the_sweep_with_more_digits(lam, monkeypatch):
    monkeypatch.setattr(bellman_sweep, "_CHUNK", 7)
    mdp, rng = examples.gridworld(6, slip=0.2, gamma=0.999), np.random.default_rng(6)
    cost = rng.normal(size=mdp.shape)
    V, w = 1000.0 + rng.normal(size=mdp.S), 1e-14 * rng.normal(size=mdp.S)
    step, pi, bound = bellman_sweep.fine_step(mdp, cost, V, w, lam)
    P = mdp.P.toarray().astype(np.longdouble)
    P /= P.sum(axis=1, keepdims=True)
    x = V.astype(np.longdouble) + w
    Q = cost + np.longdouble(mdp.gamma) * (P @ x).reshape(mdp.shape)
    least = Q.min(axis=1, keepdims=True)
    exact = least[:, 0] - (lam * np.log(np.exp((least - Q) / lam).sum(axis=1)) if lam else 0.0) - x
    assert np.abs(step - exact).max() <= bound + 1e-16
    assert bound <= 1e-13 < 0.1 * bellman_sweep.sweep_rounding(mdp, cost, V, V + step, lam) + 1e-12
    greedy = om.soft_backup(mdp, cost, V, lam)[1] if lam else om.hard_backup(mdp, cost, V)[1]
    np.testing.assert_allclose(pi, greedy, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["grid", "garnet", "ragged"])
def test_policy_matrices_in_place_are_products_of_matrices(kind):
    rng = np.random.default_rng(7)
    mdp = {
        "grid": examples.gridworld(7, 5),
        "garnet": examples.garnet(50, 3, 4, 0.9, rng),
        "ragged": examples.mountain_car(6),
    }[kind]
    matrices = linear_policy.PolicyMatrices(mdp)
    assert matrices.merged is (kind != "garnet")
    for _ in range(3):
        pi, x = rng.dirichlet(np.ones(mdp.A), size=mdp.S), rng.normal(size=mdp.S)
        ours, plain = matrices.of(pi), linear_policy.policy_matrix(mdp, pi)
        assert abs(linear_policy.quick_matrix(mdp, pi) - plain).max() <= 4 * EPS
        np.testing.assert_allclose(ours @ x, plain @ x, rtol=0, atol=100 * EPS)
        np.testing.assert_allclose(ours.T @ x, plain.T @ x, rtol=0, atol=100 * EPS)


def test_two_threads_give_the_bits_of_one():
    mdp, V = examples.mountain_car(30), np.random.default_rng(8).normal(size=901)
    one, two = products.product(mdp.P, 1)(V), products.product(mdp.P, 2)(V)
    assert (one == two).all() and (one == mdp.P @ V).all()


def uniform_matrix(mdp):
    return linear.policy_matrix(mdp, np.full(mdp.shape, 1 / mdp.A))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("gamma", [0.9, 0.999])
def test_multigrid_saves_most_products(gamma, transposed):
    """On a way of 80 steps and more, by the optimal policy, and back."""
    mdp = examples.gridworld(40, gamma=gamma)
    P_pi = linear.policy_matrix(mdp, om.rl(mdp, examples.gridworld_cost(mdp), 0.1).pi)
    M = P_pi.T.tocsr() if transposed else P_pi
    b, counts = np.random.default_rng(9).uniform(size=mdp.S), []
    for inverse in (None, Multigrid(M, gamma).inverse):
        counts.append(0)

        def product(x):
            counts[-1] += 1
            return M @ x

        x, reached = linear_krylov.refined(product, gamma, b, 1e-10, 4, 500, inverse)
        assert reached
        assert np.abs(b - x + gamma * (M @ x)).max() <= max(1e-10, 16 * EPS * np.abs(x).max())
    assert counts[1] <= 30 and counts[1] < 0.25 * counts[0]


def test_multigrid_suits_graphs_of_few_dimensions():
    rng = np.random.default_rng(10)
    grids = [
        examples.gridworld(60),
        examples.maze(examples.maze_walls(30, doors=0.1, rng=rng)),
        examples.tandem_queue(40),
        examples.mountain_car(50),
        examples.pendulum(40),
    ]
    assert all(suits(uniform_matrix(mdp)) for mdp in grids)
    assert not suits(uniform_matrix(examples.garnet(20_000, 4, 5, 0.99, rng)))
    assert not suits(uniform_matrix(examples.garnet(20_000, 2, 3, 0.99, rng)))


@pytest.mark.parametrize("transposed", [False, True])
def test_steps_behind_multigrid_solve_what_plain_steps_do_not(monkeypatch, transposed):
    for name in ("_DENSE_STATES", "_LU_STATES", "_HOPELESS_STATES"):
        monkeypatch.setattr(linear, name, 0)
    monkeypatch.setattr(linear, "_PLAIN_STEPS", 5)
    mdp = examples.gridworld(40, gamma=0.9999)
    P_pi = linear.policy_matrix(mdp, om.rl(mdp, examples.gridworld_cost(mdp), 0.1).pi)
    b = np.random.default_rng(11).normal(size=mdp.S)
    solver = linear.Resolvent(P_pi, 0.9999)
    x = solver.solve_transposed(b) if transposed else solver.solve(b)
    M = (P_pi.T if transposed else P_pi).toarray()
    expected = np.linalg.solve(np.eye(mdp.S) - 0.9999 * M, b)
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    assert transposed or not solver.plain_helps


def test_a_multigrid_serves_a_policy_nearby_and_gives_way_for_another(monkeypatch):
    for name in ("_DENSE_STATES", "_LU_STATES", "_HOPELESS_STATES"):
        monkeypatch.setattr(linear, name, 0)
    mdp = examples.gridworld(40, gamma=0.9999)
    pi = om.rl(mdp, examples.gridworld_cost(mdp), 0.1).pi
    b = np.random.default_rng(11).normal(size=mdp.S)
    made = Multigrid(linear.policy_matrix(mdp, pi), mdp.gamma)
    for share, same in ((0.001, True), (1.0, False)):
        P_pi = linear.policy_matrix(mdp, (1 - share) * pi + share / mdp.A)
        solver = linear.Resolvent(P_pi, mdp.gamma, plain_helps=False, multigrid=made)
        x = solver.solve(b, 1e-8)
        assert (solver.multigrid is made) == same
        assert np.abs(b - x + mdp.gamma * (P_pi @ x)).max() <= 1e-8 * np.abs(b).max()


def test_a_goal_and_a_trap_do_not_share_a_group_with_their_neighbours():
    """A goal averaged with its neighbours would be left again, and the smaller MDP would not know where to go."""
    mdp = examples.gridworld(12, gamma=0.99)
    goal, trap = mdp.S - 1, 30
    cost = examples.gridworld_cost(mdp)
    P = mdp.P.toarray()
    P[trap * mdp.A : (trap + 1) * mdp.A] = np.eye(mdp.S)[trap]
    mdp = om.MDP(P.reshape(*mdp.shape, mdp.S), mdp.p0, mdp.gamma)
    P_pi = linear.policy_matrix(mdp, np.full(mdp.shape, 0.25))
    groups = bellman_coarse._groups(bellman_coarse._exchange(P_pi, cost.mean(axis=1), bellman_coarse.stays(mdp)), 3)
    sizes = np.bincount(groups)
    assert sizes[groups[goal]] == 1 and sizes[groups[trap]] == 1
    assert sizes.size < 0.4 * mdp.S


def test_the_mass_that_states_keep():
    P = np.array([[[0.25, 0.75], [0.5, 0.5]], [[0.0, 1.0], [0.0, 1.0]]])
    np.testing.assert_array_equal(bellman_coarse.stays(om.MDP(P, np.array([1.0, 0.0]), 0.9)), [0.25, 1.0])


def test_groups_average_the_mdp():
    mdp, rng = examples.gridworld(6, gamma=0.9), np.random.default_rng(10)
    cost, groups = rng.normal(size=mdp.shape), np.arange(36) // 4
    small, mean = bellman_coarse.aggregated(mdp, cost, groups)
    P = mdp.P.toarray().reshape(9, 4, 4, 9, 4)  # group, member, action, next group, next member
    np.testing.assert_allclose(small.P.toarray(), P.sum(axis=4).mean(axis=1).reshape(36, 9), rtol=0, atol=1e-14)
    np.testing.assert_allclose(mean, cost.reshape(9, 4, 4).mean(axis=1), rtol=0, atol=1e-14)
    found = bellman_coarse._groups(linear.policy_matrix(mdp, np.full(mdp.shape, 0.25)), 2)
    sizes = np.bincount(found)
    assert sizes.min() >= 1 and sizes.max() <= 4 and sizes.size <= 18, "pairs of pairs"
