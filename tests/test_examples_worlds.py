"""Mazes, lakes, queues, MountainCar and Pendulum: against Gymnasium's own tables and steps, and against each other."""

import re
import warnings

import gymnasium
import numpy as np
import pytest

import occmatch as om
from occmatch import examples
from occmatch.examples_control import mountain_car_step, pendulum_step

# The same sums of a few probabilities in another order.
ROUNDING = 1e-15


def env_of(name, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium announces newer versions of its own tasks
        return gymnasium.make(name, **options).unwrapped


@pytest.mark.parametrize("options", [{"map_name": "4x4"}, {"map_name": "8x8"}, {"map_name": "8x8", "slip": False}])
def test_frozen_lake_is_gymnasiums_table(options):
    slippery = options.pop("slip", True) if "slip" in options else True
    env = env_of("FrozenLake-v1", is_slippery=slippery, **{k: v for k, v in options.items() if k != "slip"})
    holes = env.desc == b"H"
    ours = examples.frozen_lake(holes, slip=2 / 3 if slippery else 0.0, gamma=0.9)
    theirs = examples.from_gymnasium(env.P, 0.9, p0=env.initial_state_distrib)
    assert np.abs(ours.P - theirs.P).max() <= ROUNDING
    assert (ours.p0 == theirs.p0).all()
    cost = examples.frozen_lake_cost(ours, holes)
    np.testing.assert_allclose(cost, examples.gymnasium_cost(env.P), rtol=0, atol=ROUNDING)
    assert tuple(ours.layout.cells[9]) == (9 // holes.shape[1], 9 % holes.shape[1])


def test_a_random_lake_can_be_crossed_and_depends_on_the_generator_alone():
    holes = examples.lake_holes(30, rng=np.random.default_rng(0))
    assert (holes == examples.lake_holes(30, rng=np.random.default_rng(0))).all()
    assert 0.1 < holes.mean() < 0.3
    dry = examples.frozen_lake(holes, slip=0.0, gamma=0.999)
    V = om.rl(dry, examples.frozen_lake_cost(dry, holes), 0.0).V
    assert V[0] < -(0.999 ** (30 * 30)), "without slipping the goal is reached"


def test_a_maze_is_a_tree_of_rooms_and_its_value_the_length_of_the_way():
    n, m = 6, 9
    walls = examples.maze_walls(n, m, rng=np.random.default_rng(1))
    assert walls.shape == (13, 19)
    assert not walls[1::2, 1::2].any() and walls[0].all() and walls[:, -1].all()
    assert (~walls).sum() == 2 * n * m - 1, "a tree: one door fewer than rooms"
    mdp = examples.maze(walls, slip=0.0, gamma=0.99)
    V = om.rl(mdp, examples.maze_cost(mdp), 0.0).V
    ahead = np.full(mdp.S, np.inf)
    ahead[-1] = 0.0
    for _ in range(mdp.S):  # shortest ways, one cell at a time
        ahead = np.minimum(ahead, 1.0 + ahead[mdp.P.indices.reshape(mdp.S, 4)].min(axis=1))
    np.testing.assert_allclose(V, (1 - 0.99**ahead) / 0.01, rtol=0, atol=1e-9)
    assert not walls[tuple(mdp.layout.cells.T)].any()
    opened = examples.maze_walls(n, m, doors=1.0, rng=np.random.default_rng(1))
    assert (~opened).sum() == n * m + n * (m - 1) + m * (n - 1)


def test_mountain_car_steps_are_gymnasiums():
    env, rng = env_of("MountainCar-v0"), np.random.default_rng(2)
    ended_once = False
    for k in range(300):
        x, v, action = rng.uniform(-1.2, 0.6), rng.uniform(-0.07, 0.07), int(rng.integers(3))
        x = -1.2 + 1e-3 if k % 10 == 0 else 0.49 if k % 10 == 1 else x
        env.reset(seed=0)
        env.state = (x, v)
        _, reward, ended, _, _ = env.step(action)
        ours = mountain_car_step(np.array([x]), np.array([v]), action)
        np.testing.assert_allclose([ours[0][0], ours[1][0]], env.state, rtol=0, atol=ROUNDING)
        assert bool(ours[2][0]) is bool(ended) and reward == -1.0
        ended_once |= bool(ended)
    assert ended_once


def test_pendulum_steps_and_costs_are_gymnasiums():
    env, rng = env_of("Pendulum-v1"), np.random.default_rng(3)
    mdp = examples.pendulum(20)
    cost = examples.pendulum_cost(mdp).reshape(20, 20, 5)
    angles, speeds = np.linspace(-np.pi, np.pi, 20, endpoint=False), np.linspace(-8, 8, 20)
    for _ in range(200):
        i, j, a = rng.integers(20), rng.integers(20), rng.integers(5)
        torque = -2.0 + a
        env.reset(seed=0)
        env.state = np.array([angles[i], speeds[j]])
        _, reward, _, _, _ = env.step(np.array([torque]))
        ours = pendulum_step(angles[i : i + 1], speeds[j : j + 1], torque)
        np.testing.assert_allclose([ours[0][0], ours[1][0]], env.state, rtol=0, atol=10 * ROUNDING)
        assert cost[i, j, a] == pytest.approx(-reward, abs=1e-13)


@pytest.mark.parametrize(("make", "step"), [(examples.mountain_car, "car"), (examples.pendulum, "pendulum")])
def test_interpolation_expects_the_point_that_the_step_leads_to(make, step):
    """E[position] and E[speed] under P(.|s, a) are the next point itself, wherever it lies inside the grid."""
    n = 25
    mdp = make(n)
    if step == "car":
        axes = np.linspace(-1.2, 0.6, n), np.linspace(-0.07, 0.07, n)
    else:
        axes = np.linspace(-np.pi, np.pi, n, endpoint=False), np.linspace(-8, 8, n)
    x, v = (g.reshape(-1) for g in np.meshgrid(*axes, indexing="ij"))
    off = mdp.S - x.size
    for action in (0, mdp.A - 1):
        if step == "car":
            to_x, to_v, ended = mountain_car_step(x, v, action)
            inside = ~ended & ~((x >= 0.5) & (v >= 0))
        else:
            to_x, to_v = pendulum_step(x, v, [-2.0, 2.0][action > 0])
            inside = (to_x >= axes[0][0]) & (to_x <= axes[0][-1])
        for axis, to in ((x, to_x), (v, to_v)):
            expected = mdp.expect(np.append(axis, np.zeros(off)))[: x.size, action]
            np.testing.assert_allclose(expected[inside], to[inside], rtol=0, atol=1e-13)
        assert inside.sum() > 0.8 * x.size


def test_the_car_reaches_the_goal_and_the_pendulum_stands():
    """Known: from rest the car needs about 100 steps (the best of Gymnasium's learners 95 to 105)."""
    car = examples.mountain_car(70, gamma=0.999)
    V = car.p0 @ om.rl(car, examples.mountain_car_cost(car), 0.0).V
    steps = np.log(1 - V * 0.001) / np.log(0.999)
    assert 80 < steps < 130
    pole = examples.pendulum(41, gamma=0.98)
    solved = om.rl(pole, examples.pendulum_cost(pole), 0.0)
    upright = 20 * 41 + 20
    assert solved.V[upright] < 0.05 * np.median(solved.V)


def test_the_queue_is_its_description():
    n, arrival, slow, fast, second = 3, 0.5, 0.4, 0.9, 0.7
    mdp = examples.tandem_queue(n, arrival=arrival, slow=slow, fast=fast, second=second, gamma=0.9)
    total = arrival + fast + second
    for one in range(n + 1):
        for two in range(n + 1):
            for action, (admit, rate) in enumerate([(0, slow), (0, fast), (1, slow), (1, fast)]):
                row = np.zeros((n + 1, n + 1))
                events = [(arrival * admit, one < n, (one + 1, two))]
                events += [(rate, one > 0 and two < n, (one - 1, two + 1)), (second, two > 0, (one, two - 1))]
                for size, possible, to in events:
                    row[to if possible else (one, two)] += size / total
                row[one, two] += 1 - sum(size for size, _, _ in events) / total
                ours = mdp.P[[(one * (n + 1) + two) * 4 + action]].toarray()
                np.testing.assert_allclose(ours[0], row.reshape(-1), rtol=0, atol=4 * ROUNDING)
    cost = examples.tandem_queue_cost(mdp, hold=1.0, refuse=3.0, fast=0.5)
    assert cost[1 * 4 + 2].tolist() == [6.0, 6.5, 3.0, 3.5]
    assert cost[n * 4, 2] == 3.0 + 3.0, "a full station turns arrivals away"
    large = examples.tandem_queue(15, gamma=0.995)
    pi = om.rl(large, examples.tandem_queue_cost(large), 0.0).pi
    assert pi[0, 2:].sum() == 1.0 and pi[-17, :2].sum() == 1.0, "admit to an empty network, refuse to a nearly full one"


QUEUE, RING = examples.tandem_queue(3), examples.two_state_chain()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: examples.maze(np.ones((2, 2), dtype=bool)),
            "walls must have a free cell, but has none of shape (2, 2)",
        ),
        (
            lambda: examples.maze(np.zeros((2, 2))),
            "walls must be bool [rows, columns], but is",
        ),
        (
            lambda: examples.frozen_lake(np.ones((2, 2), dtype=bool)),
            "holes[0, 0] must be False, the start, but is True",
        ),
        (lambda: examples.frozen_lake(np.eye(2, 3, 2, dtype=bool)[::-1]), "holes[-1, -1] must be False, the goal"),
        (lambda: examples.frozen_lake(np.zeros((1, 1), dtype=bool)), "holes must have two cells and more, but has"),
        (lambda: examples.frozen_lake([[False], [False, True]]), "holes must be bool [rows, columns], but: "),
        (lambda: examples.maze([[True, False], [False]]), "walls must be bool [rows, columns], but: "),
        (lambda: examples.lake_holes(9, frozen=0.0, rng=np.random.default_rng(0)), "frozen must leave a way across"),
        (lambda: examples.mountain_car(1), "n must be an integer of at least 2, but is 1"),
        (lambda: examples.pendulum(5, torques=1), "torques must be an integer of at least 2, but is 1"),
        (lambda: examples.tandem_queue(3, fast=0.1), "fast must be at least slow = 0.6, but is 0.1"),
        (lambda: examples.tandem_queue(3, arrival=0.0), "arrival must be positive, but is 0"),
        (lambda: examples.tandem_queue(3, arrival="0.8"), "arrival must be an array of real numbers, but is str"),
        (lambda: examples.tandem_queue_cost(QUEUE, hold=np.nan), "hold must be finite, but is nan"),
        (
            lambda: examples.tandem_queue_cost(RING),
            "mdp must have shape ((n + 1)^2, 4) as tandem_queue gives it, but",
        ),
        (lambda: examples.maze_walls(3, rng=0), "rng must be a numpy.random.Generator, but is int"),
        (lambda: examples.lake_holes(3, rng=0), "rng must be a numpy.random.Generator, but is int"),
        (
            lambda: examples.mountain_car_cost(QUEUE),
            "mdp must have shape (n^2 + 1, 3) as mountain_car gives it, but",
        ),
        (lambda: examples.pendulum_cost(RING), "mdp must have shape (n^2, A) with two actions or more as pendulum giv"),
        (
            lambda: examples.frozen_lake_cost(QUEUE, np.zeros((2, 2), dtype=bool)),
            "mdp must have shape (4, 4) as frozen_lake gives it for holes of (2, 2), but has shape (16, 4)",
        ),
        (
            lambda: examples.event_mdp(np.zeros((1, 2)), np.ones((1, 1)), [1, 0], 0.5),
            "to must be integers of shape (E, S)",
        ),
        (lambda: examples.event_mdp(np.array([[0, 2]]), np.ones((1, 1)), [1, 0], 0.5), "to[0, 1] must be a state in"),
        (
            lambda: examples.event_mdp(np.array([[0, 1]]), np.ones((1, 2)), [1, 0], 0.5),
            "weights must have shape",
        ),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
