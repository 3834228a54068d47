"""Grids of any size without a loop over states: gridworlds with and without a matrix, mazes, frozen lakes."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.examples_events import event_free, event_mdp
from occmatch.matrix_free import MatrixFree
from occmatch.mdp import MDP, Layout

# Up, right, down, left as steps in (row, column): the actions of a gridworld and of a maze.
_MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))

# Gymnasium numbers the actions of FrozenLake left, down, right, up.
_LAKE_MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))


def gridworld(n: int, m: int | None = None, *, slip: float = 0.1, gamma: float = 0.95, start: int | None = None) -> MDP:
    """An n x m grid (m = n if not given), state = row * m + column, actions up, right, down, left.

    With probability `slip` the move is one of the four at random instead; a move into the wall stays where it is.
    `start` is a state, or None for a uniform p0.
    """
    free, weights = _open(n, m, slip)
    layout = Layout(np.argwhere(free), _MOVES)
    return event_mdp(_steps(~free, _MOVES), weights, _start(free.size, start), gamma, layout)


def gridworld_cost(mdp: MDP, goal: int | None = None, step: float = 1.0) -> FloatArray:
    """`step` for every action outside state `goal` (default: the last state), 0 in it [S, A]."""
    S, A = checks.shape(mdp)
    goal = S - 1 if goal is None else checks.state(S, goal, "goal")
    cost = np.full((S, A), checks.scalar(step, "step"))
    cost[goal] = 0.0
    return cost


def gridworld_free(
    n: int, m: int | None = None, *, slip: float = 0.1, gamma: float = 0.95, start: int | None = None
) -> MatrixFree:
    """`gridworld` as two functions: 16 bytes a state instead of 200, and no layout."""
    free, weights = _open(n, m, slip)
    return event_free(_steps(~free, _MOVES), weights, _start(free.size, start), gamma)


def maze_walls(n: int, m: int | None = None, *, doors: float = 0.0, rng: np.random.Generator) -> np.ndarray:
    """Walls [2n + 1, 2m + 1] of a random maze of n x m rooms (m = n if not given): True where nobody can stand.

    A minimum spanning tree of random weights joins the rooms (Kruskal), so that any two have one way between them; a
    part `doors` of the inner walls is opened besides.
    """
    rows = checks.count(n, "n")
    columns = rows if m is None else checks.count(m, "m")
    doors, rng = checks.probability(doors, "doors"), checks.generator(rng)
    room = np.arange(rows * columns).reshape(rows, columns)
    one = np.concatenate([room[:, :-1].reshape(-1), room[:-1].reshape(-1)])
    two = np.concatenate([room[:, 1:].reshape(-1), room[1:].reshape(-1)])
    weights = rng.random(one.size) + 0.5
    tree = minimum_spanning_tree(coo_array((weights, (one, two)), shape=(room.size, room.size)).tocsr()).tocoo()
    extra = rng.random(one.size) < doors
    first, second = np.concatenate([tree.row, one[extra]]), np.concatenate([tree.col, two[extra]])
    walls = np.ones((2 * rows + 1, 2 * columns + 1), dtype=bool)
    walls[1::2, 1::2] = False
    (r, c), (q, d) = np.divmod(first, columns), np.divmod(second, columns)
    walls[r + q + 1, c + d + 1] = False
    return walls


def maze(
    walls: np.ndarray, *, slip: float = 0.1, gamma: float = 0.99, start: int | None = None, goal: int | None = None
) -> MDP:
    """The free cells of `walls` [rows, columns] as states, row by row; actions up, right, down, left.

    With probability `slip` the move is one of the four at random; a move into a wall or off the map stays.  `start`
    and `goal` (the last state if not given, absorbing) are states; p0 is uniform for start None.
    """
    walls = checks.mask(walls, "walls", "[rows, columns]")
    if walls.all():
        raise ValueError(f"walls must have a free cell, but has none of shape {walls.shape}")
    slip = checks.probability(slip, "slip")
    to = _steps(walls, _MOVES)
    S = to.shape[1]
    goal = S - 1 if goal is None else checks.state(S, goal, "goal")
    to[:, goal] = goal
    layout = Layout(np.argwhere(~walls), _MOVES)
    return event_mdp(to, (1.0 - slip) * np.eye(4) + slip / 4.0, _start(S, start), gamma, layout)


def maze_cost(mdp: MDP, goal: int | None = None) -> FloatArray:
    """1 for every action outside state `goal` (default: the last state), 0 in it [S, A]."""
    return gridworld_cost(mdp, goal)


def lake_holes(n: int, *, frozen: float = 0.8, rng: np.random.Generator) -> np.ndarray:
    """Holes [n, n] of a random lake, each cell frozen with probability `frozen`, redrawn until there is a way across.

    The corners (0, 0) and (n - 1, n - 1) are the start and the goal, as in Gymnasium's `generate_random_map`.
    """
    n, frozen, rng = checks.count(n, "n", least=2), checks.probability(frozen, "frozen"), checks.generator(rng)
    for _ in range(1_000):
        holes = rng.random((n, n)) >= frozen
        holes[0, 0] = holes[-1, -1] = False
        parts, _ = label(~holes)
        if parts[0, 0] == parts[-1, -1]:
            return holes
    raise ValueError(f"frozen must leave a way across {n} x {n} cells, but 1,000 maps with {frozen:g} had none")


def frozen_lake(holes: np.ndarray, *, slip: float = 2 / 3, gamma: float = 0.99) -> MDP:
    """Gymnasium's FrozenLake on the map `holes` [rows, columns]: start in the first cell, goal in the last.

    Actions left, down, right, up; with probability `slip` the move is to one of the two sides.  Holes and the goal are
    absorbing.  At slip 2/3 the kernel is `from_gymnasium` of the environment's own table (Gymnasium, `frozen_lake.py`).
    """
    holes = _lake(holes)
    slip = checks.probability(slip, "slip")
    to = _steps(np.zeros(holes.shape, dtype=bool), _LAKE_MOVES)
    ends = np.flatnonzero(_ends(holes))
    to[:, ends] = ends
    weights = (1.0 - slip) * np.eye(4) + 0.5 * slip * (np.roll(np.eye(4), 1, axis=1) + np.roll(np.eye(4), -1, axis=1))
    layout = Layout(np.argwhere(np.ones(holes.shape, dtype=bool)), _LAKE_MOVES)
    return event_mdp(to, weights, _start(holes.size, 0), gamma, layout)


def frozen_lake_cost(mdp: MDP, holes: np.ndarray) -> FloatArray:
    """Minus the probability of entering the goal, 0 where the episode has ended [S, 4].

    Raises ValueError for an MDP of another shape than `frozen_lake` gives of `holes`.
    """
    holes = _lake(holes)
    checks.made_by(mdp, (holes.size, 4), f"({holes.size}, 4) as frozen_lake gives it for holes of {holes.shape}")
    goal = np.zeros(mdp.S)
    goal[-1] = 1.0
    cost = -mdp.expect(goal)
    cost[_ends(holes)] = 0.0
    return cost


def _lake(holes: np.ndarray) -> np.ndarray:
    holes = checks.mask(holes, "holes", "[rows, columns]")
    if holes.size < 2:
        raise ValueError(f"holes must have two cells and more, but has shape {holes.shape}")
    if holes[0, 0] or holes[-1, -1]:
        cell = "[0, 0]" if holes[0, 0] else "[-1, -1]"
        raise ValueError(f"holes{cell} must be False, the {'start' if holes[0, 0] else 'goal'}, but is True")
    return holes


def _ends(holes: np.ndarray) -> np.ndarray:
    ends = holes.reshape(-1).copy()
    ends[-1] = True
    return ends


def _steps(walls: np.ndarray, moves: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Where each move leads from each free cell [moves, S]: the cell itself at a wall or at the edge."""
    (rows, columns), (row, column) = walls.shape, np.nonzero(~walls)
    number = np.full(walls.shape, -1, dtype=np.int32)
    number[row, column] = here = np.arange(row.size, dtype=np.int32)
    to = np.empty((len(moves), row.size), dtype=np.int32)
    for move, (dr, dc) in enumerate(moves):
        found = number[np.clip(row + dr, 0, rows - 1), np.clip(column + dc, 0, columns - 1)]
        to[move] = np.where(found < 0, here, found)
    return to


def _open(n: int, m: int | None, slip: float) -> tuple[np.ndarray, FloatArray]:
    """All cells [n, m], every one of them free, and the weights [4, 4] of moves that slip."""
    rows = checks.count(n, "n")
    columns = rows if m is None else checks.count(m, "m")
    slip = checks.probability(slip, "slip")
    return np.ones((rows, columns), dtype=bool), (1.0 - slip) * np.eye(4) + slip / 4.0


def _start(S: int, start: int | None) -> FloatArray:
    """p0 [S]: all mass on `start`, or uniform for None."""
    if start is None:
        return np.full(S, 1.0 / S)
    p0 = np.zeros(S)
    p0[checks.state(S, start, "start")] = 1.0
    return p0
