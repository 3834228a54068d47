"""Behavioural cloning: maximum likelihood of the expert's actions (Section 6 of the paper's comparison).

    python -m deep.bc --env Hopper-v4

Pairs are split 70/30; Adam runs on the 70 until the held-out likelihood stops rising, and the best weights are kept.
"""

import copy
import dataclasses
import sys
import time
from typing import Any

import numpy as np
import torch
from rich.console import Console

from deep import config_limits, demos, envs, files, provenance, run
from deep.cli import main_guard, parse
from deep.config import BcConfig, CloningConfig, cloning_defaults
from deep.config_values import as_dict
from deep.expert import recorded
from deep.learner import torch_generator
from deep.nets import GaussianPolicy, Policy, make_policy
from deep.pairs import expert_pairs
from deep.result import children, compare, table
from deep.run import Run

CLONING = 3  # the stream of cloning among the children of a run's seed: GAIL's start and this command agree


@dataclasses.dataclass(frozen=True)
class BcInfo:
    """Epochs run, and the mean negative log-likelihood on either side of the split at the kept weights."""

    epochs: int
    train_loss: float
    validation_loss: float


def fit(policy: Policy, obs: np.ndarray, acts: np.ndarray, config: BcConfig, generator: torch.Generator) -> BcInfo:
    """Clone pairs obs [N, O], acts [N, U] or [N] into the policy, whose normaliser stays as it is.

    With fewer than two held-out pairs the training pairs also decide when to stop.
    """
    x, y = policy.normaliser(obs), policy.encode(acts)
    order = torch.randperm(len(x), generator=generator)
    held = min(round(config.validation * len(x)), len(x) - 1)
    train, valid = (order[held:], order[:held]) if held > 1 else (order, order)
    optimiser = torch.optim.Adam(policy.parameters(), lr=config.lr, fused=True)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        return -policy(x[rows]).log_prob(y[rows]).mean()

    def held_out() -> float:
        with torch.no_grad():
            return float(loss(valid))

    best, kept, since, epoch = held_out(), copy.deepcopy(policy.state_dict()), 0, 0
    while epoch < config.epochs and since < config.patience:
        epoch += 1
        shuffled = train[torch.randperm(len(train), generator=generator)]
        for rows in shuffled.split(config.minibatch):
            value = loss(rows)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            optimiser.step()
        now = held_out()
        if now < best:
            best, kept, since = now, copy.deepcopy(policy.state_dict()), 0
        else:
            since += 1
    policy.load_state_dict(kept)
    with torch.no_grad():
        return BcInfo(epoch, float(loss(train)), best)


def clone(
    spec: envs.EnvSpec,
    pairs: demos.Demos,
    hidden: tuple[int, ...],
    config: BcConfig,
    seed: np.random.SeedSequence,
    expert_units: bool = True,
) -> tuple[Policy, BcInfo]:
    """A new policy cloned from demonstrations; observations (and actions, if asked) in the expert's units.

    The same seed gives the same policy, however often it is asked.
    """
    weights, shuffle = (torch_generator(s) for s in children(seed))
    policy = make_policy(spec, hidden, 0.0, weights)
    policy.normaliser.update(pairs.obs)
    if expert_units and isinstance(policy, GaussianPolicy):
        policy.set_units(pairs.acts)
    return policy, fit(policy, pairs.obs, pairs.acts, config, shuffle)


def execute(config: CloningConfig, record: Run, console: Console) -> dict[str, Any]:
    """Clone, evaluate and write policy.safetensors and result.json; returns what result.json holds."""
    spec = envs.spec(config.env)
    pairs = expert_pairs(config, spec)
    began = time.monotonic()
    seed = np.random.SeedSequence(config.seed).spawn(CLONING + 1)[CLONING]
    policy, info = clone(spec, pairs, config.hidden, config.bc, seed, config.expert_units)
    seconds = time.monotonic() - began
    expert = recorded(config.env, config.demos)
    found = compare(
        config.env, {"behavioural cloning": policy}, expert, config.final_episodes, config.seed, config.threads
    )
    result = {
        "env": config.env,
        "seed": config.seed,
        "trajectories": config.trajectories,
        "pairs": len(pairs.obs),
        "seconds": round(seconds, 1),
        **found.fields("behavioural cloning"),
        **dataclasses.asdict(info),
        "config": as_dict(config),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    files.save_tensors(record.folder / "policy.safetensors", policy.state_dict())
    files.write_json(record.folder / "result.json", result)
    console.print(table(config.env, found.rows(), found.random.mean, found.reference))
    return result


def main(argv: list[str]) -> None:
    """Entry point of `python -m deep.bc`: a run folder with config.json, policy.safetensors and result.json."""
    console = Console(markup=False, emoji=False)
    request = parse(CloningConfig, "bc", lambda given: cloning_defaults(**given), argv, resumes=False)
    config = request.config
    config_limits.check(config)
    expert_pairs(config, envs.spec(config.env))  # what cannot run fails here, before anything is written
    recorded(config.env, config.demos)
    folder = request.out or run.new_folder(f"bc-{config.env}-s{config.seed}")
    record = Run.create(folder, "bc", as_dict(config))
    execute(config, record, console)
    console.print(f"run folder: {record.folder}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main_guard(lambda: main(sys.argv[1:]))
