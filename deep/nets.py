"""Networks: the tanh MLP of the paper, policies with their distributions, and the running normaliser.

Appendix B of Ho & Ermon (2016): two hidden layers of 100 tanh units; a Gaussian policy has a state-independent,
trainable log standard deviation. Actions of a Gaussian policy are expressed in units of `act_std` around `act_mean`
(those of the expert in imitation, 0 and 1 otherwise), so that one initial deviation suits every task.

Parameters are float32. Everything random draws from a passed torch.Generator.
"""

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from deep import backprop
from deep.envs import EnvSpec

CLIP = 10.0  # standardised inputs beyond this many deviations carry no more information for a tanh unit
ROUNDING = 1e-12  # of a coordinate's size: deviations up to it are those of a constant
AT_REST = 1e-8  # deviation up to which an input counts as constant too: simulators leave jitter in what rests


class Mlp(nn.Sequential):
    """Linear layers with a tanh between two, on rows [N, inputs]; where no gradient is wanted, by deep.backprop."""

    def forward(self, x: Tensor) -> Tensor:
        """The outputs [N, outputs]."""
        return super().forward(x) if torch.is_grad_enabled() else backprop.evaluate(self, x)


def mlp(inputs: int, outputs: int, hidden: tuple[int, ...], gain: float, generator: torch.Generator) -> Mlp:
    """Tanh MLP with orthogonal weights of gain sqrt(2) inside and `gain` at the end, zero biases.

    A small last gain (0.01 for policies) starts every action near its mean (Andrychowicz et al. 2021, Section 3.2).
    """
    sizes = (inputs, *hidden, outputs)
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        last = i == len(hidden)
        linear = nn.Linear(a, b)
        nn.init.orthogonal_(linear.weight, gain if last else math.sqrt(2), generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear] if last else [linear, nn.Tanh()]
    return Mlp(*layers)


class Normaliser(nn.Module):
    """Running mean and deviation of rows in R^D (Chan et al. 1983), float64; applied with a clip to +-CLIP."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("m2", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self._refresh()

    def _refresh(self) -> None:
        # Plain arrays beside the buffers: the rollout calls forward once a step, where a torch call costs more.
        self._mean = self.mean.numpy()
        std = np.sqrt(self.m2.numpy() / max(float(self.count), 1.0))
        # A constant coordinate is centred and left unscaled.
        flat = (float(self.count) < 2) | (std <= np.maximum(ROUNDING * np.abs(self._mean), AT_REST))
        self._scale = 1.0 / np.where(flat, 1.0, std)

    @property
    def std(self) -> np.ndarray:
        """The deviation in use, 1 for coordinates that do not vary."""
        return 1.0 / self._scale

    def update(self, rows: np.ndarray) -> None:
        """Merge rows [N, D] into the statistics."""
        n = float(len(rows))
        if n == 0:
            return
        mean = rows.mean(0)
        m2 = np.square(rows - mean).sum(0)
        old = float(self.count)
        delta = mean - self._mean
        self.mean += torch.from_numpy(delta * (n / (old + n)))
        self.m2 += torch.from_numpy(m2 + np.square(delta) * (old * n / (old + n)))
        self.count += n
        self._refresh()

    def forward(self, rows: np.ndarray) -> Tensor:
        """Standardised rows as float32, shape kept."""
        x = (rows - self._mean) * self._scale
        return torch.from_numpy(np.clip(x, -CLIP, CLIP).astype(np.float32))

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._refresh()


@dataclass(frozen=True)
class Gaussian:
    """N(mean, diag exp(2 log_std)); mean [N, U], log_std [U]."""

    mean: Tensor
    log_std: Tensor

    def log_prob(self, acts: Tensor) -> Tensor:
        """log density of acts [N, U], [N]."""
        z = (acts - self.mean) * torch.exp(-self.log_std)
        return -0.5 * (z * z).sum(-1) - self.log_std.sum() - 0.5 * math.log(2 * math.pi) * acts.shape[-1]

    def kl(self, other: "Gaussian") -> Tensor:
        """KL(self || other), [N]."""
        ratio = torch.exp(2 * (self.log_std - other.log_std))
        shift = ((self.mean - other.mean) * torch.exp(-other.log_std)) ** 2
        return 0.5 * (ratio + shift - 1.0 + 2 * (other.log_std - self.log_std)).sum(-1)

    def fisher(self, tangent: Tensor) -> Tensor:
        """The Fisher matrix of the mean times tangent, [N, U]."""
        return tangent * torch.exp(-2 * self.log_std)

    def entropy(self) -> Tensor:
        """Differential entropy in nats, [N]."""
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum().expand(self.mean.shape[0])

    def sample(self, generator: torch.Generator) -> Tensor:
        """One draw for each row, [N, U]."""
        noise = torch.randn(self.mean.shape, generator=generator)
        return self.mean + torch.exp(self.log_std) * noise

    def mode(self) -> Tensor:
        """The mean, [N, U]."""
        return self.mean

    def detach(self) -> "Gaussian":
        """The same numbers without gradients, and without a tie to the parameters."""
        # log_std is the parameter itself: without the copy, an old distribution would follow every later update.
        return Gaussian(self.mean.detach(), self.log_std.detach().clone())


@dataclass(frozen=True)
class Categorical:
    """softmax(logits), logits [N, A]; log-probabilities are kept normalised."""

    logp: Tensor

    @classmethod
    def of(cls, logits: Tensor) -> "Categorical":
        """softmax(logits) of logits [N, A]."""
        return cls(torch.log_softmax(logits, -1))

    def log_prob(self, acts: Tensor) -> Tensor:
        """log probability of acts [N], integers, [N]."""
        return self.logp.gather(-1, acts[:, None])[:, 0]

    def kl(self, other: "Categorical") -> Tensor:
        """KL(self || other), [N]."""
        return (self.logp.exp() * (self.logp - other.logp)).sum(-1)

    def fisher(self, tangent: Tensor) -> Tensor:
        """The Fisher matrix of the logits times tangent, [N, A]: diag(p) - p p'."""
        p = self.logp.exp()
        return p * (tangent - (p * tangent).sum(-1, keepdim=True))

    def entropy(self) -> Tensor:
        """-sum_a p log p in nats, [N]."""
        return -(self.logp.exp() * self.logp).sum(-1)

    def sample(self, generator: torch.Generator) -> Tensor:
        """One draw for each row, [N]."""
        return torch.multinomial(self.logp.exp(), 1, generator=generator)[:, 0]

    def mode(self) -> Tensor:
        """The likeliest action, the first where several are, [N]."""
        return self.logp.argmax(-1)

    def detach(self) -> "Categorical":
        """The same numbers without gradients."""
        return Categorical(self.logp.detach())


Distribution = Gaussian | Categorical


class Policy(nn.Module, ABC):
    """A stochastic policy: raw observations in, distribution over encoded actions out.

    `encode` maps environment actions to what the distribution is over, `decode` maps back.
    """

    def __init__(self, spec: EnvSpec, outputs: int, hidden: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        self.normaliser = Normaliser(spec.obs_dim)
        self.net = mlp(spec.obs_dim, outputs, hidden, 0.01, generator)

    def forward(self, x: Tensor) -> Distribution:
        """The distribution at standardised observations x [N, O]."""
        return self.of(self.net(x))

    @abstractmethod
    def of(self, outputs: Tensor) -> Distribution:
        """The distribution that outputs of the net stand for."""

    @abstractmethod
    def encode(self, acts: np.ndarray) -> Tensor:
        """Environment actions as the distribution's values."""

    @abstractmethod
    def decode(self, values: Tensor) -> np.ndarray:
        """The distribution's values as environment actions."""

    @torch.no_grad()
    def act(self, obs: np.ndarray, generator: torch.Generator | None = None) -> np.ndarray:
        """Actions at raw observations obs [E, O]: sampled, or the mode where generator is None."""
        dist = self(self.normaliser(obs))
        return self.decode(dist.mode() if generator is None else dist.sample(generator))


class GaussianPolicy(Policy):
    """Box actions: act = act_mean + act_std * z with z ~ N(net(x), diag exp(2 log_std)); never clipped."""

    def __init__(self, spec: EnvSpec, hidden: tuple[int, ...], log_std: float, generator: torch.Generator) -> None:
        super().__init__(spec, spec.act_dim, hidden, generator)
        self.log_std = nn.Parameter(torch.full((spec.act_dim,), float(log_std)))
        self.register_buffer("act_mean", torch.zeros(spec.act_dim, dtype=torch.float64))
        self.register_buffer("act_std", torch.ones(spec.act_dim, dtype=torch.float64))

    def of(self, outputs: Tensor) -> Gaussian:
        return Gaussian(outputs, self.log_std)

    def set_units(self, acts: np.ndarray) -> None:
        """Express actions in the mean and deviation of acts [N, U]; where constant, in their own unit."""
        mean, std = acts.mean(0), acts.std(0)
        self.act_mean.copy_(torch.from_numpy(mean))
        self.act_std.copy_(torch.from_numpy(np.where(std > ROUNDING * np.abs(mean), std, 1.0)))

    def encode(self, acts: np.ndarray) -> Tensor:
        return torch.from_numpy(((acts - self.act_mean.numpy()) / self.act_std.numpy()).astype(np.float32))

    def decode(self, values: Tensor) -> np.ndarray:
        return values.numpy().astype(np.float64) * self.act_std.numpy() + self.act_mean.numpy()


class CategoricalPolicy(Policy):
    """Discrete actions 0, ..., A - 1."""

    def __init__(self, spec: EnvSpec, hidden: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__(spec, spec.act_dim, hidden, generator)

    def of(self, outputs: Tensor) -> Categorical:
        return Categorical.of(outputs)

    def encode(self, acts: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(acts, dtype=np.int64))

    def decode(self, values: Tensor) -> np.ndarray:
        return values.numpy()


def make_policy(spec: EnvSpec, hidden: tuple[int, ...], log_std: float, generator: torch.Generator) -> Policy:
    """The policy class that fits the action space."""
    if spec.discrete:
        return CategoricalPolicy(spec, hidden, generator)
    return GaussianPolicy(spec, hidden, log_std, generator)
