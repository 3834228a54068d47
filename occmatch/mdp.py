"""Finite Markov decision processes.

An MDP is a kernel P(s'|s, a), an initial distribution p0 and a discount gamma in [0, 1).  It has no cost of its own:
costs c(s, a) are what imitation looks for, so they are passed to the functions that use them.

Every action is available in every state; an episode that ends is an absorbing state, entered and never left, so that
its mass stays in the occupancy measure.  Throughout the package `S` denotes the number of states, `A` of actions.
The kernel is one sparse matrix whose row s * A + a is P(.|s, a); two operations are all that anyone needs of it,

    expect(V)(s, a) = sum_s' P(s'|s, a) V(s')        flow(rho)(s') = sum_{s, a} P(s'|s, a) rho(s, a).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array, issparse

from occmatch import checks
from occmatch.checks import FloatArray, IntArray
from occmatch.products import product


@dataclass(frozen=True, eq=False)
class Layout:
    """Where states lie on a grid and where actions point; read by `plots` only.

    `cells` [S, 2] holds (row, column) of each state, (-1, -1) for a state off the grid; `moves` [A, 2] the step in
    (row, column) that each action intends.  Kept as read-only integers; ValueError for other shapes or fractions.
    """

    cells: IntArray
    moves: IntArray

    def __post_init__(self) -> None:
        for name in ("cells", "moves"):
            object.__setattr__(self, name, _places(getattr(self, name), f"layout.{name}"))

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Layout) and np.array_equal(self.cells, other.cells)
        return same and np.array_equal(self.moves, other.moves)

    __hash__ = None


def check_layout(layout: Layout | None, shape: tuple[int, int]) -> None:
    """ValueError unless a layout has one cell a state and one move an action of an MDP of `shape` (S, A)."""
    if not isinstance(layout, Layout | None):
        raise ValueError(f"layout must be a Layout, but is {type(layout).__name__}")
    if layout is not None and (len(layout.cells), len(layout.moves)) != shape:
        raise ValueError(
            f"layout must have one cell a state and one move an action, {shape}, "
            f"but has {(len(layout.cells), len(layout.moves))}"
        )


def _places(places: ArrayLike, name: str) -> IntArray:
    """`places` as read-only integers [n, 2]."""
    array = checks.integers(places, name, "n", "2").copy()
    if array.shape[1] != 2:
        raise ValueError(f"{name} must be integers of shape (n, 2), but has shape {array.shape}")
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class MDP:
    """A finite MDP `(P, p0, gamma)`: frozen, validated once, its arrays read-only.

    `P` is given as a dense [S, A, S] array, or as any SciPy sparse matrix [S * A, S] with row s * A + a; it is kept as
    `csr_array` [S * A, S] without explicit zeros.  `p0` is [S].  Rows whose sum is off by rounding are divided by it.
    Raises ValueError where a row is no distribution, shapes disagree, or gamma is outside [0, 1).
    """

    P: csr_array
    p0: FloatArray
    gamma: float
    layout: Layout | None = None

    def __post_init__(self) -> None:
        kernel = _kernel(self.P)
        initial = checks.distributions(self.p0, "p0", (kernel.shape[1],))
        for array in (kernel.data, kernel.indices, kernel.indptr, initial):
            array.setflags(write=False)
        object.__setattr__(self, "P", kernel)
        object.__setattr__(self, "p0", initial)
        object.__setattr__(self, "gamma", checks.discount(self.gamma))
        check_layout(self.layout, self.shape)

    @property
    def S(self) -> int:
        """Number of states."""
        return self.P.shape[1]

    @property
    def A(self) -> int:
        """Number of actions."""
        return self.P.shape[0] // self.P.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """`(S, A)`: the shape of costs, policies and measures."""
        return self.S, self.A

    def expect(self, V: FloatArray) -> FloatArray:
        """(P V)(s, a) = sum_s' P(s'|s, a) V(s'), for `V` [S] -> [S, A]."""
        return product(self.P)(V).reshape(self.shape)

    def flow(self, rho: FloatArray) -> FloatArray:
        """Undiscounted inflow (P' rho)(s') = sum_{s, a} P(s'|s, a) rho(s, a), for `rho` [S, A] -> [S]."""
        return self.P.T @ rho.reshape(-1)

    def __repr__(self) -> str:
        return f"MDP(S={self.S}, A={self.A}, gamma={self.gamma:g}, transitions={self.P.nnz})"


def _kernel(P: ArrayLike | csr_array) -> csr_array:
    """The validated kernel as canonical CSR [S * A, S] with rows that sum to one."""
    if issparse(P):
        kernel = _small_indices(checks.sparse_matrix(P, "P", "(S * A, S)"))
        rows, S = kernel.shape
        if S == 0 or rows == 0 or rows % S:
            raise ValueError(f"P must be sparse of shape (S * A, S), but has shape {kernel.shape}")
        kernel.sum_duplicates()
    else:
        dense = checks.real_array(P, "P")
        if dense.ndim != 3 or dense.shape[0] != dense.shape[2] or 0 in dense.shape:
            raise ValueError(f"P must have shape (S, A, S), or be sparse (S * A, S), but has shape {dense.shape}")
        S = dense.shape[0]
        kernel = _small_indices(csr_array(dense.reshape(-1, S)))
    _check_finite(kernel)
    _check_rows(kernel)
    total = np.add.reduceat(kernel.data, kernel.indptr[:-1])
    kernel.data /= np.repeat(total, np.diff(kernel.indptr))
    kernel.eliminate_zeros()
    kernel.sort_indices()
    return kernel


def _check_finite(kernel: csr_array) -> None:
    finite = np.isfinite(kernel.data)
    if not finite.all():
        at = int(np.argmin(finite))
        s, a = divmod(int(np.searchsorted(kernel.indptr, at, side="right")) - 1, kernel.shape[0] // kernel.shape[1])
        raise ValueError(f"P[{s}, {a}, {kernel.indices[at]}] must be finite, but is {kernel.data[at]:g}")


def _check_rows(kernel: csr_array) -> None:
    rows, S = kernel.shape
    A = rows // S
    total = kernel.sum(axis=1)
    if kernel.data.min(initial=0.0) >= 0.0 and np.abs(total - 1.0).max() <= checks.SUM_SLACK:
        return
    least = np.zeros(rows)
    np.minimum.at(least, np.repeat(np.arange(rows), np.diff(kernel.indptr)), kernel.data)
    bad = ~((least >= 0.0) & (np.abs(total - 1.0) <= checks.SUM_SLACK))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"P[{row // A}, {row % A}] must be a probability distribution over next states, "
            f"but has least entry {least[row]:.10g} and sum {total[row]:.10g}"
        )


def _small_indices(kernel: csr_array) -> csr_array:
    """`kernel` with int32 indices where they can count its entries: a third less to read in every product."""
    if kernel.indices.dtype == np.int32 or max(kernel.nnz, *kernel.shape) > np.iinfo(np.int32).max:
        return kernel
    indices, pointers = kernel.indices.astype(np.int32), kernel.indptr.astype(np.int32)
    return csr_array((kernel.data, indices, pointers), shape=kernel.shape)
