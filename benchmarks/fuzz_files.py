"""Damaged and hostile files through every reader: each loads as valid data or is refused in one line.

    python benchmarks/fuzz_files.py                  10,000 files, and the table docs/benchmarks/fuzz.md
    python benchmarks/fuzz_files.py --files 800      a short version, which prints its table only

Every file depends on the seed, its kind and its number alone, and each is read in a process of its own with a limit of
time and memory. Results go to a line each of runs/fuzz/<kind>.jsonl; a stopped run goes on where it was. A defect (an
exception other than a refusal, more than one line, a crash, a hang, memory beyond the limit, or any call that code in
a file would make) is printed, its file kept in runs/fuzz/defects, and the exit status is 1.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from fuzz_mutate import Case, mutate
from fuzz_run import SECONDS, Outcome, examine, memory, reader
from fuzz_seeds import KINDS, MARKER, seeds
from rich.console import Console
from rich.progress import track

from deep.demos import quarantine

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "benchmarks" / "fuzz.md"
SHARES = {"npz": 25, "hdf5": 15, "trajs": 10, "minari": 15, "imitation": 10, "safetensors": 10, "json": 10, "sb3": 5}
NAMES = {
    "npz": "npz",
    "hdf5": "HDF5, D4RL's layout",
    "trajs": "HDF5, the GAIL authors' layout",
    "minari": "Minari folder",
    "imitation": "Hugging Face folder (imitation)",
    "safetensors": "safetensors (weights)",
    "json": "JSON of a run folder",
    "sb3": "Stable-Baselines3 zip",
}
HEAD = "| files | number | accepted | refused | defects | crashes contained | slowest | most memory |"


@dataclass(frozen=True)
class Request:
    """What to run."""

    files: int = 10_000
    """Files in all."""
    seed: int = 0
    """Seed of every file."""
    out: Path = ROOT / "runs" / "fuzz"
    """Folder of the results, from which a stopped run goes on."""
    only: tuple[str, ...] = field(default=KINDS)
    """Kinds of files."""


def write(case: Case, path: Path) -> None:
    """A case as the file or folder `path`."""
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    for name, content in case.items():
        target = path / name if name else path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def case(kind: str, number: int, good: list[Case], seed: int) -> Case:
    """File `number` of a kind: the seeds themselves first, then damaged ones, once or twice."""
    if number < len(good):
        return good[number]
    rng = np.random.default_rng([seed, KINDS.index(kind), number])
    changed = mutate(good[number % len(good)], rng)
    return mutate(changed, rng) if rng.random() < 0.3 else changed


def run_kind(kind: str, request: Request, folder: Path, console: Console) -> list[dict[str, Any]]:
    """All files of a kind that have no result yet; returns the results."""
    total = request.files * SHARES[kind] // 100
    log = request.out / f"{kind}-{request.seed}.jsonl"
    text = log.read_text() if log.exists() else ""
    whole = text[: text.rfind("\n") + 1]  # without a line that a kill cut short
    log.write_text(whole)
    done = [json.loads(line) for line in whole.splitlines()]
    good = seeds(kind, np.random.default_rng([request.seed, KINDS.index(kind)]))
    path = folder / kind / "file"
    path.parent.mkdir()
    write(good[0], path)
    reader(kind)(path)  # imports everything once, before the forks
    with open(log, "a", buffering=1) as lines:
        for i in track(range(len(done), total), kind, console=console, transient=True):
            damaged = case(kind, i, good, request.seed)
            write(damaged, path)
            outcome = examine(reader(kind), path)
            if Path(MARKER).exists():
                Path(MARKER).rmdir()
                outcome = Outcome("defect", "code in the file ran", *list(asdict(outcome).values())[2:])
            if outcome.verdict == "defect":
                write(damaged, request.out / "defects" / f"{kind}-{i}")
                console.print(f"{kind} {i}", outcome.message, style="red")
            done.append({"file": i} | asdict(outcome))
            lines.write(json.dumps(done[-1]) + "\n")
    return done[:total]


def row(name: str, results: list[dict[str, Any]]) -> str:
    """A line of the table."""
    count = Counter(r["verdict"] for r in results)
    contained = sum(r["contained"] for r in results)
    slowest, most = max(r["seconds"] for r in results), max(r["mebibytes"] for r in results)
    numbers = [len(results), count["accepted"], count["refused"], count["defect"], contained]
    return f"| {name} | {' | '.join(f'{n:,}' for n in numbers)} | {slowest:.1f} s | {most:,.0f} MiB |"


def document(request: Request, results: dict[str, list[dict[str, Any]]]) -> str:
    """The page: what was done, the table, and the commonest refusals."""
    every = [r for rows in results.values() for r in rows]
    reasons = Counter(_reason(r["message"]) for r in every if r["verdict"] == "refused")
    table = [HEAD, "| --- " * 8 + "|", *(row(NAMES[kind], rows) for kind, rows in results.items()), row("all", every)]
    common = [f"| {reason} | {count:,} |" for reason, count in reasons.most_common(12)]
    return f"""# Hostile and broken files

{len(every):,} damaged files through the readers, by `python benchmarks/fuzz_files.py` (seed {request.seed}).
Each loads as valid data or is refused in one line; a defect is anything else: another exception, a crash, a hang, code
that ran, memory beyond the limit.

{chr(10).join(table)}

Every file was read in a process of its own, with {SECONDS} s of time and {memory(0) / 2**20:.0f} MiB of address space
beyond what the warm interpreter takes (its own pages, with all libraries loaded, are part of the last column). Foreign
formats are parsed in a child of that process, with {quarantine.memory(0) / 2**20:.0f} MiB of address space in all,
which contains a crash of the HDF5 or Arrow library: that is a refusal. The limits are those of an empty file; a file of
n bytes may take more, as deep.demos.limits and deep.demos.quarantine say.
{_guided(request.out / "guided.log")}
The commonest refusals, by their first words:

| refusal | files |
| --- | --- |
{chr(10).join(common)}
"""


def _guided(log: Path) -> str:
    """What fuzz_guided.py did, where its output was kept."""
    done = (
        re.search(r"#\d+\s+DONE\s+cov: (\d+)[\s\S]*?\nDone (\d+) runs in (\d+)", log.read_text())
        if log.exists()
        else None
    )
    if done is None:
        return ""
    edges, runs, seconds = (int(g) for g in done.groups())
    return f"""
`python benchmarks/fuzz_guided.py runs/fuzz/corpus 2> runs/fuzz/guided.log` searched the parsers in Python by coverage
(atheris): {runs:,} inputs in {seconds} s, {edges} edges, nothing found.
"""


def _reason(message: str) -> str:
    """A message without the file's name and what was found."""
    text = message.removeprefix("FILE: ").partition(", but ")[0].split(" (")[0]
    return "".join(c for c in text if c not in "|`")[:80]


def main(request: Request) -> int:
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # newer Pythons warn of forks beside threads
    console = Console(stderr=True, markup=False, emoji=False)
    request.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder, here = Path(scratch), os.getcwd()
        os.environ |= quarantine.SETTINGS | {"TMPDIR": scratch}
        os.chdir(scratch)
        try:
            results = {kind: run_kind(kind, request, folder, console) for kind in request.only}
        finally:
            os.chdir(here)
    page = document(request, results)
    print(page)
    if request == Request():
        OUT.write_text(page)
    return int(any(r["verdict"] == "defect" for rows in results.values() for r in rows))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Request)))
