"""Many runs, one table: a grid of tasks, methods, dataset sizes and seeds, run on Ray.

    python -m deep.sweep --envs CartPole-v0 Acrobot-v1 --methods gail bc --seeds 5
    python -m deep.sweep --methods gail -- --bc-weight 0          settings after "--" as deep.gail takes them
    python -m deep.sweep --address 10.0.0.1:6379                  on a cluster (`ray start --head`)

Every finished run is one line of the results file (--out). What is there already is not run again, and the same
command after an interruption goes on where it stopped. A line is result.json with the method, the evaluations during
training, the configuration, and where it comes from: commit, digests of the code and of the demonstrations, versions.
`python -m deep.report` makes the tables and figures.
"""

import contextlib
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console

from deep import sweep_lines
from deep.cli import at_least, main_guard
from deep.config import GailConfig, Preset, cloning_defaults, gail_defaults
from deep.config_values import as_flags
from deep.envs.native import cores
from deep.sweep_display import Display
from deep.sweep_grid import METHODS, TASKS, Cell, Method, completed, grid, identity
from deep.sweep_lines import Line
from deep.sweep_ray import Cluster


@dataclass(frozen=True)
class Sweep:
    """Run every cell of a grid that the results file does not hold yet."""

    envs: tuple[str, ...] = TASKS
    """Gymnasium ids of the tasks."""
    methods: tuple[Method, ...] = METHODS
    """Methods, the first one's runs first."""
    trajectories: tuple[int, ...] | Literal["protocol"] = "protocol"
    """Dataset sizes; `protocol`: those of the paper for each task."""
    seeds: int = 5
    """Training seeds a cell."""
    first_seed: int = 101
    """The first of them."""
    preset: Preset = "fast"
    """Where the runs' settings come from."""
    steps: int | None = None
    """Environment steps of a run; the preset's for the task where left out."""
    out: Path = Path("results/raw.jsonl")
    """The results file."""
    runs: Path = Path("runs/sweep")
    """Folder of the runs in progress; each goes away when its line is written."""
    jobs: int = 0
    """Runs at a time, on one thread each; 0: as many as cores. On a cluster its nodes say."""
    address: str | None = None
    """A Ray cluster, whose nodes need this package; left out: this machine alone."""
    dry_run: bool = False
    """Only list the commands of the runs that are missing."""


def known(lines: list[Line]) -> set[str]:
    """Identities of the runs that lines hold."""
    return {identity(x["method"], completed(x["method"], x["config"]), x["demos_sha256"]) for x in lines}


def missing(cells: list[Cell], out: Path) -> list[Cell]:
    """The cells that a results file does not hold, each of them once."""
    have, todo = known(sweep_lines.read(out)), {}
    for cell in cells:
        name = cell.identity()
        if name not in have:
            todo.setdefault(name, cell)
    return list(todo.values())


def command(cell: Cell) -> str:
    """The command of a single run."""
    config = cell.config
    if isinstance(config, GailConfig):
        preset = [] if config.preset == "fast" else ["--preset", config.preset]
        program, base = "gail", gail_defaults(config.env, config.preset)
        flags = ["--env", config.env, *preset, *as_flags(config, base)]
    else:
        program, flags = "bc", ["--env", config.env, *as_flags(config, cloning_defaults(config.env))]
    return shlex.join(["python", "-m", f"deep.{program}", *flags])


def sweep(
    cells: list[Cell], out: Path, console: Console, *, runs: Path, jobs: int = 0, address: str | None = None
) -> int:
    """Run the cells that `out` lacks and append a line for each as it ends; returns how many failed.

    A run that raises is reported and leaves the others alone. Raises ValueError for what cannot start.
    """
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(sweep_lines.Writer(out))  # first: another sweep may be adding lines
        todo = missing(cells, out)
        console.print(f"{len(cells)} runs, of which {len(cells) - len(todo)} are in {out} already", soft_wrap=True)
        if not todo:
            return 0
        cluster = stack.enter_context(Cluster(address, jobs or cores()))
        with Display(todo, runs, console) as display, contextlib.closing(cluster.run(todo, runs)) as ended:
            for run in ended:
                if run is None:
                    display.tick()
                elif run.text is None:
                    display.failed(run.cell, str(run.error))
                else:
                    line = json.loads(run.text)
                    writer.append(line)
                    display.finished(run.cell, line)
    return display.failures


def main(argv: list[str]) -> None:
    """Entry point of `python -m deep.sweep`; exit status 1 where a run failed."""
    console = Console(markup=False, emoji=False)
    own, flags = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    request = tyro.cli(Sweep, prog="python -m deep.sweep", args=own, description=__doc__)
    at_least(request, seeds=1, first_seed=0, jobs=0, steps=1)
    if request.address is not None and request.jobs:
        raise ValueError(f"jobs must be left out with address, whose nodes say how many, but is {request.jobs}")
    seeds = tuple(range(request.first_seed, request.first_seed + request.seeds))
    cells = grid(
        request.envs,
        request.methods,
        request.trajectories,
        seeds,
        preset=request.preset,
        steps=request.steps,
        flags=tuple(flags),
    )
    if request.dry_run:
        for cell in missing(cells, request.out):
            console.print(command(cell), soft_wrap=True, highlight=False, markup=False)
        return
    try:
        failures = sweep(cells, request.out, console, runs=request.runs, jobs=request.jobs, address=request.address)
    except KeyboardInterrupt:
        console.print(f"what has ended is in {request.out}; the same command goes on from there", soft_wrap=True)
        raise
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    main_guard(lambda: main(sys.argv[1:]))
