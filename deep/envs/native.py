"""MuJoCo tasks on `mujoco.batch.Batch`: every core, no Python loop over simulators, equal to Gymnasium.

The batch holds one row of mjSTATE_INTEGRATION per simulator (time, qpos, qvel, warm start, controls); its
results are those of one MjData per simulator at any number of threads. A reset writes the model's default
row, as mj_resetData would (warm start zero), then noisy qpos and qvel, then runs mj_forward on those
simulators only.
"""

from __future__ import annotations

import math
import os
from importlib import resources

import mujoco
import numpy as np
from mujoco.batch import Batch, SimulationError

from deep.envs import registry, saved
from deep.envs.ant import ANT_V4, ANT_V5
from deep.envs.base import EnvSpec, Simulator, SimulatorFault, Step
from deep.envs.clock import Clock
from deep.envs.humanoid import HUMANOID_V4, HUMANOID_V5
from deep.envs.planar import (
    HALF_CHEETAH_V4,
    HALF_CHEETAH_V5,
    HOPPER_V4,
    HOPPER_V5,
    WALKER2D_V4,
    WALKER2D_V5,
)
from deep.envs.pool import Pool
from deep.envs.quiet import old_tasks
from deep.envs.reacher import REACHER_V4, REACHER_V5
from deep.envs.tasks import Fields, Stepper, Task

__all__ = ["TASKS", "NativeSimulator"]

TASKS: dict[str, Task] = {
    "Hopper-v4": HOPPER_V4,
    "HalfCheetah-v4": HALF_CHEETAH_V4,
    "Walker2d-v4": WALKER2D_V4,
    "Ant-v4": ANT_V4,
    "Humanoid-v4": HUMANOID_V4,
    "Reacher-v4": REACHER_V4,
    "Hopper-v5": HOPPER_V5,
    "HalfCheetah-v5": HALF_CHEETAH_V5,
    "Walker2d-v5": WALKER2D_V5,
    "Ant-v5": ANT_V5,
    "Humanoid-v5": HUMANOID_V5,
    "Reacher-v5": REACHER_V5,
}
"""The tasks with a native path, by Gymnasium id."""

FEW = 8  # simulators that begin anew together and are not worth a second thread

# Warnings after which MuJoCo has put the simulation back to its default state, or dropped the controls: the
# step that follows is no transition of the task.
BROKEN = {
    mujoco.mjtWarning.mjWARN_BADCTRL: "an action is not finite or is huge",
    mujoco.mjtWarning.mjWARN_BADQPOS: "a position is not finite or is huge",
    mujoco.mjtWarning.mjWARN_BADQVEL: "a velocity is not finite or is huge",
    mujoco.mjtWarning.mjWARN_BADQACC: "an acceleration is not finite or is huge",
}


def load_model(task: Task) -> mujoco.MjModel:
    """The model from Gymnasium's assets, compiled without the notes that MuJoCo prints on old XML."""
    path = resources.files("gymnasium") / "envs" / "mujoco" / "assets" / task.xml
    with old_tasks():
        model = mujoco.MjModel.from_xml_path(str(path))
    if model.ntree == 1:  # its constraints are one island: to look for others changes no bit and takes time
        model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_ISLAND)
    return model


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def stepper(task: Task, model: mujoco.MjModel, num: int, threads: int) -> Stepper:
    """The fastest stepper that computes what the task observes, every row at the model's default state."""
    if task.contact_forces:
        return Pool(model, num, threads)
    batch = Batch(model, num, threads)
    batch.reset()
    return batch


class NativeSimulator(Simulator):
    """E simulators of one native task on `threads` threads (0: all cores)."""

    def __init__(self, env_id: str, num: int, seed: int, threads: int = 0, stagger: bool = False) -> None:
        self._task = task = TASKS[env_id]
        model = load_model(task)
        low, high = model.actuator_ctrlrange.T.copy()
        horizon = registry.horizon(env_id)
        self.spec = EnvSpec(env_id, task.obs_dim(model), False, model.nu, low, high, horizon, native=True)
        self.num = num
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._clock = Clock(num, horizon, stagger)
        self._dt = model.opt.timestep * task.frame_skip
        self._batch = stepper(task, model, num, min(threads or cores(), num))
        self._default_row = self._batch.state[0].copy()
        self._fields = Fields.bind(self._batch, task.views(self._batch))
        self._ctrl = self._batch.bind("ctrl")
        self._track = task.track(self._fields)
        self._obs: np.ndarray | None = None

    @property
    def elapsed(self) -> np.ndarray:
        return self._clock.elapsed.copy()

    @property
    def limit(self) -> np.ndarray:
        return self._clock.limit.copy()

    @property
    def obs(self) -> np.ndarray:
        return self.check_ready(self._obs).copy()

    def reset(self) -> np.ndarray:
        self._clock.start()
        self._batch.warning[:] = 0
        self._obs = np.zeros((self.num, self.spec.obs_dim))
        self._begin(np.arange(self.num))
        return self._obs.copy()

    def step(self, actions: np.ndarray) -> Step:
        self.check_ready(self._obs)
        actions = self.check_actions(actions)
        task, fields = self._task, self._fields
        self._ctrl[:] = actions
        try:
            self._batch.step(nstep=task.frame_skip)
        except SimulationError as error:
            raise SimulatorFault(self.spec.id, error.ids, self._batch.error(int(error.ids[0]))) from error
        obs, track = task.observe(fields), task.track(fields)
        self._check_health(obs)
        reward = task.reward(fields, self._track, track, actions, self._dt)
        terminated = task.terminated(fields)
        truncated = self._clock.tick()
        self._track, self._obs = track, obs
        done = terminated | truncated
        if np.count_nonzero(done):
            self._obs = obs.copy()
            ids = np.flatnonzero(done)
            self._clock.restart(ids)
            self._begin(ids)
        return Step(self._obs, obs, reward, terminated, truncated)

    def _begin(self, ids: np.ndarray) -> None:
        """New episodes for `ids`."""
        fields = self._fields
        qpos, qvel = self._task.draw(self._batch.model, len(ids), self._rng)
        self._batch.state[ids] = self._default_row
        fields.qpos[ids] = qpos
        fields.qvel[ids] = qvel
        # A batch wakes its threads for two rows and more, which takes longer than a few rows do one by one.
        alone = isinstance(self._batch, Batch) and len(ids) <= FEW
        for rows in np.split(ids, len(ids)) if alone else [ids]:
            self._batch.forward(rows)
        self._obs[ids] = self._task.observe_reset(fields, ids)
        self._track[ids] = self._task.track(fields)[ids]

    def _check_health(self, obs: np.ndarray) -> None:
        """Raise where MuJoCo gave up on a simulation, or where an observation is not finite."""
        raised = self._batch.warning
        if np.count_nonzero(raised):  # a third of the time of raised.any()
            for kind, meaning in BROKEN.items():
                ids = np.flatnonzero(raised[:, int(kind)].any(axis=1))
                if len(ids):
                    raise SimulatorFault(self.spec.id, ids, f"{meaning} ({kind.name})")
        if not math.isfinite(np.add.reduce(obs, axis=None)):  # one call where isfinite().all() takes two
            ids = np.flatnonzero(~np.isfinite(obs).all(axis=1))
            if len(ids):  # else only their sum overflows
                raise SimulatorFault(self.spec.id, ids, "the observation is not finite")

    def state_dict(self) -> dict[str, np.ndarray]:
        return {
            "physics": self._batch.state.copy(),
            "track": self._track.copy(),
            "obs": self.obs,
            "elapsed": self.elapsed,
            "limit": self._clock.limit.copy(),
            "rng": saved.from_rng(self._rng),
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        num = self.num
        expected = {
            "physics": (np.float64, self._batch.state.shape),
            "track": (np.float64, self._track.shape),
            "obs": (np.float64, (num, self.spec.obs_dim)),
            "elapsed": (np.int64, (num,)),
            "limit": (np.int64, (num,)),
            "rng": (np.uint64, (saved.RNG_WORDS,)),
        }
        saved.check(self.spec.id, state, expected)
        self._clock.load(self.spec.id, state["elapsed"], state["limit"])
        self._batch.state[:] = state["physics"]
        self._track = state["track"].copy()
        self._obs = state["obs"].copy()
        saved.set_rng(self._rng, state["rng"])

    def close(self) -> None:
        if isinstance(self._batch, Pool):
            self._batch.close()
        self._batch = self._obs = None
