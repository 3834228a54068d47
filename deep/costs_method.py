"""Three methods, one loop: the player that chooses the cost in the saddle point, behind one face.

    gail   a margin net under a surrogate loss, Adam steps from where it stands       deep.costs
    fem    costs linear in features, ||w||_2 <= 1, the best one or the leader's             deep.costs_linear
    gtal   costs linear in features, w in the simplex, the best one or the leader's

They differ in psi and in nothing else (Eq 8 to 16), so the imitator knows only what is common to them.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from deep import costs, costs_linear
from deep.costs import CostConfig, MarginNet, RewardForm, Scores, Side
from deep.costs_linear import LinearMargin
from deep.envs import EnvSpec
from occmatch.losses import LOSSES, Loss

Method = Literal["gail", "fem", "gtal"]


class CostPlayer(ABC):
    """A margin and how it is chosen. `optimiser` is None where nothing is trained step by step."""

    margin: MarginNet | LinearMargin
    optimiser: torch.optim.Optimizer | None
    loss: Loss

    @abstractmethod
    def fit(self, learner: Side, expert: Side, generator: torch.Generator) -> str:
        """Move the margin against two samples; returns which guard acted, if one did."""

    @abstractmethod
    def reward(self, form: RewardForm, m: Tensor) -> Tensor:
        """What the policy maximises at margins m, elementwise."""

    def diagnostics(self, learner: Scores, expert: Scores) -> dict[str, float]:
        """Numbers for the metrics; `risk` estimates -psi*(rho_pi - rho_E), on normalised measures."""
        return costs.diagnostics(self.loss, learner, expert)


class Discriminator(CostPlayer):
    """GAIL and its f-divergence kin: the margin net under a surrogate loss."""

    def __init__(
        self,
        spec: EnvSpec,
        absorbing: bool,
        loss: Loss,
        config: CostConfig,
        device: torch.device,
        weights: torch.Generator,
    ) -> None:
        self.loss, self.config = loss, config
        self.margin = MarginNet(spec, absorbing, config.hidden, weights)
        self.margin.net.to(device)
        self.optimiser = torch.optim.Adam(self.margin.net.parameters(), lr=config.lr, fused=True)

    def fit(self, learner: Side, expert: Side, generator: torch.Generator) -> str:
        left_out = costs.fit(self.margin, self.optimiser, self.loss, learner, expert, self.config, generator)
        return f"{left_out} cost steps without a usable gradient" if left_out else ""

    def reward(self, form: RewardForm, m: Tensor) -> Tensor:
        return costs.reward(self.loss, form, m)


class LinearPlayer(CostPlayer):
    """FEM and GTAL: the best cost of a linear class, in closed form."""

    def __init__(self, spec: EnvSpec, absorbing: bool, kind: costs_linear.LinearClass, rate: float = 0.0) -> None:
        self.rate = rate
        self.loss = LOSSES["linear"]  # the cost is the margin itself
        self.margin = LinearMargin(spec, absorbing, kind)
        self.optimiser = None

    def fit(self, learner: Side, expert: Side, generator: torch.Generator) -> str:
        costs_linear.fit(self.margin, learner, expert, self.rate)
        return ""

    def reward(self, form: RewardForm, m: Tensor) -> Tensor:
        return costs_linear.reward(self.margin, form, m)

    def diagnostics(self, learner: Scores, expert: Scores) -> dict[str, float]:
        # Accuracy is left out: a linear cost puts no mark between the two sides.
        found = super().diagnostics(learner, expert)
        return {k: v for k, v in found.items() if not k.startswith("accuracy")}


def make(
    method: Method,
    spec: EnvSpec,
    absorbing: bool,
    loss: Loss,
    config: CostConfig,
    device: torch.device,
    weights: torch.Generator,
) -> CostPlayer:
    """The player of a method. loss, device and weights are the discriminator's alone."""
    if method == "gail":
        return Discriminator(spec, absorbing, loss, config, device, weights)
    return LinearPlayer(spec, absorbing, method, config.linear_rate)
