"""A primal-dual interior-point method for cost classes: matching as its concave dual over the coordinates of the cost.

    max over w of  J(w) - 1/2 sum weight w^2   s.t.  g(w) >= 0, sum w = 1,
    where          J(w) = p0.V_c - <rho_E, c>,  c = sum_k w_k f_k,  V_c the soft value of c

psi* is not differentiable here, but J is: with RL(c) exact at every iterate,

    grad J = <f_k, rho_c - rho_E>,     -Hess J = (1/lam) M' diag(rho_c) M,     M w = c + gamma P V' - V',

where V' = (I - gamma P_pi)^-1 (pi.c) is the value of c under the soft optimal policy, so that M w is its advantage.
Newton's method on the perturbed optimality conditions z g = mu with a line search on their residual (Boyd &
Vandenberghe 2004, section 11.7). What is left of the duality gap is psi*(x) - <x, c> at x = rho_c - rho_E (Fenchel
and Young), known at each iterate: the method stops when that is rounding.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from occmatch.bellman import RL, rl
from occmatch.candidate import Candidate
from occmatch.checks import FloatArray
from occmatch.matching_classes import CostClass
from occmatch.matching_curvature import TIGHT, curvature
from occmatch.matching_finish import finish
from occmatch.matching_linear import Linear
from occmatch.matching_support import support
from occmatch.mdp import MDP
from occmatch.progress import Say
from occmatch.regularisers import Regulariser

# Share of the way to the boundary that one step may go, and by how much an iteration shrinks z.g.
_TO_BOUNDARY, _SHRINK = 0.99, 0.1

# Fenchel-Young gap, relative to the mass times the size of the cost, that is rounding; and where it is near enough for
# MDPs on which an iteration takes seconds.
_SETTLED, _SETTLED_MANY, _MANY_STATES = 1e-15, 1e-13, 2_000

# Accuracy of the sparse systems there: a step shrinks its residual tenfold at best, until close to a corner rough steps
# no longer gain. Then each step without half the gap gone tightens it by two digits.
_ROUGH, _TIGHTER = 1e-6, 1e-2

# Iterations without a smaller gap after which rounding has been reached.
_PATIENCE = 8


@dataclass(frozen=True, eq=False)
class Point:
    """An iterate: coordinates w, multipliers z and nu, the cost, RL of it, and the residuals."""

    w: FloatArray
    z: FloatArray
    nu: float
    cost: FloatArray
    answer: RL
    gradient: FloatArray
    stationarity: FloatArray
    slack: FloatArray

    def residual(self, mu: float) -> float:
        return float(np.sqrt((self.stationarity**2).sum() + ((self.z * self.slack - mu) ** 2).sum()))


@dataclass(frozen=True)
class Progress:
    """One iteration of the history: Fenchel-Young gap, z.g, norm of the stationarity residual, step length."""

    gap: float
    complementarity: float
    stationarity: float
    t: float


def interior(
    mdp: MDP,
    psi: Regulariser,
    cost_class: CostClass,
    rho_E: FloatArray,
    lam: float,
    max_iter: int = 150,
    V0: FloatArray | None = None,
    say: Say | None = None,
) -> Candidate:
    """The candidate of a cost class; K x K dense systems with features, 2 S sparse ones without.

    `V0` [S] starts the first RL(c); the coordinates of the cost start inside every constraint, whatever is known.
    """
    started = time.perf_counter()
    linear = Linear(mdp)
    w = cost_class.start()
    m = cost_class.slack(w).size
    scale = max(lam, float(rho_E.sum()) / max(m, 1))
    now = _point(mdp, cost_class, rho_E, lam, w, np.full(m, scale) / np.maximum(cost_class.slack(w), 1e-3), 0.0, V0)
    best, best_gap, mark, stale, history = now, np.inf, np.inf, 0, []
    many = mdp.S > _MANY_STATES
    before, rtol = np.inf, _ROUGH if many else TIGHT
    for iteration in range(max_iter + 1):
        x = now.answer.rho - rho_E
        value = 0.5 * float((now.w * -cost_class.gradient(now.w)).sum())
        gap = psi.divergence(now.answer.rho, rho_E) + value - float((x * now.cost).sum())
        mark, stale = (gap, 0) if gap < 0.95 * mark else (mark, stale + 1)  # many short steps are progress too
        if gap < best_gap:
            best, best_gap = now, gap
        size = float(((now.answer.rho + rho_E) * np.abs(now.cost)).sum()) + lam
        settled = gap <= (_SETTLED_MANY if many else _SETTLED) * size
        if settled or stale > _PATIENCE or iteration == max_iter:
            break
        if gap > 0.5 * before:
            rtol = max(_TIGHTER * rtol, TIGHT)
        before = gap
        mu = _SHRINK * max(float(now.z @ now.slack), gap) / m if m else 0.0
        now, t = _step(linear, cost_class, rho_E, lam, now, mu, rtol)
        if say is not None:
            say("interior point", iteration, gap / size, lambda V=now.answer.V: V)
        history.append(Progress(gap, float(now.z @ now.slack), float(np.linalg.norm(now.stationarity)), t))
        if t == 0.0:
            break
    whole = support(mdp, np.zeros(mdp.shape, dtype=bool))
    assert whole is not None
    return finish(
        whole,
        psi,
        rho_E,
        lam,
        [best.cost],
        method="interior point",
        started=started,
        iterations=len(history),
        V0=best.answer.V,
        history=tuple(history),
    )


def _point(
    mdp: MDP,
    cost_class: CostClass,
    rho_E: FloatArray,
    lam: float,
    w: FloatArray,
    z: FloatArray,
    nu: float,
    V0: FloatArray | None,
) -> Point:
    features = cost_class.features
    cost = w.reshape(mdp.shape) if features is None else features @ w
    answer = rl(mdp, cost, lam, V0=V0, progress=False)
    x = answer.rho - rho_E
    gradient = x.reshape(-1) if features is None else np.einsum("sak,sa->k", features, x)
    gradient = gradient + cost_class.gradient(w)
    stationarity = gradient + cost_class.pull(w, z) + nu * cost_class.equality
    return Point(w, z, nu, cost, answer, gradient, stationarity, cost_class.slack(w))


def _step(
    linear: Linear, cost_class: CostClass, rho_E: FloatArray, lam: float, now: Point, mu: float, rtol: float
) -> tuple[Point, float]:
    """One Newton step towards z g = mu, cut back until it stays inside and the residual falls."""
    D, v = cost_class.diagonal(now.w, now.z), cost_class.rank_one(now.w, now.z)
    inverse = curvature(linear, now.answer, lam, cost_class.features, D, v, rtol)
    (dw, share), dnu = inverse(now.gradient + cost_class.pull(now.w, mu / now.slack)), 0.0
    if cost_class.equality:
        along, _ = inverse(np.ones(cost_class.K))
        nu = float(1.0 - now.w.sum() - dw.sum()) / float(along.sum())
        dw, dnu = dw + nu * along, nu - now.nu
    dz = (mu - now.z * now.slack - now.z * cost_class.push(now.w, now.z, dw, share)) / now.slack
    falling = dz < 0
    t = min(1.0, _TO_BOUNDARY * float((now.z[falling] / -dz[falling]).min(initial=np.inf)))
    while t > 1e-10 and (cost_class.slack(now.w + t * dw) <= (1.0 - _TO_BOUNDARY) * now.slack).any():
        t *= 0.9
    before = now.residual(mu)
    while t > 1e-10:
        found = _point(
            linear.mdp, cost_class, rho_E, lam, now.w + t * dw, now.z + t * dz, now.nu + t * dnu, now.answer.V
        )
        if found.residual(mu) <= (1.0 - 0.01 * t) * before or before <= 1e-14 * float(rho_E.sum()):
            return found, t
        t *= 0.5
    return now, 0.0
