"""Environment steps and seconds until an imitator reaches 90 % of its expert, and where it ends.

    python benchmarks/sample_efficiency.py                     the fast preset: 5 seeds, 3 tasks, 1 M steps
    python benchmarks/sample_efficiency.py --plain             the same without any cloning
    python benchmarks/sample_efficiency.py --plain --envs Walker2d-v4 --steps 2000000
    python benchmarks/sample_efficiency.py --table             only make the page from the raw lines

Four trajectories of about 50 pairs each. A policy has reached the mark at the first of two evaluations in a row whose
mean over 50 episodes is at least 90 % of the stochastic expert's. An evaluation starts with five episodes and ends
there if these reach less than 70 % of the mark. Evaluation counts neither as steps nor as seconds, and the cloning
start of the fast preset, which takes a second or two of the processor, not as seconds.

One process a run, `--jobs` at a time, each on one thread. Raw results go to docs/benchmarks/sample_efficiency.jsonl,
a line a run; runs that are there already, with today's expert and settings, are not repeated. A row of the page
docs/benchmarks/sample_efficiency.md holds the runs of today's settings; where there are none, those of the last ones
that were run, and says so.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from deep import files, provenance
from deep.cli import main_guard
from deep.config import GailConfig, gail_defaults
from deep.config_values import as_dict, from_dict
from deep.evaluate import Returns, evaluate
from deep.expert import recorded
from deep.imitator import Imitator
from deep.learner import torch_generator
from deep.result import evaluate_policy

FOLDER = Path(__file__).parent.parent / "docs" / "benchmarks"
RAW, PAGE = (FOLDER / f"sample_efficiency.{ending}" for ending in ("jsonl", "md"))
KINDS = ("deterministic", "stochastic")
SCREEN, EPISODES = 5, 50


@dataclass(frozen=True)
class Request:
    """What to run."""

    envs: tuple[str, ...] = ("Hopper-v4", "HalfCheetah-v4", "Walker2d-v4")
    """Tasks."""
    seeds: tuple[int, ...] = (101, 102, 103, 104, 105)
    """Training seeds; none of them served to choose the settings."""
    steps: int = 1_000_000
    """Environment steps of a run."""
    every: int = 25_000
    """Environment steps between evaluations."""
    plain: bool = False
    """No cloning anywhere: no cloning start, no cloning term."""
    jobs: int = 2
    """Runs at a time."""
    table: bool = False
    """Only make the page."""
    single: bool = False
    """Run the first task and seed in this process and print its line."""


def configuration(request: Request, env: str, seed: int) -> GailConfig:
    """The fast preset; plain GAIL differs from it in the cloning alone."""
    preset = gail_defaults(env, "fast")
    # The KL bound falls by iterations: as far over this budget as over the preset's.
    learner = dataclasses.replace(
        preset.learner, kl_decay=preset.learner.kl_decay ** max(1.0, preset.steps / request.steps)
    )
    config = dataclasses.replace(preset, learner=learner, seed=seed, steps=request.steps, threads=1, eval_every=0)
    if request.plain:
        config = dataclasses.replace(config, bc_init=False, bc_weight=0.0)
    return config


class Mark:
    """Watches one policy kind until two evaluations in a row are at or above the mark."""

    def __init__(self, kind: str, mark: float) -> None:
        self.kind, self.mark = kind, mark
        self.candidate: tuple[int, float] | None = None
        self.reached: tuple[int, float] | None = None
        self.streak = 0

    def check(self, imitator: Imitator, seconds: float, seed: np.random.SeedSequence) -> None:
        if self.reached:
            return
        value = self.evaluate(imitator, seed)
        if value < self.mark:
            self.streak, self.candidate = 0, None
            return
        self.streak += 1
        self.candidate = self.candidate or (imitator.env_steps, seconds)
        if self.streak == 2:
            self.reached = self.candidate

    def evaluate(self, imitator: Imitator, seed: np.random.SeedSequence) -> float:
        first = self.returns(imitator, SCREEN, seed).mean
        if first < 0.7 * self.mark:
            return first
        return self.returns(imitator, EPISODES, seed.spawn(1)[0]).mean

    def returns(self, imitator: Imitator, episodes: int, seed: np.random.SeedSequence) -> Returns:
        policy, generator = imitator.averaged, torch_generator(seed)
        act = policy.act if self.kind == "deterministic" else lambda obs: policy.act(obs, generator)
        return evaluate(imitator.config.env, act, episodes, int(seed.generate_state(2)[1]), threads=1)


def one(request: Request, env: str, seed: int) -> dict:
    """A whole run; returns its raw line."""
    torch.set_num_threads(1)
    config = configuration(request, env, seed)
    expert = recorded(env)["stochastic"]["mean"]
    imitator = Imitator(config)
    marks = [Mark(kind, 0.9 * expert) for kind in KINDS]
    seconds, due = 0.0, request.every
    while imitator.env_steps < config.steps:
        began = time.monotonic()
        imitator.iterate()
        imitator.learner.settle()
        seconds += time.monotonic() - began
        if imitator.env_steps >= due:
            due += request.every
            for mark in marks:
                mark.check(imitator, seconds, np.random.SeedSequence([seed, 7, imitator.iteration]))
    stochastic, deterministic = evaluate_policy(env, imitator.averaged, EPISODES, np.random.SeedSequence([seed, 8]), 1)
    line = {"env": env, "seed": seed, "plain": request.plain, "env_steps": imitator.env_steps, "expert": expert}
    line["every"] = request.every
    for mark, final in zip(marks, (deterministic, stochastic), strict=True):
        steps, at = mark.reached or (None, None)
        line[f"{mark.kind}_steps"] = steps
        line[f"{mark.kind}_seconds"] = None if at is None else round(at, 1)
        line[f"{mark.kind}_final"] = round(final.mean, 1)
        line[f"{mark.kind}_final_std"] = round(final.std, 1)
    line |= {
        "seconds": round(seconds, 1),
        "config": as_dict(config),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    imitator.close()
    return line


def lines(request: Request) -> list[dict]:
    """The raw lines of this arm; those of an expert that was since replaced are left out, and of another `every`."""
    if not RAW.exists():
        return []
    found = [json.loads(text) for text in RAW.read_text().splitlines()]
    mine = [x for x in found if (x["plain"], x.get("every", Request.every)) == (request.plain, request.every)]
    return [x for x in mine if x["expert"] == returned(x["env"])]


def of_today(line: dict) -> bool:
    """Whether the line's settings are those that this program would run it with now."""
    config = from_dict(GailConfig, line["config"])
    return config == configuration(Request(steps=config.steps, plain=line["plain"]), config.env, config.seed)


def returned(env: str) -> float | None:
    """The mean return of the bundled expert, stochastic; None where there is none."""
    record = recorded(env)
    return None if record is None else record["stochastic"]["mean"]


def settings(line: dict) -> dict:
    """A line's settings without its seed."""
    return {k: v for k, v in as_dict(from_dict(GailConfig, line["config"])).items() if k != "seed"}


def table(request: Request) -> str:
    """Markdown: medians over seeds with their range; a run that never got there counts as beyond the whole budget."""
    rows = [
        "| task | steps | runs | det. to 90 % | stoch. to 90 % | det. seconds | stoch. seconds | det. final "
        "| stoch. final |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    found = lines(request)
    for env in request.envs:
        for budget in sorted({x["config"]["steps"] for x in found if x["env"] == env}):
            mine = [x for x in found if (x["env"], x["config"]["steps"]) == (env, budget)]
            now = [x for x in mine if of_today(x)]
            name = env if now else f"{env}, earlier settings"
            mine = now or [x for x in mine if settings(x) == settings(mine[-1])]
            rows.append(f"| {name} | {budget:,} | {len(mine)} | {' | '.join(spreads(mine))} |")
    return "\n".join(rows)


def spreads(mine: list[dict]) -> list[str]:
    """Median (least to most) of what the table shows of some runs."""
    cells = []
    for unit, scale in (("steps", 1000), ("seconds", 1)):
        for kind in KINDS:
            found = sorted(x[f"{kind}_{unit}"] / scale if x[f"{kind}_{unit}"] else float("inf") for x in mine)
            show = ["never" if v == float("inf") else f"{v:.0f}" + ("k" if unit == "steps" else "") for v in found]
            middle = statistics.median_low(found)
            cells.append(f"{show[found.index(middle)]} ({show[0]} to {show[-1]})")
    for kind in KINDS:
        share = sorted(x[f"{kind}_final"] / x["expert"] for x in mine)
        cells.append(f"{statistics.median(share):.0%} ({share[0]:.0%} to {share[-1]:.0%})")
    return cells


def page(request: Request) -> str:
    """Both arms, one after the other, with every task that has raw lines: not only those that were just run."""
    text = f"""# Sample efficiency

Environment steps and seconds until an imitator reaches 90 % of its stochastic expert, and where it ends after all its
steps: four trajectories of about 50 pairs each, seeds that did not serve to choose the settings, median (least to most)
over runs. Reached: the first of two evaluations in a row, {request.every:,} steps apart, with a mean over {EPISODES}
episodes at or above the mark; what is evaluated is the averaged policy that the run would return. Seconds are those of
training on one thread while one to five other processes shared the two cores, those of plain Walker2d most; the cloning
start before it, a second or two, is not among them. Final: share of the stochastic expert's return. By
`python benchmarks/sample_efficiency.py`; every run is a line of [sample_efficiency.jsonl](sample_efficiency.jsonl) with
settings, commit and versions.
"""
    titles = {False: "The fast preset", True: "Plain GAIL: no cloning start, no cloning term"}
    for plain, title in titles.items():
        arm = dataclasses.replace(request, plain=plain)
        arm = dataclasses.replace(arm, envs=tuple(dict.fromkeys([*Request.envs, *(x["env"] for x in lines(arm))])))
        if lines(arm):
            text += f"\n## {title}\n\n{table(arm)}\n"
    return text


def main(request: Request) -> None:
    if request.single:
        print(json.dumps(one(request, request.envs[0], request.seeds[0])))
        return
    done = {(x["env"], x["seed"]) for x in lines(request) if x["config"]["steps"] == request.steps and of_today(x)}
    cells = [] if request.table else [(e, s) for s in request.seeds for e in request.envs if (e, s) not in done]

    def launch(cell: tuple[str, int]) -> None:
        command = [sys.executable, __file__, "--single", "--envs", cell[0], "--seeds", str(cell[1])]
        command += [
            "--steps",
            str(request.steps),
            "--every",
            str(request.every),
            *(["--plain"] if request.plain else []),
        ]
        found = subprocess.run(command, capture_output=True, text=True)
        if found.returncode:
            print(f"{cell[0]} seed {cell[1]} failed: {found.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            return
        with open(RAW, "a") as file:
            file.write(found.stdout)
        line = json.loads(found.stdout)
        print({k: v for k, v in line.items() if k not in ("config", "versions", "commit")}, flush=True)

    FOLDER.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(request.jobs) as pool:
        list(pool.map(launch, cells))
    print(table(request))
    files.write_atomic(PAGE, page(request).encode())


if __name__ == "__main__":
    main_guard(lambda: main(tyro.cli(Request, description=__doc__)))
