"""Finite MDPs with known answers, and random ones; all sizes by argument.

An example is an MDP; where a cost belongs to it, `<name>_cost` returns it [S, A] (the policy minimises).  Tables of
Gymnasium environments, the finite-horizon lift, and the larger worlds (mazes, lakes, queues, MountainCar and Pendulum)
are made in modules of their own and named here too.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.examples_control import mountain_car, mountain_car_cost, pendulum, pendulum_cost
from occmatch.examples_events import event_free, event_mdp
from occmatch.examples_grids import (
    frozen_lake,
    frozen_lake_cost,
    gridworld,
    gridworld_cost,
    gridworld_free,
    lake_holes,
    maze,
    maze_cost,
    maze_walls,
)
from occmatch.examples_queues import tandem_queue, tandem_queue_cost, tandem_queue_free
from occmatch.gym_tables import from_gymnasium, gymnasium_cost
from occmatch.horizon import finite_horizon, horizon_cost
from occmatch.mdp import MDP, Layout

__all__ = [
    "event_free",
    "event_mdp",
    "finite_horizon",
    "from_gymnasium",
    "frozen_lake",
    "frozen_lake_cost",
    "garnet",
    "grid_layout",
    "gridworld",
    "gridworld_cost",
    "gridworld_free",
    "gymnasium_cost",
    "horizon_cost",
    "lake_holes",
    "maze",
    "maze_cost",
    "maze_walls",
    "mountain_car",
    "mountain_car_cost",
    "pendulum",
    "pendulum_cost",
    "puterman",
    "puterman_cost",
    "river_swim",
    "river_swim_cost",
    "tandem_queue",
    "tandem_queue_cost",
    "tandem_queue_free",
    "two_state_chain",
]

# Entries of the permutations that a garnet of many branches draws at a time: 8 MB.
_BLOCK = 1_000_000


def two_state_chain(fail: float = 0.0, gamma: float = 0.9) -> MDP:
    """Two states; action 0 stays, action 1 moves to the other state but fails with probability `fail`; starts in 0.

    By hand: a policy that tries to move with probability q from state 0 and never from state 1 has
    d(0) = 1 / (1 - gamma (1 - q (1 - fail))) and d(1) = 1/(1-gamma) - d(0).
    """
    p = checks.probability(fail, "fail")
    P = np.array([[[1.0, 0.0], [p, 1.0 - p]], [[0.0, 1.0], [1.0 - p, p]]])
    return MDP(P, np.array([1.0, 0.0]), gamma)


def puterman(gamma: float = 0.95) -> MDP:
    """The two-state example of Puterman (1994), section 3.1; starts in state 0.

    In state 0 action 0 stays or moves with probability 1/2 each, action 1 moves; state 1 is absorbing (its single
    action of the book is available twice).
    """
    P = np.array([[[0.5, 0.5], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    return MDP(P, np.array([1.0, 0.0]), gamma)


def puterman_cost() -> FloatArray:
    """Costs -5 and -10 in state 0, 1 in state 1 [2, 2]: the book's rewards with their sign changed.

    V*(1) = 1/(1-gamma); in state 0 action 1 is optimal for gamma <= 10/11 and action 0 from there on, with
    V*(0) = min( -10 + gamma V*(1), (-5 + gamma V*(1) / 2) / (1 - gamma/2) ): at gamma = 0.95 that is 60/7.
    """
    return np.array([[-5.0, -10.0], [1.0, 1.0]])


def river_swim(S: int = 6, gamma: float = 0.95) -> MDP:
    """River swim (Strehl & Littman 2008), with the probabilities of Osband, Russo & Van Roy (2013); starts in state 0.

    Action 0 swims left and succeeds.  Action 1 swims right against the current: from the left bank 0.6 on, 0.4 stays;
    in midstream 0.35 on, 0.6 stays, 0.05 back; on the right bank 0.6 stays, 0.4 back.
    """
    S = checks.count(S, "S", least=2)
    P = np.zeros((S, 2, S))
    middle = np.arange(1, S - 1)
    P[np.arange(S), 0, np.maximum(np.arange(S) - 1, 0)] = 1.0
    P[middle, 1, middle + 1], P[middle, 1, middle], P[middle, 1, middle - 1] = 0.35, 0.6, 0.05
    P[0, 1, 0], P[0, 1, 1] = 0.4, 0.6
    P[-1, 1, -1], P[-1, 1, -2] = 0.6, 0.4
    return MDP(P, np.eye(1, S)[0], gamma, grid_layout(1, S, ((0, -1), (0, 1))))


def river_swim_cost(S: int = 6) -> FloatArray:
    """Cost -0.005 for swimming left on the left bank, -1 for swimming right on the right bank, else 0 [S, 2]."""
    cost = np.zeros((checks.count(S, "S", least=2), 2))
    cost[0, 0], cost[-1, 1] = -0.005, -1.0
    return cost


def grid_layout(rows: int, columns: int, moves: tuple[tuple[int, int], ...]) -> Layout:
    """The layout of states numbered row by row on a grid, for actions that step by `moves` in (row, column)."""
    return Layout(np.stack(np.divmod(np.arange(rows * columns), columns), axis=1), moves)


def garnet(S: int, A: int, branching: int, gamma: float, rng: np.random.Generator) -> MDP:
    """A random MDP (Archibald, McKinnon & Thomas 1995): `branching` distinct next states for each state and action.

    Their probabilities are the gaps between sorted uniforms; p0 is one more such row.
    """
    S, A, rng = checks.count(S, "S"), checks.count(A, "A"), checks.generator(rng)
    branching = checks.count(branching, "branching")
    if branching > S:
        raise ValueError(f"branching must be at most S = {S}, but is {branching}")
    rows = S * A + 1
    to = _distinct(rows, branching, S, rng)
    cuts = np.sort(rng.random((rows, branching - 1)), axis=1)
    gaps = np.diff(np.hstack([np.zeros((rows, 1)), cuts, np.ones((rows, 1))]), axis=1)
    P = csr_array((gaps[:-1].reshape(-1), to[:-1].reshape(-1), np.arange(rows) * branching), shape=(S * A, S))
    p0 = np.zeros(S)
    p0[to[-1]] = gaps[-1]
    return MDP(P, p0, gamma)


def _distinct(rows: int, k: int, S: int, rng: np.random.Generator) -> np.ndarray:
    """[rows, k] integers below S, distinct within each row: by redrawing rows that collide where that is rare."""
    if k * k > S:
        # A block of whole permutations at a time: all of them would take S / k times the memory of the kernel.
        block, to = max(_BLOCK // S, 1), np.empty((rows, k), dtype=np.intp)
        for first in range(0, rows, block):
            part = to[first : first + block]
            part[:] = rng.permuted(np.tile(np.arange(S), (len(part), 1)), axis=1)[:, :k]
        return to
    drawn = rng.integers(S, size=(rows, k))
    while True:
        drawn.sort(axis=1)
        clash = (np.diff(drawn, axis=1) == 0).any(axis=1)
        if not clash.any():
            return drawn
        drawn[clash] = rng.integers(S, size=(int(clash.sum()), k))
