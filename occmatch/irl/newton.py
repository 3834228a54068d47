"""Newton on the dual over all costs, for psi that is separable and twice differentiable, or zero.

With B V = V - gamma P V the shaping costs and (Pi c)(s) = sum_a pi(a|s) c(s, a), a change dc of the cost changes V by
the dV with Pi (dc - B dV) = 0, and rho_c by -(1/lam) T' diag(rho) T dc, T dc = dc - B dV. So the Hessian of the dual is

    -(T' diag(rho) T / lam + diag(psi'')),     T (B V) = 0:  shaping is its null space where psi is zero.

Adding dV and the multiplier y of its equation, the Newton system for the gradient r is sparse and dc is eliminated
entry by entry: with a = psi'' + rho / lam, h = (rho / lam) psi'' / a and e = psi'' pi / a,

    [ B' h B      -B' e E         ] [dV]   [ B' (rho / lam) r / a ]
    [ E' e B       diag(sum pi^2 / a) ] [y ] = [ Pi r / a            ],   dc = (r + (rho / lam) B dV - pi y) / a,

(E copies a state's number to its actions). Costs held at the end of their range are the limit psi'' -> inf. For psi = 0
the step is closed: r is orthogonal to shaping, dc = lam (r / rho - (sum_a r) / d), projected off the null space.

The factors of that system fill in on graphs that are not narrow. From `DIRECT_STATES` states on the step comes from
conjugate gradients on the Hessian (`krylov`), as accurate as it deserves to be: loose at first, tighter with each
decrease of r.dc (Eisenstat & Walker 1996). A direction that does not raise the dual is damped (Levenberg 1944): an
expert whose masses are next to nothing leaves the Hessian without curvature there.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from occmatch.irl.dual import Array, Outcome, Problem, Record, best_cost, dual_value, noise, primal_value
from occmatch.irl.krylov import krylov_step, off_shaping
from occmatch.irl.polish import moving
from occmatch.irl.support import matches_exactly
from occmatch.irl.weights import solve_weights
from occmatch.occupancy import occupancy, policy
from occmatch.regularisers import Constant, FDivergence, L2Ball, Quadratic, Regulariser, Surrogate

ARMIJO = 1e-4  # Nocedal & Wright (2006), section 3.1

DIRECT_STATES = 200
"""Up to this many states sparse factors take milliseconds; at 500 states of a garnet they take 0.3 s, at 2,000 five."""

LEAST_DAMPING, MOST_DAMPING, SHORTEST = 1e-16, 1e4, 1e-6
"""What psi'' is raised by where a direction is no use, as a share of the largest mass: in steps of 100 from the first
on, beyond the second no longer. A direction is no use where none of its lengths down to `SHORTEST` raises the dual."""

LOOSEST, TIGHTEST = 0.1, 1e-7
"""Accuracy of steps by conjugate gradients: of the first, and of the last."""


def has_newton(psi: Regulariser) -> bool:
    """Whether Newton on the dual exists for psi: differentiable psi, zero psi, feature weights, l2 balls."""
    return psi.smooth or isinstance(psi, Constant | L2Ball | Quadratic) or matches_exactly(psi)


def solve(problem: Problem, max_iter: int = 200, tol: float = 0.0) -> Outcome:
    """Newton's proposal, to a relative gap of `tol`, or to rounding.

    Raises ValueError where psi has no differentiable form.
    """
    psi = problem.psi
    if not has_newton(psi):
        raise ValueError(
            f"method 'newton' must have a differentiable psi (or feature weights, or an l2 ball), but psi is "
            f"{type(psi).__name__}; use method='program'"
        )
    if isinstance(psi, L2Ball) or psi.features is not None:
        return solve_weights(problem, max_iter, tol)
    return _solve_costs(problem, max_iter, tol)


def _solve_costs(problem: Problem, max_iter: int, tol: float) -> Outcome:
    mdp, psi, rho_E = problem.mdp, problem.psi, problem.rho_E
    exact = matches_exactly(psi)
    held = ~moving(problem)
    c, V, pi = best_cost(problem, _starts(problem, exact))
    rho = occupancy(mdp, pi)
    value, record, previous = dual_value(problem, c, V), Record(), np.inf
    shaping = _Shaping(problem) if exact else None
    tried: tuple[Array, ...] = (c,)
    largest, damping = float(rho_E.max()), 0.0
    direct, forcing, before = mdp.S <= DIRECT_STATES, LOOSEST, np.inf
    for _ in range(max_iter + 1):
        r = np.where(held, 0.0, rho - rho_E - psi.dvalue(np.where(held, -1.0, c)))
        size = float(np.abs(r).max())
        primal = primal_value(problem, rho)
        if tol > 0.0 and primal - value <= tol * (1 + abs(value)):
            break
        if shaping is not None:
            dc, dV = shaping.step(r, rho, held), np.zeros(mdp.S)
        else:
            with np.errstate(all="ignore"):
                bend = np.where(held, 0.0, psi.d2value(np.where(held, -1.0, c)))
                step = _step if direct else partial(krylov_step, rtol=forcing)
                dc, dV = step(problem, r, pi, rho, bend + damping, held)
        with np.errstate(all="ignore"):
            decrement, summed = float(np.vdot(r, dc)), float(np.abs(r * dc).sum())
        rounding, risen = noise(problem, V), False
        # Where neither psi nor the policy has curvature to speak of, rounding makes the direction; and psi'' leaves the
        # range of doubles where a loss has all but a kink.
        if np.isfinite(dc).all() and decrement >= -rounding and np.finfo(np.float64).eps * summed <= rounding:
            forcing = float(np.clip(LOOSEST * np.sqrt(max(decrement, 0.0) / before), TIGHTEST, LOOSEST))
            before = max(decrement, np.finfo(np.float64).tiny)
            # Below the rounding of the objective only the gap shows progress, or the gradient where psi* is an
            # indicator. The decrement never gets there where costs of pairs with next to no mass are left to rounding.
            settled = decrement <= rounding
            left = size if exact else abs(primal - value)
            arrived = settled or (not exact and left <= rounding)
            if arrived and (left <= 1e-15 * (1 + abs(value)) or left >= 0.5 * previous):
                break
            t = 1.0
            while True:
                trial = _move(problem, c, t * dc, held)
                answer = problem.answer(trial, V + t * dV)
                new = dual_value(problem, trial, answer[0])
                risen = new >= value + ARMIJO * t * decrement - rounding
                if risen or settled or t < SHORTEST:
                    break
                t *= 0.5
        if not risen:
            if exact or damping > MOST_DAMPING * largest:
                break
            damping = max(100.0 * damping, LEAST_DAMPING * largest)
            continue
        damping = 0.01 * damping if damping > LEAST_DAMPING * largest else 0.0
        record.add(value, primal, size, t)
        problem.report("Newton", len(record.rows), primal - value, V)
        previous = left if arrived else np.inf
        last, c, (V, pi, rho), value = c, trial, answer, new
        tried = (last, c)
    return Outcome(tried, (pi,), len(record.rows), size, record.history())


def _upper(psi: Regulariser) -> float:
    if isinstance(psi, Surrogate):
        return psi.loss.upper
    return psi.generator.upper if isinstance(psi, FDivergence) else np.inf


def _starts(problem: Problem, exact: bool) -> list[Array]:
    """Costs to start from: no preference, and the best against a learner half way between expert and uniform policy.

    A weak psi makes that one so large that its policy has no choice left to make; no cost at all, where psi allows it,
    leaves every choice.
    """
    psi, rho_E, free = problem.psi, problem.rho_E, problem.free
    if exact:
        return [np.zeros(problem.mdp.shape)]
    uniform = free.astype(float)
    mixture = policy(policy(np.where(free, rho_E, 0.0)) * uniform + policy(uniform))
    rho = occupancy(problem.mdp, mixture)
    # The floor keeps pairs that the mixture all but misses from starting where the curvature of psi overflows.
    floor = np.maximum(rho, 1e-12 * rho.max())
    seen = rho_E > 0
    neutral = psi.best_cost(np.where(free & ~seen, floor, rho_E), rho_E)
    costs = [neutral, psi.best_cost(np.where(free, floor, rho_E), rho_E)]
    if neutral.any() and psi.value(np.zeros_like(rho_E)) < np.inf:
        costs.append(np.zeros_like(rho_E))
    return [np.where(free, c, problem.rest) for c in costs]


def _move(problem: Problem, c: Array, change: Array, held: Array) -> Array:
    """c + change, bent where costs have an end of range: there the matched mass, and not the cost, moves linearly.

    With p = rho_E + psi'(c) the mass that c is best for, p + psi''(c) change is nonnegative wherever change is, so that
    its best cost lies inside the range; to first order the two moves agree.
    """
    psi, rho_E = problem.psi, problem.rho_E
    moved = c + change
    if _upper(psi) < np.inf:
        inner = np.where(held, -1.0, c)
        bent = (change > 0) & ~held
        mass = np.where(bent, rho_E + psi.dvalue(inner) + psi.d2value(inner) * change, rho_E)
        # A mass that underflows belongs to a cost far from the end of its range, where the two moves are one.
        moved = np.where(bent & (mass > 0), psi.grad(mass, rho_E), moved)
    return np.where(held, c, psi.repair(moved))


def _step(problem: Problem, r: Array, pi: Array, rho: Array, bend: Array, held: Array) -> tuple[Array, Array]:
    """(dc, dV) of the sparse system in the module docstring."""
    mdp, lam = problem.mdp, problem.lam
    S, A = mdp.shape
    weight = rho / lam
    a = np.where(held, 1.0, bend + weight)
    a = np.where(a > 0, a, 1.0)  # no mass and no curvature: r is zero there too
    h = np.where(held, weight, weight * bend / a).ravel()
    e = np.where(held, pi, bend * pi / a).ravel()
    copy = sparse.csr_array((np.ones(S * A), (np.arange(S * A), np.arange(S * A) // A)), shape=(S * A, S))
    B = sparse.csr_array(copy - mdp.gamma * mdp.P)
    Ee = sparse.csr_array(copy.multiply(e[:, None]))
    low = B.T @ Ee
    inner = np.where(held, 0.0, pi**2 / a).sum(axis=1)
    matrix = sparse.block_array([[B.T @ B.multiply(h[:, None]), -low], [low.T, sparse.diags_array(inner)]]).tocsc()
    right = np.concatenate([B.T @ np.where(held, 0.0, weight * r / a).ravel(), (pi * r / a).sum(axis=1)])
    try:
        x = splu(matrix).solve(right)
    except RuntimeError:  # "Factor is exactly singular"
        x = np.full(2 * S, np.nan)
    dV, y = x[:S], x[S:]
    slope = (B @ dV).reshape(S, A)
    return np.where(held, 0.0, (r + weight * slope - pi * y[:, None]) / a), dV


class _Shaping:
    """The closed Newton step for psi = 0, and the projection off the null space { V - gamma P V }."""

    def __init__(self, problem: Problem) -> None:
        S, A = problem.mdp.shape
        copy = sparse.csr_array((np.ones(S * A), (np.arange(S * A), np.arange(S * A) // A)), shape=(S * A, S))
        self.B = sparse.csr_array(copy - problem.mdp.gamma * problem.mdp.P)
        self.normal = splu((self.B.T @ self.B).tocsc()) if S <= DIRECT_STATES else None
        self.mdp, self.lam = problem.mdp, problem.lam

    def step(self, r: Array, rho: Array, held: Array) -> Array:
        visits = rho.sum(axis=1, keepdims=True)
        ratio = np.divide(r, rho, out=np.zeros_like(r), where=~held & (rho > 0))
        mean = np.divide(r.sum(axis=1, keepdims=True), visits, out=np.zeros_like(visits), where=visits > 0)
        dc = self.lam * np.where(held, 0.0, ratio - mean)
        # A policy that changes by more than a factor e^2 leaves the region where the quadratic model holds.
        dc *= min(1.0, 2 * self.lam / max(float(np.abs(dc).max()), 1e-300))
        if held.any():
            return dc  # shaping that kept the held costs would have to vanish on them
        if self.normal is None:
            return off_shaping(self.mdp, dc)
        flat = dc.ravel()
        return (flat - self.B @ self.normal.solve(self.B.T @ flat)).reshape(r.shape)
