"""Tasks that ask for trouble: extreme rewards and observations, one action, one step, and simulators that fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from deep import demos, envs


@dataclass(frozen=True)
class Trouble:
    """A walk on the line towards 0 under noise: observes (place, 1) * scale + offset, and pays `reward` - place^2.

    `fails` is what happens at step `at` of every episode: nan, infinite, raise; or reset, lost (at a reset).
    """

    reward_scale: float = 1.0
    constant_reward: bool = False
    scale: float = 1.0
    offset: float = 0.0
    actions: int = 3  # 0: a Box of reals
    width: float = 1.0  # of the Box
    horizon: int = 50
    ends_at_once: bool = False
    fails: str = ""
    at: int = 20


class Walk(gymnasium.Env):
    """One Trouble."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float64)
        box = Box(-trouble.width, trouble.width, (1,), np.float64)
        self.action_space = Discrete(trouble.actions) if trouble.actions else box
        self.count, self.resets, self.place = 0, 0, 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.count, self.place = 0, float(self.np_random.normal())
        self.resets += 1
        if self.trouble.fails == "reset" and self.resets > 1:
            raise RuntimeError("the arena is gone")
        obs = self._obs()
        return (obs * np.nan if self.trouble.fails == "lost" and self.resets > 1 else obs), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.count += 1
        trouble, failing = self.trouble, self.count == self.trouble.at
        push = float(np.asarray(action).reshape(-1)[0]) - (trouble.actions - 1) / 2 * (trouble.actions > 0)
        self.place = float(0.9 * self.place + 0.5 * np.clip(push, -1, 1) + 0.1 * self.np_random.normal())
        if failing and trouble.fails == "raise":
            raise RuntimeError("the motor has stalled")
        reward = trouble.reward_scale * (1.0 if trouble.constant_reward else 1.0 - self.place**2)
        if failing and trouble.fails == "infinite":
            reward = np.inf
        obs = self._obs()
        return (obs * np.nan if failing and trouble.fails == "nan" else obs), reward, trouble.ends_at_once, False, {}

    def _obs(self) -> np.ndarray:
        return np.array([self.place, 1.0]) * self.trouble.scale + self.trouble.offset


def register(env_id: str, trouble: Trouble) -> None:
    """Make a task known to this process, again if it was."""
    gymnasium.registry.pop(env_id, None)
    gymnasium.register(env_id, entry_point=lambda: Walk(trouble), max_episode_steps=trouble.horizon)


def demonstrate(env_id: str, path: Path, act: Callable[[np.ndarray, Any], np.ndarray] | None = None) -> Path:
    """Eight episodes of a way to act (uniformly at random where left out) as a file."""
    simulator = envs.make(env_id, 8, 7)
    spec = simulator.spec
    rng = np.random.default_rng(0)

    def random(obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(spec.act_dim, size=len(obs)) if spec.discrete else rng.normal(size=(len(obs), spec.act_dim))

    data = demos.sample_episodes(act or random, simulator, 8, rng)
    simulator.close()
    demos.save(path, data)
    return path
