"""Lemma 3.1: causal entropy as a function of measures, strictly concave on D.

    H(pi)     = E_pi[ -log pi(a|s) ]                                      (discounted)
    Hbar(rho) = - sum rho(s, a) log( rho(s, a) / sum_a' rho(s, a') ),     0 log 0 = 0

    H(pi) = Hbar(rho_pi),   Hbar(rho) = H(pi_rho),   and Hbar is strictly concave on D.

Strictness with numbers: let rho be the mean of rho_1 and rho_2 in D. The gain from mixing is an average divergence,

    Hbar(rho) - (Hbar(rho_1) + Hbar(rho_2)) / 2 = 1/2 sum_i sum_s d_i(s) KL( pi_i(.|s) || pi_rho(.|s) ),

and by Pinsker's inequality, Cauchy-Schwarz and ||rho_pi - rho_pi'||_1 <= sum_s d_pi ||pi - pi'||_1 / (1 - gamma) it is
at least (1 - gamma)^3 / 8 ||rho_1 - rho_2||_1^2: strongly concave in the l1 norm with modulus (1 - gamma)^3. Off D it
is not strict: Hbar(k rho) = k Hbar(rho).

Source: Ho & Ermon (2016), Lemma 3.1; the modulus is derived here from the identity.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr

import occmatch as om
from theory.ledger import Ledger
from theory.oracles import series_return, softmax, vertex
from theory.search import any_mdp, worst
from theory.strategies import examples, mdps, measures, policies, rngs

ROUNDING = 1e-12
SERIES = "a power series of at most 3700 terms against a sum of 18 terms, relative to log A / (1 - gamma)"

VERTEX = 1e-5
SIMPLEX = "HiGHS meets the flow equations to 1e-7; entropy moves by t log(1/t) ~ 2e-6 for t = 1e-7"

CONCAVE = 1e-12
CANCELLED = "three entropies of size log A / (1 - gamma) are subtracted, each a few units in the last place off"


def scale(mdp: om.MDP) -> float:
    return (1.0 + np.log(mdp.A)) / (1.0 - mdp.gamma)


def gain(rho: np.ndarray, other: np.ndarray) -> float:
    """Hbar of the mean less the mean of Hbar."""
    middle = om.causal_entropy(0.5 * (rho + other))
    return middle - 0.5 * (om.causal_entropy(rho) + om.causal_entropy(other))


@examples(60)
@given(mdps(), st.data())
def test_the_entropy_of_a_policy_is_that_of_its_measure(check: Ledger, mdp: om.MDP, data: st.DataObject) -> None:
    pi = data.draw(policies(mdp))
    H = -series_return(mdp, pi, np.zeros(mdp.shape), 1.0)
    terms = {"statement": "Lemma 3.1", "tolerance": ROUNDING, "because": SERIES}
    of_measure = om.causal_entropy(om.occupancy(mdp, pi))
    check(**terms, compared="Hbar(rho_pi) against H(pi) summed over time", deviation=abs(of_measure - H) / scale(mdp))
    check(
        **terms,
        compared="entropy(pi) against H(pi) summed over time",
        deviation=abs(om.entropy(mdp, pi) - H) / scale(mdp),
    )


@examples(60)
@given(mdps(), rngs(), st.floats(0.0, 1.0))
def test_the_entropy_of_a_measure_is_that_of_its_policy(
    check: Ledger, mdp: om.MDP, rng: np.random.Generator, share: float
) -> None:
    rho = share * vertex(mdp, rng) + (1.0 - share) * vertex(mdp, rng)
    H = -series_return(mdp, om.policy(rho), np.zeros(mdp.shape), 1.0)
    terms = {"statement": "Lemma 3.1", "tolerance": VERTEX, "because": SIMPLEX}
    check(**terms, compared="Hbar(rho) against H(pi_rho)", deviation=abs(om.causal_entropy(rho) - H) / scale(mdp))


@examples(80)
@given(mdps(), st.data())
def test_mixing_gains_an_average_divergence(check: Ledger, mdp: om.MDP, data: st.DataObject) -> None:
    pair = data.draw(measures(mdp)), data.draw(measures(mdp))
    middle = om.policy(0.5 * (pair[0] + pair[1]))
    # Where one of the two never goes its row of pi_i is arbitrary, and its weight d_i is zero.
    divergence = sum(
        0.5 * rho.sum(axis=1) @ rel_entr(om.policy(rho), middle).sum(axis=1) for rho in _masked(pair, middle)
    )
    terms = {"statement": "Lemma 3.1", "tolerance": CONCAVE, "because": CANCELLED}
    check(**terms, compared="gain from mixing against E KL", deviation=abs(gain(*pair) - divergence) / scale(mdp))
    apart = np.abs(pair[0] - pair[1]).sum()
    bound = (1.0 - mdp.gamma) ** 3 / 8.0 * apart**2
    check(**terms, compared="strong concavity (violation)", deviation=(bound - gain(*pair)) / scale(mdp))


def _masked(pair: tuple[np.ndarray, np.ndarray], middle: np.ndarray) -> list[np.ndarray]:
    """The measures, with the policy of the middle and no mass where one never goes."""
    return [np.where(rho.sum(axis=1, keepdims=True) > 0, rho, 1e-300 * middle) for rho in pair]


@examples(3)
@given(st.sampled_from([0.3, 0.8]), rngs())
def test_a_search_for_the_flattest_chord_finds_none_below_the_modulus(
    check: Ledger, gamma: float, rng: np.random.Generator
) -> None:
    def above(*x: np.ndarray) -> float:
        rows, start, *logits = x
        mdp = any_mdp(rows, start, gamma)
        pair = [om.occupancy(mdp, softmax(theta)) for theta in logits]
        apart = np.abs(pair[0] - pair[1]).sum()
        return (1.0 - gamma) ** 3 / 8.0 - gain(*pair) / apart**2 if apart > 1e-3 else -np.inf

    check(
        statement="Lemma 3.1",
        compared="gain / |rho_1 - rho_2|^2 >= (1 - gamma)^3 / 8, worst MDP found (violation)",
        deviation=worst(above, ((2, 2, 2), (2,), (2, 2), (2, 2)), rng, evaluations=300),
        tolerance=1e-8,
        because="gain rounds by 1e-15 and is divided by a square of at least 1e-6",
    )


@examples(20)
@given(mdps(), st.data(), st.floats(0.1, 10.0))
def test_off_d_it_is_concave_but_not_strictly(check: Ledger, mdp: om.MDP, data: st.DataObject, factor: float) -> None:
    rho = data.draw(measures(mdp))
    terms = {"statement": "Lemma 3.1", "tolerance": CONCAVE, "because": CANCELLED}
    linear = om.causal_entropy(factor * rho) - factor * om.causal_entropy(rho)
    check(**terms, compared="Hbar(k rho) against k Hbar(rho)", deviation=abs(linear) / (factor * scale(mdp)))


def test_it_is_concave_in_the_measure_and_not_in_the_policy() -> None:
    # Two steps lead to a state with log 2 a step, so that the gain grows like the square of the share that leaves.
    to = np.array([[3, 1], [3, 2], [2, 2], [3, 3]])
    mdp = om.MDP(np.eye(4)[to], [1.0, 0.0, 0.0, 0.0], 0.9)
    H = [om.entropy(mdp, np.array([[1 - t, t], [1 - t, t], [0.5, 0.5], [1.0, 0.0]])) for t in (0.3, 0.5, 0.7)]
    assert H[1] < 0.5 * (H[0] + H[2]) - 0.1
