"""Matching features of an expert that is nearly deterministic: a conic solver misses them by its tolerance."""

import numpy as np
import pytest

import occmatch as om
from occmatch import matching_features
from occmatch.regularisers import Constant


def problem(seed: int, faint: float) -> tuple[om.MDP, np.ndarray, Constant]:
    """An MDP, an expert that leaves its best actions with a probability of about `faint`, and features."""
    rng = np.random.default_rng(seed)
    S, A = int(rng.integers(2, 5)), int(rng.integers(2, 4))
    mdp = om.examples.garnet(S, A, 2, float(rng.choice([0.5, 0.9, 0.99])), rng)
    pi = np.eye(A)[rng.integers(0, A, S)] * (1 - faint) + faint / A
    features = rng.standard_normal((S, A, int(rng.integers(1, 4)))) * 10.0 ** rng.integers(-3, 2)
    return mdp, om.occupancy(mdp, pi), Constant(features)


@pytest.mark.parametrize("lam", [1.0, 0.01])
@pytest.mark.parametrize("seed", range(0, 50, 2))
def test_both_sides_meet_features_of_a_nearly_deterministic_expert(seed: int, lam: float) -> None:
    mdp, rho_E, psi = problem(seed, 1e-4)
    newton = om.certify(mdp, rho_E, psi, om.irl(mdp, rho_E, psi, lam=lam, method="newton"))
    for found in (om.match(mdp, rho_E, psi, lam=lam), om.irl(mdp, rho_E, psi, lam=lam)):
        certificate = om.certify(mdp, rho_E, psi, found)
        assert certificate.holds(), certificate
        assert abs(certificate.primal - newton.primal) <= 1e-7 * certificate.scale


def test_a_measure_is_moved_onto_the_features() -> None:
    mdp, rho_E, psi = problem(1, 0.3)
    rng = np.random.default_rng(1)
    rho = om.occupancy(mdp, om.policy(rho_E * np.exp(1e-3 * rng.standard_normal(rho_E.shape))))
    assert psi.divergence(rho, rho_E) == np.inf
    near = matching_features.matched(mdp, psi.features, rho, rho_E)
    assert psi.divergence(near, rho_E) == 0.0
    assert np.abs(near / rho - 1).max() < 0.01


def test_what_is_not_near_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    mdp, rho_E, psi = problem(1, 0.3)
    apart = om.occupancy(mdp, np.eye(mdp.A)[np.zeros(mdp.S, dtype=int)])
    assert matching_features.matched(mdp, psi.features, apart, rho_E) is apart  # a vertex: nothing can be moved
    monkeypatch.setattr(matching_features, "MOST_EQUATIONS", 1)
    assert matching_features.matched(mdp, psi.features, rho_E, rho_E) is rho_E
    assert matching_features.explained(mdp, psi.features, rho_E, 1.0) is None


def test_a_soft_policy_is_explained_by_its_cost() -> None:
    mdp, _, psi = problem(3, 0.3)
    cost = 0.3 * psi.features @ np.arange(1.0, psi.features.shape[2] + 1)
    pi = om.rl(mdp, cost, lam=0.5).pi
    found = matching_features.explained(mdp, psi.features, om.occupancy(mdp, pi), 0.5)
    np.testing.assert_allclose(om.rl(mdp, found, lam=0.5).pi, pi, rtol=0, atol=1e-12)
    assert psi.value(found) == 0.0
    assert matching_features.explained(mdp, psi.features, om.occupancy(mdp, pi), 0.0) is None
