"""The project's own file: an npz archive with the arrays of `Demos` under their names, and `metadata` as JSON text.

HumanCompatibleAI/imitation's older npz (before its data sets became folders) is read too: obs of all trajectories
one after another, each with one observation more than it has actions; acts, rews; `indices`, the pairs before each
trajectory but the first; and `infos`, a pickle, which is never opened. What the clock ended is told apart only there,
so that `terminated` stays unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np

from deep.demos.archive import member_names, read_arrays
from deep.demos.format import DemoError, Demos
from deep.demos.limits import Budget, Key
from deep.demos.metadata import from_text, to_text
from deep.demos.writing import replacing

__all__ = ["read", "read_own", "write"]

KEYS = {
    "obs": Key("fiu", (2,), "real numbers [N, O]", required=True),
    "acts": Key("fiu", (1, 2), "real numbers [N, U] or integers [N]", required=True),
    "lengths": Key("iu", (1,), "integers [E]", required=True),
    "rewards": Key("fiu", (1,), "real numbers [N]"),
    "terminated": Key("biu", (1,), "booleans [E]"),
    "time": Key("iu", (1,), "integers [N]"),
    "last_obs": Key("fiu", (2,), "real numbers [E, O]"),
    "metadata": Key("U", (0,), "one text of JSON", limit=1),
}

IMITATION = {
    "obs": Key("fiu", (2,), "real numbers [N + E, O]", required=True),
    "acts": Key("fiu", (1, 2), "real numbers [N, U] or integers [N]", required=True),
    "indices": Key("iuf", (1,), "integers [E - 1]", required=True, empty=True),  # one trajectory: no reals
    "terminal": Key("b", (1,), "booleans [E]", required=True),
    "rews": Key("fiu", (1,), "real numbers [N]"),
}


def read(path: Path) -> Demos:
    """Demonstrations from an npz file of either layout, told apart by its keys."""
    with open(path, "rb") as file:
        budget = Budget(path.stat().st_size)
        if "indices" in member_names(file):
            return _from_imitation(file, budget)
        return read_own(file, budget)


def read_own(file: IO[bytes], budget: Budget) -> Demos:
    """Demonstrations from an open npz file of the project's own layout."""
    arrays = read_arrays(file, KEYS, budget)
    text = arrays.pop("metadata", None)
    return Demos(**arrays, metadata={} if text is None else from_text(str(text[()])))


def write(path: Path, demos: Demos) -> None:
    """Write demonstrations as npz; equal demonstrations give equal bytes."""
    arrays = {name: getattr(demos, name) for name in KEYS if name != "metadata"}
    present = {name: array for name, array in arrays.items() if array is not None}
    text = to_text(demos.metadata)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **present, metadata=np.array(text))


def _from_imitation(file: IO[bytes], budget: Budget) -> Demos:
    arrays = read_arrays(file, IMITATION, budget, skipped=("infos",))
    obs, acts, indices, terminal = (arrays[name] for name in ("obs", "acts", "indices", "terminal"))
    if indices.size and indices.dtype.kind == "f":
        raise DemoError(f"indices must be integers [E - 1], but have dtype {indices.dtype}")
    lengths = np.diff(indices.astype(np.int64), prepend=0, append=len(acts))
    if lengths.min() < 1:
        raise DemoError("indices must rise from 1 to below the number of acts, but do not")
    if len(obs) != len(acts) + len(lengths):
        expected = f"{len(acts) + len(lengths)} rows, one more a trajectory than it has acts"
        raise DemoError(f"obs must have {expected}, but has shape {list(obs.shape)}")
    if len(terminal) != len(lengths):
        raise DemoError(f"terminal must have {len(lengths)} entries, but has shape {list(terminal.shape)}")
    last = np.cumsum(lengths + 1) - 1
    kept = np.ones(len(obs), dtype=bool)
    kept[last] = False
    ended = None if terminal.any() else terminal  # of a trajectory that did not end, the task did not end it either
    metadata = {"source": "imitation (npz)"}
    return Demos(obs[kept], acts, lengths, arrays.get("rews"), ended, metadata=metadata, last_obs=obs[last])
