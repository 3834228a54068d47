"""Occupancy matching as a whole: on corners, at extremes, at size, and against slower ways of solving."""

from itertools import product

import numpy as np
import pytest
from corner_mdps import corner_mdps, deterministic_policy, random_policy
from matching_problems import gap, problem
from scipy.optimize import minimize

import occmatch as om
from occmatch.candidate import Infeasible
from occmatch.losses import LOSSES, SmoothedHinge
from occmatch.losses_own import OwnLoss
from occmatch.matching import has_newton
from occmatch.matching_newton import derivatives
from occmatch.regularisers import REGISTERED, Box, Constant, FDivergence, L2Ball, Quadratic, Simplex, Surrogate

# Rounding of a gap: 1e2 units in the last place times 1 / (1 - gamma) <= 1e2.
OPTIMAL = 1e-11
ROUNDING = 1e2 * np.finfo(float).eps  # the same, by 1 / (1 - gamma), for a gamma nearer to one

# Clarabel ends between 1e-8 and 1e-9 of the objective, hence within about 1e-4 of the policy; see the agreement suite.
PROGRAM = 1e-7

# Policies of costs 1e4 times lam hang on the last digits of V, which condition 1e2 leaves 1e-14 of.
LARGE = 1e-6


@pytest.mark.parametrize("name", ["surrogate_logistic", "fdivergence_hellinger", "quadratic", "l2_ball_features"])
def test_nothing_else_is_better(name):
    """Oracle: BFGS over softmax policies with numerical gradients, from ten starts."""
    rng = np.random.default_rng(4)
    mdp = om.examples.garnet(3, 2, 2, 0.8, rng)
    rho_E = om.occupancy(mdp, random_policy(mdp, rng))
    psi, lam = REGISTERED[name](mdp, rho_E), 0.4

    def f(logits):
        pi = np.exp(logits.reshape(mdp.shape) - logits.reshape(mdp.shape).max(axis=1, keepdims=True))
        pi /= pi.sum(axis=1, keepdims=True)
        rho = om.occupancy(mdp, pi)
        return psi.divergence(rho, rho_E) - lam * om.causal_entropy(rho)

    found = om.match(mdp, rho_E, psi, lam)
    best = min(minimize(f, rng.normal(size=6)).fun for _ in range(10))
    value = psi.divergence(found.rho, rho_E) - lam * om.causal_entropy(found.rho)
    assert value <= best + 1e-12 and best <= value + 1e-6  # BFGS with differences ends near 1e-8


@pytest.mark.parametrize("psi", list(REGISTERED))
@pytest.mark.parametrize("name", corner_mdps())
def test_corners(name, psi):
    mdp = corner_mdps()[name]
    rng = np.random.default_rng(0)
    for pi in (random_policy(mdp, rng), deterministic_policy(mdp, rng)):
        rho_E = om.occupancy(mdp, pi)
        regulariser = REGISTERED[psi](mdp, rho_E)
        if has_newton(regulariser):
            found = om.match(mdp, rho_E, regulariser, 0.3, "newton")
            certificate = om.certify(mdp, rho_E, regulariser, found)
            optimal = max(OPTIMAL, ROUNDING / (1 - mdp.gamma))
            assert abs(certificate.gap) <= optimal * certificate.scale + certificate.rounding


@pytest.mark.parametrize("lam", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("psi", ["surrogate_logistic", "surrogate_smoothed_hinge", "fdivergence_kl", "box", "l2_ball"])
def test_any_weight_of_the_entropy(psi, lam):
    mdp, rho_E, _ = problem(5)
    regulariser = REGISTERED[psi](mdp, rho_E)
    assert gap(mdp, rho_E, regulariser, om.match(mdp, rho_E, regulariser, lam)) <= OPTIMAL


@pytest.mark.parametrize(
    "psi", ["surrogate_logistic", "surrogate_exponential", "fdivergence_reverse_kl", "fdivergence_js"]
)
@pytest.mark.parametrize("smallest", [1e-30, 1e-200, 5e-324])
def test_an_expert_that_underflows(psi, smallest):
    mdp, rho_E, rng = problem(6)
    tiny = rho_E * np.where(rng.random(mdp.shape) < 0.4, smallest, 1.0)  # in [0, inf), not in D; psi* allows that
    regulariser = REGISTERED[psi](mdp, tiny)
    assert gap(mdp, tiny, regulariser, om.match(mdp, tiny, regulariser, 0.5)) <= OPTIMAL


def test_an_expert_from_finite_data():
    """rho_E outside D: fine for psi_GA, infeasible for an exact match, and for KL where data misses the start."""
    mdp, rho_E, rng = problem(7, S=20)
    empirical = np.where(rng.random(mdp.shape) < 0.5, rho_E, 0.0)
    for psi in (Surrogate(LOSSES["logistic"], empirical), FDivergence("js", empirical), Box(), L2Ball()):
        assert gap(mdp, empirical, psi, om.match(mdp, empirical, psi)) <= OPTIMAL
    found = om.match(mdp, empirical, Constant())
    assert isinstance(found, Infeasible) and "misses the flow equations" in found.message
    assert found.excess == pytest.approx(np.abs(om.flow_residual(mdp, empirical)).sum())
    empirical[mdp.p0 > 0] = 0.0
    for psi in (FDivergence("kl", empirical), FDivergence("chi2", empirical)):
        for method in ("newton", "program"):
            found = om.match(mdp, empirical, psi, method=method)
            assert isinstance(found, Infeasible) and "no policy avoids them all" in found.message


def test_mass_where_the_mdp_never_goes():
    mdp = corner_mdps()["unreachable states"]
    rho_E = np.full(mdp.shape, 1.0)
    found = om.match(mdp, rho_E, FDivergence("reverse_kl", rho_E))
    assert isinstance(found, Infeasible) and "never reaches" in found.message
    chain = om.MDP(np.eye(2)[[[0, 1], [1, 1]]], [1.0, 0.0], 0.8)
    trap = np.array([[4.0, 1.0], [0.0, 0.0]])  # the expert enters state 1, where kl and chi2 forbid to be
    for at, expert, losses, names in (
        (mdp, rho_E, ("logistic", "exponential", "smoothed_hinge"), ("kl", "hellinger", "js")),
        (chain, trap, (), ("kl", "chi2")),
    ):
        psis = [Surrogate(LOSSES[name], expert) for name in losses] + [FDivergence(name, expert) for name in names]
        for psi, method in product(psis, ("newton", "program")):  # finite there: the learner simply loses
            found = om.match(at, expert, psi, method=method)
            assert not found.attained and np.isfinite(found.cost).all()
            assert gap(at, expert, psi, found) <= PROGRAM
    for psi in (FDivergence("chi2", rho_E), Quadratic()):  # and here a finite cost is the best for none
        assert om.match(mdp, rho_E, psi).attained


def test_pairs_ruled_out_are_exactly_zero_and_the_cost_stays_finite():
    mdp, _, rng = problem(8, S=15)
    rho_E = om.occupancy(mdp, deterministic_policy(mdp, rng))
    for psi in (FDivergence("kl", rho_E), Surrogate(LOSSES["exponential_linear"], rho_E), Constant()):
        found = om.match(mdp, rho_E, psi)
        assert not found.attained and np.isfinite(found.cost).all()
        assert (found.rho[rho_E == 0] == 0).all()
        assert gap(mdp, rho_E, psi, found) <= OPTIMAL


@pytest.mark.parametrize(
    ("kind", "gamma", "lam", "deterministic"),
    [
        ("garnet", 0.95, 1.0, False),
        ("garnet", 0.99, 0.1, True),
        ("grid", 0.95, 0.1, False),  # far corners hold 1e-16 of the expert's mass
        ("grid", 0.99, 0.1, True),  # and none at all
    ],
)
@pytest.mark.parametrize("psi", ["surrogate_logistic", "fdivergence_hellinger"])
def test_at_size(kind, gamma, lam, deterministic, psi):
    rng = np.random.default_rng(0)
    if kind == "garnet":
        mdp = om.examples.garnet(1000, 4, 5, gamma, rng)
        cost = rng.random(mdp.shape)
    else:
        mdp = om.examples.gridworld(32, gamma=gamma, start=0)
        cost = om.examples.gridworld_cost(mdp)
    rho_E = om.rl(mdp, cost, 0.0 if deterministic else 0.1).rho
    regulariser = REGISTERED[psi](mdp, rho_E)
    found = om.match(mdp, rho_E, regulariser, lam)
    assert gap(mdp, rho_E, regulariser, found) <= 1e-12
    assert found.iterations <= 40 and len(found.history) == found.iterations


def test_history_descends_to_quadratic_convergence():
    mdp, rho_E, _ = problem(9, S=20)
    psi = Surrogate(LOSSES["logistic"], rho_E)
    history = om.match(mdp, rho_E, psi).history
    f = np.array([step.f for step in history])
    assert (np.diff(f) <= 1e-12 * np.abs(f[0])).all()
    assert all(step.t == 1.0 for step in history[-2:])
    assert history[-1].change <= max(1e-6, history[-2].change ** 1.5)


def test_derivatives_by_differences():
    mdp, rho_E, rng = problem(10)
    rho = rho_E * np.exp(rng.normal(size=mdp.shape))
    h = 1e-6
    for name, make in REGISTERED.items():
        psi = make(mdp, rho_E)
        if not psi.smooth:
            continue
        cost, kappa = derivatives(psi, rho, rho_E)
        for s, a in ((0, 0), (3, 1), (7, 2)):
            nudge = np.zeros(mdp.shape)
            nudge[s, a] = h * rho[s, a]
            up, down = psi.divergence(rho + nudge, rho_E), psi.divergence(rho - nudge, rho_E)
            assert cost[s, a] * rho[s, a] == pytest.approx((up - down) / (2 * h), rel=1e-5, abs=1e-7), name
            slope = derivatives(psi, rho + nudge, rho_E)[0] - derivatives(psi, rho - nudge, rho_E)[0]
            assert kappa[s, a] == pytest.approx(slope[s, a] / (2 * h), rel=1e-5, abs=1e-7), name


def test_which_psi_have_a_solver_of_our_own():
    mdp, rho_E, _ = problem()
    lacking = {name for name, make in REGISTERED.items() if not has_newton(make(mdp, rho_E))}
    assert lacking == {"lipschitz", "expression"}
    assert not has_newton(Constant(np.ones((8, 3, 2))))


def test_bad_arguments_are_refused():
    mdp, rho_E, _ = problem()
    psi = Surrogate(LOSSES["logistic"], rho_E)
    with pytest.raises(ValueError, match=r"rho_E\[0, 0\] must be at least 0, but is -1"):
        om.match(mdp, -np.ones(mdp.shape), psi)
    with pytest.raises(ValueError, match=r"rho_E must have shape \(8, 3\), but has shape \(3, 8\)"):
        om.match(mdp, rho_E.T, psi)
    with pytest.raises(ValueError, match=r"rho_E\[1, 2\] must be finite, but is nan"):
        om.match(mdp, np.where(np.arange(24).reshape(8, 3) == 5, np.nan, rho_E), psi)
    with pytest.raises(ValueError, match=r"method must be one of newton, program, but is 'simplex'"):
        om.match(mdp, rho_E, psi, method="simplex")
    with pytest.raises(ValueError, match=r"method must be 'program' for Lipschitz, .* but is 'newton'"):
        om.match(mdp, rho_E, REGISTERED["lipschitz"](mdp, rho_E), method="newton")
    for lam in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=r"lam must be"):
            om.match(mdp, rho_E, psi, lam, "newton")
    with pytest.raises(ValueError, match=r"lam must be at least 0"):
        om.match(mdp, rho_E, psi, -1.0)
    with pytest.raises(ValueError, match=r"lam must be an array of real numbers, but is str"):
        om.match(mdp, rho_E, psi, "x")
    with pytest.raises(ValueError, match=r"start must be a Candidate, but is int"):
        om.match(mdp, rho_E, psi, start=3)


def test_without_entropy_the_program_takes_over():
    """lam = 0: apprenticeship learning proper (Eq 9). The expert himself is a minimiser of every gap."""
    mdp, rho_E, _ = problem()
    for psi in (Box(), L2Ball(), Simplex()):
        found = om.match(mdp, rho_E, psi, 0.0)
        assert "program" in found.method
        assert psi.divergence(found.rho, rho_E) <= PROGRAM * (1 + psi.divergence(rho_E * 0, rho_E))


def test_the_two_lines_of_proposition_3_2():
    mdp, rho_E, _ = problem()
    psi = Surrogate(LOSSES["logistic"], rho_E)
    assert np.abs(om.match(mdp, rho_E, psi).pi - om.irl(mdp, rho_E, psi).pi).max() <= 1e-4


@pytest.mark.parametrize("gamma", [0.0, 0.9])
def test_features_that_no_policy_tells_apart_in_a_ball_that_does_not_bind(gamma):
    """Three features where advantages have two dimensions: the curvature of the weights is singular, the policy not."""
    mdp, rho_E, rng = problem(seed=2, S=2, A=2, gamma=gamma)
    psi = L2Ball(rng.normal(size=(2, 2, 3)), radius=1000.0)
    assert gap(mdp, rho_E, psi, om.match(mdp, rho_E, psi)) <= OPTIMAL


@pytest.mark.parametrize("gamma", [0.0, 0.9, 0.99])
@pytest.mark.parametrize("size", [300.0, 1e4])
@pytest.mark.parametrize("kind", [L2Ball, Simplex, Box])
def test_classes_that_are_large_beside_the_entropy(kind, size, gamma):
    """Costs on the way are so large that their policies are deterministic: Newton alone ended at gaps of one."""
    rng = np.random.default_rng(20)
    for S in (3, 6):
        mdp = om.examples.garnet(S, 2, 2, gamma, rng)
        rho_E = om.occupancy(mdp, random_policy(mdp, rng))
        F = rng.normal(size=(*mdp.shape, 3))
        psi = {L2Ball: lambda F=F: L2Ball(F, size), Simplex: lambda F=F: Simplex(size * F), Box: lambda: Box(size)}[
            kind
        ]()
        assert abs(om.certify(mdp, rho_E, psi, om.match(mdp, rho_E, psi)).relative_gap) <= LARGE


@pytest.mark.parametrize("seed", [1, 6])
def test_a_deterministic_expert_in_a_large_class_takes_the_program(seed):
    """Newton is lost, on the path too; the program is asked unless Newton alone was."""
    rng = np.random.default_rng(seed)
    mdp = om.examples.garnet(4, 2, 2, 0.5, rng)
    pi_E = np.eye(2)[rng.integers(2, size=4)]
    pi_E[0] = 0.5
    rho_E = om.occupancy(mdp, pi_E)
    psi = L2Ball(rng.normal(size=(4, 2, 3)), 1000.0)
    answers = [om.match(mdp, rho_E, psi, method=method) for method in (None, "newton")]
    gaps = [om.certify(mdp, rho_E, psi, answer).relative_gap for answer in answers]
    assert abs(gaps[0]) <= 100 * PROGRAM  # of costs 1,000 times as large
    assert gaps[1] > 1e-3


@pytest.mark.parametrize("tau", [0.05, 0.01])
def test_a_loss_with_all_but_a_kink_takes_the_program(tau):
    rng = np.random.default_rng(0)
    mdp = om.examples.garnet(4, 2, 4, 0.9, rng)
    rho_E = om.occupancy(mdp, rng.dirichlet([1, 1], 4))
    psi = Surrogate(SmoothedHinge(tau=tau), rho_E)
    assert gap(mdp, rho_E, psi, om.match(mdp, rho_E, psi, 0.1)) <= PROGRAM


@pytest.mark.parametrize("name", ["quadratic", "fdivergence_kl"])
def test_an_entropy_that_is_next_to_nothing_takes_the_better_of_two_answers(name):
    """At lam = 1e-10 the program is the better one for the quadratic, Newton for KL; what Newton lost was kept."""
    mdp, rho_E, _ = problem(0, S=3, A=2)
    psi = REGISTERED[name](mdp, rho_E)
    answers = [om.match(mdp, rho_E, psi, 1e-10, method) for method in (None, "newton", "program")]
    gaps = [gap(mdp, rho_E, psi, answer) for answer in answers]
    assert gaps[0] == min(gaps[1:]) and gaps[0] < 0.1 * max(gaps[1:])


def test_a_loss_of_ones_own_that_newton_loses_is_answered_all_the_same():
    """It has no cvxpy form, so that there is no program to ask: the certificate tells."""
    body = {name: staticmethod(getattr(LOSSES["logistic"], name)) for name in ("phi", "dphi", "d2phi")}
    mdp, rho_E, _ = problem(1, S=3, A=2)
    psi = Surrogate(type("Own", (OwnLoss,), body)("own", 0.0), rho_E)
    answers = [om.match(mdp, rho_E, psi, 1e-13, method) for method in (None, "newton")]
    assert gap(mdp, rho_E, psi, answers[1]) > PROGRAM
    np.testing.assert_array_equal(answers[0].rho, answers[1].rho)


def test_a_class_that_the_interior_point_all_but_solves_takes_the_program():
    """One action a state, two costs: a relative gap of 4e-7 was kept where the program leaves none."""
    mdp = om.MDP(np.array([[[0.0, 1.0]], [[1.0, 0.0]]]), [1.0, 0.0], 0.9)
    rho_E = np.array([[8.0], [2.0]])
    assert om.certify(mdp, rho_E, Simplex(), om.match(mdp, rho_E, Simplex(), 1e-4)).holds(1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_gamma_to_one_is_matched_exactly(seed):
    """The measure of the policy missed the expert's by more than rounding, and psi* was infinite."""
    rng = np.random.default_rng(seed)
    mdp = om.MDP(rng.dirichlet(np.ones(6), size=(6, 3)), rng.dirichlet(np.ones(6)), 1.0 - 1e-7)
    rho_E = om.occupancy(mdp, rng.dirichlet(np.ones(3), size=6))
    assert om.certify(mdp, rho_E, Constant(), om.match(mdp, rho_E, Constant(), 0.1)).holds(1e-8)


@pytest.mark.parametrize("psi", [Box(), Quadratic(), Constant()], ids=lambda psi: type(psi).__name__)
def test_a_gamma_next_to_one_is_refused(psi):
    """It ended in SuperLU's "Factor is exactly singular", in an array of infs, or in a wrong answer "infeasible"."""
    gamma = 1.0 - 0.9e-7
    mdp = om.MDP(np.full((2, 2, 2), 0.5), [1.0, 0.0], gamma)
    rho_E = np.full((2, 2), 0.25 / (1 - gamma))
    for solve in (om.match, om.irl):
        with pytest.raises(ValueError) as error:
            solve(mdp, rho_E, psi)
        assert str(error.value) == f"mdp.gamma must be at most 1 - 1e-07 for `{solve.__name__}`, but is {gamma!r}"
