"""Claims made to pass the certificate without being optimal, and what it says of them."""

from dataclasses import replace

import numpy as np
import pytest
from corner_mdps import random_policy
from scipy import sparse

import occmatch as om
from occmatch.certificate_interval import enclose
from occmatch.losses import LOSSES, Logistic
from occmatch.regularisers import Constant, Expression, Lipschitz, Surrogate, transition_metric


def problem():
    """(mdp, rho_E, rng) with a random expert."""
    rng = np.random.default_rng(0)
    mdp = om.examples.garnet(8, 3, 3, 0.9, rng)
    return mdp, om.occupancy(mdp, random_policy(mdp, rng)), rng


@pytest.mark.parametrize("V", [2.0**40, 2.0**60, 5e16, 1e150])
def test_a_wrong_answer_does_not_hold_for_a_large_V(V):
    """Whose rounding hides the gap from float64, though not from the certificate's own statement of it."""
    mdp, rho_E, rng = problem()
    psi, pi = Surrogate(LOSSES["logistic"], rho_E), random_policy(mdp, rng)
    claim = replace(
        om.match(mdp, rho_E, psi, 0.5),
        rho=om.occupancy(mdp, pi), pi=pi, cost=np.full(mdp.shape, -1.0), margin=None,
    )  # fmt: skip
    assert not om.certify(mdp, rho_E, psi, claim).holds(1e-3)
    for flat in (np.full(mdp.S, V), V * rng.random(mdp.S)):
        assert not om.certify(mdp, rho_E, psi, replace(claim, V=flat)).holds(1e-3)


def test_a_policy_that_is_not_that_of_rho_is_told():
    mdp, rho_E, _ = problem()
    psi = Surrogate(LOSSES["logistic"], rho_E)
    candidate = om.match(mdp, rho_E, psi, 0.5)
    found = om.certify(mdp, rho_E, psi, replace(candidate, pi=np.eye(mdp.A)[np.zeros(mdp.S, dtype=int)]))
    assert [fault.split(":")[0] for fault in found.faults()] == ["turned"] and 0 < found.turned <= 2
    assert om.certify(mdp, rho_E, psi, candidate).turned <= 1e-11


def test_without_entropy_no_constant_in_the_cost_makes_a_gap_small():
    """A psi that does not see it leaves a claim free to make it as large as it likes."""
    mdp = om.examples.garnet(5, 3, 5, 0.9, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    rho_E, astray = (om.occupancy(mdp, rng.dirichlet(np.ones(3), 5)) for _ in range(2))
    for psi in (Lipschitz(transition_metric(mdp)), Constant()):
        for level in (0.0, 1e3, 1e9):
            V = np.full(5, 10 * level)
            claim = om.Candidate(astray, np.full(mdp.shape, level), V, om.policy(astray), 0.0, "astray")
            assert not om.certify(mdp, rho_E, psi, claim).holds(1e-3), (psi, level)
    costs = rng.random(mdp.shape) + 1e9
    claim = om.Candidate(rho_E, costs, np.full(5, 1e10), om.policy(rho_E), 0.0, "any cost")
    assert not om.certify(mdp, rho_E, Constant(), claim).holds(1e-3)


def apart(mdp):
    """Costs that differ by at most 1 within a state, and by anything between states."""
    return Lipschitz(sparse.kron(sparse.eye_array(mdp.S), np.ones((mdp.A, mdp.A)) - np.eye(mdp.A)))


def within(mdp):
    """A square of the difference of two actions, which sees no constant of a state."""
    import cvxpy as cp

    return Expression(lambda c: cp.sum_squares(c[:, 0] - c[:, 1]))


@pytest.mark.parametrize("make", [apart, within])
@pytest.mark.parametrize("level", [1.0, 1e4, 1e8])
def test_without_entropy_no_constants_of_states_make_a_gap_small(make, level):
    """Whose mean over states is zero: they made the unit of the gap, and a player who does the opposite held."""
    mdp = om.MDP(np.repeat(np.eye(2)[:, None], 2, axis=1), [0.5, 0.5], 0.9)
    rho_E, astray = (om.occupancy(mdp, np.array(pi)) for pi in ([[0.7, 0.3], [0.2, 0.8]], [[0.1, 0.9], [0.9, 0.1]]))
    cost = level * np.array([[1.0, 1.0], [-1.0, -1.0]])
    claim = om.Candidate(astray, cost, 10 * cost[:, 0], om.policy(astray), 0.0, "astray")
    assert om.certify(mdp, rho_E, make(mdp), claim).relative_gap > 0.1
    assert om.certify(mdp, rho_E, make(mdp), om.match(mdp, rho_E, make(mdp), 0.0)).holds()


class Namesake(om.OwnLoss):
    """3 e^-m - m, under the name of another loss."""

    def phi(self, m):
        return 3 * np.exp(-m) - m

    def dphi(self, m):
        return -3 * np.exp(-m) - 1

    def d2phi(self, m):
        return 3 * np.exp(-m)


class Twice(Logistic):
    """A class that derives from a loss and keeps its name."""

    def phi(self, m):
        return 2 * super().phi(m)


@pytest.mark.parametrize("loss", [Namesake("exponential_linear", np.inf), Twice()])
def test_a_proof_goes_by_what_a_loss_is_and_not_by_its_name(loss):
    mdp, rho_E, _ = problem()
    candidate = om.match(mdp, rho_E, Surrogate(LOSSES["logistic"], rho_E), 0.5)
    with pytest.raises(TypeError, match="no interval form exists for"):
        enclose(mdp, rho_E, Surrogate(loss, rho_E), candidate)


@pytest.mark.parametrize("cost", [0.0, 1e-13, 1e-3])
def test_a_cost_beyond_its_range_is_pulled_in_and_bounds_all_the_same(cost):
    mdp = om.MDP(np.ones((1, 2, 1)), [1.0], 0.0)
    rho_E = om.occupancy(mdp, np.array([[0.5, 0.5]]))
    psi = Surrogate(LOSSES["logistic"], rho_E)
    found = om.match(mdp, rho_E, psi, 1.0)
    proved = enclose(mdp, rho_E, psi, replace(found, cost=np.array([[cost, found.cost[0, 1]]])))
    best = enclose(mdp, rho_E, psi, found)
    assert proved.dual_lower < best.dual_lower <= best.primal_upper


def astray(mdp, rho_E, psi, claim):
    """The claim with a rho between its own and that of one action, where the terms of the gap cancel each other."""
    there = om.occupancy(mdp, np.tile(np.eye(mdp.A)[0], (mdp.S, 1)))
    low, high = 0.0, 1.0
    for _ in range(60):
        part = (low + high) / 2
        rho = (1 - part) * claim.rho + part * there
        found = om.certify(mdp, rho_E, psi, replace(claim, rho=rho, pi=om.policy(rho)))
        low, high = (low, part) if found.gap > 0 else (part, high)
    return found


def test_a_psi_that_is_too_large_for_its_conjugate_does_not_hide_behind_a_wrong_policy():
    class Lower(Surrogate):
        def dual_value(self, c, rho_E, margin=None):
            return 0.95 * super().dual_value(c, rho_E, margin)

    mdp, rho_E, _ = problem()
    psi = Lower(LOSSES["logistic"], rho_E)
    found = astray(mdp, rho_E, psi, om.match(mdp, rho_E, Surrogate(LOSSES["logistic"], rho_E), 0.5))
    assert abs(found.relative_gap) < 1e-12 and found.slackness > 0.01
    assert any(fault.startswith("fenchel") and "not conjugate" in fault for fault in found.faults(1e-3))


def bounded(mdp, small):
    """Costs of at most `small` in every state but the last, in cvxpy."""
    import cvxpy as cp

    return Expression(lambda c: (0, [cp.abs(c) <= np.append(np.full(mdp.S - 1, small), 1e9)[:, None]]))


def near(mdp, small):
    """Costs that differ by at most `small` among the first states and in the last, and by 1e9 between these."""
    last = np.repeat(np.arange(mdp.S) == mdp.S - 1, mdp.A)
    lengths = np.where(last[:, None] == last, small, 1e9)
    return Lipschitz(lengths - np.diag(np.diag(lengths)))


@pytest.mark.parametrize(("make", "large"), [(bounded, 1e6), (near, 1e8)])
def test_a_large_cost_where_nobody_goes_is_no_licence_for_the_others(make, large):
    """Slack of a domain, relative to the largest cost, let pass what made a claim half of a percent off hold."""
    P = np.zeros((4, 2, 4))
    P[:3, :, :3] = om.examples.garnet(3, 2, 2, 0.9, np.random.default_rng(1)).P.toarray().reshape(3, 2, 3)
    P[3, :, 3] = 1.0
    mdp = om.MDP(P, [0.3, 0.3, 0.4, 0.0], 0.9)
    rho_E = om.occupancy(mdp, np.tile([0.8, 0.2], (4, 1)))
    psi, cost = make(mdp, 0.05), np.full(mdp.shape, 0.05)
    cost[:, 1], cost[3] = 0.0, large
    assert psi.value(cost) == 0.0
    cost[0, 0] += 4e-4
    assert psi.value(cost) == np.inf
    claim = om.Candidate(rho_E, cost, np.zeros(4), om.policy(rho_E), 1.0, "claim")
    assert om.certify(mdp, rho_E, psi, claim).dual == -np.inf
