"""Generative adversarial imitation learning: the command.

    python -m deep.gail --env Walker2d-v4

`train` is Algorithm 1 as a generator of metrics; `main` adds the run folder, the display and the closing
table. The algorithm itself is in deep.imitator.
"""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.console import Console

from deep import files, progress, provenance, run, tracking
from deep.cli import main_guard, parse
from deep.config import GailConfig, gail_defaults
from deep.config_values import as_dict
from deep.expert import recorded
from deep.imitator import Imitator
from deep.result import PERIODIC, compare, evaluate_policy, learning_curve, normalised, steps_to, table
from deep.run import Metrics, Run


def train(imitator: Imitator, record: Run) -> Iterator[Metrics]:
    """Run Algorithm 1 up to config.steps, logging and checkpointing in the run folder; yields the metrics."""
    config = imitator.config
    return run.iterations(record, Evaluated(imitator), config.steps, config.checkpoint_every)


class Evaluated:
    """An imitator whose iterations end with an evaluation whenever config.eval_every steps have passed."""

    def __init__(self, imitator: Imitator) -> None:
        self.inner = imitator
        self.load_state_dict = imitator.load_state_dict
        self.state_dict = imitator.state_dict

    @property
    def iteration(self) -> int:
        return self.inner.iteration

    @property
    def env_steps(self) -> int:
        return self.inner.env_steps

    def iterate(self) -> Metrics:
        config, before = self.inner.config, self.env_steps
        metrics = self.inner.iterate()
        every = config.eval_every
        if not every or before // every == self.env_steps // every:
            return metrics
        # Seeded by the iteration, so that evaluations do not depend on where a run was resumed.
        seed = np.random.SeedSequence([config.seed, PERIODIC, self.iteration])
        stochastic, deterministic = evaluate_policy(
            config.env, self.inner.averaged, config.eval_episodes, seed, config.threads
        )
        return metrics | {"eval_return": stochastic.mean, "eval_return_deterministic": deterministic.mean}


def close(imitator: Imitator, record: Run, seconds: float, console: Console) -> dict[str, Any]:
    """Evaluate random, cloning, the learner and expert; write result.json and learning_curve.png; print the table."""
    config, env = imitator.config, imitator.config.env
    console.print(f"evaluating over {config.final_episodes} episodes ...")
    method = config.method.upper()
    policies = {"behavioural cloning": imitator.clone[0], method: imitator.averaged}
    expert = recorded(env, config.demos)
    found = compare(env, policies, expert, config.final_episodes, config.seed, config.threads)
    metrics, reference, zero = record.metrics(), found.reference, found.random.mean
    cloning = found.fields("behavioural cloning")
    result = {
        "env": env,
        "seed": config.seed,
        "trajectories": config.trajectories,
        "pairs": len(imitator.pairs.obs),
        "env_steps": imitator.env_steps,
        "seconds": round(seconds, 1),
        "bc_return": cloning["return_mean"],
        "bc_return_deterministic": cloning["return_deterministic_mean"],
        **found.fields(method),
        "steps_to_90": {
            kind: None if reference is None else steps_to(metrics, key, zero + 0.9 * (reference - zero))
            for kind, key in (("stochastic", "eval_return"), ("deterministic", "eval_return_deterministic"))
        },
        "config": as_dict(config),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    files.write_json(record.folder / "result.json", result)
    lines = {} if reference is None else {"expert": reference}
    lines |= {"behavioural cloning": cloning["return_mean"], "random": found.random.mean}
    learning_curve(metrics, env, lines, record.folder / "learning_curve.png")
    console.print(table(env, found.rows(), zero, reference))
    return result


def execute(config: GailConfig, record: Run, console: Console) -> dict[str, Any]:
    """Train and close; returns what result.json holds."""
    expert = recorded(config.env, config.demos)
    ends = None
    if expert is not None and "random" in expert:
        ends = expert["random"]["mean"], expert["stochastic"]["mean"]
    scored = ends is not None and normalised(0.0, *ends) is not None
    began = time.monotonic()
    with record, contextlib.closing(Imitator(config)) as imitator:
        checkpoint = record.latest()
        if checkpoint is not None:
            imitator.load_state_dict(checkpoint.tensors)
            run.check_reached(config.steps, imitator.env_steps, config.learner.steps * config.learner.simulators)
        record.keep(as_dict(config))
        lines = (
            m | {"score": normalised(m["train_return"], *ends)} if scored and "train_return" in m else m
            for m in train(imitator, record)
        )
        lines = tracking.follow(lines, config.wandb, record.folder, as_dict(config))
        for _ in progress.show(lines, f"{config.method} {config.env}", imitator.env_steps, config.steps, console):
            pass
        return close(imitator, record, time.monotonic() - began, console)


def validate(config: GailConfig) -> None:
    """Refuse settings that cannot run, before anything is written; touches the files that the run will read."""
    tracking.check(config.wandb)
    recorded(config.env, config.demos)
    Imitator(dataclasses.replace(config, bc_init=False)).close()  # cloning refuses nothing, and takes its time


def main(argv: list[str]) -> None:
    """Entry point of `python -m deep.gail`."""
    console = Console(markup=False, emoji=False)
    request = parse(GailConfig, "gail", lambda given: gail_defaults(**given), argv)
    config, record = request.config, request.resume
    if record is None:
        validate(config)
        folder = request.out or run.new_folder(f"{config.method}-{config.env}-s{config.seed}")
        record = Run.create(folder, "gail", as_dict(config))
    execute(config, record, console)
    console.print(f"run folder: {record.folder}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main_guard(lambda: main(sys.argv[1:]))
