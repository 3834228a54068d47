"""Files that are whole or not there: bytes, JSON and tensors, written in one step and read as data.

`hold` keeps a folder to one process.
"""

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

try:
    import fcntl
except ImportError:  # Windows, where nothing is held
    fcntl = None


def hold(folder: Path) -> int | None:
    """A handle that keeps other processes from holding the folder, until os.close or the end of this one, by a kill
    too; None where the file system has no locks. Raises BlockingIOError where another process holds it.
    """
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        os.close(handle)
        return None
    return handle


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file in one step: a reader sees the old bytes or the new ones."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise named(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def named(error: OSError, path: Path) -> OSError:
    """The error with the file it is about, which a failed write does not know."""
    if error.errno is None or error.filename is not None:
        return error
    return type(error)(error.errno, error.strerror, str(path))


def write_json(path: Path, value: Any) -> None:
    """Write JSON values, whole or not at all."""
    write_atomic(path, (json.dumps(value, indent=2) + "\n").encode())


def write_figure(path: Path, figure: Any, dpi: int) -> None:
    """Write a matplotlib figure as PNG, whole or not at all."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=dpi)
    write_atomic(path, data.getvalue())


def read_json(path: Path) -> Any:
    """Parse a JSON file; ValueError names the file and the place."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{path}: expected a JSON file, but there is none") from None
    except (ValueError, RecursionError) as error:  # also digits without end
        raise ValueError(f"{path}: expected JSON, but {error}") from None


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> str:
    """Write safetensors atomically; returns their SHA-256."""
    data = save({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()})
    write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def load_tensors(path: Path, checksum: str | None = None) -> dict[str, Tensor]:
    """Read safetensors; ValueError if the bytes are not those that were written."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: expected a safetensors file, but there is none") from None
    if checksum is not None and hashlib.sha256(data).hexdigest() != checksum:
        wanted = str(checksum).encode("ascii", "replace").decode()[:64]  # it comes from a file as well
        raise ValueError(f"{path}: expected the bytes with SHA-256 {wanted}, but the file was changed or cut short")
    try:
        return load(data)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected safetensors, but {error}") from None
