"""Metrics on state-action pairs as sparse symmetric matrices of edge lengths, in the order s * A + a."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import sparse

from occmatch import checks
from occmatch.mdp import MDP
from occmatch.regularisers.base import DOMAIN_RTOL, positive


def transition_metric(mdp: MDP, switch: float = 1.0) -> sparse.csr_array:
    """Edge lengths [S*A, S*A] of the metric that counts steps between states and changes of action.

    An edge of length 1 joins (s, a) and (s', a) where some action leads from s to s'; one of length `switch`
    joins two actions of a state.
    """
    checks.explicit(mdp)
    S, A = mdp.shape
    switch = positive(switch, "switch")
    row, to = mdp.P.nonzero()
    step = sparse.csr_array((np.ones(to.size), (row // A, to)), shape=(S, S))
    step = ((step + step.T) > 0).astype(np.float64)
    step.setdiag(0)
    step.eliminate_zeros()
    actions = np.ones((A, A)) - np.eye(A)
    lengths = (sparse.kron(step, np.eye(A)) + switch * sparse.kron(sparse.eye(S), actions)).tocsr()
    lengths.eliminate_zeros()  # kron stores those of a dense factor, and a stored zero is an edge of length zero
    return lengths


def length_matrix(metric: Any) -> sparse.csr_array:
    """The symmetric matrix of edge lengths, or ValueError with the offending pair."""
    if hasattr(metric, "nodes"):
        metric = _from_graph(metric)
    if not sparse.issparse(metric):
        metric = checks.real_array(metric, "metric")
        if metric.ndim != 2:
            raise ValueError(f"metric must have shape [S*A, S*A], but has shape {metric.shape}")
        off = metric + np.where(np.eye(len(metric), metric.shape[1]) > 0, 1.0, 0.0)
        if (off <= 0).any():
            i, j = (int(k) for k in np.argwhere(off <= 0)[0])
            raise ValueError(f"metric[{i}, {j}] must be positive off the diagonal, but is {metric[i, j]:g}")
    lengths = checks.sparse_matrix(sparse.csr_array(metric), "metric", "[S*A, S*A]")
    if lengths.shape[0] != lengths.shape[1]:
        raise ValueError(f"metric must have shape [S*A, S*A], but has shape {lengths.shape}")
    entries = lengths.tocoo()
    bad = ~np.isfinite(entries.data) | np.where(entries.row == entries.col, entries.data != 0, entries.data <= 0)
    if bad.any():
        k = int(np.argmax(bad))
        raise ValueError(
            f"metric[{entries.row[k]}, {entries.col[k]}] must be a positive finite length, zero on the "
            f"diagonal, but is {entries.data[k]:g}"
        )
    skew = abs(lengths - lengths.T).tocoo()
    if skew.nnz and skew.data.max() > DOMAIN_RTOL * lengths.max():
        k = int(np.argmax(skew.data))
        raise ValueError(f"metric must be symmetric, but differs from its transpose at [{skew.row[k]}, {skew.col[k]}]")
    return lengths


def _from_graph(graph: Any) -> sparse.csr_array:
    """The shortest edge between any two nodes, both ways where the graph has no directions."""
    S, A = _sizes(graph)
    shortest: dict[tuple[int, int], float] = {}
    for (s, a), (t, b), weight in graph.edges(data="weight", default=1.0):
        u, v = s * A + a, t * A + b
        # Refused here, where the edge has a name: the matrix knows only numbers of pairs.
        if not isinstance(weight, Real) or (u != v and not weight > 0):
            raise ValueError(f"metric must have positive weights, but edge ({(s, a)}, {(t, b)}) has {weight!r}")
        for ends in ((u, v),) if graph.is_directed() else ((u, v), (v, u)):
            shortest[ends] = min(float(weight), shortest.get(ends, np.inf))
    rows, columns = np.array(list(shortest), dtype=np.intp).reshape(-1, 2).T
    return sparse.csr_array((list(shortest.values()), (rows, columns)), shape=(S * A, S * A), dtype=np.float64)


def _sizes(graph: Any) -> tuple[int, int]:
    """(S, A) of a graph with a node for every pair (s, a), or ValueError."""
    nodes = list(graph.nodes)
    bad = [n for n in nodes if not (isinstance(n, tuple) and len(n) == 2 and all(map(_is_index, n)))]
    if bad or not nodes:
        raise ValueError(f"metric must have nodes (s, a), but has {f'node {bad[0]!r}' if bad else 'none'}")
    S, A = (int(max(n[k] for n in nodes)) + 1 for k in (0, 1))
    if len(nodes) != S * A:
        missing = next((s, a) for s in range(S) for a in range(A) if (s, a) not in graph)
        raise ValueError(f"metric must have a node for every pair (s, a), but has none for {missing}")
    return S, A


def _is_index(k: object) -> bool:
    return isinstance(k, Integral) and not isinstance(k, bool) and k >= 0
