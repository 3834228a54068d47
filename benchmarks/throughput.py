"""How much of the machine training uses, in environment steps a second, side by side in one run.

    python benchmarks/throughput.py
    python benchmarks/throughput.py --peer-python PEER/bin/python

ceiling      physics alone: the collection's own actions replayed from its own states and resets through the batched
             stepper, on all cores. The replay must end in the state in which the collection ended, bit for bit.
collection   the same steps as the training loop collects them: policy, observations, rewards, resets.
training     whole iterations of GAIL with each preset; no evaluation, no checkpoint. The fast preset looks at several
             small batches a step to need fewer of them; the published one looks at 50,000 pairs, once.
peer         GAIL of HumanCompatibleAI/imitation with sb3-contrib's TRPO on the same pairs, with as many environment
             steps an iteration (see peer_imitation.py).

The four take turns. A cell is the median over rounds with its range; a ratio is taken within a round. Shares are of
training's clock. The value fit runs beside the rest and is no part of the sum: only waiting for it is.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import tyro
from throughput_page import BESIDE, PARTS, Round, report

import deep.learner
from deep import costs, demos, envs, trpo, value
from deep.cli import main_guard
from deep.config import GailConfig, Preset, gail_defaults
from deep.envs.native import TASKS
from deep.imitator import Imitator

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks" / "throughput.md"
PEER = Path(__file__).parent / "peer_imitation.py"
PAIRS = 200  # what 4 subsampled trajectories hold (Section 6 of the paper)
NOT_INSTALLED, FAILED = "not installed", "failed"


@dataclass(frozen=True)
class Request:
    """What to measure."""

    envs: tuple[str, ...] = ("Walker2d-v4", "Hopper-v4", "HalfCheetah-v4", "Ant-v4")
    """Tasks with a native simulator. One without bundled demonstrations imitates a random policy."""
    presets: tuple[Preset, ...] = ("fast", "paper")
    """Settings of the training loop."""
    rounds: int = 3
    """Times that the measurements take turns."""
    steps: int = 30_000
    """Environment steps of a measurement, in whole iterations."""
    warmup: int = 20_000
    """Environment steps of GAIL before the first measurement, in whole iterations."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 0
    """Threads of the simulators; 0 uses every core."""
    peer_python: Path | None = None
    """Interpreter of the environment in which the peer is installed."""
    peer_rounds: int = 3
    """The peer's training rounds in a measurement."""
    peer_parallel: bool = False
    """Give each of the peer's simulators a process."""
    out: Path = REPORT
    """The report."""


class Clock:
    """Seconds spent in wrapped functions, by part."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys((*PARTS, BESIDE), 0.0)

    def timed(self, part: str, function: Callable) -> Callable:
        def call(*args, **kwargs):
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[part] += time.perf_counter() - began

        return call


@contextmanager
def clocked(imitator: Imitator) -> Iterator[Clock]:
    """The parts of an iteration under a clock."""
    clock, learner = Clock(), imitator.learner
    places = (
        (learner.collector.simulator, "step", "simulate"),
        (imitator.policy, "act", "policy"),
        (costs, "fit", "cost fit"),
        (learner, "_values", "values and GAE"),
        (deep.learner, "gae", "values and GAE"),
        (trpo, "step", "TRPO step"),
        (learner, "settle", "waiting for the value fit"),
        (value, "fit", BESIDE),
    )
    with ExitStack() as stack:
        for owner, name, part in places:
            stack.enter_context(patch.object(owner, name, clock.timed(part, getattr(owner, name))))
        yield clock


def physics(imitator: Imitator, iterations: int) -> tuple[float, float]:
    """Steps a second of the ceiling and of collection, over the same transitions."""
    learner = imitator.learner
    learner.settle()
    simulator = learner.collector.simulator
    stepper, begin = simulator._batch, simulator._begin
    resets: list[tuple[np.ndarray, np.ndarray]] = []

    def note(ids: np.ndarray) -> None:
        begin(ids)
        resets.append((ids, stepper.state[ids]))

    start = stepper.state.copy()
    with patch.object(simulator, "_begin", note):
        began = time.perf_counter()
        batches = [learner.collector.collect(imitator.policy, learner.config.steps) for _ in range(iterations)]
        collecting = time.perf_counter() - began
    end = stepper.state.copy()
    acts, ended = (np.concatenate([getattr(b, name) for b in batches]) for name in ("acts", "ended"))
    stepper.state[:] = start
    pending, stepping = iter(resets), 0.0
    for t in range(len(acts)):
        began = time.perf_counter()
        simulator._ctrl[:] = acts[t]
        stepper.step(nstep=simulator._task.frame_skip)
        stepping += time.perf_counter() - began
        if ended[t].any():
            ids, rows = next(pending)
            stepper.state[ids] = rows
    if not np.array_equal(stepper.state, end):
        raise RuntimeError(f"{simulator.spec.id}: the replay must end where the collection ended, but does not")
    return ended.size / stepping, ended.size / collecting


def training(imitator: Imitator, iterations: int) -> tuple[float, dict[str, float]]:
    """Steps a second of whole iterations, and the share of each part."""
    learner = imitator.learner
    imitator.iterate()  # leaves a value fit under way, as every later iteration does
    with clocked(imitator) as clock:
        first, began = learner.env_steps, time.perf_counter()
        for _ in range(iterations):
            imitator.iterate()
        seconds, steps = time.perf_counter() - began, learner.env_steps - first
        spent = {part: clock.seconds[part] for part in PARTS}
        learner.settle()
    spent["rest"] = seconds - sum(spent.values())
    return steps / seconds, {part: s / seconds for part, s in (spent | {BESIDE: clock.seconds[BESIDE]}).items()}


def peer(request: Request, env: str, batch: int, pairs: Path, versions: dict[str, str]) -> float | str:
    """The peer's steps a second in rounds of `batch` steps, or why there are none; its versions go to `versions`."""
    if request.peer_python is None:
        return NOT_INSTALLED
    command = [str(request.peer_python), str(PEER), "--env", env, "--pairs", str(pairs)]
    command += ["--rounds", str(request.peer_rounds), "--seed", str(request.seed), "--batch", str(batch)]
    command += ["--parallel"] if request.peer_parallel else []
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        print(f"{env}: the peer failed: {found.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return FAILED
    answer = json.loads(found.stdout.splitlines()[-1])
    versions.update(answer["versions"])
    return statistics.median(answer["steps_per_second"])


def configuration(request: Request, env: str, preset: Preset, folder: Path) -> GailConfig:
    """A preset; where there are no demonstrations, with those of a random policy."""
    config = dataclasses.replace(gail_defaults(env, preset), seed=request.seed, threads=request.threads, eval_every=0)
    if demos.bundled(env) is not None:
        return config
    episodes, rng = 16, np.random.default_rng(request.seed)
    simulator = envs.make(env, episodes, request.seed, request.threads)
    low, high = simulator.spec.act_low, simulator.spec.act_high
    sampled = demos.sample_episodes(
        lambda obs, generator: generator.uniform(low, high, (len(obs), len(low))), simulator, episodes, rng
    )
    simulator.close()
    every = max(1, len(sampled.obs) // PAIRS)
    path = folder / f"{env}-random.npz"
    demos.save(path, demos.subsample(sampled, every, rng))
    return dataclasses.replace(config, demos=path, trajectories=episodes, subsample=every)


def measure(request: Request, env: str, preset: Preset, folder: Path, versions: dict[str, str]) -> list[Round]:
    """All rounds of a task and a preset."""
    imitator = Imitator(configuration(request, env, preset, folder))
    pairs = folder / f"{env}-pairs.npz"
    np.savez(pairs, obs=imitator.pairs.obs, acts=imitator.pairs.acts)
    while imitator.env_steps < request.warmup:
        imitator.iterate()
    batch = imitator.env_steps // imitator.iteration
    iterations, found = -(-request.steps // batch), []
    for _ in range(request.rounds):
        ceiling, collection = physics(imitator, iterations)
        speed, shares = training(imitator, iterations)
        other = peer(request, env, batch, pairs, versions)
        found.append(Round(ceiling, collection, speed, other, shares))
        print(f"{env} {preset}: {found[-1]}", file=sys.stderr, flush=True)
    imitator.close()
    return found


def main(request: Request) -> None:
    for name in ("rounds", "steps", "warmup", "peer_rounds"):
        if getattr(request, name) < 1:
            raise ValueError(f"{name} must be at least 1, but is {getattr(request, name)}")
    for env in request.envs:
        if env not in TASKS:
            raise ValueError(f"envs must have a native simulator, one of {', '.join(TASKS)}, but has {env}")
    load, versions = os.getloadavg()[0], {}
    with tempfile.TemporaryDirectory() as folder:
        cells = [(env, preset) for env in request.envs for preset in request.presets]
        results = {cell: measure(request, *cell, Path(folder), versions) for cell in cells}
    text = report(results, request.rounds, versions, load)
    request.out.parent.mkdir(parents=True, exist_ok=True)
    request.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main_guard(lambda: main(tyro.cli(Request, description=__doc__)))
