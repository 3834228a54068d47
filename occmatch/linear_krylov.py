"""Iterative solves of x - gamma M x = b by products alone: BiCGSTAB, and GMRES where that breaks down.

BiCGSTAB (van der Vorst 1992) comes first: two products a step and seven vectors whatever the number of steps, where
GMRES keeps one more vector a step, 8 MB each at a million states; on garnets and gridworlds the two took the same
number of products.  Residuals are measured in the sup norm, which is the norm that errors of values are bounded in:
|x - x*| <= |b - x + gamma M x| / (1 - gamma).  Each pass is restarted on the true residual, which is iterative
refinement; a pass that gains less than one digit is called a stall.  Where the residual has become orthogonal to the
shadow vector, steps begin anew from it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg.blas import daxpy, ddot, dnrm2, dscal, idamax
from scipy.sparse.linalg import LinearOperator, gmres

from occmatch.checks import FloatArray

Product = Callable[[FloatArray], FloatArray]

# A row of n terms rounds by at most n units in the last place of the largest; eight covers what sums average out to.
_ROUNDING = 8 * np.finfo(np.float64).eps

# Cosine of shadow and residual that counts as rounding.  The first residual is a poor shadow for visits: a start in one
# state is left at once, and an even one is an eigenvector of the transposed system, to which all that follows is
# orthogonal.  From 1e-8 on, restarts also cut short steps that were converging.
_ORTHOGONAL = 1e-12


def refined(
    product: Product, gamma: float, b: FloatArray, rtol: float, passes: int, steps: int, inverse: Product | None = None
) -> tuple[FloatArray, bool]:
    """(x, reached): x - gamma M x = b to a residual of `rtol * max|b|` or to rounding, or as near as it came.

    `inverse` is a preconditioner, applied from the right; each pass may take `steps` steps of two products.
    """

    def system(x: FloatArray) -> FloatArray:
        return daxpy(x, dscal(-gamma, product(x)))

    x, residual, before = np.zeros(b.size), b, np.inf
    for _ in range(passes):
        size = largest(residual)
        if size <= max(rtol * largest(b), _ROUNDING * largest(x)):
            return x, True
        if size > 0.1 * before:
            return x, False
        before = size
        goal = max(0.5 * rtol * largest(b), 1e-9 * size)
        step = bicgstab(system, residual, goal, steps, inverse)
        if step is None:
            step = _gmres(system, residual, goal / size, inverse)
        shorter = b - system(x + step)
        if not largest(shorter) < size:
            return x, False
        x, residual = x + step, shorter
    return x, largest(residual) <= max(rtol * largest(b), _ROUNDING * largest(x))


def bicgstab(
    system: Product, b: FloatArray, goal: float, steps: int, inverse: Product | None = None
) -> FloatArray | None:
    """x with max|b - system(x)| <= `goal` by its own count, or the best after `steps`; None where it breaks down."""
    # BLAS updates in place: at a million states an array for each a * v took more time than the products.
    x, r = np.zeros(b.size), b.copy()
    shadow, p = b.copy(), b.copy()
    rho = float(ddot(shadow, r))
    best, least = None, largest(r)
    for _ in range(steps):
        ahead = p if inverse is None else inverse(p)
        v = system(ahead)
        scale = float(ddot(shadow, v))
        if scale == 0.0 or not np.isfinite(scale):
            return None
        alpha = rho / scale
        r = daxpy(v, r, a=-alpha)
        x = daxpy(ahead, x, a=alpha)
        if largest(r) <= goal:
            return x
        across = r if inverse is None else inverse(r)
        t = system(across)
        square = float(ddot(t, t))
        if square == 0.0 or not np.isfinite(square):
            return None
        omega = float(ddot(t, r)) / square
        x = daxpy(across, x, a=omega)
        r = daxpy(t, r, a=-omega)
        size = largest(r)
        if size <= goal:
            return x
        if size < 0.5 * least:
            least, best = size, x.copy()
        after = float(ddot(shadow, r))
        if omega == 0.0 or not np.isfinite(after):
            return None
        if abs(after) <= _ORTHOGONAL * float(dnrm2(shadow) * dnrm2(r)):
            shadow, p = r.copy(), r.copy()
            rho = float(ddot(r, r))
            continue
        beta = (after / rho) * (alpha / omega)
        p = daxpy(r, dscal(beta, daxpy(v, p, a=-omega)))
        rho = after
    return x if best is None or size < 2.0 * least else best


def _gmres(system: Product, b: FloatArray, rtol: float, inverse: Product | None) -> FloatArray:
    shape = (b.size, b.size)
    operator = LinearOperator(shape, matvec=system, dtype=np.float64)
    M = None if inverse is None else LinearOperator(shape, matvec=inverse, dtype=np.float64)
    return gmres(operator, b, rtol=rtol, atol=0.0, M=M, restart=50, maxiter=10)[0]


def largest(x: FloatArray) -> float:
    """max|x|, in one pass and without a copy of x."""
    return abs(float(x[idamax(x)])) if x.size else 0.0


def ratio(b: FloatArray, rest: FloatArray) -> float:
    """max|b| / max|rest|, 1 where there is no rest."""
    size = largest(rest)
    return largest(b) / size if size > 0.0 else 1.0
