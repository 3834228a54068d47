"""The Gymnasium environment of a finite MDP, and the ids of those that were registered."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from deep.envs.table import Sampler, Table

__all__ = ["TABLES", "TableEnv", "register_table"]

TABLES: dict[str, Table] = {}
"""What `register_table` was given, by id."""


class TableEnv(gymnasium.Env):
    """One copy of a Table for any library that takes Gymnasium environments; `deep` itself steps many together.

    Observations are one-hot, or with one_hot=False the number of the state; `info["state"]` is that number always.
    """

    def __init__(self, table: Table, one_hot: bool = True) -> None:
        S, A = table.shape
        self.table, self.one_hot = table, one_hot
        self.observation_space = Box(0.0, 1.0, (S,), np.float64) if one_hot else Discrete(S)
        self.action_space = Discrete(A)
        self._move, self._start = Sampler(table.P), Sampler(table.p0[None])
        self._state = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, int]]:
        super().reset(seed=seed)
        self._state = self._draw(self._start, 0)
        return self._obs(), {"state": self._state}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, int]]:
        A = self.table.shape[1]
        if not 0 <= action < A:
            raise ValueError(f"action must be in 0..{A - 1}, but is {action}")
        reward = -float(self.table.cost[self._state, action])
        self._state = self._draw(self._move, self._state * A + int(action))
        truncated = bool(self.np_random.random() >= self.table.gamma)
        return self._obs(), reward, bool(self.table.terminal[self._state]), truncated, {"state": self._state}

    def _draw(self, sampler: Sampler, row: int) -> int:
        return int(sampler(np.array([row]), self.np_random.random(1))[0])

    def _obs(self) -> Any:
        return np.eye(self.table.shape[0])[self._state] if self.one_hot else self._state


def register_table(env_id: str, table: Table) -> None:
    """Make a table known as `env_id` ("River-v0"), to `gymnasium.make` and to this project's programs alike.

    A table may be registered again under its id, as when a notebook cell is run twice. Raises ValueError for an id
    that Gymnasium refuses or that belongs to another task.
    """
    if env_id in gymnasium.registry and env_id not in TABLES:
        raise ValueError(f"env_id must be new, or that of a table, but {env_id!r} is another task")
    gymnasium.registry.pop(env_id, None)
    TABLES.pop(env_id, None)
    try:
        gymnasium.register(
            env_id, entry_point=lambda **kwargs: TableEnv(table, **kwargs), max_episode_steps=table.horizon
        )
    except gymnasium.error.Error as error:
        raise ValueError(f"env_id must be a Gymnasium id such as 'River-v0', but is {env_id!r} ({error})") from error
    TABLES[env_id] = table
