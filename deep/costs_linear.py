"""Costs linear in features: FEM and GTAL, the two classical choices of psi (Eq 9 to 11).

    c(s, a) = w . f(s, a),      gap = E_pi[f] - E_piE[f]

    fem    ||w||_2 <= 1                        w = gap / ||gap||     (Abbeel & Ng 2004)
    gtal   w >= 0, sum w = 1, f and -f both    w = 1 at the largest gap     (Syed & Schapire 2007)

The maximiser over c is closed-form, so nothing is trained: each iteration takes the best cost against its batch. In the
terms of deep.costs this is the linear loss phi(m) = -m on margins of a bounded class, and its risk is -psi*.

The best cost of gtal charges one feature at a time, and where there are hundreds of them a policy that answers each in
turn follows none. With a `rate` > 0 the player follows the regularised leader instead, over the sum G of all gaps so
far: no regret, so that the averages tend to the saddle point.

    fem    w = rate G, divided by max(1, ||rate G||)        (lazy projected gradient: Zinkevich 2003)
    gtal   w ~ exp(rate G)                                  (multiplicative weights: Syed & Schapire 2007, MWAL)

Features are those of the authors' code: observations and actions standardised by the expert's, the squares of
SQUARES times these, and a constant; for discrete actions one block of features of the observation an action. Unlike
there, the cost is not divided by the number of features, so that lambda keeps its meaning, and standardised inputs
are clipped as they are everywhere here.

A linear cost has no sign. The reward forms that favour survival or ending shift it by its bound so far, as the authors'
code does: neglogd pays at least 0 and logd at most 0 on the batch that w was chosen on (and in the absorbing state),
and airl is not shifted.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from deep.costs import RewardForm, Side
from deep.envs import EnvSpec
from deep.nets import Normaliser

LinearClass = Literal["fem", "gtal"]
SQUARES = 1e-2  # sqscale in the authors' code


class LinearMargin(nn.Module):
    """m(s, a) = w . f(s, a), float64, over the features of the module's table; it starts at w = 0."""

    def __init__(self, spec: EnvSpec, absorbing: bool, kind: LinearClass) -> None:
        super().__init__()
        self.kind = kind
        self.actions = spec.act_dim if spec.discrete else 0
        self.flag = int(absorbing)
        inputs = spec.obs_dim + (0 if spec.discrete else spec.act_dim)
        self.normaliser = Normaliser(inputs)
        number = 2 * inputs * max(1, self.actions) + 1 + self.flag
        self.register_buffer("w", torch.zeros(number * (2 if kind == "gtal" else 1), dtype=torch.float64))
        self.register_buffer("total", torch.zeros_like(self.w))
        self.register_buffer("least", torch.zeros((), dtype=torch.float64))
        self.register_buffer("greatest", torch.zeros((), dtype=torch.float64))

    def continuous(self, obs: np.ndarray, acts: np.ndarray) -> np.ndarray:
        """The real-valued part of the input, which is what the normaliser standardises."""
        return obs if self.actions else np.concatenate([obs, acts], 1)

    def rows(self, obs: np.ndarray, acts: np.ndarray) -> Tensor:
        """Features [N, K] of pairs obs [N, O], acts [N, U] or [N]."""
        x = self.normaliser(self.continuous(obs, acts)).double()
        x = torch.cat([x, (SQUARES * x).square()], 1)
        if self.actions:
            chosen = nn.functional.one_hot(torch.from_numpy(acts), self.actions).double()
            x = (chosen[:, :, None] * x[:, None, :]).reshape(len(x), -1)
        one = x.new_ones(len(x), 1)
        return self._signed(torch.cat([x, one, *[0 * one] * self.flag], 1))

    def end_row(self) -> Tensor:
        """The features [1, K] of the absorbing state: the constant and the flag, all else zero."""
        row = self.w.new_zeros(1, len(self.w) // (2 if self.kind == "gtal" else 1))
        row[0, -1 - self.flag :] = 1.0
        return self._signed(row)

    def forward(self, rows: Tensor) -> Tensor:
        """Margins [N]."""
        return rows @ self.w

    def _signed(self, f: Tensor) -> Tensor:
        return torch.cat([f, -f], 1) if self.kind == "gtal" else f


@torch.no_grad()
def feature_gap(margin: LinearMargin, learner: Side, expert: Side) -> Tensor:
    """E_pi[f] - E_piE[f], [K], absorbing shares included."""
    end = margin.end_row()[0] if margin.flag else 0.0
    mine, theirs = ((1 - s.absorbing) * s.rows.mean(0) + s.absorbing * end for s in (learner, expert))
    return mine - theirs


def best_weights(kind: LinearClass, gap: Tensor) -> Tensor:
    """argmax over the class of <w, gap>, [K]; zero for fem where the gap is."""
    if kind == "fem":
        length = gap.norm()
        return gap / length if length > 0 else gap
    w = torch.zeros_like(gap)
    w[gap.argmax()] = 1.0
    return w


def leading_weights(kind: LinearClass, score: Tensor) -> Tensor:
    """argmax over the class of <w, score> - R(w), [K]: R is ||w||^2 / 2 for fem and sum w log w for gtal."""
    return score / score.norm().clamp(min=1.0) if kind == "fem" else score.softmax(0)


@torch.no_grad()
def fit(margin: LinearMargin, learner: Side, expert: Side, rate: float = 0.0) -> None:
    """Choose w against the two samples (the best cost, or the leader's at a rate > 0); widen the cost's bounds."""
    gap = feature_gap(margin, learner, expert)
    margin.total += gap
    margin.w.copy_(leading_weights(margin.kind, rate * margin.total) if rate else best_weights(margin.kind, gap))
    m = margin(torch.cat([learner.rows, margin.end_row()]) if margin.flag else learner.rows)
    margin.least.clamp_(max=m.min())
    margin.greatest.clamp_(min=m.max())


def reward(margin: LinearMargin, form: RewardForm, m: Tensor) -> Tensor:
    """The reward of margins m, elementwise: -c, shifted by form; see the module docstring."""
    shift = {"neglogd": margin.greatest, "logd": margin.least, "airl": 0.0}[form]
    return shift - m
