"""Any other Gymnasium task, through Gymnasium's own vector API, with resets that never enter a batch.

The vector environment runs with autoreset disabled, so what `step` returns is always the true successor;
ended episodes are reset by mask afterwards. Every episode begins with a seed drawn here, so an environment
that is a function of its seed and actions is saved as seed and actions since, and restored by playing them
again: no pickle, and no knowledge of what the environment holds inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from deep.envs import registry, saved
from deep.envs.base import Simulator, SimulatorFault, Step
from deep.envs.clock import Clock
from deep.envs.failures import FAILURES, failing
from deep.envs.quiet import old_tasks

__all__ = ["GymSimulator"]

SEEDS = 2**31
"""Seeds are drawn below this bound, which every environment's seeding accepts."""


@contextmanager
def _making(env_id: str, *clear: type[Exception]) -> Iterator[None]:
    """Whatever a task raises while it is made becomes one line; what is of a `clear` kind is one already."""
    try:
        yield
    except clear:
        raise
    except FAILURES as error:  # not installed, or its own code fails
        reason = " ".join(str(error).split())
        raise ValueError(f"{env_id} must be installed, but cannot be made: {reason}") from error


class _Copy(gymnasium.Wrapper):
    """A task as the vector API may drive it: no options where none were given, and no infos, which it would stack."""

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        return self.env.reset(seed=seed, options=options or None)[0], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        return *self.env.step(action)[:4], {}


class GymSimulator(Simulator):
    """E copies of a Gymnasium environment, stepped one after another in this process."""

    def __init__(self, env_id: str, num: int, seed: int, stagger: bool = False) -> None:
        registry.lookup(env_id)
        with old_tasks():
            with _making(env_id):
                # Spaces are checked here, once; the passive checker would warn about them at every reset.
                first = gymnasium.make(env_id, disable_env_checker=True)
            try:
                with _making(env_id, ValueError):
                    self.spec = registry.describe(env_id, first)
                rest = [lambda: _Copy(gymnasium.make(env_id, disable_env_checker=True))] * (num - 1)
                makers = [lambda: _Copy(first), *rest]
                with _making(env_id):
                    self._envs = SyncVectorEnv(makers, copy=False, autoreset_mode=AutoresetMode.DISABLED)
            except ValueError:
                with suppress(*FAILURES):
                    first.close()
                raise
        self.num = num
        actions = self._envs.single_action_space
        self._action_start = int(actions.start) if isinstance(actions, Discrete) else 0
        self._number = registry.number(env_id, first)
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._clock = Clock(num, self.spec.horizon, stagger)
        self._seeds = np.zeros(num, dtype=np.int64)
        each, dtype = ((), np.int64) if self.spec.discrete else ((self.spec.act_dim,), np.float64)
        self._played = np.zeros((num, 0, *each), dtype=dtype)
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
        self._obs = np.zeros((self.num, self.spec.obs_dim))
        self._begin(np.ones(self.num, dtype=bool))
        return self._obs.copy()

    def step(self, actions: np.ndarray) -> Step:
        self.check_ready(self._obs)
        actions = self.check_actions(actions)
        self._reserve(int(self._clock.elapsed.max()) + 1)
        self._played[np.arange(self.num), self._clock.elapsed] = actions
        with failing(self.spec.id, "step"):
            raw, reward, terminated, truncated, _ = self._envs.step(self._given(actions))
        obs = raw.astype(np.float64)
        if not (np.isfinite(obs).all() and np.isfinite(reward).all()):
            ids = np.flatnonzero(~(np.isfinite(obs).all(axis=1) & np.isfinite(reward)))
            raise SimulatorFault(self.spec.id, ids, "the observation or the reward is not finite")
        truncated = truncated | self._clock.tick()
        self._obs = obs
        done = terminated | truncated
        if done.any():
            self._obs = obs.copy()
            self._clock.restart(np.flatnonzero(done))
            self._begin(done)
        return Step(self._obs, obs, reward, terminated, truncated)

    def _given(self, actions: np.ndarray) -> np.ndarray:
        """Actions in the task's kind of number, from its own first one."""
        return (actions + self._action_start).astype(self._number)

    def _reserve(self, steps: int) -> None:
        """Room for the actions of episodes of that length; time limits may be far beyond any that is played."""
        have = self._played.shape[1]
        if steps > have:
            more = min(max(steps, 2 * have, 64), self.spec.horizon) - have
            room = np.zeros((self.num, more, *self._played.shape[2:]), self._played.dtype)
            self._played = np.concatenate([self._played, room], 1)

    def _begin(self, mask: np.ndarray) -> None:
        """New episodes, from new seeds, for the simulators in `mask` [E]."""
        self._seeds[mask] = self._rng.integers(SEEDS, size=int(mask.sum()))
        with failing(self.spec.id, "reset"):
            raw, _ = self._envs.reset(seed=self._seeds.tolist(), options={"reset_mask": mask.copy()})
        bad = mask & ~np.isfinite(raw).all(axis=1)
        if bad.any():
            raise SimulatorFault(self.spec.id, np.flatnonzero(bad), "the observation after a reset is not finite")
        self._obs[mask] = raw[mask]

    def state_dict(self) -> dict[str, np.ndarray]:
        elapsed = self.elapsed
        played = self._played[:, : int(elapsed.max())].copy()
        played[np.arange(played.shape[1]) >= elapsed[:, None]] = 0  # of earlier episodes, which a resumed one forgot
        return {
            "obs": self.obs,
            "seeds": self._seeds.copy(),
            "played": played,
            "elapsed": elapsed,
            "limit": self._clock.limit.copy(),
            "rng": saved.from_rng(self._rng),
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """As promised, by replay: `elapsed` steps each; ValueError where it ends elsewhere than was saved."""
        id_, num = self.spec.id, self.num
        longest = int(np.max(state.get("elapsed", 0), initial=0))
        expected = {
            "obs": (np.float64, (num, self.spec.obs_dim)),
            "seeds": (np.int64, (num,)),
            "played": (self._played.dtype, (num, longest, *self._played.shape[2:])),
            "elapsed": (np.int64, (num,)),
            "limit": (np.int64, (num,)),
            "rng": (np.uint64, (saved.RNG_WORDS,)),
        }
        saved.check(id_, state, expected)
        saved.check_below(id_, "seeds", state["seeds"], SEEDS)
        if self.spec.discrete:
            saved.check_below(id_, "played", state["played"], self.spec.act_dim)
        self._clock.load(id_, state["elapsed"], state["limit"])
        self._obs = None  # not ready, should an environment fail in the replay
        with failing(id_, "replay"):
            raw, _ = self._envs.reset(seed=state["seeds"].tolist())
            obs = raw.astype(np.float64)
            for i, env in enumerate(self._envs.envs):
                for action in self._given(state["played"][i, : state["elapsed"][i]]):
                    obs[i] = np.asarray(env.step(action)[0], dtype=raw.dtype)  # as the vector API casts it
        if not np.array_equal(obs, state["obs"]):
            i = int(np.argmax((obs != state["obs"]).any(axis=1)))
            raise ValueError(f"{id_} must be a function of its seed and actions to resume, but simulator {i} is not")
        self._obs = obs
        self._seeds[:] = state["seeds"]
        self._reserve(longest)
        self._played[:, :longest] = state["played"]
        saved.set_rng(self._rng, state["rng"])

    def close(self) -> None:
        self._obs = None
        try:
            with failing(self.spec.id, "close"):
                self._envs.close()
        finally:
            self._envs.closed = True  # or Gymnasium tries again, with a traceback, when it is forgotten
