"""Lemma A.1: the gradient of causal entropy is a policy gradient with the cost -log pi held fixed.

    grad_theta H(pi) = E_pi[ grad_theta log pi(a|s) Q_log(s, a) ],
    Q_log(s, a) = E_pi[ sum_t -gamma^t log pi(a_t|s_t) | s_0 = s, a_0 = a ].

The cost -log pi depends on theta itself, and yet no second term appears: E_pi[grad_theta log pi] = 0 in every state.
In terms of measures: -log pi_rho is the gradient of Hbar(rho), a policy gradient being the chain rule through rho_pi.

Source: Ho & Ermon (2016), appendix A.2.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from occmatch import entropy as entropy_of
from occmatch import grad_causal_entropy, gradients
from theory.ledger import Ledger
from theory.plain import entropy, following, gradient, measure, softmax
from theory.search import any_mdp, worst
from theory.strategies import examples, mdps, rngs

EXACT = 1e-13
SOLVES = "two solves of condition 200 at gamma 0.99, relative to 1/(1-gamma)^2"


@examples(30)
@given(mdps(), st.data())
def test_the_gradient_of_entropy(check: Ledger, mdp, data: st.DataObject) -> None:
    rng = data.draw(rngs())
    theta = data.draw(st.sampled_from([0.0, 1.0, 4.0])) * rng.normal(size=mdp.shape)
    pi = softmax(theta)
    mine = gradients.entropy_gradient(mdp, theta)
    scale = (1.0 + np.ptp(theta)) / (1 - mdp.gamma) ** 2
    numeric = gradient(lambda t: entropy(measure(mdp, softmax(t))), theta)
    check(
        statement="Lemma A.1",
        compared="entropy_gradient against the complex-step gradient of Hbar(rho_pi)",
        deviation=np.abs(mine - numeric).max() / scale,
        tolerance=EXACT,
        because=SOLVES,
    )
    Q, rho = following(mdp, pi, -np.log(pi)), measure(mdp, pi)
    summed = np.zeros(mdp.shape)
    for s, a in np.ndindex(*mdp.shape):
        summed[s] += rho[s, a] * (np.eye(mdp.A)[a] - pi[s]) * Q[s, a]
    check(
        statement="Lemma A.1",
        compared="E[grad log pi Q_log], Q_log by its series, against the complex-step gradient",
        deviation=np.abs(summed - numeric).max() / scale,
        tolerance=EXACT,
        because=SOLVES,
    )


@examples(15)
@given(mdps(), st.data())
def test_no_direction_rises_at_the_uniform_policy_and_all_others_have_one(
    check: Ledger, mdp, data: st.DataObject
) -> None:
    """H(pi) <= log A / (1 - gamma), with equality at the uniform policy: stationary there, an ascent elsewhere."""
    theta = data.draw(rngs()).normal(size=mdp.shape)
    highest = np.log(mdp.A) / (1 - mdp.gamma)
    slope = gradients.entropy_gradient(mdp, theta)
    step = 1e-3 * (1 - mdp.gamma) ** 2
    gain = entropy_of(mdp, softmax(theta + step * slope)) - entropy_of(mdp, softmax(theta))
    check(
        statement="Lemma A.1",
        compared="entropy_gradient at the uniform policy, and H above its maximum (violation)",
        deviation=np.abs(gradients.entropy_gradient(mdp, 0 * theta)).max() * (1 - mdp.gamma) ** 2
        + max(entropy_of(mdp, softmax(theta)) - highest, 0.0) * (1 - mdp.gamma),
        tolerance=EXACT,
        because=SOLVES,
    )
    check(
        statement="Lemma A.1",
        compared="half the promised ascent missed by a short step along the gradient (violation)",
        deviation=(0.5 * step * float((slope**2).sum()) - gain) * (1 - mdp.gamma),
        tolerance=1e-13,
        because="rounding of H relative to 1/(1-gamma)",
    )


@examples(20)
@given(mdps(), st.data())
def test_the_cost_of_the_lemma_is_the_gradient_in_the_measure(check: Ledger, mdp, data: st.DataObject) -> None:
    """Anywhere in the positive orthant, on D or off it."""
    rho = np.exp(data.draw(rngs()).uniform(-3, 3, size=mdp.shape))
    check(
        statement="Lemma A.1",
        compared="grad_causal_entropy = -log pi_rho against the complex-step gradient of Hbar in rho",
        deviation=np.abs(grad_causal_entropy(rho) - gradient(entropy, rho)).max(),
        tolerance=1e-13,
        because="logs of ratios up to e^6",
    )


@examples(4)
@given(st.sampled_from([0.0, 0.5, 0.9]), rngs())
def test_a_search_for_the_worst_mdp_finds_no_more_entropy(
    check: Ledger, gamma: float, rng: np.random.Generator
) -> None:
    def above(*x: np.ndarray) -> float:
        rows, start, theta = x
        return (1 - gamma) * entropy_of(any_mdp(rows, start, gamma), softmax(theta)) - np.log(3)

    check(
        statement="Lemma A.1",
        compared="H above log A / (1 - gamma), worst MDP and policy found (violation)",
        deviation=worst(above, ((2, 3, 2), (2,), (2, 3)), rng),
        tolerance=1e-13,
        because="rounding of H relative to 1/(1-gamma)",
    )
