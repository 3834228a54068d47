"""Faults: full and read-only disks, damaged checkpoints, a clock that goes back, simulators that fail, Ctrl-C.

After each, a run must go on, or end with one line and a status other than 0, leave every file whole that was there
before, and, where the fault can be mended, end in the same bits once resumed. Disks are small ones in memory (tmpfs):
needs root.
"""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from reliability_kills import reference
from reliability_runs import TASKS, Ended, Process, completed, differences, fresh, half_written, onward, resume
from reliability_tasks import Trouble, demonstrate, register

Row = dict[str, Any]
TASK = TASKS[0]
FULL = 12  # disks of different sizes
FLIPS = 10  # damaged checkpoints
CTRL_C = 30
COMMANDS = 6
MEBIBYTE = 2**20
SIMULATORS = {"nan": "NaN observation", "infinite": "infinite reward", "raise": "raises in step",
              "reset": "raises in reset", "lost": "NaN after reset"}  # fmt: skip


def rows(folder: Path, seed: int, done: list[Row]) -> Iterator[Row]:
    """Every case that has no row yet."""
    made = {(row["case"], row["number"]) for row in done}
    whole = reference(TASK, folder)
    cases: list[tuple[str, int, Callable[..., Row]]] = [("disk full", i, full_disk) for i in range(FULL)]
    cases += [("file larger than allowed", i, file_limit) for i in range(3)]
    cases += [("read-only folder, new run", 0, read_only), ("read-only folder, resumed", 1, read_only)]
    cases += [("folder below a file", 0, below_a_file)]
    cases += [("flipped bits in the last checkpoint", i, flipped) for i in range(FLIPS)]
    cases += [("flipped bits in every checkpoint", 0, all_flipped), ("clock goes back", 0, clock)]
    cases += [(f"simulator: {name}", 0, simulator) for name in SIMULATORS.values()]
    cases += [("Ctrl-C, training and closing", i, ctrl_c) for i in range(CTRL_C)]
    cases += [("Ctrl-C, from the command line", i, command_line) for i in range(COMMANDS)]
    for name, number, make in cases:
        if (name, number) not in made:
            out = folder / "broken"
            shutil.rmtree(out, ignore_errors=True)
            rng = np.random.default_rng([seed, len(name), number])
            yield {"case": name, "number": number} | make(out, whole, rng, name, number)


def row(ended: Ended, out: Path, resumed: bool | None = None, broken: list[str] | None = None) -> Row:
    """What became of a run."""
    lines = ended.err.strip().splitlines()
    message = (lines[-1] if lines else "").replace(str(out), "RUN")[:200]
    broken = (half_written(out) if out.is_dir() else []) if broken is None else broken
    return {"status": ended.status, "message": message, "clear": ended.clear, "broken": broken, "resumed": resumed}


def again(out: Path, whole: Path) -> bool:
    """Whether the run, continued, ends in the same bits."""
    ended = completed(onward(TASK, out), out.parent / "again.log")
    return ended.status == 0 and not differences(whole, out)


@contextmanager
def disk(folder: Path, size: int) -> Iterator[Callable[[str], None]]:
    """A file system of that many bytes; the value mounts it anew with other options."""

    def mount(options: str, more: tuple[str, ...] = ("-t", "tmpfs")) -> None:
        subprocess.run(["mount", *more, "-o", options, "none", str(folder)], check=True, capture_output=True)

    folder.mkdir(parents=True, exist_ok=True)
    mount(f"size={size}")
    try:
        yield lambda options: mount(f"remount,{options}")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk(out: Path, whole: Any, rng: np.random.Generator, name: str, number: int) -> Row:
    size = sum(path.stat().st_size for path in whole[0].rglob("*") if path.is_file())
    with disk(out.parent / "disk", int(4096 + rng.uniform(0, 1.1) * size)) as remount:
        out = out.parent / "disk" / "run"
        ended = completed(fresh(TASK, out), out.parent.parent / "full.log")
        found = row(ended, out)
        remount(f"size={64 * MEBIBYTE}")
        return found | {"resumed": again(out, whole[0])}


def file_limit(out: Path, whole: Any, rng: np.random.Generator, name: str, number: int) -> Row:
    limit = (100, 5_000, 40_000)[number]
    ended = completed(
        fresh(TASK, out), out.with_suffix(".log"), lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    return row(ended, out) | {"resumed": again(out, whole[0])}


def read_only(out: Path, whole: Any, rng: np.random.Generator, name: str, number: int) -> Row:
    with disk(out.parent / "disk", 64 * MEBIBYTE) as remount:
        out = out.parent / "disk" / "run"
        log = out.parent.parent / "read_only.log"
        if number:
            shutil.copytree(whole[0], out)
            (out / "result.json").unlink()
        remount("ro")
        argv = resume(out, "--steps", "4800") if number else fresh(TASK, out)
        ended = completed(argv, log)
        found = row(ended, out)
        remount("rw")
        return found | {"resumed": again(out, whole[0])}


def below_a_file(out: Path, whole: Any, rng: np.random.Generator, name: str, number: int) -> Row:
    out.write_text("kept")
    ended = completed(fresh(TASK, out / "run"), out.with_suffix(".log"))
    broken = [] if out.read_text() == "kept" else ["the file has changed"]
    out.unlink()
    return row(ended, out, broken=broken)


def flip(path: Path, rng: np.random.Generator) -> None:
    """One bit."""
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


def flipped(out: Path, whole: Any, rng: np.random.Generator, name: str, number: int) -> Row:
    shutil.copytree(whole[0], out)
    (out / "result.json").unlink()
    flip(sorted((out / "checkpoints").glob("*.safetensors"))[-1], rng)
    ended = completed(resume(out), out.with_suffix(".log"))
    found = row(ended, out)
    return found | {"resumed": ended.status == 0 and not differences(whole[0], out)}


def all_flipped(out: Path, whole: Any, rng: np.random.Generator, name: str, number: int) -> Row:
    shutil.copytree(whole[0], out)
    for path in (out / "checkpoints").glob("*.safetensors"):
        flip(path, rng)
    return row(completed(resume(out), out.with_suffix(".log")), out, broken=[])


def backwards() -> None:
    """The wall clock loses an hour at every look."""
    real, looks = time.time, [0]

    def earlier() -> float:
        looks[0] += 1
        return real() - 3600.0 * looks[0]

    time.time = earlier
    time.time_ns = lambda: int(earlier() * 1e9)


def clock(out: Path, whole: Any, rng: np.random.Generator, name: str, number: int) -> Row:
    ended = completed(fresh(TASK, out), out.with_suffix(".log"), backwards)
    return row(ended, out) | {"resumed": ended.status == 0 and not differences(whole[0], out)}


def simulator(out: Path, whole: Any, rng: np.random.Generator, name: str, number: int) -> Row:
    kind = next(k for k, text in SIMULATORS.items() if name.endswith(text))
    register("Trouble-v0", Trouble())
    path = demonstrate("Trouble-v0", out.parent / "demos.npz")
    argv = ["--demos", str(path), "--trajectories", "4", "--subsample", "1"]

    def fail() -> None:
        register("Trouble-v0", Trouble(fails=kind))

    return row(completed(fresh("Trouble-v0", out, *argv), out.with_suffix(".log"), fail), out)


def ctrl_c(out: Path, whole: Any, rng: np.random.Generator, name: str, number: int) -> Row:
    process = Process(fresh(TASK, out), out.with_suffix(".log"))
    time.sleep(rng.uniform(0.05, whole[1].seconds))
    running = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    process.signal(signal.SIGINT)
    ended = process.wait()
    lost = ["Ctrl-C was lost"] if running and ended.status == 0 else []
    return row(ended, out, broken=half_written(out) + lost) | {"resumed": again(out, whole[0])}


def command_line(out: Path, whole: Any, rng: np.random.Generator, name: str, number: int) -> Row:
    """The command itself, from the first moment of the interpreter on."""
    began = time.monotonic()
    command = [sys.executable, "-m", "deep.gail", *fresh(TASK, out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))  # fmt: skip
    time.sleep(rng.uniform(0.1, 8 + 2 * whole[1].seconds))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    ended = Ended(process.returncode, err, time.monotonic() - began)
    return row(ended, out) | {"resumed": again(out, whole[0])}
