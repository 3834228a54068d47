"""Ant: four legs, paid for the torso's forward velocity and for staying within a band of heights.

reward = (x' - x) / dt + healthy - k |a|^2 - l |f|^2, x the torso's world position as last derived (one substep old).
Numbers from gymnasium.envs.mujoco.ant_v4, whose default knows no contact forces f, and ant_v5, which observes those of
all bodies but the world, charges for them, and does not pay the step that ends an episode for health. Just after a
reset they are zero (see humanoid).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import mujoco
import numpy as np

from deep.envs.tasks import Fields, Stepper, Task

__all__ = ["ANT_V4", "ANT_V5", "Ant"]


@dataclass(frozen=True)
class Ant(Task):
    """qpos = (x, y, z, quaternion, joints); healthy while the state is finite and z within healthy_z, ends
    included. A reset adds uniform noise of +-reset_noise to qpos, reset_noise times a normal to qvel.
    `contact_weight` is l, and None where contact forces play no part; they are clipped to +-contact_clip.
    """

    xml: str
    frame_skip: int
    control_weight: float
    healthy_reward: float
    healthy_z: tuple[float, float]
    reset_noise: float
    contact_weight: float | None = None
    contact_clip: float = 1.0
    healthy_at_end: bool = True

    @property
    def contact_forces(self) -> bool:
        return self.contact_weight is not None

    def views(self, stepper: Stepper) -> dict[str, np.ndarray]:
        views = {"torso_x": stepper.bind("xpos")[:, stepper.model.body("torso").id, :1]}
        if self.contact_forces:
            forces = stepper.bind("cfrc_ext")
            views["forces"] = forces.reshape(len(forces), -1)
        return views

    def obs_dim(self, model: mujoco.MjModel) -> int:
        return model.nq - 2 + model.nv + (6 * (model.nbody - 1) if self.contact_forces else 0)

    def draw(self, model: mujoco.MjModel, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        noise = self.reset_noise
        qpos = model.qpos0 + rng.uniform(-noise, noise, (n, model.nq))
        return qpos, noise * rng.standard_normal((n, model.nv))

    def observe(self, fields: Fields) -> np.ndarray:
        if not self.contact_forces:
            return fields.state[:, 2:].copy()
        return np.concatenate([fields.state[:, 2:], self._clipped(fields)[:, 6:]], axis=1)

    def observe_reset(self, fields: Fields, ids: np.ndarray) -> np.ndarray:
        obs = super().observe_reset(fields, ids)
        obs[:, fields.state.shape[1] - 2 :] = 0.0
        return obs

    def _clipped(self, fields: Fields) -> np.ndarray:
        return np.clip(fields.of["forces"], -self.contact_clip, self.contact_clip)

    def track(self, fields: Fields) -> np.ndarray:
        return fields.of["torso_x"].copy()

    def reward(self, fields: Fields, before: np.ndarray, now: np.ndarray, acts: np.ndarray, dt: float) -> np.ndarray:
        velocity = (now[:, 0] - before[:, 0]) / dt
        costs = self.control_weight * np.add.reduce(np.square(acts), axis=1)
        if self.contact_weight is not None:
            costs = costs + self.contact_weight * np.add.reduce(np.square(self._clipped(fields)), axis=1)
        healthy = self.healthy_reward if self.healthy_at_end else self.healthy_reward * ~self.terminated(fields)
        return velocity + healthy - costs

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
ANT_V5 = replace(ANT_V4, contact_weight=5e-4, healthy_at_end=False)
