"""IRL_psi by every method: certified gaps, the policy recovered twice, the cost's oracle, derivatives of the dual."""

import numpy as np
import pytest

import occmatch as om
from occmatch.irl import dual, newton, program
from occmatch.irl.dual import Problem
from occmatch.irl.polish import polish
from occmatch.losses import SmoothedHinge
from occmatch.regularisers import REGISTERED, Box, Constant, FDivergence, L2Ball, Quadratic, Surrogate

PROGRAM_GAP = 1e-7
"""Clarabel stops near relative 1e-8 in the cost; the gap is of second order in it, but of first at kinks of psi*."""
NEWTON_GAP = 1e-11
"""Newton stops at rounding: 1e-16 times the condition 1/(1 - gamma) <= 100 of V, with three digits to spare."""
ASCENT_GAP = 1e-6
"""The tolerance that the runs below ask for, in the gap's own scale."""
ASKED_WEIGHTS = 1e-3
"""Square root of the gap 1e-9 * |value| that ascent and the program are asked for, over the penalty's curvature 0.5.
The program mostly ends far below it, and on some processors, whose sums round otherwise, not far."""
POLICY = 1e-5
"""Square root of the program's gap at strong convexity lam, with the accuracy of exponential-cone multipliers."""


def instance(seed: int, deterministic: bool = False) -> tuple[om.MDP, np.ndarray]:
    rng = np.random.default_rng(seed)
    S, A, gamma = int(rng.integers(2, 12)), int(rng.integers(2, 5)), float(rng.choice([0.5, 0.9, 0.99]))
    mdp = om.examples.garnet(S, A, min(S, 3), gamma, rng)
    pi = rng.dirichlet(np.ones(A), S)
    return mdp, om.occupancy(mdp, np.eye(A)[pi.argmax(1)] if deterministic else pi)


def expect_certified(mdp: om.MDP, rho_E: np.ndarray, psi: object, found: object, tolerance: float) -> None:
    """The certificate of a candidate, or of the last member of a sequence and the limit it rises to."""
    if isinstance(found, om.NotAttained):
        last = om.certify(mdp, rho_E, psi, found.sequence[-1])
        assert last.dual == pytest.approx(found.value, rel=tolerance, abs=tolerance * last.scale)
        return
    certificate = om.certify(mdp, rho_E, psi, found)
    assert certificate.holds(tolerance), certificate


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("name", REGISTERED)
def test_the_program_is_certified_for_every_psi(name: str, deterministic: bool) -> None:
    mdp, rho_E = instance(3, deterministic)
    psi = REGISTERED[name](mdp, rho_E)
    expect_certified(mdp, rho_E, psi, om.irl(mdp, rho_E, psi, lam=0.5), PROGRAM_GAP)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", REGISTERED)
def test_newton_is_certified_where_it_exists(name: str, seed: int, deterministic: bool) -> None:
    mdp, rho_E = instance(seed, deterministic)
    psi = REGISTERED[name](mdp, rho_E)
    if not newton.has_newton(psi):
        with pytest.raises(ValueError, match="method 'newton' must have a differentiable psi"):
            om.irl(mdp, rho_E, psi, method="newton")
        return
    expect_certified(mdp, rho_E, psi, om.irl(mdp, rho_E, psi, method="newton"), NEWTON_GAP)


@pytest.mark.parametrize(
    "name", ["surrogate_logistic", "l2_ball_features", "simplex", "box", "quadratic", "fdivergence_js"]
)
def test_ascent_reaches_the_same_value_and_records_the_way(name: str) -> None:
    mdp, rho_E = instance(1)
    psi = REGISTERED[name](mdp, rho_E)
    found = om.irl(mdp, rho_E, psi, method="ascent", tol=ASCENT_GAP)
    expect_certified(mdp, rho_E, psi, found, 10 * ASCENT_GAP)
    history = found.history
    assert len(history.dual) == found.iterations
    assert history.dual[-1] > history.dual[0]
    assert (history.primal - history.dual >= -NEWTON_GAP * abs(history.dual[-1])).all()


def test_plain_ascent_rises_monotonically() -> None:
    mdp, rho_E = instance(1)
    found = om.irl(mdp, rho_E, Constant(), method="ascent", momentum=False, max_iter=60)
    rounding = NEWTON_GAP * abs(found.history.dual[-1])
    assert (np.diff(found.history.dual) >= -rounding).all()
    assert found.history.gradient[-1] < 0.1 * found.history.gradient[0]


@pytest.mark.parametrize("method", ["program", "newton"])
def test_with_psi_constant_the_cost_is_the_log_policy_up_to_shaping(method: str) -> None:
    mdp, rho_E = instance(2)
    lam = 0.7
    found = om.irl(mdp, rho_E, Constant(), lam, method)
    pi_E = om.policy(rho_E)
    shaped = found.cost + lam * np.log(pi_E)
    # All that is left is V - gamma P V, with V the value of the cost itself.
    assert shaped == pytest.approx(found.V[:, None] - mdp.gamma * mdp.expect(found.V), abs=POLICY)
    assert found.pi == pytest.approx(pi_E, abs=POLICY)


def test_newton_keeps_the_shaping_part_of_the_cost_at_zero() -> None:
    mdp, rho_E = instance(2)
    cost = om.irl(mdp, rho_E, Constant(), method="newton").cost
    for V in np.eye(mdp.S):
        assert np.vdot(cost, V[:, None] - mdp.gamma * mdp.expect(V)) == pytest.approx(0, abs=NEWTON_GAP * 1e2)


@pytest.mark.parametrize("lam", [0.2, 3.0])
def test_the_program_holds_the_policy_twice(lam: float) -> None:
    mdp, rho_E = instance(5)
    psi = Surrogate(om.LOSSES["logistic"], rho_E)
    solution = program.solve_program(Problem(mdp, rho_E, psi, lam, np.ones(mdp.shape, bool)))
    from_cost = om.rl(mdp, solution.cost, lam)
    assert solution.pi == pytest.approx(from_cost.pi, abs=POLICY)
    assert solution.rho == pytest.approx(from_cost.rho, abs=POLICY * from_cost.rho.max())  # scaled by lam if wrong
    assert mdp.p0 @ solution.V == pytest.approx(mdp.p0 @ from_cost.V, rel=POLICY)


def test_polish_solves_each_pair_by_itself() -> None:
    mdp, rho_E = instance(4)
    psi = FDivergence("kl", rho_E)
    problem = Problem(mdp, rho_E, psi, 0.4, np.ones(mdp.shape, bool))
    found = om.irl(mdp, rho_E, psi, 0.4, "newton")
    cost, pi = polish(problem, found.V, found.rho)
    assert cost == pytest.approx(found.cost, abs=NEWTON_GAP * 1e3)
    assert pi == pytest.approx(found.pi, abs=NEWTON_GAP * 1e3)


@pytest.mark.parametrize("name", ["surrogate_logistic", "fdivergence_chi2", "quadratic", "surrogate_smoothed_hinge"])
def test_the_gradient_of_the_dual_is_the_occupancy_gap(name: str) -> None:
    mdp, rho_E = instance(6)
    psi = REGISTERED[name](mdp, rho_E)
    problem = Problem(mdp, rho_E, psi, 0.5, np.ones(mdp.shape, bool))
    rng = np.random.default_rng(0)
    c = psi.best_cost(rho_E, rho_E) - 0.1 * rng.random(mdp.shape)
    direction = rng.normal(size=mdp.shape)
    gradient = problem.answer(c)[2] - rho_E - psi.dvalue(c)

    def value(t: float) -> float:
        at = c + t * direction
        return dual.dual_value(problem, at, problem.answer(at)[0])

    h = 1e-5  # central differences err by h^2 = 1e-10 and by rounding / h = 1e-10
    assert (value(h) - value(-h)) / (2 * h) == pytest.approx(np.vdot(gradient, direction), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", ["surrogate_logistic", "fdivergence_kl", "quadratic"])
def test_the_newton_step_solves_the_newton_equation(name: str) -> None:
    """The sparse system against the Hessian that finite differences of the gradient make."""
    rng = np.random.default_rng(1)
    mdp = om.examples.garnet(4, 3, 2, 0.9, rng)
    rho_E = om.occupancy(mdp, rng.dirichlet(np.ones(3), 4))
    psi = REGISTERED[name](mdp, rho_E)
    problem = Problem(mdp, rho_E, psi, 0.5, np.ones(mdp.shape, bool))
    c = psi.best_cost(rho_E, rho_E) - 0.1 * rng.random(mdp.shape)

    def gradient(at: np.ndarray) -> np.ndarray:
        return problem.answer(at)[2] - rho_E - psi.dvalue(at)

    h = 1e-5
    columns = [
        (gradient(c + h * e.reshape(c.shape)) - gradient(c - h * e.reshape(c.shape))).ravel() / (2 * h)
        for e in np.eye(c.size)
    ]
    r = gradient(c)
    expected = np.linalg.solve(-np.array(columns).T, r.ravel()).reshape(c.shape)
    _, pi, rho = problem.answer(c)
    step, _ = newton._step(problem, r, pi, rho, psi.d2value(c), np.zeros(c.shape, bool))
    assert step == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("method", ["program", "ascent", "newton"])
@pytest.mark.parametrize("kind", ["ball", "quadratic", "free"])
def test_max_causal_entropy_over_linear_costs(method: str, kind: str) -> None:
    """Eq 1 on costs F w by each method: the weights satisfy the first-order condition of their class."""
    mdp, rho_E = instance(7)
    F = np.random.default_rng(2).normal(size=(*mdp.shape, 3))
    psi = {"ball": L2Ball(F, 0.05), "quadratic": Quadratic(0.5, F), "free": Constant(F)}[kind]
    found = om.irl(mdp, rho_E, psi, 0.5, method, tol=1e-9)
    near = POLICY if method == "newton" else ASKED_WEIGHTS
    gap = np.einsum("sak,sa->k", F, om.rl(mdp, found.cost, 0.5).rho - rho_E)
    w = np.linalg.lstsq(F.reshape(-1, 3), found.cost.ravel(), rcond=None)[0]
    if kind == "free":
        assert gap == pytest.approx(0, abs=near)
    elif kind == "quadratic":
        assert 0.5 * w == pytest.approx(gap, abs=near)
    else:
        assert np.linalg.norm(w) <= 0.05 * (1 + near)
        assert w == pytest.approx(0.05 * gap / np.linalg.norm(gap), abs=near)


@pytest.mark.parametrize("method", ["program", "newton"])
def test_units_of_features_do_not_matter_to_a_constant_psi(method: str) -> None:
    """Newton left a feature of 1e-8 beside others of 1 unmatched, and the certificate did not see one of 1e-12."""
    mdp, rho_E = instance(7)
    F = np.random.default_rng(2).normal(size=(*mdp.shape, 3))
    reference = om.irl(mdp, rho_E, Constant(F), 0.5, method)
    for unit in (1e-6, 1e-12, 1e200):
        psi = Constant(F * [1.0, unit, 1.0])
        found = om.irl(mdp, rho_E, psi, 0.5, method)
        assert om.certify(mdp, rho_E, psi, found).holds(PROGRAM_GAP)
        assert found.rho == pytest.approx(reference.rho, abs=POLICY * rho_E.sum())
        without = om.irl(mdp, rho_E, Constant(F[:, :, ::2]), 0.5, method)
        assert om.certify(mdp, rho_E, psi, without).primal == np.inf


def test_without_entropy_the_program_is_the_linear_program_of_matching() -> None:
    mdp, rho_E = instance(8)
    psi = Box(0.5)
    found = om.irl(mdp, rho_E, psi, lam=0.0)
    expect_certified(mdp, rho_E, psi, found, PROGRAM_GAP)
    assert psi.divergence(found.rho, rho_E) == pytest.approx(0, abs=PROGRAM_GAP * rho_E.sum())


def test_a_smaller_weight_of_entropy_gives_a_closer_match() -> None:
    mdp, rho_E = instance(9)
    psi = Surrogate(om.LOSSES["logistic"], rho_E)
    distances = [psi.divergence(om.irl(mdp, rho_E, psi, lam, "newton").rho, rho_E) for lam in (1.0, 0.1, 0.01)]
    assert distances[0] > distances[1] > distances[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rho_E": np.full((2, 2), np.nan)}, "rho_E"),
        ({"rho_E": -np.ones((2, 2))}, "rho_E[0, 0] must be at least 0, but is -1"),
        ({"rho_E": np.ones((3, 2))}, "rho_E must have shape (2, 2), but has shape (3, 2)"),
        ({"lam": -1.0}, "lam must be at least 0, but is -1"),
        ({"lam": 0.0, "method": "newton"}, "lam must be positive, but is 0"),
        ({"method": "gradient"}, "method must be one of program, ascent, newton, but is 'gradient'"),
        ({"psi": "l2"}, "psi must be a Regulariser, but is str"),
        (
            {"psi": L2Ball(np.ones((3, 2, 1)))},
            "psi.features must have shape (2, 2) by the MDP, but has shape (3, 2, 1)",
        ),
    ],
)
def test_wrong_arguments(change: dict, message: str) -> None:
    mdp = om.examples.two_state_chain()
    arguments = {"rho_E": np.ones(mdp.shape), "psi": Constant(), "lam": 1.0, "method": "program"} | change
    with pytest.raises(ValueError) as error:
        om.irl(mdp, **arguments)
    assert message in str(error.value)


@pytest.mark.parametrize("tau", [0.01, 0.001])
def test_newton_ends_where_a_kink_leaves_the_doubles(tau: float) -> None:
    """psi'' is 0 and inf on the two sides: it ended in an error about an infinite cost, or of SuperLU."""
    rng = np.random.default_rng(0)
    mdp = om.examples.garnet(4, 2, 4, 0.9, rng)
    rho_E = om.occupancy(mdp, rng.dirichlet([1, 1], 4))
    psi = Surrogate(SmoothedHinge(tau=tau), rho_E)
    for method, optimal in (("newton", False), ("program", True)):
        found = om.irl(mdp, rho_E, psi, 0.1, method, max_iter=20)
        assert om.certify(mdp, rho_E, psi, found).holds() == optimal


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "name", ["fdivergence_kl", "fdivergence_chi2", "surrogate_exponential_linear", "surrogate_linear", "constant"]
)
def test_without_entropy_policies_keep_off_what_psi_star_forbids(name: str, seed: int) -> None:
    """The program leaves 1e-13 on a pair that the expert never takes, where psi* is infinite: its policy was lost."""
    rng = np.random.default_rng(seed)
    mdp = om.examples.garnet(5, 2, 4, 0.9, rng)
    pi_E = rng.dirichlet(np.ones(2), 5)
    pi_E[0] = [0, 1]
    rho_E = om.occupancy(mdp, pi_E)
    psi = REGISTERED[name](mdp, rho_E)
    found = om.irl(mdp, rho_E, psi, lam=0.0)
    assert found.rho[0, 0] == 0.0
    expect_certified(mdp, rho_E, psi, found, 1e-11)


def test_newton_ends_where_it_arrives() -> None:
    """Costs of pairs with next to no mass are left to rounding, and their decrement never fell to it: 2,001 steps."""
    rng = np.random.default_rng(0)
    mdp = om.examples.garnet(6, 3, 3, 0.9, rng)
    rho_E = om.rl(mdp, rng.random(mdp.shape), 0.02).rho
    psi = FDivergence("js", rho_E)
    found = om.irl(mdp, rho_E, psi, method="newton")
    assert found.iterations <= 20
    expect_certified(mdp, rho_E, psi, found, NEWTON_GAP)


@pytest.mark.parametrize("name", ["surrogate_logistic", "fdivergence_js"])
def test_newton_damps_directions_without_curvature(name: str) -> None:
    """Masses down to 1e-311 and almost no entropy: it took a cost change of 1e32 as a step, and ended far off."""
    rng = np.random.default_rng(0)
    mdp = om.examples.garnet(5, 3, 3, 0.9, rng)
    rho_E = om.rl(mdp, rng.random(mdp.shape), 1e-3).rho
    psi = REGISTERED[name](mdp, rho_E)
    found = om.irl(mdp, rho_E, psi, 1e-4, "newton")
    expect_certified(mdp, rho_E, psi, found, NEWTON_GAP)
    assert (np.diff(found.history.dual) >= -NEWTON_GAP).all()


def test_without_entropy_an_exact_match_is_the_expert() -> None:
    """The only policy with a finite psi*; that of the multipliers misses it by more than rounding."""
    rng = np.random.default_rng(18)
    mdp = om.examples.garnet(12, 3, 4, 0.5, rng)
    rho_E = om.occupancy(mdp, rng.dirichlet(np.full(3, 0.1), 12))
    psi = Surrogate(om.LOSSES["linear"], rho_E)
    expect_certified(mdp, rho_E, psi, om.irl(mdp, rho_E, psi, lam=0.0), NEWTON_GAP)


@pytest.mark.parametrize("weight", [1e-1, 1e-3, 1e-4])
def test_newton_under_a_psi_so_weak_that_its_costs_leave_no_choice(weight: float) -> None:
    mdp = om.MDP(np.ones((1, 2, 1)), [1.0], 0.999)
    rho_E, psi = om.occupancy(mdp, np.array([[0.0, 1.0]])), Quadratic(weight)
    found = om.irl(mdp, rho_E, psi, 10.0, "newton")
    assert om.certify(mdp, rho_E, psi, found).holds()
    assert found.iterations < 50


@pytest.mark.parametrize("seed", range(4))
def test_newton_in_a_ball_far_larger_than_the_cost(seed: int) -> None:
    """Shaping costs nothing there, and its slope is rounding: following it ends at costs of the ball's radius."""
    rng = np.random.default_rng(seed)
    mdp = om.examples.garnet(3, 2, 2, 0.999, rng)
    rho_E, psi = om.occupancy(mdp, rng.dirichlet(np.ones(2), size=3)), L2Ball(radius=1e3)
    found = om.irl(mdp, rho_E, psi, 0.01, "newton")
    assert np.linalg.norm(found.cost) < 1.0
    assert om.certify(mdp, rho_E, psi, found).relative_gap <= 1e-7
