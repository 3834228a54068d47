"""The child process of deep.demos.quarantine: reads one foreign file under limits and writes an npz to its output."""

from __future__ import annotations

import resource
import sys
import warnings
from pathlib import Path
from typing import NoReturn

import numpy as np

from deep.demos import quarantine
from deep.demos.format import DemoError, Demos
from deep.demos.limits import missing, words
from deep.demos.metadata import to_text
from deep.demos.npz import KEYS

__all__ = ["convert", "limit", "main"]


def limit(size: int) -> None:
    """Bound this process for a file of that many bytes: memory, time, output, files, and no core dump."""
    seconds, memory = quarantine.seconds(size), quarantine.memory(size)
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, memory),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, hard))


def convert(path: Path, kind: str) -> Demos:
    """Demonstrations of a foreign format, in this process; DemoError for anything that the libraries raise."""
    try:
        return _reader(kind, path)(path)
    except DemoError:
        raise
    except ImportError as error:
        raise DemoError(missing(error)) from None
    except MemoryError:
        raise DemoError("must fit into the memory that a file of its size may take, but does not") from None
    except Exception as error:  # on damaged bytes the libraries raise whatever their parsers run into
        raise DemoError(f"must be intact, but is cut short or damaged ({words(error)})") from None


def _reader(kind: str, path: Path):
    # Imported late: each needs its own optional package.
    if kind in ("any hdf5", "hdf5", "trajs"):
        from deep.demos import d4rl, hdf5, trajs

        kinds = {"hdf5": d4rl.read, "trajs": trajs.read}
        return kinds[hdf5.layout(path) if kind == "any hdf5" else kind]
    if kind == "minari":
        from deep.demos import minari_read

        return minari_read.read
    from deep.demos import imitation_read

    return imitation_read.read


def emit(demos: Demos) -> None:
    """Write the demonstrations to the standard output, a file."""
    arrays = {name: getattr(demos, name) for name in KEYS if name != "metadata"}
    present = {name: array for name, array in arrays.items() if array is not None}
    with open(1, "wb", closefd=False) as out:
        np.savez(out, allow_pickle=False, **present, metadata=np.array(to_text(demos.metadata)))


def main() -> NoReturn:
    """path kind: an npz on the standard output and status 0, or one line on the standard error and status REFUSED."""
    warnings.simplefilter("ignore")
    path, kind = Path(sys.argv[1]), sys.argv[2]
    limit(quarantine.size(path))
    try:
        emit(convert(path, kind))
    except (DemoError, OSError) as error:
        print(words(error) if isinstance(error, OSError) else error, file=sys.stderr)
        sys.exit(quarantine.REFUSED)
    sys.exit(0)
