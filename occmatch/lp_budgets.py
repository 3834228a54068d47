"""Budgets <rho, d> <= b on occupancy measures: limits of discounted expected costs E_pi[d]."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.lp_simplex import Vertex
from occmatch.mdp import MDP

Budgets = Iterable[tuple[ArrayLike, float]]


@dataclass(frozen=True, eq=False)
class Limits:
    """Budgets <rho, d> <= b as rows [m, S*A] of largest entry one; `scale` [m] is what they were divided by."""

    rows: csr_array
    b: FloatArray
    scale: FloatArray

    @staticmethod
    def of(mdp: MDP, budgets: Budgets) -> Limits:
        if not isinstance(budgets, Iterable):
            raise ValueError(f"budgets must be pairs (d, b), but is {type(budgets).__name__}")
        pairs = list(budgets)
        for k, pair in enumerate(pairs):
            if not isinstance(pair, Sequence) or len(pair) != 2:
                raise ValueError(f"budgets[{k}] must be a pair (d, b), but is {type(pair).__name__}")
        d = [checks.cost(mdp, d, f"budgets[{k}][0]").ravel() for k, (d, _) in enumerate(pairs)]
        b = np.array([checks.scalar(b, f"budgets[{k}][1]") for k, (_, b) in enumerate(pairs)])
        dense = np.array(d).reshape(-1, mdp.S * mdp.A)
        scale = np.abs(dense).max(axis=1, initial=0.0)
        scale[scale == 0.0] = 1.0
        return Limits(csr_array(dense / scale[:, None]), b / scale, scale)

    def prices(self, vertex: Vertex) -> FloatArray:
        """y [m] >= 0 in the units of the budgets, from the multipliers of the first rows `below`."""
        return (-vertex.below[: self.b.size]).clip(min=0.0) / self.scale
