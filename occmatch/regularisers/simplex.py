"""The cost class of Syed & Schapire (2007): psi* is the largest gap of a feature expectation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from occmatch.regularisers import features as linear
from occmatch.regularisers.base import DOMAIN_RTOL, Array, Regulariser


@dataclass(frozen=True, eq=False)
class Simplex(Regulariser):
    """psi = indicator of { sum_k w_k f_k : w >= 0, sum_k w_k = 1 } (C_convex, Section 4).

    psi*(x) = max_k <x, f_k>, attained at the feature with the largest gap (K = S A where features is None).
    """

    features: Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", linear.check(self.features))

    def value(self, c: Array) -> float:
        c = self._array(c, "c")
        _, distance = self._weights(c)
        return 0.0 if distance <= 10 * DOMAIN_RTOL * (1 + float(np.abs(c).max())) else np.inf

    def conjugate(self, x: Array) -> float:
        x = self._array(x, "x")
        return float(linear.gaps(self.features, x).max())

    def best_cost(self, rho: Array, rho_E: Array) -> Array:
        rho, rho_E = self._pair(rho, rho_E)
        gap = linear.gaps(self.features, rho - rho_E)
        w = np.zeros(gap.size)
        w[np.argmax(gap)] = 1.0
        return linear.combine(self.features, w.reshape(gap.shape))

    def repair(self, c: Array) -> Array:
        c = self._array(c, "c")
        return linear.combine(self.features, project_simplex(self._weights(c)[0]))

    def prox(self, v: Array, step: float) -> Array:
        return project_simplex(v)

    def _weights(self, c: Array) -> tuple[Array, float]:
        """w >= 0 that comes closest to combination c and sum 1, and how far it stays from both."""
        c = np.asarray(c, dtype=np.float64)
        if self.features is None:
            return c, max(-float(c.min()), abs(float(c.sum()) - 1))
        F = self.features.reshape(c.size, -1)
        # Columns are scaled so that NNLS's own stopping test, absolute in size, is relative to the features.
        # The sum is counted in units of the features, so that small features are not rounding beside it.
        size = float(np.abs(F).max()) or 1.0
        system = np.vstack([F, np.full(F.shape[1], size)])
        scale = np.linalg.norm(system, axis=0)
        target = np.append(c.ravel(), size)
        # Where no weight is negative plain least squares is the answer, and keeps weights that NNLS takes for rounding.
        w = np.linalg.lstsq(system / scale, target, rcond=None)[0] / scale
        if w.min() < 0:
            w = nnls(system / scale, target)[0] / scale
        return w, max(float(np.abs(F @ w - c.ravel()).max()), abs(float(w.sum()) - 1.0))


def project_simplex(v: Array) -> Array:
    """The point of the probability simplex nearest to v, by sorting (Held, Wolfe & Crowder 1974)."""
    # A constant on all entries changes nothing; without it sums have the size of differences.
    with np.errstate(over="ignore"):
        v = np.asarray(v, dtype=np.float64) - np.max(v)
    u = np.sort(v, axis=None)[::-1]
    excess = (np.cumsum(u) - 1) / np.arange(1, u.size + 1)
    w = np.maximum(v - excess[np.count_nonzero(u > excess) - 1], 0.0)
    return w / w.sum()
