"""From what a solver found to a candidate: the best cost it proposes, V as the value of that cost, a rho in D.

Costs must be finite, also where the optimal one is not: a pair that no measure with finite psi* visits gets a cost high
enough that the soft policy leaves it by less than rounding.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from occmatch.bellman import rl, soft_backup
from occmatch.candidate import Candidate, NoBestCost
from occmatch.checks import FloatArray
from occmatch.matching_linear import Linear
from occmatch.matching_support import Support
from occmatch.matching_support import support as supported
from occmatch.occupancy import policy
from occmatch.regularisers import Regulariser, Surrogate

# exp(-60) ~ 1e-26: what a ruled-out pair may keep of the policy, far below the rounding of the rest.
_RULED_OUT = 60.0

# A sweep rounds by a few units in the last place of the largest number in it.
_ROUNDING = 4.0 * np.finfo(np.float64).eps


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
    linear: Linear | None = None,
    guess: FloatArray | None = None,
) -> Candidate:
    """The candidate of the cost [S, A] with the largest dual value among `costs`; entries may be +inf off the support.

    Its measure is that of the soft policy of the cost, unless `rho` [S, A] in D is given; `guess` [S]: visits near it.
    """
    linear = linear if linear is not None and linear.mdp is support.whole else Linear(support.whole)
    chosen: tuple[float, FloatArray, FloatArray, FloatArray] | None = None
    for proposed in costs:
        cost, V, pi = _finite(linear, support, psi, proposed, lam, V0)
        value = float(linear.mdp.p0 @ V) + psi.dual_value(cost, rho_E)
        if chosen is None or value > chosen[0]:
            chosen = value, cost, V, pi
    if chosen is None:
        raise ArithmeticError("the solver proposed no cost")
    _, cost, V, pi = chosen
    ruled_out = ~support.extend(support.allowed, fill=True)
    if rho is not None:
        pi = policy(rho)
    else:
        pi = np.where(ruled_out, 0.0, pi)
        pi = pi / pi.sum(axis=1, keepdims=True)
        visited = support.extend(np.ones(len(support.states)))
        rho = (visited * linear.visits(pi, guess))[:, None] * pi
    return Candidate(
        rho=rho,
        cost=cost,
        V=V,
        pi=pi,
        lam=lam,
        method=method,
        margin=psi.loss.margin(cost) if isinstance(psi, Surrogate) else None,
        attained=_attained(support, psi, rho_E, lam),
        iterations=iterations,
        seconds=time.perf_counter() - started,
        history=history,
    )


def _attained(support: Support, psi: Regulariser, rho_E: FloatArray, lam: float) -> bool:
    """Whether the optimal cost is finite: no action is ruled out, and psi* has a slope where no mass can come."""
    # The program leaves out more than psi* forbids.
    part = support if support.allowed.all() else supported(support.whole, psi.forbidden(rho_E)) or support
    if lam > 0.0 and not part.allowed.all():
        return False
    if psi.smooth:
        try:
            psi.best_cost(np.where(part.extend(part.allowed), rho_E, 0.0), rho_E)
        except NoBestCost:
            return False
    return True


def soft_value(linear: Linear, cost: FloatArray, lam: float, V: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """(V [S], soft optimal pi [S, A]) of a cost: soft policy iteration from a good V, `rl` where there is none."""
    mdp = linear.mdp
    if V is not None and lam > 0.0:
        before = np.inf
        for _ in range(10):
            TV, pi = soft_backup(mdp, cost, V, lam)
            step = TV - V
            spread = float(np.ptp(step))
            if spread <= _ROUNDING * float(np.abs(V).max() + np.abs(cost).max()):
                return V + 0.5 * float(step.max() + step.min()) / (1.0 - mdp.gamma), pi
            if spread > 0.5 * before:
                break
            before = spread
            V = V + linear.values(pi, step, 1e-8)
    answer = rl(mdp, cost, lam, V0=V, progress=False)
    return answer.V, answer.pi


def _finite(
    linear: Linear, support: Support, psi: Regulariser, cost: FloatArray, lam: float, V0: FloatArray | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """`cost` with a finite number where it is +inf, just high enough to rule the pair out, and its value and policy."""
    infinite = np.isposinf(cost)
    if not infinite.any():
        # Repair is itself subject to rounding: a cost that is inside stays as it is.
        cost = cost if psi.value(cost) < np.inf else np.asarray(psi.repair(cost))
        return cost, *soft_value(linear, cost, lam, V0)
    visited = support.extend(np.ones(len(support.states), dtype=bool), fill=False)
    ruled_out = visited[:, None] & ~support.extend(support.allowed, fill=True)
    finite = np.where(infinite, 0.0, cost)
    reach = float(np.ptp(V0)) if V0 is not None else 0.0
    height = max(lam, np.finfo(np.float64).tiny) * _RULED_OUT + float(np.abs(finite).max()) + reach
    for _ in range(60):
        filled = np.asarray(psi.repair(np.where(infinite, height, cost)))
        V, pi = soft_value(linear, filled, lam, V0)
        if float(pi[ruled_out].max(initial=0.0)) <= np.exp(-0.9 * _RULED_OUT):
            break
        height *= 2.0
    return filled, V, pi
