"""What each choice is worth: one setting changed at a time, several seeds, with tests.

    python benchmarks/ablations.py --envs CartPole-v0 --steps 20000 --plain
    python benchmarks/ablations.py --envs Hopper-v4 --studies warm-start penalty
    python benchmarks/ablations.py --envs Reacher-v4 --studies lambda --seeds 7        the paper's experiment

The base is the fast preset; with --plain, without any cloning, which on easy tasks hides everything else. Every run is
a cell of deep.sweep and a line of docs/benchmarks/ablations.jsonl; what is there is not run again. The table,
docs/benchmarks/ablations.md, is made of all its lines that belong to a study; --table only writes it. Until a task has
three seeds with today's preset, it shows what was run with an earlier one, if that has more, and says so. Runs that
imitate an expert that has been replaced since are left out.
"""

import dataclasses
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console

from deep import stats, sweep_lines
from deep.cli import main_guard
from deep.config import GailConfig, gail_defaults
from deep.config_values import from_dict
from deep.files import write_atomic
from deep.result import normalised
from deep.sweep import command, missing, sweep
from deep.sweep_grid import Cell, cell, is_bundled
from deep.sweep_lines import Line
from deep.sweep_run import perform

OUT = Path(__file__).parent.parent / "docs" / "benchmarks" / "ablations.jsonl"
Change = dict[str, Any]
PLAIN: Change = {"bc_init": False, "bc_weight": 0.0}
STUDIES: dict[str, dict[str, Change]] = {
    "warm-start": {
        "cloning start only": {"bc_weight": 0.0},
        "cloning term only": {"bc_init": False},
        "no cloning": PLAIN,
    },
    "average": {"last policy instead of the average": {"average": 0.0}},
    "reuse": {f"batches a step looks at: {n}": {"learner.reuse": n} for n in (1, 2, 5)},
    "std": {"deviation learned": {"std": ()}, "deviation held at 0.1": {"std": (0.1, 0.1)}},
    "penalty": {f"gradient penalty {w:g}": {"cost.gradient_penalty": w} for w in (0.0, 1.0, 3.0, 10.0)},
    "batch": {f"{n:,} pairs an iteration": {"learner.batch": n} for n in (500, 2000, 5000)},
    "steps": {f"discriminator steps: {n}": {"cost.steps": n} for n in (1, 2, 5, 20)},
    "rate": {f"discriminator learning rate {x:g}": {"cost.lr": x} for x in (3e-4, 1e-3)},
    "kl": {f"KL bound {x:g}": {"learner.trpo.max_kl": x} for x in (0.01, 0.04, 0.08)},
    "lambda": {f"lambda {x:g}": {"entropy": x} for x in (1e-3, 1e-2)},
    "loss": {f"loss {name}": {"loss": name} for name in ("exponential", "exponential_linear", "smoothed_hinge")},
    "absorbing": {"absorbing state": {"absorbing": True}},
}
"""For each study the settings that are set against the base."""
REPS = 2000
FEWEST = 3  # seeds, below which intervals and tests say nothing


@dataclass(frozen=True)
class Request:
    """What to run."""

    envs: tuple[str, ...] = ("CartPole-v0",)
    """Tasks with bundled demonstrations."""
    studies: tuple[str, ...] = tuple(STUDIES)
    """Which settings to change."""
    trajectories: int | None = None
    """Demonstrations; the least of the paper's protocol where left out."""
    steps: int | None = None
    """Environment steps of a run; the preset's for the task where left out."""
    seeds: int = 3
    """Training seeds of each setting, from 0."""
    plain: bool = False
    """No cloning in the base nor in what is set against it."""
    jobs: int = 0
    """Runs at a time, on Ray; 0: as many as cores; 1: one after another in this process, without Ray."""
    out: Path = OUT
    """The results file; the table is written beside it."""
    runs: Path = Path("runs/ablations")
    """Folder of the runs in progress."""
    table: bool = False
    """Only write the table."""


def change(config: Any, changes: Change) -> Any:
    """A configuration with settings changed, those of a part named with a dot."""
    for name, value in changes.items():
        head, _, rest = name.partition(".")
        config = dataclasses.replace(config, **{head: change(getattr(config, head), {rest: value}) if rest else value})
    return config


def base(env: str, trajectories: int, seed: int, steps: int | None, plain: bool) -> GailConfig:
    """What settings are set against."""
    config = cell("gail", env, trajectories, seed, steps=steps).config
    return change(config, PLAIN if plain else {})


def cells(request: Request) -> list[Cell]:
    """The base and what is set against it, seed by seed."""
    found = [
        Cell("gail", change(base(env, request.trajectories or least(env), seed, request.steps, request.plain), c))
        for seed in range(request.seeds)
        for env in request.envs
        for c in changes(env, request.studies)
    ]
    return list(dict.fromkeys(found))  # without cloning is the plain base itself


def changes(env: str, studies: tuple[str, ...]) -> list[Change]:
    """Nothing, and what the studies change on a task; a deviation is not studied where the preset sets none."""
    sets_std = bool(gail_defaults(env).std)
    return [{}, *(c for study in studies if study != "std" or sets_std for c in STUDIES[study].values())]


def least(env: str) -> int:
    return gail_defaults(env).trajectories


def score(line: Line) -> float:
    """0 for random actions, 1 for the expert; the return itself where no expert is known."""
    found = normalised(line["return_mean"], line["random_return"], line["expert_return"])
    return line["return_mean"] if found is None else found


def row(name: str, scores: np.ndarray, base: np.ndarray | None) -> str:
    """Normalised scores, and whether they are better than the base's."""
    cells = [name, f"{stats.iqm(scores):.3f}", "", "", ""]
    if len(scores) >= FEWEST:
        interval = stats.stratified_bootstrap(stats.iqm, scores, np.random.default_rng(0), REPS)
        cells[2] = f"{interval.low:.3f} to {interval.high:.3f}"
        if base is not None and len(base) >= FEWEST:
            better = stats.probability_of_improvement(scores, base, np.random.default_rng(0), REPS)
            cells[3] = f"{better.point:.2f} ({better.low:.2f} to {better.high:.2f})"
            cells[4] = f"{stats.rank_sum(scores, base):.3f}"
    return f"| {' | '.join(cells)} | {len(scores)} |"


def former(scores: Collection[GailConfig], env: str, number: int, steps: int, plain: bool) -> GailConfig | None:
    """The base of an earlier preset, at seed 0: what most changes were set against; None where hardly any was."""
    named = [c for study in STUDIES.values() for c in study.values()]

    def against(config: GailConfig) -> int:
        return sum(other != config and other in scores for other in (change(config, c) for c in named))

    here = [c for c in scores if (c.env, c.trajectories, c.steps, c.seed) == (env, number, steps, 0)]
    here = [c for c in here if (not c.bc_init and not c.bc_weight) == plain]
    found = max(here, key=against, default=None)
    return found if found is not None and against(found) > 1 else None


def run(scores: Collection[GailConfig], bases: list[GailConfig]) -> int:
    """How many of the bases were run."""
    return sum(config in scores for config in bases)


def tables(found: list[Line]) -> str:
    """One table for each task, number of demonstrations and of steps, and base."""
    scores: dict[GailConfig, float] = {}
    for line in found:
        config = dataclasses.replace(from_dict(GailConfig, line["config"]), threads=1)
        scores[config] = score(line)
    seeds = sorted({c.seed for c in scores})
    named = {name: c for study in STUDIES.values() for name, c in study.items()}
    text = []
    for plain in (False, True):
        for env, number, steps in dict.fromkeys((c.env, c.trajectories, c.steps) for c in scores):
            rows, label = [], "without cloning" if plain else "fast preset"
            bases = [base(env, number, seed, steps, plain) for seed in seeds]
            ready = run(scores, bases)
            if ready < FEWEST:  # until then an earlier preset that has more seeds says more
                earlier = former(scores, env, number, steps, plain)
                others = [] if earlier is None else [dataclasses.replace(earlier, seed=seed) for seed in seeds]
                if run(scores, others) > ready:
                    label, bases = f"{label}, earlier settings", others
            for name, c in ({"base": {}} | named).items():
                configs = [change(config, c) for config in bases]
                if c and configs == bases:  # what the preset of this task has anyway
                    continue
                here = [scores[config] for config in configs if config in scores]
                if here and not (plain and name in STUDIES["warm-start"]):
                    rows.append((name, np.array(here)))
            if len(rows) > 1 and rows[0][0] == "base":
                some = "trajectory" if number == 1 else "trajectories"
                text.append(f"\n## {env}, {number} {some}, {steps:,} steps, {label}\n")
                text.append(
                    "| setting | IQM of the score | 95 % interval | P(better than base) | p, rank sum | seeds |"
                )
                text.append("| --- | --- | --- | --- | --- | --- |")
                text += [row(name, mine, rows[0][1] if i else None) for i, (name, mine) in enumerate(rows)]
    return "\n".join(text)


def document(found: list[Line]) -> str:
    return f"""# Ablations

One setting changed at a time, by `python benchmarks/ablations.py`: score of the stochastic policy at the end of
training (0 random actions, 1 the expert), interquartile mean over seeds (the mean, with up to three of them) and its
bootstrap interval; the probability that a run beats one of the base, with its interval; and the one-sided p-value of
Wilcoxon's rank-sum test that it does not, which with three seeds against three cannot be below 0.05. With fewer than
three seeds there is only the score. Every run is a line of [ablations.jsonl](ablations.jsonl) with settings and commit.
{tables([line for line in found if is_bundled(line["env"], line["demos_sha256"])])}
"""


def main(request: Request) -> None:
    for name in request.studies:
        if name not in STUDIES:
            raise ValueError(f"studies must be of {', '.join(STUDIES)}, but has {name}")
    console, failures = Console(markup=False, emoji=False), 0
    if not request.table and request.jobs == 1:
        with sweep_lines.Writer(request.out) as writer:
            for one in missing(cells(request), request.out):
                writer.append(perform(one, request.runs))
                console.print(command(one), soft_wrap=True, highlight=False)
    elif not request.table:
        failures = sweep(cells(request), request.out, console, runs=request.runs, jobs=request.jobs)
    write_atomic(request.out.with_suffix(".md"), document(sweep_lines.read(request.out)).encode())
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    main_guard(lambda: main(tyro.cli(Request, description=__doc__)))
