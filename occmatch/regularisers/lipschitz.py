"""Costs that are 1-Lipschitz in a metric on state-action pairs: psi* is the Wasserstein-1 distance.

The metric is the shortest-path metric of weighted edges, so the constraint is |c_i - c_j| <= length_ij on
edges alone and psi* is the least cost of a flow along edges that turns rho_E into rho (Beckmann's form).
Measures whose masses differ on a connected component cannot be turned into one another: psi* = +inf, with the
constant cost as the ray.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linprog
from scipy.sparse import csgraph

from occmatch.candidate import NoBestCost
from occmatch.regularisers.base import DOMAIN_RTOL, Array, Regulariser, solve_rounding
from occmatch.regularisers.metric import length_matrix


@dataclass(frozen=True, eq=False)
class Lipschitz(Regulariser):
    """psi = indicator of { |c_i - c_j| <= length_ij on every edge }, psi*(x) = W_1(rho, rho_E).

    `metric` is a matrix [S*A, S*A] of edge lengths in the order s*A + a (dense: a distance for every pair;
    sparse: its entries are the edges), or an undirected networkx graph whose nodes are all the pairs (s, a),
    with lengths in the edge attribute `weight` (1 where it is missing).
    """

    metric: Any = field(repr=False)
    edges: Array = field(init=False, repr=False)
    lengths: Array = field(init=False, repr=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        lengths = length_matrix(self.metric)
        upper = sparse.coo_array(sparse.triu(lengths, k=1))
        object.__setattr__(self, "edges", np.stack([upper.row, upper.col], axis=1))
        object.__setattr__(self, "lengths", upper.data)
        object.__setattr__(self, "size", lengths.shape[0])

    def value(self, c: Array) -> float:
        c = self._array(c, "c")
        flat = c.ravel()
        ends = flat[self.edges]
        rise = np.abs(ends[:, 0] - ends[:, 1]) - self.lengths
        # Edge by edge: a large cost elsewhere is no licence.
        return 0.0 if (rise <= DOMAIN_RTOL * (1 + np.abs(ends).max(axis=1))).all() else np.inf

    def conjugate(self, x: Array) -> float:
        x = self._array(x, "x")
        return self._transport(x, float(np.abs(x).sum()))[0]

    def divergence(self, rho: Array, rho_E: Array) -> float:
        rho, rho_E = self._pair(rho, rho_E)
        return self._transport(rho - rho_E, float(np.sum(rho) + np.sum(rho_E)))[0]

    def best_cost(self, rho: Array, rho_E: Array) -> Array:
        rho, rho_E = self._pair(rho, rho_E)
        value, c = self._transport(rho - rho_E, float(np.sum(rho) + np.sum(rho_E)))
        if value == np.inf:
            raise NoBestCost("rho and rho_E differ in mass on a connected component", c, unbounded=True)
        return c

    def repair(self, c: Array) -> Array:
        """The largest Lipschitz function below c (McShane): min_j c_j + distance(i, j)."""
        c = self._array(c, "c")
        if self.value(c) == 0:
            return c
        flat = c.ravel()
        low = flat.min()
        # One virtual source at distance 1 + c_j - low of node j; csgraph reads a stored zero as a missing
        # edge.
        source = sparse.coo_array((1 + flat - low, (np.full(self.size, self.size), np.arange(self.size))))
        source.resize((self.size + 1, self.size + 1))
        graph = self._graph()
        graph.resize((self.size + 1, self.size + 1))
        distance = csgraph.dijkstra((graph + graph.T + source).tocsr(), indices=self.size)
        return (distance[: self.size] - 1 + low).reshape(np.shape(c))

    def components(self) -> Array:
        """Indicators [S*A, k] of the connected components: costs constant on each, which psi cannot see."""
        count, label = csgraph.connected_components(self._graph(), directed=False)
        return (label[:, None] == np.arange(count)).astype(np.float64)

    def _graph(self) -> sparse.coo_array:
        return sparse.coo_array((self.lengths, self.edges.T), shape=(self.size, self.size))

    def _transport(self, x: Array, mass: float) -> tuple[float, Array]:
        """W_1 and a potential; or +inf and a constant cost on the component whose masses differ."""
        flat = x.ravel()
        count, label = csgraph.connected_components(self._graph(), directed=False)
        excess = np.bincount(label, flat, minlength=count)
        size = float(np.abs(flat).max(initial=0.0))
        if np.abs(excess).max() > solve_rounding(mass) * mass:
            worst = int(np.argmax(np.abs(excess)))
            return np.inf, np.where(label == worst, np.sign(excess[worst]), 0.0).reshape(x.shape)
        if size == 0 or self.lengths.size == 0:  # without edges every node is a component, and keeps what it has
            return 0.0, np.zeros_like(x)
        # What rounding left over in a component goes to its largest node, so that the flow equations are
        # consistent.
        demand = flat / size
        for k in np.flatnonzero(excess):
            demand[np.argmax(np.where(label == k, np.abs(flat), -1))] -= excess[k] / size
        E = len(self.lengths)
        ends = np.concatenate([self.edges[:, 1], self.edges[:, 0]])
        signs = np.repeat([1.0, -1.0], E)
        out = sparse.csr_array((signs, (ends, np.tile(np.arange(E), 2))), shape=(self.size, E))
        result = linprog(
            np.concatenate([self.lengths, self.lengths]),
            A_eq=sparse.hstack([out, -out]).tocsr(),
            b_eq=demand,
            method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if result.status != 0:
            raise ArithmeticError(f"HiGHS did not solve the transport problem: {result.message}")
        return size * float(result.fun), self.repair(result.eqlin.marginals.reshape(x.shape))
