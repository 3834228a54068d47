"""Projections onto the polytope D of occupancy measures, in least squares and in relative entropy.

An occupancy measure estimated from data is generally outside D, and matching it exactly then has no solution.  With
M rho = p0 the flow equations, the nearest point of D solves

    project_l2   min 1/2 |rho - x|^2                          over rho >= 0, M rho = p0
    project_kl   min sum rho log(rho / x) - rho + x           over rho >= 0, M rho = p0.

Relative entropy goes by Newton steps in rho that stay on D, on its face where x allows mass: pairs with x = 0 carry
none, nor does any pair that cannot be reached, or not be left again for ever, without them.  Inside that face the
optimum has rho = x exp(M' y) > 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import logsumexp

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.graph import viable
from occmatch.least_squares import least_squares
from occmatch.mdp import MDP
from occmatch.normal_equations import solve_normal
from occmatch.occupancy import flow_matrix, occupancy, policy

# Newton takes 5 steps from a measure near D and some 150 where an entry of x is 1e-300; more means rounding.
_MAX_STEPS = 500

# Below this relative change of every entry Newton's method on relative entropy converges without a line search.
_PURE_NEWTON = 0.1

# An entry that ends at zero falls to 1/x beside a dual of size x: beyond this their quotient overflows.
_LARGEST = 1e150

# The least normal number stands for entries that fall below it: they would be zero, and their logarithm infinite.
_LEAST, _EPS = np.finfo(np.float64).tiny, np.finfo(np.float64).eps


def project_l2(mdp: MDP, x: ArrayLike) -> FloatArray:
    """The rho in D nearest to `x` [S, A] in least squares, up to a relative rounding of x; entries may have any sign.

    Raises ValueError for x that is not finite [S, A] or beyond 1e150 in size, and RuntimeError where gamma is so near 1
    that rounding keeps the iteration from D.
    """
    checks.explicit(mdp)
    x = checks.cost(mdp, x, "x")
    if np.abs(x).max() > _LARGEST:
        s, a = np.unravel_index(int(np.argmax(np.abs(x))), x.shape)
        raise ValueError(f"x[{s}, {a}] must be at most {_LARGEST:g} in size, but is {x[s, a]:g}")
    face, start = _face(mdp, np.ones(mdp.shape, dtype=bool))
    return _on_face(mdp, face, least_squares(*_flow_equations(mdp, face), x[face], start[face]))


def project_kl(mdp: MDP, x: ArrayLike) -> FloatArray:
    """The rho in D of least relative entropy sum rho log(rho / x) - rho + x to the measure `x` [S, A] >= 0.

    Zeros of x stay zeros, and a factor in x changes nothing.  Entries below 2e-308 are rounded up to it.
    Raises ValueError where x has negative entries, or where its zeros leave some initial state no way to go on for
    ever (then the relative entropy is infinite on all of D), and RuntimeError where rounding hides what is left to do:
    entries of x too far apart, gamma too near 1, or states that the answer gives less than 1e-308.
    """
    checks.explicit(mdp)
    x = checks.measure(mdp, x, "x")
    allowed = viable(mdp, x)
    lost = (mdp.p0 > 0.0) & ~allowed.any(axis=1)
    if lost.any():
        s = int(np.argmax(lost))
        raise ValueError(
            f"x must allow some action for ever from each initial state, but from state {s} (p0 = {mdp.p0[s]:g}) "
            f"all actions with x > 0 may end in a state where x is 0: no measure in D is absolutely continuous to x"
        )
    face, start = _face(mdp, allowed)
    return _on_face(mdp, face, _relative_entropy_newton(*_flow_equations(mdp, face), x[face], start[face]))


def _face(mdp: MDP, allowed: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], FloatArray]:
    """The pairs [S, A] that allowed actions can give mass, and an occupancy measure that is positive on all of them."""
    some = allowed.any(axis=1, keepdims=True)
    uniform = np.where(some, allowed, 1.0)
    rho = np.where(allowed, occupancy(mdp, uniform / uniform.sum(axis=1, keepdims=True)), 0.0)
    return rho > 0.0, rho


def _flow_equations(mdp: MDP, face: NDArray[np.bool_]) -> tuple[csr_array, FloatArray]:
    """M and p0 of the states and pairs of a face."""
    visited = face.any(axis=1)
    return flow_matrix(mdp)[visited][:, face.reshape(-1)], mdp.p0[visited]


def _on_face(mdp: MDP, face: NDArray[np.bool_], values: FloatArray) -> FloatArray:
    """rho [S, A] with `values` on the face; passing through the policy puts it on D to the last bit."""
    rho = np.zeros(mdp.shape)
    rho[face] = values
    return occupancy(mdp, policy(rho))


def _relative_entropy_newton(M: csr_array, p0: FloatArray, x: FloatArray, rho: FloatArray) -> FloatArray:
    """argmin sum rho log(rho / x) - rho over M rho = p0, rho > 0 [n], from a feasible rho > 0."""
    # The mass of rho is fixed, so that a factor in x changes nothing but how many digits of the gradient cancel.
    log_x = np.log(x)
    log_x += np.log(rho.sum()) - logsumexp(log_x)
    change, y = np.inf, np.zeros(p0.size)
    for _ in range(_MAX_STEPS):
        gradient = np.log(rho) - log_x
        # What y is off by is a part of what is solved for: small entries need more digits of M' y than one solve gives.
        y = y + solve_normal(M, rho, M @ (rho * (gradient - M.T @ y)) + p0 - M @ rho)
        relative = M.T @ y - gradient
        relative[(rho <= _LEAST) & (relative < 0.0)] = 0.0
        before, change = change, float(np.abs(relative).max())
        if 0.5 * before <= change <= _PURE_NEWTON and before <= _PURE_NEWTON:
            return rho
        rho = np.maximum(rho * (1.0 + _step_length(rho, log_x, gradient, relative) * relative), _LEAST)
    raise RuntimeError(
        f"project_kl stopped after {_MAX_STEPS} steps while entries still change by {100.0 * change:.3g} %. Likely "
        f"causes: (a) entries of x so far apart that rounding hides the smaller ones; (b) gamma so near 1 that the "
        f"flow equations are singular to working precision; (c) states to which the answer gives less than 1e-308"
    )


def _step_length(rho: FloatArray, log_x: FloatArray, gradient: FloatArray, relative: FloatArray) -> float:
    """How far to go along `rho * relative`: all the way near the optimum, else positive and with enough descent.

    The second derivative along the way, sum rho relative^2 / (1 + t relative), has at most doubled halfway to the
    boundary: up to there the objective falls, be it by less than its rounding, as where only entries that carry next
    to no mass still change.
    """
    if np.abs(relative).max() <= _PURE_NEWTON:
        return 1.0
    back = max(1.0, -float(relative.min()))
    far = 0.99 / max(0.99, -float(relative.min()))
    slope, terms = float((rho * gradient) @ relative), rho * (gradient - 1.0)
    rounding = 8.0 * _EPS * float(np.abs(terms).sum())
    ahead = rho * (1.0 + far * relative)
    if float((ahead * (np.log(ahead) - log_x - 1.0)).sum()) <= float(terms.sum()) + 1e-4 * far * slope + rounding:
        return far
    return 0.5 / back
