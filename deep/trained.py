"""The policy that a run folder holds, whichever command made it.

    python -m deep.gail     the averaged policy of the latest checkpoint, or the last one where config.average is 0
    python -m deep.expert   the last policy of the latest checkpoint
    python -m deep.bc       policy.safetensors

Nothing is trained, cloned or simulated to get at it.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from deep import envs, run
from deep.config import CloningConfig, ExpertConfig, GailConfig, from_dict
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
    record = run.read_json(folder / "config.json")
    command = record.get("command") if isinstance(record, dict) else None
    if command not in KINDS:
        raise ValueError(f"run must be a folder of {', '.join(KINDS)}, but {folder} is one of {command}")
    config = from_dict(KINDS[command], record["config"])
    if ":" in config.env and not trust:
        package = config.env.rpartition(":")[0]
        raise ValueError(f"{folder} asks to import {package} for its task {config.env}: allow it with trust")
    probe = envs.make(config.env, 1, 0)
    probe.close()
    hidden = config.hidden if isinstance(config, CloningConfig) else config.learner.hidden
    policy = make_policy(probe.spec, hidden, 0.0, torch.Generator())
    load_into(policy, _weights(folder, command), str(folder))
    return Trained(folder, command, config, probe.spec, policy)


def _weights(folder: Path, command: str) -> dict[str, torch.Tensor]:
    if command == "bc":
        return run.load_tensors(folder / "policy.safetensors")
    checkpoint = Run(folder).latest()
    if checkpoint is None:
        raise ValueError(f"run must hold a checkpoint, but {folder} has none yet")
    last = "learner.policy." if command == "gail" else "policy."
    return below(checkpoint.tensors, "averaged.") or below(checkpoint.tensors, last)
