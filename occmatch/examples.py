"""Finite MDPs with known answers, and random ones; all sizes by argument.

An example is an MDP; where a cost belongs to it, a function `<name>_cost` returns it [S, A] (the policy minimises).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.mdp import MDP, Layout

# Actions of a gridworld, as steps in (row, column).
UP, RIGHT, DOWN, LEFT = (-1, 0), (0, 1), (1, 0), (0, -1)


def two_state_chain(stay: float = 0.0, gamma: float = 0.9) -> MDP:
    """Two states, two actions: action 0 stays, action 1 moves to the other state but fails with probability `stay`.

    Starts in state 0.  By hand: a policy that moves with probability q from state 0 and never from state 1 visits state 0
    d(0) = 1/(1 - gamma (1 - q (1 - stay))) discounted times.
    """
    p = checks.probability(stay, "stay")
    P = np.array([[[1.0, 0.0], [p, 1.0 - p]], [[0.0, 1.0], [1.0 - p, p]]])
    return MDP(P, np.array([1.0, 0.0]), gamma)


def gridworld(n: int, m: int | None = None, *, slip: float = 0.1, gamma: float = 0.95, start: int | None = None) -> MDP:
    """An n x m grid (m = n if not given), state = row * m + column, actions up, right, down, left.

    With probability `slip` the move is one of the four at random instead; a move into the wall stays.  `start` is a state,
    or None for uniform p0.
    """
    rows = checks.count(n, "n")
    columns = rows if m is None else checks.count(m, "m")
    slip = checks.probability(slip, "slip")
    S, moves = rows * columns, (UP, RIGHT, DOWN, LEFT)
    row, column = np.divmod(np.arange(S), columns)
    target = np.stack(
        [np.clip(row + dr, 0, rows - 1) * columns + np.clip(column + dc, 0, columns - 1) for dr, dc in moves],
        axis=1,
    )
    probability = (1.0 - slip) * np.eye(4) + slip / 4.0
    from_row = np.repeat(np.arange(S * 4), 4)
    to = np.repeat(target, 4, axis=0).reshape(S * 4, 4)
    P = csr_array((np.tile(probability, (S, 1)).reshape(-1), (from_row, to.reshape(-1))), shape=(S * 4, S))
    cells = tuple((int(r), int(c)) for r, c in zip(row, column, strict=True))
    return MDP(P, initial(S, start), gamma, Layout(cells, moves))


def gridworld_cost(mdp: MDP, goal: int | None = None, step: float = 1.0) -> FloatArray:
    """`step` for every action outside state `goal` (default: the last state), 0 in it [S, A]."""
    goal = mdp.S - 1 if goal is None else state(mdp.S, goal, "goal")
    cost = np.full(mdp.shape, checks.scalar(step, "step"))
    cost[goal] = 0.0
    return cost


def garnet(S: int, A: int, branching: int, gamma: float, rng: np.random.Generator) -> MDP:
    """Generic Average Reward Non-stationary Environment Testbed (Archibald, McKinnon & Thomas 1995).

    From each (s, a), `branching` distinct next states drawn at random, with probabilities the gaps between sorted uniforms;
    p0 is one such row.
    """
    S, A = checks.count(S, "S"), checks.count(A, "A")
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


def initial(S: int, start: int | None) -> FloatArray:
    """p0 [S]: all mass on `start`, or uniform for None."""
    if start is None:
        return np.full(S, 1.0 / S)
    return np.eye(1, S, state(S, start, "start"))[0]


def state(S: int, index: int, name: str) -> int:
    """A state index in 0 .. S-1, or ValueError."""
    index = checks.count(index, name, least=0)
    if index >= S:
        raise ValueError(f"{name} must be a state in 0 .. {S - 1}, but is {index}")
    return index


def _distinct(rows: int, k: int, S: int, rng: np.random.Generator) -> np.ndarray:
    """[rows, k] integers below S, distinct within each row, by redrawing rows that collide (or permuting small S)."""
    if k * k > S:
        return rng.permuted(np.tile(np.arange(S), (rows, 1)), axis=1)[:, :k]
    drawn = rng.integers(S, size=(rows, k))
    while True:
        drawn.sort(axis=1)
        clash = (np.diff(drawn, axis=1) == 0).any(axis=1)
        if not clash.any():
            return drawn
        drawn[clash] = rng.integers(S, size=(int(clash.sum()), k))
