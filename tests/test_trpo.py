"""The natural step: Fisher products against the explicit matrix, a known answer, the KL bound, guards."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from deep import trpo
from deep.envs import EnvSpec
from deep.nets import Categorical, Policy, make_policy
from deep.trpo import TrpoConfig

BOX = EnvSpec("box", 3, False, 2, -np.ones(2), np.ones(2), 100, native=False)
DISCRETE = EnvSpec("discrete", 3, True, 4, None, None, 100, native=False)
SINGLE = 2e-5  # float32 sums over a few dozen samples, relative

specs = pytest.mark.parametrize("spec", [BOX, DISCRETE], ids=["gaussian", "categorical"])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def policy_and_states(spec: EnvSpec, n: int = 24) -> tuple[Policy, Tensor]:
    policy = make_policy(spec, (5,), -0.3, generator())
    with torch.no_grad():  # away from the uniform start, where gradients nearly vanish
        policy.net[-1].weight.mul_(50.0)
    return policy, torch.randn(n, spec.obs_dim, generator=generator(1))


def explicit_fisher(policy: Policy, x: Tensor) -> np.ndarray:
    """The mean over states of E[grad log pi grad log pi'], by enumeration (discrete) or by its Gaussian closed form."""
    params = trpo.trainable(policy)
    size = sum(p.numel() for p in params)
    total = np.zeros((size, size))
    for row in x:
        dist = policy(row[None])
        if isinstance(dist, Categorical):
            logp = dist.logp[0]
            for a in range(len(logp)):
                score = trpo.flat(torch.autograd.grad(logp[a], params, retain_graph=True)).numpy()
                total += math.exp(float(logp[a].detach())) * np.outer(score, score)
            continue
        for u in range(dist.mean.shape[1]):
            g = torch.autograd.grad(dist.mean[0, u], params, retain_graph=True, allow_unused=True)
            flat = trpo.flat([torch.zeros_like(p) if d is None else d for d, p in zip(g, params, strict=True)]).numpy()
            total += np.outer(flat, flat) * math.exp(-2 * float(dist.log_std[u].detach()))
        for u in range(dist.mean.shape[1]):  # the Fisher information of log sigma is 2
            at = [torch.zeros_like(p) for p in params]
            which = next(i for i, p in enumerate(params) if p is policy.log_std)
            at[which][u] = 1.0
            e = trpo.flat(at).numpy()
            total += 2 * np.outer(e, e)
    return total / len(x)


@specs
def test_fisher_products_are_those_of_the_explicit_matrix(spec: EnvSpec) -> None:
    policy, x = policy_and_states(spec)
    fisher = explicit_fisher(policy, x)
    product = trpo.fisher_product(policy, x)
    found = np.stack([product(e).numpy() for e in torch.eye(len(fisher), dtype=torch.float64)])
    np.testing.assert_allclose(found, fisher, atol=SINGLE * np.abs(fisher).max())
    np.testing.assert_allclose(found, found.T, atol=SINGLE * np.abs(fisher).max())


def test_conjugate_gradients_solve_a_known_system() -> None:
    rng = np.random.default_rng(0)
    half = rng.normal(size=(12, 12))
    a = torch.from_numpy(half @ half.T + np.eye(12))
    b = torch.from_numpy(rng.normal(size=12))
    x, residual, indefinite = trpo.conjugate_gradients(lambda v: a @ v, b, 40)
    np.testing.assert_allclose(x.numpy(), np.linalg.solve(a.numpy(), b.numpy()), rtol=1e-8)
    assert residual < 1e-9 and not indefinite


def test_conjugate_gradients_give_the_best_step_of_their_krylov_space() -> None:
    """Residuals swing above those of the start on a system of wide spectrum; the gain of the model does not fall."""
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(60, 60)))[0]
    a, b = basis * np.logspace(-2, 2, 60) @ basis.T, rng.normal(size=60)
    krylov, residuals = [b], []
    for k in range(1, 9):
        space = np.linalg.qr(np.stack(krylov, axis=1))[0]
        expected = space @ np.linalg.solve(space.T @ a @ space, space.T @ b)
        x, residual, _ = trpo.conjugate_gradients(lambda v: torch.from_numpy(a) @ v, torch.from_numpy(b), k)
        np.testing.assert_allclose(x.numpy(), expected, atol=1e-9 * np.abs(expected).max())
        residuals.append(np.linalg.norm(b - a @ expected) / np.linalg.norm(b))
        assert residual == pytest.approx(min(1.0, *residuals), rel=1e-9)
        krylov.append(a @ krylov[-1])
    assert max(np.diff(residuals)) > 0, "the case of residuals that rise is not tried"


def test_conjugate_gradients_stop_at_negative_curvature() -> None:
    a = torch.diag(torch.tensor([1.0, -2.0], dtype=torch.float64))
    x, _, indefinite = trpo.conjugate_gradients(lambda v: a @ v, torch.tensor([1.0, 1.0], dtype=torch.float64), 10)
    assert indefinite and torch.isfinite(x).all()


class Bandit:
    """One state, Gaussian actions, advantage linear in the action: the optimum under a KL bound is known.

    With pi = N(mu, sigma^2) and F = diag(1/sigma^2, 2), the natural step on the mean for A = a - mu moves mu by
    sigma * sqrt(2 delta), where the KL of the move, (d mu)^2 / (2 sigma^2), equals delta.
    """

    def __init__(self) -> None:
        spec = dataclasses.replace(BOX, obs_dim=1, act_dim=1)
        self.policy = make_policy(spec, (), 0.5, generator())
        self.policy.net[0].weight.requires_grad_(False)
        self.x = torch.zeros(4000, 1)
        noise = torch.randn(2000, 1, generator=generator(3))
        self.acts = math.exp(0.5) * torch.cat([noise, -noise])  # antithetic: no gradient on log sigma by chance


def test_a_step_has_the_known_length() -> None:
    bandit, config = Bandit(), TrpoConfig(max_kl=0.01, damping=0.0, fisher_fraction=1.0)
    info = trpo.step(bandit.policy, bandit.x, bandit.acts, bandit.acts[:, 0], config, generator())
    moved = float(bandit.policy.net[0].bias.detach())
    # The line search may shorten the step by one notch, since the model's KL equals the bound to first order.
    assert moved == pytest.approx(info.accepted * math.exp(0.5) * math.sqrt(0.02), rel=1e-3)
    assert 0 < info.kl <= config.max_kl and info.accepted >= 0.5


@specs
def test_a_step_raises_the_objective_within_the_bound(spec: EnvSpec) -> None:
    policy, x = policy_and_states(spec, 400)
    acts = policy(x).sample(generator(5)).detach()
    advantages = torch.randn(400, generator=generator(6))
    old = policy(x).detach()
    before = trpo.flat([p.detach() for p in trpo.trainable(policy)])
    info = trpo.step(policy, x, acts, advantages, TrpoConfig(), generator())
    new = policy(x).detach()
    ratio = torch.exp(new.log_prob(acts) - old.log_prob(acts))
    assert float((ratio * advantages).mean() - advantages.mean()) == pytest.approx(info.improvement, abs=1e-5)
    assert info.improvement > 0
    assert float(old.kl(new).mean()) == pytest.approx(info.kl, rel=1e-3)
    assert 0 < info.kl <= TrpoConfig().max_kl
    assert not torch.equal(before, trpo.flat([p.detach() for p in trpo.trainable(policy)]))


@pytest.mark.parametrize(
    ("advantage", "event"),
    [(math.nan, "non-finite gradient"), (math.inf, "non-finite gradient"), (0.0, "zero gradient")],
)
def test_guards_leave_the_weights_alone(advantage: float, event: str) -> None:
    policy, x = policy_and_states(BOX)
    before = trpo.flat([p.detach() for p in trpo.trainable(policy)])
    acts = policy(x).mode().detach()
    info = trpo.step(policy, x, acts, torch.full((len(x),), advantage), TrpoConfig(), generator())
    assert info.event == event and info.accepted == 0.0
    assert torch.equal(before, trpo.flat([p.detach() for p in trpo.trainable(policy)]))


def test_a_failed_line_search_is_an_event_and_changes_nothing() -> None:
    policy, x = policy_and_states(BOX)
    before = trpo.flat([p.detach() for p in trpo.trainable(policy)])
    acts = policy(x).sample(generator(2)).detach()
    config = TrpoConfig(backtracks=0)
    info = trpo.step(policy, x, acts, torch.randn(len(x), generator=generator(4)), config, generator())
    assert info.event == "line search failed"
    assert torch.equal(before, trpo.flat([p.detach() for p in trpo.trainable(policy)]))


def gradient_of(policy: Policy, x: Tensor, acts: Tensor, advantages: Tensor) -> Tensor:
    """grad of mean(A log pi), which is that of the surrogate at the old policy."""
    value = (policy(x).log_prob(acts) * advantages).mean()
    return trpo.flat(torch.autograd.grad(value, trpo.trainable(policy)))


def test_momentum_steps_along_the_sum_of_past_gradients() -> None:
    policy, x = policy_and_states(BOX, 200)
    config = TrpoConfig(max_kl=1e-4, damping=1e6, cg_iterations=1)  # so damped, the direction is the gradient itself
    past, expected = trpo.PastGradients(0.5), 0.0
    for seed in range(3):
        acts = policy(x).sample(generator(seed)).detach()
        # The same advantages for nearby actions, so that every step along the sum raises the newest objective too.
        advantages = acts[:, 0] - policy(x).mode().detach()[:, 0]
        expected = 0.5 * expected + gradient_of(policy, x, acts, advantages)
        before = trpo.flat([p.detach() for p in trpo.trainable(policy)])
        info = trpo.step(policy, x, acts, advantages, config, generator(), past=past)
        moved = trpo.flat([p.detach() for p in trpo.trainable(policy)]) - before
        assert info.accepted > 0
        np.testing.assert_allclose(past.total.numpy(), expected.numpy(), atol=SINGLE * float(expected.abs().max()))
        # The step is written to float32 parameters of size one.
        cosine = float(moved @ expected / (moved.norm() * expected.norm()))
        assert cosine == pytest.approx(1.0, abs=1e-3)


def test_without_momentum_a_gradient_is_forgotten_and_wrong_momentum_is_refused() -> None:
    past = trpo.PastGradients(0.0)
    past.add(torch.ones(2, dtype=torch.float64))
    assert past.add(torch.zeros(2, dtype=torch.float64)).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="momentum must be at least 0 and below 1"):
        trpo.PastGradients(1.0)


def test_an_unusable_gradient_leaves_the_past_alone() -> None:
    policy, x = policy_and_states(BOX)
    acts, past = policy(x).mode().detach(), trpo.PastGradients(0.9)
    trpo.step(policy, x, acts, torch.full((len(x),), math.nan), TrpoConfig(), generator(), past=past)
    assert past.total is None


def test_a_huge_extra_term_never_breaks_the_bound() -> None:
    policy, x = policy_and_states(BOX)
    acts = policy(x).sample(generator(2)).detach()
    target = torch.full_like(acts, 3.0)
    old = policy(x).detach()
    info = trpo.step(
        policy, x, acts, torch.zeros(len(x)), TrpoConfig(), generator(), lambda p: 1e4 * p(x).log_prob(target).mean()
    )
    assert 0 < info.kl <= TrpoConfig().max_kl
    assert float(old.kl(policy(x).detach()).mean()) <= TrpoConfig().max_kl * (1 + 1e-4)
