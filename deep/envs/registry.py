"""Which Gymnasium ids run here: flat Box observations, flat Box or Discrete actions, and a time limit."""

from __future__ import annotations

import difflib

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec as EnvSpecOfGymnasium
from gymnasium.spaces import Box, Discrete

from deep.envs.base import EnvSpec

__all__ = ["describe", "horizon", "lookup"]


def lookup(env_id: str) -> EnvSpecOfGymnasium:
    """The registered task of that id; a ValueError that suggests close ids where there is none.

    An id never makes Gymnasium import a module ("module:Task-v0"): import it first, and its ids are known.
    """
    known = gymnasium.registry.get(env_id)
    if known is None:
        close = difflib.get_close_matches(str(env_id), list(gymnasium.registry), n=3)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise ValueError(f"env_id must be a registered Gymnasium id, but is {env_id!r}{hint}")
    return known


def horizon(env_id: str) -> int:
    """The number of steps after which Gymnasium truncates an episode."""
    limit = lookup(env_id).max_episode_steps
    if limit is None:
        raise ValueError(f"{env_id} must be registered with max_episode_steps, but has no time limit")
    return limit


def describe(env_id: str, env: gymnasium.Env) -> EnvSpec:
    """The EnvSpec of a made environment, or a ValueError that names the space which does not fit."""
    obs, act = env.observation_space, env.action_space
    if not isinstance(obs, Box) or len(obs.shape) != 1:
        raise ValueError(f"{env_id} must have a flat Box of observations, but has {obs}")
    limit = horizon(env_id)
    if isinstance(act, Discrete):
        return EnvSpec(env_id, obs.shape[0], True, int(act.n), None, None, limit, native=False)
    if not isinstance(act, Box) or len(act.shape) != 1 or act.dtype.kind != "f":
        raise ValueError(f"{env_id} must have Discrete actions or a flat Box of reals, but has {act}")
    low, high = act.low.astype(np.float64), act.high.astype(np.float64)
    return EnvSpec(env_id, obs.shape[0], False, act.shape[0], low, high, limit, native=False)
