"""Equation 2: entropy-regularised RL, and the soft Bellman equation that solves it.

For a cost c and a weight lam > 0 of causal entropy (lam = 1 in the paper),

    RL(c) = argmin_pi -lam H(pi) + E_pi[c],      value  p0.V,
    V(s)  = -lam log sum_a exp( -(c(s, a) + gamma (P V)(s, a)) / lam ),
    pi(a|s) = exp( (V(s) - c(s, a) - gamma (P V)(s, a)) / lam ).

That this is the minimum, and on visited states the only minimiser, is one identity: with L(pi) = -lam H(pi) + E_pi[c]
and pi* = RL(c), every policy has

    L(pi) - p0.V = lam sum_s d_pi(s) KL( pi(.|s) || pi*(.|s) ) >= 0.

Source: Ho & Ermon (2016), Eq 2; soft Bellman equation: Ziebart (2010), Bloem & Bambos (2014).
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp, xlogy

import occmatch as om
from theory.ledger import Ledger
from theory.oracles import kernel, series_occupancy, series_return, soft_value
from theory.plain import entropy, lowest
from theory.strategies import costs, examples, mdps, policies, rngs

LAMS = st.sampled_from([0.1, 1.0, 5.0])

ROUNDING = 1e-11
SWEEPS = "value iteration sums 3700 rounded sweeps at gamma 0.99, each 1e-16 of |V| (1 - gamma amplifies by 100)"
SERIES = "a power series of 3700 terms in float64 against a linear solve of condition 200"

SEARCH = 1e-6
FLAT = "L-BFGS ends where the objective changes by 1e-13 of itself; the margin is for slow valleys"


@examples(60)
@given(mdps(), st.data())
def test_the_value_is_that_of_plain_value_iteration(check: Ledger, mdp: om.MDP, data: st.DataObject) -> None:
    cost, lam = data.draw(costs(mdp, 3.0)), data.draw(LAMS)
    found, V = om.rl(mdp, cost, lam), soft_value(mdp, cost, lam)
    off = np.abs(found.V - V).max() / (1.0 + np.abs(V).max())
    check(
        statement="Eq 2", compared="V of rl against value iteration", deviation=off, tolerance=ROUNDING, because=SWEEPS
    )
    check(
        statement="Eq 2",
        compared="the error that rl states against the true one (violation)",
        deviation=(np.abs(found.V - V).max() - found.error) / (1.0 + np.abs(V).max()),
        tolerance=ROUNDING,
        because=SWEEPS,
    )


@examples(40)
@given(mdps(), st.data())
def test_one_sweep_is_the_equation_at_any_v(check: Ledger, mdp: om.MDP, data: st.DataObject) -> None:
    cost, lam, rng = data.draw(costs(mdp, 3.0)), data.draw(LAMS), data.draw(rngs())
    V = 10.0 * rng.normal(size=mdp.S)
    Q = cost + mdp.gamma * (kernel(mdp) @ V)
    TV, pi = om.soft_backup(mdp, cost, V, lam)
    expected = -lam * logsumexp(-Q / lam, axis=1)
    terms = {"statement": "Eq 2", "tolerance": ROUNDING, "because": "one sweep; exponents of up to 500 round by 1e-13"}
    check(**terms, compared="T V of soft_backup against -lam log sum exp", deviation=np.abs(TV - expected).max() / 30.0)
    off = np.abs(pi - np.exp((expected[:, None] - Q) / lam)).max()
    check(**terms, compared="its policy against exp((T V - Q) / lam)", deviation=off)


@examples(60)
@given(mdps(), st.data())
def test_what_a_policy_loses_is_its_divergence_from_the_soft_optimal_one(
    check: Ledger, mdp: om.MDP, data: st.DataObject
) -> None:
    cost, lam, pi = data.draw(costs(mdp)), data.draw(LAMS), data.draw(policies(mdp))
    best = om.rl(mdp, cost, lam)
    lost = series_return(mdp, pi, cost, lam) - mdp.p0 @ best.V
    # By the logarithm that the equation states: where an action costs 1,000 lam too much the probability is 0.
    lam_log = best.V[:, None] - om.q_values(mdp, cost, best.V)
    divergence = series_occupancy(mdp, pi).sum(axis=1) @ (lam * xlogy(pi, pi) - pi * lam_log).sum(axis=1)
    scale = 1.0 + np.abs(best.V).max()
    terms = {"statement": "Eq 2", "tolerance": ROUNDING, "because": SERIES}
    check(**terms, compared="L(pi) - p0.V against lam E_d KL(pi || pi*)", deviation=abs(lost - divergence) / scale)
    check(**terms, compared="no policy is below p0.V (violation)", deviation=-lost / scale)
    own = series_return(mdp, best.pi, cost, lam) - mdp.p0 @ best.V
    check(**terms, compared="L(RL(c)) against p0.V", deviation=abs(own) / scale)


@examples(8)
@given(mdps(max_states=3, gammas=st.sampled_from([0.0, 0.5, 0.8])), st.data())
def test_a_search_over_policies_ends_at_the_value_and_never_below(
    check: Ledger, mdp: om.MDP, data: st.DataObject
) -> None:
    cost, lam = data.draw(costs(mdp)), 1.0
    best = mdp.p0 @ om.rl(mdp, cost, lam).V
    # A long first step can leave a search on the plateau of a deterministic policy: it starts from two places.
    starts = [np.log(data.draw(policies(mdp, "interior"))), np.zeros(mdp.shape)]
    found = lowest(
        mdp,
        lambda rho: float((rho * cost).sum() - lam * entropy(rho)),
        lambda rho: cost + lam * np.log(np.maximum(rho, 1e-300) / np.maximum(rho.sum(axis=1, keepdims=True), 1e-300)),
        starts,
    )
    terms = {"statement": "Eq 2", "tolerance": SEARCH, "because": FLAT}
    check(**terms, compared="least value that a search over policies finds against p0.V", deviation=abs(found - best))
