"""Writing Minari data sets, which Minari itself loads; the layout is in minari_read.

The folder's name is the end of the data set's id and has a version: <name>-v<number>. An observation after the last
action is part of every episode; where the demonstrations do not have it, the last one is repeated. That, and whether
rewards and terminations are known, is said beside the metadata, in metadata.json under `occmatch`; the time of pairs
is in infos/time.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from deep.demos.format import DemoError, Demos
from deep.demos.hdf5 import filling
from deep.demos.imitation_write import with_last
from deep.demos.metadata import to_text, wrap
from deep.demos.minari_path import datasets_root
from deep.demos.minari_read import DEMANDED, OWN
from deep.demos.writing import new_folder

if TYPE_CHECKING:
    from deep.envs import EnvSpec

__all__ = ["check_name", "write"]

VERSION = "0.5.4"  # of Minari, whose layout this is


def write(path: Path, demos: Demos) -> None:
    """Write demonstrations as a new data set: the folder `path`."""
    check_name(path)
    own = wrap(demos.metadata, [name for name in DEMANDED if getattr(demos, name) is None])
    to_text(own)  # metadata without a JSON form stop here, before anything is written
    known = _known(demos.metadata.get("env"))
    record = {
        "total_episodes": demos.episodes,
        "total_steps": len(demos.obs),
        "data_format": "hdf5",
        "jpeg_encoding": True,
        **_task(demos, known),
        "dataset_id": _id(path),
        "minari_version": VERSION,
        "algorithm_name": str(demos.metadata.get("source", "unknown")),
        OWN: own,
    }
    with new_folder(path) as folder:
        (folder / "data").mkdir()
        with filling(folder / "data" / "main_data.hdf5", track_order=True) as file:
            _episodes(file, demos, known[1].act_start if known else 0)
        record["dataset_size"] = round((folder / "data" / "main_data.hdf5").stat().st_size / 1e6, 1)
        (folder / "data" / "metadata.json").write_text(json.dumps(record))


def check_name(path: Path) -> None:
    """DemoError unless the folder's name is the end of an id."""
    if not re.fullmatch(r"[-\w]+-v\d+", path.name):
        raise DemoError(f"the folder's name must be <name>-v<number>, as Minari's ids are, but is {path.name!a}")


def _episodes(file: h5py.File, demos: Demos, start: int) -> None:
    obs = np.split(with_last(demos), np.cumsum(demos.lengths + 1)[:-1])
    ended = np.zeros(demos.episodes, dtype=bool) if demos.terminated is None else demos.terminated
    for i, first in enumerate(demos.starts):
        rows = slice(first, first + demos.lengths[i])
        group = file.create_group(f"episode_{i}")
        group.attrs["id"], group.attrs["total_steps"] = i, demos.lengths[i]
        flag = np.zeros(demos.lengths[i], dtype=bool)
        flag[-1] = True
        arrays: dict[str, Any] = {
            "observations": obs[i],
            "actions": demos.acts[rows] + start if demos.discrete else demos.acts[rows],
            "rewards": np.zeros(demos.lengths[i]) if demos.rewards is None else demos.rewards[rows],
            "terminations": flag & ended[i],
            "truncations": flag & ~ended[i],
        }
        if demos.time is not None:
            arrays["infos/time"] = np.append(demos.time[rows], demos.time[rows][-1] + 1)
        for name, array in arrays.items():
            group.create_dataset(name, data=array, track_times=False)


def _task(demos: Demos, known: tuple[str | None, EnvSpec] | None) -> dict[str, str]:
    """The spaces, and env_spec, as Minari writes them; unbounded, and without it, where the task is not known here."""
    width = demos.obs.shape[1]
    obs = _box(np.full(width, -np.inf), np.full(width, np.inf))
    if demos.discrete:
        n = int(demos.acts.max()) + 1 if known is None else max(known[1].act_dim, int(demos.acts.max()) + 1)
        act: dict[str, Any] = {
            "type": "Discrete",
            "dtype": "int64",
            "start": known[1].act_start if known else 0,
            "n": n,
        }
    elif known is None or known[1].act_low is None or known[1].act_dim != demos.acts.shape[1]:
        act = _box(np.full(demos.acts.shape[1], -np.inf), np.full(demos.acts.shape[1], np.inf))
    else:
        act = _box(known[1].act_low, known[1].act_high)
    found = {"observation_space": json.dumps(obs), "action_space": json.dumps(act)}
    return found if known is None or known[0] is None else found | {"env_spec": known[0]}


def _known(env_id: object) -> tuple[str | None, EnvSpec] | None:
    """A registered task, as Gymnasium's own text, where it has one, and as EnvSpec."""
    if not isinstance(env_id, str):
        return None
    package, _, name = env_id.rpartition(":")
    if package and package not in sys.modules:  # a name in a file imports no module
        return None
    from deep.envs import make  # MuJoCo and Gymnasium take a second to import
    from deep.envs.registry import lookup

    try:
        simulator = make(name, 1, 0)
    except (ValueError, TypeError):
        return None
    simulator.close()
    try:
        return lookup(name).to_json(), simulator.spec
    except (ValueError, TypeError):  # made by a function of this process
        return None, simulator.spec


def _box(low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    return {"type": "Box", "dtype": "float64", "shape": [len(low)], "low": low.tolist(), "high": high.tolist()}


def _id(path: Path) -> str:
    """The path below the folder of local data sets, or the folder's name."""
    path, root = path.resolve(), datasets_root().resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
