"""Normaliser, distributions and policies against NumPy and torch.distributions."""

import numpy as np
import pytest
import torch
from torch import distributions

from deep.envs import EnvSpec
from deep.nets import CLIP, Categorical, Gaussian, GaussianPolicy, Normaliser, make_policy

BOX = EnvSpec("box", 3, False, 2, -np.ones(2), np.ones(2), 100, native=False)
DISCRETE = EnvSpec("discrete", 3, True, 4, None, None, 100, native=False)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_normaliser_merges_to_the_statistics_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    rows = 1e6 + rng.normal(size=(500, 3)) * [1.0, 10.0, 1e-3]
    parts = Normaliser(3)
    for part in np.split(rows, [1, 17, 200]):
        parts.update(part)
    np.testing.assert_allclose(parts.mean.numpy(), rows.mean(0), rtol=1e-14)
    np.testing.assert_allclose(parts.std, rows.std(0), rtol=1e-6)  # 1e6 of offset costs half the digits of 1e-3
    whole = Normaliser(3)
    whole.update(rows)
    np.testing.assert_allclose(parts(rows).numpy(), whole(rows).numpy(), atol=2e-6)


def test_normaliser_leaves_constants_unscaled_and_clips() -> None:
    rows = np.array([[5.0, 0.0], [5.0, 1.0], [5.0, -1.0]])
    normaliser = Normaliser(2)
    assert torch.equal(normaliser(rows), torch.from_numpy(rows).float())  # nothing known yet: identity
    normaliser.update(rows)
    np.testing.assert_array_equal(normaliser(rows)[:, 0].numpy(), 0.0)
    assert float(normaliser(np.array([[6.0, 1e9]]))[0, 1]) == CLIP
    assert float(normaliser(np.array([[1e8, 0.0]]))[0, 0]) == CLIP


def test_normaliser_survives_saving() -> None:
    a, b = Normaliser(2), Normaliser(2)
    a.update(np.random.default_rng(0).normal(3.0, 2.0, (50, 2)))
    b.load_state_dict(a.state_dict())
    rows = np.ones((4, 2))
    assert torch.equal(a(rows), b(rows))


def test_gaussian_is_that_of_torch() -> None:
    mean, other = torch.randn(6, 2, generator=generator()), torch.randn(6, 2, generator=generator(1))
    p, q = Gaussian(mean, torch.tensor([-0.5, 0.3])), Gaussian(other, torch.tensor([0.1, -0.2]))
    tp, tq = (distributions.Independent(distributions.Normal(d.mean, d.log_std.exp()), 1) for d in (p, q))
    acts = torch.randn(6, 2, generator=generator(2))
    torch.testing.assert_close(p.log_prob(acts), tp.log_prob(acts))
    torch.testing.assert_close(p.entropy(), tp.entropy())
    torch.testing.assert_close(p.kl(q), distributions.kl_divergence(tp, tq))


def test_categorical_is_that_of_torch() -> None:
    p, q = (Categorical.of(torch.randn(6, 4, generator=generator(i))) for i in (0, 1))
    tp, tq = (distributions.Categorical(logits=d.logp) for d in (p, q))
    acts = torch.tensor([0, 1, 2, 3, 0, 1])
    torch.testing.assert_close(p.log_prob(acts), tp.log_prob(acts))
    torch.testing.assert_close(p.entropy(), tp.entropy())
    torch.testing.assert_close(p.kl(q), distributions.kl_divergence(tp, tq))


@pytest.mark.parametrize("spec", [BOX, DISCRETE], ids=["gaussian", "categorical"])
def test_samples_follow_the_distribution(spec: EnvSpec) -> None:
    policy = make_policy(spec, (8,), -0.5, generator())
    obs = np.tile(np.array([[0.3, -1.0, 2.0]]), (20_000, 1))
    acts = policy.act(obs, generator(1))
    dist = policy(policy.normaliser(obs[:1])).detach()
    if spec.discrete:
        share = np.bincount(acts, minlength=4) / len(acts)
        # Five standard errors of a share estimated from 20,000 draws.
        np.testing.assert_allclose(share, dist.logp.exp()[0].numpy(), atol=5 * 0.5 / len(acts) ** 0.5)
    else:
        np.testing.assert_allclose(acts.mean(0), dist.mean[0].numpy(), atol=5 / len(acts) ** 0.5)
        np.testing.assert_allclose(acts.std(0), np.exp(-0.5), rtol=0.03)
    assert np.array_equal(policy.act(obs[:3]), policy.act(obs[:3]))  # the mode does not draw


def test_action_units_are_undone_by_decoding() -> None:
    policy = make_policy(BOX, (8,), 0.0, generator())
    assert isinstance(policy, GaussianPolicy)
    acts = np.random.default_rng(0).normal([5.0, -2.0], [3.0, 0.1], (200, 2))
    policy.set_units(acts)
    encoded = policy.encode(acts)
    np.testing.assert_allclose(encoded.mean(0).numpy(), 0.0, atol=1e-6)
    np.testing.assert_allclose(encoded.numpy().std(0), 1.0, rtol=1e-5)
    np.testing.assert_allclose(policy.decode(encoded), acts, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_small_actions_have_units_and_constant_ones_none(size: float) -> None:
    policy = make_policy(BOX, (8,), 0.0, generator())
    assert isinstance(policy, GaussianPolicy)
    acts = size * np.random.default_rng(0).normal(size=(200, 2))
    acts[:, 1] = size * np.where(np.arange(200) % 2, 0.3, 0.1 + 0.2)  # two roundings of one number
    assert acts[:, 1].std() > 0
    policy.set_units(acts)
    np.testing.assert_allclose(policy.act_std.numpy(), [acts[:, 0].std(), 1.0], rtol=1e-12)


def test_weights_come_from_the_generator_alone() -> None:
    torch.manual_seed(0)
    a = make_policy(BOX, (8,), 0.0, generator(3))
    torch.manual_seed(1)
    b = make_policy(BOX, (8,), 0.0, generator(3))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
