"""Sample reuse: the last few batches together, each transition weighted by how likely the policy of today takes it.

    w(s, a) = pi(a|s) / b(a|s),    b the policy that collected the transition

On-policy learning throws a batch away after one step, though a trust region has hardly moved the policy: its
transitions still say what today's policy would do, once weighted (Queeney et al. 2021, generalised policy
improvement). Rewards are not kept: the cost of today prices the transitions of yesterday.
"""

from collections import deque

import numpy as np
import torch

from deep.nets import Policy
from deep.rollout import Batch, beside

# Of a weight in the policy's objective: beyond it the variance of one transition costs more than its bias.
LARGEST = 2.0


class Recent:
    """The last `keep` batches, oldest first, with the log-probabilities of their actions when they were taken."""

    def __init__(self, keep: int) -> None:
        if keep < 1:
            raise ValueError(f"reuse must be at least 1, but is {keep}")
        self.keep = keep
        self._kept: deque[tuple[Batch, np.ndarray]] = deque(maxlen=keep)

    def add(self, batch: Batch, policy: Policy) -> None:
        """Take in a batch that this policy has just collected; the oldest one goes where there are too many."""
        alone = self.keep == 1  # its weights are one: nothing to compare
        self._kept.append((batch, np.empty(0) if alone else log_prob(policy, batch)))

    @property
    def newest(self) -> Batch:
        """The one collected last."""
        return self._kept[-1][0]

    @property
    def batch(self) -> Batch:
        """All of them, simulators side by side: [T, K E] of K batches of E simulators."""
        return beside([batch for batch, _ in self._kept])

    def weights(self, policy: Policy, batch: Batch) -> np.ndarray | None:
        """w [T, K E] of `batch`, which is all of them; None where there is only the newest, whose w is one."""
        if len(self._kept) < 2:
            return None
        taken = np.concatenate([logp for _, logp in self._kept], 1)
        return np.exp(np.clip(log_prob(policy, batch) - taken, -20.0, 20.0))

    def state_dict(self) -> dict[str, np.ndarray]:
        """What the next step will look at beside its own batch: arrays by the batch's place and the field's name."""
        state: dict[str, np.ndarray] = {}
        for i, (batch, logp) in enumerate(list(self._kept)[-self.keep + 1 :] if self.keep > 1 else []):
            state |= {f"{i}.{name}": value for name, value in vars(batch).items()} | {f"{i}.logp": logp}
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Inverse of state_dict."""
        self._kept.clear()
        for i in range(len({key.split(".")[0] for key in state})):
            fields = {key.split(".")[1]: value for key, value in state.items() if key.split(".")[0] == str(i)}
            logp = fields.pop("logp")
            self._kept.append((Batch(**fields), logp))


@torch.no_grad()
def log_prob(policy: Policy, batch: Batch) -> np.ndarray:
    """log pi(a|s) of a batch's transitions, [T, E]."""
    x, acts = policy.normaliser(batch.flat("obs")), policy.encode(batch.flat("acts"))
    return policy(x).log_prob(acts).double().numpy().reshape(batch.rewards.shape)
