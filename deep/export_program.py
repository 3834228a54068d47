"""A policy as one function of the observations, for torch.export and ONNX.

    x      = clip((obs - mean) scale, -10, 10)          the normaliser
    out    = net(x)                                     tanh MLP
    action = out * act_std + act_mean                   Gaussian: its mean, in the environment's units
             argmax out + start                         categorical: its mode, as the environment numbers actions

Everything is float32, which every accelerator takes; in training the first and the last line are float64. The
deterministic action differs from training's by rounding alone, which `check` measures.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from deep.exported import Exported
from deep.nets import CLIP, GaussianPolicy

ROUNDING = 4 * float(np.finfo(np.float32).eps)  # of an action, of its size: a product, a sum and the conversion
SAMPLES = 256  # observations of the check, drawn around the normaliser's mean


class Program(nn.Module):
    """obs [N, O] float32 -> the deterministic action, [N, U] float32, or [N] int64 where discrete."""

    def __init__(self, exported: Exported) -> None:
        super().__init__()
        policy, spec = exported.policy, exported.spec
        self.net = nn.Sequential(*policy.net)  # the layers alone, as a graph
        self.start = spec.act_start
        self.gaussian, self.clip = isinstance(policy, GaussianPolicy), exported.clip and not spec.discrete
        numbers = {"mean": policy.normaliser.mean.numpy(), "scale": 1.0 / policy.normaliser.std}
        if isinstance(policy, GaussianPolicy):
            numbers |= {"act_mean": policy.act_mean.numpy(), "act_std": policy.act_std.numpy()}
        if self.clip:
            numbers |= {"act_low": spec.act_low, "act_high": spec.act_high}
        for name, value in numbers.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(value, dtype=np.float32)))

    def forward(self, obs: Tensor) -> Tensor:
        out = self.net(torch.clamp((obs - self.mean) * self.scale, -CLIP, CLIP))
        if not self.gaussian:
            return out.argmax(-1) + self.start
        acts = out * self.act_std + self.act_mean
        return torch.minimum(torch.maximum(acts, self.act_low), self.act_high) if self.clip else acts


def check(exported: Exported, run: Callable[[np.ndarray], np.ndarray]) -> float:
    """The largest difference of `run` (obs [N, O] float32 -> actions) from the policy over SAMPLES observations, in
    units of the actions' spread; where discrete, the share of actions that differ. Raises ValueError for a difference
    that rounding does not explain: above 1e-3 and above that of actions of their size, or 1 % of the actions.
    """
    norm, rng = exported.policy.normaliser, np.random.default_rng(0)
    obs = norm.mean.numpy() + norm.std * rng.normal(size=(SAMPLES, exported.spec.obs_dim))
    obs = obs.astype(np.float32)
    expected, found = exported.act(obs), np.concatenate([run(obs[:1]), run(obs[1:])])
    if exported.spec.discrete:
        difference, allowed = float((expected != found).mean()), 0.01
    else:
        size = float(np.abs(expected).max())
        spread = max(expected.std(), ROUNDING * size, np.finfo(np.float64).tiny)
        difference = float(np.abs(expected - found).max()) / spread
        allowed = 1e-3 + ROUNDING * size / spread
    if not difference <= allowed:
        raise ValueError(f"the exported program must act like the policy, but differs by {difference:.2g}")
    return difference
