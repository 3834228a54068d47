"""Many copies of a finite MDP stepped together: one lookup and one binary search for all of them."""

from __future__ import annotations

import numpy as np

from deep.envs import saved
from deep.envs.base import EnvSpec, Simulator, Step
from deep.envs.table import Sampler, Table

__all__ = ["TableSimulator"]


class TableSimulator(Simulator):
    """E copies of a Table. Episodes have no common length, so that there is nothing to stagger."""

    def __init__(self, env_id: str, table: Table, num: int, seed: int) -> None:
        S, A = table.shape
        self.spec = EnvSpec(
            env_id, S, True, A, None, None, table.horizon, native=True, continues=table.gamma, act_dtype="int64"
        )
        self.num = num
        self.table = table
        self._move, self._start = Sampler(table.P), Sampler(table.p0[None])
        self._reward = -table.cost.reshape(-1) + 0.0  # no negative zeros
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._elapsed = np.zeros(num, dtype=np.int64)
        self._states: np.ndarray | None = None

    @property
    def elapsed(self) -> np.ndarray:
        return self._elapsed.copy()

    @property
    def states(self) -> np.ndarray:
        """The states to act in next, [E]."""
        return self.check_ready(self._states).copy()

    @property
    def obs(self) -> np.ndarray:
        return self._one_hot(self.check_ready(self._states))

    def reset(self) -> np.ndarray:
        self._elapsed[:] = 0
        self._states = self._start(np.zeros(self.num, dtype=np.int64), self._rng.random(self.num))
        return self.obs

    def step(self, actions: np.ndarray) -> Step:
        pair = self.check_ready(self._states) * self.spec.act_dim + self.check_actions(actions)
        # Three numbers for each simulator whether they are needed or not: no stream depends on another's fate.
        move, goes_on, start = self._rng.random((3, self.num))
        after = self._move(pair, move)
        self._elapsed += 1
        terminated = self.table.terminal[after]
        truncated = (goes_on >= self.table.gamma) | (self._elapsed >= self.spec.horizon)
        done = terminated | truncated
        next_obs = self._one_hot(after)
        self._states, obs = after, next_obs
        if done.any():
            self._states = np.where(done, self._start(np.zeros(self.num, dtype=np.int64), start), after)
            self._elapsed[done] = 0
            obs = self._one_hot(self._states)
        return Step(obs, next_obs, self._reward[pair], terminated, truncated)

    def _one_hot(self, states: np.ndarray) -> np.ndarray:
        obs = np.zeros((self.num, self.spec.obs_dim))
        obs[np.arange(self.num), states] = 1.0
        return obs

    def state_dict(self) -> dict[str, np.ndarray]:
        return {"states": self.states, "elapsed": self.elapsed, "rng": saved.from_rng(self._rng)}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        expected = {
            "states": (np.int64, (self.num,)),
            "elapsed": (np.int64, (self.num,)),
            "rng": (np.uint64, (saved.RNG_WORDS,)),
        }
        saved.check(self.spec.id, state, expected)
        saved.check_below(self.spec.id, "states", state["states"], self.spec.obs_dim)
        saved.check_below(self.spec.id, "elapsed", state["elapsed"], self.spec.horizon)
        self._states, self._elapsed = state["states"].copy(), state["elapsed"].copy()
        saved.set_rng(self._rng, state["rng"])

    def close(self) -> None:
        self._states = None
