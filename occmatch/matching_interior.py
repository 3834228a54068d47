"""A primal-dual interior-point method for cost classes: matching as its concave dual over the coordinates of the cost.

    max over w of  J(w) - 1/2 sum weight w^2   s.t.  g(w) >= 0, sum w = 1,
    where          J(w) = p0.V_c - <rho_E, c>,  c = sum_k w_k f_k,  V_c the soft value of c

psi* is not differentiable here, but J is: with RL(c) exact at every iterate,

    grad J = <f_k, rho_c - rho_E>,     -Hess J = (1/lam) M' diag(rho_c) M,     M w = c + gamma P V' - V',

where V' = (I - gamma P_pi)^-1 (pi.c) is the value of c under the soft optimal policy, so that M w is its advantage.
Newton's method on the perturbed optimality conditions z g = mu with a line search on their residual (Boyd &
Vandenberghe 2004, section 11.7). What is left of the duality gap is psi*(x) - <x, c> at x = rho_c - rho_E (Fenchel
and Young), known at each iterate: the method stops when that is rounding.

In a class that is large beside lam the first steps lead to costs whose policies are deterministic; rho_c is then
constant and its derivatives vanish. The solutions of larger lam are the way round (continuation).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

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

# Gap beyond which Newton has lost its way. It then follows the solutions down from a lam at most `_HIGHEST` times as
# large, each to a gap of `_ON_PATH`, in ratios of ten that shrink to `_LEAST_RATIO` where it gets lost again.
_NEAR, _ON_PATH, _HIGHEST, _LEAST_RATIO = 1e-6, 1e-2, 1e9, 1.2

# Iterations without a smaller gap after which rounding has been reached, and after which the way is lost.
_PATIENCE, _LOST = 8, 40


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
    """The candidate of a cost class.

    Systems are K x K and dense with features, 2 S and sparse without. `V0` [S] starts the first RL(c); the coordinates
    of the cost start inside every constraint, whatever is known.
    """
    started = time.perf_counter()
    search = _Search(mdp, psi, cost_class, rho_E, Linear(mdp), say)
    found = search.run(lam, max_iter, V0=V0)
    if not found.near(_NEAR):
        found = search.follow(lam, max_iter) or found
    whole = support(mdp, np.zeros(mdp.shape, dtype=bool))
    assert whole is not None
    return finish(
        whole,
        psi,
        rho_E,
        lam,
        [found.best.cost],
        method="interior point",
        started=started,
        iterations=len(search.history),
        V0=found.best.answer.V,
        history=tuple(search.history),
    )


@dataclass(frozen=True, eq=False)
class End:
    """Where iterations ended: the point of least Fenchel-Young gap, that gap, and the size that it is a share of."""

    best: Point
    gap: float
    size: float

    def near(self, goal: float) -> bool:
        return self.gap <= goal * self.size


@dataclass(eq=False)
class _Search:
    """The iterations at one entropy weight, and the path of solutions over a range of weights."""

    mdp: MDP
    psi: Regulariser
    cost_class: CostClass
    rho_E: FloatArray
    linear: Linear
    say: Say | None
    history: list[Progress] = field(default_factory=list)

    def run(
        self, lam: float, max_iter: int, start: Point | None = None, V0: FloatArray | None = None, goal: float = 0.0
    ) -> End:
        """From `start`, or from inside every constraint, down to a relative gap of `goal` or to rounding."""
        now = self._first(lam, V0) if start is None else self._again(start, lam)
        best, best_gap, best_size, mark, stale = now, np.inf, 1.0, np.inf, 0
        many = self.mdp.S > _MANY_STATES
        before, rtol, m = np.inf, _ROUGH if many else TIGHT, now.slack.size
        for iteration in range(max_iter + 1):
            x = now.answer.rho - self.rho_E
            value = 0.5 * float((now.w * -self.cost_class.gradient(now.w)).sum())
            gap = self.psi.divergence(now.answer.rho, self.rho_E) + value - float((x * now.cost).sum())
            mark, stale = (gap, 0) if gap < 0.95 * mark else (mark, stale + 1)  # many short steps are progress too
            size = float(((now.answer.rho + self.rho_E) * np.abs(now.cost)).sum()) + lam
            if gap < best_gap:
                best, best_gap, best_size = now, gap, size
            settled = gap <= max(goal, _SETTLED_MANY if many else _SETTLED) * size
            if settled or stale > (_PATIENCE if best_gap <= _NEAR * best_size else _LOST) or iteration == max_iter:
                break
            if gap > 0.5 * before:
                rtol = max(_TIGHTER * rtol, TIGHT)
            before = gap
            mu = _SHRINK * max(float(now.z @ now.slack), gap) / m if m else 0.0
            now, t = _step(self.linear, self.cost_class, self.rho_E, lam, now, mu, rtol)
            if self.say is not None:
                self.say("interior point", iteration, gap / size, lambda V=now.answer.V: V)
            residual = float(np.linalg.norm(now.stationarity))
            self.history.append(Progress(gap, float(now.z @ now.slack), residual, t))
            if t == 0.0:
                break
        return End(best, best_gap, best_size)

    def follow(self, lam: float, max_iter: int) -> End | None:
        """The solution of a weight at which Newton gets there from anywhere, followed down to `lam`; None if lost."""
        high, ratio = 10.0 * lam, 10.0
        found = self.run(high, max_iter, goal=_ON_PATH)
        while not found.near(_ON_PATH) and high < _HIGHEST * lam:
            high *= 10.0
            found = self.run(high, max_iter, goal=_ON_PATH)
        while high > lam and ratio > _LEAST_RATIO:
            lower = max(lam, high / ratio)
            last = lower == lam
            ahead = self.run(lower, max_iter, found.best, goal=0.0 if last else _ON_PATH)
            if ahead.near(_NEAR if last else _ON_PATH):
                high, found = lower, ahead
            else:
                ratio = ratio**0.5
        return found if high == lam else None

    def _first(self, lam: float, V0: FloatArray | None) -> Point:
        w = self.cost_class.start()
        slack = self.cost_class.slack(w)
        scale = max(lam, float(self.rho_E.sum()) / max(slack.size, 1))
        return _point(
            self.mdp, self.cost_class, self.rho_E, lam, w, np.full(slack.size, scale) / np.maximum(slack, 1e-3), 0.0, V0
        )

    def _again(self, near: Point, lam: float) -> Point:
        return _point(self.mdp, self.cost_class, self.rho_E, lam, near.w, near.z, near.nu, near.answer.V)


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
    if cost_class.equality:
        w = w / w.sum()  # steps keep the sum to the accuracy of their systems only
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
