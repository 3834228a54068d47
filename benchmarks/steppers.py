"""Which stepper? Environment steps per second of every way to run E copies of a MuJoCo task, in one run.

    python benchmarks/steppers.py

Bare steppers replay states and actions recorded from a random policy, so all of them do the same physics, and each
is compared with one mj_step after another on one MjData (column "deviation": the largest difference of any state
after one environment step). The others do the whole job (observations, rewards, resets) under the same policy:

    mj_step          one MjData on one thread, the reference
    threads          one MjData a thread over mj_step(nstep=frame_skip)
    mujoco.rollout   one call a step; it returns no warm start, which has to be kept for the next call
    mujoco.batch     what deep.envs builds upon
    deep.envs        all of it
    gymnasium sync, gymnasium async, envpool (where installed; it brings a MuJoCo of its own)

Rounds of the methods alternate, so that a busy machine slows all of them; the median is printed. Writes
docs/benchmarks/steppers.md.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import tyro
from mujoco.batch import Batch
from mujoco.rollout import Rollout

from deep import envs
from deep.envs.native import TASKS, cores, load_model
from deep.envs.quiet import old_tasks

OUT = Path(__file__).parent.parent / "docs" / "benchmarks" / "steppers.md"
ROW = mujoco.mjtState.mjSTATE_INTEGRATION
FULL = mujoco.mjtState.mjSTATE_FULLPHYSICS
ASYNC_LIMIT = 32  # processes
STD = 0.5  # of the random actions

Stepper = Callable[[int], object]
"""One environment step of all simulators, number t of the round."""


@dataclass(frozen=True)
class Request:
    """What to measure."""

    tasks: tuple[str, ...] = ("Hopper-v4", "HalfCheetah-v4", "Walker2d-v4", "Ant-v4")
    """Native tasks."""
    nums: tuple[int, ...] = (8, 32, 128)
    """Numbers of simulators E."""
    seconds: float = 0.12
    """Time of one round of one method."""
    rounds: int = 3
    """Rounds of which the median is taken."""
    out: Path = OUT
    """Where the table is written."""


@dataclass(frozen=True)
class Recording:
    """States before the steps and after them [T, E, state], with their actions [T, E, U]."""

    model: mujoco.MjModel
    nstep: int
    before: np.ndarray
    after: np.ndarray
    acts: np.ndarray


def record(task: str, num: int, steps: int) -> Recording:
    """A random policy's states; what follows each is computed on one MjData."""
    sim, rng = envs.make(task, num, seed=0), np.random.default_rng(0)
    model, nstep = load_model(TASKS[task]), TASKS[task].frame_skip
    data, start = mujoco.MjData(model), mujoco.mj_stateSize(model, int(mujoco.mjtState.mjSTATE_CTRL) - 1)
    acts = STD * rng.standard_normal((steps, num, model.nu))
    before, after = [], []
    sim.reset()
    for t in range(steps):
        rows = sim.state_dict()["physics"]
        rows[:, start : start + model.nu] = acts[t]
        before.append(rows)
        after.append(np.empty_like(rows))
        for i, row in enumerate(rows):
            mujoco.mj_setState(model, data, row, ROW)
            mujoco.mj_step(model, data, nstep)
            mujoco.mj_getState(model, data, after[t][i], ROW)
        sim.step(acts[t])
    return Recording(model, nstep, np.array(before), np.array(after), acts)


def serial(rec: Recording, stack: ExitStack) -> Stepper:
    """One mj_step after another."""
    data, out = mujoco.MjData(rec.model), np.empty_like(rec.after[0])

    def step(t: int) -> np.ndarray:
        for row, result in zip(rec.before[t], out, strict=True):
            mujoco.mj_setState(rec.model, data, row, ROW)
            mujoco.mj_step(rec.model, data, rec.nstep)
            mujoco.mj_getState(rec.model, data, result, ROW)
        return out

    return step


def threads(rec: Recording, stack: ExitStack) -> Stepper:
    """Threads take the next simulator as they become free."""
    datas = [mujoco.MjData(rec.model) for _ in range(cores())]
    executor, out = stack.enter_context(ThreadPoolExecutor(cores())), np.empty_like(rec.after[0])

    def step(t: int) -> np.ndarray:
        todo = iter(range(len(out)))

        def work(data: mujoco.MjData) -> None:
            for i in todo:
                mujoco.mj_setState(rec.model, data, rec.before[t, i], ROW)
                mujoco.mj_step(rec.model, data, rec.nstep)
                mujoco.mj_getState(rec.model, data, out[i], ROW)

        list(executor.map(work, datas))
        return out

    return step


def rollout(rec: Recording, stack: ExitStack) -> Stepper:
    """mujoco.rollout from given states, warm starts and constant controls."""
    datas = [mujoco.MjData(rec.model) for _ in range(cores())]
    pool, nv = stack.enter_context(Rollout(nthread=cores())), rec.model.nv
    steps, num = rec.acts.shape[:2]
    starts = np.empty((steps, num, mujoco.mj_stateSize(rec.model, FULL)))
    warm = mujoco.mj_stateSize(rec.model, int(mujoco.mjtState.mjSTATE_WARMSTART) - 1)
    for t, i in np.ndindex(steps, num):
        mujoco.mj_extractState(rec.model, rec.before[t, i], ROW, starts[t, i], FULL)
    controls = np.repeat(rec.acts[:, :, None], rec.nstep, axis=2)

    def step(t: int) -> np.ndarray:
        warmstarts = rec.before[t, :, warm : warm + nv].copy()
        states, _ = pool.rollout(rec.model, datas, starts[t], controls[t], initial_warmstart=warmstarts)
        return states[:, -1]

    return step


def batch(rec: Recording, stack: ExitStack) -> Stepper:
    """mujoco.batch.Batch, its rows overwritten before every step."""
    stepper = Batch(rec.model, rec.acts.shape[1], cores())

    def step(t: int) -> np.ndarray:
        stepper.state[:] = rec.before[t]
        stepper.step(nstep=rec.nstep)
        return stepper.state

    return step


BARE: dict[str, Callable[[Recording, ExitStack], Stepper]] = {
    "mj_step": serial,
    "threads": threads,
    "mujoco.rollout": rollout,
    "mujoco.batch": batch,
}


def whole(task: str, rec: Recording, stack: ExitStack) -> dict[str, Stepper]:
    """Steppers that also observe, pay and reset."""
    num = rec.acts.shape[1]
    sim = envs.make(task, num, seed=0)
    stack.callback(sim.close)
    sim.reset()
    found: dict[str, Stepper] = {"deep.envs": lambda t: sim.step(rec.acts[t])}
    kinds = {"gymnasium sync": "sync"} | ({"gymnasium async": "async"} if num <= ASYNC_LIMIT else {})
    for name, kind in kinds.items():
        with old_tasks():
            env = gymnasium.make_vec(task, num_envs=num, vectorization_mode=kind)
        stack.callback(env.close)
        env.reset(seed=0)
        found[name] = lambda t, env=env: env.step(rec.acts[t])
    try:
        import envpool
    except ImportError:
        return found
    pool = envpool.make(task, env_type="gymnasium", num_envs=num, num_threads=cores())
    stack.callback(pool.close)
    pool.reset()
    return found | {"envpool": lambda t: pool.step(rec.acts[t])}


def deviation(rec: Recording, step: Stepper) -> float:
    """Largest difference from the reference over the recording; states without warm start are compared as such."""
    worst = 0.0
    for t, after in enumerate(rec.after):
        found = step(t)
        if found.shape[1] < after.shape[1]:
            after = np.stack([_extract(rec.model, row, found.shape[1]) for row in after])
        worst = max(worst, float(np.abs(found - after).max()))
    return worst


def _extract(model: mujoco.MjModel, row: np.ndarray, size: int) -> np.ndarray:
    out = np.empty(size)
    mujoco.mj_extractState(model, row, ROW, out, FULL)
    return out


def speed(step: Stepper, rec: Recording, seconds: float) -> float:
    """Environment steps per second over one round."""
    steps, num = rec.acts.shape[:2]
    done, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds or done < 2:
        step(done % steps)
        done += 1
    return done * num / taken


def measure(task: str, num: int, request: Request) -> dict[str, tuple[float, float | None]]:
    """Method -> (steps/s, deviation), for one task and E."""
    rec = record(task, num, steps=max(8, 256 // num))
    with ExitStack() as stack:
        bare = {name: build(rec, stack) for name, build in BARE.items()}
        found = {name: deviation(rec, step) for name, step in bare.items()}
        steppers = bare | whole(task, rec, stack)
        speeds: dict[str, list[float]] = {name: [] for name in steppers}
        for _ in range(request.rounds):
            for name, step in steppers.items():
                speeds[name].append(speed(step, rec, request.seconds))
    return {name: (statistics.median(values), found.get(name)) for name, values in speeds.items()}


def table(task: str, results: dict[int, dict[str, tuple[float, float | None]]]) -> list[str]:
    """A Markdown table of one task: methods by numbers of simulators."""
    names = dict.fromkeys(name for result in results.values() for name in result)
    head = " | ".join(f"E = {num}" for num in results)
    lines = [f"### {task}", "", f"| method | {head} | deviation |", "| --- |" + " ---: |" * (len(results) + 1)]
    for name in names:
        cells = [f"{result[name][0]:,.0f}" if name in result else "" for result in results.values()]
        deviations = [result[name][1] for result in results.values() if name in result]
        worst = "" if deviations[0] is None else f"{max(deviations):.0e}" if max(deviations) else "0"
        lines.append(f"| {name} | {' | '.join(cells)} | {worst} |")
    return [*lines, ""]


def installed(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} not installed"


def main(request: Request) -> None:
    began = time.perf_counter()
    sections = []
    for task in request.tasks:
        results = {}
        for num in request.nums:
            results[num] = measure(task, num, request)
            print(task, num, {name: round(value[0]) for name, value in results[num].items()}, flush=True)
        sections += table(task, results)
    versions = ", ".join(installed(name) for name in ("mujoco", "gymnasium", "numpy", "envpool"))
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    text = [
        "# Steppers",
        "",
        "Environment steps per second, printed by `python benchmarks/steppers.py`; its head names the methods.",
        f"{platform.machine()}, {cores()} cores{load}; {versions}; Python {platform.python_version()};",
        f"medians of {request.rounds} rounds of {request.seconds:g} s, {time.perf_counter() - began:.0f} s in all.",
        "Deviation: of states after one step from one MjData; empty where a method hides its state.",
        "",
        *sections,
    ]
    request.out.parent.mkdir(parents=True, exist_ok=True)
    request.out.write_text("\n".join(text).rstrip() + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main(tyro.cli(Request, description=__doc__))
