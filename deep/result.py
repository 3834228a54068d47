"""The closing numbers of a run: the table random / cloning / GAIL / expert, result.json and the learning curve."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from deep import envs
from deep.evaluate import Returns, evaluate, random_actions
from deep.files import write_figure
from deep.learner import torch_generator
from deep.nets import Policy
from deep.run import Metrics

CLOSING, PERIODIC = 1, 2  # streams of the evaluations, apart from every training stream of the same seed
NEEDED = 2  # evaluations in a row above the mark, so that one lucky evaluation does not count


@dataclass(frozen=True)
class Row:
    """A policy's mean and standard deviation of the return, stochastic and deterministic; None where it has no such."""

    name: str
    stochastic: Returns | None
    deterministic: Returns | None


def children(seed: np.random.SeedSequence) -> tuple[np.random.SeedSequence, np.random.SeedSequence]:
    """Two streams of a seed. Unlike spawn, asking again gives the same two."""
    return tuple(np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, i)) for i in range(2))


def evaluate_policy(
    env: str, policy: Policy, episodes: int, seed: np.random.SeedSequence, threads: int
) -> tuple[Returns, Returns]:
    """Returns of the stochastic and of the deterministic policy, on the same initial states."""
    states, actions = children(seed)
    start = int(states.generate_state(1)[0])
    generator = torch_generator(actions)
    stochastic = evaluate(env, lambda obs: policy.act(obs, generator), episodes, start, threads)
    return stochastic, evaluate(env, policy.act, episodes, start, threads)


def evaluate_random(env: str, episodes: int, seed: np.random.SeedSequence, threads: int) -> Returns:
    """Returns of uniformly random actions: the zero of the normalised score."""
    states, actions = children(seed)
    rng = np.random.default_rng(actions)
    act = random_actions(envs.spec(env))
    return evaluate(env, lambda obs: act(obs, rng), episodes, int(states.generate_state(1)[0]), threads)


def table(env: str, rows: list[Row], random: float, expert: float | None) -> Table:
    """mean +- std of every row, and the score of its first policy: 0 for random actions, 100% for the expert."""
    out = Table(title=f"{env}: return, mean ± std over episodes")
    for name in ("policy", "stochastic", "deterministic", "length"):
        out.add_column(name, justify="left" if name == "policy" else "right")
    scored = normalised(0.0, random, expert) is not None
    if scored:
        out.add_column("score", justify="right")
    for row in rows:
        cells = [row.name]
        for returns in (row.stochastic, row.deterministic):
            cells.append("" if returns is None else f"{returns.mean:z,.1f} ± {returns.std:,.1f}")
        first = row.stochastic or row.deterministic
        cells.append("" if first is None else f"{first.lengths.mean():.0f}")
        if scored:
            cells.append("" if first is None else f"{normalised(first.mean, random, expert):z.0%}")
        out.add_row(*cells)
    return out


def steps_to(metrics: list[Metrics], key: str, mark: float) -> int | None:
    """Environment steps at the first of NEEDED evaluations in a row with metrics[key] >= mark; None if never."""
    evaluations = [(m["env_steps"], m[key]) for m in metrics if key in m]
    for i in range(len(evaluations) - NEEDED + 1):
        if all(value >= mark for _, value in evaluations[i : i + NEEDED]):
            return int(evaluations[i][0])
    return None


def normalised(value: float, random: float, expert: float | None) -> float | None:
    """0 for the random policy, 1 for the expert (Figure 1 of the paper); None without an expert who is better."""
    if expert is None or expert <= random:
        return None
    return (value - random) / (expert - random)


def learning_curve(metrics: list[Metrics], env: str, lines: dict[str, float], path: Path) -> None:
    """Training and evaluation returns against environment steps, with horizontal reference lines."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    steps, returns = [np.array([m[k] for m in metrics if "train_return" in m]) for k in ("env_steps", "train_return")]
    axes.plot(steps, returns, color="0.75", lw=1, label="training episodes")
    for key, label, color in (
        ("eval_return", "stochastic policy", "C0"),
        ("eval_return_deterministic", "deterministic policy", "C1"),
    ):
        points = [(m["env_steps"], m[key]) for m in metrics if key in m]
        if points:
            axes.plot(*np.array(points).T, "o-", ms=3, color=color, label=label)
    for (name, value), style in zip(lines.items(), ("--", "-.", ":"), strict=False):
        axes.axhline(value, color="k", ls=style, lw=1, label=name)
    axes.set(title=env, xlabel="environment steps", ylabel="return")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small", frameon=False
    )
    write_figure(path, figure, 120)


@dataclass(frozen=True)
class Comparison:
    """What a closing evaluation found: random actions, the given policies, and the expert's record if there is one."""

    random: Returns
    policies: dict[str, tuple[Returns, Returns]]
    expert: dict[str, Any] | None

    @property
    def reference(self) -> float | None:
        """The stochastic expert's mean return: the demonstrations were sampled from it."""
        return None if self.expert is None else self.expert["stochastic"]["mean"]

    def rows(self) -> list[Row]:
        rows = [Row("random", self.random, None)]
        rows += [Row(name, *pair) for name, pair in self.policies.items()]
        if self.expert is not None:
            kinds = ("stochastic", "deterministic")
            rows.append(Row("expert", *(_recorded(self.expert[k]) if k in self.expert else None for k in kinds)))
        return rows

    def fields(self, name: str) -> dict[str, Any]:
        """Entries of result.json for one of the policies."""
        stochastic, deterministic = self.policies[name]
        return {
            "random_return": self.random.mean,
            "expert_return": self.reference,
            "return_mean": stochastic.mean,
            "return_std": stochastic.std,
            "return_length": float(stochastic.lengths.mean()),
            "return_deterministic_mean": deterministic.mean,
            "return_deterministic_std": deterministic.std,
            "return_deterministic_length": float(deterministic.lengths.mean()),
            "normalised_return": normalised(stochastic.mean, self.random.mean, self.reference),
            "episodes": len(stochastic.returns),
        }


def compare(
    env: str, policies: dict[str, Policy], expert: dict[str, Any] | None, episodes: int, seed: int, threads: int
) -> Comparison:
    """Evaluate random actions and the policies over `episodes` episodes each, all from the same initial states."""
    stream = [np.random.SeedSequence([seed, CLOSING])]
    random = evaluate_random(env, episodes, *stream, threads)
    found = {name: evaluate_policy(env, p, episodes, *stream, threads) for name, p in policies.items()}
    return Comparison(random, found, expert)


def _recorded(entry: dict[str, float]) -> Returns:
    """Recorded statistics in the shape of an evaluation: two episodes with that mean, deviation and length."""
    mean, std, length = entry["mean"], entry["std"], entry["length"]
    return Returns(np.array([mean - std, mean + std]), np.array([length, length]))
