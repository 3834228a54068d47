"""A psi of one's own, as docs/own_psi.md says to write it: a class, which both solvers by Newton take, or cvxpy's."""

import cvxpy as cp
import numpy as np
import pytest

import occmatch as om
from occmatch.regularisers import Expression, Regulariser


class Hyperbolic(Regulariser):
    """psi(c) = sum cosh(c) - 1, written as docs/own_psi.md says; holds a measure that has no part in it."""

    smooth = True

    def __init__(self, rho_E: np.ndarray | None = None) -> None:
        if rho_E is not None:
            self.rho_E = rho_E

    def value(self, c: np.ndarray) -> float:
        return float((np.cosh(c) - 1).sum())

    def conjugate(self, x: np.ndarray) -> float:
        return float((x * np.arcsinh(x) - np.hypot(x, 1) + 1).sum())

    def best_cost(self, rho: np.ndarray, rho_E: np.ndarray) -> np.ndarray:
        return np.arcsinh(rho - rho_E)

    def repair(self, c: np.ndarray) -> np.ndarray:
        return c

    def grad(self, rho: np.ndarray, rho_E: np.ndarray) -> np.ndarray:
        return np.arcsinh(rho - rho_E)

    def hess_diag(self, rho: np.ndarray, rho_E: np.ndarray) -> np.ndarray:
        return 1 / np.hypot(rho - rho_E, 1)

    def dvalue(self, c: np.ndarray) -> np.ndarray:
        return np.sinh(c)

    def d2value(self, c: np.ndarray) -> np.ndarray:
        return np.cosh(c)


@pytest.mark.parametrize("holds", [False, True])
@pytest.mark.parametrize("deterministic", [False, True])
def test_newton_and_match_for_a_psi_class_of_ones_own(deterministic: bool, holds: bool) -> None:
    rng = np.random.default_rng(3)
    mdp = om.examples.garnet(6, 3, 3, 0.9, rng)
    pi = rng.dirichlet(np.ones(3), 6)
    rho_E = om.occupancy(mdp, np.eye(3)[pi.argmax(1)] if deterministic else pi)
    psi = Hyperbolic(rho_E if holds else None)
    for found in (om.irl(mdp, rho_E, psi, 0.5, "newton"), om.match(mdp, rho_E, psi, 0.5)):
        assert om.certify(mdp, rho_E, psi, found).holds(1e-11)


@pytest.mark.parametrize(
    "fn",
    [
        lambda c: cp.sum(cp.abs(c) ** 3),
        lambda c: cp.sum_squares(c) + cp.sum(cp.power(cp.pos(c), 1.5)),
        lambda c: cp.sum_squares(c) + cp.norm(cp.vec(c, order="C"), 3),
    ],
    ids=["|c|^3", "pos(c)^1.5", "norm 3"],
)
def test_powers_whose_domain_is_no_convex_constraint(fn) -> None:
    """0 <= |c|, which such a power adds to its domain, ended in cvxpy's DCPError."""
    mdp = om.examples.gridworld(2, slip=0.1, gamma=0.9)
    rho_E = om.occupancy(mdp, om.rl(mdp, om.examples.gridworld_cost(mdp), lam=0.3).pi)
    psi = Expression(fn)
    for solve in (om.irl, om.match):
        assert om.certify(mdp, rho_E, psi, solve(mdp, rho_E, psi, lam=0.1)).holds(1e-7)


def test_variables_that_are_no_numbers_of_a_convex_set_are_refused() -> None:
    mdp = om.examples.two_state_chain(0.1, 0.9)
    rho_E = om.occupancy(mdp, np.full((2, 2), 0.5))
    whole = Expression(lambda c: (0.0, [c == cp.Variable(c.shape, integer=True)]))
    for solve in (om.irl, om.match):
        with pytest.raises(ValueError, match="continuous variables alone"):
            solve(mdp, rho_E, whole)
