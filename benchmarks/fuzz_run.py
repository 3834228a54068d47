"""One damaged file through its reader, in a process of its own with limits; and what came of it.

Files are read in forks of a warm process, so that thousands take minutes. The child process in which foreign formats
are parsed is a fork too, with the code and the limits of the real one (deep.demos.child).
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from deep.demos import DemoError, Demos, child, load, quarantine
from deep.demos.limits import Budget

SECONDS = 20  # wall clock of one file, on a machine that does other things
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "socket.connect",
             "ctypes.dlopen", "os.mkdir", "os.remove", "os.rename", "shutil.")  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a file: accepted, refused or defect; why; whether a C library crashed in the child; the cost."""

    verdict: str
    message: str
    contained: bool
    seconds: float
    mebibytes: float


def memory(size: int) -> int:
    """Bytes that reading a file of that size may take beyond the process itself."""
    return 64 * 2**20 + 3 * Budget(size).total


def examine(reader: Callable[[Path], None], path: Path) -> Outcome:
    """Run a reader on a path in a fork; everything but an accepted file or one line of refusal is a defect."""
    began = time.monotonic()
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receive)
        _inside(reader, path, send)
    os.close(send)
    answer, late = _listen(receive, began + SECONDS)
    if late:
        os.killpg(pid, signal.SIGKILL)
    _, code, usage = os.wait4(pid, 0)
    status = os.waitstatus_to_exitcode(code)
    seconds, mebibytes = time.monotonic() - began, usage.ru_maxrss / 1024
    if late:
        return Outcome("defect", f"took more than {SECONDS} s", False, seconds, mebibytes)
    if status or not answer:
        return Outcome("defect", f"the reader's process ended with status {status}", False, seconds, mebibytes)
    verdict, message = json.loads(answer)
    return Outcome(verdict, message, "its reader ended with" in message, seconds, mebibytes)


def _listen(pipe: int, until: float) -> tuple[bytes, bool]:
    """All that comes from a pipe, and whether its end did not come in time."""
    found = b""
    with os.fdopen(pipe, "rb", buffering=0) as file:
        while (left := until - time.monotonic()) > 0:
            if select.select([file], [], [], left)[0]:
                part = file.read(2**16)
                if not part:
                    return found, False
                found += part
    return found, True


def _inside(reader: Callable[[Path], None], path: Path, send: int) -> None:
    """The fork: limits, an audit of what is called, and the answer on the pipe."""
    os.setpgid(0, 0)
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]  # left as it is: the child in the child has its own limit
    resource.setrlimit(resource.RLIMIT_AS, (own + memory(quarantine.size(path)), hard))
    calls: list[str] = []
    sys.addaudithook(lambda event, args: calls.append(event) if event.startswith(FORBIDDEN) else None)
    quarantine.run_child = forked
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader(path)
        answer = ("accepted", "")
    except (ValueError, OSError) as error:
        text, named = str(error), str(error).replace(str(path), "FILE")
        line = (
            "\n" not in text
            and text.isprintable()
            and len(text) < 1000
            and ("FILE" in named or named.startswith(("config.json: ", "metrics.jsonl, line ")))
        )
        answer = ("refused" if line else "defect", named[:1000])
    except BaseException as error:  # whatever else is raised is what this program looks for
        answer = ("defect", f"{type(error).__name__}: {error}"[:1000])
    if calls:
        answer = ("defect", f"called {', '.join(sorted(set(calls)))}")
    os.write(send, json.dumps(answer).encode())
    os._exit(0)


def forked(path: Path, kind: str, out: IO[bytes]) -> tuple[int, bytes]:
    """quarantine.run_child without starting an interpreter."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(out.fileno(), 1)
        os.dup2(send, 2)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        sys.argv = ["child", str(path), kind]
        status = 1
        try:
            child.main()
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        errors = pipe.read()
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), errors


def check_demos(path: Path, kind: Any = None) -> None:
    """Load demonstrations and hold them to what the format promises, without its code."""
    demos: Demos = load(path, format=kind)
    n, e = len(demos.obs), len(demos.lengths)
    good = [
        demos.obs.dtype == np.float64 and demos.obs.ndim == 2 and demos.obs.size > 0 and np.isfinite(demos.obs).all(),
        len(demos.acts) == n and (demos.acts.dtype, demos.acts.ndim) in ((np.float64, 2), (np.int64, 1)),
        np.isfinite(demos.acts).all() and (demos.acts.ndim == 2 or demos.acts.min() >= 0),
        demos.lengths.dtype == np.int64 and demos.lengths.min() >= 1 and sum(demos.lengths.tolist()) == n,
        demos.rewards is None or (demos.rewards.shape == (n,) and np.isfinite(demos.rewards).all()),
        demos.terminated is None or (demos.terminated.shape == (e,) and demos.terminated.dtype == bool),
        demos.time is None or (demos.time.shape == (n,) and demos.time.min() >= 0),
        demos.last_obs is None or (demos.last_obs.shape[0] == e and np.isfinite(demos.last_obs).all()),
        isinstance(demos.metadata, dict),
    ]
    if not all(good):
        raise AssertionError(f"loaded as invalid: {[i for i, g in enumerate(good) if not g]}")


def check_run(folder: Path) -> None:
    """Every reader of a run folder's JSON."""
    from deep import diagnostics, run, trained
    from deep.config import GailConfig
    from deep.config_values import from_dict
    from deep.expert import recorded

    record, config = run.Run.open(folder, "gail")
    from_dict(GailConfig, config)
    metrics = record.metrics()
    if len(metrics) >= diagnostics.LEAST:
        diagnostics.read(metrics)
    record.latest()
    recorded("CartPole-v0", folder / "demos.npz")
    trained.load(folder)
    trained.load_policy(folder)  # the record of an expert comes first


def check_weights(path: Path) -> None:
    """A policy's weights: finite, if they are taken."""
    from deep import envs
    from deep.expert import load_policy

    spec = envs.EnvSpec("CartPole-v0", 4, True, 2, None, None, 200, False)
    record = json.loads((Path(__file__).parent.parent / "deep/data/CartPole-v0/expert.json").read_text())
    policy = load_policy(path, spec, tuple(record["hidden"]))
    if not all(bool(p.isfinite().all()) for p in policy.parameters()):
        raise AssertionError("loaded weights that are not finite")


def check_zip(path: Path) -> None:
    """A policy of Stable-Baselines3, acting."""
    from deep import envs
    from deep.demos.sb3 import load_policy

    spec = envs.EnvSpec("CartPole-v0", 4, True, 2, None, None, 200, False)
    if not np.isin(load_policy(path, spec).act(np.ones((3, 4)), None), (0, 1)).all():
        raise AssertionError("acts outside its space")


def reader(kind: str) -> Callable[[Path], None]:
    """The function that reads a kind and checks what it read."""
    if kind in ("npz", "hdf5", "trajs", "minari", "imitation"):
        return check_demos
    return {"json": check_run, "safetensors": check_weights, "sb3": check_zip}[kind]


__all__ = ["DemoError", "Outcome", "examine", "memory", "reader"]
