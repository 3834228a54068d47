"""Sweeps on real clusters: a machine lost in mid-run, a run that raises, and Ctrl-C."""

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deep import sweep, sweep_lines, sweep_ray, sweep_run
from deep.sweep_grid import Cell, cell

ROOT = Path(__file__).parent.parent
PATIENCE = 240.0  # seconds until a wait is given up; a quiet machine needs a tenth of it
CLONING = ("--bc.epochs", "20", "--final-episodes", "4")
FLAGS = (*CLONING, "--eval-episodes", "2", "--eval-every", "4000", "--checkpoint-every", "2")
TIMES = ("seconds", "finished", "attempts")  # what two runs of a cell may differ in


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.05)


def gail(seed: int, steps: int) -> Cell:
    return cell("gail", "CartPole-v0", 1, seed, steps=steps, flags=FLAGS)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that runs nothing and two nodes of one CPU."""
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": sweep_ray.STORE, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (sweep_ray.ENVIRONMENT | {"PYTHONPATH": str(ROOT)}).items():
            patch.setenv(name, value)  # what `ray start` of a user would have
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
        made.add_node(num_cpus=1, **small)
        made.lost = made.add_node(num_cpus=1, **small)
        yield made
        made.shutdown()


def test_a_node_lost_in_mid_run_costs_time_and_nothing_else(cluster: Any, tmp_path: Path) -> None:
    """Two runs on two nodes, of which one is killed; a third raises. The table is that of an undisturbed run."""
    runs, out = tmp_path / "runs", tmp_path / "raw.jsonl"
    good = [gail(1, 12_000), gail(2, 12_000)]
    clone = cell("bc", "CartPole-v0", 1, 1, flags=CLONING)
    broken = Cell("bc", dataclasses.replace(clone.config, trajectories=999))
    failed_to_kill = []

    def kill() -> None:
        try:
            until(lambda: all(sweep_run.progress(c, runs) >= 1_000 for c in good), "work on both nodes")
            assert not sweep_lines.read(out)  # in mid-run
            cluster.remove_node(cluster.lost, allow_graceful=False)
        except BaseException as error:
            failed_to_kill.append(error)

    killer = threading.Thread(target=kill)
    killer.start()
    said = io.StringIO()
    cells = [*good, broken, clone]
    console = Console(file=said, width=200)
    failures = sweep.sweep(cells, out, console, runs=runs, address=cluster.address)
    killer.join()
    assert not failed_to_kill
    assert failures == 1 and "failed: ValueError: trajectories must be in 1..10" in said.getvalue()
    found = {x["identity"]: x for x in sweep_lines.read(out)}
    assert set(found) == {c.identity() for c in [*good, clone]}
    assert sorted(x["attempts"] for x in found.values()) == [1, 1, 2]  # one run was lost and taken up again
    for one in [*good, clone]:
        alone = json.loads(json.dumps(sweep_run.perform(one, tmp_path / "alone")))
        mine = found[one.identity()]
        assert {k: v for k, v in alone.items() if k not in TIMES} == {k: v for k, v in mine.items() if k not in TIMES}
    assert sweep.missing(cells, out) == [broken]


def heed_interrupts() -> None:
    """What starts the tests may ignore them, as shells do for jobs in the background, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_leaves_a_valid_file_and_a_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    """The command itself, on a cluster of its own, interrupted from the keyboard in its first run."""
    runs, out = tmp_path / "runs", tmp_path / "raw.jsonl"
    endless = [gail(s, 10_000_000) for s in (1, 2)]
    command = [sys.executable, "-m", "deep.sweep", "--envs", "CartPole-v0", "--methods", "gail", "--trajectories", "1"]
    command += ["--first-seed", "1", "--seeds", "2", "--steps", str(endless[0].steps), "--jobs", "1"]
    going = subprocess.Popen(
        [*command, "--out", str(out), "--runs", str(runs), "--", *FLAGS],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    try:
        until(lambda: sweep_run.progress(endless[0], runs) >= 3_000, "a run")
        os.killpg(going.pid, signal.SIGINT)  # as a terminal does, to every process of the group
        output, errors = going.communicate(timeout=PATIENCE)
    finally:
        going.kill()
    assert going.returncode == 130, errors
    assert "the same command goes on from there" in output.replace("\n", " ") and errors.strip() == "interrupted"
    assert sweep_lines.read(out) == []
    checkpoints = list((sweep_run.folder(endless[0], runs) / "checkpoints").glob("*.json"))
    assert checkpoints and not sweep_run.folder(endless[1], runs).exists()
