"""Hopper, HalfCheetah and Walker2d: planar runners paid for forward velocity, less control cost.

reward = w (x' - x) / dt + healthy - k |a|^2 on the raw action (never clipped; MuJoCo clamps its own copy).
Numbers from gymnasium.envs.mujoco {hopper,half_cheetah,walker2d}_{v4,v5}. In v5 the step that ends an episode is not
paid for health, and the Walker2d's feet have the same friction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import mujoco
import numpy as np

from deep.envs.tasks import Fields, Task

__all__ = [
    "HALF_CHEETAH_V4",
    "HALF_CHEETAH_V5",
    "HOPPER_V4",
    "HOPPER_V5",
    "WALKER2D_V4",
    "WALKER2D_V5",
    "Planar",
]


@dataclass(frozen=True)
class Planar(Task):
    """A runner in the x-z plane: qpos = (x, z, angle, joints).

    Its state is healthy while z, angle and all of state[2:] lie strictly inside their ranges (None: no limit).
    qvel is observed within +-velocity_clip. A reset adds uniform noise of +-reset_noise to qpos, and to qvel
    either the same or reset_noise times a standard normal. `healthy_at_end`: whether the step that ends the episode is
    paid for health all the same.
    """

    xml: str
    frame_skip: int
    forward_weight: float
    control_weight: float
    healthy_reward: float
    healthy_z: tuple[float, float] | None
    healthy_angle: tuple[float, float] | None
    healthy_state: tuple[float, float] | None
    velocity_clip: float | None
    reset_noise: float
    normal_velocity: bool
    healthy_at_end: bool = True

    def obs_dim(self, model: mujoco.MjModel) -> int:
        return model.nq - 1 + model.nv

    def draw(self, model: mujoco.MjModel, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        noise = self.reset_noise
        qpos = model.qpos0 + rng.uniform(-noise, noise, (n, model.nq))
        if self.normal_velocity:
            return qpos, noise * rng.standard_normal((n, model.nv))
        return qpos, rng.uniform(-noise, noise, (n, model.nv))

    def observe(self, fields: Fields) -> np.ndarray:
        obs = fields.state[:, 1:].copy()
        if self.velocity_clip is not None:
            velocity = obs[:, fields.qpos.shape[1] - 1 :]
            np.maximum(velocity, -self.velocity_clip, out=velocity)
            np.minimum(velocity, self.velocity_clip, out=velocity)
        return obs

    def track(self, fields: Fields) -> np.ndarray:
        return fields.qpos[:, :1].copy()

    def reward(self, fields: Fields, before: np.ndarray, now: np.ndarray, acts: np.ndarray, dt: float) -> np.ndarray:
        velocity = (now[:, 0] - before[:, 0]) / dt
        control = self.control_weight * np.add.reduce(np.square(acts), axis=1)
        healthy = self.healthy_reward if self.healthy_at_end else self.healthy_reward * ~self.terminated(fields)
        return self.forward_weight * velocity + healthy - control

    def terminated(self, fields: Fields) -> np.ndarray:
        healthy = np.ones(len(fields.qpos), dtype=bool)
        for column, limits in ((1, self.healthy_z), (2, self.healthy_angle)):
            if limits is not None:
                value = fields.qpos[:, column]
                healthy &= (limits[0] < value) & (value < limits[1])
        if self.healthy_state is not None:
            low, high = self.healthy_state
            rest = fields.state[:, 2:]
            healthy &= (np.minimum.reduce(rest, axis=1) > low) & (np.maximum.reduce(rest, axis=1) < high)
        return ~healthy


HOPPER_V4 = Planar(
    xml="hopper.xml",
    frame_skip=4,
    forward_weight=1.0,
    control_weight=1e-3,
    healthy_reward=1.0,
    healthy_z=(0.7, inf),
    healthy_angle=(-0.2, 0.2),
    healthy_state=(-100.0, 100.0),
    velocity_clip=10.0,
    reset_noise=5e-3,
    normal_velocity=False,
)
HALF_CHEETAH_V4 = Planar(
    xml="half_cheetah.xml",
    frame_skip=5,
    forward_weight=1.0,
    control_weight=0.1,
    healthy_reward=0.0,
    healthy_z=None,
    healthy_angle=None,
    healthy_state=None,
    velocity_clip=None,
    reset_noise=0.1,
    normal_velocity=True,
)
WALKER2D_V4 = Planar(
    xml="walker2d.xml",
    frame_skip=4,
    forward_weight=1.0,
    control_weight=1e-3,
    healthy_reward=1.0,
    healthy_z=(0.8, 2.0),
    healthy_angle=(-1.0, 1.0),
    healthy_state=None,
    velocity_clip=10.0,
    reset_noise=5e-3,
    normal_velocity=False,
)
HOPPER_V5 = replace(HOPPER_V4, healthy_at_end=False)
HALF_CHEETAH_V5 = HALF_CHEETAH_V4  # which has no health to be paid for
WALKER2D_V5 = replace(WALKER2D_V4, xml="walker2d_v5.xml", healthy_at_end=False)
