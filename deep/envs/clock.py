"""Time limits of E simulators, staggered in the first episode if asked.

Simulators that start together and never terminate would share one time index for ever: a batch of E would
then hold E copies of one moment of the episode. Cutting simulator i's first episode to
horizon - floor(i horizon / E) steps spreads them evenly, at the price of E - 1 early truncations (never
terminations: the task did not end).
"""

from __future__ import annotations

import numpy as np

__all__ = ["Clock"]


class Clock:
    """`elapsed` [E] steps since the episode began and `limit` [E] at which it is truncated."""

    def __init__(self, num: int, horizon: int, stagger: bool) -> None:
        self.horizon = horizon
        cut = np.arange(num, dtype=np.int64) * horizon // num if stagger else np.zeros(num, dtype=np.int64)
        self.first_limit = horizon - cut
        self.elapsed = np.zeros(num, dtype=np.int64)
        self.limit = self.first_limit.copy()

    def start(self) -> None:
        """All episodes begin, the first ones staggered."""
        self.elapsed[:] = 0
        self.limit[:] = self.first_limit

    def tick(self) -> np.ndarray:
        """One step for all; returns truncated [E]."""
        self.elapsed += 1
        return self.elapsed >= self.limit

    def load(self, env_id: str, elapsed: np.ndarray, limit: np.ndarray) -> None:
        """Set saved times, [E] each; ValueError unless 0 <= elapsed < limit <= horizon."""
        wrong = (elapsed < 0) | (elapsed >= limit) | (limit > self.horizon)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise ValueError(
                f"state of {env_id} must have 0 <= elapsed < limit <= {self.horizon}, "
                f"but simulator {i} has elapsed {elapsed[i]} and limit {limit[i]}"
            )
        self.elapsed[:] = elapsed
        self.limit[:] = limit

    def restart(self, ids: np.ndarray) -> None:
        """New episodes of full length for the simulators `ids`."""
        self.elapsed[ids] = 0
        self.limit[ids] = self.horizon
