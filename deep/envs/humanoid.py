"""Humanoid: paid for the forward velocity of its centre of mass and for standing.

reward = w (x' - x) / dt + healthy - k |a|^2, x the centre of mass sum_b m_b x_b / sum_b m_b of the bodies'
derived positions. The observation adds inertias, velocities, actuator and contact forces of all bodies, as
mj_step leaves them; just after a reset Gymnasium's contact forces are zero, because mj_resetData cleared them
and mj_forward does not compute them.

Numbers from gymnasium.envs.mujoco.humanoid_v4, and from humanoid_v5, which leaves out what is zero by construction
(the world body, the six unactuated forces of the root), charges l |f|^2 for contact forces f up to a limit, and does
not pay the step that ends an episode for health.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import mujoco
import numpy as np

from deep.envs.tasks import Fields, Stepper, Task

__all__ = ["HUMANOID_V4", "HUMANOID_V5", "Humanoid"]


@dataclass(frozen=True)
class Humanoid(Task):
    """qpos = (x, y, z, quaternion, joints); healthy while z is strictly inside healthy_z. A reset adds uniform
    noise of +-reset_noise to qpos and qvel. The observation leaves out `skip_bodies` bodies and `skip_forces` actuator
    forces; `contact_weight` is l, and its cost at most contact_limit.
    """

    xml: str
    frame_skip: int
    forward_weight: float
    control_weight: float
    healthy_reward: float
    healthy_z: tuple[float, float]
    reset_noise: float
    skip_bodies: int = 0
    skip_forces: int = 0
    contact_weight: float = 0.0
    contact_limit: float = inf
    healthy_at_end: bool = True

    contact_forces = True

    def views(self, stepper: Stepper) -> dict[str, np.ndarray]:
        seen, flat = {}, {}
        for name in ("cinert", "cvel", "qfrc_actuator", "cfrc_ext"):
            array = stepper.bind(name)
            flat[name] = array.reshape(len(array), -1)
            skipped = array[0, : self.skip_forces if name == "qfrc_actuator" else self.skip_bodies]
            seen[name] = flat[name][:, skipped.size :]
        rest = {"body_x": stepper.bind("xipos")[:, :, 0], "mass": stepper.model.body_mass.copy()}
        return seen | rest | {"forces": flat["cfrc_ext"]}

    def obs_dim(self, model: mujoco.MjModel) -> int:
        bodies = model.nbody - self.skip_bodies
        return model.nq - 2 + model.nv + bodies * (10 + 6 + 6) + model.nv - self.skip_forces

    def draw(self, model: mujoco.MjModel, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        noise = self.reset_noise
        qpos = model.qpos0 + rng.uniform(-noise, noise, (n, model.nq))
        return qpos, rng.uniform(-noise, noise, (n, model.nv))

    def observe(self, fields: Fields) -> np.ndarray:
        of = fields.of
        parts = (fields.state[:, 2:], of["cinert"], of["cvel"], of["qfrc_actuator"], of["cfrc_ext"])
        return np.concatenate(parts, axis=1)

    def observe_reset(self, fields: Fields, ids: np.ndarray) -> np.ndarray:
        obs = super().observe_reset(fields, ids)
        obs[:, -fields.of["cfrc_ext"].shape[1] :] = 0.0
        return obs

    def track(self, fields: Fields) -> np.ndarray:
        mass = fields.of["mass"]
        return (np.einsum("b,eb->e", mass, fields.of["body_x"]) / mass.sum())[:, None]

    def reward(self, fields: Fields, before: np.ndarray, now: np.ndarray, acts: np.ndarray, dt: float) -> np.ndarray:
        velocity = (now[:, 0] - before[:, 0]) / dt
        control = self.control_weight * np.add.reduce(np.square(acts), axis=1)
        if self.contact_weight:
            contact = self.contact_weight * np.add.reduce(np.square(fields.of["forces"]), axis=1)
            control = control + np.minimum(contact, self.contact_limit)
        healthy = self.healthy_reward if self.healthy_at_end else self.healthy_reward * ~self.terminated(fields)
        return self.forward_weight * velocity + healthy - control

    def terminated(self, fields: Fields) -> np.ndarray:
        low, high = self.healthy_z
        z = fields.qpos[:, 2]
        return ~((low < z) & (z < high))


HUMANOID_V4 = Humanoid(
    xml="humanoid.xml",
    frame_skip=5,
    forward_weight=1.25,
    control_weight=0.1,
    healthy_reward=5.0,
    healthy_z=(1.0, 2.0),
    reset_noise=1e-2,
)
HUMANOID_V5 = replace(
    HUMANOID_V4,
    skip_bodies=1,
    skip_forces=6,
    contact_weight=5e-7,
    contact_limit=10.0,
    healthy_at_end=False,
)
