"""Proposition A.1: every surrogate loss is a regulariser, and RL after IRL with it minimises -R_phi.

Let phi be strictly decreasing and convex, T the range of -phi, and

    g_phi(x) = -x + phi( -phi^{-1}(-x) )  for x in T, +inf otherwise,      psi_phi(c) = sum rho_E g_phi(c).

Then psi_phi is closed, proper and convex, and

    RL o IRL_psi_phi(pi_E) = argmin_pi  -H(pi) - R_phi(rho_pi, rho_E),      R_phi of equation 29,

that is  psi_phi*(rho - rho_E) = -R_phi(rho, rho_E).  Held for every registered phi and for phi drawn at random.

Source: Ho & Ermon (2016), appendix A.1, proposition A.1.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar

import occmatch as om
from occmatch.losses import Loss
from occmatch.regularisers import Surrogate
from theory.ledger import Ledger
from theory.plain import apart, entropy, lowest, measure
from theory.random_losses import random_losses
from theory.search import worst
from theory.strategies import Instance, examples, measures, positive_instances, rngs

NAMES = (*om.LOSSES, "random")
SMOOTH = tuple(name for name in NAMES if name != "linear")

SEARCH = 1e-7
NESTED = "a search in c with a root search inside: 1e-8 of the bracket in the argument, second order in the value"
SOLVER = 1e-8
NEWTON = "two Newton methods, on the dual and on the primal, each to 1e-13 of its slope; L-BFGS to 1e-13 of its value"


def draw_loss(name: str, data: st.DataObject) -> Loss:
    return data.draw(random_losses()) if name == "random" else om.LOSSES[name]


def g(loss: Loss, x: float) -> float:
    """The definition, with phi^{-1} by bracketing."""
    m = brentq(lambda m: float(loss.phi(np.array(m))) + x, -600.0, 600.0, xtol=1e-13)
    return -x + float(loss.phi(np.array(-m)))


@pytest.mark.parametrize("name", NAMES)
@examples(8)
@given(data=st.data())
def test_g_is_its_definition_and_convex(check: Ledger, name: str, data: st.DataObject) -> None:
    loss, rng = draw_loss(name, data), data.draw(rngs())
    m = rng.uniform(-3, 3, size=8)
    x = -loss.phi(m)
    check(
        statement="Prop A.1",
        compared="g of the loss against -x + phi(-phi^{-1}(-x)) by a bracketed root",
        deviation=max(apart(float(loss.g(a)), g(loss, a), scale=1.0) for a in x),
        tolerance=1e-9,
        because="the bracketed root errs by 1e-13, times slopes of up to e^6",
    )
    a, b, t = x[:4], x[4:], rng.uniform(size=4)
    chord = t * loss.g(a) + (1 - t) * loss.g(b)
    check(
        statement="Prop A.1",
        compared="g between two costs above its chord (violation)",
        deviation=float(((loss.g(t * a + (1 - t) * b) - chord) / (1 + np.abs(chord))).max()),
        tolerance=1e-10,
        because="the inverse is good to 1e-15 of the margin, times slopes of up to e^6",
    )
    check(
        statement="Prop A.1",
        compared="g off T against +inf",
        deviation=0.0 if loss.upper == np.inf else apart(loss.g(loss.upper + np.array([0.0, 1e-9, 5.0])), np.inf),
        tolerance=0.0,
        because="values, no arithmetic",
    )


@pytest.mark.parametrize("name", NAMES)
@examples(3)
@given(data=st.data())
def test_a_search_for_a_chord_below_g_finds_none(check: Ledger, name: str, data: st.DataObject) -> None:
    """Over the margins of two costs and the share of each."""
    loss = draw_loss(name, data)

    def above(*x: np.ndarray) -> float:
        margins, share = x
        a, b = -loss.phi(4 * np.tanh(margins))
        t = float(1 / (1 + np.exp(-share[0])))
        chord = float(t * loss.g(a) + (1 - t) * loss.g(b))
        return float(loss.g(t * a + (1 - t) * b) - chord) / (1 + abs(chord))

    check(
        statement="Prop A.1",
        compared="g above a chord, worst pair found (violation)",
        deviation=worst(above, ((2,), (1,)), data.draw(rngs())),
        tolerance=1e-10,
        because="the inverse is good to 1e-15 of the margin, times slopes of up to e^6",
    )


@pytest.mark.parametrize("name", SMOOTH)
@examples(5)
@given(instance=positive_instances(max_states=2, max_actions=2, least=2), data=st.data())
def test_the_conjugate_is_minus_the_margin_risk(
    check: Ledger, name: str, instance: Instance, data: st.DataObject
) -> None:
    """sup_c <rho - rho_E, c> - psi_phi(c) searched in c with g by its definition, against -R_phi and psi*."""
    mdp, _, rho_E = instance
    loss, rho = draw_loss(name, data), data.draw(measures(mdp, "interior"))
    supremum = risk = 0.0
    for p, q, m in zip(rho.flat, rho_E.flat, loss.best_margin(rho, rho_E).flat, strict=True):
        # Concave in c, so that a maximum inside this bracket is the maximum; a wrong margin would leave it at an end.
        low, high = (-float(loss.phi(np.array(m + step))) for step in (-3.0, 2.5))
        found = minimize_scalar(
            lambda u, p=p, q=q: -((p - q) * u - q * g(loss, u)),
            bounds=(low, high),
            method="bounded",
            options={"xatol": 1e-8 * (high - low)},
        )
        supremum -= found.fun
        found = minimize_scalar(
            lambda x, p=p, q=q: float(p * loss.phi(np.array(x)) + q * loss.phi(np.array(-x))),
            bounds=(m - 3.0, m + 2.5),
            method="bounded",
            options={"xatol": 1e-9},
        )
        risk += found.fun
    value = Surrogate(loss, rho_E).divergence(rho, rho_E)
    check(
        statement="Prop A.1",
        compared="psi_phi* against the supremum over costs",
        deviation=abs(value - supremum) / rho.sum(),
        tolerance=SEARCH,
        because=NESTED,
    )
    check(
        statement="Prop A.1",
        compared="psi_phi* against -R_phi by a search over margins",
        deviation=abs(value + risk) / rho.sum(),
        tolerance=1e-9,
        because="a minimum searched to 1e-9 is exact to second order",
    )


@pytest.mark.parametrize("name", SMOOTH)
@examples(5)
@given(instance=positive_instances(max_states=4, least=2), data=st.data())
def test_rl_after_irl_minimises_minus_the_margin_risk(
    check: Ledger, name: str, instance: Instance, data: st.DataObject
) -> None:
    """The policy of RL(IRL(pi_E)) against matching, and against a descent on -H - R_phi with R_phi by margins."""
    mdp, pi_E, rho_E = instance
    loss, lam = draw_loss(name, data), data.draw(st.sampled_from([0.3, 1.0]))
    psi = Surrogate(loss, rho_E)

    def objective(rho: np.ndarray) -> float:
        m = loss.best_margin(rho, rho_E)
        return -float((rho * loss.phi(m) + rho_E * loss.phi(-m)).sum()) - lam * entropy(rho)

    def slope(rho: np.ndarray) -> np.ndarray:
        return -loss.phi(loss.best_margin(rho, rho_E)) + lam * np.log(rho / rho.sum(axis=1, keepdims=True))

    cost = om.irl(mdp, rho_E, psi, lam, method="newton").cost
    composed = objective(measure(mdp, om.rl(mdp, cost, lam).pi))
    matched = objective(om.match(mdp, rho_E, psi, lam).rho)
    attacked = lowest(mdp, objective, slope, [np.log(pi_E)], steps=30)
    scale = max(abs(matched), (1 + lam) / (1 - mdp.gamma))
    check(
        statement="Prop A.1",
        compared="RL after IRL against the minimum of -H - R_phi by matching",
        deviation=abs(composed - matched) / scale,
        tolerance=SOLVER,
        because=NEWTON,
    )
    check(
        statement="Prop A.1",
        compared="a policy below RL after IRL, by L-BFGS (violation)",
        deviation=(composed - attacked) / scale,
        tolerance=SOLVER,
        because=NEWTON,
    )
