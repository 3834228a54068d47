"""The live display of a run, with rich: a bar, steps/s, time left and the numbers worth watching.

Without a terminal (a log file, CI) the same numbers come as one plain line every few seconds.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deep.run import Metrics

LINE_EVERY = 10.0  # seconds between plain lines

# metric name, label, format
COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("train_return", "return", "{:.0f}"),
    ("score", "score", "{:z.0%}"),
    ("accuracy_learner", "D learner", "{:z.0%}"),
    ("accuracy_expert", "D expert", "{:z.0%}"),
    ("margin_gap", "gap", "{:.1f}"),
    ("kl", "KL", "{:.4f}"),
    ("step_accepted", "step", "{:.2g}"),
)


def summary(metrics: Metrics) -> str:
    """The watched numbers of one iteration on a line."""
    parts = [f"{label} {form.format(metrics[name])}" for name, label, form in COLUMNS if name in metrics]
    if metrics.get("event"):
        parts.append(str(metrics["event"]))
    return "  ".join(parts)


def show(metrics: Iterable[Metrics], title: str, start: int, steps: int, console: Console) -> Iterator[Metrics]:
    """Pass metrics through while displaying them; `start` and `steps` are environment steps done and to do.

    A number that an iteration lacks (no episode ended in it) keeps its last value on display.
    """
    known: dict[str, Any] = {}
    began = time.monotonic()
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, TextColumn("{task.fields[line]}", markup=False), console=console) as bar:
            task = bar.add_task(title, total=steps, completed=start, line="")
            for m in metrics:
                known |= m
                rate = (m["env_steps"] - start) / (time.monotonic() - began)
                bar.update(task, completed=m["env_steps"], line=f"{rate:,.0f}/s  {summary(known | {'event': ''})}")
                if m.get("event"):
                    bar.console.print(f"iteration {m['iteration']}: {m['event']}")
                yield m
        return
    last = 0.0
    for m in metrics:
        known |= m
        now = time.monotonic()
        if now - last >= LINE_EVERY or m["env_steps"] >= steps:
            last = now
            rate = (m["env_steps"] - start) / (now - began)
            left = max(0, steps - m["env_steps"]) / rate
            line = f"{title}  {m['env_steps']:,}/{steps:,} steps  {rate:,.0f}/s  {left:.0f} s left  {summary(known)}"
            console.print(line, soft_wrap=True, highlight=False)
        yield m
