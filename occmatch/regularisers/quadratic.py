"""A squared penalty on the cost, or on its weights: psi* is a squared distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occmatch import checks
from occmatch.regularisers import features as linear
from occmatch.regularisers.base import Array, Regulariser


@dataclass(frozen=True, eq=False)
class Quadratic(Regulariser):
    """psi(c) = 1/2 sum weight * c^2, psi*(x) = 1/2 sum x^2 / weight, attained at c = x / weight.

    `weight` > 0 is a number or an array [S, A]. With features [S, A, K] the penalty is on the coordinates,
    psi(c) = 1/2 sum_k weight_k w_k^2 for c = sum_k w_k f_k (`weight` a number or [K], the features linearly
    independent).
    """

    weight: float | Array = 1.0
    features: Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", linear.check(self.features))
        weight = checks.real_array(self.weight, "weight").copy()
        if self.features is None and (weight.ndim not in (0, 2) or weight.size == 0):
            raise ValueError(f"weight must be a number or have shape [S, A], but has shape {weight.shape}")
        if not (weight > 0).all():
            raise ValueError(f"weight must be positive, but has least entry {weight.min():g}")
        if self.features is not None:
            F = self.features.reshape(-1, self.features.shape[2])
            if weight.shape not in ((), (F.shape[1],)):
                raise ValueError(f"weight must be a number or have shape ({F.shape[1]},), but has shape {weight.shape}")
            rank = np.linalg.matrix_rank(F)
            if rank < F.shape[1]:
                raise ValueError(
                    f"features must be linearly independent, but {F.shape[1]} features have rank {rank}, "
                    "so that a cost has several weights"
                )
        weight.flags.writeable = False
        object.__setattr__(self, "weight", weight)

    @property
    def smooth(self) -> bool:
        return self.features is None

    def value(self, c: Array) -> float:
        c = self._array(c, "c")
        w, distance = linear.coordinates(self.features, c)
        return 0.5 * float((self.weight * w**2).sum()) if linear.spans(c, distance) else np.inf

    def conjugate(self, x: Array) -> float:
        x = self._array(x, "x")
        return 0.5 * float((linear.gaps(self.features, x) ** 2 / self.weight).sum())

    def best_cost(self, rho: Array, rho_E: Array) -> Array:
        rho, rho_E = self._pair(rho, rho_E)
        return linear.combine(self.features, linear.gaps(self.features, rho - rho_E) / self.weight)

    def repair(self, c: Array) -> Array:
        c = self._array(c, "c")
        return linear.combine(self.features, linear.coordinates(self.features, c)[0])

    def grad(self, rho: Array, rho_E: Array) -> Array:
        self._require_separable()
        rho, rho_E = self._pair(rho, rho_E)
        return (rho - rho_E) / self.weight

    def hess_diag(self, rho: Array, rho_E: Array) -> Array:
        self._require_separable()
        return np.broadcast_to(1 / self.weight, self._pair(rho, rho_E)[0].shape).copy()

    def dvalue(self, c: Array) -> Array:
        """psi' in the coordinates of psi: weight * w, [S, A] or [K]."""
        return self.weight * c

    def d2value(self, c: Array) -> Array:
        """psi'' in the coordinates of psi: weight, [S, A] or [K]."""
        return np.broadcast_to(self.weight, np.shape(c)).copy()

    def prox(self, v: Array, step: float) -> Array:
        return v / (1 + step * self.weight)

    def _require_separable(self) -> None:
        if self.features is not None:
            raise NotImplementedError("Quadratic on feature weights has no separable conjugate in rho")
