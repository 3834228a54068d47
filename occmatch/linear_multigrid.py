"""A preconditioner for I - gamma P_pi where few steps lead to few states: multigrid by approximate ideal restriction.

A policy carries mass along its paths, which is transport: multigrid for diffusion does not converge on it, and AIR was
made for it (Manteuffel, Ruge & Southworth 2018, by pyamg).  Every other state, roughly, is eliminated from the system,
approximately and by its neighbours alone; what is left is treated likewise, ten levels down on a million states.  One
cycle takes about seven products, and BiCGSTAB behind it about ten steps whatever the discount, where it takes hundreds
without (benchmarks/preconditioners.py).

States that stay after elimination must not become neighbours of everything: on grids, mazes and the tables of control
tasks they do not, on garnets they do.  `suits` looks at how fast neighbourhoods grow.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.sparse import csr_array, csr_matrix, eye_array

from occmatch.checks import FloatArray

# Neighbours of neighbours that an elimination looks at: with 2, the default, making the levels took five times as long
# on a gridworld of 1,000,000 states, and the solve half as long.
_RESTRICTION = ("air", {"theta": 0.25, "degree": 1})

# States of the last level, which is solved directly.
_COARSEST = 500

# From two steps to four the number of states reached grows by 2^d in d dimensions; on a garnet by the square of its
# branching.  Seen: 3 on gridworlds, mazes and queues, 4 on tables of control tasks, 50 and more on garnets.
_GROWTH, _SEEN = 10.0, 100

# No table of few dimensions reaches so many states in four steps.
_MANY = 1_000


class Multigrid:
    """One cycle of multigrid for x - gamma M x = b, M sparse [S, S]: `inverse` maps b [S] to an approximate x [S]."""

    def __init__(self, M: csr_array, gamma: float) -> None:
        import pyamg  # half a second, and only large problems need it

        A = csr_matrix(eye_array(M.shape[0], format="csr") - gamma * M)
        A.sum_duplicates()
        A.sort_indices()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that pyamg changes by itself
            levels = pyamg.air_solver(A, restrict=_RESTRICTION, max_coarse=_COARSEST)
        self._cycle = levels.aspreconditioner(cycle="V").matvec

    def inverse(self, b: FloatArray) -> FloatArray:
        return np.asarray(self._cycle(b))


def suits(M: csr_array) -> bool:
    """Whether the number of states within so many steps of `M` [S, S] grows as on a grid, by some 100 states."""
    S = M.shape[0]
    some = np.unique(np.linspace(0, S - 1, _SEEN).astype(np.int64))
    reached = csr_array((np.ones(some.size), (np.arange(some.size), some)), shape=(some.size, S))
    sizes = [1.0]
    for _ in range(4):
        reached = csr_array(reached @ M)
        reached.data[:] = 1.0
        sizes.append(reached.nnz / some.size)
        if sizes[-1] > _MANY or sizes[-1] > _GROWTH * max(sizes[-2], _GROWTH):
            return False
    return sizes[4] <= _GROWTH * sizes[2]
