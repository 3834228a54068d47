"""The contract of a cost regulariser psi: closed, proper, convex on R^{S x A}, with values in R u {+inf}.

IRL and occupancy matching meet in its convex conjugate (Ho & Ermon 2016, Proposition 3.2):

    psi*(x) = sup_c <x, c> - psi(c),      RL o IRL_psi(pi_E) = argmin_pi -lam H(pi) + psi*(rho_pi - rho_E)

so each psi gives both sides, and the cost that attains the supremum. The supremum need not be attained: psi*
may be +inf, or approached only by costs that diverge; `best_cost` then raises NoBestCost with the ray.

Rounding: occupancy measures come from linear solves, so "in the domain" always means "up to DOMAIN_RTOL
relative to the largest number involved", and to more of it where gamma is next to one
(`solve_rounding`). `repair` moves a point that is outside by a solver's tolerance to one that is inside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from occmatch import checks
from occmatch.mdp import MDP

Array = np.ndarray

DOMAIN_RTOL = 1e-11
"""Relative rounding allowed in domain checks: 5e4 ulps, for solves of condition numbers up to about 1e4."""

ARRAYS = ("rho_E", "features", "weight")
"""Attributes of a psi that have the shape of an MDP: [S, A], or [S, A, K]."""


class Regulariser(ABC):
    """A convex regulariser psi of costs [S, A].

    `features` is None, or [S, A, K] where psi is +inf off the span of K cost features; the coordinates of a
    cost are then w [K] with c = sum_k w_k f_k, and otherwise the cost itself. `smooth` says that psi* is
    separable and twice differentiable in rho, with derivatives `grad` and `hess_diag`.
    """

    features: Array | None = None

    @property
    def smooth(self) -> bool:
        return False

    @abstractmethod
    def value(self, c: Array) -> float:
        """psi(c), +inf outside the domain."""

    @abstractmethod
    def conjugate(self, x: Array) -> float:
        """psi*(x) = sup_c <x, c> - psi(c) for x = rho - rho_E, +inf outside the domain."""

    @abstractmethod
    def best_cost(self, rho: Array, rho_E: Array) -> Array:
        """A maximiser c [S, A] of <rho - rho_E, c> - psi(c). Raises NoBestCost where there is none."""

    @abstractmethod
    def repair(self, c: Array) -> Array:
        """A point of the domain of psi close to c; c itself where it is inside."""

    def divergence(self, rho: Array, rho_E: Array) -> float:
        """d_psi(rho, rho_E) = psi*(rho - rho_E) (Eq 8), from the pair where that loses fewer digits."""
        rho, rho_E = self._pair(rho, rho_E)
        return self.conjugate(rho - rho_E)

    def dual_value(self, c: Array, rho_E: Array, margin: Array | None = None) -> float:
        """-<rho_E, c> - psi(c), the part of the IRL dual that depends on psi, without cancellation."""
        c, rho_E = self._pair(c, rho_E, "c")
        return -float(np.vdot(rho_E, c)) - self.value(c)

    @property
    def _shape(self) -> tuple[int, ...] | None:
        """(S, A) of the arrays that psi is made of; None where it fits any MDP."""
        for name in ARRAYS:
            if np.ndim(getattr(self, name, None)) >= 2:
                return np.shape(getattr(self, name))[:2]
        return None

    def _array(self, x: Array, name: str) -> Array:
        """x as float64 [S, A] without NaN, of the shape of psi where it has one; ValueError at the first bad entry."""
        x = checks.numbers(x, name)
        shape, size = self._shape, getattr(self, "size", x.size)
        if x.ndim != 2 or x.size != size or shape not in (None, x.shape):
            form = shape or ("[S, A]" if x.size == size else f"[S, A] with {size} entries")
            raise ValueError(f"{name} must have shape {form}, but has shape {x.shape}")
        unknown = np.isnan(x)
        if unknown.any():
            s, a = np.argwhere(unknown)[0]
            raise ValueError(f"{name}[{s}, {a}] must be a number, but is nan")
        return x

    def _pair(self, x: Array, rho_E: Array, name: str = "rho") -> tuple[Array, Array]:
        """x and an expert's measure as `_array` takes them, of one shape."""
        x, rho_E = self._array(x, name), self._array(rho_E, "rho_E")
        if x.shape != rho_E.shape:
            raise ValueError(f"{name} must have shape {rho_E.shape}, that of rho_E, but has shape {x.shape}")
        return x, rho_E

    def forbidden(self, rho_E: Array) -> Array:
        """Mask [S, A] of the pairs on which every rho with psi*(rho - rho_E) < inf vanishes."""
        return np.zeros(np.shape(rho_E), dtype=bool)

    def grad(self, rho: Array, rho_E: Array) -> Array:
        """d psi*(rho - rho_E) / d rho [S, A], for smooth psi: the best cost, +-inf where it diverges."""
        raise NotImplementedError(f"{type(self).__name__} has no separable differentiable conjugate")

    def hess_diag(self, rho: Array, rho_E: Array) -> Array:
        """d^2 psi*(rho - rho_E) / d rho^2 [S, A] >= 0, for smooth psi; +inf where it diverges."""
        raise NotImplementedError(f"{type(self).__name__} has no separable differentiable conjugate")

    def dvalue(self, c: Array) -> Array:
        """psi'(c) [S, A], for smooth psi and c inside the domain."""
        raise NotImplementedError(f"{type(self).__name__} has no separable derivative")

    def d2value(self, c: Array) -> Array:
        """psi''(c) [S, A] >= 0, for smooth psi and c inside the domain."""
        raise NotImplementedError(f"{type(self).__name__} has no separable derivative")

    def prox(self, v: Array, step: float) -> Array:
        """argmin psi(c) + |c - v|^2 / (2 step), in the coordinates of psi ([K] where it has features)."""
        raise NotImplementedError(f"{type(self).__name__} has no closed-form proximal map")


def solve_rounding(mass: float) -> float:
    """Relative rounding of measures of this mass, 1 / (1 - gamma), the condition number of their solves."""
    return max(DOMAIN_RTOL, 4 * float(np.finfo(np.float64).eps) * mass)


def measure(x: Array, name: str = "rho_E") -> Array:
    """A read-only copy of x [S, A], finite and nonnegative, or ValueError with the offending entry."""
    x = checks.nonnegative(checks.real_array(x, name), name).copy()
    if x.ndim != 2:
        raise ValueError(f"{name} must have shape [S, A], but has shape {x.shape}")
    x.flags.writeable = False
    return x


def fitting(mdp: MDP, psi: Any) -> Regulariser:
    """psi itself, or ValueError where it is no regulariser or an array in it has another shape than the MDP's."""
    if not isinstance(psi, Regulariser):
        raise ValueError(f"psi must be a Regulariser, but is {type(psi).__name__}")
    for name in ARRAYS:
        array = getattr(psi, name, None)
        if array is None or np.ndim(array) < 2:
            continue
        if np.shape(array)[:2] != mdp.shape:
            raise ValueError(f"psi.{name} must have shape {mdp.shape} by the MDP, but has shape {np.shape(array)}")
    size = getattr(psi, "size", mdp.S * mdp.A)
    if size != mdp.S * mdp.A:
        raise ValueError(f"psi.metric must have {mdp.S * mdp.A} nodes by the MDP, but has {size}")
    return psi


def same_expert(psi: Regulariser, rho_E: Array) -> None:
    """ValueError where psi is made of another expert's measure than rho_E [S, A], with the first entry that differs.

    psi_GA and its like are defined by the expert that is to be explained (Eq 13, Proposition A.1).
    """
    held = getattr(psi, "rho_E", None)
    if held is None or np.array_equal(held, rho_E):
        return
    s, a = (int(i) for i in np.argwhere(held != rho_E)[0])
    raise ValueError(
        f"rho_E must be the measure that psi holds, but rho_E[{s}, {a}] is {rho_E[s, a]:.10g} and "
        f"psi.rho_E[{s}, {a}] is {held[s, a]:.10g}"
    )


def positive(x: float, name: str) -> float:
    """x as a positive finite float, or ValueError."""
    if checks.scalar(x, name) <= 0:
        raise ValueError(f"{name} must be positive, but is {float(x):g}")
    return float(x)


def mass_in_excess(x: Array, rho_E: Array) -> Array:
    """rho = x + rho_E with what rounding made of zeros put back to zero: x = fl(rho - rho_E)."""
    rho = x + rho_E
    rounding = 4 * np.finfo(np.float64).eps * (np.abs(x) + rho_E)
    return np.where(np.abs(rho) <= rounding, 0.0, rho)


def monotone_root(slope: Callable[[Array], Array], v: Array, step: float, centre: Array, upper: float) -> Array:
    """The root c < upper of step * slope(c) + c - v, slope increasing and zero at centre, by bisection.

    The root lies between v and centre, where the two terms have opposite signs. 130 halvings reach rounding
    even where the root is 1e-20 times the first bracket.
    """
    lo = np.minimum(v, centre)
    hi = np.minimum(np.maximum(v, centre), upper)
    for _ in range(130):
        c = 0.5 * (lo + hi)
        below = step * slope(np.minimum(c, np.nextafter(upper, -np.inf))) + c - v < 0
        lo, hi = np.where(below, c, lo), np.where(below, hi, c)
    return lo
