"""The cvxpy forms against the NumPy values: psi, its supremum, psi*, and the causal entropy, for every registered psi.

Three routes to one number: psi* in closed form (NumPy), as a cvxpy expression of rho, and as the maximum over costs
of <x, c> - psi(c), which a conic solver finds without knowing the conjugate.
"""

import cvxpy as cp
import numpy as np
import pytest

from occmatch import MDP, causal_entropy, certify, cvx, irl, match, occupancy
from occmatch.losses import LOSSES
from occmatch.regularisers import REGISTERED, Expression, Regulariser, Surrogate

CONIC = 1e-5  # Clarabel stops at 1e-8 of its own scale; near a boundary of the exponential cone it loses three digits
ROUNDING = 1e-12  # eight terms of x log x

GAMMA = 0.8
KERNEL = np.random.default_rng(3).dirichlet(np.ones(2), size=(3, 2))
MDP_ = MDP(np.concatenate([KERNEL, np.zeros((3, 2, 1))], axis=2), [0.6, 0.4, 0.0], GAMMA)  # nothing reaches state 2
LEARNER = occupancy(MDP_, [[0.5, 0.5], [0.2, 0.8], [0.5, 0.5]])
EXPERTS = {
    "interior": occupancy(MDP_, [[0.3, 0.7], [0.6, 0.4], [0.5, 0.5]]),
    "deterministic": occupancy(MDP_, [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]),
}
EXACT = ("constant", "surrogate_linear")  # psi* is the indicator of rho = rho_E

registered = pytest.mark.parametrize("name", REGISTERED)
experts = pytest.mark.parametrize("expert", EXPERTS)


def solve(problem: cp.Problem, solver: str = cp.CLARABEL) -> float:
    """The optimal value; +-inf as cvxpy reports infeasible and unbounded problems."""
    problem.solve(solver=solver)
    return float(problem.value)


def inside(psi: Regulariser, seed: int) -> np.ndarray:
    """A cost in the domain of psi, off the boundary where g or f* is steeper than a conic solver resolves."""
    c = psi.repair(0.6 * np.random.default_rng(seed).normal(size=MDP_.shape))
    return psi.repair(np.minimum(c, -0.05)) if psi.smooth else c


def tiny(x: float) -> float:
    return CONIC * (1 + abs(x))


@experts
@registered
def test_psi_is_that_of_numpy(name: str, expert: str) -> None:
    psi = REGISTERED[name](MDP_, EXPERTS[expert])
    c = inside(psi, 0)
    variable = cp.Variable(MDP_.shape)
    value, domain = cvx.psi(psi, variable)
    dual, dual_domain = cvx.dual_value(psi, variable, LEARNER)  # a psi built on another expert's measure
    expected = psi.value(c)
    assert np.isfinite(expected)
    found = solve(cp.Problem(cp.Minimize(value), [*domain, variable == c]))
    assert found == pytest.approx(expected, abs=tiny(expected))
    expected = psi.dual_value(c, LEARNER)
    found = solve(cp.Problem(cp.Maximize(dual), [*dual_domain, variable == c]))
    assert found == pytest.approx(expected, abs=tiny(expected))


@experts
@registered
def test_the_supremum_over_costs_is_the_conjugate(name: str, expert: str) -> None:
    rho_E = EXPERTS[expert]
    rho = rho_E if name in EXACT else LEARNER
    psi = REGISTERED[name](MDP_, rho_E)
    expected = psi.divergence(rho, rho_E)
    c = cp.Variable(MDP_.shape)
    value, domain = cvx.psi(psi, c)
    # The box keeps the problem finite: where psi* = +inf its value must be of the size of the box.
    found = solve(cp.Problem(cp.Maximize(cp.sum(cp.multiply(rho - rho_E, c)) - value), [*domain, cp.abs(c) <= 50]))
    if expected == np.inf:
        assert found > 40
    else:
        assert found == pytest.approx(expected, abs=tiny(expected))


@experts
@registered
def test_the_conjugate_is_that_of_numpy(name: str, expert: str) -> None:
    rho_E = EXPERTS[expert]
    psi = REGISTERED[name](MDP_, rho_E)
    # Clarabel gives up, rather than report infeasible, on rho = rho_E and rho = something else.
    solver = cp.HIGHS if name in EXACT else cp.CLARABEL
    for point in (LEARNER, rho_E):
        rho = cp.Variable(MDP_.shape)
        value, domain = cvx.conjugate(psi, rho, rho_E)
        expected = psi.divergence(point, rho_E)
        found = solve(cp.Problem(cp.Minimize(value), [*domain, rho == point]), solver)
        assert found == expected or found == pytest.approx(expected, abs=tiny(expected))


def test_causal_entropy_with_zeros_and_unreached_states() -> None:
    for rho in (LEARNER, *EXPERTS.values()):
        found = cvx.neg_causal_entropy(cp.Constant(rho)).value
        assert found == pytest.approx(-causal_entropy(rho), abs=ROUNDING)


def test_a_surrogate_keeps_costs_below_sup_t_where_the_expert_never_goes() -> None:
    psi = Surrogate(LOSSES["logistic"], EXPERTS["deterministic"])
    c = cp.Variable(MDP_.shape)
    _, domain = cvx.psi(psi, c)
    unseen = EXPERTS["deterministic"] == 0
    highest = cp.Problem(cp.Maximize(cp.sum(c[np.nonzero(unseen)])), [*domain, c >= -1])
    assert solve(highest) == pytest.approx(0.0, abs=CONIC)


@pytest.mark.parametrize("k", [0, np.float64(2.0), np.array(-1.0)])
def test_a_constant_expression_matches_exactly(k: float) -> None:
    psi, rho_E = Expression(lambda c: k), EXPERTS["interior"]
    for lam in (0.0, 0.3):
        for found in (match(MDP_, rho_E, psi, lam), irl(MDP_, rho_E, psi, lam)):
            certificate = certify(MDP_, rho_E, psi, found)
            assert certificate.holds()
            np.testing.assert_allclose(found.rho, rho_E, rtol=0, atol=CONIC)
            assert certificate.primal == pytest.approx(-k - lam * causal_entropy(rho_E), abs=CONIC)


class Unknown(Regulariser):
    """A psi without cvxpy forms."""

    def value(self, c: np.ndarray) -> float:
        return 0.0

    def conjugate(self, x: np.ndarray) -> float:
        return 0.0

    def best_cost(self, rho: np.ndarray, rho_E: np.ndarray) -> np.ndarray:
        return rho

    def repair(self, c: np.ndarray) -> np.ndarray:
        return c


def test_what_has_no_form_says_so() -> None:
    rho = cp.Variable((2, 2))
    for form in (lambda: cvx.psi(Unknown(), rho), lambda: cvx.conjugate(Unknown(), rho, np.ones((2, 2)))):
        with pytest.raises(TypeError) as error:
            form()
        assert str(error.value) == "no cvxpy form is registered for Unknown"
    wrong = {
        "fn must depend on the cost, but its expression does not contain it": lambda c: cp.norm2(cp.Variable(2)),
        "fn must be expressible by linear, second-order and exponential cones to have a conjugate in cvxpy, but its "
        "canonical form has semidefinite or power cones": lambda c: cp.lambda_max(c + c.T),
    }
    for message, fn in wrong.items():
        with pytest.raises(ValueError) as error:
            cvx.conjugate(Expression(fn), rho, np.ones((2, 2)))
        assert str(error.value) == message
