"""HDF5 in D4RL's layout: the steps of all episodes one after another (Fu et al. 2020, arXiv 2004.07219).

    observations [N, O], actions [N, U], rewards [N]
    terminals [N]    the task ended the episode at this step
    timeouts [N]     the clock ended it, or the recording did

An episode ends where either flag is set; `terminated` is the first of them at its last step. Steps after the last flag
are an episode that the recording cut off. What the layout lacks is kept beside it, where its readers pass over it:
`infos/time` [N], `infos/last_obs` [E, O], and one text, `occmatch`: the metadata, and whether the ends are unknown.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deep.demos.format import DemoError, Demos
from deep.demos.hdf5 import child_group, filling, opened, put, put_metadata, take_all, take_metadata
from deep.demos.limits import Budget, Key
from deep.demos.metadata import unwrap, wrap
from deep.demos.writing import replacing

__all__ = ["read", "write"]

KEYS = {
    "observations": Key("fiu", (2,), "real numbers [N, O]", required=True),
    "actions": Key("fiu", (1, 2), "real numbers [N, U] or integers [N]", required=True),
    "terminals": Key("biuf", (1, 2), "booleans [N]", required=True),
    "timeouts": Key(
        "biuf", (1, 2), "booleans [N]; without them episodes that the clock ended run into one another", required=True
    ),
    "rewards": Key("fiu", (1, 2), "real numbers [N]"),
}
OURS = {"time": Key("iu", (1,), "integers [N]"), "last_obs": Key("fiu", (2,), "real numbers [E, O]")}


def read(path: Path) -> Demos:
    """Demonstrations from a file of this layout."""
    with opened(path) as file:
        budget = Budget(path.stat().st_size)
        arrays = take_all(file, KEYS, budget)
        metadata = take_metadata(file, budget)
        ours = {} if metadata is None or "infos" not in file else take_all(child_group(file, "infos"), OURS, budget)
    obs = arrays["observations"]
    n = len(obs)
    terminals, timeouts = (flags(name, arrays[name], n) for name in ("terminals", "timeouts"))
    ends = terminals | timeouts
    ends[-1] = True
    last = np.flatnonzero(ends)
    rewards = arrays.get("rewards")
    known, unknown = ({"source": "HDF5 in D4RL's layout"}, set()) if metadata is None else unwrap(metadata)
    return Demos(
        obs,
        vectors(arrays["actions"]),
        np.diff(last, prepend=-1),
        None if rewards is None else column("rewards", rewards, n),
        None if "terminated" in unknown else terminals[last],
        metadata=known,
        **ours,
    )


def write(path: Path, demos: Demos) -> None:
    """Write demonstrations in this layout; without `terminated`, every episode is said to have timed out."""
    last = np.cumsum(demos.lengths) - 1
    ends = np.zeros((2, len(demos.obs)), dtype=bool)
    ended = np.zeros(demos.episodes, dtype=bool) if demos.terminated is None else demos.terminated
    ends[0, last], ends[1, last] = ended, ~ended
    with replacing(path) as temporary, filling(temporary) as file:
        for name, array in (
            ("observations", demos.obs),
            ("actions", demos.acts),
            ("rewards", demos.rewards),
            ("terminals", ends[0]),
            ("timeouts", ends[1]),
            ("infos/time", demos.time),
            ("infos/last_obs", demos.last_obs),
        ):
            if array is not None:
                put(file, name, array)
        put_metadata(file, wrap(demos.metadata, ["terminated"] if demos.terminated is None else []))


def vectors(acts: np.ndarray) -> np.ndarray:
    """Actions as Demos has them: integers [N], or reals [N, U] also where U = 1 was squeezed."""
    if acts.ndim == 2 and acts.shape[1] == 1 and acts.dtype.kind in "iu":
        return acts[:, 0]
    return acts[:, None] if acts.ndim == 1 and acts.dtype.kind == "f" else acts


def column(name: str, values: np.ndarray, n: int) -> np.ndarray:
    """[N] of [N] or [N, 1]."""
    if values.shape not in ((n,), (n, 1)):
        raise DemoError(f"{name} must have {n} entries, one for each observation, but has shape {list(values.shape)}")
    return values.reshape(n)


def flags(name: str, values: np.ndarray, n: int) -> np.ndarray:
    """Booleans of whatever numbers 0 and 1 were written as."""
    values = column(name, values, n)
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DemoError(f"{name}[{at}] must be true or false, but is {values[at]}")
    return values.astype(bool)
