"""Episodes of a policy in a simulator, as demonstrations.

With E simulators, simulator i runs episodes i, i + E, i + 2E, ... and what it does beyond its share is dropped. Taking
the first episodes to finish instead would favour short ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from deep.demos.format import Demos

if TYPE_CHECKING:
    from deep.envs import Simulator

__all__ = ["sample_episodes"]

G = TypeVar("G")


def sample_episodes(
    policy_fn: Callable[[np.ndarray, G], np.ndarray], simulator: Simulator, episodes: int, generator: G
) -> Demos:
    """Whole episodes, rewards and terminations included.

    `policy_fn(obs [E, O], generator)` returns the actions [E, U], or [E] where discrete: `Policy.act` samples them, or
    takes the mode where `generator` is None. The simulator is reset first and must not be staggered, which would
    shorten first episodes. Raises ValueError unless `episodes` is at least 1.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, but is {episodes}")
    num = simulator.num
    shares = (episodes - np.arange(num) + num - 1) // num
    number = np.arange(num)  # the episode that each simulator is in
    columns: list[tuple[np.ndarray, ...]] = []
    lengths = np.zeros(episodes, dtype=np.int64)
    ended = np.zeros(episodes, dtype=bool)
    last = np.zeros((episodes, simulator.spec.obs_dim))
    obs = simulator.reset()
    while (running := shares > 0).any():
        acts = policy_fn(obs, generator)
        step = simulator.step(acts)
        columns.append((number[running], obs[running], acts[running], step.reward[running]))
        lengths[number[running]] += 1
        done = running & (step.terminated | step.truncated)
        ended[number[done]] = step.terminated[done]
        last[number[done]] = step.next_obs[done]
        number[done] += num
        shares[done] -= 1
        obs = step.obs
    of, *pairs = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = np.argsort(of, kind="stable")  # steps were recorded in time order: so are the rows of each episode
    obs, acts, rewards = (column[order] for column in pairs)
    return Demos(obs, acts, lengths, rewards, ended, metadata={"env": simulator.spec.id}, last_obs=last)
