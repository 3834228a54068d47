"""The S x S systems (M diag(w) M' + damping I) y = r that Newton steps on the flow polytope come down to.

Their entries span as many orders of magnitude as the weights do, so rows and columns are first scaled to unit
diagonal.  Up to `_DENSE_STATES` unknowns the matrix is factorised, beyond it conjugate gradients are used.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, cg

from occmatch.checks import FloatArray

# A dense Cholesky factorisation of this size takes about 0.1 s.
_DENSE_STATES = 2_000


def solve_normal(M: csr_array, weights: FloatArray, r: FloatArray, damping: float = 0.0) -> FloatArray:
    """y [S] with (M diag(weights) M' + damping I) y = r, for M [S, n], weights [n] >= 0 and damping >= 0."""
    S = r.size
    weighted = csr_array(M.multiply(weights[None, :]))
    diagonal = np.asarray(weighted.multiply(M).sum(axis=1)).reshape(-1) + damping
    scale = 1.0 / np.sqrt(np.maximum(diagonal, np.finfo(np.float64).tiny))
    if S > _DENSE_STATES:

        def product(v: FloatArray) -> FloatArray:
            return scale * (weighted @ (M.T @ (scale * v)) + damping * scale * v)

        return scale * cg(LinearOperator((S, S), product, dtype=np.float64), scale * r, rtol=1e-10, maxiter=10 * S)[0]
    matrix = scale[:, None] * (weighted @ M.T).toarray() * scale
    # The diagonal is 1 up to rounding; a little more than rounding on top keeps the factorisation positive.
    matrix[np.diag_indices(S)] += damping * scale**2 + 4.0 * S * np.finfo(np.float64).eps
    return scale * cho_solve(cho_factor(matrix), scale * r)
