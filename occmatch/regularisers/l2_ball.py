"""The cost class of Abbeel & Ng (2004): psi* is the l2 distance of feature expectations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occmatch.regularisers import features as linear
from occmatch.regularisers.base import DOMAIN_RTOL, Array, Regulariser, positive


@dataclass(frozen=True, eq=False)
class L2Ball(Regulariser):
    """psi = indicator of { sum_k w_k f_k : ||w||_2 <= radius } (C_linear; indicator basis without features).

    psi*(x) = radius * ||( <x, f_k> )_k||_2, attained at w = radius * gap / ||gap||.
    """

    features: Array | None = None
    radius: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", linear.check(self.features))
        object.__setattr__(self, "radius", positive(self.radius, "radius"))

    def value(self, c: Array) -> float:
        c = self._array(c, "c")
        w, distance = linear.coordinates(self.features, c)
        inside = linear.spans(c, distance) and np.linalg.norm(w) <= self.radius * (1 + DOMAIN_RTOL)
        return 0.0 if inside else np.inf

    def conjugate(self, x: Array) -> float:
        x = self._array(x, "x")
        return self.radius * float(np.linalg.norm(linear.gaps(self.features, x)))

    def best_cost(self, rho: Array, rho_E: Array) -> Array:
        rho, rho_E = self._pair(rho, rho_E)
        gap = linear.gaps(self.features, rho - rho_E)
        length = np.linalg.norm(gap)
        return linear.combine(self.features, gap * (self.radius / length if length > 0 else 0.0))

    def repair(self, c: Array) -> Array:
        c = self._array(c, "c")
        return linear.combine(self.features, self.prox(linear.coordinates(self.features, c)[0], 1.0))

    def prox(self, v: Array, step: float) -> Array:
        length = float(np.linalg.norm(v))
        return v if length <= self.radius else v * (self.radius / length)
