"""Maximum likelihood is maximum causal entropy, at population level.

Let pi_c be the soft optimal policy of c at lam = 1, and x a measure of visits. Since log pi_c = V - c - gamma P V,

    <x, log pi_c> = p0.V_c - <x, c> + <residual(x), V_c>,     residual(x)(s) = sum_a x(s, a) - p0(s) - gamma (P' x)(s).

For x = rho_E in D the last term is zero: the discounted log-likelihood of the expert's actions is the dual of Eq 1,
for every c, and has the same maximisers over any class of costs.

    naive   the same holds of counts from data
    right   it holds of the true measure; for counts the two differ by <residual, V_c>

Source: Ziebart, Bagnell & Dey (2010); Gleave & Toyer (2022).
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

import occmatch as om
from occmatch.regularisers import Constant
from theory.ledger import Ledger
from theory.oracles import flow, series_occupancy, soft_policy
from theory.strategies import Instance, costs, examples, instances, positive_instances, rngs

GAMMAS = st.sampled_from([0.0, 0.5, 0.9])

ROUNDING = 1e-11
SERIES = "value iteration and a power series to rounding, in units of 1 / (1 - gamma)"
VALUE = 1e-6
SOLVERS = "BFGS ends at gradient 1e-7, Clarabel at 1e-8"


def likelihood(mdp: om.MDP, x: np.ndarray, cost: np.ndarray) -> float:
    return float((x * np.log(soft_policy(mdp, cost, 1.0))).sum())


@examples(40)
@given(instances(), st.data())
def test_the_log_likelihood_is_the_dual(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    mdp, pi_E, _ = instance
    cost, x = data.draw(costs(mdp)), series_occupancy(mdp, pi_E)
    dual = mdp.p0 @ om.rl(mdp, cost).V - (x * cost).sum()
    check(
        statement="MLE",
        compared="E_E[log pi_c] against p0.V_c - E_E[c]",
        deviation=abs(likelihood(mdp, x, cost) - dual) * (1.0 - mdp.gamma),
        tolerance=ROUNDING,
        because=SERIES,
    )
    loss = om.entropy(mdp, pi_E) + likelihood(mdp, x, cost)
    check(
        statement="MLE",
        compared="no cost is likelier than the expert's own policy (violation)",
        deviation=loss * (1.0 - mdp.gamma),
        tolerance=ROUNDING,
        because=SERIES,
    )


@examples(10)
@given(positive_instances(max_states=4, gammas=GAMMAS), rngs())
def test_both_have_the_same_maximiser_over_a_class(check: Ledger, instance: Instance, rng: np.random.Generator) -> None:
    mdp, _, rho_E = instance
    features = rng.normal(size=(*mdp.shape, 2))
    likeliest = minimize(lambda w: -likelihood(mdp, rho_E, features @ w), np.zeros(2), options={"gtol": 1e-7})
    found = om.irl(mdp, rho_E, Constant(features))
    share = 1.0 - mdp.gamma
    check(
        statement="MLE",
        compared="largest likelihood over a linear class, by search, against that of irl",
        deviation=abs(-likeliest.fun - likelihood(mdp, rho_E, found.cost)) * share,
        tolerance=VALUE,
        because=SOLVERS,
    )
    likely = soft_policy(mdp, features @ likeliest.x, 1.0)
    check(
        statement="MLE",
        compared="likeliest policy against that of irl",
        deviation=np.abs(likely - found.pi).max(),
        tolerance=1e-3,
        because="the root of the value's 1e-8, where the class is nearly flat",
    )


@examples(20)
@given(positive_instances(max_states=4, least=2, gammas=st.sampled_from([0.5, 0.9])), st.data(), rngs())
def test_counts_differ_by_their_flow_residual(
    check: Ledger, instance: Instance, data: st.DataObject, rng: np.random.Generator
) -> None:
    mdp, _, rho_E = instance
    cost = data.draw(costs(mdp)) + 1.0  # a constant that a residual must see
    counted = rho_E * rng.uniform(0.8, 1.2, size=mdp.shape)
    found = om.rl(mdp, cost)
    dual = mdp.p0 @ found.V - (counted * cost).sum()
    residual = flow(mdp) @ counted.ravel() - mdp.p0
    apart = likelihood(mdp, counted, cost) - dual
    check(
        statement="MLE",
        compared="likelihood of counts less their dual against <residual, V_c>",
        deviation=abs(apart - residual @ found.V) * (1.0 - mdp.gamma),
        tolerance=ROUNDING,
        because=SERIES,
    )
    assert abs(apart) > 1e-9, "naive: they agree"
