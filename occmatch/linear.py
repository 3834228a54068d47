"""Linear solves with a fixed policy: the resolvent (I - gamma P_pi)^-1 and its transpose.

With P_pi(s, s') = sum_a pi(a|s) P(s'|s, a), the value of a policy under a cost r on states and its discounted
state visits solve

    (I - gamma P_pi) V = r            (I - gamma P_pi') d = p0.

I - gamma P_pi' is an M-matrix and diagonally dominant by columns.  Elimination then never exchanges rows, is stable,
and for a right side >= 0 adds only numbers of one sign: d is nonnegative, exactly zero on states that are never
reached, and accurate in every entry however small.  So it is factorised wherever that is affordable: as a dense
matrix while it is small, then as a sparse one if fill-in stays low, which the bandwidth after a reverse
Cuthill-McKee ordering tells in advance (gridworlds and chains: yes; large garnets: no).  Elsewhere BiCGSTAB is
restarted on its own residual, which is iterative refinement, until the residual is down to rounding; if it
breaks down GMRES takes a turn, and if that stalls too the sparse factors have the last word.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import lu_factor, lu_solve
from scipy.sparse import csr_array, eye_array
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import LinearOperator, SuperLU, bicgstab, gmres, splu

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.mdp import MDP

# Up to this many states LAPACK on a dense matrix beats the overhead of sparse ones: at most 1 ms.
_DENSE_STATES = 200

# S * bandwidth^2 bounds the multiplications of LU; at 4e8 SuperLU takes about 0.1 s and BiCGSTAB about as long.
_LU_WORK = 4e8

# Beyond this many states even computing the ordering costs more than a few steps of BiCGSTAB.
_LU_STATES = 20_000

# A row of n terms rounds by at most n units in the last place of the largest; eight covers what sums average out to.
_ROUNDING = 8 * np.finfo(np.float64).eps

# Passes of refinement, each gaining up to nine digits, and matrix products (two a step) that one pass may take.
_PASSES, _STEPS = 4, 500


@dataclass(frozen=True, eq=False)
class Resolvent:
    """(I - gamma P_pi)^-1 for one policy, factorised at most once.  `P_pi` is CSR [S, S]."""

    P_pi: csr_array
    gamma: float

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
    def factorises(self) -> bool:
        """Whether LU is affordable."""
        S = self.P_pi.shape[0]
        return S <= _LU_STATES and S * float(_bandwidth(self.P_pi)) ** 2 <= _LU_WORK

    def _solve(self, b: FloatArray, rtol: float, *, transposed: bool) -> FloatArray:
        if self.gamma == 0.0:
            return b.copy()
        if self.P_pi.shape[0] <= _DENSE_STATES:
            return lu_solve(self._dense, b, trans=0 if transposed else 1, check_finite=False)
        if not self.factorises and "_sparse" not in self.__dict__:
            x = krylov(self.P_pi.T.tocsr() if transposed else self.P_pi, self.gamma, b, rtol)
            if x is not None:
                return x
        return self._sparse.solve(b, trans="N" if transposed else "T")


def resolvent(mdp: MDP, pi: FloatArray) -> Resolvent:
    """The resolvent of a policy [S, A] that has been checked already."""
    return Resolvent(policy_matrix(mdp, pi), mdp.gamma)


def policy_matrix(mdp: MDP, pi: FloatArray) -> csr_array:
    """P_pi(s, s') = sum_a pi(a|s) P(s'|s, a) as CSR [S, S], without explicit zeros."""
    S, A = mdp.shape
    choose = csr_array((pi.reshape(-1), np.arange(S * A), np.arange(0, S * A + 1, A)), shape=(S, S * A))
    P_pi = csr_array(choose @ mdp.P)
    P_pi.eliminate_zeros()
    return P_pi


def solve_policy(mdp: MDP, pi: FloatArray, r: FloatArray) -> FloatArray:
    """V [S] with (I - gamma P_pi) V = r: the value of policy `pi` [S, A] when state s costs `r[s]`."""
    pi, r = checks.policy(mdp, pi), checks.state_vector(mdp, r, "r")
    return resolvent(mdp, pi).solve(r)


def solve_visits(mdp: MDP, pi: FloatArray) -> FloatArray:
    """d [S] with d = p0 + gamma P_pi' d: discounted state visits of `pi` [S, A]; they sum to 1/(1-gamma)."""
    return resolvent(mdp, checks.policy(mdp, pi)).solve_transposed(mdp.p0).clip(min=0.0)


def krylov(M: csr_array, gamma: float, b: FloatArray, rtol: float = 0.0) -> FloatArray | None:
    """x [S] with x - gamma M x = b to a residual of `rtol * max|b|` or to rounding; None where it stalls before."""

    def product(x: FloatArray) -> FloatArray:
        return x - gamma * (M @ x)

    operator = LinearOperator((b.size, b.size), matvec=product, dtype=np.float64)
    x, residual, before = np.zeros(b.size), b, np.inf
    for _ in range(_PASSES):
        size = _largest(residual)
        if size <= max(rtol * _largest(b), _ROUNDING * _largest(x)):
            return x
        if size > 0.1 * before:
            return None
        before = size
        step, broken = bicgstab(operator, residual, rtol=max(rtol / 4, 1e-9), atol=0.0, maxiter=_STEPS)
        if broken < 0 or not np.isfinite(step).all():
            step, _ = gmres(operator, residual, rtol=max(rtol / 4, 1e-9), atol=0.0, restart=50, maxiter=10)
        x = x + step
        residual = b - product(x)
    return x if _largest(residual) <= max(rtol * _largest(b), _ROUNDING * _largest(x)) else None


def _bandwidth(M: csr_array) -> int:
    """Half bandwidth of the pattern of M + M' in the reverse Cuthill-McKee ordering."""
    pattern = csr_array(M + M.T)
    position = np.empty(M.shape[0], dtype=np.int64)
    position[reverse_cuthill_mckee(pattern, symmetric_mode=True)] = np.arange(M.shape[0])
    entries = pattern.tocoo()
    return int(np.abs(position[entries.row] - position[entries.col]).max(initial=0))


def _largest(x: FloatArray) -> float:
    return float(np.abs(x).max())
