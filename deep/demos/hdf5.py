"""Arrays of an HDF5 file as data: hard links only, plain numbers, judged by what they declare before they are read.

An HDF5 file may name other files (external and soft links, external storage, virtual data sets), ask for a plugin to be
loaded (a filter), and declare any shape without storing it. None of that is followed. Runs in the child process of
deep.demos.quarantine, because the library itself does not stand every damaged file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deep.demos.format import DemoError
from deep.demos.limits import MAX_TEXT, Budget, Key, judge, words
from deep.demos.metadata import from_text, to_text

__all__ = ["child_group", "filling", "layout", "opened", "put", "put_metadata", "take", "take_all", "take_metadata"]

METADATA = "occmatch"  # the data set with the metadata, which other readers pass over
TEXT = Key("S", (0,), "one text of JSON", limit=1)
# deflate, shuffle, fletcher32, and the lzf of h5py: all built in, none of them expands beyond the shape of a chunk.
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, for reading."""
    with open(path, "rb") as file:
        head = file.read(8)
    if head != b"\x89HDF\r\n\x1a\n":
        raise DemoError(f"must be an HDF5 file, but {f'begins with {head!r}' if head else 'is empty'}")
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise DemoError(f"must be an HDF5 file, but is cut short or damaged ({words(error)})") from None
    with file:
        yield file


def layout(path: Path) -> str:
    """Which layout a file has, by the names at its root: hdf5 or trajs."""
    with opened(path) as file:
        names = set(file)
    if "obs_B_T_Do" in names:
        return "trajs"
    if "observations" in names:
        return "hdf5"
    if any(name.startswith("episode_") for name in names):
        raise DemoError("must be read with its folder's metadata.json: name the folder of the Minari data set")
    found = ascii(sorted(names)[:8])[:120]
    raise DemoError(f"must have observations (D4RL) or obs_B_T_Do (the GAIL authors') at its root, but has {found}")


def take(group: h5py.Group, name: str, key: Key, budget: Budget) -> np.ndarray | None:
    """The array `name` of a group; None where there is none and it is not required."""
    item = _item(group, name)
    if item is None:
        if key.required:
            found = ascii(sorted(group)[:8])[:120]
            raise DemoError(f"{name} must be there ({key.words}), but the file has {found}")
        return None
    if not isinstance(item, h5py.Dataset):
        raise DemoError(f"{name} must be {key.words}, but is a group (a Dict or Tuple space has no flat observations)")
    _check_storage(item, name, budget)
    dtype = item.dtype
    if dtype.hasobject or dtype.kind not in key.kinds:
        raise DemoError(f"{name} must be {key.words}, but has dtype {words(dtype)}")
    if item.shape is None:
        raise DemoError(f"{name} must be {key.words}, at least one, but is empty")
    judge(name, key, item.shape, dtype.kind, dtype.itemsize, budget)
    return np.asarray(item[()])


def take_all(group: h5py.Group, keys: Mapping[str, Key], budget: Budget) -> dict[str, np.ndarray]:
    """The arrays of a group that there are, each judged by its key."""
    found = {name: take(group, name, key, budget) for name, key in keys.items()}
    return {name: array for name, array in found.items() if array is not None}


def take_metadata(group: h5py.Group, budget: Budget) -> dict[str, Any] | None:
    """What `put_metadata` wrote; None in files of other programs."""
    text = take(group, METADATA, TEXT, budget)
    return None if text is None else from_text(bytes(text[()]))


def child_group(group: h5py.Group, name: str) -> h5py.Group:
    """The group of that name inside."""
    item = _item(group, name)
    if not isinstance(item, h5py.Group):
        raise DemoError(f"{name} must be a group, but is {'missing' if item is None else 'an array'}")
    return item


def _item(group: h5py.Group, name: str) -> Any:
    """What a hard link of that name leads to; None where there is no link."""
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise DemoError(f"{name} must lie in the file itself, but is a link ({type(link).__name__})")
    return group[name]


def _check_storage(item: h5py.Dataset, name: str, budget: Budget) -> None:
    """Refuse data outside the file, unknown filters, and chunks that are larger than the file may unpack to."""
    if item.is_virtual or item.external:
        raise DemoError(f"{name} must lie in the file itself, but is stored in another one")
    plist = item.id.get_create_plist()
    for i in range(plist.get_nfilters()):
        code = plist.get_filter(i)[0]
        if code not in FILTERS:
            raise DemoError(f"{name} must be stored plainly or with deflate, shuffle or lzf, but with filter {code}")
    if item.chunks is not None and int(np.prod(item.chunks, dtype=object)) * item.dtype.itemsize > budget.total:
        raise DemoError(f"{name} must have chunks within the {budget.total} bytes allowed, but has {list(item.chunks)}")


@contextmanager
def filling(path: Path, **settings: Any) -> Iterator[h5py.File]:
    """A new file to fill, in memory; written to `path` at the end, because HDF5 crashes the process on a full disk."""
    with h5py.File(path, "w", driver="core", backing_store=False, **settings) as file:
        yield file
        file.flush()
        content = file.id.get_file_image()
    path.write_bytes(content)


def put(group: h5py.Group, name: str, array: np.ndarray) -> None:
    """Write an array, compressed; the same array gives the same bytes."""
    group.create_dataset(name, data=array, compression="gzip", shuffle=True, track_times=False)


def put_metadata(group: h5py.Group, metadata: dict[str, Any]) -> None:
    """Write the metadata as one text."""
    group.create_dataset(METADATA, data=np.bytes_(to_text(metadata).encode()), track_times=False)


def attribute(file: h5py.File, name: str) -> Any:
    """A short attribute that holds JSON; None where there is none such."""
    try:
        text = file.attrs.get(name)
        return json.loads(text) if isinstance(text, str) and len(text) < MAX_TEXT // 16 else None
    except (ValueError, RecursionError, OSError, KeyError, TypeError, RuntimeError):
        return None
