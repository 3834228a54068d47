"""Soft policy iteration: inexact Newton on T V = V, its linear systems solved no further than they deserve.

A step solves (I - gamma P_pi) d = T V - V to a residual of eta * max|T V - V| in the sup norm, which is inexact policy
iteration (Gargiani et al. 2024).  eta follows Eisenstat & Walker (1996, choice 2): it falls with the square of the
progress of the last step, so that early systems are solved roughly and convergence stays quadratic; the last one is
not solved beyond what `tol` needs (Kelley 1995, section 6.3).  Steps may lead up, exact ones too: where a policy goes
round in a circle, values rise far above those beside it.  What is left of a system then counts against the best step so
far, for the rest of the states is as good as it was.  The middle of T V - V needs no solve: a constant
k has value k/(1-gamma) under every policy.

On a long way to a goal a step improves the policy a stretch further than the last one did, and no more.  After some
steps that led up, each is therefore followed by sweeps V <- T V, which are cheap and carry the news one state further
each (modified policy iteration, Puterman & Shin 1978, the other way round): a corridor of 1,000 states at gamma 0.9999
took 216 exact steps without them, and takes 16.

Where no sparse step goes on (a system that stalls, or 100 steps without progress) accelerated sweeps take over.
Progress is a smaller spread of T V - V, or smaller values: those of exact steps fall from the first one on.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from occmatch.bellman_accelerated import accelerated
from occmatch.bellman_sweep import Found, fine_step, middle, q, soft_minimum, sweep_rounding
from occmatch.checks import FloatArray
from occmatch.linear import FreeResolvent, Resolvent, Stalled, resolvent
from occmatch.linear_multigrid import Multigrid
from occmatch.linear_policy import PolicyMatrices
from occmatch.matrix_free import AnyMDP
from occmatch.mdp import MDP
from occmatch.progress import Say

METHOD = "soft policy iteration"

# Forcing terms, least and most, and their part of 1 - gamma between: an error eta in the residual is eta / (1 - gamma)
# in the values.  On a gridworld of 1,000,000 states at gamma 0.99, 5e-2 took 0.8 of the time of 1e-2; at 0.999, on
# 100,000 states with random costs, it wanders until sweeps have to take over, and 1e-2 does not.
_FORCING, _FORCING_MOST, _FORCING_SHARE = 1e-2, 5e-2, 10.0

# Eisenstat & Walker's gamma in eta = 0.9 (|F_k| / |F_k-1|)^2.
_EW = 0.9

# Steps without progress before sweeps take over.
_PATIENCE = 100

# Steps without a new best before each is followed by sweeps, and how many.
_LONG, SWEEPS = 8, 60

# What a step leaves of the sweep is half the square of how far it moved the policy, in units of lam.  Below this part
# of lam the policy has hardly moved, and the multigrid of the one before serves once more.
_NEAR = 0.05

# From here on a policy matrix written in place is cheaper than a product of sparse matrices, its pattern included.
_LARGE = 20_000


def soft_policy_iteration(
    mdp: AnyMDP, cost: FloatArray, lam: float, V: FloatArray, tol: float, max_iter: int, say: Say
) -> Found:
    """The iteration from V [S], until the radius is `tol`, down to rounding, or after `max_iter` linear solves."""
    solver, level, idle = Policies(mdp), -np.inf, 0  # values fall from those of the first policy
    most = min(_FORCING_MOST, max(_FORCING, _FORCING_SHARE * (1.0 - mdp.gamma)))
    before = best = np.inf
    since = 0
    for iteration in range(max_iter + 1):
        TV, pi = soft_minimum(q(mdp, cost, V), lam)
        found = Found(V, TV - V, pi, sweep_rounding(mdp, cost, V, TV, lam), iteration, METHOD)
        spread = found.spread
        say(METHOD, iteration, found.radius(mdp.gamma), lambda found=found: found.centred(mdp.gamma))
        since = 0 if spread < 0.9 * best else since + 1
        if iteration == max_iter or settled(mdp, found, before, since, tol):
            break
        mean = float(V.mean())
        fallen = iteration == 1 or mean < level - 2.0 * found.rounding
        level = mean if fallen else level
        idle = 0 if fallen or since == 0 else idle + 1
        if idle > _PATIENCE:
            return accelerated(mdp, cost, lam, found, tol, say)
        eta = forcing(spread, before, most, (1.0 - mdp.gamma) * tol, found.rounding)
        eta *= min(1.0, best / spread)
        before, best = spread, min(best, spread)
        try:
            V = found.V + solver.correction(found.pi, found.step, eta, near=spread < _NEAR * lam)
            for _ in range(SWEEPS if since >= _LONG else 0):
                V, _ = soft_minimum(q(mdp, cost, V), lam)
        except Stalled:
            return accelerated(mdp, cost, lam, found, tol, say)
    return refine(mdp, cost, lam, found, tol, solver)


class Policies:
    """Newton steps for one policy after another, with what does not depend on the policy kept."""

    def __init__(self, mdp: AnyMDP) -> None:
        self._mdp = mdp
        self.plain = True  # until plain Krylov steps were in vain once
        self.multigrid: Multigrid | None = None

    @cached_property
    def _matrices(self) -> PolicyMatrices | None:
        mdp = self._mdp
        return PolicyMatrices(mdp) if isinstance(mdp, MDP) and mdp.S > _LARGE else None

    def resolvent(self, pi: FloatArray) -> Resolvent | FreeResolvent:
        if self._matrices is None:
            return resolvent(self._mdp, pi)
        return Resolvent(self._matrices.of(pi), self._mdp.gamma, self.plain, self.multigrid)

    def correction(self, pi: FloatArray, step: FloatArray, eta: float, *, near: bool = False) -> FloatArray:
        """(I - gamma P_pi)^-1 step [S], the middle of `step` exactly and the rest to `eta` of its size.

        `near` says that the policy has hardly moved since the last.
        """
        if not near:
            self.multigrid = None
        mid, system = middle(step), self.resolvent(pi)
        x = system.solve(step - mid, eta)
        if isinstance(system, Resolvent):
            self.plain, self.multigrid = system.plain_helps, system.multigrid
        return x + mid / (1.0 - self._mdp.gamma)


def forcing(spread: float, before: float, most: float, goal: float, rounding: float) -> float:
    """The next forcing term: choice 2 of Eisenstat & Walker, at most `most` and no smaller than the goal deserves."""
    if not np.isfinite(before) or spread < np.finfo(np.float64).tiny:
        return most
    enough = 0.25 * max(goal, 2.0 * rounding) / spread
    return min(most, max(_EW * (spread / before) ** 2, 1e-5, enough))


def settled(mdp: AnyMDP, found: Found, before: float, since: int, tol: float) -> bool:
    """Whether the sweep meets `tol`, needs the fine sweeps of `refine` to, or has come down to rounding for good."""
    spread, rounding = found.spread, found.rounding
    if found.radius(mdp.gamma) <= tol:
        return True
    if isinstance(mdp, MDP) and rounding > (1.0 - mdp.gamma) * tol > 0.0 and spread <= 100.0 * rounding:
        return True
    if spread <= 2.0 * rounding:
        return spread > 0.25 * before or spread == 0.0 or (tol > 0.0 and spread <= 0.5 * rounding)
    # Iterative solves end a little above what a sweep alone would round to.
    return since >= 3 and spread <= 100.0 * rounding


def refine(mdp: AnyMDP, cost: FloatArray, lam: float, found: Found, tol: float, solver: Policies) -> Found:
    """`found`, with its error measured by fine sweeps and V corrected by them, where `tol` asks for more than it has.

    This is iterative refinement with the residual in higher precision: w holds the digits that V has no room for.
    """
    gamma = mdp.gamma
    wants = found.radius(gamma) > tol > 0.0 and found.spread <= 1e4 * found.rounding
    if not wants or not isinstance(mdp, MDP):
        return found
    w = np.zeros(mdp.S)
    for extra in range(5):
        step, pi, rounding = fine_step(mdp, cost, found.V, w, lam)
        finer = replace(found, step=step, pi=pi, rounding=rounding, w=w, iterations=found.iterations + (extra > 0))
        if finer.radius(gamma) >= found.radius(gamma):
            break
        found = finer
        if found.radius(gamma) <= tol:
            break
        try:
            w = w + solver.correction(pi, step, 1e-3, near=True)
        except Stalled:
            break
    return found
