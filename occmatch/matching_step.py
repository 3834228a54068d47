"""One Newton step of entropy-regularised occupancy matching, in quantities that no state's rarity can spoil.

The objective f(rho) = -lam Hbar(rho) + sum psi*(rho(s, a)) has in rho the Hessian

    lam (diag(1 / rho_s) - 1 1' / d_s) + diag(h)       block by block of states, h = psi*'' >= 0.

A step dx that keeps the flow equations is written relative to the measure, dx = rho (u + e), with u(s, a) the change of
log pi(a|s) and e(s) = dd(s) / d(s) that of the visits. With kappa = rho h, the multipliers V + dV of the flow and
the residual G(s, a) = lam log pi + c + gamma (P V) - V of stationarity, the optimality conditions are

    u = (dV - gamma P dV - G - kappa e) / (lam + kappa)
    sum_a pi u = 0                                                  [normalisation]
    d (sum_a pi (u + e)) - gamma P' rho (u + e) = 0                 [flow]

that is 2 S equations for (dV, e); `u` above is eliminated. Nothing is divided by rho: where h = 0 the first set is
policy evaluation, so that the step is soft policy iteration with V <- V + dV, and h > 0 damps it. Eliminating e instead
gives the Schur complement of the flow constraints, S x S and positive definite, which is singular to working precision
as soon as some states are free of psi* (an expert that never visits them) and others are not; the 2 S system is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import block_array, csc_array, csr_array, diags_array, eye_array
from scipy.sparse.linalg import splu

from occmatch.checks import FloatArray
from occmatch.matching_krylov import gmres
from occmatch.mdp import MDP

# Up to this many states one sparse LU of the 2 S system takes milliseconds whatever the fill-in; above, GMRES goes
# first.
LU_STATES = 200


@dataclass(frozen=True, eq=False)
class Newton:
    """The linear system of one step at policy `pi` [S, A], visits `d` [S] > 0 and curvature `kappa` [S, A] >= 0.

    Unknowns are scaled to be of order one, (k1 dV / lam, e), where k1 = sum_a pi lam / (lam + kappa).
    """

    mdp: MDP
    pi: FloatArray
    d: FloatArray
    kappa: FloatArray
    lam: float

    def __post_init__(self) -> None:
        free = self.lam / (self.lam + self.kappa)
        object.__setattr__(self, "free", free)
        object.__setattr__(self, "weight", self.pi * free)
        object.__setattr__(self, "k1", np.maximum(self.weight.sum(axis=1), 1e-200))
        object.__setattr__(self, "k", (self.pi * (self.kappa / (self.lam + self.kappa))).sum(axis=1))

    def solve(self, G: FloatArray, rtol: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(dV [S], e [S], u [S, A]) for the residual G [S, A] of stationarity."""
        b = self._rows((self.weight * (G / self.lam)).sum(axis=1), self.weight * (G / self.lam))
        x, left = None, np.inf
        size = float(np.linalg.norm(b))
        if self.mdp.S > LU_STATES:
            x, left = gmres(self._matvec, b, rtol=rtol)
        if not left <= 10 * rtol * size:
            x = self._direct(b)
        dV, e = x[: self.mdp.S] * (self.lam / self.k1), x[self.mdp.S :]
        advantage = dV[:, None] - self.mdp.gamma * self.mdp.expect(dV)
        u = (advantage - G - self.kappa * e[:, None]) / (self.lam + self.kappa)
        return dV, e, u - (self.pi * u).sum(axis=1, keepdims=True)

    def _matvec(self, x: FloatArray) -> FloatArray:
        y, e = x[: self.mdp.S] / self.k1, x[self.mdp.S :]
        expected = self.mdp.gamma * self.mdp.expect(y)
        normal = x[: self.mdp.S] - (self.weight * expected).sum(axis=1) - self.k * e
        return self._rows(normal, self.weight * ((y + e)[:, None] - expected))

    def _rows(self, normal: FloatArray, z: FloatArray) -> FloatArray:
        """Both sets of equations, with the 2 x 2 block of each state inverted: [[1, -k], [1, k1]]^-1."""
        inflow = self.mdp.gamma * self.mdp.flow(self.d[:, None] * z)
        flow = z.sum(axis=1) - inflow / self.d
        return np.concatenate([self.k1 * normal + self.k * flow, flow - normal])

    def _direct(self, b: FloatArray) -> FloatArray:
        """The solution by sparse LU, refined once on the residual of the matrix-free product."""
        factor = splu(self._matrix())
        x = factor.solve(self._unmix(b))
        return x + factor.solve(self._unmix(b - self._matvec(x)))

    def _unmix(self, b: FloatArray) -> FloatArray:
        """Undo the inversion of the blocks: from (k1 n + k f, f - n) back to (n, f)."""
        first, second = b[: self.mdp.S], b[self.mdp.S :]
        return np.concatenate([first - self.k * second, first + self.k1 * second])

    def _matrix(self) -> csc_array:
        """The equations (normalisation, flow) for the unknowns (k1 dV / lam, e)."""
        S, A = self.mdp.shape
        pairs, starts = np.arange(S * A), np.arange(0, S * A + 1, A)
        collect = csr_array((self.weight.reshape(-1), pairs, starts), shape=(S, S * A))
        spread = csr_array((np.ones(S * A), pairs, starts), shape=(S, S * A)).T
        evaluate = spread - self.mdp.gamma * self.mdp.P  # V -> V - gamma P V
        scale = diags_array(1.0 / self.k1)
        mass = diags_array((self.d[:, None] * self.weight).reshape(-1))
        flow = diags_array(1.0 / self.d) @ evaluate.T @ mass
        normal = eye_array(S) - self.mdp.gamma * (collect @ self.mdp.P) @ scale
        return csc_array(block_array([[normal, diags_array(-self.k)], [flow @ evaluate @ scale, flow @ spread]]))
