"""Finite MDPs as tasks: tables P, p0, gamma and a cost, under an id that Gymnasium and `make` both know.

    envs.register_table("River-v0", envs.Table(mdp.P, mdp.p0, mdp.gamma, cost))

An observation is the state, one-hot; the reward is -cost(s, a). After every step the episode goes on with
probability gamma, independently of all else. So the steps of an episode, each counted once, have the expectation

    E[ number of visits to (s, a) ] = sum_t gamma^t P(s_t = s, a_t = a) = rho_pi(s, a),

the discounted occupancy measure, and the mean undiscounted return is <rho_pi, -cost>. An episode that the clock stops
is truncated, never terminated: gamma belongs to the objective and not to the world, and the successor keeps its value.
Train with learner.gamma = gamma.

States of `terminal` end the task on entry. What follows them is then left out of the data, as in any episodic task;
leave `terminal` out and give the MDP its absorbing states to keep the measure whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array, issparse

__all__ = ["CUT", "Sampler", "Table"]

CUT = 1e-9
"""Episodes are cut where all but this share of the discounted mass has passed: far below what sampling can see."""
SUM_SLACK = 1e-9  # rounding of a row that was normalised in double precision, generously


@dataclass(frozen=True, eq=False)
class Table:
    """A finite task: P [S, A, S] or sparse [S * A, S] with row s * A + a, p0 [S], gamma in [0, 1), cost [S, A], and
    optionally terminal, booleans [S]. Raises ValueError where a row is no distribution or shapes disagree.
    """

    P: csr_array
    p0: np.ndarray
    gamma: float
    cost: np.ndarray
    terminal: np.ndarray | None = None

    def __post_init__(self) -> None:
        cost = np.array(self.cost, dtype=np.float64)
        if cost.ndim != 2 or 0 in cost.shape or not np.isfinite(cost).all():
            raise ValueError(f"cost must be finite numbers [S, A], but has shape {cost.shape}")
        S, A = cost.shape
        P = self.P if issparse(self.P) else np.asarray(self.P, dtype=np.float64)
        if P.shape not in ((S, A, S), (S * A, S)):
            raise ValueError(f"P must have shape {(S, A, S)} or {(S * A, S)}, as cost has {(S, A)}, but has {P.shape}")
        P = P.reshape((S * A, S))
        p0 = np.array(self.p0, dtype=np.float64)
        if p0.shape != (S,):
            raise ValueError(f"p0 must have shape {(S,)}, as cost has {S} rows, but has {p0.shape}")
        if not 0.0 <= self.gamma < 1.0:
            raise ValueError(f"gamma must be in [0, 1), but is {self.gamma}")
        terminal = np.zeros(S, dtype=bool) if self.terminal is None else np.array(self.terminal)
        if terminal.shape != (S,) or terminal.dtype != bool:
            raise ValueError(f"terminal must be {S} booleans, but has {terminal.dtype} of shape {terminal.shape}")
        if p0[terminal].any():
            s = int(np.argmax(terminal & (p0 > 0)))
            raise ValueError(f"p0[{s}] must be 0, because state {s} is terminal, but is {p0[s]:g}")
        P = csr_array(P, dtype=np.float64, copy=True)
        P.sum_duplicates()
        P.eliminate_zeros()
        _check_rows(P, "P", A)
        _check_rows(csr_array(p0[None]), "p0", None)
        for name, value in (("P", P), ("p0", p0), ("gamma", float(self.gamma)), ("cost", cost), ("terminal", terminal)):
            object.__setattr__(self, name, value)
        for array in (P.data, P.indices, P.indptr, p0, cost, terminal):
            array.setflags(write=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(S, A)."""
        return self.cost.shape

    @property
    def horizon(self) -> int:
        """The step at which an episode is cut if chance has not ended it: gamma^horizon <= CUT."""
        return 1 if self.gamma == 0 else max(1, math.ceil(math.log(CUT) / math.log(self.gamma)))


class Sampler:
    """Draws a column of a row of probabilities [R, S], by inversion of all cumulative sums in one sorted list."""

    def __init__(self, rows: csr_array | ArrayLike) -> None:
        rows = csr_array(rows)
        number = rows.shape[0]
        of = np.repeat(np.arange(number), np.diff(rows.indptr))
        total = np.cumsum(rows.data)
        before = np.concatenate([[0.0], total])[rows.indptr[:-1]]
        share = (total - before[of]) / (total[rows.indptr[1:] - 1] - before)[of]
        # Row r's sums lie in (r, r + 1]; its last is set to r + 1, which rounding must not miss.
        self._sums = of + np.minimum(share, 1.0)
        self._sums[rows.indptr[1:] - 1] = np.arange(1.0, number + 1)
        self._columns = rows.indices.astype(np.int64)

    def __call__(self, rows: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """Columns [E] of `rows` [E], from uniforms [E] in [0, 1)."""
        drawn = np.minimum(rows + uniforms, np.nextafter(rows + 1.0, 0.0))
        return self._columns[np.searchsorted(self._sums, drawn, side="right")]


def _check_rows(rows: csr_array, name: str, A: int | None) -> None:
    """ValueError at the first row that is no probability distribution; A is None for a single one."""
    number = rows.shape[0]
    least = np.full(number, np.inf)
    np.minimum.at(least, np.repeat(np.arange(number), np.diff(rows.indptr)), rows.data)
    total = np.asarray(rows.sum(axis=1)).reshape(-1)
    good = (least >= 0) & (np.abs(total - 1.0) <= SUM_SLACK)
    if not good.all():
        r = int(np.argmin(good))
        where = name if A is None else f"{name}[{r // A}, {r % A}]"
        raise ValueError(
            f"{where} must be a probability distribution, but has least entry {min(least[r], 0.0):g} "
            f"and sum {total[r]:.10g}"
        )
