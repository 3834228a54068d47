"""The search for the worst case: an inequality holds at random draws long before it holds everywhere.

Nelder-Mead, which needs no slope and does not mind a kink, climbs from the worst of a few random starts. The unknowns
are arrays of any shapes; distributions go through the softmax, so that every point of the search is a valid case.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from occmatch import MDP
from theory.plain import softmax

Array = np.ndarray

WORTHLESS = 1e6
"""Minus this stands for a margin of -inf or NaN, which would give the search no order."""

STARTS = 8
"""Random draws before the climb starts."""


def worst(
    margin: Callable[..., float],
    shapes: tuple[tuple[int, ...], ...],
    rng: np.random.Generator,
    evaluations: int = 200,
    spread: float = 1.0,
) -> float:
    """The largest margin(*arrays) found, arrays of `shapes` starting as normal draws of standard deviation `spread`.

    A margin above 0 is a violation; `evaluations` bounds the calls. -inf counts as -WORTHLESS. Where any margin is
    NaN the answer is NaN, which no tolerance admits.
    """
    sizes = [math.prod(shape) for shape in shapes]
    ends, broken = np.cumsum(sizes)[:-1], False

    def below(x: Array) -> float:
        nonlocal broken
        found = float(margin(*(part.reshape(shape) for part, shape in zip(np.split(x, ends), shapes, strict=True))))
        broken = broken or math.isnan(found)
        return WORTHLESS if math.isnan(found) else min(-found, WORTHLESS)

    n = sum(sizes)
    start = min(spread * rng.normal(size=(STARTS, n)), key=below)
    # SciPy's own first simplex is so small that the climb falls behind random draws.
    simplex = start + spread * np.vstack([np.zeros(n), np.eye(n)])
    options = {"maxfev": evaluations - STARTS, "initial_simplex": simplex}
    found = minimize(below, start, method="Nelder-Mead", options=options)
    return math.nan if broken else -float(found.fun)


def any_mdp(rows: Array, start: Array, gamma: float) -> MDP:
    """The MDP with P = softmax of rows [S, A, S] and p0 = softmax of start [S]."""
    S, A = rows.shape[:2]
    return MDP(softmax(rows.reshape(S * A, S)).reshape(S, A, S), softmax(start[None])[0], gamma)
