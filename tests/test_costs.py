"""The cost fit: rewards by form, the risk against occmatch's closed form, the penalty, absorbing shares, every loss."""

import math

import numpy as np
import pytest
import torch

from deep import costs
from deep.costs import CostConfig, MarginNet, Side
from deep.envs import EnvSpec
from occmatch.losses import LOSSES, Loss

BOX = EnvSpec("box", 2, False, 1, -np.ones(1), np.ones(1), 100, native=False)
DISCRETE = EnvSpec("discrete", 2, True, 3, None, None, 100, native=False)
losses = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(spec: EnvSpec = BOX, absorbing: bool = False) -> MarginNet:
    return MarginNet(spec, absorbing, (32, 32), generator())


@losses
def test_reward_forms(loss: Loss) -> None:
    m = torch.linspace(-3, 3, 13)
    torch.testing.assert_close(costs.reward(loss, "neglogd", m), -loss.cost(m))
    torch.testing.assert_close(costs.reward(loss, "logd", m), loss.cost(-m))
    torch.testing.assert_close(costs.reward(loss, "airl", m), -m)
    for form in ("neglogd", "logd", "airl"):
        assert (costs.reward(loss, form, m).diff() < 0).all()  # the expert's side (m < 0) always pays more


def test_logistic_rewards_are_those_of_the_discriminator() -> None:
    m = torch.linspace(-3, 3, 13)
    d = torch.sigmoid(m)
    torch.testing.assert_close(costs.reward(LOSSES["logistic"], "neglogd", m), -torch.log(d))
    torch.testing.assert_close(costs.reward(LOSSES["logistic"], "logd", m), torch.log(1 - d))
    torch.testing.assert_close(
        costs.reward(LOSSES["logistic"], "airl", m), torch.log(1 - d) - torch.log(d), atol=1e-6, rtol=1e-5
    )


def objective(net: MarginNet, loss: Loss, learner: Side, expert: Side) -> torch.Tensor:
    return costs.risk(loss, costs.scores(net, learner), costs.scores(net, expert))


@pytest.mark.parametrize("name", ["logistic", "exponential", "exponential_linear", "smoothed_hinge"])
def test_the_fit_reaches_the_minimum_risk(name: str) -> None:
    """On three points with known shares, the best net attains R_phi of occmatch.losses (Eq 29)."""
    loss = LOSSES[name]
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    mine, theirs = np.repeat([0, 1, 2], [60, 30, 10]), np.repeat([0, 1, 2], [20, 30, 50])
    net = make()
    optimiser = torch.optim.Adam(net.net.parameters(), lr=0.01)
    a, b = (Side(net.rows(points[i], np.zeros((100, 1))), 0.0) for i in (mine, theirs))
    config = CostConfig(steps=600, minibatch=0, gradient_penalty=0.0)
    costs.fit(net, optimiser, loss, a, b, config, generator())
    p, q = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    target = float(loss.minimum_risk(p, q).sum())
    with torch.no_grad():
        found = float(objective(net, loss, a, b))
        margins = net(net.rows(points, np.zeros((3, 1)))).numpy()
    assert target - 1e-6 <= found <= target + 2e-3  # never below the minimum; Adam at lr 0.01 ends within 1e-3 of it
    np.testing.assert_allclose(margins, loss.best_margin(p, q), atol=0.1)


@losses
@pytest.mark.parametrize("absorbing", [False, True])
def test_gradients_are_those_of_the_penalised_risk(loss: Loss, absorbing: bool) -> None:
    """Against automatic differentiation of the risk, the squared slope and the entropy of sigmoid(m)."""
    net, shares = make(absorbing=absorbing), (0.25, 0.4) if absorbing else (0.0, 0.0)
    net = net.double()
    rows = [torch.randn(n, 3 + absorbing, generator=generator(n), dtype=torch.float64) for n in (40, 30, 20)]
    a, b, between = Side(rows[0], shares[0]), Side(rows[1], shares[1]), rows[2]
    net.end_row = lambda: MarginNet.end_row(net).double()
    at = between.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(at).sum(), at, create_graph=True)
    total = objective(net, loss, a, b).double() + 0.7 * slope.square().sum(1).mean()
    for side in (a, b):
        d = torch.sigmoid(net(side.rows))
        total = total + 0.3 * (d * d.log() + (1 - d) * (1 - d).log()).mean()
    expected = torch.autograd.grad(total, list(net.net.parameters()))
    config = CostConfig(gradient_penalty=0.7, entropy_bonus=0.3)
    for found, want in zip(costs.gradients(net, loss, a, b, between, config), expected, strict=True):
        torch.testing.assert_close(found, want, atol=1e-6, rtol=1e-5)  # the risk adds up in float32


def test_interpolates_lie_on_the_segments() -> None:
    a, b = torch.zeros(200, 3), torch.tensor([1.0, 2.0, -4.0]).expand(200, 3)
    found = costs.interpolate(a, b, generator(3))
    share = found[:, 0]
    torch.testing.assert_close(found, share[:, None] * b)
    assert 0 <= float(share.min()) < 0.05 and 0.95 < float(share.max()) <= 1


def test_the_penalty_flattens_the_net() -> None:
    rng = np.random.default_rng(0)
    sides = [rng.normal(s, 0.1, (200, 2)) for s in (-1.0, 1.0)]
    spread = []
    for weight in (0.0, 10.0):
        net = make()
        a, b = (Side(net.rows(s, np.zeros((200, 1))), 0.0) for s in sides)
        optimiser = torch.optim.Adam(net.net.parameters(), lr=0.01)
        costs.fit(net, optimiser, LOSSES["logistic"], a, b, CostConfig(steps=100, gradient_penalty=weight), generator())
        found = costs.diagnostics(LOSSES["logistic"], costs.scores(net, a), costs.scores(net, b))
        assert found["accuracy_learner"] == found["accuracy_expert"] == 1.0
        spread.append(found["margin_learner"] - found["margin_expert"])
    assert spread[1] < 0.5 * spread[0]


def test_absorbing_shares_weigh_the_end_state() -> None:
    net, loss = make(absorbing=True), LOSSES["logistic"]
    rows = net.rows(np.zeros((4, 2)), np.zeros((4, 1)))
    with torch.no_grad():
        m, end = float(net(rows[:1])), float(net(net.end_row()))
        found = float(objective(net, loss, Side(rows, 0.25), Side(rows, 0.0)))
    softplus = lambda x: math.log1p(math.exp(x))  # noqa: E731
    assert found == pytest.approx(0.75 * softplus(-m) + 0.25 * softplus(-end) + softplus(m), rel=1e-6)


def test_discrete_actions_are_one_hot_and_not_standardised() -> None:
    net = make(DISCRETE)
    net.normaliser.update(np.array([[0.0, 10.0], [2.0, 30.0]]))
    rows = net.rows(np.array([[1.0, 20.0]]), np.array([2]))
    np.testing.assert_array_equal(rows.numpy(), [[0, 0, 0, 0, 1]])


@losses
def test_diagnostics_of_equal_sides(loss: Loss) -> None:
    net = make()
    side = Side(net.rows(np.random.default_rng(0).normal(size=(64, 2)), np.zeros((64, 1))), 0.0)
    found = costs.diagnostics(loss, costs.scores(net, side), costs.scores(net, side))
    assert found["accuracy_learner"] + found["accuracy_expert"] == pytest.approx(1.0)
    assert found["margin_learner"] == found["margin_expert"]
