"""Generalised advantage estimation (Schulman et al. 2016), with termination and truncation apart.

    delta_t = r_t + gamma * V(s_{t+1}) - V(s_t)
    A_t     = delta_t + gamma * lam * (1 - ended_t) * A_{t+1}

V(s_{t+1}) is the value of the true successor: a truncated episode is bootstrapped from it, and a terminated one takes
what the caller says the end is worth (0, or the value of the absorbing state).

Where another policy b collected the transitions, w = pi(a|s) / b(a|s) cuts the trace (V-trace, Espeholt et al. 2018):

    A_t     = delta_t + gamma * lam * (1 - ended_t) * min(1, w_{t+1}) * A_{t+1}
"""

import numpy as np


def gae(
    rewards: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    ended: np.ndarray,
    gamma: float,
    lam: float,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Advantages [T, E] from rewards, V(s_t), V(s_{t+1}) and ended = terminated or truncated, and w, all [T, E].

    The last row of a batch is cut like a truncation, its successor's value standing for the rest.
    """
    delta = rewards + gamma * next_values - values
    advantages = np.empty_like(delta)
    carry = np.zeros(delta.shape[1:])
    for t in range(len(delta) - 1, -1, -1):
        carry = delta[t] + gamma * lam * np.where(ended[t], 0.0, carry)
        advantages[t] = carry
        if weights is not None:
            carry = np.minimum(weights[t], 1.0) * carry
    return advantages
