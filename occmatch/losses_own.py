"""A surrogate loss of one's own, from phi and its two derivatives alone, and how both sides come to know it.

What else a loss has to say follows from these three by bisection, as each is the root of a monotone function:

    inverse       m with phi(m) = y                                  phi decreases
    best margin   m with p phi'(m) = q phi'(-m)                      the risk p phi(m) + q phi(-m) is convex

To the last bit of m, at about a hundred evaluations where the closed forms of `losses` take one.

Where phi'(-m) / phi'(m) has a limit r, as it is 3 for sqrt(1 + m^2) - 2 m, masses of a ratio beyond r have no best
margin: the risk falls without end, and psi* is +inf there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real

import numpy as np

from occmatch.losses import LOSSES, Array, Loss, _array, _namespace

MARGINS = np.linspace(-8.0, 8.0, 65)
"""Where `register_loss` looks."""

FAR = np.array([8.0, 1e3, 1e6])
"""Where it looks for what -phi tends to."""

SLOPES = np.array([1e10, 1e20])
"""Where the slopes of phi are those at infinity, if they have a limit."""

SECANT = 1e-4
"""Step of its differences: they err by 1e-8 of a third derivative, and `AGREEMENT` allows for a large one."""

AGREEMENT = 1e-5


class OwnLoss(Loss):
    """A loss of which a subclass gives `phi`, `dphi` and `d2phi`, elementwise on arrays and tensors alike.

    OwnLoss(name, upper): `upper` is the supremum of the costs -phi(m), 0 where phi falls to 0, math.inf where it falls
    without end. phi must be convex and strictly decreasing (Proposition A.1), which `register_loss` tries out. Where it
    is straight around zero psi* has a kink at rho = rho_E, which `match` and `irl` may miss; the certificate tells.
    """

    def inverse(self, y: Array) -> Array:
        y = _array(y)
        return _root(lambda m: y - self.phi(m), y)

    def best_margin(self, p: Array, q: Array) -> Array:
        p, q = _array(p), _array(q)
        xp = _namespace(p)
        inner = (p > 0) & (q > 0)
        a, b = (xp.where(inner, x, xp.ones_like(x)) for x in (p, q))
        m = _root(lambda m: a * self.dphi(m) - b * self.dphi(-m), a)
        infinite, reach = xp.full_like(m, math.inf), self._reach()
        m = xp.where(a > reach * b, infinite, xp.where(b > reach * a, -infinite, m))
        edge = xp.where(p > 0, infinite, xp.where(q > 0, -infinite, xp.zeros_like(m)))
        return xp.where(inner, m, edge)

    def minimum_risk(self, p: Array, q: Array) -> Array:
        p, q = _array(p), _array(q)
        xp = _namespace(p)
        inner, mass = (p > 0) & (q > 0), p + q
        m = self.best_margin(p, q)
        attained = inner & xp.isfinite(m)
        m = xp.where(attained, m, xp.zeros_like(p))
        infimum = -self.upper * xp.where(mass > 0, mass, xp.ones_like(mass))  # of phi, where one weight is zero
        edge = xp.where(mass > 0, infimum, xp.zeros_like(mass))
        return xp.where(attained, p * self.phi(m) + q * self.phi(-m), edge)

    def _reach(self) -> float:
        """sup_m phi'(-m) / phi'(m), which rises in m; inf where it goes on rising far out."""
        if self.upper < math.inf:
            return math.inf
        with np.errstate(all="ignore"):
            near, far = (float(r) for r in self.dphi(-SLOPES) / self.dphi(SLOPES))
        return far if abs(far - near) <= 1e-6 * near and far < 1e100 else math.inf  # exponentials saturate above that


def register_loss(loss: Loss) -> Loss:
    """Put `loss` into LOSSES under its name, for `Surrogate`, the suites over every loss, and `deep.gail --loss`.

    The command line of `deep` lists the losses that are registered when `deep` is imported. Returns the loss. Raises
    ValueError for a name that is taken, where phi is not finite, convex and strictly decreasing on [-8, 8], or dphi or
    d2phi is not its derivative, with the margin at fault, and where `upper` is not what -phi tends to.
    """
    if not isinstance(loss, Loss):
        raise ValueError(f"loss must be a Loss, but is {type(loss).__name__}")
    if loss.name in LOSSES:
        raise ValueError(f"loss.name must be new, but {loss.name!r} is registered already")
    phi = np.asarray(loss.phi(MARGINS))
    _require(np.isfinite(phi), "phi must be finite", phi)
    _require(np.append(np.diff(phi) < 0.0, True), "phi must decrease strictly", phi)
    bend = np.pad(np.diff(phi, 2), 1)
    _require(bend >= -1e-12 * (1.0 + np.abs(phi)), "phi must be convex", bend)
    for name, f, df in (("dphi", loss.phi, loss.dphi), ("d2phi", loss.dphi, loss.d2phi)):
        secant = (f(MARGINS + SECANT) - f(MARGINS - SECANT)) / (2.0 * SECANT)
        found = np.asarray(df(MARGINS))
        _require(np.abs(found - secant) <= AGREEMENT * (1.0 + np.abs(secant)), f"{name} must be the derivative", found)
    _require_supremum(loss)
    LOSSES[loss.name] = loss
    return loss


def _require_supremum(loss: Loss) -> None:
    """`upper` against -phi at margins far out: what is left below it shrinks, or -phi goes on growing where it is inf.

    Lenient, as phi may be as slow as 1 / log m or -log m, and where phi far out is beyond doubles nothing is said.
    """
    upper = loss.upper
    if isinstance(upper, bool) or not isinstance(upper, Real) or math.isnan(upper):
        raise ValueError(f"loss.upper must be a number, but is {upper!r}")
    with np.errstate(all="ignore"):
        near, far, further = (float(y) for y in -np.asarray(loss.phi(FAR)))
    if upper == math.inf:
        holds = not further - far < 0.1 * (far - near)
    else:
        holds = not near > upper and not upper - further > 0.2 * (upper - near) + 1e-9
    if not holds:
        raise ValueError(
            f"loss.upper must be the supremum of -phi, but is {upper:g}, where -phi is {near:.4g}, {far:.4g} and "
            f"{further:.4g} at margins {FAR[0]:g}, {FAR[1]:g} and {FAR[2]:g}"
        )


def _require(holds: Array, what: str, values: Array) -> None:
    if not holds.all():
        i = int(np.argmin(holds))
        raise ValueError(f"{what}, but at margin {MARGINS[i]:g} it is not so: {values[i]:g}")


def _root(increasing: Callable[[Array], Array], like: Array) -> Array:
    """The root of an elementwise increasing function, shaped like `like`: doubling, then halving to the last bit."""
    xp = _namespace(like)
    lo, hi = -xp.ones_like(like), xp.ones_like(like)
    for _ in range(100):
        low, high = increasing(lo) > 0, increasing(hi) < 0
        if not (low | high).any():
            break
        lo, hi = xp.where(low, 2 * lo, lo), xp.where(high, 2 * hi, hi)
    while True:
        middle = 0.5 * (lo + hi)
        if ((middle <= lo) | (middle >= hi)).all():
            return middle
        right = increasing(middle) < 0
        lo, hi = xp.where(right, middle, lo), xp.where(right, hi, middle)
