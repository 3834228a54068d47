"""Trajectories of a policy, and the occupancy measure they estimate.

A trajectory cut off at `horizon` T is truncated, not ended: the estimate misses the mass gamma^T / (1-gamma) of what
would have followed.  Episodes that end do so in an absorbing state, which is sampled like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from occmatch import checks
from occmatch.checks import FloatArray, IntArray
from occmatch.mdp import MDP


@dataclass(frozen=True, eq=False)
class Trajectories:
    """N trajectories of T steps: `states` [N, T] and `actions` [N, T]; iterates over pairs ([T], [T]).

    Raises ValueError unless both hold integers and have one shape.
    """

    states: IntArray
    actions: IntArray

    def __post_init__(self) -> None:
        for name in ("states", "actions"):
            object.__setattr__(self, name, checks.integers(getattr(self, name), name, "N", "T"))
        if self.states.shape != self.actions.shape:
            raise ValueError(f"actions must have shape {self.states.shape} as states, but has {self.actions.shape}")

    def __len__(self) -> int:
        return len(self.states)

    def __iter__(self) -> Iterator[tuple[IntArray, IntArray]]:
        return zip(self.states, self.actions, strict=True)


def sample_trajectories(
    mdp: MDP, pi: FloatArray, episodes: int, horizon: int, rng: np.random.Generator
) -> Trajectories:
    """`episodes` independent trajectories of `horizon` steps: s_0 ~ p0, a_t ~ pi(.|s_t), s_{t+1} ~ P(.|s_t, a_t)."""
    checks.explicit(mdp)
    checks.generator(rng)
    pi = checks.policy(mdp, pi)
    episodes, horizon = checks.count(episodes, "episodes"), checks.count(horizon, "horizon")
    S, A = mdp.shape
    choose = _RowSampler(pi.reshape(-1), np.arange(S + 1) * A)
    move = _RowSampler(mdp.P.data, mdp.P.indptr)
    states, actions = np.empty((2, horizon, episodes), dtype=np.intp)
    state = _RowSampler(mdp.p0, np.array([0, S]))(np.zeros(episodes, dtype=np.intp), rng)
    for t in range(horizon):
        states[t], actions[t] = state, choose(state, rng) - state * A
        state = mdp.P.indices[move(state * A + actions[t], rng)].astype(np.intp)
    return Trajectories(states.T.copy(), actions.T.copy())


def empirical(
    mdp: MDP, trajectories: Trajectories | Iterable[tuple[ArrayLike, ArrayLike]], *, rescale: bool = True
) -> FloatArray:
    """The discounted visit frequencies (1/N) sum_n sum_t gamma^t 1[s_t = s, a_t = a] [S, A] of N trajectories.

    Trajectories are pairs (states, actions) of equally many indices.  `rescale` makes up for the truncated tail by
    scaling to the sum 1/(1-gamma) of an occupancy measure; the result is in general still outside D, see `projection`.
    Raises ValueError at the first that is no pair, has no steps or unequal lengths, or an index outside the MDP.
    """
    S, A = checks.shape(mdp)
    if not isinstance(trajectories, Iterable):
        raise ValueError(f"trajectories must be pairs (states, actions), but is {type(trajectories).__name__}")
    rho, number = np.zeros(S * A), 0
    for number, pair in enumerate(trajectories, start=1):
        states, actions = _pair(pair, number - 1)
        s = _indices(states, S, f"states of trajectory {number - 1}")
        a = _indices(actions, A, f"actions of trajectory {number - 1}")
        if s.size != a.size or s.size == 0:
            raise ValueError(
                f"trajectory {number - 1} must have as many actions as states and at least one, "
                f"but has {s.size} states and {a.size} actions"
            )
        rho += np.bincount(s * A + a, weights=mdp.gamma ** np.arange(s.size), minlength=rho.size)
    if number == 0:
        raise ValueError("trajectories must hold at least one, but are empty")
    rho /= rho.sum() * (1.0 - mdp.gamma) if rescale else number
    return rho.reshape(S, A)


class _RowSampler:
    """Draws a position in row r of a CSR-like list of probabilities, by inversion of all cumulative sums at once."""

    def __init__(self, weights: FloatArray, indptr: np.ndarray) -> None:
        row = np.repeat(np.arange(indptr.size - 1), np.diff(indptr))
        total = np.cumsum(weights)
        before = np.concatenate([[0.0], total])[indptr[:-1]]
        share = (total - before[row]) / (total[indptr[1:] - 1] - before)[row]
        # Entries of probability 0 are left out, so that no draw can hit one.  Row r's cumulative sums lie in
        # (r, r + 1] and end in r + 1: one sorted list serves every row.
        self.position = np.flatnonzero(weights > 0.0)
        self.cumulative = (row + np.minimum(share, 1.0))[self.position]
        self.cumulative[np.flatnonzero(np.diff(row[self.position], append=indptr.size))] = np.arange(1.0, indptr.size)

    def __call__(self, rows: IntArray, rng: np.random.Generator) -> IntArray:
        drawn = np.minimum(rows + rng.random(rows.size), np.nextafter(rows + 1.0, 0.0))
        return self.position[np.searchsorted(self.cumulative, drawn, side="right")]


def _pair(pair: Any, number: int) -> tuple[ArrayLike, ArrayLike]:
    try:
        states, actions = pair
    except (TypeError, ValueError):
        size = f" of length {len(pair)}" if isinstance(pair, Sized) else ""
        raise ValueError(
            f"trajectory {number} must be a pair (states, actions), but is {type(pair).__name__}{size} (one trajectory "
            f"alone is a list of one pair)"
        ) from None
    return states, actions


def _indices(values: ArrayLike, bound: int, name: str) -> IntArray:
    array = checks.integers(values, name, "T")
    outside = (array < 0) | (array >= bound)
    if outside.any():
        t = int(np.argmax(outside))
        raise ValueError(f"{name} must lie in 0 .. {bound - 1}, but are {array[t]} at step {t}")
    return array.astype(np.intp)
