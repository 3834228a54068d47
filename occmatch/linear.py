"""Linear solves with a fixed policy: the resolvent (I - gamma P_pi)^-1 and its transpose.

With P_pi(s, s') = sum_a pi(a|s) P(s'|s, a), the value of a policy under a cost r on states and its discounted
state visits solve

    (I - gamma P_pi) V = r            (I - gamma P_pi') d = p0.

I - gamma P_pi' is an M-matrix and diagonally dominant by columns.  Elimination then never exchanges rows, is stable,
and for a right side >= 0 adds only numbers of one sign: d is nonnegative, exactly zero on states that are never
reached, and accurate in every entry however small.  So it is factorised wherever that is affordable: as a dense
matrix while it is small, then as a sparse one if fill-in stays low, which the bandwidth after a reverse
Cuthill-McKee ordering tells in advance (gridworlds and chains: yes; large garnets: no).  Elsewhere products alone
have to do (`linear_krylov`), and where they are many, with a cycle of multigrid before each if the graph is one of
few dimensions (`linear_multigrid`); if that stalls too the sparse factors have the last word, up to the size where they
are hopeless.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import lu_factor, lu_solve
from scipy.sparse import csr_array, eye_array
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import SuperLU, splu

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.linear_krylov import Product, largest, ratio, refined
from occmatch.linear_multigrid import Multigrid
from occmatch.linear_multigrid import suits as multigrid_suits
from occmatch.linear_policy import policy_matrix, quick_matrix
from occmatch.matrix_free import AnyMDP, MatrixFree
from occmatch.products import product

__all__ = ["Resolvent", "Stalled", "krylov", "policy_matrix", "resolvent", "solve_policy", "solve_visits"]

# Up to this many states LAPACK on a dense matrix beats the overhead of sparse ones: at most 1 ms.
_DENSE_STATES = 200

# S * bandwidth^2 bounds the multiplications of LU; at 4e8 SuperLU takes about 0.1 s and BiCGSTAB about as long.
_LU_WORK = 4e8

# Beyond this many states even computing the ordering costs more than a few steps of BiCGSTAB.
_LU_STATES = 20_000

# Beyond this many SuperLU's fill-in on a grid takes gigabytes and minutes: no last word there.
_HOPELESS_STATES = 300_000

# Passes of refinement, each gaining up to nine digits, and steps (two products each) that one pass may take.
_PASSES, _STEPS = 4, 500

# Steps behind the multigrid of an earlier policy before one is made for this, which takes about as long.
_EARLIER_STEPS = 8

# Steps without a preconditioner before one is made, which takes about as long.  With 60 a mountain car of 250,000
# states took a third longer, for its systems need 80.
_PLAIN_STEPS = 100


class Stalled(ArithmeticError):
    """No method brought the residual of (I - gamma P_pi) x = b down; `x` [S] is as near as one came."""

    def __init__(self, message: str, x: FloatArray) -> None:
        super().__init__(message)
        self.x = x


@dataclass(eq=False)
class Resolvent:
    """(I - gamma P_pi)^-1 for one policy, factorised at most once.

    `P_pi` is CSR [S, S].  `plain_helps` says whether plain steps are worth a try on a large system, and after a solve
    whether they were.  `multigrid` may come from a policy nearby, and is after a solve the one to hand on.
    """

    P_pi: csr_array
    gamma: float
    plain_helps: bool = True
    multigrid: Multigrid | None = None

    def solve(self, r: FloatArray, rtol: float = 0.0) -> FloatArray:
        """V [S] with (I - gamma P_pi) V = r, to rounding or to a residual of `rtol * max|r|`."""
        return self._solve(r, rtol, transposed=False)

    def solve_transposed(self, p: FloatArray, rtol: float = 0.0) -> FloatArray:
        """d [S] with (I - gamma P_pi') d = p, to rounding or to a residual of `rtol * max|p|`."""
        return self._solve(p, rtol, transposed=True)

    @cached_property
    def _dense(self) -> tuple[FloatArray, np.ndarray]:
        """LAPACK's LU factors of I - gamma P_pi'."""
        return lu_factor(np.eye(self.P_pi.shape[0]) - self.gamma * self.P_pi.T.toarray(), check_finite=False)

    @cached_property
    def _sparse(self) -> SuperLU:
        """SuperLU's factors of I - gamma P_pi', without pivoting."""
        matrix = (eye_array(self.P_pi.shape[0]) - self.gamma * self.P_pi.T).tocsc()
        ordering = "MMD_AT_PLUS_A"
        return splu(matrix, permc_spec=ordering, diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    @cached_property
    def _transposed(self) -> csr_array:
        return csr_array(self.P_pi.T)

    @cached_property
    def _multigrid_transposed(self) -> Multigrid:
        return Multigrid(self._transposed, self.gamma)

    @cached_property
    def _suits(self) -> bool:
        return multigrid_suits(self.P_pi)

    @cached_property
    def factorises(self) -> bool:
        """Whether LU is affordable."""
        S = self.P_pi.shape[0]
        most = float(_LU_WORK / S) ** 0.5
        return S <= _LU_STATES and not _spreads(self.P_pi, most) and _bandwidth(self.P_pi) <= most

    def _solve(self, b: FloatArray, rtol: float, *, transposed: bool) -> FloatArray:
        if self.gamma == 0.0:
            return b.copy()
        S = self.P_pi.shape[0]
        if S <= _DENSE_STATES:
            return lu_solve(self._dense, b, trans=0 if transposed else 1, check_finite=False)
        if self.factorises or "_sparse" in self.__dict__:
            return self._sparse.solve(b, trans="N" if transposed else "T")
        if S <= _LU_STATES:
            # Columns of P_pi are rows of its transpose: no copy.
            apply = self.P_pi.T.__matmul__ if transposed else self.P_pi.__matmul__
            x, reached = refined(apply, self.gamma, b, rtol, _PASSES, _STEPS)
        else:
            x, reached = self._iterate(b, rtol, transposed=transposed)
        if reached:
            return x
        if S <= _HOPELESS_STATES:
            return self._sparse.solve(b, trans="N" if transposed else "T")
        raise _stalled(x, self.gamma)

    def _iterate(self, b: FloatArray, rtol: float, *, transposed: bool) -> tuple[FloatArray, bool]:
        """Plain steps as long as they are few, then steps behind a cycle of multigrid where that suits."""
        M = self._transposed if transposed else self.P_pi
        apply = product(M)
        x, rest = np.zeros(b.size), b
        if self.plain_helps:
            x, reached = refined(apply, self.gamma, b, rtol, _PASSES, _PLAIN_STEPS)
            if reached:
                return x, True
            # What was gained is kept: the rest is a system of its own, with a smaller right side.
            rest = b - x + self.gamma * apply(x)
            self.plain_helps = largest(rest) < 0.5 * largest(b)
        inverse = None
        if self._suits and not transposed:
            if self.multigrid is not None:
                again = self.multigrid.inverse
                more, reached = refined(apply, self.gamma, rest, rtol * ratio(b, rest), 1, _EARLIER_STEPS, again)
                x = x + more
                if reached:
                    return x, True
                rest = b - x + self.gamma * apply(x)
                self.multigrid = again = None  # gigabytes at ten million states
            self.multigrid = Multigrid(self.P_pi, self.gamma)
            inverse = self.multigrid.inverse
        elif self._suits:
            inverse = self._multigrid_transposed.inverse
        more, reached = refined(apply, self.gamma, rest, rtol * ratio(b, rest), _PASSES, _STEPS, inverse)
        return x + more, reached


@dataclass(frozen=True, eq=False)
class FreeResolvent:
    """(I - gamma P_pi)^-1 of a matrix-free MDP: products with the kernel, weighted by the policy [S, A]."""

    mdp: MatrixFree
    pi: FloatArray

    def solve(self, r: FloatArray, rtol: float = 0.0) -> FloatArray:
        """V [S] with (I - gamma P_pi) V = r, to rounding or to a residual of `rtol * max|r|`."""
        return self._solve(lambda V: np.einsum("sa,sa->s", self.pi, self.mdp.expect(V)), r, rtol)

    def solve_transposed(self, p: FloatArray, rtol: float = 0.0) -> FloatArray:
        """d [S] with (I - gamma P_pi') d = p, to rounding or to a residual of `rtol * max|p|`."""
        # A copy, as steps are made in place: `flow` may return one array again and again.
        return self._solve(lambda d: np.array(self.mdp.flow(self.pi * d[:, None]), dtype=np.float64), p, rtol)

    def _solve(self, apply: Product, b: FloatArray, rtol: float) -> FloatArray:
        x, reached = refined(apply, self.mdp.gamma, b, rtol, _PASSES, _STEPS)
        if not reached:
            raise _stalled(x, self.mdp.gamma)
        return x


def resolvent(mdp: AnyMDP, pi: FloatArray) -> Resolvent | FreeResolvent:
    """The resolvent of a policy [S, A] that has been checked already."""
    if isinstance(mdp, MatrixFree):
        return FreeResolvent(mdp, pi)
    return Resolvent((policy_matrix if mdp.S <= _LU_STATES else quick_matrix)(mdp, pi), mdp.gamma)


def solve_policy(mdp: AnyMDP, pi: FloatArray, r: FloatArray) -> FloatArray:
    """V [S] with (I - gamma P_pi) V = r: the value of policy `pi` [S, A] when state s costs `r[s]`.

    Raises `Stalled` where no iterative method gets there and the problem is too large to factorise.
    """
    pi, r = checks.policy(mdp, pi), checks.state_vector(mdp, r, "r")
    return resolvent(mdp, pi).solve(r)


def solve_visits(mdp: AnyMDP, pi: FloatArray) -> FloatArray:
    """d [S] with d = p0 + gamma P_pi' d: discounted state visits of `pi` [S, A]; they sum to 1/(1-gamma).

    Raises `Stalled` as `solve_policy` does.
    """
    return resolvent(mdp, checks.policy(mdp, pi)).solve_transposed(mdp.p0).clip(min=0.0)


def krylov(M: csr_array, gamma: float, b: FloatArray, rtol: float = 0.0) -> FloatArray | None:
    """x [S] with x - gamma M x = b to a residual of `rtol * max|b|` or to rounding; None where it stalls before."""
    x, reached = refined(M.__matmul__, gamma, b, rtol, _PASSES, _STEPS)
    return x if reached else None


def _stalled(x: FloatArray, gamma: float) -> Stalled:
    return Stalled(
        f"the linear system of a policy on {x.size} states at gamma {gamma:g} stalled. Likely causes: (a) a policy "
        f"that wanders, so that nearly 1/(1-gamma) = {1.0 / (1.0 - gamma):.3g} steps matter; (b) states that hardly "
        f"exchange mass; (c) a discount closer to 1 than 64-bit numbers can resolve",
        x,
    )


def _spreads(M: csr_array, most: float) -> bool:
    """Whether a few rows show that no ordering of M has a half bandwidth of `most`: k steps then reach 2 k `most`.

    On a garnet three steps lead to thousands, and the ordering would take as long as the solve that it rules out.
    """
    seen = np.zeros(M.shape[0], dtype=bool)
    edge = np.array([M.shape[0] // 2])
    for k in range(1, 7):
        seen[edge] = True
        edge = M[edge].indices
        edge = np.unique(edge[~seen[edge]])
        if int(seen.sum()) + edge.size - 1 > 2 * k * most:
            return True
    return False


def _bandwidth(M: csr_array) -> int:
    """Half bandwidth of the pattern of M + M' in the reverse Cuthill-McKee ordering."""
    pattern = csr_array(M + M.T)
    position = np.empty(M.shape[0], dtype=np.int64)
    position[reverse_cuthill_mckee(pattern, symmetric_mode=True)] = np.arange(M.shape[0])
    entries = pattern.tocoo()
    return int(np.abs(position[entries.row] - position[entries.col]).max(initial=0))
