"""MDPs from the transition tables of Gymnasium's toy-text environments (FrozenLake, CliffWalking, Taxi, ...).

The table is `env.unwrapped.P`: `P[s][a]` is a list of `(probability, next state, reward, terminated)`.  A state that
an episode ends in is made absorbing at zero cost, whatever moves the table lists from it: the occupancy measure then
holds the time after the end too, which is what keeps the sign of a cost from deciding whether episodes should end.
Time limits are wrappers, not transitions, and so are not part of the MDP; neither are action masks: an action that
does nothing in a state is still an action.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from occmatch.checks import FloatArray
from occmatch.graph import reachable
from occmatch.mdp import MDP, Layout

Table = Mapping[int, Mapping[int, Sequence[tuple[float, int, float, bool]]]]


def from_gymnasium(P: Table, gamma: float, *, p0: ArrayLike, layout: Layout | None = None) -> MDP:
    """The MDP of a table `env.unwrapped.P`, with `p0 = env.unwrapped.initial_state_distrib` [S].

    Raises ValueError where states or actions are not numbered 0, 1, ... alike everywhere, a transition has not its four
    entries, a probability is negative, a row is no distribution, or a state that can be reached is entered both by
    ending the episode and without ending it.
    """
    S, A = _shape(P)
    row, to, weight, _, ended = _columns(P, S)
    terminal = np.zeros(S, dtype=bool)
    terminal[to[ended & (weight > 0.0)]] = True
    kept = ~terminal[row // A]
    ends = np.repeat(np.flatnonzero(terminal), A)
    rows = np.concatenate([row[kept], ends * A + np.tile(np.arange(A), terminal.sum())])
    kernel = csr_array(
        (np.concatenate([weight[kept], np.ones(ends.size)]), (rows, np.concatenate([to[kept], ends]))),
        shape=(S * A, S),
    )
    mdp = MDP(kernel, p0, gamma, layout)
    _refuse_ambiguous(mdp, row, to, kept & ~ended & (weight > 0.0) & terminal[to])
    return mdp


def gymnasium_cost(P: Table) -> FloatArray:
    """Minus the expected reward of each state and action [S, A]; 0 in states that end the episode.

    Raises ValueError for a table that `from_gymnasium` would refuse as well: numbering and transitions.
    """
    S, A = _shape(P)
    row, to, weight, reward, ended = _columns(P, S)
    cost = -np.bincount(row, weights=weight * reward, minlength=S * A).reshape(S, A)
    cost[np.unique(to[ended & (weight > 0.0)])] = 0.0
    return cost


def _shape(P: Table) -> tuple[int, int]:
    if not isinstance(P, Mapping) or not isinstance(P.get(0), Mapping) or not P[0]:
        found = "P[0][0] is missing" if isinstance(P, Mapping) else f"is {type(P).__name__}"
        raise ValueError(f"P must be a table P[s][a] with states and actions numbered from 0, but {found}")
    S, A = len(P), len(P[0])
    for s in range(S):
        actions = P.get(s, "missing")
        if not isinstance(actions, Mapping) or set(actions) != set(range(A)):
            found = list(actions) if isinstance(actions, Mapping) else actions
            raise ValueError(f"P[{s}] must have the actions 0 .. {A - 1} of P[0], but is {found}")
    return S, A


def _columns(P: Table, S: int) -> tuple[np.ndarray, np.ndarray, FloatArray, FloatArray, np.ndarray]:
    """Row s * A + a, next state, probability, reward and terminated of every transition, one array each."""
    A = len(P[0])
    listed = [
        (s * A + a, *entry) for s in range(S) for a in range(A) for entry in _transitions(P[s][a], S, f"P[{s}][{a}]")
    ]
    if not listed:
        raise ValueError("P must list transitions (probability, next state, reward, terminated), but has none")
    row, weight, to, reward, ended = (np.array(column) for column in zip(*listed, strict=True))
    return row, to, weight.astype(np.float64), reward.astype(np.float64), ended


def _transitions(entries: Any, S: int, where: str) -> Iterator[tuple[float, int, float, bool]]:
    for entry in entries if isinstance(entries, Sequence) else [entries]:
        if not isinstance(entry, Sequence) or len(entry) != 4:
            raise ValueError(f"{where} must list (probability, next state, reward, terminated), but lists {entry!r}")
        weight, to, reward, ended = entry
        if not isinstance(to, Integral) or not 0 <= to < S:
            raise ValueError(f"{where} must lead to a state in 0 .. {S - 1}, but leads to {to}")
        for name, number in (("probabilities", weight), ("rewards", reward)):
            if not isinstance(number, Real) or not isfinite(number):
                raise ValueError(f"{where} must have finite {name}, but has {number}")
        if weight < 0.0:  # two transitions to one state are added up, which would hide it
            raise ValueError(f"{where} must have probabilities of at least 0, but has {weight}")
        yield weight, to, reward, bool(ended)


def _refuse_ambiguous(mdp: MDP, row: np.ndarray, to: np.ndarray, suspect: np.ndarray) -> None:
    """ValueError if a transition that `suspect` marks can happen: it enters a terminal state without ending."""
    if not suspect.any():
        return
    reached = reachable(mdp)
    for index in np.flatnonzero(suspect):
        s, a = divmod(int(row[index]), mdp.A)
        if reached[s]:
            raise ValueError(
                f"P[{s}][{a}] must end the episode on entering state {to[index]}, as other transitions do, but does "
                f"not: give such an end a state of its own"
            )
