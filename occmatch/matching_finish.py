"""From what a solver found to a candidate: the best cost it proposes, V as the value of that cost, a rho in D.

Costs must be finite, also where the optimal one is not: a pair that no measure with finite psi* visits gets a cost high
enough that the soft policy leaves it by less than rounding.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from occmatch.bellman import RL, rl
from occmatch.candidate import Candidate
from occmatch.checks import FloatArray
from occmatch.matching_support import Support
from occmatch.occupancy import occupancy, policy
from occmatch.regularisers import Regulariser, Surrogate

# exp(-60) ~ 1e-26: what a ruled-out pair may keep of the policy, far below the rounding of the rest.
_RULED_OUT = 60.0


def finish(
    support: Support,
    psi: Regulariser,
    rho_E: FloatArray,
    lam: float,
    costs: Iterable[FloatArray],
    *,
    method: str,
    started: float,
    iterations: int,
    V0: FloatArray | None = None,
    rho: FloatArray | None = None,
    history: Any = (),
) -> Candidate:
    """The candidate of the cost [S, A] with the largest dual value among `costs`; entries may be +inf off the support.

    Its measure is that of the soft policy of the cost, unless `rho` [S, A] in D is given.
    """
    mdp = support.whole
    chosen: tuple[float, FloatArray, RL] | None = None
    for proposed in costs:
        cost, answer = _finite(support, psi, proposed, lam, V0)
        value = float(mdp.p0 @ answer.V) + psi.dual_value(cost, rho_E)
        if chosen is None or value > chosen[0]:
            chosen = value, cost, answer
    if chosen is None:
        raise ArithmeticError("the solver proposed no cost")
    _, cost, answer = chosen
    ruled_out = ~support.extend(support.allowed, fill=True)
    pi = answer.pi
    if ruled_out.any():
        pi = np.where(ruled_out, 0.0, pi)
        pi = pi / pi.sum(axis=1, keepdims=True)
    if rho is not None:
        pi = policy(rho)
    else:
        rho = occupancy(mdp, pi) if ruled_out.any() else answer.rho
    return Candidate(
        rho=rho,
        cost=cost,
        V=answer.V,
        pi=pi,
        lam=lam,
        method=method,
        margin=psi.loss.margin(cost) if isinstance(psi, Surrogate) else None,
        attained=not (ruled_out & np.asarray(psi.forbidden(rho_E))).any(),
        iterations=iterations,
        seconds=time.perf_counter() - started,
        history=history,
    )


def _finite(
    support: Support, psi: Regulariser, cost: FloatArray, lam: float, V0: FloatArray | None
) -> tuple[FloatArray, RL]:
    """`cost` with a finite number where it is +inf, just high enough to rule the pair out, and RL of it."""
    mdp = support.whole
    infinite = np.isposinf(cost)
    if not infinite.any():
        # Repair is itself subject to rounding: a cost that is inside stays as it is.
        cost = cost if psi.value(cost) < np.inf else np.asarray(psi.repair(cost))
        return cost, rl(mdp, cost, lam, V0=V0)
    visited = np.zeros(mdp.S, dtype=bool)
    visited[support.states] = True
    ruled_out = visited[:, None] & ~support.extend(support.allowed, fill=True)
    finite = np.where(infinite, 0.0, cost)
    reach = float(np.ptp(V0)) if V0 is not None else 0.0
    height = max(lam, 1e-300) * _RULED_OUT + float(np.abs(finite).max()) + reach
    for _ in range(60):
        filled = np.asarray(psi.repair(np.where(infinite, height, cost)))
        answer = rl(mdp, filled, lam, V0=V0)
        if float(answer.pi[ruled_out].max(initial=0.0)) <= np.exp(-0.9 * _RULED_OUT):
            break
        height *= 2.0
    return filled, answer
