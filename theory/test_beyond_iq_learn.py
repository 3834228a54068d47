"""IQ-Learn: costs and soft Q functions are in bijection, so IRL needs no inner loop over policies.

With V_Q(s) = -lam log sum_a exp(-Q(s, a) / lam), the inverse soft Bellman operator

    (T Q)(s, a) = Q(s, a) - gamma (P V_Q)(s, a)

maps R^{S x A} one to one onto costs; its inverse takes c to the soft optimal Q of c.  The objective of IRL becomes

    J(Q) = p0.V_Q - <rho_E, T Q> - psi(T Q),        max_Q J(Q) = max_c ( min_pi -lam H + E_pi[c] ) - E_piE[c] - psi(c),

one maximisation over Q, whose policy is exp((V_Q - Q) / lam) at once.  For every rho in D, p0.V = <rho, V - gamma P V>,
which is what lets p0.V_Q be estimated on the expert's own data.

Source: Garg et al. (2021), lemma 3.1 and section 4 (there with rewards and the sign of Q turned).
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

import occmatch as om
from occmatch.regularisers import FDivergence, Quadratic
from theory.ledger import Ledger
from theory.oracles import kernel, soft_policy, soft_value
from theory.plain import apart, gradient
from theory.strategies import Instance, costs, examples, instances, mdps, measures, positive_instances, rngs

LAMS = st.sampled_from([0.3, 1.0])
SERIES = 1e-10
SWEEPS = "value iteration sums 3700 rounded sweeps at gamma 0.99"


def soft_minimum(Q: np.ndarray, lam: float) -> np.ndarray:
    least = np.real(Q).min(axis=1, keepdims=True)
    return (least[:, 0]) - lam * np.log(np.exp((least - Q) / lam).sum(axis=1))


def T(mdp: om.MDP, Q: np.ndarray, lam: float) -> np.ndarray:
    return Q - mdp.gamma * (kernel(mdp) @ soft_minimum(Q, lam))


@examples(25)
@given(mdps(), st.data())
def test_costs_and_q_functions_are_in_bijection(check: Ledger, mdp: om.MDP, data: st.DataObject) -> None:
    """Q -> c -> Q by occmatch's RL, and c -> Q -> c by plain value iteration."""
    lam, rng = data.draw(LAMS), data.draw(rngs())
    Q = 3 * rng.normal(size=mdp.shape)
    found = om.rl(mdp, T(mdp, Q, lam), lam)
    back = om.q_values(mdp, T(mdp, Q, lam), found.V)
    check(
        statement="IQ-Learn",
        compared="Q to cost to Q, by occmatch's soft RL",
        deviation=np.abs(back - Q).max() * (1 - mdp.gamma),
        tolerance=1e-13,
        because="a fixed point of condition 1/(1-gamma)",
    )
    c = data.draw(costs(mdp, 2.0))
    Q_c = c + mdp.gamma * (kernel(mdp) @ soft_value(mdp, c, lam))
    check(
        statement="IQ-Learn",
        compared="cost to Q to cost, by value iteration",
        deviation=apart(T(mdp, Q_c, lam), c, scale=float(np.abs(Q_c).max())),
        tolerance=SERIES,
        because=SWEEPS,
    )
    check(
        statement="IQ-Learn",
        compared="the policy exp((V_Q - Q) / lam) against RL of the cost T Q",
        deviation=apart(found.pi, soft_policy(mdp, T(mdp, Q, lam), lam)),
        tolerance=SERIES,
        because=SWEEPS,
    )


@examples(25)
@given(instances(), st.data())
def test_the_initial_value_telescopes_on_any_measure(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    mdp, _, rho_E = instance
    V = 5 * data.draw(rngs()).normal(size=mdp.S)
    for rho in (rho_E, data.draw(measures(mdp))):
        inner = float((rho * (V[:, None] - mdp.gamma * (kernel(mdp) @ V))).sum())
        check(
            statement="IQ-Learn",
            compared="p0.V against <rho, V - gamma P V> for rho in D, relative to the mass",
            deviation=abs(inner - float(mdp.p0 @ V)) / (rho.sum() * np.abs(V).max()),
            tolerance=1e-13,
            because="a linear solve and sums of 18 terms",
        )


@examples(8)
@given(positive_instances(max_states=3, max_actions=2), st.data())
def test_maximising_over_q_is_irl(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    """L-BFGS over Q, gradient by complex steps, against occmatch's IRL over costs; psi chi-square or quadratic."""
    mdp, _, rho_E = instance
    lam = data.draw(LAMS)
    chi2 = data.draw(st.booleans())
    psi = FDivergence("chi2", rho_E) if chi2 else Quadratic()

    def J(Q: np.ndarray) -> complex:
        c = T(mdp, Q, lam)
        if chi2:  # <rho_E, c> + psi(c) = <rho_E, f*(c)>
            penalty = (rho_E * np.where(np.real(c) > -2, c + c**2 / 4, -1.0)).sum()
        else:
            penalty = (rho_E * c + c**2 / 2).sum()
        return mdp.p0 @ soft_minimum(Q, lam) - penalty

    def negative(x: np.ndarray) -> tuple[float, np.ndarray]:
        Q = x.reshape(mdp.shape)
        return -float(np.real(J(Q))), -gradient(J, Q).ravel()

    found = minimize(negative, np.zeros(mdp.S * mdp.A), jac=True, method="L-BFGS-B",
                     options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 300})  # fmt: skip
    irl = om.irl(mdp, rho_E, psi, lam)
    value = om.certify(mdp, rho_E, psi, irl).dual
    scale = max(abs(value), 1 / (1 - mdp.gamma))
    check(
        statement="IQ-Learn",
        compared="max_Q J(Q) against the optimum of IRL over costs",
        deviation=abs(-found.fun - value) / scale,
        tolerance=1e-6,
        because="L-BFGS in a valley of condition 1/(1-gamma)^2, and the conic program's 1e-8",
    )
    Q_star = om.q_values(mdp, irl.cost, irl.V)
    check(
        statement="IQ-Learn",
        compared="J at the Q of the IRL cost against that optimum",
        deviation=abs(float(np.real(J(Q_star))) - value) / scale,
        tolerance=1e-10,
        because="one sweep at a solved V",
    )
    tried = max(float(np.real(J(Q_star + s * data.draw(rngs()).normal(size=mdp.shape)))) for s in (0.01, 0.3, 3.0))
    check(
        statement="IQ-Learn",
        compared="a Q beyond the optimum, at random (violation)",
        deviation=max((tried - value) / scale, -1.0),
        tolerance=1e-9,
        because="the dual value is certified to 1e-9",
    )
