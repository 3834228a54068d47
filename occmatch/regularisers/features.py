"""Linear cost classes c = sum_k w_k f_k: coordinates, feature gaps, and membership up to rounding.

Without features the class is all of R^{S x A} in the indicator basis, and w is the cost itself.
"""

from __future__ import annotations

import numpy as np

from occmatch import checks
from occmatch.regularisers.base import DOMAIN_RTOL, Array, solve_rounding

_TALL, _INDEPENDENT = 10_000, 1e-8
"""Pairs (s, a) from which on coordinates are worth a faster way, and the least ratio of eigenvalues that allows it."""


def check(features: Array | None) -> Array | None:
    """features as a finite float64 array [S, A, K] or None, or ValueError with the offending entry."""
    if features is None:
        return None
    features = checks.real_array(features, "features").copy()
    if features.ndim != 3 or 0 in features.shape:
        raise ValueError(f"features must have shape [S, A, K], but has shape {features.shape}")
    features.flags.writeable = False
    return features


def same_size(features: Array | None) -> Array | None:
    """Each feature times the power of two that brings its largest entry into [1, 2): the same span, to the bit.

    Next to a feature 1e6 times as large the rounding of a sum would hide the whole of a small one.
    """
    if features is None:
        return None
    features = np.ldexp(features, 1 - np.frexp(np.abs(features).max(axis=(0, 1)))[1])
    features.flags.writeable = False
    return features


def combine(features: Array | None, w: Array) -> Array:
    """c(s, a) = sum_k w_k f_k(s, a), [S, A]."""
    return w if features is None else features @ w


def gaps(features: Array | None, x: Array) -> Array:
    """<x, f_k> for every k [K]: the gap of feature expectations where x = rho - rho_E."""
    x = np.asarray(x, dtype=np.float64)
    return x if features is None else np.einsum("sak,sa->k", features, x)


def gap_rounding(features: Array | None, x: Array, mass: float = 0.0) -> float:
    """How far from zero rounding alone may put a gap of measures of this mass: a share of the sum of absolute terms."""
    scale = np.abs(x).max(initial=0.0) if features is None else gaps(np.abs(features), np.abs(x)).max()
    return solve_rounding(mass) * float(scale)


def coordinates(features: Array | None, c: Array) -> tuple[Array, float]:
    """The least-norm w whose combination is closest to c, and the sup-norm distance that is left."""
    c = np.asarray(c, dtype=np.float64)
    if features is None:
        return c, 0.0
    w = _least_squares(features.reshape(c.size, -1), c.ravel())
    return w, float(np.abs(features @ w - c).max())


def _least_squares(F: Array, c: Array) -> Array:
    """The least-norm w that minimises |F w - c|, F [N, K]."""
    if F.shape[0] >= _TALL:
        # Normal equations, refined once: five times as fast, and as good while columns are far from dependent.
        G = F.T @ F
        sizes = np.linalg.eigvalsh(G)
        if sizes[0] > _INDEPENDENT * sizes[-1]:
            w = np.linalg.solve(G, F.T @ c)
            return w + np.linalg.solve(G, F.T @ (c - F @ w))
    return np.linalg.lstsq(F, c, rcond=None)[0]


def spans(c: Array, distance: float) -> bool:
    """Whether a distance left by `coordinates` is rounding."""
    return distance <= DOMAIN_RTOL * (1 + float(np.abs(c).max()))
