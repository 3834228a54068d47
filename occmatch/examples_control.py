"""MountainCar and Pendulum on a grid of positions and speeds.

The dynamics are those of Gymnasium (`mountain_car.py`, after Moore 1990, and `pendulum.py`), written again so that
they run on arrays.  The point that a step leads to lies between four points of the grid, and P(.|s, a) gives them the
weights of bilinear interpolation, as in Munos & Moore (2002): V of the grid, interpolated, is what the step expects.
As the grid becomes finer the discretised V approaches that of the continuous task.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.mdp import MDP, Layout

_CAR_X, _CAR_V, _FORCE, _GRAVITY, _GOAL = (-1.2, 0.6), (-0.07, 0.07), 0.001, 0.0025, 0.5
_SPEED, _TORQUE, _DT, _G = 8.0, 2.0, 0.05, 10.0


def mountain_car_step(x: FloatArray, v: FloatArray, action: int) -> tuple[FloatArray, FloatArray, np.ndarray]:
    """(x, v, ended) after one step with action 0 (left), 1 (none) or 2 (right); x in [-1.2, 0.6], |v| <= 0.07."""
    v = np.clip(v + (action - 1) * _FORCE - np.cos(3.0 * x) * _GRAVITY, *_CAR_V)
    x = np.clip(x + v, *_CAR_X)
    v = np.where((x == _CAR_X[0]) & (v < 0.0), 0.0, v)
    return x, v, (x >= _GOAL) & (v >= 0.0)


def mountain_car(n: int = 100, *, gamma: float = 0.99) -> MDP:
    """MountainCar on n positions times n speeds, and one absorbing state at the end: n^2 + 1 states, 3 actions.

    State i * n + j is position i and speed j; episodes start at rest with x uniform in [-0.6, -0.4].
    """
    axes = _car_axes(n)
    x, v = (grid.reshape(-1) for grid in np.meshgrid(*axes, indexing="ij"))
    S = x.size + 1
    over = _car_ended(n)
    to, weights = np.full((S, 3, 4), S - 1), np.zeros((S, 3, 4))
    weights[:, :, 0] = 1.0
    for action in range(3):
        *point, ended = mountain_car_step(x, v, action)
        stay = np.flatnonzero(~ended & ~over)
        corners, parts = _corners(axes, [value[stay] for value in point], (False, False))
        to[stay, action], weights[stay, action] = corners, parts
    starts = np.linspace(-0.6, -0.4, 2_001)
    p0 = _spread(S, *_corners(axes, [starts, np.zeros(starts.size)], (False, False)))
    return _assembled(to, weights, p0, gamma, n, 3, ends=1)


def mountain_car_cost(mdp: MDP) -> FloatArray:
    """1 for every step before the goal, 0 from there on [S, 3]; ValueError for an MDP of no shape of `mountain_car`."""
    n = max(round((checks.shape(mdp)[0] - 1) ** 0.5), 2)
    checks.made_by(mdp, (n * n + 1, 3), "(n^2 + 1, 3) as mountain_car gives it")
    cost = np.ones(mdp.shape)
    cost[:-1][_car_ended(n)] = 0.0
    cost[-1] = 0.0
    return cost


def pendulum_step(angle: FloatArray, speed: FloatArray, torque: float) -> tuple[FloatArray, FloatArray]:
    """(angle, speed) after 0.05 s under `torque` in [-2, 2]; angle 0 is upright, |speed| <= 8, length and mass 1."""
    speed = speed + (1.5 * _G * np.sin(angle) + 3.0 * torque) * _DT
    speed = np.clip(speed, -_SPEED, _SPEED)
    return angle + speed * _DT, speed


def pendulum(n: int = 100, *, torques: int = 5, gamma: float = 0.99) -> MDP:
    """Pendulum on n angles (a circle) times n speeds with `torques` torques from -2 to 2: n^2 states.

    State i * n + j is angle i and speed j; starts with angle uniform on the circle and speed uniform in [-1, 1].
    """
    axes = _pendulum_axes(n)
    angle, speed = (grid.reshape(-1) for grid in np.meshgrid(*axes, indexing="ij"))
    u = _torques(torques)
    to, weights = np.empty((angle.size, u.size, 4), dtype=np.int64), np.empty((angle.size, u.size, 4))
    for action, torque in enumerate(u):
        to[:, action], weights[:, action] = _corners(axes, pendulum_step(angle, speed, torque), (True, False))
    slow = np.linspace(-1.0, 1.0, 201)
    starts = [grid.reshape(-1) for grid in np.meshgrid(axes[0], slow, indexing="ij")]
    p0 = _spread(angle.size, *_corners(axes, starts, (True, False)))
    return _assembled(to, weights, p0, gamma, n, u.size, ends=0)


def pendulum_cost(mdp: MDP) -> FloatArray:
    """angle^2 + 0.1 speed^2 + 0.001 torque^2 with the angle in [-pi, pi) [S, A]: minus Gymnasium's reward.

    Raises ValueError for an MDP of another shape than `pendulum` gives.
    """
    n = max(round(checks.shape(mdp)[0] ** 0.5), 2)
    checks.made_by(mdp, (n * n, max(mdp.A, 2)), "(n^2, A) with two actions or more as pendulum gives it")
    angle, speed = np.meshgrid(*_pendulum_axes(n), indexing="ij")
    state = (angle**2 + 0.1 * speed**2).reshape(-1, 1)
    return state + 0.001 * _torques(mdp.A) ** 2


def _car_axes(n: int) -> tuple[FloatArray, FloatArray]:
    n = checks.count(n, "n", least=2)
    return np.linspace(*_CAR_X, n), np.linspace(*_CAR_V, n)


def _car_ended(n: int) -> np.ndarray:
    x, v = np.meshgrid(*_car_axes(n), indexing="ij")
    return ((x >= _GOAL) & (v >= 0.0)).reshape(-1)


def _pendulum_axes(n: int) -> tuple[FloatArray, FloatArray]:
    n = checks.count(n, "n", least=2)
    return np.linspace(-np.pi, np.pi, n, endpoint=False), np.linspace(-_SPEED, _SPEED, n)


def _torques(count: int) -> FloatArray:
    return np.linspace(-_TORQUE, _TORQUE, checks.count(count, "torques", least=2))


def _corners(
    axes: tuple[FloatArray, FloatArray], point: tuple[FloatArray, ...] | list[FloatArray], circle: tuple[bool, bool]
) -> tuple[np.ndarray, FloatArray]:
    """States [N, 4] of the grid around each point, and their bilinear weights [N, 4]; axes are equally spaced."""
    low, high, part = [], [], []
    for axis, x, around in zip(axes, point, circle, strict=True):
        place = (x - axis[0]) / (axis[1] - axis[0])
        if around:
            place = np.mod(place, axis.size)
        cell = np.clip(np.floor(place), 0, axis.size - (1 if around else 2)).astype(np.int64)
        low.append(cell)
        high.append((cell + 1) % axis.size)
        part.append(np.clip(place - cell, 0.0, 1.0))
    n, (p, r) = axes[1].size, part
    to = np.stack([i * n + j for i in (low[0], high[0]) for j in (low[1], high[1])], axis=1)
    return to, np.stack([a * b for a in (1.0 - p, p) for b in (1.0 - r, r)], axis=1)


def _spread(S: int, to: np.ndarray, weights: FloatArray) -> FloatArray:
    return np.bincount(to.reshape(-1), weights=weights.reshape(-1), minlength=S) / to.shape[0]


def _assembled(to: np.ndarray, weights: FloatArray, p0: FloatArray, gamma: float, n: int, A: int, ends: int) -> MDP:
    """The MDP of next states and weights [S, A, 4]; the layout is the grid, states off it at (-1, -1)."""
    S = p0.size
    rows = np.arange(S * A + 1) * 4
    cells = np.vstack([np.stack(np.divmod(np.arange(n * n), n), axis=1), np.full((ends, 2), -1)])
    layout = Layout(cells, [(0, a - A // 2) for a in range(A)])
    return MDP(csr_array((weights.reshape(-1), to.reshape(-1), rows), shape=(S * A, S)), p0, gamma, layout)
