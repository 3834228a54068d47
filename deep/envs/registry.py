"""Which Gymnasium ids run here: flat Box observations, flat Box or Discrete actions, and a time limit.

An id may name the package that registers it, "package:Task-v0", as in Gymnasium: the package is imported first.
"""

from __future__ import annotations

import difflib
import importlib
import re

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec as EnvSpecOfGymnasium
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.wrappers import ClipAction, TimeLimit

from deep.envs.base import EnvSpec
from deep.envs.failures import FAILURES, one_line

__all__ = ["as_shipped", "describe", "horizon", "lookup", "number", "resolve"]

SHOWN = 120  # characters of a space in a message


def resolve(env_id: str) -> str:
    """The id without the package before its colon, which is imported; ValueError where it cannot be."""
    package, colon, name = str(env_id).rpartition(":")
    if not colon:
        return env_id
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", package):
        raise ValueError(f"env must name a Python package before its colon, but is {env_id!r}")
    try:
        importlib.import_module(package)
    except FAILURES as error:
        reason = one_line(error)
        raise ValueError(f"{env_id} must name a package that can be imported, but {package} fails: {reason}") from error
    return name


def lookup(env_id: str) -> EnvSpecOfGymnasium:
    """The registered task of that id; a ValueError that suggests close ids where there is none."""
    known = gymnasium.registry.get(env_id)
    if known is None:
        close = difflib.get_close_matches(str(env_id), list(gymnasium.registry), n=3)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise ValueError(f"env must be a registered Gymnasium id, but is {env_id!r}{hint}")
    return known


def as_shipped(env_id: str) -> bool:
    """Whether an id still means the MuJoCo task that Gymnasium registers, and nothing that a package put there."""
    known = lookup(env_id)
    ours = str(known.entry_point).startswith("gymnasium.envs.mujoco.")
    return ours and not known.kwargs and not known.additional_wrappers


def number(env_id: str, env: gymnasium.Env) -> np.dtype:
    """The kind of number in which a task gets its actions: that of its space, which would contain no other, but doubles
    for the MuJoCo tasks that Gymnasium ships, which do not ask.
    """
    return np.dtype(np.float64) if as_shipped(resolve(env_id)) else np.dtype(env.action_space.dtype)


def horizon(env_id: str, env: gymnasium.Env | None = None) -> int:
    """The number of steps after which an episode is truncated: the least of the registered limit and of those that the
    made environment wraps itself in. Raises ValueError where there is none."""
    limits = [lookup(env_id).max_episode_steps]
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, TimeLimit):
            limits.append(env._max_episode_steps)
        env = env.env
    known = [limit for limit in limits if limit is not None]
    if not known:
        raise ValueError(
            f"{env_id} must be registered with max_episode_steps or wrapped in a TimeLimit, but has no time limit"
        )
    return int(min(known))


def describe(env_id: str, env: gymnasium.Env) -> EnvSpec:
    """The EnvSpec of a made environment, or a ValueError that names the space which does not fit."""
    obs, act = env.observation_space, env.action_space
    if not isinstance(obs, Box) or len(obs.shape) != 1:
        hint = ""
        if isinstance(obs, Box) and len(obs.shape) == 3:
            hint = " (images need a net that this project does not have)"
        elif isinstance(obs, Box | Dict | Discrete | MultiBinary | MultiDiscrete | Tuple):
            hint = " (gymnasium.wrappers.FlattenObservation makes one of it)"
        raise ValueError(f"{env_id} must have a flat Box of observations, but has {_brief(obs)}{hint}")
    limit = horizon(env_id, env)
    if isinstance(act, Discrete):
        number, start = int(act.n), int(act.start)
        return EnvSpec(
            env_id, obs.shape[0], True, number, None, None, limit, False, act_start=start, act_dtype=str(act.dtype)
        )
    if not isinstance(act, Box) or len(act.shape) != 1 or act.dtype.kind != "f":
        raise ValueError(f"{env_id} must have Discrete actions or a flat Box of reals, but has {_brief(act)}")
    box = _clipped_to(env)
    low, high = box.low.astype(np.float64), box.high.astype(np.float64)
    return EnvSpec(env_id, obs.shape[0], False, act.shape[0], low, high, limit, False, act_dtype=str(act.dtype))


def _clipped_to(env: gymnasium.Env) -> Box:
    """The box of actions that make a difference: what a ClipAction clips to, whose own space knows no bounds."""
    layer = env
    while isinstance(layer, gymnasium.Wrapper) and layer.action_space == env.action_space:
        if isinstance(layer, ClipAction):
            return layer.env.action_space
        layer = layer.env
    return env.action_space


def _brief(space: gymnasium.Space) -> str:
    """A space on one line of bounded length."""
    text = " ".join(str(space).split())
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
