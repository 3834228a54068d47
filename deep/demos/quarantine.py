"""Foreign formats are parsed in a child process, which can only hand back an npz of the project's own.

HDF5 and Arrow are read by large libraries in C, which damaged or hostile bytes can crash, hang or make greedy. The
child has limits on memory, time, open files and output (deep.demos.child); whatever becomes of it, the parent gets a
file that its own hardened reader judges once more, or one line about what was wrong.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from deep.demos.format import DemoError, Demos
from deep.demos.limits import Budget, words
from deep.demos.npz import read_own

__all__ = ["memory", "read", "run_child", "seconds", "size"]

ROOT = Path(__file__).resolve().parent.parent.parent
REFUSED = 3  # the child's exit status where its last line says what is wrong with the file
CODE = "import sys; sys.path.insert(0, sys.argv.pop(1)); from deep.demos.child import main; main()"
# No HDF5 file makes its library load a plugin, read-only folders can be read, and no allocator reserves in advance.
SETTINGS = {
    "HDF5_PLUGIN_PRELOAD": "::",
    "HDF5_USE_FILE_LOCKING": "FALSE",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OMP_NUM_THREADS": "1",
}


def read(path: Path, kind: str) -> Demos:
    """Demonstrations of a foreign format; DemoError for anything that is none, in bounded time and memory."""
    with tempfile.TemporaryFile() as out:
        return result(*run_child(path, kind, out), out)


def run_child(path: Path, kind: str, out: IO[bytes]) -> tuple[int, bytes]:
    """Exit status and standard error of the child, whose standard output is the file `out`."""
    most = 2 * seconds(size(path))
    command = [sys.executable, "-c", CODE, str(ROOT), os.fspath(path), kind]
    settings = os.environ | SETTINGS
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, env=settings) as child:
        try:
            _, errors = child.communicate(timeout=most)
        except subprocess.TimeoutExpired:
            raise DemoError(f"must be read in {most} s, but was not") from None
        finally:
            child.kill()
    return child.returncode, errors


def result(status: int, errors: bytes, out: IO[bytes]) -> Demos:
    """What the child made of the file."""
    if status == REFUSED:
        raise DemoError(words(errors.decode(errors="replace").strip().split("\n")[-1], 400))
    if status == -signal.SIGXCPU:
        raise DemoError("must be read within its limit of time, but was not")
    if status:
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        raise DemoError(f"must be intact, but is cut short or damaged (its reader ended with {how})")
    length = out.seek(0, os.SEEK_END)
    out.seek(0)
    return read_own(out, Budget(length))


def size(path: Path) -> int:
    """Bytes of a file, or of the files in a folder."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file() and not p.is_symlink())


def seconds(size: int) -> int:
    """CPU seconds for a file of that many bytes: 2 MB/s, where both libraries read a hundred times as fast."""
    return 20 + size // 2_000_000


def memory(size: int) -> int:
    """Address space for a file of that many bytes: the libraries' own, and four times what it may unpack to."""
    return 2**30 + 4 * Budget(size).total
