"""What a native task adds to the physics: its numbers, its observation, its reward, its reset.

A task reads the live arrays of a batch (`bind`), so that no function here loops over simulators. Sums are
taken in the order in which Gymnasium takes them, so that rewards agree to the last bit or two. Observations
use the data as mj_step leaves them: qpos and qvel are new, every derived field (body positions, inertias,
contact forces) belongs to the state before the last substep.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import mujoco
import numpy as np
from mujoco.batch import Batch

from deep.envs.pool import Pool

__all__ = ["Fields", "Stepper", "Task"]


Stepper = Batch | Pool


@dataclass(frozen=True)
class Fields:
    """Live arrays of E simulations; state [E, nq + nv] is qpos and qvel side by side, `of` the task's own."""

    state: np.ndarray
    qpos: np.ndarray
    qvel: np.ndarray
    of: dict[str, np.ndarray]

    @staticmethod
    def bind(stepper: Stepper, of: dict[str, np.ndarray]) -> Fields:
        """Bind once; the arrays stay valid as long as the stepper lives."""
        qpos, qvel = stepper.bind("qpos"), stepper.bind("qvel")
        start = (qpos.ctypes.data - stepper.state.ctypes.data) // stepper.state.itemsize
        state = stepper.state[:, start : start + qpos.shape[1] + qvel.shape[1]]
        return Fields(state, qpos, qvel, of)


class Task(ABC):
    """A task of Gymnasium's MuJoCo family as numbers and vectorised functions; instances are frozen."""

    xml: str
    frame_skip: int
    contact_forces: bool = False
    """Whether the task reads `cfrc_ext` (see pool)."""

    def views(self, stepper: Stepper) -> dict[str, np.ndarray]:
        """The derived arrays that the task reads, by names of its own; none by default."""
        return {}

    @abstractmethod
    def obs_dim(self, model: mujoco.MjModel) -> int:
        """O."""

    @abstractmethod
    def draw(self, model: mujoco.MjModel, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Initial qpos [n, nq] and qvel [n, nv]."""

    @abstractmethod
    def observe(self, fields: Fields) -> np.ndarray:
        """The observations after a step, a new array [E, O]."""

    def observe_reset(self, fields: Fields, ids: np.ndarray) -> np.ndarray:
        """The observations of the simulators `ids` just after their reset, [n, O]."""
        return self.observe(fields)[ids]

    @abstractmethod
    def track(self, fields: Fields) -> np.ndarray:
        """What the next reward needs to know of the present, a new array [E, any]."""

    @abstractmethod
    def reward(self, fields: Fields, before: np.ndarray, now: np.ndarray, acts: np.ndarray, dt: float) -> np.ndarray:
        """Rewards [E] from `track` before and after the step, and the raw actions [E, U]."""

    @abstractmethod
    def terminated(self, fields: Fields) -> np.ndarray:
        """Which simulators are in a state that ends the task, [E] bool."""
