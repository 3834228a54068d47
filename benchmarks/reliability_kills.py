"""kill -9 at random moments, and at every step of writing a checkpoint; every run must end in the same bits."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from reliability_runs import TASKS, Ended, Process, completed, differences, fresh, half_written, onward, phase

from deep.run import Run

KILLS = 100
MOST = 4  # kills of one run
SHARE = 0.6  # of the time of a whole run, within which the kill comes: resumed runs are shorter
CALLS = 32  # of a run's first: until the first checkpoint has been deleted
Row = dict[str, Any]


def reference(task: str, folder: Path) -> tuple[Path, Ended]:
    """The run that is never killed."""
    whole = folder / f"whole-{task}"
    shutil.rmtree(whole, ignore_errors=True)
    ended = completed(fresh(task, whole), folder / f"{task}.log")
    if ended.status != 0:
        raise RuntimeError(f"{task} fails when nobody kills it: {ended.err}")
    return whole, ended


def random_kills(folder: Path, kills: int, seed: int, done: list[Row]) -> Iterator[Row]:
    """Runs of the tasks in turn, each killed up to MOST times and then finished, until `kills` have been dealt."""
    references = {}
    dealt = sum(len(row["kills"]) for row in done)
    number = len(done)
    while dealt < kills:
        task = TASKS[number % len(TASKS)]
        if task not in references:
            references[task] = reference(task, folder)
        rng = np.random.default_rng([seed, number])
        wanted = min(int(rng.integers(1, MOST + 1)), kills - dealt)
        row = _killed(task, folder / "killed", references[task], rng, wanted)
        yield {"number": number} | row
        dealt += len(row["kills"])
        number += 1


def _killed(task: str, folder: Path, whole: tuple[Path, Ended], rng: np.random.Generator, wanted: int) -> Row:
    shutil.rmtree(folder, ignore_errors=True)
    iterations = len(Run(whole[0]).metrics())
    kills: list[Row] = []
    broken: list[str] = []
    for _ in range(3 * wanted):
        process = Process(onward(task, folder), folder.with_suffix(".log"))
        time.sleep(rng.uniform(0, SHARE * whole[1].seconds))
        process.signal(signal.SIGKILL)
        ended = process.wait()
        if ended.status == 0:
            break  # it was faster than its killer
        broken += half_written(folder)
        kills.append({"after": round(ended.seconds, 3), "phase": phase(folder, iterations)})
        if len(kills) == wanted:
            break
    ended = completed(onward(task, folder), folder.with_suffix(".log"))
    wrong = [ended.err] if ended.status else differences(whole[0], folder)
    return {"task": task, "kills": kills, "broken": broken, "different": wrong}


def kills_at_calls(folder: Path, calls: int, done: list[Row]) -> Iterator[Row]:
    """Two runs for each of the first calls that change a run folder, killed before it and within or after it."""
    task = TASKS[0]
    whole = None
    for number in range(len(done), 2 * calls):
        whole = whole or reference(task, folder)[0]
        index, where = divmod(number, 2)
        killed = folder / "killed"
        shutil.rmtree(killed, ignore_errors=True)
        seen = folder / "call"
        seen.write_text("")
        ended = completed(
            fresh(task, killed), folder / "killed.log", lambda i=index, late=where, s=seen: assassin(i, late, s)
        )
        row = {"task": task, "number": number, "call": seen.read_text(), "killed": ended.status == -signal.SIGKILL}
        broken = half_written(killed)
        again = completed(onward(task, killed), folder / "killed.log")
        wrong = [again.err] if again.status else differences(whole, killed)
        yield row | {"broken": broken, "different": wrong}


def assassin(index: int, late: int, seen: Path) -> None:
    """Make the index-th call of fsync, replace or unlink the last: killed before it, or where `late` after it; within
    fsync, half of the file has reached the disk."""
    count = 0

    def watch(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            mine = count == index
            count += 1
            if not mine:
                return real(*args, **kwargs)
            where = "before" if not late else "within" if name == "fsync" else "after"
            seen.write_text(f"{where} {name}")
            if where == "within":
                os.ftruncate(args[0], os.fstat(args[0]).st_size // 2)
            if where == "after":
                real(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        return call

    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, watch(name))


def rows(folder: Path, seed: int, done: list[Row]) -> Iterator[Row]:
    """Both kinds, the random ones first."""
    for kind, make in (("random", random_kills), ("call", kills_at_calls)):
        count = {"random": (KILLS, seed), "call": (CALLS,)}[kind]
        for row in make(folder, *count, [r for r in done if r["kind"] == kind]):
            yield {"kind": kind} | row
