"""psi_phi for a surrogate loss phi (Ho & Ermon 2016, Prop. A.1); the logistic loss gives psi_GA (Eq 13).

    psi(c) = <rho_E, g(c)> on T^{S x A},     psi*(rho - rho_E) = -sum min_m rho phi(m) + rho_E phi(-m)

Everything is written in the margin m with c = -phi(m), so that -<rho_E, c> - psi(c) = -<rho_E, phi(-m)>
cancels nothing.

Where rho_E(s, a) = 0 the term 0 * g(c) is zero on the closure of T and +inf off it: psi stays closed, the
cost stays below sup T there, and the supremum sits at that boundary (D -> 1). With the cost left free there
psi* would be +inf wherever rho > rho_E = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occmatch.candidate import NoBestCost
from occmatch.losses import Loss
from occmatch.regularisers.base import (
    Array,
    Regulariser,
    mass_in_excess,
    measure,
    monotone_root,
    solve_rounding,
)

# Distance from the end of T that `repair` keeps: g grows as fast as its inverse there, and must leave room for a mass.
_INSIDE = 1e-150

# A mass next to 1 at which a loss shows whether its minimum risk is always finite.
_RARE = 1e-100


# Margins at which the slopes of a loss are those at infinity.
_FAR = np.array([-1e10, 1e10])


@dataclass(frozen=True, eq=False)
class Surrogate(Regulariser):
    """psi_phi of Proposition A.1 for `loss` and the expert's measure rho_E [S, A]."""

    loss: Loss
    rho_E: Array

    def __post_init__(self) -> None:
        if not isinstance(self.loss, Loss):
            raise ValueError(f"loss must be a Loss, such as LOSSES['logistic'], but is {self.loss!r}")
        # The solvers take psi* for finite wherever both measures have mass, or nowhere off rho = rho_E.
        if not self.is_linear and self.loss.minimum_risk(np.ones(1), np.full(1, _RARE))[0] == -np.inf:
            raise ValueError(
                "loss must have a minimum risk at any two positive masses (phi'(-m) / phi'(m) grows without limit), "
                f"but that of {self.loss.name!r} falls without end at 1 and {_RARE:g}"
            )
        object.__setattr__(self, "rho_E", measure(self.rho_E))

    @property
    def smooth(self) -> bool:
        return not self.is_linear

    @property
    def is_linear(self) -> bool:
        """phi(m) = phi(0) - a m: g = 2 phi(0), and psi is constant.

        The slope of a convex phi rises, and is the same everywhere if it is far out on both sides.
        """
        with np.errstate(all="ignore"):
            left, right = self.loss.dphi(_FAR)
        return bool(left == right)

    @property
    def level(self) -> float:
        """The constant that psi is where phi is linear: 2 phi(0) <rho_E, 1>."""
        return 2.0 * float(self.loss.phi(np.zeros(1))[0]) * float(self.rho_E.sum())

    def best_margin(self, rho: Array, rho_E: Array | None = None) -> Array:
        """argmin_m rho phi(m) + rho_E phi(-m) [S, A]; +-inf where it is not attained."""
        return self.loss.best_margin(self._mass(rho, rho_E), self.rho_E)

    def value(self, c: Array) -> float:
        c = self._array(c, "c")
        if (c > self.loss.upper).any():
            return np.inf
        seen = self.rho_E > 0
        with np.errstate(over="ignore"):  # g saturates at the largest double, where the sum is +inf
            return float(self.rho_E[seen] @ self.loss.g(c[seen]))

    def conjugate(self, x: Array) -> float:
        return self._conjugate(mass_in_excess(self._array(x, "x"), self.rho_E))

    def divergence(self, rho: Array, rho_E: Array) -> float:
        return self._conjugate(self._mass(rho, rho_E))

    def best_cost(self, rho: Array, rho_E: Array) -> Array:
        mass = self._mass(rho, rho_E)
        margin = self.best_margin(rho, rho_E)
        unreached = (mass == 0) & (self.rho_E > 0)
        unseen = (mass > 0) & (self.rho_E == 0) & (self.loss.upper == np.inf)
        apart = unreached | unseen
        if self.is_linear:
            if self._conjugate(mass) < np.inf:
                return np.zeros_like(mass)
            apart = mass != self.rho_E
        if apart.any():
            raise NoBestCost(
                f"the best margin is infinite at {np.argwhere(apart)[0].tolist()}: learner mass "
                f"{mass[apart][0]:g}, expert mass {self.rho_E[apart][0]:g}",
                np.where(apart, np.sign(mass - self.rho_E), 0.0),
                unbounded=self._conjugate(mass) == np.inf,
            )
        return self.loss.cost(margin)

    def dual_value(self, c: Array, rho_E: Array, margin: Array | None = None) -> float:
        c, rho_E = self._pair(c, rho_E, "c")
        seen = self.rho_E > 0
        if margin is None:
            if (c > self.loss.upper).any() or (c[seen] >= self.loss.upper).any():
                return -np.inf
            margin = np.zeros_like(c)
            margin[seen] = self.loss.margin(c[seen])
        shift = 0.0 if self._same(rho_E) else float(np.vdot(self.rho_E - rho_E, c))
        return shift - float(self.rho_E[seen] @ self.loss.phi(-margin[seen]))

    def repair(self, c: Array) -> Array:
        c = self._array(c, "c")
        if self.loss.upper == np.inf:
            return c
        inside = min(np.nextafter(self.loss.upper, -np.inf), self.loss.upper - _INSIDE)
        return np.minimum(c, np.where(self.rho_E > 0, inside, self.loss.upper))

    def forbidden(self, rho_E: Array) -> Array:
        return (self.rho_E == 0) & (self.loss.upper == np.inf)

    def grad(self, rho: Array, rho_E: Array) -> Array:
        self._require_smooth()
        return self.loss.cost(self.best_margin(rho, rho_E))

    def hess_diag(self, rho: Array, rho_E: Array) -> Array:
        self._require_smooth()
        # d/drho of the stationarity rho phi'(m) = rho_E phi'(-m), times dc/dm = -phi'(m).
        mass = self._mass(rho, rho_E)
        m = self.loss.best_margin(mass, self.rho_E)
        slope, bend = self.loss.dphi(m), mass * self.loss.d2phi(m) + self.rho_E * self.loss.d2phi(-m)
        inner = (mass > 0) & (self.rho_E > 0)
        out = np.where(self.rho_E > 0, np.inf, 0.0 if self.loss.upper < np.inf else np.inf)
        # A bend that underflows belongs to a ratio beyond 1e300, where the square of the slope vanishes
        # first.
        return np.divide(slope**2, bend, out=out, where=inner & (bend > 0))

    def dvalue(self, c: Array) -> Array:
        return self.rho_E * self._dg(c)

    def d2value(self, c: Array) -> Array:
        m = self.loss.margin(c)
        down = self.loss.dphi(m)
        bend = self.loss.d2phi(-m) * down + self.loss.dphi(-m) * self.loss.d2phi(m)
        return self.rho_E * bend / down**3

    def prox(self, v: Array, step: float) -> Array:
        if self.is_linear:
            return v
        centre = np.full_like(v, float(self.loss.cost(np.zeros(1))[0]))
        root = monotone_root(lambda c: self.dvalue(c), v, step, centre, self.loss.upper)
        return np.where(self.rho_E > 0, root, np.minimum(v, self.loss.upper))

    def _require_smooth(self) -> None:
        if self.is_linear:
            raise NotImplementedError("the linear loss makes psi constant, whose conjugate is an indicator")

    def _dg(self, c: Array) -> Array:
        """g'(c) = phi'(-m) / phi'(m) - 1."""
        m = self.loss.margin(np.asarray(c))
        return self.loss.dphi(-m) / self.loss.dphi(m) - 1

    def _conjugate(self, mass: Array) -> float:
        if (mass < 0).any():
            return np.inf
        if self.is_linear:
            apart = np.abs(mass - self.rho_E).max()
            rounding = solve_rounding(float(self.rho_E.sum())) * max(mass.max(), self.rho_E.max())
            return 0.0 - self.level if apart <= rounding else np.inf
        return -float(self.loss.minimum_risk(mass, self.rho_E).sum())

    def _mass(self, rho: Array, rho_E: Array | None) -> Array:
        """The first argument of R_phi: rho, or rho - rho_E + self.rho_E where the two experts differ."""
        rho, rho_E = self._pair(rho, self.rho_E if rho_E is None else rho_E)
        return rho if self._same(rho_E) else mass_in_excess(rho - rho_E, self.rho_E)

    def _same(self, rho_E: Array) -> bool:
        return np.array_equal(rho_E, self.rho_E)
