"""A tandem queueing network with admission and speed under control, uniformised to discrete time.

Jobs arrive at rate `arrival` and, where admitted, pass station 1 and then station 2, each with room for `n` jobs.  The
four actions are refuse or admit, times slow or fast service at station 1.  With all rates divided by their largest
sum (uniformisation, Lippman 1975; the model of Puterman 1994, section 11.5) one event happens a step: an arrival, a
service that ends, or nothing.  A job that finds station 2 full waits where it is.
"""

from __future__ import annotations

import numpy as np

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.examples_events import event_free, event_mdp
from occmatch.matrix_free import AnyMDP, MatrixFree
from occmatch.mdp import MDP, Layout

# Refuse or admit (columns of the layout point that way), slow or fast.
_ACTIONS = ((0, 0), (0, 1), (1, 0), (1, 1))


def tandem_queue(
    n: int, *, arrival: float = 0.8, slow: float = 0.6, fast: float = 1.2, second: float = 1.0, gamma: float = 0.99
) -> MDP:
    """Two stations with up to `n` jobs each: (n + 1)^2 states, jobs at station 1 times n + 1 plus jobs at station 2.

    Actions: refuse and slow, refuse and fast, admit and slow, admit and fast.  Starts empty.
    """
    to, weights, p0 = _network(n, arrival, slow, fast, second)
    cells = np.stack(np.divmod(np.arange(p0.size), n + 1), axis=1)
    layout = Layout(cells, _ACTIONS)
    return event_mdp(to, weights, p0, gamma, layout)


def tandem_queue_free(
    n: int, *, arrival: float = 0.8, slow: float = 0.6, fast: float = 1.2, second: float = 1.0, gamma: float = 0.99
) -> MatrixFree:
    """`tandem_queue` without a matrix and without a layout."""
    to, weights, p0 = _network(n, arrival, slow, fast, second)
    return event_free(to, weights, p0, gamma)


def tandem_queue_cost(mdp: AnyMDP, *, hold: float = 0.1, refuse: float = 2.0, fast: float = 0.5) -> FloatArray:
    """`hold` for each job in the network, `refuse` for turning arrivals away, `fast` for fast service [S, 4].

    A full station 1 turns arrivals away whatever the action.  Raises ValueError for an MDP of another shape than
    `tandem_queue` gives, and a cost that is not finite.
    """
    hold, refuse, fast = (checks.scalar(x, name) for x, name in ((hold, "hold"), (refuse, "refuse"), (fast, "fast")))
    n = max(round(checks.shape(mdp)[0] ** 0.5) - 1, 1)
    checks.made_by(mdp, ((n + 1) ** 2, 4), "((n + 1)^2, 4) as tandem_queue gives it")
    one, two = np.divmod(np.arange(mdp.S), n + 1)
    admit, quick = np.array(_ACTIONS, dtype=float).T
    away = (admit == 0.0) | (one == n)[:, None]
    return hold * (one + two)[:, None] + refuse * away + fast * quick


def _network(
    n: int, arrival: float, slow: float, fast: float, second: float
) -> tuple[np.ndarray, FloatArray, FloatArray]:
    """`to` [4, S] and `weights` [4, 4] of arrival, service at 1, service at 2 and nothing; p0 [S]."""
    n = checks.count(n, "n")
    rates = {"arrival": arrival, "slow": slow, "fast": fast, "second": second}
    arrival, slow, fast, second = (checks.lam(rate, name, positive=True) for name, rate in rates.items())
    if fast < slow:
        raise ValueError(f"fast must be at least slow = {slow:g}, but is {fast:g}")
    here = np.arange((n + 1) ** 2)
    one, two = np.divmod(here, n + 1)
    to = np.stack(
        [
            np.where(one < n, here + n + 1, here),
            np.where((one > 0) & (two < n), here - n, here),
            np.where(two > 0, here - 1, here),
            here,
        ]
    )
    total = arrival + fast + second
    weights = np.array([[arrival * admit, fast if quick else slow, second, 0.0] for admit, quick in _ACTIONS]) / total
    weights[:, 3] = 1.0 - weights.sum(axis=1)
    p0 = np.zeros(here.size)
    p0[0] = 1.0
    return to, weights.clip(min=0.0), p0
