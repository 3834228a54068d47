"""HDF5 in the layout of the GAIL authors' code (github.com/openai/imitation, scripts/vis_mj.py): padded trajectories.

    obs_B_T_Do [B, T, Do], a_B_T_Da [B, T, Da], r_B_T [B, T]    rows beyond a trajectory's length are padding
    len_B [B]                                                   its length

Integers a_B_T_Da with Da = 1 are discrete actions. The layout does not say what ended a trajectory, so that
`terminated` is unknown, unless the file is from here: then `terminated_B`, `time_B_T`, `last_obs_B_Do` and the text
`occmatch` are there too, which the authors' reader passes over.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deep.demos.d4rl import vectors
from deep.demos.format import DemoError, Demos
from deep.demos.hdf5 import attribute, filling, opened, put, put_metadata, take_all, take_metadata
from deep.demos.limits import TOTAL, Budget, Key
from deep.demos.writing import replacing

__all__ = ["read", "write"]

KEYS = {
    "obs_B_T_Do": Key("fiu", (3,), "real numbers [B, T, Do]", required=True),
    "a_B_T_Da": Key("fiu", (3,), "numbers [B, T, Da]", required=True),
    "len_B": Key("iu", (1,), "integers [B]", required=True),
    "r_B_T": Key("fiu", (2,), "real numbers [B, T]"),
    "terminated_B": Key("b", (1,), "booleans [B]"),
    "time_B_T": Key("iu", (2,), "integers [B, T]"),
    "last_obs_B_Do": Key("fiu", (2,), "real numbers [B, Do]"),
}


def read(path: Path) -> Demos:
    """Demonstrations from a file of this layout."""
    with opened(path) as file:
        budget = Budget(path.stat().st_size)
        arrays = take_all(file, KEYS, budget)
        metadata = take_metadata(file, budget)
        if metadata is None:
            metadata = {"source": "the GAIL authors' layout"}
            if (args := attribute(file, "args")) is not None:
                metadata["args"] = args
    shape, lengths = arrays["obs_B_T_Do"].shape[:2], arrays["len_B"]
    for name in ("a_B_T_Da", "r_B_T", "time_B_T"):
        if name in arrays and arrays[name].shape[:2] != shape:
            found = list(arrays[name].shape)
            raise DemoError(f"{name} must begin with {list(shape)}, as obs_B_T_Do does, but has shape {found}")
    if len(lengths) != shape[0]:
        raise DemoError(f"len_B must have {shape[0]} entries, one a trajectory, but has shape {list(lengths.shape)}")
    wrong = (lengths < 1) | (lengths > shape[1])
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DemoError(f"len_B[{at}] must be in 1..{shape[1]}, but is {lengths[at]}")
    kept = np.arange(shape[1]) < lengths[:, None]
    return Demos(
        arrays["obs_B_T_Do"][kept],
        vectors(arrays["a_B_T_Da"][kept]),
        lengths,
        arrays["r_B_T"][kept] if "r_B_T" in arrays else None,
        terminated=arrays.get("terminated_B"),
        time=arrays["time_B_T"][kept] if "time_B_T" in arrays else None,
        metadata=metadata,
        last_obs=arrays.get("last_obs_B_Do"),
    )


def write(path: Path, demos: Demos) -> None:
    """Write demonstrations in this layout, padded with zeros to the longest trajectory."""
    rows, width = np.repeat(np.arange(demos.episodes), demos.lengths), int(demos.lengths.max())
    if (total := demos.episodes * width * demos.obs.shape[1] * 8) > TOTAL:
        raise DemoError(f"must take at most {TOTAL} bytes once padded to the longest trajectory, but takes {total}")

    def padded(values: np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        out = np.zeros((demos.episodes, width, *values.shape[1:]), dtype=values.dtype)
        out[rows, demos.positions] = values
        return out

    with replacing(path) as temporary, filling(temporary) as file:
        for name, array in (
            ("obs_B_T_Do", padded(demos.obs)),
            ("a_B_T_Da", padded(demos.acts[:, None] if demos.discrete else demos.acts)),
            ("r_B_T", padded(demos.rewards)),
            ("len_B", demos.lengths),
            ("terminated_B", demos.terminated),
            ("time_B_T", padded(demos.time)),
            ("last_obs_B_Do", demos.last_obs),
        ):
            if array is not None:
                put(file, name, array)
        put_metadata(file, demos.metadata)
