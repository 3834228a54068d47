"""Minari data sets (minari.farama.org): a folder data/ with metadata.json and the episodes.

    data/metadata.json     data_format, total_episodes, observation_space, env_spec, ... as JSON
    data/main_data.hdf5    a group episode_<i> each (data_format hdf5), or
    data/<i>/*.arrow       a folder each (data_format arrow), with one row more than the episode has steps

An episode has observations [T + 1, O], actions [T, U] or [T], rewards [T], terminations [T], truncations [T]. It ends
where a flag is set; `terminated` is terminations[T - 1]. Minari is not needed to read it, and env_spec, from which it
would import and build the environment, is only asked for its id.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deep.demos.format import DemoError, Demos
from deep.demos.limits import Budget, Key
from deep.demos.metadata import from_text, unwrap
from deep.demos.quarantine import size

__all__ = ["OWN", "read"]

OWN = "occmatch"  # the key of the metadata
DEMANDED = ("last_obs", "rewards", "terminated")  # by the layout; demonstrations may be without
KEPT = ("dataset_id", "algorithm_name", "author", "code_permalink", "minari_version")
KEYS = {
    "observations": Key("fiu", (2,), "real numbers [T + 1, O]", required=True),
    "actions": Key("fiu", (1, 2), "real numbers [T, U] or integers [T]", required=True),
    "rewards": Key("fiu", (1,), "real numbers [T]", required=True),
    "terminations": Key("b", (1,), "booleans [T]", required=True),
    "truncations": Key("b", (1,), "booleans [T]", required=True),
}
OURS = Key("iu", (1,), "integers [T + 1]")

Arrays = dict[str, np.ndarray]


def read(path: Path) -> Demos:
    """Demonstrations from the folder of a data set, or from the folder data/ in it."""
    folder = path / "data" if (path / "data").is_dir() else path
    record = _record(folder / "metadata.json")
    form = record.get("data_format", "hdf5")
    if form not in ("hdf5", "arrow"):
        raise DemoError(f"data_format must be hdf5 or arrow, but is {ascii(form)[:60]}")
    stored = record.get(OWN)
    own, unknown = unwrap(stored) if isinstance(stored, dict) else (None, set())
    budget = Budget(size(folder))
    episodes = _hdf5(folder, budget, own is not None) if form == "hdf5" else _arrow(folder, budget)
    parts = [_check(i, arrays) for i, arrays in enumerate(episodes)]
    if (total := record.get("total_episodes", len(parts))) != len(parts):
        raise DemoError(f"total_episodes must be the number of episodes, {len(parts)}, but is {ascii(total)[:60]}")
    if not parts:
        raise DemoError("must hold at least one episode, but holds none")
    widths = {(part["observations"].shape[1], part["actions"].shape[1:]) for part in parts}
    if len(widths) > 1:
        raise DemoError("episodes must have observations and actions of one width, but they differ")
    start = _start(record)
    timed = all("time" in part for part in parts)
    return Demos(
        np.concatenate([part["observations"][:-1] for part in parts]),
        np.concatenate([_counted(part["actions"], start) for part in parts]),
        np.array([len(part["actions"]) for part in parts]),
        None if "rewards" in unknown else np.concatenate([part["rewards"] for part in parts]),
        None if "terminated" in unknown else np.array([part["terminations"][-1] for part in parts]),
        np.concatenate([part["time"][:-1] for part in parts]) if timed else None,
        _metadata(record) if own is None else own,
        None if "last_obs" in unknown else np.stack([part["observations"][-1] for part in parts]),
    )


def _start(record: dict[str, Any]) -> int:
    """What the task calls its first action; 0 where the data set does not say."""
    space = record.get("action_space")
    try:
        start = from_text(space).get("start", 0) if isinstance(space, str) else 0
    except DemoError:
        return 0
    return start if type(start) is int and abs(start) < 2**31 else 0


def _counted(actions: np.ndarray, start: int) -> np.ndarray:
    """Discrete actions from 0; of any width and sign, which a start could leave."""
    return actions.astype(np.int64) - start if start and actions.ndim == 1 and actions.dtype.kind in "iu" else actions


def _check(i: int, arrays: Arrays) -> Arrays:
    """An episode whose arrays agree, and which goes on until its last step."""
    steps = len(arrays["actions"])
    for name, array in arrays.items():
        expected = steps + 1 if name in ("observations", "time") else steps
        if len(array) != expected:
            found = list(array.shape)
            raise DemoError(f"{name} of episode {i} must have {expected} entries for {steps} actions, but has {found}")
    for name in ("terminations", "truncations"):
        if (early := np.flatnonzero(arrays[name][:-1])).size:
            raise DemoError(f"{name}[{early[0]}] of episode {i} must be false before its last step, but is true")
    return arrays


def _hdf5(folder: Path, budget: Budget, own: bool) -> Iterator[Arrays]:
    """The arrays of each episode; of a file from here (`own`) also the time of its pairs."""
    from deep.demos.hdf5 import child_group, opened, take, take_all

    with opened(_inside(folder / "main_data.hdf5")) as file:
        for i in range(len(file)):
            group = child_group(file, f"episode_{i}")
            arrays = take_all(group, KEYS, budget)
            if own and "infos" in group:
                time = take(child_group(group, "infos"), "time", OURS, budget)
                arrays |= {} if time is None else {"time": time}
            yield arrays


def _arrow(folder: Path, budget: Budget) -> Iterator[Arrays]:
    from deep.demos.arrow import batches, column, flat

    numbers = [int(p.name) for p in folder.iterdir() if p.is_dir() and p.name.isascii() and p.name.isdecimal()]
    for number in sorted(numbers):
        files = sorted(p for p in (folder / str(number)).iterdir() if p.suffix == ".arrow")
        found = [batch for file in files for batch in batches(_inside(file), budget, stream=False)]
        if len(found) != 1 or found[0].num_rows < 2:
            raise DemoError(f"{number} must hold one episode of at least one step, but holds {len(found)} batches")
        batch, arrays = found[0], {}
        for name in KEYS:
            values = column(batch, name)
            nested = name == "observations" or (name == "actions" and "list" in str(values.type))
            # A list around the rows makes one reader do for both nestings.
            arrays[name] = flat(name, _wrapped(values)) if nested else values.to_numpy(zero_copy_only=False)
            arrays[name] = arrays[name] if name == "observations" else arrays[name][:-1]
        yield arrays


def _wrapped(values: Any) -> Any:
    import pyarrow as pa

    return pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)


def _inside(path: Path) -> Path:
    if path.is_symlink() or not path.is_file():
        raise DemoError(f"{path.name} must be a file of the data set's own folder, but is none")
    return path


def _record(path: Path) -> dict[str, Any]:
    if _inside(path).stat().st_size > 2**24:
        raise DemoError(f"{path.name} must have at most {2**24} bytes, but has {path.stat().st_size}")
    return from_text(path.read_bytes(), path.name)


def _metadata(record: dict[str, Any]) -> dict[str, Any]:
    """Where the data came from; env_spec is text that holds JSON once more."""
    found: dict[str, Any] = {"source": "Minari"}
    spec = record.get("env_spec")
    if isinstance(spec, str):
        try:
            env = from_text(spec).get("id")
        except DemoError:
            env = None
        if isinstance(env, str) and len(env) < 200:
            found["env"] = env
    found["minari"] = {name: record[name] for name in KEPT if isinstance(record.get(name), str | list)}
    return found
