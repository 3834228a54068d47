"""Demonstrations in memory: state-action pairs of episodes, one episode after another.

    obs         [N, O]           observations, real
    acts        [N, U] or [N]    actions: real vectors, or integers from 0 for a discrete task
    lengths     [E]              pairs of each episode, at least 1; they add up to N
    rewards     [N], optional    true rewards: for reports, never for learning
    terminated  [E], optional    whether the task ended the episode (and not the clock)
    time        [N], optional    index of each pair in the episode it was recorded in; without it, 0, 1, 2, ...
    last_obs    [E, O], optional the observation after the last pair that was recorded of each episode

Actions are kept as the expert gave them, also beyond the bounds of the task: tasks that charge for the raw action
tell the difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from deep.envs import EnvSpec

__all__ = ["DemoError", "Demos", "check"]

Index = tuple[int, ...]


class DemoError(ValueError):
    """Demonstrations that break the format or do not fit the task; one line that says where and how."""


@dataclass(frozen=True, eq=False, repr=False)
class Demos:
    """E episodes with N pairs in all; the shapes are those of the module's table.

    Arrays are converted to float64 (`acts` of discrete tasks, `lengths` and `time` to int64, `terminated` to bool).
    `metadata` holds JSON values; `env` (Gymnasium id), `source`, `subsample`, `seed` and `versions` have a meaning.
    Where `subsample` is left out and `time` goes by one step k > 1 in all episodes, it is k.
    Raises DemoError, naming the key, the index, what was expected and what was found.
    """

    obs: np.ndarray
    acts: np.ndarray
    lengths: np.ndarray
    rewards: np.ndarray | None = None
    terminated: np.ndarray | None = None
    time: np.ndarray | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    last_obs: np.ndarray | None = None

    def __post_init__(self) -> None:
        obs = _reals("obs", self.obs, "[N, O]", 2)
        n = len(obs)
        acts = _acts(self.acts, n)
        lengths = _lengths(self.lengths, n)
        changed = {"obs": obs, "acts": acts, "lengths": lengths}
        if self.rewards is not None:
            changed["rewards"] = _rows("rewards", _reals("rewards", self.rewards, "[N]", 1), n, "row of obs")
        if self.terminated is not None:
            changed["terminated"] = _terminated(self.terminated, len(lengths))
        if self.time is not None:
            changed["time"] = _time(self.time, lengths)
        if self.last_obs is not None:
            changed["last_obs"] = _last_obs(self.last_obs, len(lengths), obs.shape[1])
        _check_metadata(self.metadata)
        if self.time is not None and "subsample" not in self.metadata:
            steps = _steps(changed["time"], lengths)
            if len(steps) == 1 and steps[0] > 1:
                changed["metadata"] = self.metadata | {"subsample": int(steps[0])}
        for name, value in changed.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        acts = "integers" if self.discrete else _shape(self.acts)
        return f"Demos(episodes={self.episodes}, obs={_shape(self.obs)}, acts={acts}, metadata={self.metadata})"

    @property
    def episodes(self) -> int:
        """The number of episodes E."""
        return len(self.lengths)

    @property
    def starts(self) -> np.ndarray:
        """The row at which each episode begins, [E]."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def discrete(self) -> bool:
        """Whether actions are integers."""
        return self.acts.ndim == 1

    @property
    def positions(self) -> np.ndarray:
        """The position of each pair among those of its episode, [N]."""
        return np.arange(len(self.obs)) - np.repeat(self.starts, self.lengths)

    @property
    def times(self) -> np.ndarray:
        """`time`, or `positions` where there is none, [N]."""
        return self.positions if self.time is None else self.time

    @property
    def uneven(self) -> bool:
        """Whether `time` leaves pairs out, but not by one step in all episodes, and metadata have no `subsample`."""
        if self.time is None or "subsample" in self.metadata:
            return False
        steps = _steps(self.time, self.lengths)
        return bool((steps > 1).any() or (len(steps) == 0 and self.time.any()))

    def episode(self, i: int) -> Demos:
        """Episode i alone, with the same metadata."""
        if not 0 <= i < self.episodes:
            raise IndexError(f"i must be in 0..{self.episodes - 1}, but is {i}")
        return self.select(np.array([i]))

    def select(self, episodes: np.ndarray) -> Demos:
        """The episodes of those indices, in that order."""
        lengths = self.lengths[episodes]
        first = np.cumsum(lengths) - lengths
        rows = np.arange(lengths.sum()) + np.repeat(self.starts[episodes] - first, lengths)
        rewards, time = (None if a is None else a[rows] for a in (self.rewards, self.time))
        ended, last = (None if a is None else a[episodes] for a in (self.terminated, self.last_obs))
        return Demos(self.obs[rows], self.acts[rows], lengths, rewards, ended, time, dict(self.metadata), last)

    def returns(self) -> np.ndarray | None:
        """Undiscounted return of each episode, [E]; None without rewards, or where pairs were left out."""
        if self.rewards is None or self.metadata.get("subsample", 1) != 1:
            return None
        if not np.array_equal(self.times, self.positions):
            return None
        return np.add.reduceat(self.rewards, self.starts)


def check(demos: Demos, spec: EnvSpec) -> None:
    """Raise DemoError unless the demonstrations fit the task: dimensions, kind and range of actions, and its name.

    The name is compared without its version, since tasks of equal dimensions (Walker2d, HalfCheetah) are confused
    without a trace otherwise.
    """
    env = demos.metadata.get("env")
    if isinstance(env, str) and _family(env) != _family(spec.id):
        raise DemoError(f"metadata must have env {spec.id}, but has {ascii(env)[:60]}")
    if demos.obs.shape[1] != spec.obs_dim:
        raise DemoError(f"obs must have shape [N, {spec.obs_dim}] for {spec.id}, but has {_shape(demos.obs)}")
    if not spec.discrete:
        if demos.discrete or demos.acts.shape[1] != spec.act_dim:
            kind = " of integers" if demos.discrete else ""
            found = f"{_shape(demos.acts)}{kind}"
            raise DemoError(f"acts must have shape [N, {spec.act_dim}] for {spec.id}, but has {found}")
        return
    if not demos.discrete:
        raise DemoError(f"acts must be integers [N] for {spec.id}, but have shape {_shape(demos.acts)}")
    at = _first(demos.acts >= spec.act_dim)
    if at is not None:
        found = demos.acts[at]
        less = f" (the task's own numbers less {spec.act_start}, its first)" if spec.act_start else ""
        raise DemoError(f"acts[{at[0]}] must be in 0..{spec.act_dim - 1} for {spec.id}{less}, but is {found}")


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(k, str) for k in metadata):
        raise DemoError(f"metadata must be a dict with text keys, but is {ascii(metadata)[:60]}")
    factor = metadata.get("subsample", 1)
    if type(factor) is not int or factor < 1:
        raise DemoError(f"metadata must have an integer subsample of at least 1, but has {ascii(factor)[:60]}")


def _acts(acts: Any, n: int) -> np.ndarray:
    acts = np.asarray(acts)
    if acts.ndim == 1:
        acts = _integers("acts", acts, "[N] (or reals [N, U])")
        return _rows("acts", acts, n, "row of obs")
    return _rows("acts", _reals("acts", acts, "[N, U] (or integers [N])", 2), n, "row of obs")


def _lengths(lengths: Any, n: int) -> np.ndarray:
    lengths = _integers("lengths", lengths, "[E]", least=1)
    at = _first(lengths > n)  # before the sum, which could wrap around
    if at is not None:
        raise DemoError(f"lengths[{at[0]}] must be at most {n}, the rows of obs, but is {lengths[at]}")
    if (total := int(lengths.sum())) != n:
        raise DemoError(f"lengths must add up to {n}, the rows of obs, but add up to {total}")
    return lengths


def _terminated(terminated: Any, episodes: int) -> np.ndarray:
    terminated = np.asarray(terminated)
    if terminated.dtype.kind != "b":
        terminated = _integers("terminated", terminated, "[E], true or false")
        at = _first(terminated > 1)
        if at is not None:
            raise DemoError(f"terminated[{at[0]}] must be true or false, but is {terminated[at]}")
    if terminated.ndim != 1:
        raise DemoError(f"terminated must be booleans [E], but have shape {_shape(terminated)}")
    return _rows("terminated", terminated.astype(bool), episodes, "entry of lengths")


def _last_obs(last: Any, episodes: int, width: int) -> np.ndarray:
    last = _rows("last_obs", _reals("last_obs", last, "[E, O]", 2), episodes, "entry of lengths")
    if last.shape[1] != width:
        raise DemoError(f"last_obs must have shape [E, {width}], as obs have, but has {_shape(last)}")
    return last


def _time(time: Any, lengths: np.ndarray) -> np.ndarray:
    time = _rows("time", _integers("time", time, "[N]"), int(lengths.sum()), "row of obs")
    stalls = np.diff(time, prepend=-1) <= 0
    stalls[np.cumsum(lengths)[:-1]] = False
    at = _first(stalls)
    if at is not None:
        i = at[0]
        raise DemoError(f"time[{i}] must be above {time[i - 1]}, its predecessor in the episode, but is {time[i]}")
    return time


def _steps(time: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The distinct differences between one pair and the next of its episode."""
    return np.unique(np.delete(np.diff(time), np.cumsum(lengths)[:-1] - 1))


def _reals(key: str, value: Any, shape: str, ndim: int) -> np.ndarray:
    """Finite float64 of `ndim` dimensions, none of them empty."""
    value = np.asarray(value)
    if value.dtype.kind not in "fiu":
        raise DemoError(f"{key} must be real numbers {shape}, but have dtype {value.dtype}")
    if value.ndim != ndim or value.size == 0:
        raise DemoError(f"{key} must be real numbers {shape}, at least one, but have shape {_shape(value)}")
    with np.errstate(over="ignore"):  # longer floats overflow to inf, which is reported
        value = np.ascontiguousarray(value, dtype=np.float64)
    at = _first(~np.isfinite(value))
    if at is not None:
        raise DemoError(f"{key}[{', '.join(map(str, at))}] must be finite, but is {value[at]}")
    return value


def _integers(key: str, value: Any, shape: str, least: int = 0) -> np.ndarray:
    """int64 of one dimension, not empty, none below `least`."""
    value = np.asarray(value)
    if value.dtype.kind not in "iu":
        raise DemoError(f"{key} must be integers {shape}, but have dtype {value.dtype}")
    if value.ndim != 1 or value.size == 0:
        raise DemoError(f"{key} must be integers {shape}, at least one, but have shape {_shape(value)}")
    most = np.iinfo(np.int64).max
    at = _first((value < least) | (value > most))
    if at is not None:
        bound = f"at least {least}" if value[at] < least else f"at most {most}"
        raise DemoError(f"{key}[{at[0]}] must be {bound}, but is {value[at]}")
    return np.ascontiguousarray(value, dtype=np.int64)


def _rows(key: str, value: np.ndarray, n: int, what: str) -> np.ndarray:
    if len(value) != n:
        raise DemoError(f"{key} must have {n} entries, one for each {what}, but has shape {_shape(value)}")
    return value


def _first(wrong: np.ndarray) -> Index | None:
    """The index of the first true entry."""
    if not wrong.any():
        return None
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))


def _shape(value: np.ndarray) -> str:
    return str(list(value.shape))


def _family(env_id: str) -> str:
    """The id without its version and the package before it: Hopper of Hopper-v4 and of my_tasks:Hopper-v4."""
    name = env_id.rpartition(":")[2]
    return name.rpartition("-v")[0] or name
