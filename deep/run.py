"""The run folder: configuration, metrics, checkpoints, and a loop that can be interrupted and resumed.

    config.json        the resolved configuration, with versions and commit; of an expert that continues another's run
                       also the checkpoint it started from
    metrics.jsonl      one line an iteration
    events.out.*       the same for TensorBoard
    checkpoints/       <iteration>.safetensors and <iteration>.json, the last three
    result.json        the closing numbers, when the run has finished; `seconds` are those of training, in the last
                       command. They and the learning curve go with the first checkpoint beyond them

A checkpoint is written to temporary names and renamed, tensors first: the JSON file, which carries their checksum,
exists only once they are complete. Resuming drops the metric lines beyond the checkpoint, so that a resumed folder
reads like one that was never interrupted.
"""

import contextlib
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from deep.files import hold, load_tensors, read_json, save_tensors, write_atomic, write_json
from deep.provenance import commit, versions

Metrics = dict[str, Any]
KEEP = 3  # checkpoints; more than one, so that a damaged last one costs minutes and not the run
CLOSING = ("result.json", "learning_curve.png")  # of a run that has finished


class Algorithm(Protocol):
    """What the loop drives."""

    iteration: int

    @property
    def env_steps(self) -> int: ...

    def iterate(self) -> Metrics: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None: ...


def new_folder(name: str) -> Path:
    """runs/<name>, with a counter where that is taken; a task's package and namespace make no folders of their own."""
    name = name.replace(":", "_").replace("/", "_")
    folder, count = Path("runs") / name, 1
    while folder.exists():
        count += 1
        folder = Path("runs") / f"{name}-{count}"
    return folder


@dataclass(frozen=True)
class Checkpoint:
    """A state as it was saved after `iteration` iterations: tensors by name, and the SHA-256 of their file."""

    iteration: int
    tensors: dict[str, Tensor]
    sha256: str


class Run:
    """One run folder; `with` it, what is written there is this process's alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log: Any = None
        self._board: Any = None
        self._held: int | None = None

    @classmethod
    def create(cls, folder: Path, command: str, config: dict[str, Any]) -> "Run":
        """A new folder; refuses one that already holds a run, or what is left of one."""
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"out must be a new folder, but {folder} is a file")
        if (folder / "config.json").exists():
            more = "" if command == "bc" else f"; continue it with {resuming(folder)}"
            raise ValueError(f"out must be a new folder, but {folder} holds a run{more}")
        for left in ("checkpoints", "metrics.jsonl"):
            if (folder / left).exists():
                raise ValueError(f"out must be a new folder, but {folder} holds {left} of another run")
        folder.mkdir(parents=True, exist_ok=True)
        record = {"command": command, "config": config, "versions": versions(), "commit": commit()}
        write_json(folder / "config.json", record)
        return cls(folder)

    @classmethod
    def open(cls, folder: Path, command: str, argument: str = "resume") -> tuple["Run", dict[str, Any]]:
        """An existing folder and the configuration it was made with; errors name the argument that it comes from."""
        record = read_json(folder / "config.json")
        if not isinstance(record, dict) or record.get("command") != command:
            found = record.get("command") if isinstance(record, dict) else type(record).__name__
            raise ValueError(f"{argument} must be a run of {command}, but {folder} holds one of {found}")
        if not isinstance(record.get("config"), dict):
            raise ValueError(f"{folder}/config.json: expected the settings under config, but found none")
        return cls(folder), record["config"]

    def __enter__(self) -> "Run":
        """Keep the folder to this process until `close`; ValueError where another one writes there."""
        try:
            self._held = hold(self.folder)
        except BlockingIOError:
            raise ValueError(f"resume must be a run that no other process is at, but {self.folder} is in use") from None
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def keep(self, config: dict[str, Any], **more: Any) -> None:
        """Note the configuration that the run goes on with, where resuming changed it, and what else is to be known."""
        record = read_json(self.folder / "config.json")
        found = json.loads(json.dumps(record | {"config": config} | more))
        if found != record:
            write_json(self.folder / "config.json", found)

    def log(self, metrics: Metrics) -> None:
        """Append one line to metrics.jsonl and its numbers to TensorBoard."""
        if self._log is None:
            self._start_logs(metrics["iteration"])
        self._log.write(json.dumps(metrics) + "\n")
        self._log.flush()
        for name, number in metrics.items():
            if isinstance(number, int | float) and name != "iteration":
                self._board.add_scalar(name, number, metrics["env_steps"])

    def _start_logs(self, iteration: int) -> None:
        # Imported late: TensorBoard takes a second to load, and readers of a run do not need it.
        from torch.utils.tensorboard import SummaryWriter

        kept = self.cut(iteration - 1)
        self._log = open(self.folder / "metrics.jsonl", "a")
        purge = kept[-1]["env_steps"] + 1 if kept else 0
        self._board = SummaryWriter(str(self.folder), purge_step=purge)

    def cut(self, iteration: int) -> list[Metrics]:
        """Drop the metric lines beyond an iteration; returns the others."""
        found = self.metrics()
        kept = [m for m in found if m["iteration"] <= iteration]
        write_atomic(self.folder / "metrics.jsonl", "".join(json.dumps(m) + "\n" for m in kept).encode())
        return kept

    def metrics(self) -> list[Metrics]:
        """The logged lines; a last line cut short by a kill is left out."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [_metrics(path, number, line) for number, line in enumerate(lines, 1)]

    def save(self, algorithm: Algorithm) -> None:
        """Write a checkpoint, then drop all but the last KEEP, and the closing numbers of an earlier policy."""
        folder = self.folder / "checkpoints"
        folder.mkdir(exist_ok=True)
        name = f"{algorithm.iteration:06d}"
        checksum = save_tensors(folder / f"{name}.safetensors", algorithm.state_dict())
        record = {"iteration": algorithm.iteration, "env_steps": algorithm.env_steps, "sha256": checksum}
        write_json(folder / f"{name}.json", record)
        for closing in CLOSING:  # of an earlier end, before --resume went on with more steps: no longer this policy's
            (self.folder / closing).unlink(missing_ok=True)
        kept = {path.stem for path in _records(folder)[:KEEP]}
        for path in sorted(folder.glob("[0-9]*.*")):  # a record before its tensors, and tensors that a kill left alone
            if path.stem not in kept:
                path.unlink()

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint whose checksum holds, with a warning of those passed over; None where there is none."""
        problems: list[str] = []
        for path in _records(self.folder / "checkpoints"):
            try:
                record = read_json(path)
                tensors = load_tensors(path.with_suffix(".safetensors"), record["sha256"])
                found = Checkpoint(int(record["iteration"]), tensors, str(record["sha256"]))
            except (ValueError, KeyError, TypeError, OverflowError, OSError) as error:
                problems.append(str(error))
                continue
            for problem in problems:
                print(f"warning: {problem}; taking the checkpoint of iteration {found.iteration}", file=sys.stderr)
            return found
        if problems:
            raise ValueError(f"{self.folder}: no checkpoint can be read: {problems[0]}")
        return None

    def close(self) -> None:
        """Let go of the folder and close the logs, the second also where the first cannot be (a full disk)."""
        with contextlib.ExitStack() as stack:
            for log in (self._log, self._board):
                if log is not None:
                    stack.callback(log.close)
            if self._held is not None:
                stack.callback(os.close, self._held)
            self._log = self._board = self._held = None


def _records(folder: Path) -> list[Path]:
    """The checkpoints' JSON files, the newest first; by length, since a name is a number of at least six digits."""
    return sorted(folder.glob("*.json"), key=lambda path: (len(path.stem), path.stem), reverse=True)


def _metrics(path: Path, number: int, line: bytes) -> Metrics:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON in line {number}, but {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a JSON object in line {number}, but found {type(found).__name__}")
    for name in ("iteration", "env_steps"):
        if type(found.get(name)) is not int:
            shown = ascii(found.get(name))[:60]
            raise ValueError(f"{path}: expected an integer {name} in line {number}, but found {shown}")
    return found


def resuming(folder: Path) -> str:
    """The flags that continue a run: a task's package is imported only where it is named anew (deep.cli)."""
    path = folder / "config.json"
    record = read_json(path) if path.exists() else None
    config = record.get("config") if isinstance(record, dict) else None
    env = config.get("env") if isinstance(config, dict) else None
    named = ["--env", env] if isinstance(env, str) and ":" in env else []
    return shlex.join(["--resume", str(folder), *named])


def check_reached(steps: int, taken: int, batch: int) -> None:
    """ValueError where a resumed run, `taken` steps of `batch` an iteration, would have ended before with `steps`."""
    if steps <= taken - batch:
        raise ValueError(f"steps must be above {taken - batch}, since the run has taken {taken}, but is {steps}")


class Interrupted(Exception):
    """Ctrl-C came; the checkpoint is written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"interrupted; continue with {resuming(folder)}")


def iterations(run: Run, algorithm: Algorithm, steps: int, checkpoint_every: int) -> Iterator[Metrics]:
    """Iterate until env_steps reaches `steps`, logging each line and writing checkpoints; yields the metrics.

    In the main thread Ctrl-C lets the iteration in progress end, writes a checkpoint and raises Interrupted.
    """
    stop = False

    def request(signum: int, frame: Any) -> None:
        nonlocal stop
        if stop:  # a second Ctrl-C does not wait
            raise KeyboardInterrupt
        stop = True

    run.cut(algorithm.iteration)
    main = threading.current_thread() is threading.main_thread()  # no other may handle signals, or gets Ctrl-C
    before = signal.signal(signal.SIGINT, request) if main else None
    try:
        while algorithm.env_steps < steps:
            metrics = algorithm.iterate()
            run.log(metrics)
            last = algorithm.env_steps >= steps
            if last or stop or algorithm.iteration % checkpoint_every == 0:
                run.save(algorithm)
            if stop:
                raise Interrupted(run.folder)
            yield metrics
        if stop:  # it came after the last iteration, whose checkpoint is written
            raise Interrupted(run.folder)
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
