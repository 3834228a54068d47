"""Sample from a bundled expert, and show what a file holds.

python -m deep.demos sample --env Walker2d-v4 --trajectories 25
python -m deep.demos show demos.npz
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console

from deep import envs, run
from deep.cli import main_guard
from deep.demos import Demos, bundled, load, sample_episodes, save, subsample, summary
from deep.expert import load_expert
from deep.learner import torch_generator

SIMULATORS = 32  # at most; a fixed number, so that a seed gives the same trajectories on every machine


@dataclass(frozen=True)
class Sample:
    """Sample trajectories from a bundled expert and write them to a file."""

    env: str
    """Gymnasium id of the task."""
    trajectories: int
    """Number of trajectories."""
    seed: int = 0
    """Seed of everything random."""
    out: Path | None = None
    """The file to write; runs/demos/<env>-<trajectories>.npz where left out."""
    subsample: int = 1
    """Keep every k-th pair of a trajectory, from a random offset; 1 keeps them all."""


@dataclass(frozen=True)
class Show:
    """Show what a demonstration file holds."""

    file: tyro.conf.Positional[Path]
    """An npz file, or a Gymnasium id for its bundled demonstrations."""


def sample(options: Sample) -> Demos:
    """Demonstrations of the bundled, stochastic expert."""
    for name in ("trajectories", "subsample"):
        if getattr(options, name) < 1:
            raise ValueError(f"{name} must be at least 1, but is {getattr(options, name)}")
    if options.seed < 0:
        raise ValueError(f"seed must be at least 0, but is {options.seed}")
    policy = load_expert(options.env)
    states, actions, offsets = np.random.SeedSequence(options.seed).spawn(3)
    number = min(SIMULATORS, options.trajectories)
    simulator = envs.make(options.env, number, int(states.generate_state(1)[0]))
    whole = sample_episodes(policy.act, simulator, options.trajectories, torch_generator(actions))
    simulator.close()
    whole.metadata.update(source="bundled expert, stochastic", seed=options.seed, versions=run.versions())
    if options.subsample == 1:
        return whole
    return subsample(whole, options.subsample, np.random.default_rng(offsets))


def main(argv: list[str]) -> None:
    """Entry point of `python -m deep.demos`."""
    options = tyro.extras.subcommand_cli_from_dict(
        {"sample": Sample, "show": Show}, prog="python -m deep.demos", args=argv
    )
    if isinstance(options, Sample):
        path = options.out or Path("runs/demos") / f"{options.env.replace('/', '-')}-{options.trajectories}.npz"
        demos = sample(options)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, demos)
    else:
        path = options.file
        if not path.exists():
            path = bundled(str(path)) or path
        demos = load(path)
    Console().print(summary.table(demos, path))


if __name__ == "__main__":
    main_guard(lambda: main(sys.argv[1:]))
