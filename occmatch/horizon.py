"""Finite horizons by the lift to pairs (s, t).

A problem over T steps is an ordinary MDP on the S * T states (s, t), numbered t * S + s, and one absorbing state at the
end, numbered S * T: its stationary policies are the time-dependent policies of the original.  The discount stays; an
undiscounted objective is had from costs divided by gamma^t, since rho(s, t, a) = gamma^t Pr(s_t = s, a_t = a).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.mdp import MDP


def finite_horizon(mdp: MDP, T: int) -> MDP:
    """The lift of `mdp` to T steps: S * T + 1 states, (s, t) at t * S + s, the end at S * T."""
    checks.explicit(mdp)
    T = checks.count(T, "T")
    S, A = mdp.shape
    step = mdp.P.tocoo()
    time = np.arange(T - 1)[:, None]
    ending = np.arange((T - 1) * S * A, (T * S + 1) * A)
    rows = np.concatenate([(step.row + time * S * A).reshape(-1), ending])
    to = np.concatenate([(step.col + (time + 1) * S).reshape(-1), np.full(ending.size, T * S)])
    weights = np.concatenate([np.tile(step.data, T - 1), np.ones(ending.size)])
    P = csr_array((weights, (rows, to)), shape=((T * S + 1) * A, T * S + 1))
    return MDP(P, np.concatenate([mdp.p0, np.zeros(T * S + 1 - S)]), mdp.gamma)


def horizon_cost(cost: ArrayLike, T: int) -> FloatArray:
    """`cost` [S, A], or one for each step [T, S, A], as the cost [S * T + 1, A] of the lift; the end costs nothing."""
    T = checks.count(T, "T")
    array = checks.real_array(cost, "cost")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[0] != T):
        raise ValueError(f"cost must have shape (S, A) or ({T}, S, A), but has shape {array.shape}")
    steps = np.broadcast_to(array, (T, *array.shape[-2:]))
    return np.vstack([steps.reshape(-1, array.shape[-1]), np.zeros((1, array.shape[-1]))])
