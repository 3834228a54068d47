"""The results file: one JSON line a finished run, safe against interruption.

One process writes it, the sweep that holds its lock. A line is appended with one write and forced to the disk before
it counts, so that a kill can only leave the last line torn; readers drop that one, and the next sweep cuts it off.
"""

import fcntl
import json
import os
from pathlib import Path
from types import NoneType, TracebackType
from typing import Any, BinaryIO

Line = dict[str, Any]
NAMED: dict[str, tuple[type, ...]] = {
    "identity": (str,),
    "method": (str,),
    "env": (str,),
    "trajectories": (int,),
    "seed": (int,),
    "config": (dict,),
    "versions": (dict,),
    "commit": (str, NoneType),
    "code": (str,),
    "demos_sha256": (str, NoneType),
    "finished": (str,),
}
"""What every line says about where its numbers come from, and as what."""
LARGE = 1e100  # beyond any number of a run, and floats hold its square; integers of JSON may be larger than floats
WORDS = {str: "text", int: "an integer", dict: "an object", NoneType: "null"}


def read(path: Path) -> list[Line]:
    """The lines of a results file, without a torn last one; [] where there is no file.

    Raises ValueError, with the place, for any other line that is not JSON, or where one of NAMED is not there or of
    another type.
    """
    found = []
    texts = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    for i, text in enumerate(texts, 1):
        try:
            line = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{path}:{i} must be a line of JSON, but {error}") from None
        missing = [name for name in NAMED if not isinstance(line, dict) or name not in line]
        if missing:
            raise ValueError(f"{path}:{i} must name {', '.join(NAMED)}, but lacks {', '.join(missing)}")
        if wrong := _wrong(line):
            raise ValueError(f"{path}:{i}: {wrong}")
        found.append(line)
    return found


def _wrong(line: Line) -> str | None:
    """What is the matter with the first entry that is not what it should be."""
    for name, kinds in NAMED.items():
        if type(line[name]) not in kinds:
            return f"{name} must be {' or '.join(WORDS[kind] for kind in kinds)}, but is {ascii(line[name])[:60]}"
    if not number(lam := line["config"].get("entropy", 0.0)):
        return f"config.entropy must be a number, but is {ascii(lam)[:60]}"
    if type(line.get("env_steps", 0)) is not int or not number(line.get("env_steps", 0)):
        return f"env_steps must be an integer, but is {ascii(line['env_steps'])[:60]}"
    rows = line.get("evaluations", [])
    if not isinstance(rows, list) or not all(isinstance(r, list) and len(r) == 3 and all(map(number, r)) for r in rows):
        return f"evaluations must be rows of three numbers, but are {ascii(rows)[:60]}"
    return None


def number(value: Any) -> bool:
    """Whether a value is a number, finite and such that one can calculate with it."""
    return type(value) in (int, float) and abs(value) < LARGE


class Writer:
    """A results file open for appending, by this process alone; use it in a `with` block.

    Raises ValueError where another process has it open.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> "Writer":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self.path, "a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise ValueError(f"out must be a file that no other sweep writes to, but {self.path} is in use") from None
        file.seek(0)
        data = file.read()
        if not data.endswith(b"\n"):
            file.truncate(data.rfind(b"\n") + 1)
        self._file = file
        return self

    def append(self, line: Line) -> None:
        """Add a line; on return it is on the disk."""
        if self._file is None:
            raise RuntimeError(f"{self.path} is not open: use it in a with block")
        self._file.write((json.dumps(line) + "\n").encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
