"""How hard a run is to break, measured: the tables of docs/reliability.md.

    python benchmarks/reliability.py                  everything that has no result yet
    python benchmarks/reliability.py kills faults     some parts
    python benchmarks/reliability.py --render         the tables alone

Parts: kills (kill -9 and resume), faults (full disks, damaged files, failing simulators, Ctrl-C), numbers (rewards and
observations of extreme size), memory (ten million steps), threads (same seed, same bits). A result goes to
docs/benchmarks/reliability.jsonl as soon as it is there; a stopped program goes on after the last one. Remove a part's
lines to measure it again. The exit status is 1 where something broke.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before NumPy: a thread more, and a fork could wait for it for ever

import tyro  # noqa: E402
from reliability_tables import bad, render  # noqa: E402

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reliability.md"
ROWS = ROOT / "docs" / "benchmarks" / "reliability.jsonl"
Part = Literal["kills", "faults", "numbers", "memory", "threads"]
PARTS: tuple[Part, ...] = ("kills", "faults", "numbers", "memory", "threads")
Row = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What to measure."""

    parts: Annotated[tuple[Part, ...], tyro.conf.Positional] = field(default=PARTS)
    """Parts, in this order."""
    render: bool = False
    """Write the page's tables from the rows that are there, and measure nothing."""
    seed: int = 0
    """Seed of the moments and places at which things break."""
    rows: Path = ROWS
    """The results."""
    page: Path = PAGE
    """The page with the tables."""


def read(path: Path) -> list[Row]:
    """The results so far, without a line that a kill cut short."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def measure(part: Part, request: Request, folder: Path) -> Iterator[Row]:
    """The rows of a part that are not there yet."""
    module = importlib.import_module(f"reliability_{part}")
    yield from module.rows(folder, request.seed, [row for row in read(request.rows) if row["part"] == part])


def main(request: Request) -> int:
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # newer Pythons warn of forks beside threads
    for part in () if request.render else request.parts:
        kept = "".join(json.dumps(row) + "\n" for row in read(request.rows))
        request.rows.write_text(kept)
        with tempfile.TemporaryDirectory() as scratch, open(request.rows, "a", buffering=1) as out:
            for row in measure(part, request, Path(scratch)):
                out.write(json.dumps({"part": part} | row) + "\n")
                print(json.dumps(row), flush=True)
    rows = read(request.rows)
    request.page.write_text(render(request.page.read_text(), rows))
    return int(any(bad(row) for row in rows))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Request, description=__doc__)))
