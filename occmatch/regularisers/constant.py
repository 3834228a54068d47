"""psi = 0: exact matching (Corollary 3.2.1), or matching of feature expectations (Eq 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occmatch.candidate import NoBestCost
from occmatch.regularisers import features as linear
from occmatch.regularisers.base import Array, Regulariser


@dataclass(frozen=True, eq=False)
class Constant(Regulariser):
    """psi(c) = 0 on the span of the features [S, A, K] (all costs without them), +inf elsewhere.

    psi*(x) = 0 where <x, f_k> = 0 for every k (x = 0 without features), +inf elsewhere: MaxCausalEnt IRL (Eq
    1) with no bound on the weights. The optimal cost is never unique: shaping c + V - gamma P V leaves the
    dual as it is. Units of features change nothing; each is kept times a power of two.
    """

    features: Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", linear.same_size(linear.check(self.features)))

    def value(self, c: Array) -> float:
        c = self._array(c, "c")
        return 0.0 if linear.spans(c, linear.coordinates(self.features, c)[1]) else np.inf

    def conjugate(self, x: Array) -> float:
        x = self._array(x, "x")
        return self._indicator(linear.gaps(self.features, x), linear.gap_rounding(self.features, x))

    def divergence(self, rho: Array, rho_E: Array) -> float:
        rho, rho_E = self._pair(rho, rho_E)
        # Rounding is relative to rho and not to their difference, which may be rounding throughout.
        gap = linear.gaps(self.features, rho - rho_E)
        return self._indicator(gap, linear.gap_rounding(self.features, np.maximum(rho, rho_E), np.sum(rho_E)))

    def best_cost(self, rho: Array, rho_E: Array) -> Array:
        rho, rho_E = self._pair(rho, rho_E)
        x = rho - rho_E
        if self.divergence(rho, rho_E) == np.inf:
            gap = linear.gaps(self.features, x)
            ray = linear.combine(self.features, gap / np.abs(gap).max())
            raise NoBestCost("psi is constant, so that only rho = rho_E has a finite psi*", ray, unbounded=True)
        return np.zeros_like(x)

    def repair(self, c: Array) -> Array:
        c = self._array(c, "c")
        return linear.combine(self.features, linear.coordinates(self.features, c)[0])

    def forbidden(self, rho_E: Array) -> Array:
        return np.zeros(np.shape(rho_E), bool) if self.features is not None else np.asarray(rho_E) == 0

    def dvalue(self, c: Array) -> Array:
        return np.zeros_like(c)

    def d2value(self, c: Array) -> Array:
        return np.zeros_like(c)

    def prox(self, v: Array, step: float) -> Array:
        return v

    @staticmethod
    def _indicator(gap: Array, rounding: float) -> float:
        return 0.0 if np.abs(gap).max() <= rounding else np.inf
