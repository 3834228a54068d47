"""A preconditioner for I - gamma P_pi: one Gauss-Seidel sweep through the states in the order of their values.

A good policy goes downhill: from where much is still to be paid to where little is.  Numbered by value, P_pi of such
a policy is almost lower triangular, and the lower triangle of I - gamma P_pi, which takes one sweep to solve, almost
its inverse: a product alone carries news one transition on, the sweep carries it down the whole path (downwind
numbering, Bey & Wittum 1997).  On a gridworld of 40,000 states it took 0.3 of the products that BiCGSTAB took
without it; where there is no downhill, as on garnets, it does not pay, and it is only made where plain steps are many.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array, eye_array, tril
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import splu

from occmatch.checks import FloatArray


class Ordered:
    """The lower triangle of I - gamma P_pi in the order of `V`; without V, in that of reverse Cuthill-McKee."""

    def __init__(self, P_pi: csr_array, gamma: float, V: FloatArray | None = None) -> None:
        S = P_pi.shape[0]
        order = reverse_cuthill_mckee(P_pi) if V is None else np.argsort(V, kind="stable")
        self._order, self._back = order, np.empty(S, dtype=np.int64)
        self._back[order] = np.arange(S)
        system = (eye_array(S, format="csr") - gamma * P_pi).tocsr()
        lower = tril(system[order][:, order], format="csc")
        # A triangle in its own order has no fill, so that these are its entries and no more.
        self._factors = splu(lower, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def inverse(self, *, transposed: bool) -> Callable[[FloatArray], FloatArray]:
        """x -> L^-1 x, or L'^-1 x, with x in the order of the MDP."""
        trans = "T" if transposed else "N"
        return lambda x: self._factors.solve(x[self._order], trans=trans)[self._back]
