"""Kernels made of a few events: where each event leads from a state, and how likely each action makes it.

    P(s'|s, a) = sum_e w(a, e) [s' = to_e(s)]

Gridworlds (the moves) and queueing networks (arrivals, services) are of this kind.  The E arrays `to` take S numbers
each, where the sparse kernel takes up to S * A * E: an MDP is had in either form, and the two agree.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.matrix_free import MatrixFree
from occmatch.mdp import MDP, Layout


def event_mdp(to: np.ndarray, weights: FloatArray, p0: FloatArray, gamma: float, layout: Layout | None = None) -> MDP:
    """The MDP of events: `to` [E, S] holds next states, `weights` [A, E] probabilities of the events."""
    to, weights = _checked(to, weights)
    (E, S), A = to.shape, weights.shape[0]
    columns = np.repeat(to.T[:, None, :], A, axis=1).reshape(-1)
    pointers = np.arange(S * A + 1, dtype=np.int64 if S * A * E > np.iinfo(np.int32).max else np.int32) * E
    return MDP(csr_array((np.tile(weights.reshape(-1), S), columns, pointers), shape=(S * A, S)), p0, gamma, layout)


def event_free(
    to: np.ndarray, weights: FloatArray, p0: FloatArray, gamma: float, layout: Layout | None = None
) -> MatrixFree:
    """The same without a matrix: expect(V) gathers V[to] and mixes it by `weights`, flow scatters."""
    to, weights = _checked(to, weights)

    def expect(V: FloatArray) -> FloatArray:
        return V[to].T @ weights.T

    def flow(rho: FloatArray) -> FloatArray:
        mass = rho @ weights
        return sum(np.bincount(to[e], weights=mass[:, e], minlength=to.shape[1]) for e in range(to.shape[0]))

    return MatrixFree(expect, flow, p0, gamma, weights.shape[0], to.shape[0], layout)


def _checked(to: np.ndarray, weights: FloatArray) -> tuple[np.ndarray, FloatArray]:
    to = checks.integers(to, "to", "E", "S")
    outside = (to < 0) | (to >= to.shape[1])
    if outside.any():
        e, s = np.argwhere(outside)[0]
        raise ValueError(f"to[{e}, {s}] must be a state in 0 .. {to.shape[1] - 1}, but is {to[e, s]}")
    weights = checks.real_array(weights, "weights")
    if weights.ndim != 2 or weights.shape[1] != to.shape[0]:
        raise ValueError(f"weights must have shape (A, {to.shape[0]}), but has shape {weights.shape}")
    return to.astype(np.int32), checks.distributions(weights, "weights", weights.shape)
