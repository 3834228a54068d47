"""Value regression: V(s, t) fitted to lambda-returns.

The net takes the time step as an input (Appendix B of the paper), as a share of the horizon: with a time limit the
value of a state depends on the time left. Targets are standardised with running statistics, and the last layer is
rescaled whenever these move so that the predictions do not (Pop-Art, van Hasselt et al. 2016).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from deep import backprop
from deep.nets import Normaliser, mlp


@dataclass(frozen=True)
class ValueConfig:
    """How the value net is fitted."""

    lr: float = 1e-3
    """Adam's learning rate."""
    epochs: int = 5
    """Passes over each batch."""
    minibatch: int = 256
    """Pairs in a step."""
    scale_rate: float = 0.1
    """Weight of the newest batch in the running scale of the targets."""


class ValueNet(nn.Module):
    """V = shift + scale * net(standardised obs, t / horizon)."""

    def __init__(
        self, normaliser: Normaliser, horizon: int, hidden: tuple[int, ...], generator: torch.Generator
    ) -> None:
        super().__init__()
        # In a tuple, so that the policy's normaliser is shared and not saved twice.
        self._normaliser = (normaliser,)
        self.horizon = horizon
        self.net = mlp(len(normaliser.mean) + 1, 1, hidden, 1.0, generator)
        self.register_buffer("shift", torch.zeros((), dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.int64))

    def inputs(self, obs: np.ndarray, elapsed: np.ndarray) -> Tensor:
        """Rows [N, O + 1] for obs [N, O] and time indices [N]."""
        time = torch.from_numpy((elapsed / self.horizon).astype(np.float32))
        return torch.cat([self._normaliser[0](obs), time[:, None]], 1)

    @torch.no_grad()
    def predict(self, obs: np.ndarray, elapsed: np.ndarray) -> np.ndarray:
        """V [N], float64."""
        out = self.net(self.inputs(obs, elapsed))[:, 0].double().numpy()
        return float(self.shift) + float(self.scale) * out

    @torch.no_grad()
    def retarget(self, targets: np.ndarray, rate: float) -> None:
        """Move shift and scale towards the targets' statistics and keep every prediction.

        The first targets set both outright: what a net predicts before any fit is not worth keeping.
        """
        first = int(self.fitted) == 0
        rate = 1.0 if first else rate
        shift, scale = float(self.shift), float(self.scale)
        mean = shift + rate * (float(targets.mean()) - shift)
        second = (1 - rate) * (scale**2 + shift**2) + rate * float(np.square(targets).mean())
        std = max(second - mean**2, 1e-12) ** 0.5
        std = max(std, 1e-6 * max(1.0, abs(mean)))
        if not first:
            last = self.net[-1]
            last.bias.copy_((scale * last.bias + shift - mean) / std)
            last.weight.mul_(scale / std)
        self.shift.fill_(mean)
        self.scale.fill_(std)
        self.fitted += 1


def fit(
    value: ValueNet,
    optimiser: torch.optim.Optimizer,
    x: Tensor,
    targets: np.ndarray,
    config: ValueConfig,
    generator: torch.Generator,
) -> None:
    """Adam on the squared error over shuffled minibatches; x from value.inputs, targets [N]."""
    value.retarget(targets, config.scale_rate)
    y = torch.from_numpy(((targets - float(value.shift)) / float(value.scale)).astype(np.float32))[:, None]
    params = list(value.net.parameters())
    for _ in range(config.epochs):
        order = torch.randperm(len(x), generator=generator)
        for rows in order.split(config.minibatch):
            tape = backprop.forward(value.net, x[rows])
            error = (tape.out - y[rows]) / len(rows)
            for p, grad in zip(params, backprop.pullback(tape, error), strict=True):
                p.grad = grad
            optimiser.step()


def explained_variance(values: np.ndarray, targets: np.ndarray) -> float:
    """1 - Var(targets - values) / Var(targets); 0 where the targets do not vary."""
    spread = float(targets.var())
    return 0.0 if spread == 0.0 else 1.0 - float((targets - values).var()) / spread
