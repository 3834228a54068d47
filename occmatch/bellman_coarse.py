"""A first guess of V from smaller MDPs, whose states are groups of states that exchange much mass.

On a long way to a goal policy iteration that starts from nothing learns the way a stretch at a time.  The aggregated
MDP is a picture of the same way with fewer states: with groups g and their mean costs,

    P_g(g'|g, a) = mean over s in g of sum_{s' in g'} P(s'|s, a),        c_g(g, a) = mean over s in g of c(s, a),

solved in the same manner (nested iteration; aggregation for dynamic programming: Bertsekas & Castanon 1989).  Groups
are found as in algebraic multigrid, by pairing each state with the neighbour it exchanges most with, several times
over (pairwise aggregation, Notay 2010).  It is done only where the system of the uniform policy shows that ways are
long: on garnets, where everything is near, it would be of no use.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

from occmatch.bellman_sweep import middle, q, soft_minimum
from occmatch.checks import FloatArray
from occmatch.linear_krylov import refined
from occmatch.linear_policy import quick_matrix
from occmatch.mdp import MDP
from occmatch.products import product

# Below this many states policy iteration from nothing takes less than a second.
_STATES = 20_000

# On garnets BiCGSTAB took about six steps a solve.
_PROBE_STEPS = 20

# Rounds of pairing from one level to the next (about 11 states a group), and sweeps that smooth the guess of a level.
_PAIRINGS, _SMOOTHING = 4, 16

# States whose costs differ by more than this part of the range, or the mass that they keep by as much, stay apart.
_UNLIKE = 0.5

# A level need not be solved to more than this part of the range of its values: its picture is no better.
_COARSE = 2e-2

Solve = Callable[[MDP, FloatArray, FloatArray, float], FloatArray]


def first_guess(mdp: MDP, cost: FloatArray, lam: float, solve: Solve) -> FloatArray:
    """V [S] to start from; `solve(mdp, cost, V, tol)` gives V of a smaller MDP to an error of about `tol`."""
    uniform = np.full(mdp.shape, 1.0 / mdp.A)
    P_pi = quick_matrix(mdp, uniform)
    mean = cost.mean(axis=1)
    mid = middle(mean)
    V, near = refined(product(P_pi), mdp.gamma, mean - mid, 1e-2, 1, _PROBE_STEPS)
    if near:
        return V
    groups = _groups(_exchange(P_pi, mean, stays(mdp)), _PAIRINGS)
    if groups.max() + 1 > 0.7 * mdp.S:
        return V
    small, mean_cost = aggregated(mdp, cost, groups)
    guess = np.zeros(small.S) if small.S <= _STATES else first_guess(small, mean_cost, lam, solve)
    V = solve(small, mean_cost, guess, _COARSE * _range(cost) / (1.0 - mdp.gamma))[groups]
    for _ in range(_SMOOTHING):
        Q = q(mdp, cost, V)
        V = soft_minimum(Q, lam)[0] if lam > 0.0 else Q.min(axis=1)
    return V


def aggregated(mdp: MDP, cost: FloatArray, groups: np.ndarray) -> tuple[MDP, FloatArray]:
    """The MDP and cost of the `groups` [S], numbered from 0: means over their states."""
    S, A = mdp.shape
    size = np.bincount(groups)
    k = size.size
    rows = (groups[:, None] * A + np.arange(A)).reshape(-1)
    mean = csr_array((np.repeat(1.0 / size[groups], A), (rows, np.arange(S * A))), shape=(k * A, S * A))
    labels = groups[mdp.P.indices].astype(mdp.P.indices.dtype)
    to_groups = csr_array((mdp.P.data, labels, mdp.P.indptr), shape=(S * A, k))
    p0 = np.bincount(groups, weights=mdp.p0)
    return MDP(csr_array(mean @ to_groups), p0, mdp.gamma), (mean @ cost.reshape(-1)).reshape(k, A)


def stays(mdp: MDP) -> FloatArray:
    """The least over actions of the mass P(s|s, a) that a state keeps [S]: 1 for a trap."""
    rows = np.repeat(np.arange(mdp.S * mdp.A), np.diff(mdp.P.indptr))
    kept = mdp.P.indices == rows // mdp.A
    return np.bincount(rows[kept], weights=mdp.P.data[kept], minlength=mdp.S * mdp.A).reshape(mdp.shape).min(axis=1)


def _exchange(P_pi: csr_array, cost: FloatArray, stay: FloatArray) -> csr_array:
    """P_pi + P_pi' as weights, without those between states unlike in cost or in the mass they keep.

    A goal that shares a group with its neighbours is left again as they are, and with it all that led there.
    """
    weights = csr_array(P_pi + P_pi.T)
    row = np.repeat(np.arange(weights.shape[0], dtype=np.int32), np.diff(weights.indptr))
    far = np.abs(cost[row] - cost[weights.indices]) > _UNLIKE * _range(cost)
    far |= np.abs(stay[row] - stay[weights.indices]) > _UNLIKE
    weights.data[far] = 0.0
    weights.eliminate_zeros()
    return weights


def _groups(weights: csr_array, pairings: int) -> np.ndarray:
    """Group of each state [S], after `pairings` rounds of pairing on the symmetric `weights` [S, S]."""
    groups = np.arange(weights.shape[0])
    for _ in range(pairings):
        pairs = _paired(weights)
        k = int(pairs.max()) + 1
        join = csr_array((np.ones(pairs.size), (pairs, np.arange(pairs.size))), shape=(k, pairs.size))
        weights, groups = csr_array(join @ weights @ join.T), pairs[groups]
    return groups


def _paired(weights: csr_array) -> np.ndarray:
    """Pairs [S], numbered from 0: each state with the neighbour it exchanges most with and that chose it too."""
    S = weights.shape[0]
    row, to = np.repeat(np.arange(S, dtype=np.int32), np.diff(weights.indptr)), weights.indices
    # Where all weights are alike nobody would choose each other; numbers that look random break ties the same for both.
    chance = np.modf((np.arange(S) + 1.0) * 0.6180339887498949)[0]
    weight = weights.data * (1.0 + 1e-3 * (chance[row] + chance[to]))
    kept = row != to
    leader = np.full(S, -1)
    for _ in range(8):
        row, to, weight = row[kept], to[kept], weight[kept]
        if row.size == 0:
            break
        starts = np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1]]))
        most = np.maximum.reduceat(weight, starts)
        chosen = np.flatnonzero(weight == np.repeat(most, np.diff(np.append(starts, row.size))))
        choice = np.full(S, -1)
        choice[row[chosen]] = to[chosen]
        first = np.flatnonzero(choice >= 0)
        first = first[(choice[choice[first]] == first) & (first < choice[first])]
        leader[first], leader[choice[first]] = first, first
        kept = (leader[row] < 0) & (leader[to] < 0)
    alone = leader < 0
    leader[alone] = np.flatnonzero(alone)
    return np.unique(leader, return_inverse=True)[1]


def _range(x: FloatArray) -> float:
    return float(x.max()) - float(x.min())
