"""What every simulator promises: E copies of one task, stepped together, resumable to the same bits.

A transition is (obs, action, next_obs, reward, terminated). Termination ends the task: no future cost
follows. Truncation only ends the recording: the value of `next_obs` still counts. The two are kept apart
everywhere. When an episode ends, its simulator is reset within the same step, so `Step.obs` is the observation
to act on next and `Step.next_obs` the true successor; the reset itself is never a transition.

Shapes: E simulators, O observation, U action dimension.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

__all__ = ["EnvSpec", "Simulator", "SimulatorFault", "Step"]


@dataclass(frozen=True)
class EnvSpec:
    """The task as data.

    `act_dim` is U, or the number of actions where `discrete`; `act_low` and `act_high` are [U], or None where
    `discrete`; `horizon` is the step at which an episode is truncated; `native` says which stepper runs it.
    `continues` is the probability that the recording goes on after a step: 1, or gamma where the clock is geometric.
    `act_start` and `act_dtype` are what Gymnasium's own environment calls the first action, and its kind of number.
    """

    id: str
    obs_dim: int
    discrete: bool
    act_dim: int
    act_low: np.ndarray | None = field(compare=False)
    act_high: np.ndarray | None = field(compare=False)
    horizon: int
    native: bool
    continues: float = 1.0
    act_start: int = 0
    act_dtype: str = "float32"

    def steps_left(self, lived: np.ndarray) -> np.ndarray:
        """Expected steps that the clock would still have recorded after the `lived` first ones of an episode, [N].

        sum_{k = 1}^{horizon - lived} continues^k
        """
        left, q = np.maximum(self.horizon - lived, 0), self.continues
        return left if q == 1.0 else q * (1 - q**left) / (1 - q)


@dataclass(frozen=True)
class Step:
    """One step of E simulators: obs [E, O] to act on next, next_obs [E, O] the true successor (before any
    reset), reward [E], terminated [E], truncated [E]. Both flags may be set at once, as in Gymnasium.

    The arrays are new at every step; obs and next_obs are one array when no episode ended.
    """

    obs: np.ndarray
    next_obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


class SimulatorFault(RuntimeError):
    """The physics failed: `ids` are the simulators, none where it is not known which; `reason` is what was found."""

    def __init__(self, env_id: str, ids: np.ndarray, reason: str) -> None:
        self.env_id = env_id
        self.ids = np.asarray(ids)
        self.reason = reason
        shown = ", ".join(str(i) for i in self.ids[:5]) + (", ..." if len(self.ids) > 5 else "")
        super().__init__(f"{env_id}: {f'simulators [{shown}]' if shown else 'a simulator'} failed: {reason}")


class Simulator(ABC):
    """E simulators of one task; `reset` before the first `step`, `close` when done."""

    spec: EnvSpec
    num: int

    @abstractmethod
    def reset(self) -> np.ndarray:
        """Start every episode anew, also the staggering; return the observations [E, O]."""

    @abstractmethod
    def step(self, actions: np.ndarray) -> Step:
        """Apply actions [E, U] float64, or [E] integers where discrete.

        Raises ValueError for actions of the wrong shape or kind, SimulatorFault where the physics fails.
        """

    @property
    @abstractmethod
    def elapsed(self) -> np.ndarray:
        """Steps since the episode of each simulator began, [E] int64."""

    @property
    def limit(self) -> np.ndarray:
        """The step at which the clock truncates the episode of each simulator, [E] int64: below the horizon in a
        staggered first one.
        """
        return np.full(self.num, self.spec.horizon)

    @property
    @abstractmethod
    def obs(self) -> np.ndarray:
        """The observations to act on next, [E, O]: what `reset`, `step` or `load_state_dict` left."""

    @abstractmethod
    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything an exact continuation needs, as plain arrays."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continue from `state_dict()` of a simulator of the same task and number, to the same bits."""

    @abstractmethod
    def close(self) -> None:
        """Release threads and memory; stepping afterwards is an error."""

    def check_ready(self, obs: np.ndarray | None) -> np.ndarray:
        """The current observations, or a RuntimeError where there are none yet or no longer."""
        if obs is None:
            raise RuntimeError(f"{self.spec.id} is closed, or reset() has not been called yet")
        return obs

    def check_actions(self, actions: np.ndarray) -> np.ndarray:
        """The actions as a float64 [E, U] or int64 [E] array, or a ValueError that says what is wrong."""
        spec = self.spec
        actions = np.asarray(actions)
        expected = (self.num,) if spec.discrete else (self.num, spec.act_dim)
        if actions.shape != expected:
            raise ValueError(f"actions must have shape {expected} for {spec.id}, but have shape {actions.shape}")
        if not spec.discrete:
            if actions.dtype.kind not in "fiu":
                raise ValueError(f"actions must be real numbers for {spec.id}, but have dtype {actions.dtype}")
            return actions.astype(np.float64, order="C", copy=False)
        if actions.dtype.kind not in "iu":
            raise ValueError(f"actions must be integers for {spec.id}, but have dtype {actions.dtype}")
        outside = (actions < 0) | (actions >= spec.act_dim)
        if outside.any():
            i = int(np.argmax(outside))
            raise ValueError(f"actions[{i}] must be in 0..{spec.act_dim - 1} for {spec.id}, but is {int(actions[i])}")
        return actions.astype(np.int64)
