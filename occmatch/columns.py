"""Policy evaluation of many costs at once: (I - gamma P_pi) X = R with R [S, K].

One sparse product with K columns reads the matrix once instead of K times, which is what a product costs. BiCGSTAB (van
der Vorst 1992) therefore runs on all columns together, each with its own scalars, from a guess: curvature matrices of
successive Newton steps differ little, and so do their columns. Columns that it leaves behind, and all of them where the
resolvent is factorised, are solved one by one.
"""

from __future__ import annotations

import numpy as np

from occmatch.checks import FloatArray
from occmatch.linear import Resolvent

# Up to this many states `Resolvent` factorises a dense matrix; beyond it, whatever its bandwidth allows.
_FEW_STATES = 200

# Steps of BiCGSTAB, each of two products. Diagonal dominance 1 - gamma bounds what is needed; few MDPs come near.
_STEPS = 400


def solve_columns(
    policy: Resolvent, R: FloatArray, rtol: float, guess: FloatArray | None = None, *, few_states: int = _FEW_STATES
) -> FloatArray:
    """X [S, K] with (I - gamma P_pi) X = R, each column to a residual of `rtol` |R|_2 of its own."""
    X = np.zeros_like(R) if guess is None else guess.copy()
    left = np.arange(R.shape[1])
    if R.shape[0] > few_states and not policy.factorises:
        X, left = _bicgstab(policy, R, X, rtol)
    for k in left:
        X[:, k] = policy.solve(np.ascontiguousarray(R[:, k]), rtol)
    return X


def _bicgstab(policy: Resolvent, R: FloatArray, X: FloatArray, rtol: float) -> tuple[FloatArray, np.ndarray]:
    """X improved column by column, and the columns that did not reach their target."""
    target = rtol * np.linalg.norm(R, axis=0)

    def product(V: FloatArray) -> FloatArray:
        onward = policy.P_pi @ V
        onward *= -policy.gamma
        onward += V
        return onward

    active = np.arange(R.shape[1])
    x, r = X.copy(), R - product(X)
    shadow, p, rho = r.copy(), r.copy(), _dots(r, r)
    stuck = np.zeros(R.shape[1], dtype=bool)
    for _ in range(_STEPS):
        moving = (np.linalg.norm(r, axis=0) > target[active]) & ~stuck[active]
        if not moving.all():
            X[:, active] = x
            active, x, r = active[moving], x[:, moving], r[:, moving]
            if not active.size:
                break
            shadow, p, rho = shadow[:, moving], p[:, moving], rho[moving]
        v = product(p)
        alpha = _ratio(rho, _dots(shadow, v))
        r -= alpha * v
        t = product(r)
        omega = _ratio(_dots(t, r), _dots(t, t))
        x += alpha * p
        x += omega * r
        r -= omega * t
        after = _dots(shadow, r)
        beta = _ratio(after, rho) * _ratio(alpha, omega)
        stuck[active] = (alpha == 0.0) | (beta == 0.0)
        p -= omega * v
        p *= beta
        p += r
        rho = after
    X[:, active] = x
    # The recurrence drifts from the true residual; a factor of ten is more than rounding makes of it.
    return X, np.flatnonzero(np.linalg.norm(R - product(X), axis=0) > 10.0 * target)


def _dots(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.einsum("sk,sk->k", a, b)


def _ratio(a: FloatArray, b: FloatArray) -> FloatArray:
    """a / b, and 0 where b vanishes: the column then no longer moves."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0.0)
