"""Experts: TRPO on the true cost, as in Section 6 of the paper.

    python -m deep.expert --env Hopper-v4                     train
    python -m deep.expert --resume runs/...                   go on from its last checkpoint
    python -m deep.bundle runs/...                            evaluate and add to the bundled experts

An expert is a folder deep/data/<env>: expert.safetensors (weights), expert.json (sizes, returns, how it was made)
and demos.npz (trajectories at the paper's protocol).
"""

import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from deep import config_limits, envs, files, progress, run, tracking
from deep.averaging import Averaged
from deep.cli import main_guard, parse
from deep.config import ExpertConfig, task_name
from deep.config_values import as_dict
from deep.learner import Learner, below
from deep.nets import GaussianPolicy, Policy, make_policy
from deep.run import Metrics, Run

DATA = Path(__file__).parent / "data"
LARGE = 1e300  # beyond any return; integers of JSON may be larger than floats


class Expert:
    """TRPO on the true cost, an iteration at a time."""

    def __init__(self, config: ExpertConfig, fresh: bool = True) -> None:
        """`fresh`: at its beginning, which may be the end of another run; otherwise a state_dict is loaded next."""
        config_limits.check(config)
        simulator_seed, learner_seed = np.random.SeedSequence(config.seed).spawn(2)
        simulator = envs.make(
            config.env,
            config.learner.simulators,
            int(simulator_seed.generate_state(1)[0]),
            threads=config.threads,
            stagger=True,
        )
        self.learner = Learner(simulator, config.learner, learner_seed)
        self.start: dict[str, Any] | None = None
        if config.init is not None and fresh:
            self._start_from(config.init, config.env)
        self.average = Averaged(self.learner.policy, config.average)
        self.iteration = 0

    def _start_from(self, folder: Path, env: str) -> None:
        start, stored = Run.open(folder, "expert", "init")
        theirs = str(stored.get("env"))
        if task_name(theirs) != task_name(env):
            raise ValueError(f"init must be a run of {env}, but {folder} is one of {ascii(theirs)[:60]}")
        checkpoint = start.latest()
        if checkpoint is None:
            raise ValueError(f"init must be an expert run with a checkpoint, but {folder} has none")
        policy, found = self.learner.policy, checkpoint.tensors
        self.start = {
            "iteration": checkpoint.iteration,
            "env_steps": int(found["env_steps"]),
            "sha256": checkpoint.sha256,
        }
        load_into(policy, below(found, "averaged.") or below(found, "policy."), str(folder))
        self.learner.value.load_state_dict(below(found, "value."))
        if isinstance(policy, GaussianPolicy):
            torch.nn.init.constant_(policy.log_std, self.learner.config.log_std)

    @property
    def policy(self) -> Policy:
        """The expert: the average of the last policies' weights, or the last policy."""
        return self.average.policy

    @property
    def env_steps(self) -> int:
        return self.learner.env_steps

    def iterate(self) -> Metrics:
        newest, batch = self.learner.collect(), self.learner.recent.batch
        metrics = self.learner.improve(batch, batch.rewards)
        self.average.update(self.iteration + 1)
        self.iteration += 1
        return {"iteration": self.iteration, "env_steps": self.env_steps} | newest.episodes() | metrics

    def state_dict(self) -> dict[str, Tensor]:
        averaged = {f"averaged.{k}": v for k, v in self.average.state_dict().items()}
        return self.learner.state_dict() | averaged | {"iteration": torch.tensor(self.iteration)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.learner.load_state_dict(state)
        self.average.load_state_dict(below(state, "averaged."))
        self.iteration = int(state["iteration"])


def load_policy(weights: Path, spec: envs.EnvSpec, hidden: tuple[int, ...]) -> Policy:
    """A policy of the task from a safetensors file that holds its state_dict."""
    policy = make_policy(spec, hidden, 0.0, torch.Generator())
    load_into(policy, files.load_tensors(weights), str(weights))
    return policy


def load_into(policy: Policy, state: dict[str, Tensor], source: str) -> None:
    """Give a policy the tensors of a state_dict; ValueError names one that is missing, misshapen or not finite."""
    expected = policy.state_dict()
    for name, tensor in expected.items():
        found = tuple(state[name].shape) if name in state else "none"
        if found != tuple(tensor.shape):
            raise ValueError(f"{source}: {name} must have shape {tuple(tensor.shape)}, but has {found}")
        if not bool(torch.isfinite(state[name]).all()):
            raise ValueError(f"{source}: {name} must be finite, but is not")
    policy.load_state_dict({k: state[k] for k in expected})


def recorded(env_id: str, demos: Path | None = None) -> dict[str, Any] | None:
    """The record (expert.json) of the expert whose demonstrations are used; None where nothing is known of it.

    A file of one's own has a record if expert.json lies beside it.
    """
    path = DATA / env_id / "expert.json" if demos is None else demos.parent / "expert.json"
    if not path.exists() or (demos is not None and not demos.exists()):  # the id of a data set has no folder here
        return None
    record = files.read_json(path)
    named = record.get("env") if isinstance(record, dict) else None
    if isinstance(named, str) and task_name(named) != task_name(env_id):
        raise ValueError(f"{path}: expected the record of an expert of {env_id}, but it is one of {ascii(named)[:60]}")
    for kind in ("stochastic", "deterministic", "random"):
        entry = record.get(kind) if isinstance(record, dict) else None
        if entry is None and kind != "stochastic":
            continue
        numbers = [entry.get(name) for name in ("mean", "std", "length")] if isinstance(entry, dict) else [None]
        if not all(type(n) in (int, float) and abs(n) < LARGE for n in numbers):
            raise ValueError(
                f"{path}: expected finite mean, std and length under {kind}, but found {ascii(entry)[:60]}"
            )
    return {name: entry for name, entry in record.items() if entry is not None}


def load_expert(env_id: str) -> Policy:
    """The bundled expert of a task; ValueError where there is none."""
    record = recorded(env_id)
    if record is None:
        have = sorted(p.parent.name for p in DATA.glob("*/expert.json"))
        raise ValueError(f"env must have a bundled expert, one of {', '.join(have)}, but is {env_id}")
    return load_policy(DATA / env_id / "expert.safetensors", envs.spec(env_id), tuple(record["hidden"]))


def train(config: ExpertConfig, record: Run, console: Console) -> None:
    """Train in a run folder, from its latest checkpoint if it has one."""
    with record:
        checkpoint = record.latest()
        expert = Expert(config, fresh=checkpoint is None)
        with contextlib.closing(expert.learner):
            if checkpoint is not None:
                expert.load_state_dict(checkpoint.tensors)
                run.check_reached(config.steps, expert.env_steps, config.learner.steps * config.learner.simulators)
            # That run may be trained on: which of its checkpoints this one began with is kept.
            record.keep(as_dict(config), **({} if expert.start is None else {"start": expert.start}))
            loop = run.iterations(record, expert, config.steps, config.checkpoint_every)
            loop = tracking.follow(loop, config.wandb, record.folder, as_dict(config))
            for _ in progress.show(loop, f"expert {config.env}", expert.env_steps, config.steps, console):
                pass


def main(argv: list[str]) -> None:
    """Entry point of `python -m deep.expert`."""
    console = Console(markup=False, emoji=False)
    request = parse(ExpertConfig, "expert", lambda given: ExpertConfig(**given), argv)
    config, record = request.config, request.resume
    if record is None:
        tracking.check(config.wandb)
        Expert(config).learner.close()  # what cannot run fails here, before anything is written
        folder = request.out or run.new_folder(f"expert-{config.env}-s{config.seed}")
        record = Run.create(folder, "expert", as_dict(config))
    train(config, record, console)
    console.print(f"run folder: {record.folder}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main_guard(lambda: main(sys.argv[1:]))
