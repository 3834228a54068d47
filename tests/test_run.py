"""The run folder: atomic files, checkpoints that are checked, and runs that resume to the same bits."""

import dataclasses
import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from deep import files, run
from deep.config import GailConfig, LearnerConfig, gail_defaults
from deep.imitator import Imitator
from deep.run import Interrupted, Run

TASK = "HalfCheetah-v4"


def config(steps: int = 1200, **changes: object) -> GailConfig:
    base = gail_defaults(TASK, "fast")
    fields = {f: getattr(base, f) for f in base.__dataclass_fields__}
    learner = LearnerConfig(simulators=4, batch=200, trpo=base.learner.trpo, update_normaliser=True)
    return GailConfig(**fields | {"steps": steps, "eval_every": 0, "learner": learner, "threads": 1} | changes)


class Counter:
    """The least algorithm that the loop can drive."""

    def __init__(self) -> None:
        self.iteration = 0
        self.on_step = lambda: None

    @property
    def env_steps(self) -> int:
        return 10 * self.iteration

    def iterate(self) -> run.Metrics:
        self.on_step()
        self.iteration += 1
        return {"iteration": self.iteration, "env_steps": self.env_steps, "value": 0.5 * self.iteration}

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"iteration": torch.tensor(self.iteration)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.iteration = int(state["iteration"])


def drive(record: Run, counter: Counter, steps: int, every: int = 2) -> list[run.Metrics]:
    try:
        return list(run.iterations(record, counter, steps, every))
    finally:
        record.close()


def test_the_last_checkpoints_are_kept_and_the_newest_is_found(tmp_path: Path) -> None:
    record = Run.create(tmp_path / "r", "test", {"a": 1})
    drive(record, Counter(), 100)
    names = sorted(p.name for p in (tmp_path / "r" / "checkpoints").iterdir())
    assert names == [f"{i:06d}.{kind}" for i in (6, 8, 10) for kind in ("json", "safetensors")]
    assert record.latest().iteration == 10


def test_a_damaged_checkpoint_is_passed_over_and_only_damaged_ones_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    record = Run.create(tmp_path / "r", "test", {})
    drive(record, Counter(), 100)
    files = sorted((tmp_path / "r" / "checkpoints").glob("*.safetensors"))
    data = bytearray(files[-1].read_bytes())
    data[-1] ^= 1
    files[-1].write_bytes(data)
    assert record.latest().iteration == 8
    said = capsys.readouterr().err
    assert said.startswith("warning: ") and said.endswith(
        "changed or cut short; taking the checkpoint of iteration 8\n"
    )
    for path in files:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"no checkpoint can be read: .*changed or cut short"):
        record.latest()


def test_checkpoints_are_ordered_by_number_and_tensors_left_alone_by_a_kill_go(tmp_path: Path) -> None:
    record, counter = Run.create(tmp_path / "r", "test", {}), Counter()
    counter.iteration = 999_997
    for _ in range(5):
        counter.iterate()
        record.save(counter)
        if counter.iteration == 999_999:
            (tmp_path / "r" / "checkpoints" / "999998.json").unlink()  # where kill -9 came between the two
    names = sorted(p.name for p in (tmp_path / "r" / "checkpoints").iterdir())
    assert names == [f"{i}.{kind}" for i in (1_000_000, 1_000_001, 1_000_002) for kind in ("json", "safetensors")]
    assert record.latest().iteration == 1_000_002


def test_ctrl_c_after_the_last_iteration_is_not_lost(tmp_path: Path) -> None:
    record = Run.create(tmp_path / "r", "test", {})
    with pytest.raises(Interrupted):
        for m in run.iterations(record, Counter(), 20, 50):
            if m["env_steps"] == 20:
                os.kill(os.getpid(), signal.SIGINT)
    record.close()
    assert record.latest().iteration == 2


def test_a_failed_write_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*x\.json'"):
        files.write_json(tmp_path / "x.json", 1)


def test_resuming_drops_the_lines_after_the_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    drive(Run.create(folder, "test", {}), Counter(), 50, every=2)  # checkpoints at 2, 4 and the end, 5
    for path in (folder / "checkpoints").glob("000005.*"):
        path.unlink()
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"iteration": 6, "env_st')  # what a kill leaves
    record, _ = Run.open(folder, "test")
    counter = Counter()
    counter.load_state_dict(record.latest().tensors)
    assert counter.iteration == 4
    drive(record, counter, 80)
    assert [m["iteration"] for m in record.metrics()] == list(range(1, 9))


def test_a_run_that_ends_where_it_was_resumed_has_no_lines_beyond(tmp_path: Path) -> None:
    record = Run.create(tmp_path / "r", "test", {})
    drive(record, Counter(), 80)
    counter = Counter()
    counter.iteration = 6
    drive(record, counter, 60)
    assert [m["iteration"] for m in record.metrics()] == [1, 2, 3, 4, 5, 6]


def test_ctrl_c_finishes_the_iteration_and_leaves_a_checkpoint(tmp_path: Path) -> None:
    record, counter = Run.create(tmp_path / "r", "test", {}), Counter()
    before = signal.getsignal(signal.SIGINT)  # ignored in some shells' background jobs
    counter.on_step = lambda: counter.iteration == 2 and os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted, match="continue with --resume"):
        drive(record, counter, 100, every=50)
    assert record.latest().iteration == 3
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_goes_on_outside_the_main_thread(tmp_path: Path) -> None:
    record, lines = Run.create(tmp_path / "r", "test", {}), []
    thread = threading.Thread(target=lambda: lines.extend(drive(record, Counter(), 30)))
    thread.start()
    thread.join()
    assert [m["env_steps"] for m in lines] == [10, 20, 30] and record.latest().iteration == 3


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    Run.create(tmp_path / "r", "test", {"kept": True})
    with pytest.raises(ValueError, match="out must be a new folder"):
        Run.create(tmp_path / "r", "test", {})
    assert Run.open(tmp_path / "r", "test")[1] == {"kept": True}
    with pytest.raises(ValueError, match=r"resume must be a run of other, but .* holds one of test"):
        Run.open(tmp_path / "r", "other")


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    files.write_json(path, {"old": 1})

    def fail(fd: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("absorbing", [False, True])
@pytest.mark.parametrize("reuse", [1, 3])
def test_resuming_equals_not_stopping(absorbing: bool, reuse: int) -> None:
    c = config(absorbing=absorbing, entropy=1e-3)
    c = dataclasses.replace(c, learner=dataclasses.replace(c.learner, reuse=reuse))
    straight, first, second = Imitator(c), Imitator(c), Imitator(c)
    lines = [straight.iterate() for _ in range(6)]
    early = [first.iterate() for _ in range(3)]
    second.load_state_dict({k: v.clone() for k, v in first.state_dict().items()})
    late = [second.iterate() for _ in range(3)]
    assert early + late == lines
    expected, found = straight.state_dict(), second.state_dict()
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    for imitator in (straight, first, second):
        imitator.close()


def test_results_do_not_depend_on_the_simulators_threads() -> None:
    found = []
    for threads in (1, 2):
        imitator = Imitator(config(threads=threads))
        found.append([imitator.iterate() for _ in range(2)])
        imitator.close()
    assert found[0] == found[1]


def program(folder: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "deep.gail", "--env", TASK, "--steps", "3200", "--out", str(folder),
        "--learner.simulators", "4", "--learner.batch", "200", "--eval-every", "1000", "--eval-episodes", "1",
        "--final-episodes", "1", "--checkpoint-every", "1", *more,
    ]  # fmt: skip


def test_kill_nine_and_resume_end_in_the_same_bits(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(program(whole), check=True, capture_output=True)
    process = subprocess.Popen(program(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = killed / "checkpoints"
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(random.Random(0).random())  # somewhere in the middle of things
    process.kill()
    process.wait()
    assert not (killed / "result.json").exists(), "the run ended before it was killed: make it longer"
    resume = [sys.executable, "-m", "deep.gail", "--resume", str(killed)]
    subprocess.run(resume, check=True, capture_output=True)
    for name in ("000016.safetensors", "000016.json"):
        assert (checkpoints / name).read_bytes() == (whole / "checkpoints" / name).read_bytes()
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    results = [json.loads((f / "result.json").read_text()) for f in (whole, killed)]
    for result in results:
        del result["seconds"], result["config"]
    assert results[0] == results[1]
