"""The running average of a policy's weights (Polyak and Juditsky 1992, with exponential weights)."""

import copy

import torch
from torch import Tensor

from deep.nets import Policy


class Averaged:
    """kept <- w * kept + (1 - w) * last, parameter by parameter; the last policy itself where weight is 0.

    w is `weight`, but at first (k - 1) / k after k updates, so that the average is the mean of the policies so far and
    nothing is left in it of the one before training.
    """

    def __init__(self, last: Policy, weight: float) -> None:
        if not 0 <= weight < 1:
            raise ValueError(f"average must be at least 0 and below 1, but is {weight}")
        self.last, self.weight = last, weight
        self.policy = copy.deepcopy(last) if weight else last

    @torch.no_grad()
    def update(self, count: int) -> None:
        """Move the average to the last policy, for the `count`-th time; observation statistics are the latter's."""
        if self.policy is self.last:
            return
        for kept, last in zip(self.policy.parameters(), self.last.parameters(), strict=True):
            kept.lerp_(last, max(1 - self.weight, 1 / count))
        self.policy.normaliser.load_state_dict(self.last.normaliser.state_dict())

    def state_dict(self) -> dict[str, Tensor]:
        """The average's tensors; none where it is the last policy, which others save."""
        return {} if self.policy is self.last else self.policy.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Inverse of state_dict."""
        if self.policy is not self.last:
            self.policy.load_state_dict(state)
