"""The policy side that experts and imitators share: collect, estimate advantages, one TRPO step, fit the value.

The value net fitted on batch k is first used in `improve` on batch k + 1, and its targets are known before the policy
changes. So the fit runs in a thread of its own beside the TRPO step, the next collection and the next cost fit, and
nothing that is computed changes: `improve` waits for it before it begins. Random numbers of the two sides come from
separate generators.
"""

import dataclasses
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from deep import reuse, trpo, value
from deep.advantage import gae
from deep.envs import Simulator
from deep.nets import Policy, make_policy
from deep.reuse import Recent
from deep.rollout import Batch, Collector
from deep.trpo import TrpoConfig
from deep.value import ValueConfig, ValueNet

Extra = Callable[[Policy], Tensor]
LARGEST = 1e30  # of a reward: what a hundred of them add up to must fit the value net's float32
FLAT = 1e-12  # of the largest advantage: variation below it is the rounding of sums in float64


@dataclass(frozen=True)
class LearnerConfig:
    """How a policy is improved."""

    simulators: int = 32
    """E, simulators stepped together."""
    batch: int = 2000
    """State-action pairs an iteration, rounded up to a multiple of the simulators."""
    gamma: float = 0.99
    """Discount."""
    gae_lambda: float = 0.97
    """Lambda of generalised advantage estimation (Schulman et al. 2016)."""
    hidden: tuple[int, ...] = (100, 100)
    """Tanh units of the policy and of the value net (Appendix B of the paper)."""
    log_std: float = 0.0
    """Initial log standard deviation of a Gaussian policy, in its units; a cloning start and --std replace it."""
    update_normaliser: bool = True
    """Keep updating the observation statistics from what the policy meets."""
    reuse: int = 1
    """Batches that a policy step looks at, the newest and those before it (see deep.reuse)."""
    kl_decay: float = 1.0
    """Factor on the KL bound an iteration: long steps while far from the expert, short ones once near."""
    kl_floor: float = 0.005
    """Least KL bound that the decay leaves."""
    trpo: TrpoConfig = field(default_factory=TrpoConfig)
    """The natural step."""
    value: ValueConfig = field(default_factory=ValueConfig)
    """The value regression."""

    @property
    def steps(self) -> int:
        """Steps of every simulator in a batch."""
        return -(-self.batch // self.simulators)


class Learner:
    """A policy, its value net and the simulators they live on."""

    def __init__(self, simulator: Simulator, config: LearnerConfig, seed: np.random.SeedSequence) -> None:
        weights, acting, fisher, fitting = (torch_generator(s) for s in seed.spawn(4))
        self.config = config
        self.policy = make_policy(simulator.spec, config.hidden, config.log_std, weights)
        self.value = ValueNet(self.policy.normaliser, simulator.spec.horizon, config.hidden, weights)
        self.optimiser = torch.optim.Adam(self.value.net.parameters(), lr=config.value.lr, fused=True)
        self.collector = Collector(simulator, acting)
        self.recent = Recent(config.reuse)
        self.past = trpo.PastGradients(config.trpo.momentum)
        self.fisher, self.fitting = fisher, fitting
        self.env_steps = 0
        self.updates = 0
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="value")
        self._pending: Future[None] | None = None

    def collect(self) -> Batch:
        """A batch under the current policy; the value fit of the last one may run on beyond it."""
        batch = self.collector.collect(self.policy, self.config.steps)
        self.env_steps += batch.size
        self.recent.add(batch, self.policy)
        return batch

    def settle(self) -> None:
        """Wait for the value fit, and raise what it raised."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def improve(
        self, batch: Batch, rewards: np.ndarray, end_value: np.ndarray | float = 0.0, extra: Extra | None = None
    ) -> dict[str, float | str]:
        """One TRPO step on rewards [T, E] of `batch`, which is the newest or, with `reuse`, `self.recent.batch`.

        `end_value` is the return after termination, a number or one for each terminated transition in row-major
        order. The value net is fitted to the newest batch alone. Returns the metrics.
        """
        self.settle()
        guards = []
        beyond = sum(np.count_nonzero(~(np.abs(r) <= LARGEST)) for r in (rewards, end_value))
        if beyond:
            guards.append(f"{beyond} rewards cut to {LARGEST:g}")
            rewards, end_value = (np.clip(np.nan_to_num(r), -LARGEST, LARGEST) for r in (rewards, end_value))
        newest, config = self.recent.newest, self.config
        v, advantages, standard = self._advantages(batch, rewards, end_value)
        if not standard.any():
            guards.append("advantages do not vary")
        v, advantages = (a[:, -newest.rewards.shape[1] :] for a in (v, advantages))
        targets = (advantages + v).reshape(-1)
        explained = value.explained_variance(v.reshape(-1), targets)
        x = self.policy.normaliser(batch.flat("obs"))
        acts = self.policy.encode(batch.flat("acts"))
        if config.update_normaliser:
            self.policy.normaliser.update(newest.flat("obs"))
        inputs = self.value.inputs(newest.flat("obs"), newest.flat("elapsed"))
        self._pending = self._worker.submit(
            value.fit, self.value, self.optimiser, inputs, targets, config.value, self.fitting
        )
        info = trpo.step(
            self.policy,
            x,
            acts,
            torch.from_numpy(standard.reshape(-1).astype(np.float32)),
            self._trust_region(),
            self.fisher,
            extra,
            self.past,
        )
        self.updates += 1
        std = torch.exp(self.policy.log_std.detach()).mean().item() if hasattr(self.policy, "log_std") else 0.0
        return {
            "kl": info.kl,
            "entropy": info.entropy,
            "policy_std": std,
            "improvement": info.improvement,
            "step_accepted": info.accepted,
            "cg_residual": info.cg_residual,
            "grad_norm": info.grad_norm,
            "explained_variance": explained,
            "batch_steps": batch.rewards.shape[0],
            "event": "; ".join([*guards, info.event] if info.event else guards),
        }

    def _trust_region(self) -> TrpoConfig:
        """The step's settings, with the KL bound of this iteration."""
        config, trust = self.config, self.config.trpo
        bound = trust.max_kl * config.kl_decay**self.updates
        return dataclasses.replace(trust, max_kl=max(bound, min(trust.max_kl, config.kl_floor)))

    def _advantages(
        self, batch: Batch, rewards: np.ndarray, end_value: np.ndarray | float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """V(s_t), advantages, and these as the policy step takes them: standardised, times their weights, [T, E].

        The last are zero where the advantages do not vary.
        """
        v, nv = self._values(batch, end_value)
        weights = self.recent.weights(self.policy, batch)
        advantages = gae(rewards, v, nv, batch.ended, self.config.gamma, self.config.gae_lambda, weights)
        share = np.ones_like(advantages) if weights is None else np.minimum(weights, reuse.LARGEST)
        mean = np.average(advantages, weights=share)
        spread = np.average((advantages - mean) ** 2, weights=share) ** 0.5
        if spread <= FLAT * np.abs(advantages).max():
            return v, advantages, np.zeros_like(advantages)
        return v, advantages, share * (advantages - mean) / spread

    def _values(self, batch: Batch, end_value: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """V(s_t) and V(s_{t+1}), [T, E]; the latter is `end_value` after termination."""
        v = self.value.predict(batch.flat("obs"), batch.flat("elapsed")).reshape(batch.rewards.shape)
        # Within an episode the successor is the next row, so that only ends and the last row cost another evaluation.
        nv = np.empty_like(v)
        nv[:-1] = v[1:]
        fresh = batch.ended.copy()
        fresh[-1] = True
        nv[fresh] = self.value.predict(batch.next_obs[fresh], batch.elapsed[fresh] + 1)
        nv[batch.terminated] = end_value
        return v, nv

    def state_dict(self) -> dict[str, Tensor]:
        """Every tensor that an exact continuation needs; waits for the value fit."""
        self.settle()
        state = {f"policy.{k}": v for k, v in self.policy.state_dict().items()}
        state |= {f"value.{k}": v for k, v in self.value.state_dict().items()}
        state |= {f"value_adam.{k}": v for k, v in adam_state(self.optimiser).items()}
        state |= {f"collector.{k}": torch.from_numpy(v) for k, v in self.collector.state_dict().items()}
        state |= {f"recent.{k}": torch.from_numpy(v) for k, v in self.recent.state_dict().items()}
        state |= {"fisher": self.fisher.get_state(), "fitting": self.fitting.get_state()}
        if self.past.momentum and self.past.total is not None:
            state["past_gradients"] = self.past.total
        return state | {"env_steps": torch.tensor(self.env_steps), "updates": torch.tensor(self.updates)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from state_dict() of a learner of the same configuration."""
        self.settle()
        self.policy.load_state_dict(below(state, "policy."))
        self.value.load_state_dict(below(state, "value."))
        load_adam_state(self.optimiser, below(state, "value_adam."))
        self.collector.load_state_dict({k: v.numpy() for k, v in below(state, "collector.").items()})
        self.recent.load_state_dict({k: v.numpy() for k, v in below(state, "recent.").items()})
        self.past.total = state.get("past_gradients")
        self.fisher.set_state(state["fisher"])
        self.fitting.set_state(state["fitting"])
        self.env_steps = int(state["env_steps"])
        self.updates = int(state["updates"])

    def close(self) -> None:
        """Stop the worker and the simulators."""
        self._worker.shutdown(wait=True, cancel_futures=True)
        self.collector.simulator.close()


def torch_generator(seed: np.random.SeedSequence) -> torch.Generator:
    """A torch generator seeded from a NumPy seed sequence."""
    return torch.Generator().manual_seed(int(seed.generate_state(1, np.uint64)[0] >> np.uint64(1)))


def below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries under a prefix, without it."""
    return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}


def adam_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments and step counts as flat named tensors."""
    entries = optimiser.state_dict()["state"]
    return {f"{i}.{name}": tensor for i, slots in entries.items() for name, tensor in slots.items()}


def load_adam_state(optimiser: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    """Inverse of adam_state; the hyperparameters stay the optimiser's own."""
    full = optimiser.state_dict()
    slots: dict[int, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        index, name = key.split(".", 1)
        slots.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict(full | {"state": slots})
