"""GAE against returns summed by hand, with termination and truncation apart."""

import numpy as np
import pytest

from deep.advantage import gae

EXACT = 1e-12  # sums of a few dozen terms of size one


def slow(rewards, values, next_values, ended, gamma, lam, weights=None):
    """A_t = sum_k (gamma lam)^k min(1, w_{t+1}) ... min(1, w_{t+k}) delta_{t+k}, up to the end of the episode."""
    cut = np.ones_like(rewards) if weights is None else np.minimum(weights, 1.0)
    steps, sims = rewards.shape
    out = np.zeros_like(rewards)
    for e in range(sims):
        for t in range(steps):
            for k in range(steps - t):
                i = t + k
                delta = rewards[i, e] + gamma * next_values[i, e] - values[i, e]
                out[t, e] += (gamma * lam) ** k * cut[t + 1 : i + 1, e].prod() * delta
                if ended[i, e]:
                    break
    return out


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    shape = (23, 5)
    return (*(rng.normal(size=shape) for _ in range(3)), rng.random(shape) < 0.15)


@pytest.mark.parametrize("lam", [0.0, 0.5, 0.97, 1.0])
def test_recursion_is_the_sum(batch, lam: float) -> None:
    np.testing.assert_allclose(gae(*batch, 0.9, lam), slow(*batch, 0.9, lam), rtol=EXACT, atol=EXACT)


def test_weights_cut_the_trace_where_another_policy_chose(batch) -> None:
    weights = np.random.default_rng(2).lognormal(size=batch[0].shape)
    found = gae(*batch, 0.9, 0.97, weights)
    np.testing.assert_allclose(found, slow(*batch, 0.9, 0.97, weights), rtol=EXACT, atol=EXACT)
    np.testing.assert_array_equal(gae(*batch, 0.9, 0.97, np.ones_like(weights)), gae(*batch, 0.9, 0.97))


def test_lam_one_gives_the_discounted_return_of_a_terminated_episode() -> None:
    gamma, rewards = 0.9, np.array([[1.0], [2.0], [4.0]])
    values = np.array([[0.3], [-0.2], [5.0]])
    next_values = np.array([[-0.2], [5.0], [0.0]])  # nothing follows termination
    ended = np.array([[False], [False], [True]])
    returns = np.array([[1 + 0.9 * 2 + 0.81 * 4], [2 + 0.9 * 4], [4.0]])
    np.testing.assert_allclose(gae(rewards, values, next_values, ended, gamma, 1.0), returns - values, atol=EXACT)


def test_truncation_bootstraps_and_termination_does_not() -> None:
    rewards, values = np.zeros((1, 2)), np.zeros((1, 2))
    next_values = np.array([[7.0, 0.0]])  # truncated with a successor worth 7; terminated
    found = gae(rewards, values, next_values, np.array([[True, True]]), 0.9, 0.97)
    np.testing.assert_allclose(found, [[6.3, 0.0]], atol=EXACT)


def test_nothing_flows_from_one_episode_into_the_one_before() -> None:
    rng = np.random.default_rng(1)
    rewards, values, next_values = (rng.normal(size=(6, 1)) for _ in range(3))
    ended = np.array([[False], [False], [True], [False], [False], [True]])
    before = gae(rewards, values, next_values, ended, 0.9, 0.97)
    rewards[3:] += 100.0
    np.testing.assert_array_equal(gae(rewards, values, next_values, ended, 0.9, 0.97)[:3], before[:3])
