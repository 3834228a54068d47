"""Sampling episodes: every episode whole, none favoured for being short."""

from collections.abc import Iterator

import numpy as np
import pytest

from deep import envs
from deep.demos import sample_episodes
from deep.envs import EnvSpec, Simulator, Step


class Counters(Simulator):
    """Episodes whose lengths are given: simulator i's k-th episode lasts lengths[i][k] steps.

    obs = (simulator, episode, time); the reward is the action; odd episodes terminate, even ones are truncated.
    """

    def __init__(self, lengths: list[list[int]]) -> None:
        self.lengths = lengths
        self.num = len(lengths)
        self.spec = EnvSpec("Counters-v0", 3, False, 1, np.zeros(1), np.ones(1), 99, False)
        self.steps = 0

    def reset(self) -> np.ndarray:
        self.state = np.array([[i, 0, 0] for i in range(self.num)], dtype=np.float64)
        return self.state.copy()

    def step(self, actions: np.ndarray) -> Step:
        self.steps += 1
        after = self.state + np.array([0, 0, 1])
        done = np.array([t >= self.lengths[int(i)][int(k)] for i, k, t in after])
        odd = self.state[:, 1] % 2 == 1
        self.state = np.where(done[:, None], [[i, k + 1, 0] for i, k, _ in self.state], after)
        return Step(self.state.copy(), after, actions[:, 0], done & odd, done & ~odd)

    @property
    def elapsed(self) -> np.ndarray:
        return self.state[:, 2].astype(np.int64)

    @property
    def obs(self) -> np.ndarray:
        return self.state.copy()

    def state_dict(self) -> dict[str, np.ndarray]:
        return {"state": self.state}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        self.state = state["state"]

    def close(self) -> None:
        pass


LENGTHS = [[1, 2] + 20 * [1], [4, 3, 2] + 20 * [9], [2, 9, 3] + 20 * [9]]


def policy(obs: np.ndarray, generator: Iterator[float]) -> np.ndarray:
    return np.full((len(obs), 1), next(generator))


@pytest.mark.parametrize("episodes", range(1, 9))
def test_episodes_are_dealt_to_the_simulators_in_turn(episodes: int) -> None:
    simulator = Counters(LENGTHS)
    demos = sample_episodes(policy, simulator, episodes, iter(np.arange(100.0)))
    assert demos.episodes == episodes
    for e in range(episodes):
        i, k = e % 3, e // 3
        one = demos.episode(e)
        assert one.obs.tolist() == [[i, k, t] for t in range(LENGTHS[i][k])]
        began = sum(LENGTHS[i][:k])
        assert one.acts[:, 0].tolist() == list(range(began, began + LENGTHS[i][k]))
        assert one.rewards.tolist() == one.acts[:, 0].tolist()
        assert one.terminated.tolist() == [k % 2 == 1]
        assert one.last_obs.tolist() == [[i, k, LENGTHS[i][k]]]
    share = [sum(LENGTHS[i][: len(range(i, episodes, 3))]) for i in range(3)]
    assert simulator.steps == max(share)  # not a step more than needed
    assert demos.metadata == {"env": "Counters-v0"}


def test_lengths_are_those_of_the_task_whatever_the_number_of_simulators() -> None:
    """Under random actions CartPole's mean length is the same with 2 simulators as with one for each episode.

    Taking the first episodes to finish would shorten the mean by a third here.
    """

    def act(obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(2, size=len(obs))

    def lengths(num: int) -> np.ndarray:
        simulator = envs.make("CartPole-v0", num, num)
        demos = sample_episodes(act, simulator, 100, np.random.default_rng(num))
        simulator.close()
        assert demos.terminated.all() and demos.acts.dtype == np.int64
        assert np.array_equal(demos.returns(), demos.lengths)  # a reward of 1 a step
        return demos.lengths

    few, many = lengths(2), lengths(100)
    error = np.sqrt(few.var() / 100 + many.var() / 100)
    assert abs(few.mean() - many.mean()) < 3 * error


def test_the_number_of_episodes_must_be_positive() -> None:
    with pytest.raises(ValueError, match="episodes must be at least 1, but is 0"):
        sample_episodes(policy, Counters(LENGTHS), 0, iter([0.0]))
