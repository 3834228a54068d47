"""Arrays of an npz archive as data: nothing is unpickled, nothing is written to disk, nothing is inflated unjudged.

Members are looked up by name among the keys that the caller knows, so that a name cannot be a path to anywhere. Each
array's header is read and judged before a byte of its data: kind of numbers, dimensions, and the size that they imply
against the size that the archive declares. With the declared size exact, reading ends where zipfile compares the
checksum, and inflating never goes beyond it.
"""

from __future__ import annotations

import errno
import io
import math
import warnings
import zipfile
from collections.abc import Collection, Mapping
from typing import IO

import numpy as np
from numpy.lib import format as npy

from deep.demos.format import DemoError
from deep.demos.limits import Budget, Key, judge, words

__all__ = ["read_arrays"]

MAX_HEADER = 10_000  # bytes; NumPy's own limit, which it applies after reading


def read_arrays(
    file: IO[bytes], keys: Mapping[str, Key], budget: Budget, skipped: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """The arrays of an archive, each judged by its key; members in `skipped` are never opened.

    Raises DemoError for anything that is not an archive of such arrays, OSError where reading itself fails.
    """
    _check_head(file.read(6))
    try:
        archive = zipfile.ZipFile(file)
    except Exception as error:  # on damaged bytes zipfile and NumPy raise whatever their parsers run into
        if _of_the_disk(error):
            raise
        raise DemoError(f"must be an npz file, but is cut short or damaged ({words(error)})") from None
    with archive:
        members = _members(archive, keys, skipped)
        return {name: _array(archive, member, name, keys[name], budget) for name, member in members.items()}


def _of_the_disk(error: Exception) -> bool:
    """Whether reading failed, and not the file's own offsets (seeking to one below zero is an OSError too)."""
    return isinstance(error, OSError) and error.errno != errno.EINVAL


def member_names(file: IO[bytes]) -> set[str]:
    """The names of an archive's arrays; none where it cannot be read."""
    try:
        with zipfile.ZipFile(file) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except Exception:  # as above; the reader that comes next says what is wrong
        return set()
    finally:
        file.seek(0)


def _check_head(head: bytes) -> None:
    """Name the usual mistakes by their first bytes."""
    if head[:4] == b"PK\x03\x04":
        return
    if head == b"":
        found = "is empty"
    elif head == b"\x93NUMPY":
        found = "is a single array (npy)"
    elif head[:1] == b"\x80":
        found = "looks like a pickle, which is never read"
    elif head[:4] == b"\x89HDF":
        found = "is HDF5"
    elif head[:4] == b"PK\x05\x06":
        found = "is an archive with nothing in it"
    else:
        found = f"begins with {head!r}"
    raise DemoError(f"must be an npz file, but {found}")


def _members(archive: zipfile.ZipFile, keys: Mapping[str, Key], skipped: Collection[str]) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in skipped:
            continue
        if name not in keys or name == member.filename:
            raise DemoError(f"keys must be among {', '.join(keys)}, but there is {ascii(name)[:60]}")
        if member.header_offset < 0:  # where the archive's end was moved; seeking there is an OSError
            raise DemoError(f"{name} must be an intact array, but is cut short or damaged (it lies before the file)")
        if name in members:
            raise DemoError(f"{name} must occur once, but occurs again")
        members[name] = member
    for name, key in keys.items():
        if key.required and name not in members:
            found = ", ".join(members) or "nothing"
            raise DemoError(f"{name} must be there ({key.words}), but the file has {found}")
    return {name: members[name] for name in keys if name in members}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, key: Key, budget: Budget) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on headers that Python 2 wrote
            with archive.open(member) as stream:
                _check_header(stream, member.file_size, name, key, budget)
            with archive.open(member) as stream:
                return npy.read_array(stream, allow_pickle=False)
    except DemoError:
        raise
    except Exception as error:  # as above
        if _of_the_disk(error):
            raise
        raise DemoError(f"{name} must be an intact array, but is cut short or damaged ({words(error)})") from None


def _check_header(stream: IO[bytes], declared: int, name: str, key: Key, budget: Budget) -> None:
    """Judge an array by its header alone: kind, dimensions, number of entries, and bytes declared."""
    shape, dtype, size = _header(stream)
    if dtype.hasobject:
        raise DemoError(f"{name} must be {key.words}, but holds Python objects (a pickle), which are never read")
    if dtype.kind not in key.kinds:
        raise DemoError(f"{name} must be {key.words}, but has dtype {words(dtype)}")
    judge(name, key, shape, dtype.kind, dtype.itemsize, budget)
    expected = size + math.prod(shape) * dtype.itemsize
    if declared != expected:
        raise DemoError(f"{name} must take {expected} bytes, by its shape {list(shape)}, but takes {declared}")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, dtype and size in bytes of an npy header."""
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):  # version 3 is for the field names of structured arrays
        raise ValueError(f"npy version {version[0]}.{version[1]}")
    width = 2 if version == (1, 0) else 4
    field = stream.read(width)
    length = int.from_bytes(field, "little")
    if length > MAX_HEADER:
        raise ValueError(f"a header of {length} bytes")
    header = io.BytesIO(field + stream.read(length))
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(header)
    return shape, dtype, npy.MAGIC_LEN + width + length
