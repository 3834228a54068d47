"""GMRES without the overhead of a Python loop over basis vectors: the Newton systems of matching are small and many.

Saad & Schultz (1986), with orthogonalisation by classical Gram-Schmidt done twice, two matrix-vector products each, and
restarts on the true residual, which is what the answer is judged by.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from occmatch.checks import FloatArray


def gmres(
    matvec: Callable[[FloatArray], FloatArray],
    b: FloatArray,
    x: FloatArray | None = None,
    *,
    rtol: float,
    atol: float = 0.0,
    restart: int = 50,
    max_matvecs: int = 1_500,
) -> tuple[FloatArray, float]:
    """(x, ||b - M x||_2) with a residual of max(rtol ||b||_2, atol), or the best that `max_matvecs` products reach."""
    x = np.zeros_like(b) if x is None else x
    target = max(rtol * float(np.linalg.norm(b)), atol)
    residual = b - matvec(x) if x.any() else b
    size = float(np.linalg.norm(residual))
    spent = 1
    while size > target and spent < max_matvecs:
        step, products = _cycle(matvec, residual, size, target, min(restart, max_matvecs - spent))
        spent += products + 1
        candidate = x + step
        residual = b - matvec(candidate)
        before, size = size, float(np.linalg.norm(residual))
        if not size < before:
            return x, before
        x = candidate
        if size > 0.9 * before:  # stagnation: rounding, or a spectrum that this restart length cannot handle
            break
    return x, size


def _cycle(
    matvec: Callable[[FloatArray], FloatArray], r: FloatArray, size: float, target: float, m: int
) -> tuple[FloatArray, int]:
    """The step that minimises ||r - M x|| over the Krylov space of at most m dimensions, and that number."""
    basis = np.empty((m + 1, r.size))
    H = np.zeros((m + 1, m))
    rotations = np.zeros((m, 2))
    g = np.zeros(m + 1)
    basis[0], g[0] = r / size, size
    k = 0
    for j in range(m):
        w = matvec(basis[j])
        column = np.zeros(m + 1)
        for _ in range(2):
            overlap = basis[: j + 1] @ w
            w = w - overlap @ basis[: j + 1]
            column[: j + 1] += overlap
        length = float(np.linalg.norm(w))
        column[j + 1] = length
        for i in range(j):
            c, s = rotations[i]
            column[i], column[i + 1] = c * column[i] + s * column[i + 1], -s * column[i] + c * column[i + 1]
        radius = float(np.hypot(column[j], column[j + 1]))
        if radius == 0.0:  # M is singular on this space; keep what there is
            break
        rotations[j] = column[j] / radius, column[j + 1] / radius
        column[j], column[j + 1] = radius, 0.0
        H[:, j] = column
        c, s = rotations[j]
        g[j], g[j + 1] = c * g[j], -s * g[j]
        k = j + 1
        if abs(g[j + 1]) <= target or length == 0.0:
            break
        basis[j + 1] = w / length
    if k == 0:
        return np.zeros_like(r), 1
    coefficients = np.linalg.solve(H[:k, :k], g[:k])
    return coefficients @ basis[:k], k
