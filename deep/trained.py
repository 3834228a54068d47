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

from deep import config_limits, envs, files
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

    @property
    def label(self) -> str:
        """What the policy is, for tables and films."""
        if isinstance(self.config, GailConfig):
            return self.config.method.upper()
        return {"bc": "behavioural cloning", "expert": "expert in training"}[self.command]


def load(folder: Path, trust: bool = False) -> Trained:
    """Read a run folder; ValueError where it is none, or holds no policy yet.

    A task that names a package ("package:Task-v0") is code that the folder asks to import, so it takes trust=True.
    """
    record = files.read_json(folder / "config.json")
    command = record.get("command") if isinstance(record, dict) else None
    if not isinstance(command, str) or command not in KINDS:
        raise ValueError(f"run must be a folder of {', '.join(KINDS)}, but {folder} is one of {ascii(command)[:60]}")
    config = from_dict(KINDS[command], Run.open(folder, command, "run")[1])
    try:
        config_limits.check(config)
    except ValueError as error:
        raise ValueError(f"{folder}/config.json: {error}") from None
    hidden = config.hidden if isinstance(config, CloningConfig) else config.learner.hidden
    weights = partial(_weights, folder, command)
    return Trained(folder, command, config, *policy_of(config.env, hidden, weights, folder, trust))


def load_policy(folder: Path, trust: bool = False) -> tuple[envs.EnvSpec, Policy]:
    """(task, policy) of a run folder, or of a bundled expert's; ValueError as `load`."""
    if not (folder / "expert.json").exists():
        found = load(folder, trust)
        return found.spec, found.policy
    env, hidden = _bundled(folder / "expert.json")
    weights = partial(files.load_tensors, folder / "expert.safetensors")
    return policy_of(env, hidden, weights, folder, trust)


def _bundled(path: Path) -> tuple[str, tuple[int, ...]]:
    """(env, hidden) of a bundled expert's record."""
    record = files.read_json(path)
    env, hidden = (record.get(key) if isinstance(record, dict) else None for key in ("env", "hidden"))
    if not isinstance(env, str):
        raise ValueError(f"{path}: expected the task's name under env, but found {ascii(env)[:60]}")
    if not isinstance(hidden, list) or not all(type(units) is int and units >= 1 for units in hidden):
        shown = ascii(hidden)[:60]
        raise ValueError(f"{path}: expected a list of units, each at least 1, under hidden, but found {shown}")
    return env, tuple(hidden)


def may_import(env: str, folder: Path, trust: bool) -> None:
    """ValueError where a folder, which is data, names a package for its task and was not trusted."""
    if ":" in env and not trust:
        raise ValueError(f"{folder} asks to import {env.rpartition(':')[0]} for its task {env}: allow it with trust")


def policy_of(
    env: str, hidden: tuple[int, ...], weights: Callable[[], dict[str, torch.Tensor]], folder: Path, trust: bool
) -> tuple[envs.EnvSpec, Policy]:
    """(task, policy) with the weights that `weights` reads."""
    may_import(env, folder, trust)
    spec, found = envs.spec(env), weights()
    for i, units in enumerate(hidden):  # a record may ask for a net that no memory holds
        bias = found.get(f"net.{2 * i}.bias")
        if bias is None or tuple(bias.shape) != (units,):
            have = "none" if bias is None else tuple(bias.shape)
            raise ValueError(f"{folder}: net.{2 * i}.bias must have shape ({units},), but has {have}")
    policy = make_policy(spec, hidden, 0.0, torch.Generator())
    load_into(policy, found, str(folder))
    return spec, policy


def _weights(folder: Path, command: str) -> dict[str, torch.Tensor]:
    if command == "bc":
        return files.load_tensors(folder / "policy.safetensors")
    checkpoint = Run(folder).latest()
    if checkpoint is None:
        raise ValueError(f"run must hold a checkpoint, but {folder} has none yet")
    last = "learner.policy." if command == "gail" else "policy."
    return below(checkpoint.tensors, "averaged.") or below(checkpoint.tensors, last)
