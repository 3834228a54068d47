"""Long runs: memory, open files and threads after a tenth of ten million steps and at their end; bytes of the logs."""

from __future__ import annotations

import dataclasses
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reliability_tasks import demonstrate
from rich.console import Console

from deep import envs, progress
from deep.config import GailConfig, gail_defaults
from deep.gail import train
from deep.imitator import Imitator
from deep.run import Run
from deep.trpo import TrpoConfig
from deep.value import ValueConfig

Row = dict[str, Any]
STATES, ACTIONS = 12, 3
TIMES = 200  # simulators made and closed
MADE = {"Hopper-v4": "Hopper-v4, batch", "Humanoid-v4": "Humanoid-v4, pool of threads", "CartPole-v0": "CartPole-v0"}


def rows(folder: Path, seed: int, done: list[Row]) -> Iterator[Row]:
    """Ten million steps of a finite MDP, the Hopper with evaluations, and simulators that come and go."""
    torch.set_num_threads(1)
    made = {row["case"] for row in done}
    for case, make in RUNS.items():
        if case not in made:
            yield {"kind": "run", "case": case} | watch(make(folder, seed), folder / case.split()[0])
    for task, case in MADE.items():
        if case not in made:
            yield {"kind": "made", "case": case} | come_and_go(task, TIMES)


def table(folder: Path, seed: int, steps: int = 10_000_000) -> GailConfig:
    """A finite MDP under 1,000 simulators: the fastest stepping there is here."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(STATES), (STATES, ACTIONS))
    envs.register_table("Long-v0", envs.Table(P, np.full(STATES, 1 / STATES), 0.95, rng.random((STATES, ACTIONS))))
    demos = demonstrate("Long-v0", folder / "long.npz")
    base = gail_defaults("Long-v0")
    learner = dataclasses.replace(
        base.learner, simulators=1000, batch=20_000, hidden=(16, 16), trpo=TrpoConfig(fisher_fraction=0.05),
        value=ValueConfig(epochs=1, minibatch=2000),
    )  # fmt: skip
    return dataclasses.replace(
        base, demos=demos, trajectories=8, subsample=1, seed=seed, steps=steps, learner=learner, eval_every=0,
        checkpoint_every=20, threads=1,
    )  # fmt: skip


def hopper(folder: Path, seed: int, steps: int = 60_000) -> GailConfig:
    """MuJoCo, with an evaluation (its own simulators) every 3,000 steps."""
    base = gail_defaults("Hopper-v4")
    learner = dataclasses.replace(base.learner, simulators=50, batch=1000, hidden=(32, 32))
    return dataclasses.replace(base, seed=seed, steps=steps, learner=learner, eval_every=3_000, eval_episodes=1,
                               checkpoint_every=10, threads=1)  # fmt: skip


RUNS = {"Table of 12 states": table, "Hopper-v4 with 20 evaluations": hopper}


def usage() -> tuple[float, int, int]:
    """Resident memory in MiB, open files, threads."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20, len(os.listdir("/proc/self/fd")), threading.active_count()


def watch(config: GailConfig, folder: Path) -> Row:
    """Train as deep.gail does, logs and checkpoints included."""
    imitator, record = Imitator(config), Run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    first = None
    quiet = Console(file=io.StringIO())
    try:
        for m in progress.show(train(imitator, record), "", 0, config.steps, quiet):
            if first is None and m["env_steps"] >= config.steps / 10:
                first = usage()
        last = usage()
    finally:
        imitator.close()
        record.close()
    events = sum(path.stat().st_size for path in folder.glob("events.*"))
    iterations = imitator.iteration
    return {
        "steps": imitator.env_steps, "iterations": iterations,
        "rss_first": first[0], "rss_last": last[0],
        "files_first": first[1], "files_last": last[1], "threads_first": first[2], "threads_last": last[2],
        "metrics_bytes": (folder / "metrics.jsonl").stat().st_size / iterations, "events_bytes": events / iterations,
    }  # fmt: skip


def come_and_go(task: str, times: int) -> Row:
    """What is left of simulators that were made, stepped and closed."""
    first = usage()
    for i in range(times):
        simulator = envs.make(task, 4, i, threads=2)
        simulator.reset()
        acts = np.zeros(4, dtype=int) if simulator.spec.discrete else np.zeros((4, simulator.spec.act_dim))
        simulator.step(acts)
        simulator.close()
        if i == times // 10:
            first = usage()
    last = usage()
    return {
        "times": times, "rss_first": first[0], "rss_last": last[0],
        "files": last[1] - first[1], "threads": last[2] - first[2],
    }  # fmt: skip
