"""One cell of a sweep in this process: train, evaluate, and return its line of the results file.

The run folder is <runs>/<identity>-<code> and goes away with the result. A run that was cut off, by Ctrl-C or by the
loss of its machine, left a checkpoint there; whoever takes it up goes on from it to the same bits, on any machine that
sees the folder, and starts again on one that does not. Other code gets another folder.
"""

import fcntl
import hashlib
import io
import json
import shutil
import time
from functools import cache
from pathlib import Path

import torch
from rich.console import Console

from deep import bc, gail
from deep.config import GailConfig
from deep.config_values import as_dict
from deep.files import read_json, write_json
from deep.run import Metrics, Run
from deep.sweep_grid import Cell, digest
from deep.sweep_lines import Line

ROOT = Path(__file__).parent.parent
OUTSIDE = ("deep/report", "deep/stats", "deep/sweep")  # of what a run executes
DECIMALS = 3  # of the returns in a learning curve: far below what ten episodes can tell
TAIL = 8192  # bytes at the end of metrics.jsonl; a line has about one tenth of that


@cache
def code() -> str:
    """A digest of the sources that a run executes: equal digests, equal code, whatever the commits are called."""
    total = hashlib.sha256()
    for path in [*sorted((ROOT / "deep").rglob("*.py")), ROOT / "occmatch" / "losses.py"]:
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(OUTSIDE):
            total.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()[:16]


def folder(cell: Cell, runs: Path) -> Path:
    return runs / f"{cell.identity()}-{code()}"


def perform(cell: Cell, runs: Path) -> Line:
    """Run a cell in a folder below `runs`, from its checkpoint if there is one; the folder is removed at the end.

    Raises what the run raises (ValueError for a configuration that cannot run) and leaves the folder for the next try.
    """
    torch.set_num_threads(1)
    where = folder(cell, runs)
    where.mkdir(parents=True, exist_ok=True)
    with open(where / "lock", "w") as lock:
        # A machine given up for lost may still be at it; its process ends, or notices, and lets go.
        fcntl.flock(lock, fcntl.LOCK_EX)
        line = _perform(cell, where)
        shutil.rmtree(where)
    return line


def _perform(cell: Cell, where: Path) -> Line:
    began = time.monotonic()
    command = "gail" if isinstance(cell.config, GailConfig) else "bc"
    if (where / "config.json").exists():
        record, _ = Run.open(where, command)
    else:
        record = Run.create(where, command, as_dict(cell.config))
    made = read_json(where / "config.json")
    attempts = _count(where / "attempts.json")
    quiet = Console(markup=False, emoji=False, file=io.StringIO())
    if isinstance(cell.config, GailConfig):
        result = gail.execute(cell.config, record, quiet)
    else:
        result = bc.execute(cell.config, record, quiet)
    given = {"identity": cell.identity(), "method": cell.method}
    source = {
        "config": cell.settings(),
        "demos_sha256": digest(cell.demonstrations()),
        "commit": made["commit"],  # of the time when the code was loaded
        "code": code(),
        "attempts": attempts,
    }
    return (
        given
        | result
        | source
        | {
            "seconds": round(time.monotonic() - began, 1),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "evaluations": evaluations(record.metrics()),
        }
    )


def _count(path: Path) -> int:
    """How many processes have worked in this folder, this one among them."""
    attempts = 1 + (read_json(path) if path.exists() else 0)
    write_json(path, attempts)
    return attempts


def evaluations(metrics: list[Metrics]) -> list[list[float]]:
    """The learning curve: env_steps, return of the stochastic and of the deterministic policy."""
    names = ("eval_return", "eval_return_deterministic")
    return [[m["env_steps"], *(round(m[k], DECIMALS) for k in names)] for m in metrics if names[0] in m]


def progress(cell: Cell, runs: Path) -> int:
    """Environment steps that a run in progress has logged; 0 where its folder cannot be seen from here."""
    try:
        with open(folder(cell, runs) / "metrics.jsonl", "rb") as file:
            file.seek(0, io.SEEK_END)
            file.seek(max(0, file.tell() - TAIL))
            return int(json.loads(file.read().split(b"\n")[-2])["env_steps"])
    except (OSError, ValueError, IndexError, KeyError):
        return 0


def perform_json(cell: str, runs: str) -> str:
    """`perform` on text, for another process."""
    return json.dumps(perform(Cell.from_json(cell), Path(runs)))
