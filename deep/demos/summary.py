"""A table of what a demonstration file holds."""

import json
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from deep.demos.format import Demos

__all__ = ["table"]

SHOWN = 8  # of the discrete actions, the most frequent ones


def table(demos: Demos, path: Path) -> Table:
    """Episodes, pairs, shapes, lengths, returns and metadata."""
    out = Table(title=Text(f"demonstrations {path}"), show_header=False)
    out.add_column(justify="left", style="bold")
    out.add_column(justify="left")
    low, middle, high = np.quantile(demos.lengths, [0.0, 0.5, 1.0])
    rows = {
        "episodes": f"{demos.episodes:,}",
        "pairs": f"{len(demos.obs):,}",
        "pairs an episode": f"{low:.0f} to {high:.0f}, median {middle:g}",
        "observations": _numbers(demos.obs),
        "actions": _actions(demos),
        "return": _returns(demos),
        "ended by the task": _ended(demos),
        "time in the episode": f"{demos.times.min()} to {demos.times.max()}",
    }
    for name, value in rows.items():
        out.add_row(name, value)
    for name, value in sorted(demos.metadata.items()):
        out.add_row(Text(ascii(name)[1:-1]), Text(value if _plain(value) else json.dumps(value)))
    return out


def _plain(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _actions(demos: Demos) -> str:
    if demos.discrete:
        shares = _shares(demos.acts)
        rest = f" and {len(shares) - SHOWN} more" if len(shares) > SHOWN else ""
        return "discrete: " + ", ".join(f"{a} ({share:.0%})" for a, share in shares[:SHOWN]) + rest
    return _numbers(demos.acts)


def _numbers(rows: np.ndarray) -> str:
    low, high = rows.min() + 0.0, rows.max() + 0.0  # no negative zero
    return f"{rows.shape[1]} numbers in [{low:.4g}, {high:.4g}]"


def _shares(acts: np.ndarray) -> list[tuple[int, float]]:
    values, counts = np.unique(acts, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(int(values[i]), float(counts[i]) / len(acts)) for i in order]


def _returns(demos: Demos) -> str:
    returns = demos.returns()
    if returns is None:
        return "unknown: no rewards" if demos.rewards is None else "unknown: pairs were left out"
    return f"{returns.mean():,.2f} ± {returns.std():,.2f}, from {returns.min():,.2f} to {returns.max():,.2f}"


def _ended(demos: Demos) -> str:
    if demos.terminated is None:
        return "unknown"
    return f"{int(demos.terminated.sum())} of {demos.episodes} episodes"
