"""The control: how much of a score is imitation, and how much the sign of the reward?

    python benchmarks/control.py

On tasks that end early, a reward that is positive at every step pays for survival whatever was demonstrated. So the
same training runs on three kinds of demonstrations:

    expert    the bundled ones
    random    as many pairs of uniformly random actions
    none      a margin of zero: the reward form alone, constant and without cloning

Random demonstrations are also cloned, as the expert's are. Writes docs/benchmarks/control.md.
"""

import dataclasses
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from deep import demos, envs
from deep.config import GailConfig, gail_defaults, protocol
from deep.expert import recorded
from deep.imitator import Imitator
from deep.result import evaluate_policy

OUT = Path(__file__).parent.parent / "docs" / "benchmarks" / "control.md"
FORMS = ("neglogd", "airl", "logd")
KINDS = ("expert", "random", "none")


@dataclass(frozen=True)
class Request:
    """What to run."""

    envs: tuple[str, ...] = ("CartPole-v0", "Hopper-v4")
    """Tasks that end early."""
    steps: tuple[int, ...] = (20_000, 150_000)
    """Environment steps of a run, for each task."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds."""
    episodes: int = 20
    """Episodes of the closing evaluation of the stochastic policy."""


def random_demonstrations(env: str, trajectories: int, seed: int, path: Path) -> None:
    """Whole episodes of uniformly random actions, about as many pairs as the expert's subsampled ones."""
    simulator = envs.make(env, 8, seed)
    spec = simulator.spec
    rng = np.random.default_rng(seed)

    def act(obs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        if spec.discrete:
            return generator.integers(spec.act_dim, size=len(obs))
        return generator.uniform(spec.act_low, spec.act_high, (len(obs), spec.act_dim))

    demos.save(path, demos.sample_episodes(act, simulator, trajectories, rng))
    simulator.close()


def final(config: GailConfig, kind: str, episodes: int) -> float:
    """The stochastic policy's mean return at the end of training."""
    imitator = Imitator(config)
    if kind == "none":
        with torch.no_grad():
            imitator.margin.net[-1].weight.zero_()
    while imitator.env_steps < config.steps:
        imitator.iterate()
    stochastic, _ = evaluate_policy(
        config.env, imitator.averaged, episodes, np.random.SeedSequence([config.seed, 9]), 0
    )
    imitator.close()
    return stochastic.mean


def configuration(env: str, steps: int, kind: str, form: str, seed: int, folder: Path) -> GailConfig:
    """The fast preset on one kind of demonstrations."""
    config = dataclasses.replace(gail_defaults(env), steps=steps, seed=seed, reward_form=form, eval_every=0)
    if kind == "random":
        path = folder / f"{env}.npz"
        p = protocol(env)
        pairs = config.trajectories * -(-int(recorded(env)["stochastic"]["length"]) // p.subsample)
        number = max(1, round(pairs / recorded(env)["random"]["length"]))
        random_demonstrations(env, number, seed, path)
        return dataclasses.replace(config, demos=path, trajectories=number, subsample=1)
    if kind == "none":
        cost = dataclasses.replace(config.cost, steps=0)
        return dataclasses.replace(config, bc_init=False, bc_weight=0.0, cost=cost)
    return config


def main(request: Request) -> None:
    torch.set_num_threads(1)
    rows = ["| task | demonstrations | " + " | ".join(FORMS) + " |", "| --- | --- |" + " --- |" * len(FORMS)]
    with tempfile.TemporaryDirectory() as folder:
        for env, steps in zip(request.envs, request.steps, strict=True):
            for kind in KINDS:
                cells = []
                for form in FORMS:
                    found = sorted(
                        final(configuration(env, steps, kind, form, s, Path(folder)), kind, request.episodes)
                        for s in request.seeds
                    )
                    cells.append(f"{statistics.median(found):.0f} ({found[0]:.0f} to {found[-1]:.0f})")
                rows.append(f"| {env}, {steps // 1000}k steps | {kind} | " + " | ".join(cells) + " |")
                print(rows[-1], flush=True)
    text = f"""# Control: imitation or survival?

Return of the stochastic policy, median over {len(request.seeds)} seeds (range), by `python benchmarks/control.py`.

{chr(10).join(rows)}
"""
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(text)


if __name__ == "__main__":
    main(tyro.cli(Request, description=__doc__))
