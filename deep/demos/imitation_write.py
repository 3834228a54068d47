"""Writing folders that HumanCompatibleAI/imitation and Hugging Face's `datasets` load; the layout is in imitation_read.

`obs` needs an observation after the last action. Where the demonstrations do not have it, the last one is repeated,
and the first info says so. `terminal` is set for every trajectory, and TimeLimit.truncated in its last info. The time
of pairs is in each info where pairs were left out, and the metadata in the description of dataset_info.json.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from deep.demos.format import DemoError, Demos
from deep.demos.imitation_read import MARK, TRUNCATED
from deep.demos.metadata import to_text
from deep.demos.writing import new_folder

__all__ = ["write"]

FILE = "data-00000-of-00001.arrow"
MOST = 2**31 - 1  # entries of a list column, whose offsets are 32 bits wide


def write(path: Path, demos: Demos) -> None:
    """Write demonstrations as a new folder."""
    if (demos.lengths.sum() + demos.episodes) * demos.obs.shape[1] > MOST:
        raise DemoError(f"must have at most {MOST} numbers in its observations, but has {demos.obs.size}")
    columns = {"obs": _observations(demos), "acts": _lists(demos.acts, demos.lengths)}
    columns["infos"] = _nested(pa.array(_infos(demos)), demos.lengths)
    columns["terminal"] = pa.array(np.ones(demos.episodes, dtype=bool))
    if demos.rewards is not None:
        columns["rews"] = _lists(demos.rewards, demos.lengths)
    features = {name: _feature(array.type) for name, array in columns.items()}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    description = MARK + to_text(demos.metadata)
    with new_folder(path) as folder:
        with pa.OSFile(str(folder / FILE), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
            out.write_table(table)
        _json(
            folder / "dataset_info.json",
            {"citation": "", "description": description, "features": features, "homepage": "", "license": ""},
        )
        fingerprint = hashlib.sha256((folder / FILE).read_bytes()).hexdigest()[:16]
        _json(
            folder / "state.json",
            {
                "_data_files": [{"filename": FILE}],
                "_fingerprint": fingerprint,
                "_format_columns": None,
                "_format_kwargs": {},
                "_format_type": None,
                "_output_all_columns": False,
                "_split": None,
            },
        )


def with_last(demos: Demos) -> np.ndarray:
    """Observations with one more for each episode, [N + E, O]."""
    last = np.cumsum(demos.lengths)
    return np.insert(demos.obs, last, demos.obs[last - 1] if demos.last_obs is None else demos.last_obs, axis=0)


def _observations(demos: Demos) -> pa.Array:
    return _lists(with_last(demos), demos.lengths + 1)


def _infos(demos: Demos) -> list[str]:
    infos: list[dict[str, Any]] = [{} for _ in range(len(demos.obs))]
    if demos.time is not None:
        for info, time in zip(infos, demos.time.tolist(), strict=True):
            info["time"] = time
    if demos.terminated is not None:
        for at, ended in zip(np.cumsum(demos.lengths) - 1, demos.terminated.tolist(), strict=True):
            infos[at][TRUNCATED] = not ended
    if demos.last_obs is None:
        infos[0]["last_obs"] = False
    return [json.dumps(info) for info in infos]


def _lists(values: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """Rows [N] or [N, D] as one list an episode, of numbers or of lists of numbers."""
    inner = pa.array(values.reshape(-1))
    if values.ndim == 2:
        inner = _nested(inner, np.full(len(values), values.shape[1]))
    return _nested(inner, lengths)


def _nested(values: pa.Array, lengths: np.ndarray) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """The description of a type in the words of `datasets`; Sequence is what its older versions know too."""
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def _json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
