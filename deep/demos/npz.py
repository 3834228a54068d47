"""The demonstration file: an npz archive with the arrays of `Demos` under their names, and `metadata` as JSON text.

A file from outside is data, never code. Nothing is unpickled, and each array's header is read and judged before a
byte of its data: kind of numbers, dimensions, and the size that they imply against the size that the archive declares.
Limits keep a small file from asking for all the memory: MAX_ENTRIES numbers an array (2 GiB once they are float64)
and MAX_TEXT characters of metadata.
"""

from __future__ import annotations

import io
import json
import math
import os
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from deep.demos.format import DemoError, Demos, check

if TYPE_CHECKING:
    from deep.envs import EnvSpec

__all__ = ["MAX_ENTRIES", "MAX_TEXT", "load", "save"]

MAX_ENTRIES = 2**28
MAX_TEXT = 2**20
MAX_HEADER = 10_000  # bytes; NumPy's own limit, which it applies after reading


@dataclass(frozen=True)
class Key:
    """What an array of the file must be: dtype kinds, numbers of dimensions, and the words for both."""

    kinds: str
    dims: tuple[int, ...]
    words: str
    required: bool = False
    limit: int = MAX_ENTRIES


KEYS = {
    "obs": Key("fiu", (2,), "real numbers [N, O]", required=True),
    "acts": Key("fiu", (1, 2), "real numbers [N, U] or integers [N]", required=True),
    "lengths": Key("iu", (1,), "integers [E]", required=True),
    "rewards": Key("fiu", (1,), "real numbers [N]"),
    "terminated": Key("biu", (1,), "booleans [E]"),
    "time": Key("iu", (1,), "integers [N]"),
    "metadata": Key("U", (0,), "one text of JSON", limit=1),
}


def load(path: str | os.PathLike[str], spec: EnvSpec | None = None) -> Demos:
    """Read demonstrations from an npz file and, where `spec` is given, check them against that task.

    Raises DemoError with one line that names the file, the key, what was expected and what was found, for anything
    that is not a file of this format.
    """
    path = Path(path)
    try:
        arrays = _read(path)
        metadata = _parse(arrays.pop("metadata", None))
        demos = Demos(**arrays, metadata=metadata)
        if spec is not None:
            check(demos, spec)
    except DemoError as error:
        raise DemoError(f"{path}: {error}") from None
    return demos


def save(path: str | os.PathLike[str], demos: Demos) -> None:
    """Write demonstrations as npz, atomically: the file is the old one or the new one, whatever happens.

    Equal demonstrations give equal bytes. Raises DemoError for metadata that is not JSON, OSError as usual.
    """
    path = Path(path)
    arrays = {name: getattr(demos, name) for name in KEYS if name != "metadata"}
    try:
        text = json.dumps(demos.metadata, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DemoError(f"{path}: metadata must be JSON values, but {error}") from None
    if len(text) > MAX_TEXT:
        raise DemoError(f"{path}: metadata must be JSON of at most {MAX_TEXT} characters, but has {len(text)}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            present = {name: array for name, array in arrays.items() if array is not None}
            np.savez_compressed(file, allow_pickle=False, **present, metadata=np.array(text))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        raise DemoError("must be an npz file, but there is none of that name") from None
    except IsADirectoryError:
        raise DemoError("must be an npz file, but is a folder") from None
    with file:
        _check_head(file.read(6))
        try:
            archive = zipfile.ZipFile(file)
        except OSError:
            raise
        except Exception as error:  # on damaged bytes zipfile and NumPy raise whatever their parsers run into
            raise DemoError(f"must be an npz file, but is cut short or damaged ({_words(error)})") from None
        with archive:
            members = _members(archive)
            return {name: _array(archive, member, name) for name, member in members.items()}


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


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    known = ", ".join(KEYS)
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name not in KEYS or name == member.filename:
            raise DemoError(f"keys must be among {known}, but there is {ascii(name)[:60]}")
        if member.header_offset < 0:  # where the archive's end was moved; seeking there is an OSError
            raise DemoError(f"{name} must be an intact array, but is cut short or damaged (it lies before the file)")
        if name in members:
            raise DemoError(f"{name} must occur once, but occurs again")
        members[name] = member
    for name, key in KEYS.items():
        if key.required and name not in members:
            found = ", ".join(members) or "nothing"
            raise DemoError(f"{name} must be there ({key.words}), but the file has {found}")
    return {name: members[name] for name in KEYS if name in members}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on headers that Python 2 wrote
            with archive.open(member) as stream:
                _check_header(stream, member.file_size, name)
            with archive.open(member) as stream:
                return npy.read_array(stream, allow_pickle=False)
    except (DemoError, OSError):
        raise
    except Exception as error:  # as above
        raise DemoError(f"{name} must be an intact array, but is cut short or damaged ({_words(error)})") from None


def _check_header(stream: IO[bytes], declared: int, name: str) -> None:
    """Judge an array by its header alone: kind, dimensions, number of entries, and bytes declared.

    With the declared bytes exact, reading the array ends where zipfile compares the checksum.
    """
    key = KEYS[name]
    shape, dtype, size = _header(stream)
    if dtype.hasobject:
        raise DemoError(f"{name} must be {key.words}, but holds Python objects (a pickle), which are never read")
    if dtype.kind not in key.kinds:
        raise DemoError(f"{name} must be {key.words}, but has dtype {_words(dtype)}")
    if len(shape) not in key.dims or min(shape, default=1) < 1:
        raise DemoError(f"{name} must be {key.words}, at least one, but has shape {list(shape)}")
    entries = math.prod(shape)
    if entries > key.limit:
        raise DemoError(f"{name} must have at most {key.limit} entries, but has shape {list(shape)}")
    if dtype.kind == "U" and dtype.itemsize > 4 * MAX_TEXT:
        raise DemoError(f"{name} must have at most {MAX_TEXT} characters, but has {dtype.itemsize // 4}")
    expected = size + entries * dtype.itemsize
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


def _parse(text: np.ndarray | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        metadata = json.loads(str(text[()]))
    except (ValueError, RecursionError) as error:
        raise DemoError(f"metadata must be JSON, but {_words(error)}") from None
    if not isinstance(metadata, dict):
        raise DemoError(f"metadata must be a JSON object, but is {ascii(metadata)[:60]}")
    return metadata


def _words(thing: object) -> str:
    """Someone else's message on one short line of printable ASCII."""
    text = " ".join(str(thing).split()) or type(thing).__name__
    return ascii(text)[1:-1][:120]
