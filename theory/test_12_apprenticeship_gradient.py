"""Equation 12: the gradient of apprenticeship learning needs no derivative of the best cost.

With c* a maximiser of E_pi[c] - E_piE[c] over C, and Q_c(s, a) = E[sum_t gamma^t c | s_0 = s, a_0 = a],

    grad_theta  max_{c in C} E_pi[c] - E_piE[c]  =  grad_theta E_pi[c*]  =  E_pi[ grad_theta log pi(a|s) Q_c*(s, a) ]

by the envelope theorem: c* moves with theta, but at its maximum that changes nothing to first order.  The same holds
for psi*(rho_pi - rho_E) with any psi; at kinks of psi* the right side is a subgradient.

Source: Ho & Ermon (2016), Section 4, Eq 12; Ho, Gupta & Ermon (2016); Milgrom & Segal (2002).
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import occmatch as om
from occmatch import gradients
from occmatch.regularisers import FDivergence, L2Ball, Quadratic, Simplex, Surrogate
from theory.ledger import Ledger
from theory.plain import following, gradient, measure, softmax
from theory.strategies import examples, positive_instances, rngs

EXACT = 1e-13
SOLVES = "two solves of condition 200 at gamma 0.99, relative to 1/(1-gamma)^2"

# psi and psi* as a formula that takes complex numbers, from rho, rho_E and features F.
CONJUGATES = {
    "l2 ball": (lambda F, q: L2Ball(F), lambda p, q, F: np.sqrt((_gap(F, p - q) ** 2).sum())),
    "simplex": (lambda F, q: Simplex(F), lambda p, q, F: max(_gap(F, p - q), key=np.real)),
    "logistic": (
        lambda F, q: Surrogate(om.LOSSES["logistic"], q),
        lambda p, q, F: (p * np.log(p / (p + q)) + q * np.log(q / (p + q))).sum(),
    ),
    "kl": (lambda F, q: FDivergence("kl", q), lambda p, q, F: (p * np.log(p / q) - p + q).sum()),
    "quadratic": (lambda F, q: Quadratic(), lambda p, q, F: 0.5 * ((p - q) ** 2).sum()),
}


def _gap(F: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.einsum("sa,sak->k", x, F)


@examples(25)
@given(positive_instances(), st.data())
def test_the_envelope_formula_is_the_gradient_of_the_maximum(
    check: Ledger, instance: tuple, data: st.DataObject
) -> None:
    """Complex steps of max_c, where c* moves, against occmatch's formula, which holds it fixed."""
    mdp, _, rho_E = instance
    rng = data.draw(rngs())
    theta, F = rng.normal(size=mdp.shape), rng.normal(size=(*mdp.shape, 3))
    name = data.draw(st.sampled_from(sorted(CONJUGATES)))
    build, formula = CONJUGATES[name]
    psi = build(F, rho_E)
    expected = gradient(lambda t: formula(measure(mdp, softmax(t)), rho_E, F), theta)
    rho = measure(mdp, softmax(theta))
    scale = max(np.abs(psi.best_cost(rho, rho_E)).max(), 1.0) / (1 - mdp.gamma) ** 2
    check(
        statement="Eq 12",
        compared="E[grad log pi Q_c*] against the complex-step gradient of the maximum",
        deviation=np.abs(gradients.matching_gradient(mdp, theta, rho_E, psi) - expected).max() / scale,
        tolerance=EXACT,
        because=SOLVES,
    )


@examples(15)
@given(positive_instances(), st.data())
def test_the_expectation_is_that_of_the_score(check: Ledger, instance: tuple, data: st.DataObject) -> None:
    """The sum over s and a of rho grad log pi Q written out, Q by its power series."""
    mdp, _, _ = instance
    rng = data.draw(rngs())
    theta, cost = rng.normal(size=mdp.shape), rng.normal(size=mdp.shape)
    pi = softmax(theta)
    Q, rho = following(mdp, pi, cost), measure(mdp, pi)
    expected = np.zeros(mdp.shape)
    for s, a in np.ndindex(*mdp.shape):
        score = np.eye(mdp.A)[a] - pi[s]  # grad of log pi(a|s) in theta(s, .)
        expected[s] += rho[s, a] * score * Q[s, a]
    check(
        statement="Eq 12",
        compared="cost_gradient against the sum of rho grad log pi Q with Q by its series",
        deviation=np.abs(gradients.cost_gradient(mdp, theta, cost) - expected).max() * (1 - mdp.gamma) ** 2,
        tolerance=1e-12,
        because="a series of 3700 terms, relative to 1/(1-gamma)^2",
    )


@examples(15)
@given(positive_instances(), st.data())
def test_at_a_kink_the_formula_is_a_subgradient(check: Ledger, instance: tuple, data: st.DataObject) -> None:
    """Two features of equal gap: no step goes below the tangent of either, to second order in its length."""
    mdp, _, rho_E = instance
    rng = data.draw(rngs())
    theta, f = rng.normal(size=mdp.shape), rng.normal(size=mdp.shape)
    rho = measure(mdp, softmax(theta))
    other = rng.normal(size=mdp.shape)
    # The constant makes the two gaps equal: a shift of a feature adds to both expectations alike only on D.
    other = other * (np.vdot(rho - rho_E, f) / (np.vdot(rho - rho_E, other) or 1.0))
    F = np.stack([f, other], axis=2)
    if not np.isfinite(F).all() or np.abs(F).max() > 100:
        F = np.stack([f, f], axis=2)
    slope = gradients.matching_gradient(mdp, theta, rho_E, Simplex(F))
    h = 1e-4 * (1 - mdp.gamma)
    now = _gap(F, rho - rho_E).max()
    falls = []
    for _ in range(10):
        v = rng.normal(size=mdp.shape)
        v /= np.linalg.norm(v)
        moved = _gap(F, measure(mdp, softmax(theta + h * v)) - rho_E).max()
        falls.append((now + h * float((slope * v).sum()) - moved) / h)
    check(
        statement="Eq 12",
        compared="the maximum below its tangent at a kink, per unit of step (violation)",
        deviation=max(falls) * (1 - mdp.gamma) ** 2 / np.abs(F).max(),
        tolerance=1e-3,
        because="steps of 1e-4 (1 - gamma): curvature is at most a few 1/(1-gamma)^3",
    )
