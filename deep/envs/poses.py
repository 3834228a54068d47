"""What a body does, as geometry: the capsules of a MuJoCo task, step by step, for pictures that need no renderer.

The limbs of the locomotion tasks are capsules, cylinders with round ends: two end points and a radius say everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import mujoco
import numpy as np

from deep.envs.quiet import old_tasks
from deep.envs.registry import lookup, number, resolve

__all__ = ["Poses", "film"]


@dataclass(frozen=True, eq=False)
class Poses:
    """T steps of an episode and G capsules: `ends` [T, G, 2, 3] in metres, `radii` [G] in metres, `time` [T] in
    seconds, `reward` [T] of the step that follows each pose; `terminated` says whether the task ended the episode.
    """

    ends: np.ndarray
    radii: np.ndarray
    time: np.ndarray
    reward: np.ndarray
    terminated: bool


def film(env_id: str, act: Callable[[np.ndarray], np.ndarray], steps: int, seed: int) -> Poses:
    """The poses of one episode under `act` (observations [1, O] -> actions [1, U]), for at most `steps` steps.

    Raises ValueError for a task that is not a MuJoCo task of Gymnasium with capsules.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, but is {steps}")
    lookup(resolve(env_id))
    with old_tasks():
        env = gymnasium.make(env_id, disable_env_checker=True)
    try:
        return _film(env, env_id, act, steps, seed)
    finally:
        env.close()


def _film(env: gymnasium.Env, env_id: str, act: Callable[[np.ndarray], np.ndarray], steps: int, seed: int) -> Poses:
    model, data = getattr(env.unwrapped, "model", None), getattr(env.unwrapped, "data", None)
    capsules = np.zeros(0, int)
    if isinstance(model, mujoco.MjModel):
        capsules = np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_CAPSULE)
    if not capsules.size:
        raise ValueError(f"env_id must be a MuJoCo task with capsules, but is {env_id!r}")
    kind = number(env_id, env)
    obs, _ = env.reset(seed=seed)
    ends, time, reward, over = [], [], [], False
    while len(ends) < steps and not over:
        axis = data.geom_xmat[capsules].reshape(-1, 3, 3)[:, :, 2] * model.geom_size[capsules, 1, None]
        ends.append(np.stack([data.geom_xpos[capsules] - axis, data.geom_xpos[capsules] + axis], axis=1))
        time.append(data.time)
        obs, r, terminated, truncated, _ = env.step(act(obs[None])[0].astype(kind))
        reward.append(r)
        over = terminated or truncated
    radii = model.geom_size[capsules, 0].copy()
    return Poses(np.array(ends), radii, np.array(time), np.array(reward, dtype=np.float64), bool(terminated))
