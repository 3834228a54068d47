"""What float64 may do to a duality gap: first-order bounds on the rounding of each part of a certificate.

A computed sum of n terms t_i differs from the exact one by at most n u sum |t_i|, u = 2^-53 (Higham 2002, section 3.1;
NumPy's pairwise summation does better, SciPy's sparse products do not), and every elementary function is taken to be
accurate to two units in the last place. Products of such errors, of order u^2, are left out: "to first order".
"""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

from occmatch.checks import FloatArray
from occmatch.mdp import MDP
from occmatch.regularisers import (
    DOMAIN_RTOL,
    Box,
    Constant,
    Expression,
    FDivergence,
    L2Ball,
    Lipschitz,
    Regulariser,
    Simplex,
    Surrogate,
)
from occmatch.regularisers.features import coordinates
from occmatch.regularisers.features import gaps as feature_gaps

UNIT = 0.5 * np.finfo(np.float64).eps

# Elementary operations that one summand goes through: log, a product or two, a ratio, each of at most two units.
_OPERATIONS = 8.0

SOLVED = (Expression, Lipschitz)
"""Regularisers whose psi or psi* a conic or linear solver computes."""

# Relative accuracy of psi and psi* where a conic or linear solver computes them (its tolerance, taken ten times).
_SOLVER_RTOL = 1e-9

# And what Clarabel's absolute tolerances add to that where psi* is small: 1e-11 of one and of the masses, ten times.
_SOLVER_ATOL = 1e-10


def primal_rounding(mdp: MDP, rho: FloatArray, pi: FloatArray, V: FloatArray, lam: float, slope: float = 0.0) -> float:
    """Error of -lam Hbar(rho), and of every linear functional of rho, because rho satisfies the flow only to rounding.

    rho + delta in D with the same policy has delta = -pi (I - gamma P_pi')^-1 r, r the flow residual; the objective
    moves by -<r, W> to first order, where W is the value of the policy, at the optimum V itself. At a kink of psi* it
    may move along another subgradient; with entries of at most `slope` that is slope |delta|_1 at most.
    """
    inflow = mdp.gamma * mdp.flow(rho)
    d = rho.sum(axis=1)
    residual = np.abs(d - mdp.p0 - inflow)
    terms = _row_terms(mdp, transposed=True) + mdp.A
    residual += UNIT * (terms + 2) * (d + mdp.p0 + inflow)
    entropy = lam * float(np.abs(xlogy(rho, pi)).sum())
    kink = slope * float(residual.sum()) / (1.0 - mdp.gamma)
    return float(residual @ np.abs(V)) + kink + UNIT * (_OPERATIONS + _depth(rho.size)) * entropy


def steepest(psi: Regulariser) -> float:
    """The largest entry of a subgradient of psi* where that has kinks, else 0."""
    if isinstance(psi, FDivergence):
        return 0.5 if psi.name == "tv" else 0.0
    if isinstance(psi, Box):
        return psi.bound
    if isinstance(psi, L2Ball):
        return psi.radius * (1.0 if psi.features is None else float(np.linalg.norm(psi.features, axis=2).max()))
    if isinstance(psi, Simplex):
        return 1.0 if psi.features is None else float(np.abs(psi.features).max())
    return 0.0


def psi_rounding(psi: Regulariser, cost: FloatArray, rho: FloatArray, rho_E: FloatArray, divergence: float) -> float:
    """Error of psi*(rho - rho_E) and of -<rho_E, c> - psi(c): a few units of the sums, or a solver's tolerance.

    Where psi* is the indicator of a point, an x off that point by rounding adds |<x, c>|; where it is that of a
    subspace, <x, f_k> = 0 for all k, an x off that by rounding adds sum_k |w_k <x, f_k>| for c = sum_k w_k f_k.
    """
    size = float(((rho + rho_E) * np.abs(cost)).sum()) + (abs(divergence) if np.isfinite(divergence) else 0.0)
    if isinstance(psi, Expression):
        return _SOLVER_RTOL * size + _SOLVER_ATOL * (1.0 + float((rho + rho_E).sum()))
    if isinstance(psi, Lipschitz):
        return _SOLVER_RTOL * size
    rounding = UNIT * (_OPERATIONS + _depth(rho.size)) * size
    if is_indicator(psi):
        w, gaps = coordinates(psi.features, cost)[0], feature_gaps(psi.features, rho - rho_E)
        rounding += float((np.abs(w) * np.abs(gaps)).sum())
    if psi.features is not None or isinstance(psi, Simplex):
        # A cost counts as a combination of features up to DOMAIN_RTOL; after repair only rounding is left of that.
        rounding += min(16 * UNIT * cost.size, DOMAIN_RTOL) * size
    return rounding


def is_indicator(psi: Regulariser) -> bool:
    """Whether psi* is the indicator of a point or a subspace, which rounding alone may miss."""
    return isinstance(psi, Constant) or (isinstance(psi, Surrogate) and psi.is_linear)


def dual_rounding(mdp: MDP, cost: FloatArray, V: FloatArray, lam: float) -> float:
    """Error of p0.V + min(T V - V) / (1 - gamma): a sum over next states, a log-sum-exp over actions, a difference."""
    size = np.abs(cost) + mdp.gamma * mdp.expect(np.abs(V))
    sweep = (_row_terms(mdp) + 4) * size.max(axis=1) + lam * (mdp.A + _OPERATIONS) + np.abs(V)
    share = float((mdp.p0 * np.abs(V)).sum())
    return UNIT * (float(sweep.max()) / (1.0 - mdp.gamma) + (_depth(mdp.S) + 2) * share)


def _row_terms(mdp: MDP, transposed: bool = False) -> int:
    """The most terms that one entry of P V (or of P' rho) sums."""
    counts = np.bincount(mdp.P.indices, minlength=mdp.S) if transposed else np.diff(mdp.P.indptr)
    return int(counts.max())


def _depth(n: int) -> float:
    """Rounding of NumPy's pairwise sum of n terms, in units of the absolute sum: blocks of 128, then a tree."""
    return 128.0 / 8.0 + np.log2(max(n, 2))
