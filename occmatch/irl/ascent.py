"""Dual ascent with RL(c) inside: inner-loop IRL as Ziebart (2010) and Section 3 of the paper describe it.

    c <- prox_{t psi}( c + t (rho_{pi_c} - rho_E) ),       pi_c = RL(c)

With psi constant this is c <- c + t (rho_c - rho_E), the gradient ascent of MaxCausalEnt IRL; with a cost class the
prox is the projection on the class (in feature weights where psi has features). The step t is halved until

    p0.V_{c'} >= p0.V_c + <rho_c, c' - c> - |c' - c|^2 / (2 t)

which holds for t below the inverse Lipschitz constant of the gradient, so that the search ends and the dual rises
monotonically, with error O(1/k) (Beck & Teboulle 2009). Afterwards t may grow again, since curvature varies on the way.
Momentum (Nesterov's, started afresh where the dual falls; O'Donoghue & Candes 2015) gives up monotonicity and is much
faster as a rule; the best iterate is what is returned.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from occmatch.irl.dual import Array, Outcome, Problem, Record, dual_value, primal_value
from occmatch.regularisers import Expression, Lipschitz

SHRINK, GROW = 0.5, 1.25


def solve(problem: Problem, tol: float, max_iter: int, momentum: bool) -> Outcome:
    """Ascend until the relative duality gap or the gradient map is at most tol, or after max_iter steps."""
    mdp, rho_E = problem.mdp, problem.rho_E
    F = problem.psi.features
    prox = _prox(problem)

    def cost(w: Array) -> Array:
        return w if F is None else F @ w

    def smooth(w: Array, V0: Array | None) -> tuple[float, Array, Array, Array, Array]:
        """p0.V_c - <rho_E, c>, its gradient in w, and V, pi, rho."""
        c = cost(w)
        V, pi, rho = problem.answer(c, V0)
        r = rho - rho_E
        gradient = np.where(problem.free, r, 0.0) if F is None else np.einsum("sak,sa->k", F, r)
        return float(mdp.p0 @ V) - float(np.vdot(rho_E, c)), gradient, V, pi, rho

    step = problem.lam * (1 - mdp.gamma)
    w = prox(problem.rest if F is None else np.zeros(F.shape[2]), step)
    V = None
    ahead, speed, dual = w, 1.0, -np.inf
    record = Record()
    best: tuple[float, Array, Array] = (-np.inf, cost(w), np.full(mdp.shape, 1 / mdp.A))
    size = np.inf
    for _ in range(max_iter):
        value, gradient, V, _, _ = smooth(ahead, V)
        while True:
            new = prox(ahead + step * gradient, step)
            move = new - ahead
            there = smooth(new, V)
            bound = value + float(np.vdot(gradient, move)) - float(np.vdot(move, move)) / (2 * step)
            if there[0] >= bound - 1e-14 * (1 + abs(value)) or step < 1e-14:
                break
            step *= SHRINK
        size = float(np.abs(move).max()) / step
        before, dual = dual, dual_value(problem, cost(new), there[2])
        primal = primal_value(problem, there[4])
        record.add(dual, primal, size, step)
        problem.report("dual ascent", len(record.rows), primal - dual, there[2])
        if dual > best[0]:
            best = dual, cost(new), there[3]
        if size <= tol or primal - dual <= tol * (1 + abs(dual)):
            break
        if momentum and dual >= before:
            faster = 0.5 * (1 + np.sqrt(1 + 4 * speed**2))
            ahead, speed = new + (speed - 1) / faster * (new - w), faster
        else:
            ahead, speed = new, 1.0
        w, V = new, there[2]
        step *= GROW
    return Outcome((best[1],), (best[2],), len(record.rows), size, record.history())


def _prox(problem: Problem) -> Callable[[Array, float], Array]:
    """The proximal map of psi with the costs of pairs that are not free held where they are."""
    psi, rest, free = problem.psi, problem.rest, problem.free
    if isinstance(psi, Expression | Lipschitz):
        from occmatch.irl.program import prox_by_cvxpy

        return lambda v, step: prox_by_cvxpy(psi, v, step)
    if psi.features is not None:
        return psi.prox
    return lambda v, step: np.where(free, psi.prox(v, step), rest)
