"""Collecting experience: the policy drives E simulators for T steps.

Termination (the task ended) and truncation (the clock ran out, or the batch did) stay apart all the way: a truncated
successor still has a value, a terminated one has none. `next_obs` is the true successor, before any reset.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch

from deep.envs import Simulator
from deep.nets import Policy


@dataclass(frozen=True)
class Batch:
    """T steps of E simulators, time first; N = T * E pairs.

    obs [T, E, O] acts [T, E, U] or [T, E]; next_obs [T, E, O]; rewards (the true ones, for reports and experts),
    terminated, truncated, elapsed (time index of obs in its episode) [T, E].
    `returns`, `lengths`: of the episodes that ended within the batch, staggered first ones left out.
    """

    obs: np.ndarray
    acts: np.ndarray
    next_obs: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    elapsed: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray

    @property
    def size(self) -> int:
        """N = T * E, the number of pairs."""
        return self.rewards.size

    @property
    def ended(self) -> np.ndarray:
        """Steps that end an episode, by the task or by the clock, [T, E]."""
        return self.terminated | self.truncated

    def episodes(self) -> dict[str, float]:
        """Number, mean return and mean length of the episodes that ended; the means are left out where none did."""
        if len(self.returns) == 0:
            return {"episodes": 0}
        return {
            "episodes": len(self.returns),
            "train_return": float(self.returns.mean()),
            "train_length": float(self.lengths.mean()),
        }

    def flat(self, name: str) -> np.ndarray:
        """A field with time and simulator merged, [N, ...]."""
        x = getattr(self, name)
        return x.reshape(self.size, *x.shape[2:])


def beside(batches: list[Batch]) -> Batch:
    """Batches of equal length as one, their simulators side by side; one alone is itself."""
    if len(batches) == 1:
        return batches[0]
    fields = {}
    for name in (f.name for f in dataclasses.fields(Batch)):
        axis = 0 if name in ("returns", "lengths") else 1
        fields[name] = np.concatenate([getattr(batch, name) for batch in batches], axis)
    return Batch(**fields)


class Collector:
    """Drives one simulator with a changing policy and keeps what spans batches: the observation and episode totals."""

    def __init__(self, simulator: Simulator, generator: torch.Generator) -> None:
        self.simulator = simulator
        self.generator = generator
        self.obs = simulator.reset()
        self.totals = np.zeros(simulator.num)

    def collect(self, policy: Policy, steps: int) -> Batch:
        """The next `steps` transitions of every simulator under the stochastic policy."""
        sim, spec = self.simulator, self.simulator.spec
        shape = (steps, sim.num)
        obs = np.empty((*shape, spec.obs_dim))
        next_obs = np.empty_like(obs)
        acts = np.empty(shape, np.int64) if spec.discrete else np.empty((*shape, spec.act_dim))
        rewards = np.empty(shape)
        terminated, truncated = np.empty(shape, bool), np.empty(shape, bool)
        elapsed = np.empty(shape, np.int64)
        returns, lengths = [], []
        for t in range(steps):
            obs[t], elapsed[t], limit = self.obs, sim.elapsed, sim.limit
            acts[t] = policy.act(self.obs, self.generator)
            step = sim.step(acts[t])
            next_obs[t], rewards[t] = step.next_obs, step.reward
            terminated[t], truncated[t] = step.terminated, step.truncated
            self.obs = step.obs
            self.totals += step.reward
            ended = step.terminated | step.truncated
            if ended.any():
                length = elapsed[t] + 1
                # A staggered first episode is cut short by design: its return says nothing about the policy.
                whole = ended & (step.terminated | (length < limit) | (limit == spec.horizon))
                returns.append(self.totals[whole])
                lengths.append(length[whole])
                self.totals[ended] = 0.0
        empty = np.empty(0)
        return Batch(
            obs, acts, next_obs, rewards, terminated, truncated, elapsed,
            np.concatenate(returns) if returns else empty,
            np.concatenate(lengths) if lengths else empty.astype(np.int64),
        )  # fmt: skip

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that collection continues from."""
        state = {f"simulator.{k}": v for k, v in self.simulator.state_dict().items()}
        return state | {
            "obs": self.obs,
            "totals": self.totals,
            "generator": self.generator.get_state().numpy(),
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continue exactly where state_dict was taken."""
        prefix = "simulator."
        self.simulator.load_state_dict({k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)})
        self.obs, self.totals = np.array(state["obs"]), np.array(state["totals"])
        self.generator.set_state(torch.from_numpy(np.array(state["generator"])))
