"""Costs bounded entry by entry: psi* is a multiple of the total variation distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occmatch.regularisers.base import DOMAIN_RTOL, Array, Regulariser, positive


@dataclass(frozen=True, eq=False)
class Box(Regulariser):
    """psi = indicator of { |c(s, a)| <= bound }, psi*(x) = bound * ||x||_1 at c = bound * sign(x)."""

    bound: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", positive(self.bound, "bound"))

    def value(self, c: Array) -> float:
        c = self._array(c, "c")
        return 0.0 if np.abs(c).max() <= self.bound * (1 + DOMAIN_RTOL) else np.inf

    def conjugate(self, x: Array) -> float:
        x = self._array(x, "x")
        return self.bound * float(np.abs(x).sum())

    def best_cost(self, rho: Array, rho_E: Array) -> Array:
        rho, rho_E = self._pair(rho, rho_E)
        return self.bound * np.sign(rho - rho_E)

    def repair(self, c: Array) -> Array:
        c = self._array(c, "c")
        return np.clip(c, -self.bound, self.bound)

    def prox(self, v: Array, step: float) -> Array:
        return np.clip(v, -self.bound, self.bound)
