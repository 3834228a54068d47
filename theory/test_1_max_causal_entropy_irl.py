"""Equation 1: maximum causal entropy inverse reinforcement learning over a class of costs.

    max_{c in C}  ( min_pi -H(pi) + E_pi[c] ) - E_piE[c]

looks for a cost under which the expert does well and everyone else, entropy included, badly. The inner minimum is
RL(c). For the class of all c = sum_k w_k f_k the optimal policy has the expert's feature expectations, and among those
that have them it is the one of most causal entropy:

    max_w p0.V_w - <rho_E, c_w>  =  - max { Hbar(rho) : rho in D, <rho, f_k> = <rho_E, f_k> for every k }.

Source: Ho & Ermon (2016), Eq 1; Ziebart, Bagnell & Dey (2010).
"""

import cvxpy as cp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

import occmatch as om
from occmatch.regularisers import Constant, Simplex
from theory.ledger import Ledger
from theory.oracles import flow, soft_policy, soft_value
from theory.strategies import Instance, examples, instances, positive_instances, rngs

GAMMAS = st.sampled_from([0.0, 0.5, 0.9])

VALUE = 1e-6
SOLVERS = "BFGS ends at gradient 1e-7, Clarabel at 1e-8, both in units of 1 / (1 - gamma)"
MATCHED = 1e-4
ROOT = "the root of a value that is off by 1e-8"


def dual(mdp: om.MDP, rho_E: np.ndarray, cost: np.ndarray) -> float:
    return float(mdp.p0 @ soft_value(mdp, cost, 1.0)) - float((rho_E * cost).sum())


@examples(12)
@given(positive_instances(max_states=4, gammas=GAMMAS), rngs())
def test_over_a_linear_class_it_matches_features_at_most_entropy(
    check: Ledger, instance: Instance, rng: np.random.Generator
) -> None:
    mdp, _, rho_E = instance
    share = 1.0 - mdp.gamma
    features = rng.normal(size=(*mdp.shape, 2))
    found = om.irl(mdp, rho_E, Constant(features))
    value = dual(mdp, rho_E, found.cost)

    # The class searched without the package: quasi-Newton over w, with value iteration inside.
    searched = minimize(lambda w: -dual(mdp, rho_E, features @ w), np.zeros(2), method="BFGS", options={"gtol": 1e-7})
    terms = {"statement": "Eq 1", "tolerance": VALUE, "because": SOLVERS}
    check(**terms, compared="value of irl against a search over w", deviation=abs(value + searched.fun) * share)

    # The most entropy with these features, as a program in rho.
    rho = cp.Variable(mdp.shape, nonneg=True)
    d = cp.sum(rho, axis=1, keepdims=True) @ np.ones((1, mdp.A))
    gaps = [cp.sum(cp.multiply(features[:, :, k], rho - rho_E)) == 0 for k in range(2)]
    in_D = flow(mdp) @ cp.vec(rho, order="C") == mdp.p0
    most = cp.Problem(cp.Maximize(-cp.sum(cp.rel_entr(rho, d))), [in_D, *gaps]).solve(solver=cp.CLARABEL)
    check(**terms, compared="value of irl against minus the most entropy", deviation=abs(value + most) * share)

    learner = om.occupancy(mdp, soft_policy(mdp, found.cost, 1.0))
    check(
        statement="Eq 1",
        compared="features of RL(c) against the expert's",
        deviation=np.abs(np.einsum("sak,sa->k", features, learner - rho_E)).max() * share,
        tolerance=MATCHED,
        because=ROOT,
    )


@examples(12)
@given(instances(max_states=4, gammas=GAMMAS), rngs())
def test_over_a_segment_of_costs_it_is_a_search_in_one_number(
    check: Ledger, instance: Instance, rng: np.random.Generator
) -> None:
    mdp, _, rho_E = instance
    share = 1.0 - mdp.gamma
    features = rng.normal(size=(*mdp.shape, 2))
    found = om.irl(mdp, rho_E, Simplex(features))
    value = dual(mdp, rho_E, found.cost)
    scalar = minimize_scalar(
        lambda w: -dual(mdp, rho_E, features @ [w, 1.0 - w]),
        bounds=(0.0, 1.0),
        method="bounded",
        options={"xatol": 1e-7},
    )
    ends = [dual(mdp, rho_E, features[:, :, k]) for k in range(2)]
    best = max(-scalar.fun, *ends)
    terms = {"statement": "Eq 1", "tolerance": VALUE, "because": SOLVERS}
    check(
        **terms, compared="two costs and what lies between: irl against a search", deviation=abs(value - best) * share
    )


@examples(12)
@given(instances(max_states=3, gammas=GAMMAS), rngs())
def test_the_inner_minimum_is_below_every_policy(check: Ledger, instance: Instance, rng: np.random.Generator) -> None:
    mdp, pi_E, rho_E = instance
    cost = rng.normal(size=mdp.shape)
    # The expert is one of the policies, so that the objective of Eq 1 is at most minus its own entropy.
    above = dual(mdp, rho_E, cost) + om.entropy(mdp, pi_E)
    check(
        statement="Eq 1",
        compared="objective <= -H(pi_E) for every cost (violation)",
        deviation=above * (1.0 - mdp.gamma),
        tolerance=1e-12,
        because="value iteration to rounding",
    )
    own = -np.log(np.where(pi_E > 0, pi_E, 1e-300))
    reached = dual(mdp, rho_E, own) + om.entropy(mdp, pi_E)
    check(
        statement="Eq 1",
        compared="objective at c = -log pi_E against -H(pi_E)",
        deviation=abs(reached) * (1.0 - mdp.gamma),
        tolerance=1e-12,
        because="value iteration to rounding; actions that the expert never takes cost 690 and weigh e^-690",
    )
