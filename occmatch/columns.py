"""Policy evaluation of many costs: (I - gamma P_pi) X = R with R [S, K], column by column, from a guess.

Curvature matrices of successive Newton steps differ little, and so do their columns: what is solved for is the
correction, only as accurate as it still has to be. (One iteration on all columns together would read the matrix once
for all of them; measured at 50,000 states and 32 columns that takes twice as long, since its vectors leave the cache.)
"""

from __future__ import annotations

import numpy as np

from occmatch.checks import FloatArray
from occmatch.linear import Resolvent


def solve_columns(policy: Resolvent, R: FloatArray, rtol: float, guess: FloatArray | None = None) -> FloatArray:
    """X [S, K] with (I - gamma P_pi) X = R, each column to a residual of `rtol` max|R_k|; `guess` [S, K] is kept."""
    X = np.empty_like(R)
    for k in range(R.shape[1]):
        r = np.ascontiguousarray(R[:, k])
        if guess is None:
            X[:, k] = policy.solve(r, rtol)
            continue
        x = np.ascontiguousarray(guess[:, k])
        left = r - x + policy.gamma * (policy.P_pi @ x)
        target, size = rtol * float(np.abs(r).max()), float(np.abs(left).max())
        X[:, k] = x + policy.solve(left, target / size) if size > target else x
    return X
