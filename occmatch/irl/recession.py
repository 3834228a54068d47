"""Directions of costs along which psi is zero: does the dual rise along them for ever, or reach its limit only there?

With costs c = F w that psi does not see (features of a constant psi, constants on the components of a metric), a
direction (w, V) keeps every dual point feasible where  slack = c + gamma P V - V >= 0.  Two linear programs over such
directions:

    p0.V - <rho_E, c> > 0 somewhere                       =>  the dual is unbounded
    else, slack(s, a) > 0 with p0.V - <rho_E, c> = 0      =>  every matching rho vanishes at (s, a)

The second says on which face of D the matching measures lie (strict complementarity of linear programs).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import OptimizeResult, linprog

from occmatch.candidate import Unbounded
from occmatch.irl.dual import Array
from occmatch.mdp import MDP
from occmatch.occupancy import flow_residual


def recession(mdp: MDP, rho_E: Array, basis: Array) -> tuple[Array, Array] | Unbounded:
    """Pairs [S, A] that may carry mass, and a ray of costs [S, A] that rules out the others; or the unbounded ray.

    `basis` [S*A, k] spans the costs that psi does not see.
    """
    S, A = mdp.shape
    head = sparse.csr_array((np.ones(S * A), (np.arange(S * A), np.arange(S * A) // A)), shape=(S * A, S))
    scale = np.abs(basis).max(axis=0)
    columns = basis / np.where(scale > 0, scale, 1.0)
    # slack = c + gamma P V - V as a function of (w, V)
    slack = sparse.hstack([sparse.csr_array(columns), mdp.gamma * mdp.P - head]).tocsr()
    gain = np.concatenate([-columns.T @ rho_E.ravel(), mdp.p0])
    size = float(np.abs(columns).max() * rho_E.sum() + 1)
    k = columns.shape[1]

    def split(x: Array) -> tuple[Array, Array]:
        return (columns @ x[:k]).reshape(S, A), x[k : k + S]

    rise = _linprog(-gain / size, A_ub=sparse.vstack([-slack, gain[None] / size]), b_ub=np.append(np.zeros(S * A), 1.0))
    if -rise.fun > 0.5:
        ray, ray_V = split(rise.x)
        message = (
            "no occupancy measure of this MDP has the expert's feature expectations. Likely causes: (a) rho_E was "
            "estimated from finite data; (b) it is normalised to sum 1 instead of 1/(1-gamma); (c) features that are "
            "constant on some states fix a mass that rho_E does not have"
        )
        return Unbounded(ray, ray_V, float(gain @ rise.x), flow_residual(mdp, rho_E), message)
    count = sparse.eye_array(S * A)
    spread = _linprog(
        np.concatenate([np.zeros(k + S), -np.ones(S * A)]),
        A_ub=sparse.vstack(
            [sparse.hstack([-slack, count]), sparse.csr_array(np.append(-gain / size, np.zeros(S * A))[None])]
        ),
        b_ub=np.zeros(S * A + 1),
        bounds=[(None, None)] * (k + S) + [(0, 1)] * (S * A),
    )
    return (spread.x[k + S :] < 0.5).reshape(S, A), split(spread.x)[0]


def _linprog(objective: Array, A_ub: sparse.sparray, b_ub: Array, bounds: object = (None, None)) -> OptimizeResult:
    result = linprog(objective, A_ub=sparse.csr_array(A_ub), b_ub=b_ub, bounds=bounds, method="highs")
    if result.status != 0:
        raise ArithmeticError(f"HiGHS did not solve the recession program: {result.message}")
    return result
