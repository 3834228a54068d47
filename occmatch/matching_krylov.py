"""GMRES without the overhead of a Python loop over basis vectors: the Newton systems of matching are small and many.

Saad & Schultz (1986), with orthogonalisation by classical Gram-Schmidt done twice, two matrix-vector products each, and
restarts on the true residual, which is what the answer is judged by.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.linalg import solve_triangular

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
    columns: list[list[float]] = []  # of the triangular factor; Python floats, since NumPy's are slow one at a time
    rotations: list[tuple[float, float]] = []
    basis[0], g = r / size, [size]
    for j in range(m):
        w = matvec(basis[j])
        column = np.zeros(j + 1)
        for _ in range(2):
            overlap = basis[: j + 1] @ w
            w = w - overlap @ basis[: j + 1]
            column += overlap
        length = float(np.linalg.norm(w))
        entries = [*column.tolist(), length]
        for i, (c, s) in enumerate(rotations):
            entries[i], entries[i + 1] = c * entries[i] + s * entries[i + 1], c * entries[i + 1] - s * entries[i]
        radius = math.hypot(entries[j], entries[j + 1])
        if radius == 0.0:  # M is singular on this space; keep what there is
            break
        c, s = entries[j] / radius, entries[j + 1] / radius
        columns.append([*entries[:j], radius])
        rotations.append((c, s))
        g[j : j + 1] = [c * g[j], -s * g[j]]
        if abs(g[j + 1]) <= target or length == 0.0:
            break
        basis[j + 1] = w / length
    k = len(columns)
    if k == 0:
        return np.zeros_like(r), 1
    R = np.zeros((k, k))
    for j, entries in enumerate(columns):
        R[: j + 1, j] = entries
    return solve_triangular(R, np.array(g[:k])) @ basis[:k], k
