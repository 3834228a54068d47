"""One Newton step of entropy-regularised occupancy matching, in quantities that no state's rarity can spoil.

The objective f(rho) = -lam Hbar(rho) + sum psi*(rho(s, a)) has in rho the Hessian

    lam (diag(1 / rho_s) - 1 1' / d_s) + diag(h)       block by block of states, h = psi*'' >= 0.

A step dx that keeps the flow equations is written relative to the measure, dx = rho (u + e), with u(s, a) the change of
log pi(a|s) and e(s) = dd(s) / d(s) that of the visits. With kappa = rho h, the multipliers V + dV of the flow and
the residual G(s, a) = lam log pi + c + gamma (P V) - V of stationarity, the optimality conditions are

    u = (dV - gamma P dV - G - kappa e) / (lam + kappa)
    sum_a pi u = 0                                                  [normalisation]
    d (sum_a pi (u + e)) - gamma P' rho (u + e) = 0                 [flow]

that is 2 S equations for (dV, e). Nothing is divided by rho: where h = 0 the first set is policy evaluation, so that
the step is soft policy iteration with V <- V + dV, and h > 0 damps it. Eliminating e instead gives the Schur complement
of the flow constraints, S x S and positive definite, which is singular to working precision as soon as some states are
free of psi* (an expert that never visits them) and others are not; the 2 S system is not.

Solved by GMRES, preconditioned in one of two ways. Cheap: the 2 x 2 blocks of each state, inverted. Where LU is cheap:
with w = pi lam / (lam + kappa), k1 = sum_a w and T = I - gamma P_{w / k1}, both sets read, but for the covariance over
actions of w / k1 that the second leaves out,

    k1 (T dV / lam) - k e = n,        D^-1 T' D k1 (T dV / lam + e) = f,          k = 1 - k1,

which two triangular solves with T and two with T' invert. Where factors take long, those of the policy itself, which
its visits needed, stand in for T; new ones are made where that takes too many products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
from scipy.linalg import lu_factor, lu_solve
from scipy.sparse import block_array, csc_array, csr_array, diags_array
from scipy.sparse.linalg import SuperLU, splu

from occmatch.checks import FloatArray
from occmatch.matching_krylov import gmres
from occmatch.matching_linear import Linear

# Up to this many states the 2 S system itself is factorised, dense: a few milliseconds, and as accurate as it gets.
_FEW_STATES = 100

# Beyond so many states the factors of the 2 S system fill memory: at random next states soon, on narrow graphs late.
# What GMRES reached is then the step, which is a rough one and still one of descent.
_FILL_STATES, _FILL_NARROW = 1_000, 50_000

# Vectors that GMRES keeps where it is all there is; close to the boundary of a box it takes hundreds.
_LONG_RESTART = 200

# Products with the system, each behind its preconditioner: before factors of its own are made, and in all.
_KEPT_PRODUCTS, _PRODUCTS = 80, 1_500


@dataclass(frozen=True, eq=False)
class Newton:
    """The linear system of one step at policy `pi` [S, A], visits `d` [S] > 0 and curvature `kappa` [S, A] >= 0.

    Unknowns are scaled to be of order one, (k1 dV / lam, e).
    """

    linear: Linear
    pi: FloatArray
    d: FloatArray
    kappa: FloatArray
    lam: float
    weight: FloatArray = field(init=False, repr=False)
    k: FloatArray = field(init=False, repr=False)
    k1: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        total = self.lam + self.kappa
        weight = self.pi * (self.lam / total)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "k1", np.maximum(weight.sum(axis=1), 1e-200))
        object.__setattr__(self, "k", (self.pi * (self.kappa / total)).sum(axis=1))

    def solve(self, G: FloatArray, rtol: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(dV [S], e [S], u [S, A]) for the residual G [S, A] of stationarity, to a residual of `rtol`."""
        S, direct = self.linear.mdp.S, self.linear.direct
        z = self.weight * (G / self.lam)
        b = self._equations(z.sum(axis=1), z)
        x, left = np.zeros(2 * S), np.inf
        if S > _FEW_STATES and direct and self.linear.kept:
            x, left = self._gmres(self._narrow(self.linear.kept[0]), b, x, rtol, _KEPT_PRODUCTS)
        if S > _FEW_STATES and not left <= 10 * rtol:
            precondition = self._narrow() if direct else self._blocks
            x, left = self._gmres(precondition, b, x, rtol, _PRODUCTS)
        if not left <= 10 * rtol:
            if S <= (_FILL_NARROW if direct else _FILL_STATES):
                x = self._direct(b)
            elif not direct:
                x, _ = self._gmres(self._blocks, b, x, rtol, _PRODUCTS, _LONG_RESTART)
        dV, e = x[:S] * (self.lam / self.k1), x[S:]
        advantage = dV[:, None] - self.linear.expect(dV)
        u = (advantage - G - self.kappa * e[:, None]) / (self.lam + self.kappa)
        return dV, e, u - (self.pi * u).sum(axis=1, keepdims=True)

    def _gmres(
        self,
        precondition: Callable[[FloatArray], FloatArray],
        b: FloatArray,
        x: FloatArray,
        rtol: float,
        most: int,
        restart: int = 50,
    ) -> tuple[FloatArray, float]:
        """(x, residual relative to the right side), both after preconditioning, by at most so many products."""
        right = precondition(b)
        x, left = gmres(lambda x: precondition(self._matvec(x)), right, x, rtol=rtol, max_matvecs=most, restart=restart)
        return x, left / max(float(np.linalg.norm(right)), np.finfo(np.float64).tiny)

    def _matvec(self, x: FloatArray) -> FloatArray:
        S = self.linear.mdp.S
        y, e = x[:S] / self.k1, x[S:]
        expected = self.linear.expect(y)
        normal = x[:S] - (self.weight * expected).sum(axis=1) - self.k * e
        return self._equations(normal, self.weight * ((y + e)[:, None] - expected))

    def _equations(self, normal: FloatArray, z: FloatArray) -> FloatArray:
        """Normalisation, and flow as d^-1 (d sum_a z - gamma P' d z), where z = pi (u + e)."""
        flow = z.sum(axis=1) - self.linear.flow(self.d[:, None] * z) / self.d
        return np.concatenate([normal, flow])

    def _blocks(self, b: FloatArray) -> FloatArray:
        """The inverse of [[1, -k], [1, k1]] in each state: what is left without transitions."""
        normal, flow = b[: self.linear.mdp.S], b[self.linear.mdp.S :]
        return np.concatenate([self.k1 * normal + self.k * flow, flow - normal])

    def _narrow(self, T: SuperLU | None = None) -> Callable[[FloatArray], FloatArray]:
        """The inverse of the two sets without the covariance over actions, through LU of T or of something near it."""
        S = self.linear.mdp.S
        if T is None:
            T = self.linear.factor(self.weight / self.k1[:, None])

        def apply(b: FloatArray) -> FloatArray:
            normal, flow = b[:S], b[S:]
            both = T.solve(self.d * flow, trans="T") / self.d  # k1 (T dV / lam + e)
            e = both - normal
            return np.concatenate([self.k1 * T.solve(both / self.k1 - e), e])

        return apply

    def _direct(self, b: FloatArray) -> FloatArray:
        """The solution by LU, refined once on the residual of the matrix-free product."""
        x = self._factors(b)
        return x + self._factors(b - self._matvec(x))

    @cached_property
    def _factors(self) -> Callable[[FloatArray], FloatArray]:
        """The inverse of the equations (normalisation, flow) for the unknowns (k1 dV / lam, e), dense or sparse."""
        S = self.linear.mdp.S
        if S <= _FEW_STATES:
            evaluate = self.linear.dense  # V -> V - gamma P V, [S, A, S]
            onto = evaluate / self.k1  # in the scaled unknown
            carry = (self.d[:, None] * self.weight)[:, :, None] * evaluate / self.d
            top = np.einsum("sa,sat->st", self.weight, onto)
            flow = carry.reshape(-1, S).T @ onto.reshape(-1, S)
            spread = carry.sum(axis=1).T
            return partial(lu_solve, lu_factor(np.block([[top, -np.diag(self.k)], [flow, spread]])))
        mdp, pairs = self.linear.mdp, np.arange(S * self.linear.mdp.A)
        starts = np.arange(0, pairs.size + 1, mdp.A)
        spread = csr_array((np.ones(pairs.size), pairs, starts), shape=(S, pairs.size)).T
        evaluate = spread - mdp.gamma * mdp.P
        onto = evaluate @ diags_array(1.0 / self.k1)
        collect = csr_array((self.weight.reshape(-1), pairs, starts), shape=(S, pairs.size))
        mass = diags_array((self.d[:, None] * self.weight).reshape(-1))
        carry = diags_array(1.0 / self.d) @ evaluate.T @ mass
        return splu(
            csc_array(block_array([[collect @ onto, diags_array(-self.k)], [carry @ onto, carry @ spread]]))
        ).solve
