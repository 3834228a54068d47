"""What every answer of a linear program has to satisfy, and its value by cvxpy: another formulation, another solver."""

import cvxpy as cp
import numpy as np
from corner_mdps import corner_mdps, random_policy

from occmatch import MDP, certify, flow_matrix, flow_residual, lp, occupancy

MDPS = corner_mdps()

# HiGHS is asked for feasibility to 1e-10; both sides then move to points that are feasible to rounding, and what is
# left is the basis solve: 1e-12 of the value, which grows like the condition number 1/(1-gamma) <= 1e4 at most.
GAP = 1e-8

# Clarabel stops at relative gaps of 1e-8 of sums that are up to 10 times the value.
CLARABEL = 1e-6


def cost_of(mdp: MDP, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=mdp.shape)


def expert_of(mdp: MDP, seed: int = 1) -> np.ndarray:
    return occupancy(mdp, random_policy(mdp, np.random.default_rng(seed)))


def closed(mdp: MDP, found: lp.Solution, budgets: tuple = ()) -> None:
    """bound <= optimum <= value meet, rho is in D and within its budgets, and V is feasible in the dual."""
    scale = max(1.0, abs(found.value), np.abs(found.V).max())
    assert abs(found.value - found.bound) <= GAP * scale
    assert (found.rho >= 0).all() and np.abs(flow_residual(mdp, found.rho)).max() <= GAP / (1 - mdp.gamma)
    priced = found.cost + sum((y * d for y, (d, _) in zip(found.prices, budgets, strict=True)), np.zeros(mdp.shape))
    assert (priced + mdp.gamma * mdp.expect(found.V) - found.V[:, None]).min() >= -GAP * scale
    assert (found.prices >= 0).all()
    for d, b in budgets:
        assert np.vdot(found.rho, d) <= b + GAP * max(1.0, np.abs(d * found.rho).sum())


def certified(mdp: MDP, rho_E: np.ndarray, psi, found: lp.Solution) -> None:
    """The certificate's gap, as a share of the terms it sums: the optimum itself may be zero."""
    judged = certify(mdp, rho_E, psi, found.candidate)
    assert -judged.rounding <= judged.gap <= GAP * max(1.0, np.abs(found.V).max())
    assert max(judged.flow_residual, judged.moved) <= GAP


def program(mdp: MDP, objective, extra=()) -> float:
    """min objective(rho) over D by Clarabel: another formulation, another solver."""
    rho = cp.Variable(mdp.shape, nonneg=True)
    value, constraints = objective(rho)
    flow = flow_matrix(mdp) @ cp.vec(rho, order="C") == mdp.p0
    limits = [cp.sum(cp.multiply(d, rho)) <= b for d, b in extra]
    problem = cp.Problem(cp.Minimize(value), [*constraints, flow, *limits])
    return float(problem.solve(solver=cp.CLARABEL))


def close(a: float, b: float, tolerance: float) -> bool:
    return abs(a - b) <= tolerance * max(1.0, abs(a), abs(b))
