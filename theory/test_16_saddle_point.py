"""Equation 16 and Algorithm 1: GAIL looks for a saddle point, and alternating steps find it.

    min_pi max_D   L(pi, D) = E_pi[ log D ] + E_piE[ log(1 - D) ] - lam H(pi)

L is concave in D, and convex in the occupancy measure, so that the two orders agree and (pi*, D*) is a saddle point:
L(pi*, D) <= L(pi*, D*) <= L(pi, D*).  With D at its best against pi, a step of the policy on the cost log D (equation
18) descends Eq 15, by the envelope theorem; the discriminator's own step (equation 17) ascends L in D's weights along
E_pi[grad log D] + E_piE[grad log(1 - D)].

Source: Ho & Ermon (2016), section 5.1, equations 16 and 17, algorithm 1.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

import occmatch as om
from occmatch import gradients
from occmatch.regularisers import Surrogate
from theory.ledger import Ledger
from theory.plain import apart, entropy, gradient, lowest, measure, softmax
from theory.strategies import Instance, examples, positive_instances, rngs

LOGISTIC = om.LOSSES["logistic"]
SOLVER = 1e-8
GAP = "Newton and the conic program stop at relative gaps of 1e-9 and less"


def saddle(rho: np.ndarray, rho_E: np.ndarray, m: np.ndarray, lam: float) -> float:
    """L with D = sigmoid(m)."""
    return float(-(rho * np.logaddexp(0, -m)).sum() - (rho_E * np.logaddexp(0, m)).sum() - lam * entropy(rho))


@examples(10)
@given(positive_instances(max_states=4, least=2), st.data())
def test_irl_and_matching_end_at_a_saddle_point(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    """D* from IRL, pi* from matching, each attacked by an optimiser while the other stands still."""
    mdp, pi_E, rho_E = instance
    lam, rng = data.draw(st.sampled_from([0.1, 1.0])), data.draw(rngs())
    psi = Surrogate(LOGISTIC, rho_E)
    rho = om.match(mdp, rho_E, psi, lam).rho
    c = om.irl(mdp, rho_E, psi, lam).cost
    m = c - np.log(-np.expm1(c))  # the logit of D = e^c
    value = saddle(rho, rho_E, m, lam)
    scale = (1 + lam) / (1 - mdp.gamma)
    discriminator = minimize(
        lambda x: (
            -saddle(rho, rho_E, x.reshape(mdp.shape), lam),
            (rho_E / (1 + np.exp(-x.reshape(mdp.shape))) - rho / (1 + np.exp(x.reshape(mdp.shape)))).ravel(),
        ),
        m.ravel() + rng.normal(size=m.size),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-50, 50)] * m.size,
    )
    learner = lowest(
        mdp,
        lambda r: saddle(r, rho_E, m, lam),
        lambda r: c + lam * np.log(r / r.sum(axis=1, keepdims=True)),
        [np.log(pi_E), np.zeros(mdp.shape)],
    )
    check(
        statement="Eq 16",
        compared="a discriminator better than D* against pi* (violation)",
        deviation=(-discriminator.fun - value) / scale,
        tolerance=SOLVER,
        because=GAP,
    )
    check(
        statement="Eq 16",
        compared="a policy better than pi* against D* (violation)",
        deviation=(value - learner) / scale,
        tolerance=SOLVER,
        because=GAP,
    )


@examples(6)
@given(positive_instances(max_states=4, least=2), st.data())
def test_alternating_steps_reach_it(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    """D at its best, then the policy's gradient of equation 18 for the cost log D, by L-BFGS: the value of matching."""
    mdp, _, rho_E = instance
    lam = 0.5
    psi = Surrogate(LOGISTIC, rho_E)

    def step(x: np.ndarray) -> tuple[float, np.ndarray]:
        theta = x.reshape(mdp.shape)
        rho = measure(mdp, softmax(theta))
        m = np.log(rho / rho_E)
        return saddle(rho, rho_E, m, lam), gradients.saddle_gradient(mdp, theta, -np.logaddexp(0, -m), lam).ravel()

    x0 = data.draw(rngs()).normal(size=mdp.S * mdp.A)
    found = minimize(step, x0, jac=True, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-12, "maxiter": 300})
    rho = om.match(mdp, rho_E, psi, lam).rho
    check(
        statement="Eq 16",
        compared="Algorithm 1 with exact steps against the matching solver",
        deviation=abs(found.fun - (psi.divergence(rho, rho_E) - lam * entropy(rho))) * (1 - mdp.gamma),
        tolerance=1e-6,
        because="L-BFGS ends where the objective changes by 1e-14 of itself, in slow valleys too early",
    )


@examples(10)
@given(positive_instances(max_states=4, least=2), st.data())
def test_the_discriminator_s_step_is_the_gradient_in_its_weights(
    check: Ledger, instance: Instance, data: st.DataObject
) -> None:
    """Eq 17 in margins, D = sigmoid(m): with the derivative of the logistic loss, -rho phi'(m) + rho_E phi'(-m)."""
    mdp, _, rho_E = instance
    rng = data.draw(rngs())
    rho, m = measure(mdp, softmax(rng.normal(size=mdp.shape))), 3 * rng.normal(size=mdp.shape)

    def log_loss(x: np.ndarray) -> complex:
        return (rho * np.log(1 / (1 + np.exp(-x))) + rho_E * np.log(1 / (1 + np.exp(x)))).sum()

    numeric = gradient(log_loss, m)
    check(
        statement="Eq 17",
        compared="complex-step gradient of L in D at the best margin against 0",
        deviation=np.abs(gradient(log_loss, LOGISTIC.best_margin(rho, rho_E))).max() / rho.max(),
        tolerance=1e-13,
        because="sigmoids of the log of a ratio of masses",
    )
    check(
        statement="Eq 17",
        compared="-rho phi'(m) + rho_E phi'(-m) against the complex-step gradient of L in D",
        deviation=apart(-rho * LOGISTIC.dphi(m) + rho_E * LOGISTIC.dphi(-m), numeric, scale=float(rho.max())),
        tolerance=1e-13,
        because="sigmoids of moderate margins",
    )
