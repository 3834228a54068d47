"""The control: how much of a score is imitation, and how much the sign of the reward?

    python benchmarks/control.py --envs CartPole-v0 --steps 20000

On tasks that end early, a reward that is positive at every step pays for survival whatever was demonstrated, and where
they end on success one that is negative pays for success. So the same training runs on three kinds of demonstrations:

    expert    the bundled ones
    random    as many pairs of uniformly random actions
    none      a margin of zero: the reward form alone, constant and without cloning

Random demonstrations are also cloned, as the expert's are. Every finished run is a line of
docs/benchmarks/control.jsonl, and what is there is not run again; docs/benchmarks/control.md and the table of
docs/rewards.md are made of all lines.
"""

import dataclasses
import hashlib
import itertools
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro

from deep import demos, envs, files, provenance, sweep_lines
from deep.cli import main_guard
from deep.config import GailConfig, gail_defaults, protocol
from deep.config_values import as_dict, from_dict
from deep.costs import RewardForm
from deep.evaluate import random_actions
from deep.expert import recorded
from deep.imitator import Imitator
from deep.result import evaluate_policy
from deep.sweep_grid import digest, is_bundled
from deep.sweep_lines import Line
from deep.sweep_run import code

DOCS = Path(__file__).parent.parent / "docs" / "benchmarks"
PAGE = DOCS.parent / "rewards.md"
BEGIN, END = "<!-- control: written by benchmarks/control.py -->", "<!-- end of control -->"
FORMS: tuple[RewardForm, ...] = ("neglogd", "airl", "logd")
Kind = Literal["expert", "random", "none"]
KINDS: tuple[Kind, ...] = ("expert", "random", "none")
FINAL = 9  # the stream of the closing evaluation, apart from those of training


@dataclass(frozen=True)
class Request:
    """What to run."""

    envs: tuple[str, ...] = ("CartPole-v0",)
    """Tasks with a bundled expert."""
    steps: int = 20_000
    """Environment steps of a run."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds."""
    kinds: tuple[Kind, ...] = KINDS
    """Kinds of demonstrations."""
    forms: tuple[RewardForm, ...] = FORMS
    """Reward forms."""
    episodes: int = 20
    """Episodes of the closing evaluation of the stochastic policy."""
    out: Path = DOCS / "control.jsonl"
    """The results file; the table is written beside it."""


def random_demonstrations(env: str, trajectories: int, seed: int, path: Path) -> None:
    """Whole episodes of uniformly random actions, about as many pairs as the expert's subsampled ones."""
    simulator = envs.make(env, 8, seed)
    rng = np.random.default_rng(seed)
    demos.save(path, demos.sample_episodes(random_actions(simulator.spec), simulator, trajectories, rng))
    simulator.close()


def final(config: GailConfig, kind: str, episodes: int) -> dict[str, float]:
    """The stochastic policy at the end of training: mean return and length of its episodes."""
    imitator = Imitator(config)
    if kind == "none":
        with torch.no_grad():
            imitator.margin.net[-1].weight.zero_()
    while imitator.env_steps < config.steps:
        imitator.iterate()
    seed = np.random.SeedSequence([config.seed, FINAL])
    stochastic, _ = evaluate_policy(config.env, imitator.averaged, episodes, seed, 1)
    imitator.close()
    return {"return_mean": stochastic.mean, "length": float(stochastic.lengths.mean())}


def configuration(env: str, steps: int, kind: str, form: str, seed: int) -> GailConfig:
    """The fast preset for a kind of demonstrations; `random` still lacks the file of its own."""
    config = dataclasses.replace(gail_defaults(env), steps=steps, seed=seed, reward_form=form, eval_every=0, threads=1)
    if kind == "none":
        cost = dataclasses.replace(config.cost, steps=0)
        return dataclasses.replace(config, bc_init=False, bc_weight=0.0, cost=cost)
    if kind == "random":
        expert = recorded(env)
        if expert is None:
            raise ValueError(f"envs must have bundled experts, but {env} has none")
        pairs = config.trajectories * -(-int(expert["stochastic"]["length"]) // protocol(env).subsample)
        number = max(1, round(pairs / expert["random"]["length"]))
        kept = max(1, round(number * expert["random"]["length"] / pairs))  # one long episode may hold too many
        return dataclasses.replace(config, trajectories=number, subsample=kept)
    return config


def perform(config: GailConfig, kind: str, episodes: int) -> dict[str, Any]:
    """Run one cell, on a file of random demonstrations where that is its kind; returns what its line holds."""
    bundled = demos.bundled(config.env)
    if kind != "random":
        return final(config, kind, episodes) | {"demos_sha256": None if bundled is None else digest(bundled)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.npz"
        random_demonstrations(config.env, config.trajectories, config.seed, path)
        return final(dataclasses.replace(config, demos=path), kind, episodes) | {"demos_sha256": digest(path)}


def cell(found: list[Line], digits: int) -> str:
    """Median and range over seeds; empty where nothing was run."""
    returns = sorted(line["return_mean"] for line in found)
    if not returns:
        return ""
    middle, low, high = (f"{r:z,.{digits}f}" for r in (statistics.median(returns), returns[0], returns[-1]))
    return f"{middle} ({low} to {high})"


def of_today(line: Line) -> bool:
    """Whether the line's settings and demonstrations are those that this program would run it with now."""
    config = from_dict(GailConfig, line["config"])
    return of_bundled(line) and config == configuration(
        config.env, config.steps, line["kind"], config.reward_form, config.seed
    )


def of_bundled(line: Line) -> bool:
    """Whether a run on an expert's demonstrations had those that are bundled now."""
    return line["kind"] != "expert" or is_bundled(line["env"], line["demos_sha256"])


def preset(line: Line) -> dict[str, Any]:
    """What of a line's settings does not depend on its seed, form and kind of demonstrations."""
    config = as_dict(from_dict(GailConfig, line["config"]))
    of_kind = ("seed", "reward_form", "demos", "trajectories", "subsample", "bc_init", "bc_weight")
    return {k: v for k, v in config.items() if k not in of_kind} | {"cost": config["cost"] | {"steps": None}}


def table(found: list[Line]) -> str:
    """One row for each task, number of steps and kind of demonstrations: today's settings, or the last that ran."""
    rows = [f"| task | demonstrations | {' | '.join(FORMS)} | seeds |", f"| --- | --- |{' --- |' * (len(FORMS) + 1)}"]
    for env, steps in dict.fromkeys((line["env"], line["config"]["steps"]) for line in found):
        here = [m for m in found if (m["env"], m["config"]["steps"]) == (env, steps)]
        now = [m for m in here if of_today(m)]
        name = env if now else f"{env} with earlier settings"
        here = now or [m for m in here if preset(m) == preset(here[-1])]
        expert = recorded(env)
        random, best = (expert[k]["mean"] for k in ("random", "stochastic"))
        digits = 1 if abs(best) < 50 else 0
        heads = (f"{name}, {steps:,} steps", f"random {random:,.{digits}f}, expert {best:,.{digits}f}", "")
        for head, kind in zip(heads, KINDS, strict=True):
            row = [m for m in here if m["kind"] == kind]
            cells = [cell([m for m in row if m["config"]["reward_form"] == form], digits) for form in FORMS]
            rows.append(f"| {head} | {kind} | {' | '.join(cells)} | {len({m['seed'] for m in row})} |")
    return "\n".join(rows)


def embedded(page: str, text: str) -> str:
    """The page with its table replaced."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} must hold the lines {BEGIN} and {END}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def document(found: list[Line]) -> str:
    return f"""# Control: imitation or survival?

Return of the stochastic policy at the end of training with the fast preset, median over seeds (range), by
`python benchmarks/control.py`; every run is a line of [control.jsonl](control.jsonl) with its settings and commit.

{table(found)}

Demonstrations: `expert` the bundled ones, `random` as many pairs of uniformly random actions, which are cloned as the
expert's are, `none` a constant margin and no cloning, so that the reward form is all there is.
[What the forms mean](../rewards.md).
"""


def main(request: Request) -> None:
    torch.set_num_threads(1)
    with sweep_lines.Writer(request.out) as writer:
        old = sweep_lines.read(request.out)
        known = [(m["kind"], m["episodes"], from_dict(GailConfig, m["config"])) for m in old if of_bundled(m)]
        for seed, env, kind, form in itertools.product(request.seeds, request.envs, request.kinds, request.forms):
            config = configuration(env, request.steps, kind, form, seed)
            if (kind, request.episodes, config) in known:
                continue
            result = perform(config, kind, request.episodes)
            settings = as_dict(config)
            key = json.dumps([kind, request.episodes, settings], sort_keys=True)
            made = {"commit": provenance.commit(), "code": code(), "versions": provenance.versions()}
            made["finished"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            line = {"identity": hashlib.sha256(key.encode()).hexdigest()[:16], "method": config.method, "env": env}
            line |= {"trajectories": config.trajectories, "seed": seed, "kind": kind, "episodes": request.episodes}
            writer.append(line | result | made | {"config": settings})
            print(f"{env} {kind} {form} seed {seed}: {result['return_mean']:.1f}", flush=True)
    found = sweep_lines.read(request.out)
    files.write_atomic(request.out.with_suffix(".md"), document(found).encode())
    if request.out == Request.out:
        files.write_atomic(PAGE, embedded(PAGE.read_text(), table(found)).encode())


if __name__ == "__main__":
    main_guard(lambda: main(tyro.cli(Request, description=__doc__)))
