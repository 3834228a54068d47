"""Cost classes as the interior-point method sees them: coordinates w [K] of a cost, and concave constraints g(w) >= 0.

Each class holds what Newton needs of the Lagrangian  z.g(w) + nu (a.w - 1) - 1/2 sum weight w^2  at multipliers z >= 0:

    class      coordinates       constraints g >= 0                       D (diagonal)             rank one    a
    box        w = c             b - w, b + w                             z+/(b-w) + z-/(b+w)      -           -
    ball       c = sum w_k f_k   (r^2 - |w|^2) / 2                        z                        (z/g) w w'  -
    simplex    c = sum w_k f_k   w                                        z / w                    -           1
    weighted   c = sum w_k f_k   none; psi = 1/2 sum weight w^2           weight                   -           -

where D + rank one = - Hessian + G' diag(z / g) G, G the Jacobian of g.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from occmatch.checks import FloatArray
from occmatch.regularisers import Box, FDivergence, L2Ball, Quadratic, Regulariser, Simplex


@dataclass(frozen=True, eq=False)
class CostClass(ABC):
    """A class of costs; `features` [S, A, K] or None for w = c, K the number of coordinates."""

    features: FloatArray | None
    K: int

    equality: bool = False  # whether sum w = 1

    @abstractmethod
    def start(self) -> FloatArray:
        """A point w [K] inside every constraint."""

    @abstractmethod
    def slack(self, w: FloatArray) -> FloatArray:
        """g(w) [m]."""

    @abstractmethod
    def push(self, w: FloatArray, z: FloatArray, dw: FloatArray, along: float) -> FloatArray:
        """G dw [m]: the change of the slacks along dw, with `along` = v.dw for the rank-one v of `rank_one`."""

    @abstractmethod
    def pull(self, w: FloatArray, z: FloatArray) -> FloatArray:
        """G' z [K]."""

    @abstractmethod
    def diagonal(self, w: FloatArray, z: FloatArray) -> FloatArray:
        """D [K] > 0."""

    def rank_one(self, w: FloatArray, z: FloatArray) -> FloatArray | None:
        """v [K] with D + v v' the whole curvature, or None."""
        return None

    def gradient(self, w: FloatArray) -> FloatArray:
        """That of -psi inside the constraints [K]."""
        return np.zeros(self.K)


class BoxClass(CostClass):
    """|c| <= bound."""

    def __init__(self, bound: float, K: int) -> None:
        super().__init__(None, K)
        object.__setattr__(self, "bound", bound)

    def start(self) -> FloatArray:
        return np.zeros(self.K)

    def slack(self, w: FloatArray) -> FloatArray:
        return np.concatenate([self.bound - w, self.bound + w])

    def push(self, w: FloatArray, z: FloatArray, dw: FloatArray, along: float) -> FloatArray:
        return np.concatenate([-dw, dw])

    def pull(self, w: FloatArray, z: FloatArray) -> FloatArray:
        return z[self.K :] - z[: self.K]

    def diagonal(self, w: FloatArray, z: FloatArray) -> FloatArray:
        return z[: self.K] / (self.bound - w) + z[self.K :] / (self.bound + w)


class BallClass(CostClass):
    """||w||_2 <= radius."""

    def __init__(self, radius: float, features: FloatArray | None, K: int) -> None:
        super().__init__(features, K)
        object.__setattr__(self, "radius", radius)

    def start(self) -> FloatArray:
        return np.zeros(self.K)

    def slack(self, w: FloatArray) -> FloatArray:
        length = float(np.linalg.norm(w))
        return np.array([0.5 * (self.radius - length) * (self.radius + length)])

    def push(self, w: FloatArray, z: FloatArray, dw: FloatArray, along: float) -> FloatArray:
        return -along * np.sqrt(self.slack(w) / z)

    def pull(self, w: FloatArray, z: FloatArray) -> FloatArray:
        return -z[0] * w

    def diagonal(self, w: FloatArray, z: FloatArray) -> FloatArray:
        return np.full(self.K, z[0])

    def rank_one(self, w: FloatArray, z: FloatArray) -> FloatArray:
        return np.sqrt(z[0] / self.slack(w)[0]) * w


class SimplexClass(CostClass):
    """w >= 0, sum w = 1."""

    def __init__(self, features: FloatArray | None, K: int) -> None:
        super().__init__(features, K, equality=True)

    def start(self) -> FloatArray:
        return np.full(self.K, 1.0 / self.K)

    def slack(self, w: FloatArray) -> FloatArray:
        return w

    def push(self, w: FloatArray, z: FloatArray, dw: FloatArray, along: float) -> FloatArray:
        return dw

    def pull(self, w: FloatArray, z: FloatArray) -> FloatArray:
        return z

    def diagonal(self, w: FloatArray, z: FloatArray) -> FloatArray:
        return z / w


class WeightedClass(CostClass):
    """psi = 1/2 sum weight w^2, no constraint."""

    def __init__(self, weight: FloatArray, features: FloatArray) -> None:
        super().__init__(features, features.shape[2])
        object.__setattr__(self, "weight", np.broadcast_to(weight, (self.K,)))

    def start(self) -> FloatArray:
        return np.zeros(self.K)

    def slack(self, w: FloatArray) -> FloatArray:
        return np.empty(0)

    def push(self, w: FloatArray, z: FloatArray, dw: FloatArray, along: float) -> FloatArray:
        return np.empty(0)

    def pull(self, w: FloatArray, z: FloatArray) -> FloatArray:
        return np.zeros(self.K)

    def diagonal(self, w: FloatArray, z: FloatArray) -> FloatArray:
        return np.array(self.weight)

    def gradient(self, w: FloatArray) -> FloatArray:
        return -self.weight * w


def as_cost_class(psi: Regulariser, shape: tuple[int, int]) -> CostClass | None:
    """psi as a cost class on measures of `shape` (S, A), or None where it is none of these.

    Total variation as an f-divergence is the box of half-width 1/2: f* is the identity there, and its costs below -1/2
    are never better.
    """
    K = shape[0] * shape[1] if psi.features is None else psi.features.shape[2]
    if isinstance(psi, Box):
        return BoxClass(psi.bound, K)
    if isinstance(psi, FDivergence) and psi.name == "tv":
        return BoxClass(0.5, K)
    if isinstance(psi, L2Ball):
        return BallClass(psi.radius, psi.features, K)
    if isinstance(psi, Simplex):
        return SimplexClass(psi.features, K)
    if isinstance(psi, Quadratic) and psi.features is not None:
        return WeightedClass(psi.weight, psi.features)
    return None
