"""min 1/2 |rho - x|^2 over rho >= 0, M rho = p0: the quadratic program behind `project_l2`.

With multipliers y of the flow equations and z of rho >= 0 the optimum is where

    rho - x - M' y = z >= 0,    rho >= 0,    rho z = 0,    M rho = p0.

A primal-dual interior method (Mehrotra 1992) finds rho to about seven digits whatever the scale of x.  From there the
dual, whose optimum has rho = max(x + M' y, 0), is piecewise quadratic, and Newton's method on it ends exactly: as soon
as it knows which entries are positive its next step is the solution.

Both keep x + M' y and not y, for x and x + M' y have the same projection: where rho > 0 the sum has the size of rho,
however large x and M' y are.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from occmatch.checks import FloatArray
from occmatch.normal_equations import solve_normal

# Interior methods take 10 to 40 steps and the last phase a handful; hundreds mean that rounding has taken over.
_MAX_STEPS = 200

# Complementarity relative to the squared size of rho at which the active entries are known.
_GAP_RTOL = 1e-14

# Flow residual relative to the mass of rho beyond which an answer is refused; usual is 1e-15.
_FLOW_RTOL = 1e-9


def least_squares(M: csr_array, p0: FloatArray, x: FloatArray, rho: FloatArray) -> FloatArray:
    """argmin 1/2 |rho - x|^2 over M rho = p0, rho >= 0 [n], from a feasible start `rho` > 0 [n]."""
    mass = float(rho.sum())
    x = _interior(M, p0, x, rho)
    best, least = rho, np.inf
    for _ in range(_MAX_STEPS):
        rho = np.maximum(x, 0.0)
        residual = p0 - M @ rho
        size = float(np.abs(residual).sum())
        stalled = size > 0.5 * least
        if size < least:
            best, least = rho, size
        if least == 0.0 or (stalled and least <= _FLOW_RTOL * mass):
            return best
        # Where no entry of a state is active the system is singular; this damping vanishes with the residual.
        x = x + M.T @ solve_normal(M, (rho > 0.0).astype(np.float64), residual, damping=min(1.0, size / mass))
    raise RuntimeError(
        f"project_l2 stopped after {_MAX_STEPS} steps with a flow residual of {least:.3g}. Likely cause: gamma "
        f"is so near 1 that the flow equations are singular to working precision"
    )


def _interior(M: csr_array, p0: FloatArray, x: FloatArray, rho: FloatArray) -> FloatArray:
    """x + M' y, y the multipliers of M rho = p0, by Mehrotra's predictor and corrector from rho > 0."""
    z = np.full(x.size, max(float(np.abs(rho - x).max()), 1e-3 * float(rho.max())))
    enough = _GAP_RTOL * float(rho @ rho)
    for _ in range(_MAX_STEPS):
        gap = float(rho @ z)
        if gap <= enough:
            break
        residuals = x + z - rho, p0 - M @ rho
        drho, dz, _ = _direction(M, rho, z, *residuals, -rho * z)
        reach = min(_to_boundary(rho, drho), _to_boundary(z, dz))
        after = float((rho + reach * drho) @ (z + reach * dz))
        centred = after * (after / gap) ** 2 / x.size
        drho, dz, dx = _direction(M, rho, z, *residuals, centred - rho * z - drho * dz)
        reach = 0.995 * min(_to_boundary(rho, drho), _to_boundary(z, dz))
        rho, z, x = rho + reach * drho, z + reach * dz, x + reach * dx
    return x


def _direction(
    M: csr_array,
    rho: FloatArray,
    z: FloatArray,
    dual: FloatArray,
    primal: FloatArray,
    complementary: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(drho, dz, dx), dx = M' dy: drho - dx - dz = dual,  M drho = primal,  z drho + rho dz = complementary."""
    weights, pull = rho / (rho + z), dual + complementary / rho
    dx = M.T @ solve_normal(M, weights, primal - M @ (weights * pull))
    drho = weights * (dx + pull)
    return drho, (complementary - z * drho) / rho, dx


def _to_boundary(v: FloatArray, dv: FloatArray) -> float:
    """The largest step t <= 1 with v + t dv >= 0, for v > 0."""
    return 1.0 / max(float((-dv / v).max()), 1.0)
