"""The policy that a folder holds, whichever command made it.

    python -m deep.gail     the averaged policy of the latest checkpoint, or the last one where config.average is 0
    python -m deep.expert   likewise
    python -m deep.bc       policy.safetensors
    python -m deep.bundle   expert.safetensors

Nothing is trained, cloned or simulated to get at it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from deep import envs, files
from deep.config import CloningConfig, ExpertConfig, GailConfig
from deep.config_values import from_dict
from deep.expert import load_into
from deep.learner import below
from deep.nets import Policy, make_policy
from deep.run import Run

KINDS: dict[str, type[GailConfig] | type[CloningConfig] | type[ExpertConfig]] = {
    "gail": GailConfig,
    "bc": CloningConfig,
    "expert": ExpertConfig,
}


@dataclass(frozen=True)
class Trained:
    """A run's policy, with the command and the configuration that made it, and its task."""

    folder: Path
    command: str
    config: GailConfig | CloningConfig | ExpertConfig
    spec: envs.EnvSpec
    policy: Policy


def load(folder: Path, trust: bool = False) -> Trained:
    """Read a run folder; ValueError where it is none, or holds no policy yet.

    A task that names a package ("package:Task-v0") is code that the folder asks to import, so it takes trust=True.
    """
    record = files.read_json(folder / "config.json")
    command = record.get("command") if isinstance(record, dict) else None
    if command not in KINDS:
        raise ValueError(f"run must be a folder of {', '.join(KINDS)}, but {folder} is one of {command}")
    config = from_dict(KINDS[command], record["config"])
    hidden = config.hidden if isinstance(config, CloningConfig) else config.learner.hidden
    weights = partial(_weights, folder, command)
    return Trained(folder, command, config, *policy_of(config.env, hidden, weights, folder, trust))


def load_policy(folder: Path, trust: bool = False) -> tuple[envs.EnvSpec, Policy]:
    """(task, policy) of a run folder, or of a bundled expert's; ValueError as `load`."""
    if not (folder / "expert.json").exists():
        found = load(folder, trust)
        return found.spec, found.policy
    record = files.read_json(folder / "expert.json")
    weights = partial(files.load_tensors, folder / "expert.safetensors")
    return policy_of(record["env"], tuple(record["hidden"]), weights, folder, trust)


def policy_of(
    env: str, hidden: tuple[int, ...], weights: Callable[[], dict[str, torch.Tensor]], folder: Path, trust: bool
) -> tuple[envs.EnvSpec, Policy]:
    """(task, policy) with the weights that `weights` reads."""
    if ":" in env and not trust:
        raise ValueError(f"{folder} asks to import {env.rpartition(':')[0]} for its task {env}: allow it with trust")
    probe = envs.make(env, 1, 0)
    probe.close()
    policy = make_policy(probe.spec, hidden, 0.0, torch.Generator())
    load_into(policy, weights(), str(folder))
    return probe.spec, policy


def _weights(folder: Path, command: str) -> dict[str, torch.Tensor]:
    if command == "bc":
        return files.load_tensors(folder / "policy.safetensors")
    checkpoint = Run(folder).latest()
    if checkpoint is None:
        raise ValueError(f"run must hold a checkpoint, but {folder} has none yet")
    last = "learner.policy." if command == "gail" else "policy."
    return below(checkpoint.tensors, "averaged.") or below(checkpoint.tensors, last)
