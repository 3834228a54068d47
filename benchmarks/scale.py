"""Exact solvers at scale: time, memory and certified error of each, how they grow, and where they end.

    python benchmarks/scale.py                          # all rows; those already in scale.jsonl are not run again
    python benchmarks/scale.py --quick                  # a hundredth of the states, in a minute or two
    python benchmarks/scale.py --only rl --peer-python PYTHON_WITH_THE_OTHER_PROJECTS

Each row runs in a process of its own, so that its peak of memory (building the MDP included) is its own. Seconds are
those of the call, on the clock and on the processor; `sweeps` divides the latter by the time of one product P V in the
same process, which is what the memory allowed at that moment and makes rows of a busy machine comparable. The error is
certified: a bound on max|V - V*|, or the relative gap. Writes docs/benchmarks/scale.jsonl row by row, and scale.md.
"""

import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scale_rows
import tyro

OUT = Path(__file__).parent.parent / "docs" / "benchmarks"
Row = dict[str, object]


@dataclass(frozen=True)
class Request:
    """What to run."""

    quick: bool = False
    """A hundredth of the states."""
    only: str = ""
    """Rows whose name starts like this; all for an empty text."""
    time_limit: float = 900.0
    """Seconds for one row, after which it says so."""
    baseline_limit: float = 300.0
    """Seconds for value iteration, and for each of the other projects."""
    peer_python: str = sys.executable
    """Interpreter that has quantecon, pymdptoolbox and mdpsolver."""
    out: Path = OUT
    """Folder of the page and of the rows that it is made from."""
    row: str = ""
    """Make this one row and print it as JSON: what the program calls itself with."""


def cases(request: Request) -> dict[str, Callable[[], Row]]:
    """Every row by name: those of `rl` here, those of matching, IRL and LPs beside."""
    table = scale_rows.rows(request.quick, request.peer_python, request.baseline_limit)
    if importlib.util.find_spec("scale_matching") is not None:
        table |= importlib.import_module("scale_matching").rows(request.quick)
    return {name: make for name, make in table.items() if name.startswith(request.only)}


def measured(name: str, request: Request) -> Row:
    """The row of a process of its own, or what became of it."""
    command = [sys.executable, __file__, "--row", name, "--peer-python", request.peer_python]
    command += ["--baseline-limit", str(request.baseline_limit)] + ["--quick"] * request.quick
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    empty: Row = {"work": name, "size": "", "seconds": None, "peak_mb": None, "error": None, "iterations": None}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=request.time_limit, env=os.environ | threads
        )
    except subprocess.TimeoutExpired:
        return empty | {"method": f"over {request.time_limit:g} s", "limit": request.time_limit}
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["killed, most likely for want of memory"])[-1]
        return empty | {"method": f"exit {done.returncode}: {why[:120]}"}
    row = json.loads(done.stdout.splitlines()[-1])
    return row | {"work": name, "problem": row.get("problem", row.get("work", ""))}


def collect(request: Request) -> list[Row]:
    """All rows, those of the file read and the others made and added to it."""
    path = request.out / "scale.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {row["work"]: row for row in known}
    for name in cases(request):
        # What ran into a shorter limit deserves another run.
        if name not in done or done[name].get("limit", np.inf) < request.time_limit:
            done[name] = measured(name, request)
            with path.open("a") as file:
                file.write(json.dumps(done[name]) + "\n")
            print(show(done[name]), flush=True)
    return list(done.values())


def show(row: Row) -> str:
    """One line of the table."""
    busy, sweep = row.get("cpu"), row.get("sweep")
    sweeps = f"{busy / sweep:,.0f}" if busy and sweep else ""
    cells = [
        row["work"],
        row.get("problem", ""),
        row.get("size", ""),
        _number(row.get("seconds"), ".3g"),
        _number(busy, ".3g"),
    ]
    cells += [sweeps, _number(row.get("peak_mb"), ",.0f"), _number(row.get("error"), ".0e"), row["method"]]
    return "| " + " | ".join(str(cell) for cell in [*cells, row.get("iterations") or ""]) + " |"


def _number(value: object, form: str) -> str:
    return "" if value is None else format(value, form)


def exponents(rows: list[Row]) -> list[str]:
    """Slopes of log time (in sweeps where they are known) and log memory, fitted over each family of growth rows."""
    families: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for row in rows:
        name = str(row["work"])
        if name.startswith("growth in ") and row.get("cpu"):
            variable = name.removeprefix("growth in ").split(",")[0]
            size = 1.0 / (1.0 - row["gamma"]) if variable.startswith("1/") else row.get(variable)
            if size:
                families.setdefault((variable, row["problem"]), []).append((size, row["cpu"], row["peak_mb"]))
    lines = []
    for (variable, problem), points in families.items():
        if len(points) > 1:
            size, seconds, memory = np.log(np.array(points)).T
            time_slope, memory_slope = np.polyfit(size, seconds, 1)[0], np.polyfit(size, memory, 1)[0]
            lines.append(f"| {variable} | {problem} | {time_slope:.2f} | {memory_slope:.2f} | {len(points)} |")
    return lines


def page(rows: list[Row]) -> str:
    columns = ["work", "problem", "size", "seconds", "CPU", "sweeps", "peak MB", "error", "method", "iterations"]
    head = f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}"
    ends = ("limit", "growth in ")
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    about, _, rest = (__doc__ or "").partition("\n\n    python")
    lines = ["# Exact solvers at scale", "", about, "", rest.partition("\n\n")[2].strip(), "", head]
    lines += [show(row) for row in rows if not str(row["work"]).startswith(ends)]
    lines += ["", "## How time and memory grow", "", "Exponents fitted over each family of rows, processor time.", ""]
    lines += ["| grows with | problem | time | memory | points |", "| --- | --- | --- | --- | --- |", *exponents(rows)]
    lines += ["", "## Where each method ends, and what it then reports", "", head]
    lines += [show(row) for row in rows if str(row["work"]).startswith(ends[0])]
    lines += ["", f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}.", ""]
    return "\n".join(lines)


def main(request: Request) -> None:
    if request.row:
        print(json.dumps(cases(request)[request.row](), default=float))
        return
    (request.out / "scale.md").write_text(page(collect(request)))


if __name__ == "__main__":
    main(tyro.cli(Request, description=__doc__))
