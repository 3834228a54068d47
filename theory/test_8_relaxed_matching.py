"""Equation 8: IRL with a regulariser is matching with a tolerance that its conjugate measures.

For a closed proper convex psi on costs, with

    d_psi(rho, rho_E) = psi*(rho - rho_E) = sup_c  <rho - rho_E, c> - psi(c),

RL o IRL_psi(pi_E) solves  min_pi  d_psi(rho_pi, rho_E) - lam H(pi): the constraint rho_pi = rho_E of a constant psi is
relaxed to a penalty, and psi says which differences of occupancy measures weigh how much.

One side: the conjugates of occmatch, closed forms or solvers of their own. The other: each psi written out from its
definition, maximised over c by a conic solver; and a descent over policies that looks for one below the optimum.

Source: Ho & Ermon (2016), Section 4, Eq 8.
"""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from occmatch import certify, match, occupancy
from occmatch.regularisers import REGISTERED
from occmatch.regularisers.registered import example_features
from theory.ledger import Ledger
from theory.oracles import kernel, soft_policy
from theory.plain import apart, conic, entropy, lowest, softmax
from theory.search import worst
from theory.strategies import Instance, examples, instances, measures, positive_instances, rngs

CONIC = 2e-6
"""Clarabel stops at relative gaps of 1e-8; the largest masses, 100, and exponential cones lose two digits of that."""

ATTACK = 1e-8
"""Both sides are one objective at two policies, so that only what the solver left counts."""

SOLVED = ("lipschitz", "expression")
"""Each value of their psi* is a program of its own, too slow for long searches."""

EXACT = ("constant", "surrogate_linear")
"""psi = 0 in effect: d_psi is 0 or +inf, and the relaxed problem has one feasible point."""


def span(c, features, domain):
    w = cp.Variable(features.shape[2])
    return w, [cp.vec(c, order="C") == features.reshape(-1, features.shape[2]) @ w, *domain(w)]


def simplex(w):
    return [w >= 0, cp.sum(w) == 1]


def lipschitz(mdp, c):
    """|c(s, a) - c(s', a)| <= 1 where some action leads from s to s', and |c(s, a) - c(s, b)| <= 1."""
    steps = [(s, t) for s in range(mdp.S) for t in range(mdp.S) if s != t and (kernel(mdp)[s, :, t] > 0).any()]
    rises = [c[s, a] - c[t, a] for s, t in steps for a in range(mdp.A)]
    rises += [c[s, a] - c[s, b] for s in range(mdp.S) for a in range(mdp.A) for b in range(a)]
    return 0.0, [cp.abs(cp.hstack(rises)) <= 1] if rises else []


def expected(rho_E, c, terms, upper, m=None):
    """<rho_E, terms> where rho_E > 0, and c <= upper where it is zero."""
    seen = rho_E > 0
    off = [] if seen.all() or upper == np.inf else [c[np.nonzero(~seen)] <= upper]
    return rho_E[seen] @ terms(c[np.nonzero(seen)]), off


def by_margin(rho_E, c, phi, upper):
    """psi_phi(c) = <rho_E, -c + phi(-m)> with m the least margin of cost c or more: phi(m) <= -c."""
    value, off = expected(rho_E, c, lambda x: -x, upper)
    seen = rho_E > 0
    m = cp.Variable(int(seen.sum()))
    return value + rho_E[seen] @ phi(-m), [*off, phi(m) <= -c[np.nonzero(seen)]]


TAU = 0.25
LOG2 = np.log(2.0)

DEFINITION = {
    "l2_ball": lambda mdp, r, c: (0.0, [cp.norm2(cp.vec(c, order="C")) <= 1]),
    "l2_ball_features": lambda mdp, r, c: (0.0, span(c, example_features(mdp), lambda w: [cp.norm2(w) <= 1])[1]),
    "simplex": lambda mdp, r, c: (0.0, simplex(c)),
    "simplex_features": lambda mdp, r, c: (0.0, span(c, example_features(mdp), simplex)[1]),
    "box": lambda mdp, r, c: (0.0, [cp.abs(c) <= 1]),
    "quadratic": lambda mdp, r, c: (0.5 * cp.sum_squares(c), []),
    "quadratic_features": lambda mdp, r, c: (
        lambda w, rows: (0.25 * cp.sum_squares(w), rows)  # weight 1/2 on the coordinates
    )(*span(c, example_features(mdp, min(3, mdp.S * mdp.A)), lambda w: [])),
    "lipschitz": lambda mdp, r, c: lipschitz(mdp, c),
    "expression": lambda mdp, r, c: (0.5 * cp.sum_squares(c) + cp.sum(cp.abs(c)), []),
    "surrogate_logistic": lambda mdp, r, c: expected(r, c, lambda x: -x - cp.log(1 - cp.exp(x)), 0.0),
    "surrogate_exponential": lambda mdp, r, c: expected(r, c, lambda x: -x + cp.inv_pos(-x), 0.0),
    "surrogate_exponential_linear": lambda mdp, r, c: by_margin(r, c, lambda m: cp.exp(-m) - m, np.inf),
    "surrogate_smoothed_hinge": lambda mdp, r, c: by_margin(r, c, lambda m: TAU * cp.logistic((1 - m) / TAU), 0.0),
    "fdivergence_kl": lambda mdp, r, c: expected(r, c, lambda y: cp.exp(y) - 1 - y, np.inf),
    "fdivergence_reverse_kl": lambda mdp, r, c: expected(r, c, lambda y: -cp.log(1 - y) - y, 1.0),
    "fdivergence_chi2": lambda mdp, r, c: expected(r, c, lambda y: cp.square(cp.pos(y + 2)) / 4 - 1 - y, np.inf),
    "fdivergence_hellinger": lambda mdp, r, c: expected(r, c, lambda y: cp.inv_pos(1 - y) - 1 - y, 1.0),
    "fdivergence_js": lambda mdp, r, c: expected(r, c, lambda y: -cp.log(2 - cp.exp(y)) - y, LOG2),
    "fdivergence_tv": lambda mdp, r, c: (expected(r, c, lambda y: cp.maximum(y, -0.5) - y, 0.5)[0], [c <= 0.5]),
}


def test_every_registered_psi_is_defined_here() -> None:
    assert {*DEFINITION, *EXACT} == REGISTERED.keys()


@pytest.mark.parametrize("name", DEFINITION)
@examples(4)
@given(instance=positive_instances(max_states=4, least=2), data=st.data())
def test_divergence_is_the_supremum_over_costs(
    check: Ledger, name: str, instance: Instance, data: st.DataObject
) -> None:
    mdp, _, rho_E = instance
    rho = data.draw(measures(mdp, "interior"))
    psi = REGISTERED[name](mdp, rho_E)
    c = cp.Variable(mdp.shape)
    value, rows = DEFINITION[name](mdp, rho_E, c)
    problem = cp.Problem(cp.Maximize(cp.sum(cp.multiply(rho - rho_E, c)) - value), rows)
    assume(conic(problem))
    scale = rho.sum()
    check(
        statement="Eq 8",
        compared="psi* against the supremum over c by a conic solver, relative to the mass",
        deviation=abs(psi.divergence(rho, rho_E) - problem.value) / scale,
        tolerance=CONIC,
        because="Clarabel's relative gap of 1e-8, times two digits for masses up to 100 and exponential cones",
    )


@pytest.mark.parametrize("name", DEFINITION)
@examples(6)
@given(instance=instances(max_states=4, least=2), data=st.data())
def test_fenchel_young(check: Ledger, name: str, instance: Instance, data: st.DataObject) -> None:
    """<x, c> <= psi*(x) + psi(c) for every c in the domain of psi, also where rho_E is zero."""
    mdp, _, rho_E = instance
    rho = data.draw(measures(mdp))
    psi = REGISTERED[name](mdp, rho_E)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    top = psi.divergence(rho, rho_E)
    worst = -np.inf
    for size in 10.0 ** rng.uniform(-2, 1.5, size=20):
        c = np.asarray(psi.repair(size * rng.normal(size=mdp.shape)))
        scale = rho.sum() * (1 + np.abs(c).max())
        worst = max(worst, (float(np.vdot(rho - rho_E, c)) - psi.value(c) - top) / scale)
    check(
        statement="Eq 8",
        compared="<rho - rho_E, c> - psi(c) above psi*, over random costs",
        deviation=worst,
        tolerance=1e-11,
        because="domains hold up to a relative 1e-11 (DOMAIN_RTOL), sums round by less",
    )


@pytest.mark.parametrize("name", [name for name in DEFINITION if name not in SOLVED])
@examples(2)
@given(instance=instances(max_states=2, max_actions=2, least=2), data=st.data())
def test_a_search_over_costs_stays_below_the_conjugate(
    check: Ledger, name: str, instance: Instance, data: st.DataObject
) -> None:
    mdp, _, rho_E = instance
    rho = data.draw(measures(mdp))
    psi = REGISTERED[name](mdp, rho_E)
    top = psi.divergence(rho, rho_E)
    assume(np.isfinite(top))  # nothing is above the others

    def above(cost: np.ndarray) -> float:
        c = np.asarray(psi.repair(cost))
        return (float(np.vdot(rho - rho_E, c)) - psi.value(c) - top) / (rho.sum() * (1 + np.abs(c).max()))

    check(
        statement="Eq 8",
        compared="<rho - rho_E, c> - psi(c) above psi*, worst cost found",
        deviation=worst(above, (mdp.shape,), data.draw(rngs()), evaluations=150),
        tolerance=1e-11,
        because="domains hold up to a relative 1e-11 (DOMAIN_RTOL), sums round by less",
    )


@pytest.mark.parametrize("name", DEFINITION)
@examples(4)
@given(instance=positive_instances(max_states=4, least=2), data=st.data())
def test_no_policy_is_below_the_matched_one(check: Ledger, name: str, instance: Instance, data: st.DataObject) -> None:
    mdp, pi_E, rho_E = instance
    psi = REGISTERED[name](mdp, rho_E)
    lam = data.draw(st.sampled_from([0.2, 1.0]))
    start = data.draw(st.sampled_from([np.log(pi_E), np.zeros(mdp.shape)]))

    def objective(rho: np.ndarray) -> float:
        return psi.divergence(rho, rho_E) - lam * entropy(rho)

    def slope(rho: np.ndarray) -> np.ndarray:
        return psi.best_cost(rho, rho_E) + lam * np.log(rho / rho.sum(axis=1, keepdims=True))

    attacked = lowest(mdp, objective, slope, [start], steps=2 if name in SOLVED else 60)
    optimum = objective(match(mdp, rho_E, psi, lam).rho)
    check(
        statement="Eq 8",
        compared="a policy below the matched one, by L-BFGS (violation)",
        deviation=(optimum - attacked) / max(abs(optimum), abs(attacked), lam / (1 - mdp.gamma)),
        tolerance=ATTACK,
        because="one objective at two policies; programs of cvxpy stop at relative gaps of 1e-8, the others at 1e-13",
    )


@pytest.mark.parametrize("name", EXACT)
@examples(5)
@given(instance=instances(), data=st.data())
def test_constant_psi_tolerates_nothing(check: Ledger, name: str, instance: Instance, data: st.DataObject) -> None:
    mdp, _, rho_E = instance
    rho = data.draw(measures(mdp))
    psi = REGISTERED[name](mdp, rho_E)
    away = float(np.abs(rho - rho_E).max()) > 1e-9 * rho.sum()
    check(
        statement="Eq 8",
        compared="d_psi against 0 at rho_E and +inf away from it",
        deviation=apart(psi.divergence(rho, rho_E), np.inf if away else 0.0) + psi.divergence(rho_E, rho_E),
        tolerance=0.0,
        because="two values, no arithmetic",
    )


@examples(15)
@given(instance=positive_instances(max_states=4, least=2), data=st.data())
def test_any_claim_brackets_the_optimum(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    """Primal above and dual below, from a policy, a cost and a V that are each wrong: the certificate trusts no one."""
    mdp, _, rho_E = instance
    psi = REGISTERED[data.draw(st.sampled_from(["surrogate_logistic", "fdivergence_chi2", "quadratic"]))](mdp, rho_E)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    found = match(mdp, rho_E, psi)
    optimum = psi.divergence(found.rho, rho_E) - float(entropy(found.rho))
    scale = max(abs(optimum), 1 / (1 - mdp.gamma))
    for noise in (0.0, 0.1):
        for shift in (-3.0, 3.0):
            claim = replace(
                found,
                rho=occupancy(mdp, found.pi * (1 - noise) + noise / mdp.A),
                cost=np.asarray(psi.repair(found.cost - noise * rng.uniform(size=mdp.shape))),
                V=found.V + shift + noise * rng.normal(size=mdp.S),
            )
            judged = certify(mdp, rho_E, psi, claim)
            check(
                statement="Eq 8",
                compared="optimum outside [dual, primal] of a wrong claim (violation)",
                deviation=max(judged.dual - optimum, optimum - judged.primal) / scale,
                tolerance=1e-10,
                because="the optimum is known to a relative 1e-13, sums round by less",
            )


@examples(4)
@given(instance=positive_instances(max_states=2, max_actions=2, least=2), rng=rngs())
def test_a_search_for_a_claim_that_deceives_finds_none(
    check: Ledger, instance: Instance, rng: np.random.Generator
) -> None:
    """Over the policy, the cost and the V that are claimed."""
    mdp, _, rho_E = instance
    psi = REGISTERED["surrogate_logistic"](mdp, rho_E)
    found = match(mdp, rho_E, psi)
    optimum = psi.divergence(found.rho, rho_E) - float(entropy(found.rho))

    def deceived(*x: np.ndarray) -> float:
        theta, cost, V = x
        judged = certify(
            mdp,
            rho_E,
            psi,
            replace(
                found,
                rho=occupancy(mdp, softmax(np.log(found.pi) + theta)),
                cost=np.asarray(psi.repair(found.cost + cost)),
                V=found.V + V,
            ),
        )
        return (1 - mdp.gamma) * max(judged.dual - optimum, optimum - judged.primal)

    check(
        statement="Eq 8",
        compared="optimum outside [dual, primal], worst claim found (violation)",
        deviation=worst(deceived, (mdp.shape, mdp.shape, (mdp.S,)), rng, spread=0.3),
        tolerance=1e-10,
        because="the optimum is known to a relative 1e-13, sums round by less",
    )


@pytest.mark.parametrize("name", EXACT)
@examples(8)
@given(instance=positive_instances(max_states=4, least=2))
def test_the_cost_of_an_exact_match_makes_the_expert_optimal(check: Ledger, name: str, instance: Instance) -> None:
    """The cost that matching hands back, given to a plain soft value iteration."""
    mdp, pi_E, rho_E = instance
    found = match(mdp, rho_E, REGISTERED[name](mdp, rho_E), 0.5)
    check(
        statement="Eq 8",
        compared="soft optimal policy of the exact match's cost against the expert's",
        deviation=apart(soft_policy(mdp, found.cost, 0.5), pi_E),
        tolerance=1e-10,
        because="value iteration sums 3700 rounded sweeps at gamma 0.99",
    )
