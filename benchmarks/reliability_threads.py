"""Same seed, same bits: whole runs at 1, 2 and 3 threads of the simulators, and twice at one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reliability_runs import completed, differences, fresh
from reliability_tasks import demonstrate

from deep.demos import bundled

Row = dict[str, Any]
PATHS = {
    "Hopper-v4": "MuJoCo's batch",
    "Reacher-v4": "MuJoCo's batch",
    "Ant-v4": "MuJoCo's batch",
    "Humanoid-v4": "a pool of threads",
    "CartPole-v0": "Gymnasium",
}
THREADS = (1, 1, 2, 3)  # the first again


def rows(folder: Path, seed: int, done: list[Row]) -> Iterator[Row]:
    """A row for each task and each of two seeds."""
    made = {(row["task"], row["seed"]) for row in done}
    for task, path in PATHS.items():
        for own in (seed, seed + 1):
            if (task, own) not in made:
                yield {"task": task, "path": path, "seed": own, "threads": list(THREADS)} | compare(task, own, folder)


def compare(task: str, seed: int, folder: Path) -> Row:
    """Names of files in which runs at other numbers of threads differ from the first."""
    runs = [folder / f"{task}-{seed}-{i}" for i in range(len(THREADS))]
    different = []
    more = ["--seed", str(seed)]
    if bundled(task) is None:
        path = demonstrate(task, folder / f"{task}-{seed}.npz")
        more += ["--demos", str(path), "--trajectories", "8", "--subsample", "1"]
    for out, threads in zip(runs, THREADS, strict=True):
        ended = completed(fresh(task, out, *more, "--threads", str(threads)), out.with_name(out.name + ".log"))
        found = [ended.err] if ended.status else differences(runs[0], out, ignore_threads=True)
        different += [f"{threads} threads: {text}" for text in found]
    return {"different": different}
