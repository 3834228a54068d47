"""Exact policy gradients against central differences of the objectives that they belong to."""

import re

import numpy as np
import pytest
from corner_mdps import corner_mdps

from occmatch import entropy, examples, gradients, occupancy, rl

MDPS = {name: mdp for name, mdp in corner_mdps().items() if mdp.S * mdp.A <= 30 and mdp.gamma < 0.99}

# Central differences with h = 1e-5: truncation h^2 times third derivatives of size 1/(1-gamma)^3 <= 1e4 (2e-7 and
# less in fact), rounding eps * |value| / h ~ 1e-9.
H, SLACK = 1e-5, 1e-6


def numeric_gradient(objective, theta):
    gradient = np.zeros_like(theta)
    for index in np.ndindex(*theta.shape):
        e = np.zeros_like(theta)
        e[index] = H
        gradient[index] = (objective(theta + e) - objective(theta - e)) / (2 * H)
    return gradient


def random_theta(mdp, seed=1):
    return np.random.default_rng(seed).normal(size=mdp.shape)


class Ball:
    """Costs with sum c^2 <= 1: the best one is the direction of rho - rho_E, the conjugate its length."""

    def best_cost(self, rho, rho_E):
        return (rho - rho_E) / np.linalg.norm(rho - rho_E)


@pytest.mark.parametrize("name", MDPS)
def test_entropy_gradient_is_lemma_A_1(name):
    mdp, theta = MDPS[name], random_theta(MDPS[name])
    numeric = numeric_gradient(lambda t: entropy(mdp, gradients.softmax(t)), theta)
    np.testing.assert_allclose(gradients.entropy_gradient(mdp, theta), numeric, rtol=0, atol=SLACK)


@pytest.mark.parametrize("name", MDPS)
def test_cost_gradient_and_saddle_gradient_are_equation_18(name):
    mdp, theta = MDPS[name], random_theta(MDPS[name])
    cost = np.random.default_rng(2).normal(size=mdp.shape)

    def objective(t, lam):
        pi = gradients.softmax(t)
        return (occupancy(mdp, pi) * cost).sum() - lam * entropy(mdp, pi)

    for lam in (0.0, 0.7):
        numeric = numeric_gradient(lambda t, lam=lam: objective(t, lam), theta)
        np.testing.assert_allclose(gradients.saddle_gradient(mdp, theta, cost, lam), numeric, rtol=0, atol=SLACK)
    assert (gradients.cost_gradient(mdp, theta, cost) == gradients.saddle_gradient(mdp, theta, cost, 0.0)).all()


@pytest.mark.parametrize("name", [name for name, mdp in MDPS.items() if mdp.A > 1])
def test_matching_gradient_is_equation_12(name):
    """Differentiates the maximised objective, the gradient holds the maximiser fixed: the envelope theorem."""
    mdp, theta = MDPS[name], random_theta(MDPS[name])
    rho_E = occupancy(mdp, gradients.softmax(random_theta(mdp, seed=3)))
    numeric = numeric_gradient(lambda t: np.linalg.norm(occupancy(mdp, gradients.softmax(t)) - rho_E), theta)
    assert np.abs(numeric).max() > 100 * SLACK
    np.testing.assert_allclose(gradients.matching_gradient(mdp, theta, rho_E, Ball()), numeric, rtol=0, atol=SLACK)


@pytest.mark.parametrize("name", MDPS)
def test_gradients_are_orthogonal_to_shifts_of_theta(name):
    mdp, theta = MDPS[name], random_theta(MDPS[name])
    rows = gradients.entropy_gradient(mdp, theta).sum(axis=1)
    assert np.abs(rows).max() <= 1e3 * np.finfo(float).eps / (1 - mdp.gamma) ** 2


def test_gradient_vanishes_at_the_optimum():
    """The uniform policy maximises entropy, and a soft optimal policy is stationary for its own cost."""
    mdp = corner_mdps()["slippery grid"]
    uniform = np.zeros(mdp.shape)
    scale = 1e3 * np.finfo(float).eps / (1 - mdp.gamma) ** 2
    assert np.abs(gradients.entropy_gradient(mdp, uniform)).max() <= scale

    cost = np.random.default_rng(4).normal(size=mdp.shape)
    theta = np.log(rl(mdp, cost, lam=0.5).pi)
    assert np.abs(gradients.saddle_gradient(mdp, theta, cost, 0.5)).max() <= 100 * scale
    assert np.abs(gradients.cost_gradient(mdp, theta, cost)).max() > 0.01


def test_extreme_parameters_give_finite_gradients():
    mdp = MDPS["chain"]
    theta = np.array([[1e4, -1e4], [0.0, 800.0]])
    assert gradients.softmax(theta).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    for gradient in (
        gradients.entropy_gradient(mdp, theta),
        gradients.cost_gradient(mdp, theta, np.full(mdp.shape, 1e6)),
    ):
        assert np.isfinite(gradient).all()


def test_parameters_further_apart_than_doubles_reach_are_safe():
    mdp, theta = MDPS["chain"], np.array([[1e308, -1e308], [0.0, 0.0]])
    assert gradients.softmax(theta).tolist() == [[1.0, 0.0], [0.5, 0.5]]
    near = np.array([[800.0, -800.0], [0.0, 0.0]])
    for gradient in (gradients.entropy_gradient, lambda *args: gradients.saddle_gradient(*args, np.eye(2), 0.5)):
        np.testing.assert_array_equal(gradient(mdp, theta), gradient(mdp, near))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, t: gradients.softmax([[np.nan, 0.0]]), "theta[0, 0] must be finite, but is nan"),
        (lambda m, t: gradients.softmax(np.zeros((2, 0))), "theta must have shape (S, A), but has shape (2, 0)"),
        (lambda m, t: gradients.softmax([0.0, 1.0]), "theta must have shape (S, A), but has shape (2,)"),
        (lambda m, t: gradients.softmax(1.0), "theta must have shape (S, A), but has shape ()"),
        (lambda m, t: gradients.entropy_gradient(m, t[:1]), "theta must have shape (2, 2), but has shape (1, 2)"),
        (lambda m, t: gradients.cost_gradient(m, t, t[0]), "cost must have shape (2, 2), but has shape (2,)"),
        (lambda m, t: gradients.saddle_gradient(m, t, t, -1.0), "lam must be at least 0, but is -1"),
        (lambda m, t: gradients.matching_gradient(m, t, t - 1.0, Ball()), "rho_E[0, 0] must be at least 0, but is -1"),
        (lambda m, t: gradients.matching_gradient(m, t, t, "l2"), "psi must have best_cost, as a Regulariser does"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(examples.two_state_chain(), np.zeros((2, 2)))
