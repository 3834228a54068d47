"""Adding a trained expert to the bundled ones.

    python -m deep.bundle runs/expert-Hopper-v4-s0

Evaluates the run's final policy (the averaged one, where config.average says so), samples trajectories from it,
stochastic, at the paper's protocol, and writes deep/data/<env>: expert.safetensors, expert.json, demos.npz,
training.csv, training.png.
"""

import csv
import dataclasses
import io
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console

from deep import demos, envs, files, provenance, trained
from deep.cli import at_least, main_guard
from deep.config import ExpertConfig, protocol
from deep.config_values import as_flags, from_dict
from deep.evaluate import Returns
from deep.expert import DATA, Expert
from deep.learner import torch_generator
from deep.result import Row, evaluate_policy, evaluate_random, learning_curve, table
from deep.run import Metrics, Run

# Entries of an observation beyond which demonstrations are rounded to single precision, which nets see anyway: the
# Humanoid's 240 trajectories would be 20 MB.
WIDE = 100
RANDOM, EVALUATION, SAMPLING, THINNING = range(100, 104)  # streams apart from those of training


@dataclass(frozen=True)
class Bundle:
    """Evaluate an expert run and add its policy and demonstrations to deep/data."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Run folder of python -m deep.expert."""
    episodes: int = 50
    """Episodes of the evaluation (Section 6 of the paper)."""
    out: Path = DATA
    """Where the experts are."""
    trust: bool = False
    """Import the package that the run's task names (package:Task-v0)."""


def joined(runs: list[Run]) -> list[Metrics]:
    """The metrics of runs that follow one another, with steps and iterations counted through."""
    found: list[Metrics] = []
    for record, end in zip(runs, ends(runs), strict=True):
        last = found[-1] if found else {"env_steps": 0, "iteration": 0}
        found += [
            m | {k: m[k] + last[k] for k in ("env_steps", "iteration")}
            for m in record.metrics()
            if m["iteration"] <= end.iteration
        ]
    return found


def statistics(returns: Returns) -> dict[str, float]:
    """mean, std and length for expert.json."""
    return {"mean": returns.mean, "std": returns.std, "length": float(returns.lengths.mean())}


def stages(folder: Path) -> list[Run]:
    """The run and those that it started from (--init), the first one first."""
    record, stored = Run.open(folder, "expert", "folder")
    start = stored.get("init")
    return [*(stages(Path(start)) if start else []), record]


@dataclass(frozen=True)
class End:
    """Where a run's part in the expert ends; 0 and 0 without a checkpoint."""

    iteration: int
    env_steps: int


def ends(runs: list[Run]) -> list[End]:
    """For each of runs that follow one another the checkpoint that the next one started from; of the last the latest.

    Where the next one does not say (earlier versions), it is the latest as well. ValueError where a run no longer is
    the one that was started from.
    """
    found = []
    for record, after in zip(runs, [*runs[1:], None], strict=True):
        last = record.latest()
        end = End(last.iteration, int(last.tensors["env_steps"])) if last else End(0, 0)
        start = None if after is None else files.read_json(after.folder / "config.json").get("start")
        if start is not None:
            if not isinstance(start, dict) or not all(type(start.get(k)) is int for k in ("iteration", "env_steps")):
                where = after.folder / "config.json"
                raise ValueError(
                    f"{where}: expected iteration and env_steps under start, but found {ascii(start)[:60]}"
                )
            began = End(start["iteration"], start["env_steps"])
            if end.iteration < began.iteration or (end == began and last and last.sha256 != start.get("sha256")):
                raise ValueError(
                    f"init must be the run that {after.folder} started from, but {record.folder} is another"
                )
            end = began
        found.append(end)
    return found


def commands(runs: list[Run]) -> list[dict[str, Any]]:
    """For each run the command that repeats it, in a folder of its own, and the commit it was made with."""
    found: list[dict[str, Any]] = []
    for i, (record, end) in enumerate(zip(runs, ends(runs), strict=True)):
        made = files.read_json(record.folder / "config.json")
        config = from_dict(ExpertConfig, made["config"])
        steps, folder = end.env_steps or config.steps, f"runs/{config.env}-stage"
        config = dataclasses.replace(
            config, threads=0, checkpoint_every=20, steps=steps, init=Path(f"{folder}{i - 1}") if i else None
        )
        flags = as_flags(config, ExpertConfig(config.env))
        command = shlex.join(["python", "-m", "deep.expert", "--env", config.env, *flags, "--out", f"{folder}{i}"])
        found.append({"command": command, "commit": made["commit"], "versions": made["versions"]})
    return found


def curve(metrics: list[Metrics]) -> bytes:
    """The training curve as CSV: steps, mean return and length of the episodes that ended, KL, policy std."""
    names = ("iteration", "env_steps", "episodes", "train_return", "train_length", "kl", "policy_std")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for m in metrics:
        writer.writerow([f"{m[k]:.6g}" if isinstance(m.get(k), float) else m.get(k, "") for k in names])
    return text.getvalue().encode()


def bundle(request: Bundle, console: Console) -> dict[str, Any]:
    """Write the bundle; returns expert.json's content."""
    at_least(request, episodes=1)
    source, stored = Run.open(request.folder, "expert", "folder")
    runs = stages(request.folder)
    config = from_dict(ExpertConfig, stored)
    checkpoint, metrics = source.latest(), joined(runs)
    if checkpoint is None or not metrics:
        what = "a checkpoint" if checkpoint is None else "metrics"
        raise ValueError(f"folder must hold {what}, but {request.folder} has none")
    if "/" in config.env:
        raise ValueError(f"env must have no namespace, as its bundle is one folder, but is {config.env}")
    trained.may_import(config.env, request.folder, request.trust)
    expert = Expert(config, fresh=False)
    expert.load_state_dict(checkpoint.tensors)
    policy, env = expert.policy, config.env
    random = evaluate_random(env, request.episodes, np.random.SeedSequence([config.seed, RANDOM]), 0)
    stochastic, deterministic = evaluate_policy(
        env, policy, request.episodes, np.random.SeedSequence([config.seed, EVALUATION]), 0
    )
    rows = [Row("random", random, None), Row("expert", stochastic, deterministic)]
    console.print(table(env, rows, random.mean, stochastic.mean))

    p, seed = protocol(env), np.random.SeedSequence([config.seed, SAMPLING])
    number = max(p.trajectories)
    simulator = envs.make(env, min(number, 32), int(seed.generate_state(1)[0]))
    sampled = demos.sample_episodes(policy.act, simulator, number, torch_generator(seed.spawn(1)[0]))
    simulator.close()
    thin = np.random.default_rng(np.random.SeedSequence([config.seed, THINNING]))
    kept = demos.subsample(sampled, p.subsample, thin) if p.subsample > 1 else sampled
    full = sampled.returns()
    record = {
        "env": env,
        "hidden": list(config.learner.hidden),
        "episodes": request.episodes,
        "random": statistics(random),
        "stochastic": statistics(stochastic),
        "deterministic": statistics(deterministic),
        "demonstrations": {
            "trajectories": number,
            "subsample": p.subsample,
            "pairs": len(kept.obs),
            "returns": [float(r) for r in full],
            "lengths": [int(n) for n in sampled.lengths],
        },
        "training": commands(runs),
        "env_steps": metrics[-1]["env_steps"],
    }
    folder, new, old = (request.out / f"{dot}{env}{end}" for dot, end in (("", ""), (".", ".new"), (".", ".old")))
    for left in (new, old):  # by a kill
        shutil.rmtree(left, ignore_errors=True)
    new.mkdir(parents=True)
    files.save_tensors(new / "expert.safetensors", policy.state_dict())
    meta = {
        "env": env,
        "source": "TRPO expert, stochastic policy",
        "seed": config.seed,
        "versions": provenance.versions(),
    }
    demos.save(new / "demos.npz", with_metadata(rounded(kept), meta))
    files.write_atomic(new / "training.csv", curve(metrics))
    learning_curve(metrics, f"{env} expert", {"final policy": stochastic.mean}, new / "training.png")
    files.write_json(new / "expert.json", record)
    expert.learner.close()
    if folder.exists():
        folder.rename(old)
    new.rename(folder)  # weights, demonstrations and their record go together
    shutil.rmtree(old, ignore_errors=True)
    console.print(f"bundled: {folder}")
    return record


def rounded(data: demos.Demos) -> demos.Demos:
    """The demonstrations as they are, or in single precision where observations are wide: zeros that compress well."""
    if data.obs.shape[1] <= WIDE:
        return data
    return dataclasses.replace(data, obs=data.obs.astype(np.float32), acts=data.acts.astype(np.float32))


def with_metadata(data: demos.Demos, more: dict[str, Any]) -> demos.Demos:
    """The demonstrations with entries added to their metadata."""
    return demos.Demos(
        data.obs, data.acts, data.lengths, data.rewards, data.terminated, data.time, data.metadata | more
    )


if __name__ == "__main__":
    main_guard(
        lambda: bundle(
            tyro.cli(Bundle, prog="python -m deep.bundle", args=sys.argv[1:]), Console(markup=False, emoji=False)
        )
    )
