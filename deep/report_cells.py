"""From raw lines to the cells of the table: one task, method and number of trajectories, over its training seeds.

A cell holds the runs of one setup, that is, of one configuration and one set of demonstrations apart from the seed: the
setup of its latest line. Lines of earlier setups, and earlier lines of the same seed, are counted and left out.
Scores are normalised, 0 for random actions and 1 for the expert: ours by our expert and random actions in the same run,
the paper's by its own. The paper's are of deterministic policies (`deterministic=True` in its authors' evaluation,
scripts/im_pipeline.py of github.com/openai/imitation), ours of both kinds.
"""

import csv
import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from deep.config import protocol, task_name
from deep.result import normalised
from deep.stats import Interval, stratified_bootstrap
from deep.sweep_grid import METHODS, TASKS, completed, identity
from deep.sweep_lines import Line, number

PAPER = Path(__file__).parent / "data" / "paper.csv"
NUMBERS = ("return_mean", "return_std", "return_length", "return_deterministic_mean", "random_return", "expert_return")
REPS = 2000  # bootstrap draws
Key = tuple[str, str, int]  # task, method, trajectories


@dataclass(frozen=True)
class PaperCell:
    """What the authors published for a cell: mean and deviation over episodes, runs, the return of random actions, and
    the normalised mean."""

    mean: float
    std: float
    runs: int
    random: float
    score: float


@dataclass(frozen=True)
class Result:
    """A cell: its raw lines in the order of their seeds, and the paper's numbers if it has any."""

    key: Key
    lines: tuple[Line, ...]
    left_out: int
    paper: PaperCell | None

    @cached_property
    def returns(self) -> np.ndarray:
        """Mean return of the stochastic policy [runs]."""
        return np.array([x["return_mean"] for x in self.lines])

    @cached_property
    def scores(self) -> np.ndarray:
        """Normalised returns [runs]."""
        return self._normalised("return_mean")

    @cached_property
    def deterministic_score(self) -> float:
        """Mean score over runs of the deterministic policy, the expert's being the stochastic one's as in the paper."""
        return float(self._normalised("return_deterministic_mean").mean())

    @cached_property
    def score_with_the_papers_zero(self) -> float:
        """Mean score over runs where the paper's random actions are the zero."""
        zero = self.paper.random if self.paper is not None else np.nan
        return float(np.mean([normalised(x["return_mean"], zero, x["expert_return"]) for x in self.lines]))

    def _normalised(self, name: str) -> np.ndarray:
        return np.array([normalised(x[name], x["random_return"], x["expert_return"]) for x in self.lines])

    @property
    def std(self) -> float:
        """Deviation over all episodes of all runs, as in the paper's table."""
        within = np.mean([x["return_std"] ** 2 for x in self.lines])
        return float(np.sqrt(within + self.returns.var()))

    def mean(self, name: str) -> float:
        """A number of the lines, averaged over runs."""
        return float(np.mean([x[name] for x in self.lines]))

    @cached_property
    def interval(self) -> Interval:
        """The mean score over runs with its 95 % bootstrap interval."""
        return stratified_bootstrap(mean, [self.scores], generator(*self.key), REPS)

    @property
    def difference(self) -> float | None:
        """By how much the mean score exceeds the paper's."""
        return None if self.paper is None else self.interval.point - self.paper.score

    @property
    def deterministic_difference(self) -> float | None:
        """The same with the deterministic policy, which is how the paper's was evaluated."""
        return None if self.paper is None else self.deterministic_score - self.paper.score

    @property
    def env_steps(self) -> int:
        """Environment steps of the longest run; 0 for cloning."""
        return max(int(x.get("env_steps", 0)) for x in self.lines)

    @property
    def share_of_steps(self) -> float | None:
        """Environment steps over those of the paper's runs; None where it has none of the task."""
        if self.key[0] not in TASKS:
            return None
        p = protocol(self.key[0])
        return self.env_steps / (p.batch * p.iterations)


def mean(tasks: list[np.ndarray]) -> float:
    """Mean over all runs of all strata."""
    return float(np.concatenate(tasks).mean())


def generator(*words: Any) -> np.random.Generator:
    """Random numbers that depend on these words alone, so that a new cell moves no interval of the others."""
    return np.random.default_rng(list(hashlib.sha256(repr(words).encode()).digest()))


@cache
def paper() -> dict[Key, PaperCell]:
    """The published numbers, by the task's name without its version."""
    with open(PAPER, newline="") as file:
        rows = list(csv.DictReader(file))
    ends = {(task_name(r["task"]), r["method"]): float(r["return_mean"]) for r in rows if not r["trajectories"]}
    found = {}
    for r in rows:
        task = task_name(r["task"])
        if r["trajectories"]:
            value = float(r["return_mean"])
            score = normalised(value, ends[task, "random"], ends[task, "expert"])
            cell = PaperCell(value, float(r["return_std"]), int(r["runs"]), ends[task, "random"], float(score or 0.0))
            found[task, r["method"], int(r["trajectories"])] = cell
    return found


def published(key: Key) -> PaperCell | None:
    """The paper's numbers for a cell; None for a task, a method or a size that it does not have."""
    env, method, trajectories = key
    return paper().get((task_name(env), method, trajectories)) if env in TASKS else None


def label(line: Line) -> str:
    """The method, with lambda where it has one, named as in the paper's files: gail_lambda_1e-3."""
    lam = line["config"].get("entropy", 0.0)
    return line["method"] + (f"_lambda_{np.format_float_scientific(lam, trim='-', exp_digits=1)}" if lam else "")


def expected() -> list[Key]:
    """The cells of the paper's evaluation, and FEM and GTAL on Reacher, which it lacks."""
    return [(env, method, n) for env in TASKS for n in protocol(env).trajectories for method in METHODS]


def place(key: Key) -> tuple[Any, ...]:
    """Sorts cells: the paper's tasks from small to large, sizes, methods."""
    env, method, trajectories = key
    base = method.partition("_")[0]
    tasks, methods = list(TASKS), list(METHODS)
    return (
        tasks.index(env) if env in tasks else len(tasks),
        env,
        trajectories,
        methods.index(base) if base in methods else len(methods),
        method,
    )


def results(lines: list[Line]) -> list[Result]:
    """The cells that the lines fill, sorted; ValueError for a line without the numbers that a table needs.

    Lines without a score are left out.
    """
    groups: dict[Key, list[Line]] = {}
    for i, line in enumerate(lines):
        if unscored(line):
            continue
        for name in NUMBERS:
            if not number(line.get(name)):
                shown = ascii(line.get(name))[:60]
                raise ValueError(f"lines[{i}] ({line['identity']}): {name} must be finite, but is {shown}")
        groups.setdefault((line["env"], label(line), line["trajectories"]), []).append(line)
    return [_result(key, groups[key]) for key in sorted(groups, key=place)]


def unscored(line: Line) -> bool:
    """Whether a line has no score: nothing is known of its expert, or random actions return as much or more."""
    expert, random = line.get("expert_return", np.nan), line.get("random_return")
    return expert is None or (number(expert) and number(random) and normalised(0.0, random, expert) is None)


def _result(key: Key, lines: list[Line]) -> Result:
    lines = sorted(lines, key=lambda x: (x["finished"], x["identity"]))
    last = setup(lines[-1])
    by_seed = {x["seed"]: x for x in lines if setup(x) == last}
    kept = tuple(by_seed[seed] for seed in sorted(by_seed))
    return Result(key, kept, len(lines) - len(kept), published(key))


def setup(line: Line) -> str:
    """What the runs of a cell have in common: everything but the seed."""
    config = completed(line["method"], line["config"]) | {"seed": None}
    return identity(line["method"], config, line["demos_sha256"])
