"""Examples against answers known by hand or from the literature, and tables of Gymnasium."""

import re
import tracemalloc
import warnings

import gymnasium
import numpy as np
import pytest

from occmatch import Layout, examples, flow_residual, graph, occupancy, rl, solve_policy

# Values of size up to 20 at gamma 0.95, from solves of a few states: 1e3 units in the last place.
ROUNDING = 20 * 1e3 * np.finfo(float).eps


@pytest.mark.parametrize("fail", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("q", [0.0, 0.25, 1.0])
def test_two_state_chain_by_hand(fail, q):
    mdp = examples.two_state_chain(fail, gamma=0.9)
    d = occupancy(mdp, np.array([[1 - q, q], [1.0, 0.0]])).sum(axis=1)
    first = 1 / (1 - 0.9 * (1 - q * (1 - fail)))
    np.testing.assert_allclose(d, [first, 10 - first], rtol=0, atol=ROUNDING)


def test_puterman_by_hand():
    """Puterman (1994), example of section 3.1, solved in chapter 6 at discount 0.95."""
    solved = rl(examples.puterman(0.95), examples.puterman_cost(), lam=0.0)
    np.testing.assert_allclose(solved.V, [60 / 7, 20], rtol=0, atol=ROUNDING)
    assert solved.pi[0].tolist() == [1, 0]


@pytest.mark.parametrize(("gamma", "action"), [(0.0, 1), (0.9, 1), (0.92, 0), (0.99, 0)])
def test_puterman_switches_at_ten_elevenths(gamma, action):
    assert rl(examples.puterman(gamma), examples.puterman_cost(), lam=0.0).pi[0, action] == 1.0


@pytest.mark.parametrize("S", [2, 6, 100])
def test_river_swim(S):
    mdp, cost = examples.river_swim(S, gamma=0.95), examples.river_swim_cost(S)
    left = np.tile([1.0, 0.0], (S, 1))
    assert solve_policy(mdp, left, (left * cost).sum(axis=1))[0] == pytest.approx(-0.005 / 0.05, abs=ROUNDING)
    greedy = rl(mdp, cost, lam=0.0).pi[0].argmax()
    assert greedy == (1 if S <= 6 else 0), "from the left bank a short river is worth swimming, a long one is not"


def test_gridworld_kernel_is_its_description():
    rows, columns, slip = 3, 4, 0.2
    mdp = examples.gridworld(rows, columns, slip=slip, start=5)
    assert mdp.p0[5] == 1.0
    moves = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    for s in range(rows * columns):
        for a in range(4):
            expected = np.zeros(mdp.S)
            for b, (dr, dc) in enumerate(moves):
                r, c = s // columns + dr, s % columns + dc
                to = r * columns + c if 0 <= r < rows and 0 <= c < columns else s
                expected[to] += slip / 4 + (1 - slip) * (a == b)
            np.testing.assert_allclose(mdp.P[[s * 4 + a]].toarray()[0], expected, rtol=0, atol=ROUNDING)
            assert tuple(mdp.layout.cells[s]) == (s // columns, s % columns)


def test_gridworld_value_is_the_discounted_distance():
    mdp = examples.gridworld(5, slip=0.0, gamma=0.9)
    V = rl(mdp, examples.gridworld_cost(mdp), lam=0.0).V
    steps = np.array([(4 - r) + (4 - c) for r, c in mdp.layout.cells])
    np.testing.assert_allclose(V, (1 - 0.9**steps) / 0.1, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("branching", [1, 2, 7, 30])
def test_garnet_has_exactly_its_branching(branching):
    mdp = examples.garnet(30, 3, branching, 0.9, np.random.default_rng(0))
    assert (np.diff(mdp.P.indptr) == branching).all()
    assert np.count_nonzero(mdp.p0) == branching


def test_garnet_of_many_branches_takes_little_more_memory_than_its_kernel(monkeypatch):
    tracemalloc.start()
    big = examples.garnet(1500, 4, 50, 0.9, np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert big.P.nnz == 300_000 and peak < 40e6  # 3.6 MB of kernel; all permutations at once took 144
    whole = examples.garnet(30, 3, 20, 0.9, np.random.default_rng(0))
    monkeypatch.setattr(examples, "_BLOCK", 70)
    assert (examples.garnet(30, 3, 20, 0.9, np.random.default_rng(0)).P != whole.P).nnz == 0


def test_garnet_depends_on_the_generator_alone():
    one, two, other = (examples.garnet(9, 2, 3, 0.9, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one.P != two.P).nnz == 0
    assert (one.P != other.P).nnz > 0


def toy(name, **options):
    with warnings.catch_warnings():
        # Gymnasium announces newer versions of its own tasks; the tables are what is wanted here.
        warnings.simplefilter("ignore")
        return gymnasium.make(name, **options).unwrapped


# Episode returns from the start states with the optimal policy: FrozenLake 8x8 at 0.99 as commonly reported
# (0.4146), CliffWalking 13 steps along the edge, Taxi the mean over starts of its shortest rides.
@pytest.mark.parametrize(
    ("name", "gamma", "value", "slack"),
    [
        ("FrozenLake8x8-v1", 0.99, -0.4146, 1e-4),
        ("CliffWalking-v1", 0.99, (1 - 0.99**13) / 0.01, ROUNDING),
        ("Taxi-v4", 0.99, -6.3275, 1e-4),
    ],
)
def test_gymnasium_tables(name, gamma, value, slack):
    env = toy(name)
    mdp = examples.from_gymnasium(env.P, gamma, p0=env.initial_state_distrib)
    cost = examples.gymnasium_cost(env.P)
    solved = rl(mdp, cost, lam=0.0)
    assert mdp.p0 @ solved.V == pytest.approx(value, abs=slack)
    ends = {to for s in env.P for a in env.P[s] for _, to, _, ended in env.P[s][a] if ended}
    assert set(np.flatnonzero(graph.absorbing(mdp))) == ends
    assert (cost[sorted(ends)] == 0.0).all()
    assert np.abs(flow_residual(mdp, solved.rho)).max() <= ROUNDING


def test_gymnasium_table_agrees_with_stepping_the_environment():
    env = toy("CliffWalking-v1")
    mdp = examples.from_gymnasium(env.P, 0.99, p0=env.initial_state_distrib)
    cost, rng = examples.gymnasium_cost(env.P), np.random.default_rng(0)
    s, _ = env.reset(seed=0)
    for _ in range(200):
        a = int(rng.integers(4))
        to, reward, terminated, _, _ = env.step(a)
        assert mdp.P[[s * 4 + a]].toarray()[0, to] == 1.0
        assert cost[s, a] == -reward
        s = env.reset()[0] if terminated else to


def table(**changes):
    P = {s: {a: [(1.0, (s + a) % 3, 1.0, False)] for a in range(2)} for s in range(3)}
    for key, value in changes.items():
        P[int(key[1])][int(key[3])] = value
    return P


@pytest.mark.parametrize(
    ("P", "message"),
    [
        ({}, "P[0][0] is missing"),
        ({0: table()[0], 2: table()[1]}, "P[1] must have the actions 0 .. 1 of P[0], but is missing"),
        ({0: table()[0], 1: {0: [(1.0, 0, 0.0, False)]}}, "P[1] must have the actions 0 .. 1 of P[0], but is [0]"),
        (table(s1a0=[(1.0, 7, 0.0, False)]), "P[1][0] must lead to a state in 0 .. 2, but leads to 7"),
        (table(s1a0=[(0.5, 0, 0.0, False)]), "P[1, 0] must be a probability distribution over next states"),
        (table(s1a0=[(1.0, 0, np.nan, False)]), "P[1][0] must have finite rewards, but has nan"),
        (table(s1a0=[(1.5, 0, 0.0, False), (-0.5, 0, 0.0, False)]), "P[1][0] must have probabilities of at least 0"),
        (table(s1a0=[("1", 0, 0.0, False)]), "P[1][0] must have finite probabilities, but has 1"),
        (table(s1a0=[(1.0, 0.0, 0.0, False)]), "P[1][0] must lead to a state in 0 .. 2, but leads to 0.0"),
        (
            table(s1a0=[(1.0, 0, False)]),
            "P[1][0] must list (probability, next state, reward, terminated), but lists (",
        ),
        (table(s1a0=[(1.0, 0, 0.0, False, {})]), "P[1][0] must list (probability, next state, reward, terminated)"),
        (table(s1a0=None), "P[1][0] must list (probability, next state, reward, terminated), but lists None"),
        ({s: {a: [] for a in range(2)} for s in range(3)}, "P must list transitions (probability, next state, reward"),
        ([table()[0]] * 3, "P must be a table P[s][a] with states and actions numbered from 0, but is list"),
        ({0: table()[0], 1: [[]]}, "P[1] must have the actions 0 .. 1 of P[0], but is [[]]"),
        ({0: table()[0], 1: {0: [], "a": []}}, "P[1] must have the actions 0 .. 1 of P[0], but is [0, 'a']"),
        (table(s1a1=[(1.0, 2, 0.0, True)], s0a1=[(1.0, 2, 0.0, False)]), "P[0][1] must end the episode on entering"),
    ],
)
def test_bad_tables_are_named(P, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        examples.from_gymnasium(P, 0.9, p0=[1.0, 0.0, 0.0])


def test_the_cost_of_a_bad_table_names_it_too():
    with pytest.raises(ValueError, match=re.escape("P[1][0] must have finite rewards, but has nan")):
        examples.gymnasium_cost(table(s1a0=[(1.0, 0, np.nan, False)]))


def test_what_a_table_lists_of_an_end_does_not_matter():
    ending = table(s0a0=[(1.0, 2, 1.0, True)], s1a1=[(1.0, 2, 0.0, True)])
    for a in range(2):
        ending[2][a] = []
    mdp = examples.from_gymnasium(ending, 0.9, p0=[1.0, 0.0, 0.0])
    assert mdp.P.toarray()[4:].tolist() == [[0.0, 0.0, 1.0]] * 2


def test_an_end_of_probability_zero_ends_nothing():
    P = {0: {0: [(1.0, 1, -1.0, True), (0.0, 0, 0.0, True)]}, 1: {0: [(1.0, 1, 0.0, True)]}}
    assert examples.from_gymnasium(P, 0.9, p0=[1.0, 0.0]).P.toarray().tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert examples.gymnasium_cost(P).tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize("T", [1, 2, 5])
def test_finite_horizon_is_backward_induction(T):
    mdp, rng = examples.garnet(6, 3, 2, 0.9, np.random.default_rng(3)), np.random.default_rng(4)
    cost = rng.normal(size=(T, *mdp.shape))
    V = np.zeros(mdp.S)
    for t in reversed(range(T)):
        V = (cost[t] + mdp.gamma * mdp.expect(V)).min(axis=1)
    lift = examples.finite_horizon(mdp, T)
    solved = rl(lift, examples.horizon_cost(cost, T), lam=0.0)
    np.testing.assert_allclose(solved.V[: mdp.S], V, rtol=0, atol=ROUNDING)
    mass = solved.rho.sum(axis=1)[:-1].reshape(T, mdp.S).sum(axis=1)
    np.testing.assert_allclose(mass, mdp.gamma ** np.arange(T), rtol=0, atol=ROUNDING)


def test_stationary_cost_is_repeated_over_the_horizon():
    cost = np.arange(6.0).reshape(3, 2)
    lifted = examples.horizon_cost(cost, 4)
    assert (lifted[:12].reshape(4, 3, 2) == cost).all()
    assert (lifted[12] == 0.0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: examples.gridworld(0), "n must be an integer of at least 1, but is 0"),
        (lambda: examples.gridworld(3, slip=-0.1), "slip must lie in [0, 1], but is -0.1"),
        (lambda: examples.gridworld(3, start=9), "start must be a state in 0 .. 8, but is 9"),
        (lambda: examples.gridworld_cost(examples.gridworld(2), goal=4), "goal must be a state in 0 .. 3, but is 4"),
        (lambda: examples.garnet(3, 2, 4, 0.9, np.random.default_rng(0)), "branching must be at most S = 3, but is 4"),
        (lambda: examples.garnet(3, 2, 2, 0.9, None), "rng must be a numpy.random.Generator, but is NoneType"),
        (lambda: examples.gridworld_cost(3), "mdp must be an MDP or a MatrixFree, but is int"),
        (lambda: examples.river_swim(1), "S must be an integer of at least 2, but is 1"),
        (lambda: examples.finite_horizon(examples.puterman(), 0), "T must be an integer of at least 1, but is 0"),
        (lambda: examples.horizon_cost(np.zeros((2, 3, 2)), 3), "cost must have shape (S, A) or (3, S, A)"),
    ],
)
def test_wrong_sizes_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_layout_of_an_environment_is_kept():
    env = toy("FrozenLake-v1")
    layout = examples.grid_layout(4, 4, ((0, -1), (1, 0), (0, 1), (-1, 0)))
    mdp = examples.from_gymnasium(env.P, 0.9, p0=env.initial_state_distrib, layout=layout)
    assert isinstance(mdp.layout, Layout)
    assert tuple(mdp.layout.cells[6]) == (1, 2)
