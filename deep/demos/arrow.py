"""Columns of Arrow files as arrays: nested lists of numbers, validated before a value is touched.

Runs in the child process of deep.demos.quarantine. Files are mapped, not read, so that uncompressed columns take no
memory beyond the arrays made of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from deep.demos.format import DemoError
from deep.demos.limits import Budget

__all__ = ["batches", "column", "flat", "lengths"]


def batches(path: Path, budget: Budget, stream: bool) -> Iterator[pa.RecordBatch]:
    """The record batches of an IPC stream or file, each validated in full and within the budget."""
    pa.set_cpu_count(1)
    with pa.memory_map(str(path), "r") as source:
        reader = pa.ipc.open_stream(source) if stream else pa.ipc.open_file(source)
        with reader:
            for batch in reader if stream else (reader.get_batch(i) for i in range(reader.num_record_batches)):
                batch.validate(full=True)
                budget.take("the file's columns", (batch.nbytes // 8,), 8)
                yield batch


def column(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column without gaps."""
    if name not in batch.schema.names:
        found = ascii(batch.schema.names[:8])[:120]
        raise DemoError(f"{name} must be there, but the columns are {found}")
    array = batch.column(name)
    if isinstance(array, pa.ExtensionArray):  # the fixed shapes of Hugging Face's Array2D are lists within
        array = array.storage
    if array.null_count:
        raise DemoError(f"{name} must have no gaps, but has {array.null_count}")
    return array


def lengths(name: str, array: pa.Array) -> np.ndarray:
    """The length of each list."""
    if not _listed(array.type):
        raise DemoError(f"{name} must be lists, but has type {str(array.type)[:60]!a}")
    return array.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)


def flat(name: str, array: pa.Array) -> np.ndarray:
    """The numbers of lists: [rows] of lists of numbers, [rows, width] of lists of lists of one width."""
    values = _inner(name, array)
    width = None
    if _listed(values.type):
        widths = lengths(name, values)
        if len(widths) == 0 or (widths != widths[0]).any():
            raise DemoError(f"{name} must have lists of one width, but they differ")
        width = int(widths[0])
        values = _inner(name, values)
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise DemoError(f"{name} must hold numbers, but holds type {str(values.type)[:60]!a}")
    out = values.to_numpy(zero_copy_only=False)
    return out if width is None else out.reshape(-1, width)


def _inner(name: str, array: pa.Array) -> pa.Array:
    lengths(name, array)  # says so where these are no lists
    values = array.flatten()
    if values.null_count:
        raise DemoError(f"{name} must have no gaps, but has {values.null_count}")
    return values


def _listed(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
