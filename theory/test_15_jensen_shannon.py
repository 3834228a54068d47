"""Equation 15: GAIL minimises the Jensen-Shannon divergence of occupancy measures.

    min_pi  psi_GA*(rho_pi - rho_E) - lam H(pi),         (1 - gamma) psi_GA*(rho_pi - rho_E) = 2 JS(p, q) - 2 log 2

with p, q the normalised measures and JS(p, q) = KL(p, m)/2 + KL(q, m)/2, m = (p + q)/2.  So psi_GA* is a metric squared
up to shift and scale: least, at -2 log 2/(1 - gamma), exactly where rho_pi = rho_E, and never above 0.

Source: Ho & Ermon (2016), section 5, equation 15; Goodfellow et al. (2014); Endres & Schindelin (2003) for the metric.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

import occmatch as om
from occmatch.regularisers import FDivergence, Surrogate
from theory.ledger import Ledger
from theory.oracles import series_occupancy
from theory.plain import apart, entropy, lowest, measure, softmax
from theory.search import any_mdp, worst
from theory.strategies import Instance, examples, instances, mdps, measures, policies, positive_instances, rngs

LOGISTIC = om.LOSSES["logistic"]
SERIES = 1e-10
TERMS = "power series of 3700 terms on both measures, and 2 JS - 2 log 2 cancels one digit"


@examples(30)
@given(instances(), st.data())
def test_the_conjugate_is_jensen_shannon(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    mdp, pi_E, rho_E = instance
    pi = data.draw(policies(mdp))
    share = 1 - mdp.gamma
    p, q = (share * series_occupancy(mdp, x).ravel() for x in (pi, pi_E))
    js = float(jensenshannon(p, q)) ** 2 if p.size > 1 else 0.0
    value = share * Surrogate(LOGISTIC, rho_E).divergence(om.occupancy(mdp, pi), rho_E)
    check(
        statement="Eq 15",
        compared="(1 - gamma) psi_GA* against 2 JS - 2 log 2 of SciPy",
        deviation=abs(value - (2 * js - 2 * np.log(2))),
        tolerance=SERIES,
        because=TERMS,
    )
    check(
        statement="Eq 15",
        compared="psi_GA* outside [-2 log 2, 0] / (1 - gamma) (violation)",
        deviation=max(value, -2 * np.log(2) - value),
        tolerance=1e-12,
        because="sums of 36 logs of a linear solve",
    )


@examples(4)
@given(st.sampled_from([0.0, 0.5, 0.9]), rngs())
def test_a_search_for_the_worst_mdp_keeps_its_range(check: Ledger, gamma: float, rng: np.random.Generator) -> None:
    def outside(*x: np.ndarray) -> float:
        rows, start, theta, theta_E = x
        mdp = any_mdp(rows, start, gamma)
        rho, rho_E = (measure(mdp, softmax(4 * part)) for part in (theta, theta_E))
        value = (1 - gamma) * Surrogate(LOGISTIC, rho_E).divergence(rho, rho_E)
        return max(value, -2 * np.log(2) - value)

    check(
        statement="Eq 15",
        compared="psi_GA* outside [-2 log 2, 0] / (1 - gamma), worst MDP found (violation)",
        deviation=worst(outside, ((2, 2, 2), (2,), (2, 2), (2, 2)), rng),
        tolerance=1e-12,
        because="sums of 36 logs of a linear solve",
    )


@examples(30)
@given(instances(), st.data())
def test_its_root_obeys_the_triangle_inequality(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    mdp, _, rho_E = instance
    a, b = data.draw(measures(mdp)), data.draw(measures(mdp))

    def distance(p: np.ndarray, q: np.ndarray) -> float:
        return np.sqrt(max((1 - mdp.gamma) * Surrogate(LOGISTIC, q).divergence(p, q) + 2 * np.log(2), 0.0))

    check(
        statement="Eq 15",
        compared="sqrt of psi_GA* + constant against the triangle inequality (violation)",
        deviation=distance(a, rho_E) - distance(a, b) - distance(b, rho_E),
        tolerance=1e-6,
        because="a root turns a rounding of 1e-13 into 3e-7",
    )


@examples(3)
@given(mdps(max_states=2, max_actions=2, least=2), rngs())
def test_no_three_policies_break_the_triangle(check: Ledger, mdp: om.MDP, rng: np.random.Generator) -> None:
    """Over three policies, for the least slack."""

    def broken(*x: np.ndarray) -> float:
        a, b, c = (om.occupancy(mdp, softmax(theta)) for theta in x)
        ab, bc, ac = (
            np.sqrt(max((1 - mdp.gamma) * Surrogate(LOGISTIC, q).divergence(p, q) + 2 * np.log(2), 0.0))
            for p, q in ((a, b), (b, c), (a, c))
        )
        return ac - ab - bc

    check(
        statement="Eq 15",
        compared="three policies that break the triangle inequality, by search (violation)",
        deviation=worst(broken, ((2, 2),) * 3, rng, evaluations=300, spread=2.0),
        tolerance=1e-6,
        because="a root turns a rounding of 1e-13 into 3e-7",
    )


@examples(8)
@given(positive_instances(max_states=4, least=2), st.data())
def test_matching_it_is_matching_jensen_shannon(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    """The minimum of Eq 15 with psi_GA, with the f-divergence of Jensen-Shannon, and by descent over policies."""
    mdp, pi_E, rho_E = instance
    lam = data.draw(st.sampled_from([0.1, 1.0]))
    psi, share = Surrogate(LOGISTIC, rho_E), 1 - mdp.gamma
    gail, js = om.match(mdp, rho_E, psi, lam), om.match(mdp, rho_E, FDivergence("js", rho_E), lam)

    def objective(rho: np.ndarray) -> float:
        q, p = rho_E.ravel(), rho.ravel()
        return float((p * np.log(p / (p + q)) + q * np.log(q / (p + q))).sum()) - lam * entropy(rho)

    def slope(rho: np.ndarray) -> np.ndarray:
        return np.log(rho / (rho + rho_E)) + lam * np.log(rho / rho.sum(axis=1, keepdims=True))

    attacked = lowest(mdp, objective, slope, [np.log(pi_E), np.zeros(mdp.shape)])
    check(
        statement="Eq 15",
        compared="the minimum with psi_GA against that of a descent over policies",
        deviation=abs(objective(gail.rho) - attacked) * share,
        tolerance=1e-6,
        because="L-BFGS ends where the objective changes by 1e-13 of itself, in slow valleys too early",
    )
    check(
        statement="Eq 15",
        compared="policies of psi_GA and of Jensen-Shannon as an f-divergence",
        deviation=apart(gail.pi, js.pi),
        tolerance=1e-6,
        because="two Newton runs to slopes of 1e-13: half the digits in the policy",
    )


@examples(8)
@given(instances(max_states=4))
def test_without_entropy_the_expert_is_matched(check: Ledger, instance: Instance) -> None:
    mdp, _, rho_E = instance
    share = 1 - mdp.gamma
    psi = Surrogate(LOGISTIC, rho_E)
    rho = series_occupancy(mdp, om.match(mdp, rho_E, psi, lam=0.0).pi)
    check(
        statement="Eq 15",
        compared="the minimum without entropy against -2 log 2 / (1 - gamma)",
        deviation=abs(psi.divergence(rho, rho_E) * share + 2 * np.log(2)),
        tolerance=1e-7,
        because="Clarabel's relative gap of 1e-8",
    )
    check(
        statement="Eq 15",
        compared="the measure of the policy without entropy against the expert's, share of the mass",
        deviation=share * np.abs(rho - rho_E).sum(),
        tolerance=1e-3,
        because="JS >= |p - q|_1^2 / 8 (Pinsker): the root of eight times the gap",
    )
