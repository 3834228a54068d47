"""Experts: TRPO on the true cost, as in Section 6 of the paper.

    python -m deep.expert --env Hopper-v4                     train
    python -m deep.expert --resume runs/...                   go on from its last checkpoint
    python -m deep.expert --bundle runs/...                   evaluate and add to the bundled experts

An expert is a folder deep/data/<env>: expert.safetensors (weights), expert.json (sizes, returns, how it was made)
and demos.npz (trajectories at the paper's protocol).
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from rich.console import Console
from torch import Tensor

from deep import envs, progress, run
from deep.cli import main_guard
from deep.config import ExpertConfig, as_dict, from_dict
from deep.learner import Learner, torch_generator
from deep.nets import Policy, make_policy
from deep.rollout import Batch
from deep.run import Metrics

DATA = Path(__file__).parent / "data"


class Expert:
    """TRPO on the true cost, an iteration at a time."""

    def __init__(self, config: ExpertConfig) -> None:
        simulator_seed, learner_seed = np.random.SeedSequence(config.seed).spawn(2)
        simulator = envs.make(
            config.env,
            config.learner.simulators,
            int(simulator_seed.generate_state(1)[0]),
            threads=config.threads,
            stagger=True,
        )
        self.learner = Learner(simulator, config.learner, learner_seed)
        self.iteration = 0

    @property
    def env_steps(self) -> int:
        return self.learner.env_steps

    def iterate(self) -> Metrics:
        batch = self.learner.collect()
        metrics = self.learner.improve(batch, batch.rewards)
        self.iteration += 1
        return {"iteration": self.iteration, "env_steps": self.env_steps} | episode_metrics(batch) | metrics

    def state_dict(self) -> dict[str, Tensor]:
        return self.learner.state_dict() | {"iteration": torch.tensor(self.iteration)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.learner.load_state_dict(state)
        self.iteration = int(state["iteration"])


def episode_metrics(batch: Batch) -> Metrics:
    """Mean return and length of the episodes that ended in the batch; left out where none did."""
    if len(batch.returns) == 0:
        return {"episodes": 0}
    return {
        "episodes": len(batch.returns),
        "train_return": float(batch.returns.mean()),
        "train_length": float(batch.lengths.mean()),
    }


def load_policy(weights: Path, spec: envs.EnvSpec, hidden: tuple[int, ...]) -> Policy:
    """A policy of the task from a safetensors file that holds its state_dict."""
    policy = make_policy(spec, hidden, 0.0, torch.Generator())
    state = run.load_tensors(weights)
    expected = policy.state_dict()
    for name, tensor in expected.items():
        found = tuple(state[name].shape) if name in state else "none"
        if found != tuple(tensor.shape):
            raise ValueError(f"{weights}: {name} must have shape {tuple(tensor.shape)}, but has {found}")
    policy.load_state_dict({k: state[k] for k in expected})
    return policy


def bundled(env_id: str) -> dict[str, Any]:
    """The record (expert.json) of the bundled expert of a task; ValueError where there is none."""
    path = DATA / env_id / "expert.json"
    if not path.exists():
        have = sorted(p.parent.name for p in DATA.glob("*/expert.json"))
        raise ValueError(f"env must have a bundled expert, one of {', '.join(have)}, but is {env_id}")
    return run.read_json(path)


def load_expert(env_id: str) -> Policy:
    """The bundled expert of a task."""
    record = bundled(env_id)
    simulator = envs.make(env_id, 1, 0)
    spec = simulator.spec
    simulator.close()
    return load_policy(DATA / env_id / "expert.safetensors", spec, tuple(record["hidden"]))


def generator(seed: int) -> torch.Generator:
    """A generator for sampling actions from a policy."""
    return torch_generator(np.random.SeedSequence(seed))


def train(config: ExpertConfig, folder: Path | None, resume: Path | None, console: Console) -> Path:
    """Train, or go on with the run in `resume` up to config.steps; returns the run folder."""
    if resume is not None:
        record, stored = run.Run.open(resume, "expert")
        config = dataclasses.replace(
            from_dict(ExpertConfig, stored), steps=max(config.steps, stored["steps"])
        )
    else:
        folder = folder or run.new_folder(f"expert-{config.env}-s{config.seed}")
        record = run.Run.create(folder, "expert", as_dict(config))
    expert = Expert(config)
    checkpoint = record.latest() if resume is not None else None
    if checkpoint is not None:
        expert.load_state_dict(checkpoint.tensors)
    try:
        loop = run.iterations(record, expert, config.steps, config.checkpoint_every)
        for _ in progress.show(loop, f"expert {config.env}", expert.env_steps, config.steps, console):
            pass
    finally:
        expert.learner.close()
        record.close()
    return record.folder


def main(
    config: Annotated[ExpertConfig, tyro.conf.arg(name="")],
    out: Path | None = None,
    resume: Path | None = None,
) -> None:
    """Train an expert by TRPO on the true cost.

    Args:
        out: The run folder; runs/<name> where left out.
        resume: Go on with the run in this folder, up to --steps; its other settings come from its config.json.
    """
    console = Console()
    folder = train(config, out, resume, console)
    console.print(f"run folder: {folder}")


if __name__ == "__main__":
    main_guard(lambda: tyro.cli(main))
