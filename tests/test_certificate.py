"""The certificate: its numbers against plain loops and ball arithmetic, and every planted error caught by name."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from corner_mdps import corner_mdps, deterministic_policy, random_policy

import occmatch as om
from occmatch.candidate import Candidate, Infeasible
from occmatch.certificate_interval import enclose
from occmatch.losses import LOSSES, Logistic
from occmatch.matching import has_newton
from occmatch.regularisers import REGISTERED, Box, Constant, L2Ball, Surrogate

# Plain loops and vectorised sums add the same <= 1e3 terms in another order: 1e3 units in the last place.
REORDERED = 1e-12

# An optimum found in float64; every term of the gap rounds by less than 1e2 units times 1 / (1 - gamma) <= 1e2.
OPTIMAL = 1e-11

# The mildest planted error changes numbers in the third digit; a gap is quadratic in that.
CAUGHT = 1e-7


def problem(seed=0, S=8, A=3, gamma=0.9):
    rng = np.random.default_rng(seed)
    mdp = om.examples.garnet(S, A, 3, gamma, rng)
    rho_E = om.occupancy(mdp, random_policy(mdp, rng))
    return mdp, rho_E, rng


def solved(name, seed=0, lam=0.5):
    """(mdp, rho_E, psi, optimal candidate) for a registered psi with a solver of our own."""
    mdp, rho_E, _ = problem(seed)
    psi = REGISTERED[name](mdp, rho_E)
    return mdp, rho_E, psi, om.match(mdp, rho_E, psi, lam, "newton")


def junk(mdp, psi, rho_E, lam, rng):
    """A candidate that is optimal for nothing: a random policy, a random cost in the domain, a random V."""
    pi = random_policy(mdp, rng)
    cost = psi.repair(
        -np.abs(rng.normal(size=mdp.shape)) if "Surrogate" in type(psi).__name__ else rng.random(mdp.shape)
    )
    return Candidate(om.occupancy(mdp, pi), cost, rng.normal(size=mdp.S), pi, lam, "junk")


OWN = [name for name in REGISTERED if has_newton(REGISTERED[name](*problem()[:2]))]
FINITE = [n for n in REGISTERED if n not in ("constant", "surrogate_linear", "expression")]


def by_loops(mdp, rho_E, psi, candidate):
    """(primal, dual) from the definitions, with dense matrices and loops over states and actions."""
    S, A = mdp.shape
    P = mdp.P.toarray().reshape(S, A, S)
    rho, c, V, lam = candidate.rho, candidate.cost, candidate.V, candidate.lam
    pi = np.array([rho[s] / rho[s].sum() if rho[s].sum() > 0 else np.full(A, 1 / A) for s in range(S)])
    P_pi = np.einsum("sa,sat->st", pi, P)
    d = np.linalg.solve(np.eye(S) - mdp.gamma * P_pi.T, mdp.p0)
    primal = psi.divergence(d[:, None] * pi, rho_E)
    for s in range(S):
        for a in range(A):
            if pi[s, a] > 0:
                primal += lam * d[s] * pi[s, a] * np.log(pi[s, a])
    backup = []
    for s in range(S):
        Q = [c[s, a] + mdp.gamma * float(P[s, a] @ V) for a in range(A)]
        backup.append(-lam * np.log(sum(np.exp(-q / lam) for q in Q)) if lam > 0 else min(Q))
    least = min(backup[s] - V[s] for s in range(S))
    dual = float(mdp.p0 @ V) + least / (1 - mdp.gamma) - float((rho_E * c).sum()) - psi.value(c)
    return primal, dual


@pytest.mark.parametrize("name", FINITE)
def test_bounds_are_the_definitions(name):
    mdp, rho_E, rng = problem()
    psi = REGISTERED[name](mdp, rho_E)
    for lam in (0.0, 0.3, 2.0):
        candidate = junk(mdp, psi, rho_E, lam, rng)
        found = om.certify(mdp, rho_E, psi, candidate)
        primal, dual = by_loops(mdp, rho_E, psi, candidate)
        assert found.primal == pytest.approx(primal, rel=REORDERED, abs=REORDERED)
        assert found.dual == pytest.approx(dual, rel=REORDERED, abs=REORDERED)


@pytest.mark.parametrize("name", FINITE)
def test_the_gap_of_anything_is_positive_and_the_sum_of_its_parts(name):
    mdp, rho_E, rng = problem(1)
    psi = REGISTERED[name](mdp, rho_E)
    for _ in range(5):
        found = om.certify(mdp, rho_E, psi, junk(mdp, psi, rho_E, 0.5, rng))
        assert found.gap > 0.01
        assert found.fenchel >= -found.rounding
        assert found.slackness + found.bellman >= -found.rounding
        assert found.gap == pytest.approx(found.fenchel + found.slackness + found.bellman, abs=2 * found.rounding)


@pytest.mark.parametrize("name", OWN)
def test_an_optimum_holds_to_rounding(name):
    mdp, rho_E, psi, candidate = solved(name)
    found = om.certify(mdp, rho_E, psi, candidate)
    assert abs(found.relative_gap) <= OPTIMAL
    assert found.holds(OPTIMAL) and found.faults(OPTIMAL) == ()
    assert f"{found.gap:.3e}" in str(found) and len(str(found).splitlines()) == 10


@pytest.mark.parametrize("name", [n for n in OWN if n not in ("constant", "surrogate_linear")])
def test_floats_and_balls_agree_within_the_stated_rounding(name):
    for seed in range(3):
        mdp, rho_E, psi, candidate = solved(name, seed)
        found, proved = om.certify(mdp, rho_E, psi, candidate), enclose(mdp, rho_E, psi, candidate)
        assert proved.width <= 1e-40 * (1 + abs(proved.primal_upper))  # 256 bits less what S = 8 solves lose
        assert abs(proved.gap - found.gap) <= found.rounding
        assert proved.primal_upper <= found.primal + found.rounding
        assert proved.dual_lower >= found.dual - found.rounding
        assert -1e-40 <= proved.gap <= OPTIMAL * found.scale  # weak duality, exactly
        assert found.rounding <= 1e-11 * found.scale


def test_balls_prove_junk_apart_too():
    mdp, rho_E, rng = problem(2)
    for name in ("surrogate_logistic", "fdivergence_kl", "box", "simplex_features", "quadratic", "l2_ball"):
        psi = REGISTERED[name](mdp, rho_E)
        candidate = junk(mdp, psi, rho_E, 0.5, rng)
        found = om.certify(mdp, rho_E, psi, candidate)
        # The two pull a cost into its class by different roundings of the same projection.
        assert enclose(mdp, rho_E, psi, candidate).gap == pytest.approx(found.gap, rel=1e-9)


@pytest.mark.parametrize("name", ["logistic", "exponential", "exponential_linear", "smoothed_hinge"])
def test_planted_wrong_sign_of_the_cost(name):
    mdp, rho_E, psi, candidate = solved(f"surrogate_{name}")
    found = om.certify(mdp, rho_E, psi, replace(candidate, cost=-candidate.cost, margin=None))
    assert not found.holds(CAUGHT)
    assert any(fault.startswith("fenchel") for fault in found.faults(CAUGHT))


def test_planted_wrong_g_is_caught_with_the_true_psi():
    class Scaled(Logistic):
        """g of log(1 + e^-m) with phi scaled by 1.001: another psi."""

        def phi(self, m):
            return 1.001 * super().phi(m)

        def dphi(self, m):
            return 1.001 * super().dphi(m)

        def d2phi(self, m):
            return 1.001 * super().d2phi(m)

        def inverse(self, y):
            return super().inverse(np.asarray(y) / 1.001)

    mdp, rho_E, _ = problem()
    wrong = om.match(mdp, rho_E, Surrogate(Scaled(), rho_E), 0.5)
    assert om.certify(mdp, rho_E, Surrogate(Scaled(), rho_E), wrong).holds(OPTIMAL)
    found = om.certify(mdp, rho_E, Surrogate(LOSSES["logistic"], rho_E), wrong)
    assert not found.holds(CAUGHT)
    assert any(fault.startswith("fenchel") for fault in found.faults(CAUGHT))


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_planted_psi_whose_two_halves_disagree(factor):
    """psi with another g than its psi* has: weak duality fails, or the gap never closes."""

    class Scaled(Surrogate):
        def dual_value(self, c, rho_E, margin=None):
            return factor * super().dual_value(c, rho_E, margin)  # negative: a factor below 1 makes the dual too large

    mdp, rho_E, _, candidate = solved("surrogate_logistic")
    found = om.certify(mdp, rho_E, Scaled(LOSSES["logistic"], rho_E), candidate)
    assert not found.holds(CAUGHT)
    assert any("not conjugate" in fault for fault in found.faults(CAUGHT)) == (factor < 1)


@pytest.mark.parametrize("name", OWN)
def test_planted_scale_of_rho(name):
    mdp, rho_E, psi, candidate = solved(name)
    found = om.certify(mdp, rho_E, psi, replace(candidate, rho=0.999 * candidate.rho))
    assert found.flow_residual == pytest.approx(1e-3 * (1 - mdp.gamma), rel=1e-9)
    assert found.moved == pytest.approx(1e-3, rel=1e-9)
    assert [fault for fault in found.faults(CAUGHT)] and "flow_residual" in found.faults(CAUGHT)[-1]


@pytest.mark.parametrize("name", OWN)
def test_planted_policy_of_another_mdp(name):
    mdp, rho_E, psi, candidate = solved(name)
    other = om.examples.garnet(mdp.S, mdp.A, 3, 0.9, np.random.default_rng(99))
    expert = om.occupancy(other, om.policy(rho_E))
    stranger = om.match(other, expert, REGISTERED[name](other, expert), 0.5)
    whole = om.certify(mdp, rho_E, psi, stranger)
    assert not whole.holds(CAUGHT) and any("flow_residual" in fault for fault in whole.faults(CAUGHT))
    # Only its policy, made an occupancy measure of this MDP: then the gap itself must show it.
    strange = random_policy(mdp, np.random.default_rng(5))
    borrowed = om.certify(mdp, rho_E, psi, replace(candidate, rho=om.occupancy(mdp, strange)))
    assert borrowed.relative_gap > CAUGHT and borrowed.flow_residual < 1e-12


def test_planted_value_and_lam():
    mdp, rho_E, psi, candidate = solved("surrogate_logistic")
    V = candidate.V.copy()
    V[3] += 1e-3
    found = om.certify(mdp, rho_E, psi, replace(candidate, V=V))
    assert any(fault.startswith("bellman") for fault in found.faults(CAUGHT))
    found = om.certify(mdp, rho_E, psi, candidate, lam=0.51)
    assert not found.holds(CAUGHT)


def test_a_constant_added_to_V_is_no_error():
    """T(V + k) = TV + gamma k: the one-sweep bound sees through it, and only rounding may change."""
    mdp, rho_E, psi, candidate = solved("surrogate_logistic")
    found = om.certify(mdp, rho_E, psi, replace(candidate, V=candidate.V + 7.0))
    assert abs(found.relative_gap) <= OPTIMAL
    raised = om.certify(mdp, rho_E, psi, replace(candidate, V=candidate.V + 2.0**20))
    assert abs(raised.relative_gap) <= 1e-9  # V has lost all below 2^-33, about 1e-10


def test_a_cost_outside_the_domain_has_no_dual_value():
    mdp, rho_E, _, candidate = solved("box")
    found = om.certify(mdp, rho_E, Box(0.5), candidate)
    assert found.dual == -np.inf and found.gap == np.inf and found.relative_gap == np.inf
    assert not found.holds(1e6)
    # By rounding only: repaired, and judged as what it was repaired to.
    nudged = replace(candidate, cost=candidate.cost * (1 + 1e-13))
    assert om.certify(mdp, rho_E, Box(), nudged).holds(OPTIMAL)


def test_the_margin_stands_in_for_the_cost():
    mdp, rho_E, psi, candidate = solved("surrogate_logistic")
    by_margin = om.certify(mdp, rho_E, psi, replace(candidate, cost=None))
    assert by_margin.holds(OPTIMAL)
    with pytest.raises(ValueError, match="candidate must hold a cost, or a margin"):
        om.certify(mdp, rho_E, psi, replace(candidate, cost=None, margin=None))


@pytest.mark.parametrize("name", corner_mdps())
def test_corners(name):
    mdp = corner_mdps()[name]
    rng = np.random.default_rng(0)
    for pi in (random_policy(mdp, rng), deterministic_policy(mdp, rng)):
        rho_E = om.occupancy(mdp, pi)
        psi = Surrogate(LOSSES["logistic"], rho_E)
        found = om.certify(mdp, rho_E, psi, om.match(mdp, rho_E, psi, 0.3))
        assert abs(found.gap) <= max(found.rounding, OPTIMAL * found.scale)
        assert found.rounding <= 1e-9 * found.scale  # eps / (1 - gamma)^2 at gamma = 0.9999 relative to 1 / (1 - gamma)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rho", np.full((8, 3), -1.0), r"candidate\.rho\[0, 0\] must be at least 0, but is -1"),
        ("rho", np.ones((7, 3)), r"candidate\.rho must have shape \(8, 3\), but has shape \(7, 3\)"),
        ("cost", np.full((8, 3), np.nan), r"candidate\.cost\[0, 0\] must be finite, but is nan"),
        ("V", np.full(8, np.inf), r"candidate\.V\[0\] must be finite, but is inf"),
        ("V", np.zeros(9), r"candidate\.V must have shape \(8,\), but has shape \(9,\)"),
    ],
)
def test_bad_candidates_are_refused(field, value, message):
    mdp, rho_E, psi, candidate = solved("surrogate_logistic")
    for judge in (om.certify, enclose):
        with pytest.raises(ValueError, match=message):
            judge(mdp, rho_E, psi, replace(candidate, **{field: value}))


def test_bad_arguments_are_refused():
    mdp, rho_E, psi, candidate = solved("surrogate_logistic")
    with pytest.raises(ValueError, match=r"lam must be at least 0, but is -1"):
        om.certify(mdp, rho_E, psi, candidate, lam=-1.0)
    with pytest.raises(ValueError, match=r"rho_E\[2, 1\] must be at least 0"):
        om.certify(mdp, np.where(np.eye(8, 3, -1) * np.arange(8)[:, None] == 2, -1.0, rho_E), psi, candidate)
    with pytest.raises(ValueError, match="lam must be positive"):
        enclose(mdp, rho_E, psi, candidate, lam=0.0)
    with pytest.raises(ValueError, match="precision must be an integer of at least 2, but is 1"):
        enclose(mdp, rho_E, psi, candidate, precision=1)
    for unsupported in (Constant(), REGISTERED["lipschitz"](mdp, rho_E), REGISTERED["expression"](mdp, rho_E)):
        with pytest.raises(TypeError, match="no interval form exists"):
            enclose(mdp, rho_E, unsupported, candidate)


@pytest.mark.parametrize("judge", [om.certify, enclose])
def test_both_certificates_read_a_claim_alike(judge):
    mdp, rho_E, psi, candidate = solved("surrogate_logistic")
    by_margin = replace(candidate, cost=None)
    assert abs(judge(mdp, rho_E, psi, by_margin).relative_gap) <= OPTIMAL
    with pytest.raises(ValueError, match="candidate must hold a cost, or a margin where psi is a Surrogate"):
        judge(mdp, rho_E, psi, replace(by_margin, margin=None))
    for failure, named in ((Infeasible("no way"), "Infeasible: no way"), (None, "NoneType$")):
        with pytest.raises(TypeError, match=f"candidate must be a Candidate, but is {named}"):
            judge(mdp, rho_E, psi, failure)
    with pytest.raises(
        ValueError, match=r"psi.features must have shape \(8, 3\) by the MDP, but has shape \(2, 2, 1\)"
    ):
        judge(mdp, rho_E, L2Ball(np.ones((2, 2, 1))), candidate)
    with pytest.raises(ValueError, match=r"rho_E must be the measure that psi holds, but rho_E\[0, 0\] is"):
        judge(mdp, rho_E * 0.5, psi, candidate)


def test_hard_bellman_judges_lam_zero():
    """lam = 0 and psi* = 0 at the expert itself: any policy with that measure is optimal."""
    mdp, rho_E, _ = problem()
    zero = Candidate(rho_E, np.zeros(mdp.shape), np.zeros(mdp.S), om.policy(rho_E), 0.0, "the expert")
    for psi in (Box(), L2Ball(), Constant()):
        found = om.certify(mdp, rho_E, psi, zero)
        assert abs(found.gap) <= found.rounding + OPTIMAL
    worse = replace(zero, rho=om.occupancy(mdp, np.eye(3)[np.zeros(8, dtype=int)]))
    assert om.certify(mdp, rho_E, Box(), worse).gap > 0.1


def test_the_judge_loads_no_solver():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, occmatch.certificate; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "occmatch.certificate" in loaded
    solvers = {"cvxpy", "clarabel", "highspy", "occmatch.irl", "occmatch.matching", "occmatch.lp", "occmatch.cvx"}
    assert not solvers & set(loaded)


def test_a_proof_where_measures_agree_and_where_features_depend_on_one_another():
    mdp = om.MDP(np.ones((1, 2, 1)), [1.0], 0.0)
    rho_E = om.occupancy(mdp, np.array([[0.5, 0.5]]))
    psi = om.regularisers.FDivergence("hellinger", rho_E)
    assert enclose(mdp, rho_E, psi, om.match(mdp, rho_E, psi, 1.0)).relative_gap <= 1e-15
    mdp = om.examples.two_state_chain(0.1, 0.9)
    rho_E = om.occupancy(mdp, np.array([[0.3, 0.7], [0.6, 0.4]]))
    psi = om.regularisers.Simplex(np.random.default_rng(0).normal(size=(2, 2, 6)))
    assert enclose(mdp, rho_E, psi, om.match(mdp, rho_E, psi, 0.5)).relative_gap <= 1e-12


def test_what_cannot_be_bounded_is_infinite_and_no_nan():
    mdp = om.examples.two_state_chain(0.1, 0.9)
    rho_E = om.occupancy(mdp, np.array([[0.3, 0.7], [0.6, 0.4]]))
    psi = om.regularisers.Simplex()
    found = om.match(mdp, rho_E, psi, 0.5)
    outside = enclose(mdp, rho_E, psi, replace(found, cost=np.full(mdp.shape, -0.5)))  # far from the simplex
    assert outside.dual_lower == -np.inf and outside.gap == outside.relative_gap == np.inf > outside.primal_upper
    rough = enclose(mdp, rho_E, L2Ball(), om.match(mdp, rho_E, L2Ball(), 1e-3), precision=12)
    assert not np.isnan([rough.primal_upper, rough.dual_lower, rough.gap, rough.relative_gap, rough.width]).any()
    with pytest.raises(
        ValueError, match="precision must be enough to tell I - gamma P' from a singular matrix, but is 2"
    ):
        enclose(mdp, rho_E, psi, found, precision=2)
