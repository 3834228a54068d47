"""Equation 29: the risk of the best margin separates the learner from the expert.

    R_phi(rho_pi, rho_E) = sum_{s,a} min_{m in R}  rho_pi(s, a) phi(m) + rho_E(s, a) phi(-m)

for a surrogate loss phi: the least risk of a classifier of pairs whose margin m is free in each of them.  (The paper
calls the margin gamma, the discount's letter.)  R_phi is concave and homogeneous in the two measures together, is
largest where they agree, and where only one of them has mass the best margin is infinite.

Source: Ho & Ermon (2016), appendix A.1, equation 29; Nguyen, Wainwright & Jordan (2009); Bartlett et al. (2006).
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

import occmatch as om
from theory.ledger import Ledger
from theory.plain import apart
from theory.random_losses import RandomLoss, random_losses
from theory.search import worst
from theory.strategies import Instance, examples, instances, measures, rngs

# phi once more, by its textbook formula.
TEXTBOOK = {
    "logistic": lambda m: np.logaddexp(0.0, -m),
    "exponential": lambda m: np.exp(-m),
    "exponential_linear": lambda m: np.exp(-m) - m,
    "linear": lambda m: -m,
    "smoothed_hinge": lambda m: 0.25 * np.logaddexp(0.0, (1.0 - m) / 0.25),
}
FREE = [name for name in TEXTBOOK if name != "linear"]


def test_every_registered_loss_is_written_here() -> None:
    assert TEXTBOOK.keys() == om.LOSSES.keys()


@pytest.mark.parametrize("name", FREE)
@examples(8)
@given(instance=instances(max_states=4), data=st.data())
def test_the_minimum_is_that_of_a_search_over_margins(
    check: Ledger, name: str, instance: Instance, data: st.DataObject
) -> None:
    mdp, _, rho_E = instance
    rho, loss, phi = data.draw(measures(mdp)), om.LOSSES[name], TEXTBOOK[name]
    both = (rho > 0) & (rho_E > 0) if loss.upper == np.inf else rho + rho_E > 0
    worst = missed = 0.0
    for p, q in zip(rho[both], rho_E[both], strict=True):
        found = minimize_scalar(
            lambda m, p=p, q=q: p * phi(m) + q * phi(-m), bounds=(-45, 45), method="bounded", options={"xatol": 1e-9}
        )
        worst = max(worst, abs(float(loss.minimum_risk(p, q)) - found.fun) / (p + q))
        reached = float(loss.risk(loss.best_margin(p, q), p, q))
        missed = max(missed, abs(reached - found.fun) / (p + q))
    check(
        statement="Eq 29",
        compared="minimum_risk against a search over margins, relative to the masses",
        deviation=worst,
        tolerance=1e-9,
        because="a minimum searched to 1e-9 is exact to second order; |m| <= 45 leaves e^-45",
    )
    check(
        statement="Eq 29",
        compared="the risk of best_margin against that search, relative to the masses",
        deviation=missed,
        tolerance=1e-9,
        because="a minimum searched to 1e-9 is exact to second order; |m| <= 45 leaves e^-45",
    )


@pytest.mark.parametrize("name", FREE)
@examples(8)
@given(instance=instances(), data=st.data())
def test_no_margin_has_less_risk(check: Ledger, name: str, instance: Instance, data: st.DataObject) -> None:
    mdp, _, rho_E = instance
    rho, loss, phi, rng = data.draw(measures(mdp)), om.LOSSES[name], TEXTBOOK[name], data.draw(rngs())
    least = loss.minimum_risk(rho, rho_E)
    # Pair by pair: the sum over pairs of twenty draws is never near the least one.
    m = rng.choice([1.0, 10.0], size=(20, 1, 1)) * rng.normal(size=(20, *mdp.shape))
    tried = (rho * phi(m) + rho_E * phi(-m)).min(axis=0)
    check(
        statement="Eq 29",
        compared="random margins of less risk than the minimum, in any pair (violation)",
        deviation=max(float((least - tried).max()) / rho.sum(), -1.0),
        tolerance=1e-13,
        because="sums of two terms; -inf where one measure misses the other and phi is onto R",
    )


@examples(20)
@given(st.floats(1e-6, 10.0), st.floats(1e-6, 10.0), random_losses())
def test_measures_that_agree_have_the_largest_risk(check: Ledger, p: float, q: float, loss: RandomLoss) -> None:
    """R_phi <= phi(0) (p + q) by the margin 0, with equality at p = q: for every phi, registered or drawn."""
    mean = 0.5 * (p + q)
    for phi in (*om.LOSSES.values(), loss):
        at_zero = float(phi.phi(np.zeros(1))[0])
        risk, equal = float(phi.minimum_risk(p, q)), float(phi.minimum_risk(mean, mean))
        scale = (p + q) * max(abs(at_zero), 1.0)
        check(
            statement="Eq 29",
            compared="R_phi above phi(0) (p + q) (violation)",
            deviation=max(risk - at_zero * (p + q), -scale) / scale,
            tolerance=1e-14,
            because="two products",
        )
        check(
            statement="Eq 29",
            compared="R_phi of equal masses against phi(0) (p + q)",
            deviation=apart(equal, at_zero * (p + q), scale=scale),
            tolerance=1e-14,
            because="two products",
        )


@examples(20)
@given(st.lists(st.floats(1e-3, 10.0), min_size=4, max_size=4), st.floats(0.0, 1.0), random_losses())
def test_the_risk_is_concave_and_homogeneous(check: Ledger, masses: list, t: float, loss: RandomLoss) -> None:
    p, q, r, s = masses
    for phi in (*(om.LOSSES[name] for name in FREE), loss):
        chord = t * phi.minimum_risk(p, q) + (1 - t) * phi.minimum_risk(r, s)
        middle = phi.minimum_risk(t * p + (1 - t) * r, t * q + (1 - t) * s)
        check(
            statement="Eq 29",
            compared="R_phi between two pairs of masses below its chord (violation)",
            deviation=float(chord - middle) / sum(masses),
            tolerance=1e-12,
            because="cancellation in p + q - (p - q) log(p / q), and roots by bisection",
        )
        check(
            statement="Eq 29",
            compared="R_phi(3p, 3q) against 3 R_phi(p, q)",
            deviation=apart(float(phi.minimum_risk(3 * p, 3 * q)), 3 * float(phi.minimum_risk(p, q)), scale=p + q),
            tolerance=1e-12,
            because="cancellation in p + q - (p - q) log(p / q), and roots by bisection",
        )


@pytest.mark.parametrize("name", [*FREE, "random"])
@examples(2)
@given(rng=rngs(), drawn=random_losses())
def test_a_search_for_the_worst_masses_keeps_all_three(
    check: Ledger, name: str, rng: np.random.Generator, drawn: RandomLoss
) -> None:
    """R_phi concave, at most phi(0) (p + q), and below the risk of every margin: over masses, share and margin."""
    phi = drawn if name == "random" else om.LOSSES[name]
    at_zero = float(phi.phi(np.zeros(1))[0])

    def above(*x: np.ndarray) -> float:
        logs, share, margin = x
        (p, q), (r, s) = np.exp(4 * np.tanh(logs))
        t = float(1 / (1 + np.exp(-share[0])))
        first, second = float(phi.minimum_risk(p, q)), float(phi.minimum_risk(r, s))
        middle = float(phi.minimum_risk(t * p + (1 - t) * r, t * q + (1 - t) * s))
        chord = t * first + (1 - t) * second - middle
        margins = first - float(phi.risk(3 * margin, p, q)[0])
        return max(chord, first - at_zero * (p + q), margins) / ((p + q + r + s) * max(at_zero, 1.0))

    check(
        statement="Eq 29",
        compared="chords, the margin 0 or another below R_phi, worst masses found (violation)",
        deviation=worst(above, ((2, 2), (1,), (1,)), rng),
        tolerance=1e-12,
        because="cancellation in p + q - (p - q) log(p / q), and roots by bisection",
    )
