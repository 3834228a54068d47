"""Reacher: a two-link arm whose fingertip is to meet a target; it never terminates.

reward = -|fingertip - target| - |a|^2 from derived positions: the distance taken before the step in v4, after it in v5,
which also leaves the distance's vertical part, zero by construction, out of the observation. Numbers from
gymnasium.envs.mujoco.reacher_{v4,v5}.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import mujoco
import numpy as np

from deep.envs.tasks import Fields, Stepper, Task

__all__ = ["REACHER_V4", "REACHER_V5", "Reacher"]


@dataclass(frozen=True)
class Reacher(Task):
    """qpos = (two joint angles, target x and y). A reset adds uniform noise of +-angle_noise to qpos and of
    +-velocity_noise to the arm's qvel, and draws the target uniformly from a disc of radius target_radius.
    `reward_after`: whether the distance is that after the step; `flat`: whether it is observed in the plane only.
    """

    xml: str
    frame_skip: int
    angle_noise: float
    velocity_noise: float
    target_radius: float
    reward_after: bool = False
    flat: bool = False

    def views(self, stepper: Stepper) -> dict[str, np.ndarray]:
        positions, body = stepper.bind("xpos"), stepper.model.body
        return {name: positions[:, body(name).id] for name in ("fingertip", "target")}

    def obs_dim(self, model: mujoco.MjModel) -> int:
        return 10 if self.flat else 11

    def draw(self, model: mujoco.MjModel, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        radius = self.target_radius
        qpos = model.qpos0 + rng.uniform(-self.angle_noise, self.angle_noise, (n, model.nq))
        target = rng.uniform(-radius, radius, (n, 2))
        while (outside := np.linalg.norm(target, axis=1) >= radius).any():
            target[outside] = rng.uniform(-radius, radius, (int(outside.sum()), 2))
        qpos[:, -2:] = target
        qvel = rng.uniform(-self.velocity_noise, self.velocity_noise, (n, model.nv))
        qvel[:, -2:] = 0.0
        return qpos, qvel

    def observe(self, fields: Fields) -> np.ndarray:
        angles = fields.qpos[:, :2]
        parts = (np.cos(angles), np.sin(angles), fields.qpos[:, 2:], fields.qvel[:, :2])
        parts += (self.track(fields)[:, : 2 if self.flat else 3],)
        return np.concatenate(parts, axis=1)

    def track(self, fields: Fields) -> np.ndarray:
        return fields.of["fingertip"] - fields.of["target"]

    def reward(self, fields: Fields, before: np.ndarray, now: np.ndarray, acts: np.ndarray, dt: float) -> np.ndarray:
        return -np.linalg.norm(now if self.reward_after else before, axis=1) - np.add.reduce(np.square(acts), axis=1)

    def terminated(self, fields: Fields) -> np.ndarray:
        return np.zeros(len(fields.qpos), dtype=bool)


REACHER_V4 = Reacher(xml="reacher.xml", frame_skip=2, angle_noise=0.1, velocity_noise=0.005, target_radius=0.2)
REACHER_V5 = replace(REACHER_V4, reward_after=True, flat=True)
