"""One sweep T V - V of the soft or hard Bellman operator, and how far rounding may have carried it.

The plain sweep computes Q = c + gamma P V and subtracts V.  Its rounding is that of numbers of the size of V, and the
bound on V* multiplies it by 1/(1-gamma): at gamma = 0.9999 and values of 1,000 that is 1e-8, and no better answer can
be told.  The fine sweep is the same number written in differences, which are exact or nearly so where values are close,

    (T V - V)(s) = - lam log sum_a exp( - [ c(s, a) + gamma sum_s' P(s'|s, a) (V(s') - V(s)) - (1-gamma) V(s) ] / lam ),

and V may come as V + w with a small w, which then keeps the digits that V has no room for.  It holds for the kernel
whose rows sum to one exactly, and costs several plain sweeps; it is made a few times, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occmatch.checks import FloatArray
from occmatch.matrix_free import AnyMDP, terms
from occmatch.mdp import MDP

EPS = np.finfo(np.float64).eps

# States whose differences are held at one time: 16 entries each make 4 MB, about what a cache holds.
_CHUNK = 32_768


@dataclass(eq=False)
class Found:
    """What an iteration ends with: V* is within `radius` of V + w + (middle of step)/(1-gamma), by the last sweep."""

    V: FloatArray
    step: FloatArray
    pi: FloatArray
    rounding: float
    iterations: int
    method: str
    w: FloatArray | float = 0.0

    @property
    def spread(self) -> float:
        return float(np.ptp(self.step))

    def radius(self, gamma: float) -> float:
        """Half the width of the one-sweep bounds, rounding of the sweep included."""
        return (0.5 * self.spread + self.rounding) / (1.0 - gamma)

    def centred(self, gamma: float) -> FloatArray:
        """The middle of the one-sweep bounds on V*."""
        return self.V + (self.w + middle(self.step) / (1.0 - gamma))


def middle(step: FloatArray) -> float:
    return 0.5 * (float(step.min()) + float(step.max()))


def soft_minimum(Q: FloatArray, lam: float) -> tuple[FloatArray, FloatArray]:
    """-lam log sum_a exp(-Q/lam) [S] and the weights exp(-Q/lam) divided by their sum [S, A]; Q is not kept."""
    least = Q.min(axis=1, keepdims=True)
    weights = np.subtract(least, Q, out=Q)
    with np.errstate(over="ignore"):
        weights /= lam
    np.exp(weights, out=weights)
    total = weights.sum(axis=1, keepdims=True)
    weights /= total
    return (least - lam * np.log(total))[:, 0], weights


def q(mdp: AnyMDP, cost: FloatArray, V: FloatArray) -> FloatArray:
    """cost + gamma P V [S, A], in one array of its own."""
    expected = mdp.expect(V)
    # A function of the user's may return V itself, or the array that its next call writes into.
    Q = np.multiply(expected, mdp.gamma, out=expected if isinstance(mdp, MDP) else None, dtype=np.float64)
    Q += cost
    return Q


def sweep_rounding(mdp: AnyMDP, cost: FloatArray, V: FloatArray, TV: FloatArray, lam: float) -> float:
    """Bound on the rounding of one computed T V - V: a dot product of n terms errs by n units in the last place."""
    nats = lam * np.log(mdp.A)
    scale = _weighed(cost, _largest(TV) + _largest(V) + nats) + _largest(V) + nats
    return 0.5 * (terms(mdp) + mdp.A + 8) * EPS * scale


def _weighed(cost: FloatArray, bound: float) -> float:
    """The size of cost that rounds T V: of an action counts pi(a|s) |c(s, a)|, so that a penalty is no loss of digits.

    With H the entropy of the greedy pi, sum_a pi(a|s) |Q(s, a)| <= |T V(s)| + lam H <= |T V| + lam log A, and
    |c| <= |Q| + |V|: at most `bound`, the sum of these.
    """
    return min(_largest(cost), bound)


def fine_step(
    mdp: MDP, cost: FloatArray, V: FloatArray, w: FloatArray, lam: float
) -> tuple[FloatArray, FloatArray, float]:
    """(T(V + w) - (V + w), greedy policy, bound on rounding) by differences; lam = 0 is the hard operator."""
    S, A = mdp.shape
    step, pi, travel = np.empty(S), np.empty((S, A)), 0.0
    for first in range(0, S, _CHUNK):
        last = min(first + _CHUNK, S)
        entries = slice(mdp.P.indptr[first * A], mdp.P.indptr[last * A])
        to, starts = mdp.P.indices[entries], mdp.P.indptr[first * A : last * A] - mdp.P.indptr[first * A]
        counts = np.diff(mdp.P.indptr[first * A : last * A + 1])
        origin = np.repeat(np.repeat(np.arange(first, last), A), counts)
        moved = (V[to] - V[origin]) + (w[to] - w[origin])
        moved *= mdp.P.data[entries]
        Q = mdp.gamma * np.add.reduceat(moved, starts).reshape(-1, A) + cost[first:last]
        Q -= ((1.0 - mdp.gamma) * (V[first:last] + w[first:last]))[:, None]
        travel = max(travel, float(np.add.reduceat(np.abs(moved), starts).max()))
        if lam > 0.0:
            step[first:last], pi[first:last] = soft_minimum(Q, lam)
        else:
            pi[first:last], step[first:last] = np.eye(A)[Q.argmin(axis=1)], Q.min(axis=1)
    nats, size = lam * np.log(A), travel + (1.0 - mdp.gamma) * _largest(V)
    scale = _weighed(cost, _largest(step) + size + nats) + _largest(step) + size + lam + nats
    return step, pi, 0.5 * (terms(mdp) + A + 8) * EPS * scale


def _largest(x: FloatArray) -> float:
    return max(float(x.max()), -float(x.min()))
