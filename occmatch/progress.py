"""How long work tells how far it is, and how it is stopped without losing what it has.

A solver calls `report(iteration, error, V)` after every sweep that it would stop at.  A caller's own function receives
a `Report`, with the answer so far in it, and may keep it, save it, or end the work by raising an exception:

    best = []
    try:
        rl(mdp, cost, progress=best.append)
    except KeyboardInterrupt:
        V = best[-1].V          # later: rl(mdp, cost, V0=V)

Without one, a line on stderr says so much after two seconds, if stderr is a terminal; `progress=False` says nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

# What takes less than this needs no display.
_SECONDS = 2.0


@dataclass(frozen=True, eq=False)
class Report:
    """One sweep of a solver: its number, the certified error (or gap) so far, seconds since the start, and V [S]."""

    method: str
    iteration: int
    error: float
    seconds: float
    V: np.ndarray


Progress = Callable[[Report], object] | bool | None
Say = Callable[[str, int, float, Callable[[], np.ndarray]], None]


@contextmanager
def reporting(progress: Progress, title: str) -> Iterator[Say]:
    """A function `say(method, iteration, error, V)` that calls `progress`, shows a line, or does nothing.

    ValueError for a `progress` that is no function, bool or None.
    """
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise ValueError(f"progress must be a function, True, False or None, but is {progress!r}")
    start = time.perf_counter()
    if callable(progress):
        yield lambda method, iteration, error, V: _call(progress, method, iteration, error, start, V)
    elif progress is False or not sys.stderr.isatty():
        yield lambda method, iteration, error, V: None
    else:
        with _line(title, start) as say:
            yield say


def _call(
    progress: Callable[[Report], object],
    method: str,
    iteration: int,
    error: float,
    start: float,
    V: Callable[[], np.ndarray],
) -> None:
    progress(Report(method, iteration, error, time.perf_counter() - start, V()))


@contextmanager
def _line(title: str, start: float) -> Iterator[Say]:
    """A line that is rewritten in place, from `_SECONDS` on, and taken away at the end."""
    from rich.console import Console

    status = Console(stderr=True).status(title)
    shown = False

    def say(method: str, iteration: int, error: float, V: Callable[[], np.ndarray]) -> None:
        nonlocal shown
        seconds = time.perf_counter() - start
        if seconds < _SECONDS:
            return
        status.update(f"{title}: {method}, step {iteration}, error {error:.1e}, {seconds:.0f} s (Ctrl-C stops)")
        if not shown:
            status.start()
            shown = True

    try:
        yield say
    finally:
        if shown:
            status.stop()
