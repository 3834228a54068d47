"""IRL without an optimal cost: not attained, unbounded, infeasible are typed, with sequences and rays that hold."""

import cvxpy as cp
import numpy as np
import pytest

import occmatch as om
from occmatch.irl.dual import Problem, dual_value
from occmatch.irl.failures import no_optimum
from occmatch.irl.support import analyse
from occmatch.regularisers import REGISTERED, Constant, Expression, FDivergence, Lipschitz, Quadratic, Surrogate

ROUNDING = 1e-9
"""Dual values near 100 at gamma 0.9 carry 1e-13; costs of 64 nats in the sequence cost three more digits."""


def instance(seed: int = 0, gamma: float = 0.9) -> tuple[om.MDP, np.ndarray]:
    rng = np.random.default_rng(seed)
    mdp = om.examples.garnet(6, 3, 3, gamma, rng)
    return mdp, np.eye(3)[rng.integers(3, size=6)]


def dual_at(mdp: om.MDP, rho_E: np.ndarray, psi: object, c: np.ndarray, lam: float = 1.0) -> float:
    problem = Problem(mdp, rho_E, psi, lam, np.ones(mdp.shape, bool))
    return dual_value(problem, c, om.rl(mdp, c, lam).V)


@pytest.mark.parametrize("method", ["program", "newton", "ascent"])
@pytest.mark.parametrize("name", ["constant", "surrogate_linear", "fdivergence_kl", "surrogate_exponential_linear"])
def test_a_deterministic_expert_under_a_psi_that_forbids_is_not_attained(name: str, method: str) -> None:
    mdp, pi_E = instance()
    rho_E = om.occupancy(mdp, pi_E)
    psi = REGISTERED[name](mdp, rho_E)
    found = om.irl(mdp, rho_E, psi, method=method)
    assert isinstance(found, om.NotAttained)
    # Nothing but the expert is finite, and it has no entropy: the value identity holds without an optimal cost.
    expected = psi.divergence(rho_E, rho_E)
    assert found.value == pytest.approx(expected, abs=ROUNDING)
    assert found.rho == pytest.approx(rho_E, abs=ROUNDING)
    values = [dual_at(mdp, rho_E, psi, member.cost) for member in found.sequence]
    sizes = [np.abs(member.cost).max() for member in found.sequence]
    assert (np.diff(values) >= -ROUNDING).all()
    assert values[0] < expected - 1e-3
    assert values[-1] == pytest.approx(expected, abs=ROUNDING)
    assert (np.diff(sizes) > 0).all()
    assert all(np.isfinite(member.cost).all() and np.isfinite(member.V).all() for member in found.sequence)
    assert "deterministic expert" in found.message


def test_a_partly_deterministic_expert_keeps_its_entropy_as_the_value() -> None:
    mdp, pi_E = instance(1)
    pi_E[:3] = 1 / 3
    rho_E = om.occupancy(mdp, pi_E)
    found = om.irl(mdp, rho_E, Constant(), lam=0.5, method="newton")
    assert isinstance(found, om.NotAttained)
    assert found.value == pytest.approx(-0.5 * om.entropy(mdp, pi_E), abs=ROUNDING)
    assert om.certify(mdp, rho_E, Constant(), found.sequence[-1]).dual == pytest.approx(found.value, abs=1e-6)


def test_the_expert_in_a_state_that_no_policy_reaches() -> None:
    P = np.zeros((3, 2, 3))
    P[:2, :, :2], P[2, :, 2] = 0.5, 1.0
    mdp = om.MDP(P, [1.0, 0.0, 0.0], 0.9)
    rho_E = np.full((3, 2), 10 / 6)
    logistic = Surrogate(om.LOSSES["logistic"], rho_E)
    found = om.irl(mdp, rho_E, logistic, method="newton")
    assert isinstance(found, om.NotAttained)
    assert set(np.flatnonzero(found.ray.any(axis=1))) == {2}
    assert dual_at(mdp, rho_E, logistic, found.sequence[-1].cost) == pytest.approx(found.value, abs=1e-6)
    unbounded = om.irl(mdp, rho_E, FDivergence("reverse_kl", rho_E))
    assert isinstance(unbounded, om.Unbounded)
    chi2 = FDivergence("chi2", rho_E)  # finite and attained where rho vanishes
    assert om.certify(mdp, rho_E, chi2, om.irl(mdp, rho_E, chi2)).holds()


@pytest.mark.parametrize("method", ["program", "newton", "ascent"])
def test_an_empirical_measure_under_constant_psi_is_unbounded_along_the_residual(method: str) -> None:
    mdp, _ = instance(2)
    rng = np.random.default_rng(0)
    rho_E = om.occupancy(mdp, np.full((6, 3), 1 / 3)) * rng.uniform(0.9, 1.1, size=(6, 3))
    found = om.irl(mdp, rho_E, Constant(), method=method)
    assert isinstance(found, om.Unbounded)
    assert found.slope > 0
    assert found.residual == pytest.approx(om.flow_residual(mdp, rho_E))
    assert "psi is constant" in found.message
    slope_along(mdp, rho_E, Constant(), found)


@pytest.mark.parametrize("mass", [0.5, 1.5])
def test_transport_between_different_masses_is_unbounded(mass: float) -> None:
    mdp, pi_E = instance(3)
    rho_E = mass * om.occupancy(mdp, pi_E)
    psi = REGISTERED["lipschitz"](mdp, rho_E)
    assert isinstance(psi, Lipschitz)
    found = om.irl(mdp, rho_E, psi)
    assert isinstance(found, om.Unbounded)
    slope_along(mdp, rho_E, psi, found)


def test_kl_where_every_policy_must_leave_the_support() -> None:
    P = np.zeros((2, 2, 2))
    P[:, :, 1] = 1.0
    mdp = om.MDP(P, [1.0, 0.0], 0.5)
    rho_E = np.array([[1.0, 0.5], [0.0, 0.0]])  # nothing in state 1, where every policy goes
    psi = FDivergence("kl", rho_E)
    found = om.irl(mdp, rho_E, psi)
    assert isinstance(found, om.Unbounded)
    assert found.slope == pytest.approx(0.5)  # gamma, one step before the violation
    slope_along(mdp, rho_E, psi, found)


def test_features_that_cannot_match_are_unbounded_and_those_on_a_face_not_attained() -> None:
    mdp, pi_E = instance(4)
    F = np.random.default_rng(3).normal(size=(6, 3, 2))
    beyond = om.irl(mdp, 2 * om.occupancy(mdp, pi_E), Constant(F))
    assert isinstance(beyond, om.Unbounded)
    slope_along(mdp, 2 * om.occupancy(mdp, pi_E), Constant(F), beyond)
    # A deterministic policy that is optimal for one feature has its least expectation: only costs along it explain it.
    best = om.rl(mdp, F[:, :, 0], 0.0)
    face = om.irl(mdp, best.rho, Constant(F))
    assert isinstance(face, om.NotAttained)
    values = [dual_at(mdp, best.rho, Constant(F), member.cost) for member in face.sequence]
    assert values[-1] == pytest.approx(face.value, abs=1e-6)
    assert values[0] < values[-1]


def test_an_expression_without_domain_is_infeasible_and_one_without_growth_unbounded() -> None:
    mdp, pi_E = instance(5)
    rho_E = om.occupancy(mdp, pi_E)
    nowhere = Expression(lambda c: (cp.sum_squares(c), [c >= 1, c <= 0]))
    assert isinstance(om.irl(mdp, rho_E, nowhere), om.Infeasible)
    for lam in (1.0, 0.0):
        found = om.match(mdp, rho_E, nowhere, lam)
        assert isinstance(found, om.Infeasible) and "contradict" in found.message
    flat = Expression(lambda c: 0 * cp.sum(c))
    found = om.irl(mdp, 2 * rho_E, flat)
    assert isinstance(found, om.Unbounded)
    slope_along(mdp, 2 * rho_E, Constant(), found, rel=1e-2)


@pytest.mark.parametrize("lam", [1.0, 0.0])
def test_expert_mass_that_no_policy_reaches_asks_for_ever_lower_costs(lam: float) -> None:
    """Without entropy too, where actions are ruled out by finite costs; and not where psi' of no mass is finite."""
    mdp = om.MDP(np.array([[[1.0, 0.0]] * 2, [[1.0, 0.0]] * 2]), [1.0, 0.0], 0.8)
    rho_E = np.ones(mdp.shape)
    for psi in (FDivergence("kl", rho_E), FDivergence("hellinger", rho_E), Surrogate(om.LOSSES["logistic"], rho_E)):
        found = om.irl(mdp, rho_E, psi, lam)
        assert isinstance(found, om.NotAttained) and (found.ray[1] < 0).all()
        values = [dual_at(mdp, rho_E, psi, member.cost, lam) for member in found.sequence]
        assert max(values) == pytest.approx(found.value, rel=0.1)  # hellinger rises like 1 / cost
        assert max(values) <= found.value + ROUNDING
        assert not om.match(mdp, rho_E, psi, lam).attained
    for psi in (FDivergence("chi2", rho_E), FDivergence("tv", rho_E)):
        assert om.irl(mdp, rho_E, psi, lam).attained and om.match(mdp, rho_E, psi, lam).attained


def test_attained_problems_keep_every_pair_free() -> None:
    mdp, pi_E = instance(6)
    rho_E = om.occupancy(mdp, 0.9 * pi_E + 0.1 / 3)
    for name, make in REGISTERED.items():
        support = analyse(mdp, rho_E, make(mdp, rho_E), 1.0)
        assert not isinstance(support, om.Unbounded), name
        assert support.attained and support.free.all(), name


def slope_along(mdp: om.MDP, rho_E: np.ndarray, psi: object, found: om.Unbounded, rel: float = 1e-6) -> None:
    """The dual rises along the ray at the stated slope: far out, where the entropy's constant no longer counts."""
    near, far = (dual_at(mdp, rho_E, psi, t * found.ray) for t in (1e5, 2e5))
    assert far > near
    assert (far - near) / 1e5 == pytest.approx(found.slope, rel=rel, abs=1e-6)


@pytest.mark.parametrize("seed", [4, 6, 8, 9, 11])
def test_newton_over_features_of_an_expert_without_a_choice(seed: int) -> None:
    """No curvature is left but rounding, which must not be taken for curvature: costs would be of size 1e12."""
    rng = np.random.default_rng(seed)
    mdp = om.examples.garnet(3, 3, 2, 0.9, rng)
    rho_E = om.occupancy(mdp, np.eye(3)[rng.integers(3, size=3)])
    psi = Constant(rng.normal(size=(3, 3, 3)))
    found = om.irl(mdp, rho_E, psi, 0.01, "newton")
    assert isinstance(found, om.NotAttained)
    duals = [om.certify(mdp, rho_E, psi, member).dual for member in found.sequence]
    assert duals[0] < duals[1] < duals[2] and duals[-1] == pytest.approx(found.value, abs=1e-12)
    assert np.abs(found.sequence[-1].cost).max() < 1e3


def test_a_program_that_fails_is_no_statement_about_the_problem() -> None:
    """psi* of a Quadratic is finite everywhere: its dual is bounded, whatever the solver says."""
    rng = np.random.default_rng(29)
    mdp = om.examples.garnet(4, 2, 2, 0.999, rng)
    rho_E = om.empirical(mdp, om.sample_trajectories(mdp, rng.dirichlet(np.ones(2), size=4), 2, 5, rng))
    psi = Quadratic(1e-4)
    problem = Problem(mdp, rho_E, psi, 10.0, np.ones(mdp.shape, bool))
    with pytest.raises(ArithmeticError, match="ended with status 'infeasible', but the measure of the expert's policy"):
        no_optimum(problem, "infeasible")
    assert om.certify(mdp, rho_E, psi, om.match(mdp, rho_E, psi, 10.0)).holds()
