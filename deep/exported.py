"""A trained policy as a small object, for programs that know nothing of this project.

    import deep
    policy = deep.load("runs/gail-Hopper-v4-s0")
    action = policy.act(obs)                              # obs [O] or [N, O], as the environment gives them
    action, _ = policy.predict(obs, deterministic=True)   # as Stable-Baselines3 calls it

It holds what training held: the normaliser of the observations, the net, and the units of the actions. The policy of
a GAIL run is the average of its path where the run kept one, which is what its result.json reports.

Actions are not clipped, because they were not in training and evaluation: MuJoCo clamps its own copy, while a control
cost sees the action as it is. Load with clip=True for a task that refuses actions outside its bounds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deep import trained
from deep.envs import EnvSpec
from deep.nets import Policy


@dataclass(frozen=True, eq=False)
class Exported:
    """A policy and the task that it was trained on; `generator` draws where it is not deterministic."""

    policy: Policy
    spec: EnvSpec
    generator: torch.Generator
    clip: bool = False

    @classmethod
    def seeded(cls, policy: Policy, spec: EnvSpec, seed: int, clip: bool = False) -> "Exported":
        """With stochastic actions drawn from a seed."""
        return cls(policy, spec, torch.Generator().manual_seed(seed), clip)

    def act(self, obs: np.ndarray, deterministic: bool = True) -> np.ndarray:
        """Actions [U] or [N, U] (integers, [] or [N], where discrete) at obs [O] or [N, O], as float64: the very
        numbers of training and evaluation. Raises ValueError for what is no array of observations, of another shape or
        not finite.
        """
        spec, obs = self.spec, _numbers(obs)
        if obs.ndim not in (1, 2) or obs.shape[-1] != spec.obs_dim:
            expected = f"({spec.obs_dim},) or (N, {spec.obs_dim})"
            raise ValueError(f"obs must have shape {expected} for {spec.id}, but has {obs.shape}")
        if not np.isfinite(obs).all():
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(obs))[0])
            raise ValueError(f"obs must be finite, but obs{list(at)} is {obs[at]}")
        acts = self.policy.act(np.atleast_2d(obs), None if deterministic else self.generator)
        if spec.discrete:
            acts = acts + spec.act_start
        elif self.clip:
            acts = np.clip(acts, spec.act_low, spec.act_high)
        return acts if obs.ndim == 2 else acts[0]

    def predict(
        self,
        obs: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, Any]:
        """`act` with the arguments and results of Stable-Baselines3: actions in the action space's kind of number, and
        the state as it came (the policy has no memory).
        """
        return self.act(obs, deterministic).astype(self.spec.act_dtype), state


def _numbers(obs: Any) -> np.ndarray:
    """Observations as float64; ValueError for a dict, text, or the pair (obs, info) that `reset` returns."""
    try:
        found = np.asarray(obs)
    except ValueError:  # parts of different lengths
        found = np.empty(0, dtype=object)
    if found.dtype.kind not in "fiub":
        raise ValueError(f"obs must be an array of real numbers, but is {' '.join(ascii(obs).split())[:60]}")
    return found.astype(np.float64, copy=False)


def load(folder: str | Path, *, clip: bool = False, seed: int = 0, trust: bool = False) -> Exported:
    """The policy of a run of deep.gail, deep.expert or deep.bc, or of a bundled expert's folder.

    `seed` is that of stochastic actions. A task that names a package ("package:Task-v0") is code that the folder asks
    to import, so it takes trust=True. Raises ValueError for a folder that holds no policy.
    """
    spec, policy = trained.load_policy(Path(folder), trust)
    return Exported.seeded(policy, spec, seed, clip)
