"""Runs of the real programs in forks of a warm process: started, stopped, resumed and compared.

Imports take longer than these runs. A fork of a process that has imported everything, but has not yet started a
thread, is killed by the same SIGKILL as any other.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What every run imports on its way, here once, before the forks.
import torch._dynamo
import torch.utils.tensorboard  # noqa: F401

from deep import gail
from deep.cli import main_guard
from deep.files import load_tensors, read_json
from deep.run import KEEP, Run

COMMON = """--learner.simulators 8 --learner.batch 200 --learner.hidden 32 32 --cost.hidden 32 32 --checkpoint-every 1
            --eval-every 1200 --eval-episodes 2 --final-episodes 2 --bc.epochs 20 --threads 1""".split()
TASKS = ("CartPole-v0", "Hopper-v4", "Reacher-v4")
STEPS = 2400  # of the environment: twelve iterations, a second or two where nothing else runs
LIMIT = 300.0  # seconds of a run, on a machine that does other things
CHANGING = ("seconds", "commit")  # what two runs of one configuration may differ in


@dataclass(frozen=True)
class Ended:
    """How a process ended: its status (minus the signal that killed it), what it wrote to stderr, how long it took."""

    status: int
    err: str
    seconds: float

    @property
    def clear(self) -> bool:
        """Whether one line says what happened: nothing else but warnings, and no traceback."""
        lines = [line for line in self.err.splitlines() if not line.startswith("warning: ")]
        return len(lines) == 1 and lines[0].startswith(("error: ", "interrupted"))


def fresh(task: str, folder: Path, *more: str) -> list[str]:
    """The arguments of a new run."""
    return ["--env", task, "--steps", str(STEPS), "--out", str(folder), *COMMON, *more]


def resume(folder: Path, *more: str) -> list[str]:
    """The arguments that go on with a run."""
    return ["--resume", str(folder), *more]


def onward(task: str, folder: Path, *more: str) -> list[str]:
    """A new run where there is none, else the one that is there."""
    return resume(folder) if (folder / "config.json").exists() else fresh(task, folder, *more)


class Process:
    """deep.gail in a fork, with its two streams in files beside `log`."""

    def __init__(self, argv: list[str], log: Path, before: Callable[[], object] = lambda: None) -> None:
        self.err = log.with_suffix(".err")
        self.began = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _inside(argv, log, self.err, before)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, limit: float = LIMIT) -> Ended:
        """Until it has ended; a process that runs beyond the limit is killed, and is a TimeoutError."""
        while True:
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            seconds = time.monotonic() - self.began
            if pid:
                return Ended(os.waitstatus_to_exitcode(code), self.err.read_text(), seconds)
            if seconds > limit:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise TimeoutError(f"a run took more than {limit:g} s")
            time.sleep(0.005)


def _inside(argv: list[str], log: Path, err: Path, before: Callable[[], object]) -> None:
    status = 1
    try:
        for number, path in ((1, log), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in some shells' background jobs
        before()
        main_guard(lambda: gail.main(argv))
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def completed(argv: list[str], log: Path, before: Callable[[], object] = lambda: None) -> Ended:
    """Run to the end."""
    return Process(argv, log, before).wait()


def differences(whole: Path, other: Path, ignore_threads: bool = False) -> list[str]:
    """Names of the files in which a finished run differs from another: tensors, metrics and results, byte by byte.

    Of results, seconds and the commit are left out. Files of either that the other lacks are named too, events apart.
    """
    found = [
        f"{name} is only in one"
        for name in sorted(_files(whole) ^ _files(other))
        if not name.startswith("events.out.") and name not in ("out", "out.err")
    ]
    for name in sorted(_files(whole) & _files(other)):
        if name in ("result.json", "config.json"):
            a, b = _lasting(whole / name), _lasting(other / name)
            if ignore_threads:
                a["config"] |= {"threads": b["config"]["threads"]}
            same = a == b
        elif name == "metrics.jsonl" or name.startswith("checkpoints/"):
            same = (whole / name).read_bytes() == (other / name).read_bytes()
        else:
            continue
        if not same:
            found.append(name)
    return found


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _lasting(path: Path) -> dict[str, Any]:
    return {k: v for k, v in read_json(path).items() if k not in CHANGING}


def half_written(folder: Path) -> list[str]:
    """What is wrong in the folder of a stopped run: a checkpoint that is announced and cannot be read, more than
    KEEP + 1 of them, a JSON file or a metrics line (but the last) that is not whole."""
    found = []
    records = sorted((folder / "checkpoints").glob("*.json"))
    if len(records) > KEEP + 1:  # one more between the new one's arrival and the oldest one's departure
        found.append(f"{len(records)} checkpoints")
    for path in records:
        try:
            load_tensors(path.with_suffix(".safetensors"), read_json(path)["sha256"])
        except (ValueError, KeyError) as error:
            found.append(str(error))
    try:
        Run(folder).metrics()
        for name in ("config.json", "result.json"):
            if (folder / name).exists():
                json.loads((folder / name).read_text())
    except ValueError as error:
        found.append(str(error))
    return found


def phase(folder: Path, iterations: int) -> str:
    """What a stopped run was doing, from what it left."""
    if not (folder / "config.json").exists():
        return "checking"
    logged = len(Run(folder).metrics())
    if logged == 0:
        return "start-up"
    return "training" if logged < iterations else "closing"
