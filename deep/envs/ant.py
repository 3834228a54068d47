"""Ant: four legs, paid for the torso's forward velocity and for staying within a band of heights.

reward = (x' - x) / dt + healthy - k |a|^2, x the torso's world position as last derived (one substep old).
Numbers from gymnasium.envs.mujoco.ant_v4, whose default observes no contact forces.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from deep.envs.tasks import Fields, Stepper, Task

__all__ = ["ANT_V4", "Ant"]


@dataclass(frozen=True)
class Ant(Task):
    """qpos = (x, y, z, quaternion, joints); healthy while the state is finite and z within healthy_z, ends
    included. A reset adds uniform noise of +-reset_noise to qpos, reset_noise times a normal to qvel.
    """

    xml: str
    frame_skip: int
    control_weight: float
    healthy_reward: float
    healthy_z: tuple[float, float]
    reset_noise: float

    def views(self, stepper: Stepper) -> dict[str, np.ndarray]:
        return {"torso_x": stepper.bind("xpos")[:, stepper.model.body("torso").id, :1]}

    def obs_dim(self, model: mujoco.MjModel) -> int:
        return model.nq - 2 + model.nv

    def draw(self, model: mujoco.MjModel, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        noise = self.reset_noise
        qpos = model.qpos0 + rng.uniform(-noise, noise, (n, model.nq))
        return qpos, noise * rng.standard_normal((n, model.nv))

    def observe(self, fields: Fields) -> np.ndarray:
        return fields.state[:, 2:].copy()

    def track(self, fields: Fields) -> np.ndarray:
        return fields.of["torso_x"].copy()

    def reward(self, fields: Fields, before: np.ndarray, now: np.ndarray, acts: np.ndarray, dt: float) -> np.ndarray:
        velocity = (now[:, 0] - before[:, 0]) / dt
        return velocity + self.healthy_reward - self.control_weight * np.add.reduce(np.square(acts), axis=1)

    def terminated(self, fields: Fields) -> np.ndarray:
        low, high = self.healthy_z
        z = fields.state[:, 2]
        return ~(np.isfinite(fields.state).all(axis=1) & (low <= z) & (z <= high))


ANT_V4 = Ant(
    xml="ant.xml",
    frame_skip=5,
    control_weight=0.5,
    healthy_reward=1.0,
    healthy_z=(0.2, 1.0),
    reset_noise=0.1,
)
