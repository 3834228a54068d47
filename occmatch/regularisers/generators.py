"""Generators f of f-divergences D_f(p || q) = sum q f(p / q), with 0 f(0/0) = 0 and 0 f(p/0) = p f'(inf).

Each f is convex on [0, inf) (+inf below zero) with f(1) = 0 and f'(1) = 0. The second condition, free on
probability measures, fixes the divergence of measures of different mass: D_f >= 0 with equality only at p =
q, and the conjugate cost f'(p / q) is zero where the measures agree. Conjugates f*(y) = sup_t t y - f(t) are
finite and increasing up to upper = f'(inf) (Csiszar 1967; Nowozin, Cseke & Tomioka 2016, Table 2, up to the
shift that f'(1) = 0 makes).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.special import rel_entr, xlogy

Array = np.ndarray

# e^y is finite up to here; beyond, exponentials stay at the largest double, as those of the losses do.
_LARGEST_EXPONENT = math.log(np.finfo(np.float64).max) - 1e-3

# |p - q| / (p + q) below which entropies are taken from that number: logarithms of p and q would cancel there.
_NEAR = 0.25

# 1/3, 1/5, ...: the first coefficient that is left out counts for _NEAR^28 / 31 < 1e-18.
_ATANH = 1.0 / np.arange(3.0, 31.0, 2.0)


def _exp(y: Array) -> Array:
    return np.exp(np.minimum(y, _LARGEST_EXPONENT))


def _tilt(p: Array, q: Array) -> tuple[Array, Array]:
    """Where p is near q, and h = (p - q) / (p + q) there, zero elsewhere: log(p / q) = 2 atanh(h)."""
    h = (p - q) / (p + q)
    near = np.abs(h) < _NEAR
    return near, np.where(near, h, 0.0)


def _relative_entropy(p: Array, q: Array) -> Array:
    """p log(p / q) - p + q; near p = q as h (p - q) + 2 p (atanh(h) - h), whose terms are no larger than the sum."""
    near, h = _tilt(p, q)
    excess = h**3 * np.polynomial.polynomial.polyval(h**2, _ATANH)
    return np.where(near, h * (p - q) + 2 * p * excess, rel_entr(p, q) - p + q)


@dataclass(frozen=True)
class Generator(ABC):
    """One f. `upper` = f'(inf), `lower` = f'(0), `at_zero` = f(0); the functions are elementwise.

    `divergence` and `cost` take p, q > 0 or either zero; `curvature` p, q > 0; the three conjugates y <
    upper.
    """

    name: str
    upper: float
    lower: float
    at_zero: float

    @property
    def inside(self) -> float:
        """The largest double below f'(inf) at which f* and its derivatives are finite."""
        return self.upper if self.upper == math.inf else self.upper - 4 * np.finfo(np.float64).eps

    @abstractmethod
    def f(self, t: Array) -> Array:
        """f(t) for t >= 0, the plain formula."""

    @abstractmethod
    def divergence(self, p: Array, q: Array) -> Array:
        """q f(p / q) for p, q > 0, without cancellation where p is close to q."""

    @abstractmethod
    def cost(self, p: Array, q: Array) -> Array:
        """f'(p / q) for p, q > 0."""

    @abstractmethod
    def curvature(self, p: Array, q: Array) -> Array:
        """f''(p / q) / q, the second derivative of the divergence in p."""

    @abstractmethod
    def conjugate(self, y: Array) -> Array:
        """f*(y)."""

    def weighted(self, y: Array, q: Array) -> Array:
        """q f*(y) for q > 0: where f* grows without bound a small q belongs to a large f*, and goes inside."""
        return q * self.conjugate(y)

    @abstractmethod
    def ratio(self, y: Array) -> Array:
        """f*'(y), the t >= 0 with f'(t) = y, zero for y <= lower."""

    @abstractmethod
    def dratio(self, y: Array) -> Array:
        """f*''(y)."""


@dataclass(frozen=True)
class KL(Generator):
    """f(t) = t log t - t + 1: KL(rho || rho_E), infinite off the support of rho_E."""

    name: str = "kl"
    upper: float = math.inf
    lower: float = -math.inf
    at_zero: float = 1.0

    def f(self, t: Array) -> Array:
        return xlogy(t, t) - t + 1

    def divergence(self, p: Array, q: Array) -> Array:
        return _relative_entropy(p, q)

    def cost(self, p: Array, q: Array) -> Array:
        near, h = _tilt(p, q)
        return np.where(near, 2 * np.arctanh(h), np.log(p) - np.log(q))

    def curvature(self, p: Array, q: Array) -> Array:
        return 1 / p

    def conjugate(self, y: Array) -> Array:
        return np.expm1(np.minimum(y, _LARGEST_EXPONENT))

    def weighted(self, y: Array, q: Array) -> Array:
        with np.errstate(over="ignore"):
            large = np.exp(np.maximum(y, 1.0) + np.log(q)) - q
        return np.where(y > 1, large, q * np.expm1(np.minimum(y, 1.0)))

    def ratio(self, y: Array) -> Array:
        return _exp(y)

    def dratio(self, y: Array) -> Array:
        return _exp(y)


@dataclass(frozen=True)
class ReverseKL(Generator):
    """f(t) = -log t + t - 1: KL(rho_E || rho), infinite where rho misses the support of rho_E."""

    name: str = "reverse_kl"
    upper: float = 1.0
    lower: float = -math.inf
    at_zero: float = math.inf

    def f(self, t: Array) -> Array:
        return -np.log(t) + t - 1

    def divergence(self, p: Array, q: Array) -> Array:
        return _relative_entropy(q, p)

    def cost(self, p: Array, q: Array) -> Array:
        return (p - q) / p

    def curvature(self, p: Array, q: Array) -> Array:
        return q / p / p

    def conjugate(self, y: Array) -> Array:
        return -np.log1p(-y)

    def ratio(self, y: Array) -> Array:
        return 1 / (1 - y)

    def dratio(self, y: Array) -> Array:
        return 1 / (1 - y) ** 2


@dataclass(frozen=True)
class ChiSquare(Generator):
    """f(t) = (t - 1)^2 for t >= 0: Pearson's chi-square, sum (rho - rho_E)^2 / rho_E."""

    name: str = "chi2"
    upper: float = math.inf
    lower: float = -2.0
    at_zero: float = 1.0

    def f(self, t: Array) -> Array:
        return (t - 1) ** 2

    def divergence(self, p: Array, q: Array) -> Array:
        return (p - q) * ((p - q) / q)

    def cost(self, p: Array, q: Array) -> Array:
        return 2 * ((p - q) / q)

    def curvature(self, p: Array, q: Array) -> Array:
        return 2 / q

    def conjugate(self, y: Array) -> Array:
        return np.where(y > -2, y + y**2 / 4, -1.0)

    def weighted(self, y: Array, q: Array) -> Array:
        return np.where(y > -2, q * y + (np.sqrt(q) * y / 2) ** 2, -q)

    def ratio(self, y: Array) -> Array:
        return np.maximum(1 + y / 2, 0.0)

    def dratio(self, y: Array) -> Array:
        return np.where(y > -2, 0.5, 0.0)


@dataclass(frozen=True)
class Hellinger(Generator):
    """f(t) = (sqrt t - 1)^2: squared Hellinger distance, sum (sqrt rho - sqrt rho_E)^2 (no factor 1/2)."""

    name: str = "hellinger"
    upper: float = 1.0
    lower: float = -math.inf
    at_zero: float = 1.0

    def f(self, t: Array) -> Array:
        return (np.sqrt(t) - 1) ** 2

    def divergence(self, p: Array, q: Array) -> Array:
        return ((p - q) / (np.sqrt(p) + np.sqrt(q))) ** 2

    def cost(self, p: Array, q: Array) -> Array:
        return (p - q) / (np.sqrt(p) * (np.sqrt(p) + np.sqrt(q)))

    def curvature(self, p: Array, q: Array) -> Array:
        return 0.5 * np.sqrt(q) / np.sqrt(p) / p

    def conjugate(self, y: Array) -> Array:
        return y / (1 - y)

    def ratio(self, y: Array) -> Array:
        return 1 / (1 - y) ** 2

    def dratio(self, y: Array) -> Array:
        return 2 / (1 - y) ** 3


@dataclass(frozen=True)
class JensenShannon(Generator):
    """f(t) = t log t - (1 + t) log((1 + t) / 2): twice Jensen-Shannon; psi_GA* (Eq 15) less a constant."""

    name: str = "js"
    upper: float = math.log(2)
    lower: float = -math.inf
    at_zero: float = math.log(2)

    def f(self, t: Array) -> Array:
        return xlogy(t, t) - (1 + t) * np.log((1 + t) / 2)

    def divergence(self, p: Array, q: Array) -> Array:
        tilt = (p - q) / (p + q)  # log 2p/(p+q) = log(1 + tilt), log 2q/(p+q) = log(1 - tilt)
        apart = p * self._log1p(tilt, 2 * p / (p + q)) + q * self._log1p(-tilt, 2 * q / (p + q))
        near, h = _tilt(p, q)
        return np.where(near, 0.5 * (p + q) * (2 * h * np.arctanh(h) + np.log1p(-(h**2))), apart)

    def cost(self, p: Array, q: Array) -> Array:
        return self._log1p((p - q) / (p + q), 2 * p / (p + q))

    @staticmethod
    def _log1p(tilt: Array, plain: Array) -> Array:
        """log(1 + tilt), from plain = 1 + tilt where that is the more accurate of the two."""
        return np.where(tilt < -0.5, np.log(np.maximum(plain, np.finfo(float).tiny)), np.log1p(np.maximum(tilt, -0.5)))

    def curvature(self, p: Array, q: Array) -> Array:
        return q / (p + q) / p

    def conjugate(self, y: Array) -> Array:
        return -np.log1p(-np.expm1(y))

    def ratio(self, y: Array) -> Array:
        return np.exp(y) / (1 - np.expm1(y))

    def dratio(self, y: Array) -> Array:
        return 2 * np.exp(y) / (1 - np.expm1(y)) ** 2


@dataclass(frozen=True)
class TotalVariation(Generator):
    """f(t) = |t - 1| / 2: half the l1 distance. Not differentiable; f*(y) = y on [-1/2, 1/2]."""

    name: str = "tv"
    upper: float = 0.5
    lower: float = -0.5
    at_zero: float = 0.5

    def f(self, t: Array) -> Array:
        return np.abs(t - 1) / 2

    def divergence(self, p: Array, q: Array) -> Array:
        return np.abs(p - q) / 2

    def cost(self, p: Array, q: Array) -> Array:
        return np.sign(p - q) / 2

    def curvature(self, p: Array, q: Array) -> Array:
        return np.zeros_like(p)

    def conjugate(self, y: Array) -> Array:
        return np.maximum(y, -0.5)

    def ratio(self, y: Array) -> Array:
        return np.where(y > -0.5, 1.0, 0.0)

    def dratio(self, y: Array) -> Array:
        return np.zeros_like(y)


GENERATORS: dict[str, Generator] = {
    generator.name: generator
    for generator in (KL(), ReverseKL(), ChiSquare(), Hellinger(), JensenShannon(), TotalVariation())
}
"""Every registered f by name."""
