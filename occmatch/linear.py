"""Linear solves with a fixed policy: the resolvent (I - gamma P_pi)^-1 and its transpose.

With P_pi(s, s') = sum_a pi(a|s) P(s'|s, a), the value of a policy under a reward (or cost) r on states and its
discounted state visits solve

    (I - gamma P_pi) V = r            (I - gamma P_pi') d = p0.

Two methods, both answering to the same residual.  I - gamma P_pi is a diagonally dominant M-matrix, so LU without
pivoting is stable and, for right sides >= 0, adds only numbers of one sign: d is nonnegative, exactly zero on states
that are never reached, and accurate in every entry however small.  Above `LU_STATES` states fill-in may be dense, and
BiCGSTAB restarted on its own residual (iterative refinement) is tried first; where it stalls LU has the last word.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array, eye_array
from scipy.sparse.linalg import LinearOperator, SuperLU, bicgstab, gmres, splu

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.mdp import MDP

# Measured on garnets (dense fill-in) and gridworlds (little): below it LU costs at most tens of milliseconds.
LU_STATES = 1_000

# A matrix-vector product with rows of n entries rounds by about n units in the last place of its largest term.
_ROUNDING = 8 * np.finfo(np.float64).eps


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
    def _lu(self) -> SuperLU:
        matrix = (eye_array(self.P_pi.shape[0]) - self.gamma * self.P_pi).tocsc()
        return splu(
            matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )

    def _solve(self, b: FloatArray, rtol: float, *, transposed: bool) -> FloatArray:
        if self.gamma == 0.0:
            return b.copy()
        if self.P_pi.shape[0] > LU_STATES and "_lu" not in self.__dict__:
            x = _krylov(self.P_pi.T.tocsr() if transposed else self.P_pi, self.gamma, b, rtol)
            if x is not None:
                return x
        return self._lu.solve(b, trans="T" if transposed else "N")


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
    """d [S] with d = p0 + gamma P_pi' d: discounted state visits of policy `pi` [S, A]; they sum to 1/(1-gamma)."""
    return resolvent(mdp, checks.policy(mdp, pi)).solve_transposed(mdp.p0).clip(min=0.0)


def _krylov(M: csr_array, gamma: float, b: FloatArray, rtol: float) -> FloatArray | None:
    """x with x - gamma M x = b to the wanted residual, or None where refinement stalls before it."""
    S = b.size
    operator = LinearOperator((S, S), matvec=lambda x: x - gamma * (M @ x), dtype=np.float64)
    x, residual, before = np.zeros(S), b, np.inf
    for method in (bicgstab, bicgstab, bicgstab, gmres):
        size = float(np.abs(residual).max())
        if size <= max(rtol * float(np.abs(b).max()), _ROUNDING * float(np.abs(x).max())):
            return x
        if size > 0.5 * before:
            return None
        before = size
        step, _ = method(operator, residual, rtol=max(rtol / 4, 1e-9), atol=0.0, maxiter=500)
        if not np.isfinite(step).all():
            return None
        x = x + step
        residual = b - operator.matvec(x)
    size = float(np.abs(residual).max())
    target = max(rtol * float(np.abs(b).max()), _ROUNDING * float(np.abs(x).max()))
    return x if size <= target else None
