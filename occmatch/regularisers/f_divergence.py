"""Any f-divergence as psi*: psi_f(c) = E_piE[f*(c) - c].

    psi_f*(rho - rho_E) = sup_c <rho, c> - <rho_E, f*(c)> = sum rho_E f(rho / rho_E) = D_f(rho || rho_E)

on unnormalised measures, so that every divergence is 1/(1 - gamma) times that of the normalised ones. f* is
finite up to f'(inf); where rho_E = 0 the term 0 * f*(c) is zero on the closure of that domain, c <= f'(inf),
and +inf off it, which makes the conjugate there rho f'(inf), as the definition of D_f says: +inf for KL and
chi-square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occmatch.candidate import NoBestCost
from occmatch.regularisers.base import (
    DOMAIN_RTOL,
    Array,
    Regulariser,
    mass_in_excess,
    measure,
    monotone_root,
)
from occmatch.regularisers.generators import GENERATORS, Generator


@dataclass(frozen=True, eq=False)
class FDivergence(Regulariser):
    """psi_f for the f of `name` (kl, reverse_kl, chi2, hellinger, js, tv) and the expert's rho_E [S, A]."""

    name: str
    rho_E: Array

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in GENERATORS:
            raise ValueError(f"name must be one of {', '.join(GENERATORS)}, but is {self.name!r}")
        object.__setattr__(self, "rho_E", measure(self.rho_E))

    @property
    def generator(self) -> Generator:
        return GENERATORS[self.name]

    @property
    def smooth(self) -> bool:
        return self.name != "tv"

    def value(self, c: Array) -> float:
        c = self._array(c, "c")
        return -self._lower_terms(c) - float(np.vdot(self.rho_E, c))

    def conjugate(self, x: Array) -> float:
        return self._conjugate(mass_in_excess(self._array(x, "x"), self.rho_E))

    def divergence(self, rho: Array, rho_E: Array) -> float:
        return self._conjugate(self._mass(rho, rho_E))

    def best_cost(self, rho: Array, rho_E: Array) -> Array:
        mass = self._mass(rho, rho_E)
        c = self._cost(mass)
        infinite = np.isinf(c)
        if infinite.any():
            raise NoBestCost(
                f"the best cost is infinite at {np.argwhere(infinite)[0].tolist()}: learner mass "
                f"{mass[infinite][0]:g}, expert mass {self.rho_E[infinite][0]:g}",
                np.where(infinite, np.sign(c), 0.0),
                unbounded=self._conjugate(mass) == np.inf,
            )
        return c

    def dual_value(self, c: Array, rho_E: Array, margin: Array | None = None) -> float:
        c, rho_E = self._pair(c, rho_E, "c")
        shift = 0.0 if np.array_equal(rho_E, self.rho_E) else float(np.vdot(self.rho_E - rho_E, c))
        return shift + self._lower_terms(c)

    def repair(self, c: Array) -> Array:
        c = self._array(c, "c")
        f = self.generator
        closed = (self.rho_E == 0) | (self.name == "tv")  # there f* is finite at the end of its range
        return np.minimum(c, np.where(closed, f.upper, f.inside))

    def forbidden(self, rho_E: Array) -> Array:
        return (self.rho_E == 0) & (self.generator.upper == np.inf)

    def grad(self, rho: Array, rho_E: Array) -> Array:
        if not self.smooth:
            raise NotImplementedError("FDivergence('tv') has no differentiable conjugate")
        return self._cost(self._mass(rho, rho_E))

    def hess_diag(self, rho: Array, rho_E: Array) -> Array:
        if not self.smooth:
            raise NotImplementedError("FDivergence('tv') has no differentiable conjugate")
        mass = self._mass(rho, rho_E)
        out = np.where(self.rho_E > 0, np.inf, 0.0 if self.generator.upper < np.inf else np.inf)
        inner = (mass > 0) & (self.rho_E > 0)
        out[inner] = self.generator.curvature(mass[inner], self.rho_E[inner])
        if self.generator.lower > -np.inf:  # f is smooth up to t = 0
            edge = (mass == 0) & (self.rho_E > 0)
            out[edge] = self.generator.curvature(mass[edge], self.rho_E[edge])
        return out

    def dvalue(self, c: Array) -> Array:
        return self.rho_E * (self.generator.ratio(c) - 1)

    def d2value(self, c: Array) -> Array:
        return self.rho_E * self.generator.dratio(c)

    def prox(self, v: Array, step: float) -> Array:
        root = monotone_root(self.dvalue, v, step, np.zeros_like(v), self.generator.upper)
        return np.where(self.rho_E > 0, root, np.minimum(v, self.generator.upper))

    def _lower_terms(self, c: Array) -> float:
        """-<rho_E, f*(c)>, -inf off the domain."""
        upper, seen = self.generator.upper, self.rho_E > 0
        closed = upper * (1 + DOMAIN_RTOL) if self.name == "tv" else self.generator.inside
        if (c > upper * (1 + DOMAIN_RTOL)).any() or (c[seen] > closed).any():
            return -np.inf
        return -float(self.generator.weighted(c[seen], self.rho_E[seen]).sum())

    def _cost(self, mass: Array) -> Array:
        """f'(mass / rho_E) with its limits at the boundary; zero where both vanish."""
        f, seen = self.generator, self.rho_E > 0
        c = np.where(mass > 0, f.upper, 0.0)
        inner = seen & (mass > 0)
        c[inner] = f.cost(mass[inner], self.rho_E[inner])
        c[seen & (mass == 0)] = f.lower
        return c

    def _conjugate(self, mass: Array) -> float:
        if (mass < 0).any():
            return np.inf
        f, seen = self.generator, self.rho_E > 0
        inner, missed, unseen = seen & (mass > 0), seen & (mass == 0), ~seen & (mass > 0)
        total = float(f.divergence(mass[inner], self.rho_E[inner]).sum())
        if missed.any():
            total += f.at_zero * float(self.rho_E[missed].sum())
        return total + f.upper * float(mass[unseen].sum()) if unseen.any() else total

    def _mass(self, rho: Array, rho_E: Array) -> Array:
        """The first argument of D_f: rho itself, or rho - rho_E + self.rho_E where the two experts differ."""
        rho, rho_E = self._pair(rho, rho_E)
        return rho if np.array_equal(rho_E, self.rho_E) else mass_in_excess(rho - rho_E, self.rho_E)
