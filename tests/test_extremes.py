"""Where doubles end: masses next to nothing, costs that overflow, optima of zero; and missing derivatives."""

import networkx as nx
import numpy as np
import pytest

import occmatch as om
from occmatch.candidate import Candidate
from occmatch.regularisers import REGISTERED, Box, FDivergence, Lipschitz, Quadratic, Simplex, Surrogate

# What the convex program and the solvers of our own must reach, as in `test_agreement`.
PROGRAM, OWN = 1e-7, 1e-11


def expert_that_all_but_avoids(share: float) -> tuple[om.MDP, np.ndarray]:
    """A garnet and the measure of an expert that takes two actions with probability `share`."""
    rng = np.random.default_rng(0)
    mdp = om.examples.garnet(6, 3, 3, 0.9, rng)
    pi = rng.dirichlet(np.ones(3), 6)
    pi[0], pi[1] = [1 - share, share / 2, share / 2], [share, 1 - 2 * share, share]
    return mdp, om.occupancy(mdp, pi)


@pytest.mark.parametrize("method", ["newton", "program"])
@pytest.mark.parametrize("share", [1e-20, 1e-30, 1e-200])
@pytest.mark.parametrize("name", ["chi2", "kl"])
def test_matching_where_psi_star_all_but_forbids(name: str, share: float, method: str) -> None:
    mdp, rho_E = expert_that_all_but_avoids(share)
    psi = FDivergence(name, rho_E)
    found = om.match(mdp, rho_E, psi, 1.0, method)
    assert isinstance(found, Candidate)
    assert abs(om.certify(mdp, rho_E, psi, found).relative_gap) <= (OWN if method == "newton" else PROGRAM)


@pytest.mark.parametrize("lam", [0.1, 1.0])
@pytest.mark.parametrize("share", [1e-16, 1e-30, 1e-200])
def test_the_program_keeps_a_mass_that_psi_star_demands(share: float, lam: float) -> None:
    """exponential_linear is infinite where only the expert goes: left out, the pair cost a tenth of the objective."""
    mdp, rho_E = expert_that_all_but_avoids(share)
    psi = Surrogate(om.LOSSES["exponential_linear"], rho_E)
    found = om.match(mdp, rho_E, psi, lam, "program")
    assert abs(om.certify(mdp, rho_E, psi, found).relative_gap) <= PROGRAM


def test_the_program_keeps_a_mass_that_psi_star_demands_of_an_expert_off_the_flow() -> None:
    mdp, rho_E = expert_that_all_but_avoids(1e-16)
    rho_E = rho_E * np.random.default_rng(1).uniform(0.5, 1.5, size=rho_E.shape)
    psi = Surrogate(om.LOSSES["exponential_linear"], rho_E)
    assert abs(om.certify(mdp, rho_E, psi, om.match(mdp, rho_E, psi, 0.0)).relative_gap) <= PROGRAM


def test_the_gap_of_an_optimum_that_is_zero_without_entropy() -> None:
    """min_rho ||rho - rho_E||_1 = 0, attained by any shaping cost: what rounding leaves is no share of zero."""
    rng = np.random.default_rng(1)
    mdp = om.examples.garnet(5, 2, 2, 0.8, rng)
    pi = rng.dirichlet(np.ones(2), 5)
    rho_E = om.occupancy(mdp, pi)
    V = rng.uniform(-0.5, 0.5, size=5)
    shaping = V[:, None] - mdp.gamma * mdp.expect(V)
    found = Candidate(rho=rho_E, cost=shaping, V=V, pi=pi, lam=0.0, method="shaping")
    certificate = om.certify(mdp, rho_E, Box(), found)
    assert 0.0 < abs(certificate.gap) <= certificate.rounding
    assert abs(certificate.relative_gap) <= OWN
    wrong = om.certify(mdp, rho_E, Box(), Candidate(rho_E, shaping + np.eye(5, 2) * 0.1, V, pi, 0.0, "wrong"))
    assert wrong.relative_gap > 1e-2 and not wrong.holds()


def test_psi_of_kl_is_finite_where_only_the_exponential_overflows() -> None:
    """q (e^c - 1) at q = e^-700 and c = 720 is e^20 and not inf; beyond doubles it is inf, never nan."""
    psi = FDivergence("kl", np.array([[np.exp(-700.0), 0.0, 1.0]]))
    # c = 720 and q = e^-700 round by 1e-16 relative, which the exponent multiplies.
    assert psi.value(np.array([[720.0, 0.0, 0.0]])) == pytest.approx(np.exp(20.0), rel=1e-12)
    assert psi.value(np.array([[0.0, 800.0, 800.0]])) == np.inf
    assert (
        np.isfinite(psi.dvalue(np.full((1, 3), 800.0))).all() and np.isfinite(psi.d2value(np.full((1, 3), 800.0))).all()
    )


def test_psi_of_chi_square_is_finite_where_only_the_square_overflows() -> None:
    psi = FDivergence("chi2", np.array([[1e-200]]))
    assert psi.value(np.array([[1e188]])) == pytest.approx(0.25e176, rel=1e-12)


@pytest.mark.parametrize(
    "loss", [loss for loss in om.LOSSES.values() if loss.upper < np.inf], ids=lambda loss: loss.name
)
def test_a_repaired_cost_has_a_finite_psi(loss: object) -> None:
    psi = Surrogate(loss, np.array([[1e4, 1.0, 0.0]]))
    cost = psi.repair(np.array([[1.0, 0.0, 1.0]]))
    assert np.isfinite(psi.value(cost)) and np.isfinite(psi.dual_value(cost, psi.rho_E))


def test_an_edge_without_length_is_refused_and_not_dropped() -> None:
    graph = nx.Graph()
    graph.add_edge((0, 0), (1, 0), weight=0.0)
    graph.add_edge((1, 0), (2, 0), weight=1.0)
    with pytest.raises(ValueError, match=r"metric must have positive weights, but edge \(\(0, 0\), \(1, 0\)\) has 0.0"):
        Lipschitz(graph)


def test_weights_of_a_simplex_cost_are_found_to_rounding() -> None:
    rng = np.random.default_rng(4)
    worst = 0.0
    for _ in range(20):
        features = 1e-6 * rng.normal(size=(10, 2, 6))
        cost = features @ rng.dirichlet(np.full(6, 0.3))
        worst = max(worst, float(np.abs(Simplex(features).repair(cost) - cost).max() / np.abs(cost).max()))
    # Least squares of small condition: a few units in the last place.
    assert worst <= 1e-14


@pytest.mark.parametrize("derivative", ["grad", "hess_diag"])
@pytest.mark.parametrize("psi", [FDivergence("tv", np.ones((2, 1))), Surrogate(om.LOSSES["linear"], np.ones((2, 1)))])
def test_conjugates_that_are_not_differentiable_have_no_derivatives(psi: object, derivative: str) -> None:
    assert not psi.smooth
    with pytest.raises(NotImplementedError):
        getattr(psi, derivative)(np.full((2, 1), 0.5), np.ones((2, 1)))


@pytest.mark.parametrize("entry", ["irl", "match", "certify"])
def test_a_psi_of_another_mdp_is_refused_at_every_entry(entry: str) -> None:
    mdp, rho_E = expert_that_all_but_avoids(0.1)
    found = om.match(mdp, rho_E, FDivergence("kl", rho_E))
    more = (found,) if entry == "certify" else ()
    with pytest.raises(ValueError, match=r"psi.rho_E must have shape \(6, 3\) by the MDP, but has shape \(5, 3\)"):
        getattr(om, entry)(mdp, rho_E, FDivergence("kl", rho_E[:5]), *more)
    with pytest.raises(ValueError, match="psi must be a Regulariser, but is str"):
        getattr(om, entry)(mdp, rho_E, "kl", *more)
    with pytest.raises(ValueError, match=r"psi.weight must have shape \(6, 3\) by the MDP, but has shape \(1, 3\)"):
        getattr(om, entry)(mdp, rho_E, Quadratic(np.ones((1, 3))), *more)


@pytest.mark.parametrize("entry", ["irl", "match", "certify"])
@pytest.mark.parametrize("name", ["surrogate_logistic", "fdivergence_tv", "fdivergence_kl"])
def test_a_psi_of_another_expert_is_refused_at_every_entry(name: str, entry: str) -> None:
    """It was taken for infeasible where an optimum exists, and `irl` blamed a cost that nobody had given."""
    mdp, rho_E = expert_that_all_but_avoids(0.1)
    counted = np.where(rho_E < rho_E[2, 1], 0.0, rho_E)
    psi = REGISTERED[name](mdp, counted)
    s, a = np.argwhere(counted != rho_E)[0]
    more = (om.match(mdp, rho_E, Box(), 0.1),) if entry == "certify" else ()
    with pytest.raises(ValueError) as error:
        getattr(om, entry)(mdp, rho_E, psi, *more)
    assert str(error.value) == (
        f"rho_E must be the measure that psi holds, but rho_E[{s}, {a}] is {rho_E[s, a]:.10g} and "
        f"psi.rho_E[{s}, {a}] is 0"
    )


def test_the_name_of_a_loss_is_no_loss() -> None:
    with pytest.raises(ValueError, match=r"loss must be a Loss, such as .*, but is 'logistic'"):
        Surrogate("logistic", np.ones((2, 1)))


def test_a_first_step_that_gives_up_an_action_is_taken_back() -> None:
    """Newton's first step takes an action of state 0, which the expert never sees, to e^-64: a wrong place to rest."""
    P = np.zeros((3, 2, 3))
    P[0, :, 0] = 1.0
    P[1] = [[0.61, 0.39, 0.0], [0.0, 0.74, 0.26]]
    P[2] = [[0.96, 0.0, 0.04], [0.0, 0.41, 0.59]]
    mdp = om.MDP(P, [0.0, 1.0, 0.0], 0.99)
    rho_E = om.occupancy(mdp, np.eye(2)[[1, 1, 1]])
    psi = Quadratic()
    found = om.match(mdp, rho_E, psi, 0.2)
    assert isinstance(found, Candidate)
    assert om.certify(mdp, rho_E, psi, found).gap <= 1e-11


def test_a_program_that_clarabel_gives_up_is_solved_in_a_box() -> None:
    """One action and a state that nothing reaches; taken for an unbounded dual before."""
    P = np.zeros((5, 1, 5))
    P[range(5), 0, [1, 3, 0, 3, 0]] = 1.0
    mdp = om.MDP(P, np.eye(5)[4], 0.99)
    rho_E = om.occupancy(mdp, np.ones((5, 1)))
    psi = REGISTERED["surrogate_exponential_linear"](mdp, rho_E)
    found = om.irl(mdp, rho_E, psi)
    assert isinstance(found, Candidate)
    assert abs(om.certify(mdp, rho_E, psi, found).relative_gap) <= PROGRAM
