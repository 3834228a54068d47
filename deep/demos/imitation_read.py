"""Folders as HumanCompatibleAI/imitation saves trajectories: a Hugging Face data set, one row a trajectory.

    obs       list of T + 1 observations     the last one follows the last action
    acts      list of T actions              vectors, or integers
    rews      list of T rewards, optional
    infos     list of T texts                jsonpickle; read here as JSON, never as objects
    terminal  true or false                  whether the trajectory is an episode's end, whatever ended it

`terminal` is set by termination and by the clock alike, since imitation knows only Stable-Baselines3's `dones`
(imitation.data.types.Trajectory; rollout.generate_trajectories). What tells them apart is TimeLimit.truncated in the
last info, where infos were kept: `terminated` is known only if every trajectory says so, or did not end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from deep.demos.arrow import batches, column, flat, lengths
from deep.demos.format import DemoError, Demos
from deep.demos.limits import Budget, words
from deep.demos.metadata import from_text
from deep.demos.quarantine import size

__all__ = ["MARK", "TRUNCATED", "read"]

MARK = "occmatch "  # begins a description that holds metadata
TRUNCATED = "TimeLimit.truncated"


def read(path: Path) -> Demos:
    """Demonstrations from a folder of this layout."""
    budget = Budget(size(path))
    metadata = _metadata(path)
    own = metadata is not None
    parts = [_batch(batch, own) for file in _files(path) for batch in batches(file, budget, stream=True)]
    parts = [part for part in parts if part is not None]
    if not parts:
        raise DemoError("must hold at least one trajectory, but holds none")
    joined = {name: _join(name, [part[name] for part in parts]) for name in parts[0]}
    return Demos(**joined, metadata={"source": "imitation (datasets)"} if metadata is None else metadata)


def _batch(batch: pa.RecordBatch, own: bool) -> dict[str, np.ndarray | None] | None:
    """The arrays of `Demos` for some of the trajectories."""
    if batch.num_rows == 0:
        return None
    obs, acts, infos, terminal = (column(batch, name) for name in ("obs", "acts", "infos", "terminal"))
    steps = lengths("acts", acts)
    _match("obs", lengths("obs", obs), steps + 1)
    _match("infos", lengths("infos", infos), steps)
    rewards = column(batch, "rews") if "rews" in batch.schema.names else None
    if rewards is not None:
        _match("rews", lengths("rews", rewards), steps)
    if not pa.types.is_boolean(terminal.type):
        raise DemoError(f"terminal must be booleans, but has type {str(terminal.type)[:60]!a}")
    rows = flat("obs", obs)
    last = np.cumsum(steps + 1) - 1
    kept = np.ones(len(rows), dtype=bool)
    kept[last] = False
    said = infos.flatten()
    ended = _terminated(terminal.to_numpy(zero_copy_only=False), said, steps)
    return {
        "obs": rows[kept],
        "acts": flat("acts", acts),
        "lengths": steps,
        "rewards": None if rewards is None else flat("rews", rewards),
        "terminated": ended,
        "time": _time(said) if own else None,
        "last_obs": rows[last] if not own or _info(said, 0).get("last_obs", True) else None,
    }


def _terminated(terminal: np.ndarray, infos: pa.Array, steps: np.ndarray) -> np.ndarray | None:
    found = np.zeros(len(steps), dtype=bool)
    for i, at in enumerate(np.cumsum(steps) - 1):
        if terminal[i]:
            truncated = _info(infos, int(at)).get(TRUNCATED)
            if not isinstance(truncated, bool):
                return None
            found[i] = not truncated
    return found


def _time(infos: pa.Array) -> np.ndarray | None:
    """The time of each pair, where the file is from here and pairs were left out."""
    if "time" not in _info(infos, 0):
        return None
    return np.array([_info(infos, i).get("time") for i in range(len(infos))])


def _info(infos: pa.Array, i: int) -> dict[str, Any]:
    try:
        info = json.loads(infos[i].as_py() or "null")
    except (ValueError, RecursionError, TypeError):
        return {}
    return info if isinstance(info, dict) else {}


def _match(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    wrong = found != expected
    if wrong.any():
        i = int(np.argmax(wrong))
        raise DemoError(f"{name}[{i}] must have {expected[i]} entries, for its {name} of acts, but has {found[i]}")


def _join(name: str, parts: list[np.ndarray | None]) -> np.ndarray | None:
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        return None
    if len({part.shape[1:] for part in found}) > 1:
        raise DemoError(f"{name} must have one width, but they differ")
    return np.concatenate(found)


def _files(path: Path) -> list[Path]:
    """The Arrow files that state.json names, each a plain file of the folder itself."""
    state = from_text(_text(path / "state.json"), "state.json")
    entries = state.get("_data_files")
    names = [e.get("filename") if isinstance(e, dict) else None for e in entries] if isinstance(entries, list) else []
    if not names:
        raise DemoError("state.json must name its _data_files, but does not")
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or name.startswith(".") or "\0" in name:
            raise DemoError(f"state.json must name files in its own folder, but names {ascii(name)[:60]}")
        if (path / name).is_symlink() or not (path / name).is_file():
            raise DemoError(f"{words(name)} must be a file of the folder itself, but is none")
    return [path / name for name in names]


def _metadata(path: Path) -> dict[str, Any] | None:
    """What was kept in the description; None in folders of other programs."""
    if not (path / "dataset_info.json").exists():
        return None
    description = from_text(_text(path / "dataset_info.json"), "dataset_info.json").get("description")
    if not isinstance(description, str) or not description.startswith(MARK):
        return None
    return from_text(description.removeprefix(MARK))


def _text(path: Path) -> bytes:
    """A small file of text; features and fingerprints take a few kilobytes."""
    if path.is_symlink() or not path.is_file():
        raise DemoError(f"{path.name} must be a file of the folder itself, but is none")
    if path.stat().st_size > 2**24:
        raise DemoError(f"{path.name} must have at most {2**24} bytes, but has {path.stat().st_size}")
    return path.read_bytes()
