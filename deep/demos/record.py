"""Demonstrations of a policy, wherever it comes from: a bundled expert, a run folder, a Stable-Baselines3 zip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deep import envs, provenance, trained
from deep.demos import sb3
from deep.demos.format import Demos
from deep.demos.sample import sample_episodes
from deep.demos.subsample import subsample
from deep.expert import load_expert, recorded
from deep.learner import torch_generator

__all__ = ["Source", "expert_source", "open_source", "record"]

SIMULATORS = 32  # at most; a fixed number, so that a seed gives the same trajectories on every machine


@dataclass(frozen=True)
class Source:
    """A policy `act(obs [E, O], generator or None)` of the task `env`, and the words for where it comes from."""

    env: str
    act: Callable[[np.ndarray, torch.Generator | None], np.ndarray]
    words: str


def open_source(source: str, env: str | None, trust: bool) -> Source:
    """The policy that `source` names: a run folder, a Stable-Baselines3 zip, or else the task of a bundled expert.

    A zip does not name its task: `env` does. Raises ValueError for what is none of these.
    """
    path = Path(source)
    if path.is_dir():
        found = trained.load(path, trust)
        if env not in (None, found.config.env):
            raise ValueError(f"env must be {found.config.env}, the task of {path}, but is {env}")
        return Source(found.config.env, found.policy.act, f"run of {found.command}")
    if path.is_file():
        if env is None:
            raise ValueError(f"env must be given, because {path} does not name its task")
        return _sb3(path, env, trust)
    if env not in (None, source):
        raise ValueError(f"source must be a run folder or a zip where env is given, but {source} is no such thing")
    if recorded(source) is None:
        raise ValueError(f"source must be a run folder, a zip or a task with a bundled expert, but {source} is none")
    return expert_source(source)


def expert_source(env: str) -> Source:
    """The bundled expert of a task; ValueError where there is none."""
    return Source(env, load_expert(env).act, "bundled expert")


def _sb3(path: Path, env: str, trust: bool) -> Source:
    simulator = envs.make(env, 1, 0)
    simulator.close()
    act = sb3.load_trusted(path) if trust else sb3.load_policy(path, simulator.spec).act
    return Source(env, act, "Stable-Baselines3")


def record(source: Source, trajectories: int, seed: int, every: int, deterministic: bool) -> Demos:
    """Whole trajectories, thinned to every `every`-th pair; metadata say how they came about."""
    for name, value in (("trajectories", trajectories), ("subsample", every)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, but is {value}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, but is {seed}")
    states, actions, offsets = np.random.SeedSequence(seed).spawn(3)
    simulator = envs.make(source.env, min(SIMULATORS, trajectories), int(states.generate_state(1)[0]))
    generator = None if deterministic else torch_generator(actions)
    try:
        whole = sample_episodes(source.act, simulator, trajectories, generator)
    finally:
        simulator.close()
    kind = "deterministic" if deterministic else "stochastic"
    more: dict[str, Any] = {"source": f"{source.words}, {kind}", "seed": seed, "versions": provenance.versions()}
    whole.metadata.update(more)
    return whole if every == 1 else subsample(whole, every, np.random.default_rng(offsets))
