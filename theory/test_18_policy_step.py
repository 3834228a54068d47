"""Equation 18: what the policy's step of GAIL descends.

With the discriminator D fixed, the gradient in theta of the saddle objective of equation 16 is

    E_pi[ grad_theta log pi(a|s) Q(s, a) ] - lam grad_theta H(pi),      Q(s, a) = E_pi[ log D | s_0 = s, a_0 = a ],

where Q sums discounted log D from the pair on: a policy gradient with the cost log D.  Adding a function of the state
to Q changes nothing, and the entropy is one more cost, -log pi.

Source: Ho & Ermon (2016), algorithm 1, equation 18; Sutton et al. (2000) for the policy gradient.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from occmatch import gradients
from theory.ledger import Ledger
from theory.plain import entropy, following, gradient, measure, softmax
from theory.strategies import examples, mdps, rngs

EXACT = 1e-13
SOLVES = "two solves of condition 200 at gamma 0.99, relative to 1/(1-gamma)^2"


@examples(30)
@given(mdps(), st.data())
def test_the_gradient_is_that_of_the_saddle_objective(check: Ledger, mdp, data: st.DataObject) -> None:
    rng = data.draw(rngs())
    theta = data.draw(st.sampled_from([0.0, 1.0, 4.0])) * rng.normal(size=mdp.shape)
    log_D = np.log(rng.uniform(0.01, 0.99, size=mdp.shape))
    lam = data.draw(st.sampled_from([0.0, 1e-3, 1.0]))

    def objective(t: np.ndarray) -> complex:
        rho = measure(mdp, softmax(t))
        return (rho * log_D).sum() - lam * entropy(rho)

    scale = (np.abs(log_D).max() + lam * np.ptp(theta)) / (1 - mdp.gamma) ** 2
    check(
        statement="Eq 18",
        compared="saddle_gradient against the complex-step gradient of <rho, log D> - lam H",
        deviation=np.abs(gradients.saddle_gradient(mdp, theta, log_D, lam) - gradient(objective, theta)).max() / scale,
        tolerance=EXACT,
        because=SOLVES,
    )


@examples(15)
@given(mdps(), st.data())
def test_the_two_terms_of_the_formula(check: Ledger, mdp, data: st.DataObject) -> None:
    """E[grad log pi Q] - lam grad H, summed by hand with Q from its series and any baseline."""
    rng = data.draw(rngs())
    theta, lam = rng.normal(size=mdp.shape), 0.7
    log_D = np.log(rng.uniform(0.01, 0.99, size=mdp.shape))
    pi = softmax(theta)
    rho, Q = measure(mdp, pi), following(mdp, pi, log_D)
    Q = Q + rng.normal(size=(mdp.S, 1))  # the baseline
    first = np.zeros(mdp.shape)
    for s, a in np.ndindex(*mdp.shape):
        first[s] += rho[s, a] * (np.eye(mdp.A)[a] - pi[s]) * Q[s, a]
    second = gradient(lambda t: entropy(measure(mdp, softmax(t))), theta)
    scale = np.abs(log_D).max() / (1 - mdp.gamma) ** 2
    check(
        statement="Eq 18",
        compared="saddle_gradient against E[grad log pi (Q + baseline)] - lam grad H term by term",
        deviation=np.abs(gradients.saddle_gradient(mdp, theta, log_D, lam) - (first - lam * second)).max() / scale,
        tolerance=EXACT,
        because=SOLVES,
    )
