"""Does training converge? Numbers that say so, and how to read them.

    python -m deep.diagnostics runs/gail-HalfCheetah-v4-s0

At the saddle point of Eq 16 the discriminator cannot tell the two sides apart: accuracy near one half on each, margins
near 0 on both, and for the logistic loss a risk near 2 log 2, because the risk is 2 log 2 - 2 JS of the normalised
measures (Eq 15). On the way there the sides must stay close enough for the policy to learn from their difference. Two
things go wrong. The discriminator tells the sides apart at sight: accuracies near 1 and a gap between the margins that
grows, so that all that the policy does is as wrong as everything else. Or the policy's side fails: steps that the line
search refuses, a direction that conjugate gradients have not found, a value net that explains nothing.

`measures` adds to the metrics of an iteration; `read` judges the last part of a run by the rules below, whose marks
come from the two runs of docs/reading_a_run.md and are rules of thumb.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from deep import files
from deep.cli import main_guard
from deep.run import Metrics, Run

PART = 0.2  # share of the iterations, the last ones, that are judged, and the first ones that they are set beside
LARGE = 1e300  # integers of JSON may be larger than floats
LEAST = 10  # iterations without which nothing is said


def measures(found: Metrics, rewards: np.ndarray, terminated: np.ndarray | None) -> Metrics:
    """The gap between the mean margins of the two sides, and the learned reward by outcome: its mean over the steps
    that end the task, and over all others; rewards and terminated [T, E], None where ending is paid beside them (the
    absorbing state). A mean over no steps is left out.
    """
    more: Metrics = {"margin_gap": found["margin_learner"] - found["margin_expert"]}
    if terminated is None:
        return more
    for name, rows in (("reward_at_end", terminated), ("reward_elsewhere", ~terminated)):
        if rows.any():
            more[name] = float(rewards[rows].mean())
    return more


@dataclass(frozen=True)
class Finding:
    """One number of the last part of a run, and what it says; `well` is None where it says neither good nor bad, and
    `before` is the number in the first part, None where it was not there.
    """

    name: str
    value: float
    well: bool | None
    says: str
    before: float | None = None


@dataclass(frozen=True)
class Rule:
    """Reads one number x: well below `good`, ill above `bad`, and in between it depends; `sign` -1 turns them round."""

    name: str
    good: float
    bad: float
    well: str
    ill: str
    sign: int = 1

    def judge(self, x: float, before: float | None = None) -> Finding:
        if self.sign * x <= self.sign * self.good:
            return Finding(self.name, x, True, self.well, before)
        if self.sign * x >= self.sign * self.bad:
            return Finding(self.name, x, False, self.ill, before)
        return Finding(self.name, x, None, "in between: look at where it is going", before)


APART = "it knows this side at sight: raise cost.gradient-penalty, start from cloning"
RULES = (
    Rule("accuracy_learner", 0.95, 0.985, "the discriminator takes some of the learner for the expert", APART),
    Rule("accuracy_expert", 0.95, 0.985, "the discriminator takes some of the expert for the learner", APART),
    Rule("margin_gap", 3.0, 8.0, "the sides overlap", "the sides lie far apart, and a reward that far away is flat"),
    # Ten iterations leave 0.3 to 0.9 in runs that go well and in runs that do not.
    Rule(
        "cg_residual",
        0.9,
        0.99,
        "conjugate gradients make way",
        "they make none: raise learner.trpo.damping or learner.trpo.cg-iterations",
    ),
    Rule(
        "refused",
        0.1,
        0.5,
        "the line search accepts the steps",
        "it refuses them: the advantages are noise, or the bound on the KL too wide",
    ),
    Rule(
        "explained_variance",
        0.5,
        0.0,
        "the value net predicts the returns",
        "it predicts nothing: more learner.value.epochs, or rewards that move too fast",
        -1,
    ),
)
READ = {rule.name for rule in RULES} | {"step_accepted", "reward_at_end", "reward_elsewhere"}  # of a line's metrics


def parts(iterations: int) -> tuple[int, int]:
    """How many of a run's iterations are its first and its last part: PART of them, and of a short run LEAST at its end
    and fewer, or none, before.
    """
    last = max(LEAST, round(PART * iterations))
    return min(last, iterations - last), last


def read(metrics: list[Metrics], logistic: bool = True) -> list[Finding]:
    """What the last PART of a run's metrics says; a rule without its number is left out, and that of the margin's scale
    for costs other than those of a logistic margin. Raises ValueError for fewer than LEAST iterations.
    """
    if len(metrics) < LEAST:
        raise ValueError(f"a run must have at least {LEAST} iterations to be read, but has {len(metrics)}")
    metrics = [_numbers(m, number) for number, m in enumerate(metrics, 1)]
    at_first, at_last = parts(len(metrics))
    first, last = metrics[:at_first], metrics[-at_last:]

    def mean(name: str, of: list[Metrics] = last) -> float | None:
        values = [m[name] for m in of if name in m]
        return float(np.mean(values)) if values else None

    rules = [rule for rule in RULES if logistic or rule.name != "margin_gap"]
    found = [rule.judge(x, mean(rule.name, first)) for rule in rules if (x := mean(rule.name)) is not None]
    return [*found, *_outcome(mean)]


def _numbers(metrics: Metrics, number: int) -> Metrics:
    """The numbers of line `number` that are judged, with `refused`: 1 where the line search accepted no step."""
    found: Metrics = {}
    for name in READ & metrics.keys():
        if not isinstance(metrics[name], int | float) or not abs(metrics[name]) <= LARGE:  # nan is not
            shown = ascii(metrics[name])[:60]
            raise ValueError(f"metrics.jsonl, line {number}: {name} must be a number that floats hold, but is {shown}")
        found[name] = float(metrics[name])
    if "step_accepted" in found:
        found["refused"] = float(found.pop("step_accepted") == 0)
    return found


def _outcome(mean: Callable[[str], float | None]) -> list[Finding]:
    """Whether ending is paid better than going on."""
    end, going = mean("reward_at_end"), mean("reward_elsewhere")
    if end is None or going is None:
        return []
    if end > going:
        return [
            Finding("reward_at_end", end, None, f"ending pays more than going on ({going:.3g}): meant, if it succeeds")
        ]
    return [
        Finding("reward_at_end", end, None, f"going on pays more ({going:.3g}) than ending: meant, if ending fails")
    ]


def table(name: str, findings: list[Finding], iterations: int) -> Table:
    """The findings, one a row."""
    first, last = parts(iterations)
    out = Table(title=f"{name}: means over the first {first:,} and the last {last:,} of {iterations:,} iterations")
    for column in ("number", "first", "last", "", "what it says"):
        out.add_column(column, justify="right" if column in ("first", "last") else "left")
    words = {True: "well", False: "ILL", None: "-"}
    for f in findings:
        before = "" if f.before is None else f"{f.before:.3g}"
        out.add_row(f.name, before, f"{f.value:.3g}", words[f.well], f.says)
    return out


@dataclass(frozen=True)
class Request:
    """Say what the metrics of a run mean."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of deep.gail or deep.expert."""


def main(request: Request, console: Console) -> list[Finding]:
    """Print the table; returns the findings."""
    record = files.read_json(request.run / "config.json")  # one line for a folder that holds no run
    config = record.get("config") if isinstance(record, dict) else None
    config = config if isinstance(config, dict) else {}
    metrics = Run(request.run).metrics()
    findings = read(metrics, (config.get("method", "gail"), config.get("loss", "logistic")) == ("gail", "logistic"))
    console.print(table(str(request.run), findings, len(metrics)))
    return findings


if __name__ == "__main__":
    main_guard(
        lambda: main(
            tyro.cli(Request, prog="python -m deep.diagnostics", args=sys.argv[1:]), Console(markup=False, emoji=False)
        )
    )
