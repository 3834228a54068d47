"""Sample reuse: what earlier batches say about today's policy, by importance weights."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from deep import trpo
from deep.config import ExpertConfig, gail_defaults
from deep.envs import EnvSpec, make
from deep.expert import Expert
from deep.imitator import Imitator
from deep.learner import Learner, LearnerConfig
from deep.nets import GaussianPolicy, make_policy
from deep.reuse import Recent, log_prob
from deep.rollout import Batch, beside
from deep.trpo import TrpoConfig

ROUNDING = 1e-4  # of a ratio of float32 densities, the exponential of a difference of sums of a few terms
SIGMAS = 5  # a mean of independent draws is further off once in two million times


def bandit(actions: np.ndarray) -> Batch:
    """A batch of one-step episodes at the observation 0, [T, E]."""
    shape = actions.shape
    flags = np.ones(shape, bool)
    zeros = np.zeros(shape)
    obs = np.zeros((*shape, 1))
    empty = np.empty(0)
    return Batch(obs, actions[..., None], obs, zeros, flags, ~flags, zeros.astype(np.int64), empty, empty)


def gaussian(mean: float, std: float) -> GaussianPolicy:
    spec = EnvSpec("bandit", 1, False, 1, np.array([-1.0]), np.array([1.0]), 1, True)
    policy = make_policy(spec, (4,), float(np.log(std)), torch.Generator().manual_seed(0))
    with torch.no_grad():
        policy.net[-1].bias.fill_(mean)
        policy.net[-1].weight.zero_()
    return policy


def test_weighted_means_are_those_of_todays_policy() -> None:
    rng = np.random.default_rng(0)
    old, today = gaussian(0.0, 1.0), gaussian(0.3, 0.9)
    recent = Recent(2)
    first = bandit(rng.normal(0.0, 1.0, (200, 100)))
    second = bandit(rng.normal(0.3, 0.9, (200, 100)))
    recent.add(first, old)
    recent.add(second, today)
    w = recent.weights(today, recent.batch)
    np.testing.assert_allclose(w[:, 100:], 1.0, atol=ROUNDING)
    for f, expected in ((np.ones_like, 1.0), (np.array, 0.3), (np.square, 0.3**2 + 0.9**2)):
        terms = w[:, :100] * f(first.acts[..., 0])
        assert abs(terms.mean() - expected) <= SIGMAS * terms.std() / terms.size**0.5


def test_batches_lie_side_by_side_and_the_oldest_goes() -> None:
    policy, recent = gaussian(0.0, 1.0), Recent(2)
    batches = [bandit(np.full((3, 2), float(i))) for i in range(3)]
    for i, batch in enumerate(batches):
        recent.add(batch, policy)
        assert recent.newest is batch
        assert (recent.weights(policy, recent.batch) is None) == (i == 0)
    np.testing.assert_array_equal(recent.batch.acts[..., 0], [[1.0, 1.0, 2.0, 2.0]] * 3)
    assert beside(batches[:1]) is batches[0]


def test_a_policy_step_with_reuse_is_the_step_on_weighted_advantages(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    simulator = make("Pendulum-v1", 4, 0)
    config = LearnerConfig(
        simulators=4, batch=80, reuse=2, hidden=(8,), trpo=TrpoConfig(max_kl=0.05, fisher_fraction=1)
    )
    learner = Learner(simulator, config, np.random.SeedSequence(0))
    inner = trpo.step
    monkeypatch.setattr(trpo, "step", lambda *args: seen.append(args) or inner(*args))
    taken = []
    for _ in range(2):
        batch = learner.collect()
        taken.append(log_prob(learner.policy, batch))
        both = learner.recent.batch
        expected = np.exp(log_prob(learner.policy, both) - np.concatenate(taken, 1))
        learner.improve(both, both.rewards)
    learner.close()
    advantages = seen[-1][3].numpy().reshape(both.rewards.shape)
    w = np.minimum(expected, 2.0)
    assert both.rewards.shape == (20, 8) and w[:, :4].std() > 0.01
    standard = advantages / w
    assert abs(np.average(standard, weights=w)) <= ROUNDING
    assert abs(np.average(standard**2, weights=w) - 1) <= ROUNDING


def test_an_expert_learns_from_recent_batches_and_goes_on_to_the_same_bits() -> None:
    trust = TrpoConfig(max_kl=0.05, momentum=0.7)
    learner = LearnerConfig(simulators=4, batch=80, reuse=3, hidden=(8,), log_std=-0.5, trpo=trust)
    config = ExpertConfig(env="Pendulum-v1", threads=1, learner=learner)
    whole, resumed = Expert(config), Expert(config)
    for _ in range(2):
        metrics = whole.iterate()
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    assert metrics["env_steps"] == 160 and whole.learner.recent.batch.rewards.shape == (20, 8)
    for _ in range(2):
        assert whole.iterate() == resumed.iterate()
    first, second = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    whole.learner.close()
    resumed.learner.close()


def test_reuse_must_be_positive() -> None:
    with pytest.raises(ValueError, match="reuse must be at least 1, but is 0"):
        Recent(0)


LOWERED = 0.4 * 0.25 ** np.array([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize(
    ("average", "hold", "late"),
    [(0.0, 0.5, LOWERED), (0.0, 1.0, np.full(5, 0.4)), (0.95, 0.5, LOWERED), (0.95, 1.0, np.full(5, 0.4))],
)
def test_the_deviation_is_held_and_then_lowered(average: float, hold: float, late: np.ndarray) -> None:
    config = gail_defaults("Hopper-v4")
    learner = dataclasses.replace(config.learner, simulators=4, batch=100)
    config = dataclasses.replace(
        config, learner=learner, steps=1000, std=(0.4, 0.1), std_hold=hold, average=average, threads=1, bc_init=False
    )
    imitator = Imitator(config)
    before = copy.deepcopy(imitator.policy.net.state_dict())
    found, kept = [], []
    for _ in range(11):
        found.append(imitator.iterate()["policy_std"])
        kept.append(imitator.averaged.log_std.detach().exp().numpy().copy())
    np.testing.assert_allclose(found[:6], 0.4, rtol=1e-6)
    np.testing.assert_allclose(found[6:], late, rtol=1e-6)
    returned = np.full_like(kept, 0.1)  # an averaged policy acts as narrowly as the final one
    if not average:
        returned[:9] = np.array(found)[:9, None]  # the last policy does so once the steps are done
    np.testing.assert_allclose(kept, returned, rtol=1e-6)
    assert not torch.equal(before["0.weight"], imitator.policy.net[0].weight)
    imitator.close()
