"""Equation 10: the two classical cost classes, and what their conjugates measure.

With features f_1 ... f_K [S, A] and gap_k = E_pi[f_k] - E_piE[f_k],

    C_linear = { sum_k w_k f_k : ||w||_2 <= 1 }              delta_C*(rho - rho_E) = ||gap||_2       (Abbeel & Ng)
    C_convex = { sum_k w_k f_k : w >= 0, sum_k w_k = 1 }     delta_C*(rho - rho_E) = max_k gap_k     (Syed & Schapire)

so that "feature expectation matching" and the game of MWAL are the two of them; the maximiser is gap / ||gap|| in the
one and the feature of the largest gap in the other.

Source: Ho & Ermon (2016), Section 4, Eq 10; Abbeel & Ng (2004), section 3; Syed & Schapire (2007), section 3.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from occmatch.regularisers import L2Ball, Simplex
from theory.ledger import Ledger
from theory.oracles import series_occupancy
from theory.plain import apart
from theory.strategies import Instance, examples, instances, policies, rngs

SERIES = 1e-11
SUMS = "a power series of 3700 terms against a linear solve of condition 200"


def gaps(F: np.ndarray, learner: np.ndarray, expert: np.ndarray) -> np.ndarray:
    """E_pi[f_k] - E_piE[f_k], feature by feature."""
    return np.array([sum((learner - expert)[s, a] * F[s, a, k] for s, a in np.ndindex(F.shape[:2]))
                     for k in range(F.shape[2])])  # fmt: skip


@examples(25)
@given(instances(), st.data())
def test_the_conjugates_are_the_distances_of_feature_expectations(
    check: Ledger, instance: Instance, data: st.DataObject
) -> None:
    """psi* and its best cost from occmatch; expectations from power series, the maximum written out."""
    mdp, pi_E, rho_E = instance
    pi, rng = data.draw(policies(mdp)), data.draw(rngs())
    F = rng.normal(size=(*mdp.shape, data.draw(st.integers(1, 5))))
    radius = data.draw(st.sampled_from([1.0, 0.3, 7.0]))
    rho, expert = series_occupancy(mdp, pi), series_occupancy(mdp, pi_E)
    gap = gaps(F, rho, expert)
    scale = rho.sum() * np.abs(F).max()
    closed = {L2Ball(F, radius): radius * np.sqrt((gap**2).sum()), Simplex(F): gap.max()}
    for psi, value in closed.items():
        best = psi.best_cost(rho, rho_E)
        check(
            statement="Eq 10",
            compared=f"delta_C* of {type(psi).__name__} against its closed form, relative to mass and features",
            deviation=abs(psi.divergence(rho, rho_E) - value) / (radius * scale),
            tolerance=SERIES,
            because=SUMS,
        )
        check(
            statement="Eq 10",
            compared=f"the best cost of {type(psi).__name__} is in the class and attains it",
            deviation=abs(float(((rho - expert) * best).sum()) - value) / (radius * scale) + psi.value(best),
            tolerance=SERIES,
            because=SUMS,
        )


@examples(12)
@given(instances(max_states=4), st.data())
def test_no_cost_of_the_class_tells_them_further_apart(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    """Attacked by random weights, by the vertices, and by SLSQP over the class."""
    mdp, _, rho_E = instance
    rho, rng = series_occupancy(mdp, data.draw(policies(mdp))), data.draw(rngs())
    K = 4
    F = rng.normal(size=(*mdp.shape, K))
    scale = rho.sum() * np.abs(F).max()

    def told(w: np.ndarray) -> float:
        return float(((rho - rho_E) * (F @ w)).sum()) / scale

    ball = [x / np.linalg.norm(x) for x in rng.normal(size=(30, K))]
    inner = [{"type": "ineq", "fun": lambda w: 1.0 - w @ w}]
    ball.append(minimize(lambda w: -told(w), 0.1 * ball[0], method="SLSQP", constraints=inner).x)
    ball[-1] /= max(1.0, np.linalg.norm(ball[-1]))
    mixtures = [*np.eye(K), *rng.dirichlet(np.ones(K), size=30)]
    for psi, weights in ((L2Ball(F), ball), (Simplex(F), mixtures)):
        values = [told(w) for w in weights]
        top = psi.conjugate(rho - rho_E) / scale
        check(
            statement="Eq 10",
            compared=f"a cost of {type(psi).__name__} beyond delta_C* (violation)",
            deviation=max(values) - top,
            tolerance=1e-13,
            because="sums of at most 24 terms",
        )
        check(
            statement="Eq 10",
            compared=f"the best attack on {type(psi).__name__} falls short of delta_C* by",
            deviation=top - max(values),
            tolerance=1e-6,
            because="SLSQP stops at 1e-6 of the objective; the vertices of the simplex are exact",
        )


@examples(12)
@given(instances(), st.data())
def test_without_features_the_classes_see_every_pair(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    """Indicator features of all pairs: the l2 distance of measures, and the largest excess."""
    mdp, _, rho_E = instance
    rho = series_occupancy(mdp, data.draw(policies(mdp)))
    pairs = np.eye(rho.size).reshape(*mdp.shape, -1)
    for plain, spelt in ((L2Ball(), L2Ball(pairs)), (Simplex(), Simplex(pairs))):
        check(
            statement="Eq 10",
            compared=f"{type(plain).__name__} without features against indicators of all pairs",
            deviation=apart(plain.divergence(rho, rho_E), spelt.divergence(rho, rho_E), scale=float(rho.max())),
            tolerance=1e-13,
            because="the same sums in another order",
        )
