"""Randomly drawn surrogate losses: phi strictly decreasing and convex, nothing else in common with the registered ones.

    phi(m) = a (-m) + sum_k w_k t_k log(1 + e^{(b_k - m) / t_k}) + e exp(-s m),      a, w, e >= 0, not all zero.

Its inverse and its best margins are found by bisection and know no closed form.  A linear part (a > 0) makes T the
whole line; an exponential one then comes with it, so that R_phi is finite for any two positive masses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from scipy.special import expit

from occmatch.losses import Loss

Array = np.ndarray

FAR = 690.0
"""Exponents beyond this leave the range of doubles."""


@dataclass(frozen=True)
class RandomLoss(Loss):
    """phi of the module's formula; `bumps` holds (w, b, t)."""

    linear: float = 0.0
    bumps: tuple[tuple[float, float, float], ...] = ()
    exponential: float = 0.0
    rate: float = 1.0

    def phi(self, m: Array) -> Array:
        m = np.asarray(m, dtype=float)
        out = self.exponential * np.exp(-np.clip(self.rate * m, -FAR, None))
        if self.linear:
            out = out - self.linear * m
        for w, b, t in self.bumps:
            out = out + w * t * np.logaddexp(0.0, (b - m) / t)
        return out

    def dphi(self, m: Array) -> Array:
        m = np.asarray(m, dtype=float)
        out = -self.linear - self.rate * self.exponential * np.exp(-np.clip(self.rate * m, -FAR, None))
        for w, b, t in self.bumps:
            out = out - w * expit((b - m) / t)
        return out

    def d2phi(self, m: Array) -> Array:
        m = np.asarray(m, dtype=float)
        out = self.rate**2 * self.exponential * np.exp(-np.clip(self.rate * m, -FAR, None))
        for w, b, t in self.bumps:
            out = out + w / t * expit((b - m) / t) * expit((m - b) / t)
        return out

    def inverse(self, y: Array) -> Array:
        y = np.asarray(y, dtype=float)
        return _root(lambda m: y - self.phi(m), y.shape)

    def best_margin(self, p: Array, q: Array) -> Array:
        p, q = np.broadcast_arrays(np.asarray(p, dtype=float), np.asarray(q, dtype=float))
        inner = (p > 0) & (q > 0)
        safe_p, safe_q = np.where(inner, p, 1.0), np.where(inner, q, 1.0)
        m = _root(lambda m: safe_p * self.dphi(m) - safe_q * self.dphi(-m), p.shape)
        edge = np.where(p > 0, math.inf, np.where(q > 0, -math.inf, 0.0))
        return np.where(inner, m, edge)

    def minimum_risk(self, p: Array, q: Array) -> Array:
        return self.risk(self.best_margin(p, q), np.asarray(p, dtype=float), np.asarray(q, dtype=float))


def _root(increasing: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
    """The root [shape] of an elementwise increasing function: doubling, then halving to the last bit."""
    lo, hi = np.full(shape, -1.0), np.full(shape, 1.0)
    for _ in range(12):
        low, high = increasing(lo) > 0, increasing(hi) < 0
        if not (low | high).any():
            break
        lo, hi = np.where(low, 2 * lo, lo), np.where(high, 2 * hi, hi)
    for _ in range(64):
        middle = 0.5 * (lo + hi)
        below = increasing(middle) < 0
        lo, hi = np.where(below, middle, lo), np.where(below, hi, middle)
    return 0.5 * (lo + hi)


@st.composite
def random_losses(draw: st.DrawFn, onto: bool | None = None) -> RandomLoss:
    """A loss of one to three smoothed steps, with or without an exponential; `onto` asks for T = R or not."""
    size, place = st.floats(0.1, 3.0), st.floats(-2.0, 2.0)
    bumps = draw(st.lists(st.tuples(size, place, st.floats(0.2, 2.0)), min_size=1, max_size=3))
    onto = draw(st.booleans()) if onto is None else onto
    exponential = draw(size) if onto or draw(st.booleans()) else 0.0
    return RandomLoss(
        name="random",
        upper=math.inf if onto else 0.0,
        linear=draw(size) if onto else 0.0,
        bumps=tuple(bumps),
        exponential=exponential,
        rate=draw(st.floats(0.5, 2.0)),
    )
