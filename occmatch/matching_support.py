"""Where a measure can have mass at all: reachable states, and pairs from which psi* stays finite.

Some psi* are infinite as soon as rho visits a pair that the expert does not (`psi.forbidden`). A state all of whose
actions are forbidden must never be entered, which forbids the actions that may enter it, and so on; if the initial
distribution itself is caught, no measure in D has a finite psi*. What remains is an MDP in whose interior, rho > 0 on
every allowed pair, Newton's method can live.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from occmatch.checks import FloatArray
from occmatch.mdp import MDP

BoolArray = np.ndarray


@dataclass(frozen=True, eq=False)
class Support:
    """The part of `whole` that measures may visit: its `states` [S'] as an MDP of their own, and `allowed` [S', A].

    Rows of `mdp` at pairs that are not allowed, or all of them if gamma = 0, are self-loops: they never matter.
    """

    whole: MDP
    mdp: MDP
    states: np.ndarray
    allowed: BoolArray

    def restrict(self, x: FloatArray) -> FloatArray:
        """The rows [S', ...] of x [S, ...] on visited states."""
        return x[self.states]

    def extend(self, x: FloatArray, fill: float | bool = 0.0) -> FloatArray:
        """x [S', ...] as an array over all states, `fill` elsewhere."""
        full = np.full((self.whole.S, *x.shape[1:]), fill, dtype=x.dtype)
        full[self.states] = x
        return full


def support(mdp: MDP, forbidden: BoolArray) -> Support | None:
    """The reachable part of `mdp` off the `forbidden` pairs [S, A], or None where p0 cannot avoid them."""
    allowed = ~np.asarray(forbidden, dtype=bool)
    while True:
        dead = ~allowed.any(axis=1)
        if (mdp.p0[dead] > 0).any():
            return None
        enters = mdp.gamma * mdp.expect(dead.astype(np.float64)) > 0
        if not (allowed & enters).any():
            break
        allowed &= ~enters
    states = _reachable(mdp, allowed)
    if len(states) == mdp.S and allowed.all():
        return Support(mdp, mdp, states, allowed)
    return Support(mdp, _sub_mdp(mdp, states, allowed[states]), states, allowed[states])


def _reachable(mdp: MDP, allowed: BoolArray) -> np.ndarray:
    """States that p0 has mass on or that allowed pairs lead to from there, by one search from a virtual source."""
    S, A = mdp.shape
    if mdp.gamma == 0.0:  # what comes after the first step has no weight
        return np.flatnonzero(mdp.p0 > 0)
    rows = np.repeat(np.arange(S * A), np.diff(mdp.P.indptr))
    taken = allowed.reshape(-1)[rows]
    starts = np.flatnonzero(mdp.p0 > 0)
    ends = (
        np.concatenate([rows[taken] // A, np.full(len(starts), S)]),
        np.concatenate([mdp.P.indices[taken], starts]),
    )
    graph = csr_array((np.ones(len(ends[0])), ends), shape=(S + 1, S + 1))
    found = breadth_first_order(graph, S, return_predecessors=False)
    return np.sort(found[found < S])


def _sub_mdp(mdp: MDP, states: np.ndarray, allowed: BoolArray) -> MDP:
    count, A = allowed.shape
    rows = (states[:, None] * A + np.arange(A)).reshape(-1)
    position = np.full(mdp.S, -1)
    position[states] = np.arange(count)
    part = mdp.P[rows].tocoo()
    stay = ~allowed.reshape(-1) | (mdp.gamma == 0.0)
    keep = ~stay[part.row]
    loops = np.flatnonzero(stay)
    kernel = csr_array(
        (
            np.concatenate([part.data[keep], np.ones(len(loops))]),
            (
                np.concatenate([part.row[keep], loops]),
                np.concatenate([position[part.col[keep]], loops // A]),
            ),
        ),
        shape=(count * A, count),
    )
    return MDP(kernel, mdp.p0[states], mdp.gamma)
