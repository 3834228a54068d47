"""Returns of a policy over whole episodes.

One simulator an episode, each run to the end of its first one: taking the first `episodes` to finish would favour
short ones. `python -m deep.evaluate RUN` measures a finished run: returns, and the distance to its expert.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deep import envs

Act = Callable[[np.ndarray], np.ndarray]
WIDEST = 1e3  # half the width of a uniform action on an unbounded axis
UNBOUNDED = 1e30  # a bound beyond it is none: some tasks write the largest float32 for infinity


@dataclass(frozen=True)
class Returns:
    """Undiscounted returns [episodes] and lengths [episodes]."""

    returns: np.ndarray
    lengths: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        return float(self.returns.std())


def evaluate(env_id: str, act: Act, episodes: int, seed: int, threads: int = 0) -> Returns:
    """Run `act` (observations [E, O] -> actions [E, U]) for `episodes` whole episodes of the task."""
    simulator = envs.make(env_id, episodes, seed, threads=threads)
    obs = simulator.reset()
    returns = np.zeros(episodes)
    lengths = np.zeros(episodes, dtype=np.int64)
    running = np.ones(episodes, dtype=bool)
    while running.any():
        step = simulator.step(act(obs))
        obs = step.obs
        returns[running] += step.reward[running]
        lengths[running] += 1
        running &= ~(step.terminated | step.truncated)
    simulator.close()
    return Returns(returns, lengths)


def random_actions(spec: envs.EnvSpec) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """Uniformly random actions of a task, as a function of observations [E, O] and a generator.

    An axis without bounds is drawn from -WIDEST to WIDEST, one with a single bound within 2 * WIDEST of it.
    """
    if spec.discrete:
        return lambda obs, rng: rng.integers(spec.act_dim, size=len(obs))
    below, above = spec.act_low > -UNBOUNDED, spec.act_high < UNBOUNDED
    low = np.where(below, spec.act_low, np.where(above, spec.act_high - 2 * WIDEST, -WIDEST))
    high = np.where(above, spec.act_high, np.where(below, spec.act_low + 2 * WIDEST, WIDEST))
    return lambda obs, rng: rng.uniform(low, high, (len(obs), spec.act_dim))
