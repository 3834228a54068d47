"""Equation 13: the regulariser of GAIL.

    psi_GA(c) = E_piE[ g(c(s, a)) ]  if c < 0 everywhere,  +inf otherwise;     g(x) = -x - log(1 - e^x)  for x < 0.

It is an expectation over the expert's pairs, so it can be estimated from his data.  g is convex, grows like -x for very
negative costs and like -log(-x) near zero, and is least at x = -log 2 (D = 1/2), where it is 2 log 2: expert pairs
should cost neither little nor much, and psi_GA >= 2 log 2 / (1 - gamma).  psi_GA is closed, proper and convex.

Where the expert never goes the cost may be anything up to 0 (see the fifth caveat).

Source: Ho & Ermon (2016), section 5, equation 13.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

import occmatch as om
from occmatch.regularisers import Surrogate
from theory.ledger import Ledger
from theory.oracles import series_occupancy
from theory.plain import apart
from theory.search import worst
from theory.strategies import Instance, examples, instances, positive_instances, rngs

LOGISTIC = om.LOSSES["logistic"]
ROUNDING = 1e-11
SERIES = "a power series of 3700 terms, and logs of numbers between e^-30 and 1"


def g(x: float) -> float:
    """Written as in the statement; expm1 only keeps 1 - e^x when x is small."""
    return -x - np.log(-np.expm1(x))


@examples(30)
@given(instances(), st.data())
def test_it_is_the_expert_s_expectation_of_g(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    mdp, pi_E, rho_E = instance
    c = -np.exp(data.draw(rngs()).uniform(-8, 3, size=mdp.shape))
    expected = sum(w * g(x) for w, x in zip(series_occupancy(mdp, pi_E).flat, c.flat, strict=True))
    check(
        statement="Eq 13",
        compared="psi_GA against sum_t gamma^t E[g(c(s_t, a_t))]",
        deviation=apart(Surrogate(LOGISTIC, rho_E).value(c), expected),
        tolerance=ROUNDING,
        because=SERIES,
    )


@examples(30)
@given(positive_instances(), st.data())
def test_it_is_convex_and_infinite_off_the_negative_costs(
    check: Ledger, instance: Instance, data: st.DataObject
) -> None:
    mdp, _, rho_E = instance
    psi, rng = Surrogate(LOGISTIC, rho_E), data.draw(rngs())
    a, b = -np.exp(rng.uniform(-8, 4, size=(2, *mdp.shape)))
    t = rng.uniform()
    chord = t * psi.value(a) + (1 - t) * psi.value(b)
    check(
        statement="Eq 13",
        compared="psi_GA between two costs above its chord (violation)",
        deviation=(psi.value(t * a + (1 - t) * b) - chord) / chord,
        tolerance=1e-14,
        because="sums of 18 positive terms",
    )
    edge = a.copy()
    edge.flat[rng.integers(edge.size)] = data.draw(st.sampled_from([0.0, 1e-300, 1.0]))
    check(
        statement="Eq 13",
        compared="psi_GA against +inf where a cost is not negative",
        deviation=apart(psi.value(edge), np.inf),
        tolerance=0.0,
        because="two values, no arithmetic",
    )
    near = [psi.value(np.where(edge >= 0, -(10.0**-k), a)) for k in (5, 50, 300)]
    check(
        statement="Eq 13",
        compared="psi_GA falls on the way to the edge of its domain (violation)",
        deviation=max(near[0] - near[1], near[1] - near[2]) / near[0],
        tolerance=0.0,
        because="closed: it rises to +inf like -log(-c)",
    )


@examples(5)
@given(positive_instances(max_states=2, max_actions=2, least=2), rngs())
def test_a_search_for_a_chord_below_it_finds_none(check: Ledger, instance: Instance, rng: np.random.Generator) -> None:
    """Over two costs and the share of each; and for a cost below the least value."""
    mdp, _, rho_E = instance
    psi, least = Surrogate(LOGISTIC, rho_E), 2 * np.log(2) / (1 - mdp.gamma)

    def above(*x: np.ndarray) -> float:
        logs, share = x
        a, b = -np.exp(8 * np.tanh(logs))
        t = float(1 / (1 + np.exp(-share[0])))
        chord = t * psi.value(a) + (1 - t) * psi.value(b)
        return max(psi.value(t * a + (1 - t) * b) - chord, least - psi.value(a)) / chord

    check(
        statement="Eq 13",
        compared="psi_GA above a chord or below 2 log 2 / (1 - gamma), worst costs found (violation)",
        deviation=worst(above, ((2, *mdp.shape), (1,)), rng),
        tolerance=ROUNDING,
        because="the mass of rho_E comes from a linear solve of condition 200",
    )


@examples(10)
@given(positive_instances(), st.data())
def test_it_is_least_where_the_discriminator_cannot_tell(
    check: Ledger, instance: Instance, data: st.DataObject
) -> None:
    mdp, _, rho_E = instance
    psi = Surrogate(LOGISTIC, rho_E)
    least = 2 * np.log(2) / (1 - mdp.gamma)
    check(
        statement="Eq 13",
        compared="psi_GA(-log 2) against 2 log 2 / (1 - gamma)",
        deviation=apart(psi.value(np.full(mdp.shape, -np.log(2))), least),
        tolerance=ROUNDING,
        because="the mass of rho_E comes from a linear solve of condition 200",
    )
    one = minimize_scalar(g, bounds=(-20.0, -1e-6), method="bounded", options={"xatol": 1e-10})
    attacks = [-np.exp(data.draw(rngs()).uniform(-8, 3, size=mdp.shape)), np.full(mdp.shape, one.x)]
    check(
        statement="Eq 13",
        compared="a cost with psi_GA below its least value, by search (violation)",
        deviation=max(1 - psi.value(c) / least for c in attacks),
        tolerance=ROUNDING,
        because="the mass of rho_E comes from a linear solve of condition 200",
    )
