"""A certificate where optima are next to zero: its rounding near the expert, its scale without entropy."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from corner_mdps import random_policy
from flint import arb, ctx

import occmatch as om
from occmatch.certificate_balls import DIVERGENCE_ENTRIES, ball
from occmatch.certificate_interval import enclose
from occmatch.regularisers import GENERATORS, REGISTERED, Expression, Lipschitz, Quadratic, transition_metric

# A handful of elementary operations, each of two units in the last place; logarithms of masses multiply by up to log m.
FEW = 16 * np.finfo(float).eps


def exact(name: str, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    with ctx.workprec(400):
        return np.array(
            [float(DIVERGENCE_ENTRIES[name].divergence(ball(x), ball(y)).mid()) for x, y in zip(p, q, strict=True)]
        )


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("apart", [2e-16, 1e-12, 1e-6, 1e-3, 0.2, 0.6, 3.0, 40.0])
def test_divergences_keep_their_digits_where_the_measures_agree(name: str, apart: float) -> None:
    rng = np.random.default_rng(0)
    q = 10.0 ** rng.uniform(-6, 3, size=40)
    p = q * np.exp(apart * rng.choice([-1, 1], size=40) * rng.uniform(0.6, 1, size=40))
    p, q = p[p != q], q[p != q]
    np.testing.assert_allclose(GENERATORS[name].divergence(p, q), exact(name, p, q), rtol=FEW, atol=0)


@pytest.mark.parametrize("apart", [2e-16, 1e-12, 1e-6, 1e-3, 0.2])
def test_the_cost_of_kl_keeps_its_digits_too(apart: float) -> None:
    rng = np.random.default_rng(1)
    q = 10.0 ** rng.uniform(-6, 3, size=40)
    p = q * (1 + apart * rng.choice([-1, 1], size=40))
    with ctx.workprec(400):
        cost = [float((arb(float(x)) / arb(float(y))).log().mid()) for x, y in zip(p, q, strict=True)]
    np.testing.assert_allclose(GENERATORS["kl"].cost(p, q), cost, rtol=FEW, atol=0)


@pytest.mark.parametrize("lam", [1e-4, 1e-8])
@pytest.mark.parametrize("name", ["fdivergence_kl", "fdivergence_reverse_kl", "fdivergence_js"])
def test_the_proved_optimum_lies_between_the_bounds_near_the_expert(name: str, lam: float) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        mdp = om.examples.garnet(3, 2, 3, 0.9, rng)
        rho_E = om.occupancy(mdp, random_policy(mdp, rng))
        psi = REGISTERED[name](mdp, rho_E)
        candidate = om.match(mdp, rho_E, psi, lam)
        for claim in (candidate, replace(candidate, cost=np.zeros(mdp.shape), V=np.zeros(3), margin=None)):
            found, proved = om.certify(mdp, rho_E, psi, claim), enclose(mdp, rho_E, psi, claim)
            assert found.primal + found.rounding >= proved.dual_lower
            assert found.dual - found.rounding <= proved.primal_upper
            assert abs(found.gap - proved.gap) <= found.rounding


@pytest.mark.parametrize("solve", [om.match, om.irl])
@pytest.mark.parametrize("name", REGISTERED)
def test_a_match_without_entropy_holds_and_half_of_one_does_not(name: str, solve) -> None:
    rng = np.random.default_rng(0)
    mdp = om.examples.garnet(5, 3, 5, 0.9, rng)
    rho_E = om.occupancy(mdp, random_policy(mdp, rng))
    psi = REGISTERED[name](mdp, rho_E)
    candidate = solve(mdp, rho_E, psi, 0.0)
    found = om.certify(mdp, rho_E, psi, candidate)
    assert found.holds() and found.gap >= -found.rounding
    if name == "expression":  # blind to differences below one: a policy astray is optimal too
        return
    astray = 0.5 * om.policy(rho_E) + 0.5 * random_policy(mdp, rng)
    assert not om.certify(mdp, rho_E, psi, replace(candidate, rho=om.occupancy(mdp, astray), pi=astray)).holds()


@pytest.mark.parametrize("solve", [om.match, om.irl])
def test_without_entropy_a_matched_expert_holds_where_psi_has_no_size(solve):
    mdp = om.MDP(np.ones((1, 2, 1)), [1.0], 0.0)
    rho_E = om.occupancy(mdp, np.array([[0.3, 0.7]]))
    psi = Lipschitz(transition_metric(mdp))
    found = om.certify(mdp, rho_E, psi, solve(mdp, rho_E, psi, lam=0.0))
    assert found.holds() and found.scale == pytest.approx(0.7)  # W_1 to the player who only takes the first


@pytest.mark.parametrize("solve", ["match", "program", "newton"])
def test_matched_features_hold_though_measures_differ(solve: str) -> None:
    """Over features psi* is the indicator of a subspace: rho - rho_E has the size of the measures, not of rounding."""
    mdp = om.examples.gridworld(3, slip=0.1, gamma=0.9)
    rho_E = om.rl(mdp, om.examples.gridworld_cost(mdp), lam=0.3).rho
    psi = om.regularisers.Constant(np.random.default_rng(0).normal(size=(*mdp.shape, 2)))
    found = om.match(mdp, rho_E, psi, 0.1) if solve == "match" else om.irl(mdp, rho_E, psi, 0.1, solve)
    certificate = om.certify(mdp, rho_E, psi, found)
    assert np.abs(found.rho - rho_E).max() > 0.01
    assert certificate.holds(), certificate.faults()
    wrong = om.certify(mdp, rho_E, psi, replace(found, cost=-found.cost, V=om.rl(mdp, -found.cost, 0.1).V))
    assert not wrong.holds()


def test_rounding_at_a_kink_of_psi_star_is_a_bound() -> None:
    """One policy: the optimum is -lam H + psi*(0) = 0, and every bit of the primal value is rounding at the kink."""
    mdp = om.MDP(np.random.default_rng(0).dirichlet(np.ones(6), size=(6, 1)), np.eye(6)[0], 0.999)
    rho_E = om.occupancy(mdp, np.ones((6, 1)))
    psi = om.regularisers.L2Ball(np.random.default_rng(1).normal(size=(6, 1, 2)), 1e3)
    found = om.match(mdp, rho_E, psi, 1.0)
    certificate, proved = om.certify(mdp, rho_E, psi, found), enclose(mdp, rho_E, psi, found)
    assert abs(certificate.primal - proved.primal_upper) <= certificate.rounding
    assert certificate.holds()


@pytest.mark.parametrize("conic", [True, False])
def test_rounding_says_whose_it_is(conic: bool) -> None:
    """Near a small optimum the conic solver's tolerance is what is coarse; intervals have no form for its numbers."""
    mdp = om.examples.gridworld(3, slip=0.1, gamma=0.9)
    rho_E = om.occupancy(mdp, om.rl(mdp, om.examples.gridworld_cost(mdp), lam=0.3).pi)
    psi = Expression(lambda c: cp.sum_squares(c) + cp.sum(cp.abs(c))) if conic else Quadratic()
    faults = om.certify(mdp, rho_E, psi, om.irl(mdp, rho_E, psi, lam=1e-3)).faults(1e-8 if conic else 1e-17)
    (fault,) = (f for f in faults if f.startswith("rounding"))
    solvers = "psi and psi* come from a solver, whose tolerances are no finer beside a scale of 0.0106"
    floats = "the costs or values are too large for float64 to tell (certificate_interval can)"
    assert fault.endswith(solvers if conic else floats)
