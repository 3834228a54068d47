"""Cost fitting, the maximiser over c in the saddle point (Eq 16, Eq 17).

A margin net m(s, a) is trained to tell the learner (m > 0, "D = 1") from the expert (m < 0) under a loss phi of
occmatch.losses:

    minimise over m   E_pi[phi(m)] + E_piE[phi(-m)]  (+ penalty)        Eq 29; its negative is psi*(rho_pi - rho_E)

and the learner's cost is c = -phi(m), which for the logistic loss is log D with D = sigmoid(m). What TRPO maximises
is one of three rewards, equal in their ordering of pairs and different in their sign:

    neglogd   phi(m) = -log D         positive for phi > 0: every step alive pays, so it favours survival
    logd      -phi(-m) = log(1 - D)   negative for phi > 0: every step costs, so it favours ending
    airl      -m = log(1 - D) - log D for the logistic loss: either sign (Fu et al. 2018)

The sign matters only because a terminated episode stops paying. With `absorbing` it does not stop: the state after
the end becomes part of both occupancy measures, as it is in the paper's definition, and carries a learned reward of
its own for the rest of the horizon (Kostrikov et al. 2019, discriminator actor-critic).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from deep import backprop
from deep.envs import EnvSpec
from deep.nets import Normaliser, mlp
from occmatch.losses import Loss

RewardForm = Literal["neglogd", "logd", "airl"]
LARGE = 1e18  # of a gradient's entry: its square, which Adam keeps, must be finite in float32


@dataclass(frozen=True)
class CostConfig:
    """How the cost is fitted; all but update_normaliser and linear_rate is the margin net's."""

    hidden: tuple[int, ...] = (100, 100)
    """Tanh units (Appendix B of the paper)."""
    lr: float = 3e-4
    """Adam's learning rate."""
    steps: int = 5
    """Adam steps an iteration."""
    minibatch: int = 512
    """Pairs of each side in a step; 0 takes the whole batch and all expert pairs."""
    gradient_penalty: float = 3.0
    """Weight of E ||grad m||^2 on lines between learner and expert pairs (zero-centred: Thanh-Tung et al. 2019)."""
    entropy_bonus: float = 0.0
    """Weight of the classifier's entropy, 1e-3 in the authors' configuration."""
    update_normaliser: bool = False
    """Keep updating the input statistics from the learner's pairs."""
    linear_rate: float = 0.0
    """fem and gtal: 0 takes the best cost of each batch; above it, the regularised leader's at this learning rate."""


@dataclass(frozen=True)
class Side:
    """One side of the classification: rows [N, D], and the share of its occupancy that lies in the absorbing state."""

    rows: Tensor
    absorbing: float


class MarginNet(nn.Module):
    """m(s, a) on standardised (obs, act), one-hot acts where discrete, and a flag for the absorbing state.

    Random numbers are drawn on the CPU wherever the net lives, so that a seed means the same on every device.
    """

    def __init__(self, spec: EnvSpec, absorbing: bool, hidden: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        self.actions = spec.act_dim if spec.discrete else 0
        self.flag = int(absorbing)
        self.normaliser = Normaliser(spec.obs_dim + (0 if spec.discrete else spec.act_dim))
        self.net = mlp(spec.obs_dim + spec.act_dim + self.flag, 1, hidden, 1.0, generator)

    @property
    def device(self) -> torch.device:
        return self.net[0].weight.device

    def continuous(self, obs: np.ndarray, acts: np.ndarray) -> np.ndarray:
        """The real-valued part of the input, which is what the normaliser standardises."""
        return obs if self.actions else np.concatenate([obs, acts], 1)

    def rows(self, obs: np.ndarray, acts: np.ndarray) -> Tensor:
        """Inputs [N, D] of pairs obs [N, O], acts [N, U] or [N]."""
        parts = [self.normaliser(self.continuous(obs, acts))]
        if self.actions:
            parts.append(nn.functional.one_hot(torch.from_numpy(acts), self.actions).float())
        if self.flag:
            parts.append(torch.zeros(len(obs), 1))
        return torch.cat(parts, 1).to(self.device)

    def end_row(self) -> Tensor:
        """The input [1, D] of the absorbing state: zeros and the flag."""
        row = torch.zeros(1, self.net[0].in_features)
        row[0, -1] = 1.0
        return row.to(self.device)

    def forward(self, rows: Tensor) -> Tensor:
        """Margins [N]."""
        return self.net(rows)[:, 0]


def reward(loss: Loss, form: RewardForm, m: Tensor) -> Tensor:
    """The reward of margins, elementwise; see the module docstring."""
    if form == "neglogd":
        return loss.phi(m)
    if form == "logd":
        return -loss.phi(-m)
    return -m


@dataclass(frozen=True)
class Scores:
    """Margins [N] of a side's rows, the margin of the end state where there is one, and its share."""

    margins: Tensor
    end: Tensor | None
    absorbing: float


def scores(net: MarginNet, side: Side) -> Scores:
    """The margins of a side."""
    return Scores(net(side.rows), net(net.end_row()) if side.absorbing > 0 else None, side.absorbing)


def risk(loss: Loss, learner: Scores, expert: Scores) -> Tensor:
    """E_pi[phi(m)] + E_piE[phi(-m)], absorbing shares included."""
    total = torch.zeros((), device=learner.margins.device)
    for side, sign in ((learner, 1.0), (expert, -1.0)):
        total = total + (1 - side.absorbing) * loss.phi(sign * side.margins).mean()
        if side.end is not None:
            total = total + side.absorbing * loss.phi(sign * side.end).mean()
    return total


def interpolate(learner: Tensor, expert: Tensor, generator: torch.Generator) -> Tensor:
    """Points uniform on the segments between paired rows [n, D]."""
    mix = torch.rand(len(learner), 1, generator=generator).to(learner.device)
    return mix * learner + (1 - mix) * expert


def fit(
    net: MarginNet,
    optimiser: torch.optim.Optimizer,
    loss: Loss,
    learner: Side,
    expert: Side,
    config: CostConfig,
    generator: torch.Generator,
) -> int:
    """Take config.steps Adam steps on the penalised risk (Eq 17).

    A step whose gradient has an entry beyond LARGE, or none that is a number, is left out; returns how many were.
    """
    params, left_out = list(net.net.parameters()), 0
    for _ in range(config.steps):
        a, b = learner.rows, expert.rows
        if config.minibatch:
            a = a[torch.randint(len(a), (config.minibatch,), generator=generator)]
            b = b[torch.randint(len(b), (config.minibatch,), generator=generator)]
        between = None
        if config.gradient_penalty:
            n = max(len(a), len(b))
            pairs = (side[torch.randint(len(side), (n,), generator=generator)] for side in (a, b))
            between = interpolate(*pairs, generator)
        sides = Side(a, learner.absorbing), Side(b, expert.absorbing)
        found = gradients(net, loss, *sides, between, config)
        if not float(torch.stack([grad.abs().max() for grad in found]).max()) <= LARGE:
            left_out += 1
            continue
        for p, grad in zip(params, found, strict=True):
            p.grad = grad
        optimiser.step()
    return left_out


@torch.no_grad()
def gradients(
    net: MarginNet, loss: Loss, learner: Side, expert: Side, between: Tensor | None, config: CostConfig
) -> list[Tensor]:
    """Gradients, in the order of net.net.parameters(), of
    objective + gradient_penalty * (mean squared slope at `between`) - entropy_bonus * (mean entropies of the sides).
    """
    rows, signs, weights, bonus = [], [], [], []
    for side, sign in ((learner, 1.0), (expert, -1.0)):
        n = len(side.rows)
        rows.append(side.rows)
        signs += [side.rows.new_full((n,), sign)]
        weights += [side.rows.new_full((n,), (1 - side.absorbing) / n)]
        bonus += [side.rows.new_full((n,), config.entropy_bonus / n)]
        if side.absorbing > 0:
            rows.append(net.end_row())
            signs += [side.rows.new_full((1,), sign)]
            weights += [side.rows.new_full((1,), side.absorbing)]
            bonus += [side.rows.new_zeros(1)]
    sign, weight = torch.cat(signs), torch.cat(weights)
    tape = backprop.forward(net.net, torch.cat(rows))
    m = tape.out[:, 0]
    u = weight * sign * loss.dphi(sign * m)
    if config.entropy_bonus:
        d = torch.sigmoid(m)
        u += torch.cat(bonus) * m * d * (1 - d)  # the entropy of sigmoid(m) has the slope -m d (1 - d)
    found = backprop.pullback(tape, u[:, None])
    if between is None:
        return found
    _, more = backprop.penalty(backprop.forward(net.net, between), config.gradient_penalty)
    return [one + other for one, other in zip(found, more, strict=True)]


@torch.no_grad()
def diagnostics(loss: Loss, learner: Scores, expert: Scores) -> dict[str, float]:
    """Share classified rightly on each side, mean margins, and the risk (2 log 2 where logistic cannot tell)."""
    a, b = learner.margins, expert.margins
    return {
        "accuracy_learner": float((a > 0).float().mean()),
        "accuracy_expert": float((b < 0).float().mean()),
        "margin_learner": float(a.mean()),
        "margin_expert": float(b.mean()),
        "risk": float(risk(loss, learner, expert)),
    }
